/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/ids.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/str.h"
#include "observe/log.h"
#include "store/env.h"

enum table {
    T_CONTENTS, /* content -> row */
    T_IDS,      /* provider, account, id -> content */
    T_INTENTS,  /* content -> row without an id */
    T_HASHES,   /* digest of an object's version -> SHA-256 */
    T_NAMES,    /* content, digest of a name -> name */
    T_COUNT
};
static const char *const table_names[T_COUNT] = {[T_CONTENTS] = "contents",
                                                 [T_IDS] = "ids",
                                                 [T_INTENTS] = "intents",
                                                 [T_HASHES] = "hashes",
                                                 [T_NAMES] = "names"};

#define BYTES_MAX  (64 * 1024 * 1024)
#define HASHES_MAX 65536
#define DIGEST     32

struct sf_ids {
    struct sf_env *env;
    int64_t max_hashes;
    /* About how many rows T_HASHES has; on the environment's thread only. A transaction that is
     * done again counts twice, which the next start puts right. */
    int64_t hashes;
};

struct key {
    unsigned char b[SF_ENV_KEY_MAX];
    size_t len;
};

/* ---- keys ------------------------------------------------------------------------------------ */

static bool
add_text(struct key *k, const char *text, size_t max)
{
    size_t n = strnlen(text, max);
    if (n == 0 || n == max || k->len + n + 1 > sizeof k->b)
        return false;
    memcpy(k->b + k->len, text, n + 1);
    k->len += n + 1;
    return true;
}

static int
content_key(const struct sf_id_key *key, struct key *k)
{
    k->len = 0;
    if (!add_text(k, key->provider, sizeof key->provider) ||
        !add_text(k, key->account, sizeof key->account) ||
        !add_text(k, key->purpose, sizeof key->purpose) || strnlen(key->sha256, 65) != 64 ||
        sf_hex_decode(key->sha256, 64, k->b + k->len))
        return -EINVAL;
    k->len += DIGEST;
    return 0;
}

static bool
take_text(const char **at, const char *end, char *out, size_t room)
{
    size_t n = strnlen(*at, (size_t)(end - *at));
    if (n == 0 || n >= room || *at + n >= end)
        return false;
    memcpy(out, *at, n + 1);
    *at += n + 1;
    return true;
}

/* False: damaged. */
static bool
key_of(const void *b, size_t len, struct sf_id_key *out)
{
    const char *at = b, *end = at + len;
    if (!take_text(&at, end, out->provider, sizeof out->provider) ||
        !take_text(&at, end, out->account, sizeof out->account) ||
        !take_text(&at, end, out->purpose, sizeof out->purpose) || end - at != DIGEST)
        return false;
    sf_hex_encode(at, DIGEST, out->sha256);
    return true;
}

static int
id_key(const char *provider, const char *account, const char *id, struct key *k)
{
    k->len = 0;
    return add_text(k, provider, 33) && add_text(k, account, 65) && sf_provider_id_ok(id) &&
                   add_text(k, id, SF_PROVIDER_ID_MAX + 1)
               ? 0
               : -EINVAL;
}

/* Names have no bound that fits a key, so their digest is it. */
static int
object_key(const struct sf_id_object *o, unsigned char out[DIGEST])
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    if (!o->version || !*o->version)
        return -EINVAL;
    if (sf_buf_append(&text, o->bucket, strlen(o->bucket) + 1) ||
        sf_buf_append(&text, o->key, strlen(o->key) + 1) ||
        sf_buf_append(&text, o->version, strlen(o->version) + 1) ||
        sf_buf_printf(&text, "%llu", (unsigned long long)o->size))
        return -ENOMEM;
    return EVP_Digest(text.data, text.len, out, NULL, EVP_sha256(), NULL) == 1 ? 0 : -ENOMEM;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static char *
row_text(const struct sf_id_row *row)
{
    json_t *o =
        json_pack("{s:s, s:s, s:I, s:I, s:I, s:b}", "id", row->id, "filename", row->filename,
                  "bytes", (json_int_t)row->bytes, "created", (json_int_t)row->created_s,
                  "believed_until", (json_int_t)row->believed_until_s, "ours", row->ours);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    return text;
}

