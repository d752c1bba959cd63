/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/vec.h"
#include "provider/want-job.h"

#define TABLES_MS 10000

/*
 * What is at the providers because of this mount, and need not be. Nothing is touched that it did
 * not upload, and nothing of which it is not certain that nobody needs it.
 */

struct mine {
    struct sf_id_key key;
    struct sf_id_row row;
};
SF_VEC_DEFINE(mines, struct mine);

struct prune {
    struct sf_prune_args args;
    char provider[33]; /* "" = all */
    sf_pruned_fn fn;
    void *arg;
    struct sf_pruned sum;
    /* Of the provider that it is at. */
    struct want_one *one;
    char account[65];
    struct mines mines;
};

static int
collect(void *arg, const struct sf_id_key *key, const struct sf_id_row *row)
{
    struct prune *p = arg;
    const struct mine m = {.key = *key, .row = *row};
    if (!row->ours || strcmp(key->provider, p->one->conf->name) != 0 ||
        strcmp(key->account, p->account) != 0)
        return 0;
    return mines_push(&p->mines, m);
}

/* ---- uploads that were killed ---------------------------------------------------------------- */

struct look {
    const struct want_one *one;
    const struct sf_id_key *key;
    const struct sf_id_row *intent;
    struct sf_provider_file file;
    unsigned n;
};

static int
look_each(void *arg, const struct sf_provider_file *file)
{
    struct look *l = arg;
    struct sf_id_key of;
    if (strcmp(file->filename, l->intent->filename) != 0 || file->bytes != l->intent->bytes ||
        file->state == SF_PF_FAILED || file->created_s < l->intent->created_s - WANT_CLOCKS_S ||
        file->created_s > l->intent->created_s + l->one->conf->upload_ms / 1000 + WANT_CLOCKS_S)
        return 0;
    if (sf_ids_find(l->one->ps->ids, l->key->provider, l->key->account, file->id, &of) == 0)
        return 0; /* of another content */
    l->n++;
    l->file = *file;
    return 0;
}

int
want_find_begun(struct want_job *job, const struct sf_id_key *key, const struct sf_id_row *intent,
                struct sf_provider_file *out)
{
    struct look l = {.one = job->one, .key = key, .intent = intent};
    int rc = want_ask_list(job, key->purpose, look_each, &l);
    if (rc)
        return rc;
    *out = l.file;
    return (int)l.n;
}

static int
collect_begun(void *arg, const struct sf_id_key *key, const struct sf_id_row *row)
{
    struct prune *p = arg;
    const struct mine m = {.key = *key, .row = *row};
    int64_t old_s = sf_wall_ns() / 1000000000 - p->one->conf->upload_ms / 1000 - WANT_CLOCKS_S;
    if (row->created_s > old_s || strcmp(key->provider, p->one->conf->name) != 0 ||
        strcmp(key->account, p->account) != 0)
        return 0;
    return mines_push(&p->mines, m);
}

static void
tell(struct prune *p, const struct mine *m, const struct sf_id_name *name,
     enum sf_prune_verdict verdict, const char *why)
{
    struct sf_prune_file f = {.provider = m->key.provider,
                              .id = m->row.id,
                              .filename = m->row.filename,
                              .bucket = name ? name->bucket : "",
                              .key = name ? name->key : "",
                              .bytes = m->row.bytes,
                              .created_s = m->row.created_s,
                              .verdict = verdict};
    snprintf(f.why, sizeof f.why, "%s", why);
    p->args.tell(p->args.arg, &f);
}

