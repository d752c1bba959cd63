/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TREE_INTERNAL_H
#define SF_TREE_INTERNAL_H

#include "base/lock.h"
#include "cache/cache.h"
#include "supabase/storage.h"
#include "tree/names.h"
#include "tree/tree.h"
#include "write/mark.h"
#include "write/write.h"

#include <stdatomic.h>
#include <sys/queue.h>

/*
 * One mutex (order 20) guards every node, listing, handle and counter below. It is held for memory
 * work only. What has to happen outside it (callbacks, requests) is queued as an action while it is
 * held and run by tree_unlock().
 *
 * Three kinds of numbers name things here:
 *   node id  what the kernel calls an inode (fuse_ino_t): slot and generation, never used twice;
 *   ino      st_ino, what programs see: of the object's mark, else a hash of its id;
 *   key      bucket id and object key, what the service calls it: from the names up to the root.
 */

struct action {
    struct action *next;
    void (*run)(struct action *a);
};

enum node_type {
    N_PROJECT, /* the root of a whole-project mount: its children are buckets */
    N_BUCKET,  /* or the root of a mount of one bucket or prefix */
    N_DIR,     /* a key prefix */
    N_FILE,    /* an object: file, symlink, fifo, socket or device */
    N_ABSENT,  /* a name known not to exist */
};

/* Attributes that nobody has said anything of: the mount's defaults are shown. */
#define ATTR_MODE_NONE UINT16_MAX
#define ATTR_ID_NONE   UINT32_MAX
#define ATTR_TIME_NONE INT64_MIN

/* What only files have that are open, or were changed or read here; live_of() makes it. */
struct live {
    unsigned open;    /* file handles */
    unsigned writers; /* of these, handles for writing */
    unsigned mappers; /* for reading and writing: programs may change mapped pages of these */
    unsigned readers; /* handles that were given bytes, or may have them from the kernel's pages */
    unsigned busy;    /* changes of bytes under way */
    unsigned commits; /* uploads under way */
    bool mapped;      /* mapped pages were written, by whichever handle the kernel took */
    unsigned patient; /* of these, those that go on until they are stored or refused */
    int64_t gave_up_ms;         /* when a read last reached its deadline; 0 = never */
    int64_t resized_ms;         /* when it was seen to have another size; 0 = never */
    char *link;                 /* symlink target, once known */
    struct sf_content *content; /* bytes staged here; NULL = as in the bucket */
    struct sf_err *failure;     /* of the last commit, until a write or a success */
    char *old_key;              /* of a detached node: "bucket\0key" for handles still open */
};

/* What an info told of an object beyond what a listing does; xattr-ask.c says how long it counts.
 */
struct told {
    int64_t asked_ns;
    uint32_t attrs; /* of the node, when it was asked for */
    uint16_t version_count;
    char version[40]; /* the service's; "" = none */
    char sha256[65];  /* hex; "" = none */
};

/* Of n->set, beside SF_SET_*: content type and Cache-Control, which also count with attrs=none. */
#define NODE_SET_TYPE          (1u << 9)
#define NODE_SET_CACHE_CONTROL (1u << 10)
#define NODE_SET_SAID          (NODE_SET_TYPE | NODE_SET_CACHE_CONTROL)

/* Has it tags, as far as somebody has set them here, or asked for them? */
enum tagged { TAGGED_UNKNOWN, TAGGED_YES, TAGGED_NO };

/* What few nodes have; extra_of() makes it. */
struct extra {
    int64_t atime_ns;  /* set outright, or ATTR_TIME_NONE */
    dev_t rdev;        /* of a device */
    char *xattrs;      /* user.* as JSON (write/meta.h), with what was set here; NULL = none */
    char *changes;     /* of these what the object does not have, or not for certain */
    bool xattrs_known; /* else the object has to be asked for them */
    unsigned writing;  /* changes of attributes under way */
    struct told *told; /* NULL = nothing */
    uint8_t tagged;    /* enum tagged */
    struct live *live; /* NULL = none */
};

struct bucket {
    char *id;
    char *prefix; /* keys of the mount begin so: "" or ending in '/' */
    uint64_t size_limit;
    bool is_public;
    int64_t public_ns;   /* when that was said; 0 = never */
    char **mimes;        /* NULL-terminated; NULL = all */
    bool seen;           /* the service has shown the bucket's row */
    int64_t verified_ms; /* token and bucket were good then */
};

struct fetch;
struct listing;
struct load;
struct walk;
struct lookup;
struct dir_ask;
struct resolve;
struct pages;
struct words;
struct links;

/* How much of a directory was taken from what was saved of it. */
enum saved_state {
    SAVED_NOT,   /* it was not looked for */
    SAVED_ATTRS, /* its own attributes, if there were any */
    SAVED_OLD,   /* the names are too old to answer for the service */
    SAVED_ALL,   /* all that there was */
};

