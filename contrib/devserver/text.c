/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/cleanup.h"

/* What a key of the service may hold besides letters and digits. */
#define KEY_MARKS "_/!.*'() &$=@;:+,?-"

/* The service's index refuses longer rows; its file backend longer components. */
#define COMPONENT_MAX 255
#define PATH_ROOM     4000

static _Atomic int64_t clock_shift_ms;

void
ds_clock_shift(int64_t ms)
{
    clock_shift_ms = ms;
}

int64_t
ds_now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000 + clock_shift_ms;
}

int64_t
ds_tick_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void
split_ms(int64_t ms, struct tm *tm, int *fraction)
{
    time_t seconds = (time_t)(ms / 1000);
    *fraction = (int)(ms % 1000);
    if (*fraction < 0) {
        *fraction += 1000;
        seconds--;
    }
    gmtime_r(&seconds, tm);
}

/* `width` digits, and the character behind them. */
static char *
put_digits(char *to, int value, int width, char behind)
{
    for (int i = width - 1; i >= 0; i--, value /= 10)
        to[i] = (char)('0' + value % 10);
    to[width] = behind;
    return to + width + 1;
}

/* Without printf: a listing has thousands of them. The year has four digits. */
void
ds_time_iso(int64_t ms, char out[DS_ISO_SIZE])
{
    struct tm tm;
    int fraction;
    split_ms(ms, &tm, &fraction);
    out = put_digits(out, 1900 + tm.tm_year, 4, '-');
    out = put_digits(out, tm.tm_mon + 1, 2, '-');
    out = put_digits(out, tm.tm_mday, 2, 'T');
    out = put_digits(out, tm.tm_hour, 2, ':');
    out = put_digits(out, tm.tm_min, 2, ':');
    out = put_digits(out, tm.tm_sec, 2, '.');
    *put_digits(out, fraction, 3, 'Z') = '\0';
}

void
ds_time_http(int64_t ms, char out[DS_DATE_SIZE])
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm;
    int fraction;
    split_ms(ms, &tm, &fraction);
    snprintf(out, DS_DATE_SIZE, "%.3s, %02d %.3s %d %02d:%02d:%02d GMT", days + 3 * tm.tm_wday,
             tm.tm_mday, months + 3 * tm.tm_mon, 1900 + tm.tm_year, tm.tm_hour, tm.tm_min,
             tm.tm_sec);
}

bool
ds_time_parse_iso(const char *text, int64_t *ms)
{
    struct tm tm = {0};
    int fraction = 0, used = 0;
    if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &used) != 6)
        return false;
    if (text[used] == '.') {
        int digits = 0;
        for (used++; isdigit((unsigned char)text[used]); used++)
            if (digits++ < 3)
                fraction = fraction * 10 + (text[used] - '0');
        for (; digits < 3; digits++)
            fraction *= 10;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    *ms = (int64_t)timegm(&tm) * 1000 + fraction;
    return true;
}

bool
ds_time_parse_http(const char *text, int64_t *ms)
{
    struct tm tm = {0};
    if (!strptime(text, "%a, %d %b %Y %H:%M:%S", &tm))
        return false;
    *ms = (int64_t)timegm(&tm) * 1000;
    return true;
}

void
ds_hex(const unsigned char *bytes, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * len] = '\0';
}

int
ds_uuid_new(char out[DS_UUID_SIZE])
{
    unsigned char b[16];
    if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
        return -EIO;
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    char hex[33];
    ds_hex(b, sizeof b, hex);
    snprintf(out, DS_UUID_SIZE, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
             hex + 20);
    return 0;
}

static int
base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    if (c == '/' || c == '_')
        return 63;
    return -1;
}

char *
ds_base64_decode(const char *text, size_t len, size_t *ret_len)
{
    char *out = malloc(len / 4 * 3 + 4);
    if (!out)
        return NULL;
    uint32_t bits = 0;
    int have = 0;
    size_t n = 0;
    for (size_t i = 0; i < len && text[i] != '='; i++) {
        int v = base64_value(text[i]);
        if (v < 0)
            continue;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (char)(bits >> have & 0xff);
        }
    }
    out[n] = '\0';
    *ret_len = n;
    return out;
}

