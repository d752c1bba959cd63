# SPDX-License-Identifier: GPL-3.0-or-later
"""What src/provider makes of what the emulated providers say: each failure its class, each file its
state, each list its pages; and whether they take the forms it makes. argv: the program
provider-probe. The environment is that of project.env.

Prints a line per check; exit status 1 when any fails.
"""
import os
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import sse  # noqa: E402
from providers import Site, admin, same  # noqa: E402

PROBE = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
SITES = {name: Site(name) for name in ("kimi", "glm", "zai", "openai")}
TYPES = {"kimi": "kimi", "glm": "glm", "zai": "glm", "openai": "openai"}

# Scenario: class, and its errno. Of all sites, then what single ones say otherwise.
CHATS = {
    "401": ("key refused", "EACCES"), "403": ("not permitted", "EACCES"),
    "403-balance": ("no balance", "EDQUOT"), "404-model": ("no such model", "EINVAL"),
    "429-rpm:7": ("rate limit", "EAGAIN"), "429-tpm": ("rate limit", "EAGAIN"),
    "429-concurrency": ("rate limit", "EAGAIN"), "429-tpd": ("cap reached", "EDQUOT"),
    "429-quota": ("no balance", "EDQUOT"), "429-overload": ("overloaded", "EIO"),
    "400-invalid": ("bad request", "EINVAL"), "400-toolong": ("too long", "EFBIG"),
    "filter": ("refused content", "EPERM"), "500": ("server error", "EIO"),
    "html-502": ("server error", "EIO"), "html-504": ("server error", "EIO"),
    "empty-502": ("server error", "EIO"), "413": ("too large", "EFBIG"),
    "gateway-string-error": ("no such API", "EOPNOTSUPP"), "retry-after:9": ("rate limit", "EAGAIN"),
    "error-200": ("too long", "EFBIG"),
}
UPLOADS = {
    "zero-byte": ("empty", "EINVAL"), "over-limit": ("too large", "EFBIG"),
    "count-limit": ("account full", "ENOSPC"), "total-limit": ("account full", "ENOSPC"),
    "type-refused": ("unsupported type", "EOPNOTSUPP"), "purpose-refused": ("bad request", "EINVAL"),
    "extract-fails": ("not readable", "EIO"), "no-files": ("no such API", "EOPNOTSUPP"),
}
# Where a site's own words say less, or are not known.
OTHERWISE = {
    ("openai", "extract-fails"): ("server error", "EIO"),
    ("glm", "extract-fails"): ("server error", "EIO"),  # 1230: a process failed
    ("openai", "count-limit"): ("bad request", "EINVAL"),
}
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def probe(what, kind, status, body, retry_after="-"):
    PROBE.stdin.write(f"{what} {kind} {status} {len(body)} {retry_after}\n".encode() + body)
    PROBE.stdin.flush()
    return PROBE.stdout.readline().decode("utf-8").rstrip("\n").split("\t")


def fault(site, got):
    return probe("fault", TYPES[site], got.status, got.body, got.headers.get("retry-after", "-"))


def compare(expected, ask):
    wrong = []
    SITES["glm"].set(language="en")  # supafs asks for that with each request
    for site in SITES:
        for scenario, wanted in expected.items():
            wanted = OTHERWISE.get((site, scenario), OTHERWISE.get((TYPES[site], scenario), wanted))
            got = ask(SITES[site], scenario)
            said = fault(site, got)
            if tuple(said[:2]) != wanted:
                wrong.append(f"{site} {scenario}: wanted {wanted}, got {said}: {got.body!r}")
            for secret in (SITES[site].key, "5f1c0d9e7b6a", "f0e1d2c3"):
                assert secret not in "".join(said), said
    assert not wrong, "\n".join(wrong)


@check
def failures_of_chats():
    compare(CHATS, lambda site, scenario: site.chat(suffix="@" + scenario, stream=False))


@check
def failures_of_uploads():
    compare(UPLOADS, lambda site, scenario: site.upload(b"x", suffix="@" + scenario))


@check
def how_long_to_wait():
    for site, scenario, wanted in (("kimi", "429-rpm:7", "7000"), ("openai", "429-rpm:7", "7000"),
                                   ("glm", "429-rpm:7", "-1"), ("glm", "retry-after:9", "9000"),
                                   ("kimi", "429-quota", "-1"), ("kimi", "429-tpd", "-1")):
        same(f"{site} {scenario}", wanted,
             fault(site, SITES[site].chat(suffix="@" + scenario))[2])


@check
def every_code_of_glm():
    wanted = {"rate limit": (1302, 1303, 1305), "overloaded": (1312,), "no balance": (1113, 1309,
              1311), "cap reached": (1304, 1308, 1310, 1313, 1316, 1321), "key refused": (1000, 1004,
              1110, 1112, 1121), "not permitted": (1220,), "no such model": (1211,),
              "too long": (1261,), "refused content": (1301,), "server error": (500, 1120, 1230,
              1234), "bad request": (1210, 1213, 1214, 1215)}
    for numbers in (False, True):
        SITES["glm"].set(int_codes=numbers)
        for name, codes in wanted.items():
            for code in codes:
                got = SITES["glm"].chat(suffix=f"@code:{code}:{400 if code < 1300 else 429}")
                same(code, name, fault("glm", got)[0])


