#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files for find.sh, what is asked about them, and their rows for another database.

    find.py make DIRECTORY        files with hostile names, contents that repeat, tags
    find.py ask SUPAFS BUCKETS    in a mount: all questions and their answers
    find.py both SUPAFS BUCKETS   the same, held against find(1)
    find.py copy BUCKETS          SQL that puts the dev server's objects and what its tables know of them
                                  into another database
"""

import hashlib
import json
import os
import subprocess
import sys
import urllib.request

NAMES = [
    b"plain.txt", b"UPPER.TXT", b"notes.md", b"IMG_0042.jpg", b"IMG_0043.jpg", b".hidden", b"a",
    "résumé.pdf".encode(), "éA1.pdf".encode(), "日本 B2.txt".encode(), "re\u0301sume\u0301.pdf".encode(),
    b"C#", b"C=@23", b"a=@41", b"=!Bp", b"[x].txt", b"st*r?.txt", b"back\\slash", b"new\nline.txt", b"\x1b[31mred",
    b"r\xe9sum\xe9.txt", b"\xff", b"%20.txt", b"%", b"100%_done", b"x.emptyFolderPlaceholder", b"x.e", b"it's",
    b"'; drop table storage.objects; --.txt", b'","bucket":"none', b"(*),or(id.eq.1)", b"a,b.c", b"-rf", b" lead",
    "=".encode() * 20, b"k" * 250, "日".encode() * 80, b"key", b"obj",
]
PATTERNS = [
    "*", "*.[tT][xX][tT]", "IMG_004?.jpg", "*é*", "é*", "r*sum*", "*A1*", "*1.p*", "日*", "C#", "C*", "?", "??", r"\[x\].txt",
    r"st\*r\?.txt", r"back\\slash", "new?line.txt", "*red", "%*", r"\%*", "*.e*", "x.*", "it's", "*drop table*", "*or(id.eq*",
    "-rf", " *", "=*", "=!*", "k*", "*obj*", "*[!a-z]", "both*", "none", "%obj*", "%key*", "*'; --*", "*\\", "",
]
TAGS = ["red", "green", "with space", "日本", "quote'\"", "a}b", "%", "re"]  # no file has the last


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def content(i):
    """Five contents, so that several names have each; the last is empty."""
    return (b"content %d\n" % (i % 5)) * (i % 5) * 100


def make(top):
    base = os.fsencode(top)
    for sub in (b"", b"/sub", b"/d'; select 1; --/deep"):
        os.makedirs(base + sub, exist_ok=True)
        for i, name in enumerate(NAMES):
            try:
                with open(base + sub + b"/" + name, "wb") as f:
                    f.write(content(i))
                if i % 3 == 0:
                    tags = [TAGS[i % 7], TAGS[(i + 2) % 7]]
                    os.setxattr(base + sub + b"/" + name, "user.supafs.tags", ",".join(tags).encode())
            except OSError as e:
                sys.exit(f"{name!r}: {e}")


def questions(buckets):
    """Arguments, and whether the order is that of find(1)."""
    for pattern in PATTERNS:
        yield ["--name", pattern, buckets[1]], True
    for size in ("0", "+0", "-1", "+1k", "-2k", "1100", "+100000"):
        yield ["--size", size], False
    for kind in ("text/*", "TEXT/plain", "image/jpeg", "image/*", "*/*", "text/x-other", "text/x-other;*utf-8", "x"):
        yield ["--type", kind], False
    for i in range(5):
        yield ["--sha256", sha256(content(i))], False
    yield ["--sha256", sha256(content(1)).upper(), "--name", "*.txt"], False
    yield ["--sha256", "0" * 64], False
    for tag in TAGS:
        yield ["--tag", tag], False
    yield ["--tag", "red", "--json", "--size", "+0"], False
    yield ["--tag", "green", "--name", "*.txt", "--limit", "2"], False
    yield ["--newer", "1h"], False
    yield ["--newer", "2099-01-01"], False
    yield ["--older", "1h"], False
    yield ["--older", "2099-01-01T00:00:00Z", "--size", "+2k"], False
    for n in ("1", "7", "1000"):
        yield ["--limit", n], False
    yield ["--limit", "3", "--name", "*.txt", f"./{buckets[1]}"], False
    for where in (f"{buckets[1]}/both", f"{buckets[1]}/sub", f"./{buckets[1]}/sub/", f"{buckets[1]}/%obj=both",
                  f"{buckets[1]}/plain.txt", f"{buckets[1]}/sub/C#", buckets[0], "."):
        yield [where], False
        yield ["--json", "--type", "*t*", where], False
    yield [f"{buckets[1]}/plain.txt", "--name", "*.md"], False
    yield ["--json", "--sha256", sha256(content(2))], False
    yield ["--same-as", f"{buckets[1]}/notes.md", buckets[1]], False


def find_1(pattern, top):
    got = subprocess.run(["find", top, "-type", "f", "-name", pattern, "-print0"], stdout=subprocess.PIPE, check=True,
                         env={**os.environ, "LC_ALL": "C.UTF-8"})
    return sorted(got.stdout.split(b"\0"))


def both(supafs, *buckets):
    return ask(supafs, *buckets, find=find_1)


def ask(supafs, *buckets, find=None):
    failed = 0
    for args, same in questions(buckets):
        more = [] if "--json" in args else ["-0"]
        if not any(os.path.exists(a) for a in args):
            args = [*args, "."]
        got = subprocess.run([supafs, "find", *more, *args], stdout=subprocess.PIPE, check=False)
        out = [line for line in got.stdout.split(b"\0" if more else b"\n") if line]
        print(f"{args} = {got.returncode}")
        for line in out:
            print("   ", ascii(os.fsdecode(line)))
        for line in out if find else []:
            row = None if more else json.loads(line)
            if not row and not os.path.lexists(line):
                sys.exit(f"{line!r} is not there")
            if row and row["path"] and os.path.getsize(os.fsencode(row["path"])) != row["size"]:
                sys.exit(f"{row} has another size")
        if got.returncode or (args[0] == "--tag" and len(args) == 3 and bool(out) == (args[1] == TAGS[-1])):
            failed = 1
        # Special names are found by what they stand for, too.
        if same and find:
            theirs = find(args[1], args[2])
            mine = sorted(out) + [b""]
            odd = [p for p in set(theirs) ^ set(mine) if b"/%obj" not in p and b"/%key" not in p]
            if odd or len(set(mine)) != len(mine):
                sys.exit(f"{args}: {odd} are found by one of both")
    return failed


def post(path, body):
    key = os.environ["SUPABASE_SERVICE_ROLE_KEY"]
    request = urllib.request.Request(os.environ["SUPABASE_URL"] + path, json.dumps(body).encode() if body else None,
                                     {"apikey": key, "Authorization": f"Bearer {key}", "Content-Type": "application/json"})
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def quoted(rows):
    text = json.dumps(rows)
    assert "$rows$" not in text
    return f"$rows${text}$rows$"


def copy(*buckets):
    objects = []
    while True:
        after = {"after_bucket": objects[-1]["bucket"], "after_key": objects[-1]["key"]} if objects else {}
        page = post("/rest/v1/rpc/supafs_find", {"p": after})
        objects += page
        if len(page) < 1000:
            break
    known = post("/rest/v1/file_metadata?limit=1000", None)
    print("begin;")
    for bucket in buckets:
        print(f"insert into storage.buckets (id, name) values ('{bucket}', '{bucket}');")
    print(f"""insert into public.file_metadata select * from
        jsonb_populate_recordset(null::public.file_metadata, {quoted(known)});
insert into storage.objects (id, bucket_id, name, version, updated_at, metadata)
    select o.id, o.bucket, o.key, coalesce(m.version, 'v'), o.updated_at, jsonb_build_object('size', o.size, 'mimetype', o.mime)
      from jsonb_to_recordset({quoted(objects)}) as o (bucket text, key text, id uuid, size bigint, mime text,
          updated_at timestamptz)
      left join public.file_metadata as m on m.file_id = o.id;
commit;""")


if __name__ == "__main__":
    sys.exit({"make": make, "ask": ask, "both": both, "copy": copy}[sys.argv[1]](*sys.argv[2:]))
