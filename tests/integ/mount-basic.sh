#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What ordinary tools do in a mount: read, write, copy, move, remove, links, odd names, appends,
# truncation, mmap, copy_file_range, exclusive creation, removal while open, modes and owners for
# other users, read-only mounts, the control tree, extended attributes.
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need python3
# shellcheck disable=SC2119 # its options are for the server
start_server
new_bucket bucket
mount_project mnt
# shellcheck disable=SC2154 # set by new_bucket and mount_project
dir=$mnt/$bucket

# stored KEY: the bytes that another client gets.
stored() { get_object "$bucket" "$1" "$SF_TMP/got" && cat "$SF_TMP/got"; }

step "reading and writing"
printf 'hello\n' >"$dir/a.txt" || fail "write"
expect_eq "read back" hello "$(cat "$dir/a.txt")"
expect_eq "in the bucket" hello "$(stored a.txt)"
printf 'more\n' >>"$dir/a.txt"
expect_eq "appended" $'hello\nmore' "$(stored a.txt)"
expect_eq "size" 11 "$(stat -c %s "$dir/a.txt")"
truncate -s 3 "$dir/a.txt"
expect_eq "truncated" hel "$(stored a.txt)"
truncate -s 6 "$dir/a.txt"
stored a.txt >/dev/null
expect_eq "grown by zeros" "$(printf 'hel\0\0\0' | od -c)" "$(od -c "$SF_TMP/got")"
: >"$dir/a.txt"
expect_eq "emptied" 0 "$(stat -c %s "$dir/a.txt")"
# Nothing was written: its RELEASE sends it, for which close() does not wait.
# shellcheck disable=SC2317 # wait_for calls it
stored_is_empty() { [ -z "$(stored a.txt)" ]; }
wait_for 20 stored_is_empty || fail "it is not empty in the bucket: $(stored a.txt)"
expect_errno "a file that is not there" "No such file" cat "$dir/none"
expect_errno "a directory as a file" "Is a directory" cat "$dir"
expect_errno "below a file" "Not a directory" cat "$dir/a.txt/x"

step "another client's object is seen"
printf 'from elsewhere' >"$SF_TMP/foreign"
put_object "$bucket" sub/foreign.txt "$SF_TMP/foreign"
sleep 1.1
expect_eq "its bytes" "from elsewhere" "$(cat "$dir/sub/foreign.txt")"

step "trees"
expect_ok "cp -r" cp -r "$SF_SRC/tests/lib" "$dir/tree"
expect_ok "diff" diff -r "$SF_SRC/tests/lib" "$dir/tree"
expect_ok "mv of a file" mv "$dir/tree/common.sh" "$dir/moved.sh"
expect_same_file "moved" "$SF_SRC/tests/lib/common.sh" "$dir/moved.sh"
expect_missing "the old name" "$dir/tree/common.sh"
expect_errno "rmdir of a full directory" "Directory not empty" rmdir "$dir/tree"
expect_ok "mv of a directory" mv "$dir/tree" "$dir/tree2"
expect_exists "its files" "$dir/tree2/mount.sh"
expect_missing "the old directory" "$dir/tree"
expect_ok "rm -r" rm -r "$dir/tree2"
expect_missing "removed" "$dir/tree2"
mkdir "$dir/empty"
expect_exists "an empty directory" "$dir/empty"
remount_project "$mnt"
expect_exists "still there after a remount" "$dir/empty"
expect_eq "and empty" '' "$(ls -A "$dir/empty")"
expect_ok "rmdir" rmdir "$dir/empty"

step "replacing by rename"
printf one >"$dir/one"
printf two >"$dir/two"
mv -f "$dir/one" "$dir/two"
expect_eq "the new one" one "$(stored two)"
expect_missing "the source" "$dir/one"
expect_exit "mv -n" 0 mv -n "$dir/two" "$dir/a.txt"
expect_eq "kept" '' "$(cat "$dir/a.txt")"

step "links"
ln -s two "$dir/link"
expect_eq "target" two "$(readlink "$dir/link")"
expect_eq "through it" one "$(cat "$dir/link")"
expect_errno "hard links are refused" "Operation not permitted" ln "$dir/two" "$dir/hard"

step "names"
for name in 'with space' '#%~[]{}' 'a=b' 'ünïcödé' '日本語' "quote'\"" 'back\slash' '-dash' \
    "$(printf 'x%.0s' {1..255})"; do
    printf '%s' "$name" >"$dir/$name" || fail "cannot write '$name'"
    expect_eq "'$name'" "$name" "$(cat "$dir/$name")"
    [ "$(find "$dir" -maxdepth 1 -type f -printf '%f\n' | grep -cxF -- "$name")" = 1 ] ||
        fail "'$name' is not listed"
    rm -- "$dir/$name" || fail "cannot remove '$name'"
