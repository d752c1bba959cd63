/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Claims in the project's tables: what is asked, what is believed, and when nobody asks any more.
 */
#include "provider/claim.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

/* A database that says what it is told to. */
static struct {
    const char *says; /* JSON */
    int rc;
    unsigned calls;
    char function[64];
    char *args;
} db;

static struct sf_claims *claims;

static int
call(void *arg, const char *function, json_t *args, int64_t deadline_ms, json_t **answer,
     struct sf_err *err)
{
    (void)arg, (void)deadline_ms;
    db.calls++;
    snprintf(db.function, sizeof db.function, "%s", function);
    free(db.args);
    db.args = json_dumps(args, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(args);
    if (db.rc)
        return sf_err_set(err, db.rc, "as the test says");
    *answer = json_loads(db.says, 0, NULL);
    assert_non_null(*answer);
    return 0;
}

static int
setup(void **state)
{
    const struct sf_functions_peer peer = {.call = call};
    (void)state;
    memset(&db, 0, sizeof db);
    return sf_claims_new(NULL, &peer, "me", &claims);
}

static int
teardown(void **state)
{
    (void)state;
    sf_claims_free(claims);
    free(db.args);
    return 0;
}

#define HASH "00000000000000000000000000000000000000000000000000000000000000ab"
static const struct sf_id_key key = {
    .sha256 = HASH, .provider = "kimi", .account = "acc", .purpose = "file-extract"};
static const struct sf_claim_what what = {.key = &key, .file_id = "1234", .bytes = 7};
#define ARGS(more) "{\"p\":{\"account\":\"acc\",\"bytes\":7," more "\"provider\":\"kimi\","

static int
ask(const char *says, struct sf_claim *out)
{
    struct sf_claim none = {.state = SF_CLAIM_BUSY};
    if (!out)
        out = &none;
    db.says = says;
    return sf_claim_ask(claims, &what, 60, INT64_MAX, out);
}

static void
test_asked(void **state)
{
    char other[SF_PROVIDER_ID_MAX + 1];
    struct sf_claim c;
    (void)state;
    assert_string_equal(sf_claims_state(claims), "waiting");
    assert_int_equal(ask("{\"state\": \"claimed\"}", &c), 0);
    assert_int_equal(c.state, SF_CLAIM_CLAIMED);
    assert_string_equal(sf_claims_state(claims), "on");
    assert_string_equal(db.function, "supafs_provider_claim");
    assert_string_equal(
        db.args,
        ARGS(
            "\"file_id\":\"1234\",\"holder\":\"me\",\"lease_s\":60,") "\"purpose\":\"file-"
                                                                      "extract\",\"sha256\":\"" HASH
                                                                      "\"}}");
    assert_int_equal(ask("{\"state\": \"busy\", \"until\": \"2026-11-22T06:00:00+00:00\"}", &c), 0);
    assert_int_equal(c.state, SF_CLAIM_BUSY);
    assert_int_equal(ask("{\"state\": \"ready\", \"provider_file_id\": \"f-1\", \"bytes\": null,"
                         " \"expires_at\": \"2026-11-22T06:00:00.5+00:00\"}",
                         &c),
                     0);
    assert_int_equal(c.state, SF_CLAIM_READY);
    assert_string_equal(c.id, "f-1");
    assert_int_equal(c.expires_s, 1795327200);
    db.says = "{\"settled\": true}";
    assert_int_equal(sf_claim_settle(claims, &what, "f-1", 1795327200, NULL, INT64_MAX, other), 0);
    assert_string_equal(other, "");
    assert_string_equal(db.function, "supafs_provider_settle");
    assert_string_equal(
        db.args,
        ARGS("\"expires_at\":\"2026-11-22T06:00:00.000Z\","
             "\"file_id\":\"1234\",\"holder\":\"me\",") "\"provider_file_id\":\"f-1\",\"purpose\":"
                                                        "\"file-extract\",\"sha256\":\"" HASH
                                                        "\"}}");
    assert_int_equal(sf_claim_settle(claims, &what, NULL, 0, "no", INT64_MAX, other), 0);
    assert_non_null(strstr(db.args, "\"error\":\"no\""));
    assert_null(strstr(db.args, "provider_file_id"));
    db.says = "{\"dropped\": 1}";
    assert_int_equal(sf_claim_drop(claims, "kimi", "f-1", INT64_MAX), 0);
    assert_string_equal(db.args, "{\"p\":{\"provider\":\"kimi\",\"provider_file_id\":\"f-1\"}}");
}

/* Who has no claim any more hears of the id that is there, unless that is his own: then it was the
 * reply to his first try that was lost. */
static void
test_settled_by_another(void **state)
{
    char other[SF_PROVIDER_ID_MAX + 1];
    (void)state;
    db.says = "{\"settled\": false, \"provider_file_id\": \"theirs\"}";
    assert_int_equal(sf_claim_settle(claims, &what, "mine", 0, NULL, INT64_MAX, other), 0);
    assert_string_equal(other, "theirs");
    db.says = "{\"settled\": false, \"provider_file_id\": \"mine\"}";
    assert_int_equal(sf_claim_settle(claims, &what, "mine", 0, NULL, INT64_MAX, other), 0);
    assert_string_equal(other, "");
    db.says = "{\"settled\": false, \"provider_file_id\": null}";
    assert_int_equal(sf_claim_settle(claims, &what, "mine", 0, NULL, INT64_MAX, other), 0);
    assert_string_equal(other, "");
}

/* What cannot be believed is no answer, and the tables are left alone for a while. */
static void
test_odd_answers(void **state)
{
    static const char *const odd[] = {
        "{}",
        "[]",
        "{\"state\": 1}",
        "{\"state\": \"other\"}",
        "{\"state\": \"ready\"}",
        "{\"state\": \"ready\", \"provider_file_id\": null}",
        "{\"state\": \"ready\", \"provider_file_id\": \"../x\"}",
        "{\"state\": \"ready\", \"provider_file_id\": \"a b\"}",
        "{\"state\": \"ready\", \"provider_file_id\": \"f\", \"bytes\": -1}",
    };
    static const char *const unsettled[] = {"{}", "[]", "{\"settled\": 1}",
                                            "{\"settled\": false, \"provider_file_id\": \"../x\"}"};
    char other[SF_PROVIDER_ID_MAX + 1];
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        assert_int_equal(ask(odd[i], NULL), -EPROTO);
        assert_string_equal(sf_claims_state(claims), "unreachable");
        unsigned calls = db.calls;
        assert_int_equal(ask("{\"state\": \"claimed\"}", NULL), -EAGAIN);
        assert_int_equal(db.calls, calls);
        teardown(state);
        setup(state);
    }
    for (size_t i = 0; i < sizeof unsettled / sizeof *unsettled; i++) {
        db.says = unsettled[i];
        assert_int_equal(sf_claim_settle(claims, &what, "f", 0, NULL, INT64_MAX, other), -EPROTO);
        teardown(state);
        setup(state);
    }
}

