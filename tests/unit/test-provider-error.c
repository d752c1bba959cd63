/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/error.h"

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
#include "provider/provider.h"

/* What replies of providers mean: bodies as documented or quoted from life, hostile ones, and the
 * tables in docs/errors.md. */

struct headers {
    const char *name, *value;
};

static const char *
header_of(void *arg, const char *name)
{
    for (const struct headers *h = arg; h && h->name; h++)
        if (!strcasecmp(h->name, name))
            return h->value;
    return NULL;
}

static struct sf_provider_fault
ask(const char *type, int status, const char *body, struct headers *headers)
{
    struct sf_provider_fault f;
    const struct sf_provider_reply reply = {.status = status,
                                            .body = body,
                                            .len = body ? strlen(body) : 0,
                                            .header = header_of,
                                            .arg = headers};
    int rc = sf_provider_fault_of(type ? sf_provider_type_find(type) : NULL, &reply, &f);
    assert_int_equal(rc, f.err);
    assert_int_equal(f.err, sf_provider_class_info(f.cls)->err);
    for (const char *p = f.text; *p; p++)
        assert_true(*p >= ' ' && *p < 0x7f);
    return f;
}

#define RATE_BODY                                                                                  \
    "{\"error\":{\"type\":\"rate_limit_reached_error\",\"message\":\"Your account "                \
    "org-07cd14<ak-eu8n> request reached organization max RPM: 3, please try again after 1 "       \
    "seconds\"}}"

