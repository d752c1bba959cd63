/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "provider/want-job.h"

#define DROP_MS 10000

/* What is done with ids besides getting them: adopt, remove, forget, and their going. */

static uint64_t
refuse(const struct sf_want_file *file, int rc, const struct sf_provider_fault *fault,
       sf_wanted_fn fn, void *arg)
{
    struct sf_wanted w = {.rc = rc, .fault = *fault};
    if (file && file->release)
        file->release(file->arg);
    if (fn)
        fn(arg, &w);
    return 0;
}

/* A job that concerns one id of a provider. */
static uint64_t
start(struct sf_providers *ps, const char *provider, const struct sf_want_file *file,
      const char *id, void (*run)(struct want_job *job), sf_wanted_fn fn, void *arg)
{
    static const struct sf_want_file none = {.size = 0};
    struct want_one *one = want_one(ps, provider);
    struct want_job like = {.run = run};
    struct sf_provider_fault fault = {.retry_after_ms = -1};
    int rc = 0;
    if (!one)
        rc = want_fault(&fault, -ENOENT, "there is no such provider");
    else if (!sf_provider_id_ok(id))
        rc = want_fault(&fault, -EINVAL, "this is no id of a file");
    else
        rc = want_usable(one, &fault);
    if (rc)
        return refuse(file, rc, &fault, fn, arg);
    want_key(one, NULL, file ? file : &none, &like.key, like.version);
    snprintf(like.wanted_id, sizeof like.wanted_id, "%s", id);
    return want_start(one, file ? file : &none, &like, 0, fn, arg);
}

static void
drop_everywhere(struct want_job *job)
{
    struct sf_providers *ps = job->one->ps;
    const struct sf_id_key *k = &job->key;
    (void)sf_ids_drop(ps->ids, k->provider, k->account, job->wanted_id);
    (void)sf_claim_drop(ps->claims, k->provider, job->wanted_id, sf_clock_ms() + DROP_MS);
}

/* ---- adopt ----------------------------------------------------------------------------------- */

static int
adopt_file(struct want_job *job)
{
    struct sf_providers *ps = job->one->ps;
    const struct sf_claim_what what = {
        .key = &job->key, .file_id = job->file.id, .bytes = job->file.size};
    char other[SF_PROVIDER_ID_MAX + 1];
    struct sf_provider_file file;
    struct sf_claim claim;
    struct sf_id_row row, before;
    int rc = want_ask_file(job, job->wanted_id, &file);
    if (rc)
        return rc;
    if (file.state == SF_PF_FAILED)
        return want_fail(job, -EINVAL, "the provider could not read that file");
    if (file.bytes != job->file.size)
        return want_fail(job, -EINVAL, "that file has %llu bytes, and this one %llu",
                         (unsigned long long)file.bytes, (unsigned long long)job->file.size);
    bool ours = sf_ids_get(ps->ids, &job->key, &before) == 0 && before.ours &&
                strcmp(before.id, job->wanted_id) == 0;
    want_row(job->one, &file, ours, &row);
    if ((rc = sf_ids_put(ps->ids, &job->key, &row)))
        return want_fail(job, rc, "the state directory takes no note of it: %s", strerror(-rc));
    if (sf_claim_ask(ps->claims, &what, 60, sf_clock_ms() + DROP_MS, &claim) == 0 &&
        claim.state == SF_CLAIM_CLAIMED)
        (void)sf_claim_settle(ps->claims, &what, row.id, file.expires_s, NULL,
                              sf_clock_ms() + DROP_MS, other);
    snprintf(job->result.id, sizeof job->result.id, "%s", row.id);
    job->result.expires_s = row.believed_until_s;
    return 0;
}

static void
adopt_run(struct want_job *job)
{
    if (want_hash(job) == 0 && adopt_file(job) == 0)
        want_name(job->one, &job->key, &job->file);
    want_end(job);
}

uint64_t
sf_want_adopt(struct sf_providers *ps, const char *provider, const struct sf_want_file *file,
              const char *id, sf_wanted_fn fn, void *arg)
{
    return start(ps, provider, file, id, adopt_run, fn, arg);
}

