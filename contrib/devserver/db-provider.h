/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_DB_PROVIDER_H
#define DS_DB_PROVIDER_H

#include "db.h"

enum ds_pfile_state {
    DS_PFILE_READY,
    DS_PFILE_PENDING, /* ready after so many polls and not before ready_ms */
    DS_PFILE_FAILING, /* the same, but fails then */
    DS_PFILE_STUCK,   /* pending for ever */
    DS_PFILE_FAILED,
};

/* A file at an emulated provider; its bytes are a version in the store. */
struct ds_pfile {
    int64_t seq;
    char site[16], account[40], id[48];
    char filename[512], purpose[64], mime[128];
    char sha256[65];
    char version[DS_UUID_SIZE];
    int64_t size;
    int64_t created_ms;
    enum ds_pfile_state state;
    int64_t polls;    /* that still find it pending */
    int64_t ready_ms; /* when it is ready at the earliest */
    int64_t uses;     /* requests until it has vanished; -1 = it stays */
};

/* The files of parser tasks are rows of this purpose, and in no listing. */
#define DS_PFILE_TASK "parser-task"

int ds_db_pfile_insert(struct ds_db *db, const struct ds_pfile *file);

/* As it is stored; -ENOENT. */
int ds_db_pfile_get(struct ds_db *db, const char *site, const char *account, const char *id,
                    struct ds_pfile *ret);

/**
 * ds_db_pfile_use - the file as a request for it finds it, and what that changes in it.
 * @poll: counts against polls; only a request that shows the state does.
 * @now_ms: of the server's clock.
 *
 * Returns 0; -ENOENT, also when its uses are used up.
 */
int ds_db_pfile_use(struct ds_db *db, const char *site, const char *account, const char *id,
                    bool poll, int64_t now_ms, struct ds_pfile *ret);

/* Removes it and hands out what it was. */
int ds_db_pfile_delete(struct ds_db *db, const char *site, const char *account, const char *id,
                       struct ds_pfile *ret);

/* Any file of a site, oldest first: for removing all. */
int ds_db_pfile_first(struct ds_db *db, const char *site, struct ds_pfile *ret);

/* How many files of the purpose there are, and the bytes of all purposes; those created before
 * since_ms do not count. */
int ds_db_pfile_usage(struct ds_db *db, const char *site, const char *account, const char *purpose,
                      int64_t since_ms, int64_t *files, int64_t *bytes);

struct ds_pfile_query {
    const char *site;
    const char *account; /* NULL = of all */
    const char *purpose; /* NULL = all */
    int64_t before;      /* of a smaller seq; INT64_MAX = from the newest */
    int64_t since_ms;    /* created then or later */
    int limit;
};

/* Newest first; `row` is called with the database locked. */
int ds_db_pfile_list(struct ds_db *db, const struct ds_pfile_query *query,
                     void (*row)(void *arg, const struct ds_pfile *file), void *arg);

#endif
