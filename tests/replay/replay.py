#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Replays the recorded exchanges with the real Storage server against the dev server.

  replay.py [-v] [--only GLOB] [--report FILE] DATA-DIR

DATA-DIR is the dev server's, the environment that of its project.env. THE PROJECT IS EMPTIED
FIRST: every bucket is removed. differences.txt says which recordings may differ and why, and which
routes are not there yet; a difference that is not listed fails, and so does a listed one that is
gone. Exit status 0 when all is as listed, 1 otherwise, 2 on wrong use.
"""
import argparse
import base64
import fnmatch
import hashlib
import hmac
import json
import os
import re
import sys
import time
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.append(os.path.join(HERE, "..", "lib"))
import compare  # noqa: E402
import seeds  # noqa: E402
import sigv4  # noqa: E402
import wire  # noqa: E402

NOT_THERE = "501"
DIFFERS = "differs"
# These were signed with a wrong secret.
BADLY_SIGNED = {"s3.bad_secret", "s3.session_token_service"}


TENANT = "supafs-devserver"


# --- tokens ------------------------------------------------------------------------------------

def sign(claims, secret):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    text = b".".join(part(json.dumps(x, separators=(",", ":")).encode())
                     for x in ({"alg": "HS256", "typ": "JWT"}, claims))
    return (text + b"." + part(hmac.digest(secret.encode(), text, hashlib.sha256))).decode()


def tokens(secret):
    """The placeholders of the recordings, and what takes their place."""
    now = int(time.time())
    user = "2f5b1cbf-5a3c-4a8e-9d51-7f0f6b9a1c11"
    valid = {"iat": now - 60, "exp": now + 3600, "iss": "supabase"}
    service = dict(valid, role="service_role")
    return {
        "<SERVICE_ROLE_JWT>": sign(service, secret),
        "<AUTHENTICATED_JWT>": sign(dict(valid, role="authenticated", sub=user), secret),
        "<EXPIRED_JWT>": sign(dict(service, iat=now - 7200, exp=now - 3600), secret),
        "<BAD_SIGNATURE_JWT>": sign(service, secret + "-another"),
        # In Authorization (auth.unknown_role) this was a well-signed token of a role that the
        # database does not know; later it is what an answer has brought, see keep_signed().
        "<SIGNED_TOKEN>": sign(dict(valid, role="nobody"), secret),
        "<SIGNED_UPLOAD_TOKEN>": sign(dict(valid, url="fx-main/tus/signed"), secret),
        "<S3_ACCESS_KEY_ID>": os.environ["AWS_ACCESS_KEY_ID"],
        "<SIG>": "0" * 64,
        "<TENANT>": TENANT,
        "<UPLOAD_ID>": "upload",
        "<BASE_URL>": "",
    }


# --- requests ----------------------------------------------------------------------------------

def whole_header(value):
    """The recorder cut long x-metadata values: '...<4012 chars>'. They were {"k": "vvv..."}."""
    cut = re.fullmatch(r"(\S+)\.\.\.<(\d+) chars>", value)
    if not cut:
        return value
    count = int(cut[2]) * 3 // 4 // 1000 * 1000
    whole = base64.b64encode(json.dumps({"k": "v" * count}).encode()).decode()
    assert len(whole) == int(cut[2]) and whole.startswith(cut[1]), "cut header not understood"
    return whole


def whole_body(body):
    """The body as bytes. Long ones were cut to 300 characters and their length."""
    if body is None:
        return None
    if isinstance(body, dict) and "_text_len" in body:
        head, length = body["_head"], body["_text_len"]
        if head.startswith('{"prefixes": ["n0"'):
            text = json.dumps({"prefixes": [f"n{i}" for i in range(1001)]})
        elif head.startswith("--XBOUND"):
            tail = "\r\n--XBOUND--\r\n"
            text = head + "m" * (length - len(head) - len(tail)) + tail
        else:
            text = head[0] * length
        assert len(text) == length and text.startswith(head), "cut body not understood"
        return text.encode()
    return (body if isinstance(body, str) else json.dumps(body)).encode()


class Replayer:
    def __init__(self, url, secret, data):
        parts = urllib.parse.urlsplit(url)
        self.base = parts.path.rstrip("/") + "/storage/v1"
        self.wire = wire.Wire(parts.hostname, parts.port or 80)
        self.tokens = tokens(secret)
        self.data = data
        self.comparison = compare.Comparison()
        self.pending = []  # connections of requests that wait, kept open
        self.uploads = {}  # the recorded last part of a resumable upload's URL -> ours

    def fill_in(self, text):
        for placeholder, value in self.tokens.items():
            text = text.replace(placeholder, value)
        return text

    def own_path(self, path):
        """The path with the URL of our own upload where the recording names one."""
        start, slash, last = path.rpartition("/")
        return self.base + self.fill_in(start + slash + self.uploads.get(last, last))

    def remember_upload(self, recorded, reply):
        theirs, ours = recorded["headers"].get("location"), reply.headers.get("location")
        if theirs and ours:
            self.uploads[theirs.rpartition("/")[2]] = ours.rpartition("/")[2]

    def sign(self, request, path, headers):
        """S3: the recorded claim with a signature of our own; a wrong key id gets one, too."""
        lower = {name.lower(): value for name, value in headers}
        claim = re.match(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\S+), SignedHeaders=(\S+), ",
                         lower.get("authorization", ""))
        if not claim:
            return headers
        secret = os.environ["SUPABASE_ANON_KEY" if claim[1] == TENANT else "AWS_SECRET_ACCESS_KEY"]
        lower["host"] = f"{self.wire.address[0]}:{self.wire.address[1]}"
        sign = sigv4.signature(request["method"], path, lower, claim[3].split(";"),
                               lower["x-amz-content-sha256"], lower["x-amz-date"], claim[2], secret)
        return [(name, value.replace("0" * 64, sign) if name == "Authorization" else value)
                for name, value in headers]

    def replay(self, name, request):
        headers = [(name, self.fill_in(whole_header(value)))
                   for name, value in request["headers"].items()]
        declared = None
        for header, value in headers:
            if header.lower() == "content-length":
                declared = int(value)
        headers = [h for h in headers if h[0].lower() != "content-length"]
        body = whole_body(request["body"])
        path = self.own_path(request["path"])
        if name not in BADLY_SIGNED:
            headers = self.sign(request, path, headers)
        return self.wire.send(request["method"], path, headers, body, declared)

    def keep_signed(self, recorded, reply):
        """Later requests have the token, or the upload, of the last answer that had one."""
        upload = re.search(rb"<UploadId>([^<]+)</UploadId>", reply.body)
        if upload:
            self.tokens["<UPLOAD_ID>"] = upload[1].decode()
        if "<SIGNED_TOKEN>" in json.dumps(recorded["body"]):
            found = re.search(rb'token=([\w.-]+)', reply.body)
            if found:
                self.tokens["<SIGNED_TOKEN>"] = found[1].decode()
                if b"/upload/sign/" in reply.body:
                    self.tokens["<SIGNED_UPLOAD_TOKEN>"] = found[1].decode()

    def s3(self, method, path, body):
        """An S3 request that must succeed."""
        host = f"{self.wire.address[0]}:{self.wire.address[1]}"
        headers = sigv4.signed(method, self.own_path(path), {}, "UNSIGNED-PAYLOAD",
                               os.environ["AWS_ACCESS_KEY_ID"],
                               os.environ["AWS_SECRET_ACCESS_KEY"], host)
        reply = self.wire.send(method, self.own_path(path), list(headers.items()), body)
        if reply.status != 200:
            raise SystemExit(f"replay: {method} {path}, needed before a recording, was answered "
                             f"{reply.status} {compare.short(reply.body.decode(errors='replace'))}")

    # --- what the seeds use -------------------------------------------------------------------

    def call(self, method, path, headers=(), body=None):
        own = [("Authorization", "Bearer " + self.tokens["<SERVICE_ROLE_JWT>"])]
        reply = self.wire.send(method, self.base + path, own + list(headers), body)
        if reply.status != 200:
            raise SystemExit(f"replay: {method} {path}, needed before a recording, was answered "
                             f"{reply.status} {compare.short(reply.body.decode(errors='replace'))}")
        return reply.body

    def json(self, method, path, value=None):
        if value is None:
            return json.loads(self.call(method, path))
        return json.loads(self.call(method, path, [("Content-Type", "application/json")],
                                    json.dumps(value).encode()))

    def create_bucket(self, name):
        self.json("POST", "/bucket", {"name": name})

    def drop_bucket(self, name):
        path = urllib.parse.quote(name, safe="")
        while True:
            page = self.json("POST", f"/object/list-v2/{path}", {"limit": 1000})
            keys = [row["name"] for row in page["objects"]]
            if not keys:
                break
            self.json("DELETE", f"/object/{path}", {"prefixes": keys})
        self.call("DELETE", f"/bucket/{path}")

    def put(self, bucket, key, body, content_type, cache_control=None, metadata=None):
        headers = [("Content-Type", content_type)]
        if cache_control:
            headers.append(("Cache-Control", cache_control))
        if metadata:
            headers.append(("x-metadata", base64.b64encode(metadata.encode()).decode()))
        time.sleep(0.002)  # times have milliseconds, and the recorded ones were all different
        self.call("PUT", f"/object/{bucket}/{urllib.parse.quote(key)}", headers, body)

    @staticmethod
    def policies(rules):
        request = urllib.request.Request(os.environ["SUPAFS_DEVSERVER_ADMIN"] + "/policies",
                                         json.dumps(rules).encode(), method="PUT")
        urllib.request.urlopen(request, timeout=10).close()

    def vanish(self, path, declared, part):
        own = [("Authorization", "Bearer " + self.tokens["<SERVICE_ROLE_JWT>"]),
               ("Content-Type", "text/plain")]
        self.wire.send_and_vanish("POST", self.base + path, own, declared, part)

    def begin_patch(self, recorded_id, declared, part):
        """A PATCH of a resumable upload that brings a part of its body and then waits."""
        own = [("Authorization", "Bearer " + self.tokens["<SERVICE_ROLE_JWT>"]),
               ("Tus-Resumable", "1.0.0"), ("Upload-Offset", "0"),
               ("Content-Type", "application/offset+octet-stream")]
        path = self.own_path("/upload/resumable/" + recorded_id)
        self.pending.append(self.wire.send_part("PATCH", path, own, declared, part))
        version = compare.opened_id(path.rpartition("/")[2]).rpartition("/")[2]
        arrived = os.path.join(self.data, "uploads", version)
        end = time.monotonic() + 10  # a look through the API would end the PATCH
        while os.path.getsize(arrived) < len(part) and time.monotonic() < end:
            time.sleep(0.01)


# --- the list of what may differ ---------------------------------------------------------------

class Entry:
    def __init__(self, number, kind, pattern, reason):
        self.number, self.kind, self.pattern, self.reason = number, kind, pattern, reason
        self.uses = 0

    def covers(self, name):
        return name == self.pattern or fnmatch.fnmatchcase(name, self.pattern)


def read_entries(path):
    """Lines of three fields with tabs between them: kind, name or glob, reason."""
    entries = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            fields = [f for f in line.split("\t") if f]
            if len(fields) != 3 or fields[0] not in (NOT_THERE, DIFFERS):
                raise SystemExit(f"replay: {path}:{number}: not 'kind<TAB>name<TAB>reason'")
            entries.append(Entry(number, *fields))
    return entries


def says_not_there(reply):
    """A 501 that says so: the usual error body with a message."""
    if reply.status != 501:
        return False
    if not reply.body:
        return True  # HEAD
    try:
        body = json.loads(reply.body)
    except ValueError:
        return False
    return str(body.get("statusCode")) == "501" and bool(body.get("message"))


class Verdict:
    """Counts, and says what is wrong. One line per recording that is not simply equal."""

    def __init__(self, entries, out):
        self.entries, self.out = entries, out
        self.equal = self.listed = self.not_there = self.wrong = 0

    def judge(self, name, request, reply, found):
        entry = next((e for e in self.entries if e.covers(name)), None)
        if entry:
            entry.uses += 1
        if entry and entry.kind == NOT_THERE:
            if says_not_there(reply):
                self.not_there += 1
                self.line("not there", name, [entry.reason])
            else:
                self.bad("ANSWERS", name, request,
                         [f"{reply.status} where {NOT_THERE} is listed (line {entry.number})"])
        elif entry and found:
            self.listed += 1
            self.line("differs", name, [compare.short("; ".join(found), 200),
                                        "reason: " + entry.reason])
        elif entry:
            self.bad("NO LONGER", name, request,
                     [f"equal now: take line {entry.number} out of the list"])
        elif found:
            self.bad("UNLISTED", name, request, found)
        else:
            self.equal += 1

    def bad(self, word, name, request, texts):
        self.wrong += 1
        self.line(word, name, texts + [f"({request['method']} {request['path'][:100]})"])

    def line(self, word, name, texts):
        self.out.append(f"{word:<10} {name:<40} " + "\n".ljust(53).join(texts))

    def finish(self, everything):
        for entry in self.entries:
            if everything and not entry.uses:
                self.wrong += 1
                self.line("UNUSED", entry.pattern, [f"line {entry.number} names no recording"])
        total = self.equal + self.listed + self.not_there + self.wrong
        return (f"{total} recordings: {self.equal} equal, {self.listed} listed differences, "
                f"{self.not_there} not there yet (501), {self.wrong} unexplained")


# --- main --------------------------------------------------------------------------------------

def main():
    parser = argparse.ArgumentParser(description="Replays recorded exchanges with Storage.")
    parser.add_argument("-v", "--verbose", action="store_true", help="name every recording")
    parser.add_argument("--only", default="*", metavar="GLOB",
                        help="judge these only (all are still sent: they build on each other)")
    parser.add_argument("--report", metavar="FILE", help="write the table there too")
    parser.add_argument("data", metavar="DATA-DIR", help="the dev server's --data")
    options = parser.parse_args()
    if not all(os.environ.get(name) for name in
               ("SUPABASE_URL", "SUPABASE_JWT_SECRET", "SUPABASE_ANON_KEY",
                "SUPAFS_DEVSERVER_ADMIN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")):
        parser.error("set what a project.env sets (source it)")

    replayer = Replayer(os.environ["SUPABASE_URL"], os.environ["SUPABASE_JWT_SECRET"],
                        options.data)
    table = []
    verdict = Verdict(read_entries(os.path.join(HERE, "differences.txt")), table)
    seeded = set()
    with open(os.path.join(HERE, "recordings.jsonl"), encoding="utf-8") as file:
        for line in file:
            recording = json.loads(line)
            name = recording["name"]
            if name in seeds.BEFORE and name not in seeded:
                seeded.add(name)
                seeds.BEFORE[name](replayer)
            try:
                reply = replayer.replay(name, recording["request"])
                replayer.remember_upload(recording["response"], reply)
                found = replayer.comparison.differences(recording["response"], reply)
                replayer.keep_signed(recording["response"], reply)
            except (wire.Broken, OSError) as problem:
                replayer.wire.close()
                reply, found = wire.Reply(0, {}, b""), [f"no answer: {problem}"]
            if options.verbose:
                print(f"{reply.status} {name}", file=sys.stderr)
            if fnmatch.fnmatchcase(name, options.only):
                verdict.judge(name, recording["request"], reply, found)
    missing = set(seeds.BEFORE) - seeded
    assert not missing, f"seeds for no recording: {missing}"
    table.append(verdict.finish(options.only == "*"))
    print("\n".join(table))
    if options.report:
        with open(options.report, "w", encoding="utf-8") as file:
            file.write("\n".join(table) + "\n")
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
