/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_FUSE_CALLER_H
#define SF_FUSE_CALLER_H

#include <stdbool.h>
#include <sys/types.h>

/**
 * caller_stops - whether the signals that wait for a thread mean that it shall stop.
 * @tid: as the kernel gives it with a request; 0 = of another pid namespace.
 *
 * The kernel interrupts a request for any signal, also for a timer's or a child's that the program
 * handles and goes on (git's progress, a shell's jobs). On a local disk such a program would notice
 * nothing; many take EINTR from open(2), close(2) or stat(2) for a failure. So those signals do not
 * end a request, as long as the program catches them.
 *
 * Returns true also when it cannot be found out. Reads one file of /proc.
 */
bool caller_stops(pid_t tid);

/* The same for the text of /proc/TID/status. */
bool caller_stops_by(const char *status);

#endif
