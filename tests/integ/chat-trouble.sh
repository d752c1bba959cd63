#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Providers in trouble while a chat file is answered, before the first byte and behind it: what the
# transcript, the errno and user.supafs.error say; a turn that is cancelled at each of its points; who
# takes another's place; budgets. Afterwards no slot is lost (docs/formats/chat.md, part 8). Arguments
# name the checks of chat-trouble.py that are to run alone; so with chat-content and chat-settings.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "its providers fail on purpose"
need_fuse
need_supafs
start_server
unset MOONSHOT_API_KEY MOONSHOT_BASE_URL ZHIPUAI_API_KEY ZHIPUAI_BASE_URL OPENAI_API_KEY OPENAI_BASE_URL
new_bucket bucket
trouble() { python3 "$SF_SRC/tests/integ/chat-trouble.py" "$@"; }
python3 "$SF_SRC/tests/lib/objects.py" seed "$bucket" 'rows/%02d.txt' 0 100 || fail "cannot make files"
mkdir "$XDG_CONFIG_HOME/supafs"
trouble config "$XDG_CONFIG_HOME/supafs/supafs.conf" || fail "no configuration"
mount_project mnt
all_back() {
    [ "$(mount_counter "$mnt" '"%d %d" % (d["provider_slots"], d["provider_waiting"])')" = "0 0" ]
}

step "every kind of trouble, and cancelled turns"
rc=0
trouble run "$mnt/$bucket" "$@" >"$SF_TMP/trouble.out" || rc=$?
cat "$SF_TMP/trouble.out" >&2
expect_eq "exit status of chat-trouble.py" 0 "$rc"
wait_for 5 all_back || fail "slots: $(mount_counter "$mnt" 'd["provider_slots"]')"
expect_eq "no id of an organisation, no key" '' "$(grep -E 'org-[0-9a-z]{6}|ak-[0-9a-z]{6}|sk-[a-z]' "$SF_TMP"/daemon-*.log)"

# refuses_then OPTION REGEX: asked until it is refused with such a sentence (rule M11).
refuses_then() {
    mount_project poor -o "$1"
    echo "some text" >"$poor/$bucket/budget.txt"
    expect_exit "asked until it is refused" 0 trouble spend "$poor/$bucket" budget.txt
    note "$SF_OUT"
    expect_match "the sentence" "$2" "$SF_OUT"
    expect_match "not at once" '^after [1-9]' "$SF_OUT"
}
step "budgets of a day"
refuses_then chat_tokens_day=2600 'chat_tokens_day.*00:00 UTC'
remount_project "$poor" -o chat_tokens_day=2600
expect_exit "they outlive a mount" 0 trouble refused "$poor/$bucket" budget.txt
remount_project "$poor"
expect_exit "and are the mount's" 1 trouble refused "$poor/$bucket" budget.txt
refuses_then chat_price_day=0.22 'chat_price_day.*0\.2.*00:00 UTC'
step "a budget of a mount"
refuses_then chat_tokens_mount=2600 chat_tokens_mount
remount_project "$poor" -o chat_tokens_mount=2600
expect_exit "another mount has its own" 1 trouble refused "$poor/$bucket" budget.txt
passed
