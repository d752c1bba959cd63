/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_VIRTUAL_TALK_H
#define SF_VIRTUAL_TALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "tree/tree.h"

/*
 * One open of a virtual file that is spoken to: the first line that is written is a request, what
 * is read afterwards is its answer, as it comes, up to the end of the file. A read before the
 * request finds the end at once. Whoever answers runs on a thread of its own and may take its time;
 * it is held up while 64 KiB of its answer are unread, and cancelled when the file is closed.
 * Thread-safe.
 */
struct sf_talk;

#define SF_TALK_LINE_MAX (5u << 18) /* bytes of a request: a prompt whose every byte is escaped */

/* On a mount that is read only the kernel lets nobody open a file for writing. There the bytes of a
 * request come by ioctl(2), a piece at a time: the same as writing them. */
struct sf_talk_piece {
    uint32_t len;
    char text[8188];
};
#define SF_TALK_SAY _IOW('s', 0x60, struct sf_talk_piece)

/* A whole request, without its newline, for the file's owner: he answers with sf_talk_print() and
 * ends with exactly one sf_talk_end(), also when this fails. Called without locks on a thread of
 * the kernel's requests: must not wait. */
typedef void (*sf_talk_start_fn)(void *arg, struct sf_talk *t, const char *line);

/* NULL without memory. */
struct sf_talk *sf_talk_new(sf_talk_start_fn start, void *arg);
/* The file was closed: readers that wait get the end, the answer is cancelled. */
void sf_talk_close(struct sf_talk *t);
/* Give back what sf_talk_new() gave; it was closed. May be NULL. */
void sf_talk_unref(struct sf_talk *t);

/* The bytes taken: all. -EBUSY something was asked already; -EFBIG the line is too long; -EINVAL it
 * has a NUL; -ENOMEM. */
int sf_talk_write(struct sf_talk *t, const char *buf, size_t len);
/* Calls back, never with an error, with data when there is some, without at the end. */
void sf_talk_read(struct sf_talk *t, size_t size, sf_tree_fn cb, void *arg);
/* What was read reached nobody: the next read gets it. */
void sf_talk_unread(struct sf_talk *t, const void *data, size_t len);

/* ---- for who answers ------------------------------------------------------------------------- */

/* Waits while too much is unread. 0, -ECANCELED nobody listens any more, -ENOMEM. */
__attribute__((format(printf, 2, 3))) int sf_talk_print(struct sf_talk *t, const char *fmt, ...);
bool sf_talk_cancelled(struct sf_talk *t);
/* The last line: "done", or "failed ERRNO TEXT" with the number of @rc < 0. @t is not used
 * afterwards. */
void sf_talk_end(struct sf_talk *t, int rc, const char *text);

#endif
