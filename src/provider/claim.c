/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/claim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define ANSWER_MS   10000 /* who waits for an id does not wait longer for the tables */
#define LEASE_MAX_S 86400

struct sf_claims {
    struct sf_functions db;
    char holder[80];
};

/* ---- the database ---------------------------------------------------------------------------- */

static bool
is_answer(int rc)
{
    return rc == -EINVAL; /* it is there, and does not like this one */
}

/* Each of the three functions may be called again: the holder's claim stays his, what is settled
 * stays so (see settle), and what is gone is gone. */
static const struct sf_functions_how how = {
    .module = "provider", .event = "claims-off", .rest_ms = 60000, .is_answer = is_answer};

static int
ask(struct sf_claims *c, const char *function, json_t *args, int64_t deadline_ms, json_t **answer)
{
    int64_t until = sf_clock_ms() + ANSWER_MS;
    if (!args)
        return -ENOMEM;
    return sf_functions_ask(&c->db, function, args, deadline_ms < until ? deadline_ms : until,
                            answer);
}

/* ---- claims ---------------------------------------------------------------------------------- */

/* What all of them begin with; what is not known is left out. */
static json_t *
args_of(const struct sf_claims *c, const struct sf_claim_what *w)
{
    json_t *p = json_pack("{s:s, s:s, s:s, s:s, s:s, s:I}", "sha256", w->key->sha256, "provider",
                          w->key->provider, "account", w->key->account, "purpose", w->key->purpose,
                          "holder", c->holder, "bytes", (json_int_t)w->bytes);
    if (p && w->file_id && *w->file_id &&
        json_object_set_new(p, "file_id", json_string(w->file_id)))
        json_decref(p), p = NULL;
    return p;
}

static json_t *
wrapped(json_t *p)
{
    return p ? json_pack("{s:o}", "p", p) : NULL;
}

static bool
put_time(json_t *p, const char *name, int64_t s)
{
    char text[32];
    if (s <= 0)
        return true;
    sf_time_format_ms(s * 1000000000, text);
    return json_object_set_new(p, name, json_string(text)) == 0;
}

static int64_t
time_of(const json_t *answer, const char *name)
{
    const char *text = json_string_value(json_object_get(answer, name));
    int64_t ns;
    return text && sf_time_parse(text, &ns) == 0 ? ns / 1000000000 : 0;
}

/* False: it cannot be believed. */
static bool
claim_of(const json_t *answer, struct sf_claim *out)
{
    const char *state = json_string_value(json_object_get(answer, "state"));
    const char *id = json_string_value(json_object_get(answer, "provider_file_id"));
    json_int_t bytes = json_integer_value(json_object_get(answer, "bytes"));
    struct sf_claim claim = {.expires_s = time_of(answer, "expires_at")};
    if (!state)
        return false;
    if (strcmp(state, "claimed") == 0) {
        claim.state = SF_CLAIM_CLAIMED;
    } else if (strcmp(state, "busy") == 0) {
        claim.state = SF_CLAIM_BUSY;
    } else if (strcmp(state, "ready") == 0 && id && sf_provider_id_ok(id) && bytes >= 0) {
        claim.state = SF_CLAIM_READY;
        claim.bytes = (uint64_t)bytes;
        snprintf(claim.id, sizeof claim.id, "%s", id);
    } else {
        return false;
    }
    *out = claim;
    return true;
}

int
sf_claim_ask(struct sf_claims *c, const struct sf_claim_what *what, unsigned lease_s,
             int64_t deadline_ms, struct sf_claim *out)
{
    json_t *answer = NULL;
    if (!c)
        return -ENOSYS;
    json_t *p = args_of(c, what);
    if (p && json_object_set_new(p, "lease_s",
                                 json_integer(lease_s > LEASE_MAX_S ? LEASE_MAX_S : lease_s)))
        json_decref(p), p = NULL;
    int rc = ask(c, "supafs_provider_claim", wrapped(p), deadline_ms, &answer);
    if (!rc && !claim_of(answer, out))
        rc = sf_functions_odd(&c->db, "supafs_provider_claim");
    json_decref(answer);
    return rc;
}

