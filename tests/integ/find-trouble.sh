#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# `supafs find` when something is in its way: the database fails in the middle, lies, or is not there;
# nothing answers at all; Ctrl-C. What it costs in requests, and what was written just now.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/tables.sh"

need_devserver "it uses its fault switches"
need_fuse
need_supafs
need python3
start_server
export SUPAFS_TABLES=auto
new_bucket b
many=2500
python3 "$SF_SRC/tests/lib/objects.py" seed "$b" 'many/f-%04d' 0 "$many" || fail "seeding"
python3 "$SF_SRC/tests/lib/objects.py" seed "$b" 'few/%02d' 0 30 || fail "seeding"
mount_project mnt -o attr_ttl=60s
top=$mnt/$b
echo first >"$top/first"
wait_for 60 tables_are "$mnt" on, || fail "tables: $(mount_status "$mnt" tables)"

found() { "$SUPAFS" find "$@"; }
# asked PATH: requests whose path has it, since clear_log.
asked() { request_log | json_get "sum('$1' in e['path'] for e in d['entries'])"; }

step "a request for each thousand"
ls "$top" "$top/many" "$top/few" >"$SF_TMP/ls" || fail "ls"
clear_log
expect_eq "all" "$many" "$(found "$top/many" | wc -l)"
expect_eq "of the database" 3 "$(asked supafs_find)"
expect_eq "listings" 0 "$(asked list-v2)"
clear_log
expect_eq "some" 10 "$(found "$top/many" -n '*-*99?' --limit 10 | wc -l)"
expect_le "of the database" 4 "$(asked supafs_find)"
found "$top/many" | LC_ALL=C sort >"$SF_TMP/wanted"
find "$top/many" -type f | LC_ALL=C sort >"$SF_TMP/theirs"
expect_same_file "the names" "$SF_TMP/theirs" "$SF_TMP/wanted"

step "what a provider has"
id=$(object_info "$b" few/07 | json_get 'd["id"]')
sf_curl -o /dev/null "$SUPABASE_URL/rest/v1/rpc/supafs_map_id" -H 'Content-Type: application/json' \
    -d '{"p_file_id": "'"$id"'", "p_provider": "kimi", "p_provider_file_id": "k'"'"'1"}' || fail "no mapping"
expect_eq "a provider's" "$top/few/07" "$(found "$mnt" --provider kimi)"
expect_eq "its id" "$top/few/07" "$(found "$mnt" --provider-id "k'1")"
expect_eq "another's" "" "$(found "$mnt" --provider-id "k'1" --provider openai)"

step "the database fails in the middle, and the listing goes on behind it"
for skip in 0 1 2; do
    set_faults '{"kind": "error", "status": 400, "path": "/rest/v1/rpc/supafs_find", "skip": '$skip'}'
    clear_log
    found "$top/many" >"$SF_TMP/got" || fail "it failed"
    expect_same_file "names, $skip answers of the database" "$SF_TMP/wanted" "$SF_TMP/got"
    expect_eq "of the database" $((skip + 1)) "$(asked supafs_find)"
    expect_eq "listings" $((3 - skip)) "$(asked list-v2)"
done

step "a database that tells what was not asked for is not believed"
row='"id": "i", "size": 1, "mime": null, "updated_at": null, "sha256": null, "tags": null'
for body in '[{"bucket": "'$b'", "key": "few/00"}]' '[{"bucket": "other", "key": "few/00", '"$row"', "is_prefix": false}]' \
    '[{"bucket": "'$b'", "key": "../../etc/passwd", '"$row"', "is_prefix": false}]' '{"a": 1}' '[[[' '"x"' \
    '[{"bucket": "'$b'", "key": "few/01", '"$row"', "is_prefix": false},
      {"bucket": "'$b'", "key": "few/00", '"$row"', "is_prefix": false}]'; do
    set_faults "$(python3 -c 'import json, sys
