/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_UPLOAD_READ_H
#define SF_PROVIDER_UPLOAD_READ_H

#include "provider/op.h"
#include "provider/upload.h"

/*
 * Inside of provider/: the bytes of an upload's source, read on a thread of their own, at most
 * PROVIDER_AHEAD before the connection takes them.
 */

#define PROVIDER_AHEAD (512 * 1024)

/* A source, shared by the upload and the threads that read it. */
struct provider_src;
/* Without what releases it. NULL = no memory. */
struct provider_src *provider_src_new(const struct sf_provider_source *s);
/* Whom to tell at its end; before a thread knows it, or after none does. */
void provider_src_releases(struct provider_src *src, void (*release)(void *arg));
void provider_src_unref(struct provider_src *src);
/* Nobody needs it any more: let who reads it end soon. */
void provider_src_stop(struct provider_src *src);

/* One pass over the source, for one attempt. */
struct provider_pass;
/* Starts to read. 0, -ENOMEM, -EAGAIN. @whole: NULL, or set when all was taken. */
int provider_pass_new(struct sf_provider *p, struct provider_src *src, atomic_bool *whole,
                      struct provider_pass **ret);
/* Whom to wake. */
void provider_pass_wakes(struct provider_pass *pass, uint64_t http_id);
/* The body's source (sf_http_source_fn). */
ssize_t provider_pass_take(void *pass, char *buf, size_t n);
/* What went wrong with the source; 0 = nothing. */
int provider_pass_error(struct provider_pass *pass);
/* It is over; the thread may go on until its read returns. */
void provider_pass_end(struct provider_pass *pass);

#endif
