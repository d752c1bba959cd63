/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Content type and Cache-Control that somebody sets (write.h): of an object whose bytes stay, and
 * of bytes that are still to be sent; by a copy, by the function of the database, with an upload;
 * over lost replies, foreign writes, renames and what a start finds in the journal.
 */
#include "attrs-fixture.h"

#include "write/meta.h"

#define HTML "text/html; charset=utf-8"

static struct pair *
set(const char *key, const struct sf_version *seen, struct sf_mark mark, const char *mime,
    const char *cc)
{
    return change_with((struct sf_attr_change){
        .key = key, .seen = seen, .mark = &mark, .mime = mime, .cache_control = cc});
}

static struct sf_mark
at(int64_t ctime_s)
{
    return mark_of(0600, 5 * SECOND, ctime_s * SECOND);
}

static void
done(const char *key, struct pair *p)
{
    assert_int_equal(wait_for(flush(key)), 0);
    assert_int_equal(wait_for(p->settled), 0);
}

static void
expect(const char *key, const char *mime, const char *cc)
{
    const struct fake_object *o = fake_find("b", key);
    assert_non_null(o);
    assert_string_equal(o->mime, mime);
    assert_string_equal(o->cache_control, cc);
}

static void
set_large(const char *key)
{
    char big[2000];
    memset(big, 'x', sizeof big);
    fake_set_bytes("b", key, big, sizeof big);
}

/* ---- the two ways ---------------------------------------------------------------------------- */

/* What a GET says of an object lies with its bytes: the function does not reach that. */
static void
a_copy_brings_them_to_the_bytes(void **state)
{
    (void)state;
    fake_function(true);
    fake_describe(fake_set("b", "a.txt", "text"), "text/plain",
                  "max-age=60, supafs=\"1;m=100644;i=abc;y\"",
                  "{\"k\":1,\"supafs\":{\"v\":1,\"x\":{\"user.a\":\"MQ==\"}}}");
    struct sf_version v = listed("a.txt");
    struct pair *p = set("a.txt", &v, at(6), HTML, NULL);
    assert_int_equal(wait_for(p->kept), 0);
    assert_string_equal(fake_order(), ""); /* it waits for more */
    done("a.txt", p);
    assert_string_equal(fake_order(), "copy b/a.txt b/a.txt;");
    expect("a.txt", HTML, "max-age=60, supafs=\"1;m=100600;t=5;c=6;i=abc;x\""); /* no guess */
    assert_non_null(strstr(fake_find("b", "a.txt")->metadata, "\"k\":1"));
    assert_non_null(strstr(fake_find("b", "a.txt")->metadata, "{\"user.a\":\"MQ==\"}"));
    assert_true(fake_has("b", "a.txt", "text"));

    p = set("a.txt", &p->now, at(7), NULL, "public, max-age=3600");
    done("a.txt", p);
    expect("a.txt", HTML, "public, max-age=3600, supafs=\"1;m=100600;t=5;c=7;i=abc;x\"");
    assert_string_equal(fake_order(), "copy b/a.txt b/a.txt;copy b/a.txt b/a.txt;");

    /* What nobody else sees of it is for the function. */
    p = change("a.txt", &p->now, at(8), NULL);
    done("a.txt", p);
    assert_string_equal(fake_order(), "copy b/a.txt b/a.txt;copy b/a.txt b/a.txt;set b/a.txt;");
    expect("a.txt", HTML, "public, max-age=3600, supafs=\"1;m=100600;t=5;c=8;i=abc;x\"");
    assert_int_equal(records(), 0);
}

static void
of_a_large_object_the_function_sets_them(void **state)
{
    (void)state;
    set_large("a");
    struct sf_version v = listed("a");
    struct pair *p = set("a", &v, at(6), HTML, "max-age=60");
    assert_int_equal(wait_for(flush("a")), 0);
    assert_int_equal(wait_for(p->settled), -EFBIG);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    assert_int_equal(locals(), 1);
    restart();
    assert_int_equal(locals(), 1); /* still known */
    fake_function(true);
    assert_int_equal(sf_attrs_retry(writer, 0), 1);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    expect("a", HTML, "max-age=60, supafs=\"1;m=100600;t=5;c=6;i=abc\"");
    assert_string_equal(fake_order(), "set b/a;");
    assert_int_equal(records(), 0);
}

