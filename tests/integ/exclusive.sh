#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# O_EXCL between two mounts: settled by close() as a rule, by open() with exclusive=open.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/server.sh"
. "$(dirname "$0")/../lib/mount.sh"

need_fuse
need_supafs
need python3
start_server
new_bucket bucket

# both FIRST SECOND: the same new file made with O_EXCL in both directories, written and closed.
both() {
    python3 - "$@" <<'END'
import errno, os, sys, time
said = []
fds = []
for i, d in enumerate(sys.argv[1:]):
    try:
        os.listdir(d)
    except OSError:
        pass
for i, d in enumerate(sys.argv[1:]):
    try:
        fds.append((i, os.open(os.path.join(d, "lock"), os.O_WRONLY | os.O_CREAT | os.O_EXCL)))
    except OSError as e:
        said.append(f"open {i} {errno.errorcode[e.errno]}")
for i, fd in fds:
    try:
        os.write(fd, b"%d" % i)
        os.close(fd)
        said.append(f"done {i}")
        # The second is the later one, however close() is acknowledged.
        for _ in range(400 if i == 0 else 0):
            if os.getxattr(os.path.join(sys.argv[1], "lock"), "user.supafs.sync") == b"clean":
                break
            time.sleep(0.05)
    except OSError as e:
        said.append(f"close {i} {errno.errorcode[e.errno]}")
print(", ".join(sorted(said)))
END
}

for when in close open; do
    step "exclusive=$when"
    mount_project first -o "bucket=$bucket,attr_ttl=60,exclusive=$when"
    mount_project second -o "bucket=$bucket,attr_ttl=60,exclusive=$when"
    case $when in
    close) expect_eq "the later close fails" "close 1 EEXIST, done 0" "$(both "$first" "$second")" ;;
    open) expect_eq "the later open fails" "done 0, open 1 EEXIST" "$(both "$first" "$second")" ;;
    esac
    get_object "$bucket" lock "$SF_TMP/got"
    expect_eq "the first one's bytes" 0 "$(cat "$SF_TMP/got")"
    expect_eq "and nothing else" lock "$(list_keys "$bucket")"
    expect_ok "made and never written" python3 -c 'import os, sys
os.close(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o604))' "$first/empty"
    wait_for 10 object_info "$bucket" empty || fail "it is not in the bucket"
    expect_eq "its mode" 604 "$(stat -c %a "$first/empty")"
    umount_project "$first"
    umount_project "$second"
    mount_project again -o "bucket=$bucket"
    expect_eq "its mode after a remount" 604 "$(stat -c %a "$again/empty")"
    expect_ok "rm" rm "$again/lock" "$again/empty"
    umount_project "$again"
done

step "sync=writeback: close() cannot say it, fsync() does"
mount_project first -o "bucket=$bucket,attr_ttl=60,sync=writeback"
mount_project second -o "bucket=$bucket,attr_ttl=60,sync=writeback"
one_is_aside() {
    [ "$(($(mount_status "$first" quarantine) + $(mount_status "$second" quarantine)))" = 1 ]
}
expect_eq "both are acknowledged" "done 0, done 1" "$(both "$first" "$second")"
wait_for 20 one_is_aside || fail "the later one is not in quarantine"
expect_eq "one of them, and nothing beside it" lock "$(list_keys "$bucket")"
expect_eq "who waits is told" EEXIST "$(python3 - "$first" "$second" <<'END'
import errno, os, sys
flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
for d in sys.argv[1:]:
    os.listdir(d)
fds = [os.open(os.path.join(d, "synced"), flags) for d in sys.argv[1:]]
for fd in fds:
    os.write(fd, b"x")
    try:
        os.fsync(fd)
    except OSError as e:
        print(errno.errorcode[e.errno])
END
)"
umount_project "$first"
umount_project "$second"
passed
