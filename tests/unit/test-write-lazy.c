/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write-fixture.h"

#include <sys/stat.h>

#include "write/content.h"

/* Contents that begin with an object: what is fetched, when, of which version, and what becomes of
 * it when the object changes. */

#define MIB (1024 * 1024)

static unsigned char *
pattern(size_t size)
{
    unsigned char *p = malloc(size + 1);
    assert_non_null(p);
    for (size_t i = 0; i < size; i++)
        p[i] = (unsigned char)(i * 2654435761u >> 13);
    return p;
}

static void
drop(struct sf_content *c)
{
    sf_content_abandon(c);
    sf_content_unref(c);
}

static struct got *
fill(struct sf_content *c)
{
    struct got *g = got_new();
    sf_content_fill(c, on_write, g);
    return g;
}

static void
a_read_fetches_its_part(void **state)
{
    (void)state;
    size_t size = 9 * MIB + 5;
    unsigned char *data = pattern(size), *back = malloc(size);
    fake_set_bytes("b", "k", data, size);
    struct sf_content *c = content_of("k", "k");
    assert_int_equal(sf_content_size(c), size);
    assert_false(sf_content_dirty(c));
    assert_true(sf_content_lacks(c));
    assert_int_equal(fake_count(FAKE_GET), 0);

    assert_int_equal(read_wait(c, back, 100, 5 * MIB + 7), 100);
    assert_memory_equal(back, data + 5 * MIB + 7, 100);
    assert_int_equal(fake_count(FAKE_GET), 1);
    assert_int_equal(fake_got(), MIB - 7); /* from there to the end of its piece */
    assert_int_equal(read_local(c, back, 100, 6 * MIB - 100), 100);
    assert_int_equal(read_wait(c, back, 100, 6 * MIB - 50), 100); /* two pieces */
    assert_memory_equal(back, data + 6 * MIB - 50, 100);
    assert_int_equal(fake_count(FAKE_GET), 2);
    assert_int_equal(read_wait(c, back, 100, size - 5), 5);
    assert_memory_equal(back, data + size - 5, 5);
    assert_int_equal(read_local(c, back, 100, size), 0);

    assert_int_equal(read_wait(c, back, size, 0), (ssize_t)size);
    assert_memory_equal(back, data, size);
    assert_int_equal(fake_got(), size); /* each byte once */
    assert_true(fake_peak(FAKE_GET) <= 4);
    assert_false(sf_content_lacks(c));
    assert_false(sf_content_dirty(c));
    sf_content_unref(c);
    assert_int_equal(count_files("quarantine"), 0);
    free(data);
    free(back);
}

static void
many_readers_one_request(void **state)
{
    (void)state;
    unsigned char *data = pattern(3 * MIB), *back[20];
    struct got *g[20];
    fake_set_bytes("b", "k", data, 3 * MIB);
    struct sf_content *c = content_of("k", "k");
    fake_close(FAKE_GET);
    for (int i = 0; i < 20; i++) {
        back[i] = malloc(1000);
        g[i] = read_begin(c, back[i], 1000, (uint64_t)i * 1000);
    }
    fake_wait_at_gate(FAKE_GET, 1);
    usleep(20000);
    assert_int_equal(fake_count(FAKE_GET), 1);
    fake_open(FAKE_GET);
    for (int i = 0; i < 20; i++) {
        wait_for(g[i]);
        assert_int_equal(g[i]->n, 1000);
        assert_memory_equal(back[i], data + i * 1000, 1000);
        free(back[i]);
    }
    assert_int_equal(fake_count(FAKE_GET), 1);
    sf_content_unref(c);
    free(data);
}

