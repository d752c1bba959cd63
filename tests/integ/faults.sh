#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Programs at work in a mount whose service fails in every way that the dev server can: what was
# acknowledged is true, what failed is one of what may be, nothing is stuck, nothing is doubled, and
# when the service is well again all settles and every slot is back. Each fault for a moment and a
# seeded combination (SF_SEED).
#   SF_SOAK=1    each fault for ten minutes (SF_SECONDS) on a mount of its own, SF_JOBS of them at once, a
#                new combination every 15 s for as long, and 1,000 requests under each
#   SF_FAULTS    only these; the names are those of tests/lib/fault_kinds.py
#   SF_OPTIONS   further mount options; on a busy machine also read_timeout=10s,write_timeout=10s, as what
#                waits for its turn longer than the tests' two seconds fails without a fault
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
seconds=${SF_SECONDS:-0.15} requests=${SF_REQUESTS:-300}
read -ra slots <<<"${SF_SLOTS:-reset-after}"

# soak FAULT: this script again, with this one.
soak() {
    local rc=0
    SF_SOAK='' SF_FAULTS=$1 SF_SLOTS=$1 SF_SECONDS=${SF_SECONDS:-600} SF_REQUESTS=1000 TMPDIR=$SF_TMP \
        SUPAFS_DEVSERVER=$devserver bash "$0" >"$SF_TMP/soak-$1" 2>&1 || rc=$?
    grep -E "^($1 |WRONG)" "$SF_TMP/soak-$1" >&2
    [ "$rc" = 0 ] || cat "$SF_TMP/soak-$1" >&2
    echo "$1 $rc" >>"$SF_TMP/soaked"
}

if [ -n "${SF_SOAK:-}" ]; then
    devserver=$(sf_binary supafs-devserver) || skip "requires supafs-devserver (build it first)"
    [ -n "${SF_FAULTS:-}" ] || mapfile -t faults < <(python3 "$program" list && echo mix)
    step "${#faults[@]} faults, ${SF_SECONDS:-600} s of each"
    : >"$SF_TMP/soaked"
    for fault in "${faults[@]}"; do
        while [ "$(jobs -pr | wc -l)" -ge "${SF_JOBS:-6}" ]; do sleep 0.5; done
        soak "$fault" &
    done
    wait
    expect_eq "faults that were played" "${#faults[@]}" "$(wc -l <"$SF_TMP/soaked")"
    expect_eq "those that showed something" '' "$(grep -v ' 0$' "$SF_TMP/soaked")"
    passed
fi

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
