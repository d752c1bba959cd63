/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the Storage client sends, byte by byte, and what it makes of answers that no good service
 * gives. */
#include "supabase/storage.h"

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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/storage-sync.h"
#include "../lib/storage-world.h"
#include "base/str.h"
#include "supabase/call.h"

#define FAULT(code, status)                                                                        \
    "{\"statusCode\":\"" status "\",\"error\":\"x\",\"message\":\"what it says\",\"code\":\"" code \
    "\"}"
#define EXPIRED                                                                                    \
    "{\"statusCode\":\"403\",\"error\":\"Unauthorized\",\"code\":\"AccessDenied\",\"message\":"    \
    "\"\\\"exp\\\" claim timestamp check failed\"}"

/* ---- what is sent ---- */

static const char *
path_for(const char *bucket, const char *key)
{
    struct sf_object o;
    world_answer(200, NULL, WORLD_INFO);
    assert_int_equal(sf_storage_info_wait(world.st, bucket, key, sync_in(20000), &o, NULL), 0);
    sf_object_fini(&o);
    return world.got[0].path;
}

#define BASE "/storage/v1/object/info/authenticated/"

static void
test_addresses(void **state)
{
    (void)state;
    assert_string_equal(path_for("b", "a/b.txt"), BASE "b/a/b.txt");
    assert_string_equal(path_for("b u", "a b+c?d=e&f'(g)!*,:;@$"),
                        BASE "b%20u/a%20b%2Bc%3Fd%3De%26f%27%28g%29%21%2A%2C%3A%3B%40%24");
    assert_string_equal(path_for("b", "\xc3\xa9#%~"), BASE "b/%C3%A9%23%25~");
    /* What proxies would fold is guarded. */
    assert_string_equal(path_for("..", "a"), BASE "%2E%2E/a");
    assert_string_equal(path_for(".", "a"), BASE "%2E/a");
    assert_string_equal(path_for("b", "a/../c"), BASE "b/a%2F%2E%2E%2Fc");
    assert_string_equal(path_for("b", "/lead"), BASE "b/%2Flead");
    assert_string_equal(path_for("b", "a//b"), BASE "b/a%2F%2Fb");
    assert_string_equal(path_for("b", "trail/"), BASE "b/trail%2F");
    assert_string_equal(path_for("b", "..a/.b"), BASE "b/..a/.b");
    assert_string_equal(path_for("a/b", "c"), BASE "a%2Fb/c");
}

static void
test_empty_names(void **state)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_object o;
    char id[40];
    (void)state;
    world_answer(200, NULL, WORLD_INFO);
    /* An empty key would address the bucket itself. */
    assert_int_equal(sf_storage_info_wait(world.st, "b", "", sync_in(9000), &o, &err), -EINVAL);
    assert_int_equal(sf_storage_delete_wait(world.st, "b", "", sync_in(9000), NULL), -EINVAL);
    assert_int_equal(sf_storage_bucket_delete_wait(world.st, "", sync_in(9000), NULL), -EINVAL);
    assert_int_equal(sync_verify(world.st, "", &err), -EINVAL);
    struct sf_put_args put = {.bucket = "", .key = "k", .fd = 0, .size = 0};
    assert_int_equal(sf_storage_put_wait(world.st, &put, sync_in(9000), id, NULL), -EINVAL);
    assert_int_equal(world.served, 0);
}

static void
test_headers(void **state)
{
    char bearer[600];
    (void)state;
    snprintf(bearer, sizeof bearer, "Bearer %s", world_token(WORLD_SERVICE));
    path_for("b", "k");
    assert_string_equal(world.got[0].method, "GET");
    assert_string_equal(world.got[0].authorization, bearer);
    assert_string_equal(world.got[0].apikey, bearer + 7);
    assert_string_equal(world.got[0].agent, "supafs/" PACKAGE_VERSION);
    assert_string_equal(world.got[0].info, "supafs/" PACKAGE_VERSION);

    world_close(NULL);
    world_open(&(struct sf_auth_source){.value = "sb_secret_abcdefghijkl"});
    path_for("b", "k");
    assert_string_equal(world.got[0].authorization, "-");
    assert_string_equal(world.got[0].apikey, "sb_secret_abcdefghijkl");

    world_close(NULL);
    world_open(&(struct sf_auth_source){.value = world_token("{\"role\":\"authenticated\"}"),
                                        .apikey = "sb_publishable_abcdefghijkl"});
    snprintf(bearer, sizeof bearer, "Bearer %s", world_token("{\"role\":\"authenticated\"}"));
    path_for("b", "k");
    assert_string_equal(world.got[0].authorization, bearer);
    assert_string_equal(world.got[0].apikey, "sb_publishable_abcdefghijkl");
}

