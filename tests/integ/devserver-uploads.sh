#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Resumable uploads and forms of the dev server: its lock, what is kept of broken requests, ages,
# limits, forms in odd shapes; and that uploads outlive a stop and a kill.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"

need_devserver "it is the subject"
start_server
export SF_PROJECT_DIR
SF_SERVER_PID=$(server_pid)
export SF_SERVER_PID

step "requests"
rc=0
python3 "${0%.sh}.py" results >"$SF_TMP/uploads.out" || rc=$?
cat "$SF_TMP/uploads.out" >&2
expect_eq "exit status of devserver-uploads.py" 0 "$rc"

for how in stop_server kill_server; do
    step "uploads outlive $how"
    expect_ok "the beginning" python3 "${0%.sh}.py" results begin "$SF_TMP/begun"
    "$how"
    restart_server
    expect_ok "the end" python3 "${0%.sh}.py" results end "$SF_TMP/begun"
done
passed
