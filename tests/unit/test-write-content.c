/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write-fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

/* A staged content: bytes, dirtiness, one consistent state per upload, commits that join. */

/* The only file in staging/. */
static void
staged_path(char out[400])
{
    char dir[128];
    snprintf(dir, sizeof dir, "%s/staging", state_dir);
    sf_autodir DIR *d = opendir(dir);
    assert_non_null(d);
    unsigned n = 0;
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.') {
            snprintf(out, 400, "%s/%s", dir, e->d_name);
            n++;
        }
    assert_int_equal(n, 1);
}

static void
assert_bytes(struct sf_content *c, const char *text)
{
    char buf[256];
    assert_int_equal(sf_content_size(c), strlen(text));
    ssize_t n = read_local(c, buf, sizeof buf, 0);
    assert_int_equal(n, strlen(text));
    assert_memory_equal(buf, text, strlen(text));
}

static void
bytes_and_size(void **state)
{
    (void)state;
    char buf[16];
    uint64_t off = 99;
    struct sf_content *c = content("dir/k", NULL);
    assert_false(sf_content_dirty(c));
    assert_bytes(c, "");
    assert_int_equal(sf_content_write(c, "hello", 5, 3), 5);
    assert_true(sf_content_dirty(c));
    assert_int_equal(sf_content_size(c), 8);
    assert_int_equal(read_local(c, buf, sizeof buf, 0), 8);
    assert_memory_equal(buf, "\0\0\0hello", 8);
    assert_int_equal(read_local(c, buf, 2, 4), 2);
    assert_memory_equal(buf, "el", 2);
    assert_int_equal(read_local(c, buf, 2, 8), 0);
    assert_int_equal(read_local(c, buf, 2, UINT64_MAX), 0);
    assert_int_equal(sf_content_append(c, "!!", 2, &off), 2);
    assert_int_equal(off, 8);
    assert_int_equal(sf_content_truncate(c, 4), 0);
    assert_int_equal(sf_content_truncate(c, 6), 0);
    assert_int_equal(read_local(c, buf, sizeof buf, 0), 6);
    assert_memory_equal(buf, "\0\0\0h\0\0", 6);
    assert_int_equal(sf_content_write(c, "x", 1, UINT64_MAX), -EFBIG);
    assert_int_equal(sf_content_write(c, "x", 1, INT64_MAX), -EFBIG);
    assert_int_equal(sf_content_truncate(c, UINT64_MAX), -EFBIG);
    assert_int_equal(sf_content_size(c), 6);

    struct sf_writer_stats st;
    sf_writer_stats(writer, &st);
    assert_int_equal(st.staged_files, 1);
    assert_int_equal(st.staged_bytes, 6);
    sf_content_abandon(c);
    sf_content_unref(c);
    sf_writer_stats(writer, &st);
    assert_int_equal(st.staged_files, 0);
    assert_int_equal(st.staged_bytes, 0);
}

static void
what_is_dirty(void **state)
{
    (void)state;
    struct sf_content *c = content("k", NULL);
    assert_int_equal(sf_content_truncate(c, 0), 0); /* it has that size */
    assert_int_equal(sf_content_write(c, "", 0, 0), 0);
    assert_false(sf_content_dirty(c));
    struct got *clean = commit(c, false);
    assert_true(has_come(clean)); /* at once: nothing to send */
    assert_int_equal(clean->err.code, 0);
    assert_false(clean->done.uploaded);
    assert_int_equal(fake_count(FAKE_PUT), 0);

    sf_content_mark_dirty(c);
    assert_true(sf_content_dirty(c));
    struct got *g = commit(c, false);
    assert_int_equal(wait_for(g), 0);
    assert_true(g->done.uploaded);
    assert_int_equal(g->done.size, 0);
    assert_string_equal(g->done.md5_etag, "\"d41d8cd98f00b204e9800998ecf8427e\"");
    assert_true(fake_has("b", "k", ""));
    assert_false(sf_content_dirty(c));
    sf_content_unref(c);
}

