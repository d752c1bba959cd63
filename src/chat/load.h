/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_LOAD_H
#define SF_CHAT_LOAD_H

#include "base/lock.h"
#include "chat/content.h"
#include "tree/source.h"

/*
 * One file as a model is shown it. Inside of src/chat: several may be begun before the first is
 * waited for. Begin and end on one thread, which may wait.
 */
struct chat_loader {
    const struct sf_chat_content_args *a;
    struct sf_provider *provider; /* NULL = none can be asked for texts */
    const struct sf_provider_conf *conf;
    size_t text_most;     /* bytes of a text that are read */
    size_t bytes_most;    /* of all texts together */
    bool shows;           /* pictures and documents may be sent by link or bytes */
    bool stop;            /* what is begun is not wanted any more */
    int64_t busy_until;   /* a file that is being changed is waited for */
    struct sf_mutex lock; /* leaf; of what callbacks change in loads */
    struct sf_cond told;
};

struct chat_load;

struct chat_loaded {
    struct sf_chat_piece piece;
    size_t cut; /* from this byte of the text on it is left out; 0 = it is not */
};

/* @node: looked up, or of a source; @key: copied. NULL = no memory; else to be ended. */
struct chat_load *chat_load_begin(struct chat_loader *w, uint64_t node, const char *key);
/* Waits, and frees it. 0, or fault->err, and nothing is in @out. */
int chat_load_end(struct chat_load *l, struct chat_loaded *out, struct sf_provider_fault *fault);

/* The first bytes of a small file. Waits. 0 or -errno. */
int chat_load_bytes(struct chat_loader *w, uint64_t node, size_t most, struct sf_buf *out);

/* Nothing more is to be done: 0, -ECANCELED, -ETIMEDOUT. */
int chat_loader_over(const struct chat_loader *w);

/* fault->err is @err then, which is returned. */
__attribute__((format(printf, 3, 4))) int chat_fault(struct sf_provider_fault *fault, int err,
                                                     const char *fmt, ...);

#endif
