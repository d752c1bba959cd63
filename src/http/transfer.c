/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/internal.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"

#define KEEP_CONN_S  55L /* the service closes idle connections after 60 s */
#define KEEP_IDLE_S  30L
#define KEEP_PROBE_S 10L
#define KEEP_UNSENT  (128 << 10) /* bytes the kernel holds beyond what is under way */
#define READ_AHEAD   (32 << 10)  /* of a body, what the service takes in without being asked */
#define ENOUGH_MS    1000        /* for the rest of a reply that is not wanted */
#define BIG_BUFFER   (128L << 10)
#define SMALL_BUFFER (16L << 10) /* curl's default; must not be less */

static int64_t
info_off(CURL *easy, CURLINFO what)
{
    curl_off_t v = 0;
    return curl_easy_getinfo(easy, what, &v) == CURLE_OK ? v : 0;
}

static long
info_long(CURL *easy, CURLINFO what)
{
    long v = 0;
    return curl_easy_getinfo(easy, what, &v) == CURLE_OK ? v : 0;
}

static int
give_up(struct sf_http_req *req, int code, const char *why)
{
    if (!req->try.abort_code) {
        req->try.abort_code = code;
        req->try.abort_text = why;
    }
    return code;
}

/* ---- curl's callbacks ---------------------------------------------------------------------------
 */

/*
 * The service answers a refused upload before its body, never reads that, and keeps the connection:
 * once the body has gone into the buffers between, the next request on it would wait behind it.
 */
static void
leave_unread_body(const struct sf_http_req *req)
{
    if (req->recv.status >= 400 && req->body_len > READ_AHEAD &&
        info_long(req->try.easy, CURLINFO_HTTP_VERSION) < CURL_HTTP_VERSION_2_0)
        (void)curl_easy_setopt(req->try.easy, CURLOPT_FORBID_REUSE, 1L);
}

static size_t
on_header(char *p, size_t size, size_t n, void *arg)
{
    struct sf_http_req *req = arg;
    const char *why = NULL;
    int rc = http_recv_line(&req->recv, p, size * n, &why);
    if (rc) {
        give_up(req, rc, why);
    } else {
        leave_unread_body(req);
        /* curl does not end a request that rests, though it wants no more of its body. */
        if (req->try.resting && req->recv.head_done)
            sf_http_req_resume(req->http, req->id);
    }
    return rc ? CURL_WRITEFUNC_ERROR : size * n;
}

/* What is left of a reply that nobody wants must not keep the request for long. */
static void
end_soon(struct sf_http_req *req)
{
    int64_t soon = sf_clock_ms() + ENOUGH_MS;
    req->enough = true;
    if (soon < req->deadline_ms) {
        req->deadline_ms = soon;
        http_due_put(&req->http->dues, &req->due, soon);
    }
}

