-- SPDX-License-Identifier: GPL-3.0-or-later
--
-- error_reports: one row per distinct failure of a user or of the service, with how often it was
-- seen, what is known about it and what was done. Run it after 002; it may be run again.

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
        raise exception '004-errors.sql: run 002-files.sql first' using errcode = '55000';
    end if;
    execute format('insert into %s (component, version, name) values ($1, $2, $3)
        on conflict do nothing', v_noted) using 'supafs', 4, 'errors';
end;
$$;

-- A table of this name that is something else is not touched.
do $$
declare
    v_missing text;
begin
    select string_agg('error_reports.' || c.name, ', ') into v_missing
      from unnest('{id, fingerprint, context, count, first_seen, last_seen, diagnosis,
            recommended_fix, resolved_at}'::text[]) as c (name)
     where to_regclass('public.error_reports') is not null
       and not exists (select from pg_attribute as a
                        where a.attrelid = to_regclass('public.error_reports')
                          and a.attname = c.name and not a.attisdropped);
    if v_missing is not null then
        raise exception 'a table of the same name has another shape: there is no %', v_missing
            using errcode = '42P07', hint = 'The other files of supafs work without this one.';
    end if;
end;
$$;

create table if not exists public.error_reports (
    id uuid primary key default gen_random_uuid(),
    fingerprint text not null,
    message text,
    context jsonb default '{}',
    count bigint not null default 1,
    first_seen timestamptz not null default now(),
    last_seen timestamptz not null default now(),
    diagnosis text,
    recommended_fix text,
    resolved_at timestamptz
);
alter table public.error_reports
    add column if not exists message text,
    add column if not exists owner_id uuid;
-- Not in the same command: rows that are there already belong to nobody.
alter table public.error_reports alter column owner_id set default auth.uid();
-- By owner: else one user's report would be in the way of another's.
create unique index if not exists supafs_error_reports_fingerprint
    on public.error_reports (fingerprint, owner_id) nulls not distinct;
create index if not exists supafs_error_reports_last_seen on public.error_reports (last_seen);

alter table public.error_reports enable row level security;
revoke all on public.error_reports from public, anon, authenticated;
grant select, insert, update, delete on public.error_reports to authenticated, service_role;
drop policy if exists supafs_service on public.error_reports;
create policy supafs_service on public.error_reports to service_role
    using (true) with check (true);
drop policy if exists supafs_own on public.error_reports;
create policy supafs_own on public.error_reports to authenticated
    using (owner_id = (select auth.uid())) with check (owner_id = (select auth.uid()));

notify pgrst, 'reload schema';

commit;
