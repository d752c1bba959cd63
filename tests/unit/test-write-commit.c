/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write-fixture.h"

/* What an upload asks, sends and concludes; above all after a lost reply. */

static void
teardown_content(struct sf_content *c)
{
    sf_content_abandon(c); /* what failed on purpose need not be kept */
    sf_content_unref(c);
}

static struct got *
commit_args(struct sf_content *c, const struct sf_commit_args *args)
{
    struct got *g = got_new();
    sf_content_commit(c, args, on_commit, g);
    return g;
}

static void
a_new_file_is_one_post(void **state)
{
    (void)state;
    struct sf_content *c = content("dir/a.txt", "hello");
    struct got *g = commit(c, false);
    assert_int_equal(wait_for(g), 0);
    assert_string_equal(fake_order(), "post b/dir/a.txt;");
    assert_int_equal(fake_count(FAKE_INFO), 0);
    const struct fake_object *o = fake_find("b", "dir/a.txt");
    assert_string_equal(o->mime, "text/plain");
    assert_string_equal(g->done.id, o->id);
    assert_string_equal(g->done.md5_etag, "\"5d41402abc4b2a76b9719d911017c592\"");
    assert_string_equal(g->done.md5_etag, o->etag);
    assert_int_equal(g->done.size, 5);
    struct sf_writer_stats st;
    sf_writer_stats(writer, &st);
    assert_int_equal(st.uploads, 1);
    assert_int_equal(st.upload_bytes, 5);
    sf_content_unref(c);

    c = content("dir/a.txt", "other");
    assert_int_equal(wait_for(commit(c, false)), -EEXIST);
    assert_true(fake_has("b", "dir/a.txt", "hello"));
    assert_int_equal(fake_count(FAKE_INFO), 0); /* no reply was lost: nothing to settle */
    teardown_content(c);
}

static void
the_type_is_guessed(void **state)
{
    (void)state;
    struct sf_content *c = content("noname", "%PDF-1.4 and so on");
    assert_int_equal(wait_for(commit(c, false)), 0);
    assert_string_equal(fake_find("b", "noname")->mime, "application/pdf");
    sf_content_unref(c);
    c = content("told.txt", "x");
    const struct sf_commit_args args = {.mime = "text/special"};
    assert_int_equal(wait_for(commit_args(c, &args)), 0);
    assert_string_equal(fake_find("b", "told.txt")->mime, "text/special");
    sf_content_unref(c);
}

static void
what_others_stored_is_kept(void **state)
{
    (void)state;
    fake_describe(fake_set("b", "a.txt", "old"), "text/x-own", "max-age=3600, supafs=\"m=100644\"",
                  "{\"who\":\"them\"}");
    struct sf_content *c = content("a.txt", "new");
    assert_int_equal(wait_for(commit(c, true)), 0);
    assert_string_equal(fake_order(), "put b/a.txt;");
    const struct fake_object *n = fake_find("b", "a.txt");
    assert_true(fake_has("b", "a.txt", "new"));
    assert_string_equal(n->mime, "text/x-own");
    assert_string_equal(n->cache_control, "max-age=3600, supafs=\"m=100644\"");
    assert_string_equal(n->metadata, "{\"who\":\"them\"}");
    sf_content_unref(c);
}

static void
too_much_metadata_is_not_dropped(void **state)
{
    (void)state;
    char json[8001];
    memset(json, 'x', 8000);
    memcpy(json, "{\"k\":\"", 6);
    memcpy(json + 7998, "\"}", 3);
    fake_describe(fake_set("b", "k", "old"), NULL, NULL, json);
    struct sf_content *c = content("k", "new");
    assert_int_equal(wait_for(commit(c, true)), -ENOTSUP);
    assert_int_equal(fake_count(FAKE_PUT), 0);
    assert_true(fake_has("b", "k", "old"));
    teardown_content(c);
}

static void
a_vanished_object_is_created(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    assert_int_equal(wait_for(commit(c, true)), 0);
    assert_string_equal(fake_order(), "post b/k;");
    sf_content_unref(c);
}

static void
come_back(void)
{
    fake_set("b", "k", "came back");
}

