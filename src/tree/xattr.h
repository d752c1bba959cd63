/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TREE_XATTR_H
#define SF_TREE_XATTR_H

#include <sys/queue.h>

#include "base/buf.h"
#include "tree/internal.h"

/*
 * Internal to src/tree: extended attributes. op-xattr.c begins and ends the operations and keeps
 * what others set (user.*); xattr-ask.c asks the object for what the node does not know;
 * xattr-ours.c has the table of our own (user.supafs.*).
 */

#define XATTR_OURS "user.supafs."

enum xattr_what { XATTR_GET, XATTR_LIST, XATTR_SET };

struct sf_tables_row;
struct sf_tree_source;

struct xattr_op {
    struct sf_tree *tree;
    struct node *node; /* counted */
    enum xattr_what what;
    const struct xattr_ours *ours; /* NULL = an attribute of others */
    int flags;                     /* XATTR_CREATE, XATTR_REPLACE */
    unsigned asked;                /* how often the object was asked, */
    int64_t asked_ns;              /* and when last */
    int64_t began_ns;
    uint32_t version, attrs; /* of the node when it was asked for */
    /* What was noted here under the file's name when the operation began; NULL = nothing, or
     * nobody needs it. */
    struct sf_tables_row *noted;
    struct sf_buf listed; /* names that providers have ids for, each with its NUL */
    /* Of one that is patient: */
    LIST_ENTRY(xattr_op) link; /* the tree's lock protects these, */
    uint64_t serial;           /* 0 = it is none */
    uint64_t want;             /* what may be cancelled; 0 = nothing yet */
    unsigned turn;             /* how often it was begun */
    bool cancelled;            /* up to here */
    bool renewed;
    struct waiter waiter;
    struct resolve resolve;
    struct sf_tree_source *source;
    sf_tree_fn cb;
    void *arg;
    struct sf_buf out; /* the answer */
    bool secret;       /* which is wiped then */
    bool remove;
    size_t len; /* of value */
    char name[256];
    char value[];
};

/* What a name of ours is. Of them all only those that can be set are changed by who sets them; to
 * set or remove the others is accepted and does nothing, as what copies attributes must go on. */
enum xattr_kind {
    XATTR_IDENTITY,
    XATTR_STATE,
    XATTR_LINK,
    XATTR_SETTABLE,
};

struct xattr_ours {
    /* Behind "user.supafs."; one that ends in '.' is of all that begin so, one that begins with '.'
     * of each provider's name before it. */
    const char *name;
    enum xattr_kind kind;
    /* The value is appended to op->out. 0, -ENODATA or another -errno; or -EINPROGRESS: it was left
     * to somebody who calls xattr_end() or xattr_go(), perhaps already. No lock held. */
    int (*get)(struct xattr_op *op);
    /* op->value, op->len and op->remove. Likewise. NULL: nothing happens. */
    int (*set)(struct xattr_op *op);
    /* Whether listxattr(2) names it, or NULL: never. No lock held; the service is not asked. */
    bool (*listed)(struct xattr_op *op);
    unsigned flags;
};

#define XATTR_NOTED   1u /* get() looks at op->noted */
#define XATTR_PATIENT 2u /* get() may take as long as an upload, and can be cancelled */

/* ---- op-xattr.c ------------------------------------------------------------------------------ */

/* The answer: op->out if @rc is 0, else an error. @op is gone. No lock held. */
void xattr_end(struct xattr_op *op, int rc);
/* Once more, with what is known now. No lock held; what is patient reads the local disk. */
void xattr_go(struct xattr_op *op);
/* The same after an answer, on the event thread, say. */
void xattr_resume(struct xattr_op *op);
/* Are all that others set known? */
bool xattrs_known_locked(const struct node *n);

/* ---- xattr-ask.c ----------------------------------------------------------------------------- */

/* Ask the object for what the node does not know; then xattr_go(), or xattr_end() with why not. No
 * lock held. */
void xattr_ask(struct xattr_op *op);

/* What an info told lately of the version that the node stands for, or NULL. */
const struct told *xattr_told_locked(const struct xattr_op *op);
/* What a getter returns that needs more than is known: -EINPROGRESS, and it is called again when
 * the object was asked; or -ENODATA: it was, or there is none. */
int xattr_need(struct xattr_op *op);

/* ---- xattr-link.c: getters ------------------------------------------------------------------- */

int xattr_signed_url(struct xattr_op *op);
int xattr_public_url(struct xattr_op *op);

/* ---- xattr-tables.c: rows of the table --------------------------------------------------------
 */

int xattr_get_tags(struct xattr_op *op);
int xattr_set_tags(struct xattr_op *op);
bool xattr_tags_are_listed(struct xattr_op *op);
/* Fill op->noted. It reads the local disk: for the thread of who asks, not for that of an answer.
 */
void xattr_look(struct xattr_op *op);
int xattr_access_count(struct xattr_op *op);
int xattr_last_accessed(struct xattr_op *op);

/* Words with commas between them, of 1 to 100 bytes and at most 64; blanks around them do not
 * count, and the same word once. *ret: NULL-terminated, for tags_free(). 0, -EINVAL or -ENOMEM. */
int tags_parse(const char *text, size_t len, char ***ret);
void tags_free(char **tags);

/* ---- xattr-ours.c ---------------------------------------------------------------------------- */

/* The hash that was noted of the version that the node stands for. */
bool xattr_noted_hash_locked(const struct xattr_op *op, char hex[65]);
/* Is it ours to answer for? All that begin with XATTR_OURS are, but for the settings of chats,
 * which are kept as those of others. */
bool xattr_is_ours(const char *name);
/* @name: whole, and it begins with XATTR_OURS. NULL = there is none. */
const struct xattr_ours *xattr_ours_find(const char *name);
/* 0, -errno or -EINPROGRESS as of the row. */
int xattr_ours_go(struct xattr_op *op);
/* Names to be listed, each with its NUL, are appended to op->out. 0 or -ENOMEM. */
int xattr_ours_list(struct xattr_op *op);

#endif
