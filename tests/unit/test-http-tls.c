/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TLS is verified, always; and names that do not resolve hold nobody up. Needs the openssl program.
 */
#include "http/http.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/http-got.h"
#include "../lib/toy-server.h"

static char dir[] = "/tmp/sf-test-tls-XXXXXX";
static char cert[64], key[64];
static pid_t server;
static int port;

static int
run(const char *const argv[])
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        (void)!freopen("/dev/null", "w", stderr);
        (void)!freopen("/dev/null", "w", stdout);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

/* Start `openssl s_server -www` and read from its output the port that it got. */
static int
start_server(void)
{
    int out[2];
    char line[200];
    if (pipe(out))
        return -1;
    server = fork();
    if (server == 0) {
        dup2(out[1], 1);
        (void)!freopen("/dev/null", "w", stderr);
        execlp("openssl", "openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", cert, "-key",
               key, "-www", (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *f = fdopen(out[0], "r");
    while (f && !port && fgets(line, sizeof line, f))
        (void)!sscanf(line, "ACCEPT 127.0.0.1:%d", &port);
    return port ? 0 : -1;
}

static int
group_setup(void **state)
{
    (void)state;
    unsetenv("SSL_CERT_FILE");
    unsetenv("CURL_CA_BUNDLE");
    if (!mkdtemp(dir))
        return -1;
    snprintf(cert, sizeof cert, "%s/cert.pem", dir);
    snprintf(key, sizeof key, "%s/key.pem", dir);
    /* clang-format off */
    const char *const argv[] = {
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
        "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=test",
        "-addext", "subjectAltName=IP:127.0.0.1", NULL};
    /* clang-format on */
    return run(argv) || start_server() ? -1 : 0;
}

static int
group_teardown(void **state)
{
    (void)state;
    if (server > 0) {
        kill(server, SIGTERM);
        waitpid(server, NULL, 0);
    }
    unlink(cert);
    unlink(key);
    return rmdir(dir);
}

static void
get(const struct sf_http_opts *opts, const char *scheme, const char *host, int to, struct got *g)
{
    struct sf_http *http;
    char url[100];
    assert_int_equal(sf_http_new(opts, &http, NULL), 0);
    snprintf(url, sizeof url, "%s://%s:%d/", scheme, host, to);
    got_get(http, url, 3000, g);
    sf_http_free(http);
}

static void
a_trusted_certificate_is_accepted(void **state)
{
    (void)state;
    struct got g = {0};
    struct sf_http_opts opts = {.ca_file = cert};
    get(&opts, "https", "127.0.0.1", port, &g);
    assert_int_equal(g.status, 200);
    assert_non_null(strstr(g.body, "s_server"));
    got_fini(&g);
    setenv("SSL_CERT_FILE", cert, 1);
    get(NULL, "https", "127.0.0.1", port, &g);
    assert_int_equal(g.status, 200);
    got_fini(&g);
    setenv("SSL_CERT_FILE", "/nonexistent", 1); /* the first of the two counts */
    setenv("CURL_CA_BUNDLE", cert, 1);
    get(NULL, "https", "127.0.0.1", port, &g);
    unsetenv("SSL_CERT_FILE");
    unsetenv("CURL_CA_BUNDLE");
    assert_int_equal(g.status, 200);
    got_fini(&g);
}

static void
an_untrusted_one_is_refused_even_if_insecure(void **state)
{
    (void)state;
    for (int insecure = 0; insecure < 2; insecure++) {
        struct got g = {0};
        struct sf_http_opts opts = {.insecure = insecure};
        get(&opts, "https", "127.0.0.1", port, &g);
        assert_int_equal(g.status, 0);
        assert_int_equal(g.err.code, -EPROTO);
        assert_false(g.err.retryable);
        assert_false(g.err.outcome_open);
        assert_int_equal(g.attempts, 1);
        assert_non_null(strstr(g.err.msg, "certificate"));
    }
}

static void
a_certificate_for_another_host_is_refused(void **state)
{
    (void)state;
    struct got g = {0};
    struct sf_http_opts opts = {.ca_file = cert};
    get(&opts, "https", "localhost", port, &g);
    assert_int_equal(g.err.code, -EPROTO);
    assert_int_equal(g.attempts, 1);
    assert_non_null(strstr(g.err.msg, "localhost"));
}

static enum toy_then
serve(void *arg, int fd, const struct toy_req *rq)
{
    (void)arg;
    (void)rq;
    return toy_text(fd, 200, NULL, "plain");
}

static void
schemes_are_not_mixed_up(void **state)
{
    (void)state;
    struct got g = {0};
    struct sf_http_opts opts = {.ca_file = cert};
    struct toy *toy = toy_start(&(struct toy_opts){.serve = serve});
    get(&opts, "http", "127.0.0.1", port, &g);
    assert_true(g.status != 200 && (g.status || g.err.code));
    got_fini(&g);
    struct sf_http *http;
    char url[100];
    assert_int_equal(sf_http_new(&opts, &http, NULL), 0);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", toy_port(toy));
    got_get(http, url, 500, &g);
    assert_int_equal(g.status, 0);
    assert_true(g.err.code == -EPROTO || g.err.code == -ETIMEDOUT);
    assert_int_equal(toy_counts(toy)->requests, 0);
    sf_http_free(http);
    toy_stop(toy);
}

static void
a_name_that_does_not_resolve_holds_nobody_up(void **state)
{
    (void)state;
    struct sf_http *http;
    struct got g = {0}, fine = {0};
    struct toy *toy = toy_start(&(struct toy_opts){.serve = serve});
    assert_int_equal(sf_http_new(NULL, &http, NULL), 0);
    struct sf_http_req *req = sf_http_req_new(http, "GET", "https://no-such-host.invalid/x");
    sf_http_req_deadline(req, got_now() + 400);
    sf_http_submit(http, req, got_done, &g);
    got_get(http, toy_url(toy, "/"), 5000, &fine);
    assert_int_equal(fine.status, 200);
    got_wait(&g);
    assert_true(g.err.code == -EHOSTUNREACH || g.err.code == -ETIMEDOUT);
    assert_non_null(strstr(g.err.msg, "no-such-host.invalid:443"));
    assert_true(g.elapsed_ms < 2000);
    memset(&g, 0, sizeof g);
    req = sf_http_req_new(http, "GET", "https://no-such-host-2.invalid/x");
    sf_http_submit(http, req, got_done, &g);
    got_sleep(20);
    int64_t t0 = got_now();
    sf_http_free(http);
    assert_true(got_now() - t0 < 1000);
    got_fini(&fine);
    toy_stop(toy);
}

int
main(void)
{
    const char *const version[] = {"openssl", "version", NULL};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trusted_certificate_is_accepted),
        cmocka_unit_test(an_untrusted_one_is_refused_even_if_insecure),
        cmocka_unit_test(a_certificate_for_another_host_is_refused),
        cmocka_unit_test(schemes_are_not_mixed_up),
        cmocka_unit_test(a_name_that_does_not_resolve_holds_nobody_up),
    };
    if (run(version)) {
        puts("requires the openssl program");
        return 77;
    }
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
