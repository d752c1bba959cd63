/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_GATE_H
#define SF_PROVIDER_GATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "provider/error.h"

/*
 * When a provider may be asked: so many requests at once, so many in a minute, none while it asked
 * us to wait. When it keeps failing, or refuses the key or for want of money, nobody is let through
 * for a while; then one request tries whether it is over.
 *
 * It sends nothing and has no timer, but is told the time: who owns it calls sf_gate_run() when
 * sf_gate_next() says. All functions but sf_gate_figures() belong to one thread at a time.
 */
struct sf_gate;

struct sf_gate_opts {
    unsigned slots; /* requests at once; 0 = 1 */
    unsigned
        rpm; /* requests in any minute (and up to 1024 more, if this is over 1024); 0 = no limit */
    unsigned failures;   /* so many in a row close it; 0 = 5 */
    int64_t rest_ms;     /* for so long at first, twice as long after each failed try; 0 = 30 s */
    int64_t rest_max_ms; /* and at most so long; 0 = 10 min */
    int64_t refused_ms;  /* after a refused key, want of money, a used-up cap; 0 = 10 min */
};

/* A request that wants to pass, within the struct of who asks. Zeroed to begin with. */
struct sf_gate_turn {
    TAILQ_ENTRY(sf_gate_turn) link;
    /*
     * Called once for each sf_gate_ask(), from within it or from a later call of any function here,
     * and may call all of them. @fault = NULL: it has a slot until sf_gate_leave(). Else it has
     * none, and that is why.
     */
    void (*fn)(struct sf_gate_turn *turn, const struct sf_provider_fault *fault);
    int64_t asked_ms, deadline_ms;
    bool force;    /* pass also where the gate is closed: somebody wants to know */
    bool waiting;  /* in the line */
    bool has_slot; /* let through, not back yet */
    bool trying;   /* the one that tries whether it is over */
};

/** sf_gate_new - @opts are copied. 0 or -ENOMEM. */
int sf_gate_new(const struct sf_gate_opts *opts, struct sf_gate **ret);
/** sf_gate_free - nobody waits, and all slots are back (asserted). NULL is allowed. */
void sf_gate_free(struct sf_gate *gate);

/**
 * sf_gate_ask - stand in line; turn->fn hears what came of it. It is refused
 * at once while the gate is closed, or when its turn would come after @deadline_ms.
 */
void sf_gate_ask(struct sf_gate *gate, struct sf_gate_turn *turn, int64_t deadline_ms,
                 int64_t now_ms);

/** sf_gate_cancel - leave the line. Returns false when it does not wait. fn is not called. */
bool sf_gate_cancel(struct sf_gate *gate, struct sf_gate_turn *turn, int64_t now_ms);

/**
 * sf_gate_leave - give the slot back.
 * @fault: what came of the request (SF_PC_OK: it succeeded); NULL = nobody knows, it was cancelled.
 */
void sf_gate_leave(struct sf_gate *gate, struct sf_gate_turn *turn,
                   const struct sf_provider_fault *fault, int64_t now_ms);

/** sf_gate_reset - key or settings have changed: what was refused may not be now. */
void sf_gate_reset(struct sf_gate *gate, int64_t now_ms);

/** sf_gate_run - let through and refuse whose moment has come. */
void sf_gate_run(struct sf_gate *gate, int64_t now_ms);
/** sf_gate_next - when to call sf_gate_run(); INT64_MAX = no need. */
int64_t sf_gate_next(const struct sf_gate *gate);

enum sf_gate_state {
    SF_GATE_OPEN,
    SF_GATE_WAITS,  /* the provider asked to wait, or the minute is full */
    SF_GATE_CLOSED, /* nobody is let through */
    SF_GATE_TRIES,  /* closed, and one request tries, or the next one may */
};

struct sf_gate_figures {
    enum sf_gate_state state;
    unsigned slots, used, waiting;
    uint64_t passed, refused;
    unsigned failures;             /* in a row, until now */
    int64_t until_ms;              /* of WAITS and CLOSED; else 0 */
    struct sf_provider_fault last; /* what it waits for or was closed for; cls OK = nothing */
};

/** sf_gate_figures - as they are now; any thread. */
void sf_gate_figures(struct sf_gate *gate, int64_t now_ms, struct sf_gate_figures *out);

#endif
