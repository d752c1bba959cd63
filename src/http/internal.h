/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_HTTP_INTERNAL_H
#define SF_HTTP_INTERNAL_H

#include <sys/queue.h>

#include <curl/curl.h>

#include "base/buf.h"
#include "base/htab.h"
#include "base/lock.h"
#include "base/vec.h"
#include "http/http.h"

/*
 * What the files of this module share. Functions marked "loop" run on the event thread only; the
 * state they touch needs no lock. What other threads touch is guarded by sf_http.lock, which is
 * never held over a callback or a call of curl other than curl_multi_wakeup().
 *
 * The life of a request:
 *
 *     NEW --submit--> INBOX --> QUEUED --admission--> ACTIVE --> DONE (completion, freed)
 *                                  ^                     |
 *                                  +----- WAITING <------+   (backoff; AGAIN goes straight back)
 */

#define HTTP_HEAD_MAX     (64u << 10) /* bytes of all header lines of one reply */
#define HTTP_BODY_DEFAULT (1u << 20)  /* default limit of a reply body */
#define HTTP_EXPECT_MIN   (64u << 20) /* bodies above this wait for "100 Continue": a round trip */
#define HTTP_CLASSES      4           /* those that bound themselves; priorities 1, 0, -1 */
#define HTTP_UNBOUNDED    0

/* ---- timer.c: a heap of moments ---------------------------------------------------------------
 */

struct http_due {
    int64_t at_ms;
    size_t pos; /* index in the heap + 1; 0 = not in it */
};

SF_VEC_DEFINE(http_due_vec, struct http_due *);

/* Make room, so that http_due_put() of one more cannot fail. 0 or -ENOMEM. */
int http_due_room(struct http_due_vec *h);
/* Insert, or move to another moment. */
void http_due_put(struct http_due_vec *h, struct http_due *d, int64_t at_ms);
void http_due_remove(struct http_due_vec *h, struct http_due *d);
/* The earliest; NULL when empty. */
struct http_due *http_due_first(const struct http_due_vec *h);

struct http_timer {
    struct http_due due;
    uint64_t id;
    sf_http_call_fn fn;
    void *arg;
    UT_hash_handle hh;
};

struct http_post {
    TAILQ_ENTRY(http_post) link;
    sf_http_call_fn fn;
    void *arg;
};

/* ---- requests ---------------------------------------------------------------------------------
 */

enum http_state { HTTP_NEW, HTTP_INBOX, HTTP_QUEUED, HTTP_ACTIVE, HTTP_WAITING, HTTP_DONE };

TAILQ_HEAD(http_req_list, sf_http_req);
TAILQ_HEAD(http_post_list, http_post);

/* One scheme://host:port with its queue. */
struct http_host {
    TAILQ_ENTRY(http_host) link;
    struct http_req_list queue[HTTP_CLASSES]; /* [0] = highest priority */
    unsigned active;                          /* without those of HTTP_UNBOUNDED */
    unsigned refs;                            /* requests that point here */
    char key[];
};
TAILQ_HEAD(http_host_list, http_host);

/* What an URL says about the peer. */
struct http_peer {
    char *key;     /* "https://host:port" */
    char *where;   /* "host:port", for people */
    bool loopback; /* 127.0.0.0/8, ::1, localhost */
    bool tls;
};

/* The reply to the current attempt. */
struct http_recv {
    int status;         /* of the last status line; 0 = none yet */
    bool head_done;     /* the final header block is complete: later lines are trailers */
    size_t head_bytes;  /* of all header lines of this attempt, 1xx and trailers too */
    struct sf_buf head; /* "name\0value\0" pairs of the last block */
    struct sf_buf body; /* when it does not go into the caller's buffer */
    size_t into_len;    /* bytes in the caller's buffer */
    bool sized;         /* the declared length has been looked at */
};

/* The current attempt: reset before each one. */
struct http_try {
    CURL *easy;
    unsigned prereqs;       /* connections on which it was begun; 0 = not begun */
    bool lost_reused;       /* bytes went to a kept connection that then was reset */
    int abort_code;         /* why a callback of ours ended it; 0 = none did */
    const char *abort_text; /* static */
    int64_t begun_bytes;    /* request bytes counted before the first byte of ours */
    uint64_t body_pos;      /* of the request body, next byte to send */
    bool resting;           /* the body's source had nothing; curl does not ask it */
    bool held;              /* the sink took nothing; curl keeps it, and reads no more */
    int64_t progress_bytes; /* stall detection: counter and since when it stands still */
    int64_t progress_ms;
    char detail[CURL_ERROR_SIZE];
};

