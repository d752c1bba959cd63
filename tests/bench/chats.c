/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * chats DIRECTORY COUNT CONTINUATION-ID...
 *
 * How long it takes, COUNT times, to read each of these conversations row by row, to begin another
 * one and to add a message to it; to read them as a mount does, and to begin and end a turn; and
 * the last of them in a state directory, which DIRECTORY is. tests/bench/conversations runs it. The
 * project is the one that SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY name.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/str.h"
#include "chat/remote.h"
#include "http/http.h"
#include "supabase/auth.h"
#include "supabase/rest.h"

#define TIMES_MAX 1000
#define MESSAGE   2000 /* bytes of one that is written */

static struct sf_storage *st;

__attribute__((noreturn, format(printf, 1, 2))) static void
die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("chats: ", stderr);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(1);
}

static int64_t
soon(void)
{
    return sf_clock_ms() + 9000;
}

/* ---- row by row ------------------------------------------------------------------------------ */

struct times {
    int64_t ns[TIMES_MAX];
    size_t n, rows, bytes; /* of one answer */
};

static int
order_of_times(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void
tell_times(const char *what, struct times *t)
{
    qsort(t->ns, t->n, sizeof t->ns[0], order_of_times);
    printf("%s: median %.1f ms, 95 %% below %.1f ms, most %.1f ms", what,
           (double)t->ns[t->n / 2] / 1e6, (double)t->ns[t->n * 95 / 100] / 1e6,
           (double)t->ns[t->n - 1] / 1e6);
    if (t->rows)
        printf(" (%zu messages, %zu KiB)", t->rows, t->bytes >> 10);
    putchar('\n');
}

static json_t *
rows_of(struct sf_rest_query *q, const char *whose)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_rest_how how = {.deadline_ms = soon()};
    json_t *rows = NULL;
    if (sf_rest_select_wait(st, q, &how, &rows, NULL, &err))
        die("%s: %s", whose, err.msg);
    sf_rest_query_fini(q);
    return rows;
}

/* As a program does that knows the continuation id: its row, then its messages in their order. */
static json_t *
conversation(const char *continuation_id, char id[static 40])
{
    struct sf_rest_query q;
    sf_rest_query_init(&q, "supafs_conversations");
    sf_rest_where(&q, "continuation_id", SF_REST_EQ, continuation_id);
    sf_rest_columns(&q, "id,title,metadata");
    json_t *rows = rows_of(&q, continuation_id);
    const char *found = json_string_value(json_object_get(json_array_get(rows, 0), "id"));
    if (!found)
        die("there is no conversation %s", continuation_id);
    snprintf(id, 40, "%s", found);
    json_decref(rows);
    sf_rest_query_init(&q, "supafs_messages");
    sf_rest_where(&q, "conversation_id", SF_REST_EQ, id);
    sf_rest_columns(&q, "role,content,timestamp,metadata");
    sf_rest_order(&q, "timestamp");
    return rows_of(&q, id);
}

static void
time_reads(const char *continuation_id, size_t count)
{
    struct times t = {.n = count};
    char id[40], what[100];
    for (size_t i = 0; i < count; i++) {
        int64_t began = sf_clock_ns();
        json_t *rows = conversation(continuation_id, id);
        t.ns[i] = sf_clock_ns() - began;
        t.rows = json_array_size(rows);
        t.bytes = 0;
        for (size_t j = 0; j < t.rows; j++)
            t.bytes += json_string_length(json_object_get(json_array_get(rows, j), "content"));
        json_decref(rows);
    }
    snprintf(what, sizeof what, "read %s", continuation_id);
    tell_times(what, &t);
}

static void
time_insert(struct times *t, const char *table, json_t *row)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_rest_how how = {.deadline_ms = soon()};
    struct sf_rest_rows args = {.table = table, .rows = json_pack("[o]", row)};
    int64_t began = sf_clock_ns();
    if (sf_rest_insert_wait(st, &args, &how, NULL, &err))
        die("insert into %s: %s", table, err.msg);
    t->ns[t->n++] = sf_clock_ns() - began;
}

