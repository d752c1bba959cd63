/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_QUARANTINE_H
#define SF_WRITE_QUARANTINE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct sf_stage;
struct sf_writer;

/*
 * Internal to src/write. Contents that could not be uploaded, below quarantine/:
 *
 *     20261121T091345Z-report.pdf-1f0c22b1        the bytes
 *     20261121T091345Z-report.pdf-1f0c22b1.json   name, bucket, key, size, time, errno, reason
 */

/**
 * sf_quarantine_take - move a staged file to quarantine/, write its note, log where it is.
 * @target: "bucket/key", or NULL when not known.
 * @path_out: NULL, or PATH_MAX bytes for where the bytes are, also on failure.
 *
 * Returns 0 also when only the note could not be written (the log says so). On failure the file
 * stays in staging/, is not removed any more, and goes to quarantine at the next start.
 */
int sf_quarantine_take(struct sf_writer *w, struct sf_stage *s, const char *target,
                       const struct sf_err *why, char *path_out);

/* Bytes of another origin, and a directory, by the same rules: the last part of @component or @dir
 * becomes a part of the name. @path_out: PATH_MAX bytes. 0 or -errno. */
int sf_quarantine_bytes(const char *quarantine, const char *component, const void *data, size_t n,
                        const struct sf_err *why, char *path_out);
int sf_quarantine_dir(const char *quarantine, const char *dir, const struct sf_err *why,
                      char *path_out);

/* At the start: what a killed daemon left in staging/. Empty and clean files are removed. Fails
 * only when staging/ cannot be read. */
int sf_quarantine_leftovers(struct sf_writer *w, struct sf_err *err);

#endif
