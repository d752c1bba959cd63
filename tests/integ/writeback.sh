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
opts=bucket=$b,sync=writeback,stop_timeout=3s,attr_ttl=60
mount_project mnt -o "$opts"
# shellcheck disable=SC2154 # set by mount_project
cd "$mnt" || fail "no mount"

stored() { get_object "$b" "$1" "$SF_TMP/got" 2>/dev/null && cat "$SF_TMP/got"; }
is_stored() { [ "$(stored "$1")" = "$2" ]; }
nothing_waits() { [ "$(mount_status "$mnt" pending)" = 0 ]; }

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

step "kill -9 while the service is away"
pause_server
echo away >away
echo over >new
expect_ok "chmod" timeout 10 chmod 751 away
expect_ok "setfattr" timeout 10 setfattr -n user.note -v one away
pid=$(daemon_pid "$mnt")
cd / || exit
kill -9 "$pid"
wait_for 10 sf_is_gone "$pid"
resume_server
rm -rf "$SF_TMP"/cache*
expect_ok "mount" mount_at "$mnt" -o "$opts"
expect_eq "shown at once" away "$(cat "$mnt/away")"
expect_eq "and this" over "$(cat "$mnt/new")"
expect_eq "its mode" 751 "$(stat -c %a "$mnt/away")"
wait_for 20 nothing_waits || fail "pending: $(mount_status "$mnt" pending)"
is_stored away away || fail "it is not there"
is_stored new over || fail "it is not there: $(stored new)"
expect_eq "its attribute" one "$(getfattr --only-values -n user.note "$mnt/away")"
expect_eq "its mode" 751 "$(stat -c %a "$mnt/away")"
passed
