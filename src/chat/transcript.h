/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_TRANSCRIPT_H
#define SF_CHAT_TRANSCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/vec.h"

/*
 * A conversation as text, both ways (docs/formats/chat.md, part 7). What is printed can be parsed
 * into exactly what it was printed from, and that prints as the same bytes. Pure; any thread.
 */

enum sf_chat_kind {
    SF_CHAT_USER,
    SF_CHAT_ASSISTANT,
    SF_CHAT_REASONING,
    SF_CHAT_ERROR,
    SF_CHAT_DRAFT,
    SF_CHAT_DRY_RUN,
    SF_CHAT_SYSTEM,
    SF_CHAT_KINDS /* how many there are */
};

/** sf_chat_kind_name - "user", ...; static. */
const char *sf_chat_kind_name(enum sf_chat_kind kind);

#define SF_CHAT_KEY_MAX 40

/* A note of a turn, or a field of the head. */
struct sf_chat_note {
    char key[SF_CHAT_KEY_MAX + 1]; /* a-z 0-9 - _ */
    char *value;                   /* never NULL; any text */
};
SF_VEC_DEFINE(sf_chat_notes, struct sf_chat_note);

struct sf_chat_turn {
    enum sf_chat_kind kind;
    int64_t at_ms;                     /* since the epoch; 1678 to 2261 */
    char *provider, *model;            /* NULL = none; never "" */
    struct sf_chat_notes above, below; /* known when it begins; when it ends */
    struct sf_buf text;                /* any bytes */
};
SF_VEC_DEFINE(sf_chat_turns, struct sf_chat_turn);

struct sf_chat_transcript {
    struct sf_chat_notes head;
    struct sf_chat_turns turns;
    bool cut; /* it ends within the text of the last turn */
};

/* All of these are valid when zeroed. */
void sf_chat_notes_free(struct sf_chat_notes *notes);
void sf_chat_turn_fini(struct sf_chat_turn *turn);
void sf_chat_transcript_fini(struct sf_chat_transcript *t);

/** sf_chat_note_add - 0; -EINVAL it is no key; -ENOMEM. */
int sf_chat_note_add(struct sf_chat_notes *notes, const char *key, const char *value);
/** sf_chat_note_find - the value of the first note of this key, or NULL. */
const char *sf_chat_note_find(const struct sf_chat_notes *notes, const char *key);

/* ---- printing --------------------------------------------------------------------------------
 *
 * A transcript is its head and its turns one behind the other. All append to @out, and leave it as
 * it was on failure (-ENOMEM; -EINVAL a time that cannot be written).
 */

int sf_chat_print_head(struct sf_buf *out, const struct sf_chat_notes *head);
int sf_chat_print_turn(struct sf_buf *out, const struct sf_chat_turn *turn);

/*
 * The same for a turn whose text is still coming: begin; any number of texts, cut anywhere; end.
 * What was appended stands: later calls only append. Text whose line may still turn out to have to
 * be escaped is held back, a few bytes, but for a line of many backslashes.
 */
struct sf_chat_body {
    size_t slashes; /* at the beginning of the line, held back */
    unsigned held;  /* bytes behind them, held back */
    bool within;    /* the line has been decided */
    char hold[16];
};
/* Header, notes above. @body: initialised. */
int sf_chat_print_begin(struct sf_buf *out, const struct sf_chat_turn *turn,
                        struct sf_chat_body *body);
int sf_chat_print_text(struct sf_buf *out, struct sf_chat_body *body, const char *text, size_t len);
/* What was held back, the last line feed, notes. */
int sf_chat_print_end(struct sf_buf *out, struct sf_chat_body *body,
                      const struct sf_chat_notes *below);

/* ---- parsing ---------------------------------------------------------------------------------
 */

/** sf_chat_is_transcript - do these bytes begin as a transcript does? */
bool sf_chat_is_transcript(const char *text, size_t len);

/**
 * sf_chat_parse - read a whole transcript, or one that was copied while its last turn was coming.
 * @out: on success to be given back with sf_chat_transcript_fini(). Empty for an empty text.
 * @err: may be NULL; a sentence with the number of the line.
 *
 * Returns 0; -EINVAL it was not printed so; -ENOMEM.
 */
int sf_chat_parse(const char *text, size_t len, struct sf_chat_transcript *out, struct sf_err *err);

/* ---- inside ---------------------------------------------------------------------------------- */

#define SF_CHAT_FIRST_LINES "---\nsupafs-chat: 1\n"
#define SF_CHAT_NOTE_MARK   "> supafs:"

/* The bytes at the beginning of a line that only what supafs writes has: how many, with *whole; or,
 * where @len bytes can still become such, @len without it; 0 = never. */
size_t sf_chat_mark(const char *line, size_t len, bool *whole);

/* Append a value, or with @word one word of a header; NULL is "-". */
int sf_chat_escape(struct sf_buf *out, const char *text, bool word);

/* Printing a time and back agree, and it has 24 characters. */
bool sf_chat_time_ok(int64_t at_ms);

#endif
