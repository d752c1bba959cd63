/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/room.h"

#include <stdlib.h>
#include <utlist.h>

#include "base/clock.h"
#include "observe/log.h"
#include "write/keep.h"

#define LET_MS 60000 /* until one more is let in, while nothing is stored */

/*
 * How much may be acknowledged and not in the bucket. Who finds no room waits, in order; it is let
 * in when something was sent. One that has a place already gets its own place again.
 */
struct sf_room {
    uint64_t max_files, max_bytes;
    int64_t max_age_ns; /* 0 = none */

    struct sf_mutex lock;            /* leaf; protects the fields below */
    uint64_t files, bytes;           /* without what is stuck */
    struct sf_charge *charges;       /* these, oldest first */
    uint64_t stuck;                  /* files */
    uint64_t stored;                 /* counts what the service has taken */
    int64_t let_until_ms;            /* nobody is let in past what is too old */
    struct sf_keeping_link *waiting; /* in order */
    unsigned n_waiting;
    bool open;
    bool told; /* the log knows that somebody waits */
};

int
sf_room_new(uint64_t files, uint64_t bytes, int64_t age_ms, struct sf_room **ret)
{
    struct sf_room *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->max_files = files ? files : UINT64_MAX;
    r->max_bytes = bytes ? bytes : UINT64_MAX;
    r->max_age_ns = age_ms * 1000000;
    sf_mutex_init(&r->lock, 0);
    *ret = r;
    return 0;
}

void
sf_room_free(struct sf_room *r)
{
    if (!r)
        return;
    sf_mutex_fini(&r->lock);
    free(r);
}

/* ---- what is taken -------------------------------------------------------------------------- */

static void
charge_locked(struct sf_room *r, struct sf_charge *ch, uint64_t bytes, int64_t made_ns)
{
    if (!ch->on) {
        ch->on = true;
        ch->made_ns = made_ns;
        DL_APPEND(r->charges, ch);
        r->files++;
    }
    if (!ch->stuck)
        r->bytes += bytes - ch->bytes; /* wraps to a subtraction */
    ch->bytes = bytes;
}

static bool
counts(const struct sf_charge *ch)
{
    return ch->on && !ch->stuck;
}

/* The oldest, if it is too old for one that has no place yet; else NULL. */
static const struct sf_charge *
too_old_locked(const struct sf_room *r, const struct sf_charge *ch)
{
    const struct sf_charge *oldest = ch->on ? NULL : r->charges;
    bool old = oldest && r->max_age_ns && sf_wall_ns() - oldest->made_ns > r->max_age_ns;
    return old ? oldest : NULL;
}

/* NULL, or which bound is in the way of this content with so many bytes. */
static const char *
bound_locked(const struct sf_room *r, const struct sf_charge *ch, uint64_t bytes)
{
    uint64_t files = r->files - counts(ch), others = r->bytes - (counts(ch) ? ch->bytes : 0), sum;
    if (r->open || !files)
        return NULL;
    if (files >= r->max_files)
        return "writeback_files";
    if (__builtin_add_overflow(others, bytes, &sum) || sum > r->max_bytes)
        return "writeback_bytes";
    const struct sf_charge *old = too_old_locked(r, ch);
    return old && (!old->strikes || sf_clock_ms() < r->let_until_ms) ? "writeback_age" : NULL;
}

/* It has found room. */
static void
admit_locked(struct sf_room *r, struct sf_charge *ch, uint64_t bytes)
{
    if (!r->open && too_old_locked(r, ch))
        r->let_until_ms = sf_clock_ms() + LET_MS;
    charge_locked(r, ch, bytes, sf_wall_ns());
}

static void
wait_locked(struct sf_room *r, struct sf_keeping_link *l, const char *bound)
{
    DL_APPEND(r->waiting, l);
    l->waits = true;
    r->n_waiting++;
    if (!r->told)
        sf_warn("write", "event=writeback-full bound=%s files=%llu bytes=%llu text=%s", bound,
                (unsigned long long)r->files, (unsigned long long)r->bytes,
                "close() waits until something was sent");
    r->told = true;
}

/* Those who find room now, in order: a list of links, linked by next. */
static struct sf_keeping_link *
let_in_locked(struct sf_room *r)
{
    struct sf_keeping_link *in = NULL, *l;
    while ((l = r->waiting) && !bound_locked(r, l->charge, l->bytes)) {
        DL_DELETE(r->waiting, l);
        l->waits = false;
        r->n_waiting--;
        admit_locked(r, l->charge, l->bytes);
        DL_APPEND(in, l);
    }
    if (!r->waiting)
        r->told = false;
    return in;
}

