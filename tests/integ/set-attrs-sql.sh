#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# contrib/sql/001-attributes.sql in a real PostgreSQL: the compare-and-set itself, also against a
# writer at the same moment, and by PostgREST the answers that the dev server gives, byte for byte.
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

step "the function, twice"
install_sql 001-attributes
install_sql 001-attributes

step "the same objects on both sides"
pg -c "create policy a on storage.objects for select to authenticated, anon using (bucket_id = 'seen')
    ; create policy b on storage.objects for select to authenticated using (bucket_id = 'open')
    ; create policy c on storage.objects for update to authenticated
        using (bucket_id in ('open', 'blind'))" || fail "no policies"
admin PUT /policies '[{"bucket": "seen", "role": "authenticated", "allow": ["select"]},
    {"bucket": "seen", "role": "anon", "allow": ["select"]},
    {"bucket": "open", "role": "authenticated", "allow": ["select", "update"]},
    {"bucket": "blind", "role": "authenticated", "allow": ["update"]}]' >/dev/null || fail "no policies"
echo content >"$SF_TMP/file"
for bucket in b closed seen open blind; do
    api_json POST /bucket "{\"name\":\"$bucket\"}" >/dev/null || fail "cannot make $bucket"
done
for object in b/one b/two b/three closed/x seen/x2 seen/anon open/x3 blind/x4; do
    bucket=${object%/*} name=${object#*/}
    put_object "$bucket" "$name" "$SF_TMP/file" text/plain >/dev/null || fail "cannot put $object"
    here=$(object_info "$bucket" "$name" | json_get 'd["version"]')
    there=$(pg -c "insert into storage.buckets (id, name) values ('$bucket', '$bucket')
            on conflict do nothing;
        insert into storage.objects (bucket_id, name, version, metadata, user_metadata, updated_at)
        values ('$bucket', '$name', gen_random_uuid(),
            '{\"eTag\": \"\\\"e\\\"\", \"size\": 8, \"mimetype\": \"text/plain\",
              \"cacheControl\": \"no-cache\"}', '{\"old\": 1}', '2020-01-01') returning version")
    echo "$bucket $name $there $here" >>"$SF_TMP/objects"
done

step "PostgREST and the dev server answer alike"
start_postgrest
rc=0
python3 "${0%.sh}.py" "$SUPABASE_URL/rest/v1" "$SF_REST" "$SF_TMP/objects" >"$SF_TMP/cases" || rc=$?
cat "$SF_TMP/cases" >&2
expect_eq "exit status of the comparison" 0 "$rc"
expect_eq "cases" 27 "$(grep -c '^ok ' "$SF_TMP/cases")"

row() { # BUCKET NAME: what the change may and may not have touched
    pg -c "select version = '$(awk -v b="$1" -v n="$2" '$1 == b && $2 == n {print $3}' \
        "$SF_TMP/objects")', metadata->>'mimetype', metadata->>'cacheControl', metadata->>'eTag',
        metadata->>'size', user_metadata, updated_at > '2026-01-01' from storage.objects
        where bucket_id = '$1' and name = '$2'"
}

step "what is in the tables"
expect_eq "all three" 't|text/css|no-cache, supafs="1;m=100600"|"e"|8|{"k": "v", "n": [1, null]}|t' \
    "$(row b one)"
expect_eq "one of them" 't|7|max-age=7|"e"|8|{"old": 1}|t' "$(row b two)"
quoted="'; drop table storage.objects; --\$\$\\\" é"
expect_eq "what tries to get out of its quotes" \
    "t|text/x; a=\"$quoted\"|$quoted, supafs=\"1;m=100600\"|\"e\"|8|{\"old\": 1}|t" "$(row b three)"
expect_eq "hidden" 't|text/plain|no-cache|"e"|8|{"old": 1}|f' "$(row closed x)"
expect_eq "not to be changed" 't|text/plain|no-cache|"e"|8|{"old": 1}|f' "$(row seen x2)"
expect_eq "allowed" 't|text/css|no-cache, supafs="1;m=100600"|"e"|8|{"k": "v", "n": [1, null]}|t' \
    "$(row open x3)"
expect_eq "blind" 't|text/plain|no-cache|"e"|8|{"old": 1}|f' "$(row blind x4)"
expect_eq "the dev server's info" '["text/css", "no-cache, supafs=\"1;m=100600\"", {"k": "v", "n": [1, null]}]' \
    "$(object_info b one | json_get '[d["content_type"], d["cache_control"], d["metadata"]]')"
expect_eq "its version" "$(awk '$2 == "one" {print $4}' "$SF_TMP/objects")" \
    "$(object_info b one | json_get 'd["version"]')"
get_object b one "$SF_TMP/got"
expect_same_file "its bytes" "$SF_TMP/file" "$SF_TMP/got"

step "the dev server: bytes keep their own headers, and a move goes by these"
about() { object_info b "$1" | json_get '[d["content_type"], d["cache_control"], d["metadata"]]'; }
changed='["text/css", "no-cache, supafs=\"1;m=100600\"", {"k": "v", "n": [1, null]}]'
shown() { # METHOD: type and cache control
    local option=()
    [ "$1" != HEAD ] || option=(--head)
    sf_curl "${option[@]}" -D - -o /dev/null "$SF_STORAGE/object/authenticated/b/one" |
        tr -d '\r' | grep -iE '^(content-type|cache-control):' | sort -f | cut -d ' ' -f 2- | paste -sd '|'
}
expect_eq "HEAD" 'no-cache, supafs="1;m=100600"|text/css' "$(shown HEAD)"
expect_eq "GET" 'no-cache|text/plain' "$(shown GET)"
expect_ok "a copy" api_json POST /object/copy \
    '{"bucketId": "b", "sourceKey": "one", "destinationKey": "copied"}'
expect_eq "the copy" "$changed" "$(about copied)"
expect_ok "a move" move_object b one moved
expect_eq "the moved object" '["text/plain", "no-cache", {"k": "v", "n": [1, null]}]' "$(about moved)"

step "the dev server: the gateway's keys"
ask() { # CURL-OPTION...
    curl -sS -o /dev/null -w '%{http_code}' -X POST -H 'Content-Type: application/json' "$@" -d \
        '{"p_bucket": "b", "p_name": "none", "p_version": "x", "p_cache_control": null,
          "p_mimetype": null, "p_metadata": null}' "$SUPABASE_URL/rest/v1/rpc/supafs_set_attrs"
}
expect_eq "no key at all" 401 "$(ask)"
expect_eq "a token and no key" 401 "$(ask -H @<(echo "Authorization: Bearer $SUPABASE_ANON_KEY"))"
expect_eq "a secret key" 200 "$(ask -H @<(echo "apikey: $SUPABASE_SECRET_KEY"))"
expect_eq "a wrong one" 401 "$(ask -H 'apikey: sb_secret_of_another_project')"
set_faults '{"kind": "expired", "path": "/rest/v1/", "times": 1}'
expect_eq "a fault on this route" 401 "$(ask -H @<(echo "apikey: $SUPABASE_SECRET_KEY"))"

