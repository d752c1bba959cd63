/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/provider-internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "base/clock.h"

/* Ids for many files. So many are wanted at once; how many of them are sent is for the provider's
 * slots. */
#define AT_ONCE 16

/* One file. The callback of its want fills in what came of it; all else is the verb's thread's. */
struct job {
    TAILQ_ENTRY(job) link;
    struct upload *u;
    struct provider_file file;
    uint64_t size;
    size_t order[SF_ROUTE_MAX]; /* who is asked, one after the other, by positions in confs */
    size_t n, at;
    uint64_t want;
    char reason[160]; /* why nobody takes it */

    /* u->lock */
    bool done;
    struct sf_wanted wanted;
    char path[]; /* below the mount */
};

struct upload {
    const struct sf_control_provider *cp;
    struct sf_talk *talk;
    const char *name; /* NULL = auto */
    bool again;
    TAILQ_HEAD(, job) jobs;
    unsigned running;
    uint64_t ready, failed, sent; /* files, files, bytes of those that are ready */
    int64_t said_ms;

    struct sf_mutex lock; /* leaf; protects what jobs have of it */
    struct sf_cond came;
};

static void
wanted(void *arg, const struct sf_wanted *w)
{
    struct job *j = arg;
    struct upload *u = j->u;
    SF_GUARD(&u->lock);
    j->wanted = *w;
    j->done = true;
    sf_cond_signal(&u->came);
}

static void
fail(struct job *j, int rc, const char *why)
{
    struct sf_wanted w = {.rc = rc};
    snprintf(w.fault.text, sizeof w.fault.text, "%s", why);
    wanted(j, &w);
}

/* Who is asked for it, unless that was said. False: nobody. */
static bool
choose(struct job *j, const struct sf_want_file *file)
{
    static const struct sf_route_policy policy = {.need = SF_RN_FILE_ID};
    const struct sf_provider_confs *confs = sf_providers_confs(j->u->cp->o.providers);
    if (j->u->name) {
        j->order[0] = (size_t)(sf_provider_conf_find(confs, j->u->name) - confs->all);
        j->n = 1;
        return true;
    }
    struct sf_route *r = malloc(sizeof *r);
    if (!r || sf_providers_route(j->u->cp->o.providers, file, &policy, r) < 0) {
        snprintf(j->reason, sizeof j->reason, "out of memory");
    } else {
        for (j->n = 0; j->n < r->taken; j->n++)
            j->order[j->n] = r->choice[j->n].provider;
        snprintf(j->reason, sizeof j->reason, "%s", r->n ? r->choice[0].reason : "");
    }
    free(r);
    return j->n > 0;
}

static const char *
provider_of(const struct job *j)
{
    return sf_providers_confs(j->u->cp->o.providers)->all[j->order[j->at]].name;
}

/* Ask the one whose turn it is. */
static void
want(struct job *j)
{
    const struct sf_want_how how = {.again = j->u->again};
    struct sf_want_file file;
    int rc = provider_file_want(&j->file, &file);
    if (rc) {
        fail(j, rc, strerror(-rc));
        return;
    }
    if (!j->n && !choose(j, &file)) {
        file.release(file.arg);
        fail(j, -ENOTSUP, j->reason);
        return;
    }
    j->want = sf_want(j->u->cp->o.providers, provider_of(j), &file, &how, wanted, j);
}

/* ---- what is told ---------------------------------------------------------------------------- */

static const char *
how_word(const struct sf_wanted *w)
{
    return w->uploaded ? "uploaded" : w->adopted ? "found" : w->shared ? "shared" : "known";
}

static int
say_job(struct upload *u, const struct job *j)
{
    const struct sf_wanted *w = &j->wanted;
    if (w->rc)
        return provider_say(
            u->talk, json_pack("{s:o, s:s?, s:o, s:i}", "path", provider_text(j->path), "provider",
                               j->n ? provider_of(j) : NULL, "error",
                               provider_text(*w->fault.text ? w->fault.text : strerror(-w->rc)),
                               "errno", -w->rc));
    return provider_say(
        u->talk, json_pack("{s:o, s:s, s:s, s:s, s:o, s:I}", "path", provider_text(j->path),
                           "provider", provider_of(j), "id", w->id, "how", how_word(w), "sha256",
                           provider_text(w->sha256), "expires", (json_int_t)w->expires_s));
}

static int
say_progress(struct upload *u)
{
    uint64_t sent = u->sent, total = u->sent;
    struct job *j;
    if (sf_clock_ms() - u->said_ms < PROVIDER_LOOK_MS)
        return 0;
    u->said_ms = sf_clock_ms();
    TAILQ_FOREACH(j, &u->jobs, link)
    {
        struct sf_want_state s = {.sent = 0};
        total += j->size;
        if (j->want && sf_want_watch(u->cp->o.providers, j->want, &s) == 0 && !s.reading)
            sent += s.sent < j->size ? s.sent : j->size; /* a form is more than its file */
    }
    return provider_say(u->talk, json_pack("{s:I, s:I, s:I, s:I, s:I}", "done",
                                           (json_int_t)u->ready, "failed", (json_int_t)u->failed,
                                           "running", (json_int_t)u->running, "sent",
                                           (json_int_t)sent, "total", (json_int_t)total));
}

/* ---- from the begin to the end --------------------------------------------------------------- */

/* Whether another provider may do what this one could not: only where nobody named this one, and it
 * is the provider that is in trouble. */
static bool
falls_back(const struct upload *u, const struct job *j)
{
    return j->wanted.rc && !u->name && j->at + 1 < j->n &&
           sf_provider_class_info(j->wanted.fault.cls)->provider && !sf_talk_cancelled(u->talk);
}

