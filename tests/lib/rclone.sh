#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# rclone on the project of start_server, by the S3 protocol: another client, and a peer to compare a
# mount with. Source common.sh, server.sh and mount.sh first. Keys go through the environment.

sf_rclone_conf=''
sf_rclone_mounts=0
declare -A sf_rclone_pids=()

need_rclone() {
    need rclone
    [ -n "${AWS_SECRET_ACCESS_KEY:-}" ] || skip "requires S3 keys in the environment"
    [ -z "$sf_rclone_conf" ] || return 0
    sf_rclone_conf=$SF_TMP/rclone.conf
    # Without encoding: the names are those that supafs makes, and the service takes.
    printf '%s\n' '[sb]' 'type = s3' 'provider = Other' 'env_auth = true' \
        "endpoint = $AWS_ENDPOINT_URL" "region = ${AWS_REGION:-us-east-1}" \
        'force_path_style = true' >"$sf_rclone_conf"
}

# rclone_run ARGUMENT...: rclone with this project as the remote `sb:`.
rclone_run() {
    # A bundle of certificates makes its library wrap the transport, for which it is not made.
    env -u AWS_CA_BUNDLE rclone --config "$sf_rclone_conf" --cache-dir "$SF_TMP/rclone-cache" "$@"
}

# What `rclone mount` gets: the cache of whole files and nothing else; or with what its manual
# offers for a project that only it writes to: no request to learn a time or to look for changes,
# reads in steps that double, no hashing of what has been sent.
RCLONE_DEFAULT=(--vfs-cache-mode full)
RCLONE_TUNED=(--vfs-cache-mode full --use-server-modtime --no-checksum --vfs-fast-fingerprint
    --dir-cache-time 1h --attr-timeout 10s --poll-interval 0 --vfs-read-chunk-size 1M
    --vfs-read-chunk-size-limit 64M --vfs-read-ahead 16M --buffer-size 4M
    --transfers 16 --checkers 16 --s3-no-check-bucket --s3-no-head)

# rclone_mount VAR default|tuned PATH [FLAG...]: mounts sb:PATH (a bucket, or a folder in one, or ''
# for the project) on a fresh directory with a cache of its own, and puts the mount point in VAR.
# Its log is $SF_TMP/rclone-N.log. Unmounted at the end.
rclone_mount() {
    local sf_var=$1 sf_flags sf_dir sf_remote=$3
    need_fuse
    need_rclone
    case $2 in
    default) sf_flags=("${RCLONE_DEFAULT[@]}") ;;
    tuned) sf_flags=("${RCLONE_TUNED[@]}") ;;
    *) fail "rclone_mount: default or tuned, not $2" ;;
    esac
    shift 3
    sf_rclone_mounts=$((sf_rclone_mounts + 1))
    sf_dir=$SF_TMP/rclone-mnt-$sf_rclone_mounts
    mkdir "$sf_dir"
    at_exit rclone_umount "$sf_dir"
    env -u AWS_CA_BUNDLE rclone --config "$sf_rclone_conf" \
        --cache-dir "$SF_TMP/rclone-cache-$sf_rclone_mounts" mount "${sf_flags[@]}" "$@" \
        "sb:$sf_remote" "$sf_dir" >"$SF_TMP/rclone-$sf_rclone_mounts.log" 2>&1 </dev/null &
    sf_rclone_pids[$sf_dir]=$!
    wait_for 20 sf_rclone_is_settled "$sf_dir"
    is_mounted "$sf_dir" || fail "rclone mount: $(cat "$SF_TMP/rclone-$sf_rclone_mounts.log")"
    printf -v "$sf_var" %s "$sf_dir"
}

# Mounted, or dead: both end the waiting.
sf_rclone_is_settled() { is_mounted "$1" || sf_is_gone "${sf_rclone_pids[$1]}"; }

# rclone_pid MOUNTPOINT: the process that serves it.
rclone_pid() { echo "${sf_rclone_pids[$1]}"; }

# rclone_umount MOUNTPOINT: waits for what it has to send. Harmless when nothing is mounted there.
rclone_umount() {
    local pid=${sf_rclone_pids[$1]:-}
    [ -n "$pid" ] || return 0
    unset "sf_rclone_pids[$1]"
    kill -INT "$pid" 2>/dev/null
    sf_reap "$pid" "${SF_UMOUNT_TIMEOUT:-90}" || :
    force_umount "$1"
}

# rclone_flushed MOUNTPOINT [SECONDS]: waits until all that was written there is with the service:
# rclone sends files some seconds after close(), and not at all when it ends before.
rclone_flushed() {
    local own=${1##*-mnt-}
    wait_for "${2:-30}" sf_rclone_is_clean "$SF_TMP/rclone-cache-$own/vfsMeta"
}

# Its notes are written in place: one that is half there counts as dirty.
sf_rclone_is_clean() {
    local dirty
    [ -d "$1" ] || return 1
    dirty=$(grep -rLE '"Dirty": *false' "$1")
    [ -z "$dirty" ]
}