/* Of each either the file is found, and is an id like others then, or there is none. */
static int
settle_begun(struct want_job *job, struct prune *p)
{
    struct sf_ids *ids = p->one->ps->ids;
    int rc = sf_ids_intents(ids, collect_begun, p);
    for (size_t i = 0; !rc && i < p->mines.len && !want_abandoned(job); i++) {
        const struct mine *m = &p->mines.data[i];
        struct sf_provider_file file;
        struct sf_id_row row;
        int n = want_find_begun(job, &m->key, &m->row, &file);
        if (n < 0)
            return n;
        if (n == 0) {
            (void)sf_ids_intent_end(ids, &m->key);
        } else if (n > 1) {
            tell(p, m, NULL, SF_PRUNE_KEPT,
                 "an upload of it was killed, and several files of that name and size are there");
        } else {
            want_row(p->one, &file, true, &row);
            (void)sf_ids_put(ids, &m->key, &row);
        }
    }
    mines_clear(&p->mines);
    return rc;
}

/* ---- who needs it ---------------------------------------------------------------------------- */

/* Whether a file is known to the tables that needs it; not one of those in which it is no more. */
static int
is_needed_there(const struct prune *p, const struct mine *m, const struct sf_id_name *names, int n)
{
    const char *ids[SF_ID_NAMES];
    for (int i = 0; i < n; i++)
        ids[i] = names[i].id;
    return sf_claim_needed(p->one->ps->claims, &m->key, m->row.id, ids, (size_t)n,
                           sf_clock_ms() + TABLES_MS);
}

/* The verdict, and why; needed by a file: KEPT, and nothing to tell. */
static enum sf_prune_verdict
judge(struct prune *p, const struct mine *m, struct sf_id_name *names, int n, const char **why)
{
    *why = NULL;
    if (n == -E2BIG)
        *why = "more files had it than can be looked for";
    else if (n < 0)
        *why = "the state directory cannot be read";
    else if (n == 0)
        *why = "it is not known for which file it was uploaded";
    for (int i = 0; !*why && i < n; i++) {
        int still = p->args.is_still(p->args.arg, names[i].bucket, names[i].key, names[i].id,
                                     names[i].etag, m->row.bytes);
        if (still > 0)
            return SF_PRUNE_KEPT;
        if (still < 0)
            *why = "it cannot be told whether its file is the same still";
    }
    if (*why)
        return SF_PRUNE_KEPT;
    int there = is_needed_there(p, m, names, n);
    if (there > 0)
        *why = "the project's tables know another file with it";
    else if (there < 0)
        *why = "the project's tables cannot be asked";
    if (*why)
        return SF_PRUNE_KEPT;
    *why = "no file has this content any more";
    return SF_PRUNE_GOES;
}

static enum sf_prune_verdict
take_away(struct want_job *job, const struct mine *m, const char **why)
{
    struct sf_providers *ps = job->one->ps;
    int rc = want_ask_delete(job, m->row.id, false);
    if (rc && job->result.fault.cls != SF_PC_NOT_FOUND) {
        *why = job->result.fault.text;
        return SF_PRUNE_FAILED;
    }
    (void)sf_ids_drop(ps->ids, m->key.provider, m->key.account, m->row.id);
    (void)sf_claim_drop(ps->claims, m->key.provider, m->row.id, sf_clock_ms() + TABLES_MS);
    return SF_PRUNE_GONE;
}

static int
prune_file(struct want_job *job, struct prune *p, const struct mine *m)
{
    struct sf_id_name *names = calloc(SF_ID_NAMES, sizeof *names);
    const char *why = NULL;
    if (!names)
        return -ENOMEM;
    int n = sf_ids_names(p->one->ps->ids, &m->key, names);
    enum sf_prune_verdict verdict = judge(p, m, names, n, &why);
    p->sum.seen++;
    if (verdict == SF_PRUNE_GOES && p->args.yes && !want_abandoned(job))
        verdict = take_away(job, m, &why);
    if (verdict == SF_PRUNE_GOES || verdict == SF_PRUNE_GONE) {
        p->sum.gone++;
        p->sum.bytes += m->row.bytes;
    }
    p->sum.failed += verdict == SF_PRUNE_FAILED;
    if (why)
        tell(p, m, n > 0 ? names : NULL, verdict, why);
    free(names);
    return 0;
}

