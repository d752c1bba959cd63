/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write-fixture.h"

#include "write/journal.h"
#include "write/mark.h"
#include "write/writer.h"

/* Changes of names that the last daemon began: the next one brings them to their end, once, and
 * what others did meanwhile is left alone. */

static void
restart(void)
{
    sf_writer_free(writer);
    writer_start(4, 0);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 10000), 0);
}

static int
count_record(void *arg, struct sf_record *r)
{
    (void)r;
    ++*(unsigned *)arg;
    return 0;
}

/* Records that a next start would find. */
static unsigned
records(void)
{
    struct sf_journal *j;
    unsigned n = 0;
    sf_writer_free(writer);
    assert_int_equal(sf_journal_open(state_dir, &j, NULL), 0);
    assert_int_equal(sf_journal_each(j, count_record, &n), 0);
    sf_journal_close(j);
    writer_start(4, 0);
    return n;
}

static void
break_infos(void)
{
    fake_fault(FAKE_INFO, 2, FAKE_REFUSED, -ECONNREFUSED);
}

static void
break_info(void)
{
    fake_fault(FAKE_INFO, 1, FAKE_REFUSED, -ECONNREFUSED);
}

static void
a_move_that_nobody_could_settle(void **state)
{
    (void)state;
    for (int after = 0; after < 2; after++) {
        fake_set("b", "a", "x");
        fake_fault(FAKE_MOVE, 1, after ? FAKE_LOST_AFTER : FAKE_LOST_BEFORE, -EIO);
        fake_meanwhile(FAKE_MOVE, break_info);
        assert_int_equal(wait_for(rename_to("a", "c", false)), -EIO);
        restart();
        assert_true(fake_has("b", "c", "x"));
        assert_null(fake_find("b", "a"));
        assert_int_equal(records(), 0);
        fake_remove("b", "c");
    }
    fake_set("b", "a", "x"); /* moved, and both names have other objects now */
    fake_fault(FAKE_MOVE, 1, FAKE_LOST_AFTER, -EIO);
    fake_meanwhile(FAKE_MOVE, break_info);
    assert_int_equal(wait_for(rename_to("a", "c", false)), -EIO);
    fake_remove("b", "c");
    fake_set("b", "a", "new source");
    fake_set("b", "c", "new target");
    restart();
    assert_true(fake_has("b", "a", "new source") && fake_has("b", "c", "new target"));
    assert_int_equal(records(), 0);
}

static unsigned
pending(void)
{
    struct sf_writer_stats st;
    sf_writer_stats(writer, &st);
    return st.pending;
}

/* The same without a restart: whoever asked was told that it failed, so what was not moved stays,
 * and nothing else happens under the two names before that is known. */
static void
what_nobody_could_settle_is_settled_later(void **state)
{
    (void)state;
    for (int after = 0; after < 2; after++) {
        fake_set("b", "a", "x");
        fake_fault(FAKE_MOVE, 1, after ? FAKE_LOST_AFTER : FAKE_LOST_BEFORE, -EIO);
        fake_meanwhile(FAKE_MOVE, break_info);
        assert_int_equal(wait_for(rename_to("a", "c", false)), -EIO);
        assert_int_equal(pending(), 1);
        unsigned moves = fake_count(FAKE_MOVE);
        struct got *g = got_new(), *h = got_new();
        sf_write_delete(writer, "b", "c", on_write, g);
        sf_write_delete(writer, "b", "a", on_write, h);
        assert_int_equal(wait_for(g), after ? 0 : -ENOENT);
        assert_int_equal(wait_for(h), after ? -ENOENT : 0);
        assert_int_equal(fake_count(FAKE_MOVE), moves);
        assert_int_equal(records(), 0);
    }
}

