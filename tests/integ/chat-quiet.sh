#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Nothing but asking asks (docs/formats/chat.md, W14 and R13): walks, copies, backups and editors over a
# tree that holds both `a` and `a.chat`, and files with conversations, cause no request to any provider,
# and chat files that are no objects are never listed.
# shellcheck source-path=SCRIPTDIR disable=SC2016,SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/../lib/providers.sh"
. "$(dirname "$0")/../lib/chat.sh"

need_fuse
need_supafs
need_devserver "its providers count requests"
need getfattr setfattr rsync tar git file
start_server
new_bucket bucket
chat_providers
mount_chat mnt
top=$mnt/tree

# Objects under chat names (O_EXCL or rename makes them), and beside them conversations of other files.
src=$SF_TMP/src
mkdir -p "$src/sub"
for f in a sub/b sub/c.txt plain with.dot; do echo "this is $f, needle" >"$src/$f"; done
for f in a.chat sub/b.chat sub/b.kimi.chat .chat; do echo "an object called $f, needle" >"$src/$f"; done
cp -a "$src" "$top"
for f in plain.chat with.dot.kimi.chat sub/c.txt.chat sub/.chat; do
    echo "What (about $f)?" >"$top/$f"
    expect_eq "$f" 1 "$(turns "$top/$f")"
done
expect_eq "questions so far" 4 "$(questions)"
# All that is known of the providers: counts, files, times.
state() { admin GET /providers | sha256sum; }
state=$(state)
before=$(mount_counter "$mnt" 'd["provider_requests"]')

# quiet WHAT COMMAND...: exits 0 and asks no provider for anything.
quiet() {
    local start
    start=$(now_ms)
    expect_exit "$1" 0 "${@:2}"
    expect_eq "$1: the providers saw nothing of it" "$state" "$(state)"
    note "  $1: $(($(now_ms) - start)) ms"
}
chats() { printf '%s\n' "$SF_OUT" | sed 's,.*/,,' | LC_ALL=C sort | xargs; }

step "walks" # rules N7, R13, W14
quiet "find -name" find "$top" -name '*.chat'
expect_eq "objects only" ".chat a.chat b.chat b.kimi.chat" "$(chats)"
quiet "ls -lRa" ls -lRa "$top"
expect_eq "objects only" 9 "$(grep -c '^-' <<<"$SF_OUT")"
quiet "grep -r" grep -rl needle "$top"
expect_eq "objects only" 9 "$(grep -c . <<<"$SF_OUT")"
quiet "du" du -a "$top"
quiet "getfattr -dR" getfattr -dR -m - --absolute-names "$top"
expect_eq "no attribute of chats is listed" 0 "$(grep -c 'supafs\.chat\|supafs\.error' <<<"$SF_OUT")"
quiet "file" find "$top" -type f -exec file -b -- {} +

