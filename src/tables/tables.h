/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TABLES_TABLES_H
#define SF_TABLES_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "supabase/dir-facts.h"

/*
 * The project's own tables (contrib/sql): what is known of a file beyond its bytes, and what was
 * done here. Nothing else of the mount depends on them. What happens is noted in an environment
 * below the state directory (docs/formats/tables.md), from where a thread sends it behind: one
 * request for many, at most once a second, in the order in which it happened, each exactly once.
 * Where the project has no such tables, or does not answer, it waits there, within a bound.
 *
 * Everywhere a NULL for the tables is allowed (tables=off): then nothing happens, and nothing is
 * known. Thread-safe. What notes something takes no lock but a leaf, and never waits.
 */
struct sf_storage;
struct sf_tables;

/* Who talks to the database; for tests another than the project. The first two wait, on the thread
 * of the tables, and return 0 or the error. */
struct sf_tables_peer {
    /* The function supafs_record(): @json is the object of its arguments. *recorded: false: the
     * database had this batch already. */
    int (*record)(void *arg, const char *json, size_t len, int64_t deadline_ms, bool *recorded,
                  struct sf_err *err);
    /* The function supafs_about(): which version of the tables is there. */
    int (*about)(void *arg, int64_t deadline_ms, unsigned *version, struct sf_err *err);
    /* The function supafs_list_dir(). @cb runs once, not before this returns. */
    void (*facts)(void *arg, const struct sf_dir_facts_args *args, int64_t deadline_ms,
                  sf_dir_facts_fn cb, void *cb_arg);
    void *arg;
};

struct sf_tables_opts {
    const char *state_dir;              /* existing; the environment is "tables" below it */
    uint64_t max_bytes;                 /* of it; 0 = 256 MiB */
    int64_t interval_ms;                /* between two requests at least; 0 = 1000 */
    int64_t retry_min_ms, retry_max_ms; /* after one that failed; 0 = 1000 and 300000 */
    const struct sf_tables_peer *peer;  /* NULL = the project; copied */
};

/**
 * sf_tables_new - open what the last mount left, and begin to send it. A database that is none is
 * put aside (tables.damaged), and another one begun.
 * @st: borrowed until sf_tables_free().
 * Returns 0, -ENOMEM, or what is wrong with the directory.
 */
int sf_tables_new(const struct sf_tables_opts *opts, struct sf_storage *st, struct sf_tables **ret,
                  struct sf_err *err);
/* What is noted by now is sent without pauses, unless the database does not take it just now. Waits
 * until @deadline_ms at most; what is left is for the next mount. */
void sf_tables_drain(struct sf_tables *t, int64_t deadline_ms);
/* For who asks about what was noted just now: waits until it is on the disk, and as long as the
 * database takes it until it is there, too, but not beyond @deadline_ms. */
void sf_tables_settle(struct sf_tables *t, int64_t deadline_ms);
/* A request under way has ended, or does so soon (sf_http_close()); nobody notes anything any more.
 */
void sf_tables_free(struct sf_tables *t);

/* ---- what happens ---------------------------------------------------------------------------- */

/* A version of an object; what is not known is NULL or "". Borrowed for the call. */
struct sf_file_fact {
    const char *bucket, *key;
    const char *id, *version, *etag, *mime;
    const char *sha256; /* hex */
    uint64_t size;      /* bytes */
    int64_t at_ns;      /* wall clock; 0 = now */
};

enum sf_op_kind {
    SF_OP_UPLOAD,
    SF_OP_DOWNLOAD,
    SF_OP_COPY,
    SF_OP_MOVE,
    SF_OP_DELETE,
    SF_OP_ATTRIBUTES,
};

/**
 * sf_tables_note - something was done, or refused for good.
 * @f:     the object; of a copy or move the source, of which only bucket and key count if no more
 * is known.
 * @to:    what a copy or a move made; else NULL.
 * @bytes: that were sent or fetched.
 * @ms:    how long it took.
 * @error: 0 or -errno.
 */
void sf_tables_note(struct sf_tables *t, enum sf_op_kind kind, const struct sf_file_fact *f,
                    const struct sf_file_fact *to, uint64_t bytes, int64_t ms, int error);
/* Somebody opened the object to read it. @id: the bytes of its UUID. */
void sf_tables_accessed(struct sf_tables *t, const unsigned char id[16], int64_t at_ns);
/* @tags: NULL-terminated. Of an object that is not known here yet the rest of @f is taken, too. */
void sf_tables_set_tags(struct sf_tables *t, const struct sf_file_fact *f, const char *const *tags);

/* A file that the project does not have yet is called otherwise: its tags go along. */
void sf_tables_renamed(struct sf_tables *t, const struct sf_file_fact *f,
                       const struct sf_file_fact *to);

/* ---- what is known here ---------------------------------------------------------------------- */

