/* SPDX-License-Identifier: GPL-3.0-or-later */
/* tree/saved-format.h: rows, pages and heads come back as they were; damage is noticed; the bytes
 * are those of docs/formats/listings.md. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#include "tree/saved-format.h"

static const char uuid[] = "0123abcd-4567-89ef-0123-456789abcdef";
static const char md5[] = "\"00112233445566778899aabbccddeeff\"";

static struct saved_row
object(const char *comp)
{
    struct saved_row r = {.kind = SAVED_OBJECT, .size = 300, .symlink = true};
    snprintf(r.comp, sizeof r.comp, "%s", comp);
    snprintf(r.id, sizeof r.id, "%s", uuid);
    snprintf(r.etag, sizeof r.etag, "%s", md5);
    r.attrs = (struct saved_attrs){.mtime_ns = 5,
                                   .ctime_ns = 7,
                                   .marked = true,
                                   .mark = {.valid = SF_MARK_MODE | SF_MARK_MTIME | SF_MARK_INO,
                                            .mode = S_IFREG | 0640,
                                            .mtime_ns = 5,
                                            .ino = 0x0102}};
    return r;
}

static void
hex_is(const struct sf_buf *b, const char *want)
{
    char got[2000] = "";
    assert_true(b->len * 2 < sizeof got);
    for (size_t i = 0; i < b->len; i++)
        snprintf(got + 2 * i, 3, "%02x", (unsigned char)b->data[i]);
    assert_string_equal(got, want);
}

/* The bytes are a format: other versions read them. */
static void
test_vectors(void **state)
{
    (void)state;
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    struct saved_row row = object("ab"), folder = {.kind = SAVED_FOLDER, .comp = "d"};
    assert_int_equal(saved_page_begin(&b), 0);
    assert_int_equal(saved_page_add(&b, &row), 0);
    assert_int_equal(saved_page_add(&b, &folder), 0);
    hex_is(&b, "5001"
               "34"
               "026162"
               "0123abcd456789ef0123456789abcdef"
               "00112233445566778899aabbccddeeff"
               "ac02"
               "c919"
               "0a"
               "04"
               "a08302"
               "0201000000000000"
               "01"
               "0164");
    struct saved_id id;
    uint8_t key[SAVED_KEY_LEN];
    saved_id_of(SAVED_DIR, "b", "x/", &id);
    saved_key(&id, 258, key);
    assert_int_equal(key[0], 2);
    assert_memory_equal(key + 1, id.hash, 16);
    assert_memory_equal(key + 17, "\0\0\1\2", 4);
    struct saved_id other;
    saved_id_of(SAVED_PLAIN, "b", "x/", &other);
    assert_memory_not_equal(id.hash, other.hash, 16);
    saved_id_of(SAVED_DIR, "bx", "/", &other);
    assert_memory_not_equal(id.hash, other.hash, 16);
}

static void
same_row(const struct saved_row *a, const struct saved_row *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_string_equal(a->comp, b->comp);
    assert_string_equal(a->id, b->id);
    assert_string_equal(a->etag, b->etag);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->checked_ns, b->checked_ns);
    assert_int_equal(a->symlink, b->symlink);
    assert_int_equal(a->special, b->special);
    assert_int_equal(a->etag_open, b->etag_open);
    assert_string_equal(a->mime, b->mime);
    assert_int_equal(a->cache_control_known, b->cache_control_known);
    assert_string_equal(a->cache_control, b->cache_control);
    assert_memory_equal(&a->attrs, &b->attrs, sizeof a->attrs);
    assert_int_equal(a->mimes_len, b->mimes_len);
    if (a->mimes_len)
        assert_memory_equal(a->mimes, b->mimes, a->mimes_len);
}

static void
test_rows_come_back(void **state)
{
    (void)state;
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    struct saved_row rows[7] = {object("plain"),
                                object("other"),
                                object("without"),
                                object("device"),
                                {.kind = SAVED_FOLDER, .comp = "dir", .checked_ns = 77},
                                {.kind = SAVED_BUCKET, .comp = "b", .size = UINT64_MAX},
                                {.kind = SAVED_BUCKET, .comp = "c"}};
    struct saved_reader r;
    struct saved_row got;
    uint64_t sum;
    snprintf(rows[1].id, sizeof rows[1].id, "0123ABCD");
    snprintf(rows[1].etag, sizeof rows[1].etag, "W/\"x-1\"");
    rows[1].attrs.mark.valid = 0x7f;
    rows[1].attrs.mark.atime_ns = -3;
    rows[1].attrs.mark.uid = 4294967294u;
    rows[1].attrs.mark.guessed = rows[1].attrs.mark.xattrs = true;
    rows[1].attrs.mark.ctime_ns = rows[1].attrs.ctime_ns = INT64_MAX;
    rows[1].attrs.mark.mtime_ns = rows[1].attrs.mtime_ns = INT64_MIN + 1;
    rows[1].checked_ns = INT64_MAX;
    rows[1].etag_open = true;
    rows[2].id[0] = rows[2].etag[0] = '\0';
    snprintf(rows[0].mime, sizeof rows[0].mime, "image/png");
    snprintf(rows[0].cache_control, sizeof rows[0].cache_control, "no-cache");
    memset(rows[1].mime, 'm', sizeof rows[1].mime - 1);
    snprintf(rows[1].cache_control, sizeof rows[1].cache_control, "max-age=3600, public");
    rows[0].cache_control_known = rows[1].cache_control_known = rows[2].cache_control_known = true;
    rows[2].attrs = (struct saved_attrs){.mtime_ns = SAVED_NO_TIME, .ctime_ns = 9};
    rows[3].symlink = false;
    rows[3].special = S_IFBLK >> 12;
    rows[3].attrs.mark.valid |= SF_MARK_RDEV;
    rows[3].attrs.mark.rdev = makedev(4095, 1048575);
    for (int i = 4; i < 7; i++)
        rows[i].attrs = (struct saved_attrs){.mtime_ns = SAVED_NO_TIME, .ctime_ns = SAVED_NO_TIME};
    rows[5].mimes = "image/*\0text/plain";
    rows[5].mimes_len = 19;
    assert_int_equal(saved_page_begin(&b), 0);
    for (int i = 0; i < 7; i++)
        assert_int_equal(saved_page_add(&b, &rows[i]), 0);
    assert_int_equal(saved_page_seal(&b, &sum), 0);
    assert_int_equal(saved_page_open(b.data, b.len, sum, &r), 0);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(saved_page_next(&r, &got), 1);
        if (i == 4) /* a folder has no attributes of its own */
            got.attrs = rows[4].attrs;
        same_row(&got, &rows[i]);
    }
    assert_int_equal(saved_page_next(&r, &got), 0);
    assert_int_equal(saved_page_open(b.data, b.len, sum + 1, &r), -EUCLEAN);
}

