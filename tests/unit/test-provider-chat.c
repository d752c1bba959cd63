/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Turns of a chat with a provider that answers byte for byte as the test says: what is handed on,
 * how it ends, what is asked again and what never is. */
#include "provider/chat.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../lib/http-got.h"
#include "../lib/toy-server.h"
#include "base/clock.h"
#include "base/lock.h"
#include "http/http.h"
#include "observe/counter.h"
#include "provider/key.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IS_SANITIZED = 1 };
#elif defined(__has_feature)
enum { IS_SANITIZED = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) };
#else
enum { IS_SANITIZED = 0 };
#endif

/* ---- what the provider says ------------------------------------------------------------------ */

#define HEAD(more) "{\"id\":\"c1\",\"model\":\"m-1\",\"choices\":[" more "]}"
#define SAY(s)     HEAD("{\"index\":0,\"delta\":{\"content\":\"" s "\"},\"finish_reason\":null}")
#define THINK(s)   HEAD("{\"index\":0,\"delta\":{\"reasoning_content\":\"" s "\"}}")
#define FINISH(w)  HEAD("{\"index\":0,\"delta\":{},\"finish_reason\":\"" w "\"}")
#define D(json)    "data: " json "\n\n"
#define DONE       D("[DONE]")
#define ROLE       D(HEAD("{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}"))

/* "Grüße 你好 🙂" in three pieces. */
#define GREETING                                                                                   \
    "Gr\xc3\xbc\xc3\x9f"                                                                           \
    "e \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x99\x82"
#define ANSWER                                                                                     \
    D(SAY("Gr\xc3\xbc\xc3\x9f"                                                                     \
          "e "))                                                                                   \
    D(SAY("\xe4\xbd\xa0\xe5\xa5\xbd ")) D(SAY("\xf0\x9f\x99\x82"))
#define USAGE "\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":13,\"total_tokens\":32"

enum how {
    WHOLE, /* a stream in chunks that ends in order; other than 200: with its length */
    BYTES, /* each byte a chunk of its own */
    CUT,   /* the connection ends in the midst of the body */
    RESET,
    HANG, /* nothing more comes, until the client goes */
    JSON, /* with its length, as application/json */
    PAGE, /* likewise, text/html */
};

struct reply {
    int status; /* -1 = the connection is reset without a reply; 0 = the last one counts */
    enum how how;
    const char *body;
};

struct scenario {
    const char *name; /* what the model is called */
    const char *type;
    struct reply replies[3]; /* to the first request, ... */
    enum sf_provider_class cls;
    const char *answer, *reasoning; /* NULL = "" */
    const char *finish;
    bool truncated;
    unsigned attempts; /* 0 = 1 */
    struct sf_provider_usage usage;
    const char *words; /* in the fault's text; NULL = any */
};

#define OK_(...)                                                                                   \
    {                                                                                              \
        {                                                                                          \
            200, __VA_ARGS__                                                                       \
        }                                                                                          \
    }
#define ERR(status, json)                                                                          \
    {                                                                                              \
        {                                                                                          \
            status, JSON, json                                                                     \
        }                                                                                          \
    }

#define KIMI_ERROR(type, words) "{\"error\":{\"type\":\"" type "\",\"message\":\"" words "\"}}"
#define GLM_ERROR(code, words)  "{\"error\":{\"code\":\"" code "\",\"message\":\"" words "\"}}"
#define FINE                                                                                       \
    {                                                                                              \
        200, WHOLE, ANSWER D(FINISH("stop")) DONE                                                  \
    }

