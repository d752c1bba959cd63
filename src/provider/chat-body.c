/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/chat-body.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"

/* ---- for the types ----------------------------------------------------------------------------
 */

void
provider_body_set(struct provider_body *b, const char *name, json_t *value)
{
    if (json_object_set_new(b->root, name, value) && !b->rc)
        b->rc = -ENOMEM;
}

void
provider_body_temperature(struct provider_body *b, double most)
{
    const double *t = b->chat->temperature;
    if (t && *t >= 0 && *t <= most)
        provider_body_set(b, "temperature", json_real(*t));
    else if (t && !b->rc)
        b->rc = sf_provider_fault_set(b->fault, SF_PC_INVALID,
                                      "the temperature is between 0 and %g, not %g", most, *t);
}

void
provider_body_thinking(struct provider_body *b, bool on, const char *effort)
{
    provider_body_set(b, "thinking",
                      json_pack("{s:s, s:s*}", "type", on ? "enabled" : "disabled", "effort",
                                on ? effort : NULL));
}

unsigned
provider_part_way(const struct sf_provider_part *part)
{
    static const struct {
        const char *prefix;
        unsigned way;
    } ways[] = {{"https:", SF_PP_BY_LINK}, {"http:", SF_PP_BY_LINK}, {"data:", SF_PP_BY_BYTES}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (part->len > strlen(ways[i].prefix) &&
            !strncasecmp(part->text, ways[i].prefix, strlen(ways[i].prefix)))
            return ways[i].way;
    return SF_PP_BY_ID;
}

/* ---- messages ---------------------------------------------------------------------------------
 */

static bool
is_text(const struct sf_provider_part *part)
{
    return sf_utf8_valid(part->text, part->len) && !memchr(part->text, '\0', part->len);
}

static void
invalid(struct provider_body *b, const char *words)
{
    if (!b->rc)
        b->rc = sf_provider_fault_set(b->fault, SF_PC_INVALID, "%s", words);
}

/* Another than the text: whether the model takes it so. */
static bool
is_taken(struct provider_body *b, const struct sf_provider_part *part)
{
    static const char *const kinds[] = {
        [SF_PP_IMAGE] = "pictures", [SF_PP_VIDEO] = "videos", [SF_PP_FILE] = "documents"};
    static const char *const ways[] = {"",
                                       "by a link",
                                       "by their bytes",
                                       "by a link or their bytes",
                                       "by an id",
                                       "by a link or an id",
                                       "by their bytes or an id",
                                       "by a link, their bytes or an id"};
    unsigned takes = sf_provider_takes(b->conf, b->model, part->kind);
    if (takes & provider_part_way(part))
        return true;
    if (b->rc)
        return false;
    if (!takes)
        b->rc = sf_provider_fault_set(b->fault, SF_PC_TYPE, "%.60s takes no %s, as far as is known",
                                      b->model, kinds[part->kind]);
    else
        b->rc = sf_provider_fault_set(b->fault, SF_PC_TYPE, "%.60s takes %s only %s", b->model,
                                      kinds[part->kind], ways[takes]);
    return false;
}

static json_t *
one_part(struct provider_body *b, const struct sf_provider_type *type,
         const struct sf_provider_part *part)
{
    static const char *const names[] = {
        [SF_PP_IMAGE] = "image_url", [SF_PP_VIDEO] = "video_url", [SF_PP_FILE] = "file_url"};
    if (!is_text(part)) {
        invalid(b, "a part of a message is not UTF-8, or has a NUL in it");
        return NULL;
    }
    if (part->kind == SF_PP_TEXT)
        return json_pack("{s:s, s:s%}", "type", "text", "text", part->text, part->len);
    if (!is_taken(b, part))
        return NULL;
    if (part->kind == SF_PP_FILE && type->chat_file)
        return type->chat_file(b, part);
    return json_pack("{s:s, s:{s:s%}}", "type", names[part->kind], names[part->kind], "url",
                     part->text, part->len);
}

/* Texts alone as one text: not every server takes parts everywhere. */
static json_t *
joined(struct provider_body *b, const struct sf_provider_message *m)
{
    sf_autobuf struct sf_buf all = SF_BUF_INIT;
    for (size_t i = 0; i < m->n; i++) {
        if (!is_text(&m->parts[i]))
            invalid(b, "a message is not UTF-8, or has a NUL in it");
        else if (m->n == 1)
            return json_stringn_nocheck(m->parts[i].text, m->parts[i].len);
        else if (sf_buf_append(&all, m->parts[i].text, m->parts[i].len))
            return NULL;
    }
    return json_stringn_nocheck(all.data, all.len);
}

static json_t *
content_of(struct provider_body *b, const struct sf_provider_type *type,
           const struct sf_provider_message *m)
{
    size_t texts = 0;
    for (size_t i = 0; i < m->n; i++)
        texts += m->parts[i].kind == SF_PP_TEXT;
    if (texts == m->n)
        return joined(b, m);
    json_t *list = json_array();
    for (size_t i = 0; list && i < m->n; i++) {
        if (json_array_append_new(list, one_part(b, type, &m->parts[i])) == 0)
            continue;
        json_decref(list);
        list = NULL;
    }
    return list;
}

static void
add_messages(struct provider_body *b, const struct sf_provider_type *type)
{
    static const char *const roles[] = {
        [SF_PR_SYSTEM] = "system", [SF_PR_USER] = "user", [SF_PR_ASSISTANT] = "assistant"};
    const struct sf_provider_chat *chat = b->chat;
    json_t *list = json_array();
    size_t users = 0;
    for (size_t i = 0; !b->rc && i < chat->n; i++) {
        const struct sf_provider_message *m = &chat->messages[i];
        json_t *content = content_of(b, type, m);
        json_t *obj =
            content ? json_pack("{s:s, s:o}", "role", roles[m->role], "content", content) : NULL;
        if (m->reasoning && type->echoes_reasoning && m->role == SF_PR_ASSISTANT)
            (void)json_object_set_new(obj, "reasoning_content", json_string(m->reasoning));
        if (json_array_append_new(list, obj) && !b->rc)
            b->rc = -ENOMEM;
        users += m->role == SF_PR_USER;
    }
    if (!users)
        invalid(b, "nothing is asked: there is no message of a user");
    provider_body_set(b, "messages", list);
}

/* ---- all of it --------------------------------------------------------------------------------
 */

static int
append(const char *text, size_t n, void *arg)
{
    return sf_buf_append(arg, text, n);
}

static const char *
model_of(const struct sf_provider_conf *conf, const char *model)
{
    return model ? model : conf->model ? conf->model : conf->type->model;
}

unsigned
sf_provider_takes(const struct sf_provider_conf *conf, const char *model,
                  enum sf_provider_part_kind kind)
{
    model = model_of(conf, model);
    if (!model || !conf->base_url || kind == SF_PP_TEXT)
        return 0;
    unsigned takes = conf->type->takes(conf->base_url, model, kind);
    if (!conf->vision_models || kind != SF_PP_IMAGE)
        return takes;
    for (char **m = conf->vision_models; *m; m++)
        if (!strcmp(*m, model) || !strcmp(*m, "*"))
            return takes ? takes : SF_PP_BY_LINK | SF_PP_BY_BYTES;
    return 0;
}

uint64_t
sf_provider_context(const struct sf_provider_conf *conf, const char *model)
{
    model = model_of(conf, model);
    if (conf->context || !model || !conf->base_url)
        return conf->context;
    return conf->type->context(conf->base_url, model);
}

int
sf_provider_chat_body(const struct sf_provider_conf *conf, const struct sf_provider_chat *chat,
                      struct sf_buf *out, unsigned *unsent, struct sf_provider_fault *fault)
{
    const char *model = model_of(conf, chat->model);
    struct provider_body b = {.conf = conf,
                              .base = conf->base_url ? conf->base_url : "",
                              .model = model,
                              .chat = chat,
                              .fault = fault};
    size_t was = out->len;
    if (!model)
        return sf_provider_fault_set(fault, SF_PC_MODEL, "no model is set for %s", conf->name);
    b.root = json_object();
    if (!sf_utf8_valid(model, strlen(model)) ||
        (chat->effort && !sf_utf8_valid(chat->effort, strlen(chat->effort))))
        invalid(&b, "a setting is not UTF-8");
    provider_body_set(&b, "model", json_string(model));
    add_messages(&b, conf->type);
    provider_body_set(&b, "stream", json_boolean(!chat->whole));
    conf->type->chat_options(&b);
    if (!b.rc && json_dump_callback(b.root, append, out, JSON_COMPACT | JSON_REAL_PRECISION(6)))
        b.rc = -ENOMEM;
    json_decref(b.root);
    if (b.rc) {
        sf_buf_truncate(out, was);
        if (b.rc == -ENOMEM) {
            (void)sf_provider_fault_set(fault, SF_PC_INVALID, "out of memory");
            fault->err = -ENOMEM;
        }
        return b.rc;
    }
    if (unsent)
        *unsent = b.unsent;
    return 0;
}
