/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"
#include "provider-internal.h"

#define CHATS_KEPT    256
#define ACCOUNTS_MAX  64
#define CACHE_BLOCK   256 /* tokens that a provider's prefix cache goes by */
#define FILES_SHOWN   100000
#define MS_OF_S       INT64_C(1000)
#define DICE_MULTIPLY UINT64_C(6364136223846793005)
#define DICE_ADD      UINT64_C(1442695040888963407)

const char *const ds_op_names[DS_OPS] = {
    [DS_OP_UPLOAD] = "file-upload",    [DS_OP_LIST] = "file-list",
    [DS_OP_GET] = "file-get",          [DS_OP_CONTENT] = "file-content",
    [DS_OP_DELETE] = "file-delete",    [DS_OP_CHAT] = "chat",
    [DS_OP_MODELS] = "models",         [DS_OP_TOKENS] = "tokens",
    [DS_OP_BALANCE] = "balance",       [DS_OP_PARSE] = "parse",
    [DS_OP_PARSE_SYNC] = "parse-sync", [DS_OP_PARSE_RESULT] = "parse-result",
    [DS_OP_UNKNOWN] = "unknown",
};

const char *const ds_flavour_names[DS_FLAVOURS] = {
    [DS_FLAVOUR_KIMI] = "kimi",          [DS_FLAVOUR_GLM] = "glm",
    [DS_FLAVOUR_OPENAI] = "openai",      [DS_FLAVOUR_OLLAMA] = "ollama",
    [DS_FLAVOUR_LLAMACPP] = "llama.cpp", [DS_FLAVOUR_VLLM] = "vllm",
    [DS_FLAVOUR_LMSTUDIO] = "lmstudio",
};

/* Requests of one account, for its limits. */
struct account {
    char name[40];
    int64_t open;
    int64_t window_ms; /* when the window began */
    int64_t in_window;
};

struct rule {
    struct rule *next;
    json_t *json;         /* as it came, with its figures */
    int site;             /* -1 = any */
    int op;               /* -1 = any */
    const char *account;  /* NULL = any; within json */
    const char *scenario; /* within json */
    int64_t skip, times;  /* times: -1 = without end */
    int64_t chance;
    uint64_t dice;
    int64_t matched, fired;
};

/* The settings of a site: replaced whole, never changed. A tree has one holder, as its own counts
 * are for one thread only. */
struct ds_settings {
    json_t *json;
    size_t refs; /* under the lock of all */
};

struct site {
    struct ds_settings *settings;
    int64_t requests[DS_OPS];
    int64_t open, open_max;
    json_t *uploads;  /* by "account purpose sha256" */
    json_t *contents; /* id to how often it was fetched */
    json_t *chats;    /* the last ones */
    uint64_t chat_seq;
    struct account accounts[ACCOUNTS_MAX];
};

struct ds_providers {
    pthread_mutex_t lock; /* protects all below */
    struct site sites[DS_PROVIDER_SITES];
    struct rule *rules;
    uint64_t epoch;
};

/* ---- life ---- */

static void
rules_free(struct rule *rule)
{
    while (rule) {
        struct rule *next = rule->next;
        json_decref(rule->json);
        free(rule);
        rule = next;
    }
}

/* Takes the tree; NULL when out of memory. */
static struct ds_settings *
settings_new(json_t *json)
{
    struct ds_settings *settings = json ? calloc(1, sizeof *settings) : NULL;
    if (!settings) {
        json_decref(json);
        return NULL;
    }
    settings->json = json;
    settings->refs = 1;
    return settings;
}

static void
settings_unref(struct ds_providers *providers, struct ds_settings *settings)
{
    if (!settings)
        return;
    pthread_mutex_lock(&providers->lock);
    bool last = --settings->refs == 0;
    pthread_mutex_unlock(&providers->lock);
    if (last) {
        json_decref(settings->json);
        free(settings);
    }
}

