#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The S3 protocol of the dev server: sessions, presigned URLs, chunks, pages, multipart, faults. The
# recordings of the service are replayed by replay.sh; rclone.sh has it used by others.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"

need_devserver "it is the subject"
start_server
new_bucket B
export SF_PROJECT_DIR
rc=0
python3 "${0%.sh}.py" "$B" >"$SF_TMP/s3.out" || rc=$?
cat "$SF_TMP/s3.out" >&2
expect_eq "exit status of devserver-s3.py" 0 "$rc"

step "a part outlives a kill, and its upload is completed at the next server"
upload=$(python3 "${0%.sh}.py" "$B" begin) || fail "cannot begin an upload"
kill_server
restart_server
# shellcheck disable=SC2086 # id and ETag
expect_ok "the rest of the upload" python3 "${0%.sh}.py" "$B" end $upload
expect_eq "files that no row names" 0 "$(grep -c 'removed .* files' "$SF_TMP/server.log")"
passed
