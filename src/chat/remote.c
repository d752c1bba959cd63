/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define UNANSWERED 100                /* questions that are asked for at once */
#define READ_MAX   (64 * 1024 * 1024) /* bytes of a transcript */

struct sf_chat_remote {
    struct sf_functions db;
    char holder[80];
};

/* ---- the database ---------------------------------------------------------------------------- */

static bool
is_answer(int rc)
{
    switch (rc) {
    case -EINVAL: /* it is there, and does not like this one */
    case -EEXIST:
    case -EFBIG: /* nor is it of this one */
    case -ENOENT:
        return true;
    default:
        return false;
    }
}

/* Each of the functions may be called again (rule K4). */
static const struct sf_functions_how how = {
    .module = "chat", .event = "chat-tables-off", .rest_ms = 300000, .is_answer = is_answer};

int
sf_chat_remote_new(struct sf_storage *st, const struct sf_functions_peer *peer, const char *holder,
                   struct sf_chat_remote **ret)
{
    struct sf_chat_remote *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    sf_functions_init(&r->db, st, peer, &how);
    snprintf(r->holder, sizeof r->holder, "%s", holder);
    *ret = r;
    return 0;
}

void
sf_chat_remote_free(struct sf_chat_remote *r)
{
    if (!r)
        return;
    sf_functions_fini(&r->db);
    free(r);
}

const char *
sf_chat_remote_state(struct sf_chat_remote *r)
{
    return r ? sf_functions_state(&r->db) : "off";
}

/* @p: taken; NULL is -EINVAL, text in it that is no UTF-8. */
static int
ask(struct sf_chat_remote *r, const char *function, json_t *p, int64_t deadline_ms, json_t **answer)
{
    json_t *args = p ? json_pack("{s:o}", "p", p) : NULL;
    if (!args)
        return -EINVAL;
    if (r)
        return sf_functions_ask(&r->db, function, args, deadline_ms, answer);
    json_decref(args);
    return -ENOSYS;
}

/* An answer of which only a truth is asked. 1, 0, -errno. */
static int
ask_truth(struct sf_chat_remote *r, const char *function, json_t *p, int64_t deadline_ms,
          const char *member)
{
    json_t *answer = NULL;
    int rc = ask(r, function, p, deadline_ms, &answer);
    const json_t *said = json_object_get(answer, member);
    if (!rc)
        rc = json_is_boolean(said) ? json_is_true(said) : sf_functions_odd(&r->db, function);
    json_decref(answer);
    return rc;
}

/* ---- finding --------------------------------------------------------------------------------- */

void
sf_chat_found_fini(struct sf_chat_found *f)
{
    free(f->title);
    free(f->bucket);
    free(f->key);
    free(f->provider);
    *f = (struct sf_chat_found){.generation = 0};
}

static int
take_text(const json_t *o, const char *name, size_t max, char **ret)
{
    const char *text = json_string_value(json_object_get(o, name));
    if (!text || !*text || strlen(text) > max)
        return 0;
    *ret = strdup(text);
    return *ret ? 0 : -ENOMEM;
}

/* The number behind the stem, 0 = there is none. */
static uint64_t
generation_of(const char *id, const char *stem)
{
    size_t n = stem ? strlen(stem) : 0;
    char *end;
    if (!stem || strncmp(id, stem, n) != 0 || id[n] != '-')
        return 0;
    errno = 0;
    unsigned long long number = strtoull(id + n + 1, &end, 10);
    return errno || *end || end == id + n + 1 || number > INT64_MAX ? 0 : number;
}

/* 0, -EINVAL it is no conversation, -ENOMEM. */
static int
take_found(const json_t *o, const char *stem, struct sf_chat_found *f)
{
    const json_t *about = json_object_get(o, "about");
    const char *id = json_string_value(json_object_get(o, "id"));
    const char *updated = json_string_value(json_object_get(o, "updated"));
    int64_t ns;
    if (!id || !sf_chat_id_ok(id))
        return -EINVAL;
    snprintf(f->id, sizeof f->id, "%s", id);
    f->generation = generation_of(id, stem);
    f->closed = json_is_true(json_object_get(o, "closed"));
    if (updated && !sf_time_parse(updated, &ns))
        f->updated_ms = ns / 1000000;
    int rc = take_text(o, "title", 1024, &f->title);
    if (!rc)
        rc = take_text(about, "bucket", 100, &f->bucket);
    if (!rc)
        rc = take_text(about, "key", 1024, &f->key);
    return rc ? rc : take_text(about, "provider", 64, &f->provider);
}

