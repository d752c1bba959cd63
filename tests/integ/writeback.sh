#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# sync=writeback: close() returns when the journal has the bytes; what follows, also after kill -9.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it stops the server"
need_fuse
need_supafs
need setfattr
start_server
new_bucket b
# shellcheck disable=SC2154 # set by new_bucket
opts=bucket=$b,sync=writeback,stop_timeout=3s,attr_ttl=60,write_timeout=4s
mount_project mnt -o "$opts"
# shellcheck disable=SC2154 # set by mount_project
own=$SF_TMP/own-$(basename "$mnt")
cd "$mnt" || fail "no mount"

stored() { get_object "$b" "$1" "$SF_TMP/got" 2>/dev/null && cat "$SF_TMP/got"; }
is_stored() { [ "$(stored "$1")" = "$2" ]; }
nothing_waits() { [ "$(mount_status "$mnt" pending)" = 0 ]; }
last_failure_is() { [[ "$(mount_status "$mnt" last_failed_upload)" == *"/$1:"* ]]; }
one_waits() { [[ "$(mount_status "$mnt" writeback)" == *"wait for room: 1"* ]]; }
is_stuck() { [[ "$(mount_status "$mnt" writeback)" == *"stuck"* ]]; }
# Requests since clear_log that send, remove or rename another file than this one.
changes_but() {
    request_log | json_get "sum(e['kind'] in ('upload', 'update', 'move', 'copy', 'delete', 'delete-many')
        and not e['path'].endswith('/$1') for e in d['entries'])"
}

step "a new file"
echo one >new
wait_for 10 is_stored new one || fail "it does not come"
expect_eq "read here" one "$(cat new)"
wait_for 10 nothing_waits || fail "pending: $(mount_status "$mnt" pending)"

step "many at once"
for i in $(seq 50); do echo "$i" >"f$i"; done
for i in 1 25 50; do wait_for 10 is_stored "f$i" "$i" || fail "f$i does not come"; done

step "an editor's way: a new file is renamed over the old one"
for i in 1 2 3; do
    echo "edited $i" >new.tmp
    mv new.tmp new
    expect_eq "read here" "edited $i" "$(cat new)"
done
wait_for 10 is_stored new "edited 3" || fail "it does not come: $(stored new)"
expect_missing "the other name" new.tmp
wait_for 10 nothing_waits || fail "pending: $(mount_status "$mnt" pending)"

step "renamed and removed before they are sent: while the service hangs, in the journal alone"
ls >/dev/null
pause_server
for i in $(seq 20); do echo "$i" >"w$i"; done
expect_ok "mv" timeout 10 mv w20 moved
expect_ok "mv over another" timeout 10 mv w18 w17
expect_ok "rm" timeout 10 rm w19
resume_server
wait_for 20 nothing_waits || fail "pending: $(mount_status "$mnt" pending)"
is_stored moved 20 || fail "the renamed one is not there"
is_stored w17 18 || fail "the replaced one: $(stored w17)"
for i in 18 19 20; do ! is_stored "w$i" "$i" || fail "w$i was sent"; done

step "the same while it fails: what was not begun needs no request"
set_faults '{"kind":"error","status":503}'
echo 1 >first # shows it
wait_for 10 last_failure_is first || fail "no failure: $(mount_status "$mnt" last_failed_upload)"
clear_log
for i in 1 2 3 4; do
    echo "$i" >"u$i"
    expect_ok "mv" timeout 3 mv "u$i" "v$i"
done
expect_ok "mv over another" timeout 3 mv v2 v1
expect_ok "rm" timeout 3 rm v3
expect_eq "nothing was sent of them" 0 "$(changes_but first)"
clear_faults
wait_for 30 nothing_waits || fail "pending: $(mount_status "$mnt" pending)"
expect_eq "v1" 2 "$(stored v1)"
expect_eq "v4" 4 "$(stored v4)"
expect_eq "the others" "v1 v4" "$(echo v*)"
expect_eq "in the bucket, too" "v1 v4" "$(list_keys "$b" v | xargs)"
expect_eq "nor under the old names" '' "$(list_keys "$b" u)"