static void
site_forget(struct site *site)
{
    json_decref(site->uploads);
    json_decref(site->contents);
    json_decref(site->chats);
    site->uploads = json_object();
    site->contents = json_object();
    site->chats = json_array();
    memset(site->requests, 0, sizeof site->requests);
    site->open_max = site->open;
    for (size_t i = 0; i < ACCOUNTS_MAX; i++)
        site->accounts[i].in_window = 0;
}

struct ds_providers *
ds_providers_new(void)
{
    struct ds_providers *providers = calloc(1, sizeof *providers);
    if (!providers)
        return NULL;
    pthread_mutex_init(&providers->lock, NULL);
    bool complete = true;
    for (size_t i = 0; i < DS_PROVIDER_SITES; i++) {
        providers->sites[i].settings = settings_new(ds_provider_defaults(i));
        complete = complete && providers->sites[i].settings;
        site_forget(&providers->sites[i]);
    }
    if (complete)
        return providers;
    ds_providers_free(providers);
    return NULL;
}

void
ds_providers_free(struct ds_providers *providers)
{
    if (!providers)
        return;
    for (size_t i = 0; i < DS_PROVIDER_SITES; i++) {
        struct site *site = &providers->sites[i];
        settings_unref(providers, site->settings);
        json_decref(site->uploads);
        json_decref(site->contents);
        json_decref(site->chats);
    }
    rules_free(providers->rules);
    pthread_mutex_destroy(&providers->lock);
    free(providers);
}

/* ---- requests ---- */

static enum ds_flavour
flavour_of(const json_t *settings)
{
    const char *name = json_string_value(json_object_get(settings, "flavour"));
    enum ds_flavour flavour = 0;
    while (flavour < DS_FLAVOURS - 1 && strcmp(ds_flavour_names[flavour], name ? name : "") != 0)
        flavour++;
    return flavour;
}

void
ds_providers_take_settings(struct ds_providers *providers, struct ds_provider_call *call)
{
    pthread_mutex_lock(&providers->lock);
    call->held = providers->sites[call->index].settings;
    call->held->refs++;
    pthread_mutex_unlock(&providers->lock);
    call->settings = call->held->json;
    call->flavour = flavour_of(call->settings);
}

void
ds_providers_drop_settings(struct ds_providers *providers, struct ds_provider_call *call)
{
    settings_unref(providers, call->held);
}

/* Its row, a new one when it was never seen; NULL when there are too many. */
static struct account *
account_locked(struct site *site, const char *name)
{
    for (size_t i = 0; i < ACCOUNTS_MAX; i++) {
        struct account *account = &site->accounts[i];
        if (account->name[0] == '\0')
            snprintf(account->name, sizeof account->name, "%s", name);
        if (strcmp(account->name, name) == 0)
            return account;
    }
    return NULL;
}

static bool
rule_fires_locked(struct rule *rule, const struct ds_provider_call *call)
{
    if ((rule->site >= 0 && rule->site != (int)call->index) ||
        (rule->op >= 0 && rule->op != (int)call->op) ||
        (rule->account && strcmp(rule->account, call->account) != 0))
        return false;
    rule->matched++;
    if (rule->matched <= rule->skip || (rule->times >= 0 && rule->fired >= rule->times))
        return false;
    rule->dice = rule->dice * DICE_MULTIPLY + DICE_ADD;
    if ((int64_t)((rule->dice >> 33) % 100) >= rule->chance)
        return false;
    rule->fired++;
    return true;
}

static enum ds_limited
limit_locked(struct account *account, struct ds_provider_call *call, int64_t *wait_s)
{
    int64_t rpm = ds_set_number(call, "rpm"), most = ds_set_number(call, "concurrency");
    int64_t window_ms = ds_set_number(call, "rpm_window_s") * MS_OF_S;
    *wait_s = 0;
    if (ds_set_is(call, "limited", "chat") && call->op != DS_OP_CHAT)
        return DS_LIMITED_NOT;
    if (most > 0 && account->open > most)
        return DS_LIMITED_CONCURRENCY;
    if (rpm == 0)
        return DS_LIMITED_NOT;
    int64_t now = ds_tick_ns() / 1000000;
    if (account->in_window == 0 || now - account->window_ms >= window_ms) {
        account->window_ms = now;
        account->in_window = 0;
    }
    if (account->in_window >= rpm) {
        *wait_s = (window_ms - (now - account->window_ms) + MS_OF_S - 1) / MS_OF_S;
        return DS_LIMITED_RATE;
    }
    account->in_window++;
    call->left = rpm - account->in_window;
    return DS_LIMITED_NOT;
}

