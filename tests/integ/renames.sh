#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Renames through a mount: files that are being written, replacing, directories of more than one
# page with all that can be in them, other buckets and their limits, and what others do meanwhile.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_devserver "it counts requests and delays answers"
need_fuse
need_supafs
need python3
start_server
new_bucket b
new_bucket small '"file_size_limit":1000,"allowed_mime_types":["text/*","inode/symlink"]'
mount_project mnt
B=$mnt/$b
objects=1200

# sent KIND: requests of this kind since the log was cleared.
sent() { request_log | json_get "d['counts'].get('$1', 0)"; }

# fill DIR COUNT: as another client, quickly.
fill() {
    python3 "$SF_SRC/tests/lib/objects.py" seed "$b" "$1%04d" 0 "$2" || fail "cannot fill $1"
}

# py SOURCE ARGUMENT...: the name of the errno that it fails with, or OK.
py() {
    python3 -c 'import ctypes, errno, os, sys
try:
    exec(sys.argv.pop(1))
    print("OK")
except OSError as e:
    print(errno.errorcode[e.errno])' "$@"
}

# renameat2 FLAGS FROM TO: the same.
renameat2() {
    py 'if ctypes.CDLL(None, use_errno=True).renameat2(-100, os.fsencode(sys.argv[2]), -100, os.fsencode(sys.argv[3]), int(sys.argv[1])):
    raise OSError(ctypes.get_errno(), "")' "$@"
}

# py_rename FROM TO: rename(2), where mv(1) would copy.
# shellcheck disable=SC2317 # called by expect_errno
py_rename() { python3 -c "import os,sys;os.rename(*sys.argv[1:])" "$@"; }

step "files"
echo one >"$B/a.txt"
chmod 640 "$B/a.txt"
before=$(stat -c '%i %a %Y %s' "$B/a.txt")
expect_ok "to a free name" mv "$B/a.txt" "$B/b.txt"
expect_eq "what stat shows stays" "$before" "$(stat -c '%i %a %Y %s' "$B/b.txt")"
expect_missing "the old name" "$B/a.txt"
echo two >"$B/c.txt"
expect_ok "over another" mv "$B/c.txt" "$B/b.txt"
expect_eq "bytes" two "$(cat "$B/b.txt")"
expect_eq "one object" "b.txt" "$(list_keys "$b" | tr '\n' ' ' | sed 's/ $//')"
echo three >"$B/d.txt"
expect_eq "NOREPLACE over another" EEXIST "$(renameat2 1 "$B/d.txt" "$B/b.txt")"
expect_eq "EXCHANGE" EINVAL "$(renameat2 2 "$B/d.txt" "$B/b.txt")"
printf four >"$SF_TMP/four"
put_object "$b" e.txt "$SF_TMP/four" >/dev/null
expect_eq "NOREPLACE over what another client just made" EEXIST "$(renameat2 1 "$B/d.txt" "$B/e.txt")"
expect_eq "NOREPLACE to a free name" OK "$(renameat2 1 "$B/d.txt" "$B/f.txt")"
delete_object "$b" e.txt >/dev/null
wait_for 5 [ ! -e "$B/e.txt" ] || fail "another client's deletion is not seen"
rm "$B/f.txt"

step "files that are being written"
python3 - "$B" <<'PY' || fail "a file under another name while it is written"
import os, sys
b = sys.argv[1]
f = open(b + '/new.tmp', 'w')
f.write('begun ')
f.flush()
os.rename(b + '/new.tmp', b + '/new.txt')       # nothing was sent yet
f.write('ended')
f.close()
assert open(b + '/new.txt').read() == 'begun ended'
g = open(b + '/new.txt', 'a')
g.write(', more')
g.flush()
os.rename(b + '/new.txt', b + '/b.txt')         # over another object, with bytes not sent
g.write(' and more')
g.close()
assert open(b + '/b.txt').read() == 'begun ended, more and more'
assert os.listdir(b) == ['b.txt'], os.listdir(b)
PY
get_object "$b" b.txt "$SF_TMP/got"
expect_eq "in the bucket" 'begun ended, more and more' "$(cat "$SF_TMP/got")"

step "another bucket and its limits"
head -c 2000 /dev/zero >"$B/large.txt"
printf '\x89PNG' >"$B/p.png"
expect_errno "too large" "File too large" py_rename "$B/large.txt" "$mnt/$small/large.txt"
expect_errno "a type that it refuses" "Operation not permitted" py_rename "$B/p.png" "$mnt/$small/p.png"
clear_log
expect_ok "a file that it takes" py_rename "$B/b.txt" "$mnt/$small/b.txt"
expect_eq "no byte came here" 0 "$(sent download)"
expect_eq "it is there" 'begun ended, more and more' "$(cat "$mnt/$small/b.txt")"
rm "$B/large.txt" "$B/p.png"

