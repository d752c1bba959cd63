/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "config/config.h"
#include "config/provider.h"
#include "config/url.h"
#include "config/value.h"
#include "provider/key.h"

#define BETWEEN ", \t"

/* One provider of the configuration on its way to what is made of it. */
struct reader {
    const struct sf_config *cfg;
    size_t i;
    struct sf_provider_conf *c;
    struct sf_err *err;
};

static int
no_memory(const struct reader *r)
{
    return sf_err_set(r->err, -ENOMEM, "out of memory");
}

static int
refuse(const struct reader *r, enum sf_provider_setting setting, const char *allowed)
{
    char quoted[48];
    return sf_err_set(
        r->err, -EINVAL, "%s: %s cannot be \"%s\"; it is %s",
        sf_config_provider_origin(r->cfg, r->i, setting), sf_provider_setting_info(setting)->name,
        sf_value_quote(sf_config_provider_str(r->cfg, r->i, setting), quoted), allowed);
}

/* ---- lists and words ------------------------------------------------------------------------ */

static void
free_list(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

/* "a, b c" as a list of words; *ret = NULL where there is none. 0 or -ENOMEM. */
static int
split(const char *text, char ***ret)
{
    size_t n = 0;
    char **list = text ? calloc(strlen(text) / 2 + 2, sizeof *list) : NULL;
    *ret = NULL;
    if (!list)
        return text ? -ENOMEM : 0;
    for (const char *p = text + strspn(text, BETWEEN); *p; p += strspn(p, BETWEEN)) {
        size_t len = strcspn(p, BETWEEN);
        if (!(list[n++] = strndup(p, len))) {
            free_list(list);
            return -ENOMEM;
        }
        p += len;
    }
    if (n)
        *ret = list;
    else
        free(list);
    return 0;
}

/* A word of a list or a value that becomes a part of a request: no control characters are in it
 * (config/ sees to that), and no spaces. */
static bool
is_word(const char *s, size_t max)
{
    return strlen(s) <= max && !strpbrk(s, " \"\\");
}

static int
take_list(const struct reader *r, enum sf_provider_setting setting, char ***ret)
{
    if (split(sf_config_provider_str(r->cfg, r->i, setting), ret))
        return no_memory(r);
    for (size_t k = 0; *ret && (*ret)[k]; k++)
        if (!is_word((*ret)[k], 200))
            return refuse(r, setting, "a list of words separated by commas");
    return 0;
}

static int
take_word(const struct reader *r, enum sf_provider_setting setting, const char *otherwise,
          char **ret)
{
    const char *text = sf_config_provider_str(r->cfg, r->i, setting);
    if (text && !is_word(text, 200))
        return refuse(r, setting, "one word");
    text = text ? text : otherwise;
    *ret = text ? strdup(text) : NULL;
    return text && !*ret ? no_memory(r) : 0;
}

static uint64_t
number(const struct reader *r, enum sf_provider_setting setting, uint64_t otherwise)
{
    uint64_t n = otherwise;
    (void)sf_config_provider_num(r->cfg, r->i, setting, &n);
    return n;
}

/* "0.6" as a price: no sign, no exponent, no locale. */
static bool
read_price(const char **p, double *ret)
{
    double n = 0, scale = 1;
    size_t digits = strspn(*p, "0123456789"), more;
    if (digits == 0 || digits > 9)
        return false;
    for (; digits > 0; digits--, ++*p)
        n = n * 10 + (**p - '0');
    if (**p == '.') {
        more = strspn(++*p, "0123456789");
        if (more == 0 || more > 6)
            return false;
        for (; more > 0; more--, ++*p, scale *= 10)
            n = n * 10 + (**p - '0');
    }
    *ret = n / scale;
    return true;
}

/* MODEL=ASKED/ANSWERED[/KNOWN]; the name of a model may hold whatever else. */
static bool
take_price(const char *word, struct sf_provider_price *out)
{
    const char *p = strrchr(word, '=');
    if (!p || p == word || (size_t)(p - word) >= sizeof out->model)
        return false;
    snprintf(out->model, sizeof out->model, "%.*s", (int)(p - word), word);
    p++;
    if (!read_price(&p, &out->asked) || *p++ != '/' || !read_price(&p, &out->answered))
        return false;
    out->known = out->asked;
    if (*p == '/' && (p++, !read_price(&p, &out->known)))
        return false;
    return *p == '\0';
}

static int
take_prices(const struct reader *r)
{
    char **words;
    size_t n = 0;
    int rc = take_list(r, SF_PS_PRICES, &words);
    while (!rc && words && words[n])
        n++;
    if (n && !(r->c->prices = calloc(n, sizeof *r->c->prices)))
        rc = no_memory(r);
    for (size_t i = 0; !rc && i < n; i++, r->c->n_prices++)
        if (!take_price(words[i], &r->c->prices[i]))
            rc = refuse(r, SF_PS_PRICES, "a list of MODEL=ASKED/ANSWERED[/KNOWN]");
    free_list(words);
    return rc;
}

/* ---- one provider --------------------------------------------------------------------------- */

/* "kimi, glm or openai". */
static const char *
type_names(char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; sf_provider_type_at(i) && n < size; i++) {
        const char *between = i == 0 ? "" : sf_provider_type_at(i + 1) ? ", " : " or ";
        n += (size_t)snprintf(out + n, size - n, "%s%s", between, sf_provider_type_at(i)->name);
    }
    return out;
}

