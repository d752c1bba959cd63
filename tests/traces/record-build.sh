#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Record which files a build reads:  record-build.sh SOURCE-DIR BUILD-DIR >build.trace
# SOURCE-DIR is a supafs tree after autoreconf, BUILD-DIR is made and removed. The library is built, a header is
# edited, and it is built again. Kept are files of the source tree and headers of the C library and the compiler.
# What the build writes itself is not: that would be in the cache since it was written.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
source_dir=$(cd "$1" && pwd)
build=$2
log=$(mktemp -d)
trap 'rm -rf "$log" "$build"' EXIT
mkdir "$build"
cd "$build"
"$source_dir/configure" CFLAGS=-O0 CC=gcc >/dev/null
traced() {
    strace -f -y -qq --seccomp-bpf -ttt -e trace=openat -e status=successful -o "$1" "${@:2}" >/dev/null
}
traced "$log/1" make -j2 src/libsupafs.a
sleep 5
touch "$source_dir/src/tree/tree.h"
traced "$log/2" make -j2 src/libsupafs.a
cat "$log/1" "$log/2" | python3 "$here/reduce.py" "$source_dir" /usr/include /usr/lib/gcc/*/*/include
