/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/store.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "chat/store-internal.h"
#include "observe/log.h"

#define BYTES_MAX   (UINT64_C(256) << 20)
#define CACHED_MAX  (UINT64_C(64) << 20)
#define TURNS_STEP  64 /* turns that are read in one transaction, or this many bytes */
#define TURNS_BYTES (1024 * 1024)

static const char *const table_names[T_COUNT] = {
    [T_NAMES] = "names", [T_CONVERSATIONS] = "conversations",
    [T_TURNS] = "turns", [T_RUNNING] = "running",
    [T_LINE] = "line",   [T_OUTBOX] = "outbox",
    [T_SPENT] = "spent", [T_ANSWERS] = "answers",
    [T_TEXTS] = "texts",
};

/* ---- the life of it -------------------------------------------------------------------------- */

static int
add_bytes(void *arg, const void *key, size_t key_len, const void *value, size_t len)
{
    (void)key, (void)value;
    *(uint64_t *)arg += key_len + len;
    return 0;
}

static int
open_env(struct sf_chat_store *st, const char *dir, uint64_t max_bytes, struct sf_err *err)
{
    const struct sf_env_opts opts = {.dir = dir,
                                     .name = "chats-disk",
                                     .tables = table_names,
                                     .n_tables = T_COUNT,
                                     .max_bytes = max_bytes ? max_bytes : BYTES_MAX};
    int rc = sf_env_open(&opts, &st->env, err);
    if (rc)
        return rc;
    for (unsigned i = 0; i < SF_CHAT_CACHES && !rc; i++)
        rc = sf_env_walk(st->env, T_ANSWERS + i, NULL, 0, add_bytes, &st->cached[i]);
    if (!rc)
        rc = chats_recover_running(st);
    if (!rc)
        rc = chats_recover_line(st);
    if (rc == -ENOSPC) {
        sf_warn("chat", "event=chats-full dir=%s", dir); /* what is left is done another time */
        rc = 0;
    }
    if (rc) {
        sf_env_close(sf_steal(st->env));
        return sf_err_set(err, rc, "%s cannot be read: %s", dir, strerror(-rc));
    }
    return 0;
}

/* Nothing of it can be read, so another one is begun; what was told to the tables is there. */
static int
open_or_begin(struct sf_chat_store *st, const struct sf_chat_store_opts *o, struct sf_err *err)
{
    char dir[PATH_MAX], file[PATH_MAX + 16], aside[PATH_MAX + 32];
    struct sf_err why = SF_ERR_INIT;
    if (snprintf(dir, sizeof dir, "%s/chats", o->state_dir) >= (int)sizeof dir)
        return sf_err_set(err, -ENAMETOOLONG, "the name of the state directory is too long");
    int rc = open_env(st, dir, o->max_bytes, &why);
    if (rc == -EUCLEAN) {
        snprintf(file, sizeof file, "%s/data.mdb", dir);
        snprintf(aside, sizeof aside, "%s.damaged", file);
        sf_warn("chat", "event=chats-damaged reason=%s file=%s", why.msg, aside);
        why = SF_ERR_INIT;
        memset(st->cached, 0, sizeof st->cached);
        rc = rename(file, aside) < 0 ? sf_err_set(&why, -errno, "cannot rename %s: %m", file)
                                     : open_env(st, dir, o->max_bytes, &why);
    }
    if (rc && err)
        *err = why;
    return rc;
}

int
sf_chat_store_open(const struct sf_chat_store_opts *opts, struct sf_chat_store **ret,
                   struct sf_err *err)
{
    sf_autofree struct sf_chat_store *st = calloc(1, sizeof *st);
    if (!st)
        return sf_err_set(err, -ENOMEM, "no memory for conversations");
    st->cache_bytes = opts->cache_bytes ? opts->cache_bytes : CACHED_MAX;
    int rc = open_or_begin(st, opts, err);
    if (!rc)
        *ret = sf_steal(st);
    return rc;
}

