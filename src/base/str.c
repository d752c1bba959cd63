/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/str.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

bool
sf_str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool
sf_str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return m <= n && memcmp(s + n - m, suffix, m) == 0;
}

size_t
sf_utf8_char(const void *data, size_t n)
{
    const unsigned char *s = data;
    unsigned char c = s[0], lo = 0x80, hi = 0xbf;
    size_t len;

    if (c < 0x80)
        return 1;
    if (c < 0xc2 || c > 0xf4)
        return 0;
    len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (c == 0xe0)
        lo = 0xa0; /* else overlong */
    else if (c == 0xed)
        hi = 0x9f; /* else a surrogate */
    else if (c == 0xf0)
        lo = 0x90; /* else overlong */
    else if (c == 0xf4)
        hi = 0x8f; /* else above U+10FFFF */
    if (n < len || s[1] < lo || s[1] > hi)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

bool
sf_utf8_valid(const void *s, size_t n)
{
    const unsigned char *p = s, *end = p + n;
    while (p < end) {
        size_t len = sf_utf8_char(p, (size_t)(end - p));
        if (!len)
            return false;
        p += len;
    }
    return true;
}

size_t
sf_utf8_trim(char *s)
{
    size_t n = strlen(s), back = 0;
    while (back < 3 && back < n && ((unsigned char)s[n - 1 - back] & 0xc0) == 0x80)
        back++;
    if (back == n)
        return n;
    unsigned char lead = (unsigned char)s[n - 1 - back];
    size_t wanted = lead < 0xc0 ? 0 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf8 ? 3 : 0;
    if (back < wanted)
        n -= back + 1;
    s[n] = '\0';
    return n;
}

/* Of the character of @n bytes at @s; 0 = there is none. */
static bool
is_shown(const char *s, size_t n, const char *also)
{
    unsigned char c = (unsigned char)s[0];
    if (n == 1)
        return c >= 0x20 && c != 0x7f && !strchr(also, c);
    return n > 0 && !(c == 0xc2 && (unsigned char)s[1] < 0xa0);
}

int
sf_str_escape(struct sf_buf *out, const char *s, const char *also)
{
    size_t before = out->len, left = strlen(s);
    int rc = 0;
    while (left && !rc) {
        size_t n = sf_utf8_char(s, left);
        bool shown = is_shown(s, n, also);
        n = n ? n : 1;
        if (shown)
            rc = sf_buf_append(out, s, n);
        for (size_t i = 0; !shown && i < n && !rc; i++)
            rc = sf_buf_printf(out, "\\%03o", (unsigned char)s[i]);
        s += n;
        left -= n;
    }
    if (rc)
        sf_buf_truncate(out, before);
    return rc;
}

static bool
is_unreserved(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

static int
url_encode(struct sf_buf *out, const unsigned char *s, size_t n, bool keep_slash)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t most;

    if (__builtin_mul_overflow(n, 3, &most))
        return -ENOMEM;
    int rc = sf_buf_reserve(out, most);
    if (rc)
        return rc;
    char *p = out->data + out->len;
    for (size_t i = 0; i < n; i++) {
        if (is_unreserved(s[i]) || (keep_slash && s[i] == '/')) {
            *p++ = (char)s[i];
        } else {
            *p++ = '%';
            *p++ = hex[s[i] >> 4];
            *p++ = hex[s[i] & 15];
        }
    }
    *p = '\0';
    out->len = (size_t)(p - out->data);
    return 0;
}

int
sf_url_encode_path(struct sf_buf *out, const void *s, size_t n)
{
    return url_encode(out, s, n, true);
}

int
sf_url_encode(struct sf_buf *out, const void *s, size_t n)
{
    return url_encode(out, s, n, false);
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int
sf_url_decode(struct sf_buf *out, const char *s, size_t n)
{
    size_t start = out->len;
    int rc = sf_buf_reserve(out, n);
    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (c == '%') {
            int hi = n - i > 2 ? hex_digit(s[i + 1]) : -1;
            int lo = n - i > 2 ? hex_digit(s[i + 2]) : -1;
            if (hi < 0 || lo < 0) {
                sf_buf_truncate(out, start);
                return -EINVAL;
            }
            c = (char)(hi * 16 + lo);
            i += 2;
        }
        out->data[out->len++] = c;
    }
    out->data[out->len] = '\0';
    return 0;
}

void
sf_hex_encode(const void *data, size_t n, char *out)
{
    static const char hex[] = "0123456789abcdef";
    const unsigned char *p = data;
    for (size_t i = 0; i < n; i++) {
        *out++ = hex[p[i] >> 4];
        *out++ = hex[p[i] & 15];
    }
    *out = '\0';
}

int
sf_hex_decode(const char *s, size_t n, void *out)
{
    unsigned char *p = out;
    if (n % 2)
        return -EINVAL;
    for (size_t i = 0; i < n; i += 2) {
        int hi = hex_digit(s[i]), lo = hex_digit(s[i + 1]);
        if (hi < 0 || lo < 0)
            return -EINVAL;
        *p++ = (unsigned char)(hi * 16 + lo);
    }
    return 0;
}

static const char alphabet_std[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char alphabet_url[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static int
base64_encode(struct sf_buf *out, const unsigned char *d, size_t n, const char *alphabet, bool pad)
{
    size_t most;
    if (__builtin_mul_overflow(n / 3 + 1, 4, &most))
        return -ENOMEM;
    int rc = sf_buf_reserve(out, most);
    if (rc)
        return rc;
    char *p = out->data + out->len;
    for (; n > 0; d += 3, n -= n < 3 ? n : 3) {
        uint32_t v = (uint32_t)d[0] << 16;
        if (n > 1)
            v |= (uint32_t)d[1] << 8;
        if (n > 2)
            v |= d[2];
        *p++ = alphabet[v >> 18];
        *p++ = alphabet[v >> 12 & 63];
        if (n > 1 || pad)
            *p++ = n > 1 ? alphabet[v >> 6 & 63] : '=';
        if (n > 2 || pad)
            *p++ = n > 2 ? alphabet[v & 63] : '=';
        if (n <= 3)
            break;
    }
    *p = '\0';
    out->len = (size_t)(p - out->data);
    return 0;
}

static int
base64_digit(char c, const char *alphabet)
{
    const char *p = c ? strchr(alphabet, c) : NULL;
    return p ? (int)(p - alphabet) : -1;
}

/* Decode @n characters without padding. */
static int
base64_decode(struct sf_buf *out, const char *s, size_t n, const char *alphabet)
{
    size_t start = out->len;
    uint32_t v = 0;
    unsigned bits = 0;

    if (n % 4 == 1)
        return -EINVAL;
    int rc = sf_buf_reserve(out, n / 4 * 3 + 2);
    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++) {
        int d = base64_digit(s[i], alphabet);
        if (d < 0)
            goto bad;
        v = v << 6 | (uint32_t)d;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out->data[out->len++] = (char)(v >> bits & 0xff);
        }
    }
    if (v & ((1U << bits) - 1)) /* two texts must not decode to the same bytes */
        goto bad;
    out->data[out->len] = '\0';
    return 0;
bad:
    sf_buf_truncate(out, start);
    return -EINVAL;
}

int
sf_base64_encode(struct sf_buf *out, const void *data, size_t n)
{
    return base64_encode(out, data, n, alphabet_std, true);
}

int
sf_base64url_encode(struct sf_buf *out, const void *data, size_t n)
{
    return base64_encode(out, data, n, alphabet_url, false);
}

int
sf_base64_decode(struct sf_buf *out, const char *s, size_t n)
{
    if (n % 4)
        return -EINVAL;
    if (n && s[n - 1] == '=')
        n -= s[n - 2] == '=' ? 2 : 1;
    return base64_decode(out, s, n, alphabet_std);
}

int
sf_base64url_decode(struct sf_buf *out, const char *s, size_t n)
{
    return base64_decode(out, s, n, alphabet_url);
}

/* Read digits; *end is the first other character. */
static int
parse_digits(const char *s, uint64_t *ret, const char **end)
{
    uint64_t v = 0;
    bool over = false;
    const char *p = s;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
            over = true;
    if (p == s)
        return -EINVAL;
    *end = p;
    *ret = v;
    return over ? -ERANGE : 0;
}

int
sf_parse_u64(const char *s, uint64_t *ret)
{
    uint64_t v;
    const char *end = "";
    int rc = parse_digits(s, &v, &end);
    if (rc == -EINVAL || *end)
        return -EINVAL;
    if (rc)
        return rc;
    *ret = v;
    return 0;
}

int
sf_parse_i64(const char *s, int64_t *ret)
{
    bool neg = *s == '-';
    uint64_t v;
    int rc = sf_parse_u64(s + neg, &v);
    if (rc)
        return rc;
    if (v > (uint64_t)INT64_MAX + neg)
        return -ERANGE;
    *ret = neg ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

/* "", "B", "K", "KiB", "KB", ... -> its factor, 0 when unknown. */
static uint64_t
size_unit(const char *s)
{
    static const char units[] = "kmgtp";
    if (!*s || !strcasecmp(s, "B"))
        return 1;
    const char *u = strchr(units, *s | 0x20);
    if (!u)
        return 0;
    uint64_t base;
    if (!s[1] || !strcasecmp(s + 1, "iB"))
        base = 1024;
    else if (!strcasecmp(s + 1, "B"))
        base = 1000;
    else
        return 0;
    uint64_t f = base;
    for (; u > units; u--)
        f *= base;
    return f;
}

int
sf_parse_size(const char *s, uint64_t *ret)
{
    uint64_t v;
    const char *end = "";
    int rc = parse_digits(s, &v, &end);
    if (rc == -EINVAL)
        return rc;
    uint64_t unit = size_unit(end);
    if (!unit)
        return -EINVAL;
    if (rc || __builtin_mul_overflow(v, unit, &v))
        return -ERANGE;
    *ret = v;
    return 0;
}
