#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# supabase-js's storage client, which nobody here wrote, against the server: every method whose
# route is there, and a plain 501 from the dev server for those that are not.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/js.sh"

js_setup
start_server
kind=dev-server
if real_server; then kind=real-server; fi

step "the methods of the storage client"
rc=0
run_js storage.mjs "t-js-$$-$RANDOM" "$kind" >"$SF_TMP/js.out" 2>&1 || rc=$?
cat "$SF_TMP/js.out" >&2
expect_eq "exit status of storage.mjs" 0 "$rc"
expect_ge "methods tried" 20 "$(grep -c '^ok ' "$SF_TMP/js.out")"
passed
