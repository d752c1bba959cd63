/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * docs/formats/attributes.md, marks: its vectors, read from the document, and its promises over
 * random input. SF_TEST_SEED repeats a run.
 */
#include "write/mark.h"

#include "../fuzz/attrs-properties.h"
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#include "../lib/vectors.h"

#define ROUNDS  20000
#define LONGEST 8192

static uint64_t seed;

static uint64_t
rnd(void)
{
    uint64_t z = (seed += UINT64_C(0x9E3779B97F4A7C15));
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static size_t
below(size_t n)
{
    return (size_t)(rnd() % n);
}

/* ---- random input ---------------------------------------------------------------------------- */

static int64_t
random_time(void)
{
    int64_t t = (int64_t)rnd() >> below(64);
    switch (below(4)) {
    case 0:
        return t - t % 1000000000; /* a whole second */
    case 1:
        return t - t % 1000;
    case 2:
        return below(50) ? t : below(2) ? INT64_MAX : INT64_MIN;
    default:
        return t;
    }
}

static struct sf_mark
random_mark(void)
{
    static const mode_t types[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK};
    struct sf_mark m = {.valid = (unsigned)below(256)};
    if (m.valid & SF_MARK_MODE)
        m.mode = types[below(7)] | (mode_t)below(010000);
    if (m.valid & SF_MARK_UID)
        m.uid = (uid_t)(below(20) ? rnd() >> below(32) & 0x7fffffff : UINT32_MAX - 1);
    if (m.valid & SF_MARK_GID)
        m.gid = (gid_t)below(100000);
    if (m.valid & SF_MARK_MTIME)
        m.mtime_ns = random_time();
    if (m.valid & SF_MARK_CTIME)
        m.ctime_ns = below(2) ? m.mtime_ns : random_time();
    if (m.valid & SF_MARK_ATIME)
        m.atime_ns = random_time();
    if (m.valid & SF_MARK_INO)
        m.ino = rnd() >> below(64) | 1;
    if (m.valid & SF_MARK_RDEV)
        m.rdev = makedev((unsigned)below(4096), (unsigned)below(1048576));
    m.guessed = below(2);
    m.xattrs = below(2);
    return m;
}

/* What others and we may have written, whole or damaged. */
static const char *
random_piece(char own[SF_MARK_SIZE + 4])
{
    static const char *const pieces[] = {"no-cache",
                                         "max-age=3600",
                                         "public",
                                         "immutable",
                                         "private=\"set-cookie, x\"",
                                         "ext=\"a\\\"b,c\"",
                                         "\"",
                                         "\\",
                                         ",",
                                         ", ",
                                         " , ",
                                         "\t",
                                         "supafs",
                                         "supafs=",
                                         "supafs=\"",
                                         "supafs=\"1",
                                         "supafs=\"1;m=100644",
                                         "SUPAFS=\"1;m=100600\"",
                                         "supafs=\"2;m=100600\"",
                                         "supafs=\"1;m=9\"",
                                         "supafs=\"1;q=new;m=100600\"",
                                         ";m=100644\"",
                                         "=",
                                         "\r\n",
                                         "\x7f",
                                         "\xc3\xa9",
                                         "a",
                                         "1"};
    if (below(6))
        return pieces[below(sizeof pieces / sizeof *pieces)];
    struct sf_mark m = random_mark();
    int len = sf_mark_format(&m, own, SF_MARK_SIZE);
    assert_true(len > 0);
    if (below(4) == 0)
        own[below((size_t)len)] = (char)(' ' + below(95));
    return own;
}

static void
random_cache_control(char *out, size_t max)
{
    size_t len = 0, want = below(3) ? below(120) : below(max);
    while (len < want) {
        char own[SF_MARK_SIZE + 4];
        const char *p = random_piece(own);
        size_t n = strlen(p);
        if (len + n >= max)
            break;
        memcpy(out + len, p, n);
        len += n;
        if (below(2) && len + 2 < max) {
            memcpy(out + len, ", ", 2);
            len += 2;
        }
    }
    out[len] = '\0';
}

static void
expect_kept(const char *broken, const char *text)
{
    if (broken)
        fail_msg("seed %#llx, text %s: %s", (unsigned long long)seed, text, broken);
}

/* ---- the promises ---------------------------------------------------------------------------- */

static void
marks_come_back(void **state)
{
    (void)state;
    for (int i = 0; i < 5 * ROUNDS; i++) {
        struct sf_mark m = random_mark();
        expect_kept(attrs_check_mark(&m), "");
    }
}

static void
others_are_kept(void **state)
{
    (void)state;
    char *text = malloc(LONGEST);
    assert_non_null(text);
    size_t marked = 0, long_ones = 0;
    for (int i = 0; i < ROUNDS; i++) {
        struct sf_mark m = random_mark(), found;
        random_cache_control(text, i % 100 ? 400 : LONGEST);
        char *exact = strdup(text); /* no byte more: a sanitizer sees a read behind the end */
        assert_non_null(exact);
        expect_kept(attrs_check_cache_control(exact, &m), text);
        marked += (size_t)sf_mark_parse(exact, &found);
        long_ones += strlen(exact) > 2000;
        free(exact);
    }
    free(text);
    print_message("%d texts, %zu with a mark, %zu long\n", ROUNDS, marked, long_ones);
    assert_true(marked > ROUNDS / 20 && marked < ROUNDS && long_ones > 5);
}

static void
a_foreign_text_stays_byte_for_byte(void **state)
{
    (void)state;
    static const char *const texts[] = {"public, max-age=31536000, immutable",
                                        "a=\"b, c\\\"\",,d ,e",
                                        "max-age=0,",
                                        ",x",
                                        "a=\"never closed",
                                        "\xc3\xa9"};
    struct sf_mark m = {.valid = SF_MARK_MODE, .mode = 0100644};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        sf_autofree char *with = NULL, *back = NULL;
        assert_int_equal(sf_cache_control_with(texts[i], &m, &with), 0);
        assert_non_null(strstr(with, texts[i]));
        assert_int_equal(sf_cache_control_with(with, NULL, &back), 0);
        assert_string_equal(back, texts[i]);
    }
}

