#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of request that changes something, with its reply lost, answered by 500 after the
work was done, and carried out a second time a little later.

  lost-replies.py act MOUNTPOINT FILE FAULT...     plays all of them with these faults; FILE gets
                                                   what came of it and what has to be there
  lost-replies.py look MOUNTPOINT FILE             compares a mount and the bucket with it
  lost-replies.py table FILE...                    how many requests (but listings) each took, without a fault and
                                                   with each, and what was wrong

The environment has SUPABASE_URL, SUPABASE_SERVICE_ROLE_KEY and SUPAFS_DEVSERVER_ADMIN. The mount
shows the whole project, with standard_limit=1M. SF_CASES names the only ones to play.
"""
import errno
import json
import os
import shutil
import sys
import time
import urllib.request

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import objects  # noqa: E402

MIB = 1 << 20
BUCKET = "lost"
LATE_MS = 30
LOOKS = ("bucket-list", "bucket-get", "list")  # that the mount sends from time to time
FAULTS = {"none": None,
          "lost": {"kind": "reset_after"},
          "500": {"kind": "error_after", "status": 500},
          "twice": {"kind": "duplicate"},
          "late": {"kind": "duplicate", "ms": LATE_MS}}


def admin(method, path, value=None):
    body = None if value is None else json.dumps(value).encode()
    url = os.environ["SUPAFS_DEVSERVER_ADMIN"].rstrip("/") + path
    with urllib.request.urlopen(urllib.request.Request(url, body, method=method)) as reply:
        return json.load(reply)


def text(name, size):
    line = f"{name} ".encode()
    return (line * (size // len(line) + 1))[:size]


def write(path, data, flags=os.O_CREAT | os.O_TRUNC):
    fd = os.open(path, os.O_WRONLY | flags, 0o644)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view):]
    finally:
        os.close(fd)


def read(path):
    with open(path, "rb") as file:
        return file.read()


class Case:
    """One change. `first` is there before; last() what has to be there after it, below the case's
    own directory: name -> bytes, a mode, a link's target as "->TARGET", or None for a directory."""
    method = path = None  # of the request that the fault hits
    skip = 0  # so many of these requests pass
    first = {}
    last = {}
    settings = {}
    behind = None  # the file that is sent by its RELEASE, for which close() does not wait

    def __init__(self, mount, where):
        self.mount, self.dir = mount, f"{BUCKET}/{where}"

    def at(self, name=""):
        return os.path.join(self.mount, self.dir, name) if name else \
            os.path.join(self.mount, self.dir)

    def prepare(self):
        os.makedirs(self.at())
        for name, data in self.first.items():
            if data is None:
                os.makedirs(self.at(name), exist_ok=True)
            else:
                write(self.at(name), data)

    def act(self):
        raise NotImplementedError


class Create(Case):
    method, path = "POST", "/object/lost/*"
    last = {"f": text("new", 5000)}

    def act(self):
        write(self.at("f"), self.last["f"])


class CreateExclusive(Create):
    def act(self):
        write(self.at("f"), self.last["f"], os.O_CREAT | os.O_EXCL)


class Empty(Create):
    last, behind = {"f": b""}, "f"


class Overwrite(Case):
    method, path = "POST", "/object/lost/*"
    first, last = {"f": text("old", 9000)}, {"f": text("new", 5000)}

    def act(self):
        write(self.at("f"), self.last["f"], os.O_TRUNC)


class Append(Overwrite):
    last = {"f": text("old", 9000) + b"more\n"}

    def act(self):
        write(self.at("f"), b"more\n", os.O_APPEND)


class LargeCreate(Case):
    """Two pieces; bytes that were not sent before."""
    method, path = "POST", "/upload/resumable*"

    def __init__(self, mount, where):
        super().__init__(mount, where)
        self.last = {"f": text("large " + where, 6 * MIB + 5)}

    def act(self):
        write(self.at("f"), self.last["f"])


class LargePiece(LargeCreate):
    method, path = "PATCH", "/upload/resumable/*"


class LargeLast(LargePiece):
    skip = 1


class LargeOver(LargeLast):
    first = {"f": text("old", 5000)}


class LargeMark(LargeOver):
    """The copy onto itself that gives it the attributes that the pieces could not bring."""
    method, path, skip = "POST", "/object/copy", 0
    settings = {"rpc": False}


class LargeMarkRpc(LargeOver):
    method, path, skip = "POST", "/rest/v1/rpc/supafs_set_attrs", 0


class Copy(Case):
    """cp inside the mount: the service copies."""
    method, path = "POST", "/object/copy"
    first = {"f": text("whole", 200000)}
    last = {"f": text("whole", 200000), "g": text("whole", 200000)}

    def act(self):
        shutil.copyfile(self.at("f"), self.at("g"))


class CopyOver(Copy):
    first = {"f": text("whole", 200000), "g": b"old"}


class Rename(Case):
    method, path = "POST", "/object/move"
    first, last = {"f": text("moved", 5000)}, {"g": text("moved", 5000)}

    def act(self):
        os.rename(self.at("f"), self.at("g"))