static void
time_rows(char **ids, const char *text, size_t count)
{
    struct times begun = {.n = 0}, messages = {.n = 0};
    char id[40], name[64];
    json_decref(conversation(ids[0], id)); /* the connection is open from now on */
    for (char **at = ids; *at; at++)
        time_reads(*at, count);
    for (size_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "new-%lld-%zu", (long long)sf_wall_ns(), i);
        time_insert(&begun, "supafs_conversations",
                    json_pack("{s:s, s:s}", "continuation_id", name, "title", "new"));
    }
    json_decref(conversation(name, id));
    for (size_t i = 0; i < count; i++)
        time_insert(
            &messages, "supafs_messages",
            json_pack("{s:s, s:s, s:s}", "conversation_id", id, "role", "user", "content", text));
    tell_times("begin a conversation", &begun);
    tell_times("add a message", &messages);
}

/* ---- as a mount does ------------------------------------------------------------------------- */

static void
time_turns(struct sf_chat_remote *r, const char *id, size_t count)
{
    struct times t = {.n = count};
    char what[100];
    for (size_t i = 0; i < count; i++) {
        struct sf_chat_read read = {.more = true};
        int64_t began = sf_clock_ns();
        t.rows = t.bytes = 0;
        while (read.more) {
            struct sf_chat_read page;
            int rc = sf_chat_remote_turns(r, id, read.cursor, NULL, soon(), &page);
            if (rc)
                die("turns of %s: %s", id, strerror(-rc));
            sf_chat_read_fini(&read);
            read = page;
            t.rows += page.turns.len;
            for (size_t j = 0; j < page.turns.len; j++)
                t.bytes += page.turns.data[j].turn.text.len;
        }
        t.ns[i] = sf_clock_ns() - began;
        sf_chat_read_fini(&read);
    }
    snprintf(what, sizeof what, "turns of %s", id);
    tell_times(what, &t);
}

static struct sf_chat_record
new_turn(enum sf_chat_kind kind, const char *text)
{
    struct sf_chat_record t = {.turn = {.kind = kind, .at_ms = sf_wall_ns() / 1000000}};
    if (sf_buf_puts(&t.turn.text, text) || sf_uuid4(t.message))
        die("no memory");
    return t;
}

static void
time_asking(struct sf_chat_remote *r, const char *id, const char *text, size_t count)
{
    struct times begun = {.n = count}, ended = {.n = count};
    sf_autofree char *cursor = NULL;
    for (size_t i = 0; i < count; i++) {
        struct sf_chat_record q = new_turn(SF_CHAT_USER, text),
                              a = new_turn(SF_CHAT_ASSISTANT, text);
        struct sf_chat_begin b = {.id = id, .question = &q, .lease_s = 30, .cursor = cursor};
        struct sf_chat_read read;
        unsigned busy_s;
        memcpy(a.to, q.message, sizeof a.to);
        int64_t at = sf_clock_ns();
        if (sf_chat_remote_begin(r, &b, soon(), &read, &busy_s) != SF_CHAT_BEGUN)
            die("a turn of %s does not begin", id);
        begun.ns[i] = sf_clock_ns() - at;
        free(sf_steal(cursor));
        sf_chat_read_fini(&read);
        at = sf_clock_ns();
        if (sf_chat_remote_end(r, id, &a, 1, soon(), &cursor))
            die("a turn of %s does not end", id);
        ended.ns[i] = sf_clock_ns() - at;
        sf_chat_record_fini(&q);
        sf_chat_record_fini(&a);
    }
    tell_times("begin a turn", &begun);
    tell_times("end a turn", &ended);
}

/* ---- in the state directory ------------------------------------------------------------------ */

static void
keep(struct sf_chat_store *store, struct sf_chat_remote *r, const char *id)
{
    struct sf_chat_read read = {.more = true};
    while (read.more) {
        struct sf_chat_read page;
        if (sf_chat_remote_turns(r, id, read.cursor, NULL, soon(), &page))
            die("turns of %s", id);
        struct sf_chat_change c = {.id = id, .turns = page.turns.data, .n_turns = page.turns.len};
        int rc = sf_chat_store_change(store, &c);
        if (rc)
            die("%s cannot be kept: %s", id, strerror(-rc));
        sf_chat_read_fini(&read);
        read = page;
    }
    sf_chat_read_fini(&read);
}

