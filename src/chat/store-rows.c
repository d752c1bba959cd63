/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "chat/store-internal.h"

/* ---- keys ------------------------------------------------------------------------------------ */

bool
chats_stem_ok(const char *stem)
{
    size_t n = strnlen(stem, SF_CHAT_STEM_MAX + 1);
    return n > 0 && n <= SF_CHAT_STEM_MAX && sf_chat_id_ok(stem);
}

static void
add(struct key *k, const void *b, size_t n)
{
    memcpy(k->b + k->len, b, n);
    k->len += n;
}

static void
add_number(struct key *k, uint64_t n, size_t bytes)
{
    for (size_t i = bytes; i-- > 0;)
        k->b[k->len++] = (unsigned char)(n >> (8 * i));
}

uint64_t
chats_big_endian(const void *b, size_t n)
{
    const unsigned char *at = b;
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum = sum << 8 | at[i];
    return sum;
}

bool
chats_behind(const struct sf_buf *key, struct key *ret)
{
    if (key->len >= sizeof ret->b)
        return false;
    ret->len = 0;
    add(ret, key->data, key->len);
    ret->b[ret->len++] = 0;
    return true;
}

struct key
chats_text_key(const char *text)
{
    struct key k = {.len = 0};
    add(&k, text, strnlen(text, sizeof k.b));
    return k;
}

struct key
chats_time_key(uint64_t n)
{
    struct key k = {.len = 0};
    add_number(&k, n, 8);
    return k;
}

struct key
chats_number_key(const char *id, uint64_t number, const uint32_t *piece)
{
    struct key k = {.len = 0};
    add(&k, id, strnlen(id, SF_CHAT_ID_MAX));
    add(&k, "", 1);
    add_number(&k, number, 8);
    if (piece)
        add_number(&k, *piece, 4);
    return k;
}

bool
chats_number_read(const void *key, size_t len, char id[static SF_CHAT_ID_MAX + 1], uint64_t *number,
                  uint32_t *piece)
{
    const char *b = key;
    size_t tail = piece ? 12 : 8, n = strnlen(b, len);
    if (n == 0 || n > SF_CHAT_ID_MAX || len != n + 1 + tail)
        return false;
    char text[SF_CHAT_ID_MAX + 1];
    memcpy(text, b, n + 1);
    if (!sf_chat_id_ok(text))
        return false;
    memcpy(id, text, n + 1);
    *number = chats_big_endian(b + n + 1, 8);
    if (piece)
        *piece = (uint32_t)chats_big_endian(b + n + 9, 4);
    return true;
}

bool
chats_number_is_of(const struct sf_buf *key, const char *id, uint64_t *number)
{
    size_t n = strlen(id) + 1;
    if (key->len < n + 8 || memcmp(key->data, id, n) != 0)
        return false;
    *number = chats_big_endian(key->data + n, 8);
    return true;
}

struct key
chats_spent_key(int64_t day, const char *provider)
{
    struct key k = chats_time_key((uint64_t)day);
    if (provider)
        add(&k, provider, strnlen(provider, 64));
    return k;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

int
chats_object_write(struct sf_buf *out, json_t *object)
{
    sf_autofree char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text ? sf_buf_puts(out, text) : -ENOMEM;
}

json_t *
chats_object_read(const void *value, size_t len)
{
    json_t *o = json_loadb(value, len, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(o))
        return o;
    json_decref(o);
    return NULL;
}

int
chats_record_write(struct sf_buf *out, json_t *head, const char *text, size_t len)
{
    sf_autobuf struct sf_buf json = SF_BUF_INIT;
    int rc = chats_object_write(&json, head);
    unsigned char n[RECORD_HEAD];
    for (int i = 0; i < RECORD_HEAD; i++)
        n[i] = (unsigned char)(json.len >> (8 * i));
    if (!rc)
        rc = sf_buf_append(out, n, sizeof n);
    if (!rc)
        rc = sf_buf_append(out, json.data, json.len);
    return rc ? rc : sf_buf_append(out, text, len);
}

json_t *
chats_record_read(const void *value, size_t len, const char **text, size_t *text_len)
{
    const unsigned char *b = value;
    if (len < RECORD_HEAD)
        return NULL;
    size_t n = b[0] | (size_t)b[1] << 8 | (size_t)b[2] << 16 | (size_t)b[3] << 24;
    if (n > len - RECORD_HEAD)
        return NULL;
    *text = (const char *)b + RECORD_HEAD + n;
    *text_len = len - RECORD_HEAD - n;
    return chats_object_read(b + RECORD_HEAD, n);
}

/* Any text, also one that is no UTF-8. NULL for NULL, and without memory. */
static json_t *
text_json(const char *text)
{
    if (!text)
        return NULL;
    size_t n = strlen(text);
    if (sf_utf8_valid(text, n))
        return json_stringn(text, n);
    sf_autofree char *hex = malloc(2 * n + 1);
    if (!hex)
        return NULL;
    sf_hex_encode((const unsigned char *)text, n, hex);
    return json_pack("{s:s}", "hex", hex);
}

/* -EINVAL it is no text. */
static int
json_text(const json_t *json, char **ret)
{
    const char *text = json_string_value(json);
    const char *hex = json_string_value(json_object_get(json, "hex"));
    char *copy = NULL;
    if (text) {
        copy = strdup(text);
    } else if (hex) {
        size_t n = strlen(hex);
        copy = calloc(1, n / 2 + 1);
        if (copy && sf_hex_decode(hex, n, (unsigned char *)copy)) {
            free(copy);
            return -EINVAL;
        }
    } else {
        return -EINVAL;
    }
    if (!copy)
        return -ENOMEM;
    *ret = copy;
    return 0;
}

/* @ret: NULL for one that is absent. */
static bool
text_read(const json_t *o, const char *name, char **ret)
{
    const json_t *m = json_object_get(o, name);
    *ret = NULL;
    return !m || json_text(m, ret) == 0;
}

static int
set_text(json_t *o, const char *name, const char *text)
{
    if (!text || !*text)
        return 0;
    return json_object_set_new(o, name, text_json(text)) ? -ENOMEM : 0;
}

/* "" when it is absent or does not fit. */
static void
copy_text(const json_t *o, const char *name, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(o, name));
    size_t n = text ? strlen(text) : 0;
    if (n >= size)
        n = 0;
    memcpy(out, text ? text : "", n);
    out[n] = '\0';
}

