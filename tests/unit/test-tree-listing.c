/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree-fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "write/write.h"

/* Listings: names that clash or cannot be shown, changes while one runs, what is forgotten. */

static void
start_now(void)
{
    fake_bucket("b");
    start_ttl("b", 0);
}

static void
start_small(int64_t ttl_ms, uint64_t max_nodes)
{
    const struct sf_tree_opts o = {
        .bucket = "b", .attr_ttl_ms = ttl_ms, .read_timeout_ms = 1000, .max_nodes = max_nodes};
    fake_bucket("b");
    assert_int_equal(sf_tree_new(&o, NULL, NULL, NULL, &tree, NULL), 0);
}

static void
put_many(const char *prefix, int n)
{
    char key[64];
    for (int i = 0; i < n; i++) {
        snprintf(key, sizeof key, "%s%05d", prefix, i);
        fake_put("b", key, "x");
    }
}

static uint64_t
nodes(void)
{
    struct sf_tree_stats s;
    sf_tree_stats(tree, &s);
    return s.nodes;
}

/* ---- clashes -------------------------------------------------------------------------------- */

/* The object has its plain name as soon as the directory has gone. */
static void
test_clash_ends(void **state)
{
    (void)state;
    start_now();
    fake_put("b", "both", "object");
    fake_put("b", "both/child", "x");
    assert_string_equal(list(1), "%obj=both,both,");
    fake_remove("b", "both/child");
    assert_string_equal(list(1), "both,");
    assert_true(S_ISREG(lookup(1, "both").res.entry.attr.mode));
}

static void
test_directory_becomes_a_file(void **state)
{
    (void)state;
    start_now();
    fake_put("b", "d/x", "x");
    uint64_t d = node(1, "d");
    node(d, "x");
    fake_remove("b", "d/x");
    fake_put("b", "d", "a file now");
    struct got g = lookup(1, "d");
    assert_true(S_ISREG(g.res.entry.attr.mode));
    assert_int_equal(g.res.entry.attr.size, 10);
    assert_string_equal(list(1), "d,");
    fake_remove("b", "d");
    fake_put("b", "d/x", "x");
    assert_true(S_ISDIR(lookup(1, "d").res.entry.attr.mode));
    assert_string_equal(list(1), "d,");
}

/* The same where single names are asked for; a wrong turn would ask for ever. */
static void
test_directory_becomes_a_file_among_many(void **state)
{
    (void)state;
    start_now();
    put_many("many-", 1100);
    fake_put("b", "zd/x", "x");
    assert_true(S_ISDIR(lookup(1, "zd").res.entry.attr.mode));
    fake_remove("b", "zd/x");
    fake_put("b", "zd", "a file now");
    fake_counts.lists = 0;
    assert_true(S_ISREG(lookup(1, "zd").res.entry.attr.mode));
    assert_in_range(fake_counts.lists, 1, 3);
    fake_put("b", "zd/x", "x");
    assert_true(S_ISDIR(lookup(1, "zd").res.entry.attr.mode));
    assert_true(S_ISDIR(lookup(1, "zd").res.entry.attr.mode));
    fake_put("b", "zd-between", "x");
    put_many("zd-", 100);
    assert_true(S_ISDIR(lookup(1, "zd").res.entry.attr.mode));
    fake_remove("b", "zd/x");
    fake_counts.lists = 0;
    assert_true(S_ISREG(lookup(1, "zd").res.entry.attr.mode));
    assert_in_range(fake_counts.lists, 1, 4);
}

static void
test_hidden_marker_among_many(void **state)
{
    (void)state;
    start("b");
    put_many("d/many-", 1100);
    fake_put("b", "d/.emptyFolderPlaceholder", "");
    uint64_t d = node(1, "d");
    node(d, "many-00000");
    fake_counts.lists = 0;
    assert_int_equal(lookup(d, "%key=.emptyFolderPlaceholder").res.entry.node, 0);
    assert_int_equal(lookup(d, ".emptyFolderPlaceholder").res.entry.node, 0);
    assert_in_range(fake_counts.lists, 0, 4);
}

