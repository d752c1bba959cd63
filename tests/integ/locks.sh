#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What a mount does not share with others and what the kernel does not tell it: locks, syncfs(2).
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need python3 flock sync
start_server
new_bucket b
mount_project one
mount_project two
echo text >"$one/$b/f"
wait_for 5 [ -e "$two/$b/f" ] || fail "the other mount does not see the file"

step "locks hold within one mount only"
expect_ok "flock" flock -n "$one/$b/f" sh -c "! flock -n '$one/$b/f' true && flock -n '$two/$b/f' true"
python3 - "$one/$b/f" "$two/$b/f" <<'PY' || fail "fcntl"
import fcntl, os, sys
here, there = (open(p, 'r+') for p in sys.argv[1:])
fcntl.lockf(here, fcntl.LOCK_EX | fcntl.LOCK_NB)
if os.fork() == 0:
    try:
        fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)
        os._exit(1)
    except OSError:
        fcntl.lockf(there, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os._exit(0)
sys.exit(os.wait()[1] != 0)
PY

step "syncfs does not reach the mount"
python3 -c 'import sys, time
f = open(sys.argv[1], "w")
f.write("written")
f.flush()
print("written", flush=True)
sys.stdin.read()' "$one/$b/g" < <(sleep 3) >"$SF_TMP/writer.out" &
writer=$!
wait_for 5 grep -q written "$SF_TMP/writer.out" || fail "not written"
expect_ok "sync -f" sync -f "$one/$b/f"
expect_eq "nothing was sent" f "$(list_keys "$b" | tr -d '\n')"
wait $writer
expect_eq "close() sends" "f g" "$(list_keys "$b" | tr '\n' ' ' | sed 's/ $//')"
passed
