/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static char dir[] = "/tmp/test-base-file-XXXXXX";

/* DIR/NAME; valid until the call after the next. */
static const char *
in_dir(const char *name)
{
    static char path[2][256];
    static int i;
    i = !i;
    snprintf(path[i], sizeof path[i], "%s/%s", dir, name);
    return path[i];
}

static void
whole_transfers(void **state)
{
    (void)state;
    int fd[2];
    char out[300000], in[300000];
    for (size_t i = 0; i < sizeof out; i++)
        out[i] = (char)(i * 31);
    assert_int_equal(pipe(fd), 0);
    pid_t pid = fork(); /* a pipe holds less than this: both sides meet short transfers */
    if (pid == 0)
        _exit(sf_write_full(fd[1], out, sizeof out) != 0);
    close(fd[1]);
    assert_int_equal(sf_read_full(fd[0], in, sizeof in), sizeof in);
    assert_memory_equal(in, out, sizeof in);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(sf_read_full(fd[0], in, 1), 0);
    assert_int_equal(sf_write_full(fd[0], out, 1), -EBADF);
    close(fd[0]);

    sf_autofd int f = open(in_dir("data"), O_RDWR | O_CREAT, 0600);
    assert_int_equal(sf_pwrite_full(f, "hello", 5, 3), 0);
    assert_int_equal(sf_pread_full(f, in, 100, 1), 7);
    assert_memory_equal(in, "\0\0hello", 7);
    assert_int_equal(sf_pread_full(f, in, 1, -1), -EINVAL);
    assert_int_equal(sf_pwrite_full(f, in, 1, -1), -EINVAL);
    unlink(in_dir("data"));
}

static void
files_are_read_up_to_a_limit(void **state)
{
    (void)state;
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    struct sf_err err = SF_ERR_INIT;
    char data[40000];
    memset(data, 'x', sizeof data);
    assert_int_equal(sf_write_file_atomic(in_dir("f"), data, sizeof data, 0600, NULL), 0);
    assert_int_equal(sf_buf_puts(&b, ">"), 0);
    assert_int_equal(sf_read_file(in_dir("f"), sizeof data - 1, &b, &err), -EFBIG);
    assert_string_equal(b.data, ">");
    assert_non_null(strstr(err.msg, "larger than 39999 bytes"));
    assert_int_equal(sf_read_file(in_dir("f"), sizeof data, &b, NULL), 0);
    assert_int_equal(b.len, sizeof data + 1);
    err = SF_ERR_INIT;
    assert_int_equal(sf_read_file(in_dir("none"), 1, &b, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "/none: No such file or directory"));
    err = SF_ERR_INIT;
    assert_int_equal(sf_read_file(dir, 1, &b, &err), -EISDIR);
    unlink(in_dir("f"));
}

static int
entries(void)
{
    int n = 0;
    sf_autodir DIR *d = opendir(dir);
    while (readdir(d))
        n++;
    return n - 2;
}

