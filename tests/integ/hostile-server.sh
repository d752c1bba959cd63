#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A server that answers nonsense: the tool gets an error, the log says what came, the mount goes on,
# no redirect is followed, and memory stays within what max_nodes allows.
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need python3
cat >"$SF_TMP/server.py" <<'PY'
import http.server, json, socketserver, sys

mode, count = "ok", 0

def row(name, size=3):
    return {"name": name, "key": name, "id": "11111111-2222-3333-4444-%012d" % (hash(name) % 10**12),
            "created_at": "2026-01-01T00:00:00.000Z", "updated_at": "2026-01-01T00:00:00.000Z",
            "last_accessed_at": None,
            "metadata": {"eTag": '"abc"', "size": size, "contentLength": size, "mimetype": "text/plain",
                         "cacheControl": "no-cache", "lastModified": "2026-01-01T00:00:00.000Z"}}

def page(rows, more=None):
    return json.dumps({"hasNext": bool(more), "nextCursor": more, "folders": [], "objects": rows})

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *a):
        pass
    def answer(self, status, body="", *headers):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def listing(self):
        global count
        elsewhere = "http://127.0.0.1:%d/stolen" % self.server.server_address[1]
        files = page(sorted((row("f%d" % i) for i in range(9)), key=lambda r: r["name"]))
        if mode == "endless":
            count += 1
            return self.answer(200, page([row("e%09d" % (count * 1000 + i)) for i in range(1000)], "c%d" % count))
        return {
            "loop": lambda: self.answer(200, page([row("a"), row("c")], "same")),
            "cut": lambda: self.answer(200, '{"hasNext": tru'),
            "nul": lambda: self.answer(200, files.replace('"f3"', '"f\\u0000"')),
            "numbers": lambda: self.answer(200, page([row("n", -5), row("o", 10**30), row("p", "x")])),
            "deep": lambda: self.answer(200, "[" * 1000000),
            "headers": lambda: self.answer(200, files, *[("X-%d" % i, "y" * 8000) for i in range(500)]),
            "redirect": lambda: self.answer(307, "", ("Location", elsewhere)),
            "html": lambda: self.answer(200, "<html>a captive portal</html>"),
        }.get(mode, lambda: self.answer(200, files))()
    def content(self):
        etag = ("ETag", '"abc"')
        return {
            "range-elsewhere": lambda: self.answer(206, "abc", ("Content-Range", "bytes 5-7/100"), etag),
            "no-range": lambda: self.answer(206, "abc", etag),
            "letters": lambda: self.answer(206, "abc", ("Content-Range", "bytes x-y/z"), etag),
            "longer": lambda: self.answer(206, "abc" * 100000, ("Content-Range", "bytes 0-2/3"), etag),
            "shorter": lambda: self.answer(206, "a", ("Content-Range", "bytes 0-2/3"), etag),
            "moved": lambda: self.answer(302, "", ("Location", "/stolen")),
        }.get(mode, lambda: self.answer(206, "abc", ("Content-Range", "bytes 0-2/3"), etag))()
    def do_GET(self):
        global mode, count
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path
        if path.startswith("/mode/"):
            mode = path[6:]
            return self.answer(200)
        if path == "/stolen":
            count = -1
        if path == "/was-stolen":
            return self.answer(200, "yes" if count < 0 else "no")
        bucket = {"id": "b", "name": "b", "public": False, "file_size_limit": None, "allowed_mime_types": None}
        if path.endswith("/bucket"):
            return self.answer(200, json.dumps([bucket]))
        if "/bucket/" in path:
            return self.answer(200, json.dumps(bucket))
        if "/list-v2/" in path:
            return self.listing()
        if self.command == "GET":
            return self.content()
        self.answer(500, "{}")
    do_POST = do_OPTIONS = do_HEAD = do_GET

class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    def handle_error(self, *a):
        pass

server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
PY
python3 "$SF_TMP/server.py" >"$SF_TMP/port" 2>"$SF_TMP/server.log" &
at_exit sf_end_quietly $!
wait_for 20 test -s "$SF_TMP/port" || fail "the server does not start"
url=http://127.0.0.1:$(cat "$SF_TMP/port")
export SUPABASE_SERVICE_ROLE_KEY=sb_secret_hostile_server_test
# shellcheck disable=SC2034 # read by mount_at
SF_MOUNT_URL=$url
mount_project mnt -o attr_ttl=0,max_nodes=5000
# shellcheck disable=SC2154 # set by mount_project
pid=$(daemon_pid "$mnt")
log=$SF_TMP/daemon-${mnt##*/}.log
says() { curl -sS --max-time 10 "$url/$1"; }
answers() { says "mode/$1" || fail "the test's server does not answer"; }

step "listings"
for mode in loop cut nul deep headers redirect html; do
    answers "$mode"
    expect_exit "$mode" 2 timeout 60 ls -U "$mnt/b"
    expect_match "$mode" 'rror|too large' "$SF_OUT"
done
answers numbers
timeout 60 ls -l "$mnt/b" >"$SF_TMP/listed" 2>&1
expect_missing "a size below zero" "$(awk '$5 < 0' "$SF_TMP/listed")/none"
answers ok
expect_eq "and then the truth" 9 "$(find "$mnt/b" -type f | wc -l)"

step "contents"
i=0
for mode in range-elsewhere no-range letters longer shorter moved; do
    answers "$mode"
    expect_exit "$mode" 1 timeout 60 cat "$mnt/b/f$i"
    expect_match "$mode" 'Input/output error|Stale file handle|File too large' "$SF_OUT"
    i=$((i + 1))
done
answers ok
expect_eq "and then the truth" abc "$(cat "$mnt/b/f8")"
expect_eq "no redirect was followed" no "$(says was-stolen)"

step "the log says what was asked and what came"
expect_match "a listing" 'event=request-failed err=EPROTO reason="POST list-v2 b: HTTP 200: ' "$(cat "$log")"
expect_match "a redirect" 'HTTP 307: a redirect: never followed' "$(cat "$log")"
expect_match "a content" 'err=EIO reason="GET range b/f1: HTTP 206: no usable Content-Range' "$(cat "$log")"
expect_le "lines a minute" 41 "$(grep -c 'event=request-failed' "$log")"
expect_match "the status has the last one" '^20.* GET range b/f[0-9]' "$(mount_status "$mnt" last_failed_request)"
! grep -rqF "$SUPABASE_SERVICE_ROLE_KEY" "$log" || fail "the key is in the log"

step "a listing without end"
answers endless
expect_exit "ls" 2 timeout 60 ls -U "$mnt/b"
expect_match "ends" 'Cannot allocate memory' "$(tail -n 1 <<<"$SF_OUT")"
bound=$((64 * 1024))
if grep -q -e __asan_init -e __tsan_init "$SUPAFS"; then bound=$((4 * bound)); fi # shadow memory and quarantine
expect_le "KiB of memory" "$bound" "$(awk '/^RssAnon/ { print $2 }' "/proc/$pid/status")"
answers ok
expect_eq "the mount lives" abc "$(cat "$mnt/b/f8")"
expect_eq "the same process" "$pid" "$(daemon_pid "$mnt")"
passed
