#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What a model is shown: the answer depends on the file's last kilobyte, on the third of five files, on
# a version of just now; texts, extracted texts, links, pictures; what of a directory is shown and what
# is left out and why; the same beginning from turn to turn; older turns (docs/formats/chat.md, part 9).
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "its providers tell what they were sent"
need_fuse
need_supafs
start_server
new_bucket bucket
content() { python3 "$SF_SRC/tests/integ/chat-content.py" "$@"; }
mkdir "$XDG_CONFIG_HOME/supafs"
content config "$XDG_CONFIG_HOME/supafs/supafs.conf" || fail "no configuration"
mount_project mnt -o attr_ttl=200ms
mount_project cut -o attr_ttl=200ms,chat_file_tokens=1000
mount_project cached -o attr_ttl=200ms,chat_cache=yes
rc=0
content run "$mnt/$bucket" "$cut/$bucket" "$cached/$bucket" "$@" >"$SF_TMP/content.out" || rc=$?
cat "$SF_TMP/content.out" >&2
expect_eq "exit status of chat-content.py" 0 "$rc"
passed
