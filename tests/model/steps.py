# SPDX-License-Identifier: GPL-3.0-or-later
"""Which step comes next, and how a mount is set up: from a seed and what the model has by now."""
import os
import random

import names
from plain import Dir, File, Link

SLOTS, MAPS = 8, 3
DEPTH, FILES = 4, 50
SIZES = [0, 1, 2, 100, 511, 4095, 4096, 4097, 5000, 12288, 32768, 40000, 65535, 65536, 70000,
         131072, 200000]
MODES = [0o644, 0o600, 0o755, 0o444, 0o666, 0o777, 0o640]
XATTRS = ["user.a", "user.b", "user.author", "user.\u00fc", "user.a.b.c"]


def setup(seed):
    """The options of a mount, and the part of a bucket that it shows. Odd seeds write back."""
    dice = random.Random(f"setup {seed}")
    ttl = dice.choice(["0", "0", "1s", "60s"])
    options = [f"attr_ttl={ttl}"]
    if dice.random() < 0.3:
        options.append("standard_limit=100K")  # larger ones go resumable
    if dice.random() < 0.3:
        options.append("cache_size=4M,cache_memory=4M")
    if dice.random() < 0.2:
        options.append("exclusive=open")
    if dice.random() < 0.2:
        options.append("max_nodes=1000")
    if dice.random() < 0.2:
        options.append("predict=no,kernel_readahead=0")
    if seed % 2:
        options.append("sync=writeback")
    return {"seed": seed, "options": options, "prefix": dice.choice(["", "", "pre/fix"]),
            "ttl": {"0": 0, "1s": 1, "60s": 60}[ttl]}