/* What a directory has besides a node. */
struct dir {
    struct node **table; /* children by name: chains, a power of two long */
    uint32_t slots, count, subdirs;
    uint64_t turnover;       /* counts children that came and went */
    struct listing *listing; /* the last that succeeded (counted); NULL = none */
    struct listing *run;     /* the one under way (counted) */
    struct lookup *lookups;  /* questions for one name that are under way */
    struct pages *pages;     /* of a large one: what was asked for page by page; NULL = nothing */
    struct bucket *bucket;   /* of an N_BUCKET; else NULL */
    struct dir_ask *ask;     /* questions for its directories' attributes, under way */
    bool attrs_known;        /* its own attributes are */
    uint8_t asked;           /* of how many of its directories the attributes were asked for */
    bool deep;               /* one listing does not reach all of them */
    bool placeholder;        /* a marker object keeps it */
    bool large;       /* more than one page when last listed: ask name by name, or by pages */
    bool renaming;    /* its objects are being moved to another name */
    uint32_t ops;     /* changes of names in it that are under way */
    uint32_t unlinks; /* files removed shortly one after the other, the last at @unlinks_ms */
    int64_t unlinks_ms;
    int64_t children_ms; /* when one of its directories was last listed, */
    uint8_t children;    /* and how many were shortly one after the other */
    struct node *lru_prev, *lru_next;
    bool in_lru;
    bool attrs_old;    /* its attributes are old ones, shown while the service is away */
    bool unsaved;      /* in the tree's list of what is to be saved, since @unsaved_ms */
    uint8_t saved;     /* enum saved_state */
    struct load *load; /* under way */
    int64_t attrs_ns;  /* when its attributes were known */
    int64_t unsaved_ms, save_after_ms;
    struct node *unsaved_prev, *unsaved_next;
};

/* There is one for each name that is known, so every byte counts: what few of them have is in
 * `extra`, and ids, ETags and names have functions (node_id() and those after it). */
struct node {
    struct node *parent; /* NULL: the root, or detached */
    struct node *hnext;
    struct dir *dir;     /* directories only */
    struct extra *extra; /* NULL = none */
    uint64_t nid;
    uint64_t nlookup : 42; /* look-ups that the kernel holds */
    uint64_t special : 4;  /* 0, or S_IFMT of a fifo, socket or device, as DT_* of readdir(3) */

    bool symlink : 1;
    bool own_ino : 1;    /* its ino was chosen by a mount, and is in the table */
    bool marked : 1;     /* the object tells its times itself: those of the service do not count */
    bool guessed : 1;    /* its content type was guessed */
    bool xattrs : 1;     /* it has extended attributes */
    bool local_only : 1; /* created here, not yet in the bucket */
    bool delivered : 1;  /* bytes of this version were given to a reader */
    bool keep_pages : 1; /* what the kernel has in its page cache is of this version */
    bool etag_open : 1;  /* content is ours, its ETag is not known yet */
    bool replace : 1;    /* a rename put this unsent file over an object: upload replaces */
    bool exclusive : 1;  /* created with O_EXCL, and not in the bucket yet */
    bool leaving : 1;    /* its removal from the directory is under way: keeps it no more; of an
                            N_ABSENT: acknowledged, and the object may still be listed */
    bool id_text : 1;    /* how these are kept: node-text.c */
    bool far : 1, has_comp : 1;
    uint64_t etag_form : 2;

    uint64_t ino;
    uint64_t size;
    int64_t mtime_ns, ctime_ns;
    int64_t checked_ns;   /* the service confirmed this at (CLOCK_BOOTTIME, start of the request) */
    uint64_t changed_seq; /* tree->seq of the last change made here */
    union {
        uint8_t bytes[16];
        char *text;
    } id, etag;
    uint32_t refs;       /* handles, operations, listing vectors */
    uint32_t attrs;      /* counts changes of attributes made here */
    uint32_t listing_id; /* the last listing that holds it */
    uid_t uid;
    gid_t gid;
    uint16_t mode;    /* permission bits */
    uint16_t set;     /* SF_SET_* and NODE_SET_*: attributes that were set here and that no listing
                         changes: the object does not have them, or not for certain */
    uint16_t version; /* counts the versions that others made */
    uint16_t etag_parts;
    uint16_t room;          /* bytes of text */
    uint16_t mime;          /* of the object, a number of words.h; 0 = not known */
    uint16_t cache_control; /* what others than us say in it; likewise */
    uint8_t type;           /* enum node_type; never changes, and is read without the lock, too */
    char text[];
};

/* Somebody who waits for knowledge: an operation to be tried again. */
struct waiter {
    struct action act;
    struct waiter *next;
    void (*resume)(struct waiter *w, int err); /* no lock held */
    int err;
};

/* One run through a directory. Counted by the directory and by open handles. */
struct listing {
    struct action act;
    struct sf_tree *tree;
    uint32_t refs;
    uint32_t id;
    struct node *dir; /* counted while running */
    struct node **entries;
    size_t n, cap;
    bool running, complete, failed;
    bool want_all;           /* a reader wants the pages after the first */
    bool for_name;           /* somebody looks for a name that only a whole listing tells */
    bool rows_seen, folders; /* rows, and some of these of directories, have come */
    bool flat;               /* all keys are asked for, also those further below */
    bool doubt;              /* keys move meanwhile: a page proves no absence */
    bool both; /* the other name of a directory that is being renamed is listed, too */
    int err;
    uint64_t start_seq;
    int64_t start_ns, page_ns; /* when the run and its last page were asked for */
    char *last;                /* key after which the next page begins */
    char *prefix, *bucket;
    struct waiter *waiters;
    uint64_t request;
    struct walk *walk; /* that serves it; NULL = it asks for itself */
    struct listing *next_promised;
};

/* A question for one name. */
struct lookup {
    struct action act;
    struct sf_tree *tree;
    struct lookup *next;
    struct node *dir; /* counted */
    char *name;
    char *key, *bucket;
    bool as_folder; /* second step: is anything below key/ ? */
    bool object;    /* the first step saw an object of this name */
    uint8_t turns;  /* how often it was asked for under another name */
    uint64_t start_seq;
    int64_t start_ns;
    struct waiter *waiters;
};

