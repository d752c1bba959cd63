/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write-fixture.h"

#include "base/cleanup.h"
#include "write/journal.h"

/* What stays of an upload that did not work: in this process, and in the next one. */

#define PIECE (6 << 20)

static struct got *
commit_patient(struct sf_content *c)
{
    struct got *g = got_new();
    const struct sf_commit_args args = {.patient = true};
    sf_content_commit(c, &args, on_commit, g);
    return g;
}

/* What failed is tried again later. */
static struct got *
commit_later(struct sf_content *c)
{
    struct got *g = got_new();
    const struct sf_commit_args args = {.patient = true, .later = true};
    sf_content_commit(c, &args, on_commit, g);
    return g;
}

/* So many records, in a moment: drops take their time. */
static void
expect_pending(unsigned n)
{
    struct sf_writer_stats st;
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    for (int i = 0; i < 200; i++) {
        sf_writer_stats(writer, &st);
        if (st.pending == n)
            break;
        usleep(10000);
    }
    assert_int_equal(st.pending, n);
}

/* Another process. */
static void
restart(void)
{
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    sf_writer_free(writer);
    writer_start(4, 0);
}

static void
wait_until(const char *key, const char *text)
{
    for (int i = 0; i < 1000 && !fake_has("b", key, text); i++)
        usleep(5000);
    assert_true(fake_has("b", key, text));
}

static void
expect_state(struct sf_content *c, const char *text)
{
    char buf[300];
    sf_content_sync_state(c, buf, sizeof buf);
    buf[strlen(text)] = '\0';
    assert_string_equal(buf, text);
}

static void
the_patient_hear_of_the_end(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    expect_state(c, "dirty");
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -ECONNREFUSED);
    fake_close(FAKE_PUT);
    struct got *now = commit(c, false), *end = commit_patient(c);
    fake_wait_at_gate(FAKE_PUT, 1);
    expect_state(c, "uploading ");
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(now), -ECONNREFUSED);
    assert_false(has_come(end));
    expect_state(c, "pending: ");
    assert_true(sf_content_kept(c));
    assert_int_equal(wait_for(end), 0); /* after a second at most */
    assert_true(fake_has("b", "k", "text"));
    expect_state(c, "clean");
    expect_pending(0);
    sf_content_unref(c);
    assert_int_equal(count_files("staging"), 0);
}

static void
a_success_wakes_the_others(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text"), *d = content("l", "other");
    fake_fault(FAKE_PUT, 3, FAKE_REFUSED, -ECONNREFUSED);
    struct got *g = commit_patient(c);
    struct sf_writer_stats st = {.failures = 0};
    /* Then it waits for two seconds and more; not drained: that would try it at once. */
    while (st.failures < 3 || st.running || st.queued) {
        usleep(10000);
        sf_writer_stats(writer, &st);
    }
    assert_int_equal(st.pending, 1);
    int64_t begun = sf_clock_ms();
    assert_int_equal(wait_for(commit(d, false)), 0);
    assert_int_equal(wait_for(g), 0);
    assert_true(sf_clock_ms() - begun < 1000);
    sf_content_unref(c);
    sf_content_unref(d);
}

static void
the_refused_is_not_tried_again(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -EACCES);
    assert_int_equal(wait_for(commit_patient(c)), -EACCES);
    expect_state(c, "failed: ");
    expect_pending(1);
    sf_content_unref(c); /* nobody decided: the next start does */
    restart();
    expect_pending(0);
    assert_int_equal(count_files("quarantine"), 2);
    assert_int_equal(count_files("staging"), 0);
    assert_null(fake_find("b", "k"));
}

static void
the_next_process_sends_it(void **state)
{
    (void)state;
    struct sf_content *c = content("d/k", "text");
    const struct sf_commit_args args = {.mark = "supafs=\"1;m=100600\"",
                                        .xattrs = "{\"user.a\":\"eA==\"}"};
    struct got *g = got_new();
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -ECONNREFUSED);
    sf_content_commit(c, &args, on_commit, g);
    assert_int_equal(wait_for(g), -ECONNREFUSED);
    sf_content_unref(c);
    assert_int_equal(count_files("staging"), 1);
    assert_int_equal(count_files("quarantine"), 0);
    restart();
    wait_until("d/k", "text");
    const struct fake_object *o = fake_find("b", "d/k");
    assert_string_equal(o->cache_control, "no-cache, supafs=\"1;m=100600;y;x\"");
    assert_non_null(strstr(o->metadata, "user.a"));
    expect_pending(0);
    assert_int_equal(count_files("staging"), 0);
}

