# SPDX-License-Identifier: GPL-3.0-or-later
"""Files with hostile names, attributes and bytes, and what the project's tables know of them.

  tables-hostile.py make DIRECTORY     makes them, gives some another name, prints how many there are
  tables-hostile.py check DIRECTORY    standard input: a JSON array of {"key", "name", "hash"}, the
                                       rows of the tables; each file has to have exactly one
"""
import hashlib
import json
import os
import sys

TEXTS = [
    "'; drop table public.file_metadata; --", "' or '1'='1", "\\'; delete from x; --", "$$; select 1; $$",
    "$q$", "E'\\047'", "U&'\\0027'", '"', '"quoted"', "\\", "\\\\", "a\\", ",", "a,b", "(a,b)", ")", "{}",
    '{"a","b"}', "[1,2)", "eq.a", "is.null", "in.(a,b)", "and=(a.eq.1)", "x&select=*", "x&limit=0", "a=b",
    "a?b#c", "a+b", " ", " a ", "%", "100%", "%25", "%2C", "%00", "%zz", "_", "*", "a*b", "(?i)*", "null",
    "NULL", "true", "0", "-1e5", "NaN", "\x01", "a\tb", "a\nb", "a\r\nX-Evil: 1", "\x1b[2J", "\x7f",
    "\u0080", "\u00e9", "e\u0301", "\U0001F600", "\u202e", "\ufeffx", "\uffff", "\U0010ffff", "\\u0000",
    "\\u0027", "<script>", "${x}", ":id", ";", "--", "/*", "x" * 200,
]


def names():
    return [text.replace("/", "\u2215") for text in TEXTS] + [f"a{t}b"[:60].replace("/", "") for t in TEXTS[:20]]


def content_type(name):
    """One that may be set, with as much of the name as a parameter can hold."""
    text = "".join(c for c in name if " " <= c <= "~")[:200]
    return 'text/x-hostile; a="' + text.replace("\\", "\\\\").replace('"', '\\"')[:220].rstrip("\\") + '"'


def make(top):
    done = sorted(set(names()))
    for i, name in enumerate(done):
        path = os.path.join(top, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(f"{i} {name}\n")
            f.flush()
            os.setxattr(f.fileno(), "user.note", name.encode())
            os.setxattr(f.fileno(), "user.supafs.content_type", content_type(name).encode())
            os.setxattr(f.fileno(), "user.supafs.cache_control", content_type(name)[5:].encode())
        if i % 7 == 0:
            os.rename(path, os.path.join(top, f"moved {name}"[:120]))
    print(len(done))


def check(top):
    rows = {row["hash"]: row for row in json.load(sys.stdin)}
    wrong = 0
    files = os.listdir(top)
    for name in files:
        path = os.path.join(top, name)
        with open(path, "rb") as f:
            data = f.read()
        row = rows.pop(hashlib.sha256(data).hexdigest(), None)
        if not row or row["name"] != row["key"].rpartition("/")[2]:
            print(f"{name!r}: {row}")
            wrong += 1
        note = os.getxattr(path, "user.note").decode()
        said = [os.getxattr(path, f"user.supafs.{what}").decode() for what in ("content_type", "cache_control")]
        if said != [content_type(note), content_type(note)[5:]] or row and row["type"] != said[0]:
            print(f"{name!r}: is told to be {said!r}, and the row has {row and row['type']!r}")
            wrong += 1
        if data.decode().partition(" ")[2] != note + "\n":
            print(f"{name!r}: its attribute is {note!r}")
            wrong += 1
    for row in rows.values():
        print(f"a row without a file: {row}")
    print(f"{len(files)} files, {wrong + len(rows)} wrong")
    return 1 if wrong or rows else 0


sys.exit(make(sys.argv[2]) if sys.argv[1] == "make" else check(sys.argv[2]))
