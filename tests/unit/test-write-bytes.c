/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write-fixture.h"

#include "cache/cache.h"
#include "write/mark.h"

/* What the block cache learns of uploads, copies and moves, with ETags that are MD5s and with
 * others, and what staged contents take from it. */

#define KIB  1024
#define SIZE (300 * KIB + 7)

static struct sf_cache *cache;
static unsigned char *bytes;

static uint64_t
no_fetch(void *arg, void *what, uint64_t off, size_t len, char *buf, int priority,
         sf_fetched_fn done, void *done_arg)
{
    (void)arg, (void)what, (void)off, (void)len, (void)buf, (void)priority, (void)done;
    (void)done_arg;
    fail_msg("nobody reads through a stream here");
    return 0;
}

static void
no_cancel(void *arg, uint64_t id)
{
    (void)arg, (void)id;
}

static int
begin(void **state)
{
    const struct sf_cache_opts opts = {.memory = 16 << 20, .fetch = no_fetch, .cancel = no_cancel};
    (void)state;
    fake_start();
    state_make("/tmp");
    assert_int_equal(sf_cache_new(&opts, &cache, NULL), 0);
    const struct sf_writer_opts w = {.state_dir = state_dir,
                                     .workers = 4,
                                     .timeout_ms = 4000,
                                     .keep_open_max = KEEP_OPEN_MAX,
                                     .attr_copy_max = 1 << 20,
                                     .cache = cache};
    assert_int_equal(sf_writer_new(&w, NULL, &writer, NULL), 0);
    bytes = malloc(SIZE);
    assert_non_null(bytes);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (unsigned char)(i * 2654435761u >> 11);
    return 0;
}

static int
end(void **state)
{
    int rc = teardown(state);
    sf_cache_free(cache);
    cache = NULL;
    free(bytes);
    return rc;
}

/* The cache's content of an object as it is in the bucket. */
static struct sf_cached *
cached(const char *name)
{
    const struct fake_object *o = fake_find("b", name);
    struct sf_cached *c;
    assert_non_null(o);
    const struct sf_cache_key key = {"b", o->id, o->etag, o->len};
    assert_int_equal(sf_cached_get(cache, &key, &c), 0);
    return c;
}

static void
put(const char *name, size_t off, size_t len)
{
    struct sf_cached *c = cached(name);
    sf_cached_put_wait(c, off, bytes + off, len);
    sf_cached_unref(c);
}

/* Does the cache have these bytes of it, and right? */
static bool
has(const char *name, size_t off, size_t len)
{
    struct sf_cached *c = cached(name);
    unsigned char *back = malloc(len);
    assert_non_null(back);
    bool here = sf_cached_peek_wait(c, off, back, len) == 0;
    if (here)
        assert_memory_equal(back, bytes + off, len);
    free(back);
    sf_cached_unref(c);
    return here;
}

static void
settle(void)
{
    assert_int_equal(sf_writer_drain(writer, sf_clock_ms() + 10000), 0);
}

static void
upload(const char *name)
{
    struct sf_content *c = content(name, NULL);
    assert_int_equal(sf_content_write(c, bytes, SIZE, 0), SIZE);
    assert_int_equal(wait_for(commit(c, false)), 0);
    /* What is written before the bytes have gone to the cache is not in there. */
    assert_int_equal(sf_content_write(c, "changed", 7, 100), 7);
    sf_content_abandon(c);
    sf_content_unref(c);
    settle();
}

static void
set_mode(const char *name)
{
    const struct sf_mark mark = {.valid = SF_MARK_MODE | SF_MARK_MTIME | SF_MARK_INO,
                                 .mode = 0100600,
                                 .mtime_ns = 5,
                                 .ino = 77};
    const struct sf_attr_change ch = {.bucket = "b", .key = name, .mark = &mark};
    struct got *kept = got_new(), *flushed = got_new();
    sf_write_attrs(writer, &ch, on_write, NULL, kept);
    assert_int_equal(wait_for(kept), 0);
    sf_write_attrs_flush(writer, "b", name, on_write, flushed);
    assert_int_equal(wait_for(flushed), 0);
}

static void
an_upload_is_kept(void **state)
{
    (void)state;
    upload("k");
    assert_true(has("k", 0, SIZE));
    assert_int_equal(fake_count(FAKE_GET) + fake_count(FAKE_INFO), 0);
}

/* Its ETag is learned by the first look, which names our operation. */
static void
an_upload_with_another_etag(void **state)
{
    (void)state;
    fake_opaque_etags(true);
    upload("k");
    assert_false(has("k", 0, SIZE));
    set_mode("k");
    assert_int_equal(fake_count(FAKE_COPY), 1);
    assert_true(has("k", 0, SIZE));
    upload("l");
    assert_int_equal(wait_for(rename_to("l", "m", false)), 0);
    assert_true(has("m", 0, SIZE));
}

