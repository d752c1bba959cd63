#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# kill -9 behind every step that a change passes (src/write/steps.def): after the next mount the
# project has what was promised, once and whole. SF_CRASH="LABEL..." plays only these.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it uses its fault switches"
need_fuse
need_supafs
need python3
need_root
grep -qa SUPAFS_KILL_AT "$SUPAFS" || skip "requires a build with --enable-fault-points"
start_server

runs=1
[ -z "${SF_SOAK:-}" ] || runs=20
step "every step, ${SF_CRASH_RUNS:-$runs} times"
mkdir "$SF_TMP/crash"
at_exit eval "for point in '$SF_TMP'/crash/*/mnt; do force_umount \"\$point\"; done"
# shellcheck disable=SC2086 # one word per label
python3 "$(dirname "$0")/crash.py" "$SF_TMP/crash" "$SF_SRC/src/write/steps.def" \
    "${SF_CRASH_RUNS:-$runs}" ${SF_CRASH:-} || fail "see above"
# shellcheck disable=SC2034 # for passed()
sf_checks=1
passed
