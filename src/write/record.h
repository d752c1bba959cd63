/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_RECORD_H
#define SF_WRITE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "supabase/storage.h"
#include "write/extents.h"
#include "write/op.h"

/*
 * Internal to src/write: one change that is acknowledged, or half done, and not yet in Supabase,
 * as the journal keeps it (docs/formats/journal.md).
 */
enum sf_record_kind {
#define SF_RECORD_KIND(id, name, help) SF_RECORD_##id,
#include "write/states.def"
    SF_RECORD_KINDS
};

enum sf_record_state { /* SF_RECORD_CONTENT_SENDING, ... */
#define SF_RECORD_STATE(kind, id, name, help) SF_RECORD_##kind##_##id,
#include "write/states.def"
                       SF_RECORD_STATES
};

#define SF_RECORD_BYTES (1 << 20) /* a record is never longer */

/* Zeroed is a valid start. The strings are the record's own; NULL = not told. */
struct sf_record {
    uint64_t seq; /* the journal's key; 0 = not in it yet */
    enum sf_record_kind kind;
    enum sf_record_state state;
    char *bucket, *key;     /* of the target; rename-dir: the prefix, which ends in '/' */
    char op[SF_OP_LEN + 1]; /* id of the change under way; "" = none */
    int64_t made_ns;        /* wall clock; 0 is set by the journal */
    unsigned attempts;
    int err; /* errno of the last failure, positive or negative; 0 = none */
    char *reason;

    /* content */
    char *file;    /* name below staging/ */
    uint64_t size; /* bytes */
    bool synced;   /* bytes and record last over a power loss; else only while `boot` is right */
    char boot[37]; /* of the boot that wrote it */
    bool exists;   /* an object of this key is known */
    bool exclusive, guessed;      /* O_EXCL; the content type is a guess */
    struct sf_version base;       /* what the name had when the change began; attrs: the version
                                     meant; delete: what was known */
    char *from_bucket, *from_key; /* where missing bytes come from; NULL = the target */
    struct sf_extent *extents;    /* bytes that the file has: in order, apart, below `size` */
    size_t n_extents;
    bool whole;                     /* it has all of them; extents are none */
    char *mime, *mark;              /* mark: attributes, encoded */
    char *xattrs;                   /* JSON object: name -> base64, or null for removed */
    char *set_cache_control;        /* that was asked for, without our directive; "" = none */
    char *cache_control, *metadata; /* whole, as they shall be in the end; with tus and marking */
    char *tus;                      /* last segment of the URL of a resumable upload */
    uint64_t tus_size;              /* bytes that it was made for */
    char sha256[65];                /* hex; "" = not known */
    char *conflict_key;
    char *data; /* all `size` bytes, in place of those of the file; NULL = the file has them */
    /* Ops of uploads of earlier states of the same content that may have been sent and not been
     * followed yet, the latest first, with a space between; `target` is what that one leaves, as
     * far as it is known. */
    char former[SF_FORMER_SIZE];

    /* rename, rename-dir */
    char *to_bucket, *to_key;
    bool replace;
    struct sf_version source, target; /* seen before */
    char *after;                      /* rename-dir: the last key that is moved */
};

/* Give back what it owns; it is zeroed. */
void sf_record_fini(struct sf_record *r);
#define sf_autorecord sf_defer(sf_record_fini)

/* A copy of its own. 0 or -ENOMEM. */
int sf_record_copy(const struct sf_record *r, struct sf_record *ret);

/* Replace a string of a record; @value NULL = none. 0 or -ENOMEM, then it is as before. */
int sf_record_set(char **field, const char *value);

/* A directory's rename has moved, or will move, what the record of a content is about: it takes the
 * new names. 1; 0 it is about something else; -ENOMEM. */
int sf_record_follow(struct sf_record *r, const struct sf_record *dir);

/* The id of this boot of the machine, "" when the kernel does not tell it. */
void sf_boot_id(char out[37]);

/**
 * sf_record_format - the record as the journal keeps it, without seq.
 * Returns 0 and malloc'd text; -EINVAL it breaks a rule of the format (asserting tests find these),
 * and @why says which; -ENOMEM. @why: NULL, or 160 bytes.
 */
int sf_record_format(const struct sf_record *r, char **ret, size_t *len, char *why);

/**
 * sf_record_parse - read what sf_record_format() wrote, or what may be damaged.
 * Returns 0; -EPROTO it is not such a record, or one of another version, and @why says why (160
 * bytes, may be NULL); -ENOMEM. @ret is untouched on failure.
 */
int sf_record_parse(const char *text, size_t len, struct sf_record *ret, char *why);

/* Static names, as in states.def. */
const char *sf_record_kind_name(enum sf_record_kind kind);
const char *sf_record_state_name(enum sf_record_state state);
/* The kind that a state belongs to. */
enum sf_record_kind sf_record_state_kind(enum sf_record_state state);

#endif