enum ds_limited
ds_providers_enter(struct ds_providers *providers, struct ds_provider_call *call, int64_t *wait_s)
{
    char bad[48];
    enum ds_limited limited = DS_LIMITED_NOT;
    pthread_mutex_lock(&providers->lock);
    struct site *site = &providers->sites[call->index];
    struct account *account = account_locked(site, call->account);
    site->requests[call->op]++;
    site->open++;
    call->open = true;
    if (site->open > site->open_max)
        site->open_max = site->open;
    if (account) {
        account->open++;
        limited = limit_locked(account, call, wait_s);
    }
    for (struct rule *rule = providers->rules; rule; rule = rule->next)
        if (rule_fires_locked(rule, call))
            ds_scenario_add(call, rule->scenario, bad);
    pthread_mutex_unlock(&providers->lock);
    return limited;
}

void
ds_providers_leave(struct ds_providers *providers, struct ds_provider_call *call)
{
    if (!call->open)
        return;
    pthread_mutex_lock(&providers->lock);
    struct site *site = &providers->sites[call->index];
    struct account *account = account_locked(site, call->account);
    site->open--;
    if (account)
        account->open--;
    pthread_mutex_unlock(&providers->lock);
    call->open = false;
}

uint64_t
ds_providers_epoch(struct ds_providers *providers)
{
    pthread_mutex_lock(&providers->lock);
    uint64_t epoch = providers->epoch;
    pthread_mutex_unlock(&providers->lock);
    return epoch;
}

/* ---- what came ---- */

static void
count_up(json_t *object, const char *name)
{
    int64_t n = json_integer_value(json_object_get(object, name));
    json_object_set_new(object, name, json_integer(n + 1));
}

void
ds_providers_note_upload(struct ds_providers *providers, size_t site, const struct ds_pfile *file)
{
    char key[256];
    snprintf(key, sizeof key, "%s %s %s", file->account, file->purpose, file->sha256);
    pthread_mutex_lock(&providers->lock);
    json_t *uploads = providers->sites[site].uploads;
    json_t *row = json_object_get(uploads, key);
    if (!row) {
        row = json_pack("{s:s, s:s, s:s, s:s, s:I, s:[]}", "account", file->account, "purpose",
                        file->purpose, "sha256", file->sha256, "filename", file->filename, "bytes",
                        (json_int_t)file->size, "ids");
        json_object_set_new(uploads, key, row);
    }
    if (row) {
        count_up(row, "count");
        json_array_append_new(json_object_get(row, "ids"), json_string(file->id));
    }
    pthread_mutex_unlock(&providers->lock);
}

void
ds_providers_note_content(struct ds_providers *providers, size_t site, const char *id)
{
    pthread_mutex_lock(&providers->lock);
    count_up(providers->sites[site].contents, id);
    pthread_mutex_unlock(&providers->lock);
}

/* Tokens of the messages that two chats begin with. */
static int64_t
common_tokens(const json_t *a, const json_t *b)
{
    int64_t tokens = 0;
    for (size_t i = 0; i < json_array_size(a) && i < json_array_size(b); i++) {
        const json_t *one = json_array_get(a, i), *other = json_array_get(b, i);
        if (!json_equal(json_object_get(one, "sha256"), json_object_get(other, "sha256")) ||
            !json_equal(json_object_get(one, "role"), json_object_get(other, "role")))
            break;
        tokens += json_integer_value(json_object_get(one, "tokens"));
    }
    return tokens;
}

