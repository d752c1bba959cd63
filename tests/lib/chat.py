# SPDX-License-Identifier: GPL-3.0-or-later
"""Chat files of a mount as a program uses them, their transcripts by the grammar of
docs/formats/chat.md, and what the emulated providers saw. Knows nothing of supafs beside that page.
The environment is that of project.env, for what is asked of the admin port."""
import collections
import errno
import os
import re
import sys
import time
import traceback

from providers import admin

KINDS = "user|assistant|reasoning|error|draft|dry-run|system"
HEADER = re.compile(rf"## ({KINDS}) (\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z)(?: (\S+) (\S+))?")
NOTE = re.compile(r"> supafs: ([a-z0-9_-]{1,40})(?: (.*))?")
HIDDEN = re.compile(rf"\\(\\*(?:## (?:{KINDS}) |> supafs:))")
Turn = collections.namedtuple("Turn", "kind time provider model above body below")
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def run_checks(before=lambda: None, only=()):
    """A line for each function of CHECKS, all of them whatever goes wrong; the exit status."""
    failed = 0
    for function in CHECKS:
        if only and function.__name__ not in only:
            continue
        start = time.monotonic()
        try:
            before()
            function()
            print(f"ok      {function.__name__} ({int((time.monotonic() - start) * 1000)} ms)", flush=True)
        except Exception as problem:  # whatever went wrong
            failed += 1
            where = [f.lineno for f in traceback.extract_tb(problem.__traceback__)
                     if f.filename == sys.argv[0]]
            print(f"FAILED  {function.__name__} (lines {where}): {type(problem).__name__} {problem}", flush=True)
    print(f"{len(CHECKS)} checks, {failed} failed")
    return 1 if failed else 0


def same(what, wanted, got):
    assert wanted == got, f"{what}: wanted {wanted!r}, got {got!r}"


def wait_for(what, function, seconds=10):
    """The first value of it that is true."""
    end = time.monotonic() + seconds
    while True:
        value = function()
        if value:
            return value
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.02)


# ---- transcripts ----------------------------------------------------------------------------------


def _value(text):
    return re.sub(r"\\(\\|[0-7]{3})", lambda m: "\\" if m[1] == "\\" else chr(int(m[1], 8)), text)


def _notes(lines):
    found = [NOTE.fullmatch(line) for line in lines]
    assert all(found), lines
    return [(m[1], _value(m[2] or "")) for m in found]


def _body(lines):
    text = "\n".join(HIDDEN.sub(r"\1", line, count=1) if HIDDEN.match(line) else line for line in lines)
    for c in text:
        assert c in "\n\t" or 0x20 <= ord(c) != 0x7f and not 0x80 <= ord(c) < 0xa0, f"a control character: {c!r}"
    return text


def parse(text):
    """The head's values and the turns, by part 7; a last one that still runs has a body that may end
    anywhere."""
    if not text:
        return {}, []
    lines = text.split("\n")
    same("its first lines", ["---", "supafs-chat: 1"], lines[:2])
    at = lines.index("---", 2)
    head = dict(line.split(": ", 1) for line in lines[2:at])
    at, turns = at + 1, []
    begins = [i for i in range(at, len(lines) - 1) if not lines[i] and HEADER.fullmatch(lines[i + 1])]
    same("the first turn", [at], begins[:1])
    for i, to in zip(begins, begins[1:] + [len(lines) - (lines[-1] == "")]):
        header = HEADER.fullmatch(lines[i + 1])
        i += 2
        notes = i
        while lines[i].startswith("> supafs: "):
            i += 1
        above = _notes(lines[notes:i])
        same("the line before the text", "", lines[i])
        below, end = to, to
        while below > i + 2 and lines[below - 1].startswith("> supafs: "):
            below -= 1
        if below < to and not lines[below - 1]:
            end = below - 1
        else:
            below = to
        turns.append(Turn(*header.groups(), above, _body(lines[i + 1:end]), _notes(lines[below:to])))
    return head, turns


def notes(turn, key, below=False):
    return [value for k, value in (turn.below if below else turn.above) if k == key]


