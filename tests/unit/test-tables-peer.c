/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the project's database is asked for its tables, and what its answers mean for the queue. */
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
#include "tables/internal.h"

#define PGRST(code, text)                                                                          \
    "{\"code\":\"" code "\",\"details\":null,\"hint\":null,\"message\":\"" text "\"}"

static int
record(bool *recorded, struct sf_err *err)
{
    static const char batch[] = "{\"p_batch\":\"x\"} and what is behind it";
    struct sf_tables_peer peer;
    *err = SF_ERR_INIT;
    peer_of_project(world.st, &peer);
    return peer.record(peer.arg, batch, 15, sync_in(9000), recorded, err);
}

static void
test_record(void **state)
{
    struct sf_err err;
    bool recorded = false;
    (void)state;
    world_answer(200, NULL, "{\"recorded\": true, \"refused\": 0}");
    assert_int_equal(record(&recorded, &err), 0);
    assert_true(recorded);
    assert_string_equal(world.got[0].method, "POST");
    assert_string_equal(world.got[0].path, "/rest/v1/rpc/supafs_record");
    assert_string_equal(world.got[0].body, "{\"p_batch\":\"x\"}");
    world_answer(200, NULL, "{\"recorded\": false}");
    assert_int_equal(record(&recorded, &err), 0);
    assert_false(recorded);
}

static const struct {
    int status;
    const char *body;
    int rc;
} answers[] = {
    /* The rows are refused, and always will be. */
    {400, PGRST("22023", "p_files must be an array"), -EINVAL},
    {400, PGRST("22P02", "invalid input syntax for type uuid"), -EINVAL},
    {400, PGRST("PGRST102", "Empty or invalid json"), -EINVAL},
    {400, PGRST("23514", "new row violates check constraint"), -EINVAL},
    {409, PGRST("23505", "duplicate key value"), -EINVAL},
    {409, PGRST("23503", "insert violates foreign key constraint"), -EINVAL},
    {413, PGRST("54000", "too many"), -EINVAL},
    {413, "<html>too large</html>", -EINVAL},
    /* There is nobody to take them. */
    {404, PGRST("PGRST202", "Could not find the function"), -ENOSYS},
    {404, "<html>no such page</html>", -ENOSYS},
    {501, "", -ENOSYS},
    {403, PGRST("42501", "permission denied for function"), -EACCES},
    /* It may take them another time. */
    {409, "", -EEXIST},
    {405, PGRST("25006", "cannot execute INSERT in a read-only transaction"), -EROFS},
    {200, "[]", -EPROTO},
    {200, "{\"recorded\": 1}", -EPROTO},
    {200, "<html>hello</html>", -EPROTO},
    {0, NULL, 0}, /* no reply */
};

static void
test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct sf_err err;
        bool recorded = true;
        world_answer(answers[i].status, NULL, answers[i].body);
        int rc = record(&recorded, &err);
        bool lost = !answers[i].status;
        if ((lost ? !rc || rc == -EINVAL || rc == -ENOSYS : rc != answers[i].rc) ||
            err.code != rc || !err.msg[0] || !recorded || world.served != 1)
            fail_msg("%d %s: %d %s (%u)", answers[i].status, answers[i].body, rc, err.msg,
                     world.served);
    }
}

static int
about(unsigned *version)
{
    struct sf_tables_peer peer;
    struct sf_err err = SF_ERR_INIT;
    peer_of_project(world.st, &peer);
    int rc = peer.about(peer.arg, sync_in(9000), version, &err);
    assert_int_equal(rc, err.code);
    return rc;
}

static void
test_about(void **state)
{
    static const char *const lies[] = {"{}",
                                       "[5]",
                                       "{\"version\":\"5\"}",
                                       "{\"version\":0}",
                                       "{\"version\":-1}",
                                       "{\"version\":1000000}"};
    unsigned version = 7;
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        world_answer(200, NULL, lies[i]);
        assert_int_equal(about(&version), -EPROTO);
    }
    assert_int_equal(version, 7);
    world_answer(200, NULL, "{\"version\":5,\"role\":\"service_role\"}");
    assert_int_equal(about(&version), 0);
    assert_int_equal(version, 5);
    assert_string_equal(world.got[0].path, "/rest/v1/rpc/supafs_about");
    assert_string_equal(world.got[0].body, "{}");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_record, world_setup, world_close),
        cmocka_unit_test_setup_teardown(test_answers, world_setup, world_close),
        cmocka_unit_test_setup_teardown(test_about, world_setup, world_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
