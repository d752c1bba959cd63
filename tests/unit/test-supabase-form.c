/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Uploads as a form: the body byte by byte, and the metadata that only it can carry. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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
#include "base/buf.h"
#include "base/str.h"
#include "observe/counter.h"

static int
body_file(const char *text)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

static int
send_form(const struct sf_put_args *a, char id[40], struct sf_err *err)
{
    *err = SF_ERR_INIT;
    return sf_storage_put_form_wait(world.st, a, sync_in(9000), id, err);
}

/* The form of request @i is this one, in which | stands for the end of a line and @ for the
 * boundary. */
static void
assert_form(unsigned i, const char *want)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    const char *head = "multipart/form-data; boundary=";
    assert_true(sf_str_starts(world.got[i].type, head));
    const char *boundary = world.got[i].type + strlen(head);
    assert_true(strlen(boundary) >= 32);
    for (; *want; want++) {
        if (*want == '|')
            sf_buf_puts(&b, "\r\n");
        else if (*want == '@')
            sf_buf_printf(&b, "--%s", boundary);
        else
            sf_buf_putc(&b, *want);
    }
    assert_int_equal(world.got[i].body_len, b.len);
    assert_string_equal(world.got[i].body, b.data);
}

#define FIELD(name, value) "@|Content-Disposition: form-data; name=\"" name "\"||" value "|"
#define FILE_PART(type)                                                                            \
    "@|Content-Disposition: form-data; name=\"file\"; filename=\"file\"|Content-Type: " type "||"

static void
test_form(void **state)
{
    char id[40] = "untouched";
    struct sf_err err;
    struct sf_progress progress = {0};
    int fd = body_file("hello\r\n--x--");
    struct sf_put_args a = {.bucket = "b",
                            .key = "a/k",
                            .fd = fd,
                            .size = 12,
                            .mime = "text/plain; charset=utf-8",
                            .cache_control = "max-age=3600",
                            .metadata = "{\"mode\":\"0644\"}",
                            .upsert = true,
                            .progress = &progress};
    uint64_t calls = sf_counter_get(SF_C_CALLS_FORM);
    (void)state;
    world_answer(200, NULL, "{\"Key\":\"b/a/k\",\"Id\":\"0123\"}");
    assert_int_equal(send_form(&a, id, &err), 0);
    assert_string_equal(id, "0123");
    assert_int_equal(sf_counter_get(SF_C_CALLS_FORM), calls + 1);
    assert_string_equal(world.got[0].method, "POST");
    assert_string_equal(world.got[0].path, "/storage/v1/object/b/a/k");
    assert_string_equal(world.got[0].upsert, "true");
    assert_string_equal(world.got[0].metadata, "-");
    assert_string_equal(world.got[0].cache, "-");
    assert_form(0, FIELD("cacheControl", "3600") FIELD("metadata", "{\"mode\":\"0644\"}")
                       FIELD("contentType", "text/plain; charset=utf-8")
                           FILE_PART("text/plain; charset=utf-8") "hello|--x--|@--|");
    assert_int_equal(progress.sent, world.got[0].body_len);
    assert_int_equal(progress.call, 0);

    /* Nothing but what there is; a Cache-Control that a form would mutilate is left out. */
    a = (struct sf_put_args){
        .bucket = "b", .key = "k", .fd = fd, .cache_control = "no-cache, supafs=\"m=1\""};
    assert_int_equal(send_form(&a, id, &err), 0);
    assert_string_equal(world.got[1].upsert, "-");
    assert_form(1, FIELD("contentType", "application/octet-stream")
                       FILE_PART("application/octet-stream") "|@--|");
    assert_string_not_equal(world.got[0].type, world.got[1].type);
    close(fd);
}

