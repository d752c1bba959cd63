#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# `supafs init`: makes buckets with their limits and applies the SQL files, through psql, through the
# Management API, or by telling what to paste; does what is missing, changes nothing that is there,
# and shows no secret.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/../lib/postgres.sh"

need_devserver "it looks at projects of its own"
need psql python3
need_supafs
start_server
start_postgres
newest=$("$SUPAFS" init --print-sql | grep -c '^commit;')
expect_eq "files" "$(find "$SF_SRC/contrib/sql" -name '[0-9]*.sql' | wc -l)" "$newest"
"$SUPAFS" init --print-sql >"$SF_TMP/all.sql"
cat "$SF_SRC"/contrib/sql/[0-9]*.sql >"$SF_TMP/files.sql"
expect_same_file "the SQL in the program" "$SF_TMP/files.sql" "$SF_TMP/all.sql"

# init STATUS [ARGUMENT...]: runs it; its output is in $SF_TMP/out, errors included.
init() {
    local want=$1 rc=0
    shift
    "$SUPAFS" init "$@" >"$SF_TMP/out" 2>&1 || rc=$?
    [ "$rc" = "$want" ] || cat "$SF_TMP/out" >&2
    expect_eq "status of init $*" "$want" "$rc"
}
said() { # REGEX: in one of its lines
    expect_ne "lines like '$1' in: $(cat "$SF_TMP/out")" 0 "$(grep -cE -- "$1" "$SF_TMP/out")"
}
buckets() {
    api GET /bucket | python3 -c 'import json, sys
for b in sorted(json.load(sys.stdin), key=lambda b: b["name"]):
    print(b["name"], b["public"], b["file_size_limit"], *(b["allowed_mime_types"] or ["all"]))'
}
forget() { # empties the database of what init made
    pg -c 'set client_min_messages = warning; drop schema public cascade; create schema public;
        grant all on schema public to postgres;
        grant usage on schema public to anon, authenticated, service_role' || fail "cannot empty the database"
}
version() {
    pg -c "select coalesce(max(version), 0) from public.schema_version where component = 'supafs'"
}

# A project of the dev server has some of them.
for bucket in user-files generated-files results; do
    expect_ok "remove $bucket" api DELETE "/bucket/$bucket"
done

settings '{"tables": "missing"}'

