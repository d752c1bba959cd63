/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_CLAIM_H
#define SF_PROVIDER_CLAIM_H

#include <jansson.h>

#include "provider/ids.h"
#include "supabase/functions.h"

/*
 * What the project's tables (contrib/sql/006) know of ids at providers: of all mounts that want the
 * id of a content one has the claim to upload it, and the others its id afterwards.
 *
 * A failure of any of these means: go on without the tables. After one they rest for a while, in
 * which every call fails at once: with -ENOSYS where there are no such tables, as for NULL, which
 * is allowed; else with -EAGAIN. Thread-safe; calls wait for the database, so none on the event
 * thread.
 */
struct sf_storage;
struct sf_claims;

/**
 * sf_claims_new - @st or @peer (copied) is asked.
 * @holder: who claims; copied.
 * Returns 0 or -ENOMEM.
 */
int sf_claims_new(struct sf_storage *st, const struct sf_functions_peer *peer, const char *holder,
                  struct sf_claims **ret);
void sf_claims_free(struct sf_claims *c); /* may be NULL */
/* "off", "waiting" (nothing was asked yet), "on", "missing", "denied", "unreachable". */
const char *sf_claims_state(struct sf_claims *c);

enum sf_claim_state {
    SF_CLAIM_READY,   /* there is an id */
    SF_CLAIM_CLAIMED, /* it is ours to upload */
    SF_CLAIM_BUSY,    /* another one uploads it */
};
struct sf_claim {
    enum sf_claim_state state;
    char id[SF_PROVIDER_ID_MAX + 1]; /* READY */
    uint64_t bytes;
    int64_t expires_s; /* 0 = not told */
};
/* What is claimed: a content, for the file of which it is. */
struct sf_claim_what {
    const struct sf_id_key *key;
    const char *file_id; /* the object's UUID; "" = not known */
    uint64_t bytes;
};
/**
 * sf_claim_ask - @lease_s: for how long nobody else gets it.
 */
int sf_claim_ask(struct sf_claims *c, const struct sf_claim_what *what, unsigned lease_s,
                 int64_t deadline_ms, struct sf_claim *out);
/**
 * sf_claim_settle - the upload has ended.
 * @id:    NULL = it failed, and @error says why.
 * @other: on success the id that somebody else has settled meanwhile, or "".
 */
int sf_claim_settle(struct sf_claims *c, const struct sf_claim_what *what, const char *id,
                    int64_t expires_s, const char *error, int64_t deadline_ms,
                    char other[SF_PROVIDER_ID_MAX + 1]);
/** sf_claim_drop - the provider has no file of this id any more. */
int sf_claim_drop(struct sf_claims *c, const char *provider, const char *id, int64_t deadline_ms);
/**
 * sf_claim_needed - whether the tables know a file that has this content, or this id.
 * @but: UUIDs of files that are known to have another content by now; their ids do not count.
 * Returns 1; 0, also where there are no tables; -errno the tables did not answer.
 */
int sf_claim_needed(struct sf_claims *c, const struct sf_id_key *key, const char *id,
                    const char *const *but, size_t n_but, int64_t deadline_ms);

#endif
