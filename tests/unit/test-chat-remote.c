/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Conversations in the project's tables: what is asked, what is believed, rows to turns and back
 * (docs/formats/chat.md: K4 to K8, K10), and when nobody asks any more. */
#include "chat/remote.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"

#define AT_MS INT64_C(1795327803120) /* 2026-11-22T06:10:03.120Z */
#define TIME  "2026-11-22T06:10:03.120Z"
#define Q     "00000000-0000-4000-8000-000000000001"
#define A     "00000000-0000-4000-8000-000000000002"

/* A database that says what it is told to, one thing after the other. */
static struct {
    const char *says[4];
    int rc;
    unsigned calls;
    char asked[2000]; /* functions and arguments, one after the other */
} db;

static struct sf_chat_remote *remote;

static int
call(void *arg, const char *function, json_t *args, int64_t deadline_ms, json_t **answer,
     struct sf_err *err)
{
    (void)arg;
    assert_int_equal(deadline_ms, 77);
    char *text = json_dumps(json_object_get(args, "p"), JSON_COMPACT | JSON_SORT_KEYS);
    size_t n = strlen(db.asked);
    snprintf(db.asked + n, sizeof db.asked - n, "%s%s", function + strlen("supafs_chat_"), text);
    free(text);
    json_decref(args);
    if (db.rc) {
        db.calls++;
        return sf_err_set(err, db.rc, "as the test says");
    }
    *answer = json_loads(db.says[db.calls++], 0, NULL);
    assert_non_null(*answer);
    return 0;
}

static void
says(const char *one, const char *two)
{
    memset(&db, 0, sizeof db);
    db.says[0] = one;
    db.says[1] = two;
}

static int
setup(void **state)
{
    const struct sf_functions_peer peer = {.call = call};
    (void)state;
    memset(&db, 0, sizeof db);
    return sf_chat_remote_new(NULL, &peer, "me", &remote);
}

static int
teardown(void **state)
{
    (void)state;
    sf_chat_remote_free(remote);
    return 0;
}

/* ---- rows -------------------------------------------------------------------------------------
 */

static struct sf_chat_record
a_turn(enum sf_chat_kind kind, const char *text)
{
    struct sf_chat_record r = {.turn = {.kind = kind, .at_ms = AT_MS}};
    assert_int_equal(sf_buf_puts(&r.turn.text, text), 0);
    return r;
}

static void
note(struct sf_chat_notes *notes, const char *key, const char *value)
{
    assert_int_equal(sf_chat_note_add(notes, key, value), 0);
}

static void
expect_printed(const struct sf_chat_records *turns, const char *want)
{
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    for (size_t i = 0; i < turns->len; i++)
        assert_int_equal(sf_chat_print_turn(&out, &turns->data[i].turn), 0);
    assert_string_equal(sf_buf_str(&out), want);
}

/* The turns as a row of the tables: JSON; and back again, at another time of the database's. */
static void
there_and_back(const struct sf_chat_record *turns, size_t n, const char *role, const char *row)
{
    json_t *content = NULL, *metadata = NULL;
    struct sf_chat_records got = {.len = 0};
    assert_int_equal(sf_chat_row_write(turns, n, &content, &metadata), 0);
    json_t *o = json_pack("{s:o, s:o}", "content", content, "metadata", metadata);
    char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text, row);
    free(text);
    json_object_set_new(o, "id", json_string(A));
    json_object_set_new(o, "role", json_string(role));
    json_object_set_new(o, "at", json_string("2027-01-01T00:00:00.000001Z"));
    assert_int_equal(sf_chat_row_read(o, &got), 0);
    assert_int_equal(got.len, n);
    for (size_t i = 0; i < n; i++) {
        sf_autobuf struct sf_buf was = SF_BUF_INIT, is = SF_BUF_INIT;
        assert_int_equal(sf_chat_print_turn(&was, &turns[i].turn), 0);
        assert_int_equal(sf_chat_print_turn(&is, &got.data[i].turn), 0);
        assert_string_equal(was.data, is.data);
    }
    sf_chat_records_free(&got);
    json_decref(o);
}

static void
test_question(void **state)
{
    struct sf_chat_record q = a_turn(SF_CHAT_USER, "Why \xe2\x82\xac?");
    (void)state;
    note(&q.turn.above, "set", "model kimi-k2");
    there_and_back(
        &q, 1, "user",
        "{\"content\":\"Why \xe2\x82\xac?\",\"metadata\":{\"supafs\":{\"above\":[[\"set\",\"model "
        "kimi-k2\"]],\"at\":\"" TIME "\"}}}");
    sf_chat_record_fini(&q);
}

