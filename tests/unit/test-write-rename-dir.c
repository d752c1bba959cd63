/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write-fixture.h"

#include "write/attrs.h"
#include "write/journal.h"
#include "write/mark.h"
#include "write/writer.h"

/* Renames of directories: all of it arrives under the new name, once, whatever happens meanwhile;
 * or nothing was moved, and the error says why. */

#define MANY 45 /* objects: some pages */

static struct got *
rename_dir(const char *bucket, const char *from, const char *to_bucket, const char *to)
{
    struct got *g = got_new();
    const struct sf_rename_args args = {
        .bucket = bucket, .key = from, .to_bucket = to_bucket, .to_key = to};
    sf_write_rename_dir(writer, &args, on_rename, g);
    return g;
}

static void
fill(const char *prefix, int n)
{
    char key[100], text[20];
    for (int i = 0; i < n; i++) {
        snprintf(key, sizeof key, "%s%c/%03d", prefix, 'a' + i % 3, i);
        snprintf(text, sizeof text, "bytes %d", i);
        fake_set("b", key, text);
    }
}

/* All @n are below the prefix, each with its bytes, and nothing else of them is anywhere. */
static void
expect_filled(const char *bucket, const char *prefix, int n)
{
    char key[100], text[20];
    for (int i = 0; i < n; i++) {
        snprintf(key, sizeof key, "%s%c/%03d", prefix, 'a' + i % 3, i);
        snprintf(text, sizeof text, "bytes %d", i);
        if (!fake_has(bucket, key, text))
            fail_msg("%s is not there", key);
    }
}

static unsigned
count_below(const char *prefix)
{
    unsigned n = 0;
    char key[100];
    for (int i = 0; i < 2 * MANY; i++)
        for (char c = 'a'; c <= 'c'; c++) {
            snprintf(key, sizeof key, "%s%c/%03d", prefix, c, i);
            n += fake_find("b", key) != NULL;
        }
    return n;
}

static void
all_is_moved(void **state)
{
    (void)state;
    fill("d/", MANY);
    fake_set("b", "d/.emptyFolderPlaceholder", "");
    fake_set("b", "d/sub/empty/.emptyFolderPlaceholder", "");
    fake_set("b", "d-beside", "stays");
    fake_set("b", "new/.emptyFolderPlaceholder", ""); /* an empty directory may be there */
    fake_close(FAKE_MOVE);
    struct got *g = rename_dir("b", "d/", "b", "new/");
    fake_wait_at_gate(FAKE_MOVE, 4); /* one for each worker */
    fake_open(FAKE_MOVE);
    assert_int_equal(wait_for(g), 0);
    expect_filled("b", "new/", MANY);
    assert_int_equal(count_below("d/"), 0);
    assert_true(fake_has("b", "new/.emptyFolderPlaceholder", ""));
    assert_true(fake_has("b", "new/sub/empty/.emptyFolderPlaceholder", ""));
    assert_null(fake_find("b", "d/.emptyFolderPlaceholder"));
    assert_true(fake_has("b", "d-beside", "stays"));
    assert_int_equal(fake_count(FAKE_MOVE), MANY + 2);
    assert_int_equal(wait_for(rename_dir("b", "new/", "b", "new/")), 0); /* nothing to do */
    expect_filled("b", "new/", MANY);
}

static void
checked_before_anything_moves(void **state)
{
    (void)state;
    char longer[900];
    fill("d/", MANY);
    assert_int_equal(wait_for(rename_dir("b", "none/", "b", "new/")), -ENOENT);
    assert_int_equal(wait_for(rename_dir("b", "d/", "b", "d/a/")), -EINVAL);
    assert_int_equal(wait_for(rename_dir("b", "d/", "b", "d/new/")), -EINVAL);
    fake_set("b", "full/x", "x");
    assert_int_equal(wait_for(rename_dir("b", "d/", "b", "full/")), -ENOTEMPTY);
    memset(longer, 'x', sizeof longer);
    snprintf(longer + 895, 5, "/"); /* 896 bytes, and five follow */
    assert_int_equal(wait_for(rename_dir("b", "d/", "b", longer)), -ENAMETOOLONG);
    fake_fault(FAKE_LIST, 1, FAKE_REFUSED, -EKEYEXPIRED);
    assert_int_equal(wait_for(rename_dir("b", "d/", "b", "new/")), -EKEYEXPIRED);
    assert_int_equal(fake_count(FAKE_MOVE), 0);
    expect_filled("b", "d/", MANY);
}

