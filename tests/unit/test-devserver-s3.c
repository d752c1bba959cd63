/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the dev server's S3 is made of: signatures, the XML of requests, and chunked bodies.
 * Expected signatures are those of the examples in AWS's public documentation, and one that openssl
 * has computed step by step from the documented rules.
 */
#include "contrib/devserver/s3-chunk.h"
#include "contrib/devserver/s3-sign.h"
#include "contrib/devserver/s3-xml.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EMPTY  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

/* Headers as a request has them: pairs of name and value, NULL at the end. */
static const char *
find(void *arg, const char *name)
{
    for (const char *const *pair = arg; *pair; pair += 2)
        if (strcmp(pair[0], name) == 0)
            return pair[1];
    return NULL;
}

static void
expect_signature(const char *wanted, struct ds_s3_request request, const char *const *headers,
                 const char *credential, const char *names, const char *secret)
{
    char got[DS_S3_SIGNATURE_SIZE];
    ds_autoclaim claim = {0};
    assert_int_equal(ds_s3_claim_query(credential, names, wanted, &claim), 0);
    request.header = find;
    request.arg = (void *)(uintptr_t)headers;
    assert_true(ds_s3_sign(&request, &claim, secret, got));
    assert_string_equal(got, wanted);
}

static void
documented_signatures(void **state)
{
    (void)state;
    static const char credential[] = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";
    static const char *const headers[] = {"host",
                                          "examplebucket.s3.amazonaws.com",
                                          "range",
                                          "bytes=0-9",
                                          "x-amz-content-sha256",
                                          EMPTY,
                                          "x-amz-date",
                                          "20130524T000000Z",
                                          NULL};
    struct ds_s3_request get = {
        .method = "GET", .path = "/", .query = "", .payload = EMPTY, .time = "20130524T000000Z"};
    static const char names[] = "host;x-amz-content-sha256;x-amz-date";

    get.query = "lifecycle";
    expect_signature("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543", get,
                     headers, credential, names, SECRET);
    get.query = "prefix=J&max-keys=2";
    expect_signature("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7", get,
                     headers, credential, names, SECRET);
    get.query = "";
    get.path = "/test.txt";
    expect_signature("f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41", get,
                     headers, credential, "host;range;x-amz-content-sha256;x-amz-date", SECRET);
    /* A presigned URL: its own signature is no part of what is signed. */
    get.payload = "UNSIGNED-PAYLOAD";
    get.query = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524"
                "%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400"
                "&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bb";
    expect_signature("aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404", get,
                     headers, credential, "host", SECRET);
}

static void
canonical_form(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "host",       "127.0.0.1:5000",   "content-type",    "text/plain",
        "x-amz-date", "20261121T041222Z", "x-amz-meta-note", "  two \t words ",
        NULL};
    static const char names[] = "content-type;host;x-amz-date;x-amz-meta-note";
    struct ds_s3_request put = {
        .method = "PUT",
        .path = "/storage/v1/s3/b/it%27s%20%26%20co/x",
        .query = "uploadId=%c3%a9&a-b=+/&a=1&&a",
        .payload = "UNSIGNED-PAYLOAD",
        .time = "20261121T041222Z",
        .header = find,
        .arg = (void *)(uintptr_t)headers,
    };
    ds_autobuf text = DS_BUF_INIT;
    assert_true(ds_s3_canonical(&put, names, &text));
    assert_string_equal(text.data, "PUT\n/storage/v1/s3/b/it%27s%20%26%20co/x\n"
                                   "a=&a=1&a-b=%20%2F&uploadId=%C3%A9\n"
                                   "content-type:text/plain\nhost:127.0.0.1:5000\n"
                                   "x-amz-date:20261121T041222Z\nx-amz-meta-note:two words\n\n"
                                   "content-type;host;x-amz-date;x-amz-meta-note\n"
                                   "UNSIGNED-PAYLOAD");
    /* Computed with: openssl dgst -sha256 -mac HMAC -macopt hexkey:... */
    expect_signature("2e771a615560a02320eb0a3c97a5fd94d96c1c4c7a9ebee5d89bb8ebc04a85e4", put,
                     headers, "key/20261121/auto/s3/aws4_request", names, "a-secret");
}

