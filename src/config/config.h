/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONFIG_CONFIG_H
#define SF_CONFIG_CONFIG_H

#include "base/err.h"
#include "config/options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * The settings of one mount, collected from all sources of the option table. For each option the
 * nearer source wins, in whatever order they are read. Filled once by one thread; after
 * sf_config_load() and sf_config_wipe_keys() it is only read, from any thread.
 *
 * Errors are whole sentences naming source, line, option, value and what is allowed. Codes:
 * -EINVAL a bad option or value; -EPERM a file with keys in it can be read by others; -ENOENT,
 * -EACCES, ... a file that was asked for cannot be read; -ENOMEM.
 */
struct sf_config;

/* From far to near. */
enum sf_origin {
    SF_ORIGIN_DEFAULT,
    SF_ORIGIN_SYSTEM_FILE, /* /etc/supafs/supafs.conf */
    SF_ORIGIN_USER_FILE,   /* $XDG_CONFIG_HOME/supafs/supafs.conf */
    SF_ORIGIN_ENV_FILE,
    SF_ORIGIN_ENVIRONMENT,
    SF_ORIGIN_MOUNT,    /* -o */
    SF_ORIGIN_ARGUMENT, /* the URL or profile, and flags of the verb */
};

/* Where sf_config_load() looks. Zeroed, it reads the process's own surroundings. */
struct sf_config_sources {
    const char *argument; /* first argument of mount: a URL or the name of a profile; NULL =
                             neither */
    const char *const *mount_options; /* arguments of -o, NULL-terminated; or NULL */
    const char *env_file;             /* argument of --env-file, or NULL */
    char *const *environment;         /* NULL = environ */
    const char *system_file;          /* NULL = /etc/supafs/supafs.conf; "" = none */
    const char *user_file;            /* NULL = the user's; "" = none */
    const uid_t *uid;                 /* who mounts; NULL = geteuid() */
    const gid_t *gid;                 /* NULL = getegid() */
};

/** sf_config_new - all options at their defaults. Returns 0 or -ENOMEM. */
int sf_config_new(struct sf_config **ret);

/* Keys are wiped. @cfg may be NULL. */
void sf_config_free(struct sf_config *cfg);

/**
 * sf_config_load - read all sources, choose the profile, fill in the defaults that depend on who
 * mounts, make the URL canonical and check what must fit together.
 *
 * A missing configuration file is no error, a missing env file is. That a URL is there at all is
 * for the caller to check (sf_config_require_url).
 */
int sf_config_load(struct sf_config *cfg, const struct sf_config_sources *src, struct sf_err *err);

/* Forget the keys once sf_keys_choose() has copied the one in use: they are wiped, and asking for
 * one gives NULL; sf_config_text() and sf_config_origin() still tell that they were there. */
void sf_config_wipe_keys(struct sf_config *cfg);

/* Take the keys out of this process's environment, so that neither /proc/PID/environ nor programs
 * that it runs have them: of the project and of providers, whose sections may name variables of
 * their own. While there is one thread; nothing read from the environment before may be in use. */
void sf_config_wipe_environment(const struct sf_config *cfg);

/* 0, or -EINVAL with a sentence that names the ways to give the URL. */
int sf_config_require_url(const struct sf_config *cfg, struct sf_err *err);

/* ---- values --------------------------------------------------------------------------------- */

/* BOOL. Asking for another type than the option's is a bug (asserted), here and below. */
bool sf_config_bool(const struct sf_config *cfg, enum sf_opt opt);
/* INT, SIZE in bytes, OCTAL; of an option that is not set: 0. */
uint64_t sf_config_u64(const struct sf_config *cfg, enum sf_opt opt);
/* DURATION in milliseconds. */
int64_t sf_config_ms(const struct sf_config *cfg, enum sf_opt opt);
/* STRING, PATH (absolute), ENUM (the word); NULL when not set or empty. Valid as long as @cfg. */
const char *sf_config_str(const struct sf_config *cfg, enum sf_opt opt);
/* ENUM: position of the word in the table's list. */
unsigned sf_config_enum(const struct sf_config *cfg, enum sf_opt opt);
/* Whether there is a value, be it the default's. */
bool sf_config_is_set(const struct sf_config *cfg, enum sf_opt opt);

/* Where the value comes from: "default", "-o", "SUPABASE_URL in the environment",
 * "/etc/supafs/supafs.conf:12". Valid as long as @cfg. */
const char *sf_config_origin(const struct sf_config *cfg, enum sf_opt opt);
enum sf_origin sf_config_origin_kind(const struct sf_config *cfg, enum sf_opt opt);

/**
 * sf_config_text - the value in the form a user would write, for status and `mount -v`.
 * Keys are shown as "(hidden)", options that are not set as "".
 *
 * Returns @out, cut to @size.
 */
const char *sf_config_text(const struct sf_config *cfg, enum sf_opt opt, char *out, size_t size);

/* A bucket that `supafs init` is to make: a section [bucket.NAME]. */
struct sf_config_bucket {
    char *name;
    bool is_public;
    uint64_t size_limit; /* bytes; 0 = none */
    char **mimes;        /* NULL-terminated list of allowed types; NULL = all */
};
/* In the order in which the files have them first; what the nearer file sets wins. NULL past the
 * last one. */
const struct sf_config_bucket *sf_config_bucket(const struct sf_config *cfg, size_t i);

/* Options of -o that are the kernel's business, as "noexec,noatime"; "" when none. */
const char *sf_config_kernel_options(const struct sf_config *cfg);

/* Things that are no error but that the user should hear at mount; NULL past the last one. */
const char *sf_config_warning(const struct sf_config *cfg, size_t i);

#endif
