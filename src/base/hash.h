/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_BASE_HASH_H
#define SF_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* SipHash-2-4 under the key (@k0, @k1). */
uint64_t sf_siphash(uint64_t k0, uint64_t k1, const void *data, size_t n);

/* A hash that is the same in every run and on every machine (SipHash with a fixed key); for inode
 * numbers and what is stored. Who chooses the bytes can find collisions. */
uint64_t sf_hash64(const void *data, size_t n);

/* Fill with bytes nobody can predict. Returns 0 or -errno of getrandom(2). */
int sf_random_bytes(void *out, size_t n);

/* A random UUID (version 4), lower case. Returns 0 or -errno; @out is untouched on failure. */
int sf_uuid4(char out[37]);

/* Hash for tables in memory: keyed by a secret of this process, so that hostile names cannot make
 * a table slow. Different in every run. */
uint64_t sf_htab_hash(const void *data, size_t n);

#endif
