/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/provider.h"

#include "base/cleanup.h"
#include "daemon/exit.h"
#include "provider/provider.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What a mount does with files at providers: upload, adopt, rm, files and prune. */

/* A request has so many words at most, and so many bytes of paths, which may grow fourfold. */
#define PATHS_MAX 48
#define BYTES_MAX 12000

/* ---- rows ------------------------------------------------------------------------------------ */

const char *
provider_str(const json_t *row, const char *name)
{
    const char *s = json_string_value(json_object_get(row, name));
    return s ? s : "";
}

int64_t
provider_num(const json_t *row, const char *name)
{
    return json_integer_value(json_object_get(row, name));
}

bool
provider_flag(const json_t *row, const char *name)
{
    return json_is_true(json_object_get(row, name));
}

struct asked {
    provider_row_fn fn;
    void *arg;
};

static void
take_line(void *arg, const char *text)
{
    const struct asked *a = arg;
    json_t *row = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(row))
        a->fn(a->arg, row);
    json_decref(row);
}

int
provider_ask(const char *point, const char *const *words, provider_row_fn fn, void *arg)
{
    struct asked a = {fn, arg};
    sf_autobuf struct sf_buf said = SF_BUF_INIT;
    int rc = control_answers(point);
    if (rc) {
        complain("%s: %s", point, control_trouble(rc));
        return rc;
    }
    rc = control_ask(point, words, take_line, &a, &said);
    if (rc < 0 && rc != -ENOSYS)
        complain("%s", said.len ? said.data : control_trouble(rc));
    return rc;
}

int
provider_point(const struct provider_line *l, bool quiet, char **ret)
{
    struct point_vec points = {0};
    int rc = control_points(l->point, &points) ? -1 : 0;
    if (!rc && points.len != 1) {
        rc = -1;
        if (!quiet && !points.len)
            complain("nothing of supafs is mounted; only a mount can do that");
        else if (!quiet)
            complain("there are %zu mounts; name the one that is meant with --mount", points.len);
    }
    if (!rc && quiet && control_answers(points.data[0]))
        rc = -1;
    if (!rc)
        *ret = sf_steal(points.data[0]);
    control_points_fini(&points);
    return rc;
}

/* Too old for a verb that only a mount can do. */
static int
code_of(const char *point, int rc)
{
    if (rc == -ENOSYS)
        complain("%s is a mount of an older version, which knows of no providers", point);
    return rc < 0 ? SF_EXIT_FAILED : SF_EXIT_OK;
}

/* "/mnt/path". */
static const char *
full_path(const char *point, const char *path, char out[8192])
{
    snprintf(out, 8192, "%s%s%s", point, strcmp(point, "/") ? "/" : "", path);
    return out;
}

/* ---- upload ---------------------------------------------------------------------------------- */

struct uploads {
    const struct provider_line *l;
    const char *point; /* of those under way */
    json_t *all;       /* NULL = text */
    bool tty;
    uint64_t ready, failed; /* of requests that have ended */
    uint64_t rows, bad;     /* of the one under way */
};

static void
say_progress(const struct uploads *u, const json_t *row)
{
    double sent = (double)provider_num(row, "sent"), total = (double)provider_num(row, "total");
    if (!u->tty)
        return;
    fprintf(stderr, "%" PRIu64 " files, %.1f of %.1f MiB\033[K\r",
            u->ready + (uint64_t)provider_num(row, "done"), sent / (1024 * 1024),
            total / (1024 * 1024));
    fflush(stderr);
}

static void
take_upload(void *arg, const json_t *row)
{
    struct uploads *u = arg;
    char path[8192];
    const char *provider = provider_str(row, "provider"), *error = provider_str(row, "error");
    if (!json_object_get(row, "path")) {
        say_progress(u, row);
        return;
    }
    full_path(u->point, provider_str(row, "path"), path);
    u->rows++;
    u->bad += *error != '\0';
    if (u->tty)
        fputs("\033[K", stderr);
    if (u->all) {
        json_t *copy = json_copy((json_t *)(uintptr_t)row);
        json_object_set_new(copy, "path", json_string(path));
        json_array_append_new(u->all, copy);
    } else if (*error) {
        complain("%s: %s%s%s", path, provider, *provider ? ": " : "", error);
    } else {
        say(stdout, "%-10s %s  %s  (%s)", provider, provider_str(row, "id"), path,
            provider_str(row, "how"));
        fflush(stdout);
    }
}

