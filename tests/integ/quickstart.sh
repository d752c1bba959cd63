#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# contrib/quickstart: a first and a second run, a run after everything was killed, refusals that
# change nothing, an end half-way, and --stop. With the programs of this build; nothing is installed.
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$SF_SRC/tests/lib/server.sh"
. "$SF_SRC/tests/lib/mount.sh"

need_devserver "it starts one of its own"
need_fuse
need_supafs
need curl make perl flock setsid
[ -e "$SF_BUILD/Makefile" ] || skip "requires a build directory"

data=$SF_TMP/data
mnt=$SF_TMP/mnt
quick() { timeout 250 "$SF_SRC/contrib/quickstart" --no-install --build "$SF_BUILD" --data "$data" "$@"; }
server_lives() { kill -0 "$(cat "$data/server.pid" 2>/dev/null)" 2>/dev/null; }
# shellcheck disable=SC2317 # called at the end
end_all() {
    [ -d "$data" ] || return 0
    quick --stop --purge >"$SF_TMP/end.log" 2>&1 || note "--stop failed: $(cat "$SF_TMP/end.log")"
    force_umount "$mnt"
}
at_exit end_all

step "a first run"
expect_exit "the first run" 0 quick "$mnt"
expect_ok "it is mounted" is_mounted "$mnt"
expect_match "the tour shows the sample" 'visits\.csv' "$SF_OUT"
expect_match "and what the bucket has" '2026-12,2304' "$SF_OUT"
expect_match "and what find finds by content" $'same-as [^\n]*\n[^\n]*/results/tour/visits-before.csv\n' "$SF_OUT"
expect_eq "the last line, by mount, key and link" 3 "$(grep -c '^2026-12,2304$' <<<"$SF_OUT")"
expect_match "and what the tables have" '"object_key":"tour/visits-2026.csv","file_size":65,' "$SF_OUT"
expect_match "and whose file the provider has" 'results/tour/visits-2026.csv *\(uploaded\)' "$SF_OUT"
expect_match "and what a model says of it" $'## user [^\n]*\n\nWhich month was best\\?\n\n## assistant [^\n]* kimi kimi-k2.6\n' "$SF_OUT"
expect_match "and that they heard of it" '"operation_type":"upload","status":"completed"' "$SF_OUT"
expect_match "and how to end it" '--stop' "$SF_OUT"
key=$(. "$data/project/project.env" && echo "$SUPABASE_SERVICE_ROLE_KEY")
[[ $SF_OUT != *"$key"* ]] || fail "the key was printed"
expect_eq "the link of the tour" visits-2026.csv "$(readlink "$mnt/results/tour/latest")"
expect_eq "the data is its owner's alone" 700 "$(stat -c %a "$data")"
expect_eq "so is the header" 600 "$(stat -c %a "$data/auth-header")"

step "a second run is harmless"
echo mine >"$mnt/results/mine" || fail "cannot write"
pid=$(daemon_pid "$mnt")
expect_exit "the second run" 0 quick "$mnt"
expect_match "it says so" 'mounted already' "$SF_OUT"
expect_eq "the same process serves" "$pid" "$(daemon_pid "$mnt")"
expect_eq "files stay" mine "$(cat "$mnt/results/mine")"

step "all was killed, another process has the server's number"
kill -KILL "$pid" "$(cat "$data/server.pid")"
sleep 300 &
other=$!
at_exit sf_end_quietly "$other"
echo "$other" >"$data/server.pid"
# The caller's own project has no part in it either.
expect_exit "the next run" 0 env SUPABASE_URL=http://127.0.0.1:9 SUPAFS_BUCKET=none \
    "$SF_SRC/contrib/quickstart" --no-install --build "$SF_BUILD" --data "$data" --no-tour "$mnt"
expect_eq "files are there again" mine "$(cat "$mnt/results/mine")"
expect_ok "the other process was left alone" kill -0 "$other"

step "refusals"
expect_exit "a second mount point" 1 quick "$mnt-2"
expect_match "it says where it is" "is mounted on $mnt;.*--stop" "$SF_OUT"
expect_exit "--purge alone" 1 quick --purge
expect_exit "an option that is none" 2 quick --nothing
expect_exit "two mount points" 2 quick "$mnt" "$mnt-2"
expect_ok "the mount is still there" test -f "$mnt/results/mine"
mkdir "$SF_TMP/full" && echo x >"$SF_TMP/full/x"
expect_exit "data in a directory with something else" 1 \
    "$SF_SRC/contrib/quickstart" --data "$SF_TMP/full" "$mnt"
expect_eq "it is as it was" x "$(ls "$SF_TMP/full")"

step "stop"
expect_exit "stop" 0 quick --stop
if is_mounted "$mnt"; then fail "it is still mounted"; fi
if server_lives; then fail "the server still runs"; fi
expect_exit "stop again" 0 quick --stop
expect_exit "a directory that is not empty" 1 quick "$SF_TMP/full"
if server_lives; then fail "a run that failed left its server"; fi

step "ended half-way"
# The tour asks the service by curl: here it waits for that one.
mkdir "$SF_TMP/bin"
printf '#!/bin/sh\n: >"%s"\nexec sleep 200\n' "$SF_TMP/asked" >"$SF_TMP/bin/curl"
chmod +x "$SF_TMP/bin/curl"
PATH=$SF_TMP/bin:$PATH quick "$mnt" >"$SF_TMP/half.log" 2>&1 &
half=$!
wait_for 120 test -e "$SF_TMP/asked" || fail "it did not come to the tour: $(cat "$SF_TMP/half.log")"
is_mounted "$mnt" || fail "it was not mounted"
pkill -TERM -P "$half" || fail "it ended too soon"
wait "$half"
if is_mounted "$mnt"; then fail "the mount was left"; fi
if server_lives; then fail "the server was left"; fi

step "what was written is still there; then purge"
expect_exit "a last run" 0 quick --no-tour "$mnt"
expect_eq "my file" mine "$(cat "$mnt/results/mine")"
expect_exit "stop and purge" 0 quick --stop --purge
expect_missing "the data" "$data"
expect_missing "the mount point that it made" "$mnt"
passed
