/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cmd.h"

#include "daemon/exit.h"

#include <argp.h>
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct status_line {
    const char *point;
    bool json;
};

static error_t
parse(int key, char *arg, struct argp_state *state)
{
    struct status_line *l = state->input;
    switch (key) {
    case 'j':
        l->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (l->point)
            argp_error(state, "one mount point, or none for all");
        l->point = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"json", 'j', NULL, 0, "Print one JSON object, with every counter", 0}, {0}};

static const struct argp argp = {
    options, parse, "[MOUNTPOINT]", "Tell how a mount, or every mount, is doing.", NULL,
    NULL,    NULL};

/* The JSON of one mount, also of one that does not answer. */
static json_t *
one_json(const char *point, int *rc)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    *rc = control_read(point, "stats", &text);
    json_t *root = *rc ? NULL : json_loadb(text.data, text.len, 0, NULL);
    if (!*rc && !root)
        *rc = -EPROTO;
    return root ? root
                : json_pack("{s:s, s:s}", "mountpoint", point, "trouble", control_trouble(*rc));
}

static int
print_json(const struct point_vec *points, bool all)
{
    json_t *root = all ? json_object() : NULL, *list = json_array();
    int rc = 0, failed = 0;
    for (size_t i = 0; i < points->len; i++) {
        json_array_append_new(list, one_json(points->data[i], &rc));
        failed |= rc < 0 && !(all && rc == -EACCES);
    }
    if (all)
        json_object_set(root, "mounts", list);
    else
        root = json_incref(json_array_get(list, 0));
    say_json(root);
    json_decref(list);
    json_decref(root);
    return failed ? SF_EXIT_FAILED : SF_EXIT_OK;
}

static int
print_text(const struct point_vec *points, bool all)
{
    int failed = 0;
    for (size_t i = 0; i < points->len; i++) {
        sf_autobuf struct sf_buf text = SF_BUF_INIT;
        int rc = control_read(points->data[i], "status", &text);
        if (i)
            putchar('\n');
        if (rc < 0)
            say(stdout, "mountpoint: %s", points->data[i]);
        if (rc < 0)
            say(stdout, "trouble: %s", control_trouble(rc));
        else
            say_lines(stdout, sf_buf_str(&text));
        failed |= rc < 0 && !(all && rc == -EACCES); /* others' mounts are their business */
    }
    return failed ? SF_EXIT_FAILED : SF_EXIT_OK;
}

int
cmd_status(int argc, char **argv)
{
    struct status_line l = {0};
    struct point_vec points = {0};
    error_t bad = argp_parse(&argp, argc, argv, 0, NULL, &l);
    if (bad) {
        complain("%s", strerror(bad));
        return SF_EXIT_USAGE;
    }
    int rc = control_points(l.point, &points);
    if (rc == SF_EXIT_OK && l.json)
        rc = print_json(&points, !l.point);
    else if (rc == SF_EXIT_OK && points.len)
        rc = print_text(&points, !l.point);
    else if (rc == SF_EXIT_OK)
        puts("nothing of supafs is mounted");
    control_points_fini(&points);
    return rc;
}