struct sf_tables_row {
    char id[40], version[40],
        etag[136];   /* "" = not known; the hash counts for this version alone */
    char sha256[65]; /* hex; "" = not known */
    char **tags;     /* NULL-terminated; NULL = none */
    uint64_t size;
    uint64_t accesses;      /* made here */
    int64_t last_access_ns; /* 0 = never */
};
void sf_tables_row_fini(struct sf_tables_row *row);

/* 0, -ENOENT nothing is known of it, -ENOMEM, or as of sf_env_get(). Reads the local disk. */
int sf_tables_fact(struct sf_tables *t, const char *bucket, const char *key,
                   struct sf_tables_row *out);
/* How often an object was opened here to be read, and when last; 0 and 0 when never. */
void sf_tables_accesses(struct sf_tables *t, const char *id, uint64_t *n, int64_t *last_ns);

/* A result other than 0 ends the walk. Strings are borrowed for the call. */
typedef int (*sf_tables_name_fn)(void *arg, const char *bucket, const char *key);
/* The objects that had these bytes when they were written here. Returns the last result, or as
 * sf_env_walk(). @sha256: 64 hex digits, else -EINVAL. */
int sf_tables_by_hash(struct sf_tables *t, const char *sha256, sf_tables_name_fn fn, void *arg);

/* ---- what the database knows -----------------------------------------------------------------
 */

/*
 * Asked only while the tables are there; for a while after a question that failed nobody asks. Who
 * asks for a third object of a directory within two seconds gets it from a page of up to 1,000 rows
 * around its name, which then answers for the others. What is noted of an object here drops what
 * the database said of it before.
 */

/* @row: borrowed for the call; NULL with @rc. */
typedef void (*sf_tables_ask_fn)(void *arg, int rc, const struct sf_tables_row *row);
/**
 * sf_tables_ask - all that is known of an object, in the tables and here.
 * @id:          of the object as it is known; another one in the answer makes it -ENOENT. NULL or
 *               "": the object that is there.
 * @deadline_ms: of the question. A database that fails or is not there by then means: what is known
 *               here.
 * @max_age_ms:  what it said so long ago may be the answer.
 *
 * The row has the database's version, ETag and size of the object, and its hash for that very
 * version, where it knows them; its tags, or those set here that it does not have yet; its accesses
 * and those made here that it does not have yet, which for a moment may be counted twice, while
 * they are on their way.
 *
 * @cb: once, with 0; -ENOENT nothing is known of it (also for NULL tables); -ENOMEM, or as of
 * sf_env_get(). It runs on another thread, holding no lock, must not wait, and has run when
 * sf_tables_free() returns; for NULL tables and without memory it runs at once. What was noted
 * before the call is in the answer.
 */
void sf_tables_ask(struct sf_tables *t, const char *bucket, const char *key, const char *id,
                   int64_t deadline_ms, int64_t max_age_ms, sf_tables_ask_fn cb, void *arg);

/* @stamp: what who asked the database gave then, at @asked_ns (sf_clock_ns()). @row: borrowed for
 * the call; NULL with @rc. */
typedef void (*sf_tables_object_fn)(void *arg, int rc, const struct sf_dir_fact *row,
                                    uint64_t stamp, int64_t asked_ns);
/**
 * sf_tables_object - an object as the database has it, if that costs less than asking for it alone.
 * @stamp: comes back with all that this question brings, also to others.
 *
 * Returns false, and @cb does not run, when it is not worth it: the tables are not there, or no
 * others of its directory are asked for. Else @cb runs once, perhaps before this returns, or on the
 * event thread or that of the tables: 0; -ENOENT there was no such object; an error, after which
 * the caller asks for it alone.
 */
bool sf_tables_object(struct sf_tables *t, const char *bucket, const char *key, uint64_t stamp,
                      int64_t deadline_ms, int64_t max_age_ms, sf_tables_object_fn cb, void *arg);

/* ---- how it goes ----------------------------------------------------------------------------- */

enum sf_tables_state {
    SF_TABLES_OFF,
    SF_TABLES_WAITING, /* nothing was sent yet */
    SF_TABLES_ON,
    SF_TABLES_MISSING, /* the project has no such tables */
    SF_TABLES_DENIED,
    SF_TABLES_UNREACHABLE,
};
/* "off", "waiting", "on", "missing", "denied", "unreachable". */
const char *sf_tables_state_name(enum sf_tables_state state);

struct sf_tables_stats {
    enum sf_tables_state state;
    unsigned version;  /* of the project's tables; 0 = not known */
    uint64_t queued;   /* rows that the database does not have, and what is still to be written */
    int64_t oldest_ns; /* of these, wall clock; 0 = none */
    uint64_t sent;     /* rows that it has got since the start */
    uint64_t repeated; /* batches that it had already: their replies had been lost */
    uint64_t requests; /* since the start */
    uint64_t dropped;  /* rows given up for the bound, or refused for good */
    uint64_t bytes, max_bytes;
    int64_t next_ms;      /* when it is tried again (sf_clock_ms()); 0 = it does not wait */
    char last_error[240]; /* of the last request that failed; "" = none so far */
};
void sf_tables_stats(struct sf_tables *t, struct sf_tables_stats *out);

#endif
