# SPDX-License-Identifier: GPL-3.0-or-later
"""The S3 protocol of the dev server beyond what the recordings and rclone show: sessions under
policies, presigned URLs, chunked bodies, pages, multipart uploads that go wrong, faults.

The environment is that of project.env; the bucket is argv[1]. Prints a line per check; exit status
1 when any fails. With `begin` as argv[2] it only begins an upload, which `end` then completes.
"""
import glob
import hashlib
import html
import json
import os
import re
import sys
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path += [os.path.join(HERE, "..", "replay"), os.path.join(HERE, "..", "lib")]
import replay  # noqa: E402
import sigv4  # noqa: E402
import wire  # noqa: E402
from devserver import BUCKET, Server, broken, check, run, seconds  # noqa: E402

PREFIX = "/storage/v1"
USER = replay.sign({"role": "authenticated", "exp": int(time.time()) + 600,
                    "sub": "2f5b1cbf-5a3c-4a8e-9d51-7f0f6b9a1c11"},
                   os.environ["SUPABASE_JWT_SECRET"])
OLD = replay.sign({"role": "authenticated", "exp": int(time.time()) - 600},
                  os.environ["SUPABASE_JWT_SECRET"])
ID, SECRET = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]


def host(server):
    return f"{server.api[0]}:{server.api[1]}"


def raw(server, method, target, headers, body=None):
    one = wire.Wire(*server.api, 10)
    try:
        return one.send(method, PREFIX + target, list(headers.items()), body)
    finally:
        one.close()


def s3(server, method, target, body=None, headers=(), payload="UNSIGNED-PAYLOAD", token=None,
       **options):
    own = dict(headers)
    key, secret = ID, SECRET
    if token:
        own["x-amz-security-token"] = token
        key, secret = replay.TENANT, os.environ["SUPABASE_ANON_KEY"]
    own = sigv4.signed(method, PREFIX + "/s3" + target, own, payload, key, secret, host(server),
                       **options)
    return raw(server, method, "/s3" + target, own, body)


def fine(reply, status=200):
    assert reply.status == status, (reply.status, reply.body)
    return reply


def refused(reply, status, code, message=None):
    text = reply.body.decode()
    got = re.search("<Code>(.*)</Code><Message>(.*)</Message>", text)
    assert reply.status == status and got and got[1] == code, (reply.status, text)
    assert message is None or message in got[2], text
    assert reply.headers["content-type"] == "application/xml; charset=utf-8", reply.headers


def values(reply, name):
    return re.findall(f"<{name}>([^<]*)</{name}>", fine(reply).body.decode())


def presigned(server, method, key, seconds_, when=None, **more):
    when = when or sigv4.now()
    scope = f"{when[:8]}/us-east-1/s3/aws4_request"
    query = urllib.parse.urlencode({
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Credential": f"{ID}/{scope}",
        "X-Amz-Date": when, "X-Amz-Expires": seconds_, "X-Amz-SignedHeaders": "host", **more})
    target = f"/s3/{BUCKET}/{key}?{query}"
    sign = sigv4.signature(method, PREFIX + target, {"host": host(server)}, ["host"],
                           "UNSIGNED-PAYLOAD", when, scope, SECRET)
    return f"{target}&X-Amz-Signature={sign}"


# --- signatures --------------------------------------------------------------------------------

@check
def presigned_urls(server):
    fine(raw(server, "PUT", presigned(server, "PUT", "pre", 60), {"Content-Type": "text/x"}, b"abc"))
    url = presigned(server, "GET", "pre", 60)
    assert fine(raw(server, "GET", url, {})).body == b"abc"
    refused(raw(server, "GET", url.replace("/pre?", "/prf?"), {}), 403, "SignatureDoesNotMatch")
    refused(raw(server, "DELETE", url, {}), 403, "SignatureDoesNotMatch")
    refused(raw(server, "GET", presigned(server, "GET", "pre", 60, "20200102T030405Z"), {}), 400,
            "ExpiredToken")
    refused(raw(server, "GET", url.partition("&X-Amz-Signature")[0], {}), 403, "AccessDenied",
            "Missing signature")
    entries = server.admin("GET", "/log")[1]["entries"]
    assert not any(re.search("X-Amz-Signature=[0-9a-f]", e["query"] or "") for e in entries)


