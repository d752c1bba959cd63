/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/gate.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/lock.h"
#include "observe/counter.h"

#define MINUTE_MS     60000
#define WINDOW_MAX    1024 /* requests that are remembered; a faster pace is held in smaller parts */
#define RATE_PAUSE_MS 1000 /* after a refusal that does not say how long, doubled each time */
#define RATE_LEAST_MS 50   /* after one that says less */
#define RATE_MAX_MS   60000

TAILQ_HEAD(turn_list, sf_gate_turn);

struct sf_gate {
    struct sf_gate_opts opts;

    struct sf_mutex lock; /* a leaf; protects what follows from who reads figures */
    struct turn_list line;
    unsigned used, waiting;
    uint64_t passed, refused;

    int64_t *starts; /* of the last requests, a ring */
    unsigned window, n_starts, at;
    int64_t window_ms;

    int64_t pause_until; /* as the provider asked; 0 = it did not */
    unsigned rates;      /* refusals in a row */

    int64_t closed_until; /* 0 = open; once it is past one may try */
    bool refused_us;      /* closed for what waiting alone may not change */
    struct sf_gate_turn *trying;
    unsigned failures; /* in a row */
    int64_t rest_ms;   /* of the next rest */

    struct sf_provider_fault pause_fault, close_fault;
};

int
sf_gate_new(const struct sf_gate_opts *opts, struct sf_gate **ret)
{
    struct sf_gate *g = calloc(1, sizeof *g);
    if (!g)
        return -ENOMEM;
    g->opts = *opts;
    g->opts.slots = opts->slots ? opts->slots : 1;
    g->opts.failures = opts->failures ? opts->failures : 5;
    g->opts.rest_ms = opts->rest_ms ? opts->rest_ms : 30 * 1000;
    g->opts.rest_max_ms = opts->rest_max_ms ? opts->rest_max_ms : 600 * 1000;
    g->opts.refused_ms = opts->refused_ms ? opts->refused_ms : 600 * 1000;
    g->rest_ms = g->opts.rest_ms;
    if (opts->rpm) {
        g->window = opts->rpm < WINDOW_MAX ? opts->rpm : WINDOW_MAX;
        g->window_ms = (int64_t)MINUTE_MS * g->window / opts->rpm;
        g->starts = calloc(g->window, sizeof *g->starts);
        if (!g->starts) {
            free(g);
            return -ENOMEM;
        }
    }
    sf_mutex_init(&g->lock, 0);
    TAILQ_INIT(&g->line);
    *ret = g;
    return 0;
}

void
sf_gate_free(struct sf_gate *g)
{
    if (!g)
        return;
    assert(TAILQ_EMPTY(&g->line) && g->used == 0);
    sf_mutex_fini(&g->lock);
    free(g->starts);
    free(g);
}

/* ---- who may pass ---------------------------------------------------------------------------- */

static int64_t
ready_at(const struct sf_gate *g)
{
    int64_t at = g->pause_until;
    if (g->window && g->n_starts == g->window && g->starts[g->at] + g->window_ms > at)
        at = g->starts[g->at] + g->window_ms;
    return at;
}

static bool
is_closed(const struct sf_gate *g, int64_t now)
{
    return g->closed_until && (now < g->closed_until || g->trying);
}

static void
quit_line(struct sf_gate *g, struct sf_gate_turn *t)
{
    TAILQ_REMOVE(&g->line, t, link);
    t->waiting = false;
    g->waiting--;
    (void)sf_gauge_add(SF_G_PROVIDER_WAITING, -1);
}

/* What somebody hears who is not let through for what others have met. */
static void
tell_again(const struct sf_provider_fault *met, int64_t until, int64_t now,
           struct sf_provider_fault *out)
{
    int64_t left = until > now ? until - now : 0;
    *out = *met;
    out->retry_after_ms = left;
    snprintf(out->text, sizeof out->text, "not asked again for %" PRId64 " s, after: %.*s",
             (left + 999) / 1000, (int)sizeof out->text - 64, met->text);
}

