/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_OBSERVE_LOG_H
#define SF_OBSERVE_LOG_H

#include "base/err.h"

#include <stdatomic.h>
#include <stdbool.h>

/*
 * One event, one line of key=value pairs:
 *
 *     sf_warn("write", "event=upload-failed key=%s status=%d err=%s", key, status, err->msg);
 *
 * The compiler checks the arguments like printf's. A string that is a whole value (`key=%s`) is
 * quoted when it has to be; in every other place what could pass for a separator is escaped, so no
 * argument can begin a new pair or a new line. Give arguments as they are: do not quote yourself.
 * Secrets are overwritten (base/redact.h), a value is cut at 1 KiB, a line at 4 KiB. The same text,
 * or one event with many texts, is held back when it comes too often; how often is said later.
 *
 * Works from any thread, also before sf_log_open(): then warnings and errors go to stderr.
 * errno is left as it was.
 */
enum sf_log_level {
    SF_LOG_ERROR,
    SF_LOG_WARN,
    SF_LOG_INFO,
    SF_LOG_DEBUG,
    SF_LOG_TRACE,
};

enum sf_log_sink {
    SF_LOG_STDERR = 1,
    SF_LOG_SYSLOG = 2,
    SF_LOG_FILE = 4,
};

struct sf_log_options {
    unsigned sinks;     /* of enum sf_log_sink, or-ed */
    const char *file;   /* for SF_LOG_FILE; made with mode 0600 */
    const char *levels; /* as for sf_log_set_levels(); NULL = "info" */
    int window_ms;      /* of the rate limit; 0 = 10 s */
};

/**
 * sf_log_open - say where lines go, from now on.
 * @opt: borrowed for the call.
 *
 * Returns 0; -EINVAL bad levels; -errno the file cannot be opened. On failure all is as before.
 */
int sf_log_open(const struct sf_log_options *opt, struct sf_err *err);

/* Write what the rate limit holds back, close the sinks; afterwards as before sf_log_open().
 * No other thread logs any more. */
void sf_log_close(void);

/* Open the file again by its name, after it was rotated. Returns 0 or -errno. */
int sf_log_reopen(struct sf_err *err);

/**
 * sf_log_set_levels - say what is logged.
 * @spec: "info", or with exceptions per module "info,http=debug,fuse=trace".
 *
 * Returns 0; -EINVAL with the levels as before.
 */
int sf_log_set_levels(const char *spec, struct sf_err *err);

/* "error", "warn", "info", "debug", "trace". */
const char *sf_log_level_name(enum sf_log_level level);

/* The most talkative level of any module; read by sf_log_enabled() only. */
extern _Atomic int sf_log_max_;

bool sf_log_enabled_slow(enum sf_log_level level, const char *module);

/* Whether a line of this level and module would be written. Costs nearly nothing when not. */
static inline bool
sf_log_enabled(enum sf_log_level level, const char *module)
{
    return (int)level <= atomic_load_explicit(&sf_log_max_, memory_order_relaxed) &&
           sf_log_enabled_slow(level, module);
}

/* Log one line. @module is a static string, the name of the folder. Use the macros below. */
__attribute__((format(printf, 3, 4))) void sf_log_write(enum sf_log_level level, const char *module,
                                                        const char *fmt, ...);

#define SF_LOG_(level, module, ...)                                                                \
    do {                                                                                           \
        if (sf_log_enabled((level), (module)))                                                     \
            sf_log_write((level), (module), __VA_ARGS__);                                          \
    } while (0)

#define sf_error(module, ...) SF_LOG_(SF_LOG_ERROR, module, __VA_ARGS__)
#define sf_warn(module, ...)  SF_LOG_(SF_LOG_WARN, module, __VA_ARGS__)
#define sf_info(module, ...)  SF_LOG_(SF_LOG_INFO, module, __VA_ARGS__)
#define sf_debug(module, ...) SF_LOG_(SF_LOG_DEBUG, module, __VA_ARGS__)
#define sf_trace(module, ...) SF_LOG_(SF_LOG_TRACE, module, __VA_ARGS__)

#endif
