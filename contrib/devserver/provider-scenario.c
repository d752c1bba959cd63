/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provider-internal.h"
#include "reply.h"
#include "stream.h"

/* The routes that a scenario has to do with. */
#define OP(op) (1u << (op))
#define ANY    UINT32_MAX
#define UPLOAD (OP(DS_OP_UPLOAD) | OP(DS_OP_PARSE) | OP(DS_OP_PARSE_SYNC))
#define CHAT   (OP(DS_OP_CHAT) | OP(DS_OP_TOKENS))

enum what {
    OWN,   /* looked at by its route */
    ERROR, /* answered by ds_perror() */
};

static const struct {
    const char *name;
    uint32_t ops;
    enum what what;
    enum ds_perror error;
} known[] = {
    {"ok", ANY, OWN, 0},
    /* instead of an answer */
    {"401", ANY, ERROR, DS_PE_KEY},
    {"403", ANY, ERROR, DS_PE_PERMISSION},
    {"403-balance", ANY, ERROR, DS_PE_BALANCE},
    {"404-model", CHAT, ERROR, DS_PE_MODEL},
    {"429-rpm", ANY, ERROR, DS_PE_RPM},
    {"429-tpm", ANY, ERROR, DS_PE_TPM},
    {"429-tpd", ANY, ERROR, DS_PE_TPD},
    {"429-concurrency", ANY, ERROR, DS_PE_CONCURRENCY},
    {"429-quota", ANY, ERROR, DS_PE_QUOTA},
    {"429-overload", ANY, ERROR, DS_PE_OVERLOADED},
    {"400-invalid", ANY, ERROR, DS_PE_INVALID},
    {"400-toolong", CHAT, ERROR, DS_PE_CONTEXT},
    {"filter", CHAT, ERROR, DS_PE_FILTER},
    {"500", ANY, ERROR, DS_PE_SERVER},
    {"503-loading", ANY, ERROR, DS_PE_LOADING},
    {"zero-byte", UPLOAD, ERROR, DS_PE_EMPTY},
    {"over-limit", UPLOAD, ERROR, DS_PE_TOO_LARGE},
    {"count-limit", UPLOAD, ERROR, DS_PE_COUNT},
    {"total-limit", UPLOAD, ERROR, DS_PE_TOTAL},
    {"type-refused", UPLOAD, ERROR, DS_PE_TYPE},
    {"purpose-refused", UPLOAD, ERROR, DS_PE_PURPOSE},
    {"extract-fails", UPLOAD | OP(DS_OP_CONTENT), ERROR, DS_PE_EXTRACT},
    {"retry-after", ANY, OWN, 0},
    {"code", ANY, OWN, 0},
    {"413", ANY, OWN, 0},
    {"html-502", ANY, OWN, 0},
    {"html-504", ANY, OWN, 0},
    {"empty-502", ANY, OWN, 0},
    {"gateway-string-error", ANY, OWN, 0},
    {"no-files", UPLOAD | OP(DS_OP_LIST) | OP(DS_OP_GET) | OP(DS_OP_CONTENT) | OP(DS_OP_DELETE),
     OWN, 0},
    {"garbage", ANY, OWN, 0},
    {"empty-object", ANY, OWN, 0},
    {"hang", ANY, OWN, 0},
    {"hang-after", ANY, OWN, 0},
    {"reset", ANY, OWN, 0},
    {"lost-reply", ANY, OWN, 0},
    {"delay", ANY, OWN, 0},
    /* files */
    {"pending-then-ok", UPLOAD, OWN, 0},
    {"pending-then-fail", UPLOAD, OWN, 0},
    {"pending-forever", UPLOAD, OWN, 0},
    {"id-vanishes", UPLOAD, OWN, 0},
    /* chats */
    {"slow", CHAT, OWN, 0},
    {"one-byte-writes", CHAT, OWN, 0},
    {"crlf", CHAT, OWN, 0},
    {"comments", CHAT, OWN, 0},
    {"no-space", CHAT, OWN, 0},
    {"many-data", CHAT, OWN, 0},
    {"no-blank", CHAT, OWN, 0},
    {"escapes", CHAT, OWN, 0},
    {"lone-surrogate", CHAT, OWN, 0},
    {"no-done", CHAT, OWN, 0},
    {"cut", CHAT, OWN, 0},
    {"mid-error", CHAT, OWN, 0},
    {"error-200", CHAT, OWN, 0},
    {"glm-cut", CHAT, OWN, 0},
    {"reasoning", CHAT, OWN, 0},
    {"reasoning-only", CHAT, OWN, 0},
    {"empty-200", CHAT, OWN, 0},
    {"usage-in-choice", CHAT, OWN, 0},
    {"usage-trailing", CHAT, OWN, 0},
    {"usage-last", CHAT, OWN, 0},
    {"usage-none", CHAT, OWN, 0},
    {"json-instead-of-sse", CHAT, OWN, 0},
    {"finish", CHAT, OWN, 0},
    {"words", CHAT, OWN, 0},
    /* what the OpenAI-compatible site is */
    {"openai", ANY, OWN, 0},
    {"ollama", ANY, OWN, 0},
    {"llama.cpp", ANY, OWN, 0},
    {"vllm", ANY, OWN, 0},
    {"lmstudio", ANY, OWN, 0},
};

