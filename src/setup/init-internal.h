/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SETUP_INIT_INTERNAL_H
#define SF_SETUP_INIT_INTERNAL_H

#include "base/buf.h"
#include "http/http.h"
#include "setup/init.h"
#include "supabase/auth.h"
#include "supabase/storage.h"

/* Inside of sf_init_run(). */

struct init {
    const struct sf_init_args *args;
    struct sf_init_report *report;
    struct sf_http *http;
    struct sf_auth *auth;
    struct sf_storage *storage;
    char ref[64]; /* the project's id on the hosted platform; "" = not one of it */
};

/* A row is settled. 0 or -ENOMEM. */
int init_row(struct init *in, const struct sf_init_row *row);

/* ---- init-buckets.c ---- */

int init_buckets(struct init *in, struct sf_err *err);

/* ---- init-sql.c ---- */

int init_sql(struct init *in, struct sf_err *err);

/* ---- init-psql.c ---- */

/**
 * init_psql_run - give a text to psql.
 * @url:    of the database; its password goes into psql's environment, never into its arguments.
 * @ref:    "" or the project that it must be.
 * @plain:  whether the link may go without TLS to other machines.
 * @number: NULL, or gets the number that is the answer.
 *
 * Returns 0; -EINVAL the URL is wrong; -ENOENT there is no psql; -EPROTO the answer is no number;
 * -EIO psql's own error, with its first line.
 */
int init_psql_run(const char *url, const char *ref, bool plain, const char *sql, int64_t *number,
                  struct sf_err *err);

/* ---- init-api.c ---- */

/* The same through the Management API. -EKEYREJECTED the token; -EACCES; -ENOENT no such project;
 * -EIO the database's own error; others of the way there. */
int init_api_run(struct init *in, const char *sql, int64_t *number, struct sf_err *err);

/* The version that the project's function supafs_about tells; 0 = there is none. */
int init_about(struct init *in, int *version, struct sf_err *err);

#endif
