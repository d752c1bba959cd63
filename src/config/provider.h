/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONFIG_PROVIDER_H
#define SF_CONFIG_PROVIDER_H

#include "base/err.h"
#include "config/options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The sections [provider.NAME] of a configuration, and what the environment and the env file say of
 * providers. Here they are names, texts and numbers; what they mean is the business of
 * provider/settings.h. For each setting the nearer source wins, as for options.
 */
struct sf_config;

/* The settings of provider.def as constants: SF_PS_TYPE, SF_PS_BASE_URL, ... */
enum sf_provider_setting {
#define SF_PROVIDER_SETTING(id, ...) SF_PS_##id,
#include "config/provider.def"
#undef SF_PROVIDER_SETTING
    SF_PS_COUNT
};

/* The row of a setting; @setting < SF_PS_COUNT. */
const struct sf_opt_info *sf_provider_setting_info(enum sf_provider_setting setting);

/* A provider's name: [a-z0-9][a-z0-9_-]{0,31}. */
bool sf_provider_name_ok(const char *name);

/* Whether two names are the same: '-' and '_' are. */
bool sf_provider_name_same(const char *a, const char *b);

/* The providers, by name; NULL past the last one. The names are different. */
const char *sf_config_provider_name(const struct sf_config *cfg, size_t i);

/* A text; NULL when not set or empty. Never the key. */
const char *sf_config_provider_str(const struct sf_config *cfg, size_t i,
                                   enum sf_provider_setting setting);

/* A number, bytes or milliseconds; false: not set, *ret is untouched. */
bool sf_config_provider_num(const struct sf_config *cfg, size_t i, enum sf_provider_setting setting,
                            uint64_t *ret);

/* Where the value comes from, as sf_config_origin(). */
const char *sf_config_provider_origin(const struct sf_config *cfg, size_t i,
                                      enum sf_provider_setting setting);

/* Whether it comes from a variable that other programs use, too (OPENAI_BASE_URL): what is wrong
 * with it must not keep anybody from mounting. */
bool sf_config_provider_is_foreign(const struct sf_config *cfg, size_t i,
                                   enum sf_provider_setting setting);

struct sf_provider_key_choice {
    char *key;      /* the key itself; NULL: read it from the file */
    char *file;     /* NULL, or the file where it is looked for again: see sf_key_file_read() */
    char *variable; /* NULL, or which of the file's values it is */
    char *label;    /* "MOONSHOT_API_KEY in the environment"; never the key */
};

/**
 * sf_config_provider_key - where the provider's key comes from: the nearest of key, key_env and
 * key_file that has one. Before sf_config_wipe_keys().
 * @out: on success to be given back with sf_provider_key_choice_fini().
 *
 * Returns 0; -ENOKEY with a sentence; -ENOMEM.
 */
int sf_config_provider_key(const struct sf_config *cfg, size_t i,
                           struct sf_provider_key_choice *out, struct sf_err *err);
void sf_provider_key_choice_fini(struct sf_provider_key_choice *c);

#endif
