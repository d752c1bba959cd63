/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "keep-fixture.h"

#include <semaphore.h>

#include "base/cleanup.h"

/* What a start makes of the journal of a process that ended anywhere: sf_replay_start(). */

static char *one_left; /* metadata of the object that the first state made */

static void
note_one(void)
{
    one_left = strdup(fake_find("b", "k")->metadata);
}

/* As if nothing had come that was sent after the first state. */
static void
only_one_came(void)
{
    fake_describe(fake_set("b", "k", "0123xx6789"), NULL, NULL, one_left);
}

static void
find_content(void *arg, const struct sf_pending *p)
{
    struct sf_content **ret = arg;
    assert_null(*ret);
    *ret = sf_content_ref(p->content);
}

/* A state that is kept while the one before it is being sent lacks bytes of the version which that
 * one replaces: what came of it has them, too. So it is for one that follows after a start. */
static void
what_the_former_left_has_the_rest(void **state)
{
    (void)state;
    fake_set("b", "k", "0123456789");
    struct sf_content *c = content_of("k", "k");
    assert_int_equal(sf_content_write(c, "xx", 2, 4), 2);
    fake_close(FAKE_GET);
    fake_meanwhile(FAKE_PUT, note_one);
    struct keep *one = keep(c, true);
    fake_wait_at_gate(FAKE_GET, 1); /* its upload has begun */
    assert_int_equal(sf_content_write(c, "yy", 2, 6), 2);
    assert_int_equal(sf_content_truncate(c, 9), 0);
    struct keep *two = keep(c, true), *three;
    assert_int_equal(wait_for(two->kept), 0);
    crash_here();
    fake_open(FAKE_GET);
    assert_int_equal(wait_for(one->settled), 0);
    assert_int_equal(wait_for(two->settled), 0);
    assert_true(fake_has("b", "k", "0123xxyy8"));
    sf_content_unref(c);
    only_one_came();
    fake_close(FAKE_GET);
    after_the_crash(false);

    fake_wait_at_gate(FAKE_GET, 1);
    c = NULL;
    sf_writer_pending(writer, find_content, &c);
    assert_int_equal(sf_content_write(c, "zz", 2, 0), 2);
    three = keep(c, true);
    assert_int_equal(wait_for(three->kept), 0);
    crash_here();
    fake_open(FAKE_GET);
    assert_int_equal(wait_for(three->settled), 0);
    sf_content_unref(c);
    expect_pending(0);
    assert_true(fake_has("b", "k", "zz23xxyy8"));
    only_one_came();
    after_the_crash(false);
    expect_pending(0);
    assert_true(fake_has("b", "k", "zz23xxyy8"));
    expect_no_conflict();
    assert_int_equal(count_files("quarantine"), 0);
    free(one_left);
}

/* ---- renames -------------------------------------------------------------------------------- */

static bool late; /* the end comes when the rename's record is gone */

static void
ends_here(void)
{
    if (!late)
        crash_here();
}

static void
on_late_rename(void *arg, const struct sf_err *err, const struct sf_version *now)
{
    usleep(400000); /* drops are written behind */
    crash_here();
    on_rename(arg, err, now);
}

/* A second state waits for a name while the first is sent, and a rename takes the name. */
static void
begin_replaced(void)
{
    const struct sf_rename_args args = {
        .bucket = "b", .key = "s", .to_bucket = "b", .to_key = "d", .replace = true};
    fake_set("b", "s", "renamed");
    struct sf_content *c = content("d", "first");
    fake_close(FAKE_PUT);
    struct keep *one = keep(c, false);
    fake_wait_at_gate(FAKE_PUT, 1);
    set(c, "second");
    struct keep *two = keep(c, false);
    assert_int_equal(wait_for(two->kept), 0);
    struct got *renamed = got_new();
    fake_meanwhile(FAKE_DELETE, ends_here); /* the copy is there, the source is not */
    sf_write_rename(writer, &args, late ? on_late_rename : on_rename, renamed);
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(renamed), 0);
    (void)sf_content_abandon(c);
    (void)wait_for(one->settled);
    (void)wait_for(two->settled);
    sf_content_unref(c);
    assert_true(fake_has("b", "d", "renamed"));
    assert_null(fake_find("b", "s"));
}

