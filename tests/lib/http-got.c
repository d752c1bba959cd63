/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http-got.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static unsigned completed;

void
got_done(void *arg, const struct sf_http_reply *reply)
{
    struct got *g = arg;
    pthread_mutex_lock(&lock);
    g->order = ++completed;
    g->status = reply->status;
    g->attempts = reply->attempts;
    g->elapsed_ms = reply->elapsed_ms;
    g->err = reply->err;
    free(g->body);
    g->body = NULL;
    g->body_len = reply->body_len;
    if (reply->body) {
        g->body = calloc(1, reply->body_len + 1);
        if (!g->body)
            abort();
        memcpy(g->body, reply->body, reply->body_len);
    }
    const char *x = sf_http_reply_header(reply, "x-toy");
    snprintf(g->header, sizeof g->header, "%s", x ? x : "");
    g->on_loop = g->http && sf_http_on_loop(g->http);
    g->calls++;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
}

void
got_wait(struct got *g)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += 30;
    pthread_mutex_lock(&lock);
    while (!g->calls) {
        if (pthread_cond_timedwait(&cond, &lock, &ts)) {
            fprintf(stderr, "a request did not complete within 30 s\n");
            abort();
        }
    }
    pthread_mutex_unlock(&lock);
}

void
got_fini(struct got *g)
{
    free(g->body);
    g->body = NULL;
}

int64_t
got_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_BOOTTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

void
got_sleep(int ms)
{
    struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&ts, NULL);
}

void
got_get(struct sf_http *http, const char *url, int ms, struct got *g)
{
    struct sf_http_req *req = sf_http_req_new(http, "GET", url);
    if (!req)
        abort();
    got_fini(g);
    *g = (struct got){.http = http};
    sf_http_req_deadline(req, got_now() + ms);
    sf_http_submit(http, req, got_done, g);
    got_wait(g);
}

bool
got_reaches(const atomic_uint *counter, unsigned n)
{
    for (int i = 0; i < 2000 && *counter < n; i++)
        got_sleep(5);
    return *counter >= n;
}
