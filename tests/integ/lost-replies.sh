#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Every request that changes something, once with its reply lost, once answered with 500 although
# the work was done, once carried out a second time later: the program hears of no error, and the
# project is as it should be, with nothing beside it.
# shellcheck source-path=SCRIPTDIR disable=SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it uses its fault switches"
need_fuse
need_supafs
# shellcheck disable=SC2119 # without options
start_server
settings '{"rpc":false}'
b=''
new_bucket b
mount_project mnt -o standard_limit=1M,attr_ttl=0
dir=$mnt/$b
head -c 9000000 /dev/urandom >"$SF_TMP/large"
head -c 9000001 /dev/urandom >"$SF_TMP/large2"
head -c 100000 /dev/urandom >"$SF_TMP/small"

faults_fired() {
    admin GET /faults | json_get 'sum(x["fired"] for x in (d if isinstance(d, list) else d["faults"]))'
}

# lose WHAT RULE COMMAND...: the command, while the requests that RULE means (members of a fault
# rule) have the fault $kind once. It succeeds, and leaves nothing pending or in quarantine.
lose() {
    local what="$kind: $1" rule=$2
    shift 2
    [ "$kind" != duplicate ] || rule="$rule,\"ms\":100"
    set_faults "{\"kind\":\"$kind\",\"times\":1,$rule}"
    expect_ok "$what" "$@"
    expect_eq "$what: the fault hit" 1 "$(faults_fired)"
    [ "$kind" != duplicate ] || sleep 0.3 # the second one is on its way still
    clear_faults
    expect_eq "$what: all uploaded" 0 "$(mount_status "$mnt" not_uploaded)"
    expect_eq "$what: nothing in quarantine" 0 "$(mount_status "$mnt" quarantine)"
}

nothing_pending() { [ "$(mount_status "$mnt" pending)" = 0 ]; }
stored() { get_object "$b" "$1" "$SF_TMP/got" >/dev/null 2>&1 && cmp -s "$SF_TMP/got" "$2"; }
expect_stored() { stored "$2" "$3" || fail "$kind: $1: $2 is not what was written"; }
keys() { list_keys "$b" "$1" | sort | xargs; }
copy_to() { cp "$1" "$2"; }
chmod_now() { python3 -c 'import os, sys
os.chmod(sys.argv[1], 0o600)
fd = os.open(sys.argv[1], os.O_RDONLY)
os.fsync(fd)' "$1"; }

for kind in reset_after error_after duplicate; do
    k=k-$kind
    step "$kind: one file"
    lose "create" "\"method\":\"POST\",\"path\":\"/object/$b/$k\"" copy_to "$SF_TMP/small" "$dir/$k"
    expect_stored "create" "$k" "$SF_TMP/small"
    head -c 90000 /dev/urandom >"$SF_TMP/other"
    lose "overwrite" "\"path\":\"/object/$b/$k\"" copy_to "$SF_TMP/other" "$dir/$k"
    expect_stored "overwrite" "$k" "$SF_TMP/other"
    lose "copy" '"method":"POST","path":"/object/copy"' copy_to "$SF_TMP/other" "$dir/$k.copy"
    expect_stored "copy" "$k.copy" "$SF_TMP/other"
    lose "move" '"method":"POST","path":"/object/move"' mv "$dir/$k" "$dir/$k.moved"
    expect_stored "move" "$k.moved" "$SF_TMP/other"
    cp "$SF_TMP/small" "$dir/$k.small"
    lose "move over" '"method":"POST","path":"/object/copy"' mv "$dir/$k.small" "$dir/$k.moved"
    expect_stored "move over" "$k.moved" "$SF_TMP/small"
    cp "$SF_TMP/other" "$dir/$k.small"
    lose "the end of a move over" '"method":"DELETE","path":"/object/"' mv "$dir/$k.small" "$dir/$k.moved"
    expect_stored "the end of a move over" "$k.moved" "$SF_TMP/other"
    lose "attributes by a copy" '"method":"POST","path":"/object/copy"' chmod_now "$dir/$k.moved"
    expect_match "$kind: attributes" 'm=100600' "$(object_info "$b" "$k.moved")"
    expect_stored "attributes" "$k.moved" "$SF_TMP/other"
    expect_eq "$kind: nothing beside it" "$k.copy $k.moved" "$(keys "$k")"
    lose "remove" '"method":"DELETE","path":"/object/"' rm "$dir/$k.moved"
    expect_eq "$kind: removed" "$k.copy" "$(keys "$k")"
    rm "$dir/$k.copy"

    step "$kind: in pieces"
    lose "begin" '"method":"POST","path":"/upload/resumable"' cp "$SF_TMP/large" "$dir/$k.l1"
    lose "a piece" '"method":"PATCH"' cp "$SF_TMP/large2" "$dir/$k.l2"
    expect_stored "pieces" "$k.l1" "$SF_TMP/large"
    expect_stored "pieces" "$k.l2" "$SF_TMP/large2"
    rm "$dir/$k".l[12]
    printf x >>"$SF_TMP/large" && printf x >>"$SF_TMP/large2"
    lose "the last piece" '"method":"PATCH","skip":1' cp "$SF_TMP/large" "$dir/$k.l3"
    lose "what follows" '"method":"POST","path":"/object/copy"' cp "$SF_TMP/large2" "$dir/$k.l4"
    expect_stored "last" "$k.l3" "$SF_TMP/large"
    expect_stored "what follows" "$k.l4" "$SF_TMP/large2"
    expect_match "$kind: its attributes" 'supafs=.*m=100' "$(object_info "$b" "$k.l4")"
    expect_eq "$kind: nothing beside them" "$k.l3 $k.l4" "$(keys "$k")"
    rm "$dir/$k".l[34]

    step "$kind: directories and buckets"
    lose "mkdir" '"method":"POST","path":"*/.emptyFolderPlaceholder"' mkdir "$dir/$k.d"
    lose "rmdir" '"method":"DELETE","path":"/object/"' rmdir "$dir/$k.d"
    expect_eq "$kind: no directory" '' "$(keys "$k.d")"
    mkdir "$dir/$k.d"
    for i in 1 2 3 4 5 6 7 8 9; do echo "$i" >"$dir/$k.d/$i"; done
    lose "rename of a directory" '"method":"POST","path":"/object/move","skip":3' mv "$dir/$k.d" "$dir/$k.e"
    expect_eq "$kind: all moved" 9 "$(keys "$k.e/" | tr ' ' '\n' | grep -c '/[1-9]$')"
    expect_eq "$kind: nothing left" '' "$(keys "$k.d/")"
    lose "removal of a tree" '"method":"DELETE","path":"/object/","skip":4' rm -r "$dir/$k.e"
    expect_eq "$kind: no tree" '' "$(keys "$k.e")"
    name=t-bucket-$$-${kind//_/-}
    lose "a bucket" '"method":"POST","path":"/bucket"' mkdir "$mnt/$name"
    lose "the end of a bucket" '"method":"DELETE","path":"/bucket/"' rmdir "$mnt/$name"
    wait_for 5 nothing_pending || fail "$kind: pending: $(mount_status "$mnt" pending_kinds)"
    expect_eq "$kind: no bucket" 400 "$(api_status GET "/bucket/$name")"
done
passed
