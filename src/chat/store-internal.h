/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_STORE_INTERNAL_H
#define SF_CHAT_STORE_INTERNAL_H

#include <jansson.h>

#include "chat/store.h"
#include "store/env.h"

/* Internal to src/chat/store*.c: store-rows.c has the rows as they are on the disk, store-change.c
 * changes them, store.c reads them and has the life of it. */

enum table {
    T_NAMES,
    T_CONVERSATIONS,
    T_TURNS,
    T_RUNNING,
    T_LINE,
    T_OUTBOX,
    T_SPENT,
    T_ANSWERS,
    T_TEXTS,
    T_COUNT
};

#define CACHE_HEAD  8 /* bytes before what is kept: when it was */
#define RECORD_HEAD 4

struct sf_chat_store {
    struct sf_env *env;
    uint64_t cache_bytes;
    uint64_t cached[SF_CHAT_CACHES]; /* bytes of rows; the environment's thread's own */
};

struct key {
    unsigned char b[SF_ENV_KEY_MAX];
    size_t len;
};

/* store-rows.c. Those that read say false of what is damaged, and have changed nothing. */

bool chats_stem_ok(const char *stem);
struct key chats_text_key(const char *text);
struct key chats_time_key(uint64_t n);
/* @number of a turn; with @piece also the one of a piece. The id is ok. */
struct key chats_number_key(const char *id, uint64_t number, const uint32_t *piece);
/* @piece: NULL = the key has none. */
bool chats_number_read(const void *key, size_t len, char id[static SF_CHAT_ID_MAX + 1],
                       uint64_t *number, uint32_t *piece);
/* Whether a key is one of a conversation's, and the number in it. */
bool chats_number_is_of(const struct sf_buf *key, const char *id, uint64_t *number);
uint64_t chats_big_endian(const void *b, size_t n);
/* The first key that may come behind one; false: there is none. */
bool chats_behind(const struct sf_buf *key, struct key *ret);

/* 0, or -ENOMEM also for a NULL. Takes the JSON. */
int chats_record_write(struct sf_buf *out, json_t *head, const char *text, size_t len);
/* The JSON, or NULL; the text is borrowed from @value. */
json_t *chats_record_read(const void *value, size_t len, const char **text, size_t *text_len);
int chats_object_write(struct sf_buf *out, json_t *object);
json_t *chats_object_read(const void *value, size_t len);

int chats_turn_write(struct sf_buf *out, const struct sf_chat_record *k, uint64_t question);
/* 0, -EINVAL damaged, -ENOMEM. @question: what chats_turn_write() had; may be NULL. */
int chats_turn_read(const void *value, size_t len, struct sf_chat_record *out, uint64_t *question);
int chats_conversation_write(struct sf_buf *out, const struct sf_chat_conversation *c);
int chats_conversation_read(const void *value, size_t len, struct sf_chat_conversation *out);
int chats_conversation_copy(const struct sf_chat_conversation *from,
                            struct sf_chat_conversation *to);
int chats_name_write(struct sf_buf *out, const struct sf_chat_name *name);
bool chats_name_read(const void *value, size_t len, struct sf_chat_name *out);
int chats_draft_write(struct sf_buf *out, const struct sf_chat_draft *d);
/* The texts are the JSON's, and the value's; *head is the caller's. */
bool chats_draft_read(const void *value, size_t len, struct sf_chat_draft *out, json_t **head);
int chats_told_write(struct sf_buf *out, const struct sf_chat_told *told);
bool chats_told_read(const void *key, size_t key_len, const void *value, size_t len,
                     struct sf_chat_told *out);
int chats_spent_write(struct sf_buf *out, const struct sf_chat_spent *spent);
bool chats_spent_read(const void *value, size_t len, struct sf_chat_spent *out);
struct key chats_spent_key(int64_t day, const char *provider);

/* store-change.c */

/* What a crash left. */
int chats_recover_running(struct sf_chat_store *st);
int chats_recover_line(struct sf_chat_store *st);
/* Removes what can be spared best; `freed` 0 = there is nothing. */
struct chats_room {
    struct sf_env_write w;
    unsigned freed;
};
int chats_room_run(struct sf_env_write *w, struct sf_txn *txn);
/* Waits for a write; makes room for it where there is none. */
int chats_write_wait(struct sf_chat_store *st, struct sf_env_write *w);
/* A new row behind those of about now. */
int chats_put_by_time(struct sf_txn *txn, enum table table, const struct sf_buf *value,
                      uint64_t *row);

#endif
