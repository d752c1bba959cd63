#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# How long a start takes, and how much memory a known object, when earlier mounts have seen very many objects and cached
# their bytes. SF_SOAK=1: a million; else 20,000.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need_devserver "the objects are not in any bucket"
fill=$SUPAFS_BUILDDIR/tests/lib/saved-fill
[ -x "$fill" ] || skip "requires tests/lib/saved-fill (make it first)"
dirs=20 files=1000 most=500
[ -z "${SF_SOAK:-}" ] || dirs=1000 most=300
count=$((dirs * files))
start_server
bucket='' mnt=''
new_bucket bucket
options=attr_ttl=86400,max_nodes=2000000
mount_project mnt -o "$options"
rss() { sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$1/status"; }

step "$count objects known and cached before"
umount_project "$mnt"
cache=$(echo "$SF_TMP/own-$(basename "$mnt")"/cache/*/)
[ -d "$cache" ] || fail "no cache directory: $cache"
began=$(now_ms)
"$fill" "$cache" "$bucket" "$dirs" "$files" "$count" >"$SF_TMP/filled" || fail "filling"
note "$(xargs <"$SF_TMP/filled") (filled in $(($(now_ms) - began)) ms)"

step "the start"
clear_log
began=$(now_ms)
mount_at "$mnt" -o "$options" || fail "mount"
took=$(($(now_ms) - began))
note "mounted after $took ms"
grep -q -e __asan_init -e __tsan_init "$SUPAFS" || expect_le "milliseconds until it is mounted" "$most" "$took"
pid=$(daemon_pid "$mnt")
before=$(rss "$pid")
began=$(now_ms)
expect_eq "one object is known" 64 "$(stat -c %s "$mnt/$bucket/d00007/file-000007.txt")"
note "the first stat took $(($(now_ms) - began)) ms"

step "all of them"
began=$(now_ms)
expect_eq "objects" "$count" "$(find "$mnt/$bucket" -type f -printf . | wc -c)"
note "find took $(($(now_ms) - began)) ms"
expect_eq "requests for them" 0 "$(request_log | json_get 'len([e for e in d["entries"] if e["kind"] == "list"])')"
after=$(rss "$pid")
known=$(mount_status "$mnt" known_names)
note "$known names known, $(((after - before) * 1024 / count)) bytes of memory for each"
passed