enum { KNOWN = sizeof known / sizeof known[0] };

static size_t
find(const char *name)
{
    size_t i = 0;
    while (i < KNOWN && strcmp(known[i].name, name) != 0)
        i++;
    return i;
}

static void
take_flavour(struct ds_provider_call *call, const char *name)
{
    for (enum ds_flavour i = DS_FLAVOUR_OPENAI; i < DS_FLAVOURS; i++)
        if (strcmp(ds_flavour_names[i], name) == 0)
            call->flavour = i;
}

static int64_t
number_or_none(const char *text)
{
    char *end;
    long long value = strtoll(text, &end, 10);
    return end == text || value < 0 ? -1 : value;
}

static int
add_one(struct ds_provider_call *call, const char *text, size_t len, char bad[48])
{
    char word[48], *colon;
    snprintf(word, sizeof word, "%.*s", (int)len, text);
    struct ds_scenario scenario = {.a = -1, .b = -1};
    if ((colon = strchr(word, ':'))) {
        *colon = '\0';
        snprintf(scenario.text, sizeof scenario.text, "%s", colon + 1);
        const char *second = strchr(colon + 1, ':');
        scenario.a = number_or_none(colon + 1);
        scenario.b = second ? number_or_none(second + 1) : -1;
    }
    size_t i = find(word);
    if (i == KNOWN) {
        memcpy(bad, word, sizeof word);
        return -EINVAL;
    }
    if (!call || call->scenario_count == DS_SCENARIOS_MAX)
        return 0;
    scenario.name = known[i].name;
    call->scenarios[call->scenario_count++] = scenario;
    if (call->index == DS_PROVIDER_OPENAI)
        take_flavour(call, known[i].name);
    return 0;
}

int
ds_scenario_add(struct ds_provider_call *call, const char *text, char bad[48])
{
    for (;;) {
        size_t len = strcspn(text, ",");
        int rc = add_one(call, text, len, bad);
        if (rc < 0 || text[len] == '\0')
            return rc;
        text += len + 1;
    }
}

const struct ds_scenario *
ds_scenario(const struct ds_provider_call *call, const char *name)
{
    for (size_t i = 0; i < call->scenario_count; i++)
        if (strcmp(call->scenarios[i].name, name) == 0 && known[find(name)].ops & OP(call->op))
            return &call->scenarios[i];
    return NULL;
}

