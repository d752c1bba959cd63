/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "chat/clean.h"
#include "chat/remote.h"

#define WORD_MAX   200   /* bytes of a provider or model */
#define NOTES_MAX  1100  /* of a turn; ours have up to 1000 and a few */
#define NOTE_MAX   16384 /* bytes of one: `set system` has up to 8 KiB */
#define ROLE_MAX   40
#define TOKENS_MAX INT64_C(1000000000000)

void
sf_chat_records_free(struct sf_chat_records *v)
{
    for (size_t i = 0; i < v->len; i++)
        sf_chat_record_fini(&v->data[i]);
    sf_chat_records_fini(v);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int
clean_text(const json_t *json, struct sf_buf *out)
{
    struct sf_chat_clean c = {.n = 0};
    const char *text = json_string_value(json);
    int rc = text ? sf_chat_clean_put(&c, out, text, json_string_length(json)) : 0;
    return rc ? rc : sf_chat_clean_end(&c, out);
}

/* A text of bounded length, else NULL as if there was none. */
static int
take_word(const json_t *o, const char *name, char **ret)
{
    const char *text = json_string_value(json_object_get(o, name));
    if (!text || !*text || strlen(text) > WORD_MAX)
        return 0;
    *ret = strdup(text);
    return *ret ? 0 : -ENOMEM;
}

/* What is no note is passed over. */
static int
take_notes(const json_t *list, struct sf_chat_notes *notes)
{
    for (size_t i = 0; i < json_array_size(list) && notes->len < NOTES_MAX; i++) {
        const json_t *one = json_array_get(list, i);
        const char *key = json_string_value(json_array_get(one, 0));
        const char *value = json_string_value(json_array_get(one, 1));
        if (!key || !value || strlen(value) > NOTE_MAX)
            continue;
        int rc = sf_chat_note_add(notes, key, value);
        if (rc == -ENOMEM)
            return rc;
    }
    return 0;
}

/* False: it is none that a transcript can show. */
static bool
take_time(const json_t *o, const char *name, int64_t *at_ms)
{
    const char *text = json_string_value(json_object_get(o, name));
    int64_t ns;
    if (!text || sf_time_parse(text, &ns) || !sf_chat_time_ok(ns / 1000000))
        return false;
    *at_ms = ns / 1000000;
    return true;
}

static bool
take_id(const json_t *o, const char *name, char out[SF_CHAT_UUID + 1])
{
    const char *id = json_string_value(json_object_get(o, name));
    size_t n = id ? strlen(id) : 0;
    if (n == 0 || n > SF_CHAT_UUID)
        return false;
    memcpy(out, id, n + 1);
    return true;
}

/* A role that is none of ours is a system's, and a note. */
static int
take_role(const char *role, struct sf_chat_turn *t)
{
    static const enum sf_chat_kind kinds[] = {SF_CHAT_USER, SF_CHAT_ASSISTANT, SF_CHAT_SYSTEM};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(role, sf_chat_kind_name(kinds[i]))) {
            t->kind = kinds[i];
            return 0;
        }
    t->kind = SF_CHAT_SYSTEM;
    return strlen(role) <= ROLE_MAX ? sf_chat_note_add(&t->above, "role", role) : 0;
}

/* What reasoning and error have of the answer. */
static int
take_beside(const struct sf_chat_record *answer, struct sf_chat_record *k)
{
    k->turn.at_ms = answer->turn.at_ms;
    if (answer->turn.provider && !(k->turn.provider = strdup(answer->turn.provider)))
        return -ENOMEM;
    if (answer->turn.model && !(k->turn.model = strdup(answer->turn.model)))
        return -ENOMEM;
    return 0;
}

static int
take_reasoning(const json_t *ours, const struct sf_chat_record *answer, struct sf_chat_record *k)
{
    k->turn.kind = SF_CHAT_REASONING;
    int rc = take_beside(answer, k);
    return rc ? rc : clean_text(json_object_get(ours, "reasoning"), &k->turn.text);
}

