/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Rule M10 of docs/formats/chat.md: an answer comes back to the same question, and to no other. */
#include "chat/answers.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char kept_key[2][SF_CHAT_KEPT_KEY];
static struct sf_buf kept_value[2];

static int
get(void *arg, enum sf_chat_kept_table table, const char *key, struct sf_buf *out)
{
    (void)arg;
    if (strcmp(key, kept_key[table]) != 0)
        return -ENOENT;
    return sf_buf_append(out, kept_value[table].data, kept_value[table].len);
}

static int
put(void *arg, enum sf_chat_kept_table table, const char *key, const char *value, size_t len)
{
    (void)arg;
    assert_true(strlen(key) < SF_CHAT_KEPT_KEY);
    snprintf(kept_key[table], SF_CHAT_KEPT_KEY, "%s", key);
    sf_buf_clear(&kept_value[table]);
    return sf_buf_append(&kept_value[table], value, len);
}

static const struct sf_chat_kept kept = {.get = get, .put = put};

static void
answers_come_back(void **state)
{
    char model[] = "kimi-k2.6";
    struct sf_chat_answer a = {.at_ms = 1795327803120,
                               .model = model,
                               .usage = {true, 100, 90, 12, 3}},
                          b = {0};
    (void)state;
    assert_int_equal(sf_chat_answer_get(&kept, "k", &b), -ENOENT);
    assert_int_equal(sf_buf_puts(&a.text, "An \"answer\"\nof two lines, é"), 0);
    assert_int_equal(sf_chat_answer_put(&kept, "k", &a), 0);
    assert_int_equal(sf_chat_answer_get(&kept, "l", &b), -ENOENT);
    assert_int_equal(sf_chat_answer_get(&kept, "k", &b), 0);
    assert_string_equal(b.text.data, a.text.data);
    assert_string_equal(b.model, model);
    assert_int_equal(b.at_ms, a.at_ms);
    assert_memory_equal(&b.usage, &a.usage, sizeof a.usage);
    sf_chat_answer_fini(&b);
    /* With as little as there can be. */
    sf_buf_clear(&a.text);
    a.model = NULL;
    a.usage.known = false;
    assert_int_equal(sf_chat_answer_put(&kept, "k", &a), 0);
    assert_int_equal(sf_chat_answer_get(&kept, "k", &b), 0);
    assert_null(b.model);
    assert_false(b.usage.known);
    assert_int_equal(b.text.len, 0);
    sf_chat_answer_fini(&b);
    sf_buf_fini(&a.text);
}

static void
damage_is_no_answer(void **state)
{
    static const char *const bad[] = {
        "",
        "{}",
        "{}\n",
        "\n",
        "[]\nx",
        "{\"at_ms\":1,\"model\":null,\"bytes\":2}\nx",
        "{\"at_ms\":1,\"model\":null,\"bytes\":0}\nx",
        "{\"at_ms\":1,\"model\":null,\"bytes\":-1}\n",
        "{\"at_ms\":1,\"model\":7,\"bytes\":0}\n",
        "{\"at_ms\":1,\"model\":null,\"bytes\":1}\n\xff",
        "{\"at_ms\":1,\"model\":null,\"bytes\":0,\"usage\":[1]}\n",
        "{\"at_ms\":1,\"model\":null,\"bytes\":0,\"usage\":[1,2,3,-4]}\n",
        "{\"at_ms\":1,\"bytes\":0,\"bytes\":0}\n"};
    struct sf_chat_answer a = {0};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(sf_chat_answer_unpack(bad[i], strlen(bad[i]), &a), -EPROTO);
    assert_null(a.text.data);
    assert_int_equal(put(NULL, SF_CHAT_KEPT_ANSWERS, "k", bad[3], 1), 0);
    assert_int_equal(sf_chat_answer_get(&kept, "k", &a), -ENOENT);
}

static void
another_question_has_another_key(void **state)
{
    static const struct sf_provider_type type = {.name = "kimi", .model = "m"};
    char base[] = "https://a.example/v1", other[] = "https://b.example/v1";
    const double cool = 0.2, hot = 0.3;
    const struct sf_provider_chat chats[] = {
        {.model = NULL},
        {.model = "n"},
        {.max_tokens = 5},
        {.thinking = SF_PT_YES},
        {.thinking = SF_PT_YES, .effort = "low"},
        {.temperature = &cool},
        {.temperature = &hot},
    };
    enum { N = sizeof chats / sizeof *chats };
    struct sf_provider_conf conf = {.name = "kimi", .type = &type, .base_url = base};
    char keys[N + 2][SF_CHAT_KEPT_KEY], again[SF_CHAT_KEPT_KEY];
    (void)state;
    for (size_t i = 0; i < N; i++)
        assert_int_equal(sf_chat_answer_key(&conf, &chats[i], "d", keys[i]), 0);
    assert_int_equal(sf_chat_answer_key(&conf, &chats[0], "e", keys[N]), 0);
    conf.base_url = other;
    assert_int_equal(sf_chat_answer_key(&conf, &chats[0], "d", keys[N + 1]), 0);
    for (size_t i = 0; i < N + 2; i++)
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(keys[i], keys[k]);
    conf.base_url = base;
    const struct sf_provider_chat same = {.model = "m"};
    assert_int_equal(sf_chat_answer_key(&conf, &same, "d", again), 0);
    assert_string_equal(again, keys[0]);
}

static void
texts_come_back(void **state)
{
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    char sha[65];
    (void)state;
    memset(sha, 'a', 64);
    sha[64] = '\0';
    assert_int_equal(sf_buf_puts(&out, "before "), 0);
    assert_int_equal(sf_chat_text_get(&kept, "kimi", sha, &out), -ENOENT);
    assert_int_equal(sf_chat_text_put(&kept, "kimi", sha, "text", 4), 0);
    assert_int_equal(sf_chat_text_get(&kept, "glm", sha, &out), -ENOENT);
    assert_int_equal(sf_chat_text_get(&kept, "kimi", sha, &out), 0);
    assert_string_equal(out.data, "before text");
    assert_int_equal(sf_chat_text_put(&kept, "kimi", sha, "a\0b", 3), 0);
    assert_int_equal(sf_chat_text_get(&kept, "kimi", sha, &out), -ENOENT);
    assert_string_equal(out.data, "before text");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_back),
        cmocka_unit_test(damage_is_no_answer),
        cmocka_unit_test(another_question_has_another_key),
        cmocka_unit_test(texts_come_back),
    };
    int rc = cmocka_run_group_tests(tests, NULL, NULL);
    sf_buf_fini(&kept_value[0]);
    sf_buf_fini(&kept_value[1]);
    return rc;
}
