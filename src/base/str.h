/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef SF_BASE_STR_H
#define SF_BASE_STR_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool sf_str_starts(const char *s, const char *prefix);
bool sf_str_ends(const char *s, const char *suffix);

/* Bytes of the well-formed UTF-8 character at @s, of which @n > 0 bytes are there; 0 = none. */
size_t sf_utf8_char(const void *s, size_t n);

/* Whether the bytes are well-formed UTF-8: no overlong forms, no surrogates, not above U+10FFFF.
 * A NUL byte is a valid character. */
bool sf_utf8_valid(const void *s, size_t n);

/* Drop a character of which only the beginning is left at the end of a text that was cut; in place.
 * Returns the new length. */
size_t sf_utf8_trim(char *s);

/*
 * Append a text as it may be shown on a terminal: control characters (of C0 and C1, and DEL), bytes
 * that are not UTF-8, and the ASCII characters in @also become a backslash and three octal digits.
 * With a backslash in @also the text can be read back. Returns 0 or -ENOMEM; @out is then as
 * before.
 */
int sf_str_escape(struct sf_buf *out, const char *s, const char *also);

/*
 * Percent-encoding. Everything but A-Z a-z 0-9 - . _ ~ becomes %XX; the first form keeps '/' too,
 * so that it suits a whole path. Both append to @out and return 0 or -ENOMEM.
 */
int sf_url_encode_path(struct sf_buf *out, const void *s, size_t n);
int sf_url_encode(struct sf_buf *out, const void *s, size_t n);

/* Append the decoded bytes to @out ('+' stays '+'). Returns 0; -EINVAL a '%' without two hex
 * digits; -ENOMEM. The content of @out is as before on failure. */
int sf_url_decode(struct sf_buf *out, const char *s, size_t n);

/* Write 2 * @n lower-case digits and a NUL to @out. */
void sf_hex_encode(const void *data, size_t n, char *out);

/* Read @n hex digits into n / 2 bytes. Returns 0; -EINVAL an odd number or another character
 * (@out may then be partly written). */
int sf_hex_decode(const char *s, size_t n, void *out);

/*
 * Base64 (RFC 4648): the standard alphabet with padding, and the one for URLs without. Encoders
 * append to @out and return 0 or -ENOMEM. Decoders take exactly what the encoder writes (no white
 * space, no other padding, unused bits zero), append the bytes, and return 0, -EINVAL or -ENOMEM.
 */
int sf_base64_encode(struct sf_buf *out, const void *data, size_t n);
int sf_base64_decode(struct sf_buf *out, const char *s, size_t n);
int sf_base64url_encode(struct sf_buf *out, const void *data, size_t n);
int sf_base64url_decode(struct sf_buf *out, const char *s, size_t n);

/**
 * sf_parse_u64 - read a decimal number; only digits, at least one, nothing else.
 *
 * Returns 0; -EINVAL not a number; -ERANGE too large. *ret is untouched on failure.
 */
int sf_parse_u64(const char *s, uint64_t *ret);

/* The same with an optional '-'. */
int sf_parse_i64(const char *s, int64_t *ret);

/**
 * sf_parse_size - read a size such as "4096", "64k", "10M", "1GiB" or "10MB".
 * @s: decimal digits and a unit in any case: none or B; K, M, G, T, P and KiB, MiB, ... are powers
 *     of 1024; KB, MB, ... are powers of 1000.
 *
 * Returns 0; -EINVAL; -ERANGE. *ret is untouched on failure.
 */
int sf_parse_size(const char *s, uint64_t *ret);

#endif
