/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "fault.h"

#include <errno.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

enum kind {
    KIND_ERROR,
    KIND_ERROR_AFTER,
    KIND_DELAY,
    KIND_DUPLICATE,
    KIND_RESET_BEFORE,
    KIND_RESET_BODY,
    KIND_RESET_AFTER,
    KIND_TRUNCATE,
    KIND_HANG,
    KIND_EXPIRED,
    KIND_SIZE,
    KIND_ETAG,
    KIND_HEADERS,
    KIND_GARBAGE,
    KIND_CUT,
    KIND_SLOW,
    KIND_RANGE,
    KIND_OMIT,
    KIND_ANON,
    KIND_COUNT
};

static const char *const kinds[KIND_COUNT] = {
    [KIND_ERROR] = "error",
    [KIND_ERROR_AFTER] = "error_after",
    [KIND_DELAY] = "delay",
    [KIND_DUPLICATE] = "duplicate",
    [KIND_RESET_BEFORE] = "reset_before",
    [KIND_RESET_BODY] = "reset_body",
    [KIND_RESET_AFTER] = "reset_after",
    [KIND_TRUNCATE] = "truncate",
    [KIND_HANG] = "hang",
    [KIND_EXPIRED] = "expired",
    [KIND_SIZE] = "size",
    [KIND_ETAG] = "etag",
    [KIND_HEADERS] = "headers",
    [KIND_GARBAGE] = "garbage",
    [KIND_CUT] = "cut",
    [KIND_SLOW] = "slow",
    [KIND_RANGE] = "range",
    [KIND_OMIT] = "omit",
    [KIND_ANON] = "anon",
};

/* Members that every rule may have, and those of its kind. */
static const char *const common_members[] = {"kind", "method", "path", "every", "times",
                                             "skip", "chance", "seed", NULL};
static const char *const kind_members[KIND_COUNT][4] = {
    [KIND_ERROR] = {"status", "body", "headers", NULL},
    [KIND_ERROR_AFTER] = {"status", "body", "headers", NULL},
    [KIND_DELAY] = {"ms", NULL},
    [KIND_DUPLICATE] = {"ms", NULL},
    [KIND_RESET_BODY] = {"after", NULL},
    [KIND_TRUNCATE] = {"after", NULL},
    [KIND_HANG] = {"after", NULL},
    [KIND_SIZE] = {"where", "delta", NULL},
    [KIND_ETAG] = {"value", NULL},
    [KIND_HEADERS] = {"headers", NULL},
    [KIND_GARBAGE] = {"body", NULL},
    [KIND_CUT] = {"after", NULL},
    [KIND_SLOW] = {"bytes", "ms", NULL},
    [KIND_RANGE] = {"shift", NULL},
};

struct rule {
    struct rule *next;
    json_t *json; /* as given */
    uint64_t id;
    enum kind kind;
    const char *method; /* NULL = any; within json */
    const char *path;   /* NULL = any; prefix, or pattern when it has *, ? or [ */
    bool pattern;
    int64_t every; /* 0 = each */
    int64_t times; /* -1 = without end */
    int64_t skip;
    int64_t chance; /* in a hundred; 100 = always */
    int64_t number; /* status, ms, after, delta, shift */
    int64_t bytes;
    unsigned lies;

    uint64_t dice;
    uint64_t matched, fired;
};

struct ds_faults {
    _Atomic bool any;     /* without the lock: there are rules at all */
    pthread_mutex_t lock; /* protects the fields below */
    struct rule *rules;
    uint64_t last_id;
};

static void
rules_free(struct rule *rules)
{
    while (rules) {
        struct rule *next = rules->next;
        json_decref(rules->json);
        free(rules);
        rules = next;
    }
}

struct ds_faults *
ds_faults_new(void)
{
    struct ds_faults *faults = calloc(1, sizeof *faults);
    if (faults)
        pthread_mutex_init(&faults->lock, NULL);
    return faults;
}

void
ds_faults_free(struct ds_faults *faults)
{
    if (!faults)
        return;
    rules_free(faults->rules);
    pthread_mutex_destroy(&faults->lock);
    free(faults);
}

/* ---- reading rules ---- */

static bool
is_word(const char *const *words, const char *word)
{
    for (; *words; words++)
        if (strcmp(*words, word) == 0)
            return true;
    return false;
}

static int
check_members(const json_t *json, enum kind kind, struct sf_err *err)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, name, value)
    {
        if (!is_word(common_members, name) && !is_word(kind_members[kind], name))
            return sf_err_set(err, -EINVAL, "a rule of kind \"%s\" has no member \"%s\"",
                              kinds[kind], name);
    }
    return 0;
}