struct sf_file {
    struct sf_file *prev, *next;
    struct node *node;     /* counted */
    struct origin *origin; /* what it reads from, as long as no bytes are staged; NULL = not yet */
    uint32_t refs;         /* the caller, until it releases, and operations that wait */
    int flags;
    uint32_t version; /* of the node when it was opened */
    bool released;
    bool pages;   /* it may have the kernel's pages of that version */
    bool got;     /* counts as one of the node's readers */
    bool wrote;   /* FLUSH answers for what it wrote */
    bool flushed; /* a FLUSH has sent or kept all that it wrote */
    uint32_t writes;
    bool created; /* created or truncated by this open: RELEASE uploads even without a write */
};

struct sf_dir {
    struct sf_dir *prev, *next;
    uint32_t refs;           /* the caller, until it releases, and operations that wait */
    struct node *node;       /* counted */
    struct listing *listing; /* counted; NULL until there is one */
    int64_t open_ns;
    char name[256];
};

/* Numbers for sf_tree_cancel() with this bit are not the cache's. */
#define TREE_CANCEL_XATTR (UINT64_C(1) << 63)

struct sf_tree {
    struct sf_mutex lock; /* order 20; protects all below but what is constant */
    struct action *actions, **actions_tail;
    uint64_t *slots;             /* node id's low half -> node; the free ones: node_at_locked() */
    uint32_t nslots, slots_room; /* places that were ever used, and those there are */
    uint32_t free_slot;          /* first free one + 1; 0 = none */
    uint64_t nodes, looked_up, dirs, open_files, open_dirs;
    unsigned origins; /* that the cache has not dropped */
    uint32_t next_listing;
    uint64_t seq;
    struct node *root;
    struct node *lru_first, *lru_last; /* directories, least recently used first */
    struct action evict;               /* drops unused nodes */
    bool evicting;                     /* that is queued */
    uint64_t evict_at;                 /* not again before there are so many nodes */
    uint64_t forgotten;                /* by the kernel since then */
    struct saved *saved;               /* NULL = nothing is kept between mounts */
    struct ahead *ahead;               /* NULL = nothing is predicted */
    struct node *unsaved_first, *unsaved_last;
    struct sf_file *files; /* open handles */
    struct sf_dir *open_dir_list;
    unsigned sources;              /* of source.h, not given back */
    LIST_HEAD(, xattr_op) wanting; /* operations that can be cancelled by their number */
    uint64_t wanting_serial;
    unsigned background;     /* commits that nobody waits for */
    unsigned patient;        /* and those that go on until they are stored or refused */
    struct sf_cond idle;     /* these, `sources`, `inflight`, `origins`: one is 0; a timer ran */
    _Atomic unsigned acting; /* threads that run actions */
    unsigned inflight;       /* questions to the service under way */
    int64_t quiet_since;     /* of the last answer, or when inflight left 0 */
    bool down;               /* the last question found no service, */
    int down_code;           /* but this, */
    int64_t down_ms;         /* then, */
    unsigned failures;       /* and so often one after the other */
    uint64_t watch;          /* timer of reach.c, 0 = none, */
    int64_t watch_ms;        /* and when it is due */
    int64_t probed_ms;       /* when its own question was last answered */
    struct fetch *fetches;   /* waiting for the service */
    uint64_t fetch_serial;
    bool probing, ending;
    struct action probe;
    int64_t background_ms;         /* last refresh behind a stale answer */
    struct walk *walks;            /* through what is below a directory */
    struct waiter *rename_waiters; /* changes that wait for a directory's rename, or it for them */
    uint32_t *inos;                /* slot + 1 of the nodes with an ino of their own, by its hash */
    uint32_t ino_room, ino_count;
    uint64_t ino_next;
    struct words *words; /* content types and Cache-Control of nodes */
    struct links *links; /* signed ones that were told just now; NULL = none yet */

    /* constant */
    struct sf_tree_opts opts;
    struct sf_http *http;
    struct sf_storage *st;
    struct sf_writer *writer;
    struct sf_tree_notify notify;
    int64_t born_ns;
    uint64_t ino_seed;
    struct attr_gate *gate;
    struct sf_pool *ids; /* goes on with operations that wait for ids; NULL = no providers */
};

/* ---- tree.c, reach.c: lock and actions
 * ------------------------------------------------------------------
 */

void tree_lock(struct sf_tree *t);
/* Unlock, then run what was queued. */
void tree_unlock(struct sf_tree *t);
void tree_queue_locked(struct sf_tree *t, struct action *a, void (*run)(struct action *));
/* Bookkeeping of questions, for `offline`. @answered: some reply came. */
void tree_ask_locked(struct sf_tree *t);
void tree_answer_locked(struct sf_tree *t, const struct sf_err *err);
bool tree_offline_locked(const struct sf_tree *t);
/* What a question would fail with after a long time, if it is known well enough that none would
 * be answered; else 0. */
int tree_away_locked(const struct sf_tree *t);
/* No timer runs afterwards. No lock held. */
void reach_end(struct sf_tree *t);
/* Queue all waiters of a list for resumption with @err; the list is empty afterwards. */
void tree_wake_locked(struct sf_tree *t, struct waiter **list, int err);
int64_t tree_read_deadline(const struct sf_tree *t);

/* ---- kind.c: what an object is, by its content type --------------------------------------------
 */

