/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SETUP_DOCTOR_H
#define SF_SETUP_DOCTOR_H

#include <jansson.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * `supafs doctor`: looks at all that a mount needs, in the order in which one thing rests on
 * another, and says of each whether it is well, and what to do where it is not. It changes nothing,
 * but for one small object that it stores and removes again.
 *
 * On one thread; nothing here is a secret: keys, passwords and signed addresses are in no text.
 */
struct sf_doctor;
struct sf_config_sources;

enum sf_doctor_result { SF_DOCTOR_OK, SF_DOCTOR_WARN, SF_DOCTOR_FAIL, SF_DOCTOR_SKIPPED };

struct sf_doctor_row {
    const char *name; /* static: one word */
    enum sf_doctor_result result;
    char said[600]; /* what was found, in a sentence */
    char todo[400]; /* what to do; "" = nothing */
};

struct sf_doctor_args {
    const struct sf_config_sources *sources; /* as `supafs mount` would read them; borrowed */
    const char *point;                       /* where it would mount, or NULL; borrowed */
    /* A file below .supafs of a mount, read without ever hanging: 0 or -errno. */
    int (*read_mount)(const char *point, const char *name, struct sf_buf *out);
};

/* All is looked at only by sf_doctor_run(). 0 or -ENOMEM. */
int sf_doctor_new(const struct sf_doctor_args *args, struct sf_doctor **ret);
void sf_doctor_free(struct sf_doctor *d);

/**
 * sf_doctor_run - make all checks. The keys leave this process's environment. Once.
 * @each: called with each result when it is known; may be NULL.
 *
 * Returns 0; -EINTR a signal came while something had to be removed again, which was done.
 */
int sf_doctor_run(struct sf_doctor *d, void (*each)(void *arg, const struct sf_doctor_row *row),
                  void *arg);

/* How many checks ended so, of those made until now. */
unsigned sf_doctor_count(const struct sf_doctor *d, enum sf_doctor_result result);
/* "ok", "warn", "fail", "skipped". */
const char *sf_doctor_word(enum sf_doctor_result result);
/* {"version", "result", "checks": [{"name", "result", "text", "advice"}]}; NULL = no memory. */
json_t *sf_doctor_json(const struct sf_doctor *d);

/**
 * sf_doctor_bundle - write what somebody who helps wants to see: a tar archive of the report, the
 * settings in effect, what the mounts say of themselves, the last lines of the log, and versions.
 * @path: must not exist; it gets mode 0600. With ".gz" or ".tgz" at its end gzip(1) packs it.
 *
 * Keys, passwords and names of objects are left out: of texts that others wrote only words of
 * supafs's own and numbers are taken over. After sf_doctor_run().
 * Returns 0 or -errno; then there is no file.
 */
int sf_doctor_bundle(struct sf_doctor *d, const char *path, struct sf_err *err);

#endif
