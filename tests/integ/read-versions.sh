#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Another client replaces and removes objects while they are read here, with and without attr_ttl:
# no open ever sees two versions, half of one, or one that had been replaced before it (beyond
# attr_ttl). Ten minutes with SF_SOAK=1. SF_SEED repeats a run.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need python3
start_server
seconds=$([ -n "${SF_SOAK:-}" ] && echo 300 || echo 5)
seed=${SF_SEED:-$RANDOM}
note "SF_SEED=$seed"

for ttl in 0 1; do
    step "attr_ttl=$ttl, $seconds s"
    new_bucket bucket
    mount_project mnt -o "attr_ttl=${ttl}s"
    python3 "$(dirname "$0")/read-versions.py" "$mnt/$bucket" "$bucket" "$seconds" "$ttl" "$seed" ||
        fail "SF_SEED=$seed shows it again"
    sf_checks=$((sf_checks + 1))
done
passed
