#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault switch of the dev server proves itself, seen from a plain socket.

The environment is that of project.env; the bucket is argv[1], fresh and without limits. Every check
starts with no faults, no delay and an empty log. Exit status 1 when any check fails.
"""
import hashlib
import json
import os
import re
import socket
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from devserver import BUCKET, Server, broken, check, run, seconds  # noqa: E402

SMALL = b"0123456789"
BIG = os.urandom(1 << 20)


def statuses(server, count, key="small"):
    return [server.get(key).status for _ in range(count)]


def wait_for(condition, what):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, f"{what} never came"
        time.sleep(0.02)


def raw_get(server, key, timeout):
    """What arrives on the socket until it is closed or nothing comes for `timeout` seconds; and
    whether it was closed."""
    data = b""
    with socket.create_connection(server.api, timeout) as connection:
        connection.sendall(f"GET /storage/v1/object/authenticated/{BUCKET}/{key} HTTP/1.1\r\n"
                           f"Host: x\r\nConnection: close\r\nAuthorization: Bearer {server.key}\r\n\r\n".encode())
        while True:
            try:
                piece = connection.recv(65536)
            except socket.timeout:
                return data, False
            except ConnectionError:
                return data, True
            if not piece:
                return data, True
            data += piece


@check
def error_answers(server):
    """The next N requests of a method and path get an answer of the test's choice."""
    server.faults({"kind": "error", "status": 503, "method": "GET", "times": 2,
                   "path": f"/object/authenticated/{BUCKET}/", "body": {"message": "busy"},
                   "headers": {"Retry-After": "7"}})
    assert server.info("small").status == 200, "another path is hit"
    assert server.put("other", b"x").status == 200, "another method is hit"
    reply = server.get("small")
    assert reply.status == 503, reply.status
    assert json.loads(reply.body) == {"message": "busy"}, reply.body
    assert reply.headers.get("retry-after") == "7", reply.headers
    assert server.get("small", [("X-No-Faults", "1")]).status == 200
    assert statuses(server, 3) == [503, 200, 200]
    rule = server.admin("GET", "/faults")[1][0]
    assert (rule["matched"], rule["fired"]) == (4, 2), rule


@check
def error_every_nth(server):
    """Every Nth request, some skipped first, a pattern as path."""
    server.faults({"kind": "error", "status": 500, "every": 3, "path": f"/object/*/{BUCKET}/*"})
    assert statuses(server, 6) == [200, 200, 500, 200, 200, 500]
    server.faults({"kind": "error", "status": 429, "skip": 2, "times": 1})
    assert statuses(server, 4) == [200, 200, 429, 200]


@check
def error_before_the_work(server):
    """An error answer means that nothing was done; it has the body given, by default none."""
    server.faults({"kind": "error", "status": 544, "method": "PUT"})
    reply = server.put("refused", b"x")
    assert (reply.status, reply.body) == (544, b""), (reply.status, reply.body)
    server.faults({"kind": "error", "status": 502, "method": "PUT", "body": "<h1>Bad Gateway"})
    reply = server.put("refused", b"x")
    assert (reply.status, reply.body) == (502, b"<h1>Bad Gateway"), (reply.status, reply.body)
    assert server.info("refused").status == 400


@check
def error_after_the_work(server):
    """The same answer, and the work is done all the same; the request's bytes count."""
    server.faults({"kind": "error_after", "status": 502, "method": "PUT", "times": 1,
                   "body": {"message": "late"}, "headers": {"Retry-After": 3}})
    reply = server.put("worked", b"xy")
    assert (reply.status, json.loads(reply.body)) == (502, {"message": "late"}), reply.body
    assert reply.headers.get("retry-after") == "3", reply.headers
    assert server.get("worked").body == b"xy"
    server.faults({"kind": "error_after", "path": "/object/authenticated/"})
    reply = server.get("big")
    assert (reply.status, reply.body) == (500, b""), (reply.status, reply.body)
    server.faults({"kind": "error_after", "status": 507}, {"kind": "error", "status": 503})
    assert server.put("refused", b"x").status in (503, 507)
    assert server.put("worked", b"z").status in (503, 507)


