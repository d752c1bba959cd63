/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "json.h"
#include "provider-internal.h"

#define BYTES_PER_TOKEN 4
#define QUOTED_MAX      80 /* bytes of the question that the answer repeats */
#define FOUND_MAX       5  /* lines that one "find:" shows */

/* What a request says, as far as an answer depends on it. */
struct chat {
    struct ds_request *req;
    json_t *body; /* borrowed */
    char model[80];
    json_t *messages;     /* what is kept of them */
    struct ds_buf *texts; /* by message */
    size_t count, users;
    int64_t prompt_tokens, max_tokens; /* max: 0 = as many as it takes */
    bool thinks;
    struct ds_buf parts; /* lines on files and pictures */
};

void
ds_sha256_hex(const void *bytes, size_t len, char out[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_Digest(bytes, len, digest, NULL, EVP_sha256(), NULL);
    ds_hex(digest, 32, out);
}

static int64_t
tokens_of(size_t bytes)
{
    return (int64_t)(bytes + BYTES_PER_TOKEN - 1) / BYTES_PER_TOKEN;
}

/* ---- parts of a message ---- */

static void
say_part(struct chat *chat, const char *role, const char *kind, int64_t bytes, const char *sha256)
{
    ds_buf_addf(&chat->parts, "%s %s: %lld bytes, sha256 %s\n", role, kind, (long long)bytes,
                sha256);
}

/* A file that was uploaded before, by id; false when a reply is set. */
static bool
take_uploaded(struct chat *chat, const char *role, const char *kind, const char *id)
{
    struct ds_pfile file;
    if (ds_pfile_find(chat->req, id, false, &file) < 0) {
        ds_perror(chat->req, DS_PE_NOT_FOUND, id);
        return false;
    }
    say_part(chat, role, kind, file.size, file.sha256);
    return true;
}

static bool
take_url(struct chat *chat, const char *role, const char *kind, const char *url)
{
    char sha256[65];
    struct ds_fetched fetched;
    const char *base64 = strstr(url, ";base64,");
    if (strncmp(url, "ms://", 5) == 0) {
        if (ds_set_bool(chat->req->provider, "ms_images"))
            return take_uploaded(chat, role, kind, url + 5);
        ds_perror(chat->req, DS_PE_INVALID, "unsupported image url");
        return false;
    }
    if (strncmp(url, "data:", 5) == 0 && base64) {
        size_t len = 0;
        sf_autofree char *bytes = ds_base64_decode(base64 + 8, strlen(base64 + 8), &len);
        ds_sha256_hex(bytes ? bytes : "", bytes ? len : 0, sha256);
        say_part(chat, role, kind, (int64_t)len, sha256);
        return true;
    }
    ds_provider_fetch(chat->req, url, &fetched);
    if (fetched.status != 200) {
        ds_perrorf(chat->req, DS_PE_INVALID, "the url cannot be fetched (%d)", fetched.status);
        return false;
    }
    say_part(chat, role, kind, fetched.bytes, fetched.sha256);
    return true;
}

/* Vision models have a v behind their number. */
static bool
sees(const char *model)
{
    const char *dash = strchr(model, '-');
    return dash && strchr(dash, 'v');
}

static bool
take_part(struct chat *chat, const char *role, const json_t *part, struct ds_buf *text)
{
    const struct ds_provider_call *call = chat->req->provider;
    const char *type = json_string_value(json_object_get(part, "type"));
    const json_t *value = type ? json_object_get(part, type) : NULL;
    const char *url = json_string_value(json_object_get(value, "url"));
    const char *id = json_string_value(json_object_get(value, "file_id"));
    if (!id)
        id = json_string_value(json_object_get(part, "file_id"));
    if (type && strcmp(type, "text") == 0 && json_is_string(value)) {
        ds_buf_add(text, json_string_value(value), json_string_length(value));
        return true;
    }
    if (type && url && (strcmp(type, "image_url") == 0 || strcmp(type, "video_url") == 0))
        return take_url(chat, role, type, url);
    if (type && url && strcmp(type, "file_url") == 0 && ds_set_bool(call, "file_url") &&
        sees(chat->model))
        return take_url(chat, role, type, url);
    if (type && id && strcmp(type, "file") == 0 && ds_set_bool(call, "file_id_in_chat"))
        return take_uploaded(chat, role, type, id);
    ds_perrorf(chat->req, DS_PE_INVALID,
               "Invalid value: %s. Supported values are: 'text','image_url','video_url' and "
               "'video'.",
               type ? type : "null");
    return false;
}

static bool
take_content(struct chat *chat, const char *role, const json_t *content, struct ds_buf *text)
{
    size_t i;
    const json_t *part;
    if (json_is_string(content)) {
        ds_buf_add(text, json_string_value(content), json_string_length(content));
        return true;
    }
    json_array_foreach((json_t *)(uintptr_t)content, i, part)
    {
        if (!take_part(chat, role, part, text))
            return false;
    }
    bool may_be_null = strcmp(role, "assistant") == 0;
    if (!json_is_array(content) && !may_be_null)
        ds_perrorf(chat->req, DS_PE_INVALID, "a message of %s has no content", role);
    return json_is_array(content) || may_be_null;
}

static bool
is_role(const char *role)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool", "developer"};
    for (size_t i = 0; role && i < sizeof roles / sizeof roles[0]; i++)
        if (strcmp(roles[i], role) == 0)
            return true;
    return false;
}

