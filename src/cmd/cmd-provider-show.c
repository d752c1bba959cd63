/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/provider.h"

#include "control/provider.h"
#include "daemon/exit.h"
#include "http/http.h"
#include "provider/call.h"
#include "provider/route.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

/* ls, check and why: rows that a mount says, or that are made here in the same way. */

struct provider_out
provider_out_begin(const struct provider_line *l, const char *point)
{
    return (struct provider_out){.point = point, .all = l->json ? json_array() : NULL};
}

void
provider_out_end(struct provider_out *o)
{
    if (o->all)
        say_json(o->all);
    else if (o->point)
        say(stdout, "(by the mount %s)", o->point);
    else
        say(stdout, "(by this command's own configuration; no mount was asked)");
    json_decref(o->all);
    o->all = NULL;
}

/* Whether that was all: JSON is printed at the end. */
static bool
collected(struct provider_out *o, const json_t *row)
{
    o->rows++;
    if (!o->all)
        return false;
    json_t *copy = json_copy((json_t *)(uintptr_t)row);
    json_object_set_new(copy, "mount", o->point ? json_string(o->point) : json_null());
    json_array_append_new(o->all, copy);
    return true;
}

/* One that was made here. */
static void
pass(struct provider_out *o, provider_row_fn fn, json_t *row)
{
    if (row)
        fn(o, row);
    json_decref(row);
}

static int
no_memory(void)
{
    complain("out of memory");
    return SF_EXIT_FAILED;
}

static int
no_such(const char *name)
{
    complain("no provider is called %s; `supafs provider ls` shows them", name);
    return SF_EXIT_USAGE;
}

/* ---- ls ------------------------------------------------------------------------------------- */

static void
say_now(const json_t *row)
{
    char until[40] = "", age[16];
    const char *why = provider_str(row, "why"), *last = provider_str(row, "last_error");
    int64_t left = provider_num(row, "until");
    if (left)
        snprintf(until, sizeof until, " for %s", human_age(left, age));
    say(stdout, "%28snow: %s%s%s%s; %" PRId64 " of %" PRId64 " slots used, %" PRId64 " waiting", "",
        provider_str(row, "state"), until, *why ? ": " : "", why, provider_num(row, "used"),
        provider_num(row, "slots"), provider_num(row, "waiting"));
    say(stdout,
        "%28sids: %" PRId64 "; asked for: %" PRId64 ", uploaded: %" PRId64 ", failed: %" PRId64, "",
        provider_num(row, "ids"), provider_num(row, "wants"), provider_num(row, "uploads"),
        provider_num(row, "failed"));
    if (*last)
        say(stdout, "%28slast error: %s", "", last);
}

void
provider_out_state(void *out, const json_t *row)
{
    struct provider_out *o = out;
    if (collected(o, row))
        return;
    if (o->rows == 1)
        say(stdout, "%-12s %-7s %5s  %-16s  %s", "NAME", "TYPE", "ORDER", "ACCOUNT", "ADDRESS");
    const char *base = provider_str(row, "base_url"), *model = provider_str(row, "model");
    const char *trouble = provider_str(row, "trouble");
    say(stdout, "%-12s %-7s %5" PRId64 "  %-16s  %s", provider_str(row, "name"),
        provider_str(row, "type"), provider_num(row, "order"), provider_str(row, "account"),
        *base ? base : "-");
    say(stdout, "%28skey: %s; files: %s%s%s", "", provider_str(row, "key"),
        provider_str(row, "purpose"), *model ? "; model: " : "", model);
    if (*trouble)
        say(stdout, "%28scannot be used: %s", "", trouble);
    else if (*provider_str(row, "state"))
        say_now(row);
}

static void
say_none(const struct provider_out *o)
{
    if (!o->rows && !o->all)
        say(stdout, "no provider is configured (supafs(1), PROVIDERS)");
}

int
provider_ls(const struct provider_line *l, const struct sf_provider_confs *confs)
{
    struct provider_out o = provider_out_begin(l, NULL);
    for (size_t i = 0; i < confs->n; i++)
        pass(&o, provider_out_state, sf_provider_conf_json(&confs->all[i]));
    say_none(&o);
    provider_out_end(&o);
    return SF_EXIT_OK;
}

/* Of a mount, or -1: none is meant, or it is too old. */
static int
by_mount(const struct provider_line *l, char *point, const char *const *words, provider_row_fn fn,
         struct provider_out *o)
{
    *o = provider_out_begin(l, point);
    int rc = provider_ask(point, words, fn, o);
    if (rc == -ENOSYS) {
        if (l->point)
            complain("%s is a mount of an older version, which knows of no providers", point);
        json_decref(o->all);
        return l->point ? SF_EXIT_FAILED : -1;
    }
    say_none(o);
    provider_out_end(o);
    return rc < 0 ? SF_EXIT_FAILED : SF_EXIT_OK;
}

int
provider_ls_mount(const struct provider_line *l)
{
    static const char *const words[] = {"provider-states", NULL};
    struct provider_out o;
    char *point = NULL;
    if (provider_point(l, !l->point, &point) < 0)
        return l->point ? SF_EXIT_USAGE : -1;
    int code = by_mount(l, point, words, provider_out_state, &o);
    free(point);
    return code;
}

/* ---- check ----------------------------------------------------------------------------------- */

void
provider_out_checked(void *out, const json_t *row)
{
    struct provider_out *o = out;
    bool well = provider_flag(row, "ok");
    o->bad += !well;
    if (!collected(o, row))
        say(stdout, "%-6s %-12s %s (%" PRId64 " ms)", well ? "ok" : "fail",
            provider_str(row, "name"), provider_str(row, "text"), provider_num(row, "ms"));
    fflush(stdout);
}

