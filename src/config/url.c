/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config/url.h"

#include "base/buf.h"
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

enum { MAX_URL = 2000 };

/* Whose address it is. */
struct kind {
    const char *what, *example;
    bool project; /* its API paths are cut off */
};

static const struct kind project = {"the project's URL", "https://abcdefgh.supabase.co", true};
static const struct kind provider = {"base_url", "https://api.moonshot.ai/v1", false};

struct parts {
    bool https;
    const char *host; /* with brackets when it is an IPv6 address */
    size_t host_len;
    unsigned port; /* 0 = the scheme's own */
    const char *path;
    size_t path_len;
};

static bool
host_equals(const char *host, size_t len, const char *name)
{
    return len == strlen(name) && !strncasecmp(host, name, len);
}

bool
sf_url_host_is_loopback(const char *host, size_t len)
{
    static const char below[] = ".localhost";
    size_t n = sizeof below - 1;
    if (len > 1 && host[len - 1] == '.')
        len--;
    if (host_equals(host, len, "localhost") || host_equals(host, len, "::1") ||
        host_equals(host, len, "[::1]"))
        return true;
    if (len > n && !strncasecmp(host + len - n, below, n))
        return true;

    /* 127.a.b.c with nothing but numbers: 127.evil.example is a name like any other. */
    if (len < 7 || len > 15 || memcmp(host, "127.", 4) != 0)
        return false;
    unsigned dots = 0, value = 0, digits = 0;
    for (size_t i = 0; i < len; i++) {
        if (host[i] == '.') {
            if (digits == 0)
                return false;
            dots++;
            value = digits = 0;
        } else if (isdigit((unsigned char)host[i])) {
            value = value * 10 + (unsigned)(host[i] - '0');
            if (++digits > 3 || value > 255)
                return false;
        } else {
            return false;
        }
    }
    return dots == 3 && digits > 0;
}

/* Letters, digits, '-', '_' and '.', or hex digits, ':' and '.' in brackets. */
static bool
host_valid(const char *host, size_t len)
{
    if (len == 0 || len > 253)
        return false;
    if (host[0] == '[') {
        if (len < 4 || host[len - 1] != ']')
            return false;
        for (size_t i = 1; i < len - 1; i++)
            if (!isxdigit((unsigned char)host[i]) && host[i] != ':' && host[i] != '.')
                return false;
        return true;
    }
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)host[i]) && !strchr("-_.", host[i]))
            return false;
    return isalnum((unsigned char)host[0]) != 0;
}

static int
split_authority(const char *at, size_t len, const struct kind *kind, struct parts *p,
                struct sf_err *err)
{
    if (memchr(at, '@', len))
        return sf_err_set(err, -EINVAL,
                          "%s must not hold a user name or password; keys come from the "
                          "environment or a file",
                          kind->what);
    const char *port = NULL;
    const char *bracket = memchr(at, ']', len);
    for (const char *c = bracket ? bracket : at; c < at + len; c++)
        if (*c == ':') {
            port = c + 1;
            break;
        }
    p->host = at;
    p->host_len = port ? (size_t)(port - 1 - at) : len;
    if (!host_valid(p->host, p->host_len))
        return sf_err_set(err, -EINVAL, "%s has no valid host name; it looks like %s", kind->what,
                          kind->example);
    p->port = 0;
    if (port) {
        unsigned value = 0;
        size_t n = (size_t)(at + len - port);
        for (size_t i = 0; i < n; i++) {
            if (!isdigit((unsigned char)port[i]) || i >= 5)
                n = 0; /* refused below */
            else
                value = value * 10 + (unsigned)(port[i] - '0');
        }
        if (n == 0 || value == 0 || value > 65535)
            return sf_err_set(err, -EINVAL, "the port in %s must be a number from 1 to 65535",
                              kind->what);
        p->port = value;
    }
    return 0;
}

