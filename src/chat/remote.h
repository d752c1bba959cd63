/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_REMOTE_H
#define SF_CHAT_REMOTE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "chat/store.h"
#include "supabase/functions.h"

/*
 * Conversations in the project's tables (contrib/sql/007-chat.sql), where all mounts of an identity
 * go on with them.
 *
 * Any failure but those that are named means: go on without the tables (K8). After one they rest
 * for a while, in which every call fails at once: with -ENOSYS where there are no such tables, as
 * for NULL, which is allowed; else with -EAGAIN. Thread-safe; calls wait for the database, so none
 * on the event thread or a FUSE worker. Repeated after a lost reply they do nothing more.
 */
struct sf_storage;
struct sf_chat_remote;

/**
 * sf_chat_remote_new - @st or @peer (copied) is asked.
 * @holder: who holds leases: a name that no other mount has; copied.
 * Returns 0 or -ENOMEM.
 */
int sf_chat_remote_new(struct sf_storage *st, const struct sf_functions_peer *peer,
                       const char *holder, struct sf_chat_remote **ret);
void sf_chat_remote_free(struct sf_chat_remote *r); /* may be NULL */
/* "off", "waiting" (nothing was asked yet), "on", "missing", "denied", "unreachable". */
const char *sf_chat_remote_state(struct sf_chat_remote *r);

/* ---- rows ------------------------------------------------------------------------------------ */

SF_VEC_DEFINE(sf_chat_records, struct sf_chat_record);
void sf_chat_records_free(struct sf_chat_records *v);

/**
 * sf_chat_row_read - append the turns that a row of the tables is: none to three (reasoning,
 * answer, error). Rows are others': texts are cleaned, and what does not fit is left out. Pure.
 * Returns 0; -EINVAL it is no row; -ENOMEM. @out is as before on failure.
 */
int sf_chat_row_read(const json_t *row, struct sf_chat_records *out);

/**
 * sf_chat_row_write - the row that turns are: a question alone, or what came of one: reasoning,
 * answer and error, each at most once and in this order. Pure.
 * @content: NULL = null; new references on success.
 * Returns 0; -EINVAL no such turns, or text that is no UTF-8; -ENOMEM.
 */
int sf_chat_row_write(const struct sf_chat_record *turns, size_t n, json_t **content,
                      json_t **metadata);

/* ---- calls ----------------------------------------------------------------------------------- */

/* What a conversation is about; texts may be NULL. */
struct sf_chat_about {
    const char *stem;
    uint64_t generation;
    const char *bucket, *key, *provider;
};

/* A conversation of the tables. */
struct sf_chat_found {
    char id[SF_CHAT_ID_MAX + 1];
    uint64_t generation; /* the number behind the stem; 0 = it has none */
    bool closed;
    int64_t updated_ms;
    char *title, *bucket, *key, *provider; /* NULL = not told */
};
void sf_chat_found_fini(struct sf_chat_found *f);

/** sf_chat_remote_find - the last one of a stem, or the one of an id; the other is NULL. -ENOENT.
 */
int sf_chat_remote_find(struct sf_chat_remote *r, const char *stem, const char *id,
                        int64_t deadline_ms, struct sf_chat_found *out);

/* Turns in their order, and what has been read by then. */
struct sf_chat_read {
    struct sf_chat_records turns;
    char *cursor; /* NULL = nothing */
    bool more;
};
void sf_chat_read_fini(struct sf_chat_read *read);

/**
 * sf_chat_remote_turns - a page of what came behind a cursor (NULL = from the beginning); first the
 * answers to questions that were @unanswered.
 */
int sf_chat_remote_turns(struct sf_chat_remote *r, const char *id, const char *cursor,
                         const struct sf_chat_ids *unanswered, int64_t deadline_ms,
                         struct sf_chat_read *out);

struct sf_chat_begin {
    const char *id;
    const char *title; /* of a new conversation; NULL = none */
    struct sf_chat_about about;
    const char *file_id; /* UUID of the object; NULL or "" = not known */
    const struct sf_chat_record *question;
    unsigned lease_s;   /* 0 = it was asked while the tables were away: it is only added */
    const char *cursor; /* what was read; NULL = nothing */
};
enum sf_chat_began {
    SF_CHAT_BEGUN,
    SF_CHAT_BUSY,   /* another mount is at it */
    SF_CHAT_CLOSED, /* its name has another conversation: the next generation */
};
/**
 * sf_chat_remote_begin - store a question, and take the lease.
 * @out:  BEGUN: all turns that came before it, and the cursor of it.
 * @busy_s: BUSY: for how long at most.
 *
 * Returns enum sf_chat_began, or -errno; -EEXIST the id is somebody else's; -EFBIG more turns than
 * a conversation can have. The question is there, and the lease is ours, then, too, or may be.
 */
int sf_chat_remote_begin(struct sf_chat_remote *r, const struct sf_chat_begin *begin,
                         int64_t deadline_ms, struct sf_chat_read *out, unsigned *busy_s);

/** sf_chat_remote_lease - keep it, or with 0 give it back. 1; 0 = another mount has it by now. */
int sf_chat_remote_lease(struct sf_chat_remote *r, const char *id, unsigned lease_s,
                         int64_t deadline_ms);

/**
 * sf_chat_remote_end - store what came of a question: turns as for sf_chat_row_write(), of which
 * the answer, or else the last, has `message` and `to`. The lease is given back.
 * @cursor: on success a new text. -ENOENT the tables have no such question.
 */
int sf_chat_remote_end(struct sf_chat_remote *r, const char *id, const struct sf_chat_record *turns,
                       size_t n, int64_t deadline_ms, char **cursor);

/** sf_chat_remote_close - its name will have another conversation. -ENOENT there is none. */
int sf_chat_remote_close(struct sf_chat_remote *r, const char *id, int64_t deadline_ms);

#endif
