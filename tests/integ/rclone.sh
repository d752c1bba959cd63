#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The S3 protocol of the dev server, as others use it: rclone (copies, listings, multipart, a mount)
# and curl's own signatures; and one project seen by rclone and by supafs. SF_SOAK=1: 256 MiB too.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/../lib/rclone.sh"

need_devserver "it looks into the request log"
start_server
need_rclone
need_fuse
need_supafs
new_bucket B
cd "$SF_TMP" || fail "no directory to work in"

step "small files and odd names"
mkdir -p tree/sub
names=(plain.txt 'a b+c.txt' "it's & (that) = @,;:!" 'sub/deep.txt' 'per?cent*.txt')
for name in "${names[@]}"; do printf '%s\n' "$name" >"tree/$name"; done
expect_ok "rclone copy" rclone_run copy tree "sb:$B/tree"
expect_ok "rclone check" rclone_run check --download tree "sb:$B/tree"
rclone_run lsf -R --files-only "sb:$B/tree" | sort >got
printf '%s\n' "${names[@]}" | sort >wanted
expect_same_file "the listing" wanted got
for name in "${names[@]}"; do
    expect_eq "rclone cat $name" "$name" "$(rclone_run cat "sb:$B/tree/$name")"
done
expect_eq "the type, by the other API" 'text/plain; charset=utf-8' \
    "$(object_info "$B" tree/plain.txt | json_get 'd["content_type"]')"
expect_match "the time, by the other API" '^[0-9]+\.[0-9]+$' \
    "$(object_info "$B" tree/plain.txt | json_get 'd["metadata"]["mtime"]')"
expect_eq "the sum" "$(md5sum <tree/plain.txt)" "$(rclone_run md5sum "sb:$B/tree/plain.txt" |
    sed 's/ .*/  -/')"
expect_ok "rclone moveto" rclone_run moveto "sb:$B/tree/plain.txt" "sb:$B/tree/moved.txt"
expect_ok "rclone touch" rclone_run touch -t 2020-01-02T03:04:05 "sb:$B/tree/moved.txt"
expect_match "its new time" '2020-01-02 03:04:05' "$(rclone_run lsl "sb:$B/tree/moved.txt")"
expect_ok "rclone purge" rclone_run purge "sb:$B/tree/sub"
expect_eq "keys left" 4 "$(list_keys "$B" tree/ | wc -l)"
expect_ok "rclone mkdir" rclone_run mkdir sb:made-by-rclone
expect_match "buckets" 'made-by-rclone' "$(rclone_run lsd sb:)"
expect_ok "rclone rmdir" rclone_run rmdir sb:made-by-rclone

step "1,100 objects: pages of both listings"
mkdir many
for i in {1001..2100}; do : >"many/n$i"; done
expect_ok "rclone copy" rclone_run copy --transfers 16 --s3-no-check-bucket many "sb:$B/many"
for version in 1 2; do
    expect_eq "names by listing $version" 1100 \
        "$(rclone_run lsf --s3-list-version $version "sb:$B/many" | sort -u | wc -l)"
    expect_eq "names without a delimiter" 1100 \
        "$(rclone_run lsf -R --s3-list-version $version --fast-list "sb:$B/many" | sort -u | wc -l)"
done
expect_ok "rclone delete" rclone_run delete "sb:$B/many"
expect_eq "keys left" 0 "$(list_keys "$B" many/ | wc -l)"

step "64 MiB in parts and in one piece, ranges, memory"
head -c 64M /dev/urandom >big
clear_log
expect_ok "in parts" rclone_run copyto --s3-upload-cutoff 8M --s3-chunk-size 8M big "sb:$B/parts"
expect_match "the requests" '"s3-part":8,' "$(admin GET '/log?counts=1')"
expect_ok "in one piece" rclone_run copyto big "sb:$B/whole"
for key in parts whole; do
    expect_ok "back" rclone_run copyto --multi-thread-cutoff 16M --multi-thread-streams 4 "sb:$B/$key" back
    expect_same_file "$key" big back
done
expect_eq "ETags of the same bytes" "$(object_info "$B" whole | json_get 'd["etag"]')" \
    "$(object_info "$B" parts | json_get 'd["etag"]')"