/* Cut slashes off the end of the path, and a project's /storage/v1. */
static void
cut_path(struct parts *p, const struct kind *kind)
{
    static const char storage[] = "/storage/v1";
    size_t n = sizeof storage - 1;
    for (;;) {
        if (p->path_len > 0 && p->path[p->path_len - 1] == '/')
            p->path_len--;
        else if (kind->project && p->path_len >= n &&
                 !memcmp(p->path + p->path_len - n, storage, n))
            p->path_len -= n;
        else
            return;
    }
}

static int
split(const char *text, size_t len, const struct kind *kind, struct parts *p, struct sf_err *err)
{
    const char *end = text + len, *at = text;
    const char *sep = memmem(text, len, "://", 3);
    bool has_scheme = sep && !memchr(text, '/', (size_t)(sep - text));

    if (has_scheme) {
        size_t n = (size_t)(sep - text);
        if (!host_equals(text, n, "https") && !host_equals(text, n, "http"))
            return sf_err_set(err, -EINVAL, "%s must begin with https:// or http://", kind->what);
        p->https = n == 5;
        at = sep + 3;
    }
    size_t authority = 0;
    while (at + authority < end && !strchr("/?#", at[authority]))
        authority++;
    int rc = split_authority(at, authority, kind, p, err);
    if (rc)
        return rc;
    if (!has_scheme)
        p->https = !sf_url_host_is_loopback(p->host, p->host_len);
    p->path = at + authority;
    p->path_len = (size_t)(end - p->path);
    if (memchr(p->path, '?', p->path_len) || memchr(p->path, '#', p->path_len))
        return sf_err_set(err, -EINVAL, "%s must not have a ? or # part", kind->what);
    if (kind->project && (host_equals(p->host, p->host_len, "supabase.com") ||
                          host_equals(p->host, p->host_len, "app.supabase.com")))
        return sf_err_set(err, -EINVAL,
                          "this is the address of the dashboard; the project's URL is shown there "
                          "under API settings and looks like https://abcdefgh.supabase.co");
    cut_path(p, kind);
    return 0;
}

static int
normalize(const char *text, bool insecure, const struct kind *kind, char **ret, struct sf_err *err)
{
    text += strspn(text, " \t\r\n");
    size_t len = strlen(text);
    while (len > 0 && strchr(" \t\r\n", text[len - 1]))
        len--;
    if (len == 0)
        return sf_err_set(err, -EINVAL, "%s is empty", kind->what);
    if (len > MAX_URL)
        return sf_err_set(err, -EINVAL, "%s is longer than %d bytes", kind->what, MAX_URL);
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~' || strchr("\\\"<>^`{|}", text[i]))
            return sf_err_set(err, -EINVAL, "%s has a character that does not belong in a URL",
                              kind->what);

    struct parts p = {0};
    int rc = split(text, len, kind, &p, err);
    if (rc)
        return rc;
    if (!p.https && !insecure && !sf_url_host_is_loopback(p.host, p.host_len))
        return sf_err_set(
            err, -EINVAL,
            "http:// to another machine sends the key readable by all on the way; use "
            "https://, or insecure=yes if that is meant");
    if (p.port == (p.https ? 443u : 80u))
        p.port = 0;

    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    rc = sf_buf_puts(&out, p.https ? "https://" : "http://");
    for (size_t i = 0; !rc && i < p.host_len; i++)
        rc = sf_buf_putc(&out, (char)tolower((unsigned char)p.host[i]));
    if (!rc && p.port)
        rc = sf_buf_printf(&out, ":%u", p.port);
    if (!rc)
        rc = sf_buf_append(&out, p.path, p.path_len);
    char *url = rc ? NULL : sf_buf_steal(&out, NULL);
    if (!url)
        return sf_err_set(err, -ENOMEM, "out of memory");
    *ret = url;
    return 0;
}

int
sf_url_normalize(const char *text, bool insecure, char **ret, struct sf_err *err)
{
    return normalize(text, insecure, &project, ret, err);
}

int
sf_url_normalize_base(const char *text, bool insecure, char **ret, struct sf_err *err)
{
    return normalize(text, insecure, &provider, ret, err);
}
