#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What each call on a chat file does, one by one (docs/formats/chat.md): asking, reading, truncation,
# poll, signals, and the errno of everything that can go wrong.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/../lib/providers.sh"
. "$(dirname "$0")/../lib/chat.sh"

need_fuse
need_supafs
need_devserver "its providers answer"
start_server
new_bucket bucket
chat_providers
chat_provider slow slow:150:40,words:20
chat_provider hang hang:6
chat_provider mute hang
chat_provider cut cut
chat_provider long 400-toolong
chat_provider poor 403-balance
chat_provider refused 401
chat_provider keyless ok
unset SUPAFS_PROVIDER_KEYLESS_KEY
export SUPAFS_PROVIDER_KEYLESS_KEY_FILE=$SF_TMP/nowhere
chat_provider late hang
export SUPAFS_PROVIDER_LATE_CHAT_TIMEOUT=1s
chat_provider backed 404-model
export SUPAFS_PROVIDER_BACKED_FALLBACK=glm
mount_chat mnt
rc=0
timeout 120 python3 "${0%.sh}.py" "$mnt" >"$SF_TMP/calls.out" || rc=$?
cat "$SF_TMP/calls.out" >&2
expect_eq "exit status of chat-calls.py" 0 "$rc"
expect_eq "checks" "$(grep -c '^@check' "${0%.sh}.py")" "$(grep -c '^ok ' "$SF_TMP/calls.out")"
passed
