#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Mapped files, holes, fallocate, copied ranges, appends of several, sizes beyond 32 bits, running
# programs: as on a local disk, and the bucket has it. With the cache small and nothing remembered, too.
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it sets a limit"
need_fuse
need_supafs
need python3
limit=$((5 << 30))
start_server --global-limit "$limit"
# shellcheck disable=SC2154 # set by new_bucket and mount_project
for options in attr_ttl=1s attr_ttl=0,cache_memory=4M,cache_size=0 sync=writeback; do
    step "$options"
    new_bucket b
    mount_project mnt -o "bucket=$b,$options"
    expect_ok "data operations" python3 "$(dirname "$0")/data-ops.py" "$mnt" "$b" "$limit" "${options#sync=}"
    umount_project "$mnt"
    expect_eq "put aside" 0 "$(find "$SF_TMP/own-$(basename "$mnt")" -path '*/quarantine/*' -type f | wc -l)"
done
passed
