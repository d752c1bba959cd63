/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/transcript.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/str.h"

#define NS_PER_MS INT64_C(1000000)

#define KINDS(X)                                                                                   \
    X("user") X("assistant") X("reasoning") X("error") X("draft") X("dry-run") X("system")
#define NAME(kind) kind,
#define MARK(kind) "## " kind " ",

/* In the order of enum sf_chat_kind. */
static const char *const kinds[SF_CHAT_KINDS] = {KINDS(NAME)};
static const char *const marks[SF_CHAT_KINDS + 1] = {KINDS(MARK) SF_CHAT_NOTE_MARK};

const char *
sf_chat_kind_name(enum sf_chat_kind kind)
{
    return kinds[kind];
}

/* ---- what turns are made of ------------------------------------------------------------------ */

void
sf_chat_notes_free(struct sf_chat_notes *notes)
{
    SF_VEC_FOREACH (notes, n)
        free(n->value);
    sf_chat_notes_fini(notes);
}

void
sf_chat_turn_fini(struct sf_chat_turn *turn)
{
    free(turn->provider);
    free(turn->model);
    sf_chat_notes_free(&turn->above);
    sf_chat_notes_free(&turn->below);
    sf_buf_fini(&turn->text);
    *turn = (struct sf_chat_turn){0};
}

void
sf_chat_transcript_fini(struct sf_chat_transcript *t)
{
    sf_chat_notes_free(&t->head);
    SF_VEC_FOREACH (&t->turns, turn)
        sf_chat_turn_fini(turn);
    sf_chat_turns_fini(&t->turns);
    t->cut = false;
}