/* False: damaged. */
static bool
row_of(const void *text, size_t len, bool has_id, struct sf_id_row *out)
{
    struct sf_id_row row = {.bytes = 0};
    const char *id, *filename;
    json_int_t bytes, created, believed;
    int ours;
    json_t *o = json_loadb(text, len, 0, NULL);
    bool good =
        o &&
        json_unpack(o, "{s:s, s:s, s:I, s:I, s:I, s:b}", "id", &id, "filename", &filename, "bytes",
                    &bytes, "created", &created, "believed_until", &believed, "ours", &ours) == 0 &&
        (has_id ? sf_provider_id_ok(id) : !*id) && bytes >= 0 && created >= 0 && believed >= 0 &&
        strlen(filename) < sizeof row.filename;
    if (good) {
        snprintf(row.id, sizeof row.id, "%s", id);
        snprintf(row.filename, sizeof row.filename, "%s", filename);
        row.bytes = (uint64_t)bytes;
        row.created_s = created;
        row.believed_until_s = believed;
        row.ours = ours;
        *out = row;
    }
    json_decref(o);
    return good;
}

int
sf_ids_get(struct sf_ids *ids, const struct sf_id_key *key, struct sf_id_row *out)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    struct key k;
    int rc = content_key(key, &k);
    if (!rc)
        rc = sf_env_get(ids->env, T_CONTENTS, k.b, k.len, &text);
    if (!rc && !row_of(text.data, text.len, true, out))
        rc = -ENOENT;
    return rc;
}

int
sf_ids_find(struct sf_ids *ids, const char *provider, const char *account, const char *id,
            struct sf_id_key *out)
{
    sf_autobuf struct sf_buf content = SF_BUF_INIT;
    struct sf_id_key key;
    struct sf_id_row row;
    struct key k;
    int rc = id_key(provider, account, id, &k);
    if (!rc)
        rc = sf_env_get(ids->env, T_IDS, k.b, k.len, &content);
    if (!rc && !key_of(content.data, content.len, &key))
        rc = -ENOENT;
    if (!rc)
        rc = sf_ids_get(ids, &key, &row);
    if (!rc && strcmp(row.id, id) != 0)
        rc = -ENOENT;
    if (!rc)
        *out = key;
    return rc;
}

/* ---- changes --------------------------------------------------------------------------------- */

struct change {
    struct sf_env_write w;
    struct sf_ids *ids;
    struct key content, id;
    const char *text;
    const unsigned char *object, *digest;
};

static struct change *
change_of(struct sf_env_write *w)
{
    return (struct change *)(void *)((char *)w - offsetof(struct change, w));
}

static int
gone(int rc)
{
    return rc == -ENOENT ? 0 : rc;
}

/* The id that a content had goes from the ids; @k: provider and account of both are the same. */
static int
del_old_id(struct sf_txn *txn, const struct key *content)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    struct sf_id_key key;
    struct sf_id_row old;
    struct key k;
    int rc = sf_txn_get(txn, T_CONTENTS, content->b, content->len, &text);
    if (rc)
        return gone(rc);
    if (!row_of(text.data, text.len, true, &old) || !key_of(content->b, content->len, &key) ||
        id_key(key.provider, key.account, old.id, &k))
        return 0;
    return gone(sf_txn_del(txn, T_IDS, k.b, k.len));
}

/* Whether the row of a content has this id. */
static bool
is_id_of(struct sf_txn *txn, const struct sf_buf *content, const struct key *id)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    struct sf_id_key key;
    struct sf_id_row row;
    struct key k;
    return key_of(content->data, content->len, &key) &&
           sf_txn_get(txn, T_CONTENTS, content->data, content->len, &text) == 0 &&
           row_of(text.data, text.len, true, &row) &&
           id_key(key.provider, key.account, row.id, &k) == 0 && k.len == id->len &&
           memcmp(k.b, id->b, k.len) == 0;
}