static bool
take_message(struct chat *chat, size_t at, const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    struct ds_buf *text = &chat->texts[at];
    char sha256[65];
    if (!is_role(role)) {
        ds_perror(chat->req, DS_PE_INVALID, "a message has no role");
        return false;
    }
    if (!take_content(chat, role, json_object_get(message, "content"), text))
        return false;
    bool echoed = json_is_string(json_object_get(message, "reasoning_content"));
    if (strcmp(role, "assistant") == 0 && !echoed && chat->thinks &&
        ds_set_bool(chat->req->provider, "echo_reasoning")) {
        ds_perrorf(chat->req, DS_PE_INVALID,
                   "thinking is enabled but reasoning_content is missing in assistant message at "
                   "index %zu",
                   at);
        return false;
    }
    chat->users += strcmp(role, "user") == 0;
    ds_sha256_hex(text->data ? text->data : "", text->len, sha256);
    int64_t tokens = tokens_of(text->len) + 1;
    chat->prompt_tokens += tokens;
    json_array_append_new(chat->messages, json_pack("{s:s, s:I, s:s, s:I}", "role", role, "bytes",
                                                    (json_int_t)text->len, "sha256", sha256,
                                                    "tokens", (json_int_t)tokens));
    return true;
}

/* ---- the request ---- */

/* The name without what stands behind @, whose scenarios are taken over. */
static bool
take_model(struct chat *chat)
{
    struct ds_provider_call *call = chat->req->provider;
    const char *model = json_string_value(json_object_get(chat->body, "model"));
    char bad[48];
    /* llama.cpp has one model and looks at no name. */
    if (!model && call->flavour == DS_FLAVOUR_LLAMACPP)
        model = "";
    if (!model) {
        ds_perror(chat->req, DS_PE_INVALID, "model is required");
        return false;
    }
    size_t len = strcspn(model, "@");
    snprintf(chat->model, sizeof chat->model, "%.*s", (int)len, model);
    if (model[len] == '@' && ds_scenario_add(call, model + len + 1, bad) < 0) {
        ds_perrorf(chat->req, DS_PE_INVALID, "the emulated provider has no scenario \"%s\"", bad);
        return false;
    }
    return true;
}

