/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_STORE_H
#define DS_STORE_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "db.h"
#include "text.h"

/*
 * The bytes of objects: one file per version, DIR/objects/xx/UUID, written below DIR/tmp and
 * renamed into place whole, never changed afterwards. Removing one leaves readers that hold it open
 * alone.
 */
struct ds_store;

/* Opens DIR's folders and removes what an earlier run left in tmp. */
int ds_store_open(int dir_fd, struct ds_store **ret, struct sf_err *err);
void ds_store_close(struct ds_store *store);

/* Removes files that no row names: for the start after a crash. */
int ds_store_sweep(struct ds_store *store, struct ds_db *db);

/* A body on its way in. Small ones stay in memory until they are committed. */
struct ds_incoming {
    struct ds_store *store;
    char version[DS_UUID_SIZE];
    char *small;
    int fd; /* -1 while small */
    uint64_t size;
    EVP_MD_CTX *md5; /* NULL = nobody wants it */
};

/* @hash: whether the MD5 is wanted at the end. */
int ds_incoming_init(struct ds_incoming *in, struct ds_store *store, bool hash);
int ds_incoming_add(struct ds_incoming *in, const void *bytes, size_t len);

/* Makes the file of in->version appear and gives the MD5 in hex, "" when it was not wanted. */
int ds_incoming_commit(struct ds_incoming *in, char md5[33]);

/* Appends all of an open file, by the kernel; for the MD5 it is read, too. */
int ds_incoming_append(struct ds_incoming *in, int fd);

/* Takes a local file instead of a body: reflinked or copied in the kernel, hashed in passing. */
int ds_incoming_import(struct ds_incoming *in, const char *path, struct sf_err *err);

/* Frees all; a body that was not committed leaves nothing behind. */
void ds_incoming_fini(struct ds_incoming *in);

/* An open descriptor, or -ENOENT. *size is the file's own size. */
int ds_store_open_version(struct ds_store *store, const char *version, uint64_t *size);

/* Give the bytes of one version a second name. -ENOENT when they are missing. */
int ds_store_link(struct ds_store *store, const char *from, const char *to);

/* The same for a file of another folder on the same file system, named as the version. An older
 * link of the same name is fine. */
int ds_store_link_in(struct ds_store *store, int dir_fd, const char *version);

/* Never fails visibly: what stays behind goes with the next sweep. */
void ds_store_remove(struct ds_store *store, const char *version);

#endif
