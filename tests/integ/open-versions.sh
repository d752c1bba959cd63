#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Who has half read a file when its version is removed or replaced, here or elsewhere, reads on in
# that version, or gets ESTALE: never a mixture, and never another file's bytes.
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
# shellcheck disable=SC2119 # without options
start_server --standard-limit 0
new_bucket b
# shellcheck disable=SC2154 # set by new_bucket
mount_project mnt -o "bucket=$b"
mib=${SF_SOAK:+64}
mib=${mib:-12}

# The reader prints "half", waits for a line, reads the rest, and says what it has: "old", "ESTALE
# after old", or "MIXTURE".
cat >"$SF_TMP/reader.py" <<'EOF'
import hashlib, os, sys
path, want = sys.argv[1], sys.argv[2]
fd = os.open(path, os.O_RDONLY)
size = os.fstat(fd).st_size
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # the second half shall not be here already
at = 0
digest = hashlib.sha256()
def read_until(end):
    global at
    while at < end:
        data = os.pread(fd, min(1 << 17, end - at), at)
        if not data:
            return False
        digest.update(data)
        at += len(data)
    return True
read_until(size // 2)
half = digest.hexdigest()
print("half", flush=True)
sys.stdin.readline()
try:
    whole = read_until(size)
except OSError as e:
    print(e.strerror, "after", "old" if half == open(sys.argv[3]).read().strip() else "MIXTURE")
else:
    print("end at", at) if not whole else print("old" if digest.hexdigest() == want else "MIXTURE")
EOF

# half_read FILE: a reader of $mnt/FILE in the middle; what it says then is in $said after go_on.
half_read() {
    head -c $((mib * 1048576)) /dev/urandom >"$SF_TMP/old"
    head -c $((mib * 524288)) "$SF_TMP/old" | sha256sum | cut -d' ' -f1 >"$SF_TMP/half"
    put_object "$b" "$1" "$SF_TMP/old" >/dev/null
    sleep 1.1 # attr_ttl: the mount sees it
    rm -f "$SF_TMP/said" # of the last one, who may say "half" before this one begins
    mkfifo "$SF_TMP/go"
    # shellcheck disable=SC2154 # set by mount_project
    python3 "$SF_TMP/reader.py" "$mnt/$1" "$(sha256sum <"$SF_TMP/old" | cut -d' ' -f1)" \
        "$SF_TMP/half" <"$SF_TMP/go" >"$SF_TMP/said" &
    reader=$!
    exec 7>"$SF_TMP/go"
    wait_for 60 grep -q half "$SF_TMP/said"
}

go_on() {
    echo >&7
    exec 7>&-
    wait "$reader" || fail "the reader failed: $(cat "$SF_TMP/said")"
    rm -f "$SF_TMP/go"
    said=$(sed -n 2p "$SF_TMP/said")
}

head -c $((mib * 1048576)) /dev/urandom >"$SF_TMP/new"
# What was read ahead of a version that is gone is read; what was not is not there any more.
old_or_stale='^(old|Stale file handle after old)$'

step "rm"
half_read f
expect_ok "rm" rm "$mnt/f"
expect_missing "gone" "$mnt/f"
expect_eq "in the bucket, too" "" "$(list_keys "$b")"
go_on
expect_eq "the reader's version" old "$said"

step "mv other it"
half_read f
expect_ok "other" cp "$SF_TMP/new" "$mnt/other"
expect_ok "mv" mv "$mnt/other" "$mnt/f"
go_on
expect_eq "the reader's version" old "$said"
expect_same_file "the name has the new one" "$SF_TMP/new" "$mnt/f"

step "overwritten here"
half_read f
expect_ok "cp" cp "$SF_TMP/new" "$mnt/f"
go_on
expect_eq "the reader's version" old "$said"
expect_same_file "the name has the new one" "$SF_TMP/new" "$mnt/f"
get_object "$b" f "$SF_TMP/got"
expect_same_file "in the bucket" "$SF_TMP/new" "$SF_TMP/got"

step "overwritten elsewhere"
half_read f
put_object "$b" f "$SF_TMP/new" >/dev/null
go_on
expect_match "no other's bytes" "$old_or_stale" "$said"
wait_for 10 cmp -s "$SF_TMP/new" "$mnt/f"

step "removed elsewhere"
half_read f
delete_object "$b" f >/dev/null
go_on
expect_match "no other's bytes" "$old_or_stale" "$said"

step "moved here while it is read"
half_read f
expect_ok "mv" mv "$mnt/f" "$mnt/g"
go_on
expect_eq "the reader's version" old "$said"
expect_ok "rm" rm "$mnt/g"

step "more than keep_open_max"
umount_project "$mnt"
mount_at "$mnt" -o "bucket=$b,attr_ttl=0,keep_open_max=4M" || fail "mounting again failed"
half_read f
expect_ok "rm" rm "$mnt/f"
go_on
expect_match "no other's bytes" "$old_or_stale" "$said"
half_read f
expect_ok "other" cp "$SF_TMP/new" "$mnt/other"
expect_ok "mv" mv "$mnt/other" "$mnt/f"
go_on
expect_match "no other's bytes" "$old_or_stale" "$said"

passed