/* What is over the target may be replaced next by who was told that it is not there. */
static void
half_a_copy_keeps_its_source(void **state)
{
    (void)state;
    for (int after = 0; after < 2; after++) {
        fake_set("b", "a", "new");
        fake_set("b", "c", "old");
        fake_fault(FAKE_COPY, 1, after ? FAKE_LOST_AFTER : FAKE_LOST_BEFORE, -EIO);
        fake_meanwhile(FAKE_COPY, break_infos);
        assert_int_equal(wait_for(rename_to("a", "c", true)), -EIO);
        assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 10000), 0);
        assert_true(fake_has("b", "c", after ? "new" : "old"));
        assert_true(fake_has("b", "a", "new"));
        assert_int_equal(records(), 0);
    }
    fake_fault(FAKE_DELETE, 2, FAKE_REFUSED, -ECONNREFUSED);
    assert_int_equal(wait_for(rename_to("a", "c", true)), -ECONNREFUSED);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 10000), 0);
    assert_true(fake_has("b", "c", "new") && fake_has("b", "a", "new"));
    assert_int_equal(records(), 0);
}

/* What is known at once leaves no record. */
static void
what_is_settled_leaves_nothing(void **state)
{
    (void)state;
    fake_set("b", "a", "x");
    fake_set("b", "c", "y");
    assert_int_equal(wait_for(rename_to("a", "c", false)), -EEXIST);
    assert_int_equal(wait_for(rename_to("a", "d", false)), 0);
    assert_int_equal(wait_for(rename_to("d", "c", true)), 0);
    assert_int_equal(wait_for(rename_to("none", "c", true)), -ENOENT);
    assert_int_equal(records(), 0);
}

static void
a_copy_whose_source_could_not_be_removed(void **state)
{
    (void)state;
    for (int changed = 0; changed < 2; changed++) {
        fake_set("b", "a", "new");
        fake_set("b", "c", "old");
        fake_fault(FAKE_DELETE, 1, FAKE_REFUSED, -ECONNREFUSED);
        assert_int_equal(wait_for(rename_to("a", "c", true)), -ECONNREFUSED);
        assert_true(fake_has("b", "a", "new") && fake_has("b", "c", "new"));
        if (changed)
            fake_set("b", "a", "written since");
        restart();
        assert_true(fake_has("b", "c", "new"));
        if (changed)
            assert_true(fake_has("b", "a", "written since"));
        else
            assert_null(fake_find("b", "a"));
        assert_int_equal(records(), 0);
    }
}

static void
a_copy_that_nobody_could_settle(void **state)
{
    (void)state;
    for (int after = 0; after < 2; after++) {
        fake_set("b", "a", "new");
        fake_set("b", "c", "old");
        fake_fault(FAKE_COPY, 1, after ? FAKE_LOST_AFTER : FAKE_LOST_BEFORE, -EIO);
        fake_meanwhile(FAKE_COPY, break_infos);
        assert_int_equal(wait_for(rename_to("a", "c", true)), -EIO);
        unsigned copies = fake_count(FAKE_COPY);
        restart();
        assert_true(fake_has("b", "c", "new"));
        assert_null(fake_find("b", "a"));
        assert_int_equal(fake_count(FAKE_COPY) - copies, !after); /* known again by its op */
        assert_int_equal(records(), 0);
    }
}

/* A rename of d/ to new/ that failed in the middle. */
static void
some_moved(void)
{
    char key[30];
    struct got *g = got_new();
    const struct sf_rename_args args = {
        .bucket = "b", .key = "d/", .to_bucket = "b", .to_key = "new/"};
    for (int i = 0; i < 35; i++) {
        snprintf(key, sizeof key, "d/%02d", i);
        fake_set("b", key, key);
    }
    fake_meanwhile(FAKE_MOVE, break_info);
    fake_fault(FAKE_MOVE, 1, FAKE_LOST_AFTER, -EIO);
    sf_write_rename_dir(writer, &args, on_rename, g);
    assert_int_equal(wait_for(g), -EIO);
    assert_non_null(fake_find("b", "d/34"));
}

