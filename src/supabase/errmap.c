/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "supabase/errmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "supabase/json.h"

/* Error bodies are a few hundred bytes; a gateway's HTML page is not worth parsing. */
#define FAULT_BODY_MAX (64 * 1024)

/* clang-format off */
#define CODE(c)     .code = (c)
#define OLD(e)      .code = "", .error = (e)
#define STATUS(s)   .status_from = (s), .status_to = (s)
#define HTTP(s)     .http_from = (s), .http_to = (s)
#define HTTPS(a, b) .http_from = (a), .http_to = (b)
#define TO(e, r, k, m) .err = -(e), .retry = (r), .class = SF_FAULT_##k, .meaning = (m)

/*
 * Rows whose message repeats a name from the request come before those that look into messages:
 * a key `"exp" claim` must not look like an expired token.
 */
static const struct sf_errmap_row rows[] = {
    { CODE("InvalidKey"), TO(EINVAL, false, NAME, "the key has characters or parts that Storage refuses") },
    { CODE("InvalidBucketName"), TO(EINVAL, false, NAME, "not a name for a bucket") },
    { CODE("InvalidMimeType"), TO(EPERM, false, LIMIT, "the bucket does not allow this content type") },
    { OLD("InvalidKey"), TO(EINVAL, false, NAME, "the same, from servers that send no code") },
    { CODE(""), .message = "Invalid key", TO(EINVAL, false, NAME, "the same, older or as plain text (resumable uploads)") },
    { OLD("invalid_mime_type"), TO(EPERM, false, LIMIT, "content type not allowed, older servers") },

    { CODE("AccessDenied"), .message = "\"exp\" claim", TO(EKEYEXPIRED, false, EXPIRED, "the token has expired; the key file is read again first") },
    { CODE("InvalidJWT"), .message = "\"exp\" claim", TO(EKEYEXPIRED, false, EXPIRED, "the same on other routes") },
    { CODE(""), .message = "\"exp\" claim", TO(EKEYEXPIRED, false, EXPIRED, "the same, older servers") },
    { CODE(""), .message = "jwt expired", TO(EKEYEXPIRED, false, EXPIRED, "the same, oldest servers") },
    { CODE("AccessDenied"), .message = "jwt expired", TO(EKEYEXPIRED, false, EXPIRED, "the same, other JWT library") },
    { CODE("ExpiredToken"), TO(EKEYEXPIRED, false, EXPIRED, "the same, by its own code") },

    { CODE("AccessDenied"), .message = "Invalid Compact JWS", TO(EKEYREJECTED, false, BAD_TOKEN, "the key is not a token that the service can read") },
    { CODE("AccessDenied"), .message = "signature verification failed", TO(EKEYREJECTED, false, BAD_TOKEN, "the token is signed with another secret") },
    { CODE("AccessDenied"), .message = "jwt malformed", TO(EKEYREJECTED, false, BAD_TOKEN, "malformed token, other JWT library") },
    { CODE("AccessDenied"), .message = "invalid signature", TO(EKEYREJECTED, false, BAD_TOKEN, "wrong signature, other JWT library") },
    { CODE("AccessDenied"), .message = "claim", TO(EKEYREJECTED, false, BAD_TOKEN, "another claim of the token does not hold (nbf, aud, ...)") },
    { CODE("InvalidJWT"), TO(EKEYREJECTED, false, BAD_TOKEN, "the token is not valid") },
    { CODE("InvalidSignature"), TO(EKEYREJECTED, false, BAD_TOKEN, "the signature is not valid") },
    { CODE("SignatureDoesNotMatch"), TO(EKEYREJECTED, false, BAD_TOKEN, "the same on the S3 route") },
    { CODE("InvalidRequest"), .message = "'authorization'", TO(EKEYREJECTED, false, BAD_TOKEN, "no Authorization header arrived (a gateway dropped it, or an sb_ key went past the gateway)") },
    { CODE(""), .message = "Invalid Compact JWS", TO(EKEYREJECTED, false, BAD_TOKEN, "malformed token, older servers") },
    { CODE(""), .message = "signature verification failed", TO(EKEYREJECTED, false, BAD_TOKEN, "wrong signature, older servers") },
    { CODE(""), .message = "jwt malformed", TO(EKEYREJECTED, false, BAD_TOKEN, "malformed token, oldest servers") },
    { CODE(""), .message = "invalid signature", TO(EKEYREJECTED, false, BAD_TOKEN, "wrong signature, oldest servers") },
    { CODE(""), .message = "API key", TO(EKEYREJECTED, false, BAD_TOKEN, "the gateway does not know the key, or got none") },
    { CODE(""), .message = "authentication credentials", TO(EKEYREJECTED, false, BAD_TOKEN, "the same, self-hosted gateway") },

    { CODE("NoSuchBucket"), TO(ENOENT, false, NO_BUCKET, "no such bucket, or a policy hides it") },
    { CODE("NoSuchKey"), TO(ENOENT, false, NO_KEY, "no such object, or a policy hides it") },
    { CODE("NoSuchUpload"), TO(ENOENT, false, NO_KEY, "the resumable upload is gone") },
    { CODE("KeyAlreadyExists"), TO(EEXIST, false, EXISTS, "an object of this key exists") },
    { CODE("ResourceAlreadyExists"), TO(EEXIST, false, EXISTS, "the target of a move exists") },
    { CODE("BucketAlreadyExists"), TO(EEXIST, false, EXISTS, "the bucket exists") },
    { CODE("AccessDenied"), .message = "quota", TO(EDQUOT, false, LIMIT, "the project's quota is used up") },
    { CODE("AccessDenied"), TO(EACCES, false, DENIED, "a row-level security policy refuses") },
    { CODE("ResourceNotEmpty"), TO(ENOTEMPTY, false, NOT_EMPTY, "the bucket is not empty") },
    { CODE("ResourceReferenced"), TO(EBUSY, false, NOT_EMPTY, "the bucket has an upload under way") },
    { CODE("EntityTooLarge"), TO(EFBIG, false, LIMIT, "larger than the bucket or the project allows") },
    { CODE("MissingContentLength"), TO(EIO, false, REQUEST, "the length was lost on the way") },
    { CODE("InvalidRange"), TO(ESTALE, false, RANGE, "the object is shorter than known: another version") },
    { CODE("ResourceLocked"), TO(ETIMEDOUT, true, BUSY, "somebody else changes this object, after retries") },
    { CODE("LockTimeout"), TO(ETIMEDOUT, true, BUSY, "the same: lock not got in time, after retries") },
    { CODE("SlowDown"), TO(ETIMEDOUT, true, BUSY, "too many connections to the database, after retries") },
    { CODE("TooManyRequests"), TO(ETIMEDOUT, true, BUSY, "rate limit, after retries") },
    { CODE("DatabaseTimeout"), TO(ETIMEDOUT, true, SERVER, "the database did not answer, after retries") },
    { CODE("DatabaseReadOnly"), TO(EROFS, false, LIMIT, "the project's database is read-only (often: its disk is full)") },
    { CODE("DatabaseError"), .message = "code: 22023", TO(EKEYREJECTED, false, BAD_TOKEN, "the token's role does not exist in the database") },
    { CODE("DatabaseError"), .message = "code: 42501", TO(EACCES, false, DENIED, "the database refuses this role") },
    { CODE("DatabaseError"), .message = "code: 54000", TO(ENAMETOOLONG, false, NAME, "the key is too long for the index") },
    { CODE("DatabaseError"), TO(EIO, true, SERVER, "the database failed, after retries") },
    { CODE("InternalError"), TO(EIO, true, SERVER, "the service failed, after retries") },
    { CODE("Aborted"), TO(EIO, true, SERVER, "the service gave up, after retries") },
    { CODE("AbortedTerminate"), TO(EIO, true, SERVER, "the service gave up and closed, after retries") },
    { CODE("InvalidRequest"), .message = "related resource does not exist", TO(ENOENT, false, NO_BUCKET, "the target bucket of a move or copy is missing") },
    { CODE("InvalidRequest"), .message = "Route ", HTTP(404), TO(EOPNOTSUPP, false, REQUEST, "the service has no such route: too old, or not the address of a Storage service") },
    { CODE(""), .message = "Route ", HTTP(404), TO(EOPNOTSUPP, false, REQUEST, "the same without a code, or from the gateway") },
    { CODE("InvalidRequest"), TO(EIO, false, REQUEST, "the service does not understand the request") },
    { CODE("InvalidParameter"), TO(EIO, false, REQUEST, "the same for one parameter") },
    { CODE("FST_ERR_BAD_URL"), TO(EINVAL, false, NAME, "the service cannot decode the address") },

    { CODE("PGRST202"), TO(ENOSYS, false, REQUEST, "database API: there is no such function") },
    { CODE("42883"), TO(ENOSYS, false, REQUEST, "the same, in the words of the database") },
    { CODE("PGRST205"), TO(ENOSYS, false, REQUEST, "database API: there is no such table") },
    { CODE("42P01"), TO(ENOSYS, false, REQUEST, "the same, in the words of the database") },
    { CODE("PGRST204"), TO(ENOSYS, false, REQUEST, "database API: there is no such column") },
    { CODE("42703"), TO(ENOSYS, false, REQUEST, "the same, in the words of the database") },
    { CODE("PGRST106"), TO(ENOSYS, false, REQUEST, "database API: the schema of the function is not offered") },
    { CODE("42501"), TO(EACCES, false, DENIED, "database API: this role may not do it") },
    { CODE("PGRST301"), .message = "expired", TO(EKEYEXPIRED, false, EXPIRED, "database API: the token has expired") },
    { CODE("PGRST303"), .message = "expired", TO(EKEYEXPIRED, false, EXPIRED, "the same, newer") },
    { CODE("PGRST301"), TO(EKEYREJECTED, false, BAD_TOKEN, "database API: the token is not valid") },
    { CODE("PGRST302"), TO(EKEYREJECTED, false, BAD_TOKEN, "database API: no token arrived") },
    { CODE("PGRST303"), TO(EKEYREJECTED, false, BAD_TOKEN, "database API: a claim of the token does not hold") },
    { CODE("PGRST102"), TO(EINVAL, false, REQUEST, "database API: the arguments cannot be read") },
    { CODE("PGRST103"), TO(ESTALE, false, RANGE, "database API: the range begins behind the last row") },
    { CODE("PGRST203"), TO(EIO, false, REQUEST, "database API: several functions of this name fit") },
    { CODE("PGRST000"), TO(ETIMEDOUT, true, BUSY, "database API: it cannot reach the database, after retries") },
    { CODE("PGRST001"), TO(EIO, true, SERVER, "database API: it lost the database, after retries") },
    { CODE("PGRST002"), TO(ETIMEDOUT, true, BUSY, "database API: it does not know the tables yet, after retries") },
    { CODE("PGRST003"), TO(ETIMEDOUT, true, BUSY, "database API: all connections to the database were taken, after retries") },
    { CODE("23505"), TO(EEXIST, false, EXISTS, "database: a row with this key exists") },
    { CODE("23503"), TO(ENOENT, false, NO_KEY, "database: the row that another one names does not exist") },
    { CODE("23*"), TO(EINVAL, false, REQUEST, "database: the row breaks a rule of its table") },
    { CODE("22*"), TO(EINVAL, false, REQUEST, "database: a value is not of its type, or out of range") },
    { CODE("54*"), TO(E2BIG, false, LIMIT, "database: too large or too many of something") },
    { CODE("25006"), TO(EROFS, false, LIMIT, "database: it is read-only (often: its disk is full)") },
    { CODE("40001"), TO(ETIMEDOUT, true, BUSY, "database: another transaction was in the way, after retries") },
    { CODE("40P01"), TO(ETIMEDOUT, true, BUSY, "database: the same, both waited for each other, after retries") },
    { CODE("55P03"), TO(ETIMEDOUT, true, BUSY, "database: lock not got in time, after retries") },
    { CODE("57014"), TO(ETIMEDOUT, true, BUSY, "database: it took longer than is allowed, after retries") },
    { CODE("57P03"), TO(ETIMEDOUT, true, BUSY, "database: it is starting or stopping, after retries") },
    { CODE("53*"), TO(ETIMEDOUT, true, BUSY, "database: out of connections, memory or disk, after retries") },
    { CODE("08*"), TO(EIO, true, SERVER, "database: its connection broke, after retries") },

    { OLD("not_found"), TO(ENOENT, false, NO_KEY, "no such object, older servers") },
    { OLD("Bucket not found"), TO(ENOENT, false, NO_BUCKET, "no such bucket, older servers") },
    { OLD("Duplicate"), TO(EEXIST, false, EXISTS, "exists, older servers") },
    { OLD("Unauthorized"), TO(EACCES, false, DENIED, "a policy refuses, older servers") },
    { OLD("Payload too large"), TO(EFBIG, false, LIMIT, "too large, older servers") },
    { OLD("invalid_range"), TO(ESTALE, false, RANGE, "beyond the end, older servers") },
    { OLD("too_many_connections"), TO(ETIMEDOUT, true, BUSY, "too many connections, older servers, after retries") },
    { OLD("acquiring_lock_timeout"), TO(ETIMEDOUT, true, BUSY, "lock not got in time, older servers, after retries") },
    { OLD("DatabaseTimeout"), TO(ETIMEDOUT, true, SERVER, "the database did not answer, older servers, after retries") },
    { OLD("Internal"), TO(EIO, true, SERVER, "the service failed, older servers, after retries") },
    { CODE(""), .message = "row-level security", TO(EACCES, false, DENIED, "a policy refuses, plain text (resumable uploads)") },
    { CODE(""), .message = "Bucket not found", TO(ENOENT, false, NO_BUCKET, "no such bucket, plain text (resumable uploads)") },
    { CODE(""), .message = "file for this url was not found", TO(ENOENT, false, NO_KEY, "the resumable upload is gone, plain text") },
    { CODE(""), .message = "Upload-Offset conflict", TO(ESPIPE, false, RANGE, "resumable upload: the service has another number of bytes") },
    { CODE(""), .message = "Upload-Offset header required", TO(EIO, false, REQUEST, "resumable upload: a header was lost on the way") },
    { CODE(""), .message = "acquiring lock timeout", TO(ETIMEDOUT, true, BUSY, "resumable upload: lock not got in time, after retries") },
    { CODE(""), .message = "quota", TO(EDQUOT, false, LIMIT, "the project's quota is used up") },

    { STATUS(401), TO(EKEYREJECTED, false, BAD_TOKEN, "unknown code: the key is not accepted") },
    { STATUS(402), TO(EDQUOT, false, LIMIT, "unknown code: the project is restricted, usually by its quota") },
    { STATUS(403), TO(EACCES, false, DENIED, "unknown code: refused") },
    { STATUS(404), HTTP(404), TO(EIO, false, REQUEST, "unknown code, and Storage tells of missing objects with HTTP 400: nothing is believed gone") },
    { STATUS(404), TO(ENOENT, false, NO_KEY, "unknown code: not there") },
    { STATUS(409), TO(EEXIST, false, EXISTS, "unknown code: exists") },
    { STATUS(413), TO(EFBIG, false, LIMIT, "unknown code: too large") },
    { STATUS(415), TO(EPERM, false, LIMIT, "unknown code: content type not allowed") },
    { STATUS(416), TO(ESTALE, false, RANGE, "unknown code: beyond the end") },
    { STATUS(423), TO(ETIMEDOUT, true, BUSY, "unknown code: locked, after retries") },
    { STATUS(429), TO(ETIMEDOUT, true, BUSY, "unknown code: too many requests, after retries") },
    { STATUS(431), TO(E2BIG, false, LIMIT, "metadata too large for the request's headers") },
    { STATUS(503), TO(EIO, true, SERVER, "unknown code: not available, after retries") },
    { STATUS(544), TO(ETIMEDOUT, true, SERVER, "unknown code: database timeout, after retries") },
    { .status_from = 500, .status_to = 599, TO(EIO, true, SERVER, "unknown code: the service failed, after retries") },
    { .status_from = 400, .status_to = 499, TO(EIO, false, REQUEST, "unknown code: not understood") },

    { HTTP(401), TO(EKEYREJECTED, false, BAD_TOKEN, "no body to read: the gateway does not accept the key") },
    { HTTP(402), TO(EDQUOT, false, LIMIT, "no body to read: the project is restricted, usually by its quota") },
    { HTTP(403), TO(EACCES, false, DENIED, "no body to read: refused, perhaps by a firewall") },
    { HTTP(404), TO(EIO, false, REQUEST, "no body to read: not an answer of a Storage service, so nothing is believed gone") },
    { HTTP(408), TO(ETIMEDOUT, true, BUSY, "no body to read: the request took too long to arrive, after retries") },
    { HTTP(409), TO(EEXIST, false, EXISTS, "no body to read: exists") },
    { HTTP(412), TO(EOPNOTSUPP, false, REQUEST, "resumable uploads of another version") },
    { HTTP(413), TO(EFBIG, false, LIMIT, "no body to read: too large for the gateway") },
    { HTTP(414), TO(ENAMETOOLONG, false, NAME, "no body to read: the address is too long") },
    { HTTP(415), TO(EPERM, false, LIMIT, "no body to read: content type not allowed") },
    { HTTP(416), TO(ESTALE, false, RANGE, "no body to read: beyond the end") },
    { HTTP(423), TO(ETIMEDOUT, true, BUSY, "no body to read: locked, after retries") },
    { HTTP(425), TO(ETIMEDOUT, true, BUSY, "no body to read: too early, after retries") },
    { HTTP(429), TO(ETIMEDOUT, true, BUSY, "no body to read: rate limit of the gateway, after retries") },
    { HTTP(431), TO(E2BIG, false, LIMIT, "metadata too large for the request's headers") },
    { HTTP(501), TO(EOPNOTSUPP, false, REQUEST, "no body to read: not implemented") },
    { HTTP(504), TO(ETIMEDOUT, true, SERVER, "no body to read: the gateway waited in vain, after retries") },
    { HTTP(507), TO(EDQUOT, false, LIMIT, "no body to read: no room") },
    { HTTP(540), TO(EIO, false, SERVER, "the project is paused: resume it in the dashboard") },
    { HTTP(544), TO(ETIMEDOUT, true, SERVER, "no body to read: database timeout, after retries") },
    { HTTPS(500, 599), TO(EIO, true, SERVER, "no body to read: the service or its gateway failed, after retries") },
    { HTTPS(300, 399), TO(EIO, false, REQUEST, "a redirect: never followed; check the project's address") },
    { TO(EIO, false, OTHER, "anything else") },
};
/* clang-format on */

