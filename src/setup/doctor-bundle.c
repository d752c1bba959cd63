/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "setup/doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/redact.h"
#include "base/str.h"
#include "setup/doctor-internal.h"

/*
 * Who gets a bundle is to learn how supafs is doing, and nothing about what is stored. So of what
 * the mounts and the log say only what is known to be harmless is taken over: words from lists
 * here, and numbers.
 */

#define LEFT_OUT  "(left out)"
#define LOG_MAX   (128 << 10) /* bytes of the log's end */
#define TAR_BLOCK 512
#define NS_PER_S  INT64_C(1000000000)

static const char word_chars[] = "abcdefghijklmnopqrstuvwxyz_-";

static bool
is_in(const char *const *list, const char *word, size_t n)
{
    for (; *list; list++)
        if (strlen(*list) == n && !memcmp(*list, word, n))
            return true;
    return false;
}

/* ---- tar (POSIX ustar) ---------------------------------------------------------------------- */

struct ustar {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[6],
        version[2], user[32], group[32], major[8], minor[8], prefix[155], pad[12];
};

static int
add_member(struct sf_buf *tar, const char *name, struct sf_buf *text)
{
    static const char zeros[TAR_BLOCK];
    struct ustar h = {.type = '0', .magic = "ustar", .version = {'0', '0'}};
    unsigned sum = 0;
    sf_redact(text->data);
    text->len = strlen(text->data);
    snprintf(h.name, sizeof h.name, "supafs-doctor/%s", name);
    snprintf(h.mode, sizeof h.mode, "%07o", 0600u);
    snprintf(h.uid, sizeof h.uid, "%07o", 0u);
    snprintf(h.gid, sizeof h.gid, "%07o", 0u);
    snprintf(h.size, sizeof h.size, "%011" PRIo64, (uint64_t)text->len);
    snprintf(h.mtime, sizeof h.mtime, "%011" PRIo64, (uint64_t)(sf_wall_ns() / NS_PER_S));
    memset(h.sum, ' ', sizeof h.sum);
    for (size_t i = 0; i < sizeof h; i++)
        sum += ((const unsigned char *)&h)[i];
    snprintf(h.sum, sizeof h.sum, "%06o", sum & 0777777);
    size_t rest = (TAR_BLOCK - text->len % TAR_BLOCK) % TAR_BLOCK;
    int rc = sf_buf_append(tar, &h, sizeof h);
    if (!rc)
        rc = sf_buf_append(tar, text->data, text->len);
    return rc ? rc : sf_buf_append(tar, zeros, rest);
}

/* ---- the members ---------------------------------------------------------------------------- */

static int
put_report(struct sf_doctor *d, struct sf_buf *out)
{
    for (unsigned i = 0; i < d->n_rows; i++) {
        const struct sf_doctor_row *r = &d->rows[i];
        int rc = sf_buf_printf(out, "%-8s %-14s %s\n", sf_doctor_word(r->result), r->name, r->said);
        if (!rc && *r->todo)
            rc = sf_buf_printf(out, "%23s to do: %s\n", "", r->todo);
        if (rc)
            return rc;
    }
    return 0;
}

static int
put_json(struct sf_doctor *d, struct sf_buf *out)
{
    json_t *root = sf_doctor_json(d);
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    int rc = text ? sf_buf_printf(out, "%s\n", text) : -ENOMEM;
    free(text);
    json_decref(root);
    return rc;
}

static int
put_settings(struct sf_doctor *d, struct sf_buf *out)
{
    char value[1024];
    int rc = 0;
    for (unsigned o = 0; o < SF_OPT_COUNT && !rc; o++) {
        if (!sf_config_is_set(d->cfg, o))
            continue;
        const char *text = sf_config_text(d->cfg, o, value, sizeof value);
        /* A prefix is the name of what is stored; an address may hold a password until the
         * configuration has been found to be whole. */
        if (o == SF_OPT_PREFIX || (strchr(text, '@') && strstr(text, ":/")))
            text = LEFT_OUT;
        rc = sf_buf_printf(out, "%s = %s (%s)\n", sf_opt_info(o)->name, text,
                           sf_config_origin(d->cfg, o));
    }
    return rc;
}

static int
put_versions(struct sf_doctor *d, struct sf_buf *out)
{
    static const char *const fusermount[] = {"fusermount3", "-V", NULL};
    sf_autobuf struct sf_buf os = SF_BUF_INIT;
    struct utsname u = {0};
    char line[128];
    (void)d;
    uname(&u);
    doctor_program_line(fusermount, line, sizeof line);
    (void)sf_read_file("/etc/os-release", 65536, &os, NULL);
    const char *name = strstr(os.data, "PRETTY_NAME=");
    return sf_buf_printf(out, "supafs %s\n%s %s %s\n%s\n%.*s\n", PACKAGE_VERSION, u.sysname,
                         u.release, u.machine, line, name ? (int)strcspn(name, "\n") : 0,
                         name ? name : "");
}

