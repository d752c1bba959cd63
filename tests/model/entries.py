# SPDX-License-Identifier: GPL-3.0-or-later
"""Steps with names: what is made, removed, renamed and listed."""
import errno
import os
import stat

import names
from both import SKIP, Both
from plain import Dir, Link, error
from world import Wrong, checked, libc

AT_FDCWD = -100


class Entries(Both):
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
