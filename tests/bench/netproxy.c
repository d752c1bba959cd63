/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * netproxy --to PORT [--listen PORT] [--rtt-us N] [--bytes-per-s N]
 *
 * A link between two ports of this machine, for measuring: each byte arrives half a round trip
 * after it was sent, however many are on the way; with a bandwidth, all connections share it, each
 * direction by itself. Setting a connection up takes no time. Prints "ready PORT"; on SIGUSR1 what
 * it has carried ("down BYTES up BYTES connections N"); ends at SIGTERM.
 */
#include <argp.h>
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"

#define BLOCK    (1u << 20)       /* bytes of one read */
#define SLICE    16384u           /* the same on a link with a bandwidth: its turns */
#define BACKLOG  (32u << 20)      /* bytes that one who does not read makes us keep */
#define QUEUE_NS INT64_C(3000000) /* how far ahead a link with a bandwidth is filled */
#define NEVER    INT64_MAX

struct block {
    struct block *next;
    int64_t due_ns;
    uint32_t off, len;
    char data[BLOCK];
};

enum { UP, DOWN };

/* One end of a connection; events are edge-triggered, so readiness is remembered. */
struct end {
    struct conn *conn;
    int fd;
    bool readable, writable;
};

/* From ends[side] to the other end. */
struct way {
    struct block *head, **tail;
    uint64_t queued;
    bool ended, shut; /* nothing more to read; said so to the other side */
};

struct conn {
    struct conn *next;
    struct end ends[2]; /* [UP]: the client, whose bytes go up; [DOWN]: the server */
    struct way ways[2];
    bool broken;
};

static struct {
    int64_t half_ns;
    uint64_t rate; /* bytes per second; 0 = no limit */
    uint16_t listen_port, to_port;
    int epoll_fd, listen_fd, timer_fd, signal_fd;
    struct conn *conns;
    struct block *spare;
    int64_t free_ns[2]; /* when the link of each direction has sent what it was given */
    uint64_t carried[2], connections;
} px;

/* ---- blocks -----------------------------------------------------------------------------------
 */

static struct block *
block_get(void)
{
    struct block *b = px.spare;
    if (b)
        px.spare = b->next;
    else
        b = malloc(sizeof *b);
    if (!b) {
        fputs("netproxy: out of memory\n", stderr);
        exit(1);
    }
    return b;
}

static void
block_put(struct block *b)
{
    b->next = px.spare;
    px.spare = b;
}

/* ---- connections ------------------------------------------------------------------------------
 */

static void
watch(struct end *e, struct conn *c, int fd)
{
    const int one = 1, window = 65536;
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = e};
    *e = (struct end){.conn = c, .fd = fd};
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* Else megabytes count as sent that a slow link has not carried. */
    if (px.rate)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
    epoll_ctl(px.epoll_fd, EPOLL_CTL_ADD, fd, &ev);
}