static int
take_type(struct reader *r)
{
    char names[100];
    const char *text = sf_config_provider_str(r->cfg, r->i, SF_PS_TYPE);
    r->c->type = sf_provider_type_find(text ? text : r->c->name);
    if (!r->c->type && text)
        return refuse(r, SF_PS_TYPE, type_names(names, sizeof names));
    if (!r->c->type)
        r->c->type = sf_provider_type_find("openai");
    return 0;
}

/* Names of attributes of ours: user.supafs.NAME... must not mean two things. */
static int
check_name(const struct reader *r)
{
    static const char *const taken[] = {
        "id",           "version",       "etag",          "sha256",     "bucket",   "key",  "tags",
        "content_type", "public_url",    "cache_control", "signed_url", "cached",   "sync", "error",
        "access_count", "last_accessed", "chat",          "auto",       "provider", NULL};
    for (size_t i = 0; taken[i]; i++)
        if (sf_provider_name_same(r->c->name, taken[i]))
            return sf_err_set(r->err, -EINVAL,
                              "a provider cannot be called %s: supafs has an attribute of this "
                              "name",
                              taken[i]);
    return 0;
}

__attribute__((format(printf, 2, 3))) static void
trouble(struct reader *r, const char *fmt, ...)
{
    va_list ap;
    if (r->c->trouble[0])
        return;
    va_start(ap, fmt);
    vsnprintf(r->c->trouble, sizeof r->c->trouble, fmt, ap);
    va_end(ap);
}

static int
take_base(struct reader *r)
{
    struct sf_err own = SF_ERR_INIT;
    const char *text = sf_config_provider_str(r->cfg, r->i, SF_PS_BASE_URL);
    /* A local server must not become OpenAI because its address was forgotten. */
    bool by_default = !text && (!strcmp(r->c->type->name, r->c->name) || r->c->type->needs_key);
    if (by_default)
        text = r->c->type->default_base;
    if (!text) {
        trouble(r, "provider %s has no base_url", r->c->name);
        return 0;
    }
    int rc =
        sf_url_normalize_base(text, sf_config_bool(r->cfg, SF_OPT_INSECURE), &r->c->base_url, &own);
    if (rc == -ENOMEM)
        return no_memory(r);
    const char *where = sf_config_provider_origin(r->cfg, r->i, SF_PS_BASE_URL);
    if (rc && sf_config_provider_is_foreign(r->cfg, r->i, SF_PS_BASE_URL)) {
        trouble(r, "%s: %s", where, own.msg);
        return 0;
    }
    return rc ? sf_err_set(r->err, rc, "%s: %s", where, own.msg) : 0;
}

static bool
is_account(const char *s)
{
    return s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.@-")] ==
               '\0' &&
           strlen(s) <= 64;
}

static int
take_key(struct reader *r)
{
    struct sf_provider_key_choice choice = {0};
    struct sf_err own = SF_ERR_INIT;
    const char *account = sf_config_provider_str(r->cfg, r->i, SF_PS_ACCOUNT);
    if (account && !is_account(account))
        return refuse(r, SF_PS_ACCOUNT, "at most 64 letters, digits and _ . @ -");
    if (provider_key_new(r->c->base_url, account, &r->c->key))
        return no_memory(r);
    int rc = sf_config_provider_key(r->cfg, r->i, &choice, &own);
    if (rc == -ENOKEY && !r->c->type->needs_key &&
        !sf_config_provider_str(r->cfg, r->i, SF_PS_KEY_ENV))
        return 0;
    if (rc == 0)
        rc = provider_key_take(r->c->key, &choice, &own);
    sf_provider_key_choice_fini(&choice);
    if (rc == -ENOMEM)
        return no_memory(r);
    if (rc)
        trouble(r, "%s", own.msg);
    return 0;
}

