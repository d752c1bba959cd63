/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "provider/want-job.h"

#define WORKERS       4
#define WORKERS_MAX   16
#define WAITING       1024
#define CLAIM_WAIT_MS 500

static const int64_t remember_ms[3] = {30000, 600000, 2000};
static const struct sf_provider_confs no_confs;

/* ---- start ----------------------------------------------------------------------------------- */

/* Who claims: the same for all mounts that have this state directory, one after the other, so that
 * the claims of one that was killed are the next one's. */
static void
holder_of(const char *dir, char out[37])
{
    char path[PATH_MAX + 16];
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    snprintf(path, sizeof path, "%s/holder", dir);
    if (sf_read_file(path, 64, &text, NULL) == 0 && text.len == 36 && !strpbrk(text.data, "\"\\\n"))
        snprintf(out, 37, "%s", text.data);
    else if (sf_uuid4(out) == 0)
        (void)sf_write_file_atomic(path, out, 36, 0600, NULL); /* it is good for this mount */
}

static void
set_opts(struct sf_providers *ps, const struct sf_providers_opts *o)
{
    ps->opts = (struct sf_providers_opts){.workers = o->workers,
                                          .waiting = o->waiting ? o->waiting : WAITING,
                                          .lease_s = o->lease_s,
                                          .claim_wait_ms =
                                              o->claim_wait_ms ? o->claim_wait_ms : CLAIM_WAIT_MS};
    for (size_t i = 0; i < 3; i++)
        ps->opts.remember_ms[i] = o->remember_ms[i] ? o->remember_ms[i] : remember_ms[i];
}

static int
open_one(struct sf_providers *ps, size_t i)
{
    struct want_one *one = &ps->all[i];
    const struct sf_provider_conf *conf = &ps->confs->all[i];
    unsigned workers = ps->opts.workers;
    one->ps = ps;
    one->conf = conf;
    if (!workers && conf->concurrency > WORKERS)
        workers = conf->concurrency < WORKERS_MAX ? conf->concurrency : WORKERS_MAX;
    int rc = conf->base_url ? sf_provider_open(ps->http, conf, &one->p) : 0;
    return rc ? rc
              : sf_pool_new("sf-want", workers ? workers : WORKERS, ps->opts.waiting, &one->pool);
}

static int
open_dir(struct sf_providers *ps, const struct sf_providers_opts *o, struct sf_err *err)
{
    char dir[PATH_MAX], holder[37] = "";
    const struct sf_ids_opts ids = {.dir = dir, .max_bytes = o->ids_bytes};
    if ((size_t)snprintf(dir, sizeof dir, "%s/providers", o->state_dir) >= sizeof dir)
        return sf_err_set(err, -ENAMETOOLONG, "%s: the name is too long", o->state_dir);
    int rc = sf_ids_open(&ids, &ps->ids, err);
    if (rc || (!o->storage && !o->tables))
        return rc;
    if (!o->holder)
        holder_of(dir, holder);
    rc = sf_claims_new(o->storage, o->tables, o->holder ? o->holder : holder, &ps->claims);
    return rc ? sf_err_set(err, rc, "no memory") : 0;
}

static int
open_all(struct sf_providers *ps, struct sf_err *err)
{
    int rc = 0;
    ps->all = calloc(ps->confs->n ? ps->confs->n : 1, sizeof *ps->all);
    if (!ps->all)
        rc = -ENOMEM;
    for (size_t i = 0; !rc && i < ps->confs->n; i++)
        rc = open_one(ps, i);
    return rc ? sf_err_set(err, rc, "no memory") : 0;
}

int
sf_providers_open(struct sf_http *http, const struct sf_provider_confs *confs,
                  const struct sf_providers_opts *opts, struct sf_providers **ret,
                  struct sf_err *err)
{
    struct sf_providers *ps = calloc(1, sizeof *ps);
    if (!ps)
        return sf_err_set(err, -ENOMEM, "no memory");
    ps->http = http;
    ps->confs = confs;
    sf_mutex_init(&ps->lock, 0);
    sf_cond_init(&ps->wake);
    TAILQ_INIT(&ps->jobs);
    TAILQ_INIT(&ps->ended);
    set_opts(ps, opts);
    int rc = open_dir(ps, opts, err);
    if (!rc)
        rc = open_all(ps, err);
    if (!rc) {
        rc = sf_thread_start("sf-wants", want_keeper, ps, &ps->keeper);
        ps->keeper_runs = rc == 0;
        if (rc)
            rc = sf_err_set(err, rc, "no thread can be started");
    }
    if (rc)
        sf_providers_free(ps);
    else
        *ret = ps;
    return rc;
}

