/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONFIG_VALUE_H
#define SF_CONFIG_VALUE_H

#include "config/options.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One value of an option: a number or a text. */
struct sf_value {
    uint64_t num; /* BOOL, INT, SIZE, OCTAL; DURATION in milliseconds; ENUM: position of the word */
    char *str;    /* STRING, PATH, ENUM (the word); owned */
};

/**
 * sf_value_parse - read a value as the option's row in the table says.
 *
 * Returns 0; -EINVAL it is not allowed: sf_value_allowed() says what is; -ENOMEM. *ret is
 * untouched on failure.
 */
int sf_value_parse(enum sf_opt opt, const char *text, struct sf_value *ret);
/* The same for a row of another table. */
int sf_value_parse_as(const struct sf_opt_info *info, const char *text, struct sf_value *ret);

/* Wipes: the text may be a key. */
void sf_value_fini(struct sf_value *v);

/* What an option may be, as the end of a sentence: "a whole number from 1 to 128". Returns @out. */
const char *sf_value_allowed(enum sf_opt opt, char *out, size_t size);
const char *sf_value_allowed_as(const struct sf_opt_info *info, char *out, size_t size);

/* The value in the form a user would write: "50M", "5min", "022", "yes". Returns @out. */
const char *sf_value_format(enum sf_opt opt, const struct sf_value *v, char *out, size_t size);

/* A word of the user's for a message: cut at 40 bytes, control characters as '?', and "..." for
 * what looks like a key. Returns @out. */
const char *sf_value_quote(const char *text, char out[48]);

/* Whether a word has the form of a key: a JWT, sb_..., or a provider's sk-... */
bool sf_value_is_key(const char *text);

#endif
