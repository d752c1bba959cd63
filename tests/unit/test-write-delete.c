/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write-fixture.h"

#include "write/delete.h"
#include "write/journal.h"
#include "write/writer.h"

/* Removals that are acknowledged first: kept before settled, many in one request, in order with
 * other changes of their keys; nothing acknowledged is forgotten. */

struct both {
    struct got *kept, *settled;
};

static void
on_kept(void *arg, const struct sf_err *err)
{
    struct both *b = arg;
    assert_false(has_come(b->settled));
    on_write(b->kept, err);
}

static void
on_settled(void *arg, const struct sf_err *err)
{
    struct both *b = arg;
    assert_true(has_come(b->kept));
    on_write(b->settled, err);
}

static struct both all[40];
static unsigned n_all;

static struct both *
behind(const char *key, const struct sf_version *known)
{
    struct both *b = &all[n_all++ % 40];
    b->kept = got_new();
    b->settled = got_new();
    sf_write_delete_behind(writer, "b", key, known, on_kept, on_settled, b);
    return b;
}

static void
many_in_one_request(void **state)
{
    (void)state;
    char key[20];
    struct both *b[20];
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "k%d", i);
        if (i != 7)
            fake_set("b", key, "x");
        b[i] = behind(key, NULL);
    }
    for (int i = 0; i < 20; i++) {
        assert_int_equal(wait_for(b[i]->kept), 0);
        assert_int_equal(wait_for(b[i]->settled), 0); /* 7: gone is gone */
        snprintf(key, sizeof key, "k%d", i);
        assert_null(fake_find("b", key));
    }
    assert_true(fake_count(FAKE_DELETE) <= 3);
}

static void
what_comes_after_it_waits_and_hurries_it(void **state)
{
    (void)state;
    fake_set("b", "k", "old");
    struct both *b = behind("k", NULL);
    assert_int_equal(wait_for(b->kept), 0);
    int64_t start = sf_clock_ms();
    assert_int_equal(wait_for(put_small("k", "new", false)), 0); /* free by then */
    assert_int_equal(wait_for(b->settled), 0);
    assert_true(fake_has("b", "k", "new"));
    assert_true(sf_clock_ms() - start < 400);
    assert_string_equal(fake_order(), "delete b/k;post b/k;");
}

static void
what_came_before_it_is_done_before(void **state)
{
    (void)state;
    fake_close(FAKE_PUT);
    struct got *put = put_small("k", "text", false);
    fake_wait_at_gate(FAKE_PUT, 1);
    struct both *b = behind("k", NULL);
    assert_int_equal(wait_for(b->kept), 0);
    usleep(50000);
    assert_false(has_come(b->settled));
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(put), 0);
    assert_int_equal(wait_for(b->settled), 0);
    assert_null(fake_find("b", "k"));
}

static void
refusals(void **state)
{
    (void)state;
    fake_set("b", "kept", "x");
    fake_set("b", "free", "x");
    fake_protect("kept");
    struct both *b = behind("kept", NULL), *c = behind("free", NULL);
    assert_int_equal(wait_for(b->settled), -EACCES);
    assert_int_equal(wait_for(c->settled), 0);
    fake_protect("");
    fake_fault(FAKE_DELETE, 1, FAKE_REFUSED, -EACCES);
    assert_int_equal(wait_for(behind("kept", NULL)->settled), -EACCES);
    assert_true(fake_has("b", "kept", "x"));
}

static void
write_again(void)
{
    fake_set("b", "k", "theirs");
}

