/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_TYPED_H
#define SF_CHAT_TYPED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "chat/front.h"

/* Internal to src/chat: a prompt as it is written through one open (docs/formats/chat.md, part 3).
 * Pure. */

#define SF_CHAT_PROMPT_MAX ((size_t)256 * 1024) /* bytes */

struct chat_typed {
    struct sf_buf text; /* without the line feeds at its end, */
    size_t feeds;       /* so many */
    uint64_t written;   /* bytes in all */
    size_t valid;       /* bytes of text that are whole characters */
    bool bad;           /* a write failed: nothing of it is submitted */
    bool front_known;   /* it is known where the question begins, and `own` */
    size_t body;
    struct sf_chat_front own;
};

void chat_typed_init(struct chat_typed *t);
void chat_typed_fini(struct chat_typed *t);
/* As after chat_typed_init(). */
void chat_typed_clear(struct chat_typed *t);

/**
 * chat_typed_write - what comes next.
 * @shown: bytes of the transcript, which the prompt may begin with (W10).
 * Returns 0; -EINVAL, -ENOMEM with a sentence, and it stays bad.
 */
int chat_typed_write(struct chat_typed *t, const char *data, size_t len, uint64_t shown,
                     struct sf_err *err);

/* Is there nothing but white space (W6)? */
bool chat_typed_is_blank(const char *text, size_t len);

/**
 * chat_typed_end - no more comes: is it a prompt? The text has its last line feed then.
 * @follows: W10: where the question begins in a prompt that begins as a transcript: 0 or -EINVAL
 *           with a sentence. NULL = such a prompt is -EINVAL.
 * @body, @own: where the question begins, and its front matter; @own is initialised.
 *
 * Returns 1; 0 there is nothing to be asked; -EINVAL with a sentence: what is written later may
 * still make it good, unless it is bad; -ENOMEM.
 */
int chat_typed_end(struct chat_typed *t,
                   int (*follows)(void *arg, const char *text, size_t len, size_t *rest,
                                  struct sf_err *err),
                   void *arg, size_t *body, struct sf_chat_front *own, struct sf_err *err);

#endif
