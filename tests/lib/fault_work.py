# SPDX-License-Identifier: GPL-3.0-or-later
"""One program at work in a mount whose service fails: what it was told, and whether that holds.

A Worker has a directory of its own. For each name it knows what may be there: one thing after a
success, several after a failure. settled() holds all of it against bucket and mount when the
service is well again and nothing is under way.
"""
import errno
import hashlib
import json
import os
import random
import time

import objects

ABSENT, DIRECTORY = "nothing", "a directory"
ATTR_TTL = 0.4  # of the mount, and a little more
SIZES = (0, 10, 3000, 20000, 70000, 120000)
NAMES = 16


class Honest(objects.Api):
    """The API without faults."""

    def __init__(self):
        super().__init__()
        self.headers["X-No-Faults"] = "1"

    def info(self, bucket, key):
        """The row of an object, or None."""
        path = f"{self.base}/object/info/authenticated/{objects.quote(bucket + '/' + key)}"
        reply = self.wire.send("GET", path, self.headers.items(), None)
        if reply.status == 200:
            return json.loads(reply.body)
        if json.loads(reply.body).get("code") != "NoSuchKey":
            raise AssertionError(f"info of {key}: {reply.status} {reply.body[:100]}")
        return None

    def rows(self, bucket, prefix):
        """name -> (etag, size) of every object below a prefix."""
        found, query = {}, {"prefix": prefix, "limit": 1000}
        while True:
            page = self.call_json("POST", f"/object/list-v2/{bucket}", query)
            for row in page["objects"]:
                found[row["name"]] = (row["metadata"]["eTag"], row["metadata"]["size"])
            if not page["hasNext"]:
                return found
            query["cursor"] = page["nextCursor"]


def etag(data):
    return f'"{hashlib.md5(data).hexdigest()}"'


def short(thing):
    if not isinstance(thing, bytes):
        return str(thing)
    return f"{len(thing)} bytes {hashlib.md5(thing).hexdigest()[:8]}"


class Node:
    """What may be under one name."""

    def __init__(self):
        self.may = [ABSENT]
        self.modes = {0o644}
        self.last = None  # what a failed close() left, and the bytes it wrote, until all else is sure
        self.open = False  # a failed rename: left alone until all has settled
        self.changed = 0.0
        self.failed = set()  # ETags of what failed close()s left, since all was settled
        self.hurt = False  # some change failed since then

    def sure(self):
        return len(self.may) == 1

    def is_file(self):
        return self.sure() and isinstance(self.may[0], bytes)

    def set(self, thing):
        self.may, self.last = [thing], None

    def add(self, thing):
        if thing not in self.may:
            self.may.append(thing)

    def __str__(self):
        return " or ".join(short(m) for m in self.may)