static void
atomic_write_replaces_or_leaves(void **state)
{
    (void)state;
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    struct stat st;
    assert_int_equal(sf_write_file_atomic(in_dir("a"), "one", 3, 0640, NULL), 0);
    assert_int_equal(sf_write_file_atomic(in_dir("a"), "second", 6, 0600, NULL), 0);
    assert_int_equal(sf_read_file(in_dir("a"), 100, &b, NULL), 0);
    assert_string_equal(b.data, "second");
    assert_int_equal(stat(in_dir("a"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(entries(), 1);

    /* the rename fails, so nothing of it remains */
    assert_int_equal(mkdir(in_dir("d"), 0700), 0);
    struct sf_err err = SF_ERR_INIT;
    assert_int_equal(sf_write_file_atomic(in_dir("d"), "x", 1, 0600, &err), -EISDIR);
    assert_int_equal(entries(), 2);
    assert_int_equal(sf_write_file_atomic(in_dir("none/x"), "x", 1, 0600, NULL), -ENOENT);
    rmdir(in_dir("d"));
    unlink(in_dir("a"));
}

static void
private_directories(void **state)
{
    (void)state;
    struct stat st;
    struct sf_err err = SF_ERR_INIT;
    mode_t old = umask(0);
    assert_int_equal(sf_mkdir_p(in_dir("p/q//r/"), NULL), 0);
    umask(old);
    assert_int_equal(sf_mkdir_p(in_dir("p/q/r"), NULL), 0);
    assert_int_equal(stat(in_dir("p"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(in_dir("p/q/r"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);

    assert_int_equal(chmod(in_dir("p/q/r"), 0750), 0);
    assert_int_equal(sf_mkdir_p(in_dir("p/q/r"), &err), -EPERM);
    assert_non_null(strstr(err.msg, "chmod 700"));
    assert_int_equal(symlink(in_dir("p"), in_dir("p/q/r/link")), 0);
    assert_int_equal(sf_mkdir_p(in_dir("p/q/r/link"), NULL), -ENOTDIR);
    unlink(in_dir("p/q/r/link"));
    assert_int_equal(sf_write_file_atomic(in_dir("p/file"), "", 0, 0600, NULL), 0);
    assert_int_equal(sf_mkdir_p(in_dir("p/file"), NULL), -ENOTDIR);
    err = SF_ERR_INIT;
    assert_int_equal(sf_mkdir_p(in_dir("p/file/x"), &err), -ENOTDIR);
    assert_int_equal(sf_mkdir_p("", NULL), -EINVAL);
    unlink(in_dir("p/file"));
    if (geteuid() == 0) {
        assert_int_equal(chmod(in_dir("p/q/r"), 0700), 0);
        assert_int_equal(chown(in_dir("p/q/r"), 1234, 0), 0);
        err = SF_ERR_INIT;
        assert_int_equal(sf_mkdir_p(in_dir("p/q/r"), &err), -EPERM);
        assert_non_null(strstr(err.msg, "belongs to user 1234"));
    }
    rmdir(in_dir("p/q/r"));
    rmdir(in_dir("p/q"));
    rmdir(in_dir("p"));
}

static void
one_holds_a_directory(void **state)
{
    (void)state;
    int fd = -1, other = -1;
    char want[64];
    sf_autobuf struct sf_buf holder = SF_BUF_INIT;
    struct sf_err err = SF_ERR_INIT;
    snprintf(want, sizeof want, "pid %ld, /mnt/some where", (long)getpid());

    assert_int_equal(sf_lock_dir(dir, "/mnt/some where", &fd, NULL, NULL), 0);
    assert_int_equal(sf_lock_dir(dir, "/mnt/other", &other, &holder, &err), -EBUSY);
    assert_int_equal(other, -1);
    assert_string_equal(holder.data, want);
    assert_non_null(strstr(err.msg, want));
    close(fd);
    assert_int_equal(sf_lock_dir(dir, "x", &fd, NULL, NULL), 0);
    close(fd);

    /* a process that dies holds nothing */
    pid_t pid = fork();
    if (pid == 0)
        _exit(sf_lock_dir(dir, "child", &fd, NULL, NULL) != 0);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(sf_lock_dir(dir, "x", &fd, NULL, NULL), 0);
    close(fd);
    unlink(in_dir("lock"));
    assert_int_equal(sf_lock_dir(in_dir("none"), "x", &fd, NULL, NULL), -ENOENT);
    assert_int_equal(symlink("/etc/passwd", in_dir("lock")), 0);
    assert_int_equal(sf_lock_dir(dir, "x", &fd, NULL, NULL), -ELOOP);
    unlink(in_dir("lock"));
}

static int
setup(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int
teardown(void **state)
{
    (void)state;
    return rmdir(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_transfers),
        cmocka_unit_test(files_are_read_up_to_a_limit),
        cmocka_unit_test(atomic_write_replaces_or_leaves),
        cmocka_unit_test(private_directories),
        cmocka_unit_test(one_holds_a_directory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
