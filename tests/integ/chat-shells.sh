#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Chat files in bash, dash, zsh and busybox: each way to ask and to read that a shell has gives the
# same in all four, and what docs/guide/chat-session.md shows; SF_UPDATE=1 writes that anew.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/../lib/providers.sh"

need_fuse
need_supafs
need_devserver "its providers answer"
need getfattr setfattr dash zsh busybox
page=$SF_SRC/docs/guide/chat-session.md
start_server
unset OPENAI_API_KEY OPENAI_BASE_URL
export SUPAFS_PROVIDER_KIMI_MODEL=kimi-k2.6 SUPAFS_PROVIDER_GLM_MODEL=glm-4.6 SUPAFS_PROVIDER_KIMI_ORDER=1
mkdir "$SF_TMP/bin"
ln -s "$SUPAFS" "$SF_TMP/bin/supafs"
export PATH=$SF_TMP/bin:$PATH
mount_project mnt

# Captions, each with what is typed there, up to an empty line.
forms() {
    cat <<'END'
A question, and the conversation
echo "What changed since the last quarter?" > q3.md.chat; cat q3.md.chat

Another one; `>` and `>>` are the same
echo "And the risks?" >> q3.md.chat; grep '^You wrote' q3.md.chat

One descriptor: ask, then read this answer alone
exec 3<>q3.md.chat; echo "Who says so?" >&3; cat <&3

Two questions by one descriptor
exec 3<>q3.md.chat; echo "First?" >&3; cat <&3 | tail -n 1; echo "Second?" >&3; cat <&3 | tail -n 1

Many lines, of one program or of several, are one question
cat > q3.md.chat <<END_OF_QUESTION
Which of these hold?
find: rose
END_OF_QUESTION
(cat notes/a.txt; sleep 0.1; echo "find: fell") > q3.md.chat
printf '%s\n' "In lines," "and more?" | tee q3.md.chat | wc -l
grep -c '^## user' q3.md.chat

All files below a directory
echo "Which of these disagree?" > notes/.chat; cat notes/.chat

The last answer alone
getfattr --only-values -n user.supafs.chat q3.md | grep wrote
answer=$(supafs chat --last q3.md); echo "$answer" | grep wrote

Reading in other ways
grep -c '^## assistant' < q3.md.chat; head -n 2 q3.md.chat; tail -n +2 q3.md.chat | head -n 1
read -r first < q3.md.chat; echo "$first"

A loop
for q in "One?" "Two?"; do echo "$q" > q2.md.chat; done; grep '^You wrote' q2.md.chat

Nothing is asked by what writes nothing
touch q3.md.chat; true >> q3.md.chat; stat -c %s,%A q3.md > /dev/null; grep -c '^## user' q3.md.chat

What cannot be a question is refused when it is written
printf 'a\000b' > q3.md.chat 2>/dev/null || echo refused
printf -- '---\nmodle: x\n---\nWhat?\n' > q3.md.chat 2>/dev/null || getfattr --only-values -n user.supafs.error q3.md; echo

Settings of one question, of a file, and what holds
printf '%s\n' --- 'temperature: 0.2' --- 'Colder?' > q3.md.chat; grep '^> supafs: set' q3.md.chat
setfattr -n user.supafs.chat.provider -v glm q3.md; getfattr --only-values -n user.supafs.chat.settings q3.md | grep provider
echo "Whom do I ask?" > q3.md.chat; sed -n 's/^## assistant [^ ]* //p' q3.md.chat | tail -n 1
setfattr -x user.supafs.chat.provider q3.md

With noclobber `>>` or `>|`
set -C; echo "Clobbered?" >| q3.md.chat; grep -c '^You wrote: Clobbered' q3.md.chat

Chat files are not listed, and can be copied
ls; cp q3.md.chat saved.md; cmp q3.md.chat saved.md && rm saved.md

Without a shell's help
supafs chat q3.md "In one step?" < /dev/null | tail -n 1

Truncating alone begins anew
: > q3.md.chat; wc -c < q3.md.chat; echo "Anew?" > q3.md.chat; grep -c '^## user' q3.md.chat

Removed
rm q3.md.chat; cat q3.md.chat
END
}

# What is different each time: times, ids, counts. What the provider knew from before depends
# on who asked earlier, and each shell has a bucket of its own, whose name is sent with the files.
same() {
    sed -E -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z/2026-11-22T06:10:03.120Z/' \
        -e 's/[a-z2-7]{24}(-[0-9]+)/k2v6t3d4q5r6s7b2c3f4g5h2\1/' -e 's/took [0-9]+ ms/took 210 ms/' \
        -e 's/cached=[0-9]+/cached=0/' -e 's/(tokens|prompt|answer)=[0-9]+/\1=24/g' \
        -e 's/(system .*) [0-9a-f]{64}/\1 .../' \
        -e 's/([0-9a-f]{12})[0-9a-f]{52}/\1.../g' -e "s|b-[0-9]/|user-files/|"
}

# typed COMMAND SHELL...: the command, as it looks when it is typed, and what comes.
typed() {
    local command=$1
    shift
    printf '    $ %s\n' "${command//$'\n'/$'\n'    > }"
    timeout 20 "$@" -c "$command" 2>&1 </dev/null | same | sed -e 's/^/    /' -e 's/ *$//'
}

# play SHELL...: all forms, as Markdown.
play() {
    local caption='' line more
    while IFS= read -r line <&4; do
        if [ -z "$line" ]; then
            caption=''
            continue
        elif [ -z "$caption" ]; then
            caption=$line
            printf '\n## %s\n\n' "$caption"
            continue
        fi
        while [[ $line == *'<<END_OF_QUESTION'* && $line != *$'\n'END_OF_QUESTION ]]; do
            IFS= read -r more <&4
            line+=$'\n'$more
        done
        typed "$line" "$@"
    done 4< <(forms)
}

n=0
for shell in bash dash 'zsh -f' 'busybox sh'; do
    n=$((n + 1))
    step "$shell"
    mkdir -p "$mnt/b-$n/notes" || fail "no bucket"
    cd "$mnt/b-$n" || fail "no directory"
    printf 'Sales rose by 4 %%.\n' >q3.md
    printf 'Sales fell by 4 %%.\n' >q2.md
    printf 'Sales fell.\n' >notes/a.txt
    printf 'Sales rose.\n' >notes/b.txt
    # shellcheck disable=SC2086 # words
    play $shell >"$SF_TMP/session-$n"
    cd / || fail "no root"
    diff -u "$SF_TMP/session-1" "$SF_TMP/session-$n" >&2 || fail "$shell is not as bash is"
    sf_checks=$((sf_checks + 1))
done

step "the page"
{
    cat <<'END'
<!-- SPDX-License-Identifier: GPL-3.0-or-later -->
# A session

Recorded by `tests/integ/chat-shells.sh`, which runs it in bash, dash, zsh and busybox and finds the same in all four. The provider is the one of the local server
([contrib/devserver](../../contrib/devserver/README.md)): its answers say what it was sent, repeat the first line of the question, and find lines. Times, ids, hashes and counts are shortened or made the same.
What it means: [chat.md](chat.md).
END
    cat "$SF_TMP/session-1"
} >"$SF_TMP/page"
[ -z "${SF_UPDATE:-}" ] || cp "$SF_TMP/page" "$page"
diff -u "$page" "$SF_TMP/page" >&2 || fail "docs/guide/chat-session.md is not what happens; run this test with SF_UPDATE=1"
sf_checks=$((sf_checks + 1))
passed
