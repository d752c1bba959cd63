/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "keep-fixture.h"

#include "base/cleanup.h"
#include "write/mark.h"
#include "write/meta.h"

/* Contents that are acknowledged when the journal has them: sf_content_keep(). */

#define MIB (1 << 20)

static void
restart_with(unsigned workers, uint64_t files, uint64_t bytes)
{
    sf_writer_free(writer);
    writer_start_with(
        (struct sf_writer_opts){.workers = workers, .behind_files = files, .behind_bytes = bytes});
}

/* ---- the course ----------------------------------------------------------------------------- */

static void
acknowledged_then_sent(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    struct sf_writer_stats before, st;
    sf_writer_stats(writer, &before);
    fake_close(FAKE_PUT);
    struct keep *k = keep(c, false);
    assert_int_equal(wait_for(k->kept), 0);
    sf_writer_stats(writer, &st);
    assert_int_equal(st.journal_syncs - before.journal_syncs, 1);
    assert_int_equal(st.behind_files, 1);
    assert_int_equal(st.behind_bytes, 4);
    assert_true(st.behind_since_ns > 0);
    assert_true(sf_content_kept(c));
    assert_true(sf_content_dirty(c));
    fake_wait_at_gate(FAKE_PUT, 1);
    sf_writer_stats(writer, &st); /* and no other before the request */
    assert_int_equal(st.journal_syncs - before.journal_syncs, 1);
    assert_false(has_come(k->settled));
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(k->settled), 0);
    assert_true(k->settled->done.uploaded);
    assert_false(k->settled->done.superseded);
    assert_true(fake_has("b", "k", "text"));
    assert_int_equal(fake_count(FAKE_PUT), 1);
    assert_int_equal(fake_count(FAKE_INFO), 0);
    assert_false(sf_content_dirty(c));
    sf_content_unref(c);
    expect_pending(0);
    sf_writer_stats(writer, &st);
    assert_int_equal(st.behind_files, 0);
    assert_int_equal(st.kept, 1);
    assert_int_equal(count_files("staging"), 0);
}

static void
what_is_kept_is_not_kept_again(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    struct sf_writer_stats st;
    fake_close(FAKE_PUT);
    struct keep *k = keep(c, false), *same = NULL;
    assert_int_equal(wait_for(k->kept), 0);
    for (int i = 0; i < 2; i++) { /* before its upload, and while it runs */
        same = keep(c, false);
        assert_int_equal(wait_for(same->settled), 0);
        assert_true(same->settled->done.superseded);
        fake_wait_at_gate(FAKE_PUT, 1);
    }
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(k->settled), 0);
    same = keep(c, false); /* clean */
    assert_int_equal(wait_for(same->settled), 0);
    sf_writer_stats(writer, &st);
    assert_int_equal(st.kept, 1);
    assert_int_equal(fake_count(FAKE_PUT), 1);
    sf_content_unref(c);
}

/* Content @c waits behind another one, which holds the only worker. */
static struct sf_content *
behind_another(struct got **other)
{
    restart_with(1, 0, 0);
    struct sf_content *o = content("other", "o");
    fake_close(FAKE_PUT);
    *other = commit(o, false);
    fake_wait_at_gate(FAKE_PUT, 1);
    sf_content_unref(o);
    return content("k", "one");
}

static void
the_later_one_goes_instead(void **state)
{
    (void)state;
    struct got *other;
    struct sf_writer_stats st;
    struct sf_content *c = behind_another(&other);
    struct keep *one = keep(c, false);
    assert_int_equal(wait_for(one->kept), 0);
    set(c, "two");
    struct keep *two = keep(c, false);
    assert_int_equal(wait_for(two->kept), 0);
    assert_int_equal(wait_for(one->settled), 0);
    assert_true(one->settled->done.superseded);
    sf_writer_stats(writer, &st);
    assert_int_equal(st.pending, 2); /* the other and this one */
    crash_here();
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(two->settled), 0);
    assert_int_equal(wait_for(other), 0);
    assert_true(fake_has("b", "k", "two"));
    assert_int_equal(fake_count(FAKE_PUT), 2);
    sf_content_unref(c);
    after_the_crash(false);
    expect_pending(0);
    assert_true(fake_has("b", "k", "two"));
    expect_no_conflict();
}

