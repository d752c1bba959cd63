/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/chat.h"

#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "control/words.h"
#include "daemon/exit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define NAME_ATTR      "user.supafs.chat.name"
#define CANCEL_ATTR    "user.supafs.chat.cancel"
#define ERROR_ATTR     "user.supafs.error"
#define TRANSCRIPT_MAX (192u << 20) /* three times what a conversation may have */
#define SENTENCE_MAX   4096

/* ---- which file ------------------------------------------------------------------------------ */

static ssize_t
text_attr(const char *path, const char *name, char *out, size_t size)
{
    ssize_t n = getxattr(path, name, out, size - 1);
    out[n > 0 ? n : 0] = '\0';
    return n;
}

/* Of a chat file that is its own name; an object of this name has another one, or none. */
static bool
is_object(const char *file)
{
    char name[256];
    ssize_t n = text_attr(file, NAME_ATTR, name, sizeof name);
    return n < 0 ? errno != ENOENT : strcmp(name, strrchr(file, '/') + 1) != 0;
}

/* The chat file beside a file, below a directory, or itself. */
static void
name_file(struct chat_way *w)
{
    char name[256];
    struct stat st;
    if (text_attr(w->real, NAME_ATTR, name, sizeof name) <= 0 || strchr(name, '/') ||
        stat(w->real, &st) < 0)
        return;
    size_t len = strlen(w->real);
    if (!S_ISDIR(st.st_mode))
        while (len && w->real[len - 1] != '/')
            len--;
    const char *between = len && w->real[len - 1] == '/' ? "" : "/";
    snprintf(w->file, sizeof w->file, "%.*s%s%s", (int)len, w->real, between, name);
    if (is_object(w->file))
        w->file[0] = '\0';
}

int
chat_way_find(struct chat_way *w, const char *path, int *code)
{
    *w = (struct chat_way){.from = 0};
    int rc = control_place_of(path, &w->place);
    *code = rc == -EACCES ? SF_EXIT_DENIED : SF_EXIT_USAGE;
    if (rc == -ENODEV)
        complain("%s is not in a mount of supafs", path);
    else if (rc)
        complain("%s: %s", path, strerror(-rc));
    if (rc)
        return -1;
    /* Others than who mounted cannot ask it whether it answers, but may ask about files. */
    rc = control_answers(w->place.point);
    if (rc && rc != -EACCES) {
        complain("%s: %s", w->place.point, control_trouble(rc));
        *code = SF_EXIT_FAILED;
        return -1;
    }
    if (!realpath(path, w->real)) {
        complain("%s: %s", path, strerror(errno));
        return -1;
    }
    name_file(w);
    return 0;
}

/* ---- through the chat file ------------------------------------------------------------------- */

/* An object may have come to this name: it is not to be written to. */
static bool
is_chat(int fd, const char *file)
{
    char name[256];
    ssize_t n = fgetxattr(fd, NAME_ATTR, name, sizeof name - 1);
    name[n > 0 ? n : 0] = '\0';
    return n > 0 && strcmp(name, strrchr(file, '/') + 1) == 0;
}

