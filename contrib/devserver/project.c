/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "project.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth.h"
#include "base/cleanup.h"

/* New ports are taken from below the kernel's own range, where no outgoing connection can sit. */
#define PORT_FIRST 20000
#define PORT_SPAN  12000
#define PORT_TRIES 200

#define KEY_ISSUED  1577836800LL /* 2020-01-01 */
#define KEY_EXPIRES 4102444800LL /* 2100-01-01 */

#define RUNNING_MARK "running"

int
ds_project_open(const char *dir, struct ds_project **ret, struct sf_err *err)
{
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return sf_err_set(err, -errno, "create folder %s: %m", dir);
    struct ds_project *project = calloc(1, sizeof *project);
    if (!project)
        return sf_err_set(err, -ENOMEM, "project: no memory");
    project->lock_fd = project->api_socket = project->admin_socket = -1;
    project->dir = strdup(dir);
    project->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int code = 0;
    if (!project->dir)
        code = sf_err_set(err, -ENOMEM, "project: no memory");
    else if (project->dir_fd < 0)
        code = sf_err_set(err, -errno, "open folder %s: %m", dir);
    else if ((project->lock_fd =
                  openat(project->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600)) < 0)
        code = sf_err_set(err, -errno, "open %s/lock: %m", dir);
    else if (flock(project->lock_fd, LOCK_EX | LOCK_NB) < 0)
        code = sf_err_set(err, -EBUSY, "%s is in use by another supafs-devserver", dir);
    if (code < 0) {
        if (project->lock_fd >= 0)
            close(project->lock_fd);
        project->lock_fd = -1;
        ds_project_close(project);
        return code;
    }
    project->unclean = faccessat(project->dir_fd, RUNNING_MARK, F_OK, 0) == 0;
    int mark = openat(project->dir_fd, RUNNING_MARK, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (mark >= 0)
        close(mark);
    *ret = project;
    return 0;
}

/* ---- keys ---- */

static char *
prefixed_random(const char *prefix, size_t bytes)
{
    sf_autofree char *random = ds_auth_random(bytes);
    char *key = NULL;
    if (!random || asprintf(&key, "%s%s", prefix, random) < 0)
        return NULL;
    return key;
}

/* The stored value of a key, or the fresh one, which is stored. Takes `fresh`. */
static int
load_or_keep(struct ds_db *db, const char *name, char *fresh, char **ret)
{
    sf_autofree char *owned = fresh;
    if (!owned)
        return -ENOMEM;
    char *stored = NULL;
    int rc = ds_db_setting_get(db, name, &stored);
    if (rc == -ENOENT) {
        rc = ds_db_setting_put(db, name, owned);
        if (rc == 0)
            stored = sf_steal(owned);
    }
    if (rc == 0)
        *ret = stored;
    return rc;
}

/* A key as Zhipu gives them out. */
static char *
hex_and_word(void)
{
    unsigned char raw[16];
    char hex[2 * sizeof raw + 1], *key = NULL;
    sf_autofree char *word = ds_auth_random(12);
    if (!word || getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
        return NULL;
    ds_hex(raw, sizeof raw, hex);
    for (char *s = word; *s; s++)
        if (*s == '-' || *s == '_')
            *s = 'x';
    return asprintf(&key, "%s.%s", hex, word) < 0 ? NULL : key;
}

static int
load_provider_key(struct ds_db *db, const struct ds_provider_site *site, char **ret)
{
    sf_autofree char *name = NULL;
    if (asprintf(&name, "%s_key", site->name) < 0) {
        name = NULL;
        return -ENOMEM;
    }
    char *fresh = site->key_prefix ? prefixed_random(site->key_prefix, 24) : hex_and_word();
    return load_or_keep(db, name, fresh, ret);
}

int
ds_project_load_keys(struct ds_project *project, struct ds_db *db, struct sf_err *err)
{
    int rc = load_or_keep(db, "jwt_secret", ds_auth_random(40), &project->jwt_secret);
    if (rc == 0)
        rc = load_or_keep(db, "anon_key",
                          ds_auth_sign(project->jwt_secret, "anon", KEY_ISSUED, KEY_EXPIRES),
                          &project->anon_key);
    if (rc == 0)
        rc =
            load_or_keep(db, "service_role_key",
                         ds_auth_sign(project->jwt_secret, "service_role", KEY_ISSUED, KEY_EXPIRES),
                         &project->service_key);
    if (rc == 0)
        rc = load_or_keep(db, "publishable_key", prefixed_random("sb_publishable_", 24),
                          &project->publishable_key);
    if (rc == 0)
        rc =
            load_or_keep(db, "secret_key", prefixed_random("sb_secret_", 24), &project->secret_key);
    if (rc == 0)
        rc = load_or_keep(db, "s3_key_id", prefixed_random("SB", 18), &project->s3_key_id);
    if (rc == 0)
        rc = load_or_keep(db, "s3_secret", prefixed_random("s3", 36), &project->s3_secret);
    for (size_t i = 0; rc == 0 && i < DS_PROVIDER_SITES; i++)
        rc = load_provider_key(db, &ds_provider_sites[i], &project->provider_keys[i]);
    if (rc < 0)
        return sf_err_set(err, rc, "keys of the project: %s", strerror(-rc));
    return 0;
}

/* ---- sockets ---- */

static int
try_listen(const char *host, int port, struct sf_err *err)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        return sf_err_set(err, -EINVAL, "listen address \"%s\" is not an IPv4 address", host);
    sf_autofd int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return sf_err_set(err, -errno, "socket: %m");
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 1024) < 0)
        return sf_err_set(err, -errno, "listen on %s:%d: %m", host, port);
    return sf_steal_fd(fd);
}

