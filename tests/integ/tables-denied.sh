#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Mounts of those who may not write the project's tables: all works, it is said once, and what waits
# follows when they may. What somebody did is never sent as somebody else.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/tables.sh"

start_project
new_bucket b
A=00000000-0000-4000-8000-00000000000a
B=00000000-0000-4000-8000-00000000000b
user_a=$(make_token authenticated 4102444800 "sub=$A")
user_b=$(make_token authenticated 4102444800 "sub=$B")
admin PUT /policies "[{\"bucket\": \"$b\", \"role\": \"anon\", \"allow\": [\"bucket\", \"select\", \"insert\",
    \"update\", \"delete\"]}, {\"bucket\": \"$b\", \"role\": \"authenticated\", \"allow\": [\"bucket\",
    \"select\", \"insert\", \"update\", \"delete\"]}]" >/dev/null || fail "no policies"
mnt=$SF_TMP/mnt
mkdir "$mnt"
at_exit umount_project "$mnt"
log=$SF_TMP/daemon-mnt.log

# The same directories for all of them.
mount_as_anon() { mount_at "$mnt" -o auth=anon || fail "cannot mount as anon"; }
mount_as_user() {
    (umask 077 && printf '%s\n' "$1" >"$SF_TMP/token")
    mount_at "$mnt" -o "auth=user,key_file=$SF_TMP/token" || fail "cannot mount as a user"
}

# may ROLE yes|no: whether a role may tell the tables anything.
may() {
    local verb='grant' to=to
    [ "$2" = yes ] || verb=revoke to=from
    pg -c "$verb execute on function public.supafs_record(uuid, jsonb, jsonb, jsonb) $to $1" || fail "$verb"
}

# work NAME: what people do with files, and whether it came out right.
work() {
    local d=$mnt/$b/$1 i
    mkdir "$d" || fail "mkdir"
    for i in 1 2 3; do echo "$1 $i" >"$d/f$i" || fail "write"; done
    expect_ok "mv" mv "$d/f1" "$d/moved"
    expect_ok "rm" rm "$d/f2"
    expect_ok "chmod" chmod 640 "$d/f3"
    expect_eq "what is there" "f3 moved" "$(cd "$d" && echo *)"
    expect_eq "what is in it" "$1 1" "$(cat "$d/moved")"
}

# is_denied REASON: the mount says so in status, and once in its log.
is_denied() {
    wait_for 10 tables_are "$mnt" denied || fail "tables: $(mount_status "$mnt" tables)"
    expect_match "why" "$1" "$(mount_status "$mnt" tables)"
    expect_eq "lines of it" 1 "$(grep -c 'module=tables event=tables-denied' "$log")"
    : >"$log"
}

# owners: how many rows each has.
owners() {
    pg -F ' ' -c "select coalesce(owner_id::text, 'nobody'), count(*), string_agg(original_filename, ','
        order by original_filename) from public.file_metadata group by 1 order by 1"
}

step "nobody in particular is denied"
mount_as_anon
work anon
is_denied '42501'
expect_ge "what waits" 8 "$(tables_queue "$mnt")"
remount_project "$mnt" -o auth=anon
expect_eq "after a remount" "anon 3" "$(cat "$mnt/$b/anon/f3")"
expect_eq "its mode" 640 "$(stat -c %a "$mnt/$b/anon/f3")"
is_denied '42501'
waits=$(tables_queue "$mnt")
umount_project "$mnt"

step "so is a user whom the project does not let"
may authenticated no
mount_as_user "$user_a"
expect_eq "none of the other's waits" 0 "$(tables_queue "$mnt")"
work a
is_denied '42501'
expect_eq "batches in the database" 0 "$(pg -c 'select count(*) from public.supafs_batches')"

step "another user's token in the file is not taken"
printf '%s\n' "$user_b" >"$SF_TMP/token.new"
chmod 600 "$SF_TMP/token.new"
mv "$SF_TMP/token.new" "$SF_TMP/token"
echo later >"$mnt/$b/a/later" || fail "write"
sleep 1.1 # files are looked at once a second
expect_ok "read" cat "$mnt/$b/a/later"
umount_project "$mnt"

step "who may now sends what is his"
may authenticated yes
mount_as_user "$user_b"
work b
wait_told "$mnt"
umount_project "$mnt"
expect_eq "rows" "$B 2 f3,moved" "$(owners)"
mount_as_user "$user_a"
wait_told "$mnt"
expect_match "state" '^on, version ' "$(mount_status "$mnt" tables)"
expect_eq "given up" 0 "$(mount_counter "$mnt" 'd["tables_dropped"]')"
umount_project "$mnt"
expect_eq "rows" "$A 3 f3,later,moved
$B 2 f3,moved" "$(owners)"
expect_eq "operations of each" "$A 7
$B 6" "$(pg -F ' ' -c "select owner_id, count(*) from public.file_operations group by 1 order by 1")"

step "the service does not send for others, nor is anything of nobody lost"
mount_at "$mnt" || fail "cannot mount"
echo mine >"$mnt/$b/mine" || fail "write"
wait_told "$mnt"
umount_project "$mnt"
expect_eq "whose" "$A 3 f3,later,moved
$B 2 f3,moved
nobody 1 mine" "$(owners)"
mount_as_anon
expect_eq "what waits" "$waits" "$(tables_queue "$mnt")"
passed
