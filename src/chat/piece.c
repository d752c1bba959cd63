/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "chat/content.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/str.h"
#include "chat/budget.h"
#include "chat/clean.h"
#include "provider/tokens.h"

const char *
sf_chat_shown_name(enum sf_chat_shown how)
{
    static const char *const names[] = {[SF_CHAT_SHOWN_TEXT] = "text",
                                        [SF_CHAT_SHOWN_EXTRACTED] = "extracted",
                                        [SF_CHAT_SHOWN_UNREAD] = "unread",
                                        [SF_CHAT_SHOWN_LINK] = "link",
                                        [SF_CHAT_SHOWN_BYTES] = "bytes"};
    return names[how];
}

void
sf_chat_piece_fini(struct sf_chat_piece *piece)
{
    free(piece->key);
    if (piece->how == SF_CHAT_SHOWN_LINK && piece->text.cap)
        explicit_bzero(piece->text.data, piece->text.cap);
    sf_buf_fini(&piece->text);
    *piece = (struct sf_chat_piece){0};
}

void
sf_chat_content_fini(struct sf_chat_content *c)
{
    for (size_t i = 0; i < c->pieces.len; i++)
        sf_chat_piece_fini(&c->pieces.data[i]);
    sf_chat_pieces_fini(&c->pieces);
    sf_chat_notes_free(&c->notes);
    *c = (struct sf_chat_content){0};
}

/* ---- what a file is -------------------------------------------------------------------------- */

bool
sf_chat_is_text(const char *text, size_t len, bool cut)
{
    if (memchr(text, '\0', len))
        return false;
    for (unsigned back = 0; back < 4; back++) {
        if (back > len)
            return false;
        if (sf_utf8_valid(text, len - back))
            return true;
        if (!cut || back == 3 || back == len)
            return false;
    }
    return false;
}

static bool
is_of(const char *mime, size_t len, const char *const *words)
{
    for (; *words; words++) {
        size_t n = strlen(*words);
        if ((*words)[n - 1] == '/' || (*words)[n - 1] == '.' ? len > n : len == n)
            if (strncasecmp(mime, *words, n) == 0)
                return true;
    }
    return false;
}

