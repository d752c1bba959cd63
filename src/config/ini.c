/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/ini.h"

#include "base/buf.h"

#include <errno.h>
#include <ini.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/*
 * inih reads lines of 200 bytes and cuts section names at 49, while a key has 220 bytes and more.
 * So lines are handed to it by our own reader, which splits a long one into continuation lines
 * (these begin with a space; the handler joins them), strips the indentation, after which nothing
 * else is a continuation, and reports lines that inih would misread, with their real number.
 */
enum { MAX_SECTION = 48, MAX_NAME = 48, MAX_LINE = 32 * 1024 };

struct state {
    const char *p, *end; /* text not yet handed out */
    const char *piece;   /* rest of a line that is handed out in pieces, or NULL */
    const char *piece_end;
    unsigned line; /* of the last piece handed out */
    const char *file;

    struct sf_buf value; /* pieces of the value that is being joined */
    char section[MAX_SECTION + 2];
    char name[MAX_NAME + 2]; /* of that value; "" = none */
    unsigned name_line;

    sf_ini_fn fn;
    void *arg;
    int rc;
    struct sf_err *err;
};

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* Is this a line that inih reads as it is meant? */
static int
check_line(struct state *s, const char *p, size_t len)
{
    if (len == 0 || *p == '#' || *p == ';')
        return 0;
    if (len > MAX_LINE)
        return sf_err_set(s->err, -EINVAL, "%s:%u: the line is longer than %d bytes", s->file,
                          s->line, MAX_LINE);
    if (*p == '[') {
        const char *close = memchr(p, ']', len);
        const char *rest = close ? close + 1 : NULL;
        while (rest && rest < p + len && is_blank(*rest))
            rest++;
        if (!close || (rest < p + len && *rest != ';' && *rest != '#'))
            return sf_err_set(s->err, -EINVAL, "%s:%u: a section is written [NAME]", s->file,
                              s->line);
        if (close - p - 1 > MAX_SECTION)
            return sf_err_set(s->err, -EINVAL, "%s:%u: the section's name is longer than %d bytes",
                              s->file, s->line, MAX_SECTION);
        return 0;
    }
    size_t n = 0;
    while (n < len && p[n] != '=' && p[n] != ':' && !(p[n] == ';' && n > 0 && is_blank(p[n - 1])))
        n++;
    if (n == len || n == 0 || p[n] == ';')
        return sf_err_set(s->err, -EINVAL, "%s:%u: this line is not of the form name = value",
                          s->file, s->line);
    while (n > 0 && is_blank(p[n - 1]))
        n--;
    if (n > MAX_NAME)
        return sf_err_set(s->err, -EINVAL, "%s:%u: the option's name is longer than %d bytes",
                          s->file, s->line, MAX_NAME);
    return 0;
}

/* A place at which inih joins two pieces to what they were; 0 = none. */
static size_t
split_point(const char *p, size_t max)
{
    for (size_t n = max; n > MAX_NAME + 8; n--)
        if (!is_blank(p[n - 1]) && !is_blank(p[n]) && !strchr("#;", p[n]))
            return n;
    return 0;
}

/* Where the comment behind a value or section begins, or @end. */
static const char *
comment_start(const char *p, const char *end)
{
    if (p < end && strchr("#;[", *p)) {
        const char *close = *p == '[' ? memchr(p, ']', (size_t)(end - p)) : NULL;
        return close ? close + 1 : *p == '[' ? end : p;
    }
    for (const char *c = p; c < end; c++)
        if (*c == ';' && c > p && is_blank(c[-1]))
            return c;
    return end;
}

/* Hand the joined value on, without the quotes around it. */
static void
flush_value(struct state *s)
{
    if (s->name[0] && !s->rc) {
        char *value = s->value.data;
        size_t n = s->value.len;
        if (n >= 2 && value[0] == '"' && value[n - 1] == '"') {
            value[n - 1] = '\0';
            value++;
        }
        s->rc = s->fn(s->arg, s->section, s->name, value, s->name_line, s->err);
    }
    s->name[0] = '\0';
    if (s->value.cap)
        explicit_bzero(s->value.data, s->value.cap);
    sf_buf_clear(&s->value);
}

