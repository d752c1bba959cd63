/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/thread.h"

/* poll() does not notice that the machine slept; deadlines do. So it is asked again at least so
 * often while something is pending. */
#define POLL_BUSY_MS 1000
#define POLL_IDLE_MS 10000

static _Thread_local const struct sf_http *loop_of_this_thread;

bool
sf_http_on_loop(const struct sf_http *http)
{
    return loop_of_this_thread == http;
}

bool
http_kick_locked(struct sf_http *http)
{
    SF_ASSERT_HELD(&http->lock);
    if (sf_http_on_loop(http) || http->woken)
        return false;
    http->woken = true;
    return true;
}

/* ---- commands from anywhere ---------------------------------------------------------------------
 */

uint64_t
sf_http_submit(struct sf_http *http, struct sf_http_req *req, sf_http_done_fn done, void *arg)
{
    bool wake;
    uint64_t id;
    req->done = done;
    req->done_arg = arg;
    req->submitted_ms = sf_clock_ms();
    if (!req->deadline_ms)
        req->deadline_ms = req->submitted_ms + 60000;
    req->state = HTTP_INBOX;
    {
        SF_GUARD(&http->lock);
        req->id = id = ++http->next_id;
        HASH_ADD(hh, http->by_id, id, sizeof req->id, req);
        if (!SF_HTAB_ADDED(req))
            (void)!sf_err_set(&req->bad, -ENOMEM, "out of memory");
        TAILQ_INSERT_TAIL(&http->inbox, req, link);
        http->stats.submitted++;
        wake = http_kick_locked(http);
    }
    if (wake)
        curl_multi_wakeup(http->multi);
    return id;
}

void
sf_http_cancel(struct sf_http *http, uint64_t id)
{
    bool wake = false;
    {
        SF_GUARD(&http->lock);
        struct sf_http_req *req;
        HASH_FIND(hh, http->by_id, &id, sizeof id, req);
        if (req && !req->cancel_wanted) {
            req->cancel_wanted = true;
            TAILQ_INSERT_TAIL(&http->cancels, req, cancel_link);
            wake = http_kick_locked(http);
        }
    }
    if (wake)
        curl_multi_wakeup(http->multi);
}

void
sf_http_req_resume(struct sf_http *http, uint64_t id)
{
    bool wake = false;
    {
        SF_GUARD(&http->lock);
        struct sf_http_req *req;
        HASH_FIND(hh, http->by_id, &id, sizeof id, req);
        if (req && !req->resume_wanted) {
            req->resume_wanted = true;
            TAILQ_INSERT_TAIL(&http->resumes, req, resume_link);
            wake = http_kick_locked(http);
        }
    }
    if (wake)
        curl_multi_wakeup(http->multi);
}

int
sf_http_post(struct sf_http *http, sf_http_call_fn fn, void *arg)
{
    struct http_post *p = malloc(sizeof *p);
    bool wake;
    if (!p)
        return -ENOMEM;
    p->fn = fn;
    p->arg = arg;
    {
        SF_GUARD(&http->lock);
        TAILQ_INSERT_TAIL(&http->posts, p, link);
        wake = http_kick_locked(http);
    }
    if (wake)
        curl_multi_wakeup(http->multi);
    return 0;
}

/* ---- the loop -----------------------------------------------------------------------------------
 */

static struct sf_http_req *
pop_cancel(struct sf_http *http)
{
    SF_GUARD(&http->lock);
    struct sf_http_req *req = TAILQ_FIRST(&http->cancels);
    if (!req)
        return NULL;
    TAILQ_REMOVE(&http->cancels, req, cancel_link);
    req->cancel_wanted = false;
    if (req->state == HTTP_INBOX) { /* submitted after the inbox was taken over */
        TAILQ_REMOVE(&http->inbox, req, link);
        req->state = HTTP_NEW;
    }
    return req;
}

static struct sf_http_req *
pop_resume(struct sf_http *http)
{
    SF_GUARD(&http->lock);
    struct sf_http_req *req = TAILQ_FIRST(&http->resumes);
    if (!req)
        return NULL;
    TAILQ_REMOVE(&http->resumes, req, resume_link);
    req->resume_wanted = false;
    return req;
}