/* S_IFMT of a node. */
mode_t node_format(const struct node *n);
/* The same of an object of this content type, and the other way round (NULL = none of its own). */
mode_t kind_of_mime(const char *mime);
const char *kind_mime(mode_t format);
/* @n: an N_FILE; @format: as kind_of_mime() says. */
void node_set_format(struct node *n, mode_t format);
/* A file with bytes: neither directory nor symlink nor special. */
bool node_is_regular(const struct node *n);

/* ---- node.c --------------------------------------------------------------------------------- */

bool node_is_dir(const struct node *n);
/* Slots are numbered from 0 to t->nslots; NULL: a free one. */
static inline struct node *
node_at_locked(const struct sf_tree *t, uint32_t slot)
{
    return t->slots[slot] & 1 ? NULL : (struct node *)(uintptr_t)t->slots[slot];
}
/* Is anything below this directory known better here than to the service? */
bool dir_holds_local(const struct node *dir);
/* A file of which more is known here than the service can tell: made, written or being sent. */
bool node_is_local(const struct node *n);
/* Handles keep this node and its staged bytes; the name gets another node, of what is in the
 * bucket. */
void node_split_locked(struct sf_tree *t, struct node *n);
struct node *node_get_locked(struct sf_tree *t, uint64_t nid);
/* A node below @parent (NULL: detached), with one reference less than it needs: none. NULL = no
 * memory or a name that is there already. */
struct node *node_new_locked(struct sf_tree *t, struct node *parent, const char *name,
                             const char *comp, enum node_type type);
struct node *node_find_locked(const struct node *dir, const char *name);
void node_ref_locked(struct node *n);
/* Frees what nobody needs any more. */
void node_unref_locked(struct sf_tree *t, struct node *n);
/* It was changed here: what was asked before does not know it. */
void node_changed_locked(struct sf_tree *t, struct node *n);
/* Take it out of its directory; it lives on for handles and the kernel. */
void node_detach_locked(struct sf_tree *t, struct node *n);
/* Put it below another directory and name (texts that are not its own). 0 or -ENOMEM (then it is
 * detached). */
int node_attach_locked(struct sf_tree *t, struct node *n, struct node *dir, const char *name,
                       const char *comp);
/* Free it if it is detached and unused. */
void node_reap_locked(struct sf_tree *t, struct node *n);
/* Remember that a name is absent (as of @checked_ns, after a change made here if @changed). */
void node_absent_locked(struct sf_tree *t, struct node *dir, const char *name, int64_t checked_ns,
                        bool changed);
struct bucket *node_bucket_locked(const struct node *n);
/* "bucket" and key (directories: with final '/'; a bucket: ""). Owned by the caller. 0, -ENOMEM,
 * -ENAMETOOLONG, -ESTALE (detached without a key). */
int node_key_locked(const struct node *n, char **bucket, char **key);
/* Which rules of names hold in a directory: SF_NAME_AT_ROOT, SF_NAME_BUCKET. */
unsigned node_name_flags(const struct sf_tree *t, const struct node *dir);
/* Component and key of a new name in a directory. -EINVAL, -ENAMETOOLONG, -ESTALE, -ENOMEM. */
int node_child_key_locked(const struct sf_tree *t, const struct node *dir, const char *name,
                          bool directory, char comp[SF_NAME_BUF_SIZE], char **bucket, char **key);
/* Is it @top, or somewhere below it? */
bool node_is_within(const struct node *n, const struct node *top);
/* Are many of its files being removed just now? */
bool dir_is_emptied_locked(const struct node *dir);
/* What listings said of a directory is not all that there is to know of it any more. */
void dir_unlist_locked(struct sf_tree *t, struct node *dir);
/* Drop what is known below a directory that is gone, but for what is in use. */
void dir_clear_locked(struct sf_tree *t, struct node *dir);
void node_touch_lru_locked(struct sf_tree *t, struct node *dir);
void node_evict_locked(struct sf_tree *t);
void node_free_all(struct sf_tree *t);
int node_set_str(char **dst, const char *src);
void bucket_free(struct bucket *b);

/* ---- node-text.c ------------------------------------------------------------------------------
 */

/* The name as it is shown, and the component of the key. Valid until the node gets another name. */
const char *node_name(const struct node *n);
const char *node_comp(const struct node *n);
/* Whether they differ. */
bool node_has_comp(const struct node *n);
/* Room in a node for these texts (@comp: NULL, or another than @name) without further memory. */
size_t node_room(const char *name, const char *comp);
/* 0 or -ENOMEM. */
int node_set_name(struct node *n, const char *name, const char *comp);

#define NODE_ID_SIZE   40 /* as in struct sf_version */
#define NODE_ETAG_SIZE 48
/* "" when it is not known. Valid until it is set again; may be in @buf. */
const char *node_id(const struct node *n, char buf[NODE_ID_SIZE]);
const char *node_etag(const struct node *n, char buf[NODE_ETAG_SIZE]);
bool node_has_id(const struct node *n);
/* The bytes of an id that is a UUID, else NULL. */
const uint8_t *node_uuid(const struct node *n);
bool node_has_etag(const struct node *n);
bool node_etag_is(const struct node *n, const char *etag);
/* The id, the size, and with @etag the ETag, if it fits. */
void node_version_of(const struct node *n, bool etag, struct sf_version *out);
/* @to has the id and the ETag of @n; without memory it has none. */
void node_copy_version(const struct node *n, struct node *to);
/* NULL or "" = not known. Longer ids are cut. 0 or -ENOMEM, then it stays what it was. */
int node_set_id(struct node *n, const char *id);
int node_set_etag(struct node *n, const char *etag);
void node_text_free(struct node *n);
/* Remember a symlink's target; without memory it is asked for again. */
void node_set_link(struct node *n, const char *target);