done
expect_errno "too long" "File name too long" touch "$dir/$(printf 'x%.0s' {1..256})"

step "what programs do with descriptors"
python3 - "$dir" <<'PY' || fail "see above"
import errno, mmap, os, sys
d = sys.argv[1]
def expect(what, wanted, got):
    if wanted != got:
        sys.exit(f"{what}: wanted {wanted!r}, got {got!r}")
def fails(what, code, fn, *a):
    try:
        fn(*a)
    except OSError as e:
        expect(what, errno.errorcode[code], errno.errorcode[e.errno])
    else:
        sys.exit(f"{what}: succeeded")
p = d + "/excl"
os.close(os.open(p, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
fails("O_EXCL twice", errno.EEXIST, os.open, p, os.O_CREAT | os.O_EXCL | os.O_WRONLY)

# removed while open: the bytes stay for who has it
fd = os.open(p, os.O_RDWR)
os.write(fd, b"still here")
os.unlink(p)
expect("read after unlink", b"still here", os.pread(fd, 100, 0))
os.close(fd)
expect("gone", False, os.path.exists(p))

# two descriptors see each other's writes
a = os.open(d + "/two-fds", os.O_RDWR | os.O_CREAT)
b = os.open(d + "/two-fds", os.O_RDWR)
os.write(a, b"abcdef")
expect("the other descriptor", b"abcdef", os.pread(b, 100, 0))
os.pwrite(b, b"XY", 2)
expect("and back", b"abXYef", os.pread(a, 100, 0))
os.close(a)
os.close(b)
expect("after both closed", b"abXYef", open(d + "/two-fds", "rb").read())

# in the middle of an object that is not local
big = os.urandom(3 << 20)
open(d + "/big", "wb").write(big)
with open(d + "/big", "r+b") as f:
    f.seek(1 << 20)
    f.write(b"middle")
want = big[:1 << 20] + b"middle" + big[(1 << 20) + 6:]
expect("a write in the middle", True, open(d + "/big", "rb").read() == want)

# mmap
with open(d + "/big", "r+b") as f:
    m = mmap.mmap(f.fileno(), 0)
    m[5:10] = b"mmap!"
    m.flush()
    m.close()
expect("mmap", b"mmap!", open(d + "/big", "rb").read()[5:10])

# copy_file_range, of all and of a part
size = os.stat(d + "/big").st_size
src, dst = os.open(d + "/big", os.O_RDONLY), os.open(d + "/copy", os.O_WRONLY | os.O_CREAT)
done = 0
while done < size:
    n = os.copy_file_range(src, dst, size - done)
    if n == 0:
        break
    done += n
os.close(src)
os.close(dst)
expect("copied", size, done)
expect("a copy", True, open(d + "/big", "rb").read() == open(d + "/copy", "rb").read())

# append goes to the end, wherever another descriptor is
a = os.open(d + "/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
b = os.open(d + "/log", os.O_WRONLY | os.O_APPEND)
for i in range(50):
    os.write(a, b"a\n")
    os.write(b, b"b\n")
os.close(a)
os.close(b)
expect("both appended", b"a\nb\n" * 50, open(d + "/log", "rb").read())

# attributes
os.chmod(d + "/log", 0o640)
os.utime(d + "/log", ns=(10**18 + 1, 10**18 + 123456789))
st = os.stat(d + "/log")
expect("mode", 0o640, st.st_mode & 0o7777)
expect("mtime in ns", 10**18 + 123456789, st.st_mtime_ns)
os.rename(d + "/log", d + "/log2")
expect("mtime goes along", 10**18 + 123456789, os.stat(d + "/log2").st_mtime_ns)

# extended attributes: none yet, and in the ways that tools can live with
fails("no capability", errno.ENODATA, os.getxattr, d + "/log2", "security.capability")
fails("no ACLs", errno.EOPNOTSUPP, os.setxattr, d + "/log2", "system.posix_acl_access", b"x" * 28)
expect("none listed", [], os.listxattr(d + "/log2"))

v = os.statvfs(d)
expect("longest name", 255, v.f_namemax)
expect("room", True, v.f_bavail * v.f_frsize > 1 << 40)
PY

step "the control tree"
expect_eq "not listed" '' "$(find "$mnt" -maxdepth 1 -name .supafs)"
expect_eq "its files" "control stats status" "$(find "$mnt/.supafs/" -type f -printf '%f\n' | sort | xargs)"
expect_eq "mode" 500 "$(stat -c %a "$mnt/.supafs")"
expect_eq "project" "$SUPABASE_URL" "$(mount_status "$mnt" project)"
expect_eq "stats are JSON" "$(daemon_pid "$mnt")" "$(mount_counter "$mnt" 'd["pid"]')"
expect_errno "nothing is made there" "Operation not permitted" touch "$mnt/.supafs/x"
expect_errno "nor removed" "Operation not permitted" rm -f "$mnt/.supafs/status"
expect_errno "nor written" "Permission denied" dd if=/dev/zero of="$mnt/.supafs/status" bs=1 count=1 conv=notrunc
expect_ge "requests are counted" 20 "$(mount_counter "$mnt" 'd["http_requests"]')"
expect_ge "bytes sent" 6000000 "$(mount_counter "$mnt" 'd["http_out_bytes"]')"
# A directory that this mount has never seen; the others it may know from before the remount.
printf x >"$SF_TMP/late"
put_object "$bucket" late/x "$SF_TMP/late"
wait_for 10 test -e "$dir/late" || fail "a late directory is not seen"
expect_eq "what is in it" x "$(ls "$dir/late")"
expect_ge "listings" 1 "$(mount_counter "$mnt" 'd["listings"]')"
expect_ge "uploads" 10 "$(mount_counter "$mnt" 'd["uploads"]')"
expect_eq "nothing waits" 0 "$(mount_status "$mnt" requests_waiting)"
for secret in "$SUPABASE_SERVICE_ROLE_KEY" "${SUPABASE_ANON_KEY:-none}"; do
    ! grep -qF -e "$secret" "$mnt/.supafs/status" "$mnt/.supafs/stats" /proc/self/mountinfo ||
        fail "a key is shown"
done
expect_match "supafs status" "mountpoint: $mnt" "$("$SUPAFS" status)"
expect_eq "supafs status --json" "$mnt" "$("$SUPAFS" status --json "$mnt" | json_get 'd["mountpoint"]')"

step "the root"
expect_errno "no files there" "Operation not permitted" touch "$mnt/file"
expect_errno "no names with a dot" "Operation not permitted" mkdir "$mnt/.Trash-1000"

if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
    step "another user"
    chmod 711 "$SF_TMP"
    as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
    expect_errno "root's directory" "Permission denied" "${as[@]}" touch "$dir/mine"
    chmod 777 "$dir"
    expect_ok "a file of its own" "${as[@]}" sh -c "umask 022; echo mine >'$dir/mine'"
    expect_eq "belongs to who made it" 65534:65534:644 "$(stat -c %u:%g:%a "$dir/mine")"
    printf secret >"$dir/private"
    chmod 600 "$dir/private"
    expect_errno "modes hold" "Permission denied" "${as[@]}" cat "$dir/private"
    expect_errno "the control tree is not for others" "Permission denied" "${as[@]}" cat "$mnt/.supafs/status"
    expect_errno "nor to change" "Operation not permitted" "${as[@]}" chmod 777 "$dir/private"
fi

step "read-only"
umount_project "$mnt"
mount_project ro -o "bucket=$bucket,ro"
# shellcheck disable=SC2154 # set by mount_project
expect_eq "one bucket is the root" one "$(cat "$ro/two")"
expect_errno "no writing" "Read-only file system" touch "$ro/x"
expect_errno "no removing" "Read-only file system" rm -f "$ro/two"
expect_errno "no mode" "Read-only file system" chmod 600 "$ro/two"
umount_project "$ro"
mount_project prefix -o "bucket=$bucket,prefix=sub"
# shellcheck disable=SC2154 # set by mount_project
expect_eq "a prefix as the root" "from elsewhere" "$(cat "$prefix/foreign.txt")"
umount_project "$prefix"

step "as mount(8) calls it"
ln -s "$SUPAFS" "$SF_TMP/mount.supafs"
mkdir "$SF_TMP/by-mount"
at_exit umount_project "$SF_TMP/by-mount"
own=$SF_TMP/own-by-mount
expect_ok "--fake" "$SF_TMP/mount.supafs" "$SUPABASE_URL" "$SF_TMP/by-mount" -f -o rw
! is_mounted "$SF_TMP/by-mount" || fail "--fake mounts"
expect_ok "the helper" "$SF_TMP/mount.supafs" "$SUPABASE_URL" "$SF_TMP/by-mount" -s -n -v \
    -o "rw,_netdev,bucket=$bucket,cache_dir=$own/c,state_dir=$own/s,log_file=$own.log" -t supafs
expect_eq "it serves" one "$(cat "$SF_TMP/by-mount/two")"
umount_project "$SF_TMP/by-mount"
passed
