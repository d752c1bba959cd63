/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "fuzz.h"
#include "http/internal.h"
#include "supabase/storage.h"
#include "supabase/tus.h"

/*
 * The calls of the Storage client over a service that answers what the input says, without a
 * network between them: sf_http_submit() is replaced here.
 *
 * First byte: which call. The rest: one reply after the other as it comes on the wire, but for its
 * length, which ends at a line of one '~' or at the end of the input. What is no reply is a
 * connection that broke.
 */

static const uint8_t *wire, *wire_end;
static struct sf_http http; /* never started */
static struct sf_auth *auth;
static struct sf_storage *st;
static unsigned sent;

/* ---- the network ---------------------------------------------------------------------------- */

uint64_t __wrap_sf_http_submit(struct sf_http *h, struct sf_http_req *req, sf_http_done_fn done,
                               void *arg);
int __wrap_sf_http_post(struct sf_http *h, sf_http_call_fn fn, void *arg);

/* The next piece of the input, with its line feed, and not behind @end. */
static size_t
line_len(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *nl = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    return nl ? (size_t)(nl - p) + 1 : (size_t)(end - p);
}

/* Where the reply at @p ends: at a line "~", to which *next leads over. */
static const uint8_t *
reply_end(const uint8_t *p, const uint8_t **next)
{
    while (p < wire_end) {
        size_t n = line_len(p, wire_end);
        if (n == 2 && *p == '~') {
            *next = p + n;
            return p;
        }
        p += n;
    }
    *next = wire_end;
    return wire_end;
}

/* As curl hands over head and body. */
static int
receive(struct sf_http_req *req, const char **why)
{
    const uint8_t *next, *end = reply_end(wire, &next);
    int rc = 0;
    while (!rc && wire < end && !req->recv.head_done) {
        size_t n = line_len(wire, end);
        rc = http_recv_line(&req->recv, (const char *)wire, n, why);
        wire += n;
    }
    const char *declared = http_recv_header(&req->recv, "content-length");
    int64_t length = -1;
    if (declared)
        (void)sf_parse_i64(declared, &length);
    if (strcmp(req->method, "HEAD") == 0)
        wire = end;
    while (!rc && wire < end) {
        size_t n = (size_t)(end - wire) < 700 ? (size_t)(end - wire) : 700;
        rc = http_recv_body(req, (const char *)wire, n, length, why);
        wire += n;
    }
    wire = next;
    return rc;
}

static void
attempt(struct sf_http_req *req, struct sf_http_reply *reply)
{
    const char *why = "the connection broke";
    http_req_drop_attempt_headers(req);
    http_recv_reset(&req->recv);
    req->preparing = true;
    req->prepare(req->hook_arg, req);
    req->preparing = false;
    REQUIRE(req->bad.code == 0);
    *reply = (struct sf_http_reply){.req = req, .attempts = ++req->attempts};
    int rc = receive(req, &why);
    if (rc || !req->recv.head_done) {
        http_error_text(&reply->err, req, rc ? rc : -ECONNRESET, true, why);
        reply->err.outcome_open = !req->safe;
    } else {
        http_recv_fill(req, reply);
    }
}

uint64_t
__wrap_sf_http_submit(struct sf_http *h, struct sf_http_req *req, sf_http_done_fn done, void *arg)
{
    struct sf_http_reply reply;
    REQUIRE(h == &http && req->bad.code == 0);
    sent++;
    for (unsigned i = 0;; i++) {
        attempt(req, &reply);
        if (i == 3 || wire == wire_end)
            break;
        if (reply.status ? req->classify(req->hook_arg, &reply) == SF_HTTP_FINAL : !req->idempotent)
            break;
    }
    done(arg, &reply);
    http_req_destroy(req);
    return sent;
}

int
__wrap_sf_http_post(struct sf_http *h, sf_http_call_fn fn, void *arg)
{
    REQUIRE(h == &http);
    fn(arg);
    return 0;
}

