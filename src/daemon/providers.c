/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "daemon/providers.h"

#include "base/clock.h"
#include "base/str.h"
#include "config/config.h"
#include "daemon/internal.h"
#include "observe/log.h"
#include "provider/want.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- start and reload ------------------------------------------------------------------------
 */

int
providers_read(struct daemon *d, struct sf_outcome *o)
{
    struct sf_err err = SF_ERR_INIT;
    if (sf_provider_confs_read(d->cfg, &d->confs, &err) < 0)
        return sf_outcome_fail(o, sf_exit_of_config(&err), "%s", err.msg);
    return 0;
}

void
providers_open(struct daemon *d)
{
    struct sf_err err = SF_ERR_INIT;
    bool tables = strcmp(sf_config_str(d->cfg, SF_OPT_TABLES), "off") != 0;
    const struct sf_providers_opts opts = {.state_dir = d->dirs.state,
                                           .storage = tables ? d->storage : NULL};
    if (!d->confs.n)
        return;
    for (size_t i = 0; i < d->confs.n; i++) {
        const char *trouble = sf_provider_trouble(&d->confs.all[i]);
        if (*trouble)
            sf_warn("daemon", "event=provider-not-usable provider=%s err=%s", d->confs.all[i].name,
                    trouble);
    }
    if (sf_providers_open(d->http, &d->confs, &opts, &d->providers, &err) < 0) {
        snprintf(d->providers_trouble, sizeof d->providers_trouble, "%s", err.msg);
        sf_warn("daemon", "event=providers-not-opened err=%s", err.msg);
    }
}

void
providers_reload(struct daemon *d)
{
    for (size_t i = 0; i < d->confs.n; i++) {
        const struct sf_provider_conf *conf = &d->confs.all[i];
        struct sf_err err = SF_ERR_INIT;
        int rc = sf_provider_key_reload(conf, true, &err);
        if (rc < 0)
            sf_warn("daemon", "event=key-not-reloaded provider=%s key=%s err=%s", conf->name,
                    sf_provider_key_label(conf), err.msg);
        else if (rc)
            sf_info("daemon", "event=key-reloaded provider=%s key=%s changed=1", conf->name,
                    sf_provider_key_label(conf));
    }
}

/* ---- how it goes -----------------------------------------------------------------------------
 */

/* In a word, and for a person. */
static const char *
state_of(const struct daemon *d, const struct sf_provider_conf *conf,
         const struct sf_gate_figures *g)
{
    static const char *const names[] = {[SF_GATE_OPEN] = "ready",
                                        [SF_GATE_WAITS] = "waits",
                                        [SF_GATE_CLOSED] = "rests",
                                        [SF_GATE_TRIES] = "tries again"};
    return !d->providers || *sf_provider_trouble(conf) ? "cannot be used" : names[g->state & 3];
}

/* Why it is not ready; "" = it is. */
static const char *
reason_of(const struct daemon *d, const struct sf_provider_conf *conf,
          const struct sf_gate_figures *g)
{
    if (*sf_provider_trouble(conf))
        return sf_provider_trouble(conf);
    if (!d->providers)
        return d->providers_trouble;
    return g->state == SF_GATE_OPEN ? "" : g->last.text;
}

static double
seconds_until(const struct sf_gate_figures *g)
{
    int64_t ms = g->until_ms ? g->until_ms - sf_clock_ms() : 0;
    return ms > 0 ? (double)ms / 1000 : 0;
}

static void
print_one(struct daemon *d, const struct sf_provider_conf *conf, struct sf_buf *out)
{
    struct sf_providers_figures f = {.ids = 0};
    if (d->providers)
        (void)sf_providers_figures(d->providers, conf->name, &f);
    const char *state = state_of(d, conf, &f.gate), *reason = reason_of(d, conf, &f.gate);
    sf_buf_printf(out, "provider_%s: %s", conf->name, state);
    if (seconds_until(&f.gate) > 0)
        sf_buf_printf(out, " for %.0f s", seconds_until(&f.gate));
    if (*reason)
        sf_buf_printf(out, ": %s", reason);
    sf_buf_puts(out, "\n");
    if (!strcmp(state, "cannot be used"))
        return;
    sf_buf_printf(out,
                  "provider_%s_requests: %u of %u, %u wait; since the start %" PRIu64
                  ", turned away %" PRIu64 "\n",
                  conf->name, f.gate.used, f.gate.slots, f.gate.waiting, f.gate.passed,
                  f.gate.refused);
    sf_buf_printf(out,
                  "provider_%s_files: %" PRIu64 " ids known; uploaded %" PRIu64 " (%" PRIu64
                  " bytes), taken over %" PRIu64 ", failed %" PRIu64 ", under way %u\n",
                  conf->name, f.ids, f.uploads, f.bytes, f.shared, f.failed, f.working + f.waiting);
    if (f.last_error[0])
        sf_buf_printf(out, "provider_%s_last_error: %s\n", conf->name, f.last_error);
}

void
providers_print(struct daemon *d, struct sf_buf *out)
{
    for (size_t i = 0; i < d->confs.n; i++)
        print_one(d, &d->confs.all[i], out);
}

static json_t *
one_json(struct daemon *d, const struct sf_provider_conf *conf)
{
    struct sf_providers_figures f = {.ids = 0};
    if (d->providers)
        (void)sf_providers_figures(d->providers, conf->name, &f);
    const struct {
        const char *name;
        uint64_t value;
    } all[] = {
        {"slots", f.gate.slots},     {"slots_used", f.gate.used},  {"waiting", f.gate.waiting},
        {"requests", f.gate.passed}, {"refused", f.gate.refused},  {"ids", f.ids},
        {"wants", f.wants},          {"wants_waiting", f.waiting}, {"wants_working", f.working},
        {"uploads", f.uploads},      {"uploaded_bytes", f.bytes},  {"shared", f.shared},
        {"failed", f.failed}};
    json_t *o =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:f}", "type", conf->type->name, "state",
                  state_of(d, conf, &f.gate), "reason", reason_of(d, conf, &f.gate), "last_error",
                  f.last_error, "tables", f.tables, "seconds_to_wait", seconds_until(&f.gate));
    for (size_t i = 0; o && i < sizeof all / sizeof *all; i++)
        json_object_set_new(o, all[i].name, json_integer((json_int_t)all[i].value));
    return o;
}

void
providers_json(struct daemon *d, json_t *root)
{
    json_t *all = json_object();
    for (size_t i = 0; all && i < d->confs.n; i++)
        json_object_set_new(all, d->confs.all[i].name, one_json(d, &d->confs.all[i]));
    json_object_set_new(root, "providers", all);
}
