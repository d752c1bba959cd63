/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_CHAT_PROPERTIES_H
#define SF_TESTS_CHAT_PROPERTIES_H

#include "base/cleanup.h"
#include "base/str.h"
#include "chat/clean.h"
#include "chat/front.h"
#include "chat/names.h"
#include "chat/transcript.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/*
 * What docs/formats/chat.md promises of texts, said once for the property tests and the fuzz
 * target. Each function returns NULL, or which promise is broken.
 */
#define CHAT_MUST(cond)                                                                            \
    do {                                                                                           \
        if (!(cond))                                                                               \
            return #cond;                                                                          \
    } while (0)

static inline bool
chat_same_text(const char *a, const char *b)
{
    return !a || !b ? a == b : strcmp(a, b) == 0;
}

static inline bool
chat_same_notes(const struct sf_chat_notes *a, const struct sf_chat_notes *b)
{
    if (a->len != b->len)
        return false;
    for (size_t i = 0; i < a->len; i++)
        if (strcmp(a->data[i].key, b->data[i].key) || strcmp(a->data[i].value, b->data[i].value))
            return false;
    return true;
}

static inline bool
chat_same_turn(const struct sf_chat_turn *a, const struct sf_chat_turn *b)
{
    return a->kind == b->kind && a->at_ms == b->at_ms && chat_same_text(a->provider, b->provider) &&
           chat_same_text(a->model, b->model) && chat_same_notes(&a->above, &b->above) &&
           chat_same_notes(&a->below, &b->below) && a->text.len == b->text.len &&
           (!a->text.len || !memcmp(a->text.data, b->text.data, a->text.len));
}

static inline int
chat_print(const struct sf_chat_transcript *t, struct sf_buf *out)
{
    int rc = t->turns.len ? sf_chat_print_head(out, &t->head) : 0;
    for (size_t i = 0; i < t->turns.len && !rc; i++) {
        const struct sf_chat_turn *turn = &t->turns.data[i];
        struct sf_chat_body body;
        if (!t->cut || i + 1 < t->turns.len) {
            rc = sf_chat_print_turn(out, turn);
            continue;
        }
        rc = sf_chat_print_begin(out, turn, &body);
        if (!rc)
            rc = sf_chat_print_text(out, &body, sf_buf_str(&turn->text), turn->text.len);
        /* What is held back was there, when all was copied. */
        while (!rc && body.slashes && body.slashes--)
            rc = sf_buf_putc(out, '\\');
        if (!rc)
            rc = sf_buf_append(out, body.hold, body.held);
    }
    return rc;
}

/* T2: what was printed is what is parsed. */
static inline const char *
chat_comes_back(const struct sf_chat_transcript *t)
{
    sf_autobuf struct sf_buf out = SF_BUF_INIT, again = SF_BUF_INIT;
    __attribute__((cleanup(sf_chat_transcript_fini))) struct sf_chat_transcript back = {0};
    CHAT_MUST(chat_print(t, &out) == 0);
    CHAT_MUST(sf_chat_parse(out.data, out.len, &back, NULL) == 0);
    CHAT_MUST(back.cut == t->cut && back.turns.len == t->turns.len);
    CHAT_MUST(chat_same_notes(&back.head, &t->head) || !t->turns.len);
    for (size_t i = 0; i < t->turns.len; i++)
        CHAT_MUST(chat_same_turn(&back.turns.data[i], &t->turns.data[i]));
    CHAT_MUST(chat_print(&back, &again) == 0);
    CHAT_MUST(again.len == out.len && !memcmp(again.data, out.data, out.len));
    return NULL;
}

