#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Asking about a file in each of the ways in which shells write and read, and what else can be done
# to a chat file: one question for each open, one answer, nothing asked by anything else.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/../lib/providers.sh"

need_fuse
need_supafs
need_devserver "its providers answer"
need getfattr setfattr python3
start_server
new_bucket bucket
unset "${!ZHIPUAI_@}" # kimi answers where none is named
export SUPAFS_PROVIDER_KIMI_MODEL=kimi-k2.6 SUPAFS_PROVIDER_SLOW_MODEL=kimi-k2.6
export SUPAFS_PROVIDER_STILL_MODEL=kimi-k2.6
provider_of slow kimi @slow:300:100,words:20
provider_of still kimi @hang
mount_project mnt
dir=$mnt/$bucket
f=$dir/report.txt
chat=$f.chat
printf 'Sales rose by 4 %%.\nThe last line is about costs.\n' >"$f"

turns() { grep -c '^## user ' "$1"; }
listed() { (cd "$dir" && echo *); }
chats() { at_provider kimi 'len(s["chats"])'; }

step "there is none before somebody asks (rule N5, N7)"
expect_exit "no chat file" 1 test -e "$chat"
expect_exit "cat" 1 cat "$chat"
expect_eq "not listed" "report.txt" "$(listed)"

# asks SHELL COMMAND WORD: COMMAND, which asks about report.txt in one turn; its prompt has WORD.
doc=$SF_TMP/doc
printf 'A document.\n' >"$doc"
n=0
asks() {
    expect_exit "${1##*/}: $2" 0 env F="$chat" D="$doc" "$1" -c "$2"
    n=$((n + 1))
    cat "$chat" >"$SF_TMP/text" || fail "cannot read after $2"
    [ "$n $n" = "$(turns "$SF_TMP/text") $(grep -c '^> supafs: end stop$' "$SF_TMP/text")" ] ||
        fail "$1: $2: $n turns should be here: $(cat "$SF_TMP/text")"
    sed -n '/^## user /h;//!H;$!d;x;p' "$SF_TMP/text" >"$SF_TMP/last"
    grep -q "$3" "$SF_TMP/last" || fail "$1: $2: the last turn is not about $3"
}

printf '#!/bin/sh\nexec busybox sh "$@"\n' >"$SF_TMP/busybox"
chmod +x "$SF_TMP/busybox"
for shell in bash dash zsh busybox; do
    [ -n "$(command -v $shell)" ] || continue
    [ $shell != busybox ] || shell=$SF_TMP/busybox
    step "${shell##*/}: each form is one question (rule W1, W2, R1, R2, R3)"
    # shellcheck disable=SC2016
    {
        asks "$shell" 'echo "first of '"${shell##*/}"'" > "$F"' "first of ${shell##*/}"
        asks "$shell" 'echo more >> "$F"' more
        asks "$shell" 'printf "two\nlines\n" > "$F"' lines
        asks "$shell" '{ cat "$D"; echo question; } > "$F"' question
        asks "$shell" 'cat <<END > "$F"
here and
there
END' there
        asks "$shell" 'echo piped | tee "$F" > /dev/null' piped
        asks "$shell" '/bin/echo outside > "$F" 2>&1' outside
        step "${shell##*/}: one descriptor asks and reads its own answer (rule R6)"
        expect_exit "exec 3<>" 0 env F="$chat" "$shell" -c \
            'exec 3<>"$F"; echo "And the risks?" >&3; cat <&3; exec 3>&-'
        n=$((n + 1))
        expect_eq "the answer alone" 0 "$(grep -c '^## ' <<<"$SF_OUT")"
        grep -q 'And the risks?' <<<"$SF_OUT" || fail "not the answer: $SF_OUT"
    }
done
expect_eq "questions that the provider got" "$n" "$(chats)"

step "what asks nothing (rule W3, W6, R13)"
touch "$chat"
: >>"$chat"
echo ' ' >"$chat"
stat "$chat" >"$SF_TMP/stat"
getfattr -d "$chat" >"$SF_TMP/stat"
cp "$chat" "$SF_TMP/copy.md"
expect_eq "the copy is the transcript" "$(sha256sum <"$chat")" "$(sha256sum <"$SF_TMP/copy.md")"
expect_eq "size" "$(wc -c <"$SF_TMP/copy.md")" "$(stat -c %s "$chat")"
expect_eq "mode" 600 "$(stat -c %a "$chat")"
expect_eq "questions" "$n" "$(chats)"

step "a reader waits, and its Ctrl-C works (rule R3, R4, R5, R11, E2)"
echo 'Take your time.' >"$f.slow.chat"
expect_exit "the whole answer" 0 cat "$f.slow.chat"
grep -q '^> supafs: end stop$' <<<"$SF_OUT" || fail "cut: $SF_OUT"
echo 'For ever.' >"$f.still.chat"
python3 - "$f.still.chat" <<'END' || fail "a reader that waits"
import os, select, signal, sys, time
path = sys.argv[1]
fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
text = b""
try:
    while True:
        piece = os.read(fd, 65536)
        assert piece, "the end while the turn runs"
        text += piece
