#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Every kind of request that changes something, with its reply lost, with 500 after the work was
# done, and carried out once more a little later: no program is told of an error that is none, and
# bucket and mount have what they should, once. SF_SOAK=1: and carried out twice at once.
# SF_CASES="create" plays only this one. With arguments (RESULTS FAULT...) it is the part of the
# test that plays these faults against a server of its own.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it uses its fault switches"
need_fuse
need_supafs
need python3
driver=$(dirname "$0")/lost-replies.py

play() { # RESULTS FAULT...
    local results=$1 own
    shift
    start_server --standard-limit 1048576
    mount_project mnt -o standard_limit=1M
    step "each request: $*"
    python3 "$driver" act "$mnt" "$results" "$@" || fail "see above"
    own=$SF_TMP/own-${mnt##*/}/state

    step "what another mount sees: $*"
    mount_project fresh
    expect_ok "all of it" python3 "$driver" look "$fresh" "$results"

    step "nothing was put aside, nothing is left: $*"
    umount_project "$mnt"
    expect_eq "quarantine" 0 "$(find "$own" -path '*/quarantine/*' -type f | wc -l)"
    expect_eq "staging" 0 "$(find "$own" -path '*/staging/*' -type f | wc -l)"
    expect_eq "conflict copies" '' "$(list_keys lost | grep conflict)"
    passed
}

[ $# = 0 ] || play "$@"

part() { # FAULT...
    bash "$0" "$SF_TMP/${1}.json" "$@" >"$SF_TMP/$1.log" 2>&1 &
    parts+=($!)
}

step "each request with each fault"
parts=()
part none lost
part 500 late
[ -z "${SF_SOAK:-}" ] || part twice
for pid in "${parts[@]}"; do
    wait "$pid" || bad=1
done
python3 "$driver" table "$SF_TMP"/*.json || fail "see above"
expect_eq "every part passed" '' "${bad:-}"
passed
