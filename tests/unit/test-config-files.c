/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config-fixture.h"

#include "base/buf.h"
#include "config/envfile.h"
#include "config/ini.h"

/* The syntax of env files and configuration files, and who may read them. */

/* What a parser said: "LINE NAME=VALUE;" or "LINE [SECTION] NAME=VALUE;" for each value. */
static struct sf_buf seen = SF_BUF_INIT;

static int
see_env(void *arg, const char *name, const char *value, unsigned line, struct sf_err *err)
{
    (void)arg;
    (void)err;
    assert_int_equal(sf_buf_printf(&seen, "%u %s=%s;", line, name, value), 0);
    return 0;
}

static int
see_ini(void *arg, const char *section, const char *name, const char *value, unsigned line,
        struct sf_err *err)
{
    (void)arg;
    (void)err;
    assert_true(!name == !value);
    assert_int_equal(sf_buf_printf(&seen, "%u [%s]", line, section), 0);
    assert_int_equal(name ? sf_buf_printf(&seen, " %s=%s;", name, value) : sf_buf_puts(&seen, ";"),
                     0);
    return 0;
}

static void
env_gives(const char *text, const char *expect)
{
    char copy[1024];
    struct sf_err err = SF_ERR_INIT;
    snprintf(copy, sizeof copy, "%s", text);
    sf_buf_clear(&seen);
    if (sf_envfile_parse(copy, strlen(copy), "f", see_env, NULL, &err))
        fail_msg("%s: %s", text, err.msg);
    assert_string_equal(sf_buf_str(&seen), expect);
}

static void
env_fails(const char *text, const char *expect)
{
    char copy[1024];
    struct sf_err err = SF_ERR_INIT;
    snprintf(copy, sizeof copy, "%s", text);
    sf_buf_clear(&seen);
    assert_int_equal(sf_envfile_parse(copy, strlen(copy), "f", see_env, NULL, &err), -EINVAL);
    assert_string_equal(err.msg, expect);
}

static void
env_files_are_read(void **state)
{
    (void)state;
    env_gives("", "");
    env_gives("\n\r\n  # comment\n\t\n", "");
    env_gives("A=1", "1 A=1;");
    env_gives("A=1\nB=2\n", "1 A=1;2 B=2;");
    env_gives("A=1\r\nB='2'\r\nC=\"3\"\r\n", "1 A=1;2 B=2;3 C=3;");
    env_gives("  export A=1\nexport\tB = 2  \n", "1 A=1;2 B=2;");
    env_gives("export=x\nexported=y\n", "1 export=x;2 exported=y;");
    env_gives("A=\nB=''\nC=\"\"\nD= # c\n", "1 A=;2 B=;3 C=;4 D=;");
    env_gives("A=a b  # c\nB=a#b\nC=#d\n", "1 A=a b;2 B=a#b;3 C=;");
    env_gives("A='a # \\n $B'\nB=\"a # \\n\\t\\\"\\\\\\$x\\q $B\" # c\n",
              "1 A=a # \\n $B;2 B=a # \n\t\"\\$x\\q $B;");
    env_gives("K=\"-----BEGIN\r\nabc\n-----END\"\nA=1\n", "1 K=-----BEGIN\nabc\n-----END;4 A=1;");
    env_gives("A=b=c==\nA=2\n", "1 A=b=c==;2 A=2;");
    env_gives("BARE\nexport BARE2 # c\nmy.name-x=1\n", "3 my.name-x=1;");
    env_gives("\xef\xbb\xbf"
              "A=1\n",
              "1 A=1;");
    env_gives("A='x'", "1 A=x;");
}

static void
bad_env_files_are_refused(void **state)
{
    (void)state;
    env_fails("A=1\nsecret stuff\n", "f:2: this line is not of the form NAME=value");
    env_fails("=x\n", "f:1: this line is not of the form NAME=value");
    env_fails("export =x\n", "f:1: this line is not of the form NAME=value");
    env_fails("\n\nA='x\ny\n", "f:3: the quote that begins here is not closed");
    env_fails("A=\"x\\\"", "f:1: the quote that begins here is not closed");
    env_fails("A='x'y\n", "f:1: something follows the closing quote; quote the whole value");
    char nul[] = "A=1\0B=2";
    struct sf_err err = SF_ERR_INIT;
    assert_int_equal(sf_envfile_parse(nul, sizeof nul - 1, "f", see_env, NULL, &err), -EINVAL);
    assert_string_equal(err.msg, "f: this is not a text file: it has NUL bytes");
}

