#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What a mount knew, the next one knows: within attr_ttl a remount answers find and stat without a request, also after
# kill -9; later it asks a page per directory. What was changed here shortly before a kill does not come back or vanish.
# SF_SOAK=1: with 50 directories of 1,000 files.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need_devserver "it reads the request log"
dirs=5 files=20
[ -z "${SF_SOAK:-}" ] || dirs=50 files=1000
start_server
bucket='' mnt=''
new_bucket bucket
mount_project mnt -o attr_ttl=600
top=$mnt/$bucket

# requests KINDS: how many of these kinds since the log was cleared.
requests() { request_log | json_get "len([e for e in d[\"entries\"] if e[\"kind\"] in $1])"; }
# look DIR FILE: what find and stat tell, in one file. Times of a directory whose names changed are a mount's own.
look() {
    find "$1" \( -type d -printf '%P %y %m\n' \) -o -printf '%P %y %s %m %i %T@ %C@\n' 2>"$2.err" | sort >"$2"
    [ ! -s "$2.err" ] || fail "find $1: $(cat "$2.err")"
}
# killed_and_mounted OPTIONS: kill -9, mount again.
killed_and_mounted() {
    local pid
    pid=$(daemon_pid "$mnt")
    kill -KILL "$pid"
    wait_for 10 sf_is_gone "$pid" || fail "the daemon outlives kill -9"
    force_umount "$mnt"
    mount_at "$mnt" -o "$1" || fail "mounting after kill -9 failed"
}

step "$dirs directories of $files files"
mkdir "$SF_TMP/tree"
for ((i = 0; i < dirs; i++)); do
    mkdir "$SF_TMP/tree/d$i"
    for ((j = 0; j < files; j++)); do echo "$i $j" >"$SF_TMP/tree/d$i/f$j"; done
done
cp -r "$SF_TMP/tree" "$top/tree"
chmod 750 "$top/tree/d1"
ln -s d1/f1 "$top/tree/link"
look "$top/tree" "$SF_TMP/before"
find "$top/tree" -type f -exec cat {} + >"$SF_TMP/bytes"
expect_eq "entries" $((dirs * (files + 1) + 2)) "$(wc -l <"$SF_TMP/before")"

step "a remount within attr_ttl"
remount_project "$mnt" -o attr_ttl=600
clear_log
look "$top/tree" "$SF_TMP/after"
expect_same_file "the same is told" "$SF_TMP/before" "$SF_TMP/after"
expect_ok "a missing name is missing" test ! -e "$top/tree/d1/missing"
expect_eq "requests" 0 "$(requests '("list", "info", "head", "download", "buckets")')"
find "$top/tree" -type f -exec cat {} + >"$SF_TMP/again"
expect_same_file "bytes" "$SF_TMP/bytes" "$SF_TMP/again"
expect_eq "reads of the service for what was cached" 0 "$(requests '("download",)')"

step "kill -9, and a remount within attr_ttl"
sleep 3 # what was learned is saved two seconds later
killed_and_mounted attr_ttl=600
clear_log
look "$top/tree" "$SF_TMP/after"
expect_same_file "the same is told" "$SF_TMP/before" "$SF_TMP/after"
expect_eq "requests" 0 "$(requests '("list", "info", "head", "download", "buckets")')"
find "$top/tree" -type f -exec cat {} + >"$SF_TMP/again"
expect_same_file "bytes" "$SF_TMP/bytes" "$SF_TMP/again"
expect_eq "reads of the service for what was cached" 0 "$(requests '("download",)')"

step "changes, and kill -9 at once"
rm "$top/tree/d0/f0"
echo new >"$top/tree/d0/new"
echo longer than before >"$top/tree/d0/f1"
mv "$top/tree/d0/f2" "$top/tree/d1/moved"
mv "$top/tree/d2" "$top/tree/d2-moved"
mkdir "$top/tree/made"
chmod 600 "$top/tree/d3/f1"
look "$top/tree" "$SF_TMP/before"
killed_and_mounted attr_ttl=600
look "$top/tree" "$SF_TMP/after"
expect_same_file "the same is told" "$SF_TMP/before" "$SF_TMP/after"
clear_log
expect_ok "what others did not touch is still known" stat "$top/tree/d4/f1" "$top/tree/d4/f2"
expect_eq "created, although it is there" 1 "$(
    set -C
    (echo x >"$top/tree/d0/new") 2>/dev/null
    echo $?
)"

step "after attr_ttl one page per directory"
remount_project "$mnt" -o attr_ttl=1
sleep 1.1
clear_log
look "$top/tree" "$SF_TMP/after"
expect_same_file "the same is told" "$SF_TMP/before" "$SF_TMP/after"
n=$(requests '("list",)')
note "find in $((dirs + 3)) directories: $n listings"
expect_le "listings" $((dirs + 5 + dirs * files / 1000)) "$n"

step "what others changed is seen"
delete_object "$bucket" tree/d4/f1 >/dev/null
echo other >"$SF_TMP/other"
put_object "$bucket" tree/d4/other "$SF_TMP/other" >/dev/null
remount_project "$mnt" -o attr_ttl=1
sleep 1.1
expect_ok "gone" test ! -e "$top/tree/d4/f1"
expect_eq "there" other "$(cat "$top/tree/d4/other")"
passed
