/* SPDX-License-Identifier: GPL-3.0-or-later */
/* docs/formats/attributes.md, envelopes: its vectors, and its promises over damaged input. */
#include "write/meta.h"

#include "../fuzz/attrs-properties.h"
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "../lib/vectors.h"

#define OP  "q3lz7c6m2v4kd5w7x6bnyrthea"
#define SHA "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

static void
expect_kept(const char *broken, const char *text)
{
    if (broken)
        fail_msg("%s: %s", text, broken);
}

/* Every cut of a whole one, and every byte of it replaced by what is likely to confuse. */
static void
damaged_metadata_is_safe(void **state)
{
    (void)state;
    static char changes[] = "{\"user.b\":\"Mg==\",\"user.a\":null}";
    static const char whole[] = "{\"k\":[1,{\"supafs\":2}],\"supafs\":{\"v\":1,\"op\":\"" OP
                                "\",\"sha256\":\"" SHA "\",\"x\":{\"user.a\":\"MQ==\"}},"
                                "\"e\":\"\\u00e9\"}";
    static const char signs[] = "\"\\{}[],:0 \x01";
    const struct sf_meta m = {.op = OP, .sha256 = SHA, .xattrs = changes};
    for (size_t i = 0; i < sizeof whole; i++) {
        sf_autofree char *cut = strndup(whole, i);
        assert_non_null(cut);
        expect_kept(attrs_check_meta(cut, &m), cut);
        for (size_t k = 0; k < sizeof signs - 1 && i < sizeof whole - 1; k++) {
            sf_autofree char *bad = strdup(whole);
            assert_non_null(bad);
            bad[i] = signs[k];
            expect_kept(attrs_check_meta(bad, &m), bad);
        }
    }
}

static void
others_are_kept_as_they_were_spelled(void **state)
{
    (void)state;
    static const char others[] = "\"n\":0.1,\"big\":123456789012345678901234567890,"
                                 "\"e\":1E+400,\"t\":\"\\/\\u00e9\",\"o\":{\"a\" : [ ]}";
    char current[512], expected[512];
    sf_autofree char *got = NULL;
    struct sf_meta m = {.op = OP};
    snprintf(current, sizeof current, "{%s,\"supafs\":{\"v\":1,\"op\":\"x\"}}", others);
    snprintf(expected, sizeof expected, "{%s,\"supafs\":{\"v\":1,\"op\":\"" OP "\"}}", others);
    assert_int_equal(sf_meta_build(current, &m, &got), 0);
    assert_string_equal(got, expected);
    free(sf_steal(got));
    /* so they are when the file is another one, whose attributes are its own */
    snprintf(current, sizeof current, "{%s,\"supafs\":{\"v\":1,\"x\":{\"user.a\":\"YQ==\"}}}",
             others);
    m.afresh = true;
    assert_int_equal(sf_meta_build(current, &m, &got), 0);
    assert_string_equal(got, expected);
    free(sf_steal(got));
    assert_int_equal(sf_meta_build("[1]", &m, &got), -EINVAL);
    assert_int_equal(sf_meta_build("{\"a\":1} x", &m, &got), -EINVAL);
    assert_null(got);
}

/* 4096 bytes of attributes fit, one more does not. */
static void
attributes_have_a_limit(void **state)
{
    (void)state;
    char value[3040] = "", name[64] = "user.";
    for (size_t len = 5; len < sizeof name - 1; len++) {
        sf_autofree char *x = NULL, *got = NULL;
        struct sf_meta m = {0};
        name[len] = 'n';
        assert_int_equal(sf_xattrs_set(NULL, name, value, sizeof value, &x), 0);
        m.xattrs = x;
        int rc = sf_meta_build(NULL, &m, &got);
        assert_int_equal(rc, strlen(x) > SF_XATTRS_MAX ? -ENOSPC : 0);
        if (len == 5)
            assert_true(strlen(x) < SF_XATTRS_MAX);
        if (len == sizeof name - 2)
            assert_true(strlen(x) > SF_XATTRS_MAX);
    }
}

