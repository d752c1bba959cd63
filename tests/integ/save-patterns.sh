#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# How editors and tools save files (docs of each: the list in save-patterns.py), over a mount: content,
# mode, time and content type are right, in the bucket too, for so many requests at most; and all of it
# is the same after a remount with an empty cache.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need_devserver "it counts requests"
need python3 git perl rsync
start_server
new_bucket bucket
mount_project mnt

step "the patterns"
expect_exit "all as they should be" 0 python3 "$(dirname "$0")/save-patterns.py" run \
    "$mnt/$bucket" "$bucket" "$SF_TMP/state.json"
printf '%s\n' "$SF_OUT"

step "the same after a remount without cache and state"
umount_project "$mnt"
rm -rf "$SF_TMP/own-$(basename "$mnt")"
mount_at "$mnt" || fail "mounting again failed"
expect_exit "nothing changed" 0 python3 "$(dirname "$0")/save-patterns.py" again \
    "$mnt/$bucket" "$SF_TMP/state.json"
expect_eq "put aside" 0 "$(find "$SF_TMP" -path '*/quarantine/*' -type f | wc -l)"
passed