static void
writes_fetch_nothing(void **state)
{
    (void)state;
    size_t size = 4 * MIB;
    unsigned char *data = pattern(size), *back = malloc(size);
    fake_set_bytes("b", "k", data, size);
    struct sf_content *c = content_of("k", "k");
    assert_int_equal(sf_content_write(c, "changed", 7, 2 * MIB + 100), 7);
    memcpy(data + 2 * MIB + 100, "changed", 7);
    assert_int_equal(read_local(c, back, 7, 2 * MIB + 100), 7);
    assert_memory_equal(back, "changed", 7);
    assert_true(sf_content_dirty(c));
    assert_int_equal(fake_count(FAKE_GET) + fake_count(FAKE_INFO), 0);

    struct got *g = commit(c, true); /* what is missing comes now, but nothing twice */
    assert_int_equal(wait_for(g), 0);
    assert_true(fake_got() <= size);
    assert_int_equal(fake_find("b", "k")->len, size);
    assert_memory_equal(fake_find("b", "k")->data, data, size);
    assert_false(sf_content_lacks(c));
    sf_content_unref(c);
    free(data);
    free(back);
}

static void
cut_and_made_longer(void **state)
{
    (void)state;
    unsigned char *data = pattern(4 * MIB), back[20];
    fake_set_bytes("b", "k", data, 4 * MIB);
    struct sf_content *c = content_of("k", "k");
    assert_int_equal(sf_content_truncate(c, 10), 0);
    assert_int_equal(sf_content_truncate(c, 20), 0);
    assert_int_equal(sf_content_write(c, "x", 1, 3), 1);
    assert_int_equal(read_wait(c, back, sizeof back, 0), 20);
    memcpy(data + 3, "x", 1);
    memset(data + 10, 0, 10);
    assert_memory_equal(back, data, 20);
    assert_int_equal(fake_count(FAKE_GET), 1);
    assert_int_equal(wait_for(commit(c, true)), 0);
    assert_int_equal(fake_find("b", "k")->len, 20);
    assert_memory_equal(fake_find("b", "k")->data, data, 20);

    assert_int_equal(sf_content_truncate(c, 0), 0); /* nothing to fetch, whatever comes then */
    sf_content_unref(c);
    c = content_of("k", "k");
    unsigned gets = fake_count(FAKE_GET);
    assert_int_equal(sf_content_truncate(c, 0), 0);
    assert_false(sf_content_lacks(c));
    assert_int_equal(sf_content_write(c, "new", 3, 2), 3);
    assert_int_equal(wait_for(commit(c, true)), 0);
    assert_int_equal(fake_count(FAKE_GET), gets);
    assert_memory_equal(fake_find("b", "k")->data, "\0\0new", 5);
    sf_content_unref(c);
    free(data);
}

static uint64_t seed = 12345;

static unsigned
rnd(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((seed >> 33) % n);
}

/* Whatever is done, in whatever order, with uploads in between: as if it were in memory. */
static void
as_in_memory(void **state)
{
    (void)state;
    enum { MAX = 5 * MIB };
    unsigned char *model = calloc(1, MAX), *back = malloc(MAX), *some = pattern(300000);
    for (int run = 0; run < 6; run++) {
        size_t size = rnd(3 * MIB) + 1;
        unsigned char *data = pattern(size);
        struct got *sending = NULL;
        fake_set_bytes("b", "k", data, size);
        memcpy(model, data, size);
        struct sf_content *c = content_of("k", "k");
        for (int i = 0; i < 60; i++) {
            size_t off = rnd((unsigned)size + 1000), len = rnd(rnd(8) ? 3000 : 300000) + 1;
            switch (rnd(10)) {
            case 0: {
                size_t to = rnd(3 * MIB);
                if (rnd(3)) /* mostly near its end */
                    to = size > 5000 ? size - rnd(5000) : size + rnd(5000);
                assert_int_equal(sf_content_truncate(c, to), 0);
                if (to > size)
                    memset(model + size, 0, to - size);
                size = to;
                break;
            }
            case 1:
                if (!sending && sf_content_dirty(c))
                    sending = commit(c, true);
                break;
            case 2:
            case 3: {
                ssize_t want = off >= size ? 0 : (ssize_t)(size - off < len ? size - off : len);
                assert_int_equal(read_wait(c, back, len, off), want);
                assert_memory_equal(back, model + off, (size_t)want);
                break;
            }
            case 4: {
                bool grow = rnd(3) == 0;
                assert_int_equal(sf_content_zero(c, off, len, grow), 0);
                if (grow && off + len > size) {
                    memset(model + size, 0, off + len - size);
                    size = off + len;
                }
                if (off < size)
                    memset(model + off, 0, size - off < len ? size - off : len);
                break;
            }
            default:
                assert_int_equal(sf_content_write(c, some, len, off), (ssize_t)len);
                if (off > size)
                    memset(model + size, 0, off - size);
                memcpy(model + off, some, len);
                if (off + len > size)
                    size = off + len;
            }
            assert_int_equal(sf_content_size(c), size);
        }
        if (sending)
            assert_int_equal(wait_for(sending), 0);
        assert_int_equal(wait_for(commit(c, true)), 0);
        assert_int_equal(read_wait(c, back, MAX, 0), (ssize_t)size);
        assert_memory_equal(back, model, size);
        const struct fake_object *o = fake_find("b", "k");
        assert_int_equal(o->len, size);
        assert_memory_equal(o->data, model, size);
        sf_content_unref(c);
        free(data);
    }
    free(model);
    free(back);
    free(some);
}

