/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CHAT_INTERNAL_H
#define SF_CHAT_INTERNAL_H

#include "base/htab.h"
#include "base/lock.h"
#include "chat/clean.h"
#include "chat/content.h"
#include "chat/conv.h"
#include "chat/prompt.h"
#include "chat/remote.h"
#include "chat/spend.h"
#include "chat/store.h"
#include "provider/want.h"
#include "tree/tree.h"

/*
 * Inside of conversations in memory (conv.h).
 *
 *   sf_conv (by name or id) --> talk (by id) --> parts (what it says), line of sf_conv_turn
 *
 * One lock for all of it, under which nothing waits and nothing foreign is called. What may wait is
 * a job of one of three crews, so that nobody waits for tables or contents who only wants what the
 * local disk has.
 */

#define CONV_RUNNING   64          /* turns that are worked on or answered at once */
#define CONV_BEGINNERS 4           /* threads that begin turns */
#define CONV_WORKERS   2           /* threads for what only wants the local disk */
#define CONV_ASKERS    2           /* threads for what the tables are asked and told */
#define CONV_READS     1024        /* reads that wait */
#define CONV_TEXT_MAX  (64 << 20)  /* bytes of a transcript, beyond which nothing is asked */
#define CONV_IDLE      64          /* conversations that nobody has, and are in memory */
#define CONV_IDLE_TEXT (1 << 20)   /* bytes of each of them, at most */
#define CONV_IDLE_MS   30000       /* and for how long */
#define CONV_TABLES_MS 10000       /* one call of the tables */
#define CONV_MONEY_MS  60000       /* no money is believed so long without asking */
#define CONV_BEGIN_MS  3000        /* the one that a question waits for: without them, then (K8) */
#define CONV_LEASE_S   30          /* K5 */
#define CONV_PIECE     (64 * 1024) /* bytes of an answer that are kept at once, ... */
#define CONV_PIECE_MS  1000        /* ... or after this time (K3) */

/* ---- jobs (conv-jobs.c) ---------------------------------------------------------------------- */

/* Belongs to what it is a job for: one at a time. */
struct conv_job {
    struct conv_job *next, *prev;
    void (*fn)(void *arg);
    void *arg;
    struct conv_crew *crew;
    uint64_t timer;
};

/* Threads for jobs; one at least. 0, -errno. */
int conv_crew_new(struct sf_http *http, unsigned threads, struct conv_crew **ret);
/* fn(arg) runs once, soon, or after a while. Any thread, any lock. */
void conv_crew_do(struct conv_crew *crew, struct conv_job *job, void (*fn)(void *arg), void *arg);
void conv_crew_later(struct conv_crew *crew, struct conv_job *job, int64_t ms,
                     void (*fn)(void *arg), void *arg);
/* What waits for its time runs soon; from now on nothing waits any more. */
void conv_crew_hurry(struct conv_crew *crew);
/* Runs all that is there. */
void conv_crew_free(struct conv_crew *crew);

/* ---- what a conversation says ---------------------------------------------------------------- */

/* The head, or a turn as it is printed. */
struct conv_part {
    struct sf_buf text;
    uint64_t at[2]; /* where it begins: in the transcript, and in the one with reasoning */
    bool reasoning;
};
SF_VEC_DEFINE(conv_parts, struct conv_part);

struct conv_message {
    char id[SF_CHAT_UUID + 1];
    UT_hash_handle hh;
};

struct talk {
    struct sf_convs *cs;
    char id[SF_CHAT_ID_MAX + 1];
    UT_hash_handle hh;
    unsigned refs;    /* of conversations, turns and jobs */
    bool known;       /* what the state directory has of it is here */
    bool taking;      /* turns of others are being added */
    int64_t asked_ms; /* the tables; 0 = never */
    struct sf_chat_conversation is;
    struct conv_message *messages; /* rows of the tables that are here */

    struct conv_parts parts;
    uint64_t size[2];
    int64_t mtime_ns;
    struct sf_buf last;  /* the last answer */
    char *usage, *error; /* of the last turn; E2 */

