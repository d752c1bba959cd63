/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/provider.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/lock.h"
#include "provider/call.h"

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
    const char *s = n == 1 ? "" : "s";
    if (n < 0)
        snprintf(text, size, "it answers, but not with a list of models: is %s its address?",
                 conf->base_url);
    else if (conf->model && !has)
        snprintf(text, size, "it answers, and has %d model%s, but not %s", n, s, conf->model);
    else
        snprintf(text, size, "%d model%s%s%s", n, s, has ? ", also " : "", has ? conf->model : "");
    return n >= 0 && (!conf->model || has);
}

/* false: no memory. */
static bool
ask(struct sf_provider *p, const struct sf_provider_conf *conf, struct checked *c)
{
    const char *purpose = c->route == SF_PROUTE_LIST ? conf->purpose : NULL;
    int64_t limit_ms = conf->timeout_ms < PATIENCE_MS ? conf->timeout_ms : PATIENCE_MS;
    const struct sf_provider_ask ask = {.route = c->route,
                                        .purpose = purpose,
                                        .force = true,
                                        .deadline_ms = sf_clock_ms() + limit_ms};
    json_decref(c->body);
    c->body = NULL;
    c->done = false;
    if (!sf_provider_ask(p, &ask, take_reply, c))
        return false;
    sf_mutex_lock(&c->lock);
    while (!c->done)
        sf_cond_wait(&c->came, &c->lock);
    sf_mutex_unlock(&c->lock);
    return true;
}

static bool
check(struct sf_provider *p, const struct sf_provider_conf *conf, char *text, size_t size)
{
    struct checked c = {.route = SF_PROUTE_MODELS};
    bool well = false;
    sf_mutex_init(&c.lock, 0);
    sf_cond_init(&c.came);
    bool asked = ask(p, conf, &c);
    if (asked && c.fault.cls == SF_PC_NO_API && conf->type->has_files) {
        c.route = SF_PROUTE_LIST;
        asked = ask(p, conf, &c);
    }
    if (asked)
        well = judge(conf, &c, text, size);
    json_decref(c.body);
    sf_cond_fini(&c.came);
    sf_mutex_fini(&c.lock);
    return well;
}

json_t *
sf_provider_check_json(struct sf_provider *p, const struct sf_provider_conf *conf)
{
    int64_t began = sf_clock_ms();
    char text[700] = "out of memory";
    const char *trouble = sf_provider_trouble(conf);
    bool well = false;
    if (*trouble)
        snprintf(text, sizeof text, "%s", trouble);
    else if (p)
        well = check(p, conf, text, sizeof text);
    return json_pack("{s:s, s:b, s:s, s:I}", "name", conf->name, "ok", (int)well, "text", text,
                     "ms", (json_int_t)(sf_clock_ms() - began));
}
