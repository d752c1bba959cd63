/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_DAEMON_DAEMON_H
#define SF_DAEMON_DAEMON_H

#include <stdbool.h>

#include "daemon/exit.h"

struct sf_config;
struct sf_key_choice;

struct sf_mount_args {
    struct sf_config *cfg;     /* loaded, with a URL; its keys are wiped once they were read */
    struct sf_key_choice *key; /* wiped once the daemon has it */
    const char *mountpoint;    /* as the user gave it */
    bool foreground;
};

/**
 * sf_daemon_mount - mount and serve.
 * @said: what to tell the user of a start; a failure's sentence, else lines for success.
 *
 * In the background: returns in the calling process when the mount serves (SF_EXIT_OK) or has
 * failed. In the foreground: @ready is called with what to say when it serves, and the call returns
 * when the mount has ended. No other thread may run yet.
 */
enum sf_exit sf_daemon_mount(const struct sf_mount_args *args,
                             void (*ready)(const struct sf_outcome *said), struct sf_outcome *said);

#endif
