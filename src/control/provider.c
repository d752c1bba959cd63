/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/provider.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "control/provider-internal.h"

int
provider_known(const struct sf_control_provider *cp, const char *name, struct sf_err *err)
{
    const struct sf_provider_confs *confs = sf_providers_confs(cp->o.providers);
    if (!confs->n)
        return sf_err_set(err, -ENOENT, "this mount has no providers (supafs(1), PROVIDERS)");
    if (name && !sf_provider_conf_find(confs, name))
        return sf_err_set(err, -ENOENT,
                          "this mount has no provider %.40s; `supafs provider ls` shows those that "
                          "it has",
                          name);
    return 0;
}

/* ---- provider-states ------------------------------------------------------------------------- */

static const char *
state_word(const struct sf_provider_conf *conf, const struct sf_gate_figures *g)
{
    static const char *const words[] = {[SF_GATE_OPEN] = "up",
                                        [SF_GATE_WAITS] = "waits",
                                        [SF_GATE_CLOSED] = "rests",
                                        [SF_GATE_TRIES] = "rests"};
    return *sf_provider_trouble(conf) ? "unusable" : words[g->state];
}

static json_t *
state_json(const struct sf_provider_conf *conf, const struct sf_providers_figures *f)
{
    const struct sf_gate_figures *g = &f->gate;
    int64_t left = g->until_ms ? (g->until_ms - sf_clock_ms() + 999) / 1000 : 0;
    json_t *o = sf_provider_conf_json(conf);
    json_t *now = json_pack(
        "{s:s, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:s}", "state",
        state_word(conf, g), "until", (json_int_t)(left > 0 ? left : 0), "why",
        provider_text(g->last.cls != SF_PC_OK ? g->last.text : ""), "slots", (json_int_t)g->slots,
        "used", (json_int_t)g->used, "waiting", (json_int_t)g->waiting, "ids", (json_int_t)f->ids,
        "wants", (json_int_t)f->wants, "uploads", (json_int_t)f->uploads, "failed",
        (json_int_t)f->failed, "shared", (json_int_t)f->shared, "bytes", (json_int_t)f->bytes,
        "last_error", provider_text(f->last_error), "tables", f->tables);
    if (json_object_update(o, now)) {
        json_decref(o);
        o = NULL;
    }
    json_decref(now);
    return o;
}

static int
states(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err)
{
    const struct sf_control_provider *cp = arg;
    const struct sf_provider_confs *confs = sf_providers_confs(cp->o.providers);
    int rc = 0;
    (void)argv;
    if (argc != 1)
        return sf_err_set(err, -EINVAL, "it has no arguments");
    for (size_t i = 0; !rc && i < confs->n; i++) {
        struct sf_providers_figures f = {.ids = 0};
        (void)sf_providers_figures(cp->o.providers, confs->all[i].name, &f);
        rc = provider_say(t, state_json(&confs->all[i], &f));
    }
    return rc;
}

/* ---- provider-check -------------------------------------------------------------------------- */

static int
check(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err)
{
    const struct sf_control_provider *cp = arg;
    const struct sf_provider_confs *confs = sf_providers_confs(cp->o.providers);
    const char *name = argc > 1 ? argv[1] : NULL;
    int rc = argc > 2 ? sf_err_set(err, -EINVAL, "one provider at a time") : 0;
    if (!rc && name)
        rc = provider_known(cp, name, err);
    for (size_t i = 0; !rc && i < confs->n; i++) {
        const struct sf_provider_conf *c = &confs->all[i];
        if (name && !sf_provider_name_same(c->name, name))
            continue;
        if (sf_talk_cancelled(t))
            return -ECANCELED;
        rc = provider_say(t, sf_provider_check_json(sf_providers_one(cp->o.providers, c->name), c));
    }
    return rc;
}

/* ---- provider-why ---------------------------------------------------------------------------- */

static int
say_route(const struct sf_control_provider *cp, struct sf_talk *t, const char *name,
          const struct sf_want_file *file, struct sf_err *err)
{
    struct sf_route *route = malloc(sizeof *route);
    const struct sf_route_policy policy = {.need = SF_RN_FILE_ID,
                                           .wanted = strcmp(name, "auto") ? name : NULL};
    int rc = route ? sf_providers_route(cp->o.providers, file, &policy, route) : -ENOMEM;
    if (rc == -E2BIG)
        (void)!sf_err_set(err, rc, "there are more than %d providers", SF_ROUTE_MAX);
    for (size_t i = 0; rc >= 0 && i < route->n; i++)
        rc = provider_say(
            t, sf_provider_choice_json(&route->choice[i], sf_providers_confs(cp->o.providers)));
    free(route);
    return rc < 0 ? rc : 0;
}

static int
why(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err)
{
    const struct sf_control_provider *cp = arg;
    struct provider_file f;
    struct sf_want_file file;
    if (argc != 3)
        return sf_err_set(err, -EINVAL, "%s NAME PATH is meant", argv[0]);
    bool any = !strcmp(argv[1], "auto");
    if (!any && provider_known(cp, argv[1], err))
        return -ENOENT;
    int rc = provider_file_find(cp, argv[2], &f, err);
    if (rc)
        return rc;
    rc = provider_file_want(&f, &file);
    if (!rc) {
        rc = say_route(cp, t, argv[1], &file, err);
        file.release(file.arg);
    }
    provider_file_close(&f);
    return rc;
}

/* ---- all of them ----------------------------------------------------------------------------- */

int
sf_control_provider_new(struct sf_control *c, const struct sf_control_provider_opts *opts,
                        struct sf_control_provider **ret)
{
    static const struct {
        const char *name;
        sf_verb_fn fn;
    } patient[] = {{"provider-why", why},
                   {"provider-check", check},
                   {"provider-files", provider_verb_files},
                   {"provider-upload", provider_verb_upload},
                   {"provider-adopt", provider_verb_adopt},
                   {"provider-rm", provider_verb_rm},
                   {"provider-rm-id", provider_verb_rm_id},
                   {"provider-prune", provider_verb_prune}};
    struct sf_control_provider *cp = malloc(sizeof *cp);
    if (!cp)
        return -ENOMEM;
    cp->o = *opts;
    int rc = sf_control_add(c, "provider-states", states, cp);
    for (size_t i = 0; !rc && i < sizeof patient / sizeof *patient; i++)
        rc = sf_control_add_patient(c, patient[i].name, patient[i].fn, cp);
    if (rc) {
        free(cp);
        return rc;
    }
    *ret = cp;
    return 0;
}

void
sf_control_provider_free(struct sf_control_provider *cp)
{
    free(cp);
}
