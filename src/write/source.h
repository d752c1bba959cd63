/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_SOURCE_H
#define SF_WRITE_SOURCE_H

#include "supabase/storage.h"
#include "write/op.h"

/*
 * Internal to src/write: the version of an object that a content's missing bytes come from. All of
 * them are in the writer's list, so that a change which destroys or moves that version finds who
 * still needs it. The writer's lock protects every field.
 */
struct sf_content;
struct sf_source;
struct sf_writer;

struct sf_base {
    struct sf_base *prev, *next;
    struct sf_writer *w;
    struct sf_content *c; /* whose it is; not counted */
    char *bucket, *key;
    struct sf_version v;         /* no ETag: has to be looked at first */
    char md5_etag[36];           /* "" or what an ETag that is an MD5 has to be */
    bool looking;                /* somebody does */
    unsigned moves;              /* counts changes of its name */
    unsigned gen;                /* counts versions: bytes fetched of another one are not used */
    char former[SF_FORMER_SIZE]; /* what these uploads have made of it has the missing bytes, too */
    struct sf_version left;      /* that of the latest of them, as far as that is known */
    int lost;                    /* -ESTALE: there is no such version any more */
};

/* A change of an object's name under way: what is asked for may be at either. */
struct sf_hold {
    struct sf_hold *prev, *next; /* of the writer's, under its lock */
    char *bucket, *key;
};

/* 0 or -ENOMEM. */
int sf_base_new(struct sf_content *c, const struct sf_source *src, struct sf_base **ret);
void sf_base_free(struct sf_base *b); /* may be NULL */
/* Another object or version; what is being fetched of the old one is not used. 0 or -ENOMEM. */
int sf_base_set(struct sf_base *b, const struct sf_source *src);
/* The same object, of which this is the version. */
void sf_base_renew(struct sf_base *b, const struct sf_version *v);
/* Uploads of the content's own earlier states may have replaced the version: as in a record. */
void sf_base_replaced_by(struct sf_base *b, const char *former, const struct sf_version *left);
/* An owned copy of what it is now. 0 or -ENOMEM. */
int sf_base_get(struct sf_base *b, char **bucket, char **key, struct sf_version *v);
unsigned sf_base_gen(struct sf_base *b);
uint64_t sf_base_size(struct sf_base *b);
bool sf_base_is(struct sf_base *b, const char *bucket, const char *key);

/**
 * sf_base_fetch - read a range of the version; waits; on a fetching thread.
 * @gen: of what the bytes are; when it is not that of the version any more they are of no account.
 * Returns 0; -ESTALE there is no such version any more, which is remembered; -EIO; what the service
 * answered.
 */
int sf_base_fetch(struct sf_base *b, char *buf, uint64_t off, size_t len, int64_t deadline_ms,
                  unsigned *gen, struct sf_err *err);

#endif
