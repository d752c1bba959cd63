#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mount and another client of one bucket, in turns: after each step the mount must show exactly
what is in the bucket, and a change through either must do what POSIX or the API says.

  two-clients.py MOUNTED-BUCKET-DIRECTORY BUCKET STEPS SEED

The mount is made with attr_ttl=0: each open and stat sees the last change of anybody. The environment
has SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY.
"""
import errno
import os
import random
import stat
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import objects  # noqa: E402

MARKER = ".emptyFolderPlaceholder"
NAMES = ["a", "b", "c", "d-e", "f f", "\u00fc"]
SHOWN = {"\u00fc": None}  # the escaped component, learned from the bucket


def fail(step, text):
    print(f"step {step}: {text}", file=sys.stderr)
    sys.exit(1)


class Both:
    def __init__(self, root, bucket, seed):
        self.root, self.bucket = root, bucket
        self.dice = random.Random(seed)
        self.api = objects.Api()
        self.step = 0
        self.what = ""
        self.handles = []  # (fd, path, bytes that it may see)

    # ---- the other client

    def url(self, key):
        return f"/object/{objects.quote(self.bucket + '/' + key)}"

    def keys(self):
        return list(objects.list_keys(self.bucket))

    def get(self, key):
        return self.api.call("GET", "/object/authenticated/" +
                             objects.quote(self.bucket + "/" + key))

    def put(self, key, data):
        self.what = f"API: put {key} of {len(data)}"
        self.api.call("PUT", self.url(key), data, "application/octet-stream")

    def delete(self, key):
        self.what = f"API: delete {key}"
        self.api.call("DELETE", self.url(key))

    # ---- what the mount should show

    def wanted(self):
        """path -> None for a directory, key for a file"""
        keys = self.keys()
        dirs = set()
        for key in keys:
            parts = key.split("/")[:-1]
            for i in range(len(parts)):
                dirs.add("/".join(parts[: i + 1]))
        tree = {self.path(d): None for d in dirs}
        for key in keys:
            head, _, last = key.rpartition("/")
            if last == MARKER and not self.get(key):
                continue
            name = "%obj=" + last if key in dirs else self.decode(last)
            tree[(self.path(head) + "/" if head else "") + name] = key
        return tree

    def decode(self, comp):
        return "\u00fc" if comp == SHOWN["\u00fc"] else comp

    def path(self, key):
        return "/".join(self.decode(c) for c in key.split("/"))

    def seen(self):
        tree = {}
        for base, dirs, files in os.walk(self.root, onerror=self.walk_error):
            here = os.path.relpath(base, self.root)
            for name in dirs + files:
                path = name if here == "." else here + "/" + name
                mode = os.lstat(os.path.join(base, name)).st_mode
                tree[path] = None if stat.S_ISDIR(mode) else path
        return tree

    def walk_error(self, error):
        fail(self.step, f"{self.what}: walking failed: {error}")

    def compare(self):
        wanted, seen = self.wanted(), self.seen()
        if set(wanted) != set(seen):
            fail(self.step, f"{self.what}: missing {sorted(set(wanted) - set(seen))}, "
                            f"too many {sorted(set(seen) - set(wanted))}")
        for path, key in wanted.items():
            if (key is None) != (seen[path] is None):
                fail(self.step, f"{self.what}: {path} is of the wrong type")
        files = [p for p, k in wanted.items() if k is not None]
        for path in self.dice.sample(files, min(3, len(files))):
            data = self.get(wanted[path])
            full = os.path.join(self.root, path)
            if os.stat(full).st_size != len(data):
                fail(self.step, f"{self.what}: size of {path}: {os.stat(full).st_size}, "
                                f"not {len(data)}")
            with open(full, "rb") as f:
                got = f.read()
            if got != data:
                fail(self.step, f"{self.what}: bytes of {path}: {got[:40]!r}, not {data[:40]!r}")
        return wanted

    # ---- steps

    def some_bytes(self):
        n = self.dice.choice([0, 1, 5, 100, 5000, 70000])
        return self.dice.randbytes(n)

    def pick(self, tree, kind):
        found = [p for p, k in tree.items() if (k is None) == (kind == "dir") and "%" not in p]
        return self.dice.choice(found) if found else None

    def new_path(self, tree):
        dirs = [p for p, k in tree.items() if k is None and p.count("/") < 2 and "%" not in p]
        base = self.dice.choice(dirs + [""])
        return (base + "/" if base else "") + self.dice.choice(NAMES)

    def expect(self, wanted_errno, call, *args):
        """Run a change; exactly this error (or one of these) is right; 0 = success."""
        wanted_errno = wanted_errno if isinstance(wanted_errno, tuple) else (wanted_errno,)
        try:
            call(*args)
            got = 0
        except OSError as error:
            got = error.errno
        if got not in wanted_errno:
            names = [errno.errorcode.get(e, str(e)) for e in wanted_errno]
            fail(self.step, f"{self.what}: {errno.errorcode.get(got, got)}, not {' or '.join(names)}")
        return got == 0

    def holds(self, path, data):
        """The bucket has these bytes under this path now."""
        key = self.wanted().get(path, "")
        if not key or self.get(key) != data:
            fail(self.step, f"{self.what}: the bucket does not have it")

    def write(self, tree, how):
        path, data = self.new_path(tree), self.some_bytes()
        full = os.path.join(self.root, path)
        if self.dice.random() < 0.5:
            path = self.pick(tree, "file") or path
            full = os.path.join(self.root, path)
        key = tree.get(path, "")
        old = self.get(key) if key else b""
        self.what = f"mount: {how} {path} of {len(data)}"
        flags = {"write": os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
                 "append": os.O_WRONLY | os.O_CREAT | os.O_APPEND,
                 "patch": os.O_RDWR | os.O_CREAT,
                 "exclusive": os.O_WRONLY | os.O_CREAT | os.O_EXCL}[how]
        wanted = 0
        self.touched(path)
        if path in tree:
            wanted = errno.EEXIST if how == "exclusive" else errno.EISDIR if key is None else 0

        def change():
            fd = os.open(full, flags, 0o644)
            try:
                at = len(old) // 2
                if how == "patch":
                    os.pwrite(fd, data, at)
                else:
                    os.write(fd, data)
                if not data:
                    os.fsync(fd)  # a close after no write waits for nothing
                size = os.fstat(fd).st_size
                expected = {"write": data, "append": old + data, "exclusive": data,
                            "patch": old[:at] + data + old[at + len(data):]}[how]
                if size != len(expected):
                    fail(self.step, f"{self.what}: fstat says {size}, not {len(expected)}")
            finally:
                os.close(fd)
            if not data and how == "write":
                os.stat(full)
            else:
                self.settle(path, expected)
        self.expect(wanted, change)

    def touched(self, path):
        """Handles on this file see what is written through the mount."""
        self.handles = [(fd, p, None if p == path else d) for fd, p, d in self.handles]

    def settle(self, path, data):
        if path.endswith("\u00fc") and SHOWN["\u00fc"] is None:
            for key in self.keys():
                last = key.rpartition("/")[2]
                if last not in NAMES and last != MARKER and "/" not in path:
                    SHOWN["\u00fc"] = last
        if data:
            self.holds(path, data)

    def unlink(self, tree):
        path = self.pick(tree, self.dice.choice(["file", "file", "file", "dir"])) or \
            self.new_path(tree)
        self.what = f"mount: unlink {path}"
        wanted = errno.ENOENT if path not in tree else \
            (errno.EISDIR, errno.EPERM) if tree[path] is None else 0
        if self.expect(wanted, os.unlink, os.path.join(self.root, path)):
            parent = os.path.dirname(path)
            after = self.wanted()
            # From the fifth in a row on removals go within a second, together.
            end = time.monotonic() + 5
            while path in after and after[path] is not None and time.monotonic() < end:
                time.sleep(0.05)
                after = self.wanted()
            if path in after and after[path] is not None:
                fail(self.step, f"{self.what}: still there")
            if parent and parent not in after:
                fail(self.step, f"{self.what}: its directory is gone")

    def mkdir(self, tree):
        path = self.new_path(tree)
        self.what = f"mount: mkdir {path}"
        self.expect(errno.EEXIST if path in tree else 0, os.mkdir, os.path.join(self.root, path))

    def rmdir(self, tree):
        path = self.pick(tree, self.dice.choice(["dir", "dir", "file"])) or self.new_path(tree)
        below = [p for p in tree if p.startswith(path + "/")]
        self.what = f"mount: rmdir {path}"
        wanted = errno.ENOENT if path not in tree else \
            errno.ENOTDIR if tree[path] is not None else errno.ENOTEMPTY if below else 0
        self.expect(wanted, os.rmdir, os.path.join(self.root, path))

    def rename(self, tree):
        old, new = self.pick(tree, "file"), self.new_path(tree)
        if not old:
            return
        self.what = f"mount: rename {old} to {new}"
        data = self.get(tree[old])
        wanted = (errno.EISDIR, errno.ENOTEMPTY) if new in tree and tree[new] is None else 0
        done = self.expect(wanted, os.rename, os.path.join(self.root, old),
                           os.path.join(self.root, new))
        if done:
            # Handles go with their file; those of the one that was replaced keep that.
            self.handles = [(fd, new if p == old else p + " (replaced)" if p == new else p, d)
                            for fd, p, d in self.handles]
            self.settle(new, data)
            parent = os.path.dirname(old)
            if parent and parent not in self.wanted():
                fail(self.step, f"{self.what}: its directory is gone")

    def truncate(self, tree):
        path = self.pick(tree, "file")
        if not path:
            return
        size = self.dice.choice([0, 1, 50, 6000])
        self.what = f"mount: truncate {path} to {size}"
        data = self.get(tree[path])
        self.touched(path)
        self.expect(0, os.truncate, os.path.join(self.root, path), size)
        got = self.get(tree[path])
        if got != data[:size] + bytes(max(0, size - len(data))):
            fail(self.step, f"{self.what}: the bucket has other bytes")

    def hold(self, tree):
        """Files that stay open over many steps: one version, or ESTALE."""
        if len(self.handles) < 4:
            path = self.pick(tree, "file")
            if path:
                self.what = f"mount: open {path}"
                fd = os.open(os.path.join(self.root, path), os.O_RDONLY)
                self.handles.append((fd, path, os.pread(fd, 200000, 0)))
            return
        fd, path, data = self.handles.pop(self.dice.randrange(len(self.handles)))
        self.what = f"mount: read {path} opened before"
        os.fstat(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        try:
            got = os.pread(fd, 200000, 0)
            # Of an empty file the kernel does not ask for bytes: nobody knows that it was read.
            if got != data and data:
                fail(self.step, f"{self.what}: {got[:40]!r} of {len(got)}, it was {data[:40]!r} "
                                f"of {len(data)}")
        except OSError as error:
            if error.errno != errno.ESTALE:
                fail(self.step, f"{self.what}: {error}")
        os.close(fd)

    def elsewhere(self, tree):
        keys = self.keys()
        files = [k for k in keys if not k.endswith(MARKER)]
        if keys and self.dice.random() < 0.4:
            self.delete(self.dice.choice(keys))
        elif files and self.dice.random() < 0.5:
            self.put(self.dice.choice(files), self.some_bytes())
        else:
            depth = self.dice.randrange(1, 4)
            self.put("/".join(self.dice.choice(NAMES[:5]) for _ in range(depth)),
                     self.some_bytes())

    def run(self, steps):
        tree = self.compare()
        kinds = [lambda t: self.write(t, "write"), lambda t: self.write(t, "append"),
                 lambda t: self.write(t, "patch"), lambda t: self.write(t, "exclusive"),
                 self.unlink, self.mkdir, self.rmdir, self.rename, self.truncate, self.hold,
                 self.elsewhere, self.elsewhere, self.elsewhere]
        for self.step in range(1, steps + 1):
            self.dice.choice(kinds)(tree)
            if os.environ.get("SF_VERBOSE"):
                print(self.step, self.what, flush=True)
            tree = self.compare()
        for fd, _, _ in self.handles:
            os.close(fd)


def main():
    root, bucket, steps, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    both = Both(root, bucket, seed)
    with open(os.path.join(root, "\u00fc"), "wb") as f:
        f.write(b"x")
    both.settle("\u00fc", b"x")
    both.run(steps)


main()
