/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_FAILURE_H
#define SF_WRITE_FAILURE_H

#include <stdbool.h>

#include "base/err.h"

/*
 * What an upload's failure means for the bytes. Held: nobody has refused them; the network, the
 * service, the key or what the service has room for may be otherwise later, or it is not known what
 * happened. They stay pending and are sent again. Refused: the same request will fail again
 * (permission, size, type, name, no such bucket); they go to quarantine.
 */
bool sf_failure_is_held(const struct sf_err *err);

#endif
