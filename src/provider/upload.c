/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/upload.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "observe/counter.h"
#include "provider/upload-read.h"

#define ROUNDS        3    /* times that a file is sent, when it is not known to be there */
#define LOOKS         2    /* at the list, before it is sent again */
#define LOOK_AGAIN_MS 1000 /* what was sent last may be on its way into the list */
#define AGAIN_MS      500
#define AGAIN_MAX_MS  10000
#define POLL_MS       500
#define POLL_MAX_MS   5000
#define MISSES        2 /* a new file may not be in the list yet */

struct upload {
    struct provider_op op; /* first */
    struct provider_call call;
    struct provider_walk walk;
    struct provider_src *src;
    struct provider_pass *pass; /* of the attempt under way */
    uint64_t size;
    char *name, *mime, *purpose;
    char told_name[256]; /* as the provider's list shows it */
    int64_t deadline_ms, first_ms;
    struct sf_provider_progress *progress, own;
    bool (*is_other)(void *arg, const char *id);
    sf_provider_uploaded_fn fn;
    void *other_arg, *arg;

    struct sf_provider_uploaded result;
    unsigned rounds, looks, polls, misses;
    bool cancelled;
    uint64_t timer; /* 0 = does not wait */
    void (*step)(struct upload *u);
};

static void
upload_free(struct upload *u)
{
    if (u->src) {
        provider_src_stop(u->src);
        provider_src_unref(u->src);
    }
    free(u->name);
    free(u->mime);
    free(u->purpose);
    free(u);
}

static void
finish(struct upload *u)
{
    u->fn(u->arg, &u->result);
    provider_op_end(&u->op);
    upload_free(u);
}

static void
finish_with(struct upload *u, const struct sf_provider_fault *fault)
{
    u->result.fault = *fault;
    finish(u);
}

/* ---- waits ----------------------------------------------------------------------------------- */

static void
on_step(void *arg)
{
    struct upload *u = arg;
    u->timer = 0;
    if (u->cancelled) {
        provider_fault_cancelled(&u->result.fault);
        finish(u);
    } else {
        u->step(u);
    }
}

/* Go on with @step after a while; when that is too late, end with the fault that is in the result.
 */
static void
later(struct upload *u, int64_t ms, void (*step)(struct upload *u))
{
    int64_t now = sf_clock_ms();
    u->step = step;
    if (u->cancelled)
        provider_fault_cancelled(&u->result.fault);
    else if (ms < u->deadline_ms - now)
        u->timer = sf_http_timer(u->op.p->http, now + ms, on_step, u);
    if (!u->timer)
        finish(u);
}

/* ---- until it is ready ----------------------------------------------------------------------- */

static void accept_file(struct upload *u, const struct sf_provider_file *file);

static void
poll_missed(struct upload *u, const struct sf_provider_fault *fault)
{
    struct sf_provider_file same = u->result.file;
    if (fault->cls == SF_PC_NOT_FOUND && u->misses++ < MISSES)
        accept_file(u, &same);
    else
        finish_with(u, fault);
}

static void
poll_said(struct provider_call *c, const struct sf_provider_said *said)
{
    struct upload *u = (struct upload *)(void *)((char *)c - offsetof(struct upload, call));
    struct sf_provider_file file;
    struct sf_provider_fault fault;
    if (said->fault->cls != SF_PC_OK) {
        poll_missed(u, said->fault);
    } else if (sf_provider_parse_file(c->p->conf->type, said->body, said->len, &file) ||
               strcmp(file.id, u->result.file.id) != 0) {
        (void)sf_provider_fault_set(&fault, SF_PC_PROTOCOL, "not the file that was asked for");
        finish_with(u, &fault);
    } else {
        accept_file(u, &file);
    }
}

static int
poll_each(void *arg, const struct sf_provider_file *file)
{
    struct upload *u = arg;
    if (strcmp(file->id, u->result.file.id) != 0)
        return 0;
    u->result.file = *file;
    u->misses = 0;
    return 1;
}

static void
poll_walked(struct provider_walk *w, const struct sf_provider_fault *fault)
{
    struct upload *u = w->arg;
    struct sf_provider_fault missing;
    struct sf_provider_file file = u->result.file;
    if (fault->cls != SF_PC_OK) {
        finish_with(u, fault);
    } else if (u->misses) {
        (void)sf_provider_fault_set(&missing, SF_PC_NOT_FOUND, "it is not in the list of files");
        u->misses--;
        poll_missed(u, &missing);
    } else {
        accept_file(u, &file);
    }
}

static void
poll_now(struct upload *u)
{
    struct sf_provider *p = u->op.p;
    if (p->conf->type->get_by_id) {
        u->call = (struct provider_call){
            .p = p, .route = SF_PROUTE_FILE, .deadline_ms = u->deadline_ms, .done = poll_said};
        snprintf(u->call.id, sizeof u->call.id, "%s", u->result.file.id);
        provider_call_start(&u->call);
        return;
    }
    u->misses++; /* until it is found */
    u->walk = (struct provider_walk){.each = poll_each, .done = poll_walked, .arg = u};
    u->walk.call.p = p;
    u->walk.call.deadline_ms = u->deadline_ms;
    provider_walk_start(&u->walk);
}