static void
claims(void **state)
{
    (void)state;
    ds_autoclaim claim = {0};
    assert_int_equal(ds_s3_claim_header("AWS4-HMAC-SHA256 Credential=id/20261121//s3/aws4_request,"
                                        "SignedHeaders=a;b,  Signature=00ff",
                                        &claim),
                     0);
    assert_string_equal(claim.key_id, "id");
    assert_string_equal(claim.date, "20261121");
    assert_string_equal(claim.region, "");
    assert_string_equal(claim.service, "s3");
    assert_string_equal(claim.scope, "20261121//s3/aws4_request");
    assert_string_equal(claim.signed_headers, "a;b");
    assert_string_equal(claim.signature, "00ff");

    static const char *const bad[] = {
        "",
        "Bearer x",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 ",
        "AWS4-HMAC-SHA512 Credential=i/d/r/s3/aws4_request, SignedHeaders=a, Signature=0",
        "AWS4-HMAC-SHA256 Credential=i/d/r/s3/aws4_request, SignedHeaders=a",
        "AWS4-HMAC-SHA256 Credential=i/d/r/s3/aws4_request, Signature=0",
        "AWS4-HMAC-SHA256 SignedHeaders=a, Signature=0",
        "AWS4-HMAC-SHA256 Credential=i, SignedHeaders=a, Signature=0",
        "AWS4-HMAC-SHA256 Credential=i/d/r/s3, SignedHeaders=a, Signature=0",
        "AWS4-HMAC-SHA256 Credential=i/d/r/s3/other, SignedHeaders=a, Signature=0",
        "AWS4-HMAC-SHA256 Credential=i/d/r/s3/aws4_request/x, SignedHeaders=a, Signature=0",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct ds_s3_claim none = {0};
        assert_int_equal(ds_s3_claim_header(bad[i], &none), -EINVAL);
        assert_null(none.text);
    }
    assert_int_equal(ds_s3_claim_query(NULL, "a", "0", &claim), -EINVAL);
}

/* ---- XML ---- */

/* Writes "+path" and "-path=text" of what comes. */
static bool
note(void *arg, enum ds_xml_event what, const char *path, const char *text)
{
    ds_buf_addf(arg, what == DS_XML_OPEN ? "+%s " : "-%s=[%s] ", path, text);
    return strstr(path, "refused") == NULL;
}

static void
expect_xml(const char *document, const char *wanted)
{
    ds_autobuf seen = DS_BUF_INIT;
    int rc = ds_xml_read(document, strlen(document), note, &seen);
    if (!wanted) {
        assert_int_equal(rc, -EBADMSG);
        return;
    }
    assert_int_equal(rc, 0);
    assert_string_equal(seen.data, wanted);
}

static void
xml_is_read(void **state)
{
    (void)state;
    expect_xml("<a/>", "+a -a=[] ");
    expect_xml("\xef\xbb\xbf<?xml version=\"1.0\"?>\n<a><b> x </b>\n<b c='>' d = \"1\" /></a >\n",
               "+a +a/b -a/b=[ x ] +a/b -a/b=[] -a=[] ");
    expect_xml("<x:a xmlns:x=\"u\"><x:b>&lt;&amp;&gt;&quot;&apos;&#65;&#x20AC;</x:b></x:a>",
               "+a +a/b -a/b=[<&>\"'A\xe2\x82\xac] -a=[] ");
}

