# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparing the whole of a mount, and of its bucket, with the model; and the end of a daemon."""
import os
import stat

import names
from plain import Dir, File, Link
from world import Wrong, libc, wait_for

HERE_MODE = 0o644  # of what other clients write, with the mount's umask


def difference(got, wanted):
    """Where two strings of bytes differ."""
    at = next((i for i, (a, b) in enumerate(zip(got, wanted)) if a != b), min(len(got), len(wanted)))
    return (f"{len(got)} bytes, not {len(wanted)}; from {at}: {bytes(got[at:at + 12]).hex() or '-'}, "
            f"not {bytes(wanted[at:at + 12]).hex() or '-'}")


class Whole:
    """The part of a Player that knows nothing of single steps."""

    # ---- the whole of it -----------------------------------------------------------------------

    def do_check(self, attributes):
        self.check_mount()
        self.check_bucket(attributes)

    def check_mount(self):
        """Names, types, sizes, attributes and bytes of all that the mount shows. What is in a
        directory is asked for with that one's descriptor: without attr_ttl each part of a path is
        a request to the service."""
        wanted = dict(self.tree.each())
        seen, fds = {}, {}
        try:
            todo = [()]
            while todo:
                at = todo.pop()
                above = fds.get(at[:-1]) if at else None
                fds[at] = os.open(names.raw(at[-1]) if at else self.path(at),
                                  os.O_RDONLY | os.O_DIRECTORY, dir_fd=above)
                with os.scandir(fds[at]) as entries:
                    for entry in entries:
                        path = (*at, names.text(os.fsencode(entry.name)))
                        seen[path] = entry.is_dir(follow_symlinks=False)
                        if seen[path]:
                            todo.append(path)
            if set(wanted) != set(seen):
                raise Wrong("tree", f"the mount lacks {sorted(set(wanted) - set(seen))}, "
                                    f"has {sorted(set(seen) - set(wanted))}")
            for path, node in wanted.items():
                self.check_one(path, node, fds[path[:-1]], names.raw(path[-1]))
        finally:
            for fd in fds.values():
                os.close(fd)

    def check_one(self, path, node, above, name):
        self.check_stat(f"lstat({path})", node, os.lstat(name, dir_fd=above))
        if isinstance(node, Link):
            if os.readlink(name, dir_fd=above) != names.raw(node.target):
                raise Wrong("link", f"{path} leads elsewhere")
            return
        fd = os.open(name, os.O_RDONLY, dir_fd=above)
        try:
            if isinstance(node, File):
                got = self.read_all(fd, 0, len(node.data) + 1)
                if got != node.data:
                    raise Wrong("bytes", f"{path}: {difference(got, node.data)}")
            self.check_xattrs(path, node, fd)
        finally:
            os.close(fd)

    def is_settled(self, node):
        """Does somebody wait for what it has now to be in the bucket, sooner or later?"""
        return isinstance(node, Link) or not (
            node.dirty and any(o.sends() for o in node.opens)) and not node.mapped

    def check_bucket(self, attributes):
        why = []

        def same():
            why[:] = [self.bucket_differs(attributes)]
            return why[0] is None

        try:
            wait_for("the bucket", same, 10)
        except Wrong:
            raise Wrong("bucket", "the bucket " + why[0]) from None

    def bucket_differs(self, attributes):
        keys = set(self.world.keys())
        for path, node in self.tree.each():
            key = names.key(path)
            if isinstance(node, Dir):
                if key + "/" + names.MARKER in keys:
                    keys.discard(key + "/" + names.MARKER)
                elif not node.entries:
                    return f"has no marker of {path}"
                continue
            settled = self.is_settled(node)
            if key not in keys:
                if settled:
                    return f"lacks {path}"
                continue
            keys.discard(key)
            if not settled:
                continue
            try:
                got = self.world.get(self.world.key(path))
            except SystemExit as e:
                return f"does not give {path}: {e}"
            data = node.data if isinstance(node, File) else names.raw(node.target)
            if got != data:
                return f"has other bytes of {path}: {difference(got, data)}"
            if attributes:
                wrong = self.mark_differs(path, node)
                if wrong:
                    return wrong
        return f"has {sorted(keys)}, which nobody made" if keys else None

    def mark_differs(self, path, node):
        """The attributes beside the object. One that only others wrote has none."""
        info = self.world.info(self.world.key(path))
        mark = next((p for p in str(info.get("cache_control") or
                                    info.get("metadata", {}).get("cacheControl", "")).split(", ")
                     if p.startswith('supafs="')), None)
        if mark is None:
            plain = (node.mode, node.uid, node.gid) == (
                HERE_MODE if isinstance(node, File) else 0o777, 0, 0)
            return None if plain and not node.xattrs else f"has no attributes of {path}"
        fields = dict(f.partition("=")[::2] for f in mark[8:-1].split(";")[1:])
        if "m" in fields and int(fields["m"], 8) & 0o7777 != node.mode:
            return f"has mode {fields['m']} of {path}, not {node.mode:o}"
        if len(node.mtime) == 1 and "t" in fields:
            seconds, _, part = fields["t"].partition(".")
            ns = int(part.ljust(9, "0") or 0)
            ns = int(seconds) * 10**9 + (-ns if seconds.startswith("-") else ns)
            if not node.mtime[0][0] <= ns <= node.mtime[0][1]:
                return f"has mtime {fields['t']} of {path}, not {node.mtime}"
        if ("x" in fields) != bool(node.xattrs):
            return f"says x={'x' in fields} of {path}, which has {sorted(node.xattrs)}"
        return None

    # ---- the end of a daemon -------------------------------------------------------------------

    def close_all(self, dead=False):
        for slot in list(self.maps):
            if dead:
                at, size, o, _ = self.maps.pop(slot)
                libc.munmap(at, size)
                o.drop()
            else:
                self.do_munmap(slot)
        for slot in list(self.handles):
            if dead:
                fd, o = self.handles.pop(slot)
                try:
                    os.close(fd)
                except OSError:
                    pass
                o.drop()
            else:
                self.do_close(slot)

    def do_remount(self, new_cache):
        self.close_all()
        self.world.stop()
        for _, node in self.tree.each():
            node.copied = False
            if isinstance(node, File):
                node.save()
            if isinstance(node, Dir):
                self.forget_times(node)
        if new_cache:
            self.world.new_cache()
        self.world.mount()
        self.check_bucket(True)

    @staticmethod
    def forget_times(node):
        """DIFFERS: what a directory's times became by changes of its names is this mount's alone."""
        node.mtime, node.ctime = [], 0
        if node.marker is None and not node.entries:
            node.marker = True

    def do_kill(self, new_cache):
        """kill -9: what was acknowledged is there afterwards, and nothing that nobody wrote."""
        self.world.kill()
        self.close_all(dead=True)
        while self.world.is_mounted():
            self.world.detach()
        if new_cache:
            self.world.new_cache()
        self.world.mount()
        self.world.settled()
        for path, node in list(self.tree.each()):
            node.copied = False
            if isinstance(node, File) and node.dirty:
                self.resolve(path, node)
            if isinstance(node, Dir):
                self.forget_times(node)

    def resolve(self, path, node):
        """A file that was not saved: it is as it was acknowledged last, or as it was when it went."""
        self.unsure += 1
        states = [bytes(node.data), *node.maybe]
        if node.saved is not None:
            states.append(node.saved)
        parent = self.tree.walk(path, follow=False)[0]
        try:
            st = os.lstat(self.path(path))
        except FileNotFoundError:
            if node.saved is not None:
                raise Wrong("lost", f"{path} was acknowledged, and is gone") from None
            node.linked = False
            del parent.entries[path[-1]]
            return
        if stat.S_ISLNK(st.st_mode):
            old = [s for s in states if isinstance(s, Link)]
            if not old or names.raw(old[0].target) != os.readlink(self.path(path)):
                raise Wrong("bytes", f"{path} is a symlink")
            old[0].linked, old[0].ino, old[0].mtime = True, None, []
            self.tree.add(parent, path[-1], old[0])
            return
        with open(self.path(path), "rb", buffering=0) as file:
            got = self.read_all(file.fileno(), 0, 1 << 30)
        if got not in states and not node.mapped:
            raise Wrong("lost", f"{path} after kill -9: {difference(got, node.data)}")
        new = File(0)
        new.data[:] = got
        new.save()
        self.adopt(path, new)
        node.linked = False
        self.tree.add(parent, path[-1], new)

    def finish(self):
        """All is closed and the daemon stopped: what remains below the state directory?"""
        self.do_check(False)
        self.do_remount(True)
        self.do_check(True)
        self.world.stop()
        if self.world.left("staging"):
            raise Wrong("left", f"in staging: {self.world.left('staging')}")
        kept = [f for f in self.world.left("quarantine") if not f.endswith(".json")]
        if len(kept) > self.unsure:
            raise Wrong("left", f"in quarantine: {kept}")
