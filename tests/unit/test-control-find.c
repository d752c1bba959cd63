/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What `supafs find` looks for: the same for every source; what the database is asked for fits at
 * least that; and of its answer nothing is believed that was not asked for. */
#include "control/find-match.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/glob.h"
#include "tree/names.h"

#define S INT64_C(1000000000)

/* ---- the predicate --------------------------------------------------------------------------- */

static void
sizes_are_read(void **state)
{
    static const struct {
        const char *text;
        uint64_t min, max;
    } good[] = {{"0", 0, 0},           {"+0", 1, UINT64_MAX},
                {"-1", 0, 0},          {"4096", 4096, 4096},
                {"64k", 65536, 65536}, {"+1M", 1048577, UINT64_MAX},
                {"-1k", 0, 1023},      {"+18446744073709551614", UINT64_MAX, UINT64_MAX}};
    static const char *const bad[] = {"",
                                      "+",
                                      "-",
                                      "++1",
                                      "+-1",
                                      " 1",
                                      "1 ",
                                      "x",
                                      "1x",
                                      "-0",
                                      "+18446744073709551615",
                                      "18446744073709551616"};
    uint64_t min = 77, max = 77;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (sf_find_parse_size(bad[i], &min, &max) >= 0 || min != 77 || max != 77)
            fail_msg("%s", bad[i]);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(sf_find_parse_size(good[i].text, &min, &max), 0);
        assert_true(min == good[i].min && max == good[i].max);
    }
}

static bool
fits(struct sf_find_want want, const char *mime, uint64_t size, int64_t updated_ns)
{
    const struct sf_found row = {.key = "k", .mime = mime, .size = size, .updated_ns = updated_ns};
    return sf_find_matches(&want, &row);
}

static void
objects_are_told_by_size_type_and_time(void **state)
{
    struct sf_find_want w = SF_FIND_ANY;
    (void)state;
    assert_true(fits(w, "", 0, 0));
    w.min_size = 2;
    w.max_size = 3;
    assert_false(fits(w, "", 1, 0));
    assert_true(fits(w, "", 2, 0));
    assert_true(fits(w, "", 3, 0));
    assert_false(fits(w, "", 4, 0));
    w = SF_FIND_ANY;
    w.type = "text/*";
    assert_true(fits(w, "text/plain", 0, 0));
    assert_true(fits(w, "TEXT/Plain; charset=utf-8", 0, 0));
    assert_false(fits(w, "", 0, 0));
    assert_false(fits(w, "image/png", 0, 0));
    w.type = "text/plain";
    assert_true(fits(w, "text/plain", 0, 0));
    assert_true(fits(w, "text/plain ;charset=x", 0, 0));
    assert_false(fits(w, "text/plain2", 0, 0));
    w.type = "*utf-8";
    assert_true(fits(w, "text/plain; charset=UTF-8", 0, 0));
}

/* One source tells microseconds, the other milliseconds. */
static void
times_count_in_milliseconds(void **state)
{
    struct sf_find_want w = SF_FIND_ANY;
    (void)state;
    w.newer_ns = 10 * S + 5000000;
    assert_false(fits(w, "", 0, 10 * S + 5000000));
    assert_false(fits(w, "", 0, 10 * S + 5999000));
    assert_true(fits(w, "", 0, 10 * S + 6000000));
    w = SF_FIND_ANY;
    w.older_ns = 10 * S + 5000001;
    assert_true(fits(w, "", 0, 10 * S + 5999000));
    assert_false(fits(w, "", 0, 10 * S + 6000000));
    w.older_ns = 0;
    assert_true(fits(w, "", 0, -1));
    w.older_ns = -1000000;
    assert_false(fits(w, "", 0, -1));
}