static size_t
give_sink(struct sf_http_req *req, const char *p, size_t n)
{
    struct sf_http_reply head = {.status = req->recv.status, .attempts = req->attempts, .req = req};
    head.elapsed_ms = sf_clock_ms() - req->submitted_ms;
    int rc = req->enough ? 0 : req->sink(req->sink_arg, &head, p, n);
    if (rc == -EAGAIN) {
        req->try.held = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    req->sink_used = true;
    if (rc == SF_HTTP_ENOUGH)
        end_soon(req);
    if (rc < 0)
        give_up(req, rc, "what came was not taken");
    return rc < 0 ? CURL_WRITEFUNC_ERROR : n;
}

static size_t
on_body(char *p, size_t size, size_t n, void *arg)
{
    struct sf_http_req *req = arg;
    const char *why = NULL;
    if (http_recv_sinks(req))
        return give_sink(req, p, size * n);
    int64_t declared = info_off(req->try.easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T);
    int rc = http_recv_body(req, p, size * n, declared, &why);
    if (rc)
        give_up(req, rc, why);
    return rc ? CURL_WRITEFUNC_ERROR : size * n;
}

static void
tell_sent(const struct sf_http_req *req)
{
    if (req->sent)
        atomic_store_explicit(req->sent, req->sent_base + req->try.body_pos, memory_order_relaxed);
}

static ssize_t
copy_part(char *p, size_t want, const char *part, uint64_t pos, uint64_t len)
{
    size_t n = want < len - pos ? want : (size_t)(len - pos);
    memcpy(p, part + pos, n);
    return (ssize_t)n;
}

static ssize_t
read_source(struct sf_http_req *req, char *p, size_t want)
{
    req->source_used = true;
    ssize_t got = req->source(req->source_arg, p, want);
    assert(got <= (ssize_t)want);
    return got;
}

/* Up to @want bytes of the body where it stands, of one of its three parts; 0 = not yet. */
static ssize_t
read_body(struct sf_http_req *req, char *p, size_t want)
{
    uint64_t pos = req->try.body_pos;
    if (pos < req->head_len)
        return copy_part(p, want, req->body, pos, req->head_len);
    pos -= req->head_len;
    if (pos < req->file_len) {
        if (want > req->file_len - pos)
            want = (size_t)(req->file_len - pos);
        if (req->source)
            return read_source(req, p, want);
        ssize_t got = pread(req->body_fd, p, want, (off_t)(req->file_off + pos));
        return got > 0 ? got : got < 0 ? -errno : -ENODATA;
    }
    pos -= req->file_len;
    return copy_part(p, want, req->tail, pos, req->body_len - req->head_len - req->file_len);
}

static void
give_up_body(struct sf_http_req *req, int rc)
{
    if (req->source)
        give_up(req, rc, "the bytes of the request body cannot be had");
    else if (rc == -ENODATA)
        give_up(req, -EIO, "the file with the request body is shorter than it was");
    else
        give_up(req, rc, "the file with the request body cannot be read");
}

static size_t
on_read(char *p, size_t size, size_t n, void *arg)
{
    struct sf_http_req *req = arg;
    if (size == 0 || n == 0 || req->try.body_pos >= req->body_len)
        return 0;
    ssize_t got = read_body(req, p, size * n);
    if (got == 0) {
        req->try.resting = true;
        return CURL_READFUNC_PAUSE;
    }
    if (got < 0) {
        give_up_body(req, (int)got);
        return CURL_READFUNC_ABORT;
    }
    req->try.body_pos += (uint64_t)got;
    tell_sent(req);
    return (size_t)got;
}

static int
on_seek(void *arg, curl_off_t off, int origin)
{
    struct sf_http_req *req = arg;
    if (origin != SEEK_SET || off < 0 || (uint64_t)off > req->body_len || req->source_used)
        return CURL_SEEKFUNC_FAIL;
    req->try.body_pos = (uint64_t)off;
    tell_sent(req);
    return CURL_SEEKFUNC_OK;
}

/*
 * What curl has written must be close to what has left, or a stall would hide behind megabytes of
 * socket buffer; and what has left must be acknowledged in time, or the peer is gone. Both are
 * hints: without them only the detection of stalls is slower.
 */
static int
on_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
    const struct sf_http *http = arg;
    int unsent = KEEP_UNSENT;
    unsigned timeout_ms = 2 * http->opts.stall_ms;
    if (purpose == CURLSOCKTYPE_IPCXN) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
    }
    return CURL_SOCKOPT_OK;
}

/*
 * A connection is ready and the request is about to be sent on it. When a kept connection turns out
 * to be dead before any byte of the reply, curl by itself takes another one and comes here again,
 * whatever the method. That is what we want for idempotent requests, once; it must not happen to
 * others once bytes of them have left, since the lost connection may have carried them out.
 */
static int
on_request(void *arg, char *to, char *from, int to_port, int from_port)
{
    struct sf_http_req *req = arg;
    struct http_try *t = &req->try;
    int64_t bytes = info_long(t->easy, CURLINFO_REQUEST_SIZE);
    (void)to;
    (void)from;
    (void)to_port;
    (void)from_port;
    t->prereqs++;
    if (req->source_used || req->sink_used) {
        give_up(req, -ECONNRESET, "the connection was reset before a reply");
        return CURL_PREREQFUNC_ABORT;
    }
    if (t->prereqs > 1 && bytes > t->begun_bytes && req->recv.status != 417) {
        if (!req->idempotent || t->lost_reused) {
            give_up(req, -ECONNRESET, "the connection was reset before a reply");
            return CURL_PREREQFUNC_ABORT;
        }
        t->lost_reused = true;
        req->attempts++;
        if (!req->safe)
            req->maybe_done = true;
        http_stats_event(req->http, HTTP_EV_ATTEMPT);
        http_stats_event(req->http, HTTP_EV_RETRY);
    }
    t->begun_bytes = bytes;
    t->body_pos = 0;
    tell_sent(req);
    t->progress_bytes = -1;
    t->progress_ms = sf_clock_ms();
    http_recv_reset(&req->recv);
    return CURL_PREREQFUNC_OK;
}