except BlockingIOError:
    pass
p = select.poll()
p.register(fd, select.POLLIN)
assert p.poll(200) == [], "nothing more comes"
assert p.poll(0) == [], "nor for the next one"
other = select.poll()
other.register(os.open(path[:-len(".still.chat")], os.O_RDONLY), select.POLLIN | select.POLLOUT)
assert [e for _, e in other.poll(5000)] == [select.POLLIN | select.POLLOUT], "files are ready"
child = os.fork()
if child == 0:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    own = os.open(path, os.O_RDONLY)
    while os.read(own, 65536):
        pass
    os._exit(0)
time.sleep(0.3)
begun = time.monotonic()
os.kill(child, signal.SIGINT)
assert os.waitpid(child, 0)[1] == signal.SIGINT, "killed by it"
assert time.monotonic() - begun < 1, "at once"
# It is woken when that changes.
os.setxattr(path[:-len(".still.chat")], "user.supafs.chat.cancel", b"1")
begun = time.monotonic()
assert p.poll(5000), "woken"
assert time.monotonic() - begun < 2
END
expect_exit "the end (rule C8)" 0 cat "$f.still.chat"
grep -q '^> supafs: end cancelled$' <<<"$SF_OUT" || fail "not cancelled: $SF_OUT"

step "truncating alone begins anew (rule W4, C4)"
: >"$chat"
expect_eq "empty" 0 "$(stat -c %s "$chat")"
expect_eq "nothing in it" '' "$(cat "$chat")"
echo again >"$chat"
n=1
expect_eq "a new one" 1 "$(turns "$chat")"

step "real objects (rule C1, C2, C3, N4)"
expect_exit "link" 1 ln "$chat" "$dir/link"
mv "$chat" "$dir/kept.md" || fail "mv out of it"
expect_exit "is gone" 1 test -e "$chat"
expect_eq "was copied" 1 "$(turns "$dir/kept.md")"
echo once >"$chat"
expect_eq "asked" 1 "$(turns "$chat")"
printf 'a file\n' >"$dir/new"
mv "$dir/new" "$chat" || fail "mv onto it"
expect_eq "an object" 'a file' "$(cat "$chat")"
expect_eq "is listed" "kept.md report.txt report.txt.chat" "$(listed)"
rm "$chat"
expect_exit "the old conversation was put away" 1 test -e "$chat"
cp "$doc" "$chat"
expect_eq "cp makes an object" 'A document.' "$(cat "$chat")"
rm "$chat"
echo 'to go' >"$chat"
rm "$chat" || fail "rm"
expect_exit "is gone" 1 test -e "$chat"

step "chat=no: names are ordinary (rule N9)"
echo 'kept for later' >"$chat"
cat "$chat" >"$SF_TMP/before"
remount_project "$mnt" -o chat=no
expect_exit "no chat file" 1 test -e "$chat"
expect_eq "status" off "$(mount_status "$mnt" chat)"
remount_project "$mnt"
expect_eq "status" on "$(mount_status "$mnt" chat)"
expect_eq "it is still there" "$(sha256sum <"$SF_TMP/before")" "$(sha256sum <"$chat")"

step "a mount of a part of a bucket has the same conversations (rule K2, M2)"
mkdir "$dir/part"
cp "$f" "$dir/part/"
echo 'asked above' >"$dir/part/report.txt.chat"
cat "$dir/part/report.txt.chat" >"$SF_TMP/before"
remount_project "$mnt" -o "bucket=$bucket,prefix=part"
expect_eq "is there" "$(sha256sum <"$SF_TMP/before")" "$(sha256sum <"$mnt/report.txt.chat")"
echo 'find: costs' >"$mnt/report.txt.chat"
expect_exit "the answer" 0 cat "$mnt/report.txt.chat"
grep -q 'The last line is about costs' <<<"$SF_OUT" || fail "the file was not sent: $SF_OUT"
remount_project "$mnt"

step "what was written when the mount ends is kept, and not sent (rule C9, K9)"
n=$(chats)
exec 5>>"$chat"
echo 'not sent' >&5
pid=$(daemon_pid "$mnt")
kill -TERM "$pid"
wait_for 10 sf_is_gone "$pid"
exec 5>&-
mount_at "$mnt" || fail "cannot mount again"
cat "$chat" >"$SF_TMP/text"
expect_eq "a draft" 'not sent' "$(sed -n '/^## draft /,$p' "$SF_TMP/text" | tail -n 1)"
expect_eq "questions" "$n" "$(chats)"
expect_eq "the daemons ended in order" 5 "$(grep -c event=unmounted "$SF_TMP/daemon-mnt-1.log")"
passed
