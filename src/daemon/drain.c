/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/drain.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/thread.h"
#include "daemon/systemd.h"
#include "observe/log.h"
#include "write/write.h"

#define EVERY_MS 500
#define LOG_MS   10000
#define SOON_MS  2000 /* a stop that takes longer says so */

/* Replaced in one step, so that a reader finds it whole; not synced: it is of this moment. */
static void
leave_word(const struct sf_drain_watch *d, const struct sf_flush_now *now, int64_t left_ms)
{
    char text[512], fresh[PATH_MAX + 32];
    int n = snprintf(text, sizeof text,
                     "pid: %ld\nleft: %u\nbytes: %" PRIu64 "\nseconds: %" PRId64 "\nreason: %s\n",
                     (long)getpid(), now->left, now->bytes, left_ms / 1000, now->reason);
    snprintf(fresh, sizeof fresh, "%s.new", d->path);
    sf_autofd int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && n < (int)sizeof text && sf_write_full(fd, text, (size_t)n) == 0)
        (void)rename(fresh, d->path);
}

static void
say(const struct sf_drain_watch *d, const struct sf_flush_now *now, int64_t left_ms, bool log)
{
    char status[160];
    leave_word(d, now, left_ms);
    snprintf(status, sizeof status,
             "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=finishing uploads: %u changes, %" PRIu64
             " bytes left",
             now->left, now->bytes);
    sf_systemd_notify(status);
    if (log)
        sf_info("daemon", "event=draining left=%u bytes=%" PRIu64 " seconds=%" PRId64 " reason=%s",
                now->left, now->bytes, left_ms / 1000, now->reason);
}

/* False: it is over. */
static bool
pause_until(struct sf_drain_watch *d, int64_t until_ms)
{
    SF_GUARD(&d->lock);
    while (!d->over)
        if (sf_cond_timedwait_ms(&d->cond, &d->lock, until_ms))
            return true;
    return false;
}

static void *
watch(void *arg)
{
    struct sf_drain_watch *d = arg;
    struct sf_flush_now now;
    int64_t t = sf_clock_ms(), log_ms = t + SOON_MS;
    while (pause_until(d, t + EVERY_MS)) {
        t = sf_clock_ms();
        int64_t left_ms = d->deadline_ms > t ? d->deadline_ms - t : 0;
        sf_writer_left(d->writer, false, &now);
        say(d, &now, left_ms, t >= log_ms && now.left);
        if (t >= log_ms)
            log_ms = t + LOG_MS;
    }
    return NULL;
}

void
sf_drain_watch_start(struct sf_drain_watch *d, struct sf_writer *w, const char *state_dir,
                     int64_t deadline_ms)
{
    *d = (struct sf_drain_watch){.writer = w, .deadline_ms = deadline_ms};
    snprintf(d->path, sizeof d->path, "%s/stopping", state_dir);
    sf_mutex_init(&d->lock, 0);
    sf_cond_init(&d->cond);
    d->runs = sf_thread_start("drain-watch", watch, d, &d->thread) == 0;
}

void
sf_drain_watch_end(struct sf_drain_watch *d)
{
    sf_mutex_lock(&d->lock);
    d->over = true;
    sf_cond_signal(&d->cond);
    sf_mutex_unlock(&d->lock);
    if (d->runs)
        pthread_join(d->thread, NULL);
    unlink(d->path);
    sf_cond_fini(&d->cond);
    sf_mutex_fini(&d->lock);
}