/* ---- another version ------------------------------------------------------------------------ */

static void
replace_it(void)
{
    unsigned char *other = pattern(3 * MIB);
    other[0] ^= 1;
    fake_set_bytes("b", "k", other, 3 * MIB); /* the same size */
    free(other);
}

static void
never_of_two_versions(void **state)
{
    (void)state;
    unsigned char *data = pattern(3 * MIB), *back = malloc(3 * MIB);
    fake_set_bytes("b", "k", data, 3 * MIB);
    struct sf_content *c = content_of("k", "k");
    fake_meanwhile(FAKE_GET, replace_it); /* after the first range */
    assert_int_equal(read_wait(c, back, 100, 0), 100);
    assert_memory_equal(back, data, 100);
    assert_int_equal(read_wait(c, back, 2 * MIB, 0), -ESTALE);
    assert_int_equal(read_local(c, back, 100, 5), 100); /* what is here stays */
    unsigned gets = fake_count(FAKE_GET);
    assert_int_equal(read_wait(c, back, 100, 2 * MIB), -ESTALE);
    assert_int_equal(fake_count(FAKE_GET), gets); /* it is known by now */
    assert_int_equal(sf_content_write(c, "x", 1, 0), 1);
    assert_int_equal(wait_for(commit(c, true)), -ESTALE);
    assert_int_equal(fake_count(FAKE_PUT), 0);
    drop(c);
    fake_remove("b", "k");
    free(data);
    free(back);
}

static struct sf_content *
content_of_version(const char *id, uint64_t size, const char *md5)
{
    struct sf_content *c;
    struct sf_source src = {.bucket = "b", .key = "k", .md5_etag = md5};
    src.version.size = size;
    snprintf(src.version.id, sizeof src.version.id, "%s", id);
    assert_int_equal(sf_content_of(writer, "b", "k", &src, &c, NULL), 0);
    return c;
}

static void
without_an_etag_it_is_looked_at(void **state)
{
    (void)state;
    char back[8], id[40], md5[40];
    fake_set("b", "k", "text");
    snprintf(id, sizeof id, "%s", fake_find("b", "k")->id);
    snprintf(md5, sizeof md5, "%s", fake_find("b", "k")->etag);
    struct sf_content *good = content_of_version(id, 4, md5),
                      *nothing = content_of_version("", 4, "");
    struct sf_content *wrong[] = {
        content_of_version("id-other", 4, NULL), content_of_version(id, 5, NULL),
        content_of_version(id, 4, "\"0123456789abcdef0123456789abcdef\"")};
    assert_int_equal(read_wait(good, back, 4, 0), 4);
    assert_memory_equal(back, "text", 4);
    assert_int_equal(fake_count(FAKE_INFO), 1);
    assert_int_equal(read_wait(nothing, back, 4, 0), 4);
    unsigned gets = fake_count(FAKE_GET);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_wait(wrong[i], back, 4, 0), -ESTALE);
        sf_content_unref(wrong[i]);
    }
    assert_int_equal(fake_count(FAKE_GET), gets);
    sf_content_unref(good);
    sf_content_unref(nothing);
}

