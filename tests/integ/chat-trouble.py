# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns of chat files that go wrong, and those that are cancelled (docs/formats/chat.md, part 8).
tests/integ/chat-trouble.sh runs it.

    chat-trouble.py config FILE
    chat-trouble.py run DIRECTORY [CHECK...]       all but budgets
    chat-trouble.py spend DIRECTORY FILE           asks until it is refused; prints how and when
    chat-trouble.py refused DIRECTORY FILE         asks once, which nobody is to hear of; prints the sentence

DIRECTORY is a bucket of a mount, with the files rows/NN.txt.
"""
import concurrent.futures
import os
import re
import sys
import threading

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import chat  # noqa: E402
from chat import check, notes, same  # noqa: E402
from providers import MODELS, admin  # noqa: E402

SHORT, LONG = 2, 40  # seconds of chat_timeout: of what ends with it, and of all else
# Ways to answer that come to the same; at which site.
FINE = [("kimi", s) for s in (
    "ok", "one-byte-writes", "crlf", "comments", "no-space", "many-data", "no-blank", "escapes", "slow:20:400",
    "words:300", "usage-in-choice", "usage-trailing", "usage-last", "usage-none", "json-instead-of-sse",
    "one-byte-writes,crlf,comments,many-data,escapes", "reasoning", "delay:100")] + [
    ("glm", s) for s in ("ok", "crlf", "usage-last", "reasoning", "one-byte-writes")] + [
    ("zai", "ok")] + [("openai", s) for s in ("ok", "ollama", "llama.cpp", "vllm", "reasoning", "usage-none")]
# Well at the second attempt (how often it fails before).
AGAIN = [("kimi", "500", 1), ("kimi", "html-502", 1), ("kimi", "lost-reply", 1), ("kimi", "429-rpm:1", 1),
         ("kimi", "429-concurrency", 1), ("glm", "code:1303", 1), ("openai", "503-loading,retry-after:1", 1)]
# Site, scenario, class, errno, how what had arrived ended ("" = nothing had), requests (0 = several).
BAD = [
    ("kimi", "no-done", "no reply", "EIO", "incomplete", 1), ("kimi", "cut", "no reply", "EIO", "incomplete", 1),
    ("kimi", "reset", "no reply", "EIO", "incomplete", 1), ("glm", "reset", "no reply", "EIO", "incomplete", 1),
    ("kimi", "hang:4", "timeout", "ETIMEDOUT", "incomplete", 1), ("kimi", "hang", "timeout", "ETIMEDOUT", "", 1),
    ("kimi", "hang-after", "timeout", "ETIMEDOUT", "", 1),
    ("kimi", "reasoning-only", "no answer", "EIO", "empty", 1), ("kimi", "empty-200", "no answer", "EIO", "empty", 1),
    ("kimi", "mid-error:event", "overloaded", "EIO", "incomplete", 1),
    ("kimi", "mid-error:done", "overloaded", "EIO", "incomplete", 1),
    ("kimi", "mid-error:line", "overloaded", "EIO", "incomplete", 1),
    ("kimi", "mid-error:string", "server error", "EIO", "incomplete", 1),
    ("openai", "mid-error:event", "server error", "EIO", "incomplete", 1),
    ("glm", "finish:sensitive", "refused content", "EPERM", "filtered", 1),
    ("glm", "finish:network_error", "server error", "EIO", "incomplete", 1),
    ("glm", "glm-cut", "bad answer", "EPROTO", "incomplete", 1), ("zai", "glm-cut", "bad answer", "EPROTO", "incomplete", 1),
    ("kimi", "error-200", "too long", "EFBIG", "", 1), ("kimi", "garbage", "bad answer", "EPROTO", "", 1),
    ("kimi", "empty-object", "bad answer", "EPROTO", "", 1), ("kimi", "401", "key refused", "EACCES", "", 1),
    ("glm", "401", "key refused", "EACCES", "", 1),
    ("kimi", "403", "not permitted", "EACCES", "", 1), ("kimi", "403-balance", "no balance", "EDQUOT", "", 1),
    ("kimi", "404-model", "no such model", "EINVAL", "", 1), ("kimi", "429-quota", "no balance", "EDQUOT", "", 1),
    ("glm", "429-quota", "no balance", "EDQUOT", "", 1), ("glm", "code:1308", "cap reached", "EDQUOT", "", 1),
    ("kimi", "429-tpd", "cap reached", "EDQUOT", "", 1), ("kimi", "400-toolong", "too long", "EFBIG", "", 1),
    ("kimi", "400-invalid", "bad request", "EINVAL", "", 1), ("kimi", "413", "too large", "EFBIG", "", 1),
    ("kimi", "filter", "refused content", "EPERM", "filtered", 1),
    ("glm", "code:1301", "refused content", "EPERM", "filtered", 1),
    ("kimi", "gateway-string-error", "no such API", "EOPNOTSUPP", "", 1),
    ("kimi", "500", "server error", "EIO", "", 2), ("kimi", "html-502", "server error", "EIO", "", 2),
    ("kimi", "html-504", "server error", "EIO", "", 2), ("kimi", "empty-502", "server error", "EIO", "", 2),
    ("kimi", "lost-reply", "no reply", "EIO", "", 2), ("kimi", "429-overload", "overloaded", "EIO", "", 0),
    ("kimi", "429-rpm:60", "rate limit", "EAGAIN", "", 1), ("openai", "503-loading", "loading", "EAGAIN", "", 0),
]
TIMED = ("hang", "hang:4", "hang-after", "429-overload", "503-loading", "429-rpm:60")
ROWS = [(site, s, None) for site, s in FINE] + AGAIN + [(site, s, None) for site, s, *_ in BAD]
# Classes after which a provider is asked as before, so that rows can share one.
CALM = ("no answer", "refused content", "bad answer", "too long", "no such model", "bad request", "too large",
        "no such API")
SECRETS = re.compile(r"org-[0-9a-z]{6}|proj-[0-9a-z]{6}|ak-[0-9a-z]{6}|sk-[a-z]")
TOP = ""


def bad_row(i):
    return BAD[i - len(ROWS) + len(BAD)] if i >= len(ROWS) - len(BAD) else None


def provider_of(i):
    """One of its own, as a failure may keep it from being asked again; or one for many rows."""
    site, scenario, _ = ROWS[i]
    if i < len(FINE) or (bad_row(i) and bad_row(i)[2] in CALM):
        return ("fine-" if i < len(FINE) else "calm-") + site
    return f"r{i:02d}"


def write_config(path):
    text, done = "", set()
    for i, (site, scenario, _) in enumerate(ROWS):
        name, limit = provider_of(i), SHORT if scenario in TIMED else LONG
        if name not in done:
            text += chat.section(name, site, "+" + name, model=MODELS[site], chat_timeout=f"{limit}s", concurrency=8)
        done.add(name)
    for name, site, suffix, settings in (
            ("slow", "openai", "+slow@slow:20:20,words:400", {}), ("mute", "openai", "+mute@hang", {}),
            ("deaf", "kimi", "+deaf", {}), ("good", "openai", "+good", {}),
            ("falls", "kimi", "+falls@500", {"fallback": "good"}),
            ("alone", "kimi", "+alone@500", {}),
            ("breaks", "kimi", "+breaks@cut", {"fallback": "good"}),
            ("dear", "openai", "+dear", {"prices": "*=1/100", "currency": "EUR"})):
        text += chat.section(name, site, suffix, **{"model": MODELS[site], "chat_timeout": f"{LONG}s"} | settings)
    chat.write_config(path, text)


def file_of(i):
    return f"{TOP}/rows/{i:02d}.txt"


def put(name, text="text\n"):
    path = f"{TOP}/{name}"
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def requests(site, account):
    shown = admin("GET")
    return sum(r["matched"] for r in shown["rules"] if r["provider"] == site and r["account"] == account)


def check_error(what, path, turn, cls, errno):
    """Rule T10, rule E1, rule E2: what is told of a turn that failed."""
    same(f"{what}: class", [cls], notes(turn, "class", below=True))
    same(f"{what}: errno", [errno], notes(turn, "errno", below=True))
    assert turn.body.startswith(cls) or cls in turn.body or len(turn.body) > 10, (what, turn)
    assert "\n" not in turn.body and not SECRETS.search(turn.body), (what, turn)
    same(f"{what}: user.supafs.error", turn.body, chat.attribute(path, "error"))


def chat_of(i):
    return f"{file_of(i)}.{provider_of(i)}.chat"


def model_of(i):
    """Where many share a provider, the scenario stands behind its name."""
    site, scenario, _ = ROWS[i]
    return MODELS[site] if provider_of(i)[0] == "r" else f"{MODELS[site]}@{scenario}"


def ask_row(i):
    return chat.ask(chat_of(i), f"---\nmodel: {model_of(i)}\n---\nWas steht da?\nfind: rows"), chat.turns(chat_of(i))


def ask_rows(first, count):
    """All at once, but no more than this machine can do in time."""
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        return list(pool.map(ask_row, range(first, first + count)))


@check
def every_kind_of_answer():  # rule R6, rule R7, rule E1, rule E3, rule T8
    admin("POST", "/providers", [
        {"provider": site, "account": provider_of(i), "route": "chat", "scenario": scenario} |
        ({} if times is None else {"times": times})
        for i, (site, scenario, times) in enumerate(ROWS) if provider_of(i)[0] == "r"])
    wrong = []
    for i, ((got, failed), turns) in enumerate(ask_rows(0, len(ROWS))):
        site, scenario, times = ROWS[i]
        what = f"{site} {scenario} {times or 'always'}"
        try:
            look_at(what, i, got, failed, turns)
        except (AssertionError, IndexError, ValueError) as problem:
            wrong.append(f"{what} ({i}): {problem}; {failed!r} {turns}")
    assert not wrong, "\n  ".join(["", *wrong])


def look_at(what, i, got, failed, turns):
    site, bad = ROWS[i][0], bad_row(i)
    name, errno, end, count = bad[2:] if bad else ("", "", "stop", 2 if ROWS[i][2] else 1)
    same("errno", errno, failed)
    kinds = ["user"] + ["assistant"] * (end != "") + ["error"] * (bad is not None)
    same("turns", kinds, [t.kind for t in turns])
    if count and provider_of(i)[0] == "r":
        same("requests", count, requests(site, provider_of(i)))
    same("state", "idle", chat.state(chat_of(i)))
    if end:
        same("end", end, chat.ended(turns[1]))
        same("what was read", turns[1].body.rstrip("\n"), got.rstrip("\n"))
        same("who", (provider_of(i), model_of(i)), (turns[1].provider, turns[1].model))
    if bad:
        check_error(what, file_of(i), turns[-1], name, errno)
        return
    assert got.startswith("Grüße — 你好 🙂\n") and chat.found(got, "rows") >= 1, got
    same("no error", "-", chat.attribute(file_of(i), "error"))
    usage = notes(turns[1], "usage", below=True)
    assert "usage-none" in ROWS[i][1] or re.match(r"prompt=\d+ .*answer=\d+", usage[0]), usage
    assert re.fullmatch(r"\d+ ms", notes(turns[1], "took", below=True)[0]), turns[1]


@check
def want_of_money_is_told_at_once():  # rule W13
    for i, (site, scenario, _) in enumerate(ROWS):
        if scenario in ("403-balance", "429-quota"):
            same(f"{site} {scenario}", "EDQUOT", chat.submit(chat_of(i), "Once more?"))


@check
def lone_halves_of_characters():  # rule T1
    admin("POST", "/providers", [{"provider": "openai", "account": "good", "scenario": "lone-surrogate"}])
    path = put("half.txt")
    same("failed", "", chat.ask(f"{path}.good.chat", "What?")[1])
    assert chat.turns(f"{path}.good.chat")[1].body.startswith("\ufffd "), chat.read(f"{path}.good.chat")


@check
def fallback_as_configured():  # rule E4
    path = put("fall.txt")
    got, failed = chat.ask(f"{path}.falls.chat", "What?")
    same("failed", "", failed)
    turns = chat.turns(f"{path}.falls.chat")
    same("turns", ["user", "assistant"], [t.kind for t in turns])
    same("who", "good", turns[1].provider)
    said, = notes(turns[1], "fallback")
    assert said.startswith("falls: ") and "HTTP 500" in said, said
    same("who was asked", 1, len(chat.chats("openai", "good")))
    same("not configured", ("", "EIO"), chat.ask(f"{path}.alone.chat", "What?"))
    got, failed = chat.ask(f"{path}.breaks.chat", "What?")
    same("not behind the first byte", "EIO", failed)
    assert got.startswith("Grüße"), got
    same("nobody else was asked", 1, len(chat.chats("openai", "good")))


# ---- cancelled ------------------------------------------------------------------------------------


def nothing_open(*sites):
    shown = admin("GET")
    return all(shown[site]["open"] == 0 for site in sites)


def is_cancelled(path, who, begins="Grüße"):
    chat.wait_state(f"{path}.{who}.chat", "idle")
    chat.wait_for("the request ends", lambda: nothing_open("openai", "kimi"))
    turns = chat.turns(f"{path}.{who}.chat")
    same("turns", ["user", "assistant"], [t.kind for t in turns])
    same("end", "cancelled", chat.ended(turns[1]))
    assert turns[1].body.startswith(begins) and bool(turns[1].body) == bool(begins), turns
    return turns


@check
def cancelled_while_it_answers():  # rule C8, rule S9
    path = put("c1.txt")
    same("asked", "", chat.submit(f"{path}.slow.chat", "What?"))
    chat.wait_state(f"{path}.slow.chat", "answering")
    chat.wait_for("something of the answer", lambda: "w5" in chat.peek(f"{path}.slow.chat"))
    same("cancel", "", chat.set_attribute(path, "chat.cancel", "1"))
    turns = is_cancelled(path, "slow")
    assert "w400" not in turns[1].body, turns
    same("its request", "client-gone", chat.chats("openai", "slow")[-1]["ended"])


@check
def cancelled_while_it_is_asked():  # rule C8
    path = put("c2.txt")
    same("asked", "", chat.submit(f"{path}.mute.chat", "What?"))
    chat.wait_state(f"{path}.mute.chat", "asking")
    chat.wait_for("it is sent", lambda: not nothing_open("openai"))
    same("cancel", "", chat.set_attribute(path, "chat.cancel", "1"))
    is_cancelled(path, "mute", "")


@check
def cancelled_while_it_reads():  # rule C8
    admin("POST", "/providers", [{"provider": "kimi", "account": "deaf", "route": "file-content", "scenario": "hang"}])
    path = put("c3.pdf", "%PDF-1.4\ntext\n")
    same("asked", "", chat.submit(f"{path}.deaf.chat", "What?"))
    chat.wait_state(f"{path}.deaf.chat", "reading")
    chat.wait_for("it is sent", lambda: not nothing_open("kimi"))
    same("cancel", "", chat.set_attribute(path, "chat.cancel", "1"))
    is_cancelled(path, "deaf", "")
    same("nobody was asked", [], chat.chats("kimi", "deaf"))


@check
def cancelled_while_it_waits():  # rule C8, rule W12, rule R4
    path = put("c4.txt")
    same("asked", "", chat.submit(f"{path}.slow.chat", "Question 0?"))
    chat.wait_state(f"{path}.slow.chat", "answering")
    fd = os.open(f"{path}.slow.chat", os.O_RDWR | os.O_NONBLOCK)
    os.write(fd, b"Question 1?")
    same("it waits", "EAGAIN", chat.errno_of(os.read, fd, 100))
    same("asked", "", chat.submit(f"{path}.slow.chat", "Question 2?"))
    same("cancel", "", chat.set_attribute(path, "chat.cancel", "1"))
    os.set_blocking(fd, True)
    same("who waits is told", "ECANCELED", chat.errno_of(os.read, fd, 100))
    os.close(fd)
    chat.wait_state(f"{path}.slow.chat", "idle")
    same("one was asked", 1, len(chat.chats("openai", "slow")))


@check
def who_goes_away_cancels():  # rule R8
    path = put("c5.txt")
    fd = os.open(f"{path}.slow.chat", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(fd, b"What?")
    assert os.read(fd, 4096), "nothing to read"
    os.close(fd)
    is_cancelled(path, "slow")


@check
def who_reads_gets_the_errno():  # rule R7
    path, got = put("c6.txt"), []
    reader = threading.Thread(target=lambda: got.append(chat.ask(f"{path}.slow.chat", "What?")))
    reader.start()
    chat.wait_for("an answer", lambda: chat.state(f"{path}.slow.chat") == "answering")
    chat.wait_for("something of it", lambda: "w3" in chat.peek(f"{path}.slow.chat"))
    same("cancel", "", chat.set_attribute(f"{path}.slow.chat", "chat.cancel", "1") and
         chat.set_attribute(path, "chat.cancel", "1"))
    reader.join(10)
    (answer, failed), = got
    same("errno", "ECANCELED", failed)
    assert "w3" in answer, answer


@check
def removed_or_emptied():  # rule C3, rule C4
    path = put("c7.txt")
    for empty in (False, True):
        same("asked", "", chat.submit(f"{path}.slow.chat", "What?"))
        chat.wait_state(f"{path}.slow.chat", "answering")
        if empty:
            with open(f"{path}.slow.chat", "w", encoding="utf-8"):
                pass
        else:
            os.unlink(f"{path}.slow.chat")
        chat.wait_for("the request ends", lambda: nothing_open("openai"))
        same("the name is there", empty, os.path.exists(f"{path}.slow.chat"))
    same("it is empty", "", chat.read(f"{path}.slow.chat"))


# ---- budgets --------------------------------------------------------------------------------------


def spend(top, name):
    """Rule M11."""
    path = f"{top}/{name}.dear.chat"
    for i in range(20):
        before = len(chat.chats("openai", "dear"))
        got, failed = chat.ask(path, f"Question {i}?")
        if failed:
            same("errno", ("", "EDQUOT"), (got, failed))
            same("nobody was asked", before, len(chat.chats("openai", "dear")))
            price = [p for t in chat.turns(path) for p in notes(t, "price", below=True)]
            assert price and all(re.fullmatch(r"0\.\d+ EUR", p) for p in price), price
            print(f"after {i}: {chat.attribute(f'{top}/{name}', 'error')}")
            return 0
    raise AssertionError("it is never refused")


def refused(top, name):
    before = len(chat.chats("openai", "dear"))
    same("errno", ("", "EDQUOT"), chat.ask(f"{top}/{name}.dear.chat", "Once more?"))
    same("nobody was asked", before, len(chat.chats("openai", "dear")))
    print(chat.attribute(f"{top}/{name}", "error"))
    return 0


def run(top, *only):
    global TOP
    TOP = top
    return chat.run_checks(lambda: admin("DELETE", "/providers"), only)


def main(verb, *arguments):
    return {"config": write_config, "run": run, "spend": spend, "refused": refused}[verb](*arguments)


sys.exit(main(*sys.argv[1:]))