static int
take_rest(struct reader *r)
{
    struct sf_provider_conf *c = r->c;
    int rc = take_list(r, SF_PS_MODELS, &c->models);
    if (!rc)
        rc = take_list(r, SF_PS_EXTENSIONS, &c->extensions);
    if (!rc)
        rc = take_list(r, SF_PS_FALLBACK, &c->fallback);
    if (!rc)
        rc = take_list(r, SF_PS_VISION_MODELS, &c->vision_models);
    if (!rc)
        rc = take_word(r, SF_PS_CURRENCY, "USD", &c->currency);
    if (!rc)
        rc = take_prices(r);
    if (!rc)
        rc = take_word(r, SF_PS_PURPOSE, c->type->purpose, &c->purpose);
    if (!rc)
        rc = take_word(r, SF_PS_MODEL, c->models ? c->models[0] : NULL, &c->model);
    for (size_t i = 0; !rc && c->fallback && c->fallback[i]; i++)
        if (!sf_provider_name_ok(c->fallback[i]))
            rc = refuse(r, SF_PS_FALLBACK, "a list of names of providers");
    c->order = (unsigned)number(r, SF_PS_ORDER, 100);
    c->concurrency = (unsigned)number(r, SF_PS_CONCURRENCY, 1);
    c->rpm = (unsigned)number(r, SF_PS_RPM, 0);
    c->upload_ms = (int64_t)number(r, SF_PS_UPLOAD_TIMEOUT, (uint64_t)c->type->upload_ms);
    c->chat_ms = (int64_t)number(r, SF_PS_CHAT_TIMEOUT, 1800 * 1000);
    c->context = number(r, SF_PS_CONTEXT, 0);
    c->timeout_ms = (int64_t)number(r, SF_PS_TIMEOUT, 60 * 1000);
    c->max_bytes = number(r, SF_PS_MAX_BYTES, 0);
    c->lifetime_ms = (int64_t)number(r, SF_PS_LIFETIME, (uint64_t)c->type->lifetime_ms);
    return rc;
}

static int
read_one(struct reader *r)
{
    snprintf(r->c->name, sizeof r->c->name, "%s", sf_config_provider_name(r->cfg, r->i));
    int rc = check_name(r);
    if (!rc)
        rc = take_type(r);
    if (!rc)
        rc = take_base(r);
    if (!rc)
        rc = take_key(r);
    return rc ? rc : take_rest(r);
}

static void
conf_fini(struct sf_provider_conf *c)
{
    free(c->base_url);
    provider_key_free(c->key);
    free(c->purpose);
    free(c->model);
    free_list(c->models);
    free_list(c->extensions);
    free_list(c->fallback);
    free_list(c->vision_models);
    free(c->currency);
    free(c->prices);
}

/* ---- all of them ---------------------------------------------------------------------------- */

static int
by_order(const void *pa, const void *pb)
{
    const struct sf_provider_conf *a = pa, *b = pb;
    return a->order != b->order ? (a->order < b->order ? -1 : 1) : strcmp(a->name, b->name);
}

/* Who is named as a fallback must be there. */
static int
check_fallbacks(const struct sf_config *cfg, const struct sf_provider_confs *confs,
                struct sf_err *err)
{
    for (size_t i = 0; i < confs->n; i++) {
        const struct sf_provider_conf *c = &confs->all[i];
        for (size_t k = 0; c->fallback && c->fallback[k]; k++) {
            if (sf_provider_conf_find(confs, c->fallback[k]))
                continue;
            size_t at = 0;
            while (strcmp(sf_config_provider_name(cfg, at), c->name) != 0)
                at++;
            return sf_err_set(err, -EINVAL, "%s: fallback names %s, and there is no such provider",
                              sf_config_provider_origin(cfg, at, SF_PS_FALLBACK), c->fallback[k]);
        }
    }
    return 0;
}