static void
a_failure_may_be_repeated(void **state)
{
    (void)state;
    char back[8];
    fake_set("b", "k", "text");
    struct sf_content *c = content_of("k", "k");
    fake_fault(FAKE_GET, 1, FAKE_REFUSED, -ETIMEDOUT);
    assert_int_equal(read_wait(c, back, 4, 0), -ETIMEDOUT);
    assert_int_equal(read_wait(c, back, 4, 0), 4);
    assert_memory_equal(back, "text", 4);
    sf_content_unref(c);
}

static void
others_append(void **state)
{
    (void)state;
    uint64_t off;
    fake_set("b", "k", "one\n");
    struct sf_version base = {.size = 4};
    snprintf(base.etag, sizeof base.etag, "%s", fake_find("b", "k")->etag);
    struct sf_content *c = content_of("k", "k");
    assert_int_equal(sf_content_append(c, "mine\n", 5, &off), 5);
    assert_int_equal(off, 4);
    fake_set("b", "k", "one\nof another\n");
    struct got *g = got_new();
    const struct sf_commit_args args = {.exists = true, .base = &base, .max_size = UINT64_MAX};
    sf_content_commit(c, &args, on_commit, g); /* no conflict: nothing of the other's is lost */
    assert_int_equal(wait_for(g), 0);
    assert_string_equal(fake_order(), "put b/k;");
    assert_true(fake_has("b", "k", "one\nof another\nmine\n"));
    assert_int_equal(g->done.size, 20);
    assert_true(g->done.rebased);
    assert_int_equal(sf_content_size(c), 20);
    assert_int_equal(sf_content_append(c, "more\n", 5, &off), 5); /* it is whole now */
    assert_int_equal(off, 20);
    assert_int_equal(wait_for(commit(c, true)), 0);
    assert_true(fake_has("b", "k", "one\nof another\nmine\nmore\n"));
    sf_content_unref(c);

    /* Once somebody has seen the old bytes, or more than an append was done: no. */
    char back[4];
    for (int i = 0; i < 3; i++) {
        unsigned char *data = pattern(2 * MIB);
        fake_set_bytes("b", "k", data, 2 * MIB);
        free(data);
        c = content_of("k", "k");
        if (i == 0)
            assert_int_equal(read_wait(c, back, 4, 0), 4);
        else if (i == 1)
            assert_int_equal(sf_content_write(c, "x", 1, 0), 1);
        else
            assert_int_equal(sf_content_truncate(c, 5), 0);
        assert_int_equal(sf_content_append(c, "mine\n", 5, &off), 5);
        fake_set("b", "k", "another one\n");
        assert_int_equal(wait_for(commit(c, true)), -ESTALE);
        assert_true(fake_has("b", "k", "another one\n"));
        drop(c);
    }
    c = content_of("k", "k");
    assert_int_equal(sf_content_append(c, "mine\n", 5, &off), 5);
    fake_remove("b", "k");
    assert_int_equal(wait_for(commit(c, true)), -ESTALE);
    drop(c);
}

/* ---- changes made here ---------------------------------------------------------------------- */

static int
rescue(const char *key)
{
    return sf_sources_rescue(writer, "b", key, sf_clock_ms() + 20000, NULL);
}

