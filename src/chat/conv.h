/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_CONV_H
#define SF_CHAT_CONV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "chat/front.h"
#include "chat/names.h"
#include "provider/chat.h"

/*
 * The conversations of a mount: what they say, who reads it and waits for more, and the line of
 * prompts that are answered one after the other (docs/formats/chat.md). Knows neither names of
 * files nor who may do what.
 *
 * A conversation is meant by the name that leads to it, and so by another id after it was put away,
 * or by its id. Thread-safe. Nothing here waits but sf_convs_new(), _stop() and _free(). Callbacks
 * run once, holding no lock, on any thread or before the function returns; they must not block, and
 * may call everything here but stop and free, unless it says otherwise.
 */
struct sf_functions_peer;
struct sf_chat_store;
struct sf_http;
struct sf_providers;
struct sf_storage;
struct sf_tree;

struct sf_conv;
struct sf_conv_turn;
struct sf_convs;

/* ---- all of them ----------------------------------------------------------------------------- */

struct sf_convs_opts {
    const char *state_dir; /* of the identity; the store is made below it */
    uint64_t store_bytes;  /* chat_store; 0 = as store.h says */
    /* These are borrowed. */
    struct sf_http *http; /* for timers */
    struct sf_providers *providers;
    struct sf_tree *tree;
    struct sf_storage *storage;           /* tables and links; NULL = without them */
    bool tables;                          /* conversations are kept in the project's tables, too */
    const struct sf_functions_peer *peer; /* for tests: who is asked instead of the storage's */
    const char *holder;                   /* of leases; NULL = a name that nobody else has */
    const char *bucket, *prefix;          /* of the mount: as struct sf_tree_opts says */
    int64_t fresh_ms;                  /* attr_ttl: what the tables said is believed for so long */
    uint64_t file_tokens;              /* chat_file_tokens; 0 = 200000 */
    bool cache;                        /* chat_cache */
    uint64_t tokens_day, tokens_mount; /* chat_tokens_day, chat_tokens_mount; 0 = no limit */
    int64_t price_day;                 /* chat_price_day in millionths; 0 = no limit */
};

/**
 * sf_convs_new - open the store; what a crash left becomes drafts and ended turns (K9). Waits for
 * the local disk. Nobody is asked.
 * Returns 0, -ENOMEM, or what is wrong with the state directory.
 */
int sf_convs_new(const struct sf_convs_opts *opts, struct sf_convs **ret, struct sf_err *err);
/**
 * sf_convs_stop - the orderly end (C9): turns are cancelled, what waits becomes drafts, and who
 * waits for bytes gets -ENOTCONN, as do all later calls. Waits until that is stored, and the tables
 * have been told, but not beyond @deadline_ms. NULL is allowed.
 */
void sf_convs_stop(struct sf_convs *cs, int64_t deadline_ms);
/* Stops. After it nothing of ours runs any more. Before providers, tree, storage and http are
 * freed, and when all conversations were given back. NULL is allowed. */
void sf_convs_free(struct sf_convs *cs);

struct sf_chat_store *sf_convs_store(struct sf_convs *cs);
/* Run fn(arg) where one may wait for disk and tables, for a second or so. 0 or -errno, and then it
 * never runs. */
int sf_convs_work(struct sf_convs *cs, void (*fn)(void *arg), void *arg);

/**
 * sf_convs_may_ask - whether a prompt for this provider could be begun now (W13): budgets, and
 * whether the provider has refused for want of money.
 * @provider: NULL, "auto" = any.
 * Returns 0; -EDQUOT; -EACCES it has no usable key; with a sentence.
 */
int sf_convs_may_ask(struct sf_convs *cs, const char *provider, struct sf_err *err);