/* Some files of one mount. What failed for itself was said. */
static int
upload_some(struct uploads *u, const char *point, char *const *paths, size_t n)
{
    const char *words[PATHS_MAX + 5];
    size_t k = 0;
    words[k++] = "provider-upload";
    if (u->l->deep)
        words[k++] = "-r";
    if (u->l->again)
        words[k++] = "-a";
    words[k++] = u->l->wanted ? u->l->wanted : "auto";
    for (size_t i = 0; i < n; i++)
        words[k++] = paths[i];
    words[k] = NULL;
    u->point = point;
    u->rows = u->bad = 0;
    int rc = provider_ask(point, words, take_upload, u);
    u->ready += u->rows - u->bad;
    u->failed += u->bad;
    return code_of(point, rc);
}

struct batch {
    char point[4096];
    char *paths[PATHS_MAX];
    size_t n, bytes;
};

static int
send_batch(struct uploads *u, struct batch *b)
{
    int code = b->n ? upload_some(u, b->point, b->paths, b->n) : SF_EXIT_OK;
    for (size_t i = 0; i < b->n; i++)
        free(b->paths[i]);
    b->n = b->bytes = 0;
    return code;
}

int
provider_upload(const struct provider_line *l)
{
    struct uploads u = {
        .l = l, .all = l->json ? json_array() : NULL, .tty = isatty(STDERR_FILENO) == 1};
    struct batch *b = calloc(1, sizeof *b);
    int code = b ? SF_EXIT_OK : SF_EXIT_FAILED;
    for (int i = 0; b && i < l->n_args; i++) {
        struct control_place place;
        if (control_find(l->args[i], &place) < 0) {
            code = SF_EXIT_FAILED;
            continue;
        }
        size_t len = strlen(place.path);
        if (b->n &&
            (strcmp(place.point, b->point) != 0 || b->n == PATHS_MAX || b->bytes + len > BYTES_MAX))
            code = send_batch(&u, b) ? SF_EXIT_FAILED : code;
        snprintf(b->point, sizeof b->point, "%s", place.point);
        b->paths[b->n] = strdup(place.path);
        if (b->paths[b->n])
            b->n++;
        else
            code = SF_EXIT_FAILED;
        b->bytes += len;
    }
    if (b)
        code = send_batch(&u, b) ? SF_EXIT_FAILED : code;
    free(b);
    if (u.tty)
        fputs("\033[K", stderr);
    if (u.all)
        say_json(u.all);
    json_decref(u.all);
    return code;
}

/* ---- adopt and rm ---------------------------------------------------------------------------- */

struct done {
    const struct provider_line *l;
    const char *word;
    json_t *all;
};

static void
take_done(void *arg, const json_t *row)
{
    struct done *d = arg;
    if (d->all)
        json_array_append(d->all, (json_t *)(uintptr_t)row);
    else
        say(stdout, "%s %s at %s", d->word, provider_str(row, "id"), provider_str(row, "provider"));
}

static int
act(const struct provider_line *l, const char *point, const char *const *words, const char *word)
{
    struct done d = {.l = l, .word = word, .all = l->json ? json_array() : NULL};
    int code = code_of(point, provider_ask(point, words, take_done, &d));
    if (d.all && !code)
        say_json(d.all);
    json_decref(d.all);
    return code;
}

static const char *
wanted(const struct provider_line *l)
{
    return l->wanted ? l->wanted : "auto";
}

int
provider_adopt(const struct provider_line *l)
{
    struct control_place place;
    if (control_find(l->args[0], &place) < 0)
        return SF_EXIT_USAGE;
    const char *words[] = {"provider-adopt", wanted(l), place.path, l->args[1], NULL};
    return act(l, place.point, words, "its id is");
}

/* A path, where there is such a file in a mount; else an id. */
int
provider_rm(const struct provider_line *l)
{
    struct control_place place;
    char *point = NULL;
    if (!l->point && control_place_of(l->args[0], &place) == 0) {
        const char *words[] = {"provider-rm", wanted(l), place.path, NULL};
        return act(l, place.point, words, "deleted");
    }
    if (!sf_provider_id_ok(l->args[0])) {
        complain("%s is neither a file in a mount nor an id", l->args[0]);
        return SF_EXIT_USAGE;
    }
    if (provider_point(l, false, &point) < 0)
        return SF_EXIT_USAGE;
    const char *words[] = {"provider-rm-id", wanted(l), l->args[0], NULL};
    int code = act(l, point, words, "deleted");
    free(point);
    return code;
}

