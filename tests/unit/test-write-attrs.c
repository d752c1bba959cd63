/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Attributes of objects whose bytes stay (write.h): kept before they are written, merged per key,
 * written by the function of the database, else by a copy of the object onto itself; lost replies,
 * foreign writes, and what a start finds in the journal.
 */
#include "attrs-fixture.h"

#include "write/meta.h"

/* ---- the two ways ---------------------------------------------------------------------------- */

static void
a_function_sets_them_without_moving_a_byte(void **state)
{
    (void)state;
    fake_function(true);
    fake_describe(fake_set("b", "a", "text"), "text/plain", "max-age=60",
                  "{\"k\":1,\"supafs\":{\"v\":1,\"op\":\"aaaaaaaaaaaaaaaaaaaaaaaaaa\"}}");
    struct sf_version v = listed("a");
    struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
    assert_int_equal(wait_for(p->kept), 0);
    assert_int_equal(fake_count(FAKE_SET_ATTRS), 0); /* it waits for more */
    assert_int_equal(wait_for(flush("a")), 0);
    assert_int_equal(wait_for(p->settled), 0);
    const struct fake_object *o = fake_find("b", "a");
    assert_string_equal(o->cache_control, "max-age=60, supafs=\"1;m=100600;t=5;c=6;i=abc\"");
    assert_string_equal(o->metadata,
                        "{\"k\":1,\"supafs\":{\"v\":1,\"op\":\"aaaaaaaaaaaaaaaaaaaaaaaaaa\"}}");
    assert_string_equal(fake_order(), "set b/a;");
    assert_string_equal(p->now.etag, v.etag);
    assert_int_equal(records(), 0);
}

static void
without_it_the_object_is_copied_onto_itself(void **state)
{
    (void)state;
    fake_opaque_etags(true);
    fake_describe(fake_set("b", "a", "text"), "text/plain", "max-age=60",
                  "{\"k\":1,\"supafs\":{\"v\":1,\"sha256\":\"9f86d081884c7d659a2feaa0c55ad015a3bf4f"
                  "1b2b0b822cd15d6c15b0f00a08\",\"x\":{\"user.a\":\"MQ==\"}}}");
    struct sf_version v = listed("a");
    struct pair *p =
        change("a", &v, mark_of(0640, 5 * SECOND, 6 * SECOND), "{\"user.b\":\"Mg==\"}");
    assert_int_equal(wait_for(flush("a")), 0);
    assert_int_equal(wait_for(p->settled), 0);
    const struct fake_object *o = fake_find("b", "a");
    assert_true(fake_has("b", "a", "text"));
    assert_string_equal(o->mime, "text/plain");
    assert_string_equal(o->cache_control, "max-age=60, supafs=\"1;m=100640;t=5;c=6;i=abc;x\"");
    struct sf_meta m;
    assert_int_equal(sf_meta_parse(o->metadata, &m), 1);
    assert_int_equal(strlen(m.op), 26);
    assert_int_equal(strlen(m.sha256), 64);
    assert_string_equal(m.xattrs, "{\"user.a\":\"MQ==\",\"user.b\":\"Mg==\"}");
    sf_meta_fini(&m);
    assert_non_null(strstr(o->metadata, "\"k\":1"));
    assert_string_equal(p->now.etag, o->etag);

    /* Once not there, the function is not asked for at every change. */
    p = change("a", &p->now, mark_of(0600, 5 * SECOND, 7 * SECOND), NULL);
    assert_int_equal(wait_for(flush(NULL)), 0);
    assert_int_equal(wait_for(p->settled), 0);
    assert_int_equal(fake_count(FAKE_SET_ATTRS), 1);
    assert_int_equal(stored("a").mode, 0100600);
}

static void
changes_of_a_second_are_one(void **state)
{
    (void)state;
    fake_function(true);
    fake_set("b", "a", "text");
    struct sf_version v = listed("a");
    struct pair *p[5];
    int64_t begun = sf_clock_ms();
    for (unsigned i = 0; i < 5; i++)
        p[i] = change("a", &v, mark_of(0600 + i, 5 * SECOND, (int64_t)(6 + i) * SECOND),
                      i == 1   ? "{\"user.a\":\"MQ==\"}"
                      : i == 3 ? "{\"user.a\":null,\"user.b\":\"Mg==\"}"
                               : NULL);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(wait_for(p[i]->settled), 0);
    assert_in_range(sf_clock_ms() - begun, 900, 5000); /* nobody asked for it earlier */
    assert_int_equal(fake_count(FAKE_SET_ATTRS), 1);
    assert_int_equal(stored("a").mode, 0100604);
    assert_non_null(strstr(fake_find("b", "a")->metadata, "\"x\":{\"user.b\":\"Mg==\"}"));
}

