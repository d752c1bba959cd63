#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# How mounts end: umount waits for uploads and says what could not be sent, SIGTERM finishes what
# programs have open, a vanished server delays a stop no longer than stop_timeout and loses nothing,
# a killed daemon's mount is replaced, a new mount waits for one that still stops. And what the
# daemon tells a service manager, and does on SIGHUP. What is waited for may take a minute: `supafs
# status` asks all mounts of the machine, those of other tests among them, and a daemon under
# AddressSanitizer looks for leaks before it ends.
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it pauses the server"
need_fuse
need_supafs
need python3
# shellcheck disable=SC2119 # its options are for the server
start_server
new_bucket bucket
mount_project mnt -o stop_timeout=3s
# shellcheck disable=SC2154 # set by new_bucket and mount_project
state=$(mount_status "$mnt" state_dir)

# writer PATH SECONDS: writes "data" without closing, and says in writer.out how its close went.
writer() {
    rm -f "$SF_TMP/writer.out"
    python3 - "$1" "$2" >"$SF_TMP/writer.out" <<'PY' &
import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(fd, b"data")
print("written", flush=True)
time.sleep(float(sys.argv[2]))
try:
    os.close(fd)
    print("closed", flush=True)
except OSError as e:
    print("close:", os.strerror(e.errno), flush=True)
PY
    writer_pid=$!
    wait_for 60 grep -qs written "$SF_TMP/writer.out" || fail "the writer does not write"
}

again() { mount_at "$mnt" -o stop_timeout=3s "$@" || fail "mounting again: $(tail -n 3 "$SF_TMP"/mount-1.log)"; }
# shellcheck disable=SC2154
stored() { get_object "$bucket" "$1" "$SF_TMP/got" 2>/dev/null && cat "$SF_TMP/got"; }

step "a mount that is in use is not unmounted"
writer "$mnt/$bucket/busy" 60
expect_exit "umount" 1 "$SUPAFS" umount "$mnt"
expect_match "says so" 'in use.*--lazy' "$SF_OUT"
expect_eq "and it serves on" "$mnt" "$(mount_status "$mnt" mountpoint)"

step "a copy in another mount namespace does not keep it alive"
if [ "$(id -u)" = 0 ]; then
    mkdir "$SF_TMP/copied"
    at_exit force_umount "$SF_TMP/copied"
    expect_ok "mount" mount_at "$SF_TMP/copied"
    pid=$(daemon_pid "$SF_TMP/copied")
    unshare -m --propagation private sleep 60 &
    copy=$!
    wait_for 60 grep -qs "$SF_TMP/copied" "/proc/$copy/mountinfo"
    expect_ok "umount" timeout 120 "$SUPAFS" umount "$SF_TMP/copied"
    sf_is_gone "$pid" || fail "the daemon stays"
    kill "$copy"
    wait "$copy" 2>/dev/null
fi

step "umount --lazy: the file is finished by its program"
pid=$(daemon_pid "$mnt")
expect_ok "umount --lazy" "$SUPAFS" umount --lazy "$mnt"
! is_mounted "$mnt" || fail "still mounted"
kill -TERM "$writer_pid"
wait "$writer_pid" 2>/dev/null
wait_for 60 sf_is_gone "$pid" || fail "the daemon stays"
expect_eq "its bytes" data "$(stored busy)"

step "SIGTERM: what is open and not sent yet is sent"
again
pid=$(daemon_pid "$mnt")
writer "$mnt/$bucket/open" 2
kill -TERM "$pid"
wait_for 60 sf_is_gone "$pid" || fail "the daemon stays"
! is_mounted "$mnt" || fail "still mounted"
expect_eq "its bytes" data "$(stored open)"
wait "$writer_pid"
expect_match "its program is told" "close: Transport endpoint" "$(cat "$SF_TMP/writer.out")"

step "SIGTERM while the server is gone: the journal has it, and in time"
again
pid=$(daemon_pid "$mnt")
writer "$mnt/$bucket/lost" 0.5
pause_server
begun=$(now_ms)
kill -TERM "$pid"
wait_for 60 sf_is_gone "$pid" || fail "the daemon hangs"
expect_le "ms until the end" 20000 $(($(now_ms) - begun))
resume_server
wait "$writer_pid"
# The paused server may have taken the request all the same: nobody knows before the next start.
expect_eq "nothing in quarantine" '' "$(find "$state/quarantine" -type f)"
again
expect_eq "the next mount shows it" data "$(cat "$mnt/$bucket/lost")"
# shellcheck disable=SC2317 # called through wait_for
is_stored() { [ "$(stored "$1")" = data ]; }
# shellcheck disable=SC2317 # called through wait_for
nothing_pending() { [ "$(mount_status "$mnt" pending)" = 0 ]; }
wait_for 60 is_stored lost || fail "the next mount did not send it"
wait_for 60 nothing_pending || fail "pending: $(mount_status "$mnt" pending)"
expect_eq "once" lost "$(list_keys "$bucket" lost)"

step "supafs umount says what could not be sent"
writer "$mnt/$bucket/lost2" 0.2
pause_server
sleep 0.5 # the program waits in close(2); a signal lets it go, and the bytes stay pending
kill -TERM "$writer_pid"
wait "$writer_pid" 2>/dev/null
expect_exit "umount" 20 "$SUPAFS" umount "$mnt"
expect_match "says what" "1 change \(4B, the oldest [0-9]+s old\) is not in the project yet" "$SF_OUT"
expect_match "says where" "journal in $state keeps it.*queue ls --state-dir=$state" "$SF_OUT"
resume_server