    struct sf_conv *convs;     /* that lead here */
    struct sf_conv_turn *line; /* the first one may run */
    struct sf_conv_turn *runs; /* the first of the line, once it has begun */
};

struct conv_wait; /* for a load */

struct sf_conv {
    struct sf_convs *cs;
    char of[SF_CHAT_ID_MAX + 2]; /* '=' and a stem, or '#' and an id */
    UT_hash_handle hh;
    unsigned refs, writers;
    int64_t idle_ms; /* since when refs is 0 */
    char *bucket, *key, *provider;
    struct sf_chat_name name;    /* of a stem */
    bool named;                  /* it is what the state directory says */
    bool missing;                /* the tables have none of this stem or id */
    int64_t found_ms;            /* when the tables were asked for it; 0 = never */
    struct talk *talk;           /* NULL until it is named */
    struct sf_conv *prev, *next; /* of talk->convs */
    struct sf_conv_read *reads;  /* that wait */
    struct sf_conv_watch *watches;
    struct conv_wait *waits;
    bool loading;
    struct conv_job load;
    char *error; /* of what was no turn */
};

/* ---- a turn ---------------------------------------------------------------------------------- */

enum turn_stage {
    TURN_WAITS,   /* in the line */
    TURN_KNOWS,   /* what was said before is read */
    TURN_LEASES,  /* the tables let us */
    TURN_SAYS,    /* the question is stored and shown */
    TURN_ROUTES,  /* which providers */
    TURN_READS,   /* the content, for one of them */
    TURN_PROMPTS, /* the messages are made; budget, cache, dry run */
    TURN_ASKS,    /* sent, nothing came yet */
    TURN_ANSWERS, /* it comes */
    TURN_ENDS,    /* what came of it is stored and shown */
    TURN_TELLS,   /* it has ended for its readers; the tables are told */
    TURN_OVER,
};

#define TURN_PROVIDERS 8 /* that are asked one after the other, at most */

struct sf_conv_turn {
    struct sf_convs *cs;
    unsigned refs;
    struct sf_conv *conv; /* until it is over */
    struct talk *talk;
    struct sf_conv_turn *next; /* of the line */
    uint64_t number;           /* sf_conv_now() */
    enum turn_stage stage;
    bool cancelled, keeping; /* keeping: its row of the line is being written */
    uint64_t row;            /* of the line */
    char *prompt;            /* front matter and all */
    size_t len, body;
    struct sf_chat_front set, own;
    uint32_t uid;
    struct conv_job job, save, lease;

    /* Of its worker alone: */
    int64_t deadline_ms;
    char stem[SF_CHAT_STEM_MAX + 1]; /* of what the tables are told */
    struct sf_chat_record question;
    bool question_shown;
    struct sf_chat_read others; /* turns that came before it, from the tables */
    bool moved;                 /* `continue` was done */
    bool in_tables;             /* its question is there, and the lease was ours */
    struct sf_chat_turns history;
    bool has_history;
    const struct sf_provider_conf *confs[TURN_PROVIDERS];
    unsigned n_confs, conf;
    struct sf_chat_notes fallbacks; /* why others were passed over */
    struct sf_chat_content content;
    struct sf_chat_prompt_args args;
    struct sf_chat_prompt ask;
    char cache_key[SF_CHAT_KEPT_KEY];
    struct spend_amount booked;
    bool sent;                      /* a provider may have to be paid */
    struct sf_chat_record answer;   /* but for its text */
    uint64_t stored;                /* its number while it comes; 0 = none */
    struct sf_chat_record ended[3]; /* what came of it; texts are `said` */
    size_t n_ended;
    struct sf_buf failed; /* the error's text */
    uint64_t told_row;    /* of the outbox */

