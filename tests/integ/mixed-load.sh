#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Programs of all kinds at work in one mount, whose daemon has 96 MB (a memory control group): what
# they read is right, RssAnon stays below 64 MB and does not grow, descriptors stay. SF_SOAK=1: an
# hour (SF_SECONDS sets how long), with the slope of RssAnon over the last half below 1 MB for half an hour.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_root
need python3
need_devserver "it watches memory over many requests"
need_supafs
# A sanitizer's shadow does not fit.
grep -q -e __asan_init -e __tsan_init "$SUPAFS" || SF_MEMORY_LIMIT=${SF_MEMORY_LIMIT:-96M}
seconds=${SF_SECONDS:-$([ -n "${SF_SOAK:-}" ] && echo 3600 || echo 10)}
seed=${SF_SEED:-$RANDOM}
note "SF_SEED=$seed"
start_server
new_bucket b
mount_project mnt -o cache_size=100M,cache_min_free=0

step "$seconds s of mixed work"
python3 "$(dirname "$0")/mixed-load.py" "$mnt/$b" "$seconds" "$seed" "$(daemon_pid "$mnt")" |
    tee "$SF_TMP/said"
[ "${PIPESTATUS[0]}" = 0 ] || fail "SF_SEED=$seed shows it again"
figure() { awk -v name="$1" -v n="$2" '$1 == name { print $n }' "$SF_TMP/said"; }
if ! grep -q -e __asan_init -e __tsan_init "$SUPAFS"; then # they need memory of their own
    expect_le "peak of RssAnon in kB" 65536 "$(figure peak_kb 2)"
    [ "$seconds" -lt 1800 ] || expect_le "slope of RssAnon in kB" 1024 "$(figure slope_kb 2)"
fi
# Those of cached blocks are kept open up to a limit, which a short run does not reach.
[ "$seconds" -lt 1800 ] || expect_le "descriptors at the end" "$(($(figure fds 2) + 40))" "$(figure fds 3)"
expect_le "descriptors" 800 "$(figure fds 4)"
expect_eq "put aside" 0 "$(find "$SF_TMP" -xdev -path '*/quarantine/*' -type f | wc -l)"
passed
