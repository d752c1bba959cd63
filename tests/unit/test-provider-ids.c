/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/ids.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "store/env.h"

/* Ids, intents and hashes are there after the end of a process, and damage is as if there was
 * nothing. */

static char dir[64];
static struct sf_ids *ids;
static unsigned max_hashes;

static void
reopen(void)
{
    struct sf_err err = SF_ERR_INIT;
    const struct sf_ids_opts o = {.dir = dir, .max_bytes = 4 << 20, .max_hashes = max_hashes};
    sf_ids_close(ids);
    ids = NULL;
    if (sf_ids_open(&o, &ids, &err))
        fail_msg("%s", err.msg);
}

static int
setup(void **state)
{
    (void)state;
    max_hashes = 0;
    snprintf(dir, sizeof dir, "/tmp/supafs-ids-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    reopen();
    return 0;
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st, (void)flag, (void)f;
    return remove(path);
}

static int
teardown(void **state)
{
    (void)state;
    sf_ids_close(ids);
    ids = NULL;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct sf_id_key
key_n(unsigned n)
{
    struct sf_id_key k = {.provider = "kimi", .account = "acc", .purpose = "file-extract"};
    snprintf(k.sha256, sizeof k.sha256, "%064x", n);
    return k;
}

static struct sf_id_row
row_n(unsigned n)
{
    struct sf_id_row r = {.filename = "n\xc3\xa4me.pdf", .bytes = n, .created_s = 7, .ours = true};
    snprintf(r.id, sizeof r.id, "id-%u", n);
    return r;
}

static int
put(unsigned content, unsigned id)
{
    struct sf_id_key k = key_n(content);
    struct sf_id_row r = row_n(id);
    return sf_ids_put(ids, &k, &r);
}

/* The number of the id that a content has, or the error. */
static int
get(unsigned content)
{
    struct sf_id_key k = key_n(content);
    struct sf_id_row r;
    int rc = sf_ids_get(ids, &k, &r);
    return rc ? rc : (int)strtol(r.id + 3, NULL, 10);
}

static int
find(unsigned id, unsigned *content)
{
    struct sf_id_key k = key_n(0);
    char name[32];
    snprintf(name, sizeof name, "id-%u", id);
    int rc = sf_ids_find(ids, "kimi", "acc", name, &k);
    *content = (unsigned)strtoul(k.sha256 + 48, NULL, 16);
    return rc;
}

static void
test_ids(void **state)
{
    struct sf_id_key k = key_n(1);
    struct sf_id_row r;
    unsigned content;
    (void)state;
    assert_int_equal(get(1), -ENOENT);
    assert_int_equal(put(1, 5), 0);
    reopen();
    assert_int_equal(sf_ids_get(ids, &k, &r), 0);
    assert_string_equal(r.filename, "n\xc3\xa4me.pdf");
    assert_int_equal(r.bytes, 5);
    assert_int_equal(r.created_s, 7);
    assert_true(r.ours);
    /* Another account, purpose or provider is another file. */
    struct sf_id_key other[3] = {k, k, k};
    snprintf(other[0].account, sizeof other[0].account, "%s", "acd");
    snprintf(other[1].purpose, sizeof other[1].purpose, "%s", "image");
    snprintf(other[2].provider, sizeof other[2].provider, "%s", "glm");
    for (int i = 0; i < 3; i++)
        assert_int_equal(sf_ids_get(ids, &other[i], &r), -ENOENT);
    /* A new id of the content; the old one is not found any more. */
    assert_int_equal(put(1, 6), 0);
    assert_int_equal(find(5, &content), -ENOENT);
    assert_int_equal(find(6, &content), 0);
    assert_int_equal(content, 1);
    /* The id of another content from now on. */
    assert_int_equal(put(2, 6), 0);
    assert_int_equal(get(1), -ENOENT);
    assert_int_equal(get(2), 6);
    /* The same again. */
    assert_int_equal(put(2, 6), 0);
    assert_int_equal(get(2), 6);
    assert_int_equal(sf_ids_drop(ids, "kimi", "acc", "id-6"), 0);
    assert_int_equal(sf_ids_drop(ids, "kimi", "acc", "id-6"), -ENOENT);
    assert_int_equal(get(2), -ENOENT);
}

static void
test_bounds(void **state)
{
    struct sf_id_key k = key_n(1), bad;
    struct sf_id_row r = row_n(1);
    (void)state;
    /* The longest of everything fits a key. */
    memset(k.provider, 'p', sizeof k.provider - 1);
    memset(k.account, 'a', sizeof k.account - 1);
    memset(k.purpose, 'u', sizeof k.purpose - 1);
    memset(r.id, 'i', sizeof r.id - 1);
    assert_int_equal(sf_ids_put(ids, &k, &r), 0);
    assert_int_equal(sf_ids_get(ids, &k, &r), 0);
    assert_int_equal(sf_ids_find(ids, k.provider, k.account, r.id, &bad), 0);
    assert_int_equal(sf_ids_drop(ids, k.provider, k.account, r.id), 0);
    bad = k;
    bad.sha256[3] = 'x';
    assert_int_equal(sf_ids_put(ids, &bad, &r), -EINVAL);
    bad.sha256[3] = '\0';
    assert_int_equal(sf_ids_get(ids, &bad, &r), -EINVAL);
    bad = k;
    bad.account[0] = '\0';
    assert_int_equal(sf_ids_put(ids, &bad, &r), -EINVAL);
    snprintf(r.id, sizeof r.id, "%s", "../x");
    assert_int_equal(sf_ids_put(ids, &k, &r), -EINVAL);
    snprintf(r.id, sizeof r.id, "%s", "x");
    snprintf(r.filename, sizeof r.filename, "%s", "\xff");
    assert_int_equal(sf_ids_put(ids, &k, &r), -EINVAL);
}

static int
count(void *arg, const struct sf_id_key *key, const struct sf_id_row *row)
{
    (void)key, (void)row;
    return ++*(int *)arg == 1000 ? -ECANCELED : 0;
}

static void
test_walk(void **state)
{
    int n = 0;
    (void)state;
    for (unsigned i = 0; i < 150; i++)
        assert_int_equal(put(i, i), 0);
    assert_int_equal(sf_ids_each(ids, count, &n), 0);
    assert_int_equal(n, 150);
    n = 999;
    assert_int_equal(sf_ids_each(ids, count, &n), -ECANCELED);
}

static void
test_intents(void **state)
{
    struct sf_id_key k = key_n(1), two = key_n(2);
    struct sf_id_row r = row_n(1);
    int n = 0;
    (void)state;
    assert_int_equal(sf_ids_intend(ids, &k, &r), 0);
    assert_int_equal(sf_ids_intend(ids, &two, &r), 0);
    assert_int_equal(get(1), -ENOENT);
    reopen();
    assert_int_equal(sf_ids_intents(ids, count, &n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(put(1, 1), 0);
    assert_int_equal(sf_ids_intent_end(ids, &two), 0);
    assert_int_equal(sf_ids_intent_end(ids, &two), 0);
    n = 0;
    assert_int_equal(sf_ids_intents(ids, count, &n), 0);
    assert_int_equal(n, 0);
}

static void
test_hashes(void **state)
{
    struct sf_id_key k = key_n(3);
    struct sf_id_object o = {.bucket = "b", .key = "k", .version = "v", .size = 3};
    char got[65];
    int there = 0;
    (void)state;
    max_hashes = 20;
    reopen();
    assert_int_equal(sf_ids_hash(ids, &o, got), -ENOENT);
    assert_int_equal(sf_ids_hash_put(ids, &o, k.sha256), 0);
    assert_int_equal(sf_ids_hash_put(ids, &o, k.sha256), 0);
    assert_int_equal(sf_ids_hash(ids, &o, got), 0);
    assert_string_equal(got, k.sha256);
    o.size = 4;
    assert_int_equal(sf_ids_hash(ids, &o, got), -ENOENT);
    o.version = "";
    assert_int_equal(sf_ids_hash_put(ids, &o, k.sha256), -EINVAL);
    o.version = "v";
    assert_int_equal(sf_ids_hash_put(ids, &o, "abc"), -EINVAL);
    for (int pass = 0; pass < 2; pass++) {
        for (o.size = 100; o.size < 150; o.size++)
            assert_int_equal(sf_ids_hash_put(ids, &o, k.sha256), 0);
        for (there = 0, o.size = 0; o.size < 150; o.size++)
            there += sf_ids_hash(ids, &o, got) == 0;
        assert_int_equal(there, 20);
        reopen();
    }
}

/* ---- damage ---------------------------------------------------------------------------------- */

static const char *const tables[] = {"contents", "ids", "intents", "hashes"};
static const char *const plants[] = {
    "",
    "{",
    "[]",
    "{\"id\":\"x\"}",
    "\xff\xff",
    "{\"id\":\"a "
    "b\",\"filename\":\"\",\"bytes\":1,\"created\":1,\"believed_until\":0,\"ours\":true}",
    "{\"id\":\"x\",\"filename\":\"\",\"bytes\":-1,\"created\":1,\"believed_until\":0,\"ours\":"
    "true}",
    "{\"id\":7,\"filename\":\"\",\"bytes\":1,\"created\":1,\"believed_until\":0,\"ours\":true}",
};

struct plant {
    struct sf_env_write w;
    const char *value;
};

static int
overwrite(struct sf_env_write *w, struct sf_txn *txn)
{
    struct plant *p = (struct plant *)(void *)((char *)w - offsetof(struct plant, w));
    int rc = 0;
    for (unsigned table = 0; table < 4 && !rc; table++) {
        sf_autobuf struct sf_buf key = SF_BUF_INIT;
        rc = sf_txn_next(txn, table, "\0", 1, &key, NULL);
        if (!rc)
            rc = sf_txn_put(txn, table, key.data, key.len, p->value, strlen(p->value));
        if (!rc) /* and a key that is none */
            rc = sf_txn_put(txn, table, "\xff\xff\xff", 3, p->value, strlen(p->value));
        rc = rc == -ENOENT ? 0 : rc;
    }
    return rc;
}

static void
test_damaged_rows(void **state)
{
    struct sf_id_object o = {.bucket = "b", .key = "k", .version = "v", .size = 3};
    struct sf_id_key k = key_n(1);
    struct sf_id_row r = row_n(1);
    struct sf_env *env = NULL;
    char got[65];
    unsigned content;
    int n;
    (void)state;
    for (size_t i = 0; i < sizeof plants / sizeof plants[0]; i++) {
        struct plant p = {.w.run = overwrite, .value = plants[i]};
        struct sf_env_opts eo = {
            .dir = dir, .name = "plant", .tables = tables, .n_tables = 4, .max_bytes = 4 << 20};
        assert_int_equal(put(1, 1), 0);
        assert_int_equal(sf_ids_intend(ids, &k, &r), 0);
        assert_int_equal(sf_ids_hash_put(ids, &o, k.sha256), 0);
        sf_ids_close(ids);
        ids = NULL;
        assert_int_equal(sf_env_open(&eo, &env, NULL), 0);
        assert_int_equal(sf_env_write_wait(env, &p.w), 0);
        sf_env_close(env);
        reopen();
        assert_int_equal(get(1), -ENOENT);
        assert_int_equal(find(1, &content), -ENOENT);
        assert_int_equal(sf_ids_hash(ids, &o, got), -ENOENT);
        n = 0;
        assert_int_equal(sf_ids_each(ids, count, &n), 0);
        assert_int_equal(sf_ids_intents(ids, count, &n), 0);
        assert_int_equal(n, 0);
        /* And it can be written over, and dropped. */
        assert_int_equal(put(1, 2), 0);
        assert_int_equal(get(1), 2);
        assert_int_equal(sf_ids_drop(ids, "kimi", "acc", "id-2"), 0);
    }
}

static void
test_damaged_file(void **state)
{
    char file[96];
    (void)state;
    assert_int_equal(put(1, 1), 0);
    sf_ids_close(ids);
    ids = NULL;
    snprintf(file, sizeof file, "%s/data.mdb", dir);
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    for (int i = 0; i < 4096; i++)
        fputs("no database", f);
    assert_int_equal(fclose(f), 0);
    reopen();
    assert_int_equal(get(1), -ENOENT);
    assert_int_equal(put(1, 1), 0);
    snprintf(file, sizeof file, "%s/data.mdb.damaged", dir);
    assert_int_equal(access(file, F_OK), 0);
}

static void
test_count(void **state)
{
    (void)state;
    assert_int_equal(sf_ids_count(ids, "kimi"), 0);
    for (unsigned i = 0; i < 5; i++) {
        struct sf_id_key k = key_n(i);
        struct sf_id_row row = row_n(i);
        snprintf(k.provider, sizeof k.provider, "%s", i % 2 ? "kimi" : "kimi-2");
        assert_int_equal(sf_ids_put(ids, &k, &row), 0);
    }
    assert_int_equal(sf_ids_count(ids, "kimi"), 2);
    assert_int_equal(sf_ids_count(ids, "kimi-2"), 3);
    assert_int_equal(sf_ids_count(ids, "kim"), 0);
}

static struct sf_id_name
name_n(unsigned n)
{
    struct sf_id_name name = {.bucket = "b", .id = "1234", .etag = "\"e\""};
    snprintf(name.key, sizeof name.key, "dir/n\xc3\xa4me %u", n);
    return name;
}

static int
names_of(const struct sf_id_key *key, struct sf_id_name *out)
{
    reopen(); /* what is noted behind is there then */
    return sf_ids_names(ids, key, out);
}

/* The files of a content: none of another one, and no more than are kept. */
static void
test_names(void **state)
{
    static struct sf_id_name names[SF_ID_NAMES];
    struct sf_id_key k = key_n(1), other = key_n(2);
    struct sf_id_row row = row_n(1);
    (void)state;
    assert_int_equal(sf_ids_put(ids, &k, &row), 0);
    for (unsigned i = 0; i < SF_ID_NAMES; i++) {
        struct sf_id_name name = name_n(i);
        sf_ids_name(ids, &k, &name);
        sf_ids_name(ids, &k, &name);
    }
    struct sf_id_name name = name_n(99);
    sf_ids_name(ids, &other, &name);
    assert_int_equal(names_of(&k, names), SF_ID_NAMES);
    assert_string_equal(names[0].id, "1234");
    assert_string_equal(names[0].etag, "\"e\"");
    assert_int_equal(names_of(&other, names), 1);
    assert_string_equal(names[0].key, name.key);
    /* The same file by another version is one name. */
    name = name_n(3);
    snprintf(name.etag, sizeof name.etag, "new");
    sf_ids_name(ids, &k, &name);
    assert_int_equal(names_of(&k, names), SF_ID_NAMES);
    name = name_n(50);
    sf_ids_name(ids, &k, &name);
    assert_int_equal(names_of(&k, names), -E2BIG);
    assert_int_equal(sf_ids_drop(ids, "kimi", "acc", "id-1"), 0);
    assert_int_equal(names_of(&k, names), 0);
    assert_int_equal(names_of(&other, names), 1);
    name.bucket[0] = '\xff'; /* is no text */
    sf_ids_name(ids, &k, &name);
    assert_int_equal(names_of(&k, names), 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_ids),          T(test_bounds),       T(test_walk),  T(test_intents), T(test_hashes),
        T(test_damaged_rows), T(test_damaged_file), T(test_names), T(test_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
