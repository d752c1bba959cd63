/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_CALL_H
#define SF_PROVIDER_CALL_H

#include "provider/gate.h"
#include "provider/settings.h"

/*
 * A provider as it is talked to. Every request passes its gate and is repeated as the class of its
 * failure allows (docs/errors.md), until its deadline. Requests may be made and cancelled on any
 * thread; each ends with exactly one call of its callback, on the event thread, holding no lock. A
 * callback must not block; it may call everything here but sf_provider_free().
 */
struct sf_http;
struct sf_provider;

/**
 * sf_provider_open - nothing is sent yet. @http and @conf are borrowed until sf_provider_free().
 * Returns 0 or -ENOMEM.
 */
int sf_provider_open(struct sf_http *http, const struct sf_provider_conf *conf,
                     struct sf_provider **ret);

/**
 * sf_provider_free - cancel all requests, wait for their callbacks and for who reads sources. Not
 * on the event thread, and before sf_http_free(). NULL is allowed.
 */
void sf_provider_free(struct sf_provider *p);

const struct sf_provider_conf *sf_provider_conf(const struct sf_provider *p);

/** sf_provider_figures - slots, pauses, rest: for status and routing. Any thread. */
void sf_provider_figures(struct sf_provider *p, struct sf_gate_figures *out);

struct sf_provider_ask {
    enum sf_provider_route route; /* a GET, or DELETE; copied, with what follows */
    const char *id, *purpose, *after;
    int64_t deadline_ms; /* on sf_clock_ms(); 0 = as the settings say, from now */
    size_t limit;        /* bytes of the reply; 0 = as provider.h says for the route */
    bool force;          /* also while it rests after failures: somebody wants to know */
};

/* What came of it; valid during the callback. */
struct sf_provider_said {
    const struct sf_provider_fault *fault; /* never NULL; class SF_PC_OK = success */
    const char *body;                      /* of a success; may be NULL when empty */
    size_t len;
    int64_t date_s;    /* the provider's clock as the reply tells it; 0 = not told */
    bool open;         /* it may have taken effect though it failed */
    unsigned attempts; /* that reached the network */
};
typedef void (*sf_provider_said_fn)(void *arg, const struct sf_provider_said *said);

/** sf_provider_ask - one request. Returns its id; 0 = no memory, @fn is not called then. */
uint64_t sf_provider_ask(struct sf_provider *p, const struct sf_provider_ask *ask,
                         sf_provider_said_fn fn, void *arg);

/** sf_provider_cancel - of any request, upload, list or chat: it ends with -ECANCELED soon, unless
 * it ended. */
void sf_provider_cancel(struct sf_provider *p, uint64_t id);

#endif
