#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Uploads in trouble: the server away, the key revoked in the middle, the daemon killed, the bucket's
# limit, its list of types, the state directory's disk full. What the program sees, what the status
# says, what is in the bucket; and no byte is lost.
# shellcheck source-path=SCRIPTDIR disable=SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it stops the server and uses its fault switches"
need_fuse
need_supafs
# shellcheck disable=SC2119 # without options
start_server
b='' limited='' images=''
new_bucket b
new_bucket limited '"file_size_limit":1048576'
new_bucket images '"allowed_mime_types":["image/*"]'
options=standard_limit=1M,attr_ttl=1m,read_timeout=3s,write_timeout=3s
mount_project mnt -o "$options"
state=$(mount_status "$mnt" state_dir)
head -c 20000000 /dev/urandom >"$SF_TMP/large"
head -c 50000 /dev/urandom >"$SF_TMP/small"

is_missing() { [ ! -e "$1" ]; }
status_is() { [ "$(mount_status "$mnt" "$1")" = "$2" ]; }
stored() { get_object "$1" "$2" "$SF_TMP/got" >/dev/null 2>&1 && cmp -s "$SF_TMP/got" "$3"; }
patches() { request_log | json_get 'sum(e["kind"] == "tus-patch" for e in d["entries"])'; }
sent_bytes() {
    request_log | json_get 'sum(e["request_bytes"] for e in d["entries"] if e["kind"] == "tus-patch")'
}

step "the server is away at close, and comes back"
# A program that has written and not closed yet.
cat >"$SF_TMP/writer.py" <<'PY'
import shutil, sys
with open(sys.argv[1], "rb") as source:
    f = open(sys.argv[2], "wb")
    shutil.copyfileobj(source, f)
    f.flush()
    print("written", flush=True)
    sys.stdin.readline()
    try:
        f.close()
    except OSError as e:
        print(e.strerror)
PY
mkfifo "$SF_TMP/go"
python3 "$SF_TMP/writer.py" "$SF_TMP/small" "$mnt/$b/away" <"$SF_TMP/go" >"$SF_TMP/said" &
writer=$!
exec 3>"$SF_TMP/go"
wait_for 20 grep -q written "$SF_TMP/said" || fail "the program does not write"
kill_server 2>/dev/null
exec 3>&-
wait "$writer"
expect_match "close" "Input/output error|Connection refused|timed out" "$(cat "$SF_TMP/said")"
expect_same_file "the bytes are shown" "$SF_TMP/small" "$mnt/$b/away"
expect_ge "the status counts it" 1 "$(mount_status "$mnt" pending)"
expect_match "by kind" 'content 1' "$(mount_status "$mnt" pending_kinds)"
expect_match "and says why" "/away: .*refused" "$(mount_status "$mnt" last_failed_upload)"
expect_eq "nothing in quarantine" 0 "$(mount_status "$mnt" quarantine)"
# shellcheck disable=SC2119 # without options
restart_server
wait_for 20 stored "$b" away "$SF_TMP/small" || fail "it was not sent again"
wait_for 5 status_is pending 0 || fail "still pending: $(mount_status "$mnt" pending_kinds)"
expect_eq "once" away "$(list_keys "$b" away)"

step "the key is revoked in the middle of an upload"
clear_log
set_faults '{"kind":"error","method":"PATCH","skip":1,"status":400,"body":{"statusCode":"403",
    "code":"AccessDenied","error":"Unauthorized","message":"signature verification failed"}}'
expect_errno "close" "failed to close" cp "$SF_TMP/large" "$mnt/$b/revoked"
expect_match "pending" 'content 1' "$(mount_status "$mnt" pending_kinds)"
expect_eq "nothing of it in the bucket" '' "$(list_keys "$b" revoked)"
expect_same_file "the bytes are shown" "$SF_TMP/large" "$mnt/$b/revoked"
clear_faults
wait_for 30 stored "$b" revoked "$SF_TMP/large" || fail "it was not sent when the key was good again"