static void
test_failures(void **state)
{
    static const struct {
        int rc;
        const char *state;
        int then; /* while it rests */
    } all[] = {
        {-ENOSYS, "missing", -ENOSYS},
        {-EACCES, "denied", -EAGAIN},
        {-EPERM, "denied", -EAGAIN},
        {-EKEYREJECTED, "denied", -EAGAIN},
        {-EIO, "unreachable", -EAGAIN},
        {-ETIMEDOUT, "unreachable", -EAGAIN},
        {-EINVAL, "on", 0},
        {-ECANCELED, "waiting", 0},
    };
    struct sf_claim c;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        db.rc = all[i].rc;
        assert_int_equal(ask("{}", &c), all[i].rc);
        assert_string_equal(sf_claims_state(claims), all[i].state);
        db.rc = 0;
        assert_int_equal(ask("{\"state\": \"claimed\"}", &c), all[i].then);
        teardown(state);
        setup(state);
    }
    /* None at all. */
    assert_int_equal(sf_claim_ask(NULL, &what, 60, INT64_MAX, &c), -ENOSYS);
    assert_int_equal(sf_claim_settle(NULL, &what, "f", 0, NULL, INT64_MAX, NULL), -ENOSYS);
    assert_int_equal(sf_claim_drop(NULL, "kimi", "f", INT64_MAX), -ENOSYS);
    assert_int_equal(sf_claim_needed(NULL, &key, "f", NULL, 0, INT64_MAX), 0);
    assert_string_equal(sf_claims_state(NULL), "off");
}

/* By its content any file counts, by its id any but those that are known to be others by now. */
static void
test_needed(void **state)
{
    static const char *const but[] = {"1234"};
    (void)state;
    db.says = "[]";
    assert_int_equal(sf_claim_needed(claims, &key, "f", but, 1, INT64_MAX), 0);
    assert_int_equal(db.calls, 2);
    assert_string_equal(db.function, "supafs_find");
    assert_string_equal(db.args,
                        "{\"p\":{\"limit\":50,\"provider\":\"kimi\",\"provider_file_id\":\"f\"}}");
    db.says = "[{\"id\": \"1234\"}]";
    assert_int_equal(sf_claim_needed(claims, &key, "f", NULL, 0, INT64_MAX), 1);
    assert_string_equal(db.args, "{\"p\":{\"limit\":1,\"sha256\":\"" HASH "\"}}");
    db.says = "{}";
    assert_int_equal(sf_claim_needed(claims, &key, "f", but, 1, INT64_MAX), -EPROTO);
    teardown(state);
    setup(state);
    db.rc = -EIO;
    assert_int_equal(sf_claim_needed(claims, &key, "f", but, 1, INT64_MAX), -EIO);
    teardown(state);
    setup(state);
    db.rc = -ENOSYS; /* a project without tables */
    assert_int_equal(sf_claim_needed(claims, &key, "f", but, 1, INT64_MAX), 0);
    assert_int_equal(sf_claim_needed(claims, &key, "f", but, 1, INT64_MAX), 0);
    assert_int_equal(db.calls, 1);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_asked),  T(test_settled_by_another), T(test_odd_answers), T(test_failures),
        T(test_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
