#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The client of the project's tables against a real PostgREST and PostgreSQL: whatever text stands in
# a value, a filter finds the rows that it means and no others, nothing of it is executed, and
# failures are taken for what they are.
# shellcheck source-path=SCRIPTDIR
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/js.sh"
. "$(dirname "$0")/../lib/postgres.sh"

need psql
js_setup
probe=$SUPAFS_BUILDDIR/tests/lib/rest-probe
[ -x "$probe" ] || fail "there is no $probe"
SUPABASE_JWT_SECRET=$(head -c 32 /dev/urandom | base64 -w 0)
export SUPABASE_JWT_SECRET
start_postgres
expect_ok "tables" pg -c "
    create table public.odd (id integer primary key, t text not null, a text[] not null);
    create table public.secret (id integer);
    create table public.child (id integer primary key,
        odd_id integer not null references public.odd (id), n integer check (n > 0));
    revoke all on public.secret from public, anon, authenticated, service_role;
    grant all on public.odd, public.child to service_role;
    create function public.echo(p jsonb) returns jsonb language sql as 'select p';
    create function public.gives_text() returns text language sql as 'select ''text''';
    create function public.fails() returns jsonb language plpgsql
        as 'begin raise exception ''no''; end';
    create function public.sleeps() returns jsonb language sql set statement_timeout = '100ms'
        as 'select ''{}''::jsonb from pg_sleep(5)'"
start_postgrest
start_gateway "$SF_REST"
SUPABASE_SERVICE_ROLE_KEY=$(make_token service_role 4102444800)
export SUPABASE_SERVICE_ROLE_KEY

step "every filter with every value"
made=0
[ -z "${SF_SOAK:-}" ] || made=480
"$probe" corpus "$made" >"$SF_TMP/corpus" || fail "see above"
note "$(cat "$SF_TMP/corpus")"
values=$(sed -nE 's/^OK ([0-9]+) values, [0-9]+ questions$/\1/p' "$SF_TMP/corpus")
expect_eq "rows" "$values" "$(pg -c "select count(*) from odd where a = array[t, 'beside']")"
expect_eq "a value of them, as the database sees it" 1 \
    "$(pg -c "select count(*) from odd where t = \$q\$'; drop table odd; --\$q\$")"

step "failures"
"$probe" errors >"$SF_TMP/errors" || fail "see above"
cat "$SF_TMP/errors" >&2
expect_eq "what they are taken for" "no function: ENOSYS PGRST202
exception: EIO P0001
too long: ETIMEDOUT 57014
scalar: EPROTO
no table: ENOSYS 42P01
no column: ENOSYS 42703
not a number: EINVAL 22P02
denied: EACCES 42501
bad UTF-8: EINVAL
long: E2BIG
row: OK
twice: EEXIST 23505
orphan: ENOENT 23503
check: EINVAL 23514
missing: EINVAL 23502
type: EINVAL 22P02
unknown: ENOSYS PGRST204" "$(sed 's/ $//' "$SF_TMP/errors")"
passed
