#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How editors and tools save files, each in a directory of its own: what is there afterwards, and
what it cost in requests.

  save-patterns.py run DIRECTORY BUCKET STATE    runs them in DIRECTORY, which shows BUCKET, prints
                                                 the table, and notes in STATE what stat(2) says
  save-patterns.py again DIRECTORY STATE         the same files must look the same

The environment has SUPABASE_URL, SUPABASE_SERVICE_ROLE_KEY and SUPAFS_DEVSERVER_ADMIN.
"""
import collections
import json
import os
import shutil
import stat
import subprocess
import sys
import urllib.request

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import objects  # noqa: E402

OLD, NEW = b"old line\n", b"new line\nand another\n"
WHEN = 1600000000  # a time that a tool sets outright
SLACK = 4  # where a second passes in between, more is looked at, and attributes are written apart
faults = []


class Case:
    """One pattern. `have`: the file is there before, with mode 0640. `most`: requests at most."""

    def __init__(self, name, do, have=True, content=NEW, mode=None, mtime=None, target="f.txt",
                 kind="text/plain", most=0):
        self.name, self.do, self.have, self.content = name, do, have, content
        self.mode = mode if mode is not None else 0o640 if have else 0o644
        self.mtime, self.target, self.kind, self.most = mtime, target, kind, most


def shell(command):
    def run(directory, source):
        subprocess.run(["bash", "-c", "set -e; umask 022; " + command], cwd=directory, check=True,
                       env=dict(os.environ, SOURCE=source), stdout=subprocess.DEVNULL)
    return run


def write(path, data, flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode=0o666, sync=False):
    fd = os.open(path, flags, mode)
    try:
        for i in range(0, len(data), 4096):
            os.write(fd, data[i:i + 4096])
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)


def vim(directory, _):
    """Swap file with fsync, then the file is cut and written in place."""
    swap, path = os.path.join(directory, ".f.txt.swp"), os.path.join(directory, "f.txt")
    swap_fd = os.open(swap, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    for name in (swap + "x",):
        os.close(os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        os.unlink(name)
    os.write(swap_fd, b"b0VIM" + bytes(4091))
    os.fsync(swap_fd)
    fd = os.open(path, os.O_WRONLY)
    os.ftruncate(fd, 0)
    os.write(fd, NEW)
    os.fsync(fd)
    os.fchmod(fd, 0o640)
    os.close(fd)
    os.close(swap_fd)
    os.unlink(swap)


def nano(directory, _):
    lock, path = os.path.join(directory, ".f.txt.swp"), os.path.join(directory, "f.txt")
    write(lock, bytes(1024), os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    write(path, NEW, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, sync=True)
    os.unlink(lock)


def emacs(directory, _):
    lock, path = os.path.join(directory, ".#f.txt"), os.path.join(directory, "f.txt")
    os.symlink("who@where.123", lock)
    mode = stat.S_IMODE(os.stat(path).st_mode)
    os.rename(path, path + "~")
    write(path, NEW, os.O_WRONLY | os.O_CREAT | os.O_EXCL, sync=True)
    os.chmod(path, mode)
    os.unlink(lock)


def atomic(directory, _):
    """Temporary file, fsync, rename, fsync of the directory."""
    path = os.path.join(directory, "f.txt")
    write(path + ".tmp42", NEW, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640, sync=True)
    os.rename(path + ".tmp42", path)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def copy2(directory, source):
    """Times and mode after the last close."""
    shutil.copy2(source, os.path.join(directory, "f.txt"))


def mapped(directory, _):
    """Bytes stored in a mapping after the descriptor was closed."""
    import mmap
    fd = os.open(os.path.join(directory, "f.txt"), os.O_RDWR)
    os.ftruncate(fd, len(NEW))
    area = mmap.mmap(fd, len(NEW))
    os.close(fd)
    area[:] = NEW
    area.flush()
    area.close()


CASES = [
    Case("echo > new", shell("printf 'new line\\nand another\\n' > f.txt"), have=False, most=1),
    Case("echo > old", shell("printf 'new line\\nand another\\n' > f.txt"), most=2),
    Case("echo >>", shell("echo more >> f.txt"), content=OLD + b"more\n", most=3),
    Case(": > f", shell(": > f.txt"), content=b"", most=2),
    Case("{ cat; echo; } >", shell("{ echo new line; echo and another; } > f.txt"), most=2),
    Case("touch new", shell("touch f.txt"), have=False, content=b"", most=1),
    Case("touch -d", shell(f"touch -d @{WHEN} f.txt"), content=OLD, mtime=WHEN, most=2),
    Case("truncate -s 3", shell("truncate -s 3 f.txt"), content=OLD[:3], most=3),
    Case("chmod", shell("chmod 604 f.txt"), content=OLD, mode=0o604, most=2),
    Case("cp new", shell("cp \"$SOURCE\" f.txt"), have=False, mode=0o640, most=1),
    Case("cp over", shell("cp \"$SOURCE\" f.txt"), most=2),
    Case("cp -p new", shell("cp -p \"$SOURCE\" f.txt"), have=False, mode=0o640, mtime=WHEN, most=1),
    Case("cp -a dir", shell("mkdir ../from; cp -p \"$SOURCE\" ../from/f.txt; cp -a ../from d; rm -r ../from"),
         have=False, mode=0o640, mtime=WHEN, target="d/f.txt", most=8),
    Case("cp inside", shell("cp f.txt g.txt"), content=OLD, target="g.txt", most=2),
    Case("mv from elsewhere", shell("cp -p \"$SOURCE\" \"$SOURCE.2\"; mv \"$SOURCE.2\" f.txt"),
         mode=0o640, mtime=WHEN, most=2),
    Case("mv over", shell("printf 'new line\\nand another\\n' > g.txt; mv g.txt f.txt"), mode=0o644,
         most=5),
    Case("vim", vim, most=8),
    Case("nano", nano, most=4),
    Case("emacs", emacs, most=8),
    Case("write, fsync, rename", atomic, most=5),
    Case("sed -i", shell("sed -i 's/old line/new line\\nand another/' f.txt"), most=6),
    Case("perl -i", shell("perl -i -pe 's/old line/new line\\nand another/' f.txt"), most=6),
    Case("sort -o", shell("sort -o f.txt f.txt"), content=OLD, most=3),
    Case("install -m", shell("install -m 751 \"$SOURCE\" f.txt"), mode=0o751, most=4),
    Case("rsync -a", shell("cp -p \"$SOURCE\" \"$SOURCE.d/f.txt\"; rsync -a \"$SOURCE.d/\" ."),
         mode=0o640, mtime=WHEN, most=7),
    Case("rsync --inplace", shell("cp -p \"$SOURCE\" \"$SOURCE.d/f.txt\";"
                                  "rsync -a --inplace \"$SOURCE.d/\" ."),
         mode=0o640, mtime=WHEN, most=4),
    Case("tar x", shell("cp -p \"$SOURCE\" \"$SOURCE.d/f.txt\";"
                        "tar -C \"$SOURCE.d\" -c f.txt | tar -x -p"),
         have=False, mode=0o640, mtime=WHEN, most=1),
    Case("dd conv=fsync", shell("dd if=\"$SOURCE\" of=f.txt bs=4k conv=fsync status=none"), most=2),
    Case("mktemp, >, mv", shell("t=$(mktemp ./XXXXXX); cat \"$SOURCE\" > $t; mv $t f.txt"), mode=0o600,
         most=7),
    Case("copy2 of Python", copy2, have=False, mode=0o640, mtime=WHEN, most=3),
    Case("mmap after close", mapped, most=5),
    Case("rename to a .json", shell("mv f.txt f.json"), content=OLD, target="f.json",
         kind="application/json", most=4),
    Case("ln -sf", shell("ln -s a l; ln -sf b l"), content=OLD, most=6),
    Case("git", shell("git init -q .; git add f.txt; git -c user.name=a -c user.email=a@b commit -qm x;"
                      "git fsck --strict"), content=OLD, most=130),
]


def admin(path):
    base = os.environ["SUPAFS_DEVSERVER_ADMIN"].rstrip("/")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(base + path) as reply:
        return json.load(reply)


def settle(path):
    """What was changed after the last close is in the bucket when fsync returns."""
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def look(path):
    st = os.stat(path)
    with open(path, "rb") as f:
        return {"content": f.read().decode(), "mode": stat.S_IMODE(st.st_mode), "size": st.st_size,
                "mtime": st.st_mtime_ns, "ino": st.st_ino, "uid": st.st_uid, "gid": st.st_gid}


def wrong(case, text):
    faults.append(f"{case.name}: {text}")


def check(case, path, seen, api, key):
    if seen["content"].encode() != case.content:
        wrong(case, f"content is {seen['content']!r}")
    if seen["mode"] != case.mode:
        wrong(case, f"mode is {seen['mode']:o}, not {case.mode:o}")
    if case.mtime is not None and seen["mtime"] != case.mtime * 10**9:
        wrong(case, f"mtime is {seen['mtime']}")
    info = json.loads(api.call("GET", "/object/info/authenticated/" + objects.quote(key)))
    if info["content_type"] != case.kind:
        wrong(case, f"content type is {info['content_type']}, not {case.kind}")
    data = api.call("GET", "/object/authenticated/" + objects.quote(key))
    if data != case.content:
        wrong(case, f"the bucket has {data!r}")


def one(case, directory, source, api, bucket, name):
    os.makedirs(directory)
    path = os.path.join(directory, "f.txt")
    if case.have:
        write(path, OLD)
        os.chmod(path, 0o640)
        settle(path)
    os.listdir(directory)
    last = admin("/log?since=999999999")["last"]
    case.do(directory, source)
    settle(os.path.join(directory, case.target))
    log = admin(f"/log?since={last}")["entries"]
    seen = look(os.path.join(directory, case.target))
    check(case, path, seen, api, f"{bucket}/{name}/{case.target}")
    # Now and then a look at the buckets goes along: it belongs to no pattern.
    log = [r for r in log if r["kind"] != "bucket-list"]
    kinds = collections.Counter(r["kind"] for r in log)
    if len(log) > case.most + SLACK:
        wrong(case, f"{len(log)} requests, about {case.most} expected")
    print(f"{case.name:22} {len(log):4}  " +
          ", ".join(f"{n} {k}" for k, n in sorted(kinds.items())), flush=True)
    return seen


def run(root, bucket, state):
    api = objects.Api()
    source = state + ".source"
    os.makedirs(source + ".d")
    notes = {}
    print(f"{'pattern':22} requests")
    for i, case in enumerate(CASES):
        write(source, NEW)
        os.chmod(source, 0o640)
        os.utime(source, (WHEN, WHEN))
        name = f"p{i:02}"
        try:
            notes[f"{name}/{case.target}"] = one(case, os.path.join(root, name), source, api, bucket, name)
        except (OSError, subprocess.CalledProcessError) as e:
            wrong(case, str(e))
    with open(state, "w", encoding="ascii") as f:
        json.dump(notes, f)


def again(root, state):
    with open(state, encoding="ascii") as f:
        notes = json.load(f)
    for path, was in notes.items():
        now = look(os.path.join(root, path))
        for field, value in was.items():
            if now[field] != value:
                faults.append(f"{CASES[int(path[1:3])].name} after a remount: {field} was {value!r}, "
                              f"is {now[field]!r}")
    print(f"{len(notes)} files compared")


if sys.argv[1] == "run":
    run(*sys.argv[2:])
else:
    again(*sys.argv[2:])
for text in faults:
    print(text, file=sys.stderr)
sys.exit(1 if faults else 0)
