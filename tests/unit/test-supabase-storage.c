/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The Storage client against the development server: every call, listings across page borders,
 * and the server's lies. */
#include "supabase/storage.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/storage-sync.h"
#include "base/str.h"
#include "supabase/keyfile.h"
#include "supabase/tus.h"

static char dir[] = "/tmp/supafs-storage-XXXXXX";
static pid_t server;
static char url[256], admin[256], env_path[400];
static struct sf_http *http;
static struct sf_auth *service, *anon;
static struct sf_storage *st, *st_anon;

/* ---- the server ---- */

static void
variable(const char *name, char *out, size_t size)
{
    char key[SF_KEY_MAX + 1];
    struct sf_keyfile_stamp stamp;
    struct sf_err err = SF_ERR_INIT;
    if (sf_keyfile_read(env_path, name, key, &stamp, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(strlen(key) < size);
    memcpy(out, key, strlen(key) + 1);
}

static int
start_server(const char *bin)
{
    int out[2];
    char data[320], line[300];
    snprintf(data, sizeof data, "%s/project", dir);
    if (pipe(out) < 0)
        return -1;
    server = fork();
    if (server == 0) {
        dup2(out[1], 1);
        close(out[0]);
        close(out[1]);
        execl(bin, bin, "--data", data, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *f = fdopen(out[0], "r");
    bool ready = f && fgets(line, sizeof line, f) && sf_str_starts(line, "ready ");
    if (f)
        fclose(f);
    snprintf(env_path, sizeof env_path, "%s/project.env", data);
    return ready ? 0 : -1;
}

static struct sf_auth *
key(const char *name)
{
    struct sf_auth *a = NULL;
    struct sf_err err = SF_ERR_INIT;
    struct sf_auth_source src = {.kind = SF_AUTH_FILE, .value = env_path, .variable = name};
    if (sf_auth_new(&src, &a, &err) < 0)
        fail_msg("%s", err.msg);
    return a;
}

static int
setup(void **state)
{
    struct sf_http_opts opts = {.backoff_min_ms = 5, .backoff_max_ms = 50};
    const char *bin = getenv("SUPAFS_DEVSERVER");
    (void)state;
    if (!mkdtemp(dir) || start_server(bin) < 0) {
        print_error("%s does not come up\n", bin);
        return -1;
    }
    variable("SUPABASE_URL", url, sizeof url);
    variable("SUPAFS_DEVSERVER_ADMIN", admin, sizeof admin);
    service = key("SUPABASE_SERVICE_ROLE_KEY");
    anon = key("SUPABASE_ANON_KEY");
    assert_int_equal(sf_http_new(&opts, &http, NULL), 0);
    assert_int_equal(sf_storage_new(http, service, url, &st, NULL), 0);
    assert_int_equal(sf_storage_new(http, anon, url, &st_anon, NULL), 0);
    return 0;
}

static int
remove_all(const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", "--", path, (char *)NULL);
        _exit(127);
    }
    int status;
    return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : -1;
}

static int
teardown(void **state)
{
    int status = -1;
    (void)state;
    sf_http_free(http);
    sf_storage_free(st);
    sf_storage_free(st_anon);
    sf_auth_free(service);
    sf_auth_free(anon);
    if (server > 0 && kill(server, SIGTERM) == 0)
        waitpid(server, &status, 0);
    return remove_all(dir) < 0 || status != 0 ? -1 : 0;
}

struct admin_call {
    atomic_int status;
};

static void
on_admin(void *arg, const struct sf_http_reply *reply)
{
    struct admin_call *a = arg;
    a->status = reply->status ? reply->status : -1;
}

/* Set the server's fault rules; "" = none. */
static void
faults(const char *rules)
{
    struct admin_call a = {0};
    sf_autobuf struct sf_buf to = SF_BUF_INIT;
    sf_buf_printf(&to, "%s/faults", admin);
    struct sf_http_req *req = sf_http_req_new(http, *rules ? "PUT" : "DELETE", to.data);
    assert_non_null(req);
    if (*rules)
        sf_http_req_body(req, strdup(rules), strlen(rules));
    sf_http_submit(http, req, on_admin, &a);
    for (int i = 0; !a.status && i < 10000; i++)
        usleep(1000);
    assert_int_equal(a.status, 200);
}

static int
no_faults(void **state)
{
    (void)state;
    faults("");
    return 0;
}

static int
body_file(const void *data, size_t len)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, len), len);
    return fd;
}