void
sf_chat_store_close(struct sf_chat_store *st)
{
    if (!st)
        return;
    sf_env_close(st->env);
    free(st);
}

/* ---- names and conversations ----------------------------------------------------------------- */

int
sf_chat_store_name(struct sf_chat_store *st, const char *stem, struct sf_chat_name *out)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    if (!chats_stem_ok(stem))
        return -EINVAL;
    int rc = sf_env_get(st->env, T_NAMES, stem, strlen(stem), &value);
    return rc ? rc : chats_name_read(value.data, value.len, out) ? 0 : -ENOENT;
}

int
sf_chat_store_conversation(struct sf_chat_store *st, const char *id,
                           struct sf_chat_conversation *out)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    if (!sf_chat_id_ok(id))
        return -EINVAL;
    int rc = sf_env_get(st->env, T_CONVERSATIONS, id, strlen(id), &value);
    if (!rc)
        rc = chats_conversation_read(value.data, value.len, out);
    return rc == -EINVAL ? -ENOENT : rc;
}

struct listing {
    struct sf_buf ids; /* each with its NUL */
    unsigned left;
};

static int
list_id(void *arg, const void *key, size_t key_len, const void *value, size_t len)
{
    struct listing *l = arg;
    char id[SF_CHAT_ID_MAX + 1];
    (void)value, (void)len;
    if (key_len > SF_CHAT_ID_MAX || l->left == 0)
        return l->left == 0;
    memcpy(id, key, key_len);
    id[key_len] = '\0';
    if (strlen(id) != key_len || !sf_chat_id_ok(id))
        return 0;
    l->left--;
    return sf_buf_append(&l->ids, id, key_len + 1);
}

int
sf_chat_store_list(struct sf_chat_store *st, const char *after, unsigned max, sf_chat_id_fn fn,
                   void *arg)
{
    struct listing l = {.left = max};
    int rc =
        sf_env_walk(st->env, T_CONVERSATIONS, *after ? after : NULL, strlen(after), list_id, &l);
    rc = rc < 0 ? rc : 0;
    for (size_t at = 0; at < l.ids.len && !rc; at += strlen(l.ids.data + at) + 1)
        rc = fn(arg, l.ids.data + at);
    sf_buf_fini(&l.ids);
    return rc;
}

/* ---- turns ----------------------------------------------------------------------------------- */

SF_VEC_DEFINE(kept_vec, struct sf_chat_record);

struct reading {
    const char *id;
    struct kept_vec turns;
    size_t bytes;
    struct key last; /* the last row that was looked at */
    bool whole;      /* all of the conversation */
};

static int
read_turn(void *arg, const void *key, size_t key_len, const void *value, size_t len)
{
    struct reading *r = arg;
    struct sf_chat_record kept;
    char id[SF_CHAT_ID_MAX + 1];
    uint64_t number;
    if (key_len > sizeof r->last.b)
        return 0;
    if (!chats_number_read(key, key_len, id, &number, NULL))
        return 0;
    if (strcmp(id, r->id) != 0) {
        r->whole = true;
        return 1;
    }
    memcpy(r->last.b, key, key_len);
    r->last.len = key_len;
    int rc = chats_turn_read(value, len, &kept, NULL);
    if (rc)
        return rc == -EINVAL ? 0 : rc;
    kept.number = number;
    rc = kept_vec_push(&r->turns, kept);
    if (rc)
        sf_chat_record_fini(&kept);
    r->bytes += len;
    return rc ? rc : r->turns.len == TURNS_STEP || r->bytes >= TURNS_BYTES;
}

