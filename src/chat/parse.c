/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/transcript.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define TIME_LEN 24
#define MS_NS    INT64_C(1000000)

/* A text that is read line by line. */
struct reader {
    const char *at, *end;
    unsigned line; /* number of the line at `at` */
    struct sf_err *err;
};

struct line {
    const char *s;
    size_t len; /* without its line feed */
    bool whole; /* has one */
};

__attribute__((format(printf, 2, 3))) static int
bad(const struct reader *r, const char *fmt, ...)
{
    char why[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    return sf_err_set(r->err, -EINVAL, "line %u of the transcript: %s", r->line, why);
}

/* The line at `at`. At the end of the text it is empty, and not whole. */
static struct line
peek(const struct reader *r)
{
    size_t rest = (size_t)(r->end - r->at);
    const char *nl = rest ? memchr(r->at, '\n', rest) : NULL;
    return (struct line){r->at, nl ? (size_t)(nl - r->at) : rest, nl != NULL};
}

static void
next(struct reader *r, const struct line *l)
{
    r->at = l->s + l->len + l->whole;
    r->line++;
}

static bool
is(const struct line *l, const char *text)
{
    return l->whole && l->len == strlen(text) && !memcmp(l->s, text, l->len);
}

/* ---- words and values ------------------------------------------------------------------------ */

/* The inverse of sf_chat_escape(). Only what it writes is taken: *ret is NULL for a word "-". */
static int
unescape(const char *s, size_t len, bool word, char **ret)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT, again = SF_BUF_INIT;
    bool none = word && len == 1 && *s == '-';
    int rc = 0;
    for (size_t i = 0; i < len && !rc; i++) {
        unsigned c = (unsigned char)s[i];
        if (c == '\\' && len - i >= 4 && s[i + 1] != '\\') {
            c = 0;
            for (unsigned k = 1; k <= 3; k++)
                c = c * 8 + ((unsigned char)s[i + k] - '0');
            i += 3;
        } else if (c == '\\') {
            i++;
        }
        rc = c > 0 && c < 256 ? sf_buf_putc(&text, (char)c) : -EINVAL;
    }
    if (!rc)
        rc = sf_chat_escape(&again, none ? NULL : text.data, word);
    if (!rc && (again.len != len || memcmp(again.data, s, len) != 0))
        rc = -EINVAL;
    char *made = rc || none ? NULL : sf_buf_steal(&text, NULL);
    if (!rc && !none && !made)
        rc = -ENOMEM;
    if (!rc)
        *ret = made;
    return rc;
}

/* "key value", or with @field "name: value". */
static int
parse_note(struct reader *r, const char *s, size_t len, bool field, struct sf_chat_notes *out)
{
    char key[SF_CHAT_KEY_MAX + 1];
    sf_autofree char *value = NULL;
    const char *space = memchr(s, ' ', len);
    size_t n = space ? (size_t)(space - s) : len, key_len = field ? n - (n > 0) : n;
    if (!key_len || key_len > SF_CHAT_KEY_MAX || (field && (!space || s[n - 1] != ':')) ||
        (!field && space && n + 1 == len) || memchr(s, '\0', key_len))
        return bad(r, "not a %s", field ? "field of its head" : "note");
    memcpy(key, s, key_len);
    key[key_len] = '\0';
    n += space != NULL;
    int rc = unescape(s + n, len - n, false, &value);
    if (!rc)
        rc = sf_chat_note_add(out, key, value);
    return rc == -EINVAL ? bad(r, "not a %s", field ? "field of its head" : "note") : rc;
}

static bool
is_note(const struct line *l)
{
    size_t n = strlen(SF_CHAT_NOTE_MARK);
    return l->len >= n && !memcmp(l->s, SF_CHAT_NOTE_MARK, n);
}

/* Notes while there are some; each is whole. */
static int
parse_notes(struct reader *r, struct sf_chat_notes *out)
{
    size_t n = strlen(SF_CHAT_NOTE_MARK);
    for (struct line l = peek(r); is_note(&l); l = peek(r)) {
        if (!l.whole || l.len < n + 2 || l.s[n] != ' ')
            return bad(r, "not a note");
        int rc = parse_note(r, l.s + n + 1, l.len - n - 1, false, out);
        if (rc)
            return rc;
        next(r, &l);
    }
    return 0;
}

/* ---- turns ----------------------------------------------------------------------------------- */

static int
parse_time(const char *s, size_t len, int64_t *at_ms)
{
    char text[TIME_LEN + 1], again[32];
    int64_t ns;
    if (len < TIME_LEN)
        return -EINVAL;
    memcpy(text, s, TIME_LEN);
    text[TIME_LEN] = '\0';
    if (sf_time_parse(text, &ns))
        return -EINVAL;
    sf_time_format_ms(ns, again);
    if (strcmp(text, again) != 0 || !sf_chat_time_ok(ns / MS_NS))
        return -EINVAL;
    *at_ms = ns / MS_NS;
    return 0;
}

/* " PROVIDER MODEL" or nothing. */
static int
parse_who(const char *s, size_t len, struct sf_chat_turn *turn)
{
    if (len == 0)
        return 0;
    const char *model = len > 1 ? memchr(s + 1, ' ', len - 1) : NULL;
    if (*s != ' ' || !model)
        return -EINVAL;
    size_t provider_len = (size_t)(model - s) - 1, model_len = len - provider_len - 2;
    if (!provider_len || !model_len)
        return -EINVAL;
    int rc = unescape(s + 1, provider_len, true, &turn->provider);
    if (!rc)
        rc = unescape(model + 1, model_len, true, &turn->model);
    return !rc && !turn->provider && !turn->model ? -EINVAL : rc;
}

