/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree-fixture.h"

#include <time.h>

/*
 * Directories that are larger than one page: what was known is confirmed, or found to be otherwise,
 * by pages around the names that are asked for (tree/page.c), and the kernel is told of all of it.
 */

#define TTL_MS 10000

/* ---- time, which passes when a test says so ---------------------------------------------------
 */

static int64_t passed_s;

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);

int
__wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
    int rc = __real_clock_gettime(id, ts);
    if (id == CLOCK_BOOTTIME)
        ts->tv_sec += passed_s;
    return rc;
}

/* Nothing that is known is believed any more. */
static void
expire(void)
{
    passed_s += TTL_MS / 1000 + 1;
    fake_counts = (struct fake_counts){0};
}

/* Nobody has asked for a while, either. */
static void
calm_down(void)
{
    passed_s += 3600;
    expire();
}

/* ---- the kernel, as far as it is told something -----------------------------------------------
 */

static char told[2000];

static void
tell_name(void *arg, uint64_t parent, const char *name)
{
    (void)arg, (void)parent;
    size_t n = strlen(told);
    snprintf(told + n, sizeof told - n, "name %s,", name);
}

static void
tell_node(void *arg, uint64_t n, bool data)
{
    (void)arg, (void)n;
    size_t at = strlen(told);
    snprintf(told + at, sizeof told - at, "%s,", data ? "data" : "attributes");
}

static const char *
name_of(int i)
{
    static char name[32];
    snprintf(name, sizeof name, "f-%05d", i);
    return name;
}

static void
put(int i, const char *text)
{
    char key[64];
    snprintf(key, sizeof key, "d/%s", name_of(i));
    fake_put("b", key, text);
}

/* How many names it has. */
static int
walk(uint64_t dir)
{
    struct got o = {0};
    struct sf_dirent e;
    uint64_t off = 0;
    int n = 0;
    sf_tree_opendir(tree, dir, keep, &o);
    assert_int_equal(o.err, 0);
    for (bool more = true; more;) {
        struct got g = {0};
        sf_tree_readdir(tree, o.res.dir, off, keep, &g);
        fake_run();
        assert_true(g.called);
        assert_int_equal(g.err, 0);
        for (more = false; sf_tree_dirent(tree, o.res.dir, off, false, &e) == 1; more = true) {
            off = e.next;
            n++;
        }
    }
    sf_tree_releasedir(tree, o.res.dir);
    return n - 2;
}

/* The directory d with @n objects, listed by now unless @blind. */
static uint64_t
begin(int n, bool blind)
{
    const struct sf_tree_notify notify = {.inval_entry = tell_name, .inval_node = tell_node};
    fake_bucket("b");
    start_ttl("b", TTL_MS);
    sf_tree_set_notify(tree, &notify);
    for (int i = 0; i < n; i++)
        put(i, "text");
    uint64_t d = node(1, "d");
    if (!blind)
        assert_int_equal(walk(d), n);
    told[0] = '\0';
    calm_down();
    node(1, "d");
    fake_counts = (struct fake_counts){0};
    return d;
}

static void
stat_all(uint64_t d, int n, int step)
{
    for (int i = 0; i < n; i++)
        node(d, name_of((int)((int64_t)i * step % n)));
}

/* ---- how many questions -----------------------------------------------------------------------
 */

static void
test_in_order(void **state)
{
    (void)state;
    uint64_t d = begin(5000, false);
    stat_all(d, 5000, 1);
    assert_in_range(fake_counts.lists, 5, 8);
    assert_in_range(fake_counts.pages, 5, 6);
    for (int round = 0; round < 3; round++) {
        expire();
        node(1, "d");
        fake_counts = (struct fake_counts){0};
        stat_all(d, 5000, 1);
        assert_int_equal(fake_counts.lists, 5);
    }
    assert_string_equal(told, "");
}

static void
test_at_random(void **state)
{
    (void)state;
    uint64_t d = begin(5000, false);
    stat_all(d, 5000, 1987);
    assert_in_range(fake_counts.lists, 5, 12);
    assert_in_range(fake_counts.pages, 5, 6);
    expire();
    stat_all(d, 5000, 3989);
    assert_in_range(fake_counts.lists, 5, 6);
}

/* Not even the first listing was read to its end. */
static void
test_never_listed(void **state)
{
    (void)state;
    uint64_t d = begin(5000, true);
    stat_all(d, 5000, 1);
    assert_in_range(fake_counts.lists, 5, 9);
    calm_down();
    stat_all(d, 5000, 1987);
    assert_in_range(fake_counts.lists, 5, 30);
}

static void
test_hundred_pages(void **state)
{
    (void)state;
    uint64_t d = begin(30000, false);
    stat_all(d, 30000, 1);
    assert_in_range(fake_counts.lists, 30, 33);
}