@check
def late_duplicates(server):
    """The request comes once more, whole, with its own entry in the log; rules leave it alone."""
    server.faults({"kind": "duplicate", "ms": 300, "method": "PUT"})
    assert server.put("twice?x=1", BIG).status == 200
    server.faults({"kind": "duplicate", "ms": 1000, "method": "PUT"})
    assert server.put("twice", b"between").status == 200
    assert server.get("twice").body == b"between"
    wait_for(lambda: server.get("twice").body == BIG, "the first PUT's duplicate")
    wait_for(lambda: server.get("twice").body == b"between", "the second one's")
    puts = [e for e in server.admin("GET", "/log")[1]["entries"] if e["method"] == "PUT"]
    assert [e["duplicate"] for e in puts] == [False, False, True, True], puts
    assert puts[2]["query"] == "x=1" and puts[2]["request_bytes"] == len(BIG), puts[2]
    server.faults({"kind": "duplicate", "method": "DELETE"}, {"kind": "reset_after"})
    broken(server.call, "DELETE", f"/object/{BUCKET}/twice")
    wait_for(lambda: [e["status"] for e in server.admin("GET", "/log")[1]["entries"]
                      if e["method"] == "DELETE"] == [0, 400], "a duplicate of a lost reply")


@check
def reset_in_the_body(server):
    """The connection breaks when a part of the body has come; nothing is stored of a plain upload."""
    server.faults({"kind": "reset_body", "after": 300000, "times": 1})
    broken(server.put, "half", BIG)
    assert server.info("half").status == 400
    assert server.put("half", BIG).status == 200
    entry = server.admin("GET", "/log")[1]["entries"][0]
    assert (entry["status"], entry["request_bytes"]) == (0, 300000), entry


@check
def delay_rule(server):
    """A delay comes once per request, before the first byte, not again in the body."""
    server.faults({"kind": "delay", "ms": 1500, "path": "/object/authenticated/"})
    assert 1.45 < seconds(server.get, "big") < 8
    assert seconds(server.info, "small") < 1.3


