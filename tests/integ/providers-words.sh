#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What supafs makes of the emulated providers' words: the two were written apart, from the same
# facts. Each scenario that ends in an error must get its class; file objects, lists and forms must
# be understood.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"

need_devserver "its providers speak"
probe=$SUPAFS_BUILDDIR/tests/lib/provider-probe
[ -x "$probe" ] || fail "there is no $probe"
start_server
rc=0
python3 "${0%.sh}.py" "$probe" >"$SF_TMP/words.out" || rc=$?
cat "$SF_TMP/words.out" >&2
expect_eq "exit status of providers-words.py" 0 "$rc"
passed