static void
ini_gives(const char *text, const char *expect)
{
    struct sf_err err = SF_ERR_INIT;
    sf_buf_clear(&seen);
    if (sf_ini_parse(text, strlen(text), "f", see_ini, NULL, &err))
        fail_msg("%s: %s", text, err.msg);
    assert_string_equal(sf_buf_str(&seen), expect);
}

static void
ini_fails(const char *text, const char *expect)
{
    struct sf_err err = SF_ERR_INIT;
    sf_buf_clear(&seen);
    assert_int_equal(sf_ini_parse(text, strlen(text), "f", see_ini, NULL, &err), -EINVAL);
    assert_string_equal(err.msg, expect);
}

static void
configuration_files_are_read(void **state)
{
    (void)state;
    ini_gives("", "");
    ini_gives("# c\n; c\n\n   # indented\n", "");
    ini_gives("a=1\nb : 2\n c = 3 \n\td=4\r\n", "1 [] a=1;2 [] b=2;3 [] c=3;4 [] d=4;");
    ini_gives("a=1 ; c\nb=1;2\nc=x # kept\nd= ; only\n",
              "1 [] a=1;2 [] b=1;2;3 [] c=x # kept;4 [] d=;");
    ini_gives("a=\"  x \"\nb=\"\nc=\"\"\n", "1 [] a=  x ;2 [] b=\";3 [] c=;");
    ini_gives("[s]\na=1\n  [t.u] ; c = d\nb=2\n[s] # x\nc=3",
              "1 [s];2 [s] a=1;3 [t.u];4 [t.u] b=2;5 [s];6 [s] c=3;");
    ini_gives("[a]\n\n[b]", "1 [a];3 [b];");
    ini_gives("url=https://x.example:1/y\n", "1 [] url=https://x.example:1/y;");
    ini_gives("\xef\xbb\xbf"
              "a=1\n",
              "1 [] a=1;");
}

/* inih itself cuts lines at 200 bytes. */
static void
long_lines_are_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = {150, 190, 195, 196, 197, 198, 199, 200, 201, 400, 1000, 20000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        sf_autobuf struct sf_buf text = SF_BUF_INIT, expect = SF_BUF_INIT;
        sf_buf_puts(&text, "  service_key = ");
        sf_buf_puts(&expect, "1 [] service_key=");
        for (size_t n = 0; n < sizes[i]; n++) {
            char c = "abc;#d e=:[f]"[n % 13];
            if (n + 1 == sizes[i])
                c = 'z';
            sf_buf_putc(&text, c);
            sf_buf_putc(&expect, c);
        }
        sf_buf_puts(&text, " ; and a comment\nnext = 1\n");
        sf_buf_puts(&expect, ";2 [] next=1;");
        ini_gives(text.data, expect.data);
    }
    sf_autobuf struct sf_buf comment = SF_BUF_INIT;
    sf_buf_puts(&comment, "[s] ; ");
    for (int n = 0; n < 1000; n++)
        sf_buf_puts(&comment, "a=b ");
    sf_buf_puts(&comment, "\nx=y\n# ");
    for (int n = 0; n < 1000; n++)
        sf_buf_puts(&comment, "a=b ");
    ini_gives(comment.data, "1 [s];2 [s] x=y;");
}

