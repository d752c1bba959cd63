#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs do with the bytes of files beside read() and write(): mappings, holes, ranges.

  data-ops.py DIRECTORY BUCKET LIMIT [writeback]

DIRECTORY shows BUCKET, in which an object may have LIMIT bytes. Each check is a function below; it
gets a directory of its own. What is closed is compared with the bucket.
"""
import ctypes
import errno
import mmap
import os
import random
import shutil
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import objects  # noqa: E402

TOP, BUCKET, LIMIT = sys.argv[1], sys.argv[2], int(sys.argv[3])
WRITEBACK = "writeback" in sys.argv[4:]
PAGE = mmap.PAGESIZE
KEEP, PUNCH, COLLAPSE, ZERO, INSERT = 1, 2, 8, 16, 32
libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
api = objects.Api()


def in_bucket(path):
    key = os.path.relpath(path, TOP)
    return api.call("GET", "/object/authenticated/" + objects.quote(BUCKET + "/" + key))


def same(what, want, got):
    if want == got:
        return
    at = next((i for i, (a, b) in enumerate(zip(want, got)) if a != b), min(len(want), len(got)))
    raise SystemExit(f"{what}: {len(want)} bytes wanted, {len(got)} there, they differ at {at}: "
                     f"{want[at:at + 16]!r} {got[at:at + 16]!r}")


def soon_in_bucket(what, path, want):
    """At once for close(); with sync=writeback, or after a mapping's end, within seconds."""
    for _ in range(400):
        try:
            if in_bucket(path) == want:
                return
        except SystemExit:  # not there yet
            pass
        time.sleep(0.05)
    same(what, want, in_bucket(path))


def uploaded(what, path, want):
    if WRITEBACK:
        soon_in_bucket(what, path, want)
    else:
        same(what, want, in_bucket(path))


def stored(path, want):
    """Here and in the bucket."""
    with open(path, "rb") as f:
        same("read of " + path, want, f.read())
    uploaded("object of " + path, path, want)


def fails(code, fn, *args):
    try:
        got = fn(*args)
    except OSError as e:
        if e.errno != code:
            raise SystemExit(f"{errno.errorcode[code]} wanted, {e} came")
        return
    raise SystemExit(f"{errno.errorcode[code]} wanted, {got!r} came")


