#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# `supafs bench` on a mount, and the link with a delay that tests/bench measures through. Small
# sizes: that it works, not how fast it is.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_supafs
start_server
bucket='' mnt=''
new_bucket bucket
mount_project mnt -o attr_ttl=60
small=(--large-size=1M --random-reads=10 --cached-reads=50 --small-files=5 --list-files=12
    --write-files=3 --one-by-one=2 --write-size=128K)

step "every row, as JSON"
"$SUPAFS" bench "${small[@]}" --json "$mnt/$bucket" >"$SF_TMP/all.json" 2>"$SF_TMP/bench.log" ||
    fail "supafs bench failed"
expect_eq "rows" "random through small list random-cached small-cached write-small write-new write-over write-large" \
    "$(json_get '" ".join(r["row"] for r in d["rows"])' <"$SF_TMP/all.json")"
expect_eq "counts" "10 1 5 12 50 12 3 2 2 1" \
    "$(json_get '" ".join(str(r["operations"]) for r in d["rows"])' <"$SF_TMP/all.json")"
expect_eq "the mount" "$mnt fuse.supafs" \
    "$(json_get 'd["mountpoint"] + " " + d["type"]' <"$SF_TMP/all.json")"
expect_ge "requests of the written files" 3 \
    "$(json_get 'd["rows"][6]["requests"]' <"$SF_TMP/all.json")"
expect_ge "bytes sent of the large one" 131072 \
    "$(json_get 'd["rows"][9]["sent_bytes"]' <"$SF_TMP/all.json")"
expect_eq "nothing is left behind" "" "$(ls -A "$mnt/$bucket")"

step "files of before, as a table"
mkdir "$mnt/$bucket/set"
expect_ok "prepare" "$SUPAFS" bench "${small[@]}" --prepare "$mnt/$bucket/set"
expect_exit "use" 0 "$SUPAFS" bench "${small[@]}" --use --rows=small,list --cold=true "$mnt/$bucket/set"
expect_match "the table" $'\nsmall +yes +5 +[0-9.]+ ' "$SF_OUT"
expect_eq "they are left" "large list small" "$(cd "$mnt/$bucket/set" && echo *)"
printf x >>"$mnt/$bucket/set/small/f3"
printf 12345678 | dd of="$mnt/$bucket/set/small/f3" conv=notrunc status=none
expect_exit "wrong bytes are noticed" 1 "$SUPAFS" bench "${small[@]}" --use --rows=small "$mnt/$bucket/set"
expect_match "and told" "not those that were written" "$SF_OUT"

step "ended in the middle"
"$SUPAFS" bench --rows=write-small --write-files=100000 "$mnt/$bucket" >"$SF_TMP/int.out" 2>&1 &
pid=$!
wait_for 10 test -e "$mnt/$bucket/supafs-bench-$pid/write/f2" || fail "it writes nothing"
kill -INT "$pid"
wait "$pid" || :
expect_eq "its files are removed" "set" "$(ls -A "$mnt/$bucket")"

step "the link"
expect_ok "netproxy" python3 "$SF_SRC/tests/bench/netproxy-check.py" "$(sf_binary tests/bench/netproxy)"

step "beside the limit"
SUPAFS_BUILDDIR=$SF_BUILD "$SF_SRC/tests/bench/run" --tiny --runs 1 --rtt-us 2000 --only supafs \
    --rows random@thin,through,list,small-cached,write-over --json "$SF_TMP/run.json" \
    >"$SF_TMP/table" 2>"$SF_TMP/run.log" || fail "tests/bench/run failed"
expect_eq "lines of the table" 7 "$(wc -l <"$SF_TMP/table")"
expect_match "a ratio" '\(.list.\) \| [0-9.]+ m?s \|.* [0-9]+\.[0-9]+ \| 1\.05' "$(cat "$SF_TMP/table")"
expect_ge "requests of the row list" 1 \
    "$(json_get 'd["rows"]["list"]["supafs"]["runs"][0]["requests"]' <"$SF_TMP/run.json")"
expect_ge "bytes of the row through" 4194304 \
    "$(json_get 'd["rows"]["through"]["supafs"]["runs"][0]["down"]' <"$SF_TMP/run.json")"

step "what the tables cost"
SF_RTT_US=2000 SUPAFS_BUILDDIR=$SF_BUILD "$SF_SRC/tests/bench/tables" 2 10 >"$SF_TMP/cost" 2>"$SF_TMP/cost.log" ||
    fail "tests/bench/tables failed"
expect_match "how much" 'added: median [-+][0-9.]*% of 2 pairs' "$(cat "$SF_TMP/cost")"

step "conversations"
rc=0
SUPAFS_BUILDDIR=$SF_BUILD "$SF_SRC/tests/bench/conversations" 1 >"$SF_TMP/talks" 2>"$SF_TMP/talks.log" || rc=$?
if [ "$rc" = 77 ]; then
    note "not tried: $(cat "$SF_TMP/talks")"
else
    expect_eq "exit status" 0 "$rc"
    expect_eq "figures" 45 "$(grep -c ': median [0-9.]* ms' "$SF_TMP/talks")"
    expect_match "the largest" 'read of-400: .*400 messages, ' "$(cat "$SF_TMP/talks")"
fi
passed
