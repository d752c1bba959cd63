#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# `supafs cache`: what is cached of which file, pins that outlive pressure and a remount, eviction
# that reaches the kernel's pages, and a check of all that is on disk.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need python3
start_server
new_bucket b
mkdir "$SF_TMP/in"
for i in 1 2 3 4; do head -c 3000000 /dev/urandom >"$SF_TMP/in/f$i"; done
echo small >"$SF_TMP/in/sm all"
mount_project mnt -o attr_ttl=60s
cp -r "$SF_TMP/in" "$mnt/$b/in"
rm -rf "$SF_TMP/own-mnt-1/cache"
umount_project "$mnt"
rm -rf "$SF_TMP/own-mnt-1/cache"
options=attr_ttl=60s,cache_size=8M,cache_min_free=0
mount_at "$mnt" -o "$options"

got() { sed -n 's/^ *"http_in_bytes": \([0-9]*\),*$/\1/p' "$mnt/.supafs/stats"; }
here() { "$SUPAFS" cache ls "$@" | awk '{ print $1 }'; } # PATH...: bytes cached of each

step "what is cached"
expect_eq "nothing yet" "0 0 0 0 0" "$(here "$mnt/$b/in" | xargs)"
cat "$mnt/$b/in/f1" >/dev/null
expect_eq "one file" 3000000 "$(here "$mnt/$b/in/f1")"
expect_eq "the others" "0 0 0 0" "$(here "$mnt/$b/in" | sed 1d | xargs)"
expect_eq "a name with a blank" "$b/in/sm all" \
    "$("$SUPAFS" cache ls --json "$mnt/$b/in/sm all" | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["path"])')"
expect_match "a sum" "^5 files, 11.4 MiB, of which 2.9 MiB are cached; 0 pinned" \
    "$("$SUPAFS" cache stat -r "$mnt")"
expect_eq "of the directory alone" "0 files" "$("$SUPAFS" cache stat "$mnt" | sed 's/,.*//;q')"

step "pins"
expect_match "pinned and fetched" "of which 2.9 MiB are cached; 1 pinned" \
    "$("$SUPAFS" cache pin "$mnt/$b/in/f2")"
for i in 1 3 4 1 3 4; do cat "$mnt/$b/in/f$i" >/dev/null; done
expect_eq "whole after pressure" "3000000 pinned" \
    "$("$SUPAFS" cache ls "$mnt/$b/in/f2" | awk '{ print $1, $5 }')"
expect_match "evict spares it" "of which 2.9 MiB are cached; 1 pinned" "$("$SUPAFS" cache evict -r "$mnt")"
umount_project "$mnt"
mount_at "$mnt" -o "$options"
ls "$mnt/$b/in" >/dev/null
before=$(got)
expect_same_file "after a remount" "$SF_TMP/in/f2" "$mnt/$b/in/f2"
expect_le "bytes fetched" 20000 "$(($(got) - before))"

step "evict reaches the kernel's pages"
cat "$mnt/$b/in/f1" >/dev/null
before=$(got)
cat "$mnt/$b/in/f1" >/dev/null
expect_le "read again" 20000 "$(($(got) - before))"
expect_ok "unpin" "$SUPAFS" cache unpin -rq "$mnt"
expect_match "evict" "of which 0.0 MiB are cached; 0 pinned" "$("$SUPAFS" cache evict -r "$mnt")"
before=$(got)
expect_same_file "fetched again" "$SF_TMP/in/f1" "$mnt/$b/in/f1"
expect_ge "bytes fetched" 3000000 "$(($(got) - before))"

step "verify"
all_good() { "$SUPAFS" cache verify "$mnt" | grep -q ', 2.9 MiB checked; 0 were bad'; }
expect_ok "all good, when it has been written" wait_for 10 all_good
block=$(find "$SF_TMP/own-mnt-1/cache" -path '*/blocks/*' -type f | head -n 1)
printf X | dd of="$block" bs=1 seek=5000 conv=notrunc status=none
expect_exit "a bit flipped" 1 "$SUPAFS" cache verify "$mnt"
expect_match "one unit" "; 1 were bad and dropped" "$SF_OUT"
expect_exit "dropped" 0 "$SUPAFS" cache verify "$mnt"
expect_same_file "and right" "$SF_TMP/in/f1" "$mnt/$b/in/f1"

step "what is wrong is said"
expect_exit "no such verb" 2 "$SUPAFS" cache eat "$mnt"
expect_exit "not in a mount" 2 "$SUPAFS" cache ls "$SF_TMP"
expect_exit "nothing there" 2 "$SUPAFS" cache ls "$mnt/$b/none"
passed
