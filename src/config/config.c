/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/config.h"

#include "base/cleanup.h"
#include "config/set.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int
sf_config_new(struct sf_config **ret)
{
    struct sf_config *cfg = calloc(1, sizeof *cfg);
    if (!cfg)
        return -ENOMEM;
    sf_buf_init(&cfg->kernel_options);
    for (int i = 0; i < SF_OPT_COUNT; i++) {
        const char *def = sf_opt_info((enum sf_opt)i)->def;
        if (!def)
            continue;
        int rc = sf_value_parse((enum sf_opt)i, def, &cfg->slots[i].value);
        assert(rc != -EINVAL); /* a row of the table with a bad default */
        if (rc) {
            sf_config_free(cfg);
            return rc;
        }
        cfg->slots[i].set = true;
    }
    *ret = cfg;
    return 0;
}

void
sf_slot_fini(struct sf_slot *slot)
{
    sf_value_fini(&slot->value);
    free(slot->where);
    free(slot->file);
    free(slot->name);
}

void
sf_pending_fini(struct sf_pending *p)
{
    free(p->profile);
    free(p->where);
    free(p->base);
    free(p->file);
    free(p->name);
    if (p->text)
        explicit_bzero(p->text, strlen(p->text)); /* may be a key */
    free(p->text);
}

void
sf_config_drop_pending(struct sf_config *cfg)
{
    SF_VEC_FOREACH (&cfg->pending, p)
        sf_pending_fini(p);
    sf_pending_vec_fini(&cfg->pending);
}

void
sf_config_wipe_keys(struct sf_config *cfg)
{
    for (int i = 0; i < SF_OPT_COUNT; i++) {
        struct sf_slot *slot = &cfg->slots[i];
        if (!(sf_opt_info((enum sf_opt)i)->flags & SF_OPT_F_SECRET) || !slot->set)
            continue;
        sf_value_fini(&slot->value);
        slot->wiped = true;
    }
    SF_VEC_FOREACH (&cfg->providers, p)
        sf_config_provider_wipe(p);
}

/* Whether this variable holds a key: by its name, or because a provider's key_env says so. */
static bool
holds_key(const struct sf_config *cfg, const char *name)
{
    char provider[33];
    int rank, opt = sf_opt_find_env(name, NULL);
    if (opt >= 0)
        return sf_opt_info((enum sf_opt)opt)->flags & SF_OPT_F_SECRET;
    opt = sf_provider_setting_find_env(name, provider, &rank);
    if (opt >= 0)
        return sf_provider_setting_info((enum sf_provider_setting)opt)->flags & SF_OPT_F_SECRET;
    for (size_t i = 0; i < cfg->providers.len; i++) {
        const char *named = sf_config_provider_str(cfg, i, SF_PS_KEY_ENV);
        if (named && !strcmp(named, name))
            return true;
    }
    return false;
}

void
sf_config_wipe_environment(const struct sf_config *cfg)
{
    for (char **e = environ; e && *e;) {
        char *eq = strchr(*e, '=');
        char name[128] = "";
        if (eq && (size_t)(eq - *e) < sizeof name)
            memcpy(name, *e, (size_t)(eq - *e));
        if (!*name || !holds_key(cfg, name)) {
            e++;
            continue;
        }
        explicit_bzero(eq + 1, strlen(eq + 1));
        unsetenv(name); /* the next one takes its place */
    }
}

void
sf_config_free(struct sf_config *cfg)
{
    if (!cfg)
        return;
    for (int i = 0; i < SF_OPT_COUNT; i++)
        sf_slot_fini(&cfg->slots[i]);
    sf_config_drop_pending(cfg);
    SF_VEC_FOREACH (&cfg->warnings, w)
        free(*w);
    sf_text_vec_fini(&cfg->warnings);
    SF_VEC_FOREACH (&cfg->buckets, b)
        sf_config_bucket_fini(b);
    sf_bucket_vec_fini(&cfg->buckets);
    SF_VEC_FOREACH (&cfg->providers, p)
        sf_config_provider_fini(p);
    sf_config_provider_vec_fini(&cfg->providers);
    sf_buf_fini(&cfg->kernel_options);
    free(cfg->home);
    free(cfg);
}

