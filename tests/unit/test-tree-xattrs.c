/* SPDX-License-Identifier: GPL-3.0-or-later */
/* tree/xattr-ours.c: what the mount tells of a file, what that costs, and what it lists. */
#include "tree-fixture.h"

#include <sys/xattr.h>

#include "tree/xattr.h"

#define ID  "11111111-2222-3333-4444-555555555555"
#define MD5 "\"0123456789abcdef0123456789abcdef\""

static void
begin(void)
{
    fake_bucket("b");
    start_with("b", 60000, false);
}

static void
remount_public(void)
{
    fake_run();
    sf_tree_free(tree);
    blocks_end();
    fake_public = true;
    start_with("b", 60000, false);
}

static int
setx(uint64_t n, const char *name, const char *value)
{
    struct got g = {0};
    sf_tree_setxattr(tree, n, name, value, value ? strlen(value) : 0, 0, keep, &g);
    run_until_called(&g);
    return g.err;
}

/* The value, or "-ERRNO". */
static const char *
getx(uint64_t n, const char *what)
{
    static char text[20];
    static struct got g;
    char name[100];
    g = (struct got){0};
    snprintf(name, sizeof name, "user.supafs.%s", what);
    sf_tree_getxattr(tree, n, name, keep, &g);
    run_until_called(&g);
    snprintf(text, sizeof text, "%d", g.err);
    return g.err ? text : g.data;
}

static const char *
failed(int code)
{
    static char text[20];
    snprintf(text, sizeof text, "%d", code);
    return text;
}

/* Names, each with a space behind. */
static const char *
listed(uint64_t n)
{
    static struct got g;
    g = (struct got){0};
    sf_tree_listxattr(tree, n, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, 0);
    return g.res.len ? g.data : ""; /* the first, as it ends in a NUL */
}

static uint64_t
object(const char *name, const char *mime, const char *cache)
{
    fake_put_mime("b", name, "text", mime);
    fake_set_version("b", name, ID, MD5);
    fake_set_cache("b", name, cache);
    return node(1, name);
}

static void
test_identity_costs_no_request(void **state)
{
    (void)state;
    begin();
    fake_put("b", "d/f", "x");
    uint64_t n = object("f.txt", "text/plain", "no-cache"), d = node(1, "d");
    assert_string_equal(getx(n, "id"), ID);
    assert_string_equal(getx(n, "etag"), MD5);
    assert_string_equal(getx(n, "bucket"), "b");
    assert_string_equal(getx(n, "key"), "f.txt");
    assert_string_equal(getx(n, "content_type"), "text/plain");
    assert_string_equal(getx(n, "cache_control"), "no-cache");
    assert_string_equal(getx(node(d, "f"), "key"), "d/f");
    assert_string_equal(getx(d, "key"), "d/");
    assert_string_equal(getx(d, "bucket"), "b");
    assert_string_equal(getx(d, "id"), failed(-ENODATA));
    assert_string_equal(getx(d, "content_type"), failed(-ENODATA));
    assert_string_equal(getx(1, "bucket"), "b");
    assert_string_equal(getx(1, "id"), "b");
    assert_string_equal(getx(1, "key"), failed(-ENODATA));
    assert_int_equal(fake_counts.infos, 0);
}

static void
test_version_and_hash_cost_one_info(void **state)
{
    (void)state;
    begin();
    uint64_t n = object("f.txt", "text/plain", "no-cache");
    assert_string_equal(getx(n, "version"), "v-0123456789abcdef0123456789abcd");
    assert_string_equal(getx(n, "version"), "v-0123456789abcdef0123456789abcd");
    assert_string_equal(getx(n, "sha256"), failed(-ENODATA));
    assert_string_equal(getx(n, "sha256"), failed(-ENODATA));
    assert_int_equal(fake_counts.infos, 1);
    /* What was told is of that version alone. */
    fake_set_version("b", "f.txt", ID, "\"ffffffffffffffffffffffffffffffff\"");
    assert_int_equal(setx(n, "user.a", "x"), 0);
    assert_string_equal(getx(n, "version"), failed(-ENODATA));
    n = node(1, "f.txt");
    assert_string_equal(getx(n, "version"), "v-ffffffffffffffffffffffffffffff");
}

/* attr_ttl=0: each question is asked anew, and answered. */
static void
test_without_a_ttl(void **state)
{
    (void)state;
    fake_bucket("b");
    start_with("b", 0, false);
    uint64_t n = object("f.txt", "text/plain", "no-cache");
    assert_string_equal(getx(n, "version"), "v-0123456789abcdef0123456789abcd");
    assert_string_equal(getx(n, "version"), "v-0123456789abcdef0123456789abcd");
    assert_int_equal(fake_counts.infos, 2);
}

