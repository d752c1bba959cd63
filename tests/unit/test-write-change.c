/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write-fixture.h"

#include "observe/counter.h"
#include "write/mark.h"

/* Deletions, renames, directories and buckets, and what happens when their replies are lost. */

static void
deletions(void **state)
{
    (void)state;
    fake_set("b", "k", "x");
    assert_int_equal(wait_for(delete_key("k")), 0);
    assert_int_equal(wait_for(delete_key("k")), -ENOENT);
    fake_set("b", "k", "x");
    fake_fault(FAKE_DELETE, 1, FAKE_LOST_AFTER, -EIO);
    assert_int_equal(wait_for(delete_key("k")), 0);
    assert_int_equal(fake_count(FAKE_DELETE), 3);
    fake_set("b", "k", "x");
    fake_fault(FAKE_DELETE, 1, FAKE_LOST_BEFORE, -EIO);
    assert_int_equal(wait_for(delete_key("k")), 0);
    assert_int_equal(fake_count(FAKE_DELETE), 5);
    assert_null(fake_find("b", "k"));
    fake_set("b", "k", "x");
    fake_fault(FAKE_DELETE, 1, FAKE_REFUSED, -EACCES);
    assert_int_equal(wait_for(delete_key("k")), -EACCES);
    fake_protect("k"); /* a policy: the answer is as if there were nothing */
    assert_int_equal(wait_for(delete_key("k")), -EACCES);
    assert_true(fake_has("b", "k", "x"));
}

static void
small_objects(void **state)
{
    (void)state;
    struct got *g = put_small("link", "target", false);
    assert_int_equal(wait_for(g), 0);
    assert_int_equal(g->done.size, 6);
    assert_string_equal(fake_find("b", "link")->mime, "text/plain");
    assert_int_equal(wait_for(put_small("link", "other", false)), -EEXIST);
    assert_int_equal(wait_for(put_small("link", "other", true)), 0);
    assert_true(fake_has("b", "link", "other"));
    assert_int_equal(wait_for(put_small("empty", "", false)), 0);
    assert_true(fake_has("b", "empty", ""));
    fake_fault(FAKE_PUT, 1, FAKE_LOST_AFTER, -EIO);
    assert_int_equal(wait_for(put_small("lost", "text", false)), 0);
}

/* ---- renames -------------------------------------------------------------------------------- */

static void
moves(void **state)
{
    (void)state;
    fake_set("b", "a", "x");
    assert_int_equal(wait_for(rename_to("a", "c", false)), 0);
    assert_true(fake_has("b", "c", "x"));
    assert_int_equal(wait_for(rename_to("a", "c", false)), -ENOENT);
    fake_set("b", "a", "y");
    assert_int_equal(wait_for(rename_to("a", "c", false)), -EEXIST);
    assert_true(fake_has("b", "a", "y") && fake_has("b", "c", "x"));
    assert_int_equal(fake_count(FAKE_INFO), 4); /* before each, and after the one that moved */
    assert_int_equal(wait_for(rename_to("a", "a", true)), 0); /* nothing to do */
    assert_int_equal(fake_count(FAKE_COPY), 0);
}

static void
remove_d(void)
{
    fake_remove("b", "d");
}

static void
make_d(void)
{
    fake_set("b", "d", "another");
}

static void
break_info(void)
{
    fake_fault(FAKE_INFO, 1, FAKE_REFUSED, -ECONNREFUSED);
}

static void
write_target(void)
{
    fake_set("b", "t", "theirs");
}

static void
a_move_says_what_the_new_name_has(void **state)
{
    (void)state;
    fake_set("b", "a", "x");
    struct got *g = rename_to("a", "c", false);
    assert_int_equal(wait_for(g), 0);
    assert_string_equal(g->version.id, fake_find("b", "c")->id);
    assert_string_equal(g->version.etag, fake_find("b", "c")->etag);
    assert_int_equal(g->version.size, 1);

    uint64_t races = sf_counter_get(SF_C_RENAME_RACES);
    fake_meanwhile(FAKE_MOVE, write_target); /* after it was moved: theirs is what counts */
    g = rename_to("c", "t", false);
    assert_int_equal(wait_for(g), 0);
    assert_int_equal(g->version.size, 6);
    assert_int_equal(sf_counter_get(SF_C_RENAME_RACES), races + 1);

    fake_meanwhile(FAKE_MOVE, break_info); /* moved is moved, also when nobody can say more */
    g = rename_to("t", "u", false);
    assert_int_equal(wait_for(g), 0);
    assert_string_equal(g->version.id, "");
}

