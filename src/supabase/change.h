/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_CHANGE_H
#define SF_SUPABASE_CHANGE_H

#include "supabase/call.h"

/* Internal to src/supabase: a call that changes something, and the thread that waits for it. */

struct sf_change {
    struct sf_call call;
    struct sf_waiter *w;
    /* Reads a reply of success; may be NULL. 0 or -errno with the reason in why (160 bytes). */
    int (*parse)(struct sf_change *c, const struct sf_http_reply *reply, char *why);
    /* NULL, or gives a failure the meaning that it has for this kind. @reply: NULL when the call
     * was not even sent. */
    void (*refused)(const struct sf_http_reply *reply, struct sf_err *err);
    struct sf_progress *progress; /* by sf_change_body() */
    void *out;                    /* for parse: on the stack of the waiting thread */
};

/**
 * sf_change_begin - a call to be opened, described, filled and given to sf_change_finish().
 * It counts as one that changes something and is not repeated after a lost reply.
 *
 * Returns NULL with *rc and @err set when it cannot even begin.
 */
struct sf_change *sf_change_begin(struct sf_storage *st, enum sf_counter kind, int *rc,
                                  struct sf_err *err);
/* The same for an upload of @args, opened; what is left are body and headers of its form. @id: 40
 * bytes for what the reply tells, until sf_change_finish() returns. */
struct sf_change *sf_change_begin_put(struct sf_storage *st, enum sf_counter kind,
                                      const struct sf_put_args *args, int64_t deadline_ms,
                                      char id[40], int *rc, struct sf_err *err);
/* Take the body from a file. @progress: NULL, or of the caller. */
void sf_change_body(struct sf_change *c, int fd, uint64_t off, uint64_t len,
                    struct sf_progress *progress);
/* Sends it and waits for the end; @c is gone then. */
int sf_change_finish(struct sf_change *c, struct sf_err *err);

/* What forms and resumable uploads take of a Cache-Control: N of "max-age=N", within the text; NULL
 * for all others. */
const char *sf_cache_control_seconds(const char *cache_control);

#endif