static void
test_plain_files_list_nothing(void **state)
{
    (void)state;
    fake_bucket("b");
    start_with("b", 0, false);
    assert_string_equal(listed(object("f.txt", "text/plain", "no-cache")), "");
    assert_string_equal(listed(object("f.bin", "application/octet-stream", "")), "");
    assert_string_equal(listed(object("guessed", "text/x-c", "no-cache, supafs=\"1;y\"")), "");
    assert_string_equal(listed(object("another.txt", "text/html", "no-cache")),
                        "user.supafs.content_type");
    assert_string_equal(listed(object("kept.txt", "text/plain", "max-age=60, supafs=\"1;y\"")),
                        "user.supafs.cache_control");
    assert_string_equal(getx(node(1, "kept.txt"), "cache_control"), "max-age=60");
    assert_string_equal(getx(node(1, "f.bin"), "cache_control"), failed(-ENODATA));
    assert_int_equal(fake_counts.infos, 0);
}

static void
test_signed_links(void **state)
{
    (void)state;
    begin();
    uint64_t n = object("f.txt", "text/plain", "no-cache");
    /* The size is asked for first: the same link again, unless another lifetime is wanted. */
    assert_string_equal(getx(n, "signed_url"), "https://p/b/f.txt?for=3600&token=1");
    assert_string_equal(getx(n, "signed_url"), "https://p/b/f.txt?for=3600&token=1");
    assert_string_equal(getx(n, "signed_url.60"), "https://p/b/f.txt?for=60&token=2");
    assert_string_equal(getx(n, "signed_url.31536000"), "https://p/b/f.txt?for=31536000&token=3");
    assert_string_equal(getx(n, "signed_url.60"), "https://p/b/f.txt?for=60&token=2");
    static const char *const wrong[] = {"0", "31536001", "", "-1", "1h", "99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char name[60];
        snprintf(name, sizeof name, "signed_url.%s", wrong[i]);
        assert_string_equal(getx(n, name), failed(-EINVAL));
    }
    assert_int_equal(fake_counts.signs, 3);
    /* Under another name it is another link. */
    struct got g = {0};
    sf_tree_rename(tree, 1, "f.txt", 1, "g.txt", 0, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, 0);
    assert_string_equal(getx(n, "signed_url"), "https://p/b/g.txt?for=3600&token=4");
    usleep(2100000);
    assert_string_equal(getx(n, "signed_url"), "https://p/b/g.txt?for=3600&token=5");
    assert_string_equal(listed(n), "");
}

static void
test_no_link_to_what_is_not_there(void **state)
{
    (void)state;
    uint64_t n;
    begin();
    fake_put("b", "d/f", "x");
    uint64_t gone = object("g.txt", "text/plain", "no-cache");
    assert_string_equal(getx(node(1, "d"), "signed_url"), failed(-ENODATA));
    struct sf_file *f = create(1, "f.txt", "bytes", &n);
    assert_string_equal(getx(n, "signed_url"), failed(-ENODATA));
    assert_string_equal(getx(n, "public_url"), failed(-ENODATA));
    sf_tree_release(tree, f);
    fake_remove("b", "g.txt");
    assert_string_equal(getx(gone, "signed_url"), failed(-ENODATA));
}

static void
test_public_links(void **state)
{
    (void)state;
    begin();
    uint64_t n = object("f.txt", "text/plain", "no-cache");
    assert_string_equal(getx(n, "public_url"), failed(-ENODATA));
    unsigned asked = fake_counts.lists;
    assert_string_equal(getx(n, "public_url"), failed(-ENODATA));
    assert_int_equal(fake_counts.lists, asked);
    remount_public();
    n = node(1, "f.txt");
    assert_string_equal(getx(n, "public_url"), "https://p/public/b/f.txt");
    fake_public = false;
}

/* A file that was not sent yet, and one that has just been. */
static void
test_of_a_file_made_here(void **state)
{
    (void)state;
    uint64_t n;
    begin();
    struct sf_file *f = create(1, "f.txt", "bytes", &n);
    assert_string_equal(getx(n, "key"), "f.txt");
    assert_string_equal(getx(n, "content_type"), "text/plain");
    assert_string_equal(getx(n, "id"), failed(-ENODATA));
    assert_string_equal(getx(n, "etag"), failed(-ENODATA));
    assert_string_equal(getx(n, "version"), failed(-ENODATA));
    assert_int_equal(fake_counts.infos, 0);
    struct got g = {0};
    sf_tree_flush(tree, f, keep, &g);
    run_until_called(&g);
    sf_tree_release(tree, f);
    fake_run();
    assert_string_not_equal(getx(n, "version"), failed(-ENODATA));
    assert_string_equal(getx(n, "content_type"), "application/octet-stream");
    assert_int_equal(fake_counts.infos, 1);
}

