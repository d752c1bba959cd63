/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_WANT_WORLD_H
#define SF_TESTS_WANT_WORLD_H

#include <pthread.h>
#include <stdatomic.h>

#include "http-got.h"
#include "provider/want.h"
#include "toy-server.h"

/* A provider that does what a test says, the project's tables, two mounts, and who asks them. */

enum { FILES = 16384, CLAIMS = 64, MOUNTS = 2 };

struct world {
    struct toy *toy;
    struct sf_http *http;
    struct sf_provider_type type;
    struct sf_provider_conf conf[2]; /* "toy" and "other" */
    struct sf_provider_confs confs;
    struct sf_providers *ps[MOUNTS];
    char base[64], dir[MOUNTS][64];
    int64_t remember_ms; /* any error, by mounts that are opened from now on; a minute */

    pthread_mutex_t lock; /* protects what follows */
    struct {
        char name[128], purpose[32], sha256[65];
        size_t bytes;
        long created;
        bool gone;
        int polls;
    } files[FILES];
    int n_files;
    const char *script; /* of uploads: '.' takes it */
    bool held;          /* uploads wait for their reply */
    int polls, clock;
    unsigned uploads, gets, lists, deletes, waiting;

    /* The project's tables. */
    struct {
        char what[256], holder[80], id[80];
        int64_t until_ms;
    } claims[CLAIMS];
    int n_claims, tables_rc; /* what they fail with */
    unsigned asked, settled, dropped;
    const char *found; /* by this member supafs_find() finds a file */
};

/* A file, and what its asker hears. */
struct ask {
    const char *key, *etag, *id;
    char fill;
    uint64_t size;
    uint64_t error_at;
    atomic_bool stopped, released, blocks;
    atomic_uint reads, calls;
    struct sf_wanted wanted;
};

/* Mounts 0 and 1, each with a state directory; @tables: they share the project's. */
void open_mount(struct world *w, int i, bool tables);
void close_mount(struct world *w, int i);
/* For cmocka. At the end no slot, no asker and no reader is left. */
int setup(void **state);
int teardown(void **state);
struct sf_want_file file_of(struct ask *a);
/* Begin to ask; @ms: the deadline, 0 = the usual one. Returns the id of the want. */
uint64_t start_of(struct world *w, int mount, const char *provider, struct ask *a, bool again,
                  int ms);
/* Until it was told and its file released, both once. */
void wait_for(struct ask *a);
/* The id, or the name of the error. */
const char *get_of(struct world *w, int mount, const char *provider, struct ask *a, bool again);
const char *get(struct world *w, struct ask *a);
/* Of the first mount's provider "toy". */
struct sf_want_state known(struct world *w, struct ask *a);
/* A number that the server counts. */
unsigned seen(struct world *w, const unsigned *what);
/* What comes of uploads, a letter for each: '.' is taken, 'l' is taken and the reply is lost;
 * refuse() has the others. @held: no reply until this is called again. */
void plan(struct world *w, const char *script, bool held);
/* So many are waiting for their replies. */
void await_uploads(struct world *w, unsigned n);
/* The provider has the file no more. */
void vanish(struct world *w, int i);
void sha256_of(const void *data, size_t n, char out[65]);
void wanted(void *arg, const struct sf_wanted *result);

#endif
