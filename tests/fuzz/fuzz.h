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

/* One of the parsers that a target tries: the first byte of an input chooses it, the last way is
 * for all other bytes. @text: its own, of @len bytes and a NUL; may be changed. */
struct fuzz_way {
    char letter;
    void (*fn)(char *text, size_t len);
};

static inline int
fuzz_choose(const struct fuzz_way *ways, size_t n, const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    sf_autofree char *text = fuzz_text(data + 1, size - 1);
    while (n-- > 1 && ways->letter != (char)data[0])
        ways++;
    ways->fn(text, size - 1);
    return 0;
}

/* A text that may stand on a terminal and in a log: no byte below a space, none behind '~'. */
static inline void
fuzz_printable(const char *text)
{
    for (const char *p = text; *p; p++)
        REQUIRE(*p >= ' ' && *p < 0x7f);
}

#endif
