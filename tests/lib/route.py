#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""One address for a project whose Storage and database are two servers, as a gateway makes it.

    route.py STORAGE-URL REST-URL DIRECTORY

/rest/v1 goes to REST-URL, all else to STORAGE-URL, and so does the function supafs_set_attrs, which
changes the rows of Storage. Prints its own URL. In DIRECTORY: `rest` gets a line for each request to
the database (method, path, status); while there is a file `lose`, answers of the database do not come
back; while there is a file `down`, they are what it says: 502, or 404 as of a project without functions.
"""

import http.client
import http.server
import os
import sys
import threading
import urllib.parse

HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}
STORAGE, REST, DIRECTORY = sys.argv[1:4]
KEPT = threading.local()
LOG = threading.Lock()


def exchange(base, method, path, headers, body):
    """Status, headers and body; connections are kept, and a stale one is replaced once."""
    host = urllib.parse.urlsplit(base).netloc
    kept = KEPT.__dict__.setdefault("connections", {})
    for attempt in range(2):
        fresh = host not in kept
        if fresh:
            kept[host] = http.client.HTTPConnection(host, timeout=60)
        try:
            kept[host].request(method, path, body, headers)
            reply = kept[host].getresponse()
            return reply.status, reply.getheaders(), reply.read()
        except (http.client.HTTPException, OSError):
            kept.pop(host).close()
            if fresh or attempt:
                raise
    raise AssertionError


class Router(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def route(self):
        rest = self.path.startswith("/rest/v1") and not self.path.endswith("/supafs_set_attrs")
        base = REST if rest else STORAGE
        path = self.path[len("/rest/v1"):] or "/" if rest else self.path
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
        down = os.path.join(DIRECTORY, "down")
        try:
            if rest and os.path.exists(down):
                with open(down, encoding="ascii") as f:
                    status, got, answer = int(f.read()), [], b'{"code":"PGRST202","message":"no such function"}'
            else:
                status, got, answer = exchange(base, self.command, path, headers, body)
        except (http.client.HTTPException, OSError):
            status, got, answer = 502, [], b""
        if rest:
            with LOG, open(os.path.join(DIRECTORY, "rest"), "a", encoding="utf-8") as log:
                log.write(f"{self.command} {path} {status}\n")
            if os.path.exists(os.path.join(DIRECTORY, "lose")):
                self.close_connection = True
                return
        self.send_response_only(status)
        length = str(len(answer))
        for name, value in got:
            if self.command == "HEAD" and name.lower() == "content-length":
                length = value
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)
        self.wfile.flush()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = route

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Router)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()
