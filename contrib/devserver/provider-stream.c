/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "json.h"
#include "provider-internal.h"
#include "reply.h"
#include "stream.h"

/* ---- what is sent, step by step ---- */

enum step_kind {
    STEP_TEXT,
    STEP_HANG,  /* until the client goes, or hanging replies are to end */
    STEP_RESET, /* the connection is reset */
    STEP_END,   /* the body ends, in order */
    STEP_ABORT, /* the connection ends in the middle of the body */
};

struct step {
    enum step_kind kind;
    int64_t delay_ms;
    char *text;
    size_t len;
};

struct script {
    struct ds_request *req; /* valid while its bytes are asked for */
    struct ds_server *server;
    size_t site;
    uint64_t seq;
    struct step *steps;
    size_t count, room;
    bool failed; /* no memory */

    size_t at, offset; /* what was sent */
    bool one_byte, ended;
};

static void
end_chat(struct script *script, const char *how)
{
    if (script->ended)
        return;
    script->ended = true;
    ds_providers_chat_ended(script->server->providers, script->site, script->seq, how, script->at);
}

/* After the request's own end: nothing of it is looked at. */
static void
script_free(void *arg)
{
    struct script *script = arg;
    end_chat(script, "client-gone");
    for (size_t i = 0; i < script->count; i++)
        free(script->steps[i].text);
    free(script->steps);
    free(script);
}

/* Takes the text. */
static void
add_step(struct script *script, enum step_kind kind, int64_t delay_ms, char *text)
{
    if (script->count == script->room) {
        size_t room = script->room ? 2 * script->room : 64;
        void *grown = realloc(script->steps, room * sizeof *script->steps);
        if (!grown) {
            script->failed = true;
            free(text);
            return;
        }
        script->steps = grown;
        script->room = room;
    }
    if (kind == STEP_TEXT && !text)
        script->failed = true;
    script->steps[script->count++] = (struct step){
        .kind = kind, .delay_ms = delay_ms, .text = text, .len = text ? strlen(text) : 0};
}

static ssize_t
do_step(struct script *script, const struct step *step)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    switch (step->kind) {
    case STEP_HANG:
        if (ds_provider_hang(script->server, script->req->socket)) {
            end_chat(script, "client-gone");
            return MHD_CONTENT_READER_END_WITH_ERROR;
        }
        return 0;
    case STEP_RESET:
        end_chat(script, "reset");
        (void)!connect(script->req->socket, &none, sizeof none);
        return MHD_CONTENT_READER_END_WITH_ERROR;
    case STEP_ABORT:
        end_chat(script, "cut");
        return MHD_CONTENT_READER_END_WITH_ERROR;
    default:
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
}

static ssize_t
script_read(void *arg, uint64_t pos, char *buf, size_t max)
{
    struct script *script = arg;
    (void)pos;
    while (script->at < script->count) {
        const struct step *step = &script->steps[script->at];
        if (script->offset == 0 && step->delay_ms > 0 &&
            !ds_stream_sleep(script->server, script->req->socket, step->delay_ms)) {
            end_chat(script, "client-gone");
            return MHD_CONTENT_READER_END_WITH_ERROR;
        }
        if (step->kind != STEP_TEXT) {
            ssize_t rc = do_step(script, step);
            if (rc != 0)
                return rc;
            script->at++;
            continue;
        }
        size_t left = step->len - script->offset;
        size_t n = script->one_byte ? 1 : left < max ? left : max;
        memcpy(buf, step->text + script->offset, n);
        script->offset += n;
        if (script->offset == step->len) {
            script->at++;
            script->offset = 0;
        }
        /* Before the last byte is out: who has the whole answer may ask again at once. */
        bool last = script->at == script->count || script->steps[script->at].kind == STEP_END;
        if (last && script->offset == 0) {
            end_chat(script, script->at == script->count ? "whole" : "cut");
            ds_providers_leave(script->server->providers, script->req->provider);
        }
        return (ssize_t)n;
    }
    return MHD_CONTENT_READER_END_OF_STREAM;
}

/* ---- chunks ---- */

enum { USAGE_CHOICE = 1, USAGE_LAST = 2, USAGE_TRAILING = 4 };

