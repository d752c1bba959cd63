#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random steps on a mount and on a model of it in memory, which must always agree.

  model.py [OPTION...] DIRECTORY SEED...    plays the seeds, several at once
  model.py --replay DIRECTORY SCRIPT...     plays scripts that failures have left

  --steps N      for each seed (10000)
  --jobs N       seeds at once (2)
  --pace X       how often mounts, kills and whole comparisons come up (1)
  --options O    more options of the mounts
  --inject WHAT  the model goes wrong on purpose ("write", "ftruncate"), to try the rest
  --shrink S     seconds to make a failure small (120; 0 = not at all)
  --until S      begin no other seed after so many seconds
  --keep DIR     where scripts and logs of failures go (DIRECTORY)

A failure prints its seed, is played again with ever fewer steps from an empty bucket, and ends as a
script of the steps that are needed. Exit status: 0 all agreed, 1 not, 2 usage.
"""
import argparse
import json
import multiprocessing
import os
import shutil
import sys
import time
import traceback

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from play import Player  # noqa: E402
from steps import Generator, setup  # noqa: E402
from world import World, Wrong  # noqa: E402

STEP_SECONDS = 180  # one that takes longer hangs
AT_ONCE = 6  # tries to make a failure small


class Run:
    """One seed or list of steps in a mount of its own, played by a process of its own. What it does
    is in FOLDER/steps, a line each, so that it is known when the process or the mount is stuck."""

    def __init__(self, folder, bucket, config, steps=None, how=None):
        self.folder, self.bucket, self.config, self.steps, self.how = folder, bucket, config, steps, how

    def child(self, pipe):
        os.umask(0)
        world = None
        kind, why, done, meant = None, None, 0, 0
        try:
            world = World(os.path.join(self.folder, "world"), self.bucket, self.config["prefix"],
                          self.config["options"])
            world.ttl = self.config["ttl"]
            world.mount()
            pipe.send(world.daemon.pid)
            player = Player(world, self.how.inject)
            generator = None
            if self.steps is None:
                generator = Generator(self.config["seed"], player, self.how.pace)
            with open(os.path.join(self.folder, "steps"), "w", encoding="utf-8") as log:
                while done < (self.how.steps if generator else len(self.steps)):
                    step = generator.next() if generator else self.steps[done]
                    step = json.loads(json.dumps(step))
                    print(json.dumps(step), file=log, flush=True)
                    before = world.daemon.pid
                    meant += player.play(step)
                    done += 1
                    if world.daemon.pid != before:
                        pipe.send(world.daemon.pid)
                    world.alive()
            player.finish()
        except Wrong as e:
            kind, why = e.kind, str(e)
        except SystemExit as e:
            kind, why = "api", str(e)
        except OSError as e:
            kind, why = "oserror", traceback.format_exc()
        except Exception:
            kind, why = "harness", traceback.format_exc()
        pipe.send((kind, why, done, meant))
        os._exit(0)  # what is open is closed by world.close() of the parent

    def play(self):
        """(kind, why, steps done, steps that meant something); kind None = all agreed."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        pipe, other = multiprocessing.Pipe()
        child = multiprocessing.Process(target=self.child, args=(other,))
        child.start()
        other.close()
        result, daemon = None, None
        log = os.path.join(self.folder, "steps")
        size, since = -1, time.monotonic()
        while result is None:
            if pipe.poll(1):
                try:
                    said = pipe.recv()
                except EOFError:
                    child.join()
                    result = ("died", f"the test's process ended with {child.exitcode}", 0, 0)
                    break
                if isinstance(said, int):
                    daemon = said
                else:
                    result = said
            now = os.path.getsize(log) if os.path.exists(log) else 0
            if now != size:
                size, since = now, time.monotonic()
            if time.monotonic() - since > STEP_SECONDS:
                self.stuck(daemon)
                result = ("hang", f"a step takes more than {STEP_SECONDS} s", 0, 0)
        self.end(child, daemon)
        return result

    def stuck(self, daemon):
        """Leaves in FOLDER/stuck what the daemon has to do and what its threads are at."""
        mnt = os.path.join(self.folder, "world", "mnt")
        os.system(f"exec >{self.folder}/stuck 2>&1; timeout 60 cat {mnt}/.supafs/status; "
                  f"timeout 60 \"$SUPAFS\" queue ls {mnt}")
        if daemon and shutil.which("gdb"):
            os.system(f"timeout 120 gdb -p {daemon} -batch -ex 'thread apply all bt 16' "
                      f">>{self.folder}/stuck 2>/dev/null")

    def end(self, child, daemon):
        """Nothing of it stays but files."""
        mnt = os.path.join(self.folder, "world", "mnt")
        if daemon:
            try:
                os.kill(daemon, 9)
            except ProcessLookupError:
                pass
        child.join(5)
        if child.is_alive():
            child.kill()
            child.join()
        world = World.__new__(World)
        world.mnt = mnt
        while world.is_mounted():
            world.detach()

    def played(self):
        try:
            with open(os.path.join(self.folder, "steps"), encoding="utf-8") as log:
                return [json.loads(line) for line in log]
        except FileNotFoundError:
            return []  # it did not come so far


