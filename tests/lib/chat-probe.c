/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A turn of a chat through src/provider, for tests/integ/providers-chat.sh. argv: type and address
 * of a provider; its key is SUPAFS_PROBE_KEY. Reads lines "MODEL DEADLINE-MS IDLE-MS QUESTION" and
 * prints for each an object on one line: class, text of the failure, answer, reasoning, finish,
 * truncated, attempts, usage.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/lock.h"
#include "config/provider.h"
#include "http/http.h"
#include "provider/chat.h"
#include "provider/key.h"

struct talk {
    struct sf_mutex lock; /* protects what follows */
    struct sf_cond ended;
    struct sf_buf text[2];
    json_t *result;
};

static bool
on_delta(void *arg, enum sf_provider_voice voice, const char *text, size_t n)
{
    struct talk *t = arg;
    SF_GUARD(&t->lock);
    if (sf_buf_append(&t->text[voice], text, n))
        abort();
    return false;
}

static void
on_end(void *arg, const struct sf_provider_chat_end *end)
{
    struct talk *t = arg;
    SF_GUARD(&t->lock);
    t->result = json_pack("{s:s, s:s, s:s%, s:s%, s:s, s:s, s:b, s:i, s:[I, I, I, I]}", "class",
                          sf_provider_class_info(end->fault->cls)->name, "text", end->fault->text,
                          "answer", t->text[0].data, t->text[0].len, "reasoning", t->text[1].data,
                          t->text[1].len, "finish", end->finish, "model", end->model, "truncated",
                          end->truncated, "attempts", (int)end->attempts, "usage",
                          (json_int_t)end->usage.prompt, (json_int_t)end->usage.cached,
                          (json_int_t)end->usage.answered, (json_int_t)end->usage.reasoned);
    if (!t->result)
        abort();
    sf_cond_broadcast(&t->ended);
}

static int
ask(struct sf_provider *p, const char *model, long deadline_ms, long idle_ms, const char *question)
{
    const struct sf_provider_part system[] = {{.text = "Ein Text.\n", .len = 10}};
    const struct sf_provider_part user[] = {{.text = question, .len = strlen(question)}};
    const struct sf_provider_message messages[] = {{.role = SF_PR_SYSTEM, .parts = system, .n = 1},
                                                   {.role = SF_PR_USER, .parts = user, .n = 1}};
    const struct sf_provider_chat chat = {.model = model,
                                          .messages = messages,
                                          .n = 2,
                                          .deadline_ms = sf_clock_ms() + deadline_ms,
                                          .idle_ms = (unsigned)idle_ms};
    struct talk t = {.text = {SF_BUF_INIT, SF_BUF_INIT}};
    const struct sf_provider_chat_fns fns = {on_delta, on_end, &t};
    struct sf_provider_fault fault;
    sf_mutex_init(&t.lock, 0);
    sf_cond_init(&t.ended);
    if (!sf_provider_chat(p, &chat, &fns, &fault)) {
        fprintf(stderr, "%s\n", fault.text);
        return 1;
    }
    sf_mutex_lock(&t.lock);
    while (!t.result)
        sf_cond_wait(&t.ended, &t.lock);
    sf_mutex_unlock(&t.lock);
    json_dumpf(t.result, stdout, JSON_COMPACT);
    printf("\n");
    fflush(stdout);
    json_decref(t.result);
    sf_buf_fini(&t.text[0]);
    sf_buf_fini(&t.text[1]);
    sf_cond_fini(&t.ended);
    sf_mutex_fini(&t.lock);
    return 0;
}

/* A new gate for each: what failed before is forgotten. */
static int
ask_new(struct sf_http *http, const struct sf_provider_conf *conf, char *line)
{
    char *save = NULL, *model = strtok_r(line, " ", &save), *deadline = strtok_r(NULL, " ", &save),
         *idle = strtok_r(NULL, " ", &save), *question = strtok_r(NULL, "\n", &save);
    struct sf_provider *p;
    if (!question || sf_provider_open(http, conf, &p))
        return 1;
    int rc = ask(p, model, strtol(deadline, NULL, 10), strtol(idle, NULL, 10), question);
    sf_provider_free(p);
    return rc;
}

int
main(int argc, char **argv)
{
    char *key = getenv("SUPAFS_PROBE_KEY"), label[] = "the probe", line[4096];
    struct sf_provider_key_choice choice = {.key = key, .label = label};
    struct sf_provider_conf conf = {.name = "probe", .concurrency = 1};
    struct sf_http *http;
    struct sf_err err = SF_ERR_INIT;
    int rc = 0;
    if (argc != 3 || !key || !(conf.type = sf_provider_type_find(argv[1])))
        return 2;
    conf.base_url = argv[2];
    if (provider_key_new(conf.base_url, NULL, &conf.key) ||
        provider_key_take(conf.key, &choice, &err) || sf_http_new(NULL, &http, &err)) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    while (!rc && fgets(line, sizeof line, stdin))
        rc = ask_new(http, &conf, line);
    sf_http_free(http);
    provider_key_free(conf.key);
    return rc;
}