static void
one_that_runs_is_followed(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "one");
    fake_close(FAKE_PUT);
    struct keep *one = keep(c, false);
    fake_wait_at_gate(FAKE_PUT, 1);
    set(c, "two");
    struct keep *two = keep(c, false);
    assert_int_equal(wait_for(two->kept), 0); /* while the first is on its way */
    assert_false(has_come(one->settled));
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(one->settled), 0);
    assert_true(one->settled->done.uploaded);
    assert_int_equal(wait_for(two->settled), 0);
    assert_true(fake_has("b", "k", "two"));
    sf_content_unref(c);
    expect_pending(0);
    assert_int_equal(count_files("staging"), 0);
    expect_no_conflict();
}

/* Both were sent, and neither drop reached the disk: no start takes the later one for somebody
 * else's. */
static void
the_earlier_one_does_not_come_back(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "one");
    fake_close(FAKE_PUT);
    struct keep *one = keep(c, false);
    fake_wait_at_gate(FAKE_PUT, 1);
    set(c, "two");
    struct keep *two = keep(c, false);
    assert_int_equal(wait_for(two->kept), 0);
    crash_here();
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(one->settled), 0);
    assert_int_equal(wait_for(two->settled), 0);
    sf_content_unref(c);
    after_the_crash(false);
    expect_pending(0);
    assert_true(fake_has("b", "k", "two"));
    expect_no_conflict();
    assert_int_equal(count_files("staging"), 0);
    assert_int_equal(count_files("quarantine"), 0);
}

/* The version that bytes are missing of has gone by our own upload. */
static void
sent_before_what_it_lacks_was_gone(void **state)
{
    (void)state;
    fake_set("b", "k", "0123456789");
    struct sf_content *c = content_of("k", "k");
    assert_int_equal(sf_content_write(c, "xx", 2, 4), 2);
    fake_close(FAKE_PUT);
    struct keep *k = keep(c, true);
    assert_int_equal(wait_for(k->kept), 0);
    crash_here();
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(k->settled), 0);
    assert_true(fake_has("b", "k", "0123xx6789"));
    sf_content_unref(c);
    after_the_crash(false);
    expect_pending(0);
    assert_true(fake_has("b", "k", "0123xx6789"));
    expect_no_conflict();
    assert_int_equal(count_files("quarantine"), 0);
}

static mode_t
stored_mode(const char *key)
{
    struct sf_mark m = {0};
    assert_int_equal(sf_mark_parse(fake_find("b", key)->cache_control, &m), 1);
    return m.mode;
}

static void
attrs_settled(void *arg, const struct sf_err *err, const struct sf_version *now)
{
    (void)arg, (void)err, (void)now;
}

static void
attrs_kept(void *arg, const struct sf_err *err)
{
    on_write(arg, err);
}

/* Set while the bytes were on their way: the upload that a start finds done did not have them. */
static void
attributes_set_meanwhile_last(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "one");
    struct sf_mark mark = {.valid = SF_MARK_MODE | SF_MARK_MTIME | SF_MARK_CTIME | SF_MARK_INO,
                           .mode = 0100644,
                           .mtime_ns = 5000000000,
                           .ctime_ns = 6000000000,
                           .ino = 0xabc};
    char text[SF_MARK_SIZE];
    assert_true(sf_mark_format(&mark, text, sizeof text) > 0);
    fake_close(FAKE_PUT);
    struct keep *k = keep_with(c, &(struct sf_commit_args){.mark = text});
    fake_wait_at_gate(FAKE_PUT, 1);
    mark.mode = 0100600;
    mark.ctime_ns++;
    struct got *kept = got_new();
    const struct sf_attr_change ch = {.bucket = "b", .key = "k", .mark = &mark};
    sf_write_attrs(writer, &ch, attrs_kept, attrs_settled, kept);
    assert_int_equal(wait_for(kept), 0);
    crash_here();
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(k->settled), 0);
    sf_content_unref(c);
    char was[256];
    snprintf(was, sizeof was, "%s", fake_find("b", "k")->cache_control);
    assert_int_equal(stored_mode("k"), 0100644); /* the change waits a second */
    sf_writer_free(sf_steal(writer));            /* which sends it */
    fake_describe((struct fake_object *)fake_find("b", "k"), NULL, was, NULL);
    after_the_crash(false);
    expect_pending(0);
    assert_int_equal(stored_mode("k"), 0100600);
}