static void
test_list_request(void **state)
{
    sf_autobuf struct sf_buf keys = SF_BUF_INIT, last = SF_BUF_INIT;
    struct sf_list_args a = {.bucket = "b", .prefix = "d\"/", .after = "d\"/x", .delimiter = true};
    size_t n;
    bool more;
    (void)state;
    world_answer(200, NULL, "{\"hasNext\":false,\"folders\":[],\"objects\":[]}");
    assert_int_equal(sync_list(world.st, &a, &keys, &last, &n, &more, NULL), 0);
    assert_string_equal(world.got[0].method, "POST");
    assert_string_equal(world.got[0].path, "/storage/v1/object/list-v2/b");
    assert_string_equal(world.got[0].type, "application/json");
    assert_string_equal(world.got[0].body,
                        "{\"prefix\":\"d\\\"/\",\"limit\":1000,\"with_delimiter\":"
                        "true,\"cursor\":\"bDpkIi94AQ==\"}");
    a = (struct sf_list_args){.bucket = "b", .limit = 5000};
    assert_int_equal(sync_list(world.st, &a, &keys, &last, &n, &more, NULL), 0);
    assert_string_equal(world.got[1].body,
                        "{\"prefix\":\"\",\"limit\":1000,\"with_delimiter\":false}");
    /* A prefix that is not UTF-8 is no prefix of any key. */
    a.prefix = "\xff";
    struct sf_err err;
    assert_int_equal(sync_list(world.st, &a, &keys, &last, &n, &more, &err), -EINVAL);
}

