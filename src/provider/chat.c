/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "provider/chat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "observe/counter.h"
#include "provider/chat-read.h"
#include "provider/op.h"

#define IDLE_MS     (300 * 1000)
#define PATIENCE_MS (60 * 1000)

struct chat {
    struct provider_op op; /* first */
    struct provider_call call;
    struct sf_provider_chat_fns fns;
    struct sf_buf body;
    size_t sent; /* of it, in this attempt */
    bool whole;
    unsigned idle_ms;
    bool paused;    /* who listens has enough for now */
    bool reading;   /* read is that of an attempt */
    bool succeeded; /* its reply began as one of success */
    struct chat_read read;
    char request_id[80];
    int64_t begun_ms, first_ms;
};

static struct chat *
chat_of(struct provider_call *c)
{
    return (struct chat *)(void *)((char *)c - offsetof(struct chat, call));
}

static void
on_text(void *arg, enum sf_provider_voice voice, const char *text, size_t n)
{
    struct chat *c = arg;
    if (c->first_ms < 0)
        c->first_ms = sf_clock_ms() - c->begun_ms;
    c->call.given = true;
    if (c->fns.delta(c->fns.arg, voice, text, n))
        c->paused = true;
}

/* ---- an attempt -------------------------------------------------------------------------------
 */

static ssize_t
bring(void *arg, char *buf, size_t n)
{
    struct chat *c = arg;
    size_t left = c->body.len - c->sent;
    if (n > left)
        n = left;
    memcpy(buf, c->body.data + c->sent, n);
    c->sent += n;
    return (ssize_t)n;
}

static int
attach(struct provider_call *call, struct sf_http_req *req)
{
    struct chat *c = chat_of(call);
    int rc = sf_http_req_header(req, "Content-Type", "application/json");
    if (rc == 0 && !c->whole)
        rc = sf_http_req_header(req, "Accept", "text/event-stream, application/json");
    if (c->reading)
        provider_chat_read_fini(&c->read);
    provider_chat_read_init(&c->read, call->p->conf->type, on_text, c);
    c->reading = true;
    c->succeeded = false;
    c->request_id[0] = '\0';
    c->sent = 0;
    sf_http_req_body_source(req, c->body.len, bring, c);
    /* Without a stream nothing comes before all is said. */
    sf_http_req_idle(req, c->whole ? 0 : c->idle_ms, c->idle_ms);
    sf_count(SF_C_PROVIDER_CHATS, 1);
    return rc;
}

static const char *
header_of(void *arg, const char *name)
{
    return sf_http_reply_header(arg, name);
}

static int
sink(struct provider_call *call, const struct sf_http_reply *head, const char *data, size_t n)
{
    struct chat *c = chat_of(call);
    if (c->paused)
        return -EAGAIN;
    if (!c->succeeded) {
        const struct sf_provider_reply r = {
            .status = head->status, .header = header_of, .arg = (void *)(uintptr_t)head};
        struct sf_provider_fault none;
        (void)sf_provider_fault_of(call->p->conf->type, &r, &none);
        memcpy(c->request_id, none.request_id, sizeof c->request_id);
        c->succeeded = true;
    }
    return provider_chat_read_feed(&c->read, data, n) ? SF_HTTP_ENOUGH : 0;
}

static void
judge(struct provider_call *call, const struct sf_http_reply *reply)
{
    struct chat *c = chat_of(call);
    struct sf_provider_fault net = call->last;
    bool success = reply->status >= 200 && reply->status < 300;
    if (!success && !c->succeeded) /* an error, or no reply at all */
        return;
    provider_chat_read_end(&c->read, success ? NULL : &net, &call->last);
    if (!c->request_id[0])
        memcpy(c->request_id, net.request_id, sizeof c->request_id);
    if (!call->last.request_id[0])
        memcpy(call->last.request_id, c->request_id, sizeof c->request_id);
}

/* ---- begin and end ----------------------------------------------------------------------------
 */

