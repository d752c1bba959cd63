#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Who sees and changes what in the tables of contrib/sql, in a real PostgreSQL: the service, two users
# who try to read and forge each other's rows in every table, view and function, and nobody. And what
# the functions do when many call them at once, and when they get what they do not expect.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/js.sh"
. "$(dirname "$0")/../lib/postgres.sh"

need psql openssl curl
js_setup
SF_PG_CONNECTIONS=130 start_postgres
install_sql

A=00000000-0000-0000-0000-00000000000a
B=00000000-0000-0000-0000-00000000000b

# cases ROLE SUB: lines `WANTED => STATEMENT` from stdin, all in one session. What is wanted is the rows,
# joined by ';', or an SQLSTATE. @A and @B are the users, @0a1 is the id that ends so.
cases() {
    local role=$1 sub=$2 sql n=0 want=() text=() got=()
    while IFS= read -r sql; do
        [ -n "$sql" ] || continue
        sql=${sql//@A/$A}
        sql=${sql//@B/$B}
        sql=${sql//@/00000000-0000-0000-0000-000000000}
        want[n]=${sql%%=> *} text[n]=${sql#*=> }
        want[n]=${want[n]% }
        n=$((n + 1))
    done
    printf '\\echo #\n%s;\n' "${text[@]:0:n}" >"$SF_TMP/cases.sql"
    pg_as "$role" "$sub" -v ON_ERROR_STOP=0 -v VERBOSITY=sqlstate -f "$SF_TMP/cases.sql" 2>&1 |
        sed -E 's/^psql:[^ ]* ERROR:  //' >"$SF_TMP/cases.out"
    mapfile -t got < <(awk '/^#$/ {if (NR > 1) print line; line = ""; next}
        {line = line (line == "" ? "" : ";") $0} END {print line}' "$SF_TMP/cases.out")
    expect_eq "answers as $role $sub" "$n" "${#got[@]}"
    local i
    for ((i = 0; i < n; i++)); do
        expect_eq "$role ${sub##*0}: ${text[i]}" "${want[i]}" "${got[i]}"
    done
}

# all_of_a: every row that is A's, as the superuser sees it.
all_of_a() {
    pg -c "select 'file_metadata', to_jsonb(t) from public.file_metadata as t where owner_id = '$A'
        union all select 'file_id_mappings', to_jsonb(t) from public.file_id_mappings as t where owner_id = '$A'
        union all select 'provider_files', to_jsonb(t) from public.provider_files as t where owner_id = '$A'
        union all select 'file_operations', to_jsonb(t) from public.file_operations as t where owner_id = '$A'
        union all select 'supafs_batches', to_jsonb(t) from public.supafs_batches as t where owner_id = '$A'
        union all select 'conversations', to_jsonb(t) from public.conversations as t where owner_id = '$A'
        union all select 'error_reports', to_jsonb(t) from public.error_reports as t where owner_id = '$A'
        union all select 'messages', to_jsonb(t) from public.messages as t where id::text like '%0a8'
        union all select 'conversation_files', to_jsonb(t) from public.conversation_files as t
            where conversation_id::text like '%0a6' order by 1, 2"
}

tables='file_metadata file_id_mappings provider_files file_operations supafs_batches conversations
    messages conversation_files error_reports'

step "rows of A, of B and of the service"
# Ids end in a1, a2, ... for A, in b1, ... for B, in c1, ... for the service: a file, a batch, an
# operation, a mapping, a provider's file, a conversation, a report, a message.
pg -c "insert into storage.buckets (id, name) values ('b', 'b'), ('shared', 'shared');
    insert into storage.objects (id, bucket_id, name, version, owner_id, metadata)
    select ('00000000-0000-0000-0000-0000000000' || w || '1')::uuid, 'b', w || '/x', 'v', o,
        '{\"size\": 3, \"mimetype\": \"text/plain\"}'
      from (values ('a', '$A'), ('b', '$B'), ('c', null)) as t (w, o);
    insert into storage.objects (id, bucket_id, name, version, metadata)
    values ('00000000-0000-0000-0000-0000000000d1', 'shared', 'd', 'v', '{}');
    create policy see on storage.objects for select to authenticated
        using (bucket_id = 'shared' or owner_id = auth.uid()::text)" || fail "no objects"
for who in a b c; do
    role=authenticated sub=$A
    [ "$who" = a ] || sub=$B
    if [ "$who" = c ]; then role=service_role sub=''; fi
    pg_as "$role" "$sub" -c "select public.supafs_record('00000000-0000-0000-0000-0000000000${who}2',
        '[{\"file_id\": \"00000000-0000-0000-0000-0000000000${who}1\", \"bucket\": \"b\",
           \"key\": \"$who/x\", \"size\": 3, \"sha256\": \"$who$who\", \"version\": \"v\",
           \"tags\": [\"t\"]}]',
        '[{\"id\": \"00000000-0000-0000-0000-0000000000${who}3\", \"type\": \"upload\"}]', null);
        insert into public.file_id_mappings (id, supabase_file_id, provider, provider_file_id)
        values ('00000000-0000-0000-0000-0000000000${who}4',
            '00000000-0000-0000-0000-0000000000${who}1', 'kimi', 'k-$who');
        insert into public.provider_files (id, sha256, provider, account, purpose)
        values ('00000000-0000-0000-0000-0000000000${who}5', repeat('a', 64), 'kimi', 'x', 'y');
        insert into public.supafs_conversations (id, continuation_id)
        values ('00000000-0000-0000-0000-0000000000${who}6', 'c-$who');
        insert into public.error_reports (id, fingerprint)
        values ('00000000-0000-0000-0000-0000000000${who}7', 'e');
        insert into public.supafs_messages (id, conversation_id, role, content)
        values ('00000000-0000-0000-0000-0000000000${who}8',
            '00000000-0000-0000-0000-0000000000${who}6', 'user', 'of $who');
        insert into public.conversation_files (conversation_id, file_id)
        values ('00000000-0000-0000-0000-0000000000${who}6',
            '00000000-0000-0000-0000-0000000000${who}1')" >/dev/null || fail "no rows of $who"
done
pg_as authenticated "$A" -c "select public.supafs_record(gen_random_uuid(),
    '[{\"file_id\": \"00000000-0000-0000-0000-0000000000d1\", \"bucket\": \"shared\", \"key\": \"d\",
       \"sha256\": \"dd\", \"version\": \"v\", \"tags\": [\"t\"]}]', null, null)" >/dev/null ||
    fail "no row of the shared file"
all_of_a >"$SF_TMP/before"
expect_eq "rows of A" 11 "$(wc -l <"$SF_TMP/before")"

step "nobody"
for t in $tables supafs_conversations supafs_messages; do
    printf '42501 => select * from public.%s\n42501 => insert into public.%s default values\n' "$t" "$t"
    printf '42501 => delete from public.%s\n42501 => truncate public.%s\n' "$t" "$t"
done >"$SF_TMP/nobody"
cat >>"$SF_TMP/nobody" <<'END'
42501 => select public.supafs_about()
42501 => select public.supafs_record(gen_random_uuid(), null, null, null)
42501 => select * from public.supafs_list_dir('b', '', null, 10)
42501 => select public.supafs_map_id('f', 'kimi', null)
42501 => select * from public.supafs_find('{}')
42501 => select public.supafs_provider_claim('{}')
42501 => select public.supafs_provider_settle('{}')
42501 => select public.supafs_provider_drop('{}')
42501 => select public.supafs_provider_note(null, '', '')
42501 => select public.supafs_chat_find('{"id": "c-a"}')
42501 => select public.supafs_chat_turns('{"id": "c-a"}')
42501 => select public.supafs_chat_begin('{}')
42501 => select public.supafs_chat_lease('{}')
42501 => select public.supafs_chat_end('{}')
42501 => select public.supafs_chat_close('{"id": "c-a"}')
42501 => select public.supafs_chat_rows('c-a', null, null, 1)
END
# A view cannot be truncated by anybody.
sed -i '/truncate public.supafs_\(conv\|mess\)/d' "$SF_TMP/nobody"
cases anon '' <"$SF_TMP/nobody"
cases anon "$A" <"$SF_TMP/nobody"

step "a user's token without a user"
for t in $tables supafs_conversations supafs_messages; do
    echo "0 => select count(*) from public.$t"
done | cases authenticated ''
cases authenticated '' <<'END'
42501 => select public.supafs_record(gen_random_uuid(), null, null, null)
42501 => insert into public.supafs_conversations (continuation_id) values ('none')
42501 => select public.supafs_map_id('f', 'kimi', 'k')
0 => select count(*) from public.supafs_find('{"bucket": "b"}')
END

step "B reads"
for t in $tables supafs_conversations supafs_messages; do
    echo "1 => select count(*) from public.$t"
    echo "0 => select count(*) from public.$t as t where to_jsonb(t)::text like '%0a_\"%' or to_jsonb(t)::text like '%0c_\"%'"
done | cases authenticated "$B"
cases authenticated "$B" <<'END'
b/x|bb => select key, sha256 from public.supafs_list_dir('b', 'b/', null, 10)
=> select key from public.supafs_list_dir('b', 'a/', null, 10)
d||0 => select key, sha256, access_count from public.supafs_list_dir('shared', '', null, 10)
b/x|{t};d| => select key, tags from public.supafs_find('{}')
b/x => select key from public.supafs_find('{"tag": "t"}')
=> select key from public.supafs_find('{"sha256": "dd"}')
=> select key from public.supafs_find('{"provider_file_id": "k-a"}')
b/x => select key from public.supafs_find('{"provider": "kimi"}')
{"stored": false, "provider_file_id": null} => select public.supafs_map_id('@0a1', 'kimi', null)
42501 => select * from public.schema_version
42501 => update public.schema_version set version = 1
42501 => truncate public.file_metadata
END

step "B forges"
for t in file_metadata file_id_mappings provider_files file_operations supafs_batches conversations \
    error_reports; do
    echo "1 => with x as (update public.$t set owner_id = '@B' returning 1) select count(*) from x"
    echo "42501 => update public.$t set owner_id = '@A'"
    echo "42501 => update public.$t set owner_id = null"
done | cases authenticated "$B"
cases authenticated "$B" <<'END'
42501 => insert into public.file_metadata (owner_id) values ('@A')
42501 => insert into public.file_metadata (owner_id) values (null)
42501 => insert into public.file_metadata (file_id) values ('@0a1') on conflict (file_id) do update set tags = '{forged}'
42501 => insert into public.file_metadata (file_id) values ('@0c1') on conflict (file_id) do update set owner_id = '@B'
0 => with x as (update public.file_metadata set tags = '{forged}' where file_id = '@0a1' returning 1) select count(*) from x
0 => with x as (delete from public.file_metadata where file_id in ('@0a1', '@0c1', '@0d1') returning 1) select count(*) from x
42501 => insert into public.file_id_mappings (supabase_file_id, provider, provider_file_id, owner_id) values ('f', 'p', 'i', '@A')
42501 => insert into public.file_id_mappings (id, supabase_file_id, provider, provider_file_id) values ('@0a4', 'f', 'p', 'i') on conflict (id) do update set provider_file_id = 'forged'
42501 => insert into public.file_id_mappings (supabase_file_id, provider, provider_file_id) values ('@0a1', 'kimi', 'i') on conflict (supabase_file_id, provider) do update set provider_file_id = 'forged'
0 => with x as (delete from public.file_id_mappings where id = '@0a4' returning 1) select count(*) from x
42501 => insert into public.provider_files (sha256, provider, account, purpose, owner_id) values (repeat('b', 64), 'p', 'x', 'y', '@A')
42501 => insert into public.provider_files (id, sha256, provider, account, purpose) values ('@0a5', repeat('b', 64), 'p', 'x', 'y') on conflict (id) do update set state = 'forged'
0 => with x as (update public.provider_files set lease_by = 'forged' where id <> '@0b5' returning 1) select count(*) from x
42501 => insert into public.file_operations (operation_type, owner_id) values ('forged', '@A')
42501 => insert into public.file_operations (id, status) values ('@0a3', 'forged') on conflict (id) do update set status = 'forged'
0 => with x as (delete from public.file_operations where id <> '@0b3' returning 1) select count(*) from x
42501 => insert into public.supafs_batches (batch_id, owner_id) values (gen_random_uuid(), '@A')
0 => with x as (delete from public.supafs_batches where batch_id <> '@0b2' returning 1) select count(*) from x
42501 => insert into public.conversations (continuation_id, owner_id) values ('n', '@A')
42501 => insert into public.supafs_conversations (id, continuation_id) values ('@0a6', 'n') on conflict (id) do update set title = 'forged'
42501 => insert into public.supafs_conversations (continuation_id) values ('c-a') on conflict (continuation_id) do update set title = 'forged'
0 => with x as (update public.supafs_conversations set title = 'forged' where continuation_id <> 'c-b' returning 1) select count(*) from x
0 => with x as (delete from public.supafs_conversations where continuation_id <> 'c-b' returning 1) select count(*) from x
42501 => insert into public.messages (conversation_id, role, content) values ('@0a6', 'assistant', 'forged')
42501 => insert into public.supafs_messages (conversation_id, role, content) values ('@0a6', 'assistant', 'forged')
42501 => insert into public.supafs_messages (conversation_id, role, content) values ('@0c6', 'assistant', 'forged')
42501 => insert into public.supafs_messages (conversation_id, role, content) values ('@0f6', 'assistant', 'of none')
42501 => update public.supafs_messages set conversation_id = '@0a6'
42501 => insert into public.supafs_messages (id, conversation_id, role) values ('@0a8', '@0b6', 'user') on conflict (id) do update set content = 'forged'
0 => with x as (delete from public.supafs_messages where id <> '@0b8' returning 1) select count(*) from x
23514 => insert into public.supafs_messages (conversation_id, role) values ('@0b6', 'tool')
42501 => insert into public.conversation_files (conversation_id, file_id) values ('@0a6', '@0b1')
42501 => update public.conversation_files set conversation_id = '@0a6'
42501 => insert into public.conversation_files values ('@0a6', '@0a1') on conflict (conversation_id, file_id) do update set attached_at = '2000-01-01'
0 => with x as (delete from public.conversation_files where conversation_id <> '@0b6' returning 1) select count(*) from x
42501 => insert into public.error_reports (fingerprint, owner_id) values ('n', '@A')
42501 => insert into public.error_reports (id, fingerprint) values ('@0a7', 'n') on conflict (id) do update set diagnosis = 'forged'
0 => with x as (delete from public.error_reports where id <> '@0b7' returning 1) select count(*) from x
42501 => create table public.forged ()
42501 => create policy forged on public.file_metadata using (true)
END

step "B forges by the arguments of functions"
cases authenticated "$B" <<'END'
{"refused": 1, "recorded": true} => select public.supafs_record('@1b1', '[{"file_id": "@0a1", "bucket": "b", "key": "a/x", "tags": ["forged"]}]', null, null)
{"refused": 0, "recorded": true} => select public.supafs_record('@1b2', '[{"file_id": "@0a1", "removed": true}, {"file_id": "@0c1", "removed": true}]', null, '[{"file_id": "@0a1", "n": 7, "last": "2030-01-01"}]')
{"refused": 0, "recorded": true} => select public.supafs_record('@1b3', null, '[{"id": "@0a3", "type": "forged", "owner_id": "@A"}]', null)
{"refused": 0, "recorded": true} => select public.supafs_record('@1b4', '[{"file_id": "@1f1", "bucket": "b", "key": "a/x", "owner_id": "@A", "sha256": "bb", "version": "v"}]', null, null)
@B => select owner_id from public.file_metadata where file_id = '@1f1'
{"recorded": false} => select public.supafs_record('@0a2', '[{"file_id": "@0b1", "tags": ["lost"]}]', null, null)
{t} => select tags from public.file_metadata where file_id = '@0b1'
{"stored": false, "provider_file_id": null} => select public.supafs_map_id('@0a1', 'kimi', 'forged')
{"stored": false, "provider_file_id": null} => select public.supafs_map_id('f-new', 'kimi', 'k-a')
{"stored": true, "provider_file_id": "k-a"} => select public.supafs_map_id('f-new', 'glm', 'k-a')
=> select key from public.supafs_find('{"bucket": "b", "prefix": "a/"}')
23505 => select public.supafs_chat_begin('{"id": "c-a", "message": "@1f8", "content": "forged", "holder": "B", "lease_s": 9}')
23505 => select public.supafs_chat_begin('{"id": "c-c", "message": "@1f8", "content": "forged", "holder": "B"}')
23503 => select public.supafs_chat_end('{"id": "c-a", "to": "@0a8", "message": "@1f8", "content": "forged", "holder": "B"}')
23503 => select public.supafs_chat_end('{"id": "c-b", "to": "@0a8", "message": "@1f8", "content": "forged", "holder": "B"}')
{"held": false} => select public.supafs_chat_lease('{"id": "c-a", "holder": "", "lease_s": 0}'::jsonb || '{"holder": "A"}')
{"closed": false} => select public.supafs_chat_close('{"id": "c-a"}')
{"conversation": null} => select public.supafs_chat_find('{"stem": "c"}')
0 => select json_array_length(public.supafs_chat_turns('{"id": "c-a"}') -> 'turns')
1 => select json_array_length(public.supafs_chat_turns('{"id": "c-b"}') -> 'turns')
 => select key from public.supafs_find('{"name": "*'' or true --", "tag": "t}'' or true --"}')
END
all_of_a >"$SF_TMP/after"
expect_same_file "what A has" "$SF_TMP/before" "$SF_TMP/after"

step "the service"
for t in file_id_mappings:4 provider_files:3 file_operations:3 conversations:3 messages:3 \
    conversation_files:3 error_reports:3 supafs_conversations:3 supafs_messages:3 file_metadata:5; do
    echo "${t#*:} => select count(*) from public.${t%:*}"
done | cases service_role ''
cases service_role '' <<'END'
{"refused": 0, "recorded": true} => select public.supafs_record('@1c1', '[{"file_id": "@0d1", "bucket": "shared", "key": "d", "tags": ["s"]}]', null, '[{"file_id": "@0d1", "n": 2, "last": "2026-01-01T00:00:00Z"}, {"file_id": "@0d1", "n": 1, "last": "2025-01-01T00:00:00Z"}, {"file_id": "@1f9", "n": 1}]')
@A|{s}|dd|3|2026-01-01 00:00:00+00 => select owner_id, tags, file_hash, access_count, last_accessed from public.file_metadata where file_id = '@0d1'
d|dd|{s}|3 => select key, sha256, tags, access_count from public.supafs_list_dir('shared', '', null, 10)
{"refused": 0, "recorded": true} => select public.supafs_record('@1c2', '[{"file_id": "@1f2", "bucket": "shared", "key": "d", "version": "v2"}]', null, null)
@1f2 => select file_id from public.file_metadata where bucket_id = 'shared'
{"refused": 0, "recorded": true} => select public.supafs_record('@1c3', '[{"file_id": "@1f2", "removed": true}]', null, null)
0 => select count(*) from public.file_metadata where bucket_id = 'shared'
END

step "what is of the wrong shape changes nothing"
good='{"file_id": "@0c1", "tags": ["half"]}'
wrong() { # LIST ENTRIES
    local lists=("'[$good]'" null null)
    lists[$1]="'$2'"
    echo "22023 => select public.supafs_record('@2c1', $(IFS=,; echo "${lists[*]}"))"
}
{
    for list in 0 1 2; do
        for entries in '{}' 7 '"x"' '[7]' '[[]]' '[null]' '[{}]' '[{"id": "x", "file_id": "x"}]' true; do
            wrong "$list" "$entries"
        done
    done
    for member in '"size": "3"' '"size": 1.5' '"size": -1' '"size": 1e30' '"tags": "t"' '"tags": [["t"]]' \
        '"tags": [1]' '"tags": {}' '"key": {}' '"key": ["a"]' '"name": 7' '"removed": "yes"' \
        '"uploaded_at": "some day"' '"uploaded_at": 7' '"version": true'; do
        wrong 0 "[$good, {\"file_id\": \"@0c1\", $member}]"
    done
    for member in '"metadata": []' '"metadata": "x"' '"created_at": "x"' '"completed_at": {}' \
        '"type": 7' '"file_id": 7'; do
        wrong 1 "[{\"id\": \"@2c2\"}, {\"id\": \"@2c3\", $member}]"
    done
    for member in '"n": -1' '"n": "1"' '"n": 1.5' '"n": null' '"n": 1, "last": "x"' '"n": 1, "last": 7'; do
        wrong 2 "[{\"file_id\": \"@0c1\", \"n\": 1}, {\"file_id\": \"@0c1\", $member}]"
    done
    cat <<'END'
22023 => select public.supafs_record(null, null, null, null)
22023 => select public.supafs_list_dir(null, '', null, 1)
22023 => select public.supafs_list_dir('b', '', null, 0)
22023 => select public.supafs_list_dir('b', '', null, null)
22023 => select public.supafs_map_id(null, 'kimi', 'x')
22023 => select public.supafs_map_id('f', null, 'x')
22023 => select public.supafs_find(null)
22023 => select public.supafs_find('[]')
22023 => select public.supafs_find('{"limit": 0}')
22023 => select public.supafs_find('{"limit": "1"}')
22023 => select public.supafs_find('{"min_size": "1"}')
22023 => select public.supafs_find('{"newer": "x"}')
22023 => select public.supafs_find('{"name": ["x"]}')
22023 => select public.supafs_find('{"name": "[z-a]"}')
22023 => select public.supafs_find('{"tag": {}}')
{t}|0 => select tags, access_count from public.file_metadata where file_id = '@0c1'
0 => select count(*) from public.file_operations where id in ('@2c2', '@2c3')
{"refused": 0, "recorded": true} => select public.supafs_record('@2c1', '[{"file_id": "@0c1", "more": {}, "tags": null}]', '[]', null)
{t} => select tags from public.file_metadata where file_id = '@0c1'
END
} | cases service_role ''

step "a listing and a search"
pg -c "insert into storage.buckets (id, name) values ('l', 'l');
    insert into storage.objects (bucket_id, name, version, metadata, updated_at)
    select 'l', n, 'v', jsonb_build_object('size', s, 'mimetype', m, 'eTag', 'e', 'cacheControl', 'cc'),
        '2026-01-01'
      from (values ('d_/a.txt', 1, 'text/plain'), ('d_/B.txt', 2, 'text/css'), ('d_/s/x', 3, 'image/png'),
                   ('dx/n', 4, 'image/png'), ('d_/[b].txt', 5, 'text/plain'), ('d_/a\\b', 6, null),
                   ('d_/a+b', 7, null), ('d_/%', 8, null)) as t (n, s, m)" || fail "no objects"
cases service_role '' <<'END'
d_/%;d_/B.txt;d_/[b].txt;d_/a+b;d_/a.txt;d_/a\b => select key from public.supafs_list_dir('l', 'd_/', null, 100)
d_/a+b;d_/a.txt => select key from public.supafs_list_dir('l', 'd_/', 'd_/[b].txt', 2)
v|e|1|text/plain|cc|2026-01-01 00:00:00+00 => select version, etag, size, mime, cache_control, updated_at from public.supafs_list_dir('l', 'd_/', 'd_/a+b', 1)
=> select key from public.supafs_list_dir('l', 'd%/', null, 100)
=> select key from public.supafs_list_dir('l', '', null, 100)
d_/B.txt;d_/[b].txt;d_/a.txt => select key from public.supafs_find('{"bucket": "l", "name": "*.txt"}')
d_/[b].txt => select key from public.supafs_find('{"bucket": "l", "name": "[[]b].txt"}')
d_/B.txt;d_/a.txt => select key from public.supafs_find('{"bucket": "l", "name": "?.txt"}')
d_/B.txt => select key from public.supafs_find('{"bucket": "l", "name": "[A-C].txt"}')
d_/a.txt => select key from public.supafs_find('{"bucket": "l", "name": "[!A-C].txt"}')
d_/a\b => select key from public.supafs_find('{"bucket": "l", "name": "a\\b"}')
d_/a+b;d_/a\b => select key from public.supafs_find('{"bucket": "l", "name": "a[+\\]b"}')
d_/a+b => select key from public.supafs_find('{"bucket": "l", "name": "a+b"}')
d_/% => select key from public.supafs_find('{"bucket": "l", "prefix": "d_/%"}')
dx/n => select key from public.supafs_find('{"bucket": "l", "type": "image/*", "min_size": 4, "max_size": 4}')
d_/B.txt;d_/a.txt => select key from public.supafs_find('{"bucket": "l", "type": "text/*", "max_size": 2, "newer": "2025-12-31", "older": "2026-01-02T00:00:00Z"}')
0 => select count(*) from public.supafs_find('{"bucket": "l", "newer": "2026-01-02"}')
d_/a.txt;d_/a\b => select key from public.supafs_find('{"after_bucket": "l", "after_key": "d_/a+b", "limit": 2}')
END
pg -c "insert into storage.buckets (id, name) values ('p', 'p'); insert into storage.objects (bucket_id, name)
    select 'p', n from unnest('{a,a!/x,a/b,a/b/c,b,b/,c,c0,%,%/x}'::text[]) as t (n)" || fail "no objects"
cases service_role '' <<'END'
%;a;a/b;b => select key from public.supafs_find('{"bucket": "p"}') where is_prefix
%/x;a!/x;a/b/c;b/;c;c0 => select key from public.supafs_find('{"bucket": "p"}') where not is_prefix
END

step "a hash without a version"
pg -c "insert into storage.objects (id, bucket_id, name, version, metadata)
    values ('00000000-0000-0000-0000-0000000005f1', 'l', 'h/x', 'v', '{\"eTag\": \"e1\"}')" ||
    fail "no object"
cases service_role '' <<'END'
{"refused": 0, "recorded": true} => select public.supafs_record('@5c1', '[{"file_id": "@5f1", "bucket": "l", "key": "h/x", "sha256": "h1", "etag": "e1"}]', null, null)
h/x|h1 => select key, sha256 from public.supafs_list_dir('l', 'h/', null, 9)
{"refused": 0, "recorded": true} => select public.supafs_record('@5c2', '[{"file_id": "@5f1", "tags": ["t"]}]', null, null)
h1|v|{t} => select file_hash, version, tags from public.file_metadata where file_id = '@5f1'
{"refused": 0, "recorded": true} => select public.supafs_record('@5c3', '[{"file_id": "@5f1", "sha256": "h2", "etag": "e2"}]', null, null)
h/x| => select key, sha256 from public.supafs_list_dir('l', 'h/', null, 9)
h2| => select file_hash, version from public.file_metadata where file_id = '@5f1'
END

step "the same where Storage keeps old versions in the same table"
pg -c "alter table storage.objects drop constraint objects_bucket_id_name_key,
        add archived_at timestamptz, add is_delete_marker boolean not null default false;
    insert into storage.objects (bucket_id, name, version, archived_at, is_delete_marker, metadata)
    values ('l', 'dx/n', 'old', now(), false, '{}'), ('l', 'dx/gone', 'old', now(), false, '{}'),
        ('l', 'dx/gone', 'marker', null, true, '{}')" || fail "cannot make old versions"
cases service_role '' <<'END'
dx/n|v => select key, version from public.supafs_list_dir('l', 'dx/', null, 100)
dx/n|4 => select key, size from public.supafs_find('{"bucket": "l", "prefix": "dx/"}')
END

step "many at the same time"
# at_once COUNT GATE STATEMENT: the answers of the service's calls, counted. GATE is done and not
# committed, so that all calls come as far as what it is in the way of; then it is undone.
at_once() {
    local i gate pids=()
    pg -c "begin; $2; select pg_sleep(300)" >/dev/null 2>&1 &
    gate=$!
    wait_for 20 gate_is_shut || fail "no gate"
    for ((i = 1; i <= $1; i++)); do
        pg_as service_role '' -v n="$i" -f <(echo "$3;") >"$SF_TMP/once.$i" 2>&1 &
        pids+=($!)
    done
    wait_for 120 waiting "$1" || fail "they do not come"
    pg -c "select pg_terminate_backend(pid) from pg_stat_activity where wait_event = 'PgSleep'" >/dev/null
    wait "$gate" "${pids[@]}"
    for ((i = 1; i <= $1; i++)); do cat "$SF_TMP/once.$i"; done | sort | uniq -c | sort -n
}
# shellcheck disable=SC2317 # called by wait_for
gate_is_shut() { [ "$(pg -c "select count(*) from pg_stat_activity where wait_event = 'PgSleep'")" = 1 ]; }
# shellcheck disable=SC2317 # called by wait_for
waiting() {
    [ "$(pg -c "select count(*) from pg_stat_activity where usename = 'authenticator'
        and wait_event_type = 'Lock'")" = "$1" ]
}

at_once 100 "insert into public.file_id_mappings (supabase_file_id, provider, provider_file_id)
    values ('f-many', 'kimi', 'gate')" "select public.supafs_map_id('f-many', 'kimi', 'k-' || :'n')" >"$SF_TMP/many"
expect_eq "two answers of 100" 2 "$(wc -l <"$SF_TMP/many")"
one=$(pg -c "select provider_file_id from public.file_id_mappings where supabase_file_id = 'f-many'")
expect_eq "the one who stored" "1 {\"stored\": true, \"provider_file_id\": \"$one\"}" \
    "$(head -n 1 "$SF_TMP/many" | sed 's/^ *//')"
expect_eq "all others" "99 {\"stored\": false, \"provider_file_id\": \"$one\"}" \
    "$(tail -n 1 "$SF_TMP/many" | sed 's/^ *//')"

at_once 10 "insert into public.supafs_batches values ('00000000-0000-0000-0000-0000000003c1')" "select public.supafs_record('00000000-0000-0000-0000-0000000003c1',
    '[{\"file_id\": \"00000000-0000-0000-0000-0000000003f1\", \"bucket\": \"l\", \"key\": \"once\"}]',
    '[{\"id\": \"00000000-0000-0000-0000-0000000003d1\", \"type\": \"upload\"}]',
    '[{\"file_id\": \"00000000-0000-0000-0000-0000000003f1\", \"n\": 1}]')" >"$SF_TMP/many"
expect_eq "one of the same batch" '      1 {"refused": 0, "recorded": true}
      9 {"recorded": false}' "$(cat "$SF_TMP/many")"
expect_eq "what it did" '1|1' "$(pg -c "select access_count, (select count(*) from public.file_operations
    where id::text like '%3d1') from public.file_metadata where file_id::text like '%3f1'")"

# Batches about the same two files, in both orders.
at_once 20 "update public.file_metadata set tags = null
    where file_id = '00000000-0000-0000-0000-0000000000b1'" "select public.supafs_record(gen_random_uuid(), null, null,
    (select jsonb_agg(jsonb_build_object('file_id', '00000000-0000-0000-0000-0000000000' || w || '1',
        'n', 1) order by case when :n % 2 = 0 then w end, w desc) from unnest('{a,b}'::text[]) as w))" \
    >"$SF_TMP/many"
expect_eq "none stops another" '     20 {"refused": 0, "recorded": true}' "$(cat "$SF_TMP/many")"
expect_eq "all are counted" '20;20' "$(pg -c "select access_count from public.file_metadata
    where file_id::text like '%0a1' or file_id::text like '%0b1'" | paste -sd ';')"

step "a provider's files"
# claim WANTED FUNCTION N MEMBERS: a case about content N.
claim() { echo "$1 => select public.supafs_provider_$2('{\"sha256\": \"$(printf '%064d' "$3")\", \"provider\": \"kimi\", \"account\": \"acc\", \"purpose\": \"p\", $4}')"; }
busy='"state": "busy"'
{
    claim '{"state": "claimed"}' claim 1 '"holder": "one", "lease_s": 60, "bytes": 7'
    claim '{"state": "claimed"}' claim 1 '"holder": "one", "lease_s": 60'
    echo "t => select (public.supafs_provider_claim('{\"sha256\": \"$(printf '%064d' 1)\", \"provider\": \"kimi\", \"account\": \"acc\", \"purpose\": \"p\", \"holder\": \"two\", \"lease_s\": 60}'))::text ~ '$busy'"
    claim '{"settled": false, "provider_file_id": null}' settle 1 '"holder": "two", "provider_file_id": "k-two"'
    claim '{"settled": true}' settle 1 '"holder": "one", "provider_file_id": "k-one", "file_id": "@0b1"'
    claim '{"settled": false, "provider_file_id": "k-one"}' settle 1 '"holder": "one", "provider_file_id": "k-again"'
    claim '{"bytes": 7, "state": "ready", "expires_at": null, "provider_file_id": "k-one"}' claim 1 '"holder": "two", "lease_s": 60'
    echo '{"kimi": "k-one"}|k-one => select provider_file_ids, (select provider_file_id from public.file_id_mappings where supabase_file_id = m.file_id::text) from public.file_metadata as m where file_id = '"'@0b1'"
    claim '{"state": "claimed"}' claim 2 '"holder": "one", "lease_s": 60'
    claim '{"settled": true}' settle 2 '"holder": "one", "error": "no"'
    echo "failed|no| => select state, error, lease_by from public.provider_files where sha256 = '$(printf '%064d' 2)'"
    claim '{"state": "claimed"}' claim 2 '"holder": "two", "lease_s": 60'
    # Its lease runs out.
    echo "=> update public.provider_files set lease_until = now() - interval '1 second' where sha256 = '$(printf '%064d' 2)'"
    claim '{"state": "claimed"}' claim 2 '"holder": "three", "lease_s": 60'
    claim '{"settled": false, "provider_file_id": null}' settle 2 '"holder": "two", "provider_file_id": "k-late"'
    claim '{"settled": true}' settle 2 '"holder": "three", "provider_file_id": "k-three", "expires_at": "2020-01-01T00:00:00Z"'
    # And so does what it uploaded.
    claim '{"state": "claimed"}' claim 2 '"holder": "four", "lease_s": 60'
    # Two objects of one content: one mapping, both rows. A's files are not touched.
    claim '{"state": "claimed"}' claim 3 '"holder": "one", "lease_s": 60'
    claim '{"settled": true}' settle 3 '"holder": "one", "provider_file_id": "k-3", "file_id": "@0b1"'
    claim '{"bytes": null, "state": "ready", "expires_at": null, "provider_file_id": "k-3"}' claim 3 '"holder": "x", "lease_s": 1, "file_id": "@0a1"'
    echo '{"kimi": "k-3"}|k-3 => select provider_file_ids, (select provider_file_id from public.file_id_mappings where supabase_file_id = m.file_id::text) from public.file_metadata as m where file_id = '"'@0b1'"
    echo '{"dropped": 1} => select public.supafs_provider_drop('"'"'{"provider": "kimi", "provider_file_id": "k-3"}'"')"
    echo '{}|0 => select provider_file_ids, (select count(*) from public.file_id_mappings where supabase_file_id = m.file_id::text) from public.file_metadata as m where file_id = '"'@0b1'"
    echo '{"dropped": 0} => select public.supafs_provider_drop('"'"'{"provider": "kimi", "provider_file_id": "k-a"}'"')"
    claim 22023 claim 4 '"holder": "one"'
    claim 22023 claim 4 '"holder": "one", "lease_s": 0'
    claim 22023 claim 4 '"holder": "one", "lease_s": 1e9'
    claim 22023 claim 4 '"holder": "one", "lease_s": "1"'
    claim 22023 claim 4 '"holder": "", "lease_s": 1'
    claim 22023 claim 4 '"holder": "one", "lease_s": 1, "file_id": "x"'
    claim 22023 claim 4 '"holder": "one", "lease_s": 1, "bytes": -1'
    claim 22023 settle 4 '"holder": "one"'
    claim 22023 settle 4 '"holder": "one", "provider_file_id": "x", "error": "y"'
    claim 22023 settle 4 '"holder": "one", "provider_file_id": "x", "expires_at": "some day"'
    echo "22023 => select public.supafs_provider_claim(null)"
    echo "22023 => select public.supafs_provider_settle('[]')"
    echo "22023 => select public.supafs_provider_drop('{\"provider\": \"kimi\"}')"
    echo "0 => select count(*) from public.provider_files where sha256 = '$(printf '%064d' 4)'"
} >"$SF_TMP/provider"
cases authenticated "$B" <"$SF_TMP/provider"
# The others see nothing of B's, and have the same contents for themselves.
{
    claim '{"state": "claimed"}' claim 1 '"holder": "one", "lease_s": 60'
    claim '{"settled": false, "provider_file_id": null}' settle 2 '"holder": "four", "provider_file_id": "forged"'
    echo '{"dropped": 0} => select public.supafs_provider_drop('"'"'{"provider": "kimi", "provider_file_id": "k-one"}'"')"
} >"$SF_TMP/provider"
cases authenticated "$A" <"$SF_TMP/provider"
sed -i 's/.*"dropped".*/1 => select count(*) from public.provider_files where provider_file_id = '"'k-one'"'/' "$SF_TMP/provider"
cases service_role '' <"$SF_TMP/provider"
sed 's/.* => /42501 => /' "$SF_TMP/provider" | cases anon ''
sed 's/^{"state": "claimed"}/42501/; s/^1 /0 /' "$SF_TMP/provider" | cases authenticated ''

at_once 100 "insert into public.provider_files (sha256, provider, account, purpose)
    values (repeat('f', 64), 'kimi', 'acc', 'p')" "select public.supafs_provider_claim(jsonb_build_object(
        'sha256', repeat('f', 64), 'provider', 'kimi', 'account', 'acc', 'purpose', 'p', 'holder', 'n-' || :'n',
        'lease_s', 600)) - 'until'" >"$SF_TMP/many"
expect_eq "one claim of 100" '      1 {"state": "claimed"}
     99 {"state": "busy"}' "$(cat "$SF_TMP/many")"

step "by PostgREST"
SUPABASE_JWT_SECRET=$(openssl rand -hex 32)
export SUPABASE_JWT_SECRET
start_postgrest
rest() { # WHO METHOD PATH [JSON] [PREFER]: status and body
    local header=()
    [ "$1" = anon ] || header=(-H "Authorization: Bearer $(make_token authenticated 4102444800 "sub=$1")")
    curl -sS -o "$SF_TMP/body" -w '%{http_code} ' -X "$2" "${header[@]}" \
        -H 'Content-Type: application/json' ${5:+-H "Prefer: $5"} ${4:+-d "$4"} "$SF_REST/$3"
    cat "$SF_TMP/body"
}
expect_match "about" '^200 .*"role": *"authenticated"' "$(rest "$B" POST rpc/supafs_about '{}')"
expect_match "about for nobody" '^401 .*"42501"' "$(rest anon POST rpc/supafs_about '{}')"
expect_match "a view for nobody" '^401 .*"42501"' "$(rest anon GET supafs_conversations)"
expect_eq "B's conversations" '200 [{"continuation_id":"c-b"}]' \
    "$(rest "$B" GET 'supafs_conversations?select=continuation_id')"
expect_match "a message to A" '^403 .*"42501"' "$(rest "$B" POST supafs_messages \
    '{"conversation_id": "00000000-0000-0000-0000-0000000000a6", "role": "user", "content": "forged"}')"
expect_match "A's file by upsert" '^403 .*"42501"' "$(rest "$B" POST 'file_metadata?on_conflict=file_id' \
    '[{"file_id": "00000000-0000-0000-0000-0000000000a1", "tags": ["forged"]}]' resolution=merge-duplicates)"
expect_match "a row in A's name" '^403 .*"42501"' "$(rest "$B" POST error_reports \
    "{\"fingerprint\": \"x\", \"owner_id\": \"$A\"}")"
expect_match "a conversation by upsert" '^201 .*"continuation_id":"rest"' "$(rest "$B" POST \
    'supafs_conversations?select=continuation_id' '{"continuation_id": "rest"}' return=representation)"
expect_match "a batch" '^200 .*"recorded": *true' "$(rest "$B" POST rpc/supafs_record '{"p_batch":
    "00000000-0000-0000-0000-0000000004b1", "p_files": null, "p_operations": [], "p_accesses": null}')"
expect_match "the wrong shape" '^400 .*"22023"' "$(rest "$B" POST rpc/supafs_record '{"p_batch":
    "00000000-0000-0000-0000-0000000004b2", "p_files": 7, "p_operations": [], "p_accesses": null}')"
expect_eq "a search" '200 [{"key":"b/x"}]' \
    "$(rest "$B" POST 'rpc/supafs_find?select=key' '{"p": {"bucket": "b"}}')"

passed
