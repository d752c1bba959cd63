/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "admin.h"
#include "base/cleanup.h"
#include "http.h"
#include "import.h"
#include "provider.h"
#include "server.h"
#include "tables.h"

#define STANDARD_LIMIT 52428800
#define GLOBAL_LIMIT   524288000

const char *argp_program_version = "supafs-devserver " PACKAGE_VERSION;

struct options {
    const char *data;
    char *host;
    int port;
    double delay_ms, mbytes_per_s, standard_limit, global_limit;
    char **imports; /* BUCKET/KEY=FILE */
    size_t import_count;
};

enum { OPT_DATA = 1000, OPT_LISTEN, OPT_DELAY, OPT_RATE, OPT_STANDARD, OPT_GLOBAL, OPT_IMPORT };

static const struct argp_option option_list[] = {
    {"data", OPT_DATA, "DIR", 0, "The project's folder; created when it is missing", 0},
    {"listen", OPT_LISTEN, "ADDRESS:PORT", 0,
     "Where to serve (default 127.0.0.1:0; port 0 = the one of the last run)", 0},
    {"delay-ms", OPT_DELAY, "N", 0, "Wait so long before the first byte of each reply", 0},
    {"mbytes-per-s", OPT_RATE, "N", 0, "Bandwidth of all connections together (0 = no limit)", 0},
    {"standard-limit", OPT_STANDARD, "BYTES", 0,
     "Limit of one upload request (default 52428800, 0 = none)", 0},
    {"global-limit", OPT_GLOBAL, "BYTES", 0, "Limit of any object (default 524288000, 0 = none)",
     0},
    {"import", OPT_IMPORT, "BUCKET/KEY=FILE", 0,
     "Put a file in as an object before serving; may be repeated", 0},
    {0},
};

static double
number(struct argp_state *state, const char *name, const char *text)
{
    char *end;
    double value = strtod(text, &end);
    if (*text == '\0' || *end != '\0' || !(value >= 0 && value < 9e15))
        argp_error(state, "--%s needs a number from 0 up, not \"%s\"", name, text);
    return value;
}

static void
parse_listen(struct argp_state *state, struct options *options, const char *text)
{
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;
    if (!colon || colon == text || end == colon + 1 || *end != '\0' || port < 0 || port > 65535)
        argp_error(state, "--listen needs ADDRESS:PORT, not \"%s\"", text);
    free(options->host);
    options->host = colon ? strndup(text, (size_t)(colon - text)) : NULL;
    options->port = (int)port;
}

static error_t
parse_option(int key, char *arg, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case OPT_DATA:
        options->data = arg;
        return 0;
    case OPT_LISTEN:
        parse_listen(state, options, arg);
        return 0;
    case OPT_DELAY:
        options->delay_ms = number(state, "delay-ms", arg);
        return 0;
    case OPT_RATE:
        options->mbytes_per_s = number(state, "mbytes-per-s", arg);
        return 0;
    case OPT_STANDARD:
        options->standard_limit = number(state, "standard-limit", arg);
        return 0;
    case OPT_GLOBAL:
        options->global_limit = number(state, "global-limit", arg);
        return 0;
    case OPT_IMPORT: {
        char **grown = realloc(options->imports, (options->import_count + 1) * sizeof *grown);
        if (!grown)
            return ENOMEM;
        options->imports = grown;
        options->imports[options->import_count++] = arg;
        return 0;
    }
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument \"%s\"", arg);
        return 0;
    case ARGP_KEY_END:
        if (!options->data)
            argp_error(state, "--data DIR is needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = option_list,
    .parser = parse_option,
    .doc = "A local Supabase Storage server with fault switches, for tests and trying out.\v"
           "Prints \"ready URL\" once it serves. DIR/project.env holds the URL, the keys and the "
           "address of the admin port.",
};

/* The buckets that every new project has, with the limits of the systems supafs serves. */
static int
make_buckets(struct ds_db *db, struct sf_err *err)
{
    static const struct {
        const char *id, *types;
        int64_t limit;
    } buckets[] = {
        {"user-files", "[\"text/*\",\"application/pdf\",\"image/*\"]", 52428800},
        {"generated-files", "[\"text/*\",\"application/json\"]", 10485760},
        {"results", NULL, -1},
    };
    sf_autofree char *done = NULL;
    if (ds_db_setting_get(db, "buckets_made", &done) == 0)
        return 0;
    for (size_t i = 0; i < sizeof buckets / sizeof buckets[0]; i++) {
        struct ds_bucket bucket = {
            .id = (char *)(uintptr_t)buckets[i].id,
            .name = (char *)(uintptr_t)buckets[i].id,
            .mime_types = (char *)(uintptr_t)buckets[i].types,
            .size_limit = buckets[i].limit,
            .created_ms = ds_now_ms(),
            .updated_ms = ds_now_ms(),
        };
        int rc = ds_db_bucket_insert(db, &bucket);
        if (rc < 0 && rc != -EEXIST)
            return sf_err_set(err, rc, "create bucket %s: %s", bucket.id, strerror(-rc));
    }
    int rc = ds_db_setting_put(db, "buckets_made", "1");
    return rc < 0 ? sf_err_set(err, rc, "create the buckets: %s", strerror(-rc)) : 0;
}

