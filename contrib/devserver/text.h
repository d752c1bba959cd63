/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DS_TEXT_H
#define DS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Small conversions: base64, percent escapes, times, UUIDs, key rules. */

#define DS_ISO_SIZE  32
#define DS_DATE_SIZE 40
#define DS_UUID_SIZE 37

int64_t ds_now_ms(void);
/* Let that clock be ahead of the machine's. */
void ds_clock_shift(int64_t ms);

/* Monotonic nanoseconds, for durations. */
int64_t ds_tick_ns(void);

/* 2026-11-21T04:05:19.770Z */
void ds_time_iso(int64_t ms, char out[DS_ISO_SIZE]);

/* Sat, 21 Nov 2026 04:07:29 GMT */
void ds_time_http(int64_t ms, char out[DS_DATE_SIZE]);

/* Milliseconds of an ISO time with or without fraction, in UTC; false when it is none. */
bool ds_time_parse_iso(const char *text, int64_t *ms);

/* Milliseconds of an HTTP date; false when it is none. */
bool ds_time_parse_http(const char *text, int64_t *ms);

/* A random (version 4) UUID; 0 or -EIO when the system has no randomness. */
int ds_uuid_new(char out[DS_UUID_SIZE]);

void ds_hex(const unsigned char *bytes, size_t len, char *out);

/*
 * Base64 as a lenient reader takes it: standard and URL alphabet mixed, foreign characters skipped,
 * padding ends it. Returns an allocated, NUL-terminated string, NULL when out of memory.
 */
char *ds_base64_decode(const char *text, size_t len, size_t *ret_len);

/* Padded standard base64, or the unpadded URL form. NULL when out of memory. */
char *ds_base64_encode(const void *bytes, size_t len, bool url);

/*
 * Undo percent escapes of `len` bytes into an allocated NUL-terminated string.
 * Returns 0, -EILSEQ for a bad escape or bytes that are no UTF-8, -ENOMEM.
 */
int ds_percent_decode(const char *text, size_t len, char **ret, size_t *ret_len);

/* encodeURIComponent: all but letters, digits and -_.!~*'() escaped. NULL when out of memory. */
char *ds_percent_encode(const char *text);

bool ds_utf8_valid(const char *text, size_t len);

/* The key rules of the service: a set of ASCII characters, at least one of them. */
bool ds_key_valid(const char *key, size_t len);

/* As ds_key_valid without '/', at most 100 characters. */
bool ds_bucket_name_valid(const char *name);

/* A path component "." or "..", which the service's file backend refuses. */
bool ds_key_has_dots(const char *key);

/* A component over 255 bytes, or a path longer than the system takes. */
bool ds_key_too_long_for_file(const char *key);

/* The name that stands for an empty folder; it must be empty and skips the MIME rules. */
bool ds_key_is_placeholder(const char *key);

bool ds_is_uuid(const char *text);

#endif
