/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"
#include "provider-internal.h"
#include "reply.h"

#define BODY_MAX (64u << 20)

/* ---- who asks ---- */

/* KEY[+ACCOUNT][@SCENARIO,...] of the Authorization header: the account and the scenarios are taken
 * over; true when KEY is the site's. */
static bool
read_key(struct ds_request *req, const char *sent, char bad[48])
{
    struct ds_provider_call *call = req->provider;
    const char *key = req->server->project->provider_keys[call->index];
    size_t len = strcspn(sent, "@"), own = strlen(key);
    const char *plus = memchr(sent, '+', len);
    size_t key_len = plus ? (size_t)(plus - sent) : len;
    if (plus && plus + 1 < sent + len && ds_utf8_valid(plus, (size_t)(sent + len - plus)))
        snprintf(call->account, sizeof call->account, "%.*s", (int)(sent + len - plus - 1),
                 plus + 1);
    if (sent[len] == '@')
        ds_scenario_add(call, sent + len + 1, bad);
    return key_len == own && memcmp(sent, key, own) == 0;
}

/* Servers that one runs oneself ask for no key. */
static bool
needs_key(const struct ds_provider_call *call)
{
    return call->flavour <= DS_FLAVOUR_OPENAI;
}

static bool
has_files(const struct ds_provider_call *call)
{
    return call->flavour <= DS_FLAVOUR_OPENAI;
}

/* Whether the site, as it is set, has the route at all. */
static bool
is_served(const struct ds_provider_call *call)
{
    bool is_kimi = call->flavour == DS_FLAVOUR_KIMI;
    switch (call->op) {
    case DS_OP_UPLOAD:
    case DS_OP_LIST:
    case DS_OP_DELETE:
    case DS_OP_CONTENT:
        return has_files(call);
    case DS_OP_GET:
        return has_files(call) && ds_set_bool(call, "get_by_id");
    case DS_OP_MODELS:
        return ds_set_bool(call, "models_route");
    case DS_OP_TOKENS:
    case DS_OP_BALANCE:
        return is_kimi;
    case DS_OP_PARSE:
    case DS_OP_PARSE_SYNC:
    case DS_OP_PARSE_RESULT:
        return ds_set_bool(call, "parser");
    default:
        return call->op == DS_OP_CHAT;
    }
}

static void
no_route(struct ds_request *req)
{
    ds_perrorf(req, DS_PE_NO_ROUTE, "%s %s", req->method,
               req->path + strlen(req->provider->site->base));
}

/* ---- small routes ---- */

void
ds_provider_reply(struct ds_request *req, int status, json_t *value)
{
    sf_autofree char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);
    ds_reply_text(req, text ? status : 500, "application/json; charset=utf-8", text ? text : "");
}

json_t *
ds_provider_json(struct ds_request *req)
{
    json_error_t problem;
    json_t *json = json_loadb(req->text.data ? req->text.data : "", req->text.len, 0, &problem);
    if (!json)
        ds_perrorf(req, DS_PE_INVALID, "the body is no JSON: %s", problem.text);
    if (json && !json_is_object(json)) {
        json_decref(json);
        json = NULL;
        ds_perror(req, DS_PE_INVALID, "the body is no object");
    }
    return json;
}

static json_t *
model_row(const struct ds_provider_call *call, const char *id)
{
    return json_pack("{s:s, s:s, s:i, s:s}", "id", id, "object", "model", "created", 1780000000,
                     "owned_by", call->flavour == DS_FLAVOUR_KIMI ? "moonshot" : "library");
}

static void
models(struct ds_request *req)
{
    const struct ds_provider_call *call = req->provider;
    const json_t *entry;
    size_t i;
    if (call->id && ds_set_has(call, "models", call->id)) {
        ds_provider_reply(req, 200, model_row(call, call->id));
        return;
    }
    if (call->id) {
        ds_perror(req, DS_PE_MODEL, call->id);
        return;
    }
    json_t *data = json_array();
    json_array_foreach((json_t *)(uintptr_t)ds_set_value(call, "models"), i, entry)
    {
        const char *id = json_string_value(entry);
        json_array_append_new(data, model_row(call, id ? id : ""));
    }
    ds_provider_reply(req, 200, json_pack("{s:s, s:o}", "object", "list", "data", data));
}

static void
balance(struct ds_request *req)
{
    ds_provider_reply(req, 200,
                      json_pack("{s:i, s:{s:f, s:f, s:f}, s:s, s:b}", "code", 0, "data",
                                "available_balance", 49.58894, "cash_balance", 3.58894,
                                "voucher_balance", 46.0, "scode", "0x0", "status", 1));
}

/* ---- a request's life ---- */