    /* Under the lock, or its worker's while no provider is asked: */
    uint64_t request; /* at the provider */
    bool asked;       /* and it has not ended */
    struct sf_chat_clean clean[2];
    struct sf_buf said[2]; /* answer and reasoning as they came, clean */
    size_t kept[2];        /* of these, stored */
    uint32_t pieces;
    bool saving, writing; /* a job stores pieces, or will; it does so just now */
    struct sf_chat_body printed;
    enum { SHOWN_NOTHING, SHOWN_REASONING, SHOWN_ANSWER } shown; /* its last part */
    enum sf_provider_how how;
    struct sf_provider_fault fault; /* err 0 = it did not fail */
    struct sf_provider_usage usage;
    int64_t took_ms;
    struct sf_conv_read *reads; /* that wait for its answer */
    int err;                    /* once it has ended: what its readers get at the end */
};

/* ---- all of them ----------------------------------------------------------------------------- */

struct sf_convs {
    struct sf_convs_opts opts; /* texts are ours */
    struct sf_chat_store *store;
    struct sf_chat_remote *remote; /* NULL = no tables */
    struct sf_chat_kept kept;
    struct spend *spend;
    struct conv_crew *beginners, *workers, *askers;

    struct sf_mutex lock; /* order 10; what follows, and all of the above but where it is said */
    struct sf_cond idle;
    bool stopping;
    struct sf_conv *convs;
    struct talk *talks;
    unsigned unused, running, waiting, readers;
    unsigned timers;  /* of loads */
    unsigned keeping; /* rows of the line that are being written */
    uint64_t number, turns, failed, cancelled;
    char last_error[240];
    int64_t no_money_ms[SF_ROUTE_MAX]; /* when a provider said so, by its place in the list */
    struct conv_job tell;              /* what the outbox has */
    bool tells;                        /* it is looked through, or will be */
};

/* ---- conv.c ---------------------------------------------------------------------------------- */

void conv_unref_locked(struct sf_conv *c);
/* It leads to this conversation from now on. */
void conv_lead_locked(struct sf_conv *c, struct talk *t);
/* The talk of an id, one more reference; NULL = no memory. */
struct talk *talk_get_locked(struct sf_convs *cs, const char *id);
void talk_put_locked(struct talk *t);
/* Watchers are told that it has changed. Reads are for talk_serve(). */
void conv_changed_locked(struct sf_conv *c);
void talk_changed_locked(struct talk *t);
/* Of a turn: those of its conversation, and of the name it was asked under, which may lead to
 * another one by now. */
void turn_changed_locked(struct sf_conv_turn *t);

/* ---- conv-text.c: what it says --------------------------------------------------------------- */

/* Append a turn that is whole, and the head before the first one. 0 or -ENOMEM. */
int talk_add_locked(struct talk *t, const struct sf_chat_record *turn);
void talk_clear_locked(struct talk *t);
/* A turn whose text came in pieces has ended: what is remembered of it. 0 or -ENOMEM. */
int talk_note_locked(struct talk *t, const struct sf_chat_record *turn);
bool talk_has_message_locked(const struct talk *t, const char *message);
/* A turn that comes, as the last part: reasoning ends before its answer begins. 0 or -ENOMEM. */
int talk_begin_locked(struct talk *t, const struct sf_chat_turn *head, struct sf_chat_body *body);
int talk_text_locked(struct talk *t, struct sf_chat_body *body, const char *text, size_t len);
int talk_end_locked(struct talk *t, struct sf_chat_body *body, const struct sf_chat_notes *below);
uint64_t talk_size_locked(const struct talk *t, enum sf_chat_view view);
/* A copy of at most @len bytes from @off; *n = 0 behind the end. 0 or -ENOMEM. */
int talk_copy_locked(const struct talk *t, enum sf_chat_view view, uint64_t off, size_t len,
                     char **ret, size_t *n);

/* ---- conv-read.c ----------------------------------------------------------------------------- */

/* Answer what can be answered by now. Holding no lock. */
void talk_serve(struct talk *t);
void conv_serve(struct sf_conv *c);
void turn_serve(struct sf_conv_turn *t);

/* ---- conv-load.c: on a worker ---------------------------------------------------------------- */