def fallocate(fd, mode, off, length):
    if libc.fallocate(fd, mode, off, length) < 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def some(n, salt=1):
    period = 251 * 255
    once = bytes((i * 7 + i // 251 + salt) % 255 + 1 for i in range(min(n, period)))
    return (once * (n // period + 1))[:n]


def new(path, data=b""):
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done:], done)
    return fd


def put(path, data):
    os.close(new(path, data))


# ---- holes ---------------------------------------------------------------------------------------

def holes_are_zeros(d):
    path = d + "/sparse"
    fd = new(path)
    os.pwrite(fd, b"end", 3_000_000)
    os.ftruncate(fd, 5_000_000)
    os.pwrite(fd, b"x", 70_000)
    want = bytearray(5_000_000)
    want[3_000_000:3_000_003] = b"end"
    want[70_000:70_001] = b"x"
    same("the hole", bytes(100), os.pread(fd, 100, 1_000_000))
    os.close(fd)
    stored(path, bytes(want))


def holes_are_told(d):
    path = d + "/told"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    os.ftruncate(fd, 8 << 20)
    os.pwrite(fd, b"x" * 4096, 4 << 20)
    assert os.lseek(fd, 0, os.SEEK_HOLE) == 0
    assert os.lseek(fd, 0, os.SEEK_DATA) == 4 << 20
    assert os.lseek(fd, 4 << 20, os.SEEK_HOLE) == (4 << 20) + 4096
    fails(errno.ENXIO, os.lseek, fd, 5 << 20, os.SEEK_DATA)
    fails(errno.ENXIO, os.lseek, fd, 8 << 20, os.SEEK_HOLE)
    with open(path, "r+b") as f, mmap.mmap(f.fileno(), 0) as m:  # it may be data any moment
        m[PAGE] = 1
        assert os.lseek(fd, 0, os.SEEK_DATA) == 0
        assert os.lseek(fd, 0, os.SEEK_HOLE) == 8 << 20
    os.close(fd)
    fd = os.open(path, os.O_RDONLY)
    if not WRITEBACK:  # then it is staged until it is sent
        assert os.lseek(fd, 5, os.SEEK_DATA) == 5
        assert os.lseek(fd, 5, os.SEEK_HOLE) == 8 << 20
    assert os.lseek(fd, 0, os.SEEK_END) == 8 << 20
    os.close(fd)


def not_fetched_is_data(d):
    path = d + "/object"
    data = some(3_000_000)
    api.call("PUT", "/object/" + objects.quote(f"{BUCKET}/{os.path.relpath(path, TOP)}"), data,
             "application/octet-stream")
    wait_for(path)
    fd = os.open(path, os.O_WRONLY)
    fallocate(fd, PUNCH | KEEP, 1 << 20, 1 << 20)
    assert os.lseek(fd, 0, os.SEEK_HOLE) == 1 << 20
    assert os.lseek(fd, 1 << 20, os.SEEK_DATA) == 2 << 20
    assert os.lseek(fd, 2 << 20, os.SEEK_HOLE) == len(data)
    os.close(fd)
    stored(path, data[:1 << 20] + bytes(1 << 20) + data[2 << 20:])


def wait_for(path):
    for _ in range(200):
        if os.path.exists(path):
            return
        time.sleep(0.02)
    raise SystemExit(f"{path} does not appear")


def fallocate_modes(d):
    path = d + "/ranges"
    want = bytearray(some(300_000))
    fd = new(path, bytes(want))
    with mmap.mmap(fd, 300_000) as m:
        m[100_000:100_010] = b"in a page."  # dirty when the hole is made
        fallocate(fd, PUNCH | KEEP, 99_000, 50_001)
        want[99_000:149_001] = bytes(50_001)
        same("the mapping", bytes(want), m[:])
    fallocate(fd, ZERO, 290_000, 20_000)
    want[290_000:] = bytes(20_000)
    assert os.fstat(fd).st_size == 310_000
    fallocate(fd, ZERO | KEEP, 5, 10)
    want[5:15] = bytes(10)
    fallocate(fd, PUNCH | KEEP, 309_000, 100_000)
    want[309_000:] = bytes(1000)
    fallocate(fd, KEEP, 300_000, 1 << 20)
    assert os.fstat(fd).st_size == 310_000
    fallocate(fd, 0, 0, 320_000)
    want += bytes(10_000)
    for mode in (COLLAPSE, INSERT, PUNCH):
        fails(errno.EOPNOTSUPP, fallocate, fd, mode, 0, 4096)
    fails(errno.EFBIG, fallocate, fd, 0, 0, LIMIT + 1)
    fails(errno.EFBIG, fallocate, fd, ZERO, LIMIT, 1)
    same("read", bytes(want), os.pread(fd, 400_000, 0))
    os.close(fd)
    stored(path, bytes(want))


# ---- mappings ------------------------------------------------------------------------------------

def two_mappings(d):
    path = d + "/shared"
    want = bytearray(some(3 * PAGE + 100))
    put(path, bytes(want))
    a, b = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    ma, mb = mmap.mmap(a, len(want)), mmap.mmap(b, len(want))
    for m, at, text in ((ma, 10, b"first"), (mb, PAGE + 10, b"second"), (ma, 3 * PAGE + 90, b"third")):
        m[at:at + len(text)] = text
        want[at:at + len(text)] = text
    same("the other mapping", bytes(want), ma[:])
    same("read()", bytes(want), os.pread(b, 100_000, 0))
    os.pwrite(b, b"by write()", PAGE * 2)
    want[PAGE * 2:PAGE * 2 + 10] = b"by write()"
    same("write() in the mapping", bytes(want), mb[:])
    direct = os.open(path, os.O_RDONLY | os.O_DIRECT)
    with mmap.mmap(-1, 4 * PAGE) as room:
        n = os.preadv(direct, [room], 0)
        same("O_DIRECT", bytes(want), room[:n])
    os.close(direct)
    ma.flush()
    os.close(a)
    uploaded("after the first close", path, bytes(want))
    ma[20:24] = b"late"
    want[20:24] = b"late"
    ma.close()
    mb.close()
    os.close(b)
    stored(path, bytes(want))


def whose_pages(d):
    """The kernel writes pages with any handle that has mapped the file."""
    path = d + "/pages"
    want = bytearray(some(2 * PAGE))
    put(path, bytes(want))
    a, b = os.open(path, os.O_RDWR), os.open(path, os.O_RDWR)
    ma, mb = mmap.mmap(a, 2 * PAGE), mmap.mmap(b, 2 * PAGE)
    for fd, m, text in ((a, ma, b"first"), (b, mb, b"other")):
        m[5:10] = want[5:10] = text
        os.close(fd)
        uploaded("after " + text.decode() + "'s close", path, bytes(want))
    ma.close()
    mb.close()


def appender_maps(d):
    """Pages go to their place, though the handle appends."""
    path = d + "/log"
    want = bytearray(some(2 * PAGE))
    put(path, bytes(want))
    log = os.open(path, os.O_RDWR | os.O_APPEND)
    with mmap.mmap(log, 2 * PAGE) as m:
        m[5:10] = want[5:10] = b"pages"
        m.flush()
        os.write(log, b"line\n")
        want += b"line\n"
        m[PAGE:PAGE + 4] = want[PAGE:PAGE + 4] = b"more"
    os.close(log)
    stored(path, bytes(want))


def mapped_after_close(d):
    path = d + "/unmapped-late"
    want = bytearray(some(100_000))
    put(path, bytes(want))
    fd = os.open(path, os.O_RDWR)
    m = mmap.mmap(fd, 100_000)
    os.close(fd)  # python's mmap has a descriptor of its own, which its close() closes, too
    m[50_000:50_005] = b"later"
    want[50_000:50_005] = b"later"
    m.close()
    with open(path, "rb") as f:
        same("read", bytes(want), f.read())
    soon_in_bucket("object of " + path, path, bytes(want))


def cut_while_mapped(d):
    path = d + "/cut"
    put(path, some(4 * PAGE))
    if not (child := os.fork()):
        fd = os.open(path, os.O_RDWR)
        m = mmap.mmap(fd, 4 * PAGE)
        m[3 * PAGE] = 7
        os.truncate(path, PAGE + 10)
        if m[PAGE + 10:2 * PAGE] != bytes(PAGE - 10):
            os._exit(3)
        m[5:8] = b"cut"
        m.flush(0, PAGE)
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        m[3 * PAGE]  # beyond the end: SIGBUS
        os._exit(4)
    assert os.waitpid(child, 0)[1] & 0x7f == signal.SIGBUS
    want = bytearray(some(4 * PAGE)[:PAGE + 10])
    want[5:8] = b"cut"
    with open(path, "ab"):
        pass
    soon_in_bucket("object of " + path, path, bytes(want))
    stored(path, bytes(want))
    os.truncate(path, 3 * PAGE)
    stored(path, bytes(want) + bytes(3 * PAGE - len(want)))


def emptied_while_open(d):
    path = d + "/emptied"
    put(path, some(50_000))
    fd = os.open(path, os.O_RDWR)
    m = mmap.mmap(fd, PAGE)
    m[0:3] = b"abc"
    again = os.open(path, os.O_WRONLY | os.O_TRUNC)
    assert os.fstat(fd).st_size == 0
    assert os.pread(fd, 10, 0) == b""
    os.write(again, b"new")
    assert m[0:4] == b"new\0"
    m[1:2] = b"E"
    m.close()
    os.close(again)
    os.close(fd)
    stored(path, b"nEw")


def mapped_as_others_replace_it(d):
    """Another size is news for the kernel; a shared mapping is possible all the same."""
    path = d + "/replaced"
    for i in range(8):
        data = some(10_000 + 500 * i, i)
        api.call("PUT", "/object/" + objects.quote(f"{BUCKET}/{os.path.relpath(path, TOP)}"), data,
                 "application/octet-stream")
        wait_for(path)
        with open(path, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
            got = m[:]
        if got != data:  # known for less than attr_ttl
            same("an old version", some(len(got), (len(got) - 10_000) // 500), got)


class Plain:
    """A file in memory, and the same operations on real ones through several handles."""

    KINDS = (os.O_RDWR, os.O_RDWR, os.O_RDWR | os.O_APPEND, os.O_WRONLY, os.O_RDONLY,
             os.O_RDONLY | os.O_DIRECT)
    MAX = 400_000

    def __init__(self, path, seed):
        self.path, self.rnd, self.data = path, random.Random(seed), bytearray()
        self.fds = [new(path)] + [os.open(path, k) for k in self.KINDS[1:]]
        os.ftruncate(self.fds[0], self.MAX)  # python maps no more than the file has
        self.data += bytes(self.MAX)
        self.maps = [mmap.mmap(self.fds[i], self.MAX) for i in (0, 1)]

    def end(self, off, length):
        """Bytes up to @off + @length are there."""
        if len(self.data) < off + length:
            self.data += bytes(off + length - len(self.data))

    def write(self, off, length):
        data = self.rnd.randbytes(length)
        which = self.rnd.choice((0, 1, 2, 3))
        if which == 2:
            off = len(self.data)
            if off + length > self.MAX:
                return
            os.write(self.fds[2], data)
        else:
            os.pwrite(self.fds[which], data, off)
        self.end(off, length)
        self.data[off:off + length] = data

    def store(self, off, length):
        """Through a mapping, as far as the file goes."""
        length = min(length, len(self.data) - off)
        if length > 0:
            self.data[off:off + length] = data = self.rnd.randbytes(length)
            self.rnd.choice(self.maps)[off:off + length] = data

    def load(self, off, length):
        length = min(length, len(self.data) - off)
        if length > 0:
            same("a mapping", bytes(self.data[off:off + length]),
                 self.rnd.choice(self.maps)[off:off + length])

    def read(self, off, length):
        fd = self.fds[self.rnd.choice((0, 1, 2, 4, 5))]
        off, length = off // PAGE * PAGE, (length // PAGE + 1) * PAGE
        with mmap.mmap(-1, length) as room:
            got = os.preadv(fd, [room], off)
            want = bytes(self.data[off:off + length])
            same("read()", want, room[:got])

    def cut(self, off, _length):
        if self.rnd.randrange(2):
            os.truncate(self.path, off)
        else:
            os.ftruncate(self.fds[self.rnd.choice((0, 1, 3))], off)
        del self.data[off:]
        self.end(off, 0)

    def zero(self, off, length):
        mode = self.rnd.choice((PUNCH | KEEP, ZERO, ZERO | KEEP, 0))
        fallocate(self.fds[self.rnd.choice((0, 1, 3))], mode, off, length)
        if not mode & KEEP:
            self.end(off, length)
        stop = min(off + length, len(self.data))
        if mode and off < stop:
            self.data[off:stop] = bytes(stop - off)

    def copy(self, off, length):
        to = self.rnd.randrange(self.MAX - length)
        if abs(to - off) < length or off >= len(self.data):
            return
        n = os.copy_file_range(self.fds[0], self.fds[3], length, off, to)
        self.end(to, n)
        self.data[to:to + n] = self.data[off:off + n]

    def sync(self, _off, _length):
        how = self.rnd.randrange(4)
        if how == 0:
            os.fsync(self.fds[self.rnd.choice((0, 4))])
        elif how == 1:
            self.rnd.choice(self.maps).flush()
        elif how == 2:
            os.close(os.dup(self.fds[self.rnd.choice((0, 1, 3))]))  # as a close() does
        else:
            os.posix_fadvise(self.fds[0], 0, 0, os.POSIX_FADV_DONTNEED)

    def reopen(self, _off, _length):
        which = self.rnd.choice((2, 3, 4, 5))
        os.close(self.fds[which])
        self.fds[which] = os.open(self.path, self.KINDS[which])

    def run(self, steps):
        ops = ([self.write] * 4 + [self.store] * 3 + [self.load] * 2 + [self.read] * 4
               + [self.cut, self.zero, self.zero, self.copy, self.reopen])
        for i in range(steps):
            op = self.sync if i % 25 == 24 else self.rnd.choice(ops)
            off, length = self.rnd.randrange(self.MAX - 60_000), self.rnd.randrange(1, 60_000)
            try:
                op(off, length)
                assert os.fstat(self.fds[4]).st_size == len(self.data), "the size is another one"
            except BaseException:
                print(f"step {i}: {op.__name__} {off} {length}, {len(self.data)} bytes")
                raise
        for m in self.maps:
            m.close()
        for fd in self.fds:
            os.close(fd)
        stored(self.path, bytes(self.data))


def several_handles(d):
    seed = int(os.environ.get("SF_SEED") or random.randrange(1 << 30))
    steps = 20_000 if os.environ.get("SF_SOAK") else 400
    print("SF_SEED", seed, flush=True)
    Plain(d + "/file", seed).run(steps)


# ---- appends, copies, sizes ----------------------------------------------------------------------

def several_append(d):
    path = d + "/appended"
    put(path, b"")
    children = []
    for who in range(4):
        if not (child := os.fork()):
            fd = os.open(path, os.O_WRONLY | os.O_APPEND)
            for i in range(100):
                os.write(fd, b"%d %3d %s\n" % (who, i, b"x" * (i * 3)))
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    with open(path, "rb") as f:
        lines = f.read().splitlines(keepends=True)
    assert sorted(lines) == sorted(b"%d %3d %s\n" % (who, i, b"x" * (i * 3))
                                   for who in range(4) for i in range(100)), "lines are torn or lost"
    for who in range(4):
        mine = [line for line in lines if line.startswith(b"%d " % who)]
        assert mine == sorted(mine), "lines of one writer changed places"
    stored(path, b"".join(lines))


def ranges_are_copied(d):
    a, b = d + "/from", d + "/to"
    data = some(700_000)
    put(a, data)
    src, dst = os.open(a, os.O_RDWR), new(b, some(300_000, 9))
    want = bytearray(some(300_000, 9))

    def copy(fd_in, off_in, fd_out, off_out, length):
        done = 0
        while done < length:
            n = os.copy_file_range(fd_in, fd_out, length - done, off_in + done, off_out + done)
            if n == 0:
                break
            done += n
        return done

    assert copy(src, 100_001, dst, 250_000, 200_000) == 200_000
    want[250_000:450_000] = data[100_001:300_001]
    assert copy(src, 650_000, dst, 1000, 100_000) == 50_000  # up to the end
    want[1000:51_000] = data[650_000:]
    assert copy(src, 800_000, dst, 0, 10) == 0
    assert copy(dst, 0, dst, 600_000, 100_000) == 100_000  # behind the end: a hole before it
    want += bytes(600_000 - len(want)) + want[:100_000]
    assert copy(dst, 0, dst, 100_000, 100_000) == 100_000  # they touch
    want[100_000:200_000] = want[:100_000]
    fails(errno.EINVAL, os.copy_file_range, dst, dst, 50_000, 0, 49_999)  # they overlap
    with mmap.mmap(src, 700_000) as m:
        m[5:9] = b"page"  # not written yet
        assert copy(src, 0, dst, 20, 100) == 100
        want[20:120] = m[:100]
    same("read", bytes(want), os.pread(dst, 1_000_000, 0))
    os.close(dst)
    os.close(src)
    stored(b, bytes(want))
    shutil.copyfile(a, d + "/whole")
    stored(d + "/whole", data[:5] + b"page" + data[9:])


def sendfile_and_splice(d):
    path = d + "/sent"
    data = some(900_000)
    put(path, data)
    src, dst = os.open(path, os.O_RDONLY), new(d + "/received")
    done = 0
    while n := os.sendfile(dst, src, done, 400_000):
        done += n
    r, w = os.pipe()
    at = 0
    while n := os.splice(src, w, 60_000, offset_src=at):
        moved = 0
        while moved < n:
            moved += os.splice(r, dst, n - moved, offset_dst=done + at + moved)
        at += n
    os.close(dst)
    os.close(src)
    stored(d + "/received", data + data)


def sizes_at_the_edges(d):
    fd = new(d + "/edges", b"begin")
    fails(errno.EFBIG, os.pwrite, fd, b"x", LIMIT)
    fails(errno.EFBIG, os.ftruncate, fd, LIMIT + 1)
    fails(errno.EFBIG, os.pwrite, fd, b"x", (1 << 63) - 2)
    fails(errno.EINVAL, os.ftruncate, fd, -1)
    for at in ((1 << 31) - 2, (1 << 32) - 2, LIMIT - 4):
        assert os.pwrite(fd, b"edge", at) == 4
        assert os.fstat(fd).st_size == at + 4
        assert os.pread(fd, 8, at - 4) == b"\0\0\0\0edge"
    assert os.pread(fd, 8, 0) == b"begin\0\0\0"
    assert os.pread(fd, 8, (1 << 31) - 2)[:4] == b"edge"
    os.ftruncate(fd, 7)
    os.close(fd)
    stored(d + "/edges", b"begin\0\0")


def running_programs(d):
    path = d + "/program"
    shutil.copyfile(shutil.which("sleep"), path)
    os.chmod(path, 0o755)
    fd = os.open(path, os.O_RDWR)
    fails(errno.ETXTBSY, os.posix_spawn, path, ["program", "0"], {})
    os.close(fd)
    running = subprocess.Popen([path, "60"])
    try:
        fails(errno.ETXTBSY, os.open, path, os.O_WRONLY)
        fails(errno.ETXTBSY, os.open, path, os.O_RDWR | os.O_TRUNC)
        fails(errno.ETXTBSY, os.truncate, path, 0)
    finally:
        running.kill()
        running.wait()
    with open(path, "r+b") as f:
        f.write(b"again")


def main():
    checks = [holes_are_zeros, holes_are_told, not_fetched_is_data, fallocate_modes, two_mappings,
              whose_pages, appender_maps, mapped_after_close, cut_while_mapped, emptied_while_open,
              mapped_as_others_replace_it, several_handles, several_append, ranges_are_copied,
              sendfile_and_splice, sizes_at_the_edges, running_programs]
    for check in checks:
        print(check.__name__, flush=True)
        d = f"{TOP}/{check.__name__}"
        os.mkdir(d)
        check(d)


main()
