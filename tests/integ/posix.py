#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""posix.py PART DIRECTORY: what system calls do in a mount; the parts are the functions at the end.

Every check that fails is printed; the exit status says whether there was one.
"""
import ctypes
import errno
import fcntl
import mmap
import os
import socket
import stat
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import objects  # noqa: E402

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
bad = checks = 0


def check(what, good, seen=""):
    global bad, checks
    checks += 1
    if not good:
        bad += 1
        print(f"{what}: {seen}")


def refused(want, call, *args, **kw):
    """The call fails with this errno; "" = it succeeds."""
    got = ""
    try:
        call(*args, **kw)
    except OSError as e:
        got = errno.errorcode[e.errno]
    name = getattr(call, "__name__", "call")
    check(f"{name}{args!r:.120} {kw or ''}", got == want, f"wanted {want or 'success'}, got {got}")


def renameat2(old, new, flags):
    ctypes.set_errno(0)
    if LIBC.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags) < 0:
        raise OSError(ctypes.get_errno(), old)


def make(path, data=b"x", mode=0o644):
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    os.write(fd, data)
    os.close(fd)


def rewrite(path, data):
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, data)
    os.close(fd)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def opened(path, flags, *rest):
    os.close(os.open(path, flags, *rest))


def perm(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


# ---- errors --------------------------------------------------------------------------------------


def names():
    os.makedirs("d/e")
    make("d/f")
    refused("EINVAL", os.rename, "d", "d/e/x")
    refused("ENOTEMPTY", os.rename, "d/e", "d")
    refused("ENOENT", os.rename, "none", "x")
    refused("EISDIR", os.rename, "d/f", "d/e")
    refused("ENOTDIR", os.rename, "d/e", "d/f")
    refused("ENOTDIR", os.mkdir, "d/f/x")
    refused("ENOTDIR", os.rmdir, "d/f")
    refused("ENOTEMPTY", os.rmdir, "d")
    refused("EISDIR", os.unlink, "d/e")
    refused("EINVAL", os.rmdir, "d/e/.")
    refused("", os.rename, "d/f", "d/f")
    os.makedirs("full")
    make("full/f")
    refused("ENOTEMPTY", os.rename, "full", "d")
    os.mkdir("free")
    refused("", os.rename, "full", "free")
    check("a directory over an empty one", os.listdir("free") == ["f"])
    refused("EEXIST", renameat2, "free/f", "d/f", 1)
    refused("EINVAL", renameat2, "free/f", "d/f", 2)
    refused("", renameat2, "free/f", "free/g", 1)
    for path in ("d/f", "d"):
        refused("EPERM", os.link, path, "second")
    refused("EEXIST", os.link, "d/f", "free/g")
    refused("ENOENT", os.link, "none", "second")


def long_names():
    refused("", make, "n" * 255)
    os.unlink("n" * 255)
    long = "n" * 256
    for call, args in ((make, ()), (os.mkdir, ()), (os.stat, ()), (os.mkfifo, ())):
        refused("ENAMETOOLONG", call, long, *args)
    refused("ENAMETOOLONG", os.symlink, "x", long)
    # Of a key, which has at most 900 bytes. An escaped byte takes four.
    os.makedirs("k" * 250 + "/" + "k" * 250 + "/" + "k" * 250)
    deep = "k" * 250 + "/" + "k" * 250 + "/" + "k" * 250 + "/"
    room = 900 - len("errors/long_names/") - len(deep)
    make("short")
    refused("ENAMETOOLONG", make, deep + "y" * (room + 1))
    refused("ENAMETOOLONG", os.mkdir, deep + "y" * room)  # it ends in a slash
    refused("ENAMETOOLONG", os.mkfifo, deep + "#" * (room // 4 + 1))
    refused("ENAMETOOLONG", os.rename, "short", deep + "y" * (room + 1))
    check("a rename that was refused", read("short") == b"x")
    refused("", make, deep + "y" * room)
    refused("", os.mkdir, deep + "z" * (room - 1))


def links():
    os.mkdir("d")
    target = "t" * 4095
    os.symlink(target, "l")
    check("a long target", os.readlink("l") == target and os.lstat("l").st_size == 4095)
    refused("ENAMETOOLONG", os.symlink, target + "t", "l2")
    refused("ENOENT", os.symlink, "", "l2")
    refused("EEXIST", os.symlink, "t", "d")
    os.symlink("loop", "loop")
    refused("ELOOP", os.stat, "loop")
    refused("ELOOP", opened, "l", os.O_RDONLY | os.O_NOFOLLOW)
    os.symlink("d", "s")
    refused("ENOTDIR", os.rmdir, "s")
    refused("EINVAL", os.readlink, "d")
    os.symlink(b"\xff\xfe\n", "odd")
    check("bytes of a target", os.readlink(b"odd") == b"\xff\xfe\n")


def opens():
    os.mkdir("d")
    make("f", b"abc")
    refused("ENOTDIR", opened, "f", os.O_DIRECTORY)
    refused("EISDIR", opened, "d", os.O_WRONLY)
    refused("EISDIR", opened, "d", os.O_RDWR | os.O_CREAT)
    refused("EEXIST", opened, "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    refused("EISDIR", os.truncate, "d", 0)
    refused("EINVAL", os.truncate, "f", -1)
    refused("EFBIG", os.truncate, "f", 1 << 60)
    fd = os.open("f", os.O_WRONLY)
    refused("EBADF", os.read, fd, 1)
    refused("EFBIG", os.pwrite, fd, b"x", 1 << 50)
    os.close(fd)
    fd = os.open("a", os.O_CREAT | os.O_APPEND | os.O_RDWR | os.O_SYNC, 0o600)
    os.write(fd, b"a")
    os.pwrite(fd, b"b", 0)
    check("O_APPEND", os.pread(fd, 9, 0) == b"ab")
    os.close(fd)
    fd = os.open("m", os.O_CREAT | os.O_RDWR, 0)
    os.write(fd, b"x")
    os.close(fd)
    check("mode 0", perm("m") == 0)


def removed():
    """What has no name any more."""
    fd = os.open("u", os.O_CREAT | os.O_RDWR, 0o600)
    os.write(fd, b"hello")
    os.unlink("u")
    check("nlink of a removed file", os.fstat(fd).st_nlink == 0, os.fstat(fd).st_nlink)
    os.pwrite(fd, b"J", 0)
    os.fchmod(fd, 0o640)
    os.ftruncate(fd, 4)
    now = os.fstat(fd)
    check("a removed file", os.pread(fd, 9, 0) == b"Jell" and stat.S_IMODE(now.st_mode) == 0o640)
    os.close(fd)
    refused("ENOENT", os.stat, "u")
    make("old", b"old")
    make("new", b"newer")
    fd = os.open("old", os.O_RDONLY)
    os.rename("new", "old")
    check("a replaced file", os.read(fd, 9) == b"old" and os.fstat(fd).st_nlink == 0)
    os.close(fd)
    check("what replaced it", read("old") == b"newer" and os.stat("old").st_nlink == 1)
    os.mkdir("d")
    fd = os.open("d", os.O_RDONLY)
    os.rmdir("d")
    check("a removed directory", os.fstat(fd).st_nlink == 0 and os.listdir(fd) == [])
    refused("ENOENT", os.mkdir, "x", dir_fd=fd)
    refused("ENOENT", os.open, "x", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    os.close(fd)


# ---- times ---------------------------------------------------------------------------------------


def changes(what, call, ctime=(), mtime=(), neither=()):
    paths = {*ctime, *mtime, *neither}
    before = {p: os.lstat(p) for p in paths}
    time.sleep(0.012)
    call()
    for p in paths:
        now = os.lstat(p)
        c, m = now.st_ctime_ns > before[p].st_ctime_ns, now.st_mtime_ns > before[p].st_mtime_ns
        check(f"{what}: ctime of {p}", c == (p in ctime or p in mtime), c)
        if p in mtime or p in neither:
            check(f"{what}: mtime of {p}", m == (p in mtime), m)


def times():
    os.makedirs("t/sub")
    os.mkdir("t2")
    make("t/f")
    for what, call in (("chmod", lambda: os.chmod("t/f", 0o600)),
                       ("chown", lambda: os.chown("t/f", os.getuid(), os.getgid())),
                       ("setxattr", lambda: os.setxattr("t/f", "user.a", b"1")),
                       ("utime", lambda: os.utime("t/f", (5, 5)))):
        changes(what, call, ctime=["t/f"], neither=["t"])
    changes("truncate", lambda: os.truncate("t/f", 0), mtime=["t/f"], neither=["t"])
    changes("truncate to its size", lambda: os.truncate("t/f", 0), mtime=["t/f"], neither=["t"])
    changes("O_TRUNC of an empty file", lambda: opened("t/f", os.O_WRONLY | os.O_TRUNC),
            mtime=["t/f"], neither=["t"])
    changes("write", lambda: rewrite("t/f", b"abc"), mtime=["t/f"], neither=["t"])
    changes("write of nothing", lambda: rewrite("t/f", b""), neither=["t/f", "t"])
    changes("read", lambda: read("t/f"), neither=["t/f", "t"])
    changes("mkdir", lambda: os.mkdir("t/x"), mtime=["t"], neither=["t/f"])
    changes("rmdir", lambda: os.rmdir("t/x"), mtime=["t"])
    changes("mkfifo", lambda: os.mkfifo("t/x"), mtime=["t"])
    changes("unlink", lambda: os.unlink("t/x"), mtime=["t"])
    changes("symlink", lambda: os.symlink("q", "t/x"), mtime=["t"])
    changes("lutime", lambda: os.utime("t/x", (7, 7), follow_symlinks=False), ctime=["t/x"],
            neither=["t"])
    changes("create", lambda: make("t/new"), mtime=["t"])
    changes("rename", lambda: os.rename("t/new", "t2/new"), mtime=["t", "t2"])
    changes("rename of a file", lambda: os.rename("t/f", "t/f2"), mtime=["t"])
    os.rename("t/f2", "t/f")
    was = os.stat("t/f")
    os.rename("t/f", "t/f2")
    check("times of what is renamed", os.stat("t/f2").st_ctime_ns == was.st_ctime_ns)
    changes("rename of a directory", lambda: os.rename("t/sub", "t2/sub"), mtime=["t", "t2"])


def figures():
    """What is told otherwise than on a local disk, on purpose."""
    os.makedirs("n/a/b")
    os.mkdir("n/c")
    check("nlink of directories", {os.stat(d).st_nlink for d in ("n", "n/a", "n/c")} == {1})
    make("n/f", b"x" * 5000)
    st = os.stat("n/f")
    check("atime of a new file", st.st_atime_ns == st.st_mtime_ns)
    os.utime("n/f", (5, 5))
    read("n/f")
    check("atime after a read", os.stat("n/f").st_atime == 5)
    os.truncate("n/f", 1 << 20)
    check("blocks of a file with a hole", os.stat("n/f").st_blocks == 2048)
    check("space", os.statvfs("n").f_bavail * os.statvfs("n").f_frsize >= 1 << 50)


# ---- other types ---------------------------------------------------------------------------------

DEVICES = {"null": (stat.S_IFCHR, 1, 3), "disk": (stat.S_IFBLK, 4095, 1048575)}


def specials():
    s, c = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    s.bind("sock")
    s.listen(1)
    refused("", c.connect, "sock")
    refused("ENXIO", opened, "sock", os.O_RDONLY)
    os.mkfifo("fifo", 0o640)
    r = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
    w = os.open("fifo", os.O_WRONLY)
    os.write(w, b"hi")
    check("a fifo", os.read(r, 9) == b"hi")
    os.close(r)
    os.close(w)
    refused("ENXIO", opened, "fifo", os.O_WRONLY | os.O_NONBLOCK)
    refused("EEXIST", os.mkfifo, "fifo")
    refused("EINVAL", os.truncate, "fifo", 0)
    if os.getuid() == 0:
        for name, (kind, major, minor) in DEVICES.items():
            os.mknod(name, kind | 0o660, os.makedev(major, minor))
        refused("EACCES", opened, "null", os.O_RDONLY)  # mounts have nodev
        os.rename("null", "x")
        os.chmod("x", 0o600)
        os.rename("x", "null")
    # A file over one of them is a file, sent before its rename or not.
    os.mkfifo("p1")
    os.mkfifo("p2")
    make("sent", b"sent")
    os.rename("sent", "p1")
    fd = os.open("unsent", os.O_CREAT | os.O_WRONLY, 0o600)
    os.write(fd, b"unsent")
    os.rename("unsent", "p2")
    os.close(fd)
    check("files over fifos", read("p1") == b"sent" and read("p2") == b"unsent")


def specials_again():
    """After a mount that knew nothing of them."""
    check("sock", stat.S_ISSOCK(os.lstat("sock").st_mode))
    check("fifo", os.lstat("fifo").st_mode == stat.S_IFIFO | 0o640)
    if os.getuid() == 0:
        for name, (kind, major, minor) in DEVICES.items():
            st = os.lstat(name)
            check(name, stat.S_IFMT(st.st_mode) == kind and st.st_rdev == os.makedev(major, minor))
        check("null", perm("null") == 0o600)
    check("files", read("p1") == b"sent" and read("p2") == b"unsent")
    types = {e.name: stat.S_IFMT(os.lstat(e.path).st_mode) for e in os.scandir(".")}
    check("readdir", stat.S_IFIFO in types.values() and types["p1"] == stat.S_IFREG, types)


# ---- who may what: prepared by root, tried by somebody else ---------------------------------------


def owners():
    os.umask(0)
    os.mkdir("pub", 0o777)
    os.mkdir("sticky")
    os.chmod("sticky", 0o1777)
    make("sticky/root")
    make("pub/root", mode=0o666)
    make("pub/setid")
    os.chmod("pub/setid", 0o6777)
    make("private", mode=0o600)
    os.mkdir("closed", 0o700)
    os.mkdir("group")
    os.chown("group", 0, 77)
    os.chmod("group", 0o2777)
    os.mkdir("group/d")
    make("group/f")
    check("a set-gid directory", os.stat("group/f").st_gid == os.stat("group/d").st_gid == 77 and
          perm("group/d") & stat.S_ISGID and not perm("group/f") & stat.S_ISGID)
    make("s")
    os.chmod("s", 0o6755)
    rewrite("s", b"by root")
    check("root's write", perm("s") == 0o6755, oct(perm("s")))
    os.chown("s", 2, 2)
    check("root's chown", perm("s") == 0o755, oct(perm("s")))


def user():
    os.umask(0)
    me = 65534
    os.setgroups([])
    os.setgid(me)
    os.setuid(me)
    refused("EPERM", os.unlink, "sticky/root")
    refused("EPERM", os.rename, "sticky/root", "sticky/x")
    make("sticky/mine")
    refused("EPERM", os.rename, "sticky/mine", "sticky/root")
    refused("", os.unlink, "sticky/mine")
    refused("EACCES", make, "top")
    refused("EACCES", os.mkfifo, "top")
    refused("EACCES", opened, "private", os.O_RDONLY)
    refused("EACCES", os.listdir, "closed")
    refused("EACCES", os.setxattr, "private", "user.x", b"1")
    refused("EPERM", os.chmod, "pub/root", 0o600)
    refused("EPERM", os.chown, "pub/root", os.getuid(), me)
    refused("EPERM", os.utime, "pub/root", (1, 1))
    refused("", os.utime, "pub/root")
    check("access", os.access("pub/root", os.W_OK) and not os.access("private", os.R_OK))
    rewrite("pub/setid", b"q")
    check("a write clears set-id", perm("pub/setid") == 0o777, oct(perm("pub/setid")))
    make("pub/own")
    refused("EPERM", os.chown, "pub/own", 0, -1)
    refused("EPERM", os.chown, "pub/own", -1, 5)
    for what, call in (("chown", lambda: os.chown("pub/own", -1, me)),
                       ("truncate", lambda: os.truncate("pub/own", 0))):
        os.chmod("pub/own", 0o6777)
        call()
        check(f"{what} clears set-id", perm("pub/own") == 0o777, oct(perm("pub/own")))
    make("group/own", mode=0o2755)
    check("set-gid of another group", not perm("group/own") & stat.S_ISGID)
    os.chmod("group/own", 0o2755)
    check("chmod to it", not perm("group/own") & stat.S_ISGID)
    refused("EPERM", os.mknod, "pub/dev", stat.S_IFBLK | 0o600, os.makedev(8, 1))
    fd = os.open("pub/readonly", os.O_CREAT | os.O_RDWR, 0o400)
    refused("", os.write, fd, b"x")
    os.close(fd)
    refused("EACCES", opened, "pub/readonly", os.O_WRONLY)


def errors():
    for part in (names, long_names, links, opens, removed, figures):
        os.mkdir(part.__name__)
        os.chdir(part.__name__)
        part()
        os.chdir("..")


# ---- sync=writeback ------------------------------------------------------------------------------


def stored(path):
    """The object's bytes, asked past the mount; None: there is none."""
    try:
        return objects.Api().call("GET", "/object/authenticated/" + objects.quote(
            f"{os.environ['SF_BUCKET']}/{os.path.basename(os.getcwd())}/{path}"))
    except SystemExit:
        return None