static void
what_is_taken_away_is_as_nobody_had_set_it(void **state)
{
    (void)state;
    fake_describe(fake_set("b", "d/a.png", "text"), HTML, "max-age=60, supafs=\"1;i=abc\"", NULL);
    struct sf_version v = listed("d/a.png");
    struct pair *p = set("d/a.png", &v, at(6), "", "");
    done("d/a.png", p);
    expect("d/a.png", "image/png", "no-cache, supafs=\"1;m=100600;t=5;c=6;i=abc;y\"");
}

static void
what_is_so_already_sends_nothing(void **state)
{
    (void)state;
    fake_describe(fake_set("b", "a", "text"), HTML,
                  "max-age=60, supafs=\"1;m=100600;t=5;c=6;i=abc\"", NULL);
    struct sf_version v = listed("a");
    done("a", set("a", &v, at(6), HTML, "max-age=60"));
    assert_string_equal(fake_order(), "");
    /* The same, but as no guess any more: no byte has to be told that. */
    fake_function(true);
    fake_describe((struct fake_object *)fake_find("b", "a"), HTML,
                  "max-age=60, supafs=\"1;m=100600;t=5;c=6;i=abc;y\"", NULL);
    v = listed("a");
    done("a", set("a", &v, at(6), HTML, NULL));
    assert_string_equal(fake_order(), "set b/a;");
    expect("a", HTML, "max-age=60, supafs=\"1;m=100600;t=5;c=6;i=abc\"");
}

static void
changes_of_a_second_are_one(void **state)
{
    (void)state;
    fake_set("b", "a", "text");
    struct sf_version v = listed("a");
    struct pair *p[5];
    p[0] = set("a", &v, at(6), "text/css", "max-age=1");
    p[1] = change("a", &v, at(7), "{\"user.a\":\"MQ==\"}");
    p[2] = set("a", &v, at(8), "", NULL);
    p[3] = set("a", &v, at(9), HTML, NULL);
    p[4] = change("a", &v, at(10), NULL);
    assert_int_equal(wait_for(flush("a")), 0);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(wait_for(p[i]->settled), 0);
    assert_string_equal(fake_order(), "copy b/a b/a;");
    expect("a", HTML, "max-age=1, supafs=\"1;m=100600;t=5;c=10;i=abc;x\"");
}

/* ---- others, and what goes wrong ------------------------------------------------------------- */

static void
bytes_of_somebody_else_keep_theirs(void **state)
{
    (void)state;
    fake_set("b", "a", "old");
    struct sf_version v = listed("a");
    fake_describe(fake_set("b", "a", "his text"), "text/x-his", "max-age=9", NULL);
    done("a", set("a", &v, at(6), HTML, "max-age=60"));
    expect("a", "text/x-his", "max-age=9, supafs=\"1;m=100600;i=abc\"");
    assert_true(fake_has("b", "a", "his text"));
}

static void
a_lost_reply_is_settled(void **state)
{
    (void)state;
    for (int before = 0; before < 2; before++) {
        const char *key = before ? "x" : "y";
        fake_set("b", key, "text");
        struct sf_version v = listed(key);
        fake_fault(FAKE_COPY, 1, before ? FAKE_LOST_BEFORE : FAKE_LOST_AFTER, -EIO);
        done(key, set(key, &v, at(6), HTML, "max-age=60"));
        expect(key, HTML, "max-age=60, supafs=\"1;m=100600;t=5;c=6;i=abc\"");
    }
    assert_string_equal(fake_order(), "copy b/y b/y;copy b/x b/x;");
}

static void
a_refusal_keeps_them_for_the_next_upload(void **state)
{
    (void)state;
    fake_set("b", "a", "text");
    struct sf_version v = listed("a");
    fake_fault(FAKE_COPY, 1, FAKE_REFUSED, -EACCES);
    struct pair *p = set("a", &v, at(6), HTML, "max-age=60");
    assert_int_equal(wait_for(flush("a")), 0);
    assert_int_equal(wait_for(p->settled), -EACCES);
    assert_int_equal(locals(), 1);
    struct sf_content *c = content("a", "more text");
    assert_int_equal(wait_for(commit(c, true)), 0);
    sf_content_unref(c);
    assert_string_equal(fake_order(), "put b/a;");
    expect("a", HTML, "max-age=60, supafs=\"1;m=100600;t=5;c=6;i=abc\"");
    assert_int_equal(records(), 0);
}

