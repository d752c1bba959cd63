# SPDX-License-Identifier: GPL-3.0-or-later
"""The real thing: a daemon with its mount, and the bucket behind it as another client sees it.

The environment has SUPAFS, SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY."""
import ctypes
import glob
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.parse

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
import names  # noqa: E402
import objects  # noqa: E402

MNT_DETACH = 2
PATIENCE = 30

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int,
                      ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
libc.msync.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
libc.renameat2.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p,
                           ctypes.c_uint]


def checked(result):
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


class Wrong(Exception):
    """The mount and the model differ. @kind says in what, for the shrinker."""

    def __init__(self, kind, text):
        super().__init__(text)
        self.kind = kind


def wait_for(what, done, seconds=PATIENCE):
    end = time.monotonic() + seconds
    pause = 0.002
    while not done():
        if time.monotonic() > end:
            raise Wrong("time", f"waited {seconds} s for: {what}")
        time.sleep(pause)
        pause = min(2 * pause, 0.1)


class World:
    """@options: of the mount, a list. @prefix: what of the bucket is mounted."""

    def __init__(self, folder, bucket, prefix, options):
        self.dir, self.bucket, self.prefix, self.options = folder, bucket, prefix, options
        self.mnt = os.path.join(folder, "mnt")
        self.daemon = None
        self.caches = self.mounts = 0
        self.log = os.path.join(folder, "daemon.log")
        self.api = objects.Api()
        os.makedirs(self.mnt)
        os.makedirs(os.path.join(folder, "state"), 0o700)
        self.api.call_json("POST", "/bucket", {"name": bucket, "id": bucket})
        self.new_cache()

    # ---- the daemon ----------------------------------------------------------------------------

    def new_cache(self):
        self.caches += 1
        os.mkdir(os.path.join(self.dir, f"cache-{self.caches}"), 0o700)

    def mount(self):
        """Never while a file of the mount is open: what a child closes at its exec is a close()."""
        options = [f"bucket={self.bucket}", f"state_dir={self.dir}/state",
                   f"cache_dir={self.dir}/cache-{self.caches}", "log_target=stderr",
                   "stop_timeout=20s", "cache_min_free=0", "unsafe_state_dir"] + self.options
        if self.prefix:
            options.append(f"prefix={self.prefix}")
        self.mounts += 1
        with open(self.log, "a", encoding="utf-8") as log:
            self.daemon = subprocess.Popen(
                [os.environ["SUPAFS"], "mount", "-f", self.mnt, "-o", ",".join(options)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for("the mount", lambda: self.serves() or self.daemon.poll() is not None, 60)
        if self.daemon.poll() is not None:
            raise Wrong("daemon", f"supafs mount ended with {self.daemon.returncode}")

    def serves(self):
        """A mount can be used a moment before SIGTERM means an orderly end, as the log says."""
        with open(self.log, encoding="utf-8", errors="replace") as log:
            if log.read().count(" is mounted on ") < self.mounts:
                return False
        return self.status("pid") == str(self.daemon.pid)

    def status(self, name):
        with open(os.path.join(self.mnt, ".supafs", "status"), encoding="utf-8") as lines:
            for line in lines:
                if line.startswith(name + ":"):
                    return line.partition(":")[2].strip()
        return ""

    def settled(self):
        wait_for("nothing is pending", lambda: self.status("pending") == "0", 60)

    def stop(self):
        self.daemon.terminate()
        try:
            self.daemon.wait(60)
        except subprocess.TimeoutExpired:
            raise Wrong("daemon", "the daemon does not stop") from None
        if self.daemon.returncode != 0:
            raise Wrong("daemon", f"the daemon ended with {self.daemon.returncode}")

    def kill(self):
        self.daemon.kill()
        self.daemon.wait()

    def detach(self):
        libc.umount2(os.fsencode(self.mnt), MNT_DETACH)

    def is_mounted(self):
        with open("/proc/self/mountinfo", encoding="utf-8") as table:
            return any(line.split()[4] == self.mnt for line in table)

    def alive(self):
        if self.daemon.poll() is not None:
            raise Wrong("daemon", f"the daemon ended with {self.daemon.returncode}")

    def close(self, keep):
        if self.daemon and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()
        while self.is_mounted():
            self.detach()
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def left(self, folder):
        return sorted(glob.glob(os.path.join(glob.escape(self.dir), "state", "*", folder, "*")))

    # ---- paths ---------------------------------------------------------------------------------

    def path(self, path):
        return b"/".join([os.fsencode(self.mnt), *map(names.raw, path)])

    def key(self, path):
        return (self.prefix + "/" if self.prefix else "") + names.key(path)

    # ---- the other client ----------------------------------------------------------------------

    def url(self, key, route=""):
        return f"/object/{route}" + urllib.parse.quote(f"{self.bucket}/{key}", safe="/")

    def put(self, path, data):
        self.api.call("PUT", self.url(self.key(path)), data, "application/octet-stream")

    def delete(self, path):
        self.api.call("DELETE", self.url(self.key(path)))

    def move(self, source, target):
        self.api.call_json("POST", "/object/move", {
            "bucketId": self.bucket, "sourceKey": self.key(source),
            "destinationKey": self.key(target)})

    def get(self, key):
        return self.api.call("GET", self.url(key, "authenticated/"))

    def info(self, key):
        return json.loads(self.api.call("GET", self.url(key, "info/authenticated/")))

    def keys(self):
        """Every key below the prefix, which is taken off."""
        start = self.prefix + "/" if self.prefix else ""
        return [key[len(start):] for key in objects.list_keys(self.bucket, start)]
