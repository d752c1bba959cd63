/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_CLEAN_H
#define SF_CHAT_CLEAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/*
 * Text of others (an answer, a row of the tables) as it goes into a transcript: well-formed UTF-8
 * in which nothing steers a terminal. Control characters but tab and line feed, and bytes that are
 * no UTF-8, become U+FFFD; CR LF becomes a line feed. A text that is clean stays as it is. It may
 * come in pieces that are cut anywhere.
 */
struct sf_chat_clean {
    char held[4]; /* the beginning of a character, or a CR */
    unsigned n;
};

/* Both append to @out: 0, or -ENOMEM and both are as before. @c begins zeroed. */
int sf_chat_clean_put(struct sf_chat_clean *c, struct sf_buf *out, const char *text, size_t len);
/* What was held back; @c can be used again. */
int sf_chat_clean_end(struct sf_chat_clean *c, struct sf_buf *out);

#endif
