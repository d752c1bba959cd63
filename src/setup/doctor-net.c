/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "setup/doctor-internal.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "config/url.h"

#define SKEW_WARN_S 30
#define SKEW_FAIL_S 300

/*
 * One request is made; how far it came tells of name, connection and TLS. Each check looks at the
 * failures that are its own, and what lies before it went well then.
 */

static bool
has_proxy(void)
{
    static const char *const names[] = {"https_proxy", "HTTPS_PROXY", "http_proxy", "all_proxy",
                                        "ALL_PROXY"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i]) && *getenv(names[i]))
            return true;
    return false;
}

static const char *
host_of(const struct sf_doctor *d, size_t *n)
{
    const char *url = sf_config_str(d->cfg, SF_OPT_URL);
    const char *host = strstr(url, "://");
    host = host ? host + 3 : url;
    *n = *host == '[' ? strcspn(host, "]/") + (strchr(host, ']') != NULL) : strcspn(host, ":/");
    return host;
}

void
check_name(struct sf_doctor *d, struct sf_doctor_row *row)
{
    const struct doctor_reply *a = doctor_first(d);
    size_t n;
    const char *host = host_of(d, &n);
    if (a->err.code == -EHOSTUNREACH && strstr(a->err.msg, "resolved")) {
        doctor_say(row, SF_DOCTOR_FAIL, "%s", a->err.msg);
        doctor_advise(row,
                      "check the URL's spelling, that the project is there (a paused one has no "
                      "name), and the DNS: getent hosts %.*s",
                      (int)n, host);
        return;
    }
    doctor_say(row, SF_DOCTOR_OK, "%.*s%s", (int)n, host,
               has_proxy()   ? ", by the proxy that the environment names"
               : a->err.code ? ": the DNS does not refuse it"
                             : " is found");
}

static bool
is_tls(const struct doctor_reply *a)
{
    return strstr(a->err.msg, "TLS") || strstr(a->err.msg, "CA file");
}

void
check_connect(struct sf_doctor *d, struct sf_doctor_row *row)
{
    const struct doctor_reply *a = doctor_first(d);
    if (!a->err.code || is_tls(a)) {
        doctor_say(row, SF_DOCTOR_OK, "a connection is made");
        return;
    }
    doctor_say(row, SF_DOCTOR_FAIL, "%s", a->err.msg);
    if (a->err.code == -EPROTO)
        doctor_advise(row, "check scheme and port of the URL: what answers there does not speak "
                           "HTTP");
    else
        doctor_advise(row,
                      "check host and port of the URL, that the service runs there, and that no "
                      "firewall or missing proxy is between%s",
                      has_proxy() ? " (the environment names a proxy)" : "");
}

void
check_tls(struct sf_doctor *d, struct sf_doctor_row *row)
{
    const struct doctor_reply *a = doctor_first(d);
    const char *ca = sf_config_str(d->cfg, SF_OPT_CA_FILE);
    size_t n;
    const char *host = host_of(d, &n);
    if (a->err.code) {
        doctor_say(row, SF_DOCTOR_FAIL, "%s", a->err.msg);
        doctor_advise(row, ca ? "name the file of the authority that signed the server's "
                                "certificate with -o ca_file=FILE, and check the clock"
                              : "check the URL's host and the clock; install ca-certificates, or "
                                "name the authority of a server of your own with -o ca_file=FILE");
    } else if (sf_str_starts(sf_config_str(d->cfg, SF_OPT_URL), "https:")) {
        doctor_say(row, SF_DOCTOR_OK, "the certificate is trusted%s%s", ca ? ", by " : "",
                   ca ? ca : "");
    } else if (sf_url_host_is_loopback(host, n)) {
        doctor_say(row, SF_DOCTOR_OK, "plain http, within this machine");
    } else {
        doctor_say(row, SF_DOCTOR_WARN,
                   "plain http to %.*s: keys and contents can be read on the "
                   "way",
                   (int)n, host);
        doctor_advise(row, "use https, and leave out insecure=yes");
    }
}

/* ---- Storage -------------------------------------------------------------------------------- */

