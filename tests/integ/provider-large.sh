#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A file of 100 MB to a provider: what it costs in memory, and what a daemon that is killed in the
# middle leaves behind: no mapping that is wrong, nothing that keeps the next one from getting an id,
# and at the provider nothing that prune does not find.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2120,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/../lib/providers.sh"

need_fuse
need_supafs
need_devserver "its providers are asked"
size=100000000
for name in one two; do head -c "$size" /dev/urandom >"$SF_TMP/$name.txt"; done
for name in half whole orphan again; do head -c 20000000 /dev/urandom >"$SF_TMP/$name.txt"; done
imports=()
for name in one two half whole orphan again; do imports+=(--import "results/$name.txt=$SF_TMP/$name.txt"); done
start_server "${imports[@]}"
export SUPAFS_PROVIDER_KIMI_UPLOAD_TIMEOUT=20s
mount_project mnt
top=$mnt/results
rss() { awk '/^RssAnon/ {print $2}' "/proc/$(daemon_pid "$1")/status"; }

# highest MOUNTPOINT COMMAND...: the greatest RssAnon of the daemon while the command runs, in KiB.
highest() {
    local mnt=$1 pid
    shift
    "$@" >"$SF_TMP/said" &
    pid=$!
    python3 - "$(daemon_pid "$mnt")" "$pid" <<'END'
import os, sys, time
most = 0
while True:
    with open(f"/proc/{sys.argv[1]}/status") as f:
        most = max(most, *[int(l.split()[1]) for l in f if l.startswith("RssAnon")])
    try:
        with open(f"/proc/{sys.argv[2]}/stat") as f:
            if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                break
    except OSError:  # the shell was told of its end already
        break
    time.sleep(0.01)
print(most)
END
    wait "$pid"
}

step "reading a file of 100 MB"
fresh=$(rss "$mnt")
before=$(highest "$mnt" cat "$top/two.txt")
note "RssAnon: fresh $fresh KiB, $before while it is read, which is the cache, $(rss "$mnt") afterwards"

step "sending one"
start=$(now_ms)
most=$(highest "$mnt" file_id kimi "$top/one.txt")
note "took $(($(now_ms) - start)) ms, RssAnon up to $most KiB"
expect_ne "an id" '' "$(cat "$SF_TMP/said")"
expect_eq "the provider has these bytes" 1 "$(uploads kimi "$SF_TMP/one.txt")"
expect_le "KiB more than to read one" 8192 $((most - before))

# at_kimi FILE: ids of the files there with these bytes, each on a line.
at_kimi() { at_provider kimi "'\n'.join(f['id'] for f in s['files'] if f['sha256'] ==
    '$(sha256sum <"$SF_TMP/$1.txt" | cut -d' ' -f1)')"; }
# wants FILE: somebody wants its id, in the background.
wants() {
    file_id kimi "$mnt/results/$1.txt" >"$SF_TMP/said" &
    asker=$!
}
# dies: the daemon, at once, and comes back with the state it had.
dies() {
    kill -KILL "$(daemon_pid "$mnt")"
    force_umount "$mnt"
    wait "$asker"
    mount_at "$mnt" || fail "mounting again failed: $(tail -n 5 "$SF_TMP/mount-$sf_mounts.log")"
}
is_half() { [[ $(of_provider kimi status "$mnt/results/half.txt") =~ ^uploading\ [2-9][0-9]\ % ]]; }
is_there() { [ "$(at_kimi "$1" | wc -w)" = "$2" ]; }

step "killed in the middle of an upload"
cat "$top/half.txt" >/dev/null # so that the pace is that of the upload
settings '{"mbytes_per_s": 8}'
wants half
wait_for 10 is_half || fail "status: $(of_provider kimi status "$top/half.txt")"
dies
settings '{"mbytes_per_s": 0}'
expect_eq "no id is listed" '' "$(shown "$top/half.txt")"
expect_match "nor is one there" '^none' "$(of_provider kimi status "$top/half.txt")"
id=$(file_id kimi "$top/half.txt")
expect_match "the next one who asks gets one" '^[a-z0-9]{20}$' "$id"
expect_eq "which is of these bytes" "$id" "$(at_kimi half)"

# left FILE: the provider takes the whole file, and the daemon is killed before it hears of it.
left() {
    admin POST /providers '{"provider":"kimi", "route":"file-upload", "scenario":"hang-after", "times":1}' >/dev/null
    wants "$1"
    wait_for 10 is_there "$1" 1 || fail "it is not sent"
    dies
    admin DELETE /providers >/dev/null
}
step "killed when all of it was sent"
left whole
expect_eq "no id is listed" '' "$(shown "$top/whole.txt")"
id=$(file_id kimi "$top/whole.txt")
expect_match "the next one who asks gets one" '^[a-z0-9]{20}$' "$id"
expect_eq "what was left is taken: there is no other" "$id" "$(at_kimi whole)"

prune() { "$SUPAFS" provider prune kimi --mount "$mnt" "$@"; }
# A begun upload is looked for when it must have ended: after its time, and a minute for the clocks.
if [ -n "${SF_SOAK:-}" ]; then
    step "killed when all of it was sent, and nobody asks again"
    left orphan
    rm "$top/orphan.txt"
    orphan=$(at_kimi orphan)
    finds() { prune >"$SF_TMP/pruned" 2>&1 && grep -q "$orphan" "$SF_TMP/pruned"; }
    wait_for 120 finds || fail "prune does not find $orphan: $(cat "$SF_TMP/pruned")"
    [[ $(cat "$SF_TMP/pruned") != *$id* ]] || fail "prune would delete what is in use"
    expect_exit "prune --yes" 0 prune --yes
    expect_eq "it goes" '' "$(at_kimi orphan)"
    expect_eq "others stay" "$id" "$(at_kimi whole)"
fi

step "killed, and all that was known is lost"
left again
umount_project "$mnt"
rm -r "$SF_TMP/own-$(basename "$mnt")"
mount_at "$mnt" || fail "mounting again failed: $(tail -n 5 "$SF_TMP/mount-$sf_mounts.log")"
expect_eq "no id is listed" '' "$(shown "$top/again.txt")"
id=$(file_id kimi "$top/again.txt")
expect_match "the next one who asks gets one" '^[a-z0-9]{20}$' "$id"
expect_match "which is of these bytes" "\b$id\b" "$(at_kimi again)"
before=$(at_provider kimi 'len(s["files"])')
expect_exit "prune --yes" 0 prune --yes
expect_eq "keeps what it does not know to be ours" "$before" "$(at_provider kimi 'len(s["files"])')"
passed
