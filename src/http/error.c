/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "http/internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/*
 * The one place that says what a CURLcode means. Rows that a callback of ours causes (WRITE_ERROR,
 * READ_ERROR, ABORTED_BY_CALLBACK) are reached only when that callback gave no reason of its own.
 */
static const struct http_error_row rows[] = {
    {CURLE_COULDNT_CONNECT, -ECONNREFUSED, true, "cannot connect"},
    {CURLE_COULDNT_RESOLVE_HOST, -EHOSTUNREACH, true, "the host name cannot be resolved"},
    {CURLE_COULDNT_RESOLVE_PROXY, -EHOSTUNREACH, true, "the proxy's name cannot be resolved"},
    {CURLE_PROXY, -EHOSTUNREACH, true, "the proxy refused"},
    {CURLE_INTERFACE_FAILED, -ENETUNREACH, true, "no usable network interface"},
    {CURLE_OPERATION_TIMEDOUT, -ETIMEDOUT, true, "no connection in time"},
    {CURLE_SEND_ERROR, -ECONNRESET, true, "the connection broke while sending"},
    {CURLE_RECV_ERROR, -ECONNRESET, true, "the connection broke while receiving"},
    {CURLE_GOT_NOTHING, -ECONNRESET, true, "the connection was closed without a reply"},
    {CURLE_PARTIAL_FILE, -EIO, true, "the reply ended too early"},
    {CURLE_HTTP2, -EIO, true, "HTTP/2 failed on the connection"},
    {CURLE_HTTP2_STREAM, -EIO, true, "the HTTP/2 stream was reset"},
    {CURLE_SEND_FAIL_REWIND, -EIO, true, "the body could not be sent again"},
    {CURLE_NO_CONNECTION_AVAILABLE, -EAGAIN, true, "no connection available"},
    {CURLE_SSL_CONNECT_ERROR, -EPROTO, true, "TLS handshake failed"},
    {CURLE_PEER_FAILED_VERIFICATION, -EPROTO, false, "TLS certificate not trusted"},
    {CURLE_SSL_CACERT_BADFILE, -ENOENT, false, "the CA file cannot be read"},
    {CURLE_SSL_CERTPROBLEM, -EPROTO, false, "TLS certificate problem"},
    {CURLE_SSL_CIPHER, -EPROTO, false, "no TLS cipher in common"},
    {CURLE_SSL_ISSUER_ERROR, -EPROTO, false, "TLS issuer not trusted"},
    {CURLE_SSL_INVALIDCERTSTATUS, -EPROTO, false, "TLS certificate status not valid"},
    {CURLE_USE_SSL_FAILED, -EPROTO, false, "TLS could not be used"},
    {CURLE_WEIRD_SERVER_REPLY, -EPROTO, false, "what came back is not HTTP"},
    {CURLE_UNSUPPORTED_PROTOCOL, -EPROTO, false, "what came back is not HTTP/1.1 or HTTP/2"},
    {CURLE_BAD_CONTENT_ENCODING, -EPROTO, false, "the reply has a transfer coding not asked for"},
    {CURLE_TOO_MANY_REDIRECTS, -EPROTO, false, "the reply is a redirect"},
    {CURLE_FILESIZE_EXCEEDED, -EFBIG, false, "the reply is larger than allowed"},
    {CURLE_WRITE_ERROR, -EIO, false, "the reply could not be stored"},
    {CURLE_READ_ERROR, -EIO, false, "the body of the request could not be read"},
    {CURLE_ABORTED_BY_CALLBACK, -EIO, false, "the request was given up"},
    {CURLE_URL_MALFORMAT, -EINVAL, false, "not a valid URL"},
    {CURLE_OUT_OF_MEMORY, -ENOMEM, false, "out of memory"},
    {CURL_LAST, -EIO, false, "the transfer failed"}, /* all others; must stay the last row */
};

const struct http_error_row *
http_error_row(CURLcode code)
{
    const struct http_error_row *r = rows;
    while (r->code != code && r->code != CURL_LAST)
        r++;
    return r;
}

/* The path and query of the URL, redacted. */
static const char *
path_of(const struct sf_http_req *req, char *tmp, size_t size)
{
    http_redact(req->url, tmp, size);
    const char *p = strstr(tmp, "://");
    p = p ? strchr(p + 3, '/') : NULL;
    return p ? p : "/";
}

void
http_error_text(struct sf_err *err, const struct sf_http_req *req, int code, bool retryable,
                const char *text)
{
    char tmp[200];
    *err = SF_ERR_INIT;
    err->retryable = retryable;
    err->http_status = req->recv.status;
    (void)!sf_err_set(err, code, "%s: %s (%s %s)", req->peer.where ? req->peer.where : "http", text,
                      req->method, path_of(req, tmp, sizeof tmp));
}

void
http_error_transfer(struct sf_err *err, const struct sf_http_req *req, CURLcode code, int os_errno)
{
    const struct http_error_row *r = http_error_row(code);
    const char *where = req->peer.where ? req->peer.where : "?";
    if (code == CURLE_COULDNT_CONNECT) {
        int e = os_errno > 0 ? os_errno : -r->err;
        const char *desc = strerrordesc_np(e);
        *err = SF_ERR_INIT;
        err->retryable = true;
        (void)!sf_err_set(err, -e, "connect to %s: %c%s", where,
                          desc ? tolower((unsigned char)*desc) : '?', desc ? desc + 1 : "");
    } else if (code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_OPERATION_TIMEDOUT ||
               code == CURLE_COULDNT_RESOLVE_PROXY) {
        *err = SF_ERR_INIT;
        err->retryable = true;
        (void)!sf_err_set(err, r->err, "connect to %s: %s", where, r->text);
    } else if (r->err == -EPROTO || r->code == CURL_LAST || code == CURLE_SSL_CACERT_BADFILE) {
        /* curl's own words say which certificate, which cipher, ...; they hold no secret. */
        char text[180];
        const char *more = *req->try.detail ? req->try.detail : curl_easy_strerror(code);
        snprintf(text, sizeof text, "%s: %.120s", r->text, more);
        http_error_text(err, req, r->err, r->retryable, text);
    } else {
        http_error_text(err, req, r->err, r->retryable, r->text);
    }
}
