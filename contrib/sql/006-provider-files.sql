-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- Which provider has a content under which id, so that many mounts upload it once:
-- supafs_provider_claim, supafs_provider_settle, supafs_provider_drop. docs/guide/tables.md has
-- them in short.
--
-- All are security invoker: they give nobody a right that he does not have already, and look only at
-- rows of the caller's own (for the service those that belong to nobody). An argument of the wrong
-- shape is refused with the error 22023, and nothing is changed. Run it after 005; it may be run
-- again.

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
            v_noted) into v_before using 'supafs', 5;
    end if;
    if v_before is not true then
        raise exception '006-provider-files.sql: run 005-functions.sql first'
            using errcode = '55000';
    end if;
    execute format('insert into %s (component, version, name) values ($1, $2, $3)
        on conflict do nothing', v_noted) using 'supafs', 6, 'provider-files';
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
    return jsonb_build_object('version',
        case when to_regprocedure('public.supafs_chat_begin(jsonb)') is null then 6 else 7 end,
        'role', current_user, 'sub', auth.uid(), 'exai',
        coalesce(pg_get_viewdef(to_regclass('public.supafs_conversations')) like '%exai_sessions%',
            false));
end;
$$;

-- For the three below: whether p is an object with these members of these types, all of those that
-- are needed among them, and no text that is empty.
create or replace function public.supafs_provider_check(
    p jsonb,
    p_types jsonb,
    p_needed text[]
) returns void
language plpgsql
immutable
security invoker
set search_path = ''
as $$
begin
    if p is null or jsonb_typeof(p) <> 'object' then
        raise exception 'p must be an object' using errcode = '22023';
    end if;
    if exists (select from jsonb_each(p) as m
                where jsonb_typeof(m.value) not in (p_types ->> m.key, 'null')
                   or (p_types ? m.key and m.value = '""'))
    then
        raise exception 'p: a member of the wrong type' using errcode = '22023';
    end if;
    if exists (select from unnest(p_needed) as n where p ->> n is null) then
        raise exception 'p: % are needed', array_to_string(p_needed, ', ') using errcode = '22023';
    end if;
end;
$$;

-- For two of them: notes the provider's id of an object, where there is none or another one. What
-- belongs to somebody else, or is the id of another object, stays as it is.
create or replace function public.supafs_provider_note(
    p_file_id uuid,
    p_provider text,
    p_provider_file_id text
) returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    if p_file_id is null then
        return;
    end if;
    begin
        insert into public.file_id_mappings (supabase_file_id, provider, provider_file_id)
        values (p_file_id, p_provider, p_provider_file_id) on conflict do nothing;
        update public.file_id_mappings as i set provider_file_id = p_provider_file_id
         where i.supabase_file_id = p_file_id::text and i.provider = p_provider
           and i.provider_file_id <> p_provider_file_id;
    exception when insufficient_privilege or integrity_constraint_violation then
        null;
    end;
    update public.file_metadata as m
       set provider_file_ids = coalesce(m.provider_file_ids, '{}')
               || jsonb_build_object(p_provider, p_provider_file_id)
     where m.file_id = p_file_id
       and m.provider_file_ids ->> p_provider is distinct from p_provider_file_id;
end;
$$;

-- Who wants a provider's id of a content asks here first. Members of p:
--   sha256, provider, account, purpose (what is wanted), holder (who asks: a name that no other one has),
--   lease_s (for how long he may be busy: 1 to 86400 seconds), file_id (of an object with this content;
--   optional), bytes (optional)
-- The answer:
--   {"state": "ready", "provider_file_id", "bytes", "expires_at"}   there it is
--   {"state": "claimed"}           nobody has it: he shall upload it, and settle the claim
--   {"state": "busy", "until"}     another one is uploading it
-- Of any number who ask at the same time one has the claim. It can be taken over when its lease has
-- run out, and is his anew when its holder asks again.
create or replace function public.supafs_provider_claim(p jsonb) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v record;
    v_row public.provider_files;
begin
    perform public.supafs_provider_check(p, '{"sha256": "string", "provider": "string",
        "account": "string", "purpose": "string", "holder": "string", "lease_s": "number",
        "file_id": "string", "bytes": "number"}',
        '{sha256, provider, account, purpose, holder, lease_s}');
    begin
        select * into v from jsonb_to_record(p) as r (sha256 text, provider text, account text,
            purpose text, holder text, lease_s integer, file_id uuid, bytes bigint);
    exception when data_exception then
        raise exception 'p: %', sqlerrm using errcode = '22023';
    end;
    if v.sha256 !~ '^[0-9a-f]{64}$' or v.lease_s not between 1 and 86400 or v.bytes < 0 then
        raise exception 'p: sha256, lease_s or bytes out of range' using errcode = '22023';
    end if;
    loop
        insert into public.provider_files (sha256, provider, account, purpose, bytes, lease_until,
            lease_by)
        values (v.sha256, v.provider, v.account, v.purpose, v.bytes,
            clock_timestamp() + make_interval(secs => v.lease_s), v.holder)
        on conflict do nothing;
        if found then
            return jsonb_build_object('state', 'claimed');
        end if;
        -- Whoever is quicker is waited for. It may have been dropped since.
        select * into v_row from public.provider_files as f
         where f.sha256 = v.sha256 and f.provider = v.provider and f.account = v.account
           and f.purpose = v.purpose and f.owner_id is not distinct from auth.uid()
           for update;
        exit when found;
    end loop;
    if v_row.state = 'ready' and v_row.provider_file_id is not null
       and coalesce(v_row.expires_at > clock_timestamp(), true)
    then
        perform public.supafs_provider_note(v.file_id, v.provider, v_row.provider_file_id);
        return jsonb_build_object('state', 'ready', 'provider_file_id', v_row.provider_file_id,
            'bytes', v_row.bytes, 'expires_at', v_row.expires_at);
    end if;
    if v_row.lease_until > clock_timestamp() and v_row.lease_by <> v.holder then
        return jsonb_build_object('state', 'busy', 'until', v_row.lease_until);
    end if;
    update public.provider_files as f
       set state = 'pending', provider_file_id = null, expires_at = null, error = null,
           bytes = coalesce(v.bytes, f.bytes), lease_by = v.holder,
           lease_until = clock_timestamp() + make_interval(secs => v.lease_s)
     where f.id = v_row.id;
    return jsonb_build_object('state', 'claimed');
