/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/mark.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/buf.h"
#include "base/cleanup.h"

#define NAME      "supafs="
#define NAME_LEN  (sizeof NAME - 1)
#define ID_MAX    UINT64_C(4294967294) /* -1 means "no change" to chown(2) */
#define MAJOR_MAX 4095u                /* what Linux has room for */
#define MINOR_MAX 1048575u
#define NS_PER_S  INT64_C(1000000000)
#define NOT_OTHER "no-cache" /* what the service stores when nothing was sent */

/* ---- pieces of a Cache-Control --------------------------------------------------------------- */

struct piece {
    const char *start, *end; /* without the white space around it */
    const char *next;        /* the comma behind it, or the NUL */
    bool open;               /* a quote in it is never closed */
};

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The piece that begins at @p. */
static struct piece
piece_at(const char *p)
{
    struct piece c = {0};
    bool quoted = false;
    while (is_blank(*p))
        p++;
    c.start = p;
    for (; *p && (quoted || *p != ','); p++) {
        if (*p == '"')
            quoted = !quoted;
        else if (quoted && *p == '\\' && p[1])
            p++;
    }
    c.next = c.end = p;
    while (c.end > c.start && is_blank(c.end[-1]))
        c.end--;
    c.open = quoted;
    return c;
}

static bool
is_ours(const struct piece *c)
{
    return (size_t)(c->end - c->start) >= NAME_LEN && strncasecmp(c->start, NAME, NAME_LEN) == 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Numbers are read from [p, end) whole; there is at least one digit. */
static bool
read_number(const char *p, const char *end, unsigned base, uint64_t max, uint64_t *ret)
{
    uint64_t v = 0;
    if (p == end)
        return false;
    for (; p < end; p++) {
        unsigned d = *p >= '0' && *p <= '9'   ? (unsigned)(*p - '0')
                     : *p >= 'a' && *p <= 'f' ? (unsigned)(*p - 'a') + 10
                                              : base;
        if (d >= base || __builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, d, &v))
            return false;
    }
    *ret = v;
    return v <= max;
}

static bool
read_time(const char *p, const char *end, int64_t *ret)
{
    bool neg = p < end && *p == '-';
    p += neg;
    const char *dot = memchr(p, '.', (size_t)(end - p));
    uint64_t s, ns = 0;
    if (!read_number(p, dot ? dot : end, 10, INT64_MAX / NS_PER_S, &s))
        return false;
    if (dot) {
        if (end - dot > 10 || !read_number(dot + 1, end, 10, NS_PER_S - 1, &ns))
            return false;
        for (ptrdiff_t digits = end - dot - 1; digits < 9; digits++)
            ns *= 10;
    }
    ns += s * NS_PER_S;
    if (ns > (uint64_t)INT64_MAX + neg)
        return false;
    *ret = neg ? (int64_t)(0 - ns) : (int64_t)ns;
    return true;
}

static bool
read_mode(const char *p, const char *end, mode_t *ret)
{
    uint64_t v;
    if (end - p > 7 || !read_number(p, end, 8, S_IFMT | 07777, &v))
        return false;
    mode_t mode = (mode_t)v;
    *ret = mode;
    return S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode) || S_ISFIFO(mode) || S_ISSOCK(mode) ||
           S_ISCHR(mode) || S_ISBLK(mode);
}

/* Major and minor number with a dot between them. */
static bool
read_dev(const char *p, const char *end, dev_t *ret)
{
    const char *dot = memchr(p, '.', (size_t)(end - p));
    uint64_t major, minor;
    if (!dot || !read_number(p, dot, 10, MAJOR_MAX, &major) ||
        !read_number(dot + 1, end, 10, MINOR_MAX, &minor))
        return false;
    *ret = makedev((unsigned)major, (unsigned)minor);
    return true;
}

static bool
value_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '_' || c == '-' || c == '+';
}