static const struct {
    const char *type;
    int status;
    const char *body;
    enum sf_provider_class cls;
    int err;
    int64_t after_ms;
} replies[] = {
    /* 1: Kimi */
    {"kimi", 400,
     "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"File size is zero, please "
     "confirm and re-upload the file\"}}",
     SF_PC_EMPTY, -EINVAL, -1},
    {"kimi", 400,
     "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"File size is too large, max "
     "file size is 100MB, please confirm and re-upload the file\"}}",
     SF_PC_TOO_LARGE, -EFBIG, -1},
    {"kimi", 400,
     "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Invalid purpose: only "
     "'file-extract' accepted\"}}",
     SF_PC_INVALID, -EINVAL, -1},
    {"kimi", 400,
     "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"The number of files you have "
     "uploaded exceeded the max file count 1000, please delete previous uploaded files\"}}",
     SF_PC_COUNT, -ENOSPC, -1},
    {"kimi", 400, "{\"error\":{\"type\":\"content_filter\",\"message\":\"high risk\"}}",
     SF_PC_FILTERED, -EPERM, -1},
    {"kimi", 400,
     "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"Invalid request: Your request "
     "exceeded model token limit: 262144 (requested: 269030)\"}}",
     SF_PC_CONTEXT, -EFBIG, -1},
    {"kimi", 400,
     "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"total message size 3000000 "
     "exceeds limit 2097152\"}}",
     SF_PC_CONTEXT, -EFBIG, -1},
    {"kimi", 401,
     "{\"error\":{\"type\":\"invalid_authentication_error\",\"message\":\"Invalid "
     "Authentication\"}}",
     SF_PC_AUTH, -EACCES, -1},
    {"kimi", 401, "{\"error\":{\"type\":\"incorrect_api_key_error\",\"message\":\"\"}}", SF_PC_AUTH,
     -EACCES, -1},
    {"kimi", 403, "{\"error\":{\"type\":\"permission_denied_error\",\"message\":\"no\"}}",
     SF_PC_PERMISSION, -EACCES, -1},
    {"kimi", 404,
     "{\"error\":{\"type\":\"resource_not_found_error\",\"message\":\"Not found the model kimi-x "
     "or Permission denied\"}}",
     SF_PC_MODEL, -EINVAL, -1},
    {"kimi", 404, "{\"error\":{\"type\":\"resource_not_found_error\",\"message\":\"no file\"}}",
     SF_PC_NOT_FOUND, -ENOENT, -1},
    {"kimi", 429, RATE_BODY, SF_PC_RATE, -EAGAIN, 1000},
    {"kimi", 429,
     "{\"error\":{\"type\":\"rate_limit_reached_error\",\"message\":\"Your account reached "
     "organization TPD rate limit, current: 1526210, limit: 1500000\"}}",
     SF_PC_RATE_LATER, -EDQUOT, -1},
    {"kimi", 429,
     "{\"error\":{\"type\":\"engine_overloaded_error\",\"message\":\"The engine is currently "
     "overloaded, please try again later\"}}",
     SF_PC_OVERLOADED, -EIO, -1},
    {"kimi", 429,
     "{\"error\":{\"type\":\"exceeded_current_quota_error\",\"message\":\"suspended due to "
     "insufficient balance, please try again after 1 seconds\"}}",
     SF_PC_QUOTA, -EDQUOT, -1},
    {"kimi", 403,
     "{\"error\":{\"type\":\"permission_denied_error\",\"message\":\"Insufficient balance\"}}",
     SF_PC_QUOTA, -EDQUOT, -1},
    {"kimi", 500,
     "{\"error\":{\"type\":\"server_error\",\"message\":\"Failed to extract file: broken\"}}",
     SF_PC_EXTRACT, -EIO, -1},
    {"kimi", 500,
     "{\"error\":{\"type\":\"unexpected_output\",\"message\":\"invalid state transition\"}}",
     SF_PC_SERVER, -EIO, -1},
    /* 2: GLM, with the code as a string or a number */
    {"glm", 429,
     "{\"error\":{\"code\":\"1113\",\"message\":\"Insufficient balance or no resource package. "
     "Please recharge.\"}}",
     SF_PC_QUOTA, -EDQUOT, -1},
    {"glm", 429, "{\"error\":{\"code\":1302,\"message\":\"concurrency\"}}", SF_PC_RATE, -EAGAIN,
     -1},
    {"glm", 429, "{\"error\":{\"code\":\"1304\",\"message\":\"daily\"}}", SF_PC_RATE_LATER, -EDQUOT,
     -1},
    {"glm", 429, "{\"error\":{\"code\":\"1319\",\"message\":\"spend\"}}", SF_PC_RATE_LATER, -EDQUOT,
     -1},
    {"glm", 400, "{\"error\":{\"code\":\"1261\",\"message\":\"Prompt too long\"}}", SF_PC_CONTEXT,
     -EFBIG, -1},
    {"glm", 400, "{\"error\":{\"code\":\"1301\",\"message\":\"unsafe\"}}", SF_PC_FILTERED, -EPERM,
     -1},
    {"glm", 401, "{\"error\":{\"code\":\"1002\",\"message\":\"token\"}}", SF_PC_AUTH, -EACCES, -1},
    {"glm", 400, "{\"error\":{\"code\":\"1214\",\"message\":\"\\u53c2\\u6570\"}}", SF_PC_INVALID,
     -EINVAL, -1},
    {"glm", 435, "", SF_PC_TOO_LARGE, -EFBIG, -1},
    {"glm", 435, "{\"error\":{\"code\":\"1214\",\"message\":\"x\"}}", SF_PC_TOO_LARGE, -EFBIG, -1},
    {"glm", 400, "{\"error\":{\"code\":\"1214\",\"message\":\"The file is empty\"}}", SF_PC_EMPTY,
     -EINVAL, -1},
    {"glm", 400, "{\"error\":{\"code\":\"1214\",\"message\":\"File type not supported: x\"}}",
     SF_PC_TYPE, -ENOTSUP, -1},
    {"glm", 434, "", SF_PC_PERMISSION, -EACCES, -1},
    {"glm", 500, "{\"error\":{\"code\":\"500\",\"message\":\"x\"}}", SF_PC_SERVER, -EIO, -1},
    {"glm", 404,
     "{\"timestamp\":\"x\",\"status\":404,\"error\":\"Not Found\",\"path\":\"/api/paas/v4/x\"}",
     SF_PC_NO_API, -ENOTSUP, -1},
    /* 3: llama.cpp */
    {"openai", 503,
     "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}",
     SF_PC_LOADING, -EAGAIN, -1},
    {"openai", 400,
     "{\"error\":{\"code\":400,\"message\":\"the request exceeds\",\"type\":"
     "\"exceed_context_size_error\",\"n_prompt_tokens\":9000,\"n_ctx\":4096}}",
     SF_PC_CONTEXT, -EFBIG, -1},
    {"openai", 500,
     "{\"error\":{\"code\":500,\"message\":\"Context size has been exceeded.\",\"type\":"
     "\"server_error\"}}",
     SF_PC_CONTEXT, -EFBIG, -1},
    {"openai", 200,
     "{\"error\":{\"code\":400,\"message\":\"in a 200\",\"type\":\"invalid_request_error\"}}",
     SF_PC_INVALID, -EINVAL, -1},
    {"openai", 404,
     "{\"error\":{\"code\":404,\"message\":\"File Not Found\",\"type\":\"not_found_error\"}}",
     SF_PC_NO_API, -ENOTSUP, -1},
    /* 4: OpenAI, Ollama */
    {"openai", 404,
     "{\"error\":{\"message\":\"model \\\"x\\\" not found, try pulling it first\",\"type\":"
     "\"not_found_error\",\"param\":null,\"code\":null}}",
     SF_PC_MODEL, -EINVAL, -1},
    {"openai", 404,
     "{\"error\":{\"message\":\"No such File object: file-abc\",\"type\":"
     "\"invalid_request_error\",\"param\":\"id\",\"code\":null}}",
     SF_PC_NOT_FOUND, -ENOENT, -1},
    {"openai", 404,
     "{\"error\":{\"message\":\"Invalid URL (GET /v1/filez)\",\"type\":"
     "\"invalid_request_error\",\"param\":null,\"code\":null}}",
     SF_PC_NO_API, -ENOTSUP, -1},
    {"openai", 401,
     "{\"error\":{\"message\":\"You didn't provide an API key\",\"type\":"
     "\"invalid_request_error\",\"param\":null,\"code\":null}}",
     SF_PC_AUTH, -EACCES, -1},
    {"openai", 429,
     "{\"error\":{\"message\":\"You exceeded your current quota\",\"type\":\"insufficient_quota\","
     "\"param\":null,\"code\":\"insufficient_quota\"}}",
     SF_PC_QUOTA, -EDQUOT, -1},
    {"openai", 429,
     "{\"error\":{\"message\":\"Rate limit reached for gpt-x on requests per min (RPM). Please try "
     "again in 6m0.5s.\",\"type\":\"requests\",\"code\":\"rate_limit_exceeded\"}}",
     SF_PC_RATE, -EAGAIN, 360500},
    {"openai", 429,
     "{\"error\":{\"message\":\"Rate limit reached on tokens per min. Please try again in 120ms.\","
     "\"code\":\"rate_limit_exceeded\"}}",
     SF_PC_RATE, -EAGAIN, 120},
    {"openai", 400,
     "{\"error\":{\"message\":\"Invalid value: file. Supported values are: 'text','image_url'\","
     "\"type\":\"invalid_request_error\"}}",
     SF_PC_TYPE, -ENOTSUP, -1},
    {"openai", 500, "{\"error\":{\"message\":\"oops\",\"type\":\"api_error\",\"code\":null}}",
     SF_PC_SERVER, -EIO, -1},
    /* 5: old vLLM */
    {"openai", 400,
     "{\"object\":\"error\",\"message\":\"This model's maximum context length is 4096 tokens\","
     "\"type\":\"BadRequestError\",\"param\":null,\"code\":400}",
     SF_PC_CONTEXT, -EFBIG, -1},
    {"openai", 404,
     "{\"object\":\"error\",\"message\":\"The model `x` does not exist.\",\"type\":"
     "\"NotFoundError\",\"code\":404}",
     SF_PC_MODEL, -EINVAL, -1},
    {"openai", 404, "{\"detail\":\"Not Found\"}", SF_PC_NO_API, -ENOTSUP, -1},
    /* 6: Moonshot's gateway */
    {"kimi", 404,
     "{\"code\":5,\"error\":\"url.not_found\",\"message\":\"no\",\"method\":\"GET\",\"scode\":"
     "\"0x5\",\"status\":false,\"ua\":\"x\",\"url\":\"/v1/nofiles\"}",
     SF_PC_NO_API, -ENOTSUP, -1},
    {"openai", 200, "{\"error\":\"Unexpected endpoint or method. (GET /v1/files)\"}", SF_PC_NO_API,
     -ENOTSUP, -1},
    {"openai", 404, "{\"error\":\"The model `x` does not exist.\"}", SF_PC_MODEL, -EINVAL, -1},
    {"kimi", 400,
     "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"The total size of files you "
     "have "
     "uploaded exceeded the max\"}}",
     SF_PC_COUNT, -ENOSPC, -1},
    {"openai", 400, "{\"error\":\"no such thing\"}", SF_PC_INVALID, -EINVAL, -1},
    {"openai", 429,
     "{\"error\":{\"message\":\"Rate limit reached on requests per day (RPD): Limit 200. Please "
     "try "
     "again in 7m12s.\",\"type\":\"api_error\",\"code\":null}}",
     SF_PC_RATE_LATER, -EDQUOT, 432000},
    /* 7: a proxy's page, or nothing */
    {"kimi", 502, "<html><body><h1>502 Bad Gateway</h1></body></html>", SF_PC_SERVER, -EIO, -1},
    {"kimi", 504, "", SF_PC_SERVER, -EIO, -1},
    {"kimi", 503, "<html>", SF_PC_OVERLOADED, -EIO, -1},
    {"openai", 404, "404 page not found", SF_PC_NO_API, -ENOTSUP, -1},
    {"openai", 405, "", SF_PC_NO_API, -ENOTSUP, -1},
    {"openai", 501, "", SF_PC_NO_API, -ENOTSUP, -1},
    {"openai", 413, "<html>", SF_PC_TOO_LARGE, -EFBIG, -1},
    {"openai", 429, "", SF_PC_RATE, -EAGAIN, -1},
    {"openai", 302, "", SF_PC_PROTOCOL, -EPROTO, -1},
    /* 8: in a stream */
    {"glm", 200, "data: {\"error\":{\"code\":\"1234\",\"message\":\"network\"}}\n\n", SF_PC_SERVER,
     -EIO, -1},
    {"kimi", 200, "{\"error\":{\"type\":\"engine_overloaded_error\",\"message\":\"x\"}}",
     SF_PC_OVERLOADED, -EIO, -1},
    {"openai", 200, "error: {\"error\":{\"message\":\"x\"}}", SF_PC_SERVER, -EIO, -1},
    /* no error at all */
    {"kimi", 200, "{\"id\":\"abc\",\"object\":\"file\"}", SF_PC_OK, 0, -1},
    {"kimi", 200, "{\"error\":null,\"data\":[]}", SF_PC_OK, 0, -1},
    {"kimi", 204, "", SF_PC_OK, 0, -1},
};

