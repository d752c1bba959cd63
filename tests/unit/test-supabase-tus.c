/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Resumable uploads: what is sent, what is believed of the answers, and what failures mean. */
#include "supabase/tus.h"

#include <errno.h>
#include <fcntl.h>
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
#include "observe/counter.h"

/* base64url of "b/tus/f.bin/1fd2fe20-d30c-4fa2-8e38-c19f1fb94983" */
#define NAME "Yi90dXMvZi5iaW4vMWZkMmZlMjAtZDMwYy00ZmEyLThlMzgtYzE5ZjFmYjk0OTgz"

static int
create(const struct sf_tus_args *a, char **name, struct sf_err *err)
{
    if (err)
        *err = SF_ERR_INIT;
    return sf_tus_create_wait(world.st, a, sync_in(9000), name, err);
}

static void
test_create(void **state)
{
    struct sf_tus_args a = {.bucket = "b",
                            .key = "tus/f.bin",
                            .size = 5000000000,
                            .mime = "text/plain",
                            .cache_control = "max-age=3600",
                            .metadata = "{\"mode\":\"0644\"}"};
    char *name = NULL;
    uint64_t calls = sf_counter_get(SF_C_CALLS_TUS);
    (void)state;
    world_answer(201, "Location: https://wrong.example:8/x/upload/resumable/" NAME "\r\n", "");
    assert_int_equal(create(&a, &name, NULL), 0);
    assert_string_equal(name, NAME);
    free(name);
    assert_int_equal(sf_counter_get(SF_C_CALLS_TUS), calls + 1);
    assert_string_equal(world.got[0].method, "POST");
    assert_string_equal(world.got[0].path, "/storage/v1/upload/resumable");
    assert_int_equal(world.got[0].body_len, 0);
    assert_string_equal(world.got[0].type, "-");
    assert_string_equal(world.got[0].upsert, "-");
    assert_string_equal(world_header(0, "Tus-Resumable"), "1.0.0");
    assert_string_equal(world_header(0, "Upload-Length"), "5000000000");
    assert_string_equal(world_header(0, "Upload-Metadata"),
                        "bucketName Yg==,objectName dHVzL2YuYmlu,contentType dGV4dC9wbGFpbg==,"
                        "cacheControl MzYwMA==,metadata eyJtb2RlIjoiMDY0NCJ9");
    /* A Cache-Control that the route would mutilate is not sent. */
    a = (struct sf_tus_args){.bucket = "b",
                             .key = "k",
                             .size = 1,
                             .upsert = true,
                             .cache_control = "max-age=3600, supafs=\"m=1\""};
    assert_int_equal(create(&a, &name, NULL), 0);
    free(name);
    assert_string_equal(world.got[1].upsert, "true");
    assert_string_equal(
        world_header(1, "Upload-Metadata"),
        "bucketName Yg==,objectName aw==,contentType YXBwbGljYXRpb24vb2N0ZXQtc3RyZWFt");
}

static void
test_metadata_limit(void **state)
{
    char big[SF_TUS_HEADER_MAX], *name = big;
    struct sf_tus_args a = {.bucket = "b", .key = "k", .size = 1, .metadata = big};
    struct sf_err err;
    (void)state;
    world_answer(201, "Location: /" NAME "\r\n", "");
    /* 5900 bytes are 7868 of base64, and the rest takes 93. */
    memset(big, 'x', sizeof big);
    big[5900] = '\0';
    assert_int_equal(create(&a, &name, NULL), 0);
    free(name);
    assert_true(strlen(world_header(0, "Upload-Metadata")) <= SF_TUS_HEADER_MAX);
    big[5900] = 'x';
    big[6000] = '\0';
    name = big;
    assert_int_equal(create(&a, &name, &err), -ENOTSUP);
    assert_ptr_equal(name, big);
    assert_non_null(strstr(err.msg, "metadata"));
    a.metadata = NULL;
    a.key = "";
    assert_int_equal(create(&a, &name, NULL), -EINVAL);
    assert_int_equal(world.served, 1);
}

