#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Names, attributes, configuration and environment that try to get out of their quotes, through whole
# mounts and `supafs init` into a real PostgreSQL: each file has its row, with its key letter by letter,
# and nothing else has changed.
# shellcheck source-path=SCRIPTDIR disable=SC2034,SC2119,SC2154,SC2317
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
pg -c "select json_agg(json_build_object('key', object_key, 'name', original_filename, 'hash', file_hash,
        'type', mime_type))
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

step "hostile buckets and prefixes, from the environment, from -o and from a profile"
buckets=("b'; drop table public.file_metadata; --" 'b,eq.1,or=(a=b)&c=d?e:*' "b',null);select(1)--\$\$")
prefixes=("p'); delete from public.file_metadata; --" 'p,is.null)&select=*&limit=0/or=(a' "p'+(select+1)+'/\$q\$")
mkdir -p "$XDG_CONFIG_HOME/supafs"
{
    printf '[project.hostile]\nurl = %s\nbucket = %s\nprefix = %s\n' "$SUPABASE_URL" "${buckets[2]}" "${prefixes[2]}"
    printf '[bucket.%s]\npublic = yes\nallowed_mime_types = %s\n' "${buckets[0]}" 'text/*' \
        "${buckets[1]}" 'text/*' "${buckets[2]}" 'text/*'
} >"$XDG_CONFIG_HOME/supafs/supafs.conf"
chmod 600 "$XDG_CONFIG_HOME/supafs/supafs.conf"
# init makes them, tells its name to the database, and asks for one that is not there.
hostile_db="postgresql://postgres@/postgres?host=$SF_PG_DIR&application_name='%3b%20drop%20table%20public.messages%3b%20--"
SUPABASE_DB_URL=$hostile_db "$SUPAFS" init >"$SF_TMP/init.out" 2>&1 || fail "init: $(cat "$SF_TMP/init.out")"
expect_eq "buckets that it made" 3 "$(grep -c '^ *bucket b.*: made$' "$SF_TMP/init.out")"
other_db=${hostile_db/@\/postgres?/@\/x\'%3bselect%201--?}
expect_exit "another database" 1 env SUPABASE_DB_URL="$other_db" "$SUPAFS" init
expect_match "which is none" "database \"x';select 1--\" does not exist" "$SF_OUT"
for ref in "x'; --" '../../v1' 'a?b'; do
    expect_exit "project_ref $ref" 2 env SUPABASE_PROJECT_REF="$ref" "$SUPAFS" init
done
at=()
for ((i = 0; i < 3; i++)); do
    SF_MOUNT_URL='' more=()
    case $i in
    0) export SUPAFS_BUCKET=${buckets[0]} SUPAFS_PREFIX=${prefixes[0]} ;;
    1) more=(-o "bucket=${buckets[1]//,/\\,},prefix=${prefixes[1]//,/\\,}") ;;
    2) SF_MOUNT_URL=hostile ;;
    esac
    mount_project 'at[i]' "${more[@]}"
    unset SUPAFS_BUCKET SUPAFS_PREFIX
    echo "$i" >"${at[i]}/f$i.txt" || fail "cannot write below ${prefixes[i]}"
done
if [ "$(id -u)" = 0 ]; then # and a host with such a name, which is any bytes
    mkdir "$SF_TMP/host"
    at_exit umount_project "$SF_TMP/host"
    # shellcheck disable=SC2016 # for the inner one
    SUPAFS=$SUPAFS unshare --uts sh -c 'printf "h\377'\''; drop table x; --" >/proc/sys/kernel/hostname
        exec "$SUPAFS" mount "$@"' sh "$SF_TMP/host" >"$SF_TMP/host.out" 2>&1 ||
        fail "cannot mount: $(cat "$SF_TMP/host.out")"
    echo host >"$SF_TMP/host/$b/host.txt" || fail "cannot write"
    wait_told "$SF_TMP/host"
    expect_eq "where it was done" "mount:h?'; drop table x; --" "$(pg -c "select source from public.file_operations
        where metadata ->> 'key' = 'host.txt'")"
fi
for ((i = 0; i < 3; i++)); do
    wait_told "${at[i]}"
    expect_eq "row of ${buckets[i]}" "${buckets[i]}|${prefixes[i]}/f$i.txt" "$(pg -c "select bucket_id, object_key
        from public.file_metadata where original_filename = 'f$i.txt'")"
    expect_eq "what was done there" "${buckets[i]}|${prefixes[i]}/f$i.txt" "$(pg -c "select metadata ->> 'bucket',
        metadata ->> 'key' from public.file_operations where metadata ->> 'key' like '%/f$i.txt'")"
done
expect_eq "what is installed" "$before" "$(installed)"
passed
