/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_WRITE_META_H
#define SF_WRITE_META_H

#include <stdbool.h>
#include <stddef.h>

struct sf_buf;

/*
 * What supafs keeps in an object's user metadata, beside what others keep there:
 * docs/formats/attributes.md. Extended attributes travel as JSON text, an object of names to values
 * in base64; in a text of changes null removes one. Everything here takes hostile input.
 */
struct sf_meta {
    char op[27];     /* the change that wrote the object last; "" = none */
    char sha256[65]; /* of the bytes, lower-case hex; "" = not known */
    char *xattrs;    /* attributes, or changes to them; malloc'd or NULL = none */
    bool afresh;     /* for sf_meta_build(): attributes that there are belong to another file */
};

#define SF_XATTRS_MAX 4096 /* bytes of JSON */

void sf_meta_fini(struct sf_meta *m);

/**
 * sf_meta_parse - the envelope in an object's metadata.
 * @json: as an info gives it; NULL = {}.
 * Returns 1 found; 0 none, and @out is empty; -ENOMEM. sf_meta_fini() frees @out.
 */
int sf_meta_parse(const char *json, struct sf_meta *out);

/**
 * sf_meta_build - metadata with an envelope in place of any that it has.
 * @current: of the object that is replaced or changed; NULL or "" = {}. Members of others are kept
 *           byte for byte; attributes are kept, but with @m->afresh, and changed by @m->xattrs.
 * @m:       op and sha256 as they shall be; NULL = attrs=none: only attributes remain.
 * @ret:     for free().
 * Returns 0; -ENOSPC the attributes have more than SF_XATTRS_MAX bytes; -EINVAL @current or the
 * changes are no JSON object of at most 32 levels; -ENOMEM.
 */
int sf_meta_build(const char *current, const struct sf_meta *m, char **ret);

/* ---- extended attributes as JSON text -------------------------------------------------------- */

/* One attribute of @json (NULL = none), appended to @out (NULL = only look). Returns 0; -ENODATA;
 * -EALREADY @json is a text of changes that removes it; -EINVAL; -ENOMEM. */
int sf_xattrs_get(const char *json, const char *name, struct sf_buf *out);
/* All names, each with its NUL, appended to @out. 0, -EINVAL or -ENOMEM. */
int sf_xattrs_list(const char *json, struct sf_buf *out);
/* Set one attribute in @json (NULL = none), or, with @value NULL, note its removal. @ret: for
 * free(). 0; -EINVAL a name that is empty or not UTF-8, or @json; -ENOMEM. */
int sf_xattrs_set(const char *json, const char *name, const void *value, size_t len, char **ret);
/**
 * sf_xattrs_merge - attributes with changes applied, or two texts of changes as one.
 * @base, @changes: NULL = none.
 * @keep_nulls: @base is a text of changes, too: removals stay in the result.
 * @ret:  for free(); NULL when nothing remains.
 * Returns 0; -EINVAL; -ENOMEM. The size is not checked.
 */
int sf_xattrs_merge(const char *base, const char *changes, bool keep_nulls, char **ret);

#endif
