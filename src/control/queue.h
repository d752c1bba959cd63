/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONTROL_QUEUE_H
#define SF_CONTROL_QUEUE_H

#include "control/control.h"

struct sf_control_queue;
struct sf_tree;
struct sf_writer;

/**
 * sf_control_queue_new - the verbs about what is not in the bucket yet.
 *
 *   queue ls                  a line "state DIR"; then for each change, the oldest first, "change
 *                             SEQ KIND STATE SIZE MADE ATTEMPTS ERRNO RUNNING PERCENT NEXT BUCKET
 *                             KEY TO-BUCKET TO-KEY FILE REASON"; then for each file in quarantine
 *                             "aside PATH BUCKET KEY SIZE TIME ERR REASON". MADE: ns since 1970;
 *                             RUNNING: 0 or 1; NEXT: ms until it is tried again, -1 = it does not
 *                             rest; what is not told is an empty word.
 *   queue show SEQ            "state DIR" and that one change
 *   queue retry [SEQ]         try now what rests. A line "woken N".
 *   queue drop SEQ            a content goes to quarantine. A line "kept PATH", or "empty".
 *   flush TIMEOUT PATH        wait until what is pending at or below PATH ("." = everything, also
 *                             what this mount does not show) is in the bucket, TIMEOUT ms at most
 *                             (-1 = however long). Lines "LEFT BYTES REFUSED LOCAL REASON" as it
 *                             goes on, one at the end.
 *
 * @w, @t: borrowed until sf_control_free(), after which this is freed. @state_dir: copied.
 * 0, -ENOSPC, -ENOMEM.
 */
int sf_control_queue_new(struct sf_control *c, struct sf_writer *w, struct sf_tree *t,
                         const char *state_dir, struct sf_control_queue **ret);
void sf_control_queue_free(struct sf_control_queue *q); /* may be NULL */

#endif