step "a new mount waits for one that still stops"
again
pid=$(daemon_pid "$mnt")
writer "$mnt/$bucket/slow" 0.1
pause_server
kill -TERM "$pid"
wait_for 60 eval "! is_mounted '$mnt'"
(sleep 1 && resume_server) &
expect_ok "mount" mount_at "$mnt" -o stop_timeout=3s
sf_is_gone "$pid" || fail "the old daemon still runs"
expect_eq "the upload was finished" data "$(cat "$mnt/$bucket/slow")"
wait "$writer_pid"

step "kill -9: dead, seen as dead, and replaced"
kill -KILL "$(daemon_pid "$mnt")"
wait_for 60 eval "! stat -f '$mnt' 2>/dev/null"
expect_exit "status of a dead mount" 1 timeout 120 "$SUPAFS" status
expect_match "says what to do" "mountpoint: $mnt.trouble: dead" "$(tr '\n' '.' <<<"$SF_OUT")"
expect_exit "as JSON" 1 timeout 120 "$SUPAFS" status --json "$mnt"
again
expect_match "says so" 'dead mount on .* was taken away' "$(cat "$SF_TMP/mount-1.log")"
expect_eq "it serves" data "$(cat "$mnt/$bucket/slow")"
step "umount of a dead mount"
kill -KILL "$(daemon_pid "$mnt")"
wait_for 60 eval "! stat -f '$mnt' 2>/dev/null"
expect_ok "umount" "$SUPAFS" umount "$mnt"
! is_mounted "$mnt" || fail "still mounted"
expect_exit "a second umount" 2 "$SUPAFS" umount "$mnt"

step "status of a daemon that does not answer does not hang"
again
pid=$(daemon_pid "$mnt")
kill -STOP "$pid"
expect_exit "status" 1 timeout 120 "$SUPAFS" status "$mnt"
expect_match "says so" 'does not answer' "$SF_OUT"
kill -CONT "$pid"
expect_eq "and goes on" "$pid" "$(daemon_pid "$mnt")"

step "nobody reads the daemon's memory"
if ! grep -qa __asan_init "$SUPAFS"; then
    expect_eq "core limit" 0 "$(awk '/Max core file size/ { print $5 }' "/proc/$pid/limits")"
fi
! tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qF "$SUPABASE_SERVICE_ROLE_KEY" || fail "the key is in argv"

step "SIGHUP: log and key are opened again"
umount_project "$mnt"
(umask 077 && printf '%s\n' "$SUPABASE_SERVICE_ROLE_KEY" >"$SF_TMP/key")
log=$SF_TMP/daemon-${mnt##*/}.log
SUPABASE_SERVICE_ROLE_KEY='' SUPABASE_SECRET_KEY='' again -o "key_file=$SF_TMP/key"
mv "$log" "$SF_TMP/rotated"
kill -HUP "$(daemon_pid "$mnt")"
wait_for 60 grep -q 'event=key-reloaded' "$log" || fail "nothing in the new log"
expect_eq "mode of the log" 600 "$(stat -c %a "$log")"
expect_eq "it serves" data "$(cat "$mnt/$bucket/slow")"
umount_project "$mnt"

step "SIGTERM in the moment in which it is mounted: an orderly stop"
python3 - "$mnt" "$SUPAFS" mount -f "$mnt" -o "cache_dir=$SF_TMP/own-at-once/c" \
    -o "state_dir=$SF_TMP/own-at-once/s" <<'PY' || fail "see above"
import subprocess, sys
def is_mounted(point):
    with open("/proc/self/mountinfo") as table:
        return any(line.split()[4] == point for line in table)
for _ in range(5):
    daemon = subprocess.Popen(sys.argv[2:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not is_mounted(sys.argv[1]) and daemon.poll() is None:
        pass
    daemon.terminate()
    if daemon.wait(90) != 0:
        sys.exit(f"it ended with {daemon.returncode}")
    if is_mounted(sys.argv[1]):
        sys.exit("it is still mounted")
PY

step "in the foreground, under a service manager"
python3 - "$SF_TMP/notify" >"$SF_TMP/notified" <<'PY' &
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(90)
for _ in range(2):
    print(s.recv(4096).decode().splitlines()[0], flush=True)
PY
listener=$!
wait_for 60 test -S "$SF_TMP/notify"
own=$SF_TMP/own-front
NOTIFY_SOCKET=$SF_TMP/notify "$SUPAFS" mount -f "$mnt" -o "cache_dir=$own/c,state_dir=$own/s" \
    >"$SF_TMP/front.out" 2>"$SF_TMP/front.log" &
front=$!
wait_for 60 grep -q READY=1 "$SF_TMP/notified" || fail "no READY=1"
expect_eq "it serves" data "$(cat "$mnt/$bucket/slow")"
expect_match "says where" "is mounted on $mnt" "$(cat "$SF_TMP/front.out")"
kill -INT "$front"
wait "$front"
expect_eq "status after SIGINT" 0 $?
wait "$listener"
expect_eq "told the manager" "READY=1 STOPPING=1" "$(xargs <"$SF_TMP/notified")"
! is_mounted "$mnt" || fail "still mounted"
passed
