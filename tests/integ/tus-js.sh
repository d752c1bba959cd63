#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# tus-js-client, which nobody here wrote, against the server's resumable uploads.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/js.sh"

js_setup
start_server
kind=dev-server
if real_server; then kind=real-server; fi

step "uploads of tus-js-client"
rc=0
run_js tus.mjs "t-tus-$$-$RANDOM" "$SF_TMP" "$kind" >"$SF_TMP/js.out" 2>&1 || rc=$?
cat "$SF_TMP/js.out" >&2
expect_eq "exit status of tus.mjs" 0 "$rc"
expect_ge "cases" 10 "$(grep -c '^ok ' "$SF_TMP/js.out")"
passed
