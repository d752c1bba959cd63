/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "base/cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define PATH_LEN 4096

/* "max" is no limit, and so is what no machine has (version 1 says it with about 2^63). */
static uint64_t
read_limit(const char *dir, const char *group, const char *file)
{
    char path[PATH_LEN], line[64], *end;
    int n = snprintf(path, sizeof path, "%s%s/%s", dir, group, file);
    if (n < 0 || n >= (int)sizeof path)
        return UINT64_MAX;
    sf_autofile FILE *f = fopen(path, "re");
    if (!f || !fgets(line, sizeof line, f) || line[0] < '0' || line[0] > '9')
        return UINT64_MAX;
    unsigned long long v = strtoull(line, &end, 10);
    return v >= UINT64_C(1) << 60 ? UINT64_MAX : v;
}

/* Of a group and all above it. A container sees a path of the host that is not mounted there: then
 * the limit that counts is in what is mounted. */
static uint64_t
least(const char *dir, char *group, const char *file)
{
    uint64_t min = UINT64_MAX;
    for (;;) {
        uint64_t v = read_limit(dir, group, file);
        if (v < min)
            min = v;
        char *slash = strrchr(group, '/');
        if (!slash)
            return min;
        *slash = '\0';
    }
}

static bool
has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)); p += n)
        if ((p == list || p[-1] == ',') && (p[n] == ',' || !p[n]))
            return true;
    return false;
}

uint64_t
sf_cgroup_memory_limit_at(const char *proc_file, const char *mounted)
{
    char line[PATH_LEN], v1[PATH_LEN];
    uint64_t min = UINT64_MAX;
    sf_autofile FILE *f = fopen(proc_file, "re");
    if (!f || snprintf(v1, sizeof v1, "%s/memory", mounted) >= (int)sizeof v1)
        return min;
    while (fgets(line, sizeof line, f)) { /* number:controllers:/path */
        char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
        if (!path)
            continue;
        *list++ = *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        uint64_t v = UINT64_MAX;
        if (!*list)
            v = least(mounted, path, "memory.max");
        else if (has_word(list, "memory"))
            v = least(v1, path, "memory.limit_in_bytes");
        if (v < min)
            min = v;
    }
    return min;
}

uint64_t
sf_cgroup_memory_limit(void)
{
    return sf_cgroup_memory_limit_at("/proc/self/cgroup", "/sys/fs/cgroup");
}