step "a writer at the same moment is waited for, and wins"
version=$(awk '$2 == "two" {print $3}' "$SF_TMP/objects")
pg -c "begin; update storage.objects set version = 'newer' where name = 'two';
    select 1; select pg_sleep(0.5); commit" >/dev/null &
writer=$!
# shellcheck disable=SC2317 # called by wait_for
writing() {
    [ "$(pg -c "select count(*) from pg_stat_activity where state = 'active'
        and query like '%pg_sleep(0.5)%' and pid <> pg_backend_pid()")" -gt 0 ]
}
wait_for 5 writing || fail "the writer does not come to its pause"
expect_eq "the answer" '{"updated": false, "version": "newer"}' \
    "$(pg -c "select public.supafs_set_attrs('b', 'two', '$version', 'lost', null, null)")"
wait "$writer"
expect_eq "the row" 'max-age=7' \
    "$(pg -c "select metadata->>'cacheControl' from storage.objects where name = 'two'")"

step "a project whose Storage keeps old versions has them in the same table"
pg -c "alter table storage.objects drop constraint objects_bucket_id_name_key,
        add archived_at timestamptz, add is_delete_marker boolean not null default false;
    insert into storage.objects (bucket_id, name, version, archived_at, is_delete_marker, metadata)
    values ('b', 'kept', 'old', now(), false, '{}'), ('b', 'kept', 'new', null, false, '{}'),
        ('b', 'gone', 'old', now(), false, '{}'), ('b', 'gone', 'marker', null, true, '{}')" ||
    fail "cannot make old versions"
set_cache() { # NAME VERSION
    pg -c "select public.supafs_set_attrs('b', '$1', '$2', 'no-store', null, null)"
}
expect_eq "an old version" '{"updated": false, "version": "new"}' "$(set_cache kept old)"
expect_match "the new one" '"updated": true, "version": "new"' "$(set_cache kept new)"
expect_eq "of one that is deleted" '{"updated": false, "version": null}' "$(set_cache gone old)"
expect_eq "what was changed" 'new|no-store' \
    "$(pg -c "select version, metadata->>'cacheControl' from storage.objects
        where metadata->>'cacheControl' = 'no-store'")"

step "without the function"
expect_ok "dropping it" pg -c \
    'drop function public.supafs_set_attrs(text, text, text, text, text, jsonb)' -c \
    "notify pgrst, 'reload schema'"
settings '{"rpc": false}'
rpc() { # URL
    sf_curl -X POST -w ' %{http_code}' -H 'Content-Type: application/json' -d '{"p_bucket": "b"}' \
        "$1/rpc/supafs_set_attrs"
}
# shellcheck disable=SC2317 # called by wait_for
gone() { [[ $(rpc "$SF_REST") == *404 ]]; }
wait_for 10 gone || fail "PostgREST still knows it"
expect_match "PostgREST's answer" '"code":"PGRST202".* 404$' "$(rpc "$SF_REST")"
expect_eq "the dev server's answer" "$(rpc "$SF_REST")" "$(rpc "$SUPABASE_URL/rest/v1")"
expect_eq "a table that is not there" 404 \
    "$(sf_curl -o /dev/null -w '%{http_code}' "$SUPABASE_URL/rest/v1/things")"
passed
