/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_PROVIDER_H
#define DS_PROVIDER_H

#include <jansson.h>

#include "base/err.h"
#include "http.h"
#include "provider-site.h"

/*
 * The AI providers that the project has beside its storage: files, chats and what belongs to them,
 * each below a path of its own on the same port, with the limits, the answers and the failures that
 * are known of the real ones. What is not known of them is a setting. They read nothing: an answer
 * is made of lengths and hashes of what came.
 */
struct ds_providers;

struct ds_providers *ds_providers_new(void);
void ds_providers_free(struct ds_providers *providers);

/* The route of a request below one of the bases: sets req->provider and req->path, or a reply. NULL
 * when the path is none of theirs, or a reply is set. */
const struct ds_route *ds_provider_find_route(struct ds_request *req);

void ds_provider_call_free(struct ds_request *req);

/* ---- the admin port; thread-safe ---- */

/* Settings, counts, uploads, files, chats and rules of all sites. */
json_t *ds_providers_to_json(struct ds_server *server);

/* {"SITE": {"SETTING": value}}: all of them, or none when one is wrong. */
int ds_providers_set(struct ds_providers *providers, const json_t *json, struct sf_err *err);

/* A rule or an array of them: scenarios for requests to come. */
int ds_providers_add_rules(struct ds_providers *providers, const json_t *json, struct sf_err *err);

/* Forgets rules, counts and chats; the settings, too, when asked to. Hanging replies end. */
void ds_providers_reset(struct ds_providers *providers, bool settings);

/* Removes the files of a site, or of all with NULL, and their bytes: their ids vanish. */
int ds_providers_remove_files(struct ds_server *server, const char *site);

#endif
