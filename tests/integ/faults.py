#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs at work in a mount whose service fails, and what came of it.

  faults.py work MOUNT BUCKET STATE SEED SECONDS CYCLE FAULT...
  faults.py slots MOUNT BUCKET STATE SEED REQUESTS AT-ONCE FAULT...
  faults.py list

work: each fault for SECONDS, in cycles of CYCLE seconds. Behind each cycle the faults are off, all
has to settle, and what was acknowledged is compared with the bucket and the mount. A FAULT is one of
tests/lib/fault_kinds.py; or mix:SEED, a combination, and mix, another one in each cycle; or tour:SORT,
all faults of a sort, each for SECONDS. slots: REQUESTS requests under each fault, so many at once,
must leave every counter of the daemon as it was. STATE is its state directory.

The environment: that of project.env; FAULT_KEY_FILE, the mount's key file; FAULT_WORKERS,
FAULT_WRITEBACK, FAULT_MEMORY_KB, FAULT_PACE, FAULT_OP_LIMIT, FAULT_SETTLE_LIMIT.
"""
import base64
import errno
import hashlib
import hmac
import json
import mmap
import os
import random
import select
import signal
import struct
import sys
import threading
import time
import traceback
import urllib.request

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import fault_kinds  # noqa: E402
import fault_work  # noqa: E402

OP_LIMIT = float(os.environ.get("FAULT_OP_LIMIT", 30))
PACE = float(os.environ.get("FAULT_PACE", 0))  # seconds between two things that a worker does
SETTLE_LIMIT = float(os.environ.get("FAULT_SETTLE_LIMIT", 90))
# All of these are nothing when nothing is under way.
IDLE = ("http_active_now", "http_queued_now", "http_waiting_retry", "requests_waiting",
        "changes_running", "changes_queued", "pending_changes", "staged_files", "staged_bytes",
        "cache_fetches_now", "cache_reads_waiting", "cache_reads_waiting_memory", "open_files",
        "not_uploaded_files", "cache_ahead_now_bytes", "cache_unwritten_bytes", "parked",
        "http_active", "http_queued")


# Kept for the next request, so that there may be any number up to that of the connections.
BOUNDED = {"sockets": 20, "handles": 16}


class Wrong(Exception):
    pass


def admin(method, path, value=None):
    body = None if value is None else json.dumps(value).encode()
    url = os.environ["SUPAFS_DEVSERVER_ADMIN"].rstrip("/") + path
    with urllib.request.urlopen(urllib.request.Request(url, body, method=method)) as reply:
        return json.load(reply)


def token(expires):
    def text(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
    claims = {"role": "service_role", "iss": "supabase", "iat": 1, "exp": expires}
    signed = ".".join(text(json.dumps(part).encode())
                      for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    mac = hmac.new(os.environ["SUPABASE_JWT_SECRET"].encode(), signed.encode(), hashlib.sha256)
    return signed + "." + text(mac.digest())


def renew_key(expires):
    path = os.environ["FAULT_KEY_FILE"]
    fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(fd, token(expires).encode() + b"\n")
    os.close(fd)
    os.rename(path + ".new", path)


NEVER = 4102444800


class Mount:
    """One mount and its daemon."""

    def __init__(self, path, bucket, state):
        self.path, self.bucket, self.state = path, bucket, state
        self.pid = self.stats()["pid"]

    def stats(self):
        with open(os.path.join(self.path, ".supafs/stats"), encoding="utf-8") as file:
            return json.load(file)

    def memory_kb(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("RssAnon"))

    def descriptors(self):
        """How many of each kind; those of cached bytes are the cache's own business."""
        found, top = {}, f"/proc/{self.pid}/fd"
        for name in os.listdir(top):
            try:
                target = os.readlink(os.path.join(top, name))
            except FileNotFoundError:
                continue
            kind = target.split(":")[0] if target[0] != "/" else \
                "state" if target.startswith(self.state) else \
                "cache" if "/cache" in target else target
            found[kind] = found.get(kind, 0) + 1
        return found

    def quarantined(self):
        top = os.path.join(self.state, "quarantine")
        return sum(not name.endswith(".json") for name in os.listdir(top)) if os.path.isdir(top) else 0

    def staged(self):
        top = os.path.join(self.state, "staging")
        return len(os.listdir(top)) if os.path.isdir(top) else 0

    def settle(self, refused=False):
        """Waits until nothing is under way; returns how long that took. `refused`: attributes that
        were, and wait for the next upload, are none of it."""
        began, nudged = time.monotonic(), 1
        while True:
            stats = self.stats()
            busy = {name: stats[name] for name in IDLE if stats.get(name)}
            # The file of this very question is open, and asked for by one request of the kernel.
            for name, own in (("requests_waiting", 1), ("parked", 1)):
                if busy.get(name, 0) <= own:
                    busy.pop(name, None)
            if refused and busy.get("pending_changes") and self.only_attributes():
                busy.pop("pending_changes")
            if self.staged():
                busy["files in staging"] = self.staged()
            took = time.monotonic() - began
            if not busy:
                return took
            if took > SETTLE_LIMIT:
                with open(os.path.join(self.path, ".supafs/status"), encoding="utf-8") as file:
                    raise Wrong(f"still busy {took:.0f} s after the last fault: {busy}\n{file.read()}")
            if took > nudged:
                self.nudge()
                nudged = took + 3
            time.sleep(0.05)

    def only_attributes(self):
        with open(os.path.join(self.path, ".supafs/status"), encoding="utf-8") as file:
            kinds = [line for line in file if line.startswith("pending_kinds: ")]
        return not kinds or kinds[0].split(": ")[1].startswith("attrs") and "," not in kinds[0]

    def nudge(self):
        """An upload that succeeds lets those try that wait."""
        try:
            with open(os.path.join(self.path, self.bucket, "nudge"), "wb") as file:
                file.write(b"x")
            os.unlink(os.path.join(self.path, self.bucket, "nudge"))
        except OSError as problem:
            raise Wrong(f"a small file cannot be written with the faults off: {problem}") from None


