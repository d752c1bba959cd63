#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# contrib/sql/007-chat.sql as mounts use it, through PostgREST, in both layouts: what each function says and
# refuses, lost replies, leases that run out, users who see nothing of each other, what stands in rows of other
# programs; and ten writers of one conversation at the same time (docs/formats/chat.md: K2, K4 to K6, K8, K10).
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/js.sh"
. "$(dirname "$0")/../lib/postgres.sh"

need psql openssl python3
js_setup
SUPABASE_JWT_SECRET=$(openssl rand -hex 32)
export SUPABASE_JWT_SECRET
start_postgres
rounds=3
[ -z "${SF_SOAK:-}" ] || rounds=40
for layout in own exai; do
    new_database "$layout"
    [ "$layout" = own ] || expect_ok "the pair" pg_owner -f "$SF_SRC/tests/lib/exai-schema.sql"
    install_sql
    start_postgrest
    # The rows of a program that knows nothing of us, which no policy keeps from writing what it likes.
    export PGHOST="$SF_PG_DIR" PGUSER=supabase_admin PGDATABASE="$layout"
    for part in contract "writers $rounds"; do
        step "$layout: ${part% *}"
        # shellcheck disable=SC2086
        expect_ok "$layout: $part" python3 "$SF_SRC/tests/integ/chat-sql.py" "$SF_REST" $part
    done
done
passed