/* clang-format off */
static const struct scenario scenarios[] = {
    /* forms of a good answer */
    { "ok", "kimi", OK_(WHOLE, ROLE ANSWER D(FINISH("stop")) DONE), .answer = GREETING, .finish = "stop" },
    { "one-byte-writes", "kimi", OK_(BYTES, ROLE D(THINK("h\xc3\xbc")) ANSWER D(FINISH("stop")) DONE), .answer = GREETING, .reasoning = "h\xc3\xbc", .finish = "stop" },
    { "crlf", "kimi", OK_(BYTES, "data: " SAY("a") "\r\n\r\ndata: " SAY("b") "\r\rdata:" FINISH("stop") "\r\n\r\ndata: [DONE]\r\n\r\n"), .answer = "ab", .finish = "stop" },
    { "comments", "openai", OK_(WHOLE, ": ping\n\nevent: message\nid: 7\nretry: 100\nfoo: bar\n" D(SAY("a")) ": ping\n" D(FINISH("stop")) DONE), .answer = "a", .finish = "stop" },
    { "many-data", "kimi", OK_(WHOLE, "data: {\"choices\":\ndata: [{\"delta\":{\"content\":\"a\"},\ndata: \"finish_reason\":\"stop\"}]}\n\n" DONE), .answer = "a", .finish = "stop" },
    { "no-blank", "openai", OK_(WHOLE, D(SAY("a")) D(FINISH("stop")) "data: [DONE]"), .answer = "a", .finish = "stop" },
    { "no-done-but-finished", "openai", OK_(WHOLE, D(SAY("a")) D(FINISH("stop"))), .answer = "a", .finish = "stop" },
    { "reset-behind-the-finish", "openai", OK_(RESET, D(SAY("a")) D(FINISH("stop"))), .answer = "a", .finish = "stop" },
    { "done-without-finish", "openai", OK_(WHOLE, D(SAY("a")) DONE), .answer = "a", .finish = "" },
    { "hang-behind-done", "openai", OK_(HANG, D(SAY("a")) D(FINISH("stop")) DONE), .answer = "a", .finish = "stop" },
    { "escapes", "kimi", OK_(WHOLE, D(SAY("\\u4f60\\ud83d\\ude42\\n\\\\u0041")) D(FINISH("stop")) DONE), .answer = "\xe4\xbd\xa0\xf0\x9f\x99\x82\n\\u0041", .finish = "stop" },
    { "lone-surrogate", "kimi", OK_(WHOLE, D(SAY("\\ud83d a \\ude42 \\u0000 \\\\ud83d \xff")) D(FINISH("stop")) DONE), .answer = "\xef\xbf\xbd a \xef\xbf\xbd \xef\xbf\xbd \\ud83d \xef\xbf\xbd", .finish = "stop" },
    { "null-content", "openai", OK_(WHOLE, D(HEAD("{\"delta\":{\"content\":null,\"reasoning\":\"r\",\"reasoning_content\":null}}")) D("{\"choices\":[{}]}") D("{\"choices\":[],\"error\":null}") D(SAY("a")) D(FINISH("stop")) DONE), .answer = "a", .reasoning = "r", .finish = "stop" },
    { "ids-differ", "openai", OK_(WHOLE, D("{\"id\":\"1\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}") D("{\"id\":\"2\",\"choices\":[{\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}]}") DONE), .answer = "ab", .finish = "stop" },
    { "json-instead-of-sse", "openai", OK_(JSON, " {\"id\":\"c\",\"model\":\"m-2\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"" GREETING "\",\"reasoning_content\":\"hm\"},\"finish_reason\":\"stop\"}]," USAGE "}}"), .answer = GREETING, .reasoning = "hm", .finish = "stop", .usage = {true, 19, 0, 13, 0} },
    { "length", "openai", OK_(WHOLE, D(SAY("a")) D(FINISH("length")) DONE), .answer = "a", .finish = "length", .truncated = true },
    { "tool-calls", "openai", OK_(WHOLE, D(SAY("a")) D(FINISH("tool_calls")) DONE), .answer = "a", .finish = "tool_calls" },

    /* where the usage stands */
    { "usage-in-choice", "kimi", OK_(WHOLE, D(SAY("a")) D("{\"choices\":[{\"finish_reason\":\"stop\"," USAGE ",\"cached_tokens\":7}}]}") DONE), .answer = "a", .finish = "stop", .usage = {true, 19, 7, 13, 0} },
    { "usage-trailing", "openai", OK_(WHOLE, D(SAY("a")) D(FINISH("stop")) D("{\"choices\":[]," USAGE ",\"prompt_tokens_details\":{\"cached_tokens\":5},\"completion_tokens_details\":{\"reasoning_tokens\":4}}}") DONE), .answer = "a", .finish = "stop", .usage = {true, 19, 5, 13, 4} },
    { "usage-in-both", "kimi", OK_(WHOLE, D(SAY("a")) D("{\"choices\":[{\"finish_reason\":\"stop\"," USAGE ",\"cached_tokens\":7}}]}") D("{\"choices\":[]," USAGE "}}") DONE), .answer = "a", .finish = "stop", .usage = {true, 19, 7, 13, 0} },
    { "usage-last", "glm", OK_(WHOLE, D("{\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\"}}]}") D("{\"id\":\"x\",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"delta\":{\"content\":\"\"}}]," USAGE "}}") DONE), .answer = "a", .finish = "stop", .usage = {true, 19, 0, 13, 0} },
    { "usage-odd", "openai", OK_(WHOLE, D(SAY("a")) D("{\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":\"9\"}}") D("{\"usage\":null}") DONE), .answer = "a", .finish = "stop", .usage = {true, 0, 0, 0, 0} },

    /* no answer, or part of one */
    { "reasoning-only", "kimi", OK_(WHOLE, D(THINK("hm")) D(FINISH("length")) DONE), SF_PC_NO_ANSWER, .reasoning = "hm", .finish = "length", .truncated = true, .words = "reasoning" },
    { "empty-200", "openai", OK_(WHOLE, ROLE D(FINISH("stop")) DONE), SF_PC_NO_ANSWER, .finish = "stop", .words = "too long" },
    { "no-done", "kimi", OK_(WHOLE, ROLE D(SAY("a"))), SF_PC_NETWORK, .answer = "a", .finish = "", .truncated = true, .words = "ended before" },
    { "cut", "kimi", OK_(CUT, ROLE D(SAY("a")) "data: {\"id\":\"c1\",\"cho"), SF_PC_NETWORK, .answer = "a", .finish = "", .truncated = true },
    { "reset", "kimi", OK_(RESET, ROLE D(SAY("a"))), SF_PC_NETWORK, .answer = "a", .finish = "", .truncated = true },
    { "hang", "kimi", OK_(HANG, ROLE D(SAY("a"))), SF_PC_TIMEOUT, .answer = "a", .finish = "", .truncated = true, .words = "stalled" },
    { "mid-error", "glm", OK_(WHOLE, D(SAY("a")) D(GLM_ERROR("1312", "busy org-0123456789abcdef")) DONE), SF_PC_OVERLOADED, .answer = "a", .finish = "", .truncated = true, .words = "busy" },
    { "mid-error-event", "kimi", OK_(HANG, D(SAY("a")) "event: error\ndata: " KIMI_ERROR("engine_overloaded_error", "busy") "\n\n"), SF_PC_OVERLOADED, .answer = "a", .finish = "", .truncated = true },
    { "mid-error-line", "openai", OK_(WHOLE, D(SAY("a")) "error: {\"error\":{\"code\":500,\"message\":\"Context size has been exceeded.\",\"type\":\"server_error\"}}\n\n"), SF_PC_CONTEXT, .answer = "a", .finish = "", .truncated = true },
    { "mid-error-string", "openai", OK_(WHOLE, D(SAY("a")) D("{\"error\":\"an error was encountered while running the model\"}")), SF_PC_SERVER, .answer = "a", .finish = "", .truncated = true },
    { "mid-error-flat", "openai", OK_(WHOLE, D(SAY("a")) D("{\"object\":\"error\",\"message\":\"m\",\"code\":400}")), SF_PC_INVALID, .answer = "a", .finish = "", .truncated = true },
    { "mid-error-bare", "openai", OK_(WHOLE, D(SAY("a")) "event: error\ndata: {\"message\":\"out of order\"}\n\n"), SF_PC_SERVER, .answer = "a", .finish = "", .truncated = true, .words = "out of order" },
    { "sensitive", "glm", OK_(WHOLE, D(SAY("a")) D(FINISH("sensitive")) DONE), SF_PC_FILTERED, .answer = "a", .finish = "sensitive", .truncated = true },
    { "content-filter", "openai", OK_(WHOLE, D(FINISH("content_filter")) DONE), SF_PC_FILTERED, .finish = "content_filter" },
    { "network-error", "glm", OK_(WHOLE, D(SAY("a")) D(FINISH("network_error")) DONE), SF_PC_SERVER, .answer = "a", .finish = "network_error", .truncated = true },
    { "window", "glm", OK_(WHOLE, D(SAY("a")) D(FINISH("model_context_window_exceeded")) DONE), SF_PC_CONTEXT, .answer = "a", .finish = "model_context_window_exceeded", .truncated = true },
    { "glm-cut", "glm", OK_(WHOLE, D(SAY("a")) "data: {\"id\":\"c1\",\"object\":\"chat.cdata: {\"id\":\"c2\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n" DONE), SF_PC_PROTOCOL, .answer = "a", .finish = "", .truncated = true, .words = "anew" },
    { "new-id", "glm", OK_(WHOLE, D(SAY("a")) D("{\"id\":\"c2\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}") DONE), SF_PC_PROTOCOL, .answer = "a", .finish = "", .truncated = true, .words = "anew" },
    { "glm-cut-before", "glm", OK_(WHOLE, ROLE "data: {\"id\":\"c1\",\"object\":\"chat.cdata: {\"id\":\"c2\",\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n" DONE), .answer = "a", .finish = "stop" },
    { "not-json", "openai", OK_(WHOLE, D(SAY("a")) D("{\"id\":")  D(SAY("b")) DONE), SF_PC_PROTOCOL, .answer = "a", .finish = "", .truncated = true, .words = "no JSON" },

    /* 200, and no answer */
    { "error-200", "openai", OK_(JSON, "{\"error\":{\"message\":\"Loading model\",\"type\":\"invalid_request_error\",\"code\":\"context_length_exceeded\"}}"), SF_PC_CONTEXT, .finish = "" },
    { "html-200", "openai", OK_(PAGE, "<html>hello</html>"), SF_PC_PROTOCOL, .finish = "", .words = "HTML" },
    { "garbage", "openai", OK_(JSON, "{\"id\":\"file-\xff\xfe\\"), SF_PC_PROTOCOL, .finish = "" },
    { "empty-object", "openai", OK_(JSON, "{}"), SF_PC_PROTOCOL, .finish = "", .words = "without an answer" },

    /* errors before an answer, which another attempt would not change */
    { "401", "kimi", ERR(401, KIMI_ERROR("incorrect_api_key_error", "no")), SF_PC_AUTH, .finish = "" },
    { "403", "kimi", ERR(403, KIMI_ERROR("permission_denied_error", "no")), SF_PC_PERMISSION, .finish = "" },
    { "404-model", "kimi", ERR(404, KIMI_ERROR("resource_not_found_error", "Not found the model x or Permission denied")), SF_PC_MODEL, .finish = "" },
    { "429-quota", "kimi", ERR(429, KIMI_ERROR("exceeded_current_quota_error", "pay")), SF_PC_QUOTA, .finish = "" },
    { "1113", "glm", ERR(429, GLM_ERROR("1113", "pay")), SF_PC_QUOTA, .finish = "" },
    { "400-toolong", "kimi", ERR(400, KIMI_ERROR("invalid_request_error", "Invalid request: Your request exceeded model token limit: 262144 (requested: 269030)")), SF_PC_CONTEXT, .finish = "" },
    { "413", "openai", {{413, PAGE, "<html>413</html>"}}, SF_PC_TOO_LARGE, .finish = "" },
    { "filter", "kimi", ERR(400, KIMI_ERROR("content_filter", "high risk")), SF_PC_FILTERED, .finish = "" },
    { "gateway-string-error", "kimi", ERR(404, "{\"code\":5,\"error\":\"url.not_found\",\"message\":\"none\",\"status\":false}"), SF_PC_NO_API, .finish = "" },

    /* and those which it may */
    { "500-once", "kimi", {{500, JSON, KIMI_ERROR("server_error", "x")}, FINE}, .answer = GREETING, .finish = "stop", .attempts = 2 },
    { "500-twice", "kimi", {{500, JSON, KIMI_ERROR("server_error", "x")}, {500, JSON, KIMI_ERROR("server_error", "x")}, FINE}, SF_PC_SERVER, .finish = "", .attempts = 2 },
    { "html-502", "openai", {{502, PAGE, "<html>502</html>"}, FINE}, .answer = GREETING, .finish = "stop", .attempts = 2 },
    { "429-overload", "kimi", {{429, JSON, KIMI_ERROR("engine_overloaded_error", "busy")}, {429, JSON, KIMI_ERROR("engine_overloaded_error", "busy")}, FINE}, .answer = GREETING, .finish = "stop", .attempts = 3 },
    { "503-loading", "openai", {{503, JSON, "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}"}, {503, JSON, "{\"error\":{\"code\":503,\"message\":\"Loading model\",\"type\":\"unavailable_error\"}}"}, FINE}, .answer = GREETING, .finish = "stop", .attempts = 3 },
    { "lost-reply", "kimi", {{.status = -1}, FINE}, .answer = GREETING, .finish = "stop", .attempts = 2 },
    { "lost-twice", "kimi", {{.status = -1}, {.status = -1}, FINE}, SF_PC_NETWORK, .finish = "", .attempts = 2 },
    { "nothing-at-all", "kimi", {{200, WHOLE, ""}, FINE}, .answer = GREETING, .finish = "stop", .attempts = 2 },
    { "error-first", "glm", {{200, WHOLE, ROLE D(GLM_ERROR("1312", "busy"))}, FINE}, .answer = GREETING, .finish = "stop", .attempts = 2 },
    { "reset-before-a-word", "kimi", {{200, RESET, ROLE}, FINE}, .answer = GREETING, .finish = "stop", .attempts = 2 },
};
/* clang-format on */

