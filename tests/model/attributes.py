# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps with attributes of what has a name, its size among them."""
import errno
import os
import stat

import names
from both import SKIP, Both, bytes_of, xattrs_of
from plain import Dir, File, Link, error
from world import Wrong


class Attributes(Both):
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

    def check_xattrs(self, path, node, where=None):
        """@where: a descriptor of it."""
        where = self.path(path) if where is None else where
        found = xattrs_of(where)
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

    def do_statfs(self):
        st = os.statvfs(self.path([]))
        if st.f_namemax != 255 or st.f_bavail <= 0 or st.f_blocks < st.f_bfree:
            raise Wrong("statfs", repr(st))