/* What was closed is what others see, not what is written since. */
static void
what_was_kept_is_sent(void **state)
{
    (void)state;
    struct got *other;
    struct sf_content *c = behind_another(&other);
    struct keep *k = keep(c, false);
    assert_int_equal(wait_for(k->kept), 0);
    set(c, "half");
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(k->settled), 0);
    assert_true(k->settled->done.still_dirty);
    assert_true(fake_has("b", "k", "one"));
    char buf[8] = "";
    assert_int_equal(read_local(c, buf, sizeof buf, 0), 4);
    assert_string_equal(buf, "half");
    assert_int_equal(wait_for(commit(c, true)), 0);
    assert_true(fake_has("b", "k", "half"));
    assert_int_equal(wait_for(other), 0);
    sf_content_unref(c);
}

static void
a_commit_wants_all(void **state)
{
    (void)state;
    struct got *other;
    struct sf_content *c = behind_another(&other);
    struct keep *k = keep(c, false);
    assert_int_equal(wait_for(k->kept), 0);
    set(c, "newer");
    struct got *g = commit(c, false);
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(g), 0);
    assert_true(fake_has("b", "k", "newer"));
    assert_int_equal(wait_for(k->settled), 0);
    assert_int_equal(fake_count(FAKE_PUT), 2);
    assert_int_equal(wait_for(other), 0);
    sf_content_unref(c);
    expect_pending(0);
    assert_int_equal(count_files("staging"), 0);
}

/* ---- after the end of the process ----------------------------------------------------------- */

static void
the_record_has_the_bytes(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text"), *empty = content("e", NULL);
    sf_content_mark_dirty(empty);
    fake_close(FAKE_PUT);
    fake_fault(FAKE_PUT, 2, FAKE_REFUSED, -EACCES);
    struct keep *k = keep(c, false), *e = keep(empty, false);
    assert_int_equal(wait_for(k->kept), 0);
    assert_int_equal(wait_for(e->kept), 0);
    crash_here();
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(k->settled), -EACCES);
    assert_int_equal(wait_for(e->settled), -EACCES);
    sf_content_unref(c);
    sf_content_unref(empty);
    after_the_crash(true);
    wait_until("k", "text");
    wait_until("e", "");
    expect_pending(0);
    assert_int_equal(count_files("staging"), 0);
    assert_int_equal(count_files("quarantine"), 0);
}

static void
of_more_the_file_has_them(void **state)
{
    (void)state;
    sf_autofree char *data = malloc(MIB + 1);
    memset(data, 'x', MIB);
    data[MIB] = '\0';
    struct sf_content *c = content("k", data);
    fake_close(FAKE_PUT);
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -EACCES);
    struct keep *k = keep(c, false);
    assert_int_equal(wait_for(k->kept), 0);
    crash_here();
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(k->settled), -EACCES);
    sf_content_unref(c);
    after_the_crash(false);
    wait_until("k", data);
    expect_pending(0);
}

/* The upload was done, and nobody knows: it is asked for, and not sent again. */
static void
what_arrived_is_not_sent_again(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    fake_close(FAKE_PUT);
    struct keep *k = keep(c, false);
    assert_int_equal(wait_for(k->kept), 0);
    crash_here();
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(k->settled), 0);
    sf_content_unref(c);
    after_the_crash(true);
    expect_pending(0);
    assert_int_equal(fake_count(FAKE_PUT), 1);
    expect_no_conflict();
}

static void
then_the_service_is_away(void)
{
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -ECONNREFUSED);
}

