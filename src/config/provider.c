/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/provider.h"

#include "base/str.h"
#include "config/keys.h"
#include "config/set.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PROVIDERS 64

static const char prefix[] = "SUPAFS_PROVIDER_";

static const struct sf_opt_info settings[] = {
#define SF_PROVIDER_SETTING(id, nm, ty, sh, mn, mx, fl, he)                                        \
    [SF_PS_##id] = {.name = (nm),                                                                  \
                    .shown = (sh),                                                                 \
                    .min = (mn),                                                                   \
                    .max = (mx),                                                                   \
                    .help = (he),                                                                  \
                    .type = SF_OPT_TYPE_##ty,                                                      \
                    .flags = (fl)},
#include "config/provider.def"
#undef SF_PROVIDER_SETTING
};

/* Variables that others use, too. */
static const struct {
    const char *variable, *provider;
    enum sf_provider_setting setting;
} shared[] = {
#define SF_PROVIDER_SETTING(...)
#undef SF_PROVIDER_ENV
#define SF_PROVIDER_ENV(v, p, id) {(v), (p), SF_PS_##id},
#include "config/provider.def"
#undef SF_PROVIDER_SETTING
};

const struct sf_opt_info *
sf_provider_setting_info(enum sf_provider_setting setting)
{
    assert((unsigned)setting < SF_PS_COUNT);
    return &settings[setting];
}

/* ---- names ---------------------------------------------------------------------------------- */

bool
sf_provider_name_ok(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t n = strspn(name, allowed);
    return n > 0 && n <= 32 && name[n] == '\0' && *name != '-' && *name != '_';
}

bool
sf_provider_name_same(const char *a, const char *b)
{
    for (; *a && *b; a++, b++)
        if ((*a == '-' ? '_' : *a) != (*b == '-' ? '_' : *b))
            return false;
    return *a == *b;
}

int
sf_provider_setting_find(const char *name)
{
    int i = 0;
    while (i < SF_PS_COUNT && !sf_provider_name_same(name, settings[i].name))
        i++;
    return i < SF_PS_COUNT ? i : -1;
}

/* The setting at whose name, in capitals, the variable ends, and the length of what stands before;
 * of several (KEY_FILE, ..._FILE) the longest. */
static int
setting_at_end(const char *text, size_t *before)
{
    int found = -1;
    size_t n = strlen(text), best = 0;
    for (int i = 0; i < SF_PS_COUNT; i++) {
        size_t len = strlen(settings[i].name);
        if (len <= best || n < len + 2 || text[n - len - 1] != '_')
            continue;
        size_t k = 0;
        while (k < len &&
               (text[n - len + k] | (settings[i].name[k] == '_' ? 0 : 0x20)) == settings[i].name[k])
            k++;
        if (k < len)
            continue;
        best = len;
        found = i;
        *before = n - len - 1;
    }
    return found;
}

int
sf_provider_setting_find_env(const char *variable, char provider[33], int *rank)
{
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++)
        if (!strcmp(shared[i].variable, variable)) {
            snprintf(provider, 33, "%s", shared[i].provider);
            *rank = 1;
            return (int)shared[i].setting;
        }
    size_t n = 0;
    if (!sf_str_starts(variable, prefix))
        return -1;
    const char *text = variable + sizeof prefix - 1;
    int setting = setting_at_end(text, &n);
    if (setting < 0 || n > 32)
        return -1;
    for (size_t i = 0; i < n; i++)
        provider[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
    provider[n] = '\0';
    *rank = 0;
    return sf_provider_name_ok(provider) ? setting : -1;
}

/* ---- setting -------------------------------------------------------------------------------- */

/* The entry of this name, new if there is none. @file: the name is written in one, which is how the
 * user wants it; a variable cannot hold every name. */
static int
entry(struct sf_config *cfg, const char *name, bool file, struct sf_config_provider **ret,
      const char *where, struct sf_err *err)
{
    SF_VEC_FOREACH (&cfg->providers, p)
        if (sf_provider_name_same(p->name, name)) {
            if (file && !p->from_file)
                snprintf(p->name, sizeof p->name, "%s", name);
            p->from_file |= file;
            *ret = p;
            return 0;
        }
    if (cfg->providers.len == MAX_PROVIDERS)
        return sf_err_set(err, -EINVAL, "%s: there cannot be more than %d providers", where,
                          MAX_PROVIDERS);
    struct sf_config_provider fresh = {.from_file = file};
    snprintf(fresh.name, sizeof fresh.name, "%s", name);
    size_t at = 0;
    while (at < cfg->providers.len && strcmp(cfg->providers.data[at].name, name) < 0)
        at++;
    if (sf_config_provider_vec_insert(&cfg->providers, at, fresh))
        return sf_err_set(err, -ENOMEM, "out of memory");
    *ret = &cfg->providers.data[at];
    return 0;
}

