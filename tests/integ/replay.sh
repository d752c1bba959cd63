#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The 509 recorded exchanges with the real Storage server against the dev server: a table of what
# differs, each with its reason.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"

need_devserver "the replay empties the project first"
start_server

step "replaying the recordings"
rc=0
python3 "$SF_SRC/tests/replay/replay.py" "$SF_PROJECT_DIR" >"$SF_TMP/replay.out" || rc=$?
cat "$SF_TMP/replay.out"
expect_eq "exit status of replay.py" 0 "$rc"
expect_match "the summary" '^509 recordings: .* 0 unexplained$' "$(tail -n 1 "$SF_TMP/replay.out")"
step "the replay finds a planted difference"
set_faults '{"kind": "etag", "value": "\"lie\"", "path": "/object/authenticated/fx-main/dir/one.txt"}'
expect_exit "replay.py" 1 python3 "$SF_SRC/tests/replay/replay.py" "$SF_PROJECT_DIR"
expect_match "its table" 'UNLISTED +get.ok +etag: .*lie' "$SF_OUT"
passed