static void
test_answer(void **state)
{
    struct sf_chat_record t[3] = {a_turn(SF_CHAT_REASONING, "Hm."),
                                  a_turn(SF_CHAT_ASSISTANT, "Yes"),
                                  a_turn(SF_CHAT_ERROR, "The stream broke.")};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        t[i].turn.provider = strdup("kimi");
        t[i].turn.model = strdup("kimi-k2");
    }
    note(&t[1].turn.below, "end", "incomplete");
    note(&t[1].turn.below, "usage", "prompt=100 cached=90 answer=7 reasoning=3");
    note(&t[2].turn.below, "errno", "EIO");
    there_and_back(
        t, 3, "assistant",
        "{\"content\":\"Yes\",\"metadata\":{\"model\":\"kimi-k2\",\"provider\":\"kimi\",\"supafs\":"
        "{"
        "\"at\":\"" TIME "\",\"below\":[[\"end\",\"incomplete\"],[\"usage\",\"prompt=100 cached=90 "
        "answer=7 reasoning=3\"]],\"error\":{\"at\":\"" TIME
        "\",\"below\":[[\"errno\",\"EIO\"]],\"text\":\"The stream broke.\"},\"reasoning\":\"Hm.\"},"
        "\"tokens\":107,\"usage\":{\"cached_tokens\":90,\"completion_tokens\":7,\"prompt_tokens\":"
        "100,"
        "\"reasoning_tokens\":3}}}");
    /* An empty answer is one; before an error there may be none. */
    sf_buf_clear(&t[1].turn.text);
    json_t *content = NULL, *metadata = NULL;
    assert_int_equal(sf_chat_row_write(t + 1, 1, &content, &metadata), 0);
    assert_string_equal(json_string_value(content), "");
    json_decref(content);
    json_decref(metadata);
    there_and_back(t + 2, 1, "assistant",
                   "{\"content\":null,\"metadata\":{\"model\":\"kimi-k2\",\"provider\":\"kimi\","
                   "\"supafs\":{\"at\":"
                   "\"" TIME "\",\"error\":{\"at\":\"" TIME
                   "\",\"below\":[[\"errno\",\"EIO\"]],\"text\":\"The stream broke.\"}}}}");
    for (size_t i = 0; i < 3; i++)
        sf_chat_record_fini(&t[i]);
}

static void
test_no_rows(void **state)
{
    static const enum sf_chat_kind wrong[][3] = {
        {SF_CHAT_DRAFT, SF_CHAT_KINDS},
        {SF_CHAT_DRY_RUN, SF_CHAT_KINDS},
        {SF_CHAT_SYSTEM, SF_CHAT_KINDS},
        {SF_CHAT_REASONING, SF_CHAT_KINDS},
        {SF_CHAT_USER, SF_CHAT_ASSISTANT, SF_CHAT_KINDS},
        {SF_CHAT_ASSISTANT, SF_CHAT_REASONING, SF_CHAT_KINDS},
        {SF_CHAT_ERROR, SF_CHAT_ASSISTANT, SF_CHAT_KINDS},
        {SF_CHAT_ASSISTANT, SF_CHAT_ASSISTANT, SF_CHAT_KINDS},
    };
    json_t *content = NULL, *metadata = NULL;
    (void)state;
    assert_int_equal(sf_chat_row_write(NULL, 0, &content, &metadata), -EINVAL);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct sf_chat_record t[3] = {{.number = 0}};
        size_t n = 0;
        for (; n < 3 && wrong[i][n] != SF_CHAT_KINDS; n++)
            t[n].turn.kind = wrong[i][n];
        assert_int_equal(sf_chat_row_write(t, n, &content, &metadata), -EINVAL);
    }
    struct sf_chat_record bad = a_turn(SF_CHAT_USER, "\xff");
    assert_int_equal(sf_chat_row_write(&bad, 1, &content, &metadata), -EINVAL);
    assert_null(content);
    sf_chat_record_fini(&bad);
}

