/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is sent to ask: each vendor's words for the same settings, and what it does not take. */
#include "provider/chat.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEXT(s)                                                                                    \
    {                                                                                              \
        .kind = SF_PP_TEXT, .text = (s), .len = sizeof(s) - 1                                      \
    }
#define PART(k, s)                                                                                 \
    {                                                                                              \
        .kind = SF_PP_##k, .text = (s), .len = sizeof(s) - 1                                       \
    }

static const struct sf_provider_part hello[] = {TEXT("hello")};
static const struct sf_provider_message one[] = {{.role = SF_PR_USER, .parts = hello, .n = 1}};
#define SAID "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}],"

static char *vision[] = {(char[]){"llava"}, NULL};

static struct sf_provider_conf
conf_of(const char *type, const char *base)
{
    return (struct sf_provider_conf){.name = "x",
                                     .vision_models = strstr(base, "vision") ? vision : NULL,
                                     .type = sf_provider_type_find(type),
                                     .base_url = (char *)(uintptr_t)base};
}

/* Wanted: the body from behind the model on. */
static void
sends(const char *type, const char *base, const struct sf_provider_chat *chat, const char *wanted,
      unsigned unsent)
{
    struct sf_provider_conf conf = conf_of(type, base);
    struct sf_provider_fault fault;
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    unsigned left = 99;
    char head[100];
    int n = snprintf(head, sizeof head, "{\"model\":\"%s\",", chat->model);
    if (sf_provider_chat_body(&conf, chat, &out, &left, &fault))
        fail_msg("%s: %s", chat->model, fault.text);
    assert_memory_equal(out.data, head, n);
    assert_string_equal(out.data + n, wanted);
    assert_int_equal(left, unsent);
}

static void
refuses(const char *type, const char *base, const struct sf_provider_chat *chat, int err,
        const char *words)
{
    struct sf_provider_conf conf = conf_of(type, base);
    struct sf_provider_fault fault = {.cls = SF_PC_OK};
    sf_autobuf struct sf_buf out = SF_BUF_INIT;
    assert_int_equal(sf_buf_puts(&out, "before"), 0);
    assert_int_equal(sf_provider_chat_body(&conf, chat, &out, NULL, &fault), err);
    assert_int_equal(fault.err, err);
    if (!strstr(fault.text, words))
        fail_msg("\"%s\" does not say \"%s\"", fault.text, words);
    assert_string_equal(out.data, "before");
}

#define KIMI   "kimi", "https://api.moonshot.ai/v1"
#define GLM    "glm", "https://api.z.ai/api/paas/v4"
#define OPENAI "openai", "https://api.openai.com/v1"
#define LOCAL  "openai", "http://localhost:11434/v1"
#define SEEING "openai", "http://vision:11434/v1"
#define USAGE  ",\"stream_options\":{\"include_usage\":true}}"

static void
only_what_is_needed_is_sent(void **state)
{
    (void)state;
    struct sf_provider_chat c = {.model = "kimi-k2.6", .messages = one, .n = 1};
    /* So do these. */
    sends(KIMI, &c,
          SAID "\"stream\":true,\"stream_options\":{\"include_usage\":true},"
               "\"thinking\":{\"type\":\"disabled\"}}",
          0);
    c.model = "kimi-k3"; /* which cannot be told */
    sends(KIMI, &c, SAID "\"stream\":true" USAGE, 0);
    c.whole = true;
    sends(KIMI, &c, SAID "\"stream\":false}", 0);
    c.model = "gpt-5";
    sends(OPENAI, &c, SAID "\"stream\":false}", 0);
    c.model = "qwen3:8b";
    sends(LOCAL, &c, SAID "\"stream\":false}", 0);
    /* GLM thinks at length unless it is told not to, and knows no stream_options. */
    c.whole = false;
    c.model = "glm-5.1";
    sends(GLM, &c, SAID "\"stream\":true,\"thinking\":{\"type\":\"disabled\"}}", 0);
    c.model = "glm-4-plus"; /* is older than that */
    sends(GLM, &c, SAID "\"stream\":true}", 0);
}

