/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/scan.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The reader of listings accepts what jansson accepts, and reads the same strings. */

static const char *const seeds[] = {
    "{\"hasNext\":true,\"nextCursor\":\"bDph\",\"folders\":[{\"name\":\"a/\"}],\"objects\":[]}",
    "{\"objects\":[{\"id\":\"1\",\"name\":\"a\\u00e9\\n\\\"b\\\\\",\"metadata\":{\"eTag\":"
    "\"\\\"x\\\"\","
    "\"size\":11,\"f\":[1,-2,3.5e-2,null,false]}}]}",
    "[\"\\ud83d\\ude00\",\"\\u0416\",\"plain\",\"\xd0\x96\",\"\\/\\b\\f\\r\\t\"]",
    " [ ] ",
    "[0,-0,10,1e3,1E+2,0.5]",
    "{\"a\":{\"b\":{\"c\":[[[[]]]]}}}",
};

static uint64_t rng;

static uint32_t
next(void)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(rng >> 33);
}

static bool
scans(const char *text, size_t len)
{
    char *copy = malloc(len + 1);
    struct sf_scan s;
    memcpy(copy, text, len);
    copy[len] = '\0';
    sf_scan_init(&s, copy, len);
    bool ok = sf_scan_skip(&s) == 0 && sf_scan_finish(&s) == 0;
    free(copy);
    return ok;
}

/* jansson refuses numbers that its types cannot hold; the reader skips them. */
static bool
refused_for_range(const json_error_t *e)
{
    return json_error_code(e) == json_error_numeric_overflow;
}

static void
test_same_verdict(void **state)
{
    (void)state;
    static const char pieces[] = "{}[]\",:\\u0dD8 ntfe123.-+\x01\xc3\xa9\xff";
    const char *env = getenv("SF_TEST_SEED");
    rng = env ? strtoull(env, NULL, 0) : 20261121;
    print_message("seed %llu\n", (unsigned long long)rng);
    unsigned good = 0, bad = 0;
    for (int round = 0; round < 200000; round++) {
        char text[512];
        const char *seed = seeds[next() % (sizeof seeds / sizeof *seeds)];
        size_t len = strlen(seed);
        memcpy(text, seed, len);
        for (unsigned n = next() % 4; n; n--) {
            size_t at = next() % len;
            switch (next() % 3) {
            case 0:
                text[at] = pieces[next() % (sizeof pieces - 1)];
                break;
            case 1:
                memmove(text + at, text + at + 1, len - at - 1);
                len--;
                break;
            default:
                memmove(text + at + 1, text + at, len - at);
                text[at] = pieces[next() % (sizeof pieces - 1)];
                len++;
            }
        }
        json_error_t e;
        json_t *j = json_loadb(text, len, JSON_DECODE_ANY, &e);
        if (!j && refused_for_range(&e))
            continue;
        if (scans(text, len) != (j != NULL))
            fail_msg("%.*s: jansson says %s", (int)len, text, j ? "good" : e.text);
        j ? good++ : bad++;
        json_decref(j);
    }
    assert_true(good > 20000 && bad > 20000);
}

static int
take(struct sf_scan *s, void *arg)
{
    json_t *all = arg;
    const char *text;
    size_t len;
    int rc = sf_scan_text(s, &text, &len);
    if (rc == 0) {
        assert_int_equal(strlen(text), len);
        json_array_append_new(all, json_stringn(text, len));
    }
    return rc;
}

static void
test_same_strings(void **state)
{
    (void)state;
    char text[512];
    snprintf(text, sizeof text, "%s", seeds[2]);
    json_t *want = json_loads(text, 0, NULL), *got = json_array();
    struct sf_scan s;
    sf_scan_init(&s, text, strlen(text));
    assert_int_equal(sf_scan_array(&s, take, got), 0);
    assert_int_equal(sf_scan_finish(&s), 0);
    assert_true(json_equal(want, got));
    json_decref(want);
    json_decref(got);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_verdict),
        cmocka_unit_test(test_same_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
