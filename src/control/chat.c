/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "control/chat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/lock.h"
#include "chat/chat.h"
#include "chat/file.h"
#include "control/words.h"
#include "tree/files.h"

#define LOOK_MS  200 /* whether anybody waits still */
#define PIECE    65536
#define GROUPS   64
#define SENTENCE 1024

struct sf_control_chat {
    struct sf_tree *tree;
    struct sf_chat *chat;
};

/* ---- a call that is waited for ----------------------------------------------------------------
 */

/* Of chat/chat.h: its callback writes what follows it once, and says that it is over. */
struct call {
    struct sf_mutex lock; /* leaf; protects what follows */
    struct sf_cond came;
    bool over;
    int rc;
    void *other;
    struct sf_buf data;
};

static void
call_init(struct call *c)
{
    *c = (struct call){.data = SF_BUF_INIT};
    sf_mutex_init(&c->lock, 0);
    sf_cond_init(&c->came);
}

static void
call_fini(struct call *c)
{
    sf_buf_fini(&c->data);
    sf_cond_fini(&c->came);
    sf_mutex_fini(&c->lock);
}

static void
call_over(void *arg, int err, const struct sf_tree_result *res)
{
    struct call *c = arg;
    SF_GUARD(&c->lock);
    c->rc = err;
    if (!err) {
        c->other = res->other;
        c->rc = sf_buf_append(&c->data, res->data, res->data ? res->len : 0);
    }
    c->over = true;
    sf_cond_signal(&c->came);
}

/* Until it is over, which is soon when nobody listens any more. */
static int
call_wait(struct call *c, struct sf_chat *chat, struct sf_talk *t, uint64_t id)
{
    bool cancelled = false;
    sf_mutex_lock(&c->lock);
    while (!c->over) {
        if (!cancelled && id && sf_talk_cancelled(t)) {
            cancelled = true;
            sf_mutex_unlock(&c->lock);
            sf_chat_cancel(chat, id);
            sf_mutex_lock(&c->lock);
            continue;
        }
        (void)sf_cond_timedwait_ms(&c->came, &c->lock, sf_clock_ms() + LOOK_MS);
    }
    int rc = c->rc;
    sf_mutex_unlock(&c->lock);
    return rc;
}

/* ---- a request ------------------------------------------------------------------------------- */

struct request {
    const struct sf_control_chat *cc;
    struct sf_talk *talk;
    const char *path;
    struct sf_tree_entry entry;
    struct sf_chat_who who;
    gid_t groups[GROUPS];
};

/* Only who mounted, and root, can open the control file. */
static void
who_mounted(struct request *r)
{
    int n = getgroups(GROUPS, r->groups);
    r->who = (struct sf_chat_who){
        .uid = getuid(), .gid = getgid(), .groups = r->groups, .n_groups = n > 0 ? (size_t)n : 0};
}

/* What the last failure of its conversations was, if anybody knows. */
static int
fail(struct request *r, int rc, struct sf_err *err)
{
    struct call c;
    call_init(&c);
    sf_chat_getxattr(r->cc->chat, &r->who, r->entry.node, "user.supafs.error", call_over, &c);
    bool known = call_wait(&c, r->cc->chat, r->talk, 0) == 0 && c.data.len;
    rc = sf_err_set(err, rc, "%.*s", known ? SENTENCE : 0, known ? c.data.data : "");
    call_fini(&c);
    return rc;
}

static int
open_it(struct request *r, int flags, struct sf_chat_file **ret)
{
    struct call c;
    call_init(&c);
    uint64_t id = sf_chat_open_about(r->cc->chat, &r->who, r->entry.node, flags, call_over, &c);
    int rc = call_wait(&c, r->cc->chat, r->talk, id);
    if (!rc)
        *ret = c.other;
    call_fini(&c);
    return rc;
}

/* 1: there may be more. */
static int
read_piece(struct request *r, struct sf_chat_file *f, uint64_t *off, bool now)
{
    sf_autobuf struct sf_buf line = SF_BUF_INIT;
    struct call c;
    call_init(&c);
    uint64_t id = sf_chat_read(f, *off, PIECE, now, call_over, &c);
    int rc = call_wait(&c, r->cc->chat, r->talk, id);
    size_t n = c.data.len;
    *off += n;
    if (!rc && n)
        rc = sf_words_append(&line, c.data.data);
    call_fini(&c);
    if (rc || !n)
        return rc;
    rc = sf_talk_print(r->talk, "text %s\n", line.data);
    return rc ? rc : 1;
}