/* An upload that has them fails while later changes are noted: these have the say. */
static void
what_comes_back_joins_a_later_change(void **state)
{
    (void)state;
    for (int again = 0; again < 2; again++) {
        fake_set("b", "a", "text");
        struct sf_version v = listed("a");
        struct pair *p = set("a", &v, at(6), HTML, "max-age=60");
        assert_int_equal(wait_for(p->kept), 0);
        struct sf_attrs_entry *e = sf_attrs_take(writer, "b", "a");
        assert_string_equal(e->mime, HTML);
        struct pair *q = set("a", &v, at(7), again ? "text/css" : NULL, NULL);
        assert_int_equal(wait_for(q->kept), 0);
        sf_attrs_give_back(e, NULL);
        restart();
        assert_int_equal(records(), 1); /* one record has both */
        assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
        expect("a", again ? "text/css" : HTML, "max-age=60, supafs=\"1;m=100600;t=5;c=7;i=abc\"");
    }
}

/* It has taken the name of the one that they were set of. */
static void
another_file_gets_none_of_them(void **state)
{
    (void)state;
    struct sf_mark other = at(7);
    other.ino = 0xdef;
    fake_describe(fake_set("b", "a", "text"), "text/plain", "no-cache, supafs=\"1;i=def\"", NULL);
    struct sf_version v = listed("a");
    struct pair *p = set("a", NULL, at(6), HTML, "max-age=60"), *q = change("a", &v, other, NULL);
    assert_int_equal(wait_for(p->kept), 0);
    done("a", q);
    assert_int_equal(wait_for(p->settled), 0);
    expect("a", "text/plain", "no-cache, supafs=\"1;m=100600;t=5;c=7;i=def\"");
}

/* ---- the journal ----------------------------------------------------------------------------- */

static void
a_start_finishes_what_was_kept(void **state)
{
    (void)state;
    fake_set("b", "a", "text");
    struct sf_version v = listed("a"), other = v;
    other.size++;
    struct sf_mark m = at(1);
    char *mime = NULL, *cc = NULL;
    struct pair *p = set("a", &v, at(6), HTML, "");
    assert_int_equal(wait_for(p->kept), 0);
    restart(); /* well within the second */
    assert_int_equal(p->settled->err.code, -ECANCELED);
    assert_string_equal(fake_order(), "");
    assert_int_equal(sf_write_type_pending(writer, "b", "a", &other, &m, &mime, &cc), 0);
    assert_int_equal(sf_write_type_pending(writer, "b", "ab", &v, &m, &mime, &cc), 0);
    assert_true(!mime && !cc);
    assert_int_equal(sf_write_type_pending(writer, "b", "a", &v, &m, &mime, &cc), 0);
    assert_string_equal(mime, HTML);
    assert_string_equal(cc, "");
    free(mime);
    free(cc);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    expect("a", HTML, "no-cache, supafs=\"1;m=100600;t=5;c=6;i=abc\"");
    assert_int_equal(records(), 0);
    restart();
    assert_int_equal(records(), 0); /* and not a second time */
}

/* Killed with the copy done or not, and the record saying that it may be. */
static void
a_start_sees_that_a_copy_was_done(void **state)
{
    (void)state;
    for (int copied = 0; copied < 2; copied++) {
        const char *key = copied ? "y" : "x";
        struct sf_record r = {.kind = SF_RECORD_ATTRS,
                              .state = SF_RECORD_ATTRS_WRITING,
                              .bucket = (char *)"b",
                              .key = (char *)key,
                              .op = "abcdefghijklmnopqrstuvwxyz",
                              .mark = (char *)"supafs=\"1;m=100600;t=5;c=6;i=abc\"",
                              .mime = (char *)HTML,
                              .set_cache_control = (char *)"max-age=60"};
        struct fake_object *o = fake_set("b", key, "text");
        r.base = listed(key);
        if (copied)
            fake_describe(o, HTML, "max-age=60, supafs=\"1;m=100600;t=5;c=6;i=abc\"",
                          "{\"supafs\":{\"v\":1,\"op\":\"abcdefghijklmnopqrstuvwxyz\"}}");
        struct sf_journal *j = leave_begin();
        leave(j, &r);
        leave_end(j);
        expect(key, HTML, "max-age=60, supafs=\"1;m=100600;t=5;c=6;i=abc\"");
        assert_int_equal(records(), 0);
        assert_int_equal(on_disk(), 0);
    }
    assert_string_equal(fake_order(), "copy b/x b/x;");
}

