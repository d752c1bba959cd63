#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The server a test works against: a supafs-devserver of its own, or the real one that
# SUPAFS_REAL_URL names (then SUPABASE_SERVICE_ROLE_KEY and SUPABASE_ANON_KEY must be there too).
# Source common.sh first. Keys travel through pipes and the environment, never in argv.
#
# After start_server: SUPABASE_URL, SUPABASE_ANON_KEY, SUPABASE_SERVICE_ROLE_KEY are exported, and
# with the dev server SUPABASE_JWT_SECRET and SUPAFS_DEVSERVER_ADMIN; SF_STORAGE is the API's URL.

sf_server_pid=''
SF_PROJECT_DIR=''

real_server() { [ -n "${SUPAFS_REAL_URL:-}" ]; }

# need_devserver WHY: for tests that need the fault switches or a project of their own.
need_devserver() {
    if real_server; then skip "requires the dev server: ${1:-it uses its fault switches}"; fi
}

# start_server [OPTION...]: starts a dev server on a fresh project (or the one in SF_PROJECT_DIR)
# with these further options, or takes the real one. Ends the test when it does not come up.
start_server() {
    need curl python3
    if real_server; then
        sf_use_real_server
        return
    fi
    SF_PROJECT_DIR=${SF_PROJECT_DIR:-$SF_TMP/project}
    sf_server_log=$SF_TMP/server.log
    sf_launch_server "$@"
    at_exit stop_server
}

sf_use_real_server() {
    export SUPABASE_URL=${SUPAFS_REAL_URL%/}
    SUPABASE_URL=${SUPABASE_URL%/storage/v1}
    [ -n "${SUPABASE_SERVICE_ROLE_KEY:-}" ] ||
        fail "SUPAFS_REAL_URL is set: set SUPABASE_SERVICE_ROLE_KEY too"
    export SUPABASE_SERVICE_ROLE_KEY SUPABASE_ANON_KEY="${SUPABASE_ANON_KEY:-}"
    SF_STORAGE=$SUPABASE_URL/storage/v1
}

sf_launch_server() {
    local bin ready
    bin=$(sf_binary supafs-devserver) || skip "requires supafs-devserver (build it first)"
    ready=$SF_TMP/server.ready
    : >"$ready"
    "$bin" --data "$SF_PROJECT_DIR" "$@" >"$ready" 2>>"$sf_server_log" </dev/null &
    sf_server_pid=$!
    wait_for 20 sf_server_is_settled "$ready"
    grep -q '^ready ' "$ready" || fail "supafs-devserver did not say ready: $(cat "$ready")"
    sf_read_project_env
}

# Ready, or dead: both end the waiting.
sf_server_is_settled() {
    grep -q '^ready ' "$1" || ! kill -0 "$sf_server_pid" 2>/dev/null
}

sf_read_project_env() {
    set -a
    # shellcheck disable=SC1091
    . "$SF_PROJECT_DIR/project.env"
    set +a
    SF_STORAGE=$SUPABASE_URL/storage/v1
}

# stop_server: SIGTERM, and it must end by itself with status 0.
stop_server() {
    local pid=$sf_server_pid rc=0
    [ -n "$pid" ] || return 0
    sf_server_pid=''
    kill -CONT "$pid" 2>/dev/null
    kill -TERM "$pid" 2>/dev/null
    sf_reap "$pid" 15 || rc=$?
    [ "$rc" = 0 ] || fail "supafs-devserver ended with status $rc after SIGTERM"
}

# kill_server: SIGKILL, as if the machine it runs on had gone.
kill_server() {
    local pid=$sf_server_pid
    [ -n "$pid" ] || return 0
    sf_server_pid=''
    kill -KILL "$pid"
    sf_reap "$pid" 15 || :
}

# pause_server, resume_server: connections stay open and nothing is answered in between.
pause_server() { kill -STOP "$sf_server_pid"; }
resume_server() { kill -CONT "$sf_server_pid"; }

# restart_server [OPTION...]: starts it again on the same project (after stop_ or kill_server, or
# instead of the running one). The ports stay the same.
restart_server() {
    need_devserver "it restarts the server"
    stop_server
    sf_launch_server "$@"
}

server_pid() { echo "$sf_server_pid"; }

# sf_reap PID SECONDS: waits for a child; its status, or 137 after killing it.
sf_reap() {
    local end=$((SECONDS + $2))
    while kill -0 "$1" 2>/dev/null; do
        if [ "$SECONDS" -ge "$end" ]; then
            kill -KILL "$1" 2>/dev/null
            wait "$1" 2>/dev/null
            return 137
        fi
        sleep 0.02
    done
    wait "$1" 2>/dev/null
}

# --- the Storage API, as another client uses it ----------------------------------------------

# sf_curl [CURL-OPTION...]: curl with the service key, which comes through a pipe of its own.
sf_curl() { curl -sS --max-time 120 --config <(sf_curl_config) "$@"; }

sf_curl_config() {
    printf 'header = "Authorization: Bearer %s"\n' "$SUPABASE_SERVICE_ROLE_KEY"
    printf 'header = "apikey: %s"\nuser-agent = "supafs-tests/1"\n' "$SUPABASE_SERVICE_ROLE_KEY"
}

