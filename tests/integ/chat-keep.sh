#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What is kept of conversations (docs/formats/chat.md, part 10, W8, W12, C9): writers that are killed, two at
# once, a daemon that is killed between close and release, in the line and in mid-stream, an orderly
# end, an empty cache, another mount.
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
chat_provider hang hang:6
chat_provider slow slow:50:60,words:10
mount_chat mnt
for f in a b c d e; do echo "this is $f" >"$mnt/$f"; done

# seen FILE TEXT: the text is there to be read now.
seen() { dd if="$1" iflag=nonblock bs=64k 2>/dev/null | grep -qF -- "$2"; }
# kinds FILE: of its turns, in one line.
kinds() { sed -n 's/^## \([a-z-]*\) 20.*/\1/p' "$1" | xargs; }
# notes FILE KEY: the values of all notes of a key.
notes() { sed -n "s/^> supafs: $2 *//p" "$1" | xargs; }

step "a writer that is killed half-way" # rule W8
{ bash -c 'exec 3>"$1"; printf "Half of what I wan" >&3; kill -KILL $$' bash "$mnt/a.chat"; } 2>/dev/null
wait_for 5 seen "$mnt/a.chat" "You wrote: Half of what I wan" || fail "it is not asked: $(cat "$mnt/a.chat")"
expect_eq "one turn" "user assistant" "$(kinds "$mnt/a.chat")"

step "two writers at once" # rules W1, W12
python3 - "$mnt/b.slow.chat" <<'END' || fail "two writers"
import os, sys
fds = [os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT) for _ in range(2)]
for word in ("What ", "is ", "this?"):
    for i, fd in enumerate(fds):
        os.write(fd, f"{word}{i} ".encode())
for fd in reversed(fds):
    os.close(fd)
END
expect_eq "both" "user assistant user assistant" "$(kinds "$mnt/b.slow.chat")"
for n in 1 2; do
    expect_match "not mixed" '^What ([01]) is \1 this\?\1 ?$' "$(body "$mnt/b.slow.chat" user $n)"
    expect_eq "each answered" "You wrote: $(body "$mnt/b.slow.chat" user $n)" "$(body "$mnt/b.slow.chat" assistant $n | grep '^You wrote')"
done

step "the daemon is killed" # rules K3, K9
echo "Who is there?" >"$mnt/c.hang.chat"
wait_for 5 [ "$(chat_attr "$mnt/c.hang.chat" state)" != idle ] || fail "it is not asked"
echo "And behind it?" >"$mnt/c.hang.chat"
# Between close and release: another descriptor keeps the open.
python3 -c 'import os, sys, time
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(fd, b"Closed, but not released")
os.close(os.dup(fd))
print("flushed", flush=True)
time.sleep(60)' "$mnt/d.chat" >"$SF_TMP/flushed" &
writer=$!
wait_for 5 grep -q flushed "$SF_TMP/flushed" || fail "no draft"
wait_for 5 seen "$mnt/c.hang.chat" "Grüße" || fail "no answer has begun"
sleep 1.3 # what arrived is synced each second
arrived=$(dd if="$mnt/c.hang.chat" iflag=nonblock bs=64k 2>/dev/null | sed -n '/^## assistant/,$p')
before=$(questions)
kill -KILL "$(daemon_pid "$mnt")"
{ kill -KILL "$writer" && wait "$writer"; } 2>/dev/null
force_umount "$mnt"
mount_at "$mnt" -o "bucket=$bucket" || fail "mounting again failed"
expect_eq "the draft of who had flushed" "draft" "$(kinds "$mnt/d.chat")"
expect_eq "its text" "Closed, but not released" "$(body "$mnt/d.chat" draft 1)"
expect_ne "it was not sent, and why" '' "$(notes "$mnt/d.chat" not-sent)"
expect_eq "in mid-stream, and in the line" "user assistant draft" "$(kinds "$mnt/c.hang.chat")"
expect_eq "what ran" crashed "$(notes "$mnt/c.hang.chat" end)"
expect_match "what had arrived" 'Grüße' "$arrived"
expect_eq "is kept" "$(grep -m1 Grüße <<<"$arrived")" "$(body "$mnt/c.hang.chat" assistant 1 | head -n 1)"
expect_eq "what waited" "And behind it?" "$(body "$mnt/c.hang.chat" draft 1)"
expect_eq "nothing was sent" "$before" "$(questions)"
echo "Is it known?" >"$mnt/d.chat"
expect_eq "it goes on" "draft user assistant" "$(kinds "$mnt/d.chat")"
expect_eq "a draft is not sent with it" 0 \
    "$(admin GET /providers | grep -c "$(printf %s "Closed, but not released" | sha256sum | cut -d' ' -f1)")"
