/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "names-properties.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* First byte: flags. The rest: a component from the server, then the same bytes as a name. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    unsigned flags = data[0] & (SF_NAME_AT_ROOT | SF_NAME_BUCKET | SF_NAME_CLASH);
    size_t len = size - 1;
    char *bytes = malloc(len + 1); /* exactly so long, so that a sanitizer sees a read behind it */
    if (!bytes)
        return 0;
    memcpy(bytes, data + 1, len);
    bytes[len] = '\0';
    const char *broken = names_check_key(bytes, len, flags);
    if (!broken)
        broken = names_check_name(bytes, flags & ~(unsigned)SF_NAME_CLASH);
    if (!broken)
        broken = names_check_lookup(bytes, flags);
    free(bytes);
    if (broken) {
        fprintf(stderr, "%s\n", broken);
        abort();
    }
    return 0;
}
