/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_FUZZ_H
#define SF_TESTS_FUZZ_H

#include "base/cleanup.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What fuzz targets share. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A text of exactly so many bytes and a NUL, so that a sanitizer sees a read behind it. For free().
 */
static inline char *
fuzz_text(const void *data, size_t size)
{
    char *text = malloc(size + 1);
    REQUIRE(text);
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    return text;
}

/* A text that may stand on a terminal and in a log: no byte below a space, none behind '~'. */
static inline void
fuzz_printable(const char *text)
{
    for (const char *p = text; *p; p++)
        REQUIRE(*p >= ' ' && *p < 0x7f);
}

#endif
