/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/config.h"

#include "base/cleanup.h"
#include "config/set.h"
#include "config/url.h"
#include "observe/log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char system_file[] = "/etc/supafs/supafs.conf";

static int
no_memory(struct sf_err *err)
{
    return sf_err_set(err, -ENOMEM, "out of memory");
}

static const char *
variable(char *const *environment, const char *name)
{
    size_t n = strlen(name);
    for (; environment && *environment; environment++)
        if (!strncmp(*environment, name, n) && (*environment)[n] == '=')
            return *environment + n + 1;
    return NULL;
}

/* A directory of the XDG base directory specification; *ret = NULL when there is none. */
static int
xdg_path(char *const *environment, const char *name, const char *below_home, const char *tail,
         char **ret)
{
    const char *dir = variable(environment, name), *home = variable(environment, "HOME");
    int n = 0;
    *ret = NULL;
    if (dir && *dir == '/') /* relative ones are to be ignored, says the specification */
        n = asprintf(ret, "%s/%s", dir, tail);
    else if (home && *home == '/')
        n = asprintf(ret, "%s/%s/%s", home, below_home, tail);
    if (n < 0)
        *ret = NULL;
    return n < 0 ? -ENOMEM : 0;
}

/* ---- the sources in their order ------------------------------------------------------------- */

/* A URL has a dot, a colon or a slash; the name of a profile has none of them. */
static int
add_argument(struct sf_config *cfg, const char *argument, struct sf_err *err)
{
    const struct sf_source src = {.origin = SF_ORIGIN_ARGUMENT, .where = "the first argument"};
    if (!argument)
        return 0;
    if (sf_value_is_key(argument))
        return sf_err_set(err, -EINVAL,
                          "the first argument is a key; keys are not taken from the command line, "
                          "where every user can see them");
    bool is_url = strpbrk(argument, ".:/") || !strcmp(argument, "localhost");
    return sf_config_set(cfg, is_url ? SF_OPT_URL : SF_OPT_PROJECT, argument, &src, err);
}

static int
add_near_sources(struct sf_config *cfg, const struct sf_config_sources *src,
                 char *const *environment, struct sf_err *err)
{
    const struct sf_source flag = {.origin = SF_ORIGIN_ARGUMENT, .where = "--env-file"};
    int rc = add_argument(cfg, src->argument, err);
    if (!rc && src->env_file)
        rc = sf_config_set(cfg, SF_OPT_ENV_FILE, src->env_file, &flag, err);
    for (const char *const *o = src->mount_options; !rc && o && *o; o++)
        rc = sf_config_add_mount_options(cfg, *o, err);
    if (!rc)
        rc = sf_config_add_environment(cfg, environment, err);
    return rc;
}

static int
add_files(struct sf_config *cfg, const struct sf_config_sources *src, char *const *environment,
          struct sf_err *err)
{
    const char *sys = src->system_file ? src->system_file : system_file;
    sf_autofree char *own = NULL;
    const char *user = src->user_file;
    if (!user) {
        if (xdg_path(environment, "XDG_CONFIG_HOME", ".config", "supafs/supafs.conf", &own))
            return no_memory(err);
        user = own ? own : "";
    }
    int rc = *sys ? sf_config_add_file(cfg, sys, SF_ORIGIN_SYSTEM_FILE, err) : 0;
    if (!rc && *user)
        rc = sf_config_add_file(cfg, user, SF_ORIGIN_USER_FILE, err);
    return rc;
}

/*
 * What is nearer may name what is further: the command line an env file, both a profile, the
 * profile an env file. An env file that a profile names cannot choose another profile.
 */
static int
add_sources(struct sf_config *cfg, const struct sf_config_sources *src, char *const *environment,
            struct sf_err *err)
{
    int rc = add_near_sources(cfg, src, environment, err);
    const char *env_file = rc ? NULL : sf_config_str(cfg, SF_OPT_ENV_FILE);
    bool have_env_file = env_file != NULL;
    if (env_file)
        rc = sf_config_add_env_file(cfg, env_file, err);
    if (!rc)
        rc = add_files(cfg, src, environment, err);
    if (rc)
        return rc;

    const char *profile = sf_config_str(cfg, SF_OPT_PROJECT);
    sf_autofree char *used = profile ? strdup(profile) : NULL;
    if (profile && !used)
        return no_memory(err);
    if (profile)
        rc = sf_config_use_profile(cfg, profile, err);
    env_file = sf_config_str(cfg, SF_OPT_ENV_FILE);
    if (rc || have_env_file || !env_file)
        return rc;
    sf_autofree char *path = strdup(env_file);
    rc = path ? sf_config_add_env_file(cfg, path, err) : no_memory(err);
    if (rc)
        return rc;
    profile = sf_config_str(cfg, SF_OPT_PROJECT);
    if (profile && (!used || strcmp(profile, used) != 0))
        return sf_err_set(err, -EINVAL,
                          "%s: an env file that a configuration file names cannot set project",
                          sf_config_origin(cfg, SF_OPT_PROJECT));
    return 0;
}

