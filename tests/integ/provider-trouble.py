# SPDX-License-Identifier: GPL-3.0-or-later
"""Providers in trouble, as a program sees it that asks a mount for a file's id.

    provider-trouble.py config FILE              sections of a configuration, one for each row
    provider-trouble.py ask DIRECTORY            each asked once; prints the table that was measured
    provider-trouble.py hold MEASURED DOCUMENT   whether the document has the same table
    provider-trouble.py storm DIRECTORY COUNT    so many requests, 100 at once, with random faults
    provider-trouble.py well DIRECTORY           the same afterwards, without them: all succeed

DIRECTORY is one of a mount, with the files that they want. The environment is that of project.env.
"""
import collections
import concurrent.futures
import errno
import os
import re
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from providers import admin  # noqa: E402

TIMEOUT = 4  # seconds that an upload may take here
LEAST = {"at once": 0, "soon": 0, "1 s later": 0.95, "when its time is up": 0.7}
STORMS = 4   # providers in the storm, each with files of its own

# Site, scenario, how often it is so before all is well (None = always), when the caller is told,
# and what it is in the document.
ROWS = [
    ("kimi", "ok", None, "at once", "all is well"),
    ("kimi", "401", None, "at once", "the key is wrong"),
    ("kimi", "403", None, "at once", "the key may not do this"),
    ("kimi", "403-balance", None, "at once", "HTTP 403 for want of money"),
    ("kimi", "429-quota", None, "at once", "HTTP 429 for want of money"),
    ("kimi", "429-tpd", None, "at once", "HTTP 429, the day's tokens are used up"),
    ("kimi", "429-rpm:1", 1, "1 s later", "HTTP 429, \"try again after 1 seconds\", then well"),
    ("kimi", "429-rpm:1", None, "when its time is up",
     "HTTP 429, \"try again after 1 seconds\", always"),
    ("kimi", "429-rpm:60", None, "at once", "HTTP 429, \"try again after 60 seconds\""),
    ("kimi", "429-tpm", 1, "1 s later", "HTTP 429, tokens of the minute, then well"),
    ("kimi", "429-concurrency", 1, "1 s later", "HTTP 429, requests at once, then well"),
    ("kimi", "429-overload", 1, "soon", "HTTP 429, overloaded, then well"),
    ("kimi", "429-overload", None, "when its time is up", "HTTP 429, overloaded, always"),
    ("kimi", "400-invalid", None, "at once", "asked wrongly"),
    ("kimi", "500", 1, "soon", "HTTP 500, then well"),
    ("kimi", "500", None, "soon", "HTTP 500, always"),
    ("kimi", "html-502", 1, "soon", "a proxy's page, HTTP 502, then well"),
    ("kimi", "html-504", None, "soon", "a proxy's page, HTTP 504, always"),
    ("kimi", "empty-502", None, "soon", "HTTP 502 and nothing else, always"),
    ("kimi", "413", None, "at once", "a proxy's page, HTTP 413"),
    ("kimi", "gateway-string-error", None, "at once", "the gateway does not know the route"),
    ("kimi", "garbage", None, "at once", "HTTP 200, no JSON"),
    ("kimi", "empty-object", None, "at once", "HTTP 200, no file in it"),
    ("kimi", "zero-byte", None, "at once", "refused as empty"),
    ("kimi", "over-limit", None, "at once", "refused as too large"),
    ("kimi", "count-limit", None, "at once", "1000 files are there"),
    ("kimi", "total-limit", None, "at once", "10 GB are there"),
    ("kimi", "type-refused", None, "at once", "refused for its kind"),
    ("kimi", "purpose-refused", None, "at once", "refused for the purpose"),
    ("kimi", "extract-fails", 1, "soon", "its text cannot be read, then it can"),
    ("kimi", "extract-fails", None, "soon", "its text cannot be read"),
    ("kimi", "pending-then-ok:1", None, "soon", "ready at the second look"),
    ("kimi", "pending-then-fail:1", None, "soon", "failed at the second look"),
    ("kimi", "pending-forever", None, "when its time is up", "never ready"),
    ("kimi", "id-vanishes", None, "at once", "gone right after the upload"),
    ("kimi", "delay:500", None, "soon", "half a second late"),
    ("kimi", "hang", None, "when its time is up", "no byte comes"),
    ("kimi", "hang-after", None, "when its time is up", "the file is taken, and no byte comes"),
    ("kimi", "reset", 1, "soon", "the connection is reset, then well"),
    ("kimi", "lost-reply", 1, "soon", "the file is taken, the reply is lost"),
    ("glm", "401", None, "at once", "the key is wrong"),
    ("glm", "403", None, "at once", "HTTP 434"),
    ("glm", "429-quota", None, "at once", "1113 with HTTP 429"),
    ("glm", "429-rpm", 1, "1 s later", "1303, then well"),
    ("glm", "429-tpd", None, "at once", "1304: the day's cap"),
    ("glm", "code:1308", None, "at once", "1308: the cap of a plan"),
    ("glm", "over-limit", None, "at once", "HTTP 435"),
    ("glm", "lost-reply", 1, "soon", "the file is taken, the reply is lost"),
    ("openai", "retry-after:1", 1, "1 s later", "HTTP 429 with Retry-After: 1, then well"),
    ("openai", "503-loading,retry-after:1", 1, "1 s later",
     "HTTP 503 with Retry-After: 1, then well"),
    ("openai", "no-files", None, "at once", "no such route"),
    ("openai", "ollama", None, "at once", "an Ollama"),
    ("openai", "llama.cpp", None, "at once", "a llama.cpp"),
    ("openai", "vllm", None, "at once", "a vLLM"),
    ("openai", "lmstudio", None, "at once", "an LM Studio"),
]
STORM = [("500", 2), ("reset", 2), ("html-502", 1), ("lost-reply", 2), ("429-rpm:0", 3),
         ("429-overload", 1), ("pending-then-ok:1", 5), ("garbage", 1), ("over-limit", 1),
         ("delay:30", 10)]


