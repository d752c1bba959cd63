/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write-fixture.h"

#include "base/cleanup.h"

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

    const struct sf_commit_args excl = {.exclusive = true};
    fake_remove("b", "dir/a.txt"); /* what this mount did not put there */
    fake_set("b", "dir/a.txt", "theirs");
    c = content("dir/a.txt", "other");
    assert_int_equal(wait_for(commit_args(c, &excl)), -EEXIST);
    assert_true(fake_has("b", "dir/a.txt", "theirs"));
    assert_int_equal(fake_count(FAKE_INFO), 0); /* no reply was lost: nothing to settle */
    teardown_content(c);
}

/* ---- conflicts ------------------------------------------------------------------------------ */

static const struct fake_object *
kept_of(struct got *g)
{
    assert_string_not_equal(g->conflict, "");
    return fake_find("b", g->conflict);
}

static void
the_later_close_wins(void **state)
{
    (void)state;
    fake_describe(fake_set("b", "d/a.txt", "theirs"), "text/x-their", "max-age=9", "{\"who\":1}");
    struct sf_content *c = content("d/a.txt", "ours");
    struct got *g = commit(c, false); /* nobody knew of it here */
    assert_int_equal(wait_for(g), 0);
    assert_true(fake_has("b", "d/a.txt", "ours"));
    const struct fake_object *kept = kept_of(g);
    assert_non_null(kept);
    assert_string_equal(kept->data, "theirs");
    assert_string_equal(kept->mime, "text/x-their");
    assert_string_equal(kept->metadata, "{\"who\":1}");
    assert_int_equal(strncmp(g->conflict, "d/a.txt.conflict-", 17), 0);
    sf_content_unref(c);
}

static struct sf_version
version_of(const char *key)
{
    const struct fake_object *o = fake_find("b", key);
    struct sf_version v = {.size = o->len};
    snprintf(v.id, sizeof v.id, "%s", o->id);
    snprintf(v.etag, sizeof v.etag, "%s", o->etag);
    return v;
}

static void
another_version_than_the_known_one(void **state)
{
    (void)state;
    for (int opaque = 0; opaque < 2; opaque++) {
        fake_opaque_etags(opaque);
        fake_set("b", "k", "seen");
        struct sf_version base = version_of("k");
        const struct sf_commit_args args = {.exists = true, .base = &base};
        struct sf_content *c = content("k", "one");
        struct got *g = commit_args(c, &args);
        assert_int_equal(wait_for(g), 0); /* that version: no conflict */
        assert_string_equal(g->conflict, "");
        sf_content_unref(c);

        fake_set("b", "k", "elsewhere");
        c = content("k", "two");
        g = commit_args(c, &args);
        assert_int_equal(wait_for(g), 0);
        assert_string_equal(kept_of(g)->data, "elsewhere");
        assert_true(fake_has("b", "k", "two"));

        assert_int_equal(sf_content_write(c, "3", 1, 0), 1);
        g = commit_args(c, &args); /* over our own */
        assert_int_equal(wait_for(g), 0);
        assert_string_equal(g->conflict, "");
        assert_true(fake_has("b", "k", "3wo"));
        sf_content_unref(c);

        c = content("k", "four"); /* another content of this mount, with older knowledge */
        g = commit_args(c, &args);
        assert_int_equal(wait_for(g), 0);
        assert_string_equal(g->conflict, "");
        sf_content_unref(c);
        fake_remove("b", "k");
    }
}

static void
the_same_bytes_are_no_conflict(void **state)
{
    (void)state;
    fake_set("b", "k", "same");
    struct sf_content *c = content("k", "same");
    struct got *g = commit(c, false);
    assert_int_equal(wait_for(g), 0);
    assert_string_equal(g->conflict, "");
    assert_int_equal(fake_count(FAKE_COPY), 0);
    sf_content_unref(c);
}

