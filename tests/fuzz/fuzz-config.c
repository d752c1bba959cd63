/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/config.h"
#include "config/envfile.h"
#include "config/ini.h"
#include "config/keys.h"
#include "config/provider.h"
#include "config/set.h"
#include "config/url.h"
#include "config/value.h"
#include "fuzz.h"
#include "provider/settings.h"
#include "supabase/auth.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* First byte: which parser. The rest: what it reads. */

/* An error has a text that can be shown on a terminal. */
static void
require_clean(int rc, const struct sf_err *err)
{
    REQUIRE(rc <= 0 && rc == err->code);
    if (rc == 0)
        return;
    REQUIRE(err->msg[0] != '\0');
    for (const char *p = err->msg; *p; p++)
        REQUIRE((unsigned char)*p >= ' ' && *p != 0x7f);
}

/* What one value looked like, to be compared with what it gives when it is written again. */
struct expected {
    const char *section, *name, *value;
    unsigned seen;
};

static int
expect_env(void *arg, const char *name, const char *value, unsigned line, struct sf_err *err)
{
    struct expected *e = arg;
    (void)line;
    (void)err;
    REQUIRE(!strcmp(name, e->name) && !strcmp(value, e->value));
    e->seen++;
    return 0;
}

/* Between single quotes everything but these and CRLF stands for itself. */
static int
env_again(void *arg, const char *name, const char *value, unsigned line, struct sf_err *err)
{
    unsigned *last = arg;
    struct expected e = {.name = name, .value = value};
    (void)err;
    REQUIRE(*name && line >= *last);
    *last = line;
    if (strchr(value, '\'') || strstr(value, "\r\n"))
        return 0;
    char *text;
    int n = asprintf(&text, "export %s = '%s' # comment\n", name, value);
    REQUIRE(n > 0);
    REQUIRE(sf_envfile_parse(text, (size_t)n, "again", expect_env, &e, NULL) == 0);
    REQUIRE(e.seen == 1);
    free(text);
    return 0;
}

static int
expect_ini(void *arg, const char *section, const char *name, const char *value, unsigned line,
           struct sf_err *err)
{
    struct expected *e = arg;
    (void)line;
    (void)err;
    REQUIRE(!strcmp(section, e->section));
    if (!name)
        return 0;
    REQUIRE(!strcmp(name, e->name) && !strcmp(value, e->value));
    e->seen++;
    return 0;
}

static int
ini_again(void *arg, const char *section, const char *name, const char *value, unsigned line,
          struct sf_err *err)
{
    unsigned *last = arg;
    struct expected e = {.section = section, .name = name, .value = value};
    struct sf_err own = SF_ERR_INIT;
    (void)err;
    REQUIRE(line > *last);
    *last = line;
    if (!name) {
        REQUIRE(!value && !strpbrk(section, "]\n"));
        return 0;
    }
    REQUIRE(*name && !strpbrk(value, "\n"));
    char *text;
    /* A quoted value loses one pair of quotes, so that those of its own stay. */
    int n = asprintf(&text, "[%s]\n%s = \"%s\"\n", section, name, value);
    REQUIRE(n > 0);
    int rc = sf_ini_parse(text, (size_t)n, "again", expect_ini, &e, &own);
    REQUIRE(rc == 0 || strstr(own.msg, "white space"));
    REQUIRE(rc || e.seen == 1);
    free(text);
    return 0;
}

static void
mount_options(const char *text)
{
    struct sf_config *cfg;
    struct sf_err err = SF_ERR_INIT;
    REQUIRE(sf_config_new(&cfg) == 0);
    require_clean(sf_config_add_mount_options(cfg, text, &err), &err);
    REQUIRE(!sf_config_is_set(cfg, SF_OPT_SERVICE_KEY));
    sf_config_free(cfg);
}

static void
url(const char *text, bool insecure)
{
    char *once, *twice;
    struct sf_err err = SF_ERR_INIT;
    int rc = sf_url_normalize(text, insecure, &once, &err);
    require_clean(rc, &err);
    if (rc)
        return;
    REQUIRE(!strncmp(once, "https://", 8) || !strncmp(once, "http://", 7));
    REQUIRE(once[strlen(once) - 1] != '/' && !strpbrk(once, "?# "));
    REQUIRE(sf_url_normalize(once, insecure, &twice, NULL) == 0);
    REQUIRE(!strcmp(once, twice));
    free(once);
    free(twice);
}

/* ---- whole files ---------------------------------------------------------------------------- */

/* The path of a file of its owner with these bytes. */
static const char *
file_of(const char *text, size_t len)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("supafs.conf", MFD_CLOEXEC);
        REQUIRE(fd >= 0 && fchmod(fd, 0600) == 0);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    REQUIRE(ftruncate(fd, 0) == 0 && pwrite(fd, text, len, 0) == (ssize_t)len);
    return path;
}

/* Providers are refused with a sentence, or are whole; what is said of a key is never the key. */
static void
providers(const struct sf_config *cfg)
{
    struct sf_provider_confs confs = {0};
    struct sf_err err = SF_ERR_INIT;
    char account[65];
    int rc = sf_provider_confs_read(cfg, &confs, &err);
    require_clean(rc, &err);
    for (size_t i = 0; i < confs.n; i++) {
        const struct sf_provider_conf *c = &confs.all[i];
        const struct sf_provider_facts file = {.size = 1, .name = "a.pdf"};
        REQUIRE(sf_provider_name_ok(c->name) && c->type && c->purpose && c->concurrency > 0);
        REQUIRE(c->base_url || *sf_provider_trouble(c));
        REQUIRE(*sf_provider_key_label(c));
        sf_provider_account(c, account);
        REQUIRE(*account);
        rc = sf_provider_check(c, &file, NULL);
        REQUIRE(rc == 0 || rc == -EFBIG || rc == -ENOTSUP);
        REQUIRE(sf_provider_conf_find(&confs, c->name) == c);
        sf_provider_key_reload(c, true, NULL);
    }
    sf_provider_confs_fini(&confs);
}

