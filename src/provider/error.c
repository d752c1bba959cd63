/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/error.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/redact.h"
#include "base/str.h"
#include "http/http.h"
#include "provider/provider.h"
#include "supabase/json.h"

/* Error bodies are a few hundred bytes; a gateway's HTML page is not worth parsing. */
#define BODY_MAX (64 * 1024)
#define DAY_MS   (24 * 3600 * 1000)

/* clang-format off */
static const struct sf_provider_class_info classes[SF_PC_COUNT_OF] = {
    [SF_PC_OK]         = { "ok", 0, SF_PA_NO, false, "nothing failed" },
    [SF_PC_AUTH]       = { "key refused", -EACCES, SF_PA_NO, true, "the key is missing, wrong, or of another region or plan" },
    [SF_PC_PERMISSION] = { "not permitted", -EACCES, SF_PA_NO, true, "the key may not do this" },
    [SF_PC_QUOTA]      = { "no balance", -EDQUOT, SF_PA_NO, true, "money, plan or subscription is used up: waiting does not help" },
    [SF_PC_RATE]       = { "rate limit", -EAGAIN, SF_PA_SOON, true, "too many requests just now" },
    [SF_PC_RATE_LATER] = { "cap reached", -EDQUOT, SF_PA_NO, true, "a cap of the day, week or month is used up" },
    [SF_PC_OVERLOADED] = { "overloaded", -EIO, SF_PA_SOON, true, "the provider has too much to do, whoever asks" },
    [SF_PC_SERVER]     = { "server error", -EIO, SF_PA_ONCE, true, "the provider failed" },
    [SF_PC_NETWORK]    = { "no reply", -EIO, SF_PA_SOON, true, "the provider was not reached, or its reply was lost" },
    [SF_PC_TIMEOUT]    = { "timeout", -ETIMEDOUT, SF_PA_ONCE, true, "no reply in time" },
    [SF_PC_TOO_LARGE]  = { "too large", -EFBIG, SF_PA_NO, false, "the file is larger than the provider takes" },
    [SF_PC_CONTEXT]    = { "too long", -EFBIG, SF_PA_NO, false, "the prompt is longer than the model takes" },
    [SF_PC_EMPTY]      = { "empty", -EINVAL, SF_PA_NO, false, "files without a byte are refused" },
    [SF_PC_TYPE]       = { "unsupported type", -ENOTSUP, SF_PA_NO, false, "the provider takes no files of this kind" },
    [SF_PC_COUNT]      = { "account full", -ENOSPC, SF_PA_NO, true, "the account holds as many files as it may" },
    [SF_PC_NOT_FOUND]  = { "not found", -ENOENT, SF_PA_NO, false, "there is no file of this id (any more)" },
    [SF_PC_NO_API]     = { "no such API", -ENOTSUP, SF_PA_NO, true, "the server has no such route" },
    [SF_PC_FILTERED]   = { "refused content", -EPERM, SF_PA_NO, false, "the content was refused as unsafe" },
    [SF_PC_MODEL]      = { "no such model", -EINVAL, SF_PA_NO, true, "the provider has no model of this name, or not for this key" },
    [SF_PC_INVALID]    = { "bad request", -EINVAL, SF_PA_NO, false, "asked in a way that the provider does not take" },
    [SF_PC_EXTRACT]    = { "not readable", -EIO, SF_PA_ONCE, false, "the file was taken, and its text could not be read" },
    [SF_PC_LOADING]    = { "loading", -EAGAIN, SF_PA_SOON, true, "a local server still loads its model" },
    [SF_PC_PROTOCOL]   = { "bad answer", -EPROTO, SF_PA_NO, true, "an answer that cannot be believed" },
    [SF_PC_NO_ANSWER]  = { "no answer", -EIO, SF_PA_NO, false, "the model was asked, and said nothing" },
};

