/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_HTTP_HTTP_H
#define SF_HTTP_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * The event thread: it alone owns curl_multi, the connection pool and all timers. Every request has
 * a deadline, a retry policy, a cancel and a place in a bounded queue; every request ends with
 * exactly one call of its completion, whatever fails, and its slot comes back.
 *
 * Completions, classifiers, preparers, timers and posted calls run on the event thread, holding no
 * lock. They must not block, and may call any function of this header except sf_http_free().
 * All functions are thread-safe; those that build a request belong to the one thread that has it.
 *
 * What is repeated, until the deadline and with growing random delays: a request that failed before
 * a byte of it was sent; an idempotent one whatever failed on the way; what the classifier says.
 * When the next attempt would come after the deadline, the request ends at once with what it has.
 */

struct sf_http;
struct sf_http_req;

struct sf_http_opts {
    unsigned max_connections; /* to one host; 0 = 16 */
    unsigned max_queue;       /* requests waiting for a connection; 0 = 65536 */
    unsigned connect_ms;      /* limit of one connection attempt; 0 = 10000 */
    unsigned stall_ms;        /* a transfer without a byte for so long has failed; 0 = 15000. The
                                 wait for the first byte of a reply may take twice as long, and
                                 until the deadline when the request is not idempotent */
    unsigned backoff_min_ms;  /* first retry after about this; 0 = 200 */
    unsigned backoff_max_ms;  /* and at most this; 0 = 30000 */
    const char *user_agent;   /* NULL = "supafs/VERSION"; copied */
    const char *ca_file;      /* PEM bundle; NULL = the system's (CURL_CA_BUNDLE and SSL_CERT_FILE
                                 are honoured); copied */
    bool insecure;            /* allow plain http to hosts that are not loopback; TLS is verified
                                 all the same */
};

/**
 * sf_http_new - start the event thread. Nothing is sent yet.
 * @opts: NULL = all defaults; borrowed for the call.
 *
 * Returns 0, -ENOMEM, the errno of a CA file that cannot be read, or of a failed thread start.
 */
int sf_http_new(const struct sf_http_opts *opts, struct sf_http **ret, struct sf_err *err);

/**
 * sf_http_free - cancel all requests (each completion runs with -ECANCELED), stop the thread.
 * Posted calls still run, timers that are not due do not. A request submitted by one of these
 * completions is cancelled too; a completion must not submit again for ever.
 * Not to be called on the event thread. @http may be NULL.
 */
void sf_http_free(struct sf_http *http);

/**
 * sf_http_close - end all requests with -ECANCELED, those under way soon and later ones at once.
 * The thread goes on for them, for timers and for posted calls, so that what uses it can be taken
 * down in order before sf_http_free().
 */
void sf_http_close(struct sf_http *http);

/** sf_http_on_loop - true on the event thread of @http. */
bool sf_http_on_loop(const struct sf_http *http);

/* ---- one request ---------------------------------------------------------------------------- */

enum sf_http_verdict {
    SF_HTTP_FINAL, /* hand the reply to the completion */
    SF_HTTP_RETRY, /* the same request may succeed later: back off (or obey Retry-After) and repeat
                    */
    SF_HTTP_AGAIN, /* repeat at once, once (a token was renewed) */
};

struct sf_http_reply {
    int status;              /* 0 = no reply arrived; then err says why */
    int attempts;            /* how often it was begun on the network */
    int64_t elapsed_ms;      /* from submit to completion */
    const char *body;        /* valid during the callback; NULL = empty; NUL-terminated, except in
                                the buffer of sf_http_req_into() */
    size_t body_len;         /* bytes */
    struct sf_err err;       /* transport failure: -ECONNREFUSED, -ETIMEDOUT, -ECANCELED, -EFBIG
                                (reply over its limit), -EAGAIN (queue full), -EINVAL and -EPERM
                                (URL refused), -EPROTO (TLS, not HTTP), -EIO, ...
                                err.outcome_open: bytes of an attempt had been sent and its reply
                                did not come whole; never for GET, HEAD, OPTIONS. It may be set
                                beside a status: then an earlier attempt may have taken effect */
    struct sf_http_req *req; /* for sf_http_reply_header() */
};

typedef void (*sf_http_done_fn)(void *arg, const struct sf_http_reply *reply);
/* Called before each attempt to add headers that may change between attempts (Authorization). A
 * header that cannot be added ends the request with the errno of that. */