step "chat files that are looked at" # rules R13, N5
look() {
    local f
    for f in plain.chat with.dot.kimi.chat sub/c.txt.chat sub/.chat; do
        stat "$top/$f" && [ -r "$top/$f" ] && cat "$top/$f" && getfattr -d -m - "$top/$f" || return 1
        head -c 10 "$top/$f" && tail -n 3 "$top/$f" && wc "$top/$f" && touch "$top/$f" || return 1
        chat_attr "$top/${f%.chat}" state || chat_attr "$top/$f" state || return 1
    done
    for f in a.kimi.chat plain.glm.chat with.dot.chat sub/b.glm.chat; do
        ! cat "$top/$f" 2>/dev/null && ! stat "$top/$f" 2>/dev/null || return 1
        (exec 3<>"$top/$f") && touch "$top/$f" && : >>"$top/$f" || return 1
    done
    cat "$mnt"/.supafs/chats/*.md && getfattr -d "$top/plain"
}
quiet "looking at them" look
expect_match "shows them" 'You wrote: What \(about sub/\.chat\)' "$SF_OUT"

step "copies and backups" # rule C7
mkdir "$SF_TMP/out" "$mnt/in-tar"
quiet "cp -a out" cp -a "$top" "$SF_TMP/out/cp"
quiet "cp -a within" cp -a "$top" "$mnt/in-cp"
quiet "cp -a over it" cp -a "$top/." "$mnt/in-cp/"
quiet "rsync -aX out" rsync -aX "$top/" "$SF_TMP/out/rsync/"
quiet "rsync -aX in" rsync -aX "$src/" "$mnt/in-rsync/"
quiet "rsync -a --inplace over it" rsync -a --inplace --ignore-times "$src/" "$mnt/in-rsync/"
quiet "tar out" tar --xattrs -g "$SF_TMP/snar" -C "$top" -cf "$SF_TMP/t.tar" .
quiet "tar in" tar --xattrs -C "$mnt/in-tar" -xpf "$SF_TMP/t.tar"
quiet "tar over it" tar --xattrs -C "$mnt/in-tar" -xpf "$SF_TMP/t.tar"
quiet "mv within" mv "$mnt/in-tar" "$mnt/in-mv"
cp -a "$src" "$SF_TMP/src2"
quiet "mv in" mv "$SF_TMP/src2" "$mnt/in-mv2"
for f in cp rsync mv mv2; do
    quiet "diff of in-$f" diff -r "$src" "$mnt/in-$f"
done
for f in cp rsync; do
    quiet "diff of out/$f" diff -r "$src" "$SF_TMP/out/$f"
done
git=(git --git-dir="$SF_TMP/git" --work-tree="$top" -c user.name=t -c user.email=t@example.org -c init.defaultBranch=main)
quiet "git init" "${git[@]}" init -q
quiet "git add" "${git[@]}" add -A
quiet "git commit" "${git[@]}" commit -qm one
expect_eq "nine files" 9 "$("${git[@]}" ls-files | grep -c .)"
rewrite() {
    local f
    for f in a a.chat sub/b.chat .chat; do
        echo changed >"$SF_TMP/changed" && mv "$SF_TMP/changed" "$top/$f" || return 1
    done
}
quiet "changes" rewrite
quiet "git commit" "${git[@]}" commit -qam two
quiet "git checkout" "${git[@]}" checkout -q HEAD~1
quiet "git switch" "${git[@]}" switch -q main
quiet "git stash" "${git[@]}" checkout -q HEAD~1 -- .
quiet "diff" diff -r "$src" "$top"

step "editors and their ways"
quiet "sed -i" sed -i s/needle/pin/ "$top/a.chat" "$top/plain"
expect_eq "sed -i" "an object called a.chat, pin" "$(cat "$top/a.chat")"
quiet "install" install -m 644 "$src/a.chat" "$top/a.chat"
quiet "cp -f" cp -f --remove-destination "$src/a.chat" "$top/a.chat"
if command -v ed >/dev/null; then
    quiet "ed" bash -c 'printf "s/needle/pin/\nw\nq\n" | ed -s "$1"' ed "$top/a.chat"
    expect_eq "ed" "an object called a.chat, pin" "$(cat "$top/a.chat")"
fi
if command -v vim >/dev/null; then
    for ways in '' 'set backupcopy=no' 'set backupcopy=yes' 'set nowritebackup' 'set backup'; do
        echo "an object, needle" >"$SF_TMP/new" && mv "$SF_TMP/new" "$top/a.chat"
        quiet "vim with ${ways:-its own ways}" vim -u NONE -i NONE -es -c "$ways" -c 's/needle/pin/' -c 'wq' "$top/a.chat"
        expect_eq "vim with ${ways:-its own ways}" "an object, pin" "$(cat "$top/a.chat")"
        expect_eq "and it is an object" a.chat "$(find "$top" -maxdepth 1 -name a.chat -printf '%f\n')"
        quiet "vim looks at a chat" vim -u NONE -i NONE -es -c 'q!' "$top/plain.chat"
        quiet "vim edits the file" vim -u NONE -i NONE -es -c "$ways" -c '$s/$/ more/' -c 'wq' "$top/plain"
    done
fi
# What Emacs and others do: away by rename, then written anew under the name.
away() { mv "$top/a.chat" "$top/a.chat~" && echo "an object, anew" >"$top/a.chat"; }
quiet "a backup by renaming" away
expect_eq "a backup by renaming" "an object, anew" "$(cat "$top/a.chat")"

step "the mount says so, too"
expect_eq "requests" "$before" "$(mount_counter "$mnt" 'd["provider_requests"]')"
for f in plain.chat with.dot.kimi.chat sub/c.txt.chat sub/.chat; do
    expect_eq "$f is as it was" 1 "$(turns "$top/$f")"
done
expect_eq "nothing failed" '' "$(grep -E 'level=(warn|error)' "$SF_TMP/daemon-mnt-1.log")"
passed