static void
test_names(void **state)
{
    static const char *const good[][2] = {
        {"a", "a"},
        {"/a", "a"},
        {"http://h/upload/resumable/aZ09-_", "aZ09-_"},
        {"//h:1/../a", "a"},
        {"http://h/a?x=/b#/c", "a"},
    };
    static const char *const bad[] = {
        "",    "/",   "http://h/", "http://h/a/", "a b",        "a%2Fb", "a=",
        "a+b", "a.b", "..",        "?a",          "/a\xc3\xa9", "a\\b",  "/a;b",
    };
    char *name = NULL, *big = malloc(SF_TUS_NAME_MAX + 2);
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(sf_tus_name_of(good[i][0], &name), 0);
        assert_string_equal(name, good[i][1]);
        free(name);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (sf_tus_name_of(bad[i], &name) != -EPROTO)
            fail_msg("%s", bad[i]);
    memset(big, 'a', SF_TUS_NAME_MAX + 1);
    big[SF_TUS_NAME_MAX + 1] = '\0';
    assert_int_equal(sf_tus_name_of(big, &name), -EPROTO);
    assert_int_equal(sf_tus_name_of(big + 1, &name), 0);
    free(name);
    free(big);
}

static void
test_version(void **state)
{
    char v[40] = "untouched";
    (void)state;
    assert_true(sf_tus_version(NAME, v));
    assert_string_equal(v, "1fd2fe20-d30c-4fa2-8e38-c19f1fb94983");
    snprintf(v, sizeof v, "untouched");
    assert_false(sf_tus_version("", v));
    assert_false(sf_tus_version("a", v));
    assert_false(sf_tus_version("Yi9r", v));             /* b/k */
    assert_false(sf_tus_version("Yi9rLzEyMzQ1Njc4", v)); /* b/k/12345678 */
    assert_false(sf_tus_version("not base64", v));
    assert_string_equal(v, "untouched");
}

static int
offset(const char *name, uint64_t *off, uint64_t *size, struct sf_err *err)
{
    *err = SF_ERR_INIT;
    return sf_tus_offset_wait(world.st, name, true, sync_in(9000), off, size, err);
}

static void
test_offset(void **state)
{
    uint64_t off = 4711, size = 4711;
    struct sf_err err;
    (void)state;
    world_answer(200, "Upload-Offset: 5\r\nUpload-Length: 10\r\nTus-Resumable: 1.0.0\r\n", NULL);
    assert_int_equal(offset(NAME, &off, &size, &err), 0);
    assert_int_equal(off, 5);
    assert_int_equal(size, 10);
    assert_string_equal(world.got[0].method, "HEAD");
    assert_string_equal(world.got[0].path, "/storage/v1/upload/resumable/" NAME);
    assert_string_equal(world.got[0].upsert, "true");
    assert_string_equal(world_header(0, "Tus-Resumable"), "1.0.0");

    off = size = 4711;
    static const char *const lies[] = {
        "Upload-Length: 10\r\n",
        "Upload-Offset: 5\r\n",
        "Upload-Offset: 11\r\nUpload-Length: 10\r\n",
        "Upload-Offset: -1\r\nUpload-Length: 10\r\n",
        "Upload-Offset: 99999999999999999999\r\nUpload-Length: 10\r\n",
        "Upload-Offset: 5x\r\nUpload-Length: 10\r\n",
    };
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        world_answer(200, lies[i], NULL);
        assert_int_equal(offset(NAME, &off, &size, &err), -EPROTO);
        assert_false(err.outcome_open);
    }
    world_answer(404, NULL, NULL);
    assert_int_equal(offset(NAME, &off, &size, &err), -ENOENT);
    world_answer(410, NULL, NULL);
    assert_int_equal(offset(NAME, &off, &size, &err), -ENOENT);
    /* No body can say more: that is how a refused token looks. */
    world_answer(400, NULL, NULL);
    assert_int_equal(offset(NAME, &off, &size, &err), -EKEYREJECTED);
    assert_non_null(strstr(err.msg, "the test's key"));
    /* A question may be asked again. */
    world_answer(0, NULL, NULL);
    world_then(1, 503, NULL, NULL);
    world_then(2, 200, "Upload-Offset: 0\r\nUpload-Length: 0\r\n", NULL);
    assert_int_equal(off, 4711);
    assert_int_equal(offset(NAME, &off, &size, &err), 0);
    assert_int_equal(world.served, 3);
    /* A name that was not made by the service is not sent to it. */
    assert_int_equal(offset("../../bucket/b", &off, &size, &err), -EINVAL);
    assert_int_equal(offset("", &off, &size, &err), -EINVAL);
    assert_int_equal(world.served, 3);
}

