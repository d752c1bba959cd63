/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * docs/formats/names.md: its vectors, read from the document, and its promises over random and
 * exhaustive input. SF_TEST_SEED repeats a run.
 */
#include "tree/names.h"

#include "../fuzz/names-properties.h"
#include "base/cleanup.h"
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/vectors.h"

#define ROUNDS  100000
#define LONGEST 400

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

/* ---- random strings ------------------------------------------------------------------------- */

static size_t
put_utf8(char *s, uint32_t c)
{
    if (c < 0x80) {
        s[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        s[i] = (char)(0x80 | (c & 0x3F));
    s[0] = (char)((n == 2 ? 0xC0 : n == 3 ? 0xE0 : 0xF0) | c);
    return n;
}

static uint32_t
random_char(void)
{
    static const uint32_t ranges[][2] = {
        {0xA0, 0x17F},      {0x300, 0x36F},     {0x391, 0x3C9},     {0x410, 0x44F},
        {0x5D0, 0x5EA},     {0x621, 0x64A},     {0xE01, 0xE3A},     {0x1EA0, 0x1EF9},
        {0x2010, 0x2026},   {0x3041, 0x3096},   {0x4E00, 0x9FFF},   {0xAC00, 0xD7A3},
        {0x1F300, 0x1F6FF}, {0x20000, 0x2A6DF}, {0xE000, 0xFFFF},   {0x80, 0x7FF},
        {0x800, 0xD7FF},    {0x10000, 0x3FFFF}, {0x40000, 0x10FFFF}};
    size_t i = below(sizeof ranges / sizeof *ranges);
    return ranges[i][0] + (uint32_t)below(ranges[i][1] - ranges[i][0] + 1);
}

/* What is likely to confuse the code. */
static const char *
random_piece(void)
{
    static const char *const pieces[] = {"=!",
                                         "=@",
                                         "=@23",
                                         "=@3D",
                                         "=@41",
                                         "!",
                                         ".",
                                         "=",
                                         "=!Bp",
                                         "Bp",
                                         "=@C3",
                                         "=@2E",
                                         "%key=",
                                         "%obj#",
                                         "%obj=",
                                         ".supafs",
                                         " ",
                                         "-",
                                         "=!BpBp",
                                         "=@20",
                                         "=@7e",
                                         "..",
                                         "month=01",
                                         SF_PLACEHOLDER,
                                         "=@2EemptyFolderPlaceholder",
                                         "\xC3",
                                         "\xE6\x97",
                                         "\xED\xA0\x80",
                                         "\xF4\x90\x80\x80",
                                         "\xEE\x80\x80",
                                         "~",
                                         "%",
                                         "#",
                                         "\\"};
    return pieces[below(sizeof pieces / sizeof *pieces)];
}

/* A string without NUL of up to max bytes, in one of several manners. */
static size_t
random_string(char *out, size_t max)
{
    char piece[8];
    size_t len = 0, manner = below(8);
    size_t want = below(4) ? below(24) : below(max + 1);
    if (want > max)
        want = max;
    while (len < want) {
        const char *p = piece;
        size_t n = 1;
        switch (manner == 7 ? below(7) : manner) {
        case 0:
            piece[0] = names_allowed[below(sizeof names_allowed - 1)];
            break;
        case 1:
            piece[0] = (char)(1 + below(255));
            break;
        case 2:
            n = put_utf8(piece, random_char());
            break;
        case 3:
            n = below(3) ? put_utf8(piece, 'a' + (uint32_t)below(26))
                         : put_utf8(piece, 0xC0 + (uint32_t)below(0x80));
            break;
        case 4:
            p = random_piece();
            n = strlen(p);
            break;
        case 5:
            piece[0] = "=!@3DBp2"[below(8)];
            break;
        default:
            n = below(2) ? put_utf8(piece, 0x4E00 + (uint32_t)below(0x5200)) : 1;
            if (n == 1)
                piece[0] = (char)(0x20 + below(0x5F));
        }
        if (len + n > max)
            break;
        memcpy(out + len, p, n);
        len += n;
    }
    if (below(40) == 0 && len + strlen(SF_PLACEHOLDER) <= max) {
        memcpy(out + len, SF_PLACEHOLDER, strlen(SF_PLACEHOLDER));
        len += strlen(SF_PLACEHOLDER);
    }
    out[len] = '\0';
    return len;
}

/* A key component: any string, or one that supafs made, or one of these damaged in one place. */
static size_t
random_key(char *out)
{
    char name[SF_NAME_BUF_SIZE], key[SF_NAME_BUF_SIZE];
    if (below(3) == 0)
        return random_string(out, LONGEST);
    random_string(name, 120);
    if (sf_name_to_key(name, 0, key) != 0)
        return random_string(out, LONGEST);
    size_t len = strlen(key);
    if (below(2)) {
        size_t at = below(len);
        char c = names_allowed[below(sizeof names_allowed - 1)];
        if (below(3) == 0) {
            memmove(key + at, key + at + 1, len - at);
            len--;
        } else if (below(2) && len < SF_NAME_MAX) {
            memmove(key + at + 1, key + at, len - at + 1);
            key[at] = c;
            len++;
        } else {
            key[at] = c;
        }
    }
    memcpy(out, key, len + 1);
    return len;
}

static void
expect_kept(const char *broken, const char *s, size_t len, unsigned flags)
{
    if (!broken)
        return;
    print_error("%s\nflags %u, input of %zu bytes: ", broken, flags, len);
    for (size_t i = 0; i < len; i++)
        print_error("\\x%02X", (uint8_t)s[i]);
    print_error("\n");
    fail();
}

static void
names_come_back(void **state)
{
    (void)state;
    char *name = malloc(LONGEST + 1);
    assert_non_null(name);
    size_t stored = 0, escaped = 0;
    for (int i = 0; i < ROUNDS; i++) {
        char key[SF_NAME_BUF_SIZE];
        unsigned flags = below(4) ? 0 : (unsigned)below(4);
        size_t len = random_string(name, below(20) ? 255 : LONGEST);
        expect_kept(names_check_name(name, flags), name, len, flags);
        expect_kept(names_check_lookup(name, flags), name, len, flags);
        if (sf_name_to_key(name, flags, key) == 0) {
            stored++;
            escaped += strcmp(key, name) != 0;
        }
    }
    free(name);
    print_message("%d names: %zu stored, %zu of them escaped\n", ROUNDS, stored, escaped);
    assert_true(stored > ROUNDS / 2 && escaped > ROUNDS / 4 && escaped < stored);
}

static void
keys_come_back(void **state)
{
    (void)state;
    char *comp = malloc(LONGEST + 1);
    assert_non_null(comp);
    size_t decoded = 0, special = 0;
    for (int i = 0; i < ROUNDS; i++) {
        char name[SF_NAME_BUF_SIZE];
        unsigned flags = below(4) ? 0 : (unsigned)below(8);
        size_t len = random_key(comp);
        expect_kept(names_check_key(comp, len, flags), comp, len, flags);
        if (sf_name_from_key(comp, len, flags, name) == 0) {
            special += names_special(name);
            decoded += !names_special(name) && strcmp(name, comp) != 0;
        }
    }
    free(comp);
    print_message("%d keys: %zu decoded, %zu shown as special\n", ROUNDS, decoded, special);
    assert_true(decoded > ROUNDS / 10 && special > ROUNDS / 20);
}

static void
hostile_bytes_are_safe(void **state)
{
    (void)state;
    for (int i = 0; i < ROUNDS; i++) {
        size_t len = below(600);
        char *comp = malloc(len + 1); /* no byte more: a sanitizer sees a read behind the end */
        assert_non_null(comp);
        for (size_t k = 0; k < len; k++)
            comp[k] = below(3) ? names_allowed[below(sizeof names_allowed - 1)] : (char)rnd();
        comp[len] = '\0';
        unsigned flags = (unsigned)below(8);
        expect_kept(names_check_key(comp, len, flags), comp, len, flags);
        free(comp);
    }
}

/* All strings of up to 6 signs of the code itself: few enough to try every one as both. */
static void
small_world_is_a_bijection(void **state)
{
    (void)state;
    static const char signs[] = "=!@3DBp";
    const size_t base = sizeof signs - 1;
    size_t total = 1;
    for (size_t len = 1; len <= 6; len++) {
        total *= base;
        for (size_t v = 0; v < total; v++) {
            char s[8] = "";
            for (size_t k = 0, rest = v; k < len; k++, rest /= base)
                s[k] = signs[rest % base];
            expect_kept(names_check_name(s, 0), s, len, 0);
            expect_kept(names_check_key(s, len, 0), s, len, 0);
        }
    }
}

static void
every_pair_of_bytes(void **state)
{
    (void)state;
    for (unsigned a = 1; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            char s[3] = {(char)a, (char)b, 0};
            size_t len = b ? 2 : 1;
            for (unsigned flags = 0; flags < 4; flags++) {
                expect_kept(names_check_name(s, flags), s, len, flags);
                expect_kept(names_check_key(s, len, flags), s, len, flags);
            }
        }
    }
}

static void
every_character(void **state)
{
    (void)state;
    for (uint32_t c = 1; c <= 0x1FFFFF; c += c < 0x11000 ? 1 : 251) {
        char s[8] = "x";
        size_t len = 1 + put_utf8(s + 1, c);
        s[len++] = 'y';
        s[len] = '\0';
        if (c != '/')
            expect_kept(names_check_name(s, 0), s, len, 0);
    }
}

/* ---- the vectors of the document ------------------------------------------------------------ */

static int
errno_called(const char *name)
{
    static const struct {
        const char *name;
        int code;
    } codes[] = {{"EINVAL", -EINVAL}, {"ENAMETOOLONG", -ENAMETOOLONG}, {"EILSEQ", -EILSEQ}};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (strcmp(codes[i].name, name) == 0)
            return codes[i].code;
    fail_msg("unknown error %s", name);
    return 0;
}

static void
check_pair(const struct field *name, const struct field *key, unsigned flags)
{
    char got[SF_NAME_BUF_SIZE] = "";
    assert_int_equal(sf_name_to_key(name->s, flags, got), 0);
    assert_string_equal(got, key->s);
    assert_int_equal(sf_name_from_key(key->s, key->len, flags, got), 0);
    assert_string_equal(got, name->s);
}

static void
check_show(const struct field *key, const struct field *name, unsigned flags)
{
    char got[SF_NAME_BUF_SIZE] = "";
    struct sf_name_ref ref;
    assert_int_equal(sf_name_from_key(key->s, key->len, flags, got), 0);
    assert_string_equal(got, name->s);
    assert_int_equal(sf_name_lookup(got, flags & ~(unsigned)SF_NAME_CLASH, &ref), 0);
    assert_int_not_equal(ref.kind, SF_NAME_PLAIN);
    assert_memory_equal(ref.comp, key->s, ref.len);
    assert_true(ref.len == key->len || key->len > 250);
    assert_int_equal(sf_name_to_key(got, flags, got), -EINVAL);
}

/* One line of the block; returns the word that it begins with. */
static void
check_vector(const char *line)
{
    char word[16] = "", place[16] = "", got[SF_NAME_BUF_SIZE];
    struct field a, b;
    struct sf_name_ref ref;
    int used = 0;
    assert_int_equal(sscanf(line, "%15[a-z] %n", word, &used), 1);
    const char *p = line + used;
    if (*p != '"') {
        assert_int_equal(sscanf(p, "%15[a-z] %n", place, &used), 1);
        p += used;
    }
    unsigned flags = !strcmp(place, "root")     ? SF_NAME_AT_ROOT
                     : !strcmp(place, "bucket") ? SF_NAME_BUCKET
                     : !strcmp(place, "clash")  ? SF_NAME_CLASH
                                                : 0;
    assert_true(flags || !*place);
    p = parse_field(p, &a);
    if (!strcmp(word, "pair") || !strcmp(word, "show")) {
        assert_int_equal(strncmp(p, "-> ", 3), 0);
        p = parse_field(p + 3, &b);
        assert_int_equal(*p, '\0');
        (*word == 'p' ? check_pair : check_show)(&a, &b, flags);
    } else if (!strcmp(word, "refuse")) {
        assert_int_equal(sf_name_to_key(a.s, flags, got), errno_called(p));
    } else if (!strcmp(word, "hide")) {
        assert_int_equal(sf_name_from_key(a.s, a.len, flags, got), errno_called(p));
    } else if (!strcmp(word, "none")) {
        assert_int_equal(sf_name_lookup(a.s, flags, &ref), -ENOENT);
    } else {
        fail_msg("unknown vector: %s", line);
    }
}

static void
vectors_of_the_document(void **state)
{
    (void)state;
    assert_true(vectors_of("names.md", "vectors", check_vector) >= 120);
}

/* ---- keys ----------------------------------------------------------------------------------- */

static void
joined_keys_have_limits(void **state)
{
    (void)state;
    char out[4096], comp[1025], prefix[1025];
    assert_int_equal(sf_key_join(out, sizeof out, "", "a", 0), 1);
    assert_string_equal(out, "a");
    assert_int_equal(sf_key_join(out, sizeof out, "a/", "b", SF_KEY_DIRECTORY), 4);
    assert_string_equal(out, "a/b/");
    assert_int_equal(sf_key_join(out, sizeof out, "a/", "", 0), 2);
    assert_string_equal(out, "a/");
    assert_int_equal(sf_key_join(out, sizeof out, "a/", "", SF_KEY_DIRECTORY), 3);
    assert_string_equal(out, "a//");

    memset(prefix, 'p', sizeof prefix);
    memset(comp, 'c', sizeof comp);
    comp[255] = '\0';
    prefix[644] = '/';
    prefix[645] = '\0';
    assert_int_equal(sf_key_join(out, sizeof out, prefix, comp, SF_KEY_NEW), 900);
    assert_int_equal(strlen(out), 900);
    snprintf(out, sizeof out, "before");
    unsigned new_dir = SF_KEY_NEW | SF_KEY_DIRECTORY;
    assert_int_equal(sf_key_join(out, sizeof out, prefix, comp, new_dir), -ENAMETOOLONG);
    assert_int_equal(sf_key_join(out, 900, prefix, comp, 0), -ENAMETOOLONG);
    assert_string_equal(out, "before");
    assert_int_equal(sf_key_join(out, 901, prefix, comp, 0), 900);
    comp[255] = 'c';
    comp[256] = '\0';
    assert_int_equal(sf_key_join(out, sizeof out, "", comp, SF_KEY_NEW), -ENAMETOOLONG);
    assert_int_equal(sf_key_join(out, sizeof out, "", comp, 0), 256);
    comp[256] = 'c';
    comp[1024] = '\0';
    assert_int_equal(sf_key_join(out, sizeof out, prefix, comp, 0), 645 + 1024);
}

static void
children_of_listed_keys(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        size_t prefix_len;
        const char *comp;
        bool directory;
    } rows[] = {
        {"a", 0, "a", false},      {"a/b", 0, "a", true},       {"a/b", 2, "b", false},
        {"a/b/", 2, "b", true},    {"a/", 2, "", false},        {"a//", 2, "", true},
        {"a//b", 2, "", true},     {"a//b", 3, "b", false},     {"/", 0, "", true},
        {"/lead", 0, "", true},    {"/lead", 1, "lead", false}, {"", 0, "", false},
        {"a/../b", 2, "..", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = 99;
        bool directory = !rows[i].directory;
        const char *p = sf_key_child(rows[i].key, rows[i].prefix_len, &len, &directory);
        assert_ptr_equal(p, rows[i].key + rows[i].prefix_len);
        assert_int_equal(len, strlen(rows[i].comp));
        assert_memory_equal(p, rows[i].comp, len);
        assert_int_equal(directory, rows[i].directory);
    }
}

static void
placeholders_are_exact(void **state)
{
    (void)state;
    assert_true(sf_name_is_placeholder_key(".emptyFolderPlaceholder"));
    assert_true(sf_name_is_placeholder_key("a/.emptyFolderPlaceholder"));
    assert_true(sf_name_is_placeholder_key("/.emptyFolderPlaceholder"));
    assert_false(sf_name_is_placeholder_key("x.emptyFolderPlaceholder"));
    assert_false(sf_name_is_placeholder_key("a/x.emptyFolderPlaceholder"));
    assert_false(sf_name_is_placeholder_key(".emptyFolderPlaceholder/a"));
    assert_false(sf_name_is_placeholder_key("emptyFolderPlaceholder"));
    assert_false(sf_name_is_placeholder_key(""));
    assert_true(sf_name_is_placeholder(".emptyFolderPlaceholder/", 23));
    assert_false(sf_name_is_placeholder(".emptyFolderPlaceholder/", 24));
    assert_false(sf_name_is_placeholder("x.emptyFolderPlaceholder", 24));
}

static void
buckets_have_their_own_limit(void **state)
{
    (void)state;
    char out[SF_NAME_BUF_SIZE] = "before", id[256];
    struct sf_name_ref ref;
    assert_int_equal(sf_bucket_from_name("Bücher", out), 0);
    assert_string_equal(out, "B=!B8cher");
    assert_int_equal(sf_bucket_to_name("B=!B8cher", out), 0);
    assert_string_equal(out, "Bücher");
    memset(id, 'b', sizeof id);
    id[150] = '\0';
    assert_int_equal(sf_bucket_from_name(id, out), -ENAMETOOLONG);
    assert_int_equal(sf_bucket_to_name(id, out), 0);
    assert_string_equal(out, id);
    assert_int_equal(sf_name_lookup(id, SF_NAME_BUCKET, &ref), 0);
    assert_string_equal(ref.comp, id);
    assert_int_equal(sf_bucket_to_name("", out), -EILSEQ);
}

int
main(void)
{
    const char *env = getenv("SF_TEST_SEED");
    if (env)
        seed = strtoull(env, NULL, 0);
    else if (sf_random_bytes(&seed, sizeof seed) != 0)
        return 1;
    printf("# SF_TEST_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_the_document),
        cmocka_unit_test(names_come_back),
        cmocka_unit_test(keys_come_back),
        cmocka_unit_test(hostile_bytes_are_safe),
        cmocka_unit_test(small_world_is_a_bijection),
        cmocka_unit_test(every_pair_of_bytes),
        cmocka_unit_test(every_character),
        cmocka_unit_test(joined_keys_have_limits),
        cmocka_unit_test(children_of_listed_keys),
        cmocka_unit_test(placeholders_are_exact),
        cmocka_unit_test(buckets_have_their_own_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