static void
settings_have_the_vendors_names(void **state)
{
    (void)state;
    const double t = 0.3;
    struct sf_provider_chat c = {
        .messages = one, .n = 1, .whole = true, .temperature = &t, .max_tokens = 500};
    c.model = "moonshot-v1-8k";
    sends(KIMI, &c, SAID "\"stream\":false,\"max_completion_tokens\":500,\"temperature\":0.3}", 0);
    c.model = "kimi-k3";
    sends(KIMI, &c, SAID "\"stream\":false,\"max_completion_tokens\":500}", SF_PU_TEMPERATURE);
    c.model = "glm-4.6";
    sends(GLM, &c,
          SAID "\"stream\":false,\"max_tokens\":500,\"temperature\":0.3,"
               "\"thinking\":{\"type\":\"disabled\"}}",
          0);
    c.model = "gpt-4.1";
    sends(OPENAI, &c, SAID "\"stream\":false,\"max_completion_tokens\":500,\"temperature\":0.3}",
          0);
    c.model = "o4-mini";
    sends(OPENAI, &c, SAID "\"stream\":false,\"max_completion_tokens\":500}", SF_PU_TEMPERATURE);
    c.model = "o4-mini"; /* the same name elsewhere is whatever they like */
    sends(LOCAL, &c, SAID "\"stream\":false,\"max_tokens\":500,\"temperature\":0.3}", 0);
}

static void
thinking_is_asked_for_in_their_way(void **state)
{
    (void)state;
    struct sf_provider_chat c = {.messages = one, .n = 1, .whole = true, .thinking = SF_PT_NOT};
    c.model = "kimi-k2.5";
    sends(KIMI, &c, SAID "\"stream\":false,\"thinking\":{\"type\":\"disabled\"}}", 0);
    c.model = "kimi-k3"; /* cannot but think */
    sends(KIMI, &c, SAID "\"stream\":false}", SF_PU_THINKING);
    c.model = "moonshot-v1-auto"; /* cannot think */
    sends(KIMI, &c, SAID "\"stream\":false}", 0);
    c.model = "qwen3:8b";
    sends(LOCAL, &c, SAID "\"stream\":false,\"reasoning_effort\":\"none\"}", 0);
    c.thinking = SF_PT_YES;
    c.model = "kimi-k3";
    sends(KIMI, &c, SAID "\"stream\":false}", 0);
    c.model = "moonshot-v1-auto";
    sends(KIMI, &c, SAID "\"stream\":false}", SF_PU_THINKING);
    c.model = "glm-5.1";
    sends(GLM, &c, SAID "\"stream\":false,\"thinking\":{\"type\":\"enabled\"}}", 0);
    c.model = "glm-4-flash";
    sends(GLM, &c, SAID "\"stream\":false}", SF_PU_THINKING);
    c.effort = "high";
    c.model = "kimi-k2.6";
    sends(KIMI, &c,
          SAID "\"stream\":false,\"thinking\":{\"type\":\"enabled\",\"effort\":\"high\"}}", 0);
    c.model = "kimi-k3";
    sends(KIMI, &c, SAID "\"stream\":false,\"reasoning_effort\":\"high\"}", 0);
    c.model = "glm-5.2";
    sends(GLM, &c,
          SAID
          "\"stream\":false,\"thinking\":{\"type\":\"enabled\"},\"reasoning_effort\":\"high\"}",
          0);
    c.model = "glm-5.1";
    sends(GLM, &c, SAID "\"stream\":false,\"thinking\":{\"type\":\"enabled\"}}", SF_PU_EFFORT);
    c.model = "gpt-5-mini";
    sends(OPENAI, &c, SAID "\"stream\":false,\"reasoning_effort\":\"high\"}", 0);
    c.thinking = SF_PT_AS_IT_LIKES;
    c.model = "gpt-4o";
    sends(OPENAI, &c, SAID "\"stream\":false}", SF_PU_EFFORT);
}

static void
texts_alone_become_one_text(void **state)
{
    (void)state;
    static const struct sf_provider_part file[] = {TEXT("a\"\\\n"), TEXT("\xe4\xbd\xa0")};
    static const struct sf_provider_message all[] = {
        {.role = SF_PR_SYSTEM, .parts = file, .n = 2},
        {.role = SF_PR_USER, .parts = hello, .n = 1},
        {.role = SF_PR_ASSISTANT, .parts = hello, .n = 1, .reasoning = "so"},
        {.role = SF_PR_USER, .parts = NULL, .n = 0},
    };
#define TALK(echo)                                                                                 \
    "\"messages\":[{\"role\":\"system\",\"content\":\"a\\\"\\\\\\n\xe4\xbd\xa0\"},"                \
    "{\"role\":\"user\",\"content\":\"hello\"},"                                                   \
    "{\"role\":\"assistant\",\"content\":\"hello\"" echo "},"                                      \
    "{\"role\":\"user\",\"content\":\"\"}],\"stream\":false}"
    struct sf_provider_chat c = {.messages = all, .n = 4, .whole = true, .model = "kimi-k3"};
    sends(KIMI, &c, TALK(",\"reasoning_content\":\"so\""), 0);
    c.model = "llama";
    sends(LOCAL, &c, TALK(""), 0);
}

