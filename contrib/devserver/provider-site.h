/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_PROVIDER_SITE_H
#define DS_PROVIDER_SITE_H

/* The AI providers of the project; a vendor's two sites have accounts of their own. */
enum {
    DS_PROVIDER_KIMI,
    DS_PROVIDER_KIMI_CN,
    DS_PROVIDER_GLM,
    DS_PROVIDER_ZAI,
    DS_PROVIDER_OPENAI,
    DS_PROVIDER_SITES
};

struct ds_provider_site {
    const char *name;       /* "kimi" */
    const char *base;       /* path of its base URL */
    const char *key_prefix; /* of its key; NULL = it is 32 hex digits, a dot and a word */
    const char *env;        /* project.env has ENV_API_KEY and ENV_BASE_URL; NULL = it has not */
    const char *provider;   /* and a model, in SUPAFS_PROVIDER_NAME_MODEL; NULL = it has not */
    const char *model;
};

extern const struct ds_provider_site ds_provider_sites[DS_PROVIDER_SITES];

#endif