static void
eight_kilobytes_of_others(void **state)
{
    (void)state;
    char text[LONGEST + 1], expected[LONGEST + 64];
    struct sf_mark m = {.valid = SF_MARK_MODE, .mode = 0100644}, found;
    for (size_t i = 0; i < LONGEST; i++)
        text[i] = i % 9 == 8 ? ',' : 'a';
    text[LONGEST] = '\0';
    sf_autofree char *with = NULL;
    assert_int_equal(sf_cache_control_with(text, &m, &with), 0);
    snprintf(expected, sizeof expected, "%s, supafs=\"1;m=100644\"", text);
    assert_string_equal(with, expected);
    assert_int_equal(sf_mark_parse(with, &found), 1);
}

/* What cannot be said is left out, so that the mark stays readable. */
static void
impossible_values_are_left_out(void **state)
{
    (void)state;
    char text[SF_MARK_SIZE];
    struct sf_mark m = {.valid = 127, .mode = 0644, .uid = (uid_t)-1, .gid = (gid_t)-1};
    assert_true(sf_mark_format(&m, text, sizeof text) > 0);
    assert_string_equal(text, "supafs=\"1;t=0;c;a=0\"");
    assert_int_equal(sf_mark_parse(NULL, &m), 0);
}

/* ---- the vectors of the document ------------------------------------------------------------- */

/* FIELDS of a vector as a mark. */
static struct sf_mark
mark_of(const struct field *f)
{
    char text[TEXT_MAX + 16];
    struct sf_mark m = {0};
    snprintf(text, sizeof text, "supafs=\"%s\"", f->s);
    assert_int_equal(sf_mark_parse(text, &m), 1);
    return m;
}

static void
check_read(const char *text, const char *p)
{
    struct sf_mark m;
    struct field f;
    char got[SF_MARK_SIZE], expected[TEXT_MAX + 16];
    int found = sf_mark_parse(text, &m);
    if (!strcmp(p, "none")) {
        assert_int_equal(found, 0);
        return;
    }
    assert_int_equal(found, 1);
    assert_int_equal(*parse_field_once(p, &f), '\0');
    snprintf(expected, sizeof expected, "supafs=\"%s\"", f.s);
    assert_true(sf_mark_format(&m, got, sizeof got) > 0);
    assert_string_equal(got, expected);
}

static void
check_vector(const char *line)
{
    char word[16] = "";
    struct field text, fields, result;
    int used = 0;
    assert_int_equal(sscanf(line, "%15[a-z] %n", word, &used), 1);
    const char *p = parse_field_once(line + used, &text);
    bool write = !strcmp(word, "write");
    if (write)
        p = parse_field_once(p, &fields);
    assert_int_equal(strncmp(p, "-> ", 3), 0);
    p += 3;
    if (!strcmp(word, "read")) {
        check_read(text.s, p);
        return;
    }
    assert_true(write || !strcmp(word, "strip"));
    assert_int_equal(*parse_field_once(p, &result), '\0');
    sf_autofree char *got = NULL;
    struct sf_mark m = {0};
    if (write)
        m = mark_of(&fields);
    assert_int_equal(sf_cache_control_with(text.s, write ? &m : NULL, &got), 0);
    assert_string_equal(got, result.s);
}

static void
vectors_of_the_document(void **state)
{
    (void)state;
    assert_true(vectors_of("attributes.md", "vectors", check_vector) >= 80);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_the_document),
        cmocka_unit_test(marks_come_back),
        cmocka_unit_test(others_are_kept),
        cmocka_unit_test(a_foreign_text_stays_byte_for_byte),
        cmocka_unit_test(eight_kilobytes_of_others),
        cmocka_unit_test(impossible_values_are_left_out),
    };
    const char *fixed = getenv("SF_TEST_SEED");
    if (fixed)
        seed = strtoull(fixed, NULL, 0);
    else
        (void)sf_random_bytes(&seed, sizeof seed);
    print_message("SF_TEST_SEED=%#llx\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
