#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# `supafs doctor` in broken set-ups: each is found by the check that is for it, with what to do, and
# told by the exit code; what it tries is removed again, also after a signal; its bundle has no
# secret, and no name of what is stored.
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it makes keys with the project's secret"
need_root
need_fuse
need_supafs
need openssl unshare tar gzip
# shellcheck disable=SC2119 # its options are for the server
start_server
own=$SF_TMP/own
mkdir "$own" "$SF_TMP/free"
unset SUPABASE_SECRET_KEY SUPABASE_PUBLISHABLE_KEY # the other forms of the same keys
good=$SUPABASE_SERVICE_ROLE_KEY anon_key=$SUPABASE_ANON_KEY
as=()

doctor() {
    timeout 60 "${as[@]}" "$SUPAFS" doctor -o "cache_dir=$own/cache,state_dir=$own/state,connect_timeout=2s,cache_min_free=0,tables=auto" "$@"
}

# finds CODE CHECK RESULT REGEX ADVICE-REGEX [ARGUMENT...]: what it says of this set-up.
finds() {
    local code=$1 check=$2 result=$3 said=$4 advice=$5
    shift 5
    expect_exit "exit code" "$code" doctor "$@"
    printf '    %s\n' "${SF_OUT//$'\n'/$'\n'    }" >&2
    expect_match "$check" "(^|"$'\n'")$result +$check +[^"$'\n'"]*$said" "$SF_OUT"
    [ "$result" = ok ] || [ "$result" = skipped ] ||
        expect_match "advice" "$result +$check +[^"$'\n'"]*"$'\n'" +-> [^"$'\n'"]*$advice" "$SF_OUT"
    for secret in "$good" "$anon_key" "$SUPABASE_JWT_SECRET"; do
        [[ $SF_OUT != *"$secret"* ]] || fail "a key is told"
    done
}

objects() { list_keys user-files; list_keys generated-files; list_keys results; }

# answers STATUS BODY: what the database API says of supafs_about.
answers() {
    set_faults "{\"kind\":\"error\", \"path\":\"/rest/v1/rpc/supafs_about\", \"status\":$1, \"body\":$2,
        \"headers\":{\"Content-Type\":\"application/json\"}}"
}

step "a sound one"
answers 200 '{"version":7,"role":"service_role","sub":null,"exai":false}'
finds 0 probe ok 'written, read and removed' '' "$SF_TMP/free"
expect_match "nothing is wrong" ', 0 failed, ' "$SF_OUT"
expect_match "the tables" 'ok +database +.*version 7' "$SF_OUT"
expect_match "the mount point" 'ok +mountpoint ' "$SF_OUT"
expect_match "the providers" 'ok +providers +glm, kimi, openai; ' "$SF_OUT"
expect_eq "nothing stays in the project" '' "$(objects)"
expect_missing "nothing is made here" "$own/cache"
expect_match "JSON" '^ok$' "$(doctor --json | json_get '[c["result"] for c in d["checks"] if c["name"] == "probe"][0]')"
finds 0 probe skipped 'read-only' '' -o ro

step "1: no key"
SUPABASE_SERVICE_ROLE_KEY='' SUPABASE_ANON_KEY='' finds 22 key fail 'there is no key' 'SUPABASE_SERVICE_ROLE_KEY'
expect_match "what rests on it is skipped" 'skipped +access +needs' "$SF_OUT"
expect_match "what does not is looked at" 'ok +storage ' "$SF_OUT"

step "2: the anon key instead of the service key"
SUPABASE_SERVICE_ROLE_KEY=$anon_key finds 22 key fail 'where a service key belongs, and it is one of role anon' 'service_role'
SUPABASE_SERVICE_ROLE_KEY='' finds 0 key warn 'of role anon' 'SUPABASE_SERVICE_ROLE_KEY'
expect_match "and what follows" 'warn +buckets +there is no bucket' "$SF_OUT"

step "a provider without a key, and one that is set wrongly"
SUPAFS_PROVIDER_MINE_TYPE=kimi finds 0 providers warn 'glm, kimi, openai; cannot be used: mine \(provider mine has no key' 'provider ls'
SUPAFS_PROVIDER_MINE_TYPE=nonsense finds 22 providers fail 'type cannot be "nonsense"' 'PROVIDERS'

step "3: an expired token"
SUPABASE_SERVICE_ROLE_KEY=$(make_token service_role 1700000000) finds 22 token fail 'has expired at 2023-11-14' 'a new one'

step "4: a key of another project"
other=$(SUPABASE_JWT_SECRET=of-another-project make_token service_role 4102444800)
SUPABASE_SERVICE_ROLE_KEY=$other finds 22 access fail 'signature' "this project's settings"

step "5: a host that does not resolve"
host=$(printf 'x%.0s' {1..64}).invalid
finds 22 name fail 'cannot be resolved' 'spelling' "https://$host"

step "6: a closed port"
finds 22 connection fail 'connection refused' 'host and port' http://127.0.0.1:1