static bool
int_read(const json_t *o, const char *name, int64_t *ret)
{
    const json_t *m = json_object_get(o, name);
    if (m && !json_is_integer(m))
        return false;
    *ret = json_integer_value(m);
    return true;
}

static bool
uint_read(const json_t *o, const char *name, uint64_t *ret)
{
    int64_t n;
    if (!int_read(o, name, &n) || n < 0)
        return false;
    *ret = (uint64_t)n;
    return true;
}

static int
set_int(json_t *o, const char *name, int64_t n)
{
    return n && json_object_set_new(o, name, json_integer(n)) ? -ENOMEM : 0;
}

static int
set_true(json_t *o, const char *name, bool is)
{
    return is && json_object_set_new(o, name, json_true()) ? -ENOMEM : 0;
}

/* ---- turns ----------------------------------------------------------------------------------- */

void
sf_chat_record_fini(struct sf_chat_record *k)
{
    sf_chat_turn_fini(&k->turn);
    *k = (struct sf_chat_record){0};
}

static int
set_notes(json_t *o, const char *name, const struct sf_chat_notes *notes)
{
    if (!notes->len)
        return 0;
    json_t *list = json_array();
    if (json_object_set_new(o, name, list))
        return -ENOMEM;
    for (size_t i = 0; i < notes->len; i++) {
        json_t *value = text_json(notes->data[i].value);
        if (!value || json_array_append_new(list, json_pack("[s, o]", notes->data[i].key, value)))
            return -ENOMEM;
    }
    return 0;
}

static int
read_notes(const json_t *list, struct sf_chat_notes *notes)
{
    int rc = list && !json_is_array(list) ? -EINVAL : 0;
    for (size_t i = 0; i < json_array_size(list) && !rc; i++) {
        const json_t *one = json_array_get(list, i);
        const char *key = json_string_value(json_array_get(one, 0));
        sf_autofree char *value = NULL;
        rc = key ? json_text(json_array_get(one, 1), &value) : -EINVAL;
        if (!rc)
            rc = sf_chat_note_add(notes, key, value);
    }
    return rc;
}

int
chats_turn_write(struct sf_buf *out, const struct sf_chat_record *k, uint64_t question)
{
    const struct sf_chat_turn *t = &k->turn;
    json_t *o =
        json_pack("{s:s, s:I}", "kind", sf_chat_kind_name(t->kind), "at", (json_int_t)t->at_ms);
    if (!o || set_text(o, "provider", t->provider) || set_text(o, "model", t->model) ||
        set_notes(o, "above", &t->above) || set_notes(o, "below", &t->below) ||
        set_text(o, "message", k->message) || set_text(o, "to", k->to) ||
        set_int(o, "question", (int64_t)question)) {
        json_decref(o);
        return -ENOMEM;
    }
    return chats_record_write(out, o, sf_buf_str(&t->text), t->text.len);
}

static int
kind_read(const json_t *o, enum sf_chat_kind *kind)
{
    const char *name = json_string_value(json_object_get(o, "kind"));
    for (int i = 0; name && i < SF_CHAT_KINDS; i++)
        if (!strcmp(name, sf_chat_kind_name((enum sf_chat_kind)i))) {
            *kind = (enum sf_chat_kind)i;
            return 0;
        }
    return -EINVAL;
}