/* An id is of one content: another one that had it loses it. */
static int
del_other_content(struct sf_txn *txn, const struct change *c)
{
    sf_autobuf struct sf_buf content = SF_BUF_INIT;
    int rc = sf_txn_get(txn, T_IDS, c->id.b, c->id.len, &content);
    if (rc)
        return gone(rc);
    if (!is_id_of(txn, &content, &c->id))
        return 0;
    return gone(sf_txn_del(txn, T_CONTENTS, content.data, content.len));
}

static int
put_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct change *c = change_of(w);
    int rc = del_old_id(txn, &c->content);
    if (!rc)
        rc = del_other_content(txn, c);
    if (!rc)
        rc = sf_txn_put(txn, T_CONTENTS, c->content.b, c->content.len, c->text, strlen(c->text));
    if (!rc)
        rc = sf_txn_put(txn, T_IDS, c->id.b, c->id.len, c->content.b, c->content.len);
    return rc ? rc : gone(sf_txn_del(txn, T_INTENTS, c->content.b, c->content.len));
}

int
sf_ids_put(struct sf_ids *ids, const struct sf_id_key *key, const struct sf_id_row *row)
{
    struct change c = {.w.run = put_run};
    int rc = content_key(key, &c.content);
    if (!rc)
        rc = id_key(key->provider, key->account, row->id, &c.id);
    if (rc)
        return rc;
    sf_autofree char *text = row_text(row);
    if (!text)
        return sf_utf8_valid(row->filename, strlen(row->filename)) ? -ENOMEM : -EINVAL;
    c.text = text;
    return sf_env_write_wait(ids->env, &c.w);
}

/* The next name of a content, from *at on. */
static int
next_name(struct sf_txn *txn, const struct sf_buf *content, const struct sf_buf *at,
          struct sf_buf *found)
{
    int rc = sf_txn_next(txn, T_NAMES, at->data, at->len, found, NULL);
    if (!rc && (found->len != content->len + DIGEST ||
                memcmp(found->data, content->data, content->len) != 0))
        rc = -ENOENT;
    return rc;
}

static int
del_names(struct sf_txn *txn, const struct sf_buf *content)
{
    for (;;) {
        sf_autobuf struct sf_buf found = SF_BUF_INIT;
        int rc = next_name(txn, content, content, &found);
        if (!rc)
            rc = sf_txn_del(txn, T_NAMES, found.data, found.len);
        if (rc)
            return gone(rc);
    }
}

static int
drop_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct change *c = change_of(w);
    sf_autobuf struct sf_buf content = SF_BUF_INIT;
    int rc = sf_txn_get(txn, T_IDS, c->id.b, c->id.len, &content);
    if (!rc)
        rc = sf_txn_del(txn, T_IDS, c->id.b, c->id.len);
    if (!rc && is_id_of(txn, &content, &c->id)) {
        rc = gone(sf_txn_del(txn, T_CONTENTS, content.data, content.len));
        if (!rc)
            rc = del_names(txn, &content);
    }
    return rc;
}

int
sf_ids_drop(struct sf_ids *ids, const char *provider, const char *account, const char *id)
{
    struct change c = {.w = {.run = drop_run, .frees = true}};
    int rc = id_key(provider, account, id, &c.id);
    return rc ? rc : sf_env_write_wait(ids->env, &c.w);
}

static int
intend_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct change *c = change_of(w);
    return c->text
               ? sf_txn_put(txn, T_INTENTS, c->content.b, c->content.len, c->text, strlen(c->text))
               : gone(sf_txn_del(txn, T_INTENTS, c->content.b, c->content.len));
}

int
sf_ids_intend(struct sf_ids *ids, const struct sf_id_key *key, const struct sf_id_row *row)
{
    struct change c = {.w.run = intend_run};
    struct sf_id_row without = *row;
    int rc = content_key(key, &c.content);
    if (rc)
        return rc;
    without.id[0] = '\0';
    sf_autofree char *text = row_text(&without);
    if (!text)
        return sf_utf8_valid(row->filename, strlen(row->filename)) ? -ENOMEM : -EINVAL;
    c.text = text;
    return sf_env_write_wait(ids->env, &c.w);
}

