/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_DAEMON_PROVIDERS_H
#define SF_DAEMON_PROVIDERS_H

#include "base/buf.h"
#include "daemon/exit.h"

#include <jansson.h>

/* Internal to src/daemon: the AI providers of the mount. Nothing else of a mount depends on them.
 */

struct daemon;

/* What the configuration says of them, before its keys are wiped. 0, or -1 with @o. */
int providers_read(struct daemon *d, struct sf_outcome *o);
/* None of them is asked. What does not work is logged, and stands in the status. */
void providers_open(struct daemon *d);
/* Read the files of their keys again. */
void providers_reload(struct daemon *d);

/* For the status, and for the statistics. */
void providers_print(struct daemon *d, struct sf_buf *out);
void providers_json(struct daemon *d, json_t *root);

#endif
