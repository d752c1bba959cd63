/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "s3-sign.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "text.h"

#define ALGORITHM  "AWS4-HMAC-SHA256"
#define TERMINATOR "aws4_request"
#define DIGEST     32

void
ds_s3_claim_fini(struct ds_s3_claim *claim)
{
    free(claim->text);
    *claim = (struct ds_s3_claim){0};
}

/* Makes a copy with room for the scope's parts behind it: they are needed whole and one by one. */
static int
claim_credential(const char *credential, size_t len, struct ds_s3_claim *claim)
{
    const char *scope = memchr(credential, '/', len);
    if (!scope)
        return -EINVAL;
    char *text = malloc(2 * len + 2);
    if (!text)
        return -ENOMEM;
    memcpy(text, credential, len);
    text[len] = '\0';
    memcpy(text + len + 1, credential, len);
    text[2 * len + 1] = '\0';
    claim->text = text;
    claim->scope = text + (scope - credential) + 1;

    char *rest = text + len + 1;
    const char **parts[] = {&claim->key_id, &claim->date, &claim->region, &claim->service};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char *slash = strchr(rest, '/');
        if (!slash)
            return -EINVAL;
        *slash = '\0';
        *parts[i] = rest;
        rest = slash + 1;
    }
    text[scope - credential] = '\0';
    return strcmp(rest, TERMINATOR) == 0 ? 0 : -EINVAL;
}

int
ds_s3_claim_query(const char *credential, const char *signed_headers, const char *signature,
                  struct ds_s3_claim *ret)
{
    if (!credential || !signed_headers || !signature)
        return -EINVAL;
    ds_autoclaim claim = {0};
    size_t len = strlen(credential);
    int rc = claim_credential(credential, len, &claim);
    if (rc < 0)
        return rc;
    size_t first = 2 * len + 2, headers_len = strlen(signed_headers) + 1;
    size_t signature_len = strlen(signature) + 1;
    char *old = claim.text;
    char *text = malloc(first + headers_len + signature_len);
    if (!text)
        return -ENOMEM;
    memcpy(text, old, first);
    memcpy(text + first, signed_headers, headers_len);
    memcpy(text + first + headers_len, signature, signature_len);
    *ret = (struct ds_s3_claim){
        .text = text,
        .key_id = text + (claim.key_id - old),
        .date = text + (claim.date - old),
        .region = text + (claim.region - old),
        .service = text + (claim.service - old),
        .scope = text + (claim.scope - old),
        .signed_headers = text + first,
        .signature = text + first + headers_len,
    };
    return 0;
}

/* "Name=value" with a comma or the end behind it; NULL when there is none. */
static char *
member(const char *text, const char *name)
{
    size_t n = strlen(name);
    while (*text) {
        text += strspn(text, ", \t");
        size_t len = strcspn(text, ",");
        if (strncmp(text, name, n) == 0 && text[n] == '=')
            return strndup(text + n + 1, len - n - 1);
        text += len;
    }
    return NULL;
}

int
ds_s3_claim_header(const char *authorization, struct ds_s3_claim *ret)
{
    size_t n = sizeof ALGORITHM - 1;
    if (strncmp(authorization, ALGORITHM, n) != 0 || authorization[n] != ' ')
        return -EINVAL;
    sf_autofree char *credential = member(authorization + n, "Credential");
    sf_autofree char *headers = member(authorization + n, "SignedHeaders");
    sf_autofree char *signature = member(authorization + n, "Signature");
    return ds_s3_claim_query(credential, headers, signature, ret);
}

/* ---- the canonical request ---- */