@check
def what_is_signed_counts(server):
    own = sigv4.signed("PUT", f"{PREFIX}/s3/{BUCKET}/sig", {"x-amz-meta-a": "1"}, sigv4.EMPTY, ID,
                       SECRET, host(server))
    fine(raw(server, "PUT", f"/s3/{BUCKET}/sig", own, b""))
    for change in ({"x-amz-meta-a": "2"}, {"x-amz-date": "20200101T000000Z"},
                   {"x-amz-content-sha256": "0" * 64},
                   {"Authorization": own["Authorization"][:-1]},
                   {"Authorization": own["Authorization"] + "0"}):
        refused(raw(server, "PUT", f"/s3/{BUCKET}/sig", {**own, **change}, b""), 403,
                "SignatureDoesNotMatch")
    refused(raw(server, "PUT", f"/s3/{BUCKET}/sig?x-id=1", own, b""), 403, "SignatureDoesNotMatch")
    refused(s3(server, "GET", f"/{BUCKET}/sig", region="eu-west-9"), 403, "SignatureDoesNotMatch")
    for region in ("", "auto"):
        fine(s3(server, "GET", f"/{BUCKET}/sig", region=region))


@check
def sessions_have_the_rights_of_their_token(server):
    server.put("own/a", b"1")
    refused(s3(server, "GET", f"/{BUCKET}/own/a", token=USER), 404, "NoSuchKey")
    refused(s3(server, "PUT", f"/{BUCKET}/own/b", b"2", token=USER), 403, "AccessDenied")
    refused(s3(server, "GET", f"/{BUCKET}/own/a", token=OLD), 403, "AccessDenied", '"exp" claim')
    assert values(s3(server, "GET", f"/{BUCKET}?list-type=2", token=USER), "Key") == []
    rule = {"bucket": BUCKET, "role": "authenticated", "prefix": "own/",
            "allow": ["select", "insert", "update"]}
    assert server.admin("PUT", "/policies", rule)[0] == 200
    try:
        assert fine(s3(server, "GET", f"/{BUCKET}/own/a", token=USER)).body == b"1"
        fine(s3(server, "PUT", f"/{BUCKET}/own/b", b"2", token=USER))
        refused(s3(server, "PUT", f"/{BUCKET}/other", b"2", token=USER), 403, "AccessDenied")
        refused(s3(server, "DELETE", f"/{BUCKET}/own/b", token=USER), 403, "AccessDenied")
        reply = s3(server, "POST", f"/{BUCKET}?delete=",
                   b"<Delete><Object><Key>own/b</Key></Object><Object><Key>own/none</Key></Object>"
                   b"</Delete>", token=USER)
        assert b"<Error><Key>own/b</Key><Code>AccessDenied</Code>" in fine(reply).body
        assert b"<Deleted><Key>own/none</Key></Deleted>" in reply.body
        assert values(s3(server, "GET", f"/{BUCKET}?list-type=2", token=USER), "Key") == [
            "own/a", "own/b"]
        info = json.loads(server.info("own/b").body)
        assert info["size"] == 1, info
    finally:
        server.admin("DELETE", "/policies")


@check
def expired_switch(server):
    server.faults({"kind": "expired", "times": 1})
    refused(s3(server, "GET", f"/{BUCKET}/none"), 403, "AccessDenied", '"exp" claim')


# --- objects -----------------------------------------------------------------------------------

def chunked(*pieces, tail=b""):
    out = b"".join(b"%x;chunk-signature=%s\r\n%s\r\n" % (len(p), b"0" * 64, p) for p in pieces)
    return out + b"0;chunk-signature=" + b"0" * 64 + b"\r\n" + tail + b"\r\n"


