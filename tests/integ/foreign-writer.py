#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""One operation through a mount, and one write of another client at a random moment of it, many
times: is what he wrote still anywhere?

  foreign-writer.py MOUNT-OF-THE-BUCKET BUCKET ROUNDS FUNCTION OPERATION...

FUNCTION: yes or no, whether the project has supafs_set_attrs. Prints a row for each operation: how
long it takes (median), rounds, writes that were answered 200 and are nowhere afterwards, the width
of the window in which that happens (their share of the moments tried, which reach from the
operation's begin to twice its time), operations that the mount refused.

An overwrite is counted from close(): what was written before open() is overwritten knowingly.
"""
import os
import random
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import objects  # noqa: E402

THREADS = 8  # each with a directory of its own: the kernel does one rename in one at a time
TRIAL = 8  # rounds that only tell how long the operation takes


class Round:
    def __init__(self, api, root, bucket, name):
        self.api, self.root, self.bucket, self.name = api, root, bucket, name
        self.his = f"his {name}".encode()

    def path(self, name):
        return os.path.join(self.root, name)

    def url(self, key):
        return "/object/" + objects.quote(self.bucket + "/" + key)

    def put(self, data):
        self.api.call("PUT", self.url(self.name), data, "text/plain")

    # Each does what comes before, and returns what is raced against.

    def chmod(self):
        return self.synced(lambda fd: os.fchmod(fd, 0o600))

    def touch(self):
        return self.synced(lambda fd: os.utime(fd, ns=(10 ** 18, 10 ** 18)))

    def synced(self, change):
        fd = os.open(self.path(self.name), os.O_RDONLY)

        def race():
            try:
                change(fd)
                os.fsync(fd)
            finally:
                os.close(fd)
        return race

    def rename(self):
        return lambda: os.rename(self.path(self.name), self.path(self.name + ".new"))

    def overwrite(self):
        fd = os.open(self.path(self.name), os.O_WRONLY | os.O_TRUNC)
        os.write(fd, b"ours")
        return lambda: os.close(fd)

    def delete(self):
        return lambda: os.unlink(self.path(self.name))

    def found(self):
        """Whether his bytes are under any name of this round: also a conflict's or the new one."""
        reply = self.api.call_json("POST", "/object/list-v2/" + objects.quote(self.bucket),
                                   {"prefix": self.name, "limit": 100})
        for row in reply["objects"]:
            got = self.api.call("GET", "/object/authenticated/" +
                                objects.quote(self.bucket + "/" + row["name"]))
            if got == self.his:
                return True
        return False

    def run(self, operation, span):
        """(lost, refused, seconds); with span None nobody else writes."""
        self.put(b"first")
        os.stat(self.path(self.name))
        race = getattr(self, operation)()
        refused, took = [], []

        def ours():
            begun = time.monotonic()
            try:
                race()
            except OSError as e:
                refused.append(e)
            took.append(time.monotonic() - begun)

        thread = threading.Thread(target=ours)
        thread.start()
        if span is not None:
            time.sleep(random.random() * span)
            self.put(self.his)
        thread.join()
        return span is not None and not self.found(), bool(refused), took[0]


def run_rounds(root, bucket, operation, rounds, span):
    todo, results, failures = iter(range(rounds)), [], []
    lock = threading.Lock()

    def work():
        api = objects.Api()
        while not failures:
            with lock:
                i = next(todo, None)
            if i is None:
                return
            try:
                results.append(Round(api, root, bucket, f"{operation}-{span or 0:.3f}-{i}/f").run(operation, span))
            except BaseException as e:  # SystemExit of a failed request, too
                failures.append(e)

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]
    return results


def main():
    root, bucket, rounds, function = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    bad, lost_by_attributes = [], 0
    for operation in sys.argv[5:]:
        trial = run_rounds(root, bucket, operation, TRIAL, None)
        median = sorted(r[2] for r in trial)[TRIAL // 2]
        results = run_rounds(root, bucket, operation, rounds, 2 * median)
        lost = sum(r[0] for r in results)
        refused = sum(r[1] for r in results)
        print(f"{operation:10} {function:9} {1000 * median:4.0f} ms {rounds:6} {lost:5} "
              f"{1000 * 2 * median * lost / rounds:4.0f} ms {refused:7}", flush=True)
        if operation in ("chmod", "touch"):
            lost_by_attributes += lost
    if function == "yes" and lost_by_attributes:
        bad.append("chmod and touch lose what another client writes, with the function")
    if function == "no" and not lost_by_attributes:
        bad.append("copies onto themselves lost nothing, so the test does not see losses")
    for text in bad:
        print(text, file=sys.stderr)
    sys.exit(bool(bad))


main()