static void
run_commands(struct sf_http *http)
{
    struct http_req_list inbox = TAILQ_HEAD_INITIALIZER(inbox);
    struct http_post_list posts = TAILQ_HEAD_INITIALIZER(posts);
    struct sf_http_req *req;
    struct http_post *p;
    {
        SF_GUARD(&http->lock);
        http->woken = false;
        TAILQ_CONCAT(&inbox, &http->inbox, link);
        TAILQ_CONCAT(&posts, &http->posts, link);
    }
    while ((req = TAILQ_FIRST(&inbox))) {
        TAILQ_REMOVE(&inbox, req, link);
        http_queue_accept(http, req);
    }
    while ((req = pop_cancel(http)))
        http_req_abort(http, req, -ECANCELED, "cancelled");
    while ((req = pop_resume(http)))
        http_transfer_resume(http, req);
    while ((p = TAILQ_FIRST(&posts))) {
        TAILQ_REMOVE(&posts, p, link);
        p->fn(p->arg);
        free(p);
    }
}

static bool
commands_wait_locked(const struct sf_http *http)
{
    SF_ASSERT_HELD(&http->lock);
    return !TAILQ_EMPTY(&http->inbox) || !TAILQ_EMPTY(&http->cancels) ||
           !TAILQ_EMPTY(&http->resumes) || !TAILQ_EMPTY(&http->posts);
}

static bool
closing(struct sf_http *http)
{
    SF_GUARD(&http->lock);
    return http->closing && !http->retiring;
}

/* Returns false when the loop is to end. */
static bool
wait_for_work(struct sf_http *http)
{
    const struct http_due *d = http_due_first(&http->dues);
    int64_t next = d ? d->at_ms : INT64_MAX, now = sf_clock_ms();
    {
        SF_GUARD(&http->lock);
        if (http->stopping)
            return false;
        if (commands_wait_locked(http) || (http->closing && !http->retiring))
            return true;
        int64_t timer = http_timer_next_locked(http);
        if (timer < next)
            next = timer;
    }
    int64_t most = next == INT64_MAX ? POLL_IDLE_MS : POLL_BUSY_MS;
    int64_t ms = next > now ? next - now : 0;
    if (curl_multi_poll(http->multi, NULL, 0, (int)(ms < most ? ms : most), NULL) != CURLM_OK)
        usleep(10000); /* out of memory: do not spin */
    return true;
}

/* Complete everything that is left, also what completions submit meanwhile. */
static void
retire(struct sf_http *http)
{
    static const char why[] = "cancelled, because the program stops";
    bool more = true;
    http->retiring = true;
    while (more) {
        struct sf_http_req *req;
        struct http_host *h;
        run_commands(http);
        while ((req = TAILQ_FIRST(&http->active)) || (req = TAILQ_FIRST(&http->waiting)))
            http_req_abort(http, req, -ECANCELED, why);
        while ((h = TAILQ_FIRST(&http->hosts))) {
            for (int i = 0; i < HTTP_CLASSES; i++) {
                if ((req = TAILQ_FIRST(&h->queue[i]))) {
                    http_req_abort(http, req, -ECANCELED, why);
                    break; /* the host may be gone with it */
                }
            }
        }
        SF_GUARD(&http->lock);
        more = commands_wait_locked(http);
    }
}

static void *
loop_main(void *arg)
{
    struct sf_http *http = arg;
    loop_of_this_thread = http;
    do {
        int running;
        run_commands(http);
        http_timer_run(http);
        http_queue_run_dues(http);
        http_queue_admit(http);
        curl_multi_perform(http->multi, &running);
        http_transfer_reap(http);
        run_commands(http); /* what completions want comes before what waits */
        http_queue_admit(http);
        if (closing(http))
            retire(http);
    } while (wait_for_work(http));
    retire(http);
    return NULL;
}

/* ---- start and stop -----------------------------------------------------------------------------
 */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_rc;

