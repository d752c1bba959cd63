/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/lock.h"
#include "chat-world.h"
#include "chat/internal.h"
#include "http/http.h"
#include "provider/want.h"

struct world world;

static struct sf_mutex lock = SF_MUTEX_INIT(0); /* of all that follows */
static struct asked questions[64];
static unsigned n_questions;
static struct sf_provider_confs confs = {world.confs, 2};

/* ---- providers that are played --------------------------------------------------------------- */

const struct sf_provider_confs *__wrap_sf_providers_confs(const struct sf_providers *ps);
struct sf_provider *__wrap_sf_providers_one(struct sf_providers *ps, const char *name);
int __wrap_sf_providers_route(struct sf_providers *ps, const struct sf_want_file *file,
                              const struct sf_route_policy *policy, struct sf_route *out);
const char *__wrap_sf_provider_trouble(const struct sf_provider_conf *conf);
uint64_t __wrap_sf_provider_chat(struct sf_provider *p, const struct sf_provider_chat *chat,
                                 const struct sf_provider_chat_fns *fns,
                                 struct sf_provider_fault *out);
void __wrap_sf_provider_cancel(struct sf_provider *p, uint64_t id);
int __wrap_sf_chat_content_get(const struct sf_chat_content_args *args, struct sf_chat_content *out,
                               struct sf_provider_fault *fault);
int __wrap_convs_find(struct sf_convs *cs, const char *bucket, const char *key,
                      struct sf_tree_entry *dir, char file[static 256]);

const struct sf_provider_confs *
__wrap_sf_providers_confs(const struct sf_providers *ps)
{
    (void)ps;
    return &confs;
}

struct sf_provider *
__wrap_sf_providers_one(struct sf_providers *ps, const char *name)
{
    (void)ps;
    return (struct sf_provider *)sf_provider_conf_find(&confs, name);
}

int
__wrap_sf_providers_route(struct sf_providers *ps, const struct sf_want_file *file,
                          const struct sf_route_policy *policy, struct sf_route *out)
{
    (void)ps, (void)file;
    assert_int_equal(policy->need, SF_RN_CHAT);
    *out = (struct sf_route){.n = 2, .taken = 1};
    return 1;
}

const char *
__wrap_sf_provider_trouble(const struct sf_provider_conf *conf)
{
    return conf->trouble;
}

static void
put_messages(const struct sf_provider_chat *chat, char *out, size_t size)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    size_t len = 0;
    out[0] = '\0';
    for (size_t i = 0; i < chat->n; i++)
        for (size_t k = 0; k < chat->messages[i].n && len < size; k++)
            len += (size_t)snprintf(
                out + len, size - len, "%s: %.*s\n", roles[chat->messages[i].role],
                (int)chat->messages[i].parts[k].len, chat->messages[i].parts[k].text);
}

uint64_t
__wrap_sf_provider_chat(struct sf_provider *p, const struct sf_provider_chat *chat,
                        const struct sf_provider_chat_fns *fns, struct sf_provider_fault *out)
{
    const struct sf_provider_conf *conf = (const struct sf_provider_conf *)p;
    SF_GUARD(&lock);
    if (world.refuses) {
        (void)sf_provider_fault_set(out, SF_PC_INVALID, "it cannot be asked so");
        out->err = world.refuses;
        world.refuses = 0;
        return 0;
    }
    assert_true(n_questions < 64);
    struct asked *a = &questions[n_questions++];
    *a = (struct asked){.fns = *fns, .id = 100 + n_questions, .deadline_ms = chat->deadline_ms};
    snprintf(a->provider, sizeof a->provider, "%s", conf->name);
    snprintf(a->model, sizeof a->model, "%s", chat->model ? chat->model : "");
    put_messages(chat, a->text, sizeof a->text);
    return a->id;
}

static void
end_cancelled(void *arg)
{
    finish_as(arg, SF_PE_CANCELLED, SF_PC_NETWORK);
}

void
__wrap_sf_provider_cancel(struct sf_provider *p, uint64_t id)
{
    (void)p;
    SF_GUARD(&lock);
    for (unsigned i = 0; i < n_questions; i++) {
        if (questions[i].id != id || questions[i].cancelled || questions[i].over)
            continue;
        questions[i].cancelled = true;
        assert_int_equal(sf_http_post(world.http, end_cancelled, &questions[i]), 0);
    }
}

