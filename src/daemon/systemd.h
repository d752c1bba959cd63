/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_DAEMON_SYSTEMD_H
#define SF_DAEMON_SYSTEMD_H

/* Tell the service manager, when there is one (NOTIFY_SOCKET): "READY=1", "STOPPING=1", ... */
void sf_systemd_notify(const char *state);

#endif
