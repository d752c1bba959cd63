/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_OBSERVE_LINE_H
#define SF_OBSERVE_LINE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#define SF_LINE_MAX  4096 /* bytes of a whole line, with the newline */
#define SF_VALUE_MAX 1024 /* bytes of one argument before escaping */

/* A log line that grows up to its limit. Zeroed = empty. */
struct sf_line {
    size_t len;
    size_t literal; /* since here the text is the format's, and of one pair */
    bool quoted;    /* inside a quoted value */
    bool truncated; /* something did not fit; nothing is added any more */
    char text[SF_LINE_MAX];
};

/**
 * sf_line_format - append key=value text; the rules are those of observe/log.h.
 * @fmt: printf's, without %n and long double; its own characters are taken as they are.
 */
__attribute__((format(printf, 2, 0))) void sf_line_format(struct sf_line *line, const char *fmt,
                                                          va_list ap);
__attribute__((format(printf, 2, 3))) void sf_line_printf(struct sf_line *line, const char *fmt,
                                                          ...);

/* Close an open quote, say when the line was cut. No newline. */
void sf_line_finish(struct sf_line *line);

#endif