/* SQLSTATEs come in classes: "23*" is all codes that begin with 23. */
static bool
code_holds(const char *code, const char *of)
{
    size_t n = strcspn(code, "*");
    return code[n] ? strncmp(code, of, n) == 0 : strcmp(code, of) == 0;
}

static bool
row_holds(const struct sf_errmap_row *r, const struct sf_fault *f)
{
    if (r->code && !code_holds(r->code, f->code))
        return false;
    if (r->error && strcmp(r->error, f->error) != 0)
        return false;
    if (r->message && !strstr(f->message, r->message))
        return false;
    if (r->status_from && (f->status < r->status_from || f->status > r->status_to))
        return false;
    if (r->http_from && (f->http < r->http_from || f->http > r->http_to))
        return false;
    return true;
}

const struct sf_errmap_row *
sf_errmap_find(const struct sf_fault *fault)
{
    const size_t n = sizeof rows / sizeof rows[0];
    size_t i = 0;
    while (i + 1 < n && !row_holds(&rows[i], fault))
        i++;
    return &rows[i];
}

const struct sf_errmap_row *
sf_errmap_rows(size_t *n)
{
    *n = sizeof rows / sizeof rows[0];
    return rows;
}

const char *sf_fault_class_name(enum sf_fault_class class)
{
    static const char *const names[] = {
        [SF_FAULT_OTHER] = "other",
        [SF_FAULT_NO_KEY] = "no key",
        [SF_FAULT_NO_BUCKET] = "no bucket",
        [SF_FAULT_EXISTS] = "exists",
        [SF_FAULT_NOT_EMPTY] = "not empty",
        [SF_FAULT_DENIED] = "denied",
        [SF_FAULT_EXPIRED] = "expired token",
        [SF_FAULT_BAD_TOKEN] = "bad token",
        [SF_FAULT_NAME] = "name",
        [SF_FAULT_LIMIT] = "limit",
        [SF_FAULT_RANGE] = "range",
        [SF_FAULT_BUSY] = "busy",
        [SF_FAULT_SERVER] = "server",
        [SF_FAULT_REQUEST] = "request",
    };
    return names[class];
}

