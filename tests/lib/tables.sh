#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A project with tables of its own, and what a mount tells them: a dev server, PostgreSQL and
# PostgREST behind one address. Source common.sh first; the other parts come with this one.
# shellcheck source-path=SCRIPTDIR disable=SC2119
. "$(dirname "${BASH_SOURCE[0]}")/server.sh"
. "$(dirname "${BASH_SOURCE[0]}")/mount.sh"
. "$(dirname "${BASH_SOURCE[0]}")/js.sh"
. "$(dirname "${BASH_SOURCE[0]}")/postgres.sh"

# start_project [without]: with contrib/sql installed, or without. Mounts tell the tables from now on.
start_project() {
    need_devserver "its database is another one"
    need_fuse
    need_supafs
    need psql python3
    js_setup
    start_server
    start_postgres
    [ "${1:-}" = without ] || install_sql
    start_postgrest
    start_gateway "$SUPABASE_URL"
    export SUPAFS_TABLES=auto
}

# tables_queue MOUNTPOINT: rows that the database does not have.
tables_queue() { mount_counter "$1" 'd["tables_queued"]'; }

# tables_are MOUNTPOINT STATE: whether the mount says so now.
tables_are() { [[ $(mount_status "$1" tables) == "$2"* ]]; }

tables_told() { [ "$(tables_queue "$1")" = 0 ]; }

# wait_told MOUNTPOINT [SECONDS]: until the database has all of it.
wait_told() {
    wait_for "${2:-15}" tables_told "$1" ||
        fail "$(tables_queue "$1") rows are left: $(mount_status "$1" tables)"
}

# tables_requests [STATUS]: how often supafs_record() was called, or answered so.
tables_requests() { grep -c "/rpc/supafs_record ${1:-}" "$SF_ROUTE/rest"; }