/* The first one arrived and its record went, then the process ended: the second knows the first. */
static void
the_follower_knows_what_went_before(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "one");
    fake_close(FAKE_PUT);
    fake_meanwhile(FAKE_PUT, then_the_service_is_away);
    struct keep *one = keep(c, false);
    fake_wait_at_gate(FAKE_PUT, 1);
    set(c, "two, longer");
    struct keep *two = keep(c, false);
    assert_int_equal(wait_for(two->kept), 0);
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(one->settled), 0);
    usleep(300000); /* its record is dropped, and the second one waits to be tried again */
    crash_here();
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -EACCES);
    assert_int_equal(wait_for(two->settled), -EACCES);
    assert_true(fake_has("b", "k", "one"));
    sf_content_unref(c);
    after_the_crash(true);
    wait_until("k", "two, longer");
    expect_pending(0);
    expect_no_conflict();
}

/* ---- what does not work --------------------------------------------------------------------- */

static void
a_failure_that_may_pass(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    fake_fault(FAKE_PUT, 2, FAKE_REFUSED, -ECONNREFUSED);
    struct keep *k = keep(c, false);
    assert_int_equal(wait_for(k->kept), 0);
    assert_int_equal(wait_for(k->settled), 0); /* after a second or two */
    assert_true(fake_has("b", "k", "text"));
    assert_int_equal(fake_count(FAKE_INFO), 1); /* is it there again? Nothing had reached it */
    sf_content_unref(c);
    expect_pending(0);
    assert_int_equal(count_files("staging"), 0);
}

static void
a_refusal(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    struct sf_writer_stats st;
    struct sf_err why = {.code = -EACCES};
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -EACCES);
    struct keep *k = keep(c, false);
    assert_int_equal(wait_for(k->kept), 0);
    assert_int_equal(wait_for(k->settled), -EACCES);
    assert_false(sf_content_kept(c));
    assert_int_equal(sf_content_quarantine(c, &why, NULL), 0);
    sf_content_unref(c);
    expect_pending(0);
    sf_writer_stats(writer, &st);
    assert_int_equal(st.behind_files, 0);
    assert_int_equal(count_files("quarantine"), 2);
    assert_int_equal(count_files("staging"), 0);
}

static void
nothing_of_what_is_given_up(void **state)
{
    (void)state;
    struct got *other;
    struct sf_content *c = behind_another(&other);
    struct keep *k = keep(c, false);
    assert_int_equal(wait_for(k->kept), 0);
    assert_false(sf_content_abandon(c));
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(k->settled), 0);
    assert_int_equal(wait_for(other), 0);
    sf_content_unref(c);
    expect_pending(0);
    assert_int_equal(fake_count(FAKE_PUT), 1);
    assert_int_equal(count_files("staging"), 0);
}

static void
another_name(void **state)
{
    (void)state;
    struct got *other, *moved = got_new();
    struct sf_content *c = behind_another(&other), *over = content("to", "old");
    assert_false(sf_content_move_kept(c, "b", "to", false, NULL, on_write, moved));
    struct keep *k = keep(c, false), *o = keep(over, false);
    assert_int_equal(wait_for(k->kept), 0);
    assert_int_equal(wait_for(o->kept), 0);
    usleep(20000); /* the end of the keep */
    assert_true(sf_content_move_kept(c, "b", "to", true, over, on_write, moved));
    assert_int_equal(wait_for(moved), 0);
    assert_int_equal(sf_content_retarget(c, "b", "to", true), 0);
    sf_content_abandon(over);
    crash_here();
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(k->settled), 0);
    assert_int_equal(wait_for(o->settled), 0);
    assert_int_equal(wait_for(other), 0);
    assert_true(fake_has("b", "to", "one"));
    assert_null(fake_find("b", "k"));
    sf_content_unref(c);
    sf_content_unref(over);
    fake_remove("b", "to");
    after_the_crash(true);
    wait_until("to", "one");
    expect_pending(0);
    assert_null(fake_find("b", "k"));
    expect_no_conflict();
}

