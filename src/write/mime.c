/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "observe/log.h"
#include "write/write.h"

#define FALLBACK   "application/octet-stream"
#define TEXT       "text/plain"
#define SUFFIX_MAX 16 /* longer ones are not in the table */

struct suffix {
    const char *ext; /* lower case, without dot */
    const char *mime;
};

/* Sorted by ext (the unit test checks it). A suffix with two common meanings, such as ts, is left
 * out: the content decides. Why a table: docs/decisions/0003-mime-table.md. */
static const struct suffix suffixes[] = {
    {"7z", "application/x-7z-compressed"},
    {"aac", "audio/aac"},
    {"apk", "application/vnd.android.package-archive"},
    {"atom", "application/atom+xml"},
    {"avi", "video/x-msvideo"},
    {"avif", "image/avif"},
    {"bmp", "image/bmp"},
    {"bz2", "application/x-bzip2"},
    {"c", "text/x-c"},
    {"cc", "text/x-c"},
    {"conf", "text/plain"},
    {"cpp", "text/x-c"},
    {"css", "text/css"},
    {"csv", "text/csv"},
    {"deb", "application/vnd.debian.binary-package"},
    {"diff", "text/x-diff"},
    {"doc", "application/msword"},
    {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {"eml", "message/rfc822"},
    {"epub", "application/epub+zip"},
    {"flac", "audio/flac"},
    {"geojson", "application/geo+json"},
    {"gif", "image/gif"},
    {"go", "text/x-go"},
    {"gz", "application/gzip"},
    {"h", "text/x-c"},
    {"heic", "image/heic"},
    {"htm", "text/html"},
    {"html", "text/html"},
    {"ico", "image/vnd.microsoft.icon"},
    {"ics", "text/calendar"},
    {"ini", "text/plain"},
    {"ipynb", "application/x-ipynb+json"},
    {"jar", "application/java-archive"},
    {"java", "text/x-java"},
    {"jpeg", "image/jpeg"},
    {"jpg", "image/jpeg"},
    {"js", "text/javascript"},
    {"json", "application/json"},
    {"jsonl", "application/jsonl"},
    {"jxl", "image/jxl"},
    {"log", "text/plain"},
    {"m4a", "audio/mp4"},
    {"m4v", "video/mp4"},
    {"markdown", "text/markdown"},
    {"md", "text/markdown"},
    {"mid", "audio/midi"},
    {"mjs", "text/javascript"},
    {"mkv", "video/x-matroska"},
    {"mov", "video/quicktime"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
    {"mpeg", "video/mpeg"},
    {"mpg", "video/mpeg"},
    {"odp", "application/vnd.oasis.opendocument.presentation"},
    {"ods", "application/vnd.oasis.opendocument.spreadsheet"},
    {"odt", "application/vnd.oasis.opendocument.text"},
    {"oga", "audio/ogg"},
    {"ogg", "audio/ogg"},
    {"ogv", "video/ogg"},
    {"opus", "audio/ogg"},
    {"otf", "font/otf"},
    {"parquet", "application/vnd.apache.parquet"},
    {"patch", "text/x-diff"},
    {"pdf", "application/pdf"},
    {"png", "image/png"},
    {"ppt", "application/vnd.ms-powerpoint"},
    {"pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
    {"ps", "application/postscript"},
    {"py", "text/x-python"},
    {"rar", "application/vnd.rar"},
    {"rs", "text/x-rust"},
    {"rss", "application/rss+xml"},
    {"rtf", "application/rtf"},
    {"sh", "application/x-sh"},
    {"sql", "application/sql"},
    {"sqlite", "application/vnd.sqlite3"},
    {"sqlite3", "application/vnd.sqlite3"},
    {"svg", "image/svg+xml"},
    {"tar", "application/x-tar"},
    {"tgz", "application/gzip"},
    {"tif", "image/tiff"},
    {"tiff", "image/tiff"},
    {"toml", "application/toml"},
    {"tsv", "text/tab-separated-values"},
    {"ttf", "font/ttf"},
    {"txt", "text/plain"},
    {"vcf", "text/vcard"},
    {"wasm", "application/wasm"},
    {"wav", "audio/wav"},
    {"webm", "video/webm"},
    {"webp", "image/webp"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"xhtml", "application/xhtml+xml"},
    {"xls", "application/vnd.ms-excel"},
    {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
    {"xml", "application/xml"},
    {"xz", "application/x-xz"},
    {"yaml", "application/yaml"},
    {"yml", "application/yaml"},
    {"zip", "application/zip"},
    {"zst", "application/zstd"},
};

struct magic {
    size_t off, len;
    const char *bytes;
    const char *mime;
};

/* The first one that fits wins. */
static const struct magic magics[] = {
    {0, 8, "\x89PNG\r\n\x1a\n", "image/png"},
    {0, 3, "\xff\xd8\xff", "image/jpeg"},
    {0, 6, "GIF87a", "image/gif"},
    {0, 6, "GIF89a", "image/gif"},
    {8, 4, "WEBP", "image/webp"}, /* after RIFF and the size */
    {8, 4, "WAVE", "audio/wav"},
    {8, 4, "AVI ", "video/x-msvideo"},
    {0, 5, "%PDF-", "application/pdf"},
    {0, 4, "%!PS", "application/postscript"},
    {0, 4, "PK\x03\x04", "application/zip"},
    {0, 4, "PK\x05\x06", "application/zip"}, /* an empty one */
    {0, 2, "\x1f\x8b", "application/gzip"},
    {0, 3, "BZh", "application/x-bzip2"},
    {0, 6,
     "\xfd"
     "7zXZ\0",
     "application/x-xz"},
    {0, 6, "7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"},
    {0, 4, "\x28\xb5\x2f\xfd", "application/zstd"},
    {257, 5, "ustar", "application/x-tar"},
    {0, 4,
     "\x7f"
     "ELF",
     "application/x-elf"},
    {0, 16, "SQLite format 3\0", "application/vnd.sqlite3"},
    {0, 4, "\0asm", "application/wasm"},
    {0, 4, "OggS", "audio/ogg"},
    {0, 4, "fLaC", "audio/flac"},
    {0, 3, "ID3", "audio/mpeg"},
    {4, 8, "ftypavif", "image/avif"},
    {4, 8, "ftypheic", "image/heic"},
    {4, 8, "ftypqt  ", "video/quicktime"},
    {4, 4, "ftyp", "video/mp4"},
    {0, 4, "\x1a\x45\xdf\xa3", "video/x-matroska"},
    {0, 4, "II*\0", "image/tiff"},
    {0, 4, "MM\0*", "image/tiff"},
    {0, 4, "wOF2", "font/woff2"},
    {0, 4, "wOFF", "font/woff"},
    {0, 5, "<?xml", "application/xml"},
};

static int
compare(const void *key, const void *item)
{
    return strcmp(key, ((const struct suffix *)item)->ext);
}

static const char *
by_name(const char *name)
{
    const char *dot = strrchr(name, '.');
    char ext[SUFFIX_MAX + 1];
    size_t n = 0;
    if (!dot || dot == name) /* ".profile" has no suffix */
        return NULL;
    for (dot++; dot[n] && n < SUFFIX_MAX; n++)
        ext[n] = dot[n] >= 'A' && dot[n] <= 'Z' ? (char)(dot[n] | 0x20) : dot[n];
    if (dot[n])
        return NULL;
    ext[n] = '\0';
    const struct suffix *s =
        bsearch(ext, suffixes, sizeof suffixes / sizeof suffixes[0], sizeof suffixes[0], compare);
    return s ? s->mime : NULL;
}

/* Cut a character off that the end of what we were given may have split. */
static size_t
whole_characters(const unsigned char *s, size_t n)
{
    size_t back = 0;
    while (back < n && back < 3 && (s[n - 1 - back] & 0xc0) == 0x80)
        back++;
    if (back < n && s[n - 1 - back] >= 0xc0)
        return n - 1 - back;
    return n;
}

static bool
is_text(const unsigned char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((s[i] < 0x20 && !strchr("\t\n\r\f\033", s[i])) || s[i] == 0x7f || s[i] == 0)
            return false;
    return sf_utf8_valid(s, n) || sf_utf8_valid(s, whole_characters(s, n));
}

static const char *
by_content(const void *head, size_t len)
{
    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
        const struct magic *m = &magics[i];
        if (m->off + m->len <= len && memcmp((const char *)head + m->off, m->bytes, m->len) == 0 &&
            (m->off != 8 || memcmp(head, "RIFF", 4) == 0))
            return m->mime;
    }
    return is_text(head, len) ? TEXT : NULL;
}

const char *
sf_mime_guess(const char *name, const void *head, size_t len)
{
    const char *mime = by_name(name);
    if (!mime && head && len)
        mime = by_content(head, len);
    return mime ? mime : FALLBACK;
}

/* RFC 9110, 5.6.2. NULL: there is none at @p. */
static const char *
token_end(const char *p)
{
    const char *end = p;
    while ((*end >= '0' && *end <= '9') || (*end >= 'a' && *end <= 'z') ||
           (*end >= 'A' && *end <= 'Z') || (*end && strchr("!#$%&'*+-.^_`|~", *end)))
        end++;
    return end > p ? end : NULL;
}

/* 5.6.4, of ASCII alone: a header is to be the same for everybody. */
static const char *
quoted_end(const char *p)
{
    if (*p++ != '"')
        return NULL;
    for (; *p != '"'; p++) {
        if (*p == '\\')
            p++;
        if (((unsigned char)*p < 0x20 && *p != '\t') || (unsigned char)*p >= 0x7f)
            return NULL;
    }
    return p + 1;
}

bool
sf_mime_is_settable(const char *mime)
{
    const char *p = token_end(mime);
    if (strlen(mime) > SF_TYPE_MAX || !p || *p != '/' || !strncasecmp(mime, "inode/", 6))
        return false;
    p = token_end(p + 1);
    while (p && *p) {
        p += strspn(p, " \t");
        if (*p++ != ';')
            return false;
        p += strspn(p, " \t");
        p = token_end(p);
        if (!p || *p++ != '=')
            return false;
        const char *value = p;
        p = token_end(value);
        if (!p)
            p = quoted_end(value);
    }
    return p != NULL;
}

bool
sf_cache_control_is_settable(const char *text)
{
    size_t n = strlen(text);
    if (n == 0 || n > SF_TYPE_MAX || text[0] == ' ' || text[n - 1] == ' ' ||
        strcasestr(text, "supafs="))
        return false;
    for (; *text; text++)
        if (*text < 0x20 || *text > 0x7e)
            return false;
    return true;
}

bool
sf_mime_allowed(const char *mime, const char *const *mimes)
{
    if (!mimes)
        return true;
    for (; *mimes; mimes++) {
        size_t n = strlen(*mimes);
        if (strcmp(*mimes, mime) == 0 || strcmp(*mimes, "*/*") == 0)
            return true;
        if (n > 2 && strcmp(*mimes + n - 2, "/*") == 0 && strncmp(*mimes, mime, n - 1) == 0)
            return true;
    }
    return false;
}

bool
sf_write_type_allowed(const char *bucket, const char *key, const void *head, size_t len,
                      const char *const *mimes)
{
    const char *slash = strrchr(key, '/'), *name = slash ? slash + 1 : key;
    const char *mime = by_name(name);
    if (!mimes || (head && mime) || (head && len < SF_MIME_HEAD) || (!head && !mime))
        return true;
    if (!mime)
        mime = sf_mime_guess(name, head, SF_MIME_HEAD);
    if (sf_mime_allowed(mime, mimes))
        return true;
    sf_warn("write", "event=type-refused object=%s/%s type=%s reason=%s", bucket, key, mime,
            "the bucket does not take it");
    return false;
}
