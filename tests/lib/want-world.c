/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "want-world.h"

#include <errno.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/str.h"
#include "observe/counter.h"
#include "provider/claim.h"
#include "provider/ids.h"
#include "provider/key.h"

/* ---- the provider ---------------------------------------------------------------------------- */

void
sha256_of(const void *data, size_t n, char out[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    EVP_Digest(data, n, digest, NULL, EVP_sha256(), NULL);
    sf_hex_encode(digest, 32, out);
}

static int
object(struct world *w, int i, char *out, size_t size)
{
    int polls = w->files[i].polls;
    return snprintf(out, size,
                    "{\"id\":\"f%d\",\"object\":\"file\",\"bytes\":%zu,\"created_at\":%ld,"
                    "\"filename\":\"%s\",\"purpose\":\"%s\",\"status\":\"%s\"}",
                    i, w->files[i].bytes, w->files[i].created, w->files[i].name,
                    w->files[i].purpose,
                    polls < 0   ? "error"
                    : polls > 0 ? "processing"
                                : "ok");
}

static enum toy_then
refuse(int fd, char what)
{
    switch (what) {
    case 'q':
        return toy_text(
            fd, 429, NULL,
            "{\"error\":{\"type\":\"exceeded_current_quota_error\",\"message\":\"pay\"}}");
    case 't':
        return toy_text(fd, 400, NULL,
                        "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"unsupported "
                        "file type\"}}");
    case 'i':
        return toy_text(
            fd, 400, NULL,
            "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"asked wrongly\"}}");
    default:
        return TOY_RESET;
    }
}

static void
field(const struct toy_req *rq, const char *before, char *out, size_t size)
{
    const char *at = memmem(rq->body, rq->body_len, before, strlen(before));
    at = at ? at + strlen(before) : "";
    snprintf(out, size, "%.*s", (int)strcspn(at, "\"\r\n"), at);
}

static enum toy_then
serve_upload(struct world *w, int fd, const struct toy_req *rq)
{
    char what = w->script && *w->script ? *w->script++ : '.', text[1024];
    const char *name = memmem(rq->body, rq->body_len, "filename=\"", 10);
    const char *data = strstr(name, "\r\n\r\n") + 4;
    const char *end = memrchr(rq->body, '-', rq->body_len - 5);
    while (memcmp(end, "\r\n--", 4) != 0)
        end--;
    w->uploads++;
    w->waiting++;
    while (w->held) {
        pthread_mutex_unlock(&w->lock);
        bool there = toy_hang(fd, 20);
        pthread_mutex_lock(&w->lock);
        if (!there)
            break;
    }
    w->waiting--;
    if (!strchr(".lp", what))
        return refuse(fd, what);
    int i = w->n_files++;
    if (i >= FILES)
        abort();
    field(rq, "filename=\"", w->files[i].name, sizeof w->files[i].name);
    field(rq, "name=\"purpose\"\r\n\r\n", w->files[i].purpose, sizeof w->files[i].purpose);
    sha256_of(data, (size_t)(end - data), w->files[i].sha256);
    w->files[i].bytes = (size_t)(end - data);
    w->files[i].created = time(NULL) + w->clock;
    w->files[i].polls = w->polls;
    if (what == 'l')
        return TOY_RESET;
    object(w, i, text, sizeof text);
    return toy_text(fd, 200, NULL, text);
}

static enum toy_then
serve_list(struct world *w, int fd)
{
    static char text[64 * 1024];
    size_t n = (size_t)snprintf(text, sizeof text, "{\"object\":\"list\",\"data\":[");
    w->lists++;
    for (int i = 0, k = 0; i < w->n_files; i++) {
        if (w->files[i].gone)
            continue;
        n += (size_t)snprintf(text + n, sizeof text - n, "%s", k++ ? "," : "");
        n += (size_t)object(w, i, text + n, sizeof text - n);
    }
    snprintf(text + n, sizeof text - n, "],\"has_more\":false}");
    return toy_text(fd, 200, NULL, text);
}

static enum toy_then
serve_one(struct world *w, int fd, const struct toy_req *rq)
{
    char text[1024];
    int i = (int)strtol(rq->path + strlen("/v1/files/f"), NULL, 10);
    if (i < 0 || i >= w->n_files || w->files[i].gone)
        return toy_text(
            fd, 404, NULL,
            "{\"error\":{\"type\":\"resource_not_found_error\",\"message\":\"no file\"}}");
    if (!strcmp(rq->method, "DELETE")) {
        w->deletes++;
        w->files[i].gone = true;
        snprintf(text, sizeof text, "{\"id\":\"f%d\",\"object\":\"file\",\"deleted\":true}", i);
        return toy_text(fd, 200, NULL, text);
    }
    w->gets++;
    if (w->files[i].polls > 0)
        w->files[i].polls--;
    object(w, i, text, sizeof text);
    return toy_text(fd, 200, NULL, text);
}

static enum toy_then
serve(void *arg, int fd, const struct toy_req *rq)
{
    struct world *w = arg;
    pthread_mutex_lock(&w->lock);
    enum toy_then then = !strcmp(rq->method, "POST")            ? serve_upload(w, fd, rq)
                         : !strncmp(rq->path, "/v1/files/", 10) ? serve_one(w, fd, rq)
                                                                : serve_list(w, fd);
    pthread_mutex_unlock(&w->lock);
    return then;
}

/* ---- the project's tables -------------------------------------------------------------------- */

static const char *
member(const json_t *p, const char *name)
{
    const char *s = json_string_value(json_object_get(p, name));
    return s ? s : "";
}

static json_t *
claim(struct world *w, int i, bool is_new, const json_t *p)
{
    bool busy =
        w->claims[i].until_ms > got_now() && strcmp(w->claims[i].holder, member(p, "holder")) != 0;
    w->asked++;
    if (!is_new && w->claims[i].id[0])
        return json_pack("{s:s, s:s, s:i, s:n}", "state", "ready", "provider_file_id",
                         w->claims[i].id, "bytes", 1, "expires_at");
    if (!is_new && busy)
        return json_pack("{s:s, s:s}", "state", "busy", "until",
                         "2026-11-22T06:00:00.123456+00:00");
    snprintf(w->claims[i].holder, sizeof w->claims[i].holder, "%s", member(p, "holder"));
    w->claims[i].until_ms = got_now() + 1000 * json_integer_value(json_object_get(p, "lease_s"));
    return json_pack("{s:s}", "state", "claimed");
}

static json_t *
settle(struct world *w, int i, const json_t *p)
{
    bool mine = w->claims[i].until_ms && strcmp(w->claims[i].holder, member(p, "holder")) == 0;
    w->settled++;
    if (!mine)
        return w->claims[i].id[0]
                   ? json_pack("{s:b, s:s}", "settled", 0, "provider_file_id", w->claims[i].id)
                   : json_pack("{s:b, s:n}", "settled", 0, "provider_file_id");
    snprintf(w->claims[i].id, sizeof w->claims[i].id, "%s", member(p, "provider_file_id"));
    w->claims[i].until_ms = 0;
    return json_pack("{s:b}", "settled", 1);
}

static int
call_tables(void *arg, const char *function, json_t *args, int64_t deadline_ms, json_t **answer,
            struct sf_err *err)
{
    struct world *w = arg;
    const json_t *p = json_object_get(args, "p");
    char what[256];
    int i;
    (void)deadline_ms;
    snprintf(what, sizeof what, "%s/%s/%s/%s", member(p, "sha256"), member(p, "provider"),
             member(p, "account"), member(p, "purpose"));
    pthread_mutex_lock(&w->lock);
    int rc = w->tables_rc;
    if (rc) {
        w->asked++;
        rc = sf_err_set(err, rc, "as the test says");
    } else if (strstr(function, "find")) {
        bool found = w->found && member(p, w->found)[0];
        *answer = found ? json_pack("[{s:s}]", "id", "1234") : json_array();
    } else if (strstr(function, "drop")) {
        w->dropped++;
        for (i = 0; i < w->n_claims; i++)
            if (!strcmp(w->claims[i].id, member(p, "provider_file_id")))
                w->claims[i].id[0] = '\0';
        *answer = json_pack("{s:i}", "dropped", 1);
    } else {
        for (i = 0; i < w->n_claims && strcmp(w->claims[i].what, what) != 0; i++)
            ;
        bool is_new = i == w->n_claims;
        if (is_new && ++w->n_claims > CLAIMS)
            abort();
        snprintf(w->claims[i].what, sizeof w->claims[i].what, "%s", what);
        *answer = strstr(function, "claim") && !strstr(function, "settle") ? claim(w, i, is_new, p)
                                                                           : settle(w, i, p);
    }
    pthread_mutex_unlock(&w->lock);
    json_decref(args);
    return rc;
}

/* ---- start and end --------------------------------------------------------------------------- */

void
open_mount(struct world *w, int i, bool tables)
{
    const struct sf_functions_peer peer = {.call = call_tables, .arg = w};
    const struct sf_providers_opts o = {
        .state_dir = w->dir[i],
        .tables = tables ? &peer : NULL,
        .ids_bytes = 1 << 20,
        .claim_wait_ms = 20,
        .remember_ms = {w->remember_ms, w->remember_ms, w->remember_ms}};
    struct sf_err err = SF_ERR_INIT;
    if (sf_providers_open(w->http, &w->confs, &o, &w->ps[i], &err))
        fail_msg("%s", err.msg);
}

void
close_mount(struct world *w, int i)
{
    sf_providers_free(w->ps[i]);
    w->ps[i] = NULL;
}

int
setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    pthread_mutex_init(&w->lock, NULL);
    w->remember_ms = 60000;
    w->toy = toy_start(&(struct toy_opts){.serve = serve, .arg = w});
    w->type = *sf_provider_type_find("kimi");
    w->type.needs_key = false;
    snprintf(w->base, sizeof w->base, "%s", toy_url(w->toy, "/v1"));
    for (int i = 0; i < 2; i++) {
        w->conf[i] = (struct sf_provider_conf){.name = "toy",
                                               .type = &w->type,
                                               .base_url = w->base,
                                               .purpose = strdup("file-extract"),
                                               .concurrency = 2,
                                               .upload_ms = 20000,
                                               .timeout_ms = 20000};
        assert_int_equal(provider_key_new(w->base, NULL, &w->conf[i].key), 0);
    }
    snprintf(w->conf[1].name, sizeof w->conf[1].name, "other");
    w->confs = (struct sf_provider_confs){.all = w->conf, .n = 2};
    assert_int_equal(sf_http_new(NULL, &w->http, NULL), 0);
    for (int i = 0; i < MOUNTS; i++) {
        snprintf(w->dir[i], sizeof w->dir[i], "/tmp/supafs-want-XXXXXX");
        if (!mkdtemp(w->dir[i]))
            return -1;
    }
    *state = w;
    return 0;
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
    (void)st, (void)flag, (void)f;
    return remove(path);
}