char *
ds_base64_encode(const void *bytes, size_t len, bool url)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *alphabet = url ? safe : plain;
    const unsigned char *in = bytes;
    char *out = malloc(len / 3 * 4 + 5);
    if (!out)
        return NULL;
    size_t n = 0;
    for (size_t i = 0; i < len; i += 3) {
        size_t rest = len - i < 3 ? len - i : 3;
        uint32_t bits = (uint32_t)in[i] << 16;
        if (rest > 1)
            bits |= (uint32_t)in[i + 1] << 8;
        if (rest > 2)
            bits |= in[i + 2];
        for (size_t k = 0; k < 4; k++) {
            if (k <= rest)
                out[n++] = alphabet[bits >> (18 - 6 * k) & 63];
            else if (!url)
                out[n++] = '=';
        }
    }
    out[n] = '\0';
    return out;
}

/* Bytes of the UTF-8 sequence that starts here, 0 when it is none. */
static size_t
utf8_step(const unsigned char *s, size_t len)
{
    size_t n = 0;
    if (s[0] < 0x80)
        n = 1;
    else if (s[0] >= 0xc2 && s[0] < 0xe0)
        n = 2;
    else if (s[0] >= 0xe0 && s[0] < 0xf0)
        n = 3;
    else if (s[0] >= 0xf0 && s[0] < 0xf5)
        n = 4;
    if (n == 0 || n > len)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xed && s[1] > 0x9f;
    bool too_big = s[0] == 0xf4 && s[1] > 0x8f;
    return overlong || surrogate || too_big ? 0 : n;
}

bool
ds_utf8_valid(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < len;) {
        size_t n = utf8_step(s + i, len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int
ds_percent_decode(const char *text, size_t len, char **ret, size_t *ret_len)
{
    sf_autofree char *out = malloc(len + 1);
    if (!out)
        return -ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '%') {
            out[n++] = text[i];
            continue;
        }
        int high = len - i > 2 ? hex_value(text[i + 1]) : -1;
        int low = len - i > 2 ? hex_value(text[i + 2]) : -1;
        if (high < 0 || low < 0)
            return -EILSEQ;
        out[n++] = (char)(high << 4 | low);
        i += 2;
    }
    out[n] = '\0';
    if (!ds_utf8_valid(out, n))
        return -EILSEQ;
    *ret = sf_steal(out);
    *ret_len = n;
    return 0;
}

char *
ds_percent_encode(const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = malloc(3 * strlen(text) + 1);
    if (!out)
        return NULL;
    size_t n = 0;
    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        if (isalnum(*s) || strchr("-_.!~*'()", *s)) {
            out[n++] = (char)*s;
        } else {
            out[n++] = '%';
            out[n++] = digits[*s >> 4];
            out[n++] = digits[*s & 15];
        }
    }
    out[n] = '\0';
    return out;
}

bool
ds_key_valid(const char *key, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)key[i];
        if (c == '\0' || c >= 0x80 || (!isalnum(c) && !strchr(KEY_MARKS, c)))
            return false;
    }
    return len > 0;
}

bool
ds_bucket_name_valid(const char *name)
{
    size_t len = strlen(name);
    if (len > 100 || !ds_key_valid(name, len) || strchr(name, '/'))
        return false;
    return name[0] != ' ' && name[len - 1] != ' ';
}

bool
ds_key_has_dots(const char *key)
{
    for (const char *s = key; s;) {
        size_t n = strcspn(s, "/");
        if ((n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.'))
            return true;
        s = s[n] ? s + n + 1 : NULL;
    }
    return false;
}

bool
ds_key_too_long_for_file(const char *key)
{
    if (strlen(key) > PATH_ROOM)
        return true;
    for (const char *s = key; s;) {
        size_t n = strcspn(s, "/");
        if (n > COMPONENT_MAX)
            return true;
        s = s[n] ? s + n + 1 : NULL;
    }
    return false;
}

bool
ds_key_is_placeholder(const char *key)
{
    static const char name[] = ".emptyFolderPlaceholder";
    size_t len = strlen(key), n = sizeof name - 1;
    return len >= n && strcmp(key + len - n, name) == 0;
}

bool
ds_is_uuid(const char *text)
{
    if (strlen(text) != DS_UUID_SIZE - 1)
        return false;
    for (size_t i = 0; text[i]; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
            return false;
    }
    return true;
}
