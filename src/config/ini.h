/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONFIG_INI_H
#define SF_CONFIG_INI_H

#include "base/err.h"

#include <stddef.h>

/*
 * Configuration files: `name = value` lines, [sections], comments from '#' or ';' at the start of a
 * line and from " ;" behind a value. Lines may be indented; values end at the line's end. A value
 * may stand between double quotes, which keeps spaces at its ends.
 */

/* Strings are valid during the call; @section is "" before the first. Where @name and @value are
 * NULL the section begins. Another result than 0 ends the parsing with it. */
typedef int (*sf_ini_fn)(void *arg, const char *section, const char *name, const char *value,
                         unsigned line, struct sf_err *err);

/**
 * sf_ini_parse - call @fn for each value, and for each section before its values.
 * @file: name for messages.
 *
 * Returns 0; -EINVAL a line that is not of this form (the message never repeats it); what @fn
 * returned; -ENOMEM.
 */
int sf_ini_parse(const char *text, size_t len, const char *file, sf_ini_fn fn, void *arg,
                 struct sf_err *err);

#endif
