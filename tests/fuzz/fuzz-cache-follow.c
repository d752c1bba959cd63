/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cache/follow.h"
#include "fuzz.h"

/* What is stored of followers: any bytes are refused, or are a table that learning could have made,
 * which is the same after being stored again. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sf_follow f, g;
    uint8_t packed[SF_FOLLOW_BYTES_MAX], again[SF_FOLLOW_BYTES_MAX];
    static const struct sf_follow none;
    uint8_t *bytes = malloc(size ? size : 1); /* exactly so long */
    if (!bytes)
        return 0;
    memcpy(bytes, data, size);
    if (sf_follow_unpack(&f, bytes, size) < 0) {
        REQUIRE(memcmp(&f, &none, sizeof f) == 0);
        for (size_t i = 0; i + 2 <= size; i += 2)
            sf_follow_learn(&f, bytes[i], bytes[i + 1]);
    }
    free(bytes);
    size_t n = sf_follow_pack(&f, packed);
    REQUIRE(n <= sizeof packed);
    if (n == 0)
        return 0;
    REQUIRE(sf_follow_unpack(&g, packed, n) == 0);
    REQUIRE(sf_follow_pack(&g, again) == n && memcmp(packed, again, n) == 0);
    for (uint32_t first = 0; first < 256; first++) {
        uint32_t a = 0, b = 0;
        int rc = sf_follow_next(&f, first, 1, 0, &a);
        REQUIRE(rc == sf_follow_next(&g, first, 1, 0, &b) && a == b);
    }
    return 0;
}