step "nothing but the project's key: buckets are made, and the rest is told"
before=$(buckets)
init 0 --dry-run
said 'bucket user-files: missing'
said "SQL 001-attributes: missing"
said 'nothing was changed'
expect_eq "buckets after --dry-run" "$before" "$(buckets)"
init 23
said 'bucket user-files: made'
said 'paste what follows into the project'
sed '1,/paste what follows/d' "$SF_TMP/out" | tail -n +2 >"$SF_TMP/paste.sql"
expect_same_file "what is to be pasted" "$SF_TMP/files.sql" "$SF_TMP/paste.sql"
expect_eq "the buckets" 'exai-files False None all
generated-files False 10485760 text/* application/json
mcp-files False 52428800 all
results False None all
user-files False 52428800 text/* application/pdf image/*' "$(buckets)"

step "what the project tells of its tables decides what is told"
settings '{"tables": "on"}'
init 0
said '^nothing to do$'
settings '{"tables": "denied"}'
init 23
said 'which version the project.s tables have is not known: the project.s database API answers 40[13], 42501'
said '^-- supafs_set_attrs: '
settings '{"tables": "missing"}'

step "through psql"
password='p%40ss w/rd#'
encoded='p%2540ss%20w%2Frd%23'
mkdir "$SF_TMP/bin"
real=$(command -v psql)
cat >"$SF_TMP/bin/psql" <<END
#!/bin/sh
# Not of the test itself.
if [ -n "\$PGDATABASE" ]; then
    printf '%s\n' "\$*" >>"$SF_TMP/argv"
    env >"$SF_TMP/psql.env"
fi
# The third of them takes its time.
if [ -e "$SF_TMP/slow" ]; then
    echo \$\$ >>"$SF_TMP/slow"
    [ "\$(wc -l <"$SF_TMP/slow")" != 3 ] || sleep 1
fi
[ ! -e "$SF_TMP/tell" ] || { cat "$SF_TMP/tell" >&2; exit 2; }
exec "$real" "\$@"
END
chmod +x "$SF_TMP/bin/psql"
PATH=$SF_TMP/bin:$PATH
export SUPABASE_DB_URL="postgresql://postgres:$encoded@/postgres?host=$SF_PG_DIR&pgbouncer=true"
init 0 --dry-run
said "SQL 00$newest-[a-z-]*: missing"
said 'nothing was changed'
expect_eq "tables after --dry-run" "" "$(pg -c "select to_regclass('public.schema_version')")"
init 0
said 'bucket results: there$'
said 'SQL 001-attributes: applied'
said '^done$'
expect_eq "version" "$newest" "$(version)"
expect_eq "its password" "PGPASSWORD=$password" "$(grep ^PGPASSWORD "$SF_TMP/psql.env")"
expect_eq "keys in its environment" "" "$(grep -E 'SUPABASE|SUPAFS' "$SF_TMP/psql.env")"
expect_eq "its arguments" "-X -q -A -t -w -v ON_ERROR_STOP=1 -f -" "$(sort -u "$SF_TMP/argv")"
init 0
said '^nothing to do$'
init 0 --json
expect_eq "--json" "[\"nothing to do\", \"psql\", $newest, $newest, \"there\", 5]" "$(json_get \
    'd["result"], d["sql"]["way"], d["sql"]["version"], d["sql"]["newest"], d["sql"]["files"][0]["state"], len(d["buckets"])' \
    <"$SF_TMP/out")"

step "from a version before, with the newer ones alone"
pg -c "delete from public.schema_version where component = 'supafs' and version = $newest" ||
    fail "cannot go back"
init 0
said 'SQL 001-attributes: there'
said "SQL 00$newest-[a-z-]*: applied"

step "a SQL error ends it, and undoes its file"
forget
pg -c 'create view public.file_metadata as select 1 as one' || fail "no view"
init 1
said 'SQL 001-attributes: applied'
said 'SQL 002-files: failed: .*ERROR: '
expect_eq "version" 1 "$(version)"
pg -c 'drop view public.file_metadata'
init 0
expect_eq "version" "$newest" "$(version)"

step "an end in the middle does no harm"
forget
: >"$SF_TMP/slow"
"$SUPAFS" init >"$SF_TMP/out" 2>&1 &
ended=$!
# shellcheck disable=SC2317 # called by wait_for
third() { [ "$(wc -l <"$SF_TMP/slow")" = 3 ]; }
wait_for 10 third || fail "psql is not run three times"
kill -KILL "$ended"
wait "$ended" 2>/dev/null
left=$(tail -n 1 "$SF_TMP/slow")
# shellcheck disable=SC2317 # called by wait_for
gone() { ! kill -0 "$left" 2>/dev/null; }
wait_for 10 gone || fail "psql does not end"
rm "$SF_TMP/slow"
expect_eq "version" 2 "$(version)"
init 0
said 'SQL 002-files: there$'
expect_eq "version" "$newest" "$(version)"

step "what psql and the URL may say without their secrets"
echo "psql: error: FATAL:  password \"$password\" is wrong" >"$SF_TMP/tell"
init 1
said 'password in it'
grep -qF "$password" "$SF_TMP/out" && fail "the password is shown"
rm "$SF_TMP/tell"
for url in "postgresql://u:p%40/x@h/d" "postgresql://u:12/p%40@h/d" "mysql://u:$encoded@h/d" "postgresql://u:$encoded@h/d?secret=x" "postgresql://u:%zz@h/d" \
    "postgresql://u:$encoded@a,b/d"; do
    SUPABASE_DB_URL=$url init 2
    said 'db_url'
    grep -qE "p%2540|p%40|secret=" "$SF_TMP/out" && fail "the password is shown"
done
SUPABASE_DB_URL="postgresql://postgres:x@db.aaaaaaaaaaaaaaaaaaaa.supabase.co:5432/postgres" \
    SUPABASE_PROJECT_REF=bbbbbbbbbbbbbbbbbbbb init 2
said 'database of project aaaaaaaaaaaaaaaaaaaa, not of bbbbbbbbbbbbbbbbbbbb'
echo 'psql: error: no TLS here' >"$SF_TMP/tell"
SUPABASE_DB_URL="postgresql://postgres:x@db.example.com/postgres" init 1
expect_eq "TLS to other machines" PGSSLMODE=require "$(grep ^PGSSLMODE "$SF_TMP/psql.env")"
rm "$SF_TMP/tell"
mkdir "$SF_TMP/empty"
PATH=$SF_TMP/empty init 1
said 'apt install postgresql-client'

step "through the Management API"
unset SUPABASE_DB_URL
forget
mkdir "$SF_TMP/api"
PATH=${PATH#*:} python3 "${0%.sh}-api.py" "$SF_TMP/api" "$SF_PG_DIR" 2>"$SF_TMP/api.log" &
at_exit sf_end_quietly $!
wait_for 10 test -e "$SF_TMP/api/port" || fail "the API does not start"
SUPAFS_MANAGEMENT_URL=http://127.0.0.1:$(cat "$SF_TMP/api/port")
export SUPAFS_MANAGEMENT_URL
token=sbp_0123456789abcdef0123456789abcdef01234567
export SUPABASE_ACCESS_TOKEN=$token
init 2
said 'SUPABASE_PROJECT_REF'
export SUPABASE_PROJECT_REF=abcdefghijklmnopqrst
init 0 --dry-run
said 'SQL 001-attributes: missing'
expect_eq "tables after --dry-run" "" "$(pg -c "select to_regclass('public.schema_version')")"
printf '429 1\n503\n' >"$SF_TMP/api/faults"
init 0
said 'SQL 001-attributes: applied'
expect_eq "version" "$newest" "$(version)"
expect_eq "faults met" 2 "$(grep -cE ' (429 1|503)$' "$SF_TMP/api/seen")"
init 0
said '^nothing to do$'
for fault in 401 403 404 html; do
    echo "$fault" >"$SF_TMP/api/faults"
    case $fault in
    401) init 11 && said 'does not accept the access token \(SUPABASE_ACCESS_TOKEN' ;;
    403) init 11 && said 'may not change the database of project abcdefghijklmnopqrst' ;;
    404) init 1 && said 'knows no project abcdefghijklmnopqrst' ;;
    html) init 1 && said "answer is no number" ;;
    esac
    grep -qF "$token" "$SF_TMP/out" && fail "the token is shown"
done
SUPABASE_ACCESS_TOKEN=sbp_wrong init 11
forget
pg -c 'create view public.file_metadata as select 1 as one' || fail "no view"
init 1
said 'SQL 002-files: failed: the Management API answers 400: Failed to run sql query: ERROR: '
expect_eq "version" 1 "$(version)"
unset SUPABASE_ACCESS_TOKEN SUPABASE_PROJECT_REF

step "buckets of the configuration; what differs stays as it is"
mkdir -p "$XDG_CONFIG_HOME/supafs"
cat >"$XDG_CONFIG_HOME/supafs/supafs.conf" <<'END'
[bucket.results]
public = yes
[bucket.pictures]
public = yes
file_size_limit = 2M
allowed_mime_types = image/*, application/pdf
END
init 23
said 'bucket results: there, and left as it is: it is private, not public'
said 'bucket pictures: made'
expect_eq "the new one" "pictures True 2097152 image/* application/pdf" "$(buckets | grep ^pictures)"
expect_eq "the old one" "results False None all" "$(buckets | grep ^results)"
echo 'colour = red' >>"$XDG_CONFIG_HOME/supafs/supafs.conf"
init 2
said 'a bucket has public, file_size_limit and allowed_mime_types'
sed -i 's/^colour.*/[bucket.more]\npublic = no/' "$XDG_CONFIG_HOME/supafs/supafs.conf"

step "a key that may not"
init 23 -o auth=anon
said 'bucket more: missing: a key of role anon may not make buckets: give the service key'
expect_eq "it was not made" 0 "$(buckets | grep -c "^more")"
SUPABASE_SERVICE_ROLE_KEY=sb_secret_of_another_project init 11
"$SUPAFS" init "$SUPABASE_SERVICE_ROLE_KEY" >"$SF_TMP/out" 2>&1
said 'keys are not taken from the command line'
SUPABASE_URL=http://127.0.0.1:1 init 10 -o connect_timeout=1s
said "connection refused"

passed
