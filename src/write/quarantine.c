/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "write/quarantine.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/str.h"
#include "observe/counter.h"
#include "observe/log.h"
#include "write/kept.h"
#include "write/stage.h"
#include "write/step.h"
#include "write/writer.h"

#define NAME_KEPT 100 /* characters of the key's last component in a name */

/* TIME-COMPONENT-RANDOM, harmless for any shell. */
static int
make_name(const char *target, char *out, size_t size)
{
    unsigned char raw[4];
    char hex[2 * sizeof raw + 1], when[20], part[NAME_KEPT + 1];
    int rc = sf_random_bytes(raw, sizeof raw);
    if (rc)
        return rc;
    sf_hex_encode(raw, sizeof raw, hex);

    time_t now = (time_t)(sf_wall_ns() / 1000000000);
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &tm);

    const char *slash = target ? strrchr(target, '/') : NULL;
    const char *name = slash && slash[1] ? slash + 1 : "unknown";
    size_t n = 0;
    for (; name[n] && n < NAME_KEPT; n++) {
        unsigned char c = (unsigned char)name[n];
        part[n] = isalnum(c) || c == '.' || c == '_' || c == '-' ? (char)c : '_';
    }
    part[n] = '\0';
    snprintf(out, size, "%s-%s-%s", when, part, hex);
    return 0;
}

/* Move the file under a name that nothing has. */
static int
move_in(struct sf_writer *w, struct sf_stage *s, const char *target)
{
    for (int i = 0; i < 8; i++) {
        char name[NAME_MAX + 1];
        int rc = make_name(target, name, sizeof name);
        if (rc)
            return rc;
        sf_autofree char *path = NULL;
        if (asprintf(&path, "%s/%s", w->quarantine, name) < 0) {
            path = NULL;
            return -ENOMEM;
        }
        if (renameat2(AT_FDCWD, s->path, AT_FDCWD, path, RENAME_NOREPLACE) == 0) {
            sf_stage_moved(s, sf_steal(path));
            return 0;
        }
        if (errno != EEXIST)
            return -errno;
    }
    return -EEXIST;
}

/* Keys are ASCII by the service's rules, but a file's attribute may say anything. */
static json_t *
text(const char *s, size_t n)
{
    json_t *v = json_stringn(s, n);
    return v ? v : json_string("(not UTF-8)");
}

static int
write_note(const char *path, const char *target, uint64_t size, uint64_t lacking,
           const struct sf_err *why)
{
    char when[32];
    sf_time_format_ms(sf_wall_ns(), when);
    const char *slash = target ? strchr(target, '/') : NULL;
    const char *base = strrchr(path, '/') + 1;
    json_t *note = json_object();
    json_object_set_new(note, "name", json_string(base));
    json_object_set_new(note, "bucket",
                        slash ? text(target, (size_t)(slash - target)) : json_null());
    json_object_set_new(note, "key", slash ? text(slash + 1, strlen(slash + 1)) : json_null());
    json_object_set_new(note, "size", json_integer((json_int_t)size));
    if (lacking) /* bytes of the object that were never fetched: zeros in the file */
        json_object_set_new(note, "missing", json_integer((json_int_t)lacking));
    json_object_set_new(note, "time", json_string(when));
    json_object_set_new(note, "errno", json_string(sf_errno_name(why->code)));
    json_object_set_new(note, "reason", text(why->msg, strlen(why->msg)));
    if (why->http_status)
        json_object_set_new(note, "http_status", json_integer(why->http_status));
    if (why->api_code[0])
        json_object_set_new(note, "api_code", text(why->api_code, strlen(why->api_code)));
    sf_autofree char *body = json_dumps(note, JSON_INDENT(2));
    json_decref(note);

    sf_autofree char *file = NULL;
    if (!body || asprintf(&file, "%s.json", path) < 0) {
        file = NULL;
        return -ENOMEM;
    }
    return sf_write_file_atomic(file, body, strlen(body), 0600, NULL);
}

