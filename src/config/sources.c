/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/set.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "config/envfile.h"
#include "config/ini.h"
#include "config/textfile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The environment, env files and configuration files. */

static int
no_memory(struct sf_err *err)
{
    return sf_err_set(err, -ENOMEM, "out of memory");
}

/* "/a/b" -> "/a", "b" -> NULL (the current directory). 0 or -ENOMEM. */
static int
directory_of(const char *path, char **ret)
{
    const char *slash = strrchr(path, '/');
    *ret = NULL;
    if (!slash)
        return 0;
    *ret = strndup(path, slash == path ? 1 : (size_t)(slash - path));
    return *ret ? 0 : -ENOMEM;
}

static int
refuse_shared(const char *where, const char *path, struct sf_err *err)
{
    return sf_err_set(err, -EPERM,
                      "%s: here is a key, but others than the file's owner can read it; use: "
                      "chmod 600 %s",
                      where, path);
}

/* ---- environment ---------------------------------------------------------------------------- */

/* A SUPAFS_ name that is no option: other programs may use such names, but a near miss is said. */
static int
warn_mistyped(struct sf_config *cfg, const char *variable, const char *where)
{
    static const char own[] = "SUPAFS_";
    char quoted[48];
    if (!sf_str_starts(variable, own))
        return 0;
    if (sf_str_starts(variable, "SUPAFS_PROVIDER_"))
        return sf_config_warn(cfg, "%s: %s names no setting of a provider", where,
                              sf_value_quote(variable, quoted));
    char name[48];
    size_t n = 0;
    for (const char *p = variable + sizeof own - 1; *p && n < sizeof name - 1; p++)
        name[n++] = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
    name[n] = '\0';
    const char *nearest = sf_opt_nearest(name);
    return nearest ? sf_config_warn(cfg, "%s: %s is no option of supafs; did you mean %s?", where,
                                    sf_value_quote(variable, quoted), nearest)
                   : 0;
}

/*
 * A variable that is no option: a provider's, or nobody's. One that others use, too, is left out
 * with a warning where its value cannot be: it may be meant for them.
 */
static int
other_variable(struct sf_config *cfg, const char *variable, const char *value, bool shared,
               struct sf_source *src, const char *what, struct sf_err *err)
{
    char provider[33];
    struct sf_err own = SF_ERR_INIT;
    int rank, setting = sf_provider_setting_find_env(variable, provider, &rank);
    if (setting < 0)
        return warn_mistyped(cfg, variable, what) ? no_memory(err) : 0;
    const struct sf_opt_info *info = sf_provider_setting_info((enum sf_provider_setting)setting);
    if ((info->flags & SF_OPT_F_SECRET) && shared)
        return refuse_shared(src->where, src->file, err);
    src->rank = (unsigned)(15 - rank);
    int rc = sf_config_provider_set(cfg, provider, info->name, value, src, &own);
    if (rc == -EINVAL && rank > 0)
        return sf_config_warn(cfg, "%s, so it was not used", own.msg) ? no_memory(err) : 0;
    return rc ? sf_err_set(err, rc, "%s", own.msg) : 0;
}

int
sf_config_add_environment(struct sf_config *cfg, char *const *environment, struct sf_err *err)
{
    for (; environment && *environment; environment++) {
        const char *eq = strchr(*environment, '=');
        if (!eq || eq[1] == '\0') /* compose files pass on empty variables: not set */
            continue;
        sf_autofree char *name = strndup(*environment, (size_t)(eq - *environment));
        int rank, opt = name ? sf_opt_find_env(name, &rank) : -1;
        if (!name)
            return no_memory(err);
        char where[128];
        snprintf(where, sizeof where, "%s in the environment", name);
        struct sf_source src = {.origin = SF_ORIGIN_ENVIRONMENT, .where = where, .name = name};
        int rc;
        if (opt < 0) {
            rc = other_variable(cfg, name, eq + 1, false, &src, "environment", err);
        } else {
            src.rank = (unsigned)(15 - rank);
            rc = sf_config_set(cfg, (enum sf_opt)opt, eq + 1, &src, err);
        }
        if (rc)
            return rc;
    }
    return 0;
}

/* ---- env file ------------------------------------------------------------------------------- */

struct env_reader {
    struct sf_config *cfg;
    const char *path;
    const char *base;
    bool shared;
};