#define ANY(c)      .code = (c)
#define GLM(c)      .vendor = "glm", .code = (c)
#define SAYS(m)     .message = (m)
#define HTTP(s)     .http_from = (s), .http_to = (s)
#define HTTPS(a, b) .http_from = (a), .http_to = (b)
#define TO(k, m)    .cls = SF_PC_##k, .meaning = (m)

/*
 * From narrow to wide: what only one vendor says and what only one message tells, then types that
 * many share, then the status. A message may repeat words of the request (the name of a file or a
 * model), so that rows with a message ask for a status or a type where a file's name could match.
 */
static const struct sf_provider_row rows[] = {
    { .vendor = "glm", HTTP(435), TO(TOO_LARGE, "larger than 100 MB, whatever the code") },
    { GLM("1113"), TO(QUOTA, "in arrears, or no resource package: comes with HTTP 429") },
    { GLM("1309|1311"), TO(QUOTA, "the plan has expired, or does not have this model") },
    { GLM("1304|1308|1310|1313|1316-1321"), TO(RATE_LATER, "cap of the day, week, month or plan") },
    { GLM("1302|1303|1305"), TO(RATE, "concurrency, frequency or traffic limit") },
    { GLM("1312"), TO(OVERLOADED, "the model is busy") },
    { GLM("1000-1004"), TO(AUTH, "the key is missing, wrong or expired") },
    { GLM("1110-1112|1121"), TO(AUTH, "the account is inactive, missing, locked or in violation") },
    { GLM("1120"), TO(SERVER, "the account cannot be reached for the moment") },
    { GLM("1220"), TO(PERMISSION, "no permission for this API") },
    { GLM("1221|1222"), TO(NO_API, "the API is offline, or there is none") },
    { GLM("1211"), TO(MODEL, "the model does not exist") },
    { GLM("1261"), TO(CONTEXT, "the prompt is too long") },
    { GLM("1301"), TO(FILTERED, "unsafe content") },
    { GLM("500|1230|1234"), TO(SERVER, "internal error, of a process or of its network") },

    { ANY("exceeded_current_quota_error|insufficient_quota|billing_hard_limit_reached|billing_not_active"), TO(QUOTA, "no balance, or the plan is used up: comes with HTTP 429") },
    { SAYS("insufficient balance"), HTTPS(400, 429), TO(QUOTA, "the same in words") },
    { SAYS("exceeded your current quota"), HTTP(429), TO(QUOTA, "the same, by servers without types") },
    { SAYS("per day"), HTTP(429), TO(RATE_LATER, "requests or tokens of the day") },
    { ANY("rate_limit_reached_error|rate_limit_exceeded|rate_limit_error"), SAYS("TPD "), TO(RATE_LATER, "tokens of the day (comes without seconds)") },
    { ANY("rate_limit_reached_error|rate_limit_exceeded|rate_limit_error"), SAYS("per day"), TO(RATE_LATER, "the same in a stream") },
    { ANY("rate_limit_reached_error|rate_limit_exceeded|rate_limit_error"), TO(RATE, "requests or tokens of the minute, or requests at once") },
    { ANY("engine_overloaded_error|overloaded_error"), TO(OVERLOADED, "the engine has too much to do") },

    { ANY("invalid_authentication_error|incorrect_api_key_error|invalid_api_key|authentication_error"), TO(AUTH, "the key is wrong, or of another region") },
    { ANY("permission_denied_error|permission_error"), TO(PERMISSION, "API not open, or something of somebody else's") },

    { ANY("content_filter|content_policy_violation"), TO(FILTERED, "refused as unsafe") },
    { ANY("context_length_exceeded|exceed_context_size_error"), TO(CONTEXT, "more tokens than the model takes") },
    { ANY("*"), SAYS("exceeded model token limit"), TO(CONTEXT, "the same in words: Kimi") },
    { ANY("*"), SAYS("Input token length too long"), TO(CONTEXT, "the same, Kimi") },
    { ANY("*"), SAYS("total message size"), TO(CONTEXT, "the request's body is too large, Kimi") },
    { SAYS("maximum context length"), TO(CONTEXT, "the same, OpenAI and vLLM") },
    { SAYS("Context size has been exceeded"), TO(CONTEXT, "the same, llama.cpp (with HTTP 500)") },
    { ANY("model_not_found"), TO(MODEL, "no such model") },
    { ANY("resource_not_found_error"), SAYS("the model"), TO(MODEL, "no such model, or not for this key: Kimi") },
    { ANY("*"), SAYS("model "), HTTP(404), TO(MODEL, "no such model: Ollama, vLLM") },
    { SAYS("model `"), HTTP(404), TO(MODEL, "the same, by servers without types") },
    { ANY("unavailable_error"), TO(LOADING, "llama.cpp loads its model") },

    { ANY("*"), SAYS("File size is zero"), HTTP(400), TO(EMPTY, "Kimi") },
    { ANY("*"), SAYS("file is empty"), HTTP(400), TO(EMPTY, "others") },
    { ANY("*"), SAYS("File size is too large"), HTTP(400), TO(TOO_LARGE, "Kimi") },
    { ANY("*"), SAYS("file is too large"), HTTP(400), TO(TOO_LARGE, "others") },
    { ANY("*"), SAYS("number of files"), HTTP(400), TO(COUNT, "Kimi: delete some") },
    { ANY("*"), SAYS("total size"), HTTP(400), TO(COUNT, "all files together are too large") },
    { SAYS("Failed to extract file"), HTTP(500), TO(EXTRACT, "Kimi could not read the file's text") },
    { ANY("unsupported_file"), TO(TYPE, "not a kind of file for this purpose") },
    { ANY("*"), SAYS("Invalid extension"), HTTP(400), TO(TYPE, "OpenAI") },
    { ANY("*"), SAYS("unsupported file"), HTTP(400), TO(TYPE, "in words") },
    { ANY("*"), SAYS("file type not supported"), HTTP(400), TO(TYPE, "in other words") },
    { ANY("*"), SAYS("Invalid value: file."), HTTP(400), TO(TYPE, "no files in messages") },

    { GLM("1210|1213-1215"), TO(INVALID, "parameters that are wrong, missing or in conflict") },

    { ANY("url.not_found"), TO(NO_API, "Moonshot's gateway does not know the route") },
    { SAYS("Unexpected endpoint"), TO(NO_API, "no such route, LM Studio (with HTTP 200)") },
    { ANY("*"), SAYS("Invalid URL"), HTTP(404), TO(NO_API, "no such route, OpenAI") },
    { ANY("not_found_error"), SAYS("File Not Found"), TO(NO_API, "no such route, llama.cpp") },
    { ANY("resource_not_found_error|not_found_error"), TO(NOT_FOUND, "no such file") },
    { ANY("*"), HTTP(404), TO(NOT_FOUND, "the same, of another type") },
    { HTTP(404), TO(NO_API, "without an error of the provider's: a wrong address, or no such route") },
    { HTTP(405), TO(NO_API, "not for this method") },
    { HTTP(501), TO(NO_API, "not implemented") },

    { HTTP(401), TO(AUTH, "no key, or a wrong one") },
    { HTTP(402), TO(QUOTA, "to be paid") },
    { HTTP(403), TO(PERMISSION, "not with this key") },
    { HTTP(408), TO(TIMEOUT, "the request took too long to arrive") },
    { HTTP(413), TO(TOO_LARGE, "larger than the server or a gateway takes") },
    { HTTP(415), TO(TYPE, "not this type") },
    { HTTP(429), TO(RATE, "without a word that says which limit") },
    { .vendor = "glm", HTTP(434), TO(PERMISSION, "no permission for this API") },
    { HTTP(503), TO(OVERLOADED, "without a word: the server or a gateway has too much to do") },
    { HTTP(529), TO(OVERLOADED, "the same by another number") },
    { HTTPS(500, 599), TO(SERVER, "it failed, or a gateway did not reach it") },
    { ANY("server_error|unexpected_output|internal_error|internal_server_error"), TO(SERVER, "it failed, told by words alone") },
    { HTTPS(400, 499), TO(INVALID, "asked wrongly") },
    { ANY("invalid_request_error"), TO(INVALID, "asked wrongly, told by words alone") },
    { HTTPS(200, 299), TO(SERVER, "an error in a reply of success, or in the midst of a stream") },
    { TO(PROTOCOL, "anything else: a redirect, which is never followed, or no such status") },
};
/* clang-format on */