static void
test_what_cannot_be_set_is_accepted(void **state)
{
    (void)state;
    begin();
    uint64_t n = object("f.txt", "text/plain", "no-cache");
    static const char *const all[] = {"id",         "version",      "etag",          "sha256",
                                      "bucket",     "key",          "sync",          "error",
                                      "cached",     "access_count", "last_accessed", "public_url",
                                      "signed_url", "signed_url.7"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char name[100];
        snprintf(name, sizeof name, "user.supafs.%s", all[i]);
        assert_int_equal(setx(n, name, "what was copied"), 0);
        assert_int_equal(setx(n, name, NULL), 0);
    }
    assert_string_equal(getx(n, "id"), ID);
    assert_int_equal(setx(n, "user.supafs.ids", "x"), -EOPNOTSUPP);
    assert_int_equal(setx(n, "user.supafs.openai.ids", "x"), -EOPNOTSUPP);
    assert_int_equal(setx(n, "user.supafs.ids", NULL), -ENODATA);
    assert_string_equal(listed(n), "");
}

/* What tags_parse() makes of a text, or "-ERRNO". */
static const char *
parsed(const char *text, size_t len)
{
    static char all[7000];
    char **tags = NULL;
    int rc = tags_parse(text, len, &tags);
    all[0] = '\0';
    if (rc)
        return failed(rc);
    for (char **tag = tags; *tag; tag++)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s;", *tag);
    tags_free(tags);
    return all;
}

static void
test_tags(void **state)
{
    (void)state;
    static const char *const good[][2] = {{"a", "a;"},
                                          {"a,b", "a;b;"},
                                          {" a b ,  c", "a b;c;"},
                                          {"b,a,b,A", "b;a;A;"},
                                          {"gr\xc3\xbcn", "gr\xc3\xbcn;"},
                                          {"\xc2\xa0", "\xc2\xa0;"}};
    static const char *const wrong[] = {
        "",   ",",     " ",    "a,",       ",a",     "a, ,b",         "a\nb",
        "\t", "a\x7f", "\xff", "\xc2\x85", "a,\xc3", "a,\xed\xa0\x80"};
    char text[8000] = "";
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_string_equal(parsed(good[i][0], strlen(good[i][0])), good[i][1]);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_string_equal(parsed(wrong[i], strlen(wrong[i])), failed(-EINVAL));
    assert_string_equal(parsed("a\0b", 3), failed(-EINVAL));
    memset(text, 'x', 101);
    assert_string_equal(parsed(text, 101), failed(-EINVAL));
    assert_string_not_equal(parsed(text, 100), failed(-EINVAL));
    /* 64 words, however often each of them comes. */
    text[0] = '\0';
    for (int i = 0; i < 64; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d,%d", i ? "," : "", i, i);
    assert_string_not_equal(parsed(text, strlen(text)), failed(-EINVAL));
    snprintf(text + strlen(text), sizeof text - strlen(text), ",64");
    assert_string_equal(parsed(text, strlen(text)), failed(-EINVAL));
}

static void
test_without_tables(void **state)
{
    (void)state;
    begin();
    uint64_t n = object("f.txt", "text/plain", "no-cache");
    assert_int_equal(setx(n, "user.supafs.tags", "a"), -EOPNOTSUPP);
    assert_int_equal(setx(n, "user.supafs.tags", NULL), -ENODATA);
    assert_string_equal(getx(n, "tags"), failed(-ENODATA));
    assert_string_equal(getx(n, "access_count"), failed(-ENODATA));
    assert_string_equal(getx(n, "last_accessed"), failed(-ENODATA));
    assert_string_equal(listed(n), "");
}

int
main(void)
{
#define TEST(fn) cmocka_unit_test_teardown(fn, end)
    const struct CMUnitTest tests[] = {
        TEST(test_identity_costs_no_request),
        TEST(test_version_and_hash_cost_one_info),
        TEST(test_without_a_ttl),
        TEST(test_plain_files_list_nothing),
        TEST(test_of_a_file_made_here),
        TEST(test_signed_links),
        TEST(test_no_link_to_what_is_not_there),
        TEST(test_public_links),
        cmocka_unit_test(test_tags),
        TEST(test_without_tables),
        TEST(test_what_cannot_be_set_is_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
