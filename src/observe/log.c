/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "observe/log.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/lock.h"
#include "observe/line.h"

#include <fcntl.h>
#include <string.h>
#include <syslog.h>

#define WINDOW_MS   10000
#define SAME_MAX    5   /* lines of the same text in one window */
#define EVENT_MAX   200 /* lines of one event (one format) in one window */
#define SLOTS       64
#define EXCEPTS_MAX 32

static const char *const level_names[] = {"error", "warn", "info", "debug", "trace"};

/* Who may log: the modules of src/LAYERS. */
static const char *const modules[] = {"base",  "observe", "config",   "store",  "http",  "supabase",
                                      "cache", "tables",  "provider", "write",  "tree",  "virtual",
                                      "chat",  "fuse",    "control",  "daemon", "setup", "cmd"};

/* What is logged. Replaced as a whole; readers take no lock. */
struct levels {
    struct levels *older; /* may still be read: freed by sf_log_close() */
    int all;
    size_t count;
    struct {
        char module[24];
        int level;
    } except[EXCEPTS_MAX];
};

/* How often one text or one event came in the present window. */
struct slot {
    uint64_t hash; /* 0 = free */
    int64_t begin_ms;
    unsigned seen, max;
    enum sf_log_level level;
    const char *module;
    char sample[80];
};

_Atomic int sf_log_max_ = SF_LOG_WARN;

static struct sf_mutex lock = SF_MUTEX_INIT(0); /* leaf; protects down to the blank line */
static struct slot slots[2 * SLOTS]; /* texts, then events: texts must not push events out */
static struct levels *levels_newest;
static char *file_name;

static _Atomic(const struct levels *) levels;
static _Atomic int window_ms = WINDOW_MS;
static _Atomic unsigned sinks = SF_LOG_STDERR;
static _Atomic int file_fd = -1;

const char *
sf_log_level_name(enum sf_log_level level)
{
    return level_names[level];
}

bool
sf_log_enabled_slow(enum sf_log_level level, const char *module)
{
    const struct levels *l = atomic_load_explicit(&levels, memory_order_acquire);
    if (!l)
        return level <= SF_LOG_WARN;
    for (size_t i = 0; i < l->count; i++)
        if (!strcmp(l->except[i].module, module))
            return (int)level <= l->except[i].level;
    return (int)level <= l->all;
}

static int
level_parse(const char *s, size_t n)
{
    for (int i = 0; i <= SF_LOG_TRACE; i++)
        if (strlen(level_names[i]) == n && !memcmp(level_names[i], s, n))
            return i;
    return -EINVAL;
}

static bool
is_module(const char *s, size_t n)
{
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++)
        if (strlen(modules[i]) == n && !memcmp(modules[i], s, n))
            return true;
    return false;
}

/* "info" or "http=debug". */
static int
levels_add(struct levels *l, const char *s, size_t n, struct sf_err *err)
{
    const char *eq = memchr(s, '=', n);
    size_t name = eq ? (size_t)(eq - s) : 0;
    size_t skip = eq ? name + 1 : 0;
    int level = level_parse(s + skip, n - skip);
    if (level < 0)
        return sf_err_set(err, -EINVAL,
                          "log level '%.*s' is not one of error, warn, info, debug, trace",
                          (int)(n - skip), s + skip);
    if (!eq) {
        l->all = level;
        return 0;
    }
    if (!is_module(s, name))
        return sf_err_set(
            err, -EINVAL,
            "log level '%.*s': there is no module '%.*s'; modules are http, supabase, "
            "write, tree, fuse, daemon and the like",
            (int)n, s, (int)name, s);
    if (l->count == EXCEPTS_MAX)
        return sf_err_set(err, -EINVAL, "log level '%.*s': too many levels", (int)n, s);
    memcpy(l->except[l->count].module, s, name);
    l->except[l->count++].level = level;
    return 0;
}