static int
parse_header(struct reader *r, struct sf_chat_turn *turn)
{
    struct line l = peek(r);
    bool mark;
    size_t n = sf_chat_mark(l.s, l.len, &mark);
    if (!mark || is_note(&l) || !l.whole)
        return bad(r, "here a turn should begin, as \"## user TIME\"");
    for (turn->kind = 0; turn->kind < SF_CHAT_KINDS; turn->kind++) {
        const char *name = sf_chat_kind_name(turn->kind);
        if (n == strlen(name) + 4 && !memcmp(l.s + 3, name, n - 4))
            break;
    }
    int rc = parse_time(l.s + n, l.len - n, &turn->at_ms);
    if (!rc)
        rc = parse_who(l.s + n + TIME_LEN, l.len - n - TIME_LEN, turn);
    if (rc == -EINVAL)
        return bad(r, "not the header of a turn");
    if (!rc)
        next(r, &l);
    return rc;
}

/* Append a line of the body as the text has it. *ours: it is the first one behind the body. */
static int
parse_text_line(const struct line *l, struct sf_buf *text, bool *ours)
{
    size_t slashes = 0;
    bool mark;
    while (slashes < l->len && l->s[slashes] == '\\')
        slashes++;
    sf_chat_mark(l->s + slashes, l->len - slashes, &mark);
    *ours = mark && !slashes;
    if (*ours)
        return 0;
    return sf_buf_append(text, l->s + mark, l->len - mark + l->whole);
}

/* Up to the end of the text, or the empty line in front of a line of ours. */
static int
parse_text(struct reader *r, struct sf_buf *text, bool *cut)
{
    bool ours = false;
    while (r->at < r->end && !ours) {
        struct line l = peek(r);
        int rc = parse_text_line(&l, text, &ours);
        if (rc)
            return rc;
        if (!ours)
            next(r, &l);
    }
    size_t extra = ours ? 2 : 1;
    if (!ours && (text->len == 0 || text->data[text->len - 1] != '\n')) {
        *cut = true;
        return 0;
    }
    if (text->len < extra || memcmp(text->data + text->len - extra, "\n\n", extra) != 0)
        return bad(r, "an empty line is missing before it");
    sf_buf_truncate(text, text->len - extra);
    return 0;
}

static int
parse_turn(struct reader *r, struct sf_chat_turn *turn, bool *cut)
{
    int rc = parse_header(r, turn);
    if (!rc)
        rc = parse_notes(r, &turn->above);
    struct line l = peek(r);
    if (!rc && !is(&l, ""))
        rc = bad(r, "an empty line should be here");
    if (rc)
        return rc;
    next(r, &l);
    sf_buf_init(&turn->text);
    rc = parse_text(r, &turn->text, cut);
    if (rc || r->at == r->end)
        return rc;
    l = peek(r);
    if (!is_note(&l))
        return 0; /* the next turn's header: its empty line has been read */
    rc = parse_notes(r, &turn->below);
    if (rc || r->at == r->end)
        return rc;
    l = peek(r);
    if (!is(&l, ""))
        return bad(r, "an empty line should be here");
    next(r, &l);
    return r->at < r->end ? 0 : bad(r, "it ends with an empty line");
}

/* ---- all of it ------------------------------------------------------------------------------- */

bool
sf_chat_is_transcript(const char *text, size_t len)
{
    size_t n = strlen(SF_CHAT_FIRST_LINES);
    return len >= n && !memcmp(text, SF_CHAT_FIRST_LINES, n);
}

static int
parse_head(struct reader *r, struct sf_chat_notes *out)
{
    struct line l;
    if (!sf_chat_is_transcript(r->at, (size_t)(r->end - r->at)))
        return bad(r, "it should begin with --- and supafs-chat: 1");
    r->at += strlen(SF_CHAT_FIRST_LINES);
    r->line += 2;
    for (l = peek(r); !is(&l, "---"); l = peek(r)) {
        if (!l.whole)
            return bad(r, "its head has no end");
        int rc = parse_note(r, l.s, l.len, true, out);
        if (rc)
            return rc;
        next(r, &l);
    }
    next(r, &l);
    l = peek(r);
    if (!is(&l, ""))
        return bad(r, "an empty line should be here");
    next(r, &l);
    return 0;
}

static int
parse_all(struct reader *r, struct sf_chat_transcript *out)
{
    int rc = parse_head(r, &out->head);
    do {
        struct sf_chat_turn turn = {0};
        if (!rc)
            rc = parse_turn(r, &turn, &out->cut);
        if (!rc)
            rc = sf_chat_turns_push(&out->turns, turn);
        if (rc)
            sf_chat_turn_fini(&turn);
    } while (!rc && r->at < r->end);
    return rc;
}

int
sf_chat_parse(const char *text, size_t len, struct sf_chat_transcript *out, struct sf_err *err)
{
    struct sf_chat_transcript t = {0};
    struct reader r = {text, text + len, 1, err};
    int rc = len ? parse_all(&r, &t) : 0;
    if (rc)
        sf_chat_transcript_fini(&t);
    else
        *out = t;
    return rc;
}