def waits():
    """What returns only when the bucket has the bytes. Answers to uploads take 150 ms here."""
    began = 0

    def new(name, flags=0, data=b"bytes"):
        nonlocal began
        began = time.monotonic()
        fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR | flags, 0o644)
        os.write(fd, data)
        return fd

    def there(what, name, want=b"bytes"):
        check(f"{what} waits", time.monotonic() - began >= 0.149, f"{time.monotonic() - began} s")
        got = stored(name)
        check(what, got == want, f"{got!r:.60} in the bucket")
        check(f"{what}: the size", os.stat(name).st_size == len(want))

    for call in (os.fsync, os.fdatasync):
        call(fd := new(call.__name__))
        there(call.__name__, call.__name__)
        os.close(fd)
    for flag in ("O_SYNC", "O_DSYNC"):
        fd = new(flag, getattr(os, flag))
        there(f"write() with {flag}", flag)
        os.close(fd)
    fd = new("pwritev2", data=b"")
    os.pwritev(fd, [b"some"], 0, os.RWF_DSYNC)
    there("pwritev2() with RWF_DSYNC", "pwritev2", b"some")
    os.close(fd)
    fd = new("msync", data=b"mapped")
    with mmap.mmap(fd, 6) as m:
        m[0] = ord("M")
        m.flush()
        there("msync()", "msync", b"Mapped")
    os.close(fd)
    os.close(new("closed"))
    os.fsync(fd := os.open("closed", os.O_RDONLY))
    there("fsync() of what was closed, with a descriptor that only reads", "closed")
    os.close(fd)