int
sf_chat_store_turns(struct sf_chat_store *st, const char *id, uint64_t from, sf_chat_record_fn fn,
                    void *arg)
{
    if (!sf_chat_id_ok(id))
        return -EINVAL;
    /* Behind the number before it, whether there is one or not. */
    struct reading r = {.id = id, .last = chats_number_key(id, from ? from - 1 : 0, NULL)};
    int rc = 0;
    while (!rc && !r.whole) {
        r.turns.len = 0;
        r.bytes = 0;
        rc = sf_env_walk(st->env, T_TURNS, r.last.b, r.last.len, read_turn, &r);
        r.whole = r.whole || rc == 0;
        rc = rc < 0 ? rc : 0;
        for (size_t i = 0; i < r.turns.len; i++) {
            if (!rc)
                rc = fn(arg, &r.turns.data[i]);
            sf_chat_record_fini(&r.turns.data[i]);
        }
    }
    kept_vec_fini(&r.turns);
    return rc;
}

/* ---- changes of one row ---------------------------------------------------------------------- */

struct put {
    struct sf_env_write w;
    enum table table;
    struct key key;
    const struct sf_buf *value; /* NULL = it goes */
    const char *away;           /* a conversation that is put away with it */
};

static int
put_away(struct sf_txn *txn, const char *id)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT, row = SF_BUF_INIT;
    struct sf_chat_conversation c;
    int rc = sf_txn_get(txn, T_CONVERSATIONS, id, strlen(id), &value);
    if (!rc)
        rc = chats_conversation_read(value.data, value.len, &c);
    if (rc)
        return rc == -ENOENT || rc == -EINVAL ? 0 : rc;
    c.away = true;
    rc = chats_conversation_write(&row, &c);
    sf_chat_conversation_fini(&c);
    return rc ? rc : sf_txn_put(txn, T_CONVERSATIONS, id, strlen(id), row.data, row.len);
}

static int
put_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct put *p = (struct put *)(void *)((char *)w - offsetof(struct put, w));
    int rc = p->value
                 ? sf_txn_put(txn, p->table, p->key.b, p->key.len, p->value->data, p->value->len)
                 : sf_txn_del(txn, p->table, p->key.b, p->key.len);
    if (!p->value && rc == -ENOENT)
        rc = 0;
    return rc || !p->away ? rc : put_away(txn, p->away);
}

int
sf_chat_store_set_name(struct sf_chat_store *st, const char *stem, const struct sf_chat_name *name,
                       const char *away)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    if (!chats_stem_ok(stem) || !sf_chat_id_ok(name->id) || (away && !sf_chat_id_ok(away)))
        return -EINVAL;
    struct put p = {.w = {.run = put_run, .frees = away != NULL},
                    .table = T_NAMES,
                    .key = chats_text_key(stem),
                    .value = &value,
                    .away = away};
    int rc = chats_name_write(&value, name);
    return rc ? rc : chats_write_wait(st, &p.w);
}

static int
remove_row(struct sf_chat_store *st, enum table table, uint64_t row)
{
    struct put p = {
        .w = {.run = put_run, .frees = true}, .table = table, .key = chats_time_key(row)};
    return sf_env_write_wait(st->env, &p.w);
}

int
sf_chat_store_forget(struct sf_chat_store *st, uint64_t row)
{
    return remove_row(st, T_LINE, row);
}

int
sf_chat_store_tell(struct sf_chat_store *st, uint64_t row)
{
    return remove_row(st, T_OUTBOX, row);
}

int
sf_chat_store_piece(struct sf_chat_store *st, const char *id, uint64_t number, uint32_t piece,
                    bool reasoning, const char *text, size_t len)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    if (!sf_chat_id_ok(id) || piece == 0)
        return -EINVAL;
    struct put p = {.w.run = put_run,
                    .table = T_RUNNING,
                    .key = chats_number_key(id, number, &piece),
                    .value = &value};
    int rc = sf_buf_putc(&value, reasoning ? 'r' : 'a');
    if (!rc)
        rc = sf_buf_append(&value, text, len);
    return rc ? rc : chats_write_wait(st, &p.w);
}

/* ---- drafts ---------------------------------------------------------------------------------- */

struct keeping {
    struct sf_env_write w;
    struct chats_room room;
    struct sf_env *env;
    struct sf_buf value;
    uint64_t row;
    bool is_new;
    sf_chat_draft_fn fn;
    void *arg;
};

