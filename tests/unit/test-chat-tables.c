/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Turns that the project's tables know of, and other mounts (docs/formats/chat.md, part 10). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/lock.h"
#include "chat-world.h"
#include "chat/store.h"

static char all[16384];

/* ---- tables that are played ------------------------------------------------------------------ */

#define ROWS 64

static struct {
    struct sf_mutex lock;
    struct row {
        char id[64], role[16];
        json_t *content, *metadata;
    } rows[ROWS]; /* of the one conversation that they have */
    _Atomic unsigned n, begins, ends, leases, finds, closes;
    char conversation[64];
    _Atomic int fails;               /* every call */
    _Atomic int busy;                /* so many begins */
    _Atomic bool closed;             /* the first generation is */
    _Atomic unsigned asked_at_begin; /* questions that providers had got then */
} tables = {.lock = SF_MUTEX_INIT(0)};

static void
put_row(const char *id, const char *role, json_t *content, json_t *metadata)
{
    for (unsigned i = 0; i < tables.n; i++)
        if (!strcmp(tables.rows[i].id, id))
            return;
    assert_true(tables.n < ROWS);
    struct row *r = &tables.rows[tables.n++];
    snprintf(r->id, sizeof r->id, "%s", id);
    snprintf(r->role, sizeof r->role, "%s", role);
    r->content = json_incref(content);
    r->metadata = json_incref(metadata);
}

static json_t *
page(json_t *p, const char *but)
{
    const char *after = json_string_value(json_object_get(p, "after"));
    json_t *turns = json_array();
    char cursor[16];
    for (unsigned i = after ? (unsigned)strtoul(after, NULL, 10) : 0; i < tables.n; i++) {
        const struct row *r = &tables.rows[i];
        char at[48];
        if (but && !strcmp(but, r->id))
            continue;
        snprintf(at, sizeof at, "2026-11-22T06:10:%02u.000001Z", i);
        json_array_append_new(turns,
                              json_pack("{s:s, s:s, s:O, s:s, s:O}", "id", r->id, "role", r->role,
                                        "content", r->content, "at", at, "metadata", r->metadata));
    }
    snprintf(cursor, sizeof cursor, "%u", tables.n);
    return json_pack("{s:o, s:s, s:b}", "turns", turns, "cursor", cursor, "more", 0);
}

static json_t *
begin(json_t *p)
{
    const char *message = json_string_value(json_object_get(p, "message"));
    const char *id = json_string_value(json_object_get(p, "id"));
    tables.begins++;
    if (tables.closed && !strcmp(id, STEM "-1"))
        return json_pack("{s:b}", "closed", 1);
    if (tables.busy && json_object_get(p, "lease_s")) {
        tables.busy--;
        return json_pack("{s:i}", "busy", 1);
    }
    tables.asked_at_begin = asked_count();
    snprintf(tables.conversation, sizeof tables.conversation, "%s", id);
    put_row(message, "user", json_object_get(p, "content"), json_object_get(p, "metadata"));
    return page(p, message);
}

static json_t *
end(json_t *p)
{
    tables.ends++;
    put_row(json_string_value(json_object_get(p, "message")), "assistant",
            json_object_get(p, "content"), json_object_get(p, "metadata"));
    return json_pack("{s:s, s:s}", "at", "2026-11-22T06:10:00.000001Z", "cursor", "0");
}

static json_t *
find(json_t *p)
{
    const char *id = json_string_value(json_object_get(p, "id"));
    tables.finds++;
    if (!*tables.conversation || (id && strcmp(id, tables.conversation) != 0))
        return json_pack("{s:n}", "conversation");
    return json_pack("{s:{s:s, s:s, s:b, s:{s:s, s:s}}}", "conversation", "id", tables.conversation,
                     "updated", "2026-11-22T06:10:00.000001Z", "closed", 0, "about", "bucket", "b",
                     "key", "k");
}

