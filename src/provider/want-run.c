/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "observe/counter.h"
#include "observe/log.h"
#include "provider/want-job.h"

#define READ_SIZE    (256 * 1024)
#define CLAIM_MAX_MS 5000 /* between two questions for a claim that another one has */
#define PENDING_MS   1000
#define SETTLE_MS    10000
#define HURRY_MS     2000 /* when nobody waits any more */
#define ROUNDS       4    /* ids of the tables that turn out to be gone, one after the other */

enum step { GO_ON, DONE, FAILED };

int
want_fail(struct want_job *job, int rc, const char *fmt, ...)
{
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return want_fault(&job->result.fault, rc, text);
}

static int64_t
now_s(void)
{
    return sf_wall_ns() / 1000000000;
}

/* ---- the hash -------------------------------------------------------------------------------- */

static int
read_all(struct want_job *job, char *buf, EVP_MD_CTX *ctx)
{
    const struct sf_want_file *f = &job->file;
    uint64_t off = 0;
    while (off < f->size) {
        size_t n = f->size - off < READ_SIZE ? (size_t)(f->size - off) : READ_SIZE;
        if (want_abandoned(job))
            return -ECANCELED;
        ssize_t got = f->read(f->arg, buf, n, off);
        if (got <= 0)
            return got < 0 ? (int)got : -ESTALE; /* shorter than it was */
        if (EVP_DigestUpdate(ctx, buf, (size_t)got) != 1)
            return -ENOMEM;
        off += (uint64_t)got;
        atomic_store(&job->hashed, off);
    }
    return 0;
}

static void
reads(struct want_job *job, bool now)
{
    SF_GUARD(&job->one->ps->lock);
    job->reading = now;
}

static int
read_hash(struct want_job *job, char out[65])
{
    sf_autofree char *buf = malloc(READ_SIZE);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    unsigned char digest[EVP_MAX_MD_SIZE];
    int rc = -ENOMEM;
    if (buf && ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1) {
        reads(job, true);
        rc = read_all(job, buf, ctx);
        reads(job, false);
    }
    if (!rc && EVP_DigestFinal_ex(ctx, digest, NULL) != 1)
        rc = -ENOMEM;
    if (!rc)
        sf_hex_encode(digest, 32, out);
    EVP_MD_CTX_free(ctx);
    return rc;
}

static int
unreadable(struct want_job *job, int rc)
{
    if (want_abandoned(job))
        return want_fail(job, -ECANCELED, "cancelled");
    if (rc == -ESTALE)
        return want_fail(job, -EBUSY, "the file changed while it was read");
    return want_fail(job, rc, "the file cannot be read: %s", strerror(-rc));
}

int
want_hash(struct want_job *job)
{
    struct sf_id_object object;
    char sha256[65], noted[65];
    int rc = 0;
    if (job->key.sha256[0])
        snprintf(sha256, sizeof sha256, "%s", job->key.sha256);
    else if (!job->file.read)
        rc = -EINVAL;
    else
        rc = read_hash(job, sha256);
    if (rc)
        return unreadable(job, rc);
    /* One that cannot be noted is read again the next time. */
    if (want_object(&job->file, &object) && sf_ids_hash(job->one->ps->ids, &object, noted))
        (void)sf_ids_hash_put(job->one->ps->ids, &object, sha256);
    return want_is_about(job, sha256) ? 0 : 1;
}

/* ---- ids that are known ---------------------------------------------------------------------- */

void
want_row(const struct want_one *one, const struct sf_provider_file *file, bool ours,
         struct sf_id_row *out)
{
    int64_t lifetime = one->conf->lifetime_ms / 1000, now = now_s();
    *out = (struct sf_id_row){.bytes = file->bytes,
                              .created_s = file->created_s > 0 ? file->created_s : now,
                              .believed_until_s = lifetime ? now + lifetime : 0,
                              .ours = ours};
    if (file->expires_s > 0 && (!out->believed_until_s || file->expires_s < out->believed_until_s))
        out->believed_until_s = file->expires_s;
    snprintf(out->id, sizeof out->id, "%s", file->id);
    snprintf(out->filename, sizeof out->filename, "%s", file->filename);
    if (!sf_utf8_valid(out->filename, strlen(out->filename)))
        out->filename[0] = '\0';
}

static enum step
take(struct want_job *job, const struct sf_id_row *row)
{
    struct sf_wanted *w = &job->result;
    snprintf(w->id, sizeof w->id, "%s", row->id);
    w->expires_s = row->believed_until_s;
    w->fault = (struct sf_provider_fault){.retry_after_ms = -1};
    return DONE;
}

static void
note(struct want_job *job, const struct sf_id_row *row)
{
    int rc = sf_ids_put(job->one->ps->ids, &job->key, row);
    if (rc)
        sf_warn("provider", "event=id-not-noted provider=%s id=%s reason=%s", job->one->conf->name,
                row->id, sf_errno_name(rc));
}

static void
drop(struct want_job *job, const char *id)
{
    const struct sf_id_key *k = &job->key;
    (void)sf_ids_drop(job->one->ps->ids, k->provider, k->account, id);
    (void)sf_claim_drop(job->one->ps->claims, k->provider, id, sf_clock_ms() + SETTLE_MS);
}