static bool
in_configuration_file(enum sf_origin origin)
{
    return origin == SF_ORIGIN_SYSTEM_FILE || origin == SF_ORIGIN_USER_FILE;
}

static int
check_name(const char *name, const char *where, struct sf_err *err)
{
    char quoted[48];
    if (sf_provider_name_ok(name))
        return 0;
    return sf_err_set(err, -EINVAL,
                      "%s: \"%s\" is no name for a provider; it has at most 32 of a-z, 0-9, - and "
                      "_, and begins with a letter or digit",
                      where, sf_value_quote(name, quoted));
}

int
sf_config_provider_add(struct sf_config *cfg, const char *provider, const char *where,
                       struct sf_err *err)
{
    struct sf_config_provider *p;
    int rc = check_name(provider, where, err);
    return rc ? rc : entry(cfg, provider, true, &p, where, err);
}

int
sf_config_provider_set(struct sf_config *cfg, const char *provider, const char *name,
                       const char *value, const struct sf_source *src, struct sf_err *err)
{
    char quoted[48];
    bool file = in_configuration_file(src->origin);
    struct sf_config_provider *p;
    int rc = check_name(provider, src->where, err);
    if (rc)
        return rc;
    int setting = sf_provider_setting_find(name);
    if (setting < 0)
        return sf_err_set(err, -EINVAL,
                          "%s: a provider has no setting \"%s\"; the manual page supafs(1) lists "
                          "them",
                          src->where, sf_value_quote(name, quoted));
    rc = entry(cfg, provider, file, &p, src->where, err);
    if (rc)
        return rc;
    struct sf_slot *slot = &p->slots[setting];
    if (file && slot->set && slot->rank == (unsigned)src->origin * 16)
        return sf_err_set(err, -EINVAL, "%s: %s of provider %s is set a second time", src->where,
                          settings[setting].name, p->name);
    return sf_slot_set(cfg, slot, &settings[setting], value, src, err);
}

/* ---- key_env -------------------------------------------------------------------------------- */

static const char *
variable(char *const *environment, const char *name)
{
    size_t n = strlen(name);
    for (; environment && *environment; environment++)
        if (!strncmp(*environment, name, n) && (*environment)[n] == '=')
            return *environment + n + 1;
    return NULL;
}

static int
take_env_key(struct sf_config *cfg, struct sf_config_provider *p, char *const *environment,
             const char *env_file, struct sf_err *err)
{
    const struct sf_slot *named = &p->slots[SF_PS_KEY_ENV];
    const char *name = named->value.str, *value = variable(environment, name);
    char *read = NULL;
    char where[200];
    bool file = false;
    struct sf_err own = SF_ERR_INIT;
    int rc = 0;
    if ((!value || !*value) && env_file) {
        rc = sf_key_file_read(env_file, name, &read, &own);
        if (rc == -EPERM || rc == -ENOMEM)
            return sf_err_set(err, rc, "%s", own.msg);
        rc = 0; /* it is not there, and the file itself has been read before */
        value = read;
        file = read != NULL;
    }
    if (value && *value) {
        snprintf(where, sizeof where, "%s in %s", name, file ? env_file : "the environment");
        const struct sf_source src = {.origin = (enum sf_origin)(named->rank / 16),
                                      .rank = named->rank % 16,
                                      .where = where,
                                      .file = file ? env_file : NULL,
                                      .name = name};
        rc = sf_slot_set(cfg, &p->env_key, &settings[SF_PS_KEY], value, &src, err);
    }
    sf_key_wipe(read);
    return rc;
}

int
sf_config_provider_key_env(struct sf_config *cfg, char *const *environment, const char *env_file,
                           struct sf_err *err)
{
    int rc = 0;
    for (size_t i = 0; !rc && i < cfg->providers.len; i++) {
        struct sf_config_provider *p = &cfg->providers.data[i];
        const char *name = p->slots[SF_PS_KEY_ENV].value.str;
        if (name && *name)
            rc = take_env_key(cfg, p, environment, env_file, err);
    }
    return rc;
}

static void
wipe(struct sf_slot *slot)
{
    if (!slot->set)
        return;
    sf_value_fini(&slot->value);
    slot->wiped = true;
}