/* ---- options ------------------------------------------------------------------------------------
 */

#define SET(opt, value)                                                                            \
    do {                                                                                           \
        CURLcode rc_ = curl_easy_setopt(e, opt, value);                                            \
        if (rc_ != CURLE_OK)                                                                       \
            return rc_;                                                                            \
    } while (0)

static CURLcode
set_connection(CURL *e, const struct sf_http *http, const struct sf_http_req *req, int64_t left_ms)
{
    long connect_ms = (long)http->opts.connect_ms;
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* else a cancel waits for a slow resolver */
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    /* One that may be held back has a connection of its own: others would be held back with it. */
    SET(CURLOPT_HTTP_VERSION,
        req->peer.tls && !req->sink ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_CONNECTTIMEOUT_MS, left_ms < connect_ms ? (long)left_ms : connect_ms);
    SET(CURLOPT_MAXAGE_CONN, KEEP_CONN_S);
    SET(CURLOPT_SOCKOPTFUNCTION, on_socket);
    SET(CURLOPT_SOCKOPTDATA, http);
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_TCP_KEEPIDLE, KEEP_IDLE_S);
    SET(CURLOPT_TCP_KEEPINTVL, KEEP_PROBE_S);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (http->ca_file)
        SET(CURLOPT_CAINFO, http->ca_file);
    if (req->peer.loopback)
        SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_USERAGENT, http->user_agent);
    return CURLE_OK;
}

static CURLcode
set_body(CURL *e, struct sf_http_req *req)
{
    bool expects = !strcmp(req->method, "POST") || !strcmp(req->method, "PUT") ||
                   !strcmp(req->method, "PATCH");
    if (!strcmp(req->method, "HEAD")) {
        SET(CURLOPT_NOBODY, 1L);
        return CURLE_OK;
    }
    if ((req->body_fd >= 0 || req->source) && req->body_len) {
        SET(CURLOPT_UPLOAD, 1L);
        SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)req->body_len);
        SET(CURLOPT_READFUNCTION, on_read);
        SET(CURLOPT_READDATA, req);
        SET(CURLOPT_SEEKFUNCTION, on_seek);
        SET(CURLOPT_SEEKDATA, req);
        if (req->sink) /* there may be many of these, and they last */
            SET(CURLOPT_UPLOAD_BUFFERSIZE, SMALL_BUFFER);
        else if (req->body_len > BIG_BUFFER)
            SET(CURLOPT_UPLOAD_BUFFERSIZE, BIG_BUFFER);
    } else if (req->body_len || expects) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body_len);
        SET(CURLOPT_POSTFIELDS, req->body_len ? req->body : "");
    } else {
        SET(CURLOPT_HTTPGET, 1L);
    }
    SET(CURLOPT_CUSTOMREQUEST, req->method);
    return CURLE_OK;
}

/* Headers that curl would otherwise add by itself. */
static CURLcode
set_headers(CURL *e, struct sf_http_req *req)
{
    static const char *const drop[] = {"Expect:", "Content-Type:"};
    /* What a PATCH continues has been agreed upon before: asking again is a lost round trip. */
    bool expect = req->body_len > HTTP_EXPECT_MIN && strcmp(req->method, "PATCH") != 0;
    bool unwanted[] = {!expect, !req->has_content_type};
    for (int i = 0; i < 2; i++) {
        if (!unwanted[i])
            continue;
        struct curl_slist *l = curl_slist_append(req->headers, drop[i]);
        if (!l)
            return CURLE_OUT_OF_MEMORY;
        req->headers = l;
    }
    SET(CURLOPT_HTTPHEADER, req->headers);
    return CURLE_OK;
}

static CURLcode
set_options(CURL *e, struct sf_http *http, struct sf_http_req *req, int64_t left_ms)
{
    size_t most = req->into_size > req->limit ? req->into_size : req->limit;
    if (req->sink) /* what comes in pieces needs no room for many of them */
        most = 0;
    SET(CURLOPT_URL, req->url);
    SET(CURLOPT_PATH_AS_IS, 1L);
    SET(CURLOPT_PRIVATE, req);
    SET(CURLOPT_ERRORBUFFER, req->try.detail);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, req);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, req);
    SET(CURLOPT_PREREQFUNCTION, on_request);
    SET(CURLOPT_PREREQDATA, req);
    /* Refused while the handle has a buffer, which it keeps when a name was not resolved. */
    (void)curl_easy_setopt(e, CURLOPT_BUFFERSIZE,
                           most > (size_t)SMALL_BUFFER ? BIG_BUFFER : SMALL_BUFFER);
    CURLcode rc = set_connection(e, http, req, left_ms);
    if (!rc)
        rc = set_body(e, req);
    return rc ? rc : set_headers(e, req);
}

