# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps of another client, which knows the bucket and no mount."""
import os
import stat
import time

import names
from both import SKIP, Both, bytes_of, xattrs_of
from plain import Dir, File, Link
from whole import HERE_MODE

SERVER_CLOCK = 2_000_000  # ns by which the service's time of an object may be early (it has ms)


class Other(Both):
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
            node.xattrs = xattrs_of(full)