/* ---- files and prune ------------------------------------------------------------------------- */

struct listing {
    json_t *all; /* NULL = text */
    json_t *sum; /* of prune */
    bool yes;
    unsigned rows;
};

static const char *
age_of(const json_t *row, char age[16])
{
    int64_t created = provider_num(row, "created");
    return created > 0 ? human_age(time(NULL) - created, age) : "-";
}

/* "bucket/key", or what the provider calls it where it is not known. */
static const char *
whose(const json_t *row, char out[1400])
{
    const char *bucket = provider_str(row, "bucket");
    snprintf(out, 1400, "%s%s%s", bucket, *bucket ? "/" : "", provider_str(row, "key"));
    return *out ? out : "-";
}

static void
take_file(void *arg, const json_t *row)
{
    struct listing *f = arg;
    char size[16], age[16], of[1400];
    const char *state = provider_str(row, "state");
    if (f->all) {
        json_array_append(f->all, (json_t *)(uintptr_t)row);
        return;
    }
    if (!f->rows++)
        say(stdout, "%-10s %-30s %8s %7s %-6s %s", "PROVIDER", "ID", "SIZE", "AGE", "OURS",
            "NAME, FILE");
    say(stdout, "%-10s %-30s %8s %7s %-6s %s, %s%s%s%s", provider_str(row, "provider"),
        provider_str(row, "id"), human_size((uint64_t)provider_num(row, "bytes"), size),
        age_of(row, age),
        provider_flag(row, "ours")    ? "yes"
        : provider_flag(row, "begun") ? "begun"
                                      : "no",
        provider_str(row, "name"), whose(row, of), strcmp(state, "ready") ? " (" : "",
        strcmp(state, "ready") ? state : "", strcmp(state, "ready") ? ")" : "");
}

int
provider_files(const struct provider_line *l)
{
    struct listing f = {.all = l->json ? json_array() : NULL};
    const char *words[] = {"provider-files", l->n_args ? l->args[0] : NULL, NULL};
    char *point = NULL;
    int code = SF_EXIT_USAGE;
    if (provider_point(l, false, &point) == 0) {
        code = code_of(point, provider_ask(point, words, take_file, &f));
        if (f.all)
            say_json(f.all);
        else if (!f.rows && !code)
            say(stdout, "no files");
    }
    json_decref(f.all);
    free(point);
    return code;
}

static void
take_pruned(void *arg, const json_t *row)
{
    struct listing *f = arg;
    char size[16], age[16], of[1400];
    const char *verdict = provider_str(row, "verdict"), *why = provider_str(row, "why");
    if (!*verdict) {
        f->sum = json_copy((json_t *)(uintptr_t)row);
        return;
    }
    if (f->all) {
        json_array_append(f->all, (json_t *)(uintptr_t)row);
        return;
    }
    say(stdout, "%-7s %-10s %s  %s  %s  %s%s%s", verdict, provider_str(row, "provider"),
        provider_str(row, "id"), human_size((uint64_t)provider_num(row, "bytes"), size),
        age_of(row, age), whose(row, of), *why ? ": " : "", why);
}

static void
say_sum(const struct listing *f)
{
    char size[16];
    int64_t gone = provider_num(f->sum, "gone");
    say(stdout, "%" PRId64 " of %" PRId64 " files of this mount %s (%s)%s", gone,
        provider_num(f->sum, "seen"), f->yes ? "deleted" : "would be deleted",
        human_size((uint64_t)provider_num(f->sum, "bytes"), size),
        gone && !f->yes ? "; --yes does it" : "");
}

int
provider_prune(const struct provider_line *l)
{
    struct listing f = {.all = l->json ? json_array() : NULL, .yes = l->yes};
    const char *words[4] = {"provider-prune"};
    size_t k = 1;
    char *point = NULL;
    if (l->yes)
        words[k++] = "-y";
    words[k] = l->n_args ? l->args[0] : NULL;
    int code = SF_EXIT_USAGE;
    if (provider_point(l, false, &point) == 0)
        code = code_of(point, provider_ask(point, words, take_pruned, &f));
    if (f.sum && provider_num(f.sum, "failed"))
        code = SF_EXIT_FAILED;
    if (f.sum && f.all) {
        json_object_set(f.sum, "files", f.all);
        say_json(f.sum);
    } else if (f.sum) {
        say_sum(&f);
    }
    json_decref(f.sum);
    json_decref(f.all);
    free(point);
    return code;
}
