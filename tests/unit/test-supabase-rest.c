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

/* ---- tables --------------------------------------------------------------------------------- */

static int
select_all(struct sf_rest_query *q, json_t **rows, uint64_t *total, struct sf_err *err)
{
    struct sf_rest_how how = in_time();
    if (err)
        *err = SF_ERR_INIT;
    int rc = sf_rest_select_wait(world.st, q, &how, rows, total, err);
    sf_rest_query_fini(q);
    return rc;
}

static void
test_select(void **state)
{
    static const char *const list[] = {"a", "b\"\\,)"};
    struct sf_rest_query q;
    uint64_t total = 0;
    json_t *rows = NULL;
    (void)state;
    sf_rest_query_init(&q, "file_metadata");
    sf_rest_where(&q, "t", SF_REST_EQ, "a&b=\"c%");
    sf_rest_where(&q, "t", SF_REST_IS | SF_REST_NOT, "null");
    sf_rest_where(&q, "t", SF_REST_LIKE, "a%");
    sf_rest_where(&q, "t", SF_REST_ILIKE | SF_REST_NOT, "a_\\_*%");
    sf_rest_where_list(&q, "t", SF_REST_IN, list, 2);
    sf_rest_where_list(&q, "tags", SF_REST_CONTAINS, list, 2);
    sf_rest_columns(&q, "id,t");
    sf_rest_order(&q, "t.desc,id");
    sf_rest_range(&q, 20, 3);
    world_answer(206, "Content-Range: 20-21/57\r\n", "[{\"id\":1},{\"id\":2}]");
    assert_int_equal(select_all(&q, &rows, &total, NULL), 0);
    assert_int_equal(json_array_size(rows), 2);
    assert_int_equal(total, 57);
    json_decref(rows);
    assert_string_equal(world.got[0].method, "GET");
    assert_string_equal(world.got[0].path,
                        "/rest/v1/file_metadata?t=eq.a%26b%3D%22c%25&t=not.is.null&t=like.a%25"
                        "&t=not.imatch.%5Ea.%5C_%5C%2A.%2A%24"
                        "&t=in.%28%22a%22%2C%22b%5C%22%5C%5C%2C%29%22%29"
                        "&tags=cs.%7B%22a%22%2C%22b%5C%22%5C%5C%2C%29%22%7D"
                        "&select=id%2Ct&order=t.desc%2Cid&limit=3&offset=20");
    assert_string_equal(world_header(0, "Prefer"), "count=exact");
    assert_string_equal(world_header(0, "Accept"), "application/json");
    /* Nobody counts, and nothing is said. */
    sf_rest_query_init(&q, "t");
    world_answer(200, NULL, "[]");
    assert_int_equal(select_all(&q, &rows, NULL, NULL), 0);
    assert_int_equal(json_array_size(rows), 0);
    json_decref(rows);
    assert_string_equal(world.got[0].path, "/rest/v1/t?limit=1000&offset=0");
    assert_string_equal(world_header(0, "Prefer"), "-");
    /* Behind the last row. */
    sf_rest_query_init(&q, "t");
    world_answer(416, "Content-Range: */7\r\n",
                 PGRST("PGRST103", "Requested range not satisfiable"));
    assert_int_equal(select_all(&q, &rows, &total, NULL), 0);
    assert_int_equal(json_array_size(rows), 0);
    assert_int_equal(total, 7);
    json_decref(rows);
}

static void
test_select_lies(void **state)
{
    static const struct {
        const char *headers, *body;
    } lies[] = {
        {"Content-Range: 0-3/4\r\n", "[{},{},{},{}]"}, /* three were asked for */
        {"Content-Range: 0-0/1\r\n", "[1]"},           {"Content-Range: 0-0/1\r\n", "{}"},
        {"Content-Range: 0-0/1\r\n", "<html>"},        {"Content-Range: 0-0/*\r\n", "[{}]"},
        {"Content-Range: 0-0/-1\r\n", "[{}]"},         {NULL, "[{}]"},
    };
    struct sf_rest_query q;
    struct sf_err err;
    uint64_t total = 4711;
    json_t *rows = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        sf_rest_query_init(&q, "t");
        sf_rest_range(&q, 0, 3);
        world_answer(200, lies[i].headers, lies[i].body);
        int rc = select_all(&q, &rows, &total, &err);
        if (rc != -EPROTO || err.outcome_open || rows || total != 4711)
            fail_msg("%s: %d %s", lies[i].body, rc, err.msg);
    }
}

static void
not_sent(struct sf_rest_query *q, int rc)
{
    struct sf_err err;
    json_t *rows = NULL;
    int got = select_all(q, &rows, NULL, &err);
    if (got != rc || world.served)
        fail_msg("%d %s", got, err.msg);
}