int
sf_provider_confs_read(const struct sf_config *cfg, struct sf_provider_confs *out,
                       struct sf_err *err)
{
    struct sf_provider_confs confs = {0};
    size_t n = 0;
    int rc = 0;
    while (sf_config_provider_name(cfg, n))
        n++;
    if (n && !(confs.all = calloc(n, sizeof *confs.all)))
        return sf_err_set(err, -ENOMEM, "out of memory");
    for (size_t i = 0; i < n && !rc; i++) {
        struct reader r = {.cfg = cfg, .i = i, .c = &confs.all[confs.n++], .err = err};
        rc = read_one(&r);
    }
    if (!rc && n)
        qsort(confs.all, n, sizeof *confs.all, by_order);
    if (!rc)
        rc = check_fallbacks(cfg, &confs, err);
    if (rc)
        sf_provider_confs_fini(&confs);
    else
        *out = confs;
    return rc;
}

void
sf_provider_confs_fini(struct sf_provider_confs *confs)
{
    for (size_t i = 0; i < confs->n; i++)
        conf_fini(&confs->all[i]);
    free(confs->all);
    *confs = (struct sf_provider_confs){0};
}

const struct sf_provider_conf *
sf_provider_conf_find(const struct sf_provider_confs *confs, const char *name)
{
    for (size_t i = 0; i < confs->n; i++)
        if (sf_provider_name_same(confs->all[i].name, name))
            return &confs->all[i];
    return NULL;
}

const struct sf_provider_price *
sf_provider_price(const struct sf_provider_conf *conf, const char *model)
{
    const struct sf_provider_price *any = NULL;
    for (size_t i = 0; i < conf->n_prices; i++) {
        const struct sf_provider_price *p = &conf->prices[i];
        if (!strcmp(p->model, model))
            return p;
        if (!strcmp(p->model, "*"))
            any = p;
    }
    return any;
}

const char *
sf_provider_trouble(const struct sf_provider_conf *conf)
{
    return conf->trouble[0] && conf->base_url && provider_key_is_there(conf) ? "" : conf->trouble;
}

/* ---- what it takes -------------------------------------------------------------------------- */

/* The extension of a name, "" = none: "a.tar.gz" has gz, ".profile" none. */
static const char *
extension(const char *name)
{
    const char *slash = strrchr(name, '/');
    const char *base = slash ? slash + 1 : name;
    const char *dot = strrchr(base, '.');
    return dot && dot != base ? dot + 1 : "";
}

static bool
in_list(const char *const *list, const char *ext)
{
    for (; *list; list++)
        if (!strcasecmp(*list, ext) || !strcmp(*list, "*") ||
            (**list == '.' && !strcasecmp(*list + 1, ext)))
            return true;
    return false;
}

static bool
is_image(const struct sf_provider_facts *file)
{
    static const char *const names[] = {"png",  "jpg", "jpeg", "gif", "bmp",
                                        "webp", "tif", "tiff", NULL};
    return (file->mime && sf_str_starts(file->mime, "image/")) ||
           in_list(names, extension(file->name));
}

int
sf_provider_check(const struct sf_provider_conf *conf, const struct sf_provider_facts *file,
                  struct sf_provider_fault *out)
{
    static const struct sf_provider_limits none = {.empty_ok = true};
    struct sf_provider_fault own;
    const struct sf_provider_limits *l =
        conf->base_url ? conf->type->limits(conf->base_url, conf->purpose) : NULL;
    const char *ext = extension(file->name);
    out = out ? out : &own;
    l = l ? l : &none;
    const char *const *extensions =
        conf->extensions ? (const char *const *)conf->extensions : l->extensions;
    uint64_t max = conf->max_bytes;
    if (!max)
        max = l->max_image_bytes && is_image(file) ? l->max_image_bytes : l->max_bytes;
    if (file->size == 0 && !l->empty_ok)
        return sf_provider_fault_set(out, SF_PC_EMPTY, "%s takes no files without a byte",
                                     conf->name);
    if (extensions && !*ext && !in_list(extensions, ""))
        return sf_provider_fault_set(out, SF_PC_TYPE,
                                     "%s takes no files without an extension for purpose %s",
                                     conf->name, conf->purpose);
    if (extensions && !in_list(extensions, ext))
        return sf_provider_fault_set(out, SF_PC_TYPE, "%s takes no .%.20s files for purpose %s",
                                     conf->name, ext, conf->purpose);
    if (max && file->size > max)
        return sf_provider_fault_set(out, SF_PC_TOO_LARGE,
                                     "%" PRIu64 " bytes are more than the %" PRIu64
                                     " that %s takes for purpose %s",
                                     file->size, max, conf->name, conf->purpose);
    memset(out, 0, sizeof *out);
    out->retry_after_ms = -1;
    return 0;
}
