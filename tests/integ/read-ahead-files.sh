#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Small files read one after the other over a round trip of 20 ms: the rest of their directory is
# fetched while the first ones are read, each once. Little is where there is no pattern, and nothing
# with predict=no.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need_devserver "it reads the request log"
need python3
start_server
new_bucket b
cat >"$SF_TMP/files.py" <<'PY'
"""files.py seed BUCKET FOLDER N | read DIR NUMBER...: files NUMBER.txt of 4 KiB that say which they are."""
import os, sys, time
sys.path.insert(0, os.environ["SF_SRC"] + "/tests/lib")
sys.dont_write_bytecode = True
def body(i):
    return (b"%d, " % i * 4096)[:4096]
if sys.argv[1] == "seed":
    import objects
    bucket, folder, n = sys.argv[2:]
    objects.in_parallel(lambda api, i: api.call("PUT", f"/object/{bucket}/{folder}/{i}.txt", body(i), "text/plain"),
                        range(1, int(n) + 1))
else:
    start = time.monotonic()
    for i in map(int, sys.argv[3:]):
        with open(f"{sys.argv[2]}/{i}.txt", "rb", buffering=0) as f:
            data = f.read(8192)
        if data != body(i):
            sys.exit(f"{i}.txt: wrong bytes")
    print(int(1000 * (time.monotonic() - start)), "ms")
PY
export SF_SRC
python3 "$SF_TMP/files.py" seed "$b" many 200 || fail "seeding failed"
python3 "$SF_TMP/files.py" seed "$b" large 3000 || fail "seeding failed"

gets() { request_log | json_get 'd["counts"].get("download", 0)'; }

# read_files WHAT DIR NUMBER...: as files.py; GETS and AHEAD: requests for bytes, those of them ahead of need.
read_files() {
    local what=$1 dir=$2 took ahead
    shift 2
    ahead=$(mount_counter "$mnt" 'd["predicted_files"]')
    ls "$dir" >/dev/null
    clear_log
    took=$(python3 "$SF_TMP/files.py" read "$dir" "$@") || fail "$what: $took"
    sleep 0.3 # what is still on its way
    GETS=$(gets)
    AHEAD=$(($(mount_counter "$mnt" 'd["predicted_files"]') - ahead))
    note "$what: $took, $GETS requests for bytes, $AHEAD of them ahead of need"
}

settings '{"delay_ms": 20}'
step "200 files in the order of their numbers"
mount_project mnt -o "bucket=$b,attr_ttl=60"
# shellcheck disable=SC2046
read_files "a walk" "$mnt/many" $(seq 200)
expect_eq "requests for bytes" 200 "$GETS"
expect_le "requests that the reader waited for" 8 "$((GETS - AHEAD))"
expect_eq "used" "$AHEAD" "$(mount_counter "$mnt" 'd["predicted_used_files"]')"
# shellcheck disable=SC2046
read_files "the same, cached" "$mnt/many" $(seq 200)
expect_eq "requests for bytes" 0 "$GETS"

step "random files of a large directory"
remount_project "$mnt" -o "bucket=$b,attr_ttl=60"
# shellcheck disable=SC2046
read_files "random files" "$mnt/large" $(python3 -c 'import random
print(*random.Random(7).sample(range(1, 3001), 300))')
expect_le "requests for bytes" 318 "$GETS"

step "predict=no"
new_mount_of() { mount_project mnt -o "bucket=$b,attr_ttl=60,$1"; }
new_mount_of predict=no
# shellcheck disable=SC2046
read_files "a walk" "$mnt/many" $(seq 50)
expect_eq "requests for bytes" 50 "$GETS"
expect_eq "ahead of need" 0 "$AHEAD"
passed