struct sf_http_req {
    struct sf_http *http;
    enum http_state state;         /* loop, once submitted */
    TAILQ_ENTRY(sf_http_req) link; /* of the list that belongs to the state */
    struct http_due due;           /* loop: when to look at it again */
    struct http_host *host;        /* loop */
    uint64_t id;

    /* Guarded by http->lock: */
    UT_hash_handle hh;
    TAILQ_ENTRY(sf_http_req) cancel_link;
    TAILQ_ENTRY(sf_http_req) resume_link;
    bool cancel_wanted, resume_wanted;

    /* What to send; fixed once submitted. */
    const char *method;
    char *url;
    struct http_peer peer;
    struct sf_err bad; /* why it can never be sent; code 0 = it can */
    struct curl_slist *headers;
    struct curl_slist *fixed_last; /* end of those for all attempts; NULL = there are none */
    bool preparing;
    bool has_content_type;
    char *body;      /* memory body, or what comes before those of file or source, or NULL */
    size_t head_len; /* of the latter */
    int body_fd;
    sf_http_source_fn source; /* NULL = none */
    void *source_arg;
    uint64_t file_off, file_len; /* of file or source; the latter has no offset */
    char *tail;                  /* what comes behind them, or NULL */
    uint64_t body_len;           /* of all of it */
    _Atomic uint64_t *sent;      /* where to tell how much is sent, or NULL */
    uint64_t sent_base;
    int cls; /* index into http_host.queue */
    bool idempotent;
    bool safe; /* the method changes nothing */
    bool once;
    size_t limit;
    char *into;
    size_t into_size;
    sf_http_sink_fn sink; /* NULL = none */
    void *sink_arg;
    bool own_idle; /* the two below count, not the options */
    unsigned first_ms, idle_ms;
    int64_t deadline_ms;
    sf_http_prepare_fn prepare;
    sf_http_classify_fn classify;
    void *hook_arg;
    sf_http_done_fn done;
    void *done_arg;

    /* How it goes. */
    int64_t submitted_ms;
    int attempts;
    unsigned backoffs; /* delays so far */
    bool again_used;
    bool maybe_done;    /* some attempt may have taken effect */
    bool source_used;   /* the source was asked: there is no way back */
    bool sink_used;     /* the sink has got something: likewise */
    bool enough;        /* and wants no more */
    struct sf_err last; /* of the last failed attempt */
    struct http_try try;
    struct http_recv recv;
};

struct sf_http {
    /* Fixed after sf_http_new(). */
    struct sf_http_opts opts;
    char *user_agent;
    char *ca_file;
    pthread_t thread;
    CURLM *multi;

    struct sf_mutex lock;         /* leaf; guards down to the blank line */
    struct http_req_list inbox;   /* submitted, not yet seen by the loop */
    struct http_req_list cancels; /* by cancel_link */
    struct http_req_list resumes; /* by resume_link */
    struct http_post_list posts;
    struct sf_http_req *by_id; /* from submit to completion */
    struct http_timer *timers; /* by id */
    struct http_due_vec timer_heap;
    struct sf_http_stats stats;
    uint64_t next_id;
    bool woken; /* a wake-up is on its way */
    bool stopping;
    bool closing; /* requests are ended, the thread goes on */

    /* Loop. */
    struct http_host_list hosts;
    struct http_req_list active;
    struct http_req_list waiting;
    struct http_due_vec dues; /* of all requests the loop has */
    unsigned queued, n_active, n_waiting;
    CURL **idle;                /* easy handles for reuse, at most max_connections */
    unsigned n_idle, n_handles; /* kept, and all that there are */
    bool retiring;              /* the loop ends: nothing is started any more */
};

/* ---- request.c --------------------------------------------------------------------------------
 */

/* Write @url to @out without user, password, and the values of parameters that hold secrets. */
void http_redact(const char *url, char *out, size_t size);
/* Give back everything of a request, and itself. */
void http_req_destroy(struct sf_http_req *req);
/* Forget the headers of the last attempt. */
void http_req_drop_attempt_headers(struct sf_http_req *req);

/* ---- error.c ----------------------------------------------------------------------------------
 */

struct http_error_row {
    CURLcode code;
    int err; /* negative errno */
    bool retryable;
    const char *text;
};
/* The row of a CURLcode; never NULL (the last row stands for all that have none). */
const struct http_error_row *http_error_row(CURLcode code);
/* Fill @err for a transfer that ended with @code; @os_errno as curl gives it, or 0. */
void http_error_transfer(struct sf_err *err, const struct sf_http_req *req, CURLcode code,
                         int os_errno);
