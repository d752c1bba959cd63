# SPDX-License-Identifier: GPL-3.0-or-later
"""Chat files call by call. argv: the root of a mount, whose providers are those of chat-calls.sh.

Prints a line per check; exit status 1 when any fails. The checks run side by side, each with a file
of its own.
"""
import ctypes
import errno
import mmap
import os
import select
import signal
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from chatfile import (ASK, SIGN, Behind, ask, asked, attr, check, child,  # noqa: E402
                      drain, fails, idle, never_asked, polled, read, run, said, same, state,
                      times_asked, turns, turns_of, until, write_all)

TOP = sys.argv[1]
LIBC = ctypes.CDLL(None, use_errno=True)


def new(name, content=None):
    """A file to ask about."""
    path = os.path.join(TOP, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(content or f"This is {name}.\n")
    return path


def chat(path, provider=None):
    return path + (f".{provider}" if provider else "") + ".chat"


def gone(path):
    return not os.path.lexists(path)


def answers(path):
    return [body.rstrip("\n") for body in said(path, "assistant")]


def cancel(path):
    os.setxattr(path, "user.supafs.chat.cancel", b"1")


def tries(what, *codes):
    """Several ways in which one call fails."""
    for name, code, function, *arguments in codes:
        fails(f"{what}: {name}", code, function, *arguments)


# ---- part 3: asking -----------------------------------------------------------------------------

@check
def one_open_is_one_prompt():  # rule W1
    file = new("w1.txt")
    fd = os.open(chat(file), ASK, 0o644)
    write_all(fd, b"What ")
    same("pwrite", 5, os.pwrite(fd, b"is th", 70000))
    same("pwrite", 3, os.pwrite(fd, b"is?", 0))
    for byte in "\nGrüße: 🙂\n".encode():
        write_all(fd, bytes([byte]))
    os.close(fd)
    wanted = "What is this?\nGrüße: 🙂"
    same("what was said", [wanted], said(chat(file)))
    same("what was asked", 1, times_asked(wanted))
    ask(chat(file), "Appended (w1)\n", os.O_APPEND)
    ask(chat(file), "Truncated (w1)\n", os.O_TRUNC)
    same("all of it", [wanted, "Appended (w1)", "Truncated (w1)"], said(chat(file)))
    same("one answer to each", 3, len(answers(chat(file))))
    same("the last one", True, "You wrote: Truncated (w1)" in answers(chat(file))[-1])


@check
def the_last_reference_asks():  # rule W2
    file = new("w2.txt")
    fd = os.open(chat(file), os.O_RDWR | os.O_CREAT, 0o644)
    write_all(fd, b"When (w2)?\n")
    other = os.dup(fd)
    os.close(fd)
    os.fsync(other)
    polled(other, select.POLLIN | select.POLLOUT)
    time.sleep(0.3)  # what must not happen would happen soon
    same("asked by close of a duplicate, fsync or poll", 0, times_asked("When (w2)?"))
    os.close(other)
    same("by the last close", ["When (w2)?"], said(chat(file)))
    same("asked", 1, times_asked("When (w2)?"))
    fd = os.open(chat(file), os.O_RDWR)
    write_all(fd, b"By reading (w2)?\n")
    same("by a read", True, b"You wrote: By reading (w2)?" in drain(fd))
    same("asked", 1, times_asked("By reading (w2)?"))
    os.close(fd)
    same("once", ["When (w2)?", "By reading (w2)?"], said(chat(file)))


@check
def nothing_written_asks_nothing():  # rules W3, W6
    file = new("w3.txt")
    os.close(os.open(chat(file), ASK, 0o644))
    until("the name is gone again", lambda: gone(chat(file)))
    asked(chat(file), "Something (w3)")
    before = read(chat(file))
    os.close(os.open(chat(file), ASK | os.O_APPEND, 0o644))
    os.close(os.open(chat(file), os.O_RDWR))
    os.utime(chat(file))
    for blank in (b"\n", b" \t\n\n ", b"\r\n"):
        ask(chat(file), blank)
    idle(file)
    same("the transcript", before, read(chat(file)))


@check
def emptied():  # rule W4
    file = new("w4.txt")
    os.close(os.open(chat(file), ASK | os.O_TRUNC, 0o644))
    until("an empty one is there", lambda: not gone(chat(file)))
    same("its size", 0, os.stat(chat(file)).st_size)
    same("its text", "", read(chat(file)))
    asked(chat(file), "First (w4)")
    first = attr(file, "chat.id")
    old = read(chat(file))
    os.close(os.open(chat(file), ASK | os.O_TRUNC, 0o644))
    until("put away", lambda: os.stat(chat(file)).st_size == 0)
    same("its text", "", read(chat(file)))
    asked(chat(file), "Second (w4)")
    same("what is there", ["Second (w4)"], said(chat(file)))
    second = attr(file, "chat.id")
    assert first != second, second
    same("the same stem", first.rsplit("-", 1)[0], second.rsplit("-", 1)[0])
    os.truncate(chat(file), 0)
    same("at once", "", read(chat(file)))
    fd = os.open(chat(file), os.O_RDWR)
    os.ftruncate(fd, 0)
    os.close(fd)
    same("the old one by its id", old, read(os.path.join(TOP, ".supafs/chats", first + ".md")))


@check
def what_a_prompt_may_be():  # rule W5
    file = new("w5.txt")
    for name, bad in (("not UTF-8", b"w5 \xff"), ("half a surrogate", b"w5 \xed\xa0\x80"),
                      ("NUL", b"w5 \0"), ("too long", b"w" * (256 * 1024 + 1))):
        fd = os.open(chat(file), ASK, 0o644)
        write_all(fd, b"Good so far (w5) ")
        fails(name, errno.EINVAL, os.write, fd, bad)
        fails(name + ", what follows", errno.EINVAL, os.write, fd, b"fine")
        try:
            os.close(fd)
        except OSError as e:
            same(name + ", at the end", errno.EINVAL, e.errno)
    fd = os.open(chat(file), ASK, 0o644)
    write_all(fd, "Half a character (w5) é".encode()[:-1])
    try:
        os.close(fd)
    except OSError as e:
        same("half a character at the end", errno.EINVAL, e.errno)
    longest = ("x" * 1023 + "\n") * 256 + "\n\n\n"
    fd = os.open(chat(file), ASK, 0o644)
    data = longest.encode()
    for at in range(0, len(data), 100000):
        write_all(fd, data[at:at + 100000])
    os.close(fd)
    same("what was kept", [longest.rstrip("\n")], said(chat(file)))
    same("without its last line feeds", 1, times_asked(longest.rstrip("\n")))
    never_asked("Good so far (w5) ", "Good so far (w5)", "Half a character (w5)", "Half a character (w5) ")


@check
def flush_keeps_a_draft_and_tells_what_is_wrong():  # rule W7
    file = new("w7.txt")
    os.close(os.dup(os.open(chat(file), ASK, 0o644)))
    fd = os.open(chat(file), ASK, 0o644)
    write_all(fd, b"---\nmax_tokens: 2000\n")
    fails("fsync, front matter without an end", errno.EINVAL, os.fsync, fd)
    fails("close of a duplicate", errno.EINVAL, os.close, os.dup(fd))
    write_all(fd, b"---\nGood now (w7)\n")
    os.fsync(fd)
    os.close(os.dup(fd))
    os.close(fd)
    same("what was said", ["Good now (w7)"], said(chat(file)))
    same("asked", 1, times_asked("Good now (w7)"))
    fd = os.open(chat(file), ASK, 0o644)
    write_all(fd, b"---\nmax_tokens: 2000\nBad to the end")
    fails("close", errno.EINVAL, os.close, fd)
    assert "line" in until("the reason", lambda: attr(file, "error")), attr(file, "error")
    same("nothing came of it", ["Good now (w7)"], said(chat(file)))
    fd = os.open(chat(file), os.O_RDONLY)
    os.close(fd)  # of any other open: succeeds


@check
def killed_writers():  # rule W8
    file = new("w8.txt")
    writer = child(sys.executable, "-c", "import os, sys, time\n"
                   "fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
                   "os.write(fd, b'Half of what I wan')\nprint(flush=True)\ntime.sleep(60)",
                   chat(file), stdout=subprocess.PIPE)
    writer.stdout.readline()
    writer.kill()
    writer.wait()
    until("it is asked", lambda: times_asked("Half of what I wan"))
    same("what was said", ["Half of what I wan"], said(chat(file)))


@check
def front_matter():  # rules W9, S4, T7
    file = new("w9.txt")
    fd = os.open(chat(file), ASK, 0o644)
    write_all(fd, b"---\ntemp")
    write_all(fd, b"erature: 9\n")
    fails("the write that completes it", errno.EINVAL, os.write, fd, b"---\nWhat (w9)?")
    fails("later ones", errno.EINVAL, os.write, fd, b"more")
    try:
        os.close(fd)
    except OSError as e:
        same("close", errno.EINVAL, e.errno)
    assert "2" in attr(file, "error") and "temperature" in attr(file, "error"), attr(file, "error")
    for text in ("---\nnonsense: 1\n---\nq", "---\nprovider: nobody\n---\nq", "---\nmodel: a\nmodel: b\n---\nq"):
        fd = os.open(chat(file), ASK, 0o644)
        fails(text, errno.EINVAL, os.write, fd, text.encode())
        try:
            os.close(fd)
        except OSError as e:
            same("close", errno.EINVAL, e.errno)
    fails("not the name's", errno.EINVAL, ask, chat(file, "kimi"), "---\nprovider: glm\n---\nq")
    ask(chat(file), "---\nprovider: glm\nmax_tokens: 900\n---\nTo glm (w9)\n")
    got = turns_of(chat(file))
    same("who answered", ["user", "assistant"], [t.kind for t in got])
    same("who answered", ("glm", "glm-5.1"), (got[1].provider, got[1].model))
    same("its settings", ["set provider glm", "set max_tokens 900"],
         [n for n in got[0].above if n.startswith("set ")])
    never_asked("q")


@check
def transcripts_as_prompts():  # rules W10, W11
    file, other = new("w10.txt"), new("w10-other.txt")
    asked(chat(other), "Elsewhere (w10)")
    asked(chat(file), "First (w10)")
    first = read(chat(file))
    ask(chat(file), first)
    ask(chat(file), first + "\n\n")
    idle(file)
    same("nothing follows, nothing is asked", first, read(chat(file)))
    ask(chat(file), first + "\nSecond (w10)\n")
    same("what follows", ["First (w10)", "Second (w10)"], [s.strip() for s in said(chat(file))])
    now = read(chat(file))
    same("its beginning", first, now[:len(first)])
    for name, text in (("not the present one", first + "\nThird (w10)"),
                       ("edited", now.replace("First (w10)", "Worst (w10)") + "\nThird (w10)"),
                       ("somebody else's", read(chat(other)) + "\nThird (w10)"),
                       ("somebody else's alone", read(chat(other))),
                       ("a broken one", "---\nsupafs-chat: 1\n---\n\n## nobody x\n\nThird (w10)")):
        fails(name, errno.EINVAL, ask, chat(file), text)
        assert until("why", lambda: attr(file, "error")), name
    idle(file)
    same("nothing has changed", now, read(chat(file)))


@check
def one_after_the_other():  # rule W12
    file = new("w12.txt")
    wanted = [f"Number {i} (w12)" for i in range(3)]
    for prompt in wanted:
        ask(chat(file, "slow"), prompt)
    assert state(chat(file, "slow")) != "idle"
    got = turns_of(chat(file, "slow"))
    same("in their order", wanted, [t.body for t in got if t.kind == "user"])
    same("each with its answer", ["user", "assistant"] * 3, [t.kind for t in got])
    for turn, prompt in zip(got[1::2], wanted):
        assert f"You wrote: {prompt}" in turn.body, turn.body
        same("its end", "stop", turn.note("end"))


@check
def sixteen_at_once():  # rule W12
    file = new("w12b.txt")
    fds = [os.open(chat(file), ASK, 0o644) for _ in range(16)]
    fails("one more", errno.EBUSY, os.open, chat(file), ASK, 0o644)
    fails("one more, of those that exist", errno.EBUSY, os.open, chat(file), os.O_RDWR)
    os.close(os.open(chat(file), os.O_RDONLY))
    os.close(fds.pop())

    def opens():
        try:
            return os.open(chat(file), ASK, 0o644)
        except OSError as e:
            same("not yet", errno.EBUSY, e.errno)
            return None
    fds.append(until("room for one", opens))
    for fd in fds:
        os.close(fd)


@check
def refused_where_it_can_be_known():  # rules W13, E1
    file = new("w13.txt")
    fails("no key", errno.EACCES, os.open, chat(file, "keyless"), ASK, 0o644)
    for provider, code, word in (("poor", errno.EDQUOT, ""), ("refused", errno.EACCES, "key")):
        got = asked(chat(file, provider), f"First ({provider})")
        same(f"{provider}: a turn", ["user", "error"], [t.kind for t in got])
        same(f"{provider}: its errno", errno.errorcode[code], got[1].note("errno"))
        assert word in attr(chat(file, provider), "error"), attr(chat(file, provider), "error")
        if provider == "poor":
            fails("known", code, os.open, chat(file, provider), ASK, 0o644)
        same(f"{provider}: reading is fine", got[1].body, said(chat(file, provider), "error")[0])
    odd = new("w13.zip", "PK\3\4 no text at all \1\2")
    got = asked(chat(odd, "kimi"), "What is in it (w13)?")
    same("what cannot be shown", ("error", "EOPNOTSUPP"), (got[-1].kind, got[-1].note("errno")))
    never_asked("What is in it (w13)?")


# ---- part 4: reading ----------------------------------------------------------------------------

@check
def bytes_stay():  # rules R1, R14
    file = new("r1.txt")
    asked(chat(file), "First (r1)")
    first = read(chat(file))
    same("from an offset", first.encode()[10:30],
         os.pread(os.open(chat(file), os.O_RDONLY), 20, 10))
    ask(chat(file, "slow"), "Slowly (r1)")
    fd = os.open(chat(file, "slow"), os.O_RDONLY)
    seen = []
    while piece := Behind(os.read, fd, 4096).result():
        seen.append(piece)
    same("what came piece by piece", b"".join(seen).decode(), read(chat(file, "slow")))
    asked(chat(file), "Second (r1)")
    same("what was there before", first, read(chat(file))[:len(first)])
    one, two = os.open(chat(file), os.O_RDONLY), os.open(chat(file), os.O_RDONLY)
    os.read(one, 25)
    same("another open has a position of its own", first[:20].encode(), os.read(two, 20))
    os.close(one)
    os.close(two)


@check
def a_reader_waits_for_those_that_have_flushed():  # rule R2
    file = new("r2.txt")
    asked(chat(file), "Known (r2)")
    fd = os.open(chat(file), ASK)
    write_all(fd, b"Not flushed (r2)")
    began = time.monotonic()
    same("who has not flushed", ["Known (r2)"], said(chat(file)))
    assert time.monotonic() - began < 1, "a reader waits for who has not flushed"
    os.close(os.dup(fd))
    began = time.monotonic()
    same("with O_NONBLOCK", ["Known (r2)"],
         [t.body for t in turns(read(chat(file), os.O_NONBLOCK)) if t.kind == "user"])
    assert time.monotonic() - began < 1, "O_NONBLOCK waits"
    reader = Behind(said, chat(file))
    assert reader.waits(0.3), "a reader does not wait"
    same("after 2 s it goes on", ["Known (r2)"], reader.result())
    took = time.monotonic() - began
    assert 1.8 < took < 4, took
    reader = Behind(said, chat(file))
    assert reader.waits(0.1), "a reader does not wait"
    os.close(fd)
    same("released: with its answer", ["Known (r2)", "Not flushed (r2)"], reader.result(1.5))


@check
def a_reader_waits_for_what_was_asked_before():  # rule R3
    file = new("r3.txt")
    p = chat(file, "slow")
    ask(p, "First (r3)")
    fd = os.open(p, os.O_RDONLY)
    ask(p, "Later (r3)")
    pieces = []
    while piece := Behind(os.read, fd, 65536).result():
        pieces.append(piece)
    got = b"".join(pieces).decode()
    assert len(pieces) > 5, f"{len(pieces)} pieces: it does not stream"
    same("ended once", 1, got.count("> supafs: end stop"))
    assert state(p) != "idle", "it waited for what was asked later"
    idle(p)
    same("the rest can be read", 1, drain(fd).decode().count("> supafs: end stop"))
    os.close(fd)


@check
def without_waiting():  # rules R4, R11
    file = new("r4.txt")
    p = chat(file, "mute")
    ask(p, "Anybody (r4)?")
    fd = os.open(p, os.O_RDONLY | os.O_NONBLOCK)
    got = b""

    def would_wait():
        nonlocal got
        try:
            piece = os.read(fd, 65536)
            assert piece, "the end of the file"
            got += piece
        except BlockingIOError:
            return b"Anybody (r4)?" in got and state(p) == "asking"
    until("EAGAIN", would_wait)
    fails("again", errno.EAGAIN, os.read, fd, 1)
    same("poll", select.POLLOUT, polled(fd))
    os.set_blocking(fd, True)
    waiting = Behind(polled, fd, select.POLLIN, 5000)
    reading = Behind(os.read, fd, 65536)
    assert waiting.waits() and reading.waits(0.05), "nothing was there"
    cancel(file)
    same("poll wakes", select.POLLIN, waiting.result(2) & select.POLLIN)
    assert reading.result(2), "the end of the file before what was cancelled"
    drain(fd)
    same("readable at the end, too", select.POLLIN | select.POLLOUT, polled(fd))
    os.close(fd)


@check
def signals_end_a_read():  # rule R5
    file = new("r5.txt")
    p = chat(file, "mute")
    ask(p, "Anybody (r5)?")
    until("it is asked", lambda: state(p) == "asking")
    cat = child("cat", p, stdout=subprocess.PIPE)
    os.read(cat.stdout.fileno(), 65536)
    time.sleep(0.1)
    began = time.monotonic()
    cat.send_signal(signal.SIGINT)
    same("how it ended", -signal.SIGINT, cat.wait(5))
    assert time.monotonic() - began < 1, "it waited"
    fd = os.open(p, os.O_RDONLY)
    os.lseek(fd, 0, os.SEEK_END)
    result = []

    def plain_read():
        buffer = ctypes.create_string_buffer(100)
        result.append((LIBC.read(fd, buffer, 100), ctypes.get_errno()))
    thread = threading.Thread(target=plain_read, daemon=True)
    thread.start()
    time.sleep(0.15)
    same("it waits", [], result)
    signal.pthread_kill(thread.ident, signal.SIGUSR1)
    thread.join(1)
    same("EINTR", [(-1, errno.EINTR)], result)
    same("nothing else was cancelled", "asking", state(p))
    cancel(file)
    os.close(fd)


@check
def an_open_that_wrote_reads_its_answer():  # rules R6, R9
    file = new("r6.txt")
    fd = os.open(chat(file), os.O_RDWR | os.O_CREAT, 0o644)
    write_all(fd, b"One (r6)?\n")
    one = drain(fd).decode()
    same("from its first byte", SIGN, one[:len(SIGN)])
    assert "You wrote: One (r6)?\n" in one and "##" not in one, one
    same("then the end", b"", os.read(fd, 10))
    same("a seek back", 0, os.lseek(fd, 0, os.SEEK_SET))
    same("begins it again", one, drain(fd).decode())
    same("pread", one.encode()[:7], os.pread(fd, 7, 0))
    write_all(fd, b"Two (r6)?\n")
    two = drain(fd).decode()
    assert two.startswith(SIGN) and "You wrote: Two (r6)?\n" in two, two
    assert "One" not in two
    os.close(fd)
    same("the transcript", [one.rstrip("\n"), two.rstrip("\n")], answers(chat(file)))
    fd = os.open(chat(file), os.O_RDWR)
    same("one that has not written reads all", "---", os.read(fd, 3).decode())
    os.close(fd)
    fd = os.open(chat(file), os.O_RDWR)
    write_all(fd, b"Three (r6)?\n")
    first = os.pread(fd, 5, 123456)
    same("whatever the offset", SIGN.encode()[:5], first)
    same("and on", SIGN.encode()[5:7], os.pread(fd, 2, 123461))
    os.close(fd)
    idle(file)


@check
def failures_of_an_answer():  # rules R7, E1, E2, E3
    file = new("r7.txt")
    for provider, code, begins in (("cut", errno.EIO, True), ("long", errno.EFBIG, False),
                                   ("late", errno.ETIMEDOUT, False)):
        fd = os.open(chat(file, provider), os.O_RDWR | os.O_CREAT, 0o644)
        write_all(fd, f"Well ({provider})?".encode())
        got = b""
        try:
            while piece := Behind(os.read, fd, 4096).result():
                got += piece
            raise AssertionError(f"{provider}: an end: {got!r}")
        except OSError as e:
            same(provider, errno.errorcode[code], errno.errorcode[e.errno])
        same(f"{provider}: what had come", begins, SIGN.startswith(got.decode()[:5]) and bool(got))
        os.close(fd)
        turn = turns_of(chat(file, provider))
        same(f"{provider}: the turn", "error", turn[-1].kind)
        same(f"{provider}: its errno", errno.errorcode[code], turn[-1].note("errno"))
        assert turn[-1].note("class"), turn[-1].below
        assert attr(file, "error"), provider
        if begins:
            same("it is incomplete", "incomplete", turn[-2].note("end"))
            same("and kept", got.decode().rstrip("\n"), turn[-2].body.rstrip("\n"))
            same("asked once", 1, times_asked(f"Well ({provider})?"))
    asked(chat(file), "---\nmodel: kimi-k2.6@400-toolong\n---\nToo long (r7)?")
    assert attr(chat(file), "error"), "no error"
    asked(chat(file), "Well (r7)?")
    until("a turn that succeeds ends the error", lambda: not has(chat(file), "user.supafs.error"))


def has(path, name):
    try:
        return os.getxattr(path, name)
    except OSError as e:
        same(name, "ENODATA", errno.errorcode[e.errno])
        return None


@check
def who_stops_reading_cancels():  # rule R8
    file = new("r8.txt")
    p = chat(file, "hang")
    fd = os.open(p, os.O_RDWR | os.O_CREAT, 0o644)
    write_all(fd, b"Go on (r8)?")
    got = Behind(os.read, fd, 4096).result()
    same("the first bytes", True, SIGN.encode().startswith(got[:5]))
    os.close(fd)
    idle(p)
    turn = turns_of(p)[-1]
    same("cancelled", "cancelled", turn.note("end"))
    assert turn.body.startswith(got.decode().rstrip("\n")[:5]), turn.body
    same("a reader cancels nothing", "answering", cancelled_by_a_reader(p))


def cancelled_by_a_reader(p):
    ask(p, "And now (r8)?")
    until("it answers", lambda: state(p) == "answering")
    fd = os.open(p, os.O_RDONLY)
    Behind(os.read, fd, 4096).result()
    os.close(fd)
    time.sleep(0.15)
    got = state(p)
    os.setxattr(p, "user.supafs.chat.cancel", b"1")
    return got


@check
def size_and_time():  # rule R10
    file = new("r10.txt")
    p = chat(file, "slow")
    began = time.time()
    ask(p, "How long (r10)?")
    sizes = set()
    while state(p) != "idle":
        sizes.add(os.stat(p).st_size)
        time.sleep(0.01)
    assert len(sizes) > 5, sizes
    st = os.stat(p)
    same("its size", len(read(p).encode()), st.st_size)
    assert began - 1 < st.st_mtime < time.time() + 1, (began, st.st_mtime)
    fd = os.open(p, os.O_RDONLY)
    same("by the open", st.st_size, os.fstat(fd).st_size)
    same("SEEK_END", st.st_size, os.lseek(fd, 0, os.SEEK_END))
    os.close(fd)


@check
def tail_f():  # rule R10
    file = new("r10b.txt")
    asked(chat(file), "First (r10)")
    tail = child("tail", "-c", "+1", "-f", chat(file), stdout=subprocess.PIPE)
    got = b""

    def sees(text):
        nonlocal got
        while text not in got:
            piece = os.read(tail.stdout.fileno(), 65536)
            assert piece, f"tail ended: {got!r}"
            got += piece
    try:
        Behind(sees, b"> supafs: end stop").result(3)
        ask(chat(file), "Second (r10)")
        Behind(sees, b"You wrote: Second (r10)").result(3)
    finally:
        tail.kill()
        tail.wait()


@check
def poll_of_a_stream():  # rule R11
    file = new("r11.txt")
    p = chat(file, "slow")
    ask(p, "Tell (r11)")
    fd = os.open(p, os.O_RDONLY | os.O_NONBLOCK)
    got, waits = b"", 0
    while b"> supafs: end stop" not in got:
        try:
            piece = os.read(fd, 65536)
            assert piece, f"an end: {got!r}"
            got += piece
        except BlockingIOError:
            waits += 1
            same("woken", select.POLLIN, polled(fd, select.POLLIN, 5000))
    assert waits > 5, waits
    os.close(fd)


@check
def no_page_cache():  # rule R12
    file = new("r12.txt")
    asked(chat(file), "Something (r12)")
    fd = os.open(chat(file), os.O_RDWR)
    fails("shared and writable", errno.ENODEV, mmap.mmap, fd, 10, mmap.MAP_SHARED,
          mmap.PROT_READ | mmap.PROT_WRITE)
    os.close(fd)
    same("nothing was asked", 1, len(said(chat(file))))


# ---- part 5: other calls ------------------------------------------------------------------------

@check
def truncation_and_its_like():  # rule C5
    file = new("c5.txt")
    asked(chat(file), "First (c5)")
    before = read(chat(file))
    size = len(before.encode())
    os.truncate(chat(file), size)
    fd = os.open(chat(file), os.O_RDWR)
    os.ftruncate(fd, size)
    tries("truncate", ("shorter", errno.EINVAL, os.truncate, chat(file), 5),
          ("longer", errno.EINVAL, os.truncate, chat(file), size + 1),
          ("shorter, open", errno.EINVAL, os.ftruncate, fd, 5))
    tries("seek", ("hole", errno.EINVAL, os.lseek, fd, 0, os.SEEK_HOLE),
          ("data", errno.EINVAL, os.lseek, fd, 0, os.SEEK_DATA))
    same("fallocate", (-1, errno.EOPNOTSUPP), (LIBC.fallocate(fd, 0, ctypes.c_long(0), ctypes.c_long(10)),
                                               ctypes.get_errno()))
    same("nothing has changed", before, read(chat(file)))
    os.close(fd)
    fd = os.open(chat(file), os.O_RDWR)
    write_all(fd, b"Second (c5)")
    os.ftruncate(fd, 11)
    fails("less than was written", errno.EINVAL, os.ftruncate, fd, 6)
    os.close(fd)
    same("it was asked", ["First (c5)", "Second (c5)"], said(chat(file)))
    fails("link", errno.EPERM, os.link, chat(file), os.path.join(TOP, "c5.link"))
    fails("rename", errno.EXDEV, os.rename, chat(file), os.path.join(TOP, "c5.moved"))


@check
def copied_by_the_kernel():  # rules C5, C6
    file = new("c6.txt")
    asked(chat(file), "First (c6)")
    text = read(chat(file)).encode()
    copy = os.path.join(TOP, "c6.md")
    source, target = os.open(chat(file), os.O_RDONLY), os.open(copy, os.O_WRONLY | os.O_CREAT)
    # The kernel copies by itself what the filesystem refuses with EXDEV, or says it.
    try:
        os.copy_file_range(source, target, 1 << 20)
        os.close(target)
        with open(copy, "rb") as f:
            same("the copy", text, f.read())
    except OSError as e:
        same("copy_file_range", "EXDEV", errno.errorcode[e.errno])
        os.close(target)
    os.close(source)
    subprocess.run(["cp", chat(file), copy], check=True)
    with open(copy, "rb") as f:
        same("cp", text, f.read())


@check
def cancelled():  # rules C8, S9
    file = new("c8.txt")
    p = chat(file, "hang")
    for prompt in ("First (c8)", "Second (c8)"):
        ask(p, prompt)
    until("it answers", lambda: state(p) == "answering")
    same("which name it has", True, bool(attr(p, "chat.id")))
    fails("an attribute that is not set", errno.ENODATA, os.getxattr, file, "user.supafs.chat.model")
    reader = Behind(read, p)
    assert reader.waits(), "it has ended"
    cancel(file)
    got = turns(reader.result(3))
    same("the one that ran", "cancelled", got[1].note("end"))
    assert SIGN.startswith(got[1].body[:5]) and got[1].body, "what had arrived is kept"
    same("the one that waited was never asked", 0, times_asked("Second (c8)"))
    same("idle", "idle", state(p))
    same("listed attributes", [], [n for n in os.listxattr(file) if "chat" in n])


@check
def a_cancelled_answer_is_an_error():  # rules C8, R7
    file = new("c8b.txt")
    p = chat(file, "mute")
    fd = os.open(p, os.O_RDWR | os.O_CREAT, 0o644)
    write_all(fd, b"Anybody (c8b)?")
    reader = Behind(os.read, fd, 100)
    until("it is asked", lambda: state(p) == "asking")
    cancel(file)
    fails("its read", errno.ECANCELED, reader.result, 3)
    os.close(fd)


@check
def others_are_asked_where_that_is_wanted():  # rule E4
    file = new("e4.txt")
    got = asked(chat(file, "backed"), "Who (e4)?")
    same("who answered", "glm", got[-1].provider)
    assert ": " in (got[-1].note("fallback") or ""), "no note says so"


if __name__ == "__main__":
    sys.exit(run(threads=8))
