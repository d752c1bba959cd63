/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CACHE_POOL_H
#define SF_CACHE_POOL_H

#include <stddef.h>
#include <stdint.h>

/*
 * Buffers of 4 KiB to 1 MiB in sizes of powers of two, under one budget. Each size has its own
 * address range, as large as the budget, so nothing is ever fragmented; memory that is given back
 * is reused, or returned to the system when another size needs it. Not thread-safe.
 */
#define SF_POOL_MIN     4096u
#define SF_POOL_MAX     (1u << 20)
#define SF_POOL_CLASSES 9

struct sf_pool_class {
    char *base;      /* NULL = no buffer of this size was ever needed */
    uint32_t slots;  /* that fit the range */
    uint32_t fresh;  /* this one and later ones have never been used */
    uint32_t *idle;  /* stack: free, with memory */
    uint32_t *empty; /* stack: free, without memory */
    uint32_t n_idle, n_empty;
};

struct sf_bufpool {
    struct sf_pool_class classes[SF_POOL_CLASSES];
    uint64_t max;
    uint64_t used; /* bytes of buffers that are out */
    uint64_t held; /* used and idle: what the process has of the system; never above max */
    uint64_t peak; /* of held */
};

void sf_bufpool_init(struct sf_bufpool *p, uint64_t max);
void sf_bufpool_fini(struct sf_bufpool *p); /* buffers that are out become invalid */

/* The size of the buffer that @len bytes take; @len is at most SF_POOL_MAX. */
size_t sf_bufpool_size(size_t len);

/* A buffer of sf_bufpool_size(len) bytes. NULL: the budget is spent, or there is no memory. */
char *sf_bufpool_get(struct sf_bufpool *p, size_t len);
void sf_bufpool_put(struct sf_bufpool *p, char *buf, size_t len);

#endif