struct sf_convs_status {
    unsigned loaded;                   /* conversations in memory */
    unsigned running;                  /* turns that are being worked on, or answered */
    unsigned waiting;                  /* prompts in lines */
    unsigned readers;                  /* reads that wait */
    uint64_t bytes;                    /* of text in memory */
    uint64_t turns, failed, cancelled; /* that ended since the start */
    uint64_t tokens_mount, tokens_day;
    int64_t price_day;  /* millionths, of all currencies */
    const char *tables; /* as sf_chat_remote_state() */
    char last_error[240];
};
void sf_convs_status(struct sf_convs *cs, struct sf_convs_status *out);

/* ---- one ------------------------------------------------------------------------------------- */

/* Which one; texts are copied. */
struct sf_conv_key {
    const char *stem; /* of the name that leads to it; NULL = it is meant by its id */
    const char *id;   /* else */
    /* What it is about; provider: NULL = the name names none. Of an id all are as it is known. */
    const char *bucket, *key, *provider;
};

/**
 * sf_conv_get - have it in memory, to be given back with sf_conv_put(). What it says is known once
 * it was loaded. Returns 0, -EINVAL no such stem or id, -ENOMEM, -ENOTCONN.
 */
int sf_conv_get(struct sf_convs *cs, const struct sf_conv_key *key, struct sf_conv **ret);
void sf_conv_put(struct sf_conv *c); /* NULL is allowed */

/**
 * sf_conv_load - know it: what the state directory has, and, unless @tables_ms is 0, what the
 * tables have, where that was not asked for within `fresh_ms`; for these it waits no longer than
 * @tables_ms, and they fill it in later.
 * @fn: 0, also when there is none; -EIO, -ENOMEM, -ENOTCONN. At once where it is known.
 */
void sf_conv_load(struct sf_conv *c, int64_t tables_ms, void (*fn)(void *arg, int rc), void *arg);

enum sf_conv_state {
    SF_CONV_IDLE,
    SF_CONV_WAITING, /* for its turn, or for another mount */
    SF_CONV_READING, /* what it is about */
    SF_CONV_ASKING,  /* nothing of the answer came yet */
    SF_CONV_ANSWERING,
};

/* What is known of a loaded one; before that all zero. */
struct sf_conv_facts {
    bool loaded;
    bool exists; /* N5: there is a conversation, or an empty one (W4), or who writes */
    char id[SF_CHAT_ID_MAX + 1]; /* "" = it has no turn yet */
    char bucket[101], key[1025], provider[33];
    uint64_t size;    /* of the view */
    int64_t mtime_ns; /* of the last change; 0 = never */
    enum sf_conv_state state;
    unsigned line;    /* prompts that wait or run */
    unsigned writers; /* opens for writing */
};
void sf_conv_facts(struct sf_conv *c, enum sf_chat_view view, struct sf_conv_facts *out);

/* Texts of user.supafs.*: appended to @out. 0; -ENODATA there is none; -ENOMEM. */
int sf_conv_last(struct sf_conv *c, size_t max, struct sf_buf *out); /* the last answer; cut */
int sf_conv_state_text(struct sf_conv *c, struct sf_buf *out);       /* as S9 says */
int sf_conv_usage(struct sf_conv *c, struct sf_buf *out);            /* of the last turn */
int sf_conv_error(struct sf_conv *c, struct sf_buf *out);            /* E2 */
/* Another error of it, that was no turn: a prompt that was dropped (W7). */
void sf_conv_error_set(struct sf_conv *c, const char *text);

/* ---- reading --------------------------------------------------------------------------------- */

/*
 * A read of the text, or of the answer to one prompt (R6), whose bytes do not change. At its end it
 * waits as long as prompts up to `until` are not answered. Belongs to the caller until fn has run,
 * or sf_conv_unread() was true.
 */
