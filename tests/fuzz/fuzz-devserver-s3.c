/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "contrib/devserver/s3-chunk.h"
#include "contrib/devserver/s3-sign.h"
#include "contrib/devserver/s3-xml.h"
#include "fuzz.h"

#include <errno.h>

/* First byte: which parser of the dev server's S3. The rest: what it reads. */

/* ---- XML: what was read, written again, is read the same ---- */

struct events {
    struct ds_buf again; /* the document once more, without attributes and space between elements */
    struct ds_buf seen;
    size_t depth;
};

static bool
take(void *arg, enum ds_xml_event what, const char *path, const char *text)
{
    struct events *events = arg;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    REQUIRE(*name && (what == DS_XML_CLOSE || !*text));
    events->depth += what == DS_XML_OPEN;
    REQUIRE(events->depth > 0 && events->depth <= DS_XML_DEPTH);
    events->depth -= what == DS_XML_CLOSE;
    ds_buf_addf(&events->seen, "%d%s=", (int)what, path);
    ds_buf_adds(&events->seen, text);
    if (what == DS_XML_OPEN) {
        ds_buf_addf(&events->again, "<%s>", name);
    } else {
        ds_xml_add_text(&events->again, text);
        ds_buf_addf(&events->again, "</%s>", name);
    }
    return true;
}

static void
xml(const char *text, size_t len)
{
    struct events first = {0}, second = {0};
    int rc = ds_xml_read(text, len, take, &first);
    REQUIRE(rc == 0 || rc == -EBADMSG);
    if (rc == 0) {
        REQUIRE(first.depth == 0);
        REQUIRE(ds_xml_read(first.again.data, first.again.len, take, &second) == 0);
        REQUIRE(strcmp(first.seen.data, second.seen.data) == 0);
    }
    ds_buf_fini(&first.again);
    ds_buf_fini(&first.seen);
    ds_buf_fini(&second.again);
    ds_buf_fini(&second.seen);
}

/* ---- chunks: the same bytes in whatever pieces they come ---- */

static long
unchunk(const char *body, size_t total, size_t step, struct ds_buf *out)
{
    struct ds_s3_chunk chunk = {0};
    for (size_t at = 0; at < total; at += step) {
        const char *data = body + at, *piece;
        size_t len = total - at < step ? total - at : step;
        long n;
        while ((n = ds_s3_chunk_next(&chunk, &data, &len, &piece)) > 0)
            ds_buf_add(out, piece, (size_t)n);
        REQUIRE(n < 0 || len == 0);
        if (n < 0)
            return n;
    }
    return ds_s3_chunk_done(&chunk);
}

static void
chunks(const char *text, size_t len)
{
    ds_autobuf whole = DS_BUF_INIT, bytes = DS_BUF_INIT;
    REQUIRE(unchunk(text, len, len ? len : 1, &whole) == unchunk(text, len, 1, &bytes));
    REQUIRE(whole.len == bytes.len && whole.len <= len);
    REQUIRE(whole.len == 0 || memcmp(whole.data, bytes.data, whole.len) == 0);
}

/* ---- signatures ---- */

static const char *
header(void *arg, const char *name)
{
    (void)name;
    return arg;
}

/* The text is the claim, the query and a header's value. */
static void
signature(char *text)
{
    char out[DS_S3_SIGNATURE_SIZE];
    ds_autoclaim claim = {0};
    struct ds_s3_request request = {.method = "GET",
                                    .path = "/",
                                    .query = text,
                                    .payload = "UNSIGNED-PAYLOAD",
                                    .time = "20261121T000000Z",
                                    .header = header,
                                    .arg = text};
    ds_autobuf canonical = DS_BUF_INIT;
    REQUIRE(ds_s3_canonical(&request, "host", &canonical));
    if (ds_s3_claim_header(text, &claim) == 0) {
        REQUIRE(ds_s3_sign(&request, &claim, "secret", out));
        REQUIRE(strlen(out) == DS_S3_SIGNATURE_SIZE - 1);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t len = size - 1;
    char *text = malloc(len + 1); /* exactly so long, so that a sanitizer sees a read behind it */
    REQUIRE(text);
    memcpy(text, data + 1, len);
    text[len] = '\0';
    if (data[0] == 'x')
        xml(text, len);
    else if (data[0] == 'c')
        chunks(text, len);
    else
        signature(text);
    free(text);
    return 0;
}