static void
the_file_says_what_it_is(void **state)
{
    (void)state;
    char path[400], value[64];
    struct stat st;
    struct sf_content *c = content("dir/k", "bytes");
    staged_path(path);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    ssize_t n = getxattr(path, "user.supafs.target", value, sizeof value);
    if (n < 0) { /* a disk without: then a file beside it */
        sf_content_abandon(c);
        sf_content_unref(c);
        skip();
    }
    assert_int_equal(n, 7);
    assert_memory_equal(value, "b/dir/k", 7);
    assert_int_equal(sf_content_retarget(c, "b", "other", false), 0);
    n = getxattr(path, "user.supafs.target", value, sizeof value);
    assert_int_equal(n, 7);
    assert_memory_equal(value, "b/other", 7);
    assert_true(getxattr(path, "user.supafs.clean", value, sizeof value) < 0);
    assert_int_equal(wait_for(commit(c, false)), 0);
    assert_true(getxattr(path, "user.supafs.clean", value, sizeof value) == 1);
    assert_int_equal(sf_content_write(c, "more", 4, 0), 4);
    assert_true(getxattr(path, "user.supafs.clean", value, sizeof value) < 0);
    sf_content_abandon(c);
    assert_true(getxattr(path, "user.supafs.clean", value, sizeof value) == 1);
    sf_content_unref(c);
    assert_int_equal(count_files("staging"), 0);
}

static void
an_upload_sends_one_state(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "first state");
    fake_close(FAKE_PUT);
    struct got *g = commit(c, false);
    fake_wait_at_gate(FAKE_PUT, 1);
    /* the whole of it is sent only when the gate opens */
    assert_int_equal(sf_content_write(c, "SECOND", 6, 0), 6);
    assert_int_equal(sf_content_truncate(c, 8), 0);
    assert_bytes(c, "SECONDst");
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(g), 0);
    assert_true(g->done.still_dirty);
    assert_int_equal(g->done.size, 11);
    assert_true(fake_has("b", "k", "first state"));
    assert_bytes(c, "SECONDst");
    assert_true(sf_content_dirty(c));
    struct got *again = commit(c, true);
    assert_int_equal(wait_for(again), 0);
    assert_false(again->done.still_dirty);
    assert_true(fake_has("b", "k", "SECONDst"));
    assert_int_equal(count_files("staging"), 1); /* the clone's original has gone */
    sf_content_unref(c);
}

static void
a_clone_has_every_byte(void **state)
{
    (void)state;
    size_t size = 3 * 1024 * 1024 + 17, hole = 1024 * 1024;
    unsigned char *data = calloc(1, size), *back = malloc(size);
    assert_true(data && back);
    for (size_t i = 0; i < size; i++)
        if (i < 1000 || i > hole + 4096)
            data[i] = (unsigned char)(i * 31 >> 3);
    struct sf_content *c = content("k", NULL);
    assert_int_equal(sf_content_write(c, data, 1000, 0), 1000);
    assert_int_equal(sf_content_write(c, data + hole, size - hole, hole), (ssize_t)(size - hole));
    fake_close(FAKE_PUT);
    struct got *g = commit(c, false);
    fake_wait_at_gate(FAKE_PUT, 1);
    assert_int_equal(sf_content_write(c, "Z", 1, 500), 1);
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(g), 0);
    assert_int_equal(fake_find("b", "k")->len, size);
    assert_memory_equal(fake_find("b", "k")->data, data, size);
    data[500] = 'Z';
    assert_int_equal(read_local(c, back, size, 0), (ssize_t)size);
    assert_memory_equal(back, data, size);
    sf_content_abandon(c);
    sf_content_unref(c);
    free(data);
    free(back);
}