void
sf_config_provider_wipe(struct sf_config_provider *p)
{
    wipe(&p->slots[SF_PS_KEY]);
    wipe(&p->env_key);
}

void
sf_config_provider_fini(struct sf_config_provider *p)
{
    for (int i = 0; i < SF_PS_COUNT; i++)
        sf_slot_fini(&p->slots[i]);
    sf_slot_fini(&p->env_key);
}

/* ---- asking --------------------------------------------------------------------------------- */

static const struct sf_slot *
slot_of(const struct sf_config *cfg, size_t i, enum sf_provider_setting setting)
{
    assert(i < cfg->providers.len && (unsigned)setting < SF_PS_COUNT);
    return &cfg->providers.data[i].slots[setting];
}

const char *
sf_config_provider_name(const struct sf_config *cfg, size_t i)
{
    return i < cfg->providers.len ? cfg->providers.data[i].name : NULL;
}

const char *
sf_config_provider_str(const struct sf_config *cfg, size_t i, enum sf_provider_setting setting)
{
    assert(setting != SF_PS_KEY);
    const char *s = slot_of(cfg, i, setting)->value.str;
    return s && *s ? s : NULL;
}

bool
sf_config_provider_num(const struct sf_config *cfg, size_t i, enum sf_provider_setting setting,
                       uint64_t *ret)
{
    const struct sf_slot *slot = slot_of(cfg, i, setting);
    if (slot->set)
        *ret = slot->value.num;
    return slot->set;
}

const char *
sf_config_provider_origin(const struct sf_config *cfg, size_t i, enum sf_provider_setting setting)
{
    const char *where = slot_of(cfg, i, setting)->where;
    return where ? where : "default";
}

bool
sf_config_provider_is_foreign(const struct sf_config *cfg, size_t i,
                              enum sf_provider_setting setting)
{
    const struct sf_slot *slot = slot_of(cfg, i, setting);
    unsigned origin = slot->rank / 16;
    return (origin == SF_ORIGIN_ENVIRONMENT || origin == SF_ORIGIN_ENV_FILE) &&
           slot->rank % 16 < 15;
}

/* ---- the key -------------------------------------------------------------------------------- */

void
sf_provider_key_choice_fini(struct sf_provider_key_choice *c)
{
    sf_key_wipe(c->key);
    free(c->file);
    free(c->variable);
    free(c->label);
    *c = (struct sf_provider_key_choice){0};
}

static bool
is_there(const struct sf_slot *slot)
{
    return slot->set && slot->value.str && *slot->value.str;
}

/* 0 or -ENOMEM. */
static int
fill(struct sf_provider_key_choice *c, const struct sf_slot *slot, bool path)
{
    if (path) {
        c->file = strdup(slot->value.str);
        int n = asprintf(&c->label, "key_file %s", slot->value.str);
        if (n < 0)
            c->label = NULL;
        return c->file && c->label ? 0 : -ENOMEM;
    }
    c->key = strdup(slot->value.str);
    c->label = strdup(slot->where);
    if (slot->file) {
        c->file = strdup(slot->file);
        c->variable = strdup(slot->name);
    }
    return c->key && c->label && (!slot->file || (c->file && c->variable)) ? 0 : -ENOMEM;
}

int
sf_config_provider_key(const struct sf_config *cfg, size_t i, struct sf_provider_key_choice *out,
                       struct sf_err *err)
{
    assert(i < cfg->providers.len);
    const struct sf_config_provider *p = &cfg->providers.data[i];
    const struct sf_slot *ways[] = {&p->slots[SF_PS_KEY], &p->env_key, &p->slots[SF_PS_KEY_FILE]};
    const struct sf_slot *best = NULL;
    for (size_t k = 0; k < sizeof ways / sizeof *ways; k++)
        if (is_there(ways[k]) && (!best || ways[k]->rank > best->rank))
            best = ways[k];
    if (!best) {
        const char *env = sf_config_provider_str(cfg, i, SF_PS_KEY_ENV);
        return env ? sf_err_set(err, -ENOKEY, "provider %s has no key: %s is not set", p->name, env)
                   : sf_err_set(err, -ENOKEY,
                                "provider %s has no key; give it key_file, key_env or key",
                                p->name);
    }
    struct sf_provider_key_choice c = {0};
    if (fill(&c, best, best == &p->slots[SF_PS_KEY_FILE])) {
        sf_provider_key_choice_fini(&c);
        return sf_err_set(err, -ENOMEM, "out of memory");
    }
    *out = c;
    return 0;
}