def ended(turn):
    """How an answer ended: T8."""
    return (notes(turn, "end", below=True) or [""])[0]


# ---- one file -------------------------------------------------------------------------------------


def read_all(fd):
    data = b""
    while piece := os.read(fd, 65536):
        data += piece
    return data.decode()


def read(path):
    """As cat: waits for what was asked before."""
    fd = os.open(path, os.O_RDONLY)
    try:
        return read_all(fd)
    finally:
        os.close(fd)


def peek(path):
    """What is there, without waiting."""
    fd, data = os.open(path, os.O_RDONLY | os.O_NONBLOCK), b""
    try:
        while piece := os.read(fd, 65536):
            data += piece
    except BlockingIOError:
        pass
    finally:
        os.close(fd)
    return data.decode(errors="ignore")


def turns(path):
    return parse(read(path))[1]


def submit(path, text, flags=os.O_CREAT):
    """As echo: the errno's name, or "". """
    data = text if isinstance(text, bytes) else text.encode()
    try:
        fd = os.open(path, os.O_WRONLY | flags, 0o600)
    except OSError as e:
        return errno.errorcode[e.errno]
    try:
        while data:
            data = data[os.write(fd, data):]
    except OSError as e:
        return errno.errorcode[e.errno]
    finally:
        try:
            os.close(fd)
            closed = ""
        except OSError as e:
            closed = errno.errorcode[e.errno]
    return closed


def ask(path, text):
    """Through one open, as R6 and R7 say: the answer, and the errno's name that came behind it."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as e:
        return "", errno.errorcode[e.errno]
    data = b""
    try:
        os.write(fd, text.encode())
        while piece := os.read(fd, 65536):
            data += piece
        return data.decode(), ""
    except OSError as e:
        return data.decode(errors="replace"), errno.errorcode[e.errno].replace("ENOTSUP", "EOPNOTSUPP")
    finally:
        try:
            os.close(fd)
        except OSError:
            pass


def errno_of(function, *arguments):
    """The name of the errno with which it fails, or ""."""
    try:
        function(*arguments)
        return ""
    except OSError as e:
        return errno.errorcode[e.errno]


def attribute(path, name):
    """user.supafs.NAME, "-" for ENODATA, else the errno's name."""
    try:
        return os.getxattr(path, "user.supafs." + name).decode()
    except OSError as e:
        return "-" if e.errno == errno.ENODATA else errno.errorcode[e.errno]


def set_attribute(path, name, value):
    """The errno's name, or "". """
    return errno_of(os.setxattr, path, "user.supafs." + name, value.encode())


def state(path):
    return attribute(path, "chat.state")


def wait_state(path, pattern, seconds=10):
    return wait_for(f"{path} {pattern}, it is {state(path)}", lambda: re.fullmatch(pattern, state(path)), seconds)


# ---- what the providers saw -----------------------------------------------------------------------


def chats(site, account=None):
    """Those that were answered, the oldest first."""
    return [c for c in admin("GET")[site]["chats"] if account is None or c["account"] == account]


def asked(site):
    return admin("GET")[site]["requests"]


def sent_bodies(site):
    """What was asked in words, as far as the log keeps it."""
    base = admin("GET")[site]["base"]
    return [e["body"] for e in admin("GET", "/log")["entries"] if e["path"].startswith(base + "/chat")]


def found(answer, text):
    """In how many lines of what was sent the answer found a text: by "find: TEXT" in the question."""
    line = re.search(rf'^found "{re.escape(text)}":(.*) (\d+)$', answer, re.M)
    assert line, f"no word of {text!r}: {answer!r}"
    return int(line[2])


def section(name, site, suffix="", **settings):
    """Of a configuration file: a provider of this name, with the address and a key of a site's."""
    shown = admin("GET")[site]
    lines = [f"[provider.{name}]", "type = " + {"zai": "glm", "kimi-cn": "kimi"}.get(site, site),
             f"base_url = {os.environ['SUPABASE_URL']}{shown['base']}", f"key = {shown['key']}{suffix}"]
    return "\n".join(lines + [f"{k} = {v}" for k, v in settings.items()]) + "\n"


def write_config(path, text):
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as f:
        f.write(text)