/* As a version before this one wrote it. */
static void
a_record_without_them_changes_neither(void **state)
{
    (void)state;
    char why[160];
    const char old[] = "{\"v\":1,\"kind\":\"attrs\",\"state\":\"wanted\",\"bucket\":\"b\","
                       "\"key\":\"a\",\"made\":1,\"mark\":\"supafs=\\\"1;m=100600;c=6\\\"\","
                       "\"xattrs\":{\"user.a\":\"MQ==\"}}";
    sf_autorecord struct sf_record r = {0};
    assert_int_equal(sf_record_parse(old, sizeof old - 1, &r, why), 0);
    fake_describe(fake_set("b", "a", "text"), HTML, "max-age=60", NULL);
    struct sf_journal *j = leave_begin();
    leave(j, &r);
    leave_end(j);
    expect("a", HTML, "max-age=60, supafs=\"1;m=100600;c=6;x\"");
}

static void
no_header_comes_out_of_a_record(void **state)
{
    (void)state;
    char why[160];
    sf_autorecord struct sf_record r = {0};
    const char *const bad[] = {
        "{\"v\":1,\"kind\":\"attrs\",\"state\":\"wanted\",\"bucket\":\"b\",\"key\":\"a\","
        "\"mime\":\"text/html\\r\\nX: y\"}",
        "{\"v\":1,\"kind\":\"attrs\",\"state\":\"wanted\",\"bucket\":\"b\",\"key\":\"a\","
        "\"set_cache_control\":\"a\\nb\"}",
        "{\"v\":1,\"kind\":\"attrs\",\"state\":\"wanted\",\"bucket\":\"b\",\"key\":\"a\","
        "\"set_cache_control\":\"supafs=\\\"1;m=100600\\\"\"}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(sf_record_parse(bad[i], strlen(bad[i]), &r, why), -EPROTO);
}

/* ---- uploads --------------------------------------------------------------------------------- */

static struct got *
commit_as(struct sf_content *c, const char *mime, const char *cc, const char *mark, bool exists)
{
    struct got *g = got_new();
    const struct sf_commit_args args = {
        .exists = exists, .mark = mark, .mime = mime, .cache_control = cc, .max_size = UINT64_MAX};
    sf_content_commit(c, &args, on_commit, g);
    return g;
}

static void
an_upload_says_what_was_set(void **state)
{
    (void)state;
    struct sf_content *c = content("a.txt", "text");
    const char *mark = "supafs=\"1;m=100644;c=7;i=abc\"";
    assert_int_equal(wait_for(commit_as(c, HTML, "max-age=60", mark, false)), 0);
    expect("a.txt", HTML, "max-age=60, supafs=\"1;m=100644;c=7;i=abc\"");
    /* Later ones keep it, as no guess of ours. */
    assert_int_equal(sf_content_write(c, "T", 1, 0), 1);
    assert_int_equal(wait_for(commit_as(c, NULL, NULL, mark, true)), 0);
    expect("a.txt", HTML, "max-age=60, supafs=\"1;m=100644;c=7;i=abc\"");
    assert_int_equal(sf_content_write(c, "x", 1, 0), 1);
    assert_int_equal(wait_for(commit_as(c, "", "", mark, true)), 0);
    expect("a.txt", "text/plain", "no-cache, supafs=\"1;m=100644;c=7;i=abc;y\"");
    sf_content_unref(c);
}

/* Which of the two is younger tells the time of the change. */
static void
the_younger_of_two_goes_with_an_upload(void **state)
{
    (void)state;
    fake_set("b", "a", "text");
    struct sf_version v = listed("a");
    struct sf_content *c = content("a", "more text");
    struct pair *p = set("a", &v, at(9), HTML, "max-age=9");
    assert_int_equal(wait_for(p->kept), 0);
    assert_int_equal(
        wait_for(commit_as(c, "text/css", "max-age=8", "supafs=\"1;c=8;i=abc\"", true)), 0);
    assert_int_equal(wait_for(p->settled), 0);
    expect("a", HTML, "max-age=9, supafs=\"1;m=100600;t=5;c=9;i=abc\"");

    p = set("a", &p->now, at(10), "text/x-old", "max-age=10");
    assert_int_equal(wait_for(p->kept), 0);
    assert_int_equal(sf_content_write(c, "x", 1, 0), 1);
    assert_int_equal(
        wait_for(commit_as(c, "text/css", "max-age=11", "supafs=\"1;c=11;i=abc\"", true)), 0);
    assert_int_equal(wait_for(p->settled), 0);
    expect("a", "text/css", "max-age=11, supafs=\"1;c=11;i=abc\"");
    assert_int_equal(records(), 0);
    sf_content_unref(c);
}

/* Bytes that were acknowledged, and a daemon that was killed before they were sent. */
static void
a_start_sends_them_with_the_bytes(void **state)
{
    (void)state;
    for (int guessed = 0; guessed < 2; guessed++) {
        struct sf_record r = {.kind = SF_RECORD_CONTENT,
                              .state = SF_RECORD_CONTENT_SENDING,
                              .bucket = (char *)"b",
                              .key = (char *)"a.txt",
                              .op = "abcdefghijklmnopqrstuvwxyz",
                              .file = (char *)"f",
                              .size = 3,
                              .data = (char *)"new",
                              .synced = true,
                              .exists = true,
                              .whole = true,
                              .mime = guessed ? (char *)"" : (char *)HTML,
                              .set_cache_control = guessed ? (char *)"" : (char *)"max-age=60",
                              .mark = (char *)"supafs=\"1;m=100644;t=4;c=4;i=def\""};
        fake_describe(fake_set("b", "a.txt", "old"), "text/x-his", "max-age=9", NULL);
        sf_boot_id(r.boot);
        struct sf_journal *j = leave_begin();
        leave(j, &r);
        leave_end(j);
        assert_true(fake_has("b", "a.txt", "new"));
        expect("a.txt", guessed ? "text/plain" : HTML,
               guessed ? "no-cache, supafs=\"1;m=100644;t=4;c;i=def;y\""
                       : "max-age=60, supafs=\"1;m=100644;t=4;c;i=def\"");
    }
}

static void
see(void *arg, const struct sf_pending *p)
{
    unsigned *n = arg;
    assert_string_equal(p->mime, HTML);
    assert_string_equal(p->cache_control, "max-age=60");
    ++*n;
}

/* What is kept has them on disk, too, and a start tells of them. */
static void
what_is_kept_has_them(void **state)
{
    (void)state;
    unsigned n = 0;
    struct sf_content *c = content("a", "text");
    fake_close(FAKE_PUT);
    struct got *g = commit_as(c, HTML, "max-age=60", NULL, false);
    fake_wait_at_gate(FAKE_PUT, 1);
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -ETIMEDOUT);
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(g), -ETIMEDOUT);
    sf_content_unref(c);
    fake_close(FAKE_PUT);
    fake_close(FAKE_INFO);
    restart();
    sf_writer_pending(writer, see, &n);
    assert_int_equal(n, 1);
    fake_open(FAKE_INFO);
    fake_open(FAKE_PUT);
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    expect("a", HTML, "max-age=60");
}

