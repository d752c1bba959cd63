/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests and uploads to a provider that does what the test says: what is repeated, what is taken
 * over, what is waited for, and what is never sent twice. */
#include "provider/upload.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/http-got.h"
#include "../lib/toy-server.h"
#include "http/http.h"
#include "observe/counter.h"
#include "provider/files.h"
#include "provider/key.h"

enum { FILES = 64 };

struct world {
    struct toy *toy;
    struct sf_http *http;
    struct sf_provider_type type;
    struct sf_provider_conf conf;
    struct sf_provider *p;
    char base[64];

    pthread_mutex_t lock; /* protects what follows */
    struct {
        char name[128], status[16];
        size_t bytes;
        long created;
        bool gone;
        int polls; /* until it is ready */
    } files[FILES];
    int n_files;
    const char *script; /* one letter for each upload; see serve_upload() */
    const char *other;  /* likewise for all other requests */
    unsigned uploads, lists, gets, deletes;
    size_t body_sum;
    int polls, clock; /* of new files; seconds that the clock here is ahead */
    bool huge;        /* only count the bytes of uploads */
};

/* ---- the provider ---------------------------------------------------------------------------- */

static char
step(const char **script)
{
    if (!*script || !**script)
        return '.';
    char c = *(*script)++;
    return c;
}

static int
object(struct world *w, int i, char *out, size_t size)
{
    return snprintf(out, size,
                    "{\"id\":\"f%d\",\"object\":\"file\",\"bytes\":%zu,\"created_at\":%ld,"
                    "\"filename\":\"%s\",\"purpose\":\"file-extract\",\"status\":\"%s\","
                    "\"status_details\":\"%s\"}",
                    i, w->files[i].bytes, w->files[i].created, w->files[i].name, w->files[i].status,
                    strcmp(w->files[i].status, "error") ? "" : "no text in it");
}

static enum toy_then
say(struct world *w, int fd, int status, const char *headers, const char *text)
{
    char all[512], date[64];
    time_t now = time(NULL) + w->clock;
    struct tm tm;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    snprintf(all, sizeof all, "Date: %s\r\n%s", date, headers ? headers : "");
    return toy_text(fd, status, all, text);
}

static enum toy_then
refuse(struct world *w, int fd, char what)
{
    switch (what) {
    case 'a': /* asks to wait, in a header */
        return say(w, fd, 429, "Retry-After: 1\r\n",
                   "{\"error\":{\"type\":\"rate_limit_reached_error\",\"message\":\"slow\"}}");
    case 's': /* in words */
        return say(w, fd, 429, NULL,
                   "{\"error\":{\"type\":\"rate_limit_reached_error\",\"message\":"
                   "\"max RPM: 3, please try again after 1 seconds\"}}");
    case 'q': /* no money, by the same number */
        return say(w, fd, 429, "Retry-After: 1\r\n",
                   "{\"error\":{\"type\":\"exceeded_current_quota_error\",\"message\":\"pay\"}}");
    case 'd': /* a cap of the day */
        return say(w, fd, 429, NULL,
                   "{\"error\":{\"type\":\"rate_limit_reached_error\",\"message\":"
                   "\"TPD rate limit reached\"}}");
    case 'o':
        return say(w, fd, 429, NULL,
                   "{\"error\":{\"type\":\"engine_overloaded_error\",\"message\":\"busy\"}}");
    case '5':
        return say(w, fd, 500, NULL, "{\"error\":{\"type\":\"server_error\",\"message\":\"x\"}}");
    case 'k':
        return say(w, fd, 401, NULL,
                   "{\"error\":{\"type\":\"invalid_authentication_error\",\"message\":\"key\"}}");
    default:
        return TOY_RESET;
    }
}

static void
keep(struct world *w, const struct toy_req *rq, size_t len)
{
    char *name = strstr((char *)(uintptr_t)rq->body, "filename=\"");
    int i = w->n_files++;
    if (i >= FILES || !name)
        abort();
    w->files[i].bytes = len;
    w->files[i].created = time(NULL) + w->clock;
    w->files[i].polls = w->polls;
    snprintf(w->files[i].name, sizeof w->files[i].name, "%.*s", (int)strcspn(name + 10, "\""),
             name + 10);
    snprintf(w->files[i].status, sizeof w->files[i].status, "%s", w->polls ? "processing" : "ok");
}

