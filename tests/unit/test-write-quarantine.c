/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write-fixture.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/file.h"

/* What cannot be uploaded is kept, with a note; what a killed daemon left, too. */

static struct sf_err
refusal(void)
{
    struct sf_err e = SF_ERR_INIT;
    (void)!sf_err_set(&e, -EACCES, "PUT b/k: a policy refuses");
    e.http_status = 400;
    snprintf(e.api_code, sizeof e.api_code, "AccessDenied");
    return e;
}

static void
assert_file(const char *path, const char *text)
{
    sf_autobuf struct sf_buf buf = SF_BUF_INIT;
    assert_int_equal(sf_read_file(path, 1 << 20, &buf, NULL), 0);
    assert_string_equal(sf_buf_str(&buf), text);
}

static json_t *
note_of(const char *path)
{
    sf_autobuf struct sf_buf file = SF_BUF_INIT;
    assert_int_equal(sf_buf_printf(&file, "%s.json", path), 0);
    json_t *j = json_load_file(file.data, 0, NULL);
    assert_non_null(j);
    return j;
}

static const char *
member(json_t *note, const char *name)
{
    const char *s = json_string_value(json_object_get(note, name));
    return s ? s : "(none)";
}

/* The one file in quarantine/ that is no note. */
static void
kept_path(char out[PATH_MAX])
{
    char dir[128];
    snprintf(dir, sizeof dir, "%s/quarantine", state_dir);
    sf_autodir DIR *d = opendir(dir);
    unsigned n = 0;
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.' && !strstr(e->d_name, ".json")) {
            snprintf(out, PATH_MAX, "%s/%s", dir, e->d_name);
            n++;
        }
    assert_int_equal(n, 1);
}

static void
bytes_and_note(void **state)
{
    (void)state;
    char path[PATH_MAX], buf[16];
    struct stat st;
    struct sf_content *c = content("dir/re port.pdf", "precious");
    struct sf_err why = refusal();
    assert_int_equal(sf_content_quarantine(c, &why, path), 0);
    assert_file(path, "precious");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(count_files("staging"), 0);

    /* time, the name that people know, something random */
    const char *name = strrchr(path, '/') + 1;
    unsigned y, n = 0;
    char tail[64] = "";
    assert_int_equal(sscanf(name, "%4u%*4uT%*6uZ-%60s%n", &y, tail, (int *)&n), 2);
    assert_true(y >= 2024 && n == strlen(name));
    assert_int_equal(strncmp(tail, "re_port.pdf-", 12), 0);

    json_t *note = note_of(path);
    int64_t when;
    assert_string_equal(member(note, "name"), name);
    assert_string_equal(member(note, "bucket"), "b");
    assert_string_equal(member(note, "key"), "dir/re port.pdf");
    assert_string_equal(member(note, "errno"), "EACCES");
    assert_string_equal(member(note, "reason"), "PUT b/k: a policy refuses");
    assert_string_equal(member(note, "api_code"), "AccessDenied");
    assert_int_equal(json_integer_value(json_object_get(note, "size")), 8);
    assert_int_equal(json_integer_value(json_object_get(note, "http_status")), 400);
    assert_int_equal(sf_time_parse(member(note, "time"), &when), 0);
    assert_true(when <= sf_wall_ns() && when > sf_wall_ns() - 60 * INT64_C(1000000000));
    json_decref(note);

    /* clean; who has it open reads it; a write leaves the kept file alone */
    assert_false(sf_content_dirty(c));
    assert_int_equal(read_local(c, buf, sizeof buf, 0), 8);
    assert_int_equal(sf_content_write(c, "PRE", 3, 0), 3);
    assert_file(path, "precious");
    assert_int_equal(read_local(c, buf, sizeof buf, 0), 8);
    assert_memory_equal(buf, "PREcious", 8);
    sf_content_abandon(c);
    sf_content_unref(c);
    assert_file(path, "precious");
    struct sf_writer_stats stats;
    sf_writer_stats(writer, &stats);
    assert_int_equal(stats.quarantined, 1);
}

static void
twice_is_once(void **state)
{
    (void)state;
    char path[PATH_MAX], again[PATH_MAX];
    struct sf_content *c = content("k", "x");
    struct sf_err why = refusal();
    assert_int_equal(sf_content_quarantine(c, &why, path), 0);
    assert_int_equal(sf_content_quarantine(c, &why, again), 0);
    assert_string_equal(path, again);
    sf_content_mark_dirty(c); /* a fsync of a descriptor that is still open */
    sf_content_unref(c);
    assert_int_equal(count_files("quarantine"), 2); /* the bytes and the note */
}

