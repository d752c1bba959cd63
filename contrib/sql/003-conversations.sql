-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Conversations: conversations, messages, conversation_files, and two views by which programs read
-- and write them, supafs_conversations and supafs_messages. In a project that has a pair
-- exai_sessions/exai_messages already, the views are over that pair, which gets the column
-- continuation_id if it has none, and conversations and messages are not made.
--
-- Run it after 002; it may be run again.

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
        execute format('select exists (select from %s where component = $1 and version = $2)',
            v_noted) into v_before using 'supafs', 2;
    end if;
    if v_before is not true then
        raise exception '003-conversations.sql: run 002-files.sql first' using errcode = '55000';
    end if;
    execute format('insert into %s (component, version, name) values ($1, $2, $3)
        on conflict do nothing', v_noted) using 'supafs', 3, 'conversations';
end;
$$;

-- A table of one of these names that is something else is not touched.
do $$
declare
    v_exai boolean := to_regclass('public.exai_sessions') is not null
        and to_regclass('public.exai_messages') is not null;
    v_missing text;
begin
    select string_agg(format('%s.%s', w.t, c.name), ', ') into v_missing
      from (values
          (true, 'exai_sessions', '{id, title, created_at, updated_at, metadata}'::text[]),
          (true, 'exai_messages', '{id, session_id, role, content, metadata}'),
          (false, 'conversations',
           '{id, continuation_id, title, created_at, updated_at, metadata}'),
          (false, 'messages', '{id, conversation_id, role, content, timestamp, metadata}'),
          (v_exai, 'conversation_files', '{conversation_id, file_id, attached_at}'))
          as w (exai, t, columns), unnest(w.columns) as c (name)
     where w.exai = v_exai and to_regclass('public.' || w.t) is not null
       and not exists (select from pg_attribute as a
                        where a.attrelid = to_regclass('public.' || w.t) and a.attname = c.name
                          and not a.attisdropped);
    if v_missing is not null then
        raise exception 'a table of the same name has another shape: there is no %', v_missing
            using errcode = '42P07', hint = 'The other files of supafs work without this one.';
    end if;
end;
$$;

-- Our own layout. timestamp is when the message was written.
do $$
begin
    if to_regclass('public.exai_sessions') is not null
       and to_regclass('public.exai_messages') is not null
    then
        return;
    end if;
    create table if not exists public.conversations (
        id uuid primary key default gen_random_uuid(),
        continuation_id text not null unique,
        title text,
        created_at timestamptz default now(),
        updated_at timestamptz default now(),
        metadata jsonb default '{}'
    );
    alter table public.conversations add column if not exists owner_id uuid;
    -- Not in the same command: rows that are there already belong to nobody.
    alter table public.conversations alter column owner_id set default auth.uid();
    create index if not exists supafs_conversations_owner on public.conversations (owner_id);
    create or replace trigger supafs_stamp before update on public.conversations
        for each row execute function public.supafs_stamp();

    create table if not exists public.messages (
        id uuid primary key default gen_random_uuid(),
        conversation_id uuid not null references public.conversations (id) on delete cascade,
        role text not null check (role in ('user', 'assistant', 'system')),
        content text,
        "timestamp" timestamptz default now(),
        metadata jsonb default '{}'
    );
    create index if not exists supafs_messages_conversation
        on public.messages (conversation_id, "timestamp");
    create index if not exists supafs_messages_timestamp on public.messages ("timestamp");
end;
$$;

-- The pair of the replaced system. What the project says about it itself stays, also who may see it.
do $$
declare
    v_user text;
    v_table text;
begin
    if to_regclass('public.exai_sessions') is null or to_regclass('public.exai_messages') is null then
        return;
    end if;
    alter table public.exai_sessions add column if not exists continuation_id text unique;
    if not exists (select from pg_attribute as a
                    where a.attrelid = 'public.exai_messages'::regclass and not a.attisdropped
                      and a.attname in ('timestamp', 'created_at'))
    then
        alter table public.exai_messages add column created_at timestamptz;
        alter table public.exai_messages alter column created_at set default now();
    end if;
    create index if not exists supafs_exai_messages_session on public.exai_messages (session_id);

    -- A user's new conversation is his own; the view has no column to say so.
    select format_type(a.atttypid, null) into v_user from pg_attribute as a
     where a.attrelid = 'public.exai_sessions'::regclass and a.attname = 'user_id'
       and not a.attisdropped and not a.atthasdef;
    if v_user is not null then
        execute format('alter table public.exai_sessions alter column user_id
            set default auth.uid()::%s', v_user);
    end if;
    foreach v_table in array array['exai_sessions', 'exai_messages'] loop
        if not (select c.relrowsecurity from pg_class as c
                 where c.oid = to_regclass('public.' || v_table))
        then
            raise warning 'row level security is off on public.%: whoever may use it sees all of it',
                v_table;
        end if;
    end loop;
end;
$$;

-- Which files a conversation is about.
do $$
declare
    v_of text := case when to_regclass('public.exai_sessions') is not null
        and to_regclass('public.exai_messages') is not null
        then 'exai_sessions' else 'conversations' end;
    v_type text;
begin
    select format_type(a.atttypid, a.atttypmod) into v_type from pg_attribute as a
     where a.attrelid = to_regclass('public.' || v_of) and a.attname = 'id';
    execute format('create table if not exists public.conversation_files (
        conversation_id %s not null,
        file_id uuid not null,
        attached_at timestamptz default now(),
        primary key (conversation_id, file_id))', v_type);
    create index if not exists supafs_conversation_files_file
        on public.conversation_files (file_id);
    -- Ours follows the layout; one of the project's own stays.
    alter table public.conversation_files
        drop constraint if exists supafs_conversation_files_conversation;
    if not exists (select from pg_constraint as k
                    where k.conrelid = 'public.conversation_files'::regclass and k.contype = 'f')
       and v_type = (select format_type(a.atttypid, a.atttypmod) from pg_attribute as a
                      where a.attrelid = 'public.conversation_files'::regclass
                        and a.attname = 'conversation_id')
    then
        execute format('alter table public.conversation_files
            add constraint supafs_conversation_files_conversation foreign key (conversation_id)
            references public.%I (id) on delete cascade not valid', v_of);
    end if;
end;
$$;

-- The same two views over both. They have the caller's rights, and take inserts.
do $$
declare
    v_exai boolean := to_regclass('public.exai_sessions') is not null
        and to_regclass('public.exai_messages') is not null;
    v_time text;
    v_view text;
begin
    if v_exai then
        select a.attname into v_time from pg_attribute as a
         where a.attrelid = 'public.exai_messages'::regclass and not a.attisdropped
           and a.attname in ('timestamp', 'created_at')
         order by a.attname desc limit 1;
    end if;
    -- A view that is there may be over the other layout.
    drop view if exists public.supafs_conversations, public.supafs_messages;
    execute format('create view public.supafs_conversations with (security_invoker = true) as
        select id, continuation_id, title, created_at, updated_at, metadata from public.%I',
        case when v_exai then 'exai_sessions' else 'conversations' end);
    execute format('create view public.supafs_messages with (security_invoker = true) as
        select id, %I as conversation_id, role, content, %I as "timestamp", metadata
          from public.%I', case when v_exai then 'session_id' else 'conversation_id' end,
        coalesce(v_time, 'timestamp'), case when v_exai then 'exai_messages' else 'messages' end);
    foreach v_view in array array['supafs_conversations', 'supafs_messages'] loop
        execute format('revoke all on public.%I from public, anon, authenticated', v_view);
        execute format('grant select, insert, update, delete on public.%I
            to authenticated, service_role', v_view);
    end loop;
end;
$$;

-- Who may do what, as in 002-files.sql: a message and a file go with their conversation. Also where
-- the project's own policies show a user more conversations, ours let him into his own only.
do $$
declare
    v_exai boolean := to_regclass('public.exai_sessions') is not null
        and to_regclass('public.exai_messages') is not null;
    v_own text := 'owner_id = (select auth.uid())';
    v_within text := 'exists (select from public.conversations as c
        where c.id = conversation_id and c.owner_id = (select auth.uid()))';
    v_table text;
begin
    if v_exai then
        -- The types may differ where the table is older than the pair. Without user_id nobody owns
        -- a conversation.
        v_within := case when exists (
            select from pg_attribute as a where a.attrelid = 'public.exai_sessions'::regclass
               and a.attname = 'user_id' and not a.attisdropped)
            then 'exists (select from public.exai_sessions as c
                where c.id::text = conversation_id::text
                  and c.user_id::text = (select auth.uid())::text)'
            else 'false' end;
    end if;
    foreach v_table in array case when v_exai then array['conversation_files']
        else array['conversations', 'messages', 'conversation_files'] end
    loop
        execute format('alter table public.%I enable row level security', v_table);
        execute format('revoke all on public.%I from public, anon, authenticated', v_table);
        execute format('grant select, insert, update, delete on public.%I
            to authenticated, service_role', v_table);
        execute format('drop policy if exists supafs_service on public.%I', v_table);
        execute format('create policy supafs_service on public.%I to service_role
            using (true) with check (true)', v_table);
        execute format('drop policy if exists supafs_own on public.%I', v_table);
        execute format('create policy supafs_own on public.%I to authenticated
            using (%2$s) with check (%2$s)', v_table,
            case when v_table = 'conversations' then v_own else v_within end);
    end loop;
end;
$$;

notify pgrst, 'reload schema';

commit;
