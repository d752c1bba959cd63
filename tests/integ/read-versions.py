#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of a mount, and a foreign writer who replaces what they read.

  read-versions.py DIRECTORY BUCKET SECONDS TTL SEED

Every version of a file says in each 4 KiB block which version it is and how long, and carries its
own hash. Whatever is read through one open is of one version, whole, or ends with ESTALE; an open
sees at least the version whose upload had ended TTL seconds before it.
"""
import errno
import hashlib
import os
import random
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import objects  # noqa: E402

BLOCK = 4096
HEAD = 96
FILES = {"small": (1, 40), "medium": (30, 300), "large": (700, 1800), "other": (20, 60)}  # blocks
READERS = 5


def block_of(version, size, index, digest):
    head = b"%010d %012d %08d %s\n" % (version, size, index, digest)
    body = hashlib.sha256(b"%d/%d" % (version, index)).digest() * (BLOCK // 32)
    return head.ljust(HEAD, b".") + body[:BLOCK - HEAD]


def digest_of(version, size):
    return hashlib.sha256(b"%d:%d" % (version, size)).hexdigest().encode()[:48]


def make(version, size):
    digest = digest_of(version, size)
    count = (size + BLOCK - 1) // BLOCK
    return b"".join(block_of(version, size, i, digest) for i in range(count))[:size]


class Wrong(Exception):
    pass


class World:
    def __init__(self, directory, bucket, seconds, ttl, seed):
        self.directory, self.bucket, self.ttl = directory, bucket, ttl
        self.end = time.monotonic() + seconds
        self.lock = threading.Lock()
        self.done = {name: [] for name in FILES}  # (when its upload had ended, version)
        self.next = 0
        self.counts = {"versions": 0, "opens": 0, "blocks": 0, "whole": 0, "stale": 0, "gone": 0}
        self.failures = []
        self.seed = seed

    def over(self):
        return self.failures or time.monotonic() > self.end

    def count(self, name, by=1):
        with self.lock:
            self.counts[name] += by


def writer(world, name, rng):
    """One file: grown, shrunk, of the same length, and now and then removed first."""
    api = objects.Api()
    low, high = FILES[name]
    path = f"/object/{world.bucket}/{name}"
    size, first = low * BLOCK, True
    while not world.over():
        how = rng.choice(["same", "same", "grow", "shrink", "any", "gone"])
        if how == "grow":
            size = min(high * BLOCK, size + rng.randrange(1, 20000))
        elif how == "shrink":
            size = max(1 + HEAD, size - rng.randrange(1, 20000))
        elif how == "any":
            size = rng.randrange(HEAD + 1, high * BLOCK)
        with world.lock:
            world.next += 1
            version = world.next
        if how == "gone" and not first:
            api.call("DELETE", path)
            time.sleep(rng.random() * 0.05)
        api.headers["x-upsert"] = "true"
        api.call("POST", path, make(version, size), "application/octet-stream")
        api.headers.pop("x-upsert")
        with world.lock:
            world.done[name].append((time.monotonic(), version))
            world.counts["versions"] += 1
        first = False
        time.sleep(rng.choice([0.02, 0.1, 0.3, 1.0]) * rng.random())


class Reading:
    """What one open has seen."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self.version = self.size = None
        with world.lock:
            before = time.monotonic() - world.ttl
            ended = [v for when, v in world.done[name] if when <= before]
        self.oldest = ended[-1] if ended else 0

    def check(self, data, offset):
        """Whole blocks only; the last of the file may be short."""
        for at in range(0, len(data), BLOCK):
            block = data[at:at + BLOCK]
            if len(block) < HEAD:  # the last one, which has not all of its head
                if self.version is not None and block != make_block(
                        self.version, self.size, (offset + at) // BLOCK):
                    raise Wrong(f"{self.name} at {offset + at}: not the end: {block!r}")
                continue
            try:
                version, size, index, digest = block[:HEAD].split(b" ", 3)
                version, size, index = int(version), int(size), int(index)
            except ValueError:
                raise Wrong(f"{self.name} at {offset + at}: no block: {block[:60]!r}") from None
            if self.version is None:
                self.version, self.size = version, size
                if version < self.oldest:
                    raise Wrong(f"{self.name}: opened version {version}, {self.oldest} was there")
            if (version, size) != (self.version, self.size):
                raise Wrong(f"{self.name} at {offset + at}: version {version} ({size} bytes) "
                            f"in a read of {self.version} ({self.size})")
            want = make_block(version, size, (offset + at) // BLOCK)
            if block != want:
                first = next((i for i, (a, b) in enumerate(zip(block, want)) if a != b),
                             min(len(block), len(want)))
                raise Wrong(f"{self.name} at {offset + at}: block {index} of version {version} "
                            f"({size} bytes) is wrong from byte {first} on, has {len(block)} of "
                            f"{len(want)} bytes, {block[first:first + 8]!r}; asked for "
                            f"{len(data)} at {offset}")
        self.world.count("blocks", (len(data) + BLOCK - 1) // BLOCK)

    def check_length(self, length):
        if self.version is not None and length != self.size:
            raise Wrong(f"{self.name}: version {self.version} has {self.size} bytes, read {length}")


def make_block(version, size, index):
    whole = block_of(version, size, index, digest_of(version, size))
    return whole[:size - index * BLOCK]


def read_through(fd, reading, rng):
    at = 0
    while True:
        data = os.pread(fd, rng.choice([1, 4, 16, 64, 256]) * BLOCK, at)
        if not data:
            break
        reading.check(data, at)
        at += len(data)
        if at % BLOCK:
            break
        if rng.random() < 0.3:
            time.sleep(rng.random() * 0.05)
    if os.pread(fd, BLOCK, at) and at % BLOCK:
        raise Wrong(f"{reading.name}: bytes behind the end")
    reading.check_length(at)
    reading.world.count("whole")


def read_here_and_there(fd, reading, rng):
    size = max(1, os.fstat(fd).st_size)
    for _ in range(rng.randrange(1, 12)):
        at = rng.randrange(0, (size + BLOCK - 1) // BLOCK) * BLOCK
        data = os.pread(fd, rng.choice([1, 1, 8, 32]) * BLOCK, at)
        if data:
            reading.check(data, at)
        if rng.random() < 0.5:
            time.sleep(rng.random() * 0.1)


def reader(world, rng):
    while not world.over():
        name = rng.choice(list(FILES))
        reading = Reading(world, name)
        try:
            fd = os.open(os.path.join(world.directory, name), os.O_RDONLY)
        except OSError as failure:
            if failure.errno not in (errno.ENOENT, errno.ESTALE):
                raise
            world.count("gone")
            time.sleep(0.01)
            continue
        world.count("opens")
        try:
            rng.choice([read_through, read_through, read_here_and_there])(fd, reading, rng)
        except OSError as failure:
            if failure.errno != errno.ESTALE:
                raise Wrong(f"{name}: {failure}") from None
            world.count("stale")
        finally:
            os.close(fd)


def guarded(world, work, *arguments):
    try:
        work(world, *arguments)
    except BaseException as failure:
        world.failures.append(failure)


def main(directory, bucket, seconds, ttl, seed):
    world = World(directory, bucket, float(seconds), float(ttl), seed)
    threads = [threading.Thread(target=guarded, args=(world, writer, name,
                                                      random.Random(f"{seed}/{name}")))
               for name in FILES]
    threads += [threading.Thread(target=guarded, args=(world, reader, random.Random(f"{seed}/{i}")))
                for i in range(READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(" ".join(f"{name}={n}" for name, n in world.counts.items()))
    for failure in world.failures:
        print("wrong:", failure if isinstance(failure, Wrong) else repr(failure))
    few = [name for name in ("versions", "whole", "blocks") if world.counts[name] < 10]
    if few:
        print("too little was seen of", *few)
    return 1 if world.failures or few else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
