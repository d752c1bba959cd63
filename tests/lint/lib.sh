#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What the lint tests share. Sourced. A lint test defines
#
#   check    looks at the tree in the current directory; prints one line "FILE:LINE: what is wrong"
#            per fault, and lines that begin with "warning: " for what is only reported
#   plant    calls `planted FILE:LINE` after it has put a fault at that place of a small tree
#
# and ends with `lint_main "$@"`. Run it as
#
#   tests/lint/NAME [TREE]        checks TREE, by default the one it lies in; exit status 1 = faults
#   tests/lint/NAME --self-test   proves that it is silent on a sound tree and finds each fault
#                                 that plant puts into a copy of it

lint_name=$(basename "$0")
lint_home=$(cd "$(dirname "$0")/../.." && pwd)

# The parts of the tree that hold sources, without what a build or npm puts there.
lint_find() {
    find src tests contrib docs \( -name node_modules -o -name '.*' \) -prune -o -type f "$@" \
        -print | LC_ALL=C sort
}

c_files() { lint_find \( -name '*.c' -o -name '*.h' \); }

# Everything that begins with #! and names a shell.
shell_scripts() {
    { lint_find; find .ci -type f; } | while IFS= read -r f; do
        read -r line <"$f" 2>/dev/null || continue
        case $line in '#!'*/sh | '#!'*/bash | '#!'*'env bash' | '#!'*'env sh') echo "$f" ;; esac
    done
}

# The text of C files with comments and the content of strings blanked; lines keep their numbers.
# Prints FILE:LINE: before each line.
code_lines() {
    perl -0777 -ne '
        sub blank { my $t = shift; $t =~ s/[^\n]/ /g; $t }
        s{(/\*.*?\*/|//[^\n]*)|("(?:[^"\\\n]|\\.)*")|(\x27(?:[^\x27\\\n]|\\.)*\x27)}
         {defined $1 ? blank($1) : defined $2 ? "\"\"" : "0"}gse;
        my $n = 0;
        print "$ARGV:", ++$n, ":$_\n" for split /\n/;
    ' "$@"
}

# need TOOL [PACKAGE]: skips the test when the tool is not there.
need() {
    command -v "$1" >/dev/null 2>&1 && return
    echo "SKIP lint $lint_name: requires $1 (package ${2:-$1})"
    exit 77
}

# planted FILE:LINE: the check has to complain about this place, and only about it.
planted() {
    local out
    out=$(check | grep -v '^warning: ')
    if ! grep -q "^$1: " <<<"$out"; then
        echo "tests/lint/$lint_name: the fault planted at $1 was not found; it printed: ${out:-nothing}"
        exit 1
    fi
    if [ "$(cut -d: -f1 <<<"$out" | sort -u | wc -l)" != 1 ]; then
        echo "tests/lint/$lint_name: more than the fault planted at $1 was found: $out"
        exit 1
    fi
    lint_plants=$((lint_plants + 1))
    small_tree
}

# A small sound tree, fresh, in the current directory, which is the self-test's own.
small_tree() {
    rm -rf ./src ./tests ./contrib ./docs ./.ci
    mkdir -p src/config tests/lint contrib docs/man .ci
    cp -r "$lint_home/src/base" "$lint_home/src/LAYERS" src/
    cp "$lint_home/src/config/options.def" src/config/
    cp "$lint_home/docs/man/supafs.pod" docs/man/
    cp "$lint_home/.clang-format" .
    cp "$lint_home/.ci/run" .ci/
    cp "$lint_home/tests/lint/lib.sh" tests/lint/
}

self_test() {
    local dir out
    dir=$(mktemp -d) || exit 1
    # shellcheck disable=SC2064 # the name is known now
    trap "rm -rf '$dir'" EXIT
    cd "$dir" || exit 1
    lint_plants=0
    small_tree
    out=$(check | grep -v '^warning: ')
    if [ -n "$out" ]; then
        echo "tests/lint/$lint_name: complains about a sound tree: $out"
        exit 1
    fi
    plant
    echo "tests/lint/$lint_name: found $lint_plants planted faults"
    [ "$lint_plants" -gt 0 ]
}

lint_main() {
    local out
    if [ "${1-}" = --self-test ]; then
        self_test
        exit
    fi
    cd "${1:-$lint_home}" || exit 1
    out=$(check)
    [ -z "$out" ] || printf '%s\n' "$out"
    ! grep -qv '^warning: ' <<<"${out:-warning: }"
    exit
}
