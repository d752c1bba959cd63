/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "config-fixture.h"

#include "base/buf.h"
#include "base/str.h"
#include "config/keys.h"

/* Which key is used, and where it may come from. */

/* JWTs with such a role; the signature is not looked at here. */
static char *service, *anon, *user, *custom;

static char *
make_jwt(const char *claims)
{
    sf_autobuf struct sf_buf b = SF_BUF_INIT;
    sf_buf_puts(&b, "eyJhbGciOiJIUzI1NiJ9.");
    sf_base64url_encode(&b, claims, strlen(claims));
    sf_buf_puts(&b, ".c2lnbmF0dXJl");
    return sf_buf_steal(&b, NULL);
}

static int
make_keys(void **state)
{
    service = make_jwt("{\"role\":\"service_role\",\"exp\":2000000000}");
    anon = make_jwt("{\"role\":\"anon\"}");
    user = make_jwt("{\"sub\":\"8\",\"role\":\"authenticated\"}");
    custom = make_jwt("{\"role\":\"app_reader\"}");
    return make_dir(state);
}

static int
drop_keys(void **state)
{
    free(service);
    free(anon);
    free(user);
    free(custom);
    return remove_dir(state);
}

/* An environment of "NAME=" and value pairs, ended by NULL. */
struct env {
    char text[8][1000];
    char *vars[9];
};

static char *const *
env_of(struct env *e, ...)
{
    va_list ap;
    size_t n = 0;
    snprintf(e->text[0], sizeof e->text[0], "HOME=/home/somebody");
    e->vars[n++] = e->text[0];
    va_start(ap, e);
    for (const char *name; (name = va_arg(ap, const char *));) {
        snprintf(e->text[n], sizeof e->text[n], "%s=%s", name, va_arg(ap, const char *));
        e->vars[n] = e->text[n];
        n++;
    }
    va_end(ap);
    e->vars[n] = NULL;
    return e->vars;
}

static int
choose(const struct sf_config_sources *src, struct sf_key_choice *ret, struct sf_err *err)
{
    struct sf_config *cfg = load(src);
    int rc = sf_keys_choose(cfg, ret, err);
    sf_config_free(cfg);
    return rc;
}

/* The choice must be this key, by itself or read from its file. */
static void
chooses(const struct sf_config_sources *src, enum sf_key_mode mode, const char *key,
        const char *sentence)
{
    struct sf_key_choice c;
    struct sf_err err = SF_ERR_INIT;
    if (choose(src, &c, &err))
        fail_msg("%s", err.msg);
    assert_int_equal(c.mode, mode);
    assert_string_equal(c.sentence, sentence);
    if (c.from_file) {
        char *read = NULL;
        if (sf_key_file_read(c.value, c.variable, &read, &err))
            fail_msg("%s", err.msg);
        assert_string_equal(read, key);
        sf_key_wipe(read);
    } else {
        assert_string_equal(c.value, key);
        assert_null(c.variable);
    }
    sf_key_choice_fini(&c);
}

static void
choose_fails(const struct sf_config_sources *src, int code, const char *msg)
{
    struct sf_key_choice c = {.mode = SF_KEY_ANON};
    struct sf_err err = SF_ERR_INIT;
    assert_int_equal(choose(src, &c, &err), code);
    assert_string_equal(err.msg, msg);
    assert_null(c.value);
    assert_null(strstr(err.msg, "eyJ"));
}

