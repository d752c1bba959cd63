/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/provider.h"

#include "config/config.h"
#include "daemon/exit.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

/* What is done with files is done by a mount. What is only looked at, a mount shows, too, where one
 * is meant; else providers are as this command's own files, environment and -o describe them. */

enum { OPT_PROVIDER = 256, OPT_OWN, OPT_YES, OPT_AGAIN };

enum may { MAY_WANT = 1, MAY_OWN = 2, MAY_YES = 4, MAY_UPLOAD = 8, MAY_POINT = 16 };

static const struct verb {
    const char *name;
    int least, most; /* arguments */
    unsigned may;
    const char *lacks; /* what is asked for where there are too few */
    int (*own)(const struct provider_line *l, const struct sf_provider_confs *confs);
    int (*mount)(const struct provider_line *l);
} verbs[] = {
    {"ls", 0, 0, MAY_OWN | MAY_POINT, "", provider_ls, provider_ls_mount},
    {"check", 0, 1, MAY_OWN | MAY_POINT, "", provider_check, provider_check_mount},
    {"why", 1, 1, MAY_OWN | MAY_WANT, "which file?", provider_why, provider_why_mount},
    {"upload", 1, 1 << 20, MAY_WANT | MAY_UPLOAD, "which files?", NULL, provider_upload},
    {"adopt", 2, 2, MAY_WANT, "which file, and which id is it to have?", NULL, provider_adopt},
    {"rm", 1, 1, MAY_WANT | MAY_POINT, "which file or id?", NULL, provider_rm},
    {"files", 0, 1, MAY_POINT, "", NULL, provider_files},
    {"prune", 0, 1, MAY_POINT | MAY_YES, "", NULL, provider_prune},
};

static const struct verb *
verb_of(const struct provider_line *l)
{
    for (size_t i = 0; l->verb && i < sizeof verbs / sizeof *verbs; i++)
        if (!strcmp(verbs[i].name, l->verb))
            return &verbs[i];
    return NULL;
}

static void
check(const struct provider_line *l, const struct argp_state *state)
{
    const struct verb *v = verb_of(l);
    if (!v) {
        argp_error(state, "ls, check, why, upload, adopt, rm, files or prune is meant");
        return;
    }
    if (l->n_args < v->least)
        argp_error(state, "%s", v->lacks);
    if (l->n_args > v->most)
        argp_error(state, "%s", v->most ? "this is too much at a time" : "ls shows all of them");
    if (l->wanted && !(v->may & MAY_WANT))
        argp_error(state, "--provider is not for %s", v->name);
    if ((l->own || l->set.n_options || l->set.env_file) && !(v->may & MAY_OWN))
        argp_error(state, "%s is done by a mount, with its settings", v->name);
    if (l->point && !(v->may & MAY_POINT))
        argp_error(state, "--mount is not for %s: the path tells it", v->name);
    if (l->point && l->own)
        argp_error(state, "either a mount or --own");
    if (l->yes && !(v->may & MAY_YES))
        argp_error(state, "--yes is for prune");
    if ((l->again || l->deep) && !(v->may & MAY_UPLOAD))
        argp_error(state, "--again and -r are for upload");
}

static error_t
parse(int key, char *arg, struct argp_state *state)
{
    struct provider_line *l = state->input;
    switch (key) {
    case 'j':
        l->json = true;
        return 0;
    case 'm':
        l->point = arg;
        return 0;
    case 'r':
        l->deep = true;
        return 0;
    case OPT_PROVIDER:
        l->wanted = arg;
        return 0;
    case OPT_OWN:
        l->own = true;
        return 0;
    case OPT_YES:
        l->yes = true;
        return 0;
    case OPT_AGAIN:
        l->again = true;
        return 0;
    case ARGP_KEY_ARG:
        if (l->verb)
            return ARGP_ERR_UNKNOWN; /* all that is left comes as one */
        l->verb = arg;
        return 0;
    case ARGP_KEY_ARGS:
        l->args = state->argv + state->next;
        l->n_args = state->argc - state->next;
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
    {"provider", OPT_PROVIDER, "NAME", 0,
     "why, upload, adopt, rm: this one; else the best that takes the file, or where it is", 0},
    {"mount", 'm', "DIR", 0, "ls, check, rm, files, prune: this mount, where there are several", 0},
    {"own", OPT_OWN, NULL, 0, "ls, check, why: by no mount, as with -o and -e", 0},
    {"recursive", 'r', NULL, 0, "upload: the files below a directory", 0},
    {"again", OPT_AGAIN, NULL, 0, "upload: also what has just failed", 0},
    {"yes", OPT_YES, NULL, 0, "prune: delete, instead of only showing it", 0},
    {"env-file", 'e', "FILE", 0, "Read NAME=value lines, as .env has them", 0},
    {NULL, 'o', "OPTION[,OPTION...]", 0, "Set options; see supafs(1)", 0},
    {0}};

static const struct argp argp = {
    options,
    parse,
    "ls\ncheck [NAME]\nwhy PATH\nupload PATH...\nadopt PATH ID\nrm PATH|ID\nfiles [NAME]\n"
    "prune [NAME]",
    "Look after AI providers, and the files that they have."
    "\vls      all of them, and what keeps one from being used\n"
    "check   ask them, or one, for its models: whether address and key are good\n"
    "why     which of them a file would be uploaded to, and why no others\n"
    "upload  print the ids of files, which are uploaded if they have none\n"
    "adopt   a file that is at a provider already is this one\n"
    "rm      delete a file at the provider\n"
    "files   all that providers have, and of which file it is\n"
    "prune   show, or delete, what the mount uploaded and no file needs any more",
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

static int
run_own(struct provider_line *l, const struct verb *v)
{
    struct sf_provider_confs confs = {0};
    int code = load(l, &confs);
    if (code == SF_EXIT_OK) {
        code = v->own(l, &confs);
        sf_provider_confs_fini(&confs);
    }
    free(l->ca_file);
    return code;
}

int
cmd_provider(int argc, char **argv)
{
    struct provider_line l = {.own = false};
    error_t bad = argp_parse(&argp, argc, argv, 0, NULL, &l);
    if (bad) {
        complain("%s", strerror(bad));
        return SF_EXIT_USAGE;
    }
    const struct verb *v = verb_of(&l);
    int code = l.own || l.set.n_options || l.set.env_file ? -1 : v->mount(&l);
    return code >= 0 || !v->own ? code : run_own(&l, v);
}
