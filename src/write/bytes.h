/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_BYTES_H
#define SF_WRITE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Internal to src/write: what is said to the block cache of bytes that are sent, copied and moved
 * here, and got from it. Without a cache nothing happens, and nothing is there.
 *
 * An upload's reply does not tell its ETag. Until that is known the bytes have the name that the
 * object would have if its ETag were an MD5; who learns the real one says so.
 */
struct sf_base;
struct sf_content;
struct sf_object;
struct sf_put;
struct sf_snapshot;
struct sf_version;
struct sf_writer;

/* A reply showed that version @was became @now, or was copied to it. Nothing happens where both do
 * not look alike. @now: may be NULL. */
void sf_bytes_same(struct sf_writer *w, const char *bucket, const struct sf_version *was,
                   const char *to_bucket, const struct sf_version *now);
/* A look at an object, which may be what this mount has sent. @op: the one that it carries. */
void sf_bytes_seen(struct sf_writer *w, const char *bucket, const char *key, const char *op,
                   const struct sf_object *o);
/* Whether the cache has anything of a version. */
bool sf_bytes_known(struct sf_writer *w, const char *bucket, const struct sf_version *v);

/**
 * sf_bytes_peek - what the cache has of a base, into @buf. May wait for the local disk.
 * @ret: where the answer ends, in (@off, @end]. True: up to there bytes are in @buf, of the base's
 *       version @gen; false: up to there they are not here.
 */
bool sf_bytes_peek(struct sf_base *b, char *buf, uint64_t off, uint64_t end, uint64_t *ret,
                   unsigned *gen);
/* Bytes of version @gen that were fetched. */
void sf_bytes_put(struct sf_base *b, unsigned gen, const char *buf, uint64_t off, size_t len);

/* A snapshot has been uploaded: its bytes go to the cache, some time later, from its file, which
 * stays as it is until then. Before the snapshot is given back. */
void sf_bytes_sent(struct sf_content *c, struct sf_snapshot *snap, const struct sf_put *put);

#endif