static void
what_is_there_already_sends_nothing(void **state)
{
    (void)state;
    fake_describe(fake_set("b", "a", "text"), NULL, "no-cache, supafs=\"1;m=100600;t=5;c=6;i=abc\"",
                  NULL);
    struct sf_version v = listed("a");
    struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
    assert_int_equal(wait_for(flush("a")), 0);
    assert_int_equal(wait_for(p->settled), 0);
    assert_string_equal(fake_order(), "");
}

static void
a_large_object_keeps_them_here(void **state)
{
    (void)state;
    char big[2000], why[200] = "";
    memset(big, 'x', sizeof big);
    fake_set_bytes("b", "a", big, sizeof big);
    struct sf_version v = listed("a");
    struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
    assert_int_equal(wait_for(flush("a")), 0);
    assert_int_equal(wait_for(p->settled), -EFBIG);
    assert_true(sf_write_attrs_wait(writer, "b", "a", why, sizeof why));
    assert_true(why[0]);
    assert_false(sf_write_attrs_wait(writer, "b", "ab", why, sizeof why));
    assert_string_equal(fake_order(), "");
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    assert_int_equal(locals(), 1);
    restart();
    assert_int_equal(locals(), 1); /* still known */

    /* With the function it can be written after the next change. */
    fake_function(true);
    p = change("a", &v, mark_of(0640, 5 * SECOND, 7 * SECOND), NULL);
    assert_int_equal(wait_for(flush("a")), 0);
    assert_int_equal(wait_for(p->settled), 0);
    assert_int_equal(stored("a").mode, 0100640);
    assert_int_equal(records(), 0);
}

/* ---- others ---------------------------------------------------------------------------------- */

static void
somebody_elses_version_keeps_its_times(void **state)
{
    (void)state;
    for (int rpc = 0; rpc < 2; rpc++) {
        fake_function(rpc);
        fake_set("b", "a", "old");
        struct sf_version v = listed("a");
        fake_describe(fake_set("b", "a", "his text"), NULL,
                      "no-cache, supafs=\"1;m=100644;t=99;c=99;i=abc\"", NULL);
        struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
        assert_int_equal(wait_for(flush("a")), 0);
        assert_int_equal(wait_for(p->settled), 0);
        assert_true(fake_has("b", "a", "his text"));
        assert_string_equal(fake_find("b", "a")->cache_control,
                            "no-cache, supafs=\"1;m=100600;t=99;c;i=abc\"");
    }
}

/* It is another file: he has renamed that one over this one. */
static void
another_file_of_the_name_gets_none(void **state)
{
    (void)state;
    const char *his = "no-cache, supafs=\"1;m=100644;t=99;c=99;i=123\"";
    for (int rpc = 0; rpc < 2; rpc++) {
        fake_function(rpc);
        fake_set("b", "a", "old");
        struct sf_version v = listed("a"), is;
        fake_describe(fake_set("b", "a", "his text"), NULL, his, NULL);
        struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
        assert_int_equal(wait_for(p->kept), 0);
        struct sf_mark m = stored("a");
        is = listed("a");
        assert_false(sf_write_attrs_pending(writer, "b", "a", &is, &m));
        assert_int_equal(wait_for(flush("a")), 0);
        assert_int_equal(wait_for(p->settled), -ENOENT);
        assert_string_equal(fake_find("b", "a")->cache_control, his);
        assert_int_equal(records(), 0);
    }
    /* A number that was seen with the object is no proof: a foreign copy has that of its source. */
    struct sf_version v = listed("a");
    struct pair *p = change("a", &v, mark_of(0640, 5 * SECOND, 6 * SECOND), NULL);
    assert_int_equal(wait_for(flush("a")), 0);
    assert_int_equal(wait_for(p->settled), 0);
    assert_int_equal(stored("a").mode, 0100640);
}

static void
his_write(void)
{
    fake_set("b", "a", "his later text");
}

/* It lands between the look and the change: the function sees it, and begins again. */
static void
the_function_sees_a_write_that_comes_between(void **state)
{
    (void)state;
    fake_function(true);
    fake_set("b", "a", "old");
    struct sf_version v = listed("a");
    fake_meanwhile(FAKE_INFO, his_write);
    struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
    assert_int_equal(wait_for(flush("a")), 0);
    assert_int_equal(wait_for(p->settled), 0);
    assert_true(fake_has("b", "a", "his later text"));
    assert_string_equal(fake_find("b", "a")->cache_control,
                        "no-cache, supafs=\"1;m=100600;i=abc\"");
}

