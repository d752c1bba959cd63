/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/cmd.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "control/find-match.h"
#include "control/words.h"
#include "daemon/exit.h"
#include "daemon/place.h"

#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define WORDS_MAX 16

struct find_line {
    const char *path, *same_as;
    bool json, null, tty;
    size_t n;
    char *words[WORDS_MAX]; /* NAME=VALUE for the mount */
    const char *base;       /* what the mount's paths are below */
};

enum { NAME = 'n', TYPE = 't', SIZE = 's', JSON = 'j', NUL = '0', LIMIT = 'l' };
enum { TAG = 256, SHA256, SAME_AS, NEWER, OLDER, PROVIDER, PROVIDER_ID };

/* ---- the command line ------------------------------------------------------------------------ */

static bool
has_word(const struct find_line *l, const char *name, size_t len)
{
    for (size_t i = 0; i < l->n; i++)
        if (strncmp(l->words[i], name, len) == 0 && l->words[i][len] == '=')
            return true;
    return false;
}

/* Of sizes and times those hold that are between all that were given; the mount sees to it. */
static bool
is_bound(const char *word)
{
    return sf_str_starts(word, "min=") || sf_str_starts(word, "max=") ||
           sf_str_starts(word, "newer=") || sf_str_starts(word, "older=");
}

__attribute__((format(printf, 3, 4))) static void
add_word(struct find_line *l, struct argp_state *state, const char *fmt, ...)
{
    va_list ap;
    char *word = NULL;
    va_start(ap, fmt);
    if (vasprintf(&word, fmt, ap) < 0)
        argp_failure(state, SF_EXIT_FAILED, ENOMEM, "find");
    va_end(ap);
    if (l->n == WORDS_MAX || (!is_bound(word) && has_word(l, word, strcspn(word, "="))))
        argp_error(state, "each of them once");
    l->words[l->n++] = word;
}

static void
add_size(struct find_line *l, const char *arg, struct argp_state *state)
{
    uint64_t min, max;
    int rc = sf_find_parse_size(arg, &min, &max);
    if (rc)
        argp_error(state, rc == -ERANGE
                              ? "no file has such a size"
                              : "a size is 4096, 64k, 10M, with + for more and - for less");
    add_word(l, state, "min=%" PRIu64, min);
    add_word(l, state, "max=%" PRIu64, max);
}

static void
add_time(struct find_line *l, const char *name, const char *arg, struct argp_state *state)
{
    int64_t ns = 0;
    if (sf_time_parse_loose(arg, sf_wall_ns(), &ns))
        argp_error(state,
                   "a time is 90s, 15min, 2h, 3d or 2w ago, 2026-11-21, or 2026-11-21T04:05");
    add_word(l, state, "%s=%" PRId64, name, ns);
}

static void
add_hash(struct find_line *l, const char *arg, struct argp_state *state)
{
    unsigned char digest[32];
    if (strlen(arg) != 64 || sf_hex_decode(arg, 64, digest))
        argp_error(state, "a SHA-256 has 64 hex digits");
    add_word(l, state, "sha256=%s", arg);
}

static void
add_limit(struct find_line *l, const char *arg, struct argp_state *state)
{
    uint64_t n = 0;
    if (sf_parse_u64(arg, &n) || !n)
        argp_error(state, "how many files at most?");
    add_word(l, state, "limit=%" PRIu64, n);
}

