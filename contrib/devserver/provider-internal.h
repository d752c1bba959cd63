/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_PROVIDER_INTERNAL_H
#define DS_PROVIDER_INTERNAL_H

#include "db-provider.h"
#include "provider.h"

enum ds_flavour {
    DS_FLAVOUR_KIMI,
    DS_FLAVOUR_GLM,
    DS_FLAVOUR_OPENAI,
    DS_FLAVOUR_OLLAMA,
    DS_FLAVOUR_LLAMACPP,
    DS_FLAVOUR_VLLM,
    DS_FLAVOUR_LMSTUDIO,
    DS_FLAVOURS
};

extern const char *const ds_flavour_names[DS_FLAVOURS];

enum ds_op {
    DS_OP_UPLOAD,
    DS_OP_LIST,
    DS_OP_GET,
    DS_OP_CONTENT,
    DS_OP_DELETE,
    DS_OP_CHAT,
    DS_OP_MODELS,
    DS_OP_TOKENS,
    DS_OP_BALANCE,
    DS_OP_PARSE,
    DS_OP_PARSE_SYNC,
    DS_OP_PARSE_RESULT,
    DS_OP_UNKNOWN,
    DS_OPS
};

extern const char *const ds_op_names[DS_OPS];

/* ---- scenarios ---- */

struct ds_scenario {
    const char *name; /* static */
    char text[48];    /* what stands behind the first colon */
    int64_t a, b;     /* the numbers there; -1 = not given */
};

#define DS_SCENARIOS_MAX 16

struct ds_settings;

/* A request of an emulated provider. */
struct ds_provider_call {
    const struct ds_provider_site *site;
    size_t index; /* of the site */
    enum ds_op op;
    enum ds_flavour flavour;
    const json_t *settings; /* as they were when it came; never changed */
    struct ds_settings *held;
    char account[40];
    struct ds_scenario scenarios[DS_SCENARIOS_MAX];
    size_t scenario_count;
    char *id;     /* of the path: a file, a task, a model */
    bool open;    /* counted as running */
    int64_t left; /* requests that its rate allows after it */
    struct ds_provider_form *form;
};

/**
 * ds_scenario_add - take over the scenarios of "name:argument,name".
 * @call: NULL = only look whether the text is one.
 *
 * Returns 0; -EINVAL with the name that is none in @bad.
 */
int ds_scenario_add(struct ds_provider_call *call, const char *text, char bad[48]);

/* The scenario, when the request has it and it has to do with its route. */
const struct ds_scenario *ds_scenario(const struct ds_provider_call *call, const char *name);

/* The answers that scenarios give instead of the route's own. True = a reply is set. */
bool ds_scenario_answers(struct ds_request *req);

/* What is to happen before the request is carried out; false when it is not to be any more. */
bool ds_scenario_before(struct ds_request *req);
/* What is to happen instead of the answer that was made. */
void ds_scenario_after(struct ds_request *req);

/* Waits until hanging replies are to end. True = the client is gone, or the server stops. */
bool ds_provider_hang(struct ds_server *server, int socket);

/* ---- settings and what is kept of requests: provider.c ---- */

int64_t ds_set_number(const struct ds_provider_call *call, const char *name);
bool ds_set_bool(const struct ds_provider_call *call, const char *name);
const char *ds_set_text(const struct ds_provider_call *call, const char *name);
bool ds_set_is(const struct ds_provider_call *call, const char *name, const char *text);
const json_t *ds_set_value(const struct ds_provider_call *call, const char *name);
/* Whether an array of strings has it. */
bool ds_set_has(const struct ds_provider_call *call, const char *name, const char *text);

/* The number of a limit of a purpose: bytes, image_bytes, files; 0 = none. */
int64_t ds_set_limit(const struct ds_provider_call *call, const char *purpose, const char *name);

/* The defaults of a site as a new object. */
json_t *ds_provider_defaults(size_t site);

int ds_provider_check_setting(const char *name, const json_t *value, struct sf_err *err);

/* Settings and flavour for a request that begins. */
void ds_providers_take_settings(struct ds_providers *providers, struct ds_provider_call *call);
void ds_providers_drop_settings(struct ds_providers *providers, struct ds_provider_call *call);

/* Counts the request as running and lets the rules add their scenarios. False = a rate or the
 * number of requests at once is exceeded; *what says which. */
enum ds_limited { DS_LIMITED_NOT, DS_LIMITED_RATE, DS_LIMITED_CONCURRENCY };
enum ds_limited ds_providers_enter(struct ds_providers *providers, struct ds_provider_call *call,
                                   int64_t *wait_s);
void ds_providers_leave(struct ds_providers *providers, struct ds_provider_call *call);

void ds_providers_note_upload(struct ds_providers *providers, size_t site,
                              const struct ds_pfile *file);
void ds_providers_note_content(struct ds_providers *providers, size_t site, const char *id);