static int
call(void *arg, const char *function, json_t *args, int64_t deadline_ms, json_t **answer,
     struct sf_err *err)
{
    json_t *p = json_object_get(args, "p");
    int rc = 0;
    (void)arg;
    assert_true(deadline_ms > sf_clock_ms());
    SF_GUARD(&tables.lock);
    if (tables.fails)
        rc = sf_err_set(err, tables.fails, "the tables are away");
    else if (!strcmp(function, "supafs_chat_find"))
        *answer = find(p);
    else if (!strcmp(function, "supafs_chat_turns"))
        *answer = page(p, NULL);
    else if (!strcmp(function, "supafs_chat_begin"))
        *answer = begin(p);
    else if (!strcmp(function, "supafs_chat_end"))
        *answer = end(p);
    else if (!strcmp(function, "supafs_chat_lease"))
        *answer = json_pack("{s:b}", "held", ++tables.leases > 0);
    else
        *answer = json_pack("{s:b}", "closed", ++tables.closes > 0);
    json_decref(args);
    return rc;
}

static void
with_tables(void)
{
    for (unsigned i = 0; i < tables.n; i++) {
        json_decref(tables.rows[i].content);
        json_decref(tables.rows[i].metadata);
    }
    tables.n = tables.begins = tables.ends = tables.leases = tables.finds = tables.closes = 0;
    tables.conversation[0] = '\0';
    tables.fails = tables.busy = 0;
    tables.closed = false;
    world.peer = (struct sf_functions_peer){.call = call};
}

static unsigned
rows(void)
{
    SF_GUARD(&tables.lock);
    return tables.n;
}

static unsigned
ends(void)
{
    SF_GUARD(&tables.lock);
    return tables.ends;
}

static void
fail_tables(int err)
{
    SF_GUARD(&tables.lock);
    tables.fails = err;
}

static void
other_mount_says(const char *question, const char *answer)
{
    SF_GUARD(&tables.lock);
    char q[40], a[40];
    snprintf(q, sizeof q, "10000000-0000-4000-8000-%012u", tables.n);
    snprintf(a, sizeof a, "20000000-0000-4000-8000-%012u", tables.n);
    json_t *content = json_string(question), *metadata = json_object();
    snprintf(tables.conversation, sizeof tables.conversation, STEM "-1");
    put_row(q, "user", content, metadata);
    json_decref(content);
    json_decref(metadata);
    content = json_string(answer);
    metadata = json_pack("{s:s, s:{s:s}}", "provider", "gamma", "supafs", "to", q);
    put_row(a, "assistant", content, metadata);
    json_decref(content);
    json_decref(metadata);
}

/* rule K4, rule K5: the question is there before the provider is asked; each row is there once. */
static void
test_tables(void **state)
{
    (void)state;
    with_tables();
    world_open();
    struct sf_conv *c = conv_named(STEM);
    struct sf_conv_turn *t = ask(c, "q");
    asked(1);
    assert_int_equal(rows(), 1);
    assert_int_equal(tables.asked_at_begin, 0);
    say(asked(1), "a");
    finish(asked(1));
    await(ends() == 1);
    assert_int_equal(rows(), 2);
    /* Our own answer is in what is read behind our question, and is not taken twice. */
    sf_conv_turn_put(t);
    t = ask(c, "r");
    assert_string_equal(asked(2)->text,
                        "system: File: b/k\nsome text\nuser: q\nassistant: a\nuser: r\n");
    finish_as(asked(2), SF_PE_FAILED, SF_PC_OVERLOADED);
    await(ends() == 2);
    KEEP(all, says(c));
    sf_conv_turn_put(t);
    sf_conv_put(c);
    world_close();
    world_open();
    c = conv_named(STEM);
    usleep(5000);
    assert_string_equal(says(c), all);
    assert_int_equal(rows(), 4);
    sf_conv_put(c);
    struct sf_convs_status s;
    sf_convs_status(world.cs, &s);
    assert_string_equal(s.tables, "on");
}

/* rule K6, rule K7, rule N5: what others said is read when it is opened, and before a turn. */
static void
test_others(void **state)
{
    struct sf_conv_facts f;
    (void)state;
    with_tables();
    other_mount_says("theirs", "indeed");
    world_open();
    struct sf_conv *c = conv_named(STEM);
    sf_conv_facts(c, SF_CHAT_VIEW_ALL, &f);
    assert_true(f.exists);
    assert_non_null(strstr(says(c), "\n\nindeed\n"));
    assert_non_null(strstr(says(c), " gamma "));
    other_mount_says("more", "words");
    struct sf_conv_turn *t = ask(c, "mine");
    assert_string_equal(asked(1)->text,
                        "system: File: b/k\nsome text\nuser: theirs\nassistant: indeed\n"
                        "user: more\nassistant: words\nuser: mine\n");
    finish(asked(1));
    await(ends() == 1);
    sf_conv_turn_put(t);
    sf_conv_put(c);
    c = conv_by_id(STEM "-1");
    assert_non_null(strstr(says(c), "\n\nwords\n"));
    sf_conv_put(c);
}

