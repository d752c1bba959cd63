#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What a mount tells the project's tables, in a real PostgreSQL behind PostgREST: every file that is
# copied in has its row, in few requests; nothing is lost or doubled when replies do not come back and
# when the database stops meanwhile. SF_SOAK=1 takes 1,000 files.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/tables.sh"

start_project without

new_bucket b
mount_project mnt
B=$mnt/$b

# make_files DIRECTORY COUNT: each is another one.
make_files() {
    python3 - "$1" "$2" <<'END'
import os, sys
os.mkdir(sys.argv[1])
for i in range(int(sys.argv[2])):
    with open(f"{sys.argv[1]}/f{i:04d}.txt", "w") as f:
        f.write(f"{sys.argv[1]} {i}\n" * 20)
END
}

# expect_rows PREFIX DIRECTORY: a row with the right hash for each file, one upload each.
expect_rows() {
    (cd "$2" && sha256sum ./*) | sed 's,\./,,' | LC_ALL=C sort >"$SF_TMP/wanted"
    pg -c "select file_hash || '  ' || original_filename from public.file_metadata
        where bucket_id = '$b' and object_key like '$1/%'
        and supabase_storage_path = '$b/' || object_key and mime_type = 'text/plain'" |
        LC_ALL=C sort >"$SF_TMP/rows"
    expect_same_file "rows of $1" "$SF_TMP/wanted" "$SF_TMP/rows"
    expect_eq "uploads of $1" "$(wc -l <"$SF_TMP/wanted") t" "$(pg -F ' ' -c "
        select count(*), count(distinct metadata ->> 'key') = count(*) from public.file_operations
        where operation_type = 'upload' and status = 'completed'
        and metadata ->> 'key' like '$1/%'")"
}

step "a project without tables costs one line"
make_files "$SF_TMP/before" 20
expect_ok "cp" cp -r "$SF_TMP/before" "$B/before"
wait_for 10 tables_are "$mnt" missing || fail "tables: $(mount_status "$mnt" tables)"
expect_eq "lines in the log" 1 "$(grep -c module=tables "$SF_TMP/daemon-mnt-1.log")"

step "they appear, and what waits follows"
install_sql
pg -c "notify pgrst, 'reload schema'"
wait_told "$mnt"
expect_match "state" '^on, version ' "$(mount_status "$mnt" tables)"
expect_rows before "$SF_TMP/before"

many=200
[ -z "${SF_SOAK:-}" ] || many=1000
step "$many files"
make_files "$SF_TMP/many" "$many"
before=$(tables_requests)
start=$(now_ms)
expect_ok "cp" cp -r "$SF_TMP/many" "$B/many"
took=$(($(now_ms) - start))
wait_told "$mnt"
sent=$(($(tables_requests) - before))
note "$many files in $took ms, $sent requests to the database"
expect_rows many "$SF_TMP/many"
expect_le "requests" $((took / 1000 + 5)) "$sent"

step "a name changes, a file goes, another is read"
mv "$B/many/f0000.txt" "$B/many/moved.txt"
rm "$B/many/f0001.txt"
cat "$B/many/f0002.txt" "$B/many/f0002.txt" >/dev/null
settled() {
    [ "$(pg -F ' ' -c "select string_agg(original_filename, ' ' order by object_key),
        sum(access_count) from public.file_metadata
        where object_key ~ '^many/(moved|f000[0-2])'")" = 'f0002.txt moved.txt 2' ]
}
wait_for 10 settled || fail "$(pg -c "select * from public.file_metadata
    where object_key ~ '^many/(moved|f000[0-2])'")"

step "the database stops and starts during a copy, and replies are lost"
make_files "$SF_TMP/stop" $((many / 2))
touch "$SF_ROUTE/lose"
cp -r "$SF_TMP/stop" "$B/stop" &
copy=$!
wait_for 10 tables_are "$mnt" unreachable || fail "no reply was lost: $(mount_status "$mnt" tables)"
stop_postgres
rm "$SF_ROUTE/lose"
wait "$copy" || fail "the copy failed"
all_wait() { [ "$(tables_queue "$mnt")" -ge "$many" ]; } # a fact and an upload of each
wait_for 5 all_wait || fail "only $(tables_queue "$mnt") rows wait"
run_postgres
wait_told "$mnt" 20
expect_rows stop "$SF_TMP/stop"
expect_ge "batches that were there already" 1 "$(mount_counter "$mnt" 'd["tables_repeated"]')"
expect_eq "given up" 0 "$(mount_counter "$mnt" 'd["tables_dropped"]')"
step "a hash counts for the version that has its bytes, which an upload is not told"
id=00000000-0000-4000-8000-000000000001
pg -c "insert into storage.buckets (id, name) values ('v', 'v'); insert into storage.objects
    (id, bucket_id, name, version, metadata) values ('$id', 'v', 'k', 'first',
    '{\"eTag\": \"\\\"e1\\\"\"}')" || fail "no object"
record() { # DIGIT ETAG: what an upload notes
    pg_as service_role '' -c "select public.supafs_record(gen_random_uuid(), jsonb_build_array(
        jsonb_build_object('file_id', '$id', 'bucket', 'v', 'key', 'k', 'size', 1,
        'sha256', repeat('$1', 64), 'etag', '\"$2\"')), '[]', '[]') ->> 'recorded'"
}
version() { pg -c "select coalesce(version, 'none') from public.file_metadata where file_id = '$id'"; }
expect_eq "recorded" true "$(record a e1)"
expect_eq "version" first "$(version)"
expect_eq "recorded" true "$(record b e2)"
expect_eq "version of other bytes" none "$(version)"
passed