/* ---- names ----------------------------------------------------------------------------------- */

static void
a_rename_guesses_no_type_that_was_set(void **state)
{
    (void)state;
    const char *guess = "no-cache, supafs=\"1;i=abc;y\"";
    fake_describe(fake_set("b", "a.txt", "text"), "text/plain", guess, NULL);
    assert_int_equal(wait_for(rename_to("a.txt", "b.png", false)), 0);
    assert_string_equal(fake_find("b", "b.png")->mime, "image/png");
    struct sf_version v = listed("b.png");
    struct pair *p = set("b.png", &v, at(6), HTML, NULL);
    assert_int_equal(wait_for(p->kept), 0);
    assert_int_equal(wait_for(rename_to("b.png", "c.css", false)), 0); /* and with it pending */
    assert_int_equal(wait_for(p->settled), 0);
    expect("c.css", HTML, "no-cache, supafs=\"1;m=100600;t=5;c=6;i=abc\"");
    fake_set("b", "d.pdf", "other");
    assert_int_equal(wait_for(rename_to("c.css", "d.pdf", true)), 0);
    expect("d.pdf", HTML, "no-cache, supafs=\"1;m=100600;t=5;c=6;i=abc\"");
}

/* As a move does it: type and Cache-Control are those that lie with the bytes. */
static void
from_the_bytes(void)
{
    fake_describe((struct fake_object *)fake_find("b", "c"), "text/plain", "no-cache", NULL);
}

