/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The client of the project's database: what is asked, what is believed, and what is repeated. */
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
#include "supabase/rest.h"

#define PGRST(code, text)                                                                          \
    "{\"code\":\"" code "\",\"details\":null,\"hint\":null,\"message\":\"" text "\"}"

static struct sf_rest_how
in_time(void)
{
    return (struct sf_rest_how){.deadline_ms = sync_in(9000)};
}

static int
call(const char *function, json_t *args, struct sf_rest_how how, json_t **answer,
     struct sf_err *err)
{
    if (err)
        *err = SF_ERR_INIT;
    return sf_rest_rpc_wait(world.st, function, args, &how, answer, err);
}

/* What the storage hears of failures. */
static void
heard(void *arg, const struct sf_err *err)
{
    (void)err;
    ++*(int *)arg;
}

static void
test_rpc(void **state)
{
    uint64_t calls = sf_counter_get(SF_C_CALLS_TABLES);
    json_t *answer = NULL;
    char bearer[600];
    (void)state;
    snprintf(bearer, sizeof bearer, "Bearer %s", world_token(WORLD_SERVICE));
    world_answer(200, NULL, "{\"a\": [1]}");
    json_t *args = json_pack("{s:s, s:n}", "p_text", "\"; drop table x; --\x01\\", "p_none");
    assert_int_equal(call("supafs_about", args, in_time(), &answer, NULL), 0);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(answer, "a"), 0)), 1);
    json_decref(answer);
    assert_string_equal(world.got[0].method, "POST");
    assert_string_equal(world.got[0].path, "/rest/v1/rpc/supafs_about");
    assert_string_equal(world.got[0].type, "application/json");
    assert_string_equal(world_header(0, "Accept"), "application/json");
    assert_string_equal(world.got[0].authorization, bearer);
    assert_string_equal(world.got[0].apikey, bearer + 7);
    assert_string_equal(world.got[0].body,
                        "{\"p_text\":\"\\\"; drop table x; --\\u0001\\\\\",\"p_none\":null}");
    world_answer(200, NULL, "[]");
    assert_int_equal(call("f", json_object(), in_time(), NULL, NULL), 0);
    assert_int_equal(sf_counter_get(SF_C_CALLS_TABLES), calls + 2);
}

static void
test_rpc_not_sent(void **state)
{
    static const char *const names[] = {"",   "a/b",   "a?b", "a b",      "A",
                                        "..", "a%2Fb", "a.b", "\xc3\xa4", NULL};
    struct sf_err err;
    (void)state;
    world_answer(200, NULL, "{}");
    for (size_t i = 0; names[i]; i++)
        assert_int_equal(call(names[i], json_object(), in_time(), NULL, &err), -EINVAL);
    assert_int_equal(call("f", json_pack("{s:s}", "a", "\xff"), in_time(), NULL, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "POST rpc/f"));
    assert_int_equal(call("f", json_array(), in_time(), NULL, &err), -EINVAL);
    assert_int_equal(world.served, 0);
}

static void
test_lies(void **state)
{
    static const char *const lies[] = {"",
                                       "null",
                                       "17",
                                       "\"text\"",
                                       "<html>",
                                       "{\"a\":\"\xff\"}",
                                       "[1] [2]",
                                       "{\"a\":1,\"a\":2}",
                                       "{\"a\":\"\\u0000\"}"};
    json_t *answer = (json_t *)&lies;
    struct sf_err err;
    char deep[300];
    (void)state;
    for (size_t i = 0; i <= sizeof lies / sizeof lies[0]; i++) {
        memset(deep, '[', 150);
        memset(deep + 150, ']', 149);
        deep[299] = '\0';
        world_answer(200, NULL, i < sizeof lies / sizeof lies[0] ? lies[i] : deep);
        int rc = call("f", json_object(), in_time(), &answer, &err);
        if (rc != -EPROTO || !err.outcome_open || world.served != 1)
            fail_msg("%zu: %d %s", i, rc, err.msg);
    }
    assert_ptr_equal(answer, &lies);
}

static void
test_repeats(void **state)
{
    struct sf_rest_how how = in_time();
    struct sf_err err;
    int told = 0;
    (void)state;
    sf_storage_on_trouble(world.st, heard, &told);
    world_answer(0, NULL, NULL);
    world_then(1, 200, NULL, "{}");
    assert_int_not_equal(call("f", json_object(), how, NULL, &err), 0);
    assert_true(err.outcome_open);
    assert_int_equal(world.served, 1);
    how.repeatable = true;
    world_answer(0, NULL, NULL);
    world_then(1, 200, NULL, "{}");
    assert_int_equal(call("f", json_object(), how, NULL, NULL), 0);
    assert_int_equal(world.served, 2);
    how = in_time();
    how.reads = true;
    world_answer(503, NULL, "");
    world_then(1, 200, NULL, "{}");
    assert_int_equal(call("f", json_object(), how, NULL, NULL), 0);
    assert_int_equal(told, 0);
}

static const struct {
    int status;
    const char *body;
    int rc;
} failures[] = {
    {404, PGRST("PGRST202", "Could not find the function public.f"), -ENOSYS},
    {404, PGRST("42883", "function public.f does not exist"), -ENOSYS},
    {406, PGRST("PGRST106", "The schema must be one of the following: api"), -ENOSYS},
    {404, "", -ENOSYS},
    {404, "<html>no such page</html>", -ENOSYS},
    {404, "{\"message\":\"no Route matched with those values\"}", -ENOSYS},
    {405, "", -ENOSYS},
    {501, "", -ENOSYS},
    {403, PGRST("42501", "permission denied for function f"), -EACCES},
    {401, PGRST("42501", "permission denied for function f"), -EACCES},
    {401, PGRST("PGRST301", "JWT expired"), -EKEYEXPIRED},
};

static void
test_failures(void **state)
{
    struct sf_err err;
    (void)state;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        world_answer(failures[i].status, NULL, failures[i].body);
        int rc = call("f", json_object(), in_time(), NULL, &err);
        if (rc != failures[i].rc || err.code != rc || world.served != 1)
            fail_msg("%d %s: %d %s", failures[i].status, failures[i].body, rc, err.msg);
    }
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_close)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rpc),     TEST(test_rpc_not_sent), TEST(test_lies),
        TEST(test_repeats), TEST(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
