/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/chat.h"

#include "chat/clean.h"
#include "daemon/exit.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    JSON = 'j',
    NEW = 'n',
    LAST = 'l',
    CONTINUE = 'c',
    PROVIDER = 'p',
    MODEL = 'm',
    SYSTEM = 's'
};
enum { CANCEL = 256, TEMPERATURE, MAX_TOKENS, THINKING, DRY_RUN };

/* ---- the command line ------------------------------------------------------------------------ */

static void
set(struct chat_line *l, enum sf_chat_set which, const char *value, struct argp_state *state)
{
    struct sf_err err = SF_ERR_INIT;
    int rc = sf_chat_front_set(&l->front, which, value, &err);
    if (rc)
        argp_error(state, "%s", err.msg[0] ? err.msg : strerror(-rc));
}

static void
check(const struct chat_line *l, struct argp_state *state)
{
    if (!l->path)
        argp_error(state, "about which file or directory?");
    if (l->last + l->cancel + (l->fresh || l->go_on || l->front.continues) > 1)
        argp_error(state, "one of --new, --continue, --last and --cancel");
    if (l->fresh && (l->go_on || l->front.continues))
        argp_error(state, "a new conversation, or one that is there: --new or --continue");
    if ((l->last || l->cancel) && l->question)
        argp_error(state, "--last and --cancel ask nothing");
}

static error_t
parse(int key, char *arg, struct argp_state *state)
{
    static const struct {
        int key;
        enum sf_chat_set set;
    } settings[] = {{PROVIDER, SF_CHAT_SET_PROVIDER},     {MODEL, SF_CHAT_SET_MODEL},
                    {SYSTEM, SF_CHAT_SET_SYSTEM},         {TEMPERATURE, SF_CHAT_SET_TEMPERATURE},
                    {MAX_TOKENS, SF_CHAT_SET_MAX_TOKENS}, {THINKING, SF_CHAT_SET_THINKING}};
    struct chat_line *l = state->input;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
        if (settings[i].key == key) {
            set(l, settings[i].set, arg, state);
            return 0;
        }
    switch (key) {
    case JSON:
        l->json = true;
        return 0;
    case NEW:
        l->fresh = true;
        return 0;
    case LAST:
        l->last = true;
        return 0;
    case CANCEL:
        l->cancel = true;
        return 0;
    case DRY_RUN:
        set(l, SF_CHAT_SET_DRY_RUN, "yes", state);
        return 0;
    case CONTINUE:
        l->go_on = !arg;
        if (arg)
            set(l, SF_CHAT_SET_CONTINUE, arg, state);
        return 0;
    case ARGP_KEY_ARG:
        if (l->path && l->question)
            argp_error(state, "the question is one argument: quote it");
        *(l->path ? &l->question : &l->path) = arg;
        return 0;
    case ARGP_KEY_END:
        check(l, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"provider", PROVIDER, "NAME", 0, "Whom to ask", 0},
    {"model", MODEL, "MODEL", 0, "Which of its models", 0},
    {"system", SYSTEM, "TEXT", 0, "How the model is to behave", 0},
    {"temperature", TEMPERATURE, "NUMBER", 0, "From 0 to 2", 0},
    {"max-tokens", MAX_TOKENS, "NUMBER", 0, "Of the answer", 0},
    {"thinking", THINKING, "WORD", 0, "How hard it thinks: off, on, low, medium or high", 0},
    {"dry-run", DRY_RUN, NULL, 0, "Send nothing; tell what would be sent", 0},
    {"continue", CONTINUE, "ID", OPTION_ARG_OPTIONAL,
     "Go on with this conversation; without ID, with the one that is there, and only then", 0},
    {"new", NEW, NULL, 0, "Begin a new one: put away the conversation that is there", 0},
    {"last", LAST, NULL, 0, "Print the last answer, and ask nothing", 0},
    {"cancel", CANCEL, NULL, 0, "End what is being asked", 0},
    {"json", JSON, NULL, 0, "Print one JSON object", 0},
    {0}};

static const struct argp argp = {
    options,
    parse,
    "PATH [PROMPT]",
    "Ask an AI provider about a file, or about the files in a directory."
    "\vThe standard input is the question, or, with PROMPT, stands behind it; </dev/null keeps it "
    "out. The answer is printed as it comes; Ctrl-C ends it. It is the conversation of PATH.chat, "
    "and goes on there.",
    NULL,
    NULL,
    NULL};

/* ---- Ctrl-C ---------------------------------------------------------------------------------- */

static volatile sig_atomic_t interrupted;

static void
on_signal(int number)
{
    (void)number; /* and a read returns with EINTR */
    interrupted = 1;
}

/* The first Ctrl-C ends the answer with a word about what is kept, the second one at once. */
static void
catch_interrupt(void)
{
    const struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESETHAND};
    sigaction(SIGINT, &act, NULL);
}