static void
somebody_else(void)
{
    fake_set("b", "k", "other bytes");
}

/* Where the reply shows that it is not what was looked at, nothing is said. */
static void
what_others_wrote_is_not_ours(void **state)
{
    (void)state;
    fake_opaque_etags(true);
    fake_set_bytes("b", "k", bytes, SIZE);
    put("k", 0, SIZE);
    fake_meanwhile(FAKE_INFO, somebody_else);
    set_mode("k");
    assert_false(has("k", 0, 11));
    upload("l");
    fake_set_bytes("b", "l", bytes, SIZE); /* by others: it does not carry our operation */
    assert_int_equal(wait_for(rename_to("l", "m", false)), 0);
    assert_false(has("m", 0, SIZE));
}

static void
moved_and_copied(void **state)
{
    (void)state;
    for (int opaque = 0; opaque < 2; opaque++) {
        fake_opaque_etags(opaque);
        fake_set_bytes("b", "a", bytes, SIZE);
        put("a", 0, 64 * KIB);
        assert_int_equal(wait_for(rename_to("a", "c", false)), 0);
        assert_true(has("c", 0, 64 * KIB));
        assert_false(has("c", 64 * KIB, 32 * KIB));
        fake_set("b", "d", "replaced");
        assert_int_equal(wait_for(rename_to("c", "d", true)), 0);
        assert_true(has("d", 0, 64 * KIB));

        struct sf_content *c = content_of("e", "d"); /* cp inside */
        sf_content_mark_dirty(c);
        assert_int_equal(wait_for(commit(c, false)), 0);
        sf_content_unref(c);
        settle();
        assert_true(has("e", 0, 64 * KIB));
        fake_remove("b", "d");
        fake_remove("b", "e");
    }
}

/* Moved objects are looked at only where that finds cached bytes again. */
static void
a_renamed_directory(void **state)
{
    (void)state;
    for (int opaque = 0; opaque < 2; opaque++) {
        fake_opaque_etags(opaque);
        fake_set_bytes("b", "from/a", bytes, SIZE);
        fake_set_bytes("b", "from/c", bytes, SIZE);
        put("from/a", 0, 64 * KIB);
        unsigned infos = fake_count(FAKE_INFO);
        struct got *g = got_new();
        const struct sf_rename_args args = {
            .bucket = "b", .key = "from/", .to_bucket = "b", .to_key = "to/"};
        sf_write_rename_dir(writer, &args, on_rename, g);
        assert_int_equal(wait_for(g), 0);
        assert_true(has("to/a", 0, 64 * KIB));
        assert_false(has("to/c", 0, 64 * KIB));
        assert_int_equal(fake_count(FAKE_INFO), infos + (unsigned)opaque);
        fake_remove("b", "to/a");
        fake_remove("b", "to/c");
    }
}

/* A staged content fetches what neither it nor the cache has, and the cache has it then. */
static void
staged_contents_look_in_the_cache(void **state)
{
    (void)state;
    unsigned char *back = malloc(SIZE);
    assert_non_null(back);
    fake_set_bytes("b", "k", bytes, SIZE);
    put("k", 32 * KIB, 64 * KIB);
    put("k", 128 * KIB, 32 * KIB);
    struct sf_content *c = content_of("k", "k");
    assert_int_equal(wait_for(delete_key("k")), 0); /* it is open: its bytes are rescued */
    assert_int_equal(fake_got(), SIZE - 96 * KIB);
    assert_int_equal(fake_count(FAKE_GET), 3);
    assert_int_equal(read_local(c, back, SIZE, 0), SIZE);
    assert_memory_equal(back, bytes, SIZE);
    sf_content_unref(c);

    fake_set_bytes("b", "l", bytes, SIZE);
    c = content_of("l", "l");
    assert_int_equal(read_wait(c, back, 10, 0), 10);
    assert_true(has("l", 0, SIZE));
    uint64_t got = fake_got();
    struct sf_content *again = content_of("l", "l");
    assert_int_equal(read_wait(again, back, SIZE, 0), SIZE);
    assert_memory_equal(back, bytes, SIZE);
    assert_int_equal(fake_got(), got);
    sf_content_unref(again);
    sf_content_unref(c);
    free(back);
}

#define BYTES_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        BYTES_TEST(an_upload_is_kept),
        BYTES_TEST(an_upload_with_another_etag),
        BYTES_TEST(what_others_wrote_is_not_ours),
        BYTES_TEST(moved_and_copied),
        BYTES_TEST(a_renamed_directory),
        BYTES_TEST(staged_contents_look_in_the_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
