#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads files of a mount at random and compares each byte with a copy.

  cache-crash.py MOUNTED COPY SECONDS SEED [KILL_PID KILL_AFTER]

With a process to kill: kills it (SIGKILL) after so many seconds and ends quietly; errors of reading
are then expected, wrong bytes are not. Prints how many reads were compared.
"""
import os
import random
import signal
import sys
import threading
import time

READERS = 4


class Run:
    def __init__(self, mounted, copy, seconds, seed, dies):
        self.dies = dies
        self.mounted, self.copy = mounted, copy
        self.end = time.monotonic() + seconds
        self.names = sorted(os.listdir(copy))
        self.seed = seed
        self.lock = threading.Lock()
        self.reads = 0
        self.wrong = []
        self.broken = []

    def check(self, fd, mine, off, length, name):
        got, want = os.pread(fd, length, off), os.pread(mine, length, off)
        if self.dies and len(got) < len(want) and want.startswith(got):
            raise OSError("the daemon died in the middle of a read")  # the kernel gives what it has
        if got != want:
            at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b),
                      min(len(got), len(want)))
            self.wrong.append(f"{name} at {off + at}: {len(got)} of {len(want)} bytes")
        with self.lock:
            self.reads += 1

    def read_one(self, rng):
        name = rng.choice(self.names)
        mine = os.open(os.path.join(self.copy, name), os.O_RDONLY)
        try:
            fd = os.open(os.path.join(self.mounted, name), os.O_RDONLY)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)  # the kernel's pages help nobody
                size = os.fstat(mine).st_size
                if rng.random() < 0.4 or size < 65536:
                    for off in range(0, size, 400000):
                        self.check(fd, mine, off, 400000, name)
                else:
                    for _ in range(20):
                        self.check(fd, mine, rng.randrange(size), rng.choice([1, 4096, 70000]), name)
            finally:
                os.close(fd)
        finally:
            os.close(mine)

    def reader(self, number):
        rng = random.Random(f"{self.seed}/{number}")
        while time.monotonic() < self.end and not self.wrong and not self.broken:
            try:
                self.read_one(rng)
            except OSError as failure:
                self.broken.append(failure)


def main(mounted, copy, seconds, seed, pid=None, after=None):
    run = Run(mounted, copy, float(seconds), seed, pid is not None)
    threads = [threading.Thread(target=run.reader, args=(i,)) for i in range(READERS)]
    for thread in threads:
        thread.start()
    if pid:
        time.sleep(float(after))
        os.kill(int(pid), signal.SIGKILL)
    for thread in threads:
        thread.join()
    for line in run.wrong:
        print("wrong:", line)
    if run.broken and not pid:
        print("failed:", run.broken[0])
    print(f"{run.reads} reads compared")
    return 1 if run.wrong or (run.broken and not pid) or not run.reads else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