int
chats_turn_read(const void *value, size_t len, struct sf_chat_record *out, uint64_t *question)
{
    struct sf_chat_record k = {.number = 0};
    const char *text = NULL;
    size_t n = 0;
    uint64_t asked = 0;
    json_t *o = chats_record_read(value, len, &text, &n);
    int rc = o ? kind_read(o, &k.turn.kind) : -EINVAL;
    if (!rc && (!int_read(o, "at", &k.turn.at_ms) || !sf_chat_time_ok(k.turn.at_ms) ||
                !text_read(o, "provider", &k.turn.provider) ||
                !text_read(o, "model", &k.turn.model) || !uint_read(o, "question", &asked)))
        rc = -EINVAL;
    if (!rc)
        rc = read_notes(json_object_get(o, "above"), &k.turn.above);
    if (!rc)
        rc = read_notes(json_object_get(o, "below"), &k.turn.below);
    if (!rc)
        rc = sf_buf_append(&k.turn.text, text, n);
    copy_text(o, "message", k.message, sizeof k.message);
    copy_text(o, "to", k.to, sizeof k.to);
    json_decref(o);
    if (rc) {
        sf_chat_record_fini(&k);
        return rc;
    }
    *out = k;
    if (question)
        *question = asked;
    return 0;
}

/* ---- conversations and names ----------------------------------------------------------------- */

void
sf_chat_conversation_fini(struct sf_chat_conversation *c)
{
    free(c->bucket);
    free(c->key);
    free(c->provider);
    free(c->title);
    free(c->cursor);
    for (size_t i = 0; i < c->unanswered.len; i++)
        free(c->unanswered.data[i]);
    sf_chat_ids_fini(&c->unanswered);
    *c = (struct sf_chat_conversation){0};
}

int
chats_conversation_write(struct sf_buf *out, const struct sf_chat_conversation *c)
{
    json_t *o = json_object();
    int rc = o ? 0 : -ENOMEM;
    if (!rc && (set_text(o, "bucket", c->bucket) || set_text(o, "key", c->key) ||
                set_text(o, "provider", c->provider) || set_text(o, "title", c->title) ||
                set_text(o, "cursor", c->cursor) || set_text(o, "sha256", c->sha256) ||
                set_int(o, "created", c->created_ms) || set_int(o, "last", (int64_t)c->last) ||
                set_true(o, "away", c->away)))
        rc = -ENOMEM;
    if (!rc && c->unanswered.len) {
        json_t *list = json_array();
        rc = json_object_set_new(o, "unanswered", list) ? -ENOMEM : 0;
        for (size_t i = 0; i < c->unanswered.len && !rc; i++)
            rc = json_array_append_new(list, json_string(c->unanswered.data[i])) ? -ENOMEM : 0;
    }
    if (rc) {
        json_decref(o);
        return rc;
    }
    return chats_object_write(out, o);
}

static int
add_id(struct sf_chat_ids *ids, const char *id)
{
    sf_autofree char *copy = strdup(id);
    int rc = copy ? sf_chat_ids_push(ids, copy) : -ENOMEM;
    if (!rc)
        (void)sf_steal(copy);
    return rc;
}

int
chats_conversation_read(const void *value, size_t len, struct sf_chat_conversation *out)
{
    struct sf_chat_conversation c = {.last = 0};
    json_t *o = chats_object_read(value, len);
    const json_t *list = json_object_get(o, "unanswered");
    int rc = 0;
    if (!o || !text_read(o, "bucket", &c.bucket) || !text_read(o, "key", &c.key) ||
        !text_read(o, "provider", &c.provider) || !text_read(o, "title", &c.title) ||
        !text_read(o, "cursor", &c.cursor) || !int_read(o, "created", &c.created_ms) ||
        !uint_read(o, "last", &c.last) || c.last > UINT64_C(1) << 53)
        rc = -EINVAL;
    copy_text(o, "sha256", c.sha256, sizeof c.sha256);
    c.away = json_is_true(json_object_get(o, "away"));
    for (size_t i = 0; i < json_array_size(list) && !rc; i++) {
        const char *id = json_string_value(json_array_get(list, i));
        rc = id ? add_id(&c.unanswered, id) : 0;
    }
    json_decref(o);
    if (rc) {
        sf_chat_conversation_fini(&c);
        return rc;
    }
    *out = c;
    return 0;
}

/* By its row, which has all of it. */
int
chats_conversation_copy(const struct sf_chat_conversation *from, struct sf_chat_conversation *to)
{
    sf_autobuf struct sf_buf row = SF_BUF_INIT;
    int rc = chats_conversation_write(&row, from);
    return rc ? rc : chats_conversation_read(row.data, row.len, to);
}

