/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONFIG_URL_H
#define SF_CONFIG_URL_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/**
 * sf_url_normalize - the canonical form of a project's URL: scheme, host in lower case, port if it
 * is not the scheme's own, path without trailing slashes and /storage/v1.
 * @text: may lack the scheme: https is meant, http for the machine itself.
 * @insecure: allow plain http to other machines.
 * @ret:  on success to be freed.
 *
 * Returns 0; -EINVAL with a sentence that does not repeat credentials; -ENOMEM.
 */
int sf_url_normalize(const char *text, bool insecure, char **ret, struct sf_err *err);

/* The same for a provider's base_url: nothing but slashes is cut off its path. */
int sf_url_normalize_base(const char *text, bool insecure, char **ret, struct sf_err *err);

/* Whether a host name or address means this machine: localhost, *.localhost, 127.0.0.0/8, ::1
 * (also in brackets). */
bool sf_url_host_is_loopback(const char *host, size_t len);

#endif