static void
chat_free(struct chat *c)
{
    if (c->reading)
        provider_chat_read_fini(&c->read);
    sf_buf_fini(&c->body);
    free(c);
}

static enum sf_provider_how
how_it_ended(const struct sf_provider_fault *f, bool given, const char *finish)
{
    if (f->err == -ECANCELED)
        return SF_PE_CANCELLED;
    switch (f->cls) {
    case SF_PC_OK:
        return strcmp(finish, "length") ? SF_PE_STOP : SF_PE_LENGTH;
    case SF_PC_FILTERED:
        return SF_PE_FILTERED;
    case SF_PC_NO_ANSWER:
        return SF_PE_EMPTY;
    default:
        return given ? SF_PE_INCOMPLETE : SF_PE_FAILED;
    }
}

static void
done(struct provider_call *call, const struct sf_provider_said *said)
{
    struct chat *c = chat_of(call);
    const struct chat_read *r = &c->read;
    const char *finish = c->reading ? r->finish : "";
    enum sf_provider_how how = how_it_ended(said->fault, call->given, finish);
    struct sf_provider_chat_end end = {.how = how,
                                       .fault = said->fault,
                                       .finish = finish,
                                       .model = c->reading ? r->model : "",
                                       .truncated = how != SF_PE_STOP && call->given,
                                       .open = said->open,
                                       .attempts = said->attempts,
                                       .first_ms = c->first_ms,
                                       .total_ms = sf_clock_ms() - c->begun_ms};
    if (c->reading)
        end.usage = r->usage;
    c->fns.end(c->fns.arg, &end);
    provider_op_end(&c->op);
    chat_free(c);
}

static void
begin(struct provider_op *op)
{
    provider_call_start(&((struct chat *)(void *)op)->call);
}

static void
cancel(struct provider_op *op)
{
    provider_call_cancel(&((struct chat *)(void *)op)->call);
}

static void
resume(struct provider_op *op)
{
    struct chat *c = (struct chat *)(void *)op;
    c->paused = false;
    if (c->call.http_id)
        sf_http_req_resume(op->p->http, c->call.http_id);
}

uint64_t
sf_provider_chat(struct sf_provider *p, const struct sf_provider_chat *chat,
                 const struct sf_provider_chat_fns *fns, struct sf_provider_fault *out)
{
    struct chat *c = calloc(1, sizeof *c);
    uint64_t id = 0;
    int64_t now = sf_clock_ms();
    if (!c)
        goto nomem;
    c->op.begin = begin;
    c->op.cancel = cancel;
    c->op.resume = resume;
    c->fns = *fns;
    c->whole = chat->whole;
    c->idle_ms = chat->idle_ms ? chat->idle_ms : IDLE_MS;
    c->begun_ms = now;
    c->first_ms = -1;
    sf_buf_init(&c->body);
    if (sf_provider_chat_body(p->conf, chat, &c->body, NULL, out)) {
        chat_free(c);
        return 0;
    }
    c->call = (struct provider_call){.p = p,
                                     .route = SF_PROUTE_CHAT,
                                     .deadline_ms = chat->deadline_ms ? chat->deadline_ms
                                                                      : now + p->conf->chat_ms,
                                     .patience_ms = PATIENCE_MS,
                                     .force = chat->force,
                                     .attach = attach,
                                     .sink = sink,
                                     .judge = judge,
                                     .done = done};
    id = provider_op_start(p, &c->op);
    if (id)
        return id;
    chat_free(c);
nomem:
    (void)sf_provider_fault_set(out, SF_PC_INVALID, "out of memory");
    out->err = -ENOMEM;
    return 0;
}

void
sf_provider_chat_resume(struct sf_provider *p, uint64_t id)
{
    provider_op_resume(p, id);
}

double
sf_provider_cost(const struct sf_provider_price *price, const struct sf_provider_usage *usage)
{
    uint64_t known = usage->cached < usage->prompt ? usage->cached : usage->prompt;
    return ((double)(usage->prompt - known) * price->asked + (double)known * price->known +
            (double)usage->answered * price->answered) /
           1e6;
}
