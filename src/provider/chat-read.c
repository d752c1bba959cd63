/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/chat-read.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/redact.h"
#include "base/str.h"
#include "supabase/json.h"

#define EVENT_MAX (1024u * 1024u)
#define WHOLE_MAX (SF_PROVIDER_ANSWER_MAX + EVENT_MAX)

__attribute__((format(printf, 3, 4))) static int
fail(struct chat_read *r, enum sf_provider_class cls, const char *fmt, ...)
{
    char words[200];
    va_list ap;
    if (r->failed)
        return 1;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    (void)sf_provider_fault_set(&r->fault, cls, "%s", words);
    r->failed = true;
    return 1;
}

/* ---- JSON that is not quite -------------------------------------------------------------------
 */

/* The four digits behind "\u"; -1 = there are none. */
static int
hex4(const char *p, const char *end)
{
    unsigned char two[2];
    if (end - p < 6 || p[0] != '\\' || p[1] != 'u' || sf_hex_decode(p + 2, 4, two))
        return -1;
    return two[0] << 8 | two[1];
}

/* Copies one character or escape of a text. Halves of pairs that stand for one character, NUL, and
 * bytes that are no UTF-8, become U+FFFD, as browsers do it. */
static const char *
mend_one(struct sf_buf *out, const char *p, const char *end, int *rc)
{
    int code = hex4(p, end), low = code >= 0 ? hex4(p + 6, end) : -1;
    size_t n = sf_utf8_char(p, (size_t)(end - p));
    if (code >= 0xd800 && code < 0xdc00 && low >= 0xdc00 && low < 0xe000)
        n = 12;
    else if (code == 0 || (code >= 0xd800 && code < 0xe000))
        n = 0;
    else if (*p == '\\' && end - p > 1)
        n = 2; /* what follows is no escape by itself */
    *rc = n ? sf_buf_append(out, p, n) : sf_buf_puts(out, "\xef\xbf\xbd");
    return p + (n ? n : code >= 0 ? 6 : 1);
}

static json_t *
parse(const char *data, size_t len)
{
    json_t *root = sf_json_parse(data, len, NULL);
    sf_autobuf struct sf_buf mended = SF_BUF_INIT;
    const char *p = data, *end = data + len;
    int rc = 0;
    if (root)
        return root;
    while (p < end && !rc)
        p = mend_one(&mended, p, end, &rc);
    return rc || (mended.len == len && !memcmp(mended.data, data, len))
               ? NULL
               : sf_json_parse(mended.data, mended.len, NULL);
}

/* Where the last "data: {" within a line begins its object: GLM sometimes cuts an event in the
 * midst and begins another one behind it. NULL = nowhere. */
static const char *
last_begin(const char *data, size_t len)
{
    const char *found = NULL, *end = data + len;
    for (const char *p = data; (p = memmem(p, (size_t)(end - p), "data:", 5)); p += 5) {
        const char *q = p + 5;
        while (q < end && *q == ' ')
            q++;
        if (q < end && *q == '{')
            found = q;
    }
    return found;
}

/* ---- one object -------------------------------------------------------------------------------
 */

static void
give(struct chat_read *r, enum sf_provider_voice voice, const json_t *v)
{
    size_t n = json_string_length(v); /* 0 unless it is a string */
    if (n == 0 || r->failed)
        return;
    if (n > SF_PROVIDER_ANSWER_MAX - r->bytes) {
        fail(r, SF_PC_PROTOCOL, "the answer is longer than %u MiB", SF_PROVIDER_ANSWER_MAX >> 20);
        return;
    }
    r->bytes += n;
    r->given = true;
    r->answered |= voice == SF_PV_ANSWER;
    r->text(r->arg, voice, json_string_value(v), n);
}

static void
take_word(const json_t *v, char *out, size_t size)
{
    if (!json_is_string(v) || !json_string_length(v))
        return;
    sf_text_clean(json_string_value(v), json_string_length(v), out, size);
    sf_redact_ids(out);
}

static uint64_t
number(const json_t *obj, const char *name)
{
    uint64_t n = 0;
    bool found;
    (void)sf_json_size(obj, name, &n, &found);
    return n;
}

