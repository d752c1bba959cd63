#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# src/write without a mount against the server: contents, types, limits, renames, directories, and,
# with the dev server, each change with its reply lost, before and after the deed.
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"

# shellcheck disable=SC2119 # no options
start_server
probe=$(sf_binary tests/lib/write-probe) || skip "requires tests/lib/write-probe (make check builds it)"
export SF_STATE=$SF_TMP/writer
mkdir -m 700 "$SF_STATE"
b='' other=''
new_bucket b
f=$SF_TMP/file got=$SF_TMP/got

# on_devserver COMMAND...: for the switches that only it has; nothing with a real server, where the
# same change is then tried with no fault.
on_devserver() { real_server || "$@"; }

# How a version of some bytes, and one of none, is called; the real server has other styles, too.
version='"[0-9a-f]{32}"' no_bytes='"d41d8cd98f00b204e9800998ecf8427e"'
styles=(md5 mtime) faults=(none {reset_after,reset_before}:{POST:/object/copy,DELETE:/object/})
lost=(reset_after reset_before)
if real_server; then version='"[^"]+"' no_bytes=$version styles=(real) faults=(none) lost=(none); fi

# expect_probe WHAT PATTERN ARGS...: what the change answers.
expect_probe() {
    local what=$1 pattern=$2 out
    shift 2
    out=$("$probe" "$@" 2>>"$SF_TMP/probe.log")
    expect_match "$what" "$pattern" "$out"
}

# expect_object WHAT KEY FILE
expect_object() {
    get_object "$b" "$2" "$got" || fail "$1: $2 is not there"
    expect_same_file "$1" "$3" "$got"
}

# expect_none WHAT KEY
expect_none() {
    expect_eq "$1" '' "$(list_keys "$b" "$2")"
}

# seed KEY FILE [TYPE]
seed() { put_object "$b" "$@" >"$SF_TMP/out" || fail "cannot put $1 there"; }

# sent KIND: requests of this kind since the log was cleared.
sent() { request_log | json_get "d['counts'].get('$1', 0)"; }

faults_fired() {
    admin GET /faults | json_get 'sum(x["fired"] for x in (d if isinstance(d, list) else d["faults"]))'
}

info() { object_info "$b" "$1" | json_get "$2"; }

step "a new file, a replacement, an empty one"
printf '%%PDF-1.4 text' >"$f"
expect_probe "new" "^OK $version 13 [0-9a-f-]{36}\$" put "$b" dir/noname "$f"
expect_object "bytes" dir/noname "$f"
expect_eq "type" application/pdf "$(info dir/noname 'd["content_type"]')"
expect_probe "exists" '^EEXIST ' put "$b" dir/noname "$f"
printf 'another' >"$f"
printf 'ours' >"$got"
seed dir/taken "$f" text/x-theirs
expect_probe "a conflict" '^OK ' put "$b" dir/taken "$got" beside
expect_object "the later one wins" dir/taken "$got"
kept=$(list_keys "$b" dir/taken.conflict-)
expect_match "the other has a name beside it" '^dir/taken\.conflict-[^/]+-[0-9TZ]+$' "$kept"
expect_object "and its bytes" "$kept" "$f"
expect_eq "and type" text/x-theirs "$(info "$kept" 'd["content_type"]')"
expect_probe "replaced" '^OK ' put "$b" dir/noname "$f" replace
expect_object "bytes of the replacement" dir/noname "$f"
expect_eq "the type stays" application/pdf "$(info dir/noname 'd["content_type"]')"
: >"$f"
expect_probe "empty" "^OK $no_bytes 0 " put "$b" empty "$f"
expect_object "no bytes" empty "$f"
expect_probe "gone by now" '^OK ' put "$b" new-after-all "$f" replace

head -c 300000 /dev/urandom >"$f"
if ! real_server; then
    step "uploads whose replies are lost"
    for style in md5 mtime; do
        settings "{\"etag_style\":\"$style\"}"
        for kind in reset_after reset_before; do
            for how in new replaced; do
                key=$style-$kind-$how
                replace=()
                if [ $how = replaced ]; then
                    head -c 300000 /dev/zero >"$SF_TMP/zeros"
                    seed "$key" "$SF_TMP/zeros"
                    replace=(replace)
                fi
                set_faults "{\"kind\":\"$kind\",\"path\":\"/object/$b/*\",\"times\":1}"
                clear_log
                expect_probe "$key" '^OK ' put "$b" "$key" "$f" "${replace[@]}"
                expect_ge "$key: the fault hit" 1 "$(faults_fired)"
                expect_ge "$key: asked before anything else" 1 "$(sent info)"
                clear_faults
                expect_object "$key" "$key" "$f"
            done
        done
    done
    settings '{"etag_style":"md5"}'

    step "an answer of 500 that did nothing"
    set_faults "{\"kind\":\"error\",\"status\":500,\"path\":\"/object/$b/*\",\"times\":2}"
    expect_probe "upload" '^OK ' put "$b" after-500 "$f"
    set_faults '{"kind":"error","status":500,"path":"/object/move","times":2}'
    expect_probe "move" '^OK ' rename "$b" after-500 "$b" moved-500
    clear_faults
    expect_object "moved" moved-500 "$f"
    expect_none "the old name" after-500
fi

step "limits"
limited=''
new_bucket limited '"file_size_limit":1000'
expect_probe "413" '^EFBIG ' put "$limited" large "$f"
expect_eq "nothing stored" '' "$(list_keys "$limited")"
if ! real_server; then
    settings '{"standard_limit":1000}'
    clear_log
    expect_probe "more than one request takes" '^OK ' put "$b" pieces "$f"
    expect_ge "goes in pieces" 1 "$(sent tus-patch)"
    expect_object "whole" pieces "$f"
    settings '{"standard_limit":52428800}'