expect_eq "one question" $((before + 1)) "$(questions)"

step "an orderly end" # rule C9
echo "Who is there?" >"$mnt/e.hang.chat"
wait_for 5 seen "$mnt/e.hang.chat" "Grüße" || fail "no answer has begun"
echo "And behind it?" >"$mnt/e.hang.chat"
python3 -c 'import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
os.write(fd, b"Still writing")
reader = os.open(sys.argv[2], os.O_RDONLY)
print("open", flush=True)
try:
    while os.read(reader, 65536):
        pass
    print("ended")
except OSError as e:
    print(e.strerror)' "$mnt/d.glm.chat" "$mnt/e.hang.chat" >"$SF_TMP/reader" &
reader=$!
wait_for 5 grep -q open "$SF_TMP/reader" || fail "no reader"
before=$(questions)
pid=$(daemon_pid "$mnt")
kill -TERM "$pid"
wait_for 10 sf_is_gone "$pid" || fail "the daemon does not end"
wait "$reader"
expect_match "who waited" 'ended|not connected' "$(tail -n 1 "$SF_TMP/reader")"
force_umount "$mnt"
mount_at "$mnt" -o "bucket=$bucket" || fail "mounting again failed"
expect_eq "what ran and what waited" "user assistant draft" "$(kinds "$mnt/e.hang.chat")"
expect_eq "what ran" cancelled "$(notes "$mnt/e.hang.chat" end)"
expect_eq "who was still writing" "Still writing" "$(body "$mnt/d.glm.chat" draft 1)"
expect_eq "nothing was sent" "$before" "$(questions)"

step "an empty cache" # rule K1
mkdir "$SF_TMP/before"
for f in a.chat b.slow.chat c.hang.chat d.chat e.hang.chat; do cat "$mnt/$f" >"$SF_TMP/before/$f"; done
umount_project "$mnt"
rm -rf --one-file-system "$SF_TMP/own-$(basename "$mnt")/cache"
mkdir "$SF_TMP/own-$(basename "$mnt")/cache"
mount_at "$mnt" -o "bucket=$bucket" || fail "mounting again failed"
for f in a.chat b.slow.chat c.hang.chat d.chat e.hang.chat; do
    cat "$mnt/$f" >"$SF_TMP/after"
    expect_same_file "$f" "$SF_TMP/before/$f" "$SF_TMP/after"
done

step "another mount" # rules K2, K4, K6, K7, T1
umount_project "$mnt"
export SUPAFS_TABLES=auto
mount_chat one -o attr_ttl=1
mount_chat two -o attr_ttl=1
echo "this is f" >"$one/f"
echo "At the first?" >"$one/f.chat"
expect_eq "asked at the first" "user assistant" "$(kinds "$one/f.chat")"
wait_for 10 [ -e "$two/f.chat" ] || fail "the other mount does not know it"
expect_eq "one conversation" "$(chat_attr "$one/f" id)" "$(chat_attr "$two/f" id)"
cat "$one/f.chat" >"$SF_TMP/one"
cat "$two/f.chat" >"$SF_TMP/two"
expect_same_file "the same bytes" "$SF_TMP/one" "$SF_TMP/two"
echo "At the second?" >"$two/f.chat"
expect_eq "goes on at the second" "user assistant user assistant" "$(kinds "$two/f.chat")"
four() { [ "$(kinds "$one/f.chat")" = "user assistant user assistant" ]; }
wait_for 5 four || fail "the first does not show it: $(kinds "$one/f.chat")"
expect_eq "the model saw both" 1 "$(admin GET /providers | grep -c "$(printf %s "At the second?" | sha256sum | cut -d' ' -f1)")"
(echo "Both at once, one" >>"$one/f.chat") &
other=$!
echo "Both at once, two" >>"$two/f.chat"
wait "$other"
eight() { [ "$(turns "$one/f.chat" assistant)" = 4 ] && [ "$(turns "$two/f.chat" assistant)" = 4 ]; }
wait_for 10 eight || fail "not all: $(kinds "$one/f.chat"), $(kinds "$two/f.chat")"
expect_eq "in one order" "$(body "$one/f.chat" user 3)" "$(body "$two/f.chat" user 3)"
passed