/* What other clients can make and no POSIX name expresses. */
static void
test_strange_keys(void **state)
{
    (void)state;
    start_now();
    fake_put("b", "d/", "named like a directory");
    fake_put("b", "d//e", "an empty component");
    fake_put("b", "d/../up", "x");
    fake_put("b", "d/./here", "x");
    fake_put("b", "d/plain", "x");
    fake_put("b", ".supafs", "taken");
    fake_put("b", ".supafs/below", "taken");
    assert_string_equal(list(1), "%obj=.supafs,%key=.supafs,d,");
    uint64_t d = node(1, "d");
    list(d);
    assert_non_null(strstr(names, "plain,"));
    assert_non_null(strstr(names, "%key=..,"));
    assert_non_null(strstr(names, "%key=.,"));
    struct sf_file *f = open_file(node(1, "%obj=.supafs"), O_RDONLY);
    assert_string_equal(read_file(f).data, "taken");
    sf_tree_release(tree, f);
    f = open_file(node(node(d, "%key="), "e"), O_RDONLY);
    assert_string_equal(read_file(f).data, "an empty component");
    sf_tree_release(tree, f);
    f = open_file(node(d, "%obj="), O_RDONLY);
    assert_string_equal(read_file(f).data, "named like a directory");
    sf_tree_release(tree, f);
    f = open_file(node(node(d, "%key=.."), "up"), O_RDONLY);
    assert_string_equal(read_file(f).data, "x");
    sf_tree_release(tree, f);
}

/* ---- while a listing runs ------------------------------------------------------------------- */

static void
test_renamed_while_a_listing_runs(void **state)
{
    (void)state;
    struct got o = {0}, r = {0};
    start("b");
    put_many("many-", 1500);
    fake_put("b", "zz", "x");
    assert_int_equal(lookup(1, "zz").err, 0);
    sf_tree_opendir(tree, 1, keep, &o);
    sf_tree_readdir(tree, o.res.dir, 0, keep, &r);
    fake_overtake(); /* the first page, without it */
    struct got m = {0};
    sf_tree_rename(tree, 1, "zz", 1, "aa", 0, keep, &m);
    fake_run(); /* the second page, without it, too */
    assert_true(m.called);
    assert_int_equal(m.err, 0);
    sf_tree_releasedir(tree, o.res.dir);
    fake_fail(-ETIMEDOUT); /* what that listing knows */
    assert_non_null(strstr(list(1), "aa,"));
    assert_null(strstr(names, "zz,"));
    fake_fail(0);
}

/* What a look-up finds behind a listing's back is not gone when that ends without it. */
static void
test_found_while_a_listing_runs(void **state)
{
    (void)state;
    struct got o = {0}, r = {0}, l = {0}, r2 = {0};
    start_now();
    put_many("many-", 2500);
    sf_tree_opendir(tree, 1, keep, &o);
    sf_tree_readdir(tree, o.res.dir, 0, keep, &r);
    fake_overtake(); /* the first page, without it */
    fake_put("b", "many-00000a", "x");
    sf_tree_lookup(tree, 1, "many-00000a", keep, &l);
    fake_overtake();
    assert_true(l.called);
    assert_int_not_equal(l.res.entry.node, 0);
    sf_tree_readdir(tree, o.res.dir, 1002, keep, &r2);
    fake_run();
    assert_true(r2.called);
    assert_int_equal(node(1, "many-00000a"), l.res.entry.node);
    sf_tree_releasedir(tree, o.res.dir);
}

/* Where no directory was, all keys are asked for; those that have come meanwhile are shown. */
static void
test_directories_come_into_a_flat_one(void **state)
{
    (void)state;
    start_now();
    put_many("many-", 2500);
    list(1);
    assert_int_equal(fake_counts.lists, 3);
    assert_int_equal(fake_counts.flat, 2);
    list(1);
    assert_int_equal(fake_counts.lists, 6);
    assert_int_equal(fake_counts.flat, 5);
    fake_put("b", "many-00700/x", "x");
    fake_put("b", "many-00700/y/z", "x");
    put_many("many-01300/deep/", 1200);
    fake_put("b", "many-02499/x", "x");
    fake_remove("b", "many-02499");
    list(1);
    assert_non_null(strstr(names, "many-00699,%obj=many-00700,many-00700,many-00701,"));
    assert_non_null(strstr(names, "%obj=many-01300,"));
    assert_non_null(strstr(names, "many-01300,many-01301,many-01302,"));
    assert_null(strstr(names, "deep"));
    assert_true(S_ISDIR(lookup(1, "many-02499").res.entry.attr.mode));
    assert_int_equal(strlen(names), 2500 * 11 + 2 * 16);
    fake_counts.flat = 0;
    list(1);
    assert_int_equal(strlen(names), 2500 * 11 + 2 * 16);
    assert_int_equal(fake_counts.flat, 0);
}

/* A directory opened now is not shown from a listing that began before. */
static void
test_opened_after_a_listing_began(void **state)
{
    (void)state;
    struct got o = {0}, r = {0};
    start_now();
    fake_put("b", "a", "x");
    sf_tree_opendir(tree, 1, keep, &o);
    sf_tree_readdir(tree, o.res.dir, 0, keep, &r);
    fake_answer();
    fake_put("b", "new", "x");
    assert_string_equal(list(1), "a,new,");
    assert_true(r.called);
    sf_tree_releasedir(tree, o.res.dir);
}

