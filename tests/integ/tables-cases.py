# SPDX-License-Identifier: GPL-3.0-or-later
"""The same requests to /rest/v1 of two servers, which must answer alike.

  tables-cases.py OBJECTS URL [URL]

URL is what is before /TABLE and /rpc/FUNCTION. OBJECTS is a file with lines BUCKET NAME and then, per
URL, ID and VERSION of an object that all have. The tables must be empty, the tokens are signed with
SUPABASE_JWT_SECRET. Compared are status, body, and the headers that tell something; ids and times
that a server made itself are masked. With one URL only the statuses are looked at. Prints a line per
case; exit status 1 when any differs.
"""
import json
import os
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path += [os.path.join(HERE, "..", "replay"), os.path.join(HERE, "..", "lib")]
import replay  # noqa: E402

SHOWN = ("content-type", "content-range", "preference-applied", "www-authenticate", "location")
TIME = re.compile(r"\b2[01]\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(\+00(:00)?|Z\b)")
UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b")
ALICE, BOB = "aaaaaaaa-0000-1000-8000-000000000001", "bbbbbbbb-0000-1000-8000-000000000002"
SHA = "0123456789abcdef" * 4


def uuid(n):
    """One that no server makes: those have a 4 where this has a 1."""
    return f"00000000-0000-1000-8000-{n:012d}"


def tokens(secret):
    now = int(time.time())

    def token(role, **claims):
        return replay.sign({"role": role, "exp": now + 600, **claims}, secret)
    return {"service": token("service_role"), "anon": token("anon"),
            "alice": token("authenticated", sub=ALICE), "bob": token("authenticated", sub=BOB),
            "nobody": token("authenticated"),
            "expired": replay.sign({"role": "service_role", "exp": now - 60}, secret)}