#undef SET

/* ---- begin and end ------------------------------------------------------------------------------
 */

static CURL *
easy_take(struct sf_http *http)
{
    if (http->n_idle)
        return http->idle[--http->n_idle];
    CURL *e = curl_easy_init();
    http->n_handles += e != NULL;
    return e;
}

static void
easy_give(struct sf_http *http, CURL *e)
{
    curl_easy_reset(e); /* keeps the caches, forgets all pointers to the request */
    if (http->n_idle < http->opts.max_connections) {
        http->idle[http->n_idle++] = e;
    } else {
        curl_easy_cleanup(e);
        http->n_handles--;
    }
}

int
http_transfer_start(struct sf_http *http, struct sf_http_req *req)
{
    http_req_drop_attempt_headers(req);
    http_recv_reset(&req->recv);
    memset(&req->try, 0, sizeof req->try);
    if (req->prepare) {
        req->preparing = true;
        req->prepare(req->hook_arg, req);
        req->preparing = false;
        if (req->bad.code) {
            req->last = req->bad;
            return req->bad.code;
        }
    }
    int64_t now = sf_clock_ms();
    CURLcode rc = CURLE_OUT_OF_MEMORY;
    CURL *e = easy_take(http);
    if (e) {
        rc = set_options(e, http, req, req->deadline_ms > now ? req->deadline_ms - now : 1);
        if (!rc && curl_multi_add_handle(http->multi, e) != CURLM_OK)
            rc = CURLE_OUT_OF_MEMORY;
        if (rc)
            easy_give(http, e);
    }
    if (rc) {
        http_error_transfer(&req->last, req, rc, 0);
        return req->last.code;
    }
    req->try.easy = e;
    req->attempts++;
    http_stats_event(http, HTTP_EV_ATTEMPT);
    int64_t look = now + (req->own_idle ? req->idle_ms / 4 + 1 : http->opts.stall_ms);
    http_due_put(&http->dues, &req->due, look < req->deadline_ms ? look : req->deadline_ms);
    return 0;
}

bool
http_transfer_detach(struct sf_http *http, struct sf_http_req *req)
{
    struct http_try *t = &req->try;
    CURL *e = t->easy;
    if (!e)
        return false;
    bool sent = t->prereqs && info_long(e, CURLINFO_REQUEST_SIZE) > t->begun_bytes;
    if (t->lost_reused)
        sent = true;
    http_stats_attempt(info_off(e, CURLINFO_SIZE_DOWNLOAD_T), info_off(e, CURLINFO_SIZE_UPLOAD_T),
                       info_off(e, CURLINFO_TOTAL_TIME_T));
    curl_multi_remove_handle(http->multi, e);
    t->easy = NULL;
    easy_give(http, e);
    return sent;
}

void
http_transfer_resume(struct sf_http *http, struct sf_http_req *req)
{
    struct http_try *t = &req->try;
    if (req->state != HTTP_ACTIVE || !t->easy || (!t->resting && !t->held))
        return;
    t->resting = t->held = false;
    t->progress_ms = sf_clock_ms();
    /* The sink is called from within; its refusal does not end the transfer by itself. */
    if (curl_easy_pause(t->easy, CURLPAUSE_CONT) != CURLE_OK && t->abort_code) {
        struct sf_err err;
        http_error_text(&err, req, t->abort_code, false, t->abort_text);
        http_transfer_failed(http, req, &err, http_transfer_detach(http, req));
    }
}

