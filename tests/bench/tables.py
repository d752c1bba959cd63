# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies into two mounts in turns, for tests/bench/tables: ROUNDS FILES WITHOUT WITH."""
import json
import os
import statistics
import sys
import time


class Mount:
    def __init__(self, name, top):
        self.name, self.top, self.control = name, top, os.path.join(os.path.dirname(top), ".supafs")
        with open(os.path.join(self.control, "status"), encoding="utf-8") as lines:
            self.pid = next(line.split()[1] for line in lines if line.startswith("pid:"))
        self.copies, self.files, self.cpu, self.syncs = [], [], [], []

    def stats(self):
        with open(os.path.join(self.control, "stats"), encoding="utf-8") as file:
            return json.load(file)

    def worked(self):
        """Nanoseconds of the processor, of all threads."""
        tasks = f"/proc/{self.pid}/task"
        total = 0
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total

    def settle(self):
        """Until the tables have heard of everything."""
        while self.stats().get("tables_queued", 0):
            time.sleep(0.05)
        time.sleep(0.2)

    def copy(self, number, count):
        where = os.path.join(self.top, f"d{number}")
        os.mkdir(where)
        self.settle()
        syncs, worked, began = self.stats()["syncs"], self.worked(), time.monotonic_ns()
        for i in range(count):
            data = f"{self.name} {number} {i}\n".encode() * 100
            at = time.monotonic_ns()
            fd = os.open(os.path.join(where, f"f{i:04}.txt"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(fd, data)
            os.close(fd)
            self.files.append((time.monotonic_ns() - at) / 1e6)
        took = time.monotonic_ns() - began
        self.settle()  # what is done behind counts, too, but for the time
        self.copies.append(took / 1e6 / count)
        self.cpu.append((self.worked() - worked) / 1e3 / count)
        self.syncs.append((self.stats()["syncs"] - syncs) / count)

    def forget(self):
        self.copies, self.files, self.cpu, self.syncs = [], [], [], []


def main(rounds, count, without, with_tables):
    off, on = Mount("off", without), Mount("on", with_tables)
    for mount in off, on:
        mount.copy("warm", 50)
        mount.forget()
    for number in range(int(rounds)):
        for mount in (off, on) if number % 2 else (on, off):
            mount.copy(number, int(count))
    for mount in off, on:
        files = sorted(mount.files)
        print(f"tables {mount.name:<4} {statistics.mean(files):.2f} ms per file, median {statistics.median(files):.2f}, "
              f"99 % below {files[len(files) * 99 // 100]:.1f}; processor {statistics.mean(mount.cpu):.0f} us, "
              f"{statistics.mean(mount.syncs):.3f} syncs")
    ratios = sorted(b / a - 1 for a, b in zip(off.copies, on.copies))
    quarter = len(ratios) // 4
    print(f"added: median {statistics.median(ratios):+.2%} of {len(ratios)} pairs, the middle half {ratios[quarter]:+.2%} to "
          f"{ratios[-1 - quarter]:+.2%}; of the median file "
          f"{statistics.median(on.files) / statistics.median(off.files) - 1:+.2%}")


main(*sys.argv[1:])
