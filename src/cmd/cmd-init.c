/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cmd.h"

#include "config/config.h"
#include "config/keys.h"
#include "config/value.h"
#include "daemon/exit.h"
#include "setup/init.h"
#include "setup/sql.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPT_PRINT_SQL = 256 };

struct init_line {
    struct settings_line set;
    const char *project; /* URL or profile; NULL = from elsewhere */
    bool dry_run, json, print_sql;
    const char *url, *role; /* once they are known */
};

static error_t
parse(int key, char *arg, struct argp_state *state)
{
    struct init_line *l = state->input;
    switch (key) {
    case 'n':
        l->dry_run = true;
        return 0;
    case 'j':
        l->json = true;
        return 0;
    case OPT_PRINT_SQL:
        l->print_sql = true;
        return 0;
    case ARGP_KEY_ARG:
        if (l->project)
            argp_error(state, "one project at a time");
        l->project = arg;
        return 0;
    default:
        return settings_option(&l->set, key, arg, state);
    }
}

static const struct argp_option options[] = {
    {"dry-run", 'n', NULL, 0, "Change nothing; tell what would be done", 0},
    {"json", 'j', NULL, 0, "Print one JSON object", 0},
    {"print-sql", OPT_PRINT_SQL, NULL, 0, "Only print the SQL; nothing is asked or changed", 0},
    {"env-file", 'e', "FILE", 0, "Read NAME=value lines, as .env has them", 0},
    {NULL, 'o', "OPTION[,OPTION...]", 0, "Set options; see supafs(1)", 0},
    {0}};

static const struct argp argp = {
    options,
    parse,
    "[URL|PROJECT]",
    "Make the buckets and tables that a Supabase project lacks, and change nothing that is there.\v"
    "The buckets are those of the configuration's [bucket.NAME] sections, or the five usual ones. "
    "The SQL goes through psql where SUPABASE_DB_URL is set, through the platform's Management API "
    "where SUPABASE_ACCESS_TOKEN is, and is else printed to be pasted.",
    NULL,
    NULL,
    NULL};

static int
fail(enum sf_exit code, const char *text)
{
    complain("%s", text);
    return (int)code;
}

/* ---- for people ----------------------------------------------------------------------------- */

static void
tell_row(void *arg, const struct sf_init_row *row)
{
    static const char *const words[] = {
        "there", "there, and left as it is", "missing", "made", "missing", "failed"};
    const struct init_line *l = arg;
    if (l->json)
        return;
    const char *word = row->sql && row->state == SF_INIT_DONE ? "applied" : words[row->state];
    say(stdout, "%s %s: %s%s%s", row->sql ? "SQL" : "bucket", row->name, word,
        *row->text ? ": " : "", row->text);
    fflush(stdout);
}

static size_t
count(const struct sf_init_report *r, enum sf_init_state state)
{
    size_t n = 0;
    for (size_t i = 0; i < r->rows.len; i++)
        n += r->rows.data[i].state == state;
    return n;
}

/* The files that a person has to bring in, as one text. */
static int
missing_sql(const struct sf_init_report *r, struct sf_buf *out)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < r->rows.len; i++) {
        const struct sf_init_row *row = &r->rows.data[i];
        if (row->sql && row->state == SF_INIT_BY_HAND)
            rc = sf_buf_puts(out, sf_sql_files[row->version - 1].text);
    }
    return rc;
}

static const char *
summary(const struct sf_init_report *r, bool dry_run)
{
    if (count(r, SF_INIT_FAILED))
        return "failed";
    if (count(r, SF_INIT_TO_DO) || (dry_run && count(r, SF_INIT_BY_HAND)))
        return "to do";
    if (count(r, SF_INIT_BY_HAND))
        return "by hand";
    return count(r, SF_INIT_DONE) ? "done" : "nothing to do";
}

static void
tell_end(const struct init_line *l, const struct sf_init_report *r, const char *sql)
{
    if (r->version > (int)sf_sql_newest())
        say(stdout, "the project's tables have version %d, newer than this program's %u",
            r->version, sf_sql_newest());
    if (*r->why)
        say(stdout, "which version the project's tables have is not known: %s", r->why);
    if (*sql && l->dry_run)
        say(stdout,
            "this SQL would have to be pasted into %s (neither SUPABASE_DB_URL nor "
            "SUPABASE_ACCESS_TOKEN is set); `supafs init` prints it",
            r->where);
    else if (*sql)
        say(stdout,
            "neither SUPABASE_DB_URL nor SUPABASE_ACCESS_TOKEN is set: paste what follows "
            "into %s, and run it",
            r->where);
    if (!*sql || l->dry_run)
        say(stdout, "%s",
            l->dry_run && !strcmp(summary(r, true), "to do") ? "nothing was changed (--dry-run)"
                                                             : summary(r, false));
    else
        printf("\n%s", sql);
}

/* ---- for programs --------------------------------------------------------------------------- */