/* ---- what mounts say ------------------------------------------------------------------------ */

static const char *const status_names[] = {"version",
                                           "pid",
                                           "since",
                                           "read_only",
                                           "role",
                                           "key_expires",
                                           "service",
                                           "offline",
                                           "last_reply",
                                           "requests_waiting",
                                           "open_files",
                                           "not_uploaded",
                                           "changes_running",
                                           "changes_queued",
                                           "staged_bytes",
                                           "pending",
                                           "pending_kinds",
                                           "pending_oldest",
                                           "pending_files",
                                           "pending_bytes",
                                           "sync",
                                           "writeback",
                                           "quarantine",
                                           "cache_memory",
                                           "reading",
                                           "link",
                                           "cache_disk",
                                           "cache_disk_state",
                                           "known_names",
                                           "kernel_readahead",
                                           "tables_queue",
                                           "chat",
                                           "chat_turns",
                                           NULL};

static int
put_status(const char *text, struct sf_buf *out)
{
    int rc = 0;
    for (const char *line = text; *line && !rc; line += *line == '\n') {
        size_t n = strcspn(line, "\n"), name = strcspn(line, ":\n");
        if (is_in(status_names, line, name))
            rc = sf_buf_printf(out, "%.*s\n", (int)n, line);
        else if (sf_str_starts(line, "tables: ")) /* the database's words may follow */
            rc = sf_buf_printf(out, "%.*s\n", (int)(8 + strspn(line + 8, word_chars)), line);
        else if (!sf_str_starts(line, "option "))
            rc = sf_buf_printf(out, "%.*s: %s\n", (int)strspn(line, "abcdefghijklmnopqrstuvwxyz_"),
                               line, LEFT_OUT);
        line += n;
    }
    return rc;
}

/* In place: numbers stay, of texts those that say nothing of what is stored. */
static void
strip_stats(json_t *stats)
{
    static const char *const texts[] = {"version", "role", NULL};
    const char *name;
    json_t *value;
    json_object_foreach(stats, name, value)
    {
        if (json_is_object(value))
            strip_stats(value);
        else if (json_is_array(value) ||
                 (json_is_string(value) && !is_in(texts, name, strlen(name))))
            json_object_set_new(stats, name, json_string(LEFT_OUT));
    }
}

struct mounts {
    struct sf_doctor *d;
    struct sf_buf *out;
    unsigned n;
};

static int
put_mount(void *arg, const struct sf_mount *m)
{
    struct mounts *all = arg;
    sf_autobuf struct sf_buf status = SF_BUF_INIT, stats = SF_BUF_INIT;
    if (!doctor_is_mount(all->d, m))
        return 0;
    int seen = all->d->args.read_mount(m->point, "status", &status);
    if (seen == -EACCES)
        return 0;
    int rc = sf_buf_printf(all->out, "--- mount %u%s%s\n", ++all->n, seen < 0 ? ": " : "",
                           seen < 0 ? strerror(-seen) : "");
    if (!rc && !seen)
        rc = put_status(sf_buf_str(&status), all->out);
    if (rc || seen < 0 || all->d->args.read_mount(m->point, "stats", &stats) < 0)
        return rc;
    json_t *root = json_loadb(sf_buf_str(&stats), stats.len, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(root))
        strip_stats(root);
    char *text = json_is_object(root) ? json_dumps(root, JSON_INDENT(2)) : NULL;
    rc = text ? sf_buf_printf(all->out, "%s\n", text) : 0;
    free(text);
    json_decref(root);
    return rc;
}

static int
put_mounts(struct sf_doctor *d, struct sf_buf *out)
{
    struct mounts all = {.d = d, .out = out};
    return sf_mounts_each(put_mount, &all);
}

/* ---- the log -------------------------------------------------------------------------------- */

/* Whether a value says nothing of what is stored: a word of supafs's own, a number or the name of
 * an errno, each where it is to be expected. What is stored may have a number for a name. */
static bool
is_harmless(const char *name, size_t name_len, const char *value, size_t n)
{
    static const char *const words[] = {"level",   "module", "event", "kind", "change",
                                        "outcome", "state",  "role",  NULL};
    static const char *const numbers[] = {
        "attempts", "bytes",  "changes_given_up", "count", "files",  "from_pid",     "kib",
        "left",     "limit",  "max_parked",       "ms",    "number", "not_uploaded", "objects",
        "pid",      "record", "seconds",          "seq",   "status", "wanted_kib",   "left_out",
        "changed",  NULL};
    static const char *const errors[] = {"err", "rc", NULL};
    if (n == 0 || n > 32)
        return n == 0;
    if (is_in(words, name, name_len))
        return strspn(value, word_chars) >= n;
    if (is_in(numbers, name, name_len))
        return strspn(value, "0123456789.-") >= n;
    if (is_in(errors, name, name_len))
        return strspn(value, "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") >= n;
    return name_len == 2 && !memcmp(name, "ts", 2) && strspn(value, "0123456789-T:.Z") >= n;
}