enum sf_chat_mime
sf_chat_mime(const char *mime)
{
    static const char *const texts[] = {"text/",
                                        "message/rfc822",
                                        "application/json",
                                        "application/x-ndjson",
                                        "application/jsonl",
                                        "application/xml",
                                        "application/javascript",
                                        "application/ecmascript",
                                        "application/typescript",
                                        "application/yaml",
                                        "application/x-yaml",
                                        "application/toml",
                                        "application/sql",
                                        "application/x-sh",
                                        "application/x-csh",
                                        "application/x-httpd-php",
                                        "application/x-perl",
                                        "application/x-python",
                                        "application/x-ruby",
                                        "application/x-tex",
                                        "application/x-latex",
                                        NULL};
    static const char *const others[] = {"image/",
                                         "audio/",
                                         "video/",
                                         "font/",
                                         "application/pdf",
                                         "application/msword",
                                         "application/vnd.",
                                         "application/rtf",
                                         "application/epub+zip",
                                         "application/zip",
                                         "application/gzip",
                                         "application/x-bzip2",
                                         "application/x-xz",
                                         "application/zstd",
                                         "application/x-tar",
                                         "application/x-7z-compressed",
                                         "application/java-archive",
                                         "application/wasm",
                                         "application/x-sqlite3",
                                         NULL};
    size_t len = strcspn(mime, "; \t");
    if (is_of(mime, len, texts))
        return SF_CHAT_MIME_TEXT;
    if (len > 4 &&
        (!strncasecmp(mime + len - 4, "+xml", 4) || !strncasecmp(mime + len - 5, "+json", 5)))
        return SF_CHAT_MIME_TEXT;
    return is_of(mime, len, others) ? SF_CHAT_MIME_OTHER : SF_CHAT_MIME_UNKNOWN;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

int
sf_chat_piece_text(struct sf_chat_piece *piece, const char *text, size_t len, uint64_t room,
                   size_t *used)
{
    struct sf_chat_clean clean = {0};
    size_t n = len;
    int rc = sf_buf_puts(&piece->text, "File: ");
    if (!rc)
        rc = sf_str_escape(&piece->text, piece->key, "\\");
    if (!rc)
        rc = sf_buf_putc(&piece->text, '\n');
    if (rc)
        return rc;
    uint64_t head = sf_tokens_estimate(piece->text.data, piece->text.len);
    n = sf_chat_cut(text, len, room > head ? room - head : 0, &piece->tokens);
    if (sf_chat_is_text(text, n, false)) { /* as it is, to the byte */
        rc = sf_buf_append(&piece->text, text, n);
    } else {
        rc = sf_chat_clean_put(&clean, &piece->text, text, n);
        if (!rc)
            rc = sf_chat_clean_end(&clean, &piece->text);
    }
    piece->tokens += head;
    *used = n;
    return rc;
}

/* ---- notes ----------------------------------------------------------------------------------- */

int
sf_chat_content_note(struct sf_chat_content *c, const char *key, const char *fmt, ...)
{
    sf_autofree char *value = NULL;
    char count[24];
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&value, fmt, ap);
    va_end(ap);
    if (n < 0) {
        value = NULL;
        return -ENOMEM;
    }
    if (c->notes.len < SF_CHAT_NOTES_MAX)
        return sf_chat_note_add(&c->notes, key, value);
    /* The last one is the count. */
    snprintf(count, sizeof count, "%" PRIu64, c->more + 1);
    if (!c->more++)
        return sf_chat_note_add(&c->notes, "more", count);
    char *copy = strdup(count);
    if (!copy)
        return -ENOMEM;
    struct sf_chat_note *last = &c->notes.data[c->notes.len - 1];
    free(last->value);
    last->value = copy;
    return 0;
}

/* What a note says of a file's bytes: "sha256=..." or "etag=...", or NULL. */
static const char *
bytes_of(const struct sf_chat_note *note, const char *key)
{
    size_t n = strlen(key);
    if (strcmp(note->key, "file") != 0 || strncmp(note->value, key, n) != 0 ||
        !sf_str_starts(note->value + n, " tokens="))
        return NULL;
    const char *word = strrchr(note->value + n, ' ') + 1;
    return sf_str_starts(word, "sha256=") || sf_str_starts(word, "etag=") ? word : NULL;
}

/* Also where a hash is known of only one of them: who has written it tells. */
static bool
is_changed(const struct sf_chat_notes *before, const char *key, const char *bytes)
{
    for (size_t i = 0; before && i < before->len; i++) {
        const char *was = bytes_of(&before->data[i], key);
        if (was)
            return strcmp(was, bytes) != 0;
    }
    return false;
}

int
sf_chat_content_add(struct sf_chat_content *c, struct sf_chat_piece *piece,
                    const struct sf_chat_notes *before)
{
    char bytes[160] = "";
    if (piece->sha256[0])
        snprintf(bytes, sizeof bytes, "sha256=%s", piece->sha256);
    else if (piece->etag[0])
        snprintf(bytes, sizeof bytes, "etag=%s", piece->etag);
    int rc = sf_chat_content_note(c, "file", "%s tokens=%" PRIu64 " how=%s%s%s", piece->key,
                                  piece->tokens, sf_chat_shown_name(piece->how), *bytes ? " " : "",
                                  bytes);
    if (!rc && *bytes && is_changed(before, piece->key, bytes))
        rc = sf_chat_content_note(c, "changed", "%s", piece->key);
    if (!rc)
        rc = sf_chat_pieces_push(&c->pieces, *piece);
    if (rc) {
        sf_chat_piece_fini(piece);
        return rc;
    }
    c->tokens += piece->tokens;
    c->bytes += piece->kind == SF_PP_TEXT ? piece->text.len : 0;
    *piece = (struct sf_chat_piece){0};
    return 0;
}