/* '.' takes it; 'l' takes it, and the reply is lost; 'L' the same, with a 504 of a gateway; 'r' is
 * reset after the body, without taking it; others as refuse() has them. */
static enum toy_then
serve_upload(struct world *w, int fd, const struct toy_req *rq)
{
    char what = step(&w->script), text[1024];
    const char *data = memmem(rq->body, rq->body_len, "\r\n\r\n", 4);
    data = memmem(data + 4, rq->body_len - (size_t)(data + 4 - rq->body), "\r\n\r\n", 4);
    const char *end = memrchr(rq->body, '-', rq->body_len - 5);
    while (memcmp(end, "\r\n--", 4) != 0)
        end--;
    size_t len = (size_t)(end - data - 4);
    w->uploads++;
    for (size_t i = 0; i < len; i++)
        if (data[4 + i] != (char)(i * 7))
            abort();
    if (what == 'r')
        return TOY_RESET;
    if (what == 'h') { /* others are served meanwhile */
        pthread_mutex_unlock(&w->lock);
        toy_hang(fd, 20000);
        pthread_mutex_lock(&w->lock);
    }
    if (!strchr(".lL", what))
        return refuse(w, fd, what);
    keep(w, rq, len);
    if (what == 'l')
        return TOY_RESET;
    if (what == 'L')
        return say(w, fd, 504, "Content-Type: text/html\r\n", "<html>gateway</html>");
    object(w, w->n_files - 1, text, sizeof text);
    return say(w, fd, 200, NULL, text);
}

static enum toy_then
serve_list(struct world *w, int fd, const struct toy_req *rq)
{
    /* Pages of two, for a type that has them. */
    const char *after = strstr(rq->path, "after=f");
    int from = after ? (int)strtol(after + 7, NULL, 10) + 1 : 0, room = w->type.list_pages ? 2 : 99;
    static char text[64 * 1024];
    size_t n = (size_t)snprintf(text, sizeof text, "{\"object\":\"list\",\"data\":[");
    w->lists++;
    bool more = false;
    for (int i = from, k = 0; i < w->n_files; i++) {
        if (w->files[i].gone)
            continue;
        more = room-- == 0;
        if (more)
            break;
        if (w->files[i].polls && --w->files[i].polls == 0)
            snprintf(w->files[i].status, sizeof w->files[i].status, "ok");
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", k++ ? "," : "");
        n += (size_t)object(w, i, text + n, sizeof text - n);
    }
    snprintf(text + n, sizeof text - n, "],\"has_more\":%s}", more ? "true" : "false");
    return say(w, fd, 200, NULL, text);
}

static enum toy_then
serve_one(struct world *w, int fd, const struct toy_req *rq)
{
    char text[1024];
    int i = (int)strtol(rq->path + strlen("/v1/files/f"), NULL, 10);
    if (i < 0 || i >= w->n_files || w->files[i].gone)
        return say(w, fd, 404, NULL,
                   "{\"error\":{\"type\":\"resource_not_found_error\",\"message\":\"no file\"}}");
    if (strstr(rq->path, "/content"))
        return say(w, fd, 200, NULL, "{\"error\":{\"message\":\"so says the document\"}}");
    if (!strcmp(rq->method, "DELETE")) {
        w->deletes++;
        w->files[i].gone = true;
        if (step(&w->script) == 'l')
            return TOY_RESET;
        snprintf(text, sizeof text, "{\"id\":\"f%d\",\"object\":\"file\",\"deleted\":true}", i);
        return say(w, fd, 200, NULL, text);
    }
    w->gets++;
    if (w->files[i].polls && --w->files[i].polls == 0)
        snprintf(w->files[i].status, sizeof w->files[i].status, "ok");
    if (w->files[i].polls < 0)
        snprintf(w->files[i].status, sizeof w->files[i].status, "error");
    object(w, i, text, sizeof text);
    return say(w, fd, 200, NULL, text);
}

static enum toy_then
serve(void *arg, int fd, const struct toy_req *rq)
{
    struct world *w = arg;
    enum toy_then then;
    pthread_mutex_lock(&w->lock);
    char what = strcmp(rq->method, "POST") ? step(&w->other) : '.';
    if (what != '.')
        then = refuse(w, fd, what);
    else if (!strcmp(rq->method, "POST"))
        then = serve_upload(w, fd, rq);
    else if (!strncmp(rq->path, "/v1/files/", 10))
        then = serve_one(w, fd, rq);
    else
        then = serve_list(w, fd, rq);
    pthread_mutex_unlock(&w->lock);
    return then;
}