static void
test_change_requests(void **state)
{
    struct sf_copy_args copy = {.bucket = "b",
                                .key = "k",
                                .to_bucket = "c",
                                .to_key = "l",
                                .upsert = true,
                                .set_metadata = true,
                                .cache_control = "max-age=1, supafs=\"m=1\""};
    (void)state;
    world_answer(200, NULL, "{\"message\":\"Successfully done\",\"name\":\"n b\",\"Key\":\"c/l\"}");
    assert_int_equal(sf_storage_copy_wait(world.st, &copy, sync_in(9000), NULL, NULL), 0);
    assert_string_equal(world.got[0].path, "/storage/v1/object/copy");
    assert_string_equal(world.got[0].upsert, "true");
    assert_string_equal(world.got[0].metadata, "e30=");
    assert_string_equal(
        world.got[0].body,
        "{\"bucketId\":\"b\",\"sourceKey\":\"k\",\"destinationBucket\":\"c\",\"destinationKey\":"
        "\"l\",\"copyMetadata\":false,\"metadata\":{\"cacheControl\":\"max-age=1, "
        "supafs=\\\"m=1\\\"\"}}");
    copy = (struct sf_copy_args){.bucket = "b", .key = "k", .to_bucket = "b", .to_key = "l"};
    assert_int_equal(sf_storage_copy_wait(world.st, &copy, sync_in(9000), NULL, NULL), 0);
    assert_string_equal(world.got[1].upsert, "-");
    assert_string_equal(world.got[1].metadata, "-");
    assert_null(strstr(world.got[1].body, "etadata"));

    assert_int_equal(sf_storage_move_wait(world.st, "b", "k", "c", "l", sync_in(9000), NULL), 0);
    assert_string_equal(world.got[2].path, "/storage/v1/object/move");
    assert_string_equal(world.got[2].body, "{\"bucketId\":\"b\",\"sourceKey\":\"k\","
                                           "\"destinationBucket\":\"c\",\"destinationKey\":\"l\"}");
    assert_int_equal(sf_storage_delete_wait(world.st, "b", "a/k", sync_in(9000), NULL), 0);
    assert_string_equal(world.got[3].method, "DELETE");
    assert_string_equal(world.got[3].path, "/storage/v1/object/b/a/k");
    /* With a type but no body the service would refuse. */
    assert_string_equal(world.got[3].type, "-");
    assert_int_equal(sf_storage_bucket_create_wait(world.st, "n b", sync_in(9000), NULL), 0);
    assert_string_equal(world.got[4].path, "/storage/v1/bucket");
    assert_string_equal(world.got[4].body, "{\"id\":\"n b\",\"name\":\"n b\",\"public\":false}");
    assert_int_equal(sf_storage_bucket_delete_wait(world.st, "n b", sync_in(9000), NULL), 0);
    assert_string_equal(world.got[5].path, "/storage/v1/bucket/n%20b");
    assert_string_equal(world.got[5].type, "-");
    const char *const mimes[] = {"text/*", "image/png", NULL};
    const struct sf_bucket_spec spec = {
        .id = "n", .is_public = true, .size_limit = 10485760, .mimes = mimes};
    assert_int_equal(sf_storage_bucket_make_wait(world.st, &spec, sync_in(9000), NULL), 0);
    assert_string_equal(world.got[6].body,
                        "{\"id\":\"n\",\"name\":\"n\",\"public\":true,\"file_size_limit\":10485760,"
                        "\"allowed_mime_types\":[\"text/*\",\"image/png\"]}");
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
test_put_requests(void **state)
{
    char id[40] = "untouched", big[SF_METADATA_HEADER_MAX + 2];
    int fd = body_file("hello");
    struct sf_err err = SF_ERR_INIT;
    struct sf_put_args put = {.bucket = "b", .key = "k", .fd = fd, .size = 5};
    (void)state;
    world_answer(200, NULL, "{\"Key\":\"b/k\",\"Id\":\"0123\"}");
    assert_int_equal(sf_storage_put_wait(world.st, &put, sync_in(9000), id, NULL), 0);
    assert_string_equal(id, "0123");
    assert_string_equal(world.got[0].method, "POST");
    assert_string_equal(world.got[0].path, "/storage/v1/object/b/k");
    assert_string_equal(world.got[0].body, "hello");
    assert_string_equal(world.got[0].type, "application/octet-stream");
    assert_string_equal(world.got[0].upsert, "-");
    assert_string_equal(world.got[0].metadata, "-");
    assert_string_equal(world.got[0].cache, "-");
    put.upsert = true;
    put.mime = "text/plain";
    put.cache_control = "no-cache";
    put.metadata = "{\"a\":1}";
    assert_int_equal(sf_storage_put_wait(world.st, &put, sync_in(9000), id, NULL), 0);
    assert_string_equal(world.got[1].method, "POST");
    assert_string_equal(world.got[1].type, "text/plain");
    assert_string_equal(world.got[1].upsert, "true");
    assert_string_equal(world.got[1].metadata, "eyJhIjoxfQ==");
    assert_string_equal(world.got[1].cache, "no-cache");
    put.size = 0;
    assert_int_equal(sf_storage_put_wait(world.st, &put, sync_in(9000), id, NULL), 0);
    assert_string_equal(world.got[2].body, "");
    assert_int_equal(world.served, 3);

    /* Refused before a byte is sent. */
    memset(big, 'x', sizeof big);
    big[sizeof big - 1] = '\0';
    put.metadata = big;
    assert_int_equal(sf_storage_put_wait(world.st, &put, sync_in(9000), id, &err), -ENOTSUP);
    assert_non_null(strstr(err.msg, "metadata"));
    assert_int_equal(world.served, 3);
    big[SF_METADATA_HEADER_MAX] = '\0';
    assert_int_equal(sf_storage_put_wait(world.st, &put, sync_in(9000), id, NULL), 0);
    assert_int_equal(strlen(world.got[3].metadata), SF_METADATA_HEADER_MAX * 4 / 3);
    put.metadata = NULL;
    put.mime = "text/plain\r\nx-evil: 1";
    assert_int_equal(sf_storage_put_wait(world.st, &put, sync_in(9000), id, NULL), -EINVAL);
    put.mime = NULL;
    put.fd = -1;
    assert_int_equal(sf_storage_put_wait(world.st, &put, sync_in(9000), id, NULL), -EBADF);
    assert_int_equal(world.served, 4);

    put.fd = fd;
    world_answer(200, NULL, "{\"Key\":\"b/k\"}");
    assert_int_equal(sf_storage_put_wait(world.st, &put, sync_in(9000), id, NULL), 0);
    assert_string_equal(id, "");
    /* It was taken, but by whom? */
    world_answer(200, NULL, "<html>");
    err = SF_ERR_INIT;
    assert_int_equal(sf_storage_put_wait(world.st, &put, sync_in(9000), id, &err), -EPROTO);
    assert_true(err.outcome_open);
    close(fd);
}

/* ---- ranges ---- */

static char data[64];

static int
get(uint64_t off, size_t len, uint64_t total, const char *etag, size_t *got, struct sf_err *err)
{
    struct sf_get_args a = {.bucket = "b",
                            .key = "k",
                            .off = off,
                            .len = len,
                            .buf = data,
                            .etag = etag,
                            .total = total,
                            .any_total = total == UINT64_MAX,
                            .token = "t/1 &"};
    uint64_t said;
    memset(data, '.', sizeof data);
    data[sizeof data - 1] = '\0';
    int rc = sync_get(world.st, &a, got, &said, err);
    if (rc == 0 && total != UINT64_MAX)
        assert_int_equal(said, total);
    return rc;
}

#define TAG "ETag: \"e1\"\r\n"

static void
test_range(void **state)
{
    struct sf_err err;
    size_t n;
    (void)state;
    world_answer(206, TAG "Content-Range: bytes 4-6/11\r\n", "o w");
    assert_int_equal(get(4, 3, 11, "\"e1\"", &n, &err), 0);
    assert_int_equal(n, 3);
    assert_memory_equal(data, "o w.", 4);
    assert_string_equal(world.got[0].range, "bytes=4-6");
    assert_string_equal(world.got[0].path, "/storage/v1/object/authenticated/b/k?v=t%2F1%20%26");
    /* To the end of the object. */
    world_answer(206, TAG "Content-Range: bytes 6-10/11\r\n", "world");
    assert_int_equal(get(6, 40, 11, "", &n, &err), 0);
    assert_int_equal(n, 5);
    /* A proxy may have weakened the tag. */
    world_answer(206, "ETag: W/\"e1\"\r\nContent-Range: bytes 6-10/11\r\n", "world");
    assert_int_equal(get(6, 40, 11, "\"e1\"", &n, &err), 0);
    world_answer(206, "Content-Range: bytes 6-10/11\r\n", "world");
    assert_int_equal(get(6, 40, UINT64_MAX, NULL, &n, &err), 0);
}

static void
test_range_lies(void **state)
{
    static const struct {
        const char *headers, *body;
        int rc;
    } lies[] = {
        {"ETag: \"e2\"\r\nContent-Range: bytes 4-6/11\r\n", "o w", -ESTALE},
        {TAG "Content-Range: bytes 4-6/12\r\n", "o w", -ESTALE},
        {TAG "Content-Range: bytes 0-0/1\r\n", "o", -ESTALE},
        {"Content-Range: bytes 4-6/11\r\n", "o w", -EIO},
        {TAG, "o w", -EIO},
        {TAG "Content-Range: bytes 4-6/*\r\n", "o w", -EIO},
        {TAG "Content-Range: bytes 4-6\r\n", "o w", -EIO},
        {TAG "Content-Range: items 4-6/11\r\n", "o w", -EIO},
        {TAG "Content-Range: bytes 6-4/11\r\n", "o w", -EIO},
        {TAG "Content-Range: bytes 4-11/11\r\n", "o w", -EIO},
        {TAG "Content-Range: bytes 99999999999999999999-6/11\r\n", "o w", -EIO},
        {TAG "Content-Range: bytes 3-5/11\r\n", "o w", -EIO},
        {TAG "Content-Range: bytes 4-5/11\r\n", "o ", -EIO},
        {TAG "Content-Range: bytes 4-6/11\r\n", "o ", -EIO},
        {TAG "Content-Range: bytes 4-6/11\r\n", "", -EIO},
        {TAG "Content-Range: bytes 4-7/11\r\n", "o wo", -EIO},
        {TAG "Content-Range: bytes 4-6/11\r\n", "o wo", -EIO},
    };
    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct sf_err err;
        size_t n = 77;
        world_answer(206, lies[i].headers, lies[i].body);
        int rc = get(4, 3, 11, "\"e1\"", &n, &err);
        if (rc != lies[i].rc)
            fail_msg("%s%s: %d (%s)", lies[i].headers, lies[i].body, rc, err.msg);
        assert_int_equal(n, 77);
        assert_int_equal(data[3], '.');
    }
}

