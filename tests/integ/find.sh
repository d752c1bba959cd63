#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# `supafs find` prints the same whoever answers: a real PostgreSQL behind PostgREST, the dev server's
# tables, or listings where the project has no tables; by name it prints what find(1) does.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/tables.sh"

need_devserver "its database is another one"
need_fuse
need_supafs
need psql python3
js_setup
start_server
start_postgres
install_sql
start_postgrest
server=$SUPABASE_URL
export SUPAFS_TABLES=auto
work() { python3 -B "$SF_SRC/tests/integ/find.py" "$@"; }

step "files with all kinds of names"
new_bucket b
other=$b
new_bucket b
printf 'of another client' >"$SF_TMP/other"
put_object "$other" elsewhere.txt "$SF_TMP/other" text/plain >/dev/null || fail "no object"
for key in both both/in both/in/it 'both a' both0 dir//empty dir/e '=!0Xl' '=!0Xl/x' .supafs; do
    put_object "$b" "$key" "$SF_TMP/other" 'Text/X-Other; charset=utf-8' >/dev/null || fail "no $key"
done
mount_project mnt
expect_ok "files" work make "$mnt/$b"
wait_for 60 tables_are "$mnt" on, || fail "tables: $(mount_status "$mnt" tables)"

# ask WHERE OUT [both]: every question, in the mount at WHERE; what is printed goes to OUT.
ask() {
    (cd "$1" && work "${3:-ask}" "$SUPAFS" "$other" "$b") >"$2" 2>"$2.err" || fail "find failed: $(cat "$2.err")"
}

step "the dev server's tables"
clear_log
ask "$mnt" "$SF_TMP/on" both
expect_ge "lines" 200 "$(wc -l <"$SF_TMP/on")"
expect_eq "nothing is complained of" "" "$(cat "$SF_TMP/on.err")"
expect_ge "questions that they answered" 70 \
    "$(request_log | json_get 'sum("supafs_find" in e["path"] and e["status"] == 200 for e in d["entries"])')"

step "more than one of a kind"
found() {
    "$SUPAFS" find "$@" "$mnt" | sort
}
between=$(comm -12 <(found -s +1k) <(found -s -2k))
expect_match "there are such files" / "$between"
expect_eq "both sizes hold" "$between" "$(found -s +1k -s -2k)"
expect_eq "in either order" "$between" "$(found -s -2k -s +1k)"
expect_eq "both times hold" "" "$(found --older 1h --older 2099-01-01)"
expect_exit "two tags" 2 "$SUPAFS" find --tag red --tag green "$mnt"
expect_exit "two contents" 2 "$SUPAFS" find --sha256 "$(printf %064d 0)" --same-as "$SF_TMP/other" "$mnt"

step "PostgREST"
work copy "$other" "$b" >"$SF_TMP/copy.sql" || fail "cannot read the dev server's rows"
pg -f "$SF_TMP/copy.sql" || fail "cannot copy them"
start_gateway "$server"
mount_project real
expect_ok "ls" ls "$real/$b"
ask "$real" "$SF_TMP/real"
expect_same_file "what is found" "$SF_TMP/on" "$SF_TMP/real"
expect_ge "questions that PostgREST answered" 70 "$(grep -c 'supafs_find 200' "$SF_ROUTE/rest")"
SUPABASE_URL=$server

step "no tables"
settings '{"tables": "missing"}'
ask "$mnt" "$SF_TMP/off"
expect_same_file "what is found" "$SF_TMP/on" "$SF_TMP/off"
expect_match "it is said" 'hashes and tags are those that this mount knows' "$(cat "$SF_TMP/off.err")"
expect_exit "a provider's id" 1 "$SUPAFS" find --provider-id x "$mnt"
expect_match "why" "a provider's ids are in the project's tables: " "$SF_OUT"
passed
