/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SETUP_DOCTOR_INTERNAL_H
#define SF_SETUP_DOCTOR_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/mounts.h"
#include "config/config.h"
#include "config/keys.h"
#include "http/http.h"
#include "setup/doctor.h"
#include "supabase/storage.h"

/* Inside of the doctor: what the checks find out for each other. */

/* The checks in their order; the table is in doctor.c. */
enum check {
    CHECK_CONFIG,
    CHECK_PROVIDERS, /* here: the check of the key wipes those of providers, too */
    CHECK_PROJECT,
    CHECK_KEY,
    CHECK_NAME,
    CHECK_CONNECT,
    CHECK_TLS,
    CHECK_STORAGE,
    CHECK_CLOCK,
    CHECK_TOKEN,
    CHECK_ACCESS,
    CHECK_BUCKETS,
    CHECK_BUCKET,
    CHECK_DATABASE,
    CHECK_PROBE,
    CHECK_FUSE,
    CHECK_LIMITS,
    CHECK_CACHE,
    CHECK_STATE,
    CHECK_POINT,
    CHECK_MOUNTS,
    N_CHECKS
};

/* One request and what came of it. */
struct doctor_reply {
    struct sf_err err; /* code 0 = a reply came */
    int status;
    int64_t date_s, got_s; /* the reply's Date and our clock then, since the epoch; 0 = no Date */
    char location[200];    /* of a redirect */
    struct sf_buf body;
};

/* What the key says of itself. */
struct claims {
    bool jwt;
    char role[64], ref[64];
    int64_t iat, exp; /* seconds since the epoch; 0 = not told */
};

struct sf_doctor {
    struct sf_doctor_args args;
    struct sf_config *cfg;
    bool loaded; /* the configuration is whole */
    struct sf_doctor_row rows[N_CHECKS];
    unsigned n_rows;

    struct sf_key_choice key;
    struct claims claims;
    struct sf_http *http;
    struct sf_auth *auth; /* NULL = no usable key */
    struct sf_storage *storage;

    bool asked; /* the first request was made */
    struct doctor_reply first;

    char probe_bucket[128], probe_mime[128]; /* where a small object may be stored; "" = nowhere */
    bool interrupted;
};

/* The results of checks. */
__attribute__((format(printf, 3, 4))) void
doctor_say(struct sf_doctor_row *row, enum sf_doctor_result result, const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void doctor_advise(struct sf_doctor_row *row, const char *fmt,
                                                         ...);
/* A sentence of the form "what is wrong; what to do", as configuration and start have them. */
void doctor_say_error(struct sf_doctor_row *row, const char *sentence);

/* The requests; see doctor-ask.c. */
int doctor_open(struct sf_doctor *d, struct sf_err *err);
void doctor_close(struct sf_doctor *d);
/**
 * doctor_ask - one GET, without a second attempt.
 * @path: below the project's address.
 * @ret:  zeroed; filled, also on failure; doctor_reply_fini() frees.
 * Returns 0 when some reply came, or -errno.
 */
int doctor_ask(struct sf_doctor *d, const char *path, struct doctor_reply *ret);
void doctor_reply_fini(struct doctor_reply *a);
/* The first request, made once: it tells of the way to the project and of who asks. */
const struct doctor_reply *doctor_first(struct sf_doctor *d);
/* What a reply means: 0 for one of success, else -errno with what the service said. */
int doctor_meaning(const struct doctor_reply *a, char *text, size_t size);
/* All buckets; @fn runs on another thread, once. */
int doctor_buckets(struct sf_doctor *d, sf_bucket_list_fn fn, void *arg, struct sf_err *err);
int doctor_bucket(struct sf_doctor *d, const char *id, sf_bucket_list_fn fn, void *arg,
                  struct sf_err *err);
/* When a request must have ended. */
int64_t doctor_deadline(const struct sf_doctor *d);

void check_config(struct sf_doctor *d, struct sf_doctor_row *row);
void check_providers(struct sf_doctor *d, struct sf_doctor_row *row);
void check_project(struct sf_doctor *d, struct sf_doctor_row *row);
void check_key(struct sf_doctor *d, struct sf_doctor_row *row);
void check_name(struct sf_doctor *d, struct sf_doctor_row *row);
void check_connect(struct sf_doctor *d, struct sf_doctor_row *row);
void check_tls(struct sf_doctor *d, struct sf_doctor_row *row);
void check_storage(struct sf_doctor *d, struct sf_doctor_row *row);
void check_clock(struct sf_doctor *d, struct sf_doctor_row *row);
void check_token(struct sf_doctor *d, struct sf_doctor_row *row);
void check_access(struct sf_doctor *d, struct sf_doctor_row *row);
void check_buckets(struct sf_doctor *d, struct sf_doctor_row *row);
void check_bucket(struct sf_doctor *d, struct sf_doctor_row *row);
void check_database(struct sf_doctor *d, struct sf_doctor_row *row);
void check_probe(struct sf_doctor *d, struct sf_doctor_row *row);
void check_fuse(struct sf_doctor *d, struct sf_doctor_row *row);
void check_limits(struct sf_doctor *d, struct sf_doctor_row *row);
void check_cache(struct sf_doctor *d, struct sf_doctor_row *row);
void check_state(struct sf_doctor *d, struct sf_doctor_row *row);
void check_point(struct sf_doctor *d, struct sf_doctor_row *row);
void check_mounts(struct sf_doctor *d, struct sf_doctor_row *row);

/* Whether a mount is one of this project. Its own file system type and source say so. */
bool doctor_is_mount(const struct sf_doctor *d, const struct sf_mount *m);

/**
 * doctor_run_program - what a program prints, with a bare environment.
 * @argv: argv[0] is looked for in PATH. @in, @out: descriptors for it; -1 = /dev/null.
 * Returns its exit status, or -errno.
 */
int doctor_run_program(const char *const *argv, int in, int out);

/* The first line of its standard output; "" when it cannot be run. */
void doctor_program_line(const char *const *argv, char *line, size_t size);

#endif