/* ---- setting -------------------------------------------------------------------------------- */

/* Make a path absolute: the daemon changes its directory. */
static int
absolute_path(const struct sf_config *cfg, const char *path, const char *base, char **ret)
{
    sf_autofree char *cwd = NULL;
    char *out = NULL;
    int n;

    if (path[0] == '/' || path[0] == '\0') {
        out = strdup(path);
        n = out ? 0 : -1;
    } else if (path[0] == '~' && path[1] == '/' && cfg->home) {
        n = asprintf(&out, "%s%s", cfg->home, path + 1);
    } else {
        if (!base && !(base = cwd = getcwd(NULL, 0)))
            return -errno;
        n = asprintf(&out, "%s/%s", strcmp(base, "/") ? base : "", path);
    }
    if (n < 0)
        return -ENOMEM;
    *ret = out;
    return 0;
}

static int
bad_value(const struct sf_opt_info *info, const char *text, const char *where, struct sf_err *err)
{
    char allowed[128], quoted[48];
    sf_value_allowed_as(info, allowed, sizeof allowed);
    if (info->flags & SF_OPT_F_SECRET)
        return sf_err_set(err, -EINVAL, "%s: the value of %s is not a key; a key is %s", where,
                          info->name, allowed);
    return sf_err_set(err, -EINVAL, "%s: %s cannot be \"%s\"; it is %s", where, info->name,
                      sf_value_quote(text, quoted), allowed);
}

/* Check a value and bring it into its final form. */
static int
read_value(const struct sf_config *cfg, const struct sf_opt_info *info, const char *text,
           const struct sf_source *src, struct sf_value *ret, struct sf_err *err)
{
    struct sf_value value;
    int rc = sf_value_parse_as(info, text, &value);
    if (rc == -EINVAL)
        return bad_value(info, text, src->where, err);
    if (!rc && info->type == SF_OPT_TYPE_PATH) {
        char *path = NULL;
        rc = absolute_path(cfg, value.str, src->base, &path);
        sf_value_fini(&value);
        value.str = path;
    }
    if (rc)
        return sf_err_set(err, rc, "%s: %s: %s", src->where, info->name, strerror(-rc));
    *ret = value;
    return 0;
}

static int
check_value(const struct sf_config *cfg, const struct sf_opt_info *info, const char *text,
            const struct sf_source *src, struct sf_err *err)
{
    struct sf_value value;
    int rc = read_value(cfg, info, text, src, &value, err);
    if (!rc)
        sf_value_fini(&value);
    return rc;
}

int
sf_config_check(const struct sf_config *cfg, enum sf_opt opt, const char *text,
                const struct sf_source *src, struct sf_err *err)
{
    return check_value(cfg, sf_opt_info(opt), text, src, err);
}

int
sf_slot_set(const struct sf_config *cfg, struct sf_slot *slot, const struct sf_opt_info *info,
            const char *text, const struct sf_source *src, struct sf_err *err)
{
    bool key = info->flags & SF_OPT_F_SECRET;
    struct sf_slot new = {.rank = (unsigned)src->origin * 16 + src->rank, .set = true};

    if (new.rank < slot->rank)
        return check_value(cfg, info, text, src, err);
    int rc = read_value(cfg, info, text, src, &new.value, err);
    if (rc)
        return rc;
    new.where = strdup(src->where);
    new.file = key && src->file ? strdup(src->file) : NULL;
    new.name = key && src->name ? strdup(src->name) : NULL;
    if (!new.where || (key && ((src->file && !new.file) || (src->name && !new.name)))) {
        sf_slot_fini(&new);
        return sf_err_set(err, -ENOMEM, "out of memory");
    }
    sf_slot_fini(slot);
    *slot = new;
    return 0;
}

int
sf_config_set(struct sf_config *cfg, enum sf_opt opt, const char *text, const struct sf_source *src,
              struct sf_err *err)
{
    return sf_slot_set(cfg, &cfg->slots[opt], sf_opt_info(opt), text, src, err);
}

