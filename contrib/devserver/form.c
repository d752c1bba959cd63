/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "form.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "buf.h"

#define HEAD_MAX (80u << 10) /* of a part, as at the service */

enum state {
    BETWEEN, /* before the first boundary: what comes is dropped */
    MARK,    /* behind a boundary: a line's end, or the two dashes of the last */
    HEAD,
    BODY,
    DONE,
};

struct ds_form {
    const struct ds_form_events *events;
    void *arg;
    char *mark; /* CR LF -- boundary */
    size_t mark_len;
    enum state state;
    struct ds_buf rest; /* what cannot be judged yet */
};

/* The value of a parameter: name=value or name="value", names in any case, also with a star. NULL
 * when it is not there, or there is no memory. */
static char *
parameter(const char *text, const char *name)
{
    size_t name_len = strlen(name);
    for (const char *s = strchr(text, ';'); s; s = strchr(s, ';')) {
        s += 1 + strspn(s + 1, " \t");
        bool mine = strncasecmp(s, name, name_len) == 0;
        const char *at = s + strcspn(s, "=;");
        mine = mine && (s + name_len == at || (s[name_len] == '*' && s + name_len + 1 == at));
        if (*at != '=') {
            s = at;
            continue;
        }
        ds_autobuf value = DS_BUF_INIT;
        ds_buf_adds(&value, "");
        at++;
        if (*at == '"') {
            for (at++; *at && *at != '"'; at++) {
                if (*at == '\\' && at[1])
                    at++;
                ds_buf_add(&value, at, 1);
            }
        } else {
            size_t n = strcspn(at, "; \t");
            ds_buf_add(&value, at, n);
            at += n;
        }
        if (mine)
            return value.len > 0 ? ds_buf_take(&value, NULL) : strdup("");
        s = at;
    }
    return NULL;
}

int
ds_form_new(const char *content_type, const struct ds_form_events *events, void *arg,
            struct ds_form **ret)
{
    sf_autofree char *boundary = parameter(content_type, "boundary");
    if (!boundary)
        return -EINVAL;
    struct ds_form *form = calloc(1, sizeof *form);
    if (!form)
        return -ENOMEM;
    form->events = events;
    form->arg = arg;
    int len = asprintf(&form->mark, "\r\n--%s", boundary);
    if (len < 0) {
        form->mark = NULL;
        ds_form_free(form);
        return -ENOMEM;
    }
    form->mark_len = (size_t)len;
    ds_buf_adds(&form->rest, "\r\n"); /* the first boundary needs no line before it */
    *ret = form;
    return 0;
}

void
ds_form_free(struct ds_form *form)
{
    if (!form)
        return;
    free(form->mark);
    ds_buf_fini(&form->rest);
    free(form);
}

bool
ds_form_is_complete(const struct ds_form *form)
{
    return form->state == DONE;
}

/* The value of a header of a part's head, NUL-terminated copy; NULL when it is not there. */
static char *
header_of(const char *head, size_t len, const char *name)
{
    size_t name_len = strlen(name);
    for (const char *line = head, *end = head + len; line < end;) {
        const char *cr = memmem(line, (size_t)(end - line), "\r\n", 2);
        size_t n = (size_t)((cr ? cr : end) - line);
        if (n > name_len && strncasecmp(line, name, name_len) == 0 && line[name_len] == ':') {
            const char *value = line + name_len + 1;
            while (value < line + n && (*value == ' ' || *value == '\t'))
                value++;
            return strndup(value, (size_t)(line + n - value));
        }
        line = cr ? cr + 2 : end;
    }
    return NULL;
}

static int
begin_part(struct ds_form *form, const char *head, size_t len)
{
    sf_autofree char *disposition = header_of(head, len, "content-disposition");
    sf_autofree char *type = header_of(head, len, "content-type");
    sf_autofree char *name = disposition ? parameter(disposition, "name") : NULL;
    sf_autofree char *filename = disposition ? parameter(disposition, "filename") : NULL;
    if (type)
        type[strcspn(type, "; \t")] = '\0';
    for (char *s = type; s && *s; s++)
        *s = (char)tolower((unsigned char)*s);
    struct ds_form_part part = {
        .name = name,
        .filename = filename,
        .type = type && *type ? type : (char *)(uintptr_t) "text/plain",
        .is_file = filename || (type && strcmp(type, "application/octet-stream") == 0),
    };
    return form->events->begin(form->arg, &part);
}

/* The bytes up to the next boundary, as far as they can be told from one. */
static int
step_body(struct ds_form *form, const char *data, size_t len, size_t *used)
{
    const char *mark = memmem(data, len, form->mark, form->mark_len);
    size_t n = mark ? (size_t)(mark - data) : len < form->mark_len ? 0 : len - form->mark_len + 1;
    int rc = 0;
    if (form->state == BODY && n > 0)
        rc = form->events->data(form->arg, data, n);
    if (form->state == BODY && mark && rc == 0)
        rc = form->events->end(form->arg);
    *used = mark ? n + form->mark_len : n;
    if (mark)
        form->state = MARK;
    return rc < 0 ? rc : mark != NULL;
}

/* Takes one step on what is there; *used is what need not be kept. 1 = there may be more to do. */
static int
step(struct ds_form *form, const char *data, size_t len, size_t *used)
{
    *used = 0;
    if (form->state == BETWEEN || form->state == BODY)
        return step_body(form, data, len, used);
    if (form->state == MARK) {
        if (len < 2)
            return 0;
        *used = 2;
        form->state = memcmp(data, "--", 2) == 0 ? DONE : HEAD;
        return 1;
    }
    if (form->state == HEAD) {
        const char *end = memmem(data, len, "\r\n\r\n", 4);
        if (!end)
            return len > HEAD_MAX ? -EBADMSG : 0;
        *used = (size_t)(end - data) + 4;
        form->state = BODY;
        int rc = begin_part(form, data, (size_t)(end - data));
        return rc < 0 ? rc : 1;
    }
    *used = len;
    return 0;
}

int
ds_form_add(struct ds_form *form, const char *bytes, size_t len)
{
    ds_buf_add(&form->rest, bytes, len);
    if (form->rest.failed)
        return -ENOMEM;
    size_t at = 0, used;
    int rc;
    do {
        rc = step(form, form->rest.data + at, form->rest.len - at, &used);
        at += used;
    } while (rc > 0);
    form->rest.len -= at;
    memmove(form->rest.data, form->rest.data + at, form->rest.len);
    return rc;
}