step "a directory of $objects objects, empty directories, links and odd names"
mkdir -p "$B/dir/empty/deep" "$B/dir/sub"
ln -s ../elsewhere "$B/dir/link"
odd=$'n\xc3\xa4me with % and \x01'
echo odd >"$B/dir/sub/$odd"
fill dir/many/ "$objects" # the bytes of each are its first key
wait_for 5 [ -e "$B/dir/many/0000" ] || fail "another client's objects are not seen"
(cd "$B" && find dir | LC_ALL=C sort) >"$SF_TMP/tree-before"
expect_ge "lines" $objects "$(wc -l <"$SF_TMP/tree-before")"
settings '{"delay_ms":5}'
clear_log
start=$(now_ms)
expect_ok "mv" mv "$B/dir" "$B/moved"
note "$objects objects at 5 ms: $(($(now_ms) - start)) ms, $(sent move) moves, $(sent list) listings"
settings '{"delay_ms":0}'
expect_eq "nothing is copied through here" "0 0 0" "$(sent download) $(sent upload) $(sent copy)"
expect_le "requests" $((objects + 40)) "$(request_log | json_get 'sum(d["counts"].values())')"
(cd "$B" && find moved | sed 's/^moved/dir/' | LC_ALL=C sort) >"$SF_TMP/tree-after"
expect_same_file "all of it is there" "$SF_TMP/tree-before" "$SF_TMP/tree-after"
expect_eq "nothing is left" '' "$(list_keys "$b" dir/)"
expect_eq "the link" ../elsewhere "$(readlink "$B/moved/link")"
expect_eq "the odd name" odd "$(cat "$B/moved/sub/$odd")"
expect_eq "bytes" dir/many/0007 "$(cat "$B/moved/many/0007")"
remount_project "$mnt"
(cd "$B" && find moved | sed 's/^moved/dir/' | LC_ALL=C sort) >"$SF_TMP/tree-after"
expect_same_file "and after a remount" "$SF_TMP/tree-before" "$SF_TMP/tree-after"

step "readers inside while it is renamed, and another client that adds to it"
settings '{"delay_ms":10}'
(cd "$B/moved/many" && exec python3 - <<'PY') >"$SF_TMP/reader.out" 2>&1 &
import os, time
end, n, slow = time.time() + 3, 0, 0.0
f = open('0500')                                # open before it moves
while time.time() < end:
    t = time.time()
    i = (n * 37) % 1200
    s = open('%04d' % i).read()
    assert s == 'dir/many/%04d' % i, (i, s)
    f.seek(0)
    n += 1
    if n % 20 == 0:
        names = os.listdir('.')
        assert len([x for x in names if x.isdigit()]) == 1200, len(names)
    slow = max(slow, time.time() - t)
assert f.read() == 'dir/many/0500'
print('reads', n, 'slowest %.2f s' % slow)
assert slow < 3, slow
PY
reader=$!
wait_for 10 [ -e "$B/moved/many/0000" ]
mv "$B/moved" "$B/again" &
mover=$!
sleep 0.5
expect_match "progress is told" 'renaming: .*moved/ -> .*again/ [0-9]+ of 12' "$(cat "$mnt/.supafs/status")"
put_object "$b" moved/added "$SF_TMP/four" >/dev/null
wait $mover || fail "mv: $?"
wait $reader || fail "the reader: $(cat "$SF_TMP/reader.out")"
note "$(cat "$SF_TMP/reader.out")"
settings '{"delay_ms":0}'
expect_eq "what was added came along" four "$(cat "$B/again/added")"
expect_eq "nothing is left" '' "$(list_keys "$b" moved/)"
expect_eq "all are there" $objects "$(list_keys "$b" again/many/ | wc -l)"

step "files below that are being written"
python3 - "$B" <<'PY' || fail "written below a directory that is renamed"
import os, sys
b = sys.argv[1]
f = open(b + '/again/sub/fresh', 'w')
f.write('not sent yet ')
f.flush()
g = open(b + '/again/many/0001', 'r+')
g.write('DIR')
g.flush()
os.rename(b + '/again', b + '/third')
f.write('and more')
f.close()
g.close()
assert open(b + '/third/sub/fresh').read() == 'not sent yet and more'
assert open(b + '/third/many/0001').read() == 'DIR/many/0001'
PY
expect_eq "nothing is left" '' "$(list_keys "$b" again/)"
get_object "$b" third/sub/fresh "$SF_TMP/got"
expect_eq "sent to the new name" 'not sent yet and more' "$(cat "$SF_TMP/got")"

step "what a directory's rename refuses"
mkdir "$B/full" "$B/hollow"
echo x >"$B/full/x"
expect_errno "over one that is not empty" "Directory not empty" \
    py_rename "$B/third" "$B/full"
expect_errno "into itself" "Invalid argument" \
    py_rename "$B/third" "$B/third/sub/x"
expect_errno "over a file" "Not a directory" \
    py_rename "$B/third" "$B/full/x"
long=$(printf 'x%.0s' {1..240})
mkdir -p "$B/third/$long/$long/$long"
expect_errno "names that would be too long" "File name too long" \
    py_rename "$B/third" "$B/$long"
rm -r "$B/third/$long"
expect_errno "another bucket that does not take all" "Operation not permitted" \
    py_rename "$B/third" "$mnt/$small/third"
expect_eq "nothing moved" "0 0" "$(list_keys "$small" third/ | wc -l) $(list_keys "$b" "$long/" | wc -l)"
expect_ok "over an empty one" py_rename "$B/full" "$B/hollow"
expect_eq "it is there" x "$(cat "$B/hollow/x")"
expect_ok "into another bucket" py_rename "$B/hollow" "$mnt/$small/hollow"
expect_eq "there" "x " "$(cat "$mnt/$small/hollow/x") $(list_keys "$b" hollow/)"
expect_eq "nothing was put aside" 0 "$(find "$SF_TMP" -path '*/quarantine/*' -type f | wc -l)"
passed