static void
no_name_any_more(void **state)
{
    (void)state;
    struct got *other, *gone = got_new();
    struct sf_content *c = behind_another(&other);
    struct keep *k = keep(c, false);
    assert_int_equal(wait_for(k->kept), 0);
    usleep(20000);
    assert_true(sf_content_withdraw(c, on_write, gone));
    assert_int_equal(wait_for(gone), 0);
    crash_here();
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(k->settled), 0);
    assert_int_equal(wait_for(other), 0);
    sf_content_unref(c);
    after_the_crash(false);
    expect_pending(0);
    assert_null(fake_find("b", "k"));
}

/* ---- bounds --------------------------------------------------------------------------------- */

static void
beyond_the_bounds_it_waits(void **state)
{
    (void)state;
    struct sf_writer_stats st;
    restart_with(4, 2, 100);
    struct sf_content *c[4];
    struct keep *k[4];
    fake_close(FAKE_PUT);
    for (int i = 0; i < 4; i++) {
        char key[4] = {'k', (char)('0' + i)};
        c[i] = content(key, "text");
        k[i] = keep(c[i], false);
        if (i < 2)
            assert_int_equal(wait_for(k[i]->kept), 0);
    }
    usleep(50000);
    assert_false(has_come(k[2]->kept) || has_come(k[3]->kept));
    sf_writer_stats(writer, &st);
    assert_int_equal(st.behind_files, 2);
    assert_int_equal(st.behind_waiting, 2);
    set(c[0], "less"); /* who has a place need not wait */
    struct keep *again = keep(c[0], false);
    assert_int_equal(wait_for(again->kept), 0);
    assert_false(has_come(k[2]->kept));
    fake_open(FAKE_PUT);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(wait_for(k[i]->kept), 0);
        assert_int_equal(wait_for(k[i]->settled), 0);
    }
    assert_int_equal(wait_for(again->settled), 0);
    for (int i = 0; i < 4; i++)
        sf_content_unref(c[i]);
    expect_pending(0);
    sf_writer_stats(writer, &st);
    assert_int_equal(st.behind_files, 0);
    assert_int_equal(st.behind_bytes, 0);
    assert_int_equal(st.behind_waiting, 0);
}

static void
one_that_is_larger_goes_alone(void **state)
{
    (void)state;
    restart_with(4, 0, 10);
    struct sf_content *c = content("k", "more than ten bytes"), *d = content("l", "few");
    fake_close(FAKE_PUT);
    struct keep *k = keep(c, false);
    assert_int_equal(wait_for(k->kept), 0);
    struct keep *l = keep(d, false);
    usleep(30000);
    assert_false(has_come(l->kept));
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(l->settled), 0);
    assert_int_equal(wait_for(k->settled), 0);
    sf_content_unref(c);
    sf_content_unref(d);
}

/* @age_ms: of what waits. Nothing is tried again unless somebody asks for it, or a success does. */
static void
restart_with_age(int64_t age_ms)
{
    sf_writer_free(writer);
    writer_start_with((struct sf_writer_opts){
        .workers = 4, .retry_ms = 60000, .behind_files = 100, .behind_age_ms = age_ms});
}

static struct sf_writer_stats
stats(void)
{
    struct sf_writer_stats st;
    sf_writer_stats(writer, &st);
    return st;
}

static int
count_resting(void *arg, const struct sf_pending_row *r)
{
    *(unsigned *)arg += r->next_ms >= 0;
    return 0;
}

static int
take_first(void *arg, const struct sf_pending_row *r)
{
    *(uint64_t *)arg = r->seq;
    return 1;
}

static uint64_t
first_pending(void)
{
    uint64_t seq = 0;
    assert_int_equal(sf_writer_each_pending(writer, take_first, &seq), 1);
    return seq;
}

/* So many have failed, and wait to be tried again. */
static void
expect_resting(unsigned n)
{
    unsigned rest = 0;
    for (int i = 0; i < 1000 && rest != n; i++, usleep(5000)) {
        rest = 0;
        assert_int_equal(sf_writer_each_pending(writer, count_resting, &rest), 0);
    }
    assert_int_equal(rest, n);
}

