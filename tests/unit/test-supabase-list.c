/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/list.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/str.h"

#define ID   "3bbd2d4d-c979-40b5-9a9f-a583b8751a17"
#define PAGE "{\"hasNext\":false,\"folders\":["
#define OBJS "],\"objects\":["
#define END  "]}"
#define FOLDER(n)                                                                                  \
    "{\"key\":\"\",\"name\":\"" n "\",\"id\":null,\"updated_at\":null,\"created_at\":null,"        \
    "\"last_accessed_at\":null,\"metadata\":null}"
#define OBJECT(n) "{\"name\":\"" n "\",\"id\":\"" ID "\",\"metadata\":{\"size\":1}}"

static char why[160];

static int
parse(const char *body, const char *prefix, const char *after, bool delimiter,
      struct sf_list_reply **ret)
{
    struct sf_list_args a = {
        .prefix = prefix, .after = after, .limit = 1000, .delimiter = delimiter};
    return sf_list_parse(body, strlen(body), &a, ret, why);
}

/* The keys of a page, each followed by a blank, or the reason of its refusal. */
static const char *
keys(const char *body, const char *prefix, const char *after, bool delimiter)
{
    static struct sf_buf b;
    struct sf_list_reply *r = NULL;
    sf_buf_fini(&b);
    int rc = parse(body, prefix, after, delimiter, &r);
    if (rc < 0) {
        assert_int_equal(rc, -EPROTO);
        assert_null(r);
        assert_true(why[0] != '\0');
        return "refused";
    }
    const struct sf_list_page *page = sf_list_reply_page(r);
    assert_int_equal(sf_buf_puts(&b, ""), 0);
    for (size_t i = 0; i < page->n; i++) {
        const struct sf_list_row *row = &page->rows[i];
        assert_int_equal(strlen(row->key), row->key_len);
        assert_int_equal(row->folder, delimiter && row->key_len > strlen(prefix) &&
                                          row->key[row->key_len - 1] == '/');
        sf_buf_printf(&b, "%s ", row->key);
    }
    if (page->n > 0)
        assert_string_equal(page->last, page->rows[page->n - 1].key);
    if (page->more)
        sf_buf_puts(&b, "...");
    sf_list_reply_free(r);
    return sf_buf_str(&b);
}

static const char *
cursor(const char *prefix, const char *after, bool delimiter)
{
    static struct sf_buf b;
    sf_autofree char *text = sf_list_cursor(prefix, after, delimiter);
    sf_buf_fini(&b);
    assert_non_null(text);
    assert_int_equal(sf_base64_decode(&b, text, strlen(text)), 0);
    return sf_buf_str(&b);
}

static void
test_cursors(void **state)
{
    (void)state;
    assert_string_equal(cursor("", "both", false), "l:both");
    assert_string_equal(cursor("", "a/b", false), "l:a/b");
    assert_string_equal(cursor("", "both", true), "l:both\x01");
    assert_string_equal(cursor("", "a/", true), "l:a/\xf4\x8f\xbf\xbf");
    assert_string_equal(cursor("", "/", true), "l:/\xf4\x8f\xbf\xbf");
    assert_string_equal(cursor("d/", "d/a", true), "l:d/a\x01");
    assert_string_equal(cursor("d/", "d/a/", true), "l:d/a/\xf4\x8f\xbf\xbf");
    /* An object whose name is the prefix itself is no folder of this listing. */
    assert_string_equal(cursor("d/", "d/", true), "l:d/\x01");
    /* Inside a folder: nothing else of it can follow. */
    assert_string_equal(cursor("", "a/b/c", true), "l:a/\xf4\x8f\xbf\xbf");
    /* Before all keys of the prefix no cursor is needed, and one would go astray. */
    assert_string_equal(cursor("d/", "c", true), "");
    assert_string_equal(cursor("d/", "c", false), "");
    assert_string_equal(cursor("d/", "", true), "");
    assert_string_equal(cursor("d/", "e", true), "l:e\x01");
    /* A line break would begin another field of the cursor. */
    assert_string_equal(cursor("", "a\no:desc", false), "");
}

