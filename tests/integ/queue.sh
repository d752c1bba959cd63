#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What an operator sees of pending changes: `supafs queue ls|show|retry|drop`, `supafs flush` and
# what its exit codes tell, the status, what `supafs umount` says is left, and how that is read
# when nothing is mounted.
# shellcheck source-path=SCRIPTDIR disable=SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it uses its fault switches"
need_fuse
need_supafs
# shellcheck disable=SC2119 # without options
start_server
b=''
new_bucket b
options=attr_ttl=1m,write_timeout=1s,stop_timeout=3s
mount_project mnt -o "$options"
state=$(mount_status "$mnt" state_dir)
dir=$mnt/$b

queue() { "$SUPAFS" queue "$@"; }
rows() { queue ls "$mnt" | awk '$1 != "-"'; }
column() { rows | awk -v n="$1" '{ print $n }' | paste -sd' '; } # N: of all rows
seq_of() { rows | awk -v o="$b/$1" '$7 == o { print $1 }'; }
stored() { get_object "$b" "$1" "$SF_TMP/got" 2>/dev/null && cat "$SF_TMP/got"; }
away() { set_faults '{"kind":"error","path":"/object","status":503,"body":{"message":"away"}}'; }
# write NAME TEXT: its close fails, and the bytes are pending.
write() {
    printf %s "$2" >"$SF_TMP/text"
    ! cp "$SF_TMP/text" "$dir/$1" 2>/dev/null || fail "$1 was written"
}

step "nothing is pending"
mkdir "$dir/below" || fail "mkdir"
printf 'old' >"$dir/old" || fail "write"
expect_eq "ls" '' "$(queue ls "$mnt")"
expect_ok "flush" "$SUPAFS" flush "$mnt" "$dir/old"
expect_exit "show" 1 queue show 1000 "$mnt"
expect_match "says so" "there is no change 1000" "$SF_OUT"
expect_exit "not in a mount" 2 "$SUPAFS" flush "$SF_TMP"

step "what is pending, the oldest first"
away
write first one
write 'the second' two2
chmod 600 "$dir/old" || fail "chmod"
# It is in the journal at once, and has failed a moment later.
has_three() { [ "$(rows | wc -l)" = 3 ] && rows | grep -q 'attrs.*away'; }
wait_for 5 has_three || fail "rows: $(rows)"
expect_eq "objects" "$b/first $b/the\\040second $b/old" "$(column 7)"
expect_eq "kinds" "content content attrs" "$(column 4)"
expect_eq "sizes" "3B 4B -" "$(column 3)"
expect_match "states" "^((rests|uploading|waits)[^ ]* ?){2}(rests|running|waits)" "$(column 5)"
expect_match "reason" "  .*away" "$(rows | tail -n 1)"
json=$(queue ls --json "$mnt")
expect_eq "as JSON" "first the second old" "$(json_get '" ".join(c["key"] for c in d["changes"])' <<<"$json")"
expect_eq "bytes" 7 "$(json_get 'sum(c["size"] for c in d["changes"])' <<<"$json")"
expect_eq "of this mount" "$mnt" "$(json_get 'd["mountpoint"]' <<<"$json")"
show=$(queue show "$(seq_of first)" "$mnt")
expect_match "show" "object: $b/first" "$show"
expect_eq "its bytes are there" one "$(cat "$(sed -n 's/^bytes: //p' <<<"$show")")"
expect_match "the reason" "reason: .*away" "$show"
expect_eq "status" 3 "$(mount_status "$mnt" pending)"
expect_eq "its files" 2 "$(mount_status "$mnt" pending_files)"
expect_eq "its bytes" 7 "$(mount_status "$mnt" pending_bytes)"
expect_match "its age" '^[0-9]+ s$' "$(mount_status "$mnt" pending_oldest)"
expect_eq "the same in stats" 7 "$(mount_counter "$mnt" 'd["pending_bytes"]')"