end;
$$;

-- What came of a claim. Members of p: sha256, provider, account, purpose, holder as in the claim, and
--   provider_file_id, bytes, expires_at, file_id (all but the first optional)    it is there
--   error (a text)                                                              it is not
-- The answer is {"settled": true}, or, for who has no claim (any more), {"settled": false,
-- "provider_file_id"} with the id that is there by now, or null.
create or replace function public.supafs_provider_settle(p jsonb) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v record;
    v_known text;
begin
    perform public.supafs_provider_check(p, '{"sha256": "string", "provider": "string",
        "account": "string", "purpose": "string", "holder": "string", "provider_file_id": "string",
        "bytes": "number", "expires_at": "string", "file_id": "string", "error": "string"}',
        '{sha256, provider, account, purpose, holder}');
    begin
        select * into v from jsonb_to_record(p) as r (sha256 text, provider text, account text,
            purpose text, holder text, provider_file_id text, bytes bigint, expires_at timestamptz,
            file_id uuid, error text);
    exception when data_exception then
        raise exception 'p: %', sqlerrm using errcode = '22023';
    end;
    if (v.provider_file_id is null) = (v.error is null) or v.bytes < 0 then
        raise exception 'p: either provider_file_id or error is needed' using errcode = '22023';
    end if;
    update public.provider_files as f
       set state = case when v.error is null then 'ready' else 'failed' end,
           provider_file_id = v.provider_file_id, error = left(v.error, 400),
           bytes = coalesce(v.bytes, f.bytes), expires_at = v.expires_at,
           lease_by = null, lease_until = null
     where f.sha256 = v.sha256 and f.provider = v.provider and f.account = v.account
       and f.purpose = v.purpose and f.owner_id is not distinct from auth.uid()
       and f.lease_by = v.holder;
    if not found then
        select f.provider_file_id into v_known from public.provider_files as f
         where f.sha256 = v.sha256 and f.provider = v.provider and f.account = v.account
           and f.purpose = v.purpose and f.owner_id is not distinct from auth.uid();
        return jsonb_build_object('settled', false, 'provider_file_id', v_known);
    end if;
    if v.error is null then
        perform public.supafs_provider_note(v.file_id, v.provider, v.provider_file_id);
    end if;
    return jsonb_build_object('settled', true);
end;
$$;

-- The provider has no file of this id any more: all that is noted of it goes. Members of p: provider,
-- provider_file_id. The answer tells of how many contents it was the id: {"dropped": 1}.
create or replace function public.supafs_provider_drop(p jsonb) returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_provider text := p ->> 'provider';
    v_id text := p ->> 'provider_file_id';
    v_hashes text[];
    v_files text[];
begin
    perform public.supafs_provider_check(p, '{"provider": "string", "provider_file_id": "string"}',
        '{provider, provider_file_id}');
    with gone as (
        delete from public.provider_files as f
         where f.provider = v_provider and f.provider_file_id = v_id returning f.sha256)
    select coalesce(array_agg(g.sha256), '{}') into v_hashes from gone as g;
    with gone as (
        delete from public.file_id_mappings as i
         where i.provider = v_provider and i.provider_file_id = v_id
        returning i.supabase_file_id)
    select coalesce(array_agg(g.supabase_file_id), '{}') into v_files from gone as g;
    update public.file_metadata as m
       set provider_file_ids = m.provider_file_ids - v_provider
     where (m.file_hash = any(v_hashes) or m.file_id in (
               select f::uuid from unnest(v_files) as f
                where f ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'))
       and m.provider_file_ids ->> v_provider = v_id;
    return jsonb_build_object('dropped', cardinality(v_hashes));
end;
$$;

-- As in 005.
do $$
declare
    v_function text;
begin
    foreach v_function in array array['supafs_about()', 'supafs_provider_check(jsonb, jsonb, text[])',
        'supafs_provider_note(uuid, text, text)', 'supafs_provider_claim(jsonb)',
        'supafs_provider_settle(jsonb)', 'supafs_provider_drop(jsonb)']
    loop
        execute format('revoke all on function public.%s from public, anon', v_function);
        execute format('grant execute on function public.%s to authenticated, service_role',
            v_function);
    end loop;
end;
$$;

notify pgrst, 'reload schema';

commit;
