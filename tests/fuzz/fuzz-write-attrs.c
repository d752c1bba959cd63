/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "attrs-properties.h"

#include <stdint.h>

/* First byte: 'c' Cache-Control, 'x' attributes as JSON, else metadata. The rest: what somebody
 * stored. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char changes[] = "{\"user.a\":\"MQ==\",\"user.b\":null}";
    struct sf_mark mark = {.valid = SF_MARK_MODE | SF_MARK_MTIME | SF_MARK_INO,
                           .mode = 0100640,
                           .mtime_ns = -1500000000,
                           .ino = 0x6f0c};
    struct sf_meta meta = {.op = "abcdefghijklmnopqrstuvwxyz", .xattrs = changes};
    if (size == 0)
        return 0;
    char *text = malloc(size); /* exactly so long, so that a sanitizer sees a read behind it */
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    const char *broken = data[0] == 'c'   ? attrs_check_cache_control(text, &mark)
                         : data[0] == 'x' ? attrs_check_xattrs(text)
                                          : attrs_check_meta(text, &meta);
    free(text);
    if (broken) {
        fprintf(stderr, "%s\n", broken);
        abort();
    }
    return 0;
}
