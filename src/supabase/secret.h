/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_SUPABASE_SECRET_H
#define SF_SUPABASE_SECRET_H

#include <stddef.h>

/*
 * Memory for keys: pages of their own, locked and left out of core dumps where the system lets us,
 * and wiped before they go back.
 */

/** sf_secret_alloc - @size bytes of zeroes, or NULL. */
void *sf_secret_alloc(size_t size);

/** sf_secret_free - wipe and give back. @p may be NULL; @size as allocated. */
void sf_secret_free(void *p, size_t size);

#endif
