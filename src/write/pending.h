/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_PENDING_H
#define SF_WRITE_PENDING_H

#include "base/vec.h"
#include "write/content.h"
#include "write/record.h"

/* Internal to src/write: what pending.c (who looks and drops), flush.c (who waits) and left.c (a
 * state directory without a daemon) share. */

SF_VEC_DEFINE(sf_content_vec, struct sf_content *);

/* References to all contents of which @wanted says so: it is called under the writer's lock, and
 * looks at nothing but atomics. 0 or -ENOMEM; some may be there then, too. */
int sf_pending_contents(struct sf_writer *w, bool (*wanted)(void *arg, struct sf_content *c),
                        void *arg, struct sf_content_vec *ret);
/* Give them back, and the memory. */
void sf_pending_contents_fini(struct sf_content_vec *v);
/* The object of this name was replaced: sf_content_abandon() for all that the journal has for it.
 */
void sf_pending_abandon(struct sf_writer *w, const char *bucket, const char *key);

/* Does the journal have bytes that are to be sent to this key? Without memory: yes. */
bool sf_pending_has(struct sf_writer *w, const char *bucket, const char *key);

/* Contents that have a record, and their bytes. */
void sf_pending_figures(struct sf_writer *w, unsigned *files, uint64_t *bytes);

/* Bytes of the upload under way that were sent, and of a hundred. No lock. */
uint64_t sf_pending_sent(struct sf_content *c);
unsigned sf_pending_percent(struct sf_content *c);

/* What the record alone tells; borrows from it. */
void sf_pending_row_of(const struct sf_record *r, struct sf_pending_row *ret);

#endif
