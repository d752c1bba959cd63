#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Attributes of files that lie in the bucket already: what the service gets, what of others stays,
# what a mount without cache and state shows; with the function supafs_set_attrs, with a copy in its
# place, and where neither will do.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need python3
need setfattr
need_devserver "it takes the function away"
start_server
new_bucket bucket

umount_all() { umount_project "$mnt"; }
# A remount without cache and state, as on another machine; ARGUMENTS for the mount.
remount_bare() {
    umount_all
    rm -rf "$SF_TMP/own-$(basename "$mnt")"
    mount_at "$mnt" -o "bucket=$bucket" "$@" || fail "mounting again failed"
}
# A remount with the same state directory.
remount_same() {
    umount_all
    mount_at "$mnt" -o "bucket=$bucket" "$@" || fail "mounting again failed"
}
# What an info has: cacheControl, a member of the metadata, ...
info_of() { object_info "$bucket" "$1" | json_get "$2"; }
# foreign KEY BYTES METADATA-BYTES: as another client makes it, with all that it can say.
foreign() {
    head -c "$2" /dev/zero >"$SF_TMP/body"
    python3 -c 'import json,sys; print(json.dumps({"by": "others", "n": 0.1, "pad": "x" * int(sys.argv[1])}))' \
        "$3" >"$SF_TMP/meta.json"
    api POST "/object/$(urlencode "$bucket/$1")" -F cacheControl=31536000 \
        -F "metadata=<$SF_TMP/meta.json" -F "file=@$SF_TMP/body;type=image/png" >/dev/null ||
        fail "cannot make $1"
}
# kept KEY METADATA-BYTES: all that others said is still there.
kept() {
    expect_eq "$1: content type" image/png "$(info_of "$1" 'd["content_type"]')"
    expect_match "$1: cache control" '^max-age=31536000, supafs=' \
        "$(info_of "$1" 'd["cache_control"]')"
    expect_eq "$1: metadata" "others $2" \
        "$(info_of "$1" 'd["metadata"]["by"]+" "+str(len(d["metadata"]["pad"]))')"
}
attributes() { stat -c '%a %Y' "$mnt/$1"; }
counted() { request_log | json_get "d['counts'].get('$1',0)"; }

mount_project mnt -o "bucket=$bucket"

step "by the function: no byte moves, and all of others stays"
foreign a.png 5000 1000
foreign big-meta.png 5000 60000
foreign large.png 20000000 1000
version=$(info_of a.png 'd["version"]')
clear_log
chmod 640 "$mnt"/*.png
touch -d @1700000000 "$mnt"/*.png
remount_bare
for f in a.png big-meta.png large.png; do
    expect_eq "$f" "640 1700000000" "$(attributes $f)"
done
kept a.png 1000
kept big-meta.png 60000
kept large.png 1000
expect_eq "it is the same version" "$version" "$(info_of a.png 'd["version"]')"
expect_eq "one call for each" 3 "$(counted rpc)"
expect_eq "copies" 0 "$(counted copy)"

step "by a copy, up to attr_copy_max"
settings '{"rpc": false}'
remount_bare -o attr_copy_max=1M
foreign b.png 5000 1000
foreign large2.png 2000000 1000
foreign big2.png 5000 60000
ls "$mnt" >/dev/null
sleep 1.1 # attr_ttl: the new ones are looked for
clear_log
for f in b.png large2.png big2.png; do
    expect_ok "chmod $f" chmod 604 "$mnt/$f"
done
expect_ok "setfattr" setfattr -n user.note -v one "$mnt/large2.png"
expect_ok "fsync writes what can be written" sync "$mnt/b.png" "$mnt/large2.png" "$mnt/big2.png"
kept b.png 1000
expect_eq "copies" 1 "$(counted copy)"
expect_match "the large one stays as it was" '^max-age=31536000$' \
    "$(info_of large2.png 'd["cache_control"]')"
expect_match "so does the one with much metadata" '^max-age=31536000$' \
    "$(info_of big2.png 'd["cache_control"]')"
expect_match "the status counts them" 'attrs 2' "$(grep pending_kinds "$mnt/.supafs/status")"

step "what stays here is seen after a remount, and goes with the next upload"
remount_same -o attr_copy_max=1M
expect_match "the large one" '^604 ' "$(attributes large2.png)"
expect_eq "and this" one "$(getfattr --absolute-names --only-values -n user.note "$mnt/large2.png")"
echo more >>"$mnt/large2.png"
kept large2.png 1000
remount_bare
expect_match "now in the bucket" '^604 ' "$(attributes large2.png)"
expect_eq "and this" one "$(getfattr --absolute-names --only-values -n user.note "$mnt/large2.png")"
expect_match "never written" '^644 ' "$(attributes big2.png)"

step "attrs=none: objects carry nothing of ours"
remount_bare -o attrs=none
echo text >"$mnt/plain.txt"
chmod 600 "$mnt/plain.txt"
expect_match "it lasts as long as the mount" '^600 ' "$(attributes plain.txt)"
remount_bare -o attrs=none
expect_match "and no longer" '^644 ' "$(attributes plain.txt)"
expect_eq "no mark" no-cache "$(info_of plain.txt 'd["cache_control"]')"
expect_eq "no envelope" '{}' "$(info_of plain.txt 'd["metadata"]')"

step "nothing was put aside"
expect_eq "quarantine" 0 "$(find "$SF_TMP" -xdev -path '*/quarantine/*' -type f | wc -l)"
passed
