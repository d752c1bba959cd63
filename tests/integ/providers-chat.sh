#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Turns of a chat with the emulated providers, in every way in which those answer: the two were
# written apart, from the same facts.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"

need_devserver "its providers answer"
probe=$SUPAFS_BUILDDIR/tests/lib/chat-probe
[ -x "$probe" ] || fail "there is no $probe"
start_server
rc=0
python3 "${0%.sh}.py" "$probe" >"$SF_TMP/chat.out" || rc=$?
cat "$SF_TMP/chat.out" >&2
expect_eq "exit status of providers-chat.py" 0 "$rc"
passed
