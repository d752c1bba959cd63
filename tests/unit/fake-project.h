/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_FAKE_PROJECT_H
#define SF_TESTS_FAKE_PROJECT_H

#include <stdbool.h>
#include <stddef.h>

#include "supabase/storage.h"
#include "tree/tree.h"

/*
 * A project in memory that stands in for supabase/storage.h and write/write.h below the tree.
 * Requests wait until fake_run() answers them, so that a test decides what happens between a
 * question and its answer. Changes happen at once unless they are held, too. Thread-safe.
 */
void fake_reset(void);
void fake_put(const char *bucket, const char *key, const char *text);
void fake_put_mime(const char *bucket, const char *key, const char *text, const char *mime);
/* Its Cache-Control; "" = no such object. What is written anew has "no-cache", and its mark. */
void fake_set_cache(const char *bucket, const char *key, const char *cache_control);
const char *fake_cache(const char *bucket, const char *key);
const char *fake_mime(const char *bucket, const char *key);
void fake_remove(const char *bucket, const char *key);
bool fake_has(const char *bucket, const char *key, const char *text);
bool fake_is(const char *bucket, const char *key, const void *data, size_t len);
/* Whether there is such an object, whatever its bytes. */
bool fake_exists(const char *bucket, const char *key);
void fake_bucket(const char *bucket);
/* Whether buckets are public. */
extern bool fake_public;
void fake_drop_bucket(const char *bucket);
/* Give an object this id and this ETag. */
void fake_set_version(const char *bucket, const char *key, const char *id, const char *etag);
/* Objects keep their id when they are replaced, as with an upsert; else each version has its own.
 */
void fake_keep_ids(bool keep);

/* All answers fail so from now on; 0 = work again. */
void fake_fail(int code);
/* Take the answers now (what the service says), give them to the tree with fake_deliver(). */
void fake_answer(void);
void fake_deliver(void);
/* Both, until nothing is asked any more, and no change waits. */
void fake_run(void);
/* The oldest question or change that waits, if any: for a thread that plays the service. */
bool fake_step(void);
/* The oldest question only. */
bool fake_step_question(void);
/* The newest question is answered and delivered before all others. */
void fake_overtake(void);

/* Changes wait from now on: fake_change() does the oldest, fake_told() calls back. */
void fake_hold(bool hold);
bool fake_change(void);
bool fake_told(void);
/* Of the rename of a directory that waits, move so many objects already. */
void fake_move_some(unsigned max);

struct fake_counts {
    _Atomic unsigned lists, verifies, gets, puts, deletes, behind, renames, loads, quarantined,
        attrs, attr_flushes, keeps, infos, signs, pages, flat; /* pages: of the lists, those of
                                                    1,000 rows; flat: those without a delimiter */
};
extern struct fake_counts fake_counts;

/* So many changes the journal has, as a mount begins. */
extern unsigned fake_pending;
/* This content is on its way from the journal to the bucket then; NULL = none. */
struct sf_pending;
extern const struct sf_pending *fake_replayed;
/* The removal of this key of bucket "b" was acknowledged by the process before; NULL = none. */
extern const char *fake_removed;
/* It is settled: @code 0 = it is gone. */
void fake_removal_ends(int code);
/* The version that the last removal which was acknowledged first is meant for. */
extern struct sf_version fake_removes;
/* Called, once, by whoever asks for an upload, before it is looked whether there is anything to be
 * sent. */
extern void (*_Atomic fake_before_commit)(void);
/* With this error a change of attributes cannot be kept; 0 = it can. */
extern int fake_unkept;
/* The journal has what contents have. */
extern bool fake_kept;
/* Whether the journal forgets what waits to be sent when its name is removed. */
extern bool fake_withdraws;

/* "KEY=BYTES" of what went to quarantine last. */
const char *fake_quarantined(void);

#endif