# ---- shrinking -----------------------------------------------------------------------------------


class Shrinker:
    """Delta debugging: ever smaller parts are left out while the same kind of failure remains.
    Most of a try is waiting, so several are made at once."""

    def __init__(self, top, config, how, kind):
        self.top, self.config, self.how, self.kind = top, config, how, kind
        self.end = time.monotonic() + how.shrink
        self.tries = 0
        self.why = None

    def attempt(self, number, steps, results):
        run = Run(os.path.join(self.top, f"shrink-{number}"), f"s{number}", self.config, steps,
                  self.how)
        kind, why, done, _ = run.play()
        shutil.rmtree(run.folder, ignore_errors=True)
        results.put((number, why, done + 1 if kind == self.kind else 0))

    def attempts(self, lists):
        """What is left of each, up to its failure; None for one that fails otherwise or agrees."""
        results = multiprocessing.SimpleQueue()
        numbers = [f"{os.getpid()}-{self.tries + i}" for i in range(len(lists))]
        self.tries += len(lists)
        workers = [multiprocessing.Process(target=self.attempt, args=(number, steps, results))
                   for number, steps in zip(numbers, lists)]
        for worker in workers:
            worker.start()
        ended = {number: (why, done) for number, why, done in (results.get() for _ in workers)}
        for worker in workers:
            worker.join()
        left = []
        for number, steps in zip(numbers, lists):
            why, done = ended[number]
            self.why = why if done else self.why
            left.append(steps[:done] if done else None)
        return left

    def late(self):
        return time.monotonic() > self.end

    def shrink(self, steps):
        """The steps that are needed, as far as there was time. None: it does not fail again."""
        ends = [steps[-n:] for n in (10, 40, 160) if n < len(steps)]
        steps = next((left for left in self.attempts([*ends, steps, steps]) if left), None)
        size = len(steps or []) // 2
        while size and not self.late():
            shorter = self.without_parts(steps, size)
            less, steps = len(shorter) < len(steps), shorter
            size = size // 2 or int(less)
        return steps

    def without_parts(self, steps, size):
        at = 0
        while at < len(steps) and not self.late():
            parts = range(at, min(len(steps), at + AT_ONCE * size), size)
            left = self.attempts([steps[:part] + steps[part + size:] for part in parts])
            spare = [part for part, shorter in zip(parts, left) if shorter]
            both = None
            if len(spare) > 1:
                both = self.attempts([[step for i, step in enumerate(steps) if not any(
                    part <= i < part + size for part in spare)]])[0]
            if both:
                steps, at = both, at + size * (len(parts) - len(spare))
            elif spare:
                steps, at = left[parts.index(spare[0])], spare[0]
            else:
                at += size * len(parts)
        return steps


def script(path, config, kind, why, steps):
    with open(path, "w", encoding="utf-8") as file:
        print(f"# {kind}: " + why.strip().replace("\n", "\n# "), file=file)
        print(json.dumps(config), file=file)
        for step in steps:
            print(json.dumps(step), file=file)


def read_script(path):
    with open(path, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file if line.strip() and not line.startswith("#")]
    return lines[0], lines[1:]


# ---- all -----------------------------------------------------------------------------------------


def tail(path, lines):
    try:
        with open(path, errors="replace", encoding="utf-8") as file:
            return "".join("    " + line.rstrip()[:240] + "\n" for line in file.readlines()[-lines:])
    except OSError:
        return ""