/* ---- what comes ------------------------------------------------------------------------------ */

/* An answer on its way to the standard output, or into JSON: clean of what would steer a terminal,
 * whoever mounted. */
struct answer_out {
    bool json, failed; /* the output is gone */
    struct sf_chat_clean clean;
    struct sf_buf text, piece; /* text: of JSON alone */
    size_t bytes;
    char last;
};

static int
put(struct answer_out *o)
{
    int rc = 0;
    if (!o->piece.len)
        return 0;
    o->bytes += o->piece.len;
    o->last = o->piece.data[o->piece.len - 1];
    if (o->json)
        return sf_buf_append(&o->text, o->piece.data, o->piece.len);
    if (fwrite(o->piece.data, 1, o->piece.len, stdout) != o->piece.len || fflush(stdout))
        rc = -errno;
    o->failed = rc != 0;
    sf_buf_clear(&o->piece);
    return rc;
}

static int
take_text(void *arg, const char *text, size_t len)
{
    struct answer_out *o = arg;
    sf_buf_clear(&o->piece);
    int rc = sf_chat_clean_put(&o->clean, &o->piece, text, len);
    rc = rc ? rc : put(o);
    return !rc && interrupted ? -EINTR : rc;
}

/* Text ends with a line. */
static int
end_text(struct answer_out *o)
{
    sf_buf_clear(&o->piece);
    int rc = sf_chat_clean_end(&o->clean, &o->piece);
    if (!rc)
        rc = put(o);
    if (!rc && !o->json && o->bytes && o->last != '\n')
        rc = fputs("\n", stdout) < 0 || fflush(stdout) ? -errno : 0;
    return rc;
}

static void
answer_out_fini(struct answer_out *o)
{
    sf_buf_fini(&o->text);
    sf_buf_fini(&o->piece);
}

static void
print_json(json_t *o)
{
    say_json(o);
    json_decref(o);
}

static void
say_kept(const struct chat_way *w, const struct chat_line *l, const struct answer_out *o)
{
    const char *where = *w->file && !w->by_mount ? strrchr(w->file, '/') + 1 : "the conversation";
    if (!w->asked)
        complain("%s: nothing was asked", l->path);
    else if (o->bytes)
        complain("%s: cancelled; what had arrived of the answer (%zu bytes) is kept in %s", l->path,
                 o->bytes, where);
    else
        complain("%s: cancelled before an answer came; the question is kept in %s", l->path, where);
}

/* ---- asking ---------------------------------------------------------------------------------- */

/* What the transcript has of it; all but the id may be found in its end. */
static void
look_up(struct chat_way *w, const struct chat_line *l, const struct sf_buf *asked,
        struct chat_said *s)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT, thoughts = SF_BUF_INIT;
    bool whole = l->json || w->by_mount || !w->from;
    if (chat_way_read(w, whole ? 0 : w->from, false, &text) ||
        chat_said_find(s, sf_buf_str(&text), text.len, whole, asked))
        return;
    if (l->json && s->id && !chat_way_thoughts(w, s->id, &thoughts))
        chat_said_think(s, sf_buf_str(&thoughts), thoughts.len);
}

static const char *
sentence(const struct chat_said *s, const struct sf_buf *said, int rc)
{
    if (said->len)
        return said->data;
    if (s->why && s->why->text.len)
        return s->why->text.data;
    switch (rc) {
    case -EBUSY:
        return "too many questions wait already";
    case -EACCES:
        return "this user may not ask about it, or the provider has no usable key";
    case -EDQUOT:
        return "a budget is spent, or the provider wants money";
    case -EOPNOTSUPP:
        return "no provider takes it";
    case -EPIPE:
        return "the mount was taken down meanwhile";
    default:
        return control_trouble(rc);
    }
}

static int
finish(struct chat_way *w, const struct chat_line *l, const struct sf_buf *asked,
       struct answer_out *o, int rc, const struct sf_buf *said)
{
    struct chat_said s = {.id = NULL};
    if (w->asked)
        look_up(w, l, asked, &s);
    const char *why = rc ? sentence(&s, said, rc) : NULL, *lack = chat_lack(&s);
    const char *class = chat_said_note(&s, "class");
    bool stopped = interrupted && rc == -EINTR;
    int code = stopped ? EXIT_INTERRUPTED : chat_code(rc, class);
    if (l->json)
        print_json(chat_json(l->path, &s, &o->text, rc, why));
    if (stopped)
        say_kept(w, l, o);
    else if (rc)
        complain("%s: %s", l->path, why);
    else if (lack)
        complain("%s: %s", l->path, lack);
    chat_said_fini(&s);
    return code;
}

