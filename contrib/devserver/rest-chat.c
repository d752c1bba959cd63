/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "db-internal.h"
#include "json.h"
#include "rest-chat.h"
#include "rest-objects.h"

/* What contrib/sql/007-chat.sql does, on the dev server's own tables. */

#define TURNS_MAX 1000
#define LATE_MAX  100

/* ---- arguments ---- */

/* A member of p: 's'tring, 'n'umber, 'o'bject or 'a'rray. */
struct member {
    const char *name;
    char kind;
    bool needed;
};

static bool
is_kind(const json_t *m, char kind)
{
    return kind == 's'   ? json_string_length(m) > 0
           : kind == 'n' ? json_is_number(m)
           : kind == 'o' ? json_is_object(m)
                         : json_is_array(m);
}

/* p, or NULL: answered. */
static const json_t *
take_p(struct ds_rest *rest, const json_t *body, const struct member *members)
{
    const json_t *p = json_object_get(body, "p");
    ds_autobuf names = DS_BUF_INIT;
    bool missing = false;
    if (!json_is_object(p)) {
        ds_rest_fail(rest, "22023", NULL, NULL, "p must be an object");
        return NULL;
    }
    for (const struct member *m = members; m->name; m++) {
        const json_t *value = json_object_get(p, m->name);
        if (value && !json_is_null(value) && !is_kind(value, m->kind)) {
            ds_rest_fail(rest, "22023", NULL, NULL, "p: a member of the wrong type");
            return NULL;
        }
        if (m->needed) {
            ds_buf_addf(&names, "%s%s", names.len ? ", " : "", m->name);
            missing = missing || !value || json_is_null(value);
        }
    }
    if (missing) {
        ds_rest_fail(rest, "22023", NULL, NULL, "p: %s are needed", names.data);
        return NULL;
    }
    return p;
}

/* A number of p that is whole and within bounds, or `absent`; false: it is not. */
static bool
whole_number(const json_t *p, const char *name, int least, int most, int absent, int *ret)
{
    const json_t *m = json_object_get(p, name);
    double value = json_is_number(m) ? json_number_value(m) : absent;
    if (json_is_number(m) && (value < least || value > most || (double)(json_int_t)value != value))
        return false;
    *ret = (int)value;
    return true;
}

static bool
take_uuid(struct ds_rest *rest, const json_t *p, const char *name, struct ds_value *ret)
{
    return ds_rest_take(rest, p, name, DS_UUID, ret) || ds_rest_refuse(rest, "p");
}

/* What becomes of `content`; false: it is no text. */
static bool
is_content(const json_t *p)
{
    const json_t *m = json_object_get(p, "content");
    return !m || json_is_null(m) || json_is_string(m);
}

/* ---- supafs_chat_find, supafs_chat_turns ---- */

