/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/trouble.h"

#include "base/clock.h"
#include "observe/log.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define MINUTE_MS 60000

void
sf_trouble_init(struct sf_trouble_log *t)
{
    memset(t, 0, sizeof *t);
    sf_mutex_init(&t->lock, 0);
}

/* May a line be written? Takes what was left out before it. While the service is away one question
 * after the other fails in the same way: that is said once a minute. */
static bool
may_say_locked(struct sf_trouble_log *t, const char *text, uint64_t *left_out)
{
    int64_t now = sf_clock_ms();
    SF_ASSERT_HELD(&t->lock);
    bool same = !strncmp(t->last, text, sizeof t->last - 1);
    if (!t->minute_ms || now - t->minute_ms >= MINUTE_MS) {
        t->minute_ms = now;
        t->lines = 0;
    }
    if (t->lines == SF_TROUBLE_LINES || (same && t->lines)) {
        t->left_out++;
        return false;
    }
    t->lines++;
    *left_out = t->left_out;
    t->left_out = 0;
    return true;
}

void
sf_trouble_add(void *arg, const struct sf_err *err)
{
    struct sf_trouble_log *t = arg;
    uint64_t left_out = 0;
    sf_mutex_lock(&t->lock);
    bool say = may_say_locked(t, err->msg, &left_out);
    t->count++;
    t->last_ns = sf_wall_ns();
    snprintf(t->last, sizeof t->last, "%s", err->msg);
    sf_mutex_unlock(&t->lock);
    if (say && left_out)
        sf_warn("daemon", "event=request-failed err=%s reason=%s left_out=%" PRIu64,
                sf_errno_name(err->code), err->msg, left_out);
    else if (say)
        sf_warn("daemon", "event=request-failed err=%s reason=%s", sf_errno_name(err->code),
                err->msg);
}

uint64_t
sf_trouble_last(struct sf_trouble_log *t, char *out, size_t size)
{
    char time[32];
    SF_GUARD(&t->lock);
    out[0] = '\0';
    if (t->count) {
        sf_time_format_ms(t->last_ns, time);
        snprintf(out, size, "%s %s", time, t->last);
    }
    return t->count;
}
