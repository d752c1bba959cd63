/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/cleanup.h"
#include "base/file.h"
#include "observe/line.h"
#include "observe/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* What a format and its arguments become. */
__attribute__((format(printf, 1, 2))) static const char *
line_of(const char *fmt, ...)
{
    static struct sf_line line;
    va_list ap;
    memset(&line, 0, sizeof line);
    va_start(ap, fmt);
    sf_line_format(&line, fmt, ap);
    va_end(ap);
    sf_line_finish(&line);
    assert_int_equal(line.len, strlen(line.text));
    assert_true(line.len < SF_LINE_MAX);
    return line.text;
}

static void
numbers_are_printf_s(void **state)
{
    (void)state;
    assert_string_equal(
        line_of("a=%d b=%5u c=%08lx d=%zu e=%lld", -1, 7u, 0xabcUL, (size_t)9, -5000000000LL),
        "a=-1 b=    7 c=00000abc d=9 e=-5000000000");
    assert_string_equal(line_of("f=%.3f g=%*d h=%.*f p=%p", 1.5, 4, 2, 1, 2.25, NULL),
                        "f=1.500 g=   2 h=2.2 p=(nil)");
    assert_string_equal(
        line_of("i=%jd j=%hhu k=%#x 100%%", (intmax_t)INT64_MIN, (unsigned char)200, 255u),
        "i=-9223372036854775808 j=200 k=0xff 100%");
    errno = ENOENT;
    assert_string_equal(line_of("err=%m n=%d", 1), "err=\"No such file or directory\" n=1");
}

static void
strings_are_quoted_only_when_needed(void **state)
{
    (void)state;
    assert_string_equal(line_of("key=%s n=%d", "notes/a.txt", 1), "key=notes/a.txt n=1");
    assert_string_equal(line_of("key=%s", ""), "key=\"\"");
    assert_string_equal(line_of("key=%s", "a b"), "key=\"a b\"");
    assert_string_equal(line_of("key=%s", "a=b"), "key=\"a=b\"");
    assert_string_equal(line_of("key=%s", "gr\xc3\xbc\xc3\x9f"), "key=\"gr\xc3\xbc\xc3\x9f\"");
    assert_string_equal(line_of("key=%.*s", 3, "abcdef"), "key=abc");
    assert_string_equal(line_of("key=%s", (const char *)NULL), "key=(null)");
}

static void
hostile_names_cannot_forge(void **state)
{
    (void)state;
    assert_string_equal(line_of("key=%s err=%d", "a\nlevel=error event=forged", 1),
                        "key=\"a\\nlevel=error event=forged\" err=1");
    assert_string_equal(line_of("key=%s", "a\" user=root \\"), "key=\"a\\\" user=root \\\\\"");
    assert_string_equal(line_of("path=%s/%s x=1", "a b", "c\rd"), "path=a\\x20b/c\\rd x=1");
    assert_string_equal(line_of("msg=\"%s: %s\"", "a\"b", "c d"), "msg=\"a\\\"b: c d\"");
    assert_string_equal(line_of("key=%s", "\x1b[2J\x7f"), "key=\"\\x1b[2J\\x7f\"");
    /* not UTF-8, a C1 control, and an override of the writing direction */
    assert_string_equal(line_of("key=%s", "\xff\xc2\x9b\xe2\x80\xae\xe2\x81\xa6"),
                        "key=\"\\xff\\xc2\\x9b\\xe2\\x80\\xae\\xe2\\x81\\xa6\"");
    assert_string_equal(line_of("c=%c", '\n'), "c=\"\\n\"");
}

/* Whether the line is made of pairs: KEY=VALUE with one space between, quotes paired. */
static bool
is_pairs(const char *s)
{
    for (;;) {
        if (!(*s >= 'a' && *s <= 'z'))
            return false;
        while (*s >= 'a' && *s <= 'z')
            s++;
        if (*s++ != '=')
            return false;
        if (*s == '"') {
            for (s++; *s && *s != '"'; s++)
                if (*s == '\\' && !*++s)
                    return false;
            if (*s++ != '"')
                return false;
        } else {
            for (; *s && *s != ' ' && *s != '"'; s++)
                if (*s == '\\' && !*++s)
                    return false;
        }
        if (!*s)
            return true;
        if (*s++ != ' ')
            return false;
    }
}