/* How a server of the flavour writes, with what settings and scenarios change in it. */
struct style {
    struct ds_request *req;
    const struct ds_provider_call *call;
    const struct ds_answer *answer;
    struct script *script;
    char id[48]; /* changes when an answer begins anew */
    unsigned usage;
    const char *reasoning; /* the field's name, "" = none */
    bool null_reasoning;   /* vLLM has the older name beside it, empty */
    bool role_always, no_finish_key, escapes, crlf, comments, no_space, many_data;
    int64_t first_ms, each_ms;
    size_t frames;
};

static unsigned
usage_of(const struct ds_provider_call *call, bool asked)
{
    static const struct {
        const char *scenario, *word;
        unsigned usage;
    } places[] = {
        {"usage-in-choice", "choice", USAGE_CHOICE},
        {"usage-last", "last", USAGE_LAST},
        {"usage-trailing", "trailing", USAGE_TRAILING},
        {"usage-none", "none", 0},
    };
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (ds_scenario(call, places[i].scenario))
            return places[i].usage;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (ds_set_is(call, "usage_place", places[i].word))
            return places[i].usage;
    if (call->flavour == DS_FLAVOUR_GLM)
        return USAGE_LAST;
    unsigned trailing = asked ? USAGE_TRAILING : 0;
    return call->flavour == DS_FLAVOUR_KIMI ? USAGE_CHOICE | trailing : trailing;
}

static void
set_reasoning(struct style *style)
{
    const struct ds_provider_call *call = style->call;
    const char *word = ds_set_text(call, "reasoning_field");
    bool is_auto = strcmp(word, "auto") == 0;
    style->null_reasoning =
        strcmp(word, "both") == 0 || (is_auto && call->flavour == DS_FLAVOUR_VLLM);
    if (strcmp(word, "none") == 0)
        style->reasoning = "";
    else if (strcmp(word, "reasoning") == 0 || style->null_reasoning ||
             (is_auto && call->flavour == DS_FLAVOUR_OLLAMA))
        style->reasoning = "reasoning";
    else
        style->reasoning = "reasoning_content";
}

static void
style_init(struct style *style, struct ds_request *req, const struct ds_answer *answer)
{
    const struct ds_provider_call *call = req->provider;
    const struct ds_scenario *slow = ds_scenario(call, "slow");
    int64_t tps = slow && slow->b > 0 ? slow->b : slow && slow->a < 0 ? 10 : 0;
    if (tps == 0)
        tps = ds_set_number(call, "tps");
    *style = (struct style){
        .req = req,
        .call = call,
        .answer = answer,
        .usage = usage_of(call, answer->include_usage),
        .role_always = call->flavour == DS_FLAVOUR_GLM || call->flavour == DS_FLAVOUR_OLLAMA,
        .no_finish_key = call->flavour == DS_FLAVOUR_GLM,
        .escapes = ds_scenario(call, "escapes") != NULL,
        .crlf = ds_scenario(call, "crlf") != NULL,
        .comments = ds_scenario(call, "comments") != NULL,
        .no_space = ds_scenario(call, "no-space") != NULL,
        .many_data = ds_scenario(call, "many-data") != NULL,
        .first_ms = slow ? (slow->a < 0 ? 500 : slow->a) : ds_set_number(call, "ttft_ms"),
        .each_ms = tps > 0 ? 1000 / tps : 0,
    };
    memcpy(style->id, answer->id, sizeof style->id);
    set_reasoning(style);
}

static json_t *
usage_json(const struct style *style)
{
    const struct ds_answer *answer = style->answer;
    int64_t thought = (int64_t)ds_token_count(answer->reasoning);
    int64_t said = thought + (int64_t)ds_token_count(answer->content);
    json_t *usage = json_pack("{s:I, s:I, s:I}", "prompt_tokens", (json_int_t)answer->prompt_tokens,
                              "completion_tokens", (json_int_t)said, "total_tokens",
                              (json_int_t)(answer->prompt_tokens + said));
    if (style->call->flavour == DS_FLAVOUR_KIMI)
        json_object_set_new(usage, "cached_tokens", json_integer(answer->cached_tokens));
    else if (style->call->flavour <= DS_FLAVOUR_OPENAI)
        json_object_update_new(usage, json_pack("{s:{s:I}, s:{s:I}}", "prompt_tokens_details",
                                                "cached_tokens", (json_int_t)answer->cached_tokens,
                                                "completion_tokens_details", "reasoning_tokens",
                                                (json_int_t)thought));
    return usage;
}