static void
bad_configuration_files_are_refused(void **state)
{
    (void)state;
    ini_fails("a=1\n\nno equals sign\n", "f:3: this line is not of the form name = value");
    ini_fails("=1\n", "f:1: this line is not of the form name = value");
    ini_fails("a ; b = 1\n", "f:1: this line is not of the form name = value");
    ini_fails("[open\n", "f:1: a section is written [NAME]");
    ini_fails("[s] a=1\n", "f:1: a section is written [NAME]");
    ini_fails("[0123456789012345678901234567890123456789012345678]\n",
              "f:1: the section's name is longer than 48 bytes");
    ini_fails("0123456789012345678901234567890123456789012345678=1\n",
              "f:1: the option's name is longer than 48 bytes");
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    sf_buf_puts(&text, "a=1\nb=");
    for (int n = 0; n < 40000; n++)
        sf_buf_putc(&text, 'x');
    ini_fails(text.data, "f:2: the line is longer than 32768 bytes");
    sf_buf_clear(&text);
    sf_buf_puts(&text, "b=a");
    for (int n = 0; n < 300; n++)
        sf_buf_putc(&text, ' ');
    sf_buf_puts(&text, "b");
    ini_fails(text.data, "f:1: the line has too much white space");
}

static void
user_file_fails(const char *text, const char *tail)
{
    char msg[256];
    struct sf_config_sources src = quiet_sources();
    src.user_file = write_file("conf", 0600, text);
    snprintf(msg, sizeof msg, "%s:%s", src.user_file, tail);
    load_fails(&src, -EINVAL, msg);
}

static void
what_does_not_belong_in_a_configuration_file(void **state)
{
    (void)state;
    user_file_fails("\nbuckett = x\n", "2: there is no option \"buckett\"; did you mean bucket?");
    user_file_fails("[project.a]\nfoo = x\n",
                    "2: there is no option \"foo\"; the manual page supafs(1) lists them");
    user_file_fails("[projcet.a]\nurl = x\n",
                    "2: there is no section [projcet.a]; write [project.NAME]");
    user_file_fails("[project.]\nurl = x\n",
                    "2: there is no section [project.]; write [project.NAME]");
    user_file_fails("bucket=a\n[project.a]\nbucket=b\nbucket=c\n",
                    "4: bucket is set a second time in this section");
    user_file_fails("[project.a]\nproject=b\n", "2: project cannot be set inside of a section");
    user_file_fails("key_fd=3\n", "1: key_fd cannot be set in a file");
    user_file_fails("[bucket.]\npublic=yes\n", "2: [bucket.NAME] wants the name of a bucket");
    user_file_fails("[bucket.a/b]\npublic=yes\n", "2: [bucket.NAME] wants the name of a bucket");
    user_file_fails(
        "[bucket.a]\nro=yes\n",
        "2: a bucket has public, file_size_limit and allowed_mime_types, and no \"ro\"");
    user_file_fails("[bucket.a]\npublic=perhaps\n",
                    "2: public cannot be \"perhaps\"; it is yes or no");
    user_file_fails("[bucket.a]\nfile_size_limit=-1\n",
                    "2: file_size_limit cannot be \"-1\"; it is a size, written like 10M, or none");
    user_file_fails("[bucket.a]\nallowed_mime_types=image/*, pdf\n",
                    "2: allowed_mime_types cannot be \"image/*, pdf\"; it is a list like text/*, "
                    "application/pdf");
}

static void
buckets_are_collected_from_both_files(void **state)
{
    (void)state;
    struct sf_config_sources src = quiet_sources();
    src.system_file = write_file("system", 0644,
                                 "[bucket.a]\npublic = yes\nfile_size_limit = 10M\n"
                                 "[project.x]\nurl = http://localhost:1\n"
                                 "[bucket.b]\nallowed_mime_types = image/*,text/plain\n");
    src.user_file = write_file("conf", 0600,
                               "[bucket.c]\npublic = no\n"
                               "[bucket.a]\nfile_size_limit = none\nallowed_mime_types = x/y\n"
                               "[bucket.b]\nallowed_mime_types =\n");
    struct sf_config *cfg = load(&src);
    const struct sf_config_bucket *a = sf_config_bucket(cfg, 0), *b = sf_config_bucket(cfg, 1),
                                  *c = sf_config_bucket(cfg, 2);
    assert_null(sf_config_bucket(cfg, 3));
    assert_string_equal(a->name, "a");
    assert_true(a->is_public);
    assert_int_equal(a->size_limit, 0);
    assert_string_equal(a->mimes[0], "x/y");
    assert_null(a->mimes[1]);
    assert_string_equal(b->name, "b");
    assert_false(b->is_public);
    assert_null(b->mimes);
    assert_string_equal(c->name, "c");
    sf_config_free(cfg);
}

