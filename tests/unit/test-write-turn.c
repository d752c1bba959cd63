/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "keep-fixture.h"

#include "write/op.h"

/* The moment in which an upload begins: what is done to a name without a request is done to what
 * was not sent, and to nothing else. */

#define PIECE (6 << 20)

/* Called by the next upload between the moment that its turn comes and its first request: it needs
 * an id there. */
static void (*_Atomic at_turn)(void);

int __wrap_sf_op_new(char out[SF_OP_LEN + 1]);
int __real_sf_op_new(char out[SF_OP_LEN + 1]);

int
__wrap_sf_op_new(char out[SF_OP_LEN + 1])
{
    void (*fn)(void) = atomic_exchange(&at_turn, NULL);
    if (fn)
        fn();
    return __real_sf_op_new(out);
}

static struct sf_content *it;
static struct keep *newer;
static bool did;
static struct got *answer;

/* The one worker is busy with something else until a gate is opened, so that what is kept waits
 * for it, and for @what. */
static struct keep *
keep_and_wait(void (*what)(void))
{
    sf_writer_free(writer);
    writer_start_with((struct sf_writer_opts){.workers = 1});
    fake_close(FAKE_DELETE);
    sf_write_delete(writer, "b", "other", on_write, got_new());
    fake_wait_at_gate(FAKE_DELETE, 1);
    it = content("k", "one");
    struct keep *k = keep(it, false);
    assert_int_equal(wait_for(k->kept), 0);
    usleep(20000); /* the end of the keep */
    at_turn = what;
    return k;
}

static void
rename_it(void)
{
    answer = got_new();
    did = sf_content_move_kept(it, "b", "to", false, NULL, on_write, answer);
    if (did && wait_for(answer) == 0)
        did = sf_content_retarget(it, "b", "to", false) == 0;
}

static void
renamed_as_it_begins(void **state)
{
    (void)state;
    struct keep *k = keep_and_wait(rename_it);
    fake_open(FAKE_DELETE);
    assert_int_equal(wait_for(k->settled), 0);
    assert_true(did);
    assert_true(fake_has("b", "to", "one"));
    assert_null(fake_find("b", "k"));
    assert_false(sf_content_dirty(it));
    sf_content_unref(it);
    expect_pending(0);
}

static void
remove_it(void)
{
    answer = got_new();
    did = sf_content_withdraw(it, on_write, answer);
}

static void
removed_as_it_begins(void **state)
{
    (void)state;
    struct keep *k = keep_and_wait(remove_it);
    fake_open(FAKE_DELETE);
    (void)wait_for(k->settled);
    assert_true(did);
    assert_int_equal(wait_for(answer), 0);
    sf_content_unref(it);
    expect_pending(0);
    assert_int_equal(fake_count(FAKE_PUT), 0);
}

static void
keep_more(void)
{
    set(it, "two");
    newer = keep(it, false); /* the journal has it a little later */
}

static char left_data[20], left_metadata[2000];

static void
end_here(void)
{
    const struct fake_object *o = fake_find("b", "k");
    (void)wait_for(newer->kept);
    crash_here();
    snprintf(left_data, sizeof left_data, "%.*s", (int)o->len, o->data);
    snprintf(left_metadata, sizeof left_metadata, "%s", o->metadata);
}

/* The record of the second state knows of the upload of the first, if there is one: a start does
 * not take that for somebody else's. */
static void
kept_again_as_it_begins(void **state)
{
    (void)state;
    (void)keep_and_wait(keep_more);
    fake_meanwhile(FAKE_PUT, end_here);
    fake_open(FAKE_DELETE);
    while (!fake_count(FAKE_PUT))
        usleep(1000);
    assert_int_equal(wait_for(newer->settled), 0);
    assert_true(fake_has("b", "k", "two"));
    sf_content_unref(it);
    fake_describe(fake_set("b", "k", left_data), NULL, NULL, left_metadata);
    after_the_crash(false);
    wait_until("k", "two");
    expect_pending(0);
    expect_no_conflict();
}

static void
never(void *arg, const struct sf_err *err)
{
    (void)arg, (void)err;
    fail();
}

/* Of a resumable upload the last piece makes the object, also when its answer does not come. */
static void
what_was_sent_in_pieces_was_sent(void **state)
{
    (void)state;
    sf_writer_free(writer);
    writer_start_with((struct sf_writer_opts){.workers = 1, .standard_limit = PIECE});
    it = content("k", "x");
    assert_int_equal(sf_content_truncate(it, PIECE + 5), 0);
    fake_fault(FAKE_TUS_SEND, 1, FAKE_LOST_AFTER, -EIO);
    fake_fault(FAKE_TUS_OFFSET, 1, FAKE_REFUSED, -ECONNREFUSED);
    struct keep *k = keep(it, false);
    assert_int_equal(wait_for(k->kept), 0);
    for (int i = 0; i < 1000 && !fake_count(FAKE_TUS_OFFSET); i++)
        usleep(5000);
    usleep(50000); /* it rests */
    assert_false(sf_content_withdraw(it, never, NULL));
    assert_false(sf_content_move_kept(it, "b", "to", false, NULL, never, NULL));
    assert_int_equal(wait_for(k->settled), 0);
    assert_int_equal(fake_find("b", "k")->len, PIECE + 5);
    sf_content_unref(it);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(renamed_as_it_begins),
        TEST(removed_as_it_begins),
        TEST(kept_again_as_it_begins),
        TEST(what_was_sent_in_pieces_was_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