step "fsync waits for the bucket"
cat >"$SF_TMP/fsync.py" <<'PY'
import os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY, 0o644)
os.write(fd, b"synced\n")
os.fsync(fd)
open(sys.argv[2], "w").close()
PY
expect_ok "fsync" python3 "$SF_TMP/fsync.py" synced "$SF_TMP/synced"
expect_eq "it is there" synced "$(stored synced)"
pause_server
python3 "$SF_TMP/fsync.py" later "$SF_TMP/later" &
writer=$!
sleep 0.7
expect_missing "it has returned" "$SF_TMP/later"
resume_server
wait "$writer" || fail "fsync fails"
expect_eq "it is there" synced "$(stored later)"

# crash_and_mount OPTIONS: the daemon is killed while the service hangs, and what was cached is gone.
crash_and_mount() {
    local pid
    pid=$(daemon_pid "$mnt")
    cd / || exit
    kill -9 "$pid"
    wait_for 10 sf_is_gone "$pid"
    resume_server
    [ -n "$(ls -A "$own/cache")" ] || fail "no cache in $own/cache"
    rm -rf "$own/cache"
    expect_ok "mount" mount_at "$mnt" -o "$1"
    cd "$mnt" || fail "no mount"
}

step "kill -9 while the service is away"
pause_server
echo away >away
echo over >new
crash_and_mount "$opts"
expect_eq "shown at once" away "$(cat "$mnt/away")"
expect_eq "and this" over "$(cat "$mnt/new")"
wait_for 20 nothing_waits || fail "pending: $(mount_status "$mnt" pending)"
is_stored away away || fail "it is not there"
is_stored new over || fail "it is not there: $(stored new)"

step "the same with attrs=none"
cd / || exit
remount_project "$mnt" -o "$opts,attrs=none"
cd "$mnt" || fail "no mount"
echo plain >plain
wait_for 10 is_stored plain plain || fail "it does not come"
pause_server
echo more >plain
echo made >made
crash_and_mount "$opts,attrs=none"
expect_eq "shown at once" more "$(cat plain)"
wait_for 20 nothing_waits || fail "pending: $(mount_status "$mnt" pending)"
is_stored plain more || fail "it is not there: $(stored plain)"
is_stored made made || fail "it is not there"

step "what is too old holds up close()"
cd / || exit
remount_project "$mnt" -o "$opts,writeback_age=1s"
cd "$mnt" || fail "no mount"
ls >/dev/null
pause_server
echo old >old
sleep 1.2
{ echo held >held && touch "$SF_TMP/held"; } &
writer=$!
wait_for 5 one_waits || fail "nobody waits: $(mount_status "$mnt" writeback)"
expect_missing "it has returned" "$SF_TMP/held"
resume_server
wait "$writer" || fail "close fails"
wait_for 10 is_stored old old || fail "it does not come"
wait_for 10 is_stored held held || fail "it does not come"

step "one that cannot be sent holds up nobody"
set_faults '{"kind":"error","path":"/object/*/stuck","status":503,"method":"POST"}'
echo stuck >stuck
wait_for 10 last_failure_is stuck || fail "no failure: $(mount_status "$mnt" last_failed_upload)"
sleep 1.2
for i in $(seq 40); do # it has to fail with others stored in between
    expect_ok "close" timeout 20 sh -c "echo $i >by$i"
    wait_for 10 is_stored "by$i" "$i" || fail "by$i does not come"
    [ "$i" -lt 6 ] || ! is_stuck || break
    sleep 0.5
done
is_stuck || fail "not stuck: $(mount_status "$mnt" writeback)"
expect_match "queue ls tells why" "stuck.*503" "$("$SUPAFS" queue ls "$mnt")"
clear_faults
expect_ok "flush" "$SUPAFS" flush "$mnt"
is_stored stuck stuck || fail "it is not there"
expect_eq "nothing was kept aside" '' "$(list_keys "$b" '' | grep conflict)"
expect_eq "nor here" 0 "$(mount_status "$mnt" quarantine)"
cd / || exit
passed
