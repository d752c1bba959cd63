/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/auth.h"

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

#include "base/buf.h"
#include "base/str.h"
#include "supabase/keyfile.h"
#include "supabase/secret.h"

static char dir[] = "/tmp/supafs-auth-XXXXXX";

static const char *
path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

/* Write a file of this mode and return its path. A new inode each time. */
static const char *
file(const char *name, mode_t mode, const char *text, size_t len)
{
    const char *path = path_of(name);
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    return path;
}

static const char *
text_file(const char *name, mode_t mode, const char *text)
{
    return file(name, mode, text, strlen(text));
}

/* A token with this payload; its signature is not looked at. */
static const char *
token(const char *payload)
{
    static struct sf_buf b;
    sf_buf_fini(&b);
    sf_buf_puts(&b, "eyJhbGciOiJIUzI1NiJ9.");
    assert_int_equal(sf_base64url_encode(&b, payload, strlen(payload)), 0);
    sf_buf_puts(&b, ".c2lnbmF0dXJlLXNpZ25hdHVyZS1zaWc");
    return sf_buf_str(&b);
}

#define SERVICE                                                                                    \
    "{\"role\":\"service_role\",\"iss\":\"supabase\",\"ref\":\"abc\",\"exp\":2000000000}"

static int
try_value(const char *value, struct sf_auth **ret, struct sf_err *err)
{
    struct sf_auth_source src = {.kind = SF_AUTH_VALUE, .value = value, .label = "LABEL"};
    *err = SF_ERR_INIT;
    return sf_auth_new(&src, ret, err);
}

static int
try_file(const char *path, const char *variable, struct sf_auth **ret, struct sf_err *err)
{
    struct sf_auth_source src = {.kind = SF_AUTH_FILE, .value = path, .variable = variable};
    *err = SF_ERR_INIT;
    return sf_auth_new(&src, ret, err);
}

static void
test_values(void **state)
{
    struct sf_auth *a;
    struct sf_err err;
    char subject[64];
    (void)state;
    assert_int_equal(try_value(token(SERVICE), &a, &err), 0);
    assert_string_equal(sf_auth_role(a), "service_role");
    assert_int_equal(sf_auth_expires(a), 2000000000);
    assert_string_equal(sf_auth_label(a), "LABEL");
    sf_auth_subject(a, subject, sizeof subject);
    assert_string_equal(subject, "");
    assert_int_equal(sf_auth_reload(a, true, NULL), 0);
    sf_auth_free(a);

    assert_int_equal(
        try_value(token("{\"role\":\"authenticated\",\"sub\":\"11-22\",\"exp\":1.5e9}"), &a, &err),
        0);
    sf_auth_subject(a, subject, sizeof subject);
    assert_string_equal(subject, "11-22");
    sf_auth_subject(a, subject, 3);
    assert_string_equal(subject, "11");
    assert_int_equal(sf_auth_expires(a), 1500000000);
    sf_auth_free(a);

    assert_int_equal(try_value("sb_secret_abcdefghijkl_1234\n", &a, &err), 0);
    assert_string_equal(sf_auth_role(a), "service_role");
    assert_int_equal(sf_auth_expires(a), 0);
    sf_auth_free(a);
    assert_int_equal(try_value("sb_publishable_abcdefghijkl_1234", &a, &err), 0);
    assert_string_equal(sf_auth_role(a), "anon");
    sf_auth_free(a);
}