enum { SCENARIOS = sizeof scenarios / sizeof *scenarios };

/* ---- the provider ---------------------------------------------------------------------------- */

static atomic_uint heard; /* pieces, by whoever asked in this test */

struct world {
    struct toy *toy;
    struct sf_http *http;
    struct sf_provider_type type;
    struct sf_provider_conf conf;
    struct sf_provider *p;
    char base[64];
    atomic_uint hits, gone, talking, silent; /* gone: clients that left */
    atomic_bool go;
    atomic_int_least64_t sent_ns[64]; /* of each piece of "clock" */
    atomic_size_t sent;
    pthread_mutex_t lock; /* protects what follows */
    char body[4096], auth[64];
    size_t body_len;
};

static int
chunk(int fd, const char *data, size_t n)
{
    return n ? toy_printf(fd, "%zx\r\n%.*s\r\n", n, (int)n, data) : 0;
}

static void
begin_stream(int fd)
{
    toy_printf(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Request-Id: r-7\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n");
}

static enum toy_then
stream(struct world *w, int fd, const struct reply *r)
{
    size_t len = strlen(r->body);
    begin_stream(fd);
    for (size_t i = 0; r->how == BYTES && i < len; i++)
        chunk(fd, r->body + i, 1);
    if (r->how != BYTES)
        chunk(fd, r->body, len);
    if (r->how == HANG && !toy_hang(fd, 20000))
        w->gone++;
    if (r->how == CUT || r->how == HANG)
        return TOY_CLOSE;
    if (r->how == RESET) {
        /* So that what was sent is not lost. */
        for (int i = 0; strstr(r->body, "\"a\"") && !heard && i < 1000; i++)
            toy_hang(fd, 5);
        return TOY_RESET;
    }
    toy_printf(fd, "0\r\n\r\n");
    return TOY_KEEP;
}

static enum toy_then
answer(struct world *w, int fd, const struct reply *r)
{
    char headers[100];
    if (r->status < 0)
        return TOY_RESET;
    if (r->how == JSON || r->how == PAGE) {
        snprintf(headers, sizeof headers, "Content-Type: %s\r\nX-Request-Id: r-7\r\n",
                 r->how == JSON ? "application/json" : "text/html");
        return toy_text(fd, r->status, headers, r->body);
    }
    return stream(w, fd, r);
}

/* Piece by piece, with the time at which each was sent. */
static enum toy_then
clockwork(struct world *w, int fd)
{
    begin_stream(fd);
    for (int i = 0; i < 64; i++) {
        char text[200];
        int n = snprintf(text, sizeof text, D(SAY("%d ")), i);
        w->sent_ns[i] = sf_clock_ns();
        if (chunk(fd, text, (size_t)n) || !toy_hang(fd, 5))
            return TOY_CLOSE;
    }
    chunk(fd, DONE, strlen(DONE));
    toy_printf(fd, "0\r\n\r\n");
    return TOY_KEEP;
}

/* As much as the client takes, up to 64 MiB. */
static enum toy_then
flood(struct world *w, int fd)
{
    char text[16 * 1024]; /* two may flood at once */
    begin_stream(fd);
    memset(text, 'x', sizeof text);
    memcpy(text, "data: {\"id\":\"c1\",\"choices\":[{\"delta\":{\"content\":\"", 49);
    memcpy(text + sizeof text - 9, "\"}}]}\n\n\n\n", 9);
    for (int i = 0; i < 4096 && chunk(fd, text, sizeof text) == 0; i++)
        w->sent += sizeof text;
    return TOY_CLOSE;
}

/* Begins, and ends when it is told to. */
static enum toy_then
talk(struct world *w, int fd)
{
    begin_stream(fd);
    chunk(fd, D(SAY("a")), strlen(D(SAY("a"))));
    w->talking++;
    while (!w->go && toy_hang(fd, 5))
        ;
    if (!w->go)
        return TOY_CLOSE;
    chunk(fd, D(SAY("b")) DONE, strlen(D(SAY("b")) DONE));
    toy_printf(fd, "0\r\n\r\n");
    return TOY_KEEP;
}

static enum toy_then
serve(void *arg, int fd, const struct toy_req *rq)
{
    struct world *w = arg;
    unsigned hit = w->hits++;
    const char *v = toy_header(rq, "Authorization");
    pthread_mutex_lock(&w->lock);
    snprintf(w->auth, sizeof w->auth, "%s", v ? v : "");
    snprintf(w->body, sizeof w->body, "%s", rq->body);
    w->body_len = rq->body_len;
    pthread_mutex_unlock(&w->lock);
    if (strcmp(rq->method, "POST") || strcmp(rq->path, "/v1/chat/completions"))
        return toy_text(fd, 404, NULL, "");
    char model[64] = "";
    if (sscanf(rq->body, "{\"model\":\"%63[^\"]", model) != 1)
        return toy_text(fd, 400, NULL, "");
    if (!strcmp(model, "clock"))
        return clockwork(w, fd);
    if (!strcmp(model, "flood"))
        return flood(w, fd);
    if (!strcmp(model, "talk"))
        return talk(w, fd);
    if (!strcmp(model, "silent")) {
        w->silent++;
        if (!toy_hang(fd, 20000))
            w->gone++;
        return TOY_CLOSE;
    }
    for (size_t i = 0; i < SCENARIOS; i++) {
        const struct scenario *s = &scenarios[i];
        if (strcmp(s->name, model) != 0)
            continue;
        while (hit > 0 && (hit >= 3 || !s->replies[hit].status))
            hit--;
        return answer(w, fd, &s->replies[hit]);
    }
    return stream(w, fd, &(struct reply)FINE);
}

static void
open_provider(struct world *w, const char *type, unsigned concurrency)
{
    w->type = *sf_provider_type_find(type);
    w->type.needs_key = false;
    w->conf.type = &w->type;
    w->conf.concurrency = concurrency;
    assert_int_equal(sf_provider_open(w->http, &w->conf, &w->p), 0);
}

static int
setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    w->toy = toy_start(&(struct toy_opts){.serve = serve, .arg = w});
    snprintf(w->base, sizeof w->base, "%s", toy_url(w->toy, "/v1"));
    w->conf = (struct sf_provider_conf){
        .name = "toy", .base_url = w->base, .chat_ms = 60000, .timeout_ms = 60000};
    assert_int_equal(provider_key_new(w->base, NULL, &w->conf.key), 0);
    assert_int_equal(sf_http_new(NULL, &w->http, NULL), 0);
    *state = w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;
    sf_provider_free(w->p);
    sf_http_free(w->http);
    toy_stop(w->toy);
    assert_int_equal(sf_gauges_[SF_G_PROVIDER_SLOTS], 0);
    assert_int_equal(sf_gauges_[SF_G_PROVIDER_WAITING], 0);
    provider_key_free(w->conf.key);
    pthread_mutex_destroy(&w->lock);
    free(w);
    return 0;
}