/* Takes a large body without keeping it: what is measured is the client, in the same process. */
static enum toy_then
head(void *arg, int fd, const struct toy_req *rq)
{
    static char some[64 * 1024];
    struct world *w = arg;
    if (!w->huge)
        return TOY_KEEP;
    size_t len = strtoull(toy_header(rq, "Content-Length"), NULL, 10), have = rq->early;
    if (toy_header(rq, "Expect"))
        toy_printf(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    while (have < len) {
        ssize_t n = read(fd, some, sizeof some);
        if (n <= 0)
            return TOY_CLOSE;
        have += (size_t)n;
    }
    pthread_mutex_lock(&w->lock);
    w->uploads++;
    w->body_sum += have;
    pthread_mutex_unlock(&w->lock);
    toy_text(fd, 200, NULL,
             "{\"id\":\"big\",\"object\":\"file\",\"bytes\":1,\"created_at\":1,"
             "\"filename\":\"x\",\"purpose\":\"file-extract\",\"status\":\"ok\"}");
    return TOY_CLOSE;
}

static int
setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    w->toy = toy_start(&(struct toy_opts){.serve = serve, .head = head, .arg = w});
    w->type = *sf_provider_type_find("kimi");
    w->type.needs_key = false;
    snprintf(w->base, sizeof w->base, "%s", toy_url(w->toy, "/v1"));
    w->conf = (struct sf_provider_conf){.name = "toy",
                                        .type = &w->type,
                                        .base_url = w->base,
                                        .purpose = strdup("file-extract"),
                                        .concurrency = 2,
                                        .upload_ms = 60000,
                                        .timeout_ms = 60000};
    assert_int_equal(provider_key_new(w->base, NULL, &w->conf.key), 0);
    assert_int_equal(sf_http_new(NULL, &w->http, NULL), 0);
    assert_int_equal(sf_provider_open(w->http, &w->conf, &w->p), 0);
    *state = w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;
    sf_provider_free(w->p);
    sf_http_free(w->http);
    toy_stop(w->toy);
    assert_int_equal(sf_gauges_[SF_G_PROVIDER_SLOTS], 0);
    assert_int_equal(sf_gauges_[SF_G_PROVIDER_WAITING], 0);
    provider_key_free(w->conf.key);
    free(w->conf.purpose);
    pthread_mutex_destroy(&w->lock);
    free(w);
    return 0;
}

static void
plan(struct world *w, const char *script, int polls)
{
    pthread_mutex_lock(&w->lock);
    w->script = script;
    w->polls = polls;
    pthread_mutex_unlock(&w->lock);
}

static unsigned
seen(struct world *w, const unsigned *what)
{
    pthread_mutex_lock(&w->lock);
    unsigned n = *what;
    pthread_mutex_unlock(&w->lock);
    return n;
}

/* ---- who asks -------------------------------------------------------------------------------- */

struct src {
    uint64_t size;
    uint64_t error_at; /* 0 = none */
    atomic_bool stopped, released, blocks;
    atomic_uint reads;
};

static ssize_t
src_read(void *arg, void *buf, size_t n, uint64_t off)
{
    struct src *s = arg;
    s->reads++;
    while (s->blocks && !s->stopped)
        got_sleep(5);
    if (s->stopped)
        return -EINTR;
    if (s->error_at && off + n > s->error_at)
        return -ESTALE;
    for (size_t i = 0; i < n; i++)
        ((char *)buf)[i] = (char)((off + i) * 7);
    return (ssize_t)n;
}

static void
src_stop(void *arg)
{
    ((struct src *)arg)->stopped = true;
}

static void
src_release(void *arg)
{
    struct src *s = arg;
    if (s->released)
        abort();
    s->released = true;
}

struct up {
    struct src src;
    struct sf_provider_progress progress;
    struct sf_provider_uploaded result;
    struct sf_provider_fault fault;
    struct sf_provider_file file;
    char text[256];
    unsigned listed;
    atomic_uint calls;
};

static void
uploaded(void *arg, const struct sf_provider_uploaded *result)
{
    struct up *u = arg;
    u->result = *result;
    u->calls++;
}

