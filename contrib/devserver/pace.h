/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_PACE_H
#define DS_PACE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/err.h"

enum ds_etag_style { DS_ETAG_MD5, DS_ETAG_MTIME };

/* How the project's own tables are: there, not there, not for anybody, or not known to PostgREST
 * yet. */
enum ds_tables_state { DS_TABLES_ON, DS_TABLES_MISSING, DS_TABLES_DENIED, DS_TABLES_LOADING };

/* What can be set while the server runs, and the waiting that follows from it. Thread-safe. */
struct ds_pace {
    _Atomic int64_t delay_ms;        /* before the first byte of each reply */
    _Atomic int64_t bytes_per_s;     /* of all connections together; 0 = no limit */
    _Atomic uint64_t standard_limit; /* of one upload request; 0 = none */
    _Atomic uint64_t global_limit;   /* of any object; 0 = none */
    _Atomic bool rpc;                /* the project has supafs_set_attrs */
    _Atomic int tables;              /* enum ds_tables_state */
    _Atomic int etag_style;          /* enum ds_etag_style, for what is written from now on */

    _Atomic int64_t copy_ms; /* that moving or copying the bytes of an object takes */

    _Atomic int64_t clock_ms; /* that the server's clock is ahead */

    _Atomic int64_t tus_expiry_ms; /* life of a resumable upload; 0 = no end */
    _Atomic int64_t tus_max;       /* how many of them are kept, the oldest go */
    _Atomic int64_t tus_drain_ms;  /* what the holder of one gets when another wants it */

    pthread_mutex_t lock; /* protects the fields below */
    pthread_cond_t wake;  /* the server stops, or faults changed */
    int64_t free_at_ns;   /* when the shared link has sent all that was booked */
    bool stopping;
};

struct ds_pace *ds_pace_new(void);
void ds_pace_free(struct ds_pace *pace);

/* End all waits, now and later. */
void ds_pace_stop(struct ds_pace *pace);
bool ds_pace_stopping(struct ds_pace *pace);

/* End the waits of ds_pace_wait, so that their callers look again. */
void ds_pace_wake(struct ds_pace *pace);

void ds_pace_sleep_ms(struct ds_pace *pace, int64_t ms);

/* Sleep at most `ms`, less when woken. */
void ds_pace_wait(struct ds_pace *pace, int64_t ms);

/* Book `bytes` on the shared link and sleep until they are through. */
void ds_pace_transfer(struct ds_pace *pace, uint64_t bytes);

/* The smaller of the two limits and the bucket's (-1 = none); UINT64_MAX when there is no limit. */
uint64_t ds_pace_upload_limit(struct ds_pace *pace, int64_t bucket_limit);

/* The same for a resumable upload: no limit of one request, and a bucket's 0 counts as none. */
uint64_t ds_pace_resumable_limit(struct ds_pace *pace, int64_t bucket_limit);

/* The settings as a new JSON object. */
json_t *ds_pace_to_json(struct ds_pace *pace);

/* Takes over the known members; on a bad one nothing changes. */
int ds_pace_from_json(struct ds_pace *pace, const json_t *json, struct sf_err *err);

#endif