static int
read_integer(const json_t *json, const char *name, int64_t low, int64_t missing, int64_t *ret,
             struct sf_err *err)
{
    const json_t *value = json_object_get(json, name);
    *ret = missing;
    if (!value)
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < low)
        return sf_err_set(err, -EINVAL, "\"%s\" must be an integer from %lld up", name,
                          (long long)low);
    *ret = json_integer_value(value);
    return 0;
}

static int
read_text(const json_t *json, const char *name, const char **ret, struct sf_err *err)
{
    const json_t *value = json_object_get(json, name);
    *ret = json_string_value(value);
    if (value && !*ret)
        return sf_err_set(err, -EINVAL, "\"%s\" must be a string", name);
    return 0;
}

static int
read_lies(const json_t *json, struct rule *rule, struct sf_err *err)
{
    const char *where = NULL;
    int rc = read_text(json, "where", &where, err);
    if (rc < 0)
        return rc;
    if (!where || strcmp(where, "all") == 0)
        rule->lies = DS_LIE_RANGE | DS_LIE_LENGTH | DS_LIE_LIST;
    else if (strcmp(where, "content-range") == 0)
        rule->lies = DS_LIE_RANGE;
    else if (strcmp(where, "content-length") == 0)
        rule->lies = DS_LIE_LENGTH;
    else if (strcmp(where, "list") == 0)
        rule->lies = DS_LIE_LIST;
    else
        return sf_err_set(err, -EINVAL,
                          "\"where\" must be content-range, content-length, list or all");
    return read_integer(json, "delta", INT32_MIN, 1, &rule->number, err);
}

/* The members that only one kind has. */
static int
read_kind(const json_t *json, struct rule *rule, struct sf_err *err)
{
    const json_t *value;
    int rc;
    switch (rule->kind) {
    case KIND_ERROR:
    case KIND_ERROR_AFTER:
        value = json_object_get(json, "headers");
        if (value && !json_is_object(value))
            return sf_err_set(err, -EINVAL, "\"headers\" must be an object");
        rc = read_integer(json, "status", 200, 500, &rule->number, err);
        if (rc == 0 && rule->number > 599)
            return sf_err_set(err, -EINVAL, "\"status\" must be from 200 to 599");
        return rc;
    case KIND_HEADERS:
        if (!json_is_object(json_object_get(json, "headers")))
            return sf_err_set(err, -EINVAL, "\"headers\" must be an object");
        return 0;
    case KIND_GARBAGE:
        value = json_object_get(json, "body");
        if (value && !json_is_string(value))
            return sf_err_set(err, -EINVAL, "\"body\" must be a string");
        return 0;
    case KIND_SLOW:
        rc = read_integer(json, "bytes", 1, 1000, &rule->bytes, err);
        return rc < 0 ? rc : read_integer(json, "ms", 0, 100, &rule->number, err);
    case KIND_RANGE:
        return read_integer(json, "shift", 0, 0, &rule->number, err);
    case KIND_DELAY:
        return read_integer(json, "ms", 0, 1000, &rule->number, err);
    case KIND_DUPLICATE:
        return read_integer(json, "ms", 0, 0, &rule->number, err);
    case KIND_RESET_BODY:
    case KIND_TRUNCATE:
    case KIND_CUT:
        return read_integer(json, "after", 0, 0, &rule->number, err);
    case KIND_HANG:
        return read_integer(json, "after", 0, -1, &rule->number, err);
    case KIND_SIZE:
        return read_lies(json, rule, err);
    case KIND_ETAG:
        value = json_object_get(json, "value");
        if (value && (!json_is_string(value) || json_string_length(value) > 120))
            return sf_err_set(err, -EINVAL, "\"value\" must be a string of at most 120 bytes");
        return 0;
    default:
        return 0;
    }
}

/* A sequence of its own for each rule, the same for the same seed. */
static int
read_chance(const json_t *json, struct rule *rule, struct sf_err *err)
{
    int64_t seed;
    int rc = read_integer(json, "chance", 1, 100, &rule->chance, err);
    if (rc == 0 && rule->chance > 100)
        return sf_err_set(err, -EINVAL, "\"chance\" is in a hundred");
    if (rc == 0)
        rc = read_integer(json, "seed", 0, 0, &seed, err);
    if (rc == 0)
        rule->dice = (uint64_t)seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    return rc;
}

