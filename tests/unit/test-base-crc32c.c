/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* CRC-32C: the published vectors, and two ways that agree. */

static void
published_vectors_hold(void **state)
{
    (void)state;
    static const struct {
        const char *data;
        size_t n;
        uint32_t sum;
    } vectors[] = {
        {"", 0, 0},
        {"a", 1, 0xc1d04330},
        {"123456789", 9, 0xe3069283},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        assert_int_equal(sf_crc32c(0, vectors[i].data, vectors[i].n), vectors[i].sum);
        assert_int_equal(sf_crc32c_portable(0, vectors[i].data, vectors[i].n), vectors[i].sum);
    }
    /* RFC 3720, B.4 */
    unsigned char b[32] = {0};
    assert_int_equal(sf_crc32c(0, b, 32), 0x8a9136aa);
    memset(b, 0xff, 32);
    assert_int_equal(sf_crc32c(0, b, 32), 0x62a8ab43);
    for (int i = 0; i < 32; i++)
        b[i] = (unsigned char)i;
    assert_int_equal(sf_crc32c(0, b, 32), 0x46dd794e);
    for (int i = 0; i < 32; i++)
        b[i] = (unsigned char)(31 - i);
    assert_int_equal(sf_crc32c_portable(0, b, 32), 0x113fdb5c);
}

static void
both_ways_agree(void **state)
{
    (void)state;
    unsigned char data[4096 + 16];
    unsigned seed = 7;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)((seed = seed * 1103515245 + 12345) >> 16);
    for (size_t off = 0; off < 9; off++)
        for (size_t n = 0; n < 300; n++)
            assert_int_equal(sf_crc32c(0, data + off, n), sf_crc32c_portable(0, data + off, n));
    uint32_t whole = sf_crc32c(0, data, 4096);
    for (size_t cut = 0; cut <= 4096; cut += 117) {
        assert_int_equal(sf_crc32c(sf_crc32c(0, data, cut), data + cut, 4096 - cut), whole);
        assert_int_equal(
            sf_crc32c_portable(sf_crc32c_portable(0, data, cut), data + cut, 4096 - cut), whole);
    }
    data[2000] ^= 4;
    assert_int_not_equal(sf_crc32c(0, data, 4096), whole);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_vectors_hold),
        cmocka_unit_test(both_ways_agree),
    };
    return cmocka_run_group_tests_name("base-crc32c", tests, NULL, NULL);
}
