/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/keys.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "config/envfile.h"
#include "config/ini.h"
#include "config/set.h"
#include "config/textfile.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MODES = SF_KEY_ANON + 1 };

static const enum sf_opt key_options[MODES] = {
    [SF_KEY_SERVICE] = SF_OPT_SERVICE_KEY,
    [SF_KEY_USER] = SF_OPT_USER_TOKEN,
    [SF_KEY_ANON] = SF_OPT_ANON_KEY,
};

static const char *const mode_names[MODES] = {"service", "user", "anon"};

void
sf_key_wipe(char *key)
{
    if (key)
        explicit_bzero(key, strlen(key));
    free(key);
}

static void
wipe_at_exit(char **key)
{
    sf_key_wipe(*key);
}

#define sf_autokey sf_defer(wipe_at_exit)

void
sf_key_choice_fini(struct sf_key_choice *c)
{
    sf_key_wipe(c->value);
    sf_key_wipe(c->apikey);
    free(c->variable);
    free(c->label);
    free(c->sentence);
    *c = (struct sf_key_choice){0};
}

/* ---- what a key is -------------------------------------------------------------------------- */

/* The mode that the claims of a JWT stand for; -EINVAL they are not JSON. */
static int
mode_of_claims(const char *json, size_t len)
{
    json_t *claims = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
    const char *role = json_string_value(json_object_get(claims, "role"));
    int mode = SF_KEY_USER;
    if (!json_is_object(claims))
        mode = -EINVAL;
    else if (role && !strcmp(role, "service_role"))
        mode = SF_KEY_SERVICE;
    else if (role && !strcmp(role, "anon"))
        mode = SF_KEY_ANON;
    json_decref(claims);
    return mode;
}

/* What a key is: its prefix or its role says. -EINVAL it is none; -ENOMEM. */
static int
mode_of_key(const char *key)
{
    if (sf_str_starts(key, "sb_secret_"))
        return SF_KEY_SERVICE;
    if (sf_str_starts(key, "sb_publishable_"))
        return SF_KEY_ANON;
    for (const char *p = key; *p; p++)
        if (*p <= ' ' || *p > '~')
            return -EINVAL;
    const char *first = strchr(key, '.');
    const char *second = first ? strchr(first + 1, '.') : NULL;
    if (!second || strchr(second + 1, '.') || !sf_str_starts(key, "eyJ"))
        return -EINVAL;
    sf_autobuf struct sf_buf claims = SF_BUF_INIT;
    int rc = sf_base64url_decode(&claims, first + 1, (size_t)(second - first - 1));
    return rc ? rc : mode_of_claims(claims.data, claims.len);
}

/* ---- key files ------------------------------------------------------------------------------ */

/* The first line that is neither empty nor a comment, without white space around it; NULL = none.
 */
static char *
first_line(const char *text)
{
    for (;;) {
        text += strspn(text, " \t\r\n");
        size_t n = strcspn(text, "\r\n");
        if (n == 0)
            return NULL;
        if (*text == '#') {
            text += n;
            continue;
        }
        while (n > 0 && strchr(" \t", text[n - 1]))
            n--;
        return strndup(text, n);
    }
}