static void
what_is_too_old_holds_up_others(void **state)
{
    (void)state;
    restart_with_age(50);
    fake_close(FAKE_PUT);
    struct sf_content *c = content("k", "text"), *d = content("l", "text");
    struct keep *k = keep(c, false);
    assert_int_equal(wait_for(k->kept), 0);
    fake_wait_at_gate(FAKE_PUT, 1);
    usleep(60000);
    set(c, "new"); /* its own age is not in its way */
    struct keep *again = keep(c, false);
    assert_int_equal(wait_for(again->kept), 0);
    struct keep *l = keep(d, false);
    usleep(30000);
    assert_false(has_come(l->kept));
    assert_int_equal(stats().behind_waiting, 1);
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(l->settled), 0);
    assert_int_equal(wait_for(again->settled), 0);
    assert_int_equal(wait_for(k->settled), 0);
    sf_content_unref(c);
    sf_content_unref(d);
}

/* While nothing is stored one may see whether anything can be: all else waits. */
static void
one_goes_by_while_nothing_is_stored(void **state)
{
    (void)state;
    struct sf_content *c[4];
    struct keep *k[4];
    restart_with_age(50);
    for (int i = 0; i < 4; i++)
        c[i] = content((char[]){'k', (char)('0' + i), 0}, "text");
    fake_fault(FAKE_PUT, 2, FAKE_REFUSED, -ECONNREFUSED);
    k[0] = keep(c[0], false);
    assert_int_equal(wait_for(k[0]->kept), 0);
    expect_resting(1);
    usleep(60000);
    k[1] = keep(c[1], false);
    assert_int_equal(wait_for(k[1]->kept), 0);
    expect_resting(2);
    for (int i = 2; i < 4; i++)
        k[i] = keep(c[i], false);
    usleep(30000);
    assert_false(has_come(k[2]->kept) || has_come(k[3]->kept));
    assert_int_equal(stats().behind_waiting, 2);
    assert_int_equal(sf_writer_pending_retry(writer, 0, NULL), 2);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(wait_for(k[i]->kept), 0);
        assert_int_equal(wait_for(k[i]->settled), 0);
        sf_content_unref(c[i]);
    }
    expect_pending(0);
}

static void
one_that_cannot_be_sent_holds_up_nobody(void **state)
{
    (void)state;
    restart_with_age(50);
    fake_fail_key("stuck", -EIO);
    struct sf_content *c = content("stuck", "text");
    struct keep *k = keep(c, false), *l;
    assert_int_equal(wait_for(k->kept), 0);
    expect_resting(1);
    usleep(60000);
    for (int i = 0; i < 10; i++) { /* each finds the way */
        struct sf_content *d = content((char[]){'k', (char)('0' + i), 0}, "text");
        l = keep(d, false);
        assert_int_equal(wait_for(l->kept), 0);
        assert_int_equal(wait_for(l->settled), 0);
        (void)sf_writer_pending_retry(writer, 0, NULL);
        expect_resting(1);
        sf_content_unref(d);
    }
    expect_pending(1);
    struct sf_writer_stats st = stats();
    assert_int_equal(st.behind_stuck, 1);
    assert_int_equal(st.behind_files, 0);
    assert_int_equal(st.behind_bytes, 0);
    assert_int_equal(st.behind_since_ns, 0);
    set(c, "more text"); /* nor does it hold up itself */
    struct keep *again = keep(c, false);
    assert_int_equal(wait_for(again->kept), 0);
    assert_int_equal(stats().behind_bytes, 0);
    fake_fail_key("", 0);
    (void)sf_writer_pending_retry(writer, 0, NULL);
    assert_int_equal(wait_for(again->settled), 0);
    assert_int_equal(wait_for(k->settled), 0);
    assert_true(fake_has("b", "stuck", "more text"));
    sf_content_unref(c);
    expect_pending(0);
    assert_int_equal(stats().behind_stuck, 0);
}