static void
what_a_move_takes_from_the_row_comes_back(void **state)
{
    (void)state;
    for (int later = 0; later < 2; later++) {
        fake_function(true);
        set_large("a");
        struct sf_version v = listed("a");
        done("a", set("a", &v, at(6), HTML, "max-age=60"));
        fake_meanwhile(FAKE_MOVE, from_the_bytes);
        if (later)
            fake_fault(FAKE_SET_ATTRS, 1, FAKE_REFUSED, -ETIMEDOUT);
        assert_int_equal(wait_for(rename_to("a", "c", false)), 0);
        assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 9000), 0);
        expect("c", HTML, "max-age=60, supafs=\"1;m=100600;t=5;c=6;i=abc\"");
        assert_int_equal(records(), 0);
        fake_remove("b", "c");
    }
}

/* ---- attrs=none ------------------------------------------------------------------------------ */

static int
start_plain(void **state)
{
    start(state);
    sf_writer_free(writer);
    writer_start_with((struct sf_writer_opts){.workers = 4, .plain = true});
    return 0;
}

static void
without_attributes_nothing_of_ours_is_written(void **state)
{
    (void)state;
    const struct sf_mark none = {.valid = 0};
    fake_function(true);
    fake_describe(fake_set("b", "a", "text"), "text/plain", "no-cache", "{\"k\":1}");
    struct sf_version v = listed("a");
    fake_fault(FAKE_COPY, 1, FAKE_LOST_AFTER, -EIO);
    done("a", set("a", &v, none, HTML, "max-age=60"));
    expect("a", HTML, "max-age=60");
    assert_string_equal(fake_find("b", "a")->metadata, "{\"k\":1}");
    assert_string_equal(fake_order(), "copy b/a b/a;");

    /* A mount that reads marks does not take the type for a guess. */
    fake_describe(fake_set("b", "m", "text"), "text/plain",
                  "no-cache, supafs=\"1;m=100640;i=abc;y\"", NULL);
    v = listed("m");
    done("m", set("m", &v, none, HTML, NULL));
    expect("m", HTML, "no-cache, supafs=\"1;m=100640;i=abc\"");
    assert_int_equal(records(), 0);
}

static void
without_attributes_an_upload_brings_them(void **state)
{
    (void)state;
    const struct sf_mark none = {.valid = 0};
    set_large("a");
    struct sf_version v = listed("a");
    struct pair *p = set("a", &v, none, HTML, "max-age=60");
    assert_int_equal(wait_for(flush("a")), 0);
    assert_int_equal(wait_for(p->settled), -EFBIG);
    struct sf_content *c = content("a", "short");
    assert_int_equal(wait_for(commit_as(c, NULL, NULL, NULL, true)), 0);
    expect("a", HTML, "max-age=60");
    assert_int_equal(records(), 0);
    /* The same bytes once more, of another type. */
    assert_int_equal(sf_content_write(c, "short", 5, 0), 5);
    assert_int_equal(wait_for(commit_as(c, "text/css", NULL, NULL, true)), 0);
    expect("a", "text/css", "max-age=60");
    sf_content_unref(c);
}

#define TEST(name)  cmocka_unit_test_setup_teardown(name, start, teardown)
#define PLAIN(name) cmocka_unit_test_setup_teardown(name, start_plain, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_copy_brings_them_to_the_bytes),
        TEST(of_a_large_object_the_function_sets_them),
        TEST(what_is_taken_away_is_as_nobody_had_set_it),
        TEST(what_is_so_already_sends_nothing),
        TEST(changes_of_a_second_are_one),
        TEST(bytes_of_somebody_else_keep_theirs),
        TEST(a_lost_reply_is_settled),
        TEST(a_refusal_keeps_them_for_the_next_upload),
        TEST(what_comes_back_joins_a_later_change),
        TEST(another_file_gets_none_of_them),
        TEST(a_start_finishes_what_was_kept),
        TEST(a_start_sees_that_a_copy_was_done),
        TEST(a_record_without_them_changes_neither),
        TEST(no_header_comes_out_of_a_record),
        TEST(an_upload_says_what_was_set),
        TEST(the_younger_of_two_goes_with_an_upload),
        TEST(a_start_sends_them_with_the_bytes),
        TEST(what_is_kept_has_them),
        TEST(a_rename_guesses_no_type_that_was_set),
        TEST(what_a_move_takes_from_the_row_comes_back),
        PLAIN(without_attributes_nothing_of_ours_is_written),
        PLAIN(without_attributes_an_upload_brings_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
