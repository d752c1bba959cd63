# SPDX-License-Identifier: GPL-3.0-or-later
"""What power-loss.py lets happen in a mount, and what each call that returned has promised.

An Actor has a directory of its own. It knows what its names stand for (`now`), what else they may
stand for because a call has not returned (`flight`) or failed (`unsure`), and which files it has
open. Values are FOLDER, or (bytes, mode); a mode of None is not known.
"""
import errno
import os
import posixpath
import time

FOLDER = "folder"
GONE = (errno.ENOTCONN, errno.ECONNABORTED)
NAMES = [f"f{i}" for i in range(8)]
FOLDERS = [f"d{i}" for i in range(3)]


class Wrong(Exception):
    """What the run shows is not what was promised."""


class Died(Exception):
    """The daemon has."""


def holds(found, alternatives):
    """Whether what was found of some names is one of the alternatives (name -> value or None)."""
    return any(all(same(found.get(name), value) for name, value in one.items())
               for one in alternatives)


def same(found, value):
    if found is None or value is None or FOLDER in (found, value):
        return found == value
    return found[0] == value[0] and (None in (found[1], value[1]) or found[1] == value[1])


class Handle:
    """An open file: what a close() of it would promise. That of a file that was created or emptied
    and never written promises nothing, so there is none."""

    def __init__(self, fd, data, idle):
        self.fd, self.data, self.idle = fd, data, idle