static void
auto_takes_the_strongest(void **state)
{
    (void)state;
    struct env e;
    struct sf_config_sources src = quiet_sources();
    src.environment = env_of(&e, "SUPABASE_KEY", anon, NULL);
    chooses(&src, SF_KEY_ANON, anon, "auth=anon: SUPABASE_KEY from the environment");
    src.environment = env_of(&e, "SUPABASE_KEY", anon, "SUPABASE_USER_TOKEN", user, NULL);
    chooses(&src, SF_KEY_USER, user, "auth=user: SUPABASE_USER_TOKEN from the environment");
    src.environment = env_of(&e, "SUPABASE_USER_TOKEN", user, "SUPABASE_ANON_KEY", anon,
                             "SUPABASE_SERVICE_KEY", service, NULL);
    chooses(&src, SF_KEY_SERVICE, service,
            "auth=service: SUPABASE_SERVICE_KEY from the environment");
    src.environment = env_of(&e, "SUPAFS_USER_TOKEN", user, NULL);
    chooses(&src, SF_KEY_USER, user,
            "auth=user: SUPAFS_USER_TOKEN from the environment (no anon key beside it; hosted "
            "projects want one)");
    src.environment = env_of(&e, "SUPABASE_USER_TOKEN", custom, "SUPABASE_ANON_KEY", anon, NULL);
    chooses(&src, SF_KEY_USER, custom, "auth=user: SUPABASE_USER_TOKEN from the environment");
    src.environment = env_of(&e, NULL);
    choose_fails(&src, -ENOKEY,
                 "there is no key; set SUPABASE_SERVICE_ROLE_KEY, SUPABASE_USER_TOKEN or "
                 "SUPABASE_ANON_KEY in the environment or in an env file, or name a key_file");
}

static void
auth_says_which(void **state)
{
    (void)state;
    struct env e;
    const char *options[] = {"auth=service", NULL};
    struct sf_config_sources src = quiet_sources();
    src.mount_options = options;
    src.environment = env_of(&e, "SUPABASE_USER_TOKEN", user, "SUPABASE_ANON_KEY", anon,
                             "SUPABASE_SERVICE_ROLE_KEY", "sb_secret_123", NULL);
    chooses(&src, SF_KEY_SERVICE, "sb_secret_123",
            "auth=service: SUPABASE_SERVICE_ROLE_KEY from the environment");
    options[0] = "auth=user";
    chooses(&src, SF_KEY_USER, user, "auth=user: SUPABASE_USER_TOKEN from the environment");
    options[0] = "auth=anon";
    chooses(&src, SF_KEY_ANON, anon, "auth=anon: SUPABASE_ANON_KEY from the environment");

    static const struct {
        const char *auth, *variable;
    } rows[] = {{"service", "SUPABASE_SERVICE_ROLE_KEY"},
                {"user", "SUPABASE_USER_TOKEN"},
                {"anon", "SUPABASE_ANON_KEY"}};
    src.environment = env_of(&e, NULL);
    for (size_t i = 0; i < 3; i++) {
        char option[32], msg[240];
        snprintf(option, sizeof option, "auth=%s", rows[i].auth);
        snprintf(
            msg, sizeof msg,
            "there is no key for auth=%s; set %s in the environment or in an env file, or name "
            "a key_file",
            rows[i].auth, rows[i].variable);
        options[0] = option;
        choose_fails(&src, -ENOKEY, msg);
    }
}

/* A key is what its role says, not what the variable is called. */
static void
a_key_of_another_kind(void **state)
{
    (void)state;
    struct env e;
    const char *options[] = {"auth=anon", NULL};
    struct sf_config_sources src = quiet_sources();
    src.environment = env_of(&e, "SUPABASE_KEY", service, NULL);
    chooses(&src, SF_KEY_SERVICE, service, "auth=service: SUPABASE_KEY from the environment");
    src.mount_options = options;
    choose_fails(
        &src, -EKEYREJECTED,
        "SUPABASE_KEY from the environment: auth=anon was asked for, but this is a key for "
        "auth=service");
    options[0] = "auth=user";
    src.environment = env_of(&e, "SUPABASE_USER_TOKEN", "sb_publishable_1", NULL);
    choose_fails(
        &src, -EKEYREJECTED,
        "SUPABASE_USER_TOKEN from the environment: auth=user was asked for, but this is a key "
        "for auth=anon");
}