static int
take_error(const json_t *ours, const struct sf_chat_record *answer, struct sf_chat_record *k)
{
    const json_t *error = json_object_get(ours, "error");
    k->turn.kind = SF_CHAT_ERROR;
    memcpy(k->to, answer->to, sizeof k->to);
    int rc = take_beside(answer, k);
    take_time(error, "at", &k->turn.at_ms);
    if (!rc)
        rc = take_notes(json_object_get(error, "above"), &k->turn.above);
    if (!rc)
        rc = take_notes(json_object_get(error, "below"), &k->turn.below);
    return rc ? rc : clean_text(json_object_get(error, "text"), &k->turn.text);
}

static int
take_row(const json_t *row, const json_t *ours, struct sf_chat_record *k)
{
    const json_t *metadata = json_object_get(row, "metadata");
    const char *role = json_string_value(json_object_get(row, "role"));
    if (!role || !take_id(row, "id", k->message) || !take_time(row, "at", &k->turn.at_ms))
        return -EINVAL;
    take_time(ours, "at", &k->turn.at_ms);
    take_id(ours, "to", k->to);
    int rc = take_word(metadata, "provider", &k->turn.provider);
    if (!rc)
        rc = take_word(metadata, "model", &k->turn.model);
    if (!rc)
        rc = take_role(role, &k->turn);
    if (!rc)
        rc = take_notes(json_object_get(ours, "above"), &k->turn.above);
    if (!rc)
        rc = take_notes(json_object_get(ours, "below"), &k->turn.below);
    return rc == -ENOMEM ? rc : clean_text(json_object_get(row, "content"), &k->turn.text);
}

int
sf_chat_row_read(const json_t *row, struct sf_chat_records *out)
{
    const json_t *ours = json_object_get(json_object_get(row, "metadata"), "supafs");
    struct sf_chat_record turns[3] = {{.number = 0}, {.number = 0}, {.number = 0}};
    bool is[3] = {false, false, false};
    int rc = take_row(row, ours, &turns[1]);
    if (!rc && turns[1].turn.kind == SF_CHAT_ASSISTANT) {
        is[0] = json_is_string(json_object_get(ours, "reasoning"));
        is[2] = json_is_object(json_object_get(ours, "error"));
    }
    /* An error before the first byte has no answer before it. */
    is[1] = !is[2] || json_is_string(json_object_get(row, "content"));
    if (!rc && is[0])
        rc = take_reasoning(ours, &turns[1], &turns[0]);
    if (!rc && is[2])
        rc = take_error(ours, &turns[1], &turns[2]);
    if (!is[1])
        memcpy(turns[2].message, turns[1].message, sizeof turns[2].message);
    if (!rc)
        rc = sf_chat_records_reserve(out, 3);
    for (size_t i = 0; i < 3; i++) {
        if (!rc && is[i])
            sf_chat_records_push(out, turns[i]);
        else
            sf_chat_record_fini(&turns[i]);
    }
    return rc;
}

/* ---- writing --------------------------------------------------------------------------------- */

