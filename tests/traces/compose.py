#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write one of the composed traces (README.md) to stdout:  compose.py scan|loop|twice|shift|pictures|random

The same in every run, but for the libraries' generators of random numbers: the traces are kept, not made by the tests.
"""
import random
import sys

MIB = 1 << 20


def reads(tokens):
    line = "r"
    for t in tokens:
        if len(line) + len(t) > 99:
            print(line)
            line = "r"
        line += " " + t
    print(line)


def zipf(rng, n):
    """A number below n; the first ones far more often."""
    return min(int(n * rng.random() ** 3), n - 1)


def scan():
    """People work with 200 files (a few of them often, most now and then); a backup reads everything else once
    meanwhile."""
    rng = random.Random(1)
    print("d")
    for i in range(200):
        print("f", MIB if i % 5 == 0 else 4096 + i * 300)
    print("d")
    for i in range(30):
        print("f", 4 * MIB - i * 1000)
        print("f", 3000 + 4000 * i, "40")
    print("p 100")
    reads(str(zipf(rng, 200)) for _ in range(1500))
    rest = iter(range(200, 200 + 30 * 41))
    reads(str(next(rest)) if i % 3 else str(zipf(rng, 200)) for i in range(1845))
    reads(str(zipf(rng, 200)) for _ in range(1500))


def loop():
    """The same files are read through ten times, in the same order: a training run, a nightly check."""
    print("d\nf %d 60\nf 20000 400\np 100" % (2 * MIB))
    for _ in range(10):
        reads(["0-459"])


def twice():
    """Each file is read again when 300 others were read, and then never again. Bad for a policy that asks for a proof before
    it keeps something: what is proven is what is not needed any more."""
    print("d\nf 65536 3000\np 100")
    reads("%d %d" % (i, i - 300) if i >= 300 else str(i) for i in range(3000))


def shift():
    """Work with one set of 300 files, some far more often than others, then with another one, then a third."""
    rng = random.Random(4)
    for _ in range(3):
        print("d\nf 65536 300")
    print("p 1000")
    for first in 0, 300, 600:
        reads(str(first + zipf(rng, 300)) for _ in range(2000))


def pictures():
    """A folder of 200 pictures is opened: a viewer reads the 200 thumbnails (beside it, as photo tools keep them) in the order
    of the listing, then someone looks at the pictures one after the other, three seconds each."""
    rng = random.Random(2)
    print("d")
    for _ in range(200):
        print("f", rng.randrange(6000, 18000))
    print("d")
    for _ in range(200):
        print("f", rng.randrange(2 * MIB, 4 * MIB))
    print("p 25\nr 0-199\np 3000\nr 200-399")


def random_reader():
    """Records are looked up, ten a second, anywhere: in 40 folders of 250 files, then in one of 2,500."""
    rng = random.Random(3)
    for _ in range(40):
        print("d")
        for _ in range(10):
            print("f", rng.randrange(1000, 60000), 25)
    print("d")
    for _ in range(100):
        print("f", rng.randrange(1000, 60000), 25)
    print("p 100")
    reads(str(rng.randrange(10000)) for _ in range(2000))
    reads(str(rng.randrange(10000, 12500)) for _ in range(2000))


{"scan": scan, "loop": loop, "twice": twice, "shift": shift, "pictures": pictures, "random": random_reader}[sys.argv[1]]()
