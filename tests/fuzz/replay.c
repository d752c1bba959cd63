/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Runs a fuzz target over files: PROGRAM [FILE...]. Without files, as in `make check`, over those
 * of tests/fuzz/corpus/TARGET, where the program is called fuzz-TARGET. In a build that searches
 * for more (--enable-fuzz) libFuzzer's main() takes the place of this file.
 */
#include "base/cleanup.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (1 << 20)

static int
replay_file(const char *path)
{
    sf_autofree uint8_t *data = malloc(INPUT_MAX);
    sf_autofile FILE *f = fopen(path, "re");
    if (!f || !data) {
        perror(path);
        return 1;
    }
    size_t n = fread(data, 1, INPUT_MAX, f);
    /* Exactly so long, so that a sanitizer sees a read behind it. */
    sf_autofree uint8_t *input = malloc(n ? n : 1);
    if (ferror(f) || !input) {
        perror(path);
        return 1;
    }
    memcpy(input, data, n);
    LLVMFuzzerTestOneInput(input, n);
    return 0;
}

static int
replay_corpus(const char *program)
{
    char dir[PATH_MAX], path[PATH_MAX + 256];
    const char *top = getenv("top_srcdir"), *base = strrchr(program, '/');
    base = base ? base + 1 : program;
    if (strncmp(base, "fuzz-", 5) == 0)
        base += 5;
    snprintf(dir, sizeof dir, "%s/tests/fuzz/corpus/%s", top ? top : ".", base);
    sf_autodir DIR *d = opendir(dir);
    if (!d) {
        perror(dir);
        return 1;
    }
    int seen = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (replay_file(path) != 0)
            return 1;
        seen++;
    }
    printf("%s: %d inputs\n", dir, seen);
    return seen ? 0 : 1;
}

int
main(int argc, char **argv)
{
    if (argc < 2)
        return replay_corpus(argv[0]);
    for (int i = 1; i < argc; i++)
        if (replay_file(argv[i]) != 0)
            return 1;
    return 0;
}