static int
put(const char *bucket, const char *name, const char *text, bool upsert, struct sf_err *err)
{
    char id[40];
    int fd = body_file(text, strlen(text));
    struct sf_put_args a = {.bucket = bucket,
                            .key = name,
                            .fd = fd,
                            .size = strlen(text),
                            .mime = "text/plain",
                            .cache_control = "max-age=60, supafs=\"m=100644\"",
                            .metadata = "{\"mode\":\"0644\"}",
                            .upsert = upsert};
    if (err)
        *err = SF_ERR_INIT;
    int rc = sf_storage_put_wait(st, &a, sync_in(20000), id, err);
    if (rc == 0)
        assert_int_equal(strlen(id), 36);
    close(fd);
    return rc;
}

/* ---- objects ---- */

static void
test_object_life(void **state)
{
    struct sf_object o, c;
    struct sf_err err;
    (void)state;
    assert_int_equal(sf_storage_bucket_create_wait(st, "life", sync_in(20000), NULL), 0);
    assert_int_equal(sf_storage_bucket_create_wait(st, "life", sync_in(20000), NULL), -EEXIST);
    assert_int_equal(put("life", "d/one.txt", "hello world", false, NULL), 0);
    assert_int_equal(put("life", "d/one.txt", "again", false, &err), -EEXIST);
    assert_false(err.outcome_open);

    assert_int_equal(sf_storage_info_wait(st, "life", "d/one.txt", sync_in(20000), &o, NULL), 0);
    assert_int_equal(o.size, 11);
    assert_string_equal(o.mime, "text/plain");
    assert_string_equal(o.cache_control, "max-age=60, supafs=\"m=100644\"");
    assert_string_equal(o.metadata, "{\"mode\":\"0644\"}");
    assert_true(o.updated_ns > 0 && o.created_ns > 0);

    /* A copy onto itself changes what is known of it, and keeps id and content. */
    struct sf_copy_args copy = {.bucket = "life",
                                .key = "d/one.txt",
                                .to_bucket = "life",
                                .to_key = "d/one.txt",
                                .upsert = true,
                                .set_metadata = true,
                                .cache_control = "max-age=61",
                                .metadata = "{\"mode\":\"0600\"}"};
    assert_int_equal(sf_storage_copy_wait(st, &copy, sync_in(20000), &c, NULL), 0);
    assert_string_equal(c.id, o.id);
    assert_string_equal(c.etag, o.etag);
    assert_string_not_equal(c.version, o.version);
    assert_string_equal(c.metadata, "{\"mode\":\"0600\"}");
    assert_string_equal(c.cache_control, "max-age=61");
    assert_string_equal(c.mime, "text/plain");
    assert_int_equal(c.size, 11);
    sf_object_fini(&o);
    sf_object_fini(&c);

    copy = (struct sf_copy_args){
        .bucket = "life", .key = "d/one.txt", .to_bucket = "life", .to_key = "two"};
    assert_int_equal(sf_storage_copy_wait(st, &copy, sync_in(20000), NULL, NULL), 0);
    assert_int_equal(sf_storage_copy_wait(st, &copy, sync_in(20000), NULL, NULL), -EEXIST);
    copy.key = "absent";
    assert_int_equal(sf_storage_copy_wait(st, &copy, sync_in(20000), NULL, NULL), -ENOENT);

    assert_int_equal(
        sf_storage_move_wait(st, "life", "two", "life", "d/one.txt", sync_in(20000), NULL),
        -EEXIST);
    assert_int_equal(sf_storage_move_wait(st, "life", "two", "life", "three", sync_in(20000), NULL),
                     0);
    assert_int_equal(sf_storage_move_wait(st, "life", "two", "life", "four", sync_in(20000), NULL),
                     -ENOENT);
    assert_int_equal(
        sf_storage_move_wait(st, "life", "three", "no-bucket", "x", sync_in(20000), NULL), -ENOENT);

    assert_int_equal(sf_storage_bucket_delete_wait(st, "life", sync_in(20000), NULL), -ENOTEMPTY);
    assert_int_equal(sf_storage_delete_wait(st, "life", "three", sync_in(20000), NULL), 0);
    assert_int_equal(sf_storage_delete_wait(st, "life", "three", sync_in(20000), NULL), -ENOENT);
    assert_int_equal(sf_storage_delete_wait(st, "life", "d/one.txt", sync_in(20000), NULL), 0);
    assert_int_equal(sf_storage_info_wait(st, "life", "d/one.txt", sync_in(20000), &o, NULL),
                     -ENOENT);
    assert_int_equal(sf_storage_bucket_delete_wait(st, "life", sync_in(20000), NULL), 0);
    assert_int_equal(sf_storage_bucket_delete_wait(st, "life", sync_in(20000), NULL), -ENOENT);
}

