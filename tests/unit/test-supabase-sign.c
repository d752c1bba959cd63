/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Links: what is asked, what of the answer is believed, and that no message has any of them. */
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
#include "supabase/sign.h"

#define TOKEN "eyJhbGciOiJIUzI1NiJ9.eyJ1cmwiOiJiL2sifQ.c2lnbmF0dXJl-_"

static int
ask(const char *key, const char *signed_url, char *url, struct sf_err *err)
{
    char body[1024];
    snprintf(body, sizeof body, "{\"signedURL\":\"%s\"}", signed_url);
    world_answer(200, NULL, body);
    *err = SF_ERR_INIT;
    return sync_sign(world.st, "b", key, 3600, url, err);
}

static void
test_request(void **state)
{
    (void)state;
    struct sf_err err;
    char url[4300], bearer[600], want[4300];
    snprintf(bearer, sizeof bearer, "Bearer %s", world_token(WORLD_SERVICE));
    assert_int_equal(ask("d/\xc3\xa4 ?", "/object/sign/b/d/\xc3\xa4 ??token=" TOKEN, url, &err), 0);
    assert_string_equal(world.got[0].method, "POST");
    assert_string_equal(world.got[0].path, "/storage/v1/object/sign/b/d/%C3%A4%20%3F");
    assert_string_equal(world.got[0].body, "{\"expiresIn\":3600}");
    assert_string_equal(world.got[0].authorization, bearer);
    /* The key as it is would be another one in an address. */
    char *public = sf_storage_public_url(world.st, "b", "d/\xc3\xa4 ?");
    assert_non_null(strstr(public, "/storage/v1/object/public/b/d/%C3%A4%20%3F"));
    snprintf(want, sizeof want, "%.*s/object/sign/b/d/%%C3%%A4%%20%%3F?token=" TOKEN,
             (int)(strstr(public, "/object/public") - public), public);
    assert_string_equal(url, want);
    free(public);
}

static void
test_other_forms_that_are_good(void **state)
{
    (void)state;
    struct sf_err err;
    char url[4300];
    assert_int_equal(ask("a?token=b", "/object/sign/b/a?token=b?token=" TOKEN, url, &err), 0);
    assert_non_null(strstr(url, "/object/sign/b/a%3Ftoken%3Db?token=" TOKEN));
    assert_int_equal(ask("a b", "/object/sign/b/a%20b?token=" TOKEN, url, &err), 0);
    assert_int_equal(ask("a%20b", "/object/sign/b/a%20b?token=" TOKEN, url, &err), 0);
    assert_non_null(strstr(url, "/object/sign/b/a%2520b?token=" TOKEN));
}

/* Nothing else is handed out, and what comes is not told in a message. */
static void
test_what_is_not_believed(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "/object/sign/b/other?token=" TOKEN,
        "/object/sign/c/k?token=" TOKEN,
        "/object/sign/b/k/?token=" TOKEN,
        "https://evil.example/object/sign/b/k?token=" TOKEN,
        "//evil.example/object/sign/b/k?token=" TOKEN,
        "/object/public/b/k?token=" TOKEN,
        "/object/sign/b/../b/k?token=" TOKEN,
        "/object/sign/b/k",
        "/object/sign/b/k?token=",
        "/object/sign/b/k?token=a.b",
        "/object/sign/b/k?token=a..b",
        "/object/sign/b/k?token=a.b.c.d",
        "/object/sign/b/k?token=" TOKEN "&x=1",
        "/object/sign/b/k?token=" TOKEN " ",
        "/object/sign/b/k?token=" TOKEN "\\n",
        "/object/sign/b/k?token=" TOKEN "%00",
        "",
    };
    struct sf_err err;
    char url[4300];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(ask("k", bad[i], url, &err), -EPROTO);
        assert_null(strstr(err.msg, "eyJ"));
    }
    world_answer(200, NULL, "{\"signedURL\":17}");
    assert_int_equal(sync_sign(world.st, "b", "k", 60, url, &err), -EPROTO);
    world_answer(200, NULL, "[]");
    assert_int_equal(sync_sign(world.st, "b", "k", 60, url, &err), -EPROTO);
}

static void
test_a_long_token(void **state)
{
    (void)state;
    static char body[SF_SIGN_TOKEN_MAX + 200], why[160];
    static const char head[] = "{\"signedURL\":\"/object/sign/b/k?token=a.b.";
    char *token = NULL;
    for (int more = 0; more < 2; more++) {
        size_t n = sizeof head - 1, long_part = SF_SIGN_TOKEN_MAX - 4 + (size_t)more;
        memcpy(body, head, n);
        memset(body + n, 'x', long_part);
        memcpy(body + n + long_part, "\"}", 3);
        assert_int_equal(sf_sign_parse(body, strlen(body), "b", "k", &token, why),
                         more ? -EPROTO : 0);
    }
    assert_int_equal(strlen(token), SF_SIGN_TOKEN_MAX);
    free(token);
}

/* As the service says it. */
static void
test_refusals(void **state)
{
    (void)state;
    struct sf_err err = SF_ERR_INIT;
    char url[4300];
    world_answer(400, NULL,
                 "{\"statusCode\":\"404\",\"error\":\"not_found\",\"message\":\"Object not "
                 "found\",\"code\":\"NoSuchKey\"}");
    assert_int_equal(sync_sign(world.st, "b", "k", 60, url, &err), -ENOENT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_request, world_setup, world_close),
        cmocka_unit_test_setup_teardown(test_other_forms_that_are_good, world_setup, world_close),
        cmocka_unit_test_setup_teardown(test_what_is_not_believed, world_setup, world_close),
        cmocka_unit_test(test_a_long_token),
        cmocka_unit_test_setup_teardown(test_refusals, world_setup, world_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