static int
send_piece(int fd, uint64_t from, uint64_t len, uint64_t *now_at, struct sf_err *err)
{
    struct sf_progress progress = {0};
    struct sf_tus_piece p = {
        .name = NAME, .fd = fd, .off = from, .len = len, .upsert = true, .progress = &progress};
    *err = SF_ERR_INIT;
    int rc = sf_tus_send_wait(world.st, &p, sync_in(9000), now_at, err);
    assert_int_equal(progress.call, 0);
    if (rc == 0 && len)
        assert_int_equal(progress.sent, from + len);
    return rc;
}

static int
body_file(const char *text)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

static void
test_pieces(void **state)
{
    uint64_t now_at = 4711;
    struct sf_err err;
    int fd = body_file("0123456789");
    (void)state;
    world_answer(204, "Upload-Offset: 7\r\n", NULL);
    assert_int_equal(send_piece(fd, 3, 4, &now_at, &err), 0);
    assert_int_equal(now_at, 7);
    assert_string_equal(world.got[0].method, "PATCH");
    assert_string_equal(world.got[0].path, "/storage/v1/upload/resumable/" NAME);
    assert_string_equal(world.got[0].body, "3456");
    assert_string_equal(world.got[0].type, "application/offset+octet-stream");
    assert_string_equal(world.got[0].upsert, "true");
    assert_string_equal(world_header(0, "Upload-Offset"), "3");
    /* Somebody broke in: less was kept than sent. */
    world_answer(204, "Upload-Offset: 4\r\n", NULL);
    assert_int_equal(send_piece(fd, 3, 4, &now_at, &err), 0);
    assert_int_equal(now_at, 4);
    /* The end of an upload whose bytes are all there. */
    world_answer(204, "Upload-Offset: 10\r\ntus-complete: 1\r\n", NULL);
    assert_int_equal(send_piece(fd, 10, 0, &now_at, &err), 0);
    assert_int_equal(now_at, 10);
    assert_string_equal(world_header(0, "Content-Length"), "0");

    now_at = 4711;
    static const char *const lies[] = {NULL, "Upload-Offset: 2\r\n", "Upload-Offset: 8\r\n",
                                       "Upload-Offset: many\r\n"};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        world_answer(204, lies[i], NULL);
        assert_int_equal(send_piece(fd, 3, 4, &now_at, &err), -EPROTO);
        assert_true(err.outcome_open);
    }
    assert_int_equal(send_piece(fd, UINT64_MAX, 4, &now_at, &err), -EFBIG);
    assert_int_equal(now_at, 4711);
    close(fd);
}