const struct sf_provider_class_info *
sf_provider_class_info(enum sf_provider_class cls)
{
    assert((unsigned)cls < SF_PC_COUNT_OF);
    return &classes[cls];
}

const struct sf_provider_row *
sf_provider_rows(size_t *n)
{
    *n = sizeof rows / sizeof *rows;
    return rows;
}

/* ---- what a body says ----------------------------------------------------------------------- */

struct words {
    bool error; /* the body says that there is one */
    int status; /* a status within the body; 0 = none */
    char code[48], kind[48];
    char message[1024];
    char request_id[80];
};

static void
take(const json_t *v, char *out, size_t size)
{
    if (json_is_string(v))
        sf_text_clean(json_string_value(v), json_string_length(v), out, size);
    else if (json_is_integer(v))
        snprintf(out, size, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
}

/* The members of an error that is an object: shapes 1 to 5. */
static void
take_object(const json_t *e, struct words *w)
{
    const json_t *code = json_object_get(e, "code");
    take(code, w->code, sizeof w->code);
    take(json_object_get(e, "type"), w->kind, sizeof w->kind);
    take(json_object_get(e, "message"), w->message, sizeof w->message);
    if (json_is_integer(code) && json_integer_value(code) >= 400 && json_integer_value(code) < 600)
        w->status = (int)json_integer_value(code);
}

/* Shape 6, and what frameworks say by themselves: {"detail":...}, {"msg":...}, {"message":...}. */
static void
take_rest(const json_t *root, struct words *w)
{
    static const char *const names[] = {"message", "msg", "detail"};
    for (size_t i = 0; i < sizeof names / sizeof *names && !w->message[0]; i++)
        take(json_object_get(root, names[i]), w->message, sizeof w->message);
    if (!w->code[0] && !w->kind[0] && !w->error)
        take(json_object_get(root, "code"), w->code, sizeof w->code);
}

static void
take_json(const json_t *root, struct words *w)
{
    const json_t *e = json_object_get(root, "error");
    const char *object = json_string_value(json_object_get(root, "object"));
    if (json_is_object(e)) {
        w->error = true;
        take_object(e, w);
    } else if (json_is_string(e) && json_string_length(e) > 0) {
        w->error = true;
        /* A sentence, or a word that stands for one. */
        if (strchr(json_string_value(e), ' '))
            take(e, w->message, sizeof w->message);
        else
            take(e, w->code, sizeof w->code);
    } else if (object && !strcmp(object, "error")) {
        w->error = true;
        take_object(root, w);
    } else if (json_is_false(json_object_get(root, "success"))) {
        w->error = true;
    }
    if (!json_is_object(e))
        take_rest(root, w);
    take(json_object_get(root, "request_id"), w->request_id, sizeof w->request_id);
}

/* One line of an event stream: "data: {...}", or "error: {...}" of old servers. */
static void
strip_event(const char **body, size_t *len)
{
    static const char *const names[] = {"data:", "error:"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i]);
        if (*len <= n || memcmp(*body, names[i], n) != 0)
            continue;
        const char *end = memchr(*body, '\n', *len);
        *len = (end ? (size_t)(end - *body) : *len) - n;
        *body += n;
        return;
    }
}

