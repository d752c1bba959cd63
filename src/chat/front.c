/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/front.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "chat/names.h"
#include "config/provider.h"

#define MODEL_MAX      200
#define TOKENS_MAX     10000000
#define THOUSANDTHS    1000
#define MAX_THOUSANDTH 2000 /* of a temperature */

static const char *const names[SF_CHAT_SETS] = {"provider",   "model",    "system",   "temperature",
                                                "max_tokens", "thinking", "continue", "dry_run"};
/* In the order of enum sf_chat_thinking, then what means one of them, too. */
static const char *const thinking[] = {"off", "on", "low", "medium", "high"};

void
sf_chat_front_init(struct sf_chat_front *f)
{
    *f = (struct sf_chat_front){.temperature = -1, .max_tokens = -1, .thinking = -1, .dry_run = -1};
}

void
sf_chat_front_fini(struct sf_chat_front *f)
{
    free(f->provider);
    free(f->model);
    free(f->system);
    free(f->continues);
    sf_chat_front_init(f);
}

const char *
sf_chat_set_name(enum sf_chat_set set)
{
    return names[set];
}

int
sf_chat_set_find(const char *name)
{
    for (int i = 0; i < SF_CHAT_SETS; i++)
        if (!strcmp(name, names[i]))
            return i;
    return -1;
}

/* Where a setting is that is a text; NULL = it is a number. */
static char *const *
text_of(const struct sf_chat_front *f, enum sf_chat_set set)
{
    switch (set) {
    case SF_CHAT_SET_PROVIDER:
        return &f->provider;
    case SF_CHAT_SET_MODEL:
        return &f->model;
    case SF_CHAT_SET_SYSTEM:
        return &f->system;
    case SF_CHAT_SET_CONTINUE:
        return &f->continues;
    default:
        return NULL;
    }
}

static const int *
number_of(const struct sf_chat_front *f, enum sf_chat_set set)
{
    switch (set) {
    case SF_CHAT_SET_TEMPERATURE:
        return &f->temperature;
    case SF_CHAT_SET_MAX_TOKENS:
        return &f->max_tokens;
    case SF_CHAT_SET_THINKING:
        return &f->thinking;
    default:
        return &f->dry_run;
    }
}

/* ---- values ---------------------------------------------------------------------------------- */

/* "0.25" = 250. */
static int
parse_thousandths(const char *s, int *ret)
{
    int n = 0, scale = 0;
    size_t whole = strspn(s, "0123456789"), part = 0;
    if (s[whole] == '.')
        part = strspn(s + whole + 1, "0123456789");
    if (!whole || whole > 4 || part > 3 || (s[whole] == '.' && !part) ||
        s[whole + (part ? part + 1 : 0)] != '\0')
        return -EINVAL;
    for (size_t i = 0; i < whole; i++)
        n = n * 10 + (s[i] - '0');
    for (; scale < 3; scale++)
        n = n * 10 + ((size_t)scale < part ? s[whole + 1 + (size_t)scale] - '0' : 0);
    *ret = n;
    return 0;
}

static int
parse_yes(const char *s, int *ret)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (!strcmp(s, words[i])) {
            *ret = i & 1;
            return 0;
        }
    return -EINVAL;
}

static int
parse_thinking(const char *s, int *ret)
{
    for (unsigned i = 0; i < sizeof thinking / sizeof *thinking; i++)
        if (!strcmp(s, thinking[i])) {
            *ret = (int)i;
            return 0;
        }
    return parse_yes(s, ret); /* 0 and 1 are off and on here, too */
}

static int
parse_number(enum sf_chat_set set, const char *s, int *ret, struct sf_err *err)
{
    uint64_t n = 0;
    switch (set) {
    case SF_CHAT_SET_TEMPERATURE:
        if (parse_thousandths(s, ret) || *ret > MAX_THOUSANDTH)
            return sf_err_set(err, -EINVAL, "temperature is a number from 0 to 2, as 0.25");
        return 0;
    case SF_CHAT_SET_MAX_TOKENS:
        if (sf_parse_u64(s, &n) || n < 1 || n > TOKENS_MAX)
            return sf_err_set(err, -EINVAL, "max_tokens is a number from 1 to %d", TOKENS_MAX);
        *ret = (int)n;
        return 0;
    case SF_CHAT_SET_THINKING:
        if (parse_thinking(s, ret))
            return sf_err_set(err, -EINVAL, "thinking is off, on, low, medium or high");
        return 0;
    default:
        if (parse_yes(s, ret))
            return sf_err_set(err, -EINVAL, "dry_run is yes or no");
        return 0;
    }
}