/* What the state directory has of it. 0 or -errno. The talk is held by the caller. */
int talk_load(struct talk *t);
/* Let a name lead elsewhere. @away: NULL, or what is put away with it. 0 or -errno. */
int conv_rename(struct sf_conv *c, const struct sf_chat_name *name, const char *away);
/* Of what was read from the tables only turns stay that are not here; `is` knows by then what was
 * read, and which questions have no answer yet. */
void talk_sift_locked(struct talk *t, struct sf_chat_read *read);
/* A copy of what it is, for the store. 0 or -ENOMEM. */
int talk_facts_locked(const struct talk *t, struct sf_chat_conversation *out);

/* ---- conv-line.c ----------------------------------------------------------------------------- */

/* Begin the next turn if nothing is in its way. Holding no lock. */
void talk_pump(struct talk *t);
/* Its place in the line is free: it is over. */
void turn_leave_locked(struct sf_conv_turn *t);
/* One that runs goes to the end of another line. Takes its reference along. */
void turn_move_locked(struct sf_conv_turn *t, struct talk *to);
/* At whatever stage. Holding no lock. */
void turn_cancel(struct sf_conv_turn *t);
/* One that has not begun: its readers get an error. Its row of the line stays. */
void turn_drop(struct sf_conv_turn *t, int err);

/* ---- turn.c ---------------------------------------------------------------------------------- */

/* 0, -ENOMEM. */
int turn_new(struct sf_convs *cs, const struct sf_conv_prompt *p, struct sf_conv_turn **ret);
void turn_ref_locked(struct sf_conv_turn *t);
void turn_unref_locked(struct sf_conv_turn *t);
/* The course through the stages, from where it is: as a job. Takes a reference. */
void turn_run(void *turn);
/* It failed: the next provider may be asked, or it ends. Says where it goes on. */
enum turn_stage turn_failed_locked(struct sf_conv_turn *t);
/* Its fault. Returns @err. */
__attribute__((format(printf, 3, 4))) int turn_fault(struct sf_conv_turn *t, int err,
                                                     const char *fmt, ...);
bool turn_is_cancelled(void *turn);

/* Stages. 0: the next one; TURN_LATER: turn_run() is called, or has been, when it goes on;
 * TURN_SKIPS: nobody has to be asked; -errno with the fault filled. */
#define TURN_LATER 1
#define TURN_SKIPS 2
int turn_knows(struct sf_conv_turn *t); /* turn-begin.c */
int turn_leases(struct sf_conv_turn *t);
int turn_question(struct sf_conv_turn *t); /* made, where it is not */
/* The stem of an id and the number behind it; NULL and 0 = it is of another form. */
const char *turn_stem(const char *id, char stem[static SF_CHAT_STEM_MAX + 1], uint64_t *generation);
int turn_says(struct sf_conv_turn *t);
int turn_routes(struct sf_conv_turn *t); /* turn-ask.c */
int turn_reads(struct sf_conv_turn *t);
int turn_prompts(struct sf_conv_turn *t);
/* What that is by the prices of its provider and model. */
void turn_amount(const struct sf_conv_turn *t, const struct sf_provider_usage *usage,
                 struct spend_amount *out);
int turn_asks(struct sf_conv_turn *t); /* turn-answer.c */
void turn_unask(struct sf_conv_turn *t, uint64_t request);
/* A piece came; NULL: none does any more. 0 or -ENOMEM. */
int turn_hears_locked(struct sf_conv_turn *t, enum sf_provider_voice voice, const char *text,
                      size_t n);
int turn_ends(struct sf_conv_turn *t); /* turn-end.c */
int turn_tells(struct sf_conv_turn *t);
/* What the outbox has, after a while. */
void convs_tell_behind(struct sf_convs *cs, int64_t ms);

/* turn-where.c: the directory (looked up) and the name in it ("" = itself) of a key. 0, -errno. */
int convs_find(struct sf_convs *cs, const char *bucket, const char *key, struct sf_tree_entry *dir,
               char file[static 256]);

#endif