static void
a_conflict_whose_copy_has_no_reply(void **state)
{
    (void)state;
    for (int fault = FAKE_LOST_AFTER; fault <= FAKE_LOST_BEFORE; fault++) {
        fake_set("b", "k", "theirs");
        struct sf_content *c = content("k", "ours");
        fake_fault(FAKE_COPY, 1, (enum fake_fault)fault, -EIO);
        unsigned before = fake_count(FAKE_COPY);
        struct got *g = commit(c, false);
        assert_int_equal(wait_for(g), 0);
        assert_int_equal(fake_count(FAKE_COPY) - before, fault == FAKE_LOST_AFTER ? 1 : 2);
        assert_string_equal(kept_of(g)->data, "theirs");
        assert_true(fake_has("b", "k", "ours"));
        sf_content_unref(c);
        fake_remove("b", g->conflict);
        fake_remove("b", "k");
    }
}

static void
what_cannot_be_kept_is_not_replaced(void **state)
{
    (void)state;
    fake_set("b", "k", "theirs");
    struct sf_content *c = content("k", "ours");
    fake_fault(FAKE_COPY, 1, FAKE_REFUSED, -EACCES);
    assert_int_equal(wait_for(commit(c, false)), -EACCES);
    assert_true(fake_has("b", "k", "theirs"));
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
    fake_describe(fake_set("b", "a.txt", "old"), "text/x-own",
                  "max-age=3600, supafs=\"1;m=100644;t=5\"", "{\"who\":\"them\"}");
    struct sf_content *c = content("a.txt", "new");
    assert_int_equal(wait_for(commit(c, true)), 0);
    assert_string_equal(fake_order(), "put b/a.txt;");
    const struct fake_object *n = fake_find("b", "a.txt");
    assert_true(fake_has("b", "a.txt", "new"));
    assert_string_equal(n->mime, "text/x-own");
    assert_string_equal(n->cache_control, "max-age=3600, supafs=\"1;m=100644\"");
    assert_non_null(strstr(n->metadata, "{\"who\":\"them\",\"supafs\":{\"v\":1,\"op\":"));
    sf_content_unref(c);
}

/* Bytes over a symlink or fifo are a file: that type does not stay. */
static void
a_file_where_none_was(void **state)
{
    (void)state;
    static const char *const types[] = {"inode/symlink", "inode/fifo"};
    for (size_t i = 0; i < 2; i++) {
        fake_describe(fake_set("b", "a.txt", "old"), types[i], "no-cache, supafs=\"1;m=120777\"",
                      NULL);
        struct sf_content *c = content("a.txt", "new");
        assert_int_equal(wait_for(commit(c, true)), 0);
        assert_string_equal(fake_find("b", "a.txt")->mime, "text/plain");
        sf_content_unref(c);
    }
}

/* JSON of @len bytes. */
static char *
large_json(size_t len)
{
    char *json = malloc(len + 1);
    assert_non_null(json);
    memset(json, 'x', len);
    memcpy(json, "{\"k\":\"", 6);
    memcpy(json + len - 2, "\"}", 3);
    return json;
}

static void
large_metadata_goes_in_a_form(void **state)
{
    (void)state;
    sf_autofree char *json = large_json(60000);
    fake_describe(fake_set("b", "k", "old"), "text/x-own", "max-age=9", json);
    struct sf_content *c = content("k", "new");
    assert_int_equal(wait_for(commit(c, true)), 0);
    assert_string_equal(fake_order(), "form b/k;");
    const struct fake_object *o = fake_find("b", "k");
    assert_string_equal(o->data, "new");
    assert_string_equal(o->mime, "text/x-own");
    assert_string_equal(o->cache_control, "max-age=9");
    assert_int_equal(strncmp(o->metadata, json, strlen(json) - 1), 0);
    sf_content_unref(c);
}

static void
our_mark_gives_way_to_large_metadata(void **state)
{
    (void)state;
    sf_autofree char *json = large_json(60000);
    const struct sf_commit_args args = {.exists = true, .mark = "supafs=\"1;m=100600\""};
    fake_describe(fake_set("b", "k", "old"), NULL, "max-age=9", json);
    struct sf_content *c = content("k", "new");
    assert_int_equal(wait_for(commit_args(c, &args)), 0);
    const struct fake_object *o = fake_find("b", "k");
    assert_string_equal(o->cache_control, "max-age=9");
    assert_int_equal(strncmp(o->metadata, json, strlen(json) - 1), 0);
    sf_content_unref(c);
}