int
sf_ids_intent_end(struct sf_ids *ids, const struct sf_id_key *key)
{
    struct change c = {.w = {.run = intend_run, .frees = true}};
    int rc = content_key(key, &c.content);
    return rc ? rc : sf_env_write_wait(ids->env, &c.w);
}

int
sf_ids_intent(struct sf_ids *ids, const struct sf_id_key *key, struct sf_id_row *out)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    struct key k;
    int rc = content_key(key, &k);
    if (!rc)
        rc = sf_env_get(ids->env, T_INTENTS, k.b, k.len, &text);
    if (!rc && !row_of(text.data, text.len, false, out))
        rc = -ENOENT;
    return rc;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* One that says that there were more than are kept. */
static const unsigned char more_names[DIGEST] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

struct name_change {
    struct sf_env_write w;
    struct key content, name;
    char *text;
};

static struct name_change *
name_change_of(struct sf_env_write *w)
{
    return (struct name_change *)(void *)((char *)w - offsetof(struct name_change, w));
}

static int
name_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct name_change *c = name_change_of(w);
    const struct sf_buf content = {.data = (char *)c->content.b, .len = c->content.len};
    struct key at = c->content, *put = &c->name;
    sf_autobuf struct sf_buf before = SF_BUF_INIT;
    int n = 0, rc = sf_txn_get(txn, T_NAMES, put->b, put->len, &before);
    while (rc == -ENOENT && n <= SF_ID_NAMES) {
        const struct sf_buf from = {.data = (char *)at.b, .len = at.len};
        sf_autobuf struct sf_buf found = SF_BUF_INIT;
        if (next_name(txn, &content, &from, &found))
            break;
        memcpy(at.b, found.data, found.len);
        at.len = found.len;
        at.b[at.len++] = 0; /* behind it */
        n++;
    }
    if (n >= SF_ID_NAMES) {
        memcpy(put->b + c->content.len, more_names, DIGEST);
        return sf_txn_put(txn, T_NAMES, put->b, put->len, "", 1);
    }
    return sf_txn_put(txn, T_NAMES, put->b, put->len, c->text, strlen(c->text));
}

static void
name_done(struct sf_env_write *w, int rc)
{
    struct name_change *c = name_change_of(w);
    if (rc)
        sf_debug("provider", "event=name-not-noted reason=%s", sf_errno_name(rc));
    free(c->text);
    free(c);
}

static int
name_key(const struct sf_id_key *key, const struct sf_id_name *name, struct key *content,
         struct key *out)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    int rc = content_key(key, content);
    if (rc)
        return rc;
    if (sf_buf_append(&text, name->bucket, strlen(name->bucket) + 1) ||
        sf_buf_append(&text, name->key, strlen(name->key) + 1))
        return -ENOMEM;
    *out = *content;
    if (EVP_Digest(text.data, text.len, out->b + out->len, NULL, EVP_sha256(), NULL) != 1)
        return -ENOMEM;
    out->len += DIGEST;
    return 0;
}

void
sf_ids_name(struct sf_ids *ids, const struct sf_id_key *key, const struct sf_id_name *name)
{
    struct name_change *c = calloc(1, sizeof *c);
    json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "bucket", name->bucket, "key", name->key, "id",
                          name->id, "etag", name->etag);
    sf_autobuf struct sf_buf before = SF_BUF_INIT;
    if (c && o)
        c->text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    if (!c || !c->text || name_key(key, name, &c->content, &c->name) ||
        (sf_env_get(ids->env, T_NAMES, c->name.b, c->name.len, &before) == 0 &&
         strcmp(sf_buf_str(&before), c->text) == 0)) {
        if (c)
            free(c->text);
        free(c);
        return;
    }
    c->w = (struct sf_env_write){.run = name_run, .done = name_done, .lazy = true};
    sf_env_submit(ids->env, &c->w);
}

struct names {
    const struct key *content;
    struct sf_id_name *out;
    int n;
};