/* Fill @err with "@text (METHOD /path)". */
void http_error_text(struct sf_err *err, const struct sf_http_req *req, int code, bool retryable,
                     const char *text);

/* ---- reply.c; called from curl's callbacks ------------------------------------------------------
 */

void http_recv_reset(struct http_recv *r);
void http_recv_fini(struct http_recv *r);
/* A header line, a piece of the body. 0, or -errno with *why set (static). */
int http_recv_line(struct http_recv *r, const char *line, size_t n, const char **why);
int http_recv_body(struct sf_http_req *req, const char *data, size_t n, int64_t declared,
                   const char **why);
/* Whether the body goes to the sink. */
bool http_recv_sinks(const struct sf_http_req *req);
/* Set status and body of @reply. */
void http_recv_fill(const struct sf_http_req *req, struct sf_http_reply *reply);
const char *http_recv_header(const struct http_recv *r, const char *name);

/* ---- retry.c ----------------------------------------------------------------------------------
 */

/* Milliseconds to wait before the next attempt, at least 0; -1 = the deadline leaves no room.
 * @asked: by the service, or -1. @dice: a random number. */
int64_t http_retry_delay(const struct sf_http_opts *opts, unsigned backoffs, int64_t asked,
                         int64_t left_ms, uint64_t dice);

/* ---- queue.c; loop ----------------------------------------------------------------------------
 */

/* Take a request from the inbox into its host's queue, or complete it at once. */
void http_queue_accept(struct sf_http *http, struct sf_http_req *req);
/* Start what may start. */
void http_queue_admit(struct sf_http *http);
/* Put it back at the front of its class. */
void http_queue_again(struct sf_http *http, struct sf_http_req *req);
/* Let it wait, then put it back. */
void http_queue_delay(struct sf_http *http, struct sf_http_req *req, int64_t delay_ms);
/* Take it off whatever list it is on; an active one must have been detached. */
void http_queue_unlink(struct sf_http *http, struct sf_http_req *req);
/* Run the completion with a reply or an error (NULL = reply), free the request. */
void http_req_finish(struct sf_http *http, struct sf_http_req *req, const struct sf_err *err);
/* End a request in any state but INBOX with @code and @text; the peer's part in it is kept. */
void http_req_abort(struct sf_http *http, struct sf_http_req *req, int code, const char *text);
/* Look after all requests whose moment has come. */
void http_queue_run_dues(struct sf_http *http);

/* ---- transfer.c; loop -------------------------------------------------------------------------
 */

/* Begin an attempt. 0, or -errno with req->last filled. */
int http_transfer_start(struct sf_http *http, struct sf_http_req *req);
/* End the current attempt without a result. Returns whether bytes had been sent. */
bool http_transfer_detach(struct sf_http *http, struct sf_http_req *req);
/* Handle all attempts that curl has finished. */
void http_transfer_reap(struct sf_http *http);
/* The attempt failed: repeat the request later, or finish it. */
void http_transfer_failed(struct sf_http *http, struct sf_http_req *req, struct sf_err *err,
                          bool sent);
/* Let curl ask the source of the body again, or give the sink what it did not take. */
void http_transfer_resume(struct sf_http *http, struct sf_http_req *req);
/* Has it made no progress for too long? Sets *next to when to look again. */
bool http_transfer_stalled(struct sf_http *http, struct sf_http_req *req, int64_t now_ms,
                           int64_t *next);

/* ---- timer.c, loop.c, stats.c ------------------------------------------------------------------
 */

void http_timer_run(struct sf_http *http);
void http_timer_drop_all(struct sf_http *http);
/* When the first timer is due; INT64_MAX = there is none. */
int64_t http_timer_next_locked(const struct sf_http *http);
/* Must the caller call curl_multi_wakeup() after it has unlocked? */
bool http_kick_locked(struct sf_http *http);

enum http_event {
    HTTP_EV_SUBMIT,
    HTTP_EV_COMPLETE,
    HTTP_EV_ATTEMPT,
    HTTP_EV_RETRY,
    HTTP_EV_CANCEL,
    HTTP_EV_REPLY,
};
void http_stats_event(struct sf_http *http, enum http_event ev);
void http_stats_error(struct sf_http *http, const struct sf_err *err);
/* A whole reply came. */
void http_stats_status(int status);
/* An attempt ended: bytes of bodies, microseconds. */
void http_stats_attempt(int64_t in, int64_t out, int64_t us);
/* Publish the loop's own counters. */
void http_stats_levels(struct sf_http *http);

#endif
