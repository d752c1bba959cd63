#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# `supafs provider upload`, `files`, `adopt`, `rm` and `prune`: what they have done at the emulated
# Kimi, by its own list of files before and after. Prune deletes nothing that supafs did not upload,
# nothing that a file needs by another name or in another mount, and nothing while the project or
# its tables cannot be asked.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

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

provider() { timeout 60 "$SUPAFS" provider "$@"; }
# of_json EXPRESSION: of the JSON in SF_OUT, as `o`.
of_json() { python3 -c 'import json, sys; o = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1" <<<"$SF_OUT"; }
kimi() { curl -sS --max-time 20 --config <(printf 'header = "Authorization: Bearer %s"\n' "$MOONSHOT_API_KEY") "$@"; }
# plain: names as Kimi has them, without the part that tells the content
plain() { sed -E 's/-[0-9a-f]{12}(\.txt)/\1/g'; }
# at_kimi: names and ids of what Kimi has, as another client sees it.
at_kimi() { kimi "$MOONSHOT_BASE_URL/files" | json_get '"\n".join(sorted(f["filename"] + " " + f["id"] for f in d["data"]))' | plain; }
names_at_kimi() { at_kimi | cut -d' ' -f1 | xargs; }
# id_of FILE: at Kimi, where it has been uploaded.
id_of() { provider upload --provider kimi "$1" | awk '{print $2}'; }
# pruned OPTION...: names of the ids that went or would go, then how many of how many.
pruned() {
    expect_exit "prune $*" 0 provider prune --json -m "$mnt" "$@"
    sf_gone=$(of_json '" ".join(sorted(f["name"] for f in o["files"] if f["verdict"] in ("goes", "gone")))' | plain)
    sf_kept=$(of_json '" ".join(sorted(f["name"] for f in o["files"] if f["verdict"] == "kept"))' | plain)
    sf_sum=$(of_json '"%d of %d" % (o["gone"], o["seen"])')
}

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

step "prune: what is needed stays"
before=$(at_kimi)
pruned
expect_eq "nothing is to be done" "/0 of 3" "$sf_gone/$sf_sum"
mv "$top/b.txt" "$top/dir/renamed.txt"
mv "$top/a.txt" "$top/dir/first.txt"
rm "$top/dir/first.txt" # again.txt has the same content
api DELETE /object/user-files/fallback.txt >/dev/null || fail "cannot delete"
cp "$top/mine.txt" "$SF_TMP/mine.txt" && rm "$top/mine.txt"
pruned
expect_eq "only what no file has would go" "fallback.txt/1 of 3" "$sf_gone/$sf_sum"
expect_eq "and does not yet" "$before" "$(at_kimi)"
set_faults '{"kind":"error","path":"/object/list-v2","status":400}'
pruned --yes
expect_eq "while the project does not answer" "/0 of 3" "$sf_gone/$sf_sum"
expect_match "it is said" 'fallback.txt' "$sf_kept"
expect_eq "nothing goes" "$before" "$(at_kimi)"
clear_faults
pruned --yes
expect_eq "then it goes" "fallback.txt/1 of 3" "$sf_gone/$sf_sum"
expect_eq "and nothing else, whoever brought it" "a.txt b.txt theirs.txt" "$(names_at_kimi)"
before=$(at_kimi)
expect_eq "the renamed file has its id" "$(sed -n 's/^b.txt //p' <<<"$before")" "$(id_of "$top/dir/renamed.txt")"
expect_eq "nothing was sent" "$before" "$(at_kimi)"

step "prune: ETags that are new with each write and move"
settings '{"etag_style":"mtime"}'
for name in moved replaced removed; do echo "$name, with an ETag of its own" >"$top/$name.txt"; done
expect_exit "upload" 0 provider upload --provider kimi "$top/moved.txt" "$top/replaced.txt" "$top/removed.txt"
api_json POST /object/move '{"bucketId":"user-files","sourceKey":"moved.txt","destinationKey":"elsewhere.txt"}' >/dev/null || fail "cannot move"
echo "replaced" >"$top/replaced.txt"
rm "$top/removed.txt"
pruned --yes
expect_eq "what is certain goes" "removed.txt replaced.txt/2 of 5" "$sf_gone/$sf_sum"
expect_eq "what may be the same stays" "moved.txt" "$sf_kept"
expect_exit "rm" 0 provider rm -m "$mnt" --provider kimi "$(at_kimi | sed -n 's/^moved.txt //p')"

step "prune: two mounts without tables"
settings '{"etag_style":"md5"}'
mount_project other
cp "$top/again.txt" "$other/results/again.txt"
expect_exit "the other mount" 0 provider upload --provider kimi --json "$other/results/again.txt"
expect_eq "has an id of its own" uploaded "$(of_json 'o[0]["how"]')"
its=$(of_json 'o[0]["id"]')
rm "$top/again.txt"
pruned --yes
expect_eq "its content is there still" "" "$sf_gone"
rm "$other/results/again.txt"
pruned --yes
expect_eq "now this one's goes" "a.txt" "$sf_gone"
expect_match "the other one's stays" "again.txt $its" "$(at_kimi)"
expect_exit "until that one prunes" 0 provider prune --yes --json -m "$other"
expect_eq "which deletes its own" "$its" "$(of_json '" ".join(f["id"] for f in o["files"] if f["verdict"] == "gone")')"
before=$(at_kimi)

step "prune: two mounts, and the project's tables"
export SUPAFS_TABLES=auto
remount_project "$mnt"
remount_project "$other"
settings '{"etag_style":"mtime"}'
head -c 200000 /dev/urandom | base64 >"$SF_TMP/shared.txt"
cp "$SF_TMP/shared.txt" "$top/shared.txt"
shared=$(id_of "$top/shared.txt")
cp "$SF_TMP/shared.txt" "$other/results/theirs.txt"
expect_exit "the other mount" 0 provider upload --provider kimi --json "$other/results/theirs.txt"
expect_eq "has the same id" "$shared shared" "$(of_json 'o[0]["id"] + " " + o[0]["how"]')"
expect_exit "prune of the other one" 0 provider prune --yes --json -m "$other"
expect_eq "finds nothing of its own" "0 of 0" "$(of_json '"%d of %d" % (o["gone"], o["seen"])')"
rm "$top/shared.txt"
pruned --yes
expect_eq "the other mount's file needs it" "" "$sf_gone"
expect_eq "it is said" "shared.txt" "$sf_kept"
expect_match "it is there" "shared.txt $shared" "$(at_kimi)"
rm "$other/results/theirs.txt"
set_faults '{"kind":"error","path":"/rest/v1","status":403}'
pruned --yes
expect_eq "while the tables cannot be asked" "" "$sf_gone"
expect_match "it is said" 'shared.txt' "$sf_kept"
expect_match "nothing goes" "shared.txt $shared" "$(at_kimi)"
clear_faults
remount_project "$mnt" # they are not asked again for a while
pruned --yes
expect_eq "then it goes" "shared.txt" "$sf_gone"
expect_eq "and nothing else" "$before" "$(at_kimi)"

passed
