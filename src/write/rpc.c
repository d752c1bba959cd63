/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/rpc.h"

#include <errno.h>

#include "base/clock.h"
#include "observe/log.h"
#include "write/writer.h"

#define MISSING_MS 600000
#define NO_VERSION "00000000-0000-0000-0000-000000000000" /* of nothing: nothing is changed */

int
sf_rpc_set_attrs(struct sf_writer *w, const struct sf_attrs_args *args, int64_t deadline_ms,
                 struct sf_attrs_result *res, struct sf_err *err)
{
    if (sf_clock_ms() < atomic_load(&w->no_rpc_until_ms))
        return sf_err_set(err, -ENOSYS, "the project has no function supafs_set_attrs");
    int rc = sf_storage_set_attrs_wait(w->st, args, deadline_ms, res, err);
    if (rc == -ENOSYS) {
        if (!atomic_exchange(&w->no_rpc_until_ms, sf_clock_ms() + MISSING_MS))
            sf_info("write", "event=no-attribute-function text=%s",
                    "attributes of stored objects are set by a copy onto itself");
    } else if (!rc) {
        atomic_store(&w->rpc_seen, true);
    }
    return rc;
}

static int
ask(struct sf_writer *w, const char *bucket, const char *key, int64_t deadline_ms)
{
    struct sf_attrs_result res;
    const struct sf_attrs_args args = {.bucket = bucket, .key = key, .version = NO_VERSION};
    return atomic_load(&w->rpc_seen) ? 0 : sf_rpc_set_attrs(w, &args, deadline_ms, &res, NULL);
}

bool
sf_rpc_is_there(struct sf_writer *w, const char *bucket, const char *key, int64_t deadline_ms)
{
    return ask(w, bucket, key, deadline_ms) == 0;
}

bool
sf_rpc_is_missing(struct sf_writer *w, const char *bucket, const char *key, int64_t deadline_ms)
{
    return ask(w, bucket, key, deadline_ms) == -ENOSYS;
}