/* One that is empty is told, too. @line has its bracket. */
static void
begin_section(struct state *s, const char *line)
{
    char name[MAX_SECTION + 1];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(line + 1, "]"), line + 1);
    flush_value(s);
    if (!s->rc)
        s->rc = s->fn(s->arg, name, NULL, NULL, s->line, s->err);
}

/* Take the next line without indentation, comment and line end into s->piece. */
static void
take_line(struct state *s)
{
    const char *nl = memchr(s->p, '\n', (size_t)(s->end - s->p));
    const char *p = s->p, *end = nl ? nl : s->end;

    s->p = nl ? nl + 1 : s->end;
    s->line++;
    while (p < end && is_blank(*p))
        p++;
    while (end > p && is_blank(end[-1]))
        end--;
    s->rc = check_line(s, p, (size_t)(end - p));
    if (!s->rc && p < end && *p == '[')
        begin_section(s, p);
    end = comment_start(p, end);
    while (end > p && is_blank(end[-1]))
        end--;
    s->piece = p;
    s->piece_end = end;
}

/* The reader of ini_parse_stream(): the next line or piece of one. */
static char *
next_piece(char *out, int size, void *arg)
{
    struct state *s = arg;
    size_t room = (size_t)size - 3; /* continuation space, newline, NUL */
    char *o = out;

    if (s->piece) {
        *o++ = ' ';
    } else {
        if (s->rc || s->p >= s->end)
            return NULL;
        take_line(s);
    }
    size_t n = (size_t)(s->piece_end - s->piece);
    if (!s->rc && n > room) {
        n = split_point(s->piece, room);
        if (n == 0)
            s->rc = sf_err_set(s->err, -EINVAL, "%s:%u: the line has too much white space", s->file,
                               s->line);
    }
    if (s->rc)
        return NULL;
    memcpy(o, s->piece, n);
    o[n] = '\n';
    o[n + 1] = '\0';
    s->piece = s->piece + n < s->piece_end ? s->piece + n : NULL;
    return out;
}

/* The handler of ini_parse_stream(); returns 1 = understood. */
static int
take_piece(void *arg, const char *section, const char *name, const char *value)
{
    struct state *s = arg;
    if (!s->name[0] || s->line != s->name_line) {
        flush_value(s);
        snprintf(s->section, sizeof s->section, "%s", section);
        snprintf(s->name, sizeof s->name, "%s", name);
        s->name_line = s->line;
    }
    if (!s->rc && sf_buf_puts(&s->value, value))
        s->rc = sf_err_set(s->err, -ENOMEM, "out of memory");
    return 1;
}

int
sf_ini_parse(const char *text, size_t len, const char *file, sf_ini_fn fn, void *arg,
             struct sf_err *err)
{
    struct state s = {.p = text, .end = text + len, .file = file, .fn = fn, .arg = arg, .err = err};

    if (memchr(text, '\0', len))
        return sf_err_set(err, -EINVAL, "%s: this is not a text file: it has NUL bytes", file);
    if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) /* byte order mark */
        s.p += 3;
    sf_buf_init(&s.value);
    /* Room for the longest line at once: growing would leave copies of a key behind. */
    if (sf_buf_reserve(&s.value, MAX_LINE + 1))
        return sf_err_set(err, -ENOMEM, "out of memory");
    int bad = ini_parse_stream(next_piece, &s, take_piece, &s);
    if (bad && !s.rc)
        s.rc = sf_err_set(err, bad < 0 ? -ENOMEM : -EINVAL, "%s:%u: this line cannot be understood",
                          file, s.line);
    flush_value(&s);
    sf_buf_fini(&s.value);
    return s.rc;
}