uint64_t
ds_providers_note_chat(struct ds_providers *providers, size_t which, json_t *chat, int64_t *cached)
{
    pthread_mutex_lock(&providers->lock);
    struct site *site = &providers->sites[which];
    size_t i;
    const json_t *old;
    int64_t best = 0;
    json_array_foreach(site->chats, i, old)
    {
        if (!json_equal(json_object_get(old, "account"), json_object_get(chat, "account")) ||
            !json_equal(json_object_get(old, "model"), json_object_get(chat, "model")))
            continue;
        int64_t tokens =
            common_tokens(json_object_get(old, "messages"), json_object_get(chat, "messages"));
        best = tokens > best ? tokens : best;
    }
    *cached = best / CACHE_BLOCK * CACHE_BLOCK;
    uint64_t seq = ++site->chat_seq;
    json_object_set_new(chat, "seq", json_integer((json_int_t)seq));
    json_object_set_new(chat, "cached_tokens", json_integer(*cached));
    if (json_array_size(site->chats) == CHATS_KEPT)
        json_array_remove(site->chats, 0);
    json_array_append_new(site->chats, chat);
    pthread_mutex_unlock(&providers->lock);
    return seq;
}

void
ds_providers_chat_ended(struct ds_providers *providers, size_t which, uint64_t seq, const char *how,
                        size_t frames)
{
    pthread_mutex_lock(&providers->lock);
    size_t i;
    json_t *chat;
    json_array_foreach(providers->sites[which].chats, i, chat)
    {
        if ((uint64_t)json_integer_value(json_object_get(chat, "seq")) != seq)
            continue;
        json_object_set_new(chat, "ended", json_string(how));
        json_object_set_new(chat, "frames", json_integer((json_int_t)frames));
    }
    pthread_mutex_unlock(&providers->lock);
}

/* ---- the admin port ---- */

static void
show_file(void *arg, const struct ds_pfile *file)
{
    static const char *const states[] = {
        [DS_PFILE_READY] = "ready",     [DS_PFILE_PENDING] = "pending",
        [DS_PFILE_FAILING] = "pending", [DS_PFILE_STUCK] = "pending",
        [DS_PFILE_FAILED] = "failed",
    };
    json_array_append_new(
        arg, json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:s}", "id", file->id, "account",
                       file->account, "purpose", file->purpose, "filename", file->filename,
                       "sha256", file->sha256, "bytes", (json_int_t)file->size, "created_at",
                       (json_int_t)(file->created_ms / MS_OF_S), "state", states[file->state]));
}

static json_t *
values_of(const json_t *object)
{
    json_t *array = json_array();
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
        json_array_append_new(array, json_deep_copy(value));
    return array;
}

static json_t *
site_to_json_locked(const struct site *site)
{
    json_t *requests = json_object();
    int64_t total = 0;
    for (size_t op = 0; op < DS_OPS; op++) {
        total += site->requests[op];
        if (site->requests[op] > 0)
            json_object_set_new(requests, ds_op_names[op], json_integer(site->requests[op]));
    }
    return json_pack("{s:o, s:I, s:o, s:I, s:I, s:o, s:o, s:o}", "settings",
                     json_deep_copy(site->settings->json), "requests", (json_int_t)total,
                     "by_route", requests, "open", (json_int_t)site->open, "open_max",
                     (json_int_t)site->open_max, "uploads", values_of(site->uploads), "contents",
                     json_deep_copy(site->contents), "chats", json_deep_copy(site->chats));
}

static json_t *
rules_to_json_locked(const struct rule *rules)
{
    json_t *array = json_array();
    for (const struct rule *rule = rules; rule; rule = rule->next) {
        json_t *json = json_deep_copy(rule->json);
        json_object_set_new(json, "matched", json_integer(rule->matched));
        json_object_set_new(json, "fired", json_integer(rule->fired));
        json_array_append_new(array, json);
    }
    return array;
}

