/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CMD_CHAT_H
#define SF_CMD_CHAT_H

#include "chat/front.h"
#include "chat/transcript.h"
#include "cmd/cmd.h"

/* Inside of `supafs chat`. */

/* What it was told. */
struct chat_line {
    const char *path, *question; /* NULL = none */
    bool json, fresh, last, cancel, go_on;
    struct sf_chat_front front; /* of the options; and, after chat_prompt(), of the question */
};

/* ---- chat-prompt.c: what is asked ------------------------------------------------------------ */

/**
 * chat_prompt - the prompt as it is written: settings, and the question.
 * @in:    a descriptor whose content is asked, too; -1 = none.
 * @out:   gets both; @asked: the question alone.
 *
 * Options go before the question's own front matter. Returns 0; -EINVAL, -EFBIG it is no prompt,
 * -ENODATA it is empty, with a sentence; -errno of reading.
 */
int chat_prompt(struct chat_line *l, int in, struct sf_buf *out, struct sf_buf *asked,
                struct sf_err *err);

/* ---- chat-said.c: what came of it -------------------------------------------------------------
 */

/* A question and its answer in a transcript, which may be none of ours: whoever can mount can call
 * his file system supafs. Zeroed = nothing is known. */
struct chat_said {
    struct sf_chat_transcript all;
    const char *id;                                     /* NULL = not known */
    const struct sf_chat_turn *question, *answer, *why; /* of @all; NULL = there is none */
    struct sf_buf reasoning;
    bool thought; /* there was reasoning */
};
void chat_said_fini(struct chat_said *s);

/**
 * chat_said_find - look for a question.
 * @text: a transcript from its beginning, or, not @whole, from anywhere within.
 * @asked: the last question of this text, else the last question; NULL = the last with an answer.
 *
 * Returns 0; -ENOENT there is none; -EINVAL it is no transcript; -ENOMEM. @s is zeroed before.
 */
int chat_said_find(struct chat_said *s, const char *text, size_t len, bool whole,
                   const struct sf_buf *asked);
/* The reasoning of its answer, from a transcript that has it. Nothing, where that is not so. */
void chat_said_think(struct chat_said *s, const char *text, size_t len);

/* A note below the answer; NULL. */
const char *chat_said_note(const struct chat_said *s, const char *key);

/**
 * chat_json - all that is known, as --json prints it.
 * @answer: as it came; NULL = that of @s.
 * @rc:     0, or -errno of what failed; @text: its sentence.
 */
json_t *chat_json(const char *path, const struct chat_said *s, const struct sf_buf *answer, int rc,
                  const char *text);
/* What to exit with; @class: of the failure, or NULL. */
int chat_code(int rc, const char *class);
/* A word about an answer that is not all that there was to say; NULL. */
const char *chat_lack(const struct chat_said *s);

/* ---- chat-way.c: through the chat file, or without one ----------------------------------------
 */

struct chat_way {
    struct control_place place;
    char real[4096]; /* what it is about, without links */
    char file[8448]; /* its chat file; "" = there is none */
    bool by_mount;   /* the chat file did not serve: the mount was asked for it */
    bool asked;      /* the question was taken */
    uint64_t from;   /* bytes of the transcript that were there before the question */
};

/* 0; -1 with what is wrong said, and then *code is what to exit with. */
int chat_way_find(struct chat_way *w, const char *path, int *code);

/* Pieces of the answer, as they come; 0 or -errno, which ends it. */
typedef int (*chat_text_fn)(void *arg, const char *text, size_t len);
/**
 * chat_way_ask - put a question, and wait for the end of its answer.
 * @said: gets the sentence of a failure, if there is one.
 * Returns 0 or -errno; -EINTR: a signal came whose handler does not restart calls, and the answer
 * is cancelled.
 */
int chat_way_ask(struct chat_way *w, const struct sf_buf *prompt, chat_text_fn fn, void *arg,
                 struct sf_buf *said);
/**
 * chat_way_read - the transcript.
 * @from: where to begin; @wait: for the answer that is coming, else only what is there.
 * Returns 0; -ENOENT there is no conversation; -errno.
 */
int chat_way_read(struct chat_way *w, uint64_t from, bool wait, struct sf_buf *out);
/* The same with the reasoning; only who mounted may. */
int chat_way_thoughts(const struct chat_way *w, const char *id, struct sf_buf *out);
int chat_way_put_away(struct chat_way *w, struct sf_buf *said);
int chat_way_cancel(struct chat_way *w, struct sf_buf *said);

#endif
