/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_PROMPT_H
#define SF_CHAT_PROMPT_H

#include "chat/content.h"
#include "chat/front.h"
#include "chat/transcript.h"
#include "provider/chat.h"

/*
 * What is sent for a question: content, the user's system text, older turns, the question
 * (docs/formats/chat.md, M1, M8, M9). The same turns of the same content begin with the same bytes.
 * Pure.
 */

/* All of it is borrowed until sf_chat_prompt_fini(). */
struct sf_chat_prompt_args {
    const struct sf_provider_conf *conf;
    const char *model;                     /* NULL = as set */
    const struct sf_chat_front *front;     /* the settings that hold */
    const struct sf_chat_content *content; /* NULL = none */
    const struct sf_chat_turn *turns;      /* earlier ones */
    size_t n;
    size_t dropped;   /* what the last question's note says */
    const char *text; /* the question */
    size_t len;
};

/* Zeroed = begin. */
struct sf_chat_prompt {
    struct sf_provider_chat chat; /* times are for the caller to set */
    uint64_t tokens;              /* of all messages; pictures and links are not counted */
    size_t dropped;               /* older questions that are not sent, with their answers */
    char digest[65];              /* of the messages; a link counts as the file that it is of */
    /* Inside: */
    struct sf_provider_message *messages;
    struct sf_provider_part *parts;
    const char **shown; /* of each message: what a dry run calls it */
    double temperature;
};
void sf_chat_prompt_fini(struct sf_chat_prompt *p);

/**
 * sf_chat_prompt_make - what would be sent.
 * Returns 0; -EFBIG without older turns, too, it is longer than the model takes; -EIO; -ENOMEM. In
 * all of these @fault is filled.
 */
int sf_chat_prompt_make(const struct sf_chat_prompt_args *args, struct sf_chat_prompt *p,
                        struct sf_provider_fault *fault);

/** sf_chat_prompt_files_room - the tokens that files of a directory may have (content.h). */
uint64_t sf_chat_prompt_files_room(const struct sf_chat_prompt_args *args);

/**
 * sf_chat_prompt_price - about what it costs to send it, without what the provider knows from
 * before, and without the answer. -1 = not known.
 */
double sf_chat_prompt_price(const struct sf_chat_prompt *p, const struct sf_provider_conf *conf);

/** sf_chat_prompt_show - append what a dry run tells: part by part, and in all. 0 or -ENOMEM. */
int sf_chat_prompt_show(const struct sf_chat_prompt *p, const struct sf_chat_prompt_args *args,
                        struct sf_buf *out);

#endif