static void
test_limits(void **state)
{
    char id[40] = "untouched", *big = malloc(SF_METADATA_FORM_MAX + 2);
    struct sf_err err;
    int fd = body_file("x");
    struct sf_put_args a = {.bucket = "b", .key = "k", .fd = fd, .size = 1, .metadata = big};
    (void)state;
    world_answer(200, NULL, "{\"Id\":\"0123\"}");
    memset(big, 'x', SF_METADATA_FORM_MAX + 1);
    big[SF_METADATA_FORM_MAX + 1] = '\0';
    assert_int_equal(send_form(&a, id, &err), -ENOTSUP);
    a.metadata = NULL;
    a.mime = "text/plain\r\nx-evil: 1";
    assert_int_equal(send_form(&a, id, &err), -EINVAL);
    a.mime = NULL;
    a.key = "";
    assert_int_equal(send_form(&a, id, &err), -EINVAL);
    a.key = "k";
    a.fd = -1;
    assert_int_equal(send_form(&a, id, &err), -EBADF);
    assert_int_equal(world.served, 0);
    assert_string_equal(id, "untouched");
    a.fd = fd;
    a.metadata = big;
    big[SF_METADATA_FORM_MAX] = '\0';
    assert_int_equal(send_form(&a, id, &err), 0);
    assert_non_null(strstr(world.got[0].body, big));
    close(fd);
    free(big);
}

static void
test_failures(void **state)
{
    char id[40];
    struct sf_err err;
    int fd = body_file("x");
    struct sf_put_args a = {.bucket = "b", .key = "k", .fd = fd, .size = 1};
    (void)state;
    world_answer(400, NULL,
                 "{\"statusCode\":\"409\",\"error\":\"Duplicate\",\"message\":\"The resource "
                 "already exists\",\"code\":\"KeyAlreadyExists\"}");
    assert_int_equal(send_form(&a, id, &err), -EEXIST);
    assert_false(err.outcome_open);
    /* A create is not repeated after a lost reply, a replace is, whole. */
    world_answer(0, NULL, NULL);
    world_then(1, 200, NULL, "{\"Id\":\"0123\"}");
    assert_true(send_form(&a, id, &err) < 0);
    assert_true(err.outcome_open);
    assert_int_equal(world.served, 1);
    a.upsert = true;
    world_answer(0, NULL, NULL);
    world_then(1, 200, NULL, "{\"Id\":\"0123\"}");
    assert_int_equal(send_form(&a, id, &err), 0);
    assert_int_equal(world.served, 2);
    assert_string_equal(world.got[0].body, world.got[1].body);
    close(fd);
}

static void *
cancel_soon(void *arg)
{
    struct sf_progress *p = arg;
    /* All of it has been sent, and the service thinks. */
    for (int i = 0; i < 10000 && (!p->call || p->sent != 5 || !world.served); i++)
        usleep(1000);
    sf_storage_cancel(world.st, p->call);
    return NULL;
}

/* Another thread sees how far an upload is, and ends it. */
static void
test_cancel(void **state)
{
    char id[40];
    pthread_t thread;
    struct sf_err err = SF_ERR_INIT;
    struct sf_progress progress = {0};
    int fd = body_file("hello");
    struct sf_put_args a = {.bucket = "b", .key = "k", .fd = fd, .size = 5, .progress = &progress};
    (void)state;
    world_answer(WORLD_HANG, NULL, NULL);
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &progress), 0);
    assert_int_equal(sf_storage_put_wait(world.st, &a, sync_in(20000), id, &err), -ECANCELED);
    assert_true(err.outcome_open);
    assert_int_equal(progress.sent, 5);
    assert_int_equal(progress.call, 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    close(fd);
}

static void
test_plain_cache_control(void **state)
{
    static const char *const plain[] = {NULL, "", "no-cache", "max-age=0", "max-age=3600"};
    static const char *const other[] = {
        "max-age=",   "max-age=-1", "max-age=1, supafs=\"\"",         "max-age=1 ",
        "public",     "no-cache ",  "max-age=9999999999999999999999", "no-store",
        " max-age=1",
    };
    (void)state;
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        assert_true(sf_cache_control_is_plain(plain[i]));
    for (size_t i = 0; i < sizeof other / sizeof other[0]; i++)
        if (sf_cache_control_is_plain(other[i]))
            fail_msg("%s", other[i]);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_close)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_form),
        TEST(test_limits),
        TEST(test_failures),
        TEST(test_cancel),
        cmocka_unit_test(test_plain_cache_control),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
