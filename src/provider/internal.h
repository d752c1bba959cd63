/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_INTERNAL_H
#define SF_PROVIDER_INTERNAL_H

#include "provider/provider.h"

/* Inside of provider/: the types, one per file. types.c lists them. */

extern const struct sf_provider_type sf_provider_kimi;
extern const struct sf_provider_type sf_provider_glm;
extern const struct sf_provider_type sf_provider_openai;

/* The row of @purpose in a table of @n, NULL = there is none. */
const struct sf_provider_limits *sf_provider_limits_find(const struct sf_provider_limits *table,
                                                         size_t n, const char *purpose);

/* Whether the address names this host, whatever its scheme, port and path. */
bool sf_provider_base_is(const char *base, const char *host);

#endif