/* Is it there, and ready? GO_ON: it is not, and is forgotten now. */
static enum step
verify(struct want_job *job, const struct sf_id_row *known)
{
    struct sf_provider_file file;
    struct sf_id_row row;
    for (;;) {
        if (want_ask_file(job, known->id, &file)) {
            if (job->result.fault.cls != SF_PC_NOT_FOUND)
                return FAILED;
            drop(job, known->id);
            return GO_ON;
        }
        if (file.state != SF_PF_PENDING)
            break;
        want_sleep(job, PENDING_MS);
    }
    if (file.state == SF_PF_FAILED) {
        (void)sf_provider_fault_set(&job->result.fault, SF_PC_EXTRACT, "%s",
                                    file.details[0] ? file.details
                                                    : "the provider does not say why");
        drop(job, known->id);
        if (known->ours)
            (void)want_ask_delete(job, known->id, true);
        return FAILED;
    }
    want_row(job->one, &file, known->ours, &row);
    note(job, &row);
    return take(job, &row);
}

static bool
is_believed(const struct sf_id_row *row)
{
    return !row->believed_until_s || row->believed_until_s > now_s();
}

static enum step
look_here(struct want_job *job)
{
    struct sf_id_row row;
    if (sf_ids_get(job->one->ps->ids, &job->key, &row))
        return GO_ON;
    return is_believed(&row) ? take(job, &row) : verify(job, &row);
}

/* ---- the project's tables -------------------------------------------------------------------- */

static struct sf_claim_what
what_of(const struct want_job *job)
{
    return (struct sf_claim_what){
        .key = &job->key, .file_id = job->file.id, .bytes = job->file.size};
}

/* Somebody has it. One of a provider that drops files by itself is asked for once; others are
 * believed as our own are. */
static enum step
take_theirs(struct want_job *job, const char *id, int64_t expires_s)
{
    const struct sf_provider_file file = {.bytes = job->file.size, .expires_s = expires_s};
    struct sf_id_row row;
    want_row(job->one, &file, false, &row);
    snprintf(row.id, sizeof row.id, "%s", id);
    snprintf(row.filename, sizeof row.filename, "%s", job->told);
    if (job->one->conf->lifetime_ms && !expires_s) {
        enum step step = verify(job, &row);
        job->result.shared = step == DONE;
        return step;
    }
    note(job, &row);
    job->result.shared = true;
    return take(job, &row);
}

static void
waits_elsewhere(struct want_job *job, bool now)
{
    SF_GUARD(&job->one->ps->lock);
    job->elsewhere = now;
}

static enum step
wait_elsewhere(struct want_job *job, int64_t *pause)
{
    want_sleep(job, *pause);
    *pause = *pause * 2 < CLAIM_MAX_MS ? *pause * 2 : CLAIM_MAX_MS;
    if (!want_abandoned(job))
        return GO_ON;
    (void)want_fail(job, -ECANCELED, "cancelled");
    return FAILED;
}

/* GO_ON: it is for us to upload; with a claim, or there are no tables that would know. */
static enum step
claim(struct want_job *job, int64_t deadline_ms, bool *claimed)
{
    const struct sf_claim_what what = what_of(job);
    const struct sf_providers_opts *o = &job->one->ps->opts;
    int64_t pause = o->claim_wait_ms;
    unsigned lease =
        o->lease_s ? o->lease_s : (unsigned)((deadline_ms - sf_clock_ms()) / 1000 + 60);
    enum step step = GO_ON;
    unsigned rounds = 0;
    struct sf_claim c;
    *claimed = false;
    while (step == GO_ON && rounds < ROUNDS &&
           sf_claim_ask(job->one->ps->claims, &what, lease, sf_clock_ms() + SETTLE_MS, &c) == 0) {
        if (c.state == SF_CLAIM_CLAIMED) {
            *claimed = true;
            break;
        }
        waits_elsewhere(job, c.state == SF_CLAIM_BUSY);
        if (c.state == SF_CLAIM_BUSY) {
            step = wait_elsewhere(job, &pause);
        } else {
            step = take_theirs(job, c.id, c.expires_s);
            rounds++;
        }
    }
    waits_elsewhere(job, false);
    return step;
}

static int64_t
settle_by(struct want_job *job)
{
    return sf_clock_ms() + (want_abandoned(job) ? HURRY_MS : SETTLE_MS);
}

static void
settle_failed(struct want_job *job)
{
    const struct sf_claim_what what = what_of(job);
    char other[SF_PROVIDER_ID_MAX + 1];
    const char *why = job->result.fault.text;
    (void)sf_claim_settle(job->one->ps->claims, &what, NULL, 0, *why ? why : "cancelled",
                          settle_by(job), other);
}

/* ---- the upload ------------------------------------------------------------------------------ */

/* It is there, and shall not be. */
static void
delete_half(struct want_job *job)
{
    if (job->said.file.id[0] && want_ask_delete(job, job->said.file.id, true) == 0)
        job->said.open = false;
}

