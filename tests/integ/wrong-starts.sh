#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Each wrong start of `supafs mount`: its exit code is that of the program's own table, its message
# is one sentence, nothing is mounted and no process stays. Codes, meanings and the messages met are
# docs/man/exit-codes.pod, the table in the manual page; SF_UPDATE=1 writes it anew.
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it makes keys with the project's secret"
need_root
need_fuse
need_supafs
need setpriv unshare
# shellcheck disable=SC2119 # its options are for the server
start_server
chmod 711 "$SF_TMP"
declare -A message

# What is this test's own is not for the manual page, nor that a chroot may have no /etc/mtab.
tidy() {
    sed -e "s|$SUPABASE_URL|https://abcdefgh.supabase.co|g" -e 's|http://127.0.0.1:1\b|https://abcdefgh.supabase.co|g' \
        -e 's|127.0.0.1:1\b|abcdefgh.supabase.co:443|g' -e "s|$SF_TMP/own-[a-z]*/state/[0-9a-f]*|/var/lib/supafs/0123456789abcdef|g" \
        -e "s|$SF_TMP/taken|/mnt/project|g" -e "s|$SF_TMP/|/mnt/|g" -e 's/pid [0-9][0-9]*/pid 1234/g' \
        -e 's/(request [^)]*)//' -e "s|(fusermount3: [a-z ]*/etc/mtab: [^)]*)|(another user mounted it)|" <<<"$1"
}

