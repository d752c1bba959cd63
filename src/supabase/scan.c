/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/scan.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/str.h"

static int
refuse(struct sf_scan *s, const char *why)
{
    s->why = why;
    return -EPROTO;
}

void
sf_scan_init(struct sf_scan *s, char *text, size_t len)
{
    s->p = text;
    s->end = text + len;
    s->depth = 0;
    s->why = "";
}

/* The next byte that is not white space; a NUL at the end. */
static char
peek(struct sf_scan *s)
{
    while (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t')
        s->p++;
    return *s->p;
}

int
sf_scan_finish(struct sf_scan *s)
{
    (void)peek(s);
    return s->p == s->end ? 0 : refuse(s, "something follows the value");
}

/* ---- strings -------------------------------------------------------------------------------- */

/* Bytes that end a run of plain text: quote, backslash, controls, and all that is not ASCII. */
static const bool special[256] = {
    [0 ... 0x1f] = true, ['"'] = true, ['\\'] = true, [0x80 ... 0xff] = true};

/* How many of eight bytes are plain before the first special one. */
static size_t
plain_of8(const char *p)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t w;
    memcpy(&w, p, sizeof w);
    w = le64toh(w);
    uint64_t quotes = w ^ ones * '"', backslashes = w ^ ones * '\\';
    /* A borrow can only mark what is behind a special byte. */
    uint64_t marks = (w | (w - ones * 0x20) | (quotes - ones) | (backslashes - ones)) & ones * 0x80;
    return marks ? (size_t)__builtin_ctzll(marks) / 8 : 8;
}

static int
hex4(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0)
            return -1;
        v = v << 4 | d;
    }
    return v;
}

static char *
put_utf8(char *out, unsigned c)
{
    if (c < 0x80) {
        *out++ = (char)c;
        return out;
    }
    if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
    } else {
        if (c < 0x10000) {
            *out++ = (char)(0xe0 | c >> 12);
        } else {
            *out++ = (char)(0xf0 | c >> 18);
            *out++ = (char)(0x80 | (c >> 12 & 0x3f));
        }
        *out++ = (char)(0x80 | (c >> 6 & 0x3f));
    }
    *out++ = (char)(0x80 | (c & 0x3f));
    return out;
}

/* s->p is at the digits of \uXXXX; appends the character, which may need a second escape. */
static char *
unicode_escape(struct sf_scan *s, char *out)
{
    int c = hex4(s->p);
    if (c <= 0)
        return NULL;
    s->p += 4;
    if (c >= 0xdc00 && c <= 0xdfff)
        return NULL;
    if (c >= 0xd800 && c <= 0xdbff) {
        int low = s->p[0] == '\\' && s->p[1] == 'u' ? hex4(s->p + 2) : -1;
        if (low < 0xdc00 || low > 0xdfff)
            return NULL;
        s->p += 6;
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    return put_utf8(out, (unsigned)c);
}

/* s->p is behind a backslash. */
static char *
escape(struct sf_scan *s, char *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = *s->p++;
    if (c == 'u')
        return unicode_escape(s, out);
    const char *at = c ? strchr(from, c) : NULL;
    if (!at)
        return NULL;
    *out++ = to[at - from];
    return out;
}

int
sf_scan_text(struct sf_scan *s, const char **ret, size_t *len)
{
    if (peek(s) != '"')
        return refuse(s, "a text is expected");
    char *start = ++s->p, *out = start;
    for (;;) {
        char *run = s->p;
        for (size_t k = 8; k == 8 && s->end - s->p >= 8; s->p += k)
            k = plain_of8(s->p);
        while (!special[(unsigned char)*s->p])
            s->p++;
        size_t n = (size_t)(s->p - run);
        if (out != run)
            memmove(out, run, n);
        out += n;
        unsigned char c = (unsigned char)*s->p;
        if (c == '"')
            break;
        if (c == '\\') {
            s->p++;
            out = escape(s, out);
            if (!out)
                return refuse(s, "a bad escape in a text");
        } else if (c >= 0x80) {
            size_t k = sf_utf8_char(s->p, (size_t)(s->end - s->p));
            if (!k)
                return refuse(s, "a text that is not UTF-8");
            memmove(out, s->p, k);
            out += k;
            s->p += k;
        } else {
            return refuse(s, "a control character in a text, or its end is missing");
        }
    }
    s->p++;
    *out = '\0';
    *ret = start;
    if (len)
        *len = (size_t)(out - start);
    return 0;
}

/* ---- other values --------------------------------------------------------------------------- */

static bool
take_word(struct sf_scan *s, const char *word)
{
    size_t n = strlen(word);
    (void)peek(s);
    if (strncmp(s->p, word, n) != 0)
        return false;
    s->p += n;
    return true;
}

bool
sf_scan_null(struct sf_scan *s)
{
    return peek(s) == 'n' && take_word(s, "null");
}

int
sf_scan_bool(struct sf_scan *s, bool *ret)
{
    if (take_word(s, "true"))
        *ret = true;
    else if (take_word(s, "false"))
        *ret = false;
    else
        return refuse(s, "true or false is expected");
    return 0;
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int
sf_scan_u64(struct sf_scan *s, uint64_t *ret)
{
    uint64_t v = 0;
    if (!is_digit(peek(s)) || (*s->p == '0' && is_digit(s->p[1])))
        return refuse(s, "a whole number is expected");
    for (; is_digit(*s->p); s->p++) {
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*s->p - '0'), &v))
            return refuse(s, "a number is too large");
    }
    if (*s->p == '.' || *s->p == 'e' || *s->p == 'E' || v > INT64_MAX)
        return refuse(s, "a number that is no size");
    *ret = v;
    return 0;
}

