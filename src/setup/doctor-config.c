/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "setup/doctor-internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"
#include "config/url.h"
#include "provider/settings.h"
#include "supabase/auth.h"
#include "supabase/json.h"

#define NS_PER_S INT64_C(1000000000)
#define SOON_S   (7 * 86400) /* a key that ends within a week is told */

/* ---- configuration -------------------------------------------------------------------------- */

static const char *const origins[] = {
    [SF_ORIGIN_SYSTEM_FILE] = "the system's file",
    [SF_ORIGIN_USER_FILE] = "the user's file",
    [SF_ORIGIN_ENV_FILE] = "an env file",
    [SF_ORIGIN_ENVIRONMENT] = "the environment",
    [SF_ORIGIN_MOUNT] = "-o",
    [SF_ORIGIN_ARGUMENT] = "the command line",
};

/* "3 settings, from the environment, -o" */
static void
tell_origins(const struct sf_config *cfg, struct sf_doctor_row *row)
{
    char text[300] = "";
    unsigned total = 0, seen = 0;
    for (unsigned o = 0; o < SF_OPT_COUNT; o++)
        if (sf_config_is_set(cfg, o) && sf_config_origin_kind(cfg, o) != SF_ORIGIN_DEFAULT) {
            total++;
            seen |= 1u << sf_config_origin_kind(cfg, o);
        }
    for (unsigned i = SF_ORIGIN_SYSTEM_FILE; i <= SF_ORIGIN_ARGUMENT; i++)
        if (seen & (1u << i)) {
            size_t n = strlen(text);
            snprintf(text + n, sizeof text - n, "%s%s", n ? ", " : ", from ", origins[i]);
        }
    doctor_say(row, SF_DOCTOR_OK, "%u setting%s%s", total, total == 1 ? "" : "s", text);
}

void
check_config(struct sf_doctor *d, struct sf_doctor_row *row)
{
    struct sf_err err = SF_ERR_INIT;
    if (sf_config_load(d->cfg, d->args.sources, &err) < 0) {
        doctor_say_error(row, err.msg);
        if (!*row->todo && err.code == -EPERM)
            doctor_advise(row, "make the file its owner's alone: chmod 600");
        else if (!*row->todo)
            doctor_advise(row, "correct this setting; supafs(1) has all of them");
        return;
    }
    d->loaded = true;
    tell_origins(d->cfg, row);
    const char *warning = sf_config_warning(d->cfg, 0);
    if (warning) {
        doctor_say(row, SF_DOCTOR_WARN, "%s", warning);
        doctor_advise(row, "unset the one that is not meant");
    }
}

/* ---- AI providers ---------------------------------------------------------------------------- */

/* "kimi, local" of those that can be used, or cannot. The first that cannot, or NULL. */
static const struct sf_provider_conf *
provider_names(const struct sf_provider_confs *confs, bool usable, char *out, size_t size)
{
    const struct sf_provider_conf *first = NULL;
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < confs->n && n < size; i++) {
        const struct sf_provider_conf *c = &confs->all[i];
        if (usable != !*sf_provider_trouble(c))
            continue;
        first = first ? first : c;
        n += (size_t)snprintf(out + n, size - n, "%s%s", n ? ", " : "", c->name);
    }
    return first;
}

/* They are not asked: that is for who wants to use one. */
void
check_providers(struct sf_doctor *d, struct sf_doctor_row *row)
{
    struct sf_provider_confs confs = {0};
    struct sf_err err = SF_ERR_INIT;
    char good[200], bad[200];
    if (sf_provider_confs_read(d->cfg, &confs, &err) < 0) {
        doctor_say(row, SF_DOCTOR_FAIL, "%s", err.msg);
        doctor_advise(row, "correct this setting; supafs(1), PROVIDERS, has all of them");
        return;
    }
    bool some = provider_names(&confs, true, good, sizeof good);
    const struct sf_provider_conf *amiss = provider_names(&confs, false, bad, sizeof bad);
    if (amiss) {
        doctor_say(row, SF_DOCTOR_WARN, "%s%scannot be used: %s (%s)", good, some ? "; " : "", bad,
                   sf_provider_trouble(amiss));
        doctor_advise(row, "`supafs provider ls` shows what each lacks");
    } else if (some) {
        doctor_say(row, SF_DOCTOR_OK, "%s; `supafs provider check` asks them", good);
    } else {
        doctor_say(row, SF_DOCTOR_OK, "none is configured");
    }
    sf_provider_confs_fini(&confs);
}

