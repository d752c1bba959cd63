# SPDX-License-Identifier: GPL-3.0-or-later
"""A file tree in memory, as POSIX and Linux want it: what the mount is compared with. Where supafs
differs on purpose a comment that begins with DIFFERS says so, and where that is documented.

A path is a list of names. Failures are OSError. What cannot be known for certain (when exactly a
time was taken, whether an upload that nobody waits for is through) is kept as what it may be."""
import errno
import os

import names

LINKS_MAX = 40


def error(code):
    return OSError(code, os.strerror(code))


class Node:
    mode = 0
    directory = False

    def __init__(self, mode):
        self.mode = mode
        self.uid = self.gid = 0
        self.mtime = []  # it lies in one of these intervals of ns; empty: anything
        self.ctime = 0  # it is not before this
        self.xattrs = {}
        self.ino = None  # once seen
        self.linked = True
        self.split = False  # a version that only its readers have
        self.foreign = False  # written by another client
        # DIFFERS: what another client moved looks like a copy, with a number of its own as long as
        # the mount lasts (docs/formats/attributes.md).
        self.copied = False
        self.attrs_at = 0.0  # monotonic time of the last change of attributes

    def touch(self, since, until):
        self.mtime = [(since, until)]
        self.ctime = max(self.ctime, since)


class Dir(Node):
    directory = True

    def __init__(self, mode, marker):
        super().__init__(mode)
        self.entries = {}
        self.marker = marker  # in the bucket: True, False, or None = maybe


class Link(Node):
    def __init__(self, target):
        super().__init__(0o777)
        self.target = target


class File(Node):
    def __init__(self, mode):
        super().__init__(mode)
        self.data = bytearray()
        self.saved = None  # what was acknowledged: bytes, or None = never
        self.dirty = True  # the bucket need not have .data
        self.maybe = []  # what it may have instead of .saved: uploads that nobody waited for
        self.mapped = False  # written through a mapping, and not synced since
        self.mapped_at = 0
        self.opens = []  # the Opens of it

    def writers(self):
        return [o for o in self.opens if o.writes]

    def save(self):
        """It was acknowledged that the bucket has it."""
        if not self.linked:
            return
        self.saved = bytes(self.data)
        self.dirty = False
        self.maybe = []

    def may_be_saved(self):
        if self.dirty:
            self.maybe.append(bytes(self.data))

    def change(self, since, until):
        self.touch(since, until)
        self.dirty, self.foreign = True, False


class Open:
    """An open file description: descriptors and mappings hold it."""

    def __init__(self, node, flags):
        self.node, self.flags = node, flags
        self.refs = 1
        access = flags & os.O_ACCMODE
        self.reads, self.writes = access != os.O_WRONLY, access != os.O_RDONLY
        self.wrote = self.got = False
        self.created = False
        self.other = None  # a second node, which it may stand for (see Tree.truncate_by_open)
        self.stale = None  # the bytes it had when another client replaced or removed the file
        node.opens.append(self)

    def sends(self):
        """Is what is left unsent when it is closed?"""
        return self.writes or self.created

    def drop(self):
        self.refs -= 1
        if self.refs == 0:
            self.node.opens.remove(self)
            if self.sends() and self.node.linked and self.node.dirty:
                self.node.may_be_saved()  # the last close() sends what is left, behind


