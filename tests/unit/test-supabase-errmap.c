/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/errmap.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/doc-table.h"
#include "base/buf.h"
#include "base/err.h"

#define BODY(st, e, m, c)                                                                          \
    "{\"statusCode\":\"" st "\",\"error\":\"" e "\",\"message\":\"" m "\",\"code\":\"" c "\"}"
#define OLD(st, e, m) "{\"statusCode\":\"" st "\",\"error\":\"" e "\",\"message\":\"" m "\"}"
#define PGRST(c, m)   "{\"code\":\"" c "\",\"details\":null,\"hint\":null,\"message\":\"" m "\"}"
#define R             true
#define N             false
#define K(c)          SF_FAULT_##c

/* One reply per row of the table, most of them recorded from the service. */
static const struct sample {
    int http;
    const char *body;
    int err;
    bool retry;
    enum sf_fault_class class;
} samples[] = {
    {400, BODY("400", "InvalidKey", "Invalid key: a#b", "InvalidKey"), EINVAL, N, K(NAME)},
    {400, BODY("400", "Invalid Input", "Bucket name invalid", "InvalidBucketName"), EINVAL, N,
     K(NAME)},
    {400, BODY("415", "invalid_mime_type", "mime type a/b is not supported", "InvalidMimeType"),
     EPERM, N, K(LIMIT)},
    {400, OLD("400", "InvalidKey", "Invalid key: jwt expired"), EINVAL, N, K(NAME)},
    {400, OLD("400", "Invalid Input", "Invalid key: jwt expired"), EINVAL, N, K(NAME)},
    {400, "Invalid key: tus/x\n", EINVAL, N, K(NAME)},
    {400, OLD("415", "invalid_mime_type", "no"), EPERM, N, K(LIMIT)},

    {400, BODY("403", "Unauthorized", "\\\"exp\\\" claim timestamp check failed", "AccessDenied"),
     EKEYEXPIRED, N, K(EXPIRED)},
    {400, BODY("400", "InvalidJWT", "\\\"exp\\\" claim timestamp check failed", "InvalidJWT"),
     EKEYEXPIRED, N, K(EXPIRED)},
    {400, OLD("400", "Unauthorized", "\\\"exp\\\" claim timestamp check failed"), EKEYEXPIRED, N,
     K(EXPIRED)},
    {400, OLD("400", "Unauthorized", "jwt expired"), EKEYEXPIRED, N, K(EXPIRED)},
    {400, BODY("403", "Unauthorized", "jwt expired", "AccessDenied"), EKEYEXPIRED, N, K(EXPIRED)},
    {400, BODY("400", "ExpiredToken", "The provided token has expired.", "ExpiredToken"),
     EKEYEXPIRED, N, K(EXPIRED)},

    {400, BODY("403", "Unauthorized", "Invalid Compact JWS", "AccessDenied"), EKEYREJECTED, N,
     K(BAD_TOKEN)},
    {400, BODY("403", "Unauthorized", "signature verification failed", "AccessDenied"),
     EKEYREJECTED, N, K(BAD_TOKEN)},
    {400, BODY("403", "Unauthorized", "jwt malformed", "AccessDenied"), EKEYREJECTED, N,
     K(BAD_TOKEN)},
    {400, BODY("403", "Unauthorized", "invalid signature", "AccessDenied"), EKEYREJECTED, N,
     K(BAD_TOKEN)},
    {400, BODY("403", "Unauthorized", "\\\"nbf\\\" claim timestamp check failed", "AccessDenied"),
     EKEYREJECTED, N, K(BAD_TOKEN)},
    {400, BODY("400", "InvalidJWT", "Invalid Compact JWS", "InvalidJWT"), EKEYREJECTED, N,
     K(BAD_TOKEN)},
    {400, BODY("400", "InvalidSignature", "Invalid signature", "InvalidSignature"), EKEYREJECTED, N,
     K(BAD_TOKEN)},
    {403, BODY("403", "", "", "SignatureDoesNotMatch"), EKEYREJECTED, N, K(BAD_TOKEN)},
    {400,
     BODY("400", "Error", "headers must have required property 'authorization'", "InvalidRequest"),
     EKEYREJECTED, N, K(BAD_TOKEN)},
    {400, OLD("403", "Unauthorized", "Invalid Compact JWS"), EKEYREJECTED, N, K(BAD_TOKEN)},
    {400, OLD("403", "Unauthorized", "signature verification failed"), EKEYREJECTED, N,
     K(BAD_TOKEN)},
    {400, OLD("400", "Unauthorized", "jwt malformed"), EKEYREJECTED, N, K(BAD_TOKEN)},
    {400, OLD("400", "Unauthorized", "invalid signature"), EKEYREJECTED, N, K(BAD_TOKEN)},
    {401, "{\"message\":\"Invalid API key\",\"hint\":\"Double check it.\"}", EKEYREJECTED, N,
     K(BAD_TOKEN)},
    {401, "{\"message\":\"Invalid authentication credentials\"}", EKEYREJECTED, N, K(BAD_TOKEN)},

    {400, BODY("404", "Bucket not found", "Bucket not found", "NoSuchBucket"), ENOENT, N,
     K(NO_BUCKET)},
    {400, BODY("404", "not_found", "Object not found", "NoSuchKey"), ENOENT, N, K(NO_KEY)},
    {404, BODY("404", "not_found", "Upload not found", "NoSuchUpload"), ENOENT, N, K(NO_KEY)},
    {400, BODY("409", "Duplicate", "The resource already exists", "KeyAlreadyExists"), EEXIST, N,
     K(EXISTS)},
    {400, BODY("409", "Duplicate", "The resource already exists", "ResourceAlreadyExists"), EEXIST,
     N, K(EXISTS)},
    {400, BODY("409", "Duplicate", "The resource already exists", "BucketAlreadyExists"), EEXIST, N,
     K(EXISTS)},
    {400, BODY("403", "Unauthorized", "storage quota exceeded", "AccessDenied"), EDQUOT, N,
     K(LIMIT)},
    {400, BODY("403", "Unauthorized", "new row violates row-level security policy", "AccessDenied"),
     EACCES, N, K(DENIED)},
    {400,
     BODY("409", "ResourceNotEmpty", "The bucket you tried to delete is not empty",
          "ResourceNotEmpty"),
     ENOTEMPTY, N, K(NOT_EMPTY)},
    {400, BODY("409", "", "", "ResourceReferenced"), EBUSY, N, K(NOT_EMPTY)},
    {400,
     BODY("413", "Payload too large", "The object exceeded the maximum allowed size",
          "EntityTooLarge"),
     EFBIG, N, K(LIMIT)},
    {400, BODY("400", "", "", "MissingContentLength"), EIO, N, K(REQUEST)},
    {416, BODY("416", "invalid_range", "invalid range provided", "InvalidRange"), ESTALE, N,
     K(RANGE)},
    {400, BODY("423", "", "", "ResourceLocked"), ETIMEDOUT, R, K(BUSY)},
    {400, BODY("503", "acquiring_lock_timeout", "acquiring lock timeout", "LockTimeout"), ETIMEDOUT,
     R, K(BUSY)},
    {429,
     BODY("429", "too_many_connections", "Too many connections issued to the database", "SlowDown"),
     ETIMEDOUT, R, K(BUSY)},
    {429, BODY("429", "", "", "TooManyRequests"), ETIMEDOUT, R, K(BUSY)},
    {544,
     BODY("544", "DatabaseTimeout", "The connection to the database timed out", "DatabaseTimeout"),
     ETIMEDOUT, R, K(SERVER)},
    {400, BODY("503", "", "", "DatabaseReadOnly"), EROFS, N, K(LIMIT)},
    {500, BODY("500", "DatabaseError", "database error, code: 22023", "DatabaseError"),
     EKEYREJECTED, N, K(BAD_TOKEN)},
    {500, BODY("500", "DatabaseError", "database error, code: 42501", "DatabaseError"), EACCES, N,
     K(DENIED)},
    {500, BODY("500", "DatabaseError", "database error, code: 54000", "DatabaseError"),
     ENAMETOOLONG, N, K(NAME)},
    {500, BODY("500", "DatabaseError", "database error, code: 57014", "DatabaseError"), EIO, R,
     K(SERVER)},
    {500, BODY("500", "Internal", "Internal Server Error", "InternalError"), EIO, R, K(SERVER)},
    {500, BODY("500", "", "", "Aborted"), EIO, R, K(SERVER)},
    {500, BODY("500", "", "", "AbortedTerminate"), EIO, R, K(SERVER)},
    {400, BODY("404", "InvalidRequest", "The related resource does not exist", "InvalidRequest"),
     ENOENT, N, K(NO_BUCKET)},
    {404, BODY("404", "Not Found", "Route POST:/object/b not found", "InvalidRequest"), EOPNOTSUPP,
     N, K(REQUEST)},
    {404, "{\"message\":\"Route GET:/nope not found\",\"error\":\"Not Found\",\"statusCode\":404}",
     EOPNOTSUPP, N, K(REQUEST)},
    {404, "{\"message\":\"no Route matched with those values\"}", EOPNOTSUPP, N, K(REQUEST)},
    {400, BODY("400", "Error", "body must be object", "InvalidRequest"), EIO, N, K(REQUEST)},
    {400,
     BODY("400", "InvalidParameter", "Invalid Parameter continuation token", "InvalidParameter"),
     EIO, N, K(REQUEST)},
    {400,
     "{\"error\":\"Bad "
     "Request\",\"code\":\"FST_ERR_BAD_URL\",\"message\":\"no\",\"statusCode\":400}",
     EINVAL, N, K(NAME)},

    {400, OLD("404", "not_found", "Object not found"), ENOENT, N, K(NO_KEY)},
    {400, OLD("404", "Bucket not found", "Bucket not found"), ENOENT, N, K(NO_BUCKET)},
    {400, OLD("409", "Duplicate", "The resource already exists"), EEXIST, N, K(EXISTS)},
    {400, OLD("403", "Unauthorized", "new row violates row-level security policy"), EACCES, N,
     K(DENIED)},
    {400, OLD("413", "Payload too large", "The object exceeded the maximum allowed size"), EFBIG, N,
     K(LIMIT)},
    {416, OLD("416", "invalid_range", "invalid range provided"), ESTALE, N, K(RANGE)},
    {429, OLD("429", "too_many_connections", "Too many connections"), ETIMEDOUT, R, K(BUSY)},
    {400, OLD("503", "acquiring_lock_timeout", "acquiring lock timeout"), ETIMEDOUT, R, K(BUSY)},
    {544, OLD("544", "DatabaseTimeout", "timed out"), ETIMEDOUT, R, K(SERVER)},
    {500, OLD("500", "Internal", "Internal Server Error"), EIO, R, K(SERVER)},
    {403, "new row violates row-level security policy", EACCES, N, K(DENIED)},
    {404, "Bucket not found", ENOENT, N, K(NO_BUCKET)},
    {404, "The file for this url was not found\n", ENOENT, N, K(NO_KEY)},
    {409, "Upload-Offset conflict\n", ESPIPE, N, K(RANGE)},
    {403, "Upload-Offset header required\n", EIO, N, K(REQUEST)},
    {503, "acquiring lock timeout", ETIMEDOUT, R, K(BUSY)},
    {403, "{\"message\":\"restricted: exceed_storage_size_quota\"}", EDQUOT, N, K(LIMIT)},

    {404, PGRST("PGRST202", "Could not find the function public.f(a) in the schema cache"), ENOSYS,
     N, K(REQUEST)},
    {404, PGRST("42883", "function public.f(text) does not exist"), ENOSYS, N, K(REQUEST)},
    {406, PGRST("PGRST106", "The schema must be one of the following: api"), ENOSYS, N, K(REQUEST)},
    {403, PGRST("42501", "permission denied for function f"), EACCES, N, K(DENIED)},
    {401, PGRST("PGRST301", "JWT expired"), EKEYEXPIRED, N, K(EXPIRED)},
    {401, PGRST("PGRST303", "JWT expired"), EKEYEXPIRED, N, K(EXPIRED)},
    {401, PGRST("PGRST301", "No suitable key or wrong key type"), EKEYREJECTED, N, K(BAD_TOKEN)},
    {401, PGRST("PGRST302", "Anonymous access is disabled"), EKEYREJECTED, N, K(BAD_TOKEN)},
    {401, PGRST("PGRST303", "JWT not yet valid"), EKEYREJECTED, N, K(BAD_TOKEN)},
    {404, PGRST("PGRST205", "Could not find the table public.t in the schema cache"), ENOSYS, N,
     K(REQUEST)},
    {404, PGRST("42P01", "relation \\\"public.t\\\" does not exist"), ENOSYS, N, K(REQUEST)},
    {400, PGRST("PGRST204", "Column x of relation t does not exist"), ENOSYS, N, K(REQUEST)},
    {400, PGRST("42703", "column t.x does not exist"), ENOSYS, N, K(REQUEST)},
    {400, PGRST("PGRST102", "Empty or invalid json"), EINVAL, N, K(REQUEST)},
    {416, PGRST("PGRST103", "Requested range not satisfiable"), ESTALE, N, K(RANGE)},
    {300, PGRST("PGRST203", "Could not choose the best candidate function"), EIO, N, K(REQUEST)},
    {503, PGRST("PGRST000", "Could not connect with the database"), ETIMEDOUT, R, K(BUSY)},
    {503, PGRST("PGRST001", "Database client error. Retrying the connection."), EIO, R, K(SERVER)},
    {503, PGRST("PGRST002", "Could not query the database for the schema cache. Retrying."),
     ETIMEDOUT, R, K(BUSY)},
    {504, PGRST("PGRST003", "Timed out acquiring connection from connection pool."), ETIMEDOUT, R,
     K(BUSY)},
    {409, PGRST("23505", "duplicate key value violates unique constraint \\\"t_pkey\\\""), EEXIST,
     N, K(EXISTS)},
    {409, PGRST("23503", "insert or update violates foreign key constraint"), ENOENT, N, K(NO_KEY)},
    {400, PGRST("23514", "new row violates check constraint"), EINVAL, N, K(REQUEST)},
    {400, PGRST("23502", "null value in column x"), EINVAL, N, K(REQUEST)},
    {400, PGRST("22P02", "invalid input syntax for type uuid"), EINVAL, N, K(REQUEST)},
    {400, PGRST("22003", "value out of range"), EINVAL, N, K(REQUEST)},
    {500, PGRST("54000", "index row size exceeds the maximum"), E2BIG, N, K(LIMIT)},
    {405, PGRST("25006", "cannot execute INSERT in a read-only transaction"), EROFS, N, K(LIMIT)},
    {500, PGRST("40001", "could not serialize access"), ETIMEDOUT, R, K(BUSY)},
    {500, PGRST("40P01", "deadlock detected"), ETIMEDOUT, R, K(BUSY)},
    {500, PGRST("55P03", "canceling statement due to lock timeout"), ETIMEDOUT, R, K(BUSY)},
    {500, PGRST("57014", "canceling statement due to statement timeout"), ETIMEDOUT, R, K(BUSY)},
    {503, PGRST("57P03", "the database system is shutting down"), ETIMEDOUT, R, K(BUSY)},
    {503, PGRST("53300", "sorry, too many clients already"), ETIMEDOUT, R, K(BUSY)},
    {503, PGRST("08006", "connection failure"), EIO, R, K(SERVER)},

    {400, BODY("401", "", "", "Brand New"), EKEYREJECTED, N, K(BAD_TOKEN)},
    {400, BODY("402", "", "", "Brand New"), EDQUOT, N, K(LIMIT)},
    {400, BODY("403", "", "", "Brand New"), EACCES, N, K(DENIED)},
    {400, BODY("404", "", "", "Brand New"), ENOENT, N, K(NO_KEY)},
    {404, BODY("404", "Not Found", "Cannot find it", "Brand New"), EIO, N, K(REQUEST)},
    {404, "{\"statusCode\":404,\"message\":\"Cannot GET /x\",\"error\":\"Not Found\"}", EIO, N,
     K(REQUEST)},
    {400, BODY("409", "", "", "Brand New"), EEXIST, N, K(EXISTS)},
    {400, BODY("413", "", "", "Brand New"), EFBIG, N, K(LIMIT)},
    {400, BODY("415", "", "", "Brand New"), EPERM, N, K(LIMIT)},
    {400, BODY("416", "", "", "Brand New"), ESTALE, N, K(RANGE)},
    {400, BODY("423", "", "", "Brand New"), ETIMEDOUT, R, K(BUSY)},
    {400, BODY("429", "", "", "Brand New"), ETIMEDOUT, R, K(BUSY)},
    {431, "{\"error\":\"Request Header Fields Too Large\",\"message\":\"no\",\"statusCode\":431}",
     E2BIG, N, K(LIMIT)},
    {400, BODY("503", "", "", "Brand New"), EIO, R, K(SERVER)},
    {400, BODY("544", "", "", "Brand New"), ETIMEDOUT, R, K(SERVER)},
    {400, BODY("599", "", "", "Brand New"), EIO, R, K(SERVER)},
    {500, BODY("418", "", "", "Brand New"), EIO, N, K(REQUEST)},

    {401, "", EKEYREJECTED, N, K(BAD_TOKEN)},
    {402, "", EDQUOT, N, K(LIMIT)},
    {403, "<html>firewall</html>", EACCES, N, K(DENIED)},
    {404, "<html>not found</html>", EIO, N, K(REQUEST)},
    {408, "", ETIMEDOUT, R, K(BUSY)},
    {409, "The resource already exists", EEXIST, N, K(EXISTS)},
    {412, "Tus-Resumable Required\n", EOPNOTSUPP, N, K(REQUEST)},
    {413, "<html>nginx</html>", EFBIG, N, K(LIMIT)},
    {414, "", ENAMETOOLONG, N, K(NAME)},
    {415, "mime type a/b is not supported", EPERM, N, K(LIMIT)},
    {416, "", ESTALE, N, K(RANGE)},
    {423, "", ETIMEDOUT, R, K(BUSY)},
    {425, "", ETIMEDOUT, R, K(BUSY)},
    {429, "<html>slow down</html>", ETIMEDOUT, R, K(BUSY)},
    {431, "", E2BIG, N, K(LIMIT)},
    {501, "", EOPNOTSUPP, N, K(REQUEST)},
    {504, "<html>gateway time-out</html>", ETIMEDOUT, R, K(SERVER)},
    {507, "", EDQUOT, N, K(LIMIT)},
    {540, "", EIO, N, K(SERVER)},
    {544, "", ETIMEDOUT, R, K(SERVER)},
    {502, "<html>bad gateway</html>", EIO, R, K(SERVER)},
    {301, "", EIO, N, K(REQUEST)},
    {400, "<html>Request Header Or Cookie Too Large</html>", EIO, N, K(OTHER)},
};

