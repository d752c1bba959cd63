/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_JOURNAL_H
#define SF_WRITE_JOURNAL_H

#include <stdint.h>

#include "base/err.h"
#include "write/record.h"

/*
 * Internal to src/write: what is acknowledged, or half done, and not yet in Supabase, on disk
 * (docs/formats/journal.md). Thread-safe. Changes reach the disk in the order of the calls, those
 * that wait together in one synced transaction.
 *
 * Records of contents that are not `synced` count only in this boot, so nobody waits for a sync of
 * them: they lie in an environment of their own, which survives kill -9 and is empty after another
 * boot. Which one a record lies in is the journal's affair; they have one order. What takes the
 * place of such a record is on disk before that one goes.
 *
 * A record is written before the request whose outcome it settles, and dropped when the outcome is
 * known; doing what it says a second time changes nothing.
 */
struct sf_journal;

#define SF_JOURNAL_BRIEF "sending" /* its directory, beside that of the others */

/**
 * sf_journal_open - open or make the journal below a state directory, which the caller has locked.
 * A record that cannot be read goes to quarantine/ with a note, and so does a journal that is no
 * database; the log says so. Returns 0; -EINVAL the directory is in a mount of supafs; -ENOMEM;
 * else what is wrong with the directory.
 */
int sf_journal_open(const char *state_dir, struct sf_journal **ret, struct sf_err *err);
/* Waits for all that was asked. May be NULL. */
void sf_journal_close(struct sf_journal *j);

/**
 * sf_journal_put - add a record (seq 0, which is set) or replace the one with its seq; waits for
 * the disk, so never on a thread that must not wait.
 * Returns 0; -ENOSPC; -EINVAL it breaks a rule of the format; -ENOMEM; -EIO. On failure the journal
 * has what it had, and a new record has no seq.
 */
int sf_journal_put(struct sf_journal *j, struct sf_record *r);

typedef void (*sf_journal_fn)(void *arg, int rc);
/**
 * sf_journal_put_async - the same without waiting.
 * @r:    borrowed for the call.
 * @seq:  set before the call returns and before @done runs; of a record that is added.
 * @done: called exactly once, holding no lock: on the journal's thread, or before the call returns
 *        when memory is gone or the record breaks a rule.
 */
void sf_journal_put_async(struct sf_journal *j, const struct sf_record *r, uint64_t *seq,
                          sf_journal_fn done, void *arg);

#define SF_JOURNAL_DROPS 6
/**
 * sf_journal_replace_async - a record takes the place of others, in one transaction.
 * @r:     as above, but always as a new one, after all that are there; NULL = others are dropped,
 *         that is all.
 * @drops: @n numbers, at most SF_JOURNAL_DROPS; 0, and those that are gone, do not count.
 * On failure the journal has what it had.
 */
void sf_journal_replace_async(struct sf_journal *j, const struct sf_record *r,
                              const uint64_t *drops, unsigned n, uint64_t *seq, sf_journal_fn done,
                              void *arg);
/* Bytes of contents that lie in records. */
uint64_t sf_journal_data_bytes(struct sf_journal *j);

/* Removed along with the next put, or 200 ms later; nobody waits, and a record that survives is
 * done again. */
void sf_journal_drop(struct sf_journal *j, uint64_t seq);
/**
 * sf_journal_drop_renamed - drop the record of a directory's rename, all of which has moved.
 * @dir: with seq, bucket, key, to_bucket and to_key.
 * In the same transaction contents that are kept for keys below the old name, or begin with objects
 * there, get the new one: a start would bring them back under the old name. Waits. 0 or -errno;
 * then nothing has changed.
 */
int sf_journal_drop_renamed(struct sf_journal *j, const struct sf_record *dir);
/* Waits. 0, also when there is none; -ENOMEM; -EIO. */
int sf_journal_drop_wait(struct sf_journal *j, uint64_t seq);

/**
 * sf_journal_each - call @fn with every record, in order of seq; for the start.
 * @fn: owns what it takes out of the record (sf_steal(r->key), or all of *r and zeroes it); holds
 *      no lock, may change the journal. A result other than 0 ends the walk and is returned.
 */
int sf_journal_each(struct sf_journal *j, int (*fn)(void *arg, struct sf_record *r), void *arg);

/* Call @fn with the number and kind of every record that is on disk, in no order; the journal's
 * lock is held: it only notes. */
void sf_journal_numbers(struct sf_journal *j,
                        void (*fn)(void *arg, uint64_t seq, enum sf_record_kind kind), void *arg);
bool sf_journal_has(struct sf_journal *j, uint64_t seq);
/* Wait until what was asked for before is on disk, drops too. 0 or as sf_journal_drop_wait(). */
int sf_journal_settle(struct sf_journal *j);
/* The same without waiting; @done as that of sf_journal_put_async(). */
void sf_journal_settle_async(struct sf_journal *j, sf_journal_fn done, void *arg);

struct sf_journal_stats {
    unsigned records[SF_RECORD_KINDS]; /* but those that sf_journal_drop() was called for */
    int64_t oldest_ns;                 /* made_ns of the oldest of these; 0 = there is none */
    uint64_t changes, commits;         /* puts and drops, transactions, since it was opened */
    unsigned damaged;                  /* records that sf_journal_open() could not read */
};
void sf_journal_stats(struct sf_journal *j, struct sf_journal_stats *out);

#endif
