/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>

#include "supabase/rest.h"
#include "tables/internal.h"

/* What the database says of the rows themselves it will say again, in whatever words of the error
 * table; a gateway, that they are too many bytes. */
static bool
is_of_the_rows(const struct sf_err *err)
{
    switch (err->code) {
    case -EINVAL:
    case -EEXIST:
    case -ENOENT:
    case -E2BIG:
        return err->api_code[0];
    default:
        return err->http_status == 413;
    }
}

/* It is not repeated after a lost reply here: who sends behind has pauses of his own. */
static int
record(void *arg, const char *json, size_t len, int64_t deadline_ms, bool *recorded,
       struct sf_err *err)
{
    const struct sf_rest_how how = {.deadline_ms = deadline_ms};
    struct sf_err why = SF_ERR_INIT;
    json_t *answer = NULL;
    int rc = sf_rest_rpc_text_wait(arg, "supafs_record", json, len, &how, &answer, &why);
    const json_t *said = json_object_get(answer, "recorded");
    if (!rc && !json_is_boolean(said))
        rc = sf_err_set(&why, -EPROTO, "supafs_record() of the database answers something else");
    else if (!rc)
        *recorded = json_is_true(said);
    else if (is_of_the_rows(&why))
        rc = why.code = -EINVAL;
    json_decref(answer);
    if (rc && err)
        *err = why;
    return rc;
}

static int
about(void *arg, int64_t deadline_ms, unsigned *version, struct sf_err *err)
{
    const struct sf_rest_how how = {.deadline_ms = deadline_ms, .reads = true};
    json_t *answer = NULL;
    int rc = sf_rest_rpc_wait(arg, "supafs_about", json_object(), &how, &answer, err);
    json_int_t is = json_integer_value(json_object_get(answer, "version"));
    if (!rc && is > 0 && is < 1000000)
        *version = (unsigned)is;
    else if (!rc)
        rc = sf_err_set(err, -EPROTO, "supafs_about() of the database answers something else");
    json_decref(answer);
    return rc;
}

static void
facts(void *arg, const struct sf_dir_facts_args *args, int64_t deadline_ms, sf_dir_facts_fn cb,
      void *cb_arg)
{
    const struct sf_rest_how how = {.deadline_ms = deadline_ms, .priority = 1, .reads = true};
    (void)sf_storage_dir_facts(arg, args, &how, cb, cb_arg);
}

void
peer_of_project(struct sf_storage *st, struct sf_tables_peer *out)
{
    *out = (struct sf_tables_peer){.record = record, .about = about, .facts = facts, .arg = st};
}
