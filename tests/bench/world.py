# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured on: one dev server, links to it, the files to be read, and what came and went."""
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import urllib.parse

BUCKET = "bench"
# The sizes of `supafs bench`; tiny: only to see that all of it works.
SIZES = {"large-size": 256 << 20, "random-reads": 200, "cached-reads": 20000, "small-files": 200,
         "list-files": 1000, "write-files": 100, "one-by-one": 20, "write-size": 40 << 20}
TINY = {"large-size": 4 << 20, "random-reads": 20, "cached-reads": 200, "small-files": 20,
        "list-files": 50, "write-files": 8, "one-by-one": 3, "write-size": 1 << 20}


def program(name):
    """A program of ours, from the build directory."""
    places = [os.environ.get("SUPAFS_BUILDDIR"), os.getcwd(),
              os.path.join(os.path.dirname(__file__), "../.."),
              os.path.join(os.path.dirname(__file__), "../../build")]
    for place in places:
        path = os.path.abspath(os.path.join(place or "/nonexistent", name))
        if os.access(path, os.X_OK):
            return path
    raise SystemExit(f"{name} is not built; SUPAFS_BUILDDIR names the build directory")


class Child:
    """A process that says "ready" (or is mounted) before it is used, and ends by SIGTERM."""

    def __init__(self, arguments, log, **more):
        self.log = open(log, "ab")
        # A session of its own, as a daemon has: the kernel shares the cores between sessions.
        self.process = subprocess.Popen(arguments, stderr=self.log, stdin=subprocess.DEVNULL,
                                        start_new_session=True, **more)

    def end(self, patience=20):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


