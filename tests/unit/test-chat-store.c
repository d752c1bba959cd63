/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Conversations are there after the end of a process, whenever it was killed (docs/formats/chat.md:
 * K2, K3, K9; docs/formats/chats-store.md); damage is as if there was nothing; the bound holds. */
#include "chat/store.h"

#include <errno.h>
#include <ftw.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "store/env.h"

#define AT_MS INT64_C(1795327803120) /* 2026-11-22T06:10:03.120Z */
#define TIME  "2026-11-22T06:10:03.120Z"
#define ID    "abcdefghijklmnopqrstuvwx-1"

static char dir[64];
static struct sf_chat_store *st;
static uint64_t max_bytes, cache_bytes;

static void
reopen(void)
{
    struct sf_err err = SF_ERR_INIT;
    const struct sf_chat_store_opts o = {
        .state_dir = dir, .max_bytes = max_bytes, .cache_bytes = cache_bytes};
    sf_chat_store_close(st);
    st = NULL;
    if (sf_chat_store_open(&o, &st, &err))
        fail_msg("%s", err.msg);
}

static int
setup(void **state)
{
    (void)state;
    max_bytes = 8 << 20;
    cache_bytes = 1 << 20;
    snprintf(dir, sizeof dir, "/tmp/supafs-chats-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    reopen();
    return 0;
}

static int
remove_one(const char *path, const struct stat *s, int flag, struct FTW *f)
{
    (void)s, (void)flag, (void)f;
    return remove(path);
}

static int
teardown(void **state)
{
    (void)state;
    sf_chat_store_close(st);
    st = NULL;
    return nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- what is put in ---------------------------------------------------------------------------
 */

static struct sf_chat_record
a_turn(enum sf_chat_kind kind, const char *text)
{
    struct sf_chat_record r = {.turn = {.kind = kind, .at_ms = AT_MS}};
    assert_int_equal(sf_buf_puts(&r.turn.text, text), 0);
    return r;
}

static uint64_t line_row; /* of the prompt that begins */

/* A question, whose answer begins to come: its number. @told: the tables have the question. */
static uint64_t
begin(const char *id, const char *question, bool told)
{
    struct sf_chat_record q = a_turn(SF_CHAT_USER, question), a = a_turn(SF_CHAT_ASSISTANT, "");
    struct sf_chat_change c = {.id = id,
                               .turns = &q,
                               .n_turns = 1,
                               .begins = &a,
                               .question = told ? 0 : 1,
                               .line = line_row};
    snprintf(q.message, sizeof q.message, "message of the question");
    snprintf(a.message, sizeof a.message, "message of the answer");
    snprintf(a.to, sizeof a.to, "message of the question");
    a.turn.provider = strdup("kimi");
    a.turn.model = strdup("kimi k2");
    assert_int_equal(sf_chat_note_add(&a.turn.above, "file", "a\xff.txt tokens=7"), 0);
    assert_int_equal(sf_chat_store_change(st, &c), 0);
    assert_int_equal(a.number, q.number + 1);
    uint64_t number = a.number;
    sf_chat_record_fini(&q);
    sf_chat_record_fini(&a);
    return number;
}

static void
piece(const char *id, uint64_t number, uint32_t n, bool reasoning, const char *text)
{
    assert_int_equal(sf_chat_store_piece(st, id, number, n, reasoning, text, strlen(text)), 0);
}

static void
end(const char *id, uint64_t number, bool tell)
{
    struct sf_chat_record t[2] = {a_turn(SF_CHAT_REASONING, "Hm."),
                                  a_turn(SF_CHAT_ASSISTANT, "Yes.")};
    struct sf_chat_change c = {.id = id,
                               .turns = t,
                               .n_turns = 2,
                               .ends = number,
                               .answer = tell ? 2 : 0,
                               .spender = "kimi",
                               .day = 20000,
                               .spent = {.tokens = 100, .price = 7, .turns = 1}};
    struct sf_chat_told told = {.row = 0};
    assert_int_equal(sf_chat_note_add(&t[1].turn.below, "end", "stop"), 0);
    assert_int_equal(sf_chat_store_change(st, &c), 0);
    assert_int_equal(c.told != 0, tell);
    if (tell)
        assert_int_equal(sf_chat_store_untold(st, c.told - 1, &told), 0);
    assert_int_equal(told.row, c.told);
    for (size_t i = 0; i < 2; i++)
        sf_chat_record_fini(&t[i]);
}

static sem_t kept;
static int kept_rc;
static uint64_t kept_row;

static void
note_kept(void *arg, int rc, uint64_t row)
{
    (void)arg;
    kept_rc = rc;
    kept_row = row;
    sem_post(&kept);
}

/* The row of the line, 0 = kept_rc says why not. */
static uint64_t
draft(const char *id, uint64_t row, bool waiting, const char *text)
{
    struct sf_chat_draft d = {.row = row,
                              .id = id,
                              .stem = "abcdefghijklmnopqrstuvwx",
                              .generation = 1,
                              .bucket = "b",
                              .key = "dir/a.pdf",
                              .waiting = waiting,
                              .at_ms = AT_MS,
                              .uid = 1000,
                              .text = text,
                              .len = strlen(text)};
    sem_init(&kept, 0, 0);
    sf_chat_store_draft(st, &d, note_kept, NULL);
    sem_wait(&kept);
    return kept_row;
}

/* ---- what is there ----------------------------------------------------------------------------
 */

static int
print(void *arg, const struct sf_chat_record *r)
{
    return sf_chat_print_turn(arg, &r->turn);
}

static void
expect_turns(const char *id, uint64_t from, const char *want)
{
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    assert_int_equal(sf_chat_store_turns(st, id, from, print, &out), 0);
    assert_string_equal(sf_buf_str(&out), want);
}

#define QUESTION "\n## user " TIME "\n\nWhy?\n"
#define ABOVE    "> supafs: file a\\377.txt tokens=7\n"
#define CRASHED(text)                                                                              \
    "\n## assistant " TIME " kimi kimi\\040k2\n" ABOVE "\n" text "\n\n> supafs: end crashed\n"
#define ANSWER                                                                                     \
    "\n## reasoning " TIME "\n\nHm.\n\n## assistant " TIME "\n\nYes.\n\n> supafs: end stop\n"

static void
expect_untold(uint64_t question, uint64_t answer)
{
    struct sf_chat_told told;
    int rc = sf_chat_store_untold(st, 0, &told);
    assert_int_equal(rc, question || answer ? 0 : -ENOENT);
    if (rc)
        return;
    assert_string_equal(told.id, ID);
    assert_int_equal(told.question, question);
    assert_int_equal(told.answer, answer);
    assert_int_equal(sf_chat_store_untold(st, told.row, &told), -ENOENT);
}

static uint64_t
last_of(const char *id)
{
    struct sf_chat_conversation c;
    assert_int_equal(sf_chat_store_conversation(st, id, &c), 0);
    uint64_t last = c.last;
    sf_chat_conversation_fini(&c);
    return last;
}

/* ---- tests ------------------------------------------------------------------------------------
 */

static void
test_names(void **state)
{
    struct sf_chat_name n = {.id = ID, .generation = 1}, got;
    (void)state;
    assert_int_equal(sf_chat_store_name(st, "abcdefghijklmnopqrstuvwx", &got), -ENOENT);
    assert_int_equal(sf_chat_store_set_name(st, "abcdefghijklmnopqrstuvwx", &n, NULL), 0);
    begin(ID, "Why?", true);
    n = (struct sf_chat_name){.id = "other", .generation = 2, .empty = true};
    assert_int_equal(sf_chat_store_set_name(st, "abcdefghijklmnopqrstuvwx", &n, ID), 0);
    reopen();
    assert_int_equal(sf_chat_store_name(st, "abcdefghijklmnopqrstuvwx", &got), 0);
    assert_string_equal(got.id, "other");
    assert_int_equal(got.generation, 2);
    assert_true(got.empty && !got.gone);
    struct sf_chat_conversation c;
    assert_int_equal(sf_chat_store_conversation(st, ID, &c), 0);
    assert_true(c.away);
    sf_chat_conversation_fini(&c);
    /* Away with what is not there: the name changes all the same. */
    assert_int_equal(sf_chat_store_set_name(st, "abcdefghijklmnopqrstuvwx", &n, "none-7"), 0);
    assert_int_equal(sf_chat_store_name(st, "a/b", &got), -EINVAL);
    assert_int_equal(sf_chat_store_name(st, "", &got), -EINVAL);
    n.id[0] = '\0';
    assert_int_equal(sf_chat_store_set_name(st, "abc", &n, NULL), -EINVAL);
}

static void
test_a_turn(void **state)
{
    struct sf_chat_spent spent;
    (void)state;
    uint64_t n = begin(ID, "Why?", true);
    piece(ID, n, 1, true, "Hm.");
    piece(ID, n, 2, false, "Yes.");
    end(ID, n, false);
    expect_turns(ID, 0, QUESTION ANSWER);
    expect_untold(0, 0);
    reopen(); /* no piece is left */
    expect_turns(ID, 0, QUESTION ANSWER);
    expect_turns(ID, 2, ANSWER);
    expect_turns(ID, 5, "");
    expect_turns("none", 0, "");
    assert_int_equal(last_of(ID), 4);
    n = begin("other-1", "Why?", true);
    end("other-1", n, false);
    assert_int_equal(sf_chat_store_spent(st, 20000, "kimi", &spent), 0);
    assert_int_equal(spent.tokens, 200);
    assert_int_equal(spent.price, 14);
    assert_int_equal(spent.turns, 2);
    assert_int_equal(sf_chat_store_spent(st, 20000, NULL, &spent), 0);
    assert_int_equal(spent.tokens, 200);
    assert_int_equal(sf_chat_store_spent(st, 20001, NULL, &spent), 0);
    assert_int_equal(spent.tokens, 0);
    assert_int_equal(sf_chat_store_spent(st, 20000, "glm", &spent), 0);
    assert_int_equal(spent.turns, 0);
}

/* K8: what the tables do not have. */
static void
test_untold(void **state)
{
    struct sf_chat_told told;
    (void)state;
    uint64_t n = begin(ID, "Why?", true);
    end(ID, n, true);
    expect_untold(0, 4);
    assert_int_equal(sf_chat_store_untold(st, 0, &told), 0);
    assert_int_equal(sf_chat_store_tell(st, told.row), 0);
    assert_int_equal(sf_chat_store_tell(st, told.row), 0);
    expect_untold(0, 0);
    n = begin(ID, "Why?", false);
    expect_untold(0, 0); /* it is told with its answer */
    end(ID, n, true);
    expect_untold(5, 8);
    reopen();
    expect_untold(5, 8);
}

static void
test_conversations(void **state)
{
    char cursor[] = "c|1", bucket[] = "b", key[] = "k\xc3\xa4", title[] = "t", one[] = "u1";
    char *unanswered[] = {one};
    struct sf_chat_conversation c = {.bucket = bucket,
                                     .key = key,
                                     .title = title,
                                     .cursor = cursor,
                                     .sha256 = "abc",
                                     .unanswered = {.data = unanswered, .len = 1}};
    struct sf_chat_change change = {.id = ID, .now = &c};
    (void)state;
    begin(ID, "Why?", true);
    assert_int_equal(sf_chat_store_change(st, &change), 0);
    reopen();
    struct sf_chat_conversation got;
    assert_int_equal(sf_chat_store_conversation(st, ID, &got), 0);
    assert_string_equal(got.key, key);
    assert_string_equal(got.cursor, cursor);
    assert_string_equal(got.sha256, "abc");
    assert_null(got.provider);
    assert_int_equal(got.unanswered.len, 1);
    assert_string_equal(got.unanswered.data[0], "u1");
    assert_true(got.created_ms > 0);
    assert_true(got.last >= 2);
    sf_chat_conversation_fini(&got);
    change.id = "../x";
    assert_int_equal(sf_chat_store_change(st, &change), -EINVAL);
    assert_int_equal(sf_chat_store_conversation(st, "../x", &got), -EINVAL);
    assert_int_equal(sf_chat_store_conversation(st, "x", &got), -ENOENT);
}

static int
add_id(void *arg, const char *id)
{
    sf_buf_puts(arg, id);
    sf_buf_putc(arg, ' ');
    return 0;
}

static void
test_list(void **state)
{
    static const char *const ids[] = {"b-1", "a-1", "c-1", "b-10"};
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    (void)state;
    for (size_t i = 0; i < 4; i++)
        begin(ids[i], "Why?", true);
    assert_int_equal(sf_chat_store_list(st, "", 2, add_id, &out), 0);
    assert_string_equal(out.data, "a-1 b-1 ");
    assert_int_equal(sf_chat_store_list(st, "b-1", 9, add_id, &out), 0);
    assert_string_equal(out.data, "a-1 b-1 b-10 c-1 ");
}

/* More than is read in one transaction, and beside another conversation's. */
static void
test_many_turns(void **state)
{
    struct sf_chat_record turns[200];
    struct sf_chat_change c = {.id = "m-1", .turns = turns, .n_turns = 200};
    sf_autobuf struct sf_buf want = SF_BUF_INIT;
    (void)state;
    begin("m-0", "before", true);
    begin("m-2", "behind", true);
    for (size_t i = 0; i < 200; i++) {
        char text[16];
        snprintf(text, sizeof text, "%zu", i);
        turns[i] = a_turn(SF_CHAT_USER, text);
        assert_int_equal(sf_chat_print_turn(&want, &turns[i].turn), 0);
    }
    assert_int_equal(sf_chat_store_change(st, &c), 0);
    assert_int_equal(turns[199].number, 200);
    expect_turns("m-1", 0, want.data);
    for (size_t i = 0; i < 200; i++)
        sf_chat_record_fini(&turns[i]);
}

/* ---- killed ---- */

/* The first @steps of a turn. */
static void
live(unsigned steps)
{
    uint64_t row = steps > 0 ? draft(ID, 0, false, "Wh") : 0;
    if (steps > 1)
        assert_int_equal(draft(ID, row, true, "Why?"), row);
    uint64_t n = 0;
    line_row = row;
    if (steps > 2)
        n = begin(ID, "Why?", false);
    if (steps > 3)
        piece(ID, n, 1, false, "Y");
    if (steps > 4)
        piece(ID, n, 2, true, "Hm.");
    if (steps > 5)
        piece(ID, n, 3, false, "es");
    if (steps > 6)
        end(ID, n, true);
}

static void
killed(unsigned steps)
{
    sf_chat_store_close(st);
    st = NULL;
    pid_t pid = fork();
    if (pid == 0) {
        reopen();
        live(steps);
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

#define DRAFT(text, why) "\n## draft " TIME "\n> supafs: not-sent " why "\n\n" text "\n"
#define WRITING          "it was being written when supafs ended"
#define WAITED           "it waited when supafs ended"

/* K3, K9: behind every step, and killed a second time when it has just been opened. */
static void
test_killed(void **state)
{
    static const struct {
        const char *turns;
        uint64_t question, answer;
    } want[] = {
        {"", 0, 0},
        {DRAFT("Wh", WRITING), 0, 0},
        {DRAFT("Why?", WAITED), 0, 0},
        {QUESTION CRASHED(""), 1, 3},
        {QUESTION CRASHED("Y"), 1, 3},
        {QUESTION "\n## reasoning " TIME " kimi kimi\\040k2\n\nHm.\n" CRASHED("Y"), 1, 4},
        {QUESTION "\n## reasoning " TIME " kimi kimi\\040k2\n\nHm.\n" CRASHED("Yes"), 1, 4},
        {QUESTION ANSWER, 1, 4},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof want / sizeof *want; i++) {
        void *none = NULL;
        teardown(&none);
        setup(&none);
        killed(i);
        for (unsigned again = 0; again < 2; again++) {
            reopen();
            expect_turns(ID, 0, want[i].turns);
            expect_untold(want[i].question, want[i].answer);
            if (!again)
                killed(0);
        }
    }
}

/* A draft makes a conversation of which nothing else was known. */
static void
test_draft(void **state)
{
    (void)state;
    uint64_t gone = draft(ID, 0, false, "dropped");
    assert_true(draft(ID, 0, false, "one") > gone);
    draft("x-1", 0, true, "---\nmodel: m\n---\ntwo");
    assert_int_equal(sf_chat_store_forget(st, gone), 0);
    assert_int_equal(sf_chat_store_forget(st, gone), 0);
    assert_int_equal(draft("no id", 0, true, "x"), 0);
    assert_int_equal(kept_rc, -EINVAL);
    reopen();
    expect_turns(ID, 0, DRAFT("one", WRITING));
    expect_turns("x-1", 0, DRAFT("---\nmodel: m\n---\ntwo", WAITED));
    struct sf_chat_conversation c;
    assert_int_equal(sf_chat_store_conversation(st, "x-1", &c), 0);
    assert_string_equal(c.key, "dir/a.pdf");
    sf_chat_conversation_fini(&c);
}

/* ---- damage ---- */

static const char *const tables[] = {"names",  "conversations", "turns",   "running", "line",
                                     "outbox", "spent",         "answers", "texts"};
#define TABLES (sizeof tables / sizeof *tables)

struct plant {
    struct sf_env_write w;
    const char *value;
    size_t len;
    unsigned table; /* TABLES = all of them */
    bool keys;      /* the keys, too */
};

/* All rows of a table. */
static int
overwrite_one(struct sf_txn *txn, const struct plant *p, unsigned table)
{
    sf_autobuf struct sf_buf at = SF_BUF_INIT;
    sf_buf_putc(&at, '\0');
    for (unsigned i = 0; i < 20; i++) {
        sf_autobuf struct sf_buf found = SF_BUF_INIT;
        int rc = sf_txn_next(txn, table, at.data, at.len, &found, NULL);
        if (rc)
            return rc == -ENOENT ? 0 : rc;
        sf_buf_clear(&at);
        sf_buf_append(&at, found.data, found.len);
        if (p->keys) {
            char key[16] = {0};
            size_t n = (size_t)snprintf(key, sizeof key, "k%u", i);
            rc = sf_txn_del(txn, table, found.data, found.len);
            if (!rc)
                rc = sf_txn_put(txn, table, key, n, p->value, p->len);
        } else {
            rc = sf_txn_put(txn, table, found.data, found.len, p->value, p->len);
        }
        if (rc)
            return rc;
        sf_buf_putc(&at, '\0');
    }
    return 0;
}

static int
overwrite(struct sf_env_write *w, struct sf_txn *txn)
{
    struct plant *p = (struct plant *)(void *)((char *)w - offsetof(struct plant, w));
    int rc = p->table < TABLES ? overwrite_one(txn, p, p->table) : 0;
    for (unsigned t = 0; t < TABLES && p->table == TABLES && !rc; t++)
        rc = overwrite_one(txn, p, t);
    return rc;
}

static void
plant(unsigned table, const char *value, size_t len, bool keys)
{
    char path[96];
    struct sf_env *env;
    struct plant p = {.w.run = overwrite, .value = value, .len = len, .table = table, .keys = keys};
    snprintf(path, sizeof path, "%s/chats", dir);
    const struct sf_env_opts o = {
        .dir = path, .name = "plant", .tables = tables, .n_tables = TABLES, .max_bytes = max_bytes};
    assert_int_equal(sf_env_open(&o, &env, NULL), 0);
    assert_int_equal(sf_env_write_wait(env, &p.w), 0);
    sf_env_close(env);
}

static void
fill(void)
{
    struct sf_chat_name n = {.id = ID, .generation = 1};
    assert_int_equal(sf_chat_store_set_name(st, "abcdefghijklmnopqrstuvwx", &n, NULL), 0);
    end(ID, begin(ID, "Why?", false), true);
    uint64_t running = begin("run-1", "Why?", true);
    piece("run-1", running, 1, false, "Y");
    draft("line-1", 0, true, "Why?");
    assert_int_equal(sf_chat_store_cache(st, SF_CHAT_CACHE_ANSWERS, "k", "v", 1), 0);
    assert_int_equal(sf_chat_store_cache(st, SF_CHAT_CACHE_TEXTS, "k", "v", 1), 0);
}

/* All that reads; the results do not matter. */
static void
read_all(void)
{
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    struct sf_chat_conversation c;
    struct sf_chat_name name;
    struct sf_chat_told told;
    struct sf_chat_spent spent;
    static const char *const ids[] = {ID, "run-1", "line-1"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(sf_chat_store_turns(st, ids[i], 0, print, &out), 0);
        if (!sf_chat_store_conversation(st, ids[i], &c))
            sf_chat_conversation_fini(&c);
    }
    (void)sf_chat_store_name(st, "abcdefghijklmnopqrstuvwx", &name);
    (void)sf_chat_store_untold(st, 0, &told);
    assert_int_equal(sf_chat_store_spent(st, 20000, "kimi", &spent), 0);
    assert_int_equal(sf_chat_store_spent(st, 20000, NULL, &spent), 0);
    assert_int_equal(sf_chat_store_list(st, "", 100, add_id, &out), 0);
    (void)sf_chat_store_cached(st, SF_CHAT_CACHE_ANSWERS, "k", &out);
    (void)sf_chat_store_cached(st, SF_CHAT_CACHE_TEXTS, "k", &out);
}

static void
test_damaged_rows(void **state)
{
    static const char *const plants[] = {
        "",
        "x",
        "{}",
        "[]",
        "\xff\xff\xff\xff",
        "\x02",
        "{\"id\":\"../../x\",\"generation\":-1}",
        "{\"last\":-1}",
        "{\"last\":\"x\",\"key\":7}",
        "{\"key\":{\"hex\":\"zz\"}}",
        "{\"tokens\":\"x\",\"price\":1e300,\"turns\":[]}",
        "{\"id\":\"a\",\"question\":0,\"answer\":0}",
        "{\"id\":\"a\",\"question\":-1,\"answer\":99}",
    };
    (void)state;
    /* The same file each time, so that it need not be filled with as many syncs. */
    sf_autobuf struct sf_buf good = SF_BUF_INIT;
    char path[96];
    snprintf(path, sizeof path, "%s/chats/data.mdb", dir);
    fill();
    sf_chat_store_close(st);
    st = NULL;
    assert_int_equal(sf_read_file(path, (size_t)max_bytes * 2, &good, NULL), 0);
    const size_t n = sizeof plants / sizeof *plants;
    /* Each alone takes many syncs. */
    for (unsigned table = getenv("SF_SOAK") ? 0 : TABLES; table <= TABLES; table++)
        for (size_t i = 0; i <= n; i++) {
            const char *value = plants[i % n];
            assert_int_equal(sf_write_file_atomic(path, good.data, good.len, 0600, NULL), 0);
            plant(table, value, strlen(value), i == n);
            reopen();
            read_all();
            /* Life goes on. */
            end("new-1", begin("new-1", "Why?", true), false);
            expect_turns("new-1", 0, QUESTION ANSWER);
            sf_chat_store_close(st);
            st = NULL;
        }
}

/* Numbers of turns are never used again, also where the row that has the last one was lost. */
static void
test_lost_conversation(void **state)
{
    (void)state;
    end(ID, begin(ID, "Why?", true), false);
    sf_chat_store_close(st);
    st = NULL;
    plant(1, "x", 1, false);
    reopen();
    end(ID, begin(ID, "Why?", true), false);
    expect_turns(ID, 0, QUESTION ANSWER QUESTION ANSWER);
}

static void
test_damaged_file(void **state)
{
    char path[96];
    (void)state;
    end(ID, begin(ID, "Why?", true), false);
    sf_chat_store_close(st);
    st = NULL;
    snprintf(path, sizeof path, "%s/chats/data.mdb", dir);
    FILE *f = fopen(path, "r+");
    assert_non_null(f);
    for (unsigned i = 0; i < 4096; i++)
        fputs("junk", f);
    fclose(f);
    reopen();
    expect_turns(ID, 0, "");
    end(ID, begin(ID, "Why?", true), false);
    expect_turns(ID, 0, QUESTION ANSWER);
    snprintf(path, sizeof path, "%s/chats/data.mdb.damaged", dir);
    assert_int_equal(access(path, F_OK), 0);
}

/* ---- the bound ---- */

static int
big_turn(const char *id, const char *cursor, bool away)
{
    struct sf_chat_record q = {.turn = {.kind = SF_CHAT_USER, .at_ms = AT_MS}};
    static char text[400000];
    char at[16] = "";
    struct sf_chat_conversation now = {.away = away};
    struct sf_chat_change c = {.id = id, .turns = &q, .n_turns = 1, .now = &now};
    if (cursor) {
        snprintf(at, sizeof at, "%s", cursor);
        now.cursor = at;
    }
    memset(text, 'x', sizeof text);
    assert_int_equal(sf_buf_append(&q.turn.text, text, sizeof text), 0);
    int rc = sf_chat_store_change(st, &c);
    sf_chat_record_fini(&q);
    return rc;
}

static int
count(void *arg, const struct sf_chat_record *r)
{
    (void)r;
    ++*(unsigned *)arg;
    return 0;
}

static unsigned
turns_of(const char *id)
{
    unsigned n = 0;
    assert_int_equal(sf_chat_store_turns(st, id, 0, count, &n), 0);
    return n;
}

/* What the tables have and no name leads to goes first, the oldest before all; then there is an
 * error, and what was there stays. */
static void
test_full(void **state)
{
    char id[32];
    int rc = 0;
    unsigned n = 0;
    (void)state;
    assert_int_equal(sf_chat_store_cache(st, SF_CHAT_CACHE_TEXTS, "k", "v", 1), 0);
    assert_int_equal(big_turn("old-1", "c", true), 0);
    assert_int_equal(big_turn("old-2", "c", true), 0);
    assert_int_equal(big_turn("untold-1", NULL, true), 0);
    assert_int_equal(big_turn("named-1", "c", false), 0);
    for (; !rc && n < 100; n++) {
        snprintf(id, sizeof id, "new-%u", n);
        rc = big_turn(id, NULL, false);
    }
    assert_int_equal(rc, -ENOSPC);
    assert_true(n > 10);
    assert_int_equal(turns_of("old-1"), 0);
    assert_int_equal(turns_of("old-2"), 0);
    assert_int_equal(turns_of("untold-1"), 1);
    assert_int_equal(turns_of("named-1"), 1);
    assert_int_equal(turns_of("new-0"), 1);
    static char text[600000];
    memset(text, 'y', sizeof text - 1);
    assert_int_equal(draft(ID, 0, true, text), 0);
    assert_int_equal(kept_rc, -ENOSPC);
    /* A draft finds room, too, where there is some to be made. */
    struct sf_chat_conversation now = {.cursor = (char[]){"c"}, .away = true};
    for (unsigned i = 0; i < 4; i++) {
        snprintf(id, sizeof id, "new-%u", i);
        struct sf_chat_change c = {.id = id, .now = &now};
        assert_int_equal(sf_chat_store_change(st, &c), 0);
    }
    assert_int_not_equal(draft(ID, 0, true, text), 0);
    assert_int_equal(turns_of("new-0"), 0);
}

static void
test_cache(void **state)
{
    static char text[100000];
    unsigned there = 0;
    (void)state;
    for (unsigned i = 0; i < 30; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%02u", i);
        memset(text, (int)i, sizeof text);
        assert_int_equal(sf_chat_store_cache(st, SF_CHAT_CACHE_TEXTS, key, text, sizeof text), 0);
        assert_int_equal(sf_chat_store_cache(st, SF_CHAT_CACHE_ANSWERS, "same", text, sizeof text),
                         0);
    }
    reopen();
    for (unsigned i = 0; i < 30; i++) {
        sf_autobuf struct sf_buf out = SF_BUF_INIT;
        char key[16];
        snprintf(key, sizeof key, "k%02u", i);
        int rc = sf_chat_store_cached(st, SF_CHAT_CACHE_TEXTS, key, &out);
        assert_true(rc == 0 || rc == -ENOENT);
        assert_true(rc == 0 || there == 0); /* the oldest are gone */
        if (rc)
            continue;
        there++;
        assert_int_equal(out.len, sizeof text);
        assert_int_equal(out.data[7], i);
    }
    assert_true(there >= 8 && there <= 10);
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    assert_int_equal(sf_chat_store_cached(st, SF_CHAT_CACHE_ANSWERS, "same", &out), 0);
    assert_int_equal(sf_chat_store_cached(st, SF_CHAT_CACHE_ANSWERS, "k29", &out), -ENOENT);
    assert_int_equal(sf_chat_store_cached(st, SF_CHAT_CACHE_ANSWERS, "", &out), -EINVAL);
    /* Much too large: it is not kept, and what is there stays. */
    sf_autofree char *huge = calloc(1, cache_bytes);
    assert_non_null(huge);
    assert_int_equal(sf_chat_store_cache(st, SF_CHAT_CACHE_TEXTS, "huge", huge, cache_bytes), 0);
    assert_int_equal(sf_chat_store_cached(st, SF_CHAT_CACHE_TEXTS, "huge", &out), -ENOENT);
    assert_int_equal(sf_chat_store_cached(st, SF_CHAT_CACHE_TEXTS, "k29", &out), 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_names),        T(test_a_turn),
        T(test_untold),       T(test_conversations),
        T(test_list),         T(test_many_turns),
        T(test_killed),       T(test_draft),
        T(test_damaged_rows), T(test_lost_conversation),
        T(test_damaged_file), T(test_full),
        T(test_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
