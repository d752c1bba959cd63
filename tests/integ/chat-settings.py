# SPDX-License-Identifier: GPL-3.0-or-later
"""What a question is asked with: front matter and attributes (docs/formats/chat.md, part 6), by what
the emulated providers were sent. tests/integ/chat-settings.sh runs it.

    chat-settings.py config FILE
    chat-settings.py run DIRECTORY [CHECK...]
"""
import errno
import os
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import chat  # noqa: E402
from chat import check, notes, same  # noqa: E402
from providers import admin  # noqa: E402

PROVIDERS = {"one": ("openai", {"model": "first", "order": 1}), "two": ("openai", {"model": "second", "order": 2}),
             "my-box": ("openai", {"model": "boxed", "order": 3}),
             "kim": ("kimi", {"model": "kimi-k2.6", "order": 4, "prices": "*=2/4", "currency": "EUR"})}
TOP = ""
FILES = iter(range(1000))


def write_config(path):
    chat.write_config(path, "".join(chat.section(name, site, "+" + name, **settings)
                                    for name, (site, settings) in PROVIDERS.items()))


def put(name="", text="text\n"):
    """A file of its own for each use."""
    path = f"{TOP}/{name or f'f{next(FILES)}.txt'}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


def answer(path, text):
    got, failed = chat.ask(path, text)
    same(f"{path}: {chat.attribute(re.sub('([.]one|[.]two|[.]kim)?[.]chat$', '', path), 'error')}", "", failed)
    return got


def asked(site="openai"):
    """The last turn there: its account, model, and what was sent in words."""
    last = admin("GET")[site]["chats"][-1]
    return last["account"], last["model"], chat.sent_bodies(site)[-1]


def last(path, kind="user"):
    return [t for t in chat.turns(path) if t.kind == kind][-1]


def refused(text, sentence, path=None):
    """EINVAL of a write or of FLUSH, and user.supafs.error says why; nobody is asked."""
    path = path or put()
    before = chat.asked("openai") + chat.asked("kimi")
    same(f"{text!r}", "EINVAL", chat.submit(path + ".chat", text))
    said = chat.attribute(path, "error")
    assert re.search(sentence, said), f"{text!r}: {said!r}"
    same("requests", before, chat.asked("openai") + chat.asked("kimi"))
    same("there is no such file", False, os.path.exists(path + ".chat"))


# ---- front matter ---------------------------------------------------------------------------------


@check
def what_is_front_matter():  # rule S1
    for text, shown in (("---\nmodel: m1\n---\nAsked-1\n", "Asked-1"),
                        ("---\r\nmodel: m1\r\n---\r\nAsked-2\n", "Asked-2"),
                        ("---\n---\n---\nmodel: no\n---\nAsked-3", "---\nmodel: no\n---\nAsked-3"),
                        ("---\nNo name here\n---\nAsked-4", "---\nNo name here\n---\nAsked-4"),
                        ("--- \nmodel: no\n---\nAsked-5", "--- \nmodel: no\n---\nAsked-5"),
                        ("----\nmodel: no\n---\nAsked-6", "----\nmodel: no\n---\nAsked-6"),
                        ("Asked-7\n---\nmodel: no\n---\n", "Asked-7\n---\nmodel: no\n---"),
                        ("---\nModel: no\n---\nAsked-8", "---\nModel: no\n---\nAsked-8")):
        path = put()
        answer(path + ".chat", text)
        same(f"{text!r}", shown, last(path + ".chat").body)
        same(f"{text!r}", "m1" if "model: m1" in text.replace("\r", "") else "first", asked()[1])


@check
def how_values_are_written():  # rule S2
    path = put()
    answer(path + ".chat", '---\nmodel:   spaced   \n# a comment\n\nsystem: "a\\tb\\n\\"c\\" \\\\d"\n---\nWhat?')
    _, model, body = asked()
    same("white space around it", "spaced", model)
    assert '"a\\tb\\n\\"c\\" \\\\d"' in body, body
    answer(path + ".chat", "---\nsystem: 'it''s \\n'\n---\nWhat?")
    assert '"it\'s \\\\n"' in asked()[2], asked()
    answer(path + ".chat", "---\nsystem: |\n    You are\n      terse.\n\n    Very.\ntemperature: 0.25\n---\nWhat?")
    assert '"You are\\n  terse.\\n\\nVery.' in asked()[2], asked()
    assert re.search(r'"temperature": ?0.25\b', asked()[2]), asked()
    set_ = dict(value.split(" ", 1) for value in notes(last(path + ".chat"), "set"))
    same("the transcript tells", 0.25, float(set_["temperature"]))
    assert set_["system"].startswith("You are\n  terse."), set_


