#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What the project does not take is refused before it is sent, with the right errno: the bucket's
# limit and MIME list, the project's limit of one object, the limit of one request. What was written
# and could not be stored is in quarantine with a note, and the log and the status say so.
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it sets the project's limits"
need_fuse
need_supafs
start_server --global-limit 12000000
mount_project mnt
# shellcheck disable=SC2154 # set by mount_project
state=$(mount_status "$mnt" state_dir)
clear_log

# uploads: requests with bytes that the server had.
uploads() { request_log | json_get 'sum(d["counts"].get(k, 0) for k in ("upload", "update"))'; }

# shellcheck disable=SC2317 # called through expect_ok
# write_mib PATH MIB: as dd does, which stops at the first write that fails.
# shellcheck disable=SC2317 # called by expect_errno
write_mib() { dd if=/dev/zero "of=$1" bs=1M "count=$2"; }

step "a file beyond the project's limit fails at the write that crosses it"
expect_errno "dd" "error writing" write_mib "$mnt/results/large" 20
expect_match "its errno" 'File too large' "$SF_OUT"
expect_match "at the limit" '11\+[01] records out' "$SF_OUT"
expect_errno "truncate" "File too large" truncate -s 12000001 "$mnt/results/grown"
expect_errno "fallocate" "File too large" fallocate -l 12000001 "$mnt/results/grown"
expect_le "nothing beyond it was sent" 12000000 "$(request_log | json_get 'd["request_bytes"]')"

step "and one beyond the bucket's"
expect_errno "dd" "File too large" write_mib "$mnt/generated-files/large.txt" 11
expect_ok "up to it" write_mib "$mnt/generated-files/fits.txt" 10
expect_eq "stored" 10485760 "$(object_info generated-files fits.txt | json_get 'd["size"]')"
rm -f "$mnt"/*/large* "$mnt"/*/grown "$mnt"/*/fits.txt

step "a type that the bucket does not take"
clear_log
printf '\177ELF\1\1\1' >"$SF_TMP/program"
expect_errno "by content" "Operation not permitted" cp "$SF_TMP/program" "$mnt/user-files/program"
expect_eq "nothing was sent" 0 "$(uploads)"
expect_errno "by its name, when it is made" "Operation not permitted" sh -c ": >'$mnt/user-files/a.wasm'"
expect_missing "nothing is made" "$mnt/user-files/a.wasm"
{ cat "$SF_TMP/program" && head -c 8192 /dev/zero; } >"$SF_TMP/larger"
expect_errno "by content, at the first write" "error writing" cp "$SF_TMP/larger" "$mnt/user-files/larger"
expect_match "its errno" "Operation not permitted" "$SF_OUT"
expect_eq "nothing was sent" 0 "$(uploads)"
expect_errno "a link" "Operation not permitted" ln -s x "$mnt/user-files/link"
expect_ok "a type that it takes" cp "$SF_TMP/program" "$mnt/user-files/picture.png"
expect_eq "as the name says" image/png "$(object_info user-files picture.png | json_get 'd["content_type"]')"
expect_ok "into a bucket that takes all" cp "$SF_TMP/program" "$mnt/results/program"
expect_errno "a move is no way around" "Operation not permitted" mv "$mnt/results/program" "$mnt/user-files/program2"
expect_exists "and loses nothing" "$mnt/results/program"

step "what was written is in quarantine"
note=$(grep -l '"key": "program"' "$state"/quarantine/*.json) || fail "no note"
expect_same_file "the bytes" "$SF_TMP/program" "${note%.json}"
expect_eq "the errno" EPERM "$(json_get 'd["errno"]' <"$note")"
expect_match "the reason" 'user-files does not take' "$(json_get 'd["reason"]' <"$note")"
expect_match "the time" "^$(date -u +%Y-%m-%d)T" "$(json_get 'd["time"]' <"$note")"
expect_eq "the bucket" user-files "$(json_get 'd["bucket"]' <"$note")"
expect_match "the log names it" "event=quarantined object=user-files/program .*err=EPERM" \
    "$(cat "$SF_TMP/daemon-${mnt##*/}.log")"
expect_eq "status counts them" "$(find "$state/quarantine" -name '*.json' | wc -l)" "$(mount_status "$mnt" quarantine)"
expect_eq "directories are private" 700 "$(stat -c %a "$state/quarantine")"
expect_missing "the path shows what the bucket has" "$mnt/user-files/program"

step "a policy that refuses, and a server that fails"
set_faults '{"kind":"error","method":"POST","path":"/object/results/","status":400,
    "body":{"statusCode":"403","error":"Unauthorized","message":"new row violates row-level security policy"}}'
expect_errno "refused" "Permission denied" cp "$SF_TMP/program" "$mnt/results/refused"
clear_faults
# The kernel releases the file behind the program's back.
# shellcheck disable=SC2317 # called through wait_for
is_missing() { [ ! -e "$1" ]; }
wait_for 5 is_missing "$mnt/results/refused" || fail "what was refused is there"
note=$(grep -l '"key": "refused"' "$state"/quarantine/*.json) || fail "no note"
expect_match "the server's words" 'row-level security' "$(json_get 'd["reason"]' <"$note")"
umount_project "$mnt"

step "standard_limit: what one request may send"
mount_project small -o standard_limit=1M
clear_log
# shellcheck disable=SC2154 # set by mount_project
expect_ok "beyond it" write_mib "$small/results/two" 2
expect_eq "in pieces" 0 "$(uploads)"
expect_eq "stored" 2097152 "$(object_info results two | json_get 'd["size"]')"
expect_ok "up to it" write_mib "$small/results/one" 1
passed