/* ---- project --------------------------------------------------------------------------------- */

void
check_project(struct sf_doctor *d, struct sf_doctor_row *row)
{
    struct sf_err err = SF_ERR_INIT;
    if (sf_config_require_url(d->cfg, &err) < 0) {
        doctor_say(row, SF_DOCTOR_FAIL, "no project is named");
        doctor_advise(row, "give its URL as the first argument, or set SUPABASE_URL in the "
                           "environment or an env file, or url in a configuration file");
        return;
    }
    doctor_say(row, SF_DOCTOR_OK, "%s, from %s", sf_config_str(d->cfg, SF_OPT_URL),
               sf_config_origin(d->cfg, SF_OPT_URL));
}

/* ---- the key -------------------------------------------------------------------------------- */

static int64_t
claim_seconds(const json_t *claims, const char *name)
{
    double v = json_number_value(json_object_get(claims, name));
    return v > 0 && v < 1e11 ? (int64_t)v : 0;
}

static void
claim_text(const json_t *claims, const char *name, char *out, size_t size)
{
    const char *s = json_string_value(json_object_get(claims, name));
    sf_text_clean(s ? s : "", s ? strlen(s) : 0, out, size);
}

static void
read_claims(const char *key, struct claims *c)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    const char *dot = strchr(key, '.'), *end = dot ? strchr(dot + 1, '.') : NULL;
    if (!end || sf_base64url_decode(&text, dot + 1, (size_t)(end - dot - 1)) < 0)
        return;
    json_t *claims = sf_json_parse(text.data, text.len, NULL);
    if (json_is_object(claims)) {
        c->jwt = true;
        c->iat = claim_seconds(claims, "iat");
        c->exp = claim_seconds(claims, "exp");
        claim_text(claims, "role", c->role, sizeof c->role);
        claim_text(claims, "ref", c->ref, sizeof c->ref);
    }
    json_decref(claims);
}

/* Reads the key for what it says of itself. @misplaced: it stands where a service key should. */
static int
look_at_key(struct sf_doctor *d, bool *misplaced, struct sf_err *err)
{
    const char *service = sf_config_str(d->cfg, SF_OPT_SERVICE_KEY);
    char *key = NULL;
    if (d->key.from_file) {
        int rc = sf_key_file_read(d->key.value, d->key.variable, &key, err);
        if (rc < 0)
            return rc;
    }
    const char *text = key ? key : d->key.value;
    read_claims(text, &d->claims);
    *misplaced = d->key.mode != SF_KEY_SERVICE && service && !strcmp(service, text);
    sf_key_wipe(key);
    return 0;
}

static int
open_key(struct sf_doctor *d, bool *misplaced, struct sf_err *err)
{
    int rc = sf_keys_choose(d->cfg, &d->key, err);
    if (rc < 0)
        return rc;
    rc = look_at_key(d, misplaced, err);
    if (rc < 0)
        return rc;
    const struct sf_auth_source src = {.kind = d->key.from_file ? SF_AUTH_FILE : SF_AUTH_VALUE,
                                       .value = d->key.value,
                                       .variable = d->key.variable,
                                       .label = d->key.label,
                                       .apikey = d->key.apikey};
    return sf_auth_new(&src, &d->auth, err);
}

static void
key_trouble(const struct sf_err *err, struct sf_doctor_row *row)
{
    doctor_say_error(row, err->msg);
    if (*row->todo)
        return;
    if (err->code == -EPERM)
        doctor_advise(row, "make the file its owner's alone: chmod 600");
    else if (err->code == -EKEYREJECTED || err->code == -EINVAL)
        doctor_advise(row, "take the key anew from the project's settings (API keys), whole and "
                           "without blanks");
    else
        doctor_advise(row, "give a key by the environment, an env file or key_file; see KEYS in "
                           "supafs(1)");
}