# api METHOD PATH [CURL-OPTION...]: prints the body; fails the command on a status of 400 or more.
# PATH is below /storage/v1 and already encoded, as in `api GET /bucket`.
api() {
    local method=$1 path=$2
    shift 2
    sf_curl --fail-with-body -X "$method" "$@" "$SF_STORAGE$path"
}

# api_json METHOD PATH JSON: the same with a JSON body.
api_json() { api "$1" "$2" -H 'Content-Type: application/json' --data-binary "$3"; }

# api_status METHOD PATH [CURL-OPTION...]: prints the HTTP status only.
api_status() {
    local method=$1 path=$2
    shift 2
    sf_curl -X "$method" -o /dev/null -w '%{http_code}' "$@" "$SF_STORAGE$path"
}

# urlencode KEY: for a URL's path; slashes stay. What needs no escape, as most keys, starts no program.
urlencode() {
    local LC_ALL=C
    if [[ $1 != *[!A-Za-z0-9/._~-]* ]]; then
        printf %s "$1"
        return
    fi
    python3 -c 'import sys,urllib.parse;print(urllib.parse.quote(sys.argv[1],safe="/"),end="")' "$1"
}

# json_get EXPRESSION: reads JSON from stdin as `d` and prints a Python expression of it,
# e.g. `api GET /bucket | json_get 'd[0]["name"]'`. Exit status 1 when it cannot.
json_get() {
    python3 -c 'import sys,json
d=json.load(sys.stdin); v=eval(sys.argv[1]); print(v if isinstance(v,str) else json.dumps(v))' "$1"
}

# json_string TEXT: TEXT as a JSON string with its quotes.
json_string() {
    local LC_ALL=C
    if [[ $1 != *[!A-Za-z0-9/._~-]* ]]; then
        printf '"%s"\n' "$1"
        return
    fi
    python3 -c 'import sys,json;print(json.dumps(sys.argv[1]))' "$1"
}

# new_bucket VAR [JSON-MEMBERS]: makes a bucket of its own for this test, puts its name in VAR and
# removes it at the end. `new_bucket B '"public":true'`. Not from a subshell.
new_bucket() {
    local sf_name
    # shellcheck disable=SC2154 # sf_test is set by common.sh
    sf_name=t-$(printf '%s' "$sf_test" | tr -c 'a-zA-Z0-9-' -)-$$-$RANDOM
    api_json POST /bucket "{\"name\":\"$sf_name\"${2:+,$2}}" >/dev/null ||
        fail "cannot make the bucket $sf_name"
    real_server && at_exit drop_bucket "$sf_name"
    printf -v "$1" %s "$sf_name"
}

# drop_bucket BUCKET: everything in it, then itself.
drop_bucket() {
    local page
    while :; do
        page=$(api_json POST "/object/list-v2/$1" '{"limit":500}') || return 1
        page=$(json_get '{"prefixes":[o["name"] for o in d["objects"]]}' <<<"$page") || return 1
        [ "$page" != '{"prefixes": []}' ] || break
        api_json DELETE "/object/$1" "$page" >/dev/null || return 1
    done
    api DELETE "/bucket/$1" >/dev/null
}

# put_object BUCKET KEY FILE [CONTENT-TYPE]: create or replace.
put_object() {
    api PUT "/object/$(urlencode "$1/$2")" -H "Content-Type: ${4:-application/octet-stream}" \
        -H 'Expect:' --data-binary "@$3"
}

# get_object BUCKET KEY FILE: fetch into FILE.
get_object() { api GET "/object/authenticated/$(urlencode "$1/$2")" -o "$3"; }

delete_object() { api DELETE "/object/$(urlencode "$1/$2")"; }

# object_info BUCKET KEY: the info JSON.
object_info() { api GET "/object/info/authenticated/$(urlencode "$1/$2")"; }

# move_object BUCKET FROM TO
move_object() {
    api_json POST /object/move "{\"bucketId\":$(json_string "$1"),\"sourceKey\":$(
        json_string "$2"),\"destinationKey\":$(json_string "$3")}"
}

# list_keys BUCKET [PREFIX]: every key, one a line, in the server's order.
list_keys() {
    python3 "$SF_SRC/tests/lib/objects.py" list "$1" "${2:-}"
}

# --- fault switches and the request log of the dev server -------------------------------------

# admin METHOD PATH [JSON]: the admin port; see contrib/devserver/README.md.
admin() {
    local body=()
    [ $# -lt 3 ] || body=(-H 'Content-Type: application/json' --data-binary "$3")
    curl -sS --fail-with-body --max-time 30 -X "$1" "${body[@]}" "${SUPAFS_DEVSERVER_ADMIN%/}$2"
}

set_faults() { admin PUT /faults "$1" >/dev/null || fail "the fault switch was refused: $1"; }
clear_faults() { admin DELETE /faults >/dev/null || fail "cannot clear the fault switches"; }
settings() { admin PUT /settings "$1" >/dev/null || fail "the setting was refused: $1"; }
request_log() { admin GET /log; }
clear_log() { admin DELETE /log >/dev/null || fail "cannot clear the request log"; }
