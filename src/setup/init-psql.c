/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "setup/init-internal.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "base/vec.h"

#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * The database through psql(1). Everything of the URL goes into its environment, which only this
 * user can read, nothing into its arguments, which everybody can. Ctrl-C at a terminal ends both;
 * psql that goes on alone ends its transaction, whole or not at all.
 */

SF_VEC_DEFINE(text_vec, char *);

struct target {
    struct text_vec env; /* NAME=value, then NULL */
    char *password;      /* NULL, or part of one of them: never to be shown */
    char host[256];
    char user[128];
    bool has_tls; /* the URL says how */
};

static void
target_fini(struct target *t)
{
    SF_VEC_FOREACH (&t->env, e) {
        if (*e)
            explicit_bzero(*e, strlen(*e));
        free(*e);
    }
    text_vec_fini(&t->env);
}

static int
set_env(struct target *t, const char *name, const char *value, struct sf_err *err)
{
    char *e;
    if (!*value)
        return 0;
    if (asprintf(&e, "%s=%s", name, value) < 0)
        return sf_err_set(err, -ENOMEM, "out of memory");
    if (text_vec_push(&t->env, e)) {
        explicit_bzero(e, strlen(e));
        free(e);
        return sf_err_set(err, -ENOMEM, "out of memory");
    }
    if (!strcmp(name, "PGPASSWORD"))
        t->password = e + strlen("PGPASSWORD=");
    if (!strcmp(name, "PGHOST"))
        snprintf(t->host, sizeof t->host, "%s", value);
    if (!strcmp(name, "PGUSER"))
        snprintf(t->user, sizeof t->user, "%s", value);
    t->has_tls |= !strcmp(name, "PGSSLMODE");
    return 0;
}

/* What a database URL may say behind '?', and the variable of libpq for it; NULL = of other
 * programs, and nothing to psql. */
static const char *const params[][2] = {
    {"host", "PGHOST"},
    {"hostaddr", "PGHOSTADDR"},
    {"port", "PGPORT"},
    {"user", "PGUSER"},
    {"password", "PGPASSWORD"},
    {"dbname", "PGDATABASE"},
    {"sslmode", "PGSSLMODE"},
    {"sslrootcert", "PGSSLROOTCERT"},
    {"sslcert", "PGSSLCERT"},
    {"sslkey", "PGSSLKEY"},
    {"channel_binding", "PGCHANNELBINDING"},
    {"gssencmode", "PGGSSENCMODE"},
    {"target_session_attrs", "PGTARGETSESSIONATTRS"},
    {"options", "PGOPTIONS"},
    {"application_name", "PGAPPNAME"},
    {"connect_timeout", "PGCONNECT_TIMEOUT"},
    {"pgbouncer", NULL},
    {"connection_limit", NULL},
    {"schema", NULL},
};

static int
bad_url(struct sf_err *err)
{
    return sf_err_set(err, -EINVAL,
                      "db_url must look like postgresql://USER:PASSWORD@HOST:PORT/DATABASE; "
                      "characters of the password that have a meaning in a URL are written %%XX");
}

/* A part of the URL, decoded. */
static int
set_part(struct target *t, const char *name, const char *part, size_t n, struct sf_err *err)
{
    struct sf_buf text = SF_BUF_INIT;
    int rc = sf_url_decode(&text, part, n);
    if (!rc && strlen(sf_buf_str(&text)) != text.len)
        rc = -EINVAL;
    rc = rc == -ENOMEM ? sf_err_set(err, rc, "out of memory")
         : rc          ? bad_url(err)
                       : set_env(t, name, sf_buf_str(&text), err);
    if (text.len)
        explicit_bzero(text.data, text.len);
    sf_buf_fini(&text);
    return rc;
}

static int
add_params(struct target *t, const char *p, struct sf_err *err)
{
    int rc = 0;
    while (!rc && *p) {
        size_t len = strcspn(p, "&"), n = strcspn(p, "=&"), i = 0;
        const size_t known = sizeof params / sizeof *params;
        if (p[n] != '=')
            return bad_url(err);
        while (i < known && (strlen(params[i][0]) != n || strncmp(params[i][0], p, n) != 0))
            i++;
        if (i == known)
            /* Its name is not shown: a password with a '?' in it would be. */
            return sf_err_set(err, -EINVAL,
                              "db_url has a parameter behind '?' that is not known here");
        if (params[i][1])
            rc = set_part(t, params[i][1], p + n + 1, len - n - 1, err);
        p += len + (p[len] == '&');
    }
    return rc;
}