/* ---- forgetting ----------------------------------------------------------------------------- */

/* More names in one directory than may be remembered. */
static void
test_more_names_than_fit(void **state)
{
    (void)state;
    char name[64];
    start_small(60000, 1000);
    put_many("d/f-", 5000);
    uint64_t d = node(1, "d");
    list(d);
    assert_int_equal(strlen(names), 5000 * 8);
    fake_counts.lists = 0;
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "f-%05d", i * 20);
        sf_tree_forget(tree, node(d, name), 1);
    }
    assert_in_range(fake_counts.lists, 1, 210); /* one question each, no run through all */
    assert_in_range(nodes(), 1, 1400);
}

/* What the kernel holds is not dropped, and is not looked through again at every answer. */
static void
test_names_in_use_stay(void **state)
{
    (void)state;
    char name[64];
    static uint64_t held[3000];
    start_small(60000, 1000);
    put_many("d/f-", 3000);
    uint64_t d = node(1, "d");
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "f-%05d", i);
        held[i] = node(d, name);
    }
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "f-%05d", i);
        assert_int_equal(node(d, name), held[i]);
        sf_tree_forget(tree, held[i], 2);
    }
    put_many("e/f-", 3000);
    list(node(1, "e"));
    assert_in_range(nodes(), 1, 3300);
}

/* A removed directory takes along what was known below it. */
static void
test_removed_directories_are_forgotten(void **state)
{
    (void)state;
    char name[64];
    start("b");
    fake_put("b", "x", "x");
    node(1, "x");
    uint64_t before = nodes();
    for (int i = 0; i < 50; i++) {
        struct got m = {0}, r = {0};
        sf_tree_mkdir(tree, &me, 1, "d", 0755, keep, &m);
        fake_run();
        assert_int_equal(m.err, 0);
        uint64_t d = m.res.entry.node, n, f;
        for (int j = 0; j < 10; j++) {
            snprintf(name, sizeof name, "f%d", j);
            sf_tree_release(tree, create(d, name, "x", &f));
            fake_run();
            assert_int_equal(unlink_name(d, name), 0);
            sf_tree_forget(tree, f, 1);
        }
        struct got s = {0}, sr = {0};
        sf_tree_mkdir(tree, &me, d, "sub", 0755, keep, &s);
        fake_run();
        n = s.res.entry.node;
        lookup(n, "none");
        sf_tree_rmdir(tree, d, "sub", keep, &sr);
        fake_run();
        sf_tree_rmdir(tree, 1, "d", keep, &r);
        fake_run();
        assert_int_equal(r.err, 0);
        sf_tree_forget(tree, d, 1);
        sf_tree_forget(tree, n, 1);
    }
    assert_in_range(nodes(), before, before + 20); /* what a listing still has */
}

/* ---- buckets -------------------------------------------------------------------------------- */

static void *
serve(void *stop)
{
    while (!atomic_load((atomic_bool *)stop))
        if (!fake_step())
            usleep(1000);
    return NULL;
}

static void
ignore_commit(void *arg, const struct sf_err *err, const struct sf_commit *done)
{
    (void)arg, (void)err, (void)done;
}

static void
begin(void)
{
    pthread_t service;
    atomic_bool stop = false;
    assert_int_equal(pthread_create(&service, NULL, serve, &stop), 0);
    assert_int_equal(sf_tree_start(tree, INT64_MAX, NULL), 0);
    atomic_store(&stop, true);
    pthread_join(service, NULL);
}

static void
test_start_tells_the_buckets(void **state)
{
    (void)state;
    fake_bucket("b");
    fake_bucket("c");
    start_ttl(NULL, 60000);
    begin();
    fake_counts.lists = 0;
    assert_string_equal(list(1), "b,c,");
    assert_int_equal(lookup(1, "none").res.entry.node, 0);
    assert_int_equal(fake_counts.lists, 0);
}

/* What the journal had, of which an upload is under way that the tree has not asked for. */
static struct sf_pending replayed;

static void
upload_replayed(void)
{
    struct sf_commit_args args = {.patient = true};
    fake_hold(false);
    sf_content_commit(replayed.content, &args, ignore_commit, NULL);
    fake_hold(true);
    assert_true(fake_has("b", "d/f", "text"));
}

static void
begin_with_replayed(void (*before)(void), void (*meanwhile)(void))
{
    static const struct sf_version none = {.id = ""};
    replayed = (struct sf_pending){.bucket = "b", .key = "d/f", .base = &none};
    start("b");
    assert_int_equal(sf_content_new(NULL, "b", "d/f", &replayed.content, NULL), 0);
    assert_int_equal(sf_content_write(replayed.content, "text", 4, 0), 4);
    if (before)
        before();
    fake_replayed = &replayed;
    fake_before_commit = meanwhile;
    fake_hold(true);
    begin();
    fake_hold(false);
    fake_replayed = NULL;
    fake_before_commit = NULL;
}