struct shown {
    struct sf_buf text;
    struct times *times;
};

static int
show(void *arg, const struct sf_chat_record *record)
{
    struct shown *s = arg;
    s->times->rows++;
    return sf_chat_print_turn(&s->text, &record->turn);
}

/* From the disk to the transcript. */
static void
time_transcript(struct sf_chat_store *store, const char *id, size_t count)
{
    struct times t = {.n = count};
    char what[100];
    for (size_t i = 0; i < count; i++) {
        struct shown s = {.times = &t};
        t.rows = 0;
        int64_t began = sf_clock_ns();
        if (sf_chat_store_turns(store, id, 0, show, &s))
            die("%s cannot be read", id);
        t.ns[i] = sf_clock_ns() - began;
        t.bytes = s.text.len;
        sf_buf_fini(&s.text);
    }
    snprintf(what, sizeof what, "transcript of %s from the state directory", id);
    tell_times(what, &t);
}

static void
time_keeping(struct sf_chat_store *store, const char *id, const char *text, size_t count)
{
    struct times begun = {.n = count}, ended = {.n = count};
    for (size_t i = 0; i < count; i++) {
        struct sf_chat_record q = new_turn(SF_CHAT_USER, text),
                              a = new_turn(SF_CHAT_ASSISTANT, text);
        struct sf_chat_change begins = {.id = id, .turns = &q, .n_turns = 1, .begins = &a};
        int64_t at = sf_clock_ns();
        int rc = sf_chat_store_change(store, &begins);
        begun.ns[i] = sf_clock_ns() - at;
        struct sf_chat_change ends = {.id = id, .turns = &a, .n_turns = 1, .ends = a.number};
        at = sf_clock_ns();
        if (rc || sf_chat_store_change(store, &ends))
            die("a turn of %s cannot be kept", id);
        ended.ns[i] = sf_clock_ns() - at;
        sf_chat_record_fini(&q);
        sf_chat_record_fini(&a);
    }
    tell_times("keep a question", &begun);
    tell_times("keep an answer", &ended);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void
time_all(const char *dir, const char *count, char **ids)
{
    const struct sf_chat_store_opts opts = {.state_dir = dir};
    struct sf_err err = SF_ERR_INIT;
    struct sf_chat_store *store;
    struct sf_chat_remote *r;
    char text[MESSAGE + 1], name[64];
    uint64_t n;
    char **last = ids;
    if (sf_parse_u64(count, &n) || !n || n > TIMES_MAX)
        die("not a count: %s", count);
    memset(text, 'x', MESSAGE);
    text[MESSAGE] = '\0';
    time_rows(ids, text, n);
    if (sf_chat_remote_new(st, NULL, "chats", &r))
        die("no memory");
    for (char **at = ids; *at; at++) {
        time_turns(r, *at, n);
        last = at;
    }
    snprintf(name, sizeof name, "asked-%lld", (long long)sf_wall_ns());
    time_asking(r, name, text, n);
    if (sf_chat_store_open(&opts, &store, &err))
        die("%s", err.msg);
    keep(store, r, *last);
    time_transcript(store, *last, n);
    time_keeping(store, *last, text, n);
    sf_chat_store_close(store);
    sf_chat_remote_free(r);
}

int
main(int argc, char **argv)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_http *http;
    struct sf_auth *auth;
    const char *url = getenv("SUPABASE_URL");
    const struct sf_auth_source src = {.kind = SF_AUTH_VALUE,
                                       .value = getenv("SUPABASE_SERVICE_ROLE_KEY"),
                                       .label = "the environment"};
    const struct sf_http_opts opts = {.backoff_min_ms = 60000, .backoff_max_ms = 60000};
    if (argc < 4 || !url || !src.value)
        die("see its head");
    if (sf_http_new(&opts, &http, &err) || sf_auth_new(&src, &auth, &err) ||
        sf_storage_new(http, auth, url, &st, &err))
        die("start: %s", err.msg);
    time_all(argv[1], argv[2], argv + 3);
    sf_http_free(http);
    sf_storage_free(st);
    sf_auth_free(auth);
    return 0;
}
