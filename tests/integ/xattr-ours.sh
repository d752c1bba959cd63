#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What a mount tells of its files by attributes: the same as the service says, at what cost; what is
# listed, so that cp -a, rsync -aX, tar --xattrs and git go on as anywhere; links that work without a
# key and are written nowhere.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need_devserver "it counts requests"
need getfattr setfattr rsync tar git
start_server
new_bucket bucket
new_bucket open '"public":true'
name='d/a b&c=1?token=x.y.z +, 1.txt'
echo "some text" >"$SF_TMP/text"
put_object "$bucket" "$name" "$SF_TMP/text" text/html >/dev/null
put_object "$bucket" "plain.txt" "$SF_TMP/text" text/plain >/dev/null
put_object "$open" "shown.txt" "$SF_TMP/text" text/plain >/dev/null
mount_project mnt -o log_level=trace,attr_ttl=600
top=$mnt/$bucket

get() { getfattr --only-values -n "user.supafs.$1" "$2" 2>/dev/null; }
# listed FILE: names, in one line.
listed() { getfattr "$1" 2>/dev/null | sed -n 's/^user/user/p' | xargs; }
requests() { request_log | json_get "len([e for e in d[\"entries\"] if e[\"kind\"] in $1])"; }
# info KEY EXPRESSION: of what the service says.
info() { api GET "/object/info/authenticated/$bucket/$(urlencode "$1")" | json_get "$2"; }

step "identity"
ls "$top/d" >/dev/null
clear_log
file=$top/$name
expect_eq "bucket" "$bucket" "$(get bucket "$file")"
expect_eq "key" "$name" "$(get key "$file")"
expect_eq "content type" text/html "$(get content_type "$file")"
id=$(get id "$file")
etag=$(get etag "$file")
expect_eq "so far without a request" 0 "$(requests '("info", "head", "list", "download")')"
version=$(get version "$file")
expect_exit "no hash is known" 1 get sha256 "$file"
expect_eq "version and hash: one" 1 "$(requests '("info", "head", "list", "download")')"
expect_eq "id, ETag and version as the service says" "$(info "$name" 'd["id"], d["etag"], d["version"]')" \
    "$(printf '%s\n' "$id" "$etag" "$version" | python3 -c 'import json,sys;print(json.dumps(sys.stdin.read().split("\n")[:3]))')"
expect_eq "of a directory" "$bucket d/" "$(get bucket "$top/d") $(get key "$top/d")"
expect_eq "of a bucket" "$bucket $bucket" "$(get bucket "$top") $(get id "$top")"
expect_exit "of the project" 1 get bucket "$mnt"

step "a file made here"
echo "written here" >"$top/here.txt"
expect_eq "its hash" "$(sha256sum <"$top/here.txt" | cut -d' ' -f1)" "$(get sha256 "$top/here.txt")"
expect_eq "its type" text/plain "$(get content_type "$top/here.txt")"
expect_eq "its version" "$(info here.txt 'd["version"]')" "$(get version "$top/here.txt")"
echo "written again" >"$top/here.txt"
expect_eq "the next hash" "$(sha256sum <"$top/here.txt" | cut -d' ' -f1)" "$(get sha256 "$top/here.txt")"
expect_eq "the next version" "$(info here.txt 'd["version"]')" "$(get version "$top/here.txt")"

step "what is listed"
clear_log
expect_eq "of a plain file" '' "$(listed "$top/plain.txt")"
expect_eq "of one made here" '' "$(listed "$top/here.txt")"
expect_eq "a type that the name does not tell" user.supafs.content_type "$(listed "$file")"
expect_eq "without a request" 0 "$(requests '("info", "head", "list", "download")')"

step "what cannot be set"
for what in id version etag sha256 bucket key sync error cached access_count last_accessed public_url \
    signed_url signed_url.60; do
    expect_ok "$what is accepted" setfattr -n "user.supafs.$what" -v x "$file"
    expect_ok "$what is not removed, either" setfattr -x "user.supafs.$what" "$file"
done
expect_eq "and stays" "$id" "$(get id "$file")"
expect_exit "an unknown name" 1 setfattr -n user.supafs.whatever -v x "$file"