json_t *
ds_providers_to_json(struct ds_server *server)
{
    struct ds_providers *providers = server->providers;
    json_t *all = json_object();
    for (size_t i = 0; i < DS_PROVIDER_SITES; i++) {
        const struct ds_provider_site *site = &ds_provider_sites[i];
        json_t *files = json_array();
        struct ds_pfile_query query = {
            .site = site->name, .before = INT64_MAX, .since_ms = INT64_MIN, .limit = FILES_SHOWN};
        ds_db_pfile_list(server->db, &query, show_file, files);
        pthread_mutex_lock(&providers->lock);
        json_t *json = site_to_json_locked(&providers->sites[i]);
        pthread_mutex_unlock(&providers->lock);
        json_object_set_new(json, "files", files);
        json_object_set_new(json, "base", json_string(site->base));
        json_object_set_new(json, "key", json_string(server->project->provider_keys[i]));
        json_object_set_new(all, site->name, json);
    }
    pthread_mutex_lock(&providers->lock);
    json_object_set_new(all, "rules", rules_to_json_locked(providers->rules));
    pthread_mutex_unlock(&providers->lock);
    return all;
}

static int
find_site(const char *name)
{
    for (int i = 0; i < DS_PROVIDER_SITES; i++)
        if (name && strcmp(ds_provider_sites[i].name, name) == 0)
            return i;
    return -1;
}

static void
put_settings(struct ds_providers *providers, size_t site, struct ds_settings *fresh)
{
    pthread_mutex_lock(&providers->lock);
    struct ds_settings *old = providers->sites[site].settings;
    providers->sites[site].settings = fresh;
    pthread_mutex_unlock(&providers->lock);
    settings_unref(providers, old);
}

static int
change_site(struct ds_providers *providers, size_t site, const json_t *changes)
{
    pthread_mutex_lock(&providers->lock);
    json_t *json = json_deep_copy(providers->sites[site].settings->json);
    pthread_mutex_unlock(&providers->lock);
    ds_autojson *copy = json_deep_copy(changes);
    bool changed = json && copy && json_object_update(json, copy) == 0;
    struct ds_settings *fresh = changed ? settings_new(json) : NULL;
    if (!changed)
        json_decref(json);
    if (!fresh)
        return -ENOMEM;
    put_settings(providers, site, fresh);
    return 0;
}

int
ds_providers_set(struct ds_providers *providers, const json_t *json, struct sf_err *err)
{
    const char *site_name, *name;
    json_t *site, *value;
    int rc = 0;
    if (!json_is_object(json))
        return sf_err_set(err, -EINVAL, "settings must be an object of objects");
    json_object_foreach((json_t *)(uintptr_t)json, site_name, site)
    {
        if (find_site(site_name) < 0 || !json_is_object(site))
            return sf_err_set(err, -EINVAL, "\"%s\" is no provider with an object", site_name);
        json_object_foreach(site, name, value)
        {
            rc = rc == 0 ? ds_provider_check_setting(name, value, err) : rc;
        }
    }
    if (rc < 0)
        return rc;
    json_object_foreach((json_t *)(uintptr_t)json, site_name, site)
    {
        rc = rc == 0 ? change_site(providers, (size_t)find_site(site_name), site) : rc;
    }
    return rc < 0 ? sf_err_set(err, rc, "no memory") : 0;
}

static int
read_number(const json_t *json, const char *name, int64_t missing, int64_t *ret, struct sf_err *err)
{
    const json_t *value = json_object_get(json, name);
    *ret = value ? json_integer_value(value) : missing;
    if (value && (!json_is_integer(value) || *ret < 0))
        return sf_err_set(err, -EINVAL, "\"%s\" must be an integer from 0 up", name);
    return 0;
}

static int
check_members(const json_t *json, struct sf_err *err)
{
    static const char *const known[] = {"provider", "route", "account", "scenario",
                                        "skip",     "times", "chance",  "seed"};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, name, value)
    {
        size_t i = 0;
        while (i < sizeof known / sizeof known[0] && strcmp(known[i], name) != 0)
            i++;
        if (i == sizeof known / sizeof known[0])
            return sf_err_set(err, -EINVAL, "a rule has no member \"%s\"", name);
        if (i < 4 && !json_is_string(value))
            return sf_err_set(err, -EINVAL, "\"%s\" must be a string", name);
    }
    return 0;
}