class Trouble:
    """A fault, switched on and off; of a tour, each for a moment."""

    def __init__(self, fault, seed, moment=0):
        self.fault, self.seed, self.moment = fault, seed, moment
        self.stops, self.now = list(fault.stops), None
        self.fired, self.on, self.next, self.leave = 0, False, 0.0, 0.0

    def tick(self):
        """What there is to be done now; called often."""
        now = time.monotonic()
        if self.stops and now >= self.leave:
            self.off()
            self.now = self.stops.pop(0)
            self.leave = now + self.moment
        if now < self.next:
            return
        if self.now.tokens:
            # Good for two seconds or so, then expired for half of one.
            wall = time.time()
            renew_key(int(wall) + 2)
            self.next = now + (int(wall) + 2.5 - wall)
            self.fired += 1
            return
        pulse = self.now.pulse or (1e9, 0)
        if self.on:
            self.off()
            self.next = now + pulse[1]
        else:
            admin("PUT", "/settings", self.now.settings)
            admin("PUT", "/faults", self.now.seeded(self.seed))
            self.on, self.next = True, now + pulse[0]

    def off(self):
        if not self.now:
            return
        self.fired += sum(rule["fired"] for rule in admin("GET", "/faults")) + len(self.now.settings)
        admin("DELETE", "/faults")
        admin("PUT", "/settings", {name: 0 for name in self.now.settings})
        if self.now.tokens:
            renew_key(NEVER)
        self.on, self.next = False, 0.0


