# SPDX-License-Identifier: GPL-3.0-or-later
"""The dev server's emulated AI providers as a client sees them, and their part of the admin port.
The environment is that of project.env."""
import hashlib
import json
import os
import urllib.parse

import sse

API = urllib.parse.urlsplit(os.environ["SUPABASE_URL"])
ADDRESS = (API.hostname, API.port)
ADMIN_PORT = urllib.parse.urlsplit(os.environ["SUPAFS_DEVSERVER_ADMIN"]).port
MODELS = {"kimi": "kimi-k2.6", "kimi-cn": "kimi-k2.6", "glm": "glm-5.1", "zai": "glm-5.1",
          "openai": "any-model"}


def sha256(data):
    return hashlib.sha256(data if isinstance(data, bytes) else data.encode()).hexdigest()


def admin(method, path="/providers", value=None, want=200):
    got = sse.ask(("127.0.0.1", ADMIN_PORT), method, path, [],
                  b"" if value is None else json.dumps(value).encode())
    assert got.status == want, (got.status, got.body)
    return got.json()


class Site:
    def __init__(self, name):
        shown = admin("GET")[name]
        self.name, self.base, self.key = name, shown["base"], shown["key"]

    def ask(self, method, path, value=None, suffix="", headers=(), body=b"", timeout=10, key=None):
        if value is not None:
            body = json.dumps(value).encode()
            headers = [("Content-Type", "application/json"), *headers]
        own = [("Authorization", "Bearer " + (self.key if key is None else key) + suffix)]
        return sse.ask(ADDRESS, method, self.base + path, own + list(headers), body, timeout)

    def upload(self, content, name="a.txt", purpose="file-extract", suffix="", fields=(), path=""):
        headers, body = sse.form([("purpose", purpose), *fields], name, content, "text/plain")
        return self.ask("POST", "/files" + path, None, suffix, headers, body)

    def chat(self, messages=None, suffix="", timeout=10, **members):
        messages = messages or [{"role": "system", "content": "Ein Text.\n"},
                                {"role": "user", "content": "Was?"}]
        body = {"model": MODELS[self.name], "messages": messages, "stream": True}
        return self.ask("POST", "/chat/completions", body | members, suffix, timeout=timeout)

    def state(self):
        return admin("GET")[self.name]

    def set(self, **settings):
        admin("PUT", "/providers", {self.name: settings})


def same(what, wanted, got):
    assert wanted == got, f"{what}: wanted {wanted!r}, got {got!r}"


def error_of(got, status, kind):
    """The error's type or code, whichever the site has."""
    same("status", status, got.status)
    error = got.json()["error"]
    assert kind in (error.get("type"), error.get("code")), got.body
    return error["message"]


class Answer:
    """A stream put together as a careful client does it."""

    def __init__(self, got):
        self.events = sse.events(got.body)
        self.done = self.events[-1:] == [b"[DONE]"]
        self.chunks = [json.loads(e) for e in self.events if e != b"[DONE]"]
        self.content = self.reasoning = ""
        self.usage, self.finish, self.errors = [], None, []
        for chunk in self.chunks:
            if "error" in chunk:
                self.errors.append(chunk["error"])
            for choice in chunk.get("choices", []):
                delta = choice["delta"]
                self.content += delta.get("content") or ""
                self.reasoning += delta.get("reasoning_content") or delta.get("reasoning") or ""
                self.finish = choice.get("finish_reason") or self.finish
                if "usage" in choice:
                    self.usage.append("choice")
            if "usage" in chunk:
                self.usage.append("last" if chunk["choices"] else "trailing")