/* What was removed is told with its version, what was not there is not. */
static void
test_remove_many(void **state)
{
    static const char *const keys[] = {"many/1", "many/none", "many/a?b&c", "many", "many/2"};
    struct sf_removed gone[5];
    struct sf_object o;
    struct sf_version v;
    (void)state;
    assert_int_equal(put("results", "many/1", "one", true, NULL), 0);
    assert_int_equal(put("results", "many/2", "two", true, NULL), 0);
    assert_int_equal(put("results", "many/a?b&c", "three", true, NULL), 0);
    assert_int_equal(sf_storage_info_wait(st, "results", "many/1", sync_in(20000), &o, NULL), 0);
    sf_version_of_object(&o, &v);
    sf_object_fini(&o);
    assert_int_equal(
        sf_storage_delete_many_wait(st, "results", keys, 5, sync_in(20000), gone, NULL), 0);
    assert_true(gone[0].removed && gone[2].removed && gone[4].removed);
    assert_false(gone[1].removed || gone[3].removed);
    assert_true(sf_version_same(&gone[0].version, &v));
    assert_string_equal(gone[0].version.version, v.version);
    assert_int_equal(gone[0].version.updated_ns, v.updated_ns);
    assert_int_equal(
        sf_storage_delete_many_wait(st, "results", keys, 5, sync_in(20000), gone, NULL), 0);
    for (int i = 0; i < 5; i++)
        assert_false(gone[i].removed);
    assert_int_equal(
        sf_storage_delete_many_wait(st, "no-such-bucket", keys, 5, sync_in(20000), gone, NULL), 0);
    assert_false(gone[0].removed);
}

/* A copy and the function of the database: both tell the version that is there afterwards. */
static void
test_attrs(void **state)
{
    struct sf_object o, c;
    struct sf_version before, after;
    struct sf_attrs_result res;
    (void)state;
    assert_int_equal(put("results", "attrs", "text", true, NULL), 0);
    struct sf_copy_args copy = {.bucket = "results",
                                .key = "attrs",
                                .to_bucket = "results",
                                .to_key = "attrs",
                                .upsert = true,
                                .set_metadata = true,
                                .metadata = "{\"a\":1}"};
    assert_int_equal(sf_storage_copy_wait(st, &copy, sync_in(20000), &c, NULL), 0);
    assert_int_equal(sf_storage_info_wait(st, "results", "attrs", sync_in(20000), &o, NULL), 0);
    sf_version_of_object(&c, &before);
    sf_version_of_object(&o, &after);
    assert_memory_equal(&before, &after, sizeof before);
    assert_true(before.version[0] && before.updated_ns > 0 && before.size == 4);
    sf_object_fini(&o);
    sf_object_fini(&c);

    struct sf_attrs_args a = {.bucket = "results",
                              .key = "attrs",
                              .version = before.version,
                              .cache_control = "no-cache, supafs=\"m=2\""};
    assert_int_equal(sf_storage_set_attrs_wait(st, &a, sync_in(20000), &res, NULL), 0);
    assert_true(res.updated);
    assert_int_equal(sf_storage_info_wait(st, "results", "attrs", sync_in(20000), &o, NULL), 0);
    sf_version_of_object(&o, &after);
    assert_true(sf_version_same(&before, &after));
    assert_string_equal(o.cache_control, "no-cache, supafs=\"m=2\"");
    assert_string_equal(o.mime, "text/plain");
    assert_string_equal(o.metadata, "{\"a\":1}");
    sf_object_fini(&o);
    /* Another one has written meanwhile, or has removed it. */
    assert_int_equal(put("results", "attrs", "other", true, NULL), 0);
    assert_int_equal(sf_storage_set_attrs_wait(st, &a, sync_in(20000), &res, NULL), 0);
    assert_false(res.updated);
    assert_true(res.version[0]);
    assert_string_not_equal(res.version, before.version);
    assert_int_equal(sf_storage_delete_wait(st, "results", "attrs", sync_in(20000), NULL), 0);
    assert_int_equal(sf_storage_set_attrs_wait(st, &a, sync_in(20000), &res, NULL), 0);
    assert_true(!res.updated && !res.version[0]);
}