static int
read_rule(const json_t *from, struct rule **ret, struct sf_err *err)
{
    struct rule *rule = calloc(1, sizeof *rule);
    if (!rule)
        return sf_err_set(err, -ENOMEM, "no memory");
    rule->json = json_is_object(from) ? json_deep_copy(from) : NULL;
    const char *site = json_string_value(json_object_get(rule->json, "provider"));
    const char *op = json_string_value(json_object_get(rule->json, "route"));
    rule->account = json_string_value(json_object_get(rule->json, "account"));
    rule->scenario = json_string_value(json_object_get(rule->json, "scenario"));
    rule->site = find_site(site);
    rule->op = -1;
    for (int i = 0; op && i < DS_OPS; i++)
        if (strcmp(ds_op_names[i], op) == 0)
            rule->op = i;
    char bad[48] = "";
    int64_t seed = 0;
    int rc = rule->json ? check_members(rule->json, err)
                        : sf_err_set(err, -EINVAL, "a rule must be an object");
    if (rc == 0 && site && rule->site < 0)
        rc = sf_err_set(err, -EINVAL, "there is no provider \"%s\"", site);
    if (rc == 0 && op && rule->op < 0)
        rc = sf_err_set(err, -EINVAL, "there is no route \"%s\"", op);
    if (rc == 0 && !rule->scenario)
        rc = sf_err_set(err, -EINVAL, "a rule needs a \"scenario\"");
    if (rc == 0 && ds_scenario_add(NULL, rule->scenario, bad) < 0)
        rc = sf_err_set(err, -EINVAL, "there is no scenario \"%s\"", bad);
    if (rc == 0)
        rc = read_number(rule->json, "skip", 0, &rule->skip, err);
    if (rc == 0)
        rc = read_number(rule->json, "times", -1, &rule->times, err);
    if (rc == 0)
        rc = read_number(rule->json, "chance", 100, &rule->chance, err);
    if (rc == 0)
        rc = read_number(rule->json, "seed", 0, &seed, err);
    rule->dice = (uint64_t)seed * DICE_MULTIPLY + DICE_ADD;
    if (rc < 0)
        rules_free(rule);
    else
        *ret = rule;
    return rc;
}

int
ds_providers_add_rules(struct ds_providers *providers, const json_t *json, struct sf_err *err)
{
    struct rule *fresh = NULL, **tail = &fresh;
    size_t count = json_is_array(json) ? json_array_size(json) : 1;
    for (size_t i = 0; i < count; i++) {
        int rc = read_rule(json_is_array(json) ? json_array_get(json, i) : json, tail, err);
        if (rc < 0) {
            rules_free(fresh);
            return rc;
        }
        tail = &(*tail)->next;
    }
    pthread_mutex_lock(&providers->lock);
    struct rule **end = &providers->rules;
    while (*end)
        end = &(*end)->next;
    *end = fresh;
    pthread_mutex_unlock(&providers->lock);
    return 0;
}

void
ds_providers_reset(struct ds_providers *providers, bool settings)
{
    pthread_mutex_lock(&providers->lock);
    struct rule *old = providers->rules;
    providers->rules = NULL;
    providers->epoch++;
    for (size_t i = 0; i < DS_PROVIDER_SITES; i++) {
        site_forget(&providers->sites[i]);
    }
    pthread_mutex_unlock(&providers->lock);
    rules_free(old);
    for (size_t i = 0; settings && i < DS_PROVIDER_SITES; i++) {
        struct ds_settings *fresh = settings_new(ds_provider_defaults(i));
        if (fresh)
            put_settings(providers, i, fresh);
    }
}

int
ds_providers_remove_files(struct ds_server *server, const char *site)
{
    for (size_t i = 0; i < DS_PROVIDER_SITES; i++) {
        const char *name = ds_provider_sites[i].name;
        struct ds_pfile file, gone;
        if (site && strcmp(site, name) != 0)
            continue;
        int rc;
        while ((rc = ds_db_pfile_first(server->db, name, &file)) == 0) {
            if (ds_db_pfile_delete(server->db, name, file.account, file.id, &gone) == 0)
                ds_store_remove(server->store, gone.version);
        }
        if (rc != -ENOENT)
            return rc;
    }
    return 0;
}
