/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config-fixture.h"

#include "config/url.h"

/* Forms of a project's URL. */

static void
forms_of_one_url(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"https://abc.supabase.co", "https://abc.supabase.co"},
        {"abc.supabase.co", "https://abc.supabase.co"},
        {"  https://abc.supabase.co/\n", "https://abc.supabase.co"},
        {"HTTPS://ABC.Supabase.CO///", "https://abc.supabase.co"},
        {"https://abc.supabase.co:443", "https://abc.supabase.co"},
        {"https://abc.supabase.co:8443", "https://abc.supabase.co:8443"},
        {"https://abc.supabase.co/storage/v1", "https://abc.supabase.co"},
        {"https://abc.supabase.co/storage/v1/", "https://abc.supabase.co"},
        {"abc.supabase.co//storage/v1//", "https://abc.supabase.co"},
        {"https://example.org/supa/base/storage/v1", "https://example.org/supa/base"},
        {"https://example.org/xstorage/v1", "https://example.org/xstorage/v1"},
        {"https://example.org/Path/", "https://example.org/Path"},
        {"localhost:54321", "http://localhost:54321"},
        {"https://localhost:54321", "https://localhost:54321"},
        {"http://127.0.0.1:80/", "http://127.0.0.1"},
        {"http://127.1.2.3:54321", "http://127.1.2.3:54321"},
        {"http://[::1]:54321/storage/v1", "http://[::1]:54321"},
        {"[::1]:5000", "http://[::1]:5000"},
        {"http://kong.localhost", "http://kong.localhost"},
        {"https://[2001:DB8::2]", "https://[2001:db8::2]"},
        {"my_host:8000", "https://my_host:8000"},
        {"https://example.org/a://b", "https://example.org/a://b"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sf_err err = SF_ERR_INIT;
        char *url = NULL, *again = NULL;
        if (sf_url_normalize(rows[i][0], false, &url, &err))
            fail_msg("%s: %s", rows[i][0], err.msg);
        assert_string_equal(url, rows[i][1]);
        assert_int_equal(sf_url_normalize(url, false, &again, NULL), 0);
        assert_string_equal(again, url);
        free(url);
        free(again);
    }
}

#define NO_HOST                                                                                    \
    "the project's URL has no valid host name; it looks like https://abcdefgh.supabase.co"
#define NO_PORT "the port in the project's URL must be a number from 1 to 65535"
#define PLAIN                                                                                      \
    "http:// to another machine sends the key readable by all on the way; use https://, or "       \
    "insecure=yes if that is meant"
#define USERINFO                                                                                   \
    "the project's URL must not hold a user name or password; keys come from the environment or "  \
    "a "                                                                                           \
    "file"
#define CHARACTER "the project's URL has a character that does not belong in a URL"

static void
what_is_no_url(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"", "the project's URL is empty"},
        {" \n", "the project's URL is empty"},
        {"ftp://x.example", "the project's URL must begin with https:// or http://"},
        {"postgresql://postgres:pw@db.example/postgres",
         "the project's URL must begin with https:// or http://"},
        {"https://", NO_HOST},
        {"https:///path", NO_HOST},
        {"https://:443", NO_HOST},
        {"https://-x.example", NO_HOST},
        {"https://x%20.example", NO_HOST},
        {"https://[::1", NO_HOST},
        {"https://[]", NO_HOST},
        {"https://[x]", NO_HOST},
        {"https://x.example:", NO_PORT},
        {"https://x.example:0", NO_PORT},
        {"https://x.example:65536", NO_PORT},
        {"https://x.example:999999999999", NO_PORT},
        {"https://x.example:8a", NO_PORT},
        {"https://x.example:-1", NO_PORT},
        {"https://user:pw@x.example", USERINFO},
        {"user@x.example/", USERINFO},
        {"https://x.example/?apikey=1", "the project's URL must not have a ? or # part"},
        {"https://x.example/#", "the project's URL must not have a ? or # part"},
        {"https://x.example?y", "the project's URL must not have a ? or # part"},
        {"https://x.exa mple", CHARACTER},
        {"https://x.example/\x01", CHARACTER},
        {"https://x.example/\xc3\xa9", CHARACTER},
        {"https://x.example/\"", CHARACTER},
        {"http://x.example", PLAIN},
        {"http://127.evil.example", PLAIN},
        {"http://127.0.0.1.evil.example", PLAIN},
        {"http://127.0.0.256", PLAIN},
        {"http://127.0.1", PLAIN},
        {"http://localhost.evil.example", PLAIN},
        {"http://notlocalhost", PLAIN},
        {"http://0.0.0.0", PLAIN},
        {"https://supabase.com/dashboard/project/abc",
         "this is the address of the dashboard; the project's URL is shown there under API "
         "settings "
         "and looks like https://abcdefgh.supabase.co"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sf_err err = SF_ERR_INIT;
        char *url = NULL;
        if (sf_url_normalize(rows[i][0], false, &url, &err) != -EINVAL)
            fail_msg("%s was accepted as %s", rows[i][0], url ? url : "nothing");
        assert_string_equal(err.msg, rows[i][1]);
        assert_null(url);
    }
    char text[2100] = "https://x.example/";
    memset(text + 18, 'a', sizeof text - 19);
    assert_int_equal(sf_url_normalize(text, false, (char *[]){NULL}, NULL), -EINVAL);
}

static void
insecure_allows_plain_http(void **state)
{
    (void)state;
    char *url;
    assert_int_equal(sf_url_normalize("http://x.example:8000/", true, &url, NULL), 0);
    assert_string_equal(url, "http://x.example:8000");
    free(url);
    const char *const options[] = {"url=http://nas.example,insecure", NULL};
    struct sf_config_sources src = quiet_sources();
    src.mount_options = options;
    struct sf_config *cfg = load(&src);
    assert_string_equal(sf_config_str(cfg, SF_OPT_URL), "http://nas.example");
    sf_config_free(cfg);
}

static void
loopback_hosts(void **state)
{
    (void)state;
    static const char *const yes[] = {"localhost", "LOCALHOST",       "localhost.", "a.localhost",
                                      "127.0.0.1", "127.255.255.254", "::1",        "[::1]"};
    static const char *const no[] = {"",          "local",      "xlocalhost",  ".example",
                                     "128.0.0.1", "127.0.0",    "127.0.0.1.1", "127.0.0.",
                                     "127...1",   "127.0.0.1x", "::2"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (!sf_url_host_is_loopback(yes[i], strlen(yes[i])))
            fail_msg("%s", yes[i]);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (sf_url_host_is_loopback(no[i], strlen(no[i])))
            fail_msg("%s", no[i]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms_of_one_url),
        cmocka_unit_test(what_is_no_url),
        cmocka_unit_test(insecure_allows_plain_http),
        cmocka_unit_test(loopback_hosts),
    };
    return cmocka_run_group_tests_name("config-url", tests, NULL, NULL);
}