class Server(Child):
    def __init__(self, folder):
        super().__init__([program("supafs-devserver"), "--data", f"{folder}/project",
                          "--standard-limit", "0", "--global-limit", "0"],
                         f"{folder}/server.log", stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            raise SystemExit(f"the dev server did not start; see {folder}/server.log")
        self.env = {}
        with open(f"{folder}/project/project.env", encoding="utf-8") as lines:
            for one in lines:
                name, _, value = one.strip().partition("=")
                if value:
                    self.env[name.removeprefix("export ")] = value.strip("'\"")
        self.port = urllib.parse.urlsplit(self.env["SUPABASE_URL"]).port
        self.key = self.env["SUPABASE_SERVICE_ROLE_KEY"]
        self.headers = {"Authorization": "Bearer " + self.key, "apikey": self.key}
        self.own_requests = 0
        self.direct = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        admin = urllib.parse.urlsplit(self.env["SUPAFS_DEVSERVER_ADMIN"])
        self.admin_at = (admin.hostname, admin.port, admin.path.rstrip("/"))
        self.call("POST", "/bucket", {"name": BUCKET})

    def send(self, method, path, body=None, headers=None):
        """Past all links."""
        self.own_requests += 1
        one = ("/storage/v1" + path, body, {**self.headers, **(headers or {})})
        try:
            self.direct.request(method, *one)
            reply = self.direct.getresponse()
        except (http.client.HTTPException, ConnectionError):
            # The server has ended a connection that was idle for long.
            self.direct.close()
            self.direct.request(method, *one)
            reply = self.direct.getresponse()
        data = reply.read()
        if reply.status != 200:
            raise SystemExit(f"{method} {path}: {reply.status} {data[:200]}")
        return data

    def call(self, method, path, value):
        return json.loads(self.send(method, path, json.dumps(value).encode(),
                                    {"Content-Type": "application/json"}))

    def put(self, key, data):
        self.send("PUT", f"/object/{BUCKET}/{key}", data,
                  {"Content-Type": "application/octet-stream"})

    def stored(self, prefix, size):
        """How many objects of this size lie below the prefix."""
        page = self.call("POST", f"/object/list-v2/{BUCKET}", {"prefix": prefix, "limit": 1000})
        return sum(one["metadata"]["size"] == size for one in page["objects"])

    def requests(self):
        """How many came from others than this program."""
        one = http.client.HTTPConnection(self.admin_at[0], self.admin_at[1], timeout=30)
        one.request("GET", self.admin_at[2] + "/log?counts=1")
        answer = json.loads(one.getresponse().read())
        one.close()
        return answer["total"] - self.own_requests


class Link(Child):
    """A round trip and a bandwidth between a mount and the server."""

    def __init__(self, folder, server, rtt_us, bytes_per_s):
        super().__init__([program("tests/bench/netproxy"), "--to", str(server.port), "--rtt-us",
                          str(rtt_us), "--bytes-per-s", str(bytes_per_s)],
                         f"{folder}/link.log", stdout=subprocess.PIPE, text=True)
        self.rtt_s = rtt_us / 1e6
        self.port = int(self.process.stdout.readline().split()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def carried(self):
        """Bytes from the server and to it."""
        self.process.send_signal(signal.SIGUSR1)
        words = self.process.stdout.readline().split()
        return int(words[1]), int(words[3])

    def quiet(self, patience=10):
        """Waits until nothing has come or gone for ten round trips."""
        end = time.monotonic() + patience
        before = self.carried()
        while time.monotonic() < end:
            time.sleep(self.rtt_s * 10)
            now = self.carried()
            if now == before:
                return
            before = now


class World:
    def __init__(self, sizes, rtt_us, thin, say):
        self.sizes, self.thin, self.say = sizes, thin, say
        self.mounts = self.written = 0
        self.folder = tempfile.mkdtemp(prefix="supafs-bench.")
        self.undo = [lambda: shutil.rmtree(self.folder, ignore_errors=True)]
        try:
            self.server = self.keep(Server(self.folder))
            self.links = {"": self.keep(Link(self.folder, self.server, rtt_us, 0)),
                          "thin": self.keep(Link(self.folder, self.server, rtt_us, thin))}
            self.fill()
        except BaseException:
            self.close()
            raise

    def keep(self, child):
        self.undo.append(child.end)
        return child

    def close(self):
        while self.undo:
            self.undo.pop()()

    def options(self):
        return [f"--{name}={value}" for name, value in self.sizes.items()]

    def fill(self):
        """The same files locally, for the limit, and in the bucket."""
        self.files = f"{self.folder}/files"
        os.makedirs(f"{self.files}/other")
        self.say("making the files")
        subprocess.run([program("supafs"), "bench", *self.options(), "--prepare", self.files],
                       check=True, stderr=subprocess.DEVNULL)
        for where, _, names in os.walk(self.files):
            for name in names:
                path = os.path.join(where, name)
                with open(path, "rb") as data:
                    self.server.put(os.path.relpath(path, self.files), data)
        for i in range(10):
            self.server.put(f"other/f{i}", b"x")

    def figures(self, link):
        down, up = link.carried()
        return {"requests": self.server.requests(), "down": down, "up": up}

    def next_prefix(self, name):
        self.written += 1
        return f"{name}{self.written}"

    def own_folder(self, name):
        self.mounts += 1
        path = f"{self.folder}/{name}-{self.mounts}"
        os.mkdir(path)
        return path


class Memory(threading.Thread):
    """The most anonymous memory that a process was seen with."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.ended = pid, 0, threading.Event()
        self.start()

    def look(self):
        try:
            with open(f"/proc/{self.pid}/status", encoding="ascii") as lines:
                found = re.search(r"RssAnon:\s*(\d+)", lines.read())
            self.peak = max(self.peak, int(found.group(1)) * 1024 if found else 0)
        except OSError:
            pass

    def run(self):
        while not self.ended.wait(0.01):
            self.look()

    def end(self):
        self.look()
        self.ended.set()
        self.join()
        return self.peak


def is_mounted(point):
    with open("/proc/self/mountinfo", encoding="utf-8") as lines:
        return any(line.split()[4] == point for line in lines)


def wait_for(what, patience=30):
    end = time.monotonic() + patience
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True