static int
keep_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct keeping *k = (struct keeping *)(void *)((char *)w - offsetof(struct keeping, w));
    if (k->is_new)
        return chats_put_by_time(txn, T_LINE, &k->value, &k->row);
    struct key key = chats_time_key(k->row);
    return sf_txn_put(txn, T_LINE, key.b, key.len, k->value.data, k->value.len);
}

static void
keep_end(struct keeping *k, int rc)
{
    k->fn(k->arg, rc, rc ? 0 : k->row);
    sf_buf_fini(&k->value);
    free(k);
}

static void
room_done(struct sf_env_write *w, int rc)
{
    struct keeping *k = (struct keeping *)(void *)((char *)w - offsetof(struct keeping, room.w));
    if (rc || !k->room.freed)
        keep_end(k, -ENOSPC);
    else
        sf_env_submit(k->env, &k->w);
}

static void
keep_done(struct sf_env_write *w, int rc)
{
    struct keeping *k = (struct keeping *)(void *)((char *)w - offsetof(struct keeping, w));
    if (rc != -ENOSPC) {
        keep_end(k, rc);
        return;
    }
    k->room = (struct chats_room){.w = {.run = chats_room_run, .done = room_done, .frees = true}};
    sf_env_submit(k->env, &k->room.w);
}

void
sf_chat_store_draft(struct sf_chat_store *st, const struct sf_chat_draft *d, sf_chat_draft_fn fn,
                    void *arg)
{
    bool good = d->id && sf_chat_id_ok(d->id);
    struct keeping *k = good ? calloc(1, sizeof *k) : NULL;
    if (!k) {
        fn(arg, good ? -ENOMEM : -EINVAL, 0);
        return;
    }
    *k = (struct keeping){.w = {.run = keep_run, .done = keep_done},
                          .env = st->env,
                          .row = d->row,
                          .is_new = !d->row,
                          .fn = fn,
                          .arg = arg};
    int rc = chats_draft_write(&k->value, d);
    if (rc)
        keep_end(k, rc);
    else
        sf_env_submit(st->env, &k->w);
}

/* ---- the outbox, what was spent -------------------------------------------------------------- */

static int
first_told(void *arg, const void *key, size_t key_len, const void *value, size_t len)
{
    return chats_told_read(key, key_len, value, len, arg);
}

int
sf_chat_store_untold(struct sf_chat_store *st, uint64_t after, struct sf_chat_told *out)
{
    struct key k = chats_time_key(after);
    int rc = sf_env_walk(st->env, T_OUTBOX, k.b, k.len, first_told, out);
    return rc > 0 ? 0 : rc == 0 ? -ENOENT : rc;
}

struct sum {
    struct key day;
    struct sf_chat_spent spent;
};

static int
add_day(void *arg, const void *key, size_t key_len, const void *value, size_t len)
{
    struct sum *s = arg;
    struct sf_chat_spent one;
    if (key_len < s->day.len || memcmp(key, s->day.b, s->day.len) != 0)
        return 1;
    if (chats_spent_read(value, len, &one)) {
        s->spent.tokens += one.tokens;
        s->spent.price += one.price;
        s->spent.turns += one.turns;
    }
    return 0;
}

int
sf_chat_store_spent(struct sf_chat_store *st, int64_t day, const char *provider,
                    struct sf_chat_spent *out)
{
    struct sum s = {.day = chats_spent_key(day, provider)};
    int rc;
    if (provider) {
        sf_autobuf struct sf_buf value = SF_BUF_INIT;
        rc = sf_env_get(st->env, T_SPENT, s.day.b, s.day.len, &value);
        if (!rc && !chats_spent_read(value.data, value.len, &s.spent))
            s.spent = (struct sf_chat_spent){0};
        rc = rc == -ENOENT ? 0 : rc;
    } else {
        rc = sf_env_walk(st->env, T_SPENT, s.day.b, s.day.len, add_day, &s);
        rc = rc < 0 ? rc : 0;
    }
    if (!rc)
        *out = s.spent;
    return rc;
}
