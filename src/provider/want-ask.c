/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "provider/want-job.h"

#define TIDY_MS 5000 /* for a request that only tidies up */

/* ---- waiting --------------------------------------------------------------------------------- */

static void
begin(struct want_job *job)
{
    SF_GUARD(&job->one->ps->lock);
    job->answered = false;
}

static void
answered(struct want_job *job, const struct sf_provider_fault *fault,
         const struct sf_provider_file *file)
{
    SF_GUARD(&job->one->ps->lock);
    job->said.fault = *fault;
    if (file)
        job->said.file = *file;
    job->answered = true;
    sf_cond_broadcast(&job->woken);
}

/* Until the request has ended; who abandons the job cancels it, unless it tidies up. */
static int
await(struct want_job *job, uint64_t op, bool tidies)
{
    struct sf_providers *ps = job->one->ps;
    bool cancel = false;
    if (!op)
        return want_fail(job, -ENOMEM, "no memory");
    if (!tidies) {
        SF_GUARD(&ps->lock);
        job->op = op;
        cancel = job->abandoned;
    }
    if (cancel)
        sf_provider_cancel(job->one->p, op);
    SF_GUARD(&ps->lock);
    while (!job->answered)
        sf_cond_wait(&job->woken, &ps->lock);
    job->op = 0;
    if (!tidies)
        job->result.fault = job->said.fault;
    return job->said.fault.err;
}

static void
on_file(void *arg, const struct sf_provider_fault *fault, const struct sf_provider_file *file)
{
    answered(arg, fault, file);
}

static void
on_done(void *arg, const struct sf_provider_fault *fault)
{
    answered(arg, fault, NULL);
}

int
want_ask_file(struct want_job *job, const char *id, struct sf_provider_file *out)
{
    begin(job);
    int rc = await(job, sf_provider_file(job->one->p, id, 0, on_file, job), false);
    if (!rc)
        *out = job->said.file;
    return rc;
}

int
want_ask_delete(struct want_job *job, const char *id, bool tidies)
{
    begin(job);
    return await(job,
                 sf_provider_file_delete(job->one->p, id, tidies ? sf_clock_ms() + TIDY_MS : 0,
                                         on_done, job),
                 tidies);
}

static int
on_each(void *arg, const struct sf_provider_file *file)
{
    struct want_job *job = arg;
    return job->each(job->each_arg, file);
}

int
want_ask_list(struct want_job *job, const char *purpose, sf_provider_file_fn each, void *arg)
{
    begin(job);
    job->each = each;
    job->each_arg = arg;
    return await(job, sf_provider_files(job->one->p, purpose, 0, on_each, on_done, job), false);
}

/* ---- uploads --------------------------------------------------------------------------------- */

/* What is sent is what was hashed: an id must never stand for other bytes. */
static ssize_t
read_checked(void *arg, void *buf, size_t n, uint64_t off)
{
    struct want_job *job = arg;
    unsigned char digest[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1];
    ssize_t got = job->file.read(job->file.arg, buf, n, off);
    if (got <= 0)
        return got;
    if (off == 0 && EVP_DigestInit_ex(job->digest, EVP_sha256(), NULL) != 1)
        return -ENOMEM;
    if (EVP_DigestUpdate(job->digest, buf, (size_t)got) != 1)
        return -ENOMEM;
    if (off + (uint64_t)got < job->file.size)
        return got;
    if (EVP_DigestFinal_ex(job->digest, digest, NULL) != 1)
        return -ENOMEM;
    sf_hex_encode(digest, 32, hex);
    return strcmp(hex, job->key.sha256) == 0 ? got : -ESTALE;
}

static void
stop_reading(void *arg)
{
    struct want_job *job = arg;
    if (job->file.stop)
        job->file.stop(job->file.arg);
}

static void
release(void *arg)
{
    want_unref(arg);
}

static void
on_uploaded(void *arg, const struct sf_provider_uploaded *said)
{
    struct want_job *job = arg;
    SF_GUARD(&job->one->ps->lock);
    job->said = *said;
    job->answered = true;
    sf_cond_broadcast(&job->woken);
}

/* A file of the list that looks like this one and is another. */
static bool
is_other(void *arg, const char *id)
{
    struct want_job *job = arg;
    struct sf_id_key of;
    return sf_ids_find(job->one->ps->ids, job->key.provider, job->key.account, id, &of) == 0 &&
           strcmp(of.sha256, job->key.sha256) != 0;
}

int
want_ask_upload(struct want_job *job, int64_t deadline_ms)
{
    struct sf_providers *ps = job->one->ps;
    const struct sf_provider_upload up = {
        .source = {.size = job->file.size,
                   .name = job->told,
                   .mime = job->file.mime[0] ? job->file.mime : NULL,
                   .read = read_checked,
                   .stop = stop_reading,
                   .release = release,
                   .arg = job},
        .purpose = job->key.purpose,
        .deadline_ms = deadline_ms,
        .progress = &job->progress,
        .is_other = is_other,
        .arg = job};
    if (!job->digest && !(job->digest = EVP_MD_CTX_new()))
        return want_fail(job, -ENOMEM, "no memory");
    begin(job);
    memset(&job->said, 0, sizeof job->said);
    {
        SF_GUARD(&ps->lock);
        job->refs++;
        job->sending = true;
    }
    uint64_t op = sf_provider_upload(job->one->p, &up, on_uploaded, job);
    if (!op)
        want_unref(job);
    int rc = await(job, op, false);
    SF_GUARD(&ps->lock);
    job->sending = false;
    return rc;
}
