/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_REPEAT_H
#define DS_REPEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

/*
 * Late duplicates: a request that is sent to this server a second time, as a network or a proxy may
 * do. The copy carries DS_REPEAT_HEADER, which keeps it from the fault rules.
 */
#define DS_REPEAT_HEADER "x-supafs-devserver-duplicate"

struct ds_repeats;
struct ds_pace;

struct ds_repeats *ds_repeats_new(struct ds_pace *pace);

/* Waits for those under way; ds_pace_stop() first. */
void ds_repeats_free(struct ds_repeats *repeats);

/* Send the text, a whole request, in `ms` milliseconds to the address that the socket was accepted
 * at, and drop the answer. Takes what is in the buffer. 0 or a negative errno. */
int ds_repeat(struct ds_repeats *repeats, int accepted, int64_t ms, struct ds_buf *request);

#endif
