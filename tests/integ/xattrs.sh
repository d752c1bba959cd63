#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Extended attributes over a mount: what cp -a, rsync -aX and tar --xattrs carry comes back, also
# after a remount without cache and state; what is asked before every write costs no request.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need_devserver "it counts requests"
need getfattr setfattr rsync tar
start_server
new_bucket bucket
mount_project mnt
top=$mnt/$bucket

# attrs DIRECTORY: all user.* of all that is in it, in one order.
attrs() { (cd "$1" && find . | sort | xargs getfattr -h -d -m '^user\.' 2>/dev/null); }

requests() { request_log | json_get "len([e for e in d[\"entries\"] if e[\"kind\"] in $1])"; }

step "set and read"
mkdir "$top/src" "$top/src/sub"
echo "some text" >"$top/src/f"
echo "more" >"$top/src/sub/g"
ln -s f "$top/src/link"
expect_ok "one on a file" setfattr -n user.author -v somebody "$top/src/f"
expect_ok "a second" setfattr -n user.empty "$top/src/f"
expect_ok "on another" setfattr -n user.binary -v 0x00ff0a "$top/src/sub/g"
expect_ok "on a directory" setfattr -n user.dir -v yes "$top/src/sub"
expect_eq "listed" "user.author user.empty" \
    "$(getfattr "$top/src/f" 2>/dev/null | sed -n 's/^user/user/p' | tr '\n' ' ' | sed 's/ $//')"
expect_eq "read" somebody "$(getfattr --only-values -n user.author "$top/src/f" 2>/dev/null)"
chmod 640 "$top/src/f"
touch -d @1600000000 "$top/src/f"

step "what is not kept"
expect_exit "security.* is refused" 1 setfattr -n security.some -v x "$top/src/f"
expect_exit "an unknown name of ours, too" 1 setfattr -n user.supafs.whatever -v x "$top/src/f"
expect_ok "what the mount tells is accepted" setfattr -n user.supafs.id -v x "$top/src/f"
expect_match "sync is told" '^(clean|pending)' \
    "$(getfattr --only-values -n user.supafs.sync "$top/src/f" 2>/dev/null)"
expect_exit "more than 4 KiB" 1 setfattr -n user.large -v "$(head -c 4000 /dev/zero | tr '\0' x)" \
    "$top/src/f"

step "cp -a, rsync -aX and tar --xattrs"
want=$(attrs "$top/src")
expect_ok "cp -a" cp -a "$top/src" "$top/cp"
expect_eq "all copied" "$want" "$(attrs "$top/cp")"
expect_ok "rsync -aX" rsync -aX "$top/src/" "$top/rsync/"
expect_eq "all synchronised" "$want" "$(attrs "$top/rsync")"
expect_eq "a second run finds nothing" '' "$(rsync -aXi "$top/src/" "$top/rsync/")"
expect_ok "tar c" tar --xattrs -C "$top" -cf "$SF_TMP/t.tar" src
mkdir "$top/tar"
expect_ok "tar x" tar --xattrs -C "$top/tar" -xpf "$SF_TMP/t.tar"
expect_eq "all unpacked" "$want" "$(attrs "$top/tar/src")"

step "renamed after the function has written them"
mkdir "$top/dir" "$top/dir/sub"
echo 1 >"$top/dir/f"
echo 2 >"$top/dir/sub/g"
chmod 604 "$top/dir/f" "$top/dir/sub/g"
chmod 711 "$top/dir/sub"
setfattr -n user.late -v x "$top/dir/sub/g"
sync "$top/dir/f" "$top/dir/sub/g" "$top/dir/sub"
expect_ok "a file" mv "$top/dir/f" "$top/dir/f2"
expect_ok "a directory" mv "$top/dir" "$top/moved"

step "after a remount without cache and state"
umount_project "$mnt"
rm -rf "$SF_TMP/own-$(basename "$mnt")"
mount_at "$mnt" || fail "mounting again failed"
clear_log
expect_eq "the source" "$want" "$(attrs "$top/src")"
expect_eq "one question for each that has some" 3 "$(requests '("info",)')"
for copy in cp rsync tar/src; do
    expect_eq "$copy" "$want" "$(attrs "$top/$copy")"
    expect_eq "$copy: mode and time" "640 1600000000" "$(stat -c '%a %Y' "$top/$copy/f")"
done

expect_eq "modes of what was renamed" "604 604 711 " \
    "$(stat -c %a "$top/moved/f2" "$top/moved/sub/g" "$top/moved/sub" | tr '\n' ' ')"
expect_eq "and an attribute" x "$(getfattr --only-values -n user.late "$top/moved/sub/g" 2>/dev/null)"

step "no request for what is asked before every write"
echo "a file without" >"$top/plain"
sleep 0.1
clear_log
for i in $(seq 30); do echo "$i"; done >"$top/plain"
expect_eq "an info and an upload, no more" 2 \
    "$(requests '("info", "head", "upload", "update", "list", "download")')"
expect_eq "nothing was put aside" 0 "$(find "$SF_TMP" -path '*/quarantine/*' -type f | wc -l)"
passed