@check
def servers_that_one_runs_oneself():
    openai = SITES["openai"]
    for flavour in ("ollama", "llama.cpp", "vllm", "lmstudio"):
        openai.set(flavour=flavour)
        same(flavour + ", files", "no such API", fault("openai", openai.upload(b"x"))[0])
        for scenario, name in (("400-toolong", "too long"), ("500", "server error"),
                               ("400-invalid", "bad request")):
            same(f"{flavour} {scenario}", name,
                 fault("openai", openai.chat(suffix="@" + scenario))[0])
    openai.set(flavour="llama.cpp")
    same("loading", "loading", fault("openai", openai.chat(suffix="@503-loading"))[0])
    openai.set(flavour="vllm", flat_errors=True)
    same("flat", "too long", fault("openai", openai.chat(suffix="@400-toolong"))[0])


@check
def failures_within_a_stream():
    for site in SITES:
        for form in ("", ":event", ":done"):
            for event in sse.events(SITES[site].chat(suffix="@mid-error" + form).body):
                if b'"error"' in event:
                    name = "server error" if site == "openai" else "overloaded"  # by its type
                    same(site + form, name, probe("fault", TYPES[site], 200, event)[0])
    body = SITES["openai"].chat(suffix="@mid-error:line").body
    line = [one for one in body.split(b"\n") if one.startswith(b"error:")][0]
    same("as a line", "server error", probe("fault", "openai", 200, line)[0])


@check
def states_of_files():
    kimi = SITES["kimi"]
    for scenario, wanted in (("ok", "ready"), ("pending-forever", "pending")):
        got = kimi.upload(b"bytes", "ü b.txt", suffix="@" + scenario)
        row = got.json()
        same(scenario, [wanted, row["id"], "5", "file-extract", "ü b.txt"],
             probe("file", "kimi", 200, got.body))
    row = kimi.upload(b"x", suffix="@pending-then-fail:0").json()
    same("failed", "failed",
         probe("file", "kimi", 200, kimi.ask("GET", "/files/" + row["id"]).body)[0])
    for style in ("short", "numeric", "file"):
        kimi.set(id_style=style, status_shown=style != "numeric", status_ready="ready")
        same(style, "ready", probe("file", "kimi", 200, kimi.upload(b"x").body)[0])
    for scenario in ("garbage", "empty-object"):
        got = kimi.upload(b"x", suffix="@" + scenario)
        same(scenario, ["EPROTO"], probe("file", "kimi", 200, got.body))


@check
def pages_of_lists():
    glm = SITES["glm"]
    ids = [glm.upload(b"x", "a.txt", "agent").json()["id"] for _ in range(5)]
    same("first", ["3", ids[2], "more"],
         probe("list", "glm", 200, glm.ask("GET", "/files?limit=3").body))
    same("last", ["2", ids[0], "end"],
         probe("list", "glm", 200, glm.ask("GET", f"/files?limit=3&after={ids[2]}").body))
    same("deleted", ["deleted"],
         probe("deleted", "glm", 200, glm.ask("DELETE", "/files/" + ids[0]).body, ids[0]))
    same("of another", ["EPROTO"],
         probe("deleted", "glm", 200, glm.ask("DELETE", "/files/" + ids[1]).body, ids[0]))
    same("empty", "0", probe("list", "kimi", 200, SITES["kimi"].ask("GET", "/files").body)[0])


@check
def forms_are_taken():
    for name in ("a.txt", "ein \"Zitat\".txt", "Grüße 你好.txt", "a\\b.txt", "n" * 300 + ".txt",
                 "zeile\nzwei.txt"):
        head, tail, type_line = probe("form", "kimi", 0, name.encode())
        parts = PROBE.stdout.read(int(head) + int(tail))
        body = parts[:int(head)] + b"\r\n--bytes" + parts[int(head):]
        kind, _, value = type_line.partition(": ")
        got = SITES["kimi"].ask("POST", "/files", None, "", [
            (kind, value) if value else ("Content-Type", type_line)], body)
        row = got.json()
        same(name, (200, 9, "file-extract", ".txt"),
             (got.status, row.get("bytes"), row.get("purpose"), row.get("filename", "")[-4:]))
        if name in ("a.txt", "Grüße 你好.txt"):
            same("its name", name, row["filename"])


def run():
    failures = 0
    for function in CHECKS:
        admin("DELETE", "/providers?settings=1")
        admin("DELETE", "/providers/files")
        try:
            function()
            print(f"ok      {function.__name__}", flush=True)
        except Exception as problem:  # one line per check, whatever went wrong
            failures += 1
            line = problem.__traceback__.tb_next.tb_lineno
            print(f"FAILED  {function.__name__} (line {line}): {type(problem).__name__} {problem}",
                  flush=True)
    PROBE.stdin.close()
    same("the probe ended", 0, PROBE.wait())
    print(f"{len(CHECKS)} checks, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(run())