static void
a_move_whose_reply_is_lost(void **state)
{
    (void)state;
    fake_set("b", "a", "x");
    fake_fault(FAKE_MOVE, 1, FAKE_LOST_AFTER, -EIO);
    assert_int_equal(wait_for(rename_to("a", "c", false)), 0);
    assert_int_equal(fake_count(FAKE_MOVE), 1);
    fake_fault(FAKE_MOVE, 1, FAKE_LOST_BEFORE, -EIO); /* answered 500 and moved nothing */
    assert_int_equal(wait_for(rename_to("c", "d", false)), 0);
    assert_int_equal(fake_count(FAKE_MOVE), 3);
    assert_true(fake_has("b", "d", "x"));

    fake_set("b", "e", "theirs"); /* both names: nothing was moved, the target is somebody's */
    fake_fault(FAKE_MOVE, 1, FAKE_LOST_BEFORE, -EIO);
    assert_int_equal(wait_for(rename_to("d", "e", false)), -EEXIST);
    assert_true(fake_has("b", "d", "x") && fake_has("b", "e", "theirs"));

    fake_fault(FAKE_MOVE, 1, FAKE_LOST_BEFORE, -EIO);
    fake_meanwhile(FAKE_MOVE, remove_d);
    assert_int_equal(wait_for(rename_to("d", "f", false)), -ENOENT);

    fake_set("b", "d", "x"); /* moved, and somebody made the old name anew */
    fake_fault(FAKE_MOVE, 1, FAKE_LOST_AFTER, -EIO);
    fake_meanwhile(FAKE_MOVE, make_d);
    assert_int_equal(wait_for(rename_to("d", "f", false)), 0);
    assert_true(fake_has("b", "f", "x") && fake_has("b", "d", "another"));

    fake_fault(FAKE_MOVE, 1, FAKE_LOST_AFTER, -EIO);
    fake_meanwhile(FAKE_MOVE, break_info);
    struct got *g = rename_to("d", "g", false);
    assert_int_equal(wait_for(g), -EIO);
    assert_true(g->err.outcome_open);
}

static void
replacing(void **state)
{
    (void)state;
    for (int opaque = 0; opaque < 2; opaque++) {
        fake_opaque_etags(opaque);
        fake_describe(fake_set("b", "a", "new"), "text/x-new", NULL, NULL);
        fake_set("b", "c", "old");
        assert_int_equal(wait_for(rename_to("a", "c", true)), 0);
        assert_true(fake_has("b", "c", "new"));
        assert_string_equal(fake_find("b", "c")->mime, "text/x-new");
        assert_null(fake_find("b", "a"));
    }
    assert_int_equal(wait_for(rename_to("none", "c", true)), -ENOENT);
    assert_true(fake_has("b", "c", "new"));
    assert_int_equal(wait_for(rename_to("c", "free", true)), 0);
    assert_true(fake_has("b", "free", "new"));
}

static void
replacing_with_lost_replies(void **state)
{
    (void)state;
    for (int opaque = 0; opaque < 2; opaque++) {
        fake_opaque_etags(opaque);
        for (int op = 0; op < 4; op++) {
            fake_set("b", "a", "new");
            fake_set("b", "c", "old");
            fake_fault(op < 2 ? FAKE_COPY : FAKE_DELETE, 1,
                       op % 2 ? FAKE_LOST_AFTER : FAKE_LOST_BEFORE, -EIO);
            assert_int_equal(wait_for(rename_to("a", "c", true)), 0);
            assert_true(fake_has("b", "c", "new"));
            assert_null(fake_find("b", "a"));
        }
    }
}

static void
write_source(void)
{
    fake_set("b", "a", "newer");
}

static void
a_source_that_changes_meanwhile(void **state)
{
    (void)state;
    fake_set("b", "a", "new");
    fake_set("b", "c", "old");
    fake_meanwhile(FAKE_COPY, write_source); /* after the bytes were copied */
    assert_int_equal(wait_for(rename_to("a", "c", true)), 0);
    assert_int_equal(fake_count(FAKE_COPY), 2);
    assert_true(fake_has("b", "c", "newer")); /* somebody else's write is not lost */
    assert_null(fake_find("b", "a"));

    fake_set("b", "a", "new");
    fake_spoil_copy();
    assert_int_equal(wait_for(rename_to("a", "c", true)), -EIO);
    assert_true(fake_has("b", "a", "new")); /* what cannot be explained deletes nothing */
}