static void
what_no_request_carries(void **state)
{
    (void)state;
    sf_autofree char *json = large_json(60000), *huge = large_json(70000);
    static const char own[] = "public, max-age=31536000, immutable";
    fake_describe(fake_set("b", "k", "old"), NULL, own, json);
    struct sf_content *c = content("k", "new");
    assert_int_equal(wait_for(commit(c, true)), -ENOTSUP); /* a form has no place for it */
    assert_int_equal(fake_count(FAKE_PUT), 0);
    assert_true(fake_has("b", "k", "old"));
    teardown_content(c);

    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 5000), 0);
    sf_writer_free(writer); /* that there is no function was remembered */
    writer_start(4, 0);
    fake_function(true);
    c = content("k", "new");
    assert_int_equal(wait_for(commit(c, true)), 0);
    assert_string_equal(fake_order(), "form b/k;set b/k;");
    const struct fake_object *o = fake_find("b", "k");
    assert_string_equal(o->cache_control, own);
    assert_int_equal(strncmp(o->metadata, json, strlen(json) - 1), 0);
    sf_content_unref(c);

    fake_describe(fake_set("b", "k", "old"), NULL, NULL, huge);
    c = content("k", "new");
    assert_int_equal(wait_for(commit(c, true)), -ENOTSUP);
    assert_true(fake_has("b", "k", "old"));
    teardown_content(c);
}

static void
the_mark_goes_along(void **state)
{
    (void)state;
    static const char mark[] = "supafs=\"1;m=100600;t=7;i=5\"";
    const struct sf_commit_args args = {.mark = mark, .xattrs = "{\"user.a\":\"eA==\"}"};
    struct sf_content *c = content("k.txt", "text");
    assert_int_equal(wait_for(commit_args(c, &args)), 0);
    const struct fake_object *o = fake_find("b", "k.txt");
    assert_string_equal(o->cache_control, "no-cache, supafs=\"1;m=100600;t=7;i=5;y;x\"");
    assert_non_null(strstr(o->metadata, "\"user.a\":\"eA==\""));
    assert_non_null(strstr(o->metadata, "\"sha256\":\"982d9e3eb996f559e633f4d194def3761d909f5a3b6"
                                        "47d1a851fead67c32c9d1\""));
    sf_content_unref(c);
}

/* ---- in pieces ------------------------------------------------------------------------------ */

#define PIECE (6 << 20)

static struct sf_content *
large_content(const char *key, size_t len)
{
    struct sf_content *c = content(key, NULL);
    sf_autofree char *buf = malloc(len);
    assert_non_null(buf);
    for (size_t i = 0; i < len; i++)
        buf[i] = (char)(i * 2654435761u >> 13);
    assert_int_equal(sf_content_write(c, buf, len, 0), len);
    return c;
}

static void
large_files_go_in_pieces(void **state)
{
    (void)state;
    static const char mark[] = "supafs=\"1;m=100600;t=7\"";
    const struct sf_commit_args args = {.mark = mark};
    fake_request_limit(PIECE);
    struct sf_content *c = large_content("k", 2 * PIECE + 5);
    assert_int_equal(wait_for(commit_args(c, &args)), 0);
    assert_string_equal(fake_order(), "tus b/k;copy b/k b/k;");
    assert_int_equal(fake_count(FAKE_TUS_SEND), 3);
    assert_int_equal(fake_count(FAKE_PUT), 1); /* which told the limit */
    const struct fake_object *o = fake_find("b", "k");
    assert_int_equal(o->len, 2 * PIECE + 5);
    assert_string_equal(o->cache_control, "no-cache, supafs=\"1;m=100600;t=7;y\"");
    sf_content_unref(c);

    fake_function(true); /* it is asked for again after ten minutes only */
    c = large_content("l", PIECE + 1);
    assert_int_equal(wait_for(commit(c, false)), 0); /* without a mark nothing has to follow */
    assert_int_equal(fake_count(FAKE_PUT), 2);       /* smaller than what was refused */
    sf_content_unref(c);
    c = large_content("m", 2 * PIECE + 6);
    assert_int_equal(wait_for(commit(c, false)), 0);
    assert_int_equal(fake_count(FAKE_PUT), 2);
    sf_content_unref(c);
}