int
sf_config_unknown(const char *where, const char *name, struct sf_err *err)
{
    char quoted[48];
    const char *nearest = sf_opt_nearest(name);
    sf_value_quote(name, quoted);
    if (nearest)
        return sf_err_set(err, -EINVAL, "%s: there is no option \"%s\"; did you mean %s?", where,
                          quoted, nearest);
    return sf_err_set(err, -EINVAL,
                      "%s: there is no option \"%s\"; the manual page supafs(1) "
                      "lists them",
                      where, quoted);
}

int
sf_config_warn(struct sf_config *cfg, const char *fmt, ...)
{
    char *text;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (n < 0)
        return -ENOMEM;
    int rc = sf_text_vec_push(&cfg->warnings, text);
    if (rc)
        free(text);
    return rc;
}

/* ---- asking --------------------------------------------------------------------------------- */

static const struct sf_slot *
slot_of(const struct sf_config *cfg, enum sf_opt opt)
{
    assert((unsigned)opt < SF_OPT_COUNT);
    return &cfg->slots[opt];
}

bool
sf_config_bool(const struct sf_config *cfg, enum sf_opt opt)
{
    assert(sf_opt_info(opt)->type == SF_OPT_TYPE_BOOL);
    return slot_of(cfg, opt)->value.num != 0;
}

uint64_t
sf_config_u64(const struct sf_config *cfg, enum sf_opt opt)
{
    enum sf_opt_type type = sf_opt_info(opt)->type;
    assert(type == SF_OPT_TYPE_INT || type == SF_OPT_TYPE_SIZE || type == SF_OPT_TYPE_OCTAL);
    return slot_of(cfg, opt)->value.num;
}

int64_t
sf_config_ms(const struct sf_config *cfg, enum sf_opt opt)
{
    assert(sf_opt_info(opt)->type == SF_OPT_TYPE_DURATION);
    return (int64_t)slot_of(cfg, opt)->value.num;
}

const char *
sf_config_str(const struct sf_config *cfg, enum sf_opt opt)
{
    enum sf_opt_type type = sf_opt_info(opt)->type;
    assert(type == SF_OPT_TYPE_STRING || type == SF_OPT_TYPE_PATH || type == SF_OPT_TYPE_ENUM);
    const char *s = slot_of(cfg, opt)->value.str;
    return s && *s ? s : NULL;
}

unsigned
sf_config_enum(const struct sf_config *cfg, enum sf_opt opt)
{
    assert(sf_opt_info(opt)->type == SF_OPT_TYPE_ENUM);
    return (unsigned)slot_of(cfg, opt)->value.num;
}

bool
sf_config_is_set(const struct sf_config *cfg, enum sf_opt opt)
{
    const struct sf_slot *slot = slot_of(cfg, opt);
    return slot->set && !slot->wiped && (!slot->value.str || *slot->value.str);
}

const char *
sf_config_origin(const struct sf_config *cfg, enum sf_opt opt)
{
    const char *where = slot_of(cfg, opt)->where;
    return where ? where : "default";
}

enum sf_origin
sf_config_origin_kind(const struct sf_config *cfg, enum sf_opt opt)
{
    return (enum sf_origin)(slot_of(cfg, opt)->rank / 16);
}

const char *
sf_config_text(const struct sf_config *cfg, enum sf_opt opt, char *out, size_t size)
{
    if (slot_of(cfg, opt)->wiped)
        snprintf(out, size, "(hidden)");
    else if (!sf_config_is_set(cfg, opt))
        snprintf(out, size, "%s", "");
    else if (sf_opt_info(opt)->flags & SF_OPT_F_SECRET)
        snprintf(out, size, "(hidden)");
    else
        sf_value_format(opt, &slot_of(cfg, opt)->value, out, size);
    return out;
}

const char *
sf_config_kernel_options(const struct sf_config *cfg)
{
    return sf_buf_str(&cfg->kernel_options);
}

const char *
sf_config_warning(const struct sf_config *cfg, size_t i)
{
    return i < cfg->warnings.len ? cfg->warnings.data[i] : NULL;
}
