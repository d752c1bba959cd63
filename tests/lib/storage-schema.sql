-- SPDX-License-Identifier: GPL-3.0-or-later
-- As much of a project's database as SQL of supafs meets: the roles of its tokens, the owner's role
-- `postgres`, which is no superuser and owns nothing of Storage, what a new table of schema public is
-- given to, auth.uid(), and the tables of the Storage service with row level security on and no
-- policy. Run by supabase_admin, the superuser that no project's owner has.
create role anon nologin;
create role authenticated nologin;
create role service_role nologin bypassrls;
create role authenticator login noinherit;
grant anon, authenticated, service_role to authenticator;
create role postgres login createrole createdb bypassrls;
grant anon, authenticated, service_role to postgres;
alter database postgres owner to postgres;
create role supabase_auth_admin nologin noinherit;
create role supabase_storage_admin nologin noinherit;

grant usage on schema public to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on functions to postgres, anon, authenticated, service_role;
alter default privileges for role postgres in schema public
    grant all on sequences to postgres, anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public
    grant all on tables to postgres, anon, authenticated, service_role;
alter default privileges for role supabase_admin in schema public
    grant all on functions to postgres, anon, authenticated, service_role;

create schema auth authorization supabase_auth_admin;
grant usage on schema auth to postgres, anon, authenticated, service_role;
create function auth.uid() returns uuid language sql stable as $$
    select coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid
$$;
alter function auth.uid() owner to supabase_auth_admin;

create schema storage authorization supabase_storage_admin;
grant usage on schema storage to anon, authenticated, service_role;
grant all on schema storage to postgres with grant option;

create table storage.buckets (
    id text primary key,
    name text not null unique,
    owner uuid,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    public boolean default false,
    avif_autodetection boolean default false,
    file_size_limit bigint,
    allowed_mime_types text[],
    owner_id text
);

create table storage.objects (
    id uuid primary key default gen_random_uuid(),
    bucket_id text references storage.buckets (id),
    name text,
    owner uuid,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    last_accessed_at timestamptz default now(),
    metadata jsonb,
    path_tokens text[] generated always as (string_to_array(name, '/')) stored,
    version text,
    owner_id text,
    user_metadata jsonb,
    unique (bucket_id, name)
);

create function storage.stamp_update() returns trigger language plpgsql as $$
begin
    new.updated_at = now();
    return new;
end;
$$;
create trigger stamp_update before update on storage.objects
    for each row execute function storage.stamp_update();

alter table storage.buckets enable row level security;
alter table storage.objects enable row level security;
create index name_prefix_search on storage.objects (name text_pattern_ops);
alter table storage.buckets owner to supabase_storage_admin;
alter table storage.objects owner to supabase_storage_admin;
alter function storage.stamp_update() owner to supabase_storage_admin;
grant all on storage.buckets, storage.objects to anon, authenticated, service_role;
grant all on storage.buckets, storage.objects to postgres with grant option;