static void
test_refused_values(void **state)
{
    static const char *const payloads[] = {
        "",
        "7",
        "[]",
        "{}",
        "{\"role\":7}",
        "{\"role\":\"\"}",
        "{\"role\":null}",
        "{\"sub\":\"x\"}",
        "{\"role\":\"anon\",\"role\":\"service_role\"}",
        "{\"role\":\"anon\",\"exp\":\"2000000000\"}",
        "{\"role\":\"anon\",\"exp\":-1}",
        "{\"role\":\"anon\",\"exp\":1e300}",
        "{\"role\":\"anon\",\"sub\":[]}",
        "{\"role\":\"a\\u0001b\"}",
        "{\"role\":\"anon\"",
    };
    static const char *const values[] = {
        "",
        "\n",
        "hello",
        "a.b",
        "a.b.c.d",
        ".b.c",
        "a..c",
        "eyJhbGciOiJIUzI1NiJ9.!!!.c",
        "eyJhbGciOiJIUzI1NiJ9.e30.",
        "sb_secret_",
        "sb_secret_abcdefgh ijkl",
        "sb_secret_abcdefgh\nijkl",
        "sb_secret_abcdefgh\xc3\xa9",
        "SUPABASE_KEY=sb_secret_abcdefghijkl",
    };
    struct sf_auth *a = NULL;
    struct sf_err err;
    (void)state;
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        if (try_value(token(payloads[i]), &a, &err) != -EINVAL)
            fail_msg("accepted: %s", payloads[i]);
        assert_true(strlen(err.msg) > 10);
    }
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        if (try_value(values[i], &a, &err) != -EINVAL)
            fail_msg("accepted: %s", values[i]);
        /* Never the key itself in a message. */
        assert_null(strstr(err.msg, "abcdefgh"));
    }
    assert_null(a);
}

static void
test_long_keys(void **state)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    struct sf_auth *a;
    struct sf_err err;
    (void)state;
    sf_buf_puts(&b, "sb_secret_");
    while (b.len < SF_KEY_MAX)
        sf_buf_putc(&b, 'x');
    assert_int_equal(try_value(b.data, &a, &err), 0);
    sf_auth_free(a);
    assert_int_equal(try_file(text_file("long", 0600, b.data), NULL, &a, &err), 0);
    sf_auth_free(a);
    sf_buf_putc(&b, 'x');
    assert_int_equal(try_value(b.data, &a, &err), -EINVAL);
    assert_int_equal(try_file(text_file("long", 0600, b.data), NULL, &a, &err), -EINVAL);
}

static void
test_file_permissions(void **state)
{
    static const struct {
        mode_t mode;
        int rc;
    } cases[] = {
        {0600, 0},      {0400, 0},      {0700, 0},      {0640, -EPERM}, {0604, -EPERM},
        {0644, -EPERM}, {0660, -EPERM}, {0602, -EPERM}, {0601, -EPERM},
    };
    struct sf_auth *a;
    struct sf_err err;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *path = text_file("mode", cases[i].mode, token(SERVICE));
        int rc = try_file(path, NULL, &a, &err);
        if (rc != cases[i].rc)
            fail_msg("mode %o: %d (%s)", cases[i].mode, rc, err.msg);
        if (rc == 0)
            sf_auth_free(a);
        else
            assert_non_null(strstr(err.msg, path));
    }
    assert_int_equal(try_file(path_of("absent"), NULL, &a, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "absent"));
    assert_int_equal(try_file(dir, NULL, &a, &err), -EISDIR);
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    assert_int_equal(try_file(path_of("fifo"), NULL, &a, &err), -EINVAL);
}

static void
test_nul_in_file(void **state)
{
    struct sf_auth *a;
    struct sf_err err;
    (void)state;
    /* What stands behind a NUL is not silently left out of the key. */
    assert_int_equal(
        try_file(file("nul", 0600, "sb_secret_abcdefghijkl\0hidden", 29), NULL, &a, &err), -EINVAL);
}