static void
rescued_before_it_goes(void **state)
{
    (void)state;
    unsigned char *data = pattern(3 * MIB), *back = malloc(3 * MIB);
    fake_set_bytes("b", "k", data, 3 * MIB);
    struct sf_content *a = content_of("k", "k"), *b = content_of("copy", "k");
    assert_int_equal(sf_content_write(b, "x", 1, 0), 1);
    assert_int_equal(rescue("other"), 0);
    assert_int_equal(fake_count(FAKE_GET), 0);
    assert_int_equal(rescue("k"), 0);
    assert_false(sf_content_lacks(a) || sf_content_lacks(b));
    fake_remove("b", "k");
    assert_int_equal(read_wait(a, back, 3 * MIB, 0), 3 * MIB);
    assert_memory_equal(back, data, 3 * MIB);
    assert_int_equal(wait_for(commit(b, false)), 0);
    sf_content_unref(a);
    sf_content_unref(b);
    free(data);
    free(back);
}

static void
too_much_to_keep(void **state)
{
    (void)state;
    char back[4];
    size_t size = KEEP_OPEN_MAX * 3 / 4;
    unsigned char *data = pattern(size);
    fake_set_bytes("b", "k", data, size);
    struct sf_content *a = content_of("k", "k"), *b = content_of("k", "k"),
                      *w = content_of("copy", "k");
    assert_int_equal(sf_content_write(w, "x", 1, 0), 1);
    assert_int_equal(read_wait(b, back, 4, 0), 4);
    assert_int_equal(rescue("k"), 0);
    assert_false(sf_content_lacks(a));
    assert_true(sf_content_lacks(b));  /* both together are too much */
    assert_false(sf_content_lacks(w)); /* this one has to be uploaded */
    assert_int_equal(read_wait(b, back, 4, 0), 4);
    assert_int_equal(read_wait(b, back, 4, 2 * MIB), -ESTALE); /* though it is there still */
    sf_content_unref(a);
    sf_content_unref(b);
    drop(w);
    free(data);
}

static void
no_change_while_bytes_could_be_lost(void **state)
{
    (void)state;
    fake_set("b", "k", "text");
    struct sf_content *c = content_of("k", "k");
    fake_fault(FAKE_GET, 1, FAKE_REFUSED, -ETIMEDOUT);
    assert_int_equal(rescue("k"), -ETIMEDOUT);
    fake_set("b", "k", "others"); /* but what is gone already holds nobody up */
    assert_int_equal(rescue("k"), 0);
    sf_content_unref(c);
}

static void
moved_on_the_server(void **state)
{
    (void)state;
    char back[4], id[37];
    snprintf(id, sizeof id, "%s", fake_set("b", "k", "text")->id);
    struct sf_content *c = content_of("k", "k");
    sf_sources_hold(writer, "b", "k");
    struct got *g = read_begin(c, back, 4, 0);
    usleep(20000);
    assert_false(has_come(g));
    fake_remove("b", "k"); /* the id stays with a move */
    struct fake_object *o = fake_set("b", "to", "text");
    snprintf(o->id, sizeof o->id, "%s", id);
    snprintf(o->etag, sizeof o->etag, "\"another-2\""); /* some backends */
    sf_sources_moved(writer, "b", "k", "b", "to", NULL, NULL);
    wait_for(g);
    assert_int_equal(g->n, 4);
    assert_memory_equal(back, "text", 4);
    sf_content_unref(c);

    c = content_of("to", "to"); /* copied to another name, and then removed */
    struct sf_version was = {.size = 4}, now = {.size = 4};
    snprintf(was.etag, sizeof was.etag, "%s", o->etag);
    fake_remove("b", "to");
    o = fake_set("b", "third", "text");
    snprintf(now.etag, sizeof now.etag, "%s", o->etag);
    sf_sources_moved(writer, "b", "to", "b", "third", &was, &now);
    assert_int_equal(read_wait(c, back, 4, 0), 4);
    sf_content_unref(c);
    c = content_of("third", "third");
    fake_set("b", "third", "tEXT"); /* somebody else's is moved, of the same id and size */
    now = (struct sf_version){.size = 4};
    snprintf(was.etag, sizeof was.etag, "%s", o->etag);
    snprintf(now.etag, sizeof now.etag, "%s", o->etag);
    sf_sources_moved(writer, "b", "third", "b", "to", &was, &now);
    fake_set("b", "to", "tEXT");
    assert_int_equal(read_wait(c, back, 4, 0), -ESTALE);
    sf_content_unref(c);

    c = content_of("to", "to");
    sf_sources_hold(writer, "b", "to");
    sf_sources_moved(writer, "b", "to", "b", "to", NULL, NULL); /* it failed */
    assert_int_equal(read_wait(c, back, 4, 0), 4);
    sf_content_unref(c);
}

