/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_STORE_H
#define SF_CHAT_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"
#include "chat/names.h"
#include "chat/transcript.h"

/*
 * Conversations in the state directory: docs/formats/chats-store.md. Whatever is read from it is
 * checked: a row that is damaged is one that is not there.
 *
 * Thread-safe. What changes something waits for the local disk, and what reads may read much: so
 * none of it on the event thread or a FUSE worker, but for the one that says otherwise. Errors:
 * -ENOENT there is none; -EINVAL not an id, or not a row; -ENOSPC; -EIO; -ENOMEM.
 */
struct sf_chat_store;

struct sf_chat_store_opts {
    const char *state_dir; /* of the identity */
    uint64_t max_bytes;    /* 0 = 256 MiB */
    uint64_t cache_bytes;  /* of answers, and of texts; 0 = 64 MiB */
};

/**
 * sf_chat_store_open - open or make it; what a crash left becomes turns.
 * One that is no database is renamed to `data.mdb.damaged`, and another one begun. Errors as of
 * sf_env_open().
 */
int sf_chat_store_open(const struct sf_chat_store_opts *opts, struct sf_chat_store **ret,
                       struct sf_err *err);
void sf_chat_store_close(struct sf_chat_store *st); /* may be NULL */

/* ---- names ----------------------------------------------------------------------------------- */

struct sf_chat_name {
    char id[SF_CHAT_ID_MAX + 1];
    uint64_t generation;
    bool empty; /* it was put away, and the name has an empty one */
    bool gone;  /* it was put away, and the name has none */
};
int sf_chat_store_name(struct sf_chat_store *st, const char *stem, struct sf_chat_name *out);
/* @away: NULL, or the conversation that is put away with it. */
int sf_chat_store_set_name(struct sf_chat_store *st, const char *stem,
                           const struct sf_chat_name *name, const char *away);

/* ---- conversations --------------------------------------------------------------------------- */

SF_VEC_DEFINE(sf_chat_ids, char *);

/* Valid when zeroed; texts are owned, NULL = not known. */
struct sf_chat_conversation {
    char *bucket, *key, *provider, *title;
    char *cursor;    /* of the tables */
    char sha256[65]; /* of the content that was sent last, "" = none */
    int64_t created_ms;
    uint64_t last; /* number of its last turn; the store's own */
    bool away;     /* put away */
    struct sf_chat_ids unanswered;
};
void sf_chat_conversation_fini(struct sf_chat_conversation *c);
int sf_chat_store_conversation(struct sf_chat_store *st, const char *id,
                               struct sf_chat_conversation *out);

/* Ids behind @after ("" = from the first), at most @max. Another result than 0 ends it. */
typedef int (*sf_chat_id_fn)(void *arg, const char *id);
int sf_chat_store_list(struct sf_chat_store *st, const char *after, unsigned max, sf_chat_id_fn fn,
                       void *arg);

/* ---- turns ----------------------------------------------------------------------------------- */

#define SF_CHAT_UUID 36

/* A turn as it is kept. Valid when zeroed. */
struct sf_chat_record {
    uint64_t number;
    char message[SF_CHAT_UUID + 1]; /* its row in the tables; "" = it has none */
    char to[SF_CHAT_UUID + 1];      /* of an answer: `message` of its question */
    struct sf_chat_turn turn;
};
void sf_chat_record_fini(struct sf_chat_record *k);

/* The turns from a number on, in their order; borrowed for the call, in which the store may be
 * used. Another result than 0 ends it. */
typedef int (*sf_chat_record_fn)(void *arg, const struct sf_chat_record *turn);
int sf_chat_store_turns(struct sf_chat_store *st, const char *id, uint64_t from,
                        sf_chat_record_fn fn, void *arg);

struct sf_chat_spent {
    int64_t tokens, price; /* millionths */
    int64_t turns;
};

/*
 * What happens to a conversation, in one transaction. It is made if there is none. All of it is
 * optional.
 */