@check
def what_is_wrong_is_told():  # rule S2, rule S4, rule W9
    for text, sentence in (("---\nmodel: a\nmodel: b\n---\nx", r"\b3\b"), ("---\ncolour: red\n---\nx", r"\b2\b.*colour|colour.*\b2\b"),
                           ("---\ntemperature: 2.1\n---\nx", r"\b2\b"), ("---\ntemperature: hot\n---\nx", r"\b2\b"),
                           ("---\ntemperature: 0.1234\n---\nx", r"\b2\b"), ("---\nmax_tokens: 0\n---\nx", r"\b2\b"),
                           ("---\nmax_tokens: 10000001\n---\nx", r"\b2\b"), ("---\nmax_tokens: many\n---\nx", r"\b2\b"),
                           ("---\nthinking: deeply\n---\nx", r"\b2\b"), ("---\ndry_run: perhaps\n---\nx", r"\b2\b"),
                           ("---\nmodel: " + "m" * 201 + "\n---\nx", r"\b2\b"), ("---\nmodel: a\n# c\n\nsystem\n---\nx", r"\b5\b"),
                           ("---\nsystem: |\n" + " x\n" * 4097 + "---\nx", r"\b2\b"),
                           ("---\nmodel: \"a\n---\nx", r"\b2\b"), ("---\nprovider: nobody\n---\nx", "nobody"),
                           ("---\nmodel: a\nno colon\n---\nx", r"\b3\b"), ("---\nmodel: a\nasked without an end\n", "")):
        refused(text, sentence)


@check
def the_longest_front_matter():  # rule S3
    path = put()
    line = "# " + "c" * 1021 + "\n"  # 1024 bytes
    room = 16384 - len("---\nmodel: m9\n---\n")
    answer(path + ".chat", "---\nmodel: m9\n" + line * 15 + "#" * (room - 15 * 1024 - 1) + "\n---\nWhat?")
    same("it holds", "m9", asked()[1])
    refused("---\nmodel: m9\n" + line * 16 + "---\nWhat?", "")