static void
test_whole_for_range(void **state)
{
    struct sf_err err;
    size_t n;
    (void)state;
    world_answer(200, TAG, "hello world");
    assert_int_equal(get(0, 40, 11, "\"e1\"", &n, &err), 0);
    assert_int_equal(n, 11);
    assert_memory_equal(data, "hello world", 11);
    assert_int_equal(get(6, 40, 11, "\"e1\"", &n, &err), 0);
    assert_int_equal(n, 5);
    assert_memory_equal(data, "world", 5);
    /* It does not fit what was asked for. */
    assert_int_equal(get(0, 10, 11, "\"e1\"", &n, &err), -EIO);
    assert_non_null(strstr(err.msg, "longer"));
    assert_int_equal(get(0, 40, 12, "\"e1\"", &n, &err), -ESTALE);
    assert_int_equal(get(0, 40, 11, "\"e2\"", &n, &err), -ESTALE);
    assert_int_equal(get(20, 20, UINT64_MAX, NULL, &n, &err), -ESTALE);
    world_answer(204, TAG, "");
    assert_int_equal(get(0, 40, 11, NULL, &n, &err), -EIO);
    world_answer(304, TAG, "");
    assert_int_equal(get(0, 40, 11, NULL, &n, &err), -EIO);
}

static void
test_range_refused(void **state)
{
    struct sf_err err;
    size_t n;
    (void)state;
    world_answer(416, NULL, FAULT("InvalidRange", "416"));
    assert_int_equal(get(0, 5, 11, NULL, &n, &err), -ESTALE);
    assert_int_equal(world.served, 1);
    assert_int_equal(get(0, 0, 11, NULL, &n, &err), -EINVAL);
    assert_int_equal(get(UINT64_MAX, 5, 11, NULL, &n, &err), -EINVAL);
    assert_int_equal(world.served, 1);
    /* In the moment of an overwrite both versions can be away, once. */
    world_answer(400, NULL,
                 "{\"error\":\"Not found\",\"message\":\"The resource was not found\","
                 "\"statusCode\":\"404\",\"code\":\"NoSuchKey\"}");
    world_then(1, 206, TAG "Content-Range: bytes 0-4/11\r\n", "hello");
    assert_int_equal(get(0, 5, 11, NULL, &n, &err), 0);
    assert_int_equal(world.served, 2);
    world_answer(400, NULL,
                 "{\"error\":\"Not found\",\"message\":\"The resource was not found\","
                 "\"statusCode\":\"404\",\"code\":\"NoSuchKey\"}");
    assert_int_equal(get(0, 5, 11, NULL, &n, &err), -ENOENT);
    assert_int_equal(world.served, 2);
}

/* ---- errors ---- */

