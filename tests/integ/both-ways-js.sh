#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What a mount writes supabase-js reads, and the other way round: byte for byte, with the right
# content type and size, for new files, overwrites, renames and deletions.
# shellcheck source-path=SCRIPTDIR disable=SC2119
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/../lib/js.sh"

need_supafs
js_setup
start_server
bucket='' mnt=''
new_bucket bucket
# shellcheck disable=SC2034 # for mount.sh
SF_MOUNT_URL=$SUPABASE_URL
mount_project mnt
top=$mnt/$bucket

# What others changed is seen after the attributes' time to live (attr_ttl, 1 s by default).
let_attributes_expire() { sleep 1.5; }

js() { # COMMAND, lines on stdin
    run_js files.mjs "$1" "$bucket" >&2 || fail "supabase-js: $1"
    sf_checks=$((sf_checks + 1))
}

# same_here KEY FILE: the mount shows the bytes and the size of FILE.
same_here() {
    expect_eq "size of $1" "$(stat -c %s "$2")" "$(stat -c %s "$top/$1")"
    expect_same_file "$1" "$2" "$top/$1"
}

src=$SF_TMP/src
mkdir "$src"
for size in 0 1 4095 4096 4097 1048576 20971520; do
    # Not text, whatever the rest is.
    { printf '\0' && head -c "$size" /dev/urandom; } | head -c "$size" >"$src/$size"
done
printf 'plain words\n' >"$src/t.txt"
printf '\211PNG\r\n\032\n\0\0\0\rIHDR' >"$src/t.png"
printf '%%PDF-1.4\n%%\342\343\317\323\n' >"$src/t.pdf"
printf '{"a": [1, 2]}\n' >"$src/t.json"
printf '<!DOCTYPE html><title>t</title>\n' >"$src/t.html"

# Local name and the key that docs/formats/names.md gives it.
names=(
    'plain.txt' 'plain.txt'
    'with space (1).txt' 'with space (1).txt'
    ' lead and trail ' ' lead and trail '
    'C#.txt' 'C=@23.txt'
    'file~' 'file=@7E'
    'My%20File' 'My=@2520File'
    '[...slug].tsx' '=@5B...slug=@5D.tsx'
    'résumé.pdf' 'r=!BpsumBp.pdf'
    '日本.txt' '=!0Xl0cs.txt'
    'Größe der Verhältnisse.PDF' 'Gr=!B2Bfe der !Verh=!Bkltnisse.PDF'
    '😀' '=!9fYA'
    'month=01' 'month=01'
)

# --- from the mount to supabase-js -------------------------------------------------------------

step "sizes, mount to supabase-js"
mkdir "$top/sizes" || fail "mkdir"
for file in "$src"/[0-9]*; do
    cp "$file" "$top/sizes/${file##*/}.bin" || fail "cp of ${file##*/}"
done
for file in "$src"/[0-9]*; do
    printf 'sizes/%s.bin\t%s\t%s\n' "${file##*/}" "$file" application/octet-stream
done | js verify

step "content types, mount to supabase-js"
mkdir "$top/types"
while read -r kind type; do
    cp "$src/t.$kind" "$top/types/name.$kind" || fail "cp of t.$kind"
    printf 'types/name.%s\t%s\t%s\n' "$kind" "$src/t.$kind" "$type" >>"$SF_TMP/types"
done <<'EOF'
txt text/plain
png image/png
pdf application/pdf
json application/json
html text/html
EOF
js verify <"$SF_TMP/types"

