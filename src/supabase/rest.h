/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_REST_H
#define SF_SUPABASE_REST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "supabase/storage.h"

/*
 * The project's database: PostgREST at /rest/v1, with the key, the retries and the error table of
 * the Storage client. For the rules of callbacks see storage.h.
 *
 * A failure says nothing about the bucket: these calls do not tell the storage's trouble function.
 * Errors: -ENOSYS there is no such function, table or column, or no database API at this address;
 * -EACCES; -EPROTO an answer that cannot be believed; -EFBIG one that is too large; others as in
 * docs/errors.md.
 */

/* Bytes of an answer. Nesting is bounded by sf_json_parse(). */
#define SF_REST_ANSWER_MAX (16 * 1024 * 1024)

struct sf_rest_how {
    int64_t deadline_ms;
    int priority;    /* as for sf_http_req_priority() */
    bool reads;      /* nothing is different after it */
    bool repeatable; /* done twice is as done once: repeated after a lost reply */
};

/* @answer: an object or array, or NULL with @err. The callee's to read; its own reference lasts
 * longer than the callback. */
typedef void (*sf_rest_fn)(void *arg, const struct sf_err *err, json_t *answer);

/**
 * sf_rest_rpc - call a function of the database that answers with an object or an array.
 * @function: of a-z, 0-9 and '_'.
 * @args:     its arguments, an object; taken. NULL, as json_pack() returns for text that is not
 *            UTF-8 or without memory, is -EINVAL.
 *
 * Returns an id for sf_storage_cancel().
 */
uint64_t sf_rest_rpc(struct sf_storage *st, const char *function, json_t *args,
                     const struct sf_rest_how *how, sf_rest_fn cb, void *arg);
/* @answer: a new reference on success; may be NULL. Not on the event thread. */
int sf_rest_rpc_wait(struct sf_storage *st, const char *function, json_t *args,
                     const struct sf_rest_how *how, json_t **answer, struct sf_err *err);

#endif