/* ---- attr.c --------------------------------------------------------------------------------- */

void attr_fill_locked(const struct sf_tree *t, const struct node *n, struct sf_attr *out);
/* NULL without memory. */
struct extra *extra_of(struct node *n);
struct live *live_of(struct node *n);
void extra_free(struct extra *e);
/* Let go of what says nothing any more. */
void live_trim_locked(struct node *n);
/* To be read only. */
static inline const struct live *
live(const struct node *n)
{
    static const struct live none;
    return n->extra && n->extra->live ? n->extra->live : &none;
}
/* To be changed, of a node that has one for certain: a handle, a content, ... */
static inline struct live *
live_rw(const struct node *n)
{
    return n->extra->live;
}
/* A change of content or of a directory's entries now. */
void attr_stamp_locked(struct node *n, bool mtime);
/* What setattr(2) sets, but for the size. 0 or -ENOMEM. */
int attr_set_locked(const struct sf_tree *t, struct node *n, const struct sf_attr *attr,
                    unsigned valid);
/* What was set here of a file's times is no longer so: its bytes are another's. */
void attr_forget_times(struct node *n);
/**
 * attr_row_locked - what a listing says of an object's attributes, and what the journal has to be
 * written to it, but for those set here.
 * @row:  of the object; NULL = it has no marks.
 * @mtime_ns, @updated_ns: the service's own times, which count without a mark; 0: then the times
 *                         stay.
 */
void attr_row_locked(const struct sf_tree *t, struct node *n, const struct sf_list_row *row,
                     int64_t mtime_ns, int64_t updated_ns);
/* Content type and Cache-Control of a file, as the service tells them: in n->mime, n->guessed and
 * n->cache_control comes what is on its way to the object, if the journal has such, else this.
 * @mark: that Cache-Control has. What was set here stays. */
struct type_row {
    const char *bucket, *key; /* NULL = nothing is on its way */
    const struct sf_version *is;
    const struct sf_mark *mark;
    const char *mime, *cache_control;
};
void type_row_locked(const struct sf_tree *t, struct node *n, const struct type_row *row);
/* What the object is to have of both as it was set here, for struct sf_commit_args and
 * sf_attr_change: copies, NULL = nothing. 0 or -ENOMEM. */
int type_said_locked(const struct sf_tree *t, const struct node *n, char **mime,
                     char **cache_control);
/* What was set of a file whose bytes the journal has; NULL = nothing. */
void type_begin_locked(const struct sf_tree *t, struct node *n, const char *mime,
                       const char *cache_control);
/* @to stands for the same file from now on; @from is detached. */
void attr_give_locked(struct sf_tree *t, struct node *from, struct node *to);
/* All that stat(2) shows of a node, for the object. */
void attr_mark_locked(const struct sf_tree *t, const struct node *n, struct sf_mark *out);
/* The same as text; "" with attrs=none. */
void attr_mark_text_locked(const struct sf_tree *t, const struct node *n, char mark[SF_MARK_SIZE]);
/* Does an object of this Cache-Control say of itself what this node says? Another's has no such
 * mark, or another time. */
bool attr_mark_fits_locked(const struct sf_tree *t, const struct node *n,
                           const char *cache_control);
/* The object has what the node had when n->attrs was @attrs. Unless that has changed since,
 * listings are believed again. */
void attr_sent_locked(const struct sf_tree *t, struct node *n, uint32_t attrs);
/* A new node has what such a mark says; it is set here. */
void attr_begin_locked(struct sf_tree *t, struct node *n, const struct sf_mark *m);
/* How much longer what is known of @n may be believed. */
int64_t attr_ttl_locked(const struct sf_tree *t, const struct node *n);
void entry_fill_locked(struct sf_tree *t, struct node *n, struct sf_tree_entry *out);

/* ---- attr-change.c ----------------------------------------------------------------------------
 */

int attr_gate_new(struct sf_tree *t);
/* From now on nobody who comes back with written attributes finds the tree. */
void attr_gate_close(struct sf_tree *t);
/* Whether the bucket has a place for a node's attributes. */
bool attr_lasts(const struct sf_tree *t, const struct node *n);
/* Whether something of it was set that the object is to have, too, and does not have for certain.
 */
bool attr_unsent(const struct sf_tree *t, const struct node *n);
/* Whether an upload will carry them, or one is under way. */
bool attr_travels(const struct node *n);
/* Bucket and key of the object that has a node's attributes: of a directory its marker. As
 * node_key_locked(). */
int attr_object_key_locked(const struct node *n, char **bucket, char **key);
/* To write what the node has now; @cb is called when that is kept, and the node goes back to
 * @before if it cannot be. NULL without memory: it has gone back. */
struct attr_op *attr_op_new_locked(struct sf_tree *t, struct node *n, const struct node *before,
                                   const char *xattrs, sf_tree_fn cb, void *arg);
/* No lock held. */
void attr_op_start(struct sf_tree *t, struct attr_op *op);
/* Whether a node's bytes are acknowledged, and closed, and not in the bucket: so attributes have to
 * be kept with them, for which attr_write() is told @along. It lets go of @n. No lock held. */
