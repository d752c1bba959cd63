/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/sse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char bom[] = {'\xef', '\xbb', '\xbf'};

void
sf_sse_init(struct sf_sse *s, size_t max, sf_sse_fn fn, void *arg)
{
    *s = (struct sf_sse){.fn = fn, .arg = arg, .max = max};
    sf_buf_init(&s->line);
    sf_buf_init(&s->data);
}

void
sf_sse_fini(struct sf_sse *s)
{
    sf_buf_fini(&s->line);
    sf_buf_fini(&s->data);
}

static int
add_data(struct sf_sse *s, const char *value, size_t n)
{
    int rc = s->any ? sf_buf_append_max(&s->data, "\n", 1, s->max) : 0;
    s->any = true;
    return rc ? rc : sf_buf_append_max(&s->data, value, n, s->max);
}

static void
set_name(struct sf_sse *s, const char *value, size_t n)
{
    snprintf(s->name, sizeof s->name, "%.*s", (int)(n < sizeof s->name ? n : sizeof s->name - 1),
             value);
}

static int
end_event(struct sf_sse *s)
{
    int rc = s->any ? s->fn(s->arg, s->name, s->data.data, s->data.len) : 0;
    sf_buf_clear(&s->data);
    s->any = false;
    s->name[0] = '\0';
    return rc;
}

static bool
is(const char *field, size_t n, const char *name)
{
    return n == strlen(name) && !memcmp(field, name, n);
}

static int
take_line(struct sf_sse *s, const char *line, size_t n)
{
    const char *colon = n ? memchr(line, ':', n) : NULL;
    size_t len = colon ? (size_t)(colon - line) : n;
    if (n == 0)
        return end_event(s);
    const char *value = colon ? colon + 1 : line + n;
    if (value < line + n && *value == ' ')
        value++;
    size_t rest = (size_t)(line + n - value);
    if (is(line, len, "data"))
        return add_data(s, value, rest);
    if (is(line, len, "event"))
        set_name(s, value, rest);
    if (is(line, len, "error")) {
        set_name(s, line, len);
        return add_data(s, value, rest);
    }
    return 0;
}

/* Leaves out a byte order mark. What only began like one is put back. */
static int
skip_bom(struct sf_sse *s, const char **p, const char *end)
{
    while (s->bom < 3 && *p < end && **p == bom[s->bom]) {
        s->bom++;
        ++*p;
    }
    if (s->bom == 3 || *p == end)
        return 0;
    int rc = sf_buf_append(&s->line, bom, s->bom);
    s->bom = 3;
    return rc;
}

static const char *
end_of_line(const char *p, const char *end)
{
    const char *lf = memchr(p, '\n', (size_t)(end - p));
    const char *cr = memchr(p, '\r', (size_t)((lf ? lf : end) - p));
    return cr ? cr : lf;
}

int
sf_sse_feed(struct sf_sse *s, const char *bytes, size_t n)
{
    const char *p = bytes, *end = bytes + n, *eol;
    int rc = s->bom < 3 && n ? skip_bom(s, &p, end) : 0;
    if (!rc && s->cr && p < end) {
        p += *p == '\n';
        s->cr = false;
    }
    while (!rc && p < end && (eol = end_of_line(p, end))) {
        size_t len = (size_t)(eol - p);
        if (len > s->max - s->line.len)
            return -EFBIG;
        if (s->line.len) {
            rc = sf_buf_append(&s->line, p, len);
            rc = rc ? rc : take_line(s, s->line.data, s->line.len);
            sf_buf_clear(&s->line);
        } else {
            rc = take_line(s, p, len);
        }
        p = eol + 1;
        s->cr = *eol == '\r' && p == end;
        if (*eol == '\r' && p < end && *p == '\n')
            p++;
    }
    return rc || p == end ? rc : sf_buf_append_max(&s->line, p, (size_t)(end - p), s->max);
}

int
sf_sse_end(struct sf_sse *s)
{
    int rc = s->bom < 3 ? sf_buf_append(&s->line, bom, s->bom) : 0;
    s->bom = 3;
    if (!rc && s->line.len)
        rc = take_line(s, s->line.data, s->line.len);
    sf_buf_clear(&s->line);
    return rc ? rc : end_event(s);
}
