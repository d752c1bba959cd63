#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# `supafs provider ls`, `check` and `why`: what they tell of providers in sections, the environment
# and the env file, and of those of a mount; who takes a file and why, what the emulated ones answer,
# exit codes, and that no key is ever shown.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "its providers are asked"
need_supafs
need_fuse
need python3 getfattr
secret=sk-kimi-0123456789abcdefNEVERSHOWN
export XDG_CONFIG_HOME=$SF_TMP/etc HOME=$SF_TMP
mkdir -p "$SF_TMP/etc/supafs"
unset MOONSHOT_API_KEY MOONSHOT_BASE_URL ZHIPUAI_API_KEY ZHIPUAI_BASE_URL OPENAI_API_KEY OPENAI_BASE_URL
# shellcheck disable=SC2317 # called by expect_exit
provider() { "$SUPAFS" provider "$@"; }
# own VERB ARGUMENT...: by the own configuration, whatever other tests have mounted
# shellcheck disable=SC2317
own() { "$SUPAFS" provider "$@" --own; }
# member EXPRESSION: of the JSON in SF_OUT, as `o`.
member() { python3 -c 'import json, sys; o = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1" <<<"$SF_OUT"; }

step "none"
expect_exit "ls" 0 own ls
expect_match "it says so" '^no provider is configured' "$SF_OUT"
expect_exit "ls --json" 0 own ls --json
expect_eq "an empty list" '[]' "$(member o)"
: >"$SF_TMP/a.pdf"
expect_exit "why" 1 own why "$SF_TMP/a.pdf"

step "of a file and the environment"
cat >"$SF_TMP/etc/supafs/supafs.conf" <<'END'
[provider.kimi]
order = 10
fallback = local
[provider.local]
type = openai
base_url = http://127.0.0.1:9/v1
model = toy
extensions = md, pdf
[provider.glm]
END
export MOONSHOT_API_KEY=$secret
expect_exit "ls" 0 own ls
expect_eq "their order" "kimi glm local" "$(sed -n 's/^\([a-z]*\) .*/\1/p' <<<"$SF_OUT" | xargs)"
expect_match "where the key comes from" 'MOONSHOT_API_KEY in the environment' "$SF_OUT"
expect_match "what glm lacks" 'cannot be used: ' "$SF_OUT"
[[ $SF_OUT != *NEVERSHOWN* ]] || fail "ls shows the key"
expect_exit "ls --json" 0 own ls --json
expect_eq "the same there" "[('kimi', False), ('glm', True), ('local', False)]" \
    "$(member "[(p['name'], p['trouble'] != '') for p in o]")"
expect_eq "and more" "['local'] toy ['md', 'pdf'] 300.0" \
    "$(member "'%s %s %s %s' % (o[0]['fallback'], o[2]['model'], o[2]['extensions'], o[0]['upload_timeout'])")"
[[ $SF_OUT != *NEVERSHOWN* ]] || fail "ls --json shows the key"

step "who takes a file"
echo text >"$SF_TMP/a.pdf" && echo text >"$SF_TMP/b.zip" && : >"$SF_TMP/empty.pdf"
expect_exit "a PDF" 0 own why "$SF_TMP/a.pdf"
expect_match "the best" '^1\.  kimi +the best: takes the file, order 10' "$SF_OUT"
expect_match "its fallback" $'\n2\.  local +fallback of kimi' "$SF_OUT"
expect_match "one without a key" $'\n-   glm +' "$SF_OUT"
expect_exit "another one by name" 0 own why --provider local "$SF_TMP/a.pdf"
expect_match "that one" '^1\.  local +asked for' "$SF_OUT"
expect_exit "a kind that nobody takes" 1 own why "$SF_TMP/b.zip"
expect_match "it is said" 'no provider takes this file' "$SF_OUT"
expect_exit "an empty file, as JSON" 0 own why --json "$SF_TMP/empty.pdf"
expect_eq "not for Kimi" "[('local', True), ('kimi', False), ('glm', False)]" \
    "$(member "[(p['provider'], p['taken']) for p in o]")"

step "what is wrong"
expect_exit "no such file" 1 own why "$SF_TMP/none.pdf"
expect_exit "a directory" 2 own why "$SF_TMP"
expect_exit "no such provider" 2 own why --provider nobody "$SF_TMP/a.pdf"
expect_exit "no file" 2 own why
expect_exit "no verb" 2 provider
expect_exit "no files" 2 provider upload
expect_exit "a file without an id" 2 provider adopt "$SF_TMP/a.pdf"
expect_exit "--yes for another verb" 2 provider files --yes
expect_exit "settings of a mount" 2 provider upload -o insecure=yes "$SF_TMP/a.pdf"
expect_exit "a mount that is none" 2 provider files --mount "$SF_TMP"
expect_exit "a mount, or none" 2 own ls --mount "$SF_TMP"
expect_exit "a file that is in no mount" 1 provider upload "$SF_TMP/a.pdf"
expect_match "it is said" 'not in a mount of supafs' "$SF_OUT"
expect_exit "another verb" 2 provider burn
expect_exit "too much" 2 own ls "$SF_TMP/a.pdf"
expect_exit "a key as an argument" 2 own why --provider="sk-proj-$(printf 'a%.0s' {1..48})" "$SF_TMP/a.pdf"
sed -i 's/^order = 10/order = soon/' "$SF_TMP/etc/supafs/supafs.conf"
expect_exit "a bad setting" 2 own ls
echo 'OPENAI_BASE_URL=http://127.0.0.1:9/v1' >"$SF_TMP/env"
sed -i 's/^order = soon/order = 10/' "$SF_TMP/etc/supafs/supafs.conf"
expect_exit "an env file" 0 own ls --json --env-file "$SF_TMP/env"
expect_eq "has one more" 4 "$(member 'len(o)')"

step "asking them"
start_server
expect_exit "check of one that nobody is" 1 own check local
expect_match "it is said, and soon" '^fail +local +.*connection refused.* \([0-9]{1,4} ms\)' "$SF_OUT"
rm "$SF_TMP/etc/supafs/supafs.conf"
expect_exit "check" 0 own check
expect_eq "two have models" 2 "$(grep -cE '^ok +(kimi|openai) +[0-9]+ models?(, also kimi-k2.6)? \([0-9]+ ms\)$' <<<"$SF_OUT")"
expect_match "GLM has files" 'ok +glm +it lists its files' "$SF_OUT"
expect_exit "check of one" 0 own check --json kimi
expect_eq "only that" "['kimi'] True" "$(member "'%s %s' % ([p['name'] for p in o], o[0]['ok'])")"
SUPAFS_PROVIDER_KIMI_MODEL=nobody expect_exit "a model that it does not have" 1 own check kimi
expect_match "it is said" 'but not nobody ' "$SF_OUT"
MOONSHOT_API_KEY=$secret expect_exit "a wrong key" 1 own check
expect_match "it is said of Kimi" '^fail +kimi +[^0-9]' "$(grep kimi <<<"$SF_OUT")"
expect_eq "and of no other" 2 "$(grep -c '^ok ' <<<"$SF_OUT")"
[[ $SF_OUT != *NEVERSHOWN* ]] || fail "check shows the key"
MOONSHOT_BASE_URL=$SUPABASE_URL/nothing expect_exit "a wrong address" 1 own check kimi
expect_exit "no such provider" 2 own check nobody

step "of a mount"
cat >"$SF_TMP/etc/supafs/supafs.conf" <<'END'
[provider.kimi]
order = 5
[provider.lost]
type = kimi
END
mount_project mnt
rm "$SF_TMP/etc/supafs/supafs.conf"
unset MOONSHOT_API_KEY MOONSHOT_BASE_URL ZHIPUAI_API_KEY ZHIPUAI_BASE_URL OPENAI_API_KEY OPENAI_BASE_URL \
    SUPAFS_PROVIDER_KIMI_MODEL SUPAFS_PROVIDER_GLM_MODEL
echo text >"$mnt/user-files/a.txt"
expect_exit "this shell has none" 0 own ls
expect_match "it says so" '^no provider is configured' "$SF_OUT"
expect_match "and whose these are" "by this command's own configuration" "$SF_OUT"
expect_exit "the mount has some" 0 provider ls -m "$mnt"
expect_eq "their order" "kimi glm lost openai" "$(sed -n 's/^\([a-z]*\) .*/\1/p' <<<"$SF_OUT" | xargs)"
expect_match "and whose these are" "by the mount $mnt" "$SF_OUT"
expect_match "how one is" $'\n +now: up; 0 of 1 slots used' "$SF_OUT"
expect_match "what one lacks" 'cannot be used: provider lost has no key' "$SF_OUT"
expect_exit "check" 1 provider check -m "$mnt"
expect_eq "three are well" 3 "$(grep -c '^ok ' <<<"$SF_OUT")"
expect_exit "check of one" 0 provider check -m "$mnt" --json kimi
expect_eq "only that, by the mount" "['kimi'] $mnt" "$(member "'%s %s' % ([p['name'] for p in o], o[0]['mount'])")"
expect_exit "check of none" 1 provider check -m "$mnt" nobody
expect_exit "why" 0 provider why "$mnt/user-files/a.txt"
expect_match "the best" '^1\.  kimi +the best: takes the file, order 5' "$SF_OUT"
expect_match "and by whom" "by the mount $mnt" "$SF_OUT"
[ -n "$(getfattr --only-values -n user.supafs.glm.file_id "$mnt/user-files/a.txt")" ] || fail "no id"
expect_exit "why, once another one has it" 0 provider why "$mnt/user-files/a.txt"
expect_match "that one" '^1\.  glm +the best: has the file' "$SF_OUT"
expect_exit "why with a name" 0 provider why --provider openai "$mnt/user-files/a.txt"
expect_match "asked for" '^1\.  openai +asked for' "$SF_OUT"
expect_exit "why by the own configuration" 1 own why "$mnt/user-files/a.txt"

passed