/* Its upload has not ended, has ended before it is shown, or does so in the moment in which the
 * tree asks for it: it is shown as it will be, or as it is. */
static void
test_start_shows_what_is_pending(void **state)
{
    (void)state;
    for (int ended = 0; ended < 3; ended++) {
        begin_with_replayed(ended == 1 ? upload_replayed : NULL,
                            ended == 2 ? upload_replayed : NULL);
        uint64_t d = node(1, "d");
        struct sf_file *f = open_file(node(d, "f"), O_RDONLY);
        assert_string_equal(read_file(f).data, "text");
        sf_tree_release(tree, f);
        fake_run();
        assert_true(fake_has("b", "d/f", "text"));
        assert_int_equal(lookup(d, "f").res.entry.attr.size, 4);
        sf_content_unref(replayed.content);
        if (ended < 2)
            end(NULL);
    }
}

static void
cut(uint64_t n, uint64_t size)
{
    struct got g = {0};
    struct sf_attr attr = {.size = size};
    sf_tree_setattr(tree, n, NULL, &attr, SF_SET_SIZE, keep, &g);
    run_until_called(&g);
    assert_int_equal(g.err, 0);
}

/* Whatever is done to the name first is done to what was sent, too. */
static void
test_start_changes_what_was_pending(void **state)
{
    (void)state;
    for (int ended = 0; ended < 3; ended++)
        for (int what = 0; what < 3; what++) {
            begin_with_replayed(ended == 1 ? upload_replayed : NULL,
                                ended == 2 ? upload_replayed : NULL);
            uint64_t d = node(1, "d");
            if (what == 0) {
                fake_put("b", "d/other", "others' bytes");
                assert_int_equal(lookup(d, "other").err, 0);
                assert_int_equal(rename_name(d, "other", "f", 0), 0);
                assert_false(fake_exists("b", "d/other"));
            } else if (what == 1) {
                cut(node(d, "f"), 3);
            } else {
                assert_int_equal(unlink_name(d, "f"), 0);
            }
            fake_run();
            if (what == 2)
                assert_false(fake_exists("b", "d/f"));
            else
                assert_true(fake_has("b", "d/f", what ? "tex" : "others' bytes"));
            sf_content_unref(replayed.content);
            if (ended < 2 || what < 2)
                end(NULL);
        }
}

/* What an earlier process was told to remove, and the service has still, is not shown by any
 * listing, and a new file may have the name; it is back if the service refuses. */
static void
test_start_hides_what_was_removed(void **state)
{
    (void)state;
    for (int refused = 0; refused < 2; refused++) {
        fake_put("b", "d/f", "old");
        fake_put("b", "d/other", "x");
        start("b");
        fake_removed = "d/f";
        begin();
        fake_removed = NULL;
        uint64_t d = node(1, "d");
        assert_int_equal(lookup(d, "f").res.entry.node, 0);
        assert_string_equal(list(d), "other,");
        assert_int_equal(unlink_name(d, "f"), -ENOENT);
        if (!refused)
            fake_remove("b", "d/f");
        fake_removal_ends(refused ? -EACCES : 0);
        assert_string_equal(list(d), refused ? "f,other," : "other,");
        if (!refused)
            end(NULL);
    }
}

/* Made anew since, and not sent yet: that is shown. */
static void
test_start_shows_what_was_made_anew(void **state)
{
    (void)state;
    fake_removed = "d/f";
    begin_with_replayed(NULL, NULL);
    fake_removed = NULL;
    assert_int_equal(lookup(node(1, "d"), "f").res.entry.attr.size, 4);
    sf_content_unref(replayed.content);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TREE_TEST(clash_ends),
        TREE_TEST(directory_becomes_a_file),
        TREE_TEST(directory_becomes_a_file_among_many),
        TREE_TEST(hidden_marker_among_many),
        TREE_TEST(strange_keys),
        TREE_TEST(renamed_while_a_listing_runs),
        TREE_TEST(found_while_a_listing_runs),
        TREE_TEST(directories_come_into_a_flat_one),
        TREE_TEST(opened_after_a_listing_began),
        TREE_TEST(more_names_than_fit),
        TREE_TEST(names_in_use_stay),
        TREE_TEST(removed_directories_are_forgotten),
        TREE_TEST(start_changes_what_was_pending),
        TREE_TEST(start_shows_what_is_pending),
        TREE_TEST(start_hides_what_was_removed),
        TREE_TEST(start_shows_what_was_made_anew),
        TREE_TEST(start_tells_the_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
