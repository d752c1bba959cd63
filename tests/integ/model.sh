#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A mount against a model of it in memory (tests/model/model.py): random steps, the whole tree and
# the bucket compared in between. Odd seeds have sync=writeback. SF_SEED="N..." plays these and no
# other; SF_SOAK=1: 50 seeds of 10,000 steps (SF_FIRST, SF_SEEDS, SF_STEPS, SF_JOBS, SF_OPTIONS for
# the mounts); SF_REPLAY=FILE plays the script of a failure.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "each run has a bucket of its own"
need_fuse
need_supafs
need_root
need python3
start_server
model=$SF_SRC/tests/model/model.py
kept=${SF_KEPT:-$SF_TMP/kept}
mkdir "$SF_TMP/runs"
at_exit eval "for point in '$SF_TMP'/runs/*/world/mnt; do force_umount \"\$point\"; done"
options=(--keep "$kept")
[ -z "${SF_OPTIONS:-}" ] || options+=(--options "$SF_OPTIONS")

if [ -n "${SF_REPLAY:-}" ]; then
    step "the script $SF_REPLAY"
    python3 "$model" "${options[@]}" --replay "$SF_TMP/runs" "$SF_REPLAY" || fail "see above"
    # shellcheck disable=SC2034 # for passed()
    sf_checks=1
    passed
fi

step "a model that is wrong on purpose is found out, and the failure made small"
SF_OUT=$(python3 "$model" --inject write --steps 50 --pace 0 --shrink 200 --keep "$SF_TMP/wrong" \
    "$SF_TMP/runs" 8) && fail "nobody noticed: $SF_OUT"
small=$SF_TMP/wrong/seed-8.small
expect_exists "the script" "$small"
expect_le "steps of it, with its head" 9 "$(wc -l <"$small")"
expect_exit "the script with the wrong model" 1 \
    python3 "$model" --inject write --replay "$SF_TMP/runs" "$small"
expect_ok "the script with the right one" python3 "$model" --replay "$SF_TMP/runs" "$small"

step "what it has found"
python3 "$model" "${options[@]}" --replay "$SF_TMP/runs" "$SF_SRC"/tests/model/found/*.steps ||
    fail "see above"

if [ -n "${SF_SOAK:-}" ]; then
    seeds=$(seq "${SF_FIRST:-1}" "$((${SF_FIRST:-1} + ${SF_SEEDS:-50} - 1))")
    options+=(--steps "${SF_STEPS:-10000}" --jobs "${SF_JOBS:-2}" --shrink 600)
else
    seeds="$((2 * RANDOM + 1000)) $((2 * RANDOM + 1001))"
    options+=(--steps "${SF_STEPS:-500}" --pace 2 --shrink 60)
fi
seeds=${SF_SEED:-$seeds}
# shellcheck disable=SC2086 # one word per seed
step "seeds" $seeds
# shellcheck disable=SC2086
python3 "$model" "${options[@]}" "$SF_TMP/runs" $seeds || fail "SF_SEED=N shows it again"
passed
