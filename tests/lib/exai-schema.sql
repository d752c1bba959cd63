-- SPDX-License-Identifier: GPL-3.0-or-later
-- The pair of tables in which some projects of the replaced system have their conversations.
create table public.exai_sessions (
    id uuid primary key default gen_random_uuid(),
    user_id uuid,
    title text,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    metadata jsonb default '{}'
);
create table public.exai_messages (
    id uuid primary key default gen_random_uuid(),
    session_id uuid not null references public.exai_sessions (id) on delete cascade,
    role text not null,
    content text,
    tool_name text,
    tool_args jsonb,
    tool_result jsonb,
    model_used text,
    provider_used text,
    tokens_in integer,
    tokens_out integer,
    cost numeric,
    latency_ms integer,
    metadata jsonb default '{}',
    created_at timestamptz default now()
);
alter table public.exai_sessions enable row level security;
alter table public.exai_messages enable row level security;
create policy own on public.exai_sessions to authenticated
    using (user_id = auth.uid()) with check (user_id = auth.uid());
create policy own on public.exai_messages to authenticated
    using (exists (select from public.exai_sessions as s where s.id = session_id))
    with check (exists (select from public.exai_sessions as s where s.id = session_id));
insert into public.exai_sessions (id, user_id, title)
values ('00000000-0000-0000-0000-000000003001', '00000000-0000-0000-0000-00000000000a', 'of A'),
    ('00000000-0000-0000-0000-000000003002', null, 'of nobody');
insert into public.exai_messages (session_id, role, content, model_used)
values ('00000000-0000-0000-0000-000000003001', 'user', 'hello', 'kimi-k2'),
    ('00000000-0000-0000-0000-000000003002', 'tool', 'a result', null);
