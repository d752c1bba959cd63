/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_PROVIDER_CHAT_H
#define SF_PROVIDER_CHAT_H

#include "base/buf.h"
#include "provider/call.h"

/*
 * One turn of a chat: what is said goes to a provider, and its answer comes as it is made. Who
 * says what, and what becomes of it, is the business of others.
 */

#define SF_PROVIDER_ANSWER_MAX                                                                     \
    (8u << 20) /* bytes of answer and reasoning together; more ends it                             \
                */

enum sf_provider_role {
    SF_PR_SYSTEM,
    SF_PR_USER,
    SF_PR_ASSISTANT,
};

enum sf_provider_part_kind {
    SF_PP_TEXT,
    SF_PP_IMAGE,
    SF_PP_VIDEO,
    SF_PP_FILE, /* a document that the model reads by itself */
};

/* How a part that is no text may be sent. */
enum {
    SF_PP_BY_LINK = 1,  /* "https:..." */
    SF_PP_BY_BYTES = 2, /* "data:TYPE;base64,..." */
    SF_PP_BY_ID = 4,    /* the provider's own of an upload: "ms://ID" at Kimi, else ID */
};

struct sf_provider_part {
    enum sf_provider_part_kind kind;
    /* TEXT: UTF-8 without NUL. Else where it is; what the model does not take so is refused with
     * -ENOTSUP. */
    const char *text;
    size_t len;
    const char *name; /* FILE: what it is called; may be NULL */
};

struct sf_provider_message {
    enum sf_provider_role role;
    const struct sf_provider_part *parts; /* texts alone become one text */
    size_t n;
    const char *reasoning; /* of an earlier answer, as it came; NULL = none. Sent where it is
                              wanted */
};

enum sf_provider_thinking {
    SF_PT_AS_IT_LIKES, /* as the type holds best: see the guide */
    SF_PT_NOT,
    SF_PT_YES,
};

/* Settings that were not sent, because the model takes no such. */
enum {
    SF_PU_TEMPERATURE = 1,
    SF_PU_THINKING = 2,
    SF_PU_EFFORT = 4,
};

/* All of it is borrowed for the call. */
struct sf_provider_chat {
    const char *model; /* NULL = as the settings say */
    const struct sf_provider_message *messages;
    size_t n;
    bool whole; /* the answer at once, not as a stream */
    enum sf_provider_thinking thinking;
    const char *effort;        /* "low", "high", ...; NULL = not set */
    const double *temperature; /* NULL = not set */
    uint64_t max_tokens;       /* of answer and reasoning; 0 = as many as the model makes */
    int64_t deadline_ms;       /* of all of it; 0 = as the settings say, from now */
    unsigned idle_ms;          /* a stream without a byte for so long has failed; 0 = 5 min */
    bool force;                /* also while the provider rests after failures */
};

struct sf_provider_usage {
    bool known;        /* the provider has told it */
    uint64_t prompt;   /* tokens sent */
    uint64_t cached;   /* of these, known to the provider from before */
    uint64_t answered; /* tokens that came, reasoning among them */
    uint64_t reasoned; /* of these, in the reasoning; 0 also where it is not told */
};

/** sf_provider_cost - what that cost, in the currency of the price. */
double sf_provider_cost(const struct sf_provider_price *price,
                        const struct sf_provider_usage *usage);

enum sf_provider_how {
    SF_PE_STOP,       /* all was said */
    SF_PE_LENGTH,     /* the limit of tokens was reached */
    SF_PE_FILTERED,   /* cut off as unsafe, or refused so */
    SF_PE_EMPTY,      /* nothing was said, but perhaps reasoning */
    SF_PE_INCOMPLETE, /* it broke */
    SF_PE_CANCELLED,
    SF_PE_FAILED, /* before a piece was handed on */
};

/* How it ended; valid during the call. */
struct sf_provider_chat_end {
    enum sf_provider_how how;
    const struct sf_provider_fault *fault; /* never NULL; class SF_PC_OK = a whole answer. Its
                                              request_id is there in any case, if there was one */
    struct sf_provider_usage usage;
    const char *finish; /* the provider's word: "stop", "length", ...; "" = none came */
    const char *model;  /* the one that answered; "" = not told */
    bool truncated;     /* something was handed on, and it is not all: the fault tells why, or the
                           limit of tokens was reached (finish "length") */
    bool open;          /* it failed, and may have to be paid for */
    unsigned attempts;  /* that reached the network */
    int64_t first_ms;   /* from the begin to the first piece; -1 = none came */
    int64_t total_ms;
};

enum sf_provider_voice {
    SF_PV_ANSWER,
    SF_PV_REASONING,
};

/* Both run on the event thread, holding no lock, and must not block. */
struct sf_provider_chat_fns {
    /*
     * A piece, of whole characters of UTF-8, not empty. True = enough for now: no more is read
     * until sf_provider_chat_resume(); what has been read already, 16 KiB at most, still comes.
     */
    bool (*delta)(void *arg, enum sf_provider_voice voice, const char *text, size_t n);
    /* Once, as the last thing. */
    void (*end)(void *arg, const struct sf_provider_chat_end *end);
    void *arg;
};

/**
 * sf_provider_takes - how a model takes parts of a kind: SF_PP_BY_..., 0 = not at all. As
 * documented; the setting vision_models says it where nothing is. @model: NULL = as the settings
 * say.
 */
unsigned sf_provider_takes(const struct sf_provider_conf *conf, const char *model,
                           enum sf_provider_part_kind kind);

/** sf_provider_context - how many tokens a model takes, with its answer: by the setting, else as
 * documented; 0 = not known. @model as above. */
uint64_t sf_provider_context(const struct sf_provider_conf *conf, const char *model);

/**
 * sf_provider_chat - ask. It waits for its turn at the provider's gate; what fails before a piece
 * of the answer was handed on is tried again as its class allows (for a minute at most, and once
 * where the provider may have begun to answer), and never after that.
 * @fns: copied.
 * @out: filled when 0 is returned: the request cannot be made so; -ENOMEM among these.
 *
 * Returns its id, for sf_provider_cancel() and sf_provider_chat_resume().
 */
uint64_t sf_provider_chat(struct sf_provider *p, const struct sf_provider_chat *chat,
                          const struct sf_provider_chat_fns *fns, struct sf_provider_fault *out);

/** sf_provider_chat_resume - pieces may come again. Any thread. */
void sf_provider_chat_resume(struct sf_provider *p, uint64_t id);

/**
 * sf_provider_chat_body - the body of the request that would be sent, as JSON. Pure.
 * @out:    appended to.
 * @unsent: NULL, or what of the settings is left out.
 * @fault:  filled on failure.
 *
 * Returns 0; -EINVAL; -ENOTSUP a part that this provider or model cannot take; -ENOMEM.
 */
int sf_provider_chat_body(const struct sf_provider_conf *conf, const struct sf_provider_chat *chat,
                          struct sf_buf *out, unsigned *unsent, struct sf_provider_fault *fault);

#endif
