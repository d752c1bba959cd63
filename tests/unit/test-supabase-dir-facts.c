/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the database says of a directory's objects: what is asked, and what is believed. */
#include "supabase/dir-facts.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/storage-sync.h"
#include "../lib/storage-world.h"
#include "base/cleanup.h"
#include "observe/counter.h"
#include "supabase/rest.h"

#define ID       "12eaf964-0000-4000-8000-000000000000"
#define SHA      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ROW(key) "{\"key\":\"" key "\",\"id\":\"" ID "\"}"

static const struct sf_dir_facts_args in_a = {.bucket = "b", .prefix = "a/", .limit = 2};

static int
parse(const char *body, const struct sf_dir_facts_args *args, struct sf_dir_facts_reply **r)
{
    char why[160] = "";
    int rc = sf_dir_facts_parse(body, strlen(body), args, r, why);
    if (rc && (rc != -EPROTO || !why[0]))
        fail_msg("%s: %d %s", body, rc, why);
    return rc;
}

static void
test_row(void **state)
{
    static const char body[] =
        "[{\"key\":\"a/x\",\"id\":\"" ID "\",\"version\":\"v1\",\"etag\":\"\\\"5eb6\\\"\","
        "\"size\":11,\"mime\":\"text/plain\",\"cache_control\":\"max-age=3600\","
        "\"updated_at\":\"1970-01-01T00:00:02+00:00\","
        "\"user_metadata\": {\"n\": 1e400, \"t\":\"\\u00e4\\\"}\"} ,\"sha256\":\"" SHA "\","
        "\"tags\":[\"one\",\"t\\u0077o\"],\"access_count\":3,"
        "\"last_accessed\":\"1970-01-01T00:00:03Z\"}, \n {\"id\":\"" ID "\",\"key\":\"a/y\","
        "\"version\":null,\"etag\":null,\"size\":null,\"mime\":null,\"cache_control\":null,"
        "\"updated_at\":null,\"user_metadata\":null,\"sha256\":null,\"tags\":null,"
        "\"access_count\":0,\"last_accessed\":null,\"of_another_version\":[{}]}]";
    struct sf_dir_facts_reply *r;
    (void)state;
    assert_int_equal(parse(body, &in_a, &r), 0);
    const struct sf_dir_facts *f = sf_dir_facts_reply(r);
    assert_int_equal(f->n, 2);
    assert_true(f->more);
    const struct sf_dir_fact *x = &f->rows[0], *y = &f->rows[1];
    assert_string_equal(x->key, "a/x");
    assert_string_equal(x->id, ID);
    assert_string_equal(x->version, "v1");
    assert_string_equal(x->etag, "\"5eb6\"");
    assert_string_equal(x->mime, "text/plain");
    assert_string_equal(x->cache_control, "max-age=3600");
    assert_string_equal(x->metadata, "{\"n\": 1e400, \"t\":\"\\u00e4\\\"}\"}");
    assert_string_equal(x->sha256, SHA);
    assert_int_equal(x->n_tags, 2);
    assert_string_equal(x->tags[0], "one");
    assert_string_equal(x->tags[1], "two");
    assert_null(x->tags[2]);
    assert_int_equal(x->size, 11);
    assert_int_equal(x->accesses, 3);
    assert_int_equal(x->updated_ns, INT64_C(2000000000));
    assert_int_equal(x->last_access_ns, INT64_C(3000000000));
    assert_string_equal(y->key, "a/y");
    assert_string_equal(y->version, "");
    assert_string_equal(y->metadata, "{}");
    assert_string_equal(y->sha256, "");
    assert_null(y->tags[0]);
    assert_int_equal(y->last_access_ns, 0);
    sf_dir_facts_reply_free(r);
    assert_int_equal(parse(" [ ] ", &in_a, &r), 0);
    assert_int_equal(sf_dir_facts_reply(r)->n, 0);
    assert_false(sf_dir_facts_reply(r)->more);
    sf_dir_facts_reply_free(r);
}