static void
test_select_not_sent(void **state)
{
    static const char *const names[] = {"",      "A",    "a b",   "a,b", "a.b",
                                        "a->>b", "a(b)", "order", "and"};
    static const char *const lists[] = {"",     ",",        "a,",      ",a",   "a,,b",
                                        "a.up", "a.desc.b", "a::text", "a(b)", "*"};
    struct sf_rest_query q;
    char most[SF_REST_QUERY_MAX + 2];
    (void)state;
    world_answer(200, NULL, "[]");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        sf_rest_query_init(&q, "t");
        sf_rest_where(&q, names[i], SF_REST_EQ, "x");
        not_sent(&q, -EINVAL);
    }
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        sf_rest_query_init(&q, "t");
        sf_rest_order(&q, lists[i]);
        not_sent(&q, -EINVAL);
    }
    sf_rest_query_init(&q, "t");
    sf_rest_columns(&q, "a.desc");
    not_sent(&q, -EINVAL);
    sf_rest_query_init(&q, "rpc/f");
    not_sent(&q, -EINVAL);
    sf_rest_query_init(&q, "t");
    sf_rest_where(&q, "a", SF_REST_IS, "null&x=eq.1");
    not_sent(&q, -EINVAL);
    sf_rest_query_init(&q, "t");
    sf_rest_where(&q, "a", SF_REST_IN, "x");
    not_sent(&q, -EINVAL);
    sf_rest_query_init(&q, "t");
    sf_rest_where_list(&q, "a", SF_REST_EQ, names, 1);
    not_sent(&q, -EINVAL);
    sf_rest_query_init(&q, "t");
    sf_rest_where(&q, "a", SF_REST_LIKE, "a\\\\\\");
    not_sent(&q, -EINVAL);
    sf_rest_query_init(&q, "t");
    sf_rest_where(&q, "a", SF_REST_GTE, "\xed\xa0\x80");
    sf_rest_where(&q, "a", SF_REST_EQ, "the first failure counts");
    not_sent(&q, -EINVAL);
    sf_rest_query_init(&q, "t");
    sf_rest_range(&q, 0, SF_REST_ROWS_MAX + 1);
    not_sent(&q, -EINVAL);
    memset(most, 'a', sizeof most - 1);
    most[sizeof most - 1] = '\0';
    sf_rest_query_init(&q, "t");
    sf_rest_where(&q, "a", SF_REST_EQ, most);
    not_sent(&q, -E2BIG);
    memset(most, ',', sizeof most / 2);
    most[sizeof most / 2] = '\0';
    sf_rest_query_init(&q, "t");
    sf_rest_where(&q, "a", SF_REST_EQ, most);
    not_sent(&q, -E2BIG);
}

static int
insert(struct sf_rest_rows args, json_t **stored, struct sf_err *err)
{
    struct sf_rest_how how = in_time();
    *err = SF_ERR_INIT;
    return sf_rest_insert_wait(world.st, &args, &how, stored, err);
}

static json_t *
two_rows(void)
{
    return json_pack("[{s:i}, {s:i}]", "id", 1, "id", 2);
}

static void
test_insert(void **state)
{
    struct sf_err err;
    json_t *stored = NULL;
    (void)state;
    world_answer(201, NULL, "");
    assert_int_equal(insert((struct sf_rest_rows){.table = "t", .rows = two_rows()}, NULL, &err),
                     0);
    assert_string_equal(world.got[0].method, "POST");
    assert_string_equal(world.got[0].path, "/rest/v1/t");
    assert_string_equal(world.got[0].type, "application/json");
    assert_string_equal(world.got[0].body, "[{\"id\":1},{\"id\":2}]");
    assert_string_equal(world_header(0, "Prefer"), "return=minimal");
    struct sf_rest_rows by = {.table = "t", .rows = two_rows(), .on_conflict = "a,b"};
    world_answer(201, NULL, "[{\"id\":1},{\"id\":2}]");
    assert_int_equal(insert(by, &stored, &err), 0);
    assert_int_equal(json_array_size(stored), 2);
    json_decref(stored);
    assert_string_equal(world.got[0].path, "/rest/v1/t?on_conflict=a,b");
    assert_string_equal(world_header(0, "Prefer"),
                        "return=representation,resolution=merge-duplicates");
    by.rows = two_rows();
    by.ignore = true;
    world_answer(201, NULL, "");
    assert_int_equal(insert(by, NULL, &err), 0);
    assert_string_equal(world_header(0, "Prefer"), "return=minimal,resolution=ignore-duplicates");
    /* Not an answer of the database. */
    by.rows = two_rows();
    world_answer(200, NULL, "<html>");
    assert_int_equal(insert(by, NULL, &err), -EPROTO);
    by.rows = two_rows();
    world_answer(201, NULL, "[{},{},{}]");
    assert_int_equal(insert(by, &stored, &err), -EPROTO);
    by.rows = two_rows();
    world_answer(409, NULL, PGRST("23505", "duplicate key value violates unique constraint"));
    assert_int_equal(insert(by, NULL, &err), -EEXIST);
    by.rows = two_rows();
    world_answer(405, NULL, PGRST("25006", "cannot execute INSERT in a read-only transaction"));
    assert_int_equal(insert(by, NULL, &err), -EROFS);
}

static void
test_insert_not_sent(void **state)
{
    struct sf_err err;
    json_t *many = json_array();
    (void)state;
    world_answer(201, NULL, "");
    for (int i = 0; i <= SF_REST_ROWS_MAX; i++)
        json_array_append_new(many, json_object());
    const struct sf_rest_rows bad[] = {
        {.table = "t", .rows = NULL},
        {.table = "t", .rows = json_array()},
        {.table = "t", .rows = json_object()},
        {.table = "t", .rows = json_pack("[i]", 1)},
        {.table = "t", .rows = many},
        {.table = "t?x", .rows = two_rows()},
        {.table = "t", .rows = two_rows(), .on_conflict = "a&b"},
        {.table = "t", .rows = two_rows(), .on_conflict = "a.desc"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (insert(bad[i], NULL, &err) != -EINVAL || world.served)
            fail_msg("%zu: %s", i, err.msg);
    }
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_close)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rpc),         TEST(test_rpc_not_sent),
        TEST(test_lies),        TEST(test_repeats),
        TEST(test_failures),    TEST(test_select),
        TEST(test_select_lies), TEST(test_select_not_sent),
        TEST(test_insert),      TEST(test_insert_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