step "flush waits no longer than it is told, and only for what is meant"
expect_exit "flush" 21 timeout 10 "$SUPAFS" flush --timeout=300ms "$mnt"
expect_match "says what is left" "3 changes \\(7B\\) are not in the project yet: .*away" "$SF_OUT"
expect_exit "one file" 21 timeout 10 "$SUPAFS" flush --timeout=100ms "$dir/first"
expect_match "says it" "1 change \\(3B\\) is not" "$SF_OUT"
expect_ok "another directory" timeout 10 "$SUPAFS" flush "$dir/below"
expect_exit "a time that is none" 2 "$SUPAFS" flush --timeout=soon "$mnt"
"$SUPAFS" flush "$mnt" 2>"$SF_TMP/flush.out" &
flush=$!
sleep 0.5
kill -INT "$flush"
wait "$flush"
expect_eq "Ctrl-C" 130 $?
expect_match "says that nothing is lost" "(3 changes .*|has said what is left; )nothing is lost" \
    "$(xargs <"$SF_TMP/flush.out")"

step "drop moves to quarantine, and only contents"
expect_exit "attributes" 1 queue drop "$(seq_of old)" "$mnt"
expect_match "says why not" "is of kind attrs.*only contents can be dropped" "$SF_OUT"
path=$(queue drop "$(seq_of first)" "$mnt") || fail "drop exited $?"
expect_match "where" "^$state/quarantine/" "$path"
expect_eq "the bytes" one "$(cat "$path")"
expect_eq "it is pending no more" '' "$(seq_of first)"
expect_missing "the name shows the project" "$dir/first"
expect_match "ls shows it apart" "^ *- .*quarantine .*$b/first  $path  taken out" \
    "$(queue ls "$mnt" | tail -n 1)"
expect_eq "as JSON" "$path" "$(queue ls --json "$mnt" | json_get 'd["quarantine"][0]["file"]')"

step "retry, and a flush that sees all of it stored"
clear_faults
expect_match "retry" "(is|are) tried again now" "$(queue retry "$mnt")"
expect_ok "flush" timeout 20 "$SUPAFS" flush "$mnt"
expect_eq "nothing is pending" '' "$(rows)"
expect_eq "stored" two2 "$(stored 'the second')"

step "flush tells of a refusal"
# One that comes while it waits: what is refused before it begins is not pending any more. On a
# terminal it says what it waits for.
away
write refused bytes
timeout 30 python3 -c 'import os, pty, sys; sys.exit(os.WEXITSTATUS(pty.spawn(sys.argv[1:])))' \
    "$SUPAFS" flush "$mnt" </dev/null >"$SF_TMP/flush.out" 2>&1 &
flush=$!
wait_for 10 grep -q "1 change left" "$SF_TMP/flush.out" || fail "flush: $(cat "$SF_TMP/flush.out")"
set_faults "{\"kind\":\"error\",\"path\":\"/object\",\"status\":400,\"body\":{
    \"statusCode\":\"403\",\"error\":\"Unauthorized\",\"message\":\"row-level security\"}}"
wait "$flush"
expect_eq "flush" 19 $?
expect_match "says where" "1 change was refused.*quarantine" "$(cat "$SF_TMP/flush.out")"
clear_faults

step "a state directory in use is left alone"
expect_exit "ls" 1 queue ls --state-dir="$state"
expect_match "says whose it is" "in use \\(pid [0-9]+, $mnt\\)" "$SF_OUT"
expect_exit "drop" 2 queue drop 1 --state-dir="$state"

step "umount says what is left"
away
write left 'bytes that stay'
expect_exit "umount" 20 timeout 30 "$SUPAFS" umount "$mnt"
expect_match "how much" "1 change \\(15B, the oldest [0-9]+s old\\) is not in the project yet" "$SF_OUT"
expect_match "where" "queue ls --state-dir=$state" "$SF_OUT"
expect_match "the log has it" "event=changes-pending count=1 files=1 bytes=15 oldest_s=[0-9]+ state_dir=$state" \
    "$(cat "$SF_TMP"/daemon-*.log)"
expect_missing "no word of a stop is left" "$state/stopping"

step "what is left can be read, and is not changed"
before=$(find "$state" -type f -exec sha256sum {} + | sort)
for d in "$state" "$(dirname "$state")"; do
    out=$(queue ls --state-dir="$d") || fail "ls $d exited $?"
    expect_match "the change" "15B content +kept +[0-9]+ $b/left  .*away" "$out"
    expect_match "quarantine" "quarantine .*$b/first" "$out"
