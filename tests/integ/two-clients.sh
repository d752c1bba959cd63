#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A mount and another client change one bucket in turns; after each step the mount shows exactly
# what is there. SF_STEPS and SF_SEED set how many steps, and from where.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need python3
start_server
seed=${SF_SEED:-$RANDOM}
note "SF_SEED=$seed"

step "every step sees the last"
new_bucket bucket
mount_project mnt -o attr_ttl=0
python3 "$(dirname "$0")/two-clients.py" "$mnt/$bucket" "$bucket" "${SF_STEPS:-120}" "$seed" ||
    fail "SF_SEED=$seed SF_STEPS=${SF_STEPS:-120} shows it again"
expect_eq "put aside" 0 "$(find "$SF_TMP" -path '*/quarantine/*' -type f | wc -l)"
passed