static void
random_bytes_stay_one_value(void **state)
{
    (void)state;
    static const char pieces[][8] = {"\"",   "\\",   " ",        "=",       "a=b",    "\n",
                                     "\x7f", "\xc2", "\xe2\x80", "\xae",    "token=", "eyJ",
                                     ".",    "x",    "\x01",     "\xf0\x9f"};
    unsigned seed = 20261121;
    char arg[6000];
    for (int round = 0; round < 20000; round++) {
        size_t n = 0, want = (size_t)rand_r(&seed) % (round % 100 ? 200 : 5000);
        while (n < want) {
            const char *p = pieces[(unsigned)rand_r(&seed) % (sizeof pieces / sizeof *pieces)];
            memcpy(arg + n, p, strlen(p));
            n += strlen(p);
        }
        arg[n] = '\0';
        const char *s = line_of("first=%s last=%s", arg, "end");
        if (!is_pairs(s))
            fail_msg("round %d: %s", round, s);
        for (const char *p = s; *p; p++)
            assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
        assert_int_equal(s[strlen(s) - 1] == 'd' && s[strlen(s) - 2] == 'n', 1);
        s = line_of("path=%s/%s msg=\"it was %s, and %s\" last=%d", arg, "x", arg, arg, 1);
        if (!is_pairs(s))
            fail_msg("round %d: %s", round, s);
    }
}

static void
length_is_bounded(void **state)
{
    (void)state;
    static char big[200000];
    memset(big, 'x', sizeof big - 1);
    const char *s = line_of("key=%s err=%d", big, 5);
    assert_int_equal(strlen(s), strlen("key=") + SF_VALUE_MAX + strlen("... err=5"));

    memset(big, '\n', sizeof big - 1);
    s = line_of("a=%s b=%s c=%s d=1", big, big, big);
    size_t n = strlen(s);
    assert_true(n < SF_LINE_MAX && n > SF_LINE_MAX - 40);
    assert_string_equal(s + n - strlen("\\n\" truncated=yes"), "\\n\" truncated=yes");
    assert_null(strchr(s, '\n'));
    /* every length around the limit keeps the quotes paired */
    for (int pad = 3900; pad < 4200; pad++) {
        int quotes = 0;
        s = line_of("%*d v=%s w=%s", pad, 1, "a b c d e f", "g h");
        for (const char *p = s; *p; p++)
            quotes += *p == '"';
        assert_int_equal(quotes % 2, 0);
    }
}

#define JWT "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.c2lnbmF0dXJl_-"

