#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A daemon is killed behind every step of a change; the next one brings the change to its end.

  crash.py DIRECTORY STEPS.DEF RUNS [LABEL...]

Each scenario is played undisturbed, which tells the steps that it passes; a step of STEPS.DEF that
none passes is a failure. Then, for each step (or the given ones), RUNS times: a scenario is played
in a bucket and a mount of its own with SUPAFS_KILL_AT=STEP:N, and the project mounted again, with
the same state directory and an empty cache. When the journal is empty, mount and bucket have what
close, fsync and the other calls promised, and nothing else: no file doubled, half, or kept aside
without cause. The environment has SUPAFS, SUPABASE_URL, SUPABASE_SERVICE_ROLE_KEY and
SUPAFS_DEVSERVER_ADMIN. Mounts lie in DIRECTORY/*/mnt; whoever calls this takes away what a failure
leaves there.
"""
import base64
import collections
import concurrent.futures
import errno
import fnmatch
import glob
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
import urllib.request

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import objects  # noqa: E402

AT_ONCE = 3
DIED = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.EINTR)
MIB = 1 << 20


class Wrong(Exception):
    """What the run shows is not what was promised."""


def wait_for(seconds, condition, what):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Wrong(f"after {seconds} s still not so: {what}")
        time.sleep(0.02)


def admin(method, path, value=None):
    body = None if value is None else json.dumps(value).encode()
    url = os.environ["SUPAFS_DEVSERVER_ADMIN"].rstrip("/") + path
    urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=10).read()


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


# ---- scenarios -----------------------------------------------------------------------------------


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


# ---- one run -------------------------------------------------------------------------------------


def difference(found, state):
    """None, or how what was found differs from a state, whose keys may be patterns."""
    wanted = dict(state)
    for name in sorted(found):
        pattern = next((p for p in wanted if fnmatch.fnmatchcase(name, p)), None)
        if pattern is None:
            return f"has {name}, which nobody made"
        if found[name] not in (None, wanted.pop(pattern)):
            return f"has other bytes in {name}, {len(found[name])} of them"
    return f"lacks {sorted(wanted)}" if wanted else None


class Run:
    """A scenario, killed at the nth pass of a step; without a label it is played undisturbed."""

    def __init__(self, top, number, scenario, label=None, nth=1, twice=False):
        self.label, self.nth, self.twice, self.scenario = label, nth, twice, scenario()
        self.scenario.label = label
        self.bucket = f"r{number}"
        self.dir = os.path.join(top, f"{number}-{label}-{nth}-{scenario.__name__}")
        self.mnt = os.path.join(self.dir, "mnt")
        self.state = os.path.join(self.dir, "state")
        self.api = objects.Api()
        self.daemon = None
        self.mounts = 0
        self.passed = collections.Counter()

    def __str__(self):
        how = f" killed at {self.label}:{self.nth}" if self.label else ""
        how += " and again" if self.twice else ""
        return f"{type(self.scenario).__name__}{how} ({self.dir})"

    # the other client

    def put(self, key, data, **headers):
        api = objects.Api()
        api.headers.update(headers)
        api.call("PUT", "/object/" + objects.quote(f"{self.bucket}/{key}"), data, "text/plain")

    def info(self, key):
        return json.loads(self.api.call("GET", "/object/info/authenticated/" +
                                        objects.quote(f"{self.bucket}/{key}")))

    def get(self, key):
        return self.api.call("GET", "/object/authenticated/" +
                             objects.quote(f"{self.bucket}/{key}"))

    def faults(self, rules):
        admin("PUT", "/faults", rules)

    def no_faults(self):
        admin("DELETE", "/faults")

    # the mount

    def path(self, name):
        return os.path.join(self.mnt, name)

    def is_mounted(self):
        with open("/proc/self/mountinfo") as table:
            return any(line.split()[4] == self.mnt for line in table)

    def mount(self, **environment):
        self.mounts += 1
        cache = os.path.join(self.dir, f"cache-{self.mounts}")
        os.mkdir(cache, 0o700)
        options = [f"bucket={self.bucket}", f"state_dir={self.state}", f"cache_dir={cache}",
                   "stop_timeout=5s", "log_target=stderr", "attr_ttl=0"]
        options += [self.scenario.options] if self.scenario.options else []
        with open(os.path.join(self.dir, "daemon.log"), "a") as log:
            self.daemon = subprocess.Popen(
                [os.environ["SUPAFS"], "mount", "-f", self.mnt, "-o", ",".join(options)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=dict(os.environ, **environment))
        wait_for(20, lambda: self.serves() or self.daemon.poll() is not None, "the mount")
        if self.daemon.poll() is not None:
            raise Wrong(f"supafs mount ended with {self.daemon.returncode}")

    def serves(self):
        """The daemon that was started last does, not a dead one."""
        try:
            return self.status("pid") == str(self.daemon.pid)
        except (OSError, Wrong):
            return False

    def stop(self, status=0):
        """The end of a daemon that has nothing left to do, or (1) something that waits."""
        self.daemon.terminate()
        try:
            self.daemon.wait(20)
        except subprocess.TimeoutExpired:
            raise Wrong("the daemon does not stop")
        if self.daemon.returncode != status:
            raise Wrong(f"the daemon ended with {self.daemon.returncode}")

    def status(self, name):
        with open(os.path.join(self.mnt, ".supafs", "status")) as lines:
            for line in lines:
                if line.startswith(name + ":"):
                    return line.partition(":")[2].strip()
        raise Wrong(f"the status has no {name}")

    # the play

    def act(self):
        """Plays the change until it is done, or the daemon gone."""
        try:
            self.scenario.act(self)
        except OSError as e:
            unsure = self.scenario.quarantined or self.scenario.settings
            if not unsure and not (self.label and e.errno in DIED):
                raise Wrong(f"the change failed: {e}")
        if not self.label:
            return
        try:
            self.daemon.wait(3)
        except subprocess.TimeoutExpired:
            self.daemon.terminate()  # some steps are passed when it stops
            self.daemon.wait(20)
        if self.daemon.returncode != -signal.SIGKILL:
            raise Wrong("the step was not passed")

    def killed_again(self):
        """The daemon that brings it to its end is killed, too, if it passes the step."""
        try:
            self.mount(SUPAFS_KILL_AT=self.label)
            self.settled()
        except (Wrong, OSError):
            pass
        self.daemon.terminate()
        self.daemon.wait(20)
        if self.daemon.returncode not in (0, -signal.SIGKILL):
            raise Wrong(f"the second daemon ended with {self.daemon.returncode}")

    def settled(self):
        wait_for(30, lambda: self.status("pending") == str(self.scenario.pending),
                 "nothing is pending")

    def names(self):
        """What the mount shows: name -> bytes, of files at any depth."""
        found = {}
        for where, dirs, files in os.walk(self.mnt):
            if where == self.mnt and ".supafs" in dirs:
                dirs.remove(".supafs")
            for name in files:
                path = os.path.join(where, name)
                name = os.path.relpath(path, self.mnt)
                found[name] = None
                if self.scenario.look(name):
                    with open(path, "rb") as f:
                        found[name] = f.read()
        return found

    def compare(self, what, found):
        """It is one of the states that are right; what differs from the first."""
        differences = [difference(found, state) for state in self.scenario.ends()]
        if all(differences):
            raise Wrong(f"{what} {differences[0]}")

    def files_in(self, folder):
        return sorted(glob.glob(os.path.join(glob.escape(self.state), "*", folder, "*")))

    def kept(self, ending=""):
        return [f for f in self.files_in("quarantine") if f.endswith(ending)
                and bool(ending) == f.endswith(".json")]

    def play(self):
        os.makedirs(self.mnt)
        os.mkdir(self.state, 0o700)
        self.api.call_json("POST", "/bucket", {"name": self.bucket, "id": self.bucket})
        for key, data in self.scenario.first.items():
            self.put(key, data)
        self.scenario.before(self)
        log = os.path.join(self.dir, "steps")
        at = {"SUPAFS_KILL_AT": f"{self.label}:{self.nth}"} if self.label else {}
        self.mount(SUPAFS_STEP_LOG=log, **at)
        self.act()
        if not self.label:
            self.stop(self.scenario.status)
        if os.path.exists(log):
            with open(log) as lines:
                self.passed.update(lines.read().split())
        self.scenario.before_remount(self)
        if self.twice:
            self.killed_again()
        self.mount(SUPAFS_BOOT_ID=self.scenario.boot)  # takes a dead mount away
        self.settled()
        self.compare("the mount", self.names())
        marker = "*.emptyFolderPlaceholder"
        keys = [k for k in objects.list_keys(self.bucket) if not fnmatch.fnmatchcase(k, marker)]
        self.compare("the bucket", {key: self.get(key) if self.scenario.look(key) else None
                                    for key in keys})
        self.scenario.check(self)
        self.stop()
        kept = self.kept()
        least = self.scenario.quarantined
        if not least <= len(kept) <= least + (self.scenario.unsaved if self.label else 0):
            raise Wrong(f"in quarantine: {kept}")
        if self.files_in("staging"):
            raise Wrong(f"left in staging: {self.files_in('staging')}")

    def clean(self, failed):
        if self.daemon and self.daemon.poll() is None:
            self.daemon.kill()
            self.daemon.wait()
        if self.is_mounted():
            subprocess.run(["umount", "-l", self.mnt], stderr=subprocess.DEVNULL)
        if not failed:
            shutil.rmtree(self.dir)


def play(top, number, way):
    """What was played, what went wrong (None: nothing), and the steps that were passed."""
    began = time.monotonic()
    run = Run(top, number, *way)
    why = None
    try:
        run.play()
    except Wrong as e:
        why = str(e)
    except Exception:
        why = traceback.format_exc()
    if why:
        try:
            with open(os.path.join(run.dir, "daemon.log"), errors="replace") as log:
                why += "".join("\n      " + line.rstrip()[:300] for line in log.readlines()[-25:])
        except OSError:
            pass
    run.clean(why)
    if os.environ.get("SF_CRASH_TIMES"):
        print(f"{time.monotonic() - began:5.1f} s {run}", file=sys.stderr)
    return str(run), why, run.passed


# ---- all of them ---------------------------------------------------------------------------------


def play_alone(top, number, way):
    """With settings of the server, which hold for all."""
    url = os.environ["SUPAFS_DEVSERVER_ADMIN"].rstrip("/") + "/settings"
    with urllib.request.urlopen(url, timeout=10) as reply:
        before = json.load(reply)
    admin("PUT", "/settings", way[0].settings)
    result = play(top, number, way)
    admin("DELETE", "/faults")
    admin("PUT", "/settings", {k: before[k] for k in way[0].settings})
    return result


def play_all(top, prefix, plan):
    """The results in the order of the plan. Each process starts daemons only while it has no file
    open: what a child closes at its exec is a close like any other, and sends half a file."""
    results = {}
    with concurrent.futures.ProcessPoolExecutor(AT_ONCE) as pool:
        for i, way in enumerate(plan):
            if not way[0].settings:
                results[i] = pool.submit(play, top, f"{prefix}{i}", way)
        results = {i: result.result() for i, result in results.items()}
    for i, way in enumerate(plan):
        if way[0].settings:
            results[i] = play_alone(top, f"{prefix}{i}", way)
    return [results[i] for i in range(len(plan))]


def ways(labels, passed, runs):
    """(scenario, label, nth, twice): so many for each label, of the scenarios that passed it; those
    that were least in use come first."""
    used = collections.Counter()
    for label in labels:
        passing = sorted((s for s in SCENARIOS if passed[s][label]),
                         key=lambda s: (used[s] + s.cost, SCENARIOS.index(s)))
        every = [(s, label, nth, twice) for twice in (False, True) for s in passing
                 for nth in range(1, passed[s][label] + 1)]
        for way in itertools.islice(itertools.cycle(every), runs):
            used[way[0]] += 1
            yield way


def main(top, table, runs, only):
    with open(table) as steps:
        labels = re.findall(r'^SF_STEP\(\w+, "([^"]+)"', steps.read(), re.M)
    began = time.monotonic()
    plain = play_all(top, "p", [(s,) for s in SCENARIOS])
    passed = {s: result[2] for s, result in zip(SCENARIOS, plain)}
    wrong = [f"{label}: no scenario passes it" for label in labels
             if not any(steps[label] for steps in passed.values())]
    plan = [way for way in ways(labels, passed, runs) if not only or way[1] in only]
    results = plain + play_all(top, "", plan)
    wrong += [f"{what}: {why}" for what, why, _ in results if why]
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{len(SCENARIOS)} scenarios, {len(labels)} steps, {len(plan)} runs, {len(wrong)} wrong, "
          f"{time.monotonic() - began:.1f} s", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
