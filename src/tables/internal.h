/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TABLES_INTERNAL_H
#define SF_TABLES_INTERNAL_H

#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/htab.h"
#include "base/lock.h"
#include "store/env.h"
#include "supabase/dir-facts.h"
#include "tables/tables.h"

/* Internal to src/tables. The environment's tables are described in docs/formats/tables.md. */
enum table {
    T_FILES,    /* name -> fact */
    T_HASHES,   /* digest and name -> name */
    T_ACCESSES, /* id -> count and time */
    T_READS,    /* time -> operation that only read */
    T_OPS,      /* time -> other operation */
    T_CHANGES,  /* time -> change of a fact */
    T_UNSENT,   /* id -> count and time that the database does not have */
    T_BATCH,    /* "batch" -> what is being sent */
    T_COUNT,
};

#define ID_LEN 36

/* An access count, on disk and in memory. */
struct count {
    uint64_t n;
    int64_t last_ns;
};

struct access {
    unsigned char raw[16]; /* the same as id */
    char id[ID_LEN + 1];
    struct count c;
    UT_hash_handle hh;
};

/* An object as the database has it, for a while. Counted. */
struct known {
    UT_hash_handle hh;
    unsigned refs;     /* under the tables' lock */
    int64_t asked_ns;  /* when the database was asked, */
    uint64_t stamp;    /* by whom, */
    uint64_t accepted; /* and how many batches it had then, at least */
    size_t name_len, bytes;
    struct sf_dir_fact fact; /* texts are in the name's tail */
    char name[];             /* bucket, NUL, key, NUL */
};

/* A directory of which objects are asked for. */
struct asked_dir {
    uint64_t hash; /* of bucket and prefix */
    int64_t last_ms;
    unsigned objects, pages, hits; /* shortly one after the other */
};
#define ASKED_DIRS 16

struct page_ask;

/* What the database said of objects; object.c */
struct objects {
    struct known *known; /* the oldest first */
    size_t bytes;        /* in it */
    struct page_ask *asks;
    struct asked_dir dirs[ASKED_DIRS];
};

struct sf_tables {
    struct sf_env *env;
    struct sf_storage *st;
    struct sf_tables_peer peer;
    struct sf_tables_opts opts;
    char host[80];
    pthread_t thread;

    /* On the environment's thread only. */
    uint64_t last_key; /* of a row in the queue */

    _Atomic uint64_t in_flight; /* notes given to the environment, not yet written */
    _Atomic int64_t queued;
    _Atomic uint64_t dropped;
    uint64_t salt; /* of the table of accesses: who chooses ids cannot make it slow */

    struct sf_mutex lock; /* leaf; protects the fields below */
    struct sf_cond wake, idle;
    bool stopping;
    bool noted;               /* since the thread last looked */
    int64_t drain_ms;         /* 0 = not draining */
    bool drained;             /* as far as it goes */
    struct access *accessed;  /* not yet in the environment */
    struct sf_tables_stats s; /* without what others count */
    struct objects objects;
    unsigned asking;      /* questions to the database under way */
    int64_t ask_after_ms; /* one has failed: no other one before */
    uint64_t accepted;    /* counts how often the database got more */
};

/* ---- row.c ----------------------------------------------------------------------------------- */

/* A key of T_FILES, or behind @prefix bytes of one of T_HASHES. */
struct name_key {
    unsigned char b[SF_ENV_KEY_MAX];
    size_t len;
};
void name_key(const char *bucket, const char *key, const void *prefix, size_t prefix_len,
              struct name_key *out);

/* A fact as supafs_record() takes it. NULL: no memory, or text that is not UTF-8. */
json_t *fact_json(const struct sf_file_fact *f);
/* Compact text, or NULL; @takes the object. */
char *json_text(json_t *obj);
/* The fact of a row, or NULL when it is damaged. */
json_t *row_parse(const void *text, size_t len);
/* A member, "" when there is none. */
const char *text_of(const json_t *obj, const char *name);

/* 8 bytes in the order of numbers. */
void time_key(uint64_t n, unsigned char out[8]);
uint64_t time_of_key(const void *key, size_t len);

/* ---- note.c ---------------------------------------------------------------------------------- */

/* A row of the queue, on the environment's thread. */
int queue_put(struct sf_tables *t, struct sf_txn *txn, enum table table, const char *text);

/* ---- access.c -------------------------------------------------------------------------------- */

/* What was counted in memory goes to the environment. On the tables' thread; waits. */
void access_flush(struct sf_tables *t);
/* Of an object, what has not got there yet is added. For certain on the environment's thread; else
 * some may be on its way. */
void access_counted(struct sf_tables *t, const char *id, struct count *c);

/* ---- fact.c ---------------------------------------------------------------------------------- */

/* A fact as it is told; without accesses. 0 or -ENOMEM. */
int fact_row(const json_t *fact, struct sf_tables_row *out);

/* ---- object.c ------------------------------------------------------------------------------- */

/* Something was done with an object here: what the database said of it before is no more so. */
void objects_changed(struct sf_tables *t, const char *bucket, const char *key);
void objects_free(struct sf_tables *t);
/* NULL is allowed. */
void known_unref(struct sf_tables *t, struct known *k);

/* @k: NULL with @rc; else one reference more, the callee's. */
typedef void (*known_fn)(void *arg, int rc, struct known *k);
/**
 * object_ask - what the database has of an object: as of sf_tables_object(), or by a question for
 * it alone.
 * @recent: it must have what the database has got by now.
 * false: the database is not to be asked, or there is no memory.
 */
struct object_args {
    const char *bucket, *key;
    uint64_t stamp;
    int64_t deadline_ms, max_age_ms;
    bool alone, recent;
};
bool object_ask(struct sf_tables *t, const struct object_args *args, known_fn cb, void *arg);

/* ---- batch.c --------------------------------------------------------------------------------- */

#define BATCH_KEY "batch" /* of the one row in T_BATCH */

struct batch {
    char id[37];
    uint64_t hi; /* all rows up to this one */
    size_t rows; /* in it */
    size_t accesses;
    struct sf_buf json; /* the arguments of supafs_record() */
};
/* The batch that was begun, or a new one of at most @limit rows of each table. 0; -ENOENT there is
 * nothing to send; else the environment's error. */
int batch_take(struct sf_tables *t, size_t limit, struct batch *out);
void batch_fini(struct batch *b);
/* The database has it, or refuses it for good: its rows go. */
int batch_done(struct sf_tables *t, const struct batch *b);
/* It was refused, and parts of it may not be: another one is made. */
int batch_undo(struct sf_tables *t, const struct batch *b);
/* Make room, in the order in which things are worth less; until what is used is below @bytes. */
void queue_shrink(struct sf_tables *t, uint64_t bytes);
/* Rows that are there at the start, and the last key. */
int queue_count(struct sf_tables *t);
/* The time of the oldest row; 0 = none. */
int64_t queue_oldest(struct sf_tables *t);

/* ---- peer.c ---------------------------------------------------------------------------------- */

/* The project itself. */
void peer_of_project(struct sf_storage *st, struct sf_tables_peer *out);

#endif