static void
an_upload_saves_other_readers(void **state)
{
    (void)state;
    char back[4];
    fake_set("b", "k", "text");
    struct sf_content *reader = content_of("k", "k"), *c = content_of("k", "k");
    assert_int_equal(sf_content_truncate(c, 0), 0);
    assert_int_equal(sf_content_write(c, "more", 4, 0), 4);
    assert_int_equal(wait_for(commit(c, true)), 0);
    assert_true(fake_has("b", "k", "more"));
    assert_int_equal(read_wait(reader, back, 4, 0), 4);
    assert_memory_equal(back, "text", 4);
    sf_content_unref(reader);
    sf_content_unref(c);
}

static void
a_write_during_the_upload(void **state)
{
    (void)state;
    unsigned char *data = pattern(6 * MIB);
    fake_set_bytes("b", "k", data, 6 * MIB);
    struct sf_content *c = content_of("k", "k");
    assert_int_equal(sf_content_write(c, "first", 5, 100), 5);
    fake_close(FAKE_GET);
    struct got *g = commit(c, true);
    fake_wait_at_gate(FAKE_GET, 4);
    assert_int_equal(sf_content_write(c, "second", 6, 3 * MIB), 6); /* goes on with a clone */
    fake_open(FAKE_GET);
    assert_int_equal(wait_for(g), 0);
    memcpy(data + 100, "first", 5);
    assert_memory_equal(fake_find("b", "k")->data, data, 6 * MIB);
    assert_true(fake_got() <= 6 * MIB); /* for both files */
    assert_false(sf_content_lacks(c));  /* else they would be lost by now */
    assert_int_equal(wait_for(commit(c, true)), 0);
    memcpy(data + 3 * MIB, "second", 6);
    assert_memory_equal(fake_find("b", "k")->data, data, 6 * MIB);
    sf_content_unref(c);
    free(data);
}

static void
a_copy_moves_no_bytes(void **state)
{
    (void)state;
    char *bucket, *key;
    struct sf_version v;
    struct sf_snapshot snap;
    fake_set("b", "k", "text");
    struct sf_content *c = content("copy", NULL);
    struct sf_source src = {.bucket = "b", .key = "k"};
    src.version.size = 4;
    snprintf(src.version.etag, sizeof src.version.etag, "%s", fake_find("b", "k")->etag);
    sf_content_mark_dirty(c);
    assert_int_equal(sf_content_take(c, &src), 0);
    assert_int_equal(sf_content_take(c, &src), -EINVAL); /* not empty any more */
    assert_int_equal(sf_content_size(c), 4);
    assert_true(sf_content_dirty(c));
    sf_content_freeze(c, &snap);
    assert_true(snap.as_source);
    assert_int_equal(sf_content_source(c, &bucket, &key, &v), 1);
    assert_string_equal(bucket, "b");
    assert_string_equal(key, "k");
    assert_string_equal(v.etag, src.version.etag);
    sf_content_thaw(c, &snap, false);
    free(bucket);
    free(key);
    assert_int_equal(wait_for(commit(c, false)), 0);
    assert_string_equal(fake_order(), "copy b/k b/copy;");
    assert_true(fake_has("b", "copy", "text"));
    assert_int_equal(fake_count(FAKE_GET), 0);
    assert_true(sf_content_lacks(c)); /* and nothing is missed */
    assert_int_equal(sf_content_write(c, "T", 1, 0), 1);
    sf_content_freeze(c, &snap);
    assert_false(snap.as_source);
    sf_content_thaw(c, &snap, false);
    assert_int_equal(wait_for(commit(c, false)), 0);
    assert_true(fake_has("b", "copy", "Text"));
    sf_content_unref(c);

    c = content("copy2", NULL); /* where the service refuses to copy, the bytes are sent */
    assert_int_equal(sf_content_take(c, &src), 0);
    fake_fault(FAKE_COPY, 1, FAKE_REFUSED, -EACCES);
    assert_int_equal(wait_for(commit(c, false)), 0);
    assert_true(fake_has("b", "copy2", "text"));
    sf_content_unref(c);

    c = content("copy3", NULL); /* another version is not what was copied */
    assert_int_equal(sf_content_take(c, &src), 0);
    fake_set("b", "k", "tEXT");
    assert_int_equal(wait_for(commit(c, false)), -ESTALE);
    assert_null(fake_find("b", "copy3"));
    drop(c);
}

