/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_FETCH_H
#define SF_WRITE_FETCH_H

#include "base/lock.h"
#include "supabase/storage.h"
#include "write/content.h"

/*
 * Internal to src/write: getting a content's missing bytes, in pieces of up to 1 MiB, each fetched
 * once however many want it, at most SF_FETCHES at a time for all contents, on threads of their own
 * (the writer's workers wait for them).
 */
struct sf_content;
struct sf_writer;

#define SF_FETCHES 16

/* A request that can be ended from outside. */
struct sf_get {
    struct sf_get *prev, *next; /* of those under way; the writer's lock protects all but buf */
    char *buf;
    uint64_t id; /* 0 = not known yet */
    bool done;
    struct sf_err err;
    size_t len;
    struct sf_cond cond;
};

/* Read a range of this version into g->buf; waits. */
int sf_get_run(struct sf_writer *w, struct sf_get *g, const char *bucket, const char *key,
               const struct sf_version *v, uint64_t off, size_t len, int64_t deadline_ms,
               struct sf_err *err);

/* Somebody who needs the bytes of a range; embedded in what it is for. */
struct sf_want {
    struct sf_content *c;        /* counted by the owner until done() has run */
    enum sf_content_stage which; /* of its files */
    uint64_t off, end;           /* bytes */
    int64_t deadline_ms;         /* INT64_MAX: the writer's */
    /* Runs once, holding no lock: on a fetching thread, or before sf_want_start() returns. */
    void (*done)(struct sf_want *want, const struct sf_err *err);

    /* its own; the content's lock protects them */
    struct sf_err err;
    uint64_t next;     /* up to here it has been asked for */
    unsigned inflight; /* pieces that it waits for */
    unsigned turns;
};
void sf_want_start(struct sf_want *want);

/* Get all that the content lacks, of its present file and of the one that an upload reads. Waits;
 * not on a fetching thread. */
int sf_fill_wait(struct sf_content *c, int64_t deadline_ms, struct sf_err *err);
/* The same for the second of them alone. */
int sf_fill_sent_wait(struct sf_content *c, int64_t deadline_ms, struct sf_err *err);

int sf_fetch_init(struct sf_writer *w);
/* End all that are under way; for sf_writer_free(), which has set `stopping`. */
void sf_fetch_cancel_all(struct sf_writer *w);
void sf_fetch_fini(struct sf_writer *w);

#endif
