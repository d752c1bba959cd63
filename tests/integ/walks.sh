#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Who goes through a tree of many directories (find, du, git status, a copy) costs pages of a bulk
# listing, not a request for each directory, and sees what is there.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need python3 git
start_server
new_bucket b
python3 "$SF_SRC/tests/lib/objects.py" seed "$b" 'src/d%03d/a/file' 0 150 || fail "seeding failed"
python3 "$SF_SRC/tests/lib/objects.py" seed "$b" 'src/d%03d/b/file' 0 150
python3 "$SF_SRC/tests/lib/objects.py" seed "$b" 'src/d%03d/top' 0 150
mount_project mnt -o attr_ttl=60s

requests() { sed -n 's/^ *"http_requests": \([0-9]*\),*$/\1/p' "$mnt/.supafs/stats"; }
cost() { # WHAT LIMIT COMMAND...
    local what=$1 limit=$2 before
    shift 2
    before=$(requests)
    SF_OUT=$("$@" 2>&1) || fail "$what: $SF_OUT"
    note "$what: $(($(requests) - before)) requests"
    expect_le "requests of $what" "$limit" "$(($(requests) - before))"
}

step "450 objects in 451 directories"
cost "find" 12 find "$mnt/$b/src" -type f
expect_eq "files found" 450 "$(wc -l <<<"$SF_OUT")"
cost "find again" 0 find "$mnt/$b/src"
remount_project "$mnt" -o attr_ttl=60s
cost "ls -lR" 12 ls -lR "$mnt/$b/src"
remount_project "$mnt" -o attr_ttl=60s
cost "du" 12 du -s --apparent-size "$mnt/$b/src"

step "git status"
git init -q "$SF_TMP/repo"
python3 - "$SF_TMP/repo" <<'PY'
import os, sys
for i in range(400):
    os.makedirs(f"{sys.argv[1]}/m{i % 40}/s{i % 7}", exist_ok=True)
    open(f"{sys.argv[1]}/m{i % 40}/s{i % 7}/f{i}", "w").write(str(i))
PY
cp -r "$SF_TMP/repo" "$mnt/$b/repo"
git -C "$mnt/$b/repo" -c user.name=x -c user.email=x@y add .
git -C "$mnt/$b/repo" -c user.name=x -c user.email=x@y commit -qm all
remount_project "$mnt" -o attr_ttl=60s
cost "git status" 60 git -C "$mnt/$b/repo" status --porcelain
expect_eq "changes" "" "$SF_OUT"
passed
