/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Removing many objects with one request: which of them the reply says are gone. */
#include "supabase/removed.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/storage-sync.h"
#include "../lib/storage-world.h"
#include "base/buf.h"
#include "observe/counter.h"

#define ROW(name, version)                                                                         \
    "{\"name\":\"" name "\",\"bucket_id\":\"b\",\"owner\":\"\",\"version\":\"" version "\","       \
    "\"id\":\"id of " name "\",\"updated_at\":\"2026-11-21T04:09:26.707Z\",\"metadata\":"          \
    "{\"eTag\":\"\\\"9dd4\\\"\",\"size\":7,\"mimetype\":\"text/plain\"},\"user_metadata\":"        \
    "{\"name\":\"x\"}}"

static const char *const keys[] = {"a/1", "a/2", "a/\"3\""};

static int
removal(struct sf_removed *gone, struct sf_err *err)
{
    if (err)
        *err = SF_ERR_INIT;
    return sf_storage_delete_many_wait(world.st, "b c", keys, 3, sync_in(9000), gone, err);
}

static void
test_request_and_reply(void **state)
{
    struct sf_removed gone[3];
    (void)state;
    memset(gone, 0x55, sizeof gone);
    world_answer(200, NULL, "[" ROW("a/\\\"3\\\"", "v3") "," ROW("a/1", "v1") "]");
    uint64_t calls = sf_counter_get(SF_C_CALLS_DELETE);
    assert_int_equal(removal(gone, NULL), 0);
    assert_int_equal(sf_counter_get(SF_C_CALLS_DELETE), calls + 1);
    assert_string_equal(world.got[0].method, "DELETE");
    assert_string_equal(world.got[0].path, "/storage/v1/object/b%20c");
    assert_string_equal(world.got[0].type, "application/json");
    assert_string_equal(world.got[0].body, "{\"prefixes\":[\"a/1\",\"a/2\",\"a/\\\"3\\\"\"]}");
    assert_true(gone[0].removed);
    assert_string_equal(gone[0].version.version, "v1");
    assert_string_equal(gone[0].version.id, "id of a/1");
    assert_string_equal(gone[0].version.etag, "\"9dd4\"");
    assert_int_equal(gone[0].version.size, 7);
    assert_int_equal(gone[0].version.updated_ns, 1795234166707000000);
    assert_false(gone[1].removed);
    assert_false(sf_version_known(&gone[1].version));
    assert_true(gone[2].removed);
    assert_string_equal(gone[2].version.version, "v3");
    /* Rows written by SQL may have nothing but a name. */
    world_answer(200, NULL, "[{\"name\":\"a/2\",\"metadata\":null,\"version\":null,\"id\":null}]");
    assert_int_equal(removal(gone, NULL), 0);
    assert_true(!gone[0].removed && gone[1].removed && !gone[2].removed);
    assert_string_equal(gone[1].version.version, "");
    world_answer(200, NULL, "[]");
    assert_int_equal(removal(gone, NULL), 0);
    assert_true(!gone[0].removed && !gone[1].removed && !gone[2].removed);
}

static void
test_bounds(void **state)
{
    static const char *many[SF_DELETE_MAX + 1];
    struct sf_removed gone[1];
    (void)state;
    world_answer(200, NULL, "[]");
    assert_int_equal(sf_storage_delete_many_wait(world.st, "b", many, 0, sync_in(9000), gone, NULL),
                     0);
    assert_int_equal(sf_storage_delete_many_wait(world.st, "b", many, SF_DELETE_MAX + 1,
                                                 sync_in(9000), gone, NULL),
                     -EINVAL);
    assert_int_equal(world.served, 0);
}

/* As many as fit, with replies of many megabytes of metadata. */
static void
test_many(void **state)
{
    static char names[SF_DELETE_MAX][16];
    const char *many[SF_DELETE_MAX];
    static struct sf_removed gone[SF_DELETE_MAX];
    static char text[4 << 20]; /* the server's thread outlives this function */
    sf_autobuf struct sf_buf body = SF_BUF_INIT;
    char *meta = malloc(8001);
    (void)state;
    memset(meta, 'm', 8000);
    meta[8000] = '\0';
    sf_buf_puts(&body, "[");
    for (int i = SF_DELETE_MAX - 1; i >= 0; i--) {
        snprintf(names[i], sizeof names[i], "k%d", i);
        many[i] = names[i];
        if (i % 3 == 0)
            sf_buf_printf(&body,
                          "{\"name\":\"%s\",\"id\":\"%d\",\"user_metadata\":{\"m\":\"%s\"}}%s",
                          names[i], i, meta, i ? "," : "");
    }
    sf_buf_puts(&body, "]");
    free(meta);
    assert_true(body.len < sizeof text);
    memcpy(text, body.data, body.len + 1);
    world_answer(200, NULL, text);
    assert_int_equal(
        sf_storage_delete_many_wait(world.st, "b", many, SF_DELETE_MAX, sync_in(9000), gone, NULL),
        0);
    for (int i = 0; i < SF_DELETE_MAX; i++) {
        assert_int_equal(gone[i].removed, i % 3 == 0);
        if (gone[i].removed)
            assert_string_equal(gone[i].version.id, names[i] + 1);
    }
}

static void
test_lies(void **state)
{
    static const char *const lies[] = {
        "",
        "{}",
        "null",
        "[null]",
        "[{}]",
        "[" ROW("a/1", "v") "," ROW("a/1", "v") "]",
        "[" ROW("a/9", "v") "]",
        "[" ROW("a/1", "v") "] ]",
        "[{\"name\":\"a/1\",\"updated_at\":\"yesterday\"}]",
        "[{\"name\":\"a/1\",\"metadata\":{\"size\":-1}}]",
        "[{\"name\":17}]",
        "<html>",
    };
    struct sf_removed gone[3];
    struct sf_err err;
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        world_answer(200, NULL, lies[i]);
        int rc = removal(gone, &err);
        if (rc != -EPROTO || !err.outcome_open)
            fail_msg("%s: %d %s", lies[i], rc, err.msg);
    }
}

static void
test_failures(void **state)
{
    struct sf_removed gone[3] = {{.removed = true}};
    struct sf_err err;
    (void)state;
    /* The reply is lost: done or not, it is not asked again. */
    world_answer(0, NULL, NULL);
    assert_true(removal(gone, &err) < 0);
    assert_true(err.outcome_open);
    assert_int_equal(world.served, 1);
    assert_true(gone[0].removed);
    world_answer(400, NULL,
                 "{\"statusCode\":\"403\",\"error\":\"Unauthorized\",\"message\":\"new row "
                 "violates row-level security policy\",\"code\":\"AccessDenied\"}");
    assert_int_equal(removal(gone, &err), -EACCES);
    assert_false(err.outcome_open);
    /* Nothing was done: again. */
    world_answer(429, NULL, "");
    world_then(1, 200, NULL, "[]");
    assert_int_equal(removal(gone, &err), 0);
    assert_int_equal(world.served, 2);
    assert_false(gone[0].removed);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_close)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_request_and_reply), TEST(test_bounds), TEST(test_many), TEST(test_lies),
        TEST(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