class Child:
    """A worker in a process of its own. It is told what to do through a pipe, and answers."""

    def __init__(self, make):
        self.since = mmap.mmap(-1, 64)  # when the call under way began, and what it is
        ours, theirs = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(ours[1])
            os.close(theirs[0])
            try:
                self.serve(make(), os.fdopen(ours[0], "r"), os.fdopen(theirs[1], "w"))
            finally:
                os._exit(0)
        os.close(ours[0])
        os.close(theirs[1])
        self.orders, self.answers = os.fdopen(ours[1], "w"), os.fdopen(theirs[0], "r")

    def started(self, what):
        self.since[:24] = struct.pack("d16s", time.monotonic() if what else 0.0, (what or "").encode())

    def serve(self, worker, orders, answers):
        for line in orders:
            order = json.loads(line)
            try:
                answer = self.obey(worker, order)
            except BaseException as problem:
                where = traceback.extract_tb(problem.__traceback__)[-1]
                answer = {"wrong": f"{problem}" if isinstance(problem, AssertionError) else
                          f"{worker.prefix}: {problem!r} at {where.name}:{where.lineno}"}
            print(json.dumps(answer), file=answers, flush=True)

    def obey(self, worker, order):
        if "given" in order:
            worker.given()
            return {}
        if "fault" in order:
            worker.fault = fault_kinds.named(order["fault"], order["seed"])[1]
            until = time.monotonic() + order["for"]
            while time.monotonic() < until:
                worker.step(self.started)
                time.sleep(PACE)
            report = {"done": worker.done, "failed": worker.failed, "errors": worker.errors,
                      "slowest": worker.slowest}
            worker.done, worker.failed, worker.errors = {}, {}, {}
            worker.slowest = (0, "")
            return report
        return {"copies": worker.settled(order["quarantine"])}

    def tell(self, order):
        print(json.dumps(order), file=self.orders, flush=True)

    def stuck(self):
        """What it does for too long, or nothing."""
        began, what = struct.unpack("d16s", self.since[:24])
        took = time.monotonic() - began if began else 0
        return f"{what.rstrip(bytes(1)).decode()} for {took:.0f} s" if took > OP_LIMIT else None


def gather(children, trouble=None):
    """An answer of each."""
    waiting, answers = {child.answers: child for child in children}, []
    while waiting:
        for file in select.select(list(waiting), [], [], 0.05)[0]:
            child = waiting.pop(file)
            line = file.readline()
            if not line:
                raise Wrong(f"the process {child.pid} is gone")
            answers.append(json.loads(line))
        if trouble:
            trouble.tick()
        for child in waiting.values():
            if child.stuck():
                raise Wrong(f"stuck: {child.stuck()}")
    wrong = [answer["wrong"] for answer in answers if "wrong" in answer]
    if wrong:
        raise Wrong("; ".join(wrong))
    return answers


def add(sum_, more):
    for name, count in more.items():
        sum_[name] = sum_.get(name, 0) + count


def cycle(mount, children, name, seed, seconds, figures):
    """One fault for so long, then quiet and the truth."""
    fault = fault_kinds.named(name, seed)[1]
    trouble = Trouble(fault, seed, seconds / len(fault.stops))
    for child in children:
        child.tell({"given": True})
    gather(children)
    for child in children:
        child.tell({"fault": name, "seed": seed, "for": seconds})
    try:
        answers = gather(children, trouble)
    finally:
        trouble.off()
    for answer in answers:
        add(figures["done"], answer["done"])
        add(figures["failed"], answer["failed"])
        add(figures["errors"], answer["errors"])
        figures["slowest"] = max(figures["slowest"], answer["slowest"])
    figures["fired"] += trouble.fired
    if fault.rest:
        time.sleep(0.5)
    figures["settle"] = max(figures["settle"], mount.settle(fault.refuses))
    aside = mount.quarantined()
    for child in children:
        child.tell({"quarantine": os.path.join(mount.state, "quarantine")})
    copies = sum(len(answer["copies"]) for answer in gather(children))
    figures["copies"] += copies
    if copies and not (fault.lies or fault.refuses):
        raise Wrong(f"{copies} conflict copies, and nobody else has written")
    new = aside - figures["aside"]
    figures["aside"] = aside
    if new > 0 and not fault.refuses:
        raise Wrong(f"{new} files were put aside, and nothing was refused for good")
    mount.settle(fault.refuses)
    figures["memory"] = max(figures["memory"], mount.memory_kb())
    limit = int(os.environ.get("FAULT_MEMORY_KB", 0))
    if limit and figures["memory"] > limit:
        raise Wrong(f"RssAnon {figures['memory']} kB of {limit}")


