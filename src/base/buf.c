/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CAP_MIN 64

char sf_buf_empty[1] = "";

void
sf_buf_init(struct sf_buf *b)
{
    *b = (struct sf_buf)SF_BUF_INIT;
}

void
sf_buf_fini(struct sf_buf *b)
{
    if (b->cap)
        sf_free_at_exit(&b->data);
    sf_buf_init(b);
}

void
sf_buf_clear(struct sf_buf *b)
{
    sf_buf_truncate(b, 0);
}

void
sf_buf_truncate(struct sf_buf *b, size_t len)
{
    assert(len <= b->len);
    b->len = len;
    if (b->cap)
        b->data[len] = '\0';
}

int
sf_buf_reserve(struct sf_buf *b, size_t extra)
{
    size_t need, cap = b->cap < CAP_MIN ? CAP_MIN : b->cap;
    if (__builtin_add_overflow(b->len, extra, &need) || __builtin_add_overflow(need, 1, &need))
        return -ENOMEM;
    if (need <= b->cap)
        return 0;
    while (cap < need)
        if (__builtin_add_overflow(cap, cap / 2, &cap))
            return -ENOMEM;
    char *p = realloc(b->cap ? b->data : NULL, cap);
    if (!p)
        return -ENOMEM;
    b->data = p;
    b->cap = cap;
    b->data[b->len] = '\0';
    return 0;
}

int
sf_buf_append(struct sf_buf *b, const void *data, size_t n)
{
    int rc = sf_buf_reserve(b, n);
    if (rc)
        return rc;
    if (n)
        memcpy(b->data + b->len, data, n);
    b->len += n;
    b->data[b->len] = '\0';
    return 0;
}

int
sf_buf_append_max(struct sf_buf *b, const void *data, size_t n, size_t max)
{
    if (b->len > max || n > max - b->len)
        return -EFBIG;
    return sf_buf_append(b, data, n);
}

int
sf_buf_puts(struct sf_buf *b, const char *s)
{
    return sf_buf_append(b, s, strlen(s));
}

int
sf_buf_putc(struct sf_buf *b, char c)
{
    return sf_buf_append(b, &c, 1);
}

int
sf_buf_vprintf(struct sf_buf *b, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    if (n < 0)
        return -EINVAL;
    int rc = sf_buf_reserve(b, (size_t)n);
    if (rc)
        return rc;
    vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
    b->len += (size_t)n;
    return 0;
}

int
sf_buf_printf(struct sf_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int rc = sf_buf_vprintf(b, fmt, ap);
    va_end(ap);
    return rc;
}

char *
sf_buf_steal(struct sf_buf *b, size_t *len)
{
    if (sf_buf_reserve(b, 0))
        return NULL;
    char *p = b->data;
    if (len)
        *len = b->len;
    sf_buf_init(b);
    return p;
}
