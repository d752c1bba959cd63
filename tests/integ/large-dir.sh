#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Many objects in one directory: `ls` is complete and correct, also while another client adds and
# deletes; a page of 1,000 is asked for once, and answers for all its names. 5,000 objects; 100,000
# with SF_SOAK=1.
# shellcheck source-path=SCRIPTDIR disable=SC2012,SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

count=5000
rounds=4
if [ -n "${SF_SOAK:-}" ]; then count=100000; fi

need_supafs
start_server
bucket='' mnt='' quiet='' stale=''
new_bucket bucket

step "$count objects through the API"
began=$(now_ms)
python3 "$SF_SRC/tests/lib/objects.py" seed "$bucket" 'dir/f-%06d' 0 "$count" || fail "seeding"
note "seeded in $(($(now_ms) - began)) ms"
seq -f 'f-%06.0f' 0 $((count - 1)) >"$SF_TMP/wanted"

mount_project mnt
dir=$mnt/$bucket/dir

step "a quiet directory"
began=$(now_ms)
ls -U -1 "$dir" >"$SF_TMP/listed" || fail "ls"
note "listed in $(($(now_ms) - began)) ms"
expect_eq "names listed" "$count" "$(wc -l <"$SF_TMP/listed")"
sort "$SF_TMP/listed" >"$SF_TMP/sorted"
expect_same_file "the names" "$SF_TMP/wanted" "$SF_TMP/sorted"
began=$(now_ms)
expect_eq "names with sizes" "$count" "$(find "$dir" -type f -size -20c -printf . | wc -c)"
note "all stat in $(($(now_ms) - began)) ms"
expect_eq "one file" "dir/f-000123" "$(cat "$dir/f-000123")"

if ! real_server; then
    step "requests"
    # A page of objects that fill it does not say for certain that nothing follows; asked for
    # again, it does.
    python3 "$SF_SRC/tests/lib/objects.py" seed "$bucket" 'thousand/f-%06d' 0 1000 || fail "seeding"
    mount_project quiet -o attr_ttl=60
    mount_project stale -o attr_ttl=3
    lists() { request_log | json_get "d['counts'].get('list', 0)"; }
    requests() { request_log | json_get 'sum(d["counts"].values())'; }
    clear_log
    expect_eq "ls -l" "$((count + 1))" "$(ls -l "$quiet/$bucket/dir" | wc -l)"
    expect_le "requests of ls -l, cold" $((count / 1000 + 2)) "$(requests)"
    clear_log
    expect_eq "ls -l again" "$((count + 1))" "$(ls -l "$quiet/$bucket/dir" | wc -l)"
    expect_eq "requests of ls -l within attr_ttl" 0 "$(requests)"
    ls -l "$stale/$bucket/dir" >"$SF_TMP/stale"
    expect_eq "1,000 objects" 1001 "$(ls -l "$stale/$bucket/thousand" | wc -l)"
    sleep 3.1
    clear_log
    expect_eq "1,000 objects again" 1001 "$(ls -l "$stale/$bucket/thousand" | wc -l)"
    expect_le "listings of 1,000 objects again, with their directory's" 2 "$(lists)"
    clear_log
    python3 - "$stale/$bucket/dir" "$count" <<'END' || fail "stat of all"
import os, random, sys
names = ["f-%06d" % i for i in range(min(int(sys.argv[2]), 5000))]
random.Random(4).shuffle(names)
for name in names:
    os.stat(os.path.join(sys.argv[1], name))
END
    note "every name in any order: $(lists) lists"
    expect_le "lists for $count names in any order, each stale" 20 "$(lists)"
    umount_project "$quiet"
    umount_project "$stale"
fi

step "while another client adds and deletes"
python3 "$SF_SRC/tests/lib/listing.py" churn "$bucket" dir "$count" "$SF_TMP/changes" &
churner=$!
at_exit sf_end_quietly "$churner"
wait_for 20 test -s "$SF_TMP/changes" || fail "the other client does nothing"
sleep 3
rc=0
python3 "$SF_SRC/tests/lib/listing.py" judge "$dir" "$count" "$SF_TMP/changes" "$rounds" 1.5 || rc=$?
kill -0 "$churner" 2>/dev/null || fail "the other client ended early"
expect_eq "the judgement" 0 "$rc"
note "$(wc -l <"$SF_TMP/changes") changes meanwhile"

step "quiet again"
sf_end_quietly "$churner"
sleep 1.5
list_keys "$bucket" dir/ | sed 's,^dir/,,' | LC_ALL=C sort >"$SF_TMP/wanted"
find "$dir" -mindepth 1 -printf '%f\n' | LC_ALL=C sort >"$SF_TMP/listed"
expect_same_file "the names at the end" "$SF_TMP/wanted" "$SF_TMP/listed"
passed