int
sf_claim_settle(struct sf_claims *c, const struct sf_claim_what *what, const char *id,
                int64_t expires_s, const char *error, int64_t deadline_ms,
                char other[SF_PROVIDER_ID_MAX + 1])
{
    json_t *answer = NULL;
    if (!c)
        return -ENOSYS;
    json_t *p = args_of(c, what);
    if (p &&
        (json_object_set_new(p, id ? "provider_file_id" : "error", json_string(id ? id : error)) ||
         (id && !put_time(p, "expires_at", expires_s))))
        json_decref(p), p = NULL;
    int rc = ask(c, "supafs_provider_settle", wrapped(p), deadline_ms, &answer);
    const json_t *settled = json_object_get(answer, "settled");
    const char *there = json_string_value(json_object_get(answer, "provider_file_id"));
    if (!rc && (!json_is_boolean(settled) || (there && !sf_provider_id_ok(there))))
        rc = sf_functions_odd(&c->db, "supafs_provider_settle");
    /* The same id is there when the reply to the first call was lost. */
    if (!rc)
        snprintf(other, SF_PROVIDER_ID_MAX + 1, "%s",
                 json_is_false(settled) && there && (!id || strcmp(there, id) != 0) ? there : "");
    json_decref(answer);
    return rc;
}

int
sf_claim_drop(struct sf_claims *c, const char *provider, const char *id, int64_t deadline_ms)
{
    json_t *answer = NULL;
    if (!c)
        return -ENOSYS;
    int rc = ask(c, "supafs_provider_drop",
                 json_pack("{s:{s:s, s:s}}", "p", "provider", provider, "provider_file_id", id),
                 deadline_ms, &answer);
    json_decref(answer);
    return rc;
}

/* ---- who needs it ---------------------------------------------------------------------------- */

#define FOUND_MAX 50 /* more than can be "but" */

static bool
is_one_of(const char *id, const char *const *all, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (id && strcmp(id, all[i]) == 0)
            return true;
    return false;
}

/* Whether supafs_find() finds an object by this; @p is taken. */
static int
finds(struct sf_claims *c, json_t *p, const char *const *but, size_t n_but, int64_t deadline_ms)
{
    json_t *rows = NULL;
    int found = 0, rc = ask(c, "supafs_find", wrapped(p), deadline_ms, &rows);
    if (!rc && !json_is_array(rows))
        rc = sf_functions_odd(&c->db, "supafs_find");
    for (size_t i = 0; !rc && i < json_array_size(rows); i++)
        if (!is_one_of(json_string_value(json_object_get(json_array_get(rows, i), "id")), but,
                       n_but))
            found = 1;
    json_decref(rows);
    return rc ? rc : found;
}

int
sf_claim_needed(struct sf_claims *c, const struct sf_id_key *key, const char *id,
                const char *const *but, size_t n_but, int64_t deadline_ms)
{
    if (!c)
        return 0;
    int rc =
        finds(c, json_pack("{s:s, s:i}", "sha256", key->sha256, "limit", 1), NULL, 0, deadline_ms);
    if (rc == 0)
        rc = finds(c,
                   json_pack("{s:s, s:s, s:i}", "provider", key->provider, "provider_file_id", id,
                             "limit", FOUND_MAX),
                   but, n_but, deadline_ms);
    return rc == -ENOSYS ? 0 : rc; /* there are none that could know one */
}

/* ---- start and end --------------------------------------------------------------------------- */

int
sf_claims_new(struct sf_storage *st, const struct sf_functions_peer *peer, const char *holder,
              struct sf_claims **ret)
{
    struct sf_claims *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    sf_functions_init(&c->db, st, peer, &how);
    snprintf(c->holder, sizeof c->holder, "%s", holder);
    *ret = c;
    return 0;
}

void
sf_claims_free(struct sf_claims *c)
{
    if (!c)
        return;
    sf_functions_fini(&c->db);
    free(c);
}

const char *
sf_claims_state(struct sf_claims *c)
{
    return c ? sf_functions_state(&c->db) : "off";
}