static void
test_replies(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        struct sf_provider_fault f = ask(replies[i].type, replies[i].status, replies[i].body, NULL);
        if (f.cls != replies[i].cls || f.err != replies[i].err ||
            f.retry_after_ms != replies[i].after_ms)
            fail_msg("reply %zu (%d %s): %s, %d, %lld", i, replies[i].status, replies[i].body,
                     sf_provider_class_info(f.cls)->name, f.err, (long long)f.retry_after_ms);
        assert_int_equal(f.text[0] != '\0', f.cls != SF_PC_OK);
    }
}

/* Each row is reached by what it describes: none above takes it away. */
static void
test_no_row_is_hidden(void **state)
{
    size_t n;
    const struct sf_provider_row *rows = sf_provider_rows(&n);
    (void)state;
    for (size_t i = 0; i < n; i++) {
        char code[200] = "", body[600];
        int status = rows[i].http_from ? rows[i].http_from
                     : rows[i].vendor  ? 429
                     : i + 1 == n      ? 300
                                       : 600;
        /* The last of several codes; of a range its end. */
        if (rows[i].code) {
            const char *last = strrchr(rows[i].code, '|');
            last = last ? last + 1 : rows[i].code;
            const char *dash = strchr(last, '-');
            snprintf(code, sizeof code, "%s",
                     strcmp(last, "*") != 0 ? dash ? dash + 1 : last : "x");
        }
        if (rows[i].code || rows[i].message)
            snprintf(body, sizeof body, "{\"error\":{\"code\":\"%s\",\"message\":\"... %s ...\"}}",
                     code, rows[i].message ? rows[i].message : "");
        else
            snprintf(body, sizeof body, "%s", status < 300 ? "{\"object\":\"error\"}" : "");
        struct sf_provider_fault f =
            ask(rows[i].vendor ? rows[i].vendor : "kimi", status, body, NULL);
        if (f.cls != rows[i].cls)
            fail_msg("row %zu (%s): %s", i, rows[i].meaning, f.text);
    }
    /* The words of GLM are numbers that mean nothing elsewhere. */
    assert_int_equal(ask("kimi", 400, "{\"error\":{\"code\":\"1301\"}}", NULL).cls, SF_PC_INVALID);
    assert_int_equal(ask(NULL, 400, "{\"error\":{\"code\":\"1301\"}}", NULL).cls, SF_PC_FILTERED);
}

