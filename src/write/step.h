/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_STEP_H
#define SF_WRITE_STEP_H

/*
 * Internal to src/write: the steps of a change, from the table steps.def, so that a test can end
 * the daemon behind each of them as a power loss or kill -9 would. Only in a build configured with
 * --enable-fault-points, where the environment says what happens:
 *
 *     SUPAFS_KILL_AT=LABEL[:N]   the Nth pass of this step (from 1) is the end of the process
 *     SUPAFS_STEP_LOG=FILE       each pass appends its label and a newline
 *     SUPAFS_BOOT_ID=TEXT        sf_boot_id() says this: another boot of the machine
 */
enum sf_step {
#define SF_STEP(id, label, help) SF_STEP_##id,
#include "write/steps.def"
    SF_STEP_MAX
};

/* Any thread; holding a lock is allowed. */
#ifdef SF_FAULT_POINTS
void sf_step(enum sf_step step);
#else
static inline void
sf_step(enum sf_step step)
{
    (void)step;
}
#endif

#endif
