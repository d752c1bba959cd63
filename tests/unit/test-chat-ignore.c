/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Rule M6 of docs/formats/chat.md: what .chatignore leaves out. */
#include "chat/ignore.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

static void
add(struct sf_chat_ignores *all, const char *dir, const char *text)
{
    assert_int_equal(sf_chat_ignores_add(all, dir, text, strlen(text)), 0);
}

static const struct {
    const char *text, *path;
    bool dir, ignored;
} rows[] = {
    /* A name, anywhere below. */
    {"a.txt", "a.txt", false, true},
    {"a.txt", "d/e/a.txt", false, true},
    {"a.txt", "a.txt.old", false, false},
    {"*.o\n*.a\n", "x/libx.a", false, true},
    {"[a-c]?", "bx", false, true},
    {"build", "build", true, true},
    {"build", "build", false, true},
    /* Directories only. */
    {"build/", "build", true, true},
    {"build/", "x/build", true, true},
    {"build/", "build", false, false},
    {"build//", "build", true, true},
    /* Tied to the directory of the file. */
    {"/a.txt", "a.txt", false, true},
    {"/a.txt", "d/a.txt", false, false},
    {"d/*.txt", "d/a.txt", false, true},
    {"d/*.txt", "x/d/a.txt", false, false},
    {"d/*.txt", "d/e/a.txt", false, false},
    {"d//a", "d/a", false, true},
    {"/d/", "d", true, true},
    {"/d/", "x/d", true, false},
    /* Any number of directories. */
    {"**/a", "a", false, true},
    {"**/a", "x/y/a", false, true},
    {"d/**", "d", true, false},
    {"d/**", "d/x", false, true},
    {"d/**", "d/x/y", false, true},
    {"d/**/z", "d/z", false, true},
    {"d/**/z", "d/x/y/z", false, true},
    {"d/**/z", "d/x/y/zz", false, false},
    {"**/x/**/y", "a/x/b/x/c/y", false, true},
    {"**/x/**/y/z", "x/y/y/z", false, true},
    {"**/x/**/y/z", "x/y/z/y", false, false},
    /* Taking back: the last line counts. */
    {"*.txt\n!a.txt\n", "a.txt", false, false},
    {"*.txt\n!a.txt\n", "b.txt", false, true},
    {"!a.txt\n*.txt\n", "a.txt", false, true},
    {"!\n*", "a", false, true},
    /* Comments, white space, what is kept by a backslash. */
    {"#a", "#a", false, false},
    {"\\#a", "#a", false, true},
    {"\\!a", "!a", false, true},
    {" #a", " #a", false, true},
    {"a \t\r\n", "a", false, true},
    {"a\\ ", "a ", false, true},
    {"a\\\\ ", "a\\", false, true},
    {"\r\n \n\n/\n//\n!/\n", "a", false, false},
    {"", "a", false, false},
    {"A.TXT", "a.txt", false, false},
    {"\xff*", "\xff\xfe", false, true},
    {"é?", "éü", false, true},
};

static void
one_file(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sf_chat_ignores all = {0};
        add(&all, "", rows[i].text);
        if (sf_chat_ignored(&all, rows[i].path, rows[i].dir) != rows[i].ignored)
            fail_msg("row %zu: %s of %s", i, rows[i].path, rows[i].text);
        sf_chat_ignores_free(&all);
    }
}

/* The deepest file that says something counts; files of directories that were left do not. */
static void
files_below(void **state)
{
    struct sf_chat_ignores all = {0};
    (void)state;
    assert_false(sf_chat_ignored(&all, "a", false));
    add(&all, "", "*.log\n/d/keep\n");
    add(&all, "d", "!a.log\nkeep\n/x\n");
    assert_true(sf_chat_ignored(&all, "a.log", false));
    assert_false(sf_chat_ignored(&all, "d/a.log", false));
    assert_true(sf_chat_ignored(&all, "d/b.log", false));
    assert_true(sf_chat_ignored(&all, "d/x", false));
    assert_false(sf_chat_ignored(&all, "x", false));
    assert_false(sf_chat_ignored(&all, "dd/x", false));
    add(&all, "d/e", "!*");
    assert_false(sf_chat_ignored(&all, "d/e/keep", false));
    assert_true(sf_chat_ignored(&all, "d/keep", false));
    add(&all, "f", "q");
    assert_int_equal(all.len, 2);
    assert_true(sf_chat_ignored(&all, "f/g/q", false));
    sf_chat_ignores_free(&all);
}

static void
bytes_that_are_no_rules(void **state)
{
    static const char nul[] = "a\0b\nc";
    struct sf_chat_ignores all = {0};
    static char large[SF_CHAT_IGNORE_MAX + 8];
    char path[400];
    (void)state;
    assert_int_equal(sf_chat_ignores_add(&all, "", nul, sizeof nul - 1), 0);
    assert_false(sf_chat_ignored(&all, "a", false));
    assert_true(sf_chat_ignored(&all, "c", false));
    memset(large, '\n', sizeof large);
    memcpy(large + SF_CHAT_IGNORE_MAX - 2, "x\ny", 3);
    assert_int_equal(sf_chat_ignores_add(&all, "d", large, sizeof large), 0);
    assert_true(sf_chat_ignored(&all, "d/x", false));
    assert_false(sf_chat_ignored(&all, "d/y", false));
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    add(&all, "d/e", "*");
    assert_false(sf_chat_ignored(&all, path, false)); /* no name of a file is as long */
    sf_chat_ignores_free(&all);
}

/* A file that is made to take long does not. */
static void
the_worst_of_rules(void **state)
{
    static char text[SF_CHAT_IGNORE_MAX + 1];
    struct sf_chat_ignores all = {0};
    char path[402];
    (void)state;
    for (size_t i = 0; i + 3 <= SF_CHAT_IGNORE_MAX; i += 3)
        memcpy(text + i, "**/", 3);
    memcpy(text + SF_CHAT_IGNORE_MAX - 2, "/b", 2);
    for (size_t i = 0; i < 401; i++)
        path[i] = i % 2 ? '/' : 'a';
    path[401] = '\0';
    add(&all, "", text);
    int64_t t = sf_clock_ms();
    assert_false(sf_chat_ignored(&all, path, false));
    assert_true(sf_clock_ms() - t < 1000);
    sf_chat_ignores_free(&all);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_file),
        cmocka_unit_test(files_below),
        cmocka_unit_test(bytes_that_are_no_rules),
        cmocka_unit_test(the_worst_of_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