fi

step "renames"
printf 'one' >"$SF_TMP/one"
printf 'two' >"$SF_TMP/two"
for style in "${styles[@]}"; do
    on_devserver settings "{\"etag_style\":\"$style\"}"
    for fault in "${faults[@]}"; do
        seed r-a "$SF_TMP/one" text/x-one
        seed r-b "$SF_TMP/two"
        if [ "$fault" != none ]; then
            IFS=: read -r kind method path <<<"$fault"
            set_faults "{\"kind\":\"$kind\",\"method\":\"$method\",\"path\":\"$path\",\"times\":1}"
        fi
        expect_probe "replacing, $style, $fault" '^OK ' rename "$b" r-a "$b" r-b replace
        on_devserver clear_faults
        expect_object "replaced, $style, $fault" r-b "$SF_TMP/one"
        expect_none "source, $style, $fault" r-a
    done
done
on_devserver settings '{"etag_style":"md5"}'
seed r-a "$SF_TMP/two"
expect_probe "target exists" '^EEXIST ' rename "$b" r-a "$b" r-b
expect_probe "no source" '^ENOENT ' rename "$b" r-none "$b" r-c
for kind in "${lost[@]}"; do
    on_devserver set_faults "{\"kind\":\"$kind\",\"path\":\"/object/move\",\"times\":1}"
    expect_probe "move, $kind" '^OK ' rename "$b" r-a "$b" r-c
    on_devserver clear_faults
    expect_object "moved, $kind" r-c "$SF_TMP/two"
    expect_probe "and back" '^OK ' rename "$b" r-c "$b" r-a
done
new_bucket other
expect_probe "into another bucket" '^OK ' rename "$b" r-a "$other" r-a replace
expect_none "gone here" r-a
get_object "$other" r-a "$got" || fail "not in the other bucket"
expect_same_file "there" "$SF_TMP/two" "$got"

step "deletions and directories"
expect_probe "delete" '^OK ' delete "$b" r-b
expect_probe "again" '^ENOENT ' delete "$b" r-b
seed r-b "$SF_TMP/one"
on_devserver set_faults '{"kind":"reset_after","method":"DELETE","times":1}'
expect_probe "delete, reply lost" '^OK ' delete "$b" r-b
on_devserver clear_faults
: >"$SF_TMP/none"
seed d/.emptyFolderPlaceholder "$SF_TMP/none"
seed d/x "$SF_TMP/one"
expect_probe "rmdir of a full one" '^ENOTEMPTY ' rmdir "$b" d/
delete_object "$b" d/x >"$SF_TMP/out"
expect_probe "rmdir" '^OK ' rmdir "$b" d/
expect_none "the marker" d/
expect_probe "rmdir of a vanished one" '^OK ' rmdir "$b" d/

step "buckets"
name=w-$$-bucket
expect_probe "mkbucket" '^OK ' mkbucket "$name"
expect_probe "mkbucket again" '^EEXIST ' mkbucket "$name"
put_object "$name" x "$SF_TMP/one" >"$SF_TMP/out"
put_object "$name" .emptyFolderPlaceholder "$SF_TMP/none" >"$SF_TMP/out"
expect_probe "rmbucket of a full one" '^ENOTEMPTY ' rmbucket "$name"
delete_object "$name" x >"$SF_TMP/out"
expect_probe "rmbucket" '^OK ' rmbucket "$name"
expect_probe "rmbucket again" '^ENOENT ' rmbucket "$name"
on_devserver set_faults '{"kind":"reset_after","method":"POST","path":"/bucket","times":1}'
expect_probe "mkbucket, reply lost" '^OK ' mkbucket "$name"
on_devserver set_faults '{"kind":"reset_after","method":"DELETE","path":"/bucket/","times":1}'
expect_probe "rmbucket, reply lost" '^OK ' rmbucket "$name"
on_devserver clear_faults

step "loading"
head -c 9999999 /dev/urandom >"$f"
seed big "$f"
etag=$(info big 'd["etag"]')
expect_probe "load" '^OK ' load "$b" big "$etag" 9999999 "$SF_TMP/loaded"
expect_same_file "loaded" "$f" "$SF_TMP/loaded"
expect_probe "whichever version" '^OK ' load "$b" big "" 9999999 "$SF_TMP/loaded"
expect_probe "of another version" '^ESTALE ' \
    load "$b" big '"0123456789abcdef0123456789abcdef"' 9999999 "$SF_TMP/loaded"
expect_probe "of another size" '^ESTALE ' load "$b" big "$etag" 9999998 "$SF_TMP/loaded"
expect_probe "of none" '^(ENOENT|ESTALE) ' load "$b" none "" 5 "$SF_TMP/loaded"

step "many at once"
on_devserver clear_log
expect_probe "burst" '^OK ' burst "$b" burst/ 500
expect_eq "all there" 500 "$(list_keys "$b" burst/ | wc -l)"

step "nothing is left over"
expect_eq "staging" '' "$(ls -A "$SF_STATE/staging")"
expect_eq "quarantine holds what was refused, and no more" 2 \
    "$(find "$SF_STATE/quarantine" -name '*.json' | wc -l)"
grep -q EntityTooLarge "$SF_STATE"/quarantine/*-large-*.json || fail "the note does not say why"
passed
