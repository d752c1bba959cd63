/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_BASE_BUF_H
#define SF_BASE_BUF_H

#include "base/cleanup.h"

#include <stdarg.h>
#include <stddef.h>

/*
 * A growable byte buffer. data[len] is always a NUL, also when the buffer is empty, so data can
 * be used as a string. Start with SF_BUF_INIT or sf_buf_init(); one that was only zeroed works
 * too, but its data is NULL until something was appended.
 * A function that fails leaves the content as it was.
 */
struct sf_buf {
    char *data;
    size_t len; /* bytes without the NUL */
    size_t cap; /* bytes allocated; 0 = data is not on the heap */
};

extern char sf_buf_empty[1]; /* never written */

#define SF_BUF_INIT                                                                                \
    {                                                                                              \
        .data = sf_buf_empty                                                                       \
    }

void sf_buf_init(struct sf_buf *b);

/* Free the memory; the buffer is empty and usable again. */
void sf_buf_fini(struct sf_buf *b);

/* Forget the content, keep the memory. */
void sf_buf_clear(struct sf_buf *b);

/* Cut to @len bytes; longer than the content is a bug (asserted). */
void sf_buf_truncate(struct sf_buf *b, size_t len);

/* Make room for @extra more bytes and the NUL. Returns 0 or -ENOMEM. */
int sf_buf_reserve(struct sf_buf *b, size_t extra);

/* Append bytes, a string, a character. @data must not lie in the buffer. Return 0 or -ENOMEM. */
int sf_buf_append(struct sf_buf *b, const void *data, size_t n);
int sf_buf_puts(struct sf_buf *b, const char *s);
int sf_buf_putc(struct sf_buf *b, char c);

/**
 * sf_buf_append_max - append bytes whose amount somebody else decides.
 * @max: the buffer never holds more than this many bytes.
 *
 * Returns 0; -EFBIG it would exceed @max (nothing was appended); -ENOMEM.
 */
int sf_buf_append_max(struct sf_buf *b, const void *data, size_t n, size_t max);

/* Append formatted text. Returns 0, -ENOMEM, or -EINVAL for an encoding error. */
__attribute__((format(printf, 2, 3))) int sf_buf_printf(struct sf_buf *b, const char *fmt, ...);
__attribute__((format(printf, 2, 0))) int sf_buf_vprintf(struct sf_buf *b, const char *fmt,
                                                         va_list ap);

/**
 * sf_buf_steal - take the content out; the buffer is empty afterwards.
 * @len: may be NULL; on success the number of bytes.
 *
 * Returns a NUL-terminated block for free(), also for an empty buffer; NULL when out of memory.
 */
char *sf_buf_steal(struct sf_buf *b, size_t *len);

/* The content as a string, for a buffer that may only have been zeroed. Valid until changed. */
static inline const char *
sf_buf_str(const struct sf_buf *b)
{
    return b->data ? b->data : sf_buf_empty;
}

/* `sf_autobuf struct sf_buf b = SF_BUF_INIT;` is freed at the end of the scope. */
#define sf_autobuf sf_defer(sf_buf_fini)

#endif