static void
limits_of_another_bucket(void **state)
{
    (void)state;
    static const char *const texts[] = {"text/*", NULL};
    fake_bucket("o", 0);
    fill("d/", MANY);
    fake_set("b", "d/.emptyFolderPlaceholder", "");
    fake_set("b", "d/z", "a large one");
    struct sf_rename_args args = {
        .bucket = "b", .key = "d/", .to_bucket = "o", .to_key = "d/", .max_size = 10};
    struct got *g = got_new();
    sf_write_rename_dir(writer, &args, on_rename, g);
    assert_int_equal(wait_for(g), -EFBIG);
    args.max_size = 0;
    args.mimes = texts;
    sf_write_rename_dir(writer, &args, on_rename, g = got_new());
    assert_int_equal(wait_for(g), -EPERM);
    assert_int_equal(fake_count(FAKE_MOVE), 0);
    args.mimes = NULL;
    sf_write_rename_dir(writer, &args, on_rename, g = got_new());
    assert_int_equal(wait_for(g), 0);
    expect_filled("o", "d/", MANY);
    assert_true(fake_has("o", "d/.emptyFolderPlaceholder", ""));
    assert_int_equal(count_below("d/"), 0);
}

static void
lost_replies(void **state)
{
    (void)state;
    fill("d/", MANY);
    fake_fault(FAKE_MOVE, 5, FAKE_LOST_AFTER, -EIO);
    fake_fault(FAKE_MOVE, 5, FAKE_LOST_BEFORE, -EIO);
    assert_int_equal(wait_for(rename_dir("b", "d/", "b", "new/")), 0);
    expect_filled("b", "new/", MANY);
    assert_int_equal(count_below("d/"), 0);
}

static void
lose_row_and_look(void)
{
    fake_describe((struct fake_object *)fake_find("b", "new/f"), NULL, "no-cache", NULL);
    fake_fault(FAKE_INFO, 1, FAKE_REFUSED, -ECONNREFUSED);
}

/* What the database's function has put into the row: where nobody can look what a move has made of
 * it, or be told that there is such a function, it is written later. */
static void
what_a_move_may_have_lost_is_set_later(void **state)
{
    (void)state;
    static const char marked[] = "no-cache, supafs=\"1;m=100640;t=5;c=6\"";
    fake_function(true);
    for (int told = 0; told < 2; told++) {
        struct got *flushed = got_new();
        fake_remove("b", "new/f");
        fake_describe(fake_set("b", "d/f", "text"), NULL, marked, NULL);
        fake_meanwhile(FAKE_MOVE, lose_row_and_look);
        if (!told)
            fake_fault(FAKE_SET_ATTRS, 1, FAKE_REFUSED, -ECONNREFUSED);
        assert_int_equal(wait_for(rename_dir("b", "d/", "b", "new/")), 0);
        assert_string_equal(fake_find("b", "new/f")->cache_control, "no-cache");
        sf_write_attrs_flush(writer, NULL, NULL, on_write, flushed);
        assert_int_equal(wait_for(flushed), 0);
        assert_string_equal(fake_find("b", "new/f")->cache_control, marked);
    }
}

static void
put_more(void)
{
    fake_set("b", "d/late", "late");
}

static void
take_the_name(void)
{
    fake_set("b", "new/a/000", "theirs");
    fake_set("b", "new/.emptyFolderPlaceholder", "");
}

/* What others do meanwhile: a new object below the old name comes along, one below the new name
 * stays and ours is kept beside it, one that vanishes is no error. */
static void
others_meanwhile(void **state)
{
    (void)state;
    fill("d/", MANY);
    fake_set("b", "d/.emptyFolderPlaceholder", "");
    fake_close(FAKE_MOVE);
    struct got *g = rename_dir("b", "d/", "b", "new/");
    fake_wait_at_gate(FAKE_MOVE, 1);
    take_the_name();
    put_more();
    fake_remove("b", "d/c/044");
    fake_open(FAKE_MOVE);
    assert_int_equal(wait_for(g), 0);
    assert_true(fake_has("b", "new/late", "late"));
    assert_true(fake_has("b", "new/a/000", "theirs"));
    assert_int_equal(count_below("d/"), 0);
    assert_null(fake_find("b", "d/.emptyFolderPlaceholder"));
    assert_null(fake_find("b", "new/c/044"));
    assert_int_equal(count_below("new/"), MANY - 1);
    assert_non_null(strstr(fake_order(), "move b/d/a/000 b/new/a/000.conflict-"));
}

static void
refused_in_the_middle(void **state)
{
    (void)state;
    fill("d/", MANY);
    fake_fault(FAKE_MOVE, 1, FAKE_REFUSED, -EACCES);
    struct got *g = rename_dir("b", "d/", "b", "new/");
    assert_int_equal(wait_for(g), -EACCES);
    assert_int_equal(count_below("d/") + count_below("new/"), MANY); /* each once */
    assert_true(count_below("d/") > 0);
}