step "the daemon is killed in the middle of an upload"
head -c 20000000 /dev/urandom >"$SF_TMP/large"
clear_log
set_faults '{"kind":"delay","method":"PATCH","ms":400}'
cp "$SF_TMP/large" "$mnt/$b/killed" 2>/dev/null &
copy=$!
two_pieces() { [ "$(patches)" -ge 2 ]; }
wait_for 20 two_pieces || fail "no second piece"
kill -KILL "$(daemon_pid "$mnt")"
wait "$copy"
force_umount "$mnt"
clear_faults
mount_at "$mnt" -o "$options" || fail "mount"
expect_same_file "the next mount shows it" "$SF_TMP/large" "$mnt/$b/killed"
wait_for 30 stored "$b" killed "$SF_TMP/large" || fail "the next mount did not send it"
expect_le "no piece was sent twice but the one under way" $((20000000 + 6291456)) "$(sent_bytes)"
expect_eq "one upload" 1 "$(request_log | json_get 'd["counts"].get("tus-create", 0)')"
wait_for 5 status_is pending 0 || fail "still pending: $(mount_status "$mnt" pending_kinds)"

step "the bucket's limit, in the middle of a file"
expect_errno "write" "File too large" dd if=/dev/zero "of=$mnt/$limited/long" bs=65536 count=32
expect_eq "what fitted is there" 1048576 "$(object_info "$limited" long | json_get 'd["size"]')"
expect_eq "nothing in quarantine" 0 "$(mount_status "$mnt" quarantine)"

step "a type that the bucket does not take"
expect_errno "known by its name" "Operation not permitted" cp "$SF_TMP/small" "$mnt/$images/text.txt"
expect_missing "nothing was made" "$mnt/$images/text.txt"
printf '%%PDF-1.4 %50000s' x >"$SF_TMP/document"
expect_errno "known by its bytes" "Operation not permitted" cp "$SF_TMP/document" "$mnt/$images/document"
wait_for 5 is_missing "$mnt/$images/document" || fail "document is still there"
expect_eq "nothing of them is in the bucket" '' "$(list_keys "$images")"

step "a policy refuses"
set_faults "{\"kind\":\"error\",\"method\":\"POST\",\"path\":\"/object/$b/refused\",\"status\":400,\"body\":{
    \"statusCode\":\"403\",\"error\":\"Unauthorized\",\"message\":\"new row violates row-level security policy\"}}"
expect_errno "close" "Permission denied" cp "$SF_TMP/small" "$mnt/$b/refused"
clear_faults
wait_for 5 status_is quarantine 1 || fail "quarantine: $(mount_status "$mnt" quarantine)"
note=$(grep -l '"key": "refused"' "$state"/quarantine/*.json) || fail "no note"
expect_same_file "with all its bytes" "$SF_TMP/small" "${note%.json}"
expect_match "and the reason" 'row-level security' "$(cat "$note")"
expect_missing "the path shows what the bucket has" "$mnt/$b/refused"
wait_for 5 status_is pending 0 || fail "still pending: $(mount_status "$mnt" pending_kinds)"

step "the disk of the state directory is full"
umount_project "$mnt"
if [ "$(id -u)" = 0 ]; then
    mkdir "$SF_TMP/tiny"
    mount -t tmpfs -o size=6m,mode=700 supafs-test "$SF_TMP/tiny" || skip "requires to mount a tmpfs"
    at_exit umount -l "$SF_TMP/tiny"
    mkdir "$SF_TMP/mnt-tiny"
    timeout 60 "$SUPAFS" mount "$SF_TMP/mnt-tiny" -o "$options,cache_dir=$SF_TMP/cache-tiny" \
        -o "state_dir=$SF_TMP/tiny,log_file=$SF_TMP/daemon-tiny.log" >"$SF_TMP/tiny.out" 2>&1 ||
        fail "mount: $(cat "$SF_TMP/tiny.out")"
    at_exit umount_project "$SF_TMP/mnt-tiny"
    tiny=$SF_TMP/mnt-tiny/$b
    expect_errno "write" "No space left" dd if="$SF_TMP/large" "of=$tiny/full" bs=65536
    rm -f "$tiny/full"
    # Its bytes go with the release, for which close() does not wait, and neither does rm.
    has_room() { [ "$(df -k --output=avail "$SF_TMP/tiny" | tail -n 1)" -ge 4000 ]; }
    wait_for 10 has_room || fail "no room: $(find "$SF_TMP/tiny" -type f -size +0 -ls)"
    expect_ok "what fits goes on" cp "$SF_TMP/small" "$tiny/fits"
    stored "$b" fits "$SF_TMP/small" || fail "fits is not what was written"
    head -c 3000000 "$SF_TMP/large" >"$SF_TMP/part"
    expect_ok "and so does more" cp "$SF_TMP/part" "$tiny/part"
    stored "$b" part "$SF_TMP/part" || fail "part is not what was written"
fi
passed
