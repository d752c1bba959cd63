#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# `supafs chat`: questions as arguments and from the standard input, answers as text and JSON, its
# exit codes, Ctrl-C, and what has no chat file: long names, objects, read-only mounts. Every command
# of docs/guide/chat.md is run.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/../lib/providers.sh"

need_fuse
need_supafs
need_devserver "its providers answer"
need getfattr setfattr python3 git
start_server
unset ZHIPUAI_API_KEY ZHIPUAI_BASE_URL OPENAI_API_KEY OPENAI_BASE_URL
export SUPAFS_PROVIDER_KIMI_MODEL=kimi-k2.6 SUPAFS_PROVIDER_BUSY_MODEL=m SUPAFS_PROVIDER_POOR_MODEL=m
export SUPAFS_PROVIDER_KIMI_ORDER=1 SUPAFS_PROVIDER_KIMI_CONCURRENCY=8 SUPAFS_PROVIDER_KIMI_PRICES='*=1/4/0.1'
provider_of busy kimi @429-overload
provider_of poor kimi @403-balance
export SUPAFS_PROVIDER_BUSY_CHAT_TIMEOUT=1s
mount_project mnt
mkdir "$mnt/docs" || fail "no bucket"
cd "$mnt/docs" || fail "no directory"
at_exit cd /
mkdir notes
printf 'Sales rose by 4 %%.\n' >q3.md
printf 'Sales fell by 4 %%.\n' >q2.md
echo yes >notes/a.txt
echo no >notes/b.txt

# shellcheck disable=SC2317 # called by expect_exit
chat() { "$SUPAFS" chat "$@" </dev/null; }
# shellcheck disable=SC2317
quiet() { "$SUPAFS" chat "$@" </dev/null 2>/dev/null; }
# member EXPRESSION: of the JSON in SF_OUT, as `o`.
member() { python3 -c 'import json, sys; o = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1" <<<"$SF_OUT"; }

step "a question"
expect_exit "as an argument" 0 chat q3.md "What changed?"
expect_match "the answer" 'You wrote: What changed\?' "$SF_OUT"
[[ $SF_OUT != *'## '* ]] || fail "more than the answer: $SF_OUT"
expect_match "it is in the chat file" 'You wrote: What changed' "$(cat q3.md.chat)"
expect_eq "the file was shown" 1 "$(grep -c "^> supafs: file docs/q3.md " q3.md.chat)"
out=$(echo "From a pipe?" | "$SUPAFS" chat q3.md) || fail "a pipe"
expect_match "the standard input" 'You wrote: From a pipe' "$out"
out=$(echo "find: fell" | "$SUPAFS" chat q3.md "Both?") || fail "both"
expect_match "both" 'You wrote: Both\?' "$out"
expect_match "and what was piped" 'found "fell"' "$out"
expect_eq "three questions" 3 "$(grep -c '^## user' q3.md.chat)"

step "what came of it"
expect_exit "JSON" 0 chat --json q3.md "As JSON?"
expect_eq "all of it" "kimi As JSON? stop None True True USD" "$(member '"%s %s %s %s %s %s %s" % (o["provider"],
    o["answer"].split("You wrote: ")[1].strip(), o["end"], o["error"], o["usage"]["prompt"] > 0, float(o["price"]) > 0,
    o["currency"])')"
id=$(getfattr --only-values -n user.supafs.chat.id q3.md)
expect_match "its id" "\"id\": \"$id\"" "$SF_OUT"
expect_exit "the last answer" 0 chat --last q3.md
expect_match "that" 'You wrote: As JSON' "$SF_OUT"
expect_exit "the last answer as JSON" 0 chat --last -j q3.md
expect_match "the same" '"end": "stop"' "$SF_OUT"
expect_exit "of nothing" 1 chat --last q2.md
expect_exit "a dry run" 0 chat --dry-run q3.md "What would go?"
expect_eq "asks nobody" 4 "$(at_provider kimi 'len(s["chats"])')"

step "new, and continued"
expect_exit "no conversation" 1 chat --continue q2.md "Go on?"
expect_exit "a new one" 0 chat --new q3.md "Anew?"
expect_eq "one question" 1 "$(grep -c '^## user' q3.md.chat)"
expect_ne "another id" "$id" "$(getfattr --only-values -n user.supafs.chat.id q3.md)"
expect_exit "the old one" 0 chat "--continue=$id" q3.md "Go on?"
expect_eq "that id" "$id" "$(getfattr --only-values -n user.supafs.chat.id q3.md)"
expect_exit "the present one" 0 chat --continue q3.md "And on?"
expect_exit "put away" 0 chat --new q3.md
expect_eq "nothing there" 0 "$(grep -c '^## user' q3.md.chat)"

