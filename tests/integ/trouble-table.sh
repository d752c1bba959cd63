#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What a program sees when an upload gets into trouble, which call tells it, what .supafs/status
# says, and where the bytes are that write() took: in the bucket, in the journal until they are
# there, or in quarantine. Printed as a table.
# shellcheck source-path=SCRIPTDIR disable=SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it stops the server and uses its fault switches"
need_fuse
need_supafs
need_root # a small file system for the state directory
start_server --global-limit 12000000
b='' limited='' images=''
new_bucket b
new_bucket limited '"file_size_limit":1048576'
new_bucket images '"allowed_mime_types":["image/*"]'
options=standard_limit=1M,read_timeout=3s,write_timeout=3s
mount_project mnt -o "$options"
state=$(mount_status "$mnt" state_dir)
head -c 15000000 /dev/urandom >"$SF_TMP/source"
: >"$SF_TMP/table"
show_table() {
    note "what write() took, what the program saw, the status right after it, where the bytes are:"
    cat "$SF_TMP/table" >&2
}
at_exit show_table

# Writes a file in pieces of 64 KiB, waits, closes; says which call failed with what, and how many
# bytes write() took.
cat >"$SF_TMP/writer.py" <<'PY'
import errno, os, sys
path, source, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
said, taken, fd = [], 0, -1
def call(name, function, *arguments):
    try:
        return function(*arguments)
    except OSError as e:
        said.append(f"{name} {errno.errorcode[e.errno]}")
fd = call("open", os.open, path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644)
with open(source, "rb") as file:
    while fd is not None and taken < size:
        n = call("write", os.write, fd, file.read(min(65536, size - taken)))
        if n is None:
            break
        taken += n
print("written", flush=True)
sys.stdin.readline()
if fd is not None:
    call("close", os.close, fd)
print(taken, ", ".join(said) or "no error")
PY

# writes PATH BYTES [COMMAND before it closes]: sets taken, said
writes() {
    local writer fifo=$SF_TMP/go.$RANDOM
    mkfifo "$fifo"
    : >"$SF_TMP/said"
    python3 "$SF_TMP/writer.py" "$1" "$SF_TMP/source" "$2" <"$fifo" >"$SF_TMP/said" &
    writer=$!
    exec 3>"$fifo"
    wait_for 30 grep -q written "$SF_TMP/said" || fail "the program does not write"
    ${3:-true}
    exec 3>&-
    wait "$writer" || fail "the program failed"
    read -r taken said < <(tail -n 1 "$SF_TMP/said")
}

is_part() { cmp -s <(head -c "$taken" "$SF_TMP/source") "$1"; }
stored() { get_object "$1" "$2" "$SF_TMP/got" >/dev/null 2>&1 && is_part "$SF_TMP/got"; }
quarantined() { # KEY
    local note
    note=$(grep -l "\"key\": \"$1\"" "$state"/quarantine/*.json 2>/dev/null) && is_part "${note%.json}"
}

# row WHAT BUCKET KEY: one line of the table; a byte that write() took is somewhere.
row() {
    local where='' tells
    wait_for 1 no_pending # what is done leaves the journal a little later
    stored "$2" "$3" && where="bucket "
    [ "$(mount_status "$mnt" pending)" = 0 ] || where+="journal "
    quarantined "$3" && where+="quarantine "
    [ "$taken" != 0 ] || where+="nothing was taken"
    tells="pending $(mount_status "$mnt" pending), quarantine $(mount_status "$mnt" quarantine)"
    printf '%-32s %9s taken | %-28s | %-24s | %s\n' "$1" "$taken" "$said" "$tells" "$where" >>"$SF_TMP/table"
    expect_ne "$1: the bytes are somewhere" '' "$where"
    SF_WHERE=${where% }
}
no_pending() { [ "$(mount_status "$mnt" pending)" = 0 ]; }

# sent_later WHAT BUCKET KEY
sent_later() {
    wait_for 40 stored "$2" "$3" || fail "$1: it never came to the bucket"
    wait_for 10 no_pending || fail "$1: pending: $(mount_status "$mnt" pending_kinds)"
    expect_eq "$1: once" "$3" "$(list_keys "$2" "$3")"
    expect_eq "$1: nothing in quarantine" '' "$(grep -ls "\"key\": \"$3\"" "$state"/quarantine/*.json)"
    printf '%-32s in the bucket, once\n' "  later" >>"$SF_TMP/table"
}

step "limits"
writes "$mnt/$limited/long" 2000000
row "bucket's limit, mid-file" "$limited" long
expect_eq "bucket's limit" "write EFBIG bucket" "$said $SF_WHERE"
writes "$mnt/$b/long" 15000000
row "project's limit, mid-file" "$b" long
expect_eq "project's limit" "write EFBIG bucket" "$said $SF_WHERE"

step "types"
writes "$mnt/$images/program.c" 50000
row "type refused, by name" "$images" program.c
expect_match "by name" "EPERM" "$said"
writes "$mnt/$images/noname" 50000
row "type refused, by content" "$images" noname
expect_match "by content" "EPERM" "$said"

step "the key"
set_faults '{"kind":"expired","method":"PATCH","skip":1}'
writes "$mnt/$b/expired" 8000000
row "key expired mid-upload" "$b" expired
expect_match "expired" "^close E[A-Z]* journal" "$said $SF_WHERE"
expect_match "the status says why" "/expired: .*claim timestamp" "$(mount_status "$mnt" last_failed_upload)"
clear_faults
sent_later "key expired mid-upload" "$b" expired
set_faults '{"kind":"error","status":400,"body":{"statusCode":"403",
    "code":"AccessDenied","error":"Unauthorized","message":"signature verification failed"}}'
writes "$mnt/$b/revoked" 500000
clear_faults
row "key revoked at close" "$b" revoked
expect_match "revoked" "E[A-Z]* " "$said "
sent_later "key revoked at close" "$b" revoked

step "the server"
writes "$mnt/$b/away" 500000 kill_server
expect_match "server killed at close" "^close E[A-Z]*" "$said"
expect_match "pending" "content 1" "$(mount_status "$mnt" pending_kinds)"
expect_eq "the mount shows it" "$taken" "$(stat -c %s "$mnt/$b/away")"
printf '%-32s %9s taken | %-28s | %-24s | journal\n' "server killed at close" "$taken" "$said" \
    "pending $(mount_status "$mnt" pending), quarantine $(mount_status "$mnt" quarantine)" >>"$SF_TMP/table"
restart_server --global-limit 12000000
sent_later "server killed at close" "$b" away

step "the disk of the state directory"
umount_project "$mnt"
mkdir "$SF_TMP/tiny"
mount -t tmpfs -o size=6m,mode=700 supafs-test "$SF_TMP/tiny" || skip "requires to mount a tmpfs"
at_exit umount -l "$SF_TMP/tiny"
mkdir "$SF_TMP/mnt-tiny"
timeout 60 "$SUPAFS" mount "$SF_TMP/mnt-tiny" -o "$options,cache_dir=$SF_TMP/cache-tiny" \
    -o "state_dir=$SF_TMP/tiny,log_file=$SF_TMP/daemon-tiny.log" >"$SF_TMP/tiny.out" 2>&1 ||
    fail "mount: $(cat "$SF_TMP/tiny.out")"
at_exit umount_project "$SF_TMP/mnt-tiny"
mnt=$SF_TMP/mnt-tiny
state=$SF_TMP/tiny
writes "$mnt/$b/full" 15000000
row "state directory's disk full" "$b" full
expect_match "disk full" "^write ENOSPC" "$said"

passed