static void
an_object_that_comes_back_is_replaced(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    fake_meanwhile(FAKE_INFO, come_back); /* between the info and the POST */
    assert_int_equal(wait_for(commit(c, true)), 0);
    assert_true(fake_has("b", "k", "text"));
    sf_content_unref(c);
}

static void
types_that_the_bucket_refuses(void **state)
{
    (void)state;
    static const char *const images[] = {"image/*", "text/csv", NULL};
    const struct sf_commit_args args = {.mimes = images};
    struct sf_content *c = content("a.txt", "x");
    struct got *g = commit_args(c, &args);
    assert_int_equal(wait_for(g), -EPERM);
    assert_non_null(strstr(g->err.msg, "text/plain"));
    assert_int_equal(fake_count(FAKE_PUT), 0);
    teardown_content(c);
    c = content("a.csv", "x");
    assert_int_equal(wait_for(commit_args(c, &args)), 0);
    sf_content_unref(c);
    c = content("d/.emptyFolderPlaceholder", NULL); /* the service makes an exception */
    sf_content_mark_dirty(c);
    assert_int_equal(wait_for(commit_args(c, &args)), 0);
    sf_content_unref(c);
}

static void
too_large_is_refused_unsent(void **state)
{
    (void)state;
    const struct sf_commit_args args = {.max_size = 4};
    struct sf_content *c = content("k", "12345");
    assert_int_equal(wait_for(commit_args(c, &args)), -EFBIG);
    assert_int_equal(fake_count(FAKE_PUT), 0);
    assert_int_equal(sf_content_truncate(c, 4), 0);
    assert_int_equal(wait_for(commit_args(c, &args)), 0);
    sf_content_unref(c);

    assert_true(sf_writer_limit(writer, 0) == UINT64_MAX);
    sf_writer_set_global_limit(writer, 10);
    assert_int_equal(sf_writer_limit(writer, 0), 10);
    assert_int_equal(sf_writer_limit(writer, 7), 7);
    assert_int_equal(sf_writer_limit(writer, 70), 10);
    c = content("l", "12345678901");
    assert_int_equal(wait_for(commit(c, false)), -EFBIG);
    assert_int_equal(fake_count(FAKE_PUT), 1);
    teardown_content(c);
}

static void
a_413_is_remembered(void **state)
{
    (void)state;
    struct sf_writer_stats st;
    struct sf_content *c = content("k", "1234567890");
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -EFBIG);
    assert_int_equal(wait_for(commit(c, false)), -EFBIG);
    assert_int_equal(sf_writer_limit(writer, 0), 9);
    sf_writer_stats(writer, &st);
    assert_int_equal(st.learned_limit, 9);
    assert_int_equal(wait_for(commit(c, false)), -EFBIG);
    assert_int_equal(fake_count(FAKE_PUT), 1); /* not sent again */
    teardown_content(c);
}

static void
a_bucket_with_a_limit_of_its_own(void **state)
{
    (void)state;
    fake_bucket("b", 5); /* changed since the tree looked */
    struct sf_content *c = content("k", "1234567890");
    assert_int_equal(wait_for(commit(c, false)), -EFBIG);
    assert_true(sf_writer_limit(writer, 0) == UINT64_MAX); /* others may take it */
    teardown_content(c);
    fake_bucket("b", 0);
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -EFBIG); /* a marker must be empty, whatever the limit */
    c = content("x.emptyFolderPlaceholder", "1234");
    assert_int_equal(wait_for(commit(c, false)), -EFBIG);
    assert_true(sf_writer_limit(writer, 0) == UINT64_MAX);
    teardown_content(c);
}

/* ---- lost replies --------------------------------------------------------------------------- */

static void
lost_after_a_new_file(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    fake_fault(FAKE_PUT, 1, FAKE_LOST_AFTER, -EIO);
    struct got *g = commit(c, false);
    assert_int_equal(wait_for(g), 0);
    assert_int_equal(fake_count(FAKE_PUT), 1); /* not sent twice */
    assert_int_equal(fake_count(FAKE_INFO), 1);
    assert_string_equal(g->done.id, fake_find("b", "k")->id);
    assert_false(sf_content_dirty(c));
    sf_content_unref(c);
}

