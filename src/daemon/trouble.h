/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_DAEMON_TROUBLE_H
#define SF_DAEMON_TROUBLE_H

#include <stdint.h>

#include "base/err.h"
#include "base/lock.h"

/*
 * Failed requests in the log: what was asked and what came back, one line each, but not more than
 * SF_TROUBLE_LINES a minute, and no line twice in a row in one; what is left out is counted in the
 * next line. The last one stays for the status.
 */
#define SF_TROUBLE_LINES 20

struct sf_trouble_log {
    struct sf_mutex lock; /* leaf; protects the fields below */
    int64_t minute_ms;    /* when the current minute began; 0 = none has */
    unsigned lines;       /* in it */
    uint64_t left_out;    /* since the last line */
    uint64_t count;       /* of all */
    int64_t last_ns;      /* wall clock of the last one */
    char last[240];
};

void sf_trouble_init(struct sf_trouble_log *t);

/* A request failed. @t is a void pointer for sf_storage_on_trouble(). Thread-safe. */
void sf_trouble_add(void *t, const struct sf_err *err);

/* The last one as "TIME text", "" when there was none; and how many there were. */
uint64_t sf_trouble_last(struct sf_trouble_log *t, char *out, size_t size);

#endif
