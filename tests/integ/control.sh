#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# .supafs/control of a real mount: a line is answered, also where the mount is read only, and nobody
# but the owner may ask.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need python3
start_server
mount_project mnt
control=$mnt/.supafs/control

ask() { # LINE: the answer
    exec 7<>"$control" || fail "cannot open $control"
    printf '%s\n' "$1" >&7 || fail "cannot write to $control"
    cat <&7
    exec 7>&-
}

step "a request is a line"
expect_eq "mode" 600 "$(stat -c %a "$control")"
expect_eq "an unknown verb" \
    "failed 38 this mount knows no such request; is it of another version?" "$(ask 'no-such-verb a\040b')"
expect_eq "a bad escape" "failed 22 the request is not a line of words" "$(ask 'bad \9')"
expect_eq "nothing asked" "" "$(cat "$control")"
: >"$control" || fail "the shell's > cannot open it"
exec 7<>"$control"
printf 'half a line' >&7
expect_eq "half a line" "" "$(timeout 5 cat <&7)"
exec 7>&-

step "nobody else may ask"
if [ "$(id -u)" = 0 ]; then
    expect_errno "another user" "Permission denied" \
        setpriv --reuid 65534 --regid 65534 --clear-groups cat "$control"
fi

step "a mount that is read only"
expect_ok "mount it so" remount_project "$mnt" -o ro
expect_errno "nobody writes" "Read-only file system" bash -c "exec 7<>'$control'"
expect_exit "a request" 0 "$SUPAFS" find "$mnt"
long=$(printf 'n%.0s' {1..60000})
expect_exit "a long one" 0 "$SUPAFS" find -n "$long*" "$mnt"
expect_eq "finds nothing" "" "$SF_OUT"
expect_errno "no other ioctl" "Inappropriate ioctl for device" \
    python3 -c 'import fcntl, sys; fcntl.ioctl(open(sys.argv[1]), 0x5401, bytes(64))' "$control"
passed