#define N_SAMPLES (sizeof samples / sizeof samples[0])

static const struct sf_errmap_row *
find(int http, const char *body)
{
    struct sf_fault f;
    sf_fault_parse(http, body, strlen(body), &f);
    return sf_errmap_find(&f);
}

static void
test_each_row_has_its_reply(void **state)
{
    size_t n, missing = 0;
    const struct sf_errmap_row *rows = sf_errmap_rows(&n);
    bool *hit = calloc(n, sizeof *hit);
    (void)state;
    for (size_t i = 0; i < N_SAMPLES; i++) {
        const struct sample *s = &samples[i];
        const struct sf_errmap_row *r = find(s->http, s->body);
        if (r->err != -s->err || r->retry != s->retry || r->class != s->class)
            fail_msg("HTTP %d %s: errno %d retry %d class %s (\"%s\")", s->http, s->body, r->err,
                     r->retry, sf_fault_class_name(r->class), r->meaning);
        hit[r - rows] = true;
    }
    for (size_t i = 0; i < n; i++) {
        if (!hit[i]) {
            print_error("row %zu is never found: %s\n", i, rows[i].meaning);
            missing++;
        }
    }
    free(hit);
    assert_int_equal(missing, 0);
}

/* A name from the request that comes back in a message decides nothing. */
static void
test_names_in_messages(void **state)
{
    (void)state;
    assert_int_equal(find(400, BODY("400", "InvalidKey",
                                    "Invalid key: a\\\"exp\\\" claim/jwt expired", "InvalidKey"))
                         ->err,
                     -EINVAL);
    assert_int_equal(
        find(400, BODY("404", "not_found", "Object \\\"exp\\\" claim not found", "NoSuchKey"))->err,
        -ENOENT);
}

