/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_DAEMON_CHATS_H
#define SF_DAEMON_CHATS_H

#include "base/buf.h"
#include "daemon/exit.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Internal to src/daemon: the conversations with AI providers and the chat files of the mount.
 * Nothing else of a mount depends on them. */

struct daemon;

/* "2.50" in millionths: no sign, at most six decimals, below a million millions. */
bool chats_price(const char *text, int64_t *ret);

/* Are the options such as can be? 0, or -1 with @o. Before anything is started. */
int chats_check(const struct daemon *d, struct sf_outcome *o);
/* After providers and tree. Nobody is asked. What does not work is logged, and stands in the
 * status. */
void chats_open(struct daemon *d);
/* What runs is cancelled, and prompts that wait are kept as drafts; once fuse has stopped. */
void chats_stop(struct daemon *d, int64_t deadline_ms);
/* Once fuse is freed; before tree, providers and storage are. */
void chats_free(struct daemon *d);

/* For the status, and for the statistics. */
void chats_print(struct daemon *d, struct sf_buf *out);
void chats_json(struct daemon *d, json_t *root);

#endif