static void
lost_replies(void **state)
{
    (void)state;
    struct sf_version known = {.id = "id-1", .size = 1};
    fake_set("b", "k", "x");
    snprintf(known.id, sizeof known.id, "%s", fake_find("b", "k")->id);
    fake_fault(FAKE_DELETE, 1, FAKE_LOST_AFTER, -EIO);
    assert_int_equal(wait_for(behind("k", &known)->settled), 0);
    assert_int_equal(fake_count(FAKE_DELETE), 1);

    fake_set("b", "k", "x"); /* done, and somebody else made another since: that stays */
    snprintf(known.id, sizeof known.id, "%s", fake_find("b", "k")->id);
    fake_fault(FAKE_DELETE, 1, FAKE_LOST_AFTER, -EIO);
    fake_meanwhile(FAKE_DELETE, write_again);
    assert_int_equal(wait_for(behind("k", &known)->settled), 0);
    assert_true(fake_has("b", "k", "theirs"));
    assert_int_equal(fake_count(FAKE_DELETE), 2);

    fake_remove("b", "k");
    fake_set("b", "k", "x"); /* not done: again, after a while */
    snprintf(known.id, sizeof known.id, "%s", fake_find("b", "k")->id);
    fake_fault(FAKE_DELETE, 1, FAKE_LOST_BEFORE, -EIO);
    assert_int_equal(wait_for(behind("k", &known)->settled), 0);
    assert_null(fake_find("b", "k"));
    assert_int_equal(fake_count(FAKE_DELETE), 4);
}

/* A request of ours that was given up arrives between the removal and the look after it. */
static void
an_upload_that_arrives_late(void **state)
{
    (void)state;
    fake_meanwhile(FAKE_DELETE, write_again);
    assert_int_equal(wait_for(behind("k", NULL)->settled), 0);
    assert_null(fake_find("b", "k"));
    assert_int_equal(fake_count(FAKE_DELETE), 2);
}

/* How long those wait whose requests have failed @n times in a row by now. */
static int64_t
held_until(unsigned n)
{
    struct sf_deletes_hold hold = {0};
    for (int i = 0; i < 10000 && hold.failures < n; i++) {
        usleep(1000);
        sf_deletes_hold(writer->deletes, &hold);
    }
    assert_int_equal(hold.failures, n);
    return hold.until_ms;
}

static void
failures_at_the_same_time_are_one(void **state)
{
    (void)state;
    struct both *b[4];
    char key[20];
    fake_close(FAKE_DELETE);
    fake_fault(FAKE_DELETE, 4, FAKE_REFUSED, -ECONNREFUSED);
    for (int i = 0; i < 4; i++) { /* each in a request of its own */
        snprintf(key, sizeof key, "k%d", i);
        fake_set("b", key, "x");
        b[i] = behind(key, NULL);
        fake_wait_at_gate(FAKE_DELETE, (unsigned)i + 1);
    }
    int64_t start = sf_clock_ms();
    fake_open(FAKE_DELETE);
    for (int i = 0; i < 4; i++)
        assert_int_equal(wait_for(b[i]->settled), 0);
    assert_true(sf_clock_ms() - start < 4000); /* a pause, not that of four in a row */
}

static void
what_succeeds_elsewhere_ends_a_long_pause(void **state)
{
    (void)state;
    fake_set("b", "k", "x");
    fake_fault(FAKE_DELETE, 2, FAKE_REFUSED, -ECONNREFUSED);
    struct both *b = behind("k", NULL);
    int64_t until = held_until(2);
    struct sf_content *c = content("other", "text");
    assert_int_equal(wait_for(commit(c, false)), 0);
    assert_int_equal(wait_for(b->settled), 0);
    assert_true(sf_clock_ms() < until);
    sf_content_unref(c);
}

static void
the_next_writer_does_what_is_left(void **state)
{
    (void)state;
    struct sf_version known[2] = {0};
    fake_set("b", "a", "x");
    fake_set("b", "k", "x");
    for (int i = 0; i < 2; i++) {
        known[i].size = 1;
        snprintf(known[i].id, sizeof known[i].id, "%s", fake_find("b", i ? "k" : "a")->id);
    }
    fake_fault(FAKE_DELETE, 1, FAKE_REFUSED, -ECONNREFUSED);
    struct both *b[2] = {behind("a", &known[0]), behind("k", &known[1])};
    assert_int_equal(wait_for(b[0]->kept), 0);
    assert_int_equal(wait_for(b[1]->kept), 0);
    usleep(100000);
    assert_false(has_come(b[0]->settled) || has_come(b[1]->settled));
    sf_writer_free(writer);
    assert_int_equal(wait_for(b[0]->settled), -ECANCELED);
    assert_int_equal(wait_for(b[1]->settled), -ECANCELED);
    fake_remove("b", "k");
    fake_set("b", "k", "theirs"); /* another object since */
    writer_start(4, 0);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    assert_null(fake_find("b", "a"));
    assert_true(fake_has("b", "k", "theirs"));
    unsigned asked = fake_count(FAKE_DELETE);
    sf_writer_free(writer);
    writer_start(4, 0);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    assert_int_equal(fake_count(FAKE_DELETE), asked);
}

