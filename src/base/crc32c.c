/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* bits reversed */

/* table[i][b]: the sum of byte b with i zero bytes behind it. */
static uint32_t table[8][256];
static bool have_instruction;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
init(void)
{
    for (unsigned b = 0; b < 256; b++) {
        uint32_t crc = b;
        for (int i = 0; i < 8; i++)
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        table[0][b] = crc;
    }
    for (int i = 1; i < 8; i++)
        for (unsigned b = 0; b < 256; b++)
            table[i][b] = table[i - 1][b] >> 8 ^ table[0][table[i - 1][b] & 255];
#ifdef __x86_64__
    have_instruction = __builtin_cpu_supports("sse4.2");
#endif
}

uint32_t
sf_crc32c_portable(uint32_t crc, const void *data, size_t n)
{
    const unsigned char *p = data;
    pthread_once(&once, init);
    crc = ~crc;
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t low =
            crc ^ (p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24);
        crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^
              table[4][low >> 24] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^
              table[0][p[7]];
    }
    for (; n; n--)
        crc = crc >> 8 ^ table[0][(crc ^ *p++) & 255];
    return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t
by_instruction(uint32_t crc, const void *data, size_t n)
{
    const unsigned char *p = data;
    uint64_t sum = ~crc, word;
    for (; n >= 8; n -= 8, p += 8) {
        memcpy(&word, p, 8);
        sum = __builtin_ia32_crc32di(sum, word);
    }
    crc = (uint32_t)sum;
    for (; n; n--)
        crc = __builtin_ia32_crc32qi(crc, *p++);
    return ~crc;
}
#endif

uint32_t
sf_crc32c(uint32_t crc, const void *data, size_t n)
{
    pthread_once(&once, init);
#ifdef __x86_64__
    if (have_instruction)
        return by_instruction(crc, data, n);
#endif
    return sf_crc32c_portable(crc, data, n);
}