static error_t
parse(int key, char *arg, struct argp_state *state)
{
    static const struct {
        int key;
        const char *word;
    } texts[] = {{NAME, "name"},
                 {TYPE, "type"},
                 {TAG, "tag"},
                 {PROVIDER, "provider"},
                 {PROVIDER_ID, "provider-id"}};
    struct find_line *l = state->input;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].key == key) {
            add_word(l, state, "%s=%s", texts[i].word, arg);
            return 0;
        }
    switch (key) {
    case SIZE:
        add_size(l, arg, state);
        return 0;
    case NEWER:
    case OLDER:
        add_time(l, key == NEWER ? "newer" : "older", arg, state);
        return 0;
    case SHA256:
        add_hash(l, arg, state);
        return 0;
    case SAME_AS:
        if (l->same_as)
            argp_error(state, "each of them once");
        l->same_as = arg;
        return 0;
    case LIMIT:
        add_limit(l, arg, state);
        return 0;
    case JSON:
        l->json = true;
        return 0;
    case NUL:
        l->null = true;
        return 0;
    case ARGP_KEY_ARG:
        if (l->path)
            argp_error(state, "one file or directory at a time; quote globs");
        l->path = arg;
        return 0;
    case ARGP_KEY_END:
        if (l->same_as && (l->n == WORDS_MAX || has_word(l, "sha256", strlen("sha256"))))
            argp_error(state, "a content is given by --sha256 or by --same-as");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option options[] = {
    {"name", NAME, "GLOB", 0, "Whose name fits: * ? [a-z] [!a-z], and a backslash before these", 0},
    {"type", TYPE, "GLOB", 0, "Whose content type fits, as image/*", 0},
    {"size", SIZE, "SIZE", 0, "Of this size (4096, 64k, 10M); +SIZE larger, -SIZE smaller", 0},
    {"newer", NEWER, "TIME", 0,
     "Stored after it: 90s, 15min, 2h, 3d or 2w ago, 2026-11-21, or 2026-11-21T04:05", 0},
    {"older", OLDER, "TIME", 0, "Stored before it", 0},
    {"tag", TAG, "TAG", 0, "With this tag", 0},
    {"sha256", SHA256, "HEX", 0, "With this content", 0},
    {"same-as", SAME_AS, "FILE", 0, "With the content of this file", 0},
    {"provider", PROVIDER, "NAME", 0, "That this provider has", 0},
    {"provider-id", PROVIDER_ID, "ID", 0, "That a provider has under this id", 0},
    {"limit", LIMIT, "N", 0, "So many at most", 0},
    {"json", JSON, NULL, 0, "Print a line of JSON for each, with all that is known of it", 0},
    {"null", NUL, NULL, 0, "End each path with a NUL byte", 0},
    {0}};

static const struct argp argp = {options,
                                 parse,
                                 "[PATH]",
                                 "Find files by what is known of them. All conditions must hold."
                                 "\vBelow PATH; without it where you are, if that is in a mount, "
                                 "else in all mounts. The project's own tables are "
                                 "asked where it has them (one request "
                                 "for each thousand files found), else all objects are listed. "
                                 "What is not in the bucket yet is not "
                                 "found.",
                                 NULL,
                                 NULL,
                                 NULL};

/* ---- the content of a file ------------------------------------------------------------------- */

static int
hash_bytes(int fd, char hex[65])
{
    unsigned char digest[EVP_MAX_MD_SIZE], buf[65536];
    unsigned len = 0;
    ssize_t n = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool good = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    while (good && (n = read(fd, buf, sizeof buf)) > 0)
        good = EVP_DigestUpdate(md, buf, (size_t)n);
    int rc = n < 0 ? -errno : good && EVP_DigestFinal_ex(md, digest, &len) ? 0 : -ENOMEM;
    EVP_MD_CTX_free(md);
    if (!rc)
        sf_hex_encode(digest, 32, hex);
    return rc;
}

/* A mount may know it without reading the file. */
static int
hash_file(const char *path, char hex[65])
{
    unsigned char digest[32];
    sf_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fgetxattr(fd, "user.supafs.sha256", hex, 64) == 64 && !sf_hex_decode(hex, 64, digest)) {
        hex[64] = '\0';
        return 0;
    }
    return hash_bytes(fd, hex);
}

/* ---- what a mount says ----------------------------------------------------------------------- */

static char *
join(const char *base, const char *path)
{
    char *all = NULL;
    size_t n = strlen(base);
    const char *between = *path && n && base[n - 1] != '/' ? "/" : "";
    return asprintf(&all, "%s%s%s", base, between, path) < 0 ? NULL : all;
}

static json_t *
text_or_null(const char *text)
{
    return *text ? json_string(text) : json_null();
}

/* "found PATH BUCKET KEY SIZE UPDATED TYPE SHA256 TAGS". A path that is no UTF-8 is null: any other
 * text would be another path. */