/* ---- one provider, all of them --------------------------------------------------------------- */

static int
prune_provider(struct want_job *job, struct prune *p)
{
    sf_provider_account(p->one->conf, p->account);
    int rc = settle_begun(job, p);
    if (!rc)
        rc = sf_ids_each(p->one->ps->ids, collect, p);
    for (size_t i = 0; !rc && i < p->mines.len && !want_abandoned(job); i++)
        rc = prune_file(job, p, &p->mines.data[i]);
    mines_clear(&p->mines);
    return rc;
}

static void
works_for(struct want_job *job, struct want_one *one)
{
    SF_GUARD(&one->ps->lock);
    job->one = one;
}

static void
prune_run(struct want_job *job)
{
    struct prune *p = job->work_arg;
    struct want_one *home = job->one;
    struct sf_providers *ps = home->ps;
    int rc = 0;
    for (size_t i = 0; !rc && i < ps->confs->n; i++) {
        struct sf_provider_fault fault;
        p->one = &ps->all[i];
        if (p->provider[0] && strcmp(p->provider, p->one->conf->name) != 0)
            continue;
        if (want_usable(p->one, &fault))
            continue;
        works_for(job, p->one);
        rc = prune_provider(job, p);
    }
    works_for(job, home);
    if (want_abandoned(job))
        rc = want_fail(job, -ECANCELED, "cancelled");
    else if (rc && job->result.fault.err != rc)
        (void)want_fail(job, rc, "%s", strerror(-rc));
    else if (!rc) /* what could not be deleted was told */
        job->result.fault = (struct sf_provider_fault){.retry_after_ms = -1};
    want_end(job);
}

static void
on_end(void *arg, const struct sf_wanted *wanted)
{
    struct prune *p = arg;
    if (wanted->rc)
        p->sum.rc = sf_err_set(&p->sum.err, wanted->rc, "%s", wanted->fault.text);
    mines_fini(&p->mines);
    p->fn(p->arg, &p->sum);
    free(p);
}

static uint64_t
refuse(sf_pruned_fn fn, void *arg, int rc, const char *why)
{
    struct sf_pruned sum = {.err = SF_ERR_INIT};
    sum.rc = sf_err_set(&sum.err, rc, "%s", why);
    fn(arg, &sum);
    return 0;
}

/* The first one that can be asked does it, for all. */
static struct want_one *
any_usable(struct sf_providers *ps, struct sf_provider_fault *fault)
{
    for (size_t i = 0; i < sf_providers_confs(ps)->n; i++)
        if (want_usable(&ps->all[i], fault) == 0)
            return &ps->all[i];
    return NULL;
}

uint64_t
sf_want_prune(struct sf_providers *ps, const struct sf_prune_args *args, sf_pruned_fn fn, void *arg)
{
    static const struct sf_want_file none = {.size = 0};
    struct want_job like = {.run = prune_run, .patient = true};
    struct sf_provider_fault fault = {.text = "there is no provider"};
    struct want_one *one = args->provider ? want_one(ps, args->provider) : any_usable(ps, &fault);
    if (!one)
        return refuse(fn, arg, -ENOENT, args->provider ? "there is no such provider" : fault.text);
    if (want_usable(one, &fault))
        return refuse(fn, arg, fault.err, fault.text);
    struct prune *p = calloc(1, sizeof *p);
    if (!p)
        return refuse(fn, arg, -ENOMEM, "no memory");
    p->args = *args;
    p->fn = fn;
    p->arg = arg;
    if (args->provider)
        snprintf(p->provider, sizeof p->provider, "%s", one->conf->name);
    want_key(one, NULL, &none, &like.key, like.version);
    like.work_arg = p;
    return want_start(one, &none, &like, INT64_MAX / 2, on_end, p);
}
