/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_DELETE_H
#define SF_WRITE_DELETE_H

#include <stdint.h>

#include "base/err.h"

struct sf_deletes;
struct sf_record;
struct sf_writer;

/* Internal to src/write: removals that were acknowledged before the service was asked. They are
 * collected, each holding the lane of its key, and sent many in one request. */

int sf_deletes_new(struct sf_writer *w, struct sf_deletes **ret);
/* After the timers' and the queue's end. May be NULL. */
void sf_deletes_free(struct sf_deletes *d);

/* Send now what was collected: somebody waits for a lane. Does not wait. */
void sf_deletes_hurry(struct sf_deletes *d);

/* The same, also when an earlier failure says to wait. */
void sf_deletes_retry(struct sf_deletes *d);

/* The service has just done something else: what failed a second ago may go again now, however
 * often it has failed. */
void sf_deletes_wake(struct sf_deletes *d);

/* Whether those collected wait because requests have failed. */
struct sf_deletes_hold {
    unsigned failures; /* in a row; 0 = no */
    int64_t until_ms;
    struct sf_err why; /* of the last */
};
void sf_deletes_hold(struct sf_deletes *d, struct sf_deletes_hold *out);

/* A record of the last daemon: removed if it is still the version that was meant. 0 or -ENOMEM. */
int sf_replay_delete(struct sf_writer *w, struct sf_record *r);

#endif