static void
what_is_no_key(void **state)
{
    (void)state;
    char *not_json = make_jwt("role"), *not_object = make_jwt("[1]");
    char *twice = make_jwt("{\"role\":\"anon\",\"role\":\"service_role\"}");
    const char *const bad[] = {"nonsense",
                               "eyJ.eyJ",
                               "eyJhbGciOiJIUzI1NiJ9.e30.c2ln.x",
                               "eyJhbGciOiJIUzI1NiJ9.!!!.c2ln",
                               "a.b.c",
                               not_json,
                               not_object,
                               twice,
                               "sb_other_1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct env e;
        struct sf_config_sources src = quiet_sources();
        src.environment = env_of(&e, "SUPABASE_SERVICE_ROLE_KEY", bad[i], NULL);
        choose_fails(&src, -EKEYREJECTED,
                     "SUPABASE_SERVICE_ROLE_KEY from the environment: this is neither a JWT nor an "
                     "sb_ key");
    }
    free(not_json);
    free(not_object);
    free(twice);
}

static void
a_users_token_is_accompanied(void **state)
{
    (void)state;
    struct env e;
    struct sf_key_choice c;
    struct sf_config_sources src = quiet_sources();
    src.environment = env_of(&e, "SUPABASE_USER_TOKEN", user, "SUPABASE_PUBLISHABLE_KEY",
                             "sb_publishable_1", NULL);
    assert_int_equal(choose(&src, &c, NULL), 0);
    assert_string_equal(c.apikey, "sb_publishable_1");
    sf_key_choice_fini(&c);
    assert_null(c.apikey);

    /* A service key must not go along. */
    src.environment = env_of(&e, "SUPABASE_USER_TOKEN", user, "SUPABASE_KEY", service, NULL);
    assert_int_equal(choose(&src, &c, NULL), 0);
    assert_int_equal(c.mode, SF_KEY_USER);
    assert_null(c.apikey);
    sf_key_choice_fini(&c);

    /* And a service key needs no companion. */
    src.environment = env_of(&e, "SUPABASE_SERVICE_KEY", service, "SUPABASE_KEY", anon, NULL);
    assert_int_equal(choose(&src, &c, NULL), 0);
    assert_null(c.apikey);
    sf_key_choice_fini(&c);
}

static void
keys_from_an_env_file_can_be_read_again(void **state)
{
    (void)state;
    char text[2000], sentence[200];
    struct sf_config_sources src = quiet_sources();
    snprintf(text, sizeof text,
             "# project\nSUPABASE_URL=https://x.example\nexport SUPABASE_ANON_KEY='%s'\n"
             "SUPABASE_SERVICE_ROLE_KEY=\"%s\" # all\n",
             anon, service);
    src.env_file = write_file("env", 0600, text);
    snprintf(sentence, sizeof sentence, "auth=service: SUPABASE_SERVICE_ROLE_KEY from %s",
             src.env_file);
    chooses(&src, SF_KEY_SERVICE, service, sentence);
    const char *const options[] = {"auth=anon", NULL};
    src.mount_options = options;
    snprintf(sentence, sizeof sentence, "auth=anon: SUPABASE_ANON_KEY from %s", src.env_file);
    chooses(&src, SF_KEY_ANON, anon, sentence);
}

static void
keys_from_a_section_can_be_read_again(void **state)
{
    (void)state;
    char text[3000], sentence[200];
    struct sf_config_sources src = quiet_sources();
    snprintf(
        text, sizeof text,
        "anon_key = %s\n[project.a]\nuser-token = %s\n[project.b]\nservice_key = \"%s\" ; mine\n",
        anon, user, service);
    src.user_file = write_file("conf", 0600, text);
    snprintf(sentence, sizeof sentence, "auth=anon: anon_key from %s", src.user_file);
    chooses(&src, SF_KEY_ANON, anon, sentence);
    src.argument = "a";
    snprintf(sentence, sizeof sentence, "auth=user: [project.a] user-token from %s", src.user_file);
    chooses(&src, SF_KEY_USER, user, sentence);
    src.argument = "b";
    snprintf(sentence, sizeof sentence, "auth=service: [project.b] service_key from %s",
             src.user_file);
    chooses(&src, SF_KEY_SERVICE, service, sentence);
}

