#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A file's id at AI providers by the attribute user.supafs.PROVIDER.file_id: who asks for it gets one,
# once for each content, whatever the file's name; what is refused, and how that is told; what
# copying tools do with it; ids that end, vanish, or belong to another key.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/../lib/providers.sh"

need_fuse
need_supafs
need_devserver "its providers are asked"
need getfattr setfattr rsync tar
start_server
new_bucket bucket
for name in KIMI GLM OPENAI; do export "SUPAFS_PROVIDER_${name}_MAX_BYTES=100K"; done
# What a key file holds, and ids that are believed for two seconds, in accounts of their own.
provider_of filed kimi
umask 077
printf '%s+filed\n' "$SUPAFS_PROVIDER_FILED_KEY" >"$SF_TMP/key"
unset SUPAFS_PROVIDER_FILED_KEY
export SUPAFS_PROVIDER_FILED_KEY_FILE=$SF_TMP/key
umask 022
provider_of brief kimi +brief
provider_of brief-glm glm +brief
export SUPAFS_PROVIDER_BRIEF_LIFETIME=2s SUPAFS_PROVIDER_BRIEF_GLM_LIFETIME=2s
for name in kimi glm openai brief; do
    echo "a new file for $name" >"$SF_TMP/text"
    put_object "$bucket" "foreign/$name.txt" "$SF_TMP/text" text/plain >/dev/null
done
mount_project mnt -o attr_ttl=600
top=$mnt/$bucket

# downloads: of bytes of objects, so far.
downloads() { admin GET '/log?counts=1' | sed -n 's/.*"download":\([0-9]*\).*/\1/p'; }
# refused WHAT ERRNO NAME FILE REQUESTS: asking fails, after so many requests to its provider.
refused() {
    local before
    before=$(asked "$3")
    expect_errno "$1" "$2" getfattr -n "user.supafs.$3.file_id" "$4"
    expect_eq "$1: requests" "$5" $(($(asked "$3") - before))
}

# the_files NAME: one of every kind, at a provider that is called as its site is.
the_files() {
    local p=$1 d=$top/$1 id other
    mkdir "$d"

    step "$p: a new file"
    echo "a new file for $p" >"$d/a.txt"
    id=$(file_id "$p" "$d/a.txt")
    expect_match "an id" '^[A-Za-z0-9-]{5,}$' "$id"
    expect_eq "the provider has these bytes" 1 "$(uploads "$p" "$d/a.txt")"
    expect_eq "under this id" "$id" "$(at_provider "$p" 's["uploads"][-1]["ids"][-1]')"
    expect_match "and a name that tells the content" '^a-[0-9a-f]{12}.txt$' "$(at_provider "$p" 's["uploads"][-1]["filename"]')"

    step "$p: a known one"
    local before
    before=$(asked "$p")
    expect_eq "the same id" "$id" "$(file_id "$p" "$d/a.txt")"
    expect_match "its state" '^ready' "$(of_provider "$p" status "$d/a.txt")"
    expect_exit "no error" 1 of_provider "$p" error "$d/a.txt"
    expect_eq "without a request" "$before" "$(asked "$p")"

    step "$p: changed, and changed back"
    cp "$d/a.txt" "$SF_TMP/first"
    echo "another one for $p" >"$d/a.txt"
    other=$(file_id "$p" "$d/a.txt")
    expect_ne "another content" "$id" "$other"
    expect_eq "is sent" 1 "$(uploads "$p" "$d/a.txt")"
    before=$(asked "$p")
    cp "$SF_TMP/first" "$d/a.txt"
    expect_eq "the first one has its id" "$id" "$(file_id "$p" "$d/a.txt")"
    expect_eq "without a request" "$before" "$(asked "$p")"

    step "$p: renamed, copied"
    local read
    read=$(downloads)
    mkdir "$d/sub"
    mv "$d/a.txt" "$d/sub/b.txt"
    expect_eq "another name" "$id" "$(file_id "$p" "$d/sub/b.txt")"
    expect_eq "is not read" "$read" "$(downloads)"
    cp "$d/sub/b.txt" "$d/c.txt"
    expect_eq "a copy" "$id" "$(file_id "$p" "$d/c.txt")"
    expect_eq "somebody else's copy" "$id" "$(file_id "$p" "$top/foreign/$p.txt")"
    expect_eq "without a request" "$before" "$(asked "$p")"
    expect_eq "sent once" 1 "$(uploads "$p" "$SF_TMP/first")"

    step "$p: what is refused"
    head -c 102401 /dev/zero >"$d/large.txt"
    refused "too large" "File too large" "$p" "$d/large.txt" 0
    expect_match "it is said" 'larger|bytes|KiB' "$(of_provider "$p" error "$d/large.txt")"
    expect_match "and its state" '^(none|refused|failed)' "$(of_provider "$p" status "$d/large.txt")"
    : >"$d/empty.txt"
    # Nothing is known of other servers: they say it themselves, and are asked once.
    refused "empty" "Invalid argument" "$p" "$d/empty.txt" "$([ "$p" = openai ] && echo 1 || echo 0)"
    refused "and again" "Invalid argument" "$p" "$d/empty.txt" 0
    expect_match "it is said" 'empty|byte|zero' "$(of_provider "$p" error "$d/empty.txt")"
    echo "not really" >"$d/a.zip"
    if [ "$p" = openai ]; then
        expect_ne "any kind" '' "$(file_id "$p" "$d/a.zip")"
    else
        refused "wrong kind" "Operation not supported" "$p" "$d/a.zip" 0
        expect_match "it is said" 'zip' "$(of_provider "$p" error "$d/a.zip")"
    fi
    refused "a directory" "No such attribute" "$p" "$d/sub" 0
}