/* "name=value"; what is anything else is left out. */
static int
put_word(const char *word, size_t n, struct sf_buf *out)
{
    const char *eq = memchr(word, '=', n);
    size_t name = eq ? (size_t)(eq - word) : 0;
    if (name == 0 || name > 24 || strspn(word, word_chars) < name)
        return 0;
    bool keep = is_harmless(word, name, eq + 1, n - name - 1);
    return sf_buf_printf(out, "%.*s=%.*s ", (int)name, word, keep ? (int)(n - name - 1) : 3,
                         keep ? eq + 1 : "...");
}

/* The bytes of the word at @s; blanks between quotes are part of it, as the log writes them. */
static size_t
word_len(const char *s, size_t n)
{
    bool quoted = false;
    size_t len = 0;
    while (len < n && (quoted || s[len] != ' ')) {
        if (s[len] == '\\' && len + 1 < n)
            len++;
        else if (s[len] == '"')
            quoted = !quoted;
        len++;
    }
    return len;
}

static int
put_line(const char *line, size_t n, struct sf_buf *out)
{
    int rc = 0;
    for (size_t at = 0; at < n && !rc;) {
        size_t len = word_len(line + at, n - at);
        rc = put_word(line + at, len, out);
        at += len + 1;
    }
    return rc ? rc : sf_buf_putc(out, '\n');
}

static int
put_log(struct sf_doctor *d, struct sf_buf *out)
{
    const char *path = d->loaded ? sf_config_str(d->cfg, SF_OPT_LOG_FILE) : NULL;
    sf_autofd int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return sf_buf_puts(out, path ? "the log file cannot be read\n" : "there is no log file\n");
    sf_autofree char *text = malloc(LOG_MAX + 1);
    if (!text)
        return -ENOMEM;
    off_t from = st.st_size > LOG_MAX ? st.st_size - LOG_MAX : 0;
    ssize_t n = sf_pread_full(fd, text, LOG_MAX, from);
    text[n > 0 ? n : 0] = '\0';
    const char *line = text;
    if (from) { /* its first line is not whole */
        line += strcspn(line, "\n");
        line += *line == '\n';
    }
    int rc = 0;
    for (; *line && !rc; line += *line == '\n') {
        size_t len = strcspn(line, "\n");
        rc = put_line(line, len, out);
        line += len;
    }
    return rc;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static int
fill(struct sf_doctor *d, struct sf_buf *tar)
{
    static const char end[2 * TAR_BLOCK];
    static const struct {
        const char *name;
        int (*put)(struct sf_doctor *d, struct sf_buf *out);
    } members[] = {
        {"report.txt", put_report},     {"report.json", put_json},  {"settings.txt", put_settings},
        {"versions.txt", put_versions}, {"mounts.txt", put_mounts}, {"log.txt", put_log},
    };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        sf_autobuf struct sf_buf text = SF_BUF_INIT;
        int rc = members[i].put(d, &text);
        if (!rc)
            rc = sf_buf_putc(&text, '\n');
        if (!rc)
            rc = add_member(tar, members[i].name, &text);
        if (rc)
            return rc;
    }
    return sf_buf_append(tar, end, sizeof end);
}

static int
pack(const struct sf_buf *tar, int fd, struct sf_err *err)
{
    static const char *const gzip[] = {"gzip", "-nc", NULL};
    sf_autofd int in = memfd_create("supafs-doctor", MFD_CLOEXEC);
    if (in < 0 || sf_write_full(in, tar->data, tar->len) < 0 || lseek(in, 0, SEEK_SET) < 0)
        return sf_err_set(err, -errno, "no memory file: %m");
    int rc = doctor_run_program(gzip, in, fd);
    if (rc < 0)
        return sf_err_set(err, rc, "cannot run gzip: %s; name a file that ends in .tar",
                          strerror(-rc));
    return rc ? sf_err_set(err, -EIO, "gzip failed (status %d)", rc) : 0;
}

int
sf_doctor_bundle(struct sf_doctor *d, const char *path, struct sf_err *err)
{
    sf_autobuf struct sf_buf tar = SF_BUF_INIT;
    int rc = fill(d, &tar);
    if (rc < 0)
        return sf_err_set(err, rc, "the bundle cannot be put together: %s", strerror(-rc));
    sf_autofd int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return sf_err_set(err, -errno, "cannot make %s: %m", path);
    if (sf_str_ends(path, ".gz") || sf_str_ends(path, ".tgz"))
        rc = pack(&tar, fd, err);
    else if ((rc = sf_write_full(fd, tar.data, tar.len)) < 0)
        rc = sf_err_set(err, rc, "cannot write %s: %s", path, strerror(-rc));
    if (rc < 0)
        unlink(path);
    return rc;
}