/* One field of a mark that is being read; [p, end) is its value, p is NULL without one. */
static bool
read_field(char letter, const char *p, const char *end, struct sf_mark *m)
{
    static const char letters[] = "mugtcaid"; /* in the order of the bits of enum sf_mark_field */
    const char *at = strchr(letters, letter);
    uint64_t v = 0;
    bool good = true;
    if (letter == 'c' && !p)
        return true; /* settled at the end */
    if (at && !p)
        return false;
    switch (letter) {
    case 'm':
        good = read_mode(p, end, &m->mode);
        break;
    case 'u':
    case 'g':
        good = read_number(p, end, 10, ID_MAX, &v);
        *(letter == 'u' ? &m->uid : &m->gid) = (uid_t)v;
        break;
    case 't':
        good = read_time(p, end, &m->mtime_ns);
        break;
    case 'c':
        good = read_time(p, end, &m->ctime_ns);
        break;
    case 'a':
        good = read_time(p, end, &m->atime_ns);
        break;
    case 'i':
        good = *p != '0' && read_number(p, end, 16, UINT64_MAX, &m->ino);
        break;
    case 'd':
        good = read_dev(p, end, &m->rdev);
        break;
    case 'x':
    case 'y':
        *(letter == 'x' ? &m->xattrs : &m->guessed) = good = !p;
        break;
    default:
        break;
    }
    if (at)
        m->valid |= 1U << (at - letters);
    return good;
}

/* A whole piece of ours; false when it is not well-formed. */
static bool
read_mark(const char *p, const char *end, struct sf_mark *out)
{
    struct sf_mark m = {0};
    unsigned seen = 0; /* a bit per letter */
    bool same = false; /* ctime is mtime */
    p += NAME_LEN;
    if (end - p < 3 || *p != '"' || end[-1] != '"' || p[1] != '1')
        return false;
    end--;
    for (p += 2; p < end;) {
        const char *value = NULL;
        char letter = p[1];
        if (*p != ';' || letter < 'a' || letter > 'z' || seen & 1U << (letter - 'a'))
            return false;
        seen |= 1U << (letter - 'a');
        p += 2;
        if (*p == '=') {
            value = ++p;
            while (value_char(*p))
                p++;
            if (p == value)
                return false;
        }
        if (!read_field(letter, value, p, &m))
            return false;
        same = same || (letter == 'c' && !value);
    }
    if (same && !(m.valid & SF_MARK_MTIME))
        return false;
    if (same) {
        m.ctime_ns = m.mtime_ns;
        m.valid |= SF_MARK_CTIME;
    }
    *out = m;
    return true;
}

