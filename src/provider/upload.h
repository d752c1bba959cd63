/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_UPLOAD_H
#define SF_PROVIDER_UPLOAD_H

#include <stdatomic.h>
#include <sys/types.h>

#include "provider/call.h"

/*
 * A file to a provider: bytes are read on a thread of the upload's, 512 KiB ahead at most, sent as
 * they come, and the file is waited for until it can be used.
 *
 * An upload may have taken effect though its reply was lost. Then it is looked for in the
 * provider's list, by name, size and time, and taken over; only what is not there is sent again.
 */

/* Where the bytes are. */
struct sf_provider_source {
    uint64_t size;
    const char *name, *mime; /* copied; mime may be NULL */
    /* Read at most @n bytes at @off; may wait, on a thread of the upload's, one call at a time.
     * Returns how many, 0 past the end, or -errno, which then is the upload's. */
    ssize_t (*read)(void *arg, void *buf, size_t n, uint64_t off);
    /* NULL, or lets a read() that waits return soon; any thread. None is begun afterwards. */
    void (*stop)(void *arg);
    /* NULL, or called once when nothing is read any more: after the callback, perhaps, any thread.
     * Not called when sf_provider_upload() returns 0. */
    void (*release)(void *arg);
    void *arg;
};

/* What others may watch meanwhile; borrowed until the callback has run. */
struct sf_provider_progress {
    _Atomic uint64_t sent; /* bytes of the form; begins again with another attempt */
    atomic_bool whole;     /* all of the file has been given to the connection */
    atomic_bool pending;   /* the provider has it, and is not ready with it */
};

struct sf_provider_upload {
    struct sf_provider_source source;
    const char *purpose;                   /* NULL = as the settings say; copied */
    int64_t deadline_ms;                   /* 0 = as the settings say, from now */
    struct sf_provider_progress *progress; /* NULL = nobody watches */
    /* NULL, or whether a file of this id is known to be another one than this: it is not taken over
     * then. On the event thread. */
    bool (*is_other)(void *arg, const char *id);
    void *arg;
};

/* Valid during the callback. */
struct sf_provider_uploaded {
    struct sf_provider_fault fault; /* class SF_PC_OK = file is ready */
    struct sf_provider_file file;   /* also of one that failed or is pending; id "" = not known */
    bool adopted;                   /* found in the list after a lost reply */
    bool open;         /* it may be there without anybody knowing: look for its name later */
    unsigned attempts; /* how often the file was sent */
};
typedef void (*sf_provider_uploaded_fn)(void *arg, const struct sf_provider_uploaded *result);

/**
 * sf_provider_upload - send a file. What the provider would not take by its documentation is
 * refused without a request.
 *
 * A content that changes meanwhile is for the source to notice. Returns an id for
 * sf_provider_cancel(); 0 = no memory, nothing is called then.
 */
uint64_t sf_provider_upload(struct sf_provider *p, const struct sf_provider_upload *up,
                            sf_provider_uploaded_fn fn, void *arg);

#endif
