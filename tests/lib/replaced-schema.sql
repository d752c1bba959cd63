-- SPDX-License-Identifier: GPL-3.0-or-later
-- The tables of the system that supafs replaces, with rows in them, as a project may have them: made
-- by its owner, with names of constraints that PostgreSQL gives, and an earlier table `files`.
create table public.schema_version (
    version integer primary key,
    description text not null,
    applied_at timestamptz default now()
);
insert into public.schema_version (version, description) values (1, 'initial'), (2, 'files');

create table public.files (
    id uuid primary key default gen_random_uuid(),
    storage_path text not null unique,
    original_name text not null,
    bucket_name text not null,
    session_id text,
    tags text[]
);
insert into public.files (storage_path, original_name, bucket_name, tags)
values ('user-files/old.txt', 'old.txt', 'user-files', '{a,b}');

create table public.file_metadata (
    file_id uuid primary key default gen_random_uuid(),
    original_filename text not null,
    file_size bigint not null,
    mime_type text,
    supabase_storage_path text not null,
    local_cache_path text,
    file_hash text,
    provider_file_ids jsonb default '{}',
    upload_date timestamptz default now(),
    last_accessed timestamptz default now(),
    access_count integer default 0,
    metadata jsonb default '{}',
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create index idx_file_metadata_hash on public.file_metadata (file_hash);
alter table public.file_metadata enable row level security;
create function public.update_updated_at() returns trigger language plpgsql as $$
begin
    new.updated_at = now();
    return new;
end;
$$;
create trigger update_file_metadata before update on public.file_metadata
    for each row execute function public.update_updated_at();
insert into public.file_metadata (file_id, original_filename, file_size, supabase_storage_path,
    file_hash, provider_file_ids, access_count, updated_at)
select ('00000000-0000-0000-0000-0000000010' || lpad(n::text, 2, '0'))::uuid, 'old-' || n, n,
       'user-files/old-' || n, repeat('ab', 32), '{"kimi": "k-old"}', n, '2025-10-10'
  from generate_series(1, 5) as n;

create table public.file_id_mappings (
    id uuid primary key default gen_random_uuid(),
    supabase_file_id text not null,
    provider_file_id text not null,
    provider text not null,
    created_at timestamptz default now(),
    unique (supabase_file_id, provider),
    unique (provider_file_id, provider)
);
insert into public.file_id_mappings (supabase_file_id, provider_file_id, provider)
values ('f-old', 'k-old', 'kimi'), ('f-old', 'g-old', 'glm');

create table public.file_operations (
    id uuid primary key default gen_random_uuid(),
    file_id varchar(64) not null,
    operation_type varchar(20) not null,
    source varchar(50) not null,
    destination varchar(50) not null,
    status varchar(20) not null,
    created_at timestamptz default now(),
    completed_at timestamptz,
    metadata jsonb
);
insert into public.file_operations (file_id, operation_type, source, destination, status)
values ('f-old', 'upload', 'local', 'supabase', 'completed');

create table public.conversations (
    id uuid primary key default gen_random_uuid(),
    continuation_id text unique not null,
    title text,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    metadata jsonb
);
create table public.messages (
    id uuid primary key default gen_random_uuid(),
    conversation_id uuid references public.conversations (id) on delete cascade,
    role text not null check (role in ('user', 'assistant', 'system')),
    content text not null,
    "timestamp" timestamptz default now(),
    metadata jsonb
);
create table public.conversation_files (
    conversation_id uuid references public.conversations (id) on delete cascade,
    file_id uuid,
    attached_at timestamptz default now(),
    primary key (conversation_id, file_id)
);
insert into public.conversations (id, continuation_id, title)
values ('00000000-0000-0000-0000-000000002001', 'c-old', 'of before');
insert into public.messages (conversation_id, role, content)
values ('00000000-0000-0000-0000-000000002001', 'user', 'hello');
insert into public.conversation_files (conversation_id, file_id)
values ('00000000-0000-0000-0000-000000002001', '00000000-0000-0000-0000-000000001001');
