#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Programs at work in a mount whose service fails in every way that the dev server can: what was
# acknowledged is true, what failed is one of what may be, nothing is stuck, nothing is doubled, and
# when the service is well again all settles and every slot is back. Each fault for a moment and a
# seeded combination (SF_SEED).
#   SF_SOAK=1    each fault for ten minutes (SF_SECONDS), SF_JOBS mounts at once, and as many combinations
#   SF_FAULTS    only these
#   SF_OPTIONS   further mount options
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need python3
need_devserver "it uses its fault switches"
need_supafs
program=$(dirname "$0")/faults.py
seed=${SF_SEED:-$RANDOM}
note "SF_SEED=$seed"
read -ra faults <<<"${SF_FAULTS:-tour:strict tour:wild tour:twice mix:$seed}"
seconds=${SF_SECONDS:-0.2} requests=${SF_REQUESTS:-400}
read -ra slots <<<"${SF_SLOTS:-reset-after 429 hang-in-body mix:$seed}"
start_server
new_bucket b
umask 077
printf '%s\n' "$SUPABASE_SERVICE_ROLE_KEY" >"$SF_TMP/key"
umask 022
(
    unset SUPABASE_SERVICE_ROLE_KEY SUPABASE_ANON_KEY SUPABASE_SECRET_KEY SUPABASE_PUBLISHABLE_KEY
    mkdir "$SF_TMP/mnt"
    mount_at "$SF_TMP/mnt" -o "key_file=$SF_TMP/key,read_timeout=2s,write_timeout=3s,attr_ttl=300ms" \
        -o "standard_limit=1M,cache_size=50M,cache_min_free=0${SF_OPTIONS:+,$SF_OPTIONS}"
) || fail "mount: $(cat "$SF_TMP"/mount-*.log)"
mnt=$SF_TMP/mnt
at_exit umount_project "$mnt"
export FAULT_KEY_FILE=$SF_TMP/key
case ,${SF_OPTIONS:-}, in *,sync=writeback,*) export FAULT_WRITEBACK=1 ;; esac
if ! grep -q -e __asan_init -e __tsan_init "$SUPAFS"; then export FAULT_MEMORY_KB=65536; fi

state=$(mount_status "$mnt" state_dir)

# plays MODE NUMBER NUMBER FAULT...
plays() {
    local rc=0
    python3 "$program" "$1" "$mnt" "$b" "$state" "$seed" "${@:2}" || rc=$?
    expect_eq "exit status of faults.py $1 (SF_SEED=$seed)" 0 "$rc"
}

if [ -z "${SF_ONLY_SLOTS:-}" ]; then
    step "mixed work: ${faults[*]}"
    plays work "$seconds" "${SF_CYCLE:-15}" "${faults[@]}"
fi

step "$requests requests, 100 at once, and every slot is back: ${slots[*]}"
plays slots "$requests" 100 "${slots[@]}"
passed