static void
pictures_and_documents_go_where_they_are_seen(void **state)
{
    (void)state;
    static const struct sf_provider_part url[] = {TEXT("see"), PART(IMAGE, "https://h/a.png")};
    static const struct sf_provider_part ms[] = {TEXT("see"), PART(IMAGE, "ms://abc")};
    static const struct sf_provider_part doc[] = {PART(FILE, "https://h/a.pdf"), TEXT("see")};
    static const struct sf_provider_part bytes[] = {
        {.kind = SF_PP_FILE, .text = "data:,x", .len = 7, .name = "a \"b\".pdf"}};
    static const struct sf_provider_part id[] = {PART(FILE, "file-1")};
    struct sf_provider_message m = {.role = SF_PR_USER, .n = 2};
    struct sf_provider_chat c = {.messages = &m, .n = 1, .whole = true};
#define SEES(parts) "\"messages\":[{\"role\":\"user\",\"content\":[" parts "]}],\"stream\":false"
#define SEE         "{\"type\":\"text\",\"text\":\"see\"}"
#define URL(k, u)   "{\"type\":\"" k "\",\"" k "\":{\"url\":\"" u "\"}}"
    m.parts = url;
    c.model = "glm-4.6v-flash";
    sends(
        GLM, &c,
        SEES(SEE "," URL("image_url", "https://h/a.png")) ",\"thinking\":{\"type\":\"disabled\"}}",
        0);
    c.model = "glm-4.6";
    refuses(GLM, &c, -ENOTSUP, "glm-4.6 takes no pictures");
    c.model = "llava";
    sends(SEEING, &c, SEES(SEE "," URL("image_url", "https://h/a.png")) "}", 0);
    c.model = "kimi-k2.6";
    refuses(KIMI, &c, -ENOTSUP, "only by their bytes or an id");
    m.parts = ms;
    sends(KIMI, &c,
          SEES(SEE "," URL("image_url", "ms://abc")) ",\"thinking\":{\"type\":\"disabled\"}}", 0);
    m.parts = doc;
    refuses(KIMI, &c, -ENOTSUP, "takes no documents");
    c.model = "glm-5v-turbo";
    sends(GLM, &c,
          SEES(URL("file_url", "https://h/a.pdf") "," SEE) ",\"thinking\":{\"type\":\"disabled\"}}",
          0);
    c.model = "llava";
    refuses(LOCAL, &c, -ENOTSUP, "as far as is known");
    refuses(SEEING, &c, -ENOTSUP, "takes no documents");
    c.model = "gpt-5";
    refuses(OPENAI, &c, -ENOTSUP, "only by their bytes or an id");
    m.n = 1;
    m.parts = bytes;
    sends(OPENAI, &c,
          SEES("{\"type\":\"file\",\"file\":{\"filename\":\"a "
               "_b_.pdf\",\"file_data\":\"data:,x\"}}") "}",
          0);
    m.parts = id;
    sends(OPENAI, &c, SEES("{\"type\":\"file\",\"file\":{\"file_id\":\"file-1\"}}") "}", 0);
    c.model = "glm-4.5v";
    refuses(GLM, &c, -ENOTSUP, "only by a link");
}

static void
what_cannot_be_right_is_not_sent(void **state)
{
    (void)state;
    static const struct sf_provider_part nul[] = {{SF_PP_TEXT, "a\0b", 3, NULL}};
    static const struct sf_provider_part bad[] = {TEXT("\xff"), PART(IMAGE, "https://h/a")};
    struct sf_provider_message m = {.role = SF_PR_USER, .parts = nul, .n = 1};
    struct sf_provider_chat c = {.model = "m", .messages = &m, .n = 1};
    const double hot = 1.5, cold = 0, nan = NAN;
    refuses(KIMI, &c, -EINVAL, "NUL");
    m = (struct sf_provider_message){.role = SF_PR_USER, .parts = bad, .n = 2};
    refuses(LOCAL, &c, -EINVAL, "UTF-8");
    m = (struct sf_provider_message){.role = SF_PR_SYSTEM, .parts = hello, .n = 1};
    refuses(GLM, &c, -EINVAL, "nothing is asked");
    c.messages = one;
    c.temperature = &hot;
    refuses(GLM, &c, -EINVAL, "between 0 and 1");
    sends(LOCAL, &c,
          SAID "\"stream\":true,\"stream_options\":{\"include_usage\":true},"
               "\"temperature\":1.5}",
          0);
    c.temperature = &cold;
    c.model = "glm-4-plus";
    sends(GLM, &c, SAID "\"stream\":true,\"do_sample\":false}", 0);
    c.temperature = &nan;
    refuses(LOCAL, &c, -EINVAL, "temperature");
    c.temperature = NULL;
    c.effort = "\xff";
    refuses(LOCAL, &c, -EINVAL, "UTF-8");
    c.effort = NULL;
    c.model = NULL;
    refuses(LOCAL, &c, -EINVAL, "no model");
}