static int
read_rule(const json_t *json, struct rule *rule, struct sf_err *err)
{
    const char *kind = json_string_value(json_object_get(json, "kind"));
    for (rule->kind = 0; rule->kind < KIND_COUNT; rule->kind++)
        if (kind && strcmp(kind, kinds[rule->kind]) == 0)
            break;
    if (rule->kind == KIND_COUNT)
        return sf_err_set(err, -EINVAL,
                          "\"kind\" must be error, error_after, delay, duplicate, reset_before, "
                          "reset_body, reset_after, truncate, hang, expired, size, etag, headers, "
                          "garbage, cut, slow, range, omit or anon");
    int rc = check_members(json, rule->kind, err);
    if (rc == 0)
        rc = read_text(json, "method", &rule->method, err);
    if (rc == 0)
        rc = read_text(json, "path", &rule->path, err);
    if (rc == 0)
        rc = read_integer(json, "every", 1, 0, &rule->every, err);
    if (rc == 0)
        rc = read_integer(json, "times", 0, -1, &rule->times, err);
    if (rc == 0)
        rc = read_integer(json, "skip", 0, 0, &rule->skip, err);
    if (rc == 0)
        rc = read_chance(json, rule, err);
    if (rc == 0)
        rc = read_kind(json, rule, err);
    rule->pattern = rule->path && strpbrk(rule->path, "*?[");
    return rc;
}

/* A list of rules from one object or an array of them. */
static int
read_rules(const json_t *json, struct rule **ret, struct sf_err *err)
{
    struct rule *rules = NULL, **tail = &rules;
    size_t count = json_is_array(json) ? json_array_size(json) : 1;
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_is_array(json) ? json_array_get(json, i) : json;
        struct rule *rule = calloc(1, sizeof *rule);
        int rc = rule ? 0 : sf_err_set(err, -ENOMEM, "no memory");
        if (rc == 0) {
            rule->json = json_deep_copy(one);
            *tail = rule;
            tail = &rule->next;
            rc = json_is_object(rule->json) ? read_rule(rule->json, rule, err)
                                            : sf_err_set(err, -EINVAL, "a rule must be an object");
        }
        if (rc < 0) {
            rules_free(rules);
            return rc;
        }
    }
    *ret = rules;
    return 0;
}

int
ds_faults_set(struct ds_faults *faults, const json_t *json, bool keep, struct sf_err *err)
{
    struct rule *fresh = NULL, *old = NULL;
    int rc = read_rules(json, &fresh, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&faults->lock);
    for (struct rule *rule = fresh; rule; rule = rule->next)
        rule->id = ++faults->last_id;
    if (!keep) {
        old = faults->rules;
        faults->rules = NULL;
    }
    struct rule **tail = &faults->rules;
    while (*tail)
        tail = &(*tail)->next;
    *tail = fresh;
    atomic_store(&faults->any, faults->rules != NULL);
    pthread_mutex_unlock(&faults->lock);
    rules_free(old);
    return 0;
}

json_t *
ds_faults_to_json(struct ds_faults *faults)
{
    json_t *array = json_array();
    pthread_mutex_lock(&faults->lock);
    for (struct rule *rule = faults->rules; rule; rule = rule->next) {
        json_t *copy = json_deep_copy(rule->json);
        json_object_set_new(copy, "matched", json_integer((json_int_t)rule->matched));
        json_object_set_new(copy, "fired", json_integer((json_int_t)rule->fired));
        json_array_append_new(array, copy);
    }
    pthread_mutex_unlock(&faults->lock);
    return array;
}

/* ---- using rules ---- */

static bool
rule_matches(const struct rule *rule, const char *method, const char *path)
{
    if (rule->method && strcmp(rule->method, method) != 0)
        return false;
    if (!rule->path)
        return true;
    if (rule->pattern)
        return fnmatch(rule->path, path, 0) == 0;
    return strncmp(rule->path, path, strlen(rule->path)) == 0;
}

/* xorshift64*: never 0, and quick. */
static bool
dice_fall(struct rule *rule)
{
    rule->dice ^= rule->dice >> 12;
    rule->dice ^= rule->dice << 25;
    rule->dice ^= rule->dice >> 27;
    return (rule->dice * UINT64_C(2685821657736338717) >> 32) % 100 < (uint64_t)rule->chance;
}