static void
test_recorded_page(void **state)
{
    static const char body[] =
        "{\"hasNext\":true,\"nextCursor\":\"bDpaZXRh\",\"nextCursorKey\":\"Zeta\",\"folders\":[{"
        "\"key\":\"Dir\",\"name\":\"Dir/\",\"id\":null,\"updated_at\":null,\"created_at\":null,"
        "\"last_accessed_at\":null,\"metadata\":null}],\"objects\":[{\"key\":\"Beta\",\"name\":"
        "\"Beta\",\"id\":\"" ID "\",\"updated_at\":\"2026-11-21T04:09:26.155Z\",\"created_at\":"
        "\"2026-11-21T04:09:26.150Z\",\"last_accessed_at\":\"2026-11-21T04:09:26.155Z\","
        "\"metadata\":{\"eTag\":\"\\\"9dd4e461268c8034f5c8564e155c67a6\\\"\",\"size\":4096,"
        "\"mimetype\":\"text/plain\",\"cacheControl\":\"max-age=3600, supafs=\\\"m=100644\\\"\","
        "\"lastModified\":\"2026-11-21T04:09:26.151Z\",\"contentLength\":4096,"
        "\"httpStatusCode\":200}}]}";
    const int64_t base = 1795234166000000000;
    struct sf_list_reply *r;
    (void)state;
    assert_string_equal(keys(body, "", NULL, true), "Beta Dir/ ...");
    assert_int_equal(parse(body, "", NULL, true, &r), 0);
    const struct sf_list_row *row = sf_list_reply_page(r)->rows;
    assert_string_equal(row->id, ID);
    assert_string_equal(row->etag, "\"9dd4e461268c8034f5c8564e155c67a6\"");
    assert_string_equal(row->mime, "text/plain");
    assert_string_equal(row->cache_control, "max-age=3600, supafs=\"m=100644\"");
    assert_int_equal(row->size, 4096);
    assert_int_equal(row->mtime_ns, base + 151000000);
    assert_int_equal(row->updated_ns, base + 155000000);
    assert_true(row[1].folder);
    sf_list_reply_free(r);
}

static void
test_order(void **state)
{
    (void)state;
    assert_string_equal(keys(PAGE OBJS END, "", NULL, true), "");
    assert_string_equal(keys(PAGE FOLDER("a-b/") "," FOLDER("a/")
                                 OBJS OBJECT("a") "," OBJECT("a.txt") "," OBJECT("b") END,
                             "", NULL, true),
                        "a a-b/ a.txt a/ b ");
    assert_string_equal(keys(PAGE FOLDER("a/") "," FOLDER("a-b/") OBJS END, "", NULL, true),
                        "refused");
    assert_string_equal(keys(PAGE OBJS OBJECT("b") "," OBJECT("a") END, "", NULL, true), "refused");
    assert_string_equal(keys(PAGE OBJS OBJECT("a") "," OBJECT("a") END, "", NULL, false),
                        "refused");
    /* After a key come only greater ones. */
    assert_string_equal(keys(PAGE OBJS OBJECT("b") END, "", "a", true), "b ");
    assert_string_equal(keys(PAGE OBJS OBJECT("b") END, "", "b", true), "refused");
    assert_string_equal(keys(PAGE FOLDER("b/") OBJS END, "", "b", true), "b/ ");
    assert_string_equal(keys(PAGE FOLDER("b/") OBJS END, "", "b/", true), "refused");
    assert_string_equal(keys(PAGE OBJS OBJECT("a/b/c") END, "", "a/b", false), "a/b/c ");
}

