/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/provider.h"

#include "daemon/exit.h"
#include "provider/route.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static int
print_json(json_t *root)
{
    if (!root) {
        complain("out of memory");
        return SF_EXIT_FAILED;
    }
    say_json(root);
    json_decref(root);
    return SF_EXIT_OK;
}

/* ---- ls ------------------------------------------------------------------------------------- */

/* NULL is null: not set. */
static json_t *
words_json(char *const *list)
{
    json_t *a = list ? json_array() : json_null();
    for (; list && *list; list++)
        json_array_append_new(a, json_string(*list));
    return a;
}

/* In seconds: "upload_timeout" and its kin may have a fraction of one. */
static json_t *
seconds_json(int64_t ms)
{
    return json_real((double)ms / 1000);
}

static json_t *
conf_json(const struct sf_provider_conf *c)
{
    char account[65];
    sf_provider_account(c, account);
    json_t *o = json_pack(
        "{s:s, s:s, s:s?, s:s, s:s, s:s, s:o, s:s?, s:I, s:I, s:I}", "name", c->name, "type",
        c->type->name, "base_url", c->base_url, "key", sf_provider_key_label(c), "account", account,
        "purpose", c->purpose, "models", words_json(c->models), "model", c->model, "order",
        (json_int_t)c->order, "concurrency", (json_int_t)c->concurrency, "rpm", (json_int_t)c->rpm);
    json_object_set_new(o, "timeout", seconds_json(c->timeout_ms));
    json_object_set_new(o, "upload_timeout", seconds_json(c->upload_ms));
    json_object_set_new(o, "lifetime", seconds_json(c->lifetime_ms));
    json_object_set_new(o, "max_bytes",
                        c->max_bytes ? json_integer((json_int_t)c->max_bytes) : json_null());
    json_object_set_new(o, "extensions", words_json(c->extensions));
    json_object_set_new(o, "fallback", words_json(c->fallback));
    json_object_set_new(o, "trouble", json_string(sf_provider_trouble(c)));
    return o;
}

static void
say_conf(const struct sf_provider_conf *c)
{
    const char *trouble = sf_provider_trouble(c);
    char account[65];
    sf_provider_account(c, account);
    say(stdout, "%-12s %-7s %5u  %-16s  %s", c->name, c->type->name, c->order, account,
        c->base_url ? c->base_url : "-");
    say(stdout, "%28skey: %s; files: %s%s%s", "", sf_provider_key_label(c), c->purpose,
        c->model ? "; model: " : "", c->model ? c->model : "");
    if (*trouble)
        say(stdout, "%28scannot be used: %s", "", trouble);
}

int
provider_ls(const struct provider_line *l, const struct sf_provider_confs *confs)
{
    if (l->json) {
        json_t *all = json_array();
        for (size_t i = 0; i < confs->n; i++)
            json_array_append_new(all, conf_json(&confs->all[i]));
        return print_json(all);
    }
    if (!confs->n)
        say(stdout, "no provider is configured (supafs(1), PROVIDERS)");
    else
        say(stdout, "%-12s %-7s %5s  %-16s  %s", "NAME", "TYPE", "ORDER", "ACCOUNT", "ADDRESS");
    for (size_t i = 0; i < confs->n; i++)
        say_conf(&confs->all[i]);
    return SF_EXIT_OK;
}

/* ---- why ------------------------------------------------------------------------------------ */

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

static json_t *
route_json(const struct sf_route *r, const struct sf_provider_confs *confs)
{
    json_t *all = json_array();
    for (size_t i = 0; i < r->n; i++)
        json_array_append_new(
            all, json_pack("{s:s, s:b, s:s}", "provider", confs->all[r->choice[i].provider].name,
                           "taken", (int)r->choice[i].taken, "reason", r->choice[i].reason));
    return all;
}

static void
say_route(const struct sf_route *r, const struct sf_provider_confs *confs)
{
    for (size_t i = 0; i < r->n; i++) {
        const struct sf_route_choice *c = &r->choice[i];
        char place[24] = "-";
        if (c->taken)
            snprintf(place, sizeof place, "%zu.", i + 1);
        say(stdout, "%-3s %-12s %s", place, confs->all[c->provider].name, c->reason);
    }
    if (!r->taken)
        say(stdout, "no provider takes this file");
}

int
provider_why(const struct provider_line *l, const struct sf_provider_confs *confs)
{
    struct sf_route_provider states[SF_ROUTE_MAX] = {0};
    const struct sf_route_policy policy = {.need = SF_RN_FILE_ID, .wanted = l->wanted};
    struct sf_provider_facts facts;
    struct sf_route route;
    char mime[256];
    if (l->wanted && !sf_provider_conf_find(confs, l->wanted)) {
        complain("no provider is called %s; `supafs provider ls` shows them", l->wanted);
        return SF_EXIT_USAGE;
    }
    int code = look(l->path, &facts, mime);
    if (code)
        return code;
    for (size_t i = 0; i < confs->n && i < SF_ROUTE_MAX; i++)
        states[i] = (struct sf_route_provider){.conf = &confs->all[i], .health = SF_RH_UP};
    if (sf_route(&facts, states, confs->n, &policy, &route) < 0) {
        complain("there are more than %d providers", SF_ROUTE_MAX);
        return SF_EXIT_FAILED;
    }
    code = SF_EXIT_OK;
    if (l->json)
        code = print_json(route_json(&route, confs));
    else
        say_route(&route, confs);
    return code ? code : route.taken ? SF_EXIT_OK : SF_EXIT_FAILED;
}
