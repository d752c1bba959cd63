/* SPDX-License-Identifier: GPL-3.0-or-later */
/* tree/xattr-type.c: content type and Cache-Control that are set with setfattr(1). */
#include "tree-fixture.h"

#include <sys/xattr.h>

#define TYPE    "content_type"
#define CONTROL "cache_control"
#define HTML    "text/html; charset=utf-8"
#define MARK    ", supafs=\"1;m=100644;t=5;c=5;i=abc"

static void
begin(bool plain)
{
    fake_bucket("b");
    start_with("b", 0, plain);
}

static int
set_as(uint64_t n, const char *what, const char *value, size_t len, int flags)
{
    struct got g = {0};
    char name[100];
    snprintf(name, sizeof name, "user.supafs.%s", what);
    sf_tree_setxattr(tree, n, name, value, len, flags, keep, &g);
    run_until_called(&g);
    return g.err;
}

static int
set(uint64_t n, const char *what, const char *value)
{
    return set_as(n, what, value, value ? strlen(value) : 0, 0);
}

static void
is(uint64_t n, const char *what, const char *value)
{
    struct got g = {0};
    char name[100];
    snprintf(name, sizeof name, "user.supafs.%s", what);
    sf_tree_getxattr(tree, n, name, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, value ? 0 : -ENODATA);
    if (value)
        assert_string_equal(g.data, value);
}

static unsigned names_listed;

static void
on_list(void *arg, int err, const struct sf_tree_result *res)
{
    const char *data = err ? NULL : res->data;
    names_listed = 0;
    for (size_t i = 0; data && i < res->len; i++)
        names_listed += data[i] == '\0';
    ((struct got *)arg)->called = true;
}

/* How many names are listed. */
static unsigned
listed(uint64_t n)
{
    struct got g = {.called = false};
    sf_tree_listxattr(tree, n, on_list, &g);
    while (!g.called)
        fake_run();
    return names_listed;
}

static uint64_t
object(const char *name, const char *mime, const char *cache)
{
    fake_put_mime("b", name, "text", mime);
    fake_set_cache("b", name, cache);
    return node(1, name);
}

static void
test_what_is_set_is_shown_and_written(void **state)
{
    (void)state;
    begin(false);
    uint64_t n = object("f.txt", "text/plain", "no-cache" MARK ";y\"");
    assert_int_equal(set(n, TYPE, HTML), 0);
    is(n, TYPE, HTML);
    fake_run();
    assert_string_equal(fake_mime("b", "f.txt"), HTML);
    assert_null(strstr(fake_cache("b", "f.txt"), ";y"));
    assert_int_equal(set(n, CONTROL, "max-age=60"), 0);
    is(n, CONTROL, "max-age=60");
    fake_run();
    assert_ptr_equal(strstr(fake_cache("b", "f.txt"), "max-age=60, supafs="),
                     fake_cache("b", "f.txt"));
    assert_int_equal(fake_counts.attrs, 2);
    assert_int_equal(fake_counts.infos, 0);
    n = node(1, "f.txt"); /* as the listing has it by now */
    is(n, TYPE, HTML);
    is(n, CONTROL, "max-age=60");
    assert_int_equal(listed(n), 2);
    /* What others change is shown again. */
    fake_set_cache("b", "f.txt", "max-age=7" MARK "\"");
    n = node(1, "f.txt");
    is(n, CONTROL, "max-age=7");
}

static void
test_what_is_equal_changes_nothing(void **state)
{
    (void)state;
    begin(false);
    uint64_t n = object("f.txt", HTML, "max-age=60");
    assert_int_equal(set(n, TYPE, HTML), 0);
    assert_int_equal(set(n, CONTROL, "max-age=60"), 0);
    fake_run();
    assert_int_equal(fake_counts.attrs, 0);
    assert_int_equal(fake_counts.infos, 0);
}

static void
test_what_is_removed_is_as_nobody_had_set_it(void **state)
{
    (void)state;
    begin(false);
    uint64_t n = object("f.png", HTML, "max-age=60");
    assert_int_equal(set(n, TYPE, NULL), 0);
    assert_int_equal(set(n, CONTROL, NULL), 0);
    is(n, TYPE, "image/png");
    is(n, CONTROL, "no-cache");
    assert_int_equal(set(n, TYPE, NULL), 0); /* it is shown, and would be what it is */
    assert_int_equal(set(n, CONTROL, NULL), 0);
    fake_run();
    assert_int_equal(fake_counts.attrs, 2);
    assert_string_equal(fake_mime("b", "f.png"), "image/png");
    assert_non_null(strstr(fake_cache("b", "f.png"), ";y\""));
    assert_int_equal(strncmp(fake_cache("b", "f.png"), "no-cache, ", 10), 0);
    n = node(1, "f.png");
    is(n, TYPE, "image/png");
    assert_int_equal(listed(n), 0);
}