static void
open_world(void)
{
    static const char payload[] = "{\"role\":\"service_role\",\"exp\":4000000000}";
    sf_autobuf struct sf_buf key = SF_BUF_INIT;
    if (st)
        return;
    REQUIRE(sf_buf_puts(&key, "eyJhbGciOiJIUzI1NiJ9.") == 0);
    REQUIRE(sf_base64url_encode(&key, payload, sizeof payload - 1) == 0);
    REQUIRE(sf_buf_puts(&key, ".c2lnbmF0dXJl") == 0);
    const struct sf_auth_source src = {.kind = SF_AUTH_VALUE, .value = key.data, .label = "test"};
    REQUIRE(sf_auth_new(&src, &auth, NULL) == 0);
    REQUIRE(sf_storage_new(&http, auth, "http://127.0.0.1:9", &st, NULL) == 0);
}

/* ---- what may come of a call ---------------------------------------------------------------- */

static unsigned ended;

static void
check_err(const struct sf_err *err)
{
    REQUIRE(err->code < 0 && err->msg[0]);
    REQUIRE(memchr(err->msg, '\0', sizeof err->msg));
    REQUIRE(memchr(err->api_code, '\0', sizeof err->api_code));
    fuzz_printable(err->msg);
    REQUIRE(!strstr(err->msg, "eyJhbGciOiJIUzI1NiJ9."));
}

/* One end, with a result or an error. */
static void
check_end(const struct sf_err *err, bool result)
{
    ended++;
    REQUIRE((err != NULL) != result);
    if (err)
        check_err(err);
}

static void
check_rc(int rc, const struct sf_err *err)
{
    ended++;
    REQUIRE(rc == err->code);
    if (rc)
        check_err(err);
}

static void
on_buckets(void *arg, const struct sf_err *err, const struct sf_bucket_row *rows, size_t n)
{
    const bool *one = arg;
    check_end(err, rows != NULL);
    REQUIRE(!rows || !*one || n == 1);
    for (size_t i = 0; rows && i < n; i++) {
        REQUIRE(rows[i].id[0] && !strchr(rows[i].id, '/') && rows[i].name);
        REQUIRE(rows[i].size_limit <= INT64_MAX);
        for (const char *const *m = rows[i].mimes; m && *m; m++)
            REQUIRE(strlen(*m) < SIZE_MAX);
    }
}

static void
on_page(void *arg, const struct sf_err *err, const struct sf_list_page *page)
{
    (void)arg;
    check_end(err, page != NULL);
    for (size_t i = 0; page && i < page->n; i++)
        REQUIRE(strncmp(page->rows[i].key, "d/", 2) == 0 && strcmp(page->rows[i].key, "d/b") > 0);
    REQUIRE(!page || !page->more || strcmp(page->last, "d/b") > 0);
}

static void
on_plain(void *arg, const struct sf_err *err)
{
    (void)arg;
    check_end(err, err == NULL);
}

static void
on_info(void *arg, const struct sf_err *err, const struct sf_object_info *info)
{
    (void)arg;
    struct sf_version v;
    check_end(err, info != NULL);
    if (!info)
        return;
    REQUIRE(info->size <= INT64_MAX && info->metadata[0] == '{');
    sf_version_of_info(info, &v);
    REQUIRE(!sf_version_known(&v) || sf_version_same(&v, &v));
}

static void
on_get(void *arg, const struct sf_err *err, const struct sf_get_result *res)
{
    const struct sf_get_args *asked = arg;
    check_end(err, res != NULL);
    if (!res)
        return;
    REQUIRE(res->len <= asked->len && res->etag);
    REQUIRE(asked->any_total || res->total == asked->total);
    REQUIRE(res->total == 0 || res->total > asked->off);
    REQUIRE(res->len == asked->len || asked->off + res->len == res->total);
    REQUIRE(!asked->etag || !*asked->etag || sf_etag_same(asked->etag, res->etag));
}

static void
check_object(int rc, const struct sf_err *err, struct sf_object *o)
{
    struct sf_version v;
    check_rc(rc, err);
    if (rc == 0) {
        REQUIRE(o->id && o->version && o->etag && o->mime && o->cache_control);
        REQUIRE(o->metadata && o->metadata[0] == '{' && o->size <= INT64_MAX);
        sf_version_of_object(o, &v);
    } else {
        REQUIRE(!o->id && !o->metadata);
    }
    sf_object_fini(o);
}

