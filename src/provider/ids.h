/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_IDS_H
#define SF_PROVIDER_IDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "provider/provider.h"

/*
 * What this mount knows of files at providers: which content has which id there, which uploads were
 * begun, and the hashes of objects' versions. An LMDB environment of its own below the state
 * directory; docs/formats/providers.md. Whatever is read from it is checked: a row that is damaged
 * is one that is not there.
 *
 * Thread-safe. Changes wait for the local disk, so none on the event thread.
 */
struct sf_ids;

/* A content as a provider knows it. */
struct sf_id_key {
    char sha256[65];   /* lower-case hex */
    char provider[33]; /* name of its section */
    char account[65];  /* sf_provider_account() */
    char purpose[64];
};

struct sf_id_row {
    char id[SF_PROVIDER_ID_MAX + 1];
    char filename[256]; /* what the provider was told */
    uint64_t bytes;
    int64_t created_s;
    int64_t believed_until_s; /* ask the provider afterwards; 0 = until it is missed */
    bool ours;                /* uploaded by this mount, which may delete it */
};

struct sf_ids_opts {
    const char *dir;
    uint64_t max_bytes;  /* of its file; 0 = 64 MiB */
    unsigned max_hashes; /* are kept, about; then chance decides which one goes. 0 = 65536 */
};

/**
 * sf_ids_open - open or make the environment.
 *
 * One that is no database is renamed to `data.mdb.damaged`, and another one begun. Errors as of
 * sf_env_open().
 */
int sf_ids_open(const struct sf_ids_opts *opts, struct sf_ids **ret, struct sf_err *err);
void sf_ids_close(struct sf_ids *ids); /* may be NULL */

/* Each of them: -EINVAL a key or a row that is none; -EIO, -ENOSPC, -ENOMEM. */

/** sf_ids_get - the id of a content. -ENOENT there is none. */
int sf_ids_get(struct sf_ids *ids, const struct sf_id_key *key, struct sf_id_row *out);
/** sf_ids_put - note it, in place of another one; an upload of it that was begun is over. */
int sf_ids_put(struct sf_ids *ids, const struct sf_id_key *key, const struct sf_id_row *row);
/** sf_ids_find - the content that has this id. -ENOENT. */
int sf_ids_find(struct sf_ids *ids, const char *provider, const char *account, const char *id,
                struct sf_id_key *out);
/** sf_ids_drop - forget it. -ENOENT it was not known. */
int sf_ids_drop(struct sf_ids *ids, const char *provider, const char *account, const char *id);

/* Called for each; nothing here may be called within. Another result than 0 ends the walk with it.
 */
typedef int (*sf_ids_fn)(void *arg, const struct sf_id_key *key, const struct sf_id_row *row);
int sf_ids_each(struct sf_ids *ids, sf_ids_fn fn, void *arg);
/** sf_ids_count - how many a provider has, in all accounts. */
uint64_t sf_ids_count(struct sf_ids *ids, const char *provider);

/* ---- uploads that were begun ---------------------------------------------------------------- */

/* Noted before the first byte is sent, and gone with sf_ids_put() or sf_ids_intent_end(): of a
 * mount that was killed in between the file may be at the provider without anybody knowing its id.
 */

/** sf_ids_intend - @row: filename, bytes, and created_s = since when; no id. */
int sf_ids_intend(struct sf_ids *ids, const struct sf_id_key *key, const struct sf_id_row *row);
/** sf_ids_intent_end - it is certain that nothing is there. Without one: 0. */
int sf_ids_intent_end(struct sf_ids *ids, const struct sf_id_key *key);
int sf_ids_intents(struct sf_ids *ids, sf_ids_fn fn, void *arg);
/** sf_ids_intent - the one of a content. -ENOENT. */
int sf_ids_intent(struct sf_ids *ids, const struct sf_id_key *key, struct sf_id_row *out);

/* ---- for which files ------------------------------------------------------------------------- */

/* A file that had a content when it got its id; the texts may be "". */
struct sf_id_name {
    char bucket[101], key[1025], id[40], etag[136];
};
#define SF_ID_NAMES 16 /* of one content are kept */

/** sf_ids_name - note it, behind; never waits, any thread. What cannot be noted is not. */
void sf_ids_name(struct sf_ids *ids, const struct sf_id_key *key, const struct sf_id_name *name);
/**
 * sf_ids_names - those of a content, which go with its id.
 * Returns how many, or -errno; -E2BIG there were more.
 */
int sf_ids_names(struct sf_ids *ids, const struct sf_id_key *key,
                 struct sf_id_name out[SF_ID_NAMES]);

/* ---- hashes --------------------------------------------------------------------------------- */

/* A version of an object: by `version`, else by its ETag. */
struct sf_id_object {
    const char *bucket, *key, *version;
    uint64_t size;
};

/** sf_ids_hash - the SHA-256 of its bytes, as it was noted. -ENOENT. */
int sf_ids_hash(struct sf_ids *ids, const struct sf_id_object *object, char out[65]);
int sf_ids_hash_put(struct sf_ids *ids, const struct sf_id_object *object, const char *sha256);

#endif
