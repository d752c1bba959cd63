#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A small change in a large object: nothing is fetched before close(), the upload gets each byte
# that it needs at most once, and memory stays flat. 64 MiB, or 2 GiB with SF_SOAK=1.
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it reads the request log"
need_fuse
need_supafs
mib=64
[ "${SF_SOAK:-}" != 1 ] || mib=2048
size=$((mib * 1048576))
middle=$(((size / 8192 + 77) * 4096))
start_server --global-limit $((size * 2))
settings "{\"standard_limit\":$((size * 2))}"
new_bucket b
# shellcheck disable=SC2154 # set by new_bucket
mount_project mnt -o "bucket=$b,standard_limit=$((size * 2))"
# shellcheck disable=SC2154 # set by mount_project
pid=$(daemon_pid "$mnt")

# gets: how often bytes of objects were asked for; fetched: bytes that the server has sent.
gets() { request_log | json_get 'd["counts"].get("download", 0)'; }
fetched() { request_log | json_get 'd["reply_bytes"]'; }
rss_mib() { echo $(($(sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status") / 1024)); }

# A program that has the file open: its exit would be a close, too. Commands on its stdin, "ok" each.
cat >"$SF_TMP/holder.py" <<'EOF'
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | (os.O_APPEND if len(sys.argv) > 2 else 0))
for line in sys.stdin:
    name, off = line.split()
    data = open(name, "rb").read()
    assert os.pwrite(fd, data, int(off)) == len(data)
    print("ok", flush=True)
os.close(fd)
EOF

# hold FILE [append]; hold_write FILE OFFSET; let_go: closes the file, which has to succeed.
hold() {
    rm -f "$SF_TMP/commands" "$SF_TMP/answers"
    mkfifo "$SF_TMP/commands"
    python3 "$SF_TMP/holder.py" "$@" <"$SF_TMP/commands" >"$SF_TMP/answers" &
    holder=$!
    exec 8>"$SF_TMP/commands"
}
hold_write() {
    : >"$SF_TMP/answers"
    echo "$1 $2" >&8
    wait_for 10 grep -q ok "$SF_TMP/answers"
}
let_go() {
    exec 8>&-
    wait "$holder" || fail "close() failed"
}

# in_bucket: its SHA-256.
in_bucket() {
    get_object "$b" big "$SF_TMP/got"
    sha256sum <"$SF_TMP/got"
}

head -c "$size" /dev/urandom >"$SF_TMP/want"
api PUT "/object/$b/big" -H 'Content-Type: application/octet-stream' -H 'Expect:' \
    -T "$SF_TMP/want" >/dev/null
head -c 4096 /dev/urandom >"$SF_TMP/part"
expect_eq "it is there" "$size" "$(stat -c %s "$mnt/big")"

step "4 KiB in the middle"
clear_log
hold "$mnt/big"
hold_write "$SF_TMP/part" "$middle"
expect_eq "nothing is fetched by the write" 0 "$(gets)"
let_go
expect_le "nothing twice by close()" $((size + 100000)) "$(fetched)"
expect_ge "though most of it" $((size - 2097152)) "$(fetched)"
bound=64
if grep -q -e __asan_init -e __tsan_init "$SUPAFS"; then bound=$((4 * bound)); fi # shadow memory and quarantine
expect_le "memory" "$bound" "$(rss_mib)"
dd if="$SF_TMP/part" of="$SF_TMP/want" bs=4096 seek=$((middle / 4096)) conv=notrunc status=none
expect_eq "in the bucket" "$(sha256sum <"$SF_TMP/want")" "$(in_bucket)"

step "read in between"
clear_log
hold "$mnt/big"
hold_write "$SF_TMP/part" 100
dd if="$SF_TMP/part" of="$SF_TMP/want" bs=1 seek=100 conv=notrunc status=none
cmp -n 300000 <(dd if="$mnt/big" bs=100000 skip=50 count=3 status=none) \
    <(dd if="$SF_TMP/want" bs=100000 skip=50 count=3 status=none) || fail "other bytes are read"
expect_le "not much is fetched for it" 4194304 "$(fetched)"
expect_eq "own bytes" "$(sha256sum <"$SF_TMP/part")" \
    "$(dd if="$mnt/big" bs=4096 iflag=skip_bytes skip=100 count=1 status=none | sha256sum)"
let_go
expect_le "nothing twice" $((size + 100000)) "$(fetched)"
expect_eq "in the bucket" "$(sha256sum <"$SF_TMP/want")" "$(in_bucket)"

step "written over from its beginning: nothing is fetched"
clear_log
head -c 3000000 /dev/urandom >"$SF_TMP/want"
cp "$SF_TMP/want" "$mnt/big"
expect_eq "no byte" 0 "$(gets)"
expect_eq "in the bucket" "$(sha256sum <"$SF_TMP/want")" "$(in_bucket)"

step "cp inside the mount"
sleep 1.1
clear_log
expect_ok "cp" cp "$mnt/big" "$mnt/copy"
expect_eq "no byte was fetched" 0 "$(gets)"
expect_le "or sent" 100000 "$(request_log | json_get 'd["request_bytes"]')"
get_object "$b" copy "$SF_TMP/got"
expect_same_file "the copy" "$SF_TMP/want" "$SF_TMP/got"
expect_same_file "here" "$SF_TMP/want" "$mnt/copy"
expect_ok "a copy that is changed" cp "$mnt/big" "$mnt/changed"
echo more >>"$mnt/changed"
{ cat "$SF_TMP/want" && echo more; } >"$SF_TMP/want2"
expect_same_file "has the change" "$SF_TMP/want2" "$mnt/changed"

step "appends of two clients"
clear_log
printf 'mine 1\n' >"$SF_TMP/want"
put_object "$b" log "$SF_TMP/want" >/dev/null
sleep 1.1
echo "mine 2" >"$SF_TMP/mine"
hold "$mnt/log" append
hold_write "$SF_TMP/mine" 0
printf 'mine 1\ntheirs\n' >"$SF_TMP/theirs"
put_object "$b" log "$SF_TMP/theirs" >/dev/null
let_go
get_object "$b" log "$SF_TMP/got"
expect_eq "both are there" "mine 1 theirs mine 2" "$(tr '\n' ' ' <"$SF_TMP/got" | sed 's/ $//')"
expect_eq "and are read" "$(cat "$SF_TMP/got")" "$(cat "$mnt/log")"

passed