int
__wrap_convs_find(struct sf_convs *cs, const char *bucket, const char *key,
                  struct sf_tree_entry *dir, char file[static 256])
{
    (void)cs, (void)bucket, (void)key;
    *dir = (struct sf_tree_entry){.node = SF_TREE_ROOT, .attr = {.mode = S_IFDIR | world.mode}};
    *file = '\0'; /* what it is about is a directory, so no file is looked for */
    return 0;
}

int
__wrap_sf_chat_content_get(const struct sf_chat_content_args *args, struct sf_chat_content *out,
                           struct sf_provider_fault *fault)
{
    struct contents *c = &world.contents;
    struct sf_chat_piece piece = {.how = SF_CHAT_SHOWN_TEXT, .kind = SF_PP_TEXT};
    unsigned n = c->n++;
    while (c->hangs && !args->cancelled(args->arg))
        usleep(500);
    if (args->cancelled(args->arg)) {
        (void)sf_provider_fault_set(fault, SF_PC_INVALID, "cancelled");
        return fault->err = -ECANCELED;
    }
    if (n < 4 && c->fails[n]) {
        (void)sf_provider_fault_set(fault, c->cls, "the content cannot be had");
        return fault->err = c->fails[n];
    }
    piece.key = strdup(args->key);
    const char *text = c->text ? c->text : "some text";
    size_t used;
    assert_int_equal(sf_chat_piece_text(&piece, text, strlen(text), 1000, &used), 0);
    return sf_chat_content_add(out, &piece, args->before);
}

/* ---- what they say --------------------------------------------------------------------------- */

unsigned
asked_count(void)
{
    SF_GUARD(&lock);
    return n_questions;
}

struct asked *
asked(unsigned n)
{
    await(asked_count() >= n);
    return &questions[n - 1];
}

void
say(struct asked *a, const char *text)
{
    a->fns.delta(a->fns.arg, SF_PV_ANSWER, text, strlen(text));
}

void
think(struct asked *a, const char *text)
{
    a->fns.delta(a->fns.arg, SF_PV_REASONING, text, strlen(text));
}

void
finish_as(struct asked *a, enum sf_provider_how how, enum sf_provider_class cls)
{
    struct sf_provider_fault fault = {.err = 0};
    if (cls != SF_PC_OK)
        (void)sf_provider_fault_set(&fault, cls, "%s says no", a->provider);
    if (how == SF_PE_CANCELLED)
        fault.err = -ECANCELED;
    struct sf_provider_chat_end end = {
        .how = how, .fault = &fault, .finish = "", .model = "", .attempts = 1, .total_ms = 7};
    if (how == SF_PE_STOP || how == SF_PE_LENGTH)
        end.usage = (struct sf_provider_usage){.known = true, .prompt = 10, .answered = 5};
    {
        SF_GUARD(&lock);
        if (a->over)
            return;
        a->over = true;
    }
    a->fns.end(a->fns.arg, &end);
}

void
finish(struct asked *a)
{
    finish_as(a, SF_PE_STOP, SF_PC_OK);
}

/* ---- the life of it -------------------------------------------------------------------------- */

static void
make_conf(struct sf_provider_conf *c, const char *name)
{
    static char base[] = "https://x.example/v1", model[] = "m-1", currency[] = "USD";
    *c = (struct sf_provider_conf){.type = sf_provider_type_find("openai"),
                                   .base_url = base,
                                   .model = model,
                                   .currency = currency,
                                   .context = 32768,
                                   .chat_ms = 60000};
    snprintf(c->name, sizeof c->name, "%s", name);
}

void
world_open(void)
{
    struct sf_err err = SF_ERR_INIT;
    world.opts.state_dir = world.dir;
    world.opts.http = world.http;
    world.opts.bucket = "b";
    world.opts.peer = world.peer.call ? &world.peer : NULL;
    if (sf_convs_new(&world.opts, &world.cs, &err))
        fail_msg("%s", err.msg);
}

void
world_close(void)
{
    sf_convs_stop(world.cs, sf_clock_ms() + 5000);
    sf_convs_free(world.cs);
    world.cs = NULL;
}

int
world_setup(void **state)
{
    (void)state;
    memset(&world, 0, sizeof world);
    n_questions = 0;
    make_conf(&world.confs[0], "alpha");
    make_conf(&world.confs[1], "beta");
    snprintf(world.dir, sizeof world.dir, "/tmp/supafs-conv-XXXXXX");
    if (!mkdtemp(world.dir) || sf_http_new(NULL, &world.http, NULL))
        return -1;
    return 0;
}