static int
read_all(struct request *r, struct sf_chat_file *f, bool now)
{
    uint64_t off = 0;
    int rc;
    while ((rc = read_piece(r, f, &off, now)) > 0)
        ;
    return now && rc == -EAGAIN ? 0 : rc;
}

/* ---- the verb -------------------------------------------------------------------------------- */

static int
ask(struct request *r, const char *prompt, struct sf_err *err)
{
    struct sf_chat_file *f;
    int rc = open_it(r, O_RDWR, &f);
    if (rc)
        return rc;
    ssize_t n = sf_talk_cancelled(r->talk) ? -ECANCELED : sf_chat_write(f, prompt, strlen(prompt));
    /* Only what was read is cancelled by the release, so it is read also when nobody listens. */
    if (n >= 0)
        (void)sf_talk_print(r->talk, "asked\n");
    rc = n < 0 ? (int)n : read_all(r, f, false);
    sf_chat_release(f); /* before the end: cancels it (R8) */
    return rc < 0 ? fail(r, rc, err) : 0;
}

static int
show(struct request *r, bool now)
{
    struct sf_chat_file *f;
    int rc = open_it(r, O_RDONLY | (now ? O_NONBLOCK : 0), &f);
    if (rc)
        return rc;
    rc = read_all(r, f, now);
    sf_chat_release(f);
    return rc;
}

static int
put_away(struct request *r)
{
    struct sf_chat_file *f;
    int rc = open_it(r, O_RDWR | O_TRUNC, &f);
    if (!rc)
        sf_chat_release(f); /* nothing was written: W4 */
    return rc;
}

static int
cancel(struct request *r)
{
    bool remove;
    int rc = sf_chat_setxattr(r->cc->chat, &r->who, r->entry.node, "user.supafs.chat.cancel", "1",
                              1, &remove);
    return rc < 0 ? rc : 0;
}

static int
serve(struct request *r, char **argv, struct sf_err *err)
{
    if (strcmp(argv[1], "ask") == 0)
        return ask(r, argv[3], err);
    if (strcmp(argv[1], "new") == 0)
        return put_away(r);
    if (strcmp(argv[1], "cancel") == 0)
        return cancel(r);
    return show(r, strcmp(argv[1], "peek") == 0);
}

static bool
is_request(int argc, char **argv)
{
    static const char *const words[] = {"read", "peek", "new", "cancel"};
    if (argc == 4)
        return strcmp(argv[1], "ask") == 0;
    for (size_t i = 0; argc == 3 && i < sizeof words / sizeof *words; i++)
        if (strcmp(argv[1], words[i]) == 0)
            return true;
    return false;
}

static int
verb_chat(void *arg, struct sf_talk *t, int argc, char **argv, struct sf_err *err)
{
    const struct sf_control_chat *cc = arg;
    struct request r = {.cc = cc, .talk = t};
    if (!is_request(argc, argv))
        return sf_err_set(err, -EINVAL, "chat ask PATH PROMPT, or chat WORD PATH is meant");
    if (!cc->chat)
        return sf_err_set(err, -EOPNOTSUPP,
                          "this mount has no chats: no provider is configured, "
                          "or chat=off");
    r.path = argv[2];
    int rc = sf_files_find(cc->tree, r.path, &r.entry, err);
    if (rc)
        return rc;
    if (S_ISREG(r.entry.attr.mode) || S_ISDIR(r.entry.attr.mode)) {
        who_mounted(&r);
        rc = serve(&r, argv, err);
    } else {
        rc = sf_err_set(err, -EINVAL, "it is neither a file nor a directory");
    }
    if (rc == -ENOENT && r.entry.node == SF_TREE_ROOT)
        rc = sf_err_set(err, rc, "there is no chat about a whole project: name a bucket");
    sf_files_forget(cc->tree, &r.entry);
    return rc;
}

int
sf_control_chat_new(struct sf_control *c, struct sf_tree *tree, struct sf_chat *chat,
                    struct sf_control_chat **ret)
{
    struct sf_control_chat *cc = malloc(sizeof *cc);
    if (!cc)
        return -ENOMEM;
    *cc = (struct sf_control_chat){.tree = tree, .chat = chat};
    int rc = sf_control_add_patient(c, "chat", verb_chat, cc);
    if (rc) {
        free(cc);
        return rc;
    }
    *ret = cc;
    return 0;
}

void
sf_control_chat_free(struct sf_control_chat *cc)
{
    free(cc);
}