/* rule K5: another mount is at it; it is waited for, and given up when it is cancelled. */
static void
test_busy(void **state)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    (void)state;
    with_tables();
    tables.busy = 1;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    struct sf_conv_turn *t = ask(c, "q");
    await(tables.begins == 1);
    assert_int_equal(sf_conv_state_text(c, &text), 0);
    assert_string_equal(text.data, "waiting 1");
    assert_int_equal(asked_count(), 0);
    asked(1);
    finish(asked(1));
    await(ends() == 1);
    sf_conv_turn_put(t);
    tables.busy = 100;
    t = ask(c, "r");
    await(tables.begins == 3);
    sf_conv_turn_cancel(t);
    await(sf_conv_turn_over(t));
    assert_int_equal(asked_count(), 1);
    assert_null(strstr(says(c), "\n\nr\n"));
    sf_conv_turn_put(t);
    sf_conv_put(c);
}

/* Another mount has put it away: the name's next conversation gets the question. */
static void
test_closed(void **state)
{
    struct sf_conv_facts f;
    (void)state;
    with_tables();
    tables.closed = true;
    world_open();
    struct sf_conv *c = conv_named(STEM);
    struct sf_conv_turn *t = ask(c, "q");
    finish(asked(1));
    await(sf_conv_turn_over(t));
    sf_conv_facts(c, SF_CHAT_VIEW_ALL, &f);
    assert_string_equal(f.id, STEM "-2");
    sf_conv_turn_put(t);
    sf_conv_put(c);
}

/* rule K8: while they do not answer turns go on, and are told afterwards, behind what others said.
 */
static void
test_away(void **state)
{
    (void)state;
    with_tables();
    world_open();
    struct sf_conv *c = conv_named(STEM);
    fail_tables(-EIO);
    struct sf_conv_turn *t = ask(c, "q");
    say(asked(1), "a");
    finish(asked(1));
    await(sf_conv_turn_over(t));
    assert_int_equal(rows(), 0);
    sf_conv_turn_put(t);
    sf_conv_put(c);
    world_close();
    fail_tables(0);
    other_mount_says("theirs", "indeed");
    world_open(); /* the next start tells them */
    await(ends() == 1);
    assert_int_equal(rows(), 4);
    c = conv_named(STEM);
    await(strstr(says(c), "\n\nindeed\n"));
    const char *first = strstr(says(c), "\n\na\n");
    assert_non_null(first);
    assert_null(strstr(first + 1, "\n\na\n"));
    sf_conv_put(c);
}

static _Atomic bool disk_hangs;
static _Atomic unsigned hanging;

static void
hang(void *arg)
{
    (void)arg;
    hanging++;
    while (disk_hangs)
        usleep(1000);
    hanging--;
}

static _Atomic int loaded;

static void
note_loaded(void *arg, int rc)
{
    (void)arg;
    assert_int_equal(rc, 0);
    loaded++;
}

/* Who would not wait for the tables waits for the state directory all the same: without what that
 * has a prompt could not be taken. */
static void
test_slow_disk(void **state)
{
    const struct sf_conv_key key = {.stem = STEM, .bucket = "b", .key = "k"};
    struct sf_conv_facts f;
    struct sf_conv *c;
    (void)state;
    with_tables();
    world_open();
    disk_hangs = true;
    for (unsigned i = 0; i < 8; i++) /* more than there are threads */
        assert_int_equal(sf_convs_work(world.cs, hang, NULL), 0);
    await(hanging >= 2);
    assert_int_equal(sf_conv_get(world.cs, &key, &c), 0);
    loaded = 0;
    sf_conv_load(c, 20, note_loaded, NULL);
    usleep(100000);
    assert_int_equal(loaded, 0);
    disk_hangs = false;
    await(loaded);
    sf_conv_facts(c, SF_CHAT_VIEW_ALL, &f);
    assert_true(f.loaded);
    await(!hanging);
    sf_conv_put(c);
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, world_setup, world_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tables), TEST(others), TEST(busy), TEST(closed), TEST(away), TEST(slow_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
