# SPDX-License-Identifier: GPL-3.0-or-later
"""The other sides of tests/bench/chat: a provider whose answers tell when they were sent, and programs that
ask and read.

    chat-load.py provider                      prints "ready URL"; answers until it is ended
    chat-load.py first COUNT TOP PID           one question after another
    chat-load.py streams COUNT TOP PID         so many at once
    chat-load.py open COUNT TOP PID            so many conversations open, and at rest
    chat-load.py fill URL ID TURNS             so many turns into the tables, for a conversation that is there
    chat-load.py history COUNT TOP NAME        opens it, and asks in it

TOP is a directory of a mount, with the files NNN.txt, PID that of its daemon. A question says how it wants to be
answered: "parts=N every_ms=N first_ms=N". Each part of an answer is "t=NANOSECONDS" of the clock that all
processes of a machine share.
"""
import asyncio
import json
import os
import re
import statistics
import sys
import threading
import time
import urllib.request

STAMP = re.compile(rb"t=(\d+)")


# ---- the provider ---------------------------------------------------------------------------------


async def answer(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = int(re.search(r"(?i)content-length: (\d+)", head)[1])
            body = await reader.readexactly(length)
            came = time.monotonic_ns()
            body = json.loads(body)
            wish = dict(re.findall(r"(\w+)=(\d+)", str(body["messages"][-1]["content"])))
            await stream(writer, wish, came)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def stream(writer, wish, came):
    def send(text):
        data = f"data: {text}\n\n".encode()
        writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    def part(text, finish="null"):
        return (f'{{"id":"x","object":"chat.completion.chunk","created":1,"model":"any","choices":[{{"index":0,'
                f'"delta":{{"content":"{text}"}},"finish_reason":{finish}}}]}}')

    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    await asyncio.sleep(int(wish.get("first_ms", 20)) / 1000)
    send(part(f"came={came} t={time.monotonic_ns()} "))
    for _ in range(int(wish.get("parts", 1)) - 1):
        await writer.drain()
        await asyncio.sleep(int(wish.get("every_ms", 0)) / 1000)
        send(part(f"t={time.monotonic_ns()} "))
    send(part("", '"stop"'))
    writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
    await writer.drain()


async def serve():
    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 24)
    print(f"ready http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


# ---- who asks -------------------------------------------------------------------------------------


def ask(path, text):
    """The times from each part's sending to its being read, in ms; when the question was closed (ns), and when
    the provider had it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    late, came, asked = [], 0, 0
    try:
        os.write(fd, text.encode())
        asked = time.monotonic_ns()
        while data := os.read(fd, 65536):
            now = time.monotonic_ns()
            late += [(now - int(t)) / 1e6 for t in STAMP.findall(data)]
            if m := re.search(rb"came=(\d+)", data):
                came = int(m[1])
    finally:
        os.close(fd)
    return late, asked, came


def figures(what, values, limit=None):
    values = sorted(values)
    line = (f"{what}: median {statistics.median(values):.2f} ms, p99 {values[int(len(values) * 0.99)]:.2f}, "
            f"most {values[-1]:.2f} ({len(values)})")
    print(line + (f", limit {limit}: {statistics.median(values) / limit:.2f} of it" if limit else ""), flush=True)


def of_process(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        rss = int(re.search(r"RssAnon:\s+(\d+)", f.read())[1])
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return rss, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def name(top, i):
    return os.path.join(top, f"{i:03d}.txt.chat")


def first(count, top, pid):
    times = [ask(name(top, i), "parts=1 first_ms=20") for i in range(int(count))]
    figures("first byte of the provider to first byte read", [late[0] for late, *_ in times], 10)
    figures("question written to the provider's having it", [(came - asked) / 1e6 for _, asked, came in times])


def streams(count, top, pid):
    count, late, wrong = int(count), [], []
    parts, every = 100, 50

    def one(i):
        got = ask(name(top, i), f"parts={parts} every_ms={every} first_ms=50")[0]
        late.extend(got)
        if len(got) != parts:
            wrong.append((i, len(got)))

    rss, cpu = of_process(pid)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    start = time.monotonic()
    for t in threads:
        t.start()
    time.sleep(parts * every / 2000)
    most = of_process(pid)[0]
    for t in threads:
        t.join()
    took, used = time.monotonic() - start, of_process(pid)[1] - cpu
    figures(f"{count} at once, {1000 // every} parts a second each, sent to read", late, 10)
    print(f"{count} at once: took {took:.1f} s of {parts * every / 1000:.1f}, {used / took:.2f} processors of the daemon, "
          f"{(most - rss) / count:.1f} KiB RssAnon for each")
    assert not wrong, f"parts are missing: {wrong}"


def at_rest(count, top, pid):
    count = int(count)
    for i in range(count):
        if not os.path.exists(name(top, i)):
            ask(name(top, i), "parts=1 first_ms=0")
    rss = of_process(pid)[0]
    fds = [os.open(name(top, i), os.O_RDONLY) for i in range(count)]
    for fd in fds:
        os.read(fd, 4096)
    print(f"{count} open, at rest: {(of_process(pid)[0] - rss) / count:.2f} KiB RssAnon for each, {rss} KiB before")
    for fd in fds:
        os.close(fd)


def fill(url, continuation, turns):
    key = os.environ["SUPABASE_SERVICE_ROLE_KEY"]
    headers = {"apikey": key, "Authorization": "Bearer " + key, "Content-Type": "application/json"}

    def rest(method, path, value=None):
        request = urllib.request.Request(f"{url}/rest/v1/{path}", None if value is None else json.dumps(value).encode(),
                                         headers, method=method)
        with urllib.request.urlopen(request) as reply:
            return reply.read()

    (row,) = json.loads(rest("GET", f"conversations?select=id&continuation_id=eq.{continuation}"))
    now = time.time()
    rest("POST", "messages", [
        {"conversation_id": row["id"], "role": ("user", "assistant")[i % 2], "content": f"Turn {i // 2}, " + "some words " * 60,
         "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{i:06d}Z"} for i in range(2 * int(turns))])


def history(count, top, of):
    path, times = os.path.join(top, of), []
    for _ in range(int(count)):
        start = time.monotonic_ns()
        fd = os.open(path, os.O_RDONLY)
        data = os.read(fd, 65536)
        times.append((time.monotonic_ns() - start) / 1e6)
        os.close(fd)
    assert data.startswith(b"---\n"), data[:80]
    size = os.stat(path).st_size
    figures(f"open and first read, {size} bytes of transcript, {times[0]:.2f} ms the first time", times[1:], 100)
    asked = [ask(path, "parts=1 first_ms=0") for _ in range(int(count))]
    figures("question written to the provider's having it", [(came - at) / 1e6 for _, at, came in asked])


def main(verb, *arguments):
    if verb == "provider":
        asyncio.run(serve())
    else:
        {"first": first, "streams": streams, "open": at_rest, "fill": fill, "history": history}[verb](*arguments)


main(*sys.argv[1:])