/* Counts one more matching request; tells whether the rule hits it. */
static bool
rule_fires(struct rule *rule)
{
    rule->matched++;
    if (rule->matched <= (uint64_t)rule->skip)
        return false;
    if (rule->every > 0 && (rule->matched - (uint64_t)rule->skip) % (uint64_t)rule->every != 0)
        return false;
    if (rule->times >= 0 && rule->fired >= (uint64_t)rule->times)
        return false;
    if (rule->chance < 100 && !dice_fall(rule))
        return false;
    rule->fired++;
    return true;
}

static void
add_headers(const struct rule *rule, struct ds_fault_plan *plan)
{
    json_t *headers = json_object_get(rule->json, "headers");
    if (plan->headers)
        json_object_update_missing(plan->headers, headers);
    else
        plan->headers = json_deep_copy(headers);
}

/* Kinds that are well-formed, and wrong all the same. */
static void
apply_oddity(const struct rule *rule, struct ds_fault_plan *plan)
{
    switch (rule->kind) {
    case KIND_HEADERS:
        add_headers(rule, plan);
        break;
    case KIND_GARBAGE:
        if (!plan->garbage)
            plan->garbage = json_string(json_string_value(json_object_get(rule->json, "body")));
        if (!plan->garbage)
            plan->garbage = json_string("SSH-2.0-none\r\n");
        break;
    case KIND_CUT:
        plan->cut_at = rule->number;
        break;
    case KIND_SLOW:
        plan->slow_bytes = rule->bytes;
        plan->slow_ms = rule->number;
        break;
    case KIND_RANGE:
        plan->range_ignored = rule->number == 0;
        plan->range_shift = rule->number;
        break;
    case KIND_OMIT:
        plan->omit = true;
        break;
    case KIND_ANON:
        plan->anon = true;
        break;
    default:
        break;
    }
}

static void
apply(const struct rule *rule, struct ds_fault_plan *plan)
{
    plan->any = true;
    switch (rule->kind) {
    case KIND_ERROR:
    case KIND_ERROR_AFTER:
        if (plan->status != 0 || plan->status_after != 0)
            break;
        if (rule->kind == KIND_ERROR)
            plan->status = (int)rule->number;
        else
            plan->status_after = (int)rule->number;
        plan->body = json_deep_copy(json_object_get(rule->json, "body"));
        add_headers(rule, plan);
        break;
    case KIND_DELAY:
        plan->delay_ms += rule->number;
        break;
    case KIND_DUPLICATE:
        plan->duplicate = true;
        plan->duplicate_ms = rule->number;
        break;
    case KIND_RESET_BODY:
        plan->reset_at = rule->number;
        break;
    case KIND_RESET_BEFORE:
        plan->reset_before = true;
        break;
    case KIND_RESET_AFTER:
        plan->reset_after = true;
        break;
    case KIND_TRUNCATE:
        plan->truncate_at = rule->number;
        break;
    case KIND_HANG:
        plan->hang_at = rule->number;
        plan->hang_headers = rule->number < 0;
        plan->hang_rule = rule->id;
        break;
    case KIND_EXPIRED:
        plan->expired = true;
        break;
    case KIND_SIZE:
        plan->lies |= rule->lies;
        plan->size_delta = rule->number;
        break;
    case KIND_ETAG: {
        const char *value = json_string_value(json_object_get(rule->json, "value"));
        value = value ? value : "\"00000000000000000000000000000000\"";
        memcpy(plan->etag, value, strlen(value) + 1);
        break;
    }
    default:
        apply_oddity(rule, plan);
        break;
    }
}

void
ds_faults_pick(struct ds_faults *faults, const char *method, const char *path,
               struct ds_fault_plan *plan)
{
    if (!atomic_load_explicit(&faults->any, memory_order_acquire))
        return;
    pthread_mutex_lock(&faults->lock);
    for (struct rule *rule = faults->rules; rule; rule = rule->next)
        if (rule_matches(rule, method, path) && rule_fires(rule))
            apply(rule, plan);
    pthread_mutex_unlock(&faults->lock);
}

bool
ds_faults_alive(struct ds_faults *faults, uint64_t id)
{
    bool alive = false;
    pthread_mutex_lock(&faults->lock);
    for (const struct rule *rule = faults->rules; rule && !alive; rule = rule->next)
        alive = rule->id == id;
    pthread_mutex_unlock(&faults->lock);
    return alive;
}

void
ds_fault_plan_fini(struct ds_fault_plan *plan)
{
    json_decref(plan->body);
    json_decref(plan->headers);
    json_decref(plan->garbage);
    *plan = DS_FAULT_PLAN_NONE;
}