def work(mount, seed, seconds, length, names):
    workers = int(os.environ.get("FAULT_WORKERS", 3))
    top = os.path.join(mount.path, mount.bucket)
    for number in range(workers):
        os.makedirs(os.path.join(top, f"w{number}"), exist_ok=True)
    writeback = bool(os.environ.get("FAULT_WRITEBACK"))
    children = [Child(lambda number=number: fault_work.Worker(
        mount.path, mount.bucket, number, seed, writeback)) for number in range(workers)]
    failures, aside = 0, mount.quarantined()
    try:
        for name in names:
            figures = {"done": {}, "failed": {}, "errors": {}, "slowest": [0, ""], "fired": 0,
                       "settle": 0, "copies": 0, "aside": aside, "memory": 0}
            began, all_ = time.monotonic(), seconds
            if name.startswith("tour:"):
                all_ = length = seconds * len(fault_kinds.named(name, seed)[1].stops)
            try:
                while True:
                    left = began + all_ - time.monotonic()
                    cycle(mount, children, name if name != "mix" else f"mix:{seed}", seed,
                          min(length, max(left, 0.1)), figures)
                    seed += 1
                    if time.monotonic() - began >= all_:
                        break
                tell(name, figures, time.monotonic() - began)
            except Wrong as problem:
                tell(name, figures, time.monotonic() - began)
                print(f"WRONG {name} (seed {seed}): {problem}", flush=True)
                failures += 1
                break
            aside = figures["aside"]
    finally:
        for child in children:
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
    return 1 if failures else 0


def tell(name, figures, took):
    done, failed = sum(figures["done"].values()), sum(figures["failed"].values())
    slowest = figures["slowest"]
    print(f"{name:16} {took:6.1f} s {done:6} ok {failed:5} failed, fired {figures['fired']}, "
          f"slowest {slowest[0]:.1f} s {slowest[1]}, settled in {figures['settle']:.1f} s, "
          f"{figures['aside']} aside, {figures['copies']} copies, {figures['memory']} kB; "
          + " ".join(f"{k}={v}" for k, v in sorted(figures["errors"].items())), flush=True)


# ---- slots -----------------------------------------------------------------------------------------