static void
job_free(struct upload *u, struct job *j)
{
    TAILQ_REMOVE(&u->jobs, j, link);
    u->running--;
    provider_file_close(&j->file);
    free(j);
}

/* One that has ended, or NULL; with the lock. */
static struct job *
next_done_locked(struct upload *u)
{
    struct job *j;
    TAILQ_FOREACH(j, &u->jobs, link)
    {
        if (j->done)
            return j;
    }
    return NULL;
}

static struct job *
next_done(struct upload *u)
{
    SF_GUARD(&u->lock);
    return next_done_locked(u);
}

/* Look after those that have ended: 0, or why nobody is to be told any more. */
static int
reap(struct upload *u)
{
    struct job *j;
    int rc = 0;
    while ((j = next_done(u))) {
        if (falls_back(u, j)) {
            j->done = false;
            j->at++;
            want(j);
            continue;
        }
        u->ready += !j->wanted.rc;
        u->failed += j->wanted.rc != 0;
        u->sent += j->wanted.rc ? 0 : j->size;
        int said = rc ? rc : say_job(u, j);
        rc = rc ? rc : said;
        job_free(u, j);
    }
    return rc;
}

/* Until fewer than @most run. */
static int
wait_for_fewer(struct upload *u, unsigned most)
{
    for (;;) {
        int rc = sf_talk_cancelled(u->talk) ? -ECANCELED : reap(u);
        if (rc || u->running < most)
            return rc;
        rc = say_progress(u);
        if (rc)
            return rc;
        SF_GUARD(&u->lock);
        if (!next_done_locked(u))
            (void)sf_cond_timedwait_ms(&u->came, &u->lock, sf_clock_ms() + PROVIDER_LOOK_MS);
    }
}

static int
begin(void *arg, const struct sf_files_one *f)
{
    struct upload *u = arg;
    int rc = wait_for_fewer(u, AT_ONCE);
    size_t n = strlen(f->path) + 1;
    struct job *j = rc ? NULL : calloc(1, sizeof *j + n);
    if (!j)
        return rc ? rc : -ENOMEM;
    j->u = u;
    j->size = f->attr.size;
    memcpy(j->path, f->path, n);
    TAILQ_INSERT_TAIL(&u->jobs, j, link);
    u->running++;
    rc = provider_file_open(u->cp, f->node, &j->file);
    if (rc)
        fail(j, rc, provider_file_trouble(rc));
    else
        want(j);
    return 0;
}

/* What does not lead to files is told as a file that failed. */
static int
begin_path(struct upload *u, const char *path, bool deep)
{
    struct sf_err why = SF_ERR_INIT;
    struct sf_tree_entry e;
    int rc = sf_files_find(u->cp->o.tree, path, &e, &why);
    if (!rc) {
        if (S_ISDIR(e.attr.mode) && !deep)
            rc = sf_err_set(&why, -EISDIR, "a directory; -r means the files below it");
        else if (!S_ISDIR(e.attr.mode) && !S_ISREG(e.attr.mode))
            rc = sf_err_set(&why, -EINVAL, "only files are uploaded");
        sf_files_forget(u->cp->o.tree, &e);
    }
    if (!rc)
        rc = sf_files_each(u->cp->o.tree, path, deep, begin, u, &why);
    if (!rc || rc == -ECANCELED || rc == -ENOMEM)
        return rc;
    u->failed++;
    return provider_say(u->talk,
                        json_pack("{s:o, s:n, s:o, s:i}", "path", provider_text(path), "provider",
                                  "error", provider_text(why.msg), "errno", -rc));
}

/* Nobody listens: what is under way ends soon. */
static void
cancel_all(struct upload *u)
{
    struct job *j;
    TAILQ_FOREACH(j, &u->jobs, link)
    {
        if (j->want)
            sf_want_cancel(u->cp->o.providers, j->want);
    }
    while ((j = TAILQ_FIRST(&u->jobs))) {
        sf_mutex_lock(&u->lock);
        while (!j->done)
            sf_cond_wait(&u->came, &u->lock);
        sf_mutex_unlock(&u->lock);
        job_free(u, j);
    }
}

int
provider_verb_upload(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err)
{
    struct upload u = {.cp = arg, .talk = t, .said_ms = sf_clock_ms()};
    bool deep = false;
    int i = 1, rc = 0;
    for (; i < argc && (!strcmp(argv[i], "-r") || !strcmp(argv[i], "-a")); i++) {
        deep |= argv[i][1] == 'r';
        u.again |= argv[i][1] == 'a';
    }
    if (argc - i < 2)
        return sf_err_set(err, -EINVAL, "%s [-r] [-a] NAME PATH... is meant", argv[0]);
    u.name = strcmp(argv[i], "auto") ? argv[i] : NULL;
    if (provider_known(u.cp, u.name, err))
        return -ENOENT;
    TAILQ_INIT(&u.jobs);
    sf_mutex_init(&u.lock, 0);
    sf_cond_init(&u.came);
    for (i++; !rc && i < argc; i++)
        rc = begin_path(&u, argv[i], deep);
    if (!rc)
        rc = wait_for_fewer(&u, 1);
    cancel_all(&u);
    sf_cond_fini(&u.came);
    sf_mutex_fini(&u.lock);
    if (!rc && u.failed)
        rc = sf_err_set(err, -EIO, "%llu of %llu files have no id", (unsigned long long)u.failed,
                        (unsigned long long)(u.failed + u.ready));
    return rc;
}
