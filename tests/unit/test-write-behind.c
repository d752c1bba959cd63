/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "keep-fixture.h"

#include "base/cleanup.h"
#include "write/mark.h"
#include "write/meta.h"
#include "write/pending.h"

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

/* What close() has promised stays in the journal until something else is promised. */
struct in_between {
    struct sf_content *c;
    struct keep first, second;
    struct keep *closed, *attrs;
};

/* Somebody who asks for the same once more, before a change; the first keep has not ended yet. */
static void
kept_then_cut(void *arg, const struct sf_err *err)
{
    struct in_between *b = arg;
    sf_content_keep(b->c, &(struct sf_commit_args){.must = true}, on_kept, on_settled, &b->second);
    assert_int_equal(sf_content_truncate(b->c, 0), 0);
    on_write(b->first.kept, err);
}

static void
first_settled(void *arg, const struct sf_err *err, const struct sf_commit *done)
{
    struct in_between *b = arg;
    on_commit(b->first.settled, err, done);
}

static void
what_comes_later_is_not_kept_for_it(void **state)
{
    (void)state;
    static struct in_between b;
    struct sf_writer_stats st;
    b = (struct in_between){.c = content("k", "text"),
                            .first = {got_new(), got_new()},
                            .second = {got_new(), got_new()}};
    fake_close(FAKE_PUT);
    sf_content_keep(b.c, &(struct sf_commit_args){.exists = false}, kept_then_cut, first_settled,
                    &b);
    assert_int_equal(wait_for(b.first.kept), 0);
    assert_int_equal(wait_for(b.second.kept), 0);
    sf_writer_stats(writer, &st);
    assert_int_equal(st.kept, 1);
    crash_here();
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(b.first.settled), 0);
    assert_int_equal(wait_for(b.second.settled), 0);
    assert_true(fake_has("b", "k", "text"));
    assert_true(sf_content_dirty(b.c)); /* whoever cut it keeps that */
    struct keep *cut = keep(b.c, true);
    assert_int_equal(wait_for(cut->settled), 0);
    assert_true(fake_has("b", "k", ""));
    sf_content_unref(b.c);
    fake_remove("b", "k");
    after_the_crash(false);
    expect_pending(0);
    assert_true(fake_has("b", "k", "text"));
}

/* Somebody closes what he has written, and another one changes attributes at the same time. */
static void
kept_then_written_and_set(void *arg, const struct sf_err *err)
{
    struct in_between *b = arg;
    set(b->c, "more");
    b->closed = keep(b->c, false);
    b->attrs = keep_with(
        b->c, &(struct sf_commit_args){.attrs_only = true, .mark = "supafs=\"1;m=100600\""});
    on_write(b->first.kept, err);
}

static void
attributes_take_nothing_from_bytes(void **state)
{
    (void)state;
    static struct in_between b;
    b = (struct in_between){.c = content("k", "text"), .first = {got_new(), got_new()}};
    fake_close(FAKE_PUT);
    sf_content_keep(b.c, &(struct sf_commit_args){.exists = false}, kept_then_written_and_set,
                    first_settled, &b);
    assert_int_equal(wait_for(b.first.kept), 0);
    assert_int_equal(wait_for(b.closed->kept), 0);
    assert_int_equal(wait_for(b.attrs->kept), 0);
    crash_here();
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(b.attrs->settled), 0);
    assert_int_equal(wait_for(b.closed->settled), 0);
    assert_int_equal(wait_for(b.first.settled), 0);
    sf_content_unref(b.c);
    fake_remove("b", "k");
    after_the_crash(false);
    expect_pending(0);
    assert_true(fake_has("b", "k", "more"));
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

/* They are changed while the bytes are sent for the first time, and these do not arrive: there is
 * no object to be changed then. They go with the bytes, also when this process ends first. */
static void
attributes_wait_for_bytes_that_failed(void **state)
{
    (void)state;
    const struct sf_mark mark = {
        .valid = SF_MARK_MODE | SF_MARK_CTIME, .mode = 0100640, .ctime_ns = 7000000000};
    const char *const keys[] = {"stays", "ends"};
    for (int ends = 0; ends < 2; ends++) {
        const char *key = keys[ends];
        const struct sf_attr_change ch = {
            .bucket = "b", .key = key, .mark = &mark, .xattrs = "{\"user.note\":\"b25l\"}"};
        struct got *changed = got_new(), *flushed = got_new();
        struct sf_content *c = content(key, "text");
        fake_close(FAKE_PUT);
        struct keep *k = keep(c, false);
        assert_int_equal(wait_for(k->kept), 0);
        fake_wait_at_gate(FAKE_PUT, 1);
        sf_write_attrs(writer, &ch, on_write, NULL, changed);
        assert_int_equal(wait_for(changed), 0);
        fake_fault(FAKE_PUT, 2, FAKE_REFUSED, -ECONNREFUSED);
        fake_open(FAKE_PUT);
        sf_write_attrs_flush(writer, "b", key, on_write, flushed);
        assert_int_equal(wait_for(flushed), -EBUSY);
        sf_content_unref(c);
        if (ends) {
            sf_writer_free(writer);
            writer_start(4, 0);
        }
        wait_until(key, "text");
        expect_pending(0);
        const struct fake_object *o = fake_find("b", key);
        assert_non_null(strstr(o->cache_control, "m=100640"));
        assert_non_null(strstr(o->metadata, "user.note"));
    }
}