/* A chunk without choices. */
static json_t *
chunk_head(const struct style *style)
{
    json_t *chunk =
        json_pack("{s:s, s:s, s:I, s:s}", "id", style->id, "object", "chat.completion.chunk",
                  "created", (json_int_t)style->answer->created_s, "model", style->answer->model);
    if (style->call->flavour == DS_FLAVOUR_OLLAMA)
        json_object_set_new(chunk, "system_fingerprint", json_string("fp_ollama"));
    return chunk;
}

/* One with a delta, which it takes. */
static json_t *
chunk_of(const struct style *style, json_t *delta, const char *finish)
{
    json_t *chunk = chunk_head(style);
    json_t *choice = json_pack("{s:i, s:o}", "index", 0, "delta", delta);
    if (finish)
        json_object_set_new(choice, "finish_reason", json_string(finish));
    else if (!style->no_finish_key)
        json_object_set_new(choice, "finish_reason", json_null());
    if (finish && style->usage & USAGE_CHOICE)
        json_object_set_new(choice, "usage", usage_json(style));
    json_object_set_new(chunk, "choices", json_pack("[o]", choice));
    if (finish && style->usage & USAGE_LAST)
        json_object_set_new(chunk, "usage", usage_json(style));
    if (finish && style->call->flavour == DS_FLAVOUR_LLAMACPP)
        json_object_set_new(chunk, "timings",
                            json_pack("{s:f, s:f}", "prompt_ms", 12.5, "predicted_ms", 40.0));
    return chunk;
}

static char *
dump(const struct style *style, json_t *value)
{
    char *text =
        value ? json_dumps(value, JSON_COMPACT | (style->escapes ? JSON_ENSURE_ASCII : 0)) : NULL;
    json_decref(value);
    return text;
}

/* A line of the stream, or several, as the scenarios want them written. */
static char *
frame(struct style *style, const char *json)
{
    const char *end = style->crlf ? "\r\n" : "\n", *space = style->no_space ? "" : " ";
    const char *comma = style->many_data && json[0] == '{' ? strchr(json, ',') : NULL;
    ds_autobuf out = DS_BUF_INIT;
    if (style->comments && style->frames % 2 == 0)
        ds_buf_addf(&out, ": ping%s%s", end, end);
    if (style->comments)
        ds_buf_addf(&out, "event: message%sid: %zu%sretry: 100%sfoo: bar%s", end, style->frames,
                    end, end, end);
    if (comma)
        ds_buf_addf(&out, "data:%s%.*s%sdata:%s%s%s%s", space, (int)(comma - json + 1), json, end,
                    space, comma + 1, end, end);
    else
        ds_buf_addf(&out, "data:%s%s%s%s", space, json, end, end);
    return ds_buf_take(&out, NULL);
}

static void
add_frame(struct style *style, const char *json)
{
    int64_t delay = style->frames == 0 ? style->first_ms : style->each_ms;
    add_step(style->script, STEP_TEXT, delay, frame(style, json));
    style->frames++;
}

/* Takes the value. */
static void
add_chunk(struct style *style, json_t *value)
{
    sf_autofree char *json = dump(style, value);
    if (json)
        add_frame(style, json);
    else
        style->script->failed = true;
}

static json_t *
delta_of(const struct style *style, const char *field, const char *text, size_t len)
{
    json_t *delta = json_object();
    bool thinks = strcmp(field, "content") != 0;
    if (style->role_always)
        json_object_set_new(delta, "role", json_string("assistant"));
    if (style->call->flavour == DS_FLAVOUR_OLLAMA && thinks)
        json_object_set_new(delta, "content", json_string(""));
    json_object_set_new(delta, field, json_stringn(text, len));
    if (style->null_reasoning && thinks)
        json_object_set_new(delta, "reasoning_content", json_null());
    else if (style->null_reasoning)
        json_object_set_new(delta, "reasoning", json_null());
    if (style->call->flavour == DS_FLAVOUR_VLLM && thinks)
        json_object_set_new(delta, "content", json_null());
    return delta;
}