def name(i):
    return f"r{i:02d}"


def section(called, site, key, base, **settings):
    lines = [f"[provider.{called}]", f"type = {site}",
             f"base_url = {os.environ['SUPABASE_URL']}{base}", f"key = {key}+{called}"]
    return "\n".join(lines + [f"{k} = {v}" for k, v in settings.items()]) + "\n"


def write_config(path):
    shown, text = admin("GET"), ""
    for i, (site, *_) in enumerate(ROWS):
        text += section(name(i), site, shown[site]["key"], shown[site]["base"],
                        upload_timeout=f"{TIMEOUT}s", timeout=f"{TIMEOUT}s")
    for i in range(STORMS):
        text += section(f"s{i}", "kimi", shown["kimi"]["key"], shown["kimi"]["base"],
                        upload_timeout="60s", concurrency=8)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
        f.write(text)


def text_of(path, attribute):
    try:
        return os.getxattr(path, attribute).decode()
    except OSError as e:
        return "-" if e.errno == errno.ENODATA else errno.errorcode[e.errno]


def get(path, provider):
    """What getxattr() says: the errno's name or "", and the id."""
    try:
        return "", os.getxattr(path, f"user.supafs.{provider}.file_id").decode()
    except OSError as e:
        return errno.errorcode[e.errno], ""


def ask_one(directory, i):
    path = os.path.join(directory, f"{i:02d}.txt")
    start = time.monotonic()
    said, _ = get(path, name(i))
    took = time.monotonic() - start
    return said, took, text_of(path, f"user.supafs.{name(i)}.error")


def plain(text, i):
    """Without what differs from run to run, and from machine to machine."""
    text = text.replace(name(i), "NAME").replace("|", "\\|")
    text = re.sub(r"127\.0\.0\.1:\d+", "HOST", text)
    text = re.sub(r" \(POST /[^)]*\)", "", text)
    text = re.sub(r"^(no reply: HOST: ).*", r"\1...", text)
    return re.sub(r"\b\d+ (ms|s|seconds)\b", r"N \1", text)


def ask_all(directory):
    rules = [{"provider": site, "account": name(i), "scenario": scenario} |
             ({} if times is None else {"times": times})
             for i, (site, scenario, times, *_) in enumerate(ROWS)]
    admin("POST", "/providers", rules)
    # No more at once than this machine can do in time.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda i: ask_one(directory, i), range(len(ROWS))))
    seen = {r["account"]: r["matched"] for r in admin("GET")["rules"]}
    for i, (site, scenario, times, when, what) in enumerate(ROWS):
        err, took, sentence = said[i]
        print(f"{site} @{scenario} {times or 'always'}: {seen[name(i)]} requests, "
              f"{int(took * 1000)} ms", file=sys.stderr)
        least, most = LEAST[when], TIMEOUT + 3
        assert least <= took <= most, (site, scenario, took)
        requests = seen[name(i)] if seen[name(i)] < 3 else "several"
        sentence = plain(sentence, i)
        err = err.replace("ENOTSUP", "EOPNOTSUPP") or "-"
        print(f"| {site} | {what} | {err} | {requests} | {when} | "
              f"{'`' + sentence + '`' if sentence != '-' else '-'} |")


def hold(measured, document):
    def rows(path):
        with open(path, encoding="utf-8") as f:
            return [line.strip() for line in f if re.match(r"\| (kimi|glm|openai) \|", line)]
    got, told = rows(measured), rows(document)
    for row in told:
        if row not in got:
            print("told:    ", row)
    for row in got:
        if row not in told:
            print("measured:", row)
    sys.exit(got != told)


def storm(directory, count):
    admin("POST", "/providers", [
        {"provider": "kimi", "account": f"s{i}", "scenario": scenario, "chance": chance,
         "seed": i * 100 + n} for i in range(STORMS) for n, (scenario, chance) in enumerate(STORM)])
    files = sorted(os.listdir(directory))
    for f in files:
        for i in range(STORMS):  # each round wants all of them anew
            os.removexattr(os.path.join(directory, f), f"user.supafs.s{i}.file_id")
    wants = [(os.path.join(directory, files[i // STORMS % len(files)]), f"s{i % STORMS}")
             for i in range(count)]
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        said = collections.Counter(err for err, _ in pool.map(lambda w: get(*w), wants))
    print(" ".join(f"{err or 'got'}:{n}" for err, n in sorted(said.items())))
    known = {"", "EIO", "EFBIG", "EPROTO", "EAGAIN", "EBUSY", "ETIMEDOUT"}
    assert set(said) <= known, said


def well(directory):
    """A rest after failures may last half a minute, what was refused is remembered for longer."""
    def once(want):
        end = time.monotonic() + 40
        while True:
            err, _ = get(*want)
            if not err or time.monotonic() > end:
                return err
            try:
                os.removexattr(want[0], f"user.supafs.{want[1]}.file_id")
            except OSError:
                pass
            time.sleep(0.1)

    files = [os.path.join(directory, f) for f in sorted(os.listdir(directory))]
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        said = collections.Counter(
            pool.map(once, [(f, f"s{i}") for f in files for i in range(STORMS)]))
    assert set(said) == {""}, said


def main(verb, *arguments):
    {"config": write_config, "ask": ask_all, "hold": hold, "well": well,
     "storm": lambda directory, count: storm(directory, int(count))}[verb](*arguments)


main(*sys.argv[1:])
