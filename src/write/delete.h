/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_DELETE_H
#define SF_WRITE_DELETE_H

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

/* A record of the last daemon: removed if it is still the version that was meant. 0 or -ENOMEM. */
int sf_replay_delete(struct sf_writer *w, struct sf_record *r);

#endif
