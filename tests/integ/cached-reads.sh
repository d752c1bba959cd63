#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What was read or written here is not asked for again: within attr_ttl cached reads, stat, ls and
# missing names make no request; after a remount, and after chmod, touch, setfattr, mv and a
# directory's rename, no byte is fetched, with ETags that are MD5s and with others. SF_SOAK=1: the
# file has 256 MiB instead of 10.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need_devserver "it reads the request log"
need setfattr
mib=10
[ -z "${SF_SOAK:-}" ] || mib=256
size=$((mib * 1048576))
start_server --global-limit $((size * 2)) --standard-limit $((size * 2))

# How often anything, and how often bytes of an object were asked for.
requests() { request_log | json_get 'sum(d["counts"].values())'; }
gets() { request_log | json_get 'd["counts"].get("download", 0)'; }

# read_again WHAT FILE ORIGINAL: the same bytes, without the kernel's pages, and no request for any.
read_again() {
    python3 -c 'import os,sys
fd = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)' "$2"
    clear_log
    expect_same_file "$1" "$3" "$2"
    expect_eq "$1: no byte was fetched" 0 "$(gets)"
}

# shellcheck disable=SC2317 # called by wait_for
# The journal writes attributes a second after they were set.
settled() { [ "$(getfattr --only-values -n user.supafs.sync "$1" 2>/dev/null)" = clean ]; }

head -c "$size" /dev/urandom >"$SF_TMP/large"
head -c 5000 "$SF_TMP/large" >"$SF_TMP/small"
head -c 1500000 "$SF_TMP/large" >"$SF_TMP/middle"

step "nothing is asked within attr_ttl"
new_bucket b
put_object "$b" d/small "$SF_TMP/small" >/dev/null
put_object "$b" d/large "$SF_TMP/large" >/dev/null
mount_project mnt -o "bucket=$b,attr_ttl=60"
expect_eq "listed" "large small" "$(cd "$mnt/d" && echo *)"
expect_eq "nothing is cached" "0 %" "$(getfattr --only-values -n user.supafs.cached "$mnt/d/large")"
expect_same_file "read" "$SF_TMP/small" "$mnt/d/small"
expect_same_file "read" "$SF_TMP/large" "$mnt/d/large"
expect_missing "a name" "$mnt/d/none"
clear_log
expect_same_file "read again" "$SF_TMP/small" "$mnt/d/small"
expect_eq "listed again" "large small" "$(cd "$mnt/d" && echo *)"
expect_eq "its size" 5000 "$(stat -c %s "$mnt/d/small")"
expect_missing "the same name" "$mnt/d/none"
expect_missing "the same name" "$mnt/d/none"
expect_eq "requests" 0 "$(requests)"
read_again "without the kernel's pages" "$mnt/d/large" "$SF_TMP/large"
expect_eq "cached" "100 %" "$(getfattr --only-values -n user.supafs.cached "$mnt/d/large")"

step "after a remount"
remount_project "$mnt" -o "bucket=$b,attr_ttl=60"
read_again "the small one" "$mnt/d/small" "$SF_TMP/small"
read_again "the large one" "$mnt/d/large" "$SF_TMP/large"
umount_project "$mnt"

kinds=("md5 true" "mtime false")
[ -z "${SF_SOAK:-}" ] || kinds+=("md5 false" "mtime true")
for kind in "${kinds[@]}"; do
    read -r style rpc <<<"$kind"
    step "$style ETags, supafs_set_attrs: $rpc"
    settings "{\"etag_style\":\"$style\",\"rpc\":$rpc}"
    new_bucket b
    put_object "$b" theirs "$SF_TMP/middle" >/dev/null
    mount_project mnt -o "bucket=$b,attr_ttl=60,attr_copy_max=1G"
    mkdir "$mnt/d"
    expect_same_file "another's" "$SF_TMP/middle" "$mnt/theirs"
    expect_ok "ours" cp "$SF_TMP/middle" "$mnt/d/ours"
    wait_for 10 settled "$mnt/d/ours"
    sleep 0.3 # behind the upload its bytes go to the cache
    read_again "written here" "$mnt/d/ours" "$SF_TMP/middle"
    for f in theirs d/ours; do
        chmod 600 "$mnt/$f"
        touch -d 2020-01-01 "$mnt/$f"
        setfattr -n user.color -v red "$mnt/$f"
    done
    for f in theirs d/ours; do
        wait_for 10 settled "$mnt/$f"
        read_again "$f: new attributes" "$mnt/$f" "$SF_TMP/middle"
        mv "$mnt/$f" "$mnt/$f.2"
        read_again "$f: moved" "$mnt/$f.2" "$SF_TMP/middle"
        cp "$SF_TMP/small" "$mnt/$f.3"
        mv "$mnt/$f.2" "$mnt/$f.3"
        read_again "$f: over another" "$mnt/$f.3" "$SF_TMP/middle"
    done
    mv "$mnt/theirs.3" "$mnt/d/theirs"
    mv "$mnt/d" "$mnt/e"
    read_again "in a renamed directory" "$mnt/e/theirs" "$SF_TMP/middle"
    read_again "in a renamed directory" "$mnt/e/ours.3" "$SF_TMP/middle"
    expect_ok "copied inside" cp "$mnt/e/theirs" "$mnt/copy"
    read_again "the copy" "$mnt/copy" "$SF_TMP/middle"
    remount_project "$mnt" -o "bucket=$b,attr_ttl=60"
    for f in e/theirs e/ours.3 copy; do
        read_again "$f after a remount" "$mnt/$f" "$SF_TMP/middle"
    done
    umount_project "$mnt"
done

step "chmod, touch and mv of a large file"
styles=(mtime)
[ -z "${SF_SOAK:-}" ] || styles+=(md5)
for style in "${styles[@]}"; do
    settings "{\"etag_style\":\"$style\",\"rpc\":false}"
    new_bucket b
    put_object "$b" f "$SF_TMP/large" >/dev/null
    mount_project mnt -o "bucket=$b,attr_copy_max=1G"
    expect_same_file "read once" "$SF_TMP/large" "$mnt/f"
    chmod 700 "$mnt/f"
    touch "$mnt/f"
    wait_for 10 settled "$mnt/f"
    mv "$mnt/f" "$mnt/g"
    read_again "$style: read again" "$mnt/g" "$SF_TMP/large"
    umount_project "$mnt"
done

passed