static void
commits_join(void **state)
{
    (void)state;
    struct got *g[6];
    struct sf_content *c = content("k", "one");
    fake_close(FAKE_PUT);
    g[0] = commit(c, false);
    fake_wait_at_gate(FAKE_PUT, 1);
    g[1] = commit(c, false); /* nothing written since: the same upload */
    sf_content_write(c, "two", 3, 0);
    g[2] = commit(c, false); /* after it, once for these three */
    sf_content_write(c, "six", 3, 0);
    g[3] = commit(c, false);
    g[4] = commit(c, false);
    assert_false(has_come(g[1]));
    fake_open(FAKE_PUT);
    for (int i = 0; i < 5; i++)
        assert_int_equal(wait_for(g[i]), 0);
    assert_int_equal(fake_count(FAKE_PUT), 2);
    assert_int_equal(g[1]->done.size, 3);
    assert_true(g[0]->done.still_dirty);
    assert_false(g[4]->done.still_dirty);
    assert_true(fake_has("b", "k", "six"));
    assert_string_equal(fake_order(), "post b/k;put b/k;"); /* the second knows that it is there */
    sf_content_unref(c);
}

static void
a_commit_that_waits_sends_later_writes(void **state)
{
    (void)state;
    fake_close(FAKE_PUT);
    struct got *before = put_small("k", "small", false);
    fake_wait_at_gate(FAKE_PUT, 1);
    struct sf_content *c = content("k", "one");
    struct got *g = commit(c, true); /* waits for its key */
    sf_content_write(c, "two", 3, 0);
    struct got *h = commit(c, true);
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(before), 0);
    assert_int_equal(wait_for(g), 0);
    assert_int_equal(wait_for(h), 0);
    assert_false(g->done.still_dirty);
    assert_int_equal(fake_count(FAKE_PUT), 2);
    assert_true(fake_has("b", "k", "two"));
    sf_content_unref(c);
}

static void
a_failed_commit_leaves_it_dirty(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "one");
    fake_fault(FAKE_PUT, 1, FAKE_REFUSED, -EACCES);
    assert_int_equal(wait_for(commit(c, false)), -EACCES);
    assert_true(sf_content_dirty(c));
    sf_content_write(c, "1", 1, 0); /* the file that the journal names stays as it is */
    assert_int_equal(count_files("staging"), 2);
    assert_int_equal(wait_for(commit(c, false)), 0);
    assert_true(fake_has("b", "k", "1ne"));
    sf_content_unref(c);
    assert_int_equal(count_files("staging"), 0);
}

static void
renamed_before_the_upload(void **state)
{
    (void)state;
    struct sf_content *c = content("old", "text");
    fake_close(FAKE_PUT);
    struct got *first = put_small("old", "foreign", false);
    struct got *target = put_small("new", "older", false);
    fake_wait_at_gate(FAKE_PUT, 2);
    struct got *g = commit(c, true); /* replaces "old" */
    assert_int_equal(sf_content_retarget(c, "b", "new", true), 0);
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(first), 0);
    assert_int_equal(wait_for(target), 0);
    assert_int_equal(wait_for(g), 0);
    assert_true(fake_has("b", "old", "foreign"));
    assert_true(fake_has("b", "new", "text"));
    sf_content_unref(c);
}

static void
renamed_to_a_free_name(void **state)
{
    (void)state;
    struct sf_content *c = content("old", "text");
    fake_set("b", "old", "there");
    fake_set("b", "new", "somebody else's");
    fake_close(FAKE_PUT);
    struct got *hold = put_small("old", "x", true);
    fake_wait_at_gate(FAKE_PUT, 1);
    struct got *g = commit(c, true);
    sf_content_retarget(c, "b", "new", false); /* `exists` was said of the old name */
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(hold), 0);
    assert_int_equal(wait_for(g), 0);
    assert_true(fake_has("b", "new", "text"));
    assert_true(fake_has("b", g->conflict, "somebody else's"));
    sf_content_unref(c);
}

