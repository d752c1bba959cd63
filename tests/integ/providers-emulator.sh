#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The dev server's emulated AI providers: their routes, limits, settings and scenarios, what
# project.env says of them, and what outlives a restart.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"

need_devserver "its providers are the subject"
start_server

# kimi CURL-OPTION...: a request to the emulated Kimi with its key, which comes through a pipe.
kimi() {
    curl -sS --max-time 120 --config <(printf 'header = "Authorization: Bearer %s"\n' \
        "$MOONSHOT_API_KEY") "$@"
}

step "what project.env says"
for name in MOONSHOT ZHIPUAI OPENAI; do
    key=${name}_API_KEY url=${name}_BASE_URL
    expect_ne "$key" "" "${!key:-}"
    expect_match "$url" "^$SUPABASE_URL/" "${!url:-}"
done
expect_eq "Kimi answers" '{"object":"list","data":[]}' "$(kimi "$MOONSHOT_BASE_URL/files")"

step "every route and scenario"
rc=0
python3 "${0%.sh}.py" >"$SF_TMP/emulator.out" || rc=$?
cat "$SF_TMP/emulator.out" >&2
expect_eq "exit status of providers-emulator.py" 0 "$rc"

step "a file and the keys outlive a restart, also a kill"
echo "bleibt" >"$SF_TMP/bleibt.txt"
kimi -F purpose=file-extract -F "file=@$SF_TMP/bleibt.txt" "$MOONSHOT_BASE_URL/files" \
    >"$SF_TMP/row.json"
id=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])' <"$SF_TMP/row.json")
old=$MOONSHOT_API_KEY
kill_server
restart_server
expect_eq "the key" "$old" "$MOONSHOT_API_KEY"
expect_eq "the row" "$(cat "$SF_TMP/row.json")" "$(kimi "$MOONSHOT_BASE_URL/files/$id")"
expect_match "the content" '"content":"bleibt\\n"' "$(kimi "$MOONSHOT_BASE_URL/files/$id/content")"

step "a large file takes no memory"
truncate -s 31457280 "$SF_TMP/large.txt"
before=$(awk '/^RssAnon/ {print $2}' "/proc/$(server_pid)/status")
kimi -F purpose=file-extract -F "file=@$SF_TMP/large.txt" "$MOONSHOT_BASE_URL/files" \
    >"$SF_TMP/large.json"
expect_match "accepted" '"bytes":31457280' "$(cat "$SF_TMP/large.json")"
after=$(awk '/^RssAnon/ {print $2}' "/proc/$(server_pid)/status")
expect_le "KiB more" 8192 $((after - before))
expect_eq "its key is in no log" "" "$(curl -sS "$SUPAFS_DEVSERVER_ADMIN/log" |
    grep -F "$MOONSHOT_API_KEY")"
passed