# wrong CODE POINT [ARGUMENT...]: a start that ends with CODE.
wrong() {
    local code=$1 point=$2 text
    shift 2
    local own=$SF_TMP/own-wrong
    mkdir -p "$own"
    expect_exit "exit code" "$code" timeout 60 "${as[@]}" "$SUPAFS" mount "$point" \
        -o "cache_dir=$own/cache,state_dir=$own/state,connect_timeout=2s,log_file=$own/log" "$@"
    text=${SF_OUT#supafs: }
    expect_ne "a message" '' "$text"
    expect_ne "the message names the program" "$SF_OUT" "$text"
    expect_eq "lines of the message" 1 "$(wc -l <<<"$text")"
    for secret in "$good" "$anon_key" "$SUPABASE_JWT_SECRET"; do
        [[ $SF_OUT != *"$secret"* ]] || fail "a key is in the message"
    done
    message[$code]=${message[$code]:-$(tidy "$text")}
}
as=()

free=$SF_TMP/free
mkdir "$free"
at_exit force_umount "$free"
unset SUPABASE_SECRET_KEY SUPABASE_PUBLISHABLE_KEY # the other forms of the same keys
good=$SUPABASE_SERVICE_ROLE_KEY anon_key=$SUPABASE_ANON_KEY

step "2: a mount point that is not there"
wrong 2 "$SF_TMP/nowhere"
step "2: others of its kind"
: >"$SF_TMP/file"
wrong 2 "$SF_TMP/file"
wrong 2 "$free" -o no_such_option=1
wrong 2 "$free" -o attr_ttl=never
wrong 2 "$free" -o prefix=a
wrong 2 "$free" -o chat_suffix=.supafs
wrong 2 "$free" -o chat_price_day=2,50
wrong 2 "$free" --env-file "$SF_TMP/no.env"
expect_exit "no argument" 2 "$SUPAFS" mount
expect_exit "no verb" 2 "$SUPAFS"
expect_exit "another verb" 2 "$SUPAFS" munt "$free"
SUPABASE_SERVICE_ROLE_KEY='' SUPABASE_ANON_KEY='' wrong 2 "$free"
SUPABASE_URL='' wrong 2 "$free"
SUPABASE_URL=http://192.0.2.1 wrong 2 "$free"

step "10: nobody listens"
SUPABASE_URL=http://127.0.0.1:1 wrong 10 "$free"
step "10: a server that does not answer"
pause_server
wrong 10 "$free"
resume_server

step "11: a key of another project"
other=$(SUPABASE_JWT_SECRET=of-another-project make_token service_role 4102444800)
SUPABASE_SERVICE_ROLE_KEY=$other wrong 11 "$free"
step "11: no key at all"
SUPABASE_SERVICE_ROLE_KEY=nonsense wrong 11 "$free"

step "12: an expired key"
SUPABASE_SERVICE_ROLE_KEY=$(make_token service_role 1700000000) wrong 12 "$free"

step "13: no /dev/fuse"
# In a chroot / is no mount point whose propagation could be changed; /dev is one nearly everywhere.
# shellcheck disable=SC2016 # for the inner shell
as=(unshare -m --propagation unchanged sh -c 'mount --make-rprivate /dev &&
    mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec "$0" "$@"')
wrong 13 "$free"
as=()

step "14: something is mounted there"
mkdir "$SF_TMP/taken"
at_exit force_umount "$SF_TMP/taken"
mount_at "$SF_TMP/taken" || fail "the first mount: $(cat "$SF_TMP"/mount-*.log)"
wrong 14 "$SF_TMP/taken"

step "18: the state directory of a mount that serves"
expect_exit "exit code" 18 mount_at "$free" -o "state_dir=$SF_TMP/own-taken/state"
message[18]=$(tidy "$(tail -n 1 "$SF_TMP/mount-0.log" | sed 's/^supafs: //')")
expect_match "names the holder" 'pid 1234, /mnt/project' "${message[18]}"
expect_match "names the option" 'state_dir=' "${message[18]}"

step "2: a state directory in a mount of supafs"
mkdir "$SF_TMP/taken/user-files/state"
chmod 700 "$SF_TMP/taken/user-files/state"
wrong 2 "$free" -o "state_dir=$SF_TMP/taken/user-files/state"
expect_match "says so" 'lies in a mount of supafs' "$SF_OUT"

step "15: a dead mount that this user may not take away"
kill -KILL "$(daemon_pid "$SF_TMP/taken")"
wait_for 5 eval "! stat -f '$SF_TMP/taken' 2>/dev/null"
rm -rf "$SF_TMP/own-wrong"
mkdir "$SF_TMP/own-wrong"
chown 65534 "$SF_TMP/own-wrong"
as=(setpriv --reuid 65534 --regid 65534 --clear-groups)
wrong 15 "$SF_TMP/taken"
as=()
step "a dead mount that it may take away is no wrong start"
mount_at "$SF_TMP/taken" || fail "mounting over a dead mount: $(cat "$SF_TMP"/mount-0.log)"
expect_exists "it serves" "$SF_TMP/taken/results"
umount_project "$SF_TMP/taken"
chown 0 "$SF_TMP/own-wrong"
rm -rf "$SF_TMP/own-wrong"

step "16: no such bucket"
wrong 16 "$free" -o bucket=nothing-here
step "16 is for who sees all: another role is only warned"
export SUPABASE_SERVICE_ROLE_KEY=''
mount_project anon -o bucket=nothing-here
# shellcheck disable=SC2154 # counted by mount_project
expect_match "a warning" 'warning: .*nothing-here' "$(cat "$SF_TMP/mount-$sf_mounts.log")"
# shellcheck disable=SC2154 # set by mount_project
umount_project "$anon"
export SUPABASE_SERVICE_ROLE_KEY=$good

step "17: a key that others can read"
printf '%s\n' "$good" >"$SF_TMP/key"
chmod 644 "$SF_TMP/key"
wrong 17 "$free" -o "key_file=$SF_TMP/key"
chmod 600 "$SF_TMP/key"

step "nothing of all this is left"
! is_mounted "$free" || fail "$free is mounted"
sleep 0.2
for p in /proc/[0-9]*; do
    [ "$(readlink "$p/exe" 2>/dev/null)" != "$(realpath "$SUPAFS")" ] || sf_is_gone "${p#/proc/}" ||
        ! tr '\0' ' ' <"$p/cmdline" | grep -qF "$SF_TMP" || fail "a process stays: ${p#/proc/}"
done

step "the table of the manual page"
pod() {
    local code meaning
    printf '=for comment SPDX-License-Identifier: GPL-3.0-or-later\n\n=over 6\n'
    "$SUPAFS" --exit-codes | while read -r code meaning; do
        printf '\n=item B<%s>\n\n%s\n' "$code" "$meaning"
        [ -z "${message[$code]:-}" ] || printf '\n    supafs: %s\n' "${message[$code]}" | fold -s -w 96 | sed '3,$s/^/      /; s/ *$//'
    done
    printf '\n=back\n'
}
pod >"$SF_TMP/exit-codes.pod"
[ -z "${SF_UPDATE:-}" ] || cp "$SF_TMP/exit-codes.pod" "$SF_SRC/docs/man/exit-codes.pod"
diff -u "$SF_SRC/docs/man/exit-codes.pod" "$SF_TMP/exit-codes.pod" >&2 ||
    fail "docs/man/exit-codes.pod is not what happens; run this test with SF_UPDATE=1"
for code in 2 10 11 12 13 14 15 16 17 18; do
    expect_ne "code $code was met" '' "${message[$code]:-}"
done
passed