static void
test_to_remove_what_nobody_has_set_changes_nothing(void **state)
{
    (void)state;
    begin(false);
    uint64_t n = object("f.txt", "text/plain", "no-cache"), bare = object("g.bin", "a/b", "");
    assert_int_equal(set(n, TYPE, NULL), 0);
    assert_int_equal(set(n, CONTROL, NULL), 0);
    is(n, TYPE, "text/plain");
    is(n, CONTROL, "no-cache");
    assert_int_equal(set(bare, CONTROL, NULL), -ENODATA); /* nothing is shown */
    fake_run();
    assert_int_equal(fake_counts.attrs, 0);
    assert_int_equal(fake_counts.infos, 0);
}

static void
test_what_cannot_be(void **state)
{
    (void)state;
    char big[300];
    begin(false);
    fake_put("b", "d/f", "x");
    uint64_t n = object("f.txt", HTML, "max-age=60"), d = node(1, "d");
    uint64_t other = object("g.txt", "text/plain", "no-cache");
    memset(big, 'x', sizeof big);
    memcpy(big, "a/", 2);
    assert_int_equal(set(n, TYPE, "text"), -EINVAL);
    assert_int_equal(set(n, TYPE, ""), -EINVAL);
    assert_int_equal(set(n, TYPE, "inode/symlink"), -EINVAL);
    assert_int_equal(set(n, TYPE, "text/html\r\nX: y"), -EINVAL);
    assert_int_equal(set_as(n, TYPE, "a/b\0c", 5, 0), -EINVAL);
    assert_int_equal(set_as(n, TYPE, big, 256, 0), -EINVAL);
    assert_int_equal(set(n, CONTROL, "no-cache, supafs=\"1;m=100777\""), -EINVAL);
    assert_int_equal(set(n, CONTROL, "a\nb"), -EINVAL);
    assert_int_equal(set_as(n, CONTROL, big, 256, 0), -EINVAL);
    assert_int_equal(set(d, TYPE, HTML), -EOPNOTSUPP);
    assert_int_equal(set(d, TYPE, NULL), -ENODATA);
    assert_int_equal(set_as(n, TYPE, "a/b", 3, XATTR_CREATE), -EEXIST);
    assert_int_equal(set_as(other, CONTROL, "a", 1, XATTR_CREATE), 0);
    assert_int_equal(set_as(other, TYPE, "a/b", 3, XATTR_REPLACE), 0);
    assert_int_equal(set_as(n, TYPE, big, 255, 0), 0);
    fake_run();
    assert_int_equal(fake_counts.attrs, 3);
}

static void
close_file(struct sf_file *f)
{
    assert_int_equal(flush(f), 0);
    sf_tree_release(tree, f);
    fake_run();
}

/* With bytes that are not in the bucket yet no request is needed for it. */
static void
test_new_files_are_sent_with_it(void **state)
{
    (void)state;
    for (int plain = 0; plain < 2; plain++) {
        uint64_t n;
        begin(plain);
        struct sf_file *f = create(1, "f.txt", "bytes", &n);
        assert_int_equal(set(n, CONTROL, NULL), -ENODATA);
        assert_int_equal(set(n, TYPE, HTML), 0);
        assert_int_equal(set(n, CONTROL, "max-age=60"), 0);
        is(n, TYPE, HTML);
        is(n, CONTROL, "max-age=60");
        assert_int_equal(listed(n), plain ? 0 : 2);
        close_file(f);
        assert_string_equal(fake_mime("b", "f.txt"), HTML);
        assert_int_equal(strncmp(fake_cache("b", "f.txt"), "max-age=60", 10), 0);
        assert_int_equal(fake_counts.attrs, 0);
        is(n, TYPE, HTML);
        n = node(1, "f.txt");
        is(n, CONTROL, "max-age=60");
        assert_int_equal(fake_counts.infos, 0);
        end(state);
    }
}

/* Set while the bytes are on their way: it follows them. */
static void
test_what_is_set_during_an_upload(void **state)
{
    (void)state;
    for (int plain = 0; plain < 2; plain++) {
        uint64_t n;
        struct got g = {0};
        begin(plain);
        struct sf_file *f = create(1, "f.txt", "bytes", &n);
        fake_hold(true);
        sf_tree_flush(tree, f, keep, &g);
        assert_int_equal(set(n, TYPE, HTML), 0);
        fake_hold(false);
        run_until_called(&g);
        sf_tree_release(tree, f);
        fake_run();
        assert_string_equal(fake_mime("b", "f.txt"), HTML);
        is(n, TYPE, HTML);
        end(state);
    }
}

