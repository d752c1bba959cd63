-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Conversations as mounts hold them: supafs_chat_find, supafs_chat_turns, supafs_chat_begin,
-- supafs_chat_lease, supafs_chat_end and supafs_chat_close, over the two views of 003, so in either
-- layout. docs/guide/tables.md has them in short.
--
-- A turn is two messages, a question and its answer, which are only ever added. Who begins one takes
-- the conversation's lease, under the lock of its row: so turns of many mounts do not mix, and their
-- order is that of "timestamp". A message without a time, or of more than a day ahead, is no turn.
--
-- All are security invoker: they give nobody a right that he does not have already. An argument of
-- the wrong shape is refused with the error 22023, and nothing is changed. Run it after 006; it may
-- be run again.

begin;

do $$
declare
    v_noted text;
    v_before boolean;
begin
    perform pg_advisory_xact_lock(7239105);
    v_noted := case when to_regclass('public.supafs_schema_version') is null
        then 'public.schema_version' else 'public.supafs_schema_version' end;
    if to_regclass(v_noted) is not null then
        execute format('select count(*) = 2 from %s where component = $1 and version in (3, 6)',
            v_noted) into v_before using 'supafs';
    end if;
    if v_before is not true then
        raise exception
            '007-chat.sql: run 003-conversations.sql and 006-provider-files.sql first'
            using errcode = '55000';
    end if;
    execute format('insert into %s (component, version, name) values ($1, $2, $3)
        on conflict do nothing', v_noted) using 'supafs', 7, 'chat';
end;
$$;

-- As in 005.
create or replace function public.supafs_about() returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return jsonb_build_object('version', 7, 'role', current_user, 'sub', auth.uid(), 'exai',
        coalesce(pg_get_viewdef(to_regclass('public.supafs_conversations')) like '%exai_sessions%',
            false));
end;
$$;

-- supafs_chat_find looks for all ids that begin with a stem.
do $$
declare
    v_table text := case when to_regclass('public.exai_sessions') is not null
        and to_regclass('public.exai_messages') is not null then 'exai_sessions'
        else 'conversations' end;
begin
    execute format('create index if not exists supafs_%s_stem on public.%I
        (continuation_id text_pattern_ops)', v_table, v_table);
end;
$$;

-- What we keep in a conversation's metadata: about, and closed, lease {by, until (ms since 1970)}.
-- Whatever stands there, an object.
create or replace function public.supafs_chat_ours(p_metadata jsonb) returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
    select case when jsonb_typeof(p_metadata -> 'supafs') = 'object' then p_metadata -> 'supafs'
        else '{}' end
$$;

-- The metadata with that in it.
create or replace function public.supafs_chat_with(p_metadata jsonb, p_ours jsonb) returns jsonb
language sql
immutable
security invoker
set search_path = ''
as $$
    select case when jsonb_typeof(p_metadata) = 'object' then p_metadata else '{}' end
        || jsonb_build_object('supafs', p_ours)
$$;

-- For how many seconds another one than p_holder has the lease: 0 = for none. No lease is longer than
-- an hour, whatever stands there.
create or replace function public.supafs_chat_busy(p_ours jsonb, p_holder text) returns integer
language sql
volatile
security invoker
set search_path = ''
as $$
    select case when jsonb_typeof(p_ours #> '{lease,until}') <> 'number'
                  or p_ours #>> '{lease,by}' = p_holder then 0
                when n.s between 0 and 3600 then ceil(n.s)::integer
                else 0 end
      from (select case when jsonb_typeof(p_ours #> '{lease,until}') = 'number'
                then (p_ours #>> '{lease,until}')::numeric / 1000
                    - extract(epoch from clock_timestamp()) end as s) as n
$$;

create or replace function public.supafs_chat_lease_of(p_holder text, p_s integer) returns jsonb
language sql
volatile
security invoker
set search_path = ''
as $$
    select jsonb_build_object('by', p_holder,
        'until', round((extract(epoch from clock_timestamp()) + p_s) * 1000))
$$;

-- The place of a message in the order.
create or replace function public.supafs_chat_cursor(p_at timestamptz, p_id text) returns text
language sql
immutable
security invoker
set search_path = ''
as $$
    select to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || '|' || p_id
$$;

-- The messages of a conversation between two of these places (null = from the beginning, to the end): at
-- most p_limit, and after the first at most 2 MiB; what is longer than 4 MiB is cut. v_place is that of the
-- last one.
create or replace function public.supafs_chat_rows(
    p_id text,
    p_after text,
    p_before text,
    p_limit integer,
    out v_turns json,
    out v_place text,
    out v_more boolean
)
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_after timestamptz;
    v_before timestamptz;
    v_after_id text := split_part(p_after, '|', 2);
    v_before_id text := split_part(p_before, '|', 2);
begin
    begin
        v_after := split_part(p_after, '|', 1)::timestamptz;
        v_before := split_part(p_before, '|', 1)::timestamptz;
    exception when data_exception then
        raise exception 'p: after is no cursor' using errcode = '22023';
    end;
    with r as (
        select m."timestamp" as t, m.id::text as id, m.role, m.content, m.metadata,
               row_number() over w as k,
               sum(coalesce(octet_length(m.content), 0) + coalesce(pg_column_size(m.metadata), 0))
                   over w as bytes
          from public.supafs_messages as m
          join public.supafs_conversations as c on m.conversation_id = c.id
         where c.continuation_id = p_id and m."timestamp" < now() + interval '1 day'
           and m."timestamp" >= coalesce(v_after, '-infinity') and m."timestamp" > '-infinity'
           and (v_after is null or m."timestamp" > v_after or m.id::text > v_after_id)
           and (v_before is null or (m."timestamp", m.id::text) < (v_before, v_before_id))
        window w as (order by m."timestamp", m.id::text)
         order by m."timestamp", m.id::text limit p_limit + 1),
    s as (select *, k <= p_limit and (k = 1 or bytes <= 2097152) as fits,
            to_char(t at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as at from r)
    select coalesce(json_agg(json_build_object('id', id, 'role', role, 'at', at,
               'content', case when octet_length(content) <= 4194304 then content
                   else left(content, 4194304) end, 'metadata', metadata) order by k)
               filter (where fits), '[]'),
           (array_agg(at || '|' || id order by k desc) filter (where fits))[1],
           not coalesce(bool_and(fits), true)
      into v_turns, v_place, v_more from s;
end;
$$;

-- Members of p: id; after (a cursor; none = from the beginning), limit (1 to 1000, which it is without
-- it), unanswered (ids of up to 100 questions that were read before: answers to them from before the cursor
-- are `late`, at most 2 MiB after the first; whoever held the lease may have been away for long).
-- {"turns": [{"id", "role", "at", "content", "metadata"}], "late": [such], "cursor", "more"}
create or replace function public.supafs_chat_turns(p jsonb) returns json
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_limit integer;
    v_rows record;
    v_late json;
begin
    perform public.supafs_provider_check(p, '{"id": "string", "after": "string", "limit": "number",
        "unanswered": "array"}', '{id}');
    if (p ->> 'limit')::numeric not between 1 and 1000 or (p ->> 'limit')::numeric % 1 <> 0
       or jsonb_array_length(coalesce(nullif(p -> 'unanswered', 'null'), '[]')) > 100
    then
        raise exception 'p: limit or unanswered out of range' using errcode = '22023';
    end if;
    v_limit := coalesce((p ->> 'limit')::numeric, 1000);
    select * into v_rows from public.supafs_chat_rows(p ->> 'id', p ->> 'after', null, v_limit);
    if p ->> 'after' is not null and p -> 'unanswered' <> '[]' then
        with l as (
            select m."timestamp" as t, m.id::text as id, m.role, m.content, m.metadata,
                   row_number() over w as k,
                   sum(coalesce(octet_length(m.content), 0)
                       + coalesce(pg_column_size(m.metadata), 0)) over w as bytes
              from public.supafs_messages as m
              join public.supafs_conversations as c on m.conversation_id = c.id
             where c.continuation_id = p ->> 'id'
               and p -> 'unanswered' ? (m.metadata #>> '{supafs,to}')
               and (m."timestamp", m.id::text) <= (split_part(p ->> 'after', '|', 1)::timestamptz,
                   split_part(p ->> 'after', '|', 2))
            window w as (order by m."timestamp", m.id::text))
        select json_agg(json_build_object('id', id, 'role', role, 'at',
                   to_char(t at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                   'content', left(content, 4194304), 'metadata', metadata) order by k)
                   filter (where k = 1 or bytes <= 2097152)
          into v_late from l;
    end if;
    return json_build_object('turns', v_rows.v_turns, 'late', coalesce(v_late, '[]'),
        'cursor', coalesce(v_rows.v_place, p ->> 'after'), 'more', v_rows.v_more);
end;
$$;

-- Members of p: either stem or id. {"conversation": null, or {"id", "title", "updated", "about", "closed"}}.
-- Of a stem the one with the highest number behind it, `stem-7`, also when it is closed. about: what
-- supafs_chat_begin was told when it was new.
create or replace function public.supafs_chat_find(p jsonb) returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v public.supafs_conversations;
    v_stem text := p ->> 'stem';
    v_ours jsonb;
begin
    perform public.supafs_provider_check(p, '{"stem": "string", "id": "string"}', '{}');
    if (v_stem is null) = (p ->> 'id' is null) or v_stem !~ '^[A-Za-z0-9_-]{1,200}$' then
        raise exception 'p: either stem or id is needed' using errcode = '22023';
    end if;
    if v_stem is null then
        select * into v from public.supafs_conversations as c where c.continuation_id = p ->> 'id';
    else
        select * into v from public.supafs_conversations as c
         where c.continuation_id ~>=~ (v_stem || '-') and c.continuation_id ~<~ (v_stem || '.')
           and substr(c.continuation_id, length(v_stem) + 2) ~ '^[1-9][0-9]{0,17}$'
         order by length(c.continuation_id) desc, c.continuation_id collate "C" desc limit 1;
    end if;
    if v.id is null then
        return '{"conversation": null}';
    end if;
    v_ours := public.supafs_chat_ours(v.metadata);
    return jsonb_build_object('conversation', jsonb_build_object('id', v.continuation_id,
        'title', v.title, 'updated', v.updated_at, 'about', v_ours - '{lease,closed}'::text[],
        'closed', coalesce(v_ours -> 'closed' = 'true', false)));
end;
$$;

-- A turn begins. Members of p:
--   id, title, about (of a conversation that is new: about is an object), file_id (that it is about)
--   message (the id of the question's row, a uuid), content, metadata
--   holder (who asks: a name that no other one has), lease_s (1 to 3600; none = the turn was done while the
--   database was away: it is only added, behind what is there)
--   after (the cursor of what the mount has read)
-- {"busy": seconds}     another one is at it
-- {"closed": true}      its name has another conversation now
-- {"at", "cursor", "turns", "more"}  the turn has begun; turns are the messages between `after` and it. If there
--                       are more of them, the cursor is that of the last one, else that of the question.
-- Asked again, after a lost reply, it says the same. The id is of somebody else's: the error 23505.
create or replace function public.supafs_chat_begin(p jsonb) returns json
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v record;
    v_conversation public.supafs_conversations;
    v_ours jsonb;
    v_busy integer;
    v_at timestamptz;
    v_rows record;
begin
    perform public.supafs_provider_check(p, '{"id": "string", "title": "string", "about": "object",
        "file_id": "string", "message": "string", "metadata": "object", "holder": "string",
        "lease_s": "number", "after": "string"}', '{id, message, holder}');
    begin
        select * into v from jsonb_to_record(p) as r (message uuid, file_id uuid, lease_s integer);
    exception when data_exception then
        raise exception 'p: %', sqlerrm using errcode = '22023';
    end;
    if v.lease_s not between 1 and 3600 or jsonb_typeof(p -> 'content') not in ('string', 'null') then
        raise exception 'p: lease_s or content out of range' using errcode = '22023';
    end if;
    -- A project's own continuation_id may not be unique.
    insert into public.supafs_conversations (continuation_id, title, metadata)
    select p ->> 'id', p ->> 'title', public.supafs_chat_with('{}',
               coalesce(nullif(p -> 'about', 'null'), '{}') - '{lease,closed}'::text[])
     where not exists (select from public.supafs_conversations as c
                        where c.continuation_id = p ->> 'id')
    on conflict do nothing;
    select * into v_conversation from public.supafs_conversations as c
     where c.continuation_id = p ->> 'id' for update;
    if not found then
        raise exception 'the conversation is somebody else''s' using errcode = '23505';
    end if;
    v_ours := public.supafs_chat_ours(v_conversation.metadata);
    select m."timestamp" into v_at from public.supafs_messages as m
     where m.conversation_id = v_conversation.id and m.id::text = v.message::text;
    if v_at is null and v.lease_s > 0 then
        if v_ours -> 'closed' = 'true' then
            return '{"closed": true}';
        end if;
        v_busy := public.supafs_chat_busy(v_ours, p ->> 'holder');
        if v_busy > 0 then
            return json_build_object('busy', v_busy);
        end if;
    end if;
    select * into v_rows from public.supafs_chat_rows(p ->> 'id', p ->> 'after',
        public.supafs_chat_cursor(v_at, v.message::text), 1000);
    if v_at is null then
        -- One microsecond is left between two turns for the answer.
        select greatest(clock_timestamp(), max(m."timestamp") + interval '2 microseconds') into v_at
          from public.supafs_messages as m
         where m.conversation_id = v_conversation.id and m."timestamp" < now() + interval '1 day';
        insert into public.supafs_messages (id, conversation_id, role, content, "timestamp", metadata)
        values (v.message, v_conversation.id, 'user', p ->> 'content', v_at,
            coalesce(nullif(p -> 'metadata', 'null'), '{}'));
    end if;
    if v.lease_s > 0 and public.supafs_chat_busy(v_ours, p ->> 'holder') = 0 then
        v_ours := v_ours || jsonb_build_object('lease',
            public.supafs_chat_lease_of(p ->> 'holder', v.lease_s));
    end if;
    update public.supafs_conversations as c
       set metadata = public.supafs_chat_with(c.metadata, v_ours), updated_at = now()
     where c.id = v_conversation.id;
    if v.file_id is not null then
        begin
            insert into public.conversation_files (conversation_id, file_id)
            values (v_conversation.id, v.file_id) on conflict do nothing;
        exception
            -- An older table of the project may have other types and keys.
            when integrity_constraint_violation or insufficient_privilege or datatype_mismatch then
                null;
        end;
    end if;
    return json_build_object('at', v_at, 'turns', v_rows.v_turns, 'more', v_rows.v_more, 'cursor',
        case when v_rows.v_more then v_rows.v_place
            else public.supafs_chat_cursor(v_at, v.message::text) end);
end;
$$;

-- Who holds the lease keeps it, or gives it back. Members of p: id, holder, lease_s (up to 3600; 0 = back).
-- {"held": false} for who does not hold it any more.
create or replace function public.supafs_chat_lease(p jsonb) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_s numeric := 0;
begin
    perform public.supafs_provider_check(p, '{"id": "string", "holder": "string",
        "lease_s": "number"}', '{id, holder, lease_s}');
    v_s := (p ->> 'lease_s')::numeric;
    if v_s not between 0 and 3600 or v_s % 1 <> 0 then
        raise exception 'p: lease_s out of range' using errcode = '22023';
    end if;
    update public.supafs_conversations as c
       set metadata = public.supafs_chat_with(c.metadata, case
           when v_s = 0 then public.supafs_chat_ours(c.metadata) - 'lease'
           else public.supafs_chat_ours(c.metadata) || jsonb_build_object('lease',
               public.supafs_chat_lease_of(p ->> 'holder', v_s::integer)) end)
     where c.continuation_id = p ->> 'id' and c.metadata #>> '{supafs,lease,by}' = p ->> 'holder';
    return jsonb_build_object('held', found);
end;
$$;

-- A turn ends. Members of p: id, holder; to (the question's message), message (the id of the answer's row, a
-- uuid), content, metadata. {"at", "cursor"}. The answer stands right behind its question, whenever it
-- comes; the lease goes, if the holder still has it. There is no such question: the error 23503.
create or replace function public.supafs_chat_end(p jsonb) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v record;
    v_conversation public.supafs_conversations;
    v_at timestamptz;
begin
    perform public.supafs_provider_check(p, '{"id": "string", "holder": "string", "to": "string",
        "message": "string", "metadata": "object"}', '{id, holder, to, message}');
    begin
        select * into v from jsonb_to_record(p) as r ("to" uuid, message uuid);
    exception when data_exception then
        raise exception 'p: %', sqlerrm using errcode = '22023';
    end;
    if jsonb_typeof(p -> 'content') not in ('string', 'null') then
        raise exception 'p: content must be a text' using errcode = '22023';
    end if;
    select * into v_conversation from public.supafs_conversations as c
     where c.continuation_id = p ->> 'id' for update;
    select m."timestamp" + interval '1 microsecond' into v_at from public.supafs_messages as m
     where m.conversation_id = v_conversation.id and m.id::text = v."to"::text;
    if v_at is null then
        raise exception 'there is no such question' using errcode = '23503';
    end if;
    insert into public.supafs_messages (id, conversation_id, role, content, "timestamp", metadata)
    values (v.message, v_conversation.id, 'assistant', p ->> 'content', v_at,
        coalesce(nullif(p -> 'metadata', 'null'), '{}') || jsonb_build_object('supafs',
            public.supafs_chat_ours(p -> 'metadata') || jsonb_build_object('to', v."to"::text)))
    on conflict do nothing;
    perform public.supafs_chat_lease(jsonb_build_object('id', p -> 'id', 'holder', p -> 'holder',
        'lease_s', 0));
    return jsonb_build_object('at', v_at,
        'cursor', public.supafs_chat_cursor(v_at, v.message::text));
end;
$$;

-- Its name will have another conversation. Members of p: id. {"closed": false}: there is none.
create or replace function public.supafs_chat_close(p jsonb) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform public.supafs_provider_check(p, '{"id": "string"}', '{id}');
    update public.supafs_conversations as c
       set metadata = public.supafs_chat_with(c.metadata,
           public.supafs_chat_ours(c.metadata) - 'lease' || '{"closed": true}')
     where c.continuation_id = p ->> 'id';
    return jsonb_build_object('closed', found);
end;
$$;

-- As in 005.
do $$
declare
    v_function text;
begin
    foreach v_function in array array['supafs_about()', 'supafs_chat_ours(jsonb)',
        'supafs_chat_with(jsonb, jsonb)', 'supafs_chat_busy(jsonb, text)',
        'supafs_chat_lease_of(text, integer)', 'supafs_chat_cursor(timestamptz, text)',
        'supafs_chat_rows(text, text, text, integer)', 'supafs_chat_turns(jsonb)',
        'supafs_chat_find(jsonb)', 'supafs_chat_begin(jsonb)', 'supafs_chat_lease(jsonb)',
        'supafs_chat_end(jsonb)', 'supafs_chat_close(jsonb)']
    loop
        execute format('revoke all on function public.%s from public, anon', v_function);
        execute format('grant execute on function public.%s to authenticated, service_role',
            v_function);
    end loop;
end;
$$;

notify pgrst, 'reload schema';

commit;