static void
accept_all(void)
{
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons(px.to_port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd;
    while ((fd = accept4(px.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        int up = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        struct conn *c = calloc(1, sizeof *c);
        if (up < 0 || !c ||
            (connect(up, (const struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)) {
            close(fd);
            if (up >= 0)
                close(up);
            free(c);
            continue;
        }
        c->ways[UP].tail = &c->ways[UP].head;
        c->ways[DOWN].tail = &c->ways[DOWN].head;
        watch(&c->ends[UP], c, fd);
        watch(&c->ends[DOWN], c, up);
        c->next = px.conns;
        px.conns = c;
        px.connections++;
    }
}

static void
conn_free(struct conn *c)
{
    for (int i = 0; i < 2; i++) {
        close(c->ends[i].fd);
        for (struct block *b = c->ways[i].head, *next; b; b = next) {
            next = b->next;
            block_put(b);
        }
    }
    free(c);
}

/* ---- moving bytes -----------------------------------------------------------------------------
 */

/* When @n bytes read at @now have arrived on the other side. */
static int64_t
due(int side, size_t n, int64_t now)
{
    if (!px.rate)
        return now + px.half_ns;
    int64_t start = px.free_ns[side] > now ? px.free_ns[side] : now;
    px.free_ns[side] = start + (int64_t)(n * UINT64_C(1000000000) / px.rate);
    return px.free_ns[side] + px.half_ns;
}

static bool
link_full(int side, int64_t now)
{
    return px.rate && px.free_ns[side] > now + QUEUE_NS;
}

/* One read; true when there may be more to read now. */
static bool
pull(struct conn *c, int side, int64_t now)
{
    struct way *w = &c->ways[side];
    struct end *from = &c->ends[side];
    if (w->ended || !from->readable || w->queued > BACKLOG || link_full(side, now))
        return false;
    struct block *b = block_get();
    ssize_t n = recv(from->fd, b->data, px.rate ? SLICE : BLOCK, 0);
    if (n <= 0) {
        from->readable = n < 0 && errno == EINTR;
        w->ended = n == 0;
        c->broken |= n < 0 && errno != EAGAIN && errno != EINTR;
        block_put(b);
        return from->readable;
    }
    b->next = NULL;
    b->off = 0;
    b->len = (uint32_t)n;
    b->due_ns = due(side, (size_t)n, now);
    *w->tail = b;
    w->tail = &b->next;
    w->queued += (size_t)n;
    px.carried[side] += (size_t)n;
    return true;
}

/* What is due, as far as the other side takes it. */
static void
push(struct conn *c, int side, int64_t now)
{
    struct way *w = &c->ways[side];
    struct end *to = &c->ends[!side];
    while (w->head && w->head->due_ns <= now && to->writable) {
        struct block *b = w->head;
        ssize_t n = send(to->fd, b->data + b->off, b->len, MSG_NOSIGNAL);
        if (n < 0) {
            to->writable = errno == EINTR;
            c->broken |= errno != EAGAIN && errno != EINTR;
            return;
        }
        b->off += (uint32_t)n;
        b->len -= (uint32_t)n;
        w->queued -= (size_t)n;
        if (b->len)
            continue;
        w->head = b->next;
        if (!w->head)
            w->tail = &w->head;
        block_put(b);
    }
    if (!w->head && w->ended && !w->shut && to->writable) {
        shutdown(to->fd, SHUT_WR);
        w->shut = true;
    }
}

/* Who comes first fills a link with a bandwidth: another one each time. */
static void
turn(void)
{
    struct conn *first = px.conns, **last = &px.conns;
    if (!px.rate || !first || !first->next)
        return;
    px.conns = first->next;
    while (*last)
        last = &(*last)->next;
    *last = first;
    first->next = NULL;
}

/* All connections; returns when something is due next. */
static int64_t
move_all(void)
{
    int64_t now = sf_clock_ns(), next = NEVER;
    bool more = true;
    turn();
    while (more) {
        more = false;
        for (struct conn *c = px.conns; c; c = c->next)
            for (int side = 0; side < 2 && !c->broken; side++) {
                push(c, side, now); /* first: it makes room */
                more |= pull(c, side, now);
            }
        now = sf_clock_ns();
    }
    for (const struct conn *c = px.conns; c; c = c->next)
        for (int side = 0; side < 2; side++) {
            const struct way *w = &c->ways[side];
            if (w->head && c->ends[!side].writable && w->head->due_ns < next)
                next = w->head->due_ns;
            if (!w->ended && c->ends[side].readable && link_full(side, now) &&
                px.free_ns[side] - QUEUE_NS < next)
                next = px.free_ns[side] - QUEUE_NS;
        }
    return next;
}

static void
drop_ended(void)
{
    struct conn **at = &px.conns;
    while (*at) {
        struct conn *c = *at;
        if (c->broken || (c->ways[UP].shut && c->ways[DOWN].shut)) {
            *at = c->next;
            conn_free(c);
        } else {
            at = &c->next;
        }
    }
}

/* ---- the program ------------------------------------------------------------------------------
 */

/* false = asked to end. */
static bool
signalled(void)
{
    struct signalfd_siginfo s;
    if (read(px.signal_fd, &s, sizeof s) != sizeof s)
        return true;
    if (s.ssi_signo != SIGUSR1)
        return false;
    printf("down %" PRIu64 " up %" PRIu64 " connections %" PRIu64 "\n", px.carried[DOWN],
           px.carried[UP], px.connections);
    fflush(stdout);
    return true;
}

static void
serve(void)
{
    struct epoll_event ev[256];
    for (;;) {
        int64_t next = move_all();
        drop_ended();
        /* A time in the past still fires; 0 would disarm. */
        const struct itimerspec at = {
            .it_value = {.tv_sec = next == NEVER ? 0 : next / 1000000000,
                         .tv_nsec = next == NEVER ? 0 : next % 1000000000}};
        timerfd_settime(px.timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
        int n = epoll_wait(px.epoll_fd, ev, 256, -1);
        for (int i = 0; i < n; i++) {
            uint64_t ticks;
            if (ev[i].data.ptr == &px.timer_fd) {
                (void)!read(px.timer_fd, &ticks, sizeof ticks);
            } else if (ev[i].data.ptr == &px.listen_fd) {
                accept_all();
            } else if (ev[i].data.ptr == &px.signal_fd) {
                if (!signalled())
                    return;
            } else {
                struct end *e = ev[i].data.ptr;
                e->readable |= (ev[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
                e->writable |= (ev[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0;
            }
        }
    }
}

static void
listen_here(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons(px.listen_port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    const int one = 1;
    px.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(px.listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(px.listen_fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(px.listen_fd, 512) < 0 ||
        getsockname(px.listen_fd, (struct sockaddr *)&a, &len) < 0) {
        perror("netproxy: listen");
        exit(1);
    }
    px.listen_port = ntohs(a.sin_port);
}

static void
prepare(void)
{
    sigset_t set;
    px.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    px.timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    px.signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    int *fds[] = {&px.listen_fd, &px.timer_fd, &px.signal_fd};
    for (int i = 0; i < 3; i++) {
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = fds[i]};
        epoll_ctl(px.epoll_fd, EPOLL_CTL_ADD, *fds[i], &ev);
    }
}

static error_t
parse(int key, char *arg, struct argp_state *state)
{
    uint64_t v = 0;
    if (arg && (sf_parse_u64(arg, &v) < 0 || v > INT64_C(1) << 40))
        argp_error(state, "'%s' is not such a number", arg);
    switch (key) {
    case 't':
        px.to_port = (uint16_t)v;
        return 0;
    case 'l':
        px.listen_port = (uint16_t)v;
        return 0;
    case 'r':
        px.half_ns = (int64_t)v * 500;
        return 0;
    case 'b':
        px.rate = v;
        return 0;
    case ARGP_KEY_END:
        if (!px.to_port)
            argp_error(state, "--to is missing");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int
main(int argc, char **argv)
{
    static const struct argp_option options[] = {
        {"to", 't', "PORT", 0, "Where the bytes go, on this machine", 0},
        {"listen", 'l', "PORT", 0, "Where they come from; a free one is taken without", 0},
        {"rtt-us", 'r', "N", 0, "Round trip that is added, in microseconds", 0},
        {"bytes-per-s", 'b', "N", 0, "Bandwidth of each direction; 0 = no limit", 0},
        {0}};
    static const struct argp argp = {options, parse, NULL, "A link with a delay and a bandwidth.",
                                     NULL,    NULL,  NULL};
    argp_parse(&argp, argc, argv, 0, NULL, NULL);
    listen_here();
    prepare();
    printf("ready %u\n", px.listen_port);
    fflush(stdout);
    serve();
    return 0;
}