static void
test_messages(void **state)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_object o;
    (void)state;
    world_answer(400, "sb-request-id: 0198-abc\r\n", FAULT("NoSuchKey", "404"));
    assert_int_equal(sf_storage_info_wait(world.st, "bu", "k\n\xc3", sync_in(9000), &o, &err),
                     -ENOENT);
    assert_string_equal(err.msg, "GET info bu/k??: HTTP 400 (request 0198-abc): NoSuchKey: what it "
                                 "says");
    assert_string_equal(err.api_code, "NoSuchKey");
    assert_int_equal(err.http_status, 400);
    assert_false(err.retryable || err.outcome_open);

    sf_autobuf struct sf_buf key = SF_BUF_INIT;
    for (int i = 0; i < 200; i++)
        sf_buf_printf(&key, "part%03d/", i);
    sf_buf_puts(&key, "the-end");
    err = SF_ERR_INIT;
    assert_int_equal(sf_storage_delete_wait(world.st, "bu", key.data, sync_in(9000), &err),
                     -ENOENT);
    assert_non_null(strstr(err.msg, "DELETE object bu/part000/"));
    assert_non_null(strstr(err.msg, "the-end: HTTP"));

    /* A service that says the token back must not make us say it. */
    char body[800];
    snprintf(body, sizeof body, "{\"statusCode\":\"400\",\"message\":\"bad %s here\"}",
             world_token(WORLD_SERVICE));
    world_answer(400, "x-request-id: \x1b[2J\r\n", body);
    err = SF_ERR_INIT;
    assert_int_equal(sf_storage_delete_wait(world.st, "b", "k", sync_in(9000), &err), -EIO);
    assert_null(strstr(err.msg, world_token(WORLD_SERVICE)));
    assert_null(strchr(err.msg, '\x1b'));

    world_answer(404, NULL, "<html>no such page</html>");
    err = SF_ERR_INIT;
    assert_int_equal(sf_storage_delete_wait(world.st, "b", "k", sync_in(9000), &err), -EIO);
    assert_non_null(strstr(err.msg, "not an answer of a Storage service"));
}

/* A gateway's page with a 200 is no success, and nobody knows whether it was one. */
static void
test_strange_success(void **state)
{
    struct sf_copy_args copy = {.bucket = "b", .key = "k", .to_bucket = "b", .to_key = "l"};
    struct sf_object o;
    static const char *const bodies[] = {"<html>", "", "{}", "[]", "{\"status\":\"ok\"}"};
    struct sf_err err;
    int fd = body_file("hello");
    char id[40];
    struct sf_put_args put = {.bucket = "b", .key = "k", .fd = fd, .size = 5};
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        world_answer(200, NULL, bodies[i]);
        for (int what = 0; what < 6; what++) {
            int64_t until = sync_in(9000);
            err = SF_ERR_INIT;
            int rc = what == 0   ? sf_storage_delete_wait(world.st, "b", "k", until, &err)
                     : what == 1 ? sf_storage_move_wait(world.st, "b", "k", "b", "l", until, &err)
                     : what == 2 ? sf_storage_bucket_create_wait(world.st, "n", until, &err)
                     : what == 3 ? sf_storage_bucket_delete_wait(world.st, "n", until, &err)
                     : what == 4 ? sf_storage_put_wait(world.st, &put, until, id, &err)
                                 : sf_storage_copy_wait(world.st, &copy, until, NULL, &err);
            assert_int_equal(rc, -EPROTO);
            assert_true(err.outcome_open);
        }
        err = SF_ERR_INIT;
        assert_int_equal(sf_storage_info_wait(world.st, "b", "k", sync_in(9000), &o, &err),
                         -EPROTO);
        assert_false(err.outcome_open);
    }
    close(fd);
}

/* Nothing that may have taken effect is done twice. */
static void
test_outcome_open(void **state)
{
    struct sf_err err = SF_ERR_INIT;
    int fd = body_file("hello");
    char id[40];
    struct sf_put_args put = {.bucket = "b", .key = "k", .fd = fd, .size = 5};
    (void)state;
    world_answer(500, NULL, FAULT("InternalError", "500"));
    assert_int_equal(sf_storage_move_wait(world.st, "b", "k", "b", "l", sync_in(9000), &err), -EIO);
    assert_true(err.outcome_open);
    assert_int_equal(world.served, 1);
    err = SF_ERR_INIT;
    assert_int_equal(sf_storage_put_wait(world.st, &put, sync_in(9000), id, &err), -EIO);
    assert_true(err.outcome_open);
    assert_int_equal(world.served, 2);

    world_answer(0, NULL, NULL);
    err = SF_ERR_INIT;
    assert_true(sf_storage_delete_wait(world.st, "b", "k", sync_in(9000), &err) < 0);
    assert_true(err.outcome_open);
    assert_non_null(strstr(err.msg, "DELETE object b/k"));
    assert_int_equal(world.served, 1);

    /* A refusal is no doubt. */
    world_answer(400, NULL, FAULT("KeyAlreadyExists", "409"));
    err = SF_ERR_INIT;
    assert_int_equal(sf_storage_put_wait(world.st, &put, sync_in(9000), id, &err), -EEXIST);
    assert_false(err.outcome_open);

    /* What was refused for being busy was not done: once more. */
    world_answer(429, NULL, FAULT("SlowDown", "429"));
    world_then(1, 400, NULL, FAULT("LockTimeout", "503"));
    world_then(2, 200, NULL, "{\"Id\":\"7\"}");
    assert_int_equal(sf_storage_put_wait(world.st, &put, sync_in(9000), id, NULL), 0);
    assert_int_equal(world.served, 3);
    assert_string_equal(world.got[2].body, "hello");

    /* A replace may be repeated whatever happened. */
    put.upsert = true;
    world_answer(0, NULL, NULL);
    world_then(1, 502, NULL, "<html>bad gateway</html>");
    world_then(2, 200, NULL, "{\"Id\":\"8\"}");
    assert_int_equal(sf_storage_put_wait(world.st, &put, sync_in(9000), id, NULL), 0);
    assert_int_equal(world.served, 3);
    assert_string_equal(id, "8");
    /* The first try may have been done, whatever the second one hears. */
    world_answer(0, NULL, NULL);
    world_then(1, 400, NULL, FAULT("AccessDenied", "403"));
    err = SF_ERR_INIT;
    assert_int_equal(sf_storage_put_wait(world.st, &put, sync_in(9000), id, &err), -EACCES);
    assert_true(err.outcome_open);
    close(fd);
}

