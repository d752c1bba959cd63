/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/redact.h"
#include "base/str.h"
#include "fuzz.h"
#include "observe/line.h"

/* First byte: which reader of text. The rest: the text. What is read and can be written comes back;
 * what is made safe stays safe. */

typedef int (*code_fn)(struct sf_buf *out, const void *data, size_t n);
typedef int (*decode_fn)(struct sf_buf *out, const char *s, size_t n);

/* Any bytes come back; any text that is read is the one that is written, where @exact. */
static void
coding(const char *text, size_t len, code_fn encode, decode_fn decode, bool exact)
{
    sf_autobuf struct sf_buf there = SF_BUF_INIT, back = SF_BUF_INIT, again = SF_BUF_INIT;
    REQUIRE(encode(&there, text, len) == 0);
    if (there.data)
        fuzz_printable(there.data);
    REQUIRE(decode(&back, there.data ? there.data : "", there.len) == 0);
    REQUIRE(back.len == len && (len == 0 || memcmp(back.data, text, len) == 0));
    sf_buf_clear(&back);
    int rc = decode(&back, text, len);
    REQUIRE(rc == 0 || (rc == -EINVAL && back.len == 0));
    REQUIRE(encode(&again, back.data, back.len) == 0);
    if (rc == 0 && exact)
        REQUIRE(again.len == len && (len == 0 || memcmp(again.data, text, len) == 0));
}

static void
hex(char *text, size_t len)
{
    char *out = malloc(2 * len + 1), *back = malloc(len ? len : 1);
    REQUIRE(out && back);
    sf_hex_encode(text, len, out);
    REQUIRE(strlen(out) == 2 * len);
    REQUIRE(sf_hex_decode(out, 2 * len, back) == 0 && memcmp(back, text, len) == 0);
    int rc = sf_hex_decode(text, len, back);
    REQUIRE(rc == 0 || rc == -EINVAL);
    free(out);
    free(back);
}

static void
times(char *text, size_t len)
{
    (void)len;
    int64_t ns = 77, again = 0;
    char out[32];
    int rc = sf_time_parse(text, &ns);
    REQUIRE(rc == 0 || ((rc == -EINVAL || rc == -ERANGE) && ns == 77));
    if (rc)
        return;
    sf_time_format_ms(ns, out);
    REQUIRE(strlen(out) == 24);
    /* The first millisecond that can be written may lie before the first that can be read. */
    if (sf_time_parse(out, &again) == 0)
        REQUIRE(again <= ns && ns - again < 1000000);
    else
        REQUIRE(ns < INT64_MIN + 1000000);
}

static void
numbers(char *text, size_t len)
{
    (void)len;
    uint64_t u = 77, size = 77;
    int64_t i = 77;
    char again[32];
    int rc = sf_parse_u64(text, &u);
    REQUIRE(rc == 0 || ((rc == -EINVAL || rc == -ERANGE) && u == 77));
    rc = sf_parse_i64(text, &i);
    REQUIRE(rc == 0 || ((rc == -EINVAL || rc == -ERANGE) && i == 77));
    if (rc == 0) {
        int64_t back = 0;
        snprintf(again, sizeof again, "%lld", (long long)i);
        REQUIRE(sf_parse_i64(again, &back) == 0 && back == i);
    }
    rc = sf_parse_size(text, &size);
    REQUIRE(rc == 0 || ((rc == -EINVAL || rc == -ERANGE) && size == 77));
}

/* Characters are taken one after the other; together they are the text. */
static void
utf8(char *text, size_t len)
{
    size_t at = 0, n;
    while (at < len && (n = sf_utf8_char(text + at, len - at)) > 0) {
        REQUIRE(n <= 4 && n <= len - at);
        at += n;
    }
    REQUIRE(sf_utf8_valid(text, len) == (at == len));
}

/* Once is enough, and it never gets longer. A key between a text's halves is gone. */
static void
redact_with(void (*fn)(char *), const char *key, const char *text, size_t len)
{
    sf_autofree char *once = fuzz_text(text, len), *twice = NULL, *planted = NULL;
    fn(once);
    REQUIRE(strlen(once) <= len);
    twice = strdup(once);
    REQUIRE(twice);
    fn(twice);
    REQUIRE(strlen(twice) <= strlen(once));
    /* In the midst of a word it is no key. */
    if (strstr(text, key) || strstr(text + len / 2, key))
        return;
    REQUIRE(asprintf(&planted, "%.*s %s %s", (int)(len / 2), text, key, text + len / 2) > 0);
    fn(planted);
    REQUIRE(!strstr(planted, key));
}

static void
redact(char *text, size_t len)
{
    redact_with(sf_redact, "sb_secret_0123456789abcdefghij", text, len);
    redact_with(sf_redact, "ak-eu8nqsdi6xdi11f1e8fi", text, len);
    redact_with(sf_redact_ids, "org-shortx", text, len);
}

/* An argument stays one argument: the line has the pairs of the format and no others. */
static void
escape(char *text, size_t len)
{
    sf_autobuf struct sf_buf out = SF_BUF_INIT, again = SF_BUF_INIT;
    REQUIRE(sf_str_escape(&out, text, "\\") == 0 && sf_utf8_valid(out.data, out.len));
    REQUIRE(out.len >= strlen(text));
    for (const char *p = out.data; *p; p++)
        REQUIRE((unsigned char)*p >= ' ' && *p != 0x7f &&
                !((unsigned char)p[0] == 0xc2 && (unsigned char)p[1] < 0xa0));
    /* once more changes nothing, and all can be read back */
    REQUIRE(sf_str_escape(&again, out.data, "") == 0 && strcmp(again.data, out.data) == 0);
    REQUIRE(sf_utf8_trim(text) <= len);
}

static void
line(char *text, size_t len)
{
    (void)len;
    static struct sf_line l;
    unsigned quotes = 0;
    memset(&l, 0, sizeof l);
    sf_line_printf(&l, "event=x key=%s left=%.5s-%s n=%d", text, text, text, 1);
    sf_line_finish(&l);
    REQUIRE(l.len == strlen(l.text) && l.len < sizeof l.text);
    REQUIRE(sf_utf8_valid(l.text, l.len));
    REQUIRE(strncmp(l.text, "event=x key=", 12) == 0);
    unsigned pairs = 1;
    for (const char *p = l.text; *p && *p != '\n'; p++) {
        REQUIRE((unsigned char)*p >= ' ' && *p != 0x7f);
        if (*p == '\\' && p[1])
            p++;
        else if (*p == '"')
            quotes++;
        else if (*p == ' ' && quotes % 2 == 0)
            pairs++;
    }
    REQUIRE(quotes % 2 == 0);
    REQUIRE(pairs == 4 || l.truncated);
}

static void
base64(char *text, size_t len)
{
    coding(text, len, sf_base64_encode, sf_base64_decode, true);
}

static void
base64url(char *text, size_t len)
{
    coding(text, len, sf_base64url_encode, sf_base64url_decode, true);
}

static void
url(char *text, size_t len)
{
    coding(text, len, sf_url_encode, sf_url_decode, false);
    coding(text, len, sf_url_encode_path, sf_url_decode, false);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fuzz_way ways[] = {
        {'b', base64},  {'B', base64url}, {'u', url},    {'h', hex},    {'t', times},
        {'n', numbers}, {'8', utf8},      {'r', redact}, {'e', escape}, {'l', line}};
    return fuzz_choose(ways, sizeof ways / sizeof *ways, data, size);
}
