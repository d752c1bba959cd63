/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "store/peek.h"
#include "write/journal.h"
#include "write/pending.h"

#define NOTE_MAX 65536
#define LOCK_MAX 4096

/* What a state directory has, read without changing it. */

/* ---- the journal ---------------------------------------------------------------------------- */

/* No daemon may begin while we read: a shared lock. -1 with *rc = 0: there is no lock file, so
 * there never was one. */
static int
keep_daemons_out(const char *state_dir, int *rc, struct sf_err *err)
{
    char path[PATH_MAX], holder[LOCK_MAX];
    int n = snprintf(path, sizeof path, "%s/lock", state_dir);
    if (n < 0 || (size_t)n >= sizeof path) {
        *rc = sf_err_set(err, -ENAMETOOLONG, "the path is too long");
        return -1;
    }
    sf_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    *rc = 0;
    if (fd < 0) {
        if (errno != ENOENT)
            *rc = sf_err_set(err, -errno, "cannot open %s: %m", path);
        return -1;
    }
    if (flock(fd, LOCK_SH | LOCK_NB) == 0)
        return sf_steal_fd(fd);
    ssize_t got = sf_pread_full(fd, holder, sizeof holder - 1, 0);
    holder[got > 0 ? got : 0] = '\0';
    holder[strcspn(holder, "\n")] = '\0';
    *rc = sf_err_set(err, -EBUSY, "%s is in use (%s); ask that mount instead", state_dir, holder);
    return -1;
}

struct walk {
    sf_pending_row_fn fn;
    void *arg;
};

static int
row(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    struct walk *w = arg;
    sf_autorecord struct sf_record r = {0};
    struct sf_pending_row told;
    char why[160] = "";
    uint64_t seq;
    if (key_len != sizeof seq)
        return 0;
    memcpy(&seq, key, sizeof seq);
    int rc = sf_record_parse(value, value_len, &r, why);
    if (rc == -EPROTO) {
        told = (struct sf_pending_row){.seq = be64toh(seq),
                                       .kind = "damaged",
                                       .state = "damaged",
                                       .err = -EUCLEAN,
                                       .reason = why,
                                       .next_ms = -1,
                                       .damaged = true};
    } else if (rc) {
        return rc;
    } else {
        r.seq = be64toh(seq);
        sf_pending_row_of(&r, &told);
    }
    return w->fn(w->arg, &told);
}

int
sf_state_each_pending(const char *state_dir, sf_pending_row_fn fn, void *arg, struct sf_err *err)
{
    char dir[PATH_MAX];
    int rc = 0;
    /* Held until this returns. */
    __attribute__((unused)) sf_autofd int lock = keep_daemons_out(state_dir, &rc, err);
    if (rc)
        return rc;
    int n = snprintf(dir, sizeof dir, "%s/" SF_JOURNAL_BRIEF, state_dir);
    if (n < 0 || (size_t)n >= sizeof dir)
        return sf_err_set(err, -ENAMETOOLONG, "the path is too long");
    struct walk w = {fn, arg};
    rc = sf_peek_walk(dir, "records", row, &w);
    if (rc == -ENOENT || rc == -EUCLEAN) /* the next mount begins it empty */
        rc = 0;
    if (rc > 0)
        return rc;
    snprintf(dir, sizeof dir, "%s/journal", state_dir); /* no longer than that */
    if (!rc)
        rc = sf_peek_walk(dir, "records", row, &w);
    if (rc < 0)
        return sf_err_set(err, rc, "cannot read the journal in %s: %s", dir,
                          rc == -EUCLEAN ? "it is damaged; the next mount keeps it aside"
                                         : strerror(-rc));
    return rc;
}

/* ---- quarantine ----------------------------------------------------------------------------- */

static const char *
text_of(const json_t *note, const char *name)
{
    return json_string_value(json_object_get(note, name));
}

/* Bytes there, in whatever a note speaks of. */
static bool
size_of(const char *path, uint64_t *size)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return false;
    *size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    return true;
}

static int
tell(const char *dir, const char *name, int (*fn)(void *arg, const struct sf_quarantine_row *row),
     void *arg)
{
    sf_autofree char *path = NULL, *file = NULL;
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    struct sf_quarantine_row r = {0};
    if (asprintf(&path, "%s/%s", dir, name) < 0)
        path = NULL;
    if (!path || asprintf(&file, "%s.json", path) < 0)
        file = NULL;
    if (!file)
        return -ENOMEM;
    if (!size_of(path, &r.size))
        return 0; /* gone meanwhile */
    r.path = path;
    json_t *note = sf_read_file(file, NOTE_MAX, &text, NULL) < 0
                       ? NULL
                       : json_loadb(text.data, text.len, 0, NULL);
    r.bucket = text_of(note, "bucket");
    r.key = text_of(note, "key");
    r.time = text_of(note, "time");
    r.err = text_of(note, "errno");
    r.reason = text_of(note, "reason");
    int rc = fn(arg, &r);
    json_decref(note);
    return rc;
}

static int
is_content(const struct dirent *e)
{
    return e->d_name[0] != '.' && !sf_str_ends(e->d_name, ".json");
}

int
sf_state_each_quarantined(const char *state_dir,
                          int (*fn)(void *arg, const struct sf_quarantine_row *row), void *arg)
{
    char dir[PATH_MAX];
    struct dirent **names;
    int rc = 0, n = snprintf(dir, sizeof dir, "%s/quarantine", state_dir);
    if (n < 0 || (size_t)n >= sizeof dir)
        return -ENAMETOOLONG;
    n = scandir(dir, &names, is_content, alphasort); /* names begin with the time */
    if (n < 0)
        return errno == ENOENT ? 0 : -errno;
    for (int i = 0; i < n; i++) {
        rc = rc ? rc : tell(dir, names[i]->d_name, fn, arg);
        free(names[i]);
    }
    free(names);
    return rc;
}