/* No success. What is there without being of use goes; what may be there is looked for by the next
 * mount, or by prune, as long as the intent says so. */
static enum step
not_uploaded(struct want_job *job, bool claimed)
{
    struct sf_provider_fault *fault = &job->result.fault;
    struct sf_id_row row;
    if (fault->cls == SF_PC_TIMEOUT && job->said.file.id[0]) {
        want_row(job->one, &job->said.file, true, &row);
        row.believed_until_s = 1; /* it is asked for before it is given out */
        note(job, &row);
    } else {
        delete_half(job);
        if (!job->said.open)
            (void)sf_ids_intent_end(job->one->ps->ids, &job->key);
    }
    if (fault->err == -ESTALE)
        (void)want_fail(job, -EBUSY, "the file changed while it was read");
    if (claimed)
        settle_failed(job);
    return FAILED;
}

/* Another mount took the claim over, when our lease had run out, and was faster. */
static enum step
give_way(struct want_job *job, const char *mine, const char *theirs)
{
    (void)want_ask_delete(job, mine, true);
    (void)sf_ids_drop(job->one->ps->ids, job->key.provider, job->key.account, mine);
    job->result.uploaded = false;
    return take_theirs(job, theirs, 0);
}

static enum step
uploaded(struct want_job *job, bool claimed)
{
    struct want_one *one = job->one;
    const struct sf_claim_what what = what_of(job);
    char other[SF_PROVIDER_ID_MAX + 1] = "", account[65];
    struct sf_id_row row;
    want_row(one, &job->said.file, true, &row);
    if (!row.filename[0])
        snprintf(row.filename, sizeof row.filename, "%s", job->told);
    row.bytes = job->file.size;
    job->result.uploaded = job->said.attempts > 0;
    job->result.adopted = job->said.adopted;
    sf_provider_account(one->conf, account);
    if (strcmp(account, job->key.account) != 0) {
        /* The key was changed under way, and its last attempt had the new one. */
        if (claimed) {
            snprintf(job->result.fault.text, sizeof job->result.fault.text, "another key");
            settle_failed(job);
        }
        (void)sf_ids_intent_end(one->ps->ids, &job->key);
        claimed = false;
        SF_GUARD(&one->ps->lock);
        snprintf(job->key.account, sizeof job->key.account, "%s", account);
    }
    note(job, &row);
    if (claimed)
        (void)sf_claim_settle(one->ps->claims, &what, row.id, job->said.file.expires_s, NULL,
                              settle_by(job), other);
    return other[0] ? give_way(job, row.id, other) : take(job, &row);
}

/* A mount that was killed began to upload it: perhaps it is there. */
static enum step
look_for_begun(struct want_job *job, bool claimed)
{
    struct sf_id_row intent;
    struct sf_provider_file *file = &job->said.file;
    if (sf_ids_intent(job->one->ps->ids, &job->key, &intent))
        return GO_ON;
    int n = want_find_begun(job, &job->key, &intent, file);
    if (n < 0 && job->result.fault.cls == SF_PC_NO_API)
        return GO_ON; /* nobody can tell */
    if (n < 0) {
        if (claimed)
            settle_failed(job);
        return FAILED;
    }
    if (n != 1)
        return GO_ON;
    job->said.adopted = true;
    return uploaded(job, claimed);
}

static enum step
upload(struct want_job *job, int64_t deadline_ms, bool claimed)
{
    struct sf_id_row row = {.bytes = job->file.size, .created_s = now_s(), .ours = true};
    snprintf(row.filename, sizeof row.filename, "%s", job->told);
    int rc = sf_ids_intend(job->one->ps->ids, &job->key, &row);
    if (rc) {
        /* Without this note a file could be left at the provider that nobody knows of. */
        (void)want_fail(job, rc, "the state directory takes no note of the upload: %s",
                        strerror(-rc));
        if (claimed)
            settle_failed(job);
        return FAILED;
    }
    rc = want_ask_upload(job, deadline_ms);
    return rc ? not_uploaded(job, claimed) : uploaded(job, claimed);
}

/* ---- a want ---------------------------------------------------------------------------------- */

static bool
is_remembered(struct want_job *job)
{
    struct sf_providers *ps = job->one->ps;
    SF_GUARD(&ps->lock);
    if (job->again) {
        want_memo_drop_locked(job->one, &job->key, job->version);
        return false;
    }
    const struct want_memo *m = want_memo_locked(job->one, &job->key, job->version);
    if (m)
        job->result.fault = m->fault;
    return m;
}

void
want_run(struct want_job *job)
{
    bool claimed = false;
    int rc = want_hash(job);
    if (rc == 0) {
        int64_t deadline_ms = want_deadline(job);
        want_name(job->one, &job->key, &job->file);
        enum step step = look_here(job);
        if (step == GO_ON && is_remembered(job))
            step = FAILED;
        if (step == GO_ON)
            step = claim(job, deadline_ms, &claimed);
        if (step == GO_ON)
            step = look_for_begun(job, claimed);
        if (step == GO_ON)
            (void)upload(job, deadline_ms, claimed);
    }
    want_end(job);
}