/* ---- the rest ------------------------------------------------------------------------------- */

static void
many_small_writes(void **state)
{
    (void)state;
    size_t size = 6 * MIB;
    unsigned char *data = pattern(size);
    fake_set_bytes("b", "k", data, size);
    struct sf_content *c = content_of("k", "k");
    for (size_t off = 1; off < size; off += 1000) {
        assert_int_equal(sf_content_write(c, "!", 1, off), 1);
        data[off] = '!';
    }
    for (int i = 0; i < 200; i++) { /* gaps are closed behind */
        sf_mutex_lock(&c->lock);
        bool few = c->stage->whole || c->stage->present.n <= 4096;
        sf_mutex_unlock(&c->lock);
        if (few)
            break;
        usleep(5000);
        assert_int_equal(sf_content_write(c, "!", 1, 1), 1);
    }
    sf_mutex_lock(&c->lock);
    assert_true(c->stage->present.n <= 4096);
    sf_mutex_unlock(&c->lock);
    assert_int_equal(wait_for(commit(c, true)), 0);
    assert_memory_equal(fake_find("b", "k")->data, data, size);
    sf_content_unref(c);
    free(data);
}

static void
digests_while_writing(void **state)
{
    (void)state;
    struct sf_snapshot snap;
    struct sf_digests ref;
    struct sf_content *c = content("k", "hello ");
    assert_int_equal(sf_content_write(c, "world", 5, 6), 5);
    sf_content_freeze(c, &snap);
    assert_true(snap.digested); /* without reading a byte again */
    assert_string_equal(snap.digests.sha256,
                        "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9");
    assert_string_equal(snap.digests.md5_etag, "\"5eb63bbbe01eeed093cb22bb8f5acdc3\"");
    assert_int_equal(sf_digest_file(snap.stage->fd, snap.size, &ref), 0);
    assert_string_equal(ref.sha256, snap.digests.sha256);
    sf_content_thaw(c, &snap, false);

    assert_int_equal(sf_content_write(c, "W", 1, 6), 1); /* back: a pass is needed */
    sf_content_freeze(c, &snap);
    assert_false(snap.digested);
    assert_int_equal(sf_snapshot_digest(&snap), 0);
    assert_string_equal(snap.digests.sha256,
                        "db4067cec62c58bf8b2f8982071e77c082da9e00924bf3631f3b024fa54e7d7e");
    sf_content_thaw(c, &snap, false);

    assert_int_equal(sf_content_truncate(c, 0), 0); /* from the beginning */
    assert_int_equal(sf_content_write(c, "hello world", 11, 0), 11);
    sf_content_freeze(c, &snap);
    assert_true(snap.digested);
    assert_string_equal(snap.digests.sha256, ref.sha256);
    sf_content_thaw(c, &snap, false);
    assert_int_equal(sf_content_truncate(c, 12), 0);
    sf_content_freeze(c, &snap);
    assert_false(snap.digested);
    sf_content_thaw(c, &snap, false);
    drop(c);
}