static int
env_file_value(void *arg, const char *name, const char *value, unsigned line, struct sf_err *err)
{
    struct env_reader *r = arg;
    int rank, opt = sf_opt_find_env(name, &rank);
    sf_autofree char *where = NULL;

    if (*value == '\0')
        return 0;
    if (asprintf(&where, "%s in %s:%u", name, r->path, line) < 0) {
        where = NULL;
        return no_memory(err);
    }
    struct sf_source src = {.origin = SF_ORIGIN_ENV_FILE,
                            .where = where,
                            .base = r->base,
                            .file = r->path,
                            .name = name};
    if (opt < 0)
        return other_variable(r->cfg, name, value, r->shared, &src, r->path, err);
    unsigned flags = sf_opt_info((enum sf_opt)opt)->flags;
    if (flags & SF_OPT_F_NOT_ENV_FILE)
        return sf_err_set(err, -EINVAL, "%s: an env file cannot set this", where);
    if ((flags & SF_OPT_F_SECRET) && r->shared)
        return refuse_shared(where, r->path, err);
    src.rank = (unsigned)(15 - rank);
    return sf_config_set(r->cfg, (enum sf_opt)opt, value, &src, err);
}

int
sf_config_add_env_file(struct sf_config *cfg, const char *path, struct sf_err *err)
{
    sf_autofree char *base = NULL;
    sf_autotextfile struct sf_textfile file = {0};
    int rc = sf_textfile_read(path, &file, err);
    if (!rc && directory_of(path, &base))
        rc = no_memory(err);
    if (rc)
        return rc;
    struct env_reader r = {.cfg = cfg, .path = path, .base = base, .shared = file.shared};
    return sf_envfile_parse(file.text, file.len, path, env_file_value, &r, err);
}

/* ---- configuration file --------------------------------------------------------------------- */

struct file_reader {
    struct sf_config *cfg;
    const char *path;
    const char *base;
    enum sf_origin origin;
    bool shared;
    char section[64];        /* of the values in seen */
    bool seen[SF_OPT_COUNT]; /* set once in this section */
};

static const char project_section[] = "project.";
static const char bucket_section[] = "bucket.";
static const char provider_section[] = "provider.";

/* A value of a [project.NAME] section is checked now and used when the profile is. */
static int
keep_pending(struct sf_config *cfg, const char *profile, enum sf_opt opt, const char *value,
             const struct sf_source *src, struct sf_err *err)
{
    int rc = sf_config_check(cfg, opt, value, src, err);
    if (rc)
        return rc;
    struct sf_pending p = {.profile = strdup(profile),
                           .text = strdup(value),
                           .where = strdup(src->where),
                           .base = src->base ? strdup(src->base) : NULL,
                           .file = strdup(src->file),
                           .name = strdup(src->name),
                           .origin = src->origin,
                           .opt = opt};
    if (!p.profile || !p.text || !p.where || (src->base && !p.base) || !p.file || !p.name ||
        sf_pending_vec_push(&cfg->pending, p)) {
        sf_pending_fini(&p);
        return no_memory(err);
    }
    return 0;
}

/* Which option is this, and may it stand here? Returns it, or -errno. */
static int
file_option(struct file_reader *r, const char *name, const char *where, struct sf_err *err)
{
    int opt = sf_opt_find(name);
    if (opt < 0)
        return sf_config_unknown(where, name, err);
    unsigned flags = sf_opt_info((enum sf_opt)opt)->flags;
    if (flags & SF_OPT_F_NOT_FILE)
        return sf_err_set(err, -EINVAL, "%s: %s cannot be set in a file", where, name);
    if (opt == SF_OPT_PROJECT && r->section[0])
        return sf_err_set(err, -EINVAL, "%s: project cannot be set inside of a section", where);
    if (r->seen[opt])
        return sf_err_set(err, -EINVAL, "%s: %s is set a second time in this section", where, name);
    r->seen[opt] = true;
    return opt;
}

/* A value of a section [provider.NAME]. */
static int
provider_value(struct file_reader *r, const char *section, const char *name, const char *value,
               const char *where, struct sf_err *err)
{
    int setting = sf_provider_setting_find(name);
    bool secret = setting == SF_PS_KEY;
    sf_autofree char *full_name = NULL;
    if (secret && *value == '\0') /* a template that was not filled in */
        return 0;
    if (secret && r->shared)
        return refuse_shared(where, r->path, err);
    if (asprintf(&full_name, "[%s] %s", section, name) < 0) {
        full_name = NULL;
        return no_memory(err);
    }
    const struct sf_source src = {
        .origin = r->origin, .where = where, .base = r->base, .file = r->path, .name = full_name};
    return sf_config_provider_set(r->cfg, section + sizeof provider_section - 1, name, value, &src,
                                  err);
}