/* ---- the calls ------------------------------------------------------------------------------ */

static void
get(uint64_t off, size_t len, const char *etag, bool any_total, int64_t by)
{
    /* On the heap, exactly so long. */
    struct sf_get_args a = {.bucket = "b",
                            .key = "d/k",
                            .off = off,
                            .len = len,
                            .buf = malloc(len),
                            .etag = etag,
                            .total = 40,
                            .any_total = any_total};
    REQUIRE(a.buf);
    sf_storage_get(st, &a, by, on_get, &a);
    free(a.buf);
}

static int
body_file(void)
{
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("body", MFD_CLOEXEC);
        REQUIRE(fd >= 0 && ftruncate(fd, 5000) == 0);
    }
    return fd;
}

static void
put(bool upsert, bool form, int64_t by)
{
    struct sf_progress progress = {0};
    struct sf_err err = SF_ERR_INIT;
    char id[40] = "untouched";
    const struct sf_put_args a = {.bucket = "b",
                                  .key = "d/k",
                                  .fd = body_file(),
                                  .size = 5000,
                                  .metadata = "{\"a\":1}",
                                  .upsert = upsert,
                                  .progress = &progress};
    int rc = form ? sf_storage_put_form_wait(st, &a, by, id, &err)
                  : sf_storage_put_wait(st, &a, by, id, &err);
    check_rc(rc, &err);
    REQUIRE(memchr(id, '\0', sizeof id) && (!rc || strcmp(id, "untouched") == 0));
}

static void
removals(int64_t by)
{
    static const char *const keys[] = {"d/a", "d/b", "d/c"};
    struct sf_err err = SF_ERR_INIT;
    struct sf_removed gone[3];
    check_rc(sf_storage_delete_many_wait(st, "b", keys, 3, by, gone, &err), &err);
}

static void
copy(int64_t by)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_object o = {0};
    const struct sf_copy_args a = {.bucket = "b",
                                   .key = "d/k",
                                   .to_bucket = "b",
                                   .to_key = "d/l",
                                   .upsert = true,
                                   .set_metadata = true,
                                   .metadata = "{}"};
    int rc = sf_storage_copy_wait(st, &a, by, &o, &err);
    check_object(rc, &err, &o);
}

static void
set_attrs(int64_t by)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_attrs_result res = {0};
    const struct sf_attrs_args a = {
        .bucket = "b", .key = "d/k", .version = "v1", .cache_control = "no-cache"};
    check_rc(sf_storage_set_attrs_wait(st, &a, by, &res, &err), &err);
    REQUIRE(memchr(res.version, '\0', sizeof res.version));
}

static void
list_wait(int64_t by)
{
    struct sf_err err = SF_ERR_INIT;
    const struct sf_list_args a = {.bucket = "b", .prefix = "d/", .limit = 2, .delimiter = true};
    size_t n = 77;
    char *first = NULL;
    int rc = sf_storage_list_wait(st, &a, by, &n, &first, &err);
    check_rc(rc, &err);
    REQUIRE(rc ? !first : n <= 2 && (first != NULL) == (n > 0));
    free(first);
}

static void
object_info(int64_t by)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_object o = {0};
    int rc = sf_storage_info_wait(st, "b", "d/k", by, &o, &err);
    check_object(rc, &err, &o);
}

static void
limit(int64_t by)
{
    struct sf_err err = SF_ERR_INIT;
    uint64_t bytes = 77;
    int rc = sf_storage_global_limit_wait(st, by, &bytes, &err);
    check_rc(rc, &err);
    REQUIRE(rc == 0 || bytes == 77);
}

/* ---- resumable uploads ---------------------------------------------------------------------- */

static void
tus_create(int64_t by)
{
    struct sf_err err = SF_ERR_INIT;
    char *name = NULL;
    const struct sf_tus_args a = {.bucket = "b", .key = "d/k", .size = 5000};
    int rc = sf_tus_create_wait(st, &a, by, &name, &err);
    check_rc(rc, &err);
    REQUIRE((rc == 0) == (name != NULL));
    REQUIRE(!name || (name[0] && strlen(name) <= SF_TUS_NAME_MAX));
    free(name);
}