static bool
is_stem(const char *stem)
{
    size_t n = strspn(stem, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-");
    return n > 0 && n <= 200 && !stem[n];
}

/* The one with the highest number. */
static bool
find_stem(struct ds_rest *rest, const char *stem, struct ds_conversation *c)
{
    ds_autosql sql = {0};
    ds_autobuf best = DS_BUF_INIT;
    ds_buf_adds(&sql.text, "SELECT continuation_id FROM conversations WHERE continuation_id >= ");
    for (int end = 0; end < 2; end++) {
        ds_autobuf bound = DS_BUF_INIT;
        ds_buf_addf(&bound, "%s%c", stem, '-' + end);
        ds_buf_adds(&sql.text, end ? " AND continuation_id < " : "");
        ds_sql_value(&sql, ds_value_text(bound.data));
    }
    ds_buf_adds(&sql.text, " AND ");
    ds_sql_policy(&sql, rest, ds_table_find("conversations"));
    ds_buf_adds(&sql.text, " ORDER BY length(continuation_id) DESC, continuation_id DESC");
    ds_autostmt *stmt = ds_sql_prepare(rest, &sql);
    while (stmt && !best.len && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *id = ds_db_text(stmt, 0), *number = id + strlen(stem) + 1;
        size_t n = strspn(number, "0123456789");
        if (n > 0 && n <= 18 && !number[n] && *number != '0')
            ds_buf_adds(&best, id);
    }
    return stmt && (!best.len || ds_conversation_find(rest, best.data, c));
}

void
ds_rest_chat_find(struct ds_rest *rest, const json_t *body)
{
    static const struct member members[] = {{"stem", 's', false}, {"id", 's', false}, {0}};
    const json_t *p = take_p(rest, body, members);
    const char *stem = ds_chat_text(p, "stem"), *id = ds_chat_text(p, "id");
    ds_autoconversation c = {0};
    ds_autobuf out = DS_BUF_INIT;
    if (!p)
        return;
    if (!stem == !id || (stem && !is_stem(stem))) {
        ds_rest_fail(rest, "22023", NULL, NULL, "p: either stem or id is needed");
        return;
    }
    if (!(stem ? find_stem(rest, stem, &c) : ds_conversation_find(rest, id, &c)))
        return;
    if (!c.rowid) {
        ds_buf_adds(&out, "{\"conversation\": null}");
        ds_rest_reply_value(rest, &out);
        return;
    }
    bool closed = json_is_true(json_object_get(c.ours, "closed"));
    json_object_del(c.ours, "lease");
    json_object_del(c.ours, "closed");
    ds_buf_adds(&out, "{\"conversation\": {\"id\": ");
    ds_value_write(&out, DS_TEXT, ds_conversation_value(&c, "continuation_id"));
    ds_buf_adds(&out, ", \"about\": ");
    ds_jsonb_write(&out, c.ours);
    ds_buf_adds(&out, ", \"title\": ");
    ds_value_write(&out, DS_TEXT, ds_conversation_value(&c, "title"));
    ds_buf_addf(&out, ", \"closed\": %s, \"updated\": ", closed ? "true" : "false");
    ds_value_write(&out, DS_TIME, ds_conversation_value(&c, "updated_at"));
    ds_buf_adds(&out, "}}");
    ds_rest_reply_value(rest, &out);
}

void
ds_rest_chat_turns(struct ds_rest *rest, const json_t *body)
{
    static const struct member members[] = {{"id", 's', true},
                                            {"after", 's', false},
                                            {"limit", 'n', false},
                                            {"unanswered", 'a', false},
                                            {0}};
    const json_t *p = take_p(rest, body, members);
    const json_t *questions = json_object_get(p, "unanswered");
    const json_t *cursor = json_object_get(p, "after");
    ds_autoconversation c = {0};
    ds_automessages rows = {0};
    ds_autobuf late = DS_BUF_INIT, out = DS_BUF_INIT;
    struct ds_place after = {0};
    int limit;
    if (!p)
        return;
    if (!whole_number(p, "limit", 1, TURNS_MAX, TURNS_MAX, &limit) ||
        json_array_size(questions) > LATE_MAX) {
        ds_rest_fail(rest, "22023", NULL, NULL, "p: limit or unanswered out of range");
        return;
    }
    if (!ds_place_read(rest, json_string_value(cursor), &after) ||
        !ds_conversation_find(rest, ds_chat_text(p, "id"), &c) ||
        !ds_messages_read(rest, &c, &after, &(struct ds_place){0}, limit, &rows) ||
        !ds_messages_late(rest, &c, &after, questions, &late))
        return;
    if (!rows.place.len)
        ds_buf_add_json(&rows.place, json_string_value(cursor));
    ds_buf_addf(&out, "{\"turns\" : [%s], \"late\" : [%s], \"cursor\" : %s, \"more\" : %s}",
                rows.turns.data ? rows.turns.data : "", late.data ? late.data : "", rows.place.data,
                rows.more ? "true" : "false");
    ds_rest_reply_value(rest, &out);
}

/* ---- supafs_chat_begin ---- */

/* Makes the conversation if there is none; then it is the caller's. */
static bool
own_conversation(struct ds_rest *rest, const json_t *p, struct ds_conversation *c)
{
    const struct ds_table *table = ds_table_find("conversations");
    const json_t *about = json_object_get(p, "about");
    ds_autojson *metadata =
        json_pack("{s:o}", "supafs", json_is_object(about) ? json_deep_copy(about) : json_object());
    ds_autorow row = {0};
    ds_autobuf text = DS_BUF_INIT;
    int64_t rowid;
    if (!metadata || !ds_row_defaults(rest, table, &row))
        return false;
    json_object_del(json_object_get(metadata, "supafs"), "lease");
    json_object_del(json_object_get(metadata, "supafs"), "closed");
    ds_jsonb_write(&text, metadata);
    ds_row_put(table, &row, "continuation_id", ds_value_text(ds_chat_text(p, "id")));
    ds_row_put(table, &row, "title", ds_value_text(ds_chat_text(p, "title")));
    ds_row_put(table, &row, "metadata", ds_value_text(text.data));
    if (!ds_row_check(rest, table, &row))
        return false;
    int64_t there = ds_row_conflict(rest, table, &table->uniques[1], &row);
    if (there < 0 || (there == 0 && !ds_row_insert(rest, table, &row, &rowid)))
        return false;
    if (!ds_conversation_find(rest, ds_chat_text(p, "id"), c))
        return false;
    return c->rowid ||
           ds_rest_fail(rest, "23505", NULL, NULL, "the conversation is somebody else's");
}

static bool
note_file(struct ds_rest *rest, const struct ds_conversation *c, const struct ds_value *file)
{
    const struct ds_table *table = ds_table_find("conversation_files");
    ds_autorow row = {0};
    int64_t rowid;
    if (!file->text)
        return true;
    if (!ds_row_defaults(rest, table, &row))
        return false;
    ds_row_put(table, &row, "conversation_id", ds_value_copy(ds_conversation_value(c, "id")));
    ds_row_put(table, &row, "file_id", ds_value_copy(file));
    return ds_row_conflict(rest, table, &table->uniques[0], &row) != 0 ||
           ds_row_insert(rest, table, &row, &rowid);
}

/* Of a turn that has begun, or begins now. */
static bool
begin_turn(struct ds_rest *rest, const json_t *p, struct ds_conversation *c, const char *message,
           bool again, int64_t us, int lease_s)
{
    const char *holder = ds_chat_text(p, "holder");
    const json_t *metadata = json_object_get(p, "metadata");
    if (!again && !ds_message_add(rest, c, message, "user", p, us,
                                  json_is_object(metadata) ? metadata : NULL))
        return false;
    if (lease_s > 0 && !ds_conversation_busy(rest, c, holder))
        ds_conversation_lease(rest, c, holder, lease_s);
    return ds_conversation_save(rest, c);
}

/* Whether the turn cannot begin: the answer, or "". */
static void
refuse_turn(const struct ds_rest *rest, const json_t *p, const struct ds_conversation *c,
            struct ds_buf *out)
{
    int s = ds_conversation_busy(rest, c, ds_chat_text(p, "holder"));
    if (json_is_true(json_object_get(c->ours, "closed")))
        ds_buf_adds(out, "{\"closed\": true}");
    else if (s > 0)
        ds_buf_addf(out, "{\"busy\" : %d}", s);
}

static void
begin(struct ds_rest *rest, const json_t *p, const char *message, const struct ds_value *file,
      int lease_s)
{
    ds_autoconversation c = {0};
    ds_automessages rows = {0};
    ds_autobuf out = DS_BUF_INIT, cursor = DS_BUF_INIT;
    struct ds_place after = {0}, before = {.id = message};
    if (!own_conversation(rest, p, &c))
        return;
    int found = ds_message_find(rest, &c, message, &before.us);
    before.set = found > 0;
    if (found == 0 && lease_s > 0)
        refuse_turn(rest, p, &c, &out);
    if (found < 0 || out.len) {
        if (out.len)
            ds_rest_reply_value(rest, &out);
        return;
    }
    if (!ds_place_read(rest, ds_chat_text(p, "after"), &after) ||
        !ds_messages_read(rest, &c, &after, &before, TURNS_MAX, &rows) ||
        (!found && !ds_message_next(rest, &c, &before.us)) ||
        !begin_turn(rest, p, &c, message, found > 0, before.us, lease_s) ||
        !note_file(rest, &c, file))
        return;
    ds_place_print(&cursor, before.us, message);
    ds_buf_adds(&out, "{\"at\" : ");
    ds_value_write(&out, DS_TIME, &(struct ds_value){DS_VALUE_NUMBER, before.us, NULL});
    ds_buf_addf(&out, ", \"turns\" : [%s], \"more\" : %s, \"cursor\" : %s}",
                rows.turns.data ? rows.turns.data : "", rows.more ? "true" : "false",
                rows.more ? rows.place.data : cursor.data);
    ds_rest_reply_value(rest, &out);
}

void
ds_rest_chat_begin(struct ds_rest *rest, const json_t *body)
{
    static const struct member members[] = {{"id", 's', true},        {"message", 's', true},
                                            {"holder", 's', true},    {"title", 's', false},
                                            {"about", 'o', false},    {"file_id", 's', false},
                                            {"metadata", 'o', false}, {"lease_s", 'n', false},
                                            {"after", 's', false},    {0}};
    const json_t *p = take_p(rest, body, members);
    struct ds_value message = DS_NULL, file = DS_NULL;
    int lease_s = 0;
    if (!p)
        return;
    if (take_uuid(rest, p, "message", &message) && take_uuid(rest, p, "file_id", &file)) {
        if (whole_number(p, "lease_s", 1, DS_LEASE_MAX_S, 0, &lease_s) && is_content(p))
            begin(rest, p, message.text, &file, lease_s);
        else
            ds_rest_fail(rest, "22023", NULL, NULL, "p: lease_s or content out of range");
    }
    ds_value_fini(&message);
    ds_value_fini(&file);
}

/* ---- supafs_chat_lease, supafs_chat_end, supafs_chat_close ---- */

/* Gives it back, or keeps it; only its holder's. False: answered. */
static bool
change_lease(struct ds_rest *rest, struct ds_conversation *c, const char *holder, int s, bool *held)
{
    *held = c->rowid && ds_conversation_is_held(c, holder);
    if (!*held)
        return true;
    if (s > 0)
        ds_conversation_lease(rest, c, holder, s);
    else
        json_object_del(c->ours, "lease");
    return ds_conversation_save(rest, c);
}

void
ds_rest_chat_lease(struct ds_rest *rest, const json_t *body)
{
    static const struct member members[] = {
        {"id", 's', true}, {"holder", 's', true}, {"lease_s", 'n', true}, {0}};
    const json_t *p = take_p(rest, body, members);
    ds_autoconversation c = {0};
    ds_autobuf out = DS_BUF_INIT;
    bool held;
    int s;
    if (!p)
        return;
    if (!whole_number(p, "lease_s", 0, DS_LEASE_MAX_S, 0, &s)) {
        ds_rest_fail(rest, "22023", NULL, NULL, "p: lease_s out of range");
        return;
    }
    if (!ds_conversation_find(rest, ds_chat_text(p, "id"), &c) ||
        !change_lease(rest, &c, ds_chat_text(p, "holder"), s, &held))
        return;
    ds_buf_addf(&out, "{\"held\": %s}", held ? "true" : "false");
    ds_rest_reply_value(rest, &out);
}

/* The answer's metadata; NULL = no memory. */
static json_t *
answer_metadata(const json_t *p, const char *to)
{
    const json_t *given = json_object_get(p, "metadata");
    json_t *metadata = json_is_object(given) ? json_deep_copy(given) : json_object();
    if (metadata && !json_is_object(json_object_get(metadata, "supafs")))
        json_object_set_new(metadata, "supafs", json_object());
    json_object_set_new(json_object_get(metadata, "supafs"), "to", json_string(to));
    return metadata;
}

static void
end(struct ds_rest *rest, const json_t *p, const char *to, const char *message)
{
    ds_autoconversation c = {0};
    ds_autojson *metadata = answer_metadata(p, to);
    ds_autobuf out = DS_BUF_INIT;
    int64_t us;
    bool held;
    if (!metadata || !ds_conversation_find(rest, ds_chat_text(p, "id"), &c))
        return;
    int found = c.rowid ? ds_message_find(rest, &c, to, &us) : 0;
    if (found == 0)
        ds_rest_fail(rest, "23503", NULL, NULL, "there is no such question");
    if (found <= 0 || !ds_message_add(rest, &c, message, "assistant", p, us + 1, metadata) ||
        !change_lease(rest, &c, ds_chat_text(p, "holder"), 0, &held))
        return;
    ds_buf_adds(&out, "{\"at\": ");
    ds_value_write(&out, DS_TIME, &(struct ds_value){DS_VALUE_NUMBER, us + 1, NULL});
    ds_buf_adds(&out, ", \"cursor\": ");
    ds_place_print(&out, us + 1, message);
    ds_buf_adds(&out, "}");
    ds_rest_reply_value(rest, &out);
}

void
ds_rest_chat_end(struct ds_rest *rest, const json_t *body)
{
    static const struct member members[] = {{"id", 's', true},        {"holder", 's', true},
                                            {"to", 's', true},        {"message", 's', true},
                                            {"metadata", 'o', false}, {0}};
    const json_t *p = take_p(rest, body, members);
    struct ds_value to = DS_NULL, message = DS_NULL;
    if (!p)
        return;
    if (take_uuid(rest, p, "to", &to) && take_uuid(rest, p, "message", &message)) {
        if (is_content(p))
            end(rest, p, to.text, message.text);
        else
            ds_rest_fail(rest, "22023", NULL, NULL, "p: content must be a text");
    }
    ds_value_fini(&to);
    ds_value_fini(&message);
}

void
ds_rest_chat_close(struct ds_rest *rest, const json_t *body)
{
    static const struct member members[] = {{"id", 's', true}, {0}};
    const json_t *p = take_p(rest, body, members);
    ds_autoconversation c = {0};
    ds_autobuf out = DS_BUF_INIT;
    if (!p || !ds_conversation_find(rest, ds_chat_text(p, "id"), &c))
        return;
    if (c.rowid) {
        json_object_del(c.ours, "lease");
        json_object_set_new(c.ours, "closed", json_true());
        if (!ds_conversation_save(rest, &c))
            return;
    }
    ds_buf_addf(&out, "{\"closed\": %s}", c.rowid ? "true" : "false");
    ds_rest_reply_value(rest, &out);
}
