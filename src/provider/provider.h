/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_PROVIDER_H
#define SF_PROVIDER_PROVIDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "provider/error.h"

/*
 * What differs between the vendors. One struct per type, in a file of its own, and one line in
 * types.c: that is all that a new one needs. Pure: requests are built and replies read here, and
 * sent elsewhere. Nothing of what a reply holds is believed before it was checked.
 */

#define SF_PROVIDER_ID_MAX    255               /* bytes of an id */
#define SF_PROVIDER_REPLY_MAX (1024 * 1024)     /* bytes of any reply but a list */
#define SF_PROVIDER_LIST_MAX  (8 * 1024 * 1024) /* bytes of one page of a list */

/* What may be uploaded under one purpose. */
struct sf_provider_limits {
    const char *purpose;
    uint64_t max_bytes;            /* 0 = not known */
    uint64_t max_image_bytes;      /* for images, where that is less; 0 = as max_bytes */
    unsigned max_files;            /* in one account; 0 = not known */
    const char *const *extensions; /* without dot, lower case, NULL-terminated; NULL = any */
    bool empty_ok;
};

enum sf_provider_file_state {
    SF_PF_READY,
    SF_PF_PENDING, /* ask again */
    SF_PF_FAILED,  /* details say why */
};

/* A file at the provider, as a reply describes it. All texts are printable. */
struct sf_provider_file {
    char id[SF_PROVIDER_ID_MAX + 1];
    char filename[256];
    char purpose[64];
    uint64_t bytes;
    int64_t created_s; /* seconds since the epoch; 0 = not told */
    int64_t expires_s; /* 0 = not told */
    enum sf_provider_file_state state;
    char details[200]; /* redacted */
};

/* Called for each file of a page; another result than 0 ends the page with it. */
typedef int (*sf_provider_file_fn)(void *arg, const struct sf_provider_file *file);

struct json_t;
struct provider_body;
struct sf_provider_part;

struct sf_provider_type {
    const char *name;         /* "kimi" */
    const char *title;        /* "Kimi (Moonshot)" */
    const char *default_base; /* NULL = it must be told. Up to and with its version: ".../v1" */
    const char *purpose;      /* of uploads, unless set */
    const char *model;        /* NULL = none: must be set for chat */
    int64_t upload_ms;        /* one upload, until it is ready */
    int64_t lifetime_ms;      /* an id is believed so long without asking; 0 = until it is missed */
    bool needs_key;
    bool has_files;  /* false: not known, so the routes are tried when asked for */
    bool get_by_id;  /* GET /files/ID is there; else a file is looked up in the list */
    bool list_pages; /* the list takes purpose=, limit= and after= */
    bool text_of;    /* GET /files/ID/content gives the extracted text, never the file */
    /* Headers that every request has beside Authorization: name, value, ..., NULL. */
    const char *const *headers;

    /* The limits of a purpose at the server of @base; NULL = the purpose is not known there, and
     * nothing is refused before the provider is asked. */
    const struct sf_provider_limits *(*limits)(const char *base, const char *purpose);

    /* Chats (chat-body.h): */
    bool echoes_reasoning; /* that of earlier answers is sent back */
    bool one_id;           /* all pieces of an answer have one id: another one is another answer */
    /* Adds what is set beside model and messages. */
    void (*chat_options)(struct provider_body *b);
    /* A document as it is sent, in a way that is taken; NULL: no memory. NULL as function: as
     * {"type":"file_url"}. */
    struct json_t *(*chat_file)(struct provider_body *b, const struct sf_provider_part *part);
    /* See sf_provider_takes() and sf_provider_context(). */
    unsigned (*takes)(const char *base, const char *model, int kind);
    uint64_t (*context)(const char *base, const char *model);
};

/** sf_provider_type_find - by name; NULL = there is none. */
const struct sf_provider_type *sf_provider_type_find(const char *name);
/** sf_provider_type_at - all of them, in a fixed order; NULL past the last one. */
const struct sf_provider_type *sf_provider_type_at(size_t i);

