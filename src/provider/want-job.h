/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_WANT_JOB_H
#define SF_PROVIDER_WANT_JOB_H

#include <openssl/evp.h>
#include <sys/queue.h>

#include "base/htab.h"
#include "base/lock.h"
#include "base/thread.h"
#include "provider/claim.h"
#include "provider/files.h"
#include "provider/ids.h"
#include "provider/upload.h"
#include "provider/want.h"

/*
 * Inside of provider/: wants as they are worked on. A job is what one worker does from its begin to
 * its end, in plain synchronous steps; askers are those who hear of its end. Askers come and go
 * under the lock; one that finds that another job does the same moves its askers there and ends, so
 * no thread waits for the job of another one.
 */
struct want_job;

#define WANT_CLOCKS_S 60 /* by which the provider's clock may be behind ours */

struct want_asker {
    UT_hash_handle hh; /* by id */
    TAILQ_ENTRY(want_asker) link;
    uint64_t id;
    struct want_job *job; /* NULL: its end is rc, and it waits to be told */
    int rc;
    int64_t deadline_ms;
    sf_wanted_fn fn;
    void *arg;
};
TAILQ_HEAD(want_askers, want_asker);

/* A provider of the mount. */
struct want_one {
    struct sf_providers *ps;
    const struct sf_provider_conf *conf;
    struct sf_provider *p; /* NULL: it has no address */
    struct sf_pool *pool;
    /* Under the lock. */
    unsigned waiting, working;
    uint64_t wants, uploads, failed, shared, bytes;
    char last_error[400];
};

struct want_job {
    TAILQ_ENTRY(want_job) link;
    struct want_one *one;
    void (*run)(struct want_job *job);
    struct sf_want_file file; /* its texts are ours; never NULL */
    bool again;
    char version[65];                       /* digest of the object's version; "" = it has none */
    char told[256];                         /* its marked name, which a list shows; with the hash */
    struct sf_id_key key;                   /* sha256 under the lock, "" = not known yet */
    char wanted_id[SF_PROVIDER_ID_MAX + 1]; /* of adopt, remove, gone */
    void *work_arg;                         /* of prune */
    bool patient; /* its asker is told at its end, whatever happens: others use what is his */
    struct sf_wanted result; /* the worker's, until it has ended */
    struct sf_provider_uploaded said;
    sf_provider_file_fn each; /* of a list under way */
    void *each_arg;
    EVP_MD_CTX *digest; /* of what is being sent */

    _Atomic uint64_t hashed;
    struct sf_provider_progress progress;

    /* Under the lock. */
    unsigned refs; /* the worker's, and that of an upload which may still read */
    struct want_askers askers;
    bool joinable;  /* by others who want the same */
    bool abandoned; /* nobody asks any more, or the mount stops */
    bool to_stop;   /* the keeper is to stop what is under way for it */
    bool reading, sending, elsewhere;
    bool answered; /* the request under way has ended: said, or its fault and file */
    uint64_t op;   /* of the request under way; 0 = none */
    struct sf_cond woken;
};

struct want_memo {
    UT_hash_handle hh;
    char what[300];
    int64_t until_ms;
    struct sf_provider_fault fault;
};

struct sf_providers {
    struct sf_http *http;
    const struct sf_provider_confs *confs;
    struct sf_providers_opts opts; /* with the defaults; texts and pointers of it are not used */
    struct sf_ids *ids;
    struct sf_claims *claims; /* NULL = off */
    struct want_one *all;     /* one for each of confs */
    pthread_t keeper;

    struct sf_mutex lock; /* a leaf; protects what follows, and what says so above */
    struct sf_cond wake;  /* the keeper */
    bool stopping, keeper_runs, keeper_ends;
    TAILQ_HEAD(, want_job) jobs;
    struct want_asker *askers; /* all, by id */
    struct want_askers ended;  /* those that the keeper is to tell */
    uint64_t next_id;
    int64_t keeper_wakes_ms;
    struct want_memo *memos; /* the oldest first */
};