static void
all_moved(void)
{
    char key[30];
    for (int i = 0; i < 35; i++) {
        snprintf(key, sizeof key, "d/%02d", i);
        assert_null(fake_find("b", key));
        snprintf(key, sizeof key, "new/%02d", i);
        assert_non_null(fake_find("b", key));
    }
    assert_int_equal(records(), 0);
}

static void
half_a_directory(void **state)
{
    (void)state;
    some_moved();
    assert_int_equal(records(), 1);
    restart();
    all_moved();
}

/* The daemon ended behind the last object, or others have moved the rest. */
static void
a_directory_of_which_nothing_is_left(void **state)
{
    (void)state;
    char key[30];
    some_moved();
    for (int i = 0; i < 35; i++) {
        snprintf(key, sizeof key, "d/%02d", i);
        fake_remove("b", key);
    }
    restart();
    assert_int_equal(records(), 0);
}

/* Also without a restart. */
static void
half_a_directory_goes_on(void **state)
{
    (void)state;
    some_moved();
    assert_int_equal(pending(), 1);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 10000), 0);
    all_moved();
}

/* ---- content types --------------------------------------------------------------------------- */

static struct fake_object *
set_marked(const char *key, const char *mime, bool guessed)
{
    char cc[SF_MARK_SIZE + 20] = "no-cache, ";
    const struct sf_mark m = {.valid = SF_MARK_MODE, .mode = 0100600, .guessed = guessed};
    assert_true(sf_mark_format(&m, cc + strlen(cc), SF_MARK_SIZE) > 0);
    struct fake_object *o = fake_set("b", key, "bytes");
    fake_describe(o, mime, cc, "{\"theirs\":1}");
    return o;
}

static void
a_guessed_type_is_guessed_again(void **state)
{
    (void)state;
    set_marked(".a.jpg.tmp", "application/octet-stream", true);
    assert_int_equal(wait_for(rename_to(".a.jpg.tmp", "a.jpg", false)), 0);
    const struct fake_object *o = fake_find("b", "a.jpg");
    assert_string_equal(o->mime, "image/jpeg");
    assert_non_null(strstr(o->cache_control, "supafs=\"1;m=100600;y\""));
    assert_non_null(strstr(o->metadata, "\"theirs\":1"));
    assert_null(fake_find("b", ".a.jpg.tmp"));
    unsigned moves = fake_count(FAKE_MOVE);

    assert_int_equal(wait_for(rename_to("a.jpg", "b.jpeg", false)), 0); /* the same: moved */
    assert_int_equal(wait_for(rename_to("b.jpeg", "c", false)), 0);     /* says nothing: stays */
    assert_string_equal(fake_find("b", "c")->mime, "image/jpeg");
    set_marked("chosen", "text/x-mine", false); /* set by somebody: stays */
    assert_int_equal(wait_for(rename_to("chosen", "chosen.png", false)), 0);
    assert_string_equal(fake_find("b", "chosen.png")->mime, "text/x-mine");
    assert_int_equal(fake_count(FAKE_MOVE), moves + 3);

    set_marked("x.tmp", "application/octet-stream", true); /* over another, and not over it */
    fake_set("b", "x.html", "old");
    assert_int_equal(wait_for(rename_to("x.tmp", "x.html", false)), -EEXIST);
    assert_true(fake_has("b", "x.html", "old"));
    assert_int_equal(wait_for(rename_to("x.tmp", "x.html", true)), 0);
    assert_string_equal(fake_find("b", "x.html")->mime, "text/html");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_move_that_nobody_could_settle),
        TEST(what_is_settled_leaves_nothing),
        TEST(a_copy_whose_source_could_not_be_removed),
        TEST(a_copy_that_nobody_could_settle),
        TEST(what_nobody_could_settle_is_settled_later),
        TEST(half_a_copy_keeps_its_source),
        TEST(half_a_directory),
        TEST(a_directory_of_which_nothing_is_left),
        TEST(half_a_directory_goes_on),
        TEST(a_guessed_type_is_guessed_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
