/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The parts of http that need no network: the table of errors, redaction, Retry-After, backoff, the
 * heap of moments. */
#include "http/internal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    CURLcode code;
    int err;
    bool retryable;
} rows[] = {
    {CURLE_COULDNT_CONNECT, -ECONNREFUSED, true},
    {CURLE_COULDNT_RESOLVE_HOST, -EHOSTUNREACH, true},
    {CURLE_COULDNT_RESOLVE_PROXY, -EHOSTUNREACH, true},
    {CURLE_PROXY, -EHOSTUNREACH, true},
    {CURLE_INTERFACE_FAILED, -ENETUNREACH, true},
    {CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT, true},
    {CURLE_SEND_ERROR, -ECONNRESET, true},
    {CURLE_RECV_ERROR, -ECONNRESET, true},
    {CURLE_GOT_NOTHING, -ECONNRESET, true},
    {CURLE_PARTIAL_FILE, -EIO, true},
    {CURLE_HTTP2, -EIO, true},
    {CURLE_HTTP2_STREAM, -EIO, true},
    {CURLE_SEND_FAIL_REWIND, -EIO, true},
    {CURLE_NO_CONNECTION_AVAILABLE, -EAGAIN, true},
    {CURLE_SSL_CONNECT_ERROR, -EPROTO, true},
    {CURLE_PEER_FAILED_VERIFICATION, -EPROTO, false},
    {CURLE_SSL_CACERT_BADFILE, -ENOENT, false},
    {CURLE_SSL_CERTPROBLEM, -EPROTO, false},
    {CURLE_SSL_CIPHER, -EPROTO, false},
    {CURLE_SSL_ISSUER_ERROR, -EPROTO, false},
    {CURLE_SSL_INVALIDCERTSTATUS, -EPROTO, false},
    {CURLE_USE_SSL_FAILED, -EPROTO, false},
    {CURLE_WEIRD_SERVER_REPLY, -EPROTO, false},
    {CURLE_UNSUPPORTED_PROTOCOL, -EPROTO, false},
    {CURLE_BAD_CONTENT_ENCODING, -EPROTO, false},
    {CURLE_TOO_MANY_REDIRECTS, -EPROTO, false},
    {CURLE_FILESIZE_EXCEEDED, -EFBIG, false},
    {CURLE_WRITE_ERROR, -EIO, false},
    {CURLE_READ_ERROR, -EIO, false},
    {CURLE_ABORTED_BY_CALLBACK, -EIO, false},
    {CURLE_URL_MALFORMAT, -EINVAL, false},
    {CURLE_OUT_OF_MEMORY, -ENOMEM, false},
};

static void
every_row_of_the_error_table(void **state)
{
    (void)state;
    struct sf_http_req req = {
        .method = "GET", .url = (char *)"http://h:1/p?token=abc", .peer = {.where = (char *)"h:1"}};
    const struct http_error_row *last = http_error_row(CURL_LAST);
    size_t others = 0;
    for (int c = 1; c < CURL_LAST; c++) {
        const struct http_error_row *r = http_error_row((CURLcode)c);
        struct sf_err err;
        size_t i = 0, n = sizeof rows / sizeof *rows;
        http_error_transfer(&err, &req, (CURLcode)c, 0);
        while (i < n && (int)rows[i].code != c)
            i++;
        /* A row in the table that is not here, or the other way round, fails. */
        assert_true((r == last) == (i == n));
        others += i == n;
        assert_int_equal(r->err, i < n ? rows[i].err : -EIO);
        assert_int_equal(r->retryable, i < n ? rows[i].retryable : false);
        assert_int_equal(err.code, r->err);
        assert_int_equal(err.retryable, r->retryable);
        assert_false(err.outcome_open);
        assert_non_null(strstr(err.msg, "h:1"));
        assert_null(strstr(err.msg, "abc"));
    }
    assert_int_equal(others, CURL_LAST - 1 - sizeof rows / sizeof *rows);
}

static void
the_systems_errno_wins_for_connects(void **state)
{
    (void)state;
    struct sf_http_req req = {.method = "GET",
                              .url = (char *)"http://127.0.0.1:54321/",
                              .peer = {.where = (char *)"127.0.0.1:54321"}};
    struct sf_err err;
    http_error_transfer(&err, &req, CURLE_COULDNT_CONNECT, ECONNREFUSED);
    assert_string_equal(err.msg, "connect to 127.0.0.1:54321: connection refused");
    http_error_transfer(&err, &req, CURLE_COULDNT_CONNECT, EHOSTUNREACH);
    assert_int_equal(err.code, -EHOSTUNREACH);
    assert_string_equal(err.msg, "connect to 127.0.0.1:54321: no route to host");
    http_error_transfer(&err, &req, CURLE_COULDNT_CONNECT, 0);
    assert_int_equal(err.code, -ECONNREFUSED);
}