/* K10, T1: rows of others are turns, and steer no terminal. */
static void
test_rows_of_others(void **state)
{
#define ROW(rest) "{\"id\":\"7\",\"at\":\"2026-11-22T06:10:03.120001Z\"," rest "}"
    static const struct {
        const char *row, *shown; /* NULL = it is no row */
    } rows[] = {
        {ROW("\"role\":\"user\",\"content\":\"hi\""), "\n## user " TIME "\n\nhi\n"},
        {ROW("\"role\":\"user\",\"content\":null,\"metadata\":null"), "\n## user " TIME "\n\n\n"},
        {ROW("\"role\":\"user\",\"content\":7,\"metadata\":[]"), "\n## user " TIME "\n\n\n"},
        {ROW("\"role\":\"tool\",\"content\":\"r\""),
         "\n## system " TIME "\n> supafs: role tool\n\nr\n"},
        {ROW("\"role\":\"system\",\"content\":\"## user x\""),
         "\n## system " TIME "\n\n\\## user x\n"},
        {ROW("\"role\":\"assistant\",\"content\":\"a\\u001b[2J\\r\\nb\\r\""),
         "\n## assistant " TIME "\n\na\xef\xbf\xbd[2J\nb\xef\xbf\xbd\n"},
        {ROW("\"role\":\"assistant\",\"content\":\"a\",\"metadata\":{\"model\":\"m "
             "\\u001b\",\"provider\":\"\"}"),
         "\n## assistant " TIME " - m\\040\\033\n\na\n"},
        {ROW("\"role\":\"assistant\",\"content\":\"a\",\"metadata\":{\"supafs\":7}"),
         "\n## assistant " TIME "\n\na\n"},
        {ROW("\"role\":\"assistant\",\"content\":\"a\",\"metadata\":{\"supafs\":{\"at\":\"x\","
             "\"to\":[],\"error\":"
             "\"x\",\"reasoning\":7,\"above\":[7,[],[\"K\",\"v\"],[\"k\",7],[\"k\",\"\\u001b\"]],"
             "\"below\":{}}}"),
         "\n## assistant " TIME "\n> supafs: k \\033\n\na\n"},
        /* Only an answer has reasoning and errors. */
        {ROW("\"role\":\"user\",\"content\":\"a\",\"metadata\":{\"supafs\":{\"error\":{\"text\":"
             "\"e\"},"
             "\"reasoning\":\"r\"}}"),
         "\n## user " TIME "\n\na\n"},
        {ROW("\"role\":\"assistant\",\"metadata\":{\"supafs\":{\"error\":{}}}"),
         "\n## error " TIME "\n\n\n"},
        {"{}", NULL},
        {"[]", NULL},
        {"{\"id\":\"7\",\"role\":\"user\",\"at\":\"yesterday\"}", NULL},
        {"{\"id\":\"7\",\"role\":\"user\"}", NULL},
        {"{\"id\":7,\"role\":\"user\",\"at\":\"" TIME "\"}", NULL},
        {"{\"id\":\"" Q "-\",\"role\":\"user\",\"at\":\"" TIME "\"}", NULL},
        {"{\"id\":\"7\",\"role\":7,\"at\":\"" TIME "\"}", NULL},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sf_chat_records got = {.len = 0};
        json_t *row = json_loads(rows[i].row, 0, NULL);
        assert_non_null(row);
        int rc = sf_chat_row_read(row, &got);
        if (rc != (rows[i].shown ? 0 : -EINVAL))
            fail_msg("%s: %d", rows[i].row, rc);
        expect_printed(&got, rows[i].shown ? rows[i].shown : "");
        sf_chat_records_free(&got);
        json_decref(row);
    }
}

/* ---- calls ------------------------------------------------------------------------------------
 */

#define ROW_OF(id, text)                                                                           \
    "{\"id\":\"" id "\",\"role\":\"user\",\"at\":\"" TIME "\",\"content\":\"" text                 \
    "\",\"metadata\":{}}"
#define SHOWN(text) "\n## user " TIME "\n\n" text "\n"

static int
begin(unsigned lease_s, const char *cursor, struct sf_chat_read *out, unsigned *busy_s)
{
    struct sf_chat_record q = a_turn(SF_CHAT_USER, "Why?");
    snprintf(q.message, sizeof q.message, "%s", Q);
    const struct sf_chat_begin b = {
        .id = "stem-3",
        .title = "a.pdf",
        .about = {.stem = "stem", .generation = 3, .bucket = "b", .key = "a.pdf"},
        .question = &q,
        .lease_s = lease_s,
        .cursor = cursor};
    int rc = sf_chat_remote_begin(remote, &b, 77, out, busy_s);
    sf_chat_record_fini(&q);
    return rc;
}

