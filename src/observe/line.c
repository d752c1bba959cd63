/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "observe/line.h"

#include "base/redact.h"
#include "base/str.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define TAIL "\" truncated=yes\n" /* room for this is always left */

static void
put(struct sf_line *line, const char *s, size_t n)
{
    if (line->truncated)
        return;
    if (n > sizeof line->text - sizeof TAIL - line->len) {
        line->truncated = true;
        return;
    }
    memcpy(line->text + line->len, s, n);
    line->len += n;
    line->text[line->len] = '\0';
}

/* Characters that move the cursor or turn the writing direction in a terminal: U+0080 to U+009F,
 * U+2028 to U+202E, U+2066 to U+2069. */
static bool
is_hostile(const unsigned char *p, size_t n)
{
    if (n == 2)
        return p[0] == 0xc2 && p[1] < 0xa0;
    if (n == 3 && p[0] == 0xe2 && p[1] == 0x80)
        return p[2] >= 0xa8 && p[2] <= 0xae;
    return n == 3 && p[0] == 0xe2 && p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9;
}

/* Append one character of an argument, at most @n bytes. Returns the bytes used. @bare: outside of
 * quotes, where a space would begin a new pair. */
static size_t
put_char(struct sf_line *line, const unsigned char *p, size_t n, bool bare)
{
    char esc[8];
    size_t len = sf_utf8_char(p, n);
    if (len > 1 && !is_hostile(p, len)) {
        put(line, (const char *)p, len);
        return len;
    }
    if (*p == '\n' || *p == '\t' || *p == '\r') {
        snprintf(esc, sizeof esc, "\\%c", *p == '\n' ? 'n' : *p == '\t' ? 't' : 'r');
    } else if (*p == '"' || *p == '\\') {
        snprintf(esc, sizeof esc, "\\%c", *p);
    } else if (*p < 0x20 || *p >= 0x7f || (bare && *p == ' ')) {
        snprintf(esc, sizeof esc, "\\x%02x", *p);
    } else {
        put(line, (const char *)p, 1);
        return 1;
    }
    put(line, esc, strlen(esc));
    return 1;
}