static void
read_body(const char *body, size_t len, struct words *w)
{
    memset(w, 0, sizeof *w);
    if (!body || len == 0 || len > BODY_MAX)
        return;
    strip_event(&body, &len);
    json_t *root = sf_json_parse(body, len, NULL);
    if (json_is_object(root)) {
        take_json(root, w);
    } else if (!root && !memchr(body, '<', len) && !memchr(body, '\0', len)) {
        while (len > 0 && isspace((unsigned char)body[len - 1]))
            len--;
        sf_text_clean(body, len < 400 ? len : 0, w->message, sizeof w->message);
    }
    json_decref(root);
}

/* ---- which row ------------------------------------------------------------------------------ */

/* "1000-1004": is @code a number within? */
static bool
in_range(const char *range, size_t len, const char *code)
{
    char text[32], *dash;
    uint64_t from, to, n;
    if (len >= sizeof text || sf_parse_u64(code, &n))
        return false;
    memcpy(text, range, len);
    text[len] = '\0';
    dash = strchr(text, '-');
    if (!dash)
        return false;
    *dash = '\0';
    return !sf_parse_u64(text, &from) && !sf_parse_u64(dash + 1, &to) && n >= from && n <= to;
}

static bool
code_holds(const char *list, const char *code)
{
    size_t n = strlen(code);
    if (n == 0)
        return false;
    while (*list) {
        size_t len = strcspn(list, "|");
        if ((len == 1 && *list == '*') || (len == n && !memcmp(list, code, n)) ||
            in_range(list, len, code))
            return true;
        list += len + (list[len] == '|');
    }
    return false;
}