static void
a_removed_object_is_the_end_of_it(void **state)
{
    (void)state;
    fake_set("b", "a", "old");
    struct sf_version v = listed("a");
    struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
    assert_int_equal(wait_for(p->kept), 0);
    fake_remove("b", "a");
    assert_int_equal(wait_for(flush("a")), 0);
    assert_int_equal(wait_for(p->settled), -ENOENT);
    assert_string_equal(fake_order(), "");
    assert_int_equal(records(), 0);
}

/* Two changes in a row: the second means the version that the first made. */
static void
a_second_change_follows_the_first(void **state)
{
    (void)state;
    fake_opaque_etags(true);
    fake_set("b", "a", "text");
    struct sf_version v = listed("a");
    fake_close(FAKE_COPY);
    struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
    assert_int_equal(wait_for(p->kept), 0);
    struct got *f = flush("a");
    fake_wait_at_gate(FAKE_COPY, 1);
    struct pair *q = change("a", &v, mark_of(0640, 7 * SECOND, 8 * SECOND), NULL);
    assert_int_equal(wait_for(q->kept), 0);
    fake_open(FAKE_COPY);
    assert_int_equal(wait_for(f), 0);
    assert_int_equal(wait_for(p->settled), 0);
    assert_int_equal(wait_for(flush("a")), 0);
    assert_int_equal(wait_for(q->settled), 0);
    assert_int_equal(stored("a").mtime_ns, 7 * SECOND); /* nobody else's version */
}

/* ---- markers of directories ------------------------------------------------------------------ */

static void
a_directory_gets_a_marker(void **state)
{
    (void)state;
    struct sf_mark m = mark_of(0, 5 * SECOND, 5 * SECOND);
    m.mode = 040700;
    struct pair *p = change("d/.emptyFolderPlaceholder", NULL, m, NULL);
    assert_int_equal(wait_for(flush("d/")), 0);
    assert_int_equal(wait_for(p->settled), 0);
    assert_true(fake_has("b", "d/.emptyFolderPlaceholder", ""));
    assert_int_equal(stored("d/.emptyFolderPlaceholder").mode, 040700);
    assert_string_equal(fake_order(), "post b/d/.emptyFolderPlaceholder;");

    m.mode = 040755;
    p = change("d/.emptyFolderPlaceholder", NULL, m, NULL);
    assert_int_equal(wait_for(flush(NULL)), 0);
    assert_int_equal(wait_for(p->settled), 0);
    assert_int_equal(stored("d/.emptyFolderPlaceholder").mode, 040755);
}

static void
a_marker_whose_reply_was_lost_is_made_once(void **state)
{
    (void)state;
    struct sf_mark m = mark_of(0, 5 * SECOND, 5 * SECOND);
    m.mode = 040700;
    fake_fault(FAKE_PUT, 1, FAKE_LOST_AFTER, -EIO);
    struct pair *p = change("d/.emptyFolderPlaceholder", NULL, m, NULL);
    assert_int_equal(wait_for(flush(NULL)), 0);
    assert_int_equal(wait_for(p->settled), 0);
    assert_string_equal(fake_order(), "post b/d/.emptyFolderPlaceholder;");
}

/* ---- failures -------------------------------------------------------------------------------- */

