/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_REST_CHAT_H
#define DS_REST_CHAT_H

#include "rest.h"

/* The rows of conversations and messages, for the functions in rest-chat.c. */

#define DS_LEASE_MAX_S 3600

struct ds_conversation {
    int64_t rowid; /* 0 = the caller sees none */
    struct ds_row row;
    json_t *metadata, *ours; /* objects; `ours` is borrowed from the other */
};
void ds_conversation_fini(struct ds_conversation *c);
#define ds_autoconversation __attribute__((cleanup(ds_conversation_fini))) struct ds_conversation

/* A member of an object; NULL = it is none, or no text. */
const char *ds_chat_text(const json_t *object, const char *name);

/* By its continuation_id. False: answered. */
bool ds_conversation_find(struct ds_rest *rest, const char *id, struct ds_conversation *c);
/* With what was changed in `ours`. False: answered. */
bool ds_conversation_save(struct ds_rest *rest, struct ds_conversation *c);
const struct ds_value *ds_conversation_value(const struct ds_conversation *c, const char *column);

bool ds_conversation_is_held(const struct ds_conversation *c, const char *holder);
/* For how many seconds another one has the lease; 0 = for none. */
int ds_conversation_busy(const struct ds_rest *rest, const struct ds_conversation *c,
                         const char *holder);
void ds_conversation_lease(const struct ds_rest *rest, struct ds_conversation *c,
                           const char *holder, int s);

/* A place in the order of a conversation's messages. */
struct ds_place {
    bool set;
    int64_t us;
    const char *id; /* borrowed */
};
/* As a cursor: in quotes; and back. False: answered. */
void ds_place_print(struct ds_buf *out, int64_t us, const char *id);
bool ds_place_read(struct ds_rest *rest, const char *text, struct ds_place *ret);

struct ds_messages {
    struct ds_buf turns, place; /* JSON behind "[", and of a text; empty = none */
    bool more;
};
void ds_messages_fini(struct ds_messages *m);
#define ds_automessages __attribute__((cleanup(ds_messages_fini))) struct ds_messages

/* Those between two places. False: answered. */
bool ds_messages_read(struct ds_rest *rest, const struct ds_conversation *c,
                      const struct ds_place *after, const struct ds_place *before, int limit,
                      struct ds_messages *ret);
/* Answers to the questions of which the caller has not read one. False: answered. */
bool ds_messages_late(struct ds_rest *rest, const struct ds_conversation *c,
                      const struct ds_place *after, const json_t *questions, struct ds_buf *out);
/* The time of a message of the conversation: 1, 0 = there is none, -1 answered. */
int ds_message_find(struct ds_rest *rest, const struct ds_conversation *c, const char *id,
                    int64_t *us);
/* With the `content` of p. False: answered. */
bool ds_message_add(struct ds_rest *rest, const struct ds_conversation *c, const char *id,
                    const char *role, const json_t *p, int64_t us, const json_t *metadata);
/* The time of one more: behind all that is there; one microsecond is left between two turns for the
 * answer. False: answered. */
bool ds_message_next(struct ds_rest *rest, const struct ds_conversation *c, int64_t *us);

#endif