static void
secrets_are_hidden(void **state)
{
    (void)state;
    assert_string_equal(line_of("hdr=%s n=%d", JWT, 1), "hdr=*** n=1");
    assert_string_equal(line_of("hdr=%s", "Authorization: Bearer abc.def"),
                        "hdr=\"Authorization: Bearer ***\"");
    assert_string_equal(line_of("k=%s", "sb_secret_ABCdef_123 next"), "k=\"sb_secret_*** next\"");
    assert_string_equal(line_of("k=%s", "sk-0123456789abcdefXYZ"), "k=sk-***");
    assert_string_equal(line_of("url=%s", "http://h/o?token=abc&x=1&Access_Token=def"),
                        "url=\"http://h/o?token=***&x=1&Access_Token=***\"");
    assert_string_equal(line_of("msg=\"Bearer %s\"", "abc"), "msg=\"Bearer ***\"");
    assert_string_equal(line_of("a=eyJ%s b=1", "hbGciOiJIUzI1NiJ9"), "a=eyJ*** b=1");
    assert_string_equal(line_of("key=%s err=%s", "token=\\", "fatal"),
                        "key=\"token=\\\\\" err=fatal");
    assert_string_equal(line_of("token=%s z=1", "very secret value"), "token=*** z=1");
    assert_string_equal(line_of("b=%s", "{\"access_token\":\"abcdef\",\"x\":1}"),
                        "b=\"{\\\"access_token\\\":\\\"***\\\",\\\"x\\\":1}\"");
    assert_string_equal(line_of("k=%s", "org-07cd14fb02ea4e6c9a2e4d6e"), "k=org-***");
    assert_string_equal(line_of("k=%s", "<ak-eu8nqsdi6xdi11f1e8fi>"), "k=<ak-***>");
    assert_string_equal(line_of("k=%s", "0123456789abcdef0123456789abcdef.QdEfGh1234567890"),
                        "k=***");
    /* what only looks a little like one stays */
    assert_string_equal(line_of("k=%s", "org-chart-2026-07-15-final.pdf"),
                        "k=org-chart-2026-07-15-final.pdf");
    assert_string_equal(line_of("k=%s", "proj-alphabeticalorder"), "k=proj-alphabeticalorder");
    assert_string_equal(line_of("k=%s", "0123456789abcdef0123456789abcdef.txt"),
                        "k=0123456789abcdef0123456789abcdef.txt");
    assert_string_equal(line_of("k=%s", "eyJ"), "k=eyJ");
    assert_string_equal(line_of("k=%s", "task-force-0123456789abcdef"),
                        "k=task-force-0123456789abcdef");
    assert_string_equal(line_of("k=%s", "tokens.txt"), "k=tokens.txt");

    struct sf_err err = SF_ERR_INIT;
    assert_int_equal(sf_err_set(&err, -EIO, "GET /x?token=%s said %s", "abc", JWT), -EIO);
    assert_string_equal(err.msg, "GET /x?token=*** said ***");
    assert_int_equal(sf_err_prefix(&err, "with %s", JWT), -EIO);
    assert_string_equal(err.msg, "with ***: GET /x?token=*** said ***");
}

static char dir[] = "/tmp/test-observe-log-XXXXXX";
static char path[64];

static void
log_to_file(const char *levels, int window_ms)
{
    unlink(path);
    struct sf_log_options opt = {.sinks = SF_LOG_FILE, .file = path, .levels = levels};
    opt.window_ms = window_ms;
    assert_int_equal(sf_log_open(&opt, NULL), 0);
}

/* The lines logged so far, without time stamps. */
static char *
logged(void)
{
    sf_autobuf struct sf_buf raw = SF_BUF_INIT;
    struct sf_buf out = SF_BUF_INIT;
    assert_int_equal(sf_read_file(path, 1 << 20, &raw, NULL), 0);
    for (char *p = raw.data; *p;) {
        char *end = strchr(p, '\n');
        assert_non_null(end);
        assert_memory_equal(p, "ts=20", 5);
        p = strchr(p, ' ') + 1;
        assert_int_equal(sf_buf_append(&out, p, (size_t)(end + 1 - p)), 0);
        p = end + 1;
    }
    return sf_buf_steal(&out, NULL);
}

static int
occurrences(const char *text, const char *what)
{
    int n = 0;
    for (const char *p = text; (p = strstr(p, what)); p++)
        n++;
    return n;
}

static void
levels_per_module(void **state)
{
    (void)state;
    log_to_file("warn,http=trace,fuse=error", 0);
    sf_info("write", "event=hidden");
    sf_warn("write", "event=shown n=%d", 1);
    sf_trace("http", "event=shown n=%d", 2);
    sf_warn("fuse", "event=hidden");
    sf_error("fuse", "event=shown n=%d", 3);
    assert_true(sf_log_enabled(SF_LOG_TRACE, "http"));
    assert_false(sf_log_enabled(SF_LOG_INFO, "tree"));
    assert_int_equal(sf_log_set_levels("info,http=loud", NULL), -EINVAL);
    assert_int_equal(sf_log_set_levels("=debug", NULL), -EINVAL);
    struct sf_err err = SF_ERR_INIT;
    assert_int_equal(sf_log_set_levels("info,htp=debug", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "no module 'htp'"));
    assert_true(sf_log_enabled(SF_LOG_TRACE, "http"));
    assert_int_equal(sf_log_set_levels("http=info", NULL), 0);
    assert_false(sf_log_enabled(SF_LOG_TRACE, "http"));
    sf_log_close();
    sf_autofree char *s = logged();
    assert_string_equal(s, "level=warn module=write event=shown n=1\n"
                           "level=trace module=http event=shown n=2\n"
                           "level=error module=fuse event=shown n=3\n");
}

