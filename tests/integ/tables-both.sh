#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The project's own tables: the dev server answers as PostgREST does over contrib/sql in a real
# PostgreSQL, byte for byte, and its switches take the tables away.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/js.sh"
. "$(dirname "$0")/../lib/postgres.sh"

need_devserver "it is compared with PostgREST"
need psql
js_setup
start_server
start_postgres

step "the tables"
install_sql

step "the same objects on both sides"
pg -c "create policy a on storage.objects for select to authenticated using (bucket_id = 'seen')" ||
    fail "no policy"
admin PUT /policies '[{"bucket": "seen", "role": "authenticated", "allow": ["select"]}]' >/dev/null ||
    fail "no policy"
printf content1 >"$SF_TMP/file"
for bucket in b seen; do
    api_json POST /bucket "{\"name\":\"$bucket\"}" >/dev/null || fail "cannot make $bucket"
done
for object in b/dir/one b/dir/sub/x b/dir b/two.css b/100_ 'b/e(x' seen/y.css; do
    bucket=${object%%/*} name=${object#*/}
    put_object "$bucket" "$name" "$SF_TMP/file" text/css >/dev/null || fail "cannot put $object"
    here=$(object_info "$bucket" "$name" | json_get 'd["id"] + " " + d["version"]')
    etag=$(object_info "$bucket" "$name" | json_get 'd["etag"]')
    there=$(pg -F ' ' -c "insert into storage.buckets (id, name) values ('$bucket', '$bucket')
            on conflict do nothing;
        insert into storage.objects (bucket_id, name, version, metadata, user_metadata)
        values ('$bucket', '$name', gen_random_uuid(),
            jsonb_build_object('eTag', '$etag', 'size', 8, 'mimetype', 'text/css',
                'cacheControl', 'no-cache'), '{}') returning id, version")
    echo "$bucket $name $there $here" >>"$SF_TMP/objects"
done

step "PostgREST and the dev server answer alike"
start_postgrest
rc=0
python3 "$SF_SRC/tests/integ/tables-cases.py" "$SF_TMP/objects" "$SF_REST" "$SUPABASE_URL/rest/v1" \
    >"$SF_TMP/cases" || rc=$?
grep -v '^ok ' "$SF_TMP/cases" >&2
expect_eq "exit status of the comparison" 0 "$rc"
expect_ge "cases" 250 "$(grep -c '^ok ' "$SF_TMP/cases")"

step "the switches"
ask() { # PATH CURL-OPTION...
    sf_curl -w ' %{http_code}' "${@:2}" "$SUPABASE_URL/rest/v1$1"
}
about() { ask /rpc/supafs_about -X POST -H 'Content-Type: application/json' -d '{}'; }
settings '{"tables": "missing"}'
expect_match "missing table" '"code":"42P01".* 404$' "$(ask /file_metadata)"
expect_match "missing function" '"code":"PGRST202".* 404$' "$(about)"
settings '{"tables": "denied"}'
expect_match "denied table" '"code":"42501".*permission denied for table.* 403$' "$(ask /file_metadata)"
expect_match "denied function" '"code":"42501".*permission denied for function.* 403$' "$(about)"
settings '{"tables": "loading"}'
expect_match "no schema cache" '"code":"PGRST002".* 503$' "$(ask /file_metadata)"
expect_match "and no function" '"code":"PGRST002".* 503$' "$(about)"
settings '{"tables": "on"}'
expect_match "all there" '"version": 7.* 200$' "$(about)"
set_faults '{"kind": "error", "status": 503, "path": "/rest/v1/file_metadata", "times": 1}'
expect_eq "a fault" ' 503' "$(ask /file_metadata)"
expect_match "once" ' 200$' "$(ask '/file_metadata?limit=1')"
expect_match "not here: another cast" ' 501$' "$(ask '/file_metadata?select=file_size::int')"

step "rows survive the server"
restart_server
expect_match "the batches" '"owner_id":null.* 200$' "$(ask '/supafs_batches?limit=1&owner_id=is.null')"
passed
