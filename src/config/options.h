/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONFIG_OPTIONS_H
#define SF_CONFIG_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

/* The option table of options.def as constants: SF_OPT_URL, SF_OPT_BUCKET, ... */
enum sf_opt {
#define SF_OPTION(id, ...) SF_OPT_##id,
#include "config/options.def"
#undef SF_OPTION
    SF_OPT_COUNT
};

enum sf_opt_type {
    SF_OPT_TYPE_BOOL,     /* yes, no, true, false, on, off, 1, 0 */
    SF_OPT_TYPE_INT,      /* whole number >= 0 */
    SF_OPT_TYPE_SIZE,     /* bytes: 4096, 64K, 10M, 1G */
    SF_OPT_TYPE_DURATION, /* 500ms, 30s, 5min, 2h, 1d; a bare number means seconds */
    SF_OPT_TYPE_OCTAL,    /* permission bits: 022 */
    SF_OPT_TYPE_STRING,
    SF_OPT_TYPE_PATH, /* made absolute: from a file, relative to the file's directory */
    SF_OPT_TYPE_ENUM  /* one of a list of words */
};

enum {
    SF_OPT_F_SECRET = 1,       /* a key: refused in -o, its file must be its owner's alone */
    SF_OPT_F_NOT_FILE = 2,     /* has no meaning in a configuration file */
    SF_OPT_F_NOT_ENV_FILE = 4, /* has no meaning in an env file */
};

struct sf_opt_info {
    const char *name;
    const char *def;     /* as a user would write it; NULL = not set */
    const char *shown;   /* the default in words; NULL = def */
    int64_t min, max;    /* INT, SIZE, DURATION (ms), OCTAL */
    const char *values;  /* ENUM: words separated by '|'; else NULL */
    const char *aliases; /* environment names separated by spaces; or NULL */
    const char *help;
    enum sf_opt_type type;
    unsigned flags;
};

/* The row of an option; @opt < SF_OPT_COUNT. */
const struct sf_opt_info *sf_opt_info(enum sf_opt opt);

/* The option of this name, or -1. '-' and '_' are the same in a name. */
int sf_opt_find(const char *name);

/* The option that a variable of the environment sets (SUPAFS_NAME or an alias), or -1.
 * @rank: may be NULL; the smaller the nearer among the names of one option, 0 = SUPAFS_NAME. */
int sf_opt_find_env(const char *variable, int *rank);

/* The option whose name is closest to a mistyped one, or NULL when none is close. */
const char *sf_opt_nearest(const char *name);

#endif