int
teardown(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < MOUNTS; i++)
        close_mount(w, i);
    sf_http_free(w->http);
    toy_stop(w->toy);
    assert_int_equal(sf_gauge_get(SF_G_PROVIDER_SLOTS), 0);
    assert_int_equal(sf_gauge_get(SF_G_PROVIDER_WAITING), 0);
    assert_int_equal(sf_gauge_get(SF_G_PROVIDER_WANTS), 0);
    for (int i = 0; i < 2; i++) {
        provider_key_free(w->conf[i].key);
        free(w->conf[i].purpose);
    }
    for (int i = 0; i < MOUNTS; i++)
        nftw(w->dir[i], remove_one, 8, FTW_DEPTH | FTW_PHYS);
    pthread_mutex_destroy(&w->lock);
    free(w);
    return 0;
}

/* ---- who asks -------------------------------------------------------------------------------- */

static ssize_t
ask_read(void *arg, void *buf, size_t n, uint64_t off)
{
    struct ask *a = arg;
    a->reads++;
    while (a->blocks && !a->stopped)
        got_sleep(5);
    if (a->stopped)
        return -EINTR;
    if (a->error_at && off + n > a->error_at)
        return -ESTALE;
    if (off + n > a->size)
        n = (size_t)(a->size - off);
    memset(buf, a->fill, n);
    return (ssize_t)n;
}