static int
file_value(void *arg, const char *section, const char *name, const char *value, unsigned line,
           struct sf_err *err)
{
    struct file_reader *r = arg;
    bool in_project = sf_str_starts(section, project_section);
    const char *profile = section + sizeof project_section - 1;
    sf_autofree char *where = NULL;

    if (asprintf(&where, "%s:%u", r->path, line) < 0) {
        where = NULL;
        return no_memory(err);
    }
    if (!name) /* of the others only values count */
        return sf_str_starts(section, provider_section)
                   ? sf_config_provider_add(r->cfg, section + sizeof provider_section - 1, where,
                                            err)
                   : 0;
    if (sf_str_starts(section, bucket_section))
        return sf_config_bucket_set(r->cfg, section + sizeof bucket_section - 1, name, value, where,
                                    err);
    if (sf_str_starts(section, provider_section))
        return provider_value(r, section, name, value, where, err);
    if (*section && (!in_project || !*profile)) {
        char quoted[48];
        return sf_err_set(err, -EINVAL, "%s: there is no section [%s]; write [project.NAME]", where,
                          sf_value_quote(section, quoted));
    }
    if (strcmp(section, r->section) != 0) {
        snprintf(r->section, sizeof r->section, "%s", section);
        memset(r->seen, 0, sizeof r->seen);
    }
    int opt = file_option(r, name, where, err);
    if (opt < 0)
        return opt;

    bool secret = sf_opt_info((enum sf_opt)opt)->flags & SF_OPT_F_SECRET;
    if (secret && *value == '\0') /* a template that was not filled in */
        return 0;
    if (secret && r->shared)
        return refuse_shared(where, r->path, err);
    sf_autofree char *full_name = NULL;
    if (asprintf(&full_name, "[%s] %s", section, name) < 0) {
        full_name = NULL;
        return no_memory(err);
    }
    const struct sf_source src = {
        .origin = r->origin, .where = where, .base = r->base, .file = r->path, .name = full_name};
    return in_project ? keep_pending(r->cfg, profile, (enum sf_opt)opt, value, &src, err)
                      : sf_config_set(r->cfg, (enum sf_opt)opt, value, &src, err);
}

int
sf_config_add_file(struct sf_config *cfg, const char *path, enum sf_origin origin,
                   struct sf_err *err)
{
    sf_autofree char *base = NULL;
    sf_autotextfile struct sf_textfile file = {0};
    struct sf_err own = SF_ERR_INIT;
    int rc = sf_textfile_read(path, &file, &own);
    if (rc == -ENOENT || rc == -ENOTDIR)
        return 0;
    if (rc == -EACCES && origin == SF_ORIGIN_SYSTEM_FILE)
        /* root's own, with keys in it: others mount with what they have */
        return sf_config_warn(cfg, "%s, so it was not used", own.msg) ? no_memory(err) : 0;
    if (rc)
        return sf_err_set(err, rc, "%s", own.msg);
    if (directory_of(path, &base))
        return no_memory(err);
    struct file_reader r = {
        .cfg = cfg, .path = path, .base = base, .origin = origin, .shared = file.shared};
    return sf_ini_parse(file.text, file.len, path, file_value, &r, err);
}

/* ---- profile -------------------------------------------------------------------------------- */

/* "a, b, c": the profiles of all files, each once. */
static void
list_profiles(const struct sf_config *cfg, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < cfg->pending.len && n < size; i++) {
        const char *name = cfg->pending.data[i].profile;
        size_t k = 0;
        while (k < i && strcmp(cfg->pending.data[k].profile, name) != 0)
            k++;
        if (k == i)
            n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", name);
    }
}

int
sf_config_use_profile(struct sf_config *cfg, const char *profile, struct sf_err *err)
{
    bool found = false;
    SF_VEC_FOREACH (&cfg->pending, p) {
        if (strcmp(p->profile, profile) != 0)
            continue;
        const struct sf_source src = {.origin = p->origin,
                                      .rank = 1,
                                      .where = p->where,
                                      .base = p->base,
                                      .file = p->file,
                                      .name = p->name};
        int rc = sf_config_set(cfg, p->opt, p->text, &src, err);
        if (rc)
            return rc;
        found = true;
    }
    if (found)
        return 0;

    char known[80], quoted[48];
    list_profiles(cfg, known, sizeof known);
    sf_value_quote(profile, quoted);
    if (*known)
        return sf_err_set(err, -EINVAL,
                          "there is no project \"%s\" in the configuration files; "
                          "they have: %s",
                          quoted, known);
    return sf_err_set(err, -EINVAL,
                      "there is no project \"%s\": no configuration file has a section "
                      "[project.%s]; a URL begins with https://",
                      quoted, quoted);
}