/* What others wrote into the table does no harm to what else the row tells. */
static void
test_foreign_values(void **state)
{
    struct sf_dir_facts_reply *r;
    (void)state;
    assert_int_equal(parse("[{\"key\":\"a/x\",\"id\":\"" ID "\",\"sha256\":\"../../etc\","
                           "\"tags\":[null,\"\",\"a,b\\n\"]}]",
                           &in_a, &r),
                     0);
    const struct sf_dir_fact *x = sf_dir_facts_reply(r)->rows;
    assert_string_equal(x->sha256, "");
    assert_int_equal(x->n_tags, 1);
    assert_string_equal(x->tags[0], "a,b\n");
    sf_dir_facts_reply_free(r);
}

/* User metadata that nobody can use takes its own row away, and no other. */
static void
test_odd_metadata(void **state)
{
    char open[201] = "", close[201] = "", deep[500];
    const char *const odd[] = {deep, "[]", "7", "\"{}\""};
    struct sf_dir_facts_reply *r;
    (void)state;
    memset(open, '[', sizeof open - 1);
    memset(close, ']', sizeof close - 1);
    snprintf(deep, sizeof deep, "{\"t\":\"]}\\\\\",\"d\":%s%s}", open, close);
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        sf_autofree char *text = NULL;
        assert_true(asprintf(&text,
                             "[{\"key\":\"a/x\",\"id\":\"" ID "\",\"tags\":[\"t\"],"
                             "\"user_metadata\":%s},{\"key\":\"a/y\",\"id\":\"" ID "\","
                             "\"user_metadata\":{\"a\":[{}]},\"tags\":[\"u\"]}]",
                             odd[i]) > 0);
        assert_int_equal(parse(text, &in_a, &r), 0);
        const struct sf_dir_facts *facts = sf_dir_facts_reply(r);
        assert_int_equal(facts->n, 1);
        assert_true(facts->more);
        assert_string_equal(facts->rows->key, "a/y");
        assert_string_equal(facts->rows->metadata, "{\"a\":[{}]}");
        assert_string_equal(facts->rows->tags[0], "u");
        assert_null(facts->rows->tags[1]);
        sf_dir_facts_reply_free(r);
    }
}

static void
test_lies(void **state)
{
    static const char *const lies[] = {
        "",
        "{}",
        "null",
        "[1]",
        "[null]",
        "[" ROW("a/x"),
        "[" ROW("a/x") "] x",
        "[" ROW("a/x") "," ROW("a/y") "," ROW("a/z") "]", /* more than asked for */
        "[" ROW("a/y") "," ROW("a/x") "]",
        "[" ROW("a/x") "," ROW("a/x") "]",
        "[" ROW("b/x") "]",
        "[" ROW("a/x/y") "]",
        "[" ROW("") "]",
        "[" ROW("a/\\u0000x") "]",
        "[" ROW("a/\xff") "]",
        "[{\"id\":\"" ID "\"}]",
        "[{\"key\":\"a/x\"}]",
        "[{\"key\":\"a/x\",\"id\":7}]",
        "[{\"key\":\"a/x\",\"id\":\"" ID ID "\"}]",
        "[{\"key\":\"a/x\",\"id\":\"" ID "\",\"id\":\"" ID "\"}]",
        "[{\"key\":\"a/x\",\"id\":\"" ID "\",\"size\":-1}]",
        "[{\"key\":\"a/x\",\"id\":\"" ID "\",\"size\":\"1\"}]",
        "[{\"key\":\"a/x\",\"id\":\"" ID "\",\"access_count\":1.5}]",
        "[{\"key\":\"a/x\",\"id\":\"" ID "\",\"last_accessed\":\"yesterday\"}]",
        "[{\"key\":\"a/x\",\"id\":\"" ID "\",\"user_metadata\":{]}]",
        "[{\"key\":\"a/x\",\"id\":\"" ID "\",\"user_metadata\":{\"a\":}}]",
        "[{\"key\":\"a/x\",\"id\":\"" ID "\",\"tags\":\"t\"}]",
        "[{\"key\":\"a/x\",\"id\":\"" ID "\",\"tags\":[1]}]",
    };
    const struct sf_dir_facts_args behind = {.prefix = "a/", .after = "a/x", .limit = 2};
    struct sf_dir_facts_reply *r = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++)
        if (parse(lies[i], &in_a, &r) != -EPROTO)
            fail_msg("believed: %s", lies[i]);
    assert_int_equal(parse("[" ROW("a/x") "]", &behind, &r), -EPROTO);
    assert_null(r);
}