static void
test_text(void **state)
{
    (void)state;
    struct sf_provider_fault f = ask("kimi", 429, RATE_BODY, NULL);
    assert_string_equal(f.text, "rate limit: Your account org-***<ak-***> request reached "
                                "organization max RPM: 3, please try again after 1 seconds (HTTP "
                                "429, rate_limit_reached_error)");
    f = ask("kimi", 502, "<html>sk-0123456789abcdef0123</html>", NULL);
    assert_string_equal(f.text, "server error: the provider failed (HTTP 502)");
    /* What cannot be read is left out. */
    f = ask("glm", 429, "{\"error\":{\"code\":\"1302\",\"message\":\"\\u60a8\\u5f53\\u524d\"}}",
            NULL);
    assert_string_equal(f.text, "rate limit: too many requests just now (HTTP 429, 1302)");
    f = ask("openai", 401,
            "{\"error\":{\"message\":\"Incorrect API key provided: sk-proj-abc proj_xyz eyJabc\"}}",
            NULL);
    assert_string_equal(
        f.text, "key refused: Incorrect API key provided: sk-*** proj_*** eyJabc (HTTP 401)");
    char body[3000];
    memset(body, 'a', sizeof body);
    memcpy(body, "{\"error\":{\"message\":\"", 21);
    snprintf(body + 2000, 10, "\"}}");
    f = ask("openai", 400, body, NULL);
    assert_true(strlen(f.text) < sizeof f.text);
    assert_string_equal(f.text + strlen(f.text) - 10, "(HTTP 400)");
    assert_int_equal(sf_provider_fault_set(&f, SF_PC_EMPTY, "%s\n%s", "a\x1b[2J", "org-123"),
                     -EINVAL);
    assert_string_equal(f.text, "empty: a?[2J?org-***");
    assert_int_equal(f.retry_after_ms, -1);
}

