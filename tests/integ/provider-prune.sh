#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# `supafs provider prune`, by the emulated Kimi's own list of files before and after: it deletes
# nothing that supafs did not upload, nothing that a file needs by another name or in another mount,
# and nothing while a change has not arrived or the project or its tables cannot be asked.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/../lib/kimi.sh"

need_devserver "its providers are asked"
need_fuse
need_supafs
start_server
export SUPAFS_PROVIDER_KIMI_ORDER=10
mount_project mnt
top=$mnt/user-files

# pruned OPTION...: names of the ids that went or would go, then how many of how many.
pruned() {
    expect_exit "prune $*" 0 provider prune --json -m "$mnt" "$@"
    mapfile -t sf_pruned < <(of_json '"\n".join([" ".join(sorted(f["name"] for f in o["files"] if f["verdict"] in v))
        for v in (("goes", "gone"), ("kept",))] + ["%d of %d" % (o["gone"], o["seen"])])' | plain)
    sf_gone=${sf_pruned[0]} sf_kept=${sf_pruned[1]} sf_sum=${sf_pruned[2]}
}

step "what is needed stays"
mkdir "$top/dir"
for name in a.txt b.txt orphan.txt; do echo "text of $name" >"$top/$name"; done
cp "$top/a.txt" "$top/again.txt"
expect_exit "upload" 0 provider upload --provider kimi "$top/a.txt" "$top/again.txt" "$top/b.txt" "$top/orphan.txt"
echo "brought by others" >"$SF_TMP/theirs.txt"
kimi -F purpose=file-extract -F "file=@$SF_TMP/theirs.txt" "$MOONSHOT_BASE_URL/files" >"$SF_TMP/theirs.json"
cp "$SF_TMP/theirs.txt" "$top/mine.txt"
expect_exit "adopt" 0 provider adopt --provider kimi "$top/mine.txt" "$(json_get 'd["id"]' <"$SF_TMP/theirs.json")"
before=$(at_kimi)
pruned
expect_eq "nothing is to be done" "/0 of 3" "$sf_gone/$sf_sum"
mv "$top/b.txt" "$top/dir/renamed.txt"
mv "$top/a.txt" "$top/dir/first.txt"
rm "$top/dir/first.txt" # again.txt has the same content
api DELETE /object/user-files/orphan.txt >/dev/null || fail "cannot delete"
rm "$top/mine.txt"
pruned
expect_eq "only what no file has would go" "orphan.txt/1 of 3" "$sf_gone/$sf_sum"
expect_eq "and does not yet" "$before" "$(at_kimi)"
set_faults '{"kind":"error","path":"/object/list-v2","status":400}'
pruned --yes
expect_eq "while the project does not answer" "/0 of 3" "$sf_gone/$sf_sum"
expect_match "it is said" 'orphan.txt' "$sf_kept"
expect_eq "nothing goes" "$before" "$(at_kimi)"
clear_faults
pruned --yes
expect_eq "then it goes" "orphan.txt/1 of 3" "$sf_gone/$sf_sum"
expect_eq "and nothing else, whoever brought it" "a.txt b.txt theirs.txt" "$(names_at_kimi)"
before=$(at_kimi)
expect_eq "the renamed file has its id" "$(sed -n 's/^b.txt //p' <<<"$before")" "$(id_of "$top/dir/renamed.txt")"
expect_eq "nothing was sent" "$before" "$(at_kimi)"

step "while a change has not arrived"
remount_project "$mnt" -o sync=writeback
set_faults '{"kind":"error","path":"/object/user-files/held.txt","status":503}'
cp "$top/dir/renamed.txt" "$SF_TMP/held.txt"
cp "$SF_TMP/held.txt" "$top/held.txt"
expect_exit "prune" 1 provider prune --yes -m "$mnt"
expect_match "is refused" '1 change is not in the project yet' "$SF_OUT"
clear_faults
expect_ok "flush" timeout 30 "$SUPAFS" flush "$mnt"
expect_exit "then it is not" 0 provider prune --yes -m "$mnt"
rm "$top/held.txt"
remount_project "$mnt"

step "ETags that are new with each write and move"
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

step "two mounts without tables"
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

step "two mounts, and the project's tables"
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
