/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_BASE_GLOB_H
#define SF_BASE_GLOB_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Globs as shells have them, of UTF-8 characters: '*' is any text, '?' any character, [a-z] one of
 * these, [!a-z] or [^a-z] any other, a backslash makes the next character an ordinary one. A '['
 * that nothing closes is an ordinary one, too. A byte that is not UTF-8 is a character by itself.
 */

/* @fold: letters of ASCII in either case. Takes at most the product of both lengths. */
bool sf_glob_match(const char *glob, const char *text, bool fold);

enum sf_glob_kind {
    SF_GLOB_LITERAL, /* one character, in *c */
    SF_GLOB_ONE,     /* '?' or a list in brackets */
    SF_GLOB_ANY,     /* '*' */
};

/* What stands at the beginning of a glob that is not empty, for who translates it. @c: the first
 * byte of a literal. Returns how long it is. */
size_t sf_glob_item(const char *glob, enum sf_glob_kind *kind, char *c);

#endif
