/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "provider/op.h"

#define MAX_FILES 100000
#define MAX_PAGES 10000

static const struct sf_provider_fault no_fault = {.retry_after_ms = -1};

/* What a reply of success is whose content cannot be used. */
static void
unusable(struct sf_provider_fault *out, int rc, const char *what)
{
    (void)sf_provider_fault_set(out, SF_PC_PROTOCOL, "%s", what);
    if (rc == -ENOMEM)
        out->err = rc;
}

/* ---- a list ---------------------------------------------------------------------------------- */

static int
count_each(void *arg, const struct sf_provider_file *file)
{
    struct provider_walk *w = arg;
    if (++w->files > MAX_FILES)
        return -EPROTO;
    return w->each(w->arg, file) ? 1 : 0;
}

static void
walk_page(struct provider_call *c, const struct sf_provider_said *said)
{
    struct provider_walk *w = (struct provider_walk *)(void *)c;
    struct sf_provider_fault fault = *said->fault;
    char after[SF_PROVIDER_ID_MAX + 1] = "";
    bool more = false;
    if (c->cancelled && fault.cls == SF_PC_OK) /* the page was faster */
        provider_fault_cancelled(&fault);
    if (fault.err) {
        w->done(w, &fault);
        return;
    }
    if (!w->pages++)
        w->date_s = said->date_s;
    int rc = sf_provider_parse_list(c->p->conf->type, said->body, said->len,
                                    c->after[0] ? c->after : NULL, count_each, w, after, &more);
    if (rc < 0)
        unusable(&fault, rc, "not a list of files, or one without an end");
    if (rc || !more || !c->p->conf->type->list_pages) {
        w->done(w, &fault);
        return;
    }
    if (w->pages >= MAX_PAGES) {
        unusable(&fault, 0, "a list of files without an end");
        w->done(w, &fault);
        return;
    }
    snprintf(c->after, sizeof c->after, "%s", after);
    provider_call_start(c);
}

void
provider_walk_start(struct provider_walk *w)
{
    w->call.route = SF_PROUTE_LIST;
    w->call.after[0] = '\0';
    w->call.done = walk_page;
    w->pages = 0;
    w->files = 0;
    w->date_s = 0;
    provider_call_start(&w->call);
}

struct list {
    struct provider_op op; /* first */
    struct provider_walk walk;
    char *purpose;
    char id[SF_PROVIDER_ID_MAX + 1]; /* of the one file that is looked for */
    struct sf_provider_file found;
    sf_provider_file_fn each;
    sf_provider_done_fn done;
    sf_provider_file_done_fn file_done; /* instead of the two before, for one file */
    void *arg;
};

static void
list_begin(struct provider_op *op)
{
    provider_walk_start(&((struct list *)(void *)op)->walk);
}

static void
list_cancel(struct provider_op *op)
{
    provider_call_cancel(&((struct list *)(void *)op)->walk.call);
}

static void
list_free(struct list *l)
{
    free(l->purpose);
    free(l);
}

static void
list_done(struct provider_walk *w, const struct sf_provider_fault *fault)
{
    struct list *l = (struct list *)(void *)((char *)w - offsetof(struct list, walk));
    struct sf_provider_fault missing;
    if (!l->file_done) {
        l->done(l->arg, fault);
    } else if (fault->cls == SF_PC_OK && !l->found.id[0]) {
        (void)sf_provider_fault_set(&missing, SF_PC_NOT_FOUND, "it is not in the list of files");
        l->file_done(l->arg, &missing, NULL);
    } else {
        l->file_done(l->arg, fault, fault->cls == SF_PC_OK ? &l->found : NULL);
    }
    provider_op_end(&l->op);
    list_free(l);
}

static int
list_each(void *arg, const struct sf_provider_file *file)
{
    struct list *l = arg;
    if (l->each)
        return l->each(l->arg, file);
    if (strcmp(file->id, l->id) != 0)
        return 0;
    l->found = *file;
    return 1;
}

static uint64_t
list_start(struct sf_provider *p, struct list *l, const char *purpose, int64_t deadline_ms)
{
    l->op.begin = list_begin;
    l->op.cancel = list_cancel;
    l->purpose = purpose ? strdup(purpose) : NULL;
    l->walk.each = list_each;
    l->walk.arg = l;
    l->walk.done = list_done;
    l->walk.call.p = p;
    l->walk.call.purpose = l->purpose;
    l->walk.call.deadline_ms = provider_deadline(p, deadline_ms);
    uint64_t id = purpose && !l->purpose ? 0 : provider_op_start(p, &l->op);
    if (!id)
        list_free(l);
    return id;
}

