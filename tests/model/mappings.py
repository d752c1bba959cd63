# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps with files that are mapped."""
import ctypes
import errno
import mmap
import time

from both import SKIP, Both, bytes_of, name_of_errno
from whole import difference
from world import Wrong, checked, libc


class Mappings(Both):
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
