/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CMD_PROVIDER_H
#define SF_CMD_PROVIDER_H

#include "cmd/cmd.h"
#include "provider/settings.h"

/* What `supafs provider` was told. */
struct provider_line {
    struct settings_line set;
    const char *verb;
    const char *path;   /* why: the file; check: a provider, or NULL */
    const char *wanted; /* NULL = auto */
    bool json;
    char *ca_file; /* of the configuration; NULL = the system's */
    bool insecure;
};

/* The table of providers. The code to exit with, here and below. */
int provider_ls(const struct provider_line *l, const struct sf_provider_confs *confs);
/* Ask each of them, or one, whether it answers. */
int provider_check(const struct provider_line *l, const struct sf_provider_confs *confs);
/* Which of them take a file, and why. */
int provider_why(const struct provider_line *l, const struct sf_provider_confs *confs);

#endif