struct sf_conv_read {
    uint64_t off;
    size_t len;
    enum sf_chat_view view; /* of a conversation */
    struct sf_conv_turn
        *turn;      /* its answer; NULL = the conversation. A reference of the caller's */
    uint64_t until; /* sf_conv_now() when it was opened; 0 = what is there is all */
    bool nonblock;  /* -EAGAIN instead of waiting */
    /* rc 0: @data is valid during the call; len 0 = the end. -EAGAIN; -ENOTCONN the mount ends;
     * of an answer, once all that had come was read, what made it fail (R7). */
    void (*fn)(void *arg, int rc, const char *data, size_t len);
    void *arg;
    /* Inside: */
    struct sf_conv_read *next;
    void *at;
};
void sf_conv_read(struct sf_conv *c, struct sf_conv_read *r);
/* It is not wanted any more. True: fn never runs; false: it has run, or is about to. */
bool sf_conv_unread(struct sf_conv *c, struct sf_conv_read *r);
/* Whether it would not wait (R11). Nothing is done. */
bool sf_conv_readable(struct sf_conv *c, const struct sf_conv_read *r);

/* The number of the prompt that was submitted last, of all. Any that comes is greater. */
uint64_t sf_conv_now(struct sf_conv *c);

/* Told when there is more to read, the line, or the facts change, on any thread, under locks of
 * ours: `changed` may take leaf locks only and call nothing of this. */
struct sf_conv_watch {
    void (*changed)(void *arg);
    void *arg;
    struct sf_conv_watch *prev, *next; /* inside */
};
void sf_conv_watch(struct sf_conv *c, struct sf_conv_watch *w);
void sf_conv_unwatch(struct sf_conv *c, struct sf_conv_watch *w); /* `changed` is over then */

/* ---- writing --------------------------------------------------------------------------------- */

#define SF_CONV_LINE 16 /* W12 */

/* An open for writing begins: it exists as long as it is not ended. 0; -EBUSY (W12); -ENOTCONN. */
int sf_conv_writer(struct sf_conv *c);
void sf_conv_writer_end(struct sf_conv *c);

/* A prompt; all is borrowed for the call. */
struct sf_conv_prompt {
    const char *text; /* as it was written, front matter and all */
    size_t len;
    size_t body; /* where the question begins in it */
    /* The settings that hold (S6), and those of the front matter alone (notes `set`); NULL = none
     * was set. `continue` and `dry_run` count in `own` only. */
    const struct sf_chat_front *settings, *own;
    uint32_t uid;
    uint64_t draft; /* its row from sf_conv_draft(), which is taken over; 0 = it has none */
};

/**
 * sf_conv_draft - keep what was written so far (W7), in place of row @p->draft.
 * @fn: when it is synced, or was not: -ENOSPC, -EIO. Must not block.
 */
void sf_conv_draft(struct sf_conv *c, const struct sf_conv_prompt *p,
                   void (*fn)(void *arg, int rc, uint64_t row), void *arg);
/* It came to nothing. */
void sf_conv_undraft(struct sf_conv *c, uint64_t row);

/**
 * sf_conv_submit - into the line.
 * @ret: NULL, or its turn, to be given back.
 * Returns 0; -EINVAL nothing but white space; -EBUSY; -ENOMEM; -ENOTCONN, and then a draft stays.
 */
int sf_conv_submit(struct sf_conv *c, const struct sf_conv_prompt *p, struct sf_conv_turn **ret);
void sf_conv_turn_put(struct sf_conv_turn *t); /* NULL is allowed */
/* Has its answer ended? */
bool sf_conv_turn_over(struct sf_conv_turn *t);
void sf_conv_turn_cancel(struct sf_conv_turn *t); /* R8 */

/* All that waits or runs (C8). */
void sf_conv_cancel(struct sf_conv *c);

/**
 * sf_conv_put_away - C3, C4: cancels, too. At once for everybody here; @fn when it is stored.
 * @empty: the name has an empty one then (W4); else it is gone.
 */
void sf_conv_put_away(struct sf_conv *c, bool empty, void (*fn)(void *arg, int rc), void *arg);

/**
 * sf_conv_follows - W10: where a prompt goes on that begins with what the conversation says.
 * @rest: on success where that is.
 * Returns 0; -EINVAL it says something else by now, or never did.
 */
int sf_conv_follows(struct sf_conv *c, const char *text, size_t len, size_t *rest);

#endif
