#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Which key a mount uses and what it says of it: every kind of key, each place it may come from and
# which of them wins, keys in arguments refused without being repeated, key files read again when
# they change and when the project calls the key expired. No key is ever shown.
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it makes tokens with the project's secret"
need_fuse
need_supafs
# shellcheck disable=SC2119 # its options are for the server
start_server
umask 077
service=$SUPABASE_SERVICE_ROLE_KEY anon=$SUPABASE_ANON_KEY secret=$SUPABASE_SECRET_KEY
publishable=$SUPABASE_PUBLISHABLE_KEY url=$SUPABASE_URL jwt_secret=$SUPABASE_JWT_SECRET
unset SUPABASE_SERVICE_ROLE_KEY SUPABASE_ANON_KEY SUPABASE_SECRET_KEY SUPABASE_PUBLISHABLE_KEY \
    SUPABASE_JWT_SECRET SUPABASE_URL
mnt=$SF_TMP/mnt
mkdir "$mnt"
at_exit force_umount "$mnt"

token() { SUPABASE_JWT_SECRET=$jwt_secret make_token "$@"; }
user=$(token authenticated 4102444800 sub=11111111-2222-3333-4444-555555555555)

# nothing_shown WHERE TEXT
nothing_shown() {
    local k
    for k in "$service" "$anon" "$secret" "$publishable" "$user" "$jwt_secret"; do
        [[ $2 != *"${k: -20}"* ]] || fail "a key is in $1"
    done
}

# mounted SAYS [NAME=VALUE...] -- [ARGUMENT...]: mounts in this environment; the announcement.
mounted() {
    local says=$1 environment=() out rc=0
    shift
    while [ "$1" != -- ]; do
        environment+=("$1")
        shift
    done
    shift
    out=$(env "${environment[@]}" timeout 30 "$SUPAFS" mount "$@" -o \
        "cache_dir=$SF_TMP/c,state_dir=$SF_TMP/s,log_file=$SF_TMP/daemon.log" 2>&1) || rc=$?
    expect_eq "exit status ($out)" 0 "$rc"
    expect_match "announced" "^supafs: $says" "$out"
    nothing_shown "what mount says" "$out"
    nothing_shown "status" "$(cat "$mnt/.supafs/status" "$mnt/.supafs/stats")"
}

# heard_role: of the last listing of the buckets that the server was asked for.
heard_role() { request_log | json_get "[e['role'] for e in d['entries'] if e['kind'] == 'bucket-list'][-1]"; }

step "each kind of key"
mounted 'auth=service: SUPABASE_SERVICE_ROLE_KEY from the environment' \
    "SUPABASE_SERVICE_ROLE_KEY=$service" "SUPABASE_ANON_KEY=$anon" "SUPABASE_URL=$url" -- "$mnt"
expect_eq "its role" service_role "$(mount_status "$mnt" role)"
expect_eq "it sees the buckets" 3 "$(find "$mnt" -mindepth 1 -maxdepth 1 | wc -l)"
pid=$(daemon_pid "$mnt")
nothing_shown "the arguments" "$(tr '\0' ' ' <"/proc/$pid/cmdline")"
if [ "$(id -u)" = 0 ]; then # to others it is closed
    nothing_shown "the environment" "$(tr '\0' ' ' <"/proc/$pid/environ")"
fi
umount_project "$mnt"
mounted 'auth=service: SUPABASE_SECRET_KEY' "SUPABASE_SECRET_KEY=$secret" -- "$url" "$mnt"
expect_eq "sb_secret counts" service_role "$(heard_role)"
umount_project "$mnt"
mounted 'auth=service: SUPABASE_KEY' "SUPABASE_KEY=$secret" -- "$url" "$mnt"
umount_project "$mnt"
mounted 'auth=anon: SUPABASE_PUBLISHABLE_KEY' "SUPABASE_PUBLISHABLE_KEY=$publishable" -- "$url" "$mnt"
expect_eq "sb_publishable counts" anon "$(heard_role)"
umount_project "$mnt"
mounted 'auth=user: SUPABASE_USER_TOKEN' "SUPABASE_USER_TOKEN=$user" "SUPABASE_ANON_KEY=$anon" -- \
    "$url/storage/v1" "$mnt"
expect_eq "the token counts" authenticated "$(heard_role)"
expect_eq "the URL is the project's" "$url" "$(mount_status "$mnt" project)"
umount_project "$mnt"
mounted 'auth=anon: SUPABASE_ANON_KEY' "SUPABASE_SERVICE_ROLE_KEY=$service" "SUPABASE_ANON_KEY=$anon" \
    -- "$url" "$mnt" -o auth=anon
expect_eq "as asked for" anon "$(mount_status "$mnt" role)"
umount_project "$mnt"

step "env file, profile, descriptor: the nearer one wins"
printf 'SUPABASE_URL="%s"\nexport SUPABASE_SERVICE_ROLE_KEY=%s\nSUPAFS_ATTR_TTL=7s\n' "$url" "$service" \
    >"$SF_TMP/.env"
