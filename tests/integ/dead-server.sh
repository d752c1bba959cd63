#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A server that does not answer: 1,000 reads hang on it, a cached stat does not; Ctrl-C ends a cat at
# once, a program that handles SIGINT goes on at the read deadline; when the server is back, so are we.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2016
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need python3 setsid
need_devserver "it makes the server hang"
start_server
bucket='' mnt=''
new_bucket bucket
head -c 5000000 /dev/urandom >"$SF_TMP/big"
put_object "$bucket" big "$SF_TMP/big" || fail "put"
printf hello >"$SF_TMP/small"
put_object "$bucket" known "$SF_TMP/small" || fail "put"
mount_project mnt -o "attr_ttl=60,read_timeout=8"
stat "$mnt/$bucket/known" "$mnt/$bucket/big" >/dev/null || fail "stat"

step "1,000 reads hang, a cached stat answers in less than 1 ms"
set_faults '[{"method":"GET","path":"/object/authenticated/","kind":"hang"}]' || fail "faults"
python3 - "$mnt/$bucket" <<'PY' || fail "cached stat while 1,000 reads hang"
import os, signal, sys, threading, time
top = sys.argv[1]
n = 1000
fd = os.open(top + "/big", os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
errors = []
def read(i):
    try:
        os.pread(fd, 512, i * 4096)
        errors.append("a read came back")
    except OSError as e:
        errors.append(e.errno)
threading.stack_size(65536)
threads = [threading.Thread(target=read, args=(i,), daemon=True) for i in range(n)]
for t in threads:
    t.start()
time.sleep(1)
assert not errors, errors[:5]
times = []
for _ in range(200):
    t = time.perf_counter()
    os.stat(top + "/known")
    times.append(time.perf_counter() - t)
# The kernel answers these from its own cache; getattr of an open file asks us.
own = os.open(top + "/known", os.O_RDONLY)
for _ in range(200):
    t = time.perf_counter()
    os.fstat(own)
    times.append(time.perf_counter() - t)
times.sort()
print("cached stat with %d reads hanging: median %.3f ms, p99 %.3f ms" %
      (n, times[len(times) // 2] * 1e3, times[int(len(times) * .99)] * 1e3))
assert times[int(len(times) * .99)] < 1e-3
t0 = time.time()
for t in threads:
    t.join(20)
assert len(errors) == n and time.time() - t0 < 12, (len(errors), time.time() - t0)
PY

step "Ctrl-C ends each cat at once"
sleep 2 # for a second after a deadline, readers of the file do not wait
pids=()
for _ in 1 2 3 4 5; do
    setsid --fork sh -c 'echo $$ >"$2.$$"; exec cat "$1"' sh "$mnt/$bucket/big" "$SF_TMP/cat" >/dev/null 2>&1
done
wait_for 5 sh -c '[ "$(ls "$1".* | wc -l)" = 5 ]' sh "$SF_TMP/cat" || fail "cats did not start"
sleep 0.5
mapfile -t pids < <(cat "$SF_TMP"/cat.*)
t0=$(now_ms)
kill -INT "${pids[@]}"
for pid in "${pids[@]}"; do
    wait_for 3 sf_is_gone "$pid" || fail "a cat outlives Ctrl-C"
done
expect_le "milliseconds until all five ended" 1000 "$(($(now_ms) - t0))"

step "a program that handles SIGINT goes on at the read deadline"
sleep 10 # until what the killed cats asked for has reached its deadline
python3 - "$mnt/$bucket/big" <<'PY' || fail "handled SIGINT"
import os, signal, sys, threading, time
caught = []
signal.signal(signal.SIGINT, lambda *a: caught.append(time.time()))
fd = os.open(sys.argv[1], os.O_RDONLY)
threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
t = time.time()
try:
    os.pread(fd, 4096, 0)
    sys.exit("the read came back with bytes")
except OSError as e:
    took = time.time() - t
    print("read ended after %.1f s with %s" % (took, os.strerror(e.errno)))
    assert took < 15 and caught, took
PY

step "the mount recovers when the server is back"
clear_faults
wait_for 15 cmp -s "$SF_TMP/big" "$mnt/$bucket/big" || fail "no recovery"
expect_same_file "bytes after the recovery" "$SF_TMP/big" "$mnt/$bucket/big"

step "a server that is gone: what is known is served, and its return is noticed"
pause_server
expect_eq "cached content type" 5 "$(timeout 5 stat -c %s "$mnt/$bucket/known")"
resume_server
wait_for 30 timeout 10 ls "$mnt/$bucket" >/dev/null || fail "no recovery after a pause"
kill_server
expect_eq "known size while the server is down" 5 "$(timeout 5 stat -c %s "$mnt/$bucket/known")"
restart_server
wait_for 30 sh -c 'echo new >"$1/new"' sh "$mnt/$bucket" || fail "no write after the restart"
expect_eq "the new object" new "$(get_object "$bucket" new "$SF_TMP/new" && cat "$SF_TMP/new")"
step "every slot is back"
expect_eq "parked requests" 0 "$(mount_counter "$mnt" 'd["parked"]')"
expect_eq "active requests" 0 "$(mount_counter "$mnt" 'd["http_active"]')"
passed