static void
test_limits(void **state)
{
    char id[40];
    uint64_t limit = 0;
    int fd = body_file("x", 1);
    struct sf_put_args a = {
        .bucket = "user-files", .key = "x.bin", .fd = fd, .size = 1, .mime = "video/mp4"};
    (void)state;
    assert_int_equal(sf_storage_put_wait(st, &a, sync_in(20000), id, NULL), -EPERM);
    a.mime = "text/plain";
    a.key = "a#b";
    assert_int_equal(sf_storage_put_wait(st, &a, sync_in(20000), id, NULL), -EINVAL);
    a.bucket = "no-such-bucket";
    a.key = "a";
    assert_int_equal(sf_storage_put_wait(st, &a, sync_in(20000), id, NULL), -ENOENT);
    assert_int_equal(ftruncate(fd, 60000000), 0);
    a.bucket = "results";
    a.size = 60000000;
    assert_int_equal(sf_storage_put_wait(st, &a, sync_in(20000), id, NULL), -EFBIG);
    close(fd);
    assert_int_equal(sf_storage_global_limit_wait(st, sync_in(20000), &limit, NULL), 0);
    assert_int_equal(limit, 524288000);
}

static void
test_buckets(void **state)
{
    sf_autobuf struct sf_buf ids = SF_BUF_INIT;
    struct sf_bucket_row row;
    struct sf_err err;
    (void)state;
    assert_int_equal(sync_bucket_list(st, &ids, NULL), 0);
    assert_non_null(strstr(ids.data, "user-files "));
    assert_int_equal(sync_bucket_get(st, "user-files", &row, NULL), 0);
    assert_int_equal(row.size_limit, 52428800);
    assert_false(row.is_public);
    assert_true(row.created_ns > 0);
    assert_int_equal(sync_verify(st, "user-files", &err), 0);
    assert_int_equal(sync_verify(st, "no-such-bucket", &err), -ENOENT);
    assert_string_equal(err.api_code, "NoSuchBucket");
    /* Bucket names that are more than letters. */
    assert_int_equal(sf_storage_bucket_create_wait(st, "a b?c=d&e", sync_in(20000), NULL), 0);
    assert_int_equal(put("a b?c=d&e", "k&?=+ x", "text", false, NULL), 0);
    assert_int_equal(sf_storage_delete_wait(st, "a b?c=d&e", "k&?=+ x", sync_in(20000), NULL), 0);
    assert_int_equal(sf_storage_bucket_delete_wait(st, "a b?c=d&e", sync_in(20000), NULL), 0);
    /* The anon key sees nothing, and is told so only by the check. */
    sf_buf_clear(&ids);
    assert_int_equal(sync_bucket_list(st_anon, &ids, NULL), 0);
    assert_string_equal(sf_buf_str(&ids), "");
    assert_int_equal(sync_verify(st_anon, "user-files", &err), -ENOENT);
}

/* ---- resumable uploads ---- */

#define TUS_SIZE 2500000

/* A file of @size bytes that nobody else has. */
static int
long_file(char *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i * i >> 7 ^ i);
    return body_file(data, size);
}

static int
piece(const char *name, int fd, uint64_t off, uint64_t end, uint64_t *now_at, struct sf_err *err)
{
    struct sf_tus_piece p = {.name = name, .fd = fd, .off = off, .len = end - off};
    *err = SF_ERR_INIT;
    return sf_tus_send_wait(st, &p, sync_in(20000), now_at, err);
}