static void
renamed_while_it_is_sent(void **state)
{
    (void)state;
    struct sf_content *c = content("old", "text");
    fake_close(FAKE_PUT);
    struct got *g = commit(c, false);
    fake_wait_at_gate(FAKE_PUT, 1);
    struct got *ren = rename_to("old", "new", false);
    sf_content_retarget(c, "b", "new", true);
    sf_content_write(c, "TEXT", 4, 0);
    struct got *h = commit(c, true);
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(g), 0);
    assert_int_equal(wait_for(ren), 0);
    assert_int_equal(wait_for(h), 0);
    assert_null(fake_find("b", "old"));
    assert_true(fake_has("b", "new", "TEXT"));
    assert_string_equal(fake_order(), "post b/old;move b/old b/new;put b/new;");
    sf_content_unref(c);
}

static void
abandoned(void **state)
{
    (void)state;
    struct sf_content *c = content("k", "text");
    assert_false(sf_content_abandon(c)); /* nothing under way */
    assert_false(sf_content_dirty(c));
    struct got *g = commit(c, false);
    assert_int_equal(wait_for(g), 0);
    assert_false(g->done.uploaded);
    assert_bytes(c, "text"); /* for who has it open */
    assert_int_equal(sf_content_write(c, "T", 1, 0), 1);
    assert_bytes(c, "Text");
    sf_content_unref(c);
    assert_int_equal(fake_count(FAKE_PUT), 0);
    assert_int_equal(count_files("staging"), 0);
    assert_int_equal(count_files("quarantine"), 0);

    c = content("k", "text");
    fake_close(FAKE_PUT);
    g = commit(c, false);
    fake_wait_at_gate(FAKE_PUT, 1);
    assert_true(sf_content_abandon(c)); /* an object may appear */
    struct got *del = delete_key("k");
    fake_open(FAKE_PUT);
    assert_int_equal(wait_for(g), 0);
    assert_int_equal(wait_for(del), 0);
    assert_null(fake_find("b", "k"));
    sf_content_unref(c);
}

/* ---- threads -------------------------------------------------------------------------------- */

static struct sf_content *shared;
static _Atomic bool stop;

static void *
scribble(void *arg)
{
    char c = *(const char *)arg;
    char block[64];
    memset(block, c, sizeof block);
    for (unsigned i = 0; !stop; i++) {
        sf_content_write(shared, block, sizeof block, (i % 64) * sizeof block);
        read_local(shared, block, sizeof block, 0);
        memset(block, c, sizeof block);
        if (i % 50 == 0)
            usleep(100);
    }
    return NULL;
}

static void
writers_and_uploads(void **state)
{
    (void)state;
    pthread_t a, b;
    shared = content("k", "x");
    stop = false;
    pthread_create(&a, NULL, scribble, (void *)"a");
    pthread_create(&b, NULL, scribble, (void *)"b");
    for (int i = 0; i < 20; i++)
        assert_int_equal(wait_for(commit(shared, i > 0)), 0);
    stop = true;
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    assert_int_equal(wait_for(commit(shared, true)), 0);
    assert_false(sf_content_dirty(shared));
    char buf[4096];
    ssize_t n = read_local(shared, buf, sizeof buf, 0);
    const struct fake_object *o = fake_find("b", "k");
    assert_int_equal(o->len, n);
    assert_memory_equal(o->data, buf, (size_t)n);
    for (size_t i = 0; i + 64 <= o->len; i += 64) /* blocks are whole: no torn writes */
        for (size_t k = 1; k < 64; k++)
            assert_int_equal(o->data[i + k], o->data[i]);
    sf_content_unref(shared);
    assert_int_equal(count_files("staging"), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_and_size),
        TEST(what_is_dirty),
        TEST(the_file_says_what_it_is),
        TEST(an_upload_sends_one_state),
        TEST(a_clone_has_every_byte),
        TEST(commits_join),
        TEST(a_commit_that_waits_sends_later_writes),
        TEST(a_failed_commit_leaves_it_dirty),
        TEST(renamed_before_the_upload),
        TEST(renamed_to_a_free_name),
        TEST(renamed_while_it_is_sent),
        TEST(abandoned),
        TEST(writers_and_uploads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