static void
ask_stop(void *arg)
{
    ((struct ask *)arg)->stopped = true;
}

static void
ask_release(void *arg)
{
    if (atomic_exchange(&((struct ask *)arg)->released, true))
        abort();
}

void
wanted(void *arg, const struct sf_wanted *result)
{
    struct ask *a = arg;
    a->wanted = *result;
    a->calls++;
}

struct sf_want_file
file_of(struct ask *a)
{
    return (struct sf_want_file){.size = a->size,
                                 .name = "report.pdf",
                                 .bucket = "b",
                                 .key = a->key,
                                 .etag = a->etag,
                                 .id = a->id,
                                 .read = ask_read,
                                 .stop = ask_stop,
                                 .release = ask_release,
                                 .arg = a};
}

uint64_t
start_of(struct world *w, int mount, const char *provider, struct ask *a, bool again, int ms)
{
    const struct sf_want_file f = file_of(a);
    const struct sf_want_how how = {.again = again, .deadline_ms = ms ? got_now() + ms : 0};
    a->calls = a->reads = 0;
    a->released = a->stopped = false;
    return sf_want(w->ps[mount], provider, &f, &how, wanted, a);
}

void
wait_for(struct ask *a)
{
    for (int i = 0; i < 6000 && !(a->calls && a->released); i++)
        got_sleep(5);
    assert_int_equal(a->calls, 1);
    assert_true(a->released);
}

const char *
get_of(struct world *w, int mount, const char *provider, struct ask *a, bool again)
{
    start_of(w, mount, provider, a, again, 0);
    wait_for(a);
    return a->wanted.rc ? sf_errno_name(a->wanted.rc) : a->wanted.id;
}

const char *
get(struct world *w, struct ask *a)
{
    return get_of(w, 0, "toy", a, false);
}

struct sf_want_state
known(struct world *w, struct ask *a)
{
    struct sf_want_state s;
    const struct sf_want_file f = file_of(a);
    assert_int_equal(sf_want_known(w->ps[0], "toy", &f, NULL, &s), 0);
    return s;
}

unsigned
seen(struct world *w, const unsigned *what)
{
    pthread_mutex_lock(&w->lock);
    unsigned n = *what;
    pthread_mutex_unlock(&w->lock);
    return n;
}

void
plan(struct world *w, const char *script, bool held)
{
    pthread_mutex_lock(&w->lock);
    w->script = script;
    w->held = held;
    pthread_mutex_unlock(&w->lock);
}

void
await_uploads(struct world *w, unsigned n)
{
    for (int i = 0; i < 2000 && seen(w, &w->waiting) < n; i++)
        got_sleep(5);
    assert_int_equal(seen(w, &w->waiting), n);
}

void
vanish(struct world *w, int i)
{
    pthread_mutex_lock(&w->lock);
    w->files[i].gone = true;
    pthread_mutex_unlock(&w->lock);
}
