/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "setup/doctor-internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/mounts.h"
#include "base/str.h"
#include "daemon/place.h"
#include "fuse/session.h"

#define FILES_MIN     1024 /* each file that is written has a local one */
#define FILES_WISH    4096
#define CAP_SYS_ADMIN 21
#define SMALL_FILE    65536

/* ---- programs ------------------------------------------------------------------------------- */

int
doctor_run_program(const char *const *argv, int in, int out)
{
    static char locale[] = "LC_ALL=C";
    char path[PATH_MAX];
    char *env[] = {path, locale, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;
    snprintf(path, sizeof path, "PATH=%s", getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
    posix_spawn_file_actions_init(&actions);
    if (in >= 0)
        posix_spawn_file_actions_adddup2(&actions, in, 0);
    else
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    int rc = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *)argv, env);
    posix_spawn_file_actions_destroy(&actions);
    if (rc)
        return -rc;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

void
doctor_program_line(const char *const *argv, char *line, size_t size)
{
    int ends[2];
    line[0] = '\0';
    if (pipe2(ends, O_CLOEXEC) < 0)
        return;
    /* Its one line fits the pipe. */
    int rc = doctor_run_program(argv, -1, ends[1]);
    close(ends[1]);
    ssize_t n = rc < 0 ? 0 : sf_read_full(ends[0], line, size - 1);
    close(ends[0]);
    line[n > 0 ? n : 0] = '\0';
    line[strcspn(line, "\n")] = '\0';
}

/* ---- FUSE ----------------------------------------------------------------------------------- */

/* Whether root has in here what root has outside: a container takes it away. */
static bool
has_capability(unsigned nr)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    if (sf_read_file("/proc/self/status", SMALL_FILE, &text, NULL) < 0)
        return true;
    const char *line = strstr(text.data, "CapEff:");
    return !line || ((strtoull(line + 7, NULL, 16) >> nr) & 1);
}

static bool
others_allowed(void)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    if (sf_read_file("/etc/fuse.conf", SMALL_FILE, &text, NULL) < 0)
        return false;
    for (const char *line = text.data; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        line += strspn(line, " \t");
        if (sf_str_starts(line, "user_allow_other"))
            return true;
    }
    return false;
}

void
check_fuse(struct sf_doctor *d, struct sf_doctor_row *row)
{
    static const char *const version[] = {"fusermount3", "-V", NULL};
    struct sf_err err = SF_ERR_INIT;
    char line[128];
    bool root = geteuid() == 0;
    if (sf_fuse_available(&err) < 0) {
        doctor_say_error(row, err.msg);
        return;
    }
    if (root && !has_capability(CAP_SYS_ADMIN)) {
        doctor_say(row, SF_DOCTOR_FAIL,
                   "root may not mount here: this is a container without "
                   "CAP_SYS_ADMIN");
        doctor_advise(row, "give the container --device /dev/fuse --cap-add SYS_ADMIN");
        return;
    }
    if (!root && d->loaded && sf_config_bool(d->cfg, SF_OPT_ALLOW_OTHER) && !others_allowed()) {
        doctor_say(row, SF_DOCTOR_FAIL,
                   "allow_other is set, and /etc/fuse.conf does not allow it "
                   "to users");
        doctor_advise(row, "let the administrator put the line user_allow_other there, or leave "
                           "allow_other out");
        return;
    }
    doctor_program_line(version, line, sizeof line);
    doctor_say(row, SF_DOCTOR_OK, "/dev/fuse can be used; %s",
               *line  ? line
               : root ? "there is no fusermount3, which root does not need"
                      : "fusermount3 does not tell its version");
}

/* ---- kernel --------------------------------------------------------------------------------- */

static bool
older_than(const char *release, unsigned major, unsigned minor)
{
    unsigned a = 0, b = 0;
    return sscanf(release, "%u.%u", &a, &b) == 2 && (a < major || (a == major && b < minor));
}

/* How far the kernel will read ahead: root may raise that where /sys can be written. */
static const char *
read_ahead(void)
{
    struct statvfs fs;
    if (geteuid() != 0)
        return "the kernel reads 128 KiB ahead (only root may raise it)";
    if (statvfs("/sys", &fs) < 0 || (fs.f_flag & ST_RDONLY))
        return "the kernel reads 128 KiB ahead (/sys is read-only)";
    return "the kernel's read-ahead can be set";
}

void
check_limits(struct sf_doctor *d, struct sf_doctor_row *row)
{
    struct utsname u;
    struct rlimit files;
    (void)d;
    if (uname(&u) < 0 || getrlimit(RLIMIT_NOFILE, &files) < 0) {
        doctor_say(row, SF_DOCTOR_WARN, "the kernel's limits are not known: %s", strerror(errno));
        doctor_advise(row, "look at `ulimit -n` and `uname -r`");
    } else if (files.rlim_max < FILES_WISH) {
        doctor_say(row, files.rlim_max < FILES_MIN ? SF_DOCTOR_FAIL : SF_DOCTOR_WARN,
                   "a process may have %llu files open; a mount has one for each that is written",
                   (unsigned long long)files.rlim_max);
        doctor_advise(row, "raise it: LimitNOFILE= of the systemd unit, /etc/security/limits.conf, "
                           "or --ulimit nofile= of the container");
    } else if (older_than(u.release, 5, 4)) {
        doctor_say(row, SF_DOCTOR_WARN, "kernel %s is older than those that supafs was tried on",
                   u.release);
        doctor_advise(row, "use kernel 5.4 or a later one");
    } else {
        doctor_say(row, SF_DOCTOR_OK, "kernel %s, %llu open files, %s", u.release,
                   (unsigned long long)files.rlim_max, read_ahead());
    }
}

