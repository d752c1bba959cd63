/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CMD_ANSWER_H
#define SF_CMD_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/*
 * What a mount says to the verbs, taken apart. Whoever can mount can call his file system supafs,
 * so nothing here trusts it.
 */

#define ANSWER_TEXT_MAX (1u << 20) /* bytes of a line */

/*
 * An answer on its way: line by line for @line, but for its last, which is the result. Zeroed, with
 * @line and @arg, is a start; answer_fini() frees.
 */
struct answer {
    void (*line)(void *arg, const char *text);
    void *arg;
    struct sf_buf text, held; /* what has no end yet; the last line, which may be the result */
    bool holds;
};
#define ANSWER_INIT(fn, a)                                                                         \
    {                                                                                              \
        .line = (fn), .arg = (a), .text = SF_BUF_INIT, .held = SF_BUF_INIT                         \
    }

/* The next bytes. 0; -EFBIG a line that is too long; -ENOMEM. */
int answer_take(struct answer *a, const char *data, size_t n);
/* The end: 0; the -errno that the mount tells, and @said gets its sentence; -EPIPE it broke off. */
int answer_end(struct answer *a, struct sf_buf *said);
void answer_fini(struct answer *a);

/* The value of a "name: value" line in @text (NULL = none); 0, or -ENOENT. Cut to @size. */
int control_value(const char *text, const char *name, char *out, size_t size);

/* "30s", "1.5min" and the like in milliseconds; -1 = not so. */
int64_t answer_ms(const char *text);

/* "N N N". 0 or -EINVAL. */
int answer_counts(const char *text, uint64_t counts[3]);

/* A line about a cached file. */
struct answer_file {
    uint64_t size, here; /* bytes */
    bool pinned;
    const char *path; /* in the line */
};
/* @line is changed. 0 or -EINVAL. */
int answer_file(char *line, struct answer_file *ret);

#endif