int
sf_chat_remote_find(struct sf_chat_remote *r, const char *stem, const char *id, int64_t deadline_ms,
                    struct sf_chat_found *out)
{
    struct sf_chat_found f = {.generation = 0};
    json_t *answer = NULL;
    int rc = ask(r, "supafs_chat_find", json_pack("{s:s}", stem ? "stem" : "id", stem ? stem : id),
                 deadline_ms, &answer);
    const json_t *found = json_object_get(answer, "conversation");
    if (!rc && json_is_null(found))
        rc = -ENOENT;
    else if (!rc)
        rc = take_found(found, stem, &f);
    if (rc == -EINVAL && answer)
        rc = sf_functions_odd(&r->db, "supafs_chat_find");
    json_decref(answer);
    if (rc) {
        sf_chat_found_fini(&f);
        return rc;
    }
    *out = f;
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

void
sf_chat_read_fini(struct sf_chat_read *read)
{
    sf_chat_records_free(&read->turns);
    free(read->cursor);
    *read = (struct sf_chat_read){.more = false};
}

/* Rows that are none are passed over, but for the row of one's own question. */
static int
take_rows(const json_t *rows, const char *but, struct sf_chat_read *out)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        const char *id = json_string_value(json_object_get(row, "id"));
        if (but && id && !strcmp(id, but))
            continue;
        int rc = sf_chat_row_read(row, &out->turns);
        if (rc == -ENOMEM)
            return rc;
    }
    return 0;
}

/* 0; -EINVAL it is no page; -ENOMEM. */
static int
take_page(const json_t *answer, const char *but, struct sf_chat_read *out)
{
    const json_t *turns = json_object_get(answer, "turns");
    const json_t *cursor = json_object_get(answer, "cursor");
    const json_t *more = json_object_get(answer, "more");
    const char *text = json_string_value(cursor);
    if (!json_is_array(turns) || !json_is_boolean(more) || (!text && !json_is_null(cursor)) ||
        (json_is_true(more) && (!text || !json_array_size(turns))))
        return -EINVAL;
    sf_autofree char *copy = text ? strdup(text) : NULL;
    if (text && !copy)
        return -ENOMEM;
    int rc = take_rows(json_object_get(answer, "late"), but, out);
    if (!rc)
        rc = take_rows(turns, but, out);
    if (rc)
        return rc;
    free(out->cursor);
    out->cursor = sf_steal(copy);
    out->more = json_is_true(more);
    return 0;
}

/* Appends a page. */
static int
read_page(struct sf_chat_remote *r, const char *id, const char *cursor,
          const struct sf_chat_ids *unanswered, const char *but, int64_t deadline_ms,
          struct sf_chat_read *out)
{
    json_t *answer = NULL, *p = json_pack("{s:s, s:s*}", "id", id, "after", cursor);
    json_t *list = unanswered && unanswered->len && cursor ? json_array() : NULL;
    for (size_t i = 0; list && i < unanswered->len && i < UNANSWERED; i++)
        json_array_append_new(list, json_string(unanswered->data[i]));
    if (list)
        json_object_set_new(p, "unanswered", list);
    int rc = ask(r, "supafs_chat_turns", p, deadline_ms, &answer);
    if (!rc && (rc = take_page(answer, but, out)) == -EINVAL)
        rc = sf_functions_odd(&r->db, "supafs_chat_turns");
    json_decref(answer);
    return rc;
}

int
sf_chat_remote_turns(struct sf_chat_remote *r, const char *id, const char *cursor,
                     const struct sf_chat_ids *unanswered, int64_t deadline_ms,
                     struct sf_chat_read *out)
{
    struct sf_chat_read read = {.more = false};
    int rc = read_page(r, id, cursor, unanswered, NULL, deadline_ms, &read);
    if (rc) {
        sf_chat_read_fini(&read);
        return rc;
    }
    *out = read;
    return 0;
}

static bool
is_too_much(const struct sf_chat_read *read)
{
    size_t bytes = 0;
    for (size_t i = 0; i < read->turns.len; i++)
        bytes += read->turns.data[i].turn.text.len + 64;
    return bytes > READ_MAX;
}

/* ---- a turn ---------------------------------------------------------------------------------- */

static json_t *
about_json(const struct sf_chat_about *a)
{
    return json_pack("{s:s*, s:I, s:s*, s:s*, s:s*}", "stem", a->stem, "generation",
                     (json_int_t)a->generation, "bucket", a->bucket, "key", a->key, "provider",
                     a->provider);
}

