/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_CHAT_INTERNAL_H
#define SF_CHAT_CHAT_INTERNAL_H

#include <sys/queue.h>

#include "base/htab.h"
#include "base/lock.h"
#include "chat/chat.h"
#include "chat/conv.h"
#include "chat/file.h"
#include "chat/front.h"
#include "chat/place.h"
#include "chat/typed.h"

/* Internal to src/chat: nodes of chat files, and what goes on with them. */

#define CHAT_WAITING_MAX 1024 /* reads that wait */
#define CHAT_TABLES_MS   1000 /* how long a look-up waits for the project's tables (N5) */
#define CHAT_SETTLE_MS   2000 /* R2 */

struct chat_wait;
LIST_HEAD(chat_waits, chat_wait);
LIST_HEAD(chat_files, sf_chat_file);

/* A name that leads to a conversation, or a file of `.supafs/chats`. */
struct chat_node {
    UT_hash_handle hh;    /* by `what` */
    UT_hash_handle by_id; /* by `id` */
    uint64_t id;
    uint64_t lookups;
    unsigned refs; /* opens, operations */
    struct chat_files files;
    struct chat_waits waits; /* opens that wait for some of those */
    gid_t gid;               /* of FILE, when it was looked at last */
    uint64_t parent;         /* where it was found last; 0 = it has no name */
    char file[256];
    char name[256];
    /* These never change: */
    char what[SF_CHAT_ID_MAX + 16]; /* a stem, or a name in `.supafs/chats` */
    bool by_stem;
    enum sf_chat_view view;
    char conv_id[SF_CHAT_ID_MAX + 1]; /* of the latter */
    char *bucket, *key;               /* of the former */
    const char *provider;
    int64_t born_ns;
    uint64_t ino;
};

/* A name from which an object was renamed away (C1). */
struct chat_moved {
    uint64_t parent;
    int64_t until_ms; /* 0 = none */
    char name[256];
};
#define CHAT_MOVED_MAX 32 /* the oldest is forgotten */
#define CHAT_MOVED_MS  5000

struct sf_chat {
    struct sf_chat_opts o;  /* its texts are owned */
    const char **providers; /* names of the configured, NULL-terminated */

    struct sf_mutex lock; /* order 8; protects the nodes and what follows */
    struct chat_node *nodes, *nodes_by_id;
    uint64_t serial;           /* ids of nodes and waits */
    struct chat_wait *waiting; /* by id */
    unsigned n_waiting;        /* that are counted */
    uint64_t n_files;
    unsigned busy; /* calls and opens that are not over */
    struct sf_cond idle;
    struct chat_moved moved[CHAT_MOVED_MAX];
    unsigned next_moved;
};

/* Something begins that needs it, and ends. */
void chat_busy(struct sf_chat *chat);
void chat_idle(struct sf_chat *chat);

/* ---- look.c ---------------------------------------------------------------------------------- */

/* Is what is made under this name an object, because one was there until just now? */
bool chat_was_moved(struct sf_chat *chat, uint64_t parent, const char *name);

/* ---- chat.c ---------------------------------------------------------------------------------- */

static inline bool
chat_is_owner(const struct sf_chat *chat, const struct sf_chat_who *who)
{
    return who->uid == 0 || who->uid == chat->o.owner;
}

/* The node, counted by `refs`; NULL: there is none. */
struct chat_node *chat_node_get(struct sf_chat *chat, uint64_t id);
/* The node of a place, made if there is none; @name: NULL = it has none. NULL: no memory. */
struct chat_node *chat_node_of(struct sf_chat *chat, const struct chat_place *p, const char *name);
/* The same of a file of `.supafs/chats`. */
struct chat_node *chat_node_view(struct sf_chat *chat, const char *name, const char *id,
                                 enum sf_chat_view view);
void chat_node_put(struct sf_chat *chat, struct chat_node *n);
/* May it be written to? */
static inline bool
chat_node_asks(const struct chat_node *n)
{
    return n->view == SF_CHAT_VIEW_ALL;
}
/* The conversation that it leads to. */
int chat_node_conv(struct sf_chat *chat, const struct chat_node *n, struct sf_conv **ret);
int chat_place_conv(struct sf_chat *chat, const struct chat_place *p, struct sf_conv **ret);
/* The inode number of a stem or a name in `.supafs/chats`: the same in each mount. */
uint64_t chat_ino(const char *what);
/* Attributes, of a conversation that was loaded. */
void chat_node_attr(struct sf_chat *chat, struct chat_node *n, struct sf_conv *c,
                    struct sf_attr *out);
/* Know it: from the disk, and where that has none, from the tables. */
void chat_conv_load(struct sf_conv *c, bool tables, void (*fn)(void *arg, int rc), void *arg);

/* ---- what waits ------------------------------------------------------------------------------ */