/* Changes below wait for it, before and after; it waits for those asked for earlier. */
static void
in_order_with_changes_below(void **state)
{
    (void)state;
    fake_close(FAKE_PUT);
    struct got *put = put_small("d/first", "1", false);
    fake_wait_at_gate(FAKE_PUT, 1);
    struct got *ren = rename_dir("b", "d/", "b", "new/");
    struct got *late = put_small("d/second", "2", false);
    usleep(20000);
    assert_false(has_come(ren) || has_come(late));
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(put), 0);
    assert_int_equal(wait_for(ren), 0);
    assert_int_equal(wait_for(late), 0);
    assert_true(fake_has("b", "new/first", "1") && fake_has("b", "d/second", "2"));
}

static void
one_worker_is_enough(void **state)
{
    (void)state;
    sf_writer_free(writer);
    writer_start(1, 0);
    fill("d/", MANY);
    fill("e/", MANY);
    struct got *g = rename_dir("b", "d/", "b", "new/"), *h = rename_dir("b", "e/", "b", "d/");
    assert_int_equal(wait_for(g), 0);
    assert_int_equal(wait_for(h), 0);
    expect_filled("b", "new/", MANY);
    expect_filled("b", "d/", MANY);
}

static void
expect_other(const char *key, enum sf_other_name want, const char *want_key)
{
    char *bucket = NULL, *other = NULL;
    assert_int_equal(sf_write_other_name(writer, "b", key, &bucket, &other), want);
    if (want != SF_NAME_STAYS) {
        assert_string_equal(bucket, "b");
        assert_string_equal(other, want_key);
    }
    free(bucket);
    free(other);
}

static void
see_progress(void *arg, const struct sf_rename_progress *p)
{
    unsigned *n = arg;
    ++*n;
    assert_string_equal(p->prefix, "d/");
    assert_string_equal(p->to_prefix, "new/");
    assert_int_equal(p->total, MANY);
    assert_true(p->done < MANY);
}

static void
both_names_while_it_runs(void **state)
{
    (void)state;
    unsigned n = 0;
    fill("d/", MANY);
    expect_other("d/x", SF_NAME_STAYS, NULL);
    fake_close(FAKE_MOVE);
    struct got *g = rename_dir("b", "d/", "b", "new/");
    fake_wait_at_gate(FAKE_MOVE, 1);
    expect_other("d/x", SF_NAME_GOES, "new/x");
    expect_other("d/", SF_NAME_GOES, "new/");
    expect_other("new/x/y/", SF_NAME_COMES, "d/x/y/");
    expect_other("d", SF_NAME_STAYS, NULL);
    expect_other("newer", SF_NAME_STAYS, NULL);
    sf_write_renames(writer, see_progress, &n);
    assert_int_equal(n, 1);
    fake_open(FAKE_MOVE);
    assert_int_equal(wait_for(g), 0);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    expect_other("d/x", SF_NAME_STAYS, NULL);
}

static void
count_record(void *arg, uint64_t seq, enum sf_record_kind kind)
{
    (void)seq;
    *(unsigned *)arg += kind == SF_RECORD_RENAME_DIR;
}

/* A start that found the record would move what was made under the old name since. */
static void
its_record_is_gone_before_the_answer(void **state)
{
    (void)state;
    unsigned n = 0;
    fake_set("b", "d/x", "x");
    assert_int_equal(wait_for(rename_dir("b", "d/", "b", "new/")), 0);
    sf_journal_numbers(writer->journal, count_record, &n);
    assert_int_equal(n, 0);
    fake_set("b", "e/x", "x");
    fake_fault(FAKE_MOVE, 1, FAKE_REFUSED, -EACCES);
    assert_int_equal(wait_for(rename_dir("b", "e/", "b", "f/")), -EACCES);
    sf_journal_numbers(writer->journal, count_record, &n);
    assert_int_equal(n, 0);
}

/* ---- attributes of the directory that it replaces -------------------------------------------- */

#define MARKER ".emptyFolderPlaceholder"

static const char *const its_mark = "no-cache, supafs=\"1;m=40750;t=4;c=4;x\"";
static const char *const its_xattrs = "{\"supafs\":{\"v\":1,\"x\":{\"user.a\":\"MQ==\"}}}";

/* Two directories with nothing in them; only the markers can tell them apart. */
static void
two_empty(void)
{
    fake_describe(fake_set("b", "d/" MARKER, ""), NULL, its_mark, its_xattrs);
    fake_describe(fake_set("b", "new/" MARKER, ""), NULL, "no-cache, supafs=\"1;m=40700;t=3;c=3\"",
                  NULL);
}