static void
what_a_rename_replaced_is_not_sent(void **state)
{
    (void)state;
    for (late = false;; late = true) {
        begin_replaced();
        after_the_crash(false);
        expect_pending(0);
        assert_true(fake_has("b", "d", "renamed"));
        assert_null(fake_find("b", "s"));
        expect_no_conflict();
        assert_int_equal(count_files("quarantine"), 0);
        assert_int_equal(count_files("staging"), 0);
        if (late)
            break;
        fake_remove("b", "d");
    }
    late = false;
}

/* Others took the name after it, so what was kept here is all that tells of it. */
static void
what_others_replaced_is_sent(void **state)
{
    (void)state;
    begin_replaced();
    fake_set("b", "d", "somebody else's");
    after_the_crash(false);
    expect_pending(0);
    assert_true(fake_has("b", "d", "second"));
    assert_int_equal(count_files("quarantine"), 0);
}

/* ---- directories ---------------------------------------------------------------------------- */

/* What is kept below a directory whose rename has begun goes to the new name with the rest, also
 * when the object that it lacks bytes of is there already. */
static void
kept_below_a_rename(void **state)
{
    (void)state;
    const struct sf_rename_args args = {
        .bucket = "b", .key = "old/", .to_bucket = "b", .to_key = "new/"};
    fake_set("b", "old/a", "a");
    fake_set("b", "old/x", "0123456789");
    struct got *renamed = got_new();
    struct sf_content *x = content_of("old/x", "old/x"), *y = content("old/y", "y");
    assert_int_equal(sf_content_write(x, "xx", 2, 4), 2);
    fake_close(FAKE_MOVE);
    sf_write_rename_dir(writer, &args, on_rename, renamed);
    fake_wait_at_gate(FAKE_MOVE, 1);
    struct keep *kx = keep(x, true), *ky = keep(y, false);
    assert_int_equal(wait_for(kx->kept), 0);
    assert_int_equal(wait_for(ky->kept), 0);
    crash_here();
    fake_open(FAKE_MOVE);
    assert_int_equal(wait_for(renamed), 0);
    assert_int_equal(wait_for(kx->settled), 0);
    assert_int_equal(wait_for(ky->settled), 0);
    sf_content_unref(x);
    sf_content_unref(y);
    fake_remove("b", "old/x");
    fake_remove("b", "old/y");
    fake_remove("b", "new/a");
    fake_set("b", "old/a", "a"); /* only x was moved until then */
    fake_set("b", "new/x", "0123456789");
    after_the_crash(false);
    expect_pending(0);
    assert_true(fake_has("b", "new/a", "a"));
    assert_true(fake_has("b", "new/x", "0123xx6789"));
    assert_true(fake_has("b", "new/y", "y"));
    assert_null(fake_find("b", "old/x"));
    assert_null(fake_find("b", "old/y"));
    expect_no_conflict();
    assert_int_equal(count_files("quarantine"), 0);
}

/* The service has nothing below it, and the tree lets the rename succeed. */
static void
only_what_is_kept_is_renamed(void **state)
{
    (void)state;
    const struct sf_rename_args args = {
        .bucket = "b", .key = "old/", .to_bucket = "b", .to_key = "new/"};
    struct got *renamed = got_new();
    sf_writer_free(writer);
    writer_start_with((struct sf_writer_opts){.workers = 4, .retry_ms = 60000});
    struct sf_content *c = content("old/y", "y");
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -ECONNREFUSED);
    struct keep *k = keep(c, false);
    assert_int_equal(wait_for(k->kept), 0);
    char what[300] = "";
    for (int i = 0; i < 1000 && !strstr(what, "pending: "); i++, usleep(5000))
        sf_content_sync_state(c, what, sizeof what);
    sf_write_rename_dir(writer, &args, on_rename, renamed);
    assert_int_equal(wait_for(renamed), -ENOENT);
    assert_int_equal(sf_content_retarget(c, "b", "new/y", false), 0);
    crash_here();
    (void)sf_content_abandon(c);
    assert_int_equal(wait_for(k->settled), 0);
    sf_content_unref(c);
    after_the_crash(false);
    expect_pending(0);
    assert_true(fake_has("b", "new/y", "y"));
    assert_null(fake_find("b", "old/y"));
}

