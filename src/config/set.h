/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONFIG_SET_H
#define SF_CONFIG_SET_H

#include "base/buf.h"
#include "base/vec.h"
#include "config/config.h"
#include "config/provider.h"
#include "config/value.h"

/* Inside of config/: how the sources put values into a configuration. */

/* Where a value comes from. */
struct sf_source {
    enum sf_origin origin;
    unsigned rank;     /* among values of one origin the greater wins; at most 15 */
    const char *where; /* as sf_config_origin() tells it; copied */
    const char *base;  /* directory that relative paths start from; NULL = the current one */
    const char *file;  /* NULL, or the file that it is read from */
    const char *name;  /* NULL, or what it is called there: NAME, or "[section] name" */
};

struct sf_slot {
    struct sf_value value;
    char *where;   /* owned; NULL = default */
    char *file;    /* owned; of keys: to read them again (see sf_key_file_read); NULL = no file */
    char *name;    /* owned; of keys: what they are called at their source */
    unsigned rank; /* origin and rank in one number; 0 = default */
    bool set;      /* there is a value, be it the default's */
    bool wiped;    /* a key that was there */
};

/* A value of a [project.NAME] section, kept until it is known whether the profile is used. */
struct sf_pending {
    char *profile, *text, *where, *base, *file, *name;
    enum sf_origin origin;
    enum sf_opt opt;
};

SF_VEC_DEFINE(sf_pending_vec, struct sf_pending);
SF_VEC_DEFINE(sf_text_vec, char *);

SF_VEC_DEFINE(sf_bucket_vec, struct sf_config_bucket);

/* A provider: a section [provider.NAME], or what the environment knows of it. */
struct sf_config_provider {
    char name[33];
    bool from_file; /* the name is written as a file has it */
    struct sf_slot slots[SF_PS_COUNT];
    struct sf_slot env_key; /* what the variable of key_env held; where = NULL: not set */
};

SF_VEC_DEFINE(sf_config_provider_vec, struct sf_config_provider);

struct sf_config {
    struct sf_slot slots[SF_OPT_COUNT];
    struct sf_bucket_vec buckets;
    struct sf_config_provider_vec providers;
    struct sf_pending_vec pending;
    struct sf_text_vec warnings;
    struct sf_buf kernel_options;
    char *home; /* for paths that begin with "~/"; NULL = not known */
};

/**
 * sf_config_set - give an option a value, unless a nearer source has given one.
 * @text: checked in either case.
 */
int sf_config_set(struct sf_config *cfg, enum sf_opt opt, const char *text,
                  const struct sf_source *src, struct sf_err *err);

/* The checks of sf_config_set() alone. */
int sf_config_check(const struct sf_config *cfg, enum sf_opt opt, const char *text,
                    const struct sf_source *src, struct sf_err *err);

/* The same for a slot of another table. */
int sf_slot_set(const struct sf_config *cfg, struct sf_slot *slot, const struct sf_opt_info *info,
                const char *text, const struct sf_source *src, struct sf_err *err);
/* Give back what a slot owns; wipes its value. */
void sf_slot_fini(struct sf_slot *slot);

/* Give back what a pending value owns; wipes its text. */
void sf_pending_fini(struct sf_pending *p);
void sf_config_drop_pending(struct sf_config *cfg);

/* The error for a name that is no option. @where as in struct sf_source. */
int sf_config_unknown(const char *where, const char *name, struct sf_err *err);

/* Remember a warning. 0 or -ENOMEM. */
__attribute__((format(printf, 2, 3))) int sf_config_warn(struct sf_config *cfg, const char *fmt,
                                                         ...);

/* The sources; see load.c for the order in which they are read. */
int sf_config_add_mount_options(struct sf_config *cfg, const char *text, struct sf_err *err);
int sf_config_add_environment(struct sf_config *cfg, char *const *environment, struct sf_err *err);
int sf_config_add_env_file(struct sf_config *cfg, const char *path, struct sf_err *err);
/* @origin: SF_ORIGIN_SYSTEM_FILE or SF_ORIGIN_USER_FILE. A file that is not there is no error. */
int sf_config_add_file(struct sf_config *cfg, const char *path, enum sf_origin origin,
                       struct sf_err *err);
/* A value of the section [bucket.NAME]: public, file_size_limit or allowed_mime_types. */
int sf_config_bucket_set(struct sf_config *cfg, const char *bucket, const char *name,
                         const char *value, const char *where, struct sf_err *err);
void sf_config_bucket_fini(struct sf_config_bucket *b);
/* A section [provider.NAME] of a configuration file, which may be all that there is of it. */
int sf_config_provider_add(struct sf_config *cfg, const char *provider, const char *where,
                           struct sf_err *err);
/* A value of the section [provider.NAME], @provider being NAME. */
int sf_config_provider_set(struct sf_config *cfg, const char *provider, const char *name,
                           const char *value, const struct sf_source *src, struct sf_err *err);
/* The setting of this name ('-' and '_' are the same), or -1. */
int sf_provider_setting_find(const char *name);
/* The setting that a variable of the environment or an env file sets, or -1.
 * @provider: 33 bytes for whose; *rank as of sf_opt_find_env(). */
int sf_provider_setting_find_env(const char *variable, char provider[33], int *rank);
/* Look up the variables that key_env names; the last of the sources. */
int sf_config_provider_key_env(struct sf_config *cfg, char *const *environment,
                               const char *env_file, struct sf_err *err);
void sf_config_provider_wipe(struct sf_config_provider *p);
void sf_config_provider_fini(struct sf_config_provider *p);
/* Use the sections [project.NAME]; -EINVAL when no file has one. */
int sf_config_use_profile(struct sf_config *cfg, const char *profile, struct sf_err *err);

#endif
