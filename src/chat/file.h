/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_FILE_H
#define SF_CHAT_FILE_H

#include "chat/chat.h"

/*
 * One open of a chat file (docs/formats/chat.md, parts 3 to 5). As chat.h; calls on one open may
 * come on any threads at once, but for the last one, sf_chat_release().
 */

/**
 * sf_chat_open - open a chat file.
 * @flags: those of open(2); O_TRUNC, O_NONBLOCK and O_ACCMODE count.
 *
 * Result: other, the struct sf_chat_file. To be read past the page cache (R12). -EACCES, -EROFS,
 * -EBUSY, -EDQUOT as W13 says; -ESTALE no such node; -EISDIR SF_CHAT_DIR.
 * Waits for those that are about to ask (R2). Returns an id for sf_chat_cancel(), 0 when the
 * callback has run.
 */
uint64_t sf_chat_open(struct sf_chat *chat, const struct sf_chat_who *who, uint64_t node, int flags,
                      sf_tree_fn fn, void *arg);

/**
 * sf_chat_create - the same by name, which need not exist (C1). Without O_EXCL only.
 * Result: entry, other. -ENOENT it is no chat name after all: make an object.
 */
void sf_chat_create(struct sf_chat *chat, const struct sf_chat_who *who, uint64_t parent,
                    const char *name, int flags, sf_tree_fn fn, void *arg);

/**
 * sf_chat_open_about - the same by what it is about, for who has no name for it: one that is taken
 * by an object (N4), a FILE that leaves no room (N11), a read-only mount (P4).
 * @node: of FILE or DIR, looked up for the call. No provider is named.
 */
uint64_t sf_chat_open_about(struct sf_chat *chat, const struct sf_chat_who *who, uint64_t node,
                            int flags, sf_tree_fn fn, void *arg);

/* Nobody got it, for who asked for it is gone: its release, which comes next, has no effect. */
void sf_chat_abandon(struct sf_chat_file *f);

/* The last reference is gone: what was written is submitted (W2). The end of @f; reads that wait
 * end with -ECANCELED. */
void sf_chat_release(struct sf_chat_file *f);

/**
 * sf_chat_read - result: data, len; nothing at the end of the file.
 * @nonblock: -EAGAIN where it would wait (R4).
 *
 * -EINVAL the prompt is not good; of an answer that failed its errno (R7). Returns an id for
 * sf_chat_cancel(), 0 when the callback has run.
 */
uint64_t sf_chat_read(struct sf_chat_file *f, uint64_t off, size_t len, bool nonblock,
                      sf_tree_fn fn, void *arg);

/* How many bytes were taken, which is all; -EINVAL (W5, W9), -ENOMEM, and nothing of what was
 * written is submitted. */
ssize_t sf_chat_write(struct sf_chat_file *f, const void *data, size_t len);

/* FLUSH and fsync: W7. -EINVAL, -ENOSPC, -EIO. */
void sf_chat_flush(struct sf_chat_file *f, sf_tree_fn fn, void *arg);

/* @changed: what sf_chat_poll() tells has changed; else it is only given back. Under locks: it may
 * take leaf locks only and call nothing here. */
typedef void (*sf_chat_wake_fn)(void *arg, bool changed);

/**
 * sf_chat_poll - which of POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM holds now (R11).
 * @wake: NULL, or called exactly once, perhaps before this returns: when that has changed, when
 * another one takes its place, or when the open ends. One is kept for each open.
 */
short sf_chat_poll(struct sf_chat_file *f, sf_chat_wake_fn wake, void *arg);

#endif
