/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_DAEMON_EXIT_H
#define SF_DAEMON_EXIT_H

#include "base/err.h"

/* What the programs end with: SF_EXIT_OK, SF_EXIT_USAGE, ... */
enum sf_exit {
#define SF_EXIT(id, code, meaning) SF_EXIT_##id = code,
#include "daemon/exit.def"
#undef SF_EXIT
};

/* How a start or stop went: the code, and what to say: one sentence when it failed. */
struct sf_outcome {
    enum sf_exit exit;
    char text[1800];
};

/* Set code and sentence. Returns -1, for `return sf_outcome_fail(...)`. */
__attribute__((format(printf, 3, 4))) int sf_outcome_fail(struct sf_outcome *o, enum sf_exit exit,
                                                          const char *fmt, ...);
/* Add a line to what is said at a success. */
__attribute__((format(printf, 2, 3))) void sf_outcome_say(struct sf_outcome *o, const char *fmt,
                                                          ...);

/* The codes for errors of the configuration and of the choice of a key. */
enum sf_exit sf_exit_of_config(const struct sf_err *err);

/* The table, one "CODE MEANING" per line, for --exit-codes. */
void sf_exit_print(void);

#endif
