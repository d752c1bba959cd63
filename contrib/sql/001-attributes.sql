-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- supafs_set_attrs: changes what is stored beside an object's bytes (user metadata, cache control,
-- content type) if the object still has the version that the caller knows, and tells whether it had.
-- Through the Storage API alone such a change is a copy of all bytes onto themselves, and a write
-- by somebody else at the same moment is lost. supafs uses this function when the project has it.
--
-- Run it in the project's SQL editor, or with psql as the role `postgres`. It may be run again. It is
-- enough by itself for the attributes; 002 to 006 make the tables (docs/guide/tables.md).
-- To take it away: drop function public.supafs_set_attrs(text, text, text, text, text, jsonb);
--
-- Parameters that are null leave their part as it is. The answer is
--   {"updated": true, "version": "...", "updated_at": "..."}      changed; the version is the same
--   {"updated": false, "version": "..."}    the object has this version by now; nothing was changed
--   {"updated": false, "version": null}     no such object, or none that the caller may see
-- A caller who sees the object and may not change it gets the error 42501.
--
-- Security: invoker, so that it gives nobody a right that he does not have already. The Storage
-- service itself works on this table in the role of the caller's token; what that role may do with
-- an object by the policies of storage.objects, it may do here: SELECT to see the row, UPDATE to
-- change it, and the service role all. A definer's function would have to judge that by itself.

begin;

-- Which of these files ran. Where the project has a table of this name and another shape, that one is
-- left alone, and ours is called supafs_schema_version.
do $$
declare
    v_noted text := 'public.schema_version';
begin
    -- Two who install at the same time go one behind the other.
    perform pg_advisory_xact_lock(7239105);
    if to_regclass('public.supafs_schema_version') is not null
       or (to_regclass('public.schema_version') is not null
           and (select count(*) from pg_attribute as a
                 where a.attrelid = to_regclass('public.schema_version')
                   and a.attname in ('component', 'version', 'name', 'applied_at')
                   and not a.attisdropped) < 4)
    then
        v_noted := 'public.supafs_schema_version';
    end if;
    if to_regclass(v_noted) is null then
        execute format('create table %s (
            component text not null,
            version integer not null,
            name text not null,
            applied_at timestamptz not null default now(),
            primary key (component, version))', v_noted);
        execute format('alter table %s enable row level security', v_noted);
        execute format('revoke all on %s from public, anon, authenticated, service_role', v_noted);
        execute format('grant select on %s to service_role', v_noted);
    end if;
    execute format('insert into %s (component, version, name) values ($1, $2, $3)
        on conflict do nothing', v_noted) using 'supafs', 1, 'attributes';
end;
$$;

create or replace function public.supafs_set_attrs(
    p_bucket text,
    p_name text,
    p_version text,
    p_cache_control text,
    p_mimetype text,
    p_metadata jsonb
) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_version text;
    v_updated_at timestamptz;
begin
    if jsonb_typeof(p_metadata) <> 'object' then
        raise exception 'p_metadata must be an object or null' using errcode = '22023';
    end if;

    -- The comparison and the change are one statement: a writer who is quicker is waited for, and
    -- then the row does not fit any more. Storage keeps the old versions of a versioned bucket in
    -- the same table; its columns for that are younger than many projects, hence not by name.
    update storage.objects as o
       set user_metadata = coalesce(p_metadata, o.user_metadata),
           metadata = coalesce(o.metadata, '{}')
               || jsonb_strip_nulls(jsonb_build_object('cacheControl', p_cache_control,
                                                       'mimetype', p_mimetype)),
           updated_at = now()
     where o.bucket_id = p_bucket and o.name = p_name and o.version is not distinct from p_version
       and to_jsonb(o) ->> 'archived_at' is null
    returning o.version, o.updated_at into v_version, v_updated_at;
    if found then
        -- Milliseconds, as the Storage API writes times.
        return jsonb_build_object('updated', true, 'version', v_version, 'updated_at',
            to_char(v_updated_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'));
    end if;

    select o.version into v_version
      from storage.objects as o
     where o.bucket_id = p_bucket and o.name = p_name
       and to_jsonb(o) ->> 'archived_at' is null
       and to_jsonb(o) ->> 'is_delete_marker' is distinct from 'true';
    if found and v_version is not distinct from p_version then
        raise exception 'new row violates row-level security policy for table "objects"'
            using errcode = '42501';
    end if;
    return jsonb_build_object('updated', false, 'version', v_version);
end;
$$;

comment on function public.supafs_set_attrs(text, text, text, text, text, jsonb) is
    'Changes an object''s user metadata, cache control and content type if it still has the given version (supafs).';

-- Who may call it; what a call may do is for the policies of storage.objects to say.
revoke all on function public.supafs_set_attrs(text, text, text, text, text, jsonb) from public;
grant execute on function public.supafs_set_attrs(text, text, text, text, text, jsonb)
    to anon, authenticated, service_role;

-- PostgREST looks at the schema again.
notify pgrst, 'reload schema';

commit;