/* Any bytes: refused with a sentence, or they are what printing gives. */
static inline const char *
chat_parses(const char *text, size_t len)
{
    __attribute__((cleanup(sf_chat_transcript_fini))) struct sf_chat_transcript t = {0};
    sf_autobuf struct sf_buf again = SF_BUF_INIT;
    struct sf_err err = SF_ERR_INIT;
    int rc = sf_chat_parse(text, len, &t, &err);
    CHAT_MUST(rc == 0 || rc == -EINVAL);
    CHAT_MUST((rc == 0) == (err.msg[0] == '\0'));
    if (rc) {
        CHAT_MUST(!t.turns.len && !t.head.len);
        return NULL;
    }
    CHAT_MUST(len == 0 || sf_chat_is_transcript(text, len));
    CHAT_MUST(chat_print(&t, &again) == 0);
    CHAT_MUST(again.len == len && (!len || !memcmp(again.data, text, len)));
    return NULL;
}

/* R1: a text in pieces of @step bytes gives what it gives at once, and only appends. */
static inline const char *
chat_streams(const struct sf_chat_turn *turn, size_t step)
{
    sf_autobuf struct sf_buf whole = SF_BUF_INIT, parts = SF_BUF_INIT;
    struct sf_chat_body body;
    CHAT_MUST(sf_chat_print_turn(&whole, turn) == 0);
    CHAT_MUST(sf_chat_print_begin(&parts, turn, &body) == 0);
    for (size_t at = 0; at < turn->text.len; at += step) {
        size_t n = turn->text.len - at < step ? turn->text.len - at : step;
        CHAT_MUST(sf_chat_print_text(&parts, &body, turn->text.data + at, n) == 0);
        CHAT_MUST(parts.len <= whole.len && !memcmp(parts.data, whole.data, parts.len));
        CHAT_MUST(body.held < sizeof body.hold);
    }
    CHAT_MUST(sf_chat_print_end(&parts, &body, &turn->below) == 0);
    CHAT_MUST(parts.len == whole.len && !memcmp(parts.data, whole.data, parts.len));
    return NULL;
}

/* T1: safe, the same however it comes in pieces, and once is enough. */
static inline const char *
chat_cleans(const char *text, size_t len, size_t step)
{
    sf_autobuf struct sf_buf whole = SF_BUF_INIT, parts = SF_BUF_INIT, again = SF_BUF_INIT;
    struct sf_chat_clean c = {.n = 0};
    CHAT_MUST(sf_chat_clean_put(&c, &whole, text, len) == 0 && sf_chat_clean_end(&c, &whole) == 0);
    CHAT_MUST(c.n == 0 && sf_utf8_valid(whole.data, whole.len));
    for (size_t i = 0; i < whole.len; i++) {
        unsigned char b = (unsigned char)whole.data[i];
        CHAT_MUST((b >= ' ' && b != 0x7f) || b == '\t' || b == '\n');
        CHAT_MUST(b != 0xC2 || (unsigned char)whole.data[i + 1] >= 0xA0);
    }
    for (size_t at = 0; at < len; at += step)
        CHAT_MUST(sf_chat_clean_put(&c, &parts, text + at, len - at < step ? len - at : step) == 0);
    CHAT_MUST(sf_chat_clean_end(&c, &parts) == 0);
    CHAT_MUST(parts.len == whole.len && !memcmp(parts.data, whole.data, parts.len));
    CHAT_MUST(sf_chat_clean_put(&c, &again, whole.data, whole.len) == 0 &&
              sf_chat_clean_end(&c, &again) == 0);
    CHAT_MUST(again.len == whole.len && !memcmp(again.data, whole.data, again.len));
    return NULL;
}

static inline bool
chat_same_front(const struct sf_chat_front *a, const struct sf_chat_front *b)
{
    return chat_same_text(a->provider, b->provider) && chat_same_text(a->model, b->model) &&
           chat_same_text(a->system, b->system) && chat_same_text(a->continues, b->continues) &&
           a->temperature == b->temperature && a->max_tokens == b->max_tokens &&
           a->thinking == b->thinking && a->dry_run == b->dry_run;
}