class Generator:
    def __init__(self, seed, player, pace):
        """@pace: how often what takes long is done, 1 = in a long run."""
        self.dice = random.Random(seed)
        self.player, self.tree = player, player.tree
        d = self.dice
        self.names = names.PLAIN + d.sample(names.ODD, 10)
        slow = pace if player.ttl else 6 * pace  # another client's changes show after attr_ttl
        table = [
            (90, self.open), (60, self.create), (110, self.write), (70, self.read), (70, self.close),
            (12, self.dup), (25, self.ftruncate), (16, self.truncate), (10, self.fallocate),
            (16, self.copy), (14, self.seek), (20, self.fsync), (16, self.fstat), (14, self.mmap),
            (30, self.mread), (30, self.mwrite), (10, self.msync), (16, self.munmap),
            (22, self.mkdir), (14, self.rmdir), (5, self.mknod), (10, self.symlink),
            (10, self.readlink), (3, self.link), (40, self.unlink), (60, self.rename),
            (20, self.chmod), (5, self.fchmod), (6, self.chown), (16, self.utime),
            (14, self.setxattr), (5, self.removexattr), (8, self.getxattrs), (40, self.stat),
            (20, self.readdir), (2, self.statfs), (4, self.wait), (4 * pace, self.check),
            (2 * pace, self.remount), (1.5 * pace, self.kill), (1.5 * slow, self.api_put),
            (0.7 * slow, self.api_delete), (0.7 * slow, self.api_move)]
        self.weights, self.makers = zip(*table)

    def next(self):
        while True:
            step = self.dice.choices(self.makers, self.weights)[0]()
            if step:
                return step

    # ---- choosing ------------------------------------------------------------------------------

    def some(self, *kinds):
        """The path of something that is there."""
        found = [p for p, n in self.tree.each() if isinstance(n, kinds)]
        return list(self.dice.choice(found)) if found else None

    def directory(self):
        found = [()] + [p for p, n in self.tree.each() if isinstance(n, Dir)]
        return list(self.dice.choice([p for p in found if len(p) < DEPTH]))

    def new(self):
        return self.directory() + [self.dice.choice(self.names)]

    def any(self):
        """Mostly something that is there."""
        roll = self.dice.random()
        found = self.some(File, Dir, Link)
        if found and roll < 0.75:
            return found
        if found and roll < 0.8:
            return found + [self.dice.choice(self.names)]  # below what may be no directory
        return self.new()

    def size(self):
        return self.dice.choice(SIZES) if self.dice.random() < 0.8 else self.dice.randrange(300000)

    def offset(self, o=None):
        end = len(o.node.data) if o else 0
        roll = self.dice.random()
        if roll < 0.3:
            return 0
        if roll < 0.5:
            return end
        if roll < 0.8:
            return self.dice.randrange(end + 1)
        return min(self.size() + (end if roll > 0.95 else 0), 1 << 20)

    def seed(self):
        return self.dice.randrange(40)  # few: what is known already is copied by the service

    def slot(self):
        found = list(self.player.handles)
        return self.dice.choice(found) if found else None

    def free(self):
        found = [s for s in range(SLOTS) if s not in self.player.handles]
        return self.dice.choice(found) if found else None

    def handle(self):
        slot = self.slot()
        return (slot, self.player.handles[slot][1]) if slot is not None else (None, None)

    def mapping(self):
        found = list(self.player.maps)
        return self.dice.choice(found) if found else None

    def full(self):
        return sum(1 for _ in self.tree.each()) > FILES

    # ---- steps ---------------------------------------------------------------------------------

    def open(self):
        slot, path = self.free(), self.some(File, File, Link) or self.any()
        if self.dice.random() < 0.08:
            path = self.any()
        flags = self.dice.choice([os.O_RDONLY, os.O_RDONLY, os.O_RDWR, os.O_RDWR, os.O_WRONLY])
        if flags and self.dice.random() < 0.2:
            flags |= os.O_APPEND
        if flags and self.dice.random() < 0.25:
            flags |= os.O_TRUNC
        if self.dice.random() < 0.04:
            flags |= os.O_NOFOLLOW
        if flags and self.dice.random() < 0.04:
            flags |= self.dice.choice([os.O_SYNC, os.O_DSYNC])
        if self.dice.random() < 0.1:
            flags |= os.O_CREAT
        return slot is not None and ["open", slot, path, flags, 0o644]

    def create(self):
        slot = self.free()
        if slot is None or self.full():
            return None
        flags = self.dice.choice([os.O_RDWR, os.O_RDWR, os.O_WRONLY, os.O_RDONLY]) | os.O_CREAT
        if self.dice.random() < 0.3:
            flags |= os.O_EXCL
        if self.dice.random() < 0.2 and flags & os.O_ACCMODE:
            flags |= os.O_TRUNC
        if self.dice.random() < 0.15 and flags & os.O_ACCMODE:
            flags |= os.O_APPEND
        return ["open", slot, self.new(), flags, self.dice.choice(MODES)]

    def write(self):
        slot, o = self.handle()
        return o and ["write", slot, self.offset(o), self.seed(), max(1, self.size())]

    def read(self):
        slot, o = self.handle()
        return o and ["read", slot, self.offset(o), self.size() or 1]

    def close(self):
        slot = self.slot()
        return slot is not None and ["close", slot]

    def dup(self):
        slot, free = self.slot(), self.free()
        return slot is not None and free is not None and ["dup", slot, free]

    def ftruncate(self):
        slot, o = self.handle()
        return o and ["ftruncate", slot, self.offset(o)]

    def truncate(self):
        return ["truncate", self.some(File) or self.any(), self.size()]

    def fallocate(self):
        slot, o = self.handle()
        return o and ["fallocate", slot, self.dice.choice([0, 1, 3, 3, 16, 17]), self.offset(o),
                      self.size() or 1]

    def copy(self):
        slot, o = self.handle()
        other, to = self.handle()
        if o is None:
            return None
        whole = self.dice.random() < 0.5
        return ["copy", slot, 0 if whole else self.offset(o), other, 0 if whole else
                self.offset(to), 1 << 20 if whole else self.size() or 1]

    def seek(self):
        slot, o = self.handle()
        return o and ["seek", slot, self.offset(o), self.dice.random() < 0.5]

    def fsync(self):
        slot = self.slot()
        return slot is not None and ["fsync", slot]

    def fstat(self):
        slot = self.slot()
        return slot is not None and ["fstat", slot]

    def mmap(self):
        slot, _ = self.handle()
        free = [m for m in range(MAPS) if m not in self.player.maps]
        return slot is not None and free and ["mmap", self.dice.choice(free), slot, self.dice.choice(
            [4096, 8192, 65536, 300000]), self.dice.random() < 0.7]

    def in_mapping(self):
        slot = self.mapping()
        if slot is None:
            return None, 0, 0
        end = max(1, min(self.player.maps[slot][1], len(self.player.maps[slot][2].node.data)))
        return slot, self.dice.randrange(end), self.dice.choice([1, 10, 4096, 10000])

    def mread(self):
        slot, offset, size = self.in_mapping()
        return slot is not None and ["mread", slot, offset, size * 4]

    def mwrite(self):
        slot, offset, size = self.in_mapping()
        return slot is not None and ["mwrite", slot, offset, self.seed(), size]

    def msync(self):
        slot = self.mapping()
        return slot is not None and ["msync", slot]

    def munmap(self):
        slot = self.mapping()
        return slot is not None and ["munmap", slot]

    def mkdir(self):
        return not self.full() and ["mkdir", self.new(), self.dice.choice([0o755, 0o700, 0o777,
                                                                           0o1777])]

    def rmdir(self):
        return ["rmdir", self.some(Dir) or self.any()]

    def mknod(self):
        return ["mknod", self.new(), self.dice.choice(MODES)]

    def symlink(self):
        target = self.dice.choice([*self.names[:12], "a/b", "nowhere", "/nonexistent/x", "x" * 900,
                                   "./a", "\u00fc/\u00fc"])
        return not self.full() and ["symlink", self.new(), target]

    def readlink(self):
        return ["readlink", self.some(Link) or self.any()]

    def link(self):
        return ["link", self.any(), self.new()]

    def unlink(self):
        return ["unlink", (self.some(File, Link) if self.dice.random() < 0.9 else None) or self.any()]

    def rename(self):
        source = self.some(File, Link, Dir) if self.dice.random() < 0.95 else self.any()
        target = self.new()
        roll = self.dice.random()
        if roll < 0.35:
            target = self.any()
        elif roll < 0.45 and source:
            target = source[:-1] + [self.dice.choice(self.names)]
        flags = self.dice.choice([0] * 8 + [1, 1, 1, 2])
        return source and ["rename", source, target, flags]

    def chmod(self):
        path = self.any()
        if self.dice.random() < 0.3:
            path = self.some(Dir) or path
        there = self.player.node_at(path)
        more = [0o2775, 0o1777] if there and there.directory else []
        return ["chmod", path, self.dice.choice(MODES + more)]

    def fchmod(self):
        slot = self.slot()
        return slot is not None and ["fchmod", slot, self.dice.choice(MODES)]

    def chown(self):
        return ["chown", self.any(), self.dice.choice([0, 1000]), self.dice.choice([0, 1000, 50000])]

    def utime(self):
        return ["utime", self.any(), self.dice.choice([None, 0, 1, 10**18 + 123456789, -10**9 - 5,
                                                       1700000000 * 10**9])]

    def setxattr(self):
        size = self.dice.choice([0, 1, 20, 100, 100, 5000])
        return ["setxattr", self.any(), self.dice.choice(XATTRS), self.seed(), size,
                self.dice.choice([0, 0, 0, os.XATTR_CREATE, os.XATTR_REPLACE])]

    def removexattr(self):
        return ["removexattr", self.any(), self.dice.choice(XATTRS)]

    def getxattrs(self):
        return ["getxattrs", self.some(File, Dir) or self.any()]

    def stat(self):
        return ["stat", self.any()]

    def readdir(self):
        return ["readdir", self.some(Dir) or []]

    def statfs(self):
        return ["statfs"]

    def wait(self):
        return ["wait", self.dice.choice([1, 5, 20, 100, 1100])]

    def check(self):
        return ["check", False]

    def remount(self):
        return ["remount", self.dice.random() < 0.5]

    def kill(self):
        return ["kill", self.dice.random() < 0.5]

    def api_put(self):
        roll = self.dice.random()
        path = self.some(File, File, Link) if roll < 0.5 else self.new()
        if roll > 0.8:
            path = (path or []) + [self.dice.choice(names.PLAIN)]
        return path and len(path) <= DEPTH + 1 and ["api_put", path, self.seed(), self.size()]

    def api_delete(self):
        path = self.some(File, Link)
        return path and ["api_delete", path]

    def api_move(self):
        path = self.some(File, Link)
        return path and ["api_move", path, self.new()]
