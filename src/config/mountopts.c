/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/set.h"

#include "base/cleanup.h"
#include "base/str.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * The argument of -o: options of the table, and what mount(8) and fstab add that is not ours. The
 * latter is either for the programs that read fstab, or for the kernel.
 */
static const char *const for_others[] = {
    "defaults", "auto",    "noauto", "user",     "nouser",  "users",       "owner",   "group",
    "nofail",   "_netdev", "atime",  "relatime", "comment", "strictatime", "uhelper", "lazytime",
};

static const char *const for_kernel[] = {
    "noexec", "exec",  "nosuid",  "suid",    "nodev",      "dev",
    "sync",   "async", "dirsync", "noatime", "nodiratime",
};

/* Names that people try for keys; the value must not be repeated in a message. */
static const char *const key_names[] = {
    "key", "apikey", "api_key", "token", "secret", "password", "pass", "jwt",
};

static bool
is_in(const char *name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(name, list[i]))
            return true;
    return false;
}

#define IS_IN(name, list) is_in(name, list, sizeof(list) / sizeof *(list))

static int
refuse_key(const char *name, struct sf_err *err)
{
    char quoted[48];
    return sf_err_set(err, -EINVAL,
                      "-o %s: keys are not taken from the command line, where every user can see "
                      "them; use the environment, an env file, key_file= or key_fd=",
                      sf_value_quote(name, quoted));
}

static int
one_option(struct sf_config *cfg, const char *name, const char *value, struct sf_err *err)
{
    const struct sf_source src = {.origin = SF_ORIGIN_MOUNT, .where = "-o"};

    int opt = sf_opt_find(name);
    if (opt >= 0) {
        const struct sf_opt_info *info = sf_opt_info((enum sf_opt)opt);
        if (info->flags & SF_OPT_F_SECRET)
            return refuse_key(info->name, err);
        if (!value && info->type != SF_OPT_TYPE_BOOL)
            return sf_err_set(err, -EINVAL, "-o: %s needs a value: %s=...", info->name, info->name);
        return sf_config_set(cfg, (enum sf_opt)opt, value ? value : "yes", &src, err);
    }
    if (!strcmp(name, "rw") && !value)
        return sf_config_set(cfg, SF_OPT_RO, "no", &src, err);
    if (sf_str_starts(name, "x-") || sf_str_starts(name, "X-") || IS_IN(name, for_others))
        return 0;
    if (IS_IN(name, for_kernel) && !value) {
        struct sf_buf *out = &cfg->kernel_options;
        if (sf_buf_printf(out, "%s%s", out->len ? "," : "", name))
            return sf_err_set(err, -ENOMEM, "out of memory");
        return 0;
    }
    int env = sf_opt_find_env(name, NULL);
    bool secret = env >= 0 && (sf_opt_info((enum sf_opt)env)->flags & SF_OPT_F_SECRET);
    if (secret || IS_IN(name, key_names) || sf_value_is_key(name))
        return refuse_key(name, err);
    return sf_config_unknown("-o", name, err);
}

int
sf_config_add_mount_options(struct sf_config *cfg, const char *text, struct sf_err *err)
{
    sf_autofree char *copy = malloc(strlen(text) + 1);
    if (!copy)
        return sf_err_set(err, -ENOMEM, "out of memory");

    /* As fuse does it: "\," is a comma in a value, "\\" a backslash. */
    int rc = 0;
    while (*text && !rc) {
        char *o = copy, *value = NULL;
        for (; *text && *text != ','; text++) {
            if (*text == '\\' && (text[1] == ',' || text[1] == '\\'))
                text++;
            else if (*text == '=' && !value) {
                *o++ = '\0';
                value = o;
                continue;
            }
            *o++ = *text;
        }
        *o = '\0';
        text += *text == ',';
        if (*copy || value)
            rc = one_option(cfg, copy, value, err);
    }
    return rc;
}
