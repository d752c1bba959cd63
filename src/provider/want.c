/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/want.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/str.h"
#include "observe/counter.h"
#include "observe/log.h"
#include "provider/want-job.h"

#define GRACE_MS 1000 /* behind a deadline, for who knows better why it was missed */

int
want_fault(struct sf_provider_fault *out, int rc, const char *text)
{
    (void)sf_provider_fault_set(out, SF_PC_INVALID, "%s", text);
    snprintf(out->text, sizeof out->text, "%s", text); /* nobody said "bad request" */
    return out->err = rc;
}

/* ---- files ----------------------------------------------------------------------------------- */

static const char *
text(const char *s)
{
    return s ? s : "";
}

bool
want_object(const struct sf_want_file *f, struct sf_id_object *out)
{
    bool by_id = *text(f->id);
    *out = (struct sf_id_object){.bucket = by_id ? "" : text(f->bucket),
                                 .key = by_id ? f->id : text(f->key),
                                 .version = f->etag,
                                 .size = f->size};
    return *text(f->etag) && *out->key;
}

static bool
digest_of(const struct sf_id_object *o, char out[65])
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    unsigned char digest[EVP_MAX_MD_SIZE];
    if (sf_buf_append(&b, o->bucket, strlen(o->bucket) + 1) ||
        sf_buf_append(&b, o->key, strlen(o->key) + 1) ||
        sf_buf_append(&b, o->version, strlen(o->version) + 1) ||
        sf_buf_append(&b, &o->size, sizeof o->size) ||
        EVP_Digest(b.data, b.len, digest, NULL, EVP_sha256(), NULL) != 1)
        return false;
    sf_hex_encode(digest, 32, out);
    return true;
}