#define BEGIN                                                                                      \
    "begin{\"about\":{\"bucket\":\"b\",\"generation\":3,\"key\":\"a.pdf\",\"stem\":\"stem\"},%s"   \
    "\"content\":\"Why?\",\"holder\":\"me\",\"id\":\"stem-3\",%s\"message\":\"" Q                  \
    "\",\"metadata\":{\"supafs\":{\"at\":\"" TIME "\"}},\"title\":\"a.pdf\"}"

static void
test_begin(void **state)
{
    struct sf_chat_read read = {.more = false};
    char want[600];
    unsigned busy_s = 0;
    (void)state;
    assert_string_equal(sf_chat_remote_state(remote), "waiting");
    says("{\"at\":\"x\",\"turns\":[" ROW_OF("1", "one") ",7," ROW_OF(
             Q, "Why?") "],\"cursor\":\"c\",\"more\":false}",
         NULL);
    assert_int_equal(begin(30, NULL, &read, &busy_s), SF_CHAT_BEGUN);
    expect_printed(&read.turns, SHOWN("one"));
    assert_string_equal(read.cursor, "c");
    snprintf(want, sizeof want, BEGIN, "", "\"lease_s\":30,");
    assert_string_equal(db.asked, want);
    assert_string_equal(sf_chat_remote_state(remote), "on");
    sf_chat_read_fini(&read);

    /* One that was asked while the tables were away, behind what was read. */
    says("{\"turns\":[],\"cursor\":\"d\",\"more\":false}", NULL);
    assert_int_equal(begin(0, "c", &read, &busy_s), SF_CHAT_BEGUN);
    snprintf(want, sizeof want, BEGIN, "\"after\":\"c\",", "");
    assert_string_equal(db.asked, want);
    sf_chat_read_fini(&read);

    says("{\"busy\":7}", NULL);
    assert_int_equal(begin(30, NULL, &read, &busy_s), SF_CHAT_BUSY);
    assert_int_equal(busy_s, 7);
    says("{\"busy\":0}", NULL);
    assert_int_equal(begin(30, NULL, &read, &busy_s), SF_CHAT_BUSY);
    assert_int_equal(busy_s, 1);
    says("{\"closed\":true}", NULL);
    assert_int_equal(begin(30, NULL, &read, &busy_s), SF_CHAT_CLOSED);
    assert_null(read.cursor);
}

/* K6: all earlier turns, however many there are. */
static void
test_begin_pages(void **state)
{
    struct sf_chat_read read = {.more = false};
    unsigned busy_s;
    (void)state;
    says("{\"turns\":[" ROW_OF("1", "one") "],\"cursor\":\"c1\",\"more\":true}",
         "{\"turns\":[" ROW_OF("2", "two") "],\"late\":[],\"cursor\":\"c2\",\"more\":true}");
    db.says[2] =
        "{\"turns\":[" ROW_OF("3", "three") "," ROW_OF(Q, "Why?") "],\"late\":[],\"cursor\":\"c3\","
                                                                  "\"more\":false}";
    assert_int_equal(begin(30, NULL, &read, &busy_s), SF_CHAT_BEGUN);
    assert_int_equal(db.calls, 3);
    expect_printed(&read.turns, SHOWN("one") SHOWN("two") SHOWN("three"));
    assert_string_equal(read.cursor, "c3");
    assert_non_null(
        strstr(db.asked, "turns{\"after\":\"c1\",\"id\":\"stem-3\"}turns{\"after\":\"c2\""));
    sf_chat_read_fini(&read);
    /* What stops in the middle is a failure. */
    says("{\"turns\":[" ROW_OF("1", "one") "],\"cursor\":\"c1\",\"more\":true}",
         "{\"turns\":[],\"more\":true}");
    assert_int_equal(begin(30, NULL, &read, &busy_s), -EPROTO);
    assert_null(read.cursor);
}