static void
test_retries_end(void **state)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_object o;
    (void)state;
    world_answer(503, NULL, "");
    /* Whether the last try is answered before the deadline is chance. */
    int rc = sf_storage_info_wait(world.st, "b", "k", sync_in(60), &o, &err);
    assert_true(rc == -EIO || rc == -ETIMEDOUT);
    assert_true(world.served > 1);
    world_answer(429, NULL, FAULT("SlowDown", "429"));
    err = SF_ERR_INIT;
    assert_int_equal(sf_storage_info_wait(world.st, "b", "k", sync_in(60), &o, &err), -ETIMEDOUT);
}

/* ---- replies that are not what they should be ---- */

static void
test_bad_info(void **state)
{
    static const char *const bodies[] = {
        "",
        "[]",
        "null",
        "<html>",
        "{\"name\":\"k\",\"id\":7}",
        "{\"name\":\"k\",\"size\":-1}",
        "{\"name\":\"k\",\"size\":\"1\"}",
        "{\"name\":\"k\",\"metadata\":[]}",
        "{\"name\":\"k\",\"last_modified\":\"x\"}",
        "{\"name\":\"k\",\"etag\":{}}",
        "{\"name\":\"k\",\"id\":\"0123456789012345678901234567890123456789\"}",
        "{\"name\":\"k\",\"size\":1,\"size\":2}",
        "{\"name\":\"k\",\"id\":\"\xff\"}",
    };
    struct sf_object o;
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct sf_err err = SF_ERR_INIT;
        world_answer(200, NULL, bodies[i]);
        int rc = sf_storage_info_wait(world.st, "b", "k", sync_in(9000), &o, &err);
        if (rc != -EPROTO)
            fail_msg("accepted (%d): %s", rc, bodies[i]);
        assert_int_equal(world.served, 1);
    }
    /* Others' metadata as it is spelled, with numbers that nothing here could hold. */
    world_answer(
        200, NULL,
        "{\"name\":\"k\",\"id\":\"i\",\"metadata\" : {\"n\":123456789012345678901234567890, "
        "\"f\":0.10,\"s\":\"\\u00e9}\"},\"size\":3}");
    assert_int_equal(sf_storage_info_wait(world.st, "b", "k", sync_in(9000), &o, NULL), 0);
    assert_string_equal(o.metadata, "{\"n\":123456789012345678901234567890, "
                                    "\"f\":0.10,\"s\":\"\\u00e9}\"}");
    assert_int_equal(o.size, 3);
    sf_object_fini(&o);
    world_answer(200, NULL, WORLD_INFO);
    assert_int_equal(sf_storage_info_wait(world.st, "b", "k", sync_in(9000), &o, NULL), 0);
    assert_string_equal(o.version, "v1");
    assert_string_equal(o.etag, "\"5eb6\"");
    assert_string_equal(o.metadata, "{\"mode\":\"0644\"}");
    assert_string_equal(o.mime, "text/plain");
    assert_int_equal(o.size, 11);
    assert_int_equal(o.updated_ns - o.created_ns, 1069000000);
    sf_object_fini(&o);
}