static uint64_t
start(struct world *w, struct up *u, const char *name, uint64_t size, int ms)
{
    u->src.size = size;
    struct sf_provider_upload up = {.source = {.size = size,
                                               .name = name,
                                               .read = src_read,
                                               .stop = src_stop,
                                               .release = src_release,
                                               .arg = &u->src},
                                    .progress = &u->progress,
                                    .deadline_ms = ms ? got_now() + ms : 0};
    return sf_provider_upload(w->p, &up, uploaded, u);
}

static void
wait_for(struct up *u)
{
    for (int i = 0; i < 12000 && !(u->calls && u->src.released); i++)
        got_sleep(5);
    assert_true(u->src.released);
    assert_int_equal(u->calls, 1);
}

static void
upload(struct world *w, struct up *u, const char *name, uint64_t size)
{
    *u = (struct up){0};
    assert_int_not_equal(start(w, u, name, size, 0), 0);
    wait_for(u);
}

static void
file_said(void *arg, const struct sf_provider_fault *fault, const struct sf_provider_file *file)
{
    struct up *u = arg;
    u->fault = *fault;
    if (file)
        u->file = *file;
    u->calls++;
}

static void
done_said(void *arg, const struct sf_provider_fault *fault)
{
    file_said(arg, fault, NULL);
}

static void
ask_file(struct world *w, struct up *u, const char *id)
{
    *u = (struct up){0};
    assert_int_not_equal(sf_provider_file(w->p, id, 0, file_said, u), 0);
    assert_true(got_reaches(&u->calls, 1));
}

/* ---- uploads --------------------------------------------------------------------------------- */

static void
an_upload_gives_an_id(void **state)
{
    static const uint64_t sizes[] = {1, 1000, 700000, 3000001};
    struct world *w = *state;
    struct up u;
    for (int i = 0; i < 4; i++) {
        upload(w, &u, "a.pdf", sizes[i]);
        assert_int_equal(u.result.fault.cls, SF_PC_OK);
        assert_int_equal(u.result.file.bytes, sizes[i]);
        assert_int_equal(u.result.attempts, 1);
        assert_true(u.progress.whole);
        assert_true(u.progress.sent > sizes[i]);
    }
    assert_int_equal(seen(w, &w->uploads), 4);
    assert_int_equal(seen(w, &w->lists) + seen(w, &w->gets), 0);
}

static void
what_it_would_not_take_is_not_sent(void **state)
{
    struct world *w = *state;
    struct up u;
    upload(w, &u, "a.pdf", 0);
    assert_int_equal(u.result.fault.cls, SF_PC_EMPTY);
    upload(w, &u, "a.pdf", 1ull << 40);
    assert_int_equal(u.result.fault.cls, SF_PC_TOO_LARGE);
    assert_int_equal(toy_counts(w->toy)->requests, 0);
    assert_int_equal(u.src.reads, 0);
}

static void
a_lost_reply_is_found_in_the_list(void **state)
{
    static const char *const scripts[] = {"l", "L"};
    static const int clocks[] = {0, 86400, -86400};
    struct world *w = *state;
    struct up u;
    for (int i = 0; i < 6; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d.pdf", i);
        w->clock = clocks[i % 3];
        plan(w, scripts[i / 3], w->polls);
        upload(w, &u, name, 5000);
        assert_int_equal(u.result.fault.cls, SF_PC_OK);
        assert_true(u.result.adopted);
        assert_false(u.result.open);
        assert_string_equal(u.result.file.filename, name);
        assert_int_equal(u.result.attempts, 1);
    }
    assert_int_equal(seen(w, &w->uploads), 6);
}

static void
what_the_list_does_not_have_is_sent_again(void **state)
{
    struct world *w = *state;
    struct up u;
    /* One of the same name and size from before is another file. */
    upload(w, &u, "a.pdf", 5000);
    w->files[0].created -= 60;
    plan(w, "r", w->polls);
    upload(w, &u, "a.pdf", 5000);
    assert_int_equal(u.result.fault.cls, SF_PC_OK);
    assert_false(u.result.adopted);
    assert_string_equal(u.result.file.id, "f1");
    assert_int_equal(u.result.attempts, 2);
    assert_int_equal(seen(w, &w->uploads), 3);
    assert_int_equal(seen(w, &w->lists), 2);
}

static bool
is_f0(void *arg, const char *id)
{
    (void)arg;
    return !strcmp(id, "f0");
}

