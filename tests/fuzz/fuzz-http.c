/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>

#include "fuzz.h"
#include "http/internal.h"

/* First byte: 'r' Retry-After, with the Date behind a line feed; 'u' an URL; else the head of a
 * reply, line by line. */

static void
retry_after(char *text)
{
    char *date = strchr(text, '\n');
    if (date)
        *date++ = '\0';
    int64_t ms = sf_http_retry_after_ms(text, date);
    REQUIRE(ms >= -1 && ms <= 24 * 3600 * 1000);
    struct sf_http_opts opts = {.backoff_min_ms = 200, .backoff_max_ms = 30000};
    for (int64_t left = 0; left < 100000; left = left * 3 + 1) {
        int64_t d = http_retry_delay(&opts, 3, ms, left, 12345);
        REQUIRE(d == -1 || (d >= 0 && d < left) || (d == 0 && left == 0));
    }
}

/* An address is refused or taken; neither shows what may be a secret in it. */
static void
url(const char *text)
{
    static struct sf_http http;
    char shown[200];
    http_redact(text, shown, sizeof shown);
    REQUIRE(memchr(shown, '\0', sizeof shown));
    struct sf_http_req *req = sf_http_req_new(&http, "GET", text);
    REQUIRE(req);
    if (req->bad.code) {
        REQUIRE(req->bad.msg[0]);
    } else {
        REQUIRE(req->peer.key && req->peer.where && (req->peer.tls || req->peer.loopback));
        REQUIRE(strncmp(text, req->peer.tls ? "https" : "http", 4) == 0 || !strpbrk(text, " \n"));
    }
    sf_http_req_free(req);
}

static void
head(const char *text, size_t len)
{
    struct http_recv r = {0};
    const char *why = NULL, *p = text, *end = text + len;
    sf_buf_init(&r.head);
    sf_buf_init(&r.body);
    int rc = 0;
    while (p < end && rc == 0) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t n = nl ? (size_t)(nl - p) + 1 : (size_t)(end - p);
        bool done = r.head_done;
        size_t had = r.head.len;
        int status = r.status;
        rc = http_recv_line(&r, p, n, &why);
        /* Behind the head nothing changes what it said. */
        REQUIRE(!done || (r.head.len == had && r.status == status));
        p += n;
    }
    REQUIRE(rc == 0 || (why && *why));
    REQUIRE(r.status >= 0 && r.status <= 999 && (!r.head_done || r.status >= 200));
    REQUIRE(r.head.len <= HTTP_HEAD_MAX && (!r.head.len || r.head.data[r.head.len - 1] == '\0'));
    const char *v = http_recv_header(&r, "ETag");
    REQUIRE(!v || (!strpbrk(v, "\r\n") && v + strlen(v) < r.head.data + r.head.len));
    http_recv_fini(&r);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    sf_autofree char *text = fuzz_text(data + 1, size - 1);
    if (data[0] == 'r')
        retry_after(text);
    else if (data[0] == 'u')
        url(text);
    else
        head(text, size - 1);
    return 0;
}
