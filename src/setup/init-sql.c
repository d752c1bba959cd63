/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "setup/init-internal.h"

#include "setup/sql.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/*
 * The SQL files. Which the database has is read from the table where they note themselves; it is
 * called supafs_schema_version where a table schema_version of another shape was there before.
 */

unsigned
sf_sql_newest(void)
{
    unsigned newest = 0;
    for (const struct sf_sql_file *f = sf_sql_files; f->version; f++)
        newest = f->version;
    return newest;
}

static int
run(struct init *in, const char *sql, int64_t *number, struct sf_err *err)
{
    const struct sf_config *c = in->args->cfg;
    if (in->report->way == SF_INIT_WAY_API)
        return init_api_run(in, sql, number, err);
    return init_psql_run(sf_config_str(c, SF_OPT_DB_URL), in->ref,
                         sf_config_bool(c, SF_OPT_INSECURE), sql, number, err);
}

/* Two questions, since one that names a table that is not there fails as a whole. */
static int
read_version(struct init *in, struct sf_err *err)
{
    static const char which[] =
        "select case when to_regclass('public.supafs_schema_version') is not null then 2 "
        "when (select count(*) from pg_catalog.pg_attribute as a "
        "where a.attrelid = to_regclass('public.schema_version') and not a.attisdropped "
        "and a.attname in ('component', 'version', 'name', 'applied_at')) = 4 then 1 "
        "else 0 end as n;\n";
    static const char *const version[] = {
        "select coalesce(max(version), 0) as n from public.schema_version "
        "where component = 'supafs';\n",
        "select coalesce(max(version), 0) as n from public.supafs_schema_version "
        "where component = 'supafs';\n"};
    int64_t table = 0, n = 0;
    int rc = run(in, which, &table, err);
    if (!rc && (table == 1 || table == 2))
        rc = run(in, version[table - 1], &n, err);
    if (!rc && (n < 0 || n > 1000000))
        rc = sf_err_set(err, -EPROTO, "the database tells no version of the tables");
    if (!rc)
        in->report->version = (int)n;
    return rc;
}

/* What the project tells of itself is enough to know what is to be pasted. */
static int
ask_version(struct init *in)
{
    struct sf_err err = SF_ERR_INIT;
    if (init_about(in, &in->report->version, &err) == 0)
        return 0;
    in->report->version = -1;
    snprintf(in->report->why, sizeof in->report->why, "%s", err.msg);
    return 0;
}

static void
say_where(struct init *in)
{
    struct sf_init_report *r = in->report;
    if (in->ref[0])
        snprintf(r->where, sizeof r->where, "https://supabase.com/dashboard/project/%s/sql/new",
                 in->ref);
    else
        snprintf(r->where, sizeof r->where,
                 "the project's SQL editor, or psql as the role postgres");
}

static int
apply(struct init *in, const struct sf_sql_file *f, struct sf_init_row *row)
{
    struct sf_err err = SF_ERR_INIT;
    if (in->report->way == SF_INIT_WAY_PASTE) {
        row->state = SF_INIT_BY_HAND;
        return 0;
    }
    if (in->args->dry_run) {
        row->state = SF_INIT_TO_DO;
        return 0;
    }
    int rc = run(in, f->text, NULL, &err);
    row->state = rc ? SF_INIT_FAILED : SF_INIT_DONE;
    snprintf(row->text, sizeof row->text, "%s", err.msg);
    return rc;
}

/* The first that fails is the last: each may need those before it. */
static int
settle(struct init *in, struct sf_err *err)
{
    int failed = 0;
    bool changed = false;
    for (const struct sf_sql_file *f = sf_sql_files; f->version && !failed; f++) {
        struct sf_init_row row = {.sql = true, .version = f->version, .state = SF_INIT_THERE};
        snprintf(row.name, sizeof row.name, "%03u-%s", f->version, f->name);
        if (in->report->version < (int)f->version)
            failed = apply(in, f, &row);
        changed |= row.state == SF_INIT_DONE;
        if (init_row(in, &row))
            return sf_err_set(err, -ENOMEM, "out of memory");
    }
    if (!changed || failed)
        return 0;
    int rc = read_version(in, err);
    if (!rc && in->report->version < (int)sf_sql_newest())
        rc = sf_err_set(err, -EPROTO,
                        "the SQL files were applied, but the database tells version %d of them, "
                        "not %u",
                        in->report->version, sf_sql_newest());
    return rc;
}

int
init_sql(struct init *in, struct sf_err *err)
{
    const struct sf_config *c = in->args->cfg;
    struct sf_init_report *r = in->report;
    r->way = sf_config_is_set(c, SF_OPT_DB_URL)         ? SF_INIT_WAY_PSQL
             : sf_config_is_set(c, SF_OPT_ACCESS_TOKEN) ? SF_INIT_WAY_API
                                                        : SF_INIT_WAY_PASTE;
    int rc = r->way == SF_INIT_WAY_PASTE ? ask_version(in) : read_version(in, err);
    if (rc)
        return rc;
    say_where(in);
    return settle(in, err);
}