static void
keys_from_a_key_file(void **state)
{
    (void)state;
    char text[2000], sentence[200], option[200];
    const char *options[] = {option, NULL, NULL};
    struct sf_config_sources src = quiet_sources();
    src.mount_options = options;

    snprintf(text, sizeof text, "\n# the key\r\n  %s \r\nnot this\n", service);
    const char *path = write_file("key", 0600, text);
    snprintf(option, sizeof option, "key_file=%s", path);
    snprintf(sentence, sizeof sentence, "auth=service: key_file %s", path);
    chooses(&src, SF_KEY_SERVICE, service, sentence);

    snprintf(text, sizeof text, "NAME=x\nSUPABASE_KEY=%s\nSUPAFS_USER_TOKEN=%s\n", anon, user);
    write_file("key", 0600, text);
    snprintf(
        sentence, sizeof sentence,
        "auth=user: SUPAFS_USER_TOKEN from %s (no anon key beside it; hosted projects want one)",
        path);
    chooses(&src, SF_KEY_USER, user, sentence);
    options[1] = "auth=anon";
    snprintf(sentence, sizeof sentence, "auth=anon: SUPABASE_KEY from %s", path);
    chooses(&src, SF_KEY_ANON, anon, sentence);
    options[1] = "auth=service";
    snprintf(text, sizeof text, "key_file %s has no key for auth=service", path);
    choose_fails(&src, -ENOKEY, text);
    options[1] = NULL;

    write_file("key", 0600, "\n# nothing\n\n");
    snprintf(text, sizeof text, "key_file %s has no key in it", path);
    choose_fails(&src, -ENOKEY, text);
    write_file("key", 0640, service);
    snprintf(text, sizeof text,
             "%s holds a key, but others than its owner can read it; use: chmod 600 %s", path,
             path);
    choose_fails(&src, -EPERM, text);
    unlink(path);
    snprintf(text, sizeof text, "cannot read %s: No such file or directory", path);
    choose_fails(&src, -ENOENT, text);
}

/* Reading it again would refuse it, and a key that was cut short would have been used till then. */
static void
a_key_with_a_nul(void **state)
{
    (void)state;
    char option[200], text[200];
    const char *options[] = {option, NULL}, *path = write_file("nul", 0600, "sb_secret_12345678");
    struct sf_config_sources src = quiet_sources();
    src.mount_options = options;
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "\0x\n", 3), 3);
    close(fd);
    snprintf(option, sizeof option, "key_file=%s", path);
    snprintf(text, sizeof text, "%s is not a text file: it has a NUL byte", path);
    choose_fails(&src, -EINVAL, text);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    snprintf(option, sizeof option, "key_fd=%d", fd);
    snprintf(text, sizeof text, "key_fd %d is not a text file: it has a NUL byte", fd);
    choose_fails(&src, -EINVAL, text);
}