/* ---- want.c ---------------------------------------------------------------------------------- */

void *want_keeper(void *providers);
/* Nothing more is begun; what is under way is abandoned. */
void want_stop(struct sf_providers *ps);
struct want_one *want_one(struct sf_providers *ps, const char *name);
/* 0, or why the provider cannot be asked at all. */
int want_usable(struct want_one *one, struct sf_provider_fault *out);
/* By what its hash is noted; false: by nothing. Texts are borrowed. */
bool want_object(const struct sf_want_file *file, struct sf_id_object *out);
/* Note that this file has this content, if it has a version. Never waits. */
void want_name(struct want_one *one, const struct sf_id_key *key, const struct sf_want_file *file);
/* What a file of an account is known by, as far as that is known without reading it. */
void want_key(struct want_one *one, const char *purpose, const struct sf_want_file *file,
              struct sf_id_key *key, char version[65]);
/* A job with one asker, for a worker. 0 = it was refused: @fn has run, the file is released. */
uint64_t want_start(struct want_one *one, const struct sf_want_file *file,
                    const struct want_job *like, int64_t deadline_ms, sf_wanted_fn fn, void *arg);
void want_unref(struct want_job *job);
/* Nobody needs its outcome. */
bool want_abandoned(struct want_job *job);
/* Pauses, but not when it is abandoned. */
void want_sleep(struct want_job *job, int64_t ms);
/* Until when somebody waits for it; INT64_MAX: nobody is there to say. */
int64_t want_deadline(struct want_job *job);
/* Set what it is about. False: another job does the same; the askers are there now. */
bool want_is_about(struct want_job *job, const char *sha256);
/* Its end: the askers are told. */
void want_end(struct want_job *job);

/* ---- want-memo.c ----------------------------------------------------------------------------- */

/* Errors that are remembered; the lock is held. */
void want_remember_locked(struct want_job *job, const struct sf_provider_fault *fault);
const struct want_memo *want_memo_locked(struct want_one *one, const struct sf_id_key *key,
                                         const char *version);
void want_memo_drop_locked(struct want_one *one, const struct sf_id_key *key, const char *version);
void want_memos_free(struct sf_providers *ps);

/* ---- want-ask.c: requests that are waited for ------------------------------------------------ */

/* 0, or the errno in result.fault. One that tidies up is not cancelled with its job, has little
 * time, and leaves result as it was. */
int want_ask_file(struct want_job *job, const char *id, struct sf_provider_file *out);
int want_ask_delete(struct want_job *job, const char *id, bool tidies);
/* @each: on the event thread. */
int want_ask_list(struct want_job *job, const char *purpose, sf_provider_file_fn each, void *arg);
/* said has the rest of what came of it. */
int want_ask_upload(struct want_job *job, int64_t deadline_ms);

/* ---- want-run.c ------------------------------------------------------------------------------ */

/* Get the id, whatever it takes. */
void want_run(struct want_job *job);
/* Know the hash, by reading if need be. 0, or the errno in result.fault. */
int want_hash(struct want_job *job);
/* A fault of ours, of no request. Returns rc. */
int want_fault(struct sf_provider_fault *out, int rc, const char *text);
/* The same for a job. */
__attribute__((format(printf, 3, 4))) int want_fail(struct want_job *job, int rc, const char *fmt,
                                                    ...);
/* The row of a file at the provider. */
void want_row(const struct want_one *one, const struct sf_provider_file *file, bool ours,
              struct sf_id_row *out);

/* ---- want-prune.c ---------------------------------------------------------------------------- */

/* How many files at the provider may be what an upload left that was killed; one that is known to
 * be something else is none. @out: the last one. Or -errno, as in result.fault. */
int want_find_begun(struct want_job *job, const struct sf_id_key *key,
                    const struct sf_id_row *intent, struct sf_provider_file *out);

#endif
