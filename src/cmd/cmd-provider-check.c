/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/provider.h"

#include "base/clock.h"
#include "base/lock.h"
#include "daemon/exit.h"
#include "http/http.h"
#include "provider/call.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* One question to a provider, whose answer costs nothing: which models it has. It shows whether
 * address and key are good. Who has no such list (GLM) is asked for that of its files. */

/* Somebody looks on: for so long it is tried at most. */
#define PATIENCE_MS 10000

struct checked {
    enum sf_provider_route route;
    struct sf_mutex lock; /* leaf; protects what follows */
    struct sf_cond came;
    bool done;
    struct sf_provider_fault fault;
    json_t *body; /* NULL = no JSON */
};

static void
take_reply(void *arg, const struct sf_provider_said *said)
{
    struct checked *c = arg;
    json_t *body = said->body ? json_loadb(said->body, said->len, 0, NULL) : NULL;
    SF_GUARD(&c->lock);
    c->fault = *said->fault;
    c->body = body;
    c->done = true;
    sf_cond_broadcast(&c->came);
}

/* The models that it has, by their ids; -1 = the answer is none. */
static int
count_models(const struct checked *c, const char *wanted, bool *has)
{
    const json_t *list = json_object_get(c->body, "data"), *one;
    size_t i;
    *has = false;
    if (!json_is_array(list))
        return -1;
    json_array_foreach(list, i, one)
    {
        const char *id = json_string_value(json_object_get(one, "id"));
        *has = *has || (id && wanted && !strcmp(id, wanted));
    }
    return (int)json_array_size(list);
}

/* A sentence about one that answered, as it had to or not. Whether it is well. */
static bool
judge(const struct sf_provider_conf *conf, struct checked *c, char *text, size_t size)
{
    bool has;
    if (c->fault.err) {
        snprintf(text, size, "%s", c->fault.text);
        return false;
    }
    if (c->route == SF_PROUTE_LIST) {
        snprintf(text, size, "it lists its files; it has no list of models");
        return true;
    }
    int n = count_models(c, conf->model, &has);
    if (n < 0)
        snprintf(text, size, "it answers, but not with a list of models: is %s its address?",
                 conf->base_url);
    else if (conf->model && !has)
        snprintf(text, size, "it answers, and has %d model%s, but not %s", n, plural((uint64_t)n),
                 conf->model);
    else
        snprintf(text, size, "%d model%s%s%s", n, plural((uint64_t)n), has ? ", also " : "",
                 has ? conf->model : "");
    return n >= 0 && (!conf->model || has);
}

/* false: no memory. */
static bool
ask(struct sf_http *http, const struct sf_provider_conf *conf, struct checked *c)
{
    const char *purpose = c->route == SF_PROUTE_LIST ? conf->purpose : NULL;
    int64_t limit_ms = conf->timeout_ms < PATIENCE_MS ? conf->timeout_ms : PATIENCE_MS;
    const struct sf_provider_ask ask = {.route = c->route,
                                        .purpose = purpose,
                                        .force = true,
                                        .deadline_ms = sf_clock_ms() + limit_ms};
    struct sf_provider *p = NULL;
    json_decref(c->body);
    c->body = NULL;
    c->done = false;
    if (sf_provider_open(http, conf, &p) < 0)
        return false;
    bool asked = sf_provider_ask(p, &ask, take_reply, c) != 0;
    sf_mutex_lock(&c->lock);
    while (asked && !c->done)
        sf_cond_wait(&c->came, &c->lock);
    sf_mutex_unlock(&c->lock);
    sf_provider_free(p);
    return asked;
}

static void
tell(const struct sf_provider_conf *conf, bool well, const char *text, int64_t ms, json_t *all)
{
    if (all)
        json_array_append_new(all, json_pack("{s:s, s:b, s:s, s:I}", "name", conf->name, "ok",
                                             (int)well, "text", text, "ms", (json_int_t)ms));
    else
        say(stdout, "%-6s %-12s %s (%" PRId64 " ms)", well ? "ok" : "fail", conf->name, text, ms);
    fflush(stdout);
}

static bool
check_one(struct sf_http *http, const struct sf_provider_conf *conf, json_t *all)
{
    struct checked c = {.done = false};
    int64_t began = sf_clock_ms();
    char text[700];
    bool well = false;
    snprintf(text, sizeof text, "%s", sf_provider_trouble(conf));
    if (!*text) {
        sf_mutex_init(&c.lock, 0);
        sf_cond_init(&c.came);
        c.route = SF_PROUTE_MODELS;
        bool asked = ask(http, conf, &c);
        if (asked && c.fault.cls == SF_PC_NO_API && conf->type->has_files) {
            c.route = SF_PROUTE_LIST;
            asked = ask(http, conf, &c);
        }
        if (asked)
            well = judge(conf, &c, text, sizeof text);
        else
            snprintf(text, sizeof text, "out of memory");
        json_decref(c.body);
        sf_cond_fini(&c.came);
        sf_mutex_fini(&c.lock);
    }
    tell(conf, well, text, sf_clock_ms() - began, all);
    return well;
}

int
provider_check(const struct provider_line *l, const struct sf_provider_confs *confs)
{
    const struct sf_provider_conf *only = l->path ? sf_provider_conf_find(confs, l->path) : NULL;
    const struct sf_http_opts opts = {.ca_file = l->ca_file, .insecure = l->insecure};
    struct sf_err err = SF_ERR_INIT;
    struct sf_http *http = NULL;
    unsigned failed = 0;
    if (l->path && !only) {
        complain("no provider is called %s; `supafs provider ls` shows them", l->path);
        return SF_EXIT_USAGE;
    }
    if (!l->json && !confs->n)
        say(stdout, "no provider is configured (supafs(1), PROVIDERS)");
    if (sf_http_new(&opts, &http, &err) < 0) {
        complain("%s", err.msg);
        return SF_EXIT_FAILED;
    }
    json_t *all = l->json ? json_array() : NULL;
    for (size_t i = 0; i < confs->n; i++)
        if (!only || only == &confs->all[i])
            failed += !check_one(http, &confs->all[i], all);
    sf_http_free(http);
    if (all)
        say_json(all);
    json_decref(all);
    return failed ? SF_EXIT_FAILED : SF_EXIT_OK;
}
