/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "write/put.h"
#include "write/write.h"

static const char *
by_name(const char *name)
{
    return sf_mime_guess(name, NULL, 0);
}

static void
names(void **state)
{
    (void)state;
    /* the first, the last and some between: a table out of order loses rows */
    static const char *const rows[][2] = {
        {"a.7z", "application/x-7z-compressed"},
        {"a.aac", "audio/aac"},
        {"a.c", "text/x-c"},
        {"a.css", "text/css"},
        {"a.csv", "text/csv"},
        {"a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
        {"a.gif", "image/gif"},
        {"a.gz", "application/gzip"},
        {"a.h", "text/x-c"},
        {"a.htm", "text/html"},
        {"a.html", "text/html"},
        {"a.jpeg", "image/jpeg"},
        {"a.jpg", "image/jpeg"},
        {"a.js", "text/javascript"},
        {"a.json", "application/json"},
        {"a.jsonl", "application/jsonl"},
        {"a.m4a", "audio/mp4"},
        {"a.md", "text/markdown"},
        {"a.mp3", "audio/mpeg"},
        {"a.mp4", "video/mp4"},
        {"a.odt", "application/vnd.oasis.opendocument.text"},
        {"a.pdf", "application/pdf"},
        {"a.png", "image/png"},
        {"a.py", "text/x-python"},
        {"a.rs", "text/x-rust"},
        {"a.sqlite", "application/vnd.sqlite3"},
        {"a.sqlite3", "application/vnd.sqlite3"},
        {"a.svg", "image/svg+xml"},
        {"a.tar", "application/x-tar"},
        {"a.tgz", "application/gzip"},
        {"a.txt", "text/plain"},
        {"a.wasm", "application/wasm"},
        {"a.webp", "image/webp"},
        {"a.woff2", "font/woff2"},
        {"a.xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
        {"a.xml", "application/xml"},
        {"a.yaml", "application/yaml"},
        {"a.yml", "application/yaml"},
        {"a.zip", "application/zip"},
        {"a.zst", "application/zstd"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(by_name(rows[i][0]), rows[i][1]);
    assert_string_equal(by_name("IMG.JPG"), "image/jpeg");
    assert_string_equal(by_name("x.tar.gz"), "application/gzip");
    assert_string_equal(by_name("Makefile"), "application/octet-stream");
    assert_string_equal(by_name(".png"), "application/octet-stream"); /* a name, no suffix */
    assert_string_equal(by_name("a."), "application/octet-stream");
    assert_string_equal(by_name(""), "application/octet-stream");
    assert_string_equal(by_name("a.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
                        "application/octet-stream");
}

#define HEAD(text) sf_mime_guess("name", text, sizeof(text) - 1)

static void
contents(void **state)
{
    (void)state;
    char tar[512] = {0};
    memcpy(tar + 257, "ustar", 5);
    assert_string_equal(HEAD("\x89PNG\r\n\x1a\n...."), "image/png");
    assert_string_equal(HEAD("\xff\xd8\xff\xe0...."), "image/jpeg");
    assert_string_equal(HEAD("GIF89a..."), "image/gif");
    assert_string_equal(HEAD("RIFF\x01\x02\x03\x04WEBPVP8 "), "image/webp");
    assert_string_equal(HEAD("RIFX\x01\x02\x03\x04WEBPVP8 "), "application/octet-stream");
    assert_string_equal(HEAD("%PDF-1.7\n"), "application/pdf");
    assert_string_equal(HEAD("PK\x03\x04...."), "application/zip");
    assert_string_equal(HEAD("\x1f\x8b\x08"), "application/gzip");
    assert_string_equal(HEAD("\x28\xb5\x2f\xfd..."), "application/zstd");
    assert_string_equal(HEAD("\x7f"
                             "ELF\x02\x01"),
                        "application/x-elf");
    assert_string_equal(sf_mime_guess("x", tar, sizeof tar), "application/x-tar");
    assert_string_equal(HEAD("\0asm\1\0\0\0"), "application/wasm");
    assert_string_equal(HEAD("plain text\n\tand more\r\n"), "text/plain");
    assert_string_equal(HEAD("na\xc3\xafve"), "text/plain");
    assert_string_equal(HEAD("cut in a charact\xc3"), "text/plain");
    assert_string_equal(HEAD("cut in a long on\xe6\x97"), "text/plain");
    assert_string_equal(HEAD("not UTF-8 \xff\xfe in it"), "application/octet-stream");
    assert_string_equal(HEAD("with a \0 in it"), "application/octet-stream");
    assert_string_equal(HEAD("with a \x01 in it"), "application/octet-stream");
    assert_string_equal(HEAD(""), "application/octet-stream");
    assert_string_equal(HEAD("P"), "text/plain");
    /* the name goes first */
    assert_string_equal(sf_mime_guess("a.html", "%PDF-1.7", 8), "text/html");
}

static void
what_may_be_set(void **state)
{
    (void)state;
    static const char *const good[] = {"text/html",
                                       "text/html; charset=utf-8",
                                       "text/html;charset=\"utf-8\"",
                                       "a/b; c=\"d; \\\"e\" ; f=g",
                                       "application/vnd.a+json",
                                       "X/*"};
    static const char *const bad[] = {"",
                                      "text",
                                      "/html",
                                      "text/",
                                      "text/html;",
                                      "text/html; charset",
                                      "text/html; charset=",
                                      "text/html; charset=\"a",
                                      "text/html; charset=\"a\\",
                                      "text/html charset=a",
                                      "text /html",
                                      "text/ht\nml",
                                      "text/html\r\nX-Y: z",
                                      "text/html; a=\"\x01\"",
                                      "text/html; a=\xc3\xa9",
                                      "text/html; a=\"\xc3\xa9\"",
                                      "inode/symlink",
                                      "INODE/fifo",
                                      "text/html, text/plain"};
    char text[300] = "a/";
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!sf_mime_is_settable(good[i]))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (sf_mime_is_settable(bad[i]))
            fail_msg("%s", bad[i]);
    memset(text + 2, 'x', SF_TYPE_MAX - 2);
    assert_true(sf_mime_is_settable(text));
    assert_true(sf_cache_control_is_settable(text));
    text[SF_TYPE_MAX] = 'x';
    assert_false(sf_mime_is_settable(text));
    assert_false(sf_cache_control_is_settable(text));
    assert_true(sf_cache_control_is_settable("public, max-age=3600"));
    assert_true(sf_cache_control_is_settable("x=\"a, b\""));
    assert_false(sf_cache_control_is_settable(""));
    assert_false(sf_cache_control_is_settable(" no-cache"));
    assert_false(sf_cache_control_is_settable("no-cache\r\nX-Y: z"));
    assert_false(sf_cache_control_is_settable("a\tb"));
    assert_false(sf_cache_control_is_settable("caf\xc3\xa9"));
    assert_false(sf_cache_control_is_settable("no-cache, SupaFS=\"1;x\""));
}

static void
lists(void **state)
{
    (void)state;
    static const char *const list[] = {"image/*", "application/pdf", NULL};
    static const char *const none[] = {NULL};
    assert_true(sf_mime_allowed("image/png", list));
    assert_true(sf_mime_allowed("application/pdf", list));
    assert_false(sf_mime_allowed("application/pdfx", list));
    assert_false(sf_mime_allowed("imagex/png", list));
    assert_false(sf_mime_allowed("image/png", none));
    assert_true(sf_mime_allowed("image/png", NULL));
}

static void
refused_before_it_is_sent(void **state)
{
    (void)state;
    static const char *const list[] = {"image/*", NULL};
    static char elf[SF_MIME_HEAD] = "\177ELF", png[SF_MIME_HEAD] = "\211PNG\r\n\032\n";
    assert_true(sf_write_type_allowed("b", "d/a.png", NULL, 0, list));
    assert_true(sf_write_type_allowed("b", "d/a", NULL, 0, list)); /* the bytes will tell */
    assert_false(sf_write_type_allowed("b", "d/a.pdf", NULL, 0, list));
    assert_true(sf_write_type_allowed("b", "d/a.pdf", NULL, 0, NULL));
    assert_true(sf_write_type_allowed("b", "d.pdf/a", png, sizeof png, list));
    assert_false(sf_write_type_allowed("b", "d.png/a", elf, sizeof elf, list));
    assert_true(sf_write_type_allowed("b", "d/a", elf, 100, list)); /* more may change it */
    assert_true(sf_write_type_allowed("b", "d/a.png", elf, sizeof elf, list));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(contents),
        cmocka_unit_test(what_may_be_set),
        cmocka_unit_test(lists),
        cmocka_unit_test(refused_before_it_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
