/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cmd.h"

#include "base/str.h"
#include "config/config.h"
#include "config/keys.h"
#include "config/value.h"
#include "daemon/daemon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mount_line {
    const char *words[2]; /* [URL|PROJECT] MOUNTPOINT */
    int n_words;
    struct settings_line set;
    bool foreground;
};

static error_t
parse(int key, char *arg, struct argp_state *state)
{
    struct mount_line *l = state->input;
    switch (key) {
    case 'f':
        l->foreground = true;
        return 0;
    case ARGP_KEY_ARG:
        if (l->n_words == 2)
            argp_error(state, "one project and one mount point are enough%s%s",
                       sf_value_is_key(arg) ? "" : ": what is ", sf_value_is_key(arg) ? "" : arg);
        l->words[l->n_words++] = arg;
        return 0;
    case ARGP_KEY_END:
        if (l->n_words == 0)
            argp_error(state, "the mount point is missing");
        return 0;
    default:
        return settings_option(&l->set, key, arg, state);
    }
}

static const struct argp_option options[] = {
    {NULL, 'o', "OPTION[,OPTION...]", 0, "Set options, as -o bucket=B,ro; see supafs(1)", 0},
    {"env-file", 'e', "FILE", 0, "Read NAME=value lines, as .env has them", 0},
    {"foreground", 'f', NULL, 0, "Stay in the foreground; the log goes to stderr", 0},
    {0}};

static const struct argp argp = {
    options,
    parse,
    "[URL|PROJECT] MOUNTPOINT",
    "Make a Supabase project's storage a directory.\v"
    "The project is named by its URL, by a section of a configuration file, or by SUPABASE_URL. "
    "Keys come from the environment (SUPABASE_SERVICE_ROLE_KEY, ...), an env file, or -o "
    "key_file=FILE; never from the command line.",
    NULL,
    NULL,
    NULL};

static int
fail(enum sf_exit code, const char *text)
{
    complain("%s", text);
    return (int)code;
}

/* What went well is for the standard output, what to beware of for the other. */
static void
tell(const struct sf_outcome *said)
{
    const char *line = said->text;
    while (*line) {
        const char *end = strchrnul(line, '\n');
        bool warning = sf_str_starts(line, "warning: ");
        say(warning ? stderr : stdout, "supafs: %.*s", (int)(end - line), line);
        line = *end ? end + 1 : end;
    }
    fflush(stdout);
}

static int
mount_with(const struct mount_line *l, struct sf_config *cfg)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_key_choice key;
    struct sf_outcome said = {0};
    if (sf_config_require_url(cfg, &err) < 0)
        return fail(SF_EXIT_USAGE, err.msg);
    for (size_t i = 0; sf_config_warning(cfg, i); i++)
        complain("warning: %s", sf_config_warning(cfg, i));
    if (sf_keys_choose(cfg, &key, &err) < 0)
        return fail(sf_exit_of_config(&err), err.msg);
    sf_config_wipe_environment(cfg);
    const struct sf_mount_args args = {.cfg = cfg,
                                       .key = &key,
                                       .mountpoint = l->words[l->n_words - 1],
                                       .foreground = l->foreground};
    enum sf_exit code = sf_daemon_mount(&args, tell, &said);
    sf_key_choice_fini(&key);
    if (l->foreground && code == SF_EXIT_OK)
        return 0;
    if (code != SF_EXIT_OK)
        return l->foreground && !said.exit ? (int)code : fail(code, said.text);
    tell(&said);
    return 0;
}

int
cmd_mount(int argc, char **argv)
{
    struct mount_line l = {0};
    struct sf_err err = SF_ERR_INIT;
    struct sf_config *cfg = NULL;
    error_t bad = argp_parse(&argp, argc, argv, 0, NULL, &l);
    if (bad)
        return fail(SF_EXIT_USAGE, strerror(bad));
    const struct sf_config_sources src = {.argument = l.n_words == 2 ? l.words[0] : NULL,
                                          .mount_options = l.set.options,
                                          .env_file = l.set.env_file};
    if (sf_config_new(&cfg) < 0)
        return fail(SF_EXIT_FAILED, "out of memory");
    int rc = sf_config_load(cfg, &src, &err) < 0 ? fail(sf_exit_of_config(&err), err.msg)
                                                 : mount_with(&l, cfg);
    sf_config_free(cfg);
    return rc;
}