static char earlier_names[100];

static void *
note_earlier(void *arg, const char *bucket, const char *key)
{
    size_t len = strlen(earlier_names);
    snprintf(earlier_names + len, sizeof earlier_names - len, "%s/%s,", bucket, key);
    return strcmp(key, "nobody") != 0 ? arg : NULL;
}

/* Who shows names hears of what an earlier process has acknowledged, also when it has ended. */
static void
earlier_ones_are_told(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        fake_set("b", "k", "x");
        fake_set("b", "nobody", "x");
        fake_fault(FAKE_DELETE, 1, FAKE_REFUSED, -ECONNREFUSED);
        struct both *b = behind("k", NULL);
        assert_int_equal(wait_for(b->kept), 0);
        assert_int_equal(wait_for(behind("nobody", NULL)->kept), 0);
        usleep(100000);
        sf_writer_free(writer);
        if (!late)
            fake_close(FAKE_DELETE);
        writer_start(4, 0);
        if (late)
            assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
        struct got *g = got_new();
        earlier_names[0] = '\0';
        sf_writer_earlier_removals(writer, note_earlier, g, on_write);
        assert_string_equal(earlier_names, "b/nobody,b/k,");
        sf_writer_earlier_removals(writer, note_earlier, g, on_write);
        assert_string_equal(earlier_names, "b/nobody,b/k,"); /* once */
        assert_true(has_come(g) == late);
        fake_open(FAKE_DELETE);
        assert_int_equal(wait_for(g), 0);
        assert_null(fake_find("b", "k"));
    }
}

static void
count_removals(void *arg, uint64_t seq, enum sf_record_kind kind)
{
    (void)seq;
    *(unsigned *)arg += kind == SF_RECORD_DELETE;
}

/* A start that found it would hide what has the name since. */
static void
what_comes_after_it_finds_no_record(void **state)
{
    (void)state;
    unsigned left = 0;
    fake_set("b", "k", "old");
    fake_close(FAKE_PUT);
    struct both *b = behind("k", NULL);
    assert_int_equal(wait_for(b->kept), 0);
    struct got *put = put_small("k", "new", false);
    fake_wait_at_gate(FAKE_PUT, 1);
    sf_journal_numbers(writer->journal, count_removals, &left);
    assert_int_equal(left, 0);
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(put), 0);
}

static void
rmdir_waits_for_them(void **state)
{
    (void)state;
    struct got *g = got_new();
    fake_set("b", "d/.emptyFolderPlaceholder", "");
    fake_set("b", "d/x", "x");
    fake_set("b", "d/y", "y");
    (void)behind("d/x", NULL);
    assert_int_equal(wait_for(behind("d/y", NULL)->kept), 0);
    sf_write_rmdir(writer, "b", "d/", on_write, g);
    assert_int_equal(wait_for(g), 0);
    assert_null(fake_find("b", "d/.emptyFolderPlaceholder"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(many_in_one_request),
        TEST(what_comes_after_it_waits_and_hurries_it),
        TEST(what_came_before_it_is_done_before),
        TEST(refusals),
        TEST(lost_replies),
        TEST(an_upload_that_arrives_late),
        TEST(failures_at_the_same_time_are_one),
        TEST(what_succeeds_elsewhere_ends_a_long_pause),
        TEST(the_next_writer_does_what_is_left),
        TEST(earlier_ones_are_told),
        TEST(what_comes_after_it_finds_no_record),
        TEST(rmdir_waits_for_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
