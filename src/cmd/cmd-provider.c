/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/provider.h"

#include "config/config.h"
#include "daemon/exit.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

/* Providers as this command's own files, environment and -o describe them: no mount is asked. */

enum { OPT_PROVIDER = 256 };

static bool
is_verb(const struct provider_line *l, const char *name)
{
    return l->verb && strcmp(l->verb, name) == 0;
}

static void
check(const struct provider_line *l, const struct argp_state *state)
{
    bool why = is_verb(l, "why");
    if (!why && !is_verb(l, "ls") && !is_verb(l, "check"))
        argp_error(state, "ls, check or why is meant");
    if (why && !l->path)
        argp_error(state, "which file?");
    if (is_verb(l, "ls") && l->path)
        argp_error(state, "ls shows all of them");
    if (!why && l->wanted)
        argp_error(state, "--provider is for why");
}

static error_t
parse(int key, char *arg, struct argp_state *state)
{
    struct provider_line *l = state->input;
    switch (key) {
    case 'j':
        l->json = true;
        return 0;
    case OPT_PROVIDER:
        l->wanted = arg;
        return 0;
    case ARGP_KEY_ARG:
        if (!l->verb)
            l->verb = arg;
        else if (!l->path)
            l->path = arg;
        else
            argp_error(state, "one file or provider at a time");
        return 0;
    case ARGP_KEY_END:
        check(l, state);
        return 0;
    default:
        return settings_option(&l->set, key, arg, state);
    }
}

static const struct argp_option options[] = {
    {"json", 'j', NULL, 0, "Print JSON", 0},
    {"provider", OPT_PROVIDER, "NAME", 0, "why: ask for this one, not for the best", 0},
    {"env-file", 'e', "FILE", 0, "Read NAME=value lines, as .env has them", 0},
    {NULL, 'o', "OPTION[,OPTION...]", 0, "Set options; see supafs(1)", 0},
    {0}};

static const struct argp argp = {
    options,
    parse,
    "ls\ncheck [NAME]\nwhy PATH",
    "Look at the AI providers that the configuration and the environment know."
    "\vls      all of them, and what keeps one from being used\n"
    "check   ask each of them, or one, for its models: whether address and key are good\n"
    "why     which of them a file would be uploaded to, in which order, and why no others",
    NULL,
    NULL,
    NULL};

/* Nothing that runs later has a key but what reads it from @confs. */
static int
load(struct provider_line *l, struct sf_provider_confs *confs)
{
    const struct sf_config_sources src = {.mount_options = l->set.options,
                                          .env_file = l->set.env_file};
    struct sf_err err = SF_ERR_INIT;
    struct sf_config *cfg = NULL;
    int code = SF_EXIT_OK;
    if (sf_config_new(&cfg) < 0) {
        complain("out of memory");
        return SF_EXIT_FAILED;
    }
    if (sf_config_load(cfg, &src, &err) < 0 || sf_provider_confs_read(cfg, confs, &err) < 0) {
        complain("%s", err.msg);
        code = (int)sf_exit_of_config(&err);
    }
    for (size_t i = 0; code == SF_EXIT_OK && sf_config_warning(cfg, i); i++)
        complain("warning: %s", sf_config_warning(cfg, i));
    const char *ca_file = sf_config_str(cfg, SF_OPT_CA_FILE);
    l->ca_file = ca_file ? strdup(ca_file) : NULL;
    l->insecure = sf_config_bool(cfg, SF_OPT_INSECURE);
    if (code == SF_EXIT_OK && ca_file && !l->ca_file) {
        complain("out of memory");
        sf_provider_confs_fini(confs);
        code = SF_EXIT_FAILED;
    }
    sf_config_wipe_environment(cfg);
    sf_config_free(cfg);
    return code;
}

int
cmd_provider(int argc, char **argv)
{
    struct provider_line l = {0};
    struct sf_provider_confs confs = {0};
    error_t bad = argp_parse(&argp, argc, argv, 0, NULL, &l);
    if (bad) {
        complain("%s", strerror(bad));
        return SF_EXIT_USAGE;
    }
    int code = load(&l, &confs);
    if (code == SF_EXIT_OK) {
        code = is_verb(&l, "ls")      ? provider_ls(&l, &confs)
               : is_verb(&l, "check") ? provider_check(&l, &confs)
                                      : provider_why(&l, &confs);
        sf_provider_confs_fini(&confs);
    }
    free(l.ca_file);
    return code;
}