/* ---- remove and drop ------------------------------------------------------------------------- */

static void
remove_run(struct want_job *job)
{
    int rc = want_ask_delete(job, job->wanted_id, false);
    if (rc == 0 || job->result.fault.cls == SF_PC_NOT_FOUND)
        drop_everywhere(job);
    want_end(job);
}

uint64_t
sf_want_remove(struct sf_providers *ps, const char *provider, const char *id, sf_wanted_fn fn,
               void *arg)
{
    return start(ps, provider, NULL, id, remove_run, fn, arg);
}

static void
gone_run(struct want_job *job)
{
    drop_everywhere(job);
    want_end(job);
}

static void
on_gone(void *arg, const struct sf_wanted *wanted)
{
    (void)arg, (void)wanted;
}

void
sf_want_gone(struct sf_providers *ps, const char *provider, const char *id)
{
    (void)start(ps, provider, NULL, id, gone_run, on_gone, NULL);
}

int
sf_want_forget(struct sf_providers *ps, const char *provider, const struct sf_want_file *file)
{
    struct want_one *one = want_one(ps, provider);
    struct sf_id_key key;
    struct sf_id_row row;
    char version[65];
    bool failed;
    if (!one)
        return -ENOENT;
    want_key(one, NULL, file, &key, version);
    {
        SF_GUARD(&ps->lock);
        failed = want_memo_locked(one, &key, version);
        want_memo_drop_locked(one, &key, version);
    }
    int rc = key.sha256[0] ? sf_ids_get(ps->ids, &key, &row) : -ENOENT;
    if (!rc)
        rc = sf_ids_drop(ps->ids, key.provider, key.account, row.id);
    return rc == -ENOENT && failed ? 0 : rc;
}

/* ---- whose a file is ------------------------------------------------------------------------- */

struct begun {
    const struct sf_id_key *of;
    const struct sf_provider_file *file;
    struct sf_want_about *out;
    bool found;
};

static int
begun_row(void *arg, const struct sf_id_key *key, const struct sf_id_row *row)
{
    struct begun *b = arg;
    if (strcmp(key->provider, b->of->provider) != 0 || strcmp(key->account, b->of->account) != 0 ||
        row->bytes != b->file->bytes || strcmp(row->filename, b->file->filename) != 0 ||
        b->file->created_s < row->created_s - WANT_CLOCKS_S)
        return 0;
    snprintf(b->out->sha256, sizeof b->out->sha256, "%s", key->sha256);
    b->out->begun = b->found = true;
    return 1;
}

int
sf_want_about(struct sf_providers *ps, const char *provider, const struct sf_provider_file *file,
              struct sf_want_about *out)
{
    struct want_one *one = want_one(ps, provider);
    struct sf_id_key of = {.sha256 = ""}, key;
    struct begun b = {.of = &of, .file = file, .out = out};
    struct sf_id_row row;
    memset(out, 0, sizeof *out);
    if (!one)
        return -ENOENT;
    snprintf(of.provider, sizeof of.provider, "%s", one->conf->name);
    sf_provider_account(one->conf, of.account);
    if (sf_ids_find(ps->ids, of.provider, of.account, file->id, &key) ||
        sf_ids_get(ps->ids, &key, &row)) {
        (void)sf_ids_intents(ps->ids, begun_row, &b);
        return b.found ? 0 : -ENOENT;
    }
    struct sf_id_name *names = calloc(SF_ID_NAMES, sizeof *names);
    if (names && sf_ids_names(ps->ids, &key, names) > 0) {
        snprintf(out->bucket, sizeof out->bucket, "%s", names[0].bucket);
        snprintf(out->key, sizeof out->key, "%s", names[0].key);
    }
    free(names);
    snprintf(out->sha256, sizeof out->sha256, "%s", key.sha256);
    out->ours = row.ours;
    out->expires_s = row.believed_until_s;
    return 0;
}