static void
test_tus(void **state)
{
    char *data = malloc(TUS_SIZE), *back = malloc(TUS_SIZE), *name = NULL, version[40];
    int fd = long_file(data, TUS_SIZE);
    uint64_t at = 0, size = 0;
    size_t len;
    struct sf_err err;
    struct sf_object o;
    struct sf_tus_args a = {.bucket = "results",
                            .key = "tus/a?b",
                            .size = TUS_SIZE,
                            .mime = "text/plain",
                            .cache_control = "max-age=61",
                            .metadata = "{\"a\":1}"};
    (void)state;
    assert_int_equal(sf_tus_create_wait(st, &a, sync_in(20000), &name, NULL), 0);
    assert_int_equal(sf_tus_offset_wait(st, name, false, sync_in(20000), &at, &size, NULL), 0);
    assert_true(at == 0 && size == TUS_SIZE);
    assert_int_equal(piece(name, fd, 0, 1000000, &at, &err), 0);
    assert_int_equal(at, 1000000);
    assert_int_equal(piece(name, fd, 5, 1000000, &at, &err), -ESPIPE);
    /* The reply of a piece is lost: the offset tells what became of it. */
    faults("[{\"kind\":\"reset_after\",\"method\":\"PATCH\",\"times\":1}]");
    assert_true(piece(name, fd, at, 2000000, &at, &err) < 0);
    assert_true(err.outcome_open);
    assert_int_equal(sf_tus_offset_wait(st, name, false, sync_in(20000), &at, &size, NULL), 0);
    assert_int_equal(at, 2000000);
    assert_int_equal(sf_storage_info_wait(st, "results", a.key, sync_in(20000), &o, NULL), -ENOENT);
    assert_int_equal(piece(name, fd, at, TUS_SIZE, &at, &err), 0);
    assert_int_equal(at, TUS_SIZE);

    assert_int_equal(sf_storage_info_wait(st, "results", a.key, sync_in(20000), &o, NULL), 0);
    assert_int_equal(o.size, TUS_SIZE);
    assert_string_equal(o.mime, "text/plain");
    assert_string_equal(o.cache_control, "max-age=61");
    assert_string_equal(o.metadata, "{\"a\":1}");
    assert_true(sf_tus_version(name, version));
    assert_string_equal(o.version, version);
    struct sf_get_args g = {.bucket = "results",
                            .key = a.key,
                            .len = TUS_SIZE,
                            .buf = back,
                            .etag = o.etag,
                            .total = TUS_SIZE};
    assert_int_equal(sf_storage_get_wait(st, &g, sync_in(20000), &len, NULL), 0);
    assert_int_equal(len, TUS_SIZE);
    assert_memory_equal(back, data, TUS_SIZE);
    sf_object_fini(&o);

    /* Complete, and the key is taken. */
    assert_int_equal(sf_tus_drop_wait(st, name, false, sync_in(20000), NULL), -EEXIST);
    free(name);
    assert_int_equal(sf_tus_create_wait(st, &a, sync_in(20000), &name, NULL), -EEXIST);
    a.upsert = true;
    assert_int_equal(sf_tus_create_wait(st, &a, sync_in(20000), &name, NULL), 0);
    assert_int_equal(sf_tus_drop_wait(st, name, true, sync_in(20000), NULL), 0);
    assert_int_equal(sf_tus_drop_wait(st, name, true, sync_in(20000), NULL), -ENOENT);
    assert_int_equal(sf_tus_offset_wait(st, name, true, sync_in(20000), &at, &size, NULL), -ENOENT);
    assert_int_equal(piece(name, fd, 0, 10, &at, &err), -ENOENT);
    free(name);
    close(fd);
    free(data);
    free(back);
}

static void
test_tus_refused(void **state)
{
    char *name = NULL;
    struct sf_tus_args a = {.bucket = "results", .key = "tus/x", .size = UINT64_C(1) << 40};
    struct sf_err err = SF_ERR_INIT;
    uint64_t at, size;
    (void)state;
    assert_int_equal(sf_tus_create_wait(st, &a, sync_in(20000), &name, NULL), -EFBIG);
    a.size = 1;
    a.key = "a#b";
    assert_int_equal(sf_tus_create_wait(st, &a, sync_in(20000), &name, NULL), -EINVAL);
    a.key = "k";
    a.bucket = "no-such-bucket";
    assert_int_equal(sf_tus_create_wait(st, &a, sync_in(20000), &name, NULL), -ENOENT);
    a.bucket = "user-files";
    a.mime = "video/mp4";
    assert_int_equal(sf_tus_create_wait(st, &a, sync_in(20000), &name, NULL), -EPERM);
    a.mime = "text/plain";
    assert_int_equal(sf_tus_create_wait(st_anon, &a, sync_in(20000), &name, NULL), -EACCES);
    assert_int_equal(sf_tus_create_wait(st, &a, sync_in(20000), &name, NULL), 0);
    faults("[{\"kind\":\"expired\"}]");
    assert_true(sf_tus_offset_wait(st, name, false, sync_in(20000), &at, &size, &err) ==
                -EKEYREJECTED);
    faults("");
    assert_int_equal(sf_tus_drop_wait(st, name, false, sync_in(20000), NULL), 0);
    free(name);
}

