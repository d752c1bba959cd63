#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Tags and accesses of files: what is set is told the project, what another mount has set is read,
# files with and without an id; without the database, and without tables, too.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/tables.sh"

need_fuse
need_supafs
need_devserver "its database is another one"
need getfattr setfattr
start_server
export SUPAFS_TABLES=auto
new_bucket b
mount_project mnt -o attr_ttl=600
mount_project other -o attr_ttl=0
file=$mnt/$b/a.txt there=$other/$b/a.txt

get() { getfattr --only-values -n "user.supafs.$1" "$2" 2>/dev/null; }
listed() { getfattr "$1" 2>/dev/null | sed -n 's/^user/user/p' | xargs; }
# row KEY COLUMN: of the project's table.
row() {
    sf_curl --fail-with-body "$SUPABASE_URL/rest/v1/file_metadata?object_key=eq.$1&select=$2" |
        json_get "d[0][\"$2\"]"
}
# xattr FUNCTION ARGUMENT...: of Python's os; the error's name.
xattr() { python3 -c 'import errno, os, sys
try:
    getattr(os, sys.argv[1])(*[a.encode() if i == 2 else eval(a) if i == 3 else a for i, a in enumerate(sys.argv[2:])])
    print("ok")
except OSError as e:
    print(errno.errorcode[e.errno])' "$@"; }

step "set, read and told"
echo "some text" >"$file"
wait_told "$mnt"
clear_log
expect_eq "its hash" "$(sha256sum <"$file" | cut -d' ' -f1)" "$(get sha256 "$file")"
expect_eq "is known without a request" 0 "$(request_log | json_get 'd["counts"].get("info", 0)')"
expect_eq "no tags" '' "$(get tags "$file")"
expect_eq "none listed" '' "$(listed "$file")"
expect_ok "set" setfattr -n user.supafs.tags -v ' red,  two words ,red,grün' "$file"
expect_eq "read" 'red,two words,grün' "$(get tags "$file")"
expect_eq "listed" user.supafs.tags "$(listed "$file")"
wait_told "$mnt"
expect_eq "in the database" '["red", "two words", "gr\u00fcn"]' "$(row a.txt tags)"
expect_eq "by another mount" 'red,two words,grün' "$(get tags "$there")"
expect_eq "the hash stays" "$(sha256sum <"$file" | cut -d' ' -f1)" \
    "$(row a.txt file_hash)"

step "what is no tag, and what is there already"
for wrong in '' ',' 'a,,b' ' ' "$(printf 'x%.0s' $(seq 101))" "$(seq -s, 65)" 0x0a 0xff 0x61c285; do
    expect_match "'${wrong:0:20}' is refused" 'Invalid argument' \
        "$(setfattr -n user.supafs.tags -v "$wrong" "$file" 2>&1)"
done
expect_ok "64 are not" setfattr -n user.supafs.tags -v "$(seq -s, 64)" "$file"
expect_ok "the same again" setfattr -n user.supafs.tags -v "$(seq -s, 64)" "$file"
expect_eq "to be made" EEXIST "$(xattr setxattr "$file" user.supafs.tags x os.XATTR_CREATE)"
expect_eq "to be replaced" ok "$(xattr setxattr "$file" user.supafs.tags x os.XATTR_REPLACE)"
expect_eq "replaced" x "$(get tags "$file")"
expect_match "not on a directory" 'not supported' "$(setfattr -n user.supafs.tags -v x "$mnt/$b" 2>&1)"
expect_ok "removed" setfattr -x user.supafs.tags "$file"
expect_eq "gone" '' "$(get tags "$file")$(listed "$file")"
expect_eq "removed twice" ENODATA "$(xattr removexattr "$file" user.supafs.tags)"
wait_told "$mnt"
expect_eq "in the database, too" '[]' "$(row a.txt tags)"
expect_eq "set by another mount" ok "$(xattr setxattr "$there" user.supafs.tags theirs)"
wait_told "$other"
expect_eq "is told, too" '["theirs"]' "$(row a.txt tags)"

step "copied, and renamed"
setfattr -n user.supafs.tags -v kept "$file"
expect_ok "cp -a" cp -a "$file" "$mnt/$b/copy.txt"
expect_eq "of the copy" kept "$(get tags "$mnt/$b/copy.txt")"
mv "$file" "$mnt/$b/b.txt"
expect_eq "under another name" kept "$(get tags "$mnt/$b/b.txt")"
wait_told "$mnt"
expect_eq "told" '["kept"] ["kept"]' "$(row b.txt tags) $(row copy.txt tags)"

step "accesses"
file=$mnt/$b/read.txt
echo "to be read" >"$file"
expect_eq "never" "0 " "$(get access_count "$file") $(get last_accessed "$file")"
for _ in 1 2 3; do cat "$file" >/dev/null; done
expect_eq "counted" 3 "$(get access_count "$file")"
expect_match "and when" '^20[0-9-]*T[0-9:]*Z$' "$(get last_accessed "$file")"
wait_told "$mnt" # the project counts only what it knows
cat "$other/$b/read.txt" >/dev/null
those_of_all() { [ "$(get access_count "$other/$b/read.txt")" = 4 ]; }
wait_for 10 those_of_all || fail "of all mounts: $(get access_count "$other/$b/read.txt")"
expect_eq "set: ignored" ok "$(xattr setxattr "$file" user.supafs.access_count 7)"

step "a file that has no id yet"
python3 -c 'import os, sys
with open(sys.argv[1], "w") as f:
    f.write("new")
    f.flush()
    os.setxattr(sys.argv[1], "user.supafs.tags", b"early,bird")
    print(os.getxattr(sys.argv[1], "user.supafs.tags").decode())' "$mnt/$b/new.txt" >"$SF_TMP/new"
expect_eq "before" early,bird "$(cat "$SF_TMP/new")"
expect_eq "and after" early,bird "$(get tags "$mnt/$b/new.txt")"
wait_told "$mnt"
expect_eq "told" '["early", "bird"]' "$(row new.txt tags)"

expect_eq "and renamed before it is sent" early,bird "$(python3 -c 'import os, sys
fd = os.open(sys.argv[1] + "/.tmp", os.O_CREAT | os.O_WRONLY)
os.write(fd, b"new")
os.setxattr(fd, "user.supafs.tags", b"early,bird")
os.rename(sys.argv[1] + "/.tmp", sys.argv[1] + "/named.txt")
os.close(fd)
print(os.getxattr(sys.argv[1] + "/named.txt", "user.supafs.tags").decode())' "$mnt/$b")"
wait_told "$mnt"
expect_eq "told, too" '["early", "bird"]' "$(row named.txt tags)"

step "without the database"
set_faults '{"kind":"error", "status":503, "path":"/rest/v1"}'
started=$(now_ms)
expect_eq "what is known here" kept "$(get tags "$mnt/$b/b.txt")"
expect_ok "and set" setfattr -n user.supafs.tags -v later "$mnt/$b/b.txt"
expect_eq "is told" later "$(get tags "$mnt/$b/b.txt")"
expect_le "milliseconds" 5000 $(($(now_ms) - started))
clear_faults
wait_told "$mnt" 20
expect_eq "it follows" '["later"]' "$(row b.txt tags)"
umount_project "$other"

step "without tables"
umount_project "$mnt"
mount_at "$mnt" -o tables=off || fail "mounting again failed"
file=$mnt/$b/b.txt
expect_eq "set" ENOTSUP "$(xattr setxattr "$file" user.supafs.tags x)"
expect_eq "removed" ENODATA "$(xattr removexattr "$file" user.supafs.tags)"
expect_eq "nothing is known" '' "$(get tags "$file")$(get access_count "$file")$(listed "$file")"
passed
