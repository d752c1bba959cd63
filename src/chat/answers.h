/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_ANSWERS_H
#define SF_CHAT_ANSWERS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "provider/chat.h"

/*
 * Answers and extracted texts that are kept, so that the same is not asked for twice
 * (docs/formats/chat.md, M3 and M10). Where they are kept is the business of others: of every value
 * that is a key of ours, bytes that may be damaged, and that may be gone at any time.
 */

enum sf_chat_kept_table {
    SF_CHAT_KEPT_ANSWERS,
    SF_CHAT_KEPT_TEXTS,
};

struct sf_chat_kept {
    /* Append the value to @out: 0; -ENOENT; -errno. Both may wait. */
    int (*get)(void *arg, enum sf_chat_kept_table table, const char *key, struct sf_buf *out);
    int (*put)(void *arg, enum sf_chat_kept_table table, const char *key, const char *value,
               size_t len);
    void *arg;
};

#define SF_CHAT_KEPT_KEY 129 /* bytes of a key, with its NUL */

/* ---- answers --------------------------------------------------------------------------------- */

/* Zeroed = begin. */
struct sf_chat_answer {
    int64_t at_ms; /* when it was asked for */
    char *model;   /* that answered; NULL = not told */
    struct sf_buf text;
    struct sf_provider_usage usage;
};
void sf_chat_answer_fini(struct sf_chat_answer *a);

/**
 * sf_chat_answer_key - the same for two questions if all that would be sent is the same, at the
 * same provider.
 * @digest: of the messages (struct sf_chat_prompt), which are not looked at here.
 *
 * Returns 0 or -EIO.
 */
int sf_chat_answer_key(const struct sf_provider_conf *conf, const struct sf_provider_chat *chat,
                       const char *digest, char out[static SF_CHAT_KEPT_KEY]);

/** sf_chat_answer_get - 0; -ENOENT there is none that can be believed; -errno. */
int sf_chat_answer_get(const struct sf_chat_kept *kept, const char *key,
                       struct sf_chat_answer *out);
/** sf_chat_answer_put - keep a whole answer. 0 or -errno. */
int sf_chat_answer_put(const struct sf_chat_kept *kept, const char *key,
                       const struct sf_chat_answer *a);

/* ---- extracted texts ------------------------------------------------------------------------- */

/* @sha256: of the file. As above. */
int sf_chat_text_get(const struct sf_chat_kept *kept, const char *provider, const char *sha256,
                     struct sf_buf *out);
int sf_chat_text_put(const struct sf_chat_kept *kept, const char *provider, const char *sha256,
                     const char *text, size_t len);

/* ---- inside ---------------------------------------------------------------------------------- */

/* An answer as a value and back: -EPROTO it is none. */
int sf_chat_answer_pack(const struct sf_chat_answer *a, struct sf_buf *out);
int sf_chat_answer_unpack(const char *value, size_t len, struct sf_chat_answer *out);

#endif
