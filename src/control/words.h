/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONTROL_WORDS_H
#define SF_CONTROL_WORDS_H

#include "base/buf.h"

/*
 * Words on a line, as in /proc/self/mountinfo: one blank between them; blank and backslash in a
 * word are \040 and \134, control characters and bytes that are not UTF-8 are escaped in the same
 * way (so a word can be shown on a terminal), an empty word is \000. So any file name is a word.
 */
#define SF_WORDS_MAX 64

/* Append a word, and a blank before it unless the buffer is empty. 0 or -ENOMEM. */
int sf_words_append(struct sf_buf *line, const char *word);

/**
 * sf_words_split - take a line apart, in place.
 * Returns the number of words, whose texts lie in @line; -EINVAL a bad escape; -E2BIG more than
 * SF_WORDS_MAX.
 */
int sf_words_split(char *line, char *words[SF_WORDS_MAX]);

#endif
