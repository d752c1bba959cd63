# SPDX-License-Identifier: GPL-3.0-or-later
"""The changes that crash.py interrupts, and what holds of each when it was brought to its end."""
import base64
import contextlib
import json
import os
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import objects  # noqa: E402

MIB = 1 << 20


class Wrong(Exception):
    """What the run shows is not what was promised."""


def wait_for(seconds, condition, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Wrong(f"after {seconds} s still not so: {what}")
        time.sleep(0.02)


def text(name, size):
    """Bytes that tell their origin; never the same for two names."""
    line = f"{name} ".encode()
    return (line * (size // len(line) + 1))[:size]


def write(path, data, flags=os.O_CREAT | os.O_TRUNC, sync=False):
    fd = os.open(path, os.O_WRONLY | flags, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view):]
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


class Scenario:
    """One change. `first` are the objects before, `last` what the bucket has in the end; both are
    key -> bytes. A key of `last` may be a pattern."""

    options = ""  # of the mount
    settings = {}  # of the server; with some, nothing else is played meanwhile
    first = {}
    last = {}
    cost = 0  # the greater, the rarer it is played
    boot = ""  # which boot of the machine the second daemon sees; "" = the same
    status = 0  # of a daemon that was not killed; 1: something waits for the next one
    pending = 0  # records that stay
    quarantined = 0
    label = None  # of the step at which it is killed
    steady = True  # passes the same steps whenever it is played
    unsaved = 0  # so many more may be in quarantine: written, and neither closed nor synced

    def act(self, run):
        raise NotImplementedError

    def before(self, run):
        """What `first` cannot say."""

    def before_remount(self, run):
        """What the world does while no daemon runs."""

    def check(self, run):
        """What the general check does not know."""

    def look(self, name):
        """Whether the bytes of this one are compared, too."""
        return True

    def ends(self):
        """States of which the bucket has one in the end."""
        return [self.last]


class Story(Scenario):
    """Several changes, one after the other: those that returned are kept, the one that was cut off
    is done or not."""
    unsaved = 1

    def act(self, run):
        self.now = self.then = self.first
        self.moves(run)

    def moves(self, run):
        """Calls self.does(change, name=bytes or None, ...) for each."""
        raise NotImplementedError

    def does(self, change, **names):
        self.then = {k: v for k, v in {**self.now, **names}.items() if v is not None}
        change()
        self.now = self.then

    def ends(self):
        return [self.then, self.now]


class NewFile(Scenario):
    """A program writes a file and closes it."""
    last = {"new": text("new", 5000)}

    def act(self, run):
        write(run.path("new"), self.last["new"])


class Behind(Scenario):
    """A program writes files, and close() does not wait for the service."""
    options = "sync=writeback"
    last = {"new": text("new", 5000), "large": text("large", 200000)}
    unsaved = 1

    def act(self, run):
        for name, data in self.last.items():
            write(run.path(name), data)

    def ends(self):
        return [self.last, {"new": self.last["new"]}]


class BehindStory(Story):
    """The same, and files are written again, renamed and removed before or while they are sent."""
    options = "sync=writeback"
    steady = False  # what follows soon enough is sent together
    first = {"f": text("old", 9000)}

    def moves(self, run):
        one, two, three = text("one", 5000), text("two", 3000), text("three", 100)
        for data in one, two:
            self.does(lambda data=data: write(run.path("new"), data), new=data)
        self.does(lambda: os.rename(run.path("new"), run.path("f")), new=None, f=two)
        self.does(lambda: write(run.path("gone"), one), gone=one)
        self.does(lambda: os.unlink(run.path("gone")), gone=None)
        self.does(lambda: write(run.path("f"), three), f=three)


class BehindShared(Story):
    """A file that was closed is cut and written again by a second program, which has not closed it yet
    while descriptors of the first are closed."""
    options = "sync=writeback"
    steady = False
    first = {"f": text("old", 9000)}

    def moves(self, run):
        one, two = text("one", 9000), text("two", 5000)
        fds = [os.open(run.path("f"), os.O_WRONLY)]
        try:
            self.does(lambda: os.pwrite(fds[0], one, 0))
            self.does(lambda: os.close(os.dup(fds[0])), f=one)
            fds.append(os.open(run.path("f"), os.O_WRONLY | os.O_TRUNC))
            self.does(lambda: os.write(fds[1], two[:100]))
            self.does(lambda: os.close(os.dup(fds[0])))
            self.does(lambda: os.close(fds.pop(0)))
            self.does(lambda: os.write(fds[0], two[100:]))
            self.does(lambda: os.close(fds.pop()), f=two)
        finally:
            for fd in fds:
                with contextlib.suppress(OSError):
                    os.close(fd)


class Overwrite(Scenario):
    """An existing file is truncated and written again, with fsync."""
    first = {"f": text("old", 9000), "other": b"other"}
    last = {"f": text("ours", 5000), "other": b"other"}

    def act(self, run):
        write(run.path("f"), self.last["f"], os.O_TRUNC, sync=True)


class Middle(Scenario):
    """A few bytes in the middle of a larger object change; the rest is not here yet."""
    first = {"f": text("old", MIB)}
    last = {"f": text("old", MIB)[:500000] + b"ours" + text("old", MIB)[500004:]}

    def act(self, run):
        fd = os.open(run.path("f"), os.O_WRONLY)
        try:
            os.pwrite(fd, b"ours", 500000)
        finally:
            os.close(fd)


class Append(Scenario):
    """Lines are added to a log."""
    first = {"log": text("line", 9000)}
    last = {"log": text("line", 9000) + b"one more\n"}

    def act(self, run):
        write(run.path("log"), b"one more\n", os.O_APPEND)


class Large(Scenario):
    """More than one request carries."""
    options = "standard_limit=1M"
    last = {"large": text("large", 13 * MIB)}

    def act(self, run):
        write(run.path("large"), self.last["large"])


class LargeOver(Scenario):
    """The same over an object of which more is known than that route can carry."""
    options = "standard_limit=1M"
    last = {"large": text("large", 7 * MIB)}

    def before(self, run):
        told = base64.b64encode(json.dumps({"colour": "red"}).encode()).decode()
        run.put("large", text("old", 5000), **{"Cache-Control": "no-store", "x-metadata": told})

    def act(self, run):
        write(run.path("large"), self.last["large"])

    def check(self, run):
        info = run.info("large")
        if (info["metadata"].get("colour") != "red" or "no-store" not in info["cache_control"] or
                info["content_type"] != "text/plain"):
            raise Wrong(f"what others said of the object is lost: {info}")


class Conflict(Scenario):
    """Somebody else writes the same object meanwhile; both versions stay."""
    first = {"f.txt": text("old", 3000)}
    last = {"f.txt": text("ours", 4000), "f.txt.conflict-*": text("theirs", 5000)}

    def act(self, run):
        fd = os.open(run.path("f.txt"), os.O_WRONLY | os.O_TRUNC)
        try:
            os.write(fd, self.last["f.txt"])
            run.put("f.txt", self.last["f.txt.conflict-*"])
        finally:
            os.close(fd)


class Refused(Scenario):
    """Somebody else was quicker to create it, and ours must not replace it: it goes to quarantine."""
    last = {"f": b"theirs"}
    quarantined = 1

    def create(self, run):
        fd = os.open(run.path("f"), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(fd, b"ours")
        run.put("f", self.last["f"])
        return fd

    def act(self, run):
        fd = self.create(run)
        try:
            os.close(fd)
        except OSError:
            wait_for(5, lambda: run.kept() or run.daemon.poll() is not None, "it is in quarantine")
            raise

    def check(self, run):
        with open(run.kept(".json")[0]) as note:
            reason = json.load(note)
        if (reason["key"], reason["errno"]) != ("f", "EEXIST"):
            raise Wrong(f"the note says {reason}")


class RefusedOpen(Refused):
    """The same while the program does not close it."""
    status = 1

    def act(self, run):
        self.fd = self.create(run)
        os.fsync(self.fd)

    def before_remount(self, run):
        try:
            os.close(self.fd)
        except OSError:
            pass


class Held(Scenario):
    """The service does not answer; the bytes wait for it."""
    options = "write_timeout=1s"
    status = 1
    settings = {"delay_ms": 0}
    last = {"f": text("held", 5000)}

    def act(self, run):
        run.faults([{"kind": "error", "status": 503, "path": f"/object/{run.bucket}/"}])
        write(run.path("f"), self.last["f"])

    def before(self, run):
        """What `first` cannot say."""

    def before_remount(self, run):
        run.no_faults()


class HeldAttributes(Held):
    """The same with attributes that it gets while it waits."""
    options = "write_timeout=1s,sync=writeback"

    def act(self, run):
        self.mode = self.note = None
        super().act(run)
        os.chmod(run.path("f"), 0o751)
        self.mode = 0o751
        os.setxattr(run.path("f"), "user.note", b"one")
        self.note = b"one"

    def check(self, run):
        mode = os.stat(run.path("f")).st_mode & 0o7777
        note = os.getxattr(run.path("f"), "user.note") if self.note else None
        if note != self.note or self.mode not in (None, mode):
            raise Wrong(f"mode {mode:o}, user.note {note}")


class ReplacedAttributes(Story):
    """What a file had does not come to the one that replaces it."""
    first = {"f": text("f", 3000), "g": text("g", 2000)}

    def moves(self, run):
        self.mode = os.stat(run.path("g")).st_mode
        self.does(lambda: os.chmod(run.path("f"), 0o751))
        self.does(lambda: os.setxattr(run.path("f"), "user.note", b"one"))
        self.does(lambda: os.rename(run.path("g"), run.path("f")), g=None, f=self.first["g"])

    def check(self, run):
        with open(run.path("f"), "rb") as f:
            if f.read() != self.first["g"]:
                return
        mode, notes = os.stat(run.path("f")).st_mode, os.listxattr(run.path("f"))
        if mode != self.mode or "user.note" in notes:  # the other client has set a type
            raise Wrong(f"mode {mode:o}, {notes}")


class OtherBoot(NewFile):
    """The machine goes down, too: bytes that were not synced are not trusted, and not thrown away."""
    boot = "another boot"
    unsaved = 1

    def ends(self):
        return [self.last, self.first]

    def check(self, run):
        if not run.kept() and not list(objects.list_keys(run.bucket)):
            raise Wrong("neither the bucket nor quarantine has it")


class HeldOtherBoot(Held):
    """What is held is synced, and lasts."""
    boot = "another boot"
    unsaved = 1

    def ends(self):
        return [self.last] if self.label in (None, "content.held") else [self.last, self.first]


class Save(Story):
    """As an editor saves: a new file, fsync, renamed over the old one."""
    first = {"doc": text("old", 3000)}

    def moves(self, run):
        new = text("new", 4000)
        self.does(lambda: write(run.path("tmp"), new, sync=True), tmp=new)
        self.does(lambda: os.rename(run.path("tmp"), run.path("doc")), tmp=None, doc=new)


class NameChange(Scenario):
    """Before it begins a directory may get its marker, an upload like any other."""

    def ends(self):
        begun = not self.label or not self.label.startswith("content.")
        return [self.last] if begun else [self.last, self.first]


class Rename(NameChange):
    first = {"a/f": text("f", 3000), "b/g": b"g"}
    last = {"b/f": text("f", 3000), "b/g": b"g"}

    def act(self, run):
        os.rename(run.path("a/f"), run.path("b/f"))


class RenameOver(NameChange):
    first = {"f": text("f", 3000), "g": text("g", 2000)}
    last = {"g": text("f", 3000)}

    def act(self, run):
        os.rename(run.path("f"), run.path("g"))


class RenameDirectory(NameChange):
    first = {f"from/{n}": text(n, 2000) for n in ("a", "b/c", "b/d", "e")}
    last = {f"to/{n}": text(n, 2000) for n in ("a", "b/c", "b/d", "e")}

    def act(self, run):
        os.rename(run.path("from"), run.path("to"))


class RenameMany(Scenario):
    """More objects than one page of a listing."""
    cost = 9
    names = [f"{i:04}" for i in range(1020)]
    last = {f"to/{n}": f"from/{n}".encode() for n in names}

    def before(self, run):
        objects.seed(run.bucket, [f"from/{n}" for n in self.names])

    def act(self, run):
        os.rename(run.path("from"), run.path("to"))

    def look(self, name):
        return name.endswith("99")


class Unlink(NameChange):
    first = {"f": b"f", "g": b"g"}
    last = {"g": b"g"}

    def act(self, run):
        os.unlink(run.path("f"))


class UnlinkMany(Story):
    steady = False  # on a slow machine fewer are acknowledged first, and more go in one request
    first = {f"d/{i}": text(str(i), 50) for i in range(12)}

    def moves(self, run):
        for i in range(11):
            name = f"d/{i}"
            self.does(lambda name=name: os.unlink(run.path(name)), **{name: None})


class Modes(Scenario):
    """Mode and times change later, without the bytes. What was tried is kept."""
    first = {"f": text("f", 3000)}
    last = first

    def act(self, run):
        self.mode, self.mtime = 0o751, None
        os.chmod(run.path("f"), self.mode)
        self.mtime = 1.5e9
        os.utime(run.path("f"), (1e9, self.mtime))

    def check(self, run):
        st = os.stat(run.path("f"))
        if st.st_mode & 0o7777 != self.mode or self.mtime not in (None, st.st_mtime):
            raise Wrong(f"mode {st.st_mode:o}, mtime {st.st_mtime}")


class ModesWithout(Modes):
    """The same in a project without the function supafs_set_attrs."""
    settings = {"rpc": False}


class ModesLarge(Modes):
    """The same where the object is too large to be copied for it: they wait for the next upload."""
    settings = {"rpc": False}
    options = "attr_copy_max=1k"
    pending = 1


class Types(Scenario):
    """Content type and Cache-Control of what lies in the bucket are set."""
    first = {"f": text("f", 3000)}
    last = first
    steady = False  # what follows soon enough is one change

    def act(self, run):
        self.said = {}
        self.set_said(run, "f")

    def set_said(self, run, name):
        for what, value in (("content_type", "text/x-one"), ("cache_control", "max-age=60")):
            os.setxattr(run.path(name), f"user.supafs.{what}", value.encode())
            self.said[what] = value

    def check(self, run):
        for name in sorted(os.listdir(run.path(""))):
            info = run.info(name)
            for what, value in self.said.items():
                shown = os.getxattr(run.path(name), f"user.supafs.{what}").decode()
                if shown != value or value not in info[what]:
                    raise Wrong(f"{what} of {name} is {shown!r}, and the service has {info[what]!r}")


class TypesLarge(Types):
    """The same where the object is too large to be copied for it."""
    options = "attr_copy_max=1k"


class TypesNew(Types):
    """The same of a file whose bytes are not sent yet."""
    options = "sync=writeback"
    first = {}
    last = {"new": text("new", 5000)}

    def act(self, run):
        self.said = {}
        write(run.path("new"), self.last["new"])
        self.set_said(run, "new")

    def ends(self):
        return [self.last, {}]


class Afternoon(Story):
    """A file is made, changed, moved, changed again under the new name, and removed."""
    first = {"keep": b"keep"}

    def moves(self, run):
        one, two, three = text("one", 3000), text("two", 4000), text("three", 5000)
        self.does(lambda: write(run.path("a"), one), a=one)
        self.does(lambda: write(run.path("a"), two), a=two)
        self.does(lambda: os.chmod(run.path("a"), 0o600))
        self.does(lambda: os.rename(run.path("a"), run.path("b")), a=None, b=two)
        self.does(lambda: write(run.path("b"), three, os.O_TRUNC, sync=True), b=three)
        self.does(lambda: os.rename(run.path("b"), run.path("keep")), b=None, keep=three)
        self.does(lambda: write(run.path("a"), one), a=one)
        self.does(lambda: os.unlink(run.path("a")), a=None)


class OpenRenamed(Scenario):
    """A file is renamed while it is written; its bytes come under the new name."""
    last = {"new": text("open", 6000)}
    unsaved = 1

    def ends(self):
        return [self.last, {}]

    def act(self, run):
        fd = os.open(run.path("old"), os.O_WRONLY | os.O_CREAT)
        try:
            os.write(fd, self.last["new"][:3000])
            os.rename(run.path("old"), run.path("new"))
            os.write(fd, self.last["new"][3000:])
        finally:
            os.close(fd)


class Copy(Scenario):
    """A file is copied within the mount."""
    first = {"f": text("f", 200000)}
    last = {"f": text("f", 200000), "g": text("f", 200000)}

    def act(self, run):
        from_fd = os.open(run.path("f"), os.O_RDONLY)
        to_fd = os.open(run.path("g"), os.O_WRONLY | os.O_CREAT)
        try:
            while os.copy_file_range(from_fd, to_fd, MIB):
                pass
        finally:
            os.close(from_fd)
            os.close(to_fd)


SCENARIOS = [s for s in list(globals().values())
             if isinstance(s, type) and issubclass(s, Scenario) and s not in (Scenario, Story, NameChange)]
