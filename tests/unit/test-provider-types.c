/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/provider.h"

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

/* Requests are built as the vendors document them; of replies nothing is believed unchecked. */

static const struct sf_provider_type *
type(const char *name)
{
    const struct sf_provider_type *t = sf_provider_type_find(name);
    assert_non_null(t);
    return t;
}

static void
test_registry(void **state)
{
    (void)state;
    const struct sf_provider_type *t;
    size_t n = 0;
    for (; (t = sf_provider_type_at(n)); n++) {
        assert_ptr_equal(sf_provider_type_find(t->name), t);
        assert_true(t->upload_ms > 0 && t->default_base && t->purpose);
        assert_int_not_equal(t->default_base[strlen(t->default_base) - 1], '/');
        const struct sf_provider_limits *l = t->limits(t->default_base, t->purpose);
        assert_non_null(l);
        assert_null(t->limits(t->default_base, "no-such-purpose"));
        for (const char *const *e = l->extensions; e && *e; e++)
            for (const char *p = *e; *p; p++)
                assert_true((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9'));
    }
    assert_int_equal(n, 3);
    assert_null(sf_provider_type_find("eliza"));
}

static void
test_limits(void **state)
{
    (void)state;
    const struct sf_provider_type *glm = type("glm"), *openai = type("openai");
    const char *cn = glm->default_base, *global = "https://api.z.ai/api/paas/v4";
    assert_int_equal(glm->limits(cn, "agent")->max_bytes, 20 << 20);
    assert_int_equal(glm->limits(cn, "agent")->max_image_bytes, 5 << 20);
    assert_int_equal(glm->limits(global, "agent")->max_bytes, 100 << 20);
    assert_null(glm->limits(global, "code-interpreter"));
    assert_int_equal(glm->limits("https://API.Z.AI:443/x", "agent")->max_bytes, 100 << 20);
    assert_int_equal(glm->limits("https://api.z.ai.evil.example/x", "agent")->max_bytes, 20 << 20);
    assert_null(openai->limits("http://localhost:11434/v1", "user_data"));
    assert_int_equal(type("kimi")->limits("http://127.0.0.1/kimi/v1", "file-extract")->max_files,
                     1000);
}

static void
url_is(const char *name, enum sf_provider_route route, const char *id, const char *purpose,
       const char *after, const char *expected)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    sf_buf_puts(&b, "> ");
    int rc = sf_provider_url(type(name), route, "http://h/v1", id, purpose, after, &b);
    assert_int_equal(rc, expected ? 0 : -EINVAL);
    assert_string_equal(b.data + 2, expected ? expected : "");
}

static void
test_urls(void **state)
{
    (void)state;
    url_is("kimi", SF_PROUTE_UPLOAD, NULL, NULL, NULL, "http://h/v1/files");
    url_is("kimi", SF_PROUTE_LIST, NULL, "file-extract", "x", "http://h/v1/files");
    url_is("glm", SF_PROUTE_LIST, NULL, NULL, NULL, "http://h/v1/files?limit=100");
    url_is("glm", SF_PROUTE_LIST, NULL, "agent", "file-1",
           "http://h/v1/files?limit=100&purpose=agent&after=file-1");
    url_is("openai", SF_PROUTE_LIST, NULL, "a&b", "", "http://h/v1/files?limit=100&purpose=a%26b");
    url_is("openai", SF_PROUTE_FILE, "file-1:a.b_c", NULL, NULL,
           "http://h/v1/files/file-1%3Aa.b_c");
    url_is("kimi", SF_PROUTE_CONTENT, "abc", NULL, NULL, "http://h/v1/files/abc/content");
    url_is("kimi", SF_PROUTE_DELETE, "abc", NULL, NULL, "http://h/v1/files/abc");
    url_is("kimi", SF_PROUTE_MODELS, NULL, NULL, NULL, "http://h/v1/models");
    url_is("kimi", SF_PROUTE_CHAT, NULL, NULL, NULL, "http://h/v1/chat/completions");
    /* Nothing leads to another route. */
    static const char *const bad[] = {"",    ".",   "..",    "../models", "a/b",
                                      "a?b", "a b", "a%2fb", "é"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        url_is("kimi", SF_PROUTE_DELETE, bad[i], NULL, NULL, NULL);
    url_is("kimi", SF_PROUTE_DELETE, NULL, NULL, NULL, NULL);
    assert_string_equal(sf_provider_method(SF_PROUTE_DELETE), "DELETE");
    assert_string_equal(sf_provider_method(SF_PROUTE_UPLOAD), "POST");
}

static void
name_is(const char *name, const char *expected)
{
    char out[256];
    sf_provider_filename(name, out);
    assert_string_equal(out, expected);
}

static void
test_names(void **state)
{
    (void)state;
    char longest[400], out[256];
    name_is("report.pdf", "report.pdf");
    name_is("räport 1.pdf", "räport 1.pdf");
    name_is("a\"b\r\nX: y.pdf", "a_b__X: y.pdf");
    name_is("dir/..\\100%.txt", "dir_.._100_.txt");
    name_is("\xff\xc3.txt", "__.txt");
    name_is("", "file");
    memset(longest, 'a', sizeof longest);
    snprintf(longest + 300, 100, "é.docx");
    sf_provider_filename(longest, out);
    assert_int_equal(strlen(out), 200);
    assert_string_equal(out + 195, ".docx");
    /* Cut within a character. */
    for (size_t i = 0; i < 300; i += 2)
        memcpy(longest + i, "é", 2);
    snprintf(longest + 300, 100, ".md");
    sf_provider_filename(longest, out);
    assert_string_equal(out + strlen(out) - 5, "é.md");
}

static void
marked_is(const char *name, const char *expected)
{
    char out[256], again[256];
    sf_provider_marked_name(name, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c", out);
    assert_string_equal(out, expected);
    sf_provider_filename(out, again);
    assert_string_equal(again, out);
}

static void
test_marked_names(void **state)
{
    (void)state;
    char longest[400], out[256];
    marked_is("q3.pdf", "q3-2cf24dba5fb0.pdf");
    marked_is("a.tar.gz", "a.tar-2cf24dba5fb0.gz");
    marked_is("README", "README-2cf24dba5fb0");
    marked_is("", "file-2cf24dba5fb0");
    marked_is("a\"b\n.txt", "a_b_-2cf24dba5fb0.txt");
    for (size_t i = 0; i < 300; i += 2)
        memcpy(longest + i, "é", 2);
    for (size_t i = 0; i < 30; i++) {
        snprintf(longest + 170 + i * 2, 100, "%.*s.docx", (int)(i % 5), "aaaa");
        sf_provider_marked_name(longest, "2cf24dba5fb0a30e", out);
        assert_in_range(strlen(out), 150, 200);
        assert_string_equal(out + strlen(out) - 18, "-2cf24dba5fb0.docx");
        marked_is(longest, out);
    }
}

static void
test_form(void **state)
{
    (void)state;
    sf_autobuf struct sf_buf head = SF_BUF_INIT, tail = SF_BUF_INIT;
    char line[80], expected[600];
    assert_int_equal(
        sf_provider_form("file-extract", "a\".pdf", "application/pdf\r\nX: y", line, &head, &tail),
        0);
    assert_memory_equal(line, "multipart/form-data; boundary=", 30);
    const char *boundary = line + 30;
    snprintf(expected, sizeof expected,
             "--%s\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nfile-extract\r\n"
             "--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a_.pdf\"\r\n"
             "Content-Type: application/octet-stream\r\n\r\n",
             boundary, boundary);
    assert_string_equal(head.data, expected);
    snprintf(expected, sizeof expected, "\r\n--%s--\r\n", boundary);
    assert_string_equal(tail.data, expected);
    char again[80];
    assert_int_equal(sf_provider_form("p", "f", NULL, again, &head, &tail), 0);
    assert_string_not_equal(line, again);
    assert_int_equal(sf_provider_form("p\r\n", "f", NULL, again, &head, &tail), -EINVAL);
}

/* ---- replies -------------------------------------------------------------------------------- */

static int
parse(const char *body, struct sf_provider_file *f)
{
    return sf_provider_parse_file(type("kimi"), body, strlen(body), f);
}

static void
test_file(void **state)
{
    (void)state;
    struct sf_provider_file f;
    assert_int_equal(
        parse("{\"id\":\"clg681objj8g9m7n4je0\",\"object\":\"file\",\"bytes\":761790,"
              "\"created_at\":1700815879,\"filename\":\"xlnet.pdf\",\"purpose\":\"file-extract\","
              "\"status\":\"ok\",\"status_details\":\"\"}",
              &f),
        0);
    assert_string_equal(f.id, "clg681objj8g9m7n4je0");
    assert_string_equal(f.filename, "xlnet.pdf");
    assert_string_equal(f.purpose, "file-extract");
    assert_int_equal(f.bytes, 761790);
    assert_int_equal(f.created_s, 1700815879);
    assert_int_equal(f.state, SF_PF_READY);

    static const struct {
        const char *status;
        enum sf_provider_file_state state;
    } states[] = {{"\"ready\"", SF_PF_READY},        {"\"processed\"", SF_PF_READY},
                  {"\"OK\"", SF_PF_READY},           {"null", SF_PF_READY},
                  {"\"error\"", SF_PF_FAILED},       {"\"failed\"", SF_PF_FAILED},
                  {"\"processing\"", SF_PF_PENDING}, {"\"never seen\"", SF_PF_PENDING}};
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        char body[200];
        snprintf(body, sizeof body,
                 "{\"id\":\"a\",\"status\":%s,\"status_details\":\"for org-123\"}",
                 states[i].status);
        assert_int_equal(parse(body, &f), 0);
        assert_int_equal(f.state, states[i].state);
        assert_string_equal(f.details, "for org-***");
    }
    /* GLM: no status, the id may be a number. */
    assert_int_equal(parse("{\"id\":1234567890123,\"bytes\":null,\"created_at\":1795234237.5}", &f),
                     0);
    assert_string_equal(f.id, "1234567890123");
    assert_int_equal(f.created_s, 1795234237);
    assert_int_equal(f.bytes, 0);
    assert_int_equal(parse("{\"data\":{\"id\":\"w\"}}", &f), 0);
    assert_string_equal(f.id, "w");
    /* Texts of others can be shown. */
    assert_int_equal(parse("{\"id\":\"a\",\"filename\":\"r\\u00e4\\u001b[2J\\u0085\"}", &f), 0);
    assert_string_equal(f.filename, "rä?[2J?");
}

static void
test_bad_files(void **state)
{
    (void)state;
    static const char *const bodies[] = {"",
                                         "null",
                                         "[]",
                                         "{}",
                                         "<html>",
                                         "{\"id\":\"\"}",
                                         "{\"id\":null}",
                                         "{\"id\":-1}",
                                         "{\"id\":\"a/b\"}",
                                         "{\"id\":\"..\"}",
                                         "{\"id\":\"a\\nb\"}",
                                         "{\"id\":\"a b\"}",
                                         "{\"id\":\"\\u00e9\"}",
                                         "{\"id\":\"a\",\"id\":\"b\"}",
                                         "{\"id\":\"a\",\"bytes\":-1}",
                                         "{\"id\":\"a\",\"bytes\":\"1\"}",
                                         "{\"id\":\"a\""};
    struct sf_provider_file f = {.id = "untouched"};
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        if (parse(bodies[i], &f) != -EPROTO)
            fail_msg("%s", bodies[i]);
    char body[400] = "{\"id\":\"";
    memset(body + 7, 'a', 256);
    snprintf(body + 7 + 256, 10, "\"}");
    assert_int_equal(parse(body, &f), -EPROTO);
    assert_string_equal(f.id, "untouched");
    snprintf(body + 7 + 255, 10, "\"}");
    assert_int_equal(parse(body, &f), 0);
    assert_int_equal(strlen(f.id), 255);
}

struct seen {
    char ids[200];
    int stop;
};

static int
take(void *arg, const struct sf_provider_file *file)
{
    struct seen *s = arg;
    size_t n = strlen(s->ids);
    snprintf(s->ids + n, sizeof s->ids - n, "%s ", file->id);
    return s->stop;
}

static void
test_list(void **state)
{
    (void)state;
    struct seen s = {0};
    char after[SF_PROVIDER_ID_MAX + 1];
    bool more = true;
    const char *body = "{\"object\":\"list\",\"data\":[{\"id\":\"a\"},{\"id\":\"b/c\"},7,{\"id\":"
                       "\"d\"}],\"has_more\":true}";
    assert_int_equal(
        sf_provider_parse_list(type("glm"), body, strlen(body), NULL, take, &s, after, &more), 0);
    assert_string_equal(s.ids, "a d ");
    assert_string_equal(after, "d");
    assert_true(more);
    /* The server gives the same page for ever. */
    assert_int_equal(
        sf_provider_parse_list(type("glm"), body, strlen(body), "d", take, &s, after, &more), 0);
    assert_false(more);
    /* Kimi has no pages, whatever it says. */
    assert_int_equal(
        sf_provider_parse_list(type("kimi"), body, strlen(body), NULL, take, &s, after, &more), 0);
    assert_false(more);
    body = "{\"data\":[],\"has_more\":true}";
    assert_int_equal(
        sf_provider_parse_list(type("glm"), body, strlen(body), NULL, take, &s, after, &more), 0);
    assert_false(more);
    s = (struct seen){.stop = -ECANCELED};
    body = "{\"data\":[{\"id\":\"a\"},{\"id\":\"b\"}]}";
    assert_int_equal(
        sf_provider_parse_list(type("glm"), body, strlen(body), NULL, take, &s, after, &more),
        -ECANCELED);
    assert_string_equal(s.ids, "a ");
    static const char *const bad[] = {"", "{}", "[]", "{\"data\":{}}", "{\"data\":null}", "<p>"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(sf_provider_parse_list(type("glm"), bad[i], strlen(bad[i]), NULL, take, &s,
                                                after, &more),
                         -EPROTO);
}

static int
deleted(const char *body)
{
    return sf_provider_parse_deleted(body, strlen(body), "a1");
}

static void
test_deleted(void **state)
{
    (void)state;
    assert_int_equal(deleted("{\"id\":\"a1\",\"object\":\"file\",\"deleted\":true}"), 0);
    assert_int_equal(deleted("{\"deleted\":true}"), 0);
    assert_int_equal(deleted("{\"id\":\"a2\",\"deleted\":true}"), -EPROTO);
    assert_int_equal(deleted("{\"id\":\"a1\",\"deleted\":false}"), -EPROTO);
    assert_int_equal(deleted("{\"id\":\"a1\"}"), -EPROTO);
    assert_int_equal(deleted(""), -EPROTO);
}

/* ---- docs/guide/providers.md shows the limits ---- */

static void
put_list(struct sf_buf *b, const char *const *words)
{
    for (const char *const *w = words; w && *w; w++)
        sf_buf_printf(b, "%s%s", w == words ? "" : " ", *w);
    if (!words)
        sf_buf_puts(b, "any");
}

static void
put_limits(struct sf_buf *b)
{
    static const struct {
        const char *type, *base, *shown;
    } servers[] = {{"kimi", NULL, "kimi"},
                   {"glm", NULL, "glm"},
                   {"glm", "https://api.z.ai/api/paas/v4", "glm, api.z.ai"},
                   {"openai", NULL, "openai, api.openai.com"}};
    static const char *const purposes[] = {
        "file-extract", "agent", "code-interpreter",  "retrieval", "image",      "video",
        "vision",       "batch", "voice-clone-input", "user_data", "assistants", "fine-tune",
        "evals"};
    sf_buf_puts(
        b, "| provider | purpose | MiB | images | files | kinds |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof servers / sizeof *servers; i++)
        for (size_t k = 0; k < sizeof purposes / sizeof *purposes; k++) {
            const struct sf_provider_type *t = type(servers[i].type);
            const char *base = servers[i].base ? servers[i].base : t->default_base;
            const struct sf_provider_limits *l = t->limits(base, purposes[k]);
            char mib[24] = "-", image[24] = "", n[24] = "-";
            if (!l)
                continue;
            if (l->max_bytes)
                snprintf(mib, sizeof mib, "%u", (unsigned)(l->max_bytes >> 20));
            if (l->max_image_bytes)
                snprintf(image, sizeof image, "%u", (unsigned)(l->max_image_bytes >> 20));
            if (l->max_files)
                snprintf(n, sizeof n, "%u", l->max_files);
            sf_buf_printf(b, "| %s | %s%s | %s | %s | %s | ", servers[i].shown, purposes[k],
                          strcmp(purposes[k], t->purpose) ? "" : " (default)", mib, image, n);
            put_list(b, l->extensions);
            sf_buf_puts(b, " |\n");
        }
}

/* With SUPAFS_PRINT_TABLE set, prints what docs/guide/providers.md must hold. */
static void
test_documentation(void **state)
{
    sf_autobuf struct sf_buf table = SF_BUF_INIT;
    (void)state;
    put_limits(&table);
    doc_holds(&table, "docs/guide/providers.md", "the limits of provider/", "test-provider-types");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_registry),      cmocka_unit_test(test_limits),
        cmocka_unit_test(test_urls),          cmocka_unit_test(test_names),
        cmocka_unit_test(test_marked_names),  cmocka_unit_test(test_form),
        cmocka_unit_test(test_file),          cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_list),          cmocka_unit_test(test_deleted),
        cmocka_unit_test(test_documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