static bool
answer_page(struct ds_request *req)
{
    static const struct {
        const char *name;
        int status;
        const char *title;
    } pages[] = {{"html-502", 502, "502 Bad Gateway"},
                 {"html-504", 504, "504 Gateway Time-out"},
                 {"413", 413, "413 Request Entity Too Large"}};
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        char text[256];
        if (!ds_scenario(req->provider, pages[i].name))
            continue;
        snprintf(text, sizeof text,
                 "<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>%s</h1>"
                 "</center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
                 pages[i].title, pages[i].title);
        ds_reply_text(req, pages[i].status, "text/html", text);
        return true;
    }
    return false;
}

static void
answer_error(struct ds_request *req, enum ds_perror error, const struct ds_scenario *scenario)
{
    char text[32];
    if (error == DS_PE_RPM) {
        snprintf(text, sizeof text, "%lld", (long long)(scenario->a >= 0 ? scenario->a : 1));
        ds_perror(req, error, text);
    } else {
        ds_perror(req, error, NULL);
    }
}

bool
ds_scenario_answers(struct ds_request *req)
{
    const struct ds_provider_call *call = req->provider;
    const struct ds_scenario *scenario;
    for (size_t i = 0; req->reply.status == 0 && i < KNOWN; i++)
        if (known[i].what == ERROR && (scenario = ds_scenario(call, known[i].name)))
            answer_error(req, known[i].error, scenario);
    if (req->reply.status == 0 && (scenario = ds_scenario(call, "code")))
        ds_perror_code(req, scenario->a, scenario->b);
    if (req->reply.status == 0 && ds_scenario(call, "gateway-string-error"))
        ds_perror_gateway(req);
    if (req->reply.status == 0 && ds_scenario(call, "no-files"))
        ds_perror(req, DS_PE_NO_ROUTE, NULL);
    if (req->reply.status == 0 && ds_scenario(call, "empty-502"))
        ds_reply_text(req, 502, "", "");
    if (req->reply.status == 0 && ds_scenario(call, "garbage"))
        ds_reply_text(req, 200, "application/json", "{\"id\":\"file-\xff\xfe\\");
    if (req->reply.status == 0 && ds_scenario(call, "empty-object"))
        ds_reply_text(req, 200, "application/json", "{}");
    if (req->reply.status == 0)
        answer_page(req);
    scenario = ds_scenario(call, "retry-after");
    if (scenario && req->reply.status == 0)
        ds_perror(req, DS_PE_RPM, NULL);
    if (scenario && req->reply.status != 0) {
        /* Also a date, or nonsense, as a gateway may send it. */
        ds_reply_header(req, "retry-after", scenario->text[0] ? scenario->text : "2");
    }
    return req->reply.status != 0;
}

bool
ds_provider_hang(struct ds_server *server, int socket)
{
    uint64_t epoch = ds_providers_epoch(server->providers);
    while (ds_providers_epoch(server->providers) == epoch)
        if (!ds_stream_sleep(server, socket, 100))
            return true;
    return false;
}

static bool
hang(struct ds_request *req)
{
    return ds_provider_hang(req->server, req->socket);
}

bool
ds_scenario_before(struct ds_request *req)
{
    const struct ds_provider_call *call = req->provider;
    const struct ds_scenario *scenario = ds_scenario(call, "delay");
    if (scenario)
        ds_stream_sleep(req->server, req->socket, scenario->a < 0 ? 1000 : scenario->a);
    scenario = ds_scenario(call, "hang");
    /* In a stream it comes after so many of its parts. */
    if (scenario && !(call->op == DS_OP_CHAT && scenario->a >= 0) && hang(req))
        req->plan.reset_after = true;
    return !req->plan.reset_after;
}

void
ds_scenario_after(struct ds_request *req)
{
    const struct ds_provider_call *call = req->provider;
    if (ds_scenario(call, "lost-reply") || (!req->reply.reader && ds_scenario(call, "reset")) ||
        (ds_scenario(call, "hang-after") && hang(req)))
        req->plan.reset_after = true;
}