for name in kimi glm openai; do the_files "$name"; done
one=$top/kimi/c.txt id=$(file_id kimi "$top/kimi/c.txt")

step "what is listed, and that it changes nothing to set or to remove it"
before=$(asked kimi)
expect_eq "of a file with ids" "user.supafs.kimi.file_id" "$(shown "$one")"
expect_eq "of one without" '' "$(shown "$top/kimi/large.txt")"
expect_ok "set to what it is" setfattr -n user.supafs.kimi.file_id -v "$id" "$one"
for what in file_id status expires error; do
    expect_ok "$what is set" setfattr -n "user.supafs.kimi.$what" -v anything "$one"
done
expect_eq "and stays" "$id" "$(file_id kimi "$one")"
expect_exit "no such provider" 1 file_id nobody "$one"
expect_ok "what a mount with another provider copies" setfattr -n user.supafs.nobody.file_id -v x "$one"
ln -s c.txt "$top/kimi/link"
expect_eq "through a link" "$id" "$(file_id kimi "$top/kimi/link")"
expect_exit "the link itself has none" 1 getfattr -h -n user.supafs.kimi.file_id "$top/kimi/link"

step "cp -a, rsync -aX, tar --xattrs"
mkdir "$SF_TMP/out" "$top/back"
expect_ok "cp -a out" cp -a "$top/kimi" "$SF_TMP/out/cp"
expect_ok "cp -a within" cp -a "$top/kimi" "$top/cp"
expect_ok "rsync -aX within" rsync -aX "$top/kimi/" "$top/rsync/"
# An id is listed where the content's hash is known, which the copy's is not before it was asked for.
expect_eq "a second run sends nothing" '' "$(rsync -aXi "$top/kimi/" "$top/rsync/" | grep -v '^\.f\.*x ')"
expect_ok "rsync -aX out" rsync -aX "$top/kimi/" "$SF_TMP/out/rsync/"
expect_ok "rsync -aX in" rsync -aX "$SF_TMP/out/rsync/" "$top/rsync2/"
expect_ok "tar out" tar --xattrs -C "$top" -cf "$SF_TMP/t.tar" kimi
expect_ok "tar in" tar --xattrs --xattrs-include='user.*' -C "$top/back" -xpf "$SF_TMP/t.tar"
expect_eq "without a request" "$before" "$(asked kimi)"
for copy in cp rsync rsync2 back/kimi; do
    expect_eq "the copy in $copy has the content's id" "$id" "$(file_id kimi "$top/$copy/c.txt")"
done
expect_eq "without a request" "$before" "$(asked kimi)"

step "forgotten"
expect_ok "removed" setfattr -x user.supafs.kimi.file_id "$one"
expect_eq "nothing is listed" '' "$(shown "$one")"
expect_eq "without a request" "$before" "$(asked kimi)"
expect_eq "the provider still has it" 1 "$(at_provider kimi "sum(f['id'] == '$id' for f in s['files'])")"