static int
remove_one(const char *path, const struct stat *s, int flag, struct FTW *f)
{
    (void)s, (void)flag, (void)f;
    return remove(path);
}

int
world_teardown(void **state)
{
    (void)state;
    if (world.cs)
        world_close();
    sf_http_free(world.http);
    return nftw(world.dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- conversations --------------------------------------------------------------------------- */

struct loading {
    bool done;
    int rc;
};

static void
loaded(void *arg, int rc)
{
    struct loading *l = arg;
    SF_GUARD(&lock);
    l->rc = rc;
    l->done = true;
}

static bool
is_loaded(struct loading *l)
{
    SF_GUARD(&lock);
    return l->done;
}

struct sf_conv *
conv_of(const struct sf_conv_key *key)
{
    struct sf_conv *c;
    struct loading l = {.done = false};
    assert_int_equal(sf_conv_get(world.cs, key, &c), 0);
    sf_conv_load(c, 1000, loaded, &l);
    await(is_loaded(&l));
    assert_int_equal(l.rc, 0);
    return c;
}

struct sf_conv *
conv_named(const char *stem)
{
    const struct sf_conv_key key = {.stem = stem, .bucket = "b", .key = "k"};
    return conv_of(&key);
}

struct sf_conv *
conv_by_id(const char *id)
{
    const struct sf_conv_key key = {.id = id};
    return conv_of(&key);
}

const char *
shows(struct sf_conv *c, enum sf_chat_view view)
{
    static char text[128 * 1024];
    static struct reader rd;
    size_t len = 0;
    memset(&rd, 0, sizeof rd);
    rd.r.view = view;
    do {
        begin_read(&rd, c);
        end_read(&rd);
        assert_int_equal(rd.rc, 0);
        assert_true(len + rd.len < sizeof text);
        memcpy(text + len, rd.data, rd.len);
        len += rd.len;
    } while (rd.len);
    text[len] = '\0';
    return text;
}

const char *
says(struct sf_conv *c)
{
    return shows(c, SF_CHAT_VIEW_ALL);
}

/* "2026-11-22T06:10:03.120Z" */
static bool
is_time(const char *s)
{
    return strnlen(s, 24) == 24 && s[4] == '-' && s[10] == 'T' && s[23] == 'Z' && s[19] == '.';
}

const char *
says_plainly(struct sf_conv *c)
{
    static char out[128 * 1024];
    const char *s = says(c);
    size_t len = 0;
    while (*s) {
        if (is_time(s)) {
            out[len++] = 'T';
            s += 24;
        } else {
            out[len++] = *s++;
        }
    }
    out[len] = '\0';
    return out;
}

struct sf_conv_turn *
ask_with(struct sf_conv *c, const char *text, const struct sf_chat_front *own)
{
    const struct sf_conv_prompt p = {.text = text, .len = strlen(text), .own = own};
    struct sf_conv_turn *t;
    assert_int_equal(sf_conv_submit(c, &p, &t), 0);
    return t;
}

struct sf_conv_turn *
ask(struct sf_conv *c, const char *text)
{
    return ask_with(c, text, NULL);
}

bool
is_kept(struct sf_conv_turn *t, size_t len)
{
    SF_GUARD(&t->cs->lock);
    return t->kept[SF_PV_ANSWER] >= len && !t->writing;
}

/* ---- readers --------------------------------------------------------------------------------- */

static void
got(void *arg, int rc, const char *data, size_t len)
{
    struct reader *rd = arg;
    SF_GUARD(&lock);
    rd->rc = rc;
    rd->len = len;
    if (len)
        memcpy(rd->data, data, len);
    rd->data[len] = '\0';
    rd->done = true;
}

void
begin_read(struct reader *rd, struct sf_conv *c)
{
    rd->done = false;
    rd->c = c;
    rd->r.len = sizeof rd->data - 1;
    rd->r.fn = got;
    rd->r.arg = rd;
    sf_conv_read(c, &rd->r);
}

bool
is_done(struct reader *rd)
{
    SF_GUARD(&lock);
    return rd->done;
}

void
end_read(struct reader *rd)
{
    await(is_done(rd));
    rd->r.off += rd->len;
}

int
read_all(struct reader *rd, struct sf_conv *c, char *out, size_t size)
{
    size_t len = 0;
    do {
        begin_read(rd, c);
        end_read(rd);
        assert_true(len + rd->len < size);
        memcpy(out + len, rd->data, rd->len);
        len += rd->len;
    } while (!rd->rc && rd->len);
    out[len] = '\0';
    return rd->rc;
}