typedef void (*sf_http_prepare_fn)(void *arg, struct sf_http_req *req);
/* Called with each complete reply (status > 0) to decide whether it is final; without one all are.
 */
typedef enum sf_http_verdict (*sf_http_classify_fn)(void *arg, const struct sf_http_reply *reply);

/**
 * sf_http_req_new - a request that has not been sent.
 * @method: static string: "GET", "POST", ...
 * @url:    absolute, already percent-encoded; copied and sent as it is. Only http and https; plain
 *          http only to loopback unless sf_http_opts.insecure; redirects are never followed;
 *          credentials in the URL are refused. What is refused is told to the completion.
 *
 * Returns NULL when memory is gone. Give it to sf_http_submit(), or back with sf_http_req_free().
 */
struct sf_http_req *sf_http_req_new(struct sf_http *http, const char *method, const char *url);
void sf_http_req_free(struct sf_http_req *req);

/* Add "Name: value"; control characters, and headers that say where the message ends, are refused
 * with -EINVAL. 0, -EINVAL, -ENOMEM; -EBUSY after sf_http_submit(). */
int sf_http_req_header(struct sf_http_req *req, const char *name, const char *value);
/* In a preparer: headers for this attempt only. As above; -EBUSY outside a preparer. */
int sf_http_req_attempt_header(struct sf_http_req *req, const char *name, const char *value);
/* Body from memory; @takes data (malloc'd). */
void sf_http_req_body(struct sf_http_req *req, char *data, size_t len);
/* Body from a file: @len bytes read with pread() from @off; @fd is dup'ed. 0 or -errno. */
int sf_http_req_body_fd(struct sf_http_req *req, int fd, uint64_t off, uint64_t len);
/*
 * Puts the next bytes of a body into @buf, at most @n. Returns how many; 0 when there are none yet:
 * the request then rests until sf_http_req_resume(), and does not count as stalled; -errno ends
 * it with that. Runs on the event thread, must not block; never after the completion.
 */
typedef ssize_t (*sf_http_source_fn)(void *arg, char *buf, size_t n);
/* Body of @len bytes that @fn brings piece by piece, from the first to the last. They come once:
 * from the first call on the request is not repeated, whatever a classifier says. */
void sf_http_req_body_source(struct sf_http_req *req, uint64_t len, sf_http_source_fn fn,
                             void *arg);
/* Bytes before and behind those of the file or source, as forms have them; @takes both (malloc'd).
 * Once, after sf_http_req_body_fd() or sf_http_req_body_source(). */
void sf_http_req_body_frame(struct sf_http_req *req, char *head, size_t head_len, char *tail,
                            size_t tail_len);
/* For a body from a file or source: *sent is set to @base and what of the body has been given to
 * the connection. It goes back when an attempt begins again. @borrows until the completion has run.
 */
void sf_http_req_progress(struct sf_http_req *req, _Atomic uint64_t *sent, uint64_t base);
/* Largest reply body accepted, in bytes (default 1 MiB). Beyond it the request fails with -EFBIG.
 */
void sf_http_req_limit(struct sf_http_req *req, size_t max_body);
/* Let the body go straight to @buf of @size bytes (for 2xx replies; others use the own buffer).
 * @borrows until the completion has run. reply->body then points to @buf. A body that does not fit
 * is -EFBIG; what @buf holds is undefined unless the reply is 2xx. */
void sf_http_req_into(struct sf_http_req *req, char *buf, size_t size);
/*
 * Takes the next bytes of a 2xx reply as they come; @head has its status and headers. Returns 0;
 * SF_HTTP_ENOUGH: taken, and what may still come is not wanted: the completion runs within a
 * second, with whatever came of the connection; -EAGAIN: not now: the reply rests until
 * sf_http_req_resume(), does not count as stalled, and the same bytes come again then; any other
 * -errno ends the request with that. Runs on the event thread, must not block; never after the
 * completion.
 */
#define SF_HTTP_ENOUGH 1
typedef int (*sf_http_sink_fn)(void *arg, const struct sf_http_reply *head, const char *data,
                               size_t n);
/* Let the body of a 2xx reply go to @fn, whatever its length; reply->body is NULL then. From the
 * first call on the request is not repeated. Other replies are kept as ever. */
