/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/file.h"
#include "write/step.h"

/* Steps: nothing in a usual build; with fault points the process ends at the pass that was named,
 * and the log has each pass. */

static const char *const labels[] = {
#define SF_STEP(id, label, help) label,
#include "write/steps.def"
};

/* A child that passes the first step three times. Returns how it ended. */
static int
three_passes(const char *kill_at, const char *log)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setenv("SUPAFS_KILL_AT", kill_at, 1);
        setenv("SUPAFS_STEP_LOG", log, 1);
        for (int i = 0; i < 3; i++)
            sf_step((enum sf_step)0);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void
ends_at_the_pass_that_was_named(void **state)
{
    (void)state;
    char log[] = "/tmp/supafs-step-XXXXXX", at[64];
    int fd = mkstemp(log);
    assert_true(fd >= 0);
    close(fd);
    snprintf(at, sizeof at, "%s:2", labels[0]);
    int status = three_passes(at, log);
    sf_autobuf struct sf_buf got = SF_BUF_INIT, want = SF_BUF_INIT;
    assert_int_equal(sf_read_file(log, 4096, &got, NULL), 0);
    unlink(log);
#ifdef SF_FAULT_POINTS
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    sf_buf_printf(&want, "%s\n%s\n", labels[0], labels[0]);
#else
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
#endif
    assert_string_equal(sf_buf_str(&got), sf_buf_str(&want));
}

static void
other_steps_and_later_passes_do_not_end_it(void **state)
{
    (void)state;
    char at[64];
    snprintf(at, sizeof at, "%s:4", labels[0]);
    int status = three_passes(at, "");
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = three_passes(labels[SF_STEP_MAX - 1], "");
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void
labels_are_a_kind_and_a_step_and_unique(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SF_STEP_MAX; i++) {
        const char *dot = strchr(labels[i], '.');
        assert_true(dot && dot > labels[i] && dot[1]);
        assert_int_equal(strspn(labels[i], "abcdefghijklmnopqrstuvwxyz-."), strlen(labels[i]));
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(labels[i], labels[k]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_at_the_pass_that_was_named),
        cmocka_unit_test(other_steps_and_later_passes_do_not_end_it),
        cmocka_unit_test(labels_are_a_kind_and_a_step_and_unique),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