class Worker:
    def __init__(self, mount, bucket, number, seed, writeback=False, large=1200000):
        self.mount, self.bucket, self.prefix = mount, bucket, f"w{number}"
        self.rng = random.Random(f"{seed}/{number}")
        self.dir = os.path.join(mount, bucket, self.prefix)
        self.nodes = {}
        self.either = []  # failed renames: (content, a, b), it must be at one of the two
        self.done, self.failed, self.errors = {}, {}, {}
        self.slowest = (0, "")
        self.writeback, self.large = writeback, large
        self.fault = None
        self.api = Honest()
        self.count = 0
        self.known = {}  # etag -> bytes that were ever written, to explain what is found

    # ---- helpers ---------------------------------------------------------------------------------

    def path(self, name):
        return os.path.join(self.dir, name)

    def node(self, name):
        return self.nodes.setdefault(name, Node())

    def pick(self, condition):
        """A name that has rested and of which the condition holds."""
        now = time.monotonic()
        names = [n for n, node in sorted(self.nodes.items())
                 if not node.open and now - node.changed >= self.fault.rest and condition(node)]
        return self.rng.choice(names) if names else None

    def any_name(self):
        return self.pick(lambda node: DIRECTORY not in node.may)

    def data(self):
        size = self.rng.choice(SIZES)
        if self.rng.random() < 0.04:
            size = self.large + self.rng.randrange(1000)
        return self.note(self.rng.randbytes(size))

    def note(self, data):
        self.known[etag(data)] = data
        return data

    def wrong(self, text):
        raise AssertionError(f"{self.prefix}: {text}")

    def holds(self, name, thing):
        """An acknowledged change is in the bucket."""
        if self.fault.lies or self.rng.random() > 0.3:
            return
        row = self.api.info(self.bucket, f"{self.prefix}/{name}")
        if thing is ABSENT and row is not None:
            self.wrong(f"{name} was removed, and is in the bucket")
        if isinstance(thing, bytes) and (row is None or row["etag"] != etag(thing)):
            known = row and short(self.known.get(row["etag"], "something unknown"))
            self.wrong(f"{name} was acknowledged with {short(thing)}, and the bucket has {known}")

    def given(self):
        """Files that another client has put there: what is written here is not fetched."""
        for name in [n for n in self.nodes if n.startswith("g") and self.nodes[n].may == [ABSENT]]:
            del self.nodes[name]
        while sum(name.startswith("g") for name in self.nodes) < 10:
            self.count += 1
            name, data = f"g{self.count}", self.note(self.rng.randbytes(
                self.rng.choice([100, 5000, 40000, 300000, 1500000])))
            self.api.call("PUT", f"/object/{self.bucket}/{self.prefix}/{name}", data, "text/plain")
            self.node(name).set(data)
        time.sleep(ATTR_TTL)
        for entry in os.scandir(self.dir):  # known from now on, also if the service fails
            entry.stat()

    # ---- what it does: each returns nothing, and raises OSError as the call that failed -----------

    def write(self, name, flags, data, results, at=None, sync=False):
        """Opens, writes, closes. `results`: from what was taken to what may be there then."""
        node, taken = self.node(name), 0
        node.changed = time.monotonic()
        before = list(node.may)
        if flags & os.O_TRUNC and before != [ABSENT]:
            for thing in before:  # open() may fail behind its truncation
                if isinstance(thing, bytes):
                    node.add(b"")
        try:
            fd = os.open(self.path(name), os.O_WRONLY | flags, 0o644)
        except OSError as problem:
            if flags & os.O_CREAT:
                node.add(b"")
            raise problem
        for thing in results(before, 0):
            node.add(thing)
        if flags & os.O_TRUNC:
            node.last = None  # the program itself let it go
        problem = None
        try:
            if at is not None:
                os.lseek(fd, at, os.SEEK_SET)
            while taken < len(data):
                taken += os.write(fd, data[taken:taken + 131072])
        except OSError as failure:
            problem = failure
        after = results(before, taken)
        for thing in after:
            node.add(thing)
        synced = False
        try:
            if sync and not problem:
                os.fsync(fd)
                synced = True
        except OSError as failure:
            problem = failure
        try:
            os.close(fd)
        except OSError as failure:
            problem = problem or failure
            synced = False
            node.last = (after[-1], data[:taken]) if len(after) == 1 and taken else None
            node.failed |= {etag(m) for m in node.may if isinstance(m, bytes)}
            node.changed = time.monotonic()
            raise problem from None
        node.changed = time.monotonic()
        if taken and self.writeback and self.fault.refuses:  # told now, refused later
            node.last = (after[-1], data[:taken]) if len(after) == 1 else None
        elif taken:  # what was taken is what was closed
            node.may, node.last = list(after), None
            if not problem and len(after) == 1 and (synced or not self.writeback):
                self.holds(name, after[0])
        if problem:
            raise problem

    def create(self):
        name = f"f{self.rng.randrange(NAMES)}"
        node = self.node(name)
        if node.open or DIRECTORY in node.may or time.monotonic() - node.changed < self.fault.rest:
            return False
        data = self.data()
        if node.may == [ABSENT]:
            node.modes = {0o644}
        elif ABSENT in node.may:
            node.modes.add(0o644)
        self.write(name, os.O_CREAT | os.O_TRUNC, data, lambda before, n: [data[:n]],
                   sync=self.rng.random() < 0.1)
        return True

    def append(self):
        name = self.pick(lambda node: node.is_file() and len(node.may[0]) < 1500000)
        if not name:
            return False
        more = self.rng.randbytes(self.rng.randrange(1, 5000))
        self.write(name, os.O_APPEND, more,
                   lambda before, n: [self.note(before[0] + more[:n])])
        return True

    def change(self):
        name = self.pick(lambda node: node.is_file() and len(node.may[0]) > 200)
        if not name:
            return False
        at = self.rng.randrange(len(self.node(name).may[0]) - 100)
        new = self.rng.randbytes(100)
        self.write(name, 0, new, lambda before, n: [
            self.note(before[0][:at] + new[:n] + before[0][at + n:])], at=at)
        return True

    def read(self):
        name = self.pick(lambda node: True)
        if not name or DIRECTORY in self.node(name).may:
            return False
        node = self.node(name)
        try:
            fd = os.open(self.path(name), os.O_RDONLY)
        except FileNotFoundError:
            if ABSENT not in node.may and not self.fault.lies:
                self.wrong(f"{name} is gone for open(), and should be {node}")
            return True
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            if node.is_file() and node.may[0] and self.rng.random() < 0.5:
                return self.read_some(fd, name, node.may[0])
            data = b""
            while piece := os.read(fd, 1 << 20):
                data += piece
        finally:
            os.close(fd)
        if data not in node.may and not (self.fault.lies and self.is_part(data, node)):
            self.wrong(f"{name} reads as {short(data)}, and should be {node}")
        return True

    def read_some(self, fd, name, data):
        for _ in range(4):
            at = self.rng.randrange(len(data))
            piece = b""  # what comes before a failure comes alone; the rest tells the failure
            while more := os.pread(fd, 4000 - len(piece), at + len(piece)):
                piece += more
            if piece != data[at:at + 4000] and not self.fault.lies:
                self.wrong(f"{name} has other bytes at {at}: {len(piece)} of {len(data)}")
        return True

    @staticmethod
    def is_part(data, node):
        return any(isinstance(m, bytes) and m.startswith(data) for m in node.may)

    def rename(self):
        name = self.pick(lambda node: node.is_file())
        to = f"f{self.rng.randrange(NAMES)}"
        there = self.node(to)
        if not name or name == to or there.open or DIRECTORY in there.may or \
                time.monotonic() - there.changed < self.fault.rest:
            return False
        node, content = self.node(name), self.node(name).may[0]
        node.changed = there.changed = time.monotonic()
        said = None
        try:
            os.rename(self.path(name), self.path(to))
        except OSError as problem:
            said = problem
        if said or self.fault.lies:  # also done or not: a lie may have looked like its end
            node.add(ABSENT)
            there.add(content)
            there.modes |= node.modes
            node.open = there.open = True
            node.last = there.last = None
            self.either.append((content, name, to))
            if said:
                raise said
            return True
        node.changed = there.changed = time.monotonic()
        there.set(content)
        there.modes = set(node.modes)
        node.set(ABSENT)
        if not self.writeback:
            self.holds(to, content)
            self.holds(name, ABSENT)
        return True

    def unlink(self):
        name = self.any_name()
        if not name:
            return False
        node = self.node(name)
        node.changed = time.monotonic()
        try:
            os.unlink(self.path(name))
        except FileNotFoundError:
            if ABSENT not in node.may and not self.fault.lies:
                self.wrong(f"{name} is gone for unlink(), and should be {node}")
        except OSError:
            node.add(ABSENT)
            node.last = None
            raise
        node.last = None
        if self.fault.refuses or self.fault.lies:
            node.add(ABSENT)  # an acknowledged removal may be refused later
        else:
            node.set(ABSENT)
        node.changed = time.monotonic()
        return True

    def chmod(self):
        name = self.pick(lambda node: node.is_file())
        if not name:
            return False
        node, mode = self.node(name), self.rng.choice([0o600, 0o640, 0o644, 0o755])
        node.changed = time.monotonic()
        node.modes.add(mode)
        os.chmod(self.path(name), mode)
        node.modes = {mode}
        return True

    def directory(self):
        """Made when it is not there, removed when it is."""
        name = f"d{self.rng.randrange(4)}"
        node = self.node(name)
        if node.open or time.monotonic() - node.changed < self.fault.rest:
            return False
        make = DIRECTORY not in node.may
        node.changed = time.monotonic()
        node.add(DIRECTORY if make else ABSENT)
        try:
            (os.mkdir if make else os.rmdir)(self.path(name))
        except (FileExistsError, FileNotFoundError) as problem:
            if not self.fault.lies:
                self.wrong(f"{'mkdir' if make else 'rmdir'}: {problem}")
            node.open = True
            return True
        except OSError:
            node.open = True
            raise
        if self.fault.lies:
            node.open = True
        else:
            node.set(DIRECTORY if make else ABSENT)
        node.changed = time.monotonic()
        return True

    def look(self):
        names = {}
        for entry in os.scandir(self.dir):
            try:
                names[entry.name] = entry.stat().st_size
            except FileNotFoundError:  # a rename that nobody knew of may have come to its end
                if not self.fault.lies and ABSENT not in self.node(entry.name).may:
                    self.wrong(f"{entry.name} is listed, and gone for stat(): {self.node(entry.name)}")
        if self.fault.lies:
            return True
        for name, node in self.nodes.items():
            if (name in names and node.may == [ABSENT]) or \
                    (name not in names and ABSENT not in node.may):
                self.wrong(f"the listing {'has' if name in names else 'lacks'} {name}: {node}")
            sizes = [len(m) for m in node.may if isinstance(m, bytes)]
            if name in names and sizes and DIRECTORY not in node.may and names[name] not in sizes:
                self.wrong(f"{name} has {names[name]} bytes: {node}")
        return True

    def missing(self):
        try:
            os.stat(self.path(f"none{self.rng.randrange(1000)}"))
        except FileNotFoundError:
            return True
        self.wrong("a file that was never made")
        return False

    DOINGS = ([create] * 10 + [read] * 8 + [append, append, change, change, rename, rename, unlink,
                                           unlink, unlink, chmod, directory, look, look, missing])

    def hurt(self, what):
        """A change failed: the names that it was about are those changed last."""
        if what not in ("read", "look", "missing"):
            newest = max(node.changed for node in self.nodes.values())
            for node in self.nodes.values():
                node.hurt |= node.changed == newest or node.open

    def step(self, started):
        """One thing. `started` is called with what it is, and with None behind it."""
        what = self.rng.choice(self.DOINGS).__name__
        began = time.monotonic()
        started(what)
        try:
            if getattr(self, what)():
                self.done[what] = self.done.get(what, 0) + 1
        except OSError as problem:
            if problem.errno in (errno.ENOENT, errno.ENOTCONN, errno.EBADF):
                if not self.fault.lies or problem.errno != errno.ENOENT:
                    self.wrong(f"{what}: {problem}")
            self.hurt(what)
            self.failed[what] = self.failed.get(what, 0) + 1
            said = errno.errorcode.get(problem.errno, str(problem.errno))
            self.errors[f"{what}:{said}"] = self.errors.get(f"{what}:{said}", 0) + 1
        finally:
            started(None)
        took = time.monotonic() - began
        if took > self.slowest[0]:
            self.slowest = (took, what)

    # ---- looking at it all when the service is well ------------------------------------------------

    def settled(self, quarantine):
        """What came of it against what may be; then all is known again. Returns the conflict copies
        for which there is no reason."""
        rows = self.api.rows(self.bucket, self.prefix + "/")
        rows = {key[len(self.prefix) + 1:]: row for key, row in rows.items()}
        rows.pop(".emptyFolderPlaceholder", None)
        copies = {name: rows.pop(name)[0] for name in list(rows) if ".conflict-" in name}
        for name, tag in copies.items():
            if tag not in self.known:
                self.wrong(f"{name}: bytes that were never written")
        for name, node in self.nodes.items():
            self.settle_one(name, node, rows, quarantine)
        for name in rows:
            self.wrong(f"the bucket has {name}, which should not be there")
        for content, one, two in self.either:
            if content not in self.node(one).may + self.node(two).may and \
                    etag(content) not in copies.values():
                self.wrong(f"rename of {one} to {two} lost {short(content)}")
        # Bytes that waited for the target of such a rename find its object, and keep it; and so do
        # those that came after a close() that had failed and whose bytes had arrived all the same.
        explained = {etag(content) for content, _, _ in self.either}
        explained |= {tag for node in self.nodes.values() for tag in node.failed}
        self.either = []
        self.compare_mount()
        for node in self.nodes.values():
            node.failed, node.hurt = set(), False
        for name in copies:
            os.unlink(self.path(name))
        return [name for name, tag in copies.items() if tag not in explained]

    def settle_one(self, name, node, rows, quarantine):
        row, found = rows.pop(name, None), ABSENT
        marker = rows.pop(name + "/.emptyFolderPlaceholder", None)
        if marker:
            found = DIRECTORY
        if row:
            found = self.known.get(row[0], row[0])
        explained = (self.fault.refuses or self.fault.lies) and (
            found is ABSENT or found is DIRECTORY or row and row[0] in self.known)
        if found not in node.may and not explained:
            self.wrong(f"the bucket has {short(found)} as {name}, which should be {node}")
        if node.last and found != node.last[0] and not self.is_aside(node.last[1], quarantine):
            self.wrong(f"{short(node.last[1])}, written to {name} as a part of {short(node.last[0])}, "
                       f"are neither in the bucket nor in quarantine: it has {short(found)}")
        node.set(found)
        node.open = False

    @staticmethod
    def is_aside(data, quarantine):
        for name in os.listdir(quarantine) if os.path.isdir(quarantine) else ():
            if not name.endswith(".json"):
                with open(os.path.join(quarantine, name), "rb") as file:
                    if data in file.read():
                        return True
        return False

    def compare_mount(self):
        names = {e.name: e for e in os.scandir(self.dir)}
        for name, node in self.nodes.items():
            entry = names.pop(name, None)
            if (entry is None) != (node.may == [ABSENT]):
                self.wrong(f"the mount {'lacks' if entry is None else 'has'} {name}: {node}")
            if isinstance(node.may[0], bytes):
                with open(entry.path, "rb") as file:
                    if (data := file.read()) != node.may[0]:
                        self.wrong(f"{name} reads as {short(data)}, and the bucket has {node}")
                mode = os.stat(entry.path).st_mode & 0o7777
                if mode not in node.modes and not self.fault.refuses and not node.hurt:
                    self.wrong(f"{name} has mode {mode:o}, not {[oct(m) for m in node.modes]}")
                node.modes = {mode}
        for name in names:
            if ".conflict-" not in name:
                self.wrong(f"the mount has {name}, which should not be there")
