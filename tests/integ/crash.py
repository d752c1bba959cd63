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
sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), d) for d in (".", "../lib")]
import objects  # noqa: E402
from crash_scenarios import SCENARIOS, Wrong, wait_for  # noqa: E402

AT_ONCE = 3
DIED = (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.EINTR)


def admin(method, path, value=None):
    body = None if value is None else json.dumps(value).encode()
    url = os.environ["SUPAFS_DEVSERVER_ADMIN"].rstrip("/") + path
    urllib.request.urlopen(urllib.request.Request(url, body, method=method), timeout=10).read()


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
        self.missed = False  # the step did not come this time, so nothing was interrupted
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
                   "stop_timeout=5s", "log_target=stderr", "attr_ttl=0",
                   "unsafe_state_dir"]  # the directory for files may be in memory
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
            self.missed = not self.scenario.steady and self.daemon.returncode == 0
            if not self.missed:
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
        # 1: something waits for the next one; SIGTERM: it had not begun to serve
        if self.daemon.returncode not in (0, 1, -signal.SIGKILL, -signal.SIGTERM):
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
    """What was played, what went wrong (None: nothing), the steps that were passed, and whether the
    step at which it was to be killed was none of them."""
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
    return str(run), why, run.passed, run.missed


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
    wrong += [f"{what}: {why}" for what, why, *_ in results if why]
    missed = sum(result[3] for result in results)
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{len(SCENARIOS)} scenarios, {len(labels)} steps, {len(plan)} runs ({missed} missed "
          f"the step), {len(wrong)} wrong, {time.monotonic() - began:.1f} s", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