/* Whether @t is not to wait any longer; fills @out then. */
static bool
is_refused(const struct sf_gate *g, const struct sf_gate_turn *t, int64_t now,
           struct sf_provider_fault *out)
{
    int64_t ready = ready_at(g);
    if (is_closed(g, now) && !t->force) {
        tell_again(&g->close_fault, g->closed_until, now, out);
    } else if (t->deadline_ms <= now) {
        (void)sf_provider_fault_set(out, SF_PC_TIMEOUT,
                                    "no turn within %" PRId64 " ms: %u requests are under way",
                                    now - t->asked_ms, g->used);
    } else if (t->deadline_ms <= g->pause_until) {
        tell_again(&g->pause_fault, g->pause_until, now, out);
    } else if (t->deadline_ms <= ready) {
        (void)sf_provider_fault_set(out, SF_PC_RATE,
                                    "the limit of %u requests in a minute that is set for it",
                                    g->opts.rpm);
        out->retry_after_ms = ready - now;
    } else {
        return false;
    }
    return true;
}

static void
let_pass(struct sf_gate *g, struct sf_gate_turn *t, int64_t now)
{
    quit_line(g, t);
    t->has_slot = true;
    t->trying = g->closed_until && !g->trying && now >= g->closed_until;
    if (t->trying)
        g->trying = t;
    g->used++;
    g->passed++;
    (void)sf_gauge_add(SF_G_PROVIDER_SLOTS, 1);
    if (g->window) {
        g->starts[g->at] = now;
        g->at = (g->at + 1) % g->window;
        g->n_starts += g->n_starts < g->window;
    }
}

/* The next one about whom there is something to say; NULL = nobody. */
static struct sf_gate_turn *
decide_next(struct sf_gate *g, int64_t now, struct sf_provider_fault *why)
{
    SF_GUARD(&g->lock);
    struct sf_gate_turn *t;
    TAILQ_FOREACH(t, &g->line, link)
    {
        if (!is_refused(g, t, now, why))
            continue;
        quit_line(g, t);
        g->refused++;
        return t;
    }
    t = TAILQ_FIRST(&g->line);
    if (!t || g->used >= g->opts.slots || ready_at(g) > now)
        return NULL;
    let_pass(g, t, now);
    return t;
}

void
sf_gate_run(struct sf_gate *g, int64_t now)
{
    struct sf_gate_turn *t;
    struct sf_provider_fault why;
    while ((t = decide_next(g, now, &why)))
        t->fn(t, t->has_slot ? NULL : &why);
}

int64_t
sf_gate_next(const struct sf_gate *g)
{
    const struct sf_gate_turn *t;
    int64_t next = INT64_MAX;
    TAILQ_FOREACH(t, &g->line, link)
    {
        if (t->deadline_ms < next)
            next = t->deadline_ms;
    }
    if (!TAILQ_EMPTY(&g->line) && g->used < g->opts.slots && ready_at(g) < next)
        next = ready_at(g);
    return next;
}

void
sf_gate_ask(struct sf_gate *g, struct sf_gate_turn *t, int64_t deadline_ms, int64_t now)
{
    assert(!t->waiting && !t->has_slot);
    t->asked_ms = now;
    t->deadline_ms = deadline_ms;
    t->trying = false;
    {
        SF_GUARD(&g->lock);
        TAILQ_INSERT_TAIL(&g->line, t, link);
        t->waiting = true;
        g->waiting++;
        (void)sf_gauge_add(SF_G_PROVIDER_WAITING, 1);
    }
    sf_gate_run(g, now);
}

bool
sf_gate_cancel(struct sf_gate *g, struct sf_gate_turn *t, int64_t now)
{
    if (!t->waiting)
        return false;
    {
        SF_GUARD(&g->lock);
        quit_line(g, t);
    }
    sf_gate_run(g, now);
    return true;
}

/* ---- what came of it ------------------------------------------------------------------------- */

enum outcome {
    WORKS,    /* it answers as it should, be it with a refusal of this request */
    NEUTRAL,  /* tells nothing */
    FAILS,    /* it is in trouble */
    REFUSES,  /* it answers nobody with this key for now */
    TOO_FAST, /* it wants fewer requests */
};

