/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_FILES_H
#define SF_PROVIDER_FILES_H

#include "provider/call.h"

/* Files that are at a provider. As in call.h: any thread, one callback on the event thread, 0 when
 * memory is gone. @deadline_ms: 0 = as the settings say. */

typedef void (*sf_provider_file_done_fn)(void *arg, const struct sf_provider_fault *fault,
                                         const struct sf_provider_file *file);
/**
 * sf_provider_file - what a file is like; where the provider cannot be asked for one file, it is
 * looked up in the list. @file is NULL on failure; one that is not there is SF_PC_NOT_FOUND.
 */
uint64_t sf_provider_file(struct sf_provider *p, const char *id, int64_t deadline_ms,
                          sf_provider_file_done_fn fn, void *arg);

typedef void (*sf_provider_done_fn)(void *arg, const struct sf_provider_fault *fault);
/**
 * sf_provider_files - all files of a purpose (NULL = all), page after page.
 * @each: on the event thread for each one; another result than 0 ends the list, with success.
 *
 * A list of more than 100,000 files, or of pages that do not end, is SF_PC_PROTOCOL.
 */
uint64_t sf_provider_files(struct sf_provider *p, const char *purpose, int64_t deadline_ms,
                           sf_provider_file_fn each, sf_provider_done_fn fn, void *arg);

/**
 * sf_provider_file_delete - have it no more. One that is not there (any more, when an earlier reply
 * was lost) is success in the latter case and SF_PC_NOT_FOUND in the former.
 */
uint64_t sf_provider_file_delete(struct sf_provider *p, const char *id, int64_t deadline_ms,
                                 sf_provider_done_fn fn, void *arg);

typedef void (*sf_provider_text_fn)(void *arg, const struct sf_provider_fault *fault,
                                    const char *text, size_t len);
/**
 * sf_provider_file_text - the text that the provider extracted from a file, as it gives it: never
 * the file. @limit: bytes; more is SF_PC_TOO_LARGE. @text is valid during the callback.
 */
uint64_t sf_provider_file_text(struct sf_provider *p, const char *id, size_t limit,
                               int64_t deadline_ms, sf_provider_text_fn fn, void *arg);

#endif