static void
rate_headers(struct ds_request *req)
{
    const struct ds_provider_call *call = req->provider;
    bool is_openai = call->index == DS_PROVIDER_OPENAI;
    int64_t rpm = ds_set_number(call, "rpm");
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)(rpm > 0 ? rpm : 5000));
    ds_reply_header(req, is_openai ? "x-ratelimit-limit-requests" : "x-ratelimit-limit", text);
    snprintf(text, sizeof text, "%lld", (long long)(rpm > 0 ? call->left : 4999));
    ds_reply_header(req, is_openai ? "x-ratelimit-remaining-requests" : "x-ratelimit-remaining",
                    text);
}

/* What an answer has beside itself. */
static void
decorate(struct ds_request *req)
{
    struct ds_provider_call *call = req->provider;
    char text[40];
    snprintf(text, sizeof text, "trace-%016llx", (unsigned long long)req->log_seq);
    bool is_kimi = call->flavour == DS_FLAVOUR_KIMI;
    ds_reply_header(req, is_kimi ? "x-trace-id" : "x-request-id", text);
    if (ds_set_bool(call, "rate_headers"))
        rate_headers(req);
    /* Before the last byte is out: who has the answer may ask again at once. */
    if (!req->reply.reader)
        ds_providers_leave(req->server->providers, call);
}

static void
check(struct ds_request *req)
{
    struct ds_provider_call *call = req->provider;
    const char *header = ds_request_header(req, "authorization");
    bool bearer = header && strncasecmp(header, "Bearer ", 7) == 0;
    char bad[48] = "";
    bool right = bearer && read_key(req, header + 7, bad);
    int64_t wait_s;
    enum ds_limited limited = ds_providers_enter(req->server->providers, call, &wait_s);
    if (bad[0])
        ds_perrorf(req, DS_PE_INVALID, "the emulated provider has no scenario \"%s\"", bad);
    else if (!right && needs_key(call))
        ds_perror(req, bearer ? DS_PE_KEY : DS_PE_NO_KEY, NULL);
    else if (limited == DS_LIMITED_RATE)
        ds_perrorf(req, DS_PE_RPM, "%lld", (long long)wait_s);
    else if (limited == DS_LIMITED_CONCURRENCY)
        ds_perrorf(req, DS_PE_CONCURRENCY, "%lld", (long long)ds_set_number(call, "concurrency"));
    else if (!is_served(call))
        no_route(req);
    else if (ds_scenario_answers(req))
        ds_scenario_before(req);
}

static void
begin(struct ds_request *req)
{
    check(req);
    if (req->reply.status == 0 && req->provider->form == NULL &&
        (req->provider->op == DS_OP_UPLOAD || req->provider->op == DS_OP_PARSE ||
         req->provider->op == DS_OP_PARSE_SYNC))
        ds_pfile_upload_begin(req);
    if (req->reply.status != 0)
        decorate(req);
}

static int
take(struct ds_request *req, const void *bytes, size_t len)
{
    if (req->provider->form)
        return ds_pfile_upload_take(req, bytes, len);
    if (req->text.len + len <= BODY_MAX)
        ds_buf_add(&req->text, bytes, len);
    else
        ds_perror(req, DS_PE_BODY_SIZE, NULL);
    return 0;
}

static void
carry_out(struct ds_request *req)
{
    static void (*const routes[DS_OPS])(struct ds_request *) = {
        [DS_OP_UPLOAD] = ds_pfile_upload,
        [DS_OP_LIST] = ds_pfile_list,
        [DS_OP_GET] = ds_pfile_get,
        [DS_OP_CONTENT] = ds_pfile_content,
        [DS_OP_DELETE] = ds_pfile_delete,
        [DS_OP_CHAT] = ds_chat,
        [DS_OP_MODELS] = models,
        [DS_OP_TOKENS] = ds_chat_tokens,
        [DS_OP_BALANCE] = balance,
        [DS_OP_PARSE] = ds_parser_create,
        [DS_OP_PARSE_SYNC] = ds_parser_sync,
        [DS_OP_PARSE_RESULT] = ds_parser_result,
        [DS_OP_UNKNOWN] = no_route,
    };
    /* A chat may name scenarios in its model, and looks itself. */
    if (req->provider->op != DS_OP_CHAT && !ds_scenario_before(req))
        return;
    routes[req->provider->op](req);
    ds_scenario_after(req);
}

static void
finish(struct ds_request *req)
{
    carry_out(req);
    decorate(req);
}