done
left=$(queue ls --json --state-dir="$state")
expect_eq "as JSON" left "$(json_get 'd[0]["changes"][0]["key"]' <<<"$left")"
seq=$(json_get 'd[0]["changes"][0]["seq"]' <<<"$left")
expect_match "show" "object: $b/left" "$(queue show "$seq" --state-dir="$state")"
expect_match "by the default" "$b/left" \
    "$(SUPAFS_STATE_DIR=$(dirname "$state") queue ls 2>/dev/null)"
expect_exit "no such" 1 queue show 1000 --state-dir="$state"
expect_exit "no journal" 1 queue ls --state-dir="$SF_TMP/home"
expect_eq "every file is as it was" "$before" "$(find "$state" -type f -exec sha256sum {} + | sort)"
if [ "$(id -u)" = 0 ]; then
    mkdir "$SF_TMP/fixed"
    mount --bind -o ro "$state" "$SF_TMP/fixed" && mount -o remount,bind,ro "$SF_TMP/fixed"
    expect_match "where nothing can be written" "$b/left" "$(queue ls --state-dir="$SF_TMP/fixed")"
    umount "$SF_TMP/fixed"
fi

step "the next mount sends it"
clear_faults
mount_at "$mnt" -o "$options" || fail "mount"
expect_ok "flush" timeout 20 "$SUPAFS" flush "$mnt"
expect_eq "stored" 'bytes that stay' "$(stored left)"
expect_ok "umount" "$SUPAFS" umount "$mnt"
expect_eq "nothing is left" '' "$(queue ls --state-dir="$state" | awk '$4 != "content" || $5 != "quarantine"' | grep -v '^#')"

step "a state directory that does not last is refused"
if [ "$(id -u)" = 0 ]; then
    mkdir "$SF_TMP/memory" "$SF_TMP/mnt-memory"
    mount -t tmpfs -o mode=700 supafs-test "$SF_TMP/memory" || skip "requires to mount a tmpfs"
    at_exit umount -l "$SF_TMP/memory"
    in_memory() {
        timeout 60 "$SUPAFS" mount "$SF_TMP/mnt-memory" -o "cache_dir=$SF_TMP/cache-memory" \
            -o "state_dir=$SF_TMP/memory,log_file=$SF_TMP/daemon-memory.log" "$@"
    }
    expect_exit "mount" 2 in_memory -o sync=writeback
    expect_match "says what to do" "$SF_TMP/memory.*\(tmpfs\).*state_dir=DIR.*unsafe_state_dir=yes" "$SF_OUT"
    expect_exit "forced" 0 in_memory -o sync=writeback,unsafe_state_dir=yes
    expect_ok "umount" "$SUPAFS" umount "$SF_TMP/mnt-memory"
    expect_exit "sync=close" 0 in_memory
    expect_eq "status" close "$(mount_status "$SF_TMP/mnt-memory" sync)"
    expect_ok "umount" "$SUPAFS" umount "$SF_TMP/mnt-memory"
fi

step "with sync=writeback: acknowledged, shown with its bounds, dropped and flushed"
expect_ok "mount" mount_at "$mnt" -o "$options,sync=writeback,writeback_files=9"
ls "$dir" >/dev/null || fail "ls" # names that are known need no question
away
printf behind >"$dir/behind" || fail "close"
printf aside >"$dir/dropped" || fail "close"
# The second is not begun while the service fails: it has no reason of its own.
both_rest() { [ "$(rows | grep -c ' rests:')" = 2 ] && rows | grep -q '  .*away'; }
wait_for 5 both_rest || fail "rows: $(rows)"
expect_match "bounds" '^2 of 9 files, 11 of 1073741824 bytes, the oldest [0-9]+ s of 3600 s$' \
    "$(mount_status "$mnt" writeback)"
expect_eq "in stats" 11 "$(mount_counter "$mnt" 'd["writeback_bytes"]')"
path=$(queue drop "$(seq_of dropped)" "$mnt") || fail "drop exited $?"
expect_eq "the bytes" aside "$(cat "$path")"
expect_exit "flush" 21 timeout 10 "$SUPAFS" flush --timeout=200ms "$dir/behind"
clear_faults
expect_ok "flush" timeout 20 "$SUPAFS" flush "$mnt"
expect_eq "stored" behind "$(stored behind)"
expect_eq "not the dropped one" '' "$(list_keys "$b" dropped)"
expect_ok "umount" "$SUPAFS" umount "$mnt"
passed
