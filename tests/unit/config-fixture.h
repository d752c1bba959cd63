/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_CONFIG_FIXTURE_H
#define SF_TESTS_CONFIG_FIXTURE_H

#include "config/config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* What the tests of config/ share: a directory of their own and a configuration to load. */

static char dir[64]; /* the directory */

__attribute__((unused)) static int
make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/supafs-config-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

__attribute__((unused)) static int
remove_dir(void **state)
{
    (void)state;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));)
        unlinkat(dirfd(d), e->d_name, 0);
    closedir(d);
    return rmdir(dir);
}

/* Path of a file in the directory; one of four static buffers. */
static const char *
in_dir(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *p = paths[next++ % 4];
    snprintf(p, sizeof paths[0], "%s/%s", dir, name);
    return p;
}

__attribute__((unused)) static const char *
write_file(const char *name, mode_t mode, const char *text)
{
    const char *path = in_dir(name);
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, mode), 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    return path;
}

/* Sources that look at nothing but what a test puts in. */
static const uid_t plain_uid = 1234;
static const gid_t plain_gid = 2345;
static char *const no_environment[] = {(char[]){"HOME=/home/somebody"}, NULL};

__attribute__((unused)) static struct sf_config_sources
quiet_sources(void)
{
    return (struct sf_config_sources){.environment = no_environment,
                                      .system_file = "",
                                      .user_file = "",
                                      .uid = &plain_uid,
                                      .gid = &plain_gid};
}

/* A configuration from these sources; loading must succeed. */
__attribute__((unused)) static struct sf_config *
load(const struct sf_config_sources *src)
{
    struct sf_config *cfg = NULL;
    struct sf_err err = SF_ERR_INIT;
    assert_int_equal(sf_config_new(&cfg), 0);
    int rc = sf_config_load(cfg, src, &err);
    if (rc)
        fail_msg("load: %d %s", rc, err.msg);
    return cfg;
}

/* Loading must fail with this code and message. */
__attribute__((unused)) static void
load_fails(const struct sf_config_sources *src, int code, const char *msg)
{
    struct sf_config *cfg = NULL;
    struct sf_err err = SF_ERR_INIT;
    assert_int_equal(sf_config_new(&cfg), 0);
    assert_int_equal(sf_config_load(cfg, src, &err), code);
    assert_string_equal(err.msg, msg);
    assert_int_equal(err.code, code);
    sf_config_free(cfg);
}

/* -o alone. */
__attribute__((unused)) static void
mount_option_fails(const char *option, const char *msg)
{
    const char *const options[] = {option, NULL};
    struct sf_config_sources src = quiet_sources();
    src.mount_options = options;
    load_fails(&src, -EINVAL, msg);
}

#endif
