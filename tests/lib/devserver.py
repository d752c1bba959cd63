# SPDX-License-Identifier: GPL-3.0-or-later
"""A dev server under test: its API and its admin port from plain sockets, and a list of checks.

The environment is that of project.env; the bucket is argv[1], fresh and without limits.
"""
import json
import os
import socket
import sys
import time
import urllib.parse

import wire

BUCKET = sys.argv[1]
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


class Server:
    def __init__(self):
        api = urllib.parse.urlsplit(os.environ["SUPABASE_URL"])
        admin = urllib.parse.urlsplit(os.environ["SUPAFS_DEVSERVER_ADMIN"])
        self.api = (api.hostname, api.port)
        self.admin_address = (admin.hostname, admin.port)
        self.admin_base = admin.path.rstrip("/")
        self.key = os.environ["SUPABASE_SERVICE_ROLE_KEY"]

    def call(self, method, path, body=None, headers=(), timeout=10):
        """One request on a connection of its own."""
        one = wire.Wire(*self.api, timeout)
        try:
            return one.send(method, "/storage/v1" + path,
                            [("Authorization", "Bearer " + self.key)] + list(headers), body)
        finally:
            one.close()

    def json(self, method, path, value):
        return self.call(method, path, json.dumps(value).encode(),
                         [("Content-Type", "application/json")])

    def get(self, key, headers=(), timeout=10):
        return self.call("GET", f"/object/authenticated/{BUCKET}/{key}", None, headers, timeout)

    def put(self, key, body, headers=()):
        return self.call("PUT", f"/object/{BUCKET}/{key}", body, headers)

    def info(self, key):
        return self.call("GET", f"/object/info/authenticated/{BUCKET}/{key}")

    def admin(self, method, path, value=None):
        one = wire.Wire(*self.admin_address)
        try:
            body = None if value is None else json.dumps(value).encode()
            reply = one.send(method, self.admin_base + path, [], body)
        finally:
            one.close()
        return reply.status, json.loads(reply.body)

    def faults(self, *rules):
        status, answer = self.admin("PUT", "/faults", list(rules))
        assert status == 200, answer

    def settings(self, **values):
        status, answer = self.admin("PUT", "/settings", values)
        assert status == 200, answer
        return answer

    def reset(self):
        self.admin("DELETE", "/faults")
        self.settings(delay_ms=0, mbytes_per_s=0, etag_style="md5",
                      standard_limit=52428800, global_limit=524288000,
                      copy_ms=0, clock_s=0, tus_drain_ms=3000, tus_expiry_s=86400,
                      tus_max=10000)
        self.admin("DELETE", "/log")


def broken(function, *arguments):
    """The connection ends without an answer."""
    try:
        reply = function(*arguments)
    except (wire.Broken, ConnectionError):
        return
    raise AssertionError(f"answered {reply.status}")


def seconds(function, *arguments):
    began = time.monotonic()
    function(*arguments)
    return time.monotonic() - began


def run(server):
    """Every check starts with no faults, the default settings and an empty log; the exit status."""
    failures = 0
    for function in CHECKS:
        server.reset()
        try:
            function(server)
            print(f"ok      {function.__name__}")
        except Exception as problem:  # one line per check, whatever went wrong
            failures += 1
            line = problem.__traceback__.tb_next.tb_lineno
            print(f"FAILED  {function.__name__} (line {line}): {type(problem).__name__} {problem}")
    server.reset()
    print(f"{len(CHECKS)} checks, {failures} failed")
    return 1 if failures else 0
