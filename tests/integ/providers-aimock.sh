#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# aimock, an OpenAI-compatible server that nobody here wrote, judges the dev server's own: the same
# requests to both must get answers of the same shape.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/js.sh"

need_devserver "its providers are judged"
js_setup
start_server

step "aimock starts"
python3 "${0%.sh}.py" fixtures "$SF_TMP/fixtures.json"
"$SF_NODE" "$SF_TMP/js/node_modules/@copilotkit/aimock/dist/cli.js" -p 0 -f "$SF_TMP/fixtures.json" \
    >"$SF_TMP/aimock.log" 2>&1 </dev/null &
at_exit sf_end_quietly $!
wait_for 30 grep -q 'listening on' "$SF_TMP/aimock.log" || fail "aimock does not start"
port=$(sed -n 's/.*listening on http.*:\([0-9]*\)$/\1/p' "$SF_TMP/aimock.log")
expect_match "its port" '^[0-9]+$' "$port"

step "the same requests to both"
rc=0
python3 "${0%.sh}.py" "$port" >"$SF_TMP/shapes.out" || rc=$?
cat "$SF_TMP/shapes.out" >&2
expect_eq "exit status of providers-aimock.py" 0 "$rc"
expect_ge "shapes compared" 14 "$(grep -c '^ok ' "$SF_TMP/shapes.out")"
passed