static bool
take_digits(struct sf_scan *s)
{
    if (!is_digit(*s->p))
        return false;
    while (is_digit(*s->p))
        s->p++;
    return true;
}

static int
skip_number(struct sf_scan *s)
{
    if (*s->p == '-')
        s->p++;
    if ((*s->p == '0' && is_digit(s->p[1])) || !take_digits(s))
        return refuse(s, "a value is expected");
    if (*s->p == '.') {
        s->p++;
        if (!take_digits(s))
            return refuse(s, "a bad number");
    }
    if (*s->p == 'e' || *s->p == 'E') {
        s->p++;
        if (*s->p == '+' || *s->p == '-')
            s->p++;
        if (!take_digits(s))
            return refuse(s, "a bad number");
    }
    return 0;
}

static int
skip_member(struct sf_scan *s, const char *name, void *arg)
{
    (void)name;
    (void)arg;
    return sf_scan_skip(s);
}

static int
skip_item(struct sf_scan *s, void *arg)
{
    (void)arg;
    return sf_scan_skip(s);
}

int
sf_scan_skip(struct sf_scan *s)
{
    const char *text;
    bool flag;
    switch (peek(s)) {
    case '"':
        return sf_scan_text(s, &text, NULL);
    case '{':
        return sf_scan_object(s, skip_member, NULL);
    case '[':
        return sf_scan_array(s, skip_item, NULL);
    case 't':
    case 'f':
        return sf_scan_bool(s, &flag);
    case 'n':
        return sf_scan_null(s) ? 0 : refuse(s, "a value is expected");
    default:
        return skip_number(s);
    }
}

/* ---- objects and arrays --------------------------------------------------------------------- */

static int
enter(struct sf_scan *s, char open, const char *why)
{
    if (peek(s) != open)
        return refuse(s, why);
    if (++s->depth > SF_SCAN_DEPTH_MAX)
        return refuse(s, "nested too deeply");
    s->p++;
    return 0;
}

/* After a value: 1 another one follows, 0 the end, or -EPROTO. */
static int
next(struct sf_scan *s, char close)
{
    char c = peek(s);
    if (c != ',' && c != close)
        return refuse(s, "a comma or the end of a list is expected");
    s->p++;
    if (c == ',')
        return 1;
    s->depth--;
    return 0;
}

int
sf_scan_object(struct sf_scan *s, sf_scan_member_fn member, void *arg)
{
    int rc = enter(s, '{', "an object is expected");
    if (rc < 0)
        return rc;
    if (peek(s) == '}')
        return next(s, '}');
    do {
        const char *name;
        rc = sf_scan_text(s, &name, NULL);
        if (rc < 0)
            return rc;
        if (peek(s) != ':')
            return refuse(s, "a colon is expected");
        s->p++;
        rc = member(s, name, arg);
        if (rc != 0)
            return rc;
        rc = next(s, '}');
    } while (rc == 1);
    return rc;
}

int
sf_scan_array(struct sf_scan *s, sf_scan_item_fn item, void *arg)
{
    int rc = enter(s, '[', "a list is expected");
    if (rc < 0)
        return rc;
    if (peek(s) == ']')
        return next(s, ']');
    do {
        rc = item(s, arg);
        if (rc != 0)
            return rc;
        rc = next(s, ']');
    } while (rc == 1);
    return rc;
}
