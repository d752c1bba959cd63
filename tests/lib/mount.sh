#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Mounting with supafs in tests. Source common.sh and server.sh first. Every mount has directories
# of its own below SF_TMP, is unmounted at the end, and its daemon must end by itself.

# With SF_MEMORY_LIMIT (bytes) each daemon and all that it starts has a memory control group.

SUPAFS=''
sf_mounts=0
# shellcheck source=cgroup.sh
. "$(dirname "${BASH_SOURCE[0]}")/cgroup.sh"

need_supafs() {
    [ -n "$SUPAFS" ] || SUPAFS=$(sf_binary supafs) || skip "requires supafs (build it first)"
    export SUPAFS
}

sf_limit_memory() {
    [ -n "${SF_MEMORY_LIMIT:-}" ] && [ -z "$SF_CGROUP" ] || return 0
    make_cgroup "$SF_MEMORY_LIMIT"
    [ -n "$SF_CGROUP" ] || skip "requires memory control groups, as SF_MEMORY_LIMIT is set"
}

is_mounted() { # PATH
    awk -v m="$(realpath -m -- "$1" 2>/dev/null || echo "$1")" \
        '{ gsub(/\\040/, " ", $5) } $5 == m { f = 1 } END { exit !f }' /proc/self/mountinfo
}

# mount_project VAR [ARGUMENT...]: mounts the project of start_server on a fresh directory, with
# further arguments for `supafs mount` (say `-o bucket=B`), and puts the mount point in VAR.
# What the command prints is in $SF_TMP/mount-N.log, the daemon's log in $SF_TMP/daemon-mnt-N.log.
mount_project() {
    local sf_var=$1 sf_dir rc=0
    shift
    need_fuse
    need_supafs
    sf_limit_memory # before the umount is noted, so that it goes after that
    sf_mounts=$((sf_mounts + 1))
    sf_dir=$SF_TMP/mnt-$sf_mounts
    mkdir "$sf_dir"
    at_exit umount_project "$sf_dir"
    mount_at "$sf_dir" "$@" || rc=$?
    [ "$rc" = 0 ] || fail "supafs mount exited $rc: $(cat "$SF_TMP/mount-$sf_mounts.log")"
    is_mounted "$sf_dir" || fail "supafs mount returned, and $sf_dir is no mount point"
    printf -v "$sf_var" %s "$sf_dir"
}

# mount_at MOUNTPOINT [ARGUMENT...]: only the command, for tests of failing starts and of second
# mounts; its exit status is the command's. Output in $SF_TMP/mount-N.log, N counting mounts.
# The project is that of SUPABASE_URL; with SF_MOUNT_URL set it is named on the command line instead.
# Cache and state directories belong to the mount point, so a remount finds them again. They may lie
# in memory, so that sync=writeback has to be told that this is accepted.
mount_at() {
    local dir=$1 name own
    shift
    need_supafs
    name=$(basename "$dir")
    own=$SF_TMP/own-$name
    mkdir -p "$own/cache" "$own/state"
    sf_limit_memory
    in_cgroup timeout 60 "$SUPAFS" mount ${SF_MOUNT_URL:+"$SF_MOUNT_URL"} "$dir" \
        -o "cache_dir=$own/cache,state_dir=$own/state,log_file=$SF_TMP/daemon-$name.log" \
        -o unsafe_state_dir=yes \
        "$@" >>"$SF_TMP/mount-$sf_mounts.log" 2>&1 </dev/null
}

# remount_project MOUNTPOINT [ARGUMENT...]: umount and mount again, same directories.
remount_project() {
    umount_project "$1"
    mount_at "$@" || fail "mounting $1 again failed: $(tail -n 5 "$SF_TMP/mount-$sf_mounts.log")"
}

# daemon_pid MOUNTPOINT: the process that serves it.
daemon_pid() { sed -n 's/^pid: *//p' "$1/.supafs/status"; }

# mount_stat MOUNTPOINT NAME: one value of .supafs/status.
mount_status() { sed -n "s/^$2: *//p" "$1/.supafs/status"; }

# mount_counter MOUNTPOINT EXPRESSION: one value of .supafs/stats, as for json_get.
mount_counter() { json_get "$2" <"$1/.supafs/stats"; }

# umount_project MOUNTPOINT: `supafs umount`, which must succeed and leave no daemon.
# Harmless when nothing is mounted there.
umount_project() {
    local pid rc=0
    is_mounted "$1" || return 0
    pid=$(timeout 5 sed -n 's/^pid: *//p' "$1/.supafs/status" 2>/dev/null)
    timeout "${SF_UMOUNT_TIMEOUT:-90}" "$SUPAFS" umount "$1" >>"$SF_TMP/umount.log" 2>&1 || rc=$?
    if [ "$rc" != 0 ] || is_mounted "$1"; then
        show_stacks "$pid"
        umount -l "$1" 2>/dev/null || fusermount3 -u -z "$1" 2>/dev/null
        [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null
        fail "supafs umount $1 exited $rc: $(tail -n 5 "$SF_TMP/umount.log")"
    fi
    [ -z "$pid" ] || wait_for 10 sf_is_gone "$pid" || fail "the daemon $pid outlives its mount $1"
}

# show_stacks PID: where the threads of a process that hangs are, if gdb is there to tell.
show_stacks() {
    local fd
    if [ ! -d "/proc/${1:-none}" ] || ! command -v gdb >/dev/null 2>&1; then return 0; fi
    note "threads of $1:"
    # gdb and its children would close a file of the mount that is open here while the daemon is
    # stopped, which has to answer that. Nobody waits for long: a daemon that hangs answers nothing.
    (
        for fd in /proc/self/fd/*; do
            [ "${fd##*/}" -le 2 ] || eval "exec ${fd##*/}>&-"
        done
        exec timeout -s KILL 20 gdb -p "$1" -batch -ex 'thread apply all bt 16'
    ) >"$SF_TMP/stacks-$1" 2>/dev/null </dev/null &
    wait_for 25 sf_is_gone $! || note "gdb hangs, too"
    grep -E '^(Thread|#)' "$SF_TMP/stacks-$1" | sed 's/^/    /' >&2
}

# force_umount MOUNTPOINT: for tests that kill the daemon: takes the dead mount away.
force_umount() {
    is_mounted "$1" || return 0
    umount -l "$1" 2>/dev/null || fusermount3 -u -z "$1"
}

# A zombie that nobody reaps (a container's init may be none) has ended too.
sf_is_gone() {
    [ ! -d "/proc/$1" ] || grep -q '^State:[[:space:]]*Z' "/proc/$1/status"
}