static void
tags_and_hashes_are_exact(void **state)
{
    struct sf_find_want w = SF_FIND_ANY;
    json_t *tags = json_pack("[s,s]", "red", "a}b");
    struct sf_found row = {.key = "k", .mime = "", .sha256 = "", .tags = tags};
    (void)state;
    assert_true(sf_find_matches_facts(&w, &row));
    w.tag = "re";
    assert_false(sf_find_matches_facts(&w, &row));
    w.tag = "a}b";
    assert_true(sf_find_matches_facts(&w, &row));
    w.sha256 = "00";
    assert_false(sf_find_matches_facts(&w, &row));
    row.sha256 = "00";
    assert_true(sf_find_matches_facts(&w, &row));
    row.tags = NULL;
    assert_false(sf_find_matches_facts(&w, &row));
    json_decref(tags);
}

static void
names_are_those_of_the_mount(void **state)
{
    (void)state;
    assert_true(sf_find_matches_name("r\xc3\xa9s*", "r=!BpsumBp.pdf", 0));
    assert_false(sf_find_matches_name("r=!*", "r=!BpsumBp.pdf", 0));
    assert_true(sf_find_matches_name("C#", "C=@23", 0));
    assert_true(sf_find_matches_name("both", "both", SF_NAME_CLASH));
    assert_true(sf_find_matches_name("%obj*", "both", SF_NAME_CLASH));
    assert_false(sf_find_matches_name("%obj*", "both", 0));
    assert_false(sf_find_matches_name("*obj*", "both", SF_NAME_CLASH));
    assert_true(sf_find_matches_name("%key=", "", 0));
    assert_true(sf_find_matches_name("", "", 0));
    assert_true(sf_find_matches_name(".supafs", ".supafs", 0));
    assert_true(sf_find_matches_name("%key=.supafs", ".supafs", SF_NAME_AT_ROOT));
    assert_true(sf_find_matches_name("\xe6\x97\xa5", "=!0Xl", SF_NAME_CLASH));
}

/* ---- what the database is asked for ---------------------------------------------------------- */

static const char *
name_glob(const char *glob)
{
    static struct sf_buf out;
    sf_buf_clear(&out);
    assert_int_equal(sf_find_name_superset(glob, &out), 0);
    return sf_buf_str(&out);
}

static const char *
type_glob(const char *glob)
{
    static struct sf_buf out;
    sf_buf_clear(&out);
    assert_int_equal(sf_find_type_superset(glob, &out), 0);
    return sf_buf_str(&out);
}

static void
most_of_a_glob_goes_to_the_database(void **state)
{
    (void)state;
    assert_string_equal(name_glob("*"), "");
    assert_string_equal(name_glob("?"), "");
    assert_string_equal(name_glob("*.txt"), "*.txt");
    assert_string_equal(name_glob("IMG_004?.jpg"), "IMG_004*.jpg");
    assert_string_equal(name_glob("*[0-9].md"), "*.md");
    assert_string_equal(name_glob("r\xc3\xa9sum\xc3\xa9*.pdf"), "r*sum*.pdf");
    assert_string_equal(name_glob("*aB1c"), "*a*B1c");
    assert_string_equal(name_glob("aB1c"), "aB1c");
    assert_string_equal(name_glob("\\*\\[a\\\\"), "*a*");
    assert_string_equal(name_glob("a=@b"), "a*@b");
    assert_string_equal(name_glob("%20*"), "");
    assert_string_equal(name_glob("*.e*"), "*e*");
    assert_string_equal(type_glob("*"), "");
    assert_string_equal(type_glob("im/2*"), "[iI][mM]/2*");
    assert_string_equal(type_glob("a/b; c"), "[aA]/[bB]*[cC]*");
}

static uint32_t seed = 1;

static uint32_t
below(uint32_t n)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

