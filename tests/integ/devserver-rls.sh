#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The dev server's policies: what each right is needed for, and what its absence looks like, as the
# table in the README says. The recordings that have to do with it are replayed by replay.sh.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"

need_devserver "it is the subject"
start_server
rc=0
python3 "${0%.sh}.py" >"$SF_TMP/rls.out" || rc=$?
cat "$SF_TMP/rls.out" >&2
expect_eq "exit status of devserver-rls.py" 0 "$rc"
passed
