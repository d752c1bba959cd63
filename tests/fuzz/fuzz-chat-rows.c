/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat-properties.h"
#include "fuzz.h"

#include "chat/remote.h"
#include "chat/store-internal.h"
#include "supabase/json.h"

/* First byte: which row. The rest: one of the project's tables, as PostgREST has it, or one of the
 * state directory. What is believed can be shown, and comes back from what it is written as. */

static void
can_be_shown(const struct sf_chat_record *r)
{
    struct sf_chat_turn turn = r->turn;
    struct sf_chat_transcript t = {.turns = {.data = &turn, .len = 1}};
    const char *broken = chat_comes_back(&t);
    if (broken) {
        fprintf(stderr, "%s\n", broken);
        abort();
    }
    REQUIRE(strlen(r->message) <= SF_CHAT_UUID && strlen(r->to) <= SF_CHAT_UUID);
}

/* ---- the project's tables ---- */

static void
comes_back(const json_t *row, const struct sf_chat_records *turns)
{
    struct sf_chat_records again = {.len = 0};
    json_t *content, *metadata;
    if (sf_chat_row_write(turns->data, turns->len, &content, &metadata))
        return;
    json_t *o = json_pack("{s:O, s:O, s:s, s:o, s:o}", "id", json_object_get(row, "id"), "role",
                          json_object_get(row, "role"), "at", "2026-11-22T06:10:03.120001Z",
                          "content", content, "metadata", metadata);
    REQUIRE(o);
    REQUIRE(sf_chat_row_read(o, &again) == 0);
    REQUIRE(again.len == turns->len);
    for (size_t i = 0; i < again.len; i++)
        REQUIRE(chat_same_turn(&again.data[i].turn, &turns->data[i].turn));
    sf_chat_records_free(&again);
    json_decref(o);
}

static void
row(char *text, size_t len)
{
    struct sf_chat_records turns = {.len = 0};
    json_t *o = sf_json_parse(text, len, NULL);
    if (o && sf_chat_row_read(o, &turns) == 0) {
        REQUIRE(turns.len >= 1 && turns.len <= 3);
        for (size_t i = 0; i < turns.len; i++)
            can_be_shown(&turns.data[i]);
        comes_back(o, &turns);
    } else {
        REQUIRE(turns.len == 0);
    }
    sf_chat_records_free(&turns);
    json_decref(o);
}

/* ---- the state directory ---- */

static void
turn(char *text, size_t len)
{
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    struct sf_chat_record r, again;
    uint64_t question, same;
    if (chats_turn_read(text, len, &r, &question))
        return;
    can_be_shown(&r);
    REQUIRE(chats_turn_write(&out, &r, question) == 0);
    REQUIRE(chats_turn_read(out.data, out.len, &again, &same) == 0);
    REQUIRE(same == question && chat_same_turn(&r.turn, &again.turn));
    REQUIRE(!strcmp(r.message, again.message) && !strcmp(r.to, again.to));
    sf_chat_record_fini(&r);
    sf_chat_record_fini(&again);
}

static void
conversation(char *text, size_t len)
{
    sf_autobuf struct sf_buf out = SF_BUF_INIT, second = SF_BUF_INIT;
    struct sf_chat_conversation c, again;
    if (chats_conversation_read(text, len, &c))
        return;
    REQUIRE(chats_conversation_write(&out, &c) == 0);
    REQUIRE(chats_conversation_read(out.data, out.len, &again) == 0);
    REQUIRE(chats_conversation_write(&second, &again) == 0);
    REQUIRE(!strcmp(out.data, second.data));
    sf_chat_conversation_fini(&c);
    sf_chat_conversation_fini(&again);
}

static void
name(char *text, size_t len)
{
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    struct sf_chat_name n, again;
    if (!chats_name_read(text, len, &n))
        return;
    REQUIRE(sf_chat_id_ok(n.id));
    REQUIRE(chats_name_write(&out, &n) == 0);
    REQUIRE(chats_name_read(out.data, out.len, &again));
    REQUIRE(!strcmp(n.id, again.id) && n.generation == again.generation);
    REQUIRE(n.empty == again.empty && n.gone == again.gone);
}

static void
draft(char *text, size_t len)
{
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    struct sf_chat_draft d, again;
    json_t *head, *second;
    if (!chats_draft_read(text, len, &d, &head))
        return;
    REQUIRE(sf_chat_id_ok(d.id));
    REQUIRE(chats_draft_write(&out, &d) == 0);
    REQUIRE(chats_draft_read(out.data, out.len, &again, &second));
    REQUIRE(!strcmp(d.id, again.id) && d.waiting == again.waiting && d.at_ms == again.at_ms);
    REQUIRE(d.len == again.len && memcmp(d.text, again.text, d.len) == 0);
    json_decref(head);
    json_decref(second);
}

static void
told(char *text, size_t len)
{
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    struct key k = chats_time_key(7);
    struct sf_chat_told t, again;
    if (!chats_told_read(k.b, k.len, text, len, &t))
        return;
    REQUIRE(chats_told_write(&out, &t) == 0);
    REQUIRE(chats_told_read(k.b, k.len, out.data, out.len, &again));
    REQUIRE(!strcmp(t.id, again.id) && t.question == again.question && t.answer == again.answer);
}

static void
spent(char *text, size_t len)
{
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    struct sf_chat_spent s, again;
    if (!chats_spent_read(text, len, &s))
        return;
    REQUIRE(chats_spent_write(&out, &s) == 0);
    REQUIRE(chats_spent_read(out.data, out.len, &again));
    REQUIRE(s.tokens == again.tokens && s.price == again.price && s.turns == again.turns);
}

/* A key of a turn, and of a piece. */
static void
key(char *text, size_t len)
{
    char id[SF_CHAT_ID_MAX + 1];
    uint64_t number;
    uint32_t piece;
    if (chats_number_read(text, len, id, &number, NULL)) {
        struct key k = chats_number_key(id, number, NULL);
        REQUIRE(k.len == len && memcmp(k.b, text, len) == 0);
    }
    if (chats_number_read(text, len, id, &number, &piece)) {
        struct key k = chats_number_key(id, number, &piece);
        REQUIRE(k.len == len && memcmp(k.b, text, len) == 0);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fuzz_way ways[] = {{'r', row},   {'t', turn},  {'c', conversation},
                                           {'n', name},  {'d', draft}, {'o', told},
                                           {'s', spent}, {'k', key}};
    return fuzz_choose(ways, sizeof ways / sizeof *ways, data, size);
}