static void
add_text(struct style *style, const char *field, const char *text, size_t tokens)
{
    for (; *text && tokens > 0; tokens--) {
        size_t len = ds_token_len(text);
        add_chunk(style, chunk_of(style, delta_of(style, field, text, len), NULL));
        text += len;
    }
}

/* ---- the parts of a stream ---- */

static void
add_opening(struct style *style)
{
    if (!style->role_always)
        add_chunk(
            style,
            chunk_of(style, json_pack("{s:s, s:s}", "role", "assistant", "content", ""), NULL));
    if (style->reasoning[0])
        add_text(style, style->reasoning, style->answer->reasoning, SIZE_MAX);
    /* Half of a pair that stands for one character, which no text may have. */
    if (ds_scenario(style->call, "lone-surrogate"))
        add_frame(style, "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\\ud83d \"},"
                         "\"finish_reason\":null}]}");
}

static void
add_closing(struct style *style)
{
    const struct ds_answer *answer = style->answer;
    json_t *delta = style->role_always ? json_pack("{s:s, s:s}", "role", "assistant", "content", "")
                                       : json_object();
    add_chunk(style, chunk_of(style, delta, answer->finish));
    if (style->usage & USAGE_TRAILING) {
        json_t *chunk = chunk_head(style);
        json_object_set_new(chunk, "choices", json_array());
        json_object_set_new(chunk, "usage", usage_json(style));
        add_chunk(style, chunk);
    }
    if (ds_scenario(style->call, "no-blank"))
        add_step(style->script, STEP_TEXT, 0, strdup("data: [DONE]"));
    else
        add_frame(style, "[DONE]");
}

static void
add_error(struct style *style)
{
    const char *form = ds_scenario(style->call, "mid-error")->text;
    ds_autobuf body = DS_BUF_INIT;
    ds_perror_body(style->req, DS_PE_OVERLOADED, NULL, &body);
    const char *json = body.data ? body.data : "{}";
    char *text = NULL;
    int n = 0;
    if (strcmp(form, "event") == 0)
        n = asprintf(&text, "event: error\ndata: %s\n\n", json);
    else if (strcmp(form, "line") == 0)
        n = asprintf(&text, "error: %s\n\n", json);
    else if (strcmp(form, "string") == 0)
        n = asprintf(&text, "data: {\"error\":\"an error was encountered while running the "
                            "model\"}\n\n");
    else
        n = asprintf(&text, "data: %s\n\n", json);
    add_step(style->script, STEP_TEXT, style->each_ms, n < 0 ? NULL : text);
    if (strcmp(form, "done") == 0)
        add_frame(style, "[DONE]");
    else
        add_step(style->script, STEP_END, 0, NULL);
}

/* The chunk that comes next is cut in its middle, and on the same line the answer begins anew with
 * another id: an upstream that was asked again. */
static void
add_cut_line(struct style *style, const char *text)
{
    const struct ds_scenario *scenario = ds_scenario(style->call, "glm-cut");
    size_t len = ds_token_len(text);
    sf_autofree char *json =
        dump(style, chunk_of(style, delta_of(style, "content", text, len), NULL));
    char *cut = NULL;
    if (!json || asprintf(&cut, "data: %.*s", (int)strlen(json) / 2, json) < 0)
        cut = NULL;
    add_step(style->script, STEP_TEXT, 0, cut);
    style->id[strlen(style->id) - 1] ^= 1;
    sf_autofree char *again =
        dump(style, chunk_of(style,
                             delta_of(style, "content", style->answer->content,
                                      ds_token_len(style->answer->content)),
                             NULL));
    add_step(style->script, STEP_TEXT, scenario->a > 0 ? scenario->a : 0,
             again ? frame(style, again) : NULL);
    add_text(style, "content", style->answer->content + ds_token_len(style->answer->content),
             SIZE_MAX);
}

