/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CMD_PROVIDER_H
#define SF_CMD_PROVIDER_H

#include "cmd/cmd.h"
#include "provider/settings.h"

/* What `supafs provider` was told. */
struct provider_line {
    struct settings_line set;
    const char *verb;
    char **args; /* behind the verb */
    int n_args;
    const char *wanted; /* a provider; NULL = auto, all */
    const char *point;  /* a mount point; NULL = where the path is, or the only one */
    bool own, json, yes, again, deep;
    char *ca_file; /* of the configuration; NULL = the system's */
    bool insecure;
};

/* The code to exit with, here and below. Without a mount: as this command's own files, environment
 * and -o describe them. */
int provider_ls(const struct provider_line *l, const struct sf_provider_confs *confs);
int provider_check(const struct provider_line *l, const struct sf_provider_confs *confs);
int provider_why(const struct provider_line *l, const struct sf_provider_confs *confs);

/* The same as a mount knows them: -1 = there is none that is meant, and nothing was said. */
int provider_ls_mount(const struct provider_line *l);
int provider_check_mount(const struct provider_line *l);
int provider_why_mount(const struct provider_line *l);

int provider_upload(const struct provider_line *l);
int provider_adopt(const struct provider_line *l);
int provider_rm(const struct provider_line *l);
int provider_files(const struct provider_line *l);
int provider_prune(const struct provider_line *l);

/* ---- what a mount says: rows of JSON --------------------------------------------------------- */

typedef void (*provider_row_fn)(void *arg, const json_t *row);
/* Ask it. 0 or -errno, which was said, but for -ENOSYS: it is too old to know of providers. */
int provider_ask(const char *point, const char *const *words, provider_row_fn fn, void *arg);
/* Members of a row; "", 0 and false where they are not of the kind. */
const char *provider_str(const json_t *row, const char *name);
int64_t provider_num(const json_t *row, const char *name);
bool provider_flag(const json_t *row, const char *name);
/* The mount that is meant where no path tells, for free(). 0; -1 none, or one of several. @quiet:
 * that is not said. */
int provider_point(const struct provider_line *l, bool quiet, char **ret);

/* Printing of rows, with a mount and without. @point: whose they are; NULL = this command's own. */
struct provider_out {
    const char *point;
    json_t *all; /* NULL = text */
    unsigned rows, bad;
};
struct provider_out provider_out_begin(const struct provider_line *l, const char *point);
void provider_out_state(void *out, const json_t *row);
void provider_out_checked(void *out, const json_t *row);
void provider_out_choice(void *out, const json_t *row);
/* What is said of where they are from; prints JSON. */
void provider_out_end(struct provider_out *out);

#endif
