/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TESTS_TOY_SERVER_H
#define SF_TESTS_TOY_SERVER_H

#include <stdatomic.h>
#include <stddef.h>

/*
 * A server in the test's own process that does exactly what a test says, byte by byte: plain
 * sockets, one thread per connection, HTTP/1.1 requests with Content-Length.
 */
struct toy;

struct toy_req {
    struct toy *toy;
    char method[16];
    char path[1024];  /* with the query */
    const char *head; /* the whole header block */
    const char *body; /* NUL-terminated */
    size_t body_len;
    size_t early;     /* in head: bytes of the body that came with it, and are not to be read */
    unsigned seq;     /* 1 = the first request to this server */
    unsigned conn;    /* 1 = the first connection */
    unsigned on_conn; /* 1 = the first request on this connection */
};

enum toy_then {
    TOY_KEEP,  /* wait for the next request on the connection */
    TOY_CLOSE, /* close it in order */
    TOY_RESET, /* so that the peer gets ECONNRESET */
    TOY_SKIP,  /* in head: all is said, and the body will not come; wait for the next request */
};

typedef enum toy_then (*toy_fn)(void *arg, int fd, const struct toy_req *rq);

struct toy_opts {
    toy_fn serve; /* after a whole request has been read; on the connection's thread */
    toy_fn
        head; /* NULL, or called before the body is read; other than KEEP and SKIP ends it there */
    void *arg;
    int port;   /* 0 = any */
    int rcvbuf; /* receive buffer of the connections; 0 = the system's */
};

struct toy_counts {
    atomic_uint requests, connections, active, peak;
};

/* Start listening on 127.0.0.1. Aborts the test when that fails. */
struct toy *toy_start(const struct toy_opts *opts);
/* End all connections and threads. */
void toy_stop(struct toy *toy);
int toy_port(const struct toy *toy);
const struct toy_counts *toy_counts(const struct toy *toy);
/* "http://127.0.0.1:PORT" + path; a static buffer per thread. */
const char *toy_url(const struct toy *toy, const char *path);

/* Send all; returns 0 or -1 when the peer has gone. */
int toy_write(int fd, const void *data, size_t n);
__attribute__((format(printf, 2, 3))) int toy_printf(int fd, const char *fmt, ...);
/* A whole reply. @headers: NULL or lines that each end in \r\n. */
enum toy_then toy_reply(int fd, int status, const char *headers, const char *body, size_t n);
enum toy_then toy_text(int fd, int status, const char *headers, const char *body);
/* Sleep, but not longer than the peer or the test is interested. Returns whether it is still so. */
int toy_hang(int fd, int ms);
/* The value of a request header, in a static buffer per thread; NULL when absent. */
const char *toy_header(const struct toy_req *rq, const char *name);

/* A port on which nobody listens. */
int toy_dead_port(void);

#endif