static void
go_on(struct sf_keeping_link *in)
{
    while (in) {
        struct sf_keeping_link *l = in;
        DL_DELETE(in, l);
        sf_keep_admitted(l);
    }
}

bool
sf_room_enter(struct sf_writer *w, struct sf_keeping *k, uint64_t bytes)
{
    struct sf_room *r = w->room;
    struct sf_keeping_link *l = sf_keeping_link(k);
    SF_GUARD(&r->lock);
    bool must = atomic_load(&l->must);
    uint64_t more = bytes > l->charge->bytes ? bytes : l->charge->bytes;
    bool same = l->charge->on && bytes <= l->charge->bytes;
    const char *bound = must ? NULL : bound_locked(r, l->charge, bytes);
    if (!bound && !must && !same && r->waiting)
        bound = "order"; /* others came first */
    if (bound) {
        l->bytes = bytes;
        wait_locked(r, l, bound);
        return false;
    }
    if (must)
        charge_locked(r, l->charge, more, sf_wall_ns());
    else
        admit_locked(r, l->charge, more);
    return true;
}

void
sf_room_charge(struct sf_writer *w, struct sf_charge *ch, uint64_t bytes, int64_t made_ns)
{
    SF_GUARD(&w->room->lock);
    charge_locked(w->room, ch, bytes, made_ns ? made_ns : sf_wall_ns());
}

static void
stop_counting_locked(struct sf_room *r, struct sf_charge *ch)
{
    if (ch->stuck)
        return;
    DL_DELETE(r->charges, ch);
    r->files--;
    r->bytes -= ch->bytes;
}

static void
leave_locked(struct sf_room *r, struct sf_charge *ch)
{
    if (!ch->on)
        return;
    r->stuck -= ch->stuck;
    stop_counting_locked(r, ch);
    *ch = (struct sf_charge){.on = false};
}

bool
sf_room_wait(struct sf_writer *w, struct sf_keeping *k, bool has)
{
    struct sf_room *r = w->room;
    struct sf_keeping_link *l = sf_keeping_link(k);
    SF_GUARD(&r->lock);
    l->bytes = l->charge->bytes;
    if (!has)
        leave_locked(r, l->charge);
    if (r->open || r->files <= counts(l->charge))
        return false;
    wait_locked(r, l, "journal");
    return true;
}

void
sf_room_leave(struct sf_writer *w, struct sf_charge *ch)
{
    struct sf_room *r = w->room;
    sf_mutex_lock(&r->lock);
    leave_locked(r, ch);
    struct sf_keeping_link *in = let_in_locked(r);
    sf_mutex_unlock(&r->lock);
    go_on(in);
}

bool
sf_room_failed(struct sf_writer *w, struct sf_charge *ch)
{
    struct sf_room *r = w->room;
    bool stuck = false;
    sf_mutex_lock(&r->lock);
    if (counts(ch) && (!ch->strikes || ch->stored != r->stored)) {
        ch->strikes++;
        ch->stored = r->stored;
        stuck = ch->strikes >= SF_ROOM_STRIKES;
    }
    if (stuck) {
        stop_counting_locked(r, ch);
        ch->stuck = true;
        r->stuck++;
    }
    struct sf_keeping_link *in = let_in_locked(r);
    sf_mutex_unlock(&r->lock);
    go_on(in);
    return stuck;
}

void
sf_room_stored(struct sf_writer *w)
{
    struct sf_room *r = w->room;
    sf_mutex_lock(&r->lock);
    r->stored++;
    r->let_until_ms = 0;
    struct sf_keeping_link *in = let_in_locked(r);
    sf_mutex_unlock(&r->lock);
    go_on(in);
}

bool
sf_room_cancel(struct sf_writer *w, struct sf_keeping *k)
{
    struct sf_room *r = w->room;
    struct sf_keeping_link *l = sf_keeping_link(k);
    SF_GUARD(&r->lock);
    if (!l->waits)
        return false;
    DL_DELETE(r->waiting, l);
    l->waits = false;
    r->n_waiting--;
    return true;
}

void
sf_room_open(struct sf_writer *w, bool open)
{
    struct sf_room *r = w->room;
    sf_mutex_lock(&r->lock);
    r->open = open;
    struct sf_keeping_link *in = let_in_locked(r);
    sf_mutex_unlock(&r->lock);
    go_on(in);
}

void
sf_room_get_stats(struct sf_room *r, struct sf_room_stats *out)
{
    SF_GUARD(&r->lock);
    *out = (struct sf_room_stats){.files = r->files,
                                  .bytes = r->bytes,
                                  .stuck = r->stuck,
                                  .waiting = r->n_waiting,
                                  .oldest_ns = r->charges ? r->charges->made_ns : 0};
}
