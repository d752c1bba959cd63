/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/chat.h"

#include "base/cleanup.h"
#include "base/str.h"
#include "daemon/exit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EMPTY_HEAD SF_CHAT_FIRST_LINES "---\n"
#define QUESTION   "\n## user "

void
chat_said_fini(struct chat_said *s)
{
    sf_chat_transcript_fini(&s->all);
    sf_buf_fini(&s->reasoning);
    *s = (struct chat_said){.id = NULL};
}

/* ---- looking --------------------------------------------------------------------------------- */

/* From its first question on; a text has no line that looks like a question's. */
static int
parse_part(const char *text, size_t len, struct sf_chat_transcript *out)
{
    sf_autobuf struct sf_buf whole = SF_BUF_INIT;
    const char *at = len ? memmem(text, len, QUESTION, strlen(QUESTION)) : NULL;
    int rc = at ? sf_buf_puts(&whole, EMPTY_HEAD) : -ENOENT;
    if (!rc)
        rc = sf_buf_append(&whole, at, len - (size_t)(at - text));
    return rc ? rc : sf_chat_parse(sf_buf_str(&whole), whole.len, out, NULL);
}

static bool
is_text(const struct sf_chat_turn *t, const struct sf_buf *asked)
{
    return t->text.len == asked->len &&
           (!asked->len || memcmp(t->text.data, asked->data, asked->len) == 0);
}

/* What a dry run tells stands for one. */
static bool
is_answer(const struct sf_chat_turn *t)
{
    return t->kind == SF_CHAT_ASSISTANT || t->kind == SF_CHAT_DRY_RUN;
}

/* What stands behind a question, up to the next. */
static void
take_turns(struct chat_said *s, size_t at)
{
    s->question = &s->all.turns.data[at];
    s->answer = s->why = NULL;
    for (size_t i = at + 1; i < s->all.turns.len; i++) {
        const struct sf_chat_turn *t = &s->all.turns.data[i];
        if (t->kind == SF_CHAT_USER)
            break;
        if (is_answer(t))
            s->answer = t;
        else if (t->kind == SF_CHAT_ERROR)
            s->why = t;
    }
}

static int
find(struct chat_said *s, const struct sf_buf *asked)
{
    const size_t none = s->all.turns.len;
    size_t last = none;
    for (size_t i = none; i-- > 0;) {
        const struct sf_chat_turn *t = &s->all.turns.data[i];
        if (t->kind != SF_CHAT_USER)
            continue;
        take_turns(s, i);
        if (asked ? is_text(t, asked) : s->answer != NULL)
            return 0;
        if (last == none)
            last = i;
    }
    s->question = s->answer = s->why = NULL;
    if (!asked || last == none)
        return -ENOENT;
    take_turns(s, last);
    return 0;
}

int
chat_said_find(struct chat_said *s, const char *text, size_t len, bool whole,
               const struct sf_buf *asked)
{
    int rc = whole ? sf_chat_parse(text, len, &s->all, NULL) : parse_part(text, len, &s->all);
    if (rc)
        return rc;
    s->id = sf_chat_note_find(&s->all.head, "conversation");
    return find(s, asked);
}

void
chat_said_think(struct chat_said *s, const char *text, size_t len)
{
    struct sf_chat_transcript all = {.cut = false};
    if (!s->answer || sf_chat_parse(text, len, &all, NULL))
        return;
    for (size_t i = 1; i < all.turns.len; i++) {
        const struct sf_chat_turn *t = &all.turns.data[i], *before = t - 1;
        if (is_answer(t) && t->at_ms == s->answer->at_ms && before->kind == SF_CHAT_REASONING &&
            sf_buf_append(&s->reasoning, sf_buf_str(&before->text), before->text.len) == 0)
            s->thought = true;
    }
    sf_chat_transcript_fini(&all);
}

const char *
chat_said_note(const struct chat_said *s, const char *key)
{
    const char *v = s->answer ? sf_chat_note_find(&s->answer->below, key) : NULL;
    return !v && s->why ? sf_chat_note_find(&s->why->below, key) : v;
}

/* ---- telling --------------------------------------------------------------------------------- */