bool attr_goes_along_locked(const struct sf_tree *t, const struct node *n);
void attr_write(struct sf_tree *t, struct node *n, struct attr_op *op, bool along);
/* Attributes were changed while an upload ran, which has the old ones. No lock held. */
void attr_again(struct sf_tree *t, struct node *n);
/* setattr(2) but for the size; @n is counted, and let go of. No lock held. */
void attr_change(struct sf_tree *t, struct node *n, const struct sf_attr *attr, unsigned valid,
                 sf_tree_fn cb, void *arg);

/* ---- op-xattr.c -------------------------------------------------------------------------------
 */

/* The object's extended attributes may be others now. */
void xattrs_forget_locked(struct node *n);
/* It is another version now, whatever its extended attributes are. */
void xattr_told_forget_locked(struct node *n);

/* ---- xattr-link.c ----------------------------------------------------------------------------
 */

/* Forget the links; no timer runs afterwards. After reach_end(), no lock held. */
void links_end(struct sf_tree *t);

/* ---- dir-attrs.c ------------------------------------------------------------------------------
 */

/* A listing that was asked for at @start_seq shows the marker of a directory. */
void dir_marker_locked(struct sf_tree *t, struct node *dir, const struct sf_list_row *row,
                       uint64_t start_seq);
bool dir_attrs_known(const struct sf_tree *t, const struct node *n);
/* See to it that the attributes of @n, if it is a directory, are known: 0, also if the service does
 * not tell; -EINPROGRESS, then @w was attached, and it is to be called again; -ENOMEM. */
int dir_attrs_locked(struct sf_tree *t, const struct resolve *r, struct node *n, struct waiter *w);

/* Those who wait for attributes of directories in @parent look again at what is known. */
void dir_attrs_wake_locked(struct sf_tree *t, struct node *parent);
/* Nothing more is to be known of a directory's attributes than what it has. */
void dir_attrs_settled_locked(struct sf_tree *t, struct node *dir);

/* ---- saved.c: all of it does nothing in a tree that keeps nothing ------------------------------
 */

/* What is in @n, or its place in its directory, was or is about to be changed here: what was saved
 * before is not fresh any more, and it is saved again. */
void saved_changed_locked(struct sf_tree *t, struct node *n);
/* The same of all directories. */
void saved_all_changed_locked(struct sf_tree *t);
/* More is known of a directory; it is to be saved some time later. */
void saved_learned_locked(struct sf_tree *t, struct node *dir);
/* The node goes. */
void saved_forget_locked(struct sf_tree *t, struct node *dir);
/* Would what was saved of a directory help? Then true, and @w was attached: it is resumed when it
 * was loaded. @listing: names are wanted, else only its attributes; @any_age: the service does not
 * answer. */
bool saved_want_locked(struct sf_tree *t, struct node *dir, bool listing, bool any_age,
                       struct waiter *w);

/* ---- ino.c ------------------------------------------------------------------------------------
 */

/* A directory's number is a hash of its key when it is first seen: a listing of names tells it. */
void ino_of_dir_locked(struct node *n);
/* A number that no node of this mount has. */
uint64_t ino_choose_locked(struct sf_tree *t);
/* Let @n have this number for its life, unless another node of the tree has it (then, or without
 * memory, it keeps the one it has). */
void ino_claim_locked(struct sf_tree *t, struct node *n, uint64_t ino);
void ino_release_locked(struct sf_tree *t, struct node *n);

/* ---- listing.c, lookup.c, apply.c ---------------------------------------------------------------
 */

/* Start a run (or join the running one) through a directory; @w waits for its next step. */
int listing_start_locked(struct sf_tree *t, struct node *dir, bool want_all, struct waiter *w);
/* Let the listing go on that ended after some pages, if it is young enough for an operation begun
 * at
 * @since_ns; false: begin another. */
bool listing_resume_locked(struct sf_tree *t, struct node *dir, int64_t since_ns);
/* A run of a directory that has none, which nobody asks for yet. 0 or as node_key_locked(). */
int listing_run_locked(struct sf_tree *t, struct node *dir, struct listing **ret);
/* A walk does not serve it any more: it asks for itself, from its beginning. */
void listing_alone_locked(struct sf_tree *t, struct listing *l);
void listing_ref_locked(struct listing *l);
void listing_unref_locked(struct sf_tree *t, struct listing *l);
int listing_append_locked(struct listing *l, struct node *n);
/* A name came into a directory by a change made here: readers and later look-ups see it. */
void listing_added_locked(struct node *dir, struct node *n);
/* A complete and empty listing: of a directory made here. */
int listing_empty_locked(struct sf_tree *t, struct node *dir);
/* One that is put together from what was saved, as of @checked_ns; NULL without memory. At the end
 * it becomes the directory's if it has all names and none better is there; it is let go of. */
struct listing *listing_saved_new_locked(struct sf_tree *t, int64_t checked_ns);
void listing_saved_end_locked(struct sf_tree *t, struct node *dir, struct listing *l, bool whole);
/* Does it prove the absence of this key component? */
bool listing_covers_locked(const struct listing *l, const char *comp);
/* Read the buckets (children of an N_PROJECT). */
void listing_buckets(struct sf_tree *t, struct listing *l);
/* A list of the buckets, of a question asked at @start_ns, is what is known of the project. */
void listing_of_buckets_locked(struct sf_tree *t, const struct sf_bucket_row *rows, size_t n,
                               int64_t start_ns);
void listing_finish_locked(struct sf_tree *t, struct listing *l, int err, bool complete);