static void
add_encoded(struct ds_buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '_' || c == '.' || c == '~';
        if (plain)
            ds_buf_add(out, &c, 1);
        else
            ds_buf_addf(out, "%%%02X", c);
    }
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes escapes in place; what is no escape stays. Returns the new length. */
static size_t
decode(char *text, size_t len)
{
    size_t to = 0;
    for (size_t i = 0; i < len; i++, to++) {
        text[to] = text[i];
        if (text[i] == '+')
            text[to] = ' ';
        int high = text[i] == '%' && i + 2 < len ? hex_digit(text[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
        if (low >= 0) {
            text[to] = (char)(high * 16 + low);
            i += 2;
        }
    }
    return to;
}

static void
add_parameter(struct ds_buf *out, const char *from, size_t len)
{
    const char *equals = memchr(from, '=', len);
    size_t name = equals ? (size_t)(equals - from) : len;
    sf_autofree char *text = malloc(len + 2);
    if (!text) {
        out->failed = true;
        return;
    }
    memcpy(text, from, len);
    text[len] = text[len + 1] = '\0';
    add_encoded(out, text, decode(text, name));
    ds_buf_add(out, "=", 1);
    if (equals)
        add_encoded(out, text + name + 1, decode(text + name + 1, len - name - 1));
}

/* By name, and by value where that is the same. "a-b=" sorts behind "a=", as by the bare names. */
static int
compare_parameters(const void *left, const void *right)
{
    const char *a = *(const char *const *)left, *b = *(const char *const *)right;
    size_t a_name = strcspn(a, "="), b_name = strcspn(b, "=");
    int order = memcmp(a, b, a_name < b_name ? a_name : b_name);
    if (order == 0 && a_name != b_name)
        return a_name < b_name ? -1 : 1;
    return order != 0 ? order : strcmp(a + a_name, b + b_name);
}

static void
add_query(struct ds_buf *out, const char *query)
{
    size_t count = 1, n = 0;
    for (const char *s = query; (s = strchr(s, '&')); s++)
        count++;
    sf_autofree char **all = calloc(count, sizeof *all);
    if (!all) {
        out->failed = true;
        return;
    }
    while (*query) {
        size_t len = strcspn(query, "&");
        ds_autobuf one = DS_BUF_INIT;
        if (len > 0)
            add_parameter(&one, query, len);
        out->failed |= one.failed;
        if (one.len > 0 && !one.failed && strncmp(one.data, "X-Amz-Signature=", 16) != 0)
            all[n++] = ds_buf_take(&one, NULL);
        query += len + (query[len] == '&');
    }
    qsort(all, n, sizeof *all, compare_parameters);
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            ds_buf_add(out, "&", 1);
        ds_buf_adds(out, all[i]);
        free(all[i]);
    }
}

/* A value without spaces at its ends, and with one for several inside. */
static void
add_trimmed(struct ds_buf *out, const char *value)
{
    value += strspn(value, " \t");
    while (*value) {
        size_t len = strcspn(value, " \t");
        ds_buf_add(out, value, len);
        value += len;
        size_t space = strspn(value, " \t");
        value += space;
        if (space > 0 && *value)
            ds_buf_add(out, " ", 1);
    }
}

static void
add_headers(struct ds_buf *out, const struct ds_s3_request *request, const char *names)
{
    while (*names) {
        size_t len = strcspn(names, ";");
        sf_autofree char *name = strndup(names, len);
        const char *value = name ? request->header(request->arg, name) : NULL;
        out->failed |= !name;
        ds_buf_add(out, names, len);
        ds_buf_add(out, ":", 1);
        add_trimmed(out, value ? value : "");
        ds_buf_add(out, "\n", 1);
        names += len + (names[len] == ';');
    }
}

bool
ds_s3_canonical(const struct ds_s3_request *request, const char *signed_headers, struct ds_buf *out)
{
    ds_buf_addf(out, "%s\n%s\n", request->method, *request->path ? request->path : "/");
    add_query(out, request->query);
    ds_buf_add(out, "\n", 1);
    add_headers(out, request, signed_headers);
    ds_buf_addf(out, "\n%s\n%s", signed_headers, request->payload);
    return !out->failed;
}

/* ---- the signature ---- */

static bool
hmac(unsigned char key[DIGEST], const char *text)
{
    unsigned len = 0;
    unsigned char out[EVP_MAX_MD_SIZE];
    if (!HMAC(EVP_sha256(), key, DIGEST, (const unsigned char *)text, strlen(text), out, &len))
        return false;
    memcpy(key, out, DIGEST);
    return true;
}

static bool
derive_key(const struct ds_s3_claim *claim, const char *secret, unsigned char key[DIGEST])
{
    sf_autofree char *first = NULL;
    unsigned len = 0;
    unsigned char out[EVP_MAX_MD_SIZE];
    if (asprintf(&first, "AWS4%s", secret) < 0) {
        first = NULL;
        return false;
    }
    if (!HMAC(EVP_sha256(), first, (int)strlen(first), (const unsigned char *)claim->date,
              strlen(claim->date), out, &len))
        return false;
    memcpy(key, out, DIGEST);
    return hmac(key, claim->region) && hmac(key, claim->service) && hmac(key, TERMINATOR);
}

bool
ds_s3_sign(const struct ds_s3_request *request, const struct ds_s3_claim *claim, const char *secret,
           char out[DS_S3_SIGNATURE_SIZE])
{
    ds_autobuf canonical = DS_BUF_INIT, text = DS_BUF_INIT;
    unsigned char digest[EVP_MAX_MD_SIZE], key[DIGEST];
    char hex[2 * DIGEST + 1];
    if (!ds_s3_canonical(request, claim->signed_headers, &canonical) ||
        EVP_Digest(canonical.data, canonical.len, digest, NULL, EVP_sha256(), NULL) != 1)
        return false;
    ds_hex(digest, DIGEST, hex);
    ds_buf_addf(&text, ALGORITHM "\n%s\n%s\n%s", request->time, claim->scope, hex);
    if (text.failed || !derive_key(claim, secret, key) || !hmac(key, text.data))
        return false;
    ds_hex(key, DIGEST, out);
    return true;
}