/* More metadata than a header carries, and a content type with a parameter, arrive by a form. */
static void
test_form(void **state)
{
    char *data = malloc(TUS_SIZE), *meta = malloc(61000), id[40];
    int fd = long_file(data, TUS_SIZE);
    struct sf_put_args a = {.bucket = "results",
                            .key = "form/a?b",
                            .fd = fd,
                            .size = TUS_SIZE,
                            .mime = "text/plain; charset=utf-8",
                            .cache_control = "max-age=62",
                            .metadata = meta};
    struct sf_object o;
    (void)state;
    memset(meta, 'x', 61000);
    memcpy(meta, "{\"long\":\"", 9);
    memcpy(meta + 60997, "\"}", 3);
    assert_int_equal(sf_storage_put_wait(st, &a, sync_in(20000), id, NULL), -ENOTSUP);
    assert_int_equal(sf_storage_put_form_wait(st, &a, sync_in(20000), id, NULL), 0);
    assert_int_equal(sf_storage_info_wait(st, "results", a.key, sync_in(20000), &o, NULL), 0);
    assert_string_equal(o.id, id);
    assert_int_equal(o.size, TUS_SIZE);
    assert_string_equal(o.mime, "text/plain; charset=utf-8");
    assert_string_equal(o.cache_control, "max-age=62");
    assert_string_equal(o.metadata, meta);
    char *etag = strdup(o.etag);
    sf_object_fini(&o);
    /* The same bytes, once more, by the other route. */
    a.metadata = NULL;
    assert_int_equal(sf_storage_put_form_wait(st, &a, sync_in(20000), id, NULL), -EEXIST);
    a.upsert = true;
    assert_int_equal(sf_storage_put_wait(st, &a, sync_in(20000), id, NULL), 0);
    assert_int_equal(sf_storage_info_wait(st, "results", a.key, sync_in(20000), &o, NULL), 0);
    assert_string_equal(o.etag, etag);
    sf_object_fini(&o);
    free(etag);
    close(fd);
    free(meta);
    free(data);
}

/* ---- reading ---- */

static void
test_ranges(void **state)
{
    char buf[64];
    size_t len = 0;
    uint64_t total;
    struct sf_object o;
    struct sf_err err;
    struct sf_get_args a = {.bucket = "results",
                            .key = "range",
                            .len = sizeof buf,
                            .buf = buf,
                            .any_total = true,
                            .token = "1"};
    (void)state;
    assert_int_equal(put("results", "range", "0123456789", true, NULL), 0);
    assert_int_equal(sync_get(st, &a, &len, &total, NULL), 0);
    assert_int_equal(len, 10);
    assert_int_equal(total, 10);
    assert_memory_equal(buf, "0123456789", 10);
    a.off = 4;
    a.len = 3;
    assert_int_equal(sf_storage_get_wait(st, &a, sync_in(20000), &len, NULL), 0);
    assert_int_equal(len, 3);
    assert_memory_equal(buf, "456", 3);
    /* Behind the end: it must have been shortened by somebody. */
    a.off = 10;
    assert_int_equal(sync_get(st, &a, &len, &total, &err), -ESTALE);

    /* The version that is known, and another one. */
    assert_int_equal(sf_storage_info_wait(st, "results", "range", sync_in(20000), &o, NULL), 0);
    a = (struct sf_get_args){
        .bucket = "results", .key = "range", .len = 10, .buf = buf, .etag = o.etag, .total = 10};
    assert_int_equal(sync_get(st, &a, &len, &total, NULL), 0);
    assert_int_equal(put("results", "range", "abcdefghij", true, NULL), 0);
    assert_int_equal(sync_get(st, &a, &len, &total, &err), -ESTALE);
    a.etag = NULL;
    a.total = 11;
    assert_int_equal(sync_get(st, &a, &len, &total, &err), -ESTALE);
    a.key = "absent";
    assert_int_equal(sync_get(st, &a, &len, &total, &err), -ENOENT);
    sf_object_fini(&o);
    assert_int_equal(put("results", "empty", "", true, NULL), 0);
    a.key = "empty";
    assert_int_equal(sync_get(st, &a, &len, &total, &err), -ESTALE);
}

static void
lied_to(const char *rules, int rc)
{
    char buf[64];
    size_t len = 0;
    uint64_t total;
    struct sf_err err;
    struct sf_object o;
    assert_int_equal(sf_storage_info_wait(st, "results", "lies", sync_in(20000), &o, NULL), 0);
    struct sf_get_args a = {.bucket = "results",
                            .key = "lies",
                            .off = 2,
                            .len = 5,
                            .buf = buf,
                            .etag = o.etag,
                            .total = 10};
    assert_int_equal(sync_get(st, &a, &len, &total, NULL), 0);
    faults(rules);
    int got = sync_get(st, &a, &len, &total, &err);
    if (got != rc)
        fail_msg("%s: %d (%s)", rules, got, err.msg);
    faults("");
    sf_object_fini(&o);
}

#define READS "\"path\":\"*/object/authenticated/*\""