class Actor:
    """One thread's work: so many steps, of dice of its own."""

    def __init__(self, rng, top, prefix, steps, tolerant, calls):
        self.rng, self.top, self.prefix, self.steps = rng, top, prefix, steps
        self.calls = calls  # a list with a number that other processes see: calls that were begun
        self.tolerant = tolerant  # the service fails at times, and so may calls
        self.now = {}
        self.also = {}  # values that are as good, until the next promise
        self.flight = []
        self.unsure = []
        self.avoid = set()
        self.handles = {}
        self.orphans = []
        self.log = []
        self.wrong = None
        self.opened = set()

    # ---- what is promised ----

    def path(self, name):
        return os.path.join(self.top, self.prefix, name)

    def does(self, what, call, changes, *between):
        """Makes a call that turns the present values into `changes` (name -> value or None), or
        leaves them. `between`: what may be seen, too, when it does not return."""
        before = {name: self.now.get(name) for name in changes}
        others = [{**before, name: self.also[name]} for name in changes if name in self.also]
        self.flight = [before, *others, *between, changes]
        self.calls[0] += 1
        self.log.append(f"{time.monotonic():.3f} {what}")
        try:
            result = call()
        except OSError as e:
            self.log[-1] += f" -> {errno.errorcode.get(e.errno, e.errno)}"
            self.failed(e)
            return None
        self.log[-1] += f" ok {time.monotonic():.3f}"
        for name, value in changes.items():
            self.also.pop(name, None)
            if value is None:
                self.now.pop(name, None)
            else:
                self.now[name] = value
        self.flight = []
        return result

    def failed(self, failure):
        if failure.errno in GONE:
            raise Died
        try:
            os.statvfs(self.top)
        except OSError:
            raise Died from None
        if not self.tolerant:
            raise Wrong(f"{self.log[-1]}: {failure}")
        self.unsure.append(self.flight)
        for name in {name for one in self.flight for name in one}:
            self.now.pop(name, None)
            self.also.pop(name, None)
            self.avoid.add(name)
            self.let_go(name)
        self.flight = []

    def let_go(self, name):
        handle = self.handles.pop(name, None)
        if handle and handle.fd is not None:
            try:
                os.close(handle.fd)
            except OSError as e:
                if e.errno in GONE:
                    raise Died from None

    # ---- choosing ----

    def below(self, folder):
        return [name for name in self.now if name.startswith(folder + "/")]

    def usable(self, name):
        parent = posixpath.dirname(name)
        return not (name in self.avoid or parent in self.avoid or
                    (parent and self.now.get(parent) != FOLDER))

    def every_name(self):
        names = NAMES + [f"{d}/{n}" for d in FOLDERS for n in NAMES[:4]]
        return [name for name in names if self.usable(name) and name not in self.handles]

    def file(self):
        """One that is there and not open, or None."""
        return self.one([n for n in self.every_name() if isinstance(self.now.get(n), tuple)])

    def free(self):
        return self.one([n for n in self.every_name() if n not in self.now])

    def folder(self, there=True):
        """A folder without open files and doubtful names below it."""
        busy = {posixpath.dirname(n) for n in list(self.handles) + list(self.avoid)}
        return self.one([d for d in FOLDERS if d not in self.avoid and d not in busy and
                         (self.now.get(d) == FOLDER) == there])

    def one(self, names):
        return self.rng.choice(names) if names else None

    def bytes(self):
        """Never the same twice."""
        size = self.rng.choice((1, 300, 300, 5000, 5000, 20000, 70000, 200000))
        return self.rng.randbytes(min(size, 64)) * (size // 64) + self.rng.randbytes(size % 64)

    # ---- steps ----

    def write(self, fd, data):
        view = memoryview(data)
        while view:
            n = os.write(fd, view[:self.rng.choice((1000, 40000, 200000))])
            view = view[n:]

    def step_save(self):
        """A file is written from its beginning, in one go; half-way there may be an fsync."""
        name = self.file() if self.rng.random() < 0.4 else self.free()
        if not name:
            return
        mode = self.now[name][1] if name in self.now else 0o644
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        flags |= os.O_EXCL if name not in self.now and self.rng.random() < 0.3 else 0
        first, more = self.bytes(), self.bytes()
        path, fds = self.path(name), []

        def begin():
            fds.append(os.open(path, flags, 0o644))
            self.write(fds[0], first)
            os.fsync(fds[0])

        def end():
            if not fds:
                fds.append(os.open(path, flags, 0o644))
                self.write(fds[0], first)
            self.write(fds[0], more)
            os.close(fds.pop())
        if self.rng.random() < 0.3:
            self.opened.add(name)
            self.does(f"write+fsync {name} {len(first)}", begin, {name: (first, mode)})
            if name not in self.now:
                if fds:
                    self.close_quietly(fds.pop())
                return
        self.opened.add(name)
        self.does(f"write+close {name} {len(first) + len(more)}", end,
                  {name: (first + more, mode)})
        if fds:
            self.close_quietly(fds.pop())

    def close_quietly(self, fd):
        try:
            os.close(fd)
        except OSError as e:
            if e.errno in GONE:
                raise Died from None

    def step_edit(self):
        """Some bytes change, in the middle or behind the end."""
        name = self.file()
        if not name:
            return
        data, mode = self.now[name]
        new = bytearray(data)
        cuts = [(self.rng.randrange(len(data) + 1), self.rng.randbytes(self.rng.choice((1, 5000))))
                for _ in range(self.rng.choice((1, 3)))]
        for at, some in cuts:
            new[at:at + len(some)] = some

        def edit():
            fd = os.open(self.path(name), os.O_RDWR)
            try:
                for at, some in cuts:
                    os.pwrite(fd, some, at)
            except OSError:
                self.close_quietly(fd)
                raise
            os.close(fd)
        self.opened.add(name)
        self.does(f"edit {name} {len(new)}", edit, {name: (bytes(new), mode)})

    def step_append(self):
        name = self.file()
        if not name:
            return
        data, mode = self.now[name]
        line = self.rng.randbytes(self.rng.choice((10, 3000)))
        flags = os.O_WRONLY | os.O_APPEND | self.rng.choice((0, 0, os.O_SYNC, os.O_DSYNC))

        def append():
            fd = os.open(self.path(name), flags)
            try:
                os.write(fd, line)
            except OSError:
                self.close_quietly(fd)
                raise
            os.close(fd)
        self.opened.add(name)
        self.does(f"append {name} {len(line)}", append, {name: (data + line, mode)})

    def step_truncate(self):
        name = self.file()
        if not name:
            return
        data, mode = self.now[name]
        size = self.rng.randrange(len(data) + 2000)
        new = data[:size] + bytes(max(0, size - len(data)))
        self.opened.add(name)
        self.does(f"truncate {name} {size}", lambda: os.truncate(self.path(name), size),
                  {name: (new, mode)})

    def step_rename(self):
        name, to = self.file(), self.file() if self.rng.random() < 0.5 else self.free()
        if not name or not to or name == to:
            return
        self.does(f"rename {name} {to}", lambda: os.rename(self.path(name), self.path(to)),
                  {name: None, to: self.now[name]})

    def step_replace(self):
        """As an editor saves: a new file, perhaps fsync, renamed over the old one."""
        name, tmp = self.file(), self.free()
        if not name or not tmp:
            return
        data = self.bytes()
        sync = self.rng.random() < 0.5

        def write():
            fd = os.open(self.path(tmp), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                self.write(fd, data)
                if sync:
                    os.fsync(fd)
            except OSError:
                self.close_quietly(fd)
                raise
            os.close(fd)
        self.opened.add(tmp)
        self.does(f"new {tmp} {len(data)}", write, {tmp: (data, 0o600)})
        if tmp in self.now:
            self.does(f"rename {tmp} {name}", lambda: os.rename(self.path(tmp), self.path(name)),
                      {tmp: None, name: (data, 0o600)})

    def step_unlink(self):
        for _ in range(self.rng.choice((1, 1, 7))):
            name = self.file()
            if name:
                self.does(f"unlink {name}", lambda name=name: os.unlink(self.path(name)),
                          {name: None})

    def step_chmod(self):
        name, mode = self.file(), self.rng.choice((0o600, 0o640, 0o755, 0o444))
        if name:
            self.does(f"chmod {name} {mode:o}", lambda: os.chmod(self.path(name), mode),
                      {name: (self.now[name][0], mode)})

    def step_mkdir(self):
        name = self.folder(there=False)
        if name:
            self.does(f"mkdir {name}", lambda: os.mkdir(self.path(name)), {name: FOLDER})

    def step_rmdir(self):
        name = self.folder()
        if name and not self.below(name):
            self.does(f"rmdir {name}", lambda: os.rmdir(self.path(name)), {name: None})

    def step_rename_folder(self):
        """All of it, or, as long as the call has not returned, some of it under each name."""
        name, to = self.folder(), self.folder(there=False)
        if not name or not to:
            return
        inside = self.below(name)
        changes = {name: None, to: FOLDER}
        for old in inside:
            changes[old] = None
            changes[to + old[len(name):]] = self.now[old]
        self.does(f"rename {name}/ {to}/", lambda: os.rename(self.path(name), self.path(to)),
                  changes)

    def step_open(self):
        """A file that stays open over other steps."""
        if len(self.handles) > 2:
            return
        name = self.file() if self.rng.random() < 0.5 else self.free()
        if not name:
            return
        flags = os.O_RDWR | os.O_CREAT | (os.O_TRUNC if self.rng.random() < 0.5 else 0)
        self.opened.add(name)
        fd = self.does(f"open {name}", lambda: os.open(self.path(name), flags, 0o644), {})
        if fd is not None:
            idle = bool(flags & os.O_TRUNC) or name not in self.now
            self.handles[name] = Handle(fd, b"" if idle else self.now[name][0], idle)

    def step_use(self):
        """Something happens to an open file."""
        name = self.one(sorted(self.handles))
        if not name:
            return
        handle = self.handles[name]
        choice = self.rng.choice(("write", "write", "fsync", "close", "close", "rename", "unlink"))
        getattr(self, "use_" + choice)(name, handle)

    def use_write(self, name, handle):
        data, at = self.bytes(), self.rng.randrange(len(handle.data) + 1)
        new = bytearray(handle.data)
        new[at:at + len(data)] = data
        if self.does(f"write {name} at {at} {len(data)}",
                     lambda: os.pwrite(handle.fd, data, at), {}) is None:
            self.doubt(name, handle)
            return
        handle.data, handle.idle = bytes(new), False

    def doubt(self, name, handle):
        """Nobody knows what this one would bring to the bucket."""
        if self.handles.get(name) is handle:
            self.unsure.append([{name: self.now.pop(name, None)}, {name: (handle.data, None)},
                                {name: self.also.pop(name, None)}])
            self.avoid.add(name)
            self.let_go(name)

    def promised(self, name, handle):
        return {name: (handle.data, self.now[name][1] if name in self.now else 0o644)}

    def use_fsync(self, name, handle):
        self.does(f"fsync {name} {len(handle.data)}", lambda: os.fsync(handle.fd),
                  self.promised(name, handle))

    def use_close(self, name, handle):
        if handle.idle:
            self.use_write(name, handle)
        if self.handles.get(name) is not handle:
            return
        fd, handle.fd = handle.fd, None
        self.does(f"close {name} {len(handle.data)}", lambda: os.close(fd),
                  self.promised(name, handle))
        self.handles.pop(name, None)

    def use_rename(self, name, handle):
        to = self.free()
        if not to:
            return
        written = self.promised(name, handle)[name]  # may be sent first, by this or by a close
        self.does(f"rename {name} {to} (open)",
                  lambda: os.rename(self.path(name), self.path(to)),
                  {name: None, to: self.now.get(name)},
                  {name: written, to: None}, {name: None, to: written})
        if self.handles.get(name) is handle:
            self.handles[to] = self.handles.pop(name)
            self.also[to] = written
            self.opened.add(to)

    def use_unlink(self, name, handle):
        self.does(f"unlink {name} (open)", lambda: os.unlink(self.path(name)), {name: None},
                  *([self.promised(name, handle)] * self.tolerant))
        if self.handles.get(name) is handle:
            self.orphans.append(self.handles.pop(name))

    def step_read(self):
        name = self.file()
        if not name:
            return

        def read():
            with open(self.path(name), "rb") as f:
                return f.read()
        data = self.does(f"read {name}", read, {})
        if data is not None and data != self.now[name][0]:
            raise Wrong(f"{self.prefix}/{name} reads as {len(data)} bytes that it does not have")

    STEPS = (("save", 8), ("edit", 3), ("append", 3), ("truncate", 2), ("rename", 4),
             ("replace", 3), ("unlink", 3), ("chmod", 2), ("mkdir", 2), ("rmdir", 1),
             ("rename_folder", 1), ("open", 3), ("use", 6), ("read", 2))

    def run(self):
        names, weights = zip(*self.STEPS)
        try:
            for _ in range(self.steps):
                getattr(self, "step_" + self.rng.choices(names, weights)[0])()
        except Died:
            pass
        except Wrong as e:
            self.wrong = str(e)

    # ---- the end ----

    def result(self):
        """For the process that compares: no thread and no file is in it."""
        return {"prefix": self.prefix, "now": self.now, "also": self.also, "flight": self.flight,
                "unsure": self.unsure, "open": sorted(self.opened), "log": self.log,
                "wrong": self.wrong}


def difference(result, found, modes=True):
    """None, or how what was found of an actor's names (name -> value) differs from what was
    promised. Without `modes` those of calls that did not return do not matter."""
    doubtful = set()
    for alternatives in result["unsure"] + ([result["flight"]] if result["flight"] else []):
        names = {name for one in alternatives for name in one}
        doubtful |= names
        if not modes:
            alternatives = [{name: value if value in (None, FOLDER) else (value[0], None)
                             for name, value in one.items()} for one in alternatives]
        if not holds(found, alternatives) and not holds_partly(found, alternatives):
            return "has of what is in doubt " + told({n: found.get(n) for n in sorted(names)}) + \
                ", none of " + "; ".join(told(one) for one in (alternatives[0], alternatives[-1]))
    for name, value in result["now"].items():
        if name not in doubtful and not same(found.get(name), value) and \
                not same(found.get(name), result["also"].get(name, value)):
            return f"has {told({name: found.get(name)})}, not {told({name: value})}"
    extra = {name for name in found if name not in doubtful and name not in result["now"] and
             not same(found[name], result["also"].get(name))}
    return f"has {told({n: found[n] for n in sorted(extra)})}, which nobody made" if extra else None


def holds_partly(found, alternatives):
    """A folder's rename that failed leaves each file under one of its names."""
    before, after = alternatives[0], alternatives[-1]
    folders = [name for name, value in after.items() if value == FOLDER and before[name] is None]
    gone = [name for name, value in before.items() if value == FOLDER and after[name] is None]
    if len(folders) != 1 or len(gone) != 1:
        return False
    to, old = folders[0], gone[0]
    for name, value in before.items():
        if isinstance(value, tuple):
            places = {name: found.get(name), to + name[len(old):]: found.get(to + name[len(old):])}
            if not sum(same(one, value) for one in places.values()) == 1 or \
                    sum(one is not None for one in places.values()) != 1:
                return False
    return True


def told(values):
    words = []
    for name, value in values.items():
        if isinstance(value, tuple):
            mode = "" if value[1] is None else f" {value[1]:o}"
            value = f"{len(value[0])} bytes {value[0][:6].hex()}{mode}"
        words.append(f"{name}: {value}")
    return "{" + ", ".join(words) + "}"