/* What was read can be written, and read again; the prompt behind it is left alone. */
static inline const char *
chat_front_comes_back(const struct sf_chat_front *f)
{
    __attribute__((cleanup(sf_chat_front_fini))) struct sf_chat_front back;
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    size_t body = 0, end;
    sf_chat_front_init(&back);
    CHAT_MUST(sf_chat_front_print(f, &out) == 0);
    end = out.len;
    CHAT_MUST(sf_buf_puts(&out, "---\nmodel: of the prompt\n") == 0);
    CHAT_MUST(sf_chat_front_parse(out.data, out.len, true, &back, &body, NULL) == 0);
    CHAT_MUST(body == end && chat_same_front(&back, f));
    return NULL;
}

/* Any bytes: refused with a sentence, or without front matter, or with settings that come back.
 * More bytes change nothing once it is decided. */
static inline const char *
chat_front_parses(const char *text, size_t len)
{
    __attribute__((cleanup(sf_chat_front_fini))) struct sf_chat_front f, early;
    struct sf_err err = SF_ERR_INIT;
    size_t body = 77, then = 77;
    sf_chat_front_init(&f);
    int rc = sf_chat_front_parse(text, len, true, &f, &body, &err), part = -EAGAIN;
    CHAT_MUST(rc == 0 || rc == -EINVAL);
    CHAT_MUST((rc == 0) == (err.msg[0] == '\0') && (rc == 0 || body == 77));
    if (rc == 0) {
        CHAT_MUST(body <= len);
        const char *why = chat_front_comes_back(&f);
        if (why)
            return why;
    }
    for (size_t n = 0; n <= len && part == -EAGAIN; n++) {
        sf_chat_front_init(&early);
        part = sf_chat_front_parse(text, n, false, &early, &then, NULL);
        if (part != -EAGAIN)
            CHAT_MUST(part == rc && (rc || (then == body && chat_same_front(&early, &f))));
        sf_chat_front_fini(&early);
    }
    sf_chat_front_init(&early);
    return NULL;
}

/* N1, N2: readings are of this name, the longer FILE first, and making the name leads back. */
static inline const char *
chat_name_reads(const char *name, const char *suffix, const char *const *providers)
{
    struct sf_chat_reading r[SF_CHAT_READINGS];
    unsigned n = sf_chat_name_read(name, suffix, providers, r);
    size_t len = strlen(name), end = strlen(suffix);
    CHAT_MUST(n <= SF_CHAT_READINGS);
    for (unsigned i = 0; i < n; i++) {
        char file[256], made[256];
        CHAT_MUST(len >= end && !strcmp(name + len - end, suffix));
        CHAT_MUST(r[i].file_len <= len - end && len < 256);
        CHAT_MUST(i == 0 || r[i].file_len < r[0].file_len);
        memcpy(file, name, r[i].file_len);
        file[r[i].file_len] = '\0';
        CHAT_MUST(strcmp(file, ".") && strcmp(file, ".."));
        CHAT_MUST(sf_chat_name_make(file, r[i].provider, suffix, made) == 0);
        CHAT_MUST(strlen(made) == len);
        for (size_t k = 0; k < len; k++)
            CHAT_MUST(made[k] == name[k] || (made[k] == '-' && name[k] == '_') ||
                      (made[k] == '_' && name[k] == '-'));
    }
    return NULL;
}

/* N12: an id and a view have one name. */
static inline const char *
chat_view_reads(const char *name)
{
    static const char *const ends[] = {".md", ".reasoning.md", ".last.md"};
    char id[SF_CHAT_ID_MAX + 1];
    enum sf_chat_view view;
    int rc = sf_chat_view_read(name, id, &view);
    CHAT_MUST(rc == 0 || rc == -ENOENT);
    if (rc)
        return NULL;
    CHAT_MUST(sf_chat_id_ok(id) && strlen(name) == strlen(id) + strlen(ends[view]));
    CHAT_MUST(!strncmp(name, id, strlen(id)) && !strcmp(name + strlen(id), ends[view]));
    return NULL;
}

#endif
