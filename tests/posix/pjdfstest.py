#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""pjdfstest.py TESTS EXCLUDE MOUNT JOBS [WHAT]...: the runner behind run-pjdfstest.

Each file runs in a directory of its own. Its assertions are told by number, and one that fails is
expected if EXCLUDE has it.
"""
import concurrent.futures
import os
import re
import signal
import subprocess
import sys

LIMIT = float(os.environ.get("SF_SUITE_TIMEOUT") or 900)  # seconds for one file
RESULT = re.compile(r"(not )?ok (\d+)(.*)")
WAIVED = "# TO" "DO"  # TAP: the suite itself expects it to fail


def numbers(text):
    """The numbers of a list such as 1-4,7."""
    out = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        out |= set(range(int(first), int(last or first) + 1))
    return out


def read_excluded(path):
    out = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                name, which, _ = line.split(None, 2)
                out.setdefault(name, set()).update(numbers(which))
    return out


def said_by(script, own):
    """What it says, as far as it comes, and whether it came to its end."""
    with subprocess.Popen(["sh", script], cwd=own, text=True, errors="replace",
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, start_new_session=True) as running:
        try:
            return running.communicate(timeout=LIMIT)[0], True
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)  # its children hold the pipe, too
            return running.communicate()[0], False


def run(tests, mount, name):
    """Numbers of the assertions that passed, and what was said of those that did not."""
    own = os.path.join(mount, name.replace("/", "-"))
    os.mkdir(own)
    said, ended = said_by(os.path.join(tests, name), own)
    passed, failed, plan = set(), {}, None
    for line in said.splitlines():
        m = RESULT.match(line)
        if m and (not m[1] or WAIVED in m[3]):
            passed.add(int(m[2]))
        elif m:
            failed[int(m[2])] = line
        elif line.startswith("1.."):
            plan = int(line[3:].split()[0])
    if not ended:
        failed[0] = f"not ok - it ran for more than {LIMIT:.0f} s, and was ended"
        return passed, failed
    for n in range(1, (plan or 1) + 1):
        if n not in passed and n not in failed:
            failed[n] = f"not ok {n} - it did not come to it"
    return passed, failed


def files(tests, wanted):
    for d in sorted(os.listdir(tests)):
        for f in sorted(os.listdir(os.path.join(tests, d)) if os.path.isdir(f"{tests}/{d}") else []):
            if f.endswith(".t") and (not wanted or d in wanted or f"{d}/{f}" in wanted):
                yield f"{d}/{f}"


def main():
    tests, exclude, mount, jobs = sys.argv[1:5]
    excluded = read_excluded(exclude)
    totals, bad = {}, 0
    print(f"{'file':<24} passed failed unexpected")
    with concurrent.futures.ThreadPoolExecutor(int(jobs)) as pool:
        names = list(files(tests, sys.argv[5:]))
        for name, (passed, failed) in zip(names, pool.map(lambda n: run(tests, mount, n), names)):
            known = excluded.get(name, set())
            unexpected = sorted(set(failed) - known)
            better = sorted(passed & known)
            bad += len(unexpected) + len(better)
            print(f"{name:<24} {len(passed):>6} {len(failed):>6} {len(unexpected):>10}")
            for n in unexpected:
                print(f"    {failed[n][:300]}")
            if better:
                print(f"    excluded, and passes: {', '.join(map(str, better))}")
            t = totals.setdefault(name.split("/")[0], [0, 0])
            t[0] += len(passed)
            t[1] += len(failed)
    totals["all"] = [sum(t[i] for t in totals.values()) for i in (0, 1)]
    for d, (ok, no) in totals.items():
        print(f"{d:<16} {ok:>6} of {ok + no:>6}")
    print(f"{bad} otherwise than pjdfstest.exclude says")
    sys.exit(1 if bad or not names else 0)


if __name__ == "__main__":
    main()
