/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/vfs.h>

#include <cmocka.h>

#include "daemon/dirs.h"

/* Which file systems lose a state directory with the machine's memory or with the container. */

static void
what_does_not_last_is_known(void **state)
{
    (void)state;
    assert_string_equal(sf_dirs_fleeting(0x01021994), "tmpfs");
    assert_string_equal(sf_dirs_fleeting(0x858458f6), "ramfs");
    assert_string_equal(sf_dirs_fleeting((uint64_t)(int32_t)0x858458f6), "ramfs");
    assert_string_equal(sf_dirs_fleeting(0x794c7630), "overlayfs");
}

static void
what_lasts_is_not_among_it(void **state)
{
    const uint64_t lasting[] = {
        0xef53,     /* ext4 */
        0x58465342, /* XFS */
        0x9123683e, /* btrfs */
        0x2fc12fc1, /* ZFS */
        0xf2f52010, /* f2fs */
        0x6969,     /* NFS */
        0xff534d42, /* CIFS */
    };
    (void)state;
    for (size_t i = 0; i < sizeof lasting / sizeof *lasting; i++)
        assert_null(sf_dirs_fleeting(lasting[i]));
}

static void
the_kernel_names_it_so(void **state)
{
    struct statfs fs;
    (void)state;
    if (statfs("/dev/shm", &fs) < 0 || statfs("/proc", &fs) < 0)
        skip();
    assert_null(sf_dirs_fleeting((uint64_t)fs.f_type));
    assert_int_equal(statfs("/dev/shm", &fs), 0);
    assert_non_null(sf_dirs_fleeting((uint64_t)fs.f_type));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_last_is_known),
        cmocka_unit_test(what_lasts_is_not_among_it),
        cmocka_unit_test(the_kernel_names_it_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