/* walk.c: does a bulk listing serve this run, which has just been made? */
bool walk_takes_locked(struct sf_tree *t, struct listing *l);
/* Will one pass this directory? */
bool walk_comes_locked(const struct sf_tree *t, const struct node *dir);
/* Somebody waits for a run that a walk serves. */
void walk_joined_locked(struct listing *l);
/* Somebody reads a directory whose listing is known. */
void walk_followed_locked(struct sf_tree *t, const struct node *dir);
void walk_end_all_locked(struct sf_tree *t);

int lookup_start_locked(struct sf_tree *t, struct node *dir, const char *name, struct waiter *w);

/* What a row says goes into the nodes. Returns the child, or NULL when nothing is to be shown. */
struct node *apply_object_locked(struct sf_tree *t, struct node *dir, const char *comp,
                                 size_t comp_len, const struct sf_list_row *row, uint64_t start_seq,
                                 int64_t start_ns, uint32_t listing_id);
struct node *apply_folder_locked(struct sf_tree *t, struct node *dir, const char *comp,
                                 size_t comp_len, uint64_t start_seq, int64_t start_ns,
                                 uint32_t listing_id);
struct node *apply_bucket_locked(struct sf_tree *t, struct node *root,
                                 const struct sf_bucket_row *row, uint64_t start_seq,
                                 int64_t start_ns);
/* A rename done here left this version behind: the node's own, or what another wrote on the way.
 * @copied: the object is another one than before, in place of what was there. */
void apply_moved_locked(struct sf_tree *t, struct node *n, const struct sf_version *now,
                        bool copied);
/* What a question at @asked_ns told of a bucket. 0 or -ENOMEM. */
int bucket_set(struct bucket *b, const struct sf_bucket_row *row, int64_t asked_ns);
/* Were token and bucket seen to be good lately? NULL = no. */
bool bucket_verified(const struct bucket *b);
/* What a look at token and bucket said: 0 good (remembered), -ENOENT gone, or why it is not known.
 * A bucket that this role was never shown counts as good: its lists are all there is to know. */
int bucket_verdict_locked(struct bucket *b, const struct sf_err *err);
/* Give an N_BUCKET node its bucket. */
int bucket_ensure(struct node *n, const char *id);
/* Tell the kernel if stat(2) shows something else of @n than @before. */
void apply_attrs_told_locked(struct sf_tree *t, const struct node *n, const struct sf_attr *before);
/* A name turned out to be gone at the service. */
void apply_gone_locked(struct sf_tree *t, struct node *n, int64_t checked_ns);
/* A name that was said to be gone is not: it is asked for again. */
void apply_refused_locked(struct sf_tree *t, struct node *absent);
/* Give an object that is shown beside a directory of its name the plain name, if that is free. */
void apply_unclash_locked(struct sf_tree *t, struct node *n);

/* ---- page.c -----------------------------------------------------------------------------------
 */

void pages_free(struct pages *p);
/* All names behind @after and up to @last (NULL = to the end), both below the directory, are known
 * as of @start_ns: the nodes of @rows rows. @run: the listing that they are of; 0 = none. */
void pages_note_locked(struct node *dir, const char *after, const char *last, size_t rows,
                       int64_t start_ns, uint32_t run);
/* What the pages of this listing did not show is gone, too. */
void pages_swept_locked(struct node *dir, uint32_t run);
/* When the page was asked for that tells all of a key component; 0 = there is none. */
int64_t pages_asked_ns(const struct node *dir, const char *comp);
/* Names of it were dropped: their absence proves nothing any more. */
void pages_forget_locked(struct node *dir);
/* Those who wait for one look again at what is known. */
void pages_wake_locked(struct sf_tree *t, struct node *dir);
/* A name was answered from what is known. */
void pages_hit_locked(const struct node *dir);
/* Ask for the page around a key component, or join the question (if its answer is young enough for
 * an operation begun at @since_ns), and let @w wait for it. false: it is not worth it, or there is
 * no memory; ask for the name alone. The page may turn out to end before it. */
bool page_ask_locked(struct sf_tree *t, struct node *dir, const char *comp, int64_t since_ns,
                     struct waiter *w);

/* ---- resolve.c ------------------------------------------------------------------------------ */

/* When a name was last known to be absent. */
int64_t resolve_absent_ns(const struct sf_tree *t, const struct node *dir, const char *name);
/* Whether knowledge from @checked_ns is good enough for an operation begun at @since_ns. */
bool fresh_locked(const struct sf_tree *t, int64_t checked_ns, int64_t since_ns);

struct resolve {
    int64_t since_ns; /* when the operation began */
    unsigned rounds;  /* how often it waited */
    int err;          /* of the last wait */
};

/* What is behind a name as far as it is known well enough: 1 and *ret, 0 absent, -EAGAIN, -ENOTDIR,
 * -ENOENT (the directory is gone). */
int resolve_known_locked(struct sf_tree *t, int64_t since_ns, struct node *dir, const char *name,
                         struct node **ret);
/**
 * resolve_locked - what is behind a name.
 * Returns 1 and *ret; 0 the name is known to be absent; -EINPROGRESS: @w was attached and is
 * resumed later, then call again; or -errno. A service that does not answer means: what is
 * known is given, else the error.
 */
int resolve_locked(struct sf_tree *t, struct resolve *r, struct node *dir, const char *name,
                   struct waiter *w, struct node **ret);
/* The same for a node whose attributes are to be right: 0, -EINPROGRESS, -ESTALE, -errno. */
int revalidate_locked(struct sf_tree *t, struct resolve *r, struct node *n, struct waiter *w);

/* ---- commit.c ----------------------------------------------------------------------------------
 */