mkdir -p "$XDG_CONFIG_HOME/supafs"
printf '%s\n' "$secret" >"$XDG_CONFIG_HOME/supafs/work.key"
printf 'attr_ttl = 11s\nread_timeout = 9s\n[project.work]\nurl = %s\nkey_file = work.key\nbucket = results\n' \
    "$url" >"$XDG_CONFIG_HOME/supafs/supafs.conf"
mounted "auth=service: SUPABASE_SERVICE_ROLE_KEY from $SF_TMP/.env" SUPAFS_CONNECTIONS=5 \
    SUPAFS_UPLOAD_WORKERS=4 -- "$mnt" --env-file "$SF_TMP/.env" -o upload_workers=3
expect_match "-o" '^3 ' "$(mount_status "$mnt" 'option upload_workers')"
expect_match "before the environment" '^5 ' "$(mount_status "$mnt" 'option connections')"
expect_match "before the env file" '^7s ' "$(mount_status "$mnt" 'option attr_ttl')"
expect_match "before the user's file" '^9s ' "$(mount_status "$mnt" 'option read_timeout')"
umount_project "$mnt"
mounted 'auth=service: key_file .*/work.key' -- work "$mnt"
expect_eq "the profile's bucket" results "$(mount_status "$mnt" bucket)"
umount_project "$mnt"
mounted 'auth=service: file descriptor 7' -- "$url" "$mnt" -o key_fd=7 7<"$XDG_CONFIG_HOME/supafs/work.key"
umount_project "$mnt"

step "what is refused, and repeats no key"
refused() { # STATUS TEXT ARGUMENT...
    local status=$1 text=$2
    shift 2
    expect_exit "refused" "$status" timeout 30 "$SUPAFS" mount "$@"
    expect_match "says why" "$text" "$SF_OUT"
    nothing_shown "the message" "$SF_OUT"
}
refused 2 'no project "other"' other "$mnt"
refused 2 'not taken from the command line' "$url" "$mnt" -o "service_key=$service"
refused 2 'is a key' "$service" "$mnt"
refused 2 'is a key' "$url" "$mnt" "--key=$service"
refused 2 'is a key' "$url" "$mnt" --key "$secret"
refused 2 'there is no option' "$url" "$mnt" -o "tokn=$service"
refused 2 'no key for auth=user' work "$mnt" -o auth=user,key_file=
chmod 640 "$SF_TMP/.env"
refused 17 'chmod 600' "$mnt" --env-file "$SF_TMP/.env"

step "a key file is read again when it changes"
token service_role 4102444700 >"$SF_TMP/key"
mounted "auth=service: key_file $SF_TMP/key" -- "$url" "$mnt" -o "key_file=$SF_TMP/key,attr_ttl=0"
expect_match "its end" '^2099-12-31T23:58:20' "$(mount_status "$mnt" key_expires)"
token service_role 4102444600 >"$SF_TMP/key.new"
mv "$SF_TMP/key.new" "$SF_TMP/key"
sleep 1.1
ls "$mnt/results" >"$SF_TMP/listed"
expect_match "the new one's" '^2099-12-31T23:56:40' "$(mount_status "$mnt" key_expires)"
token anon 4102444600 >"$SF_TMP/key"
sleep 1.1
expect_ok "a key of another role is left alone" touch "$mnt/results/new"
umount_project "$mnt"

step "an answer that says expired"
token service_role 4102444700 >"$SF_TMP/key"
mounted "auth=service: key_file $SF_TMP/key" -- "$url" "$mnt" -o "key_file=$SF_TMP/key,attr_ttl=0"
set_faults '{"kind":"expired"}'
expect_errno "without a new key" "Key has expired" ls "$mnt/user-files"
expect_errno "nor can anything be written" "Key has expired" cp "$SF_TMP/.env" "$mnt/results/expired"
clear_faults
# Its next try would look at the key file at a moment of its own.
expect_ok "flush" timeout 60 "$SUPAFS" flush "$mnt"
token service_role 4102444500 >"$SF_TMP/key.new"
token service_role 4102444400 >"$SF_TMP/key.newer"
# unnoticed KEY: the daemon looked at the file a moment ago, so that it is the answer that makes it
# look; a slow machine takes longer than the second after which it looks by itself.
unnoticed() {
    local begun
    sleep 1.1
    ls "$mnt/results" >/dev/null
    begun=$(now_ms)
    set_faults '{"kind":"expired","times":1,"path":"/object/list-v2/"}'
    mv "$1" "$SF_TMP/key"
    ls "$mnt/generated-files" >"$SF_TMP/listed" 2>&1 && return
    [ $(($(now_ms) - begun)) -lt 900 ] && fail "with a new one it was noticed: $(cat "$SF_TMP/listed")"
    note "it took $(($(now_ms) - begun)) ms"
    return 1
}
expires=2099-12-31T23:55:00
unnoticed "$SF_TMP/key.new" || { expires=2099-12-31T23:53:20 && unnoticed "$SF_TMP/key.newer"; } ||
    fail "nothing of it was fast enough, twice"
expect_match "it is in use" "^$expires" "$(mount_status "$mnt" key_expires)"
clear_faults
umount_project "$mnt"
nothing_shown "the log" "$(cat "$SF_TMP/daemon.log")"
passed