/* A word that goes into a request and a header of the transcript. */
static bool
is_word(const char *s, size_t max)
{
    size_t n = strlen(s);
    for (const unsigned char *p = (const unsigned char *)s; *p; p++)
        if (*p <= ' ' || *p == 0x7f)
            return false;
    return n <= max;
}

static int
check_text(enum sf_chat_set set, const char *s, struct sf_err *err)
{
    if (!sf_utf8_valid(s, strlen(s)))
        return sf_err_set(err, -EINVAL, "%s is not UTF-8", names[set]);
    if (set == SF_CHAT_SET_PROVIDER && !sf_provider_name_ok(s))
        return sf_err_set(err, -EINVAL, "provider is a name of a-z, 0-9, _ and -, or auto");
    if (set == SF_CHAT_SET_MODEL && !is_word(s, MODEL_MAX))
        return sf_err_set(err, -EINVAL, "model is one word of up to %d bytes", MODEL_MAX);
    if (set == SF_CHAT_SET_SYSTEM && strlen(s) > SF_CHAT_SYSTEM_MAX)
        return sf_err_set(err, -EINVAL, "system is longer than %d bytes", SF_CHAT_SYSTEM_MAX);
    if (set == SF_CHAT_SET_CONTINUE && (!is_word(s, SF_CHAT_ID_MAX) || strchr(s, '/')))
        return sf_err_set(err, -EINVAL, "continue is the id of a conversation");
    return 0;
}

int
sf_chat_front_set(struct sf_chat_front *f, enum sf_chat_set set, const char *value,
                  struct sf_err *err)
{
    char **text = (char **)text_of(f, set);
    int n = -1, rc;
    if (!*value)
        return sf_err_set(err, -EINVAL, "%s has no value", names[set]);
    rc = text ? check_text(set, value, err) : parse_number(set, value, &n, err);
    if (rc)
        return rc;
    if (!text) {
        *(int *)number_of(f, set) = n;
        return 0;
    }
    char *copy = strdup(value);
    if (!copy)
        return -ENOMEM;
    free(*text);
    *text = copy;
    return 0;
}

int
sf_chat_front_get(const struct sf_chat_front *f, enum sf_chat_set set, struct sf_buf *out)
{
    char *const *text = text_of(f, set);
    if (text)
        return *text ? sf_buf_puts(out, *text) : -ENODATA;
    int n = *number_of(f, set);
    if (n < 0)
        return -ENODATA;
    if (set == SF_CHAT_SET_THINKING)
        return sf_buf_puts(out, thinking[n]);
    if (set == SF_CHAT_SET_DRY_RUN)
        return sf_buf_puts(out, n ? "yes" : "no");
    if (set == SF_CHAT_SET_MAX_TOKENS)
        return sf_buf_printf(out, "%d", n);
    return sf_buf_printf(out, "%d.%03d", n / THOUSANDTHS, n % THOUSANDTHS);
}

int
sf_chat_front_under(struct sf_chat_front *f, const struct sf_chat_front *other)
{
    for (unsigned set = 0; set < SF_CHAT_SETS; set++) {
        char *const *mine = text_of(f, set), *const *theirs = text_of(other, set);
        if (!mine && *number_of(f, set) < 0)
            *(int *)number_of(f, set) = *number_of(other, set);
        if (!mine || *mine || !*theirs)
            continue;
        *(char **)mine = strdup(*theirs);
        if (!*mine)
            return -ENOMEM;
    }
    return 0;
}

/* ---- lines ----------------------------------------------------------------------------------- */

struct line {
    const char *s;
    size_t len;  /* without its end */
    size_t size; /* with it */
    bool whole;  /* has one */
};

static struct line
line_at(const char *text, size_t len)
{
    const char *nl = len ? memchr(text, '\n', len) : NULL;
    size_t n = nl ? (size_t)(nl - text) : len;
    bool cr = n > 0 && text[n - 1] == '\r';
    return (struct line){text, n - cr, n + (nl != NULL), nl != NULL};
}

