#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resumable uploads and forms of the dev server, where the recordings say nothing: what is kept of a
broken request, the lock, ages and limits, forms in odd shapes.

  devserver-uploads.py BUCKET [begin FILE | end FILE]

`begin` starts an upload and leaves it, `end` completes it, with a restart of the server in between.
Exit status 1 when any check fails.
"""
import base64
import hashlib
import json
import os
import socket
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import wire  # noqa: E402
from devserver import BUCKET, Server, broken, check, run, seconds  # noqa: E402

OFFSET = "application/offset+octet-stream"
BIG = os.urandom(3 << 20)


# --- resumable uploads ---------------------------------------------------------------------------

def encoded(pairs):
    def value(text):
        return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()
    return ",".join(f"{k} {value(v)}" for k, v in pairs.items())


def create(server, key, length, body=None, headers=(), bucket=BUCKET, **metadata):
    own = [("Tus-Resumable", "1.0.0"),
           ("Upload-Metadata", encoded({"bucketName": bucket, "objectName": key, **metadata}))]
    own.append(("Upload-Defer-Length", "1") if length is None else ("Upload-Length", str(length)))
    if body is not None:
        own.append(("Content-Type", OFFSET))
    return server.call("POST", "/upload/resumable", body, own + list(headers))


def begun(server, key, length, **metadata):
    reply = create(server, key, length, **metadata)
    assert reply.status == 201, (reply.status, reply.body)
    return reply.headers["location"].rpartition("/")[2]


def opened(upload):
    text = base64.urlsafe_b64decode(upload + "=" * (-len(upload) % 4)).decode()
    return text.rpartition("/")


def patch(server, upload, offset, body, headers=(), timeout=20):
    return server.call("PATCH", "/upload/resumable/" + upload, body,
                       [("Tus-Resumable", "1.0.0"), ("Content-Type", OFFSET),
                        ("Upload-Offset", str(offset))] + list(headers), timeout)


def patched(server, upload, offset, body, headers=()):
    reply = patch(server, upload, offset, body, headers)
    assert reply.status == 204, (reply.status, reply.body)
    return int(reply.headers["upload-offset"])


def head(server, upload):
    return server.call("HEAD", "/upload/resumable/" + upload, None, [("Tus-Resumable", "1.0.0")], 20)


def offset_of(server, upload):
    reply = head(server, upload)
    assert reply.status == 200, reply.status
    return int(reply.headers["upload-offset"])


def info(server, key):
    reply = server.info(key)
    assert reply.status == 200, reply.body
    return json.loads(reply.body)


class Half:
    """A PATCH that has sent a part of its body and waits with the rest."""

    def __init__(self, server, upload, offset, whole, part):
        self.socket = socket.create_connection(server.api, 20)
        self.socket.sendall(
            (f"PATCH /storage/v1/upload/resumable/{upload} HTTP/1.1\r\nHost: x\r\n"
             f"Authorization: Bearer {server.key}\r\nTus-Resumable: 1.0.0\r\n"
             f"Content-Type: {OFFSET}\r\nUpload-Offset: {offset}\r\n"
             f"Content-Length: {whole}\r\n\r\n").encode() + part)
        time.sleep(0.3)  # no look without taking the upload away

    def answer(self):
        data = b""
        while True:
            piece = self.socket.recv(65536)
            if not piece:
                return data.decode()
            data += piece


@check
def pieces(server):
    """The object appears with the last piece, under the version that the URL names."""
    upload = begun(server, "dir/pieces", len(BIG), contentType="image/png", cacheControl="60",
                   metadata='{"a": {"b": 1}}')
    path, _, version = opened(upload)
    assert path == f"{BUCKET}/dir/pieces", path
    at = 0
    for size in (1, 1 << 20, 0, 70000):
        at = patched(server, upload, at, BIG[at:at + size])
        assert offset_of(server, upload) == at
        assert server.info("dir/pieces").status == 400
    assert patched(server, upload, at, BIG[at:]) == len(BIG)
    row = info(server, "dir/pieces")
    assert row["version"] == version and row["size"] == len(BIG), row
    assert row["etag"] == f'"{hashlib.md5(BIG).hexdigest()}"', row
    assert (row["content_type"], row["cache_control"]) == ("image/png", "max-age=60"), row
    assert row["metadata"] == {"a": {"b": 1}}, row
    assert server.get("dir/pieces").body == BIG
    assert offset_of(server, upload) == len(BIG)


@check
def location_manners(server):
    """Always https, the host as asked for, no /storage/v1."""
    location = create(server, "loc", 5).headers["location"]
    host = f"{server.api[0]}:{server.api[1]}"
    assert location.startswith(f"https://{host}/upload/resumable/"), location


@check
def broken_patch_keeps_its_bytes(server):
    upload = begun(server, "broken", len(BIG))
    server.faults({"kind": "reset_body", "after": 1000001, "method": "PATCH", "times": 1})
    broken(patch, server, upload, 0, BIG)
    assert offset_of(server, upload) == 1000001
    half = Half(server, upload, 1000001, 500, BIG[1000001:1000010])
    half.socket.close()
    assert seconds(offset_of, server, upload) < 2, "a lock of a client that has gone"
    assert offset_of(server, upload) == 1000010
    patched(server, upload, 1000010, BIG[1000010:])
    assert server.get("broken").body == BIG


@check
def lost_replies(server):
    """Work done and no reply: the offset says so, a repetition conflicts or finds the end."""
    upload = begun(server, "lost", 10)
    server.faults({"kind": "reset_after", "method": "PATCH"})
    broken(patch, server, upload, 0, b"01234")
    assert offset_of(server, upload) == 5
    broken(patch, server, upload, 5, b"56789")
    server.faults({"kind": "error_after", "status": 500, "method": "PATCH", "times": 1})
    assert server.get("lost").body == b"0123456789"
    assert offset_of(server, upload) == 10
    assert patch(server, upload, 5, b"56789").status == 500
    assert patch(server, upload, 10, b"").status == 409
    assert patched(server, upload, 10, b"", [("x-upsert", "true")]) == 10


@check
def second_request_takes_over(server):
    """The first is answered with what it brought, after the drain time; the second conflicts."""
    server.settings(tus_drain_ms=500)
    upload = begun(server, "lock", 10)
    half = Half(server, upload, 0, 5, b"xx")
    began = time.monotonic()
    reply = patch(server, upload, 0, b"zzzzz")
    took = time.monotonic() - began
    assert (reply.status, reply.body) == (409, b"Upload-Offset conflict\n"), reply.body
    assert 0.45 < took < 3, took
    answer = half.answer()
    assert answer.startswith("HTTP/1.1 204 ") and "upload-offset: 2\r\n" in answer, answer
    assert offset_of(server, upload) == 2
    half = Half(server, upload, 2, 8, b"yyy")
    assert offset_of(server, upload) == 5, "a look takes over, too"
    assert "upload-offset: 5\r\n" in half.answer()
    assert patched(server, upload, 5, b"01234") == 10
    assert server.get("lock").body == b"xxyyy01234"


@check
def holder_that_ends_in_time(server):
    """Whose body comes within the drain time keeps the lock to its end."""
    server.settings(tus_drain_ms=5000)
    upload = begun(server, "drain", 10)
    half = Half(server, upload, 0, 5, b"xx")
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(patch(server, upload, 5, b"01234")))
    waiting.start()
    time.sleep(0.3)
    half.socket.sendall(b"yyy")
    waiting.join(10)
    assert [a.status for a in answers] == [204], answers
    assert server.get("drain").body == b"xxyyy01234"


@check
def longest_wait(server):
    """A holder that may go on: the next one gives up after 5 s."""
    server.settings(tus_drain_ms=60000)
    upload = begun(server, "wait", 10)
    half = Half(server, upload, 0, 5, b"xx")
    reply = patch(server, upload, 0, b"zzzzz")
    assert (reply.status, reply.body) == (503, b"acquiring lock timeout"), reply.body
    half.socket.sendall(b"yyy")
    half.socket.shutdown(socket.SHUT_WR)
    assert "upload-offset: 5\r\n" in half.answer().lower()


@check
def upsert_is_asked_again(server):
    """Each request says x-upsert itself; the first of two without it wins, with it the last."""
    first, second = begun(server, "two", 3), begun(server, "two", 3)
    patched(server, first, 0, b"one")
    for reply in (patch(server, second, 0, b"two"), create(server, "two", 3),
                  server.call("DELETE", "/upload/resumable/" + second, None,
                              [("Tus-Resumable", "1.0.0")])):
        assert (reply.status, reply.body) == (409, b"The resource already exists"), reply.body
    assert server.get("two").body == b"one"
    patched(server, second, 0, b"two", [("x-upsert", "true")])
    assert server.get("two").body == b"two"
    assert info(server, "two")["version"] == opened(second)[2]
    assert head(server, first).status == 410, "its version is gone"


@check
def overwriting_keeps_metadata(server):
    """Without metadata of its own an upload leaves those that are there; no JSON counts as none."""
    for text, wanted in (('{"a":1}', {"a": 1}), (None, {"a": 1}), ("no json", {"a": 1}),
                         ('{"b":2}', {"b": 2})):
        extra = {} if text is None else {"metadata": text}
        reply = create(server, "kept", 1, b"x", [("x-upsert", "true")], **extra)
        assert reply.status == 201 and reply.headers["tus-complete"] == "1", reply.body
        assert info(server, "kept")["metadata"] == wanted, text
    for text, status in (("5", 201), ("null", 201), ('"text"', 400), ("[1]", 400)):
        assert create(server, "scalar" + str(len(text)), 1, b"x", [("x-upsert", "true")],
                      metadata=text).status == status, text


@check
def cache_control_is_seconds(server):
    for text, wanted in (("3600", "max-age=3600"), ("-1", "max-age=-1"), ("max-age=5", "no-cache"),
                         ("5 ", "no-cache"), (None, "no-cache")):
        extra = {} if text is None else {"cacheControl": text}
        assert create(server, "cache", 0, None, [("x-upsert", "true")], **extra).status == 201
        row = info(server, "cache")
        assert row["cache_control"] == wanted, (text, row)
        assert row["content_type"] == "application/octet-stream", row


@check
def deferred_length(server):
    upload = begun(server, "defer", None)
    reply = head(server, upload)
    assert reply.headers.get("upload-defer-length") == "1", reply.headers
    assert "upload-length" not in reply.headers
    patched(server, upload, 0, b"abc")
    assert patch(server, upload, 3, b"d", [("Upload-Length", "2")]).status == 400, "too short"
    reply = patch(server, upload, 3, b"d", [("Upload-Length", "524288001")])
    assert (reply.status, reply.body) == (413, b"Maximum size exceeded\n"), reply.body
    patched(server, upload, 3, b"d", [("Upload-Length", "5")])
    assert head(server, upload).headers["upload-length"] == "5"
    assert patch(server, upload, 4, b"e", [("Upload-Length", "5")]).status == 400, "given twice"
    patched(server, upload, 4, b"e")
    assert server.get("defer").body == b"abcde"


@check
def bodies_without_length(server):
    chunked = [("Transfer-Encoding", "chunked")]
    upload = begun(server, "chunked", 8)
    patched(server, upload, 0, b"abcd", chunked)
    reply = patch(server, upload, 4, b"too much", chunked)
    assert (reply.status, reply.body) == (413, b"Maximum size exceeded\n"), reply.body
    patched(server, upload, 4, b"efgh", chunked)
    assert server.get("chunked").body == b"abcdefgh"
    reply = create(server, "with", 2, b"abc")
    assert (reply.status, reply.body) == (413, b"upload's size exceeded\n"), reply.body


@check
def bucket_limits(server):
    server.json("POST", "/bucket", {"name": "tus-limits", "file_size_limit": 100,
                                    "allowed_mime_types": ["text/*"]})
    def said(length, **metadata):
        reply = create(server, f"x{time.monotonic_ns()}", length, bucket="tus-limits", **metadata)
        return reply.status, reply.body.decode()
    assert said(100, contentType="text/plain")[0] == 201
    assert said(101, contentType="text/plain") == (413, "Maximum size exceeded\n")
    assert said(1, contentType="image/png") == (415, "mime type image/png is not supported")
    assert said(1)[0] == 201, "no type is not looked at"
    server.settings(global_limit=50)
    assert said(51, contentType="text/plain")[0] == 413
    upload = begun(server, "d", None, bucket="tus-limits", contentType="text/plain")
    reply = patch(server, upload, 0, b"x" * 51)
    assert (reply.status, reply.body) == (413, b"upload's size exceeded\n"), reply.body
    server.settings(standard_limit=5)
    assert said(50, contentType="text/plain")[0] == 201, "the limit of one request"


@check
def end_of_life(server):
    """An upload that is too old is gone, and its bytes with the next creation."""
    assert "upload-expires" in create(server, "new", 5).headers
    server.settings(tus_expiry_s=0)
    assert "upload-expires" not in create(server, "new", 5).headers
    server.settings(tus_expiry_s=0.5)
    upload = begun(server, "old", 5)
    reply = patch(server, upload, 0, b"abc")
    assert reply.status == 204 and "upload-expires" in reply.headers, reply.headers
    time.sleep(0.6)
    reply = patch(server, upload, 3, b"de")
    assert (reply.status, reply.body) == (410, b"The file for this url no longer exists\n"), reply.body
    assert head(server, upload).status == 410
    begun(server, "other", 5)
    assert head(server, upload).status == 404
    names = os.listdir(os.path.join(os.environ["SF_PROJECT_DIR"], "uploads"))
    assert opened(upload)[2] not in names and len(names) == 1, names


@check
def only_so_many(server):
    """Beyond their number the oldest go, and those that are complete before the others."""
    server.settings(tus_max=3)
    first, done = begun(server, "n1", 5), begun(server, "n2", 1)
    patched(server, done, 0, b"x")
    third = begun(server, "n3", 5)
    fourth = begun(server, "n4", 5)
    assert [head(server, u).status for u in (first, done, third, fourth)] == [200, 404, 200, 200]
    begun(server, "n5", 5)
    assert [head(server, u).status for u in (first, third, fourth)] == [404, 200, 200]
    assert server.get("n2").body == b"x"


@check
def termination(server):
    upload = begun(server, "gone", 5)
    patched(server, upload, 0, b"abc")
    def ended(headers=()):
        reply = server.call("DELETE", "/upload/resumable/" + upload, None,
                            [("Tus-Resumable", "1.0.0")] + list(headers))
        return reply.status, reply.body.decode()
    assert ended() == (204, "")
    assert ended() == (404, "The file for this url was not found\n")
    upload = begun(server, "done", 1)
    patched(server, upload, 0, b"x")
    assert ended([("x-upsert", "true")]) == (400, "Cannot terminate an already completed upload")
    assert server.call("DELETE", f"/object/{BUCKET}/done").status == 200
    assert head(server, upload).status == 410


@check
def signed_uploads(server):
    """The token stands for all rights, on each request; one for reading, or another key, does not."""
    def signed(path, value=None):
        reply = server.json("POST", path, value) if value else server.call("POST", path)
        assert reply.status == 200, reply.body
        answer = json.loads(reply.body)
        return (answer.get("url") or answer["signedURL"]).rpartition("=")[2]

    def send(method, path, token, body=None, *headers):
        own = [("Tus-Resumable", "1.0.0"), *headers]
        own += [("x-signature", token)] if token else []
        one = wire.Wire(*server.api, 20)
        try:
            return one.send(method, "/storage/v1/upload/resumable/sign" + path, own, body)
        finally:
            one.close()
    server.put("signed", b"old")
    token = signed(f"/object/upload/sign/{BUCKET}/signed2")
    names = ("Upload-Metadata", encoded({"bucketName": BUCKET, "objectName": "signed2"}))
    offset = (("Content-Type", OFFSET), ("Upload-Offset", "0"))
    reply = send("POST", "", token, None, names, ("Upload-Length", "3"))
    assert reply.status == 201, reply.body
    path = reply.headers["location"].partition("/upload/resumable/sign")[2]
    for other, text in ((None, b"Missing x-signature header"), ("x", b"Invalid Compact JWS"),
                        (signed(f"/object/upload/sign/{BUCKET}/third"), b"Invalid signature"),
                        (signed(f"/object/sign/{BUCKET}/signed", {"expiresIn": 60}),
                         b"Token is not scoped for upload")):
        reply = send("PATCH", path, other, b"abc", *offset)
        assert (reply.status, reply.body) == (400, text), reply.body
        assert send("HEAD", path, other).status == 400
    assert send("HEAD", path, token).headers["upload-offset"] == "0"
    server.put("signed2", b"before")
    assert send("PATCH", path, token, b"abc", *offset).headers["tus-complete"] == "1"
    assert server.get("signed2").body == b"abc"
    reading = signed(f"/object/sign/{BUCKET}/signed2", {"expiresIn": 60})
    reply = send("POST", "", reading, None, names, ("Upload-Length", "3"))
    assert (reply.status, reply.body) == (400, b"Token is not scoped for upload"), reply.body


@check
def odd_requests(server):
    def said(method, path, headers=(), body=None):
        reply = server.call(method, path, body, [("Tus-Resumable", "1.0.0")] + list(headers))
        return reply.status, reply.body.decode()
    at = [("Content-Type", OFFSET), ("Upload-Offset", "0")]
    assert said("PATCH", "/upload/resumable/!!!", at) == (400, "Invalid upload id")
    assert said("PATCH", "/upload/resumable/", at)[0] == 404
    assert said("PATCH", "/upload/resumable/YS9iLw", at) == (400, "Version not provided")
    assert said("PATCH", "/upload/resumable/x", [("Upload-Offset", "01")]) == (400, "Invalid upload-offset\n")
    assert said("PUT", "/upload/resumable/x") == (404, "Not found\n")
    assert said("POST", "/upload/resumable", [("Upload-Length", "1"), ("Upload-Defer-Length", "1"),
                ("Upload-Metadata", "a")])[0] == 400
    assert said("POST", "/upload/resumable", [("Upload-Length", "1"), ("Upload-Metadata", "a")]) == \
        (400, "Bucket name invalid")
    for text in ("a b c", "a YQ==,a YQ==", ",", "a YQ=", "\u00fc YQ=="):
        assert said("POST", "/upload/resumable", [("Upload-Length", "1"), ("Upload-Metadata", text)]) \
            == (400, "Invalid upload-metadata\n"), text


# --- forms ---------------------------------------------------------------------------------------

def form(*parts, end=b"--B--\r\n"):
    """Parts are (name, body) for fields and (name, body, headers) for files."""
    out = b""
    for name, body, *more in parts:
        disposition = f'form-data; name="{name}"' + ('; filename="x; \\"y\\".txt"' if more else "")
        out += f"--B\r\nContent-Disposition: {disposition}\r\n".encode()
        out += "".join(f"{h}\r\n" for h in (more[0] if more else ())).encode() + b"\r\n"
        out += (body if isinstance(body, bytes) else body.encode()) + b"\r\n"
    return out + end


def send_form(server, key, body, method="POST", headers=(), kind="multipart/form-data; boundary=B"):
    return server.call(method, f"/object/{BUCKET}/{key}", body, [("Content-Type", kind)] + list(headers))


@check
def form_fields(server):
    """Metadata of 60 KB, which no header carries; a type of its own; what follows the file is late."""
    metadata = {"long": "x" * 60000}
    reply = send_form(server, "form", form(
        ("cacheControl", "77"), ("metadata", json.dumps(metadata)), ("contentType", "text/css"),
        ("any", "z"), ("", BIG, ["Content-Type: Text/Plain; charset=utf-8"]), ("cacheControl", "5")))
    assert reply.status == 200, reply.body
    row = info(server, "form")
    assert row["metadata"] == metadata
    assert (row["content_type"], row["cache_control"]) == ("text/css", "max-age=77"), row
    assert server.get("form").body == BIG
    assert send_form(server, "form", form(("f", b"")), "PUT").status == 400
    assert send_form(server, "form", form(("f", b"", [])), "PUT").status == 200
    row = info(server, "form")
    assert (row["content_type"], row["cache_control"], row["size"]) == ("text/plain", "no-cache", 0)
    assert row["metadata"] == {}, row
    assert json.loads(send_form(server, "form", form(("f", b"x", []))).body)["code"] == "KeyAlreadyExists"


@check
def form_metadata(server):
    """Only an object is kept; a field that says it is JSON is no text any more."""
    for number, parts in enumerate(((("metadata", "5"),), (("metadata", "null"),), (("userMetadata", '{"a":1}'),),
                                    (("metadata", '{"a":1}'), ("metadata", '{"b":1}')))):
        assert send_form(server, f"m{number}", form(*parts, ("f", b"x", []))).status == 200
        assert info(server, f"m{number}")["metadata"] == ({"a": 1} if number == 2 else {}), parts
    typed = (b'--B\r\nContent-Disposition: form-data; name="metadata"\r\n'
             b'Content-Type: application/json\r\n\r\n{"j":1}\r\n')
    assert send_form(server, "typed", typed + form(("f", b"x", []))).status == 200
    assert info(server, "typed")["metadata"] == {}


@check
def form_boundaries(server):
    """The end of a part is found wherever the pieces of the body are cut, and only there."""
    tricky = b"\r\n--\r\n--A\r\n-\r\r\n--b" * 3 + b"\r\n-"
    body = form(("cacheControl", "1"), ("f", tricky, []))
    head = (f"PUT /storage/v1/object/{BUCKET}/tricky HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Authorization: Bearer {server.key}\r\nContent-Length: {len(body)}\r\n"
            "Content-Type: multipart/form-data; boundary=\"B\"\r\n\r\n").encode()
    for step in (1, 2, 3, 7):
        with socket.create_connection(server.api, 20) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(head)
            for at in range(0, len(body), step):
                connection.sendall(body[at:at + step])
                time.sleep(0.001)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert server.get("tricky").body == tricky, step


@check
def forms_refused(server):
    def said(body, key="refused", **more):
        reply = send_form(server, key, body, **more)
        answer = json.loads(reply.body)
        return answer.get("code", "Key"), answer.get("message")
    one = ("f", b"x", [])
    assert said(form(one), kind="multipart/form-data") == ("InvalidRequest", "Multipart: Boundary not found")
    closed = ("InvalidRequest", "Request stream closed before upload could begin")
    assert said(form(one, end=b"")) == closed
    assert said(form(("f", BIG, []), end=b""))[0] == "InternalError"
    assert said(form(("a", "b"), end=b"")) == ("InvalidRequest", "Unexpected end of multipart data")
    assert said(form()) == said(b"") == ("InvalidRequest", "No content provided")
    assert said(form(*[(f"n{i}", "v") for i in range(11)], one)) == closed
    for metadata in ('"text"', "[1]"):
        assert said(form(("metadata", metadata), one))[0] == "InvalidParameter"
    assert said(form(one), key="a%23b")[0] == "InvalidKey"
    server.settings(standard_limit=100000)
    assert said(form(("f", b"x" * 100001, [])))[0] == "EntityTooLarge"
    assert server.info("refused").status == 400
    assert said(form(("metadata", "no json"), ("f", b"x" * 100000, [])))[0] == "Key"
    server.settings(standard_limit=0)


@check
def forms_are_streamed(server):
    """A form of 40 MiB leaves no 40 MiB of memory behind it, and none while it comes."""
    status = f"/proc/{os.environ['SF_SERVER_PID']}/status"
    def peak():
        with open(status, encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    before = peak()
    body = form(("f", b"0123456789abcdef" * (40 << 16), []))
    assert send_form(server, "large", body).status == 200
    assert peak() - before < 8 << 10, (before, peak())
    assert info(server, "large")["size"] == 40 << 20


# --- main ----------------------------------------------------------------------------------------

def begin(server, path):
    uploads = [begun(server, f"restart{i}", len(BIG)) for i in range(3)]
    patched(server, uploads[0], 0, BIG[:1500000])
    half = Half(server, uploads[1], 0, len(BIG), BIG[:777])
    patched(server, uploads[2], 0, BIG)
    with open(path, "wb") as file:
        file.write(json.dumps(uploads).encode() + b"\n" + BIG)
    half.socket.close()


def end(server, path):
    with open(path, "rb") as file:
        uploads, whole = json.loads(file.readline()), file.read()
    offsets = [offset_of(server, upload) for upload in uploads]
    assert offsets == [1500000, 777, len(whole)], offsets
    for upload, offset, key in zip(uploads, offsets, ("restart0", "restart1")):
        patched(server, upload, offset, whole[offset:])
        assert info(server, key)["etag"] == f'"{hashlib.md5(whole).hexdigest()}"'
    for i in range(3):
        server.call("DELETE", f"/object/{BUCKET}/restart{i}")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        {"begin": begin, "end": end}[sys.argv[2]](Server(), sys.argv[3])
        sys.exit(0)
    sys.exit(run(Server()))