/* Whether the file has NAME=value lines: its first line is one. A key has no '=' but at its end. */
static bool
has_names(const char *line)
{
    static const char name_chars[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";
    if (sf_str_starts(line, "export "))
        return true;
    size_t n = strspn(line, name_chars);
    return n > 0 && line[n + strspn(line + n, " \t")] == '=' && !sf_value_is_key(line);
}

struct finder {
    const char *name; /* NULL = any key, the best one */
    const char *section;
    const char *setting; /* INI: the name in the section */
    char *found;         /* owned */
    char *found_name;    /* owned */
    int found_rank;
    int mode; /* with name NULL: the mode looked for, or -1 */
};

static int
find_in_env_file(void *arg, const char *name, const char *value, unsigned line, struct sf_err *err)
{
    struct finder *f = arg;
    int rank = 0;
    (void)line;
    if (*value == '\0')
        return 0;
    if (f->name) {
        if (strcmp(name, f->name) != 0)
            return 0;
    } else {
        int nth, opt = sf_opt_find_env(name, &nth), mode = 0;
        while (mode < MODES && (int)key_options[mode] != opt)
            mode++;
        if (mode == MODES || (f->mode >= 0 && mode != f->mode))
            return 0;
        rank = mode * 16 + nth;
        if (f->found && rank > f->found_rank)
            return 0;
    }
    sf_key_wipe(f->found);
    free(f->found_name);
    f->found = strdup(value);
    f->found_name = strdup(name);
    f->found_rank = rank;
    return f->found && f->found_name ? 0 : sf_err_set(err, -ENOMEM, "out of memory");
}

static int
find_in_ini(void *arg, const char *section, const char *name, const char *value, unsigned line,
            struct sf_err *err)
{
    struct finder *f = arg;
    (void)line;
    /* In all tables '-' and '_' are the same. */
    if (!name || strcmp(section, f->section) != 0 || !sf_provider_name_same(name, f->setting) ||
        !*value)
        return 0;
    sf_key_wipe(f->found);
    f->found = strdup(value);
    return f->found ? 0 : sf_err_set(err, -ENOMEM, "out of memory");
}

/* "[section] name": look it up in a configuration file. */
static int
read_ini(const struct sf_textfile *file, const char *path, struct finder *f, struct sf_err *err)
{
    const char *close = strchr(f->name, ']');
    sf_autofree char *section = close ? strndup(f->name + 1, (size_t)(close - f->name - 1)) : NULL;
    if (!section)
        return close ? sf_err_set(err, -ENOMEM, "out of memory")
                     : sf_err_set(err, -EINVAL, "%s: %s is no name in a file", path, f->name);
    f->section = section;
    f->setting = close + 1 + strspn(close + 1, " ");
    return sf_ini_parse(file->text, file->len, path, find_in_ini, f, err);
}

/* What stands behind a NUL must not be left out of the key silently. */
static int
check_text(const struct sf_textfile *file, const char *path, struct sf_err *err)
{
    return memchr(file->text, '\0', file->len)
               ? sf_err_set(err, -EINVAL, "%s is not a text file: it has a NUL byte", path)
               : 0;
}

static int
open_key_file(const char *path, struct sf_textfile *file, struct sf_err *err)
{
    int rc = sf_textfile_read(path, file, err);
    if (rc)
        return rc;
    rc =
        file->shared
            ? sf_err_set(err, -EPERM,
                         "%s holds a key, but others than its owner can read it; use: chmod 600 %s",
                         path, path)
            : check_text(file, path, err);
    if (rc)
        sf_textfile_fini(file);
    return rc;
}

int
sf_key_file_read(const char *path, const char *variable, char **ret, struct sf_err *err)
{
    sf_autotextfile struct sf_textfile file = {0};
    struct finder f = {.name = variable};
    int rc = open_key_file(path, &file, err);
    if (rc)
        return rc;
    if (!variable)
        f.found = first_line(file.text);
    else if (*variable == '[')
        rc = read_ini(&file, path, &f, err);
    else
        rc = sf_envfile_parse(file.text, file.len, path, find_in_env_file, &f, err);
    free(f.found_name);
    if (!rc && !f.found)
        rc = sf_err_set(err, -ENOKEY, "%s has no key%s%s", path, variable ? " named " : "",
                        variable ? variable : "");
    if (rc) {
        sf_key_wipe(f.found);
        return rc;
    }
    *ret = f.found;
    return 0;
}

/* ---- choosing ------------------------------------------------------------------------------- */

static unsigned
rank_of(const struct sf_config *cfg, enum sf_opt opt)
{
    return sf_config_is_set(cfg, opt) ? (unsigned)sf_config_origin_kind(cfg, opt) + 1 : 0;
}

/* The option from which the key comes, or -1. */
static int
choose_option(const struct sf_config *cfg, int wanted)
{
    unsigned fd = rank_of(cfg, SF_OPT_KEY_FD), file = rank_of(cfg, SF_OPT_KEY_FILE);
    int outright = !fd && !file ? -1 : fd >= file ? SF_OPT_KEY_FD : SF_OPT_KEY_FILE;
    unsigned outright_rank = fd >= file ? fd : file;

    for (int mode = 0; mode < MODES; mode++) {
        unsigned rank = rank_of(cfg, key_options[mode]);
        if ((wanted >= 0 && mode != wanted) || !rank)
            continue;
        /* An anon key often lies beside a better one; with auth=auto it is the last resort. */
        if (outright >= 0 && (rank <= outright_rank || (wanted < 0 && mode == SF_KEY_ANON)))
            continue;
        return (int)key_options[mode];
    }
    return outright;
}

static int
no_key(int wanted, struct sf_err *err)
{
    static const char *const ways[MODES] = {"SUPABASE_SERVICE_ROLE_KEY", "SUPABASE_USER_TOKEN",
                                            "SUPABASE_ANON_KEY"};
    if (wanted >= 0)
        return sf_err_set(err, -ENOKEY,
                          "there is no key for auth=%s; set %s in the environment or in an env "
                          "file, or name a key_file",
                          mode_names[wanted], ways[wanted]);
    return sf_err_set(err, -ENOKEY,
                      "there is no key; set SUPABASE_SERVICE_ROLE_KEY, SUPABASE_USER_TOKEN or "
                      "SUPABASE_ANON_KEY in the environment or in an env file, or name a key_file");
}

/* Text for what a key is called; NULL when memory is gone. */
__attribute__((format(printf, 1, 2))) static char *
text(const char *fmt, ...)
{
    char *out;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&out, fmt, ap);
    va_end(ap);
    return n < 0 ? NULL : out;
}