/* What happens behind the first half of the content; true = the rest of it is sent. */
static bool
add_turn(struct style *style, const char *rest)
{
    const struct ds_provider_call *call = style->call;
    if (ds_scenario(call, "glm-cut")) {
        add_cut_line(style, rest);
        add_closing(style);
        return false;
    }
    if (ds_scenario(call, "mid-error")) {
        add_error(style);
        return false;
    }
    enum step_kind kind = ds_scenario(call, "no-done") ? STEP_END
                          : ds_scenario(call, "cut")   ? STEP_ABORT
                          : ds_scenario(call, "reset") ? STEP_RESET
                                                       : STEP_TEXT;
    if (kind == STEP_TEXT)
        return true;
    add_step(style->script, kind, 0, NULL);
    return false;
}

static void
insert_hang(struct script *script, size_t behind)
{
    add_step(script, STEP_HANG, 0, NULL);
    if (script->failed || behind >= script->count)
        return;
    struct step hang = script->steps[script->count - 1];
    memmove(&script->steps[behind + 1], &script->steps[behind],
            (script->count - 1 - behind) * sizeof hang);
    script->steps[behind] = hang;
}

static void
write_script(struct style *style)
{
    const char *content = style->answer->content;
    const struct ds_scenario *hang = ds_scenario(style->call, "hang");
    bool nothing = ds_scenario(style->call, "empty-200") ||
                   (style->call->flavour == DS_FLAVOUR_LMSTUDIO &&
                    style->answer->prompt_tokens > ds_set_number(style->call, "context_tokens"));
    if (nothing) {
        add_closing(style);
        return;
    }
    add_opening(style);
    size_t half = ds_token_count(content) / 2;
    const char *rest = content;
    for (size_t i = 0; i < half; i++)
        rest += ds_token_len(rest);
    add_text(style, "content", content, half);
    if (add_turn(style, rest)) {
        add_text(style, "content", rest, SIZE_MAX);
        add_closing(style);
    }
    if (hang && hang->a >= 0)
        insert_hang(style->script, (size_t)hang->a);
}

/* ---- sending ---- */

static void
send_stream(struct style *style)
{
    struct ds_request *req = style->req;
    struct script *script = calloc(1, sizeof *script);
    if (!script) {
        ds_perror(req, DS_PE_SERVER, NULL);
        return;
    }
    *script = (struct script){.req = req,
                              .server = req->server,
                              .site = style->call->index,
                              .seq = style->answer->seq,
                              .one_byte = ds_scenario(style->call, "one-byte-writes") != NULL};
    style->script = script;
    write_script(style);
    if (script->failed) {
        script_free(script);
        ds_perror(req, DS_PE_SERVER, NULL);
        return;
    }
    req->reply.status = 200;
    req->reply.reader = script;
    req->reply.read = script_read;
    req->reply.reader_free = script_free;
    ds_reply_header(req, "content-type", "text/event-stream; charset=utf-8");
    ds_reply_header(req, "cache-control", "no-cache");
}

static void
send_whole(struct style *style)
{
    struct ds_request *req = style->req;
    const struct ds_answer *answer = style->answer;
    int64_t wait_ms = style->first_ms + (int64_t)ds_token_count(answer->content) * style->each_ms;
    ds_stream_sleep(req->server, req->socket, wait_ms);
    json_t *message = json_pack("{s:s, s:s}", "role", "assistant", "content", answer->content);
    if (answer->reasoning[0] && style->reasoning[0])
        json_object_set_new(message, style->reasoning, json_string(answer->reasoning));
    json_t *reply = json_pack("{s:s, s:s, s:I, s:s, s:[{s:i, s:o, s:s}]}", "id", answer->id,
                              "object", "chat.completion", "created", (json_int_t)answer->created_s,
                              "model", answer->model, "choices", "index", 0, "message", message,
                              "finish_reason", answer->finish);
    json_object_set_new(reply, "usage", usage_json(style));
    ds_providers_chat_ended(req->server->providers, style->call->index, answer->seq, "whole", 1);
    ds_provider_reply(req, 200, reply);
}

void
ds_answer_send(struct ds_request *req, const struct ds_answer *answer)
{
    struct style style;
    style_init(&style, req, answer);
    if (ds_scenario(req->provider, "error-200")) {
        ds_perror(req, DS_PE_CONTEXT, NULL);
        req->reply.status = 200;
    } else if (answer->stream && !ds_scenario(req->provider, "json-instead-of-sse")) {
        send_stream(&style);
    } else {
        send_whole(&style);
    }
}