static void
on_settled(void *arg, const struct sf_err *err, const struct sf_version *now)
{
    (void)now;
    on_write(arg, err);
}

static void
on_kept_and_settled(void *arg, const struct sf_err *err)
{
    (void)arg;
    assert_null(err);
}

/* Of the one that is replaced. */
static struct got *
change_replaced(void)
{
    struct got *g = got_new();
    const struct sf_mark mark = {
        .valid = SF_MARK_MODE | SF_MARK_CTIME, .mode = 040711, .ctime_ns = INT64_C(9000000000)};
    const struct sf_attr_change ch = {
        .bucket = "b", .key = "new/" MARKER, .mark = &mark, .xattrs = "{\"user.a\":\"Mg==\"}"};
    sf_write_attrs(writer, &ch, on_kept_and_settled, on_settled, g);
    return g;
}

static unsigned
attrs_pending(void)
{
    struct sf_attrs_stats s;
    sf_attrs_get_stats(((struct sf_writer *)writer)->attrs, &s);
    return s.pending + s.local;
}

static void
expect_its_own(void)
{
    assert_null(fake_find("b", "d/" MARKER));
    assert_non_null(fake_find("b", "new/" MARKER));
    assert_string_equal(fake_find("b", "new/" MARKER)->cache_control, its_mark);
    assert_string_equal(fake_find("b", "new/" MARKER)->metadata, its_xattrs);
    assert_int_equal(attrs_pending(), 0);
}

/* Asked for before the rename or while it runs, waiting or queued behind it. */
static void
nothing_of_the_replaced_is_left(void **state)
{
    (void)state;
    for (int way = 0; way < 8; way++) {
        bool early = way & 1, queued = way & 2;
        fake_function(way & 4);
        two_empty();
        struct got *p = early ? change_replaced() : NULL, *f = NULL;
        fake_close(FAKE_MOVE);
        struct got *g = rename_dir("b", "d/", "b", "new/");
        fake_wait_at_gate(FAKE_MOVE, 1);
        p = p ? p : change_replaced();
        if (queued)
            sf_write_attrs_flush(writer, "b", "new/" MARKER, on_write, f = got_new());
        fake_open(FAKE_MOVE);
        assert_int_equal(wait_for(g), 0);
        assert_int_equal(wait_for(p), -ENOENT);
        if (f)
            assert_int_equal(wait_for(f), 0);
        expect_its_own();
    }
}

/* The daemon ended in the middle of it: before the marker in the way was removed, before ours was
 * moved, or behind that. */
static void
nothing_of_the_replaced_is_left_by_a_start(void **state)
{
    (void)state;
    enum { NOTED, REMOVED, MOVED };
    for (int at = NOTED; at <= MOVED; at++) {
        struct sf_record attrs = {.kind = SF_RECORD_ATTRS,
                                  .state = SF_RECORD_ATTRS_WANTED,
                                  .bucket = (char *)"b",
                                  .key = (char *)"new/" MARKER,
                                  .mark = (char *)"supafs=\"1;m=40711;c=9\"",
                                  .xattrs = (char *)"{\"user.a\":\"Mg==\"}"};
        struct sf_record dir = {.kind = SF_RECORD_RENAME_DIR,
                                .state = SF_RECORD_RENAME_DIR_MOVING,
                                .bucket = (char *)"b",
                                .key = (char *)"d/",
                                .to_bucket = (char *)"b",
                                .to_key = (char *)"new/"};
        struct sf_journal *j;
        two_empty();
        if (at != NOTED)
            fake_remove("b", "new/" MARKER);
        if (at == MOVED) {
            fake_remove("b", "d/" MARKER);
            fake_describe(fake_set("b", "new/" MARKER, ""), NULL, its_mark, its_xattrs);
        }
        sf_writer_free(writer);
        writer = NULL;
        assert_int_equal(sf_journal_open(state_dir, &j, NULL), 0);
        assert_int_equal(sf_journal_put(j, &attrs), 0);
        assert_int_equal(sf_journal_put(j, &dir), 0);
        sf_journal_close(j);
        writer_start(4, 0);
        assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
        expect_its_own();
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_is_moved),
        TEST(checked_before_anything_moves),
        TEST(limits_of_another_bucket),
        TEST(lost_replies),
        TEST(what_a_move_may_have_lost_is_set_later),
        TEST(others_meanwhile),
        TEST(refused_in_the_middle),
        TEST(in_order_with_changes_below),
        TEST(one_worker_is_enough),
        TEST(both_names_while_it_runs),
        TEST(its_record_is_gone_before_the_answer),
        TEST(nothing_of_the_replaced_is_left),
        TEST(nothing_of_the_replaced_is_left_by_a_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
