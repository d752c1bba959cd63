#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Record which files `grep -r` reads, and in which order:  record-grep.sh DIR >grep.trace
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$(cd "$1" && pwd)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
cd "$dir"
strace -f -y -qq --seccomp-bpf -ttt -e trace=openat -e status=successful -o "$log" grep -r surely-not-there . || true
python3 "$here/reduce.py" "$dir" <"$log"
