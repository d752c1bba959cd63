#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What other clients gave an object (metadata, cache control, content type) is there after the mount
# has changed its bytes: small and large metadata, with the database function and without, in one
# request and in pieces.
# shellcheck source-path=SCRIPTDIR disable=SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it takes the database function away"
need_fuse
need_supafs
start_server --standard-limit 300000000 # of forms that make large objects; the mount has its own
b=''
new_bucket b
own='public, max-age=31536000, immutable'
large=3
[ -z "${SF_SOAK:-}" ] || large=200

# metadata BYTES: a JSON object of about so many.
metadata() { python3 -c 'import json, sys
n = int(sys.argv[1])
print(json.dumps({"who": "them", "n": 1.5, "big": 12345678901234567, "list": [1, None], "text": "\u00e9" + "x" * (n - 60)}))' "$1"; }

# made KEY CONTENT-TYPE BYTES FILE [CACHE-CONTROL]: as another client makes it: by a form, and the
# cache control by the function, which takes any text.
made() {
    local version
    metadata "$3" >"$SF_TMP/metadata-$1"
    api POST "/object/$b/$1" -F "metadata=<$SF_TMP/metadata-$1" -F cacheControl=3600 \
        -F "file=@$4;type=$2" >/dev/null || fail "cannot make $1"
    [ -n "${5:-}" ] || return 0
    version=$(object_info "$b" "$1" | json_get 'd["version"]')
    sf_curl --fail-with-body -X POST "$SUPABASE_URL/rest/v1/rpc/supafs_set_attrs" \
        -H 'Content-Type: application/json' --data-binary "{\"p_bucket\":\"$b\",\"p_name\":\"$1\",
        \"p_version\":\"$version\",\"p_cache_control\":\"$5\",\"p_mimetype\":null,\"p_metadata\":null}" \
        >/dev/null || fail "cannot set the cache control of $1"
}

# kept KEY CONTENT-TYPE CACHE-CONTROL: all of it is there, whatever we have added.
kept() {
    object_info "$b" "$1" >"$SF_TMP/info"
    python3 - "$SF_TMP/info" "$SF_TMP/metadata-$1" "$2" "$3" <<'PY' || fail "$1: see above"
import json, re, sys
def load(path): # numbers as they are written
    return json.load(open(path), parse_float=str, parse_int=str)
info, want = load(sys.argv[1]), load(sys.argv[2])
has = {k: v for k, v in info["metadata"].items() if k != "supafs"}
cache = re.sub(r',? *supafs="[^"]*"', "", info["cache_control"])
ok = True
for what, a, b in (("metadata", has, want), ("content type", info["content_type"], sys.argv[3]),
                   ("cache control", cache, sys.argv[4])):
    if a != b:
        ok = False
        print(f"{what}: wanted {str(b)[:200]!r}, got {str(a)[:200]!r}", file=sys.stderr)
sys.exit(not ok)
PY
    sf_checks=$((sf_checks + 1))
}

# append KEY: by the shell, and what was there is there still.
append() {
    get_object "$b" "$1" "$SF_TMP/before" >/dev/null || fail "no $1"
    # shellcheck disable=SC2016 # expanded by the shell that is started
    expect_ok "append to $1" sh -c 'echo more >>"$1"' sh "$mnt/$1"
    echo more >>"$SF_TMP/before"
    get_object "$b" "$1" "$SF_TMP/after" >/dev/null || fail "no $1 any more"
    expect_same_file "$1" "$SF_TMP/before" "$SF_TMP/after"
}

head -c 5000 /dev/urandom >"$SF_TMP/small"
head -c $((large * 1048576)) /dev/urandom >"$SF_TMP/large"
for key in a1 b1; do made $key text/x-own 1000 "$SF_TMP/small" "$own"; done
for key in a60 b60; do made $key application/x-own 60000 "$SF_TMP/small" "$own"; done
made b60plain application/x-own 60000 "$SF_TMP/small"
for key in a60large b60large; do made $key video/x-own 60000 "$SF_TMP/large" "$own"; done
for key in alarge blarge; do made $key video/x-own 1000 "$SF_TMP/large" "$own"; done
mount_project mnt -o "bucket=$b,standard_limit=1M"

step "with the function in the project's database"
append a1
kept a1 text/x-own "$own"
append a60
kept a60 application/x-own "$own"
clear_log
append alarge
expect_ge "it went in pieces" 1 "$(request_log | json_get 'd["counts"].get("tus-patch", 0)')"
kept alarge video/x-own "$own"
append a60large
kept a60large video/x-own "$own"

step "without it"
umount_project "$mnt"
settings '{"rpc":false}'
mount_at "$mnt" -o "bucket=$b,standard_limit=1M" || fail "mount"
append b1
kept b1 text/x-own "$own"
append blarge
kept blarge video/x-own "$own"
append b60plain
kept b60plain application/x-own max-age=3600
expect_errno "what nothing can carry" "not supported" \
    python3 -c 'import sys; f = open(sys.argv[1], "a"); f.write("more"); f.close()' "$mnt/b60"
expect_match "the log says why" "b60 has 60[0-9]* bytes of metadata" "$(cat "$SF_TMP/daemon-${mnt##*/}.log")"
kept b60 application/x-own "$own"
get_object "$b" b60 "$SF_TMP/after" >/dev/null
expect_same_file "and nothing was changed" "$SF_TMP/small" "$SF_TMP/after"
clear_log
expect_errno "the same in pieces" "not supported" \
    python3 -c 'import sys; f = open(sys.argv[1], "a"); f.write("more"); f.close()' "$mnt/b60large"
expect_eq "no byte was sent" 0 "$(request_log | json_get 'sum(e["request_bytes"] for e in d["entries"]
    if e["method"] != "GET" and ("b60large" in e["path"] or "resumable" in e["path"]))')"
kept b60large video/x-own "$own"
get_object "$b" b60large "$SF_TMP/after" >/dev/null
expect_same_file "and nothing was changed there" "$SF_TMP/large" "$SF_TMP/after"
passed