static void
a_lost_reply_is_settled(void **state)
{
    (void)state;
    for (int before = 0; before < 2; before++) {
        char expected[64];
        fake_opaque_etags(true);
        fake_set("b", before ? "x" : "y", "text");
        struct sf_version v = listed(before ? "x" : "y");
        fake_fault(FAKE_COPY, 1, before ? FAKE_LOST_BEFORE : FAKE_LOST_AFTER, -EIO);
        struct pair *p =
            change(before ? "x" : "y", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
        assert_int_equal(wait_for(flush(NULL)), 0);
        assert_int_equal(wait_for(p->settled), 0);
        assert_int_equal(stored(before ? "x" : "y").mode, 0100600);
        assert_int_equal(stored(before ? "x" : "y").mtime_ns, 5 * SECOND);
        snprintf(expected, sizeof expected,
                 before ? "copy b/y b/y;copy b/x b/x;" : "copy b/y b/y;");
        assert_string_equal(fake_order(), expected);
    }
}

static void
a_service_that_is_away_is_waited_for(void **state)
{
    (void)state;
    fake_function(true);
    fake_set("b", "a", "text");
    struct sf_version v = listed("a");
    fake_fault(FAKE_INFO, 1, FAKE_REFUSED, -ETIMEDOUT);
    struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
    assert_int_equal(wait_for(flush("a")), -ETIMEDOUT); /* fsync says so */
    assert_false(has_come(p->settled));
    assert_int_equal(records(), 1);
    assert_int_equal(wait_for(p->settled), 0); /* and it goes on by itself */
    assert_int_equal(stored("a").mode, 0100600);
}

static void
a_refusal_keeps_them_here(void **state)
{
    (void)state;
    fake_set("b", "a", "text");
    struct sf_version v = listed("a");
    fake_fault(FAKE_COPY, 1, FAKE_REFUSED, -EACCES);
    struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
    assert_int_equal(wait_for(flush("a")), 0);
    assert_int_equal(wait_for(p->settled), -EACCES);
    assert_int_equal(locals(), 1);
}

/* ---- the journal ----------------------------------------------------------------------------- */

static void
a_start_finishes_what_was_kept(void **state)
{
    (void)state;
    fake_set("b", "a", "text");
    struct sf_version v = listed("a");
    struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
    assert_int_equal(wait_for(p->kept), 0);
    restart(); /* well within the second */
    assert_int_equal(p->settled->err.code, -ECANCELED);
    assert_string_equal(fake_order(), "");
    assert_int_equal(records(), 1);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    assert_int_equal(stored("a").mode, 0100600);
    assert_int_equal(records(), 0);
    restart();
    assert_int_equal(records(), 0); /* and not a second time */
}

/* What a listing shows is overlaid with what is on its way, or stays here. */
static void
what_is_pending_can_be_asked_for(void **state)
{
    (void)state;
    fake_set("b", "a", "text");
    struct sf_version v = listed("a"), other = v;
    other.size++;
    struct sf_mark m = mark_of(0644, SECOND, SECOND), theirs = m;
    assert_false(sf_write_attrs_pending(writer, "b", "a", &v, &m));
    assert_int_equal(m.mode, 0100644);
    struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND),
                            "{\"user.a\":null,\"user.b\":\"Mg==\"}");
    assert_int_equal(wait_for(p->kept), 0);
    restart();
    assert_true(sf_write_attrs_pending(writer, "b", "a", &v, &m));
    assert_true(m.mode == 0100600 && m.mtime_ns == 5 * SECOND);
    assert_true(sf_write_attrs_pending(writer, "b", "a", &other, &theirs));
    assert_true(theirs.mode == 0100600 && theirs.mtime_ns == SECOND);
    assert_false(sf_write_attrs_pending(writer, "b", "ab", &v, &m));
    char *x = strdup("{\"user.a\":\"MQ==\",\"user.c\":\"MQ==\"}");
    assert_int_equal(sf_write_xattrs_pending(writer, "b", "a", &v, &m, &x), 0);
    assert_string_equal(x, "{\"user.c\":\"MQ==\",\"user.b\":\"Mg==\"}");
    theirs.ino++; /* another file */
    assert_int_equal(sf_write_xattrs_pending(writer, "b", "a", &other, &theirs, &x), 0);
    assert_int_equal(sf_write_xattrs_pending(writer, "b", "ab", &v, &m, &x), 0);
    assert_string_equal(x, "{\"user.c\":\"MQ==\",\"user.b\":\"Mg==\"}");
    free(x);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    assert_false(sf_write_attrs_pending(writer, "b", "a", &v, &m));
}

/* The copy was done, its reply and the daemon lost: nothing is done again. */
static void
a_start_sees_that_a_copy_was_done(void **state)
{
    (void)state;
    fake_opaque_etags(true);
    fake_set("b", "a", "text");
    struct sf_version v = listed("a");
    fake_fault(FAKE_COPY, 1, FAKE_LOST_AFTER, -EIO);
    fake_fault(FAKE_INFO, 1, FAKE_REFUSED, 0);
    struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
    assert_int_equal(wait_for(p->kept), 0);
    fake_close(FAKE_INFO);
    struct got *f = flush("a");
    fake_wait_at_gate(FAKE_INFO, 1);
    fake_open(FAKE_INFO);
    (void)wait_for(f);
    restart();
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    assert_string_equal(fake_order(), "copy b/a b/a;");
    assert_int_equal(stored("a").mtime_ns, 5 * SECOND);
    assert_int_equal(records(), 0);
}

/* ---- uploads and names ----------------------------------------------------------------------- */