static void
test_status_code_forms(void **state)
{
    struct sf_fault f;
    static const char *const none[] = {
        "{\"statusCode\":\"404x\"}", "{\"statusCode\":-1}",      "{\"statusCode\":\"+40\"}",
        "{\"statusCode\":40444}",    "{\"statusCode\":null}",    "{\"statusCode\":404.0}",
        "{\"statusCode\":[404]}",    "{\"statusCode\":\" 40\"}",
    };
    (void)state;
    sf_fault_parse(400, "{\"statusCode\":404}", 18, &f);
    assert_int_equal(f.status, 404);
    sf_fault_parse(400, "{\"statusCode\":\"404\"}", 20, &f);
    assert_int_equal(f.status, 404);
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        sf_fault_parse(400, none[i], strlen(none[i]), &f);
        assert_int_equal(f.status, 0);
    }
}

static void
hostile(const char *body, size_t len, bool json)
{
    struct sf_fault f;
    sf_fault_parse(400, body, len, &f);
    assert_int_equal(f.json, json);
    assert_true(strlen(f.code) < sizeof f.code && strlen(f.error) < sizeof f.error &&
                strlen(f.message) < sizeof f.message);
    for (const char *p = f.message; *p; p++)
        assert_true(*p >= 0x20 && *p < 0x7f);
    assert_non_null(sf_errmap_find(&f)->meaning);
}

