/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_STORE_GUARD_H
#define SF_STORE_GUARD_H

#include <stdbool.h>

/*
 * Internal to src/store. Pages of a mapped file may be missing (the file was cut, the disk cannot
 * read them) or lead nowhere. Under a guard that ends the call, not the process.
 */

/* Handle SIGBUS, SIGSEGV and SIGABRT from now on, where a guard is held; elsewhere they go on as
 * before. Called again after somebody else has taken them, it takes them back. */
void sf_guard_install(void);

/**
 * sf_guarded - call fn(arg) under a guard.
 * @marker: NULL, or the path of a file to be made when the process dies in fn. Then only SIGBUS
 * ends the call: fn writes to the heap, and after a SIGSEGV nobody knows where.
 *
 * Returns what fn does, or -EFAULT when it was left in the middle: what it had allocated is lost,
 * what it had locked stays so. Guards do not nest.
 */
int sf_guarded(const char *marker, int (*fn)(void *arg), void *arg);

/* fn has found out itself that the file is damaged: leave it. Returns when it cannot be left. */
void sf_guard_leave(void);

#endif