static void
test_with_attrs_none_nothing_of_ours_is_written(void **state)
{
    (void)state;
    begin(true);
    uint64_t n = object("f.txt", "text/plain", "no-cache");
    assert_int_equal(set(n, TYPE, HTML), 0);
    assert_int_equal(set(n, CONTROL, "max-age=60"), 0);
    fake_run();
    assert_string_equal(fake_mime("b", "f.txt"), HTML);
    assert_string_equal(fake_cache("b", "f.txt"), "max-age=60");
    fake_set_cache("b", "f.txt", "max-age=7"); /* and listings are believed again */
    n = node(1, "f.txt");
    is(n, CONTROL, "max-age=7");
    is(n, TYPE, HTML);
}

static void
test_what_cannot_be_kept_is_not_shown(void **state)
{
    (void)state;
    begin(false);
    uint64_t n = object("f.txt", "text/plain", "no-cache" MARK ";y\"");
    fake_unkept = -ENOSPC;
    assert_int_equal(set(n, TYPE, HTML), -ENOSPC);
    fake_unkept = 0;
    is(n, TYPE, "text/plain");
    assert_int_equal(listed(n), 0);
}

/* A type that was set stays under a new name; a guess does not. */
static void
test_a_rename_keeps_what_was_set(void **state)
{
    (void)state;
    begin(false);
    uint64_t n = object("f.txt", "text/plain", "no-cache" MARK ";y\"");
    assert_int_equal(set(n, TYPE, HTML), 0);
    assert_int_equal(rename_name(1, "f.txt", "f.css", 0), 0);
    is(node(1, "f.css"), TYPE, HTML);
}

/* ---- without memory -------------------------------------------------------------------------- */

struct node;

static bool no_memory;

int __real_type_said_locked(const struct sf_tree *t, const struct node *n, char **mime,
                            char **cache_control);
int __wrap_type_said_locked(const struct sf_tree *t, const struct node *n, char **mime,
                            char **cache_control);

/* What a change of attributes copies when it is about to be kept. */
int
__wrap_type_said_locked(const struct sf_tree *t, const struct node *n, char **mime,
                        char **cache_control)
{
    return no_memory ? -ENOMEM : __real_type_said_locked(t, n, mime, cache_control);
}

static int
set_mode(uint64_t n, mode_t mode)
{
    struct got g = {0};
    const struct sf_attr a = {.mode = mode, .uid = 7};
    sf_tree_setattr(tree, n, NULL, &a, SF_SET_MODE | SF_SET_UID, keep, &g);
    assert_true(g.called);
    return g.err;
}

static int
set_user(uint64_t n, const char *value)
{
    struct got g = {0};
    sf_tree_setxattr(tree, n, "user.a", value, strlen(value), 0, keep, &g);
    run_until_called(&g);
    return g.err;
}

/* A change that fails is none: nothing of it is shown, and what was asked for before is written. */
static void
test_without_memory_nothing_changes(void **state)
{
    (void)state;
    begin(false);
    uint64_t n = object("f.txt", "text/plain", "no-cache" MARK ";y\"");
    struct got g = {0};
    assert_int_equal(set_user(n, "1"), 0);
    fake_run();
    fake_hold(true);
    assert_int_equal(set_mode(n, 0604), 0);
    const struct sf_attr before = lookup(1, "f.txt").res.entry.attr;
    no_memory = true;
    assert_int_equal(set_user(n, "2"), -ENOMEM);
    assert_int_equal(set_mode(n, 0600), -ENOMEM);
    assert_int_equal(set(n, TYPE, HTML), -ENOMEM);
    no_memory = false;
    struct sf_attr after = lookup(1, "f.txt").res.entry.attr;
    assert_int_equal(after.mode, before.mode);
    assert_int_equal(after.uid, before.uid);
    assert_int_equal(after.ctime_ns, before.ctime_ns);
    is(n, TYPE, "text/plain");
    sf_tree_getxattr(tree, n, "user.a", keep, &g);
    run_until_called(&g);
    assert_string_equal(g.data, "1");
    fake_hold(false);
    fake_run();
    assert_int_equal(fake_counts.attrs, 2);
    assert_int_equal(set_mode(n, 0600), 0);
    fake_run();
    assert_int_equal(fake_counts.attrs, 3);
}

int
main(void)
{
#define TEST(fn) cmocka_unit_test_teardown(fn, end)
    const struct CMUnitTest tests[] = {
        TEST(test_what_is_set_is_shown_and_written),
        TEST(test_what_is_equal_changes_nothing),
        TEST(test_what_is_removed_is_as_nobody_had_set_it),
        TEST(test_to_remove_what_nobody_has_set_changes_nothing),
        TEST(test_what_cannot_be),
        TEST(test_new_files_are_sent_with_it),
        TEST(test_what_is_set_during_an_upload),
        TEST(test_with_attrs_none_nothing_of_ours_is_written),
        TEST(test_what_cannot_be_kept_is_not_shown),
        TEST(test_a_rename_keeps_what_was_set),
        TEST(test_without_memory_nothing_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
