/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_FUNCTIONS_H
#define SF_SUPABASE_FUNCTIONS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/lock.h"

/*
 * A group of functions in the project's database (contrib/sql) that may not be there, or not
 * answer: then they are left alone for a while. Thread-safe; calls wait for the database, so none
 * on the event thread or a FUSE worker.
 */
struct sf_storage;

/* Who talks to the database; for tests another than the project. @args: taken; @answer: a new
 * reference on success. */
struct sf_functions_peer {
    int (*call)(void *arg, const char *function, json_t *args, int64_t deadline_ms, json_t **answer,
                struct sf_err *err);
    void *arg;
};

struct sf_functions_how {
    const char *module, *event; /* of the line of the log that says that they are left alone */
    int64_t rest_ms;            /* after a failure that somebody has to do something about */
    bool (*is_answer)(int rc);  /* an error that says nothing against the database */
};

enum sf_functions_state {
    SF_FUNCTIONS_WAITING,
    SF_FUNCTIONS_ON,
    SF_FUNCTIONS_MISSING,
    SF_FUNCTIONS_DENIED,
    SF_FUNCTIONS_UNREACHABLE,
};

struct sf_functions {
    const struct sf_functions_how *how;
    struct sf_functions_peer peer;
    struct sf_mutex lock; /* a leaf; protects what follows */
    enum sf_functions_state state;
    int64_t rest_until_ms;
};

/* @st or @peer (copied) is asked; each of the functions may be called again after a lost reply.
 * @how: borrowed. */
void sf_functions_init(struct sf_functions *f, struct sf_storage *st,
                       const struct sf_functions_peer *peer, const struct sf_functions_how *how);
void sf_functions_fini(struct sf_functions *f);
/* "waiting" (nothing was asked yet), "on", "missing", "denied", "unreachable". */
const char *sf_functions_state(struct sf_functions *f);

/**
 * sf_functions_ask - call one of them.
 * @args: taken. @answer: a new reference on success.
 * Returns 0; -ENOSYS they are not there, -EAGAIN they are left alone for now; what was answered.
 */
int sf_functions_ask(struct sf_functions *f, const char *function, json_t *args,
                     int64_t deadline_ms, json_t **answer);
/* Its answer makes no sense. Returns -EPROTO. */
int sf_functions_odd(struct sf_functions *f, const char *function);

#endif
