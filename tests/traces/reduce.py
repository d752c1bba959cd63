#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reduce `strace -f -y -ttt -e trace=openat` on stdin to a trace (README.md) of the files opened for reading.

usage: reduce.py FOLDER...

Only files below a FOLDER are kept. The trace has all files of each folder in which one was opened. A file that is
opened again within three seconds is left out: its pages are in the kernel. Times are rounded down to 10 ms.
"""
import os
import re
import sys

LINE = re.compile(r'^(?:\d+ +)?(\d+\.\d+) openat\([^<]*<([^>]*)>, "((?:[^"\\]|\\.)*)", ([A-Z_|]+)')


def main():
    folders = [os.path.realpath(f) + "/" for f in sys.argv[1:]]
    opens, last = [], {}
    for line in sys.stdin:
        m = LINE.match(line)
        if not m or "O_DIRECTORY" in m[4] or "O_WRONLY" in m[4] or "O_CREAT" in m[4]:
            continue
        path = os.path.realpath(os.path.join(m[2], m[3]))
        if os.path.isfile(path) and any(path.startswith(f) for f in folders):
            t = int(float(m[1]) * 100) * 10
            if t - last.get(path, 0) >= 3000:
                opens.append((t, path))
                last[path] = t
    number = {}
    for folder in sorted({os.path.dirname(p) for _, p in opens}):
        print("d")
        for name in sorted(os.listdir(folder), key=os.fsencode):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                number[path] = len(number)
                print("f %d" % os.path.getsize(path))
    now, line = opens[0][0], "r"
    for t, p in opens:
        token = ("+%d " % (t - now) if t > now else "") + str(number[p])
        now = max(now, t)
        if len(line) + len(token) > 99:
            print(line)
            line = "r"
        line += " " + token
    print(line)


main()