static void
an_upload_takes_them_along(void **state)
{
    (void)state;
    fake_set("b", "a", "text");
    struct sf_version v = listed("a"), now = {.size = 9, .id = "new"};
    struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), "{\"user.a\":\"\"}");
    assert_int_equal(wait_for(p->kept), 0);
    struct sf_attrs_entry *e = sf_attrs_take(writer, "b", "a");
    assert_non_null(e);
    assert_null(sf_attrs_take(writer, "b", "a"));
    assert_string_equal(e->xattrs, "{\"user.a\":\"\"}");
    sf_attrs_give_back(e, NULL); /* the upload failed */
    assert_int_equal(records(), 1);
    e = sf_attrs_take(writer, "b", "a");
    assert_non_null(e);
    sf_attrs_give_back(e, &now);
    assert_int_equal(wait_for(p->settled), 0);
    assert_string_equal(p->now.id, "new");
    assert_int_equal(records(), 0);
    assert_null(sf_attrs_take(writer, "b", "a"));
    assert_string_equal(fake_order(), "");
}

static void
a_failed_upload_gives_back_to_a_later_change(void **state)
{
    (void)state;
    fake_function(true);
    fake_set("b", "a", "text");
    struct sf_version v = listed("a");
    struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), "{\"user.a\":\"\"}");
    assert_int_equal(wait_for(p->kept), 0);
    struct sf_attrs_entry *e = sf_attrs_take(writer, "b", "a");
    struct pair *q = change("a", &v, mark_of(0640, 5 * SECOND, 7 * SECOND), "{\"user.b\":\"\"}");
    assert_int_equal(wait_for(q->kept), 0);
    sf_attrs_give_back(e, NULL);
    assert_int_equal(records(), 1);
    restart();
    assert_int_equal(records(), 1); /* one record has both */
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    assert_int_equal(stored("a").mode, 0100640);
    assert_non_null(strstr(fake_find("b", "a")->metadata, "{\"user.a\":\"\",\"user.b\":\"\"}"));
}

static void
what_is_local_follows_a_rename(void **state)
{
    (void)state;
    char big[2000];
    memset(big, 'x', sizeof big);
    fake_set_bytes("b", "d/a", big, sizeof big);
    struct sf_version v = listed("d/a");
    struct pair *p = change("d/a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
    assert_int_equal(wait_for(flush(NULL)), 0);
    assert_int_equal(wait_for(p->settled), -EFBIG);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    sf_attrs_moved(writer, "b", "d/", "b", "e/f/");
    assert_null(sf_attrs_take(writer, "b", "d/a"));
    restart();
    struct sf_attrs_entry *e = sf_attrs_take(writer, "b", "e/f/a");
    assert_non_null(e);
    assert_int_equal(e->mark.mode, 0100600);
    sf_attrs_give_back(e, NULL);
    assert_int_equal(locals(), 1);
    sf_attrs_gone(writer, "b", "e/f/a");
    assert_int_equal(records(), 0);
    restart();
    assert_int_equal(records(), 0);
}

/* Its record is still being written when the name changes. */
static void
what_has_just_begun_follows_a_rename(void **state)
{
    (void)state;
    fake_set("b", "a", "text");
    struct sf_version v = listed("a");
    struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
    sf_attrs_moved(writer, "b", "a", "b", "c");
    fake_set("b", "c", "text");
    fake_remove("b", "a");
    assert_int_equal(wait_for(p->kept), 0);
    assert_int_equal(wait_for(flush("c")), 0);
    assert_int_equal(wait_for(p->settled), 0);
    assert_int_equal(stored("c").mode, 0100600);
    assert_int_equal(records(), 0);
}

/* chmod, then another write and close within the second: one request brings both. */
static void
a_commit_brings_what_is_pending(void **state)
{
    (void)state;
    fake_describe(fake_set("b", "a", "text"), NULL, NULL,
                  "{\"supafs\":{\"v\":1,\"x\":{\"user.a\":\"MQ==\"}}}");
    struct sf_version v = listed("a");
    struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND),
                            "{\"user.a\":null,\"user.b\":\"Mg==\"}");
    assert_int_equal(wait_for(p->kept), 0);
    struct sf_content *c = content("a", "more text");
    struct got *g = got_new();
    struct sf_commit_args args = {.exists = true,
                                  .base = &v,
                                  .mark = "supafs=\"1;m=100644;t=5;c=5\"",
                                  .max_size = UINT64_MAX};
    sf_content_commit(c, &args, on_commit, g);
    assert_int_equal(wait_for(g), 0);
    assert_int_equal(wait_for(p->settled), 0);
    assert_string_equal(p->now.id, g->done.id);
    assert_string_equal(fake_order(), "put b/a;");
    assert_int_equal(stored("a").mode, 0100600); /* the chmod was later than what the commit knew */
    assert_non_null(strstr(fake_find("b", "a")->metadata, "\"x\":{\"user.b\":\"Mg==\"}"));
    assert_int_equal(records(), 0);

    /* A commit that knows of a later change has the say. */
    p = change("a", &v, mark_of(0640, 5 * SECOND, 7 * SECOND), NULL);
    assert_int_equal(wait_for(p->kept), 0);
    assert_int_equal(sf_content_write(c, "X", 1, 0), 1);
    g = got_new();
    args.mark = "supafs=\"1;m=100444;t=5;c=8\"";
    sf_content_commit(c, &args, on_commit, g);
    assert_int_equal(wait_for(g), 0);
    assert_int_equal(wait_for(p->settled), 0);
    assert_int_equal(stored("a").mode, 0100444);
    sf_content_unref(c);
}

