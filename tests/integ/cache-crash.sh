#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The daemon is killed in the middle of heavy reading and eviction; the cache directory gets full,
# read-only, bits flipped in blocks and in the index, the index cut and overwritten. Every byte that
# is read is right all the same, and after each start what is on disk is what the index says.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need_root
need python3
start_server
new_bucket b
rounds=${SF_ROUNDS:-$([ -n "${SF_SOAK:-}" ] && echo 40 || echo 3)}
seconds=$([ -n "${SF_SOAK:-}" ] && echo 4 || echo 0.8)
seed=${SF_SEED:-$RANDOM}
note "SF_SEED=$seed"

mkdir "$SF_TMP/copy"
python3 - "$SF_TMP/copy" "$seed" <<'PY'
import random, sys
rng = random.Random(sys.argv[2])
for i in range(16):
    open(f"{sys.argv[1]}/large{i}", "wb").write(rng.randbytes(rng.randrange(800000, 5000000)))
for i in range(80):
    open(f"{sys.argv[1]}/small{i}", "wb").write(rng.randbytes(rng.randrange(1, 65000)))
PY
# The cache lies on a file system of its own, that can be full, and read-only.
mkdir "$SF_TMP/disk"
mount -t tmpfs -o size=64m tmpfs "$SF_TMP/disk" || skip "requires mount -t tmpfs"
at_exit umount "$SF_TMP/disk"
cache=$SF_TMP/disk/cache
options="attr_ttl=60s,cache_dir=$cache,cache_size=20M,cache_min_free=0,cache_memory=8M"
mkdir "$cache"
mount_project mnt -o "$options"
cp "$SF_TMP/copy/"* "$mnt/$b/"

check() { # SECONDS [PID AFTER]
    local out
    out=$(python3 "$(dirname "$0")/cache-crash.py" "$mnt/$b" "$SF_TMP/copy" "$1" "$RANDOM" "${@:2}") ||
        fail "SF_SEED=$seed: $out"
    note "$out"
    sf_checks=$((sf_checks + 1))
}
again() { mount_at "$mnt" -o "$options" || fail "cannot mount again: $(tail -n 3 "$SF_TMP"/mount-*.log)"; }
figure() { sed -n "s/^ *\"$1\": \([0-9a-z]*\),*\$/\1/p" "$mnt/.supafs/stats"; }
settled() { [ "$(figure cache_disk_recovering)" = 0 ] && [ "$(figure cache_unwritten_bytes)" = 0 ]; }
blocks() { find "$cache" -path '*/blocks/*' -type f; }

# What is on disk is what the index says: every file has its row, the sums are right, no bytes beside.
in_order() {
    wait_for 15 settled || fail "the cache is not in order after 15 s: $(grep cache_ "$mnt/.supafs/stats")"
    expect_ok "sums" "$SUPAFS" cache verify "$mnt"
    expect_le "limit" $((20 << 20)) "$(figure cache_disk_bytes)"
    umount_project "$mnt"
    local used files
    used=$(blocks | xargs -r du -cB1 | awk 'END { print $1 + 0 }')
    files=$(blocks | wc -l)
    again
    wait_for 15 settled
    # With 512 bytes for the row of each, and the rows of small objects.
    expect_le "bytes of $files files, against the index" "$(figure cache_disk_bytes)" "$used"
    expect_le "files, against the index" "$(figure cache_disk_chunks)" "$files"
    expect_eq "rubbish" "" "$(find "$cache" -name 'trash-*')"
}

step "killed in the middle, $rounds times"
for i in $(seq "$rounds"); do
    check 10 "$(daemon_pid "$mnt")" "0.$((RANDOM % 9 + 1))"
    umount -l "$mnt"
    again
    check "$seconds"
done
in_order

step "a full disk"
fill=$(df --output=avail -B1 "$cache" | tail -n 1)
head -c "$((fill - 200000))" /dev/zero >"$SF_TMP/disk/fill"
check "$seconds"
rm "$SF_TMP/disk/fill"
check "$seconds"
in_order

step "a read-only disk"
umount_project "$mnt"
again
mount -o remount,ro "$SF_TMP/disk" 2>/dev/null && {
    check "$seconds"
    mount -o remount,rw "$SF_TMP/disk"
}
check "$seconds"

step "bits flipped in blocks and in the index"
flip() { # FILE...
    python3 - "$seed" "$@" <<'PY'
import os, random, sys
rng = random.Random(sys.argv[1])
for path in sys.argv[2:]:
    with open(path, "r+b") as f:
        size = os.fstat(f.fileno()).st_size
        for _ in range(3):
            at = rng.randrange(size)
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ (1 << rng.randrange(8))]))
PY
}
umount_project "$mnt"
blocks | head -n 8 | while read -r f; do flip "$f"; done
again
check "$seconds"
expect_ge "bad units seen or still there" 0 "$(figure cache_bad_units)"
index=$(find "$cache" -name data.mdb)
for i in 1 2 3; do
    umount_project "$mnt"
    seed=$((seed + i)) flip "$index"
    again
    check "$seconds"
done

step "the index cut, overwritten and gone"
umount_project "$mnt"
truncate -s 40960 "$index"
again
check "$seconds"
truncate -s 8192 "$index" # under the running mount
check "$seconds"
umount_project "$mnt"
head -c 1000000 /dev/urandom >"$index"
again
check "$seconds"
umount_project "$mnt"
rm -r "$cache"
mkdir "$cache"
again
check "$seconds"
in_order
passed
