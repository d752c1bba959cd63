/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_WANT_H
#define SF_PROVIDER_WANT_H

#include <sys/types.h>

#include "provider/call.h"
#include "provider/route.h"

/*
 * The providers of a mount, and the id that a file has at one of them: looked up, or got by
 * uploading the file. Whoever wants the id of a content that is being uploaded already, here or by
 * another mount (the project's tables know), waits for that upload; so it is sent once.
 *
 * Where a NULL for the providers is allowed there are none configured. Thread-safe. A callback runs
 * once, holding no lock: on a thread of ours, or before the function returns, which then is 0 for
 * its id. It must not block and may call everything here but stop and free.
 */
struct sf_http;
struct sf_storage;
struct sf_functions_peer;
struct sf_providers;

struct sf_providers_opts {
    const char *state_dir;      /* existing; the map of ids is "providers" below it */
    struct sf_storage *storage; /* where the project's tables are; NULL = without them. Borrowed */
    const char *holder;         /* who claims uploads there; NULL = a name that nobody else has */
    /* For tests; 0 = as in use. */
    const struct sf_functions_peer *tables; /* instead of the storage's (claim.h); copied */
    unsigned workers;       /* wants of one provider that are worked on at once: 4, or its slots */
    unsigned waiting;       /* that wait for one of them; beyond: -EBUSY. 1024 */
    uint64_t ids_bytes;     /* of the map's file: 64 MiB */
    unsigned lease_s;       /* of a claim: the provider's upload timeout and a minute */
    int64_t claim_wait_ms;  /* before a claim that another mount has is asked for again: 500 */
    int64_t remember_ms[3]; /* an error of the account, of the content, any other: 30 s, 10 min,
                               2 s */
};

/**
 * sf_providers_open - nothing is sent. What a killed mount may have left at a provider is looked
 * for when its file is wanted again, and by prune.
 * @http, @confs: borrowed until sf_providers_free().
 * Returns 0, -ENOMEM, or what is wrong with the state directory.
 */
int sf_providers_open(struct sf_http *http, const struct sf_provider_confs *confs,
                      const struct sf_providers_opts *opts, struct sf_providers **ret,
                      struct sf_err *err);
/**
 * sf_providers_stop - nothing more is begun, uploads under way are cancelled, and all wants end,
 * most with -ECANCELED. Does not wait. NULL is allowed.
 */
void sf_providers_stop(struct sf_providers *ps);
/* Stops; all callbacks have run when it returns. Not on the event thread, and before
 * sf_http_free(). NULL is allowed. */
void sf_providers_free(struct sf_providers *ps);

/* None (n = 0) for NULL. Never NULL; valid as long as @ps. */
const struct sf_provider_confs *sf_providers_confs(const struct sf_providers *ps);
/* For requests of other kinds; NULL there is none of this name ('-' and '_' are the same in it), or
 * it has a trouble. */
struct sf_provider *sf_providers_one(struct sf_providers *ps, const char *name);

struct sf_providers_figures {
    struct sf_gate_figures gate;
    uint64_t ids;                    /* that are known here */
    unsigned waiting, working;       /* wants, of all providers */
    uint64_t wants, uploads, failed; /* since the start; of this provider */
    uint64_t shared; /* ids that another mount had got, or that were found after a lost reply */
    uint64_t bytes;  /* of files that were sent whole */
    char last_error[400]; /* of the last want that failed; "" = none so far */
    char tables[12];      /* of all: "off", "waiting", "on", "missing", "denied", "unreachable" */
};
/* -ENOENT no such provider; one with a trouble has zeros. */
int sf_providers_figures(struct sf_providers *ps, const char *name,
                         struct sf_providers_figures *out);

/* ---- wants ----------------------------------------------------------------------------------- */

