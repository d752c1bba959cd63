/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One change through src/write against the server that SUPABASE_URL and SUPABASE_SERVICE_ROLE_KEY
 * name, with the state directory SF_STATE. Prints "OK ..." or "ERRNO message"; exits 0 or 1.
 *
 *   write-probe put BUCKET KEY FILE [replace]
 *   write-probe delete BUCKET KEY
 *   write-probe rename BUCKET KEY BUCKET KEY [replace]
 *   write-probe rmdir BUCKET PREFIX/
 *   write-probe mkbucket BUCKET | rmbucket BUCKET
 *   write-probe load BUCKET KEY ETAG SIZE FILE
 *   write-probe burst BUCKET PREFIX COUNT      COUNT objects, all at once
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/lock.h"
#include "base/str.h"
#include "http/http.h"
#include "supabase/auth.h"
#include "supabase/storage.h"
#include "write/write.h"

static struct sf_mutex lock = SF_MUTEX_INIT(0); /* protects all below */
static struct sf_cond cond;
static uint64_t missing; /* answers */
static struct sf_err failure;
static struct sf_commit result;

static void
committed(void *arg, const struct sf_err *err, const struct sf_commit *done)
{
    (void)arg;
    SF_GUARD(&lock);
    if (err && !failure.code)
        failure = *err;
    if (done)
        result = *done;
    missing--;
    sf_cond_broadcast(&cond);
}

static void
written(void *arg, const struct sf_err *err)
{
    committed(arg, err, NULL);
}

static void
wait_all(void)
{
    SF_GUARD(&lock);
    while (missing)
        sf_cond_wait(&cond, &lock);
}

__attribute__((noreturn)) static void
die(const char *what, const struct sf_err *err)
{
    fprintf(stderr, "write-probe: %s: %s\n", what, err->msg);
    exit(2);
}

static struct sf_content *
content(struct sf_writer *w, const char *bucket, const char *key)
{
    struct sf_content *c;
    struct sf_err err = SF_ERR_INIT;
    if (sf_content_new(w, bucket, key, &c, &err))
        die("content", &err);
    return c;
}

static void
put(struct sf_writer *w, char **argv, int argc)
{
    sf_autobuf struct sf_buf buf = SF_BUF_INIT;
    struct sf_err err = SF_ERR_INIT;
    /* replace: an object is known; beside: what is there is a conflict; else it is an error */
    const char *how = argc > 3 ? argv[3] : "";
    struct sf_commit_args args = {.exists = !strcmp(how, "replace"), .exclusive = !how[0]};
    if (sf_read_file(argv[2], 1 << 30, &buf, &err))
        die("file", &err);
    struct sf_content *c = content(w, argv[0], argv[1]);
    sf_content_mark_dirty(c);
    sf_content_write(c, sf_buf_str(&buf), buf.len, 0);
    sf_content_commit(c, &args, committed, NULL);
    wait_all();
    sf_content_unref(c);
}

static void
was_read(void *arg, ssize_t n)
{
    struct sf_err err = SF_ERR_INIT;
    *(ssize_t *)arg = n;
    if (n < 0)
        (void)!sf_err_set(&err, (int)n, "read: %s", strerror((int)-n));
    committed(NULL, n < 0 ? &err : NULL, NULL);
}

static void
load(struct sf_writer *w, char **argv)
{
    struct sf_source src = {.bucket = argv[0], .key = argv[1]};
    struct sf_err err = SF_ERR_INIT;
    struct sf_content *c;
    ssize_t got = 0;
    if (sf_parse_u64(argv[3], &src.version.size))
        exit(2);
    snprintf(src.version.etag, sizeof src.version.etag, "%s", argv[2]);
    size_t size = (size_t)src.version.size;
    if (sf_content_of(w, argv[0], argv[1], &src, &c, &err))
        die("content", &err);
    sf_autofree char *bytes = malloc(size + 1);
    ssize_t n = bytes ? sf_content_read(c, bytes, size + 1, 0, was_read, &got) : -ENOMEM;
    if (n == -EINPROGRESS)
        wait_all();
    else
        was_read(&got, n);
    if (!failure.code) {
        if (got != (ssize_t)size)
            die("load", &(struct sf_err){.msg = "another size"});
        if (sf_write_file_atomic(argv[4], bytes, size, 0600, &err))
            die("load", &err);
    }
    sf_content_unref(c);
}

