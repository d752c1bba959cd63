/* SPDX-License-Identifier: GPL-3.0-or-later */
/* docs/formats/chat.md, part 1: the vectors of the document, suffixes, ids and hostile names. */
#include "chat/names.h"

#include "../fuzz/chat-properties.h"
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../lib/vectors.h"

static const char *const providers[] = {"kimi", "glm", "my-box", NULL};

static void
promised(const char *broken)
{
    if (broken)
        fail_msg("%s", broken);
}

static void
check_vector(const char *line)
{
    struct sf_chat_reading r[SF_CHAT_READINGS];
    struct field name, expected;
    assert_int_equal(strncmp(line, "name ", 5), 0);
    line = parse_field_once(line + 5, &name);
    unsigned n = sf_chat_name_read(name.s, ".chat", providers, r);
    for (unsigned i = 0; i < n; i++) {
        char text[300];
        snprintf(text, sizeof text, "%.*s%s%s", (int)r[i].file_len, name.s,
                 r[i].provider ? "@" : "", r[i].provider ? r[i].provider : "");
        line = parse_field_once(line, &expected);
        assert_string_equal(text, expected.s);
    }
    assert_string_equal(line, n ? "" : "-");
    promised(chat_name_reads(name.s, ".chat", providers));
}

static void
vectors_of_the_document(void **state)
{
    (void)state;
    assert_int_equal(vectors_of("chat.md", "name-vectors", check_vector), 25);
}

