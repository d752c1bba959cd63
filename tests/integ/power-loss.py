#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Daemons that end at random moments, half of them with a loss of power, and what is left.

  power-loss.py DIRECTORY [--seed N] [--runs K] [--first I] [--jobs J] [--mode close,writeback]
                          [--seconds S] [--keep]

Each run has dice of its own, from the seed and its number, which both stand in what is said of it:
`--seed N --first I --runs 1` plays run I again. Some threads make, change, rename and remove files
(power_loss_actors.py) in a mount whose state directory is on tests/tools/lossyfs; the service may
fail meanwhile, or be killed. Then the daemon is, and in every other run the disk loses what was
not synced and the machine's boot id changes. The next daemon has an empty cache, and may be killed,
too. When the last one has nothing pending, bucket and mount have all that calls promised which
returned, of those that did not all or nothing, and nothing else.

The environment has SUPAFS, SUPAFS_DEVSERVER and LOSSYFS. Mounts are in a namespace of their own.
"""
import argparse
import ctypes
import fnmatch
import glob
import json
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import uuid

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
import objects  # noqa: E402
import wire  # noqa: E402
from power_loss_actors import FOLDER, Actor, Wrong, difference, told  # noqa: E402

BOOT_ID = "/proc/sys/kernel/random/boot_id"
MARKER = ".emptyFolderPlaceholder"
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE, PR_SET_PDEATHSIG = 0x20000, 0x1000, 0x4000, 1 << 18, 1
libc = ctypes.CDLL(None, use_errno=True)


def checked(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def wait_for(seconds, condition, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Wrong(f"after {seconds} s still not so: {what}")
        time.sleep(0.01)


def start(arguments, log, **environment):
    """A child that does not outlive this process."""
    return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                            env=dict(os.environ, **environment),
                            preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))


def end(process, how=signal.SIGKILL, seconds=30):
    """Its status, if it had to be ended at all."""
    if process.poll() is None:
        process.send_signal(how)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise Wrong(f"{process.args[0]} does not end") from None


def is_mounted(point):
    with open("/proc/self/mountinfo") as table:
        return any(line.split()[4] == point for line in table)


# ---- the service ---------------------------------------------------------------------------------


class Server:
    """A dev server that can be killed and started again."""

    def __init__(self, top):
        self.top, self.process, self.ends = top, None, 0
        os.makedirs(top)
        self.begun()
        with open(os.path.join(top, "data", "project.env")) as lines:
            for line in lines:
                name, _, value = line.strip().partition("=")
                os.environ[name] = value.strip("'\"")
        self.admin_address = os.environ["SUPAFS_DEVSERVER_ADMIN"].rstrip("/").rpartition("/")[2]

    def begun(self):
        with open(os.path.join(self.top, "log"), "ab") as log:
            self.process = start([os.environ["SUPAFS_DEVSERVER"], "--data",
                                  os.path.join(self.top, "data")], log)
        wait_for(60, self.is_ready, "the server")

    def is_ready(self):
        with open(os.path.join(self.top, "log"), "rb") as log:
            return log.read().count(b"ready http") > self.ends

    def killed(self):
        end(self.process)
        self.ends += 1

    def sound(self):
        self.admin("DELETE", "/faults")

    def admin(self, method, path, value=None):
        host, port = self.admin_address.split(":")
        one = wire.Wire(host, int(port), 10)
        body = None if value is None else json.dumps(value).encode()
        if one.send(method, path, [], body).status != 200:
            raise Wrong(f"{method} {path} of the server's admin port")
        one.close()


FAULTS = (
    {"kind": "error", "status": 503},
    {"kind": "error", "status": 500},
    {"kind": "error_after", "status": 503},
    {"kind": "reset_before"},
    {"kind": "reset_after"},
    {"kind": "reset_body", "after": 2000},
    {"kind": "delay", "ms": 200},
    {"kind": "hang"},
)


class Trouble:
    """What the service does meanwhile: nothing, faults of a time, or it is killed and comes back."""

    def __init__(self, rng, server):
        self.rng, self.server = rng, server
        self.kind = rng.choice(("none", "none", "faults", "faults", "killed"))
        self.until = None

    def begin(self, calls):
        """In a run of so many calls: (the call before which it begins, what happens, after how many
        seconds, what happens then), or None."""
        self.server.admin("PUT", "/settings", {"delay_ms": self.rng.choice((0, 0, 3, 15, 40)),
                                               "rpc": self.rng.random() < 0.7})
        if self.kind == "none":
            return None
        at, seconds = self.rng.uniform(0, calls), self.rng.choice((0.05, 0.2, 1))
        if self.kind == "killed":
            return at, self.server.killed, seconds, self.server.begun
        rules = [dict(rule, chance=self.rng.choice((30, 100)), seed=self.rng.randrange(1000),
                      path="/object")
                 for rule in self.rng.sample(FAULTS, self.rng.choice((1, 2)))]

        def faulty():
            self.server.admin("PUT", "/faults", rules)
        return at, faulty, seconds, self.server.sound

    def over(self):
        if self.server.process.poll() is not None:
            self.server.begun()
        self.server.sound()
        self.server.admin("PUT", "/settings", {"delay_ms": 0, "rpc": True})


# ---- one run -------------------------------------------------------------------------------------


def work(actors, killed, results):
    """In a process of its own, as whoever starts another one closes the files that are open."""
    os.umask(0o022)
    threads = [threading.Thread(target=actor.run) for actor in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
        actors[0].calls[1] += 1
    os.read(killed, 1)  # open files stay open until then
    with os.fdopen(results, "wb") as out:
        pickle.dump([actor.result() for actor in actors], out)
    os._exit(0)


class Run:
    def __init__(self, top, seed, number, mode, server, boot):
        self.seed, self.number, self.mode, self.server, self.boot = seed, number, mode, server, boot
        self.rng = random.Random(f"{seed}/{number}")
        self.dir = os.path.join(top, f"run-{number}")
        self.mnt, self.disk = os.path.join(self.dir, "mnt"), os.path.join(self.dir, "disk")
        self.bucket = f"r{number}"
        # A large object gets its mode with a request of its own; where the bytes of its record were
        # lost, nobody sends that any more. No call has promised it.
        self.loses = number % 2 == 1
        self.daemon = self.lossy = None
        self.mounts = 0
        self.losses = []
        self.story = []
        self.results = []

    def say(self, what):
        self.story.append(f"{time.monotonic():.3f} {what}")

    # the mount

    def mount(self):
        self.mounts += 1
        cache = os.path.join(self.dir, f"cache-{self.mounts}")
        os.mkdir(cache, 0o700)
        options = [f"bucket={self.bucket}", f"state_dir={self.disk}/state", f"cache_dir={cache}",
                   "stop_timeout=10s", "log_target=stderr", "standard_limit=128k"] + self.options
        with open(os.path.join(self.dir, "daemon.log"), "ab") as log:
            self.daemon = start([os.environ["SUPAFS"], "mount", "-f", self.mnt, "-o",
                                 ",".join(options)], log)
        self.say(f"mount {self.mounts} as {self.daemon.pid}")
        wait_for(60, lambda: self.status("pid") == str(self.daemon.pid) or
                 self.daemon.poll() is not None, "the mount")
        if self.daemon.poll() is not None:
            raise Wrong(f"supafs mount ended with {self.daemon.returncode}")

    def status(self, name):
        try:
            with open(os.path.join(self.mnt, ".supafs", "status")) as lines:
                for line in lines:
                    if line.startswith(name + ":"):
                        return line.partition(":")[2].strip()
        except OSError:
            pass  # a dead mount, or none yet
        return None

    def kill(self):
        self.daemon.kill()
        self.say("killed")
        self.daemon.wait()

    def lose_power(self):
        seed = self.rng.randrange(1 << 32)
        os.setxattr(self.disk, "user.lossyfs.lose", str(seed).encode())
        with open(self.boot, "r+") as boot:
            boot.write(str(uuid.UUID(int=self.rng.getrandbits(128))))
        self.say(f"power lost, {os.getxattr(self.disk, 'user.lossyfs.report').decode()}")
        os.makedirs(os.path.join(self.disk, "state"), exist_ok=True)

    # before

    def prepare(self):
        os.makedirs(self.mnt)
        os.mkdir(self.disk)
        with open(os.path.join(self.dir, "lossyfs.log"), "ab") as log:
            # Nodes that the kernel names until the end are not given back.
            self.lossy = start([os.environ["LOSSYFS"], self.disk, str(self.rng.randrange(1 << 32))],
                               log, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "")
                               + ":detect_leaks=0")
        wait_for(10, lambda: is_mounted(self.disk), "the disk")
        os.mkdir(os.path.join(self.disk, "state"), 0o700)
        self.sync(self.disk)
        api = objects.Api()
        api.call_json("POST", "/bucket", {"name": self.bucket, "id": self.bucket})
        self.options = [f"sync={self.mode}"] if self.mode != "close" else []
        self.options += self.rng.choice(([], [], ["attr_ttl=0"]))
        self.calls = multiprocessing.RawArray("q", 2)
        self.actors = [Actor(random.Random(f"{self.seed}/{self.number}/{i}"), self.mnt, f"t{i}",
                             self.rng.choice((10, 60)), self.trouble.kind != "none", self.calls)
                       for i in range(self.rng.choice((1, 2, 3)))]
        for actor in self.actors:
            for name in self.rng.sample(("f0", "f1", "d0/f0", "d0/f1"), 3):
                data = actor.bytes()
                api.call("PUT", "/object/" + objects.quote(f"{self.bucket}/{actor.prefix}/{name}"),
                         data, "text/plain")
                actor.now[name] = (data, None)
                if "/" in name:
                    actor.now["d0"] = FOLDER
            api.call("PUT", "/object/" + objects.quote(f"{self.bucket}/{actor.prefix}/{MARKER}"),
                     b"", "text/plain")

    @staticmethod
    def sync(path):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)

    # the play

    def act(self):
        """Work until the daemon is killed, at a moment that the dice say."""
        calls = self.rng.choice((3, 10, 40, 100)) * self.rng.random()
        trouble, later = self.trouble.begin(calls), self.rng.choice((0, 0.003, 0.05))
        killed, kill = os.pipe()
        results, result = os.pipe()
        worker = os.fork()
        if not worker:
            os.close(kill)
            os.close(results)
            try:
                work(self.actors, killed, result)
            finally:
                os._exit(1)
        os.close(killed)
        os.close(result)
        try:
            if trouble:
                self.goes_on(trouble[0], 5)
                self.say(f"the service is {trouble[1].__name__}")
                trouble[1]()
                self.goes_on(calls, trouble[2])
                if self.rng.random() < 0.5:
                    trouble[3]()
            self.goes_on(calls, self.rng.choice((0.05, 2)) if trouble else 5)
            time.sleep(later * self.rng.random())
        finally:
            self.kill()
            os.close(kill)
        with os.fdopen(results, "rb") as f:
            data = f.read()
        os.waitpid(worker, 0)
        if not data:
            raise Wrong("the workers failed")
        self.results = pickle.loads(data)
        for result in self.results:
            if result["wrong"]:
                raise Wrong(result["wrong"])

    def goes_on(self, calls, seconds):
        """Until so many calls were begun, or the time is over."""
        end = time.monotonic() + seconds
        while self.calls[0] < calls and time.monotonic() < end and self.calls[1] < len(self.actors):
            time.sleep(0.001)

    def settled(self):
        wait_for(60, lambda: self.status("pending") == "0",
                 f"nothing is pending, but {self.status('pending')}")

    def names(self):
        """What the mount shows: name -> value."""
        found = {}
        for where, dirs, files in os.walk(self.mnt):
            if where == self.mnt and ".supafs" in dirs:
                dirs.remove(".supafs")
            for name in dirs:
                found[os.path.relpath(os.path.join(where, name), self.mnt)] = FOLDER
            for name in files:
                path = os.path.join(where, name)
                with open(path, "rb") as f:
                    data = f.read()
                found[os.path.relpath(path, self.mnt)] = (data, os.stat(path).st_mode & 0o7777)
        return found

    def objects(self):
        """What the bucket has, without the markers of folders, and with the folders they make."""
        api, found = objects.Api(), {}
        for key in objects.list_keys(self.bucket):
            folder, _, name = key.rpartition("/")
            while folder:
                found[folder] = FOLDER
                folder = folder.rpartition("/")[0]
            if name != MARKER:
                found[key] = (api.call("GET", "/object/authenticated/" +
                                       objects.quote(f"{self.bucket}/{key}")), None)
        return found

    def compare(self, what, found):
        """Bytes and names of all actors, and nothing beside."""
        for result in self.results:
            prefix = result["prefix"] + "/"
            mine = {name[len(prefix):]: value for name, value in found.items()
                    if name.startswith(prefix)}
            why = difference(result, mine, modes=not self.loses)
            if why:
                raise Wrong(f"{what} {why} (in {prefix})")
        beside = {name: value for name, value in found.items()
                  if name.split("/")[0] not in [result["prefix"] for result in self.results]}
        if beside:
            raise Wrong(f"{what} has {told(beside)}")

    def quarantined(self):
        """Only what no call has promised, as far as the file says what it is."""
        doubtful = {f"{r['prefix']}/{name}" for r in self.results for name in r["open"]}
        for note in glob.glob(os.path.join(glob.escape(self.disk), "state/*/quarantine/*.json")):
            with open(note) as f:
                key = json.load(f)["key"]
            if key is not None and key not in doubtful and not key.endswith(MARKER):
                raise Wrong(f"in quarantine: {note}")

    def play(self):
        self.trouble = Trouble(self.rng, self.server)
        self.prepare()
        self.mount()
        self.act()
        if self.loses:
            self.lose_power()
        self.trouble.over()
        while self.rng.random() < 0.3:
            self.mount()
            time.sleep(self.rng.choice((0, 0.03, 0.2)) * self.rng.random())
            self.kill()
            if self.loses and self.rng.random() < 0.7:
                self.lose_power()
        self.mount()
        early = None
        if self.rng.random() < 0.5:
            try:
                self.compare("the mount, while things are pending,", self.names())
            except Wrong as e:
                early = e
        self.settled()
        self.compare("the bucket", self.objects())
        self.compare("the mount", self.names())
        if early:  # what is wrong in the end, too, says more
            raise early
        status = end(self.daemon, signal.SIGTERM)
        if status != 0:
            raise Wrong(f"the last daemon ended with {status}")
        self.quarantined()
        left = glob.glob(os.path.join(glob.escape(self.disk), "state/*/staging/*"))
        if left:
            raise Wrong(f"left in staging: {left}")

    def clean(self, keep):
        if self.daemon and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()
        if keep:
            shutil.copytree(os.path.join(self.disk, "state"), os.path.join(self.dir, "state"),
                            dirs_exist_ok=True)
        for point in (self.mnt, self.disk):
            if is_mounted(point):
                subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL, check=False)
        if self.lossy:
            end(self.lossy, signal.SIGTERM)
        if not keep:
            shutil.rmtree(self.dir)


def explain(run, why):
    lines = [why] + run.story
    for result in run.results:
        lines += [f"{result['prefix']}: {line}" for line in result["log"][-40:]]
    try:
        with open(os.path.join(run.dir, "daemon.log"), errors="replace") as log:
            lines += [line.rstrip()[:300] for line in log.readlines()[-40:]]
    except OSError:
        pass
    return "\n      ".join(lines)


# ---- all of them ---------------------------------------------------------------------------------


def job(arguments, slot, numbers, reports):
    """One process of the runs: a namespace, a boot id and a server of its own."""
    top = os.path.join(arguments.directory, f"job-{slot}")
    os.makedirs(top)
    boot = os.path.join(top, "boot-id")
    with open(boot, "w") as f:
        f.write(f"{uuid.uuid4()}\n")
    checked(libc.unshare(CLONE_NEWNS))
    checked(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
    checked(libc.mount(boot.encode(), BOOT_ID.encode(), None, MS_BIND, None))
    server = Server(os.path.join(top, "server"))
    while True:
        with numbers.get_lock():
            number = numbers.value
            numbers.value += 1
        if number >= arguments.first + arguments.runs or time.monotonic() > arguments.until:
            break
        mode = arguments.modes[number // 2 % len(arguments.modes)]
        run = Run(top, arguments.seed, number, mode, server, boot)
        why = None
        try:
            run.play()
        except Wrong as e:
            why = explain(run, str(e))
        except (Exception, SystemExit):
            why = explain(run, traceback.format_exc())
        try:
            run.clean(bool(why))
        except Exception:
            why = (why or "") + traceback.format_exc()
        acknowledged = sum(" ok " in line for r in run.results for line in r["log"])
        reports.put((number, mode, why, acknowledged))
        if why:
            server.killed()
            server.begun()
    end(server.process, signal.SIGTERM)
    reports.put(None)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--mode", default="close")
    parser.add_argument("--seconds", type=float, default=1e9)
    arguments = parser.parse_args()
    arguments.modes = arguments.mode.split(",")
    began = time.monotonic()
    arguments.until = began + arguments.seconds
    numbers, reports = multiprocessing.Value("q", arguments.first), multiprocessing.Queue()
    jobs = [multiprocessing.Process(target=job, args=(arguments, slot, numbers, reports))
            for slot in range(arguments.jobs)]
    for process in jobs:
        process.start()
    played, wrong, calls, ended = 0, [], 0, 0
    while ended < len(jobs):
        try:
            report = reports.get(timeout=300)
        except Exception:
            print("a job hangs or has died", file=sys.stderr)
            return 1
        if report is None:
            ended += 1
            continue
        number, mode, why, acknowledged = report
        played += 1
        calls += acknowledged
        if why:
            wrong.append(number)
            print(f"WRONG --seed {arguments.seed} --first {number} --runs 1 --mode {mode}: {why}",
                  file=sys.stderr, flush=True)
    print(f"seed {arguments.seed}, runs {arguments.first} to {arguments.first + played - 1}, "
          f"{arguments.mode}: {played} runs, {calls} calls that returned, {len(wrong)} wrong"
          f"{' ' + str(sorted(wrong)) if wrong else ''}, {time.monotonic() - began:.1f} s",
          file=sys.stderr)
    return 1 if wrong or not played else 0


if __name__ == "__main__":
    sys.exit(main())