/* ---- requests ------------------------------------------------------------------------------- */

enum sf_provider_route {
    SF_PROUTE_UPLOAD,  /* POST   /files, a form */
    SF_PROUTE_LIST,    /* GET    /files */
    SF_PROUTE_FILE,    /* GET    /files/ID */
    SF_PROUTE_CONTENT, /* GET    /files/ID/content */
    SF_PROUTE_DELETE,  /* DELETE /files/ID */
    SF_PROUTE_MODELS,  /* GET    /models: a free way to see whether key and address are right */
    SF_PROUTE_CHAT,    /* POST   /chat/completions */
};

/** sf_provider_method - "GET", ...; static. */
const char *sf_provider_method(enum sf_provider_route route);

/**
 * sf_provider_url - append the address of a request.
 * @base: without a slash at its end.
 * @id:   of FILE, CONTENT and DELETE; must be one (sf_provider_id_ok), else -EINVAL.
 * @purpose, @after: of LIST; NULL = all, from the start. Left out where the type has no such
 * filter.
 *
 * Returns 0, -EINVAL or -ENOMEM; @out is as before on failure.
 */
int sf_provider_url(const struct sf_provider_type *type, enum sf_provider_route route,
                    const char *base, const char *id, const char *purpose, const char *after,
                    struct sf_buf *out);

/**
 * sf_provider_form - what stands before and behind the bytes of a file in the form of an upload.
 * @filename: what the provider is told; made harmless (quotes, control characters, length), its
 *            extension stays. UTF-8 is kept.
 * @mime:     NULL = application/octet-stream.
 * @type_line: of the header Content-Type.
 * @head, @tail: appended to.
 *
 * Returns 0 or -errno; head and tail may be partly filled then.
 */
int sf_provider_form(const char *purpose, const char *filename, const char *mime,
                     char type_line[80], struct sf_buf *head, struct sf_buf *tail);

/**
 * sf_provider_filename - the name of a file as sf_provider_form() tells it, which is what a list
 * shows later: by it and the number of bytes an upload is found whose reply was lost.
 */
void sf_provider_filename(const char *name, char out[256]);

/**
 * sf_provider_marked_name - such a name that tells the content, too, before its extension:
 * "q3-2cf24dba5fb0.pdf". What a list shows under it and with the number of bytes is this file, no
 * matter who uploaded it.
 * @sha256: of the bytes, hex.
 */
void sf_provider_marked_name(const char *name, const char *sha256, char out[256]);

/* ---- replies -------------------------------------------------------------------------------- */

/* 1 to 255 of A-Z a-z 0-9 _ . : -, and neither "." nor "..". */
bool sf_provider_id_ok(const char *id);

/**
 * sf_provider_parse_file - a file object, as of an upload or GET /files/ID.
 * Returns 0; -EPROTO it is none, or its id is not one; -ENOMEM. *out is untouched on failure.
 */
int sf_provider_parse_file(const struct sf_provider_type *type, const char *body, size_t len,
                           struct sf_provider_file *out);

/**
 * sf_provider_parse_list - one page of a list.
 * @fn:    called for each file, in order; members that are no files with an id are left out.
 * @after: on success what to pass for the next page.
 * @more:  on success whether there is one: never when the page is empty, or its last id is
 *         @seen (NULL = none), so that a server that ignores `after` does not keep us for ever; one
 *         that makes up pages is for the caller to bound.
 *
 * Returns 0; what @fn returned; -EPROTO; -ENOMEM.
 */
int sf_provider_parse_list(const struct sf_provider_type *type, const char *body, size_t len,
                           const char *seen, sf_provider_file_fn fn, void *arg,
                           char after[SF_PROVIDER_ID_MAX + 1], bool *more);

/**
 * sf_provider_parse_deleted - the answer to a DELETE of @id.
 * Returns 0; -EPROTO it says something else than that this file is deleted.
 */
int sf_provider_parse_deleted(const char *body, size_t len, const char *id);

#endif
