# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps with open files: reading, writing, and what else takes a descriptor."""
import errno
import os
import time

from both import SKIP, Both, bytes_of, name_of_errno
from plain import error
from whole import difference
from world import Wrong, checked, libc

PUNCH, ZERO, KEEP = 2, 16, 1


class Handles(Both):
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
            if (o.wrote or (o.created and self.behind)) and o.node.linked:
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
