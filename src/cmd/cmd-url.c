/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cmd.h"

#include "base/str.h"
#include "daemon/exit.h"

#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

/* Links are extended attributes of the files (docs/guide/attributes.md): whoever may read a file
 * may have one. */

#define SECONDS_USUAL 3600
#define SECONDS_MAX   31536000
#define URL_MAX       16384

struct url_line {
    char **paths;
    int count;
    bool is_public;
    uint64_t seconds;
};

/* "90", "15min", "2h", "7d". 0 or -EINVAL. */
static int
parse_lifetime(const char *text, uint64_t *ret)
{
    static const struct {
        const char *name;
        uint64_t seconds;
    } units[] = {{"", 1}, {"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86400}, {"w", 604800}};
    size_t n = strspn(text, "0123456789");
    char digits[16];
    uint64_t value;
    if (!n || n >= sizeof digits)
        return -EINVAL;
    memcpy(digits, text, n);
    digits[n] = '\0';
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (!strcmp(text + n, units[i].name) && !sf_parse_u64(digits, &value) && value &&
            value <= SECONDS_MAX / units[i].seconds) {
            *ret = value * units[i].seconds;
            return 0;
        }
    return -EINVAL;
}

static error_t
parse(int key, char *arg, struct argp_state *state)
{
    struct url_line *l = state->input;
    switch (key) {
    case 'e':
        if (parse_lifetime(arg, &l->seconds))
            argp_error(state, "--expires is a time from 1s to 365d, written like 90s, 15min, 2h, "
                              "7d or 1w");
        return 0;
    case 'p':
        l->is_public = true;
        return 0;
    case ARGP_KEY_ARGS:
        l->paths = state->argv + state->next;
        l->count = state->argc - state->next;
        return 0;
    case ARGP_KEY_END:
        if (!l->count)
            argp_error(state, "a link to which file?");
        if (l->is_public && l->seconds)
            argp_error(state, "a public link does not end: --public or --expires");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"expires", 'e', "TIME", 0, "How long the link works: 90s, 15min, 2h, 7d (1h)", 0},
    {"public", 'p', NULL, 0, "The link without an end, of a file in a public bucket", 0},
    {0}};

static const struct argp argp = {
    options, parse, "PATH...", "Print a link to each file, which works without a key.",
    NULL,    NULL,  NULL};

static void
complain_of(const char *path, bool is_public, int error)
{
    char sync[400];
    ssize_t n = getxattr(path, "user.supafs.sync", sync, sizeof sync - 1);
    sync[n > 0 ? n : 0] = '\0';
    if (error != ENODATA)
        complain("%s: %s", path, strerror(error));
    else if (n > 0 && strcmp(sync, "clean"))
        complain("%s: it is not in the project yet (%s)", path, sync);
    else if (is_public)
        complain("%s: only files in a public bucket have such a link", path);
    else
        complain("%s: only files that are in the project have a link", path);
}

static int
print_url(const struct url_line *l, const char *path)
{
    char name[64] = "user.supafs.public_url", url[URL_MAX];
    struct control_place place;
    if (control_find(path, &place) < 0)
        return -1;
    int rc = control_answers(place.point);
    if (rc) {
        complain("%s: %s", path, control_trouble(rc));
        return -1;
    }
    if (!l->is_public)
        snprintf(name, sizeof name, "user.supafs.signed_url.%" PRIu64,
                 l->seconds ? l->seconds : SECONDS_USUAL);
    ssize_t n = getxattr(path, name, url, sizeof url - 1);
    if (n < 0) {
        complain_of(path, l->is_public, errno);
        return -1;
    }
    url[n] = '\0';
    say(stdout, "%s", url);
    explicit_bzero(url, sizeof url);
    return 0;
}

int
cmd_url(int argc, char **argv)
{
    struct url_line l = {.seconds = 0};
    error_t bad = argp_parse(&argp, argc, argv, 0, NULL, &l);
    if (bad) {
        complain("%s", strerror(bad));
        return SF_EXIT_USAGE;
    }
    int failed = 0;
    for (int i = 0; i < l.count; i++)
        failed += print_url(&l, l.paths[i]) < 0;
    return failed ? SF_EXIT_FAILED : SF_EXIT_OK;
}
