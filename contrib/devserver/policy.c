/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "policy.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "http.h"

struct policy {
    json_t *json;       /* as given; the strings below point into it */
    const char *bucket; /* NULL = every one */
    const char *prefix; /* "" = all of the bucket */
    enum ds_role role;
    unsigned rights;
    struct policy *next;
};

struct ds_policies {
    pthread_mutex_t lock; /* protects the list */
    struct policy *rules;
};

struct ds_policies *
ds_policies_new(void)
{
    struct ds_policies *policies = calloc(1, sizeof *policies);
    if (policies)
        pthread_mutex_init(&policies->lock, NULL);
    return policies;
}

static void
rules_free(struct policy *rule)
{
    while (rule) {
        struct policy *next = rule->next;
        json_decref(rule->json);
        free(rule);
        rule = next;
    }
}

void
ds_policies_free(struct ds_policies *policies)
{
    if (!policies)
        return;
    rules_free(policies->rules);
    pthread_mutex_destroy(&policies->lock);
    free(policies);
}

/* ---- rules from JSON ---- */

static int
read_rights(const json_t *allow, unsigned *ret, struct sf_err *err)
{
    static const struct {
        const char *word;
        enum ds_right right;
    } words[] = {{"select", DS_SELECT},
                 {"insert", DS_INSERT},
                 {"update", DS_UPDATE},
                 {"delete", DS_DELETE},
                 {"bucket", DS_SEE_BUCKET}};
    if (!json_is_array(allow))
        return sf_err_set(err, -EINVAL, "\"allow\" must be an array");
    size_t i;
    const json_t *entry;
    json_array_foreach((json_t *)(uintptr_t)allow, i, entry)
    {
        const char *text = json_string_value(entry);
        unsigned right = 0;
        for (size_t w = 0; text && w < sizeof words / sizeof words[0]; w++)
            if (strcmp(words[w].word, text) == 0)
                right = words[w].right;
        if (!right)
            return sf_err_set(err, -EINVAL,
                              "\"allow\" has select, insert, update, delete and bucket");
        *ret |= right;
    }
    return 0;
}

static int
read_member(struct policy *rule, const char *name, const json_t *value, struct sf_err *err)
{
    const char *text = json_string_value(value);
    if (strcmp(name, "allow") == 0)
        return read_rights(value, &rule->rights, err);
    if (!text)
        return sf_err_set(err, -EINVAL, "\"%s\" must be a string", name);
    if (strcmp(name, "bucket") == 0)
        rule->bucket = text;
    else if (strcmp(name, "prefix") == 0)
        rule->prefix = text;
    else if (strcmp(name, "role") != 0)
        return sf_err_set(err, -EINVAL, "unknown member \"%s\"", name);
    else if (strcmp(text, "authenticated") == 0)
        rule->role = DS_ROLE_AUTHENTICATED;
    else if (strcmp(text, "anon") == 0)
        rule->role = DS_ROLE_ANON;
    else
        return sf_err_set(err, -EINVAL, "\"role\" is authenticated or anon");
    return 0;
}

static int
read_rule(const json_t *json, struct policy **ret, struct sf_err *err)
{
    if (!json_is_object(json))
        return sf_err_set(err, -EINVAL, "a policy must be an object");
    struct policy *rule = calloc(1, sizeof *rule);
    if (!rule)
        return sf_err_set(err, -ENOMEM, "no memory");
    rule->prefix = "";
    rule->json = json_deep_copy(json);
    int rc = rule->json ? 0 : sf_err_set(err, -ENOMEM, "no memory");
    const char *name;
    json_t *value;
    json_object_foreach(rule->json, name, value)
    {
        if (rc == 0)
            rc = read_member(rule, name, value, err);
    }
    if (rc == 0 && (rule->role == DS_ROLE_NONE || rule->rights == 0))
        rc = sf_err_set(err, -EINVAL, "a policy needs \"role\" and \"allow\"");
    if (rc < 0)
        rules_free(rule);
    else
        *ret = rule;
    return rc;
}

static int
read_rules(const json_t *json, struct policy **ret, struct sf_err *err)
{
    struct policy *rules = NULL, **tail = &rules;
    size_t count = json_is_array(json) ? json_array_size(json) : 1;
    for (size_t i = 0; i < count; i++) {
        int rc = read_rule(json_is_array(json) ? json_array_get(json, i) : json, tail, err);
        if (rc < 0) {
            rules_free(rules);
            return rc;
        }
        tail = &(*tail)->next;
    }
    *ret = rules;
    return 0;
}

int
ds_policies_set(struct ds_policies *policies, const json_t *json, bool keep, struct sf_err *err)
{
    struct policy *fresh = NULL, *old = NULL;
    int rc = read_rules(json, &fresh, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&policies->lock);
    if (!keep) {
        old = policies->rules;
        policies->rules = NULL;
    }
    struct policy **tail = &policies->rules;
    while (*tail)
        tail = &(*tail)->next;
    *tail = fresh;
    pthread_mutex_unlock(&policies->lock);
    rules_free(old);
    return 0;
}

json_t *
ds_policies_to_json(struct ds_policies *policies)
{
    json_t *array = json_array();
    pthread_mutex_lock(&policies->lock);
    for (const struct policy *rule = policies->rules; rule; rule = rule->next)
        json_array_append_new(array, json_deep_copy(rule->json));
    pthread_mutex_unlock(&policies->lock);
    return array;
}

/* ---- using rules ---- */

static bool
covers(const struct policy *rule, enum ds_role role, const char *bucket, const char *key)
{
    return rule->role == role && (!rule->bucket || strcmp(rule->bucket, bucket) == 0) &&
           (!key || strncmp(key, rule->prefix, strlen(rule->prefix)) == 0);
}

bool
ds_policies_allow(struct ds_policies *policies, enum ds_role role, const char *bucket,
                  const char *key, unsigned rights)
{
    unsigned allowed = 0;
    pthread_mutex_lock(&policies->lock);
    for (const struct policy *rule = policies->rules; rule; rule = rule->next)
        if (covers(rule, role, bucket, key))
            allowed |= rule->rights;
    pthread_mutex_unlock(&policies->lock);
    return (allowed & rights) == rights;
}

bool
ds_may(const struct ds_request *req, const char *bucket, const char *key, unsigned rights)
{
    return req->who.role == DS_ROLE_SERVICE ||
           ds_policies_allow(req->server->policies, req->who.role, bucket, key, rights);
}

static bool
may_see(const void *arg, const char *name)
{
    const struct ds_request *req = arg;
    return ds_may(req, req->bucket, name, DS_SELECT);
}

struct ds_sight
ds_sight(const struct ds_request *req)
{
    return (struct ds_sight){.sees = req->who.role == DS_ROLE_SERVICE ? NULL : may_see, .arg = req};
}

int
ds_may_write(const struct ds_request *req, const char *bucket, const char *key, bool upsert)
{
    if (!ds_may(req, bucket, key, upsert ? DS_INSERT | DS_SELECT : DS_INSERT))
        return -EACCES;
    if (upsert && ds_may(req, bucket, key, DS_UPDATE))
        return 0;
    ds_autoobject there = {0};
    int rc = ds_db_object_get(req->server->db, bucket, key, &there);
    if (rc == 0)
        return upsert ? -EACCES : -EEXIST;
    return rc == -ENOENT ? 0 : rc;
}