static void
names_are_harmless_and_never_meet(void **state)
{
    (void)state;
    static const char *const keys[] = {"same", "same", "dir/..", "a\nb;$(x) 'q'", "slash/", "\xff"};
    char path[6][PATH_MAX];
    struct sf_err why = refusal();
    char longest[901];
    memset(longest, 'n', 900);
    longest[900] = '\0';
    for (int i = 0; i < 6; i++) {
        struct sf_content *c = content(keys[i], "x");
        assert_int_equal(sf_content_quarantine(c, &why, path[i]), 0);
        sf_content_unref(c);
        const char *name = strrchr(path[i], '/') + 1;
        for (const char *p = name; *p; p++)
            assert_true((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') ||
                        (*p >= 'A' && *p <= 'Z') || strchr("._-", *p));
        json_decref(note_of(path[i]));
        assert_int_equal(strncmp(path[i], state_dir, strlen(state_dir)), 0);
    }
    assert_string_not_equal(path[0], path[1]);
    struct sf_content *c = content(longest, "x");
    assert_int_equal(sf_content_quarantine(c, &why, path[0]), 0);
    assert_true(strlen(strrchr(path[0], '/')) < 140);
    sf_content_unref(c);
    assert_int_equal(count_files("quarantine"), 14);
}

static void
an_empty_content_leaves_nothing(void **state)
{
    (void)state;
    char path[PATH_MAX] = "?";
    struct sf_content *c = content("k", NULL);
    struct sf_err why = refusal();
    sf_content_mark_dirty(c);
    assert_int_equal(sf_content_quarantine(c, &why, path), 0);
    assert_string_equal(path, "");
    assert_false(sf_content_dirty(c));
    sf_content_unref(c);
    assert_int_equal(count_files("quarantine"), 0);
}

static void
the_last_reference_to_dirty_bytes(void **state)
{
    (void)state;
    char path[PATH_MAX];
    sf_content_unref(content("k", "forgotten"));
    kept_path(path);
    assert_file(path, "forgotten");
    json_t *note = note_of(path);
    assert_string_equal(member(note, "key"), "k");
    json_decref(note);
}

/* Neither disk full nor anything else in the way loses bytes. */
static void
no_way_into_quarantine(void **state)
{
    (void)state;
    char dir[128], path[PATH_MAX];
    struct sf_err why = refusal();
    snprintf(dir, sizeof dir, "%s/quarantine", state_dir);
    assert_int_equal(rmdir(dir), 0);
    int fd = open(dir, O_CREAT | O_WRONLY, 0600); /* a file in place of the directory */
    assert_true(fd >= 0);
    struct sf_content *c = content("k", "kept");
    assert_int_equal(sf_content_quarantine(c, &why, path), -ENOTDIR);
    assert_non_null(strstr(path, "/staging/"));
    sf_content_unref(c);
    assert_file(path, "kept");
    close(fd);
    assert_int_equal(unlink(dir), 0);

    sf_writer_free(writer); /* the next start finds it */
    writer_start(1, 0);
    assert_int_equal(count_files("staging"), 0);
    kept_path(path);
    assert_file(path, "kept");
}

static void
on_a_full_disk(void **state)
{
    (void)state;
    char path[PATH_MAX], cmd[200];
    if (geteuid() != 0)
        skip();
    sf_writer_free(writer);
    snprintf(cmd, sizeof cmd, "mount -t tmpfs -o size=64k,mode=700 none '%s' 2>/dev/null",
             state_dir);
    if (system(cmd) != 0) {
        writer_start(1, 0);
        skip();
    }
    writer_start(1, 0);
    static char block[4096];
    uint64_t off;
    struct sf_err why = refusal();
    struct sf_content *c = content("k", "precious");
    struct sf_content *filler = content("filler", NULL);
    ssize_t n;
    static char blocks[5 * sizeof block];
    uint64_t taken = 0;
    while ((n = sf_content_append(filler, blocks, sizeof blocks, &off)) > 0)
        taken += (uint64_t)n;
    assert_int_equal(n, -ENOSPC);
    assert_int_equal(sf_content_size(filler), taken); /* nothing of what failed is sent */
    while ((n = sf_content_append(filler, block, sizeof block, &off)) > 0)
        taken += (uint64_t)n;
    assert_int_equal(n, -ENOSPC);
    assert_int_equal(sf_content_size(filler), taken);
    assert_int_equal(sf_content_quarantine(c, &why, path), 0); /* moving takes no room */
    assert_file(path, "precious");
    sf_content_abandon(filler);
    sf_content_unref(filler);
    sf_content_unref(c);
    sf_writer_free(writer);
    snprintf(cmd, sizeof cmd, "umount '%s'", state_dir);
    assert_int_equal(system(cmd), 0);
    writer_start(1, 0);
}

/* ---- what a killed daemon left ------------------------------------------------------------------
 */

/* Copy the state directory aside while contents are in it, as a kill would leave it. */
static void
kill_now(void)
{
    char cmd[300];
    snprintf(cmd, sizeof cmd, "cp -a '%s' '%s.killed'", state_dir, state_dir);
    assert_int_equal(system(cmd), 0);
}

static void
start_after_kill(void)
{
    char cmd[300];
    sf_writer_free(writer);
    snprintf(cmd, sizeof cmd, "rm -rf '%s' && mv '%s.killed' '%s'", state_dir, state_dir,
             state_dir);
    assert_int_equal(system(cmd), 0);
    writer_start(1, 0);
}

static void
left_behind(void **state)
{
    (void)state;
    char path[PATH_MAX];
    fake_set("b", "loaded", "from the bucket");
    struct sf_content *dirty = content("dir/k.txt", "not uploaded");
    struct sf_content *empty = content("empty", NULL);
    struct sf_content *loaded = content_of("loaded", "loaded");
    struct sf_content *sent = content("sent", "uploaded already");
    sf_content_mark_dirty(empty);
    struct got *g = got_new();
    sf_content_fill(loaded, on_write, g);
    assert_int_equal(wait_for(g), 0);
    assert_int_equal(wait_for(commit(sent, false)), 0);
    kill_now();
    sf_content_abandon(dirty);
    sf_content_abandon(empty);
    sf_content_unref(dirty);
    sf_content_unref(empty);
    sf_content_unref(loaded);
    sf_content_unref(sent);
    start_after_kill();

    /* only what exists nowhere else is kept (where files have attributes) */
    assert_int_equal(count_files("staging"), 0);
    assert_int_equal(count_files("quarantine"), 2);
    kept_path(path);
    assert_file(path, "not uploaded");
    assert_non_null(strstr(path, "k.txt"));
    json_t *note = note_of(path);
    assert_string_equal(member(note, "bucket"), "b");
    assert_string_equal(member(note, "key"), "dir/k.txt");
    assert_non_null(strstr(member(note, "reason"), "ended without stopping"));
    json_decref(note);
}

/* On a disk without user attributes the target is in a file beside. */
static void
without_attributes(void **state)
{
    (void)state;
    char path[PATH_MAX], file[400];
    struct sf_content *c = content("dir/k", "bytes");
    kill_now();
    sf_content_abandon(c);
    sf_content_unref(c);

    /* the same as such a disk would have it */
    char dir[128];
    snprintf(dir, sizeof dir, "%s.killed/staging", state_dir);
    sf_autodir DIR *d = opendir(dir);
    struct dirent *e;
    while ((e = readdir(d)) && e->d_name[0] == '.')
        ;
    assert_non_null(e);
    snprintf(file, sizeof file, "%s/%s", dir, e->d_name);
    removexattr(file, "user.supafs.target");
    snprintf(file, sizeof file, "%s/%s.target", dir, e->d_name);
    assert_int_equal(sf_write_file_atomic(file, "b/dir/k", 7, 0600, NULL), 0);
    snprintf(file, sizeof file, "%s/0123456789ab.target", dir); /* of a file that is gone */
    assert_int_equal(sf_write_file_atomic(file, "b/x", 3, 0600, NULL), 0);
    start_after_kill();
    assert_int_equal(count_files("staging"), 0);
    kept_path(path);
    assert_file(path, "bytes");
    json_t *note = note_of(path);
    assert_string_equal(member(note, "key"), "dir/k");
    json_decref(note);
}

static void
a_foreign_file_is_kept_too(void **state)
{
    (void)state;
    char file[200], path[PATH_MAX];
    snprintf(file, sizeof file, "%s/staging/whatever", state_dir);
    assert_int_equal(sf_write_file_atomic(file, "?", 1, 0600, NULL), 0);
    sf_writer_free(writer);
    writer_start(1, 0);
    kept_path(path);
    assert_file(path, "?");
    json_t *note = note_of(path);
    assert_true(json_is_null(json_object_get(note, "key")));
    json_decref(note);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_and_note),
        TEST(twice_is_once),
        TEST(names_are_harmless_and_never_meet),
        TEST(an_empty_content_leaves_nothing),
        TEST(the_last_reference_to_dirty_bytes),
        TEST(no_way_into_quarantine),
        TEST(on_a_full_disk),
        TEST(left_behind),
        TEST(without_attributes),
        TEST(a_foreign_file_is_kept_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