/* ---- who asks -------------------------------------------------------------------------------- */

struct talk {
    uint64_t id;
    size_t hold_every; /* bytes after which it has enough; 0 = never */
    size_t hold_at;
    struct sf_buf text[2];
    atomic_size_t bytes;
    atomic_uint deltas, holds, ends;
    int64_t came_ns[64]; /* of the first pieces */
    struct sf_provider_fault fault;
    struct sf_provider_chat_end end;
    char finish[48], model[80];
};

static bool
on_delta(void *arg, enum sf_provider_voice voice, const char *text, size_t n)
{
    struct talk *t = arg;
    unsigned i = t->deltas;
    if (t->ends || n == 0)
        abort();
    if (i < 64)
        t->came_ns[i] = sf_clock_ns();
    if (t->text[voice].len < 65536 && sf_buf_append(&t->text[voice], text, n))
        abort();
    t->bytes += n;
    t->deltas++;
    heard++;
    if (!t->hold_every || t->bytes < t->hold_at)
        return false;
    t->hold_at = t->bytes + t->hold_every;
    t->holds++;
    return true;
}

static void
on_end(void *arg, const struct sf_provider_chat_end *end)
{
    struct talk *t = arg;
    t->end = *end;
    t->fault = *end->fault;
    snprintf(t->finish, sizeof t->finish, "%s", end->finish);
    snprintf(t->model, sizeof t->model, "%s", end->model);
    t->ends++;
}

