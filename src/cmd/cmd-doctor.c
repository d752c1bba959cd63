/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cmd.h"

#include "base/str.h"
#include "config/config.h"
#include "config/value.h"
#include "daemon/exit.h"
#include "setup/doctor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct doctor_line {
    struct settings_line set;
    const char *project, *point, *bundle;
    bool json;
};

/* One word may be either: the path of a directory is no name of a project. */
static bool
is_path(const char *word)
{
    struct stat st;
    return strchr("/.~", *word) || (stat(word, &st) == 0 && S_ISDIR(st.st_mode));
}

static error_t
take_word(struct doctor_line *l, char *arg, const struct argp_state *state)
{
    if (!l->project && !l->point && !is_path(arg))
        l->project = arg;
    else if (!l->point)
        l->point = arg;
    else
        argp_error(state, "one project and one mount point are enough");
    return 0;
}

static error_t
parse(int key, char *arg, struct argp_state *state)
{
    struct doctor_line *l = state->input;
    switch (key) {
    case 'j':
        l->json = true;
        return 0;
    case 'b':
        l->bundle = arg;
        return 0;
    case ARGP_KEY_ARG:
        return take_word(l, arg, state);
    default:
        return settings_option(&l->set, key, arg, state);
    }
}

static const struct argp_option options[] = {
    {NULL, 'o', "OPTION[,OPTION...]", 0, "Set options, as for supafs mount", 0},
    {"env-file", 'e', "FILE", 0, "Read NAME=value lines, as .env has them", 0},
    {"json", 'j', NULL, 0, "Print one JSON object", 0},
    {"bundle", 'b', "FILE", 0, "Also write what a helper needs, without secrets, as a tar", 0},
    {0}};

static const struct argp argp = {
    options,
    parse,
    "[URL|PROJECT] [MOUNTPOINT]",
    "Look at all that a mount needs, and tell what to do where something is wrong.\v"
    "Give the arguments that `supafs mount` would get. A small object is stored and removed again, "
    "unless -o ro is set; nothing else is changed. FILE may end in .tar, .tar.gz or .tgz.",
    NULL,
    NULL,
    NULL};

static void
print_row(void *arg, const struct sf_doctor_row *row)
{
    (void)arg;
    say(stdout, "%-8s%-14s %s", sf_doctor_word(row->result), row->name, row->said);
    if (*row->todo)
        say(stdout, "%23s-> %s", "", row->todo);
    fflush(stdout);
}

static void
print_sum(const struct sf_doctor *d)
{
    unsigned failed = sf_doctor_count(d, SF_DOCTOR_FAIL);
    unsigned warned = sf_doctor_count(d, SF_DOCTOR_WARN);
    say(stdout, "%u ok, %u warning%s, %u failed, %u skipped", sf_doctor_count(d, SF_DOCTOR_OK),
        warned, plural(warned), failed, sf_doctor_count(d, SF_DOCTOR_SKIPPED));
}

static int
examine(const struct doctor_line *l, struct sf_doctor *d)
{
    struct sf_err err = SF_ERR_INIT;
    if (sf_doctor_run(d, l->json ? NULL : print_row, NULL) == -EINTR)
        return EXIT_INTERRUPTED;
    if (l->json) {
        json_t *root = sf_doctor_json(d);
        if (!root) {
            complain("out of memory");
            return SF_EXIT_FAILED;
        }
        say_json(root);
        json_decref(root);
    } else {
        print_sum(d);
    }
    if (l->bundle && sf_doctor_bundle(d, l->bundle, &err) < 0) {
        complain("%s", err.msg);
        return SF_EXIT_FAILED;
    }
    if (l->bundle && !l->json)
        say(stdout, "the bundle is %s", l->bundle);
    return sf_doctor_count(d, SF_DOCTOR_FAIL) ? SF_EXIT_SICK : SF_EXIT_OK;
}

int
cmd_doctor(int argc, char **argv)
{
    struct doctor_line l = {0};
    struct sf_doctor *d = NULL;
    error_t bad = argp_parse(&argp, argc, argv, 0, NULL, &l);
    if (bad) {
        complain("%s", strerror(bad));
        return SF_EXIT_USAGE;
    }
    const struct sf_config_sources src = {
        .argument = l.project, .mount_options = l.set.options, .env_file = l.set.env_file};
    const struct sf_doctor_args args = {
        .sources = &src, .point = l.point, .read_mount = control_read};
    if (sf_doctor_new(&args, &d) < 0) {
        complain("out of memory");
        return SF_EXIT_FAILED;
    }
    int rc = examine(&l, d);
    sf_doctor_free(d);
    return rc;
}