/* The provider has it: is it ready? */
static void
accept_file(struct upload *u, const struct sf_provider_file *file)
{
    struct sf_provider_fault *fault = &u->result.fault;
    u->result.file = *file;
    switch (file->state) {
    case SF_PF_READY:
        *fault = (struct sf_provider_fault){.retry_after_ms = -1};
        finish(u);
        break;
    case SF_PF_FAILED:
        (void)sf_provider_fault_set(fault, SF_PC_EXTRACT, "%s",
                                    file->details[0] ? file->details
                                                     : "the provider does not say why");
        finish(u);
        break;
    case SF_PF_PENDING:
        atomic_store(&u->progress->pending, true);
        (void)sf_provider_fault_set(fault, SF_PC_TIMEOUT,
                                    "the provider has the file, and was not ready with it in time");
        later(u, provider_backoff_ms(u->polls++, POLL_MS, POLL_MAX_MS), poll_now);
        break;
    }
}

/* ---- is it there after all? ------------------------------------------------------------------ */

static void send_file(struct upload *u);

/* When the first attempt began, on the provider's clock, or before that: its Date tells seconds. */
static int64_t
since_s(const struct upload *u)
{
    int64_t ago = (sf_clock_ms() - u->first_ms + 999) / 1000;
    int64_t now = u->walk.date_s ? u->walk.date_s : sf_wall_ns() / 1000000000;
    return now - ago - 1;
}

static int
look_each(void *arg, const struct sf_provider_file *file)
{
    struct upload *u = arg;
    if (strcmp(file->filename, u->told_name) != 0 || file->bytes != u->size ||
        file->created_s < since_s(u) || file->state == SF_PF_FAILED)
        return 0;
    if (u->is_other && u->is_other(u->other_arg, file->id))
        return 0;
    if (!u->result.file.id[0] || file->created_s >= u->result.file.created_s)
        u->result.file = *file;
    return 0;
}

static void look(struct upload *u);

static void
looked(struct provider_walk *w, const struct sf_provider_fault *fault)
{
    struct upload *u = w->arg;
    struct sf_provider_file file = u->result.file;
    if (fault->cls != SF_PC_OK) {
        u->result.file = (struct sf_provider_file){0};
        if (u->cancelled)
            u->result.fault = *fault;
        finish(u); /* what lost the reply says more */
    } else if (file.id[0]) {
        u->result.adopted = true;
        u->result.open = false;
        sf_count(SF_C_PROVIDER_ADOPTED, 1);
        accept_file(u, &file);
    } else if (++u->looks < LOOKS) {
        later(u, LOOK_AGAIN_MS, look);
    } else if (u->rounds < ROUNDS) {
        later(u, provider_backoff_ms(u->rounds - 1, AGAIN_MS, AGAIN_MAX_MS), send_file);
    } else {
        finish(u);
    }
}

static void
look(struct upload *u)
{
    struct sf_provider *p = u->op.p;
    u->walk = (struct provider_walk){.each = look_each, .done = looked, .arg = u};
    u->walk.call.p = p;
    u->walk.call.purpose = u->purpose;
    u->walk.call.deadline_ms = u->deadline_ms;
    provider_walk_start(&u->walk);
}

/* ---- send it --------------------------------------------------------------------------------- */

static void
end_pass(struct upload *u)
{
    if (u->pass)
        provider_pass_end(u->pass);
    u->pass = NULL;
}

/* Give an attempt its body. */
static int
attach(struct provider_call *c, struct sf_http_req *req)
{
    struct upload *u = (struct upload *)(void *)((char *)c - offsetof(struct upload, call));
    struct sf_buf head = SF_BUF_INIT, tail = SF_BUF_INIT;
    char type[80];
    end_pass(u);
    atomic_store(&u->progress->whole, false);
    atomic_store(&u->progress->sent, 0);
    int rc = sf_provider_form(u->purpose, u->name, u->mime, type, &head, &tail);
    if (!rc)
        rc = sf_http_req_header(req, "Content-Type", type);
    if (!rc)
        rc = provider_pass_new(c->p, u->src, &u->progress->whole, &u->pass);
    if (rc) {
        sf_buf_fini(&head);
        sf_buf_fini(&tail);
        return rc;
    }
    sf_http_req_body_source(req, u->size, provider_pass_take, u->pass);
    sf_http_req_body_frame(req, head.data, head.len, tail.data, tail.len);
    sf_http_req_progress(req, &u->progress->sent, 0);
    if (!u->first_ms)
        u->first_ms = sf_clock_ms();
    u->result.attempts++;
    sf_count(SF_C_PROVIDER_UPLOADS, 1);
    return 0;
}

static void
submitted(struct provider_call *c, uint64_t http_id)
{
    struct upload *u = (struct upload *)(void *)((char *)c - offsetof(struct upload, call));
    provider_pass_wakes(u->pass, http_id);
}