/* ---- removed -------------------------------------------------------------------------------- */

static sem_t in_journal, go_on;

/* Holds up the journal's thread. */
static void
on_kept_slowly(void *arg, const struct sf_err *err)
{
    sem_post(&in_journal);
    while (sem_wait(&go_on) < 0)
        ;
    on_kept(arg, err);
}

static void
on_settled_crash(void *arg, int rc)
{
    (void)rc;
    crash_here();
    on_write(arg, NULL);
}

/* Its record is about to reach the disk when the name goes. */
static void
removed_while_it_is_kept(void **state)
{
    (void)state;
    struct keep other = {got_new(), got_new()};
    struct sf_content *o = content("other", "o"), *c = content("k", "text");
    sem_init(&in_journal, 0, 0);
    sem_init(&go_on, 0, 0);
    fake_close(FAKE_PUT);
    sf_content_keep(o, &(struct sf_commit_args){.exists = false}, on_kept_slowly, on_settled,
                    &other);
    while (sem_wait(&in_journal) < 0)
        ;
    (void)keep(c, false);
    (void)sf_content_abandon(c);
    struct got *settled = got_new();
    sf_writer_settle(writer, on_settled_crash, settled);
    sem_post(&go_on);
    assert_int_equal(wait_for(settled), 0);
    fake_open(FAKE_PUT);
    sf_content_unref(o);
    sf_content_unref(c);
    after_the_crash(false);
    expect_pending(0);
    assert_true(fake_has("b", "other", "o"));
    assert_null(fake_find("b", "k"));
    assert_int_equal(count_files("quarantine"), 0);
    sem_destroy(&in_journal);
    sem_destroy(&go_on);
}

/* ---- changed while it is sent again --------------------------------------------------------- */

/* A daemon ends while a new file is sent, which has not come. The next one sends it, and holds that
 * at the gate while the name gets another file, goes, or is cut. */
static void
changed_while_it_is_sent_again(void **state)
{
    (void)state;
    enum { RENAME, REMOVE, CUT, WAYS };
    for (int way = 0; way < 2 * WAYS; way++) {
        bool asked = way >= WAYS; /* or before its first question is answered */
        struct sf_content *c = content("k", "text");
        fake_close(FAKE_PUT);
        struct keep *k = keep(c, false);
        assert_int_equal(wait_for(k->kept), 0);
        fake_wait_at_gate(FAKE_PUT, 1);
        crash_here();
        fake_open(FAKE_PUT);
        assert_int_equal(wait_for(k->settled), 0);
        sf_content_unref(c);
        fake_remove("b", "k");
        fake_set("b", "other", "other bytes");
        fake_close(asked ? FAKE_PUT : FAKE_INFO);
        after_the_crash(false);
        fake_wait_at_gate(asked ? FAKE_PUT : FAKE_INFO, 1);
        c = NULL;
        sf_writer_pending(writer, find_content, &c);
        assert_non_null(c);
        if (way % WAYS == CUT)
            assert_int_equal(sf_content_truncate(c, 2), 0);
        struct got *g = way % WAYS == RENAME   ? rename_to("other", "k", true)
                        : way % WAYS == REMOVE ? delete_key("k")
                                               : commit(c, false);
        fake_open(FAKE_INFO);
        fake_open(FAKE_PUT);
        assert_int_equal(wait_for(g), 0);
        if (way % WAYS != CUT)
            (void)sf_content_abandon(c);
        sf_content_unref(c);
        expect_pending(0);
        if (way % WAYS == REMOVE)
            assert_null(fake_find("b", "k"));
        else
            assert_true(fake_has("b", "k", way % WAYS == RENAME ? "other bytes" : "te"));
        expect_no_conflict();
        assert_int_equal(count_files("quarantine"), 0);
        fake_remove("b", "k");
        fake_remove("b", "other");
    }
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_the_former_left_has_the_rest), TEST(what_a_rename_replaced_is_not_sent),
        TEST(what_others_replaced_is_sent),      TEST(kept_below_a_rename),
        TEST(only_what_is_kept_is_renamed),      TEST(removed_while_it_is_kept),
        TEST(changed_while_it_is_sent_again)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