static void
take_usage(struct chat_read *r, const json_t *v)
{
    if (!json_is_object(v))
        return;
    uint64_t cached = number(json_object_get(v, "prompt_tokens_details"), "cached_tokens");
    struct sf_provider_usage u = {
        .known = true,
        .prompt = number(v, "prompt_tokens"),
        .cached = cached ? cached : number(v, "cached_tokens"),
        .answered = number(v, "completion_tokens"),
        .reasoned = number(json_object_get(v, "completion_tokens_details"), "reasoning_tokens"),
    };
    /* The last one counts; but what an earlier one told in more detail is kept. */
    if (!u.cached && r->usage.prompt == u.prompt)
        u.cached = r->usage.cached;
    if (!u.reasoned && r->usage.answered == u.answered)
        u.reasoned = r->usage.reasoned;
    r->usage = u;
}

/* False when this is a piece of another answer than the one so far. */
static bool
is_same_answer(struct chat_read *r, const json_t *root)
{
    char id[sizeof r->id] = "";
    take_word(json_object_get(root, "id"), id, sizeof id);
    bool other = id[0] && r->id[0] && strcmp(id, r->id) != 0;
    if ((other && r->type->one_id) || r->anew) {
        if (r->given)
            return false;
        r->anew = false;
        r->finish[0] = '\0';
    }
    if (id[0])
        memcpy(r->id, id, sizeof id);
    return true;
}

/* An error instead of a piece; false = there is none. */
static bool
take_error(struct chat_read *r, const char *name, const json_t *root, const char *data, size_t len)
{
    const json_t *e = json_object_get(root, "error");
    const char *object = json_string_value(json_object_get(root, "object"));
    const struct sf_provider_reply reply = {.status = 200, .body = data, .len = len};
    bool named = !strcmp(name, "error");
    if (!named && (!e || json_is_null(e)) && !(object && !strcmp(object, "error")))
        return false;
    if (sf_provider_fault_of(r->type, &reply, &r->fault)) {
        r->failed = true;
    } else if (named) {
        char words[160] = "";
        take_word(json_object_get(root, "message"), words, sizeof words);
        fail(r, SF_PC_SERVER, "%s", words[0] ? words : "an error, told without a word");
    }
    return r->failed;
}

static void
take_choice(struct chat_read *r, const json_t *choice)
{
    const json_t *delta = json_object_get(choice, "delta");
    if (!json_is_object(delta))
        delta = json_object_get(choice, "message");
    const json_t *thought = json_object_get(delta, "reasoning_content");
    if (!json_string_length(thought))
        thought = json_object_get(delta, "reasoning");
    give(r, SF_PV_REASONING, thought);
    give(r, SF_PV_ANSWER, json_object_get(delta, "content"));
    take_word(json_object_get(choice, "finish_reason"), r->finish, sizeof r->finish);
    take_usage(r, json_object_get(choice, "usage"));
}

/* Returns whether it was an answer or a piece of one; else something of it all. */
static bool
take_object(struct chat_read *r, const char *name, const json_t *root, const char *data, size_t len)
{
    const json_t *choices = json_object_get(root, "choices");
    if (take_error(r, name, root, data, len))
        return false;
    if (!is_same_answer(r, root)) {
        fail(r, SF_PC_PROTOCOL, "the provider began its answer anew in the midst of it");
        return false;
    }
    take_word(json_object_get(root, "model"), r->model, sizeof r->model);
    const json_t *choice = json_array_get(choices, 0);
    if (json_is_object(choice))
        take_choice(r, choice);
    take_usage(r, json_object_get(root, "usage"));
    return json_is_array(choices);
}

/* ---- the two forms ----------------------------------------------------------------------------
 */

static int
on_event(void *arg, const char *name, const char *data, size_t len)
{
    struct chat_read *r = arg;
    while (len > 0 && isspace((unsigned char)data[len - 1]))
        len--;
    if (len == 0)
        return 0;
    if (len == 6 && !memcmp(data, "[DONE]", 6)) {
        r->done = true;
        return 1;
    }
    json_t *root = parse(data, len);
    if (!root) {
        const char *begin = last_begin(data, len);
        if (begin) {
            len -= (size_t)(begin - data);
            data = begin;
            root = parse(data, len);
            r->anew |= root != NULL;
        }
    }
    if (!root && r->ending)
        return 0;
    if (!root)
        return fail(r, SF_PC_PROTOCOL, "a piece of the stream is no JSON");
    (void)take_object(r, name, root, data, len);
    json_decref(root);
    return r->failed;
}

static void
read_whole(struct chat_read *r)
{
    json_t *root = parse(r->whole.data, r->whole.len);
    if (!root && r->whole.data[0] == '<')
        fail(r, SF_PC_PROTOCOL, "a page of HTML instead of an answer");
    else if (!root)
        fail(r, SF_PC_PROTOCOL, "the reply is no JSON");
    else if (!take_object(r, "", root, r->whole.data, r->whole.len))
        fail(r, SF_PC_PROTOCOL, "a reply without an answer");
    r->done = !r->failed;
    json_decref(root);
}

