/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/hashing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/thread.h"
#include "write/stage.h"
#include "write/writer.h"

/* The digests of what was written in order are those of the file, however much of it there is and
 * whichever thread takes them; of anything else there are none. */

#define MIB  (1u << 20)
#define SIZE (9 * MIB + 12345)

static char dir[64];
static struct sf_writer writer;
static struct sf_stage *stage;
static struct sf_hashing h;
static unsigned char *bytes;

static struct sf_stage *
stage_new(void)
{
    struct sf_stage *s;
    assert_int_equal(sf_stage_new(&writer, "b", "k", &s, NULL), 0);
    return s;
}

static int
setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/supafs-hashing-XXXXXX");
    if (!mkdtemp(dir) || sf_pool_new("hash", 2, 4, &writer.hashers))
        return -1;
    writer.staging = dir;
    bytes = malloc(SIZE);
    if (!bytes)
        return -1;
    for (unsigned i = 0; i < SIZE; i++)
        bytes[i] = (unsigned char)(i * 2654435761u >> 13);
    stage = stage_new();
    sf_hashing_init(&h, writer.hashers);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    sf_hashing_fini(&h);
    sf_pool_free(writer.hashers);
    sf_stage_unref(stage);
    free(bytes);
    return rmdir(dir); /* no file is left */
}

static void
put(uint64_t off, size_t len)
{
    assert_int_equal(sf_pwrite_full(stage->fd, bytes + off, len, (off_t)off), 0);
    sf_hashing_write(&h, stage, bytes + off, len, off);
}

static void
assert_right(uint64_t size)
{
    struct sf_digests got, want;
    assert_int_equal(sf_digest_file(stage->fd, size, &want), 0);
    assert_true(sf_hashing_result(&h, size, &got));
    assert_string_equal(got.sha256, want.sha256);
    assert_string_equal(got.md5_etag, want.md5_etag);
}

static void
in_order(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 4095, 4096, 100000, MIB, 65536, 3 * MIB, 1, MIB, 7};
    struct sf_digests d;
    uint64_t at = 0;
    assert_false(sf_hashing_result(&h, 0, &d));
    for (unsigned i = 0; i < sizeof steps / sizeof *steps; i++) {
        put(at, steps[i]);
        at += steps[i];
        assert_right(at); /* and it goes on */
        assert_false(sf_hashing_result(&h, at + 1, &d));
    }
    put(at, SIZE - at); /* more than a writer may be ahead */
    assert_right(SIZE);
}

static void
without_a_stop(void **state)
{
    (void)state;
    for (uint64_t at = 0; at < SIZE; at += MIB)
        put(at, SIZE - at < MIB ? (size_t)(SIZE - at) : MIB);
    assert_right(SIZE);
}

static void
into_another_file_of_the_same_bytes(void **state)
{
    (void)state;
    for (uint64_t at = 0; at < 8 * MIB; at += MIB) {
        if (at == 3 * MIB || at == 6 * MIB) {
            struct sf_stage *copy = stage_new();
            assert_int_equal(sf_stage_copy(copy, stage, at), 0);
            sf_stage_unref(stage);
            stage = copy;
        }
        put(at, MIB);
    }
    assert_right(8 * MIB);
}

static void
out_of_order_there_are_none(void **state)
{
    (void)state;
    struct sf_digests d;
    for (int how = 0; how < 4; how++) {
        for (uint64_t at = 0; at < 4 * MIB; at += MIB)
            put(at, MIB);
        if (how == 0)
            put(MIB, 10);
        if (how == 1)
            put(4 * MIB + 10, 10);
        if (how == 2)
            sf_hashing_break(&h);
        if (how == 3)
            sf_hashing_truncate(&h, 2 * MIB);
        assert_false(sf_hashing_result(&h, how == 3 ? 2 * MIB : 4 * MIB, &d));
        put(4 * MIB, MIB);
        assert_false(sf_hashing_result(&h, 5 * MIB, &d));
        if (how % 2)
            sf_hashing_truncate(&h, 0);
        else
            sf_hashing_reset(&h);
        put(0, 100);
        assert_right(100);
        sf_hashing_reset(&h);
    }
    for (uint64_t at = 0; at < 4 * MIB; at += MIB)
        put(at, MIB);
    sf_hashing_truncate(&h, 5 * MIB); /* zeros that were not written */
    assert_false(sf_hashing_result(&h, 5 * MIB, &d));
}

static void
no_bytes_where_they_should_be(void **state)
{
    (void)state;
    struct sf_digests d;
    sf_hashing_write(&h, stage, bytes, MIB, 0); /* the file has none */
    assert_false(sf_hashing_result(&h, MIB, &d));
}

static void
nobody_waits_for_the_end(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        for (uint64_t at = 0; at < 4 * MIB; at += MIB)
            put(at, MIB);
        sf_hashing_reset(&h);
    }
    for (uint64_t at = 0; at < 4 * MIB; at += MIB)
        put(at, MIB);
    /* teardown ends it while it is busy */
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(in_order),
        T(without_a_stop),
        T(into_another_file_of_the_same_bytes),
        T(out_of_order_there_are_none),
        T(no_bytes_where_they_should_be),
        T(nobody_waits_for_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
