/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/conflict.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define COMPONENT_MAX 255
#define HOST_MAX      32

/* Of the escape's table 1: the letters of 0xC2 to 0xDF, which one more letter follows. */
static const char two_byte_letters[] = "ABCDEFG()'H,IJKLM@$NOPQRST&:+*";

static void
host_name(char out[static HOST_MAX + 1])
{
    char raw[256] = "";
    size_t n = 0;
    if (gethostname(raw, sizeof raw - 1) < 0)
        raw[0] = '\0';
    for (const char *p = raw; *p && *p != '.' && n < HOST_MAX; p++)
        if (isalnum((unsigned char)*p) || *p == '-' || *p == '_')
            out[n++] = *p;
    out[n] = '\0';
    if (!n)
        snprintf(out, HOST_MAX + 1, "host");
}

/* Bytes of the unit of the escape that begins at @s, in its state; a broken one counts as plain. */
static size_t
unit(const char *s, bool *text)
{
    if (*text && (*s == '.' || *s == '='))
        *text = false; /* read as plain */
    if (!*text) {
        if (s[0] == '=' && s[1] == '!') {
            *text = true;
            return 2;
        }
        return s[0] == '=' && s[1] == '@' && s[2] && s[3] ? 4 : 1;
    }
    if (*s == '!') {
        *text = false;
        return s[1] ? 2 : 1;
    }
    if (islower((unsigned char)*s) || *s == ' ' || *s == '-' || *s == '_')
        return 1;
    size_t n = *s == '9' ? 4 : strchr(two_byte_letters, *s) ? 2 : 3;
    return strnlen(s, n);
}

/* The most of a component that fits @room and does not end inside an escape. */
static size_t
cut(const char *comp, size_t len, size_t room)
{
    bool text = false;
    size_t at = 0, kept = 0;
    if (len <= room)
        return len;
    while (at < len) {
        bool before = text;
        at += unit(comp + at, &text);
        if (at > room)
            break;
        if (before || !text) /* never right behind the introducer */
            kept = at;
    }
    return kept;
}

int
sf_conflict_key(const char *key, int64_t wall_ns, unsigned turn,
                char out[static SF_CONFLICT_KEY_MAX + 1])
{
    char host[HOST_MAX + 1], when[20], tail[HOST_MAX + 64];
    time_t at = (time_t)(wall_ns / 1000000000);
    struct tm tm;
    gmtime_r(&at, &tm);
    strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &tm);
    host_name(host);
    int n = turn ? snprintf(tail, sizeof tail, ".conflict-%s-%s-%u", host, when, turn)
                 : snprintf(tail, sizeof tail, ".conflict-%s-%s", host, when);

    const char *slash = strrchr(key, '/');
    size_t above = slash ? (size_t)(slash + 1 - key) : 0, tail_len = (size_t)n;
    if (above + tail_len + 1 > SF_CONFLICT_KEY_MAX)
        return -ENAMETOOLONG;
    size_t room = SF_CONFLICT_KEY_MAX - above - tail_len;
    if (room > COMPONENT_MAX - tail_len)
        room = COMPONENT_MAX - tail_len;
    size_t kept = cut(key + above, strlen(key + above), room);
    memcpy(out, key, above + kept);
    memcpy(out + above + kept, tail, tail_len + 1);
    return 0;
}
