/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/record.h"
#include "tables/internal.h"

static int
record(void *arg, const char *json, size_t len, int64_t deadline_ms, bool *recorded,
       struct sf_err *err)
{
    return sf_storage_record_wait(arg, json, len, deadline_ms, recorded, err);
}

static int
about(void *arg, int64_t deadline_ms, unsigned *version, struct sf_err *err)
{
    return sf_storage_about_wait(arg, deadline_ms, version, err);
}

void
peer_of_project(struct sf_storage *st, struct sf_tables_peer *out)
{
    *out = (struct sf_tables_peer){.record = record, .about = about, .arg = st};
}