@check
def front_matter_without_an_end():  # rule W9, rule W7
    path = put()
    fd = os.open(path + ".chat", os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(fd, b"---\nmodel: late\n")
    try:
        os.fsync(fd)
        raise AssertionError("fsync succeeds")
    except OSError as e:
        same("fsync", errno.EINVAL, e.errno)
    os.write(fd, b"---\nWhat?\n")
    os.fsync(fd)
    os.close(fd)
    same("it was made good", ["user", "assistant"], [t.kind for t in chat.turns(path + ".chat")])
    same("and holds", "late", asked()[1])


@check
def each_setting_is_sent():  # rule S5
    path = put("sent.txt")
    answer(path + ".kim.chat", "---\nmodel: kimi-k2.5\nmax_tokens: 20\nthinking: on\nsystem: Be short.\n---\nWhat?")
    account, model, body = asked("kimi")
    same("who", ("kim", "kimi-k2.5"), (account, model))
    shown = chat.chats("kimi", "kim")[-1]
    same("most tokens, thinking", (20, True), (shown["max_tokens"], shown["thinking"]))
    assert '"Be short."' in body, body
    same("the limit is told", "length", chat.ended(last(path + ".kim.chat", "assistant")))
    answer(path + ".kim.chat", "What?")
    same("off where the model can", False, chat.chats("kimi", "kim")[-1]["thinking"])
    answer(path + ".chat", "---\nprovider: two\n---\nWhat?")
    same("provider", "two", asked()[0])
    answer(path + ".chat", "---\nprovider: my_box\n---\nWhat?")
    same("- and _ are the same", "my-box", asked()[0])
    assert "temperature" not in asked()[2] and '"max_' not in asked()[2], asked()
    same("is it known by name", True, os.path.exists(path + ".chat"))


# ---- attributes -----------------------------------------------------------------------------------


def settings(path):
    """What holds, and from where."""
    lines = chat.attribute(path, "chat.settings").rstrip("\n").split("\n")
    return {re.split(r"[ :=]", line)[0]: line for line in lines}


@check
def attributes_of_file_and_directory():  # rule S5, rule S6, rule S7
    path = put("dir/set.txt")
    top = os.path.dirname(path)
    same("none", "-", chat.attribute(path, "chat.model"))
    same("of the directory", "", chat.set_attribute(top, "chat.model", "of-dir"))
    same("of the directory", "", chat.set_attribute(top, "chat.temperature", "0.5"))
    answer(path + ".chat", "What?")
    same("it holds", "of-dir", asked()[1])
    assert re.search(r'"temperature": ?0.5\b', asked()[2]), asked()
    same("of the file", "", chat.set_attribute(path, "chat.model", "of-file"))
    answer(path + ".chat", "What?")
    same("the file's before the directory's", "of-file", asked()[1])
    assert "of-file" in settings(path)["model"] and "0.5" in settings(path)["temperature"], settings(path)
    assert settings(path)["model"] != settings(path)["temperature"].replace("temperature", "model"), settings(path)
    answer(path + ".chat", "---\nmodel: of-front\n---\nWhat?")
    same("front matter's before the file's", "of-front", asked()[1])
    same("read back", "of-file", chat.attribute(path, "chat.model"))
    assert "user.supafs.chat.model" in os.listxattr(path), os.listxattr(path)
    same("taken back", "", chat.set_attribute(path, "chat.model", ""))
    same("is gone", "-", chat.attribute(path, "chat.model"))
    answer(path + ".chat", "What?")
    same("the directory's again", "of-dir", asked()[1])
    os.removexattr(top, "user.supafs.chat.model")
    answer(path + ".chat", "What?")
    same("the configuration's", "first", asked()[1])
    # Also of the directory's own chat.
    same("of the directory", "", chat.set_attribute(top, "chat.model", "of-dir"))
    answer(top + "/.chat", "What?")
    same("the directory's own", "of-dir", asked()[1])


@check
def the_provider_of_the_name():  # rule S6
    path = put("named.txt")
    same("of the file", "", chat.set_attribute(path, "chat.provider", "two"))
    answer(path + ".chat", "What?")
    same("the file's", "two", asked()[0])
    answer(path + ".one.chat", "What?")
    same("the name's before the file's", "one", asked()[0])
    answer(path + ".one.chat", "---\nprovider: one\n---\nWhat?")
    same("the same one", "one", asked()[0])
    before = chat.asked("openai")
    same("another one", "EINVAL", chat.submit(path + ".one.chat", "---\nprovider: two\n---\nWhat?"))
    assert "provider" in chat.attribute(path, "error"), chat.attribute(path, "error")
    same("nobody was asked", before, chat.asked("openai"))
    same("auto", "", chat.set_attribute(path, "chat.provider", "auto"))
    answer(path + ".chat", "What?")
    same("by their order", "one", asked()[0])


@check
def attributes_are_checked():  # rule S5, rule S4
    path = put("checked.txt")
    for name, value in (("temperature", "3"), ("max_tokens", "0"), ("thinking", "x"), ("model", "m" * 201),
                        ("system", "x" * 8193), ("provider", "nobody")):
        same(f"{name} {value[:9]}", "EINVAL", chat.set_attribute(path, "chat." + name, value))
        same(f"{name} is not there", "-", chat.attribute(path, "chat." + name))
    for name in ("colour", "dry_run", "continue"):  # none of these
        chat.set_attribute(path, "chat." + name, "yes")
        same(f"{name} is not kept", "-", chat.attribute(path, "chat." + name))
    same("too hot", "EINVAL", chat.set_attribute(path, "chat.temperature", "3"))
    assert "temperature" in chat.attribute(path, "error"), chat.attribute(path, "error")


@check
def what_is_told_of_a_conversation():  # rule S9
    path = put("told.txt")
    for name in ("chat", "chat.id", "chat.usage"):
        same(f"{name} of none", "-", chat.attribute(path, name))
    got = answer(path + ".chat", "What?")
    for of in (path, path + ".chat"):
        same("the last answer", got.rstrip("\n"), chat.attribute(of, "chat").rstrip("\n"))
        same("state", "idle", chat.state(of))
        assert re.fullmatch(r"prompt=\d+ .*answer=\d+.*", chat.attribute(of, "chat.usage")), chat.attribute(of, "chat.usage")
    head, _ = chat.parse(chat.read(path + ".chat"))
    same("its id", head["conversation"], chat.attribute(path, "chat.id"))
    assert re.fullmatch(r"[a-z0-9]{24}-\d+", head["conversation"]), head
    answer(path + ".two.chat", "What?")
    assert chat.attribute(path + ".two.chat", "chat.id") != head["conversation"]
    same("another's is its own", head["conversation"], chat.attribute(path, "chat.id"))
    for of in (path, path + ".chat"):
        assert not [n for n in os.listxattr(of) if n.startswith("user.supafs.chat")], os.listxattr(of)


@check
def the_id_of_a_conversation():  # rule S9, rule N12
    path, other = put("goes.txt"), put("on.txt", "other text\n")
    answer(path + ".one.chat", "ASKED-1")
    id_ = chat.attribute(path + ".one.chat", "chat.id")
    got = answer(other + ".one.chat", f"---\ncontinue: {id_}\n---\nWhat?\nfind: ASKED-1")
    assert re.search(r'^found "ASKED-1": user 1: ASKED-1;', got, re.M) or " ASKED-1;" in got, got
    same("the name leads to it", id_, chat.attribute(other + ".one.chat", "chat.id"))
    answer(other + ".one.chat", "Again?")
    same("from now on", 3, len([t for t in chat.turns(other + ".one.chat") if t.kind == "user"]))


# ---- a dry run ------------------------------------------------------------------------------------


@check
def a_dry_run_asks_nobody():  # rule S8
    path = put("dry.pdf", "%PDF-1.4\n" + "some words\n" * 500)
    text = put("dry.txt", "some words of a text\n" * 500)
    before = admin("GET")
    got = answer(text + ".kim.chat", "---\ndry_run: yes\nsystem: Be short.\n---\nASKED-2")
    same("nobody was asked", before["kimi"]["requests"], chat.asked("kimi"))
    turns = chat.turns(text + ".kim.chat")
    same("turns", "dry-run", turns[-1].kind)
    for said in ("dry.txt", "kim", "kimi-k2.6", "EUR"):
        assert said in got, (said, got)
    tokens = [int(n) for n in re.findall(r"(\d+) tokens|tokens[ =:]+(\d+)", got) for n in n if n]
    assert tokens and 1500 < max(tokens) < 4000, got
    got = answer(text + ".kim.chat", "What?\nfind: ASKED-2\nfind: dry.txt")
    same("it is not sent later", 0, chat.found(got, "ASKED-2"))
    same("messages", ["system", "user"], [m["role"] for m in chat.chats("kimi", "kim")[-1]["messages"]])
    # What would have to be uploaded first is not.
    before = chat.asked("kimi")
    answer(path + ".kim.chat", "---\ndry_run: yes\n---\nWhat?")
    same("nobody was asked", before, chat.asked("kimi"))


@check
def looking_asks_nobody():  # rule R13, rule W14, rule S7
    path = put("look.txt")
    before = chat.asked("openai") + chat.asked("kimi")
    for name in ("chat", "chat.id", "chat.state", "chat.usage", "chat.settings", "chat.model", "error"):
        chat.attribute(path, name)
    os.stat(path)
    same("there is none", False, os.path.exists(path + ".chat"))
    same("requests", before, chat.asked("openai") + chat.asked("kimi"))


def run(top, *only):
    global TOP
    TOP = top
    admin("DELETE", "/log")
    return chat.run_checks(lambda: None, only)


def main(verb, *arguments):
    return {"config": write_config, "run": run}[verb](*arguments)


sys.exit(main(*sys.argv[1:]))