static void
lost_before_a_new_file(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    fake_fault(FAKE_PUT, 2, FAKE_LOST_BEFORE, -EIO);
    assert_int_equal(wait_for(commit(c, false)), 0);
    assert_int_equal(fake_count(FAKE_PUT), 3);
    assert_string_equal(fake_order(), "post b/k;");
    sf_content_unref(c);
}

static void
somebody(void)
{
    fake_set("b", "k", "theirs");
}

static void
lost_and_somebody_else_was_there(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "ours");
    fake_fault(FAKE_PUT, 1, FAKE_LOST_BEFORE, -EIO);
    fake_meanwhile(FAKE_PUT, somebody);
    struct got *g = commit(c, false);
    assert_int_equal(wait_for(g), -EEXIST);
    assert_false(g->err.outcome_open);
    assert_true(fake_has("b", "k", "theirs"));
    assert_true(sf_content_dirty(c));
    teardown_content(c);
}

/* The repeated POST meets the first one, which took effect late. */
static void
late(void)
{
    fake_set("b", "k", "text");
}

static void
conflict_with_ourselves(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    fake_fault(FAKE_PUT, 1, FAKE_LOST_BEFORE, -EIO);
    fake_meanwhile(FAKE_INFO, late); /* after the info that said: not there */
    assert_int_equal(wait_for(commit(c, false)), 0);
    assert_int_equal(fake_count(FAKE_PUT), 2);
    assert_true(fake_has("b", "k", "text"));
    sf_content_unref(c);
}

static void
lost_replies_of_a_replacement(void **state)
{
    (void)state;
    for (int opaque = 0; opaque < 2; opaque++) {
        fake_opaque_etags(opaque);
        fake_set("b", "k", "AAAA");
        struct sf_content *c = content("k", "BBBB"); /* the size alone tells nothing */
        fake_fault(FAKE_PUT, 1, FAKE_LOST_BEFORE, -EIO);
        fake_fault(FAKE_PUT, 1, FAKE_LOST_AFTER, -EIO);
        unsigned before = fake_count(FAKE_PUT);
        assert_int_equal(wait_for(commit(c, true)), 0);
        assert_int_equal(fake_count(FAKE_PUT) - before, 2);
        assert_true(fake_has("b", "k", "BBBB"));
        sf_content_unref(c);
    }
}

static void
a_lost_reply_that_cannot_be_settled(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    fake_fault(FAKE_PUT, 1, FAKE_LOST_AFTER, -ETIMEDOUT);
    fake_fault(FAKE_INFO, 1, FAKE_REFUSED, -ECONNREFUSED);
    struct got *g = commit(c, false);
    assert_int_equal(wait_for(g), -ETIMEDOUT);
    assert_true(g->err.outcome_open);
    assert_true(sf_content_dirty(c));
    assert_int_equal(fake_count(FAKE_PUT), 1);
    teardown_content(c);
}

static void
it_ends_at_the_deadline(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    fake_fault(FAKE_PUT, 1000, FAKE_LOST_BEFORE, -EIO);
    int64_t begun = sf_clock_ms();
    assert_int_equal(wait_for(commit(c, false)), -EIO);
    assert_true(sf_clock_ms() - begun < 5000); /* timeout_ms is 4000 */
    assert_true(fake_count(FAKE_PUT) > 2 && fake_count(FAKE_PUT) < 10);
    teardown_content(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_file_is_one_post),
        TEST(the_type_is_guessed),
        TEST(what_others_stored_is_kept),
        TEST(too_much_metadata_is_not_dropped),
        TEST(a_vanished_object_is_created),
        TEST(an_object_that_comes_back_is_replaced),
        TEST(types_that_the_bucket_refuses),
        TEST(too_large_is_refused_unsent),
        TEST(a_413_is_remembered),
        TEST(a_bucket_with_a_limit_of_its_own),
        TEST(lost_after_a_new_file),
        TEST(lost_before_a_new_file),
        TEST(lost_and_somebody_else_was_there),
        TEST(conflict_with_ourselves),
        TEST(lost_replies_of_a_replacement),
        TEST(a_lost_reply_that_cannot_be_settled),
        TEST(it_ends_at_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
