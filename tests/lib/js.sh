#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# supabase-js, tus-js-client, aimock and the Node they want, from npm, kept outside the sources for all later runs.
# Source common.sh first. After js_setup, `run_js SCRIPT.mjs ARGUMENT...` runs a script of tests/js.

js_setup() {
    local lock=$SF_SRC/tests/js/package-lock.json kept
    kept=$SF_SHARED_CACHE/js-$(sha256sum <"$lock" | cut -c1-16)
    if [ ! -e "$kept/complete" ]; then
        # Of several tests that begin at once one downloads, and the others wait.
        need flock
        mkdir -p "$SF_SHARED_CACHE"
        exec 8>"$SF_SHARED_CACHE/lock"
        flock 8
        [ -e "$kept/complete" ] || sf_js_install "$kept"
        exec 8>&-
    fi
    SF_NODE=''
    local node
    for node in "$kept"/node_modules/node-linux-*/bin/node node nodejs; do
        if "$node" -e 'process.exit(process.versions.node.split(".")[0] >= 22 ? 0 : 1)' 2>/dev/null; then
            SF_NODE=$node
            break
        fi
    done
    [ -n "$SF_NODE" ] || skip "requires Node 22 or later (npm has none for $(uname -m))"
    mkdir -p "$SF_TMP/js"
    ln -s "$kept/node_modules" "$SF_TMP/js/node_modules"
    cp "$SF_SRC"/tests/js/*.mjs "$SF_TMP/js/"
}

# Installs beside the final place and renames, so that a run that is cut short leaves nothing half.
sf_js_install() {
    local kept=$1 new
    need npm
    new=$(mktemp -d "$SF_SHARED_CACHE/js-new.XXXXXX") || fail "cannot write in $SF_SHARED_CACHE"
    cp "$SF_SRC"/tests/js/package.json "$SF_SRC"/tests/js/package-lock.json "$new/"
    note "npm ci into $kept (once)"
    if ! (cd "$new" && with_user_env timeout 300 npm ci --ignore-scripts --no-audit --no-fund) \
        >"$SF_TMP/npm.out" 2>&1; then
        rm -rf "$new"
        skip "npm cannot install the packages of tests/js: $(grep -i 'error' "$SF_TMP/npm.out" | head -n 3)"
    fi
    : >"$new/complete"
    mv -T "$new" "$kept" 2>/dev/null || rm -rf "$new"
    [ -e "$kept/complete" ] || fail "cannot keep what npm installed in $kept"
}

run_js() {
    local script=$1
    shift
    "$SF_NODE" --no-warnings "$SF_TMP/js/$script" "$@"
}