/* A file that was never sent is renamed over another one, whose chmod is still pending. */
static void
a_commit_of_another_file_does_not(void **state)
{
    (void)state;
    fake_set("b", "a", "text");
    struct sf_version v = listed("a");
    struct pair *p =
        change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), "{\"user.b\":\"Mg==\"}");
    assert_int_equal(wait_for(p->kept), 0);
    struct sf_content *c = content("a", "of another");
    struct sf_commit_args args = {.exists = true,
                                  .base = &v,
                                  .mark = "supafs=\"1;m=100644;t=4;c=4;i=def\"",
                                  .max_size = UINT64_MAX};
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -EACCES);
    struct got *g = got_new();
    sf_content_commit(c, &args, on_commit, g);
    assert_int_equal(wait_for(g), -EACCES);
    assert_int_equal(records(), 1); /* the other file is still there */
    g = got_new();
    sf_content_commit(c, &args, on_commit, g);
    assert_int_equal(wait_for(g), 0);
    assert_int_equal(wait_for(p->settled), -ENOENT);
    assert_int_equal(stored("a").mode, 0100644);
    assert_int_equal(stored("a").ino, 0xdef);
    assert_null(strstr(fake_find("b", "a")->metadata, "user.b"));
    assert_int_equal(records(), 0);
    sf_content_unref(c);
    restart();
    assert_int_equal(records(), 0);
}

static void
a_failed_commit_leaves_them_pending(void **state)
{
    (void)state;
    fake_set("b", "a", "text");
    struct sf_version v = listed("a");
    struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
    assert_int_equal(wait_for(p->kept), 0);
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -EACCES);
    struct sf_content *c = content("a", "more text");
    assert_int_equal(wait_for(commit(c, true)), -EACCES);
    assert_int_equal(wait_for(flush("a")), 0);
    assert_int_equal(wait_for(p->settled), 0);
    assert_true(fake_has("b", "a", "text"));
    assert_int_equal(stored("a").mode, 0100600);
    (void)sf_content_abandon(c);
    sf_content_unref(c);
}

/* They are written before the name changes, and what is local goes along. */
static void
a_rename_and_a_removal_take_them_into_account(void **state)
{
    (void)state;
    fake_set("b", "a", "text");
    fake_set("b", "d/x", "");
    struct sf_version v = listed("a"), x = listed("d/x");
    struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
    struct pair *q = change("d/x", &x, mark_of(0640, 5 * SECOND, 6 * SECOND), NULL);
    assert_int_equal(wait_for(p->kept), 0);
    assert_int_equal(wait_for(q->kept), 0);
    assert_int_equal(wait_for(rename_to("a", "c", false)), 0);
    assert_int_equal(wait_for(p->settled), 0);
    assert_int_equal(stored("c").mode, 0100600);
    assert_int_equal(wait_for(delete_key("d/x")), 0);
    assert_int_equal(wait_for(q->settled), -ENOENT);
    assert_int_equal(records(), 0);
    assert_string_equal(fake_order(), "copy b/a b/a;move b/a b/c;delete b/d/x;");
}

/* ---- replaced files -------------------------------------------------------------------------- */

/* Replaced, without the record of its attributes having gone before the daemon has. */
static void
a_start_leaves_the_successor_alone(void **state)
{
    (void)state;
    fake_set("b", "a", "text");
    struct sf_version v = listed("a");
    struct pair *p =
        change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), "{\"user.a\":\"MQ==\"}");
    assert_int_equal(wait_for(p->kept), 0);
    sf_writer_free(writer);
    fake_describe(fake_set("b", "a", "TEXT"), NULL, "supafs=\"1;m=100644;t=4;c=4;i=def\"", NULL);
    writer_start(4, 0);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    assert_string_equal(fake_find("b", "a")->cache_control, "supafs=\"1;m=100644;t=4;c=4;i=def\"");
    assert_string_equal(fake_order(), "");
    assert_int_equal(records(), 0);
}

