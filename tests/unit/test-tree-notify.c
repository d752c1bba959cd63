/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree-fixture.h"

#include <time.h>

/*
 * What others did to a name that the kernel knows is told to it by the first answer that shows it,
 * whichever question that was for: each change, found in each way.
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

static void
expire(int64_t seconds)
{
    passed_s += seconds + TTL_MS / 1000 + 1;
}

/* ---- the kernel, as far as it is told something -----------------------------------------------
 */

static char told[2000];

static void
tell_name(void *arg, uint64_t parent, const char *name)
{
    (void)arg;
    size_t n = strlen(told);
    snprintf(told + n, sizeof told - n, "name %d/%s,", (int)parent, name);
}

static void
tell_node(void *arg, uint64_t n, bool data)
{
    (void)arg;
    size_t at = strlen(told);
    snprintf(told + at, sizeof told - at, "%s of %d,", data ? "bytes" : "attributes", (int)n);
}

/* ---- what others do ---------------------------------------------------------------------------
 */

static void
grow(void)
{
    fake_put("b", "d/m-file", "much more text than before");
}

static void
shrink(void)
{
    fake_put("b", "d/m-file", "t");
}

static void
same_size(void)
{
    fake_keep_ids(true);
    fake_put("b", "d/m-file", "TEXT");
    fake_keep_ids(false);
}

static void
change_mode(void)
{
    fake_set_cache("b", "d/m-file", "no-cache, supafs=\"1;m=100600;t=1763000000\"");
}

static void delete (void)
{
    fake_remove("b", "d/m-file");
}

static void
file_to_directory(void)
{
    fake_remove("b", "d/m-file");
    fake_put("b", "d/m-file/below", "x");
}

static void
directory_to_file(void)
{
    fake_remove("b", "d/m-dir/below");
    fake_put("b", "d/m-dir", "a file now");
}

static void
directory_vanishes(void)
{
    fake_remove("b", "d/m-dir/below");
}

enum said { BYTES, ATTRIBUTES, NAME };

static const struct change {
    const char *title, *name;
    void (*make)(void);
    enum said said;
    mode_t type; /* of the name afterwards; 0 = absent */
    uint64_t size;
} changes[] = {
    {"grown", "m-file", grow, BYTES, S_IFREG, 26},
    {"shrunk", "m-file", shrink, BYTES, S_IFREG, 1},
    {"other bytes of the same size", "m-file", same_size, BYTES, S_IFREG, 4},
    {"other attributes", "m-file", change_mode, ATTRIBUTES, S_IFREG, 4},
    {"deleted", "m-file", delete, NAME, 0, 0},
    {"a directory instead", "m-file", file_to_directory, NAME, S_IFDIR, 0},
    {"a file instead of the directory", "m-dir", directory_to_file, NAME, S_IFREG, 10},
    {"the directory vanished", "m-dir", directory_vanishes, NAME, 0, 0},
};

/* ---- how it is found --------------------------------------------------------------------------
 */

enum way { LISTED, LISTED_LARGE, NEIGHBOUR, ITSELF, PAGE, WAYS };

static const char *const ways[] = {"listing", "listing of pages", "look-up of another name",
                                   "look-up of the name", "page around another name"};

static uint64_t
set_up(bool large)
{
    const struct sf_tree_notify notify = {.inval_entry = tell_name, .inval_node = tell_node};
    char key[64];
    fake_bucket("b");
    start_with("b", TTL_MS, false);
    sf_tree_set_notify(tree, &notify);
    fake_put("b", "d/.emptyFolderPlaceholder", "");
    fake_put("b", "d/m-dir/below", "x");
    fake_put("b", "d/m-file", "text");
    fake_set_cache("b", "d/m-file", "no-cache, supafs=\"1;m=100640;t=1763000000\"");
    fake_put("b", "d/m-other", "x");
    for (int i = 0; large && i < 2500; i++) {
        snprintf(key, sizeof key, "d/%c-%05d", i < 1200 ? 'a' : 'n', i);
        fake_put("b", key, "x");
    }
    uint64_t d = node(1, "d");
    list(d);
    node(d, "m-other");
    return d;
}

