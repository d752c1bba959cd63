/* SPDX-License-Identifier: GPL-3.0-or-later */
/* fuse/caller.h: which signals of a caller end its request. */
#include "fuse/caller.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t
bit(int sig)
{
    return UINT64_C(1) << (sig - 1);
}

static bool
stops(uint64_t own, uint64_t shared, uint64_t blocked, uint64_t caught)
{
    char text[512];
    snprintf(text, sizeof text,
             "Name:\tSigPnd: 1\nState:\tD (disk sleep)\nThreads:\t1\nSigQ:\t1/100\n"
             "SigPnd:\t%016lx\nShdPnd:\t%016lx\nSigBlk:\t%016lx\nSigIgn:\t%016x\n"
             "SigCgt:\t%016lx\nCapInh:\t0\n",
             (unsigned long)own, (unsigned long)shared, (unsigned long)blocked, 0,
             (unsigned long)caught);
    return caller_stops_by(text);
}

static void
timers_and_children_do_not(void **state)
{
    (void)state;
    assert_false(stops(0, bit(SIGALRM), 0, bit(SIGALRM)));
    assert_false(stops(bit(SIGCHLD), bit(SIGURG), 0, bit(SIGCHLD) | bit(SIGURG)));
    assert_false(stops(0, 0, 0, 0)); /* the signal is gone already */
}

static void
others_do(void **state)
{
    (void)state;
    assert_true(stops(0, bit(SIGINT), 0, 0));
    assert_true(stops(0, bit(SIGINT), 0, bit(SIGINT))); /* caught: it wants to know */
    assert_true(stops(bit(SIGKILL), bit(SIGALRM), 0, bit(SIGALRM)));
    assert_true(stops(0, bit(SIGTERM) | bit(SIGCHLD), 0, bit(SIGCHLD)));
    assert_true(stops(0, bit(SIGALRM), 0, 0)); /* not caught: it ends the program */
    assert_true(stops(0, bit(40), 0, 0));
}

static void
blocked_ones_do_not(void **state)
{
    (void)state;
    assert_false(stops(0, bit(SIGINT), bit(SIGINT), 0));
    assert_true(stops(0, bit(SIGINT) | bit(SIGTERM), bit(SIGINT), 0));
}

static void
what_cannot_be_read_stops(void **state)
{
    (void)state;
    assert_true(caller_stops_by(""));
    assert_true(caller_stops_by("SigPnd:\t0\nShdPnd:\tx\n"));
    assert_true(caller_stops(0));
    assert_false(caller_stops(getpid()));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_and_children_do_not),
        cmocka_unit_test(others_do),
        cmocka_unit_test(blocked_ones_do_not),
        cmocka_unit_test(what_cannot_be_read_stops),
    };
    return cmocka_run_group_tests_name("fuse/caller", tests, NULL, NULL);
}
