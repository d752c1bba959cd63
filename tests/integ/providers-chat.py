# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns of a chat through src/provider with the emulated providers. argv: the program chat-probe.
The environment is that of project.env.

Prints a line per check; exit status 1 when any fails.
"""
import concurrent.futures
import json
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from providers import ADDRESS, MODELS, Site, admin, same, sha256  # noqa: E402

SITES = {name: Site(name) for name in ("kimi", "glm", "zai", "openai")}
TYPES = {"kimi": "kimi", "glm": "glm", "zai": "glm", "openai": "openai"}
QUESTION = "Was steht da? find: Text"
CHECKS = []

# Ways to answer that come to the same.
FINE = ("ok", "one-byte-writes", "crlf", "comments", "no-space", "many-data", "no-blank", "escapes",
        "slow:20:200", "words:300", "usage-in-choice", "usage-trailing", "usage-last",
        "json-instead-of-sse", "one-byte-writes,crlf,comments,many-data,escapes", "reasoning")

# Scenario: class, whether something of the answer came before, attempts (0 = more than one).
BAD = {
    "no-done": ("no reply", True, 1), "cut": ("no reply", True, 1),
    "reset": ("no reply", True, 1), "hang:4": ("timeout", True, 1),
    "reasoning-only": ("no answer", True, 1), "empty-200": ("no answer", False, 1),
    "mid-error:event": ("overloaded", True, 1), "mid-error:done": ("overloaded", True, 1),
    "mid-error:line": ("overloaded", True, 1), "mid-error:string": ("server error", True, 1),
    "finish:sensitive": ("refused content", True, 1),
    "finish:network_error": ("server error", True, 1),
    "error-200": ("too long", False, 1), "garbage": ("bad answer", False, 1),
    "empty-object": ("bad answer", False, 1), "401": ("key refused", False, 1),
    "403": ("not permitted", False, 1), "403-balance": ("no balance", False, 1),
    "404-model": ("no such model", False, 1), "429-quota": ("no balance", False, 1),
    "429-tpd": ("cap reached", False, 1), "400-toolong": ("too long", False, 1),
    "400-invalid": ("bad request", False, 1), "413": ("too large", False, 1),
    "filter": ("refused content", False, 1), "gateway-string-error": ("no such API", False, 1),
    "500": ("server error", False, 2), "html-502": ("server error", False, 2),
    "empty-502": ("server error", False, 2), "lost-reply": ("no reply", False, 2),
    "429-overload": ("overloaded", False, 0),
}
OTHERWISE = {  # OpenAI tells of too much to do by a type that says less
    ("openai", "mid-error:event"): "server error", ("openai", "mid-error:done"): "server error",
    ("openai", "mid-error:line"): "server error",
}


def check(function):
    CHECKS.append(function)
    return function


def probe_of(site):
    base = f"http://{ADDRESS[0]}:{ADDRESS[1]}{SITES[site].base}"
    return subprocess.Popen([sys.argv[1], TYPES[site], base], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE,
                            env=os.environ | {"SUPAFS_PROBE_KEY": SITES[site].key})


PROBES = {site: probe_of(site) for site in SITES}


def ask(site, scenario, deadline=20000, idle=10000, question=QUESTION):
    line = f"{MODELS[site]}@{scenario} {deadline} {idle} {question}\n"
    PROBES[site].stdin.write(line.encode())
    PROBES[site].stdin.flush()
    return json.loads(PROBES[site].stdout.readline())


def requests(site):
    return SITES[site].state()["by_route"].get("chat", 0)


def each_site(function):
    """At the same time: most of it is waiting."""
    with concurrent.futures.ThreadPoolExecutor(len(SITES)) as pool:
        return list(pool.map(function, SITES))


def right_answer(what, got, question=QUESTION):
    same(what + ", class", "ok", got["class"])
    lines = got["answer"].split("\n")
    same(what, "Grüße — 你好 🙂", lines[0])
    same(what, f"system 1: 10 bytes, sha256 {sha256('Ein Text.' + chr(10))}", lines[1])
    same(what, f"user 1: {len(question.encode())} bytes, sha256 {sha256(question)}", lines[2])
    same(what + ", cut", False, got["truncated"])
    same(what + ", attempts", 1, got["attempts"])


@check
def whatever_way_they_answer():
    def at(site):
        for scenario in FINE:
            what = f"{site} {scenario}"
            got = ask(site, scenario)
            right_answer(what, got)
            same(what + ", finish", "stop", got["finish"])
            same(what + ", model", MODELS[site], got["model"])
            assert got["usage"][0] > 0 and got["usage"][2] > 10, (what, got)

    each_site(at)


@check
def thoughts_are_apart():
    for field in ("reasoning_content", "reasoning", "both"):
        SITES["openai"].set(reasoning_field=field)
        got = ask("openai", "reasoning")
        right_answer(field, got)
        assert got["reasoning"].startswith("The user wants"), got
    for site in ("kimi", "glm"):
        same(site + " is told not to", "", ask(site, "ok")["reasoning"])


@check
def halves_of_characters():
    got = ask("kimi", "lone-surrogate")
    same("class", "ok", got["class"])
    assert got["answer"].startswith("\ufffd "), got


@check
def servers_that_one_runs_oneself():
    for flavour in ("ollama", "llama.cpp", "vllm"):
        right_answer(flavour, ask("openai", flavour))
    SITES["openai"].set(context_tokens=5)
    same("lmstudio", "no answer", ask("openai", "lmstudio")["class"])
    SITES["openai"].set(context_tokens=0)


@check
def failures():
    wrong = []

    def at(site):
        for scenario, (name, began, attempts) in BAD.items():
            name = OTHERWISE.get((site, scenario), name)
            before = requests(site)
            got = ask(site, scenario, 10000 if attempts else 2500,
                      500 if scenario.startswith("hang") else 10000)
            sent = requests(site) - before
            came = bool(got["answer"] or got["reasoning"])
            # Time may be over in the middle of one of many attempts.
            timed_out = not attempts and got["class"] == "timeout"
            if (name if timed_out else got["class"], came, got["truncated"]) != (name, began, began):
                wrong.append(f"{site} {scenario}: {got}")
            if attempts != got["attempts"] and (attempts or got["attempts"] < 2):
                wrong.append(f"{site} {scenario}: {got['attempts']} attempts: {got['text']}")
            if sent != got["attempts"]:
                wrong.append(f"{site} {scenario}: {sent} requests, {got['attempts']} attempts")
            for secret in (SITES[site].key, "5f1c0d9e7b6a", "f0e1d2c3"):
                assert secret not in json.dumps(got), got

    each_site(at)
    assert not wrong, "\n".join(wrong)


@check
def they_say_how_long_to_wait():
    got = ask("kimi", "429-concurrency", 1900)
    same("a second", ("rate limit", 2), (got["class"], got["attempts"]))
    for site in ("kimi", "glm"):
        got = ask(site, "retry-after:9", 5000)
        same("too long", ("rate limit", 1), (got["class"], got["attempts"]))


@check
def an_answer_that_begins_anew_is_none():
    for site in ("glm", "zai"):
        got = ask(site, "glm-cut")
        same(site, ("bad answer", True), (got["class"], got["truncated"]))
        assert got["answer"].startswith("Grüße") and got["answer"].count("Grüße") == 1, got


def run():
    failures = 0
    for function in CHECKS:
        admin("DELETE", "/providers?settings=1")
        try:
            function()
            print(f"ok      {function.__name__}", flush=True)
        except Exception as problem:  # one line per check, whatever went wrong
            failures += 1
            line = problem.__traceback__.tb_next.tb_lineno
            print(f"FAILED  {function.__name__} (line {line}): {type(problem).__name__} {problem}",
                  flush=True)
    for probe in PROBES.values():
        probe.stdin.close()
        same("a probe ended", 0, probe.wait())
    print(f"{len(CHECKS)} checks, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(run())