class Tree:
    def __init__(self, limits):
        self.root = Dir(0o755, True)
        self.limits = limits
        self.long = False  # a name on the way was too long
        self.removed = {}  # path of something removed -> when, for the other client's sake

    # ---- finding -------------------------------------------------------------------------------

    def walk(self, path, follow=True, budget=None, start=None):
        """The directory, the name in it, and what is there or None. A path without names is the root."""
        budget = budget or [LINKS_MAX]
        at, todo = start or self.root, list(path)
        if not todo:
            return at, None, at
        while True:
            name = todo.pop(0)
            if not at.directory:
                raise error(errno.ENOTDIR)
            if len(names.raw(name)) > 255:
                raise error(errno.ENAMETOOLONG)
            self.long = self.long or names.too_long(name)
            found = at.entries.get(name)
            if isinstance(found, Link) and (todo or follow):
                budget[0] -= 1
                if budget[0] < 0:
                    raise error(errno.ELOOP)
                if found.target.startswith("/"):
                    raise error(errno.ENOENT)  # these lead nowhere
                todo = [n for n in found.target.split("/") if n != "."] + todo
                continue
            if not todo:
                return at, name, found
            if found is None:
                raise error(errno.ENAMETOOLONG if names.too_long(name) else errno.ENOENT)
            at = found

    def get(self, path, follow=True):
        _, name, node = self.walk(path, follow)
        if node is None:
            raise error(errno.ENAMETOOLONG if names.too_long(name) else errno.ENOENT)
        return node

    def each(self, at=None, path=()):
        """(path, node) of everything below a directory, parents first."""
        for name, node in list((at or self.root).entries.items()):
            yield (*path, name), node
            if node.directory:
                yield from self.each(node, (*path, name))

    def path_of(self, node):
        return next((p for p, n in self.each() if n is node), None)

    def contains(self, outer, inner):
        return outer is inner or any(n is inner for _, n in self.each(outer))

    # ---- names ---------------------------------------------------------------------------------

    def room_for(self, parent, name, directory=False):
        """May this name be made? Keys are limited (docs/formats/names.md)."""
        # DIFFERS: names that mean keys of another form cannot be made.
        if name.startswith(names.SPECIAL):
            raise error(errno.EINVAL)
        if names.too_long(name):
            raise error(errno.ENAMETOOLONG)
        path = self.path_of(parent) or ()
        # DIFFERS: a whole key has at most 900 bytes.
        if len(names.key((*path, name))) + directory > names.KEY_MAX:
            raise error(errno.ENAMETOOLONG)

    def add(self, parent, name, node):
        parent.entries[name] = node
        parent.mtime = []

    def make(self, parent, name, node):
        if parent.mode & 0o2000:
            node.gid = parent.gid
        self.add(parent, name, node)
        return node

    def leave(self, parent, name):
        """A name goes. The last one of a directory that only others' keys made leaves a marker."""
        del parent.entries[name]
        parent.mtime = []
        if parent.marker is not True and parent is not self.root:
            parent.marker = None if parent.entries else True

    def unlink(self, path):
        parent, name, node = self.walk(path, follow=False)
        if node is None:
            self.get(path, follow=False)
        if name is None or node.directory:
            raise error(errno.EISDIR)
        self.leave(parent, name)
        node.linked = False
        self.removed[tuple(path)] = True

    def mkdir(self, path, mode):
        parent, name, node = self.walk(path, follow=False)
        if node is not None:
            raise error(errno.EEXIST)
        self.room_for(parent, name, True)
        return self.make(parent, name, Dir(mode & 0o1777 | parent.mode & 0o2000, True))

    def rmdir(self, path):
        parent, name, node = self.walk(path, follow=False)
        if node is None:
            self.get(path, follow=False)
        if not node.directory:
            raise error(errno.ENOTDIR)
        if node.entries:
            raise error(errno.ENOTEMPTY)
        self.leave(parent, name)
        node.linked = False

    def symlink(self, path, target):
        parent, name, node = self.walk(path, follow=False)
        if node is not None:
            raise error(errno.EEXIST)
        self.room_for(parent, name)
        return self.make(parent, name, Link(target))

    def mknod(self, path, mode):
        parent, name, node = self.walk(path, follow=False)
        if node is not None:
            raise error(errno.EEXIST)
        self.room_for(parent, name)
        made = File(mode)
        made.maybe.append(b"")
        return self.make(parent, name, made)

    def rename(self, source, target, no_replace):
        parent, name, node = self.walk(source, follow=False)
        to, to_name, there = self.walk(target, follow=False)
        if node is None:
            self.get(source, follow=False)
        if there is not None and no_replace:
            raise error(errno.EEXIST)
        if node.directory and self.contains(node, to):
            raise error(errno.EINVAL)
        if there is not None and there.directory and self.contains(there, parent):
            raise error(errno.ENOTEMPTY)
        if there is node:
            return None
        if there is not None:
            if node.directory and not there.directory:
                raise error(errno.ENOTDIR)
            if there.directory and not node.directory:
                raise error(errno.EISDIR)
        try:
            self.room_for(to, to_name, node.directory)
            self.room_below(node, (*(self.path_of(to) or ()), to_name))
        except OSError:
            self.long = True
            raise
        finally:
            if there is not None and there.directory and there.entries:
                raise error(errno.ENOTEMPTY)
        self.moved(node, there)
        for _, below in self.each(node) if node.directory else ():
            if below.foreign:
                below.mtime = []
        if parent is to:
            del parent.entries[name]
        else:
            self.leave(parent, name)
        if there is not None:
            there.linked = False
        self.add(to, to_name, node)
        self.removed[tuple(source)] = True
        return node

    def room_below(self, node, path):
        if node.directory:
            for below, _ in self.each(node, path):
                if len(names.key(below)) > names.KEY_MAX:
                    raise error(errno.ENAMETOOLONG)

    @staticmethod
    def moved(node, there):
        """DIFFERS: the time of what only others wrote is the service's, which a move changes.

        What a rename sends of a file: one that was never sent stays here, also in place of
        another, whose object then remains until the new one is sent."""
        if not isinstance(node, File):
            return
        if node.foreign:
            node.mtime = []
        if node.saved is not None:
            node.save()
        elif isinstance(there, File) and node.dirty:
            node.maybe += [b for b in (there.saved, *there.maybe) if b is not None]
        elif isinstance(there, Link) and node.dirty:
            node.maybe.append(there)

    # ---- files ---------------------------------------------------------------------------------

    def open(self, path, flags, mode):
        """An Open, or None for a directory."""
        follow = not flags & os.O_NOFOLLOW
        if flags & os.O_CREAT and flags & os.O_EXCL:
            follow = False
        budget = [LINKS_MAX]
        parent, name, node = self.walk(path, follow, budget)
        if node is not None and flags & os.O_CREAT and flags & os.O_EXCL:
            raise error(errno.EEXIST)
        if node is None and not flags & os.O_CREAT:
            raise error(errno.ENAMETOOLONG if names.too_long(name) else errno.ENOENT)
        if isinstance(node, Link):
            raise error(errno.ELOOP)
        if node is not None and node.directory:
            if flags & (os.O_CREAT | os.O_TRUNC) or flags & os.O_ACCMODE:
                raise error(errno.EISDIR)
            return None
        if node is None:
            self.room_for(parent, name)
            node = self.make(parent, name, File(mode))
            made = Open(node, flags)
            made.created = True
            return made
        if flags & os.O_TRUNC:
            return self.truncate_by_open(parent, name, node, flags)
        return Open(node, flags)

    def truncate_by_open(self, parent, name, node, flags):
        """DIFFERS: whoever reads a file that nobody has open for writing keeps its version when it
        is opened with O_TRUNC (docs/consistency.md). Who has read nothing yet may see either."""
        readers = [o for o in node.opens if not o.writes]
        if not readers or node.writers():
            made = Open(node, flags)
            made.created = True
            del node.data[:]
            node.dirty = True
            return made
        new = File(node.mode)
        new.uid, new.gid, new.xattrs, new.ino = node.uid, node.gid, dict(node.xattrs), node.ino
        new.saved, new.maybe, new.attrs_at = node.saved, list(node.maybe), node.attrs_at
        certain = any(o.got for o in readers) and not node.dirty
        for o in readers:
            o.other = None if certain else new
        node.linked, node.split = False, True
        parent.entries[name] = new
        made = Open(new, flags)
        made.created = True
        return made

    @staticmethod
    def settle(o, node):
        """It is known now which of two versions the readers have."""
        old, new = o.node, o.other
        for each in list(old.opens):
            if each.other is not new:
                continue
            each.other = None
            if node is new:
                old.opens.remove(each)
                new.opens.append(each)
                each.node = new

    def check_end(self, end):
        if end > self.limits["size"]:
            raise error(errno.EFBIG)

    def write(self, o, offset, data):
        if not o.writes:
            raise error(errno.EBADF)
        node = o.node
        if o.flags & os.O_APPEND:
            offset = len(node.data)
        self.check_end(offset + len(data))
        if offset > len(node.data):
            node.data.extend(bytes(offset - len(node.data)))
        node.data[offset:offset + len(data)] = data
        o.wrote = True

    def truncate(self, node, size):
        self.check_end(size)
        if size < len(node.data):
            del node.data[size:]
        else:
            node.data.extend(bytes(size - len(node.data)))
