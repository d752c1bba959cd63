#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Who may ask and read (docs/formats/chat.md, part 2): another user of the machine can do neither,
# unless chat_uid= says so and FILE's permissions do; read-only mounts.
# shellcheck source-path=SCRIPTDIR disable=SC2016,SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/../lib/providers.sh"
. "$(dirname "$0")/../lib/chat.sh"

need_root
need_fuse
need_supafs
need_devserver "its providers answer"
need setpriv getfattr setfattr
start_server
new_bucket bucket
chat_providers
chmod 711 "$SF_TMP"
cp "$SUPAFS" "$SF_TMP/supafs" # which others may run, wherever it was built
# shellcheck disable=SC2034 # as() names them
ann=(setpriv --reuid 4242 --regid 4242 --clear-groups)
# shellcheck disable=SC2034
bob=(setpriv --reuid 4343 --regid 4343 --groups 4242)
# as WHO CODE [ARGUMENT...]: a shell of that user.
as() {
    local -n sf_who=$1
    "${sf_who[@]}" bash -c "$2" bash "${@:3}"
}
# denied WHAT WHO CODE [ARGUMENT...]: fails, and nobody is asked.
denied() {
    local before
    before=$(all_requests)
    expect_errno "$1" "Permission denied" as "${@:2}"
    expect_eq "$1: requests" "$before" "$(all_requests)"
}

# The kernel looks at modes, or only the mount does.
mount_chat mnt
mkdir "$mnt/open"
chmod 777 "$mnt/open"
for checks in yes no; do
    remount_project "$mnt" -o "bucket=$bucket,default_permissions=$checks"
    file=$mnt/open/$checks chat=$mnt/open/$checks.chat
    echo "for all to read" >"$file"
    chmod 666 "$file"
    chgrp 4242 "$file"

    step "default_permissions=$checks: what it is" # rule P1
    echo "What is it?" >"$chat"
    expect_match "answered" 'You wrote: What is it' "$(cat "$chat")"
    expect_eq "mode, owner, and the file's group" "600 0 4242 regular file" "$(stat -c '%a %u %g %F' "$chat")"

    step "default_permissions=$checks: others" # rule P2
    expect_eq "stat is for all" "600 0" "$(as ann 'stat -c "%a %u" "$1"' "$chat")"
    denied "reading" ann 'cat "$1"' "$chat"
    denied "asking" ann 'echo "May I?" >>"$1"' "$chat"
    denied "emptying" ann ': >"$1"' "$chat"
    denied "beginning one" ann 'echo "May I?" >"$1"' "$file.glm.chat"
    denied "of the directory" ann 'echo "May I?" >"$1"' "$mnt/open/.chat"
    denied "beginning one without a word" ann ': >>"$1"' "$file.glm.chat"
    denied "removal" ann 'rm -f "$1"' "$chat"
    denied "truncate(2)" ann 'truncate -s 0 "$1"' "$chat"
    for name in chat chat.id chat.state chat.usage chat.settings; do
        expect_exit "the attribute $name" 1 as ann 'getfattr --only-values -n "user.supafs.$2" "$1"' "$file" "$name"
        expect_exit "the attribute $name of the chat" 1 as ann 'getfattr --only-values -n "user.supafs.$2" "$1"' "$chat" "$name"
    done
    expect_exit "cancelling" 1 as ann 'setfattr -n user.supafs.chat.cancel -v 1 "$1"' "$file"
    expect_exit "the command" 77 as ann '"$2" chat "$1" "May I?"' "$file" "$SF_TMP/supafs"
    expect_errno "all conversations" "Permission denied" as ann 'ls "$1/.supafs/chats"' "$mnt"
    expect_eq "what is there is as it was" 1 "$(turns "$chat")"
    expect_missing "and nothing more" "$file.glm.chat"

    step "default_permissions=$checks: what changes nothing" # rule P5
    before=$(stat -c '%a %u %g %Y' "$chat")
    expect_ok "chmod to what it is" chmod 600 "$chat"
    expect_ok "chown to what it is" chown 0:4242 "$chat"
    expect_ok "times" touch -d 2001-01-01 "$chat"
    expect_errno "another mode" "Operation not permitted" chmod 644 "$chat"
    expect_errno "another owner" "Operation not permitted" chown 4242 "$chat"
    expect_errno "another group" "Operation not permitted" chgrp 4343 "$chat"
    expect_eq "nothing has changed" "$before" "$(stat -c '%a %u %g %Y' "$chat")"