@check
def delay_setting(server):
    """The general delay hits every request once, side by side on many connections."""
    server.settings(delay_ms=300)
    assert 0.28 < seconds(server.get, "small") < 5

    def many():
        threads = [threading.Thread(target=server.get, args=("small",)) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 0.28 < seconds(many) < 4.5, "16 delays must pass at the same time"


@check
def bandwidth(server):
    """All connections share the bandwidth, in both directions."""
    server.settings(mbytes_per_s=4)

    def two():
        threads = [threading.Thread(target=server.get, args=("big",)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert 0.40 < seconds(two) < 20, "2 MiB at 4 MB/s"
    assert 0.18 < seconds(server.put, "upload", BIG) < 20, "1 MiB at 4 MB/s"
    server.settings(mbytes_per_s=0)
    assert server.get("upload").body == BIG


@check
def reset_before_the_work(server):
    server.faults({"kind": "reset_before", "method": "PUT", "times": 1})
    broken(server.put, "lost", b"x")
    assert server.info("lost").status == 400, "the work was done"
    assert server.put("lost", b"x").status == 200


@check
def reset_after_the_work(server):
    server.faults({"kind": "reset_after", "times": 1, "method": "POST"},
                  {"kind": "reset_after", "times": 1, "method": "DELETE"})
    broken(server.call, "POST", f"/object/{BUCKET}/done", b"bytes")
    assert server.get("done").body == b"bytes"
    again = server.call("POST", f"/object/{BUCKET}/done", b"bytes")
    assert json.loads(again.body)["statusCode"] == "409", "a repeated POST meets its own success"
    broken(server.call, "DELETE", f"/object/{BUCKET}/done")
    assert server.info("done").status == 400


@check
def truncated_bodies(server):
    """The declared length is the true one, and fewer bytes come."""
    server.faults({"kind": "truncate", "after": 1000, "path": "/object/authenticated/"})
    data, closed = raw_get(server, "big", 5)
    head, _, body = data.partition(b"\r\n\r\n")
    assert closed and body == BIG[:1000], len(body)
    assert b"content-length: %d" % len(BIG) in head.lower(), head
    server.faults({"kind": "truncate", "after": 20, "path": "/object/list-v2/"})
    broken(server.json, "POST", f"/object/list-v2/{BUCKET}", {})


@check
def hanging_bodies(server):
    """Some bytes, then silence; no other request is held up; clearing the faults ends it."""
    server.faults({"kind": "hang", "after": 1000, "path": "/object/authenticated/", "times": 1})
    data, closed = raw_get(server, "big", 2)
    body = data.partition(b"\r\n\r\n")[2]
    assert not closed and body == BIG[:1000], (closed, len(body))
    assert seconds(server.get, "small") < 5, "others wait too"


@check
def hanging_before_the_headers(server):
    server.faults({"kind": "hang", "path": "/object/authenticated/", "times": 2})
    data, closed = raw_get(server, "small", 0.5)
    assert (data, closed) == (b"", False), data
    ended = []
    thread = threading.Thread(target=lambda: ended.append(raw_get(server, "small", 10)))
    thread.start()
    time.sleep(0.3)
    assert not ended
    server.admin("DELETE", "/faults")
    thread.join(5)
    assert ended, "clearing the faults did not end the silence"


@check
def expired_tokens(server):
    """A good token is taken for an expired one: an error on the long routes, and on the short ones
    what an unknown caller gets."""
    server.faults({"kind": "expired"})
    body = json.loads(server.get("small").body)
    assert body["code"] == "AccessDenied" and '"exp" claim' in body["message"], body
    body = json.loads(server.call("GET", f"/object/{BUCKET}/small").body)
    assert body["code"] == "NoSuchBucket", body
    body = json.loads(server.call("GET", "/bucket").body)
    assert '"exp" claim' in body["message"], body


@check
def lying_sizes(server):
    """Each of the places where a size is told, and all at once."""
    def listed():
        page = json.loads(server.json("POST", f"/object/list-v2/{BUCKET}", {"prefix": "sm"}).body)
        return page["objects"][0]["metadata"]["size"]

    def ranged():
        return server.get("small", [("Range", "bytes=0-3")]).headers["content-range"]

    def length():
        return re.search(rb"content-length: (\d+)", raw_get(server, "small", 5)[0].lower())[1]

    assert (listed(), ranged(), length()) == (10, "bytes 0-3/10", b"10")
    server.faults({"kind": "size", "where": "list", "delta": 5})
    assert (listed(), ranged(), length()) == (15, "bytes 0-3/10", b"10")
    assert json.loads(server.info("small").body)["size"] == 15
    server.faults({"kind": "size", "where": "content-range", "delta": 5})
    assert (listed(), ranged(), length()) == (10, "bytes 0-3/15", b"10")
    server.faults({"kind": "size", "where": "content-length", "delta": 5})
    assert (listed(), length()) == (10, b"15"), (listed(), length())
    data = raw_get(server, "small", 5)[0].partition(b"\r\n\r\n")[2]
    assert data == SMALL, data
    server.faults({"kind": "size", "delta": -3})
    assert (listed(), ranged(), length()) == (7, "bytes 0-3/7", b"7")


@check
def lying_etags(server):
    true = f'"{hashlib.md5(SMALL).hexdigest()}"'
    assert server.get("small").headers["etag"] == true
    server.faults({"kind": "etag", "value": '"a lie"', "path": "/object/authenticated/"})
    assert server.get("small").headers["etag"] == '"a lie"'
    assert server.get("small", [("Range", "bytes=0-3")]).headers["etag"] == '"a lie"'
    assert json.loads(server.info("small").body)["etag"] == true


@check
def chances(server):
    """By dice that fall the same way for the same seed."""
    def some(seed):
        server.faults({"kind": "error", "status": 503, "chance": 30, "seed": seed})
        return statuses(server, 100)
    first = some(7)
    assert first == some(7) and first != some(8), first
    assert 10 < first.count(503) < 50, first.count(503)


@check
def further_headers(server):
    server.faults({"kind": "headers", "headers": {"X-Odd": "1", "Connection": "close"}})
    reply = server.get("small")
    assert (reply.status, reply.body, reply.headers["x-odd"]) == (200, SMALL, "1"), reply.headers
    assert reply.headers["connection"] == "close", reply.headers


@check
def what_is_no_http(server):
    server.faults({"kind": "garbage", "body": "220 mail\r\n", "method": "PUT"})
    broken(server.put, "garbled", b"x")
    assert server.get("garbled").body == b"x", "the work is not done"
    server.faults({"kind": "garbage", "body": "220 mail\r\n"})
    data, closed = raw_get(server, "small", 5)
    assert (data, closed) == (b"220 mail\r\n", True), (data, closed)


@check
def short_answers(server):
    """A cut body is a whole answer to HTTP: its length is what comes."""
    server.faults({"kind": "cut", "after": 1000})
    reply = server.get("big", [("Range", "bytes=0-4999")])
    assert (len(reply.body), reply.headers["content-length"]) == (1000, "1000"), reply.headers
    assert reply.headers["content-range"].startswith("bytes 0-4999/"), reply.headers
    server.faults({"kind": "cut", "after": 20, "path": "/object/list-v2/"})
    reply = server.json("POST", f"/object/list-v2/{BUCKET}", {})
    assert (reply.status, len(reply.body)) == (200, 20), reply.body


@check
def slow_bodies(server):
    server.faults({"kind": "slow", "bytes": 300000, "ms": 100})
    assert seconds(server.get, "small") > 0.09
    began = time.monotonic()
    assert server.get("big").body == BIG
    assert 0.35 < time.monotonic() - began < 10


@check
def odd_ranges(server):
    def ranged(**rule):
        server.faults({"kind": "range", **rule})
        reply = server.get("small", [("Range", "bytes=2-4")])
        return reply.status, reply.body, reply.headers.get("content-range")
    assert ranged() == (200, SMALL, None)
    assert ranged(shift=3) == (206, SMALL[5:8], "bytes 5-7/10")


@check
def left_out_of_a_removal(server):
    for key in "abc":
        assert server.put("omit/" + key, b"x").status == 200
    keys = ["omit/a", "omit/b", "omit/c"]
    server.faults({"kind": "omit"})
    reply = server.json("DELETE", f"/object/{BUCKET}", {"prefixes": keys})
    assert [row["name"] for row in json.loads(reply.body)] == ["omit/b"], reply.body
    assert [server.info(key).status for key in keys] == [200, 400, 200]


@check
def lost_tokens(server):
    """What row-level security makes of a caller whom it does not know."""
    server.faults({"kind": "anon"})
    page = json.loads(server.json("POST", f"/object/list-v2/{BUCKET}", {}).body)
    assert page["objects"] == [] and not page["hasNext"], page
    body = json.loads(server.info("small").body)
    assert body["code"] == "NoSuchBucket", body
    body = json.loads(server.put("refused", b"x").body)
    assert body["statusCode"] == "403", body


@check
def another_clock(server):
    def modified():
        assert server.put("timed", b"x").status == 200
        return json.loads(server.info("timed").body)["last_modified"][:4]
    this = modified()
    server.settings(clock_s=3 * 365 * 86400)
    assert int(modified()) in (int(this) + 2, int(this) + 3)
    assert f" {int(this) + 3} " in server.get("timed").headers["date"].replace(
        str(int(this) + 2), str(int(this) + 3))
    server.settings(clock_s=0)
    assert modified() == this


@check
def both_etag_styles(server):
    """By content, and by time: there the same bytes sent again have another."""
    def sent():
        assert server.put("styled", SMALL).status == 200
        return json.loads(server.info("styled").body)["etag"]
    assert sent() == sent() == f'"{hashlib.md5(SMALL).hexdigest()}"'
    server.settings(etag_style="mtime")
    first = sent()
    time.sleep(0.005)
    assert first != sent(), first
    assert re.fullmatch(r'"[0-9a-f.]+-[0-9a-f]+"', first), first
    assert json.loads(server.info("small").body)["etag"] == f'"{hashlib.md5(SMALL).hexdigest()}"'


@check
def limits_while_it_runs(server):
    def code(size):
        return json.loads(server.put("sized", b"x" * size).body).get("code", "")
    server.settings(standard_limit=1000)
    assert (code(1000), code(1001)) == ("", "EntityTooLarge")
    server.settings(standard_limit=0, global_limit=2000)
    assert (code(2000), code(2001)) == ("", "EntityTooLarge")
    reply = server.call("OPTIONS", "/upload/resumable", None, [("Tus-Resumable", "1.0.0")])
    assert reply.headers.get("tus-max-size") == "2000", reply.headers
    server.settings(global_limit=0)
    assert code(60 * 1000 * 1000) == ""


@check
def rules_add_up(server):
    """PUT replaces the rules, POST adds, DELETE clears; several hit one request."""
    server.faults({"kind": "delay", "ms": 250})
    status, rules = server.admin("POST", "/faults", {"kind": "error", "status": 502})
    assert status == 200 and [r["kind"] for r in rules] == ["delay", "error"], rules
    began = time.monotonic()
    assert server.get("small").status == 502
    assert time.monotonic() - began > 0.23
    server.faults({"kind": "error", "status": 501})
    assert statuses(server, 1) == [501]
    assert server.admin("DELETE", "/faults") == (200, [])
    assert statuses(server, 1) == [200]


@check
def bad_rules(server):
    """Refused with a reason, and nothing changes."""
    server.faults({"kind": "error", "status": 507})
    for rule in ({"kind": "eror"}, {"kind": "error", "statsu": 500}, {"kind": "error", "status": 99},
                 {"kind": "delay", "ms": "1"}, {"kind": "delay", "every": 0}, {}, 7, [[]],
                 [{"kind": "delay"}, {"kind": "x"}], {"kind": "size", "where": "here"},
                 {"kind": "duplicate", "after": 1}, {"kind": "error_after", "status": 600},
                 {"kind": "delay", "chance": 0}, {"kind": "delay", "chance": 101},
                 {"kind": "headers"}, {"kind": "garbage", "body": 1}, {"kind": "slow", "bytes": 0}):
        status, answer = server.admin("PUT", "/faults", rule)
        assert status == 400 and answer.get("error"), (rule, status, answer)
    assert statuses(server, 1) == [507]
    for value in ({"delay_ms": -1}, {"delay": 1}, {"etag_style": "sha"}, [], {"mbytes_per_s": "x"}):
        status, answer = server.admin("PUT", "/settings", value)
        assert status == 400 and answer.get("error"), (value, status, answer)
    assert server.admin("GET", "/settings")[1]["delay_ms"] == 0
    assert server.admin("GET", "/nothing")[0] == 404


@check
def request_log(server):
    """Who asked what, with bodies of JSON requests; counts; cleared on request."""
    server.get("small", [("Range", "bytes=2-4")])
    server.json("POST", f"/object/list-v2/{BUCKET}", {"prefix": "x/"})
    server.call("GET", f"/object/authenticated/{BUCKET}/sp%20ace?v=1")
    log = server.admin("GET", "/log")[1]
    assert log["total"] == 3 and len(log["entries"]) == 3, log
    first, second, third = log["entries"]
    assert (first["method"], first["path"]) == ("GET", f"/object/authenticated/{BUCKET}/small")
    assert (first["status"], first["range"], first["role"]) == (206, "bytes=2-4", "service_role")
    assert first["reply_bytes"] == 3 and first["fault"] is False, first
    assert json.loads(second["body"]) == {"prefix": "x/"}, second
    assert third["path"].endswith("/sp ace") and third["query"] == "v=1", third
    assert third["status"] == 400, third
    assert sum(log["counts"].values()) == 3, log["counts"]
    assert "entries" not in server.admin("GET", "/log?counts=1")[1]
    rest = server.admin("GET", f"/log?since={second['seq']}")[1]["entries"]
    assert [e["seq"] for e in rest] == [third["seq"]], rest
    server.faults({"kind": "error", "times": 1})
    server.get("small")
    assert server.admin("GET", "/log")[1]["entries"][-1]["fault"] is True
    server.admin("DELETE", "/log")
    assert server.admin("GET", "/log")[1]["entries"] == []
    assert server.key not in json.dumps(log), "the log holds a key"


def main():
    server = Server()
    server.reset()
    assert server.put("small", SMALL).status == 200 and server.put("big", BIG).status == 200
    return run(server)


if __name__ == "__main__":
    sys.exit(main())
