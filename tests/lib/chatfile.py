# SPDX-License-Identifier: GPL-3.0-or-later
"""Chat files (docs/formats/chat.md) by the calls of the kernel, for tests that look at each of them:
waiting with an end, what a transcript says, and what the emulated providers saw."""
import concurrent.futures
import errno
import faulthandler
import os
import re
import select
import signal
import subprocess
import threading
import time

import providers

CHECKS = []
SIGN = "Grüße — 你好 🙂\n"  # what every answer of the emulated providers begins with


def check(function):
    CHECKS.append(function)
    return function


def same(what, wanted, got):
    assert wanted == got, f"{what}: wanted {wanted!r}, got {got!r}"


def fails(what, code, function, *arguments):
    try:
        got = function(*arguments)
    except OSError as e:
        same(what, errno.errorcode[code], errno.errorcode[e.errno])
    else:
        raise AssertionError(f"{what}: wanted {errno.errorcode[code]}, got {got!r}")


def until(what, function, seconds=8):
    """The first true value of function()."""
    end = time.monotonic() + seconds
    while True:
        got = function()
        if got:
            return got
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.01)


class Behind:
    """A call that may wait, on a thread of its own."""

    def __init__(self, function, *arguments):
        self.value = self.error = None
        self.thread = threading.Thread(target=self.run, args=(function, arguments), daemon=True)
        self.thread.start()

    def run(self, function, arguments):
        try:
            self.value = function(*arguments)
        except Exception as e:  # it is the caller's, when he asks for the result
            self.error = e

    def waits(self, seconds=0.15):
        """Whether it has not ended after this long."""
        self.thread.join(seconds)
        return self.thread.is_alive()

    def result(self, seconds=10):
        assert not self.waits(seconds), f"a call has not ended after {seconds} s"
        if self.error:
            raise self.error
        return self.value


# ---- transcripts --------------------------------------------------------------------------------

HEADER = re.compile(r"## (user|assistant|reasoning|error|draft|dry-run|system) "
                    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)(?: (\S+) (\S+))?")


class Turn:
    def __init__(self, match):
        self.kind, self.time, self.provider, self.model = match.groups()
        self.above, self.lines, self.below = [], [], []

    def finish(self):
        lines = self.lines
        while lines and lines[0].startswith("> supafs: "):
            self.above.append(lines.pop(0)[10:])
        while lines and lines[-1] == "":
            lines.pop()
        while lines and lines[-1].startswith("> supafs: "):
            self.below.insert(0, lines.pop()[10:])
        if self.below:
            same("an empty line before the notes", "", lines.pop())
        same("an empty line before the text", [""], lines[:1])
        self.body = "\n".join(lines[1:])

    def note(self, key):
        for note in self.above + self.below:
            if note.split(" ")[0] == key:
                return note[len(key) + 1:]
        return None


def turns(text):
    """A reader of its own, so that the printer is not held against itself: rule T3."""
    out = []
    for line in text.split("\n"):
        match = HEADER.fullmatch(line)
        if match:
            out.append(Turn(match))
        elif out:
            out[-1].lines.append(line)
    for turn in out:
        turn.finish()
    return out


def drain(fd, seconds=10):
    """All that reads give until the end of the file."""
    def run():
        got = b""
        while True:
            piece = os.read(fd, 65536)
            if not piece:
                return got
            got += piece
    return Behind(run).result(seconds)


def read(path, flags=0, seconds=10):
    fd = Behind(os.open, path, os.O_RDONLY | flags).result(seconds)
    try:
        return drain(fd, seconds).decode()
    finally:
        os.close(fd)


def turns_of(path):
    return turns(read(path))


def said(path, kind="user"):
    return [t.body for t in turns_of(path) if t.kind == kind]


# ---- asking -------------------------------------------------------------------------------------

ASK = os.O_WRONLY | os.O_CREAT


def write_all(fd, data):
    same("bytes that a write took", len(data), os.write(fd, data))


def ask(path, prompt, flags=0):
    fd = os.open(path, ASK | flags, 0o644)
    try:
        write_all(fd, prompt.encode() if isinstance(prompt, str) else prompt)
    finally:
        os.close(fd)


def asked(path, prompt, flags=0):
    """Asks, waits for the answer, and returns the turns."""
    ask(path, prompt, flags)
    return turns_of(path)


def attr(path, name):
    return os.getxattr(path, "user.supafs." + name).decode()


def state(path):
    return attr(path, "chat.state")


def idle(path):
    until(f"{path} is idle", lambda: state(path) == "idle")


def chats():
    """The chats that the emulated providers have got, as they tell them."""
    sites = providers.admin("GET")
    return [c for name in providers.MODELS for c in sites[name]["chats"]]


def times_asked(prompt, tries=()):
    """How often a prompt was the last message of a chat."""
    sha = providers.sha256(prompt)
    return sum(c["messages"][-1]["sha256"] == sha for c in tries or chats())


def never_asked(*prompts):
    got = chats()
    for prompt in prompts:
        same(f"how often {prompt[:40]!r} was asked", 0, times_asked(prompt, got))


def polled(fd, events=select.POLLIN | select.POLLOUT, ms=0):
    poll = select.poll()
    poll.register(fd, events)
    got = poll.poll(ms)
    return got[0][1] if got else 0


def run(threads=1):
    """All checks: a line for each, and the exit status."""
    faulthandler.dump_traceback_later(60, exit=True)
    signal.signal(signal.SIGUSR1, lambda *_: None)

    def one(function):
        began = time.monotonic()
        try:
            function()
            return f"ok      {function.__name__} ({time.monotonic() - began:.1f} s)"
        except Exception as problem:  # one line per check, whatever went wrong
            at, tb = [], problem.__traceback__.tb_next
            while tb:
                at.append(str(tb.tb_lineno))
                tb = tb.tb_next
            return f"FAILED  {function.__name__} (line {' '.join(at)}): {type(problem).__name__} {problem}"

    failures = 0
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for line in pool.map(one, CHECKS):
            failures += line.startswith("FAILED")
            print(line, flush=True)
    print(f"{len(CHECKS)} checks, {failures} failed", flush=True)
    return 1 if failures else 0


def child(*arguments, **keywords):
    return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, **keywords)