static void
test_bad_buckets(void **state)
{
    static const char *const bodies[] = {
        "{}",
        "[7]",
        "[{}]",
        "[{\"id\":\"\",\"name\":\"x\"}]",
        "[{\"id\":\"a/b\",\"name\":\"x\"}]",
        "[{\"id\":\"a\",\"name\":\"a\",\"public\":1}]",
        "[{\"id\":\"a\",\"name\":\"a\",\"file_size_limit\":-5}]",
        "[{\"id\":\"a\",\"name\":\"a\",\"allowed_mime_types\":{}}]",
        "[{\"id\":\"a\",\"name\":\"a\",\"allowed_mime_types\":[7]}]",
        "[{\"id\":\"a\",\"name\":\"a\",\"allowed_mime_types\":[\"b/c\"]},{}]",
    };
    struct sf_bucket_row row;
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        sf_autobuf struct sf_buf ids = SF_BUF_INIT;
        world_answer(200, NULL, bodies[i]);
        if (sync_bucket_list(world.st, &ids, NULL) != -EPROTO)
            fail_msg("accepted: %s", bodies[i]);
    }
    world_answer(200, NULL, "[]");
    assert_int_equal(sync_bucket_get(world.st, "a", &row, NULL), -EPROTO);
    world_answer(200, NULL,
                 "{\"id\":\"a\",\"name\":\"a\",\"public\":true,\"file_size_limit\":7,"
                 "\"allowed_mime_types\":[]}");
    assert_int_equal(sync_bucket_get(world.st, "a", &row, NULL), 0);
    assert_true(row.is_public);
    assert_int_equal(row.size_limit, 7);
}

static void
test_bad_copies(void **state)
{
    static const char *const bodies[] = {
        "[]",
        "",
        "{\"id\":7}",
        "{\"metadata\":{\"size\":-1}}",
        "{\"version\":[]}",
        "{\"metadata\":{\"eTag\":7}}",
    };
    struct sf_copy_args copy = {.bucket = "b", .key = "k", .to_bucket = "b", .to_key = "l"};
    struct sf_object o;
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct sf_err err = SF_ERR_INIT;
        world_answer(200, NULL, bodies[i]);
        if (sf_storage_copy_wait(world.st, &copy, sync_in(9000), &o, &err) != -EPROTO)
            fail_msg("accepted: %s", bodies[i]);
        assert_true(err.outcome_open);
    }
    world_answer(200, NULL, "{\"Key\":\"b/l\",\"Id\":\"9\"}");
    assert_int_equal(sf_storage_copy_wait(world.st, &copy, sync_in(9000), &o, NULL), 0);
    assert_string_equal(o.id, "9");
    assert_string_equal(o.version, "");
    sf_object_fini(&o);
}

static void
test_global_limit(void **state)
{
    static const struct {
        const char *header;
        uint64_t limit;
    } cases[] = {
        {"tus-max-size: 524288000\r\n", 524288000},
        {NULL, 0},
        {"tus-max-size: lots\r\n", 0},
        {"tus-max-size: -1\r\n", 0},
        {"tus-max-size: 99999999999999999999\r\n", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t limit = 7;
        world_answer(204, cases[i].header, "");
        assert_int_equal(sf_storage_global_limit_wait(world.st, sync_in(9000), &limit, NULL), 0);
        assert_int_equal(limit, cases[i].limit);
        assert_string_equal(world.got[0].method, "OPTIONS");
    }
}

/* ---- keys that end ---- */

static void
write_key(const char *path, const char *payload)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    const char *t = world_token(payload);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, t, strlen(t)), strlen(t));
    close(fd);
}

static void
test_expired(void **state)
{
    char path[] = "/tmp/supafs-key-XXXXXX", bearer[600];
    struct sf_err err = SF_ERR_INIT;
    struct sf_object o;
    (void)state;
    world_close(NULL);
    close(mkstemp(path));
    write_key(path, "{\"role\":\"anon\",\"exp\":4000000000}");
    world_open(&(struct sf_auth_source){.kind = SF_AUTH_FILE, .value = path, .label = "KEYFILE"});

    /* Nothing new in the file: the service's word stands. */
    world_answer(400, NULL, EXPIRED);
    assert_int_equal(sf_storage_info_wait(world.st, "b", "k", sync_in(9000), &o, &err),
                     -EKEYEXPIRED);
    assert_non_null(strstr(err.msg, "renew the token in KEYFILE"));
    assert_int_equal(world.served, 1);

    /* A new key: the same request goes on with it, also one that must not be done twice. */
    for (int change = 0; change < 2; change++) {
        char payload[80];
        snprintf(payload, sizeof payload, "{\"role\":\"anon\",\"exp\":%d}", 2000000000 + change);
        write_key(path, payload);
        world_answer(400, NULL, EXPIRED);
        world_then(1, 200, NULL, change ? "{\"message\":\"done\"}" : WORLD_INFO);
        if (change) {
            assert_int_equal(sf_storage_delete_wait(world.st, "b", "k", sync_in(9000), NULL), 0);
        } else {
            assert_int_equal(sf_storage_info_wait(world.st, "b", "k", sync_in(9000), &o, NULL), 0);
            sf_object_fini(&o);
        }
        assert_int_equal(world.served, 2);
        snprintf(bearer, sizeof bearer, "Bearer %s", world_token(payload));
        assert_string_equal(world.got[1].authorization, bearer);
        assert_string_not_equal(world.got[0].authorization, bearer);
    }

    /* A key of somebody else is not taken. */
    write_key(path, "{\"role\":\"service_role\",\"exp\":4000000000}");
    world_answer(400, NULL, EXPIRED);
    err = SF_ERR_INIT;
    assert_int_equal(sf_storage_info_wait(world.st, "b", "k", sync_in(9000), &o, &err),
                     -EKEYEXPIRED);
    assert_int_equal(world.served, 1);

    /* A new secret: every signature fails, and a new key helps. */
    write_key(path, "{\"role\":\"anon\",\"exp\":2100000000}");
    world_answer(400, NULL,
                 "{\"statusCode\":\"403\",\"error\":\"Unauthorized\",\"code\":\"AccessDenied\","
                 "\"message\":\"signature verification failed\"}");
    err = SF_ERR_INIT;
    assert_int_equal(sf_storage_info_wait(world.st, "b", "k", sync_in(9000), &o, &err),
                     -EKEYREJECTED);
    assert_int_equal(world.served, 2);
    unlink(path);
}

