/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SETUP_INIT_H
#define SF_SETUP_INIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/vec.h"
#include "config/config.h"
#include "config/keys.h"

/*
 * Sets a project up: makes the buckets that are missing and applies the SQL files that it does not
 * have. What exists is looked at, and never changed. Each step is whole or not at all, so an end at
 * any moment does no harm, and the next run does what is left.
 */

enum sf_init_state {
    SF_INIT_THERE,   /* nothing to do */
    SF_INIT_DIFFERS, /* it is there, and not as it is wished; left as it is */
    SF_INIT_TO_DO,   /* missing; a dry run changes nothing */
    SF_INIT_DONE,    /* was missing, and is there now */
    SF_INIT_BY_HAND, /* missing, and this key or this way cannot make it */
    SF_INIT_FAILED,
};
/* A static word: "there", "differs", ... */
const char *sf_init_state_word(enum sf_init_state state);

struct sf_init_row {
    bool sql;         /* a SQL file; else a bucket */
    unsigned version; /* of a SQL file */
    char name[104];
    enum sf_init_state state;
    char text[400]; /* what differs, why it failed; "" = nothing to say */
};
SF_VEC_DEFINE(sf_init_row_vec, struct sf_init_row);

/* How SQL gets into the database. */
enum sf_init_way {
    SF_INIT_WAY_PSQL,  /* db_url is set */
    SF_INIT_WAY_API,   /* access_token is set */
    SF_INIT_WAY_PASTE, /* by a person */
};

struct sf_init_report {
    struct sf_init_row_vec rows; /* buckets, then SQL files */
    enum sf_init_way way;
    int version;        /* of the project's tables; 0 = it has none, -1 = not known */
    char why[240];      /* why it is not known; "" */
    char where[200];    /* SF_INIT_WAY_PASTE: where to paste */
    unsigned key_limit; /* rows that another key could do */
};

struct sf_init_args {
    const struct sf_config *cfg;     /* with its keys */
    const struct sf_key_choice *key; /* for the Storage API */
    bool dry_run;
    /* Hears of each row when it is settled; may be NULL. */
    void (*tell)(void *arg, const struct sf_init_row *row);
    void *arg;
};

/**
 * sf_init_run - look, and do what is missing.
 * @ret: filled also on failure, as far as it got; sf_init_report_fini() frees.
 *
 * Returns 0 when everything could be looked at, whatever became of the rows; -EINVAL an option is
 * wrong; -EKEYREJECTED, -EKEYEXPIRED, -EACCES the project does not take the key; another -errno
 * when it cannot be reached.
 */
int sf_init_run(const struct sf_init_args *args, struct sf_init_report *ret, struct sf_err *err);
void sf_init_report_fini(struct sf_init_report *r);

#endif