uint64_t
sf_provider_files(struct sf_provider *p, const char *purpose, int64_t deadline_ms,
                  sf_provider_file_fn each, sf_provider_done_fn fn, void *arg)
{
    struct list *l = calloc(1, sizeof *l);
    if (!l)
        return 0;
    l->each = each;
    l->done = fn;
    l->arg = arg;
    return list_start(p, l, purpose, deadline_ms);
}

/* ---- one file -------------------------------------------------------------------------------- */

struct one {
    char id[SF_PROVIDER_ID_MAX + 1];
    const struct sf_provider_type *type;
    size_t limit;
    sf_provider_file_done_fn file_done;
    sf_provider_done_fn done;
    sf_provider_text_fn text;
    void *arg;
};

static uint64_t
one_ask(struct sf_provider *p, const struct one *like, const char *id, enum sf_provider_route route,
        int64_t deadline_ms, sf_provider_said_fn fn)
{
    struct one *o = malloc(sizeof *o);
    if (!o)
        return 0;
    *o = *like;
    o->type = p->conf->type;
    snprintf(o->id, sizeof o->id, "%s", id);
    const struct sf_provider_ask ask = {
        .route = route, .id = id, .deadline_ms = deadline_ms, .limit = like->limit};
    uint64_t n = sf_provider_ask(p, &ask, fn, o);
    if (!n)
        free(o);
    return n;
}

static void
file_said(void *arg, const struct sf_provider_said *said)
{
    struct one *o = arg;
    struct sf_provider_file file;
    struct sf_provider_fault fault = *said->fault;
    if (fault.cls == SF_PC_OK) {
        int rc = sf_provider_parse_file(o->type, said->body, said->len, &file);
        if (!rc && strcmp(file.id, o->id) != 0)
            rc = -EPROTO;
        if (rc)
            unusable(&fault, rc, "not the file that was asked for");
    }
    o->file_done(o->arg, &fault, fault.cls == SF_PC_OK ? &file : NULL);
    free(o);
}

uint64_t
sf_provider_file(struct sf_provider *p, const char *id, int64_t deadline_ms,
                 sf_provider_file_done_fn fn, void *arg)
{
    if (p->conf->type->get_by_id || !sf_provider_id_ok(id))
        return one_ask(p, &(struct one){.file_done = fn, .arg = arg}, id, SF_PROUTE_FILE,
                       deadline_ms, file_said);
    struct list *l = calloc(1, sizeof *l);
    if (!l)
        return 0;
    snprintf(l->id, sizeof l->id, "%s", id);
    l->file_done = fn;
    l->arg = arg;
    return list_start(p, l, NULL, deadline_ms);
}

static void
delete_said(void *arg, const struct sf_provider_said *said)
{
    struct one *o = arg;
    struct sf_provider_fault fault = *said->fault;
    if (fault.cls == SF_PC_NOT_FOUND && said->open) /* an attempt before has done it */
        fault = no_fault;
    else if (fault.cls == SF_PC_OK) {
        int rc = sf_provider_parse_deleted(said->body, said->len, o->id);
        if (rc)
            unusable(&fault, rc, "an answer that does not say that the file is deleted");
    }
    o->done(o->arg, &fault);
    free(o);
}

uint64_t
sf_provider_file_delete(struct sf_provider *p, const char *id, int64_t deadline_ms,
                        sf_provider_done_fn fn, void *arg)
{
    return one_ask(p, &(struct one){.done = fn, .arg = arg}, id, SF_PROUTE_DELETE, deadline_ms,
                   delete_said);
}

static void
text_said(void *arg, const struct sf_provider_said *said)
{
    struct one *o = arg;
    o->text(o->arg, said->fault, said->body, said->len);
    free(o);
}

uint64_t
sf_provider_file_text(struct sf_provider *p, const char *id, size_t limit, int64_t deadline_ms,
                      sf_provider_text_fn fn, void *arg)
{
    return one_ask(p, &(struct one){.text = fn, .arg = arg, .limit = limit}, id, SF_PROUTE_CONTENT,
                   deadline_ms, text_said);
}