static void
test_prefix(void **state)
{
    (void)state;
    assert_string_equal(keys(PAGE OBJS OBJECT("d/") "," OBJECT("d/a") END, "d/", NULL, true),
                        "d/ d/a ");
    assert_string_equal(keys(PAGE OBJS OBJECT("D/a") END, "d/", NULL, true), "refused");
    assert_string_equal(keys(PAGE OBJS OBJECT("d") END, "d/", NULL, true), "refused");
    assert_string_equal(keys(PAGE FOLDER("x/") OBJS END, "d/", NULL, true), "refused");
    assert_string_equal(keys(PAGE FOLDER("d/x") OBJS END, "d/", NULL, true), "refused");
    assert_string_equal(keys(PAGE FOLDER("d/") OBJS END, "d", NULL, true), "d/ ");
    assert_string_equal(keys(PAGE FOLDER("a/") OBJS END, "", NULL, false), "refused");
    assert_string_equal(keys(PAGE OBJS OBJECT("") END, "", NULL, false), "refused");
}

/* The service cuts the slashes off folders with empty names, and newer ones do not fold them. */
static void
test_empty_names(void **state)
{
    (void)state;
    assert_string_equal(keys(PAGE FOLDER("/") OBJS OBJECT("a") END, "", NULL, true), "/ a ");
    assert_string_equal(
        keys(PAGE FOLDER("/") OBJS OBJECT("/") "," OBJECT("/dd") END, "/", NULL, true),
        "/ // /dd ");
    assert_string_equal(keys(PAGE FOLDER("a/") OBJS OBJECT("a/b") END, "a/", NULL, true),
                        "a// a/b ");
    assert_string_equal(keys(PAGE FOLDER("/") OBJS END, "//", NULL, true), "/// ");
    assert_string_equal(
        keys(PAGE OBJS OBJECT("a//b") "," OBJECT("a//c") "," OBJECT("a/b") END, "a/", NULL, true),
        "a// a/b ...");
    assert_string_equal(keys(PAGE FOLDER("a//b/") OBJS OBJECT("a//a") END, "a/", NULL, true),
                        "a// ...");
    /* Without a delimiter nothing is folded. */
    assert_string_equal(keys(PAGE OBJS OBJECT("a//b") "," OBJECT("a/b") END, "a/", NULL, false),
                        "a//b a/b ");
}

/* Rows written by SQL, and times and texts that are missing. */
static void
test_sparse_rows(void **state)
{
    static const char body[] =
        PAGE OBJS "{\"name\":\"a\",\"id\":\"" ID "\",\"metadata\":null},"
                  "{\"name\":\"b\",\"id\":\"" ID "\",\"updated_at\":\"2026-11-21T04:09:26.155Z\"},"
                  "{\"name\":\"c\",\"id\":\"" ID
                  "\",\"metadata\":{\"contentLength\":7,\"eTag\":null,\"lastModified\":null}},"
                  "{\"name\":\"d\",\"id\":\"" ID
                  "\",\"metadata\":{\"contentLength\":7,\"size\":8,\"new\":[{\"x\":-1.5e3}]}}" END;
    struct sf_list_reply *r;
    (void)state;
    assert_int_equal(parse(body, "", NULL, true, &r), 0);
    const struct sf_list_row *row = sf_list_reply_page(r)->rows;
    assert_int_equal(row[0].size, 0);
    assert_string_equal(row[0].etag, "");
    assert_int_equal(row[0].mtime_ns, 0);
    assert_int_equal(row[1].mtime_ns, row[1].updated_ns);
    assert_true(row[1].mtime_ns != 0);
    assert_int_equal(row[2].size, 7);
    assert_int_equal(row[3].size, 8);
    sf_list_reply_free(r);
}

/* The service may lose rows after exactly 1000 objects; the page says that more may come. */
static void
test_full_page(void **state)
{
    (void)state;
    for (int n = 999; n <= 1001; n++) {
        sf_autobuf struct sf_buf b = SF_BUF_INIT;
        struct sf_list_reply *r;
        sf_buf_puts(&b, PAGE OBJS);
        for (int i = 0; i < n; i++)
            sf_buf_printf(&b, "%s{\"name\":\"f%04d\",\"id\":\"x\"}", i ? "," : "", i);
        sf_buf_puts(&b, END);
        int rc = parse(b.data, "", NULL, true, &r);
        if (n > 1000) {
            assert_int_equal(rc, -EPROTO);
            continue;
        }
        assert_int_equal(rc, 0);
        assert_int_equal(sf_list_reply_page(r)->n, n);
        assert_int_equal(sf_list_reply_page(r)->more, n == 1000);
        sf_list_reply_free(r);
        assert_int_equal(parse(b.data, "", NULL, false, &r), 0);
        assert_false(sf_list_reply_page(r)->more);
        sf_list_reply_free(r);
    }
}