/* key_file wins over keys of the same or a further source; with auto, over any anon key. */
static void
the_nearer_key_wins(void **state)
{
    (void)state;
    struct env e;
    char conf[200], sentence[200];
    const char *key = write_file("key", 0600, service);
    snprintf(sentence, sizeof sentence, "auth=service: key_file %s", key);
    snprintf(conf, sizeof conf, "key_file = key\n");
    struct sf_config_sources src = quiet_sources();
    src.user_file = write_file("conf", 0644, conf);

    src.environment = env_of(&e, "SUPABASE_KEY", anon, NULL);
    chooses(&src, SF_KEY_SERVICE, service, sentence);
    src.environment = env_of(&e, "SUPABASE_USER_TOKEN", user, "SUPABASE_KEY", anon, NULL);
    chooses(&src, SF_KEY_USER, user, "auth=user: SUPABASE_USER_TOKEN from the environment");
    const char *const options[] = {"auth=anon", NULL};
    src.mount_options = options;
    chooses(&src, SF_KEY_ANON, anon, "auth=anon: SUPABASE_KEY from the environment");
    src.mount_options = NULL;
    src.environment =
        env_of(&e, "SUPABASE_USER_TOKEN", user, "SUPAFS_KEY_FILE", in_dir("key"), NULL);
    chooses(&src, SF_KEY_SERVICE, service, sentence);
}

static void
keys_from_a_descriptor(void **state)
{
    (void)state;
    int fds[2];
    char option[32];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(write(fds[1], user, strlen(user)), strlen(user));
    close(fds[1]);
    snprintf(option, sizeof option, "key_fd=%d", fds[0]);
    const char *const options[] = {option, NULL};
    struct sf_config_sources src = quiet_sources();
    struct env e;
    src.mount_options = options;
    src.environment =
        env_of(&e, "SUPABASE_KEY", anon, "SUPABASE_SERVICE_KEY", service, NULL); /* further away */
    char sentence[80];
    snprintf(sentence, sizeof sentence, "auth=user: file descriptor %d", fds[0]);
    chooses(&src, SF_KEY_USER, user, sentence);
    assert_int_equal(fcntl(fds[0], F_GETFD), -1); /* closed */

    char msg[80];
    snprintf(msg, sizeof msg, "cannot read key_fd %d: Bad file descriptor", fds[0]);
    choose_fails(&src, -EBADF, msg);
}

static void
reading_a_key_again(void **state)
{
    (void)state;
    char text[2000], *key = NULL, msg[200];
    struct sf_err err = SF_ERR_INIT;
    snprintf(text, sizeof text, "A=1\nK=old\nK=new\n");
    const char *path = write_file("env", 0600, text);
    assert_int_equal(sf_key_file_read(path, "K", &key, &err), 0);
    assert_string_equal(key, "new");
    sf_key_wipe(key);
    key = NULL;

    assert_int_equal(sf_key_file_read(path, "B", &key, &err), -ENOKEY);
    snprintf(msg, sizeof msg, "%s has no key named B", path);
    assert_string_equal(err.msg, msg);
    assert_null(key);
    assert_int_equal(sf_key_file_read(path, "[x] anon_key", &key, NULL), -ENOKEY);
    assert_int_equal(sf_key_file_read(path, "[x", &key, NULL), -EINVAL);
    assert_int_equal(chmod(path, 0604), 0);
    assert_int_equal(sf_key_file_read(path, "K", &key, NULL), -EPERM);
    assert_int_equal(sf_key_file_read(path, NULL, &key, NULL), -EPERM);
    assert_int_equal(sf_key_file_read(in_dir("missing"), "K", &key, NULL), -ENOENT);
    assert_null(key);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auto_takes_the_strongest),
        cmocka_unit_test(auth_says_which),
        cmocka_unit_test(a_key_of_another_kind),
        cmocka_unit_test(what_is_no_key),
        cmocka_unit_test(a_users_token_is_accompanied),
        cmocka_unit_test(keys_from_an_env_file_can_be_read_again),
        cmocka_unit_test(keys_from_a_section_can_be_read_again),
        cmocka_unit_test(keys_from_a_key_file),
        cmocka_unit_test(a_key_with_a_nul),
        cmocka_unit_test(the_nearer_key_wins),
        cmocka_unit_test(keys_from_a_descriptor),
        cmocka_unit_test(reading_a_key_again),
    };
    return cmocka_run_group_tests_name("config-keys", tests, make_keys, drop_keys);
}
