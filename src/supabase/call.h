/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_CALL_H
#define SF_SUPABASE_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "http/http.h"
#include "observe/counter.h"
#include "supabase/auth.h"
#include "supabase/errmap.h"
#include "supabase/storage.h"

/* Internal to src/supabase: one request to the service, with its error text and its retries. */

/* Who hears of failures; fn may be NULL. */
struct sf_trouble {
    sf_storage_trouble_fn fn;
    void *arg;
};

#define SF_STORAGE_PATH "/storage/v1" /* below the project's address */

struct sf_storage {
    struct sf_http *http;
    struct sf_auth *auth;
    char *base;              /* "https://host" and SF_STORAGE_PATH */
    _Atomic unsigned active; /* calls whose callback has not begun */
    struct sf_trouble trouble;
};

struct sf_call;

/*
 * The end of a call: hands the result to the user's callback. @err is NULL when the service
 * answered with success; then @reply is to be parsed. Runs once, on the event thread; call->st is
 * NULL by then, for the user may free it in the callback.
 */
typedef void (*sf_call_done_fn)(struct sf_call *call, const struct sf_http_reply *reply,
                                const struct sf_err *err);

/* The first member of every kind of call; zeroed memory from sf_call_new(). */
struct sf_call {
    struct sf_storage *st;
    struct sf_http_req *req;
    sf_call_done_fn done;
    void (*fini)(struct sf_call *call); /* frees what the kind holds besides; may be NULL */
    enum sf_counter kind;
    bool changes;              /* something may be different after it */
    bool idempotent;           /* may be repeated though it may have taken effect */
    bool bare_400;             /* 400 without a body, to HEAD, is a refused key */
    bool caller_tells;         /* the caller logs its failure */
    struct sf_trouble trouble; /* the storage's */
    uint64_t generation;       /* of the key that the last attempt sent */
    struct sf_err err;         /* why it could not even be submitted */
    char what[136];            /* "GET info bucket/key", printable, for messages */
};

/**
 * sf_call_new - a call of @size bytes whose first member is a struct sf_call.
 * @kind: what it is counted as when it is sent.
 * Returns NULL when memory is gone.
 */
void *sf_call_new(struct sf_storage *st, enum sf_counter kind, size_t size, sf_call_done_fn done);

/**
 * sf_call_open - prepare the request. The first failure of any of these functions is kept in
 * call->err and reported by sf_call_submit(), so their results need no check.
 * @method: static string.
 * @action: static word for messages: "list", "info".
 * @route:  path below /storage/v1 without slash at its ends; taken as it is.
 * @bucket: NULL or appended, escaped. @key: likewise.
 * @query:  NULL or appended after '?', taken as it is.
 */
void sf_call_open(struct sf_call *call, const char *method, const char *action, const char *route,
                  const char *bucket, const char *key, const char *query, int64_t deadline_ms);
/* The same for the project's database; @path and @query are taken as they are. It describes
 * nothing. */
void sf_call_open_rest(struct sf_call *call, const char *method, const char *path,
                       const char *query, int64_t deadline_ms);
/* Name what is asked, where it is not in the address: "POST move bucket/key". */
void sf_call_describe(struct sf_call *call, const char *method, const char *action,
                      const char *bucket, const char *key);
void sf_call_header(struct sf_call *call, const char *name, const char *value);
/* JSON body with its content type; @takes json, a malloc'd text (NULL = out of memory). */
void sf_call_json(struct sf_call *call, char *json);
/* Record a failure found before sending. */
__attribute__((format(printf, 3, 4))) void sf_call_fail(struct sf_call *call, int code,
                                                        const char *fmt, ...);

/**
 * sf_call_submit - send it, or report call->err through its end, on the event thread.
 * @call: taken; freed after its end.
 * Returns an id for sf_storage_cancel().
 */
uint64_t sf_call_submit(struct sf_call *call);

/**
 * sf_call_error - fill @out from a reply that is none of success, or from a lost one.
 */
void sf_call_error(struct sf_call *call, const struct sf_http_reply *reply, struct sf_err *out);

/**
 * sf_call_protocol - fill @out for a reply of success whose content is not to be believed.
 * @code: -EPROTO or a finer one.
 */
__attribute__((format(printf, 5, 6))) void sf_call_protocol(struct sf_call *call,
                                                            const struct sf_http_reply *reply,
                                                            struct sf_err *out, int code,
                                                            const char *fmt, ...);

/* ---- for the waiting forms ------------------------------------------------------------------ */

/* Waits on a worker thread for the end of a call. */
struct sf_waiter;

/**
 * sf_wait_begin - refuse on the event thread (-EDEADLK), where waiting would never end.
 */
int sf_wait_begin(struct sf_storage *st, struct sf_waiter **ret, struct sf_err *err);
/* In the callback: the result is stored; lets the waiting thread go on. */
void sf_wait_end(struct sf_waiter *w, const struct sf_err *err);
/* Blocks until sf_wait_end(); frees @w; the call's result. */
int sf_wait_for(struct sf_waiter *w, struct sf_err *err);

/* ---- addresses (public for the unit test) ------------------------------------------------------
 */

/**
 * sf_url_append - the escaped form of a bucket id or a key, for a path.
 * Everything but letters, digits, '-', '_', '.', '~' is percent-encoded; in a key '/' stays, unless
 * a part of it is empty, "." or "..", which proxies would fold: then '/' becomes %2F and the dots
 * %2E. Returns a malloc'd string, or NULL.
 */
char *sf_url_escape(const char *text, bool key);

#endif