struct sf_chat_change {
    const char *id;
    const struct sf_chat_conversation *now; /* what it is from now on, but for `last` */
    struct sf_chat_record *turns;           /* are appended; their numbers are set on success */
    size_t n_turns;
    /* An answer begins to come, behind these turns: kind, time, names, notes above, message, to.
     * Its number is set on success. */
    struct sf_chat_record *begins;
    uint64_t ends; /* the number of one that came; its pieces go, the turns stand for them */
    uint64_t line; /* the row of the line that has begun, or that nobody wants any more */
    /* Which of `turns`, counted from 1, the tables do not have; 0 = none. A question without an
     * answer is kept for that of `begins`, and told with it. */
    size_t question, answer;
    uint64_t told;       /* on success the row of the outbox that says so; 0 = none */
    const char *spender; /* provider; NULL = nothing was spent */
    int64_t day;
    struct sf_chat_spent spent; /* is added */
};
int sf_chat_store_change(struct sf_chat_store *st, struct sf_chat_change *change);

/* A piece of the answer that comes; @piece counts from 1. */
int sf_chat_store_piece(struct sf_chat_store *st, const char *id, uint64_t number, uint32_t piece,
                        bool reasoning, const char *text, size_t len);

/* ---- prompts that were not begun ------------------------------------------------------------- */

/* Valid when zeroed; texts are borrowed where it is kept, and for the call where it is read. */
struct sf_chat_draft {
    uint64_t row;   /* 0 = a new one */
    const char *id; /* of the conversation that it would be a turn of */
    const char *stem;
    uint64_t generation;
    const char *bucket, *key, *provider;
    bool waiting; /* it was submitted; else its open is not released yet */
    int64_t at_ms;
    uint32_t uid;
    const char *text; /* front matter and all */
    size_t len;
};
typedef void (*sf_chat_draft_fn)(void *arg, int rc, uint64_t row);

/**
 * sf_chat_store_draft - keep a prompt, in place of what its row has. Any thread; waits for nobody.
 * @fn: on the store's own thread, when it is synced or was not; must not wait.
 */
void sf_chat_store_draft(struct sf_chat_store *st, const struct sf_chat_draft *draft,
                         sf_chat_draft_fn fn, void *arg);
/* It was dropped: also for the one of an open that came to nothing. 0 without such a row. */
int sf_chat_store_forget(struct sf_chat_store *st, uint64_t row);

/* ---- what the tables do not know yet --------------------------------------------------------- */

struct sf_chat_told {
    uint64_t row;
    char id[SF_CHAT_ID_MAX + 1];
    /* Numbers; 0 = has been told, or there is none. Reasoning of the answer stands right before it,
     * its error right behind. */
    uint64_t question, answer;
};
/* The first one behind @after (0 = of all). -ENOENT. */
int sf_chat_store_untold(struct sf_chat_store *st, uint64_t after, struct sf_chat_told *out);
/* It was told, or never can be. */
int sf_chat_store_tell(struct sf_chat_store *st, uint64_t row);

/* ---- what was spent -------------------------------------------------------------------------- */

/* On a day, by a provider, or by all (NULL). Zeros when nothing was. */
int sf_chat_store_spent(struct sf_chat_store *st, int64_t day, const char *provider,
                        struct sf_chat_spent *out);

/* ---- what may be thrown away ----------------------------------------------------------------- */

/* Answers and extracted texts, as chat/answers.h keeps them. */
enum sf_chat_cache {
    SF_CHAT_CACHE_ANSWERS,
    SF_CHAT_CACHE_TEXTS,
    SF_CHAT_CACHES /* how many there are */
};
#define SF_CHAT_CACHE_KEY 128 /* bytes */

/** sf_chat_store_cached - append what is kept under a key. */
int sf_chat_store_cached(struct sf_chat_store *st, enum sf_chat_cache cache, const char *key,
                         struct sf_buf *out);
/** sf_chat_store_cache - keep it; the oldest may go. What is much too large is not kept: 0, too. */
int sf_chat_store_cache(struct sf_chat_store *st, enum sf_chat_cache cache, const char *key,
                        const char *value, size_t len);

#endif