static void
curl_start(void)
{
    curl_rc = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static const char *
default_ca_file(void)
{
    static const char *const names[] = {"CURL_CA_BUNDLE", "SSL_CERT_FILE"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *v = secure_getenv(names[i]);
        if (v && *v)
            return v;
    }
    return NULL;
}

static void
set_defaults(struct sf_http_opts *o)
{
    o->max_connections = o->max_connections ? o->max_connections : 16;
    o->max_queue = o->max_queue ? o->max_queue : 65536;
    o->connect_ms = o->connect_ms ? o->connect_ms : 10000;
    o->stall_ms = o->stall_ms ? o->stall_ms : 15000;
    o->backoff_min_ms = o->backoff_min_ms ? o->backoff_min_ms : 200;
    o->backoff_max_ms = o->backoff_max_ms ? o->backoff_max_ms : 30000;
}

static int
copy_strings(struct sf_http *http, struct sf_err *err)
{
    const char *ua = http->opts.user_agent, *ca = http->opts.ca_file;
    if (!ca)
        ca = default_ca_file();
    if (ca && access(ca, R_OK) < 0)
        return sf_err_set(err, -errno, "CA file %s: %m", ca);
    http->user_agent = strdup(ua ? ua : PACKAGE_NAME "/" PACKAGE_VERSION);
    http->ca_file = ca ? strdup(ca) : NULL;
    http->opts.user_agent = http->opts.ca_file = NULL;
    if (!http->user_agent || (ca && !http->ca_file))
        return sf_err_set(err, -ENOMEM, "out of memory");
    return 0;
}

/* Of one whose thread does not run. */
static void
destroy(struct sf_http *http)
{
    while (http->n_idle)
        curl_easy_cleanup(http->idle[--http->n_idle]);
    if (http->multi)
        curl_multi_cleanup(http->multi);
    http_timer_drop_all(http);
    http_due_vec_fini(&http->dues);
    sf_mutex_fini(&http->lock);
    free(http->idle);
    free(http->user_agent);
    free(http->ca_file);
    free(http);
}

static int
init(struct sf_http *http, struct sf_err *err)
{
    unsigned n = http->opts.max_connections;
    int rc = copy_strings(http, err);
    if (rc)
        return rc;
    http->idle = calloc(n, sizeof *http->idle);
    http->multi = curl_multi_init();
    if (!http->idle || !http->multi)
        return sf_err_set(err, -ENOMEM, "out of memory");
    /* How many run at once is decided in queue.c; curl only keeps the connections warm. */
    curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, 2L * n);
    return 0;
}

int
sf_http_new(const struct sf_http_opts *opts, struct sf_http **ret, struct sf_err *err)
{
    pthread_once(&curl_once, curl_start);
    if (curl_rc)
        return sf_err_set(err, -ENOMEM, "libcurl does not start: %s", curl_easy_strerror(curl_rc));
    struct sf_http *http = calloc(1, sizeof *http);
    if (!http)
        return sf_err_set(err, -ENOMEM, "out of memory");
    if (opts)
        http->opts = *opts;
    set_defaults(&http->opts);
    sf_mutex_init(&http->lock, 0);
    TAILQ_INIT(&http->inbox);
    TAILQ_INIT(&http->cancels);
    TAILQ_INIT(&http->resumes);
    TAILQ_INIT(&http->posts);
    TAILQ_INIT(&http->hosts);
    TAILQ_INIT(&http->active);
    TAILQ_INIT(&http->waiting);
    int rc = init(http, err);
    if (rc == 0) {
        rc = sf_thread_start("sf-http", loop_main, http, &http->thread);
        if (rc)
            rc = sf_err_set(err, rc, "start of the http thread: %s", sf_errno_name(rc));
    }
    if (rc) {
        destroy(http);
        return rc;
    }
    *ret = http;
    return 0;
}

void
sf_http_close(struct sf_http *http)
{
    {
        SF_GUARD(&http->lock);
        http->closing = true;
    }
    curl_multi_wakeup(http->multi);
}

void
sf_http_free(struct sf_http *http)
{
    if (!http)
        return;
    {
        SF_GUARD(&http->lock);
        http->stopping = true;
    }
    curl_multi_wakeup(http->multi);
    pthread_join(http->thread, NULL);
    destroy(http);
}