static void
test_turns(void **state)
{
    char *ids[] = {(char[]){"u1"}, (char[]){"u2"}};
    struct sf_chat_ids unanswered = {.data = ids, .len = 2};
    struct sf_chat_read read = {.more = false};
    (void)state;
    says("{\"turns\":[" ROW_OF("2", "two") "],\"late\":[" ROW_OF(
             "1", "one") "],\"cursor\":\"d\",\"more\":true}",
         NULL);
    assert_int_equal(sf_chat_remote_turns(remote, "x", "c", &unanswered, 77, &read), 0);
    assert_string_equal(db.asked,
                        "turns{\"after\":\"c\",\"id\":\"x\",\"unanswered\":[\"u1\",\"u2\"]}");
    expect_printed(&read.turns, SHOWN("one") SHOWN("two"));
    assert_true(read.more);
    sf_chat_read_fini(&read);
    says("{\"turns\":[],\"cursor\":null,\"more\":false}", NULL);
    assert_int_equal(sf_chat_remote_turns(remote, "x", NULL, &unanswered, 77, &read), 0);
    assert_string_equal(db.asked, "turns{\"id\":\"x\"}");
    assert_null(read.cursor);
    sf_chat_read_fini(&read);
}

static void
test_find(void **state)
{
    struct sf_chat_found f;
    (void)state;
    says("{\"conversation\":null}", NULL);
    assert_int_equal(sf_chat_remote_find(remote, "stem", NULL, 77, &f), -ENOENT);
    assert_string_equal(db.asked, "find{\"stem\":\"stem\"}");
    says("{\"conversation\":{\"id\":\"stem-12\",\"title\":null,\"updated\":\"" TIME
         "\",\"closed\":true,\"about\":{\"bucket\":\"b\",\"key\":\"k\",\"provider\":7}}}",
         NULL);
    assert_int_equal(sf_chat_remote_find(remote, "stem", NULL, 77, &f), 0);
    assert_string_equal(f.id, "stem-12");
    assert_int_equal(f.generation, 12);
    assert_int_equal(f.updated_ms, AT_MS);
    assert_true(f.closed);
    assert_string_equal(f.key, "k");
    assert_null(f.provider);
    sf_chat_found_fini(&f);
    says("{\"conversation\":{\"id\":\"any\",\"about\":{}}}", NULL);
    assert_int_equal(sf_chat_remote_find(remote, NULL, "any", 77, &f), 0);
    assert_string_equal(db.asked, "find{\"id\":\"any\"}");
    assert_int_equal(f.generation, 0);
    sf_chat_found_fini(&f);
}

static void
test_rest_of_them(void **state)
{
    struct sf_chat_record t[2] = {a_turn(SF_CHAT_REASONING, "Hm."),
                                  a_turn(SF_CHAT_ASSISTANT, "Yes.")};
    char *cursor = NULL;
    (void)state;
    snprintf(t[1].message, sizeof t[1].message, "%s", A);
    snprintf(t[1].to, sizeof t[1].to, "%s", Q);
    says("{\"at\":\"x\",\"cursor\":\"c\"}", NULL);
    assert_int_equal(sf_chat_remote_end(remote, "x", t, 2, 77, &cursor), 0);
    assert_string_equal(cursor, "c");
    free(cursor);
    assert_non_null(strstr(
        db.asked, "end{\"content\":\"Yes.\",\"holder\":\"me\",\"id\":\"x\",\"message\":\"" A));
    assert_non_null(strstr(db.asked, "\"to\":\"" Q "\"}"));
    for (size_t i = 0; i < 2; i++)
        sf_chat_record_fini(&t[i]);
    says("{\"held\":true}", "{\"held\":false}");
    assert_int_equal(sf_chat_remote_lease(remote, "x", 30, 77), 1);
    assert_int_equal(sf_chat_remote_lease(remote, "x", 0, 77), 0);
    assert_string_equal(db.asked, "lease{\"holder\":\"me\",\"id\":\"x\",\"lease_s\":30}"
                                  "lease{\"holder\":\"me\",\"id\":\"x\",\"lease_s\":0}");
    says("{\"closed\":true}", "{\"closed\":false}");
    assert_int_equal(sf_chat_remote_close(remote, "x", 77), 0);
    assert_int_equal(sf_chat_remote_close(remote, "x", 77), -ENOENT);
}

/* ---- failures ---------------------------------------------------------------------------------
 */