static void
apply_options(struct ds_pace *pace, const struct options *options)
{
    atomic_store(&pace->delay_ms, (int64_t)options->delay_ms);
    atomic_store(&pace->bytes_per_s, (int64_t)(options->mbytes_per_s * 1e6));
    atomic_store(&pace->standard_limit, (uint64_t)options->standard_limit);
    atomic_store(&pace->global_limit, (uint64_t)options->global_limit);
}

static int
open_server(struct ds_server *server, const struct options *options, struct sf_err *err)
{
    int rc = ds_project_open(options->data, &server->project, err);
    if (rc < 0)
        return rc;
    sf_autofree char *path = NULL;
    if (asprintf(&path, "%s/project.db", options->data) < 0) {
        path = NULL;
        return sf_err_set(err, -ENOMEM, "no memory");
    }
    server->pace = ds_pace_new();
    server->faults = ds_faults_new();
    server->log = ds_log_new();
    server->policies = ds_policies_new();
    server->providers = ds_providers_new();
    server->repeats = server->pace ? ds_repeats_new(server->pace) : NULL;
    if (!server->repeats || !server->faults || !server->log || !server->policies ||
        !server->providers)
        return sf_err_set(err, -ENOMEM, "no memory");
    apply_options(server->pace, options);
    rc = ds_db_open(path, &server->db, err);
    if (rc == 0)
        rc = ds_tables_create(server->db, err);
    if (rc == 0)
        rc = ds_project_load_keys(server->project, server->db, err);
    if (rc == 0)
        rc = ds_store_open(server->project->dir_fd, &server->store, err);
    if (rc == 0)
        rc = ds_tus_open(server->project->dir_fd, server->db, server->store, server->pace,
                         &server->tus, err);
    if (rc == 0)
        rc = make_buckets(server->db, err);
    if (rc == 0 && server->project->unclean)
        rc = ds_store_sweep(server->store, server->db);
    if (rc == 0 && !(server->auth = ds_auth_new(server->project->jwt_secret)))
        rc = sf_err_set(err, -ENOMEM, "no memory");
    for (size_t i = 0; rc == 0 && i < options->import_count; i++)
        rc = ds_import(server, options->imports[i], err);
    return rc;
}

static void
close_server(struct ds_server *server)
{
    ds_repeats_free(server->repeats);
    ds_auth_free(server->auth);
    ds_tus_close(server->tus);
    ds_store_close(server->store);
    ds_db_close(server->db);
    ds_log_free(server->log);
    ds_faults_free(server->faults);
    ds_policies_free(server->policies);
    ds_providers_free(server->providers);
    ds_pace_free(server->pace);
    ds_project_close(server->project);
}

/* Serves until a signal asks to stop. */
static int
serve(struct ds_server *server, const struct options *options, const sigset_t *signals,
      struct sf_err *err)
{
    struct ds_http *http = NULL;
    struct ds_admin *admin = NULL;
    struct ds_project *project = server->project;
    int rc = ds_project_listen(project, server->db, options->host ? options->host : "127.0.0.1",
                               options->port, err);
    if (rc == 0)
        rc = ds_project_write_env(project, err);
    if (rc == 0)
        rc = ds_admin_start(server, project->admin_socket, &admin, err);
    if (rc == 0) {
        project->admin_socket = -1; /* the listener closes it */
        rc = ds_http_start(server, project->api_socket, &http, err);
    }
    if (rc == 0) {
        project->api_socket = -1;
        printf("ready %s\n", project->url);
        fflush(stdout);
        int signal_number;
        sigwait(signals, &signal_number);
        ds_pace_stop(server->pace);
    }
    ds_http_stop(http);
    ds_admin_stop(admin);
    return rc;
}

int
main(int argc, char **argv)
{
    argp_err_exit_status = 2;
    struct options options = {.standard_limit = STANDARD_LIMIT, .global_limit = GLOBAL_LIMIT};
    if (argp_parse(&argp, argc, argv, 0, NULL, &options) != 0)
        return 2;

    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread: all inherit it */
    signal(SIGPIPE, SIG_IGN);
    umask(077); /* the database holds the keys */

    struct ds_server server = {0};
    struct sf_err err = SF_ERR_INIT;
    int rc = open_server(&server, &options, &err);
    if (rc == 0)
        rc = serve(&server, &options, &signals, &err);
    if (rc < 0)
        fprintf(stderr, "supafs-devserver: %s\n", err.msg[0] ? err.msg : strerror(-rc));
    close_server(&server);
    free(options.host);
    free(options.imports);
    return rc < 0 ? 1 : 0;
}