/* A token that ends within seconds is looked up in its file before it is sent. */
static void
test_renew_ahead(void **state)
{
    char path[] = "/tmp/supafs-key-XXXXXX", bearer[600];
    struct sf_object o;
    (void)state;
    world_close(NULL);
    close(mkstemp(path));
    write_key(path, "{\"role\":\"anon\",\"exp\":1000000000}");
    world_open(&(struct sf_auth_source){.kind = SF_AUTH_FILE, .value = path});
    write_key(path, "{\"role\":\"anon\",\"exp\":4000000000}");
    world_answer(200, NULL, WORLD_INFO);
    assert_int_equal(sf_storage_info_wait(world.st, "b", "k", sync_in(9000), &o, NULL), 0);
    sf_object_fini(&o);
    snprintf(bearer, sizeof bearer, "Bearer %s",
             world_token("{\"role\":\"anon\",\"exp\":4000000000}"));
    assert_string_equal(world.got[0].authorization, bearer);
    unlink(path);
}

/* ---- the rest ---- */

static void
test_urls(void **state)
{
    static const char *const bad[] = {
        "",
        "example.org",
        "ftp://example.org",
        "https://",
        "https:///x",
        "https://u:p@example.org",
        "https://example.org?x=1",
        "https://example.org/#x",
        "https://exa mple.org",
        "https://ex\xc3\xa4mple.org",
    };
    struct sf_storage *st = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct sf_err err = SF_ERR_INIT;
        if (sf_storage_new(world.http, world.auth, bad[i], &st, &err) != -EINVAL)
            fail_msg("accepted: %s", bad[i]);
        assert_true(err.msg[0] != '\0');
    }
    /* Plain http goes to loopback only. */
    struct sf_err err = SF_ERR_INIT;
    assert_int_equal(sf_storage_new(world.http, world.auth, "http://example.org", &st, NULL), 0);
    assert_int_equal(sync_verify(st, "b", &err), -EPERM);
    sf_storage_free(st);
}

struct on_loop {
    int rc;
    atomic_bool done;
};

static void
wait_on_loop(void *arg)
{
    struct on_loop *l = arg;
    struct sf_object o;
    l->rc = sf_storage_info_wait(world.st, "b", "k", sync_in(9000), &o, NULL);
    l->done = true;
}

static void
test_no_wait_on_event_thread(void **state)
{
    struct on_loop l = {0};
    (void)state;
    assert_int_equal(sf_http_post(world.http, wait_on_loop, &l), 0);
    for (int i = 0; !l.done && i < 5000; i++)
        usleep(1000);
    assert_true(l.done);
    assert_int_equal(l.rc, -EDEADLK);
}

static void
test_errors_keep_results_untouched(void **state)
{
    struct sf_object o = {.size = 4711};
    uint64_t limit = 4711;
    size_t n = 4711;
    char id[40] = "untouched", *first = id;
    struct sf_list_args a = {.bucket = "b"};
    (void)state;
    world_answer(400, NULL, FAULT("NoSuchKey", "404"));
    assert_int_equal(sf_storage_info_wait(world.st, "b", "k", sync_in(9000), &o, NULL), -ENOENT);
    assert_int_equal(sf_storage_global_limit_wait(world.st, sync_in(9000), &limit, NULL), -ENOENT);
    assert_int_equal(sf_storage_list_wait(world.st, &a, sync_in(9000), &n, &first, NULL), -ENOENT);
    assert_int_equal(o.size, 4711);
    assert_int_equal(limit, 4711);
    assert_int_equal(n, 4711);
    assert_ptr_equal(first, id);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_close)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_addresses),
        TEST(test_empty_names),
        TEST(test_headers),
        TEST(test_list_request),
        TEST(test_change_requests),
        TEST(test_put_requests),
        TEST(test_range),
        TEST(test_range_lies),
        TEST(test_whole_for_range),
        TEST(test_range_refused),
        TEST(test_messages),
        TEST(test_strange_success),
        TEST(test_outcome_open),
        TEST(test_retries_end),
        TEST(test_bad_info),
        TEST(test_bad_buckets),
        TEST(test_bad_copies),
        TEST(test_global_limit),
        TEST(test_expired),
        TEST(test_renew_ahead),
        TEST(test_urls),
        TEST(test_no_wait_on_event_thread),
        TEST(test_errors_keep_results_untouched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