class Crowd:
    """Many requests at once, of all kinds; what becomes of them does not matter."""

    def __init__(self, mount, seed, requests, at_once):
        self.top = os.path.join(mount.path, mount.bucket, "crowd")
        self.seed, self.left, self.at_once = seed, requests, at_once
        self.lock, self.errors, self.slowest = threading.Lock(), {}, 0

    def one(self, rng, number):
        name = os.path.join(self.top, f"c{number}")
        what = rng.randrange(8)
        if what < 3:
            fd = os.open(os.path.join(self.top, "big"), os.O_RDONLY)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.pread(fd, 20000, rng.randrange(8 << 20))
            finally:
                os.close(fd)
        elif what == 3:
            os.stat(name + str(rng.random()))
        elif what == 4:
            os.listdir(self.top if rng.random() < 0.5 else os.path.dirname(self.top))
        elif what == 5:
            os.rename(name, name + "r")
        elif what == 6:
            os.unlink(name)
        if what >= 5:
            fd = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
            try:
                os.write(fd, rng.randbytes(3000))
            finally:
                os.close(fd)

    def run(self, number):
        rng = random.Random(f"{self.seed}/{number}")
        while True:
            with self.lock:
                if self.left <= 0:
                    return
                self.left -= 1
            began, said = time.monotonic(), "ok"
            try:
                self.one(rng, number)
            except OSError as problem:
                said = errno.errorcode.get(problem.errno, "?")
            with self.lock:
                self.errors[said] = self.errors.get(said, 0) + 1
                self.slowest = max(self.slowest, time.monotonic() - began)

    def go(self):
        threads = [threading.Thread(target=self.run, args=(n,), daemon=True)
                   for n in range(self.at_once)]
        for thread in threads:
            thread.start()
        end = time.monotonic() + OP_LIMIT * 4
        for thread in threads:
            thread.join(max(0, end - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            raise Wrong(f"{sum(t.is_alive() for t in threads)} of {self.at_once} threads are stuck")


def killed_in_between(mount, seed):
    """Twenty requests of a program that is killed."""
    pid = os.fork()
    if pid == 0:
        try:
            Crowd(mount, seed + 1, 1000, 20).go()
        finally:
            os._exit(0)
    time.sleep(0.3)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def counted(mount):
    stats = mount.stats()
    held = {name: stats.get(name) for name in IDLE if name not in ("requests_waiting", "parked")}
    held["open_directories"] = stats["open_directories"]
    held["staging"] = mount.staged()
    fds = mount.descriptors()
    fds.pop("cache", None)
    held["sockets"] = fds.pop("socket", 0)
    held["handles"] = stats["http_handles"]
    held.update({f"fd {k}": v for k, v in fds.items()})
    return held


def slots(mount, seed, requests, at_once, names):
    threading.stack_size(256 << 10)
    top = os.path.join(mount.path, mount.bucket, "crowd")
    os.makedirs(top, exist_ok=True)
    with open(os.path.join(top, "big"), "wb") as file:
        file.write(random.Random(seed).randbytes(9 << 20))
    Crowd(mount, seed, requests, at_once).go()  # all threads and connections are there afterwards
    refused = any(fault_kinds.named(n if n != "mix" else f"mix:{seed}")[1].refuses for n in names)
    mount.settle(refused)  # of the work that was done before
    start = counted(mount)
    failures = 0
    for number, name in enumerate(names):
        trouble = Trouble(fault_kinds.named(name if name != "mix" else f"mix:{seed}")[1], seed)
        crowd = Crowd(mount, seed + 1000 * (number + 1), requests, at_once)
        began = time.monotonic()
        trouble.tick()
        over = threading.Event()

        def ticks(trouble=trouble, over=over):
            while not over.wait(0.05):
                trouble.tick()
        ticker = threading.Thread(target=ticks)
        ticker.start()
        try:
            killed_in_between(mount, seed)
            crowd.go()
        finally:
            over.set()
            ticker.join()
            trouble.off()
        took = time.monotonic() - began
        settled = mount.settle(refused)
        now = counted(mount)
        grown = {k: (start.get(k, 0), v) for k, v in now.items()
                 if v != start.get(k, 0) and not (k in BOUNDED and v <= BOUNDED[k])}
        print(f"{name:16} {sum(crowd.errors.values())} requests in {took:.1f} s, "
              f"fired {trouble.fired}, slowest {crowd.slowest:.1f} s, settled in {settled:.1f} s, "
              f"{mount.memory_kb()} kB; "
              + " ".join(f"{k}={v}" for k, v in sorted(crowd.errors.items())), flush=True)
        if grown:
            print(f"WRONG {name} (seed {seed}): before and after: {grown}")
            failures += 1
    return 1 if failures else 0


def main(what, *arguments):
    if what == "list":
        print("\n".join(fault_kinds.FAULTS))
        return 0
    os.umask(0o022)
    path, bucket, state, seed, first, second, *names = arguments
    mount = Mount(path, bucket, state)
    try:
        if what == "work":
            return work(mount, int(seed), float(first), float(second), names)
        return slots(mount, int(seed), int(first), int(second), names)
    except Wrong as problem:
        print(f"WRONG (seed {seed}): {problem}")
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
