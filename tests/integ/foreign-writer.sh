#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Another client writes an object while the mount changes its mode, its times, its name or its bytes,
# or removes it: how many of his writes are lost, and how wide the window is. With the function
# supafs_set_attrs in the database no chmod and no touch loses one. SF_ROUNDS sets how many rounds.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need python3
need_devserver "it makes copies take their time"
start_server --delay-ms 20
settings '{"copy_ms": 20}' # to copy some megabytes
rounds=${SF_ROUNDS:-$([ -n "${SF_SOAK:-}" ] && echo 1000 || echo 20)}

# run FUNCTION OPERATION...: a mount of its own, since it remembers whether the function is there.
run() {
    settings "{\"rpc\": $([ "$1" = yes ] && echo true || echo false)}"
    new_bucket bucket
    mount_project mnt -o "bucket=$bucket,attr_ttl=0"
    python3 "$(dirname "$0")/foreign-writer.py" "$mnt" "$bucket" "$rounds" "$@" ||
        fail "see above"
    expect_eq "put aside" 0 "$(find "$SF_TMP" -xdev -path '*/quarantine/*' -type f | wc -l)"
}

step "lost writes of another client in $rounds rounds each, at 20 ms"
printf '%-10s %-9s %7s %6s %5s %7s %7s\n' operation function takes rounds lost window refused
run yes chmod touch rename overwrite delete
run no chmod touch
passed