/* While the service fails, what it was not sent is not: it is here alone. */
static void
what_was_not_sent_stays_here(void **state)
{
    (void)state;
    struct sf_content *c[6];
    struct keep *k[6];
    struct got *moved = got_new(), *gone = got_new();
    restart_with_age(0);
    fake_fail_key("*", -EIO);
    for (unsigned i = 0; i < 6; i++) {
        c[i] = content((char[]){'k', (char)('0' + i), 0}, "text");
        k[i] = keep(c[i], false);
        assert_int_equal(wait_for(k[i]->kept), 0);
        expect_resting(i + 1);
    }
    assert_int_equal(fake_count(FAKE_PUT), 1); /* that showed it */
    assert_false(sf_content_move_kept(c[0], "b", "moved", false, NULL, on_write, moved));
    assert_true(sf_content_move_kept(c[4], "b", "moved", false, NULL, on_write, moved));
    assert_int_equal(wait_for(moved), 0);
    assert_int_equal(sf_content_retarget(c[4], "b", "moved", false), 0);
    assert_true(sf_content_withdraw(c[5], on_write, gone));
    assert_int_equal(wait_for(gone), 0);
    assert_int_equal(wait_for(k[5]->settled), 0);
    assert_int_equal(fake_count(FAKE_PUT), 1);

    /* Whoever waits for the bucket is not put off. */
    assert_int_equal(wait_for(commit(c[2], false)), -EIO);
    assert_int_equal(fake_count(FAKE_PUT), 2);

    fake_fail_key("", 0);
    assert_int_equal(sf_writer_pending_retry(writer, first_pending(), NULL), 1);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(wait_for(k[i]->settled), 0); /* the first wakes the others */
    assert_true(fake_has("b", "moved", "text"));
    assert_null(fake_find("b", "k4"));
    assert_null(fake_find("b", "k5"));
    for (unsigned i = 0; i < 6; i++)
        sf_content_unref(c[i]);
    expect_pending(0);
    expect_no_conflict();
}

/* ---- attributes and pieces ------------------------------------------------------------------ */

static void
attributes_go_along(void **state)
{
    (void)state;
    struct got *other;
    struct sf_content *c = behind_another(&other);
    const struct sf_commit_args args = {.mark = "supafs=\"1;m=100600\"", .attrs_only = true};
    struct keep *none = keep_with(c, &args);
    assert_int_equal(wait_for(none->kept), -EBUSY); /* nothing waits to be sent */
    struct keep *k = keep(c, false);
    assert_int_equal(wait_for(k->kept), 0);
    struct keep *a = keep_with(c, &args);
    assert_int_equal(wait_for(a->kept), 0);
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(a->settled), 0);
    assert_int_equal(wait_for(k->settled), 0);
    assert_non_null(strstr(fake_find("b", "k")->cache_control, "m=100600"));
    assert_int_equal(fake_count(FAKE_PUT), 2);
    assert_int_equal(wait_for(other), 0);
    sf_content_unref(c);
    expect_pending(0);
}

/* The second state lacks what the first one's upload fetches, and destroys. */
static void
pieces_of_an_object(void **state)
{
    (void)state;
    char *data = malloc(3 * MIB);
    memset(data, 'a', 3 * MIB);
    fake_set_bytes("b", "k", data, 3 * MIB);
    struct sf_content *c = content_of("k", "k");
    assert_int_equal(sf_content_write(c, "1", 1, 10), 1);
    fake_close(FAKE_GET);
    struct keep *one = keep(c, true);
    assert_int_equal(wait_for(one->kept), 0);
    fake_wait_at_gate(FAKE_GET, 1);
    assert_int_equal(sf_content_write(c, "2", 1, 2 * MIB), 1);
    struct keep *two = keep(c, true);
    assert_int_equal(wait_for(two->kept), 0);
    assert_int_equal(sf_content_write(c, "3", 1, 2 * MIB + 1), 1); /* and one that is not closed */
    fake_open(FAKE_GET);
    assert_int_equal(wait_for(one->settled), 0);
    assert_int_equal(wait_for(two->settled), 0);
    data[10] = '1';
    data[2 * MIB] = '2';
    assert_int_equal(fake_find("b", "k")->len, 3 * MIB);
    assert_memory_equal(fake_find("b", "k")->data, data, 3 * MIB);
    assert_int_equal(wait_for(commit(c, true)), 0);
    data[2 * MIB + 1] = '3';
    assert_memory_equal(fake_find("b", "k")->data, data, 3 * MIB);
    sf_content_unref(c);
    expect_pending(0);
    expect_no_conflict();
    free(data);
}

