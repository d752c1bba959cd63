#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Ordinary tools on real input in a directory: copies, archives, git, rsync, a large file, a build,
# odd names. Run by tests/integ/real-input.sh, as root and as another user in another mount namespace.
#
#   real-input.sh DIR SCRATCH HEADERS REPOSITORY BUILD [LARGE SHA256]
#
#   DIR         an empty directory in the mount        SCRATCH     one on a local disk
#   HEADERS     a tree to copy                         REPOSITORY  a git repository to clone
#   BUILD       what to build of it: all, some or nothing
#   LARGE       a large file in the mount and its sum
# shellcheck disable=SC2016 # names hold quotes
set -eu
dir=$1 scratch=$2 headers=$3 repository=$4 build=$5 large=${6:-} sum=${7:-}
step() { printf '  %s: %s\n' "$(date +%T)" "$*"; }
die() { printf 'real-input: %s\n' "$*" >&2; exit 1; }
# A clone starts git in the source, too, which takes no configuration from the environment.
printf '[safe]\n\tdirectory = *\n' >"$scratch/.gitconfig"
export HOME=$scratch GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org GIT_COMMITTER_NAME=t \
    GIT_COMMITTER_EMAIL=t@example.org

step "cp -r and diff -r"
cp -r "$headers" "$dir/copied"
diff -r --no-dereference "$headers" "$dir/copied"

step "tar in, diff -r, tar out"
mkdir "$dir/tarred"
tar -C "$headers" -cf - . | tar -C "$dir/tarred" -xf -
diff -r --no-dereference "$headers" "$dir/tarred"
tar -C "$dir/tarred" -cf - . | tar -C "$scratch" --one-top-level=out -xf -
diff -r --no-dereference "$headers" "$scratch/out"
rm -r "$scratch/out"

step "rsync twice: the second sends nothing"
rsync -a --checksum "$headers/" "$dir/synced/"
again=$(rsync -a --checksum --itemize-changes "$headers/" "$dir/synced/")
[ -z "$again" ] || die "the second rsync changed: $(head -3 <<<"$again")"

step "git clone into the mount, and out of it"
git clone -q "$repository" "$dir/repo"
git -C "$dir/repo" fsck --strict --no-progress
[ -z "$(git -C "$dir/repo" status --porcelain)" ] || die "git status is not clean after a clone"
echo change >>"$dir/repo/README.md"
git -C "$dir/repo" commit -qam "A change in the mount"
git clone -q "$dir/repo" "$scratch/back"
git -C "$scratch/back" fsck --strict --no-progress
cmp "$dir/repo/README.md" "$scratch/back/README.md"
rm -rf "$scratch/back"

step "names"
mkdir "$dir/names"
long=$(printf 'n%.0s' $(seq 255))
cjk=$(printf '\346\274\242%.0s' $(seq 84))       # 252 bytes of UTF-8
cyrillic=$(printf '\320\266%.0s' $(seq 126))     # 252 bytes
for name in 'a#b' '100%' 'back~' '[x]' '{y}' 'a b' ' lead' 'trail ' 'q?*' 'pipe|' 'quote"' "it's" \
    'back\slash' '<lt>' $'tab\tnew\nline' '=@41' '.hidden' "$long" "$cjk" "$cyrillic" $'\377\376'; do
    printf '%s' "$name" >"$dir/names/$name" || die "cannot make '$name'"
    [ "$(cat "$dir/names/$name"; echo .)" = "$name." ] || die "'$name' holds something else"
done
[ "$(find "$dir/names" -type f -print0 | tr -cd '\0' | wc -c)" = 21 ] || die "names are missing in the listing"
for name in "${long}n" "${cjk}漢漢" "$(printf '#%.0s' $(seq 200))"; do
    if (: >"$dir/names/$name") 2>"$scratch/err"; then die "a name that does not fit was made"; fi
    grep -q 'File name too long' "$scratch/err" || die "wrong error: $(cat "$scratch/err")"
done
mkdir "$dir/names/dir~1"
echo x >"$dir/names/dir~1/x#"
[ "$(ls "$dir/names/dir~1")" = 'x#' ] || die "a directory with an escaped name"
rm -r "$dir/names"
[ ! -e "$dir/names" ] || die "rm -r left something"

if [ -n "$large" ]; then
    step "sha256sum of $(stat -c %s "$large") bytes"
    [ "$(sha256sum <"$large")" = "$sum" ] || die "the large file's sum is wrong"
fi

if [ "$build" != nothing ]; then
    step "a build in the mount"
    mkdir "$dir/build"
    git -C "$repository" archive HEAD | tar -C "$dir/build" -xf -
    cd "$dir/build"
    autoreconf -i >"$scratch/autoreconf.log" 2>&1 || { tail "$scratch/autoreconf.log"; die autoreconf; }
    ./configure >"$scratch/configure.log" 2>&1 || { tail "$scratch/configure.log"; die configure; }
    targets=(supafs)
    [ "$build" = all ] || mapfile -t targets < <(printf '%s\n' src/base/*.c | sed 's/c$/o/')
    make -j2 "${targets[@]}" >"$scratch/make.log" 2>&1 ||
        { tail "$scratch/make.log"; die make; }
    [ "$build" != all ] || ./supafs --version
fi
step "done"
