/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_ROUTE_H
#define SF_PROVIDER_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "provider/settings.h"

/*
 * Which provider takes a file, and which comes next: a pure function of the file, what is known of
 * the providers, and what is asked. The same input gives the same order, whatever the order in
 * which the providers are given. Every one of them is told a reason, taken or not.
 */

enum sf_route_health {
    SF_RH_UP,
    SF_RH_LIMITED, /* it asked for a pause, or its slots are all taken */
    SF_RH_DOWN,    /* its breaker is open */
};

/* One provider as it is now. */
struct sf_route_provider {
    const struct sf_provider_conf *conf;
    enum sf_route_health health;
    int64_t wait_ms;   /* LIMITED, DOWN: until it may be asked again; -1 = not known */
    const char *why;   /* LIMITED, DOWN: a sentence without a full stop; NULL = none */
    bool has_id;       /* of this very content: nothing has to be sent */
    unsigned files;    /* in the account, as far as known; 0 = not known */
    bool no_files_api; /* learned from an answer */
};

enum sf_route_need {
    SF_RN_FILE_ID, /* the provider must take files */
    SF_RN_CHAT,    /* it must answer questions; text may be put into the question */
};

struct sf_route_policy {
    enum sf_route_need need;
    const char *wanted;    /* the provider asked for; NULL = auto */
    int64_t patience_ms;   /* a pause of at most so long does not count against a provider */
    uint64_t inline_bytes; /* CHAT: text up to so long needs no files API; 0 = none */
};

#define SF_ROUTE_MAX 64 /* providers at once */

struct sf_route_choice {
    size_t provider; /* position in the array that was given */
    bool taken;      /* it is in the order: ask it when those before it cannot */
    char reason[160];
};

struct sf_route {
    size_t n;     /* choices: one for each provider, those taken first and in order */
    size_t taken; /* how many are */
    struct sf_route_choice choice[SF_ROUTE_MAX];
};

/**
 * sf_route - the order in which providers are to be asked.
 * @n: at most SF_ROUTE_MAX.
 *
 * auto: the best of those that can take the file. For an id the ones that have it already come
 * first; then the healthy before the limited before the down ones; then, for a chat, the ones that
 * have it; then the order of the configuration, then the name. Asked for by name: that one.
 * Behind it come those that its `fallback` names, in that order, and no others; also where the one
 * that was asked for cannot take the file.
 *
 * Returns how many are taken; -E2BIG more than SF_ROUTE_MAX providers.
 */
int sf_route(const struct sf_provider_facts *file, const struct sf_route_provider *providers,
             size_t n, const struct sf_route_policy *policy, struct sf_route *out);

#endif
