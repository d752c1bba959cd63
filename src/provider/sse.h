/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_SSE_H
#define SF_PROVIDER_SSE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/*
 * An event stream (text/event-stream of the HTML standard), as its bytes come, cut anywhere. Lines
 * end with CR, LF or both; comments, `id`, `retry` and unknown fields are left out; a byte order
 * mark at the start is. Otherwise than the standard says, bytes that are no UTF-8 are handed on as
 * they are, and a field `error` counts as data of an event of that name: so old llama.cpp tells an
 * error. Pure; one thread at a time.
 */

/* One event. @name: "" = not told. @data: NUL-terminated, valid during the call. Another result
 * than 0 ends the parsing with it. */
typedef int (*sf_sse_fn)(void *arg, const char *name, const char *data, size_t len);

struct sf_sse {
    sf_sse_fn fn;
    void *arg;
    size_t max;         /* bytes of one line, and of the data of one event */
    struct sf_buf line; /* what has come of it, when it did not come whole */
    struct sf_buf data;
    char name[32];
    unsigned bom; /* bytes of it that have come; 3 = the start is over */
    bool cr;      /* the last line ended so: a line feed is the rest of its end */
    bool any;     /* a line of data has come, be it empty */
};

void sf_sse_init(struct sf_sse *s, size_t max, sf_sse_fn fn, void *arg);
void sf_sse_fini(struct sf_sse *s);

/**
 * sf_sse_feed - the next bytes; calls fn for each event that they end.
 * Returns 0; -EFBIG a line or an event is longer than allowed; -ENOMEM; what fn returned. After a
 * failure nothing more is to be fed.
 */
int sf_sse_feed(struct sf_sse *s, const char *bytes, size_t n);

/**
 * sf_sse_end - the stream has ended. An event whose empty line did not come is handed on all the
 * same, though it may be cut: servers forget that line. Returns as sf_sse_feed().
 */
int sf_sse_end(struct sf_sse *s);

#endif
