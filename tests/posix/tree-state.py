#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a tree holds, and whether the bucket behind it holds the same.

  tree-state.py show DIRECTORY              one line per name: attributes, digest of the bytes
  tree-state.py bucket DIRECTORY BUCKET     compare with the bucket, through the API; says differences

The directory shows the bucket. Names are plain (no escapes). What differs between two mounts by
design is not shown: times that a directory gets from its names, and atime.
"""
import hashlib
import os
import stat
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import objects  # noqa: E402

MARKER = ".emptyFolderPlaceholder"


def names(top):
    """Every path below, relative, in order."""
    found = []

    def failed(error):
        raise error

    for where, dirs, files in os.walk(top, onerror=failed):
        rel = os.path.relpath(where, top)
        for name in dirs + files:
            path = name if rel == "." else rel + "/" + name
            if path != ".supafs":
                found.append(path)
    return sorted(found)


def digest(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while piece := f.read(1 << 20):
            h.update(piece)
    return h.hexdigest()


def body_of(path, st):
    """What the object of this name is to hold, as a digest; None: it has none to compare."""
    if stat.S_ISREG(st.st_mode):
        return digest(path)
    if stat.S_ISLNK(st.st_mode):
        return hashlib.sha256(os.readlink(path).encode()).hexdigest()
    return None


def show(top):
    for name in names(top):
        path = os.path.join(top, name)
        st = os.lstat(path)
        of_dir = stat.S_ISDIR(st.st_mode)
        attrs = [(a, os.getxattr(path, a, follow_symlinks=False).hex())
                 for a in sorted(os.listxattr(path, follow_symlinks=False))]
        print(name, oct(st.st_mode), st.st_uid, st.st_gid, "-" if of_dir else st.st_size,
              "-" if of_dir else st.st_mtime_ns, st.st_rdev, body_of(path, st), attrs)


def bucket(top, name):
    api = objects.Api()
    there = {key for key in objects.list_keys(name) if key.rsplit("/", 1)[-1] != MARKER}
    wrong = 0

    def differs(text):
        nonlocal wrong
        wrong += 1
        if wrong <= 20:
            print(text)

    here = {}
    for path in names(top):
        st = os.lstat(os.path.join(top, path))
        if not stat.S_ISDIR(st.st_mode):
            here[path] = st
    for path in sorted(there - here.keys()):
        differs(f"{path}: in the bucket, not in the mount")
    for path in sorted(here.keys() - there):
        differs(f"{path}: in the mount, not in the bucket")
    for path in sorted(here.keys() & there):
        want = body_of(os.path.join(top, path), here[path])
        if want is None:
            continue
        data = api.call("GET", "/object/authenticated/" + objects.quote(name + "/" + path))
        if hashlib.sha256(data).hexdigest() != want:
            differs(f"{path}: {here[path].st_size} bytes here, {len(data)} other ones in the bucket")
    print(f"{len(here)} files, {wrong} differences")
    return wrong


if __name__ == "__main__":
    if sys.argv[1] == "show":
        show(sys.argv[2])
    elif bucket(sys.argv[2], sys.argv[3]):
        sys.exit(1)
