# SPDX-License-Identifier: GPL-3.0-or-later
"""The dev server's OpenAI-compatible site against aimock, which nobody here wrote: the same requests
to both, and the answers must have the same shape: status, types of the members, where the usage
stands, how a stream begins and ends. argv: the port of aimock; or "fixtures" and a file to
write aimock's to.

Prints a line per case; exit status 1 when a shape differs in a way that is not listed here.
"""
import json
import os
import sys
import urllib.parse

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import sse  # noqa: E402

QUESTION = "What is it?"
FIXTURES = {"fixtures": [
    {"match": {"userMessage": QUESTION}, "response": {"content": "A text, and more of it."}},
    {"match": {"userMessage": "think"}, "response": {"content": "Two words and more of them",
                                                     "reasoning": "Let me see and count."}},
    {"match": {"userMessage": "busy"}, "response": {"status": 429, "error": {
        "message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}},
]}
# Members that OpenAI has and aimock has not. What is null counts as not there, for both.
MAY_MISS = {"status_details", "data[].status_details", "usage.prompt_tokens_details",
            "usage.completion_tokens_details"}


def shape(value, at=""):
    """The members of a JSON value with their types, as "path:type"."""
    if isinstance(value, dict):
        found = set()
        for name, member in value.items():
            path = f"{at}.{name}" if at else name
            if member is not None and path not in MAY_MISS:
                found |= shape(member, path)
        return found
    if isinstance(value, list):
        found = {at + "[]"}
        for member in value:
            found |= shape(member, at + "[]")
        return found
    kind = "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else \
        type(value).__name__
    return {f"{at}:{kind}"}


class Peer:
    def __init__(self, name, address, base, key):
        self.name, self.address, self.base, self.key = name, address, base, key
        self.file = None

    def ask(self, method, path, value=None, headers=(), body=b""):
        if value is not None:
            body, headers = json.dumps(value).encode(), [("Content-Type", "application/json")]
        own = [("Authorization", "Bearer " + self.key)] + list(headers)
        return sse.ask(self.address, method, self.base + path, own, body)

    def chat(self, text, **members):
        return self.ask("POST", "/chat/completions", {
            "model": "gpt-4o", "messages": [{"role": "system", "content": "A text."},
                                            {"role": "user", "content": text}]} | members)


def json_shape(got):
    return {"status": got.status, "members": sorted(shape(got.json()))}


def stream_shape(got):
    """Each kind of chunk once, in the order of their first appearance, and the end."""
    kinds = []
    for event in sse.events(got.body):
        kind = event.decode() if event == b"[DONE]" else " ".join(sorted(shape(json.loads(event))))
        if kind not in kinds:
            kinds.append(kind)
    return {"status": got.status, "type": got.headers["content-type"].split(";")[0],
            "kinds": sorted(kinds), "end": kinds[-1]}


def chat(peer):
    return json_shape(peer.chat(QUESTION))


def stream(peer):
    return stream_shape(peer.chat(QUESTION, stream=True))


def stream_with_usage(peer):
    return stream_shape(peer.chat(QUESTION, stream=True, stream_options={"include_usage": True}))


def thoughts(peer):
    return stream_shape(peer.chat("think", stream=True))


def thoughts_whole(peer):
    return json_shape(peer.chat("think"))


def busy(peer):
    got = peer.chat("busy")
    return json_shape(got) | {"retry-after": got.headers.get("retry-after"), "limits": sorted(
        name for name in got.headers if name in ("x-ratelimit-limit-requests",
                                                 "x-ratelimit-remaining-requests"))}


def models(peer):
    row = peer.ask("GET", "/models").json()
    return {"object": row["object"], "row": sorted(shape(row["data"][0]))}


def no_files_yet(peer):
    return json_shape(peer.ask("GET", "/files"))


def upload(peer):
    headers, body = sse.form([("purpose", "user_data")], "a.txt", b"bytes", "text/plain")
    got = peer.ask("POST", "/files", None, headers, body)
    peer.file = got.json()["id"]
    row = got.json()
    return json_shape(got) | {"values": [row[n] for n in ("object", "bytes", "filename", "purpose",
                                                          "status")]}


def file_by_id(peer):
    return json_shape(peer.ask("GET", "/files/" + peer.file))


def list_of_one(peer):
    got = peer.ask("GET", "/files")
    return json_shape(got) | {"first": got.json()["first_id"] == peer.file,
                              "more": got.json()["has_more"]}


def removal(peer):
    return json_shape(peer.ask("DELETE", "/files/" + peer.file))


def removed_file(peer):
    return json_shape(peer.ask("GET", "/files/" + peer.file))


def wrong_purpose(peer):
    headers, body = sse.form([("purpose", "file-extract")], "a.txt", b"bytes", "text/plain")
    return {"status": peer.ask("POST", "/files", None, headers, body).status}


def main():
    if sys.argv[1] == "fixtures":
        with open(sys.argv[2], "w", encoding="utf-8") as file:
            json.dump(FIXTURES, file)
        return 0
    own = urllib.parse.urlsplit(os.environ["OPENAI_BASE_URL"])
    admin = urllib.parse.urlsplit(os.environ["SUPAFS_DEVSERVER_ADMIN"])
    sse.ask((admin.hostname, admin.port), "PUT", "/providers", [],
            b'{"openai": {"models": ["gpt-4o"], "reasoning_field": "reasoning_content"}}')
    peers = [Peer("aimock", ("127.0.0.1", int(sys.argv[1])), "/v1", "any"),
             Peer("supafs", (own.hostname, own.port), own.path, os.environ["OPENAI_API_KEY"])]
    failures = 0
    scenarios = {thoughts: "@reasoning", thoughts_whole: "@reasoning", busy: "@429-rpm"}
    for case in (chat, stream, stream_with_usage, thoughts, thoughts_whole, busy, models,
                 no_files_yet, upload, file_by_id, list_of_one, removal, removed_file,
                 wrong_purpose):
        peers[1].key = os.environ["OPENAI_API_KEY"] + scenarios.get(case, "")
        results = [case(peer) for peer in peers]
        if results[0] == results[1]:
            print("ok     ", case.__name__)
            continue
        failures += 1
        print("DIFFERS", case.__name__)
        for peer, result in zip(peers, results):
            print(f"  {peer.name}: {json.dumps(result)}")
    print(f"{failures} differ")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
