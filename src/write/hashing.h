/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_HASHING_H
#define SF_WRITE_HASHING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"
#include "write/digest.h"

struct sf_pool;
struct sf_stage;

/*
 * Internal to src/write: the digests of a content, kept up to date while bytes come in order from
 * the beginning. Those of small files are taken as they come; of others behind the writer, on a
 * thread that reads them back, a bounded way behind it. What does not come in order is left to a
 * pass over the file. Calls are made with the content's io lock held, but for init and fini.
 */
struct sf_hashing {
    struct sf_pool *pool;
    struct sf_digest digest; /* of the thread while busy, else of the caller */

    struct sf_mutex lock;   /* leaf; protects the fields below */
    struct sf_cond moved;   /* done, or busy no more */
    struct sf_stage *stage; /* where the bytes are; counted while busy, else NULL */
    uint64_t upto, done;    /* bytes that came in order; those in the digests */
    bool busy;
    bool broken; /* they are not what the file holds */
};

void sf_hashing_init(struct sf_hashing *h, struct sf_pool *pool);
void sf_hashing_fini(struct sf_hashing *h);
/* Bytes were written at @off of @stage, which has all that came before. May wait for the thread,
 * which is at most some milliseconds behind. */
void sf_hashing_write(struct sf_hashing *h, struct sf_stage *stage, const void *buf, size_t len,
                      uint64_t off);
/* The file has been cut or made longer to @size. */
void sf_hashing_truncate(struct sf_hashing *h, uint64_t size);
/* The file was changed otherwise. */
void sf_hashing_break(struct sf_hashing *h);
/* It begins anew, with an empty file. */
void sf_hashing_reset(struct sf_hashing *h);
/* Of a file of @size bytes: true and *ret, or false when a pass is needed. May wait as above. */
bool sf_hashing_result(struct sf_hashing *h, uint64_t size, struct sf_digests *ret);

#endif
