/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/envfile.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

struct reader {
    char *p; /* next byte; *end is NUL */
    char *end;
    unsigned line;    /* of p, from 1 */
    const char *file; /* for messages */
};

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

static bool
is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

static void
skip_blanks(struct reader *r)
{
    while (is_blank(*r->p))
        r->p++;
}

/* Past the end of this line. */
static void
skip_line(struct reader *r)
{
    while (r->p < r->end && *r->p != '\n')
        r->p++;
    if (r->p < r->end) {
        r->p++;
        r->line++;
    }
}

/* A name, NUL-terminated in *copy by the caller; returns its length. */
static size_t
name_length(const char *p)
{
    size_t n = 0;
    while (is_name_char(p[n]))
        n++;
    return n;
}

/* The character that a backslash and @c stand for between double quotes; 0 = not an escape. */
static char
escape(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case '"':
    case '\\':
    case '$':
    case '`':
        return c;
    default:
        return 0;
    }
}

/* A value between quotes; r->p is behind the opening one. Shortens it in place. */
static int
quoted_value(struct reader *r, char quote, char **ret, struct sf_err *err)
{
    unsigned first = r->line;
    char *value = r->p, *out = r->p;

    for (; r->p < r->end && *r->p != quote; r->p++) {
        char c = *r->p;
        if (c == '\n')
            r->line++;
        if (c == '\r' && r->p[1] == '\n')
            continue;
        if (quote == '"' && c == '\\' && escape(r->p[1]))
            c = escape(*++r->p);
        *out++ = c;
    }
    if (r->p >= r->end)
        return sf_err_set(err, -EINVAL, "%s:%u: the quote that begins here is not closed", r->file,
                          first);
    r->p++;
    *out = '\0'; /* at the closing quote or before it */

    skip_blanks(r);
    if (r->p < r->end && *r->p != '\n' && *r->p != '#')
        return sf_err_set(err, -EINVAL,
                          "%s:%u: something follows the closing quote; quote the whole value",
                          r->file, r->line);
    skip_line(r);
    *ret = value;
    return 0;
}

/* A value without quotes: to the end of the line or to " #". */
static char *
plain_value(struct reader *r)
{
    char *value = r->p, *stop = r->p;

    for (char *p = r->p; p < r->end && *p != '\n'; p++) {
        if (*p == '#' && (p == value || is_blank(p[-1])))
            break;
        if (!is_blank(*p))
            stop = p + 1;
    }
    skip_line(r); /* before the NUL goes over what may be the line's end */
    *stop = '\0';
    return value;
}

/* One line that is neither blank nor a comment; quoted values may take several. */
static int
assignment(struct reader *r, sf_envfile_fn fn, void *arg, struct sf_err *err)
{
    static const char export[] = "export";
    unsigned line = r->line;
    char *name = r->p;
    size_t n = name_length(name);

    if (n == sizeof export - 1 && !memcmp(name, export, n) && is_blank(name[n])) {
        r->p += n;
        skip_blanks(r);
        name = r->p;
        n = name_length(name);
    }
    r->p += n;
    skip_blanks(r);
    if (n > 0 && (r->p == r->end || *r->p == '\n' || *r->p == '#')) { /* a name alone */
        skip_line(r);
        return 0;
    }
    if (n == 0 || *r->p != '=')
        return sf_err_set(err, -EINVAL, "%s:%u: this line is not of the form NAME=value", r->file,
                          line);
    r->p++;
    skip_blanks(r);

    char *value = NULL;
    if (*r->p == '\'' || *r->p == '"') {
        char quote = *r->p++;
        int rc = quoted_value(r, quote, &value, err);
        if (rc)
            return rc;
    } else {
        value = plain_value(r);
    }
    name[n] = '\0';
    return fn(arg, name, value, line, err);
}

int
sf_envfile_parse(char *text, size_t len, const char *name, sf_envfile_fn fn, void *arg,
                 struct sf_err *err)
{
    struct reader r = {.p = text, .end = text + len, .line = 1, .file = name};

    if (memchr(text, '\0', len))
        return sf_err_set(err, -EINVAL, "%s: this is not a text file: it has NUL bytes", name);
    if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3)) /* byte order mark */
        r.p += 3;
    while (r.p < r.end) {
        skip_blanks(&r);
        if (r.p < r.end && *r.p != '\n' && *r.p != '#') {
            int rc = assignment(&r, fn, arg, err);
            if (rc)
                return rc;
        } else {
            skip_line(&r);
        }
    }
    return 0;
}
