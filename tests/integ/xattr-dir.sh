#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Extended attributes of a whole directory: where the project has tables, a handful of requests
# brings those of 1,000 files, and they are the same as without; also where the tables fail, lie or
# are old, and while attributes change. SF_SOAK=1 takes 5,000 files.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need_devserver "it counts requests"
need getfattr setfattr python3
start_server
new_bucket bucket

files=1000
[ -z "${SF_SOAK:-}" ] || files=5000

# attrs DIRECTORY: all user.* of all files in it, in one order.
attrs() { (cd "$1" && getfattr -R -d -m '^user\.' . 2>"$SF_TMP/getfattr.err" | sed 's/^# file: //'); }

# asked KIND: how many requests of it there were.
asked() { request_log | json_get "d[\"counts\"].get(\"$1\", 0)"; }

# mount_fresh VAR TABLES: with nothing known.
mount_fresh() {
    export SUPAFS_TABLES=$2
    mount_project "$1"
}

step "$files files with attributes, and some without"
mount_fresh writer auto
mkdir "$writer/$bucket/d"
python3 - "$writer/$bucket/d" "$files" <<'END'
import os, sys
from concurrent.futures import ThreadPoolExecutor
def make(i):
    fd = os.open(f"{sys.argv[1]}/f{i * 7919 % 100003:06d}.txt", os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"x%d\n" % (i % 50))
    if i % 20:
        os.setxattr(fd, "user.number", b"%d" % i)
        os.setxattr(fd, "user.of ü", os.urandom(8).hex().encode() + b"\0\n\"")
    os.close(fd)
with ThreadPoolExecutor(16) as pool:
    list(pool.map(make, range(int(sys.argv[2]))))
END
umount_project "$writer"

step "without tables: one request for each"
mount_fresh plain off
ls -l "$plain/$bucket/d" >/dev/null
clear_log
attrs "$plain/$bucket/d" >"$SF_TMP/wanted"
expect_eq "infos" $((files * 19 / 20)) "$(asked info)"
expect_eq "attributes" $((files * 19 / 10)) "$(grep -c '^user' "$SF_TMP/wanted")"

step "with them: a handful"
mount_fresh mnt auto
ls -l "$mnt/$bucket/d" >/dev/null
clear_log
attrs "$mnt/$bucket/d" >"$SF_TMP/got"
expect_same_file "attributes" "$SF_TMP/wanted" "$SF_TMP/got"
expect_le "infos" 3 "$(asked info)"
expect_ge "questions to the tables" $((files / 1000)) "$(asked rpc)"
expect_le "questions to the tables" $((files / 1000 + 5)) "$(asked rpc)"

step "what is set afterwards"
first=$(grep "^f.*txt$" "$SF_TMP/wanted" | sed -n 100p)
expect_ok "set" setfattr -n user.number -v new "$mnt/$bucket/d/$first"
expect_eq "read" new "$(getfattr --only-values -n user.number "$mnt/$bucket/d/$first" 2>/dev/null)"
expect_ok "removed" setfattr -x user.number "$mnt/$bucket/d/$first"
expect_exit "gone" 1 getfattr -n user.number "$mnt/$bucket/d/$first"
expect_ok "set again" setfattr -n user.number -v again "$mnt/$bucket/d/$first"
sync "$mnt/$bucket/d/$first"
# seen_by_other: the mount without tables has heard of it.
seen_by_other() {
    [ "$(getfattr --only-values -n user.number "$plain/$bucket/d/$first" 2>/dev/null)" = again ]
}
wait_for 10 seen_by_other || fail "the other mount does not see it"
expect_ok "set by another mount" setfattr -n user.number -v other "$plain/$bucket/d/$first"
sync "$plain/$bucket/d/$first"
# seen: this one has, too.
seen() {
    [ "$(getfattr --only-values -n user.number "$mnt/$bucket/d/$first" 2>/dev/null)" = other ]
}
wait_for 10 seen || fail "what another mount has set is not seen"
attrs "$plain/$bucket/d" >"$SF_TMP/wanted"
attrs "$mnt/$bucket/d" >"$SF_TMP/got"
expect_same_file "all others are as before" "$SF_TMP/wanted" "$SF_TMP/got"
umount_project "$mnt"

step "in any order, by many at once"
mount_fresh mnt auto
ls -l "$mnt/$bucket/d" >/dev/null
clear_log
(cd "$mnt/$bucket/d" && grep '^f.*txt$' "$SF_TMP/wanted" | shuf --random-source=<(yes) |
    xargs -P 4 -n 50 getfattr -d -m '^user\.' 2>/dev/null | sed 's/^# file: //') |
    LC_ALL=C sort >"$SF_TMP/got"
LC_ALL=C sort "$SF_TMP/wanted" >"$SF_TMP/sorted"
expect_same_file "attributes" "$SF_TMP/sorted" "$SF_TMP/got"
expect_le "infos" $((files / 100)) "$(asked info)"
expect_le "questions to the tables" $((files / 150 + 15)) "$(asked rpc)"
note "$(asked info) infos, $(asked rpc) questions to the tables"
umount_project "$mnt"

# fails_with WHAT FAULT REQUESTS: each file is asked for alone, and the tables no more often.
fails_with() {
    local broken=''
    step "the tables $1"
    mount_fresh broken auto
    ls -l "$broken/$bucket/d" >/dev/null
    set_faults "$2"
    clear_log
    attrs "$broken/$bucket/d" >"$SF_TMP/got"
    clear_faults
    expect_same_file "attributes" "$SF_TMP/wanted" "$SF_TMP/got"
    expect_le "questions to the tables" "$3" "$(asked rpc)"
    umount_project "$broken"
}

answer='{"kind":"error", "path":"/rest/v1/rpc/supafs_list_dir", "headers":{"Content-Type":"application/json"}'
fails_with "are not there" \
    "$answer, \"status\":404, \"body\":{\"code\":\"PGRST202\",\"message\":\"no such function\"}}" 1
fails_with "answer nonsense" "$answer, \"status\":200, \"body\":[{\"key\":\"e/f\",\"id\":\"x\"}]}" 1
fails_with "know none of them" "$answer, \"status\":200, \"body\":[]}" 4
passed