static void
test_headers(void **state)
{
    (void)state;
    struct headers seconds[] = {{"Retry-After", "7"}, {"X-Request-Id", "req-1"}, {0}};
    struct headers ms[] = {{"retry-after-ms", "1500"}, {"Retry-After", "7"}, {0}};
    struct headers date[] = {{"Retry-After", "Sun, 22 Nov 2026 03:00:30 GMT"},
                             {"Date", "Sun, 22 Nov 2026 03:00:00 GMT"},
                             {"cf-ray", "ray\n1"},
                             {0}};
    struct headers vast[] = {{"Retry-After", "99999999999999999999"}, {0}};
    struct headers bad[] = {{"Retry-After", "soon"}, {0}};
    struct sf_provider_fault f = ask("kimi", 429, RATE_BODY, seconds);
    assert_int_equal(f.retry_after_ms, 7000); /* nearer than the words */
    assert_string_equal(f.request_id, "req-1");
    assert_int_equal(ask("kimi", 429, "", ms).retry_after_ms, 1500);
    f = ask("kimi", 503, "", date);
    assert_int_equal(f.retry_after_ms, 30000);
    assert_string_equal(f.request_id, "ray?1");
    assert_int_equal(ask("kimi", 429, "", vast).retry_after_ms, 24 * 3600 * 1000);
    assert_int_equal(ask("kimi", 429, RATE_BODY, bad).retry_after_ms, 1000);
    f = ask("glm", 500, "{\"error\":{\"code\":\"500\",\"message\":\"x\"},\"request_id\":\"r2\"}",
            NULL);
    assert_string_equal(f.request_id, "r2");
}

static void
test_network(void **state)
{
    static const struct {
        int code, err;
        enum sf_provider_class cls;
    } cases[] = {
        {-ECONNREFUSED, -EIO, SF_PC_NETWORK},    {-ETIMEDOUT, -ETIMEDOUT, SF_PC_TIMEOUT},
        {-EPROTO, -EPROTO, SF_PC_PROTOCOL},      {-EFBIG, -EPROTO, SF_PC_PROTOCOL},
        {-EPERM, -EINVAL, SF_PC_INVALID},        {-EIO, -EIO, SF_PC_NETWORK},
        {-ECANCELED, -ECANCELED, SF_PC_NETWORK}, {-ENOMEM, -ENOMEM, SF_PC_NETWORK},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sf_err err = {.code = cases[i].code, .msg = "connect to 127.0.0.1: refused"};
        struct sf_provider_fault f;
        assert_int_equal(sf_provider_fault_net(&err, &f), cases[i].err);
        assert_int_equal(f.cls, cases[i].cls);
        assert_int_equal(f.http, 0);
        assert_non_null(strstr(f.text, "refused"));
    }
}