static enum outcome
outcome_of(const struct sf_provider_fault *f)
{
    if (!f || f->err == -ECANCELED || f->err == -ENOMEM)
        return NEUTRAL;
    switch (f->cls) {
    case SF_PC_SERVER:
    case SF_PC_NETWORK:
    case SF_PC_OVERLOADED:
    case SF_PC_TIMEOUT:
        return FAILS;
    case SF_PC_AUTH:
    case SF_PC_QUOTA:
    case SF_PC_RATE_LATER:
        return REFUSES;
    case SF_PC_RATE:
        return TOO_FAST;
    case SF_PC_LOADING:
    case SF_PC_PROTOCOL:
        return NEUTRAL;
    default:
        return WORKS;
    }
}

static void
open_gate(struct sf_gate *g)
{
    g->failures = 0;
    g->closed_until = 0;
    g->refused_us = false;
    g->rest_ms = g->opts.rest_ms;
    g->close_fault = (struct sf_provider_fault){0};
}

static void
close_gate(struct sf_gate *g, const struct sf_provider_fault *f, int64_t until)
{
    g->closed_until = until;
    g->close_fault = *f;
}

static void
note_failure(struct sf_gate *g, const struct sf_provider_fault *f, bool tried, int64_t now)
{
    g->failures++;
    if (!tried && (g->failures < g->opts.failures || g->closed_until))
        return; /* one that was under way when it closed tells nothing new */
    close_gate(g, f, now + g->rest_ms);
    g->rest_ms = g->rest_ms * 2 < g->opts.rest_max_ms ? g->rest_ms * 2 : g->opts.rest_max_ms;
}

static void
note_pause(struct sf_gate *g, const struct sf_provider_fault *f, bool fast, int64_t now)
{
    int64_t ms = f->retry_after_ms;
    if (ms < 0 && !fast)
        return;
    if (fast) {
        /* One that keeps saying "now" is not believed for ever either. */
        int64_t least = ms < 0 ? RATE_PAUSE_MS : RATE_LEAST_MS;
        for (unsigned i = 0; i < g->rates && least < RATE_MAX_MS; i++)
            least *= 2;
        g->rates++;
        if (ms < least)
            ms = least;
    }
    if (now + ms > g->pause_until) {
        g->pause_until = now + ms;
        g->pause_fault = *f;
    }
}

static void
note_outcome(struct sf_gate *g, const struct sf_provider_fault *f, bool tried, int64_t now)
{
    switch (outcome_of(f)) {
    case WORKS:
        g->rates = 0;
        open_gate(g);
        break;
    case FAILS:
        note_failure(g, f, tried, now);
        note_pause(g, f, false, now);
        break;
    case REFUSES:
        g->refused_us = true;
        close_gate(g, f, now + (f->retry_after_ms > 0 ? f->retry_after_ms : g->opts.refused_ms));
        break;
    case TOO_FAST:
        if (tried)
            open_gate(g); /* it is there again */
        note_pause(g, f, true, now);
        break;
    case NEUTRAL:
        break;
    }
}

void
sf_gate_leave(struct sf_gate *g, struct sf_gate_turn *t, const struct sf_provider_fault *f,
              int64_t now)
{
    assert(t->has_slot);
    {
        SF_GUARD(&g->lock);
        t->has_slot = false;
        g->used--;
        (void)sf_gauge_add(SF_G_PROVIDER_SLOTS, -1);
        if (g->trying == t)
            g->trying = NULL;
        note_outcome(g, f, t->trying, now);
        t->trying = false;
    }
    sf_gate_run(g, now);
}

void
sf_gate_reset(struct sf_gate *g, int64_t now)
{
    {
        SF_GUARD(&g->lock);
        if (g->refused_us)
            open_gate(g);
    }
    sf_gate_run(g, now);
}

void
sf_gate_figures(struct sf_gate *g, int64_t now, struct sf_gate_figures *out)
{
    SF_GUARD(&g->lock);
    int64_t ready = ready_at(g);
    *out = (struct sf_gate_figures){.slots = g->opts.slots,
                                    .used = g->used,
                                    .waiting = g->waiting,
                                    .passed = g->passed,
                                    .refused = g->refused,
                                    .failures = g->failures};
    if (g->closed_until) {
        out->state = now < g->closed_until ? SF_GATE_CLOSED : SF_GATE_TRIES;
        out->until_ms = now < g->closed_until ? g->closed_until : 0;
        out->last = g->close_fault;
    } else if (ready > now) {
        out->state = SF_GATE_WAITS;
        out->until_ms = ready;
        if (g->pause_until > now)
            out->last = g->pause_fault;
    }
}
