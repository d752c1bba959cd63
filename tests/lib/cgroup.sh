#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A memory control group of the test's own, version 1 or 2. Source common.sh first.

SF_CGROUP=''

# make_cgroup BYTES: SF_CGROUP is its directory, or empty where none can be made.
make_cgroup() {
    local top=/sys/fs/cgroup file
    if [ -d "$top/memory" ]; then
        top=$top/memory
        file=memory.limit_in_bytes
    else
        grep -qw memory "$top/cgroup.controllers" 2>/dev/null || return 0
        echo +memory >"$top/cgroup.subtree_control" 2>/dev/null
        file=memory.max
    fi
    mkdir "$top/supafs-test-$$" 2>/dev/null || return 0
    if echo "$1" 2>/dev/null >"$top/supafs-test-$$/$file"; then
        SF_CGROUP=$top/supafs-test-$$
        at_exit drop_cgroup "$SF_CGROUP"
    else
        rmdir "$top/supafs-test-$$"
    fi
}

drop_cgroup() { wait_for 10 rmdir "$1"; }

# in_cgroup COMMAND...: in SF_CGROUP, with all that it starts; without one, as it is.
in_cgroup() {
    # shellcheck disable=SC2016
    ${SF_CGROUP:+bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$SF_CGROUP"} "$@"
}
