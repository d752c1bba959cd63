#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The dev server itself: its fault switches, what survives a restart and a kill, who may start it,
# its files' modes, its limits. How fast it is is printed and never decides.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"

need_devserver "it is the subject"
bin=$(sf_binary supafs-devserver) || skip "requires supafs-devserver (build it first)"
start_server

step "a new project"
expect_eq "mode of project.env" 600 "$(stat -c %a "$SF_PROJECT_DIR/project.env")"
expect_eq "files that others can read" "" \
    "$(find "$SF_PROJECT_DIR" -type f -perm /077 -print)"
for name in SUPABASE_URL SUPABASE_ANON_KEY SUPABASE_SERVICE_ROLE_KEY SUPABASE_JWT_SECRET \
    SUPAFS_DEVSERVER_ADMIN; do
    expect_ne "$name" "" "${!name:-}"
done
expect_eq "what it printed" "ready $SUPABASE_URL" "$(cat "$SF_TMP/server.ready")"
expect_eq "the buckets" 'generated-files private 10485760 ["text/*", "application/json"]
results private null null
user-files private 52428800 ["text/*", "application/pdf", "image/*"]' \
    "$(api GET /bucket | json_get '"\n".join(sorted(" ".join([b["id"], "public" if b["public"] else
        "private", json.dumps(b["file_size_limit"]), json.dumps(b["allowed_mime_types"])])
        for b in d))')"
expect_eq "no key in argv" "" "$(tr '\0' '\n' <"/proc/$(server_pid)/cmdline" | grep -F eyJ)"

step "the fault switches"
rc=0
python3 "$SF_SRC/tests/integ/devserver-faults.py" results >"$SF_TMP/faults.out" || rc=$?
cat "$SF_TMP/faults.out" >&2
expect_eq "exit status of devserver-faults.py" 0 "$rc"

step "a second server on the same directory is refused"
expect_exit "its exit status" 1 timeout 10 "$bin" --data "$SF_PROJECT_DIR"
expect_match "its message" "$SF_PROJECT_DIR" "$SF_OUT"
expect_eq "the first one serves on" 200 "$(api_status GET /bucket)"

step "wrong use"
expect_exit "without --data" 2 timeout 10 "$bin"
expect_exit "a bad number" 2 timeout 10 "$bin" --data "$SF_TMP/none" --delay-ms x
expect_missing "nothing was made" "$SF_TMP/none"
expect_exit "--import of a missing file" 1 timeout 10 "$bin" --data "$SF_TMP/other" \
    --import "results/x=$SF_TMP/missing"

# project_state: everything that must survive.
project_state() {
    sort "$SF_PROJECT_DIR/project.env"
    api GET /bucket | json_get 'd'
    for bucket in results user-files kept; do
        api_json POST "/object/list-v2/$bucket" '{}'
        echo
    done
    object_info kept "a b/c.txt"
}

step "a restart keeps state, keys and ports"
api_json POST /bucket '{"name":"kept","public":true,"file_size_limit":"1MB"}' >/dev/null
head -c 300000 /dev/urandom >"$SF_TMP/bytes"
expect_ok "an object" put_object kept "a b/c.txt" "$SF_TMP/bytes" text/plain
project_state >"$SF_TMP/before"
restart_server
project_state >"$SF_TMP/after"
expect_same_file "the state" "$SF_TMP/before" "$SF_TMP/after"
expect_ok "the object" get_object kept "a b/c.txt" "$SF_TMP/got"
expect_same_file "its bytes" "$SF_TMP/bytes" "$SF_TMP/got"
expect_eq "faults after a restart" "[]" "$(admin GET /faults | json_get d)"

step "a project of an earlier version gets what its tables lack"
stop_server
python3 - "$SF_PROJECT_DIR/project.db" <<'END' || fail "cannot take the columns away"
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as database:
    for column in ("stored_mime", "stored_cache"):
        database.execute(f"ALTER TABLE objects DROP COLUMN {column}")
END
restart_server
project_state >"$SF_TMP/after"
expect_same_file "the state" "$SF_TMP/before" "$SF_TMP/after"

step "a kill keeps state as well, and what was answered is there"
for number in 1 2 3 4 5; do
    expect_ok "object $number" put_object kept "n/$number" "$SF_TMP/bytes"
done
expect_ok "a deletion" delete_object kept n/3
project_state >"$SF_TMP/before"
kill_server
restart_server
project_state >"$SF_TMP/after"
expect_same_file "the state" "$SF_TMP/before" "$SF_TMP/after"
expect_ok "the object" get_object kept n/5 "$SF_TMP/got"
expect_same_file "its bytes" "$SF_TMP/bytes" "$SF_TMP/got"
expect_eq "files of bytes without an object" 5 \
    "$(find "$SF_PROJECT_DIR" -type f -size 300000c | wc -l)"

step "limits of the command line, imports, delay"
head -c 70000000 /dev/zero >"$SF_TMP/large"
restart_server --standard-limit 1000 --global-limit 2000 --delay-ms 200 \
    --import "results/in/large.bin=$SF_TMP/large"
expect_eq "above the standard limit" 400 \
    "$(head -c 1001 "$SF_TMP/bytes" | api_status PUT /object/results/x --data-binary @-)"
expect_eq "at the limit" 200 \
    "$(head -c 1000 "$SF_TMP/bytes" | api_status PUT /object/results/x --data-binary @-)"
began=$(now_ms)
expect_ok "the import" get_object results in/large.bin "$SF_TMP/got"
expect_ge "ms with --delay-ms 200" 190 $(($(now_ms) - began))
expect_same_file "its bytes" "$SF_TMP/large" "$SF_TMP/got"
restart_server --standard-limit 0 --global-limit 0
expect_ok "70 MB without limits" put_object results big.bin "$SF_TMP/large"
expect_eq "its size" 70000000 "$(object_info results big.bin | json_get 'd["size"]')"

step "how fast it is (printed only)"
head -c 1024 /dev/urandom >"$SF_TMP/small"
expect_ok "a small object" put_object results small "$SF_TMP/small"
began=$(now_ms)
sf_curl -Z --parallel-max 16 "$SF_STORAGE/object/authenticated/results/small?n=[1-3000]" \
    >/dev/null 2>&1 || fail "3000 small GETs"
took=$(($(now_ms) - began))
note "3000 GETs of 1 KiB by curl in $took ms: $((3000 * 1000 / (took > 0 ? took : 1))) per second"
began=$(now_ms)
sf_curl "$SF_STORAGE/object/authenticated/results/big.bin?n=[1-8]" >/dev/null || fail "large GETs"
took=$(($(now_ms) - began))
note "560 MB in large GETs by curl in $took ms: $((560000 / (took > 0 ? took : 1))) MB/s"

passed
