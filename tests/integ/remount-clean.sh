#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What make and git decide by (times in nanoseconds, sizes, modes, inode numbers) is the same after a
# remount without cache and state: make builds nothing, git status is clean and reads no file.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need_devserver "it reads the request log"
need git make gcc
export GIT_CONFIG_GLOBAL=$SF_TMP/gitconfig GIT_OPTIONAL_LOCKS=0
git config --file "$GIT_CONFIG_GLOBAL" user.name t
git config --file "$GIT_CONFIG_GLOBAL" user.email t@t
start_server
new_bucket bucket
mount_project mnt
top=$mnt/$bucket

# remount_bare: as on another machine: no cache, no state.
remount_bare() {
    umount_project "$mnt"
    rm -rf "$SF_TMP/own-$(basename "$mnt")"
    mount_at "$mnt" || fail "mounting again failed"
}

requests() { request_log | json_get "len([e for e in d[\"entries\"] if e[\"kind\"] in $1])"; }

step "a build"
mkdir "$top/build"
printf '#include "a.h"\nint main(void) { return A; }\n' >"$top/build/a.c"
printf '#define A 0\n' >"$top/build/a.h"
printf 'prog: a.o\n\tgcc -o prog a.o\na.o: a.c a.h\n\tgcc -c a.c\n' >"$top/build/Makefile"
expect_ok "it builds" make -C "$top/build"
expect_match "and is up to date" "up to date" "$(make -C "$top/build")"
remount_bare
expect_match "still so after a remount" "up to date" "$(make -C "$top/build")"
expect_ok "the program runs" "$top/build/prog"

step "many directories"
mkdir "$top/many"
for i in $(seq 50); do mkdir -m 7$((i % 6))0 "$top/many/d$i"; done
modes=$(stat -c '%n %a' "$top/many"/d*)
remount_bare
ls "$top/many" >/dev/null
clear_log
expect_eq "their modes are the same" "$modes" "$(stat -c '%n %a' "$top/many"/d*)"
n=$(requests '("list",)')
note "stat of 50 directories: $n listings"
expect_eq "in a few listings" 1 "$((n <= 4))"

step "a working tree"
git init -q "$SF_TMP/origin"
for i in $(seq 1 40); do
    mkdir -p "$SF_TMP/origin/d$((i % 5))"
    echo "file $i" >"$SF_TMP/origin/d$((i % 5))/f$i"
done
chmod 755 "$SF_TMP/origin/d1/f1"
ln -s f1 "$SF_TMP/origin/d1/link"
git -C "$SF_TMP/origin" add .
git -C "$SF_TMP/origin" commit -qm one
expect_ok "cloned into the mount" git clone -q "$SF_TMP/origin" "$top/work"
expect_eq "clean at once" '' "$(git -C "$top/work" status --porcelain)"
echo "changed" >"$top/work/d2/f2"
echo "and another" >>"$top/work/d2/f7"
git -C "$top/work" commit -qam two
expect_eq "clean after a commit" '' "$(git -C "$top/work" status --porcelain)"
# git compares whole seconds, and reads what was written in the second of its index: let that pass.
sleep 1.1
expect_ok "the index is brought up to date" git -C "$top/work" update-index -q --really-refresh
remount_bare
clear_log
expect_eq "clean after a remount" '' "$(git -C "$top/work" status --porcelain)"
request_log | json_get '"\n".join(e["kind"] + " " + e["path"] for e in d["entries"] if e["kind"] == "download")' |
    grep -v '/\.git/' >"$SF_TMP/read-files.txt"
expect_eq "no file of the tree was read" '' "$(cat "$SF_TMP/read-files.txt")"
expect_eq "no question for one file" 0 "$(requests '("info", "head")')"
expect_eq "nothing was written" 0 "$(requests '("upload", "update", "copy", "move", "delete", "delete-many")')"
note "git status of 41 files in 5 directories: $(requests '("list",)') listings, $(requests '("download",)') reads below .git"
passed
