# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays steps on the model and on the mount, and compares what both say. A step is a list: its name
and what it takes, all that is needed to play it again. One that has no meaning (its handle was never
opened, say) does nothing, so that any part of a list of steps can be played."""
import ctypes
import errno
import hashlib
import mmap
import os
import stat
import time

import names
from plain import Dir, File, Link, Tree, error
from whole import HERE_MODE, Whole, difference
from world import Wrong, checked, libc

SKIP = object()
SERVER_CLOCK = 2_000_000  # ns by which the service's time of an object may be early (it has ms)
AT_FDCWD = -100
PUNCH, ZERO, KEEP = 2, 16, 1
LONG = (errno.ENOENT, errno.ENAMETOOLONG)


def bytes_of(seed, size):
    """The same for the same seed; 0 are zeros."""
    return bytes(size) if seed == 0 else hashlib.shake_128(b"%d" % seed).digest(size)


def name_of_errno(code):
    return errno.errorcode.get(code, str(code)) if code else "success"


class Player(Whole):
    def __init__(self, world, inject=None):
        self.world, self.inject = world, inject
        self.tree = Tree({"size": 1 << 62})
        self.handles = {}  # slot -> (fd, Open)
        self.maps = {}  # slot -> (address, length, Open, writable)
        self.fallocate_modes = {}
        self.ttl = world.ttl
        self.unsure = 0  # files that a kill caught unsaved: they may be in quarantine
        self.t0 = 0
        self.other_at = 0.0  # when another client changed something last

    # ---- one step ------------------------------------------------------------------------------

    def play(self, step):
        """Returns False for a step that has no meaning here."""
        return getattr(self, "do_" + step[0])(*step[1:]) is not SKIP

    def both(self, model, real, after=None, may=(), paths=()):
        """The model's way first. @after: what a success of both does, given both results. @may:
        other errors that the mount may give instead of the model's."""
        wanted = got = 0
        expected = result = None
        self.tree.long = any(names.too_long(n) for path in paths for n in path)
        try:
            expected = model()
        except OSError as e:
            wanted = e.errno
        self.t0 = time.time_ns()
        try:
            result = real()
        except OSError as e:
            got = e.errno
        self.t1 = time.time_ns()
        if wanted in (*LONG, errno.ENOTEMPTY) and self.tree.long:
            may = (*may, *LONG)  # which of the two is told first depends on what is known
        if got != wanted and not (wanted and got in may):
            raise Wrong("errno", f"{name_of_errno(got)}, not {name_of_errno(wanted)}")
        if not wanted and after:
            after(expected, result)

    def touch(self, *nodes):
        for node in nodes:
            node.touch(self.t0, self.t1)

    def attrs_changed(self, node):
        node.ctime = max(node.ctime, self.t0)
        node.attrs_at = time.monotonic()
        node.foreign = False
        if isinstance(node, Dir) and not node.marker:
            node.marker = None  # written within a second

    def path(self, path):
        return self.world.path(path)

    def node_at(self, path, follow=True):
        try:
            return self.tree.get(path, follow)
        except OSError:
            return None

    # ---- handles -------------------------------------------------------------------------------

    def do_open(self, slot, path, flags, mode):
        if slot in self.handles:
            return SKIP

        def after(o, fd):
            if o is None:
                os.close(fd)
                return
            self.handles[slot] = (fd, o)
            if o.created:
                o.node.change(self.t0, self.t1)
                if flags & os.O_EXCL and "exclusive=open" in self.world.options:
                    o.node.maybe.append(b"")  # made at once
            # DIFFERS: for a second after another client gave a file another size it is read past
            # the kernel's pages, and so cannot be mapped to be shared.
            o.doubted = time.monotonic() - self.other_at < 1.5 + self.ttl

        self.both(lambda: self.tree.open(path, flags, mode),
                  lambda: os.open(self.path(path), flags | os.O_CLOEXEC, mode), after,
                  paths=[path])
        return None

    def do_dup(self, slot, new):
        if slot not in self.handles or new in self.handles:
            return SKIP
        fd, o = self.handles[slot]
        self.handles[new] = (os.dup(fd), o)
        o.refs += 1
        return None

    def do_close(self, slot):
        if slot not in self.handles:
            return SKIP
        fd, o = self.handles.pop(slot)

        def model():
            if o.stale is not None:
                return
            if o.wrote and o.node.linked:
                o.node.save()

        def real():
            try:
                os.close(fd)
            except OSError:
                if o.stale is None:
                    raise

        self.both(model, real)
        o.drop()
        return None

    def usable(self, slot):
        return slot in self.handles

    def not_split(self, o):
        """Who may stand for either of two versions is left alone by what changes or asks."""
        return o.other is None and o.stale is None

    def do_write(self, slot, offset, seed, size):
        if not self.usable(slot):
            return SKIP
        fd, o = self.handles[slot]
        data = bytes_of(seed, size)

        def after(_, result):
            if result != len(data):
                raise Wrong("count", f"write() took {result} of {len(data)}")
            o.node.change(self.t0, self.t1)
            if o.flags & os.O_DSYNC:
                o.node.save()

        def model():
            self.tree.write(o, offset, data)
            if self.inject == "write" and offset:
                o.node.data[-1] ^= 1

        self.both(model, lambda: os.pwrite(fd, data, offset), after)
        return None

    def read_all(self, fd, offset, size):
        parts = []
        while size:
            part = os.pread(fd, size, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return b"".join(parts)

    def do_read(self, slot, offset, size):
        if not self.usable(slot):
            return SKIP
        fd, o = self.handles[slot]
        if o.stale is not None:
            self.read_stale(fd, o, offset, size)
            return None

        def model():
            if not o.reads:
                raise error(errno.EBADF)

        def after(_, got):
            self.check_bytes("read()", o, got, lambda node: bytes(node.data[offset:offset + size]))
            o.got = o.got or bool(got)

        self.both(model, lambda: self.read_all(fd, offset, size), after)
        return None

    def check_bytes(self, what, o, got, cut):
        if o.other is not None and cut(o.node) != cut(o.other) and got in (cut(o.node), cut(o.other)):
            self.tree.settle(o, o.node if got == cut(o.node) else o.other)
        wanted = cut(o.node)
        if got != wanted and not (o.other is not None and got == cut(o.other)):
            raise Wrong("bytes", f"{what}: {difference(got, wanted)}")

    def read_stale(self, fd, o, offset, size):
        """DIFFERS: another client replaced or removed the file. The handle has its version as far
        as the cache has it, and ESTALE else; one that got nothing may have the new version, if it
        is as long (docs/consistency.md)."""
        try:
            got = self.read_all(fd, offset, size)
        except OSError as e:
            if e.errno != errno.ESTALE or not o.reads:
                if e.errno == errno.EBADF and not o.reads:
                    return
                raise Wrong("errno", f"{name_of_errno(e.errno)} of a version that was replaced") from e
            return
        if got != o.stale[offset:offset + size]:
            if o.got or all(got != new[offset:offset + size] or len(new) != len(o.stale)
                            for new in o.later()):
                raise Wrong("bytes", "read() of a version that was replaced: " +
                            difference(got, o.stale[offset:offset + size]))

    def do_ftruncate(self, slot, size):
        if not self.usable(slot) or not self.not_split(self.handles[slot][1]):
            return SKIP
        fd, o = self.handles[slot]

        def model():
            if not o.writes:
                raise error(errno.EINVAL)
            self.tree.truncate(o.node, size)
            if self.inject == "ftruncate" and size > 1:
                o.node.data[-1] ^= 1
            o.wrote = True

        self.both(model, lambda: os.ftruncate(fd, size),
                  lambda *_: o.node.change(self.t0, self.t1))
        return None

    def do_fallocate(self, slot, mode, offset, size):
        if not self.usable(slot) or not self.not_split(self.handles[slot][1]):
            return SKIP
        fd, o = self.handles[slot]
        node = o.node
        before = len(node.data)
        if o.writes and not self.has_fallocate(fd, mode):
            return SKIP

        def model():
            if not o.writes:
                raise error(errno.EBADF)
            end = offset + size
            self.tree.check_end(end if not mode & KEEP else 0)
            if not mode & KEEP and end > before:
                node.data.extend(bytes(end - before))
            if mode & (PUNCH | ZERO):
                cut = max(0, min(end, len(node.data)) - offset)
                node.data[offset:offset + cut] = bytes(cut)
                return cut > 0 or len(node.data) > before
            return len(node.data) > before

        def after(changed, _):
            old = node.mtime
            if changed:
                node.change(self.t0, self.t1)
                o.wrote = True
            if not changed or len(node.data) == before:  # its times may change, too
                node.mtime = old and old + [(self.t0, self.t1)]

        self.both(model, lambda: checked(libc.fallocate(fd, mode, offset, size)), after)
        return None

    def has_fallocate(self, fd, mode):
        """Which modes there are is learned from the first try, far behind any end."""
        if mode not in self.fallocate_modes:
            try:
                if mode:
                    checked(libc.fallocate(fd, mode | KEEP, 1 << 40, 4096))
                self.fallocate_modes[mode] = True
            except OSError as e:
                self.fallocate_modes[mode] = e.errno != errno.EOPNOTSUPP
        return self.fallocate_modes[mode]

    def do_copy(self, slot_in, at_in, slot_out, at_out, size):
        if not self.usable(slot_in) or not self.usable(slot_out):
            return SKIP
        fd_in, source = self.handles[slot_in]
        fd_out, target = self.handles[slot_out]
        if not self.not_split(source) or not self.not_split(target):
            return SKIP
        took = max(0, min(size, len(source.node.data) - at_in))
        changed = took > 0
        # A copy within a file may have more to copy, once it has made it longer.
        most = took if source.node is target.node else size

        def model():
            if not source.reads or not target.writes or target.flags & os.O_APPEND:
                raise error(errno.EBADF)
            # Linux looks at what there is to copy, not at what was asked for.
            if source.node is target.node and at_in < at_out + took and at_out < at_in + took:
                raise error(errno.EINVAL)
            if changed:
                self.tree.write(target, at_out, bytes(source.node.data[at_in:at_in + took]))
                source.got = True

        def real():
            done = 0
            while True:
                n = os.copy_file_range(fd_in, fd_out, most - done or 1, at_in + done, at_out + done)
                done += n
                if not n or done >= most:
                    return done

        def after(_, done):
            if done != took:
                raise Wrong("count", f"copy_file_range() moved {done}, not {took}")
            if changed:
                target.node.change(self.t0, self.t1)

        self.both(model, real, after)
        return None

    def do_seek(self, slot, offset, hole):
        if not self.usable(slot) or not self.not_split(self.handles[slot][1]):
            return SKIP
        fd, o = self.handles[slot]
        data = o.node.data
        try:
            at = os.lseek(fd, offset, os.SEEK_HOLE if hole else os.SEEK_DATA)
        except OSError as e:
            # Where all that follows is zeros it may be a hole, and so no data.
            if e.errno != errno.ENXIO or (offset < len(data) and (hole or any(data[offset:]))):
                raise Wrong("errno", f"lseek() {name_of_errno(e.errno)}") from e
            return None
        if offset >= len(data) or not offset <= at <= len(data) or (not hole and at == len(data)):
            raise Wrong("seek", f"lseek() found {at} in {len(data)} bytes from {offset}")
        if not hole and any(data[offset:at]):
            raise Wrong("seek", f"lseek() took data before {at} for a hole")
        if hole and at < len(data) and data[at]:
            raise Wrong("seek", f"lseek() found a hole in data at {at}")
        return None

    def do_fsync(self, slot):
        if not self.usable(slot) or not self.not_split(self.handles[slot][1]):
            return SKIP
        fd, o = self.handles[slot]
        self.both(lambda: None, lambda: os.fsync(fd), lambda *_: self.synced(o.node))
        return None

    def synced(self, node):
        if node.mapped:
            node.mapped = False
            node.mtime = [(node.mapped_at, self.t1)]
        node.save()
        node.attrs_at = 0.0

    def do_fstat(self, slot):
        if not self.usable(slot):
            return SKIP
        fd, o = self.handles[slot]
        if o.stale is not None:
            return SKIP
        st = os.fstat(fd)
        if o.other is not None:
            if len(o.node.data) != len(o.other.data):
                if st.st_size == len(o.other.data):
                    self.tree.settle(o, o.other)
                elif st.st_size == len(o.node.data):
                    self.tree.settle(o, o.node)
            if o.other is not None:
                return None
        self.check_stat("fstat()", o.node, st)
        return None

    # ---- mappings ------------------------------------------------------------------------------

    def do_mmap(self, slot, handle, size, write):
        if slot in self.maps or not self.usable(handle):
            return SKIP
        fd, o = self.handles[handle]
        if not o.reads or (write and not o.writes) or not self.not_split(o):
            return SKIP
        prot = mmap.PROT_READ | (mmap.PROT_WRITE if write else 0)
        at = libc.mmap(None, size, prot, mmap.MAP_SHARED, fd, 0)
        if at in (None, ctypes.c_void_p(-1).value):
            if ctypes.get_errno() == errno.ENODEV and not o.writes and o.doubted:
                return SKIP
            raise Wrong("errno", f"mmap() {name_of_errno(ctypes.get_errno())}")
        self.maps[slot] = (at, size, o, write)
        o.refs += 1
        return None

    def mapped(self, slot, offset, size):
        """The part of a mapping that has bytes of the file: beyond its end is a signal."""
        if slot not in self.maps:
            return None
        at, length, o, write = self.maps[slot]
        end = min(length, len(o.node.data), offset + size)
        if end <= offset or o.stale is not None or o.other is not None:
            return None
        return at + offset, end - offset, o, write

    def do_mread(self, slot, offset, size):
        part = self.mapped(slot, offset, size)
        if not part:
            return SKIP
        at, size, o, _ = part
        got = ctypes.string_at(at, size)
        o.got = True
        if got != o.node.data[offset:offset + size]:
            raise Wrong("bytes", "mapped: " + difference(got, o.node.data[offset:offset + size]))
        return None

    def do_mwrite(self, slot, offset, seed, size):
        part = self.mapped(slot, offset, size)
        if not part or not part[3]:
            return SKIP
        at, size, o, _ = part
        data = bytes_of(seed, size)
        self.t0 = time.time_ns()
        ctypes.memmove(at, data, size)
        o.node.data[offset:offset + size] = data
        if not o.node.mapped:
            o.node.mapped_at = self.t0
        o.node.mapped = o.node.dirty = True
        o.node.mtime = []
        return None

    def do_msync(self, slot):
        if slot not in self.maps or self.maps[slot][2].stale is not None:
            return SKIP
        at, size, o, _ = self.maps[slot]
        if o.other is not None:
            return SKIP
        def after(*_):
            if o.writes:  # Linux does nothing for mappings that can never be written
                self.synced(o.node)

        self.both(lambda: None, lambda: checked(libc.msync(at, size, 4)), after)
        return None

    def do_munmap(self, slot):
        if slot not in self.maps:
            return SKIP
        at, size, o, _ = self.maps.pop(slot)
        checked(libc.munmap(at, size))
        if o.node.mapped:
            o.node.mapped = False
            o.node.mtime = [(o.node.mapped_at, time.time_ns())]
        o.drop()
        return None

    # ---- names ---------------------------------------------------------------------------------

    def do_mkdir(self, path, mode):
        self.both(lambda: self.tree.mkdir(path, mode), lambda: os.mkdir(self.path(path), mode),
                  lambda node, _: self.touch(node), paths=[path])

    def do_mknod(self, path, mode):
        self.both(lambda: self.tree.mknod(path, mode),
                  lambda: os.mknod(self.path(path), mode | stat.S_IFREG),
                  lambda node, _: self.touch(node), paths=[path])

    def do_symlink(self, path, target):
        self.both(lambda: self.tree.symlink(path, target),
                  lambda: os.symlink(names.raw(target), self.path(path)),
                  lambda node, _: self.touch(node), paths=[path])

    def do_readlink(self, path):
        def model():
            node = self.tree.get(path, follow=False)
            if not isinstance(node, Link):
                raise error(errno.EINVAL)
            return names.raw(node.target)

        def after(wanted, got):
            if wanted != got:
                raise Wrong("link", f"readlink() {got!r}, not {wanted!r}")

        self.both(model, lambda: os.readlink(self.path(path)), after, paths=[path])

    def do_link(self, source, target):
        """DIFFERS: there are no hard links (objects have one name)."""
        def model():
            self.tree.get(source, follow=False)
            parent, name, there = self.tree.walk(target, follow=False)
            if there is not None:
                raise error(errno.EEXIST)
            raise error(errno.EPERM)

        self.both(model, lambda: os.link(self.path(source), self.path(target),
                                         follow_symlinks=False), None,
                  (errno.EPERM, errno.EOPNOTSUPP), [source, target])

    def do_unlink(self, path):
        self.both(lambda: self.tree.unlink(path), lambda: os.unlink(self.path(path)),
                  paths=[path])

    def do_rmdir(self, path):
        if not path:
            return SKIP
        self.both(lambda: self.tree.rmdir(path), lambda: os.rmdir(self.path(path)),
                  paths=[path])
        return None

    def do_rename(self, source, target, flags):
        if not source or not target:
            return SKIP

        def real():
            checked(libc.renameat2(AT_FDCWD, self.path(source), AT_FDCWD, self.path(target), flags))

        def model():
            # DIFFERS: names are not exchanged.
            if flags & 2:
                self.tree.walk(source, follow=False)
                self.tree.walk(target, follow=False)
                if self.tree.get(source, follow=False) is self.tree.get(target, follow=False):
                    return None
                raise error(errno.EINVAL)
            return self.tree.rename(source, target, flags & 1)

        def after(node, _):
            if isinstance(node, Dir):
                for _, below in self.tree.each(node):
                    if below.directory:
                        below.ino = None  # it is that of the key
                node.ino = None

        self.both(model, real, after, (errno.EINVAL, errno.ENOTEMPTY) if flags & 2 else (),
                  [source, target])
        return None

    def do_truncate(self, path, size):
        def model():
            node = self.tree.get(path)
            if node.directory:
                raise error(errno.EISDIR)
            same = size == len(node.data)
            self.tree.truncate(node, size)
            return node, same

        def after(result, _):
            node, same = result
            old = node.mtime
            node.change(self.t0, self.t1)
            if same:  # either is right
                node.mtime = old and old + node.mtime
            node.save()

        self.both(model, lambda: os.truncate(self.path(path), size), after,
                  paths=[path])

    # ---- attributes ----------------------------------------------------------------------------

    def with_node(self, path, follow, change, real):
        def model():
            return self.tree.get(path, follow)

        def after(node, _):
            change(node)
            self.attrs_changed(node)

        self.both(model, real, after, paths=[path])

    def do_chmod(self, path, mode):
        def change(node):
            node.mode = mode

        self.with_node(path, True, change, lambda: os.chmod(self.path(path), mode))

    def do_fchmod(self, slot, mode):
        if not self.usable(slot) or not self.not_split(self.handles[slot][1]):
            return SKIP
        fd, o = self.handles[slot]

        def after(*_):
            o.node.mode = mode
            self.attrs_changed(o.node)

        self.both(lambda: None, lambda: os.fchmod(fd, mode), after)
        return None

    def do_chown(self, path, uid, gid):
        def change(node):
            node.uid, node.gid = uid, gid

        self.with_node(path, False, change, lambda: os.lchown(self.path(path), uid, gid))

    def do_utime(self, path, ns):
        """@ns: of the modification, None = now."""
        def change(node):
            node.mtime = [(self.t0, self.t1)] if ns is None else [(ns, ns)]

        def real():
            when = {} if ns is None else {"ns": (ns, ns)}
            os.utime(self.path(path), follow_symlinks=False, **when)

        self.with_node(path, False, change, real)

    def do_setxattr(self, path, name, seed, size, flags):
        def model():
            node = self.tree.get(path, follow=False)
            if isinstance(node, Link):
                raise error(errno.EPERM)
            there = name in node.xattrs
            if there and flags & os.XATTR_CREATE:
                raise error(errno.EEXIST)
            if not there and flags & os.XATTR_REPLACE:
                raise error(errno.ENODATA)
            if size > 3500:  # with the others it is much less, or in any case more than 4 KiB
                raise error(errno.ENOSPC)
            node.xattrs[name] = bytes_of(seed, size)
            return node

        self.both(model, lambda: os.setxattr(self.path(path), name, bytes_of(seed, size), flags,
                                             follow_symlinks=False),
                  lambda node, _: self.attrs_changed(node), paths=[path])

    def do_removexattr(self, path, name):
        def model():
            node = self.tree.get(path, follow=False)
            if isinstance(node, Link):
                raise error(errno.EPERM)
            if name not in node.xattrs:
                raise error(errno.ENODATA)
            del node.xattrs[name]
            return node

        self.both(model, lambda: os.removexattr(self.path(path), name, follow_symlinks=False),
                  lambda node, _: self.attrs_changed(node), paths=[path])

    def do_getxattrs(self, path):
        node = self.node_at(path, follow=False)
        if node is None or isinstance(node, Link):
            return SKIP
        self.check_xattrs(path, node)
        return None

    def check_xattrs(self, path, node):
        full = self.path(path)
        found = {n: os.getxattr(full, n, follow_symlinks=False)
                 for n in os.listxattr(full, follow_symlinks=False)}
        if found != node.xattrs:
            raise Wrong("xattrs", f"{path}: {sorted(found)}, not {sorted(node.xattrs)}"
                        if set(found) != set(node.xattrs) else f"{path}: other values")

    def do_stat(self, path):
        self.both(lambda: self.tree.get(path, follow=False), lambda: os.lstat(self.path(path)),
                  lambda node, st: self.check_stat("lstat()", node, st),
                  paths=[path])

    def check_stat(self, what, node, st):
        def must(field, wanted, got):
            if wanted != got:
                raise Wrong("stat", f"{what}: {field} {got}, not {wanted}")

        kind = {Dir: stat.S_IFDIR, File: stat.S_IFREG, Link: stat.S_IFLNK}[type(node)]
        must("type", kind, stat.S_IFMT(st.st_mode))
        if node is self.tree.root:
            return
        must("mode", oct(node.mode), oct(stat.S_IMODE(st.st_mode)))
        must("owner", (node.uid, node.gid), (st.st_uid, st.st_gid))
        if not node.directory:
            if not node.split:
                must("links", 1 if node.linked else 0, st.st_nlink)
            must("size", len(node.data) if isinstance(node, File) else len(names.raw(node.target)),
                 st.st_size)
            if node.linked and not node.copied and not node.foreign:
                node.ino = node.ino or st.st_ino
                must("inode number", node.ino, st.st_ino)
        if node.mtime and not getattr(node, "mapped", False):
            if not any(since <= st.st_mtime_ns <= until for since, until in node.mtime):
                raise Wrong("mtime", f"{what}: mtime {st.st_mtime_ns}, not in {node.mtime}")
            if not node.directory:
                node.mtime = [(st.st_mtime_ns, st.st_mtime_ns)]
        if st.st_ctime_ns < node.ctime:
            raise Wrong("ctime", f"{what}: ctime {st.st_ctime_ns}, before {node.ctime}")

    def do_readdir(self, path):
        def model():
            node = self.tree.get(path)
            if not node.directory:
                raise error(errno.ENOTDIR)
            return node

        def real():
            with os.scandir(self.path(path)) as entries:
                return sorted((e.name, e.is_dir(follow_symlinks=False), e.is_symlink())
                              for e in entries)

        def after(node, got):
            wanted = sorted((names.raw(n), c.directory, isinstance(c, Link))
                            for n, c in node.entries.items())
            if got != wanted:
                missing = [n for n in wanted if n not in got]
                more = [n for n in got if n not in wanted]
                raise Wrong("tree", f"readdir of {path} lacks {missing}, has {more}")

        self.both(model, real, after, paths=[path])

    def do_statfs(self):
        st = os.statvfs(self.path([]))
        if st.f_namemax != 255 or st.f_bavail <= 0 or st.f_blocks < st.f_bfree:
            raise Wrong("statfs", repr(st))

    def do_wait(self, ms):
        time.sleep(ms / 1000)

    # ---- the other client ----------------------------------------------------------------------

    def shown_after(self):
        self.other_at = time.monotonic()
        if self.ttl:
            time.sleep(self.ttl + 0.05)

    def other_may(self, path, node):
        """May another client touch this name? Not while something of it is only here."""
        if not path or path[-1].startswith(names.SPECIAL) or names.too_long(path[-1]) or \
                path[-1].endswith(names.MARKER) or self.ttl > 5:
            return False
        at = self.tree.root
        for name in path[:-1]:  # no symlinks on the way, nor names that cannot be
            at = at.entries.get(name) if at else None
            if at is not None and not at.directory or names.too_long(name) or \
                    name.startswith(names.SPECIAL) or name.endswith(names.MARKER):
                return False
        if len(names.key(path)) > names.KEY_MAX:
            return False
        if node is None:
            return True
        if node.directory:
            return False
        if isinstance(node, File) and (node.writers() or node.mapped or any(
                m[2].node is node for m in self.maps.values())):
            return False
        return True

    def quiet(self, path, node):
        """What was changed here is in the bucket."""
        if isinstance(node, File):
            fd = os.open(self.path(path), os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
            node.save()
            node.attrs_at = 0.0
        if tuple(path) in self.tree.removed or (node and time.monotonic() - node.attrs_at < 3):
            self.world.settled()
            self.tree.removed.clear()

    def detach_readers(self, node, new):
        for o in list(node.opens):
            o.stale = bytes(node.data) if o.stale is None else o.stale
            if o.other is not None:
                o.stale, o.got = b"", False
            versions = o.__dict__.setdefault("versions", [])
            o.later = lambda versions=versions: versions
            if new is not None:
                versions.append(new)

    def do_api_put(self, path, seed, size):
        node = self.node_at(path, follow=False)
        if not self.other_may(path, node) or (isinstance(node, File) and
                                              any(o.other for o in node.opens)):
            return SKIP
        self.quiet(path, node)
        data = bytes_of(seed, size)
        since = time.time_ns() - SERVER_CLOCK
        self.world.put(path, data)
        until = time.time_ns() + SERVER_CLOCK
        at = self.tree.root
        for name in path[:-1]:
            if name not in at.entries:
                made = Dir(HERE_MODE | 0o111, False)
                self.tree.add(at, name, made)
            at = at.entries[name]
        new = File(HERE_MODE)
        new.data[:] = data
        new.save()
        new.mtime = [(since, until)]
        new.foreign = True
        if isinstance(node, File):
            self.detach_readers(node, data)
        if node is not None:
            node.linked = False
        self.tree.add(at, path[-1], new)
        self.shown_after()
        return None

    def do_api_delete(self, path):
        node = self.node_at(path, follow=False)
        if node is None or not self.other_may(path, node) or (
                isinstance(node, File) and any(o.other for o in node.opens)):
            return SKIP
        chain = [self.tree.root]
        for name in path[:-1]:
            chain.append(chain[-1].entries[name])
        gone = 0  # directories that go with their last key
        for directory in reversed(chain[1:]):
            if len(directory.entries) > 1 or directory.marker is True:
                break
            if directory.marker is None:
                return SKIP
            gone += 1
        self.quiet(path, node)
        self.world.delete(path)
        if isinstance(node, File):
            self.detach_readers(node, None)
        node.linked = False
        del chain[-1].entries[path[-1]]
        chain[-1].mtime = []
        for depth in range(gone):
            above = chain[-2 - depth]
            above.entries[path[-2 - depth]].linked = False
            del above.entries[path[-2 - depth]]
            above.mtime = []
        self.shown_after()
        return None

    def do_api_move(self, source, target):
        node, there = self.node_at(source, False), self.node_at(target, False)
        if node is None or there is not None or not self.other_may(source, node) or \
                not self.other_may(target, None) or (
                    isinstance(node, File) and any(o.other for o in node.opens)):
            return SKIP
        if node.xattrs:  # of these the service takes some and leaves some, see below
            return SKIP
        parent = self.tree.walk(source, follow=False)[0]
        if len(parent.entries) < 2 and parent.marker is not True and parent is not self.tree.root:
            return SKIP
        try:
            to = self.tree.walk(target, follow=False)[0]
        except OSError:
            return SKIP
        self.quiet(source, node)
        self.quiet(target, None)
        self.world.move(source, target)
        if isinstance(node, File):
            moved = File(node.mode)
            moved.data[:] = node.data
            moved.save()
            self.detach_readers(node, bytes(node.data))
        else:
            moved = Link(node.target)
        moved.foreign, moved.copied = node.foreign, True
        node.linked = False
        del parent.entries[source[-1]]
        parent.mtime = []
        self.tree.add(to, target[-1], moved)
        self.shown_after()
        # DIFFERS: what was set after an upload is not with the bytes, from which the service takes
        # the attributes of what another client moves: they are as they were then.
        self.adopt(target, moved)
        return None

    def adopt(self, path, node):
        """Takes the attributes as the mount has them."""
        full = self.path(path)
        st = os.lstat(full)
        node.mode, node.uid, node.gid = stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid
        if isinstance(node, File):
            node.xattrs = {n: os.getxattr(full, n) for n in os.listxattr(full)}