step "a file that is not there yet"
said=$(python3 -c 'import errno, os, sys
with open(sys.argv[1], "w") as f:
    f.write("late")
    f.flush()
    try:
        print(os.getxattr(sys.argv[1], "user.supafs.kimi.file_id"))
    except OSError as e:
        print(errno.errorcode[e.errno], os.getxattr(sys.argv[1], "user.supafs.kimi.error").decode())
' "$top/late.txt")
expect_match "is busy, and it is said" '^EBUSY .*(written|open)' "$said"
expect_ne "then it has one" '' "$(file_id kimi "$top/late.txt")"

step "ids that end, and vanish"
site_of() { if [ "$1" = brief ]; then echo kimi; else echo glm; fi; }
declare -A firsts
for p in brief brief-glm; do
    echo "for $p" >"$top/$p.txt"
    firsts[$p]=$(file_id "$p" "$top/$p.txt")
    expect_match "$p: when" '^20..-..-..T..:..:..Z$' "$(of_provider "$p" expires "$top/$p.txt")"
done
sleep 2.1
for p in brief brief-glm; do
    before=$(asked "$(site_of "$p")")
    expect_eq "$p: its end" expired "$(of_provider "$p" status "$top/$p.txt")"
    expect_eq "$p: is not listed" '' "$(shown "$top/$p.txt")"
    expect_eq "$p: believed again" "${firsts[$p]}" "$(file_id "$p" "$top/$p.txt")"
    expect_eq "$p: after one request" 1 $(($(asked "$(site_of "$p")") - before))
    admin DELETE "/providers/files?provider=$(site_of "$p")" >/dev/null
done
sleep 2.1
for p in brief brief-glm; do
    id=$(file_id "$p" "$top/$p.txt")
    expect_ne "$p: one that vanished is made again" "${firsts[$p]}" "$id"
    expect_match "$p: as another one" '^[a-z0-9]+$' "$id"
    expect_eq "$p: sent twice" 2 "$(uploads "$(site_of "$p")" "$top/$p.txt")"
done

step "another key"
echo "for both keys" >"$top/keys.txt"
first=$(file_id filed "$top/keys.txt")
expect_ne "an id" '' "$first"
cp -p "$SF_TMP/key" "$SF_TMP/key.old"
sed -i 's/+filed/+other/' "$SF_TMP/key"
sleep 1.1 # it is looked at once in a second
second=$(file_id filed "$top/keys.txt")
expect_ne "another account has another one" "$first" "$second"
expect_eq "its own" other "$(at_provider kimi "''.join(f['account'] for f in s['files'] if f['id'] == '$second')")"
cp "$SF_TMP/key.old" "$SF_TMP/key"
sleep 1.1
before=$(asked kimi)
expect_eq "the old key, the old id" "$first" "$(file_id filed "$top/keys.txt")"
expect_eq "without a request" "$before" "$(asked kimi)"

step "who does not want to wait"
head -c 20000000 /dev/urandom >"$top/slow.txt" # more than what connections hold
settings '{"mbytes_per_s": 5}'
start=$(now_ms)
expect_exit "interrupted" 124 timeout -s INT 1 getfattr -n user.supafs.brief.file_id "$top/slow.txt"
expect_le "ms" 4000 $(($(now_ms) - start))
over() { [ "$(at_provider kimi 's["open"]')" = 0 ]; }
wait_for 5 over || fail "the request goes on though nobody waits for it"
settings '{"mbytes_per_s": 0}'
expect_eq "nothing is there" 0 "$(uploads kimi "$top/slow.txt")"
expect_ne "the next one gets it" '' "$(file_id brief "$top/slow.txt")"
expect_eq "sent once" 1 "$(uploads kimi "$top/slow.txt")"

step "after a remount"
first=$(file_id glm "$top/glm/c.txt")
remount_project "$mnt" -o attr_ttl=600
before=$(asked glm)
expect_eq "still known" "$first" "$(file_id glm "$top/glm/c.txt")"
expect_eq "without a request" "$before" "$(asked glm)"
grep -F -e "$MOONSHOT_API_KEY" -e "$ZHIPUAI_API_KEY" -e "$OPENAI_API_KEY" -r "$SF_TMP"/daemon-* "$SF_TMP"/own-* &&
    fail "a key was written"
passed
