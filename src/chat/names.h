/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_NAMES_H
#define SF_CHAT_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Which names are chat names (docs/formats/chat.md, part 1), as far as the name alone tells: that
 * FILE exists, and no object of the whole name, is for the caller to find out. Pure; any bytes.
 */

#define SF_CHAT_SUFFIX_MAX 32 /* bytes, with the dot */

/** sf_chat_suffix_ok - may the option chat_suffix be this? */
bool sf_chat_suffix_ok(const char *suffix);

/* One way to read a name. */
struct sf_chat_reading {
    size_t file_len;      /* bytes of the name that are FILE; 0 = about the directory */
    const char *provider; /* one of the list that was given; NULL = none is named */
};
#define SF_CHAT_READINGS 2

/**
 * sf_chat_name_read - what a name may be about.
 * @name:      as look-ups give it.
 * @suffix:    one that is ok.
 * @providers: names of the configured ones, NULL-terminated; none = no name is a chat name.
 * @out:       the readings; the first whose FILE exists counts.
 *
 * Returns how many: 0 it is no chat name.
 */
unsigned sf_chat_name_read(const char *name, const char *suffix, const char *const *providers,
                           struct sf_chat_reading out[static SF_CHAT_READINGS]);

/**
 * sf_chat_name_make - the chat name of a file, or of its directory (@file ""), which the name may
 * also mean otherwise: sf_chat_name_read() tells.
 * @provider: NULL = none.
 *
 * Returns 0; -EINVAL @file is not a name of a file; -ENAMETOOLONG. @out is untouched on failure.
 */
int sf_chat_name_make(const char *file, const char *provider, const char *suffix,
                      char out[static 256]);

/* ---- ids of conversations -------------------------------------------------------------------- */

#define SF_CHAT_STEM_MAX 24  /* bytes of the part of an id that a name has for ever */
#define SF_CHAT_ID_MAX   200 /* bytes of any id */

/**
 * sf_chat_stem - what the ids of a name's conversations begin with: 24 of a-z and 2-7.
 * @identity: project, role and subject in one text.
 * @key:      of the file; of a directory with its slash, or "".
 * @provider: NULL = none is named.
 *
 * Returns 0, or -EIO when the library of digests fails.
 */
int sf_chat_stem(const char *identity, const char *bucket, const char *key, const char *provider,
                 char out[static SF_CHAT_STEM_MAX + 1]);

/** sf_chat_id_ok - can `.supafs/chats` show this id? 1 to 200 of A-Z a-z 0-9 _ -, not first '-'. */
bool sf_chat_id_ok(const char *id);

/* What a file of `.supafs/chats` shows of its conversation. */
enum sf_chat_view {
    SF_CHAT_VIEW_ALL,       /* ID.md */
    SF_CHAT_VIEW_REASONING, /* ID.reasoning.md */
    SF_CHAT_VIEW_LAST,      /* ID.last.md */
};

/**
 * sf_chat_view_read - a name in `.supafs/chats`.
 * Returns 0; -ENOENT there is never such a file. The outputs are untouched then.
 */
int sf_chat_view_read(const char *name, char id[static SF_CHAT_ID_MAX + 1],
                      enum sf_chat_view *view);

#endif