static struct got *
change(ino_t ino, mode_t mode, const char *xattrs)
{
    const struct sf_mark mark = {.valid = SF_MARK_MODE | SF_MARK_CTIME | SF_MARK_INO,
                                 .mode = 0100000 | mode,
                                 .ctime_ns = 7000000000,
                                 .ino = ino};
    const struct sf_attr_change ch = {.bucket = "b", .key = "k", .mark = &mark, .xattrs = xattrs};
    struct got *g = got_new();
    sf_write_attrs(writer, &ch, on_write, NULL, g);
    return g;
}

/* Another file has its name before anybody has looked what became of it. */
static void
what_a_file_left_is_not_joined(void **state)
{
    (void)state;
    struct got *flushed = got_new();
    fake_set("b", "k", "text");
    assert_int_equal(wait_for(change(0xabc, 0600, "{\"user.a\":\"Mg==\"}")), 0);
    (void)change(0xdef, 0640, "{\"user.b\":\"Mg==\"}");
    sf_write_attrs_flush(writer, "b", "k", on_write, flushed);
    assert_int_equal(wait_for(flushed), 0);
    const struct fake_object *o = fake_find("b", "k");
    assert_non_null(strstr(o->cache_control, "m=100640"));
    assert_null(strstr(o->metadata, "user.a"));
    assert_non_null(strstr(o->metadata, "user.b"));
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

/* Objects that carry no operation id: what arrived before a crash is known by its bytes. */
static void
without_an_id(bool opaque, const char *text, const char *there)
{
    plain = true;
    sf_writer_free(writer);
    writer_start_with((struct sf_writer_opts){.workers = 4, .plain = true});
    fake_opaque_etags(opaque);
    struct sf_content *c = content("k", text);
    sf_content_mark_dirty(c);
    fake_close(FAKE_PUT);
    struct keep *one = keep(c, false);
    assert_int_equal(wait_for(one->kept), 0);
    fake_wait_at_gate(FAKE_PUT, 1);
    set(c, "two, longer");
    struct keep *two = keep(c, false);
    assert_int_equal(wait_for(two->kept), 0);
    crash_here();
    fake_fault(FAKE_PUT, 2, FAKE_REFUSED, -EACCES);
    fake_open(FAKE_PUT);
    (void)wait_for(one->settled);
    (void)wait_for(two->settled);
    sf_content_unref(c);
    fake_set("b", "k", there); /* the request of the one that has ended, or others */
    after_the_crash(false);
    wait_until("k", "two, longer");
    expect_pending(0);
    plain = false;
}

static void
what_arrived_without_an_id(void **state)
{
    (void)state;
    without_an_id(false, "one", "one");
    expect_no_conflict();
}

static void
nothing_that_arrived_without_an_id(void **state)
{
    (void)state;
    without_an_id(false, "", "");
    expect_no_conflict();
}

static void
what_arrived_without_an_id_or_a_hash(void **state)
{
    (void)state;
    without_an_id(true, "one", "one");
    expect_no_conflict();
}

static void
nothing_that_arrived_without_an_id_or_a_hash(void **state)
{
    (void)state;
    without_an_id(true, "", "");
    expect_no_conflict();
}

static void
what_others_wrote_of_the_same_size(void **state)
{
    (void)state;
    without_an_id(true, "one", "123");
    assert_non_null(strstr(fake_order(), "conflict"));
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
    assert_true(sf_pending_has(writer, "b", "k"));
    assert_int_equal(sf_content_retarget(c, "b", "to", true), 0);
    sf_content_abandon(over);
    assert_false(sf_pending_has(writer, "b", "k"));
    assert_true(sf_pending_has(writer, "b", "to"));
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
                                       TEST(what_comes_later_is_not_kept_for_it),
                                       TEST(attributes_take_nothing_from_bytes),
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
                                       TEST(attributes_wait_for_bytes_that_failed),
                                       TEST(what_a_file_left_is_not_joined),
                                       TEST(the_follower_knows_what_went_before),
                                       TEST(what_arrived_without_an_id),
                                       TEST(nothing_that_arrived_without_an_id),
                                       TEST(what_arrived_without_an_id_or_a_hash),
                                       TEST(nothing_that_arrived_without_an_id_or_a_hash),
                                       TEST(what_others_wrote_of_the_same_size),
                                       TEST(a_failure_that_may_pass),
                                       TEST(a_refusal),
                                       TEST(nothing_of_what_is_given_up),
                                       TEST(another_name),
                                       TEST(no_name_any_more),
                                       TEST(attributes_go_along),
                                       TEST(pieces_of_an_object),
                                       TEST(a_state_without_own_bytes),
                                       TEST(from_many_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