static void
write_too_late(void)
{
    fake_set("b", "a", "too late");
}

static void
look_then_write(void)
{
    fake_meanwhile(FAKE_INFO, write_too_late); /* the next look is the one before the deletion */
}

/* Between the last look and the deletion there is a moment that nothing can close. */
static void
a_source_written_at_the_last_moment(void **state)
{
    (void)state;
    uint64_t races = sf_counter_get(SF_C_RENAME_RACES);
    fake_set("b", "a", "new");
    fake_meanwhile(FAKE_COPY, look_then_write);
    assert_int_equal(wait_for(rename_to("a", "c", true)), 0);
    assert_true(fake_has("b", "c", "new"));
    assert_null(fake_find("b", "a"));
    assert_int_equal(sf_counter_get(SF_C_RENAME_RACES), races + 1);
}

static void
a_source_that_cannot_be_removed(void **state)
{
    (void)state;
    fake_set("b", "a", "new");
    fake_fault(FAKE_DELETE, 1, FAKE_REFUSED, -EACCES);
    struct got *g = rename_to("a", "c", true);
    assert_int_equal(wait_for(g), -EACCES);
    assert_non_null(strstr(g->err.msg, "could not be removed"));
    assert_true(fake_has("b", "a", "new") && fake_has("b", "c", "new"));
}

static void
across_buckets(void **state)
{
    (void)state;
    fake_bucket("other", 0);
    fake_set("b", "a", "long");
    fake_set("other", "a", "old");
    struct got *g = got_new();
    static const char *const texts[] = {"text/*", NULL};
    struct sf_rename_args args = {.bucket = "b", .key = "a", .to_bucket = "other", .to_key = "a"};
    sf_write_rename(writer, &args, on_rename, g);
    assert_int_equal(wait_for(g), -EEXIST);
    args.replace = true;
    args.max_size = 3;
    sf_write_rename(writer, &args, on_rename, g = got_new());
    assert_int_equal(wait_for(g), -EFBIG);
    args.max_size = 4;
    args.mimes = texts;
    sf_write_rename(writer, &args, on_rename, g = got_new());
    assert_int_equal(wait_for(g), -EPERM);
    assert_true(fake_has("b", "a", "long") && fake_has("other", "a", "old"));
    fake_describe((struct fake_object *)fake_find("b", "a"), "text/x-x", NULL, NULL);
    g = got_new();
    sf_write_rename(writer, &args, on_rename, g);
    assert_int_equal(wait_for(g), 0);
    assert_true(fake_has("other", "a", "long"));
    assert_null(fake_find("b", "a"));
}

/* ---- directories and buckets ---------------------------------------------------------------- */

static struct got *
rmdir_prefix(const char *prefix)
{
    struct got *g = got_new();
    sf_write_rmdir(writer, "b", prefix, on_write, g);
    return g;
}

static void
directories(void **state)
{
    (void)state;
    assert_int_equal(wait_for(rmdir_prefix("d/")), 0); /* vanished with its last object */
    fake_set("b", "d/.emptyFolderPlaceholder", "");
    fake_set("b", "d-not/x", "x");
    assert_int_equal(wait_for(rmdir_prefix("d/")), 0);
    assert_null(fake_find("b", "d/.emptyFolderPlaceholder"));
    fake_set("b", "d/.emptyFolderPlaceholder", "");
    fake_set("b", "d/x", "x");
    assert_int_equal(wait_for(rmdir_prefix("d/")), -ENOTEMPTY);
    fake_remove("b", "d/.emptyFolderPlaceholder");
    assert_int_equal(wait_for(rmdir_prefix("d/")), -ENOTEMPTY);
    fake_remove("b", "d/x");
    fake_set("b", "d/sub/.emptyFolderPlaceholder", ""); /* another directory's marker */
    assert_int_equal(wait_for(rmdir_prefix("d/")), -ENOTEMPTY);
    assert_true(fake_has("b", "d/sub/.emptyFolderPlaceholder", ""));
    fake_remove("b", "d/sub/.emptyFolderPlaceholder");
    fake_set("b", "d/.emptyFolderPlaceholder", "");
    fake_fault(FAKE_DELETE, 1, FAKE_LOST_AFTER, -EIO);
    assert_int_equal(wait_for(rmdir_prefix("d/")), 0);
    fake_set("b", "d/.emptyFolderPlaceholder", "");
    fake_fault(FAKE_LIST, 1, FAKE_REFUSED, -EKEYEXPIRED); /* a list that failed proves nothing */
    assert_int_equal(wait_for(rmdir_prefix("d/")), -EKEYEXPIRED);
    assert_true(fake_has("b", "d/.emptyFolderPlaceholder", ""));
}