static bool
row_holds(const struct sf_provider_row *r, const struct sf_provider_type *type, int status,
          const struct words *w)
{
    if (r->vendor && type && strcmp(r->vendor, type->name) != 0)
        return false;
    if (r->code && !code_holds(r->code, w->code) && !code_holds(r->code, w->kind))
        return false;
    if (r->message && !strcasestr(w->message, r->message))
        return false;
    return !r->http_from || (status >= r->http_from && status <= r->http_to);
}

/* ---- when again ----------------------------------------------------------------------------- */

/* "20", "2.5", "6m0" and a unit: milliseconds, or -1. Providers write "1 seconds", "20s", "1.5s",
 * "6m0s", "120ms". */
static int64_t
read_wait(const char *s)
{
    double total = 0;
    bool any = false;
    while (isdigit((unsigned char)*s)) {
        double n = 0, scale = 1;
        for (; isdigit((unsigned char)*s); s++)
            n = n * 10 + (*s - '0');
        if (*s == '.')
            for (s++; isdigit((unsigned char)*s); s++)
                n += (*s - '0') * (scale /= 10);
        s += strspn(s, " ");
        double unit = !strncasecmp(s, "ms", 2)  ? 1
                      : !strncasecmp(s, "h", 1) ? 3600e3
                      : !strncasecmp(s, "m", 1) ? 60e3
                      : !strncasecmp(s, "s", 1) ? 1e3
                                                : 0;
        if (unit == 0)
            return -1;
        total += n * unit;
        any = true;
        while (isalpha((unsigned char)*s))
            s++;
    }
    if (!any)
        return -1;
    return total < DAY_MS ? (int64_t)(total + 0.5) : DAY_MS;
}

static int64_t
wait_in_words(const char *message)
{
    static const char *const before[] = {"try again after ", "try again in ", "retry after ",
                                         "after "};
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        const char *p = strcasestr(message, before[i]);
        int64_t ms = p ? read_wait(p + strlen(before[i])) : -1;
        if (ms >= 0)
            return ms;
    }
    return -1;
}

static const char *
header(const struct sf_provider_reply *reply, const char *name)
{
    return reply->header ? reply->header(reply->arg, name) : NULL;
}

static int64_t
retry_after(const struct sf_provider_reply *reply, const char *message)
{
    uint64_t ms;
    const char *v = header(reply, "retry-after-ms");
    if (v && !sf_parse_u64(v, &ms))
        return ms < DAY_MS ? (int64_t)ms : DAY_MS;
    v = header(reply, "retry-after");
    int64_t told = v ? sf_http_retry_after_ms(v, header(reply, "date")) : -1;
    return told >= 0 ? told : wait_in_words(message);
}

