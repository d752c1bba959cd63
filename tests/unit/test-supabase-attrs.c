/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Attributes by the function of the project's database: request, answers, and where there is none.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/storage-sync.h"
#include "../lib/storage-world.h"
#include "observe/counter.h"

static const struct sf_attrs_args some = {.bucket = "b",
                                          .key = "a/\"k\"",
                                          .version = "v1",
                                          .cache_control = "no-cache, supafs=\"m=1\"",
                                          .metadata = "{ \"a\": [1] }"};

static int
set(const struct sf_attrs_args *a, struct sf_attrs_result *res, struct sf_err *err)
{
    if (err)
        *err = SF_ERR_INIT;
    return sf_storage_set_attrs_wait(world.st, a, sync_in(9000), res, err);
}

#define DONE "{\"updated\":true,\"version\":\"v1\",\"updated_at\":\"2026-11-21T04:09:26.707Z\"}"

static void
test_request(void **state)
{
    struct sf_attrs_result res = {0};
    uint64_t calls = sf_counter_get(SF_C_CALLS_ATTRS);
    char bearer[600];
    (void)state;
    snprintf(bearer, sizeof bearer, "Bearer %s", world_token(WORLD_SERVICE));
    world_answer(200, NULL, DONE);
    assert_int_equal(set(&some, &res, NULL), 0);
    assert_true(res.updated);
    assert_string_equal(res.version, "v1");
    assert_int_equal(res.updated_ns, 1795234166707000000);
    assert_int_equal(sf_counter_get(SF_C_CALLS_ATTRS), calls + 1);
    assert_string_equal(world.got[0].method, "POST");
    assert_string_equal(world.got[0].path, "/rest/v1/rpc/supafs_set_attrs");
    assert_string_equal(world.got[0].type, "application/json");
    assert_string_equal(world_header(0, "Accept"), "application/json");
    assert_string_equal(world.got[0].authorization, bearer);
    assert_string_equal(world.got[0].apikey, bearer + 7);
    assert_string_equal(
        world.got[0].body,
        "{\"p_bucket\":\"b\",\"p_name\":\"a/\\\"k\\\"\",\"p_version\":\"v1\",\"p_cache_control\":"
        "\"no-cache, supafs=\\\"m=1\\\"\",\"p_mimetype\":null,\"p_metadata\":{\"a\":[1]}}");
    struct sf_attrs_args a = {.bucket = "b", .key = "k", .version = "v1", .mime = "text/plain"};
    assert_int_equal(set(&a, &res, NULL), 0);
    assert_string_equal(world.got[1].body,
                        "{\"p_bucket\":\"b\",\"p_name\":\"k\",\"p_version\":\"v1\","
                        "\"p_cache_control\":null,\"p_mimetype\":\"text/plain\","
                        "\"p_metadata\":null}");
    a.version = "";
    assert_int_equal(set(&a, &res, NULL), -EINVAL);
    a.version = "v1";
    a.metadata = "{not json";
    assert_int_equal(set(&a, &res, NULL), -EINVAL);
    assert_int_equal(world.served, 2);
}

static void
test_not_updated(void **state)
{
    struct sf_attrs_result res = {0};
    (void)state;
    world_answer(200, NULL, "{\"updated\":false,\"version\":\"v2\"}");
    assert_int_equal(set(&some, &res, NULL), 0);
    assert_false(res.updated);
    assert_string_equal(res.version, "v2");
    world_answer(200, NULL, "{\"updated\":false,\"version\":null}");
    assert_int_equal(set(&some, &res, NULL), 0);
    assert_false(res.updated);
    assert_string_equal(res.version, "");
}

static void
test_lies(void **state)
{
    static const char *const lies[] = {
        "",
        "null",
        "[" DONE "]",
        "{}",
        "{\"updated\":1,\"version\":\"v1\"}",
        "{\"updated\":true,\"version\":\"v1\"}",
        "{\"updated\":true,\"version\":\"v2\",\"updated_at\":\"2026-11-21T04:09:26.707Z\"}",
        "{\"updated\":true,\"version\":\"v1\",\"updated_at\":\"now\"}",
        "{\"updated\":false,\"version\":17}",
        "{\"updated\":false,\"version\":\"0123456789012345678901234567890123456789\"}",
        "<html>",
    };
    struct sf_attrs_result res = {.updated_ns = 4711};
    struct sf_err err;
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        world_answer(200, NULL, lies[i]);
        int rc = set(&some, &res, &err);
        if (rc != -EPROTO || !err.outcome_open)
            fail_msg("%s: %d %s", lies[i], rc, err.msg);
    }
    assert_int_equal(res.updated_ns, 4711);
}

#define PGRST(code, text)                                                                          \
    "{\"code\":\"" code "\",\"details\":null,\"hint\":null,\"message\":\"" text "\"}"

static const struct {
    int status;
    const char *body;
    int rc;
} failures[] = {
    {404, PGRST("PGRST202", "Could not find the function public.supafs_set_attrs"), -ENOSYS},
    {404, PGRST("42883", "function public.supafs_set_attrs does not exist"), -ENOSYS},
    {406, PGRST("PGRST106", "The schema must be one of the following: api"), -ENOSYS},
    {404, "", -ENOSYS},
    {404, "<html>no such page</html>", -ENOSYS},
    {404, "{\"message\":\"Route POST:/rest/v1/rpc/x not found\",\"error\":\"Not Found\"}", -ENOSYS},
    {404, "{\"message\":\"no Route matched with those values\"}", -ENOSYS},
    {405, "", -ENOSYS},
    {501, "", -ENOSYS},
    {403, PGRST("42501", "permission denied for function supafs_set_attrs"), -EACCES},
    {401, PGRST("42501", "permission denied for function supafs_set_attrs"), -EACCES},
    {401, PGRST("PGRST301", "JWT expired"), -EKEYEXPIRED},
    {401, "{\"message\":\"Invalid API key\"}", -EKEYREJECTED},
    {400, PGRST("22023", "p_metadata must be an object or null"), -EINVAL},
};

static void
test_failures(void **state)
{
    struct sf_attrs_result res;
    struct sf_err err;
    (void)state;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        world_answer(failures[i].status, NULL, failures[i].body);
        int rc = set(&some, &res, &err);
        if (rc != failures[i].rc || err.code != rc || world.served != 1)
            fail_msg("%d %s: %d %s", failures[i].status, failures[i].body, rc, err.msg);
    }
    /* It can be asked again, whatever became of the first time. */
    world_answer(0, NULL, NULL);
    world_then(1, 503, NULL, PGRST("PGRST001", "Database connection error"));
    world_then(2, 200, NULL, DONE);
    assert_int_equal(set(&some, &res, NULL), 0);
    assert_int_equal(world.served, 3);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_close)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_request),
        TEST(test_not_updated),
        TEST(test_lies),
        TEST(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