void
provider_chat_read_init(struct chat_read *r, const struct sf_provider_type *type,
                        void (*text)(void *, enum sf_provider_voice, const char *, size_t),
                        void *arg)
{
    *r = (struct chat_read){.type = type, .text = text, .arg = arg};
    sf_sse_init(&r->sse, EVENT_MAX, on_event, r);
    sf_buf_init(&r->whole);
}

void
provider_chat_read_fini(struct chat_read *r)
{
    sf_sse_fini(&r->sse);
    sf_buf_fini(&r->whole);
}

static bool
feed_stream(struct chat_read *r, const char *bytes, size_t n)
{
    int rc = sf_sse_feed(&r->sse, bytes, n);
    if (rc == -EFBIG)
        fail(r, SF_PC_PROTOCOL, "a piece of the stream is longer than %u KiB", EVENT_MAX >> 10);
    else if (rc < 0)
        fail(r, SF_PC_INVALID, "out of memory");
    return rc != 0;
}

static bool
feed_whole(struct chat_read *r, const char *bytes, size_t n)
{
    int rc = sf_buf_append_max(&r->whole, bytes, n, WHOLE_MAX);
    if (rc == -EFBIG)
        fail(r, SF_PC_PROTOCOL, "the reply is longer than %u MiB", WHOLE_MAX >> 20);
    else if (rc)
        fail(r, SF_PC_INVALID, "out of memory");
    return rc != 0;
}

bool
provider_chat_read_feed(struct chat_read *r, const char *bytes, size_t n)
{
    if (r->done || r->failed)
        return true;
    /* The type of the reply is not always what it says; no line of a stream begins like that. */
    for (; r->form == CHAT_READ_NOTHING && n > 0; bytes++, n--) {
        if (isspace((unsigned char)*bytes))
            continue;
        r->form = strchr("{[<", *bytes) ? CHAT_READ_WHOLE : CHAT_READ_STREAM;
        break;
    }
    if (n == 0)
        return false;
    return r->form == CHAT_READ_WHOLE ? feed_whole(r, bytes, n) : feed_stream(r, bytes, n);
}

/* ---- what came of it --------------------------------------------------------------------------
 */

/* The words that stand for another end than that all was said. */
static void
judge_finish(struct chat_read *r)
{
    static const struct {
        const char *word;
        enum sf_provider_class cls;
        const char *text;
    } ends[] = {
        {"sensitive", SF_PC_FILTERED, "the answer was cut off as unsafe"},
        {"content_filter", SF_PC_FILTERED, "the answer was cut off as unsafe"},
        {"network_error", SF_PC_SERVER, "the provider broke off the answer"},
        {"error", SF_PC_SERVER, "the provider broke off the answer"},
        {"model_context_window_exceeded", SF_PC_CONTEXT, "prompt and answer exceed the model"},
    };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (!strcmp(r->finish, ends[i].word))
            fail(r, ends[i].cls, "%s", ends[i].text);
    if (r->failed || r->answered)
        return;
    if (!strcmp(r->finish, "length"))
        fail(r, SF_PC_NO_ANSWER, "the limit of tokens was used up%s",
             r->given ? " by the reasoning" : "");
    else
        fail(r, SF_PC_NO_ANSWER, "the reply ended in order, and said nothing%s",
             r->given ? " but its reasoning" : "; perhaps the prompt is too long for the model");
}

void
provider_chat_read_end(struct chat_read *r, const struct sf_provider_fault *net,
                       struct sf_provider_fault *out)
{
    r->ending = true;
    if (!r->failed && !r->done && r->form == CHAT_READ_STREAM)
        (void)sf_sse_end(&r->sse);
    else if (!r->failed && !r->done && !net && r->form == CHAT_READ_WHOLE)
        read_whole(r);
    bool ended = r->done || r->finish[0];
    if (!r->failed && !ended && net) {
        *out = *net;
        return;
    }
    if (!r->failed && !ended)
        fail(r, SF_PC_NETWORK, "the reply ended before the answer %s", r->given ? "did" : "began");
    if (!r->failed)
        judge_finish(r);
    if (r->failed)
        *out = r->fault;
    else
        *out = (struct sf_provider_fault){.http = 200, .retry_after_ms = -1};
}