typedef void (*commit_fn)(void *arg, int err);
/* Upload the node's content; cb may be NULL (then a failure ends in quarantine). No lock held. */
void commit_start(struct sf_tree *t, struct node *n, commit_fn cb, void *arg);
/* Acknowledge the node's bytes: @cb when the journal has them, or, if that cannot be, the bucket.
 * They are uploaded behind. */
enum commit_keep {
    KEEP_CLOSE,  /* waits for room */
    KEEP_BEHIND, /* nobody waits for it, and it waits for nothing; cb may be NULL */
    KEEP_ATTRS,  /* only attributes are new: -EBUSY when the upload has begun, or there is none */
};
void commit_keep(struct sf_tree *t, struct node *n, enum commit_keep how, commit_fn cb, void *arg);
/* See to it that the bytes get to the bucket in the end. @later: it has just been tried. */
void commit_patient(struct sf_tree *t, struct node *n, bool later);
/* pending.c: show what the journal had at the start. */
void pending_show(struct sf_tree *t);
/* op-remove.c: a name whose removal an earlier process has acknowledged is hidden until it is
 * settled. Returns what unlink_settled() gets then; NULL: the name is what it is. */
void *unlink_earlier_locked(struct sf_tree *t, struct node *dir, const char *name);
void unlink_settled(void *hidden, const struct sf_err *err);
/* The same after the last writer; takes a reference to the node and a place in t->background. */
void commit_behind(struct sf_tree *t, struct node *n);
/* A copy of a bucket's list, which may change while an upload or rename runs. NULL stays NULL. */
int mimes_copy(char *const *src, char ***dst);
void mimes_free(char **mimes);
/* Keep the bytes in quarantine; the path shows the bucket's version again. No lock held. */
void commit_give_up(struct sf_tree *t, struct node *n, const struct sf_err *why);
/* The staged bytes go when nobody uses them and nothing is dirty. */
void content_drop_locked(struct sf_tree *t, struct node *n);
/* Let @c, which it takes, be the bytes of a node that has none. 0, or -ENOMEM and @c stays. */
int content_put_locked(struct node *n, struct sf_content **c);
/* A write, or a success: the last commit's failure is over. */
void content_failure_clear_locked(struct node *n);
/* Take the content out of a node; the caller unrefs it. */
struct sf_content *content_take_locked(struct node *n);

/* ---- fetch.c -------------------------------------------------------------------------------- */

/* What a node's bytes come from, and the cache's stream of one handle. Counted. No lock held; 0 or
 * -ENOMEM. */
int origin_new(struct sf_tree *t, struct node *n, struct origin **ret);
void origin_ref_locked(struct origin *o);
void origin_unref_locked(struct sf_tree *t, struct origin *o); /* NULL is allowed */
/* Is it of a version that others have not replaced? */
bool origin_of_locked(const struct origin *o, const struct node *n);
/* And not been changed here, either? */
bool origin_fits_locked(const struct origin *o, const struct node *n);
struct sf_stream *origin_stream(const struct origin *o);
/* Was a request made for it, or begun? */
bool origin_fetched_locked(const struct origin *o);
/* Nobody would answer those that wait: they fail with @away. */
void fetches_give_up_locked(struct sf_tree *t, int away);
/* The bytes of the version that a node stands for have this id and ETag, too, for certain. */
void origin_same_locked(struct sf_tree *t, const struct node *n, const char *id, const char *etag);
/* A file's bytes in the cache, counted; NULL = they have no name there. No lock held. */
struct sf_cached *cached_of_node(struct sf_tree *t, struct node *n);

/* ---- ahead.c -------------------------------------------------------------------------------- */

int ahead_new(struct sf_tree *t);
/* Nothing more is begun. */
void ahead_stop_locked(struct sf_tree *t);
void ahead_free(struct sf_tree *t);
/* A file is opened for reading; what was opened has to be fetched, from its beginning. */
void ahead_opened_locked(struct sf_tree *t, struct node *n);
void ahead_missed_locked(struct sf_tree *t, struct node *n);

/* ---- op-file.c, content.c
 * ------------------------------------------------------------------------ */

struct sf_file *file_new_locked(struct sf_tree *t, struct node *n, int flags);
void file_ref_locked(struct sf_file *f);
void file_unref_locked(struct sf_tree *t, struct sf_file *f);
/* Bytes were changed with it. */
void file_wrote_locked(struct sf_file *f);
/* Has a FLUSH sent or kept all that was changed with it, also by its mapped pages? */
bool file_is_done_locked(const struct sf_file *f);
/* It has got bytes, or may have them from the kernel's pages. */
void file_got_locked(struct sf_file *f);
/* An empty content for a node, not yet installed. No lock held. */
int content_make(struct sf_tree *t, struct node *n, struct sf_content **ret);
/* What a content needs that begins with a node's object, copied. 0 or -errno; to be given back in
 * either case. */
struct content_begin {
    char *bucket, *key, *etag;
    struct sf_source src;
};
int content_begin_locked(const struct node *n, struct content_begin *b);
void content_begin_fini(struct content_begin *b);
/* The node's bytes as a content, counted: the one that it has, or a new one that begins with the
 * object. Nothing is fetched. 0 or -errno. No lock held. */
int content_need(struct sf_tree *t, struct node *n, struct sf_content **ret);
/* Before the object is removed or replaced here: whoever has it open keeps this version, as far as
 * the disk has room for it (else reads are ESTALE). The writer fetches it. No lock held. */
void content_keep_version(struct sf_tree *t, struct node *n);

#endif