/* Nothing but the order tells the two apart. */
static void
nothing_is_left_when_a_rename_has_replaced_it(void **state)
{
    (void)state;
    for (int queued = 0; queued < 2; queued++) {
        fake_set("b", "a", "text");
        fake_set("b", "x", "text");
        struct sf_version v = listed("a");
        fake_close(FAKE_COPY);
        struct got *g = rename_to("x", "a", true);
        fake_wait_at_gate(FAKE_COPY, 1);
        struct pair *p =
            change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), "{\"user.a\":\"MQ==\"}");
        assert_int_equal(wait_for(p->kept), 0);
        assert_int_equal(on_disk(), 1);
        struct got *f = queued ? flush("a") : NULL;
        fake_open(FAKE_COPY);
        assert_int_equal(wait_for(g), 0);
        assert_int_equal(on_disk(), 0);
        assert_int_equal(wait_for(p->settled), -ENOENT);
        if (f)
            assert_int_equal(wait_for(f), 0);
        assert_null(strstr(fake_find("b", "a")->cache_control, "supafs"));
        assert_int_equal(records(), 0);
    }
}

static void
nothing_is_left_when_it_was_removed(void **state)
{
    (void)state;
    for (int queued = 0; queued < 2; queued++) {
        fake_set("b", "a", "text");
        struct sf_version v = listed("a");
        fake_close(FAKE_DELETE);
        struct got *g = delete_key("a");
        fake_wait_at_gate(FAKE_DELETE, 1);
        struct pair *p = change("a", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
        assert_int_equal(wait_for(p->kept), 0);
        struct got *f = queued ? flush("a") : NULL;
        fake_open(FAKE_DELETE);
        assert_int_equal(wait_for(g), 0);
        assert_int_equal(on_disk(), 0);
        assert_int_equal(wait_for(p->settled), -ENOENT);
        if (f)
            assert_int_equal(wait_for(f), 0);
        assert_int_equal(records(), 0);
    }
}

static int
see_key(void *arg, struct sf_record *r)
{
    if (r->kind == SF_RECORD_ATTRS)
        snprintf(arg, 8, "%s", r->key);
    return 0;
}

/* It is queued behind the rename of its own object, and does not come to run: a start finds it
 * under the new name. */
static void
what_is_queued_follows_a_rename_at_once(void **state)
{
    (void)state;
    char key[8] = "";
    fake_set("b", "x", "text");
    struct sf_version v = listed("x");
    fake_close(FAKE_MOVE);
    fake_close(FAKE_PUT);
    struct got *g = rename_to("x", "y", false);
    fake_wait_at_gate(FAKE_MOVE, 1);
    struct pair *p = change("x", &v, mark_of(0600, 5 * SECOND, 6 * SECOND), NULL);
    assert_int_equal(wait_for(p->kept), 0);
    struct got *f = flush("x"), *in_its_way = put_small("y", "more", true);
    fake_open(FAKE_MOVE);
    assert_int_equal(wait_for(g), 0);
    assert_int_equal(sf_journal_each(((struct sf_writer *)writer)->journal, see_key, key), 0);
    assert_string_equal(key, "y");
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(in_its_way), 0);
    assert_int_equal(wait_for(f), 0);
    assert_int_equal(wait_for(p->settled), 0);
    assert_int_equal(stored("y").mode, 0100600);
}

static const struct sf_record pending_attrs = {.kind = SF_RECORD_ATTRS,
                                               .state = SF_RECORD_ATTRS_WANTED,
                                               .bucket = (char *)"b",
                                               .key = (char *)"a",
                                               .mark =
                                                   (char *)"supafs=\"1;m=100600;t=5;c=6;i=abc\"",
                                               .xattrs = (char *)"{\"user.b\":\"Mg==\"}"};

/* It died in the middle of a rename over the file, by which it is gone. */
static void
a_rename_that_a_start_ends_takes_them(void **state)
{
    (void)state;
    const char *op = "abcdefghijklmnopqrstuvwxyz";
    for (int copied = 0; copied < 2; copied++) {
        fake_set("b", "a", "text");
        struct sf_record attrs = pending_attrs;
        attrs.base = listed("a");
        fake_set("b", "x", "text");
        if (copied)
            fake_describe((struct fake_object *)fake_find("b", "a"), NULL, NULL,
                          "{\"supafs\":{\"v\":1,\"op\":\"abcdefghijklmnopqrstuvwxyz\"}}");
        struct sf_record rename = {.kind = SF_RECORD_RENAME,
                                   .state = SF_RECORD_RENAME_COPYING,
                                   .bucket = (char *)"b",
                                   .key = (char *)"x",
                                   .to_bucket = (char *)"b",
                                   .to_key = (char *)"a",
                                   .replace = true,
                                   .source = listed("x")};
        memcpy(rename.op, op, sizeof rename.op);
        struct sf_journal *j = leave_begin();
        leave(j, &attrs);
        leave(j, &rename);
        leave_end(j);
        assert_null(fake_find("b", "x"));
        assert_null(strstr(fake_find("b", "a")->cache_control, "supafs"));
        assert_null(strstr(fake_find("b", "a")->metadata, "user.b"));
        assert_int_equal(records(), 0);
        assert_int_equal(on_disk(), 0);
    }
}