void
check_key(struct sf_doctor *d, struct sf_doctor_row *row)
{
    struct sf_err err = SF_ERR_INIT;
    bool misplaced = false;
    int rc = open_key(d, &misplaced, &err);
    sf_config_wipe_keys(d->cfg);
    sf_config_wipe_environment(d->cfg);
    if (rc < 0) {
        key_trouble(&err, row);
        return;
    }
    const char *form = d->claims.jwt ? "a JWT" : "an sb_ key";
    const char *role = sf_auth_role(d->auth);
    if (misplaced) {
        doctor_say(row, SF_DOCTOR_FAIL,
                   "%s is where a service key belongs, and it is one of role %s", d->key.label,
                   role);
        doctor_advise(row,
                      "put the service_role (or sb_secret_) key there, or the %s key under "
                      "its own name",
                      role);
    } else if (d->key.mode == SF_KEY_ANON) {
        doctor_say(row, SF_DOCTOR_WARN,
                   "%s, %s of role anon: it sees public buckets and what policies allow to "
                   "everybody",
                   d->key.label, form);
        doctor_advise(row, "set SUPABASE_SERVICE_ROLE_KEY to see all, or SUPABASE_USER_TOKEN to "
                           "mount as a user");
    } else if (d->key.mode == SF_KEY_USER && !d->key.apikey) {
        doctor_say(row, SF_DOCTOR_WARN,
                   "%s, a user's token of role %s, without an anon key beside "
                   "it, which hosted projects want",
                   d->key.label, role);
        doctor_advise(row, "set SUPABASE_ANON_KEY, too");
    } else {
        doctor_say(row, SF_DOCTOR_OK, "%s, %s of role %s", d->key.label, form, role);
    }
}

/* ---- the token ------------------------------------------------------------------------------ */

/* The reference of a hosted project, by its address; "" = it has an address of its own. */
static void
ref_of(const char *url, char ref[64])
{
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    size_t label = strcspn(host, ".:/"), n = strcspn(host, ":/");
    const char *const ends[] = {".supabase.co", ".supabase.in"};
    ref[0] = '\0';
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (n == label + strlen(ends[i]) && !memcmp(host + label, ends[i], strlen(ends[i])) &&
            label < 64)
            snprintf(ref, 64, "%.*s", (int)label, host);
}

void
check_token(struct sf_doctor *d, struct sf_doctor_row *row)
{
    const struct claims *c = &d->claims;
    char ref[64], when[32];
    /* The service's clock decides, where it is known. */
    int64_t now = d->first.date_s ? d->first.date_s : sf_wall_ns() / NS_PER_S;
    ref_of(sf_config_str(d->cfg, SF_OPT_URL), ref);
    if (!c->jwt) {
        doctor_say(row, SF_DOCTOR_OK, "an sb_ key does not end, and does not say whose it is");
        return;
    }
    if (c->exp)
        sf_time_format_ms(c->exp * NS_PER_S, when);
    if (c->exp && c->exp <= now) {
        doctor_say(row, SF_DOCTOR_FAIL, "the key (%s) has expired at %s", d->key.label, when);
        doctor_advise(row, d->key.mode == SF_KEY_USER
                               ? "let the user log in again, and put the new token in its place"
                               : "put a new one in its place, from the project's settings");
    } else if (*ref && *c->ref && strcmp(ref, c->ref) != 0) {
        doctor_say(row, SF_DOCTOR_FAIL,
                   "the key (%s) is of the project %s, and the address is of "
                   "the project %s",
                   d->key.label, c->ref, ref);
        doctor_advise(row, "take the key from this project's settings, or correct the URL");
    } else if (c->iat > now + 60) {
        sf_time_format_ms(c->iat * NS_PER_S, when);
        doctor_say(row, SF_DOCTOR_WARN, "the key says that it was made later than now, at %s",
                   when);
        doctor_advise(row, "set the clock of the machine that made it");
    } else if (c->exp && c->exp < now + SOON_S && d->key.mode != SF_KEY_USER) {
        doctor_say(row, SF_DOCTOR_WARN, "the key ends at %s", when);
        doctor_advise(row, "put a new one in its place before that");
    } else {
        doctor_say(row, SF_DOCTOR_OK, "%s%s", c->exp ? "valid until " : "it does not end",
                   c->exp ? when : "");
    }
}