int
sf_quarantine_take(struct sf_writer *w, struct sf_stage *s, const char *target,
                   const struct sf_err *why, char *path_out)
{
    struct stat st = {0};
    (void)fstat(s->fd, &st);
    (void)fsync(s->fd); /* a full disk shows below; what is in the page cache is kept either way */
    int rc = move_in(w, s, target);
    if (rc)
        sf_stage_keep(s);
    if (path_out)
        snprintf(path_out, PATH_MAX, "%s", s->path);
    if (rc) {
        sf_error("write",
                 "event=quarantine-failed object=%s bytes=%" PRIu64 " kept_in=%s err=%s reason=%s",
                 target ? target : "unknown", (uint64_t)st.st_size, s->path, sf_errno_name(rc),
                 why->msg);
        return rc;
    }
    atomic_fetch_add(&w->quarantined, 1);
    sf_count(SF_C_QUARANTINED, 1);
    sf_warn("write", "event=quarantined object=%s bytes=%" PRIu64 " file=%s err=%s reason=%s",
            target ? target : "unknown", (uint64_t)st.st_size, s->path, sf_errno_name(why->code),
            why->msg);
    uint64_t lacking = s->whole ? 0 : sf_extents_missing(&s->present, (uint64_t)st.st_size);
    rc = write_note(s->path, target, (uint64_t)st.st_size, lacking, why);
    if (rc)
        sf_warn("write", "event=quarantine-note-failed file=%s err=%s", s->path, sf_errno_name(rc));
    (void)sf_fsync_parent(s->path);
    sf_step(SF_STEP_CONTENT_QUARANTINED);
    return 0;
}

/* ---- what is no staged file -------------------------------------------------------------------
 */

static int
path_in(const char *quarantine, const char *component, char *out)
{
    char name[NAME_MAX + 1];
    int rc = make_name(component, name, sizeof name);
    if (!rc && snprintf(out, PATH_MAX, "%s/%s", quarantine, name) >= PATH_MAX)
        rc = -ENAMETOOLONG;
    return rc;
}

int
sf_quarantine_bytes(const char *quarantine, const char *component, const void *data, size_t n,
                    const struct sf_err *why, char *path_out)
{
    int rc = path_in(quarantine, component, path_out);
    if (!rc)
        rc = sf_write_file_atomic(path_out, data, n, 0600, NULL);
    return rc ? rc : write_note(path_out, NULL, n, 0, why);
}

int
sf_quarantine_dir(const char *quarantine, const char *dir, const struct sf_err *why, char *path_out)
{
    int rc = path_in(quarantine, dir, path_out);
    if (!rc && renameat2(AT_FDCWD, dir, AT_FDCWD, path_out, RENAME_NOREPLACE) < 0)
        rc = -errno;
    if (rc)
        return rc;
    (void)sf_fsync_parent(path_out);
    (void)sf_fsync_parent(dir);
    return write_note(path_out, NULL, 0, 0, why);
}

/* ---- the start ---------------------------------------------------------------------------------
 */

static void
leftover(struct sf_writer *w, const char *name)
{
    sf_autofree char *path = NULL;
    struct sf_stage *s;
    struct stat st;
    if (asprintf(&path, "%s/%s", w->staging, name) < 0) {
        path = NULL;
        return;
    }
    if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    int rc = sf_stage_adopt(w, path, &s);
    if (rc) {
        sf_error("write", "event=leftover-unreadable file=%s err=%s", path, sf_errno_name(rc));
        return;
    }
    if (st.st_size > 0 && !s->clean) {
        struct sf_err why = SF_ERR_INIT;
        sf_autofree char *target = sf_stage_target_read(s);
        (void)!sf_err_set(&why, -EOWNERDEAD, "left by a daemon that ended without stopping%s",
                          sf_stage_is_marked_partial(s)
                              ? "; bytes of the object that were not fetched are zeros"
                              : "");
        (void)sf_quarantine_take(w, s, target, &why, NULL);
    }
    sf_stage_unref(s); /* removes it unless it was moved or kept */
}

int
sf_quarantine_leftovers(struct sf_writer *w, struct sf_err *err)
{
    sf_autodir DIR *dir = opendir(w->staging);
    if (!dir)
        return sf_err_set(err, -errno, "cannot read %s: %m", w->staging);
    struct dirent *e;
    while ((e = readdir(dir)))
        if (e->d_name[0] != '.' && !sf_str_ends(e->d_name, SF_STAGE_SIDECAR) &&
            !sf_replay_has_file(w, e->d_name))
            leftover(w, e->d_name);
    /* Sidecars of files that were removed before them. */
    rewinddir(dir);
    while ((e = readdir(dir))) {
        size_t n = strlen(e->d_name), cut = strlen(SF_STAGE_SIDECAR);
        if (!sf_str_ends(e->d_name, SF_STAGE_SIDECAR))
            continue;
        sf_autofree char *main_file = NULL, *side = NULL;
        if (asprintf(&main_file, "%s/%.*s", w->staging, (int)(n - cut), e->d_name) < 0)
            main_file = NULL;
        if (asprintf(&side, "%s/%s", w->staging, e->d_name) < 0)
            side = NULL;
        if (main_file && side && access(main_file, F_OK) < 0 && errno == ENOENT)
            unlink(side);
    }
    return 0;
}