/* ---- defaults that depend on who mounts ----------------------------------------------------- */

/* Give an option a value unless it has one. */
static int
set_default(struct sf_config *cfg, enum sf_opt opt, const char *text, struct sf_err *err)
{
    const struct sf_source src = {.origin = SF_ORIGIN_DEFAULT, .where = "default"};
    return cfg->slots[opt].set ? 0 : sf_config_set(cfg, opt, text, &src, err);
}

static int
set_directory(struct sf_config *cfg, enum sf_opt opt, bool root, const char *for_root,
              char *const *environment, const char *xdg, const char *below_home, struct sf_err *err)
{
    sf_autofree char *own = NULL;
    if (cfg->slots[opt].set && sf_config_str(cfg, opt))
        return 0;
    if (!root && xdg_path(environment, xdg, below_home, "supafs", &own))
        return no_memory(err);
    if (!root && !own)
        return sf_err_set(err, -EINVAL, "set %s: neither %s nor HOME says where it should be",
                          sf_opt_info(opt)->name, xdg);
    cfg->slots[opt].set = false;
    cfg->slots[opt].rank = 0;
    return set_default(cfg, opt, root ? for_root : own, err);
}

static int
set_defaults(struct sf_config *cfg, const struct sf_config_sources *src, char *const *environment,
             struct sf_err *err)
{
    uid_t uid = src->uid ? *src->uid : geteuid();
    gid_t gid = src->gid ? *src->gid : getegid();
    bool root = uid == 0;
    char number[24];

    snprintf(number, sizeof number, "%" PRIu64, (uint64_t)uid);
    int rc = set_default(cfg, SF_OPT_UID, number, err);
    snprintf(number, sizeof number, "%" PRIu64, (uint64_t)gid);
    if (!rc)
        rc = set_default(cfg, SF_OPT_GID, number, err);
    snprintf(number, sizeof number, "%" PRIu64, sf_config_u64(cfg, SF_OPT_UID));
    if (!rc)
        rc = set_default(cfg, SF_OPT_CHAT_UID, number, err);
    if (!rc)
        rc = set_default(cfg, SF_OPT_ALLOW_OTHER, root ? "yes" : "no", err);
    if (!rc)
        /* Else everybody who is let in had the rights of who mounts. */
        rc = set_default(cfg, SF_OPT_DEFAULT_PERMISSIONS,
                         root || sf_config_bool(cfg, SF_OPT_ALLOW_OTHER) ? "yes" : "no", err);
    if (!rc)
        rc = set_directory(cfg, SF_OPT_CACHE_DIR, root, "/var/cache/supafs", environment,
                           "XDG_CACHE_HOME", ".cache", err);
    if (!rc)
        rc = set_directory(cfg, SF_OPT_STATE_DIR, root, "/var/lib/supafs", environment,
                           "XDG_STATE_HOME", ".local/state", err);
    return rc;
}

/* ---- what must fit together ----------------------------------------------------------------- */

static int
check_url(struct sf_config *cfg, struct sf_err *err)
{
    struct sf_slot *slot = &cfg->slots[SF_OPT_URL];
    const char *text = sf_config_str(cfg, SF_OPT_URL);
    char *url;
    if (!text)
        return 0;
    int rc = sf_url_normalize(text, sf_config_bool(cfg, SF_OPT_INSECURE), &url, err);
    if (rc) {
        sf_err_prefix(err, "%s", sf_config_origin(cfg, SF_OPT_URL));
        return rc;
    }
    sf_value_fini(&slot->value);
    slot->value.str = url;
    return 0;
}

