#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# `supafs warmup` reads files, or trees of them, ahead of need, tells how far it is, and can be ended.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need_devserver "it uses its delay"
need python3
start_server --delay-ms 20
new_bucket b
mkdir -p "$SF_TMP/tree/odd dir/deep"
for i in $(seq 60); do echo "file $i" >"$SF_TMP/tree/f$i"; done
head -c 3000000 /dev/urandom >"$SF_TMP/tree/odd dir/large"
: >"$SF_TMP/tree/odd dir/deep/empty"
mount_project mnt -o attr_ttl=60s
cp -r "$SF_TMP/tree" "$mnt/$b/tree"
rm -rf "$SF_TMP/own-mnt-1/cache"
remount_project "$mnt" -o attr_ttl=60s

step "a directory, and what is below it"
start=$(now_ms)
expect_eq "its own files" "60 files, 0.0 MiB" "$("$SUPAFS" warmup "$mnt/$b/tree")"
expect_le "time for 60 files at 20 ms, not one after another" 900 "$(($(now_ms) - start))"
expect_eq "all" "62 files, 2.9 MiB" "$("$SUPAFS" warmup -r "$mnt/$b/tree")"
expect_eq "one file" "1 files, 2.9 MiB" "$("$SUPAFS" warmup "$mnt/$b/tree/odd dir/large")"
expect_eq "quiet" "" "$("$SUPAFS" warmup -rq "$mnt/$b")"

step "what goes wrong is said"
expect_exit "no such file" 2 "$SUPAFS" warmup "$mnt/$b/none"
expect_match "why" "No such file" "$SF_OUT"
expect_exit "not in a mount" 2 "$SUPAFS" warmup "$SF_TMP"
expect_match "why" "is not in a mount of supafs" "$SF_OUT"
expect_exit "nothing named" 2 "$SUPAFS" warmup

step "it can be ended"
timeout -s INT 0.1 "$SUPAFS" warmup -r "$mnt" >"$SF_TMP/ended" 2>&1
expect_ok "the mount goes on" ls "$mnt/$b/tree"
passed
