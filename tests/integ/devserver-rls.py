# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests of a signed-in user against the dev server, under different policies.

The environment is that of project.env. Every case starts with the objects `mine/a` and `other/b` in
the bucket `rls` and nothing else. Prints a line per case; exit status 1 when any is wrong.
"""
import base64
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path += [os.path.join(HERE, "..", "replay"), os.path.join(HERE, "..", "lib")]
import replay  # noqa: E402

API = os.environ["SUPABASE_URL"] + "/storage/v1"
ADMIN = os.environ["SUPAFS_DEVSERVER_ADMIN"]
SERVICE = os.environ["SUPABASE_SERVICE_ROLE_KEY"]
USER = replay.sign({"role": "authenticated", "exp": int(time.time()) + 600,
                    "sub": "2f5b1cbf-5a3c-4a8e-9d51-7f0f6b9a1c11"},
                   os.environ["SUPABASE_JWT_SECRET"])
RLS = "new row violates row-level security policy"
ABSENT, DENIED = "Object not found", "Access denied"


def send(method, url, token, value=None, headers=()):
    raw = value is None or isinstance(value, bytes)
    body = value if raw else json.dumps(value).encode()
    own = {"Authorization": "Bearer " + token} if token else {}
    if body is not None:
        own["Content-Type"] = "text/plain" if raw else "application/json"
    own.update(headers)
    request = urllib.request.Request(url, body, own, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def service(method, path, value=None):
    status, text = send(method, API + path, SERVICE, value)
    assert status == 200, f"{method} {path}: {status} {text}"
    return json.loads(text)


def prepare(rules):
    page = service("POST", "/object/list-v2/rls", {})
    if page["objects"]:
        service("DELETE", "/object/rls", {"prefixes": [o["name"] for o in page["objects"]]})
    for key in ("mine/a", "other/b"):
        service("POST", "/object/rls/" + key, b"bytes")
    status, text = send("PUT", ADMIN + "/policies", None, rules)
    assert status == 200, text


def said(status, text):
    """What an answer comes to: the message of an error, the names in a list, or "done"."""
    if status >= 300 and text[:1] != "{":
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return "done"
    if status >= 300:
        return value["message"]
    if isinstance(value, list):
        return [row["name"] for row in value]
    if "objects" in value:
        return [row["name"] for row in value["folders"] + value["objects"]]
    return "done"


class Cases:
    def __init__(self):
        self.failures = 0

    def allow(self, *rights, prefix=None, role="authenticated", bucket="rls"):
        self.rules = {"bucket": bucket, "role": role, "allow": rights}
        if prefix:
            self.rules["prefix"] = prefix

    def case(self, what, wanted, method, path, value=None, headers=(), token=USER):
        prepare(self.rules)
        got = said(*send(method, API + path, token, value, headers))
        fine = got == wanted
        self.failures += not fine
        print(f"{'ok' if fine else 'FAILED':<7} {'+'.join(self.rules['allow']):<28} {what}: {got}"
              + ("" if fine else f", wanted {wanted}"))


def transfer(key, to):
    return {"bucketId": "rls", "sourceKey": key, "destinationKey": to}


def reading(all_):
    all_.allow("delete")
    for what, path in (("get", "/object/authenticated/rls/mine/a"),
                       ("info", "/object/info/authenticated/rls/mine/a")):
        all_.case(what, ABSENT, "GET", path)
    all_.case("list", [], "POST", "/object/list-v2/rls", {"with_delimiter": True})
    all_.case("list v1", [], "POST", "/object/list/rls", {"prefix": ""})
    all_.case("sign", ABSENT, "POST", "/object/sign/rls/mine/a", {"expiresIn": 9})
    all_.case("copy", ABSENT, "POST", "/object/copy", transfer("mine/a", "mine/c"))
    all_.case("move", ABSENT, "POST", "/object/move", transfer("mine/a", "mine/c"))
    all_.case("delete", DENIED, "DELETE", "/object/rls/mine/a")
    all_.case("bucket", "Bucket not found", "GET", "/bucket/rls")
    all_.case("buckets", [], "GET", "/bucket")
    all_.allow("select")
    for what, path in (("get", "/object/authenticated/rls/mine/a"),
                       ("info", "/object/info/authenticated/rls/mine/a")):
        all_.case(what, "done", "GET", path)
    all_.case("list", ["mine/a", "other/b"], "POST", "/object/list-v2/rls", {})
    all_.allow("select", prefix="mine/")
    all_.case("get below the prefix", "done", "GET", "/object/authenticated/rls/mine/a")
    all_.case("get elsewhere", ABSENT, "GET", "/object/authenticated/rls/other/b")
    all_.case("list", ["mine/"], "POST", "/object/list-v2/rls", {"with_delimiter": True})
    all_.case("list v1", ["mine"], "POST", "/object/list/rls", {"prefix": ""})
    all_.case("sign", "done", "POST", "/object/sign/rls/mine/a", {"expiresIn": 9})
    all_.case("sign elsewhere", ABSENT, "POST", "/object/sign/rls/other/b", {"expiresIn": 9})
    all_.case("sign an upload", RLS, "POST", "/object/upload/sign/rls/mine/c")
    all_.case("a page", ["mine/a"], "POST", "/object/list-v2/rls", {"limit": 1})
    all_.case("as anon", ABSENT, "GET", "/object/authenticated/rls/mine/a",
              token=os.environ["SUPABASE_ANON_KEY"])
    all_.allow("bucket")
    all_.case("bucket", "done", "GET", "/bucket/rls")
    all_.case("buckets", ["rls"], "GET", "/bucket")


def resumable(key):
    names = {"bucketName": "rls", "objectName": key}
    return {"Tus-Resumable": "1.0.0", "Upload-Length": "1", "Upload-Metadata": ",".join(
        f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in names.items())}


def writing(all_):
    upsert = {"x-upsert": "true"}
    all_.allow("insert")
    all_.case("new", "done", "POST", "/object/rls/new", b"x")
    all_.case("sign an upload", "done", "POST", "/object/upload/sign/rls/new")
    all_.case("new, resumable", "done", "POST", "/upload/resumable", None, resumable("new"))
    all_.case("there", "The resource already exists", "POST", "/object/rls/mine/a", b"x")
    all_.case("new, PUT", RLS, "PUT", "/object/rls/new", b"x")
    all_.case("new, resumable upsert", RLS, "POST", "/upload/resumable", None,
              {**resumable("new"), **upsert})
    all_.allow("select", "insert")
    all_.case("new, PUT", "done", "PUT", "/object/rls/new", b"x")
    all_.case("new, upsert", "done", "POST", "/object/rls/new", b"x", upsert)
    all_.case("there, PUT", RLS, "PUT", "/object/rls/mine/a", b"x")
    all_.case("there, upsert", RLS, "POST", "/object/rls/mine/a", b"x", upsert)
    all_.case("copy", "done", "POST", "/object/copy", transfer("mine/a", "mine/c"))
    all_.case("copy over", RLS, "POST", "/object/copy", transfer("mine/a", "other/b"), upsert)
    all_.case("move", ABSENT, "POST", "/object/move", transfer("mine/a", "mine/c"))
    all_.allow("select", "insert", "update")
    all_.case("there, PUT", "done", "PUT", "/object/rls/mine/a", b"x")
    all_.case("copy over", "done", "POST", "/object/copy", transfer("mine/a", "other/b"), upsert)
    all_.case("move", "done", "POST", "/object/move", transfer("mine/a", "mine/c"))
    all_.case("delete", DENIED, "DELETE", "/object/rls/mine/a")
    all_.case("delete many", [], "DELETE", "/object/rls", {"prefixes": ["mine/a"]})
    all_.allow("select", "insert", "update", prefix="mine/")
    all_.case("move out", RLS, "POST", "/object/move", transfer("mine/a", "other/c"))
    all_.case("copy out", RLS, "POST", "/object/copy", transfer("mine/a", "other/c"))
    all_.allow("select", "delete", prefix="mine/")
    all_.case("delete", "done", "DELETE", "/object/rls/mine/a")
    all_.case("delete elsewhere", DENIED, "DELETE", "/object/rls/other/b")
    all_.case("delete many", ["mine/a"], "DELETE", "/object/rls",
              {"prefixes": ["mine/a", "other/b"]})


def main():
    service("POST", "/bucket", {"name": "rls"})
    all_ = Cases()
    reading(all_)
    writing(all_)
    for bad in ({"role": "service_role", "allow": ["select"]}, {"role": "anon"},
                {"role": "anon", "allow": ["all"]}, {"role": "anon", "allow": ["select"], "x": "y"}):
        status, _ = send("PUT", ADMIN + "/policies", None, bad)
        assert status == 400, f"{bad} was taken"
    kept = json.loads(send("GET", ADMIN + "/policies", None)[1])
    assert kept[0]["prefix"] == "mine/", "a bad rule changed the good ones"
    return 1 if all_.failures else 0


if __name__ == "__main__":
    sys.exit(main())
