/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_TREE_NAMES_H
#define SF_TREE_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/*
 * POSIX names and Storage keys. The format is in docs/formats/names.md and is frozen: it lives in
 * other people's buckets. Every function here is pure: no allocation, no lock, safe for any bytes.
 *
 * A key is a sequence of components separated by '/'. Most components are their own name. A name
 * that Storage would refuse is stored escaped; a component that no POSIX name expresses is shown
 * as "%key=COMPONENT", an object that shares its name with a directory as "%obj=COMPONENT".
 */
#define SF_NAME_MAX      255 /* bytes of a POSIX name, and of a component of a new key */
#define SF_KEY_MAX       900 /* bytes of a new key; keys of other clients may be longer */
#define SF_BUCKET_MAX    100 /* bytes of a new bucket's name */
#define SF_CONTROL_DIR   ".supafs"
#define SF_PLACEHOLDER   ".emptyFolderPlaceholder"
#define SF_NAME_BUF_SIZE (SF_NAME_MAX + 1)

/* Where a name stands. A name and its key agree only under the same AT_ROOT and BUCKET flags. */
enum sf_name_flags {
    SF_NAME_AT_ROOT = 1 << 0, /* in the root directory of the mount: ".supafs" is taken */
    SF_NAME_BUCKET = 1 << 1,  /* a bucket, not a component of a key (implies AT_ROOT) */
    SF_NAME_CLASH = 1 << 2,   /* from_key only: an object whose name is a directory here, too */
};

enum sf_name_kind {
    SF_NAME_PLAIN,         /* an ordinary name: an object or a directory; a directory wins */
    SF_NAME_KEY,           /* "%key=...": a component without an ordinary name; likewise */
    SF_NAME_OBJECT,        /* "%obj=...": the object, and only while it clashes with a directory */
    SF_NAME_HASHED_KEY,    /* "%key#...": as KEY, too long to be shown whole */
    SF_NAME_HASHED_OBJECT, /* "%obj#...": as OBJECT, too long to be shown whole */
};

/* What a shown name denotes. */
struct sf_name_ref {
    enum sf_name_kind kind;
    size_t len;                  /* strlen(comp) */
    char comp[SF_NAME_BUF_SIZE]; /* the key component; of the HASHED kinds only its beginning */
};

enum sf_key_flags {
    SF_KEY_DIRECTORY = 1 << 0, /* append a '/' */
    SF_KEY_NEW = 1 << 1,       /* a key to be created: at most SF_KEY_MAX bytes */
};

/**
 * sf_name_to_key - the key component under which a new name is stored.
 * @name:  POSIX name, NUL-terminated.
 * @flags: SF_NAME_AT_ROOT, SF_NAME_BUCKET.
 * @out:   the component, NUL-terminated; untouched on failure.
 *
 * For create, mkdir, symlink and the target of a rename. To find what exists use sf_name_lookup(),
 * which also knows the special names.
 *
 * Returns 0; -EINVAL empty, "." or "..", with a '/', ".supafs" at the root, or of the special forms
 * "%key=" "%obj=" "%key#" "%obj#", which cannot be created; -ENAMETOOLONG over SF_NAME_MAX bytes
 * (a bucket: SF_BUCKET_MAX) before or after escaping.
 */
int sf_name_to_key(const char *name, unsigned flags, char out[static SF_NAME_BUF_SIZE]);

/**
 * sf_name_from_key - the name under which a key component is shown.
 * @comp:  any bytes, @len of them, as they came from the server; may be empty.
 * @flags: SF_NAME_AT_ROOT, SF_NAME_BUCKET, SF_NAME_CLASH.
 * @out:   a valid POSIX name, NUL-terminated; untouched on failure.
 *
 * Different components (and an object and a directory in a clash) have different names, up to
 * SHA-256 collisions of components longer than 250 bytes. The caller hides a zero-byte object
 * SF_PLACEHOLDER before; whatever else is called so is shown as "%key=...".
 *
 * Returns 0; -EILSEQ the component has a '/' or NUL, or the bucket has no name: nothing can show
 * it, the caller skips and counts it.
 */
int sf_name_from_key(const char *comp, size_t len, unsigned flags,
                     char out[static SF_NAME_BUF_SIZE]);

/**
 * sf_name_lookup - what a name denotes, the special ones included.
 * @name:  POSIX name, NUL-terminated.
 * @flags: SF_NAME_AT_ROOT, SF_NAME_BUCKET.
 * @ret:   untouched on failure.
 *
 * For the HASHED kinds ret->comp holds the first bytes of the component: list the keys that begin
 * so, and take the one for which sf_name_from_key() gives @name.
 *
 * Returns 0; -ENOENT nothing is ever shown under this name here; -EINVAL not a POSIX name;
 * -ENAMETOOLONG as for sf_name_to_key(), but buckets up to SF_NAME_MAX (older servers made some).
 */
int sf_name_lookup(const char *name, unsigned flags, struct sf_name_ref *ret);

/**
 * sf_bucket_to_name - the name of a bucket in the root of a whole-project mount.
 * @id: the bucket's id (URLs use ids; a bucket's name may differ from it).
 *
 * Returns as sf_name_from_key().
 */
int sf_bucket_to_name(const char *id, char out[static SF_NAME_BUF_SIZE]);

/**
 * sf_bucket_from_name - the id for a new bucket.
 *
 * Returns as sf_name_to_key(). That new names must not begin with '.' is the caller's rule.
 */
int sf_bucket_from_name(const char *name, char out[static SF_NAME_BUF_SIZE]);

/**
 * sf_name_is_special - is this one of the forms that only supafs gives ("%key=" and so on)?
 */
bool sf_name_is_special(const char *name);

/**
 * sf_name_is_placeholder - is this component exactly SF_PLACEHOLDER?
 */
bool sf_name_is_placeholder(const char *comp, size_t len);

/**
 * sf_name_is_placeholder_key - is the last component of this key exactly SF_PLACEHOLDER?
 */
bool sf_name_is_placeholder_key(const char *key);

/**
 * sf_key_join - the key of a directory's child.
 * @out:    @size bytes; untouched on failure.
 * @prefix: the directory's key: empty (top of the bucket), or ending in '/'.
 * @comp:   key component (not name); may be empty; may be longer than SF_NAME_MAX without NEW.
 * @flags:  enum sf_key_flags.
 *
 * Returns the length of the key; -ENAMETOOLONG it does not fit @size, or is over a limit of NEW.
 */
int sf_key_join(char *out, size_t size, const char *prefix, const char *comp, unsigned flags);

/**
 * sf_key_child - the component of a listed key that is a child of a directory.
 * @key:        a key that begins with the directory's key; a listed folder with its '/'.
 * @prefix_len: length of the directory's key.
 * @len:        length of the component; 0 for an empty one ("a/" and "a//b" below "a/").
 * @directory:  a '/' follows the component.
 *
 * Returns where in @key the component begins.
 */
const char *sf_key_child(const char *key, size_t prefix_len, size_t *len, bool *directory);

#endif