#define TALK                                                                                       \
    {                                                                                              \
        .text = { SF_BUF_INIT, SF_BUF_INIT }                                                       \
    }

static const struct sf_provider_part question[] = {{SF_PP_TEXT, "why?", 4, NULL}};
static const struct sf_provider_message messages[] = {{SF_PR_USER, question, 1, NULL}};

static void
ask_with(struct world *w, const struct sf_provider_chat *chat, struct talk *t)
{
    const struct sf_provider_chat_fns fns = {on_delta, on_end, t};
    struct sf_provider_fault fault;
    t->hold_at = t->hold_every;
    t->id = sf_provider_chat(w->p, chat, &fns, &fault);
    if (!t->id)
        fail_msg("%s", fault.text);
}

static void
ask(struct world *w, const char *model, struct talk *t)
{
    const struct sf_provider_chat chat = {.model = model, .messages = messages, .n = 1};
    ask_with(w, &chat, t);
}

static void
wait_end(struct talk *t)
{
    assert_true(got_reaches(&t->ends, 1));
    assert_int_equal(t->ends, 1);
}

static void
talk_fini(struct talk *t)
{
    sf_buf_fini(&t->text[0]);
    sf_buf_fini(&t->text[1]);
}

/* ---- one scenario after the other ------------------------------------------------------------ */