static const struct {
    int status;
    const char *body;
    int create, send;
    bool open; /* of a piece */
} failures[] = {
    {409, "Upload-Offset conflict\n", -ESPIPE, -ESPIPE, false},
    {409, "The resource already exists", -EEXIST, -EEXIST, false},
    {413, "upload's size exceeded\n", -EFBIG, -EFBIG, false},
    {413, "<html>Request Entity Too Large</html>", -EFBIG, -EFBIG, false},
    {415, "mime type a/b is not supported", -EPERM, -EPERM, false},
    {404, "The file for this url was not found\n", -ENOENT, -ENOENT, false},
    {410, "", -EIO, -ENOENT, false},
    {404, "Bucket not found", -ENOENT, -ENOENT, false},
    {404, "<html>no such page</html>", -EOPNOTSUPP, -ENOENT, false},
    {403, "new row violates row-level security policy", -EACCES, -EACCES, false},
    {400, "Invalid key: tus/x\n", -EINVAL, -EINVAL, false},
    {412, "Tus-Resumable Required\n", -EOPNOTSUPP, -EOPNOTSUPP, false},
    {400,
     "{\"statusCode\":\"403\",\"code\":\"AccessDenied\",\"error\":\"Unauthorized\",\"message\":"
     "\"\\\"exp\\\" claim timestamp check failed\"}",
     -EKEYEXPIRED, -EKEYEXPIRED, false},
    {500, "Something went wrong with that request", -EIO, -EIO, true},
    {502, "<html>bad gateway</html>", -EIO, -EIO, true},
};

static void
test_failures(void **state)
{
    struct sf_tus_args a = {.bucket = "b", .key = "k", .size = 1};
    struct sf_err err;
    uint64_t now_at;
    char *name = NULL;
    int fd = body_file("0123");
    (void)state;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        world_answer(failures[i].status, NULL, failures[i].body);
        int rc = create(&a, &name, &err);
        if (rc != failures[i].create || err.code != rc)
            fail_msg("%d %s: %d %s", failures[i].status, failures[i].body, rc, err.msg);
        rc = send_piece(fd, 0, 4, &now_at, &err);
        if (rc != failures[i].send || err.outcome_open != failures[i].open)
            fail_msg("%d %s: %d %s", failures[i].status, failures[i].body, rc, err.msg);
        assert_int_equal(world.served, 2);
    }
    /* Not repeated when the reply is lost, but when nothing was done. */
    world_answer(0, NULL, NULL);
    assert_true(send_piece(fd, 0, 4, &now_at, &err) < 0);
    assert_true(err.outcome_open);
    assert_int_equal(world.served, 1);
    assert_true(create(&a, &name, &err) < 0);
    assert_int_equal(world.served, 2);
    world_answer(423, NULL, "");
    world_then(1, 503, NULL, "acquiring lock timeout");
    world_then(2, 204, "Upload-Offset: 4\r\n", NULL);
    assert_int_equal(send_piece(fd, 0, 4, &now_at, &err), 0);
    assert_string_equal(world.got[2].body, "0123");
    close(fd);
}

static void
test_bad_locations(void **state)
{
    static const char *const lies[] = {NULL, "Location: \r\n", "Location: http://h/up/\r\n",
                                       "Location: /a%20b\r\n"};
    struct sf_tus_args a = {.bucket = "b", .key = "k", .size = 1};
    struct sf_err err;
    char *name = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        world_answer(201, lies[i], "");
        assert_int_equal(create(&a, &name, &err), -EPROTO);
        assert_null(name);
    }
}

static void
test_drop(void **state)
{
    struct sf_err err = SF_ERR_INIT;
    (void)state;
    world_answer(204, NULL, NULL);
    assert_int_equal(sf_tus_drop_wait(world.st, NAME, false, sync_in(9000), &err), 0);
    assert_string_equal(world.got[0].method, "DELETE");
    assert_string_equal(world.got[0].path, "/storage/v1/upload/resumable/" NAME);
    assert_string_equal(world.got[0].type, "-");
    world_answer(404, NULL, "The file for this url was not found\n");
    assert_int_equal(sf_tus_drop_wait(world.st, NAME, false, sync_in(9000), &err), -ENOENT);
    world_answer(409, NULL, "The resource already exists");
    assert_int_equal(sf_tus_drop_wait(world.st, NAME, false, sync_in(9000), NULL), -EEXIST);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_close)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_create),
        TEST(test_metadata_limit),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_version),
        TEST(test_offset),
        TEST(test_pieces),
        TEST(test_failures),
        TEST(test_bad_locations),
        TEST(test_drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