int
sf_mark_parse(const char *cache_control, struct sf_mark *out)
{
    int found = 0;
    for (const char *p = cache_control; p;) {
        struct piece c = piece_at(p);
        if (is_ours(&c) && !c.open && read_mark(c.start, c.end, out))
            found = 1;
        p = *c.next ? c.next + 1 : NULL;
    }
    return found;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Appends to a text of SF_MARK_SIZE bytes, which the longest mark does not fill. */
#define PUT(text, len, ...)                                                                        \
    ((len) += (size_t)snprintf((text) + (len), SF_MARK_SIZE - (len), __VA_ARGS__))

static size_t
put_time(char *text, size_t len, char letter, int64_t ns)
{
    uint64_t v = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    uint64_t part = v % NS_PER_S;
    int digits = 9;
    PUT(text, len, ";%c=%s%" PRIu64, letter, ns < 0 ? "-" : "", v / NS_PER_S);
    if (!part)
        return len;
    for (; part % 10 == 0; digits--)
        part /= 10;
    return PUT(text, len, ".%0*" PRIu64, digits, part);
}

static size_t
put_mark(char text[SF_MARK_SIZE], const struct sf_mark *m)
{
    size_t len = 0;
    PUT(text, len, NAME "\"1");
    if (m->valid & SF_MARK_MODE && m->mode & S_IFMT)
        PUT(text, len, ";m=%o", (unsigned)m->mode & (S_IFMT | 07777));
    if (m->valid & SF_MARK_UID && m->uid <= ID_MAX)
        PUT(text, len, ";u=%u", m->uid);
    if (m->valid & SF_MARK_GID && m->gid <= ID_MAX)
        PUT(text, len, ";g=%u", m->gid);
    if (m->valid & SF_MARK_MTIME)
        len = put_time(text, len, 't', m->mtime_ns);
    if (m->valid & SF_MARK_CTIME && m->valid & SF_MARK_MTIME && m->ctime_ns == m->mtime_ns)
        PUT(text, len, ";c");
    else if (m->valid & SF_MARK_CTIME)
        len = put_time(text, len, 'c', m->ctime_ns);
    if (m->valid & SF_MARK_ATIME)
        len = put_time(text, len, 'a', m->atime_ns);
    if (m->valid & SF_MARK_INO && m->ino)
        PUT(text, len, ";i=%" PRIx64, m->ino);
    if (m->valid & SF_MARK_RDEV && major(m->rdev) <= MAJOR_MAX && minor(m->rdev) <= MINOR_MAX)
        PUT(text, len, ";d=%u.%u", major(m->rdev), minor(m->rdev));
    if (m->guessed)
        PUT(text, len, ";y");
    if (m->xattrs)
        PUT(text, len, ";x");
    return PUT(text, len, "\"");
}

bool
sf_mark_is_another(const struct sf_mark *x, const struct sf_mark *y)
{
    return x->valid & y->valid & SF_MARK_INO && x->ino != y->ino;
}

int
sf_mark_format(const struct sf_mark *m, char *buf, size_t size)
{
    char text[SF_MARK_SIZE];
    size_t len = put_mark(text, m);
    if (len >= size)
        return -ENOSPC;
    memcpy(buf, text, len + 1);
    return (int)len;
}

static void
trim_end(struct sf_buf *b)
{
    while (b->len && is_blank(b->data[b->len - 1]))
        sf_buf_truncate(b, b->len - 1);
}

/* Append @text without our pieces. *open: a quote of theirs is never closed. */
static int
put_others(struct sf_buf *b, const char *text, bool *open)
{
    bool kept = false;
    int rc = 0;
    *open = false;
    for (const char *p = text; p && !rc;) {
        struct piece c = piece_at(p);
        if (is_ours(&c)) {
            trim_end(b); /* up to the comma before it, which nobody writes then */
        } else {
            const char *from = kept ? p : c.start;
            rc = kept ? sf_buf_putc(b, ',') : 0;
            if (!rc)
                rc = sf_buf_append(b, from, (size_t)(c.next - from));
            kept = true;
            *open = c.open;
        }
        p = *c.next ? c.next + 1 : NULL;
    }
    trim_end(b);
    return rc;
}

int
sf_cache_control_with(const char *current, const struct sf_mark *m, char **ret)
{
    sf_autobuf struct sf_buf others = SF_BUF_INIT, all = SF_BUF_INIT;
    sf_autofree char *text = strdup(current ? current : "");
    char mark[SF_MARK_SIZE];
    bool open;
    if (!text)
        return -ENOMEM;
    for (char *p = text; *p; p++) /* a value from a form may have what no header can carry */
        if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f)
            *p = ' ';
    int rc = put_others(&others, text, &open);
    if (!rc && m) {
        put_mark(mark, m);
        if (!others.len)
            rc = sf_buf_puts(&others, NOT_OTHER);
        if (!rc)
            rc =
                sf_buf_printf(&all, "%s, %s", open ? mark : others.data, open ? others.data : mark);
    }
    if (rc)
        return rc;
    char *out = sf_buf_steal(m ? &all : &others, NULL);
    if (!out)
        return -ENOMEM;
    *ret = out;
    return 0;
}

/* Of a text whose one piece of ours, if any, is the last: how long it is without. -1: another form.
 */
static ptrdiff_t
usual_others(const char *text)
{
    const char *ours = strcasestr(text, NAME), *end = text + strlen(text);
    if (ours) {
        if (ours < text + 3 || memcmp(ours - 2, ", ", 2) || *piece_at(ours).next ||
            memchr(text, '"', (size_t)(ours - text)))
            return -1;
        end = ours - 2;
    }
    for (const char *p = text; p < end; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return -1;
    bool blanks = end > text && (is_blank(*text) || is_blank(end[-1]));
    return blanks ? -1 : end - text;
}

int
sf_cache_control_others(const char *current, char *buf, size_t size)
{
    sf_autofree char *others = NULL;
    ptrdiff_t usual = usual_others(current);
    if (usual < 0 && sf_cache_control_with(current, NULL, &others))
        return -ENOMEM;
    size_t len = usual < 0 ? strlen(others) : (size_t)usual;
    if (len >= size)
        return -ENOSPC;
    memcpy(buf, usual < 0 ? others : current, len);
    buf[len] = '\0';
    return (int)len;
}
