/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cmd.h"

#include "base/str.h"

#include <string.h>
#include <unistd.h>

/* All that others may have written passes here on its way to a terminal: names of files and mounts,
 * what a mount says of itself (it may not be supafs at all), and what a service said. */

__attribute__((format(printf, 3, 0))) static void
say_list(FILE *to, const char *prefix, const char *fmt, va_list ap)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT, shown = SF_BUF_INIT;
    if (sf_buf_vprintf(&text, fmt, ap) || sf_str_escape(&shown, sf_buf_str(&text), ""))
        fputs("supafs: out of memory\n", stderr);
    else
        fprintf(to, "%s%s\n", prefix, sf_buf_str(&shown));
}

void
say(FILE *to, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say_list(to, "", fmt, ap);
    va_end(ap);
}

void
complain(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    say_list(stderr, "supafs: ", fmt, ap);
    va_end(ap);
}

void
say_lines(FILE *to, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        say(to, "%.*s", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

const char *
shortened(const char *text, char *out, size_t size)
{
    sf_autobuf struct sf_buf shown = SF_BUF_INIT;
    (void)sf_str_escape(&shown, text, "");
    snprintf(out, size, "%s", sf_buf_str(&shown));
    (void)sf_utf8_trim(out);
    return out;
}

void
say_json(const json_t *root)
{
    /* JSON escapes what is below a blank by itself; DEL and C1 only with everything beyond ASCII.
     */
    json_dumpf(root, stdout, JSON_INDENT(2) | (isatty(STDOUT_FILENO) ? JSON_ENSURE_ASCII : 0));
    putchar('\n');
}

/* ---- for people ----------------------------------------------------------------------------- */

const char *
human_size(uint64_t bytes, char out[16])
{
    static const char units[] = "BKMGTP";
    double v = (double)bytes;
    unsigned u = 0;
    for (; v >= 1023.95 && units[u + 1]; u++)
        v /= 1024;
    snprintf(out, 16, u && v < 99.95 ? "%.1f%c" : "%.0f%c", v, units[u]);
    return out;
}

const char *
human_age(int64_t s, char out[16])
{
    if (s < 0)
        s = 0;
    if (s < 60)
        snprintf(out, 16, "%ds", (int)s);
    else if (s < 3600)
        snprintf(out, 16, "%dm%02ds", (int)(s / 60), (int)(s % 60));
    else if (s < 86400)
        snprintf(out, 16, "%dh%02dm", (int)(s / 3600), (int)(s / 60 % 60));
    else
        snprintf(out, 16, "%dd%02dh", (int)(s / 86400 % 100000), (int)(s / 3600 % 24));
    return out;
}

const char *
plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}
