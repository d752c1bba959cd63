#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A mount whose server is away at its start serves what was known, says so, and recovers by itself; one that was never
# told anything fails as ever, and so does one whose key the service refuses. A server that goes away while mounted.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2016,SC2011,SC2012
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need_devserver "it stops the server"
start_server
bucket='' mnt=''
new_bucket bucket
for i in 1 2 3; do
    echo "content $i" >"$SF_TMP/f$i"
    put_object "$bucket" "dir/f$i" "$SF_TMP/f$i" >/dev/null || fail "put"
done

# within MILLISECONDS COMMAND...: it succeeds, and takes no longer.
within() {
    local most=$1 t0
    shift
    t0=$(now_ms)
    "$@" || return 1
    expect_le "milliseconds of: $*" "$most" "$(($(now_ms) - t0))"
}

step "a project that was never seen"
mount_project mnt
umount_project "$mnt"
rm -rf "$SF_TMP/own-$(basename "$mnt")"
kill_server 2>/dev/null
mount_at "$mnt"
expect_eq "exit status" 10 $?
restart_server

step "a mount without its server"
mount_at "$mnt" || fail "mount"
top=$mnt/$bucket
stat "$top"/dir/* >/dev/null
cat "$top/dir/f1" >/dev/null
umount_project "$mnt"
kill_server
: >"$SF_TMP/mount-$sf_mounts.log"
within 5000 mount_at "$mnt" || fail "no mount without the server: $(cat "$SF_TMP/mount-$sf_mounts.log")"
expect_match "it says so" "cannot reach the project" "$(cat "$SF_TMP/mount-$sf_mounts.log")"
expect_match "and the log" "event=offline-start" "$(cat "$SF_TMP/daemon-$(basename "$mnt").log")"
expect_eq "offline" yes "$(mount_status "$mnt" offline)"
expect_match "buckets" "$bucket" "$(within 1000 ls "$mnt")"
expect_eq "names" "f1 f2 f3" "$(within 1000 ls "$top/dir" | xargs)"
expect_eq "size" 10 "$(within 1000 stat -c %s "$top/dir/f2")"
expect_ok "a name that is not there" test ! -e "$top/dir/f4"
expect_eq "bytes that are cached" "content 1" "$(within 1000 cat "$top/dir/f1")"
t0=$(now_ms)
expect_eq "bytes that are not" 1 "$(cat "$top/dir/f3" >/dev/null 2>&1 && echo 0 || echo 1)"
expect_le "milliseconds until that is said" 4000 "$(($(now_ms) - t0))"

step "it comes back"
restart_server
wait_for 10 sh -c '[ "$(sed -n "s/^offline: *//p" "$1/.supafs/status")" = no ]' sh "$mnt" || fail "still offline"
expect_eq "bytes" "content 2" "$(cat "$top/dir/f2")"
echo new >"$top/dir/new"
expect_eq "a write" new "$(get_object "$bucket" dir/new "$SF_TMP/got" && cat "$SF_TMP/got")"
delete_object "$bucket" dir/f1 >/dev/null
sleep 1.1
expect_ok "what others removed" test ! -e "$top/dir/f1"

step "it goes away while mounted"
stat "$top"/dir/* >/dev/null
kill_server
sleep 1.1
expect_eq "names" "f2 f3 new" "$(ls "$top/dir" | xargs)"
wait_for 10 sh -c '[ "$(sed -n "s/^offline: *//p" "$1/.supafs/status")" = yes ]' sh "$mnt" || fail "not offline"
expect_eq "names at once" "f2 f3 new" "$(within 1000 ls "$top/dir" | xargs)"
expect_eq "bytes that are cached" "content 2" "$(within 1000 cat "$top/dir/f2")"
t0=$(now_ms)
expect_eq "bytes that are not" 1 "$(cat "$top/dir/f3" >/dev/null 2>&1 && echo 0 || echo 1)"
expect_le "milliseconds until that is said" 4000 "$(($(now_ms) - t0))"
restart_server
wait_for 10 sh -c 'cat "$1" >/dev/null' sh "$top/dir/f3" || fail "no recovery"

step "a key that the service refuses"
umount_project "$mnt"
SUPABASE_SERVICE_ROLE_KEY=${SUPABASE_SERVICE_ROLE_KEY%?????}AAAAA mount_at "$mnt"
rc=$?
note "exit status with a wrong key: $rc"
expect_eq "no mount" 1 "$((rc != 0))"
passed
