#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Content type and Cache-Control that somebody sets with setfattr: what who gets the object is told, by
# a copy, by supafs_set_attrs, with bytes that are still to be sent; over kill -9, renames, attrs=none.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need getfattr setfattr rsync
need_devserver "it counts requests"
start_server
new_bucket b
new_bucket images '"allowed_mime_types":["image/*","text/css"]'

svg=image/svg+xml
info_of() { object_info "$b" "$1" | json_get "$2"; }
# served KEY: what a GET says of it.
served() {
    api GET "/object/authenticated/$(urlencode "$b/$1")" -o /dev/null -D "$SF_TMP/head" || return 1
    tr -d '\r' <"$SF_TMP/head" | awk 'tolower($1) == "content-type:" {sub(/^[^ ]* /, ""); t = $0}
        tolower($1) == "cache-control:" {sub(/^[^ ]* /, ""); sub(/, supafs=.*/, ""); c = $0}
        END {print t " | " c}'
}
is_served() { [ "$(served "$1" 2>/dev/null)" = "$2" ]; }
told() { getfattr --only-values -n "user.supafs.$2" "$1" 2>/dev/null; }
# said FILE: both, as the mount tells them.
said() { echo "$(told "$1" content_type) | $(told "$1" cache_control)"; }
listed() { getfattr -d -m '^user\.supafs\.' "$1" 2>/dev/null | grep -c '^user'; }
set_type() { setfattr -n user.supafs.content_type -v "$2" "$1"; }
set_cache() { setfattr -n user.supafs.cache_control -v "$2" "$1"; }
counted() { request_log | json_get "d['counts'].get('$1',0)"; }
killed() { # ARGUMENTS of the mount that follows
    kill -9 "$(daemon_pid "$mnt")"
    cd / && force_umount "$mnt"
    mount_at "$mnt" "$@" || fail "mounting again failed"
    cd "$mnt" || fail "no mount"
}
remounted() {
    cd / && remount_project "$mnt" "$@"
    cd "$mnt" || fail "no mount"
}

echo foreign >"$SF_TMP/f"
put_object "$b" foreign "$SF_TMP/f" application/x-theirs >/dev/null
put_object "$b" theirs "$SF_TMP/f" application/x-theirs >/dev/null
mount_project mnt -o "bucket=$b"
at_exit cd /
cd "$mnt" || fail "no mount"

step "a stored file: browsers are told, and no byte is sent"
echo text >a.txt
expect_eq "a guess" "text/plain | no-cache" "$(served a.txt)"
clear_log
expect_ok "the type" set_type a.txt $svg
expect_ok "the cache control" set_cache a.txt 'public, max-age=3600'
expect_eq "at once here" "$svg | public, max-age=3600" "$(said a.txt)"
sync a.txt
expect_eq "served" "$svg | public, max-age=3600" "$(served a.txt)"
expect_eq "as one copy" "1 0" "$(counted copy) $(($(counted upload) + $(counted update)))"
expect_eq "listed" 2 "$(listed a.txt)"
clear_log
expect_ok "the same again" set_type a.txt $svg
sync a.txt
expect_eq "nothing is sent" "0 0" "$(counted copy) $(counted rpc)"
expect_eq "text" text "$(cat a.txt)"

step "what others set is told, and what is no type is not taken"
expect_eq "told" "application/x-theirs | no-cache" "$(said foreign)"
for bad in text 'text/' inode/symlink $'a/b\r\nX-Y: z' "a/b; c=\"$(printf '\001')\""; do
    expect_errno "$bad" 'Invalid argument' set_type a.txt "$bad"
done
expect_errno "a mark of ours" 'Invalid argument' set_cache a.txt 'no-cache, supafs="1;m=100777"'
expect_errno "a directory" 'not supported' set_type . text/css

step "written over, renamed, copied: it stays"
echo more >>a.txt
expect_eq "written over" "$svg | public, max-age=3600" "$(served a.txt)"
cp -a a.txt copy.bin
expect_eq "cp -a" "$svg | public, max-age=3600" "$(served copy.bin)"
mkdir rsync
rsync -aX a.txt rsync/
expect_eq "rsync -aX" "$svg | public, max-age=3600" "$(served rsync/a.txt)"
expect_eq "a second run finds nothing" '' "$(rsync -aXi a.txt rsync/)"
mv a.txt a.json
expect_eq "mv" "$svg | public, max-age=3600" "$(served a.json)"
echo '{}' >guess.txt
mv guess.txt guess.json
expect_eq "a guess is another one then" application/json "$(told guess.json content_type)"

