/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/answers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "base/cleanup.h"
#include "base/str.h"

void
sf_chat_answer_fini(struct sf_chat_answer *a)
{
    free(a->model);
    sf_buf_fini(&a->text);
    *a = (struct sf_chat_answer){0};
}

/* ---- keys ------------------------------------------------------------------------------------ */

int
sf_chat_answer_key(const struct sf_provider_conf *conf, const struct sf_provider_chat *chat,
                   const char *digest, char out[static SF_CHAT_KEPT_KEY])
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    const char *model = chat->model ? chat->model : conf->model ? conf->model : conf->type->model;
    /* Each with a NUL behind it, which none of them has. */
    const char *const words[] = {conf->name, conf->base_url ? conf->base_url : "",
                                 model ? model : "", chat->effort ? chat->effort : "", digest};
    int rc = 0;
    for (size_t i = 0; !rc && i < sizeof words / sizeof *words; i++)
        rc = sf_buf_append(&text, words[i], strlen(words[i]) + 1);
    if (!rc)
        rc = sf_buf_printf(&text, "%d %" PRIu64, (int)chat->thinking, chat->max_tokens);
    if (!rc && chat->temperature)
        rc = sf_buf_printf(&text, " %.6f", *chat->temperature);
    if (rc || EVP_Digest(text.data, text.len, hash, NULL, EVP_sha256(), NULL) != 1)
        return -EIO;
    sf_hex_encode(hash, 32, out);
    return 0;
}

/* What a text is extracted from, and by whom: "kimi:SHA-256". */
static void
text_key(const char *provider, const char *sha256, char out[static SF_CHAT_KEPT_KEY])
{
    snprintf(out, SF_CHAT_KEPT_KEY, "%.63s:%.64s", provider, sha256);
}

/* ---- answers as bytes: a line of JSON, and the text ------------------------------------------ */

int
sf_chat_answer_pack(const struct sf_chat_answer *a, struct sf_buf *out)
{
    const struct sf_provider_usage *u = &a->usage;
    const size_t was = out->len;
    json_t *head = json_pack("{s:I, s:s?, s:I}", "at_ms", (json_int_t)a->at_ms, "model", a->model,
                             "bytes", (json_int_t)a->text.len);
    if (head && u->known)
        (void)json_object_set_new(head, "usage",
                                  json_pack("[I, I, I, I]", (json_int_t)u->prompt,
                                            (json_int_t)u->cached, (json_int_t)u->answered,
                                            (json_int_t)u->reasoned));
    char *line = head ? json_dumps(head, JSON_COMPACT) : NULL;
    int rc = line ? sf_buf_puts(out, line) : -ENOMEM;
    if (!rc)
        rc = sf_buf_putc(out, '\n');
    if (!rc)
        rc = sf_buf_append(out, sf_buf_str(&a->text), a->text.len);
    free(line);
    json_decref(head);
    if (rc)
        sf_buf_truncate(out, was);
    return rc;
}

static bool
read_usage(json_t *list, struct sf_provider_usage *u)
{
    json_int_t v[4];
    if (!list)
        return true;
    if (json_unpack_ex(list, NULL, JSON_STRICT, "[I, I, I, I]", &v[0], &v[1], &v[2], &v[3]))
        return false;
    for (unsigned i = 0; i < 4; i++)
        if (v[i] < 0)
            return false;
    *u = (struct sf_provider_usage){true, (uint64_t)v[0], (uint64_t)v[1], (uint64_t)v[2],
                                    (uint64_t)v[3]};
    return true;
}

int
sf_chat_answer_unpack(const char *value, size_t len, struct sf_chat_answer *out)
{
    struct sf_chat_answer a = {0};
    const char *lf = memchr(value, '\n', len);
    json_t *usage = NULL, *model = NULL;
    json_int_t at_ms, bytes;
    json_t *head =
        lf ? json_loadb(value, (size_t)(lf - value), JSON_REJECT_DUPLICATES, NULL) : NULL;
    int rc = -EPROTO;
    if (!head || json_unpack(head, "{s:I, s:o, s:I, s?o}", "at_ms", &at_ms, "model", &model,
                             "bytes", &bytes, "usage", &usage))
        goto out;
    const char *text = lf + 1;
    const size_t rest = len - (size_t)(text - value);
    if (!(json_is_string(model) || json_is_null(model)) || bytes < 0 || (uint64_t)bytes != rest ||
        !sf_utf8_valid(text, rest) || !read_usage(usage, &a.usage))
        goto out;
    a.at_ms = at_ms;
    a.model = json_is_string(model) ? strdup(json_string_value(model)) : NULL;
    rc = (json_is_string(model) && !a.model) || sf_buf_append(&a.text, text, rest) ? -ENOMEM : 0;
out:
    json_decref(head);
    if (rc)
        sf_chat_answer_fini(&a);
    else
        *out = a;
    return rc;
}

/* ---- what is kept ---------------------------------------------------------------------------- */

int
sf_chat_answer_get(const struct sf_chat_kept *kept, const char *key, struct sf_chat_answer *out)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    int rc = kept->get(kept->arg, SF_CHAT_KEPT_ANSWERS, key, &value);
    if (!rc)
        rc = sf_chat_answer_unpack(value.data, value.len, out);
    return rc == -EPROTO ? -ENOENT : rc;
}

int
sf_chat_answer_put(const struct sf_chat_kept *kept, const char *key, const struct sf_chat_answer *a)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    int rc = sf_chat_answer_pack(a, &value);
    return rc ? rc : kept->put(kept->arg, SF_CHAT_KEPT_ANSWERS, key, value.data, value.len);
}

int
sf_chat_text_get(const struct sf_chat_kept *kept, const char *provider, const char *sha256,
                 struct sf_buf *out)
{
    char key[SF_CHAT_KEPT_KEY];
    size_t was = out->len;
    text_key(provider, sha256, key);
    int rc = kept->get(kept->arg, SF_CHAT_KEPT_TEXTS, key, out);
    if (!rc && sf_utf8_valid(out->data + was, out->len - was) &&
        !memchr(out->data + was, '\0', out->len - was))
        return 0;
    sf_buf_truncate(out, was);
    return rc ? rc : -ENOENT;
}

int
sf_chat_text_put(const struct sf_chat_kept *kept, const char *provider, const char *sha256,
                 const char *text, size_t len)
{
    char key[SF_CHAT_KEPT_KEY];
    text_key(provider, sha256, key);
    return kept->put(kept->arg, SF_CHAT_KEPT_TEXTS, key, text, len);
}