static void
secrets_in_urls_are_redacted(void **state)
{
    static const char *const cases[][2] = {
        {"http://h/a?token=s3cret", "http://h/a?token=***"},
        {"http://h/a?x=1&token=s3cret&y=2", "http://h/a?x=1&token=***&y=2"},
        {"http://h/a?apikey=s&API_KEY=t&b=u", "http://h/a?apikey=***&API_KEY=***&b=u"},
        {"https://user:pw@h:1/a", "https://h:1/a"},
        {"https://a@b@h/a", "https://h/a"},
        {"http://h/a?X-Amz-Signature=1&X-Amz-Credential=2",
         "http://h/a?X-Amz-Signature=***&X-Amz-Credential=***"},
        {"http://h/a?access_token=1#token=2", "http://h/a?access_token=***"},
        {"http://h/token=not-a-query/b@c", "http://h/token=not-a-query/b@c"},
        {"http://h/a?", "http://h/a?"},
        {"http://h/a?token", "http://h/a?token"},
        {"http://h/a?&&token=1&", "http://h/a?&&token=***&"},
        {"no url at all?password=1", "no url at all?password=***"},
        {"", ""},
    };
    char out[200];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        http_redact(cases[i][0], out, sizeof out);
        assert_string_equal(out, cases[i][1]);
    }
    for (size_t size = 1; size < 30; size++) { /* cut anywhere, never beyond the buffer */
        memset(out, '~', sizeof out);
        http_redact("http://u:p@h/a?token=s3cret&b=1", out, size);
        assert_true(strlen(out) < size);
        assert_int_equal(out[size], '~');
        assert_null(strstr(out, "s3"));
    }
}

static void
retry_after_in_seconds_and_dates(void **state)
{
    static const char date[] = "Sat, 21 Nov 2026 09:00:00 GMT";
    static const struct {
        const char *value;
        int64_t ms;
    } cases[] = {
        {"0", 0},
        {"1", 1000},
        {" 120 ", 120000},
        {"999999999999999999999999", 86400000},
        {"Sat, 21 Nov 2026 09:00:05 GMT", 5000},
        {"Sat, 21 Nov 2026 08:59:00 GMT", 0},
        {"Sun, 21 Nov 2027 09:00:00 GMT", 86400000},
        {"", -1},
        {"-5", -1},
        {"soon", -1},
        {"5 minutes", -1},
        {"1.5", -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(sf_http_retry_after_ms(cases[i].value, date), cases[i].ms);
    assert_int_equal(sf_http_retry_after_ms("Sun, 06 Nov 1994 08:49:37 GMT", NULL), 0);
    assert_int_equal(sf_http_retry_after_ms("Sat, 21 Nov 2026 09:00:05 GMT", "rubbish"),
                     sf_http_retry_after_ms("Sat, 21 Nov 2026 09:00:05 GMT", NULL));
}

static void
delays_grow_with_full_jitter_and_keep_to_the_deadline(void **state)
{
    const struct sf_http_opts o = {.backoff_min_ms = 200, .backoff_max_ms = 30000};
    (void)state;
    for (unsigned n = 0; n < 70; n++) {
        int64_t top = n < 7 ? 400 << n : 30000;
        if (top > 30000)
            top = 30000;
        int64_t least = INT64_MAX, most = -1;
        for (uint64_t dice = 0; dice < 100000; dice += 97) {
            int64_t d = http_retry_delay(&o, n, -1, 10000000, dice);
            least = d < least ? d : least;
            most = d > most ? d : most;
        }
        assert_true(least <= top / 50);
        assert_in_range(most, top - top / 20, top);
    }
    /* The service's wish: not earlier, a little spread, not beyond the deadline. */
    for (uint64_t dice = 0; dice < 1000; dice++)
        assert_in_range(http_retry_delay(&o, 0, 5000, 60000, dice), 5000, 5200);
    assert_int_equal(http_retry_delay(&o, 0, 5000, 5050, 199), 5000);
    assert_int_equal(http_retry_delay(&o, 0, 5000, 5000, 0), -1);
    assert_int_equal(http_retry_delay(&o, 0, 0, 100, 0), 0);
    /* Never beyond the deadline, and not for ever towards it. */
    for (uint64_t dice = 0; dice < 40000; dice += 13)
        assert_in_range(http_retry_delay(&o, 20, -1, 1000, dice), 0, 500);
    assert_int_equal(http_retry_delay(&o, 20, -1, 200, 29999), -1);
    assert_int_equal(http_retry_delay(&o, 0, -1, 0, 0), -1);
    assert_int_equal(http_retry_delay(&o, 0, -1, -50, 0), -1);
}

static void
the_heap_gives_the_earliest(void **state)
{
    enum { N = 500 };
    static struct http_due d[N];
    struct http_due_vec h = {0};
    unsigned seed = 7;
    (void)state;
    for (int i = 0; i < N; i++) {
        assert_int_equal(http_due_room(&h), 0);
        http_due_put(&h, &d[i], rand_r(&seed) % 100);
    }
    for (int i = 0; i < N; i += 3) /* move some, either way */
        http_due_put(&h, &d[i], rand_r(&seed) % 200);
    for (int i = 1; i < N; i += 3) {
        http_due_remove(&h, &d[i]);
        http_due_remove(&h, &d[i]); /* what is not in it is left alone */
        assert_int_equal(d[i].pos, 0);
    }
    int64_t last = -1;
    size_t n = 0;
    for (struct http_due *f; (f = http_due_first(&h)); n++) {
        assert_true(f->at_ms >= last);
        last = f->at_ms;
        http_due_remove(&h, f);
    }
    assert_int_equal(n, N - (N + 1) / 3);
    http_due_vec_fini(&h);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_of_the_error_table),
        cmocka_unit_test(the_systems_errno_wins_for_connects),
        cmocka_unit_test(secrets_in_urls_are_redacted),
        cmocka_unit_test(retry_after_in_seconds_and_dates),
        cmocka_unit_test(delays_grow_with_full_jitter_and_keep_to_the_deadline),
        cmocka_unit_test(the_heap_gives_the_earliest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