step "places"
expect_exit "a directory" 0 chat notes "Which disagree?"
expect_eq "both files" 2 "$(grep -c '^> supafs: file ' notes/.chat)"
ln -s q3.md link && ln -s "$PWD/q3.md" "$SF_TMP/outside"
expect_exit "a link" 0 chat link "By a link?"
expect_exit "from outside" 0 chat "$SF_TMP/outside" "From outside?"
expect_eq "of the file" 2 "$(grep -c '^## user' q3.md.chat)"
expect_exit "its chat file" 0 chat q3.md.chat "By its name?"
expect_eq "the same" 3 "$(grep -c '^## user' q3.md.chat)"
expect_exit "no mount" 2 chat /etc/passwd "What?"
expect_exit "no file" 2 chat none.md "What?"
expect_exit "all of a project" 1 chat "$mnt" "What?"
expect_match "that is said" 'no chat about a whole project' "$SF_OUT"

step "what is wrong"
expect_exit "no path" 2 chat
expect_exit "no question" 2 chat q3.md
expect_exit "no number" 2 chat --temperature hot q3.md "What?"
expect_exit "front matter" 2 chat q3.md $'---\nmodle: x\n---\nWhat?'
expect_exit "no such provider" 1 chat -p nobody q3.md "What?"
expect_exit "no money" 77 chat -p poor q3.md "What?"
expect_exit "no money, as JSON" 77 quiet -p poor --json q3.md "What?"
expect_match "its error" '"errno": "EDQUOT"' "$SF_OUT"
expect_exit "too much to do" 75 chat -p busy q3.md "What?"
expect_exit "a broken stream" 1 chat -m 'kimi-k2.6@cut' q3.md "What?"
if [ "$(id -u)" = 0 ]; then
    expect_exit "another user" 77 setpriv --reuid 65534 --clear-groups "$SUPAFS" chat q3.md "What?"
fi

# slowly FILE: asks for an answer that takes 20 s, as $pid, and waits until its first words came.
slowly() {
    rm -f "$SF_TMP/slow" "$SF_TMP/slow.err"
    "$SUPAFS" chat -m 'kimi-k2.6@slow:50:10,words:200' "$1" "Slowly?" </dev/null >"$SF_TMP/slow" 2>"$SF_TMP/slow.err" &
    pid=$!
    wait_for 10 test -s "$SF_TMP/slow"
}
# ends STATUS: what $pid ends with.
ends() {
    local rc=0
    wait "$pid" || rc=$?
    expect_eq "its status" "$1" "$rc"
}

step "Ctrl-C"
slowly q3.md
kill -INT "$pid"
ends 130
expect_match "what is kept" 'q3.md: cancelled; what had arrived of the answer \([0-9]+ bytes\) is kept in q3.md.chat' \
    "$(cat "$SF_TMP/slow.err")"
expect_match "it is" 'end cancelled' "$(cat q3.md.chat)"
slowly q3.md
expect_exit "another one cancels" 0 chat --cancel q3.md
ends 1

step "without a chat file"
long=$(printf 'x%.0s' {1..252})
echo "long" >"$long"
expect_exit "a long name" 0 chat "$long" "How long?"
expect_match "is answered" 'You wrote: How long' "$SF_OUT"
expect_exit "and again, as JSON" 0 chat --json "$long" "How long still?"
expect_match "is answered" '"answer": ".*You wrote: How long still' "$SF_OUT"
expect_exit "its last answer" 0 chat --last "$long"
slowly "$long"
kill -INT "$pid"
ends 130
echo "an object" >"$SF_TMP/object"
cp "$SF_TMP/object" q2.md.chat
expect_exit "beside an object" 0 chat q2.md "And yours?"
expect_match "is answered" 'You wrote: And yours' "$SF_OUT"
expect_same_file "the object" "$SF_TMP/object" q2.md.chat
rm q2.md.chat

step "the guide"
mkdir "$SF_TMP/bin"
ln -s "$SUPAFS" "$SF_TMP/bin/supafs"
sed -n 's/^    \$ //p' "$SF_SRC/docs/guide/chat.md" | sed "s|/mnt/project/user-files|$mnt/docs|; s|/mnt/project|$mnt|" >"$SF_TMP/guide"
expect_ge "commands" 20 "$(wc -l <"$SF_TMP/guide")"
PATH=$SF_TMP/bin:$PATH bash -ex "$SF_TMP/guide" </dev/null >"$SF_TMP/guide.out" 2>&1 ||
    fail "a command of the guide failed: $(tail -n 5 "$SF_TMP/guide.out")"

step "a mount that is read only"
cd / || fail "no root"
expect_ok "mount it so" remount_project "$mnt" -o ro
cd "$mnt/docs" || fail "no directory"
expect_exit "it is asked" 0 chat q3.md "Read only?"
expect_match "and answers" 'You wrote: Read only' "$SF_OUT"
expect_exit "the last answer" 0 chat --last q3.md
expect_match "is there" 'You wrote: Read only' "$SF_OUT"
passed