class Both:
    def __init__(self, urls, objects, signed):
        self.urls, self.objects, self.signed = urls, objects, signed
        self.failures = self.number = 0
        self.last = [""] * len(urls)
        self.cursors = {}

    def ask(self, side, method, path, body, who, headers):
        sent = {"Content-Type": "application/json", "apikey": os.environ["SUPABASE_ANON_KEY"]}
        sent.update(headers)
        if who:
            sent["Authorization"] = "Bearer " + self.signed[who]
        raw = body
        if body is not None and not isinstance(body, bytes):
            raw = json.dumps(body)
            for (bucket, name), there in self.objects.items():
                raw = raw.replace(f"<id of {bucket}/{name}>", there[side][0])
                raw = raw.replace(f"<version of {bucket}/{name}>", there[side][1])
            for name, there in self.cursors.items():
                raw = raw.replace(f"<cursor of {name}>", there[side])
            raw = raw.encode()
        request = urllib.request.Request(self.urls[side] + path, raw, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return reply.status, reply.headers, reply.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.headers, refused.read().decode()

    def masked(self, side, text):
        for (bucket, name), there in self.objects.items():
            text = text.replace(there[side][0], f"<id of {bucket}/{name}>")
            text = text.replace(there[side][1], f"<version of {bucket}/{name}>")
        return UUID.sub("<uuid>", TIME.sub("<time>", text))

    def case(self, status, method, path, body=None, who="service", **headers):
        """`path` with its escapes; headers by name with _ for -."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        seen = []
        for side in range(len(self.urls)):
            got, reply, text = self.ask(side, method, path, body, who, headers)
            self.last[side] = text
            shown = {name: self.masked(side, reply[name]) for name in SHOWN if reply[name]}
            seen.append((got, self.masked(side, text), shown))
        fine = all(one == seen[0] for one in seen) and seen[0][0] == status
        self.failures += not fine
        self.number += 1
        print(f"{'ok' if fine else 'FAILED':<7}{who or 'no token'}: {method} {path} {headers or ''}: "
              f"{seen[0][0]} {seen[0][1][:120]!r}")
        if not fine:
            print(f"       body {body!r}\n       wanted {status}")
            for one in seen:
                print(f"       {one}")


    def keep_cursor(self, name):
        """That of the last answers is <cursor of NAME> from now on."""
        self.cursors[name] = [json.loads(text).get("cursor") or "" for text in self.last]


def query(text):
    """Escapes all but what separates."""
    return urllib.parse.quote(text, safe="/?&=")


def fill(both):
    case = both.case
    rows = [{"file_id": uuid(n), "original_filename": name, "file_size": size, "mime_type": mime,
             "file_hash": SHA, "bucket_id": "b", "object_key": f"dir/{name}", "version": f"v{n}",
             "etag": f'"e{n}"', "tags": tags, "metadata": metadata,
             "upload_date": f"2026-01-0{n + 1}T00:00:00Z"}
            for n, (name, size, mime, tags, metadata) in enumerate((
                ("a.txt", 1, "text/plain", ["x", "y z"], {"kk": 1, "a": [1, None, "x"]}),
                ("b,c.txt", 20, "text/plain", [], {}),
                ('q"uo\\te', 300, None, ["NULL", 'q"', "", "a\\b"], {"z": {"y": {"x": "\u00e9\t"}}}),
                ("%_.bin", 4 << 40, "application/x", None, None),
                ("A.TXT", None, "TEXT/PLAIN", ["x"], {"b": True})))]
    case(201, "POST", "/file_metadata", rows)
    case(409, "POST", "/file_metadata", rows[0])
    case(409, "POST", "/file_metadata", dict(rows[0], file_id=uuid(9)))
    case(409, "POST", "/file_metadata", dict(rows[0], file_id=uuid(9)), Prefer="return=representation")
    case(201, "POST", "/file_metadata", dict(rows[0], file_id=uuid(5), object_key="six"),
         Prefer="return=representation")
    case(201, "POST", query("/file_metadata?select=original_filename,size:file_size,tags"),
         {"original_filename": 7, "file_size": "12", "tags": [1, None, True]},
         Prefer="return=representation")
    case(204, "DELETE", "/file_metadata?original_filename=eq.7")
    case(201, "POST", "/file_metadata", [])
    case(201, "POST", "/file_metadata", [], Prefer="return=representation")
    case(201, "POST", "/file_operations", {"id": uuid(1), "file_id": uuid(0), "operation_type": "copy"},
         Prefer="return=headers-only")
    case(201, "POST", "/file_operations", {"operation_type": "copy"}, Prefer="count=exact")
    case(400, "POST", "/file_operations", {"operation_type": "x" * 21})
    case(400, "POST", "/file_metadata", [{"file_size": 1}, {"mime_type": "x"}])
    case(201, "POST", "/file_operations?columns=id,status",
         [{"id": uuid(2), "status": "done", "source": "no"}, {"id": uuid(3)}],
         Prefer="return=representation")
    case(201, "POST", "/file_operations?columns=id,created_at",
         [{"id": uuid(4)}], Prefer="missing=default,return=representation")


def bad_bodies(both):
    case = both.case
    for column, value in (("file_size", "zz"), ("file_size", 1.5), ("file_size", "1" * 20),
                          ("access_count", 3000000000), ("upload_date", "zz"), ("file_id", 7),
                          ("tags", "zz"), ("tags", '{"a'), ("upload_date", "2026-13-01"), ("upload_date", "2026-02-30")):
        case(400, "POST", "/file_metadata", {column: value})
        case(400, "PATCH", "/file_metadata?file_size=eq.20", {column: value})
    case(400, "POST", "/file_metadata", {"nope": 1})
    case(400, "POST", "/file_metadata?columns=nope", {"file_size": 1})
    case(400, "PATCH", "/file_metadata?file_size=eq.20", {"nope": 1})
    case(400, "POST", "/file_metadata", b"{no")
    case(400, "PATCH", "/file_metadata?file_size=eq.20", b"{no")
    case(400, "POST", "/provider_files", {"sha256": "zz", "provider": "p", "account": "a",
                                          "purpose": "u"})
    case(400, "POST", "/provider_files", {"sha256": SHA, "provider": "p", "account": "a"})
    case(400, "POST", "/file_id_mappings", {"supabase_file_id": "x"})
    case(404, "POST", "/nope", {})
    case(404, "GET", "/nope?x=eq.1")
    case(404, "PATCH", "/nope?x=eq.1", {})
    case(404, "DELETE", "/nope")


def reads(both):
    case = both.case
    order = "&order=file_id"
    for what in ("*", "", "original_filename", "original_filename,file_size,mime_type", "tags,metadata",
                 "n:original_filename,file_size::text", "tags::text,metadata::text,upload_date::text"):
        case(200, "GET", query(f"/file_metadata?select={what}{order}"))
    for status, what in ((400, "nope"), (400, "original_filename,"), (400, "zz(*)")):
        case(status, "GET", query(f"/file_metadata?select={what}"))
    for column, test in (
            ("original_filename", "eq.a.txt"), ("original_filename", "eq.b,c.txt"),
            ("original_filename", 'eq.q"uo\\te'), ("original_filename", "neq.a.txt"),
            ("original_filename", 'in.(a.txt,"b,c.txt","q\\"uo\\\\te")'), ("original_filename", "in.()"),
            ("original_filename", "not.in.(a.txt)"), ("original_filename", "like.*.txt"),
            ("original_filename", "like.\\%\\_*"), ("original_filename", "like.?.txt"),
            ("original_filename", "ilike.a.txt"), ("original_filename", "not.ilike.*T*"),
            ("original_filename", "like.%_%"), ("original_filename", "eq."),
            ("original_filename", "gt.a.txt"), ("original_filename", "eq.'; drop table file_metadata"),
            ("file_size", "gt.20"), ("file_size", "gte.20"), ("file_size", "lt.20"),
            ("file_size", "lte.20"), ("file_size", "in.(1,20)"), ("file_size", "is.null"),
            ("file_size", "not.is.null"), ("file_size", "neq.1"), ("file_size", "not.eq.1"),
            ("tags", "cs.{x}"), ("tags", 'cs.{x,"y z"}'), ("tags", "cs.{}"), ("tags", 'cs.{"NULL"}'),
            ("tags", "cs.{NULL}"), ("tags", "eq.{}"), ("tags", "not.cs.{x}"), ("tags", "is.null"),
            ("metadata", 'cs.{"kk":1}'), ("metadata", 'cs.{"a":["x"]}'), ("metadata", "eq.{}"),
            ("metadata", 'cs.{"z":{"y":{}}}'),
            ("file_id", "eq." + uuid(1)), ("file_id", f"in.({uuid(1)},{uuid(2)})"),
            ("upload_date", "gt.2026-01-02"), ("upload_date", "eq.2026-01-02T01:00:00+01:00"),
            ("upload_date", "lte.2026-01-02 00:00:00Z"),
            ("or", '(original_filename.eq.a.txt,and(file_size.gt.1,mime_type.eq."text/plain"))'),
            ("and", "(file_size.gt.1,not.or(file_size.eq.20,file_size.eq.300))"),
            ("not.or", '(original_filename.in.(a.txt,"b,c.txt"),tags.cs.{x})'),
            ("not.and", "(file_size.gte.1,file_size.lt.300)"), ("or", "(file_size.is.null,file_size.eq.1)")):
        case(200, "GET", query(f"/file_metadata?select=original_filename&{column}={test}{order}"))
    case(200, "GET", query(f"/file_metadata?select=file_id&file_size=gt.1&file_size=lt.300{order}"))
    for status, column, test in (
            (400, "nope", "eq.1"), (400, "file_size", "zz.1"), (400, "file_size", "zz"),
            (400, "file_size", "eq.zz"), (400, "file_size", "in.(1,zz)"), (400, "file_size", "in.1"),
            (400, "file_size", "is.zz"), (400, "file_size", "is.true"), (404, "file_size", "like.1"),
            (404, "file_id", "ilike.1"), (404, "file_size", "cs.1"), (400, "tags", "cs.x"),
            (400, "tags", 'cs.{"a}'), (400, "file_id", "eq.1"), (400, "upload_date", "gt.zz"),
            (400, "file_size", "gt." + "9" * 20), (400, "or", "(nope.eq.1)"),
            (400, "order", "nope"), (400, "order", "file_size.zz")):
        case(status, "GET", query(f"/file_metadata?{column}={test}"))
    for text in ("file_size", "file_size.desc", "file_size.asc.nullsfirst", "file_size.desc.nullslast",
                 "mime_type,file_size.desc", "original_filename.desc", "file_size.nullsfirst"):
        case(200, "GET", query(f"/file_metadata?select=original_filename&order={text},file_id"))


def ranges(both):
    case = both.case
    at = "/file_metadata?select=file_size&order=file_id"
    case(200, "GET", at + "&limit=2")
    case(200, "GET", at + "&limit=2&offset=3")
    case(206, "GET", at + "&limit=2&offset=3", Prefer="count=exact")
    case(200, "GET", at, Prefer="count=exact")
    case(206, "GET", at + "&offset=1", Prefer="count=exact")
    case(416, "GET", at + "&offset=7", Prefer="count=exact")
    case(206, "GET", at + "&offset=6", Prefer="count=exact")
    case(200, "GET", at + "&offset=7")
    case(200, "GET", at + "&limit=0")
    case(206, "GET", at + "&limit=0", Prefer="count=exact")
    case(416, "GET", at + "&limit=-1")
    case(200, "GET", at + "&limit=zz")
    case(200, "GET", at + "&offset=-1")
    case(200, "GET", at, Range="1-2")
    case(200, "GET", at, Range="4-")
    case(206, "GET", at, Range="1-2", Range_Unit="items", Prefer="count=exact")
    case(200, "GET", at + "&limit=3", Range="2-9")
    case(416, "GET", at, Range="2-1")
    case(416, "GET", at, Range="10-20", Prefer="count=exact")
    case(206, "HEAD", at + "&limit=1", Prefer="count=exact")
    case(200, "HEAD", at)
    one = {"Accept": "application/vnd.pgrst.object+json"}
    case(200, "GET", at + "&file_size=eq.300", **one)
    case(406, "GET", at, **one)
    case(406, "GET", at + "&file_size=eq.-1", **one)
    case(415, "GET", at, Accept="image/png")
    case(200, "GET", at, Accept="text/html, */*")


def changes(both):
    case = both.case
    rows, count = {"Prefer": "return=representation"}, {"Prefer": "count=exact"}
    few = "&select=original_filename,file_size,mime_type,tags"
    case(204, "PATCH", "/file_metadata?file_size=eq.20", {"mime_type": "a/b"})
    case(204, "PATCH", "/file_metadata?file_size=eq.20", {"mime_type": None}, **count)
    case(200, "PATCH", "/file_metadata?file_size=eq.20" + few, {"tags": ["t"]}, **rows)
    case(200, "PATCH", "/file_metadata?file_size=eq.20" + few, [{"tags": "{a,NULL}"}], **rows)
    case(200, "PATCH", "/file_metadata?file_size=eq.-1", {"tags": ["t"]}, **rows)
    case(204, "PATCH", "/file_metadata?file_size=eq.-1", {"tags": ["t"]})
    case(204, "PATCH", "/file_metadata?file_size=eq.20", {})
    case(409, "PATCH", "/file_metadata?file_size=eq.20", {"object_key": "dir/a.txt"})
    case(409, "PATCH", "/file_metadata?file_size=eq.20", {"file_id": uuid(0)})
    case(200, "PATCH", "/file_metadata?file_size=eq.20" + few, {"file_size": 21},
         Prefer="return=representation,count=exact", Accept="application/vnd.pgrst.object+json")
    case(406, "PATCH", "/file_metadata?file_size=gt.20" + few, {"file_size": 22},
         Prefer="return=representation", Accept="application/vnd.pgrst.object+json")
    case(200, "GET", "/file_metadata?file_size=eq.21" + few)
    case(200, "DELETE", f"/file_metadata?file_id=eq.{uuid(5)}" + few,
         Prefer="return=representation,count=exact")
    case(204, "DELETE", f"/file_metadata?file_id=eq.{uuid(5)}", **count)
    case(200, "DELETE", f"/file_metadata?file_id=eq.{uuid(5)}", **rows)
    case(400, "DELETE", "/file_operations?limit=1")


def upserts(both):
    case = both.case
    at = "/provider_files?on_conflict=sha256,provider,account,purpose,owner_id"
    row = {"sha256": SHA, "provider": "p", "account": "a", "purpose": "u", "bytes": 5}
    merge = "resolution=merge-duplicates,return=representation"
    few = "&select=sha256,provider,state,bytes,owner_id"
    case(201, "POST", at + few, row, Prefer=merge)
    case(200, "POST", at + few, dict(row, bytes=6), Prefer=merge)
    case(200, "POST", at + few, dict(row, state="ready"), Prefer=merge + ",count=exact")
    case(201, "POST", at + few, [dict(row, bytes=7), dict(row, provider="q")], Prefer=merge)
    case(201, "POST", at + few, dict(row, bytes=8),
         Prefer="resolution=ignore-duplicates,return=representation")
    case(201, "POST", at + few, dict(row, bytes=8), Prefer="resolution=ignore-duplicates")
    case(409, "POST", at, row)
    case(400, "POST", at, [dict(row, bytes=1), dict(row, bytes=2)], Prefer=merge)
    case(400, "POST", "/provider_files?on_conflict=provider", row, Prefer=merge)
    case(400, "POST", "/provider_files?on_conflict=nope", row, Prefer=merge)
    case(201, "POST", "/file_operations?select=id,status", {"id": uuid(6), "status": "a"}, Prefer=merge)
    case(200, "POST", "/file_operations?select=id,status", {"id": uuid(6), "status": "b"}, Prefer=merge)
    case(200, "GET", "/provider_files?order=provider" + few)


def conversations(both):
    case = both.case
    rows = {"Prefer": "return=representation"}
    case(201, "POST", "/supafs_conversations", {"id": uuid(10), "continuation_id": "c1", "title": "T"},
         **rows)
    case(409, "POST", "/supafs_conversations", {"continuation_id": "c1"})
    case(400, "POST", "/supafs_conversations", {"title": "x"})
    case(400, "POST", "/supafs_conversations", {"continuation_id": "c2", "owner_id": ALICE})
    case(201, "POST", "/supafs_messages", [{"conversation_id": uuid(10), "role": "user", "content": "hi"},
                                           {"conversation_id": uuid(10), "role": "assistant",
                                            "content": "ho"}])
    case(409, "POST", "/supafs_messages", {"conversation_id": uuid(11), "role": "user"})
    case(400, "POST", "/supafs_messages", {"conversation_id": uuid(10), "role": "tool"})
    case(400, "POST", "/messages", {"conversation_id": uuid(10), "role": "tool"})
    case(200, "GET", "/supafs_messages?select=role,content&order=role", Prefer="count=exact")
    case(200, "PATCH", "/supafs_messages?role=eq.user&select=content", {"content": "2"}, **rows)
    case(400, "GET", "/supafs_messages?nothing_like_this=eq.1")
    case(201, "POST", "/conversation_files", {"conversation_id": uuid(10), "file_id": uuid(0)}, **rows)
    case(409, "POST", "/conversation_files", {"conversation_id": uuid(10), "file_id": uuid(0)})
    case(409, "POST", "/conversation_files", {"conversation_id": uuid(11), "file_id": uuid(0)})
    case(204, "DELETE", "/supafs_conversations?continuation_id=eq.c1", Prefer="count=exact")
    case(200, "GET", "/messages")
    case(200, "GET", "/conversation_files")


def roles(both):
    case = both.case
    rows = {"Prefer": "return=representation"}
    for who in (None, "anon"):
        case(401, "GET", "/file_metadata", who=who)
        case(401, "POST", "/file_metadata", {}, who=who)
        case(401, "PATCH", "/file_metadata?file_size=eq.1", {"file_size": 2}, who=who)
        case(401, "DELETE", "/file_metadata?file_size=eq.1", who=who)
        case(401, "GET", "/supafs_messages", who=who)
        case(401, "POST", "/rpc/supafs_about", {}, who=who)
    case(401, "GET", "/file_metadata", who="expired")
    case(200, "GET", "/file_metadata", who="alice", Prefer="count=exact")
    few = "?select=continuation_id,owner_id"
    case(201, "POST", "/conversations" + few, {"id": uuid(20), "continuation_id": "A"}, who="alice", **rows)
    case(201, "POST", "/supafs_conversations", {"id": uuid(21), "continuation_id": "B"}, who="bob")
    case(403, "POST", "/conversations", {"continuation_id": "C", "owner_id": ALICE}, who="bob")
    case(403, "POST", "/conversations", {"continuation_id": "C", "owner_id": None}, who="bob")
    case(403, "POST", "/conversations", {"continuation_id": "C"}, who="nobody")
    case(409, "POST", "/conversations", {"continuation_id": "A"}, who="bob")
    case(403, "POST", "/conversations?on_conflict=continuation_id", {"continuation_id": "A"}, who="bob",
         Prefer="resolution=merge-duplicates")
    case(200, "GET", "/conversations" + few, who="alice")
    case(200, "GET", "/supafs_conversations?select=continuation_id", who="bob", Prefer="count=exact")
    case(200, "GET", "/conversations", who="nobody")
    case(200, "PATCH", "/conversations" + few + "&continuation_id=eq.A", {"title": "x"}, who="bob", **rows)
    case(403, "PATCH", "/conversations?continuation_id=eq.B", {"owner_id": ALICE}, who="bob")
    case(204, "DELETE", "/conversations?continuation_id=eq.A", who="bob", Prefer="count=exact")
    case(201, "POST", "/supafs_messages", {"conversation_id": uuid(20), "role": "user"}, who="alice")
    case(403, "POST", "/supafs_messages", {"conversation_id": uuid(20), "role": "user"}, who="bob")
    case(403, "POST", "/messages", {"conversation_id": uuid(29), "role": "user"}, who="bob")
    case(200, "GET", "/messages", who="bob")
    case(200, "GET", "/messages?select=role", who="alice")
    case(400, "POST", "/file_id_mappings", {"provider": "p"}, who="bob")
    case(200, "GET", "/conversations?order=continuation_id&select=continuation_id")


def functions(both):
    case = both.case
    for who in ("service", "alice", "nobody"):
        case(200, "POST", "/rpc/supafs_about", {}, who=who)
    case(404, "POST", "/rpc/supafs_about", {"x": 1})
    case(404, "POST", "/rpc/supafs_map_id", {"p_file_id": "x"})
    case(404, "POST", "/rpc/nope", {})

    def map_id(file, provider, there, who="service", status=200):
        case(status, "POST", "/rpc/supafs_map_id",
             {"p_file_id": file, "p_provider": provider, "p_provider_file_id": there}, who)
    map_id("f1", "kimi", None)
    map_id("f1", "kimi", "k1")
    map_id("f1", "kimi", "k2")
    map_id("f1", "glm", "k1")
    map_id("f2", "kimi", "k1")
    map_id("f1", "kimi", None)
    map_id("f1", "kimi", None, "alice")
    map_id("f1", "kimi", "k9", "alice")
    map_id("f3", "kimi", "k3", "alice")
    map_id("f3", "kimi", None, "alice")
    map_id("f3", "kimi", "k4", "bob")
    map_id("f4", "kimi", "k4", "nobody", 403)
    map_id(None, "kimi", None, status=400)


def providers(both):
    def ask(what, status=200, who="service", sha256=SHA, **members):
        p = {"sha256": sha256, "provider": "glm", "account": "a", "purpose": "p", **members}
        both.case(status, "POST", "/rpc/supafs_provider_" + what,
                  {"p": {name: value for name, value in p.items() if value != ...}}, who)
    one = "<id of b/dir/one>"
    for who in ("service", "alice"):
        ask("claim", who=who, holder="x", lease_s=60, bytes=5)
        ask("claim", who=who, holder="x", lease_s=60)
        ask("claim", who=who, holder="y", lease_s=60)
        ask("settle", who=who, holder="y", provider_file_id="g-y")
        ask("settle", who=who, holder="x", error="it said no")
        ask("claim", who=who, holder="y", lease_s=60)
        ask("settle", who=who, holder="y", provider_file_id="g-" + who, file_id=one, bytes=6)
        ask("settle", who=who, holder="y", provider_file_id="g-z")
        ask("claim", who=who, holder="z", lease_s=60, file_id=one)
        both.case(200, "GET", "/file_id_mappings?provider=eq.glm&order=provider_file_id"
                  "&select=supabase_file_id,provider_file_id", who=who)
        both.case(200, "GET", "/provider_files?order=state,provider_file_id&select=sha256,provider,account,purpose,"
                  "provider_file_id,state,bytes,expires_at,lease_until,lease_by,error,owner_id", who=who)
    ask("claim", sha256=SHA[::-1], holder="x", lease_s=60)
    ask("settle", sha256=SHA[::-1], holder="x", provider_file_id="g-old", expires_at="2020-01-01T00:00:00Z")
    ask("claim", sha256=SHA[::-1], holder="y", lease_s=60)
    ask("settle", sha256=SHA[::-1], holder="y", provider_file_id="g-new", expires_at="2100-01-01T00:00:00Z",
        file_id=one)
    ask("claim", sha256=SHA[::-1], holder="z", lease_s=60)
    both.case(200, "POST", "/rpc/supafs_provider_drop", {"p": {"provider": "glm", "provider_file_id": "g-service"}},
              "bob")
    for name in ("g-service", "g-new", "g-nothing"):
        both.case(200, "POST", "/rpc/supafs_provider_drop", {"p": {"provider": "glm", "provider_file_id": name}})
    both.case(200, "GET", "/file_id_mappings?provider=eq.glm&select=provider_file_id")
    both.case(200, "GET", "/provider_files?select=provider_file_id,owner_id", Prefer="count=exact")
    ask("claim", 403, who="nobody", holder="x", lease_s=60)
    ask("settle", who="nobody", holder="x", provider_file_id="g")
    both.case(401, "POST", "/rpc/supafs_provider_claim", {"p": {}}, "anon")
    for wrong in ({"holder": 7}, {"holder": ""}, {"holder": None}, {"lease_s": "1"}, {"lease_s": 0}, {"lease_s": 1.5},
                  {"lease_s": 86401}, {"file_id": "x"}, {"bytes": -1}, {"sha256": SHA.upper()},
                  {"purpose": ...}):
        ask("claim", 400, **{"holder": "x", "lease_s": 60, **wrong})
    for wrong in ({}, {"provider_file_id": "g", "error": "e"}, {"provider_file_id": "g", "expires_at": "x"},
                  {"provider_file_id": "g", "bytes": -1}, {"error": []}):
        ask("settle", 400, holder="x", **wrong)
    for p in (None, [], 7, {}, {"provider": "glm"}):
        for what in ("claim", "settle", "drop"):
            both.case(400, "POST", "/rpc/supafs_provider_" + what, {"p": p})


def chats(both):
    def ask(what, status=200, who="alice", **p):
        both.case(status, "POST", "/rpc/supafs_chat_" + what, {"p": p}, who)

    def begin(conversation, n, status=200, who="alice", **p):
        ask("begin", status, who, **{"id": conversation, "message": uuid(n), "content": f"q {n}", **p})

    def end(conversation, n, status=200, who="alice", **p):
        ask("end", status, who, **{"id": conversation, "to": uuid(n), "message": uuid(n + 1), "content": "a", **p})
    one = {"holder": "h1", "lease_s": 60}
    ask("find", stem="s")
    begin("s-1", 500, title="t \u00e9", about={"key": "k", "lease": 1, "b": [1, {}]}, metadata={"supafs": {"x": 1}},
          file_id=uuid(900), **one)
    both.keep_cursor("q")
    begin("s-1", 500, **one)
    begin("s-1", 502, holder="h2", lease_s=9)
    begin("s-1", 502, 409, "bob", holder="h1", lease_s=9)
    begin("s-1", 502, 403, "nobody", holder="h1", lease_s=9)
    for who in ("alice", "bob", "service", "nobody"):
        ask("find", who=who, stem="s")
        ask("find", who=who, id="s-1")
        ask("turns", who=who, id="s-1")
        ask("lease", who=who, id="s-1", holder="h3", lease_s=0)
    ask("lease", id="s-1", holder="h1", lease_s=60)
    end("s-1", 500, 409, "bob", holder="h1")
    end("s-1", 504, 409, holder="h1")
    begin("s-1", 506, holder="late", metadata={"m": 1})
    end("s-1", 506, holder="late")
    both.keep_cursor("late")
    end("s-1", 500, holder="h1", metadata={"supafs": {"z": 1, "to": "x"}, "b": 2})
    end("s-1", 500, holder="h1")
    ask("lease", id="s-1", holder="h1", lease_s=1)
    begin("s-1", 508, holder="h2", lease_s=60, after="<cursor of q>", content=None)
    begin("s-1", 508, holder="h3", lease_s=60, after="<cursor of q>")
    ask("turns", id="s-1", after="<cursor of late>", unanswered=[uuid(500), uuid(506), 7])
    ask("turns", id="s-1", after="<cursor of late>", unanswered=[])
    ask("turns", id="s-1", limit=2)
    both.keep_cursor("page")
    ask("turns", id="s-1", limit=2, after="<cursor of page>")
    ask("turns", id="none", after="<cursor of page>")
    ask("turns", who="bob", id="s-1", after="<cursor of late>", unanswered=[uuid(500)])
    for other in ("s-2", "s-10", "s-9", "s-0", "s-011", "s-x", "sx-99"):
        begin(other, 520 + len(both.cursors), **one)
        both.keep_cursor(other)
    ask("find", stem="s")
    ask("close", who="bob", id="s-10")
    ask("close", id="s-10")
    ask("find", stem="s")
    begin("s-10", 590, **one)
    begin("s-10", 590, holder="late")
    begin("s-2", 500, 409, **one)
    for wrong in ({"id": ""}, {"id": None}, {"message": "x"}, {"message": 7}, {"holder": None}, {"lease_s": 0},
                  {"lease_s": 3601}, {"lease_s": "1"}, {"content": 7}, {"metadata": []}, {"about": "x"},
                  {"file_id": "x"}, {"after": "junk"}, {"after": "2026-13-01T00:00:00Z|x"}, {"title": {}}):
        begin("w-1", 600, 400, **{**one, **wrong})
    for wrong in ({"to": "x"}, {"message": None}, {"holder": ""}, {"content": []}, {"metadata": 7}):
        end("s-1", 500, 400, **{"holder": "h", **wrong})
    for wrong in ({"lease_s": -1}, {"lease_s": 3601}, {"lease_s": 0.5}, {"lease_s": "1"}, {"holder": None}, {}):
        ask("lease", 400, **{"id": "s-1", "holder": "h", **wrong})
    for wrong in ({"limit": 0}, {"limit": 1001}, {"limit": 1.5}, {"after": "x"}, {"after": 7}, {"unanswered": {}},
                  {"unanswered": [uuid(1)] * 101}, {"id": None}):
        ask("turns", 400, **{"id": "s-1", **wrong})
    for wrong in ({}, {"stem": "s", "id": "s-1"}, {"stem": "a%"}, {"stem": ""}, {"id": 7}):
        ask("find", 400, **wrong)
    for what in ("find", "turns", "begin", "lease", "end", "close"):
        for p in (None, [], {}):
            both.case(400, "POST", "/rpc/supafs_chat_" + what, {"p": p})
        both.case(401, "POST", "/rpc/supafs_chat_" + what, {"p": {}}, "anon")
    both.case(200, "GET", "/supafs_messages?select=id,role,content,metadata,conversation_id&order=id", who="alice")
    both.case(200, "GET", "/conversation_files?select=file_id&file_id=eq." + uuid(900), who="alice")


def record(both):
    case = both.case

    def send(batch, files=None, operations=None, accesses=None, who="service", status=200):
        case(status, "POST", "/rpc/supafs_record",
             {"p_batch": batch, "p_files": files, "p_operations": operations, "p_accesses": accesses}, who)
    one, two = "<id of b/dir/one>", "<id of b/two.css>"
    file = {"file_id": one, "bucket": "b", "key": "dir/one", "size": 8, "mime": "text/plain",
            "sha256": SHA, "version": "<version of b/dir/one>", "etag": '"e"', "tags": ["t1", "t 2"],
            "uploaded_at": "2026-01-01T00:00:00Z", "more": 1}
    operation = {"id": uuid(50), "file_id": one, "type": "upload", "source": "mount:" + "h" * 60,
                 "destination": "supabase", "status": "completed", "created_at": "2026-01-01T00:00:00Z",
                 "metadata": {"bytes": 8}}
    send(uuid(40), [file], [operation], [{"file_id": one, "n": 2, "last": "2026-01-02T00:00:00Z"}])
    send(uuid(40), [dict(file, sha256=None)])
    send(uuid(41), [], [dict(operation, status="again")],
         [{"file_id": one, "n": 3, "last": "2026-01-01T00:00:00Z"}, {"file_id": uuid(0), "n": 1},
          {"file_id": uuid(99), "n": 1}])
    few = "select=original_filename,supabase_storage_path,file_hash,tags,access_count,last_accessed"
    case(200, "GET", f"/file_metadata?{few}&access_count=gt.0&order=access_count")
    case(200, "GET", f"/file_operations?id=eq.{uuid(50)}")
    send(uuid(42), [{"file_id": one, "name": "renamed", "tags": []}])
    case(200, "GET", f"/file_metadata?{few}&original_filename=eq.renamed")
    send(uuid(43), [{"file_id": two, "bucket": "b", "key": "two.css", "sha256": SHA, "version": "older"},
                    {"file_id": uuid(60), "bucket": "b", "key": "gone"},
                    {"file_id": uuid(61), "bucket": "b", "key": "gone"},
                    {"file_id": uuid(0), "removed": True}, {"file_id": uuid(98), "removed": True}])
    case(200, "GET", "/file_metadata?bucket_id=eq.b&select=object_key,original_filename&order=object_key")
    for n, etag in (49, "other"), (50, '"7e55db001d319a94b0b713529a756623"'):
        send(uuid(n), [{"file_id": two, "sha256": SHA, "etag": etag}])
        case(200, "GET", "/file_metadata?object_key=eq.two.css&select=version,etag,file_hash")
    send(uuid(51), [{"file_id": two, "version": "older"}])
    send(uuid(44), None, None, None)
    send(uuid(45), [dict(file, file_id=one)], [dict(operation, id=uuid(51))], who="alice")
    send(uuid(46), [{"file_id": uuid(62), "bucket": "b", "key": "two.css"}], who="alice")
    send(uuid(47), [{"file_id": uuid(63), "key": "x"}], who="nobody", status=403)
    send(uuid(46), [], who="bob")
    for entry in ({"file_id": None}, {"file_id": "zz"}, {"file_id": one, "size": "zz"},
                  {"file_id": one, "uploaded_at": "zz"}, {}):
        send(uuid(48), [entry], status=400)
    send(uuid(48), {"a": 1}, status=400)
    send(uuid(48), [7], status=400)
    send(uuid(48), [], [{"type": "x"}], status=400)
    send(uuid(48), [], [], [{"file_id": one, "n": -1}], status=400)
    send("zz", status=400)
    send(None, status=400)
    case(200, "GET", "/supafs_batches?select=batch_id,owner_id&order=batch_id")


def objects(both):
    case = both.case

    def names(bucket, prefix, after, limit, who="service", status=200):
        case(status, "POST", "/rpc/supafs_list_dir",
             {"p_bucket": bucket, "p_prefix": prefix, "p_after": after, "p_limit": limit}, who)
    names("b", "", None, 100)
    names("b", "dir/", None, 100)
    names("b", "dir/", "dir/one", 1)
    names("b", None, None, 1)
    names("b", "%", None, 10)
    names("none", "", None, 10)
    names("b", "", None, 0, status=400)
    names(None, "", None, 1, status=400)
    names("b", "", None, "zz", status=400)
    names("b", "", None, 10, "alice")
    names("seen", "", None, 10, "alice")

    def find(who="service", status=200, **members):
        case(status, "POST", "/rpc/supafs_find", {"p": members}, who)
    find()
    find(bucket="b")
    find(bucket="b", prefix="dir/")
    find(prefix="%")
    for name in ("one", "*", "*.css", "t?o.*", "[a-t]wo.css", "[!a-s]wo.css", "*[(_]*", "\\*", "[", "?(x", "*(*", "?.x", "dir/one"):
        find(name=name)
    find(type="text/*")
    find(type="text/css")
    find(min_size=9)
    find(max_size=8, bucket="b")
    find(tag="t1")
    find(sha256=SHA)
    find(newer="2000-01-01")
    find(older="2000-01-01T00:00:00Z")
    find(limit=2)
    find(limit=2, after_bucket="b", after_key="dir/one")
    find(after_bucket="b")
    find(provider="kimi")
    find(provider_file_id="k1")
    find("alice")
    find("alice", name="*.css")
    find(status=400, limit=0)
    find(status=400, min_size="zz")
    find(status=400, newer="zz")
    find(more=1, limit=1)
    case(400, "POST", "/rpc/supafs_find", {"p": [1]})


def main():
    path, *urls = sys.argv[1:]
    known = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            bucket, name, *there = line.split()
            known[bucket, name] = list(zip(there[::2], there[1::2]))
    both = Both(urls, known, tokens(os.environ["SUPABASE_JWT_SECRET"]))
    for part in (fill, bad_bodies, reads, ranges, changes, upserts, conversations, roles, functions,
                 record, objects, providers, chats):
        part(both)
    print(f"{both.number} cases, {both.failures} differ")
    return 1 if both.failures else 0


if __name__ == "__main__":
    sys.exit(main())
