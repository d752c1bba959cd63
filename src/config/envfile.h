/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONFIG_ENVFILE_H
#define SF_CONFIG_ENVFILE_H

#include "base/err.h"

#include <stddef.h>

/*
 * Files of NAME=value lines, as .env files and systemd's EnvironmentFile. Accepted: `export `
 * before the name; blank lines; comments from '#' at the start of a line or after white space;
 * 'single quotes' (literal) and "double quotes" (\n \r \t \" \\ \$ \` are escapes), both over
 * several lines; CRLF; a name alone (no value: skipped). Nothing is expanded.
 */

/* @name and @value are valid during the call; another result than 0 ends the parsing with it. */
typedef int (*sf_envfile_fn)(void *arg, const char *name, const char *value, unsigned line,
                             struct sf_err *err);

/**
 * sf_envfile_parse - call @fn for each value.
 * @text: changed while parsing; text[len] must be NUL.
 * @name: of the file, for messages.
 *
 * Returns 0; -EINVAL a line that is not of this form (the message never repeats it); or what @fn
 * returned.
 */
int sf_envfile_parse(char *text, size_t len, const char *name, sf_envfile_fn fn, void *arg,
                     struct sf_err *err);

#endif