static struct got *
bucket_create(const char *name)
{
    struct got *g = got_new();
    sf_write_bucket_create(writer, name, on_write, g);
    return g;
}

static struct got *
bucket_delete(const char *name)
{
    struct got *g = got_new();
    sf_write_bucket_delete(writer, name, on_write, g);
    return g;
}

static void
buckets(void **state)
{
    (void)state;
    assert_int_equal(wait_for(bucket_create("n")), 0);
    assert_true(fake_has_bucket("n"));
    assert_int_equal(wait_for(bucket_create("n")), -EEXIST);
    fake_set("n", "x", "x");
    assert_int_equal(wait_for(bucket_delete("n")), -ENOTEMPTY);
    fake_set("n", ".emptyFolderPlaceholder", "");
    assert_int_equal(wait_for(bucket_delete("n")), -ENOTEMPTY);
    assert_true(fake_has("n", ".emptyFolderPlaceholder", ""));
    fake_remove("n", "x");
    assert_int_equal(wait_for(bucket_delete("n")), 0); /* the marker at the top counts as empty */
    assert_false(fake_has_bucket("n"));
    assert_int_equal(wait_for(bucket_delete("n")), -ENOENT);

    fake_fault(FAKE_BUCKET_CREATE, 1, FAKE_LOST_AFTER, -EIO);
    assert_int_equal(wait_for(bucket_create("n")), 0);
    fake_fault(FAKE_BUCKET_DELETE, 1, FAKE_LOST_AFTER, -EIO);
    assert_int_equal(wait_for(bucket_delete("n")), 0);
    assert_false(fake_has_bucket("n"));
}

/* An upload whose reply nobody waited for any more is carried out between a removal and the look
 * that follows it. */
static void
arrive_late(void)
{
    fake_set("b", "late", "x");
}

static void
what_arrives_during_its_removal_is_removed(void **state)
{
    (void)state;
    fake_meanwhile(FAKE_DELETE, arrive_late);
    assert_int_equal(wait_for(delete_key("late")), 0);
    assert_null(fake_find("b", "late"));
    fake_set("b", "kept", "x");
    fake_protect("kept");
    assert_int_equal(wait_for(delete_key("kept")), -EACCES);
    fake_protect("");
}

/* ---- attributes that a move loses --------------------------------------------------------------
 */

static void
lose_row(void)
{
    fake_describe((struct fake_object *)fake_find("b", "z"), NULL, "no-cache", NULL);
}

/* A move loses what the database's function has put into the row. Where that cannot be mended at
 * once it is written later, also by the next process. */
static void
what_a_move_has_lost_is_set_later(void **state)
{
    (void)state;
    static const char marked[] = "no-cache, supafs=\"1;m=100640;t=5;c=6\"";
    fake_function(true);
    for (int crash = 0; crash < 2; crash++) {
        struct got *flushed = got_new();
        fake_remove("b", "z");
        fake_describe(fake_set("b", "a", "text"), NULL, marked, NULL);
        fake_meanwhile(FAKE_MOVE, lose_row);
        fake_fault(FAKE_SET_ATTRS, 1, FAKE_REFUSED, -EKEYEXPIRED);
        assert_int_equal(wait_for(rename_to("a", "z", false)), 0);
        assert_string_equal(fake_find("b", "z")->cache_control, "no-cache");
        if (crash) {
            sf_writer_free(writer);
            writer_start(4, 0);
        }
        sf_write_attrs_flush(writer, NULL, NULL, on_write, flushed);
        assert_int_equal(wait_for(flushed), 0);
        assert_string_equal(fake_find("b", "z")->cache_control, marked);
    }
}