step "7: a certificate that nobody vouches for"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
    -addext 'subjectAltName=DNS:localhost,IP:127.0.0.1' -keyout "$SF_TMP/tls.key" -out "$SF_TMP/tls.pem" 2>/dev/null ||
    fail "openssl made no certificate"
python3 - "$SF_TMP/tls.pem" "$SF_TMP/tls.key" >"$SF_TMP/tls.port" 2>/dev/null <<'PY' &
import http.server, ssl, sys
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302 if self.path.startswith("/moved") else 200)
        self.send_header("Location", "https://elsewhere.example/login?token=geheim")
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"<html>")
server = http.server.HTTPServer(("127.0.0.1", 0), Page)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
PY
at_exit sf_end_quietly $!
wait_for 10 test -s "$SF_TMP/tls.port" || fail "no server with TLS"
tls=https://127.0.0.1:$(cat "$SF_TMP/tls.port")
finds 22 tls fail 'certificate' 'ca_file' "$tls"
step "and what is behind it when it is trusted"
finds 22 storage fail 'is no Storage service' 'URL' "$tls" -o "ca_file=$SF_TMP/tls.pem"
expect_match "TLS" 'ok +tls +the certificate is trusted' "$SF_OUT"
finds 22 storage fail 'redirects \(HTTP 302 to https://elsewhere.example/login\)' 'not followed' "$tls/moved" -o "ca_file=$SF_TMP/tls.pem"

step "8: a clock that is off by an hour"
settings '{"clock_s": 3600}'
finds 22 clock fail 'clock is (3599|360[0-9]) s behind' 'timedatectl'
settings '{"clock_s": 0}'

step "9: a key file that others can read"
printf '%s\n' "$good" >"$SF_TMP/key"
chmod 644 "$SF_TMP/key"
SUPABASE_SERVICE_ROLE_KEY='' finds 22 key fail 'others than its owner can read it' 'chmod 600' -o "key_file=$SF_TMP/key"
chmod 600 "$SF_TMP/key"
SUPABASE_SERVICE_ROLE_KEY='' finds 0 key ok 'key_file' '' -o "key_file=$SF_TMP/key"

step "10: no /dev/fuse"
# shellcheck disable=SC2016 # for the inner shell
as=(unshare -m --propagation unchanged sh -c 'mount --make-rprivate /dev &&
    mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec "$0" "$@"')
finds 22 fuse fail 'no /dev/fuse' '--device /dev/fuse'

step "11: the cache on a full disk, and on one that is read-only"
mkdir "$own/disk"
# A small file system that nobody else sees, full, and with RO read-only.
# shellcheck disable=SC2016 # for the inner shell
in_own_disk='mount -t tmpfs -o size=64k none "$DISK" &&
    { dd if=/dev/zero of="$DISK/all" bs=4k 2>/dev/null; [ -z "$RO" ] || mount -o remount,ro "$DISK"; } && exec "$0" "$@"'
how=private
unshare -m --propagation private true 2>/dev/null || how=unchanged # in a chroot
as=(env "DISK=$own/disk" RO= unshare -m --propagation "$how" sh -c "$in_own_disk")
finds 22 cache fail 'No space left on device' 'make room' -o "cache_dir=$own/disk/cache"
as=(env "DISK=$own/disk" RO=1 unshare -m --propagation "$how" sh -c "$in_own_disk")
finds 22 state fail 'Read-only file system' 'state_dir=DIR' -o "state_dir=$own/disk/state"
as=()

step "12: tables that are missing, denied, and old"
answers 404 '{"code":"PGRST202","message":"Could not find the function public.supafs_about"}'
finds 0 database warn 'not installed' 'supafs init'
answers 403 '{"code":"42501","message":"permission denied for function supafs_about"}'
finds 22 database fail 'permission denied' 'supafs init'
answers 200 '{"version":3}'
finds 0 database warn 'version 3' 'supafs init'
finds 0 database skipped 'tables=off' '' -o tables=off
clear_faults

step "13: others: no project, no bucket, a bucket's limits, a service that fails, a policy"
SUPABASE_URL='' finds 22 project fail 'no project is named' 'SUPABASE_URL'
finds 22 bucket fail 'nothing-here is not there' 'supafs init' -o bucket=nothing-here
finds 0 probe ok 'in generated-files was written' '' -o bucket=generated-files
finds 22 configuration fail 'attr_ttl' '' -o attr_ttl=never
set_faults '{"kind":"error", "status":503, "body":"no upstream"}'
finds 22 storage fail 'the service fails' 'try again'
set_faults '{"kind":"error", "status":403, "method":"POST", "path":"/object/",
    "body":{"statusCode":"403","code":"AccessDenied","error":"Unauthorized","message":"new row violates row-level security policy"}}'
finds 22 probe fail 'cannot be written' 'policies'
clear_faults

