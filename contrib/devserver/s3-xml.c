/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3-xml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "text.h"

#define SPACE   " \t\r\n"
#define TAG_MAX 64

struct scan {
    const char *at, *end;
    bool (*event)(void *arg, enum ds_xml_event what, const char *path, const char *text);
    void *arg;
    struct ds_buf path;
    struct ds_buf text; /* of the element that is open */
    size_t depth;
    size_t names[DS_XML_DEPTH]; /* lengths of `path` before each element */
    bool leaf;                  /* the innermost open element has no others so far */
    bool root_done;
};

static bool
next_is(const struct scan *scan, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(scan->end - scan->at) >= n && memcmp(scan->at, text, n) == 0;
}

static void
skip_space(struct scan *scan)
{
    while (scan->at < scan->end && strchr(SPACE, *scan->at))
        scan->at++;
}

static bool
name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == ':';
}

/* A name without its prefix. */
static bool
read_name(struct scan *scan, const char **name, size_t *len)
{
    const char *from = scan->at;
    while (scan->at < scan->end && name_char(*scan->at))
        scan->at++;
    *len = (size_t)(scan->at - from);
    if (*len == 0 || *len > TAG_MAX)
        return false;
    const char *colon = memchr(from, ':', *len);
    *name = colon ? colon + 1 : from;
    *len -= (size_t)(*name - from);
    return *len > 0 && colon != from && !memchr(*name, ':', *len);
}

/* Skips attributes up to '>' or "/>". */
static bool
skip_attributes(struct scan *scan)
{
    for (;;) {
        const char *before = scan->at, *name;
        size_t len;
        skip_space(scan);
        if (scan->at < scan->end && (*scan->at == '>' || *scan->at == '/'))
            return true;
        if (scan->at == before || !read_name(scan, &name, &len))
            return false;
        skip_space(scan);
        if (!next_is(scan, "="))
            return false;
        scan->at++;
        skip_space(scan);
        char quote = scan->at < scan->end ? *scan->at : '\0';
        if (quote != '"' && quote != '\'')
            return false;
        const char *close = memchr(scan->at + 1, quote, (size_t)(scan->end - scan->at - 1));
        if (!close || memchr(scan->at, '<', (size_t)(close - scan->at)))
            return false;
        scan->at = close + 1;
    }
}

static bool
add_code_point(struct ds_buf *out, unsigned long c)
{
    char bytes[4];
    size_t n;
    if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || (c >= 0xd800 && c < 0xe000) ||
        c > 0x10ffff)
        return false;
    if (c < 0x80) {
        bytes[0] = (char)c;
        n = 1;
    } else if (c < 0x800) {
        bytes[0] = (char)(0xc0 | c >> 6);
        n = 2;
    } else if (c < 0x10000) {
        bytes[0] = (char)(0xe0 | c >> 12);
        n = 3;
    } else {
        bytes[0] = (char)(0xf0 | c >> 18);
        n = 4;
    }
    for (size_t i = 1; i < n; i++)
        bytes[i] = (char)(0x80 | ((c >> 6 * (n - 1 - i)) & 0x3f));
    ds_buf_add(out, bytes, n);
    return true;
}

static bool
add_entity(struct ds_buf *out, const char *text, size_t len)
{
    static const struct {
        const char *name;
        char c;
    } named[] = {{"amp", '&'}, {"lt", '<'}, {"gt", '>'}, {"quot", '"'}, {"apos", '\''}};
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        if (strlen(named[i].name) == len && memcmp(named[i].name, text, len) == 0) {
            ds_buf_add(out, &named[i].c, 1);
            return true;
        }
    }
    bool hex = len > 1 && text[1] == 'x';
    const char *digits = hex ? "0123456789abcdefABCDEF" : "0123456789";
    size_t first = hex ? 2 : 1;
    char copy[12] = "";
    if (len <= first || len - first >= sizeof copy || text[0] != '#')
        return false;
    memcpy(copy, text + first, len - first);
    return strspn(copy, digits) == len - first &&
           add_code_point(out, strtoul(copy, NULL, hex ? 16 : 10));
}

/* Text up to the next '<'. Outside of the root there may only be space. */
static bool
read_text(struct scan *scan)
{
    while (scan->at < scan->end && *scan->at != '<') {
        const char *from = scan->at;
        if (scan->depth == 0 && !strchr(SPACE, *from))
            return false;
        if (*from == '&') {
            const char *end = memchr(from, ';', (size_t)(scan->end - from));
            if (!end || !add_entity(&scan->text, from + 1, (size_t)(end - from - 1)))
                return false;
            scan->at = end + 1;
            continue;
        }
        if ((unsigned char)*from < 0x20 && !strchr(SPACE, *from))
            return false;
        ds_buf_add(&scan->text, from, 1);
        scan->at++;
    }
    return true;
}

static bool
only_space(const struct scan *scan)
{
    return scan->text.len == 0 || strspn(scan->text.data, SPACE) == scan->text.len;
}

