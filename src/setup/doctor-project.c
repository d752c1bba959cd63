/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "setup/doctor-internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "setup/sql.h"
#include "supabase/rest.h"

#define PROBE_MIN 64 /* bytes that a bucket must take */

/* ---- buckets -------------------------------------------------------------------------------- */

static bool
takes(const struct sf_bucket_row *b, const char *mime)
{
    size_t slash = strcspn(mime, "/");
    for (const char *const *m = b->mimes; m && *m; m++)
        if (!strcmp(*m, mime) || !strcmp(*m, "*/*") ||
            (sf_str_ends(*m, "/*") && strlen(*m) == slash + 2 && !strncmp(*m, mime, slash)))
            return true;
    return !b->mimes;
}

/* A content type for a few bytes that the bucket takes. */
static bool
probe_mime(const struct sf_bucket_row *b, char *out, size_t size)
{
    if (b->size_limit && b->size_limit < PROBE_MIN)
        return false;
    const char *mime = takes(b, "application/octet-stream") ? "application/octet-stream"
                       : takes(b, "text/plain")             ? "text/plain"
                                                            : b->mimes[0];
    size_t n = strlen(mime);
    bool any = sf_str_ends(mime, "/*");
    int len = snprintf(out, size, "%.*s%s", (int)(any ? n - 1 : n), mime, any ? "plain" : "");
    return (size_t)len < size;
}

struct buckets {
    struct sf_doctor *d;
    size_t n, n_public;
    char names[200];
    bool best_is_private;
};

/* Where the probe goes: a bucket that others cannot read is better. */
static void
offer_probe(struct buckets *b, const struct sf_bucket_row *row)
{
    struct sf_doctor *d = b->d;
    char mime[sizeof d->probe_mime];
    bool better = !*d->probe_bucket || (!b->best_is_private && !row->is_public);
    if (!better || strlen(row->id) >= sizeof d->probe_bucket || !probe_mime(row, mime, sizeof mime))
        return;
    snprintf(d->probe_bucket, sizeof d->probe_bucket, "%s", row->id);
    snprintf(d->probe_mime, sizeof d->probe_mime, "%s", mime);
    b->best_is_private = !row->is_public;
}

static void
take_buckets(void *arg, const struct sf_err *err, const struct sf_bucket_row *rows, size_t n)
{
    struct buckets *b = arg;
    if (err)
        return;
    b->n = n;
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(b->names);
        b->n_public += rows[i].is_public;
        if (len + strlen(rows[i].id) + 8 < sizeof b->names)
            snprintf(b->names + len, sizeof b->names - len, "%s%s", len ? ", " : "", rows[i].id);
        else if (!sf_str_ends(b->names, "..."))
            snprintf(b->names + len, sizeof b->names - len, ", ...");
        offer_probe(b, &rows[i]);
    }
}

void
check_buckets(struct sf_doctor *d, struct sf_doctor_row *row)
{
    struct buckets b = {.d = d};
    struct sf_err err = SF_ERR_INIT;
    if (doctor_buckets(d, take_buckets, &b, &err) < 0) {
        doctor_say(row, SF_DOCTOR_FAIL, "the buckets cannot be listed: %s", err.msg);
        doctor_advise(row, "look at the project's logs in the dashboard");
    } else if (b.n == 0) {
        doctor_say(row, SF_DOCTOR_WARN, "there is no bucket that this key (role %s) may see",
                   sf_auth_role(d->auth));
        doctor_advise(row, d->key.mode == SF_KEY_SERVICE
                               ? "make the first ones: supafs init, or the dashboard"
                               : "make them and allow this role to see them by a policy on "
                                 "storage.buckets, or use the service key");
    } else {
        doctor_say(row, SF_DOCTOR_OK, "%zu (%zu public): %s", b.n, b.n_public, b.names);
    }
}

struct wanted {
    struct sf_doctor *d;
    struct buckets pick;
    uint64_t limit;
    size_t n_mimes;
};

static void
take_wanted(void *arg, const struct sf_err *err, const struct sf_bucket_row *rows, size_t n)
{
    struct wanted *w = arg;
    if (err || n != 1)
        return;
    w->limit = rows->size_limit;
    while (rows->mimes && rows->mimes[w->n_mimes])
        w->n_mimes++;
    offer_probe(&w->pick, rows);
}