static void
compare(const struct scenario *s, struct talk *t, unsigned hits)
{
    const struct sf_provider_usage *u = &t->end.usage;
    unsigned attempts = s->attempts ? s->attempts : 1;
    const char *text = s->answer ? s->answer : "", *thought = s->reasoning ? s->reasoning : "";
    if (t->fault.cls != s->cls)
        fail_msg("%s: class %d: %s", s->name, t->fault.cls, t->fault.text);
    if (strcmp(t->text[0].data, text) || strcmp(t->text[1].data, thought))
        fail_msg("%s: \"%s\", \"%s\"", s->name, t->text[0].data, t->text[1].data);
    if (strcmp(t->finish, s->finish) || t->end.truncated != s->truncated)
        fail_msg("%s: finish \"%s\", truncated %d", s->name, t->finish, t->end.truncated);
    enum sf_provider_how how = s->cls == SF_PC_OK         ? s->truncated ? SF_PE_LENGTH : SF_PE_STOP
                               : s->cls == SF_PC_FILTERED ? SF_PE_FILTERED
                               : s->cls == SF_PC_NO_ANSWER ? SF_PE_EMPTY
                               : s->truncated              ? SF_PE_INCOMPLETE
                                                           : SF_PE_FAILED;
    if (t->end.how != how)
        fail_msg("%s: ended %d, not %d", s->name, t->end.how, how);
    if (t->end.attempts != attempts || hits != attempts)
        fail_msg("%s: %u attempts, %u requests", s->name, t->end.attempts, hits);
    if (u->known != s->usage.known || u->prompt != s->usage.prompt ||
        u->cached != s->usage.cached || u->answered != s->usage.answered ||
        u->reasoned != s->usage.reasoned)
        fail_msg("%s: usage %d %d %d %d", s->name, (int)u->prompt, (int)u->cached, (int)u->answered,
                 (int)u->reasoned);
    if (s->words && !strstr(t->fault.text, s->words))
        fail_msg("%s: \"%s\" does not say \"%s\"", s->name, t->fault.text, s->words);
    if (strstr(t->fault.text, "0123456789"))
        fail_msg("%s: \"%s\" shows an id", s->name, t->fault.text);
    assert_string_equal(t->fault.request_id, s->replies[attempts - 1].status > 0 ? "r-7" : "");
    assert_int_equal(t->end.first_ms >= 0, t->deltas > 0);
}

static void
play(struct world *w, const struct scenario *s)
{
    struct talk t = TALK;
    const struct sf_provider_chat chat = {.model = s->name,
                                          .messages = messages,
                                          .n = 1,
                                          .idle_ms = strcmp(s->name, "hang") ? 0 : 300};
    w->hits = 0;
    heard = 0;
    open_provider(w, s->type, 1);
    ask_with(w, &chat, &t);
    wait_end(&t);
    compare(s, &t, w->hits);
    talk_fini(&t);
    sf_provider_free(w->p);
    w->p = NULL;
}

static void
each_scenario_ends_as_it_should(void **state)
{
    for (size_t i = 0; i < SCENARIOS; i++)
        play(*state, &scenarios[i]);
}

