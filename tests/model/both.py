# SPDX-License-Identifier: GPL-3.0-or-later
"""What every kind of step stands on: the model's answer and the mount's, held against each other."""
import errno
import hashlib
import os
import time

import names
from plain import Dir
from world import Wrong

SKIP = object()
LONG = (errno.ENOENT, errno.ENAMETOOLONG)


def xattrs_of(where):
    """What programs set. DIFFERS: a content type that another client gave, and that the name does
    not tell, is listed among them."""
    return {n: os.getxattr(where, n) for n in os.listxattr(where)
            if n != "user.supafs.content_type"}


def bytes_of(seed, size):
    """The same for the same seed; 0 are zeros."""
    return bytes(size) if seed == 0 else hashlib.shake_128(b"%d" % seed).digest(size)


def name_of_errno(code):
    return errno.errorcode.get(code, str(code)) if code else "success"


class Both:
    """A Player has .world, .tree, and what is open: .handles and .maps."""

    t0 = t1 = 0  # when the mount was asked, and had answered

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
