#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Directories that go, are held, or are another's: the cache deleted while files are dirty, a second
# mount on a state directory, another key on it. Nothing is lost, nothing is shown to who may not
# see it. SF_MODE="close writeback": the kinds of sync.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it uses its fault switches and its secret"
need_fuse
need_supafs
need_root
need python3
start_server
b='' shared=''
new_bucket b
new_bucket shared
for i in 1 2 3 4 5; do head -c 300000 /dev/urandom >"$SF_TMP/bytes$i"; done

status_is() { [ "$(mount_status "$mnt" "$1")" = "$2" ]; }
own() { echo "$SF_TMP/own-$(basename "$mnt")/$1"; } # cache or state: of this mount
settled() { wait_for 30 status_is pending 0 || fail "still pending: $(cat "$mnt/.supafs/status")"; }
no_uploads() { # BUCKET
    set_faults "[{\"kind\":\"error\",\"status\":503,\"method\":\"PUT\",\"path\":\"/object/$1/\"},
        {\"kind\":\"error\",\"status\":503,\"method\":\"POST\",\"path\":\"/object/$1/\"}]"
}
stored() { # KEY FILE
    get_object "$b" "$1" "$SF_TMP/got" >/dev/null || fail "$1 is not in the bucket"
    expect_same_file "$1 in the bucket" "$2" "$SF_TMP/got"
}
# saved FROM NAME: cp, whose close waits for the service or, with sync=writeback, does not.
saved() {
    local rc=0
    cp "$1" "$mnt/$2" 2>>"$SF_TMP/cp.out" || rc=$?
    [ "$mode" = close ] || expect_eq "close() of $2" 0 "$rc"
}
killed() {
    kill -9 "$(daemon_pid "$mnt")"
    wait_for 5 eval "! stat '$mnt'"
    force_umount "$mnt"
}

# Files that are open, dirty and lack bytes of their objects, while the cache goes.
cat >"$SF_TMP/writer.py" <<'PY'
import mmap, os, sys
top, old, new = sys.argv[1:]
with open(new, "rb") as f:
    data = f.read()
a = os.open(top + "/new", os.O_RDWR | os.O_CREAT)
b = os.open(top + "/edited", os.O_RDWR)
c = os.open(top + "/mapped", os.O_RDWR)
os.write(a, data[:100000])
os.pwrite(b, b"ours", 150000)
shown = mmap.mmap(c, 300000)
shown[1000:1004] = b"ours"
print("dirty", flush=True)
sys.stdin.readline()
os.write(a, data[100000:])
os.pwrite(b, b"ours", 290000)
shown[200000:200004] = b"ours"
shown.close()
for fd in (a, b, c):
    os.fsync(fd)
    os.close(fd)
PY
ours() { # FROM OFFSET...: the file with "ours" there, in $SF_TMP/want
    cp "$1" "$SF_TMP/want"
    local at
    for at in "${@:2}"; do
        printf ours | dd of="$SF_TMP/want" bs=1 seek="$at" conv=notrunc status=none
    done
}

for mode in ${SF_MODE:-close writeback}; do
    options="attr_ttl=0,write_timeout=1s"
    [ "$mode" = close ] || options="$options,sync=$mode,unsafe_state_dir"

    step "the cache is deleted while files are dirty, sync=$mode"
    put_object "$b" edited "$SF_TMP/bytes2" >/dev/null
    put_object "$b" mapped "$SF_TMP/bytes3" >/dev/null
    mount_project mnt -o "$options"
    head -c 50000 "$mnt/$b/edited" >/dev/null
    mkfifo "$SF_TMP/go"
    python3 "$SF_TMP/writer.py" "$mnt/$b" "$SF_TMP/bytes1" "$SF_TMP/bytes1" <"$SF_TMP/go" \
        >"$SF_TMP/said" 2>&1 &
    writer=$!
    exec 3>"$SF_TMP/go"
    wait_for 20 grep -q dirty "$SF_TMP/said" || fail "the program does not write"
    no_uploads "$b"
    saved "$SF_TMP/bytes4" "$b/held"
    expect_ge "pending" 1 "$(mount_status "$mnt" pending)"
    rm -r "$(own cache)"
    clear_faults
    exec 3>&-
    wait "$writer" || fail "the program failed: $(cat "$SF_TMP/said")"
    settled
    stored new "$SF_TMP/bytes1"
    stored held "$SF_TMP/bytes4"
    ours "$SF_TMP/bytes2" 150000 290000
    stored edited "$SF_TMP/want"
    expect_same_file "read again" "$SF_TMP/want" "$mnt/$b/edited"
    ours "$SF_TMP/bytes3" 1000 200000
    stored mapped "$SF_TMP/want"
    expect_same_file "read" "$SF_TMP/bytes4" "$mnt/$b/held"

    step "and after the daemon was killed, sync=$mode"
    no_uploads "$b"
    saved "$SF_TMP/bytes5" "$b/held"
    saved "$SF_TMP/bytes2" "$b/other"
    killed
    rm -rf "$(own cache)"
    mount_at "$mnt" -o "$options" || fail "cannot mount: $(tail -n 3 "$SF_TMP"/mount-*.log)"
    expect_same_file "shown while it is pending" "$SF_TMP/bytes5" "$mnt/$b/held"
    expect_eq "pending" 2 "$(mount_status "$mnt" pending)"
    clear_faults
    echo again >"$mnt/$b/again" # a success wakes those that wait
    settled
    stored held "$SF_TMP/bytes5"
    stored other "$SF_TMP/bytes2"

    step "a second mount on the same state, sync=$mode"
    no_uploads "$b"
    saved "$SF_TMP/bytes1" "$b/held"
    mkdir "$SF_TMP/second" "$SF_TMP/second-state" "$SF_TMP/second-cache"
    expect_exit "same state directory" 18 "$SUPAFS" mount "$SF_TMP/second" -o \
        "$options,state_dir=$(own state),cache_dir=$SF_TMP/second-cache"
    expect_match "names the holder" "held by another mount \(pid $(daemon_pid "$mnt"), $mnt\)" "$SF_OUT"
    expect_match "names the option" "-o state_dir=" "$SF_OUT"
    expect_exit "same cache directory" 18 "$SUPAFS" mount "$SF_TMP/second" -o \
        "$options,state_dir=$SF_TMP/second-state,cache_dir=$(own cache)"
    expect_match "names the option" "-o cache_dir=" "$SF_OUT"
    expect_same_file "the first goes on" "$SF_TMP/bytes1" "$mnt/$b/held"
    clear_faults
    echo again >"$mnt/$b/again"
    settled
    stored held "$SF_TMP/bytes1"
    rmdir "$SF_TMP/second"
    rm -r "$SF_TMP/second-state" "$SF_TMP/second-cache"

    step "another key on the same state, sync=$mode"
    no_uploads "$b"
    saved "$SF_TMP/bytes3" "$b/held"
    rm "$mnt/$b/other"
    killed
    find "$(own state)" -type f ! -name lock ! -name lock.mdb -exec sha256sum {} + | sort \
        >"$SF_TMP/before"
    expect_ge "files of the first" 2 "$(wc -l <"$SF_TMP/before")"
    clear_faults
    clear_log
    admin PUT /policies "[{\"bucket\":\"$shared\",\"role\":\"authenticated\",
        \"allow\":[\"bucket\",\"select\",\"insert\",\"update\",\"delete\"]}]" >/dev/null
    SUPABASE_USER_TOKEN=$(make_token authenticated 4102444800 \
        sub=11111111-2222-3333-4444-555555555555)
    (
        export SUPABASE_USER_TOKEN
        unset SUPABASE_SERVICE_ROLE_KEY SUPABASE_SECRET_KEY
        mount_at "$mnt" -o "$options"
    ) || fail "cannot mount: $(tail -n 3 "$SF_TMP"/mount-*.log)"
    expect_eq "its role" authenticated "$(mount_status "$mnt" role)"
    expect_eq "pending of another" 0 "$(mount_status "$mnt" pending)"
    expect_eq "what it sees" "$shared" "$(ls "$mnt")"
    expect_missing "the other's file" "$mnt/$b/held"
    expect_ok "its own file" cp "$SF_TMP/bytes1" "$mnt/$shared/mine"
    umount_project "$mnt"
    expect_eq "requests for what the first has" 0 \
        "$(request_log | json_get "sum('held' in e['path'] or 'other' in e['path'] for e in d['entries'])")"
    find "$(own state)" -type f ! -name lock ! -name lock.mdb -exec sha256sum {} + | sort \
        >"$SF_TMP/after"
    expect_eq "what the first has is as it was" "" "$(comm -23 "$SF_TMP/before" "$SF_TMP/after")"
    mount_at "$mnt" -o "$options" || fail "cannot mount: $(tail -n 3 "$SF_TMP"/mount-*.log)"
    settled
    stored held "$SF_TMP/bytes3"
    expect_missing "removed by the first" "$mnt/$b/other"
    expect_eq "nothing doubled" "again edited held mapped new" "$(list_keys "$b" | tr '\n' ' ' | sed 's/ $//')"
    umount_project "$mnt"
    list_keys "$b" | while read -r key; do delete_object "$b" "$key" >/dev/null; done
    rm "$SF_TMP/go"
done
passed