static void
test_lies(void **state)
{
    (void)state;
    assert_int_equal(put("results", "lies", "0123456789", true, NULL), 0);
    lied_to("[{\"kind\":\"etag\"," READS "}]", -ESTALE);
    lied_to("[{\"kind\":\"size\",\"where\":\"content-range\",\"delta\":3," READS "}]", -ESTALE);
    lied_to("[{\"kind\":\"size\",\"where\":\"content-range\",\"delta\":-3," READS "}]", -ESTALE);
    /* Cut once and reset once: the next try is whole. */
    lied_to("[{\"kind\":\"truncate\",\"after\":2,\"times\":1," READS "}]", 0);
    lied_to("[{\"kind\":\"reset_before\",\"times\":2," READS "}]", 0);
    lied_to("[{\"kind\":\"error\",\"status\":503,\"times\":2," READS "}]", 0);
}

/* ---- what is repeated and what is not ---- */

static void
test_lost_replies(void **state)
{
    struct sf_err err = SF_ERR_INIT;
    struct sf_object o;
    (void)state;
    assert_int_equal(put("results", "lost", "1", true, NULL), 0);
    /* Done, and the reply is lost: not done again, but told. */
    faults("[{\"kind\":\"reset_after\",\"method\":\"DELETE\",\"times\":1}]");
    assert_true(sf_storage_delete_wait(st, "results", "lost", sync_in(20000), &err) < 0);
    assert_true(err.outcome_open);
    assert_int_equal(sf_storage_info_wait(st, "results", "lost", sync_in(20000), &o, NULL),
                     -ENOENT);
    faults("[{\"kind\":\"reset_after\",\"method\":\"POST\",\"times\":1}]");
    assert_true(put("results", "lost", "2", false, &err) < 0);
    assert_true(err.outcome_open);
    assert_int_equal(sf_storage_info_wait(st, "results", "lost", sync_in(20000), &o, NULL), 0);
    sf_object_fini(&o);
    /* A replace and a listing come through. */
    faults("[{\"kind\":\"reset_after\",\"method\":\"POST\",\"times\":1}]");
    assert_int_equal(put("results", "lost", "3", true, NULL), 0);
    faults("[{\"kind\":\"reset_after\",\"method\":\"POST\",\"times\":1}]");
    size_t n = 0;
    struct sf_list_args a = {.bucket = "results", .prefix = "lost"};
    assert_int_equal(sf_storage_list_wait(st, &a, sync_in(20000), &n, NULL, NULL), 0);
    assert_int_equal(n, 1);
}

static void
test_expired(void **state)
{
    struct sf_err err;
    (void)state;
    faults("[{\"kind\":\"expired\"}]");
    assert_int_equal(sync_verify(st, "results", &err), -EKEYEXPIRED);
    faults("");
    assert_int_equal(sync_verify(st, "results", &err), 0);
}

/* ---- listings ---- */

static int
compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The keys of a flat listing, folded here at the first '/' behind the prefix, sorted, once each. */
static void
fold(const char *flat, const char *prefix, struct sf_buf *out)
{
    size_t n = 0, plen = strlen(prefix);
    char *text = strdup(flat), *save = text;
    char **lines = calloc(strlen(flat) + 1, sizeof *lines);
    for (char *line; (line = strsep(&text, "\n")) && *line;) {
        char *slash = strchr(line + plen, '/');
        if (slash)
            slash[1] = '\0';
        lines[n++] = line;
    }
    qsort(lines, n, sizeof *lines, compare_lines);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(lines[i], lines[i - 1]) != 0)
            sf_buf_printf(out, "%s\n", lines[i]);
    }
    free(lines);
    free(save);
}

/* Listings of every page size give the same, complete and in order. */
static void
check_listings(const char *bucket, const char *prefix, const unsigned *limits, size_t n_limits)
{
    sf_autobuf struct sf_buf flat = SF_BUF_INIT, want = SF_BUF_INIT;
    size_t n;
    assert_int_equal(sync_list_all(st, bucket, prefix, false, 1000, &flat, &n, NULL), 0);
    assert_true(n > 0);
    fold(flat.data, prefix, &want);
    for (size_t i = 0; i < n_limits; i++) {
        sf_autobuf struct sf_buf got = SF_BUF_INIT;
        struct sf_err err = SF_ERR_INIT;
        if (sync_list_all(st, bucket, prefix, true, limits[i], &got, &n, &err) < 0)
            fail_msg("limit %u: %s", limits[i], err.msg);
        assert_string_equal(got.data, want.data);
        if (limits[i] > 5)
            continue;
        sf_buf_clear(&got);
        assert_int_equal(sync_list_all(st, bucket, prefix, false, limits[i], &got, &n, NULL), 0);
        assert_string_equal(got.data, flat.data);
    }
}

static const unsigned small_limits[] = {1, 2, 3, 5, 7, 1000};

