#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What every integration test stands on: a private directory, checks that say what they saw, things
# to undo at the end, and skipping with a reason. Sourced, after `set -u`; never run by itself.
#
#   SF_SRC    top of the sources           SF_BUILD  top of the build (SUPAFS_BUILDDIR, else found)
#   SF_TMP    this test's own directory, removed at the end (kept with SF_KEEP=1)
#
# Exit status of a test: 0 passed, 77 skipped with a reason, 1 failed.

SF_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
sf_test=$(basename "$0" .sh)
sf_undo=()
sf_checks=0
sf_step=''
sf_finishing=''

# --- saying what happens ----------------------------------------------------------------------

note() { printf '%s: %s\n' "$sf_test" "$*" >&2; }

# step WHAT: names the part of the test that follows; a failure quotes it.
step() {
    sf_step=$*
    note "- $*"
}

# fail WHAT...: ends the test with status 1. While things are undone at the end it only says so, and
# the rest is undone all the same.
fail() {
    note "FAILED${sf_step:+ in \"$sf_step\"}: $*"
    local depth
    for ((depth = 1; depth < ${#BASH_SOURCE[@]}; depth++)); do
        note "  at ${BASH_SOURCE[depth]##*/}:${BASH_LINENO[depth - 1]}"
    done
    sf_show_logs
    if [ -n "$sf_finishing" ]; then
        sf_finishing=failed
        return 1
    fi
    # Also from a subshell: the whole test ends.
    [ "$BASHPID" = "$$" ] || kill -TERM "$$" 2>/dev/null
    exit 1
}

# skip WHY...: ends the test with status 77.
skip() {
    note "skipped: $*"
    echo "SKIP $sf_test: $*"
    exit 77
}

sf_show_logs() {
    local log
    [ -d "${SF_TMP:-/nonexistent}" ] || return 0
    for log in "$SF_TMP"/*.log; do
        [ -s "$log" ] || continue
        note "last lines of ${log##*/}:"
        tail -n 25 "$log" | sed 's/^/    /' >&2
    done
}

# --- conditions -------------------------------------------------------------------------------

# need COMMAND...: skips unless all of them can be run.
need() {
    local c
    for c in "$@"; do
        command -v "$c" >/dev/null 2>&1 || skip "requires $c"
    done
}

need_root() { [ "$(id -u)" = 0 ] || skip "requires root"; }

need_fuse() {
    [ -c /dev/fuse ] || skip "requires /dev/fuse"
    (: <>/dev/fuse) 2>/dev/null || skip "requires /dev/fuse to be usable"
    command -v fusermount3 >/dev/null 2>&1 || skip "requires fusermount3"
}

# --- checks -----------------------------------------------------------------------------------

expect_eq() { # WHAT WANTED GOT
    sf_checks=$((sf_checks + 1))
    [ "$2" = "$3" ] || fail "$1: wanted '$2', got '$3'"
}

expect_ne() { # WHAT UNWANTED GOT
    sf_checks=$((sf_checks + 1))
    [ "$2" != "$3" ] || fail "$1: got '$3'"
}

expect_match() { # WHAT REGEX GOT (extended regular expression, anywhere in GOT)
    sf_checks=$((sf_checks + 1))
    [[ $3 =~ $2 ]] || fail "$1: wanted something like '$2', got '$3'"
}

expect_le() { # WHAT LIMIT GOT (whole numbers)
    sf_checks=$((sf_checks + 1))
    [ "$3" -le "$2" ] || fail "$1: wanted at most $2, got $3"
}

expect_ge() { # WHAT LIMIT GOT
    sf_checks=$((sf_checks + 1))
    [ "$3" -ge "$2" ] || fail "$1: wanted at least $2, got $3"
}

# expect_ok WHAT COMMAND...: the command exits 0. Its output is shown only when it does not.
expect_ok() {
    local what=$1 out rc=0
    shift
    sf_checks=$((sf_checks + 1))
    out=$("$@" 2>&1) || rc=$?
    [ "$rc" = 0 ] || fail "$what: '$*' exited $rc: $out"
}

# expect_exit WHAT STATUS COMMAND...: the command exits with exactly this status.
# What it printed (both streams) is left in $SF_OUT for further checks.
expect_exit() {
    local what=$1 want=$2 rc=0
    shift 2
    sf_checks=$((sf_checks + 1))
    SF_OUT=$("$@" 2>&1) || rc=$?
    [ "$rc" = "$want" ] || fail "$what: '$*' exited $rc instead of $want: $SF_OUT"
}

# expect_errno WHAT TEXT COMMAND...: the command fails and its message holds TEXT
# ("No such file or directory" and the like; tests run in the C locale).
expect_errno() {
    local what=$1 text=$2 rc=0
    shift 2
    sf_checks=$((sf_checks + 1))
    SF_OUT=$("$@" 2>&1) || rc=$?
    [ "$rc" != 0 ] || fail "$what: '$*' succeeded"
    [[ $SF_OUT == *"$text"* ]] || fail "$what: wanted '$text', got: $SF_OUT"
}

expect_same_file() { # WHAT FILE FILE
    sf_checks=$((sf_checks + 1))
    cmp -- "$2" "$3" >&2 || fail "$1: '$2' and '$3' differ"
}

expect_exists() { # WHAT PATH
    sf_checks=$((sf_checks + 1))
    [ -e "$2" ] || [ -L "$2" ] || fail "$1: '$2' is not there"
}

expect_missing() { # WHAT PATH
    sf_checks=$((sf_checks + 1))
    if [ -e "$2" ] || [ -L "$2" ]; then fail "$1: '$2' is there"; fi
}

# wait_for SECONDS COMMAND...: repeats a command until it succeeds; 1 when it never did.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}

# now_ms: milliseconds of a clock that only moves forward.
now_ms() {
    local up
    read -r up _ </proc/uptime
    echo $((10#${up/./} * 10))
}

# make_token ROLE EXPIRY [NAME=VALUE...]: a JWT with these claims, signed with SUPABASE_JWT_SECRET, which
# nobody sees.
make_token() {
    SECRET=$SUPABASE_JWT_SECRET python3 - "$@" <<'END'
import base64, hashlib, hmac, json, os, sys
def b64(b): return base64.urlsafe_b64encode(b).rstrip(b"=").decode()
claims = {"role": sys.argv[1], "iss": "supabase", "iat": 1, "exp": int(sys.argv[2])}
claims.update(pair.split("=", 1) for pair in sys.argv[3:])
text = ".".join(b64(json.dumps(d).encode()) for d in ({"alg": "HS256", "typ": "JWT"}, claims))
mac = hmac.new(os.environ["SECRET"].encode(), text.encode(), hashlib.sha256).digest()
print(text + "." + b64(mac))
END
}

# passed: the last line of a test. A test that checked nothing has not passed.
passed() {
    [ "$sf_checks" -gt 0 ] || fail "no check was made"
    note "passed ($sf_checks checks)"
    exit 0
}

# --- cleaning up ------------------------------------------------------------------------------

# at_exit COMMAND...: run at the end in reverse order, whatever happens. Not from a subshell.
at_exit() { sf_undo+=("$(printf '%q ' "$@")"); }

# sf_end_quietly PID: ends a background process of this test, if it still runs, and waits for it.
sf_end_quietly() {
    kill -TERM "$1" 2>/dev/null || return 0
    wait "$1" 2>/dev/null || :
}

sf_finish() {
    local rc=$? i
    sf_finishing=yes
    trap - EXIT
    trap '' INT TERM HUP
    for ((i = ${#sf_undo[@]} - 1; i >= 0; i--)); do
        eval "${sf_undo[i]}" || note "at the end, '${sf_undo[i]}' failed"
    done
    sf_sanitizer_reports || rc=1
    [ "$sf_finishing" = yes ] || rc=1
    if [ -n "${SF_KEEP:-}" ]; then
        note "kept: $SF_TMP"
    else
        rm -rf --one-file-system -- "$SF_TMP"
    fi
    exit "$rc"
}

# A sanitizer's report ends a test as failed, also when nothing else went wrong.
sf_sanitizer_reports() {
    local r bad=0
    for r in "$SF_TMP"/sanitizer.* "$SF_TMP"/*.log; do
        # gcc's UBSan does not know log_path: its reports are in the programs' stderr.
        case $r in *.log) grep -qs 'runtime error: ' "$r" || continue ;; esac
        [ -s "$r" ] || continue
        bad=1
        note "sanitizer report in ${r##*/}:"
        head -n 60 "$r" | sed 's/^/    /' >&2
    done
    return "$bad"
}

# --- start ------------------------------------------------------------------------------------

sf_find_build() {
    local d
    for d in "${SUPAFS_BUILDDIR:-}" "${top_builddir:-}" "$PWD" "$SF_SRC/build" "$SF_SRC"; do
        if [ -n "$d" ] && [ -e "$d/config.status" ]; then
            (cd "$d" && pwd)
            return
        fi
    done
    echo "$SF_SRC"
}

# sf_binary NAME: full path of a program of ours: what make check names, built, else installed.
sf_binary() {
    local d
    case $1 in
    supafs) d=${sf_named_supafs:-} ;;
    supafs-devserver) d=${sf_named_devserver:-} ;;
    *) d='' ;;
    esac
    if [ -n "$d" ] && [ -x "$d" ]; then
        echo "$d"
        return
    fi
    for d in "$SF_BUILD" "$SF_BUILD/src" "$SF_BUILD/contrib/devserver"; do
        if [ -x "$d/$1" ] && [ ! -d "$d/$1" ]; then
            echo "$d/$1"
            return
        fi
    done
    command -v "$1" || return 1
}

real_url_given() { [ -n "${SUPAFS_REAL_URL:-}" ]; }

# with_user_env COMMAND...: with the caller's home and proxies, for what has to be downloaded.
with_user_env() { env "${SF_USER_ENV[@]}" "$@"; }

sf_isolate() {
    local v
    # Nothing of the caller's own projects reaches a test, and the tests write nowhere else.
    for v in $(compgen -e); do
        case $v in
        SUPAFS_REAL_URL | SUPAFS_BUILDDIR | SUPAFS_SUITE_DIR) ;;
        SUPABASE_*) [ -n "${SUPAFS_REAL_URL:-}" ] || unset "$v" ;;
        SUPAFS_* | FILE_CACHE_DIR | MAX_MEMORY_CACHE_SIZE | MAX_CACHE_*) unset "$v" ;;
        esac
    done
    # Tests count requests; those of the project's tables are in tests that are about them.
    export SUPAFS_TABLES=off
    # Servers of tests are on loopback; only with_user_env's commands look further.
    SF_USER_ENV=("HOME=${HOME:-/}" "no_proxy=${no_proxy:-}" "NO_PROXY=${NO_PROXY:-}")
    real_url_given || export no_proxy='*' NO_PROXY='*'
    # What is downloaded once for all runs (npm) stays in the real user's cache.
    SF_SHARED_CACHE=${SF_SHARED_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/supafs-check}
    export SF_SHARED_CACHE
    export HOME=$SF_TMP/home XDG_CONFIG_HOME=$SF_TMP/config XDG_CACHE_HOME=$SF_TMP/cache
    export XDG_STATE_HOME=$SF_TMP/state XDG_RUNTIME_DIR=$SF_TMP/run LC_ALL=C TZ=UTC
    mkdir -p "$HOME" "$XDG_CONFIG_HOME" "$XDG_CACHE_HOME" "$XDG_STATE_HOME" "$XDG_RUNTIME_DIR"
    chmod 700 "$XDG_RUNTIME_DIR"
    export ASAN_OPTIONS="log_path=$SF_TMP/sanitizer:detect_leaks=1:${ASAN_OPTIONS:-}"
    # Its second of grace at the end would count as a daemon that hangs.
    export TSAN_OPTIONS="log_path=$SF_TMP/sanitizer:atexit_sleep_ms=0:${TSAN_OPTIONS:-}"
    export UBSAN_OPTIONS="print_stacktrace=1:log_path=$SF_TMP/sanitizer:${UBSAN_OPTIONS:-}"
}

sf_named_supafs=${SUPAFS:-}
sf_named_devserver=${SUPAFS_DEVSERVER:-}
SF_BUILD=$(sf_find_build)
SF_TMP=$(mktemp -d "${TMPDIR:-/tmp}/supafs-test.XXXXXXXX") || exit 1
trap sf_finish EXIT
trap 'exit 1' INT TERM HUP
sf_isolate
