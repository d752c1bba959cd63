/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_FUSE_NOTIFY_H
#define SF_FUSE_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

/*
 * What the kernel is to forget. Producers never wait: notices are merged per inode and per name,
 * and sent by a thread of their own, which holds no lock meanwhile: the kernel may block it until
 * some request of the same file or directory has been answered.
 */
struct notify;
struct fuse_session;

int notify_new(struct fuse_session *se, struct notify **ret);
/* Takes no more, forgets what was not sent, ends the thread. Once. */
void notify_end(struct notify *n);
/* After its end; nobody uses it any more. @n may be NULL. */
void notify_free(struct notify *n);

void notify_inode(struct notify *n, uint64_t node, bool data);
void notify_entry(struct notify *n, uint64_t parent, const char *name);
/* Call @fn when all that was queued so far has been sent, on the notices' thread, or at the end, or
 * at once without memory. That can be long after: see above. */
void notify_after(struct notify *n, void (*fn)(void *arg), void *arg);
void notify_stats(struct notify *n, uint64_t *sent, uint64_t *lost);

#endif