static json_t *
begin_json(struct sf_chat_remote *r, const struct sf_chat_begin *b)
{
    json_t *content = NULL, *metadata = NULL, *about = about_json(&b->about);
    if (!r || !about || sf_chat_row_write(b->question, 1, &content, &metadata)) {
        json_decref(about);
        return NULL;
    }
    const char *file = b->file_id && *b->file_id ? b->file_id : NULL;
    const char *title = b->title && *b->title ? b->title : NULL;
    json_t *p =
        json_pack("{s:s, s:s*, s:o, s:s*, s:s, s:o, s:o, s:s, s:s*}", "id", b->id, "title", title,
                  "about", about, "file_id", file, "message", b->question->message, "content",
                  content, "metadata", metadata, "holder", r->holder, "after", b->cursor);
    if (p && b->lease_s && json_object_set_new(p, "lease_s", json_integer(b->lease_s))) {
        json_decref(p);
        return NULL;
    }
    return p;
}

/* enum sf_chat_began, or -errno. */
static int
take_began(const json_t *answer, const char *own, struct sf_chat_read *out, unsigned *busy_s)
{
    const json_t *busy = json_object_get(answer, "busy");
    if (json_is_true(json_object_get(answer, "closed")))
        return SF_CHAT_CLOSED;
    if (json_is_integer(busy)) {
        json_int_t s = json_integer_value(busy);
        *busy_s = s < 1 ? 1 : s > 3600 ? 3600 : (unsigned)s;
        return SF_CHAT_BUSY;
    }
    int rc = take_page(answer, own, out);
    return rc ? rc : out->cursor ? SF_CHAT_BEGUN : -EINVAL;
}

int
sf_chat_remote_begin(struct sf_chat_remote *r, const struct sf_chat_begin *begin,
                     int64_t deadline_ms, struct sf_chat_read *out, unsigned *busy_s)
{
    struct sf_chat_read read = {.more = false};
    const char *own = begin->question->message;
    json_t *answer = NULL;
    if (!r)
        return -ENOSYS;
    int rc = ask(r, "supafs_chat_begin", begin_json(r, begin), deadline_ms, &answer);
    if (!rc && (rc = take_began(answer, own, &read, busy_s)) == -EINVAL)
        rc = sf_functions_odd(&r->db, "supafs_chat_begin");
    json_decref(answer);
    /* What did not fit, up to the question; the lease is ours meanwhile. */
    while (rc == SF_CHAT_BEGUN && read.more) {
        sf_autofree char *cursor = sf_steal(read.cursor);
        int more = is_too_much(&read)
                       ? -EFBIG
                       : read_page(r, begin->id, cursor, NULL, own, deadline_ms, &read);
        rc = more ? more : rc;
    }
    if (rc != SF_CHAT_BEGUN) {
        sf_chat_read_fini(&read);
        return rc;
    }
    *out = read;
    return rc;
}

int
sf_chat_remote_lease(struct sf_chat_remote *r, const char *id, unsigned lease_s,
                     int64_t deadline_ms)
{
    if (!r)
        return -ENOSYS;
    return ask_truth(
        r, "supafs_chat_lease",
        json_pack("{s:s, s:s, s:i}", "id", id, "holder", r->holder, "lease_s", (int)lease_s),
        deadline_ms, "held");
}

/* The turn that has the row's ids. */
static const struct sf_chat_record *
row_of(const struct sf_chat_record *turns, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (turns[i].turn.kind == SF_CHAT_ASSISTANT)
            return &turns[i];
    return n ? &turns[n - 1] : NULL;
}

int
sf_chat_remote_end(struct sf_chat_remote *r, const char *id, const struct sf_chat_record *turns,
                   size_t n, int64_t deadline_ms, char **cursor)
{
    const struct sf_chat_record *row = row_of(turns, n);
    json_t *content = NULL, *metadata = NULL, *answer = NULL;
    if (!r)
        return -ENOSYS;
    int rc = row ? sf_chat_row_write(turns, n, &content, &metadata) : -EINVAL;
    if (rc)
        return rc;
    rc = ask(r, "supafs_chat_end",
             json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "id", id, "holder", r->holder, "to",
                       row->to, "message", row->message, "content", content, "metadata", metadata),
             deadline_ms, &answer);
    const char *text = json_string_value(json_object_get(answer, "cursor"));
    char *copy = text ? strdup(text) : NULL;
    if (!rc && !copy)
        rc = text ? -ENOMEM : sf_functions_odd(&r->db, "supafs_chat_end");
    json_decref(answer);
    if (!rc)
        *cursor = copy;
    else
        free(copy);
    return rc;
}

int
sf_chat_remote_close(struct sf_chat_remote *r, const char *id, int64_t deadline_ms)
{
    int rc = ask_truth(r, "supafs_chat_close", json_pack("{s:s}", "id", id), deadline_ms, "closed");
    return rc < 0 ? rc : rc ? 0 : -ENOENT;
}
