#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# TLS and HTTP/2 before the dev server, as the real service has them, with a certificate of its own.
# Source common.sh and server.sh first.

sf_fronts=0

# start_front VAR [STREAMS [RESETS]]: after start_server; its URL into VAR. A connection ends after
# STREAMS requests, each RESETSth GET is reset (0 = none). SF_FRONT_CA is the certificate to trust.
# Ends with the test.
start_front() {
    local dir=$SF_TMP/front pid
    need node openssl
    sf_fronts=$((sf_fronts + 1))
    mkdir -p "$dir"
    SF_FRONT_CA=$dir/cert.pem
    [ -f "$SF_FRONT_CA" ] ||
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
            -subj /CN=localhost -addext 'subjectAltName=IP:127.0.0.1,DNS:localhost' \
            -keyout "$dir/key.pem" -out "$SF_FRONT_CA" 2>"$dir/openssl.log" ||
        fail "no certificate: $(cat "$dir/openssl.log")"
    : >"$dir/log$sf_fronts"
    node "$SF_SRC/tests/lib/http2-front.mjs" "$dir/key.pem" "$SF_FRONT_CA" "${SUPABASE_URL%/}" \
        "${2:-1000}" "${3:-0}" >"$dir/log$sf_fronts" 2>"$dir/trouble$sf_fronts" </dev/null &
    pid=$!
    at_exit sf_stop_front "$pid"
    wait_for 20 grep -q '^port ' "$dir/log$sf_fronts" ||
        fail "no front: $(cat "$dir/trouble$sf_fronts")"
    printf -v "$1" 'https://127.0.0.1:%s' "$(sed -n 's/^port //p' "$dir/log$sf_fronts")"
}

sf_stop_front() {
    kill -TERM "$1" 2>/dev/null
    sf_reap "$1" 10 || :
}

# front_log N: a line for each request of the Nth front: METHOD STATUS PATH CONNECTION
front_log() { grep -v '^port ' "$SF_TMP/front/log$1"; }
