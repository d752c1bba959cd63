/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_FORM_H
#define DS_FORM_H

#include <stdbool.h>
#include <stddef.h>

/*
 * multipart/form-data, taken apart as it comes: no part is ever kept whole here. Two parts are told
 * apart as the service does it: one with a file name, or of type application/octet-stream, is a
 * file.
 */
struct ds_form;

struct ds_form_part {
    char *name;     /* NULL = none */
    char *filename; /* NULL = none */
    char *type;     /* lower case, without parameters; "text/plain" when not given */
    bool is_file;
};

/* Each may return a negative errno, which ends the form. */
struct ds_form_events {
    int (*begin)(void *arg, const struct ds_form_part *part); /* borrowed for the call */
    int (*data)(void *arg, const char *bytes, size_t len);
    int (*end)(void *arg);
};

/* @content_type: of the request. Returns 0; -EINVAL without a boundary; -ENOMEM. */
int ds_form_new(const char *content_type, const struct ds_form_events *events, void *arg,
                struct ds_form **ret);
void ds_form_free(struct ds_form *form);

/* 0; -EBADMSG for a part's head that is too long; -ENOMEM; what an event returned. */
int ds_form_add(struct ds_form *form, const char *bytes, size_t len);

/* Whether the closing boundary has come. */
bool ds_form_is_complete(const struct ds_form *form);

#endif