static void
adopted_at_a_replay(void **state)
{
    (void)state;
    char file[80];
    struct sf_snapshot snap;
    struct sf_extents present = {0};
    struct sf_content *again = NULL;
    unsigned char *data = pattern(2 * MIB);
    fake_set_bytes("b", "k", data, 2 * MIB);
    struct sf_source src = {.bucket = "b", .key = "k"};
    src.version.size = 2 * MIB;
    snprintf(src.version.etag, sizeof src.version.etag, "%s", fake_find("b", "k")->etag);
    struct sf_content *c = content_of("k", "k");
    assert_int_equal(sf_content_write(c, "mine", 4, 10), 4);
    sf_content_freeze(c, &snap);
    assert_int_equal(sf_snapshot_extents(c, &snap, &present), 0);
    assert_int_equal(present.n, 1);
    snprintf(file, sizeof file, "%s", sf_snapshot_file(&snap));
    assert_int_equal(sf_snapshot_sync(&snap), 0);
    sf_content_thaw(c, &snap, false);
    sf_stage_keep(c->stage); /* as if the daemon had ended */
    drop(c);

    assert_int_equal(
        sf_content_adopt(writer, "b", "k", "none", 1, true, NULL, 0, NULL, &again, NULL), -ENOENT);
    assert_int_equal(
        sf_content_adopt(writer, "b", "k", "../x", 1, true, NULL, 0, NULL, &again, NULL), -EINVAL);
    assert_int_equal(
        sf_content_adopt(writer, "b", "k", file, 3 * MIB, true, NULL, 0, NULL, &again, NULL),
        -EINVAL);
    assert_int_equal(sf_content_adopt(writer, "b", "k", file, 2 * MIB, false, present.v, present.n,
                                      NULL, &again, NULL),
                     -EINVAL); /* bytes are missing, and nobody knows where they are */
    assert_int_equal(sf_content_adopt(writer, "b", "k", file, 2 * MIB, false, present.v, present.n,
                                      &src, &again, NULL),
                     0);
    assert_true(sf_content_dirty(again));
    assert_int_equal(wait_for(commit(again, true)), 0);
    memcpy(data + 10, "mine", 4);
    assert_memory_equal(fake_find("b", "k")->data, data, 2 * MIB);
    sf_content_unref(again);
    assert_int_equal(count_files("staging"), 0);
    sf_extents_fini(&present);
    free(data);
}

static void
freeing_the_writer_ends_fetches(void **state)
{
    (void)state;
    struct got *g[24];
    unsigned char *data = pattern(6 * MIB);
    fake_set_bytes("b", "k", data, 6 * MIB);
    fake_close(FAKE_GET);
    for (int i = 0; i < 24; i++) {
        struct sf_content *c = content_of("k", "k");
        g[i] = fill(c);
        sf_content_unref(c); /* the fetch has its own */
    }
    assert_true(sf_writer_drain(writer, sf_clock_ms() + 30) > 0);
    assert_true(fake_peak(FAKE_GET) <= 16); /* memory is bounded */
    sf_writer_free(writer);
    writer = NULL;
    for (int i = 0; i < 24; i++) {
        assert_int_equal(g[i]->calls, 1);
        assert_int_equal(g[i]->err.code, -ECANCELED);
    }
    assert_int_equal(count_files("staging"), 0);
    writer_start(1, 0);
    free(data);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_read_fetches_its_part),
        TEST(many_readers_one_request),
        TEST(writes_fetch_nothing),
        TEST(cut_and_made_longer),
        TEST(as_in_memory),
        TEST(never_of_two_versions),
        TEST(without_an_etag_it_is_looked_at),
        TEST(a_failure_may_be_repeated),
        TEST(others_append),
        TEST(rescued_before_it_goes),
        TEST(too_much_to_keep),
        TEST(no_change_while_bytes_could_be_lost),
        TEST(moved_on_the_server),
        TEST(an_upload_saves_other_readers),
        TEST(a_write_during_the_upload),
        TEST(a_copy_moves_no_bytes),
        TEST(many_small_writes),
        TEST(digests_while_writing),
        TEST(adopted_at_a_replay),
        TEST(freeing_the_writer_ends_fetches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