static void
test_hostile(void **state)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    (void)state;
    static const char *const bodies[] = {
        "{",
        "[]",
        "null",
        "\"x\"",
        "{\"error\":[]}",
        "{\"error\":{\"code\":{},\"type\":[],\"message\":7}}",
        "{\"error\":{\"code\":\"a\",\"code\":\"b\"}}",
        "{\"error\":{\"message\":\"\xff\xfe\"}}",
        "{\"error\":{\"message\":\"a\\u0000b\"}}",
        "{\"error\":{\"message\":\"\\u001b[31m after seconds after 9999999999999999999999s\"}}",
        "data:",
        "data: ",
        "error:",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        struct sf_provider_fault f = ask(NULL, 400, bodies[i], NULL);
        assert_int_not_equal(f.cls, SF_PC_OK);
        assert_true(f.retry_after_ms <= 24 * 3600 * 1000);
        ask(NULL, 200, bodies[i], NULL);
    }
    for (int i = 0; i < 30000; i++)
        sf_buf_puts(&b, "{\"error\":");
    assert_int_equal(ask("kimi", 500, b.data, NULL).cls, SF_PC_SERVER);
    assert_int_equal(ask("kimi", 200, b.data, NULL).cls, SF_PC_OK);
}

/* ---- docs/errors.md shows the same tables ---- */

static void
put_codes(struct sf_buf *b, const char *codes)
{
    const char *sep = "code or type ";
    if (!strcmp(codes, "*")) {
        sf_buf_puts(b, "any code or type");
        return;
    }
    for (const char *p = codes; *p;) {
        int n = (int)strcspn(p, "|");
        sf_buf_printf(b, "%s`%.*s`", sep, n, p);
        sep = ", ";
        p += n + (p[n] == '|');
    }
}

static void
put_tables(struct sf_buf *b)
{
    static const char *const again[] = {"no", "once", "yes"};
    size_t n;
    const struct sf_provider_row *rows = sf_provider_rows(&n);
    sf_buf_puts(b, "| class | errno | retried | meaning |\n|---|---|---|---|\n");
    for (int i = SF_PC_OK + 1; i < SF_PC_COUNT_OF; i++) {
        const struct sf_provider_class_info *c = sf_provider_class_info((enum sf_provider_class)i);
        sf_buf_printf(b, "| %s | %s | %s | %s |\n", c->name, sf_errno_name(c->err), again[c->again],
                      c->meaning);
    }
    sf_buf_puts(b, "\n| reply | class | meaning |\n|---|---|---|\n");
    for (size_t i = 0; i < n; i++) {
        const struct sf_provider_row *r = &rows[i];
        const char *sep = "";
        sf_buf_puts(b, "| ");
        if (r->vendor) {
            sf_buf_printf(b, "%s: ", r->vendor);
        }
        if (r->code) {
            put_codes(b, r->code);
            sep = "; ";
        }
        if (r->message) {
            sf_buf_printf(b, "%smessage has `%s`", sep, r->message);
            sep = "; ";
        }
        if (r->http_from == r->http_to && r->http_from)
            sf_buf_printf(b, "%sHTTP %d", sep, r->http_from);
        else if (r->http_from)
            sf_buf_printf(b, "%sHTTP %d-%d", sep, r->http_from, r->http_to);
        else if (!*sep)
            sf_buf_puts(b, "anything else");
        sf_buf_printf(b, " | %s | %s |\n", sf_provider_class_info(r->cls)->name, r->meaning);
    }
}

/* With SUPAFS_PRINT_TABLE set, prints what docs/errors.md must hold. */
static void
test_documentation(void **state)
{
    sf_autobuf struct sf_buf table = SF_BUF_INIT;
    (void)state;
    put_tables(&table);
    doc_holds(&table, "docs/errors.md", "the tables of provider/error.c", "test-provider-error");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies),       cmocka_unit_test(test_no_row_is_hidden),
        cmocka_unit_test(test_text),          cmocka_unit_test(test_headers),
        cmocka_unit_test(test_network),       cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