class RenameOver(Rename):
    """A rename that replaces: the copy ..."""
    path = "/object/copy"
    first = {"f": text("moved", 5000), "g": b"old"}


class RenameOverRemoves(RenameOver):
    """... and the removal of the old name."""
    method, path = "DELETE", "/object/lost"


class RenameDirectory(Rename):
    skip = 1
    first = {"d": None, **{f"d/{i}": text(i, 100) for i in "abc"}}
    last = {"e": None, **{f"e/{i}": text(i, 100) for i in "abc"}}

    def act(self):
        os.rename(self.at("d"), self.at("e"))


class Unlink(Case):
    method, path = "DELETE", "/object/lost*"
    first, last = {"f": b"gone", "g": b"stays"}, {"g": b"stays"}

    def act(self):
        os.unlink(self.at("f"))


class RemoveTree(Case):
    """rm -r; the first of the requests is hit."""
    method, path = "DELETE", "/object/lost*"
    first = {"g": b"stays", "d": None, **{f"d/{i}": text(i, 100) for i in range(12)}}
    last = {"g": b"stays"}

    def act(self):
        shutil.rmtree(self.at("d"))


class RemoveTreeLater(RemoveTree):
    skip = 4


class Mkdir(Case):
    method, path = "POST", "/object/lost/*"
    last = {"d": None}

    def act(self):
        os.mkdir(self.at("d"))


class Rmdir(Case):
    method, path = "DELETE", "/object/lost*"
    first, last = {"d": None, "g": b"stays"}, {"g": b"stays"}

    def act(self):
        os.rmdir(self.at("d"))


class Symlink(Case):
    method, path = "POST", "/object/lost/*"
    last = {"l": "->../somewhere"}

    def act(self):
        os.symlink("../somewhere", self.at("l"))


class Bucket(Case):
    def __init__(self, mount, where):
        self.mount, self.dir = mount, "t-" + where

    def prepare(self):
        pass


class MakeBucket(Bucket):
    method, path = "POST", "/bucket"

    def act(self):
        os.mkdir(self.at())


class RemoveBucket(Bucket):
    method, path = "DELETE", "/bucket/*"
    last = None

    def prepare(self):
        os.mkdir(self.at())

    def act(self):
        os.rmdir(self.at())


class Chmod(Case):
    """Attributes that the function in the database writes."""
    method, path = "POST", "/rest/v1/rpc/supafs_set_attrs"
    first, last = {"f": text("kept", 5000)}, {"f": text("kept", 5000), "f mode": 0o751}

    def act(self):
        fd = os.open(self.at("f"), os.O_RDONLY)
        try:
            os.fchmod(fd, 0o751)
            os.fsync(fd)
        finally:
            os.close(fd)


class ChmodCopy(Chmod):
    """Without the function: a copy onto itself."""
    path = "/object/copy"
    settings = {"rpc": False}


CASES = [("create", Create), ("create O_EXCL", CreateExclusive), ("create empty", Empty),
         ("overwrite", Overwrite), ("append", Append), ("resumable: create", LargeCreate),
         ("resumable: piece", LargePiece), ("resumable: last piece", LargeLast),
         ("resumable: last, over", LargeOver), ("resumable: mark by rpc", LargeMarkRpc),
         ("cp: copy", Copy), ("cp over: copy", CopyOver), ("rename: move", Rename),
         ("rename over: copy", RenameOver), ("rename over: delete", RenameOverRemoves),
         ("rename directory: move", RenameDirectory), ("unlink: delete", Unlink),
         ("rm -r: first delete", RemoveTree), ("rm -r: later delete", RemoveTreeLater),
         ("mkdir", Mkdir), ("rmdir", Rmdir), ("symlink", Symlink), ("mkdir of a bucket", MakeBucket),
         ("rmdir of a bucket", RemoveBucket), ("chmod: rpc", Chmod),
         # A mount that finds no function does not ask again for ten minutes.
         ("chmod: copy", ChmodCopy), ("resumable: mark by copy", LargeMark)]


# ---- looking -------------------------------------------------------------------------------------


def names_of(mount, top):
    """Every name below, as `last` has them."""
    found = {}
    for where, directories, files in os.walk(os.path.join(mount, top)):
        for name in directories + files:
            path = os.path.join(where, name)
            short = os.path.relpath(path, os.path.join(mount, top))
            if os.path.islink(path):
                found[short] = "->" + os.readlink(path)
            else:
                found[short] = None if name in directories else read(path)
    return found


def objects_of(top):
    """The same from the bucket; a placeholder shows its directory, a link has a name of its own."""
    bucket, _, prefix = top.partition("/")
    api, found = objects.Api(), {}
    prefix = prefix and prefix + "/"
    for key in objects.list_keys(bucket, prefix):
        data = api.call("GET", "/object/authenticated/" + objects.quote(f"{bucket}/{key}"))
        found[key[len(prefix):]] = data
    return found


def short(state):
    return {k: v if not isinstance(v, bytes) else f"{len(v)} {v[:12]!r}" for k, v in state.items()}