static void
test_listing_quirks(void **state)
{
    static const char *const names[] = {
        "Beta",   "Dir/upper", "a",       "a-b",   "a-b/x",    "a.txt",  "a.txt/deep/er",
        "a/1",    "a/2/3",     "aaa",     "both",  "both-and", "both/c", "both.txt",
        "both/d", "d_r/u",     "dir/x",   "dir2",  "trail",    "trail/", "trail/x",
        "z!",     "z",         "z z/z z", "z/ /z", "zz",       "_",      "_/u",
    };
    static const char *const odd[] = {"/", "/dd", "//", "//x/y", "a//b", "a//c", "a///d", "/e/f"};
    static const char *const prefixes[] = {"", "a", "a/", "both", "both/", "trail/", "z", "z/ "};
    static const char *const odd_prefixes[] = {"", "/", "//", "a/", "a//", "a", "/e"};
    (void)state;
    assert_int_equal(sf_storage_bucket_create_wait(st, "quirks", sync_in(20000), NULL), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(put("quirks", names[i], "x", false, NULL), 0);
    for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++)
        check_listings("quirks", prefixes[i], small_limits, 6);
    /* Keys with empty parts, which the service itself shows with fewer slashes, or loops over. */
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        assert_int_equal(put("quirks", odd[i], "x", false, NULL), 0);
    for (size_t i = 0; i < sizeof odd_prefixes / sizeof odd_prefixes[0]; i++)
        check_listings("quirks", odd_prefixes[i], small_limits, 6);
}

/* Objects HEAD + number + TAIL. */
static void
put_many(const char *bucket, const char *head, int from, int to, const char *tail)
{
    char name[64];
    for (int i = from; i < to; i++) {
        snprintf(name, sizeof name, "%s%04d%s", head, i, tail);
        assert_int_equal(put(bucket, name, "", false, NULL), 0);
    }
}

/* 2500 objects, with folders, and names that begin alike, on both sides of the page borders. */
static void
test_long_listing(void **state)
{
    static const unsigned limits[] = {1000, 999, 500, 37};
    (void)state;
    assert_int_equal(sf_storage_bucket_create_wait(st, "long", sync_in(20000), NULL), 0);
    put_many("long", "f", 0, 1000, "");
    /* Rows that the service loses behind its batch of 1000. */
    assert_int_equal(put("long", "f0999-x", "", false, NULL), 0);
    assert_int_equal(put("long", "f0999.txt", "", false, NULL), 0);
    check_listings("long", "", limits, 4);
    assert_int_equal(put("long", "f0999/x", "", false, NULL), 0);
    assert_int_equal(put("long", "f0998/x", "", false, NULL), 0);
    check_listings("long", "", limits, 4);
    put_many("long", "f", 1000, 2400, "");
    put_many("long", "f", 1900, 1950, "/x");
    put_many("long", "f", 1900, 1950, "/y");
    check_listings("long", "", limits, 4);
    check_listings("long", "f1", limits, 4);
}

static void
test_list_wait(void **state)
{
    size_t n = 7;
    char *first = NULL;
    struct sf_list_args a = {.bucket = "long", .prefix = "f0999", .limit = 2, .delimiter = true};
    (void)state;
    assert_int_equal(sf_storage_list_wait(st, &a, sync_in(20000), &n, &first, NULL), 0);
    assert_int_equal(n, 2);
    assert_string_equal(first, "f0999");
    free(first);
    first = NULL;
    a.prefix = "absent/";
    assert_int_equal(sf_storage_list_wait(st, &a, sync_in(20000), &n, &first, NULL), 0);
    assert_int_equal(n, 0);
    assert_null(first);
    /* A bucket that is not there looks like an empty one; the check tells them apart. */
    a.bucket = "no-such-bucket";
    assert_int_equal(sf_storage_list_wait(st, &a, sync_in(20000), &n, &first, NULL), 0);
    assert_int_equal(n, 0);
}

#define TEST(fn) cmocka_unit_test_teardown(fn, no_faults)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_object_life),    TEST(test_remove_many),
        TEST(test_attrs),          TEST(test_tus),
        TEST(test_tus_refused),    TEST(test_form),
        TEST(test_limits),         TEST(test_buckets),
        TEST(test_ranges),         TEST(test_lies),
        TEST(test_lost_replies),   TEST(test_expired),
        TEST(test_listing_quirks), TEST(test_long_listing),
        TEST(test_list_wait),
    };
    const char *bin = getenv("SUPAFS_DEVSERVER");
    if (!bin || access(bin, X_OK) < 0) {
        puts("requires supafs-devserver (build it first, and run this by make check)");
        return 77;
    }
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, setup, teardown);
}