/* One name in a huge directory now and then does not cost a page. */
static void
test_single_names(void **state)
{
    (void)state;
    uint64_t d = begin(5000, false);
    for (int i = 0; i < 10; i++) {
        node(d, name_of(i * 400));
        calm_down();
        assert_int_equal(fake_counts.pages, 0);
    }
    node(d, name_of(1));
    node(d, name_of(4000));
    assert_int_equal(fake_counts.lists, 2);
    assert_int_equal(fake_counts.pages, 0);
}

/* Nor do a few all over it cost many. */
static void
test_few_in_very_many(void **state)
{
    (void)state;
    uint64_t d = begin(40000, false);
    for (int i = 0; i < 40; i++)
        node(d, name_of(i * 997));
    assert_in_range(fake_counts.pages, 1, 16);
    assert_in_range(fake_counts.lists, 30, 40);
}

static void
test_many_at_once(void **state)
{
    (void)state;
    struct got g[100] = {0};
    uint64_t d = begin(5000, false);
    node(d, name_of(3));
    node(d, name_of(4));
    for (int i = 0; i < 100; i++)
        sf_tree_lookup(tree, d, name_of(i * 50), keep, &g[i]);
    fake_run();
    for (int i = 0; i < 100; i++) {
        assert_true(g[i].called);
        assert_int_equal(g[i].err, 0);
        assert_int_not_equal(g[i].res.entry.node, 0);
    }
    assert_in_range(fake_counts.lists, 2 + 5, 2 + 5);
}

static void
test_absent_names(void **state)
{
    (void)state;
    char name[32];
    uint64_t d = begin(5000, false);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5000; i++) {
            snprintf(name, sizeof name, "f-%05d.lock", i);
            struct got g = lookup(d, name);
            assert_int_equal(g.err, 0);
            assert_int_equal(g.res.entry.node, 0);
            assert_in_range(g.res.entry.ttl_ms, 1, TTL_MS);
        }
        assert_in_range(fake_counts.lists, 5, 10);
        expire();
    }
    fake_put("b", "d/f-00077.lock", "x"); /* by somebody else */
    node(d, "f-00077.lock");
}

/* ---- what is told -----------------------------------------------------------------------------
 */

/* What others did around a name that is asked for. */
static void
changes_of_others(uint64_t d)
{
    uint64_t same = node(d, name_of(2000)), grown = node(d, name_of(2001));
    uint64_t shrunk = node(d, name_of(2002)), other = node(d, name_of(2003));
    node(d, name_of(2004));
    node(d, name_of(2005));
    node(d, "f-02007x");
    told[0] = '\0';
    expire();
    for (int i = 0; i < 3; i++) /* names elsewhere: then it is a page */
        node(d, name_of(4000 + i * 400));
    put(2001, "more text");
    put(2002, "t");
    put(2003, "TEXT");
    fake_remove("b", "d/f-02004");
    fake_remove("b", "d/f-02005");
    fake_put("b", "d/f-02005/below", "x");
    fake_remove("b", "d/f-02006");
    fake_remove("b", "d/f-02007x/below");
    fake_put("b", "d/f-02007x", "a file now");
    fake_put("b", "d/f-02000b", "new");
    fake_counts = (struct fake_counts){0};
    assert_int_equal(node(d, name_of(2000)), same);
    assert_int_equal(fake_counts.pages, 1);
    assert_int_equal(fake_counts.lists, 1);
    assert_non_null(strstr(told, "name f-02004,"));
    assert_non_null(strstr(told, "name f-02005,"));
    assert_non_null(strstr(told, "name f-02006,"));
    assert_non_null(strstr(told, "name f-02007x,"));
    char *data = told;
    int n = 0;
    while ((data = strstr(data, "data,")))
        data++, n++;
    assert_int_equal(n, 3);
    assert_null(strstr(told, "attributes"));
    /* And all is known by now. */
    assert_int_equal(node(d, name_of(2001)), grown);
    assert_int_equal(node(d, name_of(2002)), shrunk);
    assert_int_equal(node(d, name_of(2003)), other);
    assert_int_equal(lookup(d, name_of(2002)).res.entry.attr.size, 1);
    assert_int_equal(lookup(d, name_of(2004)).res.entry.node, 0);
    assert_true(S_ISREG(lookup(d, "f-02007x").res.entry.attr.mode));
    assert_true(S_ISREG(lookup(d, "f-02000b").res.entry.attr.mode));
    assert_int_equal(lookup(d, name_of(2006)).res.entry.node, 0);
    assert_int_equal(fake_counts.lists, 1);
    assert_true(S_ISDIR(lookup(d, name_of(2005)).res.entry.attr.mode)); /* asks for its marker */
}

static void
test_changes_are_told(void **state)
{
    (void)state;
    fake_put("b", "d/f-02007x/below", "x");
    uint64_t d = begin(5000, true);
    walk(d);
    calm_down();
    changes_of_others(d);
}

