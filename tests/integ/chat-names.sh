#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Which names are chat files (docs/formats/chat.md, part 1), and what happens to them as names: creation,
# objects that win, removal, renaming, copying (C1 to C7).
# shellcheck source-path=SCRIPTDIR disable=SC2016,SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/../lib/providers.sh"
. "$(dirname "$0")/../lib/chat.sh"

need_fuse
need_supafs
need_devserver "its providers answer"
need getfattr setfattr
start_server
new_bucket bucket
chat_providers
chat_provider my_box slow:20:2000
chat_provider hang hang:6
mount_chat mnt
cd "$mnt" || fail "no mount"
at_exit cd /

# ask TEXT NAME: as people do it.
ask() { printf '%s\n' "$1" >"$2" || fail "cannot ask $2"; }
# about NAME: what its conversation is about, as its head says.
about() { sed -n "s,^about: ,,p" "$1"; }
# is_chat WHAT NAME KEY: asking there asks about KEY; the name is never listed.
is_chat() {
    local before
    before=$(questions)
    ask "What ($1)?" "$2"
    expect_eq "$1: about" "$bucket/$3" "$(about "$2")"
    expect_eq "$1: one question" 1 $(($(questions) - before))
    expect_eq "$1: is there" 600 "$(stat -c %a "$2")"
    expect_eq "$1: is not listed" '' "$(find "$(dirname "$2")" -maxdepth 1 -name "${2##*/}")"
}
# is_object WHAT NAME [TEXT]: it is an ordinary file, and is listed.
is_object() {
    expect_eq "$1: is listed" "${2##*/}" "$(find "$(dirname "$2")" -maxdepth 1 -name "${2##*/}" -printf '%f\n')"
    [ $# -lt 3 ] || expect_eq "$1: has its bytes" "$3" "$(cat "$2")"
}
# quiet WHAT COMMAND...: succeeds, and nobody is asked.
quiet() {
    local before
    before=$(all_requests)
    expect_ok "$@"
    expect_eq "$1: requests" 0 $(($(all_requests) - before))
}

step "names" # rule N1
mkdir d
echo "some text" | tee a.txt b.txt c.txt d/e.txt k >k.kimi
is_chat "a file" a.txt.chat a.txt
is_chat "by a provider" a.txt.kimi.chat a.txt
expect_match "which answers" '^## assistant .* kimi kimi-k2.6$' "$(grep '^## assistant' a.txt.kimi.chat)"
is_chat "- and _ are the same" a.txt.my_box.chat a.txt
is_chat "in a directory" d/e.txt.chat d/e.txt
is_chat "a directory" d/.chat d/
is_chat "a directory by a provider" d/.glm.chat d/
expect_eq "of the same conversation" "$(chat_attr a.txt.my_box.chat id)" "$(chat_attr a.txt.my-box.chat id)"

step "two ways to read a name" # rule N2
is_chat "the longest file" k.kimi.chat k.kimi
rm k.kimi
expect_missing "without it" k.kimi.chat
is_chat "the other one" k.kimi.chat k
echo "again" >k.kimi
expect_eq "there again" "$bucket/k.kimi" "$(about k.kimi.chat)"

step "what has none" # rules N3, N6
before=$(all_requests)
ask object a.txt.chat.chat
is_object "a chat about a chat" a.txt.chat.chat object
ln -s a.txt link
ask object link.chat
is_object "a link" link.chat object
ask object d.chat
is_object "a directory as a file" d.chat object
ask object missing.chat
is_object "a file that is not there" missing.chat object
ask object a.txt.nobody.chat
is_object "no such provider" a.txt.nobody.chat object
ask object a.txt.CHAT
is_object "another suffix" a.txt.CHAT object
expect_errno "the control tree" "Operation not permitted" touch .supafs/status.chat
expect_eq "nobody was asked" "$before" "$(all_requests)"

step "an object wins" # rules N4, C1
before=$(all_requests) text=$(cat a.txt.chat)
expect_errno "noclobber, there is one" "cannot overwrite" bash -c 'set -C; echo object >a.txt.chat'
printf 'an object' >"$SF_TMP/x"
put_object "$bucket" a.txt.chat "$SF_TMP/x" >/dev/null
wait_for 10 grep -qx 'an object' a.txt.chat || fail "the object is not shown: $(cat a.txt.chat)"
is_object "an object" a.txt.chat "an object"
echo "more" >>a.txt.chat
expect_eq "writing to it" "$(printf 'an objectmore')" "$(cat a.txt.chat)"
expect_eq "asks nobody" "$before" "$(all_requests)"
rm a.txt.chat
expect_eq "when it goes, the conversation is there" "$text" "$(cat a.txt.chat)"

step "when it exists" # rule N5
before=$(all_requests)
expect_errno "before" "No such file" cat b.txt.chat
expect_errno "before" "No such file" stat b.txt.chat
exec 3>b.txt.chat
expect_exists "as long as it is open for writing" b.txt.chat
expect_eq "empty" 0 "$(stat -c %s b.txt.chat)"
exec 3>&-
# O_TRUNC of the shell makes an empty one (W4); >> does not.
expect_eq "empty" '' "$(cat b.txt.chat)"
exec 3>>c.txt.chat
expect_exists "as long as it is open for writing" c.txt.chat
exec 3>&-
wait_for 5 [ ! -e c.txt.chat ] || fail "it stays without a word"
expect_eq "none of it asks" "$before" "$(all_requests)"

step "not listed" # rule N7
expect_eq "by ls" '' "$(find . d -maxdepth 1 -name '.chat' -o -maxdepth 1 -name 'a.txt.*chat' ! -name '*.chat.chat' ! -name '*nobody*')"
expect_eq "all there is" ". .. a.txt a.txt.CHAT a.txt.chat.chat a.txt.nobody.chat b.txt c.txt d d.chat k k.kimi link link.chat missing.chat" \
    "$(find . -maxdepth 1 -printf '%f\n' | sed '1s/.*/.\n../' | sort | xargs)"

step "it belongs to the name" # rule N8
text=$(cat d/e.txt.chat)
echo "another" >e2 && mv e2 d/e.txt
expect_eq "replaced" "$text" "$(cat d/e.txt.chat)"
mv d/e.txt d/f.txt
expect_missing "not moved" d/f.txt.chat
expect_missing "without its file" d/e.txt.chat
mv d/f.txt d/e.txt
expect_eq "back" "$text" "$(cat d/e.txt.chat)"
rm d/e.txt
echo "made again" >d/e.txt
expect_eq "made again" "$text" "$(cat d/e.txt.chat)"

step "creation" # rule C1
before=$(all_requests)
bash -c 'set -C; echo object >c.txt.chat' || fail "noclobber"
is_object "O_EXCL makes an object" c.txt.chat object
rm c.txt.chat
mkdir c.txt.chat
is_object "mkdir" c.txt.chat
rmdir c.txt.chat
ln -s nowhere c.txt.chat
is_object "ln -s" c.txt.chat
rm c.txt.chat
python3 -c 'import os; os.mknod("c.txt.chat")' || fail mknod
is_object mknod c.txt.chat ''
rm c.txt.chat
expect_eq "none of it asks" "$before" "$(all_requests)"
bash -c 'set -C; echo "Appended?" >>c.txt.chat'
expect_eq "noclobber and >>" 1 "$(turns c.txt.chat)"
bash -c 'set -C; echo "Clobbered?" >|c.txt.chat'
expect_eq "noclobber and >|" 2 "$(turns c.txt.chat)"

step "removal" # rules C3, N12
id=$(chat_attr c.txt id) text=$(cat c.txt.chat)
expect_ok "rm" rm c.txt.chat
expect_missing "it is gone" c.txt.chat
expect_errno "twice" "No such file" rm c.txt.chat
expect_eq "its id leads to it" "$text" "$(cat ".supafs/chats/$id.md")"
ask "Anew?" c.txt.chat
expect_eq "a new one" "Anew?" "$(body c.txt.chat user 1)"
ask "Who is there?" c.txt.hang.chat
rm c.txt.hang.chat
expect_missing "one that is answering" c.txt.hang.chat
wait_for 5 eval '[ "$(admin GET /providers | json_get "sum(d[s][\"open\"] for s in (\"kimi\", \"glm\"))")" = 0 ]' ||
    fail "its request goes on"

step "emptied" # rule C4
ask "Who is there?" c.txt.hang.chat
ask "And here?" c.txt.hang.chat
: >c.txt.hang.chat
wait_for 5 is_idle c.txt.hang.chat || fail "its turns go on: $(chat_attr c.txt.hang.chat state)"
expect_eq "nothing is left" '' "$(cat c.txt.hang.chat)"

step "renaming" # rule C2
id=$(chat_attr c.txt id) text=$(cat c.txt.chat)
echo "an object" >o
mv o c.txt.chat || fail mv
is_object "onto a chat name" c.txt.chat "an object"
rm c.txt.chat
expect_missing "what was there is put away" c.txt.chat
expect_eq "and kept" "$text" "$(cat ".supafs/chats/$id.md")"
text=$(cat a.txt.kimi.chat)
expect_ok "mv of a chat file" mv a.txt.kimi.chat moved.md
is_object "copies it" moved.md "$text"
expect_missing "and removes it" a.txt.kimi.chat

step "copying" # rule C6
ask "To be copied" b.txt.chat
text=$(cat b.txt.chat)
expect_ok "cp out" cp b.txt.chat copy.md
is_object "a copy" copy.md "$text"
quiet "cp onto it" cp copy.md b.txt.chat
expect_eq "the same, so nothing was asked" "$text" "$(cat b.txt.chat)"
ask "And on" b.txt.chat
expect_eq "it goes on" 2 "$(turns b.txt.chat)"
expect_errno "cp of an old one" "Invalid argument" cp copy.md b.txt.chat
echo "a new file" >n.txt
quiet "cp to a new name" cp copy.md n.txt.chat
is_object "is an object" n.txt.chat "$text"

step "trees that hold such names" # rule C7
need git rsync tar install
mkdir -p "$SF_TMP/tree/sub"
for f in a a.chat sub/b sub/b.chat sub/.chat sub/b.kimi.chat; do echo "this is $f" >"$SF_TMP/tree/$f"; done
before=$(all_requests)
expect_ok "cp -a" cp -a "$SF_TMP/tree" by-cp
cp -a "$SF_TMP/tree" "$SF_TMP/tree2"
expect_ok "mv" mv "$SF_TMP/tree2" by-mv
expect_ok "tar" bash -c "mkdir by-tar; tar -C '$SF_TMP/tree' -c . | tar -C by-tar -x"
expect_ok "rsync -a" rsync -a "$SF_TMP/tree/" by-rsync/
expect_ok "again" rsync -a --ignore-times "$SF_TMP/tree/" by-rsync/
git() { command git -c user.name=t -c user.email=t@example.org -c init.defaultBranch=main -C "$SF_TMP/tree" "$@"; }
expect_ok "git init" git init -q
expect_ok "git add" git add -A
expect_ok "git commit" git commit -qm one
expect_ok "git checkout" git --work-tree="$PWD" checkout-index -a --prefix="$PWD/by-git/"
rm -rf "$SF_TMP/tree/.git"
expect_ok "install" bash -c "mkdir -p by-install/sub; cd '$SF_TMP/tree'; for f in a a.chat sub/b sub/b.chat sub/.chat sub/b.kimi.chat; do install -m 644 \$f '$PWD/by-install/'\$f; done"
for by in cp mv tar rsync git install; do
    expect_ok "by $by" diff -r "$SF_TMP/tree" "by-$by"
    expect_eq "by $by: listed" 7 "$(find "by-$by" -type f -o -name sub | wc -l)"
done
expect_eq "without a word to anybody" "$before" "$(all_requests)"

step "by their ids" # rule N12
id=$(chat_attr a.txt id)
chats=.supafs/chats
expect_same_file "ID.md" "$chats/$id.md" a.txt.chat
expect_eq "the last answer" "$(body a.txt.chat assistant 1)" "$(cat "$chats/$id.last.md")"
expect_match "with the reasoning" '^---' "$(cat "$chats/$id.reasoning.md")"
expect_eq "listed" "$id.md" "$(find "$chats/" -name "$id.*" -printf '%f\n')"
ask "By its id?" "$chats/$id.md"
expect_eq "asks" 2 "$(turns a.txt.chat)"
expect_errno "read-only" "denied" bash -c "echo q >>'$chats/$id.last.md'"
expect_errno "read-only" "denied" bash -c "echo q >>'$chats/$id.reasoning.md'"
expect_errno "no such" "No such file" cat "$chats/none-1.md"
expect_errno "none can be made" "not permitted" bash -c "echo q >'$chats/none-1.md'"

step "long names" # rule N11
long=$(printf 'x%.0s' {1..252})
echo "long" >"$long"
expect_errno "no room for the suffix" "File name too long" bash -c "echo q >$long.chat"
expect_match "the command asks all the same" 'You wrote: Long' "$("$SUPAFS" chat "$long" "Long?" 2>&1)"
short=${long:0:250}
echo "short" >"$short"
is_chat "just room enough" "$short.chat" "$short"

step "options" # rules N9, N10
cd / || exit 1
for bad in chat .x/y . '.supafs' ".$(printf 'y%.0s' {1..32})" '.a b'; do
    mkdir -p "$SF_TMP/refused"
    expect_exit "chat_suffix=$bad" 2 "$SUPAFS" mount "$SF_TMP/refused" -o "bucket=$bucket,chat_suffix=$bad"
done
text=$(cat "$mnt/a.txt.chat")
remount_project "$mnt" -o "bucket=$bucket,chat=no"
expect_missing "chat=no" "$mnt/a.txt.chat"
before=$(all_requests)
echo "an object" >"$mnt/b.txt.chat"
is_object "chat=no" "$mnt/b.txt.chat" "an object"
expect_eq "asks nobody" "$before" "$(all_requests)"
rm "$mnt/b.txt.chat"
remount_project "$mnt" -o "bucket=$bucket,chat_suffix=.ask-me"
expect_eq "conversations stay, with another suffix" "$text" "$(cat "$mnt/a.txt.ask-me")"
expect_missing "not with the old one" "$mnt/a.txt.chat"
umount_project "$mnt"
for v in $(compgen -e | grep -E '^(SUPAFS_PROVIDER_|MOONSHOT_|ZHIPUAI_)'); do unset "$v"; done
mount_at "$mnt" -o "bucket=$bucket" || fail "mount without providers"
expect_missing "without a provider" "$mnt/a.txt.chat"
echo "an object" >"$mnt/c.txt.chat"
is_object "without a provider" "$mnt/c.txt.chat" "an object"
passed