static void
check_one(struct provider_out *o, struct sf_http *http, const struct sf_provider_conf *conf)
{
    struct sf_provider *p = NULL;
    (void)!sf_provider_open(http, conf, &p);
    pass(o, provider_out_checked, sf_provider_check_json(p, conf));
    sf_provider_free(p);
}

int
provider_check(const struct provider_line *l, const struct sf_provider_confs *confs)
{
    const char *name = l->n_args ? l->args[0] : NULL;
    const struct sf_provider_conf *only = name ? sf_provider_conf_find(confs, name) : NULL;
    const struct sf_http_opts opts = {.ca_file = l->ca_file, .insecure = l->insecure};
    struct provider_out o = provider_out_begin(l, NULL);
    struct sf_err err = SF_ERR_INIT;
    struct sf_http *http = NULL;
    if (name && !only) {
        json_decref(o.all);
        return no_such(name);
    }
    if (sf_http_new(&opts, &http, &err) < 0) {
        complain("%s", err.msg);
        json_decref(o.all);
        return SF_EXIT_FAILED;
    }
    for (size_t i = 0; i < confs->n; i++)
        if (!only || only == &confs->all[i])
            check_one(&o, http, &confs->all[i]);
    sf_http_free(http);
    say_none(&o);
    provider_out_end(&o);
    return o.bad ? SF_EXIT_FAILED : SF_EXIT_OK;
}

int
provider_check_mount(const struct provider_line *l)
{
    const char *words[] = {"provider-check", l->n_args ? l->args[0] : NULL, NULL};
    struct provider_out o;
    char *point = NULL;
    if (provider_point(l, !l->point, &point) < 0)
        return l->point ? SF_EXIT_USAGE : -1;
    int code = by_mount(l, point, words, provider_out_checked, &o);
    free(point);
    return code == SF_EXIT_OK && o.bad ? SF_EXIT_FAILED : code;
}

/* ---- why ------------------------------------------------------------------------------------ */

void
provider_out_choice(void *out, const json_t *row)
{
    struct provider_out *o = out;
    char place[24] = "-";
    bool taken = provider_flag(row, "taken");
    o->bad += !taken;
    if (collected(o, row))
        return;
    if (taken)
        snprintf(place, sizeof place, "%u.", o->rows);
    say(stdout, "%-3s %-12s %s", place, provider_str(row, "provider"), provider_str(row, "reason"));
}

static int
say_taken(struct provider_out *o)
{
    bool taken = o->rows > o->bad;
    if (!taken && !o->all)
        say(stdout, "no provider takes this file");
    provider_out_end(o);
    return taken ? SF_EXIT_OK : SF_EXIT_FAILED;
}

/* 0, or the code to exit with, which was said. In a mount the type is what the object has. */
static int
look(const char *path, struct sf_provider_facts *facts, char mime[256])
{
    struct stat st;
    const char *slash = strrchr(path, '/');
    if (stat(path, &st) < 0) {
        complain("%s: %s", path, strerror(errno));
        return SF_EXIT_FAILED;
    }
    if (!S_ISREG(st.st_mode)) {
        complain("%s: only files are uploaded", path);
        return SF_EXIT_USAGE;
    }
    ssize_t n = getxattr(path, "user.supafs.content_type", mime, 255);
    mime[n > 0 ? n : 0] = '\0';
    *facts = (struct sf_provider_facts){.size = (uint64_t)st.st_size,
                                        .name = slash ? slash + 1 : path,
                                        .mime = n > 0 ? mime : NULL};
    return 0;
}

int
provider_why(const struct provider_line *l, const struct sf_provider_confs *confs)
{
    struct sf_route_provider states[SF_ROUTE_MAX] = {0};
    const struct sf_route_policy policy = {.need = SF_RN_FILE_ID, .wanted = l->wanted};
    struct sf_provider_facts facts;
    struct sf_route route;
    char mime[256];
    if (l->wanted && !sf_provider_conf_find(confs, l->wanted))
        return no_such(l->wanted);
    int code = look(l->args[0], &facts, mime);
    if (code)
        return code;
    for (size_t i = 0; i < confs->n && i < SF_ROUTE_MAX; i++)
        states[i] = (struct sf_route_provider){.conf = &confs->all[i], .health = SF_RH_UP};
    if (sf_route(&facts, states, confs->n, &policy, &route) < 0) {
        complain("there are more than %d providers", SF_ROUTE_MAX);
        return SF_EXIT_FAILED;
    }
    struct provider_out o = provider_out_begin(l, NULL);
    if (l->json && !o.all)
        return no_memory();
    for (size_t i = 0; i < route.n; i++)
        pass(&o, provider_out_choice, sf_provider_choice_json(&route.choice[i], confs));
    return say_taken(&o);
}

int
provider_why_mount(const struct provider_line *l)
{
    struct control_place place;
    const char *words[] = {"provider-why", l->wanted ? l->wanted : "auto", place.path, NULL};
    if (control_place_of(l->args[0], &place) < 0)
        return -1;
    struct provider_out o = provider_out_begin(l, place.point);
    int rc = provider_ask(place.point, words, provider_out_choice, &o);
    if (rc < 0) {
        json_decref(o.all);
        return rc == -ENOSYS ? -1 : SF_EXIT_FAILED;
    }
    return say_taken(&o);
}
