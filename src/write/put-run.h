/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_PUT_RUN_H
#define SF_WRITE_PUT_RUN_H

#include "supabase/tus.h"
#include "write/meta.h"
#include "write/put.h"
#include "write/record.h"
#include "write/writer.h"

/* Internal to src/write/put*.c: one sf_put_run() under way. */

enum sf_put_route {
    SF_PUT_NOTHING, /* the bucket has these bytes, and there is nothing else to say */
    SF_PUT_COPY,    /* the service copies them from another object, or onto themselves */
    SF_PUT_BODY,    /* one request, metadata in its headers */
    SF_PUT_FORM,    /* one request, metadata in its body */
    SF_PUT_TUS,     /* resumable, in pieces */
};

struct sf_put_run {
    struct sf_writer *w;
    struct sf_put *p;
    int64_t deadline_ms;
    bool digested;

    /* what is there now, as far as it was looked at */
    bool have_old;
    struct sf_object old;
    struct sf_meta old_meta;
    struct sf_version base; /* as p->base, or what was looked at and dealt with since */
    bool any_base;          /* whatever it is, it is replaced */
    bool unexpected;        /* nothing should have been there */

    /* what is sent */
    char op[27]; /* "" = objects carry none */
    bool guessed;
    char *mime, *cache_control, *metadata;
    enum sf_put_route route;
    char *copy_bucket, *copy_key; /* of SF_PUT_COPY */
    struct sf_version copy_of;
    char *tus;      /* name of the resumable upload under way */
    bool no_copy;   /* a copy went wrong: send the bytes */
    bool force_tus; /* one request was too large for somebody on the way */
    bool finish;    /* the route cannot carry all: cache control or metadata follow */

    bool open;        /* an earlier request may have taken effect */
    unsigned repeats; /* after lost replies */
    unsigned turns;   /* looks that turned out otherwise at the request */
};

#define SF_PUT_TUS_METADATA 4000 /* bytes of JSON that a resumable upload takes along */

/* put.c: the journal's record in a new state, before the request that it is for; @conflict_key:
 * NULL = as it is. Without room for it the upload goes on: its file is found again without. */
void sf_put_note(struct sf_put_run *r, enum sf_record_state state, const char *conflict_key);
/* put.c: look at what is under the key now. 0, also when nothing is; or the error. */
int sf_put_look(struct sf_put_run *r, struct sf_err *err);

/* put-plan.c: fill op to route. Returns 0; -EPERM; -ENOTSUP; -EFBIG; -ENOSPC the extended
 * attributes are too large; others of the local file. */
int sf_put_plan(struct sf_put_run *r, struct sf_err *err);
void sf_put_plan_fini(struct sf_put_run *r);
/* Whether somebody else's object is of the bytes that are sent here. */
bool sf_put_is_identical(struct sf_put_run *r);

/* put-send.c: the requests of the route. 0, or the error, with outcome_open when it has to be
 * settled. */
int sf_put_send(struct sf_put_run *r, struct sf_err *err);
/* What the route could not carry. */
int sf_put_finish(struct sf_put_run *r, struct sf_err *err);

/* put-keep.c: copy what is under the key to a name beside it. 0; or the error. */
int sf_put_keep(struct sf_put_run *r, struct sf_err *err);

#endif