static bool
is_sha256(const char *s)
{
    return s && strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

void
want_key(struct want_one *one, const char *purpose, const struct sf_want_file *file,
         struct sf_id_key *key, char version[65])
{
    struct sf_id_object object;
    memset(key, 0, sizeof *key);
    version[0] = '\0';
    snprintf(key->provider, sizeof key->provider, "%s", one->conf->name);
    snprintf(key->purpose, sizeof key->purpose, "%s", purpose ? purpose : one->conf->purpose);
    sf_provider_account(one->conf, key->account);
    bool known = want_object(file, &object) && digest_of(&object, version);
    if (is_sha256(file->sha256))
        snprintf(key->sha256, sizeof key->sha256, "%s", file->sha256);
    else if (!known || sf_ids_hash(one->ps->ids, &object, key->sha256))
        key->sha256[0] = '\0';
}

void
want_name(struct want_one *one, const struct sf_id_key *key, const struct sf_want_file *f)
{
    struct sf_id_name name;
    if (!*text(f->etag) || !*text(f->bucket) || !*text(f->key))
        return;
    snprintf(name.bucket, sizeof name.bucket, "%s", f->bucket);
    snprintf(name.key, sizeof name.key, "%s", f->key);
    snprintf(name.id, sizeof name.id, "%s", text(f->id));
    snprintf(name.etag, sizeof name.etag, "%s", f->etag);
    sf_ids_name(one->ps->ids, key, &name);
}

static void
release_file(const struct sf_want_file *f)
{
    if (f->release)
        f->release(f->arg);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

static void
job_free(struct want_job *job)
{
    const struct sf_want_file *f = &job->file;
    release_file(f);
    const char *const texts[] = {f->name, f->mime, f->bucket, f->key, f->id, f->etag};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        free((char *)(uintptr_t)texts[i]);
    EVP_MD_CTX_free(job->digest);
    sf_cond_fini(&job->woken);
    free(job);
}

void
want_unref(struct want_job *job)
{
    sf_mutex_lock(&job->one->ps->lock);
    bool last = --job->refs == 0;
    sf_mutex_unlock(&job->one->ps->lock);
    if (last)
        job_free(job);
}

/* NULL without memory; the file is the caller's still. */
static struct want_job *
job_new(struct want_one *one, const struct sf_want_file *file, const struct want_job *like)
{
    struct want_job *job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    job->one = one;
    job->run = like->run;
    job->again = like->again;
    job->joinable = like->joinable;
    job->patient = like->patient;
    job->work_arg = like->work_arg;
    job->key = like->key;
    job->refs = 1;
    memcpy(job->version, like->version, sizeof job->version);
    memcpy(job->wanted_id, like->wanted_id, sizeof job->wanted_id);
    job->result.fault.retry_after_ms = -1;
    TAILQ_INIT(&job->askers);
    sf_cond_init(&job->woken);
    struct sf_want_file *f = &job->file;
    *f = (struct sf_want_file){.size = file->size,
                               .name = strdup(text(file->name)),
                               .mime = strdup(text(file->mime)),
                               .bucket = strdup(text(file->bucket)),
                               .key = strdup(text(file->key)),
                               .id = strdup(text(file->id)),
                               .etag = strdup(text(file->etag)),
                               .sha256 = ""};
    if (!f->name || !f->mime || !f->bucket || !f->key || !f->id || !f->etag) {
        job_free(job);
        return NULL;
    }
    f->read = file->read;
    f->stop = file->stop;
    f->release = file->release;
    f->arg = file->arg;
    return job;
}

bool
want_abandoned(struct want_job *job)
{
    SF_GUARD(&job->one->ps->lock);
    return job->abandoned;
}

void
want_sleep(struct want_job *job, int64_t ms)
{
    int64_t until = sf_clock_ms() + ms;
    SF_GUARD(&job->one->ps->lock);
    while (!job->abandoned &&
           sf_cond_timedwait_ms(&job->woken, &job->one->ps->lock, until) != -ETIMEDOUT)
        ;
}

int64_t
want_deadline(struct want_job *job)
{
    int64_t until = 0;
    struct want_asker *a;
    SF_GUARD(&job->one->ps->lock);
    TAILQ_FOREACH(a, &job->askers, link)
    if (a->deadline_ms > until)
        until = a->deadline_ms;
    return until ? until : sf_clock_ms() + job->one->conf->upload_ms;
}

static struct want_job *
same_locked(struct sf_providers *ps, const struct want_job *job)
{
    struct want_job *j;
    TAILQ_FOREACH(j, &ps->jobs, link)
    {
        const struct sf_id_key *a = &j->key, *b = &job->key;
        if (j != job && j->joinable && j->one == job->one && strcmp(a->purpose, b->purpose) == 0 &&
            strcmp(a->account, b->account) == 0 &&
            ((b->sha256[0] && strcmp(a->sha256, b->sha256) == 0) ||
             (job->version[0] && strcmp(j->version, job->version) == 0)))
            return j;
    }
    return NULL;
}

bool
want_is_about(struct want_job *job, const char *sha256)
{
    struct sf_providers *ps = job->one->ps;
    struct want_asker *a;
    SF_GUARD(&ps->lock);
    if (job->key.sha256 != sha256)
        snprintf(job->key.sha256, sizeof job->key.sha256, "%s", sha256);
    snprintf(job->result.sha256, sizeof job->result.sha256, "%s", sha256);
    sf_provider_marked_name(job->file.name, sha256, job->told);
    struct want_job *same = job->joinable ? same_locked(ps, job) : NULL;
    if (!same)
        return true;
    job->joinable = false;
    TAILQ_FOREACH(a, &job->askers, link)
    a->job = same;
    TAILQ_CONCAT(&same->askers, &job->askers, link);
    return false;
}

/* ---- askers ---------------------------------------------------------------------------------- */

static void
abandon_locked(struct sf_providers *ps, struct want_job *job)
{
    if (job->abandoned)
        return;
    job->abandoned = true;
    job->joinable = false;
    job->to_stop = true;
    sf_cond_broadcast(&job->woken);
    sf_cond_signal(&ps->wake);
}

/* It hears @rc from the keeper. */
static void
detach_locked(struct sf_providers *ps, struct want_asker *a, int rc)
{
    struct want_job *job = a->job;
    if (job->patient) {
        abandon_locked(ps, job);
        return;
    }
    HASH_DEL(ps->askers, a);
    TAILQ_REMOVE(&job->askers, a, link);
    a->job = NULL;
    a->rc = rc;
    TAILQ_INSERT_TAIL(&ps->ended, a, link);
    sf_cond_signal(&ps->wake);
    /* What the provider has whole already is worth its answer. */
    if (TAILQ_EMPTY(&job->askers) && !(job->sending && atomic_load(&job->progress.whole)))
        abandon_locked(ps, job);
}

static void
tell(struct want_asker *a, const struct sf_wanted *wanted)
{
    a->fn(a->arg, wanted);
    sf_gauge_add(SF_G_PROVIDER_WANTS, -1);
    free(a);
}

static void
tell_early(struct want_asker *a)
{
    struct sf_wanted w = {.rc = a->rc};
    if (a->rc == -ETIMEDOUT)
        (void)sf_provider_fault_set(&w.fault, SF_PC_TIMEOUT, "it took too long");
    else
        (void)want_fault(&w.fault, a->rc, "cancelled");
    tell(a, &w);
}

/* Wants that end otherwise than with their job, and what the end of a job takes that may wait for
 * others: nobody who cancels is to wait. One thing at a time; false: there is nothing to do. */
static bool
keep_one(struct sf_providers *ps)
{
    struct want_asker *a = TAILQ_FIRST(&ps->ended);
    struct want_job *job;
    if (a) {
        TAILQ_REMOVE(&ps->ended, a, link);
        sf_mutex_unlock(&ps->lock);
        tell_early(a);
        sf_mutex_lock(&ps->lock);
        return true;
    }
    TAILQ_FOREACH(job, &ps->jobs, link)
    if (job->to_stop)
        break;
    if (!job)
        return false;
    struct sf_provider *p = job->one->p;
    uint64_t op = job->op;
    bool reading = job->reading;
    job->to_stop = false;
    job->refs++;
    sf_mutex_unlock(&ps->lock);
    if (op)
        sf_provider_cancel(p, op);
    if (reading && job->file.stop)
        job->file.stop(job->file.arg);
    want_unref(job);
    sf_mutex_lock(&ps->lock);
    return true;
}

/* End those that nobody may wait for any longer. Returns when to look again. */
static int64_t
expire_locked(struct sf_providers *ps)
{
    struct want_asker *a, *next;
    int64_t now = sf_clock_ms(), first = INT64_MAX;
    HASH_ITER (hh, ps->askers, a, next) {
        int64_t end = a->deadline_ms + GRACE_MS;
        if (end <= now)
            detach_locked(ps, a, -ETIMEDOUT);
        else if (end < first)
            first = end;
    }
    return first;
}

void *
want_keeper(void *arg)
{
    struct sf_providers *ps = arg;
    SF_GUARD(&ps->lock);
    for (;;) {
        int64_t next = expire_locked(ps);
        if (keep_one(ps))
            continue;
        if (ps->keeper_ends)
            return NULL;
        ps->keeper_wakes_ms = next;
        (void)sf_cond_timedwait_ms(&ps->wake, &ps->lock, next);
    }
}

void
want_stop(struct sf_providers *ps)
{
    struct want_job *job;
    SF_GUARD(&ps->lock);
    ps->stopping = true;
    TAILQ_FOREACH(job, &ps->jobs, link)
    abandon_locked(ps, job);
}

/* ---- begin and end of a job ------------------------------------------------------------------ */

static void
count_end_locked(struct want_job *job)
{
    struct want_one *one = job->one;
    const struct sf_wanted *w = &job->result;
    if (w->uploaded) {
        one->uploads++;
        one->bytes += job->file.size;
    }
    if (w->shared || w->adopted)
        one->shared++;
    if (w->rc && w->rc != -ECANCELED) {
        one->failed++;
        snprintf(one->last_error, sizeof one->last_error, "%s", w->fault.text);
    }
}

/* Who asked has an errno only. */
static void
log_end(const struct want_job *job)
{
    const struct sf_wanted *w = &job->result;
    if (w->rc && w->rc != -ECANCELED)
        sf_warn("provider", "event=failed provider=%s object=%s/%s err=%s text=%s",
                job->one->conf->name, job->file.bucket, job->file.key, sf_errno_name(w->rc),
                w->fault.text);
}

void
want_end(struct want_job *job)
{
    struct sf_providers *ps = job->one->ps;
    struct want_askers told = TAILQ_HEAD_INITIALIZER(told);
    struct want_asker *a;
    {
        SF_GUARD(&ps->lock);
        job->result.rc = job->result.fault.err;
        job->joinable = false;
        TAILQ_REMOVE(&ps->jobs, job, link);
        TAILQ_CONCAT(&told, &job->askers, link);
        TAILQ_FOREACH(a, &told, link)
        HASH_DEL(ps->askers, a);
        if (job->run == want_run)
            want_remember_locked(job, &job->result.fault);
        count_end_locked(job);
        job->one->working--;
    }
    while ((a = TAILQ_FIRST(&told))) {
        TAILQ_REMOVE(&told, a, link);
        tell(a, &job->result);
    }
    log_end(job);
    want_unref(job);
}

static void
job_main(void *arg)
{
    struct want_job *job = arg;
    bool abandoned;
    {
        SF_GUARD(&job->one->ps->lock);
        job->one->waiting--;
        job->one->working++;
        abandoned = job->abandoned;
    }
    if (abandoned) {
        (void)want_fail(job, -ECANCELED, "cancelled");
        want_end(job);
    } else {
        job->run(job);
    }
}

/* Nothing is begun: say why. */
static uint64_t
refuse(const struct sf_want_file *file, const struct sf_provider_fault *fault, sf_wanted_fn fn,
       void *arg)
{
    struct sf_wanted w = {.rc = fault->err, .fault = *fault};
    release_file(file);
    if (fn)
        fn(arg, &w);
    return 0;
}

static uint64_t
refuse_for(const struct sf_want_file *file, int rc, const char *why, sf_wanted_fn fn, void *arg)
{
    struct sf_provider_fault fault;
    (void)want_fault(&fault, rc, why);
    return refuse(file, &fault, fn, arg);
}

/* Have a job done, or join one. 0; what is wrong is in @fault. */
static int
enter_locked(struct want_job *job, struct want_asker *a, bool *joined,
             struct sf_provider_fault *fault)
{
    struct sf_providers *ps = job->one->ps;
    const struct want_memo *m = NULL;
    if (ps->stopping)
        return want_fault(fault, -ECANCELED, "the mount ends");
    if (job->joinable && job->again)
        want_memo_drop_locked(job->one, &job->key, job->version);
    else if (job->joinable)
        m = want_memo_locked(job->one, &job->key, job->version);
    struct want_job *same = job->joinable ? same_locked(ps, job) : NULL;
    *joined = same;
    a->job = same ? same : job;
    if (!same && m) {
        *fault = m->fault;
        return fault->err;
    }
    int rc = same ? 0 : sf_pool_submit(job->one->pool, job_main, job);
    if (rc)
        return want_fault(fault, rc == -EAGAIN ? -EBUSY : rc,
                          "too many files are on their way to this provider");
    if (!same) {
        TAILQ_INSERT_TAIL(&ps->jobs, job, link);
        job->one->waiting++;
    }
    return 0;
}

static int
enter(struct want_job *job, struct want_asker *a, bool *joined, struct sf_provider_fault *fault,
      uint64_t *id)
{
    struct sf_providers *ps = job->one->ps;
    SF_GUARD(&ps->lock);
    a->id = ++ps->next_id;
    HASH_ADD(hh, ps->askers, id, sizeof a->id, a);
    if (!SF_HTAB_ADDED(a))
        return want_fault(fault, -ENOMEM, "no memory");
    int rc = enter_locked(job, a, joined, fault);
    if (rc) {
        HASH_DEL(ps->askers, a);
        return rc;
    }
    TAILQ_INSERT_TAIL(&a->job->askers, a, link);
    job->one->wants++;
    sf_gauge_add(SF_G_PROVIDER_WANTS, 1);
    *id = a->id;
    if (a->deadline_ms + GRACE_MS < ps->keeper_wakes_ms)
        sf_cond_signal(&ps->wake);
    return 0;
}

uint64_t
want_start(struct want_one *one, const struct sf_want_file *file, const struct want_job *like,
           int64_t deadline_ms, sf_wanted_fn fn, void *arg)
{
    struct want_asker *a = calloc(1, sizeof *a);
    struct want_job *job = job_new(one, file, like);
    struct sf_provider_fault fault;
    bool joined = false;
    uint64_t id = 0;
    if (!a || !job) {
        free(a);
        if (job)
            job->file.release = NULL, job_free(job);
        return refuse_for(file, -ENOMEM, "no memory", fn, arg);
    }
    a->fn = fn;
    a->arg = arg;
    a->deadline_ms = deadline_ms ? deadline_ms : sf_clock_ms() + one->conf->upload_ms;
    int rc = enter(job, a, &joined, &fault, &id);
    if (!rc && !joined)
        return id;
    if (!rc) {
        job_free(job); /* with its file, which the other one does not need */
        return id;
    }
    free(a);
    job->file.release = NULL;
    job_free(job);
    return refuse(file, &fault, fn, arg);
}

/* ---- wants ----------------------------------------------------------------------------------- */

struct want_one *
want_one(struct sf_providers *ps, const char *name)
{
    const struct sf_provider_conf *conf = ps ? sf_provider_conf_find(ps->confs, name) : NULL;
    return conf ? &ps->all[conf - ps->confs->all] : NULL;
}

int
want_usable(struct want_one *one, struct sf_provider_fault *out)
{
    const char *trouble = sf_provider_trouble(one->conf);
    if (one->p && !*trouble)
        return 0;
    (void)sf_provider_fault_set(out, SF_PC_AUTH, "%s", *trouble ? trouble : "it has no address");
    return out->err;
}

static bool
is_believed(const struct sf_id_row *row)
{
    return !row->believed_until_s || row->believed_until_s > sf_wall_ns() / 1000000000;
}

uint64_t
sf_want(struct sf_providers *ps, const char *provider, const struct sf_want_file *file,
        const struct sf_want_how *how, sf_wanted_fn fn, void *arg)
{
    static const struct sf_want_how plain = {.again = false};
    struct want_one *one = want_one(ps, provider);
    struct want_job like = {.run = want_run, .joinable = true};
    const struct sf_provider_facts facts = {
        .size = file->size, .name = text(file->name), .mime = file->mime};
    struct sf_provider_fault fault;
    struct sf_id_row row;
    if (!one)
        return refuse_for(file, -ENOENT, "there is no such provider", fn, arg);
    how = how ? how : &plain;
    like.again = how->again;
    want_key(one, how->purpose, file, &like.key, like.version);
    if (like.key.sha256[0] && sf_ids_get(ps->ids, &like.key, &row) == 0 && is_believed(&row)) {
        struct sf_wanted w = {.expires_s = row.believed_until_s};
        snprintf(w.id, sizeof w.id, "%s", row.id);
        snprintf(w.sha256, sizeof w.sha256, "%s", like.key.sha256);
        want_name(one, &like.key, file);
        release_file(file);
        fn(arg, &w);
        return 0;
    }
    if (want_usable(one, &fault) || sf_provider_check(one->conf, &facts, &fault))
        return refuse(file, &fault, fn, arg);
    return want_start(one, file, &like, how->deadline_ms, fn, arg);
}

void
sf_want_cancel(struct sf_providers *ps, uint64_t id)
{
    struct want_asker *a;
    if (!ps)
        return;
    SF_GUARD(&ps->lock);
    HASH_FIND(hh, ps->askers, &id, sizeof id, a);
    if (a)
        detach_locked(ps, a, -ECANCELED);
}

static void
under_way_locked(const struct want_job *job, struct sf_want_state *out)
{
    uint64_t sent = atomic_load(&job->progress.sent);
    out->phase = SF_WANT_UNDER_WAY;
    out->reading = job->reading;
    out->elsewhere = job->elsewhere;
    out->pending = job->sending && atomic_load(&job->progress.pending);
    out->total = job->file.size;
    if (job->reading)
        out->sent = atomic_load(&job->hashed);
    else if (job->sending)
        out->sent = sent < out->total ? sent : out->total;
}

int
sf_want_watch(struct sf_providers *ps, uint64_t id, struct sf_want_state *out)
{
    struct want_asker *a = NULL;
    memset(out, 0, sizeof *out);
    if (!ps)
        return -ENOENT;
    SF_GUARD(&ps->lock);
    HASH_FIND(hh, ps->askers, &id, sizeof id, a);
    if (!a)
        return -ENOENT;
    under_way_locked(a->job, out);
    return 0;
}

static void
failed_for(struct sf_want_state *out, const struct sf_provider_fault *fault, int64_t until_ms)
{
    out->phase = SF_WANT_FAILED;
    out->err = fault->err;
    out->cls = fault->cls;
    snprintf(out->text, sizeof out->text, "%s", fault->text);
    if (until_ms)
        out->until_s = (sf_wall_ns() / 1000000 + until_ms - sf_clock_ms()) / 1000;
}

int
sf_want_known(struct sf_providers *ps, const char *provider, const struct sf_want_file *file,
              const char *purpose, struct sf_want_state *out)
{
    struct want_one *one = want_one(ps, provider);
    struct want_job like = {.one = one};
    struct sf_provider_fault fault;
    struct sf_id_row row;
    memset(out, 0, sizeof *out);
    if (!one)
        return -ENOENT;
    want_key(one, purpose, file, &like.key, like.version);
    bool there = like.key.sha256[0] && sf_ids_get(ps->ids, &like.key, &row) == 0;
    if (there) {
        out->phase = SF_WANT_READY;
        snprintf(out->id, sizeof out->id, "%s", row.id);
        out->expires_s = row.believed_until_s;
        out->ours = row.ours;
    }
    if (there && is_believed(&row))
        return 0;
    if (!there && want_usable(one, &fault)) {
        failed_for(out, &fault, 0);
        return 0;
    }
    SF_GUARD(&ps->lock);
    const struct want_job *job = same_locked(ps, &like);
    const struct want_memo *m = want_memo_locked(one, &like.key, like.version);
    if (job)
        under_way_locked(job, out);
    else if (m)
        failed_for(out, &m->fault, m->until_ms);
    return 0;
}
