/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "chat/store-internal.h"

/* Answers and extracted texts: each row begins with the time when it was kept, lowest byte first.
 */

struct caching {
    struct sf_env_write w;
    struct sf_chat_store *st;
    enum table table;
    struct key key;
    struct sf_buf value;
};

struct row {
    struct key key;
    uint64_t at, bytes;
};
SF_VEC_DEFINE(aged, struct row);

static uint64_t
time_of(const struct sf_buf *value)
{
    uint64_t at = 0;
    for (size_t i = CACHE_HEAD; i-- > 0 && value->len >= CACHE_HEAD;)
        at = at << 8 | (unsigned char)value->data[i];
    return at;
}

static int
by_time(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* All rows of a table, and their bytes. */
static int
collect(struct sf_txn *txn, enum table table, struct aged *rows, uint64_t *bytes)
{
    struct key at = {.b = {0}, .len = 1};
    *bytes = 0;
    for (;;) {
        sf_autobuf struct sf_buf key = SF_BUF_INIT, value = SF_BUF_INIT;
        int rc = sf_txn_next(txn, table, at.b, at.len, &key, &value);
        if (rc)
            return rc == -ENOENT ? 0 : rc;
        struct row row = {.at = time_of(&value), .bytes = key.len + value.len};
        memcpy(row.key.b, key.data, key.len);
        row.key.len = key.len;
        *bytes += row.bytes;
        rc = aged_push(rows, row);
        if (rc)
            return rc;
        if (!chats_behind(&key, &at))
            return 0;
    }
}

/* The oldest go until seven eighths are left. */
static int
cut(struct sf_txn *txn, struct caching *c)
{
    struct aged rows = {.len = 0};
    uint64_t bytes = 0, room = c->st->cache_bytes - c->st->cache_bytes / 8;
    int rc = collect(txn, c->table, &rows, &bytes);
    if (!rc && rows.len)
        qsort(rows.data, rows.len, sizeof *rows.data, by_time);
    for (size_t i = 0; i < rows.len && !rc && bytes > room; i++) {
        rc = sf_txn_del(txn, c->table, rows.data[i].key.b, rows.data[i].key.len);
        bytes -= rows.data[i].bytes;
    }
    aged_fini(&rows);
    c->st->cached[c->table - T_ANSWERS] = bytes;
    return rc;
}

static int
cache_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct caching *c = (struct caching *)(void *)((char *)w - offsetof(struct caching, w));
    uint64_t *cached = &c->st->cached[c->table - T_ANSWERS];
    int rc = sf_txn_put(txn, c->table, c->key.b, c->key.len, c->value.data, c->value.len);
    /* One that took another's place counts twice until they are all looked at. */
    *cached += c->key.len + c->value.len;
    return rc || *cached <= c->st->cache_bytes ? rc : cut(txn, c);
}

static int
begin(struct caching *c)
{
    uint64_t now = (uint64_t)sf_wall_ns();
    unsigned char at[CACHE_HEAD];
    for (int i = 0; i < CACHE_HEAD; i++)
        at[i] = (unsigned char)(now >> (8 * i));
    return sf_buf_append(&c->value, at, sizeof at);
}

/* False: it is none. */
static bool
take_key(enum sf_chat_cache cache, const char *key, struct caching *c)
{
    size_t n = strnlen(key, SF_CHAT_CACHE_KEY + 1);
    c->table = T_ANSWERS + cache;
    c->key = chats_text_key(key);
    return cache < SF_CHAT_CACHES && n > 0 && n <= SF_CHAT_CACHE_KEY;
}

int
sf_chat_store_cache(struct sf_chat_store *st, enum sf_chat_cache cache, const char *key,
                    const char *value, size_t len)
{
    struct caching c = {.w.run = cache_run, .st = st};
    if (!take_key(cache, key, &c))
        return -EINVAL;
    if (len > st->cache_bytes / 2)
        return 0;
    int rc = begin(&c);
    if (!rc)
        rc = sf_buf_append(&c.value, value, len);
    if (!rc)
        rc = chats_write_wait(st, &c.w);
    sf_buf_fini(&c.value);
    return rc;
}

int
sf_chat_store_cached(struct sf_chat_store *st, enum sf_chat_cache cache, const char *key,
                     struct sf_buf *out)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    struct caching c = {.st = st};
    if (!take_key(cache, key, &c))
        return -EINVAL;
    int rc = sf_env_get(st->env, c.table, c.key.b, c.key.len, &value);
    if (!rc && value.len < CACHE_HEAD)
        rc = -ENOENT;
    return rc ? rc : sf_buf_append(out, value.data + CACHE_HEAD, value.len - CACHE_HEAD);
}
