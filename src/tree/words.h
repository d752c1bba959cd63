/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TREE_WORDS_H
#define SF_TREE_WORDS_H

#include <stdint.h>

/*
 * Internal to src/tree: texts that very many nodes have (content types, Cache-Control of others),
 * as numbers of 16 bits. A table only grows, up to a bound of texts and of their bytes; what does
 * not fit, or is longer than WORD_MAX, has the number 0 and is as good as not known. Who uses it
 * holds the tree's lock.
 */
#define WORD_MAX 255

struct words;

/* NULL without memory. */
struct words *words_new(void);
void words_free(struct words *w);
/* Its number from now on; 0: of NULL, too. */
uint16_t word_of(struct words *w, const char *text);
/* NULL: of 0. */
const char *word_text(const struct words *w, uint16_t number);

#endif
