/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CONFIG_KEYS_H
#define SF_CONFIG_KEYS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * Which key a mount uses. Keys come from the environment, from files that only their owner can
 * read, or from a file descriptor; never from the command line. Copies are wiped when given back,
 * and no key is ever in an error or a label.
 */
struct sf_config;

enum sf_key_mode {
    SF_KEY_SERVICE,
    SF_KEY_USER,
    SF_KEY_ANON,
};

struct sf_key_choice {
    enum sf_key_mode mode; /* what the key is, as its role or prefix says */
    bool from_file;        /* value is a path that can be read again with sf_key_file_read() */
    char *value;           /* the key, or the path */
    char *variable;        /* NULL, or which of the file's values is the key */
    char *label;           /* "SUPABASE_SERVICE_ROLE_KEY from the environment" */
    char *apikey;          /* NULL, or the project's key that goes along with a user's token */
    char *sentence;        /* what to say at mount: "auth=service, with SUPABASE_... from ..." */
};

/**
 * sf_keys_choose - pick the key as the option auth says.
 * @out: on success to be given back with sf_key_choice_fini(); its key has been read, and checked
 *       for its form and for being what auth asks for.
 *
 * With auth=auto: key_fd or key_file if there is one, unless a service key or user's token comes
 * from a nearer source; else the service key, the user's token, the anon key. With another auth:
 * key_fd or key_file, unless that very key comes from a nearer source. key_fd is read to its end
 * and closed.
 *
 * Returns 0; -ENOKEY there is none of the kind asked for; -EPERM the file can be read by others;
 * -EKEYREJECTED what is there is not such a key; -ENOENT, -EACCES, -EBADF, ... it cannot be read;
 * -EINVAL, -EFBIG it is not a file with a key; -ENOMEM. *out is untouched on failure.
 */
int sf_keys_choose(const struct sf_config *cfg, struct sf_key_choice *out, struct sf_err *err);
void sf_key_choice_fini(struct sf_key_choice *c);

/**
 * sf_key_file_read - read a key from a file that only its owner can read.
 * @variable: NULL: the file's first line that is not empty is the key; else the NAME of an env
 *            file's line, or "[section] name" of a configuration file.
 * @ret:      the key; to be given back with sf_key_wipe().
 *
 * Returns 0; -EPERM others can read the file; -ENOKEY it has no such value; -EINVAL it is not such
 * a file; -EFBIG; -errno of open(2) or read(2); -ENOMEM. The form of the key is not checked.
 */
int sf_key_file_read(const char *path, const char *variable, char **ret, struct sf_err *err);

/* Overwrite and free. NULL is allowed. */
void sf_key_wipe(char *key);

#endif