int
chats_name_write(struct sf_buf *out, const struct sf_chat_name *name)
{
    json_t *o = json_object();
    if (!o || set_text(o, "id", name->id) || set_int(o, "generation", (int64_t)name->generation) ||
        set_true(o, "empty", name->empty) || set_true(o, "gone", name->gone)) {
        json_decref(o);
        return -ENOMEM;
    }
    return chats_object_write(out, o);
}

bool
chats_name_read(const void *value, size_t len, struct sf_chat_name *out)
{
    struct sf_chat_name name = {.generation = 0};
    json_t *o = chats_object_read(value, len);
    copy_text(o, "id", name.id, sizeof name.id);
    name.empty = json_is_true(json_object_get(o, "empty"));
    name.gone = json_is_true(json_object_get(o, "gone"));
    bool good = o && sf_chat_id_ok(name.id) && uint_read(o, "generation", &name.generation);
    json_decref(o);
    if (good)
        *out = name;
    return good;
}

/* ---- the line, the outbox, what was spent ---------------------------------------------------- */

int
chats_draft_write(struct sf_buf *out, const struct sf_chat_draft *d)
{
    json_t *o = json_pack("{s:s, s:I, s:I}", "state", d->waiting ? "waiting" : "draft", "at",
                          (json_int_t)d->at_ms, "uid", (json_int_t)d->uid);
    if (!o || set_text(o, "id", d->id) || set_text(o, "stem", d->stem) ||
        set_int(o, "generation", (int64_t)d->generation) || set_text(o, "bucket", d->bucket) ||
        set_text(o, "key", d->key) || set_text(o, "provider", d->provider)) {
        json_decref(o);
        return -ENOMEM;
    }
    return chats_record_write(out, o, d->text ? d->text : "", d->len);
}

bool
chats_draft_read(const void *value, size_t len, struct sf_chat_draft *out, json_t **head)
{
    struct sf_chat_draft d = {.row = 0};
    json_t *o = chats_record_read(value, len, &d.text, &d.len);
    uint64_t uid = 0;
    d.id = json_string_value(json_object_get(o, "id"));
    d.stem = json_string_value(json_object_get(o, "stem"));
    d.bucket = json_string_value(json_object_get(o, "bucket"));
    d.key = json_string_value(json_object_get(o, "key"));
    d.provider = json_string_value(json_object_get(o, "provider"));
    const char *state = json_string_value(json_object_get(o, "state"));
    if (!d.id || !sf_chat_id_ok(d.id) || !state || !int_read(o, "at", &d.at_ms) ||
        !uint_read(o, "uid", &uid) || !uint_read(o, "generation", &d.generation) ||
        !sf_chat_time_ok(d.at_ms)) {
        json_decref(o);
        return false;
    }
    d.waiting = !strcmp(state, "waiting");
    d.uid = (uint32_t)uid;
    *out = d;
    *head = o;
    return true;
}

int
chats_told_write(struct sf_buf *out, const struct sf_chat_told *told)
{
    json_t *o = json_pack("{s:s}", "id", told->id);
    if (!o || set_int(o, "question", (int64_t)told->question) ||
        set_int(o, "answer", (int64_t)told->answer)) {
        json_decref(o);
        return -ENOMEM;
    }
    return chats_object_write(out, o);
}

bool
chats_told_read(const void *key, size_t key_len, const void *value, size_t len,
                struct sf_chat_told *out)
{
    struct sf_chat_told told = {.row = key_len == 8 ? chats_big_endian(key, 8) : 0};
    json_t *o = chats_object_read(value, len);
    copy_text(o, "id", told.id, sizeof told.id);
    bool good = o && told.row && sf_chat_id_ok(told.id) &&
                uint_read(o, "question", &told.question) && uint_read(o, "answer", &told.answer) &&
                (told.question || told.answer);
    json_decref(o);
    if (good)
        *out = told;
    return good;
}

int
chats_spent_write(struct sf_buf *out, const struct sf_chat_spent *spent)
{
    return chats_object_write(out, json_pack("{s:I, s:I, s:I}", "tokens", (json_int_t)spent->tokens,
                                             "price", (json_int_t)spent->price, "turns",
                                             (json_int_t)spent->turns));
}

bool
chats_spent_read(const void *value, size_t len, struct sf_chat_spent *out)
{
    struct sf_chat_spent spent;
    json_t *o = chats_object_read(value, len);
    bool good = o && int_read(o, "tokens", &spent.tokens) && int_read(o, "price", &spent.price) &&
                int_read(o, "turns", &spent.turns);
    json_decref(o);
    if (good)
        *out = spent;
    return good;
}
