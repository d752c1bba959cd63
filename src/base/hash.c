/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/hash.h"

#include "base/clock.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

/* Part of what is stored: never change it. */
#define STABLE_K0 UINT64_C(0x7375706166732d31)
#define STABLE_K1 UINT64_C(0x696e6f64652d6864)

static inline uint64_t
rotl(uint64_t v, int n)
{
    return v << n | v >> (64 - n);
}

static inline void
sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] = rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] = rotl(v[2], 32);
}

static inline uint64_t
load_le(const unsigned char *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static inline uint64_t
load8_le(const unsigned char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

static inline void
sip_word(uint64_t v[4], uint64_t m)
{
    v[3] ^= m;
    sip_round(v);
    sip_round(v);
    v[0] ^= m;
}

uint64_t
sf_siphash(uint64_t k0, uint64_t k1, const void *data, size_t n)
{
    const unsigned char *p = data;
    uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                     k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    uint64_t last = (uint64_t)n << 56;

    for (; n >= 8; p += 8, n -= 8)
        sip_word(v, load8_le(p));
    if (n)
        last |= load_le(p, n);
    sip_word(v, last);
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t
sf_hash64(const void *data, size_t n)
{
    return sf_siphash(STABLE_K0, STABLE_K1, data, n);
}

int
sf_random_bytes(void *out, size_t n)
{
    unsigned char *p = out;
    while (n) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        p += got;
        n -= (size_t)got;
    }
    return 0;
}

int
sf_uuid4(char out[37])
{
    unsigned char b[16];
    int rc = sf_random_bytes(b, sizeof b);
    if (rc)
        return rc;
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    char *p = out;
    for (size_t i = 0; i < sizeof b; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *p++ = '-';
        *p++ = "0123456789abcdef"[b[i] >> 4];
        *p++ = "0123456789abcdef"[b[i] & 15];
    }
    *p = '\0';
    return 0;
}

static pthread_once_t htab_once = PTHREAD_ONCE_INIT;
static uint64_t htab_key[2];

static void
htab_key_init(void)
{
    if (sf_random_bytes(htab_key, sizeof htab_key) == 0)
        return;
    /* No getrandom here (an odd sandbox): weaker, but tables still work. */
    htab_key[0] = (uint64_t)sf_wall_ns();
    htab_key[1] = (uint64_t)getpid() ^ (uint64_t)(uintptr_t)&htab_once;
}

uint64_t
sf_htab_hash(const void *data, size_t n)
{
    pthread_once(&htab_once, htab_key_init);
    return sf_siphash(htab_key[0], htab_key[1], data, n);
}