/* ---- who may read it ---- */

static void
shared_files_may_not_hold_keys(void **state)
{
    (void)state;
    static const mode_t shared[] = {0644, 0640, 0604, 0620, 0601};
    char msg[256];
    struct sf_config_sources src = quiet_sources();
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++) {
        src.user_file =
            write_file("conf", shared[i], "[project.other]\n\nservice_key = sb_secret_1\n");
        snprintf(
            msg, sizeof msg,
            "%s:3: here is a key, but others than the file's owner can read it; use: chmod 600 %s",
            src.user_file, src.user_file);
        load_fails(&src, -EPERM, msg);
        src.user_file = "";

        src.env_file = write_file("env", shared[i], "SUPABASE_ANON_KEY=sb_publishable_1\n");
        snprintf(
            msg, sizeof msg,
            "SUPABASE_ANON_KEY in %s:1: here is a key, but others than the file's owner can read "
            "it; use: chmod 600 %s",
            src.env_file, src.env_file);
        load_fails(&src, -EPERM, msg);
        src.env_file = NULL;
    }
    static const mode_t private[] = {0600, 0400};
    for (size_t i = 0; i < sizeof private / sizeof *private; i++) {
        src.user_file = write_file("conf", private[i], "service_key = sb_secret_1\n");
        src.env_file = write_file("env", private[i], "SUPABASE_ANON_KEY=sb_publishable_1\n");
        struct sf_config *cfg = load(&src);
        assert_string_equal(sf_config_str(cfg, SF_OPT_SERVICE_KEY), "sb_secret_1");
        assert_string_equal(sf_config_str(cfg, SF_OPT_ANON_KEY), "sb_publishable_1");
        sf_config_free(cfg);
    }
    /* A template whose keys are not filled in may be read by all. */
    src.user_file = write_file("conf", 0644, "service_key =\n[project.a]\nanon_key =\n");
    src.env_file = write_file("env", 0644, "SUPABASE_ANON_KEY=\n");
    struct sf_config *cfg = load(&src);
    assert_null(sf_config_str(cfg, SF_OPT_SERVICE_KEY));
    sf_config_free(cfg);
}

static void
files_that_are_none(void **state)
{
    (void)state;
    char msg[256];
    struct sf_config_sources src = quiet_sources();
    src.user_file = in_dir("missing");
    src.system_file = in_dir("missing/too");
    sf_config_free(load(&src));

    src.user_file = dir;
    snprintf(msg, sizeof msg, "cannot read %s: it is not a regular file", dir);
    load_fails(&src, -EISDIR, msg);
    src.user_file = "";

    const char *fifo = in_dir("fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    src.env_file = fifo; /* must not wait for a writer */
    snprintf(msg, sizeof msg, "cannot read %s: it is not a regular file", fifo);
    load_fails(&src, -EINVAL, msg);

    const char *big = write_file("big", 0600, "x=1\n");
    assert_int_equal(truncate(big, 2 << 20), 0);
    src.env_file = big;
    snprintf(msg, sizeof msg, "%s is too large, or grew while it was read", big);
    load_fails(&src, -EFBIG, msg);

    src.env_file = write_file("env", 0600, "SUPAFS_ENV_FILE=/x\n");
    snprintf(msg, sizeof msg, "SUPAFS_ENV_FILE in %s:1: an env file cannot set this", src.env_file);
    load_fails(&src, -EINVAL, msg);
}

static int
finish(void **state)
{
    sf_buf_fini(&seen);
    return remove_dir(state);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(env_files_are_read),
        cmocka_unit_test(bad_env_files_are_refused),
        cmocka_unit_test(configuration_files_are_read),
        cmocka_unit_test(long_lines_are_whole),
        cmocka_unit_test(bad_configuration_files_are_refused),
        cmocka_unit_test(what_does_not_belong_in_a_configuration_file),
        cmocka_unit_test(buckets_are_collected_from_both_files),
        cmocka_unit_test(shared_files_may_not_hold_keys),
        cmocka_unit_test(files_that_are_none),
    };
    return cmocka_run_group_tests_name("config-files", tests, make_dir, finish);
}