static int
open_chat(const char *file, int flags)
{
    int fd = open(file, flags | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT && (flags & O_ACCMODE) != O_RDONLY)
        fd = open(file, flags | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    if (is_chat(fd, file))
        return fd;
    close(fd);
    return -ENOENT;
}

static int
pass_on(int fd, chat_text_fn fn, void *arg)
{
    char buf[65536];
    ssize_t n;
    while ((n = read(fd, buf, sizeof buf)) > 0) {
        int rc = fn(arg, buf, (size_t)n);
        if (rc)
            return rc;
    }
    return n < 0 ? -errno : 0;
}

/* Why a prompt was not taken. */
static void
take_sentence(const struct chat_way *w, struct sf_buf *said)
{
    char text[SENTENCE_MAX];
    if (text_attr(w->real, ERROR_ATTR, text, sizeof text) > 0)
        (void)sf_buf_puts(said, text);
}

static int
ask_file(struct chat_way *w, const struct sf_buf *prompt, chat_text_fn fn, void *arg,
         struct sf_buf *said, bool *opened)
{
    struct stat st;
    sf_autofd int fd = open_chat(w->file, O_RDWR);
    if (fd < 0)
        return fd;
    *opened = true;
    if (fstat(fd, &st) == 0)
        w->from = (uint64_t)st.st_size;
    int rc = sf_write_full(fd, prompt->data, prompt->len);
    if (rc == -EINVAL)
        take_sentence(w, said);
    w->asked = !rc;
    return rc ? rc : pass_on(fd, fn, arg);
}

static int
collect(void *arg, const char *text, size_t len)
{
    return sf_buf_append_max(arg, text, len, TRANSCRIPT_MAX);
}

/* ---- through the mount ----------------------------------------------------------------------- */

struct heard {
    struct chat_way *w;
    chat_text_fn fn;
    void *arg;
    int rc;
};

/* "asked", "text WORD". */
static void
take_line(void *arg, const char *text)
{
    struct heard *h = arg;
    sf_autofree char *copy = strdup(text);
    char *words[SF_WORDS_MAX];
    int n = copy ? sf_words_split(copy, words) : 0;
    if (n == 1 && strcmp(words[0], "asked") == 0)
        h->w->asked = true;
    if (n == 2 && strcmp(words[0], "text") == 0 && !h->rc)
        h->rc = h->fn(h->arg, words[1], strlen(words[1]));
}

static int
ask_mount(struct chat_way *w, const char *what, const char *more, chat_text_fn fn, void *arg,
          struct sf_buf *said)
{
    struct heard h = {.w = w, .fn = fn, .arg = arg};
    const char *words[] = {"chat", what, w->place.path, more, NULL};
    int rc = control_ask(w->place.point, words, take_line, &h, said);
    w->by_mount = true;
    /* What an errno means is said better here. */
    if (rc && said->len && strcmp(said->data, strerror(-rc)) == 0)
        sf_buf_clear(said);
    return rc ? rc : h.rc;
}

static int
ignore(void *arg, const char *text, size_t len)
{
    (void)arg;
    (void)text;
    (void)len;
    return 0;
}

/* The file cannot be opened, but the mount may do it all the same (P4, N11): -errno of the file,
 * unless it does, or says why not. */
static bool
may_serve(const struct chat_way *w, int rc)
{
    return !*w->file || rc == -EACCES || rc == -EROFS || rc == -EPERM || rc == -ENAMETOOLONG ||
           rc == -ENOENT;
}

static int
through_mount(struct chat_way *w, int rc, const char *what, const char *more, chat_text_fn fn,
              void *arg, struct sf_buf *said)
{
    if (!may_serve(w, rc))
        return rc;
    int other = ask_mount(w, what, more, fn, arg, said);
    if (other == -ENOSYS && !*w->file)
        (void)!sf_buf_puts(said, "this mount is of an older version, which knows of no chats");
    /* Only who mounted may ask it. */
    if (other == -EACCES && !said->len && !*w->file)
        (void)!sf_buf_puts(said,
                           "only who mounted, or the user of chat_uid, may ask about it here");
    return other == -EACCES && *w->file ? rc : other;
}

/* ---- both ------------------------------------------------------------------------------------ */

int
chat_way_ask(struct chat_way *w, const struct sf_buf *prompt, chat_text_fn fn, void *arg,
             struct sf_buf *said)
{
    bool opened = false;
    int rc = *w->file ? ask_file(w, prompt, fn, arg, said, &opened) : -ENOENT;
    if (opened || !rc)
        return rc;
    return through_mount(w, rc, "ask", sf_buf_str(prompt), fn, arg, said);
}

static int
read_file(const char *file, uint64_t from, bool wait, struct sf_buf *out)
{
    sf_autofd int fd = open_chat(file, O_RDONLY | (wait ? 0 : O_NONBLOCK));
    if (fd < 0)
        return fd;
    if (lseek(fd, (off_t)from, SEEK_SET) < 0)
        return -errno;
    int rc = pass_on(fd, collect, out);
    return rc == -EAGAIN ? 0 : rc;
}

int
chat_way_read(struct chat_way *w, uint64_t from, bool wait, struct sf_buf *out)
{
    sf_autobuf struct sf_buf said = SF_BUF_INIT;
    if (*w->file && !w->by_mount)
        return read_file(w->file, from, wait, out);
    int rc = ask_mount(w, wait ? "read" : "peek", NULL, collect, out, &said);
    return rc ? rc : out->len ? 0 : -ENOENT;
}

int
chat_way_thoughts(const struct chat_way *w, const char *id, struct sf_buf *out)
{
    char path[8192];
    int n = snprintf(path, sizeof path, "%s/.supafs/chats/%s.reasoning.md", w->place.point, id);
    if (strchr(id, '/') || n < 0 || (size_t)n >= sizeof path)
        return -ENOENT;
    sf_autofd int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    int rc = fd < 0 ? -errno : pass_on(fd, collect, out);
    return rc == -EAGAIN ? 0 : rc;
}

int
chat_way_put_away(struct chat_way *w, struct sf_buf *said)
{
    sf_autofd int fd = *w->file ? open(w->file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    int rc = *w->file ? fd < 0 ? -errno : 0 : -EACCES;
    if (rc == -ENOENT)
        return 0; /* it begins with the next question */
    if (!rc && !is_chat(fd, w->file))
        return -ENOENT;
    if (!rc)
        return truncate(w->file, 0) < 0 ? -errno : 0;
    return through_mount(w, rc, "new", NULL, ignore, NULL, said);
}

int
chat_way_cancel(struct chat_way *w, struct sf_buf *said)
{
    if (setxattr(w->real, CANCEL_ATTR, "1", 1, 0) == 0)
        return 0;
    int rc = -errno;
    return through_mount(w, rc, "cancel", NULL, ignore, NULL, said);
}