/* ---- the mount point ------------------------------------------------------------------------ */

static bool
is_empty(const char *path)
{
    sf_autodir DIR *dir = opendir(path);
    unsigned n = 0;
    for (const struct dirent *e; dir && (e = readdir(dir));)
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    return n == 0;
}

void
check_point(struct sf_doctor *d, struct sf_doctor_row *row)
{
    const char *path = d->args.point;
    struct sf_mount_copy m;
    struct statfs fs;
    struct stat st;
    char point[PATH_MAX];
    if (!path) {
        doctor_say(row, SF_DOCTOR_SKIPPED, "none was named");
        return;
    }
    int rc = sf_mount_path(path, point);
    if (rc < 0) {
        doctor_say(row, SF_DOCTOR_FAIL, "%s: %s", path, strerror(-rc));
        doctor_advise(row, "make the directory: mkdir -p");
    } else if (sf_mount_find(point, &m) == 1) {
        bool ours = sf_place_is_ours(m.fstype);
        bool dead = statfs(point, &fs) < 0 && errno == ENOTCONN;
        doctor_say(row, ours && !dead ? SF_DOCTOR_OK : SF_DOCTOR_FAIL, "%s is %s on %s", m.source,
                   dead ? "a mount whose process is gone," : "mounted", point);
        if (!ours || dead)
            doctor_advise(row, "unmount it: %s %s", ours ? "supafs umount" : "umount", point);
    } else if (stat(point, &st) < 0 || !S_ISDIR(st.st_mode)) {
        doctor_say(row, SF_DOCTOR_FAIL, "%s is not a directory", point);
        doctor_advise(row, "make one: mkdir -p");
    } else if (access(point, W_OK) < 0) {
        doctor_say(row, SF_DOCTOR_FAIL, "you may not write to %s, so you may not mount there",
                   point);
        doctor_advise(row, "take a directory of your own");
    } else if (!is_empty(point)) {
        doctor_say(row, SF_DOCTOR_WARN, "%s is not empty: a mount hides what is in it", point);
        doctor_advise(row, "take an empty directory");
    } else {
        doctor_say(row, SF_DOCTOR_OK, "%s is free", point);
    }
}

/* ---- mounts that run ------------------------------------------------------------------------ */

bool
doctor_is_mount(const struct sf_doctor *d, const struct sf_mount *m)
{
    const char *url = d->loaded ? sf_config_str(d->cfg, SF_OPT_URL) : NULL;
    return url && sf_place_is_ours(m->fstype) && !strcmp(m->source, url);
}

struct mounts {
    struct sf_doctor *d;
    struct sf_doctor_row *row;
    unsigned n;
};

/* The value of a "name: value" line. */
static void
value_of(const char *text, const char *name, char *out, size_t size)
{
    char start[64];
    int n = snprintf(start, sizeof start, "\n%s: ", name);
    const char *at = strstr(text, start);
    out[0] = '\0';
    if (at)
        snprintf(out, size, "%.*s", (int)strcspn(at + n, "\n"), at + n);
}

static int
look_at_mount(void *arg, const struct sf_mount *m)
{
    struct mounts *all = arg;
    struct sf_doctor_row *row = all->row;
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    char offline[16], quarantine[16], pending[16];
    if (!doctor_is_mount(all->d, m))
        return 0;
    int rc = all->d->args.read_mount(m->point, "status", &text);
    if (rc == -EACCES)
        return 0; /* others' mounts are their business */
    all->n++;
    if (row->result == SF_DOCTOR_FAIL)
        return 0;
    if (rc < 0) {
        doctor_say(row, SF_DOCTOR_FAIL, "the mount on %s %s", m->point,
                   rc == -ENOTCONN ? "has lost its process" : "does not answer");
        doctor_advise(row, "take it down: supafs umount %s", m->point);
        return 0;
    }
    value_of(sf_buf_str(&text), "offline", offline, sizeof offline);
    value_of(sf_buf_str(&text), "quarantine", quarantine, sizeof quarantine);
    value_of(sf_buf_str(&text), "pending", pending, sizeof pending);
    bool kept = *quarantine && strcmp(quarantine, "0") != 0;
    if (!strcmp(offline, "yes") || kept) {
        doctor_say(row, SF_DOCTOR_WARN,
                   "the mount on %s: offline %s, %s changes pending, %s files "
                   "in quarantine",
                   m->point, offline, pending, quarantine);
        doctor_advise(row, "`supafs status %s` and `supafs queue ls` tell more", m->point);
    }
    return 0;
}

void
check_mounts(struct sf_doctor *d, struct sf_doctor_row *row)
{
    struct mounts all = {.d = d, .row = row};
    int rc = sf_mounts_each(look_at_mount, &all);
    if (rc < 0)
        doctor_say(row, SF_DOCTOR_SKIPPED, "the list of mounts cannot be read: %s", strerror(-rc));
    else if (!*row->said)
        doctor_say(row, SF_DOCTOR_OK, all.n ? "%u of this project, well" : "none of this project",
                   all.n);
}
