/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree-fixture.h"

/* Reads through the cache: what is not asked for again, and which version a handle has when others
 * replace the object. */

#define LARGE (4u << 20)
#define FAR   (3u << 20) /* nobody reads ahead so far from the beginning */

static unsigned names_told, nodes_told, pages_told;

static void
told_name(void *arg, uint64_t parent, const char *name)
{
    (void)arg, (void)parent, (void)name;
    names_told++;
}

static void
told_node(void *arg, uint64_t node, bool data)
{
    (void)arg, (void)node;
    nodes_told++;
    pages_told += data;
}

static char *
text_of(char letter, size_t len)
{
    char *s = malloc(len + 1);
    assert_non_null(s);
    memset(s, letter, len);
    s[len] = '\0';
    return s;
}

static void
put(const char *key, char letter, size_t len)
{
    char *s = text_of(letter, len);
    fake_put("b", key, s);
    free(s);
}

static struct got
read_at(struct sf_file *f, uint64_t off)
{
    struct got g = {0};
    sf_tree_read(tree, f, off, 100, keep, &g);
    fake_run();
    assert_true(g.called);
    return g;
}

static void
start_told(int64_t ttl_ms)
{
    const struct sf_tree_notify notify = {told_name, told_node, NULL};
    fake_bucket("b");
    start_ttl("b", ttl_ms);
    sf_tree_set_notify(tree, &notify);
    names_told = nodes_told = pages_told = 0;
}

static void
test_read_again(void **state)
{
    (void)state;
    start_told(60000);
    put("f", 'a', 5000);
    uint64_t n = node(1, "f");
    struct sf_file *f = open_file(n, O_RDONLY);
    assert_int_equal(read_at(f, 0).data[0], 'a');
    unsigned gets = fake_counts.gets, lists = fake_counts.lists;
    assert_int_equal(gets, 1);
    assert_int_equal(read_at(f, 4950).res.len, 50);
    sf_tree_release(tree, f);
    f = open_file(n, O_RDONLY);
    assert_int_equal(read_at(f, 1000).res.len, 100);
    assert_int_equal(read_at(f, 5000).res.len, 0);
    sf_tree_release(tree, f);
    assert_int_equal(fake_counts.gets, gets);
    assert_int_equal(fake_counts.lists, lists);
}

/* What is here is read while the service does not answer, what is not fails. */
static void
test_without_service(void **state)
{
    (void)state;
    start_told(60000);
    put("f", 'a', LARGE);
    struct sf_file *f = open_file(node(1, "f"), O_RDONLY);
    assert_int_equal(read_at(f, 0).err, 0);
    fake_fail(-ECONNREFUSED);
    assert_int_equal(read_at(f, 50).data[0], 'a');
    assert_int_equal(read_at(f, FAR).err, -ECONNREFUSED);
    fake_fail(0);
    assert_int_equal(read_at(f, FAR).data[0], 'a');
    sf_tree_release(tree, f);
}

/* @len bytes of 'b' take the place of what is open and half read; the name has what is new. */
static void
replaced(size_t len)
{
    start_told(0);
    put("f", 'a', LARGE);
    uint64_t old = node(1, "f");
    struct sf_file *f = open_file(old, O_RDONLY);
    assert_int_equal(read_at(f, 0).data[0], 'a');
    put("f", 'b', len);
    uint64_t new = node(1, "f");
    assert_int_not_equal(old, new);
    assert_int_equal(names_told, 1);
    assert_int_equal(lookup(1, "f").res.entry.attr.size, len);

    assert_int_equal(read_at(f, 100).data[0], 'a'); /* as far as it is here */
    assert_int_equal(read_at(f, FAR).err, -ESTALE);
    assert_int_equal(read_at(f, 0).data[0], 'a');
    struct sf_file *g = open_file(new, O_RDONLY);
    assert_false(g == f);
    assert_int_equal(read_at(g, 0).data[0], 'b');
    assert_int_equal(read_at(g, len - 10).res.len, 10);
    assert_int_equal(read_at(f, 0).data[0], 'a');
    sf_tree_release(tree, f);
    sf_tree_release(tree, g);
}

static void
test_replaced_by_a_longer_one(void **state)
{
    (void)state;
    replaced(LARGE + 1000);
}

static void
test_replaced_by_a_shorter_one(void **state)
{
    (void)state;
    replaced(1000);
}

static void
test_replaced_by_one_of_its_size(void **state)
{
    (void)state;
    replaced(LARGE);
}