static void
a_file_of_others_is_not_taken_over(void **state)
{
    struct world *w = *state;
    struct up u = {.src.size = 5000};
    plan(w, "lr", 0);
    struct sf_provider_upload up = {.source = {.size = 5000,
                                               .name = "a.pdf",
                                               .read = src_read,
                                               .stop = src_stop,
                                               .release = src_release,
                                               .arg = &u.src},
                                    .is_other = is_f0};
    assert_int_not_equal(sf_provider_upload(w->p, &up, uploaded, &u), 0);
    wait_for(&u);
    assert_int_equal(u.result.fault.cls, SF_PC_OK);
    assert_string_equal(u.result.file.id, "f1");
    assert_int_equal(u.result.attempts, 3);
    assert_true(u.result.open); /* what became of the first nobody knows */
}

static void
pending_becomes_ready_or_fails(void **state)
{
    struct world *w = *state;
    struct up u;
    for (int by_id = 0; by_id < 2; by_id++) {
        w->type.get_by_id = by_id;
        plan(w, w->script, 2);
        upload(w, &u, "a.pdf", 100);
        assert_int_equal(u.result.fault.cls, SF_PC_OK);
        assert_true(u.progress.pending);
        assert_int_equal(seen(w, by_id ? &w->gets : &w->lists), 2);
    }
    plan(w, w->script, -1);
    upload(w, &u, "a.pdf", 100);
    assert_int_equal(u.result.fault.cls, SF_PC_EXTRACT);
    assert_non_null(strstr(u.result.fault.text, "no text in it"));
    assert_string_equal(u.result.file.id, "f2");
    /* Not ready in time: the id is told all the same. */
    plan(w, w->script, 1000);
    u = (struct up){0};
    start(w, &u, "a.pdf", 100, 3000);
    wait_for(&u);
    assert_int_equal(u.result.fault.cls, SF_PC_TIMEOUT);
    assert_string_equal(u.result.file.id, "f3");
    assert_int_equal(seen(w, &w->uploads), 4);
}

static void
it_waits_as_it_is_told(void **state)
{
    static const char *const scripts[] = {"a", "s"};
    struct world *w = *state;
    struct up u;
    for (int i = 0; i < 2; i++) {
        plan(w, scripts[i], w->polls);
        int64_t t0 = got_now();
        upload(w, &u, "a.pdf", 100);
        assert_int_equal(u.result.fault.cls, SF_PC_OK);
        assert_int_equal(u.result.attempts, 2);
        assert_in_range(got_now() - t0, 990, 20000);
    }
    assert_int_equal(seen(w, &w->lists), 0); /* a refusal is no lost reply */
}

static void
no_money_and_caps_are_not_waited_for(void **state)
{
    static const struct {
        const char *script;
        enum sf_provider_class cls;
    } rows[] = {{"q", SF_PC_QUOTA}, {"d", SF_PC_RATE_LATER}, {"k", SF_PC_AUTH}};
    struct world *w = *state;
    struct up u;
    for (int i = 0; i < 3; i++) {
        unsigned before = seen(w, &w->uploads);
        plan(w, rows[i].script, w->polls);
        upload(w, &u, "a.pdf", 100);
        assert_int_equal(u.result.fault.cls, rows[i].cls);
        assert_int_equal(seen(w, &w->uploads), before + 1);
        /* Nor asked again soon. */
        upload(w, &u, "a.pdf", 100);
        assert_int_equal(u.result.fault.cls, rows[i].cls);
        assert_int_equal(seen(w, &w->uploads), before + 1);
        sf_provider_free(w->p);
        assert_int_equal(sf_provider_open(w->http, &w->conf, &w->p), 0);
    }
}

static void
an_overloaded_one_is_asked_again(void **state)
{
    struct world *w = *state;
    struct up u;
    plan(w, "oo", w->polls);
    upload(w, &u, "a.pdf", 100);
    assert_int_equal(u.result.fault.cls, SF_PC_OK);
    assert_int_equal(seen(w, &w->uploads), 3);
}

static void
failures_in_a_row_end_the_requests(void **state)
{
    struct world *w = *state;
    struct up u;
    struct sf_gate_figures f;
    w->other = "5555555555555";
    for (int i = 0; i < 4; i++) {
        ask_file(w, &u, "f0");
        assert_int_equal(u.fault.cls, SF_PC_SERVER);
    }
    assert_int_equal(toy_counts(w->toy)->requests, 5);
    sf_provider_figures(w->p, &f);
    assert_int_equal(f.state, SF_GATE_CLOSED);
    assert_non_null(strstr(u.fault.text, "not asked again for"));
}

