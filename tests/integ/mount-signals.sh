#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Signals while a request waits: Ctrl-C ends it at once; a timer or a child that ends does not, and
# Ctrl-C after one of these still does. An interrupted close leaves its upload running.
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it slows the server down"
need_fuse
need_supafs
need python3
start_server --delay-ms 0
new_bucket bucket
mount_project mnt -o attr_ttl=0
# shellcheck disable=SC2154 # set by new_bucket and mount_project
dir=$mnt/$bucket
printf data >"$dir/file"
settings '{"delay_ms": 500}' >/dev/null

step "timers, and children that end"
python3 - "$dir" <<'PY' || fail "see above"
import errno, os, signal, sys, time
d = sys.argv[1]
ticks = 0
def tick(*_):
    global ticks
    ticks += 1
signal.signal(signal.SIGALRM, tick)
signal.signal(signal.SIGCHLD, tick)
signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
if os.fork() == 0:
    time.sleep(0.3)
    os._exit(0)
# Python repeats after EINTR, so what comes up is asked of the C library itself.
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def must(what, rc):
    if rc < 0:
        sys.exit(f"{what}: {errno.errorcode[ctypes.get_errno()]}")
    return rc
begun = time.monotonic()
fd = must("creat", libc.creat((d + "/new").encode(), 0o644))
must("write", libc.write(fd, b"abc", 3))
must("close", libc.close(fd))
must("unlink", libc.unlink((d + "/new").encode()))
must("mkdir", libc.mkdir((d + "/made").encode(), 0o755))
took = time.monotonic() - begun
signal.setitimer(signal.ITIMER_REAL, 0)
if took < 1.5 or ticks < 3:
    sys.exit(f"nothing was interrupted: {took} s, {ticks} signals")
PY

# ended_in PROGRAM...: the ms from SIGINT to the end of a program that waits in a request.
ended_in() {
    local begun
    : >"$SF_TMP/out" # the shell in the background may be late
    python3 - "$@" >"$SF_TMP/out" 2>&1 <<'PY' &
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
if "timer" in sys.argv[2:]:
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
print("ready", flush=True)
os.listdir(sys.argv[1])
PY
    local pid=$!
    wait_for 5 grep -q ready "$SF_TMP/out"
    sleep 0.5
    begun=$(now_ms)
    kill -INT "$pid"
    wait "$pid" 2>/dev/null
    SF_STATUS=$?
    SF_MS=$(($(now_ms) - begun))
}

settings '{"delay_ms": 1500}' >/dev/null
step "Ctrl-C"
sleep 1
ended_in "$dir"
expect_eq "ended by the signal" 130 "$SF_STATUS"
expect_le "ms" 200 "$SF_MS"
step "Ctrl-C after a timer"
sleep 1
ended_in "$dir" timer
expect_eq "ended by the signal" 130 "$SF_STATUS"
expect_le "ms" 600 "$SF_MS"

step "an interrupted close: the upload goes on"
: >"$SF_TMP/out"
python3 - "$dir/pending" >"$SF_TMP/out" <<'PY' &
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_DFL)
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(fd, b"kept")
print("ready", flush=True)
os.close(fd)
PY
writer=$!
wait_for 30 grep -q ready "$SF_TMP/out" || fail "it gets no further than open()"
sleep 0.3
kill -TERM "$writer"
wait "$writer" 2>/dev/null
expect_eq "its program ended" 143 $?
settings '{"delay_ms": 0}' >/dev/null
# shellcheck disable=SC2317,SC2329 # called by wait_for
uploaded() { get_object "$bucket" pending "$SF_TMP/got" 2>/dev/null; }
wait_for 60 uploaded || fail "never uploaded: $("$SUPAFS" status "$mnt" | grep -v ^option)"
expect_eq "its bytes" kept "$(cat "$SF_TMP/got")"
expect_eq "nothing waits" 0 "$(mount_status "$mnt" requests_waiting)"
passed