static void
take_name(const json_t *o, const char *member, char *out, size_t room)
{
    const char *text = json_string_value(json_object_get(o, member));
    snprintf(out, room, "%s", text && strlen(text) < room ? text : "");
}

static int
names_row(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct names *names = arg;
    const struct key *c = names->content;
    if (key_len != c->len + DIGEST || memcmp(key, c->b, c->len) != 0)
        return 1;
    if (names->n == SF_ID_NAMES || memcmp((const char *)key + c->len, more_names, DIGEST) == 0)
        return -E2BIG;
    json_t *o = json_loadb(value, value_len, 0, NULL);
    struct sf_id_name *out = &names->out[names->n];
    take_name(o, "bucket", out->bucket, sizeof out->bucket);
    take_name(o, "key", out->key, sizeof out->key);
    take_name(o, "id", out->id, sizeof out->id);
    take_name(o, "etag", out->etag, sizeof out->etag);
    names->n += out->bucket[0] && out->key[0];
    json_decref(o);
    return 0;
}

int
sf_ids_names(struct sf_ids *ids, const struct sf_id_key *key, struct sf_id_name out[SF_ID_NAMES])
{
    struct key content;
    struct names names = {.content = &content, .out = out};
    int rc = content_key(key, &content);
    if (!rc)
        rc = sf_env_walk(ids->env, T_NAMES, content.b, content.len, names_row, &names);
    return rc < 0 ? rc : names.n;
}

/* ---- walks ----------------------------------------------------------------------------------- */

#define PAGE 64

struct entry {
    struct sf_id_key key;
    struct sf_id_row row;
};

struct page {
    bool has_id;
    struct entry all[PAGE];
    size_t n;
    struct key last;
};

static int
page_row(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct page *p = arg;
    struct entry *e = &p->all[p->n];
    memcpy(p->last.b, key, key_len);
    p->last.len = key_len;
    if (key_of(key, key_len, &e->key) && row_of(value, value_len, p->has_id, &e->row))
        p->n++;
    return p->n < PAGE ? 0 : 1;
}

/* In pages, so that the caller may take as long as it likes. */
static int
each(struct sf_ids *ids, enum table table, sf_ids_fn fn, void *arg)
{
    sf_autofree struct page *p = calloc(1, sizeof *p);
    int more = 1;
    if (!p)
        return -ENOMEM;
    p->has_id = table == T_CONTENTS;
    while (more == 1) {
        p->n = 0;
        more =
            sf_env_walk(ids->env, table, p->last.len ? p->last.b : NULL, p->last.len, page_row, p);
        for (size_t i = 0; more >= 0 && i < p->n; i++) {
            int rc = fn(arg, &p->all[i].key, &p->all[i].row);
            if (rc)
                return rc;
        }
    }
    return more;
}

int
sf_ids_each(struct sf_ids *ids, sf_ids_fn fn, void *arg)
{
    return each(ids, T_CONTENTS, fn, arg);
}

struct counting {
    const char *provider;
    uint64_t n;
};

static int
count_of_provider(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct counting *c = arg;
    size_t n = strlen(c->provider) + 1;
    (void)value, (void)value_len;
    if (key_len < n || memcmp(key, c->provider, n) != 0)
        return 1;
    c->n++;
    return 0;
}

uint64_t
sf_ids_count(struct sf_ids *ids, const char *provider)
{
    struct counting c = {.provider = provider};
    (void)sf_env_walk(ids->env, T_IDS, provider, strlen(provider) + 1, count_of_provider, &c);
    return c.n;
}

int
sf_ids_intents(struct sf_ids *ids, sf_ids_fn fn, void *arg)
{
    return each(ids, T_INTENTS, fn, arg);
}

/* ---- hashes ---------------------------------------------------------------------------------- */

int
sf_ids_hash(struct sf_ids *ids, const struct sf_id_object *object, char out[65])
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    unsigned char k[DIGEST];
    int rc = object_key(object, k);
    if (!rc)
        rc = sf_env_get(ids->env, T_HASHES, k, sizeof k, &value);
    if (!rc && value.len != DIGEST)
        rc = -ENOENT;
    if (!rc)
        sf_hex_encode(value.data, DIGEST, out);
    return rc;
}

