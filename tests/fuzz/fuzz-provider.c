/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdbool.h>

#include "base/buf.h"
#include "fuzz.h"
#include "provider/provider.h"

/* First byte: which reader. The rest: the reply of a provider, or a name. */

static const struct sf_provider_type *
type(const char *name)
{
    const struct sf_provider_type *t = sf_provider_type_find(name);
    REQUIRE(t);
    return t;
}

/* A text for people, as UTF-8: nothing in it steers a terminal. */
static void
presentable(const char *text)
{
    for (const char *p = text; *p; p++)
        REQUIRE((unsigned char)*p >= ' ' && *p != 0x7f);
}

/* ---- errors --------------------------------------------------------------------------------- */

static const char *
no_header(void *arg, const char *name)
{
    (void)name;
    return arg;
}

/* Whatever comes is one of the classes, with a sentence that can be shown and holds no id. */
static void
fault(const struct sf_provider_type *t, int status, const char *body, size_t len, char *header)
{
    const struct sf_provider_reply reply = {
        .status = status, .body = body, .len = len, .header = no_header, .arg = header};
    struct sf_provider_fault f, again;
    int rc = sf_provider_fault_of(t, &reply, &f);
    REQUIRE((unsigned)f.cls < SF_PC_COUNT_OF && rc == f.err);
    REQUIRE(f.err == sf_provider_class_info(f.cls)->err);
    REQUIRE((f.cls == SF_PC_OK) == (f.text[0] == '\0') && (f.cls == SF_PC_OK) == (rc == 0));
    REQUIRE(f.cls != SF_PC_OK || (status >= 200 && status < 300));
    REQUIRE(f.retry_after_ms >= -1 && f.retry_after_ms <= 24 * 3600 * 1000);
    REQUIRE(memchr(f.text, '\0', sizeof f.text) && memchr(f.code, '\0', sizeof f.code));
    fuzz_printable(f.text);
    fuzz_printable(f.code);
    fuzz_printable(f.request_id);
    sf_provider_fault_of(t, &reply, &again);
    REQUIRE(memcmp(&f, &again, sizeof f) == 0);
}

static void
errors(char *text, size_t len)
{
    static const int statuses[] = {200, 302, 400, 401, 403, 404, 429, 434, 500, 503};
    char retry[] = "7";
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        fault(NULL, statuses[i], text, len, NULL);
        fault(type("kimi"), statuses[i], text, len, retry);
        fault(type("glm"), statuses[i], text, len, text); /* and hostile headers */
    }
}

/* A key or an account's id in the midst of a message does not come out. */
static void
planted(char *text, size_t len)
{
    static const char *const secrets[] = {"sk-0123456789abcdefghij", "org-07cd14fb02ea4e6c",
                                          "ak-eu8nqsdi6xdi", "proj-77aa88bb99cc"};
    for (char *p = text; *p; p++)
        if (*p == '"' || *p == '\\' || *p < ' ')
            *p = ' ';
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        sf_autofree char *body = NULL;
        struct sf_provider_fault f;
        /* In the midst of a word it is no id. */
        if (strstr(text, secrets[i]) || strstr(text + len / 2, secrets[i]))
            continue;
        int n = asprintf(&body, "{\"error\":{\"type\":\"x\",\"message\":\"%.*s <%s> %s\"}}",
                         (int)(len / 2), text, secrets[i], text + len / 2);
        REQUIRE(n > 0);
        const struct sf_provider_reply reply = {.status = 400, .body = body, .len = (size_t)n};
        sf_provider_fault_of(NULL, &reply, &f);
        REQUIRE(!strstr(f.text, secrets[i]));
    }
}

/* ---- files and lists ------------------------------------------------------------------------ */

static void
look_at(const struct sf_provider_file *f)
{
    REQUIRE(sf_provider_id_ok(f->id) && !strchr(f->id, '/'));
    REQUIRE(f->bytes <= INT64_MAX && f->created_s >= 0 && f->expires_s >= 0);
    REQUIRE(f->state == SF_PF_READY || f->state == SF_PF_PENDING || f->state == SF_PF_FAILED);
    presentable(f->filename);
    presentable(f->purpose);
    presentable(f->details);
    /* An id leads to no other route than its own. */
    sf_autobuf struct sf_buf url = SF_BUF_INIT;
    REQUIRE(sf_provider_url(type("kimi"), SF_PROUTE_DELETE, "http://h/v1", f->id, NULL, NULL,
                            &url) == 0);
    REQUIRE(!memcmp(url.data, "http://h/v1/files/", 18) && !strpbrk(url.data + 18, "/?# "));
}

static void
file(char *text, size_t len)
{
    struct sf_provider_file f;
    int rc = sf_provider_parse_file(type("kimi"), text, len, &f);
    REQUIRE(rc == 0 || rc == -EPROTO);
    if (rc == 0)
        look_at(&f);
    rc = sf_provider_parse_deleted(text, len, "a1");
    REQUIRE(rc == 0 || rc == -EPROTO);
}

struct page {
    size_t n;
    char last[SF_PROVIDER_ID_MAX + 1];
};

static int
take(void *arg, const struct sf_provider_file *f)
{
    struct page *p = arg;
    look_at(f);
    memcpy(p->last, f->id, sizeof p->last);
    p->n++;
    return 0;
}

static void
list(char *text, size_t len)
{
    struct page p = {0};
    char after[SF_PROVIDER_ID_MAX + 1], again[SF_PROVIDER_ID_MAX + 1];
    bool more = false;
    int rc = sf_provider_parse_list(type("glm"), text, len, NULL, take, &p, after, &more);
    REQUIRE(rc == 0 || (rc == -EPROTO && p.n == 0));
    if (rc)
        return;
    REQUIRE(strcmp(after, p.last) == 0 && (!more || p.n > 0));
    /* The same page once more is the last one. */
    REQUIRE(sf_provider_parse_list(type("glm"), text, len, after, take, &p, again, &more) == 0);
    REQUIRE(!more);
}

/* ---- names ---------------------------------------------------------------------------------- */

/* A name stays one line between quotes, and is the same when it is told again. */
static void
name(char *text, size_t len)
{
    char once[256], twice[256], line[80];
    sf_autobuf struct sf_buf head = SF_BUF_INIT, tail = SF_BUF_INIT;
    (void)len;
    sf_provider_filename(text, once);
    presentable(once);
    REQUIRE(once[0] && !strpbrk(once, "\"\\/%") && strlen(once) <= 200);
    sf_provider_filename(once, twice);
    REQUIRE(strcmp(once, twice) == 0);
    sf_provider_marked_name(text, "2cf24dba5fb0a30e", once);
    sf_provider_filename(once, twice);
    REQUIRE(strcmp(once, twice) == 0 && strstr(once, "-2cf24dba5fb0"));
    REQUIRE(sf_provider_form("agent", text, text, line, &head, &tail) == 0);
    size_t lines = 0;
    for (size_t i = 0; i < head.len; i++)
        lines += head.data[i] == '\n';
    REQUIRE(lines == 8 && strlen(head.data) == head.len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fuzz_way ways[] = {
        {'e', errors}, {'p', planted}, {'f', file}, {'l', list}, {'n', name}};
    return fuzz_choose(ways, sizeof ways / sizeof *ways, data, size);
}
