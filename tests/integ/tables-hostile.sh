#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Names and attributes that try to get out of their quotes, through a whole mount into a real
# PostgreSQL: each file has its row, with its key letter by letter, and nothing else has changed.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/tables.sh"

start_project

# What is installed, and how much is in the tables that nothing here writes.
installed() {
    pg -c "select md5(string_agg(x, ',' order by x)) from (
        select relname || relkind::text || relnatts from pg_class where relnamespace = 'public'::regnamespace
        union all select proname || prosrc from pg_proc where pronamespace = 'public'::regnamespace
        union all select rolname::text from pg_roles) as t (x)"
    pg -c "select (select count(*) from public.messages), (select count(*) from public.error_reports),
        (select count(*) from public.file_id_mappings), (select count(*) from storage.objects)"
}

new_bucket b
before=$(installed)
mount_project mnt
work() { python3 -B "${0%.sh}.py" "$@"; }

step "hostile names"
mkdir "$mnt/$b/d'; select 1; --"
made=$(work make "$mnt/$b/d'; select 1; --") || fail "cannot make them"
expect_ge "files" 80 "$made"
wait_for 15 tables_are "$mnt" on, || fail "tables: $(mount_status "$mnt" tables)"
wait_told "$mnt"

step "their rows"
pg -c "select json_agg(json_build_object('key', object_key, 'name', original_filename, 'hash', file_hash))
    from public.file_metadata" >"$SF_TMP/rows.json"
work check "$mnt/$b/d'; select 1; --" <"$SF_TMP/rows.json" >"$SF_TMP/checked" ||
    fail "$(tail -n 20 "$SF_TMP/checked")"
note "$(cat "$SF_TMP/checked")"
list_keys "$b" | grep -v '/\.emptyFolderPlaceholder$' | LC_ALL=C sort >"$SF_TMP/keys"
python3 -c 'import json, sys
print("\n".join(row["key"] for row in json.load(sys.stdin)))' <"$SF_TMP/rows.json" |
    LC_ALL=C sort >"$SF_TMP/row-keys"
expect_same_file "keys" "$SF_TMP/keys" "$SF_TMP/row-keys"
expect_eq "what is installed" "$before" "$(installed)"
expect_eq "given up" 0 "$(mount_counter "$mnt" 'd["tables_dropped"]')"
passed
