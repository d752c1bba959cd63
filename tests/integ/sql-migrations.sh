#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# contrib/sql in a real PostgreSQL, as a project's owner runs it: in an empty project, again, on top of
# each earlier version with rows in it, over the tables of the system that supafs replaces, and beside
# tables of the same names that are something else. What was there stays as it was.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/postgres.sh"

need psql
start_postgres
all=(001-attributes 002-files 003-conversations 004-errors 005-functions 006-provider-files 007-chat)

dump() { # all of it, but for what differs between two runs
    "$SF_PG_BIN/pg_dump" -h "$SF_PG_DIR" -U supabase_admin -d "$SF_PG_DB" |
        grep -vE '^\\(un)?restrict '
}

versions() { pg -c "select string_agg(version || name, ' ' order by version) from public.$1
    where component = 'supafs'"; }

# as_service and as_a: one statement, in the roles of tokens.
as_service() { pg_as service_role '' -c "$1"; }
as_a() { pg_as authenticated 00000000-0000-0000-0000-00000000000a -c "$1"; }

# fill: a row in each table of ours that is there.
fill() {
    pg_owner -c "do \$\$
        declare
            f uuid := '00000000-0000-0000-0000-0000000000f1';
            c uuid := '00000000-0000-0000-0000-0000000000c1';
            a uuid := '00000000-0000-0000-0000-00000000000a';
        begin
            if to_regclass('public.file_metadata') is not null then
                insert into public.file_metadata (file_id, original_filename, bucket_id, object_key,
                    owner_id) values (f, 'n', 'b', 'k', a);
                insert into public.file_id_mappings (supabase_file_id, provider, provider_file_id)
                    values (f, 'kimi', 'k');
                insert into public.provider_files (sha256, provider, account, purpose)
                    values (repeat('0', 64), 'kimi', 'x', 'y');
                insert into public.file_operations (file_id, operation_type) values (f, 'upload');
                insert into public.supafs_batches (batch_id) values (c);
            end if;
            if to_regclass('public.conversations') is not null then
                insert into public.conversations (id, continuation_id, owner_id) values (c, 'c', a);
                insert into public.messages (conversation_id, role, content) values (c, 'user', 'm');
                insert into public.conversation_files (conversation_id, file_id) values (c, f);
            end if;
            if to_regclass('public.error_reports') is not null then
                insert into public.error_reports (fingerprint) values ('e');
            end if;
        end \$\$" || fail "cannot fill the tables"
}

# tables: those that are there, but for schema_version, to which installing adds.
tables() {
    pg -c "select array_agg(relname order by relname) from pg_class
        where relnamespace = 'public'::regnamespace and relkind = 'r' and relname <> 'schema_version'"
}

# rows TABLES [COLUMNS]: their rows without these columns, and the file each table lies in.
rows() {
    pg -c "select c.relname, c.relfilenode, query_to_xml(format(
            'select to_jsonb(t) - %L::text[] as r from public.%I as t order by 1', '${2:-{\}}',
            c.relname), false, true, '')
        from pg_class as c where c.relnamespace = 'public'::regnamespace
            and c.relname = any('$1') order by 1"
}

step "an empty project"
new_database blank
new_database empty
install_sql
expect_eq "what is noted" "1attributes 2files 3conversations 4errors 5functions 6provider-files 7chat" \
    "$(versions schema_version)"
expect_eq "tables without row level security" "" "$(pg -c "select relname from pg_class
    where relnamespace = 'public'::regnamespace and relkind = 'r' and not relrowsecurity")"
expect_eq "what anon may do with tables and views" "" "$(pg -c "select relname, p from pg_class,
        unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references']) as p
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')
        and has_table_privilege('anon', oid, p)")"
expect_eq "functions that anon may call" "supafs_set_attrs" "$(pg -c "select proname from pg_proc
    where pronamespace = 'public'::regnamespace and has_function_privilege('anon', oid, 'execute')")"
expect_eq "functions with rights or a search path of their own" "" "$(pg -c "select proname
    from pg_proc where pronamespace = 'public'::regnamespace
        and (prosecdef or not 'search_path=\"\"' = any(proconfig))")"
expect_eq "views with the owner's rights" "" "$(pg -c "select relname from pg_class
    where relnamespace = 'public'::regnamespace and relkind = 'v'
        and not 'security_invoker=true' = any(reloptions)")"
expect_eq "about" '7|service_role|false' "$(as_service "select a ->> 'version', a ->> 'role',
    a ->> 'exai' from public.supafs_about() as a")"

step "again, with rows"
fill
dump >"$SF_TMP/before" || fail "no dump"
install_sql
dump >"$SF_TMP/after"
# Policies and views are made anew, in the same order.
expect_same_file "all that is in the database" "$SF_TMP/before" "$SF_TMP/after"