/* One goes that comes behind a key of chance. */
static int
del_some_hash(struct sf_txn *txn)
{
    unsigned char k[DIGEST] = {0};
    sf_autobuf struct sf_buf found = SF_BUF_INIT;
    int rc = sf_random_bytes(k, sizeof k);
    if (!rc && (rc = sf_txn_next(txn, T_HASHES, k, sizeof k, &found, NULL)) == -ENOENT)
        rc = sf_txn_next(txn, T_HASHES, "", 1, &found, NULL);
    return rc ? rc : sf_txn_del(txn, T_HASHES, found.data, found.len);
}

static int
hash_run(struct sf_env_write *w, struct sf_txn *txn)
{
    struct change *c = change_of(w);
    sf_autobuf struct sf_buf before = SF_BUF_INIT;
    int rc = sf_txn_get(txn, T_HASHES, c->object, DIGEST, &before);
    if (rc == -ENOENT && c->ids->hashes >= c->ids->max_hashes)
        rc = gone(del_some_hash(txn));
    else if (rc == -ENOENT)
        rc = 0, c->ids->hashes++;
    return rc ? rc : sf_txn_put(txn, T_HASHES, c->object, DIGEST, c->digest, DIGEST);
}

int
sf_ids_hash_put(struct sf_ids *ids, const struct sf_id_object *object, const char *sha256)
{
    unsigned char k[DIGEST], digest[DIGEST];
    struct change c = {.w = {.run = hash_run}, .ids = ids, .object = k, .digest = digest};
    int rc = object_key(object, k);
    if (!rc && (strlen(sha256) != 64 || sf_hex_decode(sha256, 64, digest)))
        rc = -EINVAL;
    if (!rc)
        rc = sf_env_write_wait(ids->env, &c.w);
    return rc;
}

static int
count_row(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    (void)key, (void)key_len, (void)value, (void)value_len;
    ++*(int64_t *)arg;
    return 0;
}

/* ---- start and end --------------------------------------------------------------------------- */

static int
open_env(struct sf_ids *ids, const struct sf_ids_opts *o, struct sf_err *err)
{
    const struct sf_env_opts opts = {.dir = o->dir,
                                     .name = "provider-ids",
                                     .tables = table_names,
                                     .n_tables = T_COUNT,
                                     .max_bytes = o->max_bytes ? o->max_bytes : BYTES_MAX};
    int64_t hashes = 0;
    int rc = sf_env_open(&opts, &ids->env, err);
    if (!rc && (rc = sf_env_walk(ids->env, T_HASHES, NULL, 0, count_row, &hashes))) {
        sf_env_close(sf_steal(ids->env));
        rc = sf_err_set(err, rc, "%s cannot be read: %s", o->dir, strerror(-rc));
    }
    ids->hashes = hashes;
    ids->max_hashes = o->max_hashes ? o->max_hashes : HASHES_MAX;
    return rc;
}

int
sf_ids_open(const struct sf_ids_opts *opts, struct sf_ids **ret, struct sf_err *err)
{
    struct sf_err why = SF_ERR_INIT;
    struct sf_ids *ids = calloc(1, sizeof *ids);
    if (!ids)
        return sf_err_set(err, -ENOMEM, "no memory");
    int rc = open_env(ids, opts, &why);
    if (rc == -EUCLEAN) {
        sf_warn("provider", "event=ids-damaged reason=%s file=%s/data.mdb.damaged", why.msg,
                opts->dir);
        why = SF_ERR_INIT;
        rc = sf_env_put_aside(opts->dir, &why);
        if (!rc)
            rc = open_env(ids, opts, &why);
    }
    if (rc && err)
        *err = why;
    if (rc)
        free(ids);
    else
        *ret = ids;
    return rc;
}

void
sf_ids_close(struct sf_ids *ids)
{
    if (!ids)
        return;
    sf_env_close(ids->env);
    free(ids);
}