static const char *const pieces[] = {"a",
                                     "b",
                                     "B",
                                     "1",
                                     ".",
                                     "=",
                                     "@",
                                     "!",
                                     "\xc3\xa9",
                                     "\xe6\x97\xa5",
                                     "#",
                                     "%",
                                     "key",
                                     "obj",
                                     "e",
                                     "emptyFolderPlaceholder",
                                     ".emptyFolderPlaceholder",
                                     " ",
                                     "-",
                                     "\xff",
                                     "=@41",
                                     "=!Bp",
                                     "=@23",
                                     "(",
                                     "\\",
                                     "\n",
                                     "%key=",
                                     "[",
                                     "*",
                                     "?",
                                     "'"};
#define PIECES (sizeof pieces / sizeof *pieces)

static void
add(char *to, const char *text)
{
    memcpy(to + strlen(to), text, strlen(text) + 1);
}

/* A text, and a glob that often fits it. */
static void
make_text(char *text, char *glob)
{
    static const char *const wild[] = {"*", "?", "[!z]", "[a-z]", "**", "*?"};
    *text = *glob = '\0';
    for (uint32_t n = below(7); n; n--) {
        const char *piece = pieces[below(PIECES)];
        add(text, piece);
        if (below(3) == 0) {
            add(glob, wild[below(6)]);
            continue;
        }
        for (const char *c = piece; *c; c++) {
            char one[3] = {'\\', *c, '\0'};
            add(glob, strchr("*?[\\", *c) ? one : one + 1);
        }
    }
}

/* Whatever a glob means, the database finds. */
static void
supersets_fit_all_that_is_meant(void **state)
{
    char text[256], glob[512], comp[256];
    unsigned met = 0, narrowed = 0;
    (void)state;
    for (int i = 0; i < 200000; i++) {
        make_text(text, glob);
        unsigned flags =
            (below(4) == 0 ? SF_NAME_CLASH : 0) | (below(4) == 0 ? SF_NAME_AT_ROOT : 0);
        /* A name that was given here, or a component that somebody made. */
        if (below(3) == 0 || sf_name_to_key(text, flags & ~(unsigned)SF_NAME_CLASH, comp) < 0)
            snprintf(comp, sizeof comp, "%s", text);
        if (strchr(comp, '/') || !sf_find_matches_name(glob, comp, flags))
            continue;
        const char *super = name_glob(glob);
        met++;
        narrowed += *super != '\0';
        if (*super && !sf_glob_match(super, comp, false))
            fail_msg("'%s' means '%s', but '%s' does not fit '%s'", glob, text, super, comp);
    }
    assert_true(met > 20000 && narrowed > 10000);
    for (int i = 0; i < 50000; i++) {
        struct sf_find_want w = SF_FIND_ANY;
        make_text(text, glob);
        w.type = glob;
        if (fits(w, text, 0, 0) && *type_glob(glob) && !sf_glob_match(type_glob(glob), text, false))
            fail_msg("'%s' means '%s', but '%s' does not fit", glob, text, type_glob(glob));
    }
}

/* ---- its answers ----------------------------------------------------------------------------- */

#define ROW(key)                                                                                   \
    "{\"bucket\":\"b\",\"key\":\"" key "\",\"id\":\"i\",\"size\":3,\"mime\":null,"                 \
    "\"updated_at\":\"2026-11-21T04:05:19.770123+00:00\",\"sha256\":null,\"tags\":null,"           \
    "\"is_prefix\":false}"

static int
answer(const char *text, const char *prefix, const char *after, struct sf_found **rows, size_t *n,
       json_t **json)
{
    const struct sf_find_args args = {
        .bucket = "b", .prefix = prefix, .after = after, .limit = 2, .max_size = UINT64_MAX};
    char why[160] = "";
    *json = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(*json);
    int rc = sf_find_parse(*json, &args, rows, n, why);
    assert_true((rc == 0) == !*why);
    return rc;
}