tail -c +1000001 big | head -c 500000 >range
rclone_run cat --offset 1000000 --count 500000 "sb:$B/parts" >got
expect_same_file "a range" range got
if [ -n "${SF_SOAK:-}" ]; then
    head -c 256M /dev/urandom >huge
    expect_ok "256 MiB" rclone_run copyto --s3-upload-cutoff 1G huge "sb:$B/huge"
    expect_ok "256 MiB in parts" rclone_run copyto --s3-upload-cutoff 8M huge "sb:$B/huge2"
    expect_ok "back" rclone_run copyto "sb:$B/huge2" back
    expect_same_file "256 MiB" huge back
fi
hwm=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(server_pid)/status")
# A sanitizer keeps what was freed.
[ -n "${SF_ASAN:-}${ASAN_OPTIONS:-}${TSAN_OPTIONS:-}" ] ||
    expect_le "peak memory of the server in KiB" 65536 "$hwm"
expect_eq "unfinished parts" 0 "$(find "$SF_PROJECT_DIR/tmp" -type f | wc -l)"

step "curl signs by itself"
s3_curl() { # ARGUMENT... PATH: the key comes through a pipe
    env -u AWS_CA_BUNDLE curl -sS --fail-with-body --aws-sigv4 aws:amz:us-east-1:s3 \
        --config <(printf 'user = "%s:%s"\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY") \
        "${@:1:$#-1}" "$AWS_ENDPOINT_URL${*: -1}"
}
expect_ok "GET" s3_curl -o got "/$B/parts"
expect_same_file "the object" big got
expect_ok "a range" s3_curl -r 1000000-1499999 -o got "/$B/parts"
expect_same_file "the range" range got
expect_ok "PUT" s3_curl -T tree/plain.txt "/$B/by-curl"
get_object "$B" by-curl got || fail "cannot read it by the other API"
expect_same_file "what curl put" tree/plain.txt got
expect_match "its listing" '<Key>by-curl</Key>' "$(s3_curl "/$B?list-type=2&prefix=by-c")"
expect_ok "a presigned URL" curl -sS --fail-with-body -o got "$(rclone_run link "sb:$B/by-curl")"
expect_same_file "by the presigned URL" tree/plain.txt got

step "errors are met with another try"
set_faults '{"kind":"error", "status":503, "path":"/s3/*/by-curl", "method":"GET", "times":2}'
expect_eq "after two refusals" plain.txt "$(rclone_run cat "sb:$B/by-curl")"
clear_faults

step "one project, rclone and supafs"
mount_project M -o "bucket=$B,attr_ttl=0"
for flags in default tuned; do
    # rclone knows a directory for minutes: first the files, then its mount.
    echo "from supafs" >"$M/supafs-$flags"
    cp big "$M/supafs-big-$flags"
    rclone_mount R "$flags" "$B" --vfs-write-back 100ms
    expect_eq "$flags: an object, through rclone" plain.txt "$(cat "$R/by-curl")"
    expect_eq "$flags: rclone's view of a file" "from supafs" "$(cat "$R/supafs-$flags")"
    expect_same_file "$flags: 64 MiB from supafs" big "$R/supafs-big-$flags"
    echo "from rclone" >"$R/rclone-$flags"
    head -c 20M big >"$R/rclone-20M-$flags"
    rclone_flushed "$R"
    expect_eq "$flags: supafs' view of a file" "from rclone" "$(cat "$M/rclone-$flags")"
    head -c 20M big >wanted
    cp "$M/rclone-20M-$flags" got || fail "$flags: cannot read what rclone has written"
    expect_same_file "$flags: 20 MiB from rclone" wanted got
    rclone_umount "$R"
done

step "the keys are in project.env and nowhere else"
request_log >log.json
for file in log.json "$SF_TMP/server.log" "$SF_TMP"/rclone-*.log "$SF_TMP"/daemon-*.log; do
    [ -s "$file" ] || continue
    expect_eq "secrets in $file" 0 "$(grep -cF -e "$AWS_SECRET_ACCESS_KEY" "$file")"
    expect_eq "signatures in $file" 0 "$(grep -cE 'X-Amz-Signature=[0-9a-f]' "$file")"
done
expect_eq "mode of project.env" 600 "$(stat -c %a "$SF_PROJECT_DIR/project.env")"
passed
