/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The memory that control groups allow (base/cgroup.h). */
#include "base/cgroup.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[64];

static int
setup(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/sf-cgroup-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int
teardown(void **state)
{
    (void)state;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void
put(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); *p++ = '/') {
        *p = '\0';
        assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
    }
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static uint64_t
limit(const char *proc)
{
    char path[256];
    put("proc", proc);
    snprintf(path, sizeof path, "%s/proc", root);
    return sf_cgroup_memory_limit_at(path, root);
}

static void
version_2(void **state)
{
    (void)state;
    assert_true(limit("0::/a/b\n") == UINT64_MAX);
    put("a/b/memory.max", "max\n");
    assert_true(limit("0::/a/b\n") == UINT64_MAX);
    put("a/b/memory.max", "100663296\n");
    assert_int_equal(limit("0::/a/b\n"), 96 << 20);
    put("a/memory.max", "50331648\n"); /* a group above allows less */
    assert_int_equal(limit("0::/a/b\n"), 48 << 20);
    assert_true(limit("0::/\n") == UINT64_MAX);
}

static void
version_1(void **state)
{
    (void)state;
    put("memory/x/memory.limit_in_bytes", "1000000\n");
    put("memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(limit("3:cpu,memory:/x\n1:name=systemd:/x\n"), 1000000);
    assert_true(limit("3:cpu,memoryless:/x\n") == UINT64_MAX);
    assert_true(limit("3:memory:/\n") == UINT64_MAX);
}

static void
a_container_sees_a_path_of_its_host(void **state)
{
    (void)state;
    put("memory.max", "2000000\n");
    assert_int_equal(limit("0::/docker/0123abc\n"), 2000000);
}

static void
what_cannot_be_read_is_no_limit(void **state)
{
    (void)state;
    assert_true(limit("") == UINT64_MAX);
    assert_true(limit("nonsense\n0::\n") == UINT64_MAX);
    assert_true(sf_cgroup_memory_limit_at("/proc/no/such", root) == UINT64_MAX);
    assert_true(sf_cgroup_memory_limit() > 1 << 20);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(version_2, setup, teardown),
        cmocka_unit_test_setup_teardown(version_1, setup, teardown),
        cmocka_unit_test_setup_teardown(a_container_sees_a_path_of_its_host, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_read_is_no_limit, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