static int
print_json(const struct init_line *l, const struct sf_init_report *r, const char *sql)
{
    static const char *const ways[] = {"psql", "management-api", "paste"};
    json_t *buckets = json_array(), *files = json_array();
    for (size_t i = 0; i < r->rows.len; i++) {
        const struct sf_init_row *row = &r->rows.data[i];
        json_array_append_new(row->sql ? files : buckets,
                              json_pack("{s:s, s:s, s:s}", "name", row->name, "state",
                                        sf_init_state_word(row->state), "text", row->text));
    }
    json_t *root = json_pack("{s:s, s:s, s:b, s:s, s:o, s:{s:s, s:o, s:i, s:o}}", "project", l->url,
                             "role", l->role, "dry_run", (int)l->dry_run, "result",
                             summary(r, l->dry_run), "buckets", buckets, "sql", "way", ways[r->way],
                             "version", r->version < 0 ? json_null() : json_integer(r->version),
                             "newest", (int)sf_sql_newest(), "files", files);
    if (root && *sql)
        json_object_set_new(root, "paste", json_pack("{s:s, s:s}", "where", r->where, "sql", sql));
    if (!root)
        return fail(SF_EXIT_FAILED, "out of memory");
    say_json(root);
    json_decref(root);
    return 0;
}

/* ---- running it ----------------------------------------------------------------------------- */

static enum sf_exit
exit_of(const struct sf_err *err)
{
    switch (err->code) {
    case -EINVAL:
        return SF_EXIT_USAGE;
    case -EKEYREJECTED:
    case -EACCES:
    case -EPERM:
        return SF_EXIT_KEY_WRONG;
    case -EKEYEXPIRED:
        return SF_EXIT_KEY_EXPIRED;
    case -ECONNREFUSED:
    case -ETIMEDOUT:
    case -EHOSTUNREACH:
    case -ENETUNREACH:
        return SF_EXIT_UNREACHABLE;
    default:
        return SF_EXIT_FAILED;
    }
}

static int
report(const struct init_line *l, const struct sf_init_report *r)
{
    sf_autobuf struct sf_buf sql = SF_BUF_INIT;
    if (missing_sql(r, &sql))
        return fail(SF_EXIT_FAILED, "out of memory");
    int rc = 0;
    if (l->json)
        rc = print_json(l, r, sf_buf_str(&sql));
    else
        tell_end(l, r, sf_buf_str(&sql));
    if (rc)
        return rc;
    if (count(r, SF_INIT_FAILED))
        return SF_EXIT_FAILED;
    return count(r, SF_INIT_BY_HAND) && !l->dry_run ? SF_EXIT_BY_HAND : SF_EXIT_OK;
}

static int
run(struct init_line *l, struct sf_config *cfg)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_key_choice key;
    struct sf_init_report r;
    if (sf_config_require_url(cfg, &err) < 0)
        return fail(SF_EXIT_USAGE, err.msg);
    for (size_t i = 0; sf_config_warning(cfg, i); i++)
        complain("warning: %s", sf_config_warning(cfg, i));
    if (sf_keys_choose(cfg, &key, &err) < 0)
        return fail(sf_exit_of_config(&err), err.msg);
    static const char *const roles[] = {"service_role", "authenticated", "anon"};
    l->url = sf_config_str(cfg, SF_OPT_URL);
    l->role = roles[key.mode];
    sf_config_wipe_environment(cfg);
    if (!l->json)
        say(stdout, "%s, %s", l->url, key.sentence);
    const struct sf_init_args args = {
        .cfg = cfg, .key = &key, .dry_run = l->dry_run, .tell = tell_row, .arg = l};
    int rc = sf_init_run(&args, &r, &err);
    rc = rc < 0 ? fail(exit_of(&err), err.msg) : report(l, &r);
    sf_init_report_fini(&r);
    sf_key_choice_fini(&key);
    sf_config_wipe_keys(cfg);
    return rc;
}

static int
print_sql(void)
{
    for (const struct sf_sql_file *f = sf_sql_files; f->version; f++)
        fputs(f->text, stdout);
    return fflush(stdout) == 0 ? 0 : fail(SF_EXIT_FAILED, strerror(errno));
}

int
cmd_init(int argc, char **argv)
{
    struct init_line l = {0};
    struct sf_err err = SF_ERR_INIT;
    struct sf_config *cfg = NULL;
    error_t bad = argp_parse(&argp, argc, argv, 0, NULL, &l);
    if (bad)
        return fail(SF_EXIT_USAGE, strerror(bad));
    if (l.print_sql)
        return print_sql();
    const struct sf_config_sources src = {
        .argument = l.project, .mount_options = l.set.options, .env_file = l.set.env_file};
    if (sf_config_new(&cfg) < 0)
        return fail(SF_EXIT_FAILED, "out of memory");
    int rc =
        sf_config_load(cfg, &src, &err) < 0 ? fail(sf_exit_of_config(&err), err.msg) : run(&l, cfg);
    sf_config_free(cfg);
    return rc;
}