/* Whether a whole value can stand without quotes. */
static bool
is_plain(const unsigned char *p, size_t n)
{
    if (!n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (p[i] <= ' ' || p[i] >= 0x7f || strchr("\"\\=", p[i]))
            return false;
    return true;
}

#define CONTEXT_MAX 32 /* "Authorization: Bearer " or "access_token=" before an argument counts */

/* Copy at most SF_VALUE_MAX bytes of an argument and hide the secrets, while no escape is in their
 * way. What the format has before the argument may say that it is one. */
static size_t
redact_argument(const struct sf_line *line, const char *s, size_t n, bool whole,
                char out[SF_VALUE_MAX + 1])
{
    char text[CONTEXT_MAX + SF_VALUE_MAX + 1];
    size_t context = line->len - line->literal;
    if (context > CONTEXT_MAX)
        context = CONTEXT_MAX;
    const char *before = line->text + line->len - context;
    if (n > SF_VALUE_MAX)
        n = SF_VALUE_MAX;
    memcpy(text, before, context);
    if (whole) { /* of a value that its name makes a secret nothing remains, not its second word */
        memcpy(text + context, "x", 2);
        sf_redact(text);
        if (text[context] == '*')
            return (size_t)snprintf(out, SF_VALUE_MAX, "***");
    }
    memcpy(text + context, s, n);
    text[context + n] = '\0';
    sf_redact(text);
    /* A secret that began before the argument took the border away. */
    const char *value = memcmp(text, before, context) ? "***" : text + context;
    n = strlen(value);
    memcpy(out, value, n + 1);
    return n;
}

/* Append a string argument. @whole: it is all of a value. */
static void
put_string(struct sf_line *line, const char *s, size_t n, bool whole)
{
    char value[SF_VALUE_MAX + 1];
    const unsigned char *p = (const unsigned char *)value;
    bool cut = n > SF_VALUE_MAX;
    n = redact_argument(line, s, n, whole, value);
    bool quote = whole && !is_plain(p, n);
    if (quote) {
        put(line, "\"", 1);
        line->quoted = !line->truncated;
    }
    for (size_t i = 0; i < n;)
        i += put_char(line, p + i, n - i, !line->quoted);
    if (cut)
        put(line, "...", 3);
    if (quote && !line->truncated) {
        put(line, "\"", 1);
        line->quoted = line->truncated; /* still open when the quote did not fit */
    }
}

/* One conversion of a format, taken apart. */
struct spec {
    char text[48]; /* "%-08lx", with the numbers in the place of its stars */
    int precision; /* -1 = none */
    int length;    /* of enum length */
    char conv;
};

enum length { LEN_INT, LEN_LONG, LEN_LONG_LONG, LEN_SIZE, LEN_MAX, LEN_PTRDIFF };

/* A number at *p, or that of a star; *p steps over it. */
static int
spec_number(const char **p, va_list *ap)
{
    int v = 0;
    if (**p == '*') {
        (*p)++;
        return va_arg(*ap, int);
    }
    for (; **p >= '0' && **p <= '9' && v < 1000; (*p)++)
        v = v * 10 + (**p - '0');
    return v;
}

/* h and hh change nothing: such arguments come as int. */
static const char *
spec_length(const char *p, struct spec *s)
{
    s->length = LEN_INT;
    for (;; p++) {
        if (*p == 'l')
            s->length = s->length == LEN_LONG ? LEN_LONG_LONG : LEN_LONG;
        else if (*p == 'z')
            s->length = LEN_SIZE;
        else if (*p == 'j')
            s->length = LEN_MAX;
        else if (*p == 't')
            s->length = LEN_PTRDIFF;
        else if (*p != 'h')
            return p;
    }
}

/* Take the conversion at @p, behind its '%', apart. Returns where the format goes on. */
static const char *
spec_read(const char *p, struct spec *s, va_list *ap)
{
    size_t flags = strspn(p, "-+ #0'");
    int n = snprintf(s->text, sizeof s->text, "%%%.*s", (int)(flags < 5 ? flags : 5), p);
    p += flags;
    int width = spec_number(&p, ap);
    s->precision = -1;
    if (*p == '.') {
        p++;
        s->precision = spec_number(&p, ap);
    }
    const char *mod = p;
    p = spec_length(p, s);
    s->conv = *p;
    if (width)
        n += snprintf(s->text + n, sizeof s->text - (size_t)n, "%d", width);
    if (s->precision >= 0)
        n += snprintf(s->text + n, sizeof s->text - (size_t)n, ".%d", s->precision);
    snprintf(s->text + n, sizeof s->text - (size_t)n, "%.*s%c", (int)(p - mod), mod, s->conv);
    return *p ? p + 1 : p;
}

/* The format below is a piece of one that the compiler has checked. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"

/* Append a number. va_arg needs the exact size of the type. */
static void
put_number(struct sf_line *line, const struct spec *s, va_list *ap)
{
    char out[400]; /* the largest double in %f has 317 characters */
    int n;
    if (strchr("eEfFgGaA", s->conv))
        n = snprintf(out, sizeof out, s->text, va_arg(*ap, double));
    else if (s->conv == 'p')
        n = snprintf(out, sizeof out, s->text, va_arg(*ap, void *));
    else if (s->length == LEN_LONG)
        n = snprintf(out, sizeof out, s->text, va_arg(*ap, long));
    else if (s->length == LEN_LONG_LONG)
        n = snprintf(out, sizeof out, s->text, va_arg(*ap, long long));
    else if (s->length == LEN_SIZE)
        n = snprintf(out, sizeof out, s->text, va_arg(*ap, size_t));
    else if (s->length == LEN_MAX)
        n = snprintf(out, sizeof out, s->text, va_arg(*ap, intmax_t));
    else if (s->length == LEN_PTRDIFF)
        n = snprintf(out, sizeof out, s->text, va_arg(*ap, ptrdiff_t));
    else
        n = snprintf(out, sizeof out, s->text, va_arg(*ap, int));
    if (n > 0)
        put(line, out, (size_t)n < sizeof out ? (size_t)n : sizeof out - 1);
}

#pragma GCC diagnostic pop

/* Append the argument of one conversion. @whole: nothing but it is the value. */
static void
put_argument(struct sf_line *line, const struct spec *s, va_list *ap, bool whole, int saved_errno)
{
    char buf[128];
    const char *str;

    if (s->conv == '%') {
        put(line, "%", 1);
    } else if (s->conv == 's') {
        str = va_arg(*ap, const char *);
        if (!str)
            str = "(null)";
        size_t max = s->precision >= 0 ? (size_t)s->precision : SIZE_MAX;
        put_string(line, str, strnlen(str, max), whole);
    } else if (s->conv == 'm') {
        str = strerror_r(saved_errno, buf, sizeof buf);
        put_string(line, str, strlen(str), whole);
    } else if (s->conv == 'c') {
        buf[0] = (char)va_arg(*ap, int);
        put_string(line, buf, 1, whole);
    } else {
        put_number(line, s, ap);
    }
}

void
sf_line_format(struct sf_line *line, const char *fmt, va_list args)
{
    int saved_errno = errno;
    va_list ap;
    va_copy(ap, args); /* its own object, so that its address can be passed */
    char before = ' ';
    line->literal = line->len;
    for (const char *p = fmt; *p;) {
        if (*p != '%') {
            if (*p == '"')
                line->quoted = !line->quoted;
            before = *p;
            put(line, p++, 1);
            if (before == ' ' && !line->quoted)
                line->literal = line->len; /* another pair begins */
            continue;
        }
        struct spec s;
        p = spec_read(p + 1, &s, &ap);
        bool whole = before == '=' && !line->quoted && (*p == ' ' || *p == '\0');
        put_argument(line, &s, &ap, whole, saved_errno);
        line->literal = line->len;
        before = s.conv;
        if (line->truncated)
            break;
    }
    va_end(ap);
    errno = saved_errno;
}

void
sf_line_printf(struct sf_line *line, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    sf_line_format(line, fmt, ap);
    va_end(ap);
}

void
sf_line_finish(struct sf_line *line)
{
    if (line->truncated) {
        const char *tail = line->quoted ? TAIL : &TAIL[1];
        size_t n = strlen(tail) - 1; /* the caller adds the newline */
        memcpy(line->text + line->len, tail, n);
        line->len += n;
        line->text[line->len] = '\0';
        line->quoted = false;
    }
}
