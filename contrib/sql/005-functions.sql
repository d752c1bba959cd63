-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- What a mount asks the tables in one request instead of many: supafs_about, supafs_record,
-- supafs_list_dir, supafs_map_id and supafs_find. docs/guide/tables.md has their arguments.
--
-- All are security invoker: they give nobody a right that he does not have already. An argument of
-- the wrong shape is refused with the error 22023, and nothing is changed. Run it after 002; it may
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
        execute format('select exists (select from %s where component = $1 and version = $2)',
            v_noted) into v_before using 'supafs', 2;
    end if;
    if v_before is not true then
        raise exception '005-functions.sql: run 002-files.sql first' using errcode = '55000';
    end if;
    execute format('insert into %s (component, version, name) values ($1, $2, $3)
        on conflict do nothing', v_noted) using 'supafs', 5, 'functions';
end;
$$;

-- What is there, and who asks:
--   {"version": 7, "role": "authenticated", "sub": "...", "exai": false}
-- version: of the last of these files that ran, also when this one runs again behind it.
-- exai: the conversations are those of an exai_sessions/exai_messages pair.
create or replace function public.supafs_about() returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return jsonb_build_object('version',
        case when to_regprocedure('public.supafs_provider_claim(jsonb)') is null then 5
            when to_regprocedure('public.supafs_chat_begin(jsonb)') is null then 6 else 7 end,
        'role', current_user, 'sub', auth.uid(), 'exai',
        coalesce(pg_get_viewdef(to_regclass('public.supafs_conversations')) like '%exai_sessions%',
            false));
end;
$$;

-- Notes what a mount did, once: a batch that comes again, after a lost reply, changes nothing and
-- answers {"recorded": false}.
--
-- p_files, objects by file_id; a member that is absent or null leaves its column as it is:
--   {"file_id", "bucket", "key", "name", "size", "mime", "sha256", "version", "etag", "tags": [],
--    "uploaded_at"}
--   {"file_id", "removed": true}
-- A sha256 without a version belongs to the object's version if its ETag is the one given, else to none.
-- p_operations, new rows; an id that is there already is left alone:
--   {"id", "file_id", "type", "source", "destination", "status", "created_at", "completed_at",
--    "metadata": {}}
-- p_accesses: {"file_id", "n", "last"} adds n to access_count.
--
-- An entry that the caller's policies or a constraint of the project's own refuse is passed over,
-- counted in "refused", and does not hold the others up: nobody could ever send it.
create or replace function public.supafs_record(
    p_batch uuid,
    p_files jsonb,
    p_operations jsonb,
    p_accesses jsonb
) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_list record;
    v_entry jsonb;
    v_file record;
    v_op record;
    v_access record;
    v_refused integer := 0;
begin
    if p_batch is null then
        raise exception 'p_batch must be a uuid' using errcode = '22023';
    end if;
    for v_list in
        select * from (values
            ('p_files', p_files, '{"file_id": "string", "bucket": "string", "key": "string",
                "name": "string", "size": "number", "mime": "string", "sha256": "string",
                "version": "string", "etag": "string", "tags": "array", "uploaded_at": "string",
                "removed": "boolean"}'::jsonb),
            ('p_operations', p_operations, '{"id": "string", "file_id": "string",
                "type": "string", "source": "string", "destination": "string", "status": "string",
                "created_at": "string", "completed_at": "string", "metadata": "object"}'),
            ('p_accesses', p_accesses, '{"file_id": "string", "n": "number", "last": "string"}'))
            as l (name, entries, members)
    loop
        if jsonb_typeof(v_list.entries) not in ('array', 'null') then
            raise exception '% must be an array', v_list.name using errcode = '22023';
        end if;
        for v_entry in
            select e.value from jsonb_array_elements(nullif(v_list.entries, 'null')) as e
        loop
            if jsonb_typeof(v_entry) <> 'object' or exists (
                select from jsonb_each(v_entry) as m
                 where jsonb_typeof(m.value) not in (v_list.members ->> m.key, 'null'))
               or jsonb_path_exists(v_entry, 'strict $.tags[*] ? (@.type() != "string")', '{}',
                                    true)
            then
                raise exception '%: an entry of the wrong shape', v_list.name
                    using errcode = '22023';
            end if;
        end loop;
    end loop;

    -- Whoever sends the same batch at the same time waits here.
    insert into public.supafs_batches (batch_id) values (p_batch) on conflict do nothing;
    if not found then
        return jsonb_build_object('recorded', false);
    end if;
    if random() < 0.01 then
        delete from public.supafs_batches as b where b.created_at < now() - interval '30 days';
    end if;

    -- A null stands for an empty list. Rows are locked in one order, so that two batches do not stop each other.
    perform from public.file_metadata as m
      where m.file_id in (
          select (e.value ->> 'file_id')::uuid from jsonb_array_elements(
              coalesce(nullif(p_files, 'null'), '[]')
              || coalesce(nullif(p_accesses, 'null'), '[]')) as e)
      order by m.file_id for update;

    for v_file in
        select * from jsonb_to_recordset(nullif(p_files, 'null')) as f (file_id uuid, bucket text, key text,
            name text, size bigint, mime text, sha256 text, version text, etag text, tags text[],
            uploaded_at timestamptz, removed boolean)
    loop
        if v_file.file_id is null or v_file.size < 0 then
            raise exception 'p_files: an entry without a file_id, or of a negative size' using errcode = '22023';
        end if;
        begin
            if v_file.removed then
                delete from public.file_metadata as m where m.file_id = v_file.file_id;
                continue;
            end if;
            -- The reply to an upload tells no version: it is the object's while that has these bytes.
            if v_file.sha256 is not null and v_file.version is null then
                select o.version into v_file.version from storage.objects as o
                 where o.id = v_file.file_id and o.metadata ->> 'eTag' = v_file.etag;
            end if;
            delete from public.file_metadata as m
             where m.bucket_id = v_file.bucket and m.object_key = v_file.key
               and m.file_id <> v_file.file_id;
            insert into public.file_metadata as m (file_id, original_filename, file_size, mime_type,
                supabase_storage_path, file_hash, upload_date, bucket_id, object_key, version, etag,
                tags)
            values (v_file.file_id,
                coalesce(v_file.name, regexp_replace(v_file.key, '^.*/', '')), v_file.size,
                v_file.mime, v_file.bucket || '/' || v_file.key, v_file.sha256,
                coalesce(v_file.uploaded_at, now()), v_file.bucket, v_file.key, v_file.version,
                v_file.etag, v_file.tags)
            on conflict (file_id) do update set
                original_filename = coalesce(excluded.original_filename, m.original_filename),
                file_size = coalesce(excluded.file_size, m.file_size),
                mime_type = coalesce(excluded.mime_type, m.mime_type),
                supabase_storage_path =
                    coalesce(excluded.supabase_storage_path, m.supabase_storage_path),
                file_hash = coalesce(excluded.file_hash, m.file_hash),
                upload_date = coalesce(v_file.uploaded_at, m.upload_date),
                bucket_id = coalesce(excluded.bucket_id, m.bucket_id),
                object_key = coalesce(excluded.object_key, m.object_key),
                version = case when v_file.sha256 is null
                    then coalesce(excluded.version, m.version) else excluded.version end,
                etag = coalesce(excluded.etag, m.etag),
                tags = coalesce(excluded.tags, m.tags);
        exception when insufficient_privilege or integrity_constraint_violation
                    or string_data_right_truncation then
            v_refused := v_refused + 1;
        end;
    end loop;

    for v_op in
        select * from jsonb_to_recordset(nullif(p_operations, 'null')) as o (id uuid, file_id text, type text,
            source text, destination text, status text, created_at timestamptz,
            completed_at timestamptz, metadata jsonb)
    loop
        if v_op.id is null then
            raise exception 'p_operations: an entry without an id' using errcode = '22023';
        end if;
        begin
            insert into public.file_operations (id, file_id, operation_type, source, destination,
                status, created_at, completed_at, metadata)
            values (v_op.id, left(v_op.file_id, 64), left(v_op.type, 20), left(v_op.source, 50),
                left(v_op.destination, 50), left(v_op.status, 20),
                coalesce(v_op.created_at, now()), v_op.completed_at, coalesce(v_op.metadata, '{}'))
            on conflict (id) do nothing;
        exception when insufficient_privilege or integrity_constraint_violation then
            v_refused := v_refused + 1;
        end;
    end loop;

    for v_access in
        select * from jsonb_to_recordset(nullif(p_accesses, 'null')) as a (file_id uuid, n bigint, last timestamptz)
    loop
        if v_access.file_id is null or v_access.n is null or v_access.n < 0 then
            raise exception 'p_accesses: an entry without a file_id or a count'
                using errcode = '22023';
        end if;
        update public.file_metadata as m
           set access_count = least(coalesce(m.access_count, 0)::numeric + v_access.n, 2147483647),
               last_accessed = greatest(m.last_accessed, v_access.last)
         where m.file_id = v_access.file_id;
    end loop;
    return jsonb_build_object('recorded', true, 'refused', v_refused);
exception
    when invalid_parameter_value then
        raise;
    when data_exception then
        raise exception 'p_files, p_operations or p_accesses: %', sqlerrm using errcode = '22023';
end;
$$;

-- The objects that are direct children of a directory, with what is known about them: p_prefix is
-- the directory's key with its '/', or ''. By key, those behind p_after (null: from the first).
create or replace function public.supafs_list_dir(
    p_bucket text,
    p_prefix text,
    p_after text,
    p_limit integer
) returns table (
    key text,
    id uuid,
    version text,
    etag text,
    size bigint,
    mime text,
    cache_control text,
    updated_at timestamptz,
    user_metadata jsonb,
    sha256 text,
    tags text[],
    access_count integer,
    last_accessed timestamptz
)
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    v_like text := replace(replace(replace(coalesce(p_prefix, ''), '\', '\\'), '%', '\%'),
        '_', '\_') || '%';
    -- Storage keeps the old versions of a versioned bucket in the same table; its columns for that are
    -- younger than many projects, hence not by name.
    v_versioned boolean := exists (select from pg_attribute as a
        where a.attrelid = 'storage.objects'::regclass and a.attname = 'archived_at'
          and not a.attisdropped);
    v_from integer := length(coalesce(p_prefix, '')) + 1;
begin
    if p_bucket is null or p_limit is null or p_limit < 1 then
        raise exception 'p_bucket and a p_limit of at least 1 are needed' using errcode = '22023';
    end if;
    return query
    select o.name, o.id, o.version, o.metadata ->> 'eTag',
           case when o.metadata ->> 'size' ~ '^[0-9]{1,18}$'
                then (o.metadata ->> 'size')::bigint end,
           o.metadata ->> 'mimetype', o.metadata ->> 'cacheControl', o.updated_at,
           o.user_metadata, case when m.version = o.version then m.file_hash end, m.tags,
           coalesce(m.access_count, 0), m.last_accessed
      from storage.objects as o
      left join public.file_metadata as m on m.file_id = o.id
     where o.bucket_id = p_bucket and o.name like v_like
       and strpos(substr(o.name, v_from), '/') = 0
       and (p_after is null or o.name collate "C" > p_after)
       and (not v_versioned or (to_jsonb(o) ->> 'archived_at' is null
                                and to_jsonb(o) ->> 'is_delete_marker' is distinct from 'true'))
     order by o.name collate "C"
     limit least(p_limit, 1000);
end;
$$;

-- A provider's id of a file: looked up (p_provider_file_id null), or stored where there is none.
-- Of any number who do so at the same time one stores its id, and all are told that one:
--   {"provider_file_id": "..." or null, "stored": true or false}
-- null after an attempt to store: the id belongs to another file, or the file's row to another user.
create or replace function public.supafs_map_id(
    p_file_id text,
    p_provider text,
    p_provider_file_id text
) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_known text;
begin
    if p_file_id is null or p_provider is null then
        raise exception 'p_file_id and p_provider are needed' using errcode = '22023';
    end if;
    select i.provider_file_id into v_known from public.file_id_mappings as i
     where i.supabase_file_id = p_file_id and i.provider = p_provider;
    if not found and p_provider_file_id is not null then
        insert into public.file_id_mappings (supabase_file_id, provider, provider_file_id)
        values (p_file_id, p_provider, p_provider_file_id)
        on conflict do nothing;
        if found then
            return jsonb_build_object('provider_file_id', p_provider_file_id, 'stored', true);
        end if;
        -- Another one was quicker; the insert has waited for it.
        select i.provider_file_id into v_known from public.file_id_mappings as i
         where i.supabase_file_id = p_file_id and i.provider = p_provider;
    end if;
    return jsonb_build_object('provider_file_id', v_known, 'stored', false);
end;
$$;

-- Objects by what is known about them. Members of p, all optional, all of them must hold:
--   bucket, prefix (of the key), name (glob of the last part of the key: * ? [a-z] [!a-z]),
--   type (glob), min_size, max_size, newer, older (times), tag, sha256, provider, provider_file_id,
--   after_bucket and after_key (go on behind this one), limit (at most 1000, which is the default).
-- is_prefix: there are keys below it, too ("a" and "a/b"), of which a mount makes a directory. (Looked for
-- with the operators of the index that Storage has on names.)
--
-- Before, it had other columns, which no replace can change.
drop function if exists public.supafs_find(jsonb);
create function public.supafs_find(p jsonb) returns table (
    bucket text,
    key text,
    id uuid,
    size bigint,
    mime text,
    updated_at timestamptz,
    sha256 text,
    tags text[],
    is_prefix boolean
)
language plpgsql
stable
security invoker
set search_path = ''
set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
    v record;
    v_glob text;
    v_regex text;
    v_regexes text[];
    -- As in supafs_list_dir().
    v_versioned boolean := exists (select from pg_attribute as a
        where a.attrelid = 'storage.objects'::regclass and a.attname = 'archived_at'
          and not a.attisdropped);
    v_like text;
begin
    if p is null or jsonb_typeof(p) <> 'object' then
        raise exception 'p must be an object' using errcode = '22023';
    end if;
    if exists (select from jsonb_each(p) as m
                where jsonb_typeof(m.value) not in ('null', case
                    when m.key in ('min_size', 'max_size', 'limit') then 'number'
                    when m.key in ('bucket', 'prefix', 'name', 'type', 'newer', 'older', 'tag',
                                   'sha256', 'provider', 'provider_file_id', 'after_bucket',
                                   'after_key') then 'string'
                    else jsonb_typeof(m.value) end))
    then
        raise exception 'p: a member of the wrong type' using errcode = '22023';
    end if;
    begin
        select * into v from jsonb_to_record(p) as r (bucket text, prefix text, name text,
            type text, min_size bigint, max_size bigint, newer timestamptz, older timestamptz,
            tag text, sha256 text, provider text, provider_file_id text, after_bucket text,
            after_key text, "limit" integer);
        -- A glob as a regular expression: what stands in brackets stays, all else is literal.
        foreach v_glob in array array[v.name, v.type] loop
            select '^' || string_agg(case
                       when t.part[1] = '*' then '.*'
                       when t.part[1] = '?' then '.'
                       when t.part[3] is null then
                           regexp_replace(t.part[1], '[]^$*+?(){}|.[\\]', '\\\&')
                       else '[' || case t.part[2] when '' then '' else '^' end
                           || replace(replace(t.part[3], '\', '\\'), '[', '\[') || ']'
                   end, '' order by t.n) || '$'
              into v_regex
              from regexp_matches(v_glob, '(\[([!^]?)(\]?[^]]+)\]|.)', 'g')
                  with ordinality as t (part, n);
            -- One that is none fails here, before anything is looked for.
            perform '' ~ v_regex;
            v_regexes := v_regexes || array[v_regex];
        end loop;
    exception when data_exception then
        raise exception 'p: %', sqlerrm using errcode = '22023';
    end;
    if v."limit" < 1 then
        raise exception 'p: limit must be at least 1' using errcode = '22023';
    end if;
    v_like := replace(replace(replace(coalesce(v.prefix, ''), '\', '\\'), '%', '\%'), '_', '\_')
        || '%';

    return query
    select f.bucket_id, f.name, f.id, f.size, f.mime, f.updated_at, f.sha256, f.tags, exists (
               select from storage.objects as o
                where o.bucket_id = f.bucket_id and o.name ~>=~ (f.name || '/')
                  and o.name ~<~ (f.name || '0')
                  and (not v_versioned or (to_jsonb(o) ->> 'archived_at' is null
                       and to_jsonb(o) ->> 'is_delete_marker' is distinct from 'true')))
      from (select o.bucket_id, o.name, o.id, o.updated_at, m.tags,
                   o.metadata ->> 'mimetype' as mime,
                   case when o.metadata ->> 'size' ~ '^[0-9]{1,18}$'
                        then (o.metadata ->> 'size')::bigint end as size,
                   case when m.version = o.version then m.file_hash end as sha256
              from storage.objects as o
              left join public.file_metadata as m on m.file_id = o.id
             where (v.bucket is null or o.bucket_id = v.bucket) and o.name like v_like
               and (v.newer is null or o.updated_at > v.newer)
               and (v.older is null or o.updated_at < v.older)
               and (v.tag is null or m.tags @> array[v.tag])
               and (v.sha256 is null or (m.file_hash = v.sha256 and m.version = o.version))
               and ((v.provider is null and v.provider_file_id is null) or exists (
                   select from public.file_id_mappings as i
                    where i.supabase_file_id = o.id::text
                      and (v.provider is null or i.provider = v.provider)
                      and (v.provider_file_id is null
                           or i.provider_file_id = v.provider_file_id)))
               and (not v_versioned or (to_jsonb(o) ->> 'archived_at' is null
                    and to_jsonb(o) ->> 'is_delete_marker' is distinct from 'true'))) as f
     where (v_regexes[1] is null or substring(f.name from '[^/]*$') ~ v_regexes[1])
       and (v_regexes[2] is null or f.mime ~ v_regexes[2])
       and (v.min_size is null or f.size >= v.min_size)
       and (v.max_size is null or f.size <= v.max_size)
       and (v.after_bucket is null or f.bucket_id collate "C" > v.after_bucket
            or (f.bucket_id = v.after_bucket and f.name collate "C" > coalesce(v.after_key, '')))
     order by f.bucket_id collate "C", f.name collate "C"
     limit least(coalesce(v."limit", 1000), 1000);
end;
$$;

-- Supabase lets all three roles call a new function of schema public, hence the revoke from anon.
do $$
declare
    v_function text;
begin
    foreach v_function in array array['supafs_about()', 'supafs_record(uuid, jsonb, jsonb, jsonb)',
        'supafs_list_dir(text, text, text, integer)', 'supafs_map_id(text, text, text)',
        'supafs_find(jsonb)']
    loop
        execute format('revoke all on function public.%s from public, anon', v_function);
        execute format('grant execute on function public.%s to authenticated, service_role',
            v_function);
    end loop;
end;
$$;

notify pgrst, 'reload schema';

commit;
