#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory listed while another client changes it: is every `ls` right?

  listing.py churn BUCKET DIR COUNT LOG    adds and deletes DIR/f-NNNNNN-xK until SIGTERM; each change
                                           is noted in LOG with the times before and after it
  listing.py judge PATH COUNT LOG ROUNDS GRACE
                                           runs `ls` ROUNDS times and judges each

The directory holds f-000000 to f-(COUNT-1) throughout. A listing is right when each of these is there
exactly once, no name is there twice, what was added at least GRACE seconds before the `ls` began and
not touched again is there, what was deleted that long before is not, and nothing else is.
"""
import json
import os
import random
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
import objects  # noqa: E402


def churn(bucket, folder, count, log):
    api = objects.Api()
    going = [True]
    signal.signal(signal.SIGTERM, lambda *_: going.clear())
    alive, serial = [], 0
    with open(log, "w", encoding="utf-8", buffering=1) as out:
        while going:
            add = len(alive) < 50 or random.random() < 0.5
            if add:
                serial += 1
                name = f"f-{random.randrange(count):06d}-x{serial}"
            else:
                name = alive.pop(random.randrange(len(alive)))
            path = f"/object/{objects.quote(bucket)}/{objects.quote(folder)}/{name}"
            began = time.monotonic()
            if add:
                api.call("POST", path, b"x", "text/plain")
                alive.append(name)
            else:
                api.call("DELETE", path)
            out.write(json.dumps([began, time.monotonic(), add, name]) + "\n")


def events(log):
    with open(log, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


def problems(listed, count, changes, began, ended, grace):
    """What is wrong with one listing. A name is added once and deleted at most once."""
    found = []
    seen = set()
    for name in listed:
        if name in seen:
            found.append(f"{name} is listed twice")
        seen.add(name)
    stayed = {f"f-{i:06d}" for i in range(count)}
    found += [f"{name} is missing and was there throughout" for name in sorted(stayed - seen)]
    must, may = set(), set()
    for start, end, add, name in changes:
        if start > ended:
            break
        if add:
            may.add(name)
            if end < began - grace:
                must.add(name)
        else:
            must.discard(name)
            if end < began - grace:
                may.discard(name)
    found += [f"{name} is missing and was added before" for name in sorted(must - seen)]
    found += [f"{name} is listed and is not there" for name in sorted(seen - stayed - may)]
    return found


def judge(path, count, log, rounds, grace):
    wrong = 0
    for number in range(rounds):
        before = len(events(log))
        began = time.monotonic()
        listed = subprocess.run(["ls", "-U", "-1", path], check=True, capture_output=True,
                                text=True).stdout.splitlines()
        ended = time.monotonic()
        while events(log)[-1][0] < ended:  # the changes during the listing are all noted
            time.sleep(0.05)
        changes = events(log)
        found = problems(listed, count, changes, began, ended, grace)
        print(f"ls {number + 1}: {len(listed)} names in {ended - began:.2f} s, "
              f"{before} changes before, {len(found)} problems")
        for text in found[:20]:
            print("    " + text)
        wrong += len(found)
        time.sleep(random.random() * 2 * grace)
    return 1 if wrong else 0


def main(arguments):
    if len(arguments) == 5 and arguments[0] == "churn":
        return churn(arguments[1], arguments[2], int(arguments[3]), arguments[4])
    if len(arguments) == 6 and arguments[0] == "judge":
        return judge(arguments[1], int(arguments[2]), arguments[3], int(arguments[4]),
                     float(arguments[5]))
    raise SystemExit(__doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