static bool
is_fence(const struct line *l)
{
    return l->len == 3 && !memcmp(l->s, "---", 3);
}

static size_t
name_len(const struct line *l)
{
    size_t n = 0;
    while (n < l->len && ((l->s[n] >= 'a' && l->s[n] <= 'z') || l->s[n] == '_'))
        n++;
    return n && n < l->len && l->s[n] == ':' ? n : 0;
}

static size_t
indentation(const char *s, size_t len)
{
    size_t n = 0;
    while (n < len && (s[n] == ' ' || s[n] == '\t'))
        n++;
    return n;
}

/* ---- front matter ---------------------------------------------------------------------------- */

/* What is read: the lines between the fences. */
struct front {
    const char *at, *end;
    unsigned line;
    struct sf_chat_front got;
    bool seen[SF_CHAT_SETS];
    struct sf_err *err;
};

static struct line
next_line(struct front *r)
{
    struct line l = line_at(r->at, (size_t)(r->end - r->at));
    r->at += l.size;
    r->line++;
    return l;
}

/* In quotes: what is between them. */
static int
unquote(const char *s, size_t len, struct sf_buf *out)
{
    static const char codes[] = "n\nt\t\"\"\\\\";
    const char quote = *s;
    int rc = 0;
    if (len < 2 || s[len - 1] != quote)
        return -EINVAL;
    for (size_t i = 1; i < len - 1 && !rc; i++) {
        char c = s[i];
        if (c == quote && quote == '"')
            return -EINVAL;
        if ((quote == '\'' && c == quote) || (quote == '"' && c == '\\')) {
            const char *code = quote == '"' ? codes : "''";
            char after = ++i < len - 1 ? s[i] : '\0';
            while (*code && *code != after)
                code += 2;
            if (!*code)
                return -EINVAL;
            c = code[1];
        }
        rc = sf_buf_putc(out, c);
    }
    return rc;
}

/* The indented lines of a value "|". */
static int
read_block(struct front *r, struct sf_buf *out)
{
    size_t indent = 0, keep = 0;
    while (r->at < r->end) {
        struct line l = line_at(r->at, (size_t)(r->end - r->at));
        size_t n = indentation(l.s, l.len);
        bool empty = n == l.len;
        if (!empty && n == 0)
            break;
        next_line(r);
        if (!empty && !indent)
            indent = n;
        if (!empty && n < indent)
            return sf_err_set(r->err, -EINVAL,
                              "line %u: less indented than the first line of the block", r->line);
        int rc = 0;
        if (!empty || indent)
            rc = l.len > indent ? sf_buf_append(out, l.s + indent, l.len - indent) : 0;
        if (!empty)
            keep = out->len;
        if (!rc && indent)
            rc = sf_buf_putc(out, '\n');
        if (rc)
            return rc;
    }
    sf_buf_truncate(out, keep);
    return 0;
}

static int
read_value(struct front *r, const char *s, size_t len, struct sf_buf *out)
{
    size_t n = indentation(s, len);
    s += n;
    len -= n;
    while (len && (s[len - 1] == ' ' || s[len - 1] == '\t'))
        len--;
    if (len == 1 && *s == '|')
        return read_block(r, out);
    if (!len || (*s != '"' && *s != '\''))
        return sf_buf_append(out, s, len);
    int rc = unquote(s, len, out);
    if (rc == -EINVAL)
        return sf_err_set(r->err, rc,
                          "line %u: the quotes are not closed, or hold what they cannot", r->line);
    return rc;
}

static int
read_setting(struct front *r, const struct line *l)
{
    sf_autobuf struct sf_buf value = SF_BUF_INIT;
    char name[20];
    unsigned at = r->line;
    size_t n = name_len(l);
    if (!n)
        return sf_err_set(r->err, -EINVAL, "line %u of the front matter is not NAME: VALUE", at);
    snprintf(name, sizeof name, "%.*s", (int)n, l->s);
    int set = n < sizeof name ? sf_chat_set_find(name) : -1;
    if (set < 0)
        return sf_err_set(r->err, -EINVAL, "line %u: there is no setting %s", at, name);
    if (r->seen[set])
        return sf_err_set(r->err, -EINVAL, "line %u: %s stands there twice", at, name);
    r->seen[set] = true;
    int rc = read_value(r, l->s + n + 1, l->len - n - 1, &value);
    if (!rc && memchr(value.data, '\0', value.len))
        return sf_err_set(r->err, -EINVAL, "line %u: a NUL", at);
    if (rc)
        return rc;
    rc = sf_chat_front_set(&r->got, (enum sf_chat_set)set, value.data, r->err);
    if (rc == -EINVAL)
        sf_err_prefix(r->err, "line %u", at);
    return rc;
}