step "names, mount to supabase-js"
mkdir -p "$top/names/in/depth"
for ((i = 0; i < ${#names[@]}; i += 2)); do
    printf '%s' "${names[i]}" >"$src/name-$i"
    cp "$src/name-$i" "$top/names/in/depth/${names[i]}" || fail "cp to ${names[i]}"
    printf 'names/in/depth/%s\t%s\t-\n' "${names[i + 1]}" "$src/name-$i"
done >"$SF_TMP/names-out"
js verify <"$SF_TMP/names-out"

# --- from supabase-js to the mount -------------------------------------------------------------

step "sizes and types, supabase-js to mount"
for file in "$src"/[0-9]*; do
    printf 'js/sizes/%s\t%s\tapplication/x-thing\n' "${file##*/}" "$file"
done | js upload
sed 's,^types/,js/types/,' "$SF_TMP/types" | js upload
let_attributes_expire
for file in "$src"/[0-9]*; do
    same_here "js/sizes/${file##*/}" "$file"
done
for kind in txt png pdf json html; do
    same_here "js/types/name.$kind" "$src/t.$kind"
done

step "names, supabase-js to mount"
sed 's,^names/in/depth/,js/names/,; s,-$,text/plain,' "$SF_TMP/names-out" | js upload
let_attributes_expire
for ((i = 0; i < ${#names[@]}; i += 2)); do
    same_here "js/names/${names[i]}" "$src/name-$i"
done
expect_eq "names listed" "$(printf '%s\n' "${names[@]}" | sed -n 'p;n' | sort)" \
    "$(find "$top/js/names" -mindepth 1 -printf '%f\n' | sort)"

# --- overwriting -------------------------------------------------------------------------------

step "overwritten by supabase-js, read here"
cp "$src/4097" "$top/ow" || fail "first version"
same_here ow "$src/4097"
printf 'ow\t%s\ttext/plain\n' "$src/1048576" | js update
let_attributes_expire
same_here ow "$src/1048576"
head -c 1048576 /dev/urandom >"$src/same-size"
printf 'ow\t%s\ttext/plain\n' "$src/same-size" | js update
let_attributes_expire
same_here ow "$src/same-size"
printf 'ow\t%s\ttext/plain\n' "$src/0" | js update
let_attributes_expire
same_here ow "$src/0"

step "overwritten here, read by supabase-js"
printf 'js/ow\t%s\ttext/plain\n' "$src/1048576" | js upload
let_attributes_expire
same_here js/ow "$src/1048576"
cp "$src/4095" "$top/js/ow" || fail "overwrite"
printf 'js/ow\t%s\t-\n' "$src/4095" | js verify
printf 'appended' >>"$top/js/ow" || fail "append"
{ cat "$src/4095" && printf 'appended'; } >"$src/appended"
printf 'js/ow\t%s\t-\n' "$src/appended" | js verify
truncate -s 100 "$top/js/ow" || fail "truncate"
head -c 100 "$src/appended" >"$src/cut"
printf 'js/ow\t%s\t-\n' "$src/cut" | js verify

step "again and again, in turn"
for turn in 1 2 3; do
    printf 'from the mount, turn %s\n' "$turn" >"$src/turn"
    cp "$src/turn" "$top/turns" || fail "turn $turn"
    printf 'turns\t%s\t-\n' "$src/turn" | js verify
    printf 'from supabase-js, turn %s\n' "$turn" >"$src/turn"
    printf 'turns\t%s\ttext/plain\n' "$src/turn" | js update
    let_attributes_expire
    same_here turns "$src/turn"
done

# --- renaming and deleting ---------------------------------------------------------------------

step "renamed here"
mv "$top/types/name.txt" "$top/types/renamed ä.txt" || fail "mv"
printf 'types/renamed =!Bk.txt\t%s\ttext/plain\n' "$src/t.txt" | js verify
echo types/name.txt | js absent
mv "$top/types/name.png" "$top/types/name.pdf" || fail "mv onto another"
printf 'types/name.pdf\t%s\t-\n' "$src/t.png" | js verify
echo types/name.png | js absent
mv "$top/sizes" "$top/moved" || fail "mv of a directory"
printf 'moved/4097.bin\t%s\t-\n' "$src/4097" | js verify
echo sizes/4097.bin | js absent

step "renamed by supabase-js"
printf 'js/types/name.json\tjs/types/other.json\n' | js move
let_attributes_expire
same_here js/types/other.json "$src/t.json"
expect_missing "the old name" "$top/js/types/name.json"

step "deleted here"
rm "$top/types/name.html" || fail "rm"
echo types/name.html | js absent
rm -r "$top/moved" || fail "rm -r"
for file in "$src"/[0-9]*; do echo "moved/${file##*/}.bin"; done | js absent
expect_missing "the directory" "$top/moved"

step "deleted by supabase-js"
echo js/types/name.html | js remove
let_attributes_expire
expect_missing "the file" "$top/js/types/name.html"
expect_errno "open of it" "No such file or directory" cat "$top/js/types/name.html"

step "directories"
mkdir "$top/empty" || fail "mkdir"
printf 'empty/.emptyFolderPlaceholder\t%s\t-\n' "$src/0" | js verify
expect_eq "an empty directory" "" "$(ls -A "$top/empty")"
rmdir "$top/empty" || fail "rmdir"
echo empty/.emptyFolderPlaceholder | js absent
printf 'both\t%s\ttext/plain\nboth/child\t%s\ttext/plain\n' "$src/t.txt" "$src/1" | js upload
let_attributes_expire
same_here both/child "$src/1"
same_here '%obj=both' "$src/t.txt"

passed
