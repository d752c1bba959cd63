/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "storage-world.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/str.h"

struct answer {
    int status;
    const char *headers, *body;
};

/* What was said once may still be on its way when a test says the next: copies, until the end. */
struct text {
    struct text *next;
    char text[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* protects answers and texts */
static struct answer answers[WORLD_REPLIES];
static struct text *texts;
struct world world;

static void
keep(char *out, size_t size, const struct toy_req *rq, const char *name)
{
    const char *v = toy_header(rq, name);
    snprintf(out, size, "%s", v ? v : "-");
}

#define KEEP(field, name) keep(world.got[i].field, sizeof world.got[i].field, rq, name)

static enum toy_then
serve(void *arg, int fd, const struct toy_req *rq)
{
    const unsigned last = WORLD_REPLIES - 1;
    unsigned n = world.served++, i = n < last ? n : last, a = i;
    size_t room = sizeof world.got[i].body - 1;
    (void)arg;
    snprintf(world.got[i].method, sizeof world.got[i].method, "%s", rq->method);
    snprintf(world.got[i].path, sizeof world.got[i].path, "%s", rq->path);
    snprintf(world.got[i].head, sizeof world.got[i].head, "%s", rq->head);
    memcpy(world.got[i].body, rq->body, rq->body_len < room ? rq->body_len : room);
    world.got[i].body[rq->body_len < room ? rq->body_len : room] = '\0';
    world.got[i].body_len = rq->body_len;
    KEEP(authorization, "Authorization");
    KEEP(apikey, "apikey");
    KEEP(range, "Range");
    KEEP(type, "Content-Type");
    KEEP(upsert, "x-upsert");
    KEEP(metadata, "x-metadata");
    KEEP(agent, "User-Agent");
    KEEP(info, "x-client-info");
    KEEP(cache, "Cache-Control");
    pthread_mutex_lock(&lock);
    while (a > 0 && !answers[a].body && !answers[a].status && !answers[a].headers)
        a--;
    struct answer with = answers[a];
    pthread_mutex_unlock(&lock);
    if (with.status == WORLD_HANG)
        toy_hang(fd, 30000);
    if (with.status <= 0)
        return TOY_RESET;
    return toy_text(fd, with.status, with.headers, with.body ? with.body : "");
}

const char *
world_header(unsigned i, const char *name)
{
    struct toy_req rq = {.head = world.got[i].head};
    const char *v = toy_header(&rq, name);
    return v ? v : "-";
}

const char *
world_token(const char *payload)
{
    static struct sf_buf b;
    sf_buf_fini(&b);
    sf_buf_puts(&b, "eyJhbGciOiJIUzI1NiJ9.");
    assert_int_equal(sf_base64url_encode(&b, payload, strlen(payload)), 0);
    sf_buf_puts(&b, ".c2lnbmF0dXJlLXNpZ25hdHVyZS1zaWc");
    return sf_buf_str(&b);
}

void
world_open(const struct sf_auth_source *src)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_http_opts opts = {.backoff_min_ms = 1, .backoff_max_ms = 5};
    memset(&world, 0, sizeof world);
    memset(answers, 0, sizeof answers);
    world.toy = toy_start(&(struct toy_opts){.serve = serve});
    assert_int_equal(sf_http_new(&opts, &world.http, &err), 0);
    assert_int_equal(sf_auth_new(src, &world.auth, &err), 0);
    const char *url = toy_url(world.toy, "/storage/v1/");
    assert_int_equal(sf_storage_new(world.http, world.auth, url, &world.st, &err), 0);
}

int
world_setup(void **state)
{
    (void)state;
    world_open(&(struct sf_auth_source){
        .kind = SF_AUTH_VALUE, .value = world_token(WORLD_SERVICE), .label = "the test's key"});
    return 0;
}

int
world_close(void **state)
{
    (void)state;
    sf_http_free(world.http);
    sf_storage_free(world.st);
    sf_auth_free(world.auth);
    toy_stop(world.toy);
    while (texts) {
        struct text *t = texts;
        texts = t->next;
        free(t);
    }
    return 0;
}

static const char *
copy_locked(const char *text)
{
    if (!text)
        return NULL;
    struct text *t = malloc(sizeof *t + strlen(text) + 1);
    assert_non_null(t);
    memcpy(t->text, text, strlen(text) + 1);
    t->next = texts;
    texts = t;
    return t->text;
}

static struct answer
answer_locked(int status, const char *headers, const char *body)
{
    return (struct answer){status, copy_locked(headers), copy_locked(body)};
}

void
world_answer(int status, const char *headers, const char *body)
{
    pthread_mutex_lock(&lock);
    memset(answers, 0, sizeof answers);
    answers[0] = answer_locked(status, headers, body);
    world.served = 0;
    pthread_mutex_unlock(&lock);
}

void
world_then(unsigned i, int status, const char *headers, const char *body)
{
    pthread_mutex_lock(&lock);
    answers[i] = answer_locked(status, headers, body);
    pthread_mutex_unlock(&lock);
}
