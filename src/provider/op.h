/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_OP_H
#define SF_PROVIDER_OP_H

#include <stdatomic.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/lock.h"
#include "http/http.h"
#include "provider/call.h"

/*
 * Inside of provider/: what requests, uploads and lists are made of. An op is what a user began and
 * may cancel; it makes calls, one at a time; a call is one request with its attempts. Everything
 * runs on the event thread but what says otherwise.
 */

struct provider_op {
    TAILQ_ENTRY(provider_op) link;
    struct sf_provider *p;
    uint64_t id;
    bool begun, cancel_wanted, resume_wanted; /* p->lock */
    void (*begin)(struct provider_op *op);
    void (*cancel)(struct provider_op *op); /* make it end, now or soon */
    void (*resume)(struct provider_op *op); /* NULL = there is nothing that rests */
};

struct sf_provider {
    struct sf_http *http;
    const struct sf_provider_conf *conf;
    struct sf_gate *gate;
    uint64_t timer; /* of the gate */
    int64_t timer_ms;
    uint64_t generation; /* of the key, when the gate last saw it */
    bool here;           /* a server of this machine */

    struct sf_mutex lock; /* a leaf; protects what follows */
    struct sf_cond idle;
    TAILQ_HEAD(, provider_op) ops;
    uint64_t next_id;
    unsigned readers; /* threads that read sources */
    bool closing, gone;
};

/* Give an op to the event thread. Any thread. Its id, or 0: then it is still the caller's. */
uint64_t provider_op_start(struct sf_provider *p, struct provider_op *op);
/* It has ended, and is the caller's again; before its callback runs. */
void provider_op_end(struct provider_op *op);
/* Let it be resumed, if it has such. Any thread. */
void provider_op_resume(struct sf_provider *p, uint64_t id);
/* The gate may have to be looked at later. */
void provider_arm(struct sf_provider *p);

struct provider_call {
    struct sf_gate_turn turn; /* first: the gate gives it back */
    struct sf_provider *p;
    enum sf_provider_route route;
    char id[SF_PROVIDER_ID_MAX + 1], after[SF_PROVIDER_ID_MAX + 1];
    const char *purpose;
    int64_t deadline_ms;
    size_t limit;
    bool force;
    /* NULL, or gives each attempt its body. 0, or -errno, with which the call ends. */
    int (*attach)(struct provider_call *call, struct sf_http_req *req);
    /* NULL, or called when it is on its way. */
    void (*submitted)(struct provider_call *call, uint64_t http_id);
    /* NULL, or gets the body of a 2xx, as sf_http_req_sink() tells it. */
    int (*sink)(struct provider_call *call, const struct sf_http_reply *head, const char *data,
                size_t n);
    /* NULL, or has the last word on what came of a reply, or of none: last is what its status and
     * the transport say. */
    void (*judge)(struct provider_call *call, const struct sf_http_reply *reply);
    /* Its end; it may be started again from there. */
    void (*done)(struct provider_call *call, const struct sf_provider_said *said);

    int64_t patience_ms; /* 0 = until the deadline; from the first failure on it is tried again for
                            so long */
    bool given;          /* something of the reply was handed on: never tried again */

    struct sf_provider_fault last;
    unsigned attempts, backoffs;
    int64_t give_up_ms; /* 0 = nothing has failed yet */
    bool running, once_used, key_tried, open, cancelled;
    bool nobody;             /* the last attempt found that nothing listens there */
    uint64_t http_id, timer; /* 0 = not on its way, does not wait */
    uint64_t generation;     /* of the key that was sent last */
};

/* From the first attempt on. An upload is not repeated by itself when it may have taken effect: it
 * ends with said->open. A chat is, once: nothing is changed by it, but it may be paid for twice. */
void provider_call_start(struct provider_call *call);
void provider_call_cancel(struct provider_call *call);
/* End it, or whatever stands in its place, with a fault. */
void provider_call_fail(struct provider_call *call, const struct sf_provider_fault *fault);
/* What a cancelled request ends with. */
void provider_fault_cancelled(struct sf_provider_fault *out);
/* A random delay, longer each time. */
int64_t provider_backoff_ms(unsigned n, int64_t first, int64_t most);
/* 0 = as the settings say. */
int64_t provider_deadline(const struct sf_provider *p, int64_t deadline_ms);

/* All pages of a list, one call after the other. */
struct provider_walk {
    struct provider_call call; /* first; p, deadline_ms, purpose set by the user */
    sf_provider_file_fn each;  /* another result than 0 ends it, with success */
    void *arg;
    void (*done)(struct provider_walk *walk, const struct sf_provider_fault *fault);
    int64_t date_s; /* of the first page; 0 = not told */
    unsigned pages;
    size_t files;
};
void provider_walk_start(struct provider_walk *walk);

#endif