step "taken away, as the guide says"
awk '/^...sql remove$/ {on = 1; next} /^...$/ {on = 0} on' "$SF_SRC/docs/guide/tables.md" >"$SF_TMP/remove.sql"
expect_ok "the guide's statements" pg_owner -f "$SF_TMP/remove.sql"
SF_PG_DB=blank dump >"$SF_TMP/blank"
dump >"$SF_TMP/after"
expect_same_file "nothing is left" "$SF_TMP/blank" "$SF_TMP/after"

step "on top of each earlier version"
for n in 1 2 3 4 5 6; do
    new_database "v$n"
    install_sql "${all[@]:0:n}"
    fill
    there=$(tables)
    rows "${there:-{\}}" >"$SF_TMP/before"
    install_sql
    rows "${there:-{\}}" >"$SF_TMP/after"
    expect_same_file "rows of version $n" "$SF_TMP/before" "$SF_TMP/after"
    expect_eq "noted on top of version $n" 7 "$(pg -c 'select count(*) from public.schema_version')"
done

step "in the wrong order nothing is done"
new_database unordered
for name in "${all[@]:1}"; do
    expect_exit "$name alone" 3 pg_owner -f "$SF_SRC/contrib/sql/$name.sql"
    expect_match "$name says" "$name.sql: run 00[1-6]-[a-z -]+[a-z0-9. -]*.sql first" "$SF_OUT"
done
SF_PG_DB=blank dump >"$SF_TMP/before"
dump >"$SF_TMP/after"
expect_same_file "the database" "$SF_TMP/before" "$SF_TMP/after"

step "two who install at the same time"
new_database twins
for i in 1 2; do
    (
        for name in "${all[@]}"; do
            pg_owner -f "$SF_SRC/contrib/sql/$name.sql" || exit 1
        done
    ) >"$SF_TMP/install.$i" 2>&1 &
    pids[i]=$!
done
for i in 1 2; do
    wait "${pids[i]}" || fail "installer $i: $(cat "$SF_TMP/install.$i")"
done
expect_eq "noted once" 7 "$(pg -c 'select count(*) from public.schema_version')"

step "over the tables of the replaced system"
new_database replaced
expect_ok "its tables" pg_owner -f "$SF_SRC/tests/lib/replaced-schema.sql"
there=$(tables)
rows "$there" >"$SF_TMP/before"
noted=$(pg -c 'select * from public.schema_version')
columns() { # of the tables that were there
    pg -c "select table_name, column_name, data_type, is_nullable, column_default
        from information_schema.columns where table_schema = 'public' and table_name = any('$there')
        order by table_name, ordinal_position"
}
columns >"$SF_TMP/columns"
constraints() {
    pg -c "select conrelid::regclass, conname, pg_get_constraintdef(oid) from pg_constraint
        where connamespace = 'public'::regnamespace and conrelid::regclass::text = any('$there') order by 1, 2"
}
constraints >"$SF_TMP/constraints"
install_sql
install_sql
rows "$there" '{bucket_id,object_key,version,etag,owner_id}' |
    sed 's/"tags": null, //' >"$SF_TMP/after"
expect_same_file "their rows" "$SF_TMP/before" "$SF_TMP/after"
columns | grep -vE '\|(bucket_id|object_key|version|etag|owner_id)\||^file_metadata\|tags\|' >"$SF_TMP/after"
expect_same_file "their columns" "$SF_TMP/columns" "$SF_TMP/after"
constraints >"$SF_TMP/after"
expect_same_file "their constraints" "$SF_TMP/constraints" "$SF_TMP/after"
expect_eq "a schema_version of another shape" "$noted" "$(pg -c 'select * from public.schema_version')"
expect_eq "what is noted" "1attributes 2files 3conversations 4errors 5functions 6provider-files 7chat" \
    "$(versions supafs_schema_version)"
expect_eq "unique indexes of the mappings" 3 "$(pg -c "select count(*) from pg_index
    where indrelid = 'public.file_id_mappings'::regclass and indisunique")"
expect_eq "rows that belong to somebody" 0 \
    "$(pg -c 'select count(owner_id) from public.file_metadata')"
expect_eq "what A sees of them" '0|0|0|0' "$(as_a "select (select count(*) from public.file_metadata),
    (select count(*) from public.file_operations), (select count(*) from public.supafs_conversations),
    (select count(*) from public.supafs_messages)")"

