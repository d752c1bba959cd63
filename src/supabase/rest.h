/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_REST_H
#define SF_SUPABASE_REST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
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

/* Bounds of an answer. Nesting is bounded by sf_json_parse(). */
#define SF_REST_ANSWER_MAX (16 * 1024 * 1024)
#define SF_REST_ROWS_MAX   1000 /* of one request, in either direction */

struct sf_rest_how {
    int64_t deadline_ms;
    int priority;    /* as for sf_http_req_priority() */
    bool reads;      /* nothing is different after it */
    bool repeatable; /* done twice is as done once: repeated after a lost reply */
};

/* ---- functions ------------------------------------------------------------------------------ */

/* @answer: an object or array, the callee's to give back with json_decref(), or NULL with @err. */
typedef void (*sf_rest_fn)(void *arg, const struct sf_err *err, json_t *answer);

/**
 * sf_rest_rpc - call a function of the database that answers with an object or an array.
 * @function: of a-z, 0-9 and '_', like all names below.
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
/* The same for arguments that are text already: an object. */
int sf_rest_rpc_text_wait(struct sf_storage *st, const char *function, const char *args, size_t len,
                          const struct sf_rest_how *how, json_t **answer, struct sf_err *err);

/* ---- tables --------------------------------------------------------------------------------- */

/*
 * What rows are wanted. Values may be any UTF-8 text and mean only themselves; names come from the
 * program. The first failure (-EINVAL text that is not UTF-8, or not a name; -E2BIG longer than
 * gateways take, so ask for less at a time; -ENOMEM) is kept and is the result of the call.
 */
struct sf_rest_query {
    char table[64];
    struct sf_buf text; /* "select=a&b=eq.c" */
    uint64_t offset;
    unsigned limit;
    int rc;
    const char *why; /* static */
};
#define SF_REST_QUERY_MAX 6000 /* bytes of text */

enum sf_rest_op {
    SF_REST_EQ,
    SF_REST_NEQ,
    SF_REST_GT,
    SF_REST_GTE,
    SF_REST_LT,
    SF_REST_LTE,
    SF_REST_LIKE, /* '%', '_' and the backslash mean what they do in SQL, and nothing else does */
    SF_REST_ILIKE,
    SF_REST_IS,         /* "null", "true" or "false" */
    SF_REST_IN,         /* any of a list */
    SF_REST_CONTAINS,   /* an array has all of a list */
    SF_REST_NOT = 0x100 /* beside one of the above. What is null is found by IS only */
};

void sf_rest_query_init(struct sf_rest_query *q, const char *table);
void sf_rest_query_fini(struct sf_rest_query *q);
/* Only rows where this holds, and all that was said before. */
void sf_rest_where(struct sf_rest_query *q, const char *column, unsigned op, const char *value);
/* For IN and CONTAINS. No value is in an empty list; every array contains it. */
void sf_rest_where_list(struct sf_rest_query *q, const char *column, unsigned op,
                        const char *const *values, size_t n);
/* "a,b": only these columns. Once. */
void sf_rest_columns(struct sf_rest_query *q, const char *columns);
/* "a,b.desc". Once. */
void sf_rest_order(struct sf_rest_query *q, const char *order);
/* @limit: at most SF_REST_ROWS_MAX, which is the default. */
void sf_rest_range(struct sf_rest_query *q, uint64_t offset, unsigned limit);

/* Append the pattern for LIKE that finds this text. 0 or -ENOMEM. */
int sf_rest_like_escape(struct sf_buf *out, const char *text);

/**
 * sf_rest_select_wait - the rows, an array of objects.
 * @total: NULL, or how many there are without the range.
 */
int sf_rest_select_wait(struct sf_storage *st, const struct sf_rest_query *q,
                        const struct sf_rest_how *how, json_t **rows, uint64_t *total,
                        struct sf_err *err);

struct sf_rest_rows {
    const char *table;
    json_t *rows;            /* an array of up to SF_REST_ROWS_MAX objects with the same members;
                                taken */
    const char *on_conflict; /* NULL, or the columns by which a row is there already: "a,b" */
    bool ignore;             /* that one stays as it is; else it gets these values */
};
/**
 * sf_rest_insert_wait - insert all rows or none.
 * @stored: NULL, or what is in the table now; without the rows that were ignored.
 *
 * -EEXIST a row is there already, without on_conflict; others as above.
 */
int sf_rest_insert_wait(struct sf_storage *st, const struct sf_rest_rows *args,
                        const struct sf_rest_how *how, json_t **stored, struct sf_err *err);

#endif