step "the object is removed, whatever happens"
set_faults '{"kind":"hang", "method":"GET", "path":"/object/"}'
clear_log
"$SUPAFS" doctor -o "cache_dir=$own/cache,state_dir=$own/state" >"$SF_TMP/doctor.out" 2>&1 &
pid=$!
# shellcheck disable=SC2317 # called by wait_for
probing() { [ "$(request_log | json_get 'd["counts"].get("download", 0)')" = 1 ]; }
wait_for 10 probing || fail "no probe"
expect_ne "an object is there" '' "$(objects)"
kill -TERM "$pid"
clear_faults # what hangs goes on
wait "$pid"
expect_eq "exit code after a signal" 130 $?
expect_eq "nothing stays" '' "$(objects)"
set_faults '{"kind":"garbage", "method":"POST", "path":"/object/user-files/", "body":"?"}'
finds 22 probe fail 'cannot be written' ''
expect_eq "nothing stays after a lost reply" '' "$(objects)"
set_faults '{"kind":"error", "status":503, "method":"DELETE", "times":2}'
finds 0 probe ok 'removed' ''
expect_eq "nothing stays after a refused removal" '' "$(objects)"
clear_faults

step "a bundle without secrets"
mount_project mnt -o "cache_dir=$own/cache,state_dir=$own/state,log_level=debug"
# shellcheck disable=SC2154 # set by mount_project
echo text >"$mnt/results/geheim-eins.txt"
set_faults '{"kind":"error", "status":403, "path":"/object/results/geheim-zwei*",
    "body":{"statusCode":"403","code":"AccessDenied","error":"Unauthorized","message":"no"}}'
echo text 2>/dev/null >"$mnt/results/geheim-zwei.txt"
clear_faults
# shellcheck disable=SC2154 # counted by mount_project
log=$SF_TMP/daemon-mnt-$sf_mounts.log
grep -q geheim-zwei "$log" || fail "the log has no name to leave out: $(cat "$log")"
cat >>"$log" <<PLANTED
ts=2026-11-22T01:00:00.000Z level=warn module=x event=planted url="https://h/object/sign/b/geheim-drei?token=$good" name=geheim-vier two bytes=17 kept_as=98765432109876 to=E1GEHEIM kind=geheim/a err=EIO
this line geheim-fuenf is none of the log's
PLANTED
https_proxy=http://user:geheim-pass@127.0.0.1:1 expect_exit "exit code" 0 doctor --bundle "$SF_TMP/b.tar.gz" \
    -o "bucket=results,log_file=$log" "$mnt"
expect_match "the mount" 'ok +mountpoint .*mounted' "$SF_OUT"
expect_match "who holds the directory" 'ok +cache .*held by pid' "$SF_OUT"
expect_eq "mode" 600 "$(stat -c %a "$SF_TMP/b.tar.gz")"
mkdir "$SF_TMP/b"
tar -xzf "$SF_TMP/b.tar.gz" -C "$SF_TMP/b" || fail "no archive"
expect_eq "members" "log.txt mounts.txt report.json report.txt settings.txt versions.txt" "$(cd "$SF_TMP/b/supafs-doctor" && echo *)"
for secret in "$good" "$anon_key" "$SUPABASE_JWT_SECRET" geheim GEHEIM 98765432109876 "${good##*.}"; do
    if grep -rqF -- "$secret" "$SF_TMP/b"; then fail "the bundle has $secret: $(grep -rF -- "$secret" "$SF_TMP/b")"; fi
    sf_checks=$((sf_checks + 1))
done
expect_match "the log's events" 'event=mounted' "$(cat "$SF_TMP/b/supafs-doctor/log.txt")"
expect_match "and numbers" 'event=planted url=[.]+ name=[.]+ bytes=17 kept_as=[.]+ to=[.]+ kind=[.]+ err=EIO' "$(cat "$SF_TMP/b/supafs-doctor/log.txt")"
expect_match "the mount's figures" '"http_requests": [1-9]' "$(cat "$SF_TMP/b/supafs-doctor/mounts.txt")"
expect_match "of the tables their state alone" $'\n''tables: [a-z-]+'$'\n' "$(cat "$SF_TMP/b/supafs-doctor/mounts.txt")"
expect_match "the settings" 'bucket = results \(-o\)' "$(cat "$SF_TMP/b/supafs-doctor/settings.txt")"
expect_exit "a file that is there is not replaced" 1 doctor --bundle "$SF_TMP/b.tar.gz"

step "nor in an address that is refused"
SUPABASE_URL=https://user:geheim-pass@abcdefgh.supabase.co expect_exit "exit code" 22 doctor --bundle "$SF_TMP/c.tar"
[[ $SF_OUT != *geheim* ]] || fail "told: $SF_OUT"
if tar -xOf "$SF_TMP/c.tar" | grep -q geheim; then fail "the bundle has the password"; fi
tar -xOf "$SF_TMP/c.tar" | grep -q 'url = (left out)' || fail "no settings"

step "a mount whose process is gone"
kill -KILL "$(daemon_pid "$mnt")"
wait_for 5 eval "! stat -f '$mnt' 2>/dev/null"
finds 22 mounts fail 'has lost its process' 'supafs umount'
force_umount "$mnt"
passed