step "taken away"
expect_ok "the type" setfattr -x user.supafs.content_type a.json
expect_ok "the cache control" setfattr -x user.supafs.cache_control a.json
sync a.json
expect_eq "as if nobody had set it" "application/json | no-cache" "$(served a.json)"
expect_eq "listed" 0 "$(listed a.json)"
expect_ok "it is not set any more, and shown" setfattr -x user.supafs.content_type a.json

step "a large file: by the function, for who lists"
remounted -o "bucket=$b,attr_copy_max=4K"
head -c 20000 /dev/zero >large.bin
clear_log
expect_ok "the type" set_type large.bin $svg
expect_ok "the cache control" set_cache large.bin max-age=60
sync large.bin
expect_eq "calls" "1 0" "$(counted rpc) $(counted copy)"
expect_eq "in the row" $svg "$(info_of large.bin 'd["content_type"]')"
mv large.bin larger.bin
remounted -o "bucket=$b,attr_copy_max=4K"
expect_eq "after a move" "$svg | max-age=60" "$(said larger.bin)"

step "and without the function: with the next upload"
settings '{"rpc": false}'
remounted -o "bucket=$b,attr_copy_max=4K"
expect_ok "another type" set_type larger.bin text/css
sync larger.bin
expect_eq "not yet" $svg "$(info_of larger.bin 'd["content_type"]')"
expect_match "and that is said" '^pending: .' "$(told larger.bin sync)"
remounted -o "bucket=$b,attr_copy_max=4K"
expect_eq "known here" text/css "$(told larger.bin content_type)"
expect_match "said here" '^pending' "$(told larger.bin sync)"
echo more >>larger.bin
expect_eq "served" "text/css | max-age=60" "$(served larger.bin)"
expect_eq "nothing waits" clean "$(told larger.bin sync)"
settings '{"rpc": true}'

step "killed before it was written"
expect_ok "the type" set_type foreign text/css
expect_ok "the cache control" set_cache foreign max-age=7
killed -o "bucket=$b"
expect_eq "known here" "text/css | max-age=7" "$(said foreign)"
wait_for 10 is_served foreign "text/css | max-age=7" || fail "served: $(served foreign)"

step "killed with bytes that were acknowledged"
remounted -o "bucket=$b,sync=writeback,attr_ttl=60"
ls >/dev/null
pause_server
echo new >new.txt
expect_ok "the type" timeout 10 setfattr -n user.supafs.content_type -v $svg new.txt
expect_ok "the cache control" timeout 10 setfattr -n user.supafs.cache_control -v max-age=8 new.txt
kill -9 "$(daemon_pid "$mnt")"
cd / && force_umount "$mnt"
resume_server
mount_at "$mnt" -o "bucket=$b,sync=writeback" || fail "mounting again failed"
cd "$mnt" || fail "no mount"
expect_eq "known here" "$svg | max-age=8" "$(said new.txt)"
wait_for 10 is_served new.txt "$svg | max-age=8" || fail "served: $(served new.txt)"
expect_eq "text" new "$(cat new.txt)"

step "attrs=none: both, and nothing of ours"
remounted -o "bucket=$b,attrs=none"
expect_ok "the type" set_type theirs $svg
expect_ok "the cache control" set_cache theirs max-age=9
echo plain >plain.txt
expect_ok "of a new one" set_type plain.txt text/css
sync theirs plain.txt
expect_eq "served" "$svg | max-age=9" "$(served theirs)"
expect_eq "no mark" "max-age=9 {}" "$(info_of theirs 'd["cache_control"]+" "+str(d["metadata"])')"
expect_eq "of the new one" "text/css | no-cache" "$(served plain.txt)"
expect_eq "no mark" no-cache "$(info_of plain.txt 'd["cache_control"]')"

step "a bucket that takes some types alone"
remounted
echo x >"$mnt/$images/x.css"
expect_errno "another type" 'not permitted' set_type "$mnt/$images/x.css" text/html
expect_ok "one of its list" set_type "$mnt/$images/x.css" image/png
cd / || fail "no root"
expect_eq "nothing was put aside" 0 \
    "$(find "$SF_TMP" -xdev -path '*/quarantine/*' -type f | wc -l)"
passed