static bool
check_request(struct chat *chat)
{
    struct ds_request *req = chat->req;
    const struct ds_provider_call *call = req->provider;
    int64_t most = ds_set_number(call, "max_body");
    if (most > 0 && (int64_t)req->text.len > most)
        ds_perrorf(req, DS_PE_BODY_SIZE, "%zu exceeds limit %lld", req->text.len, (long long)most);
    else if (json_array_size(ds_set_value(call, "models")) > 0 &&
             !ds_set_has(call, "models", chat->model))
        ds_perror(req, DS_PE_MODEL, chat->model);
    else if (json_object_get(chat->body, "stream_options") && !ds_set_bool(call, "stream_options"))
        ds_perror(req, DS_PE_INVALID, "stream_options");
    else if (json_array_size(json_object_get(chat->body, "messages")) == 0)
        ds_perror(req, DS_PE_INVALID, "messages is required");
    return req->reply.status == 0;
}

static bool
wants_thinking(const struct chat *chat)
{
    const struct ds_provider_call *call = chat->req->provider;
    const json_t *thinking = json_object_get(chat->body, "thinking");
    const char *type = json_string_value(json_object_get(thinking, "type"));
    if (type && (strcmp(type, "disabled") == 0 || strcmp(type, "enabled") == 0))
        return strcmp(type, "enabled") == 0;
    return ds_set_bool(call, "thinks") || ds_scenario(call, "reasoning") != NULL;
}

static int64_t
max_tokens_of(const struct chat *chat)
{
    bool is_glm = chat->req->provider->flavour == DS_FLAVOUR_GLM;
    const json_t *newer = json_object_get(chat->body, "max_completion_tokens");
    int64_t most =
        json_integer_value(!is_glm && newer ? newer : json_object_get(chat->body, "max_tokens"));
    return most > 0 ? most : 0;
}

static bool
take_messages(struct chat *chat)
{
    const json_t *messages = json_object_get(chat->body, "messages"), *message;
    size_t i;
    chat->count = json_array_size(messages);
    chat->texts = calloc(chat->count, sizeof *chat->texts);
    if (!chat->texts) {
        ds_perror(chat->req, DS_PE_SERVER, NULL);
        return false;
    }
    json_array_foreach((json_t *)(uintptr_t)messages, i, message)
    {
        if (!take_message(chat, i, message))
            return false;
    }
    if (chat->users == 0 && chat->req->provider->flavour == DS_FLAVOUR_GLM)
        ds_perror(chat->req, DS_PE_INVALID, "messages has no user");
    return chat->req->reply.status == 0;
}

/* False when the prompt is too long and the reply says so. */
static bool
check_length(struct chat *chat)
{
    const struct ds_provider_call *call = chat->req->provider;
    int64_t room = ds_set_number(call, "context_tokens");
    int64_t wanted = chat->prompt_tokens + chat->max_tokens;
    /* These two say nothing: one answers to what fits, the other with nothing. */
    bool silent = ds_set_bool(call, "truncates") || call->flavour == DS_FLAVOUR_LMSTUDIO;
    if (room == 0 || wanted <= room || silent)
        return true;
    ds_perrorf(chat->req, DS_PE_CONTEXT, "%lld (requested: %lld)", (long long)room,
               (long long)wanted);
    return false;
}

/* ---- the answer ---- */

static const char *
role_at(const struct chat *chat, size_t i)
{
    return json_string_value(json_object_get(json_array_get(chat->messages, i), "role"));
}

/* The lines of the other messages that hold a text: so an answer can depend on what they say. */
static void
find_lines(const struct chat *chat, const char *wanted, size_t len, struct ds_buf *out)
{
    size_t found = 0;
    ds_buf_addf(out, "found \"%.*s\":", (int)len, wanted);
    for (size_t i = 0; i + 1 < chat->count && len > 0; i++) {
        const struct ds_buf *text = &chat->texts[i];
        const char *at = text->data, *end = at ? at + text->len : NULL;
        while (at && found < FOUND_MAX &&
               (at = memmem(at, (size_t)(end - at), wanted, len)) != NULL) {
            const char *from = at, *to = memchr(at, '\n', (size_t)(end - at));
            while (from > text->data && from[-1] != '\n')
                from--;
            to = to ? to : end;
            ds_buf_addf(out, " %s %zu: %.*s;", role_at(chat, i), i + 1, (int)(to - from), from);
            found++;
            at = to;
        }
    }
    ds_buf_addf(out, " %zu\n", found);
}