static void
test_odd_answers(void **state)
{
    static const char *const odd[] = {"{}",
                                      "[]",
                                      "{\"turns\":7,\"cursor\":\"c\",\"more\":false}",
                                      "{\"turns\":[],\"cursor\":7,\"more\":false}",
                                      "{\"turns\":[],\"cursor\":\"c\",\"more\":7}",
                                      "{\"turns\":[],\"cursor\":\"c\",\"more\":true}",
                                      "{\"conversation\":7}",
                                      "{\"conversation\":{\"id\":\"../x\"}}",
                                      "{\"held\":7,\"closed\":0,\"cursor\":[]}"};
    struct sf_chat_record a = a_turn(SF_CHAT_ASSISTANT, "Yes.");
    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        for (unsigned f = 0; f < 6; f++) {
            struct sf_chat_read read = {.more = false};
            struct sf_chat_found found;
            char *cursor = NULL;
            unsigned busy_s;
            void *none = NULL;
            int rc;
            teardown(&none);
            setup(&none);
            says(odd[i], NULL);
            switch (f) {
            case 0:
                rc = sf_chat_remote_find(remote, "s", NULL, 77, &found);
                break;
            case 1:
                rc = sf_chat_remote_turns(remote, "x", "c", NULL, 77, &read);
                break;
            case 2:
                rc = begin(30, NULL, &read, &busy_s);
                break;
            case 3:
                rc = sf_chat_remote_lease(remote, "x", 1, 77);
                break;
            case 4:
                rc = sf_chat_remote_end(remote, "x", &a, 1, 77, &cursor);
                break;
            default:
                rc = sf_chat_remote_close(remote, "x", 77);
            }
            /* The page with a cursor is an end's answer, too. */
            if (f == 4 && rc == 0) {
                assert_string_equal(cursor, "c");
                free(cursor);
                continue;
            }
            if (rc != -EPROTO)
                fail_msg("%s of %u: %d", odd[i], f, rc);
            assert_string_equal(sf_chat_remote_state(remote), "unreachable");
        }
    sf_chat_record_fini(&a);
}

/* K8: who cannot answer is left alone for a while. */
static void
test_states(void **state)
{
    static const struct {
        int rc, then;
        const char *state;
    } cases[] = {{-ENOSYS, -ENOSYS, "missing"},
                 {-EACCES, -EAGAIN, "denied"},
                 {-EKEYEXPIRED, -EAGAIN, "denied"},
                 {-ECONNREFUSED, -EAGAIN, "unreachable"},
                 {-EFBIG, -EFBIG, "on"},
                 {-EINVAL, -EINVAL, "on"},
                 {-EEXIST, -EEXIST, "on"},
                 {-ENOENT, -ENOENT, "on"},
                 {-ECANCELED, -ECANCELED, "waiting"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *none = NULL;
        teardown(&none);
        setup(&none);
        db.rc = cases[i].rc;
        assert_int_equal(sf_chat_remote_lease(remote, "x", 1, 77), cases[i].rc);
        assert_string_equal(sf_chat_remote_state(remote), cases[i].state);
        assert_int_equal(sf_chat_remote_lease(remote, "x", 1, 77), cases[i].then);
        assert_int_equal(db.calls,
                         strcmp(cases[i].state, "on") && strcmp(cases[i].state, "waiting") ? 1 : 2);
    }
    /* Text that is no UTF-8 is not the tables' fault. */
    db.rc = 0;
    db.calls = 0;
    assert_int_equal(sf_chat_remote_lease(remote, "\xff", 1, 77), -EINVAL);
    assert_int_equal(db.calls, 0);
}

static void
test_without_tables(void **state)
{
    struct sf_chat_read read = {.more = false};
    struct sf_chat_found found;
    unsigned busy_s;
    (void)state;
    sf_chat_remote_free(remote);
    remote = NULL;
    assert_string_equal(sf_chat_remote_state(NULL), "off");
    assert_int_equal(sf_chat_remote_find(NULL, "s", NULL, 77, &found), -ENOSYS);
    assert_int_equal(sf_chat_remote_turns(NULL, "x", NULL, NULL, 77, &read), -ENOSYS);
    assert_int_equal(begin(30, NULL, &read, &busy_s), -ENOSYS);
    assert_int_equal(sf_chat_remote_lease(NULL, "x", 1, 77), -ENOSYS);
    assert_int_equal(sf_chat_remote_close(NULL, "x", 77), -ENOSYS);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_question),     T(test_answer),      T(test_no_rows), T(test_rows_of_others),
        T(test_begin),        T(test_begin_pages), T(test_turns),   T(test_find),
        T(test_rest_of_them), T(test_odd_answers), T(test_states),  T(test_without_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
