/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tree/internal.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

/*
 * What is neither file nor directory is an object whose content type says so: the listing, which
 * tells the type, is enough to show it. The names are those of the freedesktop MIME database.
 */
static const struct {
    mode_t format;
    const char *mime;
} kinds[] = {
    {S_IFLNK, "inode/symlink"},     {S_IFIFO, "inode/fifo"},       {S_IFSOCK, "inode/socket"},
    {S_IFBLK, "inode/blockdevice"}, {S_IFCHR, "inode/chardevice"},
};

#define KINDS (sizeof kinds / sizeof *kinds)

mode_t
kind_of_mime(const char *mime)
{
    if (strncmp(mime, "inode/", 6))
        return S_IFREG;
    for (size_t i = 0; i < KINDS; i++)
        if (!strcmp(kinds[i].mime, mime))
            return kinds[i].format;
    return S_IFREG;
}

const char *
kind_mime(mode_t format)
{
    for (size_t i = 0; i < KINDS; i++)
        if (kinds[i].format == format)
            return kinds[i].mime;
    return NULL;
}

mode_t
node_format(const struct node *n)
{
    if (node_is_dir(n))
        return S_IFDIR;
    if (n->symlink)
        return S_IFLNK;
    return n->special ? (mode_t)DTTOIF(n->special) : S_IFREG;
}

void
node_set_format(struct node *n, mode_t format)
{
    n->symlink = S_ISLNK(format);
    n->special = S_ISREG(format) || S_ISLNK(format) ? 0 : IFTODT(format) & 15;
}

bool
node_is_regular(const struct node *n)
{
    return n->type == N_FILE && !n->symlink && !n->special;
}
