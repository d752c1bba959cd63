#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The main jobs over TLS and HTTP/2, as the real service speaks it: many requests at once on one
# connection, uploads large and small, a server that ends each connection after some requests
# (GOAWAY), answers that are reset in the middle, and a body that waits for its bytes.
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/../lib/http2.sh"

need_devserver "HTTP/2 stands before it"
need_fuse
need_supafs
# shellcheck disable=SC2119 # its options are for the server
start_server
new_bucket bucket
start_front SF_MOUNT_URL 40 30
export SF_MOUNT_URL
mount_project mnt -o "ca_file=$SF_FRONT_CA"
# shellcheck disable=SC2154 # set by new_bucket and mount_project
dir=$mnt/$bucket

step "a tree, there and back"
expect_ok "cp -r" cp -r "$SF_SRC/src" "$dir/src"
expect_ok "diff" diff -r "$SF_SRC/src" "$dir/src"

step "large files, by TUS and in one piece, eight at once"
head -c 14000000 /dev/urandom >"$SF_TMP/large"
head -c 3000000 /dev/urandom >"$SF_TMP/middle"
pids=()
for i in 1 2; do
    cp "$SF_TMP/large" "$dir/large$i" &
    pids+=($!)
done
for i in 1 2 3 4 5 6; do
    cp "$SF_TMP/middle" "$dir/middle$i" &
    pids+=($!)
done
for p in "${pids[@]}"; do wait "$p" || fail "cp ended with $?"; done
get_object "$bucket" large2 "$SF_TMP/got"
expect_same_file "a large one in the bucket" "$SF_TMP/large" "$SF_TMP/got"
get_object "$bucket" middle6 "$SF_TMP/got"
expect_same_file "another one in the bucket" "$SF_TMP/middle" "$SF_TMP/got"

step "read through an empty cache, several files at once"
umount_project "$mnt"
rm -rf "$SF_TMP/own-$(basename "$mnt")"
mount_at "$mnt" -o "ca_file=$SF_FRONT_CA" || fail "mount: $(tail -n 3 "$SF_TMP/mount-1.log")"
expect_ok "diff" diff -r "$SF_SRC/src" "$dir/src"
pids=()
for i in 1 2; do
    cmp "$SF_TMP/large" "$dir/large$i" &
    pids+=($!)
done
for p in "${pids[@]}"; do wait "$p" || fail "it is not what was written"; done

step "a file to a provider, whose body waits for what the bucket gives"
umount_project "$mnt"
rm -rf "$SF_TMP/own-$(basename "$mnt")"
MOONSHOT_BASE_URL=$SF_MOUNT_URL/kimi/v1 mount_at "$mnt" -o "ca_file=$SF_FRONT_CA" ||
    fail "mount: $(tail -n 3 "$SF_TMP/mount-1.log")"
base64 -w 100 "$SF_TMP/large" >"$SF_TMP/large.txt"
put_object "$bucket" large.txt "$SF_TMP/large.txt" text/plain >/dev/null
id=$(getfattr --absolute-names --only-values -n user.supafs.kimi.file_id "$dir/large.txt") || fail "no id"
expect_match "an id" '^[A-Za-z0-9_-]+$' "$id"
expect_match "what the provider got" "$(sha256sum <"$SF_TMP/large.txt" | cut -d ' ' -f 1)" \
    "$(admin GET /providers)"

step "connections ended and answers were reset meanwhile"
connections=$(front_log 1 | awk '{ print $NF }' | sort -u | wc -l)
resets=$(front_log 1 | grep -c ' reset ')
note "$(front_log 1 | wc -l) requests on $connections connections, $resets reset"
expect_ge "connections" 5 "$connections"
expect_ge "resets" 5 "$resets"
passed
