/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_FUSE_SESSION_H
#define SF_FUSE_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * The kernel's side of a mount: requests come in on a few worker threads, none of which ever waits;
 * each goes to the tree (or to the virtual files) and is answered exactly once, by its completion,
 * by the signal that ends its caller, or by its deadline.
 */
struct sf_fuse;
struct sf_chat;
struct sf_http;
struct sf_tree;
struct sf_virtual;

struct sf_fuse_opts {
    const char *mountpoint;     /* absolute */
    const char *fsname;         /* shown as the source of the mount: the project's URL */
    const char *kernel_options; /* further options for mount(2), as "noexec,nosuid"; may be "" */
    bool read_only, allow_other, default_permissions;
    uid_t owner;             /* who may look at the virtual files (and root) */
    struct sf_chat *chat;    /* NULL = no chat files; borrowed until sf_fuse_free() */
    unsigned max_parked;     /* requests that may wait at once; beyond it -EAGAIN */
    uint64_t readahead;      /* bytes; 0 = leave the kernel's */
    int64_t read_timeout_ms; /* a little later what still waits is answered -ETIMEDOUT */
    int64_t write_timeout_ms;
};

/**
 * sf_fuse_new - a session that is not mounted yet. Strings are copied; @tree, @virt and @http are
 * borrowed until sf_fuse_free().
 *
 * Returns 0; -EINVAL libfuse does not like an option; -ENOMEM.
 */
int sf_fuse_new(const struct sf_fuse_opts *opts, struct sf_tree *tree, struct sf_virtual *virt,
                struct sf_http *http, struct sf_fuse **ret, struct sf_err *err);

/**
 * sf_fuse_mount - mount, begin to serve, and wait until the kernel has greeted.
 *
 * Returns 0; -ENODEV no FUSE here (@err says why); -EIO; -errno of a thread that does not start.
 */
int sf_fuse_mount(struct sf_fuse *f, struct sf_err *err);

/* Readable (poll) once the session has ended, by sf_fuse_stop() or because it was unmounted and the
 * last file closed. */
int sf_fuse_ended_fd(const struct sf_fuse *f);

/**
 * sf_fuse_stop - take no more requests, unmount, answer what waits with ENOTCONN. Returns when no
 * worker runs any more. Completions may still come.
 */
void sf_fuse_stop(struct sf_fuse *f);

/* After sf_fuse_stop(), when the http has been stopped: waits for completions on their way. */
void sf_fuse_free(struct sf_fuse *f);

struct sf_fuse_stats {
    uint64_t waiting;      /* requests that wait for an answer now */
    uint64_t readahead;    /* of the kernel for this mount in bytes; 0 = not known */
    bool readahead_denied; /* it could not be set: not root, or /sys is read-only */
    uint64_t notices;      /* invalidations sent to the kernel */
    uint64_t notices_lost; /* not sent, because the queue was full */
};
void sf_fuse_stats(struct sf_fuse *f, struct sf_fuse_stats *out);

/* Is there a /dev/fuse that this process may use (or a fusermount3 that may)? 0, or -ENODEV with a
 * sentence that says what to do. */
int sf_fuse_available(struct sf_err *err);

#endif