static void
rows_are_read(void **state)
{
    struct sf_found *rows = NULL;
    size_t n = 0;
    json_t *json;
    (void)state;
    assert_int_equal(answer("[" ROW("d/a") "," ROW("d/b") "]", "d/", "d/Z", &rows, &n, &json), 0);
    assert_int_equal(n, 2);
    assert_string_equal(rows[1].key, "d/b");
    assert_string_equal(rows[1].mime, "");
    assert_string_equal(rows[1].sha256, "");
    assert_null(rows[1].tags);
    assert_int_equal(rows[1].size, 3);
    assert_int_equal(rows[1].updated_ns, 1795233919 * S + 770123000);
    free(rows);
    json_decref(json);
    assert_int_equal(answer("[]", "", NULL, &rows, &n, &json), 0);
    assert_int_equal(n, 0);
    free(rows);
    json_decref(json);
}

static void
no_row_is_believed_that_was_not_asked_for(void **state)
{
    static const struct {
        const char *text, *after;
        int rc;
    } bad[] = {
        {"{}", NULL, -EPROTO},
        {"[1]", NULL, -EPROTO},
        {"[{}]", NULL, -ENOSYS},
        {"[" ROW("d/a") "," ROW("d/b") "," ROW("d/c") "]", NULL, -EPROTO},
        {"[" ROW("d/b") "," ROW("d/a") "]", NULL, -EPROTO},
        {"[" ROW("d/b") "," ROW("d/b") "]", NULL, -EPROTO},
        {"[" ROW("e/a") "]", NULL, -EPROTO},
        {"[" ROW("") "]", NULL, -EPROTO},
        {"[" ROW("d/a") "]", "d/a", -EPROTO},
        {"[{\"bucket\":\"c\",\"key\":\"d/a\",\"is_prefix\":false}]", NULL, -EPROTO},
        {"[{\"bucket\":\"b\",\"key\":\"d/a\",\"is_prefix\":1}]", NULL, -EPROTO},
        {"[{\"bucket\":\"b\",\"key\":1,\"is_prefix\":true}]", NULL, -EPROTO},
        {"[{\"bucket\":\"b\",\"key\":\"d/a\",\"size\":-1,\"is_prefix\":true}]", NULL, -EPROTO},
        {"[{\"bucket\":\"b\",\"key\":\"d/a\",\"size\":\"1\",\"is_prefix\":true}]", NULL, -EPROTO},
        {"[{\"bucket\":\"b\",\"key\":\"d/a\",\"updated_at\":\"x\",\"is_prefix\":true}]", NULL,
         -EPROTO},
        {"[{\"bucket\":\"b\",\"key\":\"d/a\",\"mime\":[],\"is_prefix\":true}]", NULL, -EPROTO},
    };
    struct sf_found *rows = NULL;
    size_t n = 77;
    json_t *json;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (answer(bad[i].text, "d/", bad[i].after, &rows, &n, &json) != bad[i].rc || rows ||
            n != 77)
            fail_msg("%s", bad[i].text);
        json_decref(json);
    }
}

/* Anybody may write into the tables. */
static void
odd_facts_are_none(void **state)
{
    struct sf_found *rows = NULL;
    size_t n = 0;
    json_t *json;
    (void)state;
    assert_int_equal(
        answer("[{\"bucket\":\"b\",\"key\":\"d/a\",\"is_prefix\":true,\"sha256\":\"zz\","
               "\"tags\":[1]}]",
               "d/", NULL, &rows, &n, &json),
        0);
    assert_int_equal(n, 1);
    assert_true(rows[0].is_prefix && !rows[0].tags && !*rows[0].sha256);
    free(rows);
    json_decref(json);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_read),
        cmocka_unit_test(objects_are_told_by_size_type_and_time),
        cmocka_unit_test(times_count_in_milliseconds),
        cmocka_unit_test(tags_and_hashes_are_exact),
        cmocka_unit_test(names_are_those_of_the_mount),
        cmocka_unit_test(most_of_a_glob_goes_to_the_database),
        cmocka_unit_test(supersets_fit_all_that_is_meant),
        cmocka_unit_test(rows_are_read),
        cmocka_unit_test(no_row_is_believed_that_was_not_asked_for),
        cmocka_unit_test(odd_facts_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