/* A file. Texts are copied; NULL is as "". */
struct sf_want_file {
    uint64_t size;
    const char *name, *mime;
    const char *bucket, *key;
    const char *id;     /* the object's UUID; "" = not known */
    const char *etag;   /* or its version; "" = it has none, so nothing is known by it */
    const char *sha256; /* of these very bytes, hex; "" = not known: they are read for it once */
    /* As those of struct sf_provider_source: read() may wait, on a thread of ours, one call at a
     * time; -ESTALE says that the content is another one by now. stop(): any that waits, and
     * later ones, return soon. release()
     * is called once in any case, before or after the callback, also when nothing was read. */
    ssize_t (*read)(void *arg, void *buf, size_t n, uint64_t off);
    void (*stop)(void *arg);
    void (*release)(void *arg);
    void *arg;
};

struct sf_want_how {
    const char *purpose; /* NULL = as the settings say */
    int64_t deadline_ms; /* 0 = the provider's upload timeout from now */
    bool again;          /* an error that is remembered does not count */
};

/* Valid during the callback. */
struct sf_wanted {
    int rc;                         /* 0 or -errno */
    struct sf_provider_fault fault; /* with a sentence, where rc is not 0 */
    char id[SF_PROVIDER_ID_MAX + 1];
    char sha256[65];   /* "" = not known */
    bool uploaded;     /* it was sent for this want, or for one that this one joined */
    bool adopted;      /* found in the provider's list, after a lost reply */
    bool shared;       /* another mount had it */
    int64_t expires_s; /* until when it is believed without asking; 0 = until it is missed */
};
typedef void (*sf_wanted_fn)(void *arg, const struct sf_wanted *wanted);

/**
 * sf_want - the id of a file, which is uploaded if it has none.
 * @provider: its name; '-' and '_' are the same in it.
 * @how:      NULL = all zero.
 *
 * What comes of it: -ENOENT no such provider; -EACCES it has a trouble; -EBUSY too many wait, or
 * the content changed while it was read; -ECANCELED; -ETIMEDOUT; or as docs/errors.md says of the
 * provider's classes. Errors are remembered for a while, so that who asks in a loop does not do so
 * at the provider's.
 *
 * Returns an id for sf_want_cancel(); 0 = @fn has run.
 */
uint64_t sf_want(struct sf_providers *ps, const char *provider, const struct sf_want_file *file,
                 const struct sf_want_how *how, sf_wanted_fn fn, void *arg);
/* It ends with -ECANCELED at once, unless it ended. The upload goes on while somebody else wants
 * it, or when the provider has all of its bytes. */
void sf_want_cancel(struct sf_providers *ps, uint64_t id);

enum sf_want_phase {
    SF_WANT_NONE,      /* nobody asked, or it is forgotten */
    SF_WANT_READY,     /* id, expires_s, ours; once it is not believed any more, only while nothing
                          is under way for it and nothing failed */
    SF_WANT_UNDER_WAY, /* sent, total, and what below */
    SF_WANT_FAILED,    /* err, text, until_s */
};
struct sf_want_state {
    enum sf_want_phase phase;
    char id[SF_PROVIDER_ID_MAX + 1];
    int64_t expires_s;
    bool ours; /* uploaded by this mount */
    /* UNDER_WAY */
    bool reading;   /* being read for its hash: sent is what was read */
    bool pending;   /* the provider has it, and is not ready with it */
    bool elsewhere; /* another mount uploads it */
    uint64_t sent, total;
    /* FAILED */
    int err; /* negative errno */
    enum sf_provider_class cls;
    char text[400];
    int64_t until_s; /* the error is remembered until then */
};
/**
 * sf_want_known - what is known here of a file; nobody is asked, nothing is read or begun.
 * @file:    without its reader.
 * @purpose: NULL = as the settings say.
 * Returns 0; -ENOENT no such provider.
 */
int sf_want_known(struct sf_providers *ps, const char *provider, const struct sf_want_file *file,
                  const char *purpose, struct sf_want_state *out);
/* How far one is: 0, or -ENOENT it has ended. */
int sf_want_watch(struct sf_providers *ps, uint64_t id, struct sf_want_state *out);

/* ---- ids ------------------------------------------------------------------------------------- */