def compare(what, wanted, found):
    if wanted != found:
        raise AssertionError(f"{what}: wanted {short(wanted)}, found {short(found)}")


def compare_all(mount, top, last):
    """What the mount shows and what is in the bucket against what has to be there."""
    if last is None:
        if os.path.exists(os.path.join(mount, top)):
            raise AssertionError(f"{top} is there")
        return
    named = {k: v for k, v in last.items() if not k.endswith(" mode")}
    compare("in the mount", named, names_of(mount, top))
    for name in last.keys() - named.keys():
        mode = os.stat(os.path.join(mount, top, name.removesuffix(" mode"))).st_mode & 0o7777
        if mode != last[name]:
            raise AssertionError(f"{name}: wanted {last[name]:o}, found {mode:o}")
    # A directory may have a placeholder or only what is in it.
    found = {k: v for k, v in objects_of(top).items() if not k.endswith(".emptyFolderPlaceholder")}
    wanted = {k: v[2:].encode() if isinstance(v, str) else v
              for k, v in named.items() if v is not None}
    compare("in the bucket", wanted, found)


# ---- playing -------------------------------------------------------------------------------------


def status(mount, name):
    for line in read(os.path.join(mount, ".supafs/status")).decode().splitlines():
        if line.startswith(name + ": "):
            return line.split(": ", 1)[1]
    return None


def settle(mount):
    """Nothing is under way, and the server has done what it was told to do twice."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        state = [status(mount, n) for n in ("pending", "changes_running", "changes_queued")]
        if state == ["0", "0", "0"]:
            return
        time.sleep(0.02)
    raise AssertionError(f"pending, running, queued: {state}, "
                         f"{status(mount, 'pending_kinds')}")


def sent(since):
    """What the server was asked for since, but for what the mount looks at now and then."""
    return [e for e in admin("GET", f"/log?since={since}")["entries"]
            if not e["duplicate"] and e["kind"] not in LOOKS]


def play(mount, number, kind, fault):
    """The requests it took, and what has to be there."""
    case = kind(mount, f"{number:02}-{fault}")
    admin("PUT", "/settings", {"rpc": True, **case.settings})
    case.prepare()
    settle(mount)
    rule = FAULTS[fault]
    aside = status(mount, "quarantine")
    before = admin("GET", "/log?counts=1")["last"]
    if rule:
        admin("PUT", "/faults", {**rule, "method": case.method, "path": case.path,
                                 "skip": case.skip, "times": 1})
    try:
        case.act()
        for _ in range(60):
            settle(mount)
            fired = admin("GET", "/faults")[0]["fired"] if rule else not case.behind or \
                any(e["path"].endswith(f"/{case.dir}/{case.behind}") for e in sent(before))
            if fired:
                break
            time.sleep(0.05)
        settle(mount)
    finally:
        admin("DELETE", "/faults")
    time.sleep(LATE_MS * 1.5 / 1000 if fault == "late" else 0)
    entries = sent(before)
    if not fired:
        raise AssertionError(f"no {case.method} {case.path} was hit: "
                             f"{[e['method'] + ' ' + e['path'] for e in entries]}")
    compare_all(mount, case.dir, case.last)
    if status(mount, "quarantine") != aside:
        raise AssertionError("something is in quarantine")
    return len(entries), case.dir, case.last


def act(mount, path, faults):
    only = os.environ.get("SF_CASES")
    os.mkdir(os.path.join(mount, BUCKET))
    results, state = [], []
    for number, (label, kind) in enumerate(CASES):
        for fault in faults if not only or label in only else ():
            try:
                requests, where, last = play(mount, number, kind, fault)
                state.append((where, last))
                results.append((label, fault, str(requests), None))
            except (OSError, AssertionError) as problem:
                what = errno.errorcode.get(problem.errno, "?") if isinstance(problem, OSError) \
                    else "wrong"
                results.append((label, fault, what, f"{type(problem).__name__} {problem}"))
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"results": results,
                   "state": [(w, last and {k: encode(v) for k, v in last.items()})
                             for w, last in state]}, file)


def encode(value):
    return {"bytes": value.decode()} if isinstance(value, bytes) else value


def look(mount, path):
    with open(path, encoding="utf-8") as file:
        state = json.load(file)["state"]
    for where, last in state:
        compare_all(mount, where, last and
                    {k: v["bytes"].encode() if isinstance(v, dict) else v
                     for k, v in last.items()})
    print(f"{len(state)} states as they have to be")


def table(paths):
    cells, problems = {}, []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for label, fault, cell, problem in json.load(file)["results"]:
                cells[label, fault] = cell
                if problem:
                    problems.append(f"{label}, {fault}: {problem}")
    print("requests sent".ljust(28) + "".join(f.rjust(8) for f in FAULTS))
    for label, _ in CASES:
        print(label.ljust(28) + "".join(cells.get((label, f), "-").rjust(8) for f in FAULTS))
    for line in problems:
        print(line)
    return 1 if problems or not cells else 0


def main(what, *arguments):
    if what == "act":
        act(arguments[0], arguments[1], arguments[2:])
    elif what == "look":
        look(*arguments)
    else:
        return table(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
