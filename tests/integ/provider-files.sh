#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# `supafs provider upload`, `files`, `adopt` and `rm`: what they print, and what they have done at the
# emulated Kimi, by its own list of files before and after; who takes the place of one in trouble.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/../lib/kimi.sh"

need_devserver "its providers are asked"
need_fuse
need_supafs
need getfattr
start_server
export SUPAFS_PROVIDER_KIMI_ORDER=10 SUPAFS_PROVIDER_KIMI_CONCURRENCY=4
# A server that does not run, whose files another one may take.
export SUPAFS_PROVIDER_DEAD_TYPE=kimi SUPAFS_PROVIDER_DEAD_BASE_URL=http://127.0.0.1:9/v1 SUPAFS_PROVIDER_DEAD_KEY=sk-dead
export SUPAFS_PROVIDER_DEAD_ORDER=20 SUPAFS_PROVIDER_DEAD_FALLBACK=kimi
mount_project mnt
top=$mnt/user-files

step "upload"
mkdir "$top/dir" "$top/dir/deep"
for name in a.txt b.txt dir/c.txt dir/deep/d.txt; do echo "text of $name" >"$top/$name"; done
cp "$top/a.txt" "$top/again.txt"
: >"$top/empty.txt"
expect_exit "two files" 0 provider upload "$top/a.txt" "$top/b.txt"
expect_eq "both, by the first provider" "kimi kimi" "$(awk '{print $1}' <<<"$SF_OUT" | xargs)"
expect_eq "are there" "a.txt b.txt" "$(names_at_kimi)"
expect_match "were sent" 'a\.txt +\(uploaded\)' "$SF_OUT"
expect_exit "again, and their copy" 0 provider upload --json "$top/a.txt" "$top/again.txt" "$top/b.txt"
expect_eq "known" "{'known'}" "$(of_json '{f["how"] for f in o}')"
expect_eq "two ids" 2 "$(of_json 'len({f["id"] for f in o})')"
expect_eq "the path as it was given" "$top/again.txt" "$(of_json '[f["path"] for f in o if "again" in f["path"]][0]')"
expect_exit "a directory" 1 provider upload "$top/dir"
expect_match "is refused" '\-r means' "$SF_OUT"
expect_exit "with -r" 0 provider upload -r "$top/dir"
expect_eq "all below it" "a.txt b.txt c.txt d.txt" "$(names_at_kimi)"
expect_exit "one of several" 1 provider upload --provider kimi "$top/empty.txt" "$top/none.txt" "$top/b.txt"
expect_match "an empty file" 'empty\.txt: kimi: .*without a byte' "$SF_OUT"
expect_match "one that is not there" 'none\.txt: ' "$SF_OUT"
expect_match "the third is told" 'b\.txt +\(known\)' "$SF_OUT"
expect_exit "outside of a mount" 1 provider upload "$SF_TMP"
expect_exit "no such provider" 1 provider upload --provider nobody "$top/a.txt"

step "where one is in trouble, who may take its place does"
umount_project "$mnt"
SUPAFS_PROVIDER_DEAD_ORDER=5 mount_at "$mnt" || fail "no mount"
echo "for another one" >"$top/fallback.txt"
expect_exit "upload" 0 provider upload "$top/fallback.txt"
expect_match "by the one that may" '^kimi .*\(uploaded\)' "$SF_OUT"
expect_exit "but not where one is named" 1 provider upload --provider dead "$top/fallback.txt"
expect_match "it is said" 'dead: .*connection refused' "$SF_OUT"
expect_exit "ls" 0 provider ls --json -m "$mnt"
expect_eq "as this mount has them" "dead $mnt" "$(of_json 'o[0]["name"] + " " + o[0]["mount"]')"
remount_project "$mnt"

step "one that is interrupted"
truncate -s 30M "$top/slow.txt" # more than sockets hold
getfattr -n user.supafs.sha256 "$top/slow.txt" >/dev/null 2>&1 || fail "no hash"
getfattr -n user.supafs.version "$top/slow.txt" >/dev/null 2>&1 || fail "no version"
# requests_are N: to Kimi, under way.
# shellcheck disable=SC2317 # called by wait_for
requests_are() { [[ $(mount_status "$mnt" provider_kimi_requests) == "$1 of"* ]]; }
pause_server
"$SUPAFS" provider upload "$top/slow.txt" >"$SF_TMP/slow" 2>&1 &
pid=$!
wait_for 10 requests_are 1 || fail "nothing is sent: $(cat "$SF_TMP/slow")"
kill -TERM $pid
start=$(now_ms)
wait $pid
expect_le "ends at once" 5000 $(($(now_ms) - start))
wait_for 10 requests_are 0 || fail "it is under way still: $(grep kimi "$mnt/.supafs/status")"
resume_server
rm "$top/slow.txt"

step "files, adopt, rm"
echo "brought by others" >"$SF_TMP/theirs.txt"
kimi -F purpose=file-extract -F "file=@$SF_TMP/theirs.txt" "$MOONSHOT_BASE_URL/files" >"$SF_TMP/theirs.json"
theirs=$(json_get 'd["id"]' <"$SF_TMP/theirs.json")
expect_exit "files" 0 provider files kimi --json -m "$mnt"
expect_eq "all of them" "$(at_kimi)" "$(of_json '"\n".join(sorted(f["name"] + " " + f["id"] for f in o))' | plain)"
expect_eq "one is not ours" "['theirs.txt']" "$(of_json '[f["name"] for f in o if not f["ours"]]')"
expect_eq "and whose they are" user-files/dir/c.txt "$(of_json '[f["bucket"] + "/" + f["key"] for f in o if f["name"].startswith("c-")][0]')"
cp "$SF_TMP/theirs.txt" "$top/mine.txt"
expect_exit "another file's id" 1 provider adopt --provider kimi "$top/b.txt" "$theirs"
expect_exit "no id at all" 1 provider adopt --provider kimi "$top/mine.txt" no-such-id
expect_exit "adopt" 0 provider adopt --provider kimi "$top/mine.txt" "$theirs"
before=$(at_kimi)
expect_eq "it is the file's id" "$theirs" "$(id_of "$top/mine.txt")"
expect_eq "nothing was sent" "$before" "$(at_kimi)"
expect_exit "rm by its path" 0 provider rm "$top/dir/c.txt"
gone=$(id_of "$top/dir/deep/d.txt")
expect_exit "rm by its id" 0 provider rm -m "$mnt" --provider kimi "$gone"
expect_exit "what is not there" 1 provider rm -m "$mnt" --provider kimi "$gone"
expect_eq "what is left" "a.txt b.txt fallback.txt theirs.txt" "$(names_at_kimi)"
expect_eq "the files are there" "text of dir/c.txt" "$(cat "$top/dir/c.txt")"
expect_exit "neither file nor id" 2 provider rm "$SF_TMP/no such"

passed
