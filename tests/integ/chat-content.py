# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model is shown of a file and of a directory (docs/formats/chat.md, part 9), by what the
emulated providers were sent. tests/integ/chat-content.sh runs it.

    chat-content.py config FILE
    chat-content.py run DIRECTORY CUT CACHED [CHECK...]

DIRECTORY is a bucket of a mount, CUT the same with chat_file_tokens=1000, CACHED with chat_cache=yes.
"""
import hashlib
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import chat  # noqa: E402
from chat import check, found, notes, same  # noqa: E402
from providers import admin  # noqa: E402

# Name: site, settings. Each has an account of its own there, so that its requests can be told.
PROVIDERS = {
    "k": ("kimi", {"model": "kimi-k2.6"}), "g": ("glm", {"model": "glm-5.1"}),
    "o": ("openai", {"model": "any", "context": 131072}),
    "eye": ("glm", {"model": "glm-4.6v"}), "see": ("openai", {"model": "seer", "vision_models": "*"}),
    "small": ("openai", {"model": "any", "context": 8000}),
    "tight": ("openai", {"model": "any", "context": 4000}),
    "tiny": ("openai", {"model": "any", "context": 1000}),
}
TOP = CUT = CACHED = ""


def write_config(path):
    chat.write_config(path, "".join(
        chat.section(name, site, "+" + name, concurrency=4, **settings)
        for name, (site, settings) in PROVIDERS.items()))


def put(name, content):
    path = os.path.join(TOP, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(content if isinstance(content, bytes) else content.encode())
    return path


def seed(pattern, first, behind):
    subprocess.run([sys.executable, os.path.join(HERE, "..", "lib", "objects.py"), "seed",
                    os.path.basename(TOP), pattern, str(first), str(behind)], check=True)


def about(path, provider):
    """The chat file of a file or of a directory."""
    return os.path.join(path, f".{provider}.chat") if os.path.isdir(path) else f"{path}.{provider}.chat"


def answer(path, provider, text):
    got, failed = chat.ask(about(path, provider), text)
    same(f"{path}, {provider}: {chat.attribute(path, 'error')}", "", failed)
    return got


def refused(path, provider, errno, text="What?"):
    """A question that no provider is asked."""
    site = PROVIDERS[provider][0]
    before = len(chat.chats(site, provider))
    same(f"{path}, {provider}", ("", errno), chat.ask(about(path, provider), text))
    same(f"turns of {provider}", before, len(chat.chats(site, provider)))
    return chat.attribute(path, "error")


def last_turn(path, provider):
    """The last question and its answer."""
    turns = chat.turns(about(path, provider))
    at = max(i for i, t in enumerate(turns) if t.kind == "user")
    return turns[at:]


def noted(path, provider, key):
    return [value for turn in last_turn(path, provider) for value in notes(turn, key)]


def files_shown(path, provider):
    """Keys below the directory of what was shown, in order."""
    keys = [re.sub(r" tokens=\d+ how=.*", "", value) for value in noted(path, provider, "file")]
    return [os.path.relpath(os.path.join(os.path.dirname(TOP), k), path) for k in keys]


def left_out(path, provider):
    """The same of what was not: key to why."""
    pairs = [value.split(": ", 1) for value in noted(path, provider, "left-out")]
    return {os.path.relpath(os.path.join(os.path.dirname(TOP), k), path): why for k, why in pairs}


def sent(provider, n=-1):
    """(role, SHA-256) of each message of a turn, as the provider got them."""
    return [(m["role"], m["sha256"]) for m in chat.chats(PROVIDERS[provider][0], provider)[n]["messages"]]


def sha256(data):
    return hashlib.sha256(data if isinstance(data, bytes) else data.encode()).hexdigest()


def uploads(provider):
    return sum(u["count"] for u in admin("GET")[PROVIDERS[provider][0]]["uploads"] if u["account"] == provider)


# ---- the answer depends on the content: show 3 ----------------------------------------------------


@check
def the_last_kilobyte():  # rule M1, rule M3
    lines = [f"line {i} of many words that say nothing at all\n" for i in range(3000)]
    lines[-5] = "the last quarter brought NEEDLE-1 million\n"
    path = put("long.txt", "".join(lines))
    for provider in ("k", "g", "o"):
        got = answer(path, provider, "How much?\nfind: NEEDLE-1\nfind: File: ")
        same("lines with it", 1, found(got, "NEEDLE-1"))
        assert "system 1: the last quarter brought NEEDLE-1 million;" in got, got
        assert re.search(r"system 1: File: \S*long\.txt;", got), got
        file, = noted(path, provider, "file")
        assert re.search(r"long\.txt tokens=\d+ how=text sha256=" + sha256("".join(lines)), file), file
    same("uploads for that", 0, uploads("k"))


@check
def the_third_of_five():  # rule M5
    for name in "abcde":
        put(f"five/{name}.txt", f"this is {name}\n" + ("NEEDLE-2 is here\n" if name == "c" else ""))
    got = answer(f"{TOP}/five", "o", "Which?\nfind: NEEDLE-2")
    same("lines with it", 1, found(got, "NEEDLE-2"))
    assert " system 3: NEEDLE-2 is here;" in got, got
    same("files", [f"{name}.txt" for name in "abcde"], files_shown(f"{TOP}/five", "o"))


@check
def a_version_of_just_now():  # rule M2
    path = put("new.txt", "it says OLD-3\n")
    wanted = "What?\nfind: OLD-3\nfind: NEW-3\nfind: THEIRS-3"
    same("nothing has changed", 1, found(answer(path, "g", wanted), "OLD-3"))
    same("note", [], noted(path, "g", "changed"))
    put("new.txt", "it says NEW-3\n")
    got = answer(path, "g", wanted)
    # What was said of it before is in the older answer.
    assert " system 1: it says NEW-3;" in got and not re.search(r'^found "OLD-3": system', got, re.M), got
    changed, = noted(path, "g", "changed")
    assert changed.endswith("new.txt"), changed
    put("new.txt", "it says NEW-3\n")
    answer(path, "g", wanted)
    same("the same bytes again are no change", [], noted(path, "g", "changed"))
    # Another client's, a second later.
    subprocess.run(["bash", "-c", '. "$0/tests/lib/server.sh"; SF_STORAGE=$SUPABASE_URL/storage/v1; '
                    'put_object "$1" new.txt <(echo "it says THEIRS-3, which is longer") text/plain',
                    os.path.join(HERE, "..", ".."), os.path.basename(TOP)], check=True, stdout=subprocess.DEVNULL)
    chat.wait_for("their version", lambda: os.stat(path).st_size > 20)
    assert " system 1: it says THEIRS-3, which is longer;" in answer(path, "g", wanted)
    same("note", 1, len(noted(path, "g", "changed")))


@check
def the_same_bytes_from_turn_to_turn():  # rule M1
    path = put("prefix.txt", "NEEDLE-4\n" * 200)
    front = "---\nsystem: You are terse.\n---\n"
    for provider in ("k", "g", "o"):
        for i in range(3):
            answer(path, provider, f"{front}Question {i}?")
        first, second, third = (sent(provider, n) for n in (-3, -2, -1))
        same("what comes first", ["system", "system", "user"], [role for role, _ in first])
        same("the user's own behind the file", sha256("You are terse."), first[1][1])
        same("the question last", sha256("Question 0?"), first[2][1])
        same("the second begins so", first, second[:3])
        same("goes on with", ["assistant", "user"], [role for role, _ in second[3:]])
        same("the third begins so", second, third[:5])
        assert chat.chats(PROVIDERS[provider][0], provider)[-1]["cached_tokens"] > 400
    _, turns = chat.parse(chat.read(about(path, "k")))
    usage = [notes(t, "usage", below=True) for t in turns if t.kind == "assistant"]
    assert re.fullmatch(r"prompt=\d+ cached=[1-9]\d* answer=\d+.*", usage[-1][0]), usage


# ---- how a file is shown --------------------------------------------------------------------------


@check
def a_document_as_its_text():  # rule M3
    content = "%PDF-1.4\nNEEDLE-5 is in it\n"
    path, before = put("book.pdf", content), uploads("k")
    for _ in range(2):
        assert re.search(r" system 1: .*NEEDLE-5", answer(path, "k", "What?\nfind: NEEDLE-5"))
        file, = noted(path, "k", "file")
        assert re.search(rf"how=extracted sha256={sha256(content)}", file), file
    same("uploads", 1, uploads("k") - before)
    site = admin("GET")["kimi"]
    ids = {i for u in site["uploads"] if u["account"] == "k" for i in u["ids"]}
    same("how often its text was asked for", [1], [n for i, n in site["contents"].items() if i in ids])
    same("the beginning", sent("k", -2), sent("k", -1)[:2])


@check
def a_document_as_a_link():  # rule M3, rule K11
    content = "%PDF-1.4\nNEEDLE-6\n"
    path = put("link.pdf", content)
    for _ in range(2):
        got = answer(path, "eye", "What?")
        assert re.search(rf"^user file_url: {len(content)} bytes, sha256 {sha256(content)}$", got, re.M), got
        file, = noted(path, "eye", "file")
        assert " how=link" in file, file
    same("it stands in the first question", ["user", "assistant", "user"], [role for role, _ in sent("eye")])
    put("link.pdf", content + "changed\n")
    answer(path, "eye", "What?")
    same("note", 1, len(noted(path, "eye", "changed")))
    text = chat.read(about(path, "eye"))
    assert "token=" not in text and "/object/sign/" not in text, text


@check
def pictures():  # rule M3
    content = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
    path = put("small.png", content)
    for provider in ("eye", "see"):
        got = answer(path, provider, "What?")
        assert f"user image_url: {len(content)} bytes, sha256 {sha256(content)}" in got, got
    big = b"\x89PNG\r\n\x1a\n" + b"\0" * (3 << 20)
    path = put("big.png", big)
    got = answer(path, "eye", "What?")
    assert f"user image_url: {len(big)} bytes, sha256 {sha256(big)}" in got, got
    assert " how=link" in noted(path, "eye", "file")[0], noted(path, "eye", "file")


@check
def what_cannot_be_shown():  # rule M3, rule W13
    path = put("deed.pdf", "%PDF-1.4\nx\n")
    said = refused(path, "g", "EOPNOTSUPP")
    assert len(said) > 20 and "deed.pdf" in said, said
    path = put("blob.bin", b"a\0b")
    for provider in ("k", "o", "see"):
        refused(path, provider, "EOPNOTSUPP")
    path = put("latin.txt", b"caf\xe9 \xff\n")
    refused(path, "g", "EOPNOTSUPP")


@check
def text_that_is_too_long():  # rule M4
    lines = [f"{i:04d} " + "some words that make a line " * 3 + "\n" for i in range(500)]
    text = "".join(lines)
    path = put("cut.txt", text)
    cut = os.path.join(CUT, "cut.txt")
    chat.wait_for("the other mount sees it", lambda: os.path.exists(cut))
    got = answer(cut, "o", "What?\nfind: 0000 some\nfind: 0499 some")
    same("its first line", (1, 0), (found(got, "0000 some"), found(got, "0499 some")))
    said, = noted(cut, "o", "cut")
    at = int(re.fullmatch(r".*cut\.txt: from byte (\d+) on", said)[1])
    same("at a line", "\n", text[at - 1])
    line = at // len(lines[0])
    got = answer(cut, "o", f"What?\nfind: {line - 1:04d} some\nfind: {line:04d} some")
    assert f" system 1: {line - 1:04d} some" in got and f" system 1: {line:04d} some" not in got, got
    assert 2000 < at < 8000, at
    answer(path, "o", "What?")
    same("nothing is cut otherwise", [], noted(path, "o", "cut"))
    path = put("line.txt", "é" * 20000)
    cut = os.path.join(CUT, "line.txt")
    chat.wait_for("the other mount sees it", lambda: os.path.exists(cut))
    answer(cut, "o", "What?")
    same("at a character", 0, int(noted(cut, "o", "cut")[0].split()[-2]) % 2)


# ---- directories ----------------------------------------------------------------------------------


@check
def what_of_a_directory():  # rule M5
    top = f"{TOP}/tree"
    deep = "/".join(f"l{i}" for i in range(1, 9))
    texts = ["Z.txt", "a.txt", "b-1.txt", "b.txt", "b/x.txt", deep[:-3] + "/at8.txt", "z.md"]
    for name in texts + [".secret", ".git/config", deep + "/at9.txt", deep + "/l9/at10.txt"]:
        put(f"tree/{name}", f"text of {name}\n")
    put("tree/empty.txt", "")
    put("tree/noise.txt", b"\xff\0\xfe")
    put("tree/doc.pdf", "%PDF-1.4\nNEEDLE-7\n")
    got = answer(top, "o", "What?\nfind: text of")
    texts = sorted(texts + [n for n in files_shown(top, "o") if n.endswith("at9.txt")])
    same("in the order of keys", texts, files_shown(top, "o"))
    out = left_out(top, "o")
    for name in (".secret", ".git", "empty.txt", "noise.txt", "doc.pdf"):
        assert name in out, (name, out)
    assert any(name.startswith("l1/") for name in out) and not any("at10" in n for n in texts), (out, texts)
    same("messages", len(texts) + 1, len(sent("o")))
    assert " system 1: text of Z.txt;" in got, got
    answer(top, "k", "What?\nfind: NEEDLE-7")
    assert "doc.pdf" in files_shown(top, "k"), files_shown(top, "k")


@check
def what_fits():  # rule M5
    top = f"{TOP}/fits"
    words = "some words of a text "
    put("fits/a-large.txt", words * 2000)
    for i in range(12):
        put(f"fits/b{i:02d}.txt", words * 100)
    for i in range(20):
        put(f"fits/c{i:02d}.txt", words * 2000)
    put("fits/d.txt", "short\n")
    answer(top, "small", "What?")
    shown, out = files_shown(top, "small"), left_out(top, "small")
    assert "a-large.txt" in out and shown[:3] == ["b00.txt", "b01.txt", "b02.txt"], (shown, out)
    assert "c00.txt" in out and "d.txt" in out, "what comes behind 16 that did not fit is not tried"
    first = sent("small")
    answer(top, "small", "And " + words * 10 + "?")
    same("the same files in each turn", shown, files_shown(top, "small"))
    same("the beginning", first[:-1], sent("small")[:len(first) - 1])
    tokens = chat.chats("openai", "small")[-1]["prompt_tokens"]
    assert tokens < 8000, tokens


@check
def two_hundred():  # rule M5
    seed("crowd/%03d.txt", 0, 203)
    chat.wait_for("they are there", lambda: len(os.listdir(f"{TOP}/crowd")) == 203)
    answer(f"{TOP}/crowd", "o", "What?")
    same("files", [f"{i:03d}.txt" for i in range(200)], files_shown(f"{TOP}/crowd", "o"))
    same("left out", [f"{i:03d}.txt" for i in range(200, 203)], sorted(left_out(f"{TOP}/crowd", "o")))


@check
def ignore_files():  # rule M6
    top = f"{TOP}/ign"
    for name in ("a.log", "a.txt", "keep.log", "sub/b.log", "sub/b.txt", "sub/deep/c.tmp", "sub/deep/keep.tmp",
                 "build/out.txt", "sub/build", "top.txt", "sub/top.txt", "x/y/z/w.txt", "x/w.txt"):
        put(f"ign/{name}", f"text of {name}\n")
    put("ign/.chatignore", "# comment\n*.log\n!keep.log\nbuild/\n/top.txt\nx/**/w.txt\n!build/out.txt\n")
    put("ign/sub/.chatignore", "*.tmp\n!keep.tmp\n!b.log\n")
    answer(top, "o", "What?")
    same("what is left", ["a.txt", "keep.log", "sub/b.log", "sub/b.txt", "sub/build", "sub/deep/keep.tmp",
                          "sub/top.txt"], files_shown(top, "o"))
    out = left_out(top, "o")
    for name in ("a.log", "build", "sub/deep/c.tmp", "top.txt", "x/w.txt", "x/y/z/w.txt", ".chatignore"):
        assert name in out, (name, out)
    put("ign/.chatignore", "*\n")
    refused(top, "o", "EOPNOTSUPP")


@check
def many_notes():  # rule M7
    seed("notes/.h%04d", 0, 1010)
    put("notes/a.txt", "text\n")
    chat.wait_for("they are there", lambda: len(os.listdir(f"{TOP}/notes")) == 1011)
    answer(f"{TOP}/notes", "o", "What?")
    listed = sum(len(noted(f"{TOP}/notes", "o", key)) for key in ("left-out", "file"))
    more, = noted(f"{TOP}/notes", "o", "more")
    assert listed <= 1000 and listed + int(more) == 1011, (listed, more)


# ---- what is left out of a conversation -----------------------------------------------------------


@check
def older_questions_go():  # rule M8
    path, dropped = put("talk.txt", "KEPT-8\n" * 20), []
    for i in range(14):
        got = answer(path, "tight", f"Number {i}: " + "what is it about, and why so " * 25 + "?\nfind: KEPT-8")
        assert " system 1: KEPT-8;" in got, "the content stays"
        dropped.append(int((noted(path, "tight", "dropped") or ["0"])[0]))
    same("never fewer", sorted(dropped), dropped)
    assert dropped[0] == 0 < dropped[-1], dropped
    assert len(set(dropped)) < len([d for d in dropped if d]) + 1, f"in each turn anew: {dropped}"
    for i in range(1, 14):
        then, now = sent("tight", i - 15), sent("tight", i - 14)
        if dropped[i] == dropped[i - 1]:
            same(f"the beginning of {i}", then, now[:len(then)])
        assert chat.chats("openai", "tight")[i - 14]["prompt_tokens"] < 4000


@check
def the_content_alone_is_too_long():  # rule M8
    path = put("huge.txt", "many words of a text\n" * 1000)
    said = refused(path, "tiny", "EFBIG")
    assert "1000" in said or "token" in said, said
    turn = last_turn(path, "tiny")
    same("its turn", ["user", "error"], [t.kind for t in turn])
    same("errno", ["EFBIG"], notes(turn[1], "errno", below=True))


@check
def what_failed_is_not_sent():  # rule M9, rule S8, rule T10
    path = put("failed.txt", "text\n")
    admin("POST", "/providers", [
        {"provider": "openai", "account": "o", "route": "chat", "scenario": "cut", "times": 1},
        {"provider": "openai", "account": "o", "route": "chat", "scenario": "400-invalid", "skip": 1, "times": 1}])
    got, failed = chat.ask(about(path, "o"), "ASKED-A")
    same("the stream broke", "EIO", failed)
    assert got.startswith("Grüße"), got
    same("refused", ("", "EINVAL"), chat.ask(about(path, "o"), "ASKED-B"))
    answer(path, "o", "---\ndry_run: yes\n---\nASKED-C\n")
    got = answer(path, "o", "What?\nfind: Grüße\nfind: ASKED-A\nfind: ASKED-B\nfind: ASKED-C\nfind: HTTP 400")
    same("what had arrived", (1, 1), (found(got, "Grüße"), found(got, "ASKED-A")))
    same("what failed", (0, 0, 0), tuple(found(got, t) for t in ("ASKED-B", "ASKED-C", "HTTP 400")))
    same("roles", ["system", "user", "assistant", "user"], [role for role, _ in sent("o")])


@check
def the_same_question_again():  # rule M10
    put("again.txt", "text of again\n")
    path = os.path.join(CACHED, "again.txt")
    chat.wait_for("the other mount sees it", lambda: os.path.exists(path))
    got, before = answer(path, "o", "What?"), chat.asked("openai")
    with open(about(path, "o"), "w", encoding="utf-8"):
        pass
    same("put away", "", chat.read(about(path, "o")))
    same("the same answer", got, answer(path, "o", "What?"))
    same("nobody was asked", before, chat.asked("openai"))
    assert re.match(r"\d{4}-\d\d-\d\dT", noted(path, "o", "cached")[0]), noted(path, "o", "cached")
    put("again.txt", "another text\n")
    chat.wait_for("the other mount sees it", lambda: os.stat(path).st_size == 13)
    with open(about(path, "o"), "w", encoding="utf-8"):
        pass
    answer(path, "o", "What?")
    same("another content is another question", [], noted(path, "o", "cached"))
    path = os.path.join(TOP, "again.txt")
    answer(path, "o", "What?")
    with open(about(path, "o"), "w", encoding="utf-8"):
        pass
    answer(path, "o", "What?")
    same("not unless it is wanted", [], noted(path, "o", "cached"))


def run(top, cut, cached, *only):
    global TOP, CUT, CACHED
    TOP, CUT, CACHED = top, cut, cached
    return chat.run_checks(lambda: admin("DELETE", "/providers"), only)


def main(verb, *arguments):
    return {"config": write_config, "run": run}[verb](*arguments)


sys.exit(main(*sys.argv[1:]))
