/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

typedef int (*text_fn)(struct sf_buf *out, const void *s, size_t n);
typedef int (*parse_fn)(struct sf_buf *out, const char *s, size_t n);

static const char *
encoded(text_fn fn, const void *s, size_t n)
{
    static struct sf_buf b;
    sf_buf_fini(&b);
    assert_int_equal(sf_buf_puts(&b, "<"), 0);
    assert_int_equal(fn(&b, s, n), 0);
    assert_int_equal(strlen(b.data), b.len);
    return b.data + 1;
}

static void
refused(parse_fn fn, const char *s, size_t n)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    assert_int_equal(sf_buf_puts(&b, "before"), 0);
    if (fn(&b, s, n) != -EINVAL)
        fail_msg("accepted: %.*s", (int)n, s);
    assert_string_equal(b.data, "before");
}

static void
roundtrip(text_fn enc, parse_fn dec)
{
    unsigned char data[256];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 167 + 13);
    for (size_t n = 0; n <= sizeof data; n++) {
        sf_autobuf struct sf_buf b = SF_BUF_INIT;
        const char *s = encoded(enc, data, n);
        assert_int_equal(dec(&b, s, strlen(s)), 0);
        assert_int_equal(b.len, n);
        assert_memory_equal(b.data, data, n);
    }
}

static void
urls(void **state)
{
    (void)state;
    assert_string_equal(encoded(sf_url_encode_path, "a/b c+%?#~", 10), "a/b%20c%2B%25%3F%23~");
    assert_string_equal(encoded(sf_url_encode, "a/b-._~", 7), "a%2Fb-._~");
    assert_string_equal(encoded(sf_url_encode, "\0\xff", 2), "%00%FF");
    assert_string_equal(encoded(sf_url_encode, "", 0), "");
    roundtrip(sf_url_encode, sf_url_decode);
    roundtrip(sf_url_encode_path, sf_url_decode);
    refused(sf_url_decode, "a%", 2);
    refused(sf_url_decode, "a%4", 3);
    refused(sf_url_decode, "%41%", 4);
    refused(sf_url_decode, "%4g", 3);
    refused(sf_url_decode, "%41", 2);
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    assert_int_equal(sf_url_decode(&b, "%41%5a%5A+", 10), 0);
    assert_string_equal(b.data, "AZZ+");
}

static void
hex(void **state)
{
    (void)state;
    char s[9];
    unsigned char d[4];
    sf_hex_encode("\x00\xff\x1a\xb2", 4, s);
    assert_string_equal(s, "00ff1ab2");
    assert_int_equal(sf_hex_decode("00FF1aB2", 8, d), 0);
    assert_memory_equal(d, "\x00\xff\x1a\xb2", 4);
    assert_int_equal(sf_hex_decode("00f", 3, d), -EINVAL);
    assert_int_equal(sf_hex_decode("0x", 2, d), -EINVAL);
    assert_int_equal(sf_hex_decode("", 0, d), 0);
}

static void
base64(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    }; /* RFC 4648, section 10 */
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        assert_string_equal(encoded(sf_base64_encode, pairs[i][0], strlen(pairs[i][0])),
                            pairs[i][1]);
    assert_string_equal(encoded(sf_base64_encode, "\xfb\xff\xbf", 3), "+/+/");
    assert_string_equal(encoded(sf_base64url_encode, "\xfb\xff\xbf\x01", 4), "-_-_AQ");
    roundtrip(sf_base64_encode, sf_base64_decode);
    roundtrip(sf_base64url_encode, sf_base64url_decode);

    static const char *const bad[] = {"Zg",   "Zg=",  "Zg===", "=",    "====", "Zg==Zg==",
                                      "Zh==", "Zm9=", "Zm 9",  "-_-_", "Z===", "Zm9v\n"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(sf_base64_decode, bad[i], strlen(bad[i]));
    static const char *const bad_url[] = {"Zg==", "Z", "Zh", "Zm9vY", "+/+/", "Zm9"};
    for (size_t i = 0; i < sizeof bad_url / sizeof *bad_url; i++)
        refused(sf_base64url_decode, bad_url[i], strlen(bad_url[i]));
    refused(sf_base64url_decode, "Zm9\0", 4);
}

static void
numbers(void **state)
{
    (void)state;
    uint64_t u = 7;
    int64_t i = 7;
    assert_int_equal(sf_parse_u64("18446744073709551615", &u), 0);
    assert_true(u == UINT64_MAX);
    u = 7;
    assert_int_equal(sf_parse_u64("18446744073709551616", &u), -ERANGE);
    assert_int_equal(sf_parse_u64("99999999999999999999999", &u), -ERANGE);
    static const char *const bad[] = {"", " 1", "1 ", "+1", "-1", "0x1", "1.0", "a"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++)
        assert_int_equal(sf_parse_u64(bad[k], &u), -EINVAL);
    assert_int_equal(u, 7);
    assert_int_equal(sf_parse_i64("-9223372036854775808", &i), 0);
    assert_true(i == INT64_MIN);
    assert_int_equal(sf_parse_i64("9223372036854775807", &i), 0);
    assert_true(i == INT64_MAX);
    assert_int_equal(sf_parse_i64("-9223372036854775809", &i), -ERANGE);
    assert_int_equal(sf_parse_i64("9223372036854775808", &i), -ERANGE);
    assert_int_equal(sf_parse_i64("--1", &i), -EINVAL);
    assert_int_equal(sf_parse_i64("-", &i), -EINVAL);
}