/* ---- end ------------------------------------------------------------------------------------- */

void
sf_providers_stop(struct sf_providers *ps)
{
    if (ps)
        want_stop(ps);
}

void
sf_providers_free(struct sf_providers *ps)
{
    if (!ps)
        return;
    sf_providers_stop(ps);
    for (size_t i = 0; ps->all && i < ps->confs->n; i++)
        sf_pool_free(ps->all[i].pool);
    if (ps->keeper_runs) {
        {
            SF_GUARD(&ps->lock);
            ps->keeper_ends = true;
            sf_cond_signal(&ps->wake);
        }
        pthread_join(ps->keeper, NULL);
    }
    for (size_t i = 0; ps->all && i < ps->confs->n; i++)
        sf_provider_free(ps->all[i].p);
    assert(TAILQ_EMPTY(&ps->jobs) && !ps->askers);
    want_memos_free(ps);
    sf_claims_free(ps->claims);
    sf_ids_close(ps->ids);
    sf_cond_fini(&ps->wake);
    sf_mutex_fini(&ps->lock);
    free(ps->all);
    free(ps);
}

/* ---- how it goes ----------------------------------------------------------------------------- */

const struct sf_provider_confs *
sf_providers_confs(const struct sf_providers *ps)
{
    return ps ? ps->confs : &no_confs;
}

struct sf_provider *
sf_providers_one(struct sf_providers *ps, const char *name)
{
    struct want_one *one = want_one(ps, name);
    struct sf_provider_fault fault;
    return one && want_usable(one, &fault) == 0 ? one->p : NULL;
}

int
sf_providers_figures(struct sf_providers *ps, const char *name, struct sf_providers_figures *out)
{
    struct want_one *one = want_one(ps, name);
    memset(out, 0, sizeof *out);
    if (!one)
        return -ENOENT;
    if (one->p)
        sf_provider_figures(one->p, &out->gate);
    out->ids = sf_ids_count(ps->ids, one->conf->name);
    snprintf(out->tables, sizeof out->tables, "%s", sf_claims_state(ps->claims));
    SF_GUARD(&ps->lock);
    out->waiting = one->waiting;
    out->working = one->working;
    out->wants = one->wants;
    out->uploads = one->uploads;
    out->failed = one->failed;
    out->shared = one->shared;
    out->bytes = one->bytes;
    snprintf(out->last_error, sizeof out->last_error, "%s", one->last_error);
    return 0;
}

static void
health_of(struct want_one *one, struct sf_route_provider *out, char why[400])
{
    struct sf_gate_figures g = {.state = SF_GATE_OPEN};
    if (one->p)
        sf_provider_figures(one->p, &g);
    bool full = g.state == SF_GATE_OPEN && g.slots && g.used >= g.slots;
    out->conf = one->conf;
    out->health = g.state == SF_GATE_CLOSED          ? SF_RH_DOWN
                  : g.state == SF_GATE_WAITS || full ? SF_RH_LIMITED
                                                     : SF_RH_UP;
    out->wait_ms = g.until_ms ? g.until_ms - sf_clock_ms() : -1;
    if (out->wait_ms < -1)
        out->wait_ms = 0;
    snprintf(why, 400, "%s", full ? "all of its slots are taken" : g.last.text);
    out->why = *why ? why : NULL;
}

int
sf_providers_route(struct sf_providers *ps, const struct sf_want_file *file,
                   const struct sf_route_policy *policy, struct sf_route *out)
{
    const struct sf_provider_facts facts = {
        .size = file->size, .name = file->name ? file->name : "", .mime = file->mime};
    size_t n = sf_providers_confs(ps)->n;
    struct sf_route_provider states[SF_ROUTE_MAX] = {{.conf = NULL}};
    char(*why)[400] = n && n <= SF_ROUTE_MAX ? calloc(n, sizeof *why) : NULL;
    struct sf_want_state known;
    if (n > SF_ROUTE_MAX)
        return -E2BIG;
    if (n && !why)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        health_of(&ps->all[i], &states[i], why[i]);
        states[i].has_id = sf_want_known(ps, ps->confs->all[i].name, file, NULL, &known) == 0 &&
                           known.phase == SF_WANT_READY;
    }
    int rc = sf_route(&facts, states, n, policy, out);
    free(why);
    return rc;
}
