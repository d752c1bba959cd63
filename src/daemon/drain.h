/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_DAEMON_DRAIN_H
#define SF_DAEMON_DRAIN_H

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/lock.h"

struct sf_writer;

/*
 * While a stop waits for uploads: a thread that tells how far it is. In the file "stopping" of the
 * state directory, once a second, for `supafs umount`, which can ask the mount no more; in the log,
 * every ten seconds; to the service manager, with the request to be patient.
 */
struct sf_drain_watch {
    struct sf_writer *writer;
    char path[PATH_MAX + 16];
    int64_t deadline_ms;
    bool runs;
    pthread_t thread;

    struct sf_mutex lock; /* leaf */
    struct sf_cond cond;
    bool over;
};

/* @deadline_ms: of sf_clock_ms(), when the waiting ends. Without a thread nobody is told. */
void sf_drain_watch_start(struct sf_drain_watch *d, struct sf_writer *w, const char *state_dir,
                          int64_t deadline_ms);
/* The file is gone. */
void sf_drain_watch_end(struct sf_drain_watch *d);

#endif
