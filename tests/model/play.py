# SPDX-License-Identifier: GPL-3.0-or-later
"""Plays steps on the model and on the mount, and compares what both say. A step is a list: its name
and what it takes, all that is needed to play it again. One that has no meaning (its handle was never
opened, say) does nothing, so that any part of a list of steps can be played."""
import time

from attributes import Attributes
from both import SKIP
from entries import Entries
from handles import Handles
from mappings import Mappings
from other import Other
from plain import Tree
from whole import Whole


class Player(Handles, Mappings, Entries, Attributes, Other, Whole):
    def __init__(self, world, inject=None):
        self.world, self.inject = world, inject
        self.tree = Tree({"size": 1 << 62})
        self.handles = {}  # slot -> (fd, Open)
        self.maps = {}  # slot -> (address, length, Open, writable)
        self.fallocate_modes = {}
        self.ttl = world.ttl
        self.behind = [o for o in world.options if o.startswith("sync=")][-1:] == ["sync=writeback"]
        self.unsure = 0  # files that a kill caught unsaved: they may be in quarantine
        self.other_at = 0.0  # when another client changed something last

    def play(self, step):
        """Returns False for a step that has no meaning here."""
        return getattr(self, "do_" + step[0])(*step[1:]) is not SKIP

    def do_wait(self, ms):
        time.sleep(ms / 1000)