static void
test_more_than_asked(void **state)
{
    static const char body[] = PAGE FOLDER("a/") OBJS OBJECT("b") END;
    struct sf_list_args a = {.prefix = "", .limit = 1, .delimiter = true};
    struct sf_list_reply *r;
    (void)state;
    assert_int_equal(sf_list_parse(body, strlen(body), &a, &r, why), -EPROTO);
    a.limit = 2;
    assert_int_equal(sf_list_parse(body, strlen(body), &a, &r, why), 0);
    sf_list_reply_free(r);
}

#define ROW(members) PAGE OBJS "{\"name\":\"a\"," members "}" END
#define OK_ID        "\"id\":\"" ID "\""
#define META(m)      ROW(OK_ID ",\"metadata\":{" m "}")

static void
test_refused(void **state)
{
    static const char *const bodies[] = {
        "",
        "null",
        "[]",
        "{}",
        "<html>",
        "{\"folders\":[],\"objects\":[]}",
        "{\"hasNext\":1,\"folders\":[],\"objects\":[]}",
        "{\"hasNext\":false,\"folders\":{},\"objects\":[]}",
        "{\"hasNext\":false,\"folders\":[],\"objects\":[]",
        "{\"hasNext\":false,\"folders\":[],\"objects\":[]}x",
        "{\"hasNext\":false,\"folders\":[],\"objects\":[],}",
        "{\"hasNext\":false,\"folders\":[],\"objects\":[,]}",
        "{\"hasNext\":false,\"folders\":[],\"objects\":[7]}",
        "{\"hasNext\":false,\"folders\":[],\"folders\":{},\"objects\":[]",
        "{\"hasNext\":true,\"folders\":[],\"objects\":[]}",
        "{\"hasNext\":truefalse,\"folders\":[],\"objects\":[]}",
        PAGE OBJS "{" OK_ID "}" END,
        PAGE OBJS "{\"name\":null," OK_ID "}" END,
        PAGE OBJS "{\"name\":7," OK_ID "}" END,
        PAGE OBJS "{\"name\":\"a\\u0000b\"," OK_ID "}" END,
        PAGE OBJS "{\"name\":\"a\xff\"," OK_ID "}" END,
        PAGE OBJS "{\"name\":\"a\xc0\x80\"," OK_ID "}" END,
        PAGE OBJS "{\"name\":\"a\nb\"," OK_ID "}" END,
        PAGE OBJS "{\"name\":\"a\\x41\"," OK_ID "}" END,
        PAGE OBJS "{\"name\":\"a\\ud800\"," OK_ID "}" END,
        PAGE OBJS "{\"name\":\"a\\udc00\\ud800\"," OK_ID "}" END,
        PAGE OBJS "{\"name\":\"a\\u12",
        PAGE OBJS "{\"name\":\"a\\",
        PAGE OBJS "{\"name\":\"a",
        PAGE OBJS "{\"name\":\"a\",\"name\":\"b\"," OK_ID "}" END,
        PAGE OBJS "{\"name\" \"a\"," OK_ID "}" END,
        ROW("\"id\":null"),
        ROW("\"id\":7"),
        ROW("\"id\":\"\""),
        ROW("\"id\":\"0123456789012345678901234567890123456789\""),
        ROW(OK_ID ",\"updated_at\":\"yesterday\""),
        ROW(OK_ID ",\"updated_at\":7"),
        ROW(OK_ID ",\"metadata\":[]"),
        ROW(OK_ID ",\"metadata\":\"x\""),
        META("\"size\":-1"),
        META("\"size\":\"1\""),
        META("\"size\":1.0"),
        META("\"size\":1e3"),
        META("\"size\":01"),
        META("\"size\":99999999999999999999"),
        META("\"size\":9223372036854775808"),
        META("\"size\":1,\"size\":2"),
        META("\"eTag\":7"),
        META("\"mimetype\":[]"),
        META("\"cacheControl\":{}"),
        META("\"lastModified\":\"2026-02-30T00:00:00Z\""),
        META("\"other\":nul"),
        META("\"other\":-"),
        META("\"other\":1."),
        META("\"other\":00"),
        META("\"other\":1e"),
    };
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        if (strcmp(keys(bodies[i], "", NULL, true), "refused") != 0)
            fail_msg("accepted: %s", bodies[i]);
    }
    /* The same things in order are accepted. */
    assert_string_equal(keys(META("\"size\":9223372036854775807"), "", NULL, true), "a ");
    assert_string_equal(keys(PAGE OBJS "{\"name\":\"\\u00e9\\ud83d\\ude00\\/\\\"\"," OK_ID "}" END,
                             "", NULL, false),
                        "\xc3\xa9\xf0\x9f\x98\x80/\" ");
    assert_string_equal(keys(PAGE OBJS "{\"name\":\"\xc3\xa9\\n\"," OK_ID "}" END, "", NULL, true),
                        "\xc3\xa9\n ");
}