static void
find_out(enum way way, uint64_t d, const char *name)
{
    unsigned pages;
    switch (way) {
    case LISTED:
    case LISTED_LARGE:
        list(d);
        break;
    case NEIGHBOUR:
        node(d, "m-other");
        break;
    case ITSELF:
        lookup(d, name);
        break;
    case PAGE:
        node(d, "a-00000"); /* these tell of themselves only */
        node(d, "n-02499");
        assert_string_equal(told, "");
        pages = fake_counts.pages;
        node(d, "m-other");
        assert_int_equal(fake_counts.pages, pages + 1);
        break;
    case WAYS:
        break;
    }
}

static void
check(const struct change *c, enum way way)
{
    char wanted[100];
    uint64_t d = set_up(way != LISTED && way != NEIGHBOUR), n = node(d, c->name);
    uint64_t ino = lookup(d, c->name).res.entry.attr.ino;
    expire(3600);
    node(1, "d");
    told[0] = '\0';
    c->make();
    find_out(way, d, c->name);
    print_message("%s, found by %s: %s\n", c->title, ways[way], told);
    if (c->said == NAME)
        snprintf(wanted, sizeof wanted, "name %d/%s,", (int)d, c->name);
    else
        snprintf(wanted, sizeof wanted, "%s of %d,", c->said == BYTES ? "bytes" : "attributes",
                 (int)n);
    if (c->make == directory_to_file) /* a listing may show both for a moment */
        assert_non_null(strstr(told, wanted));
    else
        assert_string_equal(told, wanted);
    size_t len = strlen(told);
    struct got g = lookup(d, c->name);
    assert_int_equal(g.err, 0);
    assert_int_equal(g.res.entry.node != 0, c->type != 0);
    if (c->type)
        assert_int_equal(g.res.entry.attr.mode & S_IFMT, c->type);
    if (c->type == S_IFREG)
        assert_int_equal(g.res.entry.attr.size, c->size);
    assert_int_equal(g.res.entry.node == n, c->said != NAME);
    if (c->said != NAME)
        assert_int_equal(g.res.entry.attr.ino, ino);
    assert_int_equal(strlen(told), len); /* once */
    end(NULL);
}

static void
test_every_change_in_every_way(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        for (enum way w = 0; w < WAYS; w++)
            check(&changes[i], w);
}

/* Whoever lists the vanished directory itself finds it out, too. */
static void
test_directory_found_empty(void **state)
{
    (void)state;
    char wanted[100];
    uint64_t d = set_up(false), n = node(d, "m-dir"), below = node(n, "below");
    expire(3600);
    node(d, "m-dir");
    expire(0);
    told[0] = '\0';
    directory_vanishes();
    struct got g = lookup(n, "below");
    assert_true(g.err == -ENOENT || g.res.entry.node == 0);
    snprintf(wanted, sizeof wanted, "name %d/m-dir,", (int)d);
    assert_non_null(strstr(told, wanted));
    sf_tree_forget(tree, below, 1);
    end(NULL);
}

/* Attributes of a directory lie on its marker, which its own listing shows. */
static void
test_attributes_of_a_directory(void **state)
{
    (void)state;
    char wanted[100];
    uint64_t d = set_up(false);
    expire(3600);
    told[0] = '\0';
    fake_set_cache("b", "d/.emptyFolderPlaceholder", "no-cache, supafs=\"1;m=40700\"");
    list(d);
    snprintf(wanted, sizeof wanted, "attributes of %d,", (int)d);
    assert_string_equal(told, wanted);
    assert_int_equal(lookup(1, "d").res.entry.attr.mode, S_IFDIR | 0700);
    expire(0);
    list(d);
    assert_string_equal(told, wanted);
    end(NULL);
}

/* Nothing is told of what the kernel does not know. */
static void
test_unknown_is_not_told(void **state)
{
    (void)state;
    uint64_t d = set_up(false), n = node(d, "m-file");
    sf_tree_forget(tree, n, 1);
    expire(3600);
    node(1, "d");
    told[0] = '\0';
    grow();
    node(d, "m-other");
    assert_string_equal(told, "");
    assert_int_equal(lookup(d, "m-file").res.entry.attr.size, 26);
    end(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_change_in_every_way),
        cmocka_unit_test(test_directory_found_empty),
        cmocka_unit_test(test_attributes_of_a_directory),
        cmocka_unit_test(test_unknown_is_not_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
