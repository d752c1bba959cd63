# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request whose answer is read as it comes, with times and pieces, and the events of a
stream of them. Knows nothing of supafs: it is the other side's view of a chat."""
import json
import socket
import time


class Got:
    """What came: status, headers, body without its chunks, the pieces as the system gave them, how
    it ended ("whole", "cut", "reset"), and when the first byte of the body and the end were there."""

    def __init__(self):
        self.status, self.headers, self.body = 0, {}, b""
        self.pieces, self.end, self.first_s, self.whole_s = 0, "", 0.0, 0.0

    def json(self):
        return json.loads(self.body)


class _Reader:
    def __init__(self, connection):
        self.connection, self.data, self.count = connection, b"", 0

    def more(self):
        piece = self.connection.recv(65536)
        if not piece:
            raise EOFError
        self.data += piece
        self.count += 1

    def line(self):
        while b"\r\n" not in self.data:
            self.more()
        line, self.data = self.data.split(b"\r\n", 1)
        return line

    def take(self, count):
        while len(self.data) < count:
            self.more()
        taken, self.data = self.data[:count], self.data[count:]
        return taken


def _read(reader, got, began):
    got.status = int(reader.line().split()[1])
    while True:
        line = reader.line().decode("latin-1")
        if not line:
            break
        name, _, value = line.partition(":")
        got.headers[name.lower()] = value.strip()
    while got.headers.get("transfer-encoding") == "chunked":
        size = int(reader.line(), 16)
        if not got.first_s:
            got.first_s = time.monotonic() - began
        if size == 0:
            reader.line()
            return
        got.body += reader.take(size)
        reader.line()
        got.pieces += 1
    got.body += reader.take(int(got.headers.get("content-length", 0)))


def ask(address, method, target, headers=(), body=b"", timeout=10, part=None):
    """One request on a connection of its own. part = so many bytes of the body, then nothing."""
    got, began = Got(), time.monotonic()
    head = [f"{method} {target} HTTP/1.1", "Host: provider", f"Content-Length: {len(body)}"]
    head += [f"{name}: {value}" for name, value in headers]
    with socket.create_connection(address, timeout) as connection:
        reader = _Reader(connection)
        try:
            connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + body[:part])
        except ConnectionError:
            pass  # answered before the whole body had come
        try:
            _read(reader, got, began)
            got.end = "whole"
        except EOFError:
            got.end = "cut"
        except ConnectionError:
            got.end = "reset"
        except socket.timeout:
            got.end = "timeout"
        got.whole_s = time.monotonic() - began
    return got


def form(fields, filename, content, kind="application/octet-stream"):
    """multipart/form-data: the headers and the body."""
    mark = "----supafs-test-boundary"
    body = b""
    for name, value in fields:
        body += (f"--{mark}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n"
                 f"{value}\r\n").encode()
    if filename is not None:
        body += (f"--{mark}\r\nContent-Disposition: form-data; name=\"file\"; "
                 f"filename=\"{filename}\"\r\nContent-Type: {kind}\r\n\r\n").encode()
        body += content + b"\r\n"
    return [("Content-Type", f"multipart/form-data; boundary={mark}")], body + f"--{mark}--\r\n".encode()


def events(body):
    """The data of each event, by the rules of server-sent events; an unfinished one at the end
    counts, as the clients of chats have it."""
    found, data = [], []
    for line in body.replace(b"\r\n", b"\n").split(b"\n"):
        if line.startswith(b"data:"):
            data.append(line[6:] if line.startswith(b"data: ") else line[5:])
        elif not line and data:
            found.append(b"\n".join(data))
            data = []
    return found + ([b"\n".join(data)] if data else [])