static void
test_deep_and_long(void **state)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    (void)state;
    for (int depth = 10; depth <= 100000; depth *= 100) {
        sf_buf_clear(&b);
        sf_buf_puts(&b, "{\"x\":");
        for (int i = 0; i < depth; i++)
            sf_buf_puts(&b, "[");
        for (int i = 0; i < depth; i++)
            sf_buf_puts(&b, "]");
        sf_buf_puts(&b, ",\"hasNext\":false,\"folders\":[],\"objects\":[]}");
        assert_string_equal(keys(b.data, "", NULL, true), depth == 10 ? "" : "refused");
    }
    for (int n = 4096; n <= 4097; n++) {
        sf_buf_clear(&b);
        sf_buf_puts(&b, PAGE OBJS "{\"name\":\"");
        for (int i = 0; i < n; i++)
            sf_buf_putc(&b, 'k');
        sf_buf_puts(&b, "\"," OK_ID "}" END);
        assert_int_equal(strcmp(keys(b.data, "", NULL, true), "refused") == 0, n > 4096);
    }
}

/* Every cut of a page, and every byte of it changed: an answer, and nothing worse. */
static void
test_mutations(void **state)
{
    static const char body[] = PAGE FOLDER("a/") OBJS
        "{\"name\":\"b\\u0041\",\"id\":\"" ID
        "\",\"updated_at\":\"2026-11-21T04:09:26.155Z\",\"metadata\":{\"size\":12,\"x\":[-1.5e+3,"
        "true,false,null,\"\xc3\xa9\"]}}" END;
    struct sf_list_args a = {.prefix = "", .limit = 2, .delimiter = true};
    const size_t len = sizeof body - 1;
    (void)state;
    for (size_t cut = 0; cut < len; cut++) {
        struct sf_list_reply *r;
        sf_autofree char *copy = malloc(cut ? cut : 1);
        memcpy(copy, body, cut);
        assert_int_equal(sf_list_parse(copy, cut, &a, &r, why), -EPROTO);
    }
    for (size_t at = 0; at < len; at++) {
        for (int c = 0; c < 256; c += c < 128 ? 1 : 37) {
            struct sf_list_reply *r;
            sf_autofree char *copy = malloc(len);
            memcpy(copy, body, len);
            copy[at] = (char)c;
            if (sf_list_parse(copy, len, &a, &r, why) == 0)
                sf_list_reply_free(r);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cursors),     cmocka_unit_test(test_recorded_page),
        cmocka_unit_test(test_order),       cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_empty_names), cmocka_unit_test(test_sparse_rows),
        cmocka_unit_test(test_full_page),   cmocka_unit_test(test_more_than_asked),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_deep_and_long),
        cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