static json_t *
notes_json(const struct sf_chat_notes *notes)
{
    json_t *list = json_array();
    for (size_t i = 0; i < notes->len && list; i++) {
        const struct sf_chat_note *n = &notes->data[i];
        sf_autobuf struct sf_buf text = SF_BUF_INIT;
        struct sf_chat_clean c = {.n = 0};
        /* A name in it may be any bytes. */
        if (!sf_utf8_valid(n->value, strlen(n->value)) &&
            (sf_chat_clean_put(&c, &text, n->value, strlen(n->value)) ||
             sf_chat_clean_end(&c, &text))) {
            json_decref(list);
            return NULL;
        }
        if (json_array_append_new(
                list, json_pack("[s, s]", n->key, text.len ? sf_buf_str(&text) : n->value))) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static int
set(json_t *o, const char *name, json_t *value)
{
    return json_object_set_new(o, name, value) ? -ENOMEM : 0;
}

static int
set_notes(json_t *o, const struct sf_chat_turn *t)
{
    int rc = t->above.len ? set(o, "above", notes_json(&t->above)) : 0;
    return rc || !t->below.len ? rc : set(o, "below", notes_json(&t->below));
}

static int
set_time(json_t *o, const struct sf_chat_turn *t)
{
    char at[32];
    sf_time_format_ms(t->at_ms * 1000000, at);
    return set(o, "at", json_string(at));
}

static int
set_names(json_t *o, const struct sf_chat_turn *t)
{
    if (t->provider && set(o, "provider", json_string(t->provider)))
        return -EINVAL;
    return t->model && set(o, "model", json_string(t->model)) ? -EINVAL : 0;
}

/* For other programs: what the note `usage` says. */
static int
set_usage(json_t *o, const struct sf_chat_turn *t)
{
    static const char *const names[][2] = {{"prompt=", "prompt_tokens"},
                                           {"cached=", "cached_tokens"},
                                           {"answer=", "completion_tokens"},
                                           {"reasoning=", "reasoning_tokens"}};
    const char *said = sf_chat_note_find(&t->below, "usage");
    json_int_t sum = 0;
    json_t *usage = said ? json_object() : NULL;
    if (!said)
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *at = strstr(said, names[i][0]);
        if (!at || (at > said && at[-1] != ' '))
            continue;
        json_int_t n = strtoll(at + strlen(names[i][0]), NULL, 10);
        n = n < 0 ? 0 : n > TOKENS_MAX ? TOKENS_MAX : n;
        if (set(usage, names[i][1], json_integer(n))) {
            json_decref(usage);
            return -ENOMEM;
        }
        sum += i % 2 == 0 ? n : 0; /* cached ones and reasoning are among the others */
    }
    int rc = set(o, "usage", usage);
    return rc ? rc : set(o, "tokens", json_integer(sum));
}

static json_t *
text_json(const struct sf_buf *text)
{
    return json_stringn(sf_buf_str(text), text->len);
}

static int
set_error(json_t *ours, const struct sf_chat_turn *t)
{
    json_t *error = json_object();
    int rc = set(ours, "error", error);
    if (!rc)
        rc = set_time(error, t);
    if (!rc)
        rc = set_notes(error, t);
    return rc ? rc : set(error, "text", text_json(&t->text)) ? -EINVAL : 0;
}

/* Whether the turns are a row, and which is what; NULL = there is none. */
static bool
sort_out(const struct sf_chat_record *turns, size_t n, const struct sf_chat_turn *is[3])
{
    static const enum sf_chat_kind order[] = {SF_CHAT_REASONING, SF_CHAT_ASSISTANT, SF_CHAT_ERROR};
    size_t at = 0;
    for (size_t i = 0; i < 3; i++) {
        is[i] = at < n && turns[at].turn.kind == order[i] ? &turns[at].turn : NULL;
        at += is[i] != NULL;
    }
    return n > 0 && at == n && (is[1] || is[2]);
}

static int
write_ours(json_t *metadata, json_t *ours, const struct sf_chat_turn *row,
           const struct sf_chat_turn *is[3])
{
    int rc = set_names(metadata, row);
    if (!rc)
        rc = set_usage(metadata, row);
    if (!rc) /* an error has its own beside it */
        rc = set_time(ours, row == is[2] && is[0] ? is[0] : row);
    if (!rc && row != is[2])
        rc = set_notes(ours, row);
    if (!rc && is[0])
        rc = set(ours, "reasoning", text_json(&is[0]->text)) ? -EINVAL : 0;
    return rc || !is[2] ? rc : set_error(ours, is[2]);
}

int
sf_chat_row_write(const struct sf_chat_record *turns, size_t n, json_t **content, json_t **metadata)
{
    const struct sf_chat_turn *is[3] = {NULL, NULL, NULL};
    bool question = n == 1 && turns[0].turn.kind == SF_CHAT_USER;
    if (!question && !sort_out(turns, n, is))
        return -EINVAL;
    const struct sf_chat_turn *row = question ? &turns[0].turn : is[1] ? is[1] : is[2];
    json_t *o = json_object(), *ours = json_object();
    json_t *text = row == is[2] && !question ? json_null() : text_json(&row->text);
    int rc = !o || !ours ? -ENOMEM : text ? 0 : -EINVAL;
    if (!rc)
        rc = write_ours(o, ours, row, is);
    if (!rc)
        rc = json_object_set(o, "supafs", ours) ? -ENOMEM : 0;
    json_decref(ours);
    if (rc) {
        json_decref(o);
        json_decref(text);
        return rc;
    }
    *content = text;
    *metadata = o;
    return 0;
}
