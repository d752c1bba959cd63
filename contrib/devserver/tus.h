/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_TUS_H
#define DS_TUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "db.h"
#include "pace.h"
#include "store.h"

/*
 * Resumable uploads: a row in the database and a file DIR/uploads/UUID whose size is the offset.
 * Bytes are written as they come, so that they outlive a broken connection, a stop and a kill.
 *
 * One request at a time holds an upload. As at the service, the next one asks the holder to let go
 * at once, which it does when its body has come whole; a holder whose body is still coming loses
 * the upload after the drain time and keeps the bytes it has brought.
 */
struct ds_tus;

int ds_tus_open(int dir_fd, struct ds_db *db, struct ds_store *store, struct ds_pace *pace,
                struct ds_tus **ret, struct sf_err *err);
void ds_tus_close(struct ds_tus *tus);

/* Writes the row and an empty file, and removes uploads that are too old or too many. */
int ds_tus_create(struct ds_tus *tus, const struct ds_upload *upload);

/* Looks an upload up. -ENOENT; -ESTALE when it has expired, or its bytes are gone. */
int ds_tus_find(struct ds_tus *tus, const char *version, struct ds_upload *ret, uint64_t *offset);

struct ds_tus_file;

/* One request's hold on an upload; embedded in the request, zero = none. */
struct ds_tus_hold {
    struct ds_tus *tus;
    struct ds_tus_file *file;
    uint64_t offset; /* only for the holder */
    bool lost;       /* taken away; seen by the holder when it adds */

    /* Called on the thread of the request that takes the upload away, while the holder cannot let
     * go: answers for it. */
    void (*taken)(void *arg, uint64_t offset);
    void *arg;
};

/**
 * ds_tus_hold - take the lock of an upload, waiting as the service does.
 * @yields: whether another request may take it away; false for those without a body.
 *
 * Returns 0; -ETIMEDOUT after the longest wait, or when the server stops; -ENOMEM. That the upload
 * exists has to be looked at again under the lock.
 */
int ds_tus_hold(struct ds_tus *tus, const char *version, bool yields, struct ds_tus_hold *hold);

/* The body is complete: nobody takes the upload away any more. False when it has been taken. */
bool ds_tus_settle(struct ds_tus_hold *hold);

/* Appends; -ECANCELED when the upload has been taken away. */
int ds_tus_add(struct ds_tus_hold *hold, const void *bytes, size_t len);

/* Gives the bytes to the store as the version's and tells their MD5 in hex, "" when ETags are
 * none; the upload stays as it is until ds_tus_finished(). Doing it again for a finished one is
 * fine. */
int ds_tus_finish(struct ds_tus_hold *hold, const struct ds_upload *upload, char md5[33]);

/* The object's row is written, or never will be: only the upload's own row stays. */
void ds_tus_finished(struct ds_tus *tus, const char *version);

/* Removes row and bytes. */
void ds_tus_remove(struct ds_tus *tus, const char *version);

/* Lets go; a hold that was never taken is fine. */
void ds_tus_release(struct ds_tus_hold *hold);

#endif