/* Also when page after page said before that nothing had changed. */
static void
test_goes_after_quiet_rounds(void **state)
{
    (void)state;
    uint64_t d = begin(3000, false);
    for (int i = 0; i < 3; i++) {
        stat_all(d, 3000, 1);
        expire();
    }
    fake_remove("b", "d/f-01500");
    fake_put("b", "d/f-01500x", "another instead");
    node(d, name_of(1200));
    assert_int_equal(fake_counts.pages, 1);
    assert_string_equal(told, "name f-01500,");
    assert_int_equal(lookup(d, name_of(1500)).res.entry.node, 0);
    node(d, "f-01500x");
    expire();
    fake_remove("b", "d/f-01500x");
    told[0] = '\0';
    node(d, name_of(1200));
    assert_string_equal(told, "name f-01500x,");
    assert_int_equal(fake_counts.lists, 1);
}

/* An object beside a directory of its name keeps its other name, and its node. */
static void
test_clash_on_a_page(void **state)
{
    (void)state;
    fake_put("b", "d/f-02000", "x");
    fake_put("b", "d/f-02000/below", "x");
    uint64_t d = begin(5000, true);
    walk(d);
    uint64_t dir = node(d, "f-02000"), object = node(d, "%obj=f-02000");
    expire();
    for (int i = 0; i < 3; i++)
        node(d, name_of(4000 + i * 400));
    told[0] = '\0';
    node(d, name_of(1999));
    assert_int_equal(node(d, "f-02000"), dir);
    assert_string_equal(told, "");
    fake_counts.lists = 0;
    assert_int_equal(node(d, "%obj=f-02000"), object);
    assert_in_range(fake_counts.lists, 0, 6); /* such names are told by whole listings only */
}

/* ---- changes made here meanwhile --------------------------------------------------------------
 */

static void
test_changed_here_meanwhile(void **state)
{
    (void)state;
    struct got g = {0}, c = {0}, u = {0}, w = {0};
    uint64_t d = begin(5000, false);
    for (int i = 0; i < 2; i++)
        node(d, name_of(i));
    sf_tree_lookup(tree, d, name_of(2500), keep, &g);
    fake_answer(); /* a page without the one and with the other */
    sf_tree_create(tree, &me, d, "f-02500a", 0644, O_RDWR, keep, &c);
    fake_overtake();
    assert_true(c.called);
    assert_int_equal(c.err, 0);
    sf_tree_write(tree, c.res.open.file, 0, "x", 1, keep, &w);
    sf_tree_unlink(tree, d, name_of(2501), keep, &u);
    fake_run();
    assert_true(g.called && u.called);
    assert_int_equal(u.err, 0);
    assert_int_equal(node(d, "f-02500a"), c.res.entry.node);
    assert_int_equal(lookup(d, name_of(2501)).res.entry.node, 0);
    assert_int_equal(flush(c.res.open.file), 0);
    sf_tree_release(tree, c.res.open.file);
    expire();
    node(d, name_of(2500));
    assert_int_equal(node(d, "f-02500a"), c.res.entry.node);
    assert_int_equal(lookup(d, name_of(2501)).res.entry.node, 0);
}

/* What was dropped from memory is not taken for absent. */
static void
test_dropped_is_not_absent(void **state)
{
    (void)state;
    const struct sf_tree_opts o = {
        .bucket = "b", .attr_ttl_ms = TTL_MS, .read_timeout_ms = 1000, .max_nodes = 2500};
    fake_bucket("b");
    assert_int_equal(sf_tree_new(&o, NULL, NULL, NULL, &tree, NULL), 0);
    for (int i = 0; i < 5000; i++)
        put(i, "text");
    uint64_t d = node(1, "d");
    for (int i = 0; i < 5000; i++)
        sf_tree_forget(tree, node(d, name_of(i * 1987 % 5000)), 1);
    for (int i = 0; i < 5000; i++)
        sf_tree_forget(tree, node(d, name_of(i)), 1);
}

/* The directory goes away, comes back as a file, or is renamed here, while a page is asked for. */
static void
test_directory_goes_meanwhile(void **state)
{
    (void)state;
    struct got g = {0}, r = {0};
    uint64_t d = begin(3000, false);
    for (int i = 0; i < 2; i++)
        node(d, name_of(i));
    sf_tree_lookup(tree, d, name_of(2500), keep, &g);
    sf_tree_rename(tree, 1, "d", 1, "e", 0, keep, &r);
    fake_run();
    assert_true(g.called && r.called);
    assert_int_equal(r.err, 0);
    assert_int_equal(node(1, "e"), d);
    for (int i = 0; i < 3000; i += 100)
        node(d, name_of(i));
    assert_int_equal(lookup(1, "d").res.entry.node, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TREE_TEST(in_order),
        TREE_TEST(at_random),
        TREE_TEST(never_listed),
        TREE_TEST(hundred_pages),
        TREE_TEST(single_names),
        TREE_TEST(few_in_very_many),
        TREE_TEST(many_at_once),
        TREE_TEST(absent_names),
        TREE_TEST(changes_are_told),
        TREE_TEST(goes_after_quiet_rounds),
        TREE_TEST(clash_on_a_page),
        TREE_TEST(changed_here_meanwhile),
        TREE_TEST(dropped_is_not_absent),
        TREE_TEST(directory_goes_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