/* USER:PASSWORD@HOST:PORT */
static int
add_authority(struct target *t, const char *p, size_t n, struct sf_err *err)
{
    const char *at = memrchr(p, '@', n), *host = at ? at + 1 : p, *end = p + n;
    int rc = 0;
    if (at) {
        const char *colon = memchr(p, ':', (size_t)(at - p)), *user_end = colon ? colon : at;
        rc = set_part(t, "PGUSER", p, (size_t)(user_end - p), err);
        if (!rc && colon)
            rc = set_part(t, "PGPASSWORD", colon + 1, (size_t)(at - colon - 1), err);
    }
    const char *bracket =
        host < end && *host == '[' ? memchr(host, ']', (size_t)(end - host)) : NULL;
    const char *from = bracket ? bracket : host;
    const char *colon = memchr(from, ':', (size_t)(end - from)), *host_end = colon ? colon : end;
    if (!rc && memchr(host, ',', (size_t)(end - host)))
        return sf_err_set(err, -EINVAL, "db_url must name one host");
    if (!rc && bracket)
        rc = set_part(t, "PGHOST", host + 1, (size_t)(bracket - host - 1), err);
    else if (!rc)
        rc = set_part(t, "PGHOST", host, (size_t)(host_end - host), err);
    /* A '/' in a password that is not written %2F ends here; psql would show what it takes for a
     * port or a database. */
    for (const char *d = colon; d && !rc && ++d < end;)
        if (*d < '0' || *d > '9')
            rc = bad_url(err);
    if (!rc && colon)
        rc = set_part(t, "PGPORT", colon + 1, (size_t)(end - colon - 1), err);
    return rc;
}

static int
add_url(struct target *t, const char *url, struct sf_err *err)
{
    const char *p = strstr(url, "://");
    if (!p || (!sf_str_starts(url, "postgres://") && !sf_str_starts(url, "postgresql://")))
        return bad_url(err);
    p += 3;
    size_t n = strcspn(p, "/?#");
    int rc = add_authority(t, p, n, err);
    p += n;
    if (!rc && *p == '/') {
        n = strcspn(++p, "?#");
        if (memchr(p, '@', n))
            return bad_url(err);
        rc = set_part(t, "PGDATABASE", p, n, err);
        p += n;
    }
    if (rc || !*p)
        return rc;
    return *p == '?' ? add_params(t, p + 1, err) : bad_url(err);
}

/* ---- what must fit together ----------------------------------------------------------------- */

static bool
is_here(const char *host)
{
    return !*host || *host == '/' || *host == '@' || !strcmp(host, "localhost") ||
           sf_str_starts(host, "127.") || !strcmp(host, "::1");
}

/* Hosted databases tell whose they are. */
static int
check_project(const struct target *t, const char *ref, struct sf_err *err)
{
    static const char tail[] = ".supabase.co";
    char of[128] = "";
    if (sf_str_starts(t->host, "db.") && sf_str_ends(t->host, tail))
        snprintf(of, sizeof of, "%.*s", (int)(strlen(t->host) - strlen("db.") - strlen(tail)),
                 t->host + 3);
    else if (sf_str_ends(t->host, ".pooler.supabase.com") && strchr(t->user, '.'))
        snprintf(of, sizeof of, "%s", strchr(t->user, '.') + 1);
    if (!*ref || !*of || !strcmp(of, ref))
        return 0;
    return sf_err_set(err, -EINVAL, "db_url is the database of project %s, not of %s", of, ref);
}

static int
pass_on(struct target *t, const char *name, struct sf_err *err)
{
    const char *value = getenv(name);
    return value ? set_env(t, name, value, err) : 0;
}

static int
make_target(struct target *t, const char *url, const char *ref, bool plain, struct sf_err *err)
{
    static const char *const kept[] = {"PATH", "HOME", "PGPASSFILE", "LD_LIBRARY_PATH"};
    int rc = add_url(t, url, err);
    if (!rc)
        rc = check_project(t, ref, err);
    for (size_t i = 0; !rc && i < sizeof kept / sizeof *kept; i++)
        rc = pass_on(t, kept[i], err);
    /* libpq would go on in the clear where a server refuses TLS. */
    if (!rc && !t->has_tls && !plain && !is_here(t->host))
        rc = set_env(t, "PGSSLMODE", "require", err);
    if (!rc)
        rc = set_env(t, "LC_ALL", "C.UTF-8", err);
    if (!rc)
        rc = set_env(t, "PGCLIENTENCODING", "UTF8", err);
    /* The first of a name counts, so that the URL's own wins. */
    if (!rc)
        rc = set_env(t, "PGCONNECT_TIMEOUT", "15", err);
    if (!rc && text_vec_push(&t->env, NULL))
        rc = sf_err_set(err, -ENOMEM, "out of memory");
    return rc;
}