static void
pending_one(void *arg, const struct sf_pending *p)
{
    struct sf_content **ret = arg;
    assert_null(*ret);
    assert_string_equal(p->bucket, "b");
    assert_string_equal(p->key, "k");
    assert_false(p->exists);
    *ret = sf_content_ref(p->content);
}

static void
pending_bytes_can_be_read(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text"), *found = NULL;
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -ECONNREFUSED);
    assert_int_equal(wait_for(commit(c, false)), -ECONNREFUSED);
    sf_content_unref(c);
    fake_close(FAKE_PUT);
    restart();
    fake_wait_at_gate(FAKE_PUT, 1);
    sf_writer_pending(writer, pending_one, &found);
    assert_non_null(found);
    assert_int_equal(sf_content_size(found), 4);
    assert_int_equal(sf_content_append(found, "2", 1, &(uint64_t){0}), 1);
    struct got *g = commit(found, false);
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(g), 0);
    assert_true(fake_has("b", "k", "text2"));
    assert_int_equal(fake_count(FAKE_COPY), 0); /* our own earlier bytes are no conflict */
    sf_content_unref(found);
    expect_pending(0);
}

static void
a_reply_that_nobody_could_ask_for(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    fake_fault(FAKE_PUT, 1, FAKE_LOST_AFTER, -ETIMEDOUT);
    fake_fault(FAKE_INFO, 1, FAKE_REFUSED, -ECONNREFUSED);
    assert_int_equal(wait_for(commit(c, false)), -ETIMEDOUT);
    sf_content_unref(c);
    restart();
    expect_pending(0);
    assert_int_equal(fake_count(FAKE_PUT), 1); /* it was there */
    assert_true(fake_has("b", "k", "text"));
}

static void
written_to_after_an_open_outcome(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    fake_fault(FAKE_PUT, 1, FAKE_LOST_AFTER, -ETIMEDOUT);
    fake_fault(FAKE_INFO, 1, FAKE_REFUSED, -ECONNREFUSED);
    assert_int_equal(wait_for(commit(c, false)), -ETIMEDOUT);
    sf_content_write(c, "T", 1, 0);
    struct got *g = commit(c, false);
    assert_int_equal(wait_for(g), 0);
    assert_string_equal(g->conflict, "");
    assert_true(fake_has("b", "k", "Text"));
    sf_content_unref(c);
    expect_pending(0);
    assert_int_equal(count_files("staging"), 0);
}

static struct sf_content *
large_content(const char *key, size_t len)
{
    struct sf_content *c = content(key, NULL);
    sf_autofree char *buf = malloc(len);
    assert_non_null(buf);
    memset(buf, 'x', len);
    assert_int_equal(sf_content_write(c, buf, len, 0), len);
    return c;
}

static void
pieces_go_on_where_they_stopped(void **state)
{
    (void)state;
    static const char own[] = "public, max-age=31536000, immutable";
    fake_describe(fake_set("b", "k", "old"), "text/x-own", own, "{\"who\":1}");
    fake_request_limit(PIECE);
    struct sf_content *c = large_content("k", 2 * PIECE + 5);
    fake_fault(FAKE_TUS_SEND, 1, FAKE_LOST_AFTER, -EIO);
    fake_fault(FAKE_TUS_OFFSET, 1, FAKE_REFUSED, -ECONNREFUSED);
    assert_int_equal(wait_for(commit(c, true)), -ECONNREFUSED);
    assert_int_equal(fake_tus_bytes(), PIECE);
    sf_content_unref(c);
    /* All bytes are there, and then the network goes again. */
    fake_fault(FAKE_COPY, 1, FAKE_REFUSED, -ECONNREFUSED);
    restart();
    for (int i = 0; i < 2000 && fake_count(FAKE_COPY) < 1; i++)
        usleep(5000);
    sf_writer_give_up(writer);
    assert_int_equal(fake_count(FAKE_TUS_CREATE), 1);
    assert_int_equal(fake_tus_bytes(), 2 * PIECE + 5);
    assert_string_equal(fake_find("b", "k")->cache_control, "no-cache");
    restart();
    expect_pending(0);
    assert_int_equal(fake_tus_bytes(), 2 * PIECE + 5);
    const struct fake_object *o = fake_find("b", "k");
    assert_string_equal(o->cache_control, own);
    assert_string_equal(o->mime, "text/x-own");
    assert_non_null(strstr(o->metadata, "\"who\":1"));
    assert_int_equal(o->len, 2 * PIECE + 5);
}

