/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/answer.h"

#include "base/str.h"
#include "control/words.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One line is held back: the last is not for the caller. */
static void
line_ends(struct answer *a)
{
    if (a->holds)
        a->line(a->arg, sf_buf_str(&a->held));
    a->holds = true;
    struct sf_buf swap = a->held;
    a->held = a->text;
    a->text = swap;
    sf_buf_clear(&a->text);
}

int
answer_take(struct answer *a, const char *data, size_t n)
{
    for (const char *p = data, *end = data + n; p < end;) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        int rc = sf_buf_append_max(&a->text, p, (size_t)((nl ? nl : end) - p), ANSWER_TEXT_MAX);
        if (rc)
            return rc;
        if (nl)
            line_ends(a);
        p = nl ? nl + 1 : end;
    }
    return 0;
}

/* "done", or "failed ERRNO TEXT". */
static int
verdict(const char *text, struct sf_buf *said)
{
    char *end;
    if (strcmp(text, "done") == 0)
        return 0;
    if (!sf_str_starts(text, "failed "))
        return -EPIPE;
    errno = 0;
    long n = strtol(text + 7, &end, 10);
    if (errno || n <= 0 || n > INT_MAX || (*end && *end != ' '))
        return -EPIPE;
    int rc = sf_buf_puts(said, end + strspn(end, " "));
    return rc ? rc : -(int)n;
}

int
answer_end(struct answer *a, struct sf_buf *said)
{
    return a->holds ? verdict(sf_buf_str(&a->held), said) : -EPIPE;
}

void
answer_fini(struct answer *a)
{
    sf_buf_fini(&a->text);
    sf_buf_fini(&a->held);
}

int
control_value(const char *text, const char *name, char *out, size_t size)
{
    size_t n = strlen(name);
    while (text && *text) {
        const char *end = strchrnul(text, '\n');
        if (!strncmp(text, name, n) && text[n] == ':' && text[n + 1] == ' ') {
            const char *value = text + n + 2;
            size_t len = (size_t)(end - value);
            if (len >= size)
                len = size - 1;
            memcpy(out, value, len);
            out[len] = '\0';
            return 0;
        }
        text = *end ? end + 1 : end;
    }
    return -ENOENT;
}

int64_t
answer_ms(const char *text)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1},    {"s", 1e3},   {"", 1e3},    {"m", 6e4},
                 {"min", 6e4}, {"h", 3.6e6}, {"d", 8.64e7}};
    char *end;
    double v = strtod(text, &end);
    if (end == text || !(v >= 0))
        return -1;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        double ms = v * units[i].ms;
        if (strcmp(end, units[i].unit) == 0)
            return ms < (double)INT_MAX ? (int64_t)ms : INT_MAX;
    }
    return -1;
}

int
answer_counts(const char *text, uint64_t counts[3])
{
    uint64_t v[3];
    for (int i = 0; i < 3; i++) {
        char word[24];
        size_t n = strcspn(text, " ");
        if (n >= sizeof word)
            return -EINVAL;
        memcpy(word, text, n);
        word[n] = '\0';
        if (sf_parse_u64(word, &v[i]) < 0 || (text[n] == '\0') != (i == 2))
            return -EINVAL;
        text += n + 1;
    }
    memcpy(counts, v, sizeof v);
    return 0;
}

int
answer_file(char *line, struct answer_file *ret)
{
    char *words[SF_WORDS_MAX];
    struct answer_file f = {0};
    if (sf_words_split(line, words) != 4 || sf_parse_u64(words[0], &f.size) < 0 ||
        sf_parse_u64(words[1], &f.here) < 0)
        return -EINVAL;
    f.pinned = strcmp(words[2], "pinned") == 0;
    f.path = words[3];
    *ret = f;
    return 0;
}