static void
what_is_asked_arrives(void **state)
{
    enum { LEN = 3 << 20 };
    struct world *w = *state;
    struct talk t = TALK, again = TALK;
    char *text = malloc(LEN);
    memset(text, 'q', LEN);
    const struct sf_provider_part part[] = {{SF_PP_TEXT, text, LEN, NULL}};
    const struct sf_provider_message message[] = {{SF_PR_USER, part, 1, NULL}};
    const struct sf_provider_chat chat = {.model = "500-once", .messages = message, .n = 1};
    open_provider(w, "kimi", 1);
    ask_with(w, &chat, &t);
    memset(text, 'z', LEN); /* it was borrowed for the call only */
    wait_end(&t);
    assert_int_equal(t.fault.cls, SF_PC_OK);
    assert_string_equal(t.model, "m-1");
    assert_int_equal(w->hits, 2); /* the second time it is all there, too */
    pthread_mutex_lock(&w->lock);
    assert_in_range(w->body_len, LEN, LEN + 200);
    assert_memory_equal(w->body, "{\"model\":\"500-once\",\"messages\":[{\"role\":\"user\",", 47);
    assert_memory_equal(w->body + 2000, "qqqqqqqq", 8);
    pthread_mutex_unlock(&w->lock);
    free(text);
    talk_fini(&t);
    ask(w, "ok", &again);
    wait_end(&again);
    assert_int_equal(toy_counts(w->toy)->connections, 2); /* the second is kept for the next turn */
    talk_fini(&again);
}

/* ---- how fast -------------------------------------------------------------------------------- */

static int
by_value(const void *pa, const void *pb)
{
    const int64_t *a = pa, *b = pb;
    return *a < *b ? -1 : *a > *b;
}

static void
pieces_are_handed_on_at_once(void **state)
{
    struct world *w = *state;
    struct talk t = TALK;
    int64_t took[64];
    open_provider(w, "kimi", 1);
    ask(w, "clock", &t);
    wait_end(&t);
    assert_int_equal(t.deltas, 64);
    for (int i = 0; i < 64; i++)
        took[i] = t.came_ns[i] - w->sent_ns[i];
    int64_t first = took[0];
    qsort(took, 64, sizeof *took, by_value);
    print_message("first piece after %.3f ms; median %.3f ms, worst %.3f ms\n", (double)first / 1e6,
                  (double)took[32] / 1e6, (double)took[63] / 1e6);
    assert_true(took[32] < 100000000); /* on a busy machine; see above for what it is */
    talk_fini(&t);
}

/* ---- who reads slowly, or not at all --------------------------------------------------------- */

static void
a_slow_reader_slows_the_provider(void **state)
{
    struct world *w = *state;
    struct talk t = TALK;
    t.hold_every = 100000;
    open_provider(w, "kimi", 1);
    ask(w, "flood", &t);
    assert_true(got_reaches(&t.holds, 1));
    size_t sent, bytes = t.bytes;
    do {
        sent = w->sent;
        got_sleep(300);
    } while (w->sent != sent);
    assert_true(sent < 48 << 20); /* it cannot send more than fits between */
    assert_int_equal(t.bytes, bytes);
    assert_true(bytes < 100000 + 40000);
    for (unsigned i = 2; i < 20; i++) {
        sf_provider_chat_resume(w->p, t.id);
        assert_true(got_reaches(&t.holds, i));
    }
    assert_true(t.bytes >= 1900000 && t.bytes < 20 * 140000);
    sf_provider_cancel(w->p, t.id);
    wait_end(&t);
    assert_int_equal(t.fault.err, -ECANCELED);
    assert_true(t.end.truncated);
    sf_provider_chat_resume(w->p, t.id); /* of one that has ended: nothing */
    talk_fini(&t);
}

static void
an_endless_answer_ends(void **state)
{
    struct world *w = *state;
    struct talk t = TALK;
    open_provider(w, "kimi", 1);
    ask(w, "flood", &t);
    wait_end(&t);
    assert_int_equal(t.fault.cls, SF_PC_PROTOCOL);
    assert_non_null(strstr(t.fault.text, "longer than"));
    assert_true(t.bytes <= SF_PROVIDER_ANSWER_MAX && t.end.truncated);
    talk_fini(&t);
}

/* ---- cancels, limits ------------------------------------------------------------------------- */

static void
a_cancel_ends_it_wherever_it_is(void **state)
{
    struct world *w = *state;
    struct talk talking = TALK, waiting = TALK, silent = TALK, fine = TALK;
    open_provider(w, "kimi", 1);
    ask(w, "talk", &talking);
    assert_true(got_reaches(&talking.deltas, 1));
    ask(w, "ok", &waiting); /* stands in line */
    got_sleep(50);
    sf_provider_cancel(w->p, waiting.id);
    wait_end(&waiting);
    assert_int_equal(waiting.fault.err, -ECANCELED);
    assert_int_equal(waiting.end.attempts, 0);
    assert_false(waiting.end.truncated);
    assert_int_equal(talking.ends, 0);

    sf_provider_cancel(w->p, talking.id);
    wait_end(&talking);
    assert_int_equal(talking.fault.err, -ECANCELED);
    assert_true(talking.end.truncated);
    assert_string_equal(talking.text[0].data, "a");

    ask(w, "silent", &silent);
    assert_true(got_reaches(&w->silent, 1));
    sf_provider_cancel(w->p, silent.id);
    wait_end(&silent);
    assert_int_equal(silent.fault.err, -ECANCELED);
    assert_int_equal(silent.end.how, SF_PE_CANCELLED);
    assert_true(silent.end.open);
    assert_true(got_reaches(&w->gone, 1)); /* the provider sees it, too */
    assert_int_equal(w->hits, 2);

    ask(w, "ok", &fine); /* the slot is back */
    wait_end(&fine);
    assert_int_equal(fine.fault.cls, SF_PC_OK);
    talk_fini(&talking);
    talk_fini(&waiting);
    talk_fini(&silent);
    talk_fini(&fine);
}