static void
print_json(const struct find_line *l, const char *path, char *const *w)
{
    char updated[32];
    json_t *tags = *w[8] ? json_loads(w[8], 0, NULL) : NULL;
    sf_time_format_ms(strtoll(w[5], NULL, 10), updated);
    json_t *o =
        json_pack("{s:o, s:s, s:s, s:I, s:o, s:s, s:o, s:o}", "path",
                  sf_utf8_valid(path, strlen(path)) ? json_string(path) : json_null(), "bucket",
                  w[2], "key", w[3], "size", (json_int_t)strtoll(w[4], NULL, 10), "type",
                  text_or_null(w[6]), "updated", updated, "sha256", text_or_null(w[7]), "tags",
                  json_is_array(tags) ? json_incref(tags) : json_array());
    json_decref(tags);
    if (o)
        json_dumpf(o, stdout, JSON_COMPACT | (l->tty ? JSON_ENSURE_ASCII : 0));
    json_decref(o);
    if (o)
        putchar('\n');
}

static void
take_line(void *arg, const char *text)
{
    const struct find_line *l = arg;
    sf_autofree char *copy = strdup(text), *path = NULL;
    char *w[SF_WORDS_MAX];
    int n = copy ? sf_words_split(copy, w) : 0;
    if (n == 2 && strcmp(w[0], "note") == 0)
        complain("%s", w[1]);
    if (n != 9 || strcmp(w[0], "found") != 0 || !(path = join(l->base, w[1])))
        return;
    if (l->json)
        print_json(l, path, w);
    else if (l->tty && !l->null)
        say(stdout, "%s", path);
    else
        fwrite(path, 1, strlen(path), stdout), putchar(l->null ? '\0' : '\n');
}

/* ---- asking ---------------------------------------------------------------------------------- */

static int
ask(struct find_line *l, const char *point, const char *path, const char *base)
{
    sf_autobuf struct sf_buf said = SF_BUF_INIT;
    const char *words[WORDS_MAX + 5] = {"find", path};
    size_t n = 2;
    for (size_t i = 0; i < l->n; i++)
        words[n++] = l->words[i];
    if (l->json)
        words[n++] = "facts=1";
    l->base = base;
    int rc = control_answers(point);
    if (!rc)
        rc = control_ask(point, words, take_line, l, &said);
    if (rc < 0)
        complain("%s: %s", point, said.len ? said.data : control_trouble(rc));
    return rc < 0 ? SF_EXIT_FAILED : SF_EXIT_OK;
}

static int
ask_all(struct find_line *l)
{
    struct point_vec points = {0};
    int code = control_points(NULL, &points);
    if (!code && !points.len) {
        complain("nothing of supafs is mounted");
        code = SF_EXIT_USAGE;
    }
    for (size_t i = 0; i < points.len; i++) {
        int one = ask(l, points.data[i], ".", points.data[i]);
        code = code ? code : one;
    }
    control_points_fini(&points);
    return code;
}

/* Without a path: where one is, if that is in a mount. */
static bool
is_in_mount(void)
{
    struct sf_mount_copy m;
    char here[PATH_MAX];
    return getcwd(here, sizeof here) && sf_mount_of(here, &m) == 1 && sf_place_is_ours(m.fstype);
}

static int
run(struct find_line *l)
{
    struct control_place place;
    char hex[65];
    int rc = l->same_as ? hash_file(l->same_as, hex) : 0;
    if (rc) {
        complain("%s: %s", l->same_as, strerror(-rc));
        return SF_EXIT_USAGE;
    }
    if (l->same_as && asprintf(&l->words[l->n], "sha256=%s", hex) < 0)
        return SF_EXIT_FAILED;
    l->n += l->same_as != NULL;
    if (!l->path && is_in_mount())
        l->path = ".";
    if (!l->path)
        return ask_all(l);
    if (control_find(l->path, &place) < 0)
        return SF_EXIT_USAGE;
    return ask(l, place.point, place.path, l->path);
}

int
cmd_find(int argc, char **argv)
{
    struct find_line l = {.tty = isatty(STDOUT_FILENO)};
    error_t bad = argp_parse(&argp, argc, argv, 0, NULL, &l);
    int code = SF_EXIT_USAGE;
    if (bad)
        complain("%s", strerror(bad));
    else
        code = run(&l);
    for (size_t i = 0; i < l.n; i++)
        free(l.words[i]);
    return code;
}