/* ---- the request ---------------------------------------------------------------------------- */

struct got {
    atomic_int done;
    int rc, status;
    size_t n;
    char key[40];
};

static void
got_facts(void *arg, const struct sf_err *err, const struct sf_dir_facts *facts)
{
    struct got *g = arg;
    g->rc = err ? err->code : 0;
    g->n = facts ? facts->n : 0;
    if (g->n)
        snprintf(g->key, sizeof g->key, "%s", facts->rows[0].key);
    assert_true(!err == !!facts);
    atomic_store(&g->done, 1);
}

static struct got
ask(const struct sf_dir_facts_args *args)
{
    const struct sf_rest_how how = {.deadline_ms = sync_in(9000), .reads = true};
    struct got g = {.rc = 1};
    (void)sf_storage_dir_facts(world.st, args, &how, got_facts, &g);
    while (!atomic_load(&g.done))
        usleep(500);
    return g;
}

static void
test_request(void **state)
{
    uint64_t calls = sf_counter_get(SF_C_CALLS_TABLES);
    char after[8] = "a/\"w";
    const struct sf_dir_facts_args args = {
        .bucket = "b", .prefix = "a/", .after = after, .limit = 1000};
    (void)state;
    world_answer(200, NULL, "[" ROW("a/x") "]");
    struct got g = ask(&args);
    assert_int_equal(g.rc, 0);
    assert_string_equal(g.key, "a/x");
    assert_string_equal(world.got[0].path, "/rest/v1/rpc/supafs_list_dir");
    assert_string_equal(world.got[0].body, "{\"p_bucket\":\"b\",\"p_prefix\":\"a/\","
                                           "\"p_after\":\"a/\\\"w\",\"p_limit\":1000}");
    assert_string_equal(world_header(0, "Accept"), "application/json");
    g = ask(&in_a);
    assert_string_equal(world.got[1].body,
                        "{\"p_bucket\":\"b\",\"p_prefix\":\"a/\",\"p_after\":null,\"p_limit\":2}");
    assert_int_equal(sf_counter_get(SF_C_CALLS_TABLES), calls + 2);
    world_answer(503, NULL, "");
    world_then(1, 200, NULL, "[]");
    g = ask(&in_a); /* it only reads, so it is repeated */
    assert_int_equal(g.rc, 0);
    assert_int_equal(g.n, 0);
}

static void
test_failures(void **state)
{
    const struct sf_dir_facts_args bad = {.bucket = "b\xff", .prefix = "", .limit = 1};
    (void)state;
    world_answer(404, NULL, "{\"code\":\"PGRST202\",\"message\":\"no such function\"}");
    assert_int_equal(ask(&in_a).rc, -ENOSYS);
    world_answer(404, NULL, "<html>");
    assert_int_equal(ask(&in_a).rc, -ENOSYS);
    world_answer(403, NULL, "{\"code\":\"42501\",\"message\":\"permission denied\"}");
    assert_int_equal(ask(&in_a).rc, -EACCES);
    world_answer(200, NULL, "<html>");
    assert_int_equal(ask(&in_a).rc, -EPROTO);
    world_answer(200, NULL, "[]");
    assert_int_equal(ask(&bad).rc, -EINVAL);
    assert_int_equal(world.served, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_row),
        cmocka_unit_test(test_foreign_values),
        cmocka_unit_test(test_odd_metadata),
        cmocka_unit_test(test_lies),
        cmocka_unit_test_setup_teardown(test_request, world_setup, world_close),
        cmocka_unit_test_setup_teardown(test_failures, world_setup, world_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