int
sf_chat_note_add(struct sf_chat_notes *notes, const char *key, const char *value)
{
    struct sf_chat_note note = {.value = NULL};
    size_t len = strlen(key);
    if (!len || len > SF_CHAT_KEY_MAX ||
        strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789-_") != len)
        return -EINVAL;
    memcpy(note.key, key, len + 1);
    note.value = strdup(value);
    int rc = note.value ? sf_chat_notes_push(notes, note) : -ENOMEM;
    if (rc)
        free(note.value);
    return rc;
}

const char *
sf_chat_note_find(const struct sf_chat_notes *notes, const char *key)
{
    for (size_t i = 0; i < notes->len; i++)
        if (!strcmp(notes->data[i].key, key))
            return notes->data[i].value;
    return NULL;
}

/* ---- lines of ours --------------------------------------------------------------------------- */

size_t
sf_chat_mark(const char *line, size_t len, bool *whole)
{
    size_t partly = 0;
    *whole = false;
    for (unsigned i = 0; i <= SF_CHAT_KINDS; i++) {
        size_t n = strlen(marks[i]);
        if (memcmp(line, marks[i], n < len ? n : len) != 0)
            continue;
        if (n <= len) {
            *whole = true;
            return n;
        }
        partly = len;
    }
    return partly;
}

/* Bytes of the character at @s if it is written as it is; 0 = its first byte is not. */
static size_t
plain(const unsigned char *s, size_t n, bool word)
{
    size_t len = sf_utf8_char(s, n);
    if (len == 1)
        return *s >= (word ? '!' : ' ') && *s != 0x7f && *s != '\\';
    return len == 2 && s[0] == 0xC2 && s[1] < 0xA0 ? 0 : len;
}

int
sf_chat_escape(struct sf_buf *out, const char *text, bool word)
{
    size_t before = out->len;
    int rc = 0;
    if (!text || (word && !strcmp(text, "-")))
        return sf_buf_puts(out, text ? "\\055" : "-");
    const unsigned char *s = (const unsigned char *)text;
    for (size_t left = strlen(text), n; left && !rc; s += n, left -= n) {
        n = plain(s, left, word);
        if (n)
            rc = sf_buf_append(out, s, n);
        else
            rc = *s == '\\' ? sf_buf_puts(out, "\\\\") : sf_buf_printf(out, "\\%03o", *s);
        n += !n;
    }
    if (rc)
        sf_buf_truncate(out, before);
    return rc;
}

bool
sf_chat_time_ok(int64_t at_ms)
{
    char text[32];
    int64_t ns, back;
    if (__builtin_mul_overflow(at_ms, NS_PER_MS, &ns))
        return false;
    sf_time_format_ms(ns, text);
    return strlen(text) == 24 && sf_time_parse(text, &back) == 0 && back == ns;
}

/* ---- printing -------------------------------------------------------------------------------- */

static int
put_notes(struct sf_buf *out, const char *mark, const struct sf_chat_notes *notes)
{
    bool field = !*mark;
    int rc = 0;
    for (size_t i = 0; i < notes->len && !rc; i++) {
        const struct sf_chat_note *n = &notes->data[i];
        rc = sf_buf_printf(out, "%s%s%s%s", mark, field ? "" : " ", n->key, field ? ":" : "");
        if (!rc && (field || *n->value))
            rc = sf_buf_putc(out, ' ');
        if (!rc)
            rc = sf_chat_escape(out, n->value, false);
        if (!rc)
            rc = sf_buf_putc(out, '\n');
    }
    return rc;
}

int
sf_chat_print_head(struct sf_buf *out, const struct sf_chat_notes *head)
{
    size_t len = out->len;
    int rc = sf_buf_puts(out, SF_CHAT_FIRST_LINES);
    if (!rc)
        rc = put_notes(out, "", head);
    if (!rc)
        rc = sf_buf_puts(out, "---\n");
    if (rc)
        sf_buf_truncate(out, len);
    return rc;
}

static int
put_header(struct sf_buf *out, const struct sf_chat_turn *turn)
{
    char at[32];
    sf_time_format_ms(turn->at_ms * NS_PER_MS, at);
    int rc = sf_buf_printf(out, "\n## %s %s", kinds[turn->kind], at);
    if (!rc && (turn->provider || turn->model)) {
        rc = sf_buf_putc(out, ' ');
        if (!rc)
            rc = sf_chat_escape(out, turn->provider, true);
        if (!rc)
            rc = sf_buf_putc(out, ' ');
        if (!rc)
            rc = sf_chat_escape(out, turn->model, true);
    }
    return rc ? rc : sf_buf_putc(out, '\n');
}

int
sf_chat_print_begin(struct sf_buf *out, const struct sf_chat_turn *turn, struct sf_chat_body *body)
{
    size_t len = out->len;
    if (!sf_chat_time_ok(turn->at_ms))
        return -EINVAL;
    int rc = put_header(out, turn);
    if (!rc)
        rc = put_notes(out, SF_CHAT_NOTE_MARK, &turn->above);
    if (!rc)
        rc = sf_buf_putc(out, '\n');
    if (rc)
        sf_buf_truncate(out, len);
    else
        *body = (struct sf_chat_body){0};
    return rc;
}

/* What was held back, behind one more backslash if it is a mark. */
static int
let_go(struct sf_buf *out, struct sf_chat_body *body, bool mark)
{
    int rc = sf_buf_reserve(out, body->slashes + body->held + 1);
    if (rc)
        return rc;
    for (size_t n = body->slashes + mark; n > 0; n--)
        sf_buf_putc(out, '\\');
    sf_buf_append(out, body->hold, body->held);
    body->slashes = body->held = 0;
    return 0;
}

/* A byte at the beginning of a line, where it is not decided yet. */
static int
put_early(struct sf_buf *out, struct sf_chat_body *body, char c)
{
    bool mark;
    if (c == '\\' && !body->held) {
        body->slashes++;
        return 0;
    }
    body->hold[body->held++] = c;
    if (sf_chat_mark(body->hold, body->held, &mark) && !mark)
        return 0;
    body->within = c != '\n';
    return let_go(out, body, mark);
}

int
sf_chat_print_text(struct sf_buf *out, struct sf_chat_body *body, const char *text, size_t len)
{
    const size_t before = out->len;
    const struct sf_chat_body was = *body;
    int rc = 0;
    while (len && !rc) {
        size_t n = 1;
        if (!body->within) {
            rc = put_early(out, body, *text);
        } else {
            const char *nl = memchr(text, '\n', len);
            n = nl ? (size_t)(nl - text) + 1 : len;
            body->within = !nl;
            rc = sf_buf_append(out, text, n);
        }
        text += n;
        len -= n;
    }
    if (rc) {
        sf_buf_truncate(out, before);
        *body = was;
    }
    return rc;
}

int
sf_chat_print_end(struct sf_buf *out, struct sf_chat_body *body, const struct sf_chat_notes *below)
{
    const size_t before = out->len;
    const struct sf_chat_body was = *body;
    int rc = let_go(out, body, false);
    if (!rc)
        rc = sf_buf_puts(out, below->len ? "\n\n" : "\n");
    if (!rc)
        rc = put_notes(out, SF_CHAT_NOTE_MARK, below);
    if (rc) {
        sf_buf_truncate(out, before);
        *body = was;
    }
    return rc;
}

int
sf_chat_print_turn(struct sf_buf *out, const struct sf_chat_turn *turn)
{
    const size_t before = out->len;
    struct sf_chat_body body;
    int rc = sf_chat_print_begin(out, turn, &body);
    if (!rc)
        rc = sf_chat_print_text(out, &body, sf_buf_str(&turn->text), turn->text.len);
    if (!rc)
        rc = sf_chat_print_end(out, &body, &turn->below);
    if (rc)
        sf_buf_truncate(out, before);
    return rc;
}
