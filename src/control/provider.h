/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONTROL_PROVIDER_H
#define SF_CONTROL_PROVIDER_H

#include <jansson.h>

#include "control/control.h"
#include "provider/route.h"

struct sf_control_provider;
struct sf_provider;
struct sf_providers;
struct sf_storage;
struct sf_tree;
struct sf_writer;

struct sf_control_provider_opts {
    struct sf_tree *tree; /* all borrowed until sf_control_free() */
    struct sf_storage *storage;
    struct sf_writer *writer;
    struct sf_providers *providers; /* NULL = none is configured */
    int64_t timeout_ms;             /* of a request to the project */
};

/**
 * sf_control_provider_new - the verbs about AI providers. Each line of an answer is a JSON object,
 * on which the members below are, and perhaps others. PATH: below the root of the mount; NAME of a
 * provider, or "auto".
 *
 *   provider-states               each provider: what sf_provider_conf_json() tells, and "state"
 *                                 ("up", "waits", "rests", "unusable"), "until" (seconds from now,
 *                                 0 = not told), "why", "slots", "used", "waiting", "ids", "wants",
 *                                 "uploads", "failed", "shared", "bytes", "last_error", "tables"
 *   provider-why NAME PATH        each of them: as sf_provider_choice_json()
 *   provider-check [NAME]         each, or one: as sf_provider_check_json()
 *   provider-files [NAME]         each file at them: "provider", "id", "name", "bytes", "created"
 *                                 (seconds since 1970, 0 = not told), "state" ("ready", "pending",
 *                                 "failed"), "ours", "begun", "bucket", "key", "sha256" (null = not
 *                                 known)
 *   provider-upload [-r] [-a] NAME PATH...
 *                                 the ids of files, of those in directories with -r; -a: though it
 *                                 failed a moment ago. {"path", "provider", "id", "how" ("known",
 *                                 "uploaded", "found", "shared"), "sha256", "expires"} or {"path",
 *                                 "provider" (null = none takes it), "error", "errno"}; and as it
 *                                 goes on {"done", "failed", "running", "sent", "total"} (bytes)
 *   provider-adopt NAME PATH ID   that file there is this one
 *   provider-rm NAME PATH         delete it at the provider, or, with "auto", wherever it is known.
 *                                 {"provider", "id"}
 *   provider-rm-id NAME ID        the same by its id
 *   provider-prune [-y] [NAME]    each file that this mount uploaded and nobody needs, or perhaps
 *                                 nobody: "provider", "id", "name", "bytes", "created", "bucket",
 *                                 "key", "verdict" ("kept", "goes", "gone", "failed"), "why"; then
 *                                 {"seen", "gone", "failed", "bytes"}. Deletes with -y alone. Waits
 *                                 2 s until what was changed here is in the project, else -EBUSY
 *
 * 0, -ENOSPC, -ENOMEM.
 */
int sf_control_provider_new(struct sf_control *c, const struct sf_control_provider_opts *opts,
                            struct sf_control_provider **ret);
void sf_control_provider_free(struct sf_control_provider *cp); /* may be NULL */

/* ---- what commands without a mount tell in the same way ---------------------------------------
 */

/* A provider's settings, without its key; NULL without memory, as below. */
json_t *sf_provider_conf_json(const struct sf_provider_conf *conf);
/* {"provider", "taken", "reason"}. */
json_t *sf_provider_choice_json(const struct sf_route_choice *choice,
                                const struct sf_provider_confs *confs);
/**
 * sf_provider_check_json - ask a provider for its models, or, if it has no such list, its files: a
 * question that costs nothing and shows whether address and key are good.
 * @p: NULL where it cannot be opened. Not on the event thread; waits 10 s at most.
 * Returns {"name", "ok", "text", "ms"}.
 */
json_t *sf_provider_check_json(struct sf_provider *p, const struct sf_provider_conf *conf);

#endif
