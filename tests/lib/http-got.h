/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_HTTP_GOT_H
#define SF_TESTS_HTTP_GOT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "http/http.h"

/* What came of a request: a completion that keeps a copy, and a wait for it. Zeroed to begin with.
 */
struct got {
    atomic_int calls; /* of the completion */
    unsigned order;   /* 1 = the first of all that have completed */
    int status, attempts;
    int64_t elapsed_ms;
    struct sf_err err;
    char *body; /* copy, NUL-terminated, NULL = none */
    size_t body_len;
    char header[128]; /* the value of X-Toy, "" = none */
    bool on_loop;
    struct sf_http *http; /* set it to have on_loop checked */
};

void got_done(void *arg, const struct sf_http_reply *reply);
/* Wait until it has completed; a test that waits over 30 s is aborted. */
void got_wait(struct got *g);
void got_fini(struct got *g);
/* Milliseconds on the clock of deadlines. */
int64_t got_now(void);
void got_sleep(int ms);
/* Submit a GET with a deadline in @ms from now and wait. */
void got_get(struct sf_http *http, const char *url, int ms, struct got *g);
/* Poll until *(counter) is at least n; false after 10 s. */
bool got_reaches(const atomic_uint *counter, unsigned n);

#endif