static int
levels_new(const char *spec, struct levels **ret, struct sf_err *err)
{
    sf_autofree struct levels *l = calloc(1, sizeof *l);
    if (!l)
        return sf_err_set(err, -ENOMEM, "out of memory");
    l->all = SF_LOG_INFO;
    for (const char *p = spec; *p;) {
        size_t n = strcspn(p, ",");
        int rc = levels_add(l, p, n, err);
        if (rc)
            return rc;
        p += n;
        if (*p == ',')
            p++;
    }
    *ret = sf_steal(l);
    return 0;
}

static void
levels_publish(struct levels *l)
{
    int max = l->all;
    for (size_t i = 0; i < l->count; i++)
        if (l->except[i].level > max)
            max = l->except[i].level;
    SF_GUARD(&lock);
    l->older = levels_newest;
    levels_newest = l;
    atomic_store_explicit(&levels, l, memory_order_release);
    atomic_store_explicit(&sf_log_max_, max, memory_order_relaxed);
}

int
sf_log_set_levels(const char *spec, struct sf_err *err)
{
    struct levels *l = NULL;
    int rc = levels_new(spec, &l, err);
    if (rc == 0)
        levels_publish(l);
    return rc;
}

static int
file_open(const char *path, struct sf_err *err)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd < 0)
        return sf_err_set(err, -errno, "cannot open the log file %s: %m", path);
    return fd;
}

int
sf_log_open(const struct sf_log_options *opt, struct sf_err *err)
{
    struct levels *l = NULL;
    sf_autofd int fd = -1;
    sf_autofree char *name = NULL;

    if (opt->sinks & SF_LOG_FILE) {
        if (!opt->file)
            return sf_err_set(err, -EINVAL, "no log file given");
        name = strdup(opt->file);
        if (!name)
            return sf_err_set(err, -ENOMEM, "out of memory");
        fd = file_open(name, err);
        if (fd < 0)
            return fd;
    }
    int rc = levels_new(opt->levels ? opt->levels : "info", &l, err);
    if (rc)
        return rc;
    sf_log_close();
    levels_publish(l);
    if (opt->sinks & SF_LOG_SYSLOG)
        openlog("supafs", LOG_PID, LOG_DAEMON);
    atomic_store(&window_ms, opt->window_ms > 0 ? opt->window_ms : WINDOW_MS);
    file_name = sf_steal(name);
    atomic_store(&file_fd, sf_steal_fd(fd));
    atomic_store(&sinks, opt->sinks);
    return 0;
}

int
sf_log_reopen(struct sf_err *err)
{
    int old = atomic_load(&file_fd);
    if (old < 0)
        return 0;
    sf_autofd int fd = file_open(file_name, err);
    if (fd < 0)
        return fd;
    /* The number stays, so a thread that writes just now meets the old file or the new one. */
    if (dup3(fd, old, O_CLOEXEC) < 0)
        return sf_err_set(err, -errno, "cannot change to the new log file %s: %m", file_name);
    return 0;
}

static void
emit(enum sf_log_level level, struct sf_line *line, size_t prefix)
{
    static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_DEBUG};
    unsigned to = atomic_load_explicit(&sinks, memory_order_relaxed);
    if (to & SF_LOG_SYSLOG)
        syslog(priorities[level], "%s", line->text + prefix);
    line->text[line->len] = '\n'; /* sf_line_finish() leaves room */
    if (to & SF_LOG_STDERR)
        (void)!sf_write_full(STDERR_FILENO, line->text, line->len + 1);
    if (to & SF_LOG_FILE)
        (void)!sf_write_full(atomic_load(&file_fd), line->text, line->len + 1);
    line->text[line->len] = '\0';
}

/* Returns the length of the part that changes with every line. */
static size_t
line_begin(struct sf_line *line, enum sf_log_level level, const char *module)
{
    char now[32];
    sf_time_format_ms(sf_wall_ns(), now);
    line->len = 0;
    line->text[0] = '\0';
    line->quoted = line->truncated = false;
    sf_line_printf(line, "ts=%s ", now);
    size_t prefix = line->len;
    sf_line_printf(line, "level=%s module=%s ", level_names[level], module);
    return prefix;
}

