#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Ten writers in ten mounts ask about one file: each gets its own answers, all mounts and the tables have
# the same turns in the same order, in both layouts; others' rows are turns; while the database is away
# questions are answered, and follow. A real PostgreSQL behind PostgREST (docs/formats/chat.md, part 10).
# shellcheck source-path=SCRIPTDIR disable=SC2034,SC2119,SC2154,SC2317
set -u
. "$(dirname "$0")/../lib/common.sh"
. "$(dirname "$0")/../lib/tables.sh"

need_devserver "its database is another one"
need_fuse
need_supafs
need psql python3 getfattr
js_setup
start_server
start_postgres
new_database exai
expect_ok "the pair" pg_owner -f "$SF_SRC/tests/lib/exai-schema.sql"
new_database own
export SUPAFS_TABLES=auto
new_bucket b
echo "what it is about" >"$SF_TMP/text"
for name in shared away; do put_object "$b" "$name.txt" "$SF_TMP/text" text/plain >/dev/null || fail "no object"; done
mounts_py() { python3 "$SF_SRC/tests/integ/chat-mounts.py" "$@"; }
mkdir "$XDG_CONFIG_HOME/supafs"
mounts_py config "$XDG_CONFIG_HOME/supafs/supafs.conf" || fail "no configuration"

# mount_many COUNT: mounts, in the array tops, and the chat files of shared.txt in them in the array chats.
mount_many() {
    local i dir pids=()
    tops=()
    for ((i = 0; i < $1; i++)); do
        sf_mounts=$((sf_mounts + 1))
        dir=$SF_TMP/mnt-$sf_mounts
        mkdir "$dir"
        at_exit umount_project "$dir"
        mount_at "$dir" -o attr_ttl=200ms &
        pids+=($!)
        tops+=("$dir")
    done
    for i in "${!pids[@]}"; do wait "${pids[i]}" || fail "mount $i: $(tail -n 3 "$SF_TMP"/mount-*.log)"; done
    chats_of shared
}
chats_of() {
    local dir
    chats=()
    for dir in "${tops[@]}"; do chats+=("$dir/$b/$1.txt.o.chat"); done
}
# rows: those of the conversation of the first of chats, as any other program reads them.
rows() {
    id=$(getfattr --absolute-names --only-values -n user.supafs.chat.id "${chats[0]}") || fail "no id"
    pg -F $'\t' -c "select m.role, to_json(m.content) from public.supafs_messages as m
        join public.supafs_conversations as c on c.id = m.conversation_id
        where c.continuation_id = '$id' order by m.\"timestamp\", m.id" >"$SF_TMP/rows"
}
rows_are() { rows && [ "$(wc -l <"$SF_TMP/rows")" = "$1" ]; }

rounds=2
[ -z "${SF_SOAK:-}" ] || rounds=20
for layout in own exai; do
    many=10
    if [ "$layout" = exai ]; then
        for dir in "${tops[@]}"; do umount_project "$dir"; done
        many=3
        rm -r "$SF_ROUTE"
    fi
    SF_PG_DB=$layout
    install_sql
    start_postgrest
    start_gateway "${SF_STORAGE%/storage/v1}"
    step "$layout: $many writers in $many mounts" # rule K2, rule K5, rule K6
    mount_many "$many"
    start=$(now_ms)
    expect_ok "writers" mounts_py writers $rounds "${chats[@]}"
    note "$((many * rounds)) turns took $(($(now_ms) - start)) ms"

    step "$layout: the same everywhere" # rule K1, rule K4, rule K7, rule T1
    wait_for 5 rows_are $((2 * many * rounds)) || fail "$(wc -l <"$SF_TMP/rows") rows: $(cut -c1-60 "$SF_TMP/rows")"
    expect_ok "turns" mounts_py same "$SF_TMP/rows" "${chats[@]}"

    step "$layout: another mount goes on" # rule K6
    expect_match "it was sent all of it" '^found "writer 1 question 0": .* [1-9]' "$(
        mounts_py ask "${chats[many - 1]}" $'What?\nfind: writer 1 question 0' | grep '^found')"

    step "$layout: rows of another program" # rule K10
    pg -c "insert into public.supafs_messages (conversation_id, role, content, \"timestamp\")
        select c.id, t.role, t.content, clock_timestamp() + t.n * interval '1 us' from public.supafs_conversations as c,
            (values (0, 'user', 'typed by hand'), (1, 'assistant', 'answered elsewhere')) as t (n, role, content)
        where c.continuation_id = '$id'" || fail "no row"
    wait_for 5 rows_are $((2 * many * rounds + 4)) || fail "rows"
    expect_ok "turns" mounts_py same "$SF_TMP/rows" "${chats[@]}"
    expect_match "they are sent" 'typed by hand; 1$' "$(
        mounts_py ask "${chats[0]}" $'What?\nfind: typed by hand' | grep '^found "typed')"
done

step "the database is away" # rule K8
chats_of away
expect_ok "before" mounts_py ask "${chats[0]}" "before it goes."
# One that does not answer is waited for, for ten seconds.
how=404
[ -z "${SF_SOAK:-}" ] || how=502
echo $how >"$SF_ROUTE/new" && mv "$SF_ROUTE/new" "$SF_ROUTE/down"
start=$(now_ms)
for i in 0 1; do
    expect_ok "meanwhile, $i" mounts_py ask "${chats[i]}" "writer $i question 0."
done
note "two questions took $(($(now_ms) - start)) ms"
rm "$SF_ROUTE/down"
# Told at once by who begins, else within a quarter of a minute.
for i in 0 1; do remount_project "${tops[i]}" -o attr_ttl=200ms; done
wait_for 20 rows_are 6 || fail "$(wc -l <"$SF_TMP/rows") rows: $(cut -c1-60 "$SF_TMP/rows")"
expect_eq "answers behind their questions" "user assistant user assistant user assistant" "$(cut -f1 "$SF_TMP/rows" | xargs)"
expect_ok "the third mount shows them" mounts_py same "$SF_TMP/rows" "${chats[2]}"
passed
