/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "setup/doctor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/redact.h"
#include "setup/doctor-internal.h"

#define NEEDS(check) (1u << CHECK_##check)

/* A check is skipped when one that it needs failed or was skipped. */
static const struct {
    const char *name;
    unsigned needs;
    void (*run)(struct sf_doctor *d, struct sf_doctor_row *row);
} checks[N_CHECKS] = {
    [CHECK_CONFIG] = {"configuration", 0, check_config},
    [CHECK_PROVIDERS] = {"providers", NEEDS(CONFIG), check_providers},
    [CHECK_PROJECT] = {"project", NEEDS(CONFIG), check_project},
    [CHECK_KEY] = {"key", NEEDS(CONFIG), check_key},
    [CHECK_NAME] = {"name", NEEDS(PROJECT), check_name},
    [CHECK_CONNECT] = {"connection", NEEDS(NAME), check_connect},
    [CHECK_TLS] = {"tls", NEEDS(CONNECT), check_tls},
    [CHECK_STORAGE] = {"storage", NEEDS(TLS), check_storage},
    [CHECK_CLOCK] = {"clock", NEEDS(TLS), check_clock},
    [CHECK_TOKEN] = {"token", NEEDS(PROJECT) | NEEDS(KEY), check_token},
    [CHECK_ACCESS] = {"access", NEEDS(STORAGE) | NEEDS(TOKEN), check_access},
    [CHECK_BUCKETS] = {"buckets", NEEDS(ACCESS), check_buckets},
    [CHECK_BUCKET] = {"bucket", NEEDS(ACCESS), check_bucket},
    [CHECK_DATABASE] = {"database", NEEDS(ACCESS), check_database},
    [CHECK_PROBE] = {"probe", NEEDS(ACCESS), check_probe},
    [CHECK_FUSE] = {"fuse", 0, check_fuse},
    [CHECK_LIMITS] = {"limits", 0, check_limits},
    [CHECK_CACHE] = {"cache", NEEDS(CONFIG), check_cache},
    [CHECK_STATE] = {"state", NEEDS(CONFIG), check_state},
    [CHECK_POINT] = {"mountpoint", 0, check_point},
    [CHECK_MOUNTS] = {"mounts", NEEDS(PROJECT), check_mounts},
};

/* ---- results -------------------------------------------------------------------------------- */

void
doctor_say(struct sf_doctor_row *row, enum sf_doctor_result result, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(row->said, sizeof row->said, fmt, ap);
    va_end(ap);
    row->result = result;
}

void
doctor_advise(struct sf_doctor_row *row, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(row->todo, sizeof row->todo, fmt, ap);
    va_end(ap);
}

void
doctor_say_error(struct sf_doctor_row *row, const char *sentence)
{
    const char *semicolon = strstr(sentence, "; ");
    int n = semicolon ? (int)(semicolon - sentence) : (int)strlen(sentence);
    doctor_say(row, SF_DOCTOR_FAIL, "%.*s", n, sentence);
    if (semicolon)
        doctor_advise(row, "%s", semicolon + 2);
}

const char *
sf_doctor_word(enum sf_doctor_result result)
{
    static const char *const words[] = {"ok", "warn", "fail", "skipped"};
    return words[result];
}

unsigned
sf_doctor_count(const struct sf_doctor *d, enum sf_doctor_result result)
{
    unsigned n = 0;
    for (unsigned i = 0; i < d->n_rows; i++)
        n += d->rows[i].result == result;
    return n;
}

json_t *
sf_doctor_json(const struct sf_doctor *d)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < d->n_rows; i++) {
        const struct sf_doctor_row *r = &d->rows[i];
        json_array_append_new(list, json_pack("{s:s, s:s, s:s%, s:s%}", "name", r->name, "result",
                                              sf_doctor_word(r->result), "text", r->said,
                                              strlen(r->said), "advice", r->todo, strlen(r->todo)));
    }
    enum sf_doctor_result all = sf_doctor_count(d, SF_DOCTOR_FAIL)   ? SF_DOCTOR_FAIL
                                : sf_doctor_count(d, SF_DOCTOR_WARN) ? SF_DOCTOR_WARN
                                                                     : SF_DOCTOR_OK;
    return json_pack("{s:s, s:s, s:o}", "version", PACKAGE_VERSION, "result", sf_doctor_word(all),
                     "checks", list);
}

/* ---- the run -------------------------------------------------------------------------------- */

int
sf_doctor_new(const struct sf_doctor_args *args, struct sf_doctor **ret)
{
    struct sf_doctor *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    d->args = *args;
    int rc = sf_config_new(&d->cfg);
    if (rc < 0) {
        free(d);
        return rc;
    }
    *ret = d;
    return 0;
}

void
sf_doctor_free(struct sf_doctor *d)
{
    if (!d)
        return;
    doctor_close(d);
    doctor_reply_fini(&d->first);
    sf_key_choice_fini(&d->key);
    sf_config_free(d->cfg);
    free(d);
}

/* The check that has to be repaired first; N_CHECKS = none. */
static unsigned
missing(const struct sf_doctor *d, unsigned needs)
{
    unsigned i = 0;
    while (i < d->n_rows && !((needs & (1u << i)) && d->rows[i].result >= SF_DOCTOR_FAIL))
        i++;
    return i < d->n_rows ? i : N_CHECKS;
}

int
sf_doctor_run(struct sf_doctor *d, void (*each)(void *arg, const struct sf_doctor_row *row),
              void *arg)
{
    for (unsigned i = 0; i < N_CHECKS && !d->interrupted; i++) {
        struct sf_doctor_row *row = &d->rows[i];
        unsigned lacks = missing(d, checks[i].needs);
        row->name = checks[i].name;
        if (lacks < N_CHECKS)
            doctor_say(row, SF_DOCTOR_SKIPPED, "needs %s, which did not go well",
                       checks[lacks].name);
        else
            checks[i].run(d, row);
        sf_redact(row->said);
        sf_redact(row->todo);
        d->n_rows = i + 1;
        if (each)
            each(arg, row);
    }
    return d->interrupted ? -EINTR : 0;
}
