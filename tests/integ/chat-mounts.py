# SPDX-License-Identifier: GPL-3.0-or-later
"""Several mounts that go on with one conversation (docs/formats/chat.md, part 10). tests/integ/chat-mounts.sh
runs it.

    chat-mounts.py config FILE
    chat-mounts.py writers ROUNDS CHATFILE...    a writer for each, at once; each reads its own answers
    chat-mounts.py same ROWS CHATFILE...         all show the same turns, which are the rows of a table as psql
                                                 prints them (role, TAB, content as JSON), and in their order
    chat-mounts.py ask CHATFILE TEXT             prints the answer
"""
import json
import re
import sys
import threading
import os

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import chat  # noqa: E402
from chat import same  # noqa: E402


def write_config(path):
    chat.write_config(path, chat.section("o", "openai", model="any", concurrency=8))


def write_one(k, path, rounds, wrong):
    """Its own answers, in the order of its questions."""
    for i in range(rounds):
        got, failed = chat.ask(path, f"writer {k} question {i}.")
        if failed or f"You wrote: writer {k} question {i}.\n" not in got:
            wrong.append(f"writer {k} question {i}: {failed!r} {got!r}")


def writers(rounds, *paths):
    wrong = []
    threads = [threading.Thread(target=write_one, args=(k, path, int(rounds), wrong)) for k, path in enumerate(paths)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong, "\n".join(wrong)


def all_of(path, count):
    """What another mount has added shows within attr_ttl."""
    try:
        return chat.wait_for("all turns", lambda: len(chat.turns(path)) == count and chat.read(path), 3)
    except AssertionError as e:
        raise AssertionError(f"{path}: {count} are wanted, but: {[t.body[:40] for t in chat.turns(path)]}") from e


def agree(rows, *paths):
    with open(rows, encoding="utf-8") as f:
        wanted = [line.rstrip("\n").split("\t", 1) for line in f]
    wanted = [(role, json.loads(content)) for role, content in wanted]
    assert wanted, "no row"
    texts = []
    for path in paths:
        texts.append(all_of(path, len(wanted)))
        shown = [(t.kind, t.body) for t in chat.parse(texts[-1])[1]]
        for (role, content), (kind, body) in zip(wanted, shown):
            same(path, (role, content.rstrip("\n")), (kind, body.rstrip("\n")))
    for path, text in zip(paths, texts):
        same(f"the same bytes: {path}", texts[0], text)
    asked = [content for role, content in wanted if role == "user"]
    for k in {m[1] for m in map(re.compile(r"writer (\d+) ").match, asked) if m}:
        own = [c for c in asked if c.startswith(f"writer {k} ")]
        same(f"order of writer {k}", [f"writer {k} question {i}." for i in range(len(own))], own)


def ask(path, text):
    got, failed = chat.ask(path, text)
    same(chat.attribute(path, "error"), "", failed)
    print(got)


def main(verb, *arguments):
    {"config": write_config, "writers": writers, "same": agree, "ask": ask}[verb](*arguments)


main(*sys.argv[1:])