/* Say how many lines a slot held back. */
static void
emit_held_back(const struct slot *s)
{
    struct sf_line line;
    size_t prefix = line_begin(&line, s->level, s->module);
    sf_line_printf(&line, "event=log-held-back count=%u text=%s", s->seen - s->max, s->sample);
    sf_line_finish(&line);
    emit(s->level, &line, prefix);
}

/* Take one slot whose window is over out of the table, when it held lines back; the others are
 * just freed. Returns false when there is none left. */
static bool
slot_take_over(int64_t now, struct slot *ret)
{
    SF_GUARD(&lock);
    int64_t window = atomic_load(&window_ms);
    for (size_t i = 0; i < 2 * SLOTS; i++) {
        struct slot *s = &slots[i];
        if (!s->hash || now - window < s->begin_ms)
            continue;
        *ret = *s;
        s->hash = 0;
        if (ret->seen > ret->max)
            return true;
    }
    return false;
}

static void
report_held_back(int64_t now)
{
    struct slot s;
    while (slot_take_over(now, &s))
        emit_held_back(&s);
}

/* Find the slot of @hash in one half of the table, or a free one, or the oldest that has held
 * nothing back. */
static struct slot *
slot_find_locked(struct slot *half, uint64_t hash)
{
    struct slot *spare = NULL;
    SF_ASSERT_HELD(&lock);
    for (size_t i = 0; i < SLOTS; i++) {
        struct slot *s = &half[i];
        if (s->hash == hash)
            return s;
        if (!s->hash) {
            if (!spare || spare->hash)
                spare = s;
        } else if (s->seen <= s->max &&
                   (!spare || (spare->hash && s->begin_ms < spare->begin_ms))) {
            spare = s;
        }
    }
    if (spare)
        spare->hash = 0;
    return spare;
}

/* Count one line. Returns whether it may be written; a full table lets everything pass. */
static bool
slot_pass(struct slot *half, unsigned max, enum sf_log_level level, const char *module,
          const char *text)
{
    uint64_t hash = sf_htab_hash(text, strlen(text)) | 1; /* 0 means free */
    int64_t now = sf_clock_ms();
    SF_GUARD(&lock);
    struct slot *s = slot_find_locked(half, hash);
    if (!s)
        return true;
    if (!s->hash) {
        *s = (struct slot){.hash = hash, .begin_ms = now, .max = max, .level = level};
        s->module = module;
        strncpy(s->sample, text, sizeof s->sample - 1);
    }
    return ++s->seen <= s->max;
}

void
sf_log_write(enum sf_log_level level, const char *module, const char *fmt, ...)
{
    int saved_errno = errno;
    struct sf_line line;
    size_t prefix = line_begin(&line, level, module);
    va_list ap;

    va_start(ap, fmt);
    errno = saved_errno;
    sf_line_format(&line, fmt, ap);
    va_end(ap);
    sf_line_finish(&line);
    const char *text = line.text + prefix;
    if (level <= SF_LOG_INFO) { /* who asks for more wants all of it */
        report_held_back(sf_clock_ms());
        if (!slot_pass(slots, SAME_MAX, level, module, text) ||
            !slot_pass(slots + SLOTS, EVENT_MAX, level, module, fmt))
            goto out;
    }
    emit(level, &line, prefix);
out:
    errno = saved_errno;
}

void
sf_log_close(void)
{
    report_held_back(INT64_MAX);
    if (atomic_load(&sinks) & SF_LOG_SYSLOG)
        closelog();
    atomic_store(&sinks, SF_LOG_STDERR);
    int fd = atomic_exchange(&file_fd, -1);
    if (fd >= 0)
        close(fd);
    atomic_store(&levels, NULL);
    atomic_store(&sf_log_max_, SF_LOG_WARN);
    SF_GUARD(&lock);
    free(file_name);
    file_name = NULL;
    while (levels_newest) {
        struct levels *l = levels_newest;
        levels_newest = l->older;
        free(l);
    }
}