static void
xml_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "x",
        "<a>",
        "</a>",
        "<a></b>",
        "<a><b></a></b>",
        "<a/><a/>",
        "<a/>x",
        "x<a/>",
        "<a>&nbsp;</a>",
        "<a>&#0;</a>",
        "<a>&#xD800;</a>",
        "<a>&#x110000;</a>",
        "<a>&#;</a>",
        "<a>&amp</a>",
        "<a>&#99999999999999999999;</a>",
        "<a b>x</a>",
        "<a b=c/>",
        "<a b=\"<\"/>",
        "<!DOCTYPE a><a/>",
        "<!-- c --><a/>",
        "<a><![CDATA[x]]></a>",
        "<a><?p?></a>",
        "<?xml",
        "< a/>",
        "<a>x<b/></a>",
        "<a><b/>x</a>",
        "<a>\x01</a>",
        "<a>\xff</a>",
        "<refused/>",
        "<a",
        "<a ",
        "<a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a>"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_xml(bad[i], NULL);
    assert_int_equal(ds_xml_read("<a>\0</a>", 8, note, NULL), -EBADMSG);
}

static void
xml_is_written(void **state)
{
    (void)state;
    ds_autobuf out = DS_BUF_INIT;
    ds_xml_add(&out, "K", "a<b>&\"'\r");
    ds_xml_add(&out, "E", "");
    ds_xml_add_number(&out, "N", -1);
    ds_xml_add_time(&out, "T", 1500);
    assert_string_equal(out.data, "<K>a&lt;b&gt;&amp;\"'&#xD;</K><E/><N>-1</N>"
                                  "<T>1970-01-01T00:00:01.500Z</T>");
    out.len = 0;
    ds_xml_add_time(&out, "T", -1);
    ds_xml_add_time(&out, "T", 1709251199999);
    assert_string_equal(out.data, "<T>1969-12-31T23:59:59.999Z</T><T>2024-02-29T23:59:59.999Z</T>");
}

/* ---- chunks ---- */

/* What is in a body that comes in pieces of  bytes; -EBADMSG as length for a bad one. */
static long
unchunk(const char *body, size_t step, char *out, bool *done)
{
    struct ds_s3_chunk chunk = {0};
    size_t got = 0, total = strlen(body);
    for (size_t at = 0; at < total; at += step) {
        const char *data = body + at, *piece;
        size_t len = total - at < step ? total - at : step;
        long n;
        while ((n = ds_s3_chunk_next(&chunk, &data, &len, &piece)) > 0) {
            memcpy(out + got, piece, (size_t)n);
            got += (size_t)n;
        }
        if (n < 0)
            return n;
    }
    out[got] = '\0';
    *done = ds_s3_chunk_done(&chunk);
    return (long)got;
}

static void
chunks(void **state)
{
    (void)state;
    static const char body[] = "5;chunk-signature=00\r\nhello\r\n0B\r\n, \r\n0;\r\nxyz\r\n"
                               "0;chunk-signature=11\r\nx-amz-checksum-crc32:AAAA\r\n\r\n";
    char out[sizeof body];
    bool done;
    for (size_t step = 1; step < sizeof body; step++) {
        done = false;
        assert_int_equal(unchunk(body, step, out, &done), 16);
        assert_string_equal(out, "hello, \r\n0;\r\nxyz");
        assert_true(done);
    }
    assert_int_equal(unchunk("5\r\nhel", 100, out, &done), 3);
    assert_false(done);
    assert_int_equal(unchunk("5\r\nhello\r\n", 100, out, &done), 5);
    assert_false(done);
    static const char *const bad[] = {"x",           ";",           "\r\n",
                                      "5\r\nhellox", "5 \r\nhello", "1234567890123\r\n"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(unchunk(bad[i], 100, out, &done), -EBADMSG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documented_signatures),
        cmocka_unit_test(canonical_form),
        cmocka_unit_test(claims),
        cmocka_unit_test(xml_is_read),
        cmocka_unit_test(xml_is_refused),
        cmocka_unit_test(xml_is_written),
        cmocka_unit_test(chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