static void
a_source_that_fails_ends_it(void **state)
{
    struct world *w = *state;
    struct up u = {.src.error_at = 300000};
    start(w, &u, "a.pdf", 1000000, 0);
    wait_for(&u);
    assert_int_equal(u.result.fault.err, -ESTALE);
    assert_false(u.result.open);
    assert_int_equal(u.result.attempts, 1);
    assert_int_equal(seen(w, &w->uploads), 0);
}

static void
cancel_and_deadline_end_it_wherever_it_is(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 4; i++) {
        struct up u = {.src.blocks = i < 2};
        plan(w, i == 2 ? "h" : "", i == 3 ? 1000 : 0);
        uint64_t id = start(w, &u, "a.pdf", 1000, i == 1 ? 1000 : 0);
        if (i < 2)
            assert_true(got_reaches(&u.src.reads, 1));
        else
            for (int k = 0; k < 1000 && !(i == 2 ? u.progress.whole : u.progress.pending); k++)
                got_sleep(5);
        int64_t t0 = got_now();
        if (i != 1)
            sf_provider_cancel(w->p, id);
        wait_for(&u);
        assert_true(got_now() - t0 < 15000);
        if (i == 1)
            assert_int_equal(u.result.fault.cls, SF_PC_TIMEOUT);
        else
            assert_int_equal(u.result.fault.err, -ECANCELED);
        assert_int_equal(u.result.open, i == 2);
    }
    sf_provider_cancel(w->p, 4711);
}

/* Nothing listens where it should be: a server of this machine is not running, which nobody changes
 * by waiting a minute. */
static void
a_server_that_does_not_run_is_soon_told(void **state)
{
    struct world *w = *state;
    struct up u = {0};
    toy_stop(w->toy);
    w->toy = NULL;
    int64_t t0 = got_now();
    ask_file(w, &u, "f1");
    assert_int_equal(u.fault.cls, SF_PC_NETWORK);
    assert_true(got_now() - t0 < 5000);
    u = (struct up){0};
    start(w, &u, "a.pdf", 1000, 0);
    wait_for(&u);
    assert_int_equal(u.result.fault.cls, SF_PC_NETWORK);
    assert_false(u.result.open);
    assert_true(got_now() - t0 < 10000);
}