static bool
may_send_again(struct upload *u)
{
    const struct sf_provider_fault *f = &u->result.fault;
    switch (sf_provider_class_info(f->cls)->again) {
    case SF_PA_SOON:
        return u->rounds < ROUNDS;
    case SF_PA_ONCE:
        return u->rounds < 2;
    case SF_PA_NO:
        break;
    }
    return false;
}

/* No success. */
static void
not_sent(struct upload *u, bool open)
{
    if (open)
        u->result.open = true;
    if (u->cancelled || u->result.fault.err == -ECANCELED || !may_send_again(u)) {
        finish(u);
    } else if (open) {
        u->looks = 0;
        look(u);
    } else if (u->call.open) { /* cut before the end of the file: nobody can have taken it */
        later(u, provider_backoff_ms(u->rounds - 1, AGAIN_MS, AGAIN_MAX_MS), send_file);
    } else {
        finish(u); /* call.c has tried what there is to try */
    }
}

static void
sent(struct provider_call *c, const struct sf_provider_said *said)
{
    struct upload *u = (struct upload *)(void *)((char *)c - offsetof(struct upload, call));
    struct sf_provider_file file;
    int error = u->pass ? provider_pass_error(u->pass) : 0;
    bool open = said->open && atomic_load(&u->progress->whole);
    end_pass(u);
    u->result.fault = *said->fault;
    if (u->cancelled && said->fault->cls != SF_PC_OK) /* its source was stopped: no failure of it */
        provider_fault_cancelled(&u->result.fault);
    if (said->fault->cls == SF_PC_OK) {
        if (sf_provider_parse_file(c->p->conf->type, said->body, said->len, &file) == 0) {
            accept_file(u, &file);
            return;
        }
        (void)sf_provider_fault_set(&u->result.fault, SF_PC_PROTOCOL,
                                    "an answer to an upload that names no file");
        u->result.open = true;
        finish(u);
    } else if (error && said->fault->http == 0 && !u->cancelled) {
        (void)sf_provider_fault_set(&u->result.fault, SF_PC_INVALID,
                                    "the bytes of the file cannot be read: %s",
                                    sf_errno_name(error));
        u->result.fault.err = error;
        finish(u);
    } else {
        not_sent(u, open);
    }
}

static void
send_file(struct upload *u)
{
    u->rounds++;
    u->call = (struct provider_call){.p = u->op.p,
                                     .route = SF_PROUTE_UPLOAD,
                                     .deadline_ms = u->deadline_ms,
                                     .attach = attach,
                                     .submitted = submitted,
                                     .done = sent};
    provider_call_start(&u->call);
}

/* ---- begin and end --------------------------------------------------------------------------- */

static void
upload_begin(struct provider_op *op)
{
    struct upload *u = (struct upload *)(void *)op;
    const struct sf_provider_facts facts = {.size = u->size, .name = u->name, .mime = u->mime};
    if (sf_provider_check(op->p->conf, &facts, &u->result.fault))
        finish(u);
    else
        send_file(u);
}

static void
upload_cancel(struct provider_op *op)
{
    struct upload *u = (struct upload *)(void *)op;
    u->cancelled = true;
    provider_src_stop(u->src);
    if (u->call.running)
        provider_call_cancel(&u->call);
    else if (u->walk.call.running)
        provider_call_cancel(&u->walk.call);
    else if (u->timer && sf_http_timer_cancel(op->p->http, u->timer))
        on_step(u);
}

static bool
copy_text(const char *text, char **out)
{
    *out = text ? strdup(text) : NULL;
    return !text || *out;
}

uint64_t
sf_provider_upload(struct sf_provider *p, const struct sf_provider_upload *up,
                   sf_provider_uploaded_fn fn, void *arg)
{
    struct upload *u = calloc(1, sizeof *u);
    if (!u)
        return 0;
    u->op.begin = upload_begin;
    u->op.cancel = upload_cancel;
    u->size = up->source.size;
    u->deadline_ms = up->deadline_ms ? up->deadline_ms : sf_clock_ms() + p->conf->upload_ms;
    u->progress = up->progress ? up->progress : &u->own;
    u->is_other = up->is_other;
    u->other_arg = up->arg;
    u->fn = fn;
    u->arg = arg;
    u->result.fault.retry_after_ms = -1;
    u->src = provider_src_new(&up->source);
    if (!u->src || !copy_text(up->source.name, &u->name) || !copy_text(up->source.mime, &u->mime) ||
        !copy_text(up->purpose ? up->purpose : p->conf->purpose, &u->purpose)) {
        upload_free(u);
        return 0;
    }
    sf_provider_filename(u->name, u->told_name);
    provider_src_releases(u->src, up->source.release); /* perhaps before the next line is over */
    uint64_t id = provider_op_start(p, &u->op);
    if (!id) {
        provider_src_releases(u->src, NULL);
        upload_free(u);
    }
    return id;
}