void sf_http_req_sink(struct sf_http_req *req, sf_http_sink_fn fn, void *arg);
/* Own limits of this request for a transfer without a byte, in place of those of the options:
 * @first_ms for the wait for the reply to begin, once all is sent (0 = until the deadline), and
 * @idle_ms otherwise. */
void sf_http_req_idle(struct sf_http_req *req, unsigned first_ms, unsigned idle_ms);
/* The caller bounds how many of these there are at once: it is not counted among the connections
 * to its host, nor waits for one. For what may last for minutes. */
void sf_http_req_unbounded(struct sf_http_req *req);
/* Absolute CLOCK_BOOTTIME milliseconds for the whole request with its retries; default now+60 s. */
void sf_http_req_deadline(struct sf_http_req *req, int64_t deadline_ms);
/* Whether a transport failure may be repeated even though the request may have taken effect
 * (idempotent). Without it only failures before a byte was sent are repeated. Default: GET, HEAD
 * and OPTIONS are. */
void sf_http_req_idempotent(struct sf_http_req *req, bool yes);
/* One attempt: what fails is told at once, and repeated by the caller if at all. */
void sf_http_req_once(struct sf_http_req *req);
/* Requests of higher priority leave the queue first, equal ones in the order of submission:
 * 0 normal, 1 somebody waits for it, -1 ahead of need. */
void sf_http_req_priority(struct sf_http_req *req, int priority);
void sf_http_req_hooks(struct sf_http_req *req, sf_http_prepare_fn prepare,
                       sf_http_classify_fn classify, void *arg);

/**
 * sf_http_submit - queue a request; thread-safe, never blocks.
 * @req: taken, also on failure.
 *
 * Returns an id for sf_http_cancel(), never 0. A full queue is reported through @done with -EAGAIN.
 * @done always runs on the event thread, never before this returns to a caller off that thread.
 */
uint64_t sf_http_submit(struct sf_http *http, struct sf_http_req *req, sf_http_done_fn done,
                        void *arg);

/** sf_http_cancel - end a request; its completion runs with -ECANCELED unless it already ran. */
void sf_http_cancel(struct sf_http *http, uint64_t id);

/** sf_http_req_resume - the source of a request's body has bytes again, or an error to tell, or the
 * sink takes bytes again; without effect when the request does not rest or has ended. Thread-safe,
 * never blocks. */
void sf_http_req_resume(struct sf_http *http, uint64_t id);

/* Header of a final reply, by case-insensitive name; NULL if absent. Valid during the callback. */
const char *sf_http_reply_header(const struct sf_http_reply *reply, const char *name);

/* Milliseconds that a Retry-After value asks to wait, at most a day; -1 = not understood.
 * @date: the reply's Date, against which a date is taken; NULL = this machine's clock. */
int64_t sf_http_retry_after_ms(const char *value, const char *date);

/* The moment that a header like Date tells, in seconds since the epoch; 0 = not understood. */
int64_t sf_http_date_s(const char *value);

/* ---- timers and posted work ------------------------------------------------------------------ */

typedef void (*sf_http_call_fn)(void *arg);

/** sf_http_post - run fn(arg) on the event thread soon. 0 or -ENOMEM. */
int sf_http_post(struct sf_http *http, sf_http_call_fn fn, void *arg);

/**
 * sf_http_timer - run fn(arg) on the event thread at @at_ms (CLOCK_BOOTTIME milliseconds).
 * Returns an id for sf_http_timer_cancel(), 0 when memory is gone.
 */
uint64_t sf_http_timer(struct sf_http *http, int64_t at_ms, sf_http_call_fn fn, void *arg);
/* Returns true when the timer had not run and never will. */
bool sf_http_timer_cancel(struct sf_http *http, uint64_t id);

/* ---- figures ------------------------------------------------------------------------------- */

struct sf_http_stats {
    unsigned active, queued, waiting_retry, peak_active, peak_queued;
    uint64_t submitted, completed, attempts, retries, cancelled;
    bool reachable;        /* the last attempt got some reply */
    int64_t last_reply_ms; /* CLOCK_BOOTTIME of the last reply; 0 = none yet */
    char last_error[160];  /* of the last transport failure; empty when none */
};
void sf_http_stats(struct sf_http *http, struct sf_http_stats *out);

#endif