/* Of two files that had the name one after the other. */
static void
two_records_of_two_files_are_not_one(void **state)
{
    (void)state;
    fake_describe(fake_set("b", "a", "text"), NULL, "supafs=\"1;m=100644;t=4;c=4;i=def\"", NULL);
    struct sf_record later = pending_attrs;
    later.mark = (char *)"supafs=\"1;m=100640;t=4;c=7;i=def\"";
    later.xattrs = (char *)"{\"user.c\":\"Mg==\"}";
    struct sf_journal *j = leave_begin();
    leave(j, &pending_attrs);
    leave(j, &later);
    leave_end(j);
    assert_int_equal(stored("a").mode, 0100640);
    assert_null(strstr(fake_find("b", "a")->metadata, "user.b"));
    assert_non_null(strstr(fake_find("b", "a")->metadata, "user.c"));
    assert_int_equal(records(), 0);
    restart();
    assert_int_equal(on_disk(), 0);
}

/* Bytes that were to be sent over a file which a rename had replaced, and what that one had. */
static void
a_start_sends_no_attributes_of_a_replaced_file(void **state)
{
    (void)state;
    fake_describe(fake_set("b", "a", "old"), NULL, "supafs=\"1;m=100600;t=5;c=6;i=abc;x\"",
                  "{\"k\":1,\"supafs\":{\"v\":1,\"x\":{\"user.a\":\"MQ==\"}}}");
    struct sf_record content = {.kind = SF_RECORD_CONTENT,
                                .state = SF_RECORD_CONTENT_SENDING,
                                .bucket = (char *)"b",
                                .key = (char *)"a",
                                .op = "abcdefghijklmnopqrstuvwxyz",
                                .file = (char *)"f",
                                .size = 3,
                                .data = (char *)"new",
                                .synced = true,
                                .exists = true,
                                .whole = true,
                                .mark = (char *)"supafs=\"1;m=100644;t=4;c=4;i=def\""};
    sf_boot_id(content.boot);
    struct sf_journal *j = leave_begin();
    leave(j, &pending_attrs);
    leave(j, &content);
    leave_end(j);
    assert_true(fake_has("b", "a", "new"));
    assert_int_equal(stored("a").mode, 0100644);
    assert_null(strstr(fake_find("b", "a")->metadata, "user."));
    assert_non_null(strstr(fake_find("b", "a")->metadata, "\"k\":1"));
    assert_int_equal(records(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_function_sets_them_without_moving_a_byte),
        TEST(without_it_the_object_is_copied_onto_itself),
        TEST(changes_of_a_second_are_one),
        TEST(what_is_there_already_sends_nothing),
        TEST(a_large_object_keeps_them_here),
        TEST(somebody_elses_version_keeps_its_times),
        TEST(another_file_of_the_name_gets_none),
        TEST(the_function_sees_a_write_that_comes_between),
        TEST(a_removed_object_is_the_end_of_it),
        TEST(a_second_change_follows_the_first),
        TEST(a_directory_gets_a_marker),
        TEST(a_marker_whose_reply_was_lost_is_made_once),
        TEST(a_lost_reply_is_settled),
        TEST(a_service_that_is_away_is_waited_for),
        TEST(a_refusal_keeps_them_here),
        TEST(a_start_finishes_what_was_kept),
        TEST(what_is_pending_can_be_asked_for),
        TEST(a_start_sees_that_a_copy_was_done),
        TEST(an_upload_takes_them_along),
        TEST(a_failed_upload_gives_back_to_a_later_change),
        TEST(what_is_local_follows_a_rename),
        TEST(what_has_just_begun_follows_a_rename),
        TEST(a_commit_brings_what_is_pending),
        TEST(a_commit_of_another_file_does_not),
        TEST(a_failed_commit_leaves_them_pending),
        TEST(a_rename_and_a_removal_take_them_into_account),
        TEST(a_start_leaves_the_successor_alone),
        TEST(nothing_is_left_when_a_rename_has_replaced_it),
        TEST(nothing_is_left_when_it_was_removed),
        TEST(what_is_queued_follows_a_rename_at_once),
        TEST(a_rename_that_a_start_ends_takes_them),
        TEST(two_records_of_two_files_are_not_one),
        TEST(a_start_sends_no_attributes_of_a_replaced_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