/* Meanwhile somebody changes the mode, under the name that it had. */
static void
lose_row_and_change(void)
{
    static const struct sf_mark newer = {.valid = SF_MARK_MODE | SF_MARK_MTIME | SF_MARK_CTIME,
                                         .mode = 0100600,
                                         .mtime_ns = 5000000000,
                                         .ctime_ns = 7000000000};
    const struct sf_attr_change ch = {.bucket = "b", .key = "a", .mark = &newer};
    lose_row();
    sf_write_attrs(writer, &ch, on_write, NULL, got_new());
}

static void
what_a_move_has_lost_is_older_than_what_is_asked_for(void **state)
{
    (void)state;
    struct got *flushed = got_new();
    fake_function(true);
    fake_describe(fake_set("b", "a", "text"), NULL, "no-cache, supafs=\"1;m=100640;t=5;c=6\"",
                  NULL);
    fake_meanwhile(FAKE_MOVE, lose_row_and_change);
    fake_fault(FAKE_SET_ATTRS, 1, FAKE_REFUSED, -EKEYEXPIRED);
    assert_int_equal(wait_for(rename_to("a", "z", false)), 0);
    sf_write_attrs_flush(writer, NULL, NULL, on_write, flushed);
    assert_int_equal(wait_for(flushed), 0);
    assert_non_null(strstr(fake_find("b", "z")->cache_control, "m=100600"));
}

static void
lose_row_and_look(void)
{
    lose_row();
    break_info();
}

/* The same where nobody came to look: the reply to the move was lost, and the next request, too. */
static void
what_an_unsettled_move_has_lost_is_set_again(void **state)
{
    (void)state;
    static const char marked[] = "no-cache, supafs=\"1;m=100640;t=5;c=6\"";
    enum { SETTLED, FOUND_DONE, DONE_BY_THE_START, HOWS };
    fake_function(true);
    for (int how = 0; how < HOWS; how++) {
        bool done = how != DONE_BY_THE_START;
        fake_remove("b", "z");
        fake_describe(fake_set("b", "a", "text"), NULL, marked, NULL);
        fake_fault(FAKE_MOVE, 1, done ? FAKE_LOST_AFTER : FAKE_LOST_BEFORE, -EIO);
        fake_meanwhile(FAKE_MOVE, done ? lose_row_and_look : break_info);
        assert_int_equal(wait_for(rename_to("a", "z", false)), -EIO);
        if (!done)
            fake_meanwhile(FAKE_MOVE, lose_row);
        if (how != SETTLED) {
            sf_writer_free(writer);
            writer_start(4, 0);
        }
        assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 10000), 0);
        assert_string_equal(fake_find("b", "z")->cache_control, marked);
    }
}

/* It had to wait until somebody came to look, and has newer ones by then: these stay. */
static void
what_was_set_after_a_move_stays(void **state)
{
    (void)state;
    static const char newer[] = "no-cache, supafs=\"1;m=100600;t=5;c=7\"";
    fake_function(true);
    fake_describe(fake_set("b", "a", "text"), NULL, "no-cache, supafs=\"1;m=100640;t=5;c=6\"",
                  NULL);
    fake_fault(FAKE_MOVE, 1, FAKE_LOST_AFTER, -EIO);
    fake_meanwhile(FAKE_MOVE, lose_row_and_look);
    assert_int_equal(wait_for(rename_to("a", "z", false)), -EIO);
    sf_writer_free(writer);
    fake_describe((struct fake_object *)fake_find("b", "z"), NULL, newer, NULL);
    writer_start(4, 0);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 10000), 0);
    assert_string_equal(fake_find("b", "z")->cache_control, newer);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(deletions),
        TEST(what_arrives_during_its_removal_is_removed),
        TEST(small_objects),
        TEST(moves),
        TEST(a_move_says_what_the_new_name_has),
        TEST(a_move_whose_reply_is_lost),
        TEST(replacing),
        TEST(replacing_with_lost_replies),
        TEST(a_source_that_changes_meanwhile),
        TEST(a_source_written_at_the_last_moment),
        TEST(a_source_that_cannot_be_removed),
        TEST(across_buckets),
        TEST(directories),
        TEST(buckets),
        TEST(what_a_move_has_lost_is_set_later),
        TEST(what_a_move_has_lost_is_older_than_what_is_asked_for),
        TEST(what_an_unsettled_move_has_lost_is_set_again),
        TEST(what_was_set_after_a_move_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