void
check_bucket(struct sf_doctor *d, struct sf_doctor_row *row)
{
    const char *id = sf_config_str(d->cfg, SF_OPT_BUCKET);
    struct wanted w = {.d = d, .pick = {.d = d}};
    struct sf_err err = SF_ERR_INIT;
    char limits[120];
    if (!id) {
        doctor_say(row, SF_DOCTOR_OK, "no bucket is named: a mount shows all of them");
        return;
    }
    d->probe_bucket[0] = '\0'; /* this one alone is the mount's */
    int rc = doctor_bucket(d, id, take_wanted, &w, &err);
    if (rc == -ENOENT) {
        bool all = d->key.mode == SF_KEY_SERVICE;
        doctor_say(row, all ? SF_DOCTOR_FAIL : SF_DOCTOR_WARN, "the bucket %s is not there%s", id,
                   all ? "" : ", or this key may not see it");
        doctor_advise(row,
                      "check the name (-o bucket=), or make it: supafs init, or the dashboard");
    } else if (rc < 0) {
        doctor_say(row, SF_DOCTOR_FAIL, "%s", err.msg);
        doctor_advise(row, "look at the project's logs in the dashboard");
    } else {
        snprintf(limits, sizeof limits, "%s%zu content type%s", w.n_mimes ? "; it takes " : "",
                 w.n_mimes, w.n_mimes == 1 ? "" : "s");
        doctor_say(row, SF_DOCTOR_OK, "%s is there%s", id, w.n_mimes ? limits : "");
        if (w.limit) {
            size_t n = strlen(row->said);
            snprintf(row->said + n, sizeof row->said - n, "; objects of at most %llu bytes",
                     (unsigned long long)w.limit);
        }
    }
}

/* ---- the database --------------------------------------------------------------------------- */

static void
tell_about(const json_t *about, struct sf_doctor_row *row)
{
    const json_t *version = json_object_get(about, "version");
    json_int_t v = json_integer_value(version), newest = sf_sql_newest();
    if (!json_is_integer(version)) {
        doctor_say(row, SF_DOCTOR_FAIL, "supafs_about() of the database answers something else");
        doctor_advise(row, "install the tables again: supafs init");
    } else if (v < newest) {
        doctor_say(row, SF_DOCTOR_WARN,
                   "the project's tables are of version %lld, and this supafs "
                   "brings %lld",
                   (long long)v, (long long)newest);
        doctor_advise(row, "run supafs init, which adds what is new");
    } else {
        doctor_say(row, SF_DOCTOR_OK, "the project's tables are there, version %lld%s",
                   (long long)v, v > newest ? ", newer than this supafs" : "");
    }
}

void
check_database(struct sf_doctor *d, struct sf_doctor_row *row)
{
    const struct sf_rest_how how = {.deadline_ms = doctor_deadline(d), .reads = true};
    struct sf_err err = SF_ERR_INIT;
    json_t *about = NULL;
    if (!strcmp(sf_config_str(d->cfg, SF_OPT_TABLES), "off")) {
        doctor_say(row, SF_DOCTOR_SKIPPED, "tables=off");
        return;
    }
    int rc = sf_rest_rpc_wait(d->storage, "supafs_about", json_object(), &how, &about, &err);
    if (rc == 0 || (rc == -EPROTO && err.http_status)) {
        tell_about(about, row);
    } else if (rc == -ENOSYS) {
        doctor_say(row, SF_DOCTOR_WARN,
                   "the project's tables are not installed; files work "
                   "without them");
        doctor_advise(row, "for `supafs find` and the shared facts about files: supafs init");
    } else if (rc == -EACCES && d->key.mode == SF_KEY_ANON) {
        doctor_say(row, SF_DOCTOR_WARN,
                   "role anon may not use the project's tables; files work "
                   "without them");
        doctor_advise(row, "use a user's token or the service key");
    } else if (err.http_status) {
        doctor_say(row, SF_DOCTOR_FAIL, "the project's tables cannot be used: %s", err.msg);
        doctor_advise(row, rc == -EACCES ? "run supafs init, which grants what this role needs"
                                         : "look at the database's logs; files do not need it");
    } else {
        doctor_say(row, SF_DOCTOR_FAIL, "the database API does not answer: %s", err.msg);
        doctor_advise(row, "look at the project's status; files do not need it");
    }
    json_decref(about);
}