static int
read_settings(struct front *r)
{
    while (r->at < r->end) {
        struct line l = next_line(r);
        if (indentation(l.s, l.len) == l.len || *l.s == '#')
            continue;
        int rc = read_setting(r, &l);
        if (rc)
            return rc;
    }
    return 0;
}

/* Where the settings end, and where the question begins. */
static int
find_end(const char *text, size_t len, bool whole, size_t *end, size_t *body, struct sf_err *err)
{
    size_t limit = len < SF_CHAT_FRONT_MAX ? len : SF_CHAT_FRONT_MAX;
    for (size_t at = line_at(text, limit).size; at < limit;) {
        struct line l = line_at(text + at, limit - at);
        if (is_fence(&l) && (l.whole || (whole && limit == len))) {
            *end = at;
            *body = at + l.size;
            return 0;
        }
        at += l.size;
    }
    if (!whole && len < SF_CHAT_FRONT_MAX)
        return -EAGAIN;
    return sf_err_set(err, -EINVAL, "the front matter has no line --- at its end");
}

/* 1: front matter; 0: none; -EAGAIN. */
static int
has_front(const char *text, size_t len, bool whole)
{
    struct line first = line_at(text, len);
    if (!first.whole)
        return !whole && first.len <= 3 && !memcmp(text, "---", first.len) ? -EAGAIN : 0;
    if (!is_fence(&first))
        return 0;
    struct line second = line_at(text + first.size, len - first.size);
    if (!second.whole && !whole && len < SF_CHAT_FRONT_MAX)
        return -EAGAIN;
    return is_fence(&second) || name_len(&second);
}

int
sf_chat_front_parse(const char *text, size_t len, bool whole, struct sf_chat_front *f, size_t *body,
                    struct sf_err *err)
{
    size_t end = 0, begin = 0;
    int rc = has_front(text, len, whole);
    if (rc <= 0) {
        if (rc == 0)
            *body = 0;
        return rc;
    }
    rc = find_end(text, len, whole, &end, &begin, err);
    if (rc)
        return rc;
    size_t first = line_at(text, len).size;
    struct front r = {.at = text + first, .end = text + end, .line = 1, .err = err};
    sf_chat_front_init(&r.got);
    rc = read_settings(&r);
    if (!rc)
        rc = sf_chat_front_under(&r.got, f);
    if (!rc) {
        struct sf_chat_front was = *f;
        *f = r.got;
        r.got = was;
        *body = begin;
    }
    sf_chat_front_fini(&r.got);
    return rc;
}

/* ---- printing -------------------------------------------------------------------------------- */

static int
put_quoted(struct sf_buf *out, const char *s)
{
    int rc = sf_buf_putc(out, '"');
    for (; *s && !rc; s++) {
        if (*s == '\n')
            rc = sf_buf_puts(out, "\\n");
        else
            rc = *s == '"' || *s == '\\' ? sf_buf_putc(out, '\\') : 0;
        if (!rc && *s != '\n')
            rc = sf_buf_putc(out, *s);
    }
    return rc ? rc : sf_buf_puts(out, "\"\n");
}

int
sf_chat_front_print(const struct sf_chat_front *f, struct sf_buf *out)
{
    const size_t before = out->len;
    int rc = sf_buf_puts(out, "---\n");
    for (unsigned set = 0; set < SF_CHAT_SETS && !rc; set++) {
        sf_autobuf struct sf_buf value = SF_BUF_INIT;
        rc = sf_chat_front_get(f, set, &value);
        if (rc == -ENODATA) {
            rc = 0;
            continue;
        }
        if (!rc)
            rc = sf_buf_printf(out, "%s: ", names[set]);
        if (!rc)
            rc = put_quoted(out, value.data);
    }
    if (!rc)
        rc = sf_buf_puts(out, "---\n");
    if (rc)
        sf_buf_truncate(out, before);
    return rc;
}