static void
test_hostile_bodies(void **state)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    (void)state;
    hostile(NULL, 0, false);
    hostile("", sizeof "" - 1, false);
    hostile("{", sizeof "{" - 1, false);
    hostile("null", sizeof "null" - 1, false);
    hostile("[]", sizeof "[]" - 1, false);
    hostile("\"NoSuchKey\"", sizeof "\"NoSuchKey\"" - 1, false);
    hostile("{\"code\":\"NoSuchKey\",\"code\":\"x\"}",
            sizeof "{\"code\":\"NoSuchKey\",\"code\":\"x\"}" - 1, false);
    hostile("{\"code\":\"\xff\xfe\"}", sizeof "{\"code\":\"\xff\xfe\"}" - 1, false);
    hostile("{\"code\":\"a\\u0000b\"}", sizeof "{\"code\":\"a\\u0000b\"}" - 1, false);
    hostile("{\"code\":7,\"message\":[],\"error\":{}}",
            sizeof "{\"code\":7,\"message\":[],\"error\":{}}" - 1, true);
    hostile("{\"message\":\"a\\u001b[31mb\\nc\\u202e\"}",
            sizeof "{\"message\":\"a\\u001b[31mb\\nc\\u202e\"}" - 1, true);
    hostile("\x1b[2Jtext\0more", sizeof "\x1b[2Jtext\0more" - 1, false);
    /* A message far beyond the buffer, and nesting far beyond sense. */
    sf_buf_puts(&b, "{\"message\":\"");
    for (int i = 0; i < 5000; i++)
        sf_buf_puts(&b, "AccessDenied");
    sf_buf_puts(&b, "\"}");
    hostile(b.data, b.len, true);
    sf_buf_clear(&b);
    for (int i = 0; i < 30000; i++)
        sf_buf_puts(&b, "[");
    hostile(b.data, b.len, false);
    for (int i = 0; i < 100000; i++)
        sf_buf_puts(&b, "<p>");
    hostile(b.data, b.len, false);
}

