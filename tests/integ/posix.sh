#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What docs/posix.md says of system calls: errors, times, types other than files, and who may what,
# as root and as somebody else; what other mounts see of it, and what it costs.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need python3
start_server
new_bucket bucket
options=bucket=$bucket
[ "$(id -u)" = 0 ] && options=$options,allow_other
mount_project mnt -o "$options"

# tried PART [DIRECTORY]: a part of posix.py in a directory of its own, or in one that is there.
tried() {
    [ $# = 2 ] || mkdir "$mnt/$1"
    expect_ok "$1" python3 "$SF_SRC/tests/integ/posix.py" "$1" "$mnt/${2:-$1}"
}
# Changes of attributes made before may still be on their way.
requests() { request_log | json_get "sum('$1' in r['path'] for r in d['entries'])"; }

step "errors, and what has no name any more"
tried errors
step "times"
tried times

step "fifos, sockets and devices"
tried specials
ls "$mnt/specials" >/dev/null
mkfifo "$mnt/specials/one"
real_server || expect_eq "requests of a mkfifo" 1 "$(requests specials/one)"
expect_eq "a fifo's type" inode/fifo \
    "$(object_info "$bucket" specials/one | json_get 'd["content_type"]')"
umount_project "$mnt"
rm -rf "$SF_TMP/own-$(basename "$mnt")"
mount_at "$mnt" -o "$options" || fail "mounting again failed"
tried again specials

if [ "$(id -u)" = 0 ]; then
    step "who may what"
    chmod 755 "$SF_TMP"
    tried owners
    tried user owners
    step "without default_permissions"
    umount_project "$mnt"
    mount_at "$mnt" -o "$options,default_permissions=no" || fail "mounting again failed"
    expect_eq "modes are shown" 600 "$(stat -c %a "$mnt/owners/private")"
    expect_ok "and not checked" \
        setpriv --reuid 65534 --regid 65534 --clear-groups cat "$mnt/owners/private"
fi

if ! real_server; then # it holds up the service
    umount_project "$mnt"
    export SF_BUCKET=$bucket
    behind=$options,sync=writeback,unsafe_state_dir,attr_ttl=60s,stop_timeout=1s
    mount_at "$mnt" -o "$behind" || fail "mounting with sync=writeback failed"
    step "sync=writeback: what waits for the bucket"
    set_faults '{"kind":"delay","ms":150,"method":"POST","path":"/object/'"$bucket"'/waits/"}'
    tried waits
    clear_faults
    step "sync=writeback: what waits for the journal only, and outlives kill -9"
    mkdir "$mnt/behind"
    ls "$mnt/behind"
    pause_server
    expect_ok "nobody waits" timeout 20 python3 "$SF_SRC/tests/integ/posix.py" behind "$mnt/behind"
    kill -9 "$(daemon_pid "$mnt")"
    wait_for 5 eval "! stat '$mnt'"
    force_umount "$mnt"
    resume_server
    rm -rf "$SF_TMP/own-$(basename "$mnt")/cache"
    mount_at "$mnt" -o "$behind" || fail "mounting again failed"
    tried seen behind
    expect_ok "flush" "$SUPAFS" flush "$mnt"
    tried stored behind
fi

step "the runner of pjdfstest: a file that hangs is one failed line"
mkdir -p "$SF_TMP/suite/open" "$SF_TMP/own"
printf '%s\n' 'echo 1..3' 'echo ok 1' '(sleep 60; echo ok 2)' >"$SF_TMP/suite/open/00.t"
printf '%s\n' 'echo 1..2' 'echo ok 1' 'echo not ok 2 - wrong' >"$SF_TMP/suite/open/01.t"
echo 'open/01.t 2 known: for a reason' >"$SF_TMP/exclude"
expect_exit "a file that hangs" 1 env SF_SUITE_TIMEOUT=1 \
    python3 "$SF_SRC/tests/posix/pjdfstest.py" "$SF_TMP/suite" "$SF_TMP/exclude" "$SF_TMP/own" 2
expect_match "it is told" "open/00.t +1 +1 +1
    not ok - it ran for more than 1 s, and was ended
open/01.t +1 +1 +0
" "$SF_OUT"
passed