/* Nobody has got anything of it: the same node, and the kernel forgets its pages. */
static void
test_replaced_while_closed(void **state)
{
    (void)state;
    start_told(0);
    put("f", 'a', 5000);
    uint64_t old = node(1, "f");
    struct sf_file *f = open_file(old, O_RDONLY);
    assert_int_equal(read_at(f, 0).data[0], 'a');
    sf_tree_release(tree, f);
    put("f", 'b', 7000);
    assert_int_equal(node(1, "f"), old);
    assert_int_equal(pages_told, 1);
    f = open_file(old, O_RDONLY);
    assert_int_equal(read_at(f, 0).data[0], 'b');
    assert_int_equal(read_at(f, 6950).res.len, 50);
    sf_tree_release(tree, f);
}

static void
test_removed(void **state)
{
    (void)state;
    start_told(0);
    put("f", 'a', LARGE);
    put("other", 'x', 10);
    struct sf_file *f = open_file(node(1, "f"), O_RDONLY);
    assert_int_equal(read_at(f, 0).data[0], 'a');
    fake_remove("b", "f");
    assert_int_equal(lookup(1, "f").res.entry.node, 0);
    assert_int_equal(names_told, 1);
    assert_int_equal(read_at(f, 100).data[0], 'a');
    assert_int_equal(read_at(f, FAR).err, -ESTALE);
    sf_tree_release(tree, f);
}

static void
test_replaced_by_a_directory(void **state)
{
    (void)state;
    start_told(0);
    put("f", 'a', LARGE);
    struct sf_file *f = open_file(node(1, "f"), O_RDONLY);
    assert_int_equal(read_at(f, 0).data[0], 'a');
    fake_remove("b", "f");
    put("f/below", 'b', 10);
    uint64_t dir = node(1, "f");
    assert_true(S_ISDIR(lookup(1, "f").res.entry.attr.mode));
    assert_int_not_equal(names_told, 0);
    assert_int_equal(read_at(f, 100).data[0], 'a');
    assert_int_equal(read_at(f, FAR).err, -ESTALE);
    struct sf_file *g = open_file(node(dir, "below"), O_RDONLY);
    assert_int_equal(read_at(g, 0).data[0], 'b');
    sf_tree_release(tree, f);
    sf_tree_release(tree, g);
}

/* A handle that is given back while its bytes come, and one that nobody waits for any more. */
static void
test_released_while_bytes_come(void **state)
{
    (void)state;
    struct got g = {0}, c = {0};
    start_told(60000);
    put("f", 'a', LARGE);
    struct sf_file *f = open_file(node(1, "f"), O_RDONLY);
    sf_tree_read(tree, f, 0, 100, keep, &g);
    uint64_t id = sf_tree_read(tree, f, FAR, 100, keep, &c);
    assert_int_not_equal(id, 0);
    sf_tree_cancel(tree, id);
    assert_true(c.called);
    assert_int_equal(c.err, -ECANCELED);
    sf_tree_release(tree, f);
    fake_run();
    assert_true(g.called);
    assert_int_equal(g.err, 0);
}

/* Parts of one reply in several buffers are what the copy writes. */
static void
test_copy_of_a_part(void **state)
{
    (void)state;
    struct got c = {0};
    uint64_t n;
    start_told(60000);
    put("f", 'a', LARGE);
    struct sf_file *in = open_file(node(1, "f"), O_RDONLY), *out = create(1, "g", "", &n);
    assert_int_equal(read_at(in, 0).err, 0);
    sf_tree_copy_range(tree, in, 128 * 1024 - 300, out, 0, 600, keep, &c);
    fake_run();
    assert_int_equal(c.err, 0);
    assert_int_equal(c.res.len, 600);
    assert_int_equal(flush(out), 0);
    char *want = text_of('a', 600);
    assert_true(fake_has("b", "g", want));
    free(want);
    sf_tree_release(tree, in);
    sf_tree_release(tree, out);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TREE_TEST(read_again),
        TREE_TEST(without_service),
        TREE_TEST(replaced_by_a_longer_one),
        TREE_TEST(replaced_by_a_shorter_one),
        TREE_TEST(replaced_by_one_of_its_size),
        TREE_TEST(replaced_while_closed),
        TREE_TEST(removed),
        TREE_TEST(replaced_by_a_directory),
        TREE_TEST(released_while_bytes_come),
        TREE_TEST(copy_of_a_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