/* ---- docs/errors.md shows the same table ---- */

static void
put_condition(struct sf_buf *b, const struct sf_errmap_row *r)
{
    const char *sep = "";
    if (r->code && *r->code) {
        sf_buf_printf(b, "code `%s`", r->code);
        sep = ", ";
    }
    if (r->code && !*r->code) {
        sf_buf_puts(b, "no code");
        sep = ", ";
    }
    if (r->error) {
        sf_buf_printf(b, "%serror `%s`", sep, r->error);
        sep = ", ";
    }
    if (r->message) {
        sf_buf_printf(b, "%smessage has `%s`", sep, r->message);
        sep = ", ";
    }
    if (r->status_from == r->status_to && r->status_from) {
        sf_buf_printf(b, "%sstatusCode %d", sep, r->status_from);
        sep = ", ";
    } else if (r->status_from) {
        sf_buf_printf(b, "%sstatusCode %d-%d", sep, r->status_from, r->status_to);
        sep = ", ";
    }
    if (r->http_from == r->http_to && r->http_from)
        sf_buf_printf(b, "%sHTTP %d", sep, r->http_from);
    else if (r->http_from)
        sf_buf_printf(b, "%sHTTP %d-%d", sep, r->http_from, r->http_to);
    else if (!*sep)
        sf_buf_puts(b, "anything");
}

static void
put_table(struct sf_buf *b)
{
    size_t n;
    const struct sf_errmap_row *rows = sf_errmap_rows(&n);
    sf_buf_puts(b, "| reply | errno | retried | class | meaning |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < n; i++) {
        sf_buf_puts(b, "| ");
        put_condition(b, &rows[i]);
        sf_buf_printf(b, " | %s | %s | %s | %s |\n", sf_errno_name(rows[i].err),
                      rows[i].retry ? "yes" : "no", sf_fault_class_name(rows[i].class),
                      rows[i].meaning);
    }
}

/* With SUPAFS_PRINT_TABLE set, prints what docs/errors.md must hold. */
static void
test_documentation(void **state)
{
    sf_autobuf struct sf_buf table = SF_BUF_INIT;
    (void)state;
    put_table(&table);
    doc_holds(&table, "docs/errors.md", "the table of errmap.c", "test-supabase-errmap");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_row_has_its_reply), cmocka_unit_test(test_names_in_messages),
        cmocka_unit_test(test_status_code_forms),      cmocka_unit_test(test_hostile_bodies),
        cmocka_unit_test(test_documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
