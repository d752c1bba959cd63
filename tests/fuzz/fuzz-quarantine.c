/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"
#include "fuzz.h"
#include "write/quarantine.h"
#include "write/write.h"

/* First byte: 'n' the note beside bytes in quarantine, which may be damaged; else the name and the
 * reason (behind a line feed) of something that goes there. */

static char state[64], quarantine[80];

static void
take_away(void)
{
    (void)!rmdir(quarantine);
    (void)!rmdir(state);
}

/* Once: directories of this process, which are empty between inputs. */
static void
open_state(void)
{
    if (*state)
        return;
    /* In memory where there is such a place: all of it is synced. */
    snprintf(state, sizeof state, "%s/supafs-fuzz-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    REQUIRE(mkdtemp(state));
    snprintf(quarantine, sizeof quarantine, "%s/quarantine", state);
    REQUIRE(mkdir(quarantine, 0700) == 0);
    atexit(take_away);
}

static void
empty_quarantine(void)
{
    sf_autodir DIR *d = opendir(quarantine);
    REQUIRE(d);
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            REQUIRE(unlinkat(dirfd(d), e->d_name, 0) == 0);
}

static void
write_text(const char *name, const void *data, size_t size)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", quarantine, name);
    sf_autofile FILE *f = fopen(path, "we");
    REQUIRE(f && fwrite(data, 1, size, f) == size);
}

struct told {
    unsigned n;
    const char *reason; /* as expected; NULL = any */
};

static int
row(void *arg, const struct sf_quarantine_row *r)
{
    struct told *told = arg;
    struct stat st;
    told->n++;
    REQUIRE(stat(r->path, &st) == 0 && r->size == (uint64_t)st.st_size);
    if (told->reason) {
        REQUIRE(r->time && r->err && r->reason);
        REQUIRE(strcmp(r->reason, told->reason) == 0);
    }
    return 0;
}

static void
note(const char *text, size_t len)
{
    struct told told = {0};
    write_text("20261121T091345Z-a-1f0c22b1", "bytes", 5);
    write_text("20261121T091345Z-a-1f0c22b1.json", text, len);
    REQUIRE(sf_state_each_quarantined(state, row, &told) == 0 && told.n == 1);
}

/* Whatever it is called, it is kept under a harmless name, and the note can be read. */
static void
take(char *name)
{
    char path[PATH_MAX];
    char *reason = strchr(name, '\n');
    if (reason)
        *reason++ = '\0';
    struct sf_err why = SF_ERR_INIT;
    why.code = sf_err_set(&why, -EIO, "%s", reason ? reason : "");
    bool utf8 = sf_utf8_valid(why.msg, strlen(why.msg));
    struct told told = {.reason = utf8 ? why.msg : "(not UTF-8)"};
    REQUIRE(sf_quarantine_bytes(quarantine, name, "abc", 3, &why, path) == 0);
    REQUIRE(strncmp(path, quarantine, strlen(quarantine)) == 0);
    const char *base = strrchr(path, '/') + 1;
    REQUIRE(base == path + strlen(quarantine) + 1);
    REQUIRE(strspn(base, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
            strlen(base));
    REQUIRE(sf_state_each_quarantined(state, row, &told) == 0 && told.n == 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    open_state();
    sf_autofree char *text = fuzz_text(data + 1, size - 1);
    if (data[0] == 'n')
        note(text, size - 1);
    else
        take(text);
    empty_quarantine();
    return 0;
}