static void
pieces_with_lost_replies(void **state)
{
    (void)state;
    fake_request_limit(PIECE);
    struct sf_content *c = large_content("k", 2 * PIECE + 5);
    fake_fault(FAKE_TUS_CREATE, 1, FAKE_LOST_AFTER, -EIO);
    fake_fault(FAKE_TUS_CREATE, 1, FAKE_LOST_BEFORE, -EIO);
    fake_fault(FAKE_TUS_SEND, 1, FAKE_LOST_AFTER, -EIO);
    fake_fault(FAKE_TUS_SEND, 1, FAKE_LOST_BEFORE, -EIO);
    assert_int_equal(wait_for(commit(c, false)), 0);
    assert_int_equal(fake_tus_bytes(), 2 * PIECE + 5); /* nothing was taken twice */
    assert_int_equal(fake_find("b", "k")->len, 2 * PIECE + 5);
    sf_content_unref(c);

    c = large_content("l", 2 * PIECE + 6); /* the last piece's */
    fake_fault(FAKE_TUS_SEND, 1, FAKE_LOST_AFTER, -EIO);
    fake_fault(FAKE_TUS_SEND, 1, FAKE_LOST_AFTER, -EIO);
    fake_fault(FAKE_TUS_SEND, 1, FAKE_LOST_AFTER, -EIO);
    uint64_t before = fake_tus_bytes();
    assert_int_equal(wait_for(commit(c, false)), 0);
    assert_int_equal(fake_tus_bytes() - before, 2 * PIECE + 6);
    sf_content_unref(c);
}

/* A piece may be refused with a 409 without a word. That says nothing of an object that is to be
 * replaced: only another version than the known one is somebody else's. */
static void
a_refused_piece_is_no_conflict(void **state)
{
    (void)state;
    fake_request_limit(PIECE);
    for (int opaque = 0; opaque < 2; opaque++) {
        fake_opaque_etags(opaque);
        fake_set("b", "k", "seen");
        struct sf_version base = version_of("k");
        const struct sf_commit_args args = {.exists = true, .base = &base};
        struct sf_content *c = large_content("k", PIECE + 5);
        fake_fault(FAKE_TUS_SEND, 1, FAKE_REFUSED, -EEXIST);
        struct got *g = commit_args(c, &args);
        assert_int_equal(wait_for(g), 0);
        assert_string_equal(g->conflict, "");
        assert_int_equal(fake_find("b", "k")->len, PIECE + 5);
        sf_content_unref(c);

        fake_set("b", "k", "elsewhere"); /* while it is sent */
        fake_fault(FAKE_TUS_SEND, 1, FAKE_REFUSED, -EEXIST);
        c = large_content("k", PIECE + 6);
        g = commit_args(c, &args);
        assert_int_equal(wait_for(g), 0);
        assert_string_equal(kept_of(g)->data, "elsewhere");
        sf_content_unref(c);
        fake_remove("b", "k");

        c = large_content("k", PIECE + 7); /* nothing is there, nor was: our own end of it comes */
        fake_fault(FAKE_TUS_SEND, 1, FAKE_REFUSED, -EEXIST);
        fake_fault(FAKE_TUS_SEND, 1, FAKE_LOST_AFTER, -EIO);
        fake_fault(FAKE_TUS_SEND, 1, FAKE_LOST_AFTER, -EIO);
        fake_fault(FAKE_TUS_OFFSET, 1, FAKE_REFUSED, -ENOENT);
        g = commit(c, false);
        assert_int_equal(wait_for(g), 0);
        assert_string_equal(g->conflict, "");
        assert_int_equal(fake_find("b", "k")->len, PIECE + 7);
        sf_content_unref(c);
        fake_remove("b", "k");
    }
}