/* ---- the fault ------------------------------------------------------------------------------ */

static void
take_request_id(const struct sf_provider_reply *reply, const struct words *w,
                struct sf_provider_fault *out)
{
    static const char *const names[] = {"x-request-id", "x-trace-id", "request-id", "cf-ray"};
    const char *v = NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names && (!v || !*v); i++)
        v = header(reply, names[i]);
    if (!v || !*v)
        v = w->request_id;
    sf_text_clean(v, strlen(v), out->request_id, sizeof out->request_id);
    sf_redact_ids(out->request_id);
}

/* Bytes beyond ASCII have become '?': what is mostly such tells nobody anything. */
static bool
is_legible(const char *s)
{
    size_t bad = 0, n = strlen(s);
    for (const char *p = s; *p; p++)
        bad += *p == '?';
    return n > 0 && bad * 4 <= n;
}

static void
write_text(struct sf_provider_fault *out, const char *words)
{
    const struct sf_provider_class_info *info = &classes[out->cls];
    char where[80] = "";
    if (out->http)
        snprintf(where, sizeof where, " (HTTP %d%s%s)", out->http, out->code[0] ? ", " : "",
                 out->code);
    int room = (int)(sizeof out->text - strlen(where) - strlen(info->name) - 3);
    if (is_legible(words))
        snprintf(out->text, sizeof out->text, "%s: %.*s%s", info->name, room, words, where);
    else
        snprintf(out->text, sizeof out->text, "%s: %s%s", info->name, info->meaning, where);
}

static void
clear(struct sf_provider_fault *out)
{
    memset(out, 0, sizeof *out);
    out->retry_after_ms = -1;
}

int
sf_provider_fault_of(const struct sf_provider_type *type, const struct sf_provider_reply *reply,
                     struct sf_provider_fault *out)
{
    struct words w;
    clear(out);
    read_body(reply->body, reply->len, &w);
    out->http = reply->status;
    take_request_id(reply, &w, out);
    bool success = reply->status >= 200 && reply->status < 300;
    if (success && !w.error)
        return 0;
    int status = success && w.status ? w.status : reply->status;
    size_t i = 0;
    while (i + 1 < sizeof rows / sizeof *rows && !row_holds(&rows[i], type, status, &w))
        i++;
    out->cls = rows[i].cls;
    out->err = classes[out->cls].err;
    /* A type says more than a number that repeats the status. */
    snprintf(out->code, sizeof out->code, "%s",
             w.kind[0] && w.status ? w.kind
             : w.code[0]           ? w.code
                                   : w.kind);
    sf_redact_ids(out->code);
    sf_redact_ids(w.message);
    if (out->cls != SF_PC_QUOTA)
        out->retry_after_ms = retry_after(reply, w.message);
    write_text(out, w.message);
    return out->err;
}

int
sf_provider_fault_set(struct sf_provider_fault *out, enum sf_provider_class cls, const char *fmt,
                      ...)
{
    char words[1024], clean[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    clear(out);
    out->cls = cls;
    out->err = sf_provider_class_info(cls)->err;
    sf_text_clean(words, strlen(words), clean, sizeof clean);
    sf_redact_ids(clean);
    write_text(out, clean);
    return out->err;
}

int
sf_provider_fault_net(const struct sf_err *err, struct sf_provider_fault *out)
{
    enum sf_provider_class cls = err->code == -ETIMEDOUT                       ? SF_PC_TIMEOUT
                                 : err->code == -EPROTO || err->code == -EFBIG ? SF_PC_PROTOCOL
                                 : err->code == -EPERM || err->code == -EINVAL ? SF_PC_INVALID
                                                                               : SF_PC_NETWORK;
    (void)sf_provider_fault_set(out, cls, "%s", err->msg);
    if (err->code == -ECANCELED || err->code == -ENOMEM)
        out->err = err->code;
    return out->err;
}