step "cp -a, rsync -aX, tar --xattrs, git"
mkdir "$SF_TMP/src" "$top/in" "$SF_TMP/out"
cp "$SF_TMP/text" "$SF_TMP/src/a.txt"
cp "$SF_TMP/text" "$SF_TMP/src/unnamed"
expect_ok "rsync -aX in" rsync -aX "$SF_TMP/src/" "$top/in/"
expect_eq "a second run finds nothing" '' "$(rsync -aXi "$SF_TMP/src/" "$top/in/")"
expect_ok "cp -a out" cp -a "$top/in" "$SF_TMP/out/cp"
expect_ok "cp -a with a type out" cp -a "$top/d" "$SF_TMP/out/d"
expect_ok "rsync -aX out" rsync -aX "$top/d/" "$SF_TMP/out/rsync/"
expect_ok "tar out" tar --xattrs -C "$top" -cf "$SF_TMP/t.tar" d in
mkdir "$top/back"
expect_ok "tar in" tar --xattrs -C "$top/back" -xpf "$SF_TMP/t.tar"
expect_ok "rsync -aX within the mount" rsync -aX "$top/in/" "$top/again/"
expect_eq "and again" '' "$(rsync -aXi "$top/in/" "$top/again/")"
expect_ok "git" git -C "$top/in" -c init.defaultBranch=main init -q
expect_ok "git add" git -C "$top/in" add a.txt unnamed
expect_ok "git commit" git -C "$top/in" -c user.name=x -c user.email=x@example.com commit -qm x
expect_eq "git status" '' "$(git -C "$top/in" status --short)"

step "signed links"
clear_log
url=$(get signed_url "$file")
expect_eq "one request, though getfattr asks twice" 1 "$(requests '("sign",)')"
curl -sS --fail -o "$SF_TMP/got" "$url" || fail "the link does not work"
expect_same_file "without a key" "$SF_TMP/text" "$SF_TMP/got"
expect_eq "no link to a directory" '' "$(get signed_url "$top/d")"
for wrong in 0 31536001 1h; do
    expect_match "a lifetime of $wrong" 'Invalid argument' \
        "$(getfattr -n "user.supafs.signed_url.$wrong" "$file" 2>&1)"
done
lasts() { # URL: seconds from iat to exp
    python3 -c 'import base64,json,sys
p = sys.argv[1].split("token=")[1].split(".")[1]
d = json.loads(base64.urlsafe_b64decode(p + "=" * (-len(p) % 4)))
print(d["exp"] - d["iat"])' "$1"
}
expect_eq "an hour" 3600 "$(lasts "$url")"
expect_eq "as asked for" 90 "$(lasts "$(get signed_url.90 "$file")")"
"$SUPAFS" url "$file" >/dev/full 2>"$SF_TMP/full" && fail "a link that could not be written: exit 0"
expect_match "why" 'cannot write' "$(cat "$SF_TMP/full")"
expect_eq "supafs url" 7200 "$(lasts "$("$SUPAFS" url --expires 2h "$file")")"
expect_eq "of several" 2 "$("$SUPAFS" url "$file" "$top/plain.txt" | grep -c '/object/sign/')"
expect_exit "and of none" 1 "$SUPAFS" url "$top/d"
short=$("$SUPAFS" url -e 1s "$top/plain.txt")
sleep 2.1
expect_eq "it ends" 400 "$(curl -sS -o /dev/null -w '%{http_code}' "$short")"

step "public links"
expect_exit "not in this bucket" 1 get public_url "$file"
url=$(get public_url "$mnt/$open/shown.txt")
curl -sS --fail -o "$SF_TMP/got" "$url" || fail "the public link does not work"
expect_same_file "it works" "$SF_TMP/text" "$SF_TMP/got"
expect_eq "supafs url --public" "$url" "$("$SUPAFS" url -p "$mnt/$open/shown.txt")"
expect_exit "none" 1 "$SUPAFS" url -p "$file"
clear_log
get public_url "$mnt/$open/shown.txt" >/dev/null
expect_eq "known without a request" 0 "$(requests '("bucket", "bucket-list", "info", "list")')"

step "a file that is not there yet"
said=$(python3 -c 'import os, sys
with open(sys.argv[1], "w") as f:
    f.write("late")
    f.flush()
    print(os.getxattr(sys.argv[1], "user.supafs.sync").decode())
    try:
        print(os.getxattr(sys.argv[1], "user.supafs.signed_url"))
    except OSError as e:
        print(e.strerror)' "$top/late.txt")
expect_eq "has no link, and is told why" "dirty No data available" "${said//$'\n'/ }"
expect_ok "then it has" "$SUPAFS" url "$top/late.txt"

step "after a remount"
umount_project "$mnt"
mount_at "$mnt" -o attr_ttl=600 || fail "mounting again failed"
clear_log
expect_eq "the type is listed" user.supafs.content_type "$(listed "$file")"
expect_eq "and told" text/html "$(get content_type "$file")"
expect_eq "without a request" 0 "$(requests '("info", "head", "list", "download")')"
umount_project "$mnt"

step "no link is written anywhere"
expect_eq "files of the mount with a token" '' \
    "$(grep -rlaE 'eyJ[A-Za-z0-9_-]*\.eyJ[A-Za-z0-9_-]*\.' "$SF_TMP"/own-* "$SF_TMP"/daemon-* "$SF_TMP"/mount-*.log)"
passed
