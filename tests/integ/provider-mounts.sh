#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Two mounts of a project and 32 processes want the ids of the same files at the same moment: with
# the project's tables each content is sent once, without them once by each mount. The tables are in
# a real PostgreSQL behind PostgREST.
# shellcheck source-path=SCRIPTDIR disable=SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/tables.sh"
. "$(dirname "$0")/../lib/providers.sh"

start_project
new_bucket b
files=6
[ -z "${SF_SOAK:-}" ] || files=100
# What others stored: no mount knows a hash of it.
python3 "$SF_SRC/tests/lib/objects.py" seed "$b" 'with/%03d.txt' 0 "$files"
python3 "$SF_SRC/tests/lib/objects.py" seed "$b" 'without/%03d.txt' 0 "$files"

# all_want DIRECTORY MOUNTPOINT...: 32 processes, a mount each in turn, want all files' ids at both
# providers, each in an order of its own. Prints "PROVIDER FILE MOUNT ID", each once.
all_want() {
    python3 - "$@" <<'END' | sort -u
import os, random, sys
tops = [f"{top}/{sys.argv[1]}" for top in sys.argv[2:]]
begin, go = os.pipe()
children = []
for i in range(32):
    if (pid := os.fork()) == 0:
        dice, which = random.Random(i), i % len(tops)
        os.close(go)
        wanted = [(p, f) for p in ("kimi", "glm") for f in sorted(os.listdir(tops[which]))]
        dice.shuffle(wanted)
        os.read(begin, 1)  # ends when all are there
        out = ""
        for p, f in wanted:
            try:
                got = os.getxattr(f"{tops[which]}/{f}", f"user.supafs.{p}.file_id").decode()
            except OSError as e:
                got = e.strerror.replace(" ", "-")
            out += f"{p} {f} {which} {got}\n"
        sys.stdout.write(out)
        sys.stdout.flush()
        os._exit(0)
    children.append(pid)
os.close(begin)
os.close(go)
sys.exit(any([os.waitpid(pid, 0)[1] for pid in children]))
END
}
# sent SITE: "COUNT CONTENTS" of what it took since the counts were reset
sent() { at_provider "$1" "'%d %d' % (sum(u['count'] for u in s['uploads']), len(s['uploads']))"; }

export SUPAFS_PROVIDER_KIMI_CONCURRENCY=4
mount_project one
mount_project two
ls "$one/$b/with" "$two/$b/with" >/dev/null

step "with the project's tables"
start=$(now_ms)
all_want with "$one/$b" "$two/$b" >"$SF_TMP/ids" || fail "a process failed"
note "$((32 * 2 * files)) wants of $((2 * files)) ids took $(($(now_ms) - start)) ms"
expect_eq "an id of each in each mount" $((4 * files)) "$(wc -l <"$SF_TMP/ids")"
expect_eq "the same in both" $((2 * files)) "$(cut -d' ' -f1,2,4 "$SF_TMP/ids" | sort -u | wc -l)"
expect_eq "Kimi was sent each content once" "$files $files" "$(sent kimi)"
expect_eq "GLM, too" "$files $files" "$(sent glm)"
expect_eq "and has the files that these ids are of" "$(cut -d' ' -f1,4 "$SF_TMP/ids" | sort -u)" "$(
    for p in glm kimi; do at_provider "$p" "'\n'.join('$p ' + f['id'] for f in s['files'])"; done | sort)"
expect_eq "the tables have them" $((2 * files)) "$(pg -c "select count(distinct provider_file_id)
    from public.provider_files")"

step "without them"
umount_project "$one"
umount_project "$two"
export SUPAFS_TABLES=off
mount_project three
mount_project four
admin DELETE /providers >/dev/null
ls "$three/$b/without" "$four/$b/without" >/dev/null
start=$(now_ms)
all_want without "$three/$b" "$four/$b" >"$SF_TMP/ids" || fail "a process failed"
note "$((32 * 2 * files)) wants of $((2 * files)) ids took $(($(now_ms) - start)) ms"
expect_eq "an id of each in each mount" $((4 * files)) "$(wc -l <"$SF_TMP/ids")"
expect_eq "each mount has its own" $((4 * files)) "$(cut -d' ' -f4 "$SF_TMP/ids" | sort -u | wc -l)"
expect_eq "Kimi was sent each content once by each" "$((2 * files)) $files" "$(sent kimi)"
expect_eq "GLM, too" "$((2 * files)) $files" "$(sent glm)"
passed