static void
quote(const struct ds_buf *text, struct ds_buf *out)
{
    const char *data = text->data ? text->data : "";
    size_t len = strcspn(data, "\n");
    if (len > QUOTED_MAX)
        len = QUOTED_MAX;
    while (len > 0 && !ds_utf8_valid(data, len))
        len--;
    ds_buf_addf(out, "You wrote: %.*s\n", (int)len, data);
}

static void
answer_searches(const struct chat *chat, const struct ds_buf *question, struct ds_buf *out)
{
    const char *line = question->data ? question->data : "";
    while (*line) {
        size_t len = strcspn(line, "\n");
        if (len > 6 && strncmp(line, "find: ", 6) == 0)
            find_lines(chat, line + 6, len - 6, out);
        line += len + (line[len] == '\n');
    }
}

static char *
compose(const struct chat *chat)
{
    const struct ds_provider_call *call = chat->req->provider;
    const struct ds_scenario *scenario = ds_scenario(call, "words");
    int64_t words = scenario && scenario->a >= 0 ? scenario->a : ds_set_number(call, "words");
    const struct ds_buf *question = NULL;
    ds_autobuf out = DS_BUF_INIT;
    ds_buf_adds(&out, "Grüße — 你好 🙂\n");
    size_t number[2] = {0, 0};
    for (size_t i = 0; i < chat->count; i++) {
        const json_t *kept = json_array_get(chat->messages, i);
        const char *role = role_at(chat, i);
        bool is_system = strcmp(role, "system") == 0, is_user = strcmp(role, "user") == 0;
        if (is_user)
            question = &chat->texts[i];
        if (is_system || is_user)
            ds_buf_addf(&out, "%s %zu: %zu bytes, sha256 %s\n", role, ++number[is_user],
                        chat->texts[i].len, json_string_value(json_object_get(kept, "sha256")));
    }
    if (chat->parts.data)
        ds_buf_adds(&out, chat->parts.data);
    if (question) {
        quote(question, &out);
        answer_searches(chat, question, &out);
    }
    for (int64_t i = 1; i <= words; i++)
        ds_buf_addf(&out, "w%lld%s", (long long)i, i % 10 == 0 || i == words ? "\n" : " ");
    return ds_buf_take(&out, NULL);
}

size_t
ds_token_len(const char *text)
{
    size_t len = strspn(text, " \n");
    return len + strcspn(text + len, " \n");
}

size_t
ds_token_count(const char *text)
{
    size_t count = 0;
    for (; *text; text += ds_token_len(text))
        count++;
    return count;
}

/* Leaves at most *left tokens, and takes them off; whether something was cut. */
static bool
cut_tokens(char *text, int64_t *left)
{
    for (; *text && *left > 0; (*left)--)
        text += ds_token_len(text);
    bool cut = *text != '\0';
    *text = '\0';
    return cut;
}

static void
make_id(const struct ds_request *req, char out[48])
{
    bool is_glm = req->provider->flavour == DS_FLAVOUR_GLM;
    char uuid[DS_UUID_SIZE] = "00000000000000000";
    ds_uuid_new(uuid);
    snprintf(out, 48, "%s%.8s%.4s%.4s", is_glm ? "20261121041037" : "chatcmpl-", uuid, uuid + 9,
             uuid + 14);
}

static void
keep(struct chat *chat, struct ds_answer *answer)
{
    struct ds_request *req = chat->req;
    const struct ds_provider_call *call = req->provider;
    json_t *names = json_array();
    for (size_t i = 0; i < call->scenario_count; i++)
        json_array_append_new(names, json_string(call->scenarios[i].name));
    json_t *kept = json_pack(
        "{s:s, s:s, s:b, s:b, s:I, s:I, s:O, s:o, s:s}", "account", call->account, "model",
        chat->model, "stream", answer->stream, "thinking", chat->thinks, "prompt_tokens",
        (json_int_t)chat->prompt_tokens, "max_tokens", (json_int_t)chat->max_tokens, "messages",
        chat->messages, "scenarios", names, "ended", "");
    if (kept)
        answer->seq = ds_providers_note_chat(req->server->providers, call->index, kept,
                                             &answer->cached_tokens);
}

