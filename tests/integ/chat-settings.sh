#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What a question is asked with: front matter, attributes of the file and of its directory, which of them
# holds, what is refused and with which sentence, dry runs (docs/formats/chat.md, part 6).
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
settings_py() { python3 "$SF_SRC/tests/integ/chat-settings.py" "$@"; }
# No others than these: the least order is asked where none is named.
unset MOONSHOT_API_KEY MOONSHOT_BASE_URL ZHIPUAI_API_KEY ZHIPUAI_BASE_URL OPENAI_API_KEY OPENAI_BASE_URL
mkdir "$XDG_CONFIG_HOME/supafs"
settings_py config "$XDG_CONFIG_HOME/supafs/supafs.conf" || fail "no configuration"
mount_project mnt
rc=0
settings_py run "$mnt/$bucket" "$@" >"$SF_TMP/settings.out" || rc=$?
cat "$SF_TMP/settings.out" >&2
expect_eq "exit status of chat-settings.py" 0 "$rc"

step "they are kept with the file"
echo text >"$mnt/$bucket/kept.txt"
expect_ok "set" setfattr -n user.supafs.chat.model -v kept-model "$mnt/$bucket/kept.txt"
remount_project "$mnt"
expect_eq "after a remount" kept-model "$(getfattr --absolute-names --only-values -n user.supafs.chat.model "$mnt/$bucket/kept.txt")"
cp -a "$mnt/$bucket/kept.txt" "$mnt/$bucket/copy.txt"
expect_eq "of a copy" kept-model "$(getfattr --absolute-names --only-values -n user.supafs.chat.model "$mnt/$bucket/copy.txt")"
expect_match "what holds" 'kept-model' "$(getfattr --absolute-names --only-values -n user.supafs.chat.settings "$mnt/$bucket/copy.txt")"
passed