static void
test_heads_come_back(void **state)
{
    (void)state;
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    const uint64_t sums[3] = {1, UINT64_MAX, 3};
    struct saved_head h = {.listing = true,
                           .complete = true,
                           .attrs_known = true,
                           .seq = 12,
                           .rows = 2001,
                           .bytes = 100000,
                           .checked_ns = 5,
                           .attrs_ns = 6,
                           .taken_ns = 7,
                           .uid = UINT32_MAX,
                           .attrs = {.mtime_ns = 3, .ctime_ns = SAVED_NO_TIME},
                           .pages = 3,
                           .sums = sums},
                      got;
    uint64_t *read = NULL;
    memcpy(h.boot, uuid, sizeof h.boot);
    assert_int_equal(saved_head_format(&h, "b", "p/", &b), 0);
    assert_int_equal(saved_head_parse(b.data, b.len, "b", "p/", &got, &read), 0);
    assert_memory_equal(read, sums, sizeof sums);
    got.sums = h.sums;
    assert_int_equal(got.rows, h.rows);
    assert_int_equal(got.bytes, h.bytes);
    assert_int_equal(got.uid, h.uid);
    assert_string_equal(got.boot, h.boot);
    assert_memory_equal(&got.attrs, &h.attrs, sizeof h.attrs);
    free(read);
    assert_int_equal(saved_head_parse(b.data, b.len, "b", "p", &got, &read), -ENOENT);
    assert_int_equal(saved_head_parse(b.data, b.len, "c", "p/", &got, &read), -ENOENT);
}

/* Every bit of a page and of a head. */
static void
test_damage_is_noticed(void **state)
{
    (void)state;
    sf_autobuf struct sf_buf page = SF_BUF_INIT, head = SF_BUF_INIT;
    struct saved_row row = object("x");
    struct saved_reader r;
    struct saved_head h = {.listing = true, .pages = 1}, got;
    uint64_t sum, *read = NULL;
    assert_int_equal(saved_page_begin(&page), 0);
    assert_int_equal(saved_page_add(&page, &row), 0);
    assert_int_equal(saved_page_seal(&page, &sum), 0);
    h.sums = &sum;
    assert_int_equal(saved_head_format(&h, "b", "", &head), 0);
    for (size_t i = 0; i < page.len * 8; i++) {
        page.data[i / 8] ^= (char)(1 << i % 8);
        assert_int_equal(saved_page_open(page.data, page.len, sum, &r), -EUCLEAN);
        page.data[i / 8] ^= (char)(1 << i % 8);
    }
    for (size_t i = 0; i < head.len * 8; i++) {
        head.data[i / 8] ^= (char)(1 << i % 8);
        assert_int_equal(saved_head_parse(head.data, head.len, "b", "", &got, &read), -EUCLEAN);
        head.data[i / 8] ^= (char)(1 << i % 8);
    }
    for (size_t n = 0; n < page.len; n++)
        assert_int_equal(saved_page_open(page.data, n, sum, &r), -EUCLEAN);
    for (size_t n = 0; n < head.len; n++)
        assert_int_equal(saved_head_parse(head.data, n, "b", "", &got, &read), -EUCLEAN);
}

static void
test_a_page_is_bounded(void **state)
{
    (void)state;
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    struct saved_row row = object("name-of-a-file-of-usual-length.jpg");
    unsigned n = 0;
    assert_int_equal(saved_page_begin(&b), 0);
    while (!saved_page_full(&b, n)) {
        assert_int_equal(saved_page_add(&b, &row), 0);
        n++;
    }
    assert_in_range(b.len, SAVED_PAGE_BYTES, SAVED_PAGE_BYTES + 200);
    print_message("[   INFO   ] %u rows of %zu bytes\n", n, b.len / n);
    row.mimes_len = SAVED_MIMES_MAX + 1;
    assert_int_equal(saved_page_add(&b, &row), -ENAMETOOLONG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),           cmocka_unit_test(test_rows_come_back),
        cmocka_unit_test(test_heads_come_back),   cmocka_unit_test(test_damage_is_noticed),
        cmocka_unit_test(test_a_page_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
