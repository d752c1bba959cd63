/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "provider/want-job.h"

#define MEMOS 256

enum kind { OF_ACCOUNT, OF_CONTENT, OF_MOMENT, NOT_KEPT };

/* What will fail again, and for how long that is believed. */
static enum kind
kind_of(const struct sf_provider_fault *fault)
{
    switch (fault->err) {
    case -ECANCELED:
    case -EBUSY: /* it changed while it was read: it is to be read again */
    case -ENOMEM:
        return NOT_KEPT;
    default:
        break;
    }
    switch (fault->cls) {
    case SF_PC_OK:
        return NOT_KEPT;
    case SF_PC_AUTH:
    case SF_PC_PERMISSION:
    case SF_PC_QUOTA:
    case SF_PC_RATE_LATER:
        return OF_ACCOUNT;
    case SF_PC_TYPE:
    case SF_PC_EMPTY:
    case SF_PC_TOO_LARGE:
    case SF_PC_FILTERED:
    case SF_PC_EXTRACT:
        return OF_CONTENT;
    default:
        return OF_MOMENT;
    }
}

/* An account's error ends with its key. */
static void
account_key(struct want_one *one, char out[300])
{
    snprintf(out, 300, "a/%s/%llu", one->conf->name,
             (unsigned long long)sf_provider_key_generation(one->conf));
}

static void
content_key(const struct sf_id_key *key, const char *what, char out[300])
{
    snprintf(out, 300, "c/%s/%s/%s/%s", key->provider, key->account, key->purpose, what);
}

static void
memo_free(struct sf_providers *ps, struct want_memo *m)
{
    HASH_DEL(ps->memos, m);
    free(m);
}

static void
remember_as(struct sf_providers *ps, const char *key, int64_t until_ms,
            const struct sf_provider_fault *fault)
{
    struct want_memo *m;
    HASH_FIND_STR(ps->memos, key, m);
    if (m)
        memo_free(ps, m);
    else if (HASH_COUNT(ps->memos) >= MEMOS)
        memo_free(ps, ps->memos);
    m = calloc(1, sizeof *m);
    if (!m)
        return;
    snprintf(m->what, sizeof m->what, "%s", key);
    m->until_ms = until_ms;
    m->fault = *fault;
    HASH_ADD_STR(ps->memos, what, m);
    if (!SF_HTAB_ADDED(m))
        free(m);
}

void
want_remember_locked(struct want_job *job, const struct sf_provider_fault *fault)
{
    struct sf_providers *ps = job->one->ps;
    /* By both: its hash may not have been noted. */
    const char *const whats[] = {job->key.sha256, job->version};
    enum kind kind = kind_of(fault);
    char key[300];
    SF_ASSERT_HELD(&ps->lock);
    if (kind == NOT_KEPT)
        return;
    int64_t until_ms = sf_clock_ms() + ps->opts.remember_ms[kind];
    if (kind == OF_ACCOUNT) {
        account_key(job->one, key);
        remember_as(ps, key, until_ms, fault);
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        if (!*whats[i])
            continue;
        content_key(&job->key, whats[i], key);
        remember_as(ps, key, until_ms, fault);
    }
}

static const struct want_memo *
find(struct sf_providers *ps, const char *key)
{
    struct want_memo *m;
    HASH_FIND_STR(ps->memos, key, m);
    if (m && m->until_ms <= sf_clock_ms()) {
        memo_free(ps, m);
        m = NULL;
    }
    return m;
}

const struct want_memo *
want_memo_locked(struct want_one *one, const struct sf_id_key *key, const char *version)
{
    const struct want_memo *m;
    char text[300];
    SF_ASSERT_HELD(&one->ps->lock);
    account_key(one, text);
    m = find(one->ps, text);
    if (!m && key->sha256[0]) {
        content_key(key, key->sha256, text);
        m = find(one->ps, text);
    }
    if (!m && *version) {
        content_key(key, version, text);
        m = find(one->ps, text);
    }
    return m;
}

void
want_memo_drop_locked(struct want_one *one, const struct sf_id_key *key, const char *version)
{
    const struct want_memo *m;
    while ((m = want_memo_locked(one, key, version)))
        memo_free(one->ps, (struct want_memo *)(uintptr_t)m);
}

void
want_memos_free(struct sf_providers *ps)
{
    struct want_memo *m, *next;
    HASH_ITER (hh, ps->memos, m, next)
        memo_free(ps, m);
}
