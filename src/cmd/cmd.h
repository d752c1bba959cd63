/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_CMD_CMD_H
#define SF_CMD_CMD_H

#include <argp.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mounts.h"
#include "base/vec.h"
#include "cmd/answer.h"

/* The verbs. @argv[0] is what --help shows as the program's name ("supafs mount"). Each returns the
 * code to exit with. */
int cmd_mount(int argc, char **argv);
int cmd_init(int argc, char **argv);
int cmd_umount(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_cache(int argc, char **argv);
int cmd_warmup(int argc, char **argv);
int cmd_find(int argc, char **argv);
int cmd_flush(int argc, char **argv);
int cmd_queue(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_url(int argc, char **argv);
int cmd_provider(int argc, char **argv);
int cmd_chat(int argc, char **argv);

#define EXIT_INTERRUPTED 130 /* Ctrl-C ended a waiting; as shells have it */

/* -o and --env-file, which those take that speak to a project by themselves. */
#define SETTINGS_MAX 64
struct settings_line {
    const char *options[SETTINGS_MAX + 1]; /* arguments of -o, then NULL */
    int n_options;
    const char *env_file;
};
/* 'o' or 'e' of a parser; ARGP_ERR_UNKNOWN for another key. */
error_t settings_option(struct settings_line *l, int key, char *arg,
                        const struct argp_state *state);

/* A line for people: control characters in it and what is not UTF-8 are escaped (sf_str_escape()),
 * so that no name and no mount can write to a terminal. */
__attribute__((format(printf, 2, 3))) void say(FILE *to, const char *fmt, ...);
/* "supafs: TEXT" on the standard error output, in the same way. */
__attribute__((format(printf, 1, 2))) void complain(const char *fmt, ...);
/* A text of several lines, whose newlines stay. */
void say_lines(FILE *to, const char *text);
/* For a line that is written over and over: escaped and cut. Returns @out. */
const char *shortened(const char *text, char *out, size_t size);
/* JSON on the standard output. */
void say_json(const json_t *root);

/**
 * control_read - read a file of a mount's control tree without ever hanging on a dead mount.
 * @point: the mount point; @name: "status" or "stats".
 *
 * Returns 0; -ENOTCONN the mount's process is gone; -ETIMEDOUT it does not answer; -errno.
 */
int control_read(const char *point, const char *name, struct sf_buf *out);

SF_VEC_DEFINE(point_vec, char *);
/* The mount point that was named, or all mounts of supafs (NULL). SF_EXIT_OK, or the code to exit
 * with, which was said. */
int control_points(const char *named, struct point_vec *v);
void control_points_fini(struct point_vec *v);
/* What -errno of a request to a mount means for its user. Static, or strerror()'s. */
const char *control_trouble(int rc);

/* Whether a mount answers at all, before it is asked for what may take long: 0, or as
 * control_read(). */
int control_answers(const char *point);

/* Where a file or directory is. */
struct control_place {
    char point[4096]; /* the mount point */
    char path[4096];  /* below it; "." = itself */
};
/* @path: of something in a mount of supafs. 0; -1: it is not, which was said. */
int control_find(const char *path, struct control_place *ret);
/* The same, and nothing is said: -errno, -ENODEV it is in no mount of ours. */
int control_place_of(const char *path, struct control_place *ret);

/**
 * control_ask - make a request of a mount and pass its answer on, line by line, as it comes.
 * @point: the mount point; @words: the verb and its arguments, NULL-terminated.
 * @said:  gets the sentence of a failure.
 *
 * Returns 0; -errno of a failure that the mount tells or of the way to it; -EPIPE the answer broke
 * off; -EINTR a signal came whose handler does not restart calls. An end cancels the request.
 */
int control_ask(const char *point, const char *const *words,
                void (*line)(void *arg, const char *text), void *arg, struct sf_buf *said);

/* Let a mount read what is at a place into its cache; @tty: show how far it is. 0 or -errno, which
 * was said. */
int warmup_run(const struct control_place *place, bool deep, bool tty);

/* For people: "1.2M", "3m12s". Return @out. */
const char *human_size(uint64_t bytes, char out[16]);
const char *human_age(int64_t seconds, char out[16]);
/* "1 change", "2 changes": the plural's letter. */
const char *plural(uint64_t n);

#endif