@check
def bodies_in_signed_chunks(server):
    whole = os.urandom(200000)
    for payload, tail in (("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b""),
                          ("STREAMING-UNSIGNED-PAYLOAD-TRAILER", b"x-amz-checksum-crc32:AA==\r\n")):
        body = chunked(whole[:65536], whole[65536:70000], whole[70000:], tail=tail)
        own = {"x-amz-decoded-content-length": "200000", "Content-Encoding": "aws-chunked"}
        reply = fine(s3(server, "PUT", f"/{BUCKET}/chunked", body, own, payload))
        assert reply.headers["etag"] == f'"{hashlib.md5(whole).hexdigest()}"'
        assert server.get("chunked").body == whole
    own["x-amz-decoded-content-length"] = "200001"
    refused(s3(server, "PUT", f"/{BUCKET}/short", body, own, payload), 400, "IncompleteBody")
    refused(s3(server, "PUT", f"/{BUCKET}/short", body[:-100], own, payload), 400, "IncompleteBody")
    refused(s3(server, "PUT", f"/{BUCKET}/short", b"no chunks", own, payload), 400, "IncompleteBody")
    refused(s3(server, "GET", f"/{BUCKET}/short"), 404, "NoSuchKey")


@check
def metadata_both_ways(server):
    own = {"x-amz-meta-Mode": "100644", "x-amz-meta-x.y_z": "a b", "Cache-Control": "max-age=7",
           "Content-Type": "text/html"}
    fine(s3(server, "PUT", f"/{BUCKET}/meta", b"<p>", own))
    info = json.loads(server.info("meta").body)
    assert info["metadata"] == {"mode": "100644", "x.y_z": "a b"}, info
    assert (info["cache_control"], info["content_type"]) == ("max-age=7", "text/html"), info
    headers = fine(s3(server, "HEAD", f"/{BUCKET}/meta")).headers
    assert (headers["x-amz-meta-mode"], headers["x-amz-meta-x.y_z"]) == ("100644", "a b"), headers
    assert (headers["content-type"], headers["content-length"]) == ("text/html", "3"), headers
    assert "accept-ranges" not in headers and "x-robots-tag" not in headers, headers
    server.put("meta2", b"x", [("x-metadata", "eyJhIjoiw6kiLCJiIjp7fSwiYyI6InllcyJ9")])
    headers = fine(s3(server, "HEAD", f"/{BUCKET}/meta2")).headers
    assert headers["x-amz-meta-c"] == "yes" and headers["x-amz-missing-meta"] == "2", headers
    fine(s3(server, "PUT", f"/{BUCKET}/meta", b"<q>"))
    assert json.loads(server.info("meta").body)["metadata"] == {}


@check
def copies(server):
    fine(s3(server, "PUT", f"/{BUCKET}/from%20a%2Bb", b"bytes", {"x-amz-meta-m": "1"}))
    source = {"x-amz-copy-source": f"{BUCKET}/from%20a%2Bb"}
    values(s3(server, "PUT", f"/{BUCKET}/copy", b"", source), "ETag")
    assert json.loads(server.info("copy").body)["metadata"] == {"m": "1"}
    own = {**source, "x-amz-metadata-directive": "REPLACE", "x-amz-meta-n": "2",
           "Content-Type": "text/n"}
    fine(s3(server, "PUT", f"/{BUCKET}/copy", b"", own))
    info = json.loads(server.info("copy").body)
    assert (info["metadata"], info["content_type"]) == ({"n": "2"}, "text/n"), info
    for bad in ("", "/", "x", f"/{BUCKET}/", "/%zz/x"):
        refused(s3(server, "PUT", f"/{BUCKET}/copy", b"", {"x-amz-copy-source": bad}), 400,
                "InvalidArgument")
    refused(s3(server, "PUT", f"/{BUCKET}/copy", b"", {"x-amz-copy-source": f"{BUCKET}/none"}), 404,
            "NoSuchKey")


@check
def deletes(server):
    for key in ("d/a", "d/b&c", "d/ e "):
        server.put(urllib.parse.quote(key), b"x")
    quiet = b"<?xml version='1.0'?><Delete xmlns='u'><Quiet>true</Quiet><Object><Key>d/b&amp;c</Key>"
    quiet += b"</Object><Object><Key>d/ e </Key></Object></Delete>"
    reply = fine(s3(server, "POST", f"/{BUCKET}?delete", quiet))
    assert b"<Deleted>" not in reply.body
    assert values(s3(server, "GET", f"/{BUCKET}?list-type=2&prefix=d%2F"), "Key") == ["d/a"]
    many = b"".join(b"<Object><Key>k%d</Key></Object>" % n for n in range(1001))
    for bad in (b"", b"<Delete/>", b"<Delete>", b"<Other/>", b"x",
                b"<!DOCTYPE D [<!ENTITY e 'e'>]><Delete><Object><Key>&e;</Key></Object></Delete>",
                b"<Delete>" + many + b"</Delete>"):
        refused(s3(server, "POST", f"/{BUCKET}?delete=", bad), 400, "MalformedXML")


@check
def not_there(server):
    for method, target in (("GET", f"/{BUCKET}?acl"), ("PUT", f"/{BUCKET}/k?tagging="),
                           ("GET", f"/{BUCKET}?versions"), ("POST", f"/{BUCKET}"), ("POST", "/"),
                           ("GET", f"/{BUCKET}?list-type=2&delimiter=-")):
        refused(s3(server, method, target, b"" if method != "GET" else None), 501, "NotImplemented")
    refused(s3(server, "GET", "/no-such-bucket?list-type=2"), 404, "NoSuchBucket")
    refused(s3(server, "PUT", "/no-such-bucket/k", b"x"), 404, "NoSuchBucket")
    refused(s3(server, "PUT", f"/{BUCKET}", b""), 409, "BucketAlreadyExists")
    refused(s3(server, "PUT", "/a%23b", b""), 400, "InvalidBucketName")
    refused(s3(server, "GET", f"/{BUCKET}?list-type=2&max-keys=x"), 400, "InvalidRequest")
    refused(s3(server, "GET", f"/{BUCKET}?list-type=2&continuation-token=eA=="), 400,
            "InvalidParameter")


# --- listings ----------------------------------------------------------------------------------

@check
def pages(server):
    keys = [f"pg/{c}/{n}" for c in "ab" for n in range(3)] + ["pg/x&'", "pg/y z"]
    for key in keys:
        server.put(urllib.parse.quote(key), b"x")
    found, token = [], None
    while True:
        more = f"&continuation-token={urllib.parse.quote(token)}" if token else ""
        reply = s3(server, "GET", f"/{BUCKET}?list-type=2&prefix=pg%2F&max-keys=3{more}")
        found += values(reply, "Key")
        token = (values(reply, "NextContinuationToken") or [None])[0]
        assert values(reply, "IsTruncated") == ["true" if token else "false"]
        if not token:
            break
    assert [html.unescape(key) for key in found] == keys, found
    marker, rows = "", []
    while True:
        reply = s3(server, "GET", f"/{BUCKET}?prefix=pg%2F&delimiter=%2F&max-keys=1&encoding-type=url"
                   f"&marker={urllib.parse.quote(marker)}")
        rows += re.findall("<(?:Key|CommonPrefixes><Prefix)>([^<]*)<", fine(reply).body.decode())
        following = values(reply, "NextMarker")
        if not following:
            break
        marker = urllib.parse.unquote(following[0])
    assert [urllib.parse.unquote(r) for r in rows] == ["pg/a/", "pg/b/", "pg/x&'", "pg/y z"], rows
    assert rows[0] == "pg%2Fa%2F", rows
    reply = s3(server, "GET", f"/{BUCKET}?list-type=2&prefix=pg%2F&start-after=pg%2Fb%2F1")
    assert values(reply, "Key")[0] == "pg/b/2"
    assert values(s3(server, "GET", f"/{BUCKET}?list-type=2&max-keys=0"), "KeyCount") == ["0"]


# --- multipart uploads -------------------------------------------------------------------------

def create(server, key, headers=()):
    return values(s3(server, "POST", f"/{BUCKET}/{key}?uploads", b"", headers), "UploadId")[0]


def part(server, key, upload, number, body):
    reply = s3(server, "PUT", f"/{BUCKET}/{key}?partNumber={number}&uploadId={upload}", body)
    return fine(reply).headers["etag"]


def complete(server, key, upload, parts):
    xml = "".join(f"<Part><ETag>&quot;{etag}&quot;</ETag><PartNumber>{n}</PartNumber></Part>"
                  for n, etag in parts)
    xml = f"<CompleteMultipartUpload>{xml}</CompleteMultipartUpload>"
    return s3(server, "POST", f"/{BUCKET}/{key}?uploadId={upload}", xml.encode())


def stored_files(server):
    del server
    return len(glob.glob(os.environ["SF_PROJECT_DIR"] + "/objects/*/*"))


@check
def parts_in_parallel(server):
    before = stored_files(server)
    upload = create(server, "mp", {"x-amz-meta-a": "1", "Content-Type": "text/mp"})
    bodies = {n: os.urandom(100000 + n) for n in range(1, 9)}
    etags = {}

    def send(number):
        etags[number] = part(server, "mp", upload, number, bodies[number])
    threads = [threading.Thread(target=send, args=(n,)) for n in reversed(bodies)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused(s3(server, "GET", f"/{BUCKET}/mp"), 404, "NoSuchKey")
    reply = s3(server, "GET", f"/{BUCKET}/mp?uploadId={upload}&max-parts=3&part-number-marker=2")
    assert values(reply, "PartNumber") == ["3", "4", "5"] and values(
        reply, "NextPartNumberMarker") == ["5"], reply.body
    fine(complete(server, "mp", upload, sorted(etags.items())))
    whole = b"".join(bodies[n] for n in sorted(bodies))
    reply = s3(server, "GET", f"/{BUCKET}/mp", headers={"Range": "bytes=100000-300000"})
    assert fine(reply, 206).body == whole[100000:300001]
    assert reply.headers["etag"] == f'"{hashlib.md5(whole).hexdigest()}"', reply.headers
    info = json.loads(server.info("mp").body)
    assert (info["size"], info["content_type"], info["metadata"]) == (
        len(whole), "text/mp", {"a": "1"}), info
    assert stored_files(server) == before + 1
    refused(complete(server, "mp", upload, sorted(etags.items())), 404, "NoSuchUpload")


@check
def parts_that_go_wrong(server):
    before = stored_files(server)
    upload = create(server, "bad")
    one = part(server, "bad", upload, 1, b"one")
    two = part(server, "bad", upload, 2, b"two")
    again = part(server, "bad", upload, 1, b"uno")
    for parts in ([(1, one), (2, two)], [(2, two), (1, again)], [(1, again), (3, two)],
                  [(1, again), (1, again)], [(0, one)]):
        refused(complete(server, "bad", upload, parts), 400, "InvalidPart")
    for body in (b"", b"<CompleteMultipartUpload/>", b"<X/>", b"<CompleteMultipartUpload>"):
        refused(s3(server, "POST", f"/{BUCKET}/bad?uploadId={upload}", body), 400, "MalformedXML")
    for number in ("0", "10001", "x", ""):
        refused(s3(server, "PUT", f"/{BUCKET}/bad?partNumber={number}&uploadId={upload}", b"x"), 400,
                "InvalidArgument")
    refused(s3(server, "PUT", f"/{BUCKET}/other?partNumber=1&uploadId={upload}", b"x"), 404,
            "NoSuchUpload")
    refused(s3(server, "GET", f"/{BUCKET}/bad"), 404, "NoSuchKey")
    uploads = s3(server, "GET", f"/{BUCKET}?uploads&prefix=ba")
    assert values(uploads, "UploadId") == [upload], uploads.body
    fine(complete(server, "bad", upload, [(1, again), (2, two)]))
    assert server.get("bad").body == b"unotwo"
    upload = create(server, "bad")
    part(server, "bad", upload, 1, b"one")
    fine(s3(server, "DELETE", f"/{BUCKET}/bad?uploadId={upload}"))
    refused(s3(server, "DELETE", f"/{BUCKET}/bad?uploadId={upload}"), 404, "NoSuchUpload")
    assert stored_files(server) == before + 1


@check
def a_bucket_waits_for_its_uploads(server):
    fine(s3(server, "PUT", "/waits", b""))
    reply = s3(server, "POST", "/waits/k?uploads", b"")
    upload = values(reply, "UploadId")[0]
    refused(s3(server, "DELETE", "/waits"), 409, "ResourceReferenced")
    reply = server.call("DELETE", "/bucket/waits")
    assert reply.status == 400 and json.loads(reply.body)["code"] == "ResourceReferenced", reply.body
    fine(s3(server, "DELETE", f"/waits/k?uploadId={upload}"))
    fine(s3(server, "DELETE", "/waits"), 204)


@check
def limits(server):
    server.settings(global_limit=1000)
    refused(s3(server, "PUT", f"/{BUCKET}/large", b"x" * 1001), 413, "EntityTooLarge")
    upload = create(server, "large")
    part(server, "large", upload, 1, b"x" * 600)
    part(server, "large", upload, 1, b"x" * 500)
    refused(s3(server, "PUT", f"/{BUCKET}/large?partNumber=2&uploadId={upload}", b"x" * 501), 413,
            "EntityTooLarge")
    part(server, "large", upload, 2, b"x" * 500)
    fine(s3(server, "DELETE", f"/{BUCKET}/large?uploadId={upload}"))


@check
def etags_that_are_no_sums(server):
    server.settings(etag_style="mtime")
    upload = create(server, "mtime")
    etag = part(server, "mtime", upload, 1, b"one")
    fine(complete(server, "mtime", upload, [(1, etag)]))
    fine(s3(server, "PUT", f"/{BUCKET}/mtime2", b"two"))
    server.put("mtime3", b"two")
    seen = [fine(s3(server, "HEAD", f"/{BUCKET}/mtime{n}")).headers["etag"] for n in ("", 2, 3)]
    assert all(re.fullmatch(r'"[0-9a-f]+\.[0-9a-f]+-3"', etag) for etag in seen), seen
    assert len(set(seen)) == 3, seen


# --- switches ----------------------------------------------------------------------------------

@check
def switches_work_here_too(server):
    server.put("sw", b"x" * 100000)
    server.faults({"kind": "error", "status": 503, "path": "/s3/*/sw", "times": 1})
    assert s3(server, "GET", f"/{BUCKET}/sw").status == 503
    server.faults({"kind": "truncate", "after": 1000, "path": "/s3/"})
    broken(s3, server, "GET", f"/{BUCKET}/sw")
    server.faults({"kind": "reset_after", "method": "PUT", "times": 1})
    broken(s3, server, "PUT", f"/{BUCKET}/sw2", b"lost reply")
    assert server.get("sw2").body == b"lost reply"
    server.faults({"kind": "size", "delta": 5, "path": "/s3/"}, {"kind": "etag", "value": '"lie"'})
    reply = s3(server, "GET", f"/{BUCKET}?list-type=2&prefix=sw2")
    assert (values(reply, "Size"), values(reply, "ETag")) == (["15"], ['"lie"']), reply.body
    server.faults()
    server.settings(delay_ms=200)
    assert seconds(s3, server, "HEAD", f"/{BUCKET}/sw") >= 0.2
    server.settings(delay_ms=0, mbytes_per_s=0.5)
    assert seconds(s3, server, "GET", f"/{BUCKET}/sw") >= 0.15
    kinds = server.admin("GET", "/log?counts=1")[1]["counts"]
    assert kinds["s3-get"] >= 3 and kinds["s3-put"] == 1, kinds


def begin(server):
    upload = create(server, "long")
    print(upload, part(server, "long", upload, 1, b"before, "))


def end(server):
    upload, etag = sys.argv[3:]
    parts = [(1, etag), (2, part(server, "long", upload, 2, b"after"))]
    fine(complete(server, "long", upload, parts))
    assert server.get("long").body == b"before, after"


if len(sys.argv) > 2:
    {"begin": begin, "end": end}[sys.argv[2]](Server())
else:
    sys.exit(run(Server()))
