/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "toy-server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CONNS 4096

struct conn {
    struct toy *toy;
    pthread_t thread;
    int fd;
    unsigned nr;
};

struct toy {
    struct toy_opts opts;
    int fd, port;
    pthread_t thread;
    struct toy_counts counts;

    pthread_mutex_t lock; /* protects what follows */
    struct conn *conns[MAX_CONNS];
    size_t n_conns;
    bool stopping;
};

int
toy_write(int fd, const void *data, size_t n)
{
    const char *p = data;
    while (n) {
        ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return -1;
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

int
toy_printf(int fd, const char *fmt, ...)
{
    char *s;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    assert(n >= 0);
    int rc = toy_write(fd, s, (size_t)n);
    free(s);
    return rc;
}

enum toy_then
toy_reply(int fd, int status, const char *headers, const char *body, size_t n)
{
    if (toy_printf(fd, "HTTP/1.1 %d Toy\r\nContent-Length: %zu\r\n%s\r\n", status, n,
                   headers ? headers : "") ||
        toy_write(fd, body, n))
        return TOY_CLOSE;
    return TOY_KEEP;
}

enum toy_then
toy_text(int fd, int status, const char *headers, const char *body)
{
    return toy_reply(fd, status, headers, body, strlen(body));
}

int
toy_hang(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, ms) == 0;
}

const char *
toy_header(const struct toy_req *rq, const char *name)
{
    static _Thread_local char value[16 * 1024];
    size_t len = strlen(name);
    for (const char *p = strstr(rq->head, "\r\n"); p; p = strstr(p, "\r\n")) {
        p += 2;
        if (strncasecmp(p, name, len) != 0 || p[len] != ':')
            continue;
        p += len + 1;
        while (*p == ' ')
            p++;
        snprintf(value, sizeof value, "%.*s", (int)strcspn(p, "\r"), p);
        return value;
    }
    return NULL;
}

/* Read until the buffer holds the end of a header block; returns its length or 0. */
static size_t
read_head(int fd, char *buf, size_t size, size_t *have)
{
    for (;;) {
        buf[*have] = '\0';
        char *end = strstr(buf, "\r\n\r\n");
        if (end)
            return (size_t)(end + 4 - buf);
        if (*have + 1 >= size)
            return 0;
        ssize_t n = recv(fd, buf + *have, size - 1 - *have, 0);
        if (n <= 0)
            return 0;
        *have += (size_t)n;
    }
}

static char *
read_body(int fd, size_t len, const char *first, size_t have)
{
    char *body = calloc(1, len + 1);
    assert(body);
    memcpy(body, first, have);
    while (have < len) {
        ssize_t n = recv(fd, body + have, len - have, 0);
        if (n <= 0) {
            free(body);
            return NULL;
        }
        have += (size_t)n;
    }
    return body;
}

static enum toy_then
serve_one(struct conn *c, char *buf, size_t size, size_t *have, unsigned on_conn)
{
    struct toy *toy = c->toy;
    struct toy_req rq = {.toy = toy, .conn = c->nr, .on_conn = on_conn};
    size_t head = read_head(c->fd, buf, size, have), len = 0;
    if (!head)
        return TOY_CLOSE;
    char saved = buf[head];
    buf[head] = '\0';
    rq.head = buf;
    rq.seq = ++toy->counts.requests;
    if (sscanf(buf, "%15s %1023s", rq.method, rq.path) != 2)
        return TOY_CLOSE;
    const char *cl = toy_header(&rq, "Content-Length");
    if (cl)
        len = strtoull(cl, NULL, 10);
    size_t early = *have - head < len ? *have - head : len;
    rq.early = early;
    enum toy_then then = toy->opts.head ? toy->opts.head(toy->opts.arg, c->fd, &rq) : TOY_KEEP;
    if (then == TOY_SKIP) {
        buf[head] = saved;
        *have -= head;
        memmove(buf, buf + head, *have);
        return TOY_KEEP;
    }
    if (then != TOY_KEEP)
        return then;
    if (toy_header(&rq, "Expect") && toy_printf(c->fd, "HTTP/1.1 100 Continue\r\n\r\n"))
        return TOY_CLOSE;
    buf[head] = saved;
    char *body = read_body(c->fd, len, buf + head, early);
    if (!body)
        return TOY_CLOSE;
    buf[head - 1] = '\0';
    rq.body = body;
    rq.body_len = len;
    unsigned now = ++toy->counts.active, peak = toy->counts.peak;
    while (now > peak && !atomic_compare_exchange_weak(&toy->counts.peak, &peak, now))
        ;
    then = toy->opts.serve(toy->opts.arg, c->fd, &rq);
    toy->counts.active--;
    free(body);
    *have -= head + early;
    memmove(buf, buf + head + early, *have);
    return then;
}

static void *
conn_main(void *arg)
{
    struct conn *c = arg;
    size_t size = 256 << 10, have = 0;
    char *buf = malloc(size);
    assert(buf);
    enum toy_then then = TOY_KEEP;
    for (unsigned n = 1; then == TOY_KEEP; n++)
        then = serve_one(c, buf, size, &have, n);
    free(buf);
    if (then == TOY_RESET) {
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    pthread_mutex_lock(&c->toy->lock);
    close(c->fd);
    c->fd = -1;
    pthread_mutex_unlock(&c->toy->lock);
    return NULL;
}

static void *
accept_main(void *arg)
{
    struct toy *toy = arg;
    for (;;) {
        int fd = accept4(toy->fd, NULL, NULL, SOCK_CLOEXEC), one = 1;
        if (fd < 0)
            return NULL;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        pthread_mutex_lock(&toy->lock);
        struct conn *c = calloc(1, sizeof *c);
        assert(c && toy->n_conns < MAX_CONNS);
        c->toy = toy;
        c->fd = fd;
        c->nr = ++toy->counts.connections;
        if (toy->stopping || pthread_create(&c->thread, NULL, conn_main, c)) {
            close(fd);
            free(c);
        } else {
            toy->conns[toy->n_conns++] = c;
        }
        pthread_mutex_unlock(&toy->lock);
    }
}

struct toy *
toy_start(const struct toy_opts *opts)
{
    struct toy *toy = calloc(1, sizeof *toy);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opts->port)};
    socklen_t len = sizeof a;
    int one = 1;
    assert(toy);
    toy->opts = *opts;
    pthread_mutex_init(&toy->lock, NULL);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    toy->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(toy->fd >= 0);
    setsockopt(toy->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (opts->rcvbuf)
        setsockopt(toy->fd, SOL_SOCKET, SO_RCVBUF, &opts->rcvbuf, sizeof opts->rcvbuf);
    int rc = bind(toy->fd, (struct sockaddr *)&a, sizeof a);
    rc = rc ? rc : listen(toy->fd, 1024);
    rc = rc ? rc : getsockname(toy->fd, (struct sockaddr *)&a, &len);
    rc = rc ? rc : pthread_create(&toy->thread, NULL, accept_main, toy);
    if (rc) {
        perror("toy server");
        abort();
    }
    toy->port = ntohs(a.sin_port);
    return toy;
}

void
toy_stop(struct toy *toy)
{
    if (!toy)
        return;
    pthread_mutex_lock(&toy->lock);
    toy->stopping = true;
    for (size_t i = 0; i < toy->n_conns; i++)
        if (toy->conns[i]->fd >= 0)
            shutdown(toy->conns[i]->fd, SHUT_RDWR);
    pthread_mutex_unlock(&toy->lock);
    shutdown(toy->fd, SHUT_RDWR);
    pthread_join(toy->thread, NULL);
    close(toy->fd);
    for (size_t i = 0; i < toy->n_conns; i++) {
        pthread_join(toy->conns[i]->thread, NULL);
        free(toy->conns[i]);
    }
    pthread_mutex_destroy(&toy->lock);
    free(toy);
}

int
toy_port(const struct toy *toy)
{
    return toy->port;
}

const struct toy_counts *
toy_counts(const struct toy *toy)
{
    return &toy->counts;
}

const char *
toy_url(const struct toy *toy, const char *path)
{
    static _Thread_local char url[2048];
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", toy->port, path);
    return url;
}

int
toy_dead_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t len = sizeof a;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(fd >= 0);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) || getsockname(fd, (struct sockaddr *)&a, &len))
        abort();
    close(fd);
    return ntohs(a.sin_port);
}