static void
renamed(void *arg, const struct sf_err *err, const struct sf_version *now)
{
    (void)now;
    written(arg, err);
}

static void
burst(struct sf_writer *w, char **argv)
{
    uint64_t n;
    if (sf_parse_u64(argv[2], &n))
        exit(2);
    missing = n;
    for (uint64_t i = 0; i < n; i++) {
        sf_autofree char *key = NULL;
        if (asprintf(&key, "%s%04u", argv[1], (unsigned)i) < 0)
            exit(2);
        sf_write_put_small(w, argv[0], key, "text/plain", key, strlen(key), false, NULL, committed,
                           NULL);
    }
    wait_all();
}

static void
run(struct sf_writer *w, const char *verb, char **argv, int argc)
{
    missing = 1;
    if (!strcmp(verb, "put") && argc >= 3)
        put(w, argv, argc);
    else if (!strcmp(verb, "delete") && argc == 2)
        sf_write_delete(w, argv[0], argv[1], written, NULL);
    else if (!strcmp(verb, "rename") && argc >= 4)
        sf_write_rename(w,
                        &(struct sf_rename_args){.bucket = argv[0],
                                                 .key = argv[1],
                                                 .to_bucket = argv[2],
                                                 .to_key = argv[3],
                                                 .replace = argc > 4},
                        renamed, NULL);
    else if (!strcmp(verb, "rmdir") && argc == 2)
        sf_write_rmdir(w, argv[0], argv[1], written, NULL);
    else if (!strcmp(verb, "mkbucket") && argc == 1)
        sf_write_bucket_create(w, argv[0], written, NULL);
    else if (!strcmp(verb, "rmbucket") && argc == 1)
        sf_write_bucket_delete(w, argv[0], written, NULL);
    else if (!strcmp(verb, "load") && argc == 5)
        load(w, argv);
    else if (!strcmp(verb, "burst") && argc == 3)
        burst(w, argv);
    else
        die("usage", &(struct sf_err){.msg = "see the head of write-probe.c"});
    wait_all();
}

int
main(int argc, char **argv)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_http *http;
    struct sf_auth *auth;
    struct sf_storage *st;
    struct sf_writer *w;
    const char *url = getenv("SUPABASE_URL"), *state = getenv("SF_STATE");
    const struct sf_auth_source src = {.kind = SF_AUTH_VALUE,
                                       .value = getenv("SUPABASE_SERVICE_ROLE_KEY"),
                                       .label = "the environment"};
    if (argc < 2 || !url || !state || !src.value)
        die("usage",
            &(struct sf_err){.msg = "VERB ARGS; SUPABASE_URL, _SERVICE_ROLE_KEY, SF_STATE"});
    sf_cond_init(&cond);
    if (sf_http_new(&(struct sf_http_opts){0}, &http, &err) || sf_auth_new(&src, &auth, &err) ||
        sf_storage_new(http, auth, url, &st, &err))
        die("start", &err);
    const struct sf_writer_opts opts = {.state_dir = state, .timeout_ms = 8000};
    if (sf_writer_new(&opts, st, &w, &err))
        die("writer", &err);
    run(w, argv[1], argv + 2, argc - 2);
    if (sf_writer_drain(w, sf_clock_ms() + 5000))
        die("drain", &(struct sf_err){.msg = "something is left"});
    sf_writer_free(w);
    sf_http_free(http); /* its thread is the last to touch calls */
    sf_storage_free(st);
    sf_auth_free(auth);
    if (failure.code)
        printf("%s %s\n", sf_errno_name(failure.code), failure.msg);
    else
        printf("OK %s %llu %s\n", result.md5_etag, (unsigned long long)result.size, result.id);
    return failure.code ? 1 : 0;
}