/* A file that was made longer and nothing else, or copied whole, has no byte of its own here. */
static void
a_state_without_own_bytes(void **state)
{
    (void)state;
    char data[400];
    memset(data, 'a', sizeof data);
    fake_set_bytes("b", "k", data, 300);
    memset(data + 300, 0, 100);
    struct sf_content *c = content_of("k", "k");
    assert_int_equal(sf_content_truncate(c, 400), 0);
    fake_close(FAKE_GET);
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -EACCES);
    struct keep *k = keep(c, true);
    assert_int_equal(wait_for(k->kept), 0);
    crash_here();
    fake_open(FAKE_GET);
    assert_int_equal(wait_for(k->settled), -EACCES);
    sf_content_unref(c);
    after_the_crash(false);
    expect_pending(0);
    assert_int_equal(fake_find("b", "k")->len, 400);
    assert_memory_equal(fake_find("b", "k")->data, data, 400);
}

/* From many threads, with writes, commits and removals in between. */
#define THREADS 4

static void *
hammer(void *arg)
{
    struct sf_content *c = arg;
    for (int i = 0; i < 60; i++) {
        char text[16];
        int n = snprintf(text, sizeof text, "round %d", i);
        (void)!sf_content_write(c, text, (size_t)n, 0);
        struct sf_commit_args args = {.exists = i > 0};
        struct keep *k = calloc(1, sizeof *k);
        k->kept = calloc(1, sizeof *k->kept);
        k->settled = calloc(1, sizeof *k->settled);
        for (int j = 0; j < 2; j++) {
            sf_mutex_init(&(j ? k->kept : k->settled)->lock, 0);
            sf_cond_init(&(j ? k->kept : k->settled)->cond);
        }
        sf_content_keep(c, &args, on_kept, on_settled, k);
        assert_int_equal(wait_for(k->kept), 0);
        assert_int_equal(wait_for(k->settled), 0);
        for (int j = 0; j < 2; j++) {
            struct got *g = j ? k->kept : k->settled;
            assert_int_equal(g->calls, 1);
            sf_cond_fini(&g->cond);
            sf_mutex_fini(&g->lock);
            free(g);
        }
        free(k);
    }
    return NULL;
}

static void
from_many_threads(void **state)
{
    (void)state;
    pthread_t t[THREADS];
    struct sf_content *c = content("k", "x");
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, hammer, c), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(wait_for(commit(c, true)), 0);
    assert_true(fake_has("b", "k", "round 59"));
    sf_content_unref(c);
    expect_pending(0);
    assert_int_equal(count_files("staging"), 0);
    expect_no_conflict();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {TEST(acknowledged_then_sent),
                                       TEST(what_is_kept_is_not_kept_again),
                                       TEST(the_later_one_goes_instead),
                                       TEST(one_that_runs_is_followed),
                                       TEST(the_earlier_one_does_not_come_back),
                                       TEST(sent_before_what_it_lacks_was_gone),
                                       TEST(attributes_set_meanwhile_last),
                                       TEST(what_was_kept_is_sent),
                                       TEST(a_commit_wants_all),
                                       TEST(the_record_has_the_bytes),
                                       TEST(of_more_the_file_has_them),
                                       TEST(what_arrived_is_not_sent_again),
                                       TEST(the_follower_knows_what_went_before),
                                       TEST(a_failure_that_may_pass),
                                       TEST(a_refusal),
                                       TEST(nothing_of_what_is_given_up),
                                       TEST(another_name),
                                       TEST(no_name_any_more),
                                       TEST(beyond_the_bounds_it_waits),
                                       TEST(one_that_is_larger_goes_alone),
                                       TEST(what_is_too_old_holds_up_others),
                                       TEST(one_goes_by_while_nothing_is_stored),
                                       TEST(one_that_cannot_be_sent_holds_up_nobody),
                                       TEST(what_was_not_sent_stays_here),
                                       TEST(attributes_go_along),
                                       TEST(pieces_of_an_object),
                                       TEST(a_state_without_own_bytes),
                                       TEST(from_many_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
