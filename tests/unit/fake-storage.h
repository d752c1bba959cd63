/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_FAKE_STORAGE_H
#define SF_TESTS_FAKE_STORAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A Storage service in memory in place of supabase/storage.h, as far as src/write uses it, with
 * threads, gates and faults. One bucket "b" exists at the start; every other name is refused.
 */
enum fake_op {
    FAKE_INFO,
    FAKE_PUT,
    FAKE_DELETE,
    FAKE_MOVE,
    FAKE_COPY,
    FAKE_LIST,
    FAKE_BUCKET_CREATE,
    FAKE_BUCKET_DELETE,
    FAKE_BUCKET_GET,
    FAKE_GET,
    FAKE_TUS_CREATE,
    FAKE_TUS_OFFSET,
    FAKE_TUS_SEND,
    FAKE_SET_ATTRS,
    FAKE_OPS
};

#define FAKE_PAGE 10 /* rows of a page of a listing */

enum fake_fault {
    FAKE_LOST_AFTER,  /* done, but no reply */
    FAKE_LOST_BEFORE, /* not done, and nobody knows */
    FAKE_REFUSED,     /* not done, and said so */
};

struct fake_object {
    char bucket[32], key[200];
    char *data;
    size_t len;
    char mime[64], cache_control[256];
    char *metadata;
    char id[37];
    unsigned version;
    char etag[40];
    int64_t updated_ns;
};

void fake_start(void);
void fake_stop(void);

void fake_bucket(const char *bucket, uint64_t size_limit);
struct fake_object *fake_set(const char *bucket, const char *key, const char *text);
struct fake_object *fake_set_bytes(const char *bucket, const char *key, const void *data,
                                   size_t len);
/* Properties of an object that was set; NULL = as it is. */
void fake_describe(struct fake_object *o, const char *mime, const char *cache_control,
                   const char *metadata);
/* NULL when there is none; valid until it is changed. */
const struct fake_object *fake_find(const char *bucket, const char *key);
bool fake_has(const char *bucket, const char *key, const char *text);
void fake_remove(const char *bucket, const char *key);
bool fake_has_bucket(const char *bucket);
void fake_function(bool on);             /* supafs_set_attrs is installed */
void fake_request_limit(uint64_t bytes); /* of one body; 0 = none */
void fake_forget_tus(void);      /* all uploads under way are gone, and the count below is 0 */
uint64_t fake_tus_bytes(void);   /* taken by resumable uploads so far */
void fake_opaque_etags(bool on); /* a new one at every change, as some backends give */

/* The next @n requests of a kind fail so; faults of one kind are used in the order given. */
void fake_fault(enum fake_op op, unsigned n, enum fake_fault fault, int code);
/* Until it is called with "": every put to this key fails with @code, and its outcome is open; "*":
 * to any key, and no info is given. */
void fake_fail_key(const char *key, int code);
/* Run when the next request of this kind has been done, before its answer: somebody else acts. */
void fake_meanwhile(enum fake_op op, void (*fn)(void));

/* A policy forbids to remove this key ("" = none), which looks as if it were not there. */
void fake_protect(const char *key);
/* The next copy stores other bytes than those of its source. */
void fake_spoil_copy(void);

/* Requests of a kind stop at a gate before they are done. */
void fake_close(enum fake_op op);
void fake_open(enum fake_op op);
void fake_wait_at_gate(enum fake_op op, unsigned n);

unsigned fake_count(enum fake_op op); /* begun so far */
uint64_t fake_got(void);              /* bytes given out by GET */
unsigned fake_peak(enum fake_op op);  /* most at the same time */
const char *fake_order(void);         /* "put b/a;move b/a b/c;": what changes something, as
                                         it was done; valid until the next call */

#endif