/* Its version where it tells it; "" else. */
static void
ask_version(struct sf_doctor *d, char *out, size_t size)
{
    struct doctor_reply a = {0};
    out[0] = '\0';
    int rc = doctor_ask(d, "/storage/v1/version", &a);
    const char *text = sf_buf_str(&a.body);
    size_t n = strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz.-");
    if (rc == 0 && a.status == 200 && n > 0 && n < size && isdigit((unsigned char)*text) &&
        text[n + strspn(text + n, "\r\n")] == '\0') {
        memcpy(out, text, n);
        out[n] = '\0';
    }
    doctor_reply_fini(&a);
}

/* Storage answers in JSON, also when it refuses; a gateway for itself in HTML or a line. */
static bool
is_json(const struct doctor_reply *a)
{
    const char *body = sf_buf_str(&a->body);
    body += strspn(body, " \t\r\n");
    return *body == '{' || *body == '[';
}

void
check_storage(struct sf_doctor *d, struct sf_doctor_row *row)
{
    const struct doctor_reply *a = doctor_first(d);
    char text[256], version[40];
    int rc = doctor_meaning(a, text, sizeof text);
    if (a->status >= 300 && a->status < 400) {
        doctor_say(row, SF_DOCTOR_FAIL, "the address redirects (HTTP %d%s%s)", a->status,
                   *a->location ? " to " : "", a->location);
        doctor_advise(row, "give the address that it leads to, or the project's own; redirects "
                           "are not followed, for the key would go along");
    } else if (a->status == 540) {
        doctor_say(row, SF_DOCTOR_FAIL, "the project is paused");
        doctor_advise(row, "resume it in the dashboard");
    } else if (a->status >= 500) {
        doctor_say(row, SF_DOCTOR_FAIL, "the service fails: %s", text);
        doctor_advise(row, "look at the project's status and logs, and try again later");
    } else if (!is_json(a) || rc == -EOPNOTSUPP) {
        doctor_say(row, SF_DOCTOR_FAIL, "what answers there is no Storage service (HTTP %d)",
                   a->status);
        doctor_advise(row, "check the URL: that of the project, without a path");
    } else {
        ask_version(d, version, sizeof version);
        doctor_say(row, SF_DOCTOR_OK, "Storage answers%s%s%s", *version ? " (version " : "",
                   version, *version ? ")" : "; it does not tell its version");
    }
}

void
check_clock(struct sf_doctor *d, struct sf_doctor_row *row)
{
    const struct doctor_reply *a = doctor_first(d);
    int64_t off = a->got_s - a->date_s;
    if (!a->date_s) {
        doctor_say(row, SF_DOCTOR_OK, "the service does not tell its time");
        return;
    }
    if (llabs(off) < SKEW_WARN_S) {
        doctor_say(row, SF_DOCTOR_OK, "within %" PRId64 " s of the service's",
                   (int64_t)llabs(off) + 1);
        return;
    }
    doctor_say(row, llabs(off) < SKEW_FAIL_S ? SF_DOCTOR_WARN : SF_DOCTOR_FAIL,
               "this machine's clock is %" PRId64 " s %s the service's: times of files are wrong, "
               "and tokens seem to begin or end at other times",
               (int64_t)llabs(off), off > 0 ? "ahead of" : "behind");
    doctor_advise(row, "let the system keep the time: timedatectl set-ntp true");
}

void
check_access(struct sf_doctor *d, struct sf_doctor_row *row)
{
    const struct doctor_reply *a = doctor_first(d);
    char text[256];
    int rc = doctor_meaning(a, text, sizeof text);
    if (rc == 0) {
        doctor_say(row, SF_DOCTOR_OK, "the project accepts the key");
        return;
    }
    doctor_say(row, SF_DOCTOR_FAIL, "the project refuses: %s", text);
    if (rc == -EKEYEXPIRED)
        doctor_advise(row, "put a new key in its place, from the project's settings");
    else if (rc == -EKEYREJECTED)
        doctor_advise(row, "it is a key of another project, or one that was revoked: take one "
                           "from this project's settings");
    else if (rc == -EDQUOT)
        doctor_advise(row, "look at the project's usage in the dashboard");
    else
        doctor_advise(row, "look at the project's logs in the dashboard");
}
