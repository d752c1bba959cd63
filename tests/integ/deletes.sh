#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Removals through a mount: many at once in few requests, acknowledged before the service is asked,
# and never seen again; refused ones come back; what others make meanwhile stays.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it counts requests and delays answers"
need_fuse
need_supafs
need python3
start_server --delay-ms 20
new_bucket b
mount_project mnt
B=$mnt/$b

sent() { request_log | json_get "d['counts'].get('$1', 0)"; }
all_sent() { request_log | json_get 'sum(d["counts"].values())'; }

# fill PATTERN COUNT: as another client; each object has its key as bytes. Returns when they are seen.
fill() {
    local last
    python3 "$SF_SRC/tests/lib/objects.py" seed "$b" "$1" 0 "$2" || fail "cannot fill $1"
    # shellcheck disable=SC2059 # it is a format
    last=$B/$(printf "$1" $(($2 - 1)))
    wait_for 5 [ -e "$last" ] || fail "another client's objects are not seen"
}

# objects PREFIX: all keys below, without markers.
objects() { list_keys "$b" "$1" | grep -v Placeholder | tr '\n' ' ' | sed 's/ $//'; }

# settled: nothing waits in the journal or the queue.
settled() { [ "$(mount_status "$mnt" changes_running) $(mount_status "$mnt" changes_queued)" = "0 0" ]; }

step "rm -r of 1,000 files at 20 ms"
fill 'tree/%04d' 1000
expect_eq "they are there" 1000 "$(find "$B/tree" -type f | wc -l)"
clear_log
start=$(now_ms)
expect_ok "rm -r" rm -r "$B/tree"
took=$(($(now_ms) - start))
note "1,000 files at 20 ms: $took ms, $(all_sent) requests, of which $(sent delete-many) removals"
expect_missing "the directory" "$B/tree"
expect_eq "nothing is left" '' "$(list_keys "$b" tree/)"
# One by one it would be 1,000. How many go together depends on how fast rm itself gets on: some 40
# on an idle machine, four times that on one with much else to do.
expect_le "requests" 400 "$(all_sent)"

step "a tree of directories"
fill 'deep/a/%03d' 40
fill 'deep/b/c/%03d' 40
mkdir -p "$B/deep/empty"
ln -s nowhere "$B/deep/link"
expect_ok "rm -r" rm -r "$B/deep"
expect_eq "nothing is left" '' "$(list_keys "$b" deep/)"

step "hidden at once, whatever is listed, and free for others"
fill 'hide/%02d' 40
expect_eq "they are there" 40 "$(find "$B/hide" -type f | wc -l)"
set_faults '{"kind":"delay","ms":1500,"method":"DELETE","skip":4}'
expect_ok "rm" rm "$B"/hide/*
expect_eq "no name is seen" '' "$(ls "$B/hide" 2>/dev/null)"
sleep 1.1 # what was known is older than attr_ttl: listed again
expect_eq "nor when it is listed again" '' "$(ls "$B/hide" 2>/dev/null)"
echo new >"$B/hide/20" # waits for the removal of this name
expect_eq "a new one of such a name" new "$(cat "$B/hide/20")"
clear_faults
wait_for 10 settled || fail "not settled"
expect_eq "it is the only one" hide/20 "$(objects hide/)"
sleep 1.1
expect_eq "here, too" 20 "$(ls "$B/hide")"
rm -r "$B/hide"

step "a service that fails for a while"
fill 'fail/%02d' 30
expect_eq "they are there" 30 "$(find "$B/fail" -type f | wc -l)"
set_faults '[{"kind":"error","status":500,"method":"DELETE","skip":4,"times":2},{"kind":"reset_after","method":"DELETE","skip":6,"times":1}]'
expect_ok "rm" rm "$B"/fail/*
expect_eq "no name is seen" '' "$(ls "$B/fail" 2>/dev/null)"
gone() { [ "$(objects fail/)" = '' ]; }
wait_for 20 gone || fail "left: $(objects fail/)"
clear_faults

step "a policy refuses some"
fill 'mine/%02d' 20
fill 'theirs/%02d' 20
admin PUT /policies "[{\"bucket\":\"$b\",\"role\":\"anon\",\"allow\":[\"select\",\"insert\",\"update\",\"bucket\"]},
  {\"bucket\":\"$b\",\"role\":\"anon\",\"allow\":[\"delete\"],\"prefix\":\"mine/\"}]" >/dev/null || fail "policies"
mount_project A -o "auth=anon,bucket=$b"
expect_ok "allowed" rm -r "$A/mine"
rm "$A"/theirs/* 2>/dev/null
expect_errno "a directory whose files were refused" "Directory not empty" rmdir "$A/theirs"
expect_eq "they are back" 20 "$(find "$A/theirs" -type f | wc -l)"
expect_eq "and still there" 20 "$(objects theirs/ | wc -w)"
expect_ge "counted" 1 "$(mount_counter "$A" 'd["removals_refused"]')"
expect_match "logged" 'event=removal-refused .*EACCES' "$(cat "$SF_TMP/daemon-mnt-2.log")"
admin DELETE /policies >/dev/null

step "the daemon ends before it could ask"
fill 'late/%02d' 30
expect_eq "they are there" 30 "$(find "$B/late" -type f | wc -l)"
set_faults '{"kind":"error","status":503,"method":"DELETE","skip":4}'
expect_ok "rm" rm "$B"/late/*
pid=$(daemon_pid "$mnt")
kill -KILL "$pid"
wait_for 10 sf_is_gone "$pid"
umount -l "$mnt" 2>/dev/null || fusermount3 -u -z "$mnt"
printf 'theirs' >"$SF_TMP/theirs"
put_object "$b" late/17 "$SF_TMP/theirs" >/dev/null # another client, another version
mount_at "$mnt" || fail "mounting again"
only_theirs() { [ "$(objects late/)" = late/17 ]; }
theirs_seen() { [ "$(ls "$B/late")" = 17 ]; }
expect_missing "one that is there still" "$B/late/20"
wait_for 5 theirs_seen || fail "seen before they are gone: $(ls "$B/late")"
expect_eq "they are there still" 26 "$(objects late/ | wc -w)"
clear_faults
wait_for 10 only_theirs || fail "left: $(objects late/)"
expect_eq "another client's new version stays" theirs "$(cat "$B/late/17")"
passed