static void
every_module_has_a_level(void **state)
{
    (void)state;
    char name[256];
    const char *src = getenv("top_srcdir");
    snprintf(name, sizeof name, "%s/src/LAYERS", src ? src : ".");
    sf_autofile FILE *f = fopen(name, "r");
    if (!f)
        skip(); /* not run by make check */
    int modules = 0;
    while (fgets(name, sizeof name, f)) {
        if (*name == '#')
            continue;
        char *save = NULL;
        for (char *m = strtok_r(name, " \n", &save); m; m = strtok_r(NULL, " \n", &save)) {
            char spec[64];
            snprintf(spec, sizeof spec, "error,%.40s=trace", m);
            assert_int_equal(sf_log_set_levels(spec, NULL), 0);
            assert_true(sf_log_enabled(SF_LOG_TRACE, m));
            modules++;
        }
    }
    assert_in_range(modules, 10, 100);
    sf_log_close();
}

static void
repetition_is_held_back_and_counted(void **state)
{
    (void)state;
    log_to_file("info", 60000);
    for (int i = 0; i < 100; i++)
        sf_warn("http", "event=retry host=%s", "example");
    for (int i = 0; i < 3; i++)
        sf_warn("http", "event=retry host=%s", "other");
    sf_log_close();
    sf_autofree char *s = logged();
    assert_int_equal(occurrences(s, "event=retry host=example\n"), 5);
    assert_int_equal(occurrences(s, "event=retry host=other\n"), 3);
    assert_int_equal(occurrences(s, "event=log-held-back count=95 "), 1);
    assert_int_equal(occurrences(s, "held-back"), 1);
}

static void
flood_of_one_event_is_bounded(void **state)
{
    (void)state;
    log_to_file("info", 60000);
    for (int i = 0; i < 1000; i++)
        sf_warn("write", "event=upload-failed key=%d", i);
    sf_log_close();
    sf_autofree char *s = logged();
    assert_int_equal(occurrences(s, "event=upload-failed key="), 200 + 1);
    assert_int_equal(occurrences(s, "event=log-held-back count=800 "), 1);
}

static void
window_ends(void **state)
{
    (void)state;
    log_to_file("info", 30);
    for (int i = 0; i < 9; i++)
        sf_warn("http", "event=again");
    usleep(50000);
    sf_warn("http", "event=again");
    sf_autofree char *s = logged();
    assert_int_equal(occurrences(s, "event=again\n"), 6);
    assert_non_null(strstr(s, "event=log-held-back count=4 text=\"level=warn module=http "
                              "event=again\"\nlevel=warn module=http event=again\n"));
    sf_log_close();
}

static void
file_is_private_and_rotates(void **state)
{
    (void)state;
    char old[80];
    struct stat st;
    log_to_file("info", 0);
    snprintf(old, sizeof old, "%s.1", path);
    sf_info("cmd", "event=first");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(rename(path, old), 0);
    assert_int_equal(sf_log_reopen(NULL), 0);
    sf_info("cmd", "event=second");
    sf_log_close();
    sf_autofree char *s = logged();
    assert_string_equal(s, "level=info module=cmd event=second\n");
    unlink(old);

    struct sf_err err = SF_ERR_INIT;
    struct sf_log_options bad = {.sinks = SF_LOG_FILE, .file = "/nonexistent/dir/log"};
    assert_int_equal(sf_log_open(&bad, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "/nonexistent/dir/log"));
}

static int
setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/log", dir);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_printf_s),
        cmocka_unit_test(strings_are_quoted_only_when_needed),
        cmocka_unit_test(hostile_names_cannot_forge),
        cmocka_unit_test(random_bytes_stay_one_value),
        cmocka_unit_test(length_is_bounded),
        cmocka_unit_test(secrets_are_hidden),
        cmocka_unit_test(levels_per_module),
        cmocka_unit_test(every_module_has_a_level),
        cmocka_unit_test(repetition_is_held_back_and_counted),
        cmocka_unit_test(flood_of_one_event_is_bounded),
        cmocka_unit_test(window_ends),
        cmocka_unit_test(file_is_private_and_rotates),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
