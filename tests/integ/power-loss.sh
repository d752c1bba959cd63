#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# kill -9 and loss of power at random moments of random work: what calls have promised is in the
# bucket once a later mount has nothing pending, the rest is there whole or not at all, and nothing
# is there twice. SF_SEED=N plays the same dice again, SF_RUNS=K so many runs (all that fit into
# 8 s, or 2,000 with SF_SOAK).
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it kills it"
need_fuse
need_supafs
need_root
b=''
need python3
need setfattr
LOSSYFS=$SF_BUILD/tests/tools/lossyfs
[ -x "$LOSSYFS" ] || skip "requires tests/tools/lossyfs (make check-programs)"
SUPAFS_DEVSERVER=$(sf_binary supafs-devserver) || skip "requires supafs-devserver (build it first)"
export LOSSYFS SUPAFS_DEVSERVER
start_server

step "the disk forgets"
disk=$SF_TMP/disk
mkdir "$disk"
# Nodes that the kernel names until the end are not given back.
ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" "$LOSSYFS" "$disk" 1 &
at_exit force_umount "$disk" # only if it did not end by itself
at_exit sf_end_quietly $!
wait_for 5 is_mounted "$disk" || fail "no disk"
python3 - "$disk" <<'PY' || fail "see above"
import mmap, os, random, sys
os.chdir(sys.argv[1])
rng, size = random.Random(1), 1 << 20

def sync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)

os.mkdir("d")
fd = os.open("d/f", os.O_RDWR | os.O_CREAT, 0o600)
want = bytearray(size)
os.ftruncate(fd, size)
shown = mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ)  # as LMDB reads its file
for i in range(300):
    at, some = rng.randrange(size), rng.choice((1, 100, 4096, 70000))
    data = rng.randbytes(min(some, size - at))
    os.pwrite(fd, data, at)
    want[at:at + len(data)] = data
    assert i % 20 or shown[:] == bytes(want), i
os.setxattr("d/f", "user.a", b"1")
copy = os.open("d/copy", os.O_RDWR | os.O_CREAT)
done = 0
while done < size:
    done += os.copy_file_range(fd, copy, size - done, done, done)
os.ftruncate(copy, 8 * size)
assert os.lseek(copy, 2 * size, os.SEEK_HOLE) == 2 * size
for i in range(500):
    open(f"d/{i}", "w").close()
assert len(os.listdir("d")) == 502
os.fsync(fd)
sync("d")
sync(".")
os.rename("d/copy", "d/renamed")
os.pwrite(fd, b"lost", 0)
shown.close()
os.close(fd)
os.close(copy)
os.setxattr(".", "user.lossyfs.lose", b"1 0")
assert open("d/f", "rb").read() == want and os.getxattr("d/f", "user.a") == b"1"
assert os.path.getsize("d/copy") == 0 and not os.path.exists("d/renamed")
assert len(os.listdir("d")) == 502
with open("d/f", "r+b", buffering=0) as f:
    f.write(b"half")
    os.fdatasync(f.fileno())
os.setxattr("d/f", "user.b", b"2")
os.rename("d/copy", "d/renamed")
sync("d")
os.setxattr(".", "user.lossyfs.lose", b"1 0")
assert open("d/f", "rb").read(5) == b"half" + want[4:5] and os.listxattr("d/f") == ["user.a"]
assert os.path.exists("d/renamed")
PY
# shellcheck disable=SC2034 # for passed()
sf_checks=1

step "directories that were just made"
mount_project mnt -o "bucket=user-files,state_dir=$disk/new/state"
: >"$mnt/f.txt"
expect_ok "chmod" chmod 600 "$mnt/f.txt"
kill -9 "$(daemon_pid "$mnt")"
wait_for 5 eval "! stat $mnt"
force_umount "$mnt"
setfattr -n user.lossyfs.lose -v "1 0" "$disk"
expect_exists "the journal" "$disk"/new/state/*/journal/data.mdb

step "removed while its record was there"
new_bucket b
mount_project mnt -o "bucket=$b,sync=writeback,state_dir=$disk/removed"
for i in 1 2 3; do
    echo "bytes $i" >"$mnt/f$i"
    rm "$mnt/f$i"
    kill -9 "$(daemon_pid "$mnt")"
    wait_for 5 eval "! stat $mnt"
    setfattr -n user.lossyfs.lose -v "$i" "$disk"
    mount_at "$mnt" -o "bucket=$b,sync=writeback,state_dir=$disk/removed" || fail "cannot mount"
    wait_for 20 eval "[ \"\$(mount_status '$mnt' pending)\" = 0 ]" || fail "it stays pending"
    expect_eq "nothing comes back" "" "$(list_keys "$b")"
done
umount_project "$mnt"

step "random work, killed"
mkdir "$SF_TMP/runs"
seed=${SF_SEED:-$RANDOM$RANDOM}
runs=${SF_RUNS:-$([ -n "${SF_SOAK:-}" ] && echo 2000 || echo 1000)}
limit=()
[ -n "${SF_SOAK:-}${SF_RUNS:-}" ] || limit=(--seconds 8)
note "SF_SEED=$seed"
python3 "$(dirname "$0")/power-loss.py" "$SF_TMP/runs" --seed "$seed" --runs "$runs" \
    --mode "${SF_MODE:-close,writeback}" "${limit[@]}" || fail "SF_SEED=$seed: see above"
passed