/* A read or an open that waits, with an id by which it can be ended. Counted. */
struct chat_wait {
    UT_hash_handle hh;
    uint64_t id;
    struct sf_chat *chat;
    _Atomic unsigned refs;
    LIST_ENTRY(chat_wait) link; /* of the node's */
    struct chat_wait *next;     /* of those that were taken together */
    bool linked;
    bool counted;
    bool over;                           /* it was taken by who answers it */
    uint64_t serial;                     /* an open: what was flushed up to here is waited for */
    void (*cancel)(struct chat_wait *w); /* no lock held; takes it, if nobody has */
    void (*free)(struct chat_wait *w);
};
/* Enter it, with a reference for who began it and one for the table. @counted: -EAGAIN when too
 * many of these wait: reads may wait long, and must not take the place of who would answer them. */
int chat_wait_begin(struct sf_chat *chat, struct chat_wait *w, bool counted);
/* Take it out: true for the first who does, and he answers. */
bool chat_wait_take(struct chat_wait *w);
bool chat_wait_take_locked(struct chat_wait *w);
void chat_wait_unref(struct chat_wait *w);

/* ---- settings.c ------------------------------------------------------------------------------ */

/* Settings of FILE and of its directory (S5). */
struct chat_settings {
    struct sf_chat_front file, dir;
};
void chat_settings_fini(struct chat_settings *s);
/* @s: on success; taken over. */
typedef void (*chat_settings_fn)(void *arg, int rc, struct chat_settings *s);
void chat_settings_get(struct sf_chat *chat, const struct chat_place *p, chat_settings_fn fn,
                       void *arg);
/* The setting that an attribute is, or -1. */
int chat_setting_of(const char *xattr);

/* ---- open.c ---------------------------------------------------------------------------------- */

/* An open of this node was released, or wrote on: who waits for it goes on. */
void chat_open_wake(struct sf_chat *chat, struct chat_node *node);

/* ---- file.c, read.c ---------------------------------------------------------------------------
 */

/* What an open is made of. */
struct chat_opening {
    struct sf_chat *chat;
    struct chat_node *node; /* counted */
    struct sf_conv *conv;
    int flags;
    uid_t uid;
    bool writer; /* sf_conv_writer() was called */
    uint64_t until;
    struct sf_chat_front settings; /* that hold without front matter */
};
void chat_opening_fini(struct chat_opening *o);
/* In its node's list; @o is taken over on success, and zeroed. */
int chat_file_new(struct chat_opening *o, struct sf_chat_file **ret);

/* The answer to a prompt of this open. Counted; the file's lock protects its base. */
struct chat_answer {
    _Atomic unsigned refs;
    struct sf_conv_turn *turn;
    bool based;
    uint64_t base; /* offset of the first byte that was asked for */
};
void chat_answer_unref(struct chat_answer *a);

struct chat_read;

struct sf_chat_file {
    LIST_ENTRY(sf_chat_file) link; /* the chat's lock protects these: of its node */
    uint64_t flushed; /* what was written was flushed, as so manieth; 0 = it was not. Up to here */
    bool freed;       /* by the chat's end */
    _Atomic bool stopped; /* nothing is submitted any more */
    struct chat_opening o;
    _Atomic unsigned refs;

    struct sf_mutex lock; /* order 9; protects the fields down to the blank line */
    struct chat_typed typed;
    bool wrote, truncated, released;
    bool submitting;            /* what was written is on its way into the line */
    struct chat_answer *answer; /* NULL = the transcript is read */
    uint64_t seen;              /* where the last read ended */
    struct chat_read *held;     /* reads that wait for `submitting` or `drafting` */
    bool drafting;
    uint64_t draft;   /* row; 0 = none */
    uint64_t drafted; /* bytes written that it has, or is to have */
    uint64_t kept;    /* those that it had before */
    unsigned epoch;   /* counts truncations */
    unsigned drafting_epoch;
    struct chat_flush *flushes;

    struct sf_mutex wake_lock; /* leaf; protects the next two */
    sf_chat_wake_fn wake;
    void *wake_arg;
    struct sf_conv_watch watch;
    _Atomic bool watching;
};
void chat_file_unref(struct sf_chat_file *f);
/* The sentence is told by user.supafs.error. */
void chat_file_error(struct sf_chat_file *f, const struct sf_err *err);
/* Whoever polls looks again; or else it is only given back. */
void chat_file_wake(struct sf_chat_file *f, bool changed);
/* What it has was flushed, and is about to be submitted (R2); or that is not so any more. No lock
 * held. */
void chat_file_flushed(struct sf_chat_file *f, bool flushed);
/* What the oldest open of this node that was flushed, and is not released, got for it; 0 = none. */
uint64_t chat_files_flushed_locked(const struct chat_node *n);
/* C5, W4: 0 it is done; 1 it is not this open's to say; -EINVAL. */
int chat_file_truncate(struct sf_chat_file *f, uint64_t size);
/* Is it a prompt? As chat_typed_end(). The file's lock is held. */
int chat_file_prompt_locked(struct sf_chat_file *f, size_t *body, struct sf_chat_front *own,
                            struct sf_err *err);
/* Into the line, with what was typed and its draft. No lock held. */
int chat_file_submit(struct sf_chat_file *f, const struct chat_typed *t, size_t body,
                     const struct sf_chat_front *own, uint64_t draft, struct sf_conv_turn **ret);
/* Reads that were held go on. No lock held. */
void chat_file_unhold(struct sf_chat_file *f);

#endif