static void
an_upload_that_the_service_forgot(void **state)
{
    (void)state;
    fake_request_limit(PIECE);
    struct sf_content *c = large_content("k", 2 * PIECE + 5);
    fake_fault(FAKE_TUS_SEND, 1, FAKE_LOST_AFTER, -EIO);
    fake_meanwhile(FAKE_TUS_SEND, fake_forget_tus);
    assert_int_equal(wait_for(commit(c, false)), 0);
    assert_int_equal(fake_count(FAKE_TUS_CREATE), 2);
    assert_int_equal(fake_find("b", "k")->len, 2 * PIECE + 5);
    sf_content_unref(c);

    c = large_content("l", 2 * PIECE + 6); /* again and again: that refuses nothing */
    fake_fault(FAKE_TUS_SEND, 1, FAKE_REFUSED, -ENOENT);
    fake_fault(FAKE_TUS_SEND, 1, FAKE_REFUSED, -ENOENT);
    fake_fault(FAKE_TUS_SEND, 1, FAKE_REFUSED, -ENOENT);
    assert_int_equal(wait_for(commit(c, false)), -EIO);
    sf_content_unref(c);
}

/* ---- bytes that are there already ----------------------------------------------------------- */

static void
known_bytes_are_copied(void **state)
{
    (void)state;
    struct sf_content *c = large_content("one", 100000);
    assert_int_equal(wait_for(commit(c, false)), 0);
    sf_content_unref(c);
    c = large_content("two", 100000);
    assert_int_equal(wait_for(commit(c, false)), 0);
    assert_string_equal(fake_order(), "post b/one;copy b/one b/two;");
    assert_int_equal(fake_find("b", "two")->len, 100000);
    sf_content_unref(c);

    fake_set("b", "two", "changed elsewhere"); /* then it is no source */
    fake_remove("b", "one");
    c = large_content("three", 100000);
    assert_int_equal(wait_for(commit(c, false)), 0);
    assert_int_equal(fake_find("b", "three")->len, 100000);
    assert_int_equal(fake_count(FAKE_PUT), 2);
    sf_content_unref(c);
}

static void
the_same_again_sends_no_bytes(void **state)
{
    (void)state;
    struct sf_content *c = large_content("k", 100000);
    assert_int_equal(wait_for(commit(c, false)), 0);
    sf_content_mark_dirty(c);
    assert_int_equal(wait_for(commit(c, false)), 0);
    assert_string_equal(fake_order(), "post b/k;copy b/k b/k;"); /* what is said of it is new */
    sf_content_unref(c);
    c = large_content("k", 100000);
    fake_fault(FAKE_COPY, 1, FAKE_REFUSED, -EACCES); /* a policy may allow less than PUT */
    assert_int_equal(wait_for(commit(c, true)), 0);
    assert_int_equal(fake_count(FAKE_PUT), 2);
    sf_content_unref(c);
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
    fake_fault(FAKE_TUS_CREATE, 1, FAKE_REFUSED, -EFBIG); /* in pieces it is too much as well */
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
    assert_int_equal(wait_for(g), 0);
    assert_true(fake_has("b", "k", "ours"));
    assert_string_equal(kept_of(g)->data, "theirs");
    sf_content_unref(c);

    fake_remove("b", "k");
    const struct sf_commit_args excl = {.exclusive = true};
    c = content("k", "ours");
    fake_fault(FAKE_PUT, 1, FAKE_LOST_BEFORE, -EIO);
    fake_meanwhile(FAKE_PUT, somebody);
    g = commit_args(c, &excl);
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
    struct got *g = commit(c, false);
    assert_int_equal(wait_for(g), 0);
    assert_string_equal(g->conflict, ""); /* the same bytes */
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
        TEST(the_later_close_wins),
        TEST(another_version_than_the_known_one),
        TEST(the_same_bytes_are_no_conflict),
        TEST(a_conflict_whose_copy_has_no_reply),
        TEST(what_cannot_be_kept_is_not_replaced),
        TEST(the_type_is_guessed),
        TEST(what_others_stored_is_kept),
        TEST(a_file_where_none_was),
        TEST(large_metadata_goes_in_a_form),
        TEST(our_mark_gives_way_to_large_metadata),
        TEST(what_no_request_carries),
        TEST(the_mark_goes_along),
        TEST(large_files_go_in_pieces),
        TEST(pieces_with_lost_replies),
        TEST(a_refused_piece_is_no_conflict),
        TEST(an_upload_that_the_service_forgot),
        TEST(known_bytes_are_copied),
        TEST(the_same_again_sends_no_bytes),
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
