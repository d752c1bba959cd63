/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_FAKE_PROJECT_H
#define SF_TESTS_FAKE_PROJECT_H

#include <stdbool.h>
#include <stddef.h>

#include "tree/tree.h"

/*
 * A project in memory that stands in for supabase/storage.h and write/write.h below the tree.
 * Requests wait until fake_run() answers them, so that a test decides what happens between a
 * question and its answer.
 */
void fake_reset(void);
void fake_put(const char *bucket, const char *key, const char *text);
void fake_put_mime(const char *bucket, const char *key, const char *text, const char *mime);
void fake_remove(const char *bucket, const char *key);
bool fake_has(const char *bucket, const char *key, const char *text);
void fake_bucket(const char *bucket);
void fake_drop_bucket(const char *bucket);

/* All answers fail so from now on; 0 = work again. */
void fake_fail(int code);
/* Take the answers now (what the service says), give them to the tree with fake_deliver(). */
void fake_answer(void);
void fake_deliver(void);
/* Both, until nothing is asked any more. */
void fake_run(void);

struct fake_counts {
    unsigned lists, verifies, gets, puts, deletes, renames;
};
extern struct fake_counts fake_counts;

#endif