/* Forget its id and its error here; nothing happens at the provider or in the tables. -ENOENT no
 * such provider, or nothing was known. Waits for the local disk. */
int sf_want_forget(struct sf_providers *ps, const char *provider, const struct sf_want_file *file);
/* The provider has no file of this id (any more): it is dropped here and, behind, in the tables, so
 * that the next want uploads it. */
void sf_want_gone(struct sf_providers *ps, const char *provider, const char *id);

/**
 * sf_want_adopt - a file that is at the provider already is this one: it must be there, be ready
 * and have its size. It is not ours then: prune leaves it alone.
 * As sf_want(); -ENOENT no such file there; -EINVAL its size is another one, or @id is none.
 */
uint64_t sf_want_adopt(struct sf_providers *ps, const char *provider,
                       const struct sf_want_file *file, const char *id, sf_wanted_fn fn, void *arg);
/* Delete a file at the provider, whosever it is, and drop its id. As above; -ENOENT. */
uint64_t sf_want_remove(struct sf_providers *ps, const char *provider, const char *id,
                        sf_wanted_fn fn, void *arg);

struct sf_want_about {
    char sha256[65];
    bool ours;         /* uploaded by this mount */
    int64_t expires_s; /* as above */
    char bucket[101];  /* of the file that got it last; "" = not known */
    char key[1025];
    bool begun; /* not an id of ours yet, but a file of an upload that was killed: only its name and
                   size tell */
};
/* Whose a file of the provider's list is, by what is known here: 0; -ENOENT nothing is known of it.
 */
int sf_want_about(struct sf_providers *ps, const char *provider,
                  const struct sf_provider_file *file, struct sf_want_about *out);

/**
 * sf_providers_route - sf_route() with the providers as they are now. Nobody is asked.
 * @file: without its reader.
 * The choices tell positions in sf_providers_confs().
 */
int sf_providers_route(struct sf_providers *ps, const struct sf_want_file *file,
                       const struct sf_route_policy *policy, struct sf_route *out);

/* ---- prune ----------------------------------------------------------------------------------- */

enum sf_prune_verdict {
    SF_PRUNE_KEPT,   /* why says for what reason */
    SF_PRUNE_GOES,   /* it would be deleted */
    SF_PRUNE_GONE,   /* it was */
    SF_PRUNE_FAILED, /* it could not be; why */
};
/* A file at a provider that this mount uploaded. */
struct sf_prune_file {
    const char *provider;
    const char *id, *filename;
    const char *bucket, *key; /* for which it was uploaded; "" = not known */
    uint64_t bytes;
    int64_t created_s;
    enum sf_prune_verdict verdict;
    char why[240]; /* a sentence without a full stop */
};
struct sf_prune_args {
    const char *provider; /* NULL = all */
    bool yes;             /* delete; else only tell */
    /* Whether a file has this content still: 1; 0 it does not, or is gone; -errno not known, so
     * that the file is kept. May wait; on a thread of ours, as the next. @bytes: of the content. */
    int (*is_still)(void *arg, const char *bucket, const char *key, const char *id,
                    const char *etag, uint64_t bytes);
    void (*tell)(void *arg, const struct sf_prune_file *file); /* of each that goes, or could */
    void *arg;
};
struct sf_pruned {
    int rc; /* 0, or what ended it early; err */
    struct sf_err err;
    unsigned seen, gone, failed; /* files of ours; gone: would be, without yes */
    uint64_t bytes;              /* of those */
};
typedef void (*sf_pruned_fn)(void *arg, const struct sf_pruned *pruned);
/**
 * sf_want_prune - delete at the providers what this mount uploaded and nobody needs any more: a
 * content that no file has which once had it, here or by the project's tables; and what uploads
 * left behind that were killed. Where the tables do not answer everything is kept.
 * As sf_want(); fn runs after all others, also when it is cancelled.
 */
uint64_t sf_want_prune(struct sf_providers *ps, const struct sf_prune_args *args, sf_pruned_fn fn,
                       void *arg);

#endif