done

step "chat_uid" # rules P2, P3
remount_project "$mnt" -o "bucket=$bucket,chat_uid=4242"
file=$mnt/open/yes chat=$mnt/open/yes.chat
expect_eq "its owner" "4242" "$(stat -c %u "$chat")"
expect_match "reads what is there" 'You wrote: What is it' "$(as ann 'cat "$1"' "$chat")"
as ann 'echo "May I now?" >"$1"' "$chat" || fail "ann cannot ask"
expect_match "asks" 'You wrote: May I now' "$(as ann 'cat "$1"' "$chat")"
as ann 'echo "The directory?" >"$1"' "$mnt/open/.chat" || fail "ann cannot ask about the directory"
expect_match "reads" 'You wrote: The directory' "$(as ann 'cat "$1"' "$mnt/open/.chat")"
denied "not everybody" bob 'cat "$1"' "$chat"
expect_match "root does" 'You wrote: May I now' "$(cat "$chat")"
as ann 'cat "$1"' "$chat" >/dev/null || fail "ann cannot read"
chmod 640 "$file"
expect_ok "by its group" as ann 'cat "$1"' "$chat"
chmod 600 "$file"
denied "a file that she may not read" ann 'cat "$1"' "$chat"
denied "nor ask about" ann 'echo q >>"$1"' "$chat"
denied "nor begin with" ann 'echo q >>"$1"' "$file.glm.chat"
chown 4242 "$file"
expect_ok "her own" as ann 'cat "$1"' "$chat"
chmod 200 "$file"
denied "her own, that she may not read" ann 'cat "$1"' "$chat"
mkdir "$mnt/closed"
echo text >"$mnt/closed/b"
chmod 733 "$mnt/closed"
denied "a directory that she may not read" ann 'echo q >"$1"' "$mnt/closed/.chat"
chmod 766 "$mnt/closed"
denied "nor search" ann 'echo q >"$1"' "$mnt/closed/.chat"

step "where nothing can be written" # rule P4
chmod 755 "$mnt/closed"
denied "no permission in the directory" ann 'echo q >"$1"' "$mnt/closed/b.chat"
echo "By root" >"$mnt/closed/b.chat"
expect_match "begun by root" 'You wrote: By root' "$(cat "$mnt/closed/b.chat")"
as ann 'echo "By ann" >>"$1"' "$mnt/closed/b.chat" || fail "ann cannot go on"
expect_eq "going on needs none" 2 "$(turns "$mnt/closed/b.chat")"
remount_project "$mnt" -o "bucket=$bucket,ro"
before=$(all_requests)
expect_match "reading" 'You wrote: By root' "$(cat "$mnt/closed/b.chat")"
expect_errno "asking" "Read-only file system" bash -c 'echo q >>"$1"' bash "$mnt/closed/b.chat"
expect_errno "beginning" "Read-only file system" bash -c 'echo q >"$1"' bash "$file.glm.chat"
expect_errno "removal" "Read-only file system" rm "$mnt/closed/b.chat"
expect_errno "truncate(2)" "Read-only file system" truncate -s 0 "$mnt/closed/b.chat"
expect_eq "without a request" "$before" "$(all_requests)"
expect_match "the command asks" 'You wrote: All the same' "$("$SUPAFS" chat "$mnt/closed/b" "All the same?" 2>&1)"
expect_eq "in the same conversation" 3 "$(turns "$mnt/closed/b.chat")"
passed
