/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_CHAT_READ_H
#define SF_PROVIDER_CHAT_READ_H

#include "provider/chat.h"
#include "provider/sse.h"

/*
 * Inside of provider/: the body of an answer, as its bytes come: an event stream, or the one object
 * of servers that do not stream. Pure. Nothing of what comes is believed before it was checked.
 */

struct chat_read {
    const struct sf_provider_type *type;
    /* A piece; not empty, whole characters. */
    void (*text)(void *arg, enum sf_provider_voice voice, const char *text, size_t n);
    void *arg;

    enum {
        CHAT_READ_NOTHING, /* not a byte that tells */
        CHAT_READ_STREAM,
        CHAT_READ_WHOLE,
    } form;
    struct sf_sse sse;
    struct sf_buf whole;
    bool done;            /* [DONE], or all of the one object */
    bool ending;          /* what is cut now is no surprise */
    bool failed;          /* fault says why */
    bool answered, given; /* something of the answer; of anything */
    bool anew;            /* an event was cut and another one began in it */
    size_t bytes;         /* given */
    char id[80], model[80], finish[48];
    struct sf_provider_usage usage;
    struct sf_provider_fault fault;
};

void provider_chat_read_init(struct chat_read *r, const struct sf_provider_type *type,
                             void (*text)(void *, enum sf_provider_voice, const char *, size_t),
                             void *arg);
void provider_chat_read_fini(struct chat_read *r);

/* The next bytes. True = enough: what may still come does not matter. */
bool provider_chat_read_feed(struct chat_read *r, const char *bytes, size_t n);

/* The body has ended, in order or, with @net, by that. Fills @out with what came of it all. */
void provider_chat_read_end(struct chat_read *r, const struct sf_provider_fault *net,
                            struct sf_provider_fault *out);

#endif