/* statusCode is a string in most places and a number in some. */
static int
status_of(const json_t *v)
{
    if (json_is_integer(v)) {
        json_int_t n = json_integer_value(v);
        return n >= 100 && n <= 999 ? (int)n : 0;
    }
    const char *s = json_string_value(v);
    if (!s || strlen(s) != 3)
        return 0;
    char *end;
    long n = strtol(s, &end, 10);
    return *end == '\0' && n >= 100 && n <= 999 ? (int)n : 0;
}

static void
take_text(const json_t *obj, const char *name, char *out, size_t size)
{
    const json_t *v = json_object_get(obj, name);
    if (json_is_string(v))
        sf_text_clean(json_string_value(v), json_string_length(v), out, size);
}

/* A body of one short line without markup, as the resumable routes send it. */
static bool
is_plain_line(const char *body, size_t len)
{
    return len > 0 && len < 400 && !memchr(body, '<', len) && !memchr(body, '\0', len);
}

void
sf_fault_parse(int http, const char *body, size_t len, struct sf_fault *out)
{
    memset(out, 0, sizeof *out);
    out->http = http;
    if (!body || len == 0 || len > FAULT_BODY_MAX)
        return;
    json_t *root = sf_json_parse(body, len, NULL);
    if (json_is_object(root)) {
        out->json = true;
        out->status = status_of(json_object_get(root, "statusCode"));
        take_text(root, "code", out->code, sizeof out->code);
        take_text(root, "error", out->error, sizeof out->error);
        take_text(root, "message", out->message, sizeof out->message);
    } else if (!root && is_plain_line(body, len)) {
        while (len > 0 && (body[len - 1] == '\n' || body[len - 1] == '\r'))
            len--;
        sf_text_clean(body, len, out->message, sizeof out->message);
    }
    json_decref(root);
}