def behind():
    """What returns when the journal has it: nobody answers a request here."""
    for i in range(40):  # more than are sent at the same time: the later ones wait
        make(f"f{i}", b"%d" % i)
    os.truncate("f39", 1)
    os.rename("f38", "renamed")
    os.rename("f37", "f36")
    os.unlink("f35")
    os.chmod("f34", 0o600)
    os.utime("f33", ns=(5, 7))
    os.setxattr("f30", "user.colour", b"red")
    rewrite("f32", b"again")
    with open("f31", "ab") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        fcntl.lockf(f, fcntl.LOCK_EX)
        f.write(b"+")
    os.sync()
    behind_seen()


def behind_seen():
    want = {f"f{i}": b"%d" % i for i in range(35)}
    want.update({"f39": b"3", "renamed": b"38", "f36": b"37", "f32": b"again", "f31": b"31+"})
    check("names", sorted(os.listdir()) == sorted(want), sorted(os.listdir()))
    for name, data in want.items():
        got = read(name)
        check(f"{name}: the bytes", got == data, got)
    check("chmod", perm("f34") == 0o600, oct(perm("f34")))
    check("setxattr", os.listxattr("f30") == ["user.colour"] and os.getxattr("f30", "user.colour") == b"red",
          os.listxattr("f30"))
    check("utimensat", os.stat("f33").st_mtime_ns == 7, os.stat("f33").st_mtime_ns)


def behind_stored():
    behind_seen()
    for name in os.listdir():
        check(f"{name}: the object", stored(name) == read(name))
    for name in ("f35", "f37", "f38"):
        check(f"{name}: none", stored(name) is None)


def main():
    part, directory = sys.argv[1:]
    os.chdir(directory)
    {"errors": errors, "times": times, "specials": specials, "again": specials_again,
     "owners": owners, "user": user, "waits": waits, "behind": behind, "seen": behind_seen,
     "stored": behind_stored}[part]()
    print(f"{part}: {checks} checks, {bad} bad")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
