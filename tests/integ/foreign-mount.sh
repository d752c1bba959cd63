#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A file system of somebody else that says it is supafs: whatever its files say, `supafs umount`
# sends no signal to a process that does not serve it, no command follows its links, and nothing of
# it reaches the terminal as a control character.
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
other=$(sf_binary tests/bench/passthrough) || skip "requires tests/bench/passthrough (build it first)"
theirs=$SF_TMP/theirs
mnt=$SF_TMP/mnt
mkdir -p "$theirs/.supafs" "$mnt"
at_exit force_umount "$mnt"

# says LINE...: the status of the mount, which is mounted.
says() {
    force_umount "$mnt"
    printf '%s\n' "$@" >"$theirs/.supafs/status"
    "$other" "$theirs" "$mnt" 0 supafs 2>"$SF_TMP/other.log" &
    server=$!
    wait_for 10 is_mounted "$mnt" || fail "it is not mounted"
}

# left_alone WHAT PID: umount succeeds at once, says why it does no more, and PID lives.
left_alone() {
    expect_exit "umount, $1" 0 timeout 20 "$SUPAFS" umount "$mnt"
    expect_match "says so" 'does not name a process of supafs that serves it' "$SF_OUT"
    if is_mounted "$mnt"; then fail "$1: it is still mounted"; fi
    sleep 0.2
    expect_ok "$1: the process was left alone" kill -0 "$2"
    wait "$server"
}

step "the process of another program"
sleep 300 &
victim=$!
at_exit sf_end_quietly "$victim"
says "version: 0.1" "pid: $victim" "mountpoint: $mnt" "state_dir: $SF_TMP" "option stop_timeout: 1d"
expect_eq "its type" fuse.supafs "$(awk -v m="$mnt" '$5 == m { sub(/.* - /, ""); print $1 }' /proc/self/mountinfo)"
left_alone "another program" "$victim"

step "one that has our name"
cp "$(command -v sleep)" "$SF_TMP/supafs" || fail "cannot copy sleep"
"$SF_TMP/supafs" 300 &
named=$!
at_exit sf_end_quietly "$named"
says "pid: $named"
left_alone "a program of our name" "$named"
if [ "$(id -u)" = 0 ]; then
    # Its descriptors may not be seen by others than root, so the owner has to tell.
    setpriv --reuid 65534 --regid 65534 --clear-groups "$SF_TMP/supafs" 300 2>/dev/null &
    nobody=$!
    at_exit sf_end_quietly "$nobody"
    says "pid: $nobody"
    left_alone "a process of another user" "$nobody"
fi

step "no process at all"
for pid in 0 1 -1 99999999999 x ''; do
    says "pid: $pid"
    left_alone "pid '$pid'" "$victim"
done

step "control characters"
says "version: $(printf '0.1\033]0;title\007 \233 \302\233 \342\202\254 \302')" "pid: 1"
expect_exit "status" 0 "$SUPAFS" status "$mnt"
expect_match "escaped, but for what is text" \
    'version: 0\.1\\033\]0;title\\007 \\233 \\302\\233 €.*\\302' "$(tr '\n' ' ' <<<"$SF_OUT")"
expect_eq "no control character" "" "$(tr -d '\n' <<<"$SF_OUT" | LC_ALL=C grep -ao '[[:cntrl:]]')"

step "links lead nowhere"
printf 'keep this as it is\n' >"$SF_TMP/mine"
ln -s "$SF_TMP/mine" "$theirs/.supafs/control"
says "pid: 1"
expect_match "the link is there" 'keep this' "$(cat "$mnt/.supafs/control")"
for verb in "queue ls" "queue retry" flush "cache ls" warmup; do
    # shellcheck disable=SC2086 # two words
    expect_exit "$verb" 1 timeout 20 "$SUPAFS" $verb "$mnt"
done
expect_eq "the file behind it" 'keep this as it is' "$(cat "$SF_TMP/mine")"
force_umount "$mnt"
rm "$theirs/.supafs/status"
mv "$SF_TMP/mine" "$theirs/secret"
ln -s ../secret "$theirs/.supafs/stats"
says "pid: 1"
expect_exit "status --json" 1 "$SUPAFS" status --json "$mnt"
expect_ok "umount" umount "$mnt"
passed