/* Cut the slashes around the prefix; what is left must be a path without odd segments. */
static int
check_prefix(struct sf_config *cfg, struct sf_err *err)
{
    char *prefix = cfg->slots[SF_OPT_PREFIX].value.str;
    const char *where = sf_config_origin(cfg, SF_OPT_PREFIX);
    if (!prefix)
        return 0;
    size_t lead = strspn(prefix, "/");
    memmove(prefix, prefix + lead, strlen(prefix + lead) + 1);
    size_t n = strlen(prefix);
    while (n > 0 && prefix[n - 1] == '/')
        prefix[--n] = '\0';
    if (n == 0)
        return 0;
    if (n > 900)
        return sf_err_set(err, -EINVAL, "%s: prefix is longer than the 900 bytes a key may have",
                          where);
    for (const char *p = prefix;;) {
        size_t len = strcspn(p, "/");
        if (len == 0 || (len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.'))
            return sf_err_set(err, -EINVAL, "%s: prefix must not have empty, \".\" or \"..\" parts",
                              where);
        if (p[len] == '\0')
            break;
        p += len + 1;
    }
    if (!sf_config_str(cfg, SF_OPT_BUCKET))
        return sf_err_set(err, -EINVAL, "%s: prefix needs bucket= too: it is a part of one bucket",
                          where);
    return 0;
}

/* "info", "info,http=debug": is each level one? What is left of '=' is a module's name. */
static int
check_log_level(const struct sf_config *cfg, struct sf_err *err)
{
    const char *spec = sf_config_str(cfg, SF_OPT_LOG_LEVEL);
    for (const char *p = spec ? spec : ""; *p;) {
        size_t len = strcspn(p, ",");
        const char *eq = memchr(p, '=', len), *word = eq ? eq + 1 : p;
        size_t n = (size_t)(p + len - word);
        int level = SF_LOG_ERROR;
        while (level <= SF_LOG_TRACE && (strncmp(sf_log_level_name(level), word, n) != 0 ||
                                         strlen(sf_log_level_name(level)) != n))
            level++;
        if (level > SF_LOG_TRACE || eq == p) {
            char quoted[48];
            return sf_err_set(err, -EINVAL,
                              "%s: log_level cannot be \"%s\"; it is error, warn, info, debug or "
                              "trace, or such a word with exceptions, as info,http=debug",
                              sf_config_origin(cfg, SF_OPT_LOG_LEVEL),
                              sf_value_quote(spec, quoted));
        }
        p += len + (p[len] == ',');
    }
    return 0;
}

static int
check_rest(struct sf_config *cfg, struct sf_err *err)
{
    const char *bucket = sf_config_str(cfg, SF_OPT_BUCKET);
    if (bucket && (strchr(bucket, '/') || strlen(bucket) > 100))
        return sf_err_set(err, -EINVAL,
                          "%s: bucket is a name of at most 100 bytes without '/'; what lies in it "
                          "is chosen with prefix=",
                          sf_config_origin(cfg, SF_OPT_BUCKET));
    if (!strcmp(sf_config_str(cfg, SF_OPT_LOG_TARGET), "file") &&
        !sf_config_str(cfg, SF_OPT_LOG_FILE))
        return sf_err_set(err, -EINVAL, "%s: log_target=file needs log_file= too",
                          sf_config_origin(cfg, SF_OPT_LOG_TARGET));
    return check_log_level(cfg, err);
}

/* A profile was named outright, but its URL or its key is overridden from the surroundings. */
static int
warn_overridden(struct sf_config *cfg)
{
    const char *profile = sf_config_str(cfg, SF_OPT_PROJECT);
    if (!profile || sf_config_origin_kind(cfg, SF_OPT_PROJECT) < SF_ORIGIN_MOUNT)
        return 0;
    SF_VEC_FOREACH (&cfg->pending, p) {
        enum sf_origin kind = sf_config_origin_kind(cfg, p->opt);
        bool matters = p->opt == SF_OPT_URL || (sf_opt_info(p->opt)->flags & SF_OPT_F_SECRET);
        if (matters && !strcmp(p->profile, profile) &&
            (kind == SF_ORIGIN_ENVIRONMENT || kind == SF_ORIGIN_ENV_FILE) &&
            sf_config_warn(cfg, "%s overrides %s of project %s", sf_config_origin(cfg, p->opt),
                           sf_opt_info(p->opt)->name, profile))
            return -ENOMEM;
    }
    return 0;
}

int
sf_config_load(struct sf_config *cfg, const struct sf_config_sources *src, struct sf_err *err)
{
    char *const *environment = src->environment ? src->environment : environ;
    const char *home = variable(environment, "HOME");
    if (home && *home == '/' && !cfg->home && !(cfg->home = strdup(home)))
        return no_memory(err);

    int rc = add_sources(cfg, src, environment, err);
    if (!rc)
        rc = sf_config_provider_key_env(cfg, environment, sf_config_str(cfg, SF_OPT_ENV_FILE), err);
    if (!rc)
        rc = set_defaults(cfg, src, environment, err);
    if (!rc)
        rc = check_url(cfg, err);
    if (!rc)
        rc = check_prefix(cfg, err);
    if (!rc)
        rc = check_rest(cfg, err);
    if (!rc && warn_overridden(cfg))
        rc = no_memory(err);
    sf_config_drop_pending(cfg); /* keys of other profiles among them */
    return rc;
}

int
sf_config_require_url(const struct sf_config *cfg, struct sf_err *err)
{
    if (sf_config_str(cfg, SF_OPT_URL))
        return 0;
    const char *profile = sf_config_str(cfg, SF_OPT_PROJECT);
    if (profile)
        return sf_err_set(err, -EINVAL, "project %s has no url; add one to its section", profile);
    return sf_err_set(err, -EINVAL,
                      "which project? Give its URL as the first argument, or set SUPABASE_URL in "
                      "the environment or an env file, or url in a configuration file");
}