def failed(top, how, config, run, kind, why):
    """Says what went wrong, and leaves a script of it."""
    seed = config["seed"]
    steps = run.played()
    path = os.path.join(how.keep, f"seed-{seed}.steps")
    script(path, config, kind, why, steps)
    if kind == "hang":
        shutil.copy(os.path.join(run.folder, "stuck"), os.path.join(how.keep, f"seed-{seed}.stuck"))
    print(f"seed {seed}: {kind}: {why}\n  at step {len(steps)}: {json.dumps(steps[-1:])}\n"
          f"  options {','.join(config['options'])} prefix {config['prefix'] or '-'}\n"
          f"  all steps: {path}\n" + tail(os.path.join(run.folder, "world", "daemon.log"), 12),
          flush=True)
    if not how.shrink:
        return
    shrinker = Shrinker(top, config, how, kind)
    small = shrinker.shrink(steps)
    if small is None:
        print(f"seed {seed}: does not fail when it is played again", flush=True)
        return
    path = os.path.join(how.keep, f"seed-{seed}.small")
    script(path, config, kind, shrinker.why, small)
    print(f"seed {seed}: {len(small)} steps are enough ({shrinker.tries} tries): {path}",
          flush=True)
    for step in small[:40]:
        print("    " + json.dumps(step)[:200], flush=True)


def play_seed(top, how, seed):
    """Steps that meant something; None = they did not agree."""
    config = setup(seed)
    config["options"] += how.options
    run = Run(os.path.join(top, f"seed-{seed}"), f"m{os.getpid()}-{seed}", config, None, how)
    began = time.monotonic()
    kind, why, done, meant = run.play()
    if kind:
        failed(top, how, config, run, kind, why)
    else:
        print(f"seed {seed}: {done} steps agreed, {meant} of them with a meaning, "
              f"{time.monotonic() - began:.0f} s", flush=True)
        shutil.rmtree(run.folder, ignore_errors=True)
    return None if kind else meant


def replay(top, how, path):
    config, steps = read_script(path)
    config["options"] = config["options"] + how.options
    name = os.path.basename(path).replace(".", "-")
    run = Run(os.path.join(top, f"replay-{name}"), f"p{os.getpid()}-{name}", config, steps, how)
    kind, why, done, meant = run.play()
    if kind:
        print(f"{path}: {kind}: {why}\n  at step {done + 1} of {len(steps)}: "
              f"{json.dumps(steps[done]) if done < len(steps) else 'the end'}\n" +
              tail(os.path.join(run.folder, "world", "daemon.log"), 20), flush=True)
        return None
    print(f"{path}: {done} steps agreed", flush=True)
    shutil.rmtree(run.folder, ignore_errors=True)
    return meant


def work(top, how, todo, results):
    for each in iter(todo.get, None):
        if how.until and time.monotonic() > how.deadline:
            continue
        try:
            meant = replay(top, how, each) if how.replay else play_seed(top, how, int(each))
            results.put((each, meant))
        except BaseException:
            traceback.print_exc()
            results.put((each, None))
    results.put(None)


def play_all(top, how):
    """Seeds or scripts, several at once. Whether all agreed, as an exit status."""
    todo, results = multiprocessing.Queue(), multiprocessing.Queue()
    jobs = min(how.jobs, len(how.what))
    for each in how.what + [None] * jobs:
        todo.put(each)
    workers = [multiprocessing.Process(target=work, args=(top, how, todo, results))
               for _ in range(jobs)]
    for worker in workers:
        worker.start()
    done, ended = {}, 0
    while ended < jobs:
        result = results.get()
        if result is None:
            ended += 1
        else:
            done[result[0]] = result[1]
    for worker in workers:
        worker.join()
    bad = sorted(each for each, meant in done.items() if meant is None)
    print(f"{len(done)} {'scripts' if how.replay else 'seeds'}, {len(bad)} failed"
          f"{': ' if bad else ''}{' '.join(bad)}", flush=True)
    return 1 if bad or not done else 0


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--pace", type=float, default=1)
    parser.add_argument("--options", type=lambda text: text.split(";"), default=[])
    parser.add_argument("--inject")
    parser.add_argument("--shrink", type=float, default=120)
    parser.add_argument("--until", type=float, default=0)
    parser.add_argument("--keep")
    parser.add_argument("--replay", action="store_true")
    parser.add_argument("directory")
    parser.add_argument("what", nargs="+")
    how = parser.parse_args()
    top = os.path.abspath(how.directory)
    how.keep = how.keep or top
    how.deadline = time.monotonic() + how.until
    os.makedirs(how.keep, exist_ok=True)
    return play_all(top, how)


if __name__ == "__main__":
    sys.exit(main())