static void
free_ends_all_that_is_under_way(void **state)
{
    enum { N = 20 };
    struct world *w = *state;
    static struct up u[N];
    memset(u, 0, sizeof u);
    for (int i = 0; i < N; i++) {
        u[i].src.blocks = i % 2;
        start(w, &u[i], "a.pdf", 100000, 0);
    }
    got_sleep(30);
    sf_provider_free(w->p);
    w->p = NULL;
    for (int i = 0; i < N; i++) {
        assert_int_equal(u[i].calls, 1);
        assert_true(u[i].src.released);
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

static long
rss_anon_kib(void)
{
    char line[200];
    long kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        (void)!sscanf(line, "RssAnon: %ld", &kib);
    if (f)
        fclose(f);
    return kib;
}

static void
a_large_file_needs_little_memory(void **state)
{
    enum { SIZE = 100 << 20 };
    struct world *w = *state;
    struct up u;
    upload(w, &u, "small.pdf", 100000);
    w->huge = true;
    long before = rss_anon_kib(), most = before;
    u = (struct up){0};
    start(w, &u, "big.pdf", SIZE, 300000);
    while (!u.calls) {
        long now = rss_anon_kib();
        most = now > most ? now : most;
        got_sleep(2);
    }
    wait_for(&u);
    assert_int_equal(u.result.fault.cls, SF_PC_OK);
    assert_true(w->body_sum > SIZE);
    print_message("RssAnon: %ld KiB more for 100 MiB\n", most - before);
#if !defined __SANITIZE_ADDRESS__ && !defined __SANITIZE_THREAD__
    assert_true(most - before < 8 * 1024);
#endif
}

/* ---- files ----------------------------------------------------------------------------------- */

static int
count_file(void *arg, const struct sf_provider_file *file)
{
    struct up *u = arg;
    (void)file;
    u->listed++;
    return 0;
}

static void
all_pages_of_a_list_are_read(void **state)
{
    struct world *w = *state;
    struct up u, l = {0};
    pthread_mutex_lock(&w->lock);
    w->type.list_pages = true;
    pthread_mutex_unlock(&w->lock);
    w->type.get_by_id = false;
    for (int i = 0; i < 5; i++)
        upload(w, &u, "a.pdf", 100);
    assert_int_not_equal(sf_provider_files(w->p, "agent", 0, count_file, done_said, &l), 0);
    assert_true(got_reaches(&l.calls, 1));
    assert_int_equal(l.fault.cls, SF_PC_OK);
    assert_int_equal(l.listed, 5);
    assert_int_equal(seen(w, &w->lists), 3);
    ask_file(w, &u, "f4");
    assert_string_equal(u.file.id, "f4");
    ask_file(w, &u, "f0"); /* found on the first page */
    assert_int_equal(seen(w, &w->lists), 7);
}

static void
text_said(void *arg, const struct sf_provider_fault *fault, const char *text, size_t len)
{
    struct up *u = arg;
    snprintf(u->text, sizeof u->text, "%.*s", (int)len, text ? text : "");
    done_said(arg, fault);
}

static void
files_are_shown_listed_and_deleted(void **state)
{
    struct world *w = *state;
    struct up u;
    for (int i = 0; i < 3; i++)
        upload(w, &u, "a.pdf", 100);
    ask_file(w, &u, "f1");
    assert_string_equal(u.file.id, "f1");
    ask_file(w, &u, "f7");
    assert_int_equal(u.fault.cls, SF_PC_NOT_FOUND);
    ask_file(w, &u, "../x");
    assert_int_equal(u.fault.err, -EINVAL);
    w->type.get_by_id = false;
    ask_file(w, &u, "f2");
    assert_string_equal(u.file.id, "f2");
    ask_file(w, &u, "f7");
    assert_int_equal(u.fault.cls, SF_PC_NOT_FOUND);

    /* A lost reply, and it is not there at the second try. */
    plan(w, "l", w->polls);
    u = (struct up){0};
    sf_provider_file_delete(w->p, "f1", 0, done_said, &u);
    assert_true(got_reaches(&u.calls, 1));
    assert_int_equal(u.fault.cls, SF_PC_OK);
    u = (struct up){0};
    sf_provider_file_delete(w->p, "f1", 0, done_said, &u);
    assert_true(got_reaches(&u.calls, 1));
    assert_int_equal(u.fault.cls, SF_PC_NOT_FOUND);
    assert_int_equal(seen(w, &w->deletes), 1);

    struct up l = {0};
    sf_provider_files(w->p, NULL, 0, count_file, done_said, &l);
    assert_true(got_reaches(&l.calls, 1));
    assert_int_equal(l.fault.cls, SF_PC_OK);
    assert_int_equal(l.listed, 2);

    /* A document may look like an error; and may be too long. */
    u = (struct up){0};
    sf_provider_file_text(w->p, "f0", 1000, 0, text_said, &u);
    assert_true(got_reaches(&u.calls, 1));
    assert_int_equal(u.fault.cls, SF_PC_OK);
    assert_non_null(strstr(u.text, "so says the document"));
    u = (struct up){0};
    sf_provider_file_text(w->p, "f0", 10, 0, text_said, &u);
    assert_true(got_reaches(&u.calls, 1));
    assert_int_equal(u.fault.cls, SF_PC_TOO_LARGE);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_large_file_needs_little_memory),
        T(an_upload_gives_an_id),
        T(what_it_would_not_take_is_not_sent),
        T(a_lost_reply_is_found_in_the_list),
        T(what_the_list_does_not_have_is_sent_again),
        T(a_file_of_others_is_not_taken_over),
        T(pending_becomes_ready_or_fails),
        T(it_waits_as_it_is_told),
        T(no_money_and_caps_are_not_waited_for),
        T(an_overloaded_one_is_asked_again),
        T(failures_in_a_row_end_the_requests),
        T(a_source_that_fails_ends_it),
        T(cancel_and_deadline_end_it_wherever_it_is),
        T(a_server_that_does_not_run_is_soon_told),
        T(free_ends_all_that_is_under_way),
        T(all_pages_of_a_list_are_read),
        T(files_are_shown_listed_and_deleted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