static void
nobody_waits_at_the_end(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -ECONNREFUSED);
    struct got *g = commit_patient(c);
    for (int i = 0; i < 1000 && !sf_content_kept(c); i++)
        usleep(1000);
    sf_writer_give_up(writer);
    assert_int_equal(wait_for(g), -ECANCELED);
    sf_content_unref(c);
    assert_int_equal(count_files("quarantine"), 0);
    restart();
    wait_until("k", "text");
}

static void
an_unlinked_file_is_forgotten(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    /* Also the tries after the first, for one may be under way when it is unlinked. */
    fake_fault(FAKE_PUT, 1000, FAKE_REFUSED, -ECONNREFUSED);
    struct got *g = commit_patient(c);
    for (int i = 0; i < 10000 && !sf_content_kept(c); i++)
        usleep(1000);
    (void)sf_content_abandon(c);
    assert_int_equal(wait_for(g), 0);
    sf_content_unref(c);
    expect_pending(0);
    assert_int_equal(count_files("staging"), 0);
    assert_null(fake_find("b", "k"));
}

/* A record as another process leaves it. */
static void
plant(const char *file, const char *text, bool synced, const char *boot, uint64_t size)
{
    struct sf_record r = {.kind = SF_RECORD_CONTENT,
                          .state = SF_RECORD_CONTENT_SENDING,
                          .bucket = strdup("b"),
                          .key = strdup(file),
                          .file = strdup(file),
                          .size = size,
                          .whole = true,
                          .synced = synced};
    struct sf_journal *j;
    char path[128];
    snprintf(path, sizeof path, "%s/staging/%s", state_dir, file);
    FILE *f = text ? fopen(path, "w") : NULL;
    if (f) {
        fputs(text, f);
        fclose(f);
    }
    if (boot)
        snprintf(r.boot, sizeof r.boot, "%s", boot);
    else
        sf_boot_id(r.boot);
    assert_int_equal(sf_journal_open(state_dir, &j, NULL), 0);
    assert_int_equal(sf_journal_put(j, &r), 0);
    sf_journal_close(j);
    sf_record_fini(&r);
}

static void
what_is_believed_of_a_file(void **state)
{
    (void)state;
    sf_writer_free(writer);
    plant("same-boot", "one", false, NULL, 3);
    plant("other-boot", "two", false, "a0000000-0000-0000-0000-000000000000", 3);
    plant("synced", "three", true, "a0000000-0000-0000-0000-000000000000", 5);
    plant("too-short", "four", true, NULL, 5);
    plant("no-file", NULL, true, NULL, 5);
    writer_start(4, 0);
    wait_until("same-boot", "one");
    wait_until("synced", "three");
    expect_pending(0);
    assert_null(fake_find("b", "other-boot"));
    assert_null(fake_find("b", "too-short"));
    assert_int_equal(count_files("quarantine"), 4); /* two files with their notes */
    assert_int_equal(count_files("staging"), 0);
}

/* What a program has just begun to write is not sent in place of what failed before. */
static void
what_failed_is_tried_again(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -ECONNREFUSED);
    assert_int_equal(wait_for(commit(c, false)), -ECONNREFUSED);
    assert_int_equal(sf_content_truncate(c, 0), 0);
    struct got *g = commit_later(c);
    assert_int_equal(wait_for(g), 0);
    assert_true(g->done.still_dirty);
    assert_true(fake_has("b", "k", "text"));
    assert_int_equal(wait_for(commit(c, true)), 0);
    assert_true(fake_has("b", "k", ""));
    sf_content_unref(c);
    expect_pending(0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_patient_hear_of_the_end),      TEST(a_success_wakes_the_others),
        TEST(the_refused_is_not_tried_again),   TEST(the_next_process_sends_it),
        TEST(pending_bytes_can_be_read),        TEST(a_reply_that_nobody_could_ask_for),
        TEST(written_to_after_an_open_outcome), TEST(pieces_go_on_where_they_stopped),
        TEST(nobody_waits_at_the_end),          TEST(an_unlinked_file_is_forgotten),
        TEST(what_is_believed_of_a_file),       TEST(what_failed_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