static void
test_reload(void **state)
{
    struct sf_auth *a;
    struct sf_err err;
    struct sf_auth_source src = {
        .kind = SF_AUTH_FILE, .value = path_of("key"), .label = "the key file"};
    (void)state;
    text_file("key", 0600, token("{\"role\":\"anon\",\"sub\":\"u\",\"exp\":1000}"));
    src.value = path_of("key");
    err = SF_ERR_INIT;
    assert_int_equal(sf_auth_new(&src, &a, &err), 0);
    uint64_t generation = sf_auth_generation(a);
    assert_int_equal(sf_auth_reload(a, false, &err), 0);
    assert_int_equal(sf_auth_reload(a, true, &err), 0);
    assert_int_equal(sf_auth_generation(a), generation);

    text_file("key", 0600, token("{\"role\":\"anon\",\"sub\":\"u\",\"exp\":2000}"));
    assert_int_equal(sf_auth_reload(a, false, &err), 1);
    assert_int_equal(sf_auth_expires(a), 2000);
    assert_int_equal(sf_auth_generation(a), generation + 1);
    assert_int_equal(sf_auth_reload(a, false, &err), 0);

    /* Whatever is wrong with the new one, the old key stays. */
    text_file("key", 0644, token("{\"role\":\"anon\",\"sub\":\"u\",\"exp\":3000}"));
    assert_int_equal(sf_auth_reload(a, false, &err), -EPERM);
    err = SF_ERR_INIT;
    text_file("key", 0600, "rubbish");
    assert_int_equal(sf_auth_reload(a, false, &err), -EINVAL);
    err = SF_ERR_INIT;
    unlink(path_of("key"));
    assert_int_equal(sf_auth_reload(a, false, &err), -ENOENT);
    err = SF_ERR_INIT;
    text_file("key", 0600, token("{\"role\":\"anon\",\"sub\":\"other\",\"exp\":3000}"));
    assert_int_equal(sf_auth_reload(a, false, &err), -EKEYREJECTED);
    assert_non_null(strstr(err.msg, "another identity"));
    err = SF_ERR_INIT;
    text_file("key", 0600, token("{\"role\":\"service_role\",\"sub\":\"u\",\"exp\":3000}"));
    assert_int_equal(sf_auth_reload(a, false, &err), -EKEYREJECTED);
    assert_int_equal(sf_auth_expires(a), 2000);
    assert_int_equal(sf_auth_generation(a), generation + 1);
    assert_string_equal(sf_auth_role(a), "anon");
    sf_auth_free(a);
}

static void
test_apikey(void **state)
{
    struct sf_auth *a = NULL;
    struct sf_err err = SF_ERR_INIT;
    struct sf_auth_source src = {.kind = SF_AUTH_VALUE, .value = token(SERVICE), .apikey = "a b"};
    (void)state;
    assert_int_equal(sf_auth_new(&src, &a, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "apikey"));
    src.apikey = "sb_publishable_abcdefghijkl";
    assert_int_equal(sf_auth_new(&src, &a, NULL), 0);
    sf_auth_free(a);
    src.value = NULL;
    assert_int_equal(sf_auth_new(&src, &a, NULL), -EINVAL);
}

/* The pages of a key are locked and stay out of core dumps, where the system allows it. */
static void
test_secret_pages(void **state)
{
    char line[256], flags[256] = "";
    unsigned long from, to;
    bool inside = false;
    char *p = sf_secret_alloc(100);
    (void)state;
    assert_non_null(p);
    FILE *f = fopen("/proc/self/smaps", "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2 && strchr(line, '-') < strchr(line, ' '))
            inside = (uintptr_t)p >= from && (uintptr_t)p < to;
        else if (inside && sf_str_starts(line, "VmFlags:"))
            snprintf(flags, sizeof flags, "%s", line);
    }
    fclose(f);
    assert_non_null(strstr(flags, " dd"));
    sf_secret_free(p, 100);
    sf_secret_free(NULL, 100);
}

static int
make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int
remove_dir(void **state)
{
    static const char *const names[] = {"mode", "fifo", "nul", "key", "long"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unlink(path_of(names[i]));
    return rmdir(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),      cmocka_unit_test(test_refused_values),
        cmocka_unit_test(test_long_keys),   cmocka_unit_test(test_file_permissions),
        cmocka_unit_test(test_nul_in_file), cmocka_unit_test(test_reload),
        cmocka_unit_test(test_apikey),      cmocka_unit_test(test_secret_pages),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