/* At the port the name had before, else at a new one, which is stored. */
static int
listen_stored(struct ds_db *db, const char *name, const char *host, int port, int *ret_port,
              struct sf_err *err)
{
    sf_autofree char *stored = NULL;
    if (port == 0 && ds_db_setting_get(db, name, &stored) == 0)
        port = (int)strtol(stored, NULL, 10);
    int fd = -EADDRINUSE;
    if (port != 0) {
        fd = try_listen(host, port, err);
    } else {
        for (int i = 0; i < PORT_TRIES && fd == -EADDRINUSE; i++) {
            uint16_t random;
            if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
                return sf_err_set(err, -EIO, "no randomness for a port");
            port = PORT_FIRST + random % PORT_SPAN;
            fd = try_listen(host, port, NULL);
        }
        if (fd < 0)
            return sf_err_set(err, fd, "no free port on %s: %s", host, strerror(-fd));
    }
    if (fd < 0)
        return fd;
    char text[16];
    snprintf(text, sizeof text, "%d", port);
    int rc = ds_db_setting_put(db, name, text);
    if (rc < 0) {
        close(fd);
        return sf_err_set(err, rc, "store the port: %s", strerror(-rc));
    }
    *ret_port = port;
    return fd;
}

int
ds_project_listen(struct ds_project *project, struct ds_db *db, const char *host, int port,
                  struct sf_err *err)
{
    int api_port, admin_port;
    int fd = listen_stored(db, "api_port", host, port, &api_port, err);
    if (fd < 0)
        return fd;
    project->api_socket = fd;
    fd = listen_stored(db, "admin_port", "127.0.0.1", 0, &admin_port, err);
    if (fd < 0)
        return fd;
    project->admin_socket = fd;
    const char *shown = strcmp(host, "0.0.0.0") == 0 ? "127.0.0.1" : host;
    if (asprintf(&project->url, "http://%s:%d", shown, api_port) < 0) {
        project->url = NULL;
        return sf_err_set(err, -ENOMEM, "project: no memory");
    }
    if (asprintf(&project->admin_url, "http://127.0.0.1:%d", admin_port) < 0) {
        project->admin_url = NULL;
        return sf_err_set(err, -ENOMEM, "project: no memory");
    }
    return 0;
}

/* All values are of characters that need no quoting inside single quotes. */
int
ds_project_write_env(const struct ds_project *project, struct sf_err *err)
{
    int fd =
        openat(project->dir_fd, "project.env.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return sf_err_set(err, -errno, "write %s/project.env: %m", project->dir);
    sf_autofile FILE *file = fdopen(fd, "w");
    if (!file) {
        close(fd);
        return sf_err_set(err, -ENOMEM, "write %s/project.env: no memory", project->dir);
    }
    fprintf(file,
            "SUPABASE_URL='%s'\n"
            "SUPABASE_ANON_KEY='%s'\n"
            "SUPABASE_SERVICE_ROLE_KEY='%s'\n"
            "SUPABASE_PUBLISHABLE_KEY='%s'\n"
            "SUPABASE_SECRET_KEY='%s'\n"
            "SUPABASE_JWT_SECRET='%s'\n"
            "SUPAFS_DEVSERVER_ADMIN='%s'\n"
            "AWS_ACCESS_KEY_ID='%s'\n"
            "AWS_SECRET_ACCESS_KEY='%s'\n"
            "AWS_REGION='" DS_PROJECT_REGION "'\n"
            "AWS_ENDPOINT_URL='%s/storage/v1/s3'\n",
            project->url, project->anon_key, project->service_key, project->publishable_key,
            project->secret_key, project->jwt_secret, project->admin_url, project->s3_key_id,
            project->s3_secret, project->url);
    for (size_t i = 0; i < DS_PROVIDER_SITES; i++) {
        const struct ds_provider_site *site = &ds_provider_sites[i];
        if (site->env)
            fprintf(file, "%s_API_KEY='%s'\n%s_BASE_URL='%s%s'\n", site->env,
                    project->provider_keys[i], site->env, project->url, site->base);
        if (site->model)
            fprintf(file, "SUPAFS_PROVIDER_%s_MODEL='%s'\n", site->provider, site->model);
    }
    if (fchmod(fd, 0600) < 0 || fflush(file) != 0 ||
        renameat(project->dir_fd, "project.env.new", project->dir_fd, "project.env") < 0)
        return sf_err_set(err, -errno, "write %s/project.env: %m", project->dir);
    return 0;
}

void
ds_project_close(struct ds_project *project)
{
    if (!project)
        return;
    if (project->lock_fd >= 0)
        unlinkat(project->dir_fd, RUNNING_MARK, 0);
    int fds[] = {project->api_socket, project->admin_socket, project->lock_fd, project->dir_fd};
    for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    free(project->dir);
    free(project->url);
    free(project->admin_url);
    free(project->jwt_secret);
    free(project->anon_key);
    free(project->service_key);
    free(project->publishable_key);
    free(project->secret_key);
    free(project->s3_key_id);
    free(project->s3_secret);
    for (size_t i = 0; i < DS_PROVIDER_SITES; i++)
        free(project->provider_keys[i]);
    free(project);
}