static void
nobody_waits_for_ever(void **state)
{
    struct world *w = *state;
    struct talk late = TALK, idle = TALK;
    struct sf_provider_chat chat = {
        .model = "silent", .messages = messages, .n = 1, .deadline_ms = sf_clock_ms() + 300};
    open_provider(w, "kimi", 2);
    ask_with(w, &chat, &late);
    wait_end(&late);
    assert_int_equal(late.fault.cls, SF_PC_TIMEOUT);
    assert_int_equal(late.end.attempts, 1);
    chat.deadline_ms = 0;
    chat.idle_ms = 200;
    ask_with(w, &chat, &idle);
    wait_end(&idle);
    assert_int_equal(idle.fault.cls, SF_PC_TIMEOUT);
    assert_int_equal(idle.end.attempts, 2);
    assert_int_equal(idle.end.first_ms, -1);
    talk_fini(&late);
    talk_fini(&idle);
}

static void
what_was_refused_is_not_asked_again(void **state)
{
    struct world *w = *state;
    struct talk first = TALK, second = TALK, forced = TALK;
    const struct sf_provider_chat chat = {
        .model = "ok", .messages = messages, .n = 1, .force = true};
    open_provider(w, "kimi", 1);
    ask(w, "429-quota", &first);
    wait_end(&first);
    ask(w, "ok", &second);
    wait_end(&second);
    assert_int_equal(second.fault.cls, SF_PC_QUOTA);
    assert_int_equal(second.end.attempts, 0);
    assert_int_equal(w->hits, 1);
    ask_with(w, &chat, &forced);
    wait_end(&forced);
    assert_int_equal(forced.fault.cls, SF_PC_OK);
    talk_fini(&first);
    talk_fini(&second);
    talk_fini(&forced);
}

static void
a_request_that_cannot_be_made_is_not(void **state)
{
    struct world *w = *state;
    const struct sf_provider_chat_fns fns = {on_delta, on_end, NULL};
    const struct sf_provider_chat chat = {.messages = messages, .n = 1};
    struct sf_provider_fault fault;
    open_provider(w, "kimi", 1);
    assert_int_equal(sf_provider_chat(w->p, &chat, &fns, &fault), 0);
    assert_int_equal(fault.cls, SF_PC_MODEL);
    assert_int_equal(w->hits, 0);
}

/* ---- many ------------------------------------------------------------------------------------ */

enum { MANY = 50 };

/* Without the large buffers of the toy server; see main(). */
static size_t
in_use(void)
{
    return mallinfo2().uordblks;
}

static void
fifty_at_once(void **state)
{
    static struct talk talks[MANY];
    struct world *w = *state;
    open_provider(w, "kimi", 64);
    for (int i = 0; i < MANY; i++)
        talks[i] = (struct talk)TALK;
    size_t before = in_use();
    for (int i = 0; i < MANY; i++)
        ask(w, "talk", &talks[i]);
    assert_true(got_reaches(&w->talking, MANY)); /* more than connections of others may be */
    for (int i = 0; i < MANY; i++)
        assert_true(got_reaches(&talks[i].deltas, 1));
    size_t each = (in_use() - before) / MANY;
    print_message("%zu bytes for each open chat\n", each);
    assert_true(IS_SANITIZED || each < 64 * 1024);
    w->go = true;
    for (int i = 0; i < MANY; i++) {
        wait_end(&talks[i]);
        assert_int_equal(talks[i].fault.cls, SF_PC_OK);
        assert_string_equal(talks[i].text[0].data, "ab");
        talk_fini(&talks[i]);
    }
    assert_int_equal(w->hits, MANY);
}

/* Those under way hear of it when the provider is closed. */
static void
the_end_ends_them_all(void **state)
{
    static struct talk talks[MANY];
    struct world *w = *state;
    open_provider(w, "kimi", 20);
    for (int i = 0; i < MANY; i++) {
        talks[i] = (struct talk)TALK;
        ask(w, i % 2 ? "talk" : "flood", &talks[i]);
        talks[i].hold_every = 1000;
    }
    assert_true(got_reaches(&w->talking, 5));
    sf_provider_free(w->p);
    w->p = NULL;
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(talks[i].ends, 1);
        talk_fini(&talks[i]);
    }
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(each_scenario_ends_as_it_should),
        T(what_is_asked_arrives),
        T(pieces_are_handed_on_at_once),
        T(a_slow_reader_slows_the_provider),
        T(an_endless_answer_ends),
        T(a_cancel_ends_it_wherever_it_is),
        T(nobody_waits_for_ever),
        T(what_was_refused_is_not_asked_again),
        T(a_request_that_cannot_be_made_is_not),
        T(fifty_at_once),
        T(the_end_ends_them_all),
    };
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