static int
ask(struct chat_way *w, const struct chat_line *l, const struct sf_buf *prompt,
    const struct sf_buf *asked)
{
    sf_autobuf struct sf_buf said = SF_BUF_INIT;
    struct answer_out o = {.json = l->json, .text = SF_BUF_INIT, .piece = SF_BUF_INIT};
    catch_interrupt();
    int rc = chat_way_ask(w, prompt, take_text, &o, &said);
    int bad = end_text(&o);
    int code = SF_EXIT_FAILED;
    if (o.failed)
        complain("cannot write the answer: %s", strerror(rc ? -rc : -bad));
    else
        code = finish(w, l, asked, &o, rc ? rc : bad, &said);
    answer_out_fini(&o);
    return code;
}

/* ---- all else -------------------------------------------------------------------------------- */

static int
complain_of(const struct chat_line *l, int rc, const struct sf_buf *said)
{
    complain("%s: %s", l->path, said->len ? said->data : control_trouble(rc));
    return chat_code(rc, NULL);
}

static int
last(struct chat_way *w, const struct chat_line *l)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    const struct sf_buf none = SF_BUF_INIT;
    struct answer_out o = {.json = false, .text = SF_BUF_INIT, .piece = SF_BUF_INIT};
    struct chat_said s = {.id = NULL};
    int rc = chat_way_read(w, 0, true, &text);
    if (rc && rc != -ENOENT)
        return complain_of(l, rc, &none);
    if (!rc)
        rc = chat_said_find(&s, sf_buf_str(&text), text.len, true, NULL);
    if (rc) {
        complain("%s: %s", l->path,
                 rc == -ENOENT ? "there is no answer about it yet" : strerror(-rc));
    } else if (l->json) {
        print_json(chat_json(l->path, &s, NULL, 0, NULL));
    } else {
        rc = take_text(&o, sf_buf_str(&s.answer->text), s.answer->text.len);
        rc = rc ? rc : end_text(&o);
    }
    answer_out_fini(&o);
    chat_said_fini(&s);
    return rc ? SF_EXIT_FAILED : SF_EXIT_OK;
}

/* --continue without an ID. */
static int
must_be_there(struct chat_way *w, const struct chat_line *l)
{
    sf_autobuf struct sf_buf text = SF_BUF_INIT;
    int rc = chat_way_read(w, 0, false, &text);
    if (!rc && text.len)
        return SF_EXIT_OK;
    if (rc && rc != -ENOENT)
        return complain_of(l, rc, &text);
    complain("%s: there is no conversation about it to go on with", l->path);
    return SF_EXIT_FAILED;
}

/* The standard input is asked about, too, unless it is a terminal beside a question. */
static int
input(const struct chat_line *l)
{
    bool tty = isatty(STDIN_FILENO);
    if (l->question)
        return tty ? -1 : STDIN_FILENO;
    if (tty && isatty(STDERR_FILENO))
        fputs("The question? It ends with Ctrl-D.\n", stderr);
    return STDIN_FILENO;
}

static int
run(struct chat_line *l)
{
    sf_autobuf struct sf_buf prompt = SF_BUF_INIT, asked = SF_BUF_INIT, said = SF_BUF_INIT;
    struct sf_err err = SF_ERR_INIT;
    struct chat_way w;
    int code, rc;
    if (chat_way_find(&w, l->path, &code))
        return code;
    if (l->last)
        return last(&w, l);
    if (l->cancel) {
        rc = chat_way_cancel(&w, &said);
        return rc ? complain_of(l, rc, &said) : SF_EXIT_OK;
    }
    if (l->go_on && (code = must_be_there(&w, l)))
        return code;
    /* What is asked is known, and good, before anything is put away. */
    rc = chat_prompt(l, input(l), &prompt, &asked, &err);
    bool only_new = rc == -ENODATA && l->fresh;
    if (rc && !only_new) {
        complain("%s", err.msg[0] ? err.msg : strerror(-rc));
        return rc == -EINVAL || rc == -EFBIG || rc == -ENODATA ? SF_EXIT_USAGE : SF_EXIT_FAILED;
    }
    rc = l->fresh ? chat_way_put_away(&w, &said) : 0;
    if (rc)
        return complain_of(l, rc, &said);
    return only_new ? SF_EXIT_OK : ask(&w, l, &prompt, &asked);
}

int
cmd_chat(int argc, char **argv)
{
    struct chat_line l = {.path = NULL};
    sf_chat_front_init(&l.front);
    error_t bad = argp_parse(&argp, argc, argv, 0, NULL, &l);
    int code = SF_EXIT_USAGE;
    if (bad)
        complain("%s", strerror(bad));
    else
        code = run(&l);
    sf_chat_front_fini(&l.front);
    return code;
}