/* ---- running it ----------------------------------------------------------------------------- */

/* The first line that tells an error, without what would be a secret. */
static int
psql_fault(struct sf_buf *said, const struct target *t, int status, struct sf_err *err)
{
    static const char *const marks[] = {"ERROR:", "FATAL:", "error:"};
    const char *text = sf_buf_str(said), *at = NULL;
    for (size_t i = 0; !at && i < sizeof marks / sizeof *marks; i++)
        at = strstr(text, marks[i]);
    if (!at)
        return sf_err_set(err, -EIO, "psql ended with status %d and said no error", status);
    while (at > text && at[-1] != '\n')
        at--;
    sf_autofree char *line = strndup(at, strcspn(at, "\n"));
    if (!line)
        return sf_err_set(err, -ENOMEM, "out of memory");
    if (t->password && strstr(line, t->password))
        return sf_err_set(err, -EIO, "psql failed; what it said has the password in it");
    return sf_err_set(err, -EIO, "%s", line);
}

/* Both ends are files in memory, so that nobody waits for a reader. */
static int
spawn_psql(const struct target *t, int in, int out, int said, int *status, struct sf_err *err)
{
    static const char *const argv[] = {
        "psql", "-X", "-q", "-A", "-t", "-w", "-v", "ON_ERROR_STOP=1", "-f", "-", NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, said, STDERR_FILENO);
    int rc = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, t->env.data);
    posix_spawn_file_actions_destroy(&actions);
    if (rc == ENOENT)
        return sf_err_set(err, -ENOENT,
                          "there is no psql here; install it (Debian: apt install "
                          "postgresql-client), or leave db_url away to be told what to paste");
    if (rc)
        return sf_err_set(err, -rc, "cannot run psql: %s", strerror(rc));
    while (waitpid(pid, status, 0) < 0)
        if (errno != EINTR)
            return sf_err_set(err, -errno, "cannot wait for psql: %m");
    return 0;
}

static int
memory_file(int *fd)
{
    *fd = memfd_create("supafs-psql", MFD_CLOEXEC);
    return *fd < 0 ? -errno : 0;
}

static int
read_back(int fd, struct sf_buf *out)
{
    char text[16384];
    ssize_t n = sf_pread_full(fd, text, sizeof text, 0);
    return n < 0 ? (int)n : sf_buf_append(out, text, (size_t)n);
}

static int
run_psql(const struct target *t, const char *sql, int64_t *number, struct sf_err *err)
{
    sf_autofd int in = -1, out = -1, said = -1;
    sf_autobuf struct sf_buf answer = SF_BUF_INIT, words = SF_BUF_INIT;
    int status = 0, rc = memory_file(&in);
    if (!rc)
        rc = memory_file(&out);
    if (!rc)
        rc = memory_file(&said);
    if (!rc)
        rc = sf_pwrite_full(in, sql, strlen(sql), 0);
    if (rc)
        return sf_err_set(err, rc, "a file in memory: %s", strerror(-rc));
    rc = spawn_psql(t, in, out, said, &status, err);
    if (rc)
        return rc;
    rc = read_back(out, &answer);
    if (!rc)
        rc = read_back(said, &words);
    if (rc)
        return sf_err_set(err, rc, "what psql said: %s", strerror(-rc));
    if (!WIFEXITED(status) || WEXITSTATUS(status))
        return psql_fault(&words, t, WIFEXITED(status) ? WEXITSTATUS(status) : -1, err);
    if (!number)
        return 0;
    if (answer.len && answer.data[answer.len - 1] == '\n')
        sf_buf_truncate(&answer, answer.len - 1);
    return sf_parse_i64(sf_buf_str(&answer), number)
               ? sf_err_set(err, -EPROTO, "psql's answer is no number")
               : 0;
}

int
init_psql_run(const char *url, const char *ref, bool plain, const char *sql, int64_t *number,
              struct sf_err *err)
{
    struct target t = {.env = {0}};
    int rc = make_target(&t, url, ref, plain, err);
    if (!rc)
        rc = run_psql(&t, sql, number, err);
    target_fini(&t);
    return rc;
}