step "and what supafs does in them"
expect_eq "a row of before, a new one, and one that the old constraints refuse" \
    '{"refused": 1, "recorded": true}' "$(as_service "select public.supafs_record(gen_random_uuid(), '[
        {\"file_id\": \"00000000-0000-0000-0000-000000001001\", \"bucket\": \"user-files\",
         \"key\": \"old-1\", \"size\": 7, \"tags\": [\"t\"]},
        {\"file_id\": \"00000000-0000-0000-0000-0000000010ff\", \"bucket\": \"user-files\",
         \"key\": \"d/new\", \"size\": 8},
        {\"file_id\": \"00000000-0000-0000-0000-0000000010fe\", \"bucket\": \"user-files\",
         \"key\": \"no-size\"}]', null,
        '[{\"file_id\": \"00000000-0000-0000-0000-000000001001\", \"n\": 2}]')")"
expect_eq "the rows" 'old-1|7|{t}|3|{"kimi": "k-old"}
new|8||0|{}' "$(pg -c "select original_filename, file_size, tags, access_count, provider_file_ids
    from public.file_metadata where bucket_id is not null order by object_key desc")"
expect_eq "an id of before" '{"stored": false, "provider_file_id": "k-old"}' \
    "$(as_service "select public.supafs_map_id('f-old', 'kimi', 'k-new')")"
expect_eq "a conversation of before" 'c-old|hello' "$(as_service "select continuation_id, content
    from public.supafs_conversations as c join public.supafs_messages as m on m.conversation_id = c.id")"
expect_ok "a message to it" as_service "insert into public.supafs_messages (conversation_id, role, content)
    select id, 'assistant', 'hi' from public.supafs_conversations"

step "over exai_sessions and exai_messages"
for layout in plain continued bare; do
    new_database "exai_$layout"
    expect_ok "the pair" pg_owner -f "$SF_SRC/tests/lib/exai-schema.sql"
    unlike='' added='continuation_id'
    case $layout in
    continued)
        added=''
        pg_owner -c "alter table public.exai_sessions add column continuation_id text unique;
            update public.exai_sessions set continuation_id = 'c-' || title" || fail "no layout"
        ;;
    bare)
        unlike=created_at
        pg_owner -c 'alter table public.exai_messages drop column created_at' || fail "no layout"
        ;;
    esac
    there=$(tables)
    rows "$there" "{$unlike}" >"$SF_TMP/before"
    install_sql
    install_sql
    rows "$there" "{$unlike${unlike:+${added:+,}}$added}" >"$SF_TMP/after"
    expect_same_file "$layout: the rows" "$SF_TMP/before" "$SF_TMP/after"
    expect_eq "$layout: no second place" '' "$(pg -c "select to_regclass('public.conversations')")"
    expect_eq "$layout: about" true "$(as_service "select public.supafs_about() ->> 'exai'")"
    expect_eq "$layout: what A sees" 'of A|hello' "$(as_a "select title, content
        from public.supafs_conversations as c join public.supafs_messages as m
            on m.conversation_id = c.id")"
    expect_ok "$layout: A's new one" as_a "insert into public.supafs_conversations
        (continuation_id, title) values ('new', 'A new one')"
    expect_ok "$layout: a message in it" as_a "insert into public.supafs_messages
        (conversation_id, role, content) select id, 'user', 'hi' from public.supafs_conversations
        where continuation_id = 'new'"
    expect_ok "$layout: a file of it" as_a "insert into public.conversation_files
        (conversation_id, file_id) select id, gen_random_uuid() from public.supafs_conversations
        where continuation_id = 'new'"
    expect_errno "$layout: a file of somebody else's" 'row-level security' as_a "insert into
        public.conversation_files (conversation_id, file_id)
        values ('00000000-0000-0000-0000-000000003002', gen_random_uuid())"
    expect_eq "$layout: where it is" '00000000-0000-0000-0000-00000000000a|hi|t' "$(pg -c "select user_id,
        content, m.created_at is not null from public.exai_sessions as s join public.exai_messages as m
            on m.session_id = s.id where continuation_id = 'new'")"
done

step "a table of the same name that is something else"
for table in file_metadata messages error_reports; do
    new_database "other_$table"
    pg_owner -c "create table public.$table (id bigint primary key, body text);
        insert into public.$table values (1, 'x')" || fail "no table"
    case $table in
    file_metadata) before=1 file=002-files ;;
    messages) before=2 file=003-conversations ;;
    error_reports) before=3 file=004-errors ;;
    esac
    install_sql "${all[@]:0:before}"
    dump >"$SF_TMP/before"
    expect_exit "$file beside another $table" 3 pg_owner -f "$SF_SRC/contrib/sql/$file.sql"
    expect_match "what it says" "a table of the same name has another shape: there is no .*$table\." "$SF_OUT"
    dump >"$SF_TMP/after"
    expect_same_file "the database" "$SF_TMP/before" "$SF_TMP/after"
done
install_sql 005-functions
expect_eq "the files are there without error_reports" 5 "$(as_service "select public.supafs_about() -> 'version'")"
install_sql 006-provider-files
install_sql 005-functions
expect_eq "005 again behind 006" 6 "$(as_service "select public.supafs_about() -> 'version'")"
# error_reports is the table that is in the way here; conversations are there.
install_sql 007-chat
expect_eq "007 without error_reports" 7 "$(as_service "select public.supafs_about() -> 'version'")"
for name in 005-functions 006-provider-files; do
    install_sql "$name"
    expect_eq "$name again behind 007" 7 "$(as_service "select public.supafs_about() -> 'version'")"
done

passed