static const struct ds_route routes[DS_OPS] = {
#define ROUTE(op, name)                                                                            \
    [op] = {                                                                                       \
        .kind = "provider-" name,                                                                  \
        .body = DS_BODY_OBJECT,                                                                    \
        .begin = begin,                                                                            \
        .take = take,                                                                              \
        .finish = finish,                                                                          \
    }
    ROUTE(DS_OP_UPLOAD, "file-upload"),    ROUTE(DS_OP_LIST, "file-list"),
    ROUTE(DS_OP_GET, "file-get"),          ROUTE(DS_OP_CONTENT, "file-content"),
    ROUTE(DS_OP_DELETE, "file-delete"),    ROUTE(DS_OP_CHAT, "chat"),
    ROUTE(DS_OP_MODELS, "models"),         ROUTE(DS_OP_TOKENS, "tokens"),
    ROUTE(DS_OP_BALANCE, "balance"),       ROUTE(DS_OP_PARSE, "parse"),
    ROUTE(DS_OP_PARSE_SYNC, "parse-sync"), ROUTE(DS_OP_PARSE_RESULT, "parse-result"),
    ROUTE(DS_OP_UNKNOWN, "unknown"),
};

/* ---- which route ---- */

/* "/files/ID" or "/files/ID/content" behind the slash. */
static enum ds_op
file_op(struct ds_provider_call *call, const char *method, const char *rest)
{
    static const char result[] = "parser/result/";
    bool get = strcmp(method, "GET") == 0, post = strcmp(method, "POST") == 0;
    if (post && strcmp(rest, "parser/create") == 0)
        return DS_OP_PARSE;
    if (post && strcmp(rest, "parser/sync") == 0)
        return DS_OP_PARSE_SYNC;
    bool task = get && strncmp(rest, result, sizeof result - 1) == 0;
    if (task)
        rest += sizeof result - 1;
    size_t len = strcspn(rest, "/");
    if (len == 0)
        return DS_OP_UNKNOWN;
    call->id = strndup(rest, len);
    if (task)
        return strcmp(rest + len, "/text") == 0 || strcmp(rest + len, "/download_link") == 0
                   ? DS_OP_PARSE_RESULT
                   : DS_OP_UNKNOWN;
    if (get && strcmp(rest + len, "/content") == 0)
        return DS_OP_CONTENT;
    if (rest[len] != '\0')
        return DS_OP_UNKNOWN;
    return get ? DS_OP_GET : strcmp(method, "DELETE") == 0 ? DS_OP_DELETE : DS_OP_UNKNOWN;
}

static enum ds_op
find_op(struct ds_provider_call *call, const char *method, const char *rest)
{
    static const struct {
        const char *method, *path;
        enum ds_op op;
    } fixed[] = {
        {"POST", "/files", DS_OP_UPLOAD},
        {"GET", "/files", DS_OP_LIST},
        {"POST", "/chat/completions", DS_OP_CHAT},
        {"GET", "/models", DS_OP_MODELS},
        {"POST", "/tokenizers/estimate-token-count", DS_OP_TOKENS},
        {"GET", "/users/me/balance", DS_OP_BALANCE},
    };
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        if (strcmp(fixed[i].method, method) == 0 && strcmp(fixed[i].path, rest) == 0)
            return fixed[i].op;
    if (strncmp(rest, "/files/", 7) == 0)
        return file_op(call, method, rest + 7);
    if (strncmp(rest, "/models/", 8) == 0 && rest[8] && strcmp(method, "GET") == 0) {
        call->id = strdup(rest + 8);
        return DS_OP_MODELS;
    }
    return DS_OP_UNKNOWN;
}

const struct ds_route *
ds_provider_find_route(struct ds_request *req)
{
    size_t i = 0, len = 0;
    for (; i < DS_PROVIDER_SITES; i++) {
        len = strlen(ds_provider_sites[i].base);
        if (strncmp(req->target, ds_provider_sites[i].base, len) == 0 &&
            (req->target[len] == '/' || req->target[len] == '?' || req->target[len] == '\0'))
            break;
    }
    if (i == DS_PROVIDER_SITES)
        return NULL;
    char *question = strchr(req->target, '?');
    if (question) {
        *question = '\0';
        req->query = question + 1;
    }
    struct ds_provider_call *call = calloc(1, sizeof *call);
    req->provider = call;
    if (!call) {
        ds_fail_errno(req, -ENOMEM, "a request to a provider");
        return NULL;
    }
    call->site = &ds_provider_sites[i];
    call->index = i;
    snprintf(call->account, sizeof call->account, "main");
    ds_providers_take_settings(req->server->providers, call);
    call->op = find_op(call, req->method, req->target + len);
    return &routes[call->op];
}

void
ds_provider_call_free(struct ds_request *req)
{
    struct ds_provider_call *call = req->provider;
    if (!call)
        return;
    ds_providers_leave(req->server->providers, call);
    ds_provider_form_free(call->form);
    ds_providers_drop_settings(req->server->providers, call);
    free(call->id);
    free(call);
}
