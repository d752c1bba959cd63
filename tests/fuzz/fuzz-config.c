/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/config.h"
#include "config/envfile.h"
#include "config/ini.h"
#include "config/set.h"
#include "config/url.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* First byte: which parser. The rest: what it reads. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

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
    REQUIRE(!strcmp(section, e->section) && !strcmp(name, e->name) && !strcmp(value, e->value));
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
    REQUIRE(*name && line > *last && !strpbrk(value, "\n"));
    *last = line;
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
    default:
        url(text, data[0] & 1);
    }
    free(text);
    return 0;
}
