#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs of all kinds at work in a mount, and what its daemon uses meanwhile.

  mixed-load.py DIRECTORY SECONDS SEED PID

Each worker has a directory of its own, with a copy of what it should hold in memory, and compares
what it reads. Prints a line of figures now and then, and at the end "slope_kb N" (growth of RssAnon
over the last half, by a straight line through the samples, for half an hour), "peak_kb N",
"fds FIRST LAST MOST" and "work ...". Status 1 when something read was wrong or failed.
"""
import os
import random
import sys
import threading
import time


def status_of(pid):
    rss = 0
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("RssAnon:"):
                rss = int(line.split()[1])
    return rss, len(os.listdir(f"/proc/{pid}/fd"))


class Worker:
    """Files of one directory, and what is in them."""

    def __init__(self, run, number):
        self.run = run
        self.rng = random.Random(f"{run.seed}/{number}")
        self.dir = os.path.join(run.directory, f"w{number}")
        self.files = {}
        self.count = 0
        os.mkdir(self.dir)

    def path(self, name):
        return os.path.join(self.dir, name)

    def some(self):
        return self.rng.choice(sorted(self.files)) if self.files else None

    def write_new(self):
        self.count += 1
        name = f"f{self.count % 60}"
        size = self.rng.choice([10, 3000, 20000, 100000, 1500000])
        data = self.rng.randbytes(size)
        with open(self.path(name), "wb") as f:
            f.write(data)
        self.files[name] = data

    def read_whole(self):
        name = self.some()
        if name:
            with open(self.path(name), "rb") as f:
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                if f.read() != self.files[name]:
                    raise AssertionError(f"{self.path(name)}: other bytes")

    def read_some(self):
        name = self.some()
        if not name:
            return
        fd = os.open(self.path(name), os.O_RDONLY)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            for _ in range(10):
                off = self.rng.randrange(len(self.files[name]))
                if os.pread(fd, 5000, off) != self.files[name][off:off + 5000]:
                    raise AssertionError(f"{self.path(name)} at {off}: other bytes")
        finally:
            os.close(fd)

    def append(self):
        name = self.some()
        if name and len(self.files[name]) < 2000000:
            more = self.rng.randbytes(self.rng.randrange(1, 9000))
            with open(self.path(name), "ab") as f:
                f.write(more)
            self.files[name] += more

    def change(self):
        name = self.some()
        if name:
            off = self.rng.randrange(len(self.files[name]))
            data = self.rng.randbytes(100)
            with open(self.path(name), "r+b") as f:
                f.seek(off)
                f.write(data)
            old = self.files[name]
            self.files[name] = old[:off] + data + old[off + 100:]

    def move(self):
        name = self.some()
        if name:
            to = f"m{self.rng.randrange(40)}"
            os.rename(self.path(name), self.path(to))
            self.files[to] = self.files.pop(name)

    def remove(self):
        name = self.some()
        if name:
            os.unlink(self.path(name))
            del self.files[name]

    def attributes(self):
        name = self.some()
        if name:
            os.chmod(self.path(name), self.rng.choice([0o600, 0o640, 0o644]))
            os.utime(self.path(name), ns=(1, self.rng.randrange(10 ** 18)))

    def look(self):
        names = {e.name: e.stat().st_size for e in os.scandir(self.dir)}
        mine = {name: len(data) for name, data in self.files.items()}
        if names != mine:
            raise AssertionError(f"{self.dir}: {sorted(names.items() ^ mine.items())[:4]}")

    def missing(self):
        for i in range(20):
            if os.path.exists(self.path(f"none{i}")):
                raise AssertionError("a file that was never made")

    def go(self):
        doings = ([self.write_new] * 5 + [self.read_whole] * 8 + [self.read_some] * 8 +
                  [self.append, self.change, self.change, self.move, self.remove, self.remove,
                   self.attributes, self.look, self.look, self.missing])
        while not self.run.over():
            what = self.rng.choice(doings)
            what()
            self.run.did(what.__name__)


class Run:
    def __init__(self, directory, seconds, seed, pid):
        self.directory, self.seed, self.pid = directory, seed, int(pid)
        self.begin = time.monotonic()
        self.seconds = float(seconds)
        self.lock = threading.Lock()
        self.done = {}
        self.failures = []
        self.samples = []

    def over(self):
        return self.failures or time.monotonic() - self.begin > self.seconds

    def did(self, what):
        with self.lock:
            self.done[what] = self.done.get(what, 0) + 1

    def guarded(self, number):
        try:
            Worker(self, number).go()
        except BaseException as failure:
            self.failures.append(f"worker {number}: {failure!r}")

    def sample(self):
        said = 0
        while not self.over():
            now = time.monotonic() - self.begin
            self.samples.append((now, *status_of(self.pid)))
            if now - said >= 300:
                said = now
                print(f"{now:.0f} s: RssAnon {self.samples[-1][1]} kB, {self.samples[-1][2]} fds, "
                      f"{sum(self.done.values())} operations", flush=True)
            time.sleep(min(5, self.seconds / 40))


def slope(samples):
    n = len(samples)
    mean_t = sum(s[0] for s in samples) / n
    mean_v = sum(s[1] for s in samples) / n
    over = sum((s[0] - mean_t) * (s[1] - mean_v) for s in samples)
    under = sum((s[0] - mean_t) ** 2 for s in samples)
    return over / under * 1800 if under else 0


def main(directory, seconds, seed, pid):
    run = Run(directory, seconds, seed, pid)
    threads = [threading.Thread(target=run.guarded, args=(i,)) for i in range(6)]
    threads.append(threading.Thread(target=run.sample))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for failure in run.failures:
        print("wrong:", failure)
    if run.failures:
        return 1
    half = [s for s in run.samples if s[0] > run.seconds / 2]
    fds = [s[2] for s in run.samples]
    print("slope_kb", round(slope(half)))
    print("peak_kb", max(s[1] for s in run.samples))
    print("fds", fds[len(fds) // 4], fds[-1], max(fds))
    print("work", *(f"{k}={v}" for k, v in sorted(run.done.items())))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