/* From a file named outright: a key alone, or NAME=value lines. */
static int
from_key_file(const char *path, int wanted, struct sf_key_choice *c, char **key, struct sf_err *err)
{
    sf_autotextfile struct sf_textfile file = {0};
    int rc = open_key_file(path, &file, err);
    if (rc)
        return rc;
    c->from_file = true;
    c->value = strdup(path);
    *key = first_line(file.text);
    if (*key && has_names(*key)) {
        struct finder f = {.mode = wanted};
        rc = sf_envfile_parse(file.text, file.len, path, find_in_env_file, &f, err);
        sf_key_wipe(*key);
        *key = f.found;
        c->variable = f.found_name;
    }
    if (!rc && !*key)
        rc = wanted >= 0 ? sf_err_set(err, -ENOKEY, "key_file %s has no key for auth=%s", path,
                                      mode_names[wanted])
                         : sf_err_set(err, -ENOKEY, "key_file %s has no key in it", path);
    c->label = c->variable ? text("%s from %s", c->variable, path) : text("key_file %s", path);
    return rc;
}

static int
from_fd(int fd, struct sf_key_choice *c, char **key, struct sf_err *err)
{
    sf_autotextfile struct sf_textfile file = {0};
    char name[32];
    snprintf(name, sizeof name, "key_fd %d", fd);
    int rc = sf_textfile_read_fd(fd, name, &file, err);
    if (rc)
        return rc;
    close(fd);
    rc = check_text(&file, name, err);
    if (rc)
        return rc;
    *key = first_line(file.text);
    if (!*key)
        return sf_err_set(err, -ENOKEY, "%s: there was no key to read", name);
    c->value = strdup(*key);
    c->label = text("file descriptor %d", fd);
    return 0;
}

static void
from_option(const struct sf_config *cfg, enum sf_opt opt, struct sf_key_choice *c, char **key)
{
    const struct sf_slot *slot = &cfg->slots[opt];
    *key = strdup(slot->value.str);
    c->from_file = slot->file != NULL;
    c->value = strdup(slot->file ? slot->file : slot->value.str);
    const char *name = slot->name ? slot->name : sf_opt_info(opt)->name;
    c->variable = slot->file ? strdup(name) : NULL;
    if (sf_str_starts(name, "[] ")) /* before the first section */
        name += 3;
    c->label =
        slot->file ? text("%s from %s", name, slot->file) : text("%s from the environment", name);
}

/* The anon key that goes along with a user's token, if there is a real one. */
static int
add_apikey(const struct sf_config *cfg, struct sf_key_choice *c)
{
    const char *anon = sf_config_str(cfg, SF_OPT_ANON_KEY);
    if (c->mode != SF_KEY_USER || !anon || mode_of_key(anon) != SF_KEY_ANON)
        return 0;
    c->apikey = strdup(anon);
    return c->apikey ? 0 : -ENOMEM;
}

/* Is it a key, and of the kind asked for? */
static int
check_key(const char *key, int wanted, struct sf_key_choice *c, struct sf_err *err)
{
    int mode = mode_of_key(key);
    if (mode == -ENOMEM)
        return sf_err_set(err, -ENOMEM, "out of memory");
    if (mode < 0)
        return sf_err_set(err, -EKEYREJECTED, "%s: this is neither a JWT nor an sb_ key", c->label);
    if (wanted >= 0 && mode != wanted)
        return sf_err_set(err, -EKEYREJECTED,
                          "%s: auth=%s was asked for, but this is a key for auth=%s", c->label,
                          mode_names[wanted], mode_names[mode]);
    c->mode = (enum sf_key_mode)mode;
    return 0;
}

int
sf_keys_choose(const struct sf_config *cfg, struct sf_key_choice *out, struct sf_err *err)
{
    int wanted = (int)sf_config_enum(cfg, SF_OPT_AUTH) - 1; /* auto = -1, else enum sf_key_mode */
    int opt = choose_option(cfg, wanted);
    struct sf_key_choice c = {0};
    sf_autokey char *key = NULL;
    int rc = 0;

    if (opt < 0)
        return no_key(wanted, err);
    if (opt == SF_OPT_KEY_FILE)
        rc = from_key_file(sf_config_str(cfg, SF_OPT_KEY_FILE), wanted, &c, &key, err);
    else if (opt == SF_OPT_KEY_FD)
        rc = from_fd((int)sf_config_u64(cfg, SF_OPT_KEY_FD), &c, &key, err);
    else
        from_option(cfg, (enum sf_opt)opt, &c, &key);

    if (!rc && (!key || !c.value || !c.label))
        rc = sf_err_set(err, -ENOMEM, "out of memory");
    if (!rc)
        rc = check_key(key, wanted, &c, err);
    if (!rc && add_apikey(cfg, &c))
        rc = sf_err_set(err, -ENOMEM, "out of memory");
    if (!rc) {
        bool alone = c.mode == SF_KEY_USER && !c.apikey;
        c.sentence = text("auth=%s: %s%s", mode_names[c.mode], c.label,
                          alone ? " (no anon key beside it; hosted projects want one)" : "");
        if (!c.sentence)
            rc = sf_err_set(err, -ENOMEM, "out of memory");
    }
    if (rc) {
        sf_key_choice_fini(&c);
        return rc;
    }
    *out = c;
    return 0;
}