/* Keeps a chat, which it takes, and gives its number. *cached: tokens of the messages at its start
 * that an earlier chat of the account and model began with, in whole blocks. */
uint64_t ds_providers_note_chat(struct ds_providers *providers, size_t site, json_t *chat,
                                int64_t *cached);
/* How it ended, static. */
void ds_providers_chat_ended(struct ds_providers *providers, size_t site, uint64_t seq,
                             const char *how, size_t frames);

/* Counts up when hanging replies are to end. */
uint64_t ds_providers_epoch(struct ds_providers *providers);

/* ---- errors: provider-error.c ---- */

enum ds_perror {
    DS_PE_NO_KEY,
    DS_PE_KEY,
    DS_PE_PERMISSION,
    DS_PE_BALANCE, /* 403 that means money */
    DS_PE_QUOTA,
    DS_PE_RPM,
    DS_PE_TPM,
    DS_PE_TPD,
    DS_PE_CONCURRENCY,
    DS_PE_OVERLOADED,
    DS_PE_SERVER,
    DS_PE_EXTRACT,
    DS_PE_TOO_LARGE,
    DS_PE_EMPTY,
    DS_PE_PURPOSE,
    DS_PE_COUNT,
    DS_PE_TOTAL,
    DS_PE_TYPE,
    DS_PE_NOT_FOUND,
    DS_PE_NO_ROUTE,
    DS_PE_MODEL,
    DS_PE_CONTEXT,
    DS_PE_BODY_SIZE,
    DS_PE_FILTER,
    DS_PE_INVALID,
    DS_PE_LOADING,
    DS_PERRORS
};

/* The error's body in the words of the call's flavour; returns the HTTP status. @detail: what the
 * message has to say of this case, may be NULL. */
int ds_perror_body(const struct ds_request *req, enum ds_perror error, const char *detail,
                   struct ds_buf *out);
/* The same as the reply. */
void ds_perror(struct ds_request *req, enum ds_perror error, const char *detail);
__attribute__((format(printf, 3, 4))) void ds_perrorf(struct ds_request *req, enum ds_perror error,
                                                      const char *fmt, ...);
/* An error of GLM by its code. */
void ds_perror_code(struct ds_request *req, int64_t code, int64_t status);
/* What Moonshot's gateway says of a path it does not know. */
void ds_perror_gateway(struct ds_request *req);

/* ---- routes ---- */

/* A JSON value as the reply; takes it. */
void ds_provider_reply(struct ds_request *req, int status, json_t *value);

/* Body of a JSON request; NULL when a reply is set. The caller owns it. */
json_t *ds_provider_json(struct ds_request *req);

void ds_pfile_upload_begin(struct ds_request *req);
int ds_pfile_upload_take(struct ds_request *req, const void *bytes, size_t len);
void ds_pfile_upload(struct ds_request *req);
void ds_pfile_list(struct ds_request *req);
void ds_pfile_get(struct ds_request *req);
void ds_pfile_content(struct ds_request *req);
void ds_pfile_delete(struct ds_request *req);
void ds_provider_form_free(struct ds_provider_form *form);

/* The text that the provider takes from a file. NULL when its bytes cannot be read. */
char *ds_pfile_extract(struct ds_request *req, const struct ds_pfile *file);
/* A file of the account by id, as it is now; 0 or -ENOENT. */
int ds_pfile_find(struct ds_request *req, const char *id, bool poll, struct ds_pfile *ret);

void ds_parser_create(struct ds_request *req);
void ds_parser_sync(struct ds_request *req);
void ds_parser_result(struct ds_request *req);
/* The uploaded file as a task; false when a reply is set. */
bool ds_pfile_take_task(struct ds_request *req, struct ds_pfile *task);

void ds_chat(struct ds_request *req);
void ds_chat_tokens(struct ds_request *req);

/* ---- an answer, whole or as a stream ---- */

struct ds_answer {
    char id[48];
    int64_t created_s;
    char model[80];
    bool stream;
    bool include_usage; /* stream_options asked for it */
    char *reasoning;    /* "" = none */
    char *content;
    char finish[48];
    int64_t prompt_tokens, cached_tokens;
    uint64_t seq; /* of the chat that is kept */
};

/* Sets the reply. */
void ds_answer_send(struct ds_request *req, const struct ds_answer *answer);

/* Bytes of the first token, a word with the blanks before it; 0 at the end. */
size_t ds_token_len(const char *text);
size_t ds_token_count(const char *text);

/* What an address that a chat names has, if it is one of this project. */
struct ds_fetched {
    int status; /* 0 = none of ours, or no answer */
    int64_t bytes;
    char sha256[65];
};
void ds_provider_fetch(struct ds_request *req, const char *url, struct ds_fetched *ret);

void ds_sha256_hex(const void *bytes, size_t len, char out[65]);

#endif