/* At Kimi a last message of the assistant's may be the beginning of the answer: what is sent goes
 * on behind it. */
static void
go_on(const struct chat *chat, char *content)
{
    const json_t *messages = json_object_get(chat->body, "messages");
    const json_t *last = json_array_get(messages, chat->count - 1);
    const struct ds_buf *text = &chat->texts[chat->count - 1];
    if (chat->req->provider->flavour != DS_FLAVOUR_KIMI ||
        !json_is_true(json_object_get(last, "partial")) || text->len == 0 ||
        strncmp(content, text->data, text->len) != 0)
        return;
    memmove(content, content + text->len, strlen(content + text->len) + 1);
}

static void
answer_chat(struct chat *chat)
{
    struct ds_request *req = chat->req;
    const struct ds_provider_call *call = req->provider;
    const json_t *options = json_object_get(chat->body, "stream_options");
    bool only = ds_scenario(call, "reasoning-only") != NULL;
    sf_autofree char *content = only ? strdup("") : compose(chat);
    sf_autofree char *reasoning =
        strdup(chat->thinks || only ? "The user wants lengths and hashes. I count what came." : "");
    struct ds_answer answer = {
        .created_s = ds_now_ms() / 1000,
        .stream = json_is_true(json_object_get(chat->body, "stream")),
        .include_usage = json_is_true(json_object_get(options, "include_usage")),
        .reasoning = reasoning,
        .content = content,
        .prompt_tokens = chat->prompt_tokens,
    };
    if (!content || !reasoning || chat->parts.failed) {
        ds_perror(req, DS_PE_SERVER, NULL);
        return;
    }
    go_on(chat, content);
    make_id(req, answer.id);
    snprintf(answer.model, sizeof answer.model, "%s", chat->model);
    snprintf(answer.finish, sizeof answer.finish, "%s", only ? "length" : "stop");
    if (chat->max_tokens > 0) {
        int64_t left = chat->max_tokens;
        bool cut = cut_tokens(reasoning, &left);
        if (cut_tokens(content, &left) || cut)
            snprintf(answer.finish, sizeof answer.finish, "length");
    }
    const struct ds_scenario *finish = ds_scenario(call, "finish");
    if (finish)
        snprintf(answer.finish, sizeof answer.finish, "%s", finish->text);
    keep(chat, &answer);
    ds_answer_send(req, &answer);
}

static void
chat_fini(struct chat *chat)
{
    for (size_t i = 0; chat->texts && i < chat->count; i++)
        ds_buf_fini(&chat->texts[i]);
    free(chat->texts);
    ds_buf_fini(&chat->parts);
    json_decref(chat->messages);
}

void
ds_chat(struct ds_request *req)
{
    ds_autojson *body = ds_provider_json(req);
    struct chat chat = {.req = req, .body = body, .messages = json_array()};
    if (body && take_model(&chat)) {
        bool answered = ds_scenario_answers(req);
        bool goes_on = ds_scenario_before(req) && !answered;
        if (goes_on && check_request(&chat)) {
            chat.thinks = wants_thinking(&chat);
            chat.max_tokens = max_tokens_of(&chat);
            if (take_messages(&chat) && check_length(&chat))
                answer_chat(&chat);
        }
    }
    chat_fini(&chat);
}

void
ds_chat_tokens(struct ds_request *req)
{
    ds_autojson *body = ds_provider_json(req);
    struct chat chat = {.req = req, .body = body, .messages = json_array()};
    if (body && take_model(&chat) && !ds_scenario_answers(req) && check_request(&chat) &&
        take_messages(&chat))
        ds_provider_reply(req, 200,
                          json_pack("{s:i, s:{s:b, s:I}, s:s, s:b}", "code", 0, "data",
                                    "multimodal", 0, "total_tokens", (json_int_t)chat.prompt_tokens,
                                    "scode", "0x0", "status", 1));
    chat_fini(&chat);
}
