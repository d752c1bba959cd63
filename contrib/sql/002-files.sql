-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- What is known about files: file_metadata, file_id_mappings, provider_files, file_operations, and
-- supafs_batches, by which supafs_record() does nothing twice. docs/guide/tables.md explains them.
--
-- Where a project has a table of one of these names already, it keeps its columns, rows, constraints
-- and policies; what is missing is added. Run it after 001; it may be run again.

begin;

do $$
declare
    v_noted text;
    v_before boolean;
begin
    if current_setting('server_version_num')::int < 150000 then
        raise exception 'supafs needs PostgreSQL 15 or later for its tables'
            using errcode = '0A000';
    end if;
    -- Two who install at the same time go one behind the other.
    perform pg_advisory_xact_lock(7239105);
    v_noted := case when to_regclass('public.supafs_schema_version') is null
        then 'public.schema_version' else 'public.supafs_schema_version' end;
    if to_regclass(v_noted) is not null then
        execute format('select exists (select from %s where component = $1 and version = $2)',
            v_noted) into v_before using 'supafs', 1;
    end if;
    if v_before is not true then
        raise exception '002-files.sql: run 001-attributes.sql first' using errcode = '55000';
    end if;
    execute format('insert into %s (component, version, name) values ($1, $2, $3)
        on conflict do nothing', v_noted) using 'supafs', 2, 'files';
end;
$$;

-- A table of one of these names that is something else is not touched.
do $$
declare
    v_missing text;
begin
    select string_agg(format('%s.%s', w.t, c.name), ', ') into v_missing
      from (values
          ('file_metadata', '{file_id, original_filename, file_size, mime_type,
            supabase_storage_path, file_hash, upload_date, last_accessed, access_count}'::text[]),
          ('file_id_mappings', '{supabase_file_id, provider_file_id, provider}'),
          ('provider_files', '{sha256, provider, account, purpose, provider_file_id, state}'),
          ('file_operations', '{id, file_id, operation_type, source, destination, status,
            created_at, completed_at, metadata}'))
          as w (t, columns), unnest(w.columns) as c (name)
     where to_regclass('public.' || w.t) is not null
       and not exists (select from pg_attribute as a
                        where a.attrelid = to_regclass('public.' || w.t) and a.attname = c.name
                          and not a.attisdropped);
    if v_missing is not null then
        raise exception 'a table of the same name has another shape: there is no %', v_missing
            using errcode = '42P07';
    end if;
end;
$$;

-- updated_at is the time of the last change, whoever makes it.
create or replace function public.supafs_stamp() returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    new.updated_at := now();
    return new;
end;
$$;
revoke all on function public.supafs_stamp() from public, anon, authenticated, service_role;

-- One row per object. file_id is the id of the object in storage.objects; the columns that only
-- supafs has come second, because the table may be there without them.
create table if not exists public.file_metadata (
    file_id uuid primary key default gen_random_uuid(),
    original_filename text,
    file_size bigint,
    mime_type text,
    supabase_storage_path text,
    local_cache_path text,
    file_hash text,
    provider_file_ids jsonb default '{}',
    upload_date timestamptz default now(),
    last_accessed timestamptz,
    access_count integer default 0,
    metadata jsonb default '{}',
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
alter table public.file_metadata
    add column if not exists bucket_id text,
    add column if not exists object_key text,
    add column if not exists version text,
    add column if not exists etag text,
    add column if not exists tags text[],
    add column if not exists owner_id uuid;
-- Not in the same command: rows that are there already belong to nobody.
alter table public.file_metadata alter column owner_id set default auth.uid();

create index if not exists supafs_file_metadata_upload_date
    on public.file_metadata (upload_date);
create index if not exists supafs_file_metadata_last_accessed
    on public.file_metadata (last_accessed);
create index if not exists supafs_file_metadata_file_hash on public.file_metadata (file_hash);
create index if not exists supafs_file_metadata_tags on public.file_metadata using gin (tags);
-- By owner: else one user could take the place of a file that another one stores, and learn from
-- the refusal which files others have.
create unique index if not exists supafs_file_metadata_place
    on public.file_metadata (bucket_id, object_key, owner_id) nulls not distinct
    where bucket_id is not null and object_key is not null;

create or replace trigger supafs_stamp before update on public.file_metadata
    for each row execute function public.supafs_stamp();

-- A provider's id of a file, one per file and provider.
create table if not exists public.file_id_mappings (
    id uuid primary key default gen_random_uuid(),
    supabase_file_id text not null,
    provider_file_id text not null,
    provider text not null,
    created_at timestamptz default now(),
    constraint supafs_file_id_mappings_file unique (supabase_file_id, provider),
    constraint supafs_file_id_mappings_provider unique (provider_file_id, provider)
);
alter table public.file_id_mappings add column if not exists owner_id uuid;
alter table public.file_id_mappings alter column owner_id set default auth.uid();

-- A provider's id of a content, one per content, provider, account and purpose. lease_until and
-- lease_by say who is uploading it now; state is what came of it.
create table if not exists public.provider_files (
    id uuid primary key default gen_random_uuid(),
    sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    provider text not null,
    account text not null,
    purpose text not null,
    provider_file_id text,
    state text not null default 'pending',
    bytes bigint,
    expires_at timestamptz,
    lease_until timestamptz,
    lease_by text,
    error text,
    owner_id uuid default auth.uid(),
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    -- By owner, as above.
    constraint supafs_provider_files_content
        unique nulls not distinct (sha256, provider, account, purpose, owner_id)
);
create index if not exists supafs_provider_files_id
    on public.provider_files (provider, provider_file_id);
create or replace trigger supafs_stamp before update on public.provider_files
    for each row execute function public.supafs_stamp();

-- What was done, one row per upload, download, copy, move, delete or change of attributes.
create table if not exists public.file_operations (
    id uuid primary key default gen_random_uuid(),
    file_id varchar(64),
    operation_type varchar(20),
    source varchar(50),
    destination varchar(50),
    status varchar(20),
    created_at timestamptz default now(),
    completed_at timestamptz,
    metadata jsonb default '{}'
);
alter table public.file_operations add column if not exists owner_id uuid;
alter table public.file_operations alter column owner_id set default auth.uid();
create index if not exists supafs_file_operations_file on public.file_operations (file_id);
create index if not exists supafs_file_operations_created on public.file_operations (created_at);

-- The batches that supafs_record() has seen.
create table if not exists public.supafs_batches (
    batch_id uuid primary key,
    owner_id uuid default auth.uid(),
    created_at timestamptz not null default now()
);
create index if not exists supafs_batches_created on public.supafs_batches (created_at);

-- What is there without an index for a look-up gets one. Constraints of the replaced system have
-- names of their own; what counts is the columns.
do $$
declare
    v_want record;
begin
    for v_want in
        select * from (values
            ('supafs_file_id_mappings_file', array['supabase_file_id', 'provider']),
            ('supafs_file_id_mappings_provider', array['provider_file_id', 'provider']))
            as w (name, columns)
    loop
        if not exists (
            select from pg_index as i
             where i.indrelid = 'public.file_id_mappings'::regclass and i.indisunique
               and i.indpred is null and i.indexprs is null
               and (select array_agg(a.attname::text order by a.attname)
                      from unnest(i.indkey[0:i.indnkeyatts - 1]) as k (n)
                      join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.n)
                 = (select array_agg(c order by c) from unnest(v_want.columns) as c))
        then
            execute format('create unique index %I on public.file_id_mappings (%s)', v_want.name,
                array_to_string(v_want.columns, ', '));
        end if;
    end loop;
end;
$$;

-- Who may do what: the service everything, a user what is his own, others nothing. Supabase gives
-- new tables in schema public to all three roles, hence the revoke.
do $$
declare
    v_table text;
begin
    foreach v_table in array array['file_metadata', 'file_id_mappings', 'provider_files',
                                   'file_operations', 'supafs_batches']
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
            using (owner_id = (select auth.uid()))
            with check (owner_id = (select auth.uid()))', v_table);
    end loop;
end;
$$;

notify pgrst, 'reload schema';

commit;