print(json.dumps({"kind": "error", "status": 200, "path": "/rest/v1/rpc/supafs_find", "body": sys.argv[1],
                  "headers": {"Content-Type": "application/json"}}))' "$body")"
    expect_eq "found" 30 "$(found "$top/few" | sort -u | wc -l)"
done
clear_faults

step "what was written just now"
echo "content 1" >"$top/new-1"
expect_eq "by its content" "$top/new-1" "$(found "$top" --same-as "$top/new-1")"
cp "$top/new-1" "$top/copy-1"
expect_eq "both" 2 "$(found "$mnt" --same-as "$top/new-1" | wc -l)"
rm "$top/copy-1"
settings '{"tables": "missing"}'
cp "$top/new-1" "$top/copy-1"
expect_eq "without tables" "$top/copy-1 $top/new-1" "$(found "$top" --same-as "$top/new-1" 2>/dev/null | xargs)"
echo changed >"$top/copy-1"
expect_eq "not what had this content" "$top/new-1" "$(found "$top" --same-as "$top/new-1" 2>/dev/null)"
# By another client, so that what is known here is old.
printf 'CONTENT 1\n' >"$SF_TMP/other"
put_object "$b" new-1 "$SF_TMP/other" >/dev/null || fail "cannot replace it"
expect_eq "not by what was known of it" "" "$(found "$top" --sha256 "$(echo "content 1" | sha256sum | cut -c 1-64)" 2>/dev/null)"
settings '{"tables": "on"}'

step "one file, and wrong questions"
expect_eq "itself" "$top/first" "$(found "$top/first")"
expect_eq "not so" "" "$(found "$top/first" -s +6)"
expect_eq "relative" "./few/07" "$(cd "$top" && found . -n 07)"
expect_eq "where one is" "./07" "$(cd "$top/few" && found -n 07)"
for wrong in --size=x --size=-0 --newer=soon --sha256=12 --limit=0 --same-as=/none; do
    expect_exit "$wrong" 2 "$SUPAFS" find "$wrong" "$top"
done
expect_exit "not in a mount" 2 "$SUPAFS" find "$SF_TMP"
expect_exit "no such file" 2 "$SUPAFS" find "$top/none"

step "Ctrl-C, and a service that does not answer"
set_faults '[{"kind": "error", "status": 400, "path": "/rest/v1"}, {"kind": "hang", "path": "/object/list-v2"}]'
expect_exit "ended" 124 timeout -s INT 1 "$SUPAFS" find "$top" -n 'x*'
clear_faults
expect_eq "the mount goes on" 30 "$(found "$top/few" | wc -l)"
set_faults '[{"kind": "error", "status": 400}]'
expect_exit "refused" 1 "$SUPAFS" find "$top" -n 'x*'
expect_match "why" 'list' "$SF_OUT"
# A gateway that loses the token: empty listings.
set_faults '[{"kind": "anon"}]'
expect_exit "nothing is seen" 1 "$SUPAFS" find "$top" -n 'x*'
note "$SF_OUT"
expect_exit "nor of one content" 1 "$SUPAFS" find "$top" --same-as "$top/first"
clear_faults

step "one bucket only, from a prefix on, with tables=off"
mkdir -p "$top/below/.supafs" "$top/below/dir"
for f in .supafs/x dir/y z; do echo "$f" >"$top/below/$f"; done
SUPAFS_TABLES=off mount_project part -o "bucket=$b,prefix=below"
clear_log
expect_eq "paths" "$part/%key=.supafs/x $part/dir/y $part/z" "$(found "$part" | xargs)"
expect_eq "they are there" 3 "$(found -0 "$part" | xargs -0 cat | wc -l)"
expect_eq "of the database" 0 "$(asked supafs_find)"
expect_exit "no tags" 1 "$SUPAFS" find --tag x "$part"
expect_match "why" 'with tables=off' "$SF_OUT"
passed