/* N9, N10 */
static void
suffixes(void **state)
{
    (void)state;
    static const char *const good[] = {".chat", ".x", ".Ask_me-2",
                                       ".1234567890123456789012345678901"};
    static const char *const bad[] = {
        "",     ".",    "chat",      "..chat",  ".a.b",
        ".a b", ".a/b", ".\xC3\xA9", ".supafs", ".12345678901234567890123456789012"};
    struct sf_chat_reading r[SF_CHAT_READINGS];
    static const char *const nobody[] = {NULL};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(sf_chat_suffix_ok(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(sf_chat_suffix_ok(bad[i]));
    assert_int_equal(sf_chat_name_read("a.chat", ".ask", providers, r), 0);
    assert_int_equal(sf_chat_name_read("a.ask", ".ask", providers, r), 1);
    assert_int_equal(sf_chat_name_read("a.chat", ".chat", nobody, r), 0);
    /* A suffix that is a provider's name is the suffix. */
    assert_int_equal(sf_chat_name_read("a.kimi", ".kimi", providers, r), 1);
    assert_null(r[0].provider);
}

/* N11 */
static void
long_names(void **state)
{
    (void)state;
    struct sf_chat_reading r[SF_CHAT_READINGS];
    char file[300], made[256] = "untouched";
    memset(file, 'x', sizeof file);
    file[250] = '\0';
    assert_int_equal(sf_chat_name_make(file, NULL, ".chat", made), 0);
    assert_int_equal(sf_chat_name_read(made, ".chat", providers, r), 1);
    assert_int_equal(r[0].file_len, 250);
    strncpy(made, "untouched", sizeof made);
    assert_int_equal(sf_chat_name_make(file, "kimi", ".chat", made), -ENAMETOOLONG);
    file[250] = 'x';
    file[251] = '\0';
    assert_int_equal(sf_chat_name_make(file, NULL, ".chat", made), -ENAMETOOLONG);
    assert_int_equal(sf_chat_name_make("a/b", NULL, ".chat", made), -EINVAL);
    assert_int_equal(sf_chat_name_make("..", NULL, ".chat", made), -EINVAL);
    assert_string_equal(made, "untouched");
    assert_int_equal(sf_chat_name_make("", "glm", ".chat", made), 0);
    assert_string_equal(made, ".glm.chat");
    file[251] = 'x';
    strncpy(file + 290, ".chat", 10);
    assert_int_equal(sf_chat_name_read(file, ".chat", providers, r), 0);
}

/* K2 */
static void
stems(void **state)
{
    (void)state;
    char a[SF_CHAT_STEM_MAX + 1], b[SF_CHAT_STEM_MAX + 1];
    assert_int_equal(sf_chat_stem("id", "bucket", "a/b.pdf", NULL, a), 0);
    /* printf 'id\0bucket\0a/b.pdf\0\0' | sha256sum, the first 15 bytes as base32 */
    assert_string_equal(a, "i26apvqatoifdcfydrghbrtt");
    assert_int_equal(strspn(a, "abcdefghijklmnopqrstuvwxyz234567"), SF_CHAT_STEM_MAX);
    assert_int_equal(sf_chat_stem("id", "bucket", "a/b.pdf", "", b), 0);
    assert_string_equal(a, b);
    static const char *const others[][4] = {{"id", "bucket", "a/b.pdf", "kimi"},
                                            {"ie", "bucket", "a/b.pdf", NULL},
                                            {"id", "bucketa", "/b.pdf", NULL},
                                            {"id", "bucket", "a/b.pdf/", NULL}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const char *const *o = others[i];
        assert_int_equal(sf_chat_stem(o[0], o[1], o[2], o[3], b), 0);
        assert_string_not_equal(a, b);
    }
}

/* N12 */
static void
views(void **state)
{
    (void)state;
    char id[SF_CHAT_ID_MAX + 1] = "untouched";
    enum sf_chat_view view = SF_CHAT_VIEW_ALL;
    static const char *const none[] = {"",         ".md",     "a",          "a.MD",
                                       "a.b.md",   "a b.md",  "-a.md",      "a.md.md",
                                       ".last.md", "../a.md", "a.reasoning"};
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(sf_chat_view_read(none[i], id, &view), -ENOENT);
        promised(chat_view_reads(none[i]));
    }
    assert_string_equal(id, "untouched");
    assert_int_equal(sf_chat_view_read("k2v6-1.md", id, &view), 0);
    assert_string_equal(id, "k2v6-1");
    assert_int_equal(view, SF_CHAT_VIEW_ALL);
    assert_int_equal(sf_chat_view_read("k2v6-1.reasoning.md", id, &view), 0);
    assert_string_equal(id, "k2v6-1");
    assert_int_equal(view, SF_CHAT_VIEW_REASONING);
    assert_int_equal(sf_chat_view_read("last.last.md", id, &view), 0);
    assert_string_equal(id, "last");
    assert_int_equal(view, SF_CHAT_VIEW_LAST);
    assert_true(sf_chat_id_ok("3f1c0d1e-0000-4000-8000-00000000000a"));
    assert_false(sf_chat_id_ok("a.b"));
}

/* Names made of what the rules look for, and any byte. */
static void
hostile_names(void **state)
{
    (void)state;
    static const char *const pieces[] = {".chat", ".",  "kimi", ".kimi", "my_box", ".my-box", "..",
                                         "a",     "\n", "\xff", "%obj=", ".md",    ".last",   "-"};
    const char *s = getenv("SF_TEST_SEED");
    unsigned seed = s ? (unsigned)strtoul(s, NULL, 0) : (unsigned)sf_wall_ns();
    print_message("SF_TEST_SEED=%u\n", seed);
    for (unsigned i = 0; i < 100000; i++) {
        sf_autobuf struct sf_buf name = SF_BUF_INIT;
        for (unsigned n = (unsigned)rand_r(&seed) % 7; n > 0; n--)
            sf_buf_puts(&name, pieces[(unsigned)rand_r(&seed) % (sizeof pieces / sizeof *pieces)]);
        promised(chat_name_reads(name.data, ".chat", providers));
        promised(chat_view_reads(name.data));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_the_document),
        cmocka_unit_test(suffixes),
        cmocka_unit_test(long_names),
        cmocka_unit_test(stems),
        cmocka_unit_test(views),
        cmocka_unit_test(hostile_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