static void
sizes(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        uint64_t want;
    } good[] = {
        {"0", 0},
        {"4096", 4096},
        {"12B", 12},
        {"64k", 64 << 10},
        {"64KiB", 64 << 10},
        {"64kb", 64000},
        {"10M", 10 << 20},
        {"10MB", 10000000},
        {"1GiB", 1 << 30},
        {"1g", 1 << 30},
        {"3TB", UINT64_C(3000000000000)},
        {"1P", UINT64_C(1) << 50},
        {"16383P", UINT64_C(16383) << 50},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        uint64_t v = 7;
        assert_int_equal(sf_parse_size(good[i].s, &v), 0);
        assert_true(v == good[i].want);
    }
    static const char *const bad[] = {"", "k", "-1", "1.5M", "1 M", "1Mi", "1X", "1kk", "1MiBx"};
    uint64_t v = 7;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(sf_parse_size(bad[i], &v), -EINVAL);
    assert_int_equal(sf_parse_size("16384P", &v), -ERANGE);
    assert_int_equal(sf_parse_size("18446744073709551616", &v), -ERANGE);
    assert_int_equal(v, 7);
}

static void
utf8(void **state)
{
    (void)state;
    static const char *const good[] = {
        "",
        "ascii",
        "\xc2\x80",
        "\xdf\xbf",
        "\xe0\xa0\x80",
        "\xed\x9f\xbf",
        "\xee\x80\x80",
        "\xef\xbf\xbf",
        "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf",
        "a\xe2\x82\xac.",
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(sf_utf8_valid(good[i], strlen(good[i])));
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80",
        "\xc1\xbf",
        "\xc2",
        "\xc2\x41",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xed\xbf\xbf",
        "\xe2\x82",
        "\xe2\x82\x41",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xff",
        "ok\xf0\x90\x80",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(sf_utf8_valid(bad[i], strlen(bad[i])));
    assert_true(sf_utf8_valid("a\0b", 3));
}

static void
trim_drops_only_what_was_cut_off(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
    } t[] = {
        {"", ""},
        {"ascii", "ascii"},
        {"\xe2\x82\xac", "\xe2\x82\xac"},
        {"a\xe2\x82", "a"},
        {"a\xe2", "a"},
        {"a\xc3", "a"},
        {"a\xc3\xa4", "a\xc3\xa4"},
        {"\xf0\x90\x80", ""},
        {"\xf0\x90\x80\x80", "\xf0\x90\x80\x80"},
        {"\x80\x80", "\x80\x80"}, /* never was a character */
        {"a\x80", "a\x80"},
        {"\xff", "\xff"},
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        char text[16];
        memcpy(text, t[i].from, strlen(t[i].from) + 1);
        assert_int_equal(sf_utf8_trim(text), strlen(t[i].to));
        assert_string_equal(text, t[i].to);
    }
}

static void
messages_are_cut_between_characters(void **state)
{
    (void)state;
    char text[400] = "";
    for (size_t i = 0; i + 4 < sizeof text; i += 3)
        memcpy(text + i, "\xe2\x82\xac", 4);
    for (size_t shift = 0; shift < 3; shift++) {
        struct sf_err err = SF_ERR_INIT;
        assert_int_equal(sf_err_set(&err, -EIO, "%.*s%s", (int)shift, "abc", text), -EIO);
        assert_true(strlen(err.msg) >= sizeof err.msg - 4);
        assert_true(sf_utf8_valid(err.msg, strlen(err.msg)));
        sf_err_prefix(&err, "%.*s", (int)shift + 1, "abc");
        assert_true(sf_utf8_valid(err.msg, strlen(err.msg)));
    }
}

static void
escapes(void **state)
{
    (void)state;
    static const struct {
        const char *from, *also, *to;
    } t[] = {
        {"", "", ""},
        {"plain text", "", "plain text"},
        {"\\ and \xe2\x82\xac", "", "\\ and \xe2\x82\xac"},
        {"a b\\", " \\", "a\\040b\\134"},
        {"\033]0;title\a\x7f\r\n\t", "", "\\033]0;title\\007\\177\\015\\012\\011"},
        {"\xc2\x9b"
         "31m",
         "", "\\302\\23331m"}, /* CSI as one character */
        {"\xc2\xa0", "", "\xc2\xa0"},
        {"\x9b"
         "31m\xff",
         "", "\\23331m\\377"}, /* CSI as one byte */
        {"cut\xe2\x82", "", "cut\\342\\202"},
    };
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        sf_buf_clear(&out);
        assert_int_equal(sf_buf_puts(&out, "> "), 0);
        assert_int_equal(sf_str_escape(&out, t[i].from, t[i].also), 0);
        assert_string_equal(out.data + 2, t[i].to);
    }
}

static void
prefixes(void **state)
{
    (void)state;
    assert_true(sf_str_starts("abc", "ab") && sf_str_starts("abc", "") && sf_str_starts("", ""));
    assert_false(sf_str_starts("ab", "abc") || sf_str_starts("xab", "ab"));
    assert_true(sf_str_ends("abc", "bc") && sf_str_ends("abc", "") && sf_str_ends("abc", "abc"));
    assert_false(sf_str_ends("bc", "abc") || sf_str_ends("abcx", "abc"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls),
        cmocka_unit_test(hex),
        cmocka_unit_test(base64),
        cmocka_unit_test(numbers),
        cmocka_unit_test(sizes),
        cmocka_unit_test(utf8),
        cmocka_unit_test(prefixes),
        cmocka_unit_test(trim_drops_only_what_was_cut_off),
        cmocka_unit_test(messages_are_cut_between_characters),
        cmocka_unit_test(escapes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
