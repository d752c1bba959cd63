#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Walking, listing, copying and looking at files asks no provider for anything: ls, find, cp, rsync,
# getfattr -d, tar, a thumbnailer, updatedb, git and file over 1,000 files, half of which have ids.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"
. "$(dirname "$0")/../lib/providers.sh"

need_fuse
need_supafs
need_devserver "its providers count requests"
need getfattr rsync tar git file gdk-pixbuf-thumbnailer
updatedb=$(command -v updatedb.plocate || command -v updatedb) || skip "requires updatedb (plocate)"
start_server
new_bucket bucket
files=1000
seed() { python3 "$SF_SRC/tests/lib/objects.py" seed "$bucket" "$@" || fail "cannot make files"; }
seed 'tree/texts/%04d.txt' 0 $((files * 6 / 10))
seed 'tree/tables/%04d.csv' 0 $((files / 20))
seed 'tree/others/%04d' 0 $((files * 3 / 20))
mkdir "$SF_TMP/pictures"
python3 - "$SF_TMP/pictures" $((files / 5)) <<'END'
import struct, sys, zlib
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
for i in range(int(sys.argv[2])):
    rows = b"".join(b"\0" + bytes((i, y, 128)) * 24 for y in range(24))
    with open(f"{sys.argv[1]}/{i:04d}.png", "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 24, 24, 8, 2, 0, 0, 0)) +
                chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
END
export SUPAFS_PROVIDER_KIMI_CONCURRENCY=8 SUPAFS_PROVIDER_GLM_CONCURRENCY=8
mount_project mnt -o attr_ttl=2
top=$mnt/$bucket/tree
expect_ok "pictures" cp -r "$SF_TMP/pictures" "$top/"

step "half of them have ids"
python3 - "$top" $((files / 2)) >"$SF_TMP/ids" <<'END' || fail "cannot get ids"
import concurrent.futures, os, sys
names = [os.path.join(d, n) for d in ("texts", "tables", "pictures")
         for n in sorted(os.listdir(os.path.join(sys.argv[1], d)))[::2]]
names += [os.path.join("texts", n) for n in sorted(os.listdir(os.path.join(sys.argv[1], "texts")))[1::8]]
assert len(names) == int(sys.argv[2]), len(names)
def get(pair):
    i, name = pair
    return os.getxattr(os.path.join(sys.argv[1], name),
                       f"user.supafs.{'kimi' if i % 2 else 'glm'}.file_id").decode()
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    for got in pool.map(get, enumerate(names)):
        print(got)
END
expect_eq "ids" $((files / 2)) "$(sort -u "$SF_TMP/ids" | wc -l)"
# All that is known of the providers: counts, files, times.
state() { admin GET /providers | sha256sum; }
state=$(state)
before=$(mount_counter "$mnt" 'd["provider_requests"]')

# quiet WHAT COMMAND...: exits 0 and asks no provider for anything.
quiet() {
    local start
    start=$(now_ms)
    expect_exit "$1" 0 "${@:2}"
    expect_eq "$1: the providers saw nothing of it" "$state" "$(state)"
    note "  $1: $(($(now_ms) - start)) ms"
}

step "walks"
quiet "ls -lR" ls -lR "$top"
expect_eq "all of them" "$files" "$(grep -c '^-' <<<"$SF_OUT")"
quiet "find" find "$top" -type f -size +0 -newermt 2000-01-01
expect_eq "all of them" "$files" "$(grep -c . <<<"$SF_OUT")"
quiet "getfattr -dR" getfattr -dR --absolute-names "$top"
expect_eq "shows the ids" $((files / 2)) "$(grep -c '^user\.supafs\.[a-z]*\.file_id=' <<<"$SF_OUT")"
expect_eq "nothing else" 0 "$(grep '^user' <<<"$SF_OUT" | grep -vc 'file_id=\|content_type=')"
quiet "updatedb" "$updatedb" --prunefs '' --prunepaths '' --prunenames '' --prune-bind-mounts no \
    --require-visibility no --database-root "$top" --output "$SF_TMP/locate.db"
expect_ge "updatedb found them" "$files" "$(plocate -d "$SF_TMP/locate.db" -c "$top")"
pictures() {
    local n rc=0
    mkdir "$SF_TMP/thumbs"
    for n in "$top"/pictures/*[05].png; do
        gdk-pixbuf-thumbnailer -s 16 "file://$n" "$SF_TMP/thumbs/${n##*/}" || rc=1
    done
    return "$rc"
}
quiet "a thumbnailer" pictures
expect_eq "made thumbnails" $((files / 25)) "$(find "$SF_TMP/thumbs" -name '*.png' | wc -l)"
quiet "file" find "$top" -type f -exec file -b -- {} +
expect_eq "looked at all" "$files" "$(grep -c . <<<"$SF_OUT")"

# In the short form 50 of them come back: each is an upload, one after the other.
some=tables
[ -z "${SF_SOAK:-}" ] || some=.
step "copies"
mkdir "$SF_TMP/out" "$mnt/$bucket/tar" "$mnt/$bucket/cp"
quiet "cp -a out" cp -a "$top" "$SF_TMP/out/cp"
quiet "rsync -aX out" rsync -aX "$top/" "$SF_TMP/out/rsync/"
quiet "tar out" tar --xattrs -C "$top" -cf "$SF_TMP/t.tar" .
quiet "tar in" tar --xattrs --xattrs-include='user.*' -C "$mnt/$bucket/tar" -xpf "$SF_TMP/t.tar" "./${some#.}"
quiet "cp -a within" cp -a "$top/$some" "$mnt/$bucket/cp/"
quiet "rsync -aX in" rsync -aX "$SF_TMP/out/rsync/$some" "$mnt/$bucket/rsync/"
quiet "git init" git --git-dir="$SF_TMP/git" --work-tree="$top" -c init.defaultBranch=main init -q
quiet "git add" git --git-dir="$SF_TMP/git" --work-tree="$top" add .
quiet "git status" git --git-dir="$SF_TMP/git" --work-tree="$top" status --short
expect_eq "knows all" "$files" "$(grep -c '^A' <<<"$SF_OUT")"
for copy in tar cp rsync; do
    quiet "diff of $copy" diff -r "$SF_TMP/out/cp/$some" "$mnt/$bucket/$copy/$some"
done
quiet "chmod" chmod -R g+w "$mnt/$bucket/cp"
quiet "rm -r" rm -r "$mnt/$bucket/rsync"

step "the mount says so, too"
expect_eq "requests" "$before" "$(mount_counter "$mnt" 'd["provider_requests"]')"
expect_eq "nothing failed" '' "$(grep -v 'module=tables' "$SF_TMP/daemon-mnt-1.log" | grep -E 'level=(warn|error)')"
passed
