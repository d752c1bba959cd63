#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reduce `strace -f -ttt -e trace=openat` on stdin to a trace (README.md) of the files opened for reading.

usage: reduce.py START-FOLDER FOLDER...

Only files below a FOLDER are kept, no shared libraries. A file that is opened again within three seconds is left out: its
pages are in the kernel. Times are rounded down to 10 ms.
"""
import os
import re
import sys

LINE = re.compile(r'^(\d+) +(\d+\.\d+) openat\(AT_FDCWD, "((?:[^"\\]|\\.)*)", ([A-Z_|]+)')


def main():
    start, folders = sys.argv[1], [os.path.realpath(f) + "/" for f in sys.argv[2:]]
    opens, last = [], {}
    for line in sys.stdin:
        m = LINE.match(line)
        if not m or "O_DIRECTORY" in m[4] or "O_WRONLY" in m[4] or "O_CREAT" in m[4]:
            continue
        path = os.path.realpath(os.path.join(start, m[3]))
        if os.path.isfile(path) and ".so" not in path and any(path.startswith(f) for f in folders):
            t = int(float(m[2]) * 100) * 10
            if t - last.get(path, 0) >= 3000:
                opens.append((t, path))
                last[path] = t
    paths = sorted({p for _, p in opens}, key=lambda p: (os.path.dirname(p), p))
    number = {p: i for i, p in enumerate(paths)}
    folder = None
    for p in paths:
        if os.path.dirname(p) != folder:
            folder = os.path.dirname(p)
            print("d")
        print("f %d" % os.path.getsize(p))
    now, line = opens[0][0], ""
    for t, p in opens:
        token = ("+%d " % (t - now) if t > now else "") + str(number[p])
        now = max(now, t)
        if len(line) + len(token) > 100:
            print(line)
            line = ""
        line += (" " if line else "r ") + token
    print(line)


main()