bool
http_transfer_stalled(struct sf_http *http, struct sf_http_req *req, int64_t now_ms, int64_t *next)
{
    struct http_try *t = &req->try;
    int64_t stall = req->own_idle ? req->idle_ms : http->opts.stall_ms, look = stall / 4 + 1;
    if (!t->prereqs) { /* still connecting: that has its own limit */
        *next = now_ms + http->opts.stall_ms;
        return false;
    }
    int64_t up = info_off(t->easy, CURLINFO_SIZE_UPLOAD_T), down = req->recv.head_bytes;
    down += info_off(t->easy, CURLINFO_SIZE_DOWNLOAD_T);
    int64_t bytes = up + down;
    if (bytes != t->progress_bytes || t->resting || t->held) {
        t->progress_bytes = bytes;
        t->progress_ms = now_ms;
    }
    /* All is sent and the service thinks: some operations take long, and asking again would only
     * add to its load. Changes that cannot be repeated wait until the deadline. */
    if (!down && (uint64_t)up >= req->body_len) {
        if (req->own_idle)
            stall = req->first_ms ? req->first_ms : INT32_MAX;
        else
            stall = req->idempotent ? 2 * stall : INT32_MAX;
    }
    *next = t->progress_ms + stall;
    if (*next <= now_ms)
        return true;
    if (*next > now_ms + look)
        *next = now_ms + look;
    return false;
}

/* ---- results ------------------------------------------------------------------------------------
 */

static int64_t
next_delay(struct sf_http *http, const struct sf_http_req *req, int64_t asked)
{
    uint64_t dice = 0;
    if (sf_random_bytes(&dice, sizeof dice))
        dice = (uint64_t)sf_clock_ns();
    return http_retry_delay(&http->opts, req->backoffs, asked, req->deadline_ms - sf_clock_ms(),
                            dice);
}

static bool
may_repeat(const struct sf_http_req *req)
{
    return !req->once && !req->source_used && !req->sink_used;
}

void
http_transfer_failed(struct sf_http *http, struct sf_http_req *req, struct sf_err *err, bool sent)
{
    if (sent && !req->safe)
        req->maybe_done = true;
    req->last = *err;
    http_stats_error(http, err);
    if (err->retryable && (!sent || req->idempotent) && may_repeat(req)) {
        int64_t delay = next_delay(http, req, -1);
        if (delay >= 0) {
            http_queue_delay(http, req, delay);
            return;
        }
    }
    http_req_finish(http, req, err);
}

static void
got_reply(struct sf_http *http, struct sf_http_req *req)
{
    enum sf_http_verdict verdict = SF_HTTP_FINAL;
    http_stats_event(http, HTTP_EV_REPLY);
    http_stats_status(req->recv.status);
    if (req->classify) {
        struct sf_http_reply reply = {.attempts = req->attempts, .req = req};
        reply.elapsed_ms = sf_clock_ms() - req->submitted_ms;
        http_recv_fill(req, &reply);
        verdict = req->classify(req->hook_arg, &reply);
        if (!may_repeat(req))
            verdict = SF_HTTP_FINAL;
    }
    if (verdict == SF_HTTP_AGAIN && !req->again_used) {
        req->again_used = true;
        http_queue_again(http, req);
        return;
    }
    if (verdict == SF_HTTP_RETRY) {
        const char *after = http_recv_header(&req->recv, "Retry-After");
        int64_t asked = -1;
        if (after)
            asked = sf_http_retry_after_ms(after, http_recv_header(&req->recv, "Date"));
        int64_t delay = next_delay(http, req, asked);
        if (delay >= 0) {
            http_queue_delay(http, req, delay);
            return;
        }
    }
    http_req_finish(http, req, NULL);
}

static void
transfer_done(struct sf_http *http, struct sf_http_req *req, CURLcode code)
{
    long os_errno = info_long(req->try.easy, CURLINFO_OS_ERRNO);
    bool sent = http_transfer_detach(http, req);
    struct sf_err err;
    if (code == CURLE_OK && req->recv.head_done) {
        got_reply(http, req);
        return;
    }
    if (code == CURLE_OK) /* curl takes an end within the headers for an end of the reply */
        code = CURLE_PARTIAL_FILE;
    if (code == CURLE_OUT_OF_MEMORY && req->recv.status && !req->recv.head_done)
        /* So says curl of a header line over 100 KB. */
        give_up(req, -EPROTO, "a header line of the reply is too long");
    if (req->try.abort_code)
        http_error_text(&err, req, req->try.abort_code, req->try.abort_code == -ECONNRESET,
                        req->try.abort_text);
    else
        http_error_transfer(&err, req, code, (int)os_errno);
    http_transfer_failed(http, req, &err, sent);
}

void
http_transfer_reap(struct sf_http *http)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(http->multi, &left))) {
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode code = m->data.result; /* gone once the handle is removed */
        char *priv = NULL;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &priv);
        transfer_done(http, (struct sf_http_req *)(void *)priv, code);
    }
}