static void
attributes_are_set_read_and_removed(void **state)
{
    (void)state;
    sf_autofree char *x = NULL, *ch = NULL, *ch2 = NULL, *all = NULL;
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    static const char bytes[] = {0, 1, (char)0xff, '"', '\\'};
    assert_int_equal(sf_xattrs_get(NULL, "user.a", NULL), -ENODATA);
    assert_int_equal(sf_xattrs_set(NULL, "user.a", bytes, sizeof bytes, &x), 0);
    assert_int_equal(sf_xattrs_get(x, "user.a", &b), 0);
    assert_int_equal(b.len, sizeof bytes);
    assert_memory_equal(b.data, bytes, sizeof bytes);

    assert_int_equal(sf_xattrs_set(NULL, "user.a", NULL, 0, &ch), 0);
    assert_int_equal(sf_xattrs_get(ch, "user.a", NULL), -EALREADY);
    assert_int_equal(sf_xattrs_set(ch, "user.\xc3\xa9", "", 0, &ch2), 0);
    assert_int_equal(sf_xattrs_merge(x, ch2, false, &all), 0);
    assert_string_equal(all, "{\"user.\xc3\xa9\":\"\"}");
    sf_buf_clear(&b);
    assert_int_equal(sf_xattrs_list(all, &b), 0);
    assert_int_equal(b.len, 8);
    assert_string_equal(b.data, "user.\xc3\xa9");
    sf_buf_clear(&b);
    assert_int_equal(sf_xattrs_list(ch, &b), 0);
    assert_int_equal(b.len, 0);

    free(sf_steal(all));
    assert_int_equal(sf_xattrs_merge(x, ch, true, &all), 0); /* changes of changes */
    assert_string_equal(all, "{\"user.a\":null}");
    free(sf_steal(all));
    assert_int_equal(sf_xattrs_merge(x, ch, false, &all), 0);
    assert_null(all);

    assert_int_equal(sf_xattrs_set(NULL, "", "x", 1, &all), -EINVAL);
    assert_int_equal(sf_xattrs_set(NULL, "user.\xff", "x", 1, &all), -EINVAL);
    assert_int_equal(sf_xattrs_set("[]", "user.a", "x", 1, &all), -EINVAL);
    assert_null(all);
}

/* ---- the vectors of the document ------------------------------------------------------------- */

static const char *
or_null(const struct field *f)
{
    return f->s[0] ? f->s : NULL;
}

static void
check_attrs(const char *current, const char *p)
{
    struct field op, sha, x;
    struct sf_meta m;
    p = parse_field_once(p, &op);
    p = parse_field_once(p, &sha);
    p = parse_field_once(p, &x);
    assert_int_equal(*p, '\0');
    (void)sf_meta_parse(current, &m);
    assert_string_equal(m.op, op.s);
    assert_string_equal(m.sha256, sha.s);
    assert_string_equal(m.xattrs ? m.xattrs : "", x.s);
    sf_meta_fini(&m);
}

static void
check_vector(const char *line)
{
    char word[16] = "";
    struct field current, op, sha, x = {0}, result;
    sf_autofree char *got = NULL;
    struct sf_meta m = {0};
    int used = 0;
    assert_int_equal(sscanf(line, "%15[a-z] %n", word, &used), 1);
    const char *p = parse_field_once(line + used, &current);
    bool build = !strcmp(word, "meta");
    if (build) {
        p = parse_field_once(p, &op);
        p = parse_field_once(p, &sha);
        p = parse_field_once(p, &x);
        snprintf(m.op, sizeof m.op, "%.26s", op.s);
        snprintf(m.sha256, sizeof m.sha256, "%.64s", sha.s);
        m.xattrs = x.s[0] ? x.s : NULL;
    }
    assert_int_equal(strncmp(p, "-> ", 3), 0);
    p += 3;
    if (!strcmp(word, "attrs")) {
        check_attrs(or_null(&current), p);
        return;
    }
    assert_true(build || !strcmp(word, "clean"));
    assert_int_equal(*parse_field_once(p, &result), '\0');
    assert_int_equal(sf_meta_build(or_null(&current), build ? &m : NULL, &got), 0);
    assert_string_equal(got, result.s);
}

static void
vectors_of_the_document(void **state)
{
    (void)state;
    assert_true(vectors_of("attributes.md", "metavectors", check_vector) >= 18);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_the_document),
        cmocka_unit_test(damaged_metadata_is_safe),
        cmocka_unit_test(others_are_kept_as_they_were_spelled),
        cmocka_unit_test(attributes_have_a_limit),
        cmocka_unit_test(attributes_are_set_read_and_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