/* All that is there can be shown, and no key is. */
static void
look_at(const struct sf_config *cfg)
{
    char out[512];
    for (int opt = 0; opt < SF_OPT_COUNT; opt++) {
        sf_config_text(cfg, (enum sf_opt)opt, out, sizeof out);
        REQUIRE(memchr(out, '\0', sizeof out) && sf_config_origin(cfg, (enum sf_opt)opt)[0]);
        if (sf_opt_info((enum sf_opt)opt)->flags & SF_OPT_F_SECRET)
            REQUIRE(!*out || strcmp(out, "(hidden)") == 0);
    }
    providers(cfg);
}

/* @env: an env file, else a configuration file; with the profile "p" when there is one. */
static void
whole_file(const char *text, size_t len, bool env)
{
    static char home[] = "HOME=/home/somebody", *none[] = {home, NULL};
    for (int profile = 0; profile < 2; profile++) {
        const char *path = file_of(text, len);
        struct sf_config_sources src = {.argument = profile ? "p" : NULL,
                                        .env_file = env ? path : NULL,
                                        .environment = none,
                                        .system_file = "",
                                        .user_file = env ? "" : path};
        struct sf_config *cfg;
        struct sf_err err = SF_ERR_INIT;
        REQUIRE(sf_config_new(&cfg) == 0);
        int rc = sf_config_load(cfg, &src, &err);
        require_clean(rc, &err);
        if (rc == 0)
            look_at(cfg);
        sf_config_free(cfg);
    }
}

/* What is taken for a key is one for the client, too, and is not in what is said of it. */
static void
key_file(const char *text, size_t len)
{
    char variable[96];
    const char *path = file_of(text, len);
    snprintf(variable, sizeof variable, "SUPAFS_KEY_FILE=%s", path);
    char *environment[] = {variable, NULL};
    struct sf_config_sources src = {.environment = environment, .system_file = "", .user_file = ""};
    struct sf_config *cfg;
    struct sf_key_choice choice = {0};
    struct sf_err err = SF_ERR_INIT;
    char *key = NULL;
    REQUIRE(sf_config_new(&cfg) == 0 && sf_config_load(cfg, &src, NULL) == 0);
    int rc = sf_keys_choose(cfg, &choice, &err);
    require_clean(rc, &err);
    sf_config_free(cfg);
    if (rc)
        return;
    REQUIRE(choice.from_file && !strcmp(choice.value, path));
    /* What the daemon reads later is what was looked at. */
    REQUIRE(sf_key_file_read(path, choice.variable, &key, NULL) == 0 && *key);
    REQUIRE(strlen(key) < 12 || (!strstr(choice.label, key) && !strstr(choice.sentence, key)));
    sf_key_choice_fini(&choice);
    sf_key_wipe(key);
}

static void
key(const char *text)
{
    const struct sf_auth_source src = {.kind = SF_AUTH_VALUE, .value = text, .label = "the key"};
    struct sf_auth *auth = NULL;
    struct sf_err err = SF_ERR_INIT;
    char subject[128];
    int rc = sf_auth_new(&src, &auth, &err);
    require_clean(rc, &err);
    REQUIRE((rc == 0) == (auth != NULL));
    if (rc)
        return;
    REQUIRE(sf_auth_role(auth)[0] && sf_auth_expires(auth) >= 0);
    sf_auth_subject(auth, subject, sizeof subject);
    REQUIRE(sf_auth_reload(auth, true, &err) == 0);
    sf_auth_free(auth);
}

/* What any option takes is the same after it was written as a user would. */
static void
values(const char *text)
{
    char out[4096], quoted[48];
    for (const char *p = sf_value_quote(text, quoted); *p; p++)
        REQUIRE((unsigned char)*p >= ' ' && *p != 0x7f);
    for (int opt = 0; opt < SF_OPT_COUNT; opt++) {
        struct sf_value v = {0}, again = {0};
        if (sf_value_parse((enum sf_opt)opt, text, &v) < 0)
            continue;
        REQUIRE(sf_value_format((enum sf_opt)opt, &v, out, sizeof out) == out);
        if (strlen(out) + 1 < sizeof out) {
            REQUIRE(sf_value_parse((enum sf_opt)opt, out, &again) == 0);
            REQUIRE(v.num == again.num && !v.str == !again.str);
            REQUIRE(!v.str || strcmp(v.str, again.str) == 0);
        }
        sf_value_fini(&v);
        sf_value_fini(&again);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sf_err err = SF_ERR_INIT;
    unsigned last = 0;
    if (size == 0)
        return 0;
    size_t len = size - 1;
    char *text = malloc(len + 1); /* exactly so long, so that a sanitizer sees a read behind it */
    REQUIRE(text);
    memcpy(text, data + 1, len);
    text[len] = '\0';
    switch (data[0]) {
    case 'e':
        require_clean(sf_envfile_parse(text, len, "file", env_again, &last, &err), &err);
        break;
    case 'i':
        require_clean(sf_ini_parse(text, len, "file", ini_again, &last, &err), &err);
        break;
    case 'o':
        mount_options(text);
        break;
    case 'f':
    case 'E':
        whole_file(text, len, data[0] == 'E');
        break;
    case 'k':
        key_file(text, len);
        break;
    case 'K':
        key(text);
        break;
    case 'v':
        values(text);
        break;
    default:
        url(text, data[0] & 1);
    }
    free(text);
    return 0;
}