static void
what_models_take_is_known(void **state)
{
    (void)state;
    struct sf_provider_conf kimi = conf_of(KIMI), glm = conf_of(GLM), openai = conf_of(OPENAI),
                            local = conf_of(LOCAL), seeing = conf_of(SEEING);
    assert_int_equal(sf_provider_context(&kimi, "kimi-k3"), 1048576);
    assert_int_equal(sf_provider_context(&kimi, "kimi-k2.7-code"), 262144);
    assert_int_equal(sf_provider_context(&kimi, "moonshot-v1-32k"), 32768);
    assert_int_equal(sf_provider_context(&kimi, "moonshot-v1-auto"), 0);
    assert_int_equal(sf_provider_context(&kimi, NULL), 0);
    assert_int_equal(sf_provider_context(&glm, "glm-5.2"), 1000000);
    assert_int_equal(sf_provider_context(&glm, "glm-4.6"), 131072);
    assert_int_equal(sf_provider_context(&glm, "glm-x"), 0);
    assert_int_equal(sf_provider_context(&openai, "gpt-5-mini"), 272000);
    assert_int_equal(sf_provider_context(&local, "gpt-5-mini"), 0);
    local.context = 8192;
    assert_int_equal(sf_provider_context(&local, NULL), 8192);

    assert_int_equal(sf_provider_takes(&kimi, "kimi-k2.6", SF_PP_IMAGE),
                     SF_PP_BY_BYTES | SF_PP_BY_ID);
    assert_int_equal(sf_provider_takes(&kimi, "moonshot-v1-8k", SF_PP_IMAGE), 0);
    assert_int_equal(sf_provider_takes(&glm, "glm-4.6v", SF_PP_FILE), SF_PP_BY_LINK);
    assert_int_equal(sf_provider_takes(&glm, "glm-4.6", SF_PP_FILE), 0);
    assert_int_equal(sf_provider_takes(&seeing, "llava", SF_PP_IMAGE),
                     SF_PP_BY_LINK | SF_PP_BY_BYTES);
    assert_int_equal(sf_provider_takes(&seeing, "llama", SF_PP_IMAGE), 0);
    assert_int_equal(sf_provider_takes(&openai, "gpt-4o", SF_PP_TEXT), 0);
    kimi.base_url = NULL; /* it has a trouble */
    assert_int_equal(sf_provider_takes(&kimi, "kimi-k2.6", SF_PP_IMAGE), 0);
    assert_int_equal(sf_provider_context(&kimi, "kimi-k3"), 0);
}

static void
costs_are_what_the_price_says(void **state)
{
    (void)state;
    const struct sf_provider_price p = {.asked = 0.6, .answered = 2.5, .known = 0.1};
    struct sf_provider_usage u = {
        .known = true, .prompt = 1000000, .cached = 400000, .answered = 2000};
    assert_true(fabs(sf_provider_cost(&p, &u) - (0.36 + 0.04 + 0.005)) < 1e-9);
    u.cached = UINT64_MAX; /* more than there were: a provider's mistake */
    assert_true(fabs(sf_provider_cost(&p, &u) - (0.1 + 0.005)) < 1e-9);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_is_needed_is_sent),
        cmocka_unit_test(settings_have_the_vendors_names),
        cmocka_unit_test(thinking_is_asked_for_in_their_way),
        cmocka_unit_test(texts_alone_become_one_text),
        cmocka_unit_test(pictures_and_documents_go_where_they_are_seen),
        cmocka_unit_test(what_cannot_be_right_is_not_sent),
        cmocka_unit_test(what_models_take_is_known),
        cmocka_unit_test(costs_are_what_the_price_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
