#!/usr/bin/python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many objects at once for the integration tests, through the Storage API.

  objects.py list BUCKET [PREFIX]           every key, one a line, in the server's order
  objects.py seed BUCKET PATTERN FROM TO    PATTERN % i for FROM <= i < TO, each with its key as body
  objects.py drop BUCKET PATTERN FROM TO    the same keys deleted, 500 a request

SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY come from the environment.
"""
import base64
import http.client
import json
import os
import sys
import threading
import urllib.parse

sys.dont_write_bytecode = True
import wire  # noqa: E402

CONNECTIONS = 8


class Api:
    """One connection to the Storage API with the service key."""

    def __init__(self):
        url = urllib.parse.urlsplit(os.environ["SUPABASE_URL"])
        self.tls = self.wire = None
        if url.scheme == "https":
            self.tls = http.client.HTTPSConnection(url.hostname, url.port, timeout=120)
        else:  # three times as fast, which counts for 100,000 objects
            self.wire = wire.Wire(url.hostname, url.port or 80, 120)
        self.base = url.path.rstrip("/") + "/storage/v1"
        key = os.environ["SUPABASE_SERVICE_ROLE_KEY"]
        self.headers = {"Authorization": "Bearer " + key, "apikey": key,
                        "User-Agent": "supafs-tests/1"}

    def call(self, method, path, body=None, content_type=None):
        headers = dict(self.headers)
        if content_type:
            headers["Content-Type"] = content_type
        if self.wire:
            reply = self.wire.send(method, self.base + path, headers.items(), body)
            status, data = reply.status, reply.body
        else:
            self.tls.request(method, self.base + path, body, headers)
            reply = self.tls.getresponse()
            status, data = reply.status, reply.read()
        if status != 200:
            raise SystemExit(f"{method} {path}: {status} {data[:200].decode(errors='replace')}")
        return data

    def call_json(self, method, path, value):
        return json.loads(self.call(method, path, json.dumps(value).encode(), "application/json"))


def quote(text):
    return urllib.parse.quote(text, safe="/")


def list_keys(bucket, prefix=""):
    """Every key below a string prefix. The cursor is made here: 'start after this name'."""
    api = Api()
    query = {"prefix": prefix, "limit": 1000}
    while True:
        page = api.call_json("POST", f"/object/list-v2/{quote(bucket)}", query)
        for row in page["objects"]:
            yield row["name"]
        if not page["hasNext"]:
            return
        last = page["objects"][-1]["name"]
        query["cursor"] = base64.b64encode(f"l:{last}".encode()).decode()


def in_parallel(work, items):
    """work(api, item) for all items over several connections; the first failure ends it all."""
    todo, lock, failures = iter(items), threading.Lock(), []

    def run():
        try:
            api = Api()
            while not failures:
                with lock:
                    item = next(todo, None)
                if item is None:
                    return
                work(api, item)
        except BaseException as failure:  # the main thread reports it
            failures.append(failure)

    threads = [threading.Thread(target=run) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def seed(bucket, keys):
    in_parallel(lambda api, key: api.call("PUT", f"/object/{quote(bucket)}/{quote(key)}",
                                          key.encode(), "text/plain"), keys)


def drop(bucket, keys):
    for start in range(0, len(keys), 500):
        batch = keys[start:start + 500]
        gone = Api().call_json("DELETE", f"/object/{quote(bucket)}", {"prefixes": batch})
        if len(gone) != len(batch):
            raise SystemExit(f"deleted {len(gone)} of {len(batch)} in {bucket}")


def main(arguments):
    if len(arguments) in (2, 3) and arguments[0] == "list":
        for key in list_keys(*arguments[1:]):
            print(key)
    elif len(arguments) == 5 and arguments[0] in ("seed", "drop"):
        keys = [arguments[2] % i for i in range(int(arguments[3]), int(arguments[4]))]
        {"seed": seed, "drop": drop}[arguments[0]](arguments[1], keys)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
