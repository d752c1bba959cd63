# SPDX-License-Identifier: GPL-3.0-or-later
"""As much of a project's gateway as PostgREST needs: what comes for /rest/v1/... goes to it.

  rest-gateway.py PORT URL

Listens on 127.0.0.1:PORT. Addresses are passed on as they come.
"""
import http.client
import http.server
import sys

PREFIX = "/rest/v1"
HOP = ("connection", "keep-alive", "transfer-encoding", "content-length", "host", "apikey")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a reply in one piece
    disable_nagle_algorithm = True
    upstream = ""

    def serve(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if not self.path.startswith(PREFIX + "/"):
            self.answer(404, [], b'{"message":"no Route matched with those values"}')
            return
        to = http.client.HTTPConnection(self.upstream, timeout=30)
        to.putrequest(self.command, self.path[len(PREFIX):], skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in HOP:
                to.putheader(name, value)
        to.putheader("Content-Length", str(len(body)))
        to.endheaders(body)
        got = to.getresponse()
        self.answer(got.status, got.getheaders(), got.read())
        to.close()

    def answer(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PATCH = do_DELETE = serve

    def log_message(self, *args):
        pass


if __name__ == "__main__":
    Handler.upstream = sys.argv[2].removeprefix("http://")
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
