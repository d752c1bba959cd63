#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Real input through ordinary tools: in the mount, and at the same time through a bind mount of its
# parent in another mount namespace as a user who is not root, as a container would.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2016
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_root
need git rsync setpriv unshare autoreconf

headers=/usr/include/linux only=(--no-wildcards-match-slash --exclude='./*.h')
size=256M
# A compiler takes its time; that another user can compile does not need one in each check.
as_root=some as_user=nothing
# What is compiled, what that needs, and some more: a few hundred files show what thousands would.
leave=(--exclude='tests/*/*.[chps]*' --exclude='tests/*/corpus' --exclude='src/[!bh]*/*.[ch]')
[ -z "${SF_SOAK:-}" ] || {
    headers=/usr/include only=() size=1G as_root=all as_user=all leave=()
}
# A real server takes it by a plain upload, which many limit to 50 MB.
if real_server; then size=40M; fi
# A repository of our own sources, also where this is no git checkout (make distcheck).
mkdir "$SF_TMP/src" "$SF_TMP/headers"
tar -C "$headers" "${only[@]}" -cf - . | tar -C "$SF_TMP/headers" -xf -
tar -C "$SF_SRC" --exclude=.git --exclude='build*' --exclude=autom4te.cache --exclude='*.o' "${leave[@]}" -cf - . |
    tar -C "$SF_TMP/src" -xf -
(cd "$SF_TMP/src" && git init -q . && git add -A && git -c user.name=t -c user.email=t@example.org \
    commit -qm sources) || fail "cannot make a repository"
head -c "$size" /dev/urandom >"$SF_TMP/large"
sum=$(sha256sum <"$SF_TMP/large")
real_root=real-root real_user=real-user large=user-files/large.bin
if real_server; then
    start_server
    real_root=t-real-root-$$ real_user=t-real-user-$$
    new_bucket large_bucket
    # shellcheck disable=SC2154 # set by new_bucket
    large=$large_bucket/large.bin
    put_object "$large_bucket" large.bin "$SF_TMP/large" || fail "cannot upload the large object"
    at_exit drop_bucket "$real_root"
    at_exit drop_bucket "$real_user"
else
    start_server --import "$large=$SF_TMP/large"
fi
rm "$SF_TMP/large"

mkdir "$SF_TMP/parent" "$SF_TMP/scratch1" "$SF_TMP/scratch2" "$SF_TMP/elsewhere"
chmod 755 "$SF_TMP" "$SF_TMP/parent"
chown 65534:65534 "$SF_TMP/scratch2"
mount --bind "$SF_TMP/parent" "$SF_TMP/parent" || fail "bind mount"
at_exit umount -R "$SF_TMP/parent"
mount --make-shared "$SF_TMP/parent"
# Private, so that what is mounted in it stays in its namespace; also where / is no mount point.
mount --bind "$SF_TMP/elsewhere" "$SF_TMP/elsewhere" || fail "bind mount"
at_exit umount "$SF_TMP/elsewhere"
mount --make-private "$SF_TMP/elsewhere"
mkdir "$SF_TMP/elsewhere/parent"
mkdir "$SF_TMP/parent/mnt"
at_exit umount_project "$SF_TMP/parent/mnt"
mount_at "$SF_TMP/parent/mnt" || fail "mount: $(cat "$SF_TMP"/mount-*.log)"
mnt=$SF_TMP/parent/mnt

# Nobody may not look into the sources everywhere.
cp "$SF_SRC/tests/lib/real-input.sh" "$SF_TMP/tools.sh" && chmod 755 "$SF_TMP/tools.sh"
mkdir "$mnt/$real_root" "$mnt/$real_user" || fail "mkdir of a bucket"
chown 65534:65534 "$mnt/$real_user" || fail "chown of a bucket"

step "as root, in the mount, and as nobody, through a bind mount in another namespace"
bash "$SF_TMP/tools.sh" "$mnt/$real_root" "$SF_TMP/scratch1" "$SF_TMP/headers" "$SF_TMP/src" \
    "$as_root" "$mnt/$large" "$sum" >"$SF_TMP/root.out" 2>&1 &
root=$!
unshare -m --propagation unchanged bash -c '
    in=$1/elsewhere/parent && mount --rbind "$1/parent" "$in" && mount --make-rslave "$in" &&
    exec setpriv --reuid 65534 --regid 65534 --clear-groups \
        bash "$2" "$in/mnt/$4" "$1/scratch2" "$1/headers" "$1/src" "$6" "$in/mnt/$5" "$3"' \
    container "$SF_TMP" "$SF_TMP/tools.sh" "$sum" "$real_user" "$large" "$as_user" >"$SF_TMP/user.out" 2>&1 &
user=$!
wait "$root"
expect_eq "as root: $(cat "$SF_TMP/root.out")" 0 $?
wait "$user"
expect_eq "as nobody: $(cat "$SF_TMP/user.out")" 0 $?
note "as root:"$'\n'"$(cat "$SF_TMP/root.out")"$'\n'"as nobody:"$'\n'"$(cat "$SF_TMP/user.out")"
expect_eq "a clean state" 0 "$(mount_counter "$mnt" 'd["quarantine_files"]')"
expect_eq "owner of what nobody made" 65534 "$(stat -c %u "$mnt/$real_user/copied")"
passed