static bool
tell(struct scan *scan, enum ds_xml_event what)
{
    const char *text = "";
    if (what == DS_XML_CLOSE && scan->leaf && scan->text.len > 0)
        text = scan->text.data;
    else if (what == DS_XML_CLOSE && !only_space(scan))
        return false; /* text between elements */
    return !scan->path.failed && !scan->text.failed &&
           scan->event(scan->arg, what, scan->path.data, text);
}

static void
clear_text(struct scan *scan)
{
    scan->text.len = 0;
    if (scan->text.data)
        scan->text.data[0] = '\0';
}

static bool
open_element(struct scan *scan, const char *name, size_t len)
{
    if (scan->depth == DS_XML_DEPTH || scan->root_done || !only_space(scan))
        return false;
    clear_text(scan);
    scan->names[scan->depth++] = scan->path.len;
    if (scan->path.len > 0)
        ds_buf_add(&scan->path, "/", 1);
    ds_buf_add(&scan->path, name, len);
    scan->leaf = true;
    return tell(scan, DS_XML_OPEN);
}

static bool
close_element(struct scan *scan)
{
    if (!tell(scan, DS_XML_CLOSE))
        return false;
    clear_text(scan);
    scan->path.len = scan->names[--scan->depth];
    scan->path.data[scan->path.len] = '\0';
    scan->leaf = false;
    scan->root_done = scan->depth == 0;
    return true;
}

static bool
is_innermost(const struct scan *scan, const char *name, size_t len)
{
    if (scan->depth == 0)
        return false;
    const char *open = scan->path.data + scan->names[scan->depth - 1];
    open += *open == '/';
    return strlen(open) == len && memcmp(open, name, len) == 0;
}

static bool
read_tag(struct scan *scan)
{
    const char *name;
    size_t len;
    scan->at++;
    bool end = next_is(scan, "/");
    scan->at += end;
    if (!read_name(scan, &name, &len))
        return false;
    if (end) {
        skip_space(scan);
        if (!next_is(scan, ">") || !is_innermost(scan, name, len))
            return false;
        scan->at++;
        return close_element(scan);
    }
    if (!skip_attributes(scan))
        return false;
    bool empty = next_is(scan, "/>");
    if (!empty && !next_is(scan, ">"))
        return false;
    scan->at += empty ? 2 : 1;
    return open_element(scan, name, len) && (!empty || close_element(scan));
}

static bool
read_declaration(struct scan *scan)
{
    if (next_is(scan, "\xef\xbb\xbf"))
        scan->at += 3;
    if (!next_is(scan, "<?xml"))
        return true;
    while (scan->at < scan->end && !next_is(scan, "?>"))
        scan->at++;
    if (scan->at == scan->end)
        return false;
    scan->at += 2;
    return true;
}

int
ds_xml_read(const char *document, size_t len,
            bool (*event)(void *arg, enum ds_xml_event what, const char *path, const char *text),
            void *arg)
{
    struct scan scan = {.at = document, .end = document + len, .event = event, .arg = arg};
    bool fine = len > 0 && ds_utf8_valid(document, len) && !memchr(document, '\0', len) &&
                read_declaration(&scan);
    while (fine && scan.at < scan.end)
        fine = *scan.at == '<' ? read_tag(&scan) : read_text(&scan);
    bool no_memory = scan.path.failed || scan.text.failed;
    fine = fine && scan.root_done;
    ds_buf_fini(&scan.path);
    ds_buf_fini(&scan.text);
    return no_memory ? -ENOMEM : fine ? 0 : -EBADMSG;
}

/* ---- writing ---- */

void
ds_xml_add_text(struct ds_buf *out, const char *text)
{
    for (; *text; text++) {
        size_t plain = strcspn(text, "&<>\r");
        ds_buf_add(out, text, plain);
        text += plain;
        switch (*text) {
        case '&':
            ds_buf_adds(out, "&amp;");
            break;
        case '<':
            ds_buf_adds(out, "&lt;");
            break;
        case '>':
            ds_buf_adds(out, "&gt;");
            break;
        case '\r':
            ds_buf_adds(out, "&#xD;");
            break;
        default:
            return;
        }
    }
}

void
ds_xml_add(struct ds_buf *out, const char *name, const char *text)
{
    if (!*text) {
        ds_buf_addf(out, "<%s/>", name);
        return;
    }
    ds_buf_addf(out, "<%s>", name);
    ds_xml_add_text(out, text);
    ds_buf_addf(out, "</%s>", name);
}

void
ds_xml_add_number(struct ds_buf *out, const char *name, long long value)
{
    ds_buf_addf(out, "<%s>%lld</%s>", name, value, name);
}

void
ds_xml_add_time(struct ds_buf *out, const char *name, long long ms)
{
    char text[DS_ISO_SIZE];
    ds_time_iso(ms, text);
    ds_buf_addf(out, "<%s>%s</%s>", name, text, name);
}
