# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP/1.1 on a plain socket: sends exactly the bytes it is told to, also the odd ones that no
client library would send (no length, a body shorter than declared, bad escapes, chunks)."""
import socket

LIMIT = 64 << 20  # no answer of the recordings is near it


class Broken(Exception):
    """The server's answer was no HTTP, or ended in the middle."""


class Reply:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers  # lower-case name -> value
        self.body = body


class Wire:
    """One server; keeps a connection open between requests, as the recorded client did."""

    def __init__(self, host, port, timeout=30):
        self.address = (host, port)
        self.timeout = timeout
        self.socket = None
        self.data = b""

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket, self.data = None, b""

    def send(self, method, target, headers, body, declared=None):
        """One exchange. body None = no body and no length; declared = send only the head, with
        this Content-Length. headers is a list of pairs."""
        head = [f"{method} {target} HTTP/1.1", f"Host: {self.address[0]}:{self.address[1]}"]
        headers = list(headers)
        head += [f"{name}: {value}" for name, value in headers]
        chunked = any(n.lower() == "transfer-encoding" for n, _ in headers)
        if declared is not None:
            head.append(f"Content-Length: {declared}")
            body = b""
        elif chunked:
            body = self._chunks(body or b"")
        elif body is not None:
            head.append(f"Content-Length: {len(body)}")
        raw = "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + (body or b"")
        reused = self.socket is not None
        try:
            return self._exchange(method, raw)
        except (Broken, ConnectionError):
            # The server may close an idle connection at any time; on a fresh one it is a failure.
            self.close()
            if not reused:
                raise
            return self._exchange(method, raw)
        finally:
            if declared is not None:
                self.close()

    def send_and_vanish(self, method, target, headers, declared, part):
        """Declares a body of some length, sends a part of it and closes the connection."""
        self.close()
        self.send_part(method, target, headers, declared, part).close()

    def send_part(self, method, target, headers, declared, part):
        """The same without closing: a connection of its own, which the caller closes."""
        head = [f"{method} {target} HTTP/1.1", f"Host: {self.address[0]}:{self.address[1]}",
                f"Content-Length: {declared}"]
        head += [f"{name}: {value}" for name, value in headers]
        connection = socket.create_connection(self.address, self.timeout)
        connection.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + part)
        return connection

    @staticmethod
    def _chunks(body):
        out = b""
        for start in range(0, len(body), 4096):
            piece = body[start:start + 4096]
            out += b"%x\r\n%s\r\n" % (len(piece), piece)
        return out + b"0\r\n\r\n"

    def _exchange(self, method, raw):
        if self.socket is None:
            self.socket = socket.create_connection(self.address, self.timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket.sendall(raw)
        except ConnectionError:
            pass  # refused early (413, 431): the answer may be there all the same
        status, headers = self._head()
        while status == 100:
            status, headers = self._head()
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif headers.get("transfer-encoding", "").lower() == "chunked":
            body = self._read_chunks()
        elif "content-length" in headers:
            body = self._take(int(headers["content-length"]))
        else:
            body = self._to_the_end()
        if headers.get("connection", "").lower() == "close":
            self.close()
        return Reply(status, headers, body)

    def _more(self):
        piece = self.socket.recv(65536)
        if not piece:
            raise Broken(f"the connection ended after {self.data[:80]!r}")
        self.data += piece
        if len(self.data) > LIMIT:
            raise Broken("endless answer")

    def _line(self):
        while b"\r\n" not in self.data:
            self._more()
        line, self.data = self.data.split(b"\r\n", 1)
        return line.decode("latin-1")

    def _head(self):
        first = self._line().split(" ", 2)
        if len(first) < 2 or not first[0].startswith("HTTP/1.") or not first[1].isdigit():
            raise Broken(f"no HTTP status line: {first!r}")
        headers = {}
        while True:
            line = self._line()
            if not line:
                return int(first[1]), headers
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()

    def _take(self, count):
        while len(self.data) < count:
            self._more()
        body, self.data = self.data[:count], self.data[count:]
        return body

    def _read_chunks(self):
        body = b""
        while True:
            size = int(self._line().split(";")[0], 16)
            body += self._take(size)
            self._line()
            if size == 0:
                return body

    def _to_the_end(self):
        while True:
            try:
                self._more()
            except Broken:
                body, self.data = self.data, b""
                self.close()
                return body
