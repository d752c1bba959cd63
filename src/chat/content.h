/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_CONTENT_H
#define SF_CHAT_CONTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "chat/answers.h"
#include "chat/transcript.h"
#include "provider/chat.h"

/*
 * What a chat is about, as the model is shown it (docs/formats/chat.md, part 9): a file as its
 * text, as the text that the provider extracted from it, or as a link or its bytes; of a directory
 * the texts of its files.
 */
struct sf_providers;
struct sf_storage;
struct sf_tree;

#define SF_CHAT_CONTENT_MAX (8u << 20) /* bytes of text of one question */
#define SF_CHAT_SMALL_MAX   (3u << 20) /* bytes of a picture or document that is sent whole */
#define SF_CHAT_FILES_MAX   200        /* of a directory */
#define SF_CHAT_DEPTH_MAX   8
#define SF_CHAT_SEEN_MAX    100000 /* entries of a directory that are looked at */
#define SF_CHAT_NOTES_MAX   1000

enum sf_chat_shown {
    SF_CHAT_SHOWN_TEXT,
    SF_CHAT_SHOWN_EXTRACTED,
    SF_CHAT_SHOWN_UNREAD, /* in a dry run: the provider would have to extract it first */
    SF_CHAT_SHOWN_LINK,
    SF_CHAT_SHOWN_BYTES,
};
/** sf_chat_shown_name - "text", "extracted", "unread", "link", "bytes"; static. */
const char *sf_chat_shown_name(enum sf_chat_shown how);

struct sf_chat_piece {
    char *key;
    enum sf_chat_shown how;
    enum sf_provider_part_kind kind; /* TEXT of the first three */
    /* What is sent: a text begins with a line that tells the key; else the link, which is a secret,
     * or a "data:" URL. */
    struct sf_buf text;
    uint64_t tokens;
    /* Of the file: hex; or "", and then its ETag, or "" too. */
    char sha256[65];
    char etag[136];
};
SF_VEC_DEFINE(sf_chat_pieces, struct sf_chat_piece);

/* Valid when zeroed. */
struct sf_chat_content {
    struct sf_chat_pieces pieces;
    struct sf_chat_notes notes; /* file, left-out, cut, changed, more */
    uint64_t tokens, bytes;     /* of all texts */
    uint64_t more;              /* notes that are only counted */
};
void sf_chat_content_fini(struct sf_chat_content *c); /* wipes links */

struct sf_chat_content_args {
    struct sf_tree *tree;
    struct sf_providers *providers;
    struct sf_storage *storage;      /* NULL = no links can be had */
    const struct sf_chat_kept *kept; /* NULL = extracted texts are not kept */
    uint64_t parent;                 /* the directory; looked up for the call */
    const char *file;                /* its name in it; "" = about the directory */
    const char *key; /* how notes and texts name it: BUCKET/KEY; a directory with its slash */
    const char *provider, *model;       /* whom it is for; model: NULL = as set */
    uint64_t files_room;                /* tokens for the files of a directory */
    uint64_t file_tokens;               /* of a text, most: chat_file_tokens */
    const struct sf_chat_notes *before; /* of the last question; NULL = there was none */
    int64_t deadline_ms;
    bool dry;        /* nothing is sent to the provider, not even a file for its text */
    int64_t busy_ms; /* how long a file may have changes that are not in the bucket: 30 s */
    bool (*cancelled)(void *arg); /* NULL = never */
    void *arg;
};

/**
 * sf_chat_content_get - read it all. Waits; on a chat worker.
 * @out:   zeroed; on success to be given back with sf_chat_content_fini().
 * @fault: filled on failure.
 *
 * Returns 0, or fault->err: -ESTALE it changed or went three times; -EBUSY it is being changed;
 * -ENOTSUP it cannot be shown to this model; -ECANCELED; -ETIMEDOUT; -ENOMEM; what the provider or
 * the bucket said.
 */
int sf_chat_content_get(const struct sf_chat_content_args *args, struct sf_chat_content *out,
                        struct sf_provider_fault *fault);

/* ---- inside ---------------------------------------------------------------------------------- */

/* A text that a model can be given: UTF-8 without NUL. With @cut its last character may be one. */
bool sf_chat_is_text(const char *text, size_t len, bool cut);

/* What a type says of a file: that it is text, that it is none, or neither. */
enum sf_chat_mime {
    SF_CHAT_MIME_UNKNOWN,
    SF_CHAT_MIME_TEXT,
    SF_CHAT_MIME_OTHER,
};
enum sf_chat_mime sf_chat_mime(const char *mime);

/**
 * sf_chat_piece_text - make the text of a piece, whose key is set: a line that tells it, and the
 * bytes, cut to @room tokens; what is no UTF-8 in them is replaced.
 * @used: so many of the bytes are in it.
 *
 * Returns 0 or -ENOMEM.
 */
int sf_chat_piece_text(struct sf_chat_piece *piece, const char *text, size_t len, uint64_t room,
                       size_t *used);
void sf_chat_piece_fini(struct sf_chat_piece *piece);

/* A note; those over SF_CHAT_NOTES_MAX are counted in one. 0 or -ENOMEM. */
__attribute__((format(printf, 3, 4))) int
sf_chat_content_note(struct sf_chat_content *c, const char *key, const char *fmt, ...);
/* Take a piece over, in any case, and note it, and whether it is another one than in @before. */
int sf_chat_content_add(struct sf_chat_content *c, struct sf_chat_piece *piece,
                        const struct sf_chat_notes *before);

#endif