static void
tus_offset(int64_t by)
{
    struct sf_err err = SF_ERR_INIT;
    uint64_t offset = 78, size = 77;
    int rc = sf_tus_offset_wait(st, "bmFtZQ", true, by, &offset, &size, &err);
    check_rc(rc, &err);
    REQUIRE(rc ? offset == 78 && size == 77 : offset <= size);
}

static void
tus_send(int64_t by)
{
    struct sf_err err = SF_ERR_INIT;
    uint64_t now_at = 77;
    const struct sf_tus_piece p = {
        .name = "bmFtZQ", .upsert = true, .fd = body_file(), .off = 1000, .len = 2000};
    int rc = sf_tus_send_wait(st, &p, by, &now_at, &err);
    check_rc(rc, &err);
    REQUIRE(rc ? now_at == 77 : now_at >= 1000 && now_at <= 3000);
}

static void
plain_change(unsigned which, int64_t by)
{
    struct sf_err err = SF_ERR_INIT;
    int rc = which == 0   ? sf_storage_delete_wait(st, "b", "d/k", by, &err)
             : which == 1 ? sf_storage_move_wait(st, "b", "d/k", "b", "d/l", by, &err)
             : which == 2 ? sf_storage_bucket_create_wait(st, "b", by, &err)
             : which == 3 ? sf_storage_bucket_delete_wait(st, "b", by, &err)
                          : sf_tus_drop_wait(st, "bmFtZQ", false, by, &err);
    check_rc(rc, &err);
}

static void
on_link(void *arg, const struct sf_err *err, const char *url)
{
    static const char begin[] = "http://127.0.0.1:9/storage/v1/object/sign/b/d/k?token=";
    (void)arg;
    check_end(err, url != NULL);
    if (url) {
        REQUIRE(!strncmp(url, begin, sizeof begin - 1));
        for (const char *p = url + sizeof begin - 1; *p; p++)
            REQUIRE(strchr("-_.", *p) || (*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') ||
                    (*p >= 'a' && *p <= 'z'));
    }
}

static void
read_call(char which, int64_t by)
{
    static bool one = true, all = false;
    const struct sf_list_args page = {
        .bucket = "b", .prefix = "d/", .after = "d/b", .limit = 1000, .delimiter = which == 'p'};
    switch (which) {
    case 'a':
        sf_storage_bucket_list(st, by, on_buckets, &all);
        break;
    case 'b':
        sf_storage_bucket_get(st, "b", by, on_buckets, &one);
        break;
    case 'v':
        sf_storage_verify(st, "b", by, on_plain, NULL);
        break;
    case 'i':
        sf_storage_info(st, "b", "d/k", by, on_info, NULL);
        break;
    case 's':
        sf_storage_sign(st, "b", "d/k", 60, by, on_link, NULL);
        break;
    case 'r':
        get(10, 20, "\"e\"", false, by);
        break;
    case 'R':
        get(30, 20, NULL, true, by);
        break;
    case 'w':
        get(0, 100, "", false, by);
        break;
    default:
        sf_storage_list(st, &page, by, on_page, NULL);
    }
}

static void
call(char which, int64_t by)
{
    static const char plain[] = "dmcxq";
    const char *p = which ? strchr(plain, which) : NULL;
    if (p)
        plain_change((unsigned)(p - plain), by);
    else if (which == 'P' || which == 'U')
        put(which == 'U', false, by);
    else if (which == 'F')
        put(true, true, by);
    else if (which == 'D')
        removals(by);
    else if (which == 'C')
        copy(by);
    else if (which == 'A')
        set_attrs(by);
    else if (which == 'L')
        list_wait(by);
    else if (which == 'I')
        object_info(by);
    else if (which == 'M')
        limit(by);
    else if (which == 'T')
        tus_create(by);
    else if (which == 'O')
        tus_offset(by);
    else if (which == 'S')
        tus_send(by);
    else
        read_call(which, by);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    open_world();
    wire = data + 1;
    wire_end = data + size;
    sent = ended = 0;
    call((char)data[0], sf_clock_ms() + 1000);
    REQUIRE(ended == 1 && sent == 1);
    return 0;
}