const char *
chat_lack(const struct chat_said *s)
{
    static const struct {
        const char *end, *text;
    } words[] = {
        {"length", "the answer ends where its tokens did: --max-tokens, or the model's limit"},
        {"filtered", "the provider has filtered the answer"},
        {"empty", "the model has thought, and answered nothing"},
        {"incomplete", "the answer is incomplete: its stream broke"},
        {"cancelled", "the answer was cancelled"},
        {"crashed", "the answer is incomplete: the mount crashed"},
    };
    const char *end = chat_said_note(s, "end");
    for (size_t i = 0; end && i < sizeof words / sizeof *words; i++)
        if (strcmp(end, words[i].end) == 0)
            return words[i].text;
    return NULL;
}

int
chat_code(int rc, const char *class)
{
    switch (rc) {
    case 0:
        return SF_EXIT_OK;
    case -EBUSY:
    case -EAGAIN:
        return SF_EXIT_BUSY;
    case -EACCES:
    case -EDQUOT:
        return SF_EXIT_DENIED;
    default:
        return class && strcmp(class, "overloaded") == 0 ? SF_EXIT_BUSY : SF_EXIT_FAILED;
    }
}

/* JSON has no other texts than UTF-8. */
static json_t *
text_json(const char *text, size_t len)
{
    return text && sf_utf8_valid(text, len) ? json_stringn(text, len) : json_null();
}

static json_t *
str_json(const char *text)
{
    return text_json(text, text ? strlen(text) : 0);
}

static json_t *
buf_json(const struct sf_buf *b)
{
    return text_json(sf_buf_str(b), b->len);
}

/* "prompt=12 answer=3". */
static json_t *
usage_json(const char *text)
{
    json_t *o = text ? json_object() : json_null();
    while (text && *text) {
        char name[32], number[24];
        int64_t n;
        size_t len = strcspn(text, " ");
        if (len < 56 && sscanf(text, "%31[a-z_]=%23[0-9]", name, number) == 2 &&
            sf_parse_i64(number, &n) == 0)
            json_object_set_new(o, name, json_integer(n));
        text += len + strspn(text + len, " ");
    }
    return o;
}

/* "0.00123 USD". The number stays as it is: money is not for binary fractions. */
static void
add_price(json_t *o, const char *text)
{
    size_t n = text ? strspn(text, "0123456789.") : 0;
    bool good = n && text[n] == ' ' && text[n + 1];
    json_object_set_new(o, "price", good ? text_json(text, n) : json_null());
    json_object_set_new(o, "currency", good ? str_json(text + n + 1) : json_null());
}

static json_t *
error_json(const struct chat_said *s, int rc, const char *text)
{
    return rc ? json_pack("{s:o, s:o, s:o}", "class", str_json(chat_said_note(s, "class")), "errno",
                          str_json(sf_errno_name(rc)), "text", str_json(text))
              : json_null();
}

json_t *
chat_json(const char *path, const struct chat_said *s, const struct sf_buf *answer, int rc,
          const char *text)
{
    const struct sf_chat_turn *by = s->answer ? s->answer : s->why;
    const char *took = chat_said_note(s, "took");
    uint64_t ms = 0;
    char number[24] = "";
    json_t *o = json_object();
    if (!answer && s->answer)
        answer = &s->answer->text;
    json_object_set_new(o, "path", str_json(path));
    json_object_set_new(o, "id", str_json(s->id));
    json_object_set_new(o, "provider", str_json(by ? by->provider : NULL));
    json_object_set_new(o, "model", str_json(by ? by->model : NULL));
    json_object_set_new(o, "answer", answer ? buf_json(answer) : json_null());
    json_object_set_new(o, "reasoning", s->thought ? buf_json(&s->reasoning) : json_null());
    json_object_set_new(o, "usage", usage_json(chat_said_note(s, "usage")));
    add_price(o, chat_said_note(s, "price"));
    json_object_set_new(o, "end", str_json(chat_said_note(s, "end")));
    bool timed = took && sscanf(took, "%23[0-9]", number) == 1 && !sf_parse_u64(number, &ms);
    json_object_set_new(o, "took_ms", timed ? json_integer((json_int_t)ms) : json_null());
    json_object_set_new(o, "error", error_json(s, rc, text));
    return o;
}
